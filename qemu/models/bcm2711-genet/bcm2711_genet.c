/*
 * Broadcom GENET v5 Ethernet MAC of the BCM2711, with its BCM54213PE PHY.
 *
 * No datasheet is public. The registers are those that the Linux, U-Boot and
 * FreeBSD drivers use; what the model does where they leave a choice, and how
 * it was checked, is in the README beside the file it was developed from.
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/net/bcm2711_genet.h"
#include "exec/address-spaces.h"
#include "hw/irq.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "net/checksum.h"
#include "net/eth.h"
#include "qapi/error.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include <zlib.h> /* for crc32 */

/* SYS */
#define SYS_REV_CTRL            0x0000
#define   REV_GENET_V5          0x06000000
#define SYS_PORT_CTRL           0x0004
#define   PORT_MODE_MASK        0x7
#define   PORT_MODE_EXT_GPHY    3
#define SYS_RBUF_FLUSH_CTRL     0x0008
#define   RBUF_FLUSH_RX         BIT(0)
#define   RBUF_FLUSH_UMAC       BIT(1)

/* EXT */
#define EXT_RGMII_OOB_CTRL      0x008c
#define   RGMII_LINK            BIT(4)
#define   OOB_DISABLE           BIT(5)
#define   RGMII_MODE_EN         BIT(6)
#define   ID_MODE_DIS           BIT(16)
#define   OOB_IDLE              0x00f00000

/* INTRL2, two of them */
#define INTRL2_0                0x0200
#define INTRL2_1                0x0240
#define   INTR_STAT             0x00
#define   INTR_SET              0x04
#define   INTR_CLEAR            0x08
#define   INTR_MASK_STATUS      0x0c
#define   INTR_MASK_SET         0x10
#define   INTR_MASK_CLEAR       0x14
#define INTR0_LINK_UP           BIT(4)
#define INTR0_LINK_DOWN         BIT(5)
#define INTR0_RBUF_OVERFLOW     BIT(9)
#define INTR0_RX_DONE           BIT(13)
#define INTR0_TX_DONE           BIT(16)
#define INTR0_MDIO_DONE         BIT(23)
#define INTR0_MDIO_ERROR        BIT(24)
#define INTR0_ALL               0x01ffffff
#define INTR1_RX_SHIFT          16

/* RBUF */
#define RBUF_CTRL               0x0300
#define   RBUF_64B              BIT(0)
#define   RBUF_ALIGN_2B         BIT(1)
#define   RBUF_DROP_BAD         BIT(2)
#define RBUF_CHK_CTRL           0x0314
#define   RBUF_RXCHK            BIT(0)
#define   RBUF_SKIP_FCS         BIT(4)
#define   RBUF_L3_PARSE_DIS     BIT(5)
#define RBUF_OVFL_CNT           0x0394
#define RBUF_ERR_CNT            0x0398
#define RBUF_ENERGY_CTRL        0x039c
#define   RBUF_ENERGY_BITS      0x3
#define RBUF_TBUF_SIZE          0x03b4

/* TBUF */
#define TBUF_CTRL               0x0600
#define   TBUF_64B              BIT(0)

/* UMAC */
#define UMAC_CMD                0x0808
#define   CMD_TX_EN             BIT(0)
#define   CMD_RX_EN             BIT(1)
#define   CMD_SPEED_SHIFT       2
#define   CMD_PROMISC           BIT(4)
#define   CMD_PAD               BIT(5)
#define   CMD_CRC_FWD           BIT(6)
#define   CMD_PAUSE_FWD         BIT(7)
#define   CMD_RX_PAUSE_IGNORE   BIT(8)
#define   CMD_HALF_DUPLEX       BIT(10)
#define   CMD_SW_RESET          BIT(13)
#define   CMD_LOOP              BIT(15)
#define   CMD_NO_LEN_CHECK      BIT(24)
#define   CMD_TX_PAUSE_IGNORE   BIT(28)
#define   CMD_RUNT_FILTER_DIS   BIT(30)
#define UMAC_MAC0               0x080c
#define UMAC_MAC1               0x0810
#define UMAC_MAX_FRAME          0x0814
#define UMAC_MODE               0x0844
#define   MODE_HALF_DUPLEX      BIT(2)
#define   MODE_RX_PAUSE         BIT(3)
#define   MODE_TX_PAUSE         BIT(4)
#define   MODE_LINK             BIT(5)
#define UMAC_EEE_CTRL           0x0864
#define   UMAC_EEE_IDLE         0x40
#define UMAC_MIB_CTRL           0x0d80
#define   MIB_RESET_RX          BIT(0)
#define   MIB_RESET_RUNT        BIT(1)
#define   MIB_RESET_TX          BIT(2)
#define MDIO_CMD                0x0e14
#define   MDIO_START_BUSY       BIT(29)
#define   MDIO_READ_FAIL        BIT(28)
#define   MDIO_OP_WRITE         1
#define   MDIO_OP_READ          2
#define UMAC_MDF_ERR_CNT        0x0e38
#define UMAC_MDF_CTRL           0x0e50
#define UMAC_MDF_ADDR           0x0e54
#define   MDF_FILTERS           17

/* MIB: offsets of counters within the receive and the transmit group */
#define MIB_RX                  0x0c00
#define MIB_TX                  0x0c80
#define MIB_RUNT                0x0d00
#define MIB_END                 0x0d10
enum {
    MIB_BINS = 0,               /* ten counters by frame size */
    MIB_RX_FRAMES = 10, MIB_RX_BYTES, MIB_RX_MULTICAST, MIB_RX_BROADCAST,
    MIB_RX_FCS, MIB_RX_CONTROL, MIB_RX_PAUSE, MIB_RX_UNKNOWN, MIB_RX_ALIGN,
    MIB_RX_LENGTH, MIB_RX_CODE, MIB_RX_CARRIER, MIB_RX_OVERSIZE,
    MIB_RX_JABBER, MIB_RX_MTU, MIB_RX_GOOD, MIB_RX_UNICAST, MIB_RX_PPP,
    MIB_RX_CRC_MATCH,
    MIB_TX_FRAMES = 10, MIB_TX_MULTICAST, MIB_TX_BROADCAST, MIB_TX_PAUSE,
    MIB_TX_CONTROL, MIB_TX_FCS, MIB_TX_OVERSIZE,
    MIB_TX_BYTES = 26, MIB_TX_GOOD, MIB_TX_UNICAST,
    MIB_RUNT_FRAMES = 0, MIB_RUNT_GOOD_FCS, MIB_RUNT_BAD_FCS, MIB_RUNT_BYTES,
};

/* DMA: the same layout for receive (at RDMA) and transmit (at TDMA) */
#define RDMA                    0x2000
#define TDMA                    0x4000
#define   DMA_DESCRIPTORS       256
#define   DMA_DESC_WORDS        3
#define   DMA_RINGS             0x0c00
#define   DMA_RING_SIZE         0x40
#define   DMA_COMMON            0x1040
#define   DMA_END               0x10d0

#define RING_HW_PTR             0x00
#define RING_HW_PTR_HI          0x04
#define RING_HW_INDEX           0x08    /* RX producer, TX consumer */
#define RING_SW_INDEX           0x0c    /* RX consumer, TX producer */
#define RING_BUF_SIZE           0x10
#define RING_START              0x14
#define RING_START_HI           0x18
#define RING_END                0x1c
#define RING_END_HI             0x20
#define RING_DONE_THRESH        0x24
#define RING_XON_XOFF           0x28
#define RING_SW_PTR             0x2c

#define DMA_RING_CFG            (DMA_COMMON + 0x00)
#define DMA_CTRL                (DMA_COMMON + 0x04)
#define   DMA_EN                BIT(0)
#define   DMA_RING_EN(r)        BIT((r) + 1)
#define DMA_STATUS              (DMA_COMMON + 0x08)
#define   DMA_STATUS_ALL        MAKE_64BIT_MASK(0, BCM2711_GENET_RINGS + 1)
#define DMA_SCB_BURST           (DMA_COMMON + 0x0c)
#define   SCB_BURST_BCM2711     8
#define DMA_RING_TIMEOUT        (DMA_COMMON + 0x2c)
#define   TIMEOUT_TICK_NS       8192
#define DMA_INDEX2RING          (DMA_COMMON + 0x70)

/* Descriptors: length and status, address low, address high */
#define DESC_LENGTH_SHIFT       16
#define DESC_LENGTH_MASK        0x0fff
#define DESC_OWN                0x8000
#define DESC_EOP                0x4000
#define DESC_SOP                0x2000
#define DESC_WRAP               0x1000
#define TXD_APPEND_CRC          0x0040
#define TXD_OVERWRITE_CRC       0x0020
#define TXD_CHECKSUM            0x0010
#define RXD_CHECKSUM_OK         0x8000
#define RXD_BROADCAST           0x0040
#define RXD_MULTICAST           0x0020
#define RXD_TOO_LONG            0x0010
#define RXD_ODD_NIBBLE          0x0008
#define RXD_RX_ERROR            0x0004
#define RXD_CRC_ERROR           0x0002
#define RXD_OVERFLOW            0x0001
#define RXD_ERRORS              0x001f
#define DMA_ADDRESS_HI_MASK     0xff    /* 40-bit addresses */

/* The 64-byte status block before a frame */
#define STATUS_BLOCK            64
#define RSB_LENGTH_STATUS       0
#define RSB_CHECKSUM            8
#define TSB_CHECKSUM            48
#define   TSB_VALID             BIT(31)
#define   TSB_UDP               BIT(15)

/* HFB */
#define HFB                     0x8000
#define   HFB_FILTERS           48
#define   HFB_FILTER_WORDS      128
#define HFB_CTRL                0xfc00
#define   HFB_EN                BIT(0)
#define HFB_ENABLE_HIGH         0xfc04  /* filters 32 to 47 */
#define HFB_ENABLE_LOW          0xfc08  /* filters 0 to 31 */
#define HFB_LENGTH              0xfc1c
#define HFB_END                 0xfc4c

#define RING_DEFAULT            16
#define FCS_LEN                 4
#define MIN_FRAME               60      /* without FCS */
#define TX_FRAME_MAX            2048
#define MDIO_ACCESS_NS          (26 * SCALE_US)
#define FIFO_ENTRY_HEADER       4       /* u16 length, u16 status */

#define DIRTY_BUFFER_SIZE       2048

/* What registers read before anybody wrote them, as measured on a board. */
static const struct {
    hwaddr offset;
    uint32_t value;
} genet_idle[] = {
    { 0x0080, 0x051f02c3 },             /* EXT_EXT_PWR_MGMT */
    { EXT_RGMII_OOB_CTRL, OOB_IDLE },
    { RBUF_CTRL, 0xc040 },
    { 0x060c, 0xffff },                 /* TBUF_BP_MC */
    { 0x0804, 0x14 },                   /* UMAC_HD_BKP_CTRL */
    { 0x0818, 0xffff },                 /* UMAC_PAUSE_QUANTA */
    { 0x085c, 0x3c00 },                 /* UMAC_TX_IPG_LEN */
    { 0x0e18, 0x91 },                   /* MDIO_CFG */
};

