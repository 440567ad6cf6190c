/*
 * What the caches of a Raspberry Pi's core may do to a boot loader
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU has no caches: a program that never maintains them runs as well as one
 * that does. This keeps, for each byte of RAM, what data cache and memory could
 * hold at worst, and reports each use of a byte that may be wrong then:
 *
 * - The core may have fetched any line of cacheable memory at any time, ahead
 *   of its program. So what a device wrote may be stale until the line is
 *   invalidated after that, whether the core touched it or not.
 * - The core may write a dirty line back at any time, or never before it is
 *   told to. So a device may find old bytes in memory, and a line that was
 *   dirty may land on what a device wrote.
 * - While MMU or data cache are off, the core's accesses go past the caches, as
 *   a device's do.
 * - At reset the data cache may hold anything, and write it back when it is
 *   told to clean.
 * - The instruction cache may have fetched whatever was in memory before.
 *
 * It knows one core (the others are to rest), memory that is mapped one to one
 * and write-back while MMU and data cache are on, and RAM from address 0 on. It
 * watches the program from reset to its jump into another, and that one until
 * it turns on its own MMU. Barriers and the TLB are not its business.
 *
 * without=ADDRESS, in hexadecimal and any number of times: maintenance by the
 * instruction there, or by the function that it calls, does not count.
 */
#include <inttypes.h>
#include <string.h>
#include <glib.h>

#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

#define LINE 64
#define PAGE 4096
/* Of 4 GiB */
#define PAGES (1u << 20)

/* Who jumps into another program leaves its own 2 MiB. */
#define PROGRAM 21

/* Findings that are told; the others only count. */
#define TOLD 100

/* The data caches, as QEMU describes both cores' in CCSIDR_EL1 */
#define LEVELS 2
static const struct {
    uint32_t sets, ways, way_shift;
} levels[LEVELS] = { { 128, 4, 30 }, { 1024, 16, 28 } };
#define CACHE_LINES (128 * 4 + 1024 * 16)

/* A bit for each byte of the line */
typedef struct {
    uint64_t dirty;     /* the core wrote it, and memory need not have it */
    uint64_t stale;     /* memory has it, and the cache may have an older one */
    uint64_t lost;      /* an older one may have landed on it in memory */
    uint64_t swept;     /* it went to memory by set and way alone */
    uint64_t unfetched; /* the instruction cache may have an older one */
    uint64_t writer;    /* the instruction that wrote last */
    const char *device; /* the device that wrote last */
    bool foreign;       /* may be dirty with what was there at reset */
} Line;

typedef struct {
    Line lines[PAGE / LINE];
} Page;

typedef enum {
    CLEAN = 1,
    INVALIDATE = 2,
} Operation;

/* Instructions that count beside loads and stores */
typedef enum {
    BY_ADDRESS,         /* dc ivac, cvac, cvau, civac */
    BY_SET_AND_WAY,     /* dc isw, csw, cisw */
    FETCH_ALL,          /* ic iallu */
    FETCH_LINE,         /* ic ivau */
    ZERO,               /* dc zva */
    CONTROL,            /* msr sctlr_el1, msr sctlr_el2 */
    LEFT_OUT,           /* any of the above that maintains */
    CALL,               /* bl to what is left out */
    TAIL_CALL,          /* b likewise */
} What;

typedef struct {
    What what;
    int operation;      /* a set of Operation */
    unsigned reg;
    uint64_t address;
} Special;

/* Instructions that were translated together */
typedef struct {
    uint64_t address, size;
} Block;

/* Devices write from another thread than the core's. */
static GMutex lock;

static Page *pages[PAGES];
static struct qemu_plugin_register *registers[31];
static GHashTable *told;
static unsigned findings;
static GArray *without;         /* of addresses */
static uint64_t left_out_until; /* where a call of these returns to, or 0 */
static unsigned left_out;       /* maintenance that did not count */

static bool cached;             /* MMU and data cache are on */
static bool empty;              /* the data cache has no line */
static bool fetch_cached;       /* the instruction cache is on */
static bool before = true;      /* it may have lines from before the reset */
static uint64_t turned_off;     /* the instruction that ended caching, or 0 */
static bool handed_over;        /* the other program runs */
static bool over;               /* nothing is looked at any more */

