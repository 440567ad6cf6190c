/*
 * How often each instruction was executed, by its address
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A counter for each instruction, not for each block of them: a block can end
 * in its middle, by an exception, or under -icount by an access to a device,
 * after which what is left of it is translated and counted once more.
 */
#include <inttypes.h>
#include <glib.h>

#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

/* From an address to its counter; cores translate at the same time */
static GHashTable *counters;
static GMutex lock;

static qemu_plugin_u64 counter(uint64_t address)
{
    struct qemu_plugin_scoreboard *score;

    g_mutex_lock(&lock);
    score = g_hash_table_lookup(counters, &address);
    if (!score) {
        uint64_t *key = g_new(uint64_t, 1);

        *key = address;
        score = qemu_plugin_scoreboard_new(sizeof(uint64_t));
        g_hash_table_insert(counters, key, score);
    }
    g_mutex_unlock(&lock);
    return qemu_plugin_scoreboard_u64(score);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
            insn, QEMU_PLUGIN_INLINE_ADD_U64,
            counter(qemu_plugin_insn_vaddr(insn)), 1);
    }
}

static void report(void *key, void *value, void *text)
{
    uint64_t times = qemu_plugin_u64_sum(qemu_plugin_scoreboard_u64(value));

    if (times) {
        g_string_append_printf(text, "0x%" PRIx64 ", %" PRIu64 "\n",
                               *(uint64_t *)key, times);
    }
}

static void ended(qemu_plugin_id_t id, void *data)
{
    g_autoptr(GString) text = g_string_new("address, executions\n");

    g_hash_table_foreach(counters, report, text);
    qemu_plugin_outs(text->str);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id,
                                           const qemu_info_t *info,
                                           int argc, char **argv)
{
    if (argc) {
        return -1;
    }
    counters = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