static uint32_t *genet_reg(BCM2711GenetState *s, hwaddr offset)
{
    return &s->regs[offset / sizeof(uint32_t)];
}

static uint32_t *genet_ring_reg(BCM2711GenetState *s, hwaddr dma,
                                unsigned ring, hwaddr reg)
{
    return genet_reg(s, dma + DMA_RINGS + ring * DMA_RING_SIZE + reg);
}

static uint32_t *genet_desc(BCM2711GenetState *s, hwaddr dma, unsigned index)
{
    return genet_reg(s, dma + index * DMA_DESC_WORDS * sizeof(uint32_t));
}

static int64_t genet_now(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

/* Something a driver must not do: logged, and counted for tests. */
static void G_GNUC_PRINTF(2, 3)
genet_guest_error(BCM2711GenetState *s, const char *format, ...)
{
    s->guest_errors++;
    if (qemu_loglevel_mask(LOG_GUEST_ERROR)) {
        g_autofree char *text = NULL;
        va_list args;

        va_start(args, format);
        text = g_strdup_vprintf(format, args);
        va_end(args);
        qemu_log("bcm2711-genet: %s\n", text);
    }
}

/*
 * Faults
 */

/* Of enum GenetFault, in its order. */
static const char *const genet_fault_names[GENET_FAULTS] = {
    "frame", "transfer", "register",
};

/* xorshift64*: the same faults for the same seed. */
static uint32_t genet_random(BCM2711GenetState *s)
{
    uint64_t x = s->fault_state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    s->fault_state = x;
    return (x * UINT64_C(0x2545f4914f6cdd1d)) >> 32;
}

/* An opportunity for a fault of a kind; the caller carries it out when true. */
static bool genet_fault(BCM2711GenetState *s, enum GenetFault kind)
{
    uint32_t rate = MAX(s->faults, s->kind_faults[kind]);

    if (!rate || genet_random(s) % 1000000 >= rate) {
        return false;
    }
    s->faults_injected++;
    s->kind_faults_injected[kind]++;
    return true;
}

/*
 * Interrupts
 */

static void genet_update_irq(BCM2711GenetState *s)
{
    for (int i = 0; i < 2; i++) {
        qemu_set_irq(s->irq[i], (s->intr_stat[i] & ~s->intr_mask[i]) != 0);
    }
}

static void genet_raise(BCM2711GenetState *s, unsigned controller,
                        uint32_t bits)
{
    s->intr_stat[controller] |= bits;
    genet_update_irq(s);
}

static void genet_raise_rx(BCM2711GenetState *s, unsigned ring)
{
    s->rx_done[ring] = 0;
    s->rx_deadline[ring] = 0;
    if (ring == RING_DEFAULT) {
        genet_raise(s, 0, INTR0_RX_DONE);
    } else {
        genet_raise(s, 1, BIT(INTR1_RX_SHIFT + ring));
    }
    if (genet_fault(s, GENET_FAULT_REGISTER)) {
        genet_raise(s, 0, genet_random(s) & INTR0_ALL);
        genet_raise(s, 1, genet_random(s));
    }
}

static void genet_raise_tx(BCM2711GenetState *s, unsigned ring)
{
    s->tx_done[ring] = 0;
    if (ring == RING_DEFAULT) {
        genet_raise(s, 0, INTR0_TX_DONE);
    } else {
        genet_raise(s, 1, BIT(ring));
    }
}

static void genet_rx_timer_arm(BCM2711GenetState *s)
{
    int64_t next = INT64_MAX;

    for (int ring = 0; ring < BCM2711_GENET_RINGS; ring++) {
        if (s->rx_deadline[ring]) {
            next = MIN(next, s->rx_deadline[ring]);
        }
    }
    if (next == INT64_MAX) {
        timer_del(s->rx_timer);
    } else {
        timer_mod(s->rx_timer, next);
    }
}

static void genet_rx_timer(void *opaque)
{
    BCM2711GenetState *s = opaque;
    int64_t now = genet_now();

    for (int ring = 0; ring < BCM2711_GENET_RINGS; ring++) {
        if (s->rx_deadline[ring] && s->rx_deadline[ring] <= now) {
            genet_raise_rx(s, ring);
        }
    }
    genet_rx_timer_arm(s);
}

/* Frames went up to a ring: interrupt now, or when the ring's time is up. */
static void genet_rx_moderate(BCM2711GenetState *s, unsigned ring)
{
    uint32_t thresh = *genet_ring_reg(s, RDMA, ring, RING_DONE_THRESH) & 0x1ff;
    uint32_t ticks = *genet_reg(s, RDMA + DMA_RING_TIMEOUT + ring * 4)
                     & 0xffff;

    s->rx_done[ring]++;
    if (thresh && s->rx_done[ring] >= thresh) {
        genet_raise_rx(s, ring);
    } else if (ticks && !s->rx_deadline[ring]) {
        s->rx_deadline[ring] = genet_now() + (int64_t)ticks * TIMEOUT_TICK_NS;
    } else {
        return;
    }
    genet_rx_timer_arm(s);
}

/*
 * Counters
 */

static void genet_count(BCM2711GenetState *s, hwaddr group, unsigned counter,
                        uint32_t n)
{
    uint32_t held = *genet_reg(s, UMAC_MIB_CTRL);
    uint32_t bit = group == MIB_RX ? MIB_RESET_RX
                 : group == MIB_TX ? MIB_RESET_TX : MIB_RESET_RUNT;

    if (!(held & bit)) {
        *genet_reg(s, group + counter * 4) += n;
    }
}

/* The size counter of a frame, by its length with FCS. */
static unsigned genet_size_bin(size_t size, bool tagged)
{
    static const uint16_t last[] = { 64, 127, 255, 511, 1023, 1518 };

    for (unsigned i = 0; i < ARRAY_SIZE(last); i++) {
        if (size <= last[i]) {
            return MIB_BINS + i;
        }
    }
    if (tagged && size <= 1522) {
        return MIB_BINS + 6;
    }
    return MIB_BINS + (size <= 2047 ? 7 : size <= 4095 ? 8 : 9);
}

static bool genet_is_tagged(const uint8_t *frame)
{
    return lduw_be_p(frame + 12) == ETH_P_VLAN;
}

/*
 * The way between MAC and wire
 */

static uint32_t genet_link_speed_field(BCM2711GenetState *s)
{
    return s->phy.speed == 1000 ? 2 : s->phy.speed == 100 ? 1 : 0;
}

/* Why frames of one direction are lost between MAC and PHY; NULL: they pass. */
static const char *genet_path_fault(BCM2711GenetState *s, bool tx)
{
    uint32_t oob = *genet_reg(s, EXT_RGMII_OOB_CTRL);
    uint32_t cmd = *genet_reg(s, UMAC_CMD);
    bool mac_delays_tx = !(oob & ID_MODE_DIS);

    if ((*genet_reg(s, SYS_PORT_CTRL) & PORT_MODE_MASK)
        != PORT_MODE_EXT_GPHY) {
        return "SYS_PORT_CTRL does not select the external gigabit PHY";
    }
    if (!(oob & RGMII_MODE_EN)) {
        return "RGMII_MODE_EN is clear";
    }
    if (!(oob & RGMII_LINK)) {
        return "RGMII_LINK is clear";
    }
    if (extract32(cmd, CMD_SPEED_SHIFT, 2) != genet_link_speed_field(s)) {
        return "UMAC_CMD's speed is not the link's";
    }
    if (tx && s->tx_dead) {
        return "the MAC left reset without a receive clock";
    }
    if (tx && mac_delays_tx == bcm54213pe_delays_tx(&s->phy)) {
        return mac_delays_tx ? "MAC and PHY both delay the transmit clock"
                             : "nobody delays the transmit clock";
    }
    if (!tx && !bcm54213pe_delays_rx(&s->phy)) {
        return "nobody delays the receive clock";
    }
    return NULL;
}

/* As above, told once for each cause; a link that is down is no fault. */
static bool genet_path_open(BCM2711GenetState *s, bool tx)
{
    const char *fault;

    if (!s->phy.link) {
        return false;
    }
    fault = genet_path_fault(s, tx);
    if (fault && fault != s->path_fault[tx]) {
        genet_guest_error(s, "%s frames are lost: %s",
                          tx ? "transmit" : "receive", fault);
    }
    s->path_fault[tx] = fault;
    return !fault && genet_now() >= s->forward_at;
}

/*
 * Rings
 */

/* The engine runs: enabled, and with the burst size this chip can do. */
static bool genet_dma_runs(BCM2711GenetState *s, hwaddr dma)
{
    return (*genet_reg(s, dma + DMA_CTRL) & DMA_EN) &&
           *genet_reg(s, dma + DMA_SCB_BURST) == SCB_BURST_BCM2711;
}

static bool genet_ring_enabled(BCM2711GenetState *s, hwaddr dma,
                               unsigned ring)
{
    return *genet_reg(s, dma + DMA_CTRL) & DMA_RING_EN(ring);
}

static bool genet_ring_runs(BCM2711GenetState *s, hwaddr dma, unsigned ring)
{
    return genet_dma_runs(s, dma) && genet_ring_enabled(s, dma, ring) &&
           (*genet_reg(s, dma + DMA_RING_CFG) & BIT(ring));
}

typedef struct GenetRing {
    unsigned first;             /* descriptor */
    unsigned count;             /* descriptors, a power of two or not */
    unsigned buffer;            /* bytes in each receive buffer */
} GenetRing;

/* The ring's place among the descriptors; false and a word when it has none. */
static bool genet_ring_place(BCM2711GenetState *s, hwaddr dma, unsigned ring,
                             GenetRing *place)
{
    uint32_t start = *genet_ring_reg(s, dma, ring, RING_START);
    uint32_t end = *genet_ring_reg(s, dma, ring, RING_END);
    uint32_t size = *genet_ring_reg(s, dma, ring, RING_BUF_SIZE);
    const char *name = dma == RDMA ? "receive" : "transmit";

    if (*genet_ring_reg(s, dma, ring, RING_START_HI) ||
        *genet_ring_reg(s, dma, ring, RING_END_HI) ||
        start % DMA_DESC_WORDS || (end + 1) % DMA_DESC_WORDS ||
        end < start || end >= DMA_DESCRIPTORS * DMA_DESC_WORDS) {
        genet_guest_error(s, "%s ring %u runs from word %u to %u", name, ring,
                          start, end);
        return false;
    }
    place->first = start / DMA_DESC_WORDS;
    place->count = (end + 1 - start) / DMA_DESC_WORDS;
    place->buffer = size & 0xffff;
    if (size >> 16 != place->count) {
        genet_guest_error(s, "%s ring %u has %u descriptors, says %u", name,
                          ring, place->count, size >> 16);
        return false;
    }
    if (dma == RDMA && (!place->buffer || place->buffer > DESC_LENGTH_MASK)) {
        genet_guest_error(s, "receive ring %u has buffers of %u bytes", ring,
                          place->buffer);
        return false;
    }
    return true;
}

/* Moves the hardware's index, and its pointer with it. */
static void genet_ring_advance(BCM2711GenetState *s, hwaddr dma,
                               unsigned ring, const GenetRing *place,
                               unsigned n)
{
    uint32_t *index = genet_ring_reg(s, dma, ring, RING_HW_INDEX);
    uint16_t next = *index + n;

    *index = (*index & 0xffff0000) | next;
    *genet_ring_reg(s, dma, ring, RING_HW_PTR) =
        (place->first + next % place->count) * DMA_DESC_WORDS;
}

/* RAM only: the bus master has no business in device registers. */
static bool genet_dma_access(BCM2711GenetState *s, const uint32_t *desc,
                             void *buffer, size_t size, bool to_memory)
{
    const MemTxAttrs attrs = { .memory = 1 };
    hwaddr address = (hwaddr)(desc[2] & DMA_ADDRESS_HI_MASK) << 32 | desc[1];

    if (desc[2] & ~DMA_ADDRESS_HI_MASK) {
        genet_guest_error(s, "address 0x%x%08x has more than 40 bits",
                          desc[2], desc[1]);
        return false;
    }
    if (address_space_rw(&s->dma_as, address, attrs, buffer, size, to_memory) !=
        MEMTX_OK) {
        genet_guest_error(s, "DMA of %zu bytes %s 0x%" HWADDR_PRIx " failed",
                          size, to_memory ? "to" : "from", address);
        return false;
    }
    return true;
}

/*
 * Receive
 */

/* The MAC listens. */
static bool genet_rx_enabled(BCM2711GenetState *s)
{
    uint32_t cmd = *genet_reg(s, UMAC_CMD);

    return (cmd & CMD_RX_EN) && !(cmd & CMD_SW_RESET) &&
           !(*genet_reg(s, SYS_RBUF_FLUSH_CTRL) & RBUF_FLUSH_UMAC);
}

static bool genet_is_own_address(BCM2711GenetState *s, const uint8_t *address)
{
    return ldl_be_p(address) == *genet_reg(s, UMAC_MAC0) &&
           lduw_be_p(address + 4) == (*genet_reg(s, UMAC_MAC1) & 0xffff);
}

static bool genet_address_passes(BCM2711GenetState *s, const uint8_t *frame)
{
    uint32_t filters = *genet_reg(s, UMAC_MDF_CTRL) & MAKE_64BIT_MASK(0, 17);

    if (*genet_reg(s, UMAC_CMD) & CMD_PROMISC) {
        return true;
    }
    if (!filters) {
        return (frame[0] & 1) || genet_is_own_address(s, frame);
    }
    for (int i = 0; i < MDF_FILTERS; i++) {
        const uint32_t *filter = genet_reg(s, UMAC_MDF_ADDR + 8 * i);

        if ((filters & BIT(MDF_FILTERS - 1 - i)) &&
            lduw_be_p(frame) == (filter[0] & 0xffff) &&
            ldl_be_p(frame + 2) == filter[1]) {
            return true;
        }
    }
    return false;
}

/* Does filter `f` of the filter block match the frame's first bytes? */
static bool genet_hfb_matches(BCM2711GenetState *s, unsigned f,
                              const uint8_t *frame, size_t size)
{
    uint32_t lengths = *genet_reg(s, HFB_LENGTH + (HFB_FILTERS - 1 - f) / 4 * 4);
    unsigned length = extract32(lengths, 8 * (f % 4), 8);
    const uint32_t *words = genet_reg(s, HFB + f * HFB_FILTER_WORDS * 4);

    for (unsigned i = 0; i < length; i++) {
        /* A word: two bytes, and above them a bit for each nibble. */
        unsigned half = i % 2 ? 0 : 1;
        uint8_t byte = extract32(words[i / 2], 8 * half, 8);
        unsigned nibbles = extract32(words[i / 2], 16 + 2 * half, 2);
        uint8_t mask = (nibbles & 2 ? 0xf0 : 0) | (nibbles & 1 ? 0x0f : 0);

        if (mask && (i >= size || ((frame[i] ^ byte) & mask))) {
            return false;
        }
    }
    return length != 0;
}

/* The ring for a frame: of the matching filters the highest decides. */
static unsigned genet_rx_ring(BCM2711GenetState *s, const uint8_t *frame,
                              size_t size)
{
    uint64_t enabled = (uint64_t)*genet_reg(s, HFB_ENABLE_HIGH) << 32 |
                       *genet_reg(s, HFB_ENABLE_LOW);

    if (*genet_reg(s, HFB_CTRL) & HFB_EN) {
        for (int f = HFB_FILTERS - 1; f >= 0; f--) {
            if ((enabled >> f & 1) && genet_hfb_matches(s, f, frame, size)) {
                uint32_t rings = *genet_reg(s, RDMA + DMA_INDEX2RING +
                                            f / 8 * 4);

                return extract32(rings, 4 * (f % 8), 4);
            }
        }
    }
    return RING_DEFAULT;
}

/* RFC 1071's sum, not complemented, of big-endian words. */
static uint16_t genet_sum(const uint8_t *data, size_t size)
{
    uint32_t sum = net_checksum_add(size, (uint8_t *)data);

    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* Is this an unfragmented TCP or UDP packet whose checksum is right? */
static bool genet_l4_checksum_ok(const uint8_t *frame, size_t size)
{
    size_t ip = ETH_HLEN, l4, length;
    uint16_t type = lduw_be_p(frame + 12);
    uint32_t sum;
    uint8_t protocol;

    if (type == ETH_P_VLAN && size >= ETH_HLEN + 4) {
        type = lduw_be_p(frame + 16);
        ip += 4;
    }
    if (type == ETH_P_IP && size >= ip + 20) {
        size_t header = (frame[ip] & 0xf) * 4;
        size_t total = lduw_be_p(frame + ip + 2);

        if (frame[ip] >> 4 != 4 || header < 20 || total < header ||
            size < ip + total || (lduw_be_p(frame + ip + 6) & 0x3fff) ||
            genet_sum(frame + ip, header) != 0xffff) {
            return false;
        }
        l4 = ip + header;
        length = total - header;
        protocol = frame[ip + 9];
        sum = genet_sum(frame + ip + 12, 8);
    } else if (type == ETH_P_IPV6 && size >= ip + 40) {
        length = lduw_be_p(frame + ip + 4);
        l4 = ip + 40;
        if (frame[ip] >> 4 != 6 || size < l4 + length) {
            return false;
        }
        protocol = frame[ip + 6];
        sum = genet_sum(frame + ip + 8, 32);
    } else {
        return false;
    }
    if (!(protocol == 6 && length >= 20) &&
        !(protocol == 17 && length >= 8 && lduw_be_p(frame + l4 + 6))) {
        return false;
    }
    sum += protocol + length + genet_sum(frame + l4, length);
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum == 0xffff;
}

/* Free buffers of a receive ring. */
static unsigned genet_rx_free(BCM2711GenetState *s, unsigned ring,
                              const GenetRing *place)
{
    uint16_t used = *genet_ring_reg(s, RDMA, ring, RING_HW_INDEX) -
                    *genet_ring_reg(s, RDMA, ring, RING_SW_INDEX);

    return used > place->count ? 0 : place->count - used;
}

static void genet_rx_discard(BCM2711GenetState *s, unsigned ring)
{
    uint32_t *index = genet_ring_reg(s, RDMA, ring, RING_HW_INDEX);

    if (*index >> 16 != 0xffff) {
        *index += 0x10000;
    }
}

/* Pause frames go out when both ends agreed and the MAC may send them. */
static bool genet_pauses_partner(BCM2711GenetState *s)
{
    uint32_t cmd = *genet_reg(s, UMAC_CMD);

    return !(cmd & (CMD_TX_PAUSE_IGNORE | CMD_HALF_DUPLEX)) &&
           (cmd & CMD_TX_EN) && bcm54213pe_pause(&s->phy);
}

/* Writes a frame (with its status block) into the ring's next buffers. */
static void genet_rx_dma(BCM2711GenetState *s, unsigned ring,
                         const uint8_t *frame, size_t size, uint16_t status)
{
    uint32_t rbuf = *genet_reg(s, RBUF_CTRL);
    uint32_t check = *genet_reg(s, RBUF_CHK_CTRL);
    bool with_fcs = *genet_reg(s, UMAC_CMD) & CMD_CRC_FWD;
    uint32_t xoff = *genet_ring_reg(s, RDMA, ring, RING_XON_XOFF) >> 16;
    uint8_t *out = s->rx_out;
    size_t head = 0, total, done = 0;
    unsigned needed, at;
    uint32_t descriptor[DMA_DESC_WORDS];
    GenetRing place;

    if (!genet_ring_runs(s, RDMA, ring)) {
        s->rx_lost++;
        return;
    }
    if (!genet_ring_place(s, RDMA, ring, &place)) {
        s->rx_lost++;
        return;
    }

    if (rbuf & RBUF_64B) {
        head += STATUS_BLOCK;
    }
    if (rbuf & RBUF_ALIGN_2B) {
        head += 2;
    }
    memset(out, 0, head);
    memcpy(out + head, frame, size);
    total = head + size;
    if (with_fcs) {
        stl_le_p(out + total, crc32(0, frame, size));
        total += FCS_LEN;
    }

    if ((check & RBUF_RXCHK) && !(check & RBUF_L3_PARSE_DIS) &&
        (!with_fcs || (check & RBUF_SKIP_FCS)) &&
        genet_l4_checksum_ok(frame, size)) {
        status |= RXD_CHECKSUM_OK;
    }
    if (genet_fault(s, GENET_FAULT_TRANSFER)) {
        /* A length that does not cover what comes before the frame. */
        total = 1 + genet_random(s) % (head + ETH_HLEN);
    }
    if (rbuf & RBUF_64B) {
        size_t covered = size + (with_fcs && !(check & RBUF_SKIP_FCS)
                                 ? FCS_LEN : 0);

        stl_le_p(out + RSB_LENGTH_STATUS,
                 total << DESC_LENGTH_SHIFT | DESC_SOP | DESC_EOP | status);
        if ((check & RBUF_RXCHK) && covered > ETH_HLEN) {
            stl_le_p(out + RSB_CHECKSUM,
                     genet_sum(out + head + ETH_HLEN, covered - ETH_HLEN));
        }
    }

    needed = DIV_ROUND_UP(total, place.buffer);
    if (genet_rx_free(s, ring, &place) < needed) {
        genet_rx_discard(s, ring);
        s->rx_lost++;
        return;
    }
    at = *genet_ring_reg(s, RDMA, ring, RING_HW_INDEX) & 0xffff;
    for (unsigned i = 0; i < needed; i++) {
        unsigned slot = (at + i) % place.count;
        uint32_t *desc = genet_desc(s, RDMA, place.first + slot);
        size_t chunk = MIN(total - done, place.buffer);
        uint16_t marks = status;

        memcpy(descriptor, desc, sizeof(descriptor));
        if (!genet_dma_access(s, descriptor, out + done, chunk, true)) {
            marks |= RXD_OVERFLOW;
        }
        marks |= i == 0 ? DESC_SOP : 0;
        marks |= i == needed - 1 ? DESC_EOP : 0;
        marks |= slot == place.count - 1 ? DESC_WRAP : 0;
        if (genet_fault(s, GENET_FAULT_TRANSFER)) {
            marks &= genet_random(s) & 1 ? ~DESC_SOP : ~DESC_EOP;
        }
        desc[0] = chunk << DESC_LENGTH_SHIFT | marks;
        done += chunk;
    }
    genet_ring_advance(s, RDMA, ring, &place, needed);
    genet_rx_moderate(s, ring);

    if (xoff && genet_rx_free(s, ring, &place) < xoff &&
        genet_pauses_partner(s)) {
        s->rx_paused = true;
    }
}

/* Keeps a frame for when DMA runs again. */
static void genet_fifo_push(BCM2711GenetState *s, const uint8_t *frame,
                            size_t size, uint16_t status)
{
    if (s->fifo_len + FIFO_ENTRY_HEADER + size > sizeof(s->fifo)) {
        *genet_reg(s, RBUF_OVFL_CNT) += 1;
        s->rx_lost++;
        genet_raise(s, 0, INTR0_RBUF_OVERFLOW);
        return;
    }
    stw_le_p(s->fifo + s->fifo_len, size);
    stw_le_p(s->fifo + s->fifo_len + 2, status);
    memcpy(s->fifo + s->fifo_len + FIFO_ENTRY_HEADER, frame, size);
    s->fifo_len += FIFO_ENTRY_HEADER + size;
}

static void genet_fifo_drain(BCM2711GenetState *s)
{
    uint32_t at = 0;

    if (!s->fifo_len || !genet_dma_runs(s, RDMA)) {
        return;
    }
    while (at + FIFO_ENTRY_HEADER <= s->fifo_len) {
        size_t size = lduw_le_p(s->fifo + at);
        uint16_t status = lduw_le_p(s->fifo + at + 2);
        const uint8_t *frame = s->fifo + at + FIFO_ENTRY_HEADER;

        if (size < ETH_HLEN || at + FIFO_ENTRY_HEADER + size > s->fifo_len) {
            break;              /* only a doctored migration stream */
        }
        s->stale_frames += at < s->fifo_stale;
        genet_rx_dma(s, genet_rx_ring(s, frame, size), frame, size, status);
        at += FIFO_ENTRY_HEADER + size;
    }
    s->fifo_len = 0;
    s->fifo_stale = 0;
}

/* MAC control frames stay in the MAC, unless it is told to pass them on. */
static bool genet_rx_control(BCM2711GenetState *s, const uint8_t *frame)
{
    if (lduw_be_p(frame + 12) != 0x8808) {
        return false;
    }
    genet_count(s, MIB_RX, MIB_RX_CONTROL, 1);
    if (lduw_be_p(frame + 14) == 1) {
        genet_count(s, MIB_RX, MIB_RX_PAUSE, 1);
    } else {
        genet_count(s, MIB_RX, MIB_RX_UNKNOWN, 1);
    }
    return !(*genet_reg(s, UMAC_CMD) & CMD_PAUSE_FWD);
}

/* A frame off the wire (without FCS), with the errors it arrived with. */
static void genet_rx_mac(BCM2711GenetState *s, const uint8_t *frame,
                         size_t size, uint16_t status)
{
    uint32_t cmd = *genet_reg(s, UMAC_CMD);
    uint32_t longest = *genet_reg(s, UMAC_MAX_FRAME) & 0x3fff;
    uint16_t type;

    if (size < MIN_FRAME && !(cmd & CMD_RUNT_FILTER_DIS)) {
        genet_count(s, MIB_RUNT, MIB_RUNT_FRAMES, 1);
        genet_count(s, MIB_RUNT, status & RXD_CRC_ERROR ? MIB_RUNT_BAD_FCS
                                                        : MIB_RUNT_GOOD_FCS, 1);
        genet_count(s, MIB_RUNT, MIB_RUNT_BYTES, size + FCS_LEN);
        return;
    }
    if (size < ETH_HLEN + 2) {
        return;
    }
    if (!genet_address_passes(s, frame)) {
        return;
    }

    genet_count(s, MIB_RX, MIB_RX_FRAMES, 1);
    genet_count(s, MIB_RX, MIB_RX_BYTES, size + FCS_LEN);
    genet_count(s, MIB_RX, genet_size_bin(size + FCS_LEN,
                                          genet_is_tagged(frame)), 1);
    if (is_broadcast_ether_addr(frame)) {
        status |= RXD_BROADCAST;
        genet_count(s, MIB_RX, MIB_RX_BROADCAST, 1);
    } else if (frame[0] & 1) {
        status |= RXD_MULTICAST;
        genet_count(s, MIB_RX, MIB_RX_MULTICAST, 1);
    } else {
        genet_count(s, MIB_RX, MIB_RX_UNICAST, 1);
    }
    if (size + FCS_LEN > longest) {
        genet_count(s, MIB_RX, MIB_RX_OVERSIZE, 1);
        status |= RXD_TOO_LONG;
        size = MAX(longest, MIN_FRAME + FCS_LEN) - FCS_LEN;
    }
    type = lduw_be_p(frame + 12);
    if (type <= 1500 && size < ETH_HLEN + type && !(cmd & CMD_NO_LEN_CHECK)) {
        genet_count(s, MIB_RX, MIB_RX_LENGTH, 1);
        status |= RXD_RX_ERROR;
    }
    if (status & RXD_CRC_ERROR) {
        genet_count(s, MIB_RX, MIB_RX_FCS, 1);
    } else {
        genet_count(s, MIB_RX, MIB_RX_CRC_MATCH, 1);
    }
    if (status & RXD_ODD_NIBBLE) {
        genet_count(s, MIB_RX, MIB_RX_ALIGN, 1);
    }
    if (status & RXD_RX_ERROR) {
        genet_count(s, MIB_RX, MIB_RX_CODE, 1);
    }
    if (!(status & RXD_ERRORS)) {
        genet_count(s, MIB_RX, MIB_RX_GOOD, 1);
    }
    if (genet_rx_control(s, frame)) {
        return;
    }
    if (status & RXD_ERRORS) {
        *genet_reg(s, RBUF_ERR_CNT) += 1;
        if (*genet_reg(s, RBUF_CTRL) & RBUF_DROP_BAD) {
            return;
        }
    }
    if (*genet_reg(s, RBUF_ENERGY_CTRL) & RBUF_ENERGY_BITS) {
        genet_guest_error(s, "RBUF_ENERGY_CTRL's bits lose received frames");
        s->rx_lost++;
        return;
    }
    if (*genet_reg(s, SYS_RBUF_FLUSH_CTRL) & RBUF_FLUSH_RX) {
        return;
    }
    if (genet_dma_runs(s, RDMA)) {
        genet_rx_dma(s, genet_rx_ring(s, frame, size), frame, size, status);
    } else {
        genet_fifo_push(s, frame, size, status);
    }
}

static void genet_fill_random(BCM2711GenetState *s, uint8_t *data,
                              size_t size)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = genet_random(s);
    }
}