/* The cache's lines that an operation reached since caching changed last */
static uint8_t reached[4][CACHE_LINES];
static unsigned reached_lines[4];

static void G_GNUC_PRINTF(1, 2) say(const char *format, ...)
{
    g_autofree char *text = NULL;
    g_autofree char *line = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    line = g_strdup_printf("coherence: %s\n", text);
    qemu_plugin_outs(line);
}

/*
 * @instruction did it, or wrote what a device met; @device did it, or wrote
 * what the core met.
 */
static void found(const char *what, uint64_t instruction, uint64_t address,
                  const char *device)
{
    char *text = g_strdup_printf("0x%" PRIx64 ": %s: %s", instruction,
                                 device ? device : "core", what);

    findings++;
    if (g_hash_table_size(told) >= TOLD) {
        g_free(text);
    } else if (g_hash_table_add(told, text)) {
        say("found: %s: 0x%" PRIx64, text, address);
    }
}

static Line *line_at(uint64_t address)
{
    Page **page = &pages[address / PAGE % PAGES];

    if (!*page) {
        *page = g_new0(Page, 1);
        for (int i = 0; before && i < PAGE / LINE; i++) {
            (*page)->lines[i].stale = UINT64_MAX;
            (*page)->lines[i].device = "reset";
            (*page)->lines[i].foreign = true;
        }
    }
    return &(*page)->lines[address / LINE % (PAGE / LINE)];
}

/* Which bytes of the line at @line are among @size bytes at @address */
static uint64_t bytes_of(uint64_t line, uint64_t address, uint64_t size)
{
    uint64_t from = MAX(line, address) - line;
    uint64_t to = MIN(line + LINE, address + size) - line;

    return (UINT64_MAX << from) & (UINT64_MAX >> (LINE - to));
}

/* A dirty line may be written back, whole, at any time. */
static void may_land(Line *line)
{
    if (line->dirty) {
        line->lost |= line->stale;
    }
}

static void maintain(Line *line, uint64_t address, int operation, bool sweep,
                     uint64_t instruction)
{
    if (operation & CLEAN) {
        if (line->foreign) {
            found("cleans what was there at reset", instruction, address, NULL);
        }
        line->swept |= sweep ? line->dirty : 0;
    } else {
        line->lost |= line->dirty;
    }
    line->dirty = 0;
    if (operation & INVALIDATE) {
        line->stale = 0;
        if (line->foreign) {
            line->device = NULL;
        }
        line->foreign = false;
    }
}

/* The core, past the data cache: its instruction fetches, or all of it */
static void past_the_cache(Line *line, uint64_t bytes, bool fetch,
                           uint64_t instruction, uint64_t address)
{
    if (bytes & line->dirty) {
        found(fetch ? "executes what is not clean"
                    : "reads what is not clean, past the cache",
              instruction, address, line->device);
    } else if (bytes & line->swept && handed_over) {
        found(fetch ? "executes what only set and way cleaned"
                    : "reads what only set and way cleaned",
              instruction, address, line->device);
    }
}

static void core_reads(Line *line, uint64_t bytes, uint64_t instruction,
                       uint64_t address)
{
    if (!cached) {
        past_the_cache(line, bytes, false, instruction, address);
    } else if (bytes & line->stale) {
        found("reads what may be stale", instruction, address, line->device);
    }
    if (bytes & line->lost) {
        found("reads what may be lost", instruction, address, line->device);
    }
}

static void core_writes(Line *line, uint64_t bytes, uint64_t instruction,
                        uint64_t address)
{
    if (cached) {
        line->dirty |= bytes;
        line->stale &= ~bytes;
    } else {
        if (line->dirty) {
            found("writes what a dirty line may land on, past the cache",
                  instruction, address, line->device);
        }
        line->dirty &= ~bytes;
        line->stale |= empty ? 0 : bytes;
    }
    line->lost &= ~bytes;
    line->swept &= ~bytes;
    line->unfetched |= bytes;
    line->writer = instruction;
    may_land(line);
}

static void core_executes(Line *line, uint64_t bytes, uint64_t address)
{
    past_the_cache(line, bytes, true, address, address);
    if (cached && (bytes & line->stale)) {
        found("executes what may be stale", address, address, line->device);
    }
    if (bytes & line->lost) {
        found("executes what may be lost", address, address, line->device);
    }
    /* While it is off it counts only for who is told that it is in order. */
    if ((bytes & line->unfetched) && (fetch_cached || handed_over)) {
        found("executes what the instruction cache may have older", address,
              address, line->device);
    }
}

static void device_reads(Line *line, uint64_t bytes, uint64_t address,
                         const char *device)
{
    if (bytes & line->dirty) {
        found("reads what is not clean", line->writer, address, device);
    }
    if (bytes & line->lost) {
        found("reads what may be lost", line->writer, address, device);
    }
}

static void device_writes(Line *line, uint64_t bytes, uint64_t address,
                          const char *device)
{
    if (line->dirty) {
        found("writes what a dirty line may land on", line->writer, address,
              device);
    }
    line->lost &= ~bytes;
    line->swept &= ~bytes;
    line->stale |= empty ? 0 : bytes;
    line->unfetched |= bytes;
    line->device = device;
    may_land(line);
}

static void dma(const char *device, uint64_t offset, uint64_t size,
                bool is_write)
{
    g_mutex_lock(&lock);
    for (uint64_t at = offset & -LINE; !over && at < offset + size;
         at += LINE) {
        uint64_t bytes = bytes_of(at, offset, size);

        if (is_write) {
            device_writes(line_at(at), bytes, MAX(at, offset), device);
        } else {
            device_reads(line_at(at), bytes, MAX(at, offset), device);
        }
    }
    g_mutex_unlock(&lock);
}

static void core_accesses(uint64_t address, uint64_t size, bool is_write,
                          uint64_t instruction)
{
    for (uint64_t at = address & -LINE; at < address + size; at += LINE) {
        uint64_t bytes = bytes_of(at, address, size);

        if (is_write) {
            core_writes(line_at(at), bytes, instruction, MAX(at, address));
        } else {
            core_reads(line_at(at), bytes, instruction, MAX(at, address));
        }
    }
}

static void accessed(unsigned int core, qemu_plugin_meminfo_t info,
                     uint64_t address, void *instruction)
{
    struct qemu_plugin_hwaddr *place;

    if (core || over) {
        return;
    }
    place = qemu_plugin_get_hwaddr(info, address);
    if (place && !qemu_plugin_hwaddr_is_io(place)) {
        g_mutex_lock(&lock);
        core_accesses(qemu_plugin_hwaddr_phys_addr(place),
                      1u << qemu_plugin_mem_size_shift(info),
                      qemu_plugin_mem_is_store(info), (uintptr_t)instruction);
        g_mutex_unlock(&lock);
    }
}

/* Calls @act for each line that was ever used. */
static void each_line(void (*act)(Line *, uint64_t, void *), void *data)
{
    for (uint64_t page = 0; page < PAGES; page++) {
        for (int i = 0; pages[page] && i < PAGE / LINE; i++) {
            act(&pages[page]->lines[i], page * PAGE + i * LINE, data);
        }
    }
}

static void sweep_line(Line *line, uint64_t address, void *data)
{
    const Special *special = data;

    maintain(line, address, special->operation, true, special->address);
}

static void by_set_and_way(const Special *special, uint64_t value)
{
    uint32_t level = value >> 1 & 7;
    uint32_t place;

    if (level >= LEVELS) {
        return;
    }
    place = (uint32_t)value >> levels[level].way_shift;
    place = place * levels[level].sets +
            (value / LINE & (levels[level].sets - 1));
    place += level ? levels[0].sets * levels[0].ways : 0;
    reached_lines[special->operation] += !reached[special->operation][place];
    reached[special->operation][place] = 1;
    if (reached_lines[special->operation] < CACHE_LINES) {
        return;
    }
    each_line(sweep_line, (void *)special);
    if (special->operation & INVALIDATE) {
        before = false;
        empty = !cached;
    }
    reached_lines[special->operation] = 0;
    memset(reached[special->operation], 0, CACHE_LINES);
}