/*
 * A frame that something happens to. What the MAC can tell is flagged; what
 * it cannot (a frame cut short by a switch) is left for the checksums above.
 */
static void genet_rx_faulty(BCM2711GenetState *s, uint8_t *frame, size_t size)
{
    uint8_t extra[1980];
    size_t n;

    switch (genet_random(s) % 9) {
    case 0:
        frame[genet_random(s) % size] ^= 1 << genet_random(s) % 8;
        genet_rx_mac(s, frame, size, RXD_CRC_ERROR);
        break;
    case 1:
        genet_rx_mac(s, frame, MAX(MIN_FRAME, genet_random(s) % size),
                     RXD_OVERFLOW);
        break;
    case 2:
        frame[genet_random(s) % size] ^= 0xf0;
        genet_rx_mac(s, frame, size, RXD_ODD_NIBBLE);
        break;
    case 3:
        genet_rx_mac(s, frame, size, RXD_RX_ERROR);
        break;
    case 4:                     /* a giant to us, then the frame */
        n = 1519 + genet_random(s) % (sizeof(extra) - 1519);
        genet_fill_random(s, extra, n);
        memcpy(extra, frame, ETH_ALEN);
        genet_rx_mac(s, extra, n, 0);
        genet_rx_mac(s, frame, size, 0);
        break;
    case 5:                     /* a runt to us, past the filter for runts */
        n = ETH_HLEN + 2 + genet_random(s) % (MIN_FRAME - ETH_HLEN - 2);
        genet_fill_random(s, extra, n);
        memcpy(extra, frame, ETH_ALEN);
        if (genet_rx_enabled(s) && genet_dma_runs(s, RDMA)) {
            genet_rx_dma(s, genet_rx_ring(s, extra, n), extra, n, 0);
        }
        genet_rx_mac(s, frame, size, 0);
        break;
    case 6:                     /* cut short, but whole to the MAC */
        genet_rx_mac(s, frame, MAX(MIN_FRAME, genet_random(s) % size), 0);
        break;
    case 7:                     /* lost for want of a buffer */
        genet_rx_discard(s, genet_rx_ring(s, frame, size));
        s->rx_lost++;
        break;
    default:                    /* lost before the MAC */
        s->rx_lost++;
        break;
    }
}