static void fetch_line(Line *line, uint64_t address, void *data)
{
    /* What is not in memory yet may be fetched from there once more. */
    line->unfetched &= fetch_cached ? line->dirty : 0;
}

static void may_fetch(Line *line, uint64_t address, void *data)
{
    line->unfetched |= line->dirty;
}

typedef struct {
    uint64_t first, writer, lines;
} Left;

static void count_left(Line *line, uint64_t address, void *data)
{
    Left *left = data;

    if (line->dirty && !left->lines++) {
        left->first = address;
        left->writer = line->writer;
    }
}

static void end(void)
{
    over = true;
    say("ends, %u found, %u left out", findings, left_out);
}

static void control(uint64_t value, uint64_t instruction)
{
    bool on = (value & 5) == 5;     /* M and C */

    if (handed_over && (value & 1)) {
        end();
        return;
    }
    if (value >> 12 & 1 && !fetch_cached) {
        each_line(may_fetch, NULL);
    }
    fetch_cached = value >> 12 & 1;
    if (on != cached) {
        memset(reached, 0, sizeof(reached));
        memset(reached_lines, 0, sizeof(reached_lines));
        empty = empty && !on;
        turned_off = on ? 0 : instruction;
        cached = on;
    }
}

static uint64_t value_of(unsigned reg)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint64_t value = 0;

    if (reg < 31 && registers[reg] &&
        qemu_plugin_read_register(registers[reg], bytes) == sizeof(value)) {
        memcpy(&value, bytes->data, sizeof(value));
    }
    return value;
}

static void executed(unsigned int core, void *data)
{
    const Special *special = data;
    uint64_t value;

    if (core || over) {
        return;
    }
    value = value_of(special->reg);
    g_mutex_lock(&lock);
    if (special->what == CALL || special->what == TAIL_CALL) {
        left_out_until = special->what == CALL ? special->address + 4 : value;
    } else if (special->what == LEFT_OUT ||
               (special->what < ZERO && left_out_until)) {
        left_out++;
        g_mutex_unlock(&lock);
        return;
    }
    switch (special->what) {
    case BY_ADDRESS:
        maintain(line_at(value), value & -LINE, special->operation, false,
                 special->address);
        break;
    case BY_SET_AND_WAY:
        by_set_and_way(special, value);
        break;
    case FETCH_ALL:
        each_line(fetch_line, NULL);
        break;
    case FETCH_LINE:
        fetch_line(line_at(value), value, NULL);
        break;
    case ZERO:
        core_accesses(value & -LINE, LINE, true, special->address);
        break;
    case CONTROL:
        control(value, special->address);
        break;
    default:
        break;
    }
    g_mutex_unlock(&lock);
}

static void entered(unsigned int core, void *data)
{
    const Block *block = data;
    Left left = { 0 };

    if (core || over) {
        return;
    }
    g_mutex_lock(&lock);
    if (block->address == left_out_until) {
        left_out_until = 0;
    }
    if (turned_off && !handed_over &&
        block->address >> PROGRAM != turned_off >> PROGRAM) {
        handed_over = true;
        say("hands over to 0x%" PRIx64 ", %u found", block->address, findings);
        each_line(count_left, &left);
        if (left.lines) {
            found("leaves dirty lines", left.writer, left.first, NULL);
            say("%" PRIu64 " lines are left dirty", left.lines);
        }
    }
    for (uint64_t at = block->address & -LINE;
         at < block->address + block->size; at += LINE) {
        core_executes(line_at(at),
                      bytes_of(at, block->address, block->size),
                      MAX(at, block->address));
    }
    g_mutex_unlock(&lock);
}

static bool is_left_out(uint64_t address)
{
    for (guint i = 0; i < without->len; i++) {
        if (g_array_index(without, uint64_t, i) == address) {
            return true;
        }
    }
    return false;
}