static void genet_rx_wire(BCM2711GenetState *s, const uint8_t *frame,
                          size_t size)
{
    size = MIN(size, sizeof(s->rx_frame));
    memcpy(s->rx_frame, frame, size);
    if (size >= MIN_FRAME && genet_fault(s, GENET_FAULT_FRAME)) {
        genet_rx_faulty(s, s->rx_frame, size);
    } else {
        genet_rx_mac(s, s->rx_frame, size, 0);
    }
}

static bool genet_can_receive(NetClientState *nc)
{
    BCM2711GenetState *s = qemu_get_nic_opaque(nc);

    s->rx_refused = s->rx_paused && genet_pauses_partner(s) &&
                    genet_rx_enabled(s) && genet_dma_runs(s, RDMA);
    return !s->rx_refused;
}

static ssize_t genet_receive(NetClientState *nc, const uint8_t *buf,
                             size_t size)
{
    BCM2711GenetState *s = qemu_get_nic_opaque(nc);

    if (!genet_rx_enabled(s)) {
        return size;
    }
    if (!genet_path_open(s, false)) {
        s->rx_lost++;
        return size;
    }
    genet_rx_wire(s, buf, size);
    return size;
}

/* After any write that may have made room or changed who may send. */
static void genet_rx_resume(BCM2711GenetState *s)
{
    NetClientState *nc = qemu_get_queue(s->nic);

    if (s->rx_paused) {
        bool room = true;

        for (unsigned ring = 0; ring < BCM2711_GENET_RINGS; ring++) {
            uint32_t xon = *genet_ring_reg(s, RDMA, ring, RING_XON_XOFF)
                           & 0xffff;
            GenetRing place;

            if (genet_ring_runs(s, RDMA, ring) &&
                genet_ring_place(s, RDMA, ring, &place)) {
                room &= genet_rx_free(s, ring, &place) >=
                        MIN(xon, place.count);
            }
        }
        s->rx_paused = !room;
    }
    if (s->rx_refused && genet_can_receive(nc)) {
        qemu_flush_queued_packets(nc);
    }
}

/*
 * Transmit
 */

/* Puts the sum where the status block says; false when it says nonsense. */
static bool genet_tx_checksum(BCM2711GenetState *s, uint8_t *frame,
                              size_t size, uint32_t info)
{
    unsigned start = extract32(info, 16, 15);
    unsigned offset = extract32(info, 0, 15);
    uint16_t sum;

    if (!(info & TSB_VALID)) {
        genet_guest_error(s, "checksum asked for without a valid status block");
        return false;
    }
    if (start >= size || offset < start || offset + 2 > size) {
        genet_guest_error(s, "checksum from %u at %u in a frame of %zu bytes",
                          start, offset, size);
        return false;
    }
    sum = ~genet_sum(frame + start, size - start);
    if (!sum && (info & TSB_UDP)) {
        sum = 0xffff;
    }
    stw_be_p(frame + offset, sum);
    return true;
}

/* Adds or checks the FCS; the frame's size without it, or 0: not sent. */
static size_t genet_tx_fcs(BCM2711GenetState *s, uint8_t *frame, size_t size,
                           uint32_t status)
{
    bool pad = *genet_reg(s, UMAC_CMD) & CMD_PAD;

    if (!(status & TXD_APPEND_CRC)) {
        if (size <= ETH_HLEN + FCS_LEN) {
            return 0;
        }
        size -= FCS_LEN;
        if (!(status & TXD_OVERWRITE_CRC) &&
            ldl_le_p(frame + size) != crc32(0, frame, size)) {
            genet_count(s, MIB_TX, MIB_TX_FCS, 1);
            genet_guest_error(s, "frame without APPEND_CRC has a wrong FCS");
            return 0;
        }
    } else {
        pad = true;
    }
    if (size < MIN_FRAME) {
        if (!pad) {
            genet_guest_error(s, "runt of %zu bytes sent", size);
            return 0;
        }
        memset(frame + size, 0, MIN_FRAME - size);
        size = MIN_FRAME;
    }
    return size;
}

static void genet_tx_count(BCM2711GenetState *s, const uint8_t *frame,
                           size_t size)
{
    genet_count(s, MIB_TX, MIB_TX_FRAMES, 1);
    genet_count(s, MIB_TX, MIB_TX_GOOD, 1);
    genet_count(s, MIB_TX, MIB_TX_BYTES, size + FCS_LEN);
    genet_count(s, MIB_TX, genet_size_bin(size + FCS_LEN,
                                          genet_is_tagged(frame)), 1);
    genet_count(s, MIB_TX, is_broadcast_ether_addr(frame) ? MIB_TX_BROADCAST
                         : frame[0] & 1 ? MIB_TX_MULTICAST
                         : MIB_TX_UNICAST, 1);
}

/* A gathered frame, status block and all, on its way to the wire. */
static void genet_tx_mac(BCM2711GenetState *s, uint8_t *frame, size_t size,
                         size_t first, uint32_t status, bool whole)
{
    bool block = *genet_reg(s, TBUF_CTRL) & TBUF_64B;
    size_t headers = block ? STATUS_BLOCK + 34 : MIN_FRAME;
    uint32_t info = 0;

    if (!whole && first < headers) {
        genet_guest_error(s, "first of several fragments has %zu bytes, "
                          "needs %zu", first, headers);
        goto lost;
    }
    if (block) {
        if (first < STATUS_BLOCK) {
            genet_guest_error(s, "no room for the status block in %zu bytes",
                              first);
            goto lost;
        }
        info = ldl_le_p(frame + TSB_CHECKSUM);
        frame += STATUS_BLOCK;
        size -= STATUS_BLOCK;
    }
    if (size < ETH_HLEN || size > TX_FRAME_MAX ||
        size + FCS_LEN > (*genet_reg(s, UMAC_MAX_FRAME) & 0x3fff)) {
        genet_count(s, MIB_TX, MIB_TX_OVERSIZE, size >= ETH_HLEN);
        genet_guest_error(s, "frame of %zu bytes sent", size);
        goto lost;
    }
    if ((status & TXD_CHECKSUM) && block &&
        !genet_tx_checksum(s, frame, size, info)) {
        goto lost;
    }
    size = genet_tx_fcs(s, frame, size, status);
    if (!size) {
        goto lost;
    }
    genet_tx_count(s, frame, size);
    if (*genet_reg(s, UMAC_CMD) & CMD_LOOP) {
        if (genet_rx_enabled(s)) {
            genet_rx_wire(s, frame, size);
        }
        return;
    }
    if (!genet_path_open(s, true) || s->mute ||
        genet_fault(s, GENET_FAULT_FRAME)) {
        goto lost;
    }
    qemu_send_packet(qemu_get_queue(s->nic), frame, size);
    return;

lost:
    s->tx_lost++;
}

/*
 * Gathers and sends the next frame of a ring. Returns how many descriptors
 * it took; 0 when the frame's end is not in the ring yet.
 */
static unsigned genet_tx_frame(BCM2711GenetState *s, const GenetRing *place,
                               uint16_t cons, unsigned pending)
{
    size_t size = 0, first = 0;
    uint32_t status = 0;
    bool broken = false;

    for (unsigned i = 0; i < pending; i++) {
        unsigned slot = place->first + (uint16_t)(cons + i) % place->count;
        const uint32_t *desc = genet_desc(s, TDMA, slot);
        size_t length = desc[0] >> DESC_LENGTH_SHIFT;

        if (i == 0) {
            status = desc[0];
            first = length;
            if (!(desc[0] & DESC_SOP)) {
                genet_guest_error(s, "frame does not start with SOP");
                s->tx_lost++;
                return 1;
            }
        } else if (desc[0] & DESC_SOP) {
            genet_guest_error(s, "SOP before the last frame's EOP");
            s->tx_lost++;
            return i;
        }
        if (!length || length > DESC_LENGTH_MASK ||
            size + length > sizeof(s->tx_frame)) {
            genet_guest_error(s, "fragment of %zu bytes after %zu", length,
                              size);
            broken = true;
        }
        if (!broken) {
            broken = !genet_dma_access(s, desc, s->tx_frame + size, length,
                                       false);
            size += length;
        }
        if (desc[0] & DESC_EOP) {
            if (broken) {
                s->tx_lost++;
            } else {
                genet_tx_mac(s, s->tx_frame, size, first, status, i == 0);
            }
            return i + 1;
        }
    }
    if (pending == place->count) {
        genet_guest_error(s, "a frame without EOP fills the ring");
    }
    return 0;
}

static void genet_tx_ring(BCM2711GenetState *s, unsigned ring)
{
    uint32_t thresh = *genet_ring_reg(s, TDMA, ring, RING_DONE_THRESH) & 0x1ff;
    GenetRing place;

    for (;;) {
        uint16_t cons = *genet_ring_reg(s, TDMA, ring, RING_HW_INDEX);
        uint16_t prod = *genet_ring_reg(s, TDMA, ring, RING_SW_INDEX);
        uint16_t pending = prod - cons;
        unsigned taken;

        if (!pending || timer_pending(s->tx_timer) ||
            !genet_ring_place(s, TDMA, ring, &place)) {
            break;
        }
        if (pending > place.count) {
            genet_guest_error(s, "transmit ring %u has %u of %u descriptors "
                              "pending", ring, pending, place.count);
            break;
        }
        if (genet_fault(s, GENET_FAULT_TRANSFER)) {
            timer_mod(s->tx_timer, genet_now() +
                      (10 + genet_random(s) % 2000) * (int64_t)SCALE_US);
            break;
        }
        taken = genet_tx_frame(s, &place, cons, pending);
        if (!taken) {
            break;
        }
        genet_ring_advance(s, TDMA, ring, &place, taken);
        s->tx_done[ring]++;
        if (thresh && s->tx_done[ring] >= thresh) {
            genet_raise_tx(s, ring);
        }
    }
    if (s->tx_done[ring]) {
        genet_raise_tx(s, ring);        /* the ring ran empty */
    }
}

/* Sends what waits; a MAC that may not send leaves it waiting. */
static void genet_tx_run(BCM2711GenetState *s)
{
    uint32_t cmd = *genet_reg(s, UMAC_CMD);

    if (!(cmd & CMD_TX_EN) || (cmd & CMD_SW_RESET) ||
        (*genet_reg(s, SYS_RBUF_FLUSH_CTRL) & RBUF_FLUSH_UMAC)) {
        return;
    }
    for (unsigned ring = 0; ring < BCM2711_GENET_RINGS; ring++) {
        if (genet_ring_runs(s, TDMA, ring)) {
            genet_tx_ring(s, ring);
        }
    }
}

static void genet_tx_timer(void *opaque)
{
    genet_tx_run(opaque);
}

/*
 * MDIO
 */

static void genet_mdio_timer(void *opaque)
{
    BCM2711GenetState *s = opaque;
    uint32_t *cmd = genet_reg(s, MDIO_CMD);
    unsigned op = extract32(*cmd, 26, 2);
    unsigned address = extract32(*cmd, 21, 5);
    unsigned reg = extract32(*cmd, 16, 5);
    bool answered = address == s->phy_address && !s->mdio_asleep;

    s->mdio_asleep &= address != s->phy_address;
    *cmd &= ~MDIO_START_BUSY;
    if (op == MDIO_OP_WRITE) {
        if (answered) {
            bcm54213pe_write(&s->phy, reg, *cmd & 0xffff);
        }
        genet_raise(s, 0, INTR0_MDIO_DONE);
        return;
    }
    if (s->mdio_zeros) {
        *cmd &= 0xffff0000;
        genet_raise(s, 0, INTR0_MDIO_DONE);
        return;
    }
    if (!answered || (s->fault_mdio && genet_fault(s, GENET_FAULT_REGISTER))) {
        /* Nobody pulls the line down: all ones, and no turn-around. */
        *cmd |= MDIO_READ_FAIL | 0xffff;
        genet_raise(s, 0, INTR0_MDIO_DONE | INTR0_MDIO_ERROR);
        return;
    }
    *cmd = (*cmd & 0xffff0000) | bcm54213pe_read(&s->phy, reg);
    genet_raise(s, 0, INTR0_MDIO_DONE);
}

/* On a busy host the guest's clock can be past the end before the timer is. */
static void genet_mdio_catch_up(BCM2711GenetState *s)
{
    if (timer_pending(s->mdio_timer) &&
        timer_expired(s->mdio_timer, genet_now())) {
        timer_del(s->mdio_timer);
        genet_mdio_timer(s);
    }
}