/* Whether the instruction @word at special->address is a special one */
static bool decode(uint32_t word, Special *special)
{
    static const struct {
        uint32_t word;
        What what;
        int operation;
    } known[] = {
        { 0xd5087620, BY_ADDRESS, INVALIDATE },             /* dc ivac */
        { 0xd50b7a20, BY_ADDRESS, CLEAN },                  /* dc cvac */
        { 0xd50b7b20, BY_ADDRESS, CLEAN },                  /* dc cvau */
        { 0xd50b7e20, BY_ADDRESS, CLEAN | INVALIDATE },     /* dc civac */
        { 0xd5087640, BY_SET_AND_WAY, INVALIDATE },         /* dc isw */
        { 0xd5087a40, BY_SET_AND_WAY, CLEAN },              /* dc csw */
        { 0xd5087e40, BY_SET_AND_WAY, CLEAN | INVALIDATE }, /* dc cisw */
        { 0xd50b7420, ZERO },                               /* dc zva */
        { 0xd5087500, FETCH_ALL },                          /* ic iallu */
        { 0xd5087100, FETCH_ALL },                          /* ic ialluis */
        { 0xd50b7520, FETCH_LINE },                         /* ic ivau */
        { 0xd5181000, CONTROL },                            /* msr sctlr_el1 */
        { 0xd51c1000, CONTROL },                            /* msr sctlr_el2 */
    };

    if (is_left_out(special->address)) {
        if ((word & 0x7c000000) == 0x14000000) {
            special->what = word >> 31 ? CALL : TAIL_CALL;
            special->reg = 30;
        } else {
            special->what = LEFT_OUT;
        }
        return true;
    }
    for (int i = 0; i < G_N_ELEMENTS(known); i++) {
        if ((word & ~0x1f) == known[i].word) {
            special->what = known[i].what;
            special->operation = known[i].operation;
            special->reg = word & 0x1f;
            return true;
        }
    }
    return false;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    Block *block;

    if (over) {
        return;
    }
    block = g_new(Block, 1);
    block->address = qemu_plugin_tb_vaddr(tb);
    block->size = 4 * qemu_plugin_tb_n_insns(tb);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, entered, QEMU_PLUGIN_CB_NO_REGS,
                                         block);
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        Special special = { .address = address };
        uint32_t word = 0;

        qemu_plugin_insn_data(insn, &word, sizeof(word));
        if (decode(GUINT32_FROM_LE(word), &special)) {
            qemu_plugin_register_vcpu_insn_exec_cb(
                insn, executed, QEMU_PLUGIN_CB_R_REGS,
                g_memdup2(&special, sizeof(special)));
        } else {
            qemu_plugin_register_vcpu_mem_cb(
                insn, accessed, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW,
                (void *)(uintptr_t)address);
        }
    }
}

/* Finds the general registers; all cores have the same. */
static void started(qemu_plugin_id_t id, unsigned int core)
{
    g_autoptr(GArray) all = qemu_plugin_get_registers();

    for (int i = 0; !core && i < all->len; i++) {
        qemu_plugin_reg_descriptor *one =
            &g_array_index(all, qemu_plugin_reg_descriptor, i);
        char *end;

        if (one->name[0] == 'x' && g_ascii_isdigit(one->name[1])) {
            uint64_t number = g_ascii_strtoull(one->name + 1, &end, 10);

            if (!*end && number < G_N_ELEMENTS(registers)) {
                registers[number] = one->handle;
            }
        }
    }
}

static void ended(qemu_plugin_id_t id, void *data)
{
    if (!over) {
        end();
    }
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id,
                                           const qemu_info_t *info,
                                           int argc, char **argv)
{
    if (!info->system_emulation) {
        return -1;
    }
    without = g_array_new(false, false, sizeof(uint64_t));
    for (int i = 0; i < argc; i++) {
        const char *value = argv[i] + strlen("without=");
        uint64_t address;

        if (!g_str_has_prefix(argv[i], "without=") ||
            !g_ascii_string_to_unsigned(value, 16, 1, UINT64_MAX, &address,
                                        NULL)) {
            return -1;
        }
        g_array_append_val(without, address);
    }
    told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    qemu_plugin_register_vcpu_init_cb(id, started);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    qemu_plugin_register_dma_cb(dma);
    return 0;
}