static void genet_mdio_write(BCM2711GenetState *s, uint32_t value)
{
    unsigned op = extract32(value, 26, 2);
    int64_t duration = MDIO_ACCESS_NS;

    genet_mdio_catch_up(s);
    if (*genet_reg(s, MDIO_CMD) & MDIO_START_BUSY) {
        genet_guest_error(s, "MDIO command while the last one runs");
        return;
    }
    *genet_reg(s, MDIO_CMD) = value & ~(MDIO_READ_FAIL | BIT(31) | BIT(30));
    if (!(value & MDIO_START_BUSY)) {
        return;
    }
    if (op != MDIO_OP_WRITE && op != MDIO_OP_READ) {
        genet_guest_error(s, "MDIO operation %u", op);
        *genet_reg(s, MDIO_CMD) &= ~MDIO_START_BUSY;
        genet_raise(s, 0, INTR0_MDIO_ERROR);
        return;
    }
    if (genet_fault(s, GENET_FAULT_REGISTER)) {
        duration = SCALE_MS;
    }
    timer_mod(s->mdio_timer, genet_now() + duration);
}

static void genet_link_changed(void *opaque)
{
    BCM2711GenetState *s = opaque;

    if (!s->phy.link) {
        s->rx_paused = false;
        genet_raise(s, 0, INTR0_LINK_DOWN);
    } else {
        s->forward_at = genet_now() + (int64_t)s->forward_delay_ms * SCALE_MS;
        if (s->mute == GENET_MUTE_LINK && s->link_known) {
            s->mute = GENET_MUTE_NOT;
        }
        s->link_known = true;
        if (s->phy.speed != 10) {       /* v5 misses it at 10 Mb/s */
            genet_raise(s, 0, INTR0_LINK_UP);
        }
    }
    genet_rx_resume(s);
}

static void genet_set_link(NetClientState *nc)
{
    BCM2711GenetState *s = qemu_get_nic_opaque(nc);

    bcm54213pe_set_cable(&s->phy, !nc->link_down);
}

/*
 * Registers
 */

/* Registers that just keep what is written. */
static const struct {
    uint16_t first, end;
} genet_plain[] = {
    { 0x0004, 0x0010 },                 /* SYS */
    { 0x0040, 0x0080 },                 /* GR_BRIDGE */
    { 0x0080, 0x00a0 },                 /* EXT */
    { 0x0300, 0x03b8 },                 /* RBUF */
    { 0x0600, 0x0628 },                 /* TBUF */
    { 0x0804, 0x0880 },                 /* UMAC */
    { 0x0b30, 0x0b48 },                 /* UMAC pause and flush */
    { 0x0e14, 0x0e1c },                 /* MDIO */
    { 0x0e20, 0x0e3c },                 /* magic packet, MDF errors */
    { UMAC_MDF_CTRL, UMAC_MDF_ADDR + 8 * MDF_FILTERS },
    { RDMA, RDMA + DMA_END },
    { TDMA, TDMA + DMA_END },
    { HFB, HFB + HFB_FILTERS * HFB_FILTER_WORDS * 4 },
    { HFB_CTRL, HFB_END },
};

static bool genet_is_plain(hwaddr offset)
{
    for (unsigned i = 0; i < ARRAY_SIZE(genet_plain); i++) {
        if (offset >= genet_plain[i].first && offset < genet_plain[i].end) {
            return true;
        }
    }
    return false;
}

/* What UMAC_MODE mirrors of the link. */
static uint32_t genet_umac_mode(BCM2711GenetState *s)
{
    uint32_t mode = 0;

    if (s->phy.link) {
        mode = genet_link_speed_field(s) | MODE_LINK;
        mode |= s->phy.full_duplex ? 0 : MODE_HALF_DUPLEX;
        mode |= bcm54213pe_pause(&s->phy) ? MODE_RX_PAUSE | MODE_TX_PAUSE : 0;
    }
    return mode;
}

static uint64_t genet_read(void *opaque, hwaddr offset, unsigned size)
{
    BCM2711GenetState *s = opaque;

    switch (offset) {
    case SYS_REV_CTRL:
        return REV_GENET_V5;
    case UMAC_MODE:
        return genet_umac_mode(s);
    case RDMA + DMA_STATUS:
    case TDMA + DMA_STATUS:
        /* A bit for the engine and one for each ring: it stands still. */
        return ~*genet_reg(s, offset - DMA_STATUS + DMA_CTRL) & DMA_STATUS_ALL;
    case INTRL2_0 + INTR_STAT:
    case INTRL2_1 + INTR_STAT:
        return s->intr_stat[offset >= INTRL2_1];
    case INTRL2_0 + INTR_MASK_STATUS:
    case INTRL2_1 + INTR_MASK_STATUS:
        return s->intr_mask[offset >= INTRL2_1];
    case MIB_RX ... MIB_END - 4:
    case UMAC_MIB_CTRL:
        return *genet_reg(s, offset);
    case MDIO_CMD:
        genet_mdio_catch_up(s);
        return *genet_reg(s, offset);
    default:
        if (genet_is_plain(offset)) {
            return *genet_reg(s, offset);
        }
        qemu_log_mask(LOG_UNIMP, "bcm2711-genet: read of 0x%" HWADDR_PRIx "\n",
                      offset);
        return 0;
    }
}

static void genet_intr_write(BCM2711GenetState *s, unsigned controller,
                             hwaddr reg, uint32_t value)
{
    switch (reg) {
    case INTR_SET:
        s->intr_stat[controller] |= value;
        break;
    case INTR_CLEAR:
        s->intr_stat[controller] &= ~value;
        break;
    case INTR_MASK_SET:
        s->intr_mask[controller] |= value;
        break;
    case INTR_MASK_CLEAR:
        s->intr_mask[controller] &= ~value;
        break;
    default:
        genet_guest_error(s, "write of read-only interrupt register 0x%x",
                          (unsigned)reg);
        break;
    }
    genet_update_irq(s);
}

/* What the UniMAC forgets in its reset. */
static void genet_umac_reset(BCM2711GenetState *s)
{
    *genet_reg(s, UMAC_MAC0) = 0;
    *genet_reg(s, UMAC_MAC1) = 0;
    *genet_reg(s, UMAC_MAX_FRAME) = 1518;
    *genet_reg(s, UMAC_EEE_CTRL) = UMAC_EEE_IDLE;
    s->tx_dead = false;
    s->rx_paused = false;
}

static void genet_cmd_write(BCM2711GenetState *s, uint32_t value)
{
    uint32_t old = *genet_reg(s, UMAC_CMD);

    if (~old & value & CMD_SW_RESET) {
        genet_umac_reset(s);
    }
    if (old & ~value & CMD_SW_RESET) {
        if (s->mute == GENET_MUTE_MAC) {
            s->mute = GENET_MUTE_NOT;
        }
        s->tx_dead = !s->phy.link && !((old | value) & CMD_LOOP);
        if (s->tx_dead) {
            genet_guest_error(s, "UniMAC released from reset with no receive "
                              "clock: its transmitter is dead");
        }
    }
    *genet_reg(s, UMAC_CMD) = value;
}

static void genet_rbuf_flush_write(BCM2711GenetState *s, uint32_t value)
{
    uint32_t old = *genet_reg(s, SYS_RBUF_FLUSH_CTRL);

    if (value & RBUF_FLUSH_RX) {
        s->fifo_len = 0;
        s->fifo_stale = 0;
    }
    if (~old & value & RBUF_FLUSH_UMAC) {
        genet_umac_reset(s);
        *genet_reg(s, UMAC_CMD) = 0;
    }
    *genet_reg(s, SYS_RBUF_FLUSH_CTRL) = value;
}

static void genet_mib_ctrl_write(BCM2711GenetState *s, uint32_t value)
{
    *genet_reg(s, UMAC_MIB_CTRL) = value;
    if (value & MIB_RESET_RX) {
        memset(genet_reg(s, MIB_RX), 0, MIB_TX - MIB_RX);
    }
    if (value & MIB_RESET_TX) {
        memset(genet_reg(s, MIB_TX), 0, MIB_RUNT - MIB_TX);
    }
    if (value & MIB_RESET_RUNT) {
        memset(genet_reg(s, MIB_RUNT), 0, MIB_END - MIB_RUNT);
    }
}

/* The index that belongs to the hardware: RX producer, TX consumer. */
static void genet_hw_index_write(BCM2711GenetState *s, hwaddr dma,
                                 unsigned ring, uint32_t value)
{
    uint32_t *index = genet_ring_reg(s, dma, ring, RING_HW_INDEX);

    if (!genet_ring_enabled(s, dma, ring) && !s->strict_rings) {
        *index = value;
        return;
    }
    if (dma == RDMA && !(value >> 16)) {
        *index &= 0xffff;               /* the discard count is cleared */
    }
    if ((value & 0xffff) && (value & 0xffff) != (*index & 0xffff)) {
        genet_guest_error(s, "%s ring %u: the hardware's index stays %u",
                          dma == RDMA ? "receive" : "transmit", ring,
                          *index & 0xffff);
    }
}

static void genet_ring_write(BCM2711GenetState *s, hwaddr dma, hwaddr offset,
                             uint32_t value)
{
    unsigned ring = (offset - dma - DMA_RINGS) / DMA_RING_SIZE;
    hwaddr reg = (offset - dma) % DMA_RING_SIZE;

    switch (reg) {
    case RING_HW_INDEX:
        genet_hw_index_write(s, dma, ring, value);
        break;
    case RING_HW_PTR:
    case RING_HW_PTR_HI:
        if (!genet_ring_enabled(s, dma, ring) && !s->strict_rings) {
            *genet_reg(s, offset) = value;
        }
        break;
    case RING_SW_INDEX:
        if (value >> 16) {
            genet_guest_error(s, "index 0x%x has more than 16 bits", value);
        }
        *genet_reg(s, offset) = value & 0xffff;
        if (dma == RDMA) {
            uint16_t ahead = *genet_ring_reg(s, dma, ring, RING_HW_INDEX) -
                             value;

            if (ahead > DMA_DESCRIPTORS && genet_ring_runs(s, dma, ring)) {
                genet_guest_error(s, "receive ring %u: consumer %u passes "
                                  "producer %u", ring, value & 0xffff,
                                  (uint16_t)(ahead + value));
            }
        } else {
            genet_tx_run(s);
        }
        break;
    default:
        if (genet_ring_runs(s, dma, ring) && reg >= RING_BUF_SIZE &&
            reg <= RING_END_HI && *genet_reg(s, offset) != value) {
            genet_guest_error(s, "ring %u changes shape while it runs", ring);
        }
        *genet_reg(s, offset) = value;
        break;
    }
}

/* A ring that starts elsewhere than its index says is a trap on some chip. */
static void genet_check_pointers(BCM2711GenetState *s, hwaddr dma)
{
    for (unsigned ring = 0; ring < BCM2711_GENET_RINGS; ring++) {
        uint32_t index = *genet_ring_reg(s, dma, ring, RING_HW_INDEX);
        uint32_t pointer = *genet_ring_reg(s, dma, ring, RING_HW_PTR);
        GenetRing place;

        if (!genet_ring_runs(s, dma, ring) ||
            !genet_ring_place(s, dma, ring, &place)) {
            continue;
        }
        if (pointer != (place.first + (index & 0xffff) % place.count)
                       * DMA_DESC_WORDS) {
            genet_guest_error(s, "%s ring %u starts at word %u with index %u",
                              dma == RDMA ? "receive" : "transmit", ring,
                              pointer, index & 0xffff);
        }
    }
}

static void genet_dma_ctrl_write(BCM2711GenetState *s, hwaddr dma,
                                 uint32_t value)
{
    uint32_t started = value & ~*genet_reg(s, dma + DMA_CTRL);

    *genet_reg(s, dma + DMA_CTRL) = value;
    if (!(value & DMA_EN)) {
        return;
    }
    if ((started & DMA_EN) &&
        *genet_reg(s, dma + DMA_SCB_BURST) != SCB_BURST_BCM2711) {
        genet_guest_error(s, "%s DMA does not run with SCB_BURST_SIZE %u",
                          dma == RDMA ? "receive" : "transmit",
                          *genet_reg(s, dma + DMA_SCB_BURST));
    }
    if ((started & DMA_EN) && dma == RDMA &&
        *genet_reg(s, RBUF_TBUF_SIZE) != 1) {
        genet_guest_error(s, "RBUF_TBUF_SIZE is %u, drivers write 1",
                          *genet_reg(s, RBUF_TBUF_SIZE));
    }
    if (started && !s->strict_rings) {
        genet_check_pointers(s, dma);
    }
    if (dma == TDMA) {
        genet_tx_run(s);
    } else {
        genet_fifo_drain(s);
    }
}

static void genet_write(void *opaque, hwaddr offset, uint64_t value,
                        unsigned size)
{
    BCM2711GenetState *s = opaque;

    switch (offset) {
    case INTRL2_0 ... INTRL2_0 + INTR_MASK_CLEAR:
        genet_intr_write(s, 0, offset - INTRL2_0, value);
        return;
    case INTRL2_1 ... INTRL2_1 + INTR_MASK_CLEAR:
        genet_intr_write(s, 1, offset - INTRL2_1, value);
        return;
    case SYS_REV_CTRL:
    case UMAC_MODE:
    case MIB_RX ... MIB_END - 4:
    case RDMA + DMA_STATUS:
    case TDMA + DMA_STATUS:
        genet_guest_error(s, "write of read-only register 0x%x",
                          (unsigned)offset);
        return;
    case SYS_RBUF_FLUSH_CTRL:
        genet_rbuf_flush_write(s, value);
        break;
    case UMAC_CMD:
        genet_cmd_write(s, value);
        genet_tx_run(s);
        break;
    case UMAC_MIB_CTRL:
        genet_mib_ctrl_write(s, value);
        return;
    case MDIO_CMD:
        genet_mdio_write(s, value);
        return;
    case RBUF_OVFL_CNT:
    case RBUF_ERR_CNT:
    case UMAC_MDF_ERR_CNT:
        *genet_reg(s, offset) = 0;
        return;
    case RDMA + DMA_RINGS ... RDMA + DMA_COMMON - 4:
        genet_ring_write(s, RDMA, offset, value);
        break;
    case TDMA + DMA_RINGS ... TDMA + DMA_COMMON - 4:
        genet_ring_write(s, TDMA, offset, value);
        break;
    case RDMA + DMA_CTRL:
        genet_dma_ctrl_write(s, RDMA, value);
        break;
    case TDMA + DMA_CTRL:
        genet_dma_ctrl_write(s, TDMA, value);
        break;
    default:
        if (!genet_is_plain(offset)) {
            qemu_log_mask(LOG_UNIMP, "bcm2711-genet: write of 0x%" HWADDR_PRIx
                          "\n", offset);
            return;
        }
        *genet_reg(s, offset) = value;
        break;
    }
    genet_rx_resume(s);
}

static const MemoryRegionOps genet_ops = {
    .read = genet_read,
    .write = genet_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    /* Whole words or nothing: anything else is an external abort. */
    .valid = { .min_access_size = 4, .max_access_size = 4 },
};

/*
 * Device
 */

/* What a firmware's netboot left behind in ring 16. */
typedef struct GenetPast {
    const char *name;
    unsigned rx, tx;            /* descriptors */
    uint32_t rx_index, tx_index;
    uint32_t xon_xoff;
    uint32_t oob;
    uint32_t cmd;               /* besides the link's speed */
    bool runs;
} GenetPast;

static const GenetPast genet_pasts[] = {
    /*
     * The worst of old firmware: engines run over all descriptors, and MAC and
     * PHY both delay the clock.
     */
    { "dirty", DMA_DESCRIPTORS, DMA_DESCRIPTORS, 37, 41, 5 << 16 | 16,
      RGMII_LINK | RGMII_MODE_EN | ID_MODE_DIS,
      CMD_TX_EN | CMD_RX_EN | CMD_RX_PAUSE_IGNORE | CMD_TX_PAUSE_IGNORE,
      true },
    /*
     * start4.elf after a netboot: engines stopped, indices that went round more
     * than once, frames in the FIFO.
     */
    { "start4", 128, 8, 1037, 421, 0x0005000a, OOB_IDLE | RGMII_LINK |
      RGMII_MODE_EN,
      CMD_TX_EN | CMD_RX_EN | CMD_RX_PAUSE_IGNORE | CMD_TX_PAUSE_IGNORE,
      false },
    /* The bootloader, abandoned in mid-download. */
    { "bootloader", 64, 32, 677, 137, 0x0005000a, OOB_IDLE | RGMII_LINK |
      RGMII_MODE_EN,
      CMD_TX_EN | CMD_RX_EN | CMD_RX_PAUSE_IGNORE | CMD_TX_PAUSE_IGNORE,
      true },
};

/* The past by that name; NULL for "reset", which has none. */
static const GenetPast *genet_past(const char *name, bool *known)
{
    *known = !name || !strcmp(name, "reset");
    for (unsigned i = 0; i < ARRAY_SIZE(genet_pasts); i++) {
        if (name && !strcmp(name, genet_pasts[i].name)) {
            *known = true;
            return &genet_pasts[i];
        }
    }
    return NULL;
}

static void genet_leave_ring(BCM2711GenetState *s, hwaddr dma, unsigned count,
                             uint32_t index, bool runs)
{
    uint32_t pointer = index % count * DMA_DESC_WORDS;

    *genet_ring_reg(s, dma, RING_DEFAULT, RING_HW_INDEX) = index;
    *genet_ring_reg(s, dma, RING_DEFAULT, RING_SW_INDEX) = index;
    *genet_ring_reg(s, dma, RING_DEFAULT, RING_HW_PTR) = pointer;
    *genet_ring_reg(s, dma, RING_DEFAULT, RING_SW_PTR) = pointer;
    *genet_ring_reg(s, dma, RING_DEFAULT, RING_BUF_SIZE) =
        count << 16 | DIRTY_BUFFER_SIZE;
    *genet_ring_reg(s, dma, RING_DEFAULT, RING_END) =
        count * DMA_DESC_WORDS - 1;
    *genet_reg(s, dma + DMA_SCB_BURST) = SCB_BURST_BCM2711;
    *genet_reg(s, dma + DMA_RING_CFG) = BIT(RING_DEFAULT);
    *genet_reg(s, dma + DMA_CTRL) =
        runs ? DMA_EN | DMA_RING_EN(RING_DEFAULT) : 0;
}

/* As the firmware's netboot leaves things. */
static void genet_leave_past(BCM2711GenetState *s, const GenetPast *past)
{
    static const uint8_t answer[MIN_FRAME] = { [12] = 0x88, 0xb5 };
    const uint8_t *mac = s->conf.macaddr.a;

    genet_leave_ring(s, RDMA, past->rx, past->rx_index, past->runs);
    genet_leave_ring(s, TDMA, past->tx, past->tx_index, past->runs);
    *genet_ring_reg(s, RDMA, RING_DEFAULT, RING_XON_XOFF) = past->xon_xoff;
    for (unsigned i = 0; i < past->rx; i++) {
        uint64_t address = s->dirty_buffer + (uint64_t)i * DIRTY_BUFFER_SIZE;
        uint32_t *desc = genet_desc(s, RDMA, i);

        desc[0] = DIRTY_BUFFER_SIZE << DESC_LENGTH_SHIFT | DESC_OWN;
        desc[1] = address;
        desc[2] = address >> 32;
    }
    if (!past->runs) {
        /* What came after its engine stood still. */
        uint8_t frame[MIN_FRAME];

        memcpy(frame, answer, sizeof(frame));
        memcpy(frame, mac, ETH_ALEN);
        genet_fifo_push(s, frame, sizeof(frame), 0);
        genet_fifo_push(s, frame, sizeof(frame), 0);
        s->fifo_stale = s->fifo_len;
    }

    *genet_reg(s, SYS_PORT_CTRL) = PORT_MODE_EXT_GPHY;
    *genet_reg(s, EXT_RGMII_OOB_CTRL) = past->oob;
    *genet_reg(s, RBUF_CTRL) |= RBUF_ALIGN_2B;
    *genet_reg(s, RBUF_TBUF_SIZE) = 1;
    *genet_reg(s, UMAC_MAX_FRAME) = 1536;
    *genet_reg(s, UMAC_MAC0) = ldl_be_p(mac);
    *genet_reg(s, UMAC_MAC1) = lduw_be_p(mac + 4);
    *genet_reg(s, UMAC_MDF_ADDR) = lduw_be_p(mac);
    *genet_reg(s, UMAC_MDF_ADDR + 4) = ldl_be_p(mac + 2);
    *genet_reg(s, UMAC_MDF_ADDR + 8) = 0xffff;
    *genet_reg(s, UMAC_MDF_ADDR + 12) = 0xffffffff;
    *genet_reg(s, UMAC_MDF_CTRL) = BIT(16) | BIT(15);
    if (s->phy.cable && !s->phy_powered_down) {
        bcm54213pe_negotiate_now(&s->phy);
    }
    *genet_reg(s, UMAC_CMD) = genet_link_speed_field(s) << CMD_SPEED_SHIFT |
                              past->cmd;
    s->mdio_asleep = false;
    s->intr_stat[0] = INTR0_LINK_UP | INTR0_RX_DONE | INTR0_TX_DONE |
                      INTR0_MDIO_DONE;
}

static void genet_reset(DeviceState *dev)
{
    BCM2711GenetState *s = BCM2711_GENET(dev);
    const GenetPast *past;
    bool known;

    timer_del(s->rx_timer);
    timer_del(s->tx_timer);
    timer_del(s->mdio_timer);
    memset(s->regs, 0, sizeof(s->regs));
    memset(s->rx_done, 0, sizeof(s->rx_done));
    memset(s->tx_done, 0, sizeof(s->tx_done));
    memset(s->rx_deadline, 0, sizeof(s->rx_deadline));
    memset(s->path_fault, 0, sizeof(s->path_fault));
    s->fifo_len = 0;
    s->fifo_stale = 0;
    s->link_known = false;
    s->rx_refused = false;
    s->forward_at = 0;
    s->mdio_asleep = s->mdio_first_fails;
    s->fault_state = s->fault_seed ? s->fault_seed : 1;

    genet_umac_reset(s);
    for (unsigned i = 0; i < ARRAY_SIZE(genet_idle); i++) {
        *genet_reg(s, genet_idle[i].offset) = genet_idle[i].value;
    }
    for (unsigned ring = 0; ring < BCM2711_GENET_RINGS; ring++) {
        *genet_ring_reg(s, RDMA, ring, RING_DONE_THRESH) = 1;
        *genet_ring_reg(s, TDMA, ring, RING_DONE_THRESH) = 1;
    }
    *genet_reg(s, RDMA + DMA_SCB_BURST) = 0x10;
    *genet_reg(s, TDMA + DMA_SCB_BURST) = 0x10;

    s->phy.cable = !qemu_get_queue(s->nic)->link_down;
    bcm54213pe_reset(&s->phy);
    if (s->phy_powered_down) {
        bcm54213pe_power_down(&s->phy);
    }
    s->intr_stat[0] = 0;
    s->intr_stat[1] = 0;
    s->intr_mask[0] = UINT32_MAX;
    s->intr_mask[1] = UINT32_MAX;
    past = genet_past(s->start, &known);
    if (past) {
        genet_leave_past(s, past);
    }
    genet_update_irq(s);
}

static NetClientInfo genet_net_info = {
    .type = NET_CLIENT_DRIVER_NIC,
    .size = sizeof(NICState),
    .can_receive = genet_can_receive,
    .receive = genet_receive,
    .link_status_changed = genet_set_link,
};

static void genet_realize(DeviceState *dev, Error **errp)
{
    BCM2711GenetState *s = BCM2711_GENET(dev);
    bool known;

    if (s->phy_address > 31) {
        error_setg(errp, "phy-address is 0 to 31, not %u", s->phy_address);
        return;
    }
    genet_past(s->start, &known);
    if (!known) {
        error_setg(errp, "start is reset, dirty, start4 or bootloader, not %s",
                   s->start);
        return;
    }
    if (s->phy.partner_speed != 10 && s->phy.partner_speed != 100 &&
        s->phy.partner_speed != 1000) {
        error_setg(errp, "speed is 10, 100 or 1000, not %u",
                   s->phy.partner_speed);
        return;
    }

    address_space_init(&s->dma_as, get_system_memory(), TYPE_BCM2711_GENET);
    bcm54213pe_init(&s->phy, genet_link_changed, s);
    s->rx_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, genet_rx_timer, s);
    s->tx_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, genet_tx_timer, s);
    s->mdio_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, genet_mdio_timer, s);

    qemu_macaddr_default_if_unset(&s->conf.macaddr);
    s->nic = qemu_new_nic(&genet_net_info, &s->conf, TYPE_BCM2711_GENET,
                          dev->id, &dev->mem_reentrancy_guard, s);
    qemu_format_nic_info_str(qemu_get_queue(s->nic), s->conf.macaddr.a);
}

static void genet_unrealize(DeviceState *dev)
{
    BCM2711GenetState *s = BCM2711_GENET(dev);

    qemu_del_nic(s->nic);
    timer_free(s->rx_timer);
    timer_free(s->tx_timer);
    timer_free(s->mdio_timer);
    bcm54213pe_finalize(&s->phy);
    address_space_destroy(&s->dma_as);
}

static void genet_init(Object *obj)
{
    BCM2711GenetState *s = BCM2711_GENET(obj);
    SysBusDevice *sbd = SYS_BUS_DEVICE(obj);

    memory_region_init_io(&s->iomem, obj, &genet_ops, s, TYPE_BCM2711_GENET,
                          BCM2711_GENET_MMIO_SIZE);
    sysbus_init_mmio(sbd, &s->iomem);
    sysbus_init_irq(sbd, &s->irq[0]);
    sysbus_init_irq(sbd, &s->irq[1]);

    object_property_add_uint32_ptr(obj, "faults", &s->faults,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint64_ptr(obj, "faults-injected",
                                   &s->faults_injected, OBJ_PROP_FLAG_READ);
    for (int kind = 0; kind < GENET_FAULTS; kind++) {
        g_autofree char *rate = g_strdup_printf("%s-faults",
                                                genet_fault_names[kind]);
        g_autofree char *count = g_strdup_printf("%s-injected", rate);

        object_property_add_uint32_ptr(obj, rate, &s->kind_faults[kind],
                                       OBJ_PROP_FLAG_READWRITE);
        object_property_add_uint64_ptr(obj, count,
                                       &s->kind_faults_injected[kind],
                                       OBJ_PROP_FLAG_READ);
    }
    object_property_add_uint32_ptr(obj, "mute", &s->mute,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint64_ptr(obj, "stale-frames", &s->stale_frames,
                                   OBJ_PROP_FLAG_READ);
    object_property_add_uint64_ptr(obj, "guest-errors", &s->guest_errors,
                                   OBJ_PROP_FLAG_READ);
    object_property_add_uint64_ptr(obj, "rx-lost", &s->rx_lost,
                                   OBJ_PROP_FLAG_READ);
    object_property_add_uint64_ptr(obj, "tx-lost", &s->tx_lost,
                                   OBJ_PROP_FLAG_READ);
}

static int genet_post_load(void *opaque, int version_id)
{
    BCM2711GenetState *s = opaque;

    return s->fifo_len <= sizeof(s->fifo) ? 0 : -EINVAL;
}

static const VMStateDescription vmstate_genet = {
    .name = TYPE_BCM2711_GENET,
    .version_id = 4,
    .minimum_version_id = 4,
    .post_load = genet_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32_ARRAY(regs, BCM2711GenetState,
                             BCM2711_GENET_MMIO_SIZE / sizeof(uint32_t)),
        VMSTATE_UINT32_ARRAY(intr_stat, BCM2711GenetState, 2),
        VMSTATE_UINT32_ARRAY(intr_mask, BCM2711GenetState, 2),
        VMSTATE_UINT16_ARRAY(rx_done, BCM2711GenetState, BCM2711_GENET_RINGS),
        VMSTATE_UINT16_ARRAY(tx_done, BCM2711GenetState, BCM2711_GENET_RINGS),
        VMSTATE_INT64_ARRAY(rx_deadline, BCM2711GenetState,
                            BCM2711_GENET_RINGS),
        VMSTATE_TIMER_PTR(rx_timer, BCM2711GenetState),
        VMSTATE_TIMER_PTR(tx_timer, BCM2711GenetState),
        VMSTATE_TIMER_PTR(mdio_timer, BCM2711GenetState),
        VMSTATE_UINT8_ARRAY(fifo, BCM2711GenetState, BCM2711_GENET_FIFO_SIZE),
        VMSTATE_UINT32(fifo_len, BCM2711GenetState),
        VMSTATE_UINT32(fifo_stale, BCM2711GenetState),
        VMSTATE_UINT32(mute, BCM2711GenetState),
        VMSTATE_BOOL(link_known, BCM2711GenetState),
        VMSTATE_BOOL(mdio_asleep, BCM2711GenetState),
        VMSTATE_BOOL(tx_dead, BCM2711GenetState),
        VMSTATE_BOOL(rx_paused, BCM2711GenetState),
        VMSTATE_BOOL(rx_refused, BCM2711GenetState),
        VMSTATE_INT64(forward_at, BCM2711GenetState),
        VMSTATE_UINT64(fault_state, BCM2711GenetState),
        VMSTATE_UINT32(faults, BCM2711GenetState),
        VMSTATE_UINT32_ARRAY(kind_faults, BCM2711GenetState, GENET_FAULTS),
        VMSTATE_UINT64(faults_injected, BCM2711GenetState),
        VMSTATE_UINT64_ARRAY(kind_faults_injected, BCM2711GenetState,
                             GENET_FAULTS),
        VMSTATE_UINT64(guest_errors, BCM2711GenetState),
        VMSTATE_UINT64(rx_lost, BCM2711GenetState),
        VMSTATE_UINT64(tx_lost, BCM2711GenetState),
        VMSTATE_UINT64(stale_frames, BCM2711GenetState),
        VMSTATE_STRUCT(phy, BCM2711GenetState, 1, vmstate_bcm54213pe,
                       BCM54213PE),
        VMSTATE_END_OF_LIST()
    }
};

static const Property genet_properties[] = {
    DEFINE_NIC_PROPERTIES(BCM2711GenetState, conf),
    DEFINE_PROP_UINT8("phy-address", BCM2711GenetState, phy_address, 1),
    DEFINE_PROP_BOOL("phy-powered-down", BCM2711GenetState, phy_powered_down,
                     false),
    DEFINE_PROP_BOOL("mdio-first-fails", BCM2711GenetState, mdio_first_fails,
                     true),
    DEFINE_PROP_UINT32("autoneg-ms", BCM2711GenetState, phy.autoneg_ms, 2000),
    DEFINE_PROP_UINT32("speed", BCM2711GenetState, phy.partner_speed, 1000),
    DEFINE_PROP_BOOL("full-duplex", BCM2711GenetState,
                     phy.partner_full_duplex, true),
    DEFINE_PROP_BOOL("pause", BCM2711GenetState, phy.partner_pause, true),
    DEFINE_PROP_UINT32("forward-delay-ms", BCM2711GenetState,
                       forward_delay_ms, 0),
    DEFINE_PROP_BOOL("strict-rings", BCM2711GenetState, strict_rings, false),
    DEFINE_PROP_STRING("start", BCM2711GenetState, start),
    DEFINE_PROP_BOOL("mdio-zeros", BCM2711GenetState, mdio_zeros, false),
    DEFINE_PROP_UINT64("dirty-buffer", BCM2711GenetState, dirty_buffer,
                       0x00700000),
    DEFINE_PROP_UINT64("fault-seed", BCM2711GenetState, fault_seed, 1),
    DEFINE_PROP_BOOL("fault-mdio", BCM2711GenetState, fault_mdio, true),
};

static void genet_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);

    dc->desc = "BCM2711 GENET v5 Ethernet";
    dc->realize = genet_realize;
    dc->unrealize = genet_unrealize;
    dc->vmsd = &vmstate_genet;
    device_class_set_legacy_reset(dc, genet_reset);
    device_class_set_props(dc, genet_properties);
    set_bit(DEVICE_CATEGORY_NETWORK, dc->categories);
}

static const TypeInfo genet_types[] = {
    {
        .name = TYPE_BCM2711_GENET,
        .parent = TYPE_SYS_BUS_DEVICE,
        .instance_size = sizeof(BCM2711GenetState),
        .instance_init = genet_init,
        .class_init = genet_class_init,
    },
};
DEFINE_TYPES(genet_types)
