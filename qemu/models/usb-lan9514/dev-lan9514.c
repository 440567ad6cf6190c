/*
 * SMSC LAN9514 USB 2.0 to 10/100 Ethernet function (0424:ec00)
 *
 * Reference: Microchip DS00002306, "LAN9514/LAN9514i".
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "hw/qdev-properties.h"
#include "hw/usb.h"
#include "migration/vmstate.h"
#include "net/eth.h"
#include "desc.h"
#include "dev-lan.h"

#define TYPE_LAN9514 "usb-lan9514"
OBJECT_DECLARE_SIMPLE_TYPE(Lan9514State, LAN9514)

#define RX_FIFO_SIZE    (20 * 1024)
#define TX_FIFO_SIZE    (8 * 1024)
#define LITE_RESET_NS   (2 * SCALE_MS)
#define PHY_RESET_NS    (2 * SCALE_MS)
/* An EEPROM that is not there is noticed after this */
#define E2P_TIMEOUT_NS  (30 * SCALE_MS)
/* The longest frame, FCS and VLAN tag included */
#define FRAME_MAX       1522
#define FRAME_MIN       60

/* System control and status registers */
enum {
    ID_REV = 0x00, INT_STS = 0x08, RX_CFG = 0x0c, TX_CFG = 0x10, HW_CFG = 0x14,
    RX_FIFO_INF = 0x18, TX_FIFO_INF = 0x1c, PM_CTRL = 0x20,
    LED_GPIO_CFG = 0x24, GPIO_CFG = 0x28, AFC_CFG = 0x2c, E2P_CMD = 0x30,
    E2P_DATA = 0x34, BURST_CAP = 0x38, STRAP_STATUS = 0x3c, DP_SEL = 0x40,
    DP_CMD = 0x44, DP_ADDR = 0x48, DP_DATA0 = 0x4c, DP_DATA1 = 0x50,
    GPIO_WAKE = 0x64, INT_EP_CTL = 0x68, BULK_IN_DLY = 0x6c,
};

/* MAC control and status registers */
enum {
    MAC_CR = 0x100, ADDRH = 0x104, ADDRL = 0x108, HASHH = 0x10c, HASHL = 0x110,
    MII_ADDR = 0x114, MII_DATA = 0x118, FLOW = 0x11c, VLAN1 = 0x120,
    VLAN2 = 0x124, WUFF = 0x128, WUCSR = 0x12c, COE_CR = 0x130,
    REG_END = 0x134,
};

enum {
    INT_TX_STOP = BIT(17), INT_RX_STOP = BIT(16), INT_PHY = BIT(15),
    INT_TXE = BIT(14), INT_RXDF = BIT(11),
    INT_RX_FIFO = BIT(18),      /* INT_EP_CTL only */

    RX_FLUSH = BIT(0),
    TX_ON = BIT(2), TX_STOP = BIT(1), TX_FLUSH = BIT(0),

    HW_BIR = BIT(12), HW_RXDOFF_SHIFT = 9, HW_SBP = BIT(8), HW_MEF = BIT(5),
    HW_LRST = BIT(3), HW_PSEL = BIT(2), HW_BCE = BIT(1), HW_SRST = BIT(0),

    PM_READY = BIT(7), PM_PHY_RST = BIT(4), PM_WUPS = 3,

    E2P_TIMEOUT = BIT(10),

    MAC_FDPX = BIT(20), MAC_MCPAS = BIT(19), MAC_PRMS = BIT(18),
    MAC_INVFILT = BIT(17), MAC_PASSBAD = BIT(16), MAC_HFILT = BIT(15),
    MAC_HPFILT = BIT(13), MAC_BCAST = BIT(11), MAC_TXEN = BIT(3),
    MAC_RXEN = BIT(2),

    MII_WRITE = BIT(1), MII_BUSY = BIT(0),

    FLOW_FCEN = BIT(1),

    COE_TX = BIT(16), COE_RX_MODE = BIT(1), COE_RX = BIT(0),
};
#define E2P_BUSY    0x80000000u
#define MAC_RXALL   0x80000000u
#define INTEP_ON    0x80000000u

/* TX command words and RX status word */
enum {
    TXA_FIRST = BIT(13), TXA_LAST = BIT(12), TXA_SIZE = 0x7ff,
    TXB_CSUM = BIT(14), TXB_NO_CRC = BIT(13), TXB_NO_PAD = BIT(12),
    TXB_LENGTH = 0x7ff,

    RXS_FILTER_FAIL = BIT(30), RXS_LENGTH_SHIFT = 16, RXS_ERROR = BIT(15),
    RXS_BROADCAST = BIT(13), RXS_LENGTH_ERROR = BIT(12), RXS_RUNT = BIT(11),
    RXS_MULTICAST = BIT(10), RXS_TOO_LONG = BIT(7), RXS_COLLISION = BIT(6),
    RXS_TYPE = BIT(5), RXS_WATCHDOG = BIT(4), RXS_MII = BIT(3),
    RXS_DRIBBLE = BIT(2), RXS_CRC = BIT(1),
};

/* PHY registers past those of clause 22 */
enum {
    PHY_EDPD = 16, PHY_MODE_CTRL = 17, PHY_SPECIAL_MODES = 18, PHY_TDR = 24,
    PHY_SYMBOL_ERRORS = 26, PHY_SPECIAL_CTRL = 27, PHY_INT_SRC = 29,
    PHY_INT_MASK = 30, PHY_SPECIAL = 31,

    PHY_EDPWRDOWN = BIT(13), PHY_ENERGYON = BIT(1),
    PHY_INT_ENERGY = BIT(7), PHY_INT_AN_DONE = BIT(6), PHY_INT_DOWN = BIT(4),
};

/* What an over-long frame does to the receiver until the next reset */
enum { GIANT_NOTHING, GIANT_STUCK, GIANT_DEAF };

struct Lan9514State {
    USBLanState parent;
    uint32_t regs[REG_END / 4];
    uint16_t phy_regs[32];
    int64_t lite_until;         /* virtual time at which resets end */
    int64_t phy_until;
    int64_t e2p_until;
    uint32_t tx_errors;
    uint32_t rx_dropped;
    uint32_t wedged;            /* GIANT_... */

    uint32_t giants;            /* property: GIANT_... */
    uint64_t wedges;
};

#define REG(s, r) ((s)->regs[(r) / 4])

static bool lan9514_phy_irq(Lan9514State *s)
{
    return s->phy_regs[PHY_INT_SRC] & s->phy_regs[PHY_INT_MASK];
}

static uint32_t lan9514_int_sts(Lan9514State *s)
{
    return REG(s, INT_STS) | (lan9514_phy_irq(s) ? INT_PHY : 0);
}

static uint32_t lan9514_interrupt(USBLanState *lan)
{
    Lan9514State *s = LAN9514(lan);
    uint32_t status = lan9514_int_sts(s);

    if (!QSIMPLEQ_EMPTY(&lan->rx)) {
        status |= INT_RX_FIFO;
    }
    status &= REG(s, INT_EP_CTL);
    return status | (REG(s, INT_EP_CTL) & INTEP_ON);
}

static void lan9514_set_path(Lan9514State *s)
{
    USBLanState *lan = USB_LAN(s);
    LanPath *path = &lan->path;
    uint32_t hw = REG(s, HW_CFG);
    uint32_t afc = REG(s, AFC_CFG);

    path->zero_when_empty = !(hw & HW_BIR);
    path->multi_frame = hw & HW_MEF;
    path->burst_cap = hw & HW_BCE ? REG(s, BURST_CAP) * 512 : 0;
    path->bulk_in_delay = REG(s, BULK_IN_DLY) * 50LL / 3;
    path->rx_on = REG(s, MAC_CR) & MAC_RXEN && s->wedged != GIANT_DEAF;
    path->rx_stuck = s->wedged == GIANT_STUCK;
    path->tx_on = REG(s, MAC_CR) & MAC_TXEN && REG(s, TX_CFG) & TX_ON;
    path->rx_fifo = RX_FIFO_SIZE;
    path->tx_fifo = TX_FIFO_SIZE;
    /*
     * Pause frames go out when automatic flow control applies to any frame,
     * has a pause time to send, and the peer has agreed to listen.
     */
    path->pause = afc & 0xf && REG(s, FLOW) >> 16 && lan->phy.link.peer_pause &&
                  REG(s, MAC_CR) & MAC_FDPX;
    /* levels in units of 64 bytes */
    path->pause_on = MIN(extract32(afc, 16, 8) * 64, RX_FIFO_SIZE - 2048);
    path->pause_off = MIN(extract32(afc, 8, 8) * 64, path->pause_on);
}

static void lan9514_update(Lan9514State *s)
{
    lan9514_set_path(s);
    lan_path_changed(USB_LAN(s));
}

static void lan9514_defaults(Lan9514State *s)
{
    USBLanState *lan = USB_LAN(s);

    memset(s->regs, 0, sizeof(s->regs));
    REG(s, ID_REV) = 0xec000002;
    REG(s, PM_CTRL) = PM_READY;
    REG(s, GPIO_CFG) = 0x1f000000;
    REG(s, STRAP_STATUS) = BIT(5) | BIT(4);
    REG(s, MAC_CR) = MAC_PRMS;
    REG(s, ADDRH) = 0xffff;
    REG(s, ADDRL) = 0xffffffff;
    REG(s, VLAN1) = 0xffff;
    REG(s, VLAN2) = 0xffff;
    s->e2p_until = 0;
    s->tx_errors = 0;
    s->rx_dropped = 0;
    s->wedged = GIANT_NOTHING;
    lan->mii_until = 0;
    lan->mii_reading = false;
    lan->mii_data = 0;
    lan9514_update(s);
    lan_flush_rx(lan);
    lan_flush_tx(lan);
}

static void lan9514_reset(USBLanState *lan)
{
    Lan9514State *s = LAN9514(lan);

    s->lite_until = 0;
    s->phy_until = 0;
    lan9514_defaults(s);
    lan_phy_reset(lan);
}

static bool lan9514_read(USBLanState *lan, uint32_t reg, uint32_t *value)
{
    Lan9514State *s = LAN9514(lan);
    int64_t now = lan_now();

    *value = 0;
    if (now < s->lite_until) {
        *value = reg == HW_CFG ? HW_LRST : 0;
        return true;
    }
    switch (reg) {
    case INT_STS:
        *value = lan9514_int_sts(s);
        return true;
    case RX_FIFO_INF:
        *value = lan->rx_used;
        return true;
    case TX_FIFO_INF:
        *value = TX_FIFO_SIZE - MIN(lan->tx_used, TX_FIFO_SIZE);
        return true;
    case PM_CTRL:
        *value = REG(s, PM_CTRL) | (now < s->phy_until ? PM_PHY_RST : 0);
        return true;
    case E2P_CMD:
        *value = REG(s, E2P_CMD);
        if (now < s->e2p_until) {
            *value = (*value | E2P_BUSY) & ~E2P_TIMEOUT;
        }
        return true;
    case MII_ADDR:
        *value = REG(s, MII_ADDR) | (lan_mii_busy(lan) ? MII_BUSY : 0);
        return true;
    case MII_DATA:
        *value = lan_mii_data(lan);
        return true;
    case ID_REV:
    case TX_CFG:
    case HW_CFG:
    case LED_GPIO_CFG:
    case GPIO_CFG:
    case AFC_CFG:
    case E2P_DATA:
    case BURST_CAP:
    case STRAP_STATUS:
    case DP_SEL ... DP_DATA1:
    case GPIO_WAKE:
    case INT_EP_CTL:
    case BULK_IN_DLY:
    case MAC_CR ... HASHL:
    case FLOW ... COE_CR:
        *value = REG(s, reg);
        return true;
    case RX_CFG:
        return true;
    default:
        qemu_log_mask(LOG_GUEST_ERROR, "lan9514: read of register 0x%x\n", reg);
        return true;
    }
}

static bool lan9514_write(USBLanState *lan, uint32_t reg, uint32_t value)
{
    Lan9514State *s = LAN9514(lan);
    int64_t now = lan_now();

    if (now < s->lite_until) {
        qemu_log_mask(LOG_GUEST_ERROR, "lan9514: register 0x%x written in "
                      "reset\n", reg);
        return true;
    }
    switch (reg) {
    case INT_STS:
        REG(s, INT_STS) &= ~value;
        lan->intr_told &= ~value;
        break;
    case RX_CFG:
        if (value & RX_FLUSH) {
            lan_flush_rx(lan);
        }
        break;
    case TX_CFG:
        if (value & TX_FLUSH) {
            lan_flush_tx(lan);
        }
        REG(s, TX_CFG) = value & TX_ON;
        if (value & TX_STOP) {
            REG(s, TX_CFG) = 0;
            REG(s, INT_STS) |= INT_TX_STOP;
        }
        break;
    case HW_CFG:
        if (value & HW_SRST) {
            /* A soft reset takes the chip off the bus and back */
            lan9514_reset(lan);
            s->lite_until = now + LITE_RESET_NS;
            return true;
        }
        if (value & HW_LRST) {
            lan9514_defaults(s);
            s->lite_until = now + LITE_RESET_NS;
            return true;
        }
        REG(s, HW_CFG) = value & ~HW_PSEL;
        break;
    case PM_CTRL:
        if (value & PM_PHY_RST) {
            s->phy_until = now + PHY_RESET_NS;
            lan_phy_reset(lan);
            lan->phy.reset_until = s->phy_until;
        }
        /* wake-up status is cleared by ones */
        REG(s, PM_CTRL) = PM_READY | (value & ~(PM_PHY_RST | PM_WUPS));
        break;
    case E2P_CMD:
        if (now < s->e2p_until) {
            qemu_log_mask(LOG_GUEST_ERROR, "lan9514: E2P_CMD while busy\n");
            break;
        }
        /* time-out is cleared by writing it or by the next command */
        REG(s, E2P_CMD) = value & 0x700001ff;
        if (value & E2P_BUSY) {
            s->e2p_until = now + E2P_TIMEOUT_NS;
            REG(s, E2P_CMD) |= E2P_TIMEOUT;
        }
        break;
    case E2P_DATA:
    case BURST_CAP:
        REG(s, reg) = value & 0xff;
        break;
    case BULK_IN_DLY:
        REG(s, reg) = value & 0xffff;
        break;
    case MII_ADDR:
        /*
         * U-Boot's driver, known to work on boards, starts an access
         * without setting the busy bit.
         */
        REG(s, MII_ADDR) = value & 0xffc2;
        lan_mii_start(lan, extract32(value, 11, 5), extract32(value, 6, 5),
                      value & MII_WRITE);
        break;
    case MII_DATA:
        lan_mii_set_data(lan, value);
        break;
    case ADDRH:
        REG(s, reg) = value & 0xffff;
        break;
    case MAC_CR:
        if (REG(s, MAC_CR) & MAC_RXEN && !(value & MAC_RXEN)) {
            REG(s, INT_STS) |= INT_RX_STOP;
        }
        REG(s, reg) = value;
        break;
    case LED_GPIO_CFG:
    case GPIO_CFG:
    case AFC_CFG:
    case DP_SEL ... DP_DATA1:
    case GPIO_WAKE:
    case INT_EP_CTL:
    case ADDRL:
    case HASHH:
    case HASHL:
    case FLOW ... COE_CR:
        REG(s, reg) = value;
        break;
    default:
        qemu_log_mask(LOG_GUEST_ERROR, "lan9514: write of 0x%08x to register "
                      "0x%x\n", value, reg);
        break;
    }
    lan9514_update(s);
    lan_interrupt_changed(lan);
    return true;
}

static int lan9514_stats(USBLanState *lan, uint8_t *data, int length)
{
    return 0;                   /* its layout is not known */
}

/* Transmit */

static bool lan9514_tx_error(Lan9514State *s, const char *why)
{
    qemu_log_mask(LOG_GUEST_ERROR, "lan9514: TX: %s\n", why);
    s->tx_errors++;
    REG(s, INT_STS) |= INT_TXE;
    lan_interrupt_changed(USB_LAN(s));
    return REG(s, HW_CFG) & HW_SBP;
}

/*
 * The first word of the data says where to start and where to store: the sum
 * that is there already is the pseudo header's.
 */
static bool lan9514_tx_checksum(uint8_t *frame, uint32_t len, uint32_t where)
{
    uint32_t start = where & 0xffff, store = where >> 16;

    /* Past a length of 45, and not within the last four bytes */
    if (len <= 45 || start >= len || store < start || store + 2 + 4 > len) {
        return false;
    }
    /* A zero stays zero, which is wrong for UDP: the chip's known defect */
    stw_be_p(frame + store, ~lan_sum(frame + start, len - start));
    return true;
}

/* One frame in one or more segments, each with its two command words */
static bool lan9514_transfer(USBLanState *lan, uint8_t *data, uint32_t len)
{
    Lan9514State *s = LAN9514(lan);
    uint8_t frame[2 * 2048 + FRAME_MIN];
    uint32_t got = 0, at = 0, where = 0, skip = 0;
    uint32_t first_b = 0;
    bool last = false;

    while (!last) {
        uint32_t a, b, size, offset;

        if (at + 8 > len) {
            return lan9514_tx_error(s, "transfer ends before the frame");
        }
        a = ldl_le_p(data + at);
        b = ldl_le_p(data + at + 4);
        size = a & TXA_SIZE;
        offset = extract32(a, 16, 5);
        if (!(a & TXA_FIRST) != (at != 0)) {
            return lan9514_tx_error(s, "first segment bit misplaced");
        }
        if (at == 0) {
            first_b = b;
        } else if ((b ^ first_b) & TXB_LENGTH) {
            return lan9514_tx_error(s, "segments disagree about the length");
        }
        at += 8 + offset;
        if (size == 0 || at > len || size > len - at ||
            got + size > 2 * 2048) {
            return lan9514_tx_error(s, "segment is longer than the transfer");
        }
        memcpy(frame + got, data + at, size);
        got += size;
        at += size;
        last = a & TXA_LAST;
        if (!last) {
            at = QEMU_ALIGN_UP(at, 4);
        }
    }
    /* only padding to the next word may follow */
    if (QEMU_ALIGN_UP(at, 4) < len) {
        return lan9514_tx_error(s, "data after the last segment");
    }
    if (got != (first_b & TXB_LENGTH)) {
        return lan9514_tx_error(s, "frame length is not that of its segments");
    }
    if (first_b & TXB_CSUM) {
        if (!(REG(s, COE_CR) & COE_TX) || got < 4) {
            return lan9514_tx_error(s, "checksum asked of a disabled engine");
        }
        where = ldl_le_p(frame);
        skip = 4;
    }
    got -= skip;
    memmove(frame, frame + skip, got);
    if (skip && !lan9514_tx_checksum(frame, got, where)) {
        qemu_log_mask(LOG_GUEST_ERROR, "lan9514: TX: checksum not inserted\n");
    }
    if (first_b & TXB_NO_CRC) {
        if (got < LAN_FCS_LEN ||
            lan_fcs(frame, got - LAN_FCS_LEN) !=
            ldl_le_p(frame + got - LAN_FCS_LEN)) {
            s->tx_errors++;
            return true;        /* sent, and no peer takes it */
        }
        got -= LAN_FCS_LEN;
    } else if (got < FRAME_MIN && !(first_b & TXB_NO_PAD)) {
        memset(frame + got, 0, FRAME_MIN - got);
        got = FRAME_MIN;
    }
    if (got < FRAME_MIN || got > FRAME_MAX - LAN_FCS_LEN) {
        qemu_log_mask(LOG_GUEST_ERROR, "lan9514: TX: a frame of %u bytes\n",
                      got);
        s->tx_errors++;
        return true;
    }
    lan_transmit(lan, frame, got);
    return true;
}

/* Receive */

static bool lan9514_hash_hit(Lan9514State *s, const uint8_t *addr)
{
    unsigned bit = net_crc32(addr, ETH_ALEN) >> 26;

    return (bit & 32 ? REG(s, HASHH) : REG(s, HASHL)) & BIT(bit & 31);
}

static bool lan9514_addressed(Lan9514State *s, const uint8_t *addr)
{
    uint32_t cr = REG(s, MAC_CR);
    bool own = ldl_le_p(addr) == REG(s, ADDRL) &&
               lduw_le_p(addr + 4) == REG(s, ADDRH);

    if (cr & MAC_PRMS) {
        return true;
    }
    if (is_broadcast_ether_addr(addr)) {
        return !(cr & MAC_BCAST);
    }
    if (is_multicast_ether_addr(addr)) {
        return cr & MAC_MCPAS ||
               (cr & (MAC_HPFILT | MAC_HFILT) && lan9514_hash_hit(s, addr));
    }
    if (cr & MAC_HFILT) {
        return lan9514_hash_hit(s, addr);
    }
    return cr & MAC_INVFILT ? !own : own;
}

static uint32_t lan9514_fifo_cost(USBLanState *lan, uint32_t len)
{
    Lan9514State *s = LAN9514(lan);

    return QEMU_ALIGN_UP(4 + extract32(REG(s, HW_CFG), HW_RXDOFF_SHIFT, 2) +
                         len + LAN_FCS_LEN +
                         (REG(s, COE_CR) & COE_RX ? 2 : 0), 4);
}

static void lan9514_frame(USBLanState *lan, const uint8_t *data, uint32_t len)
{
    Lan9514State *s = LAN9514(lan);
    uint32_t offset = 4 + extract32(REG(s, HW_CFG), HW_RXDOFF_SHIFT, 2);
    bool checksum = REG(s, COE_CR) & COE_RX;
    bool hit = lan9514_addressed(s, data);
    uint32_t status, size;
    LanFrame *frame;

    if (!hit && !(REG(s, MAC_CR) & MAC_RXALL)) {
        return;
    }
    status = hit ? 0 : RXS_FILTER_FAIL;
    size = len + LAN_FCS_LEN;
    if (size > FRAME_MAX && s->giants) {
        s->wedged = s->giants;
        s->wedges++;
        lan9514_set_path(s);
    }
    if (size > FRAME_MAX || len < FRAME_MIN) {
        status |= RXS_ERROR | (len < FRAME_MIN ? RXS_RUNT : RXS_TOO_LONG);
        if (!(REG(s, MAC_CR) & (MAC_PASSBAD | MAC_RXALL))) {
            s->rx_dropped++;
            return;
        }
    }
    if (is_broadcast_ether_addr(data)) {
        status |= RXS_BROADCAST;
    } else if (is_multicast_ether_addr(data)) {
        status |= RXS_MULTICAST;
    }
    if (lduw_be_p(data + 12) > 1500) {
        status |= RXS_TYPE;
    }

    frame = lan_frame_new(offset + size + (checksum ? 2 : 0));
    memcpy(frame->data + offset, data, len);
    stl_le_p(frame->data + offset + len, lan_fcs(data, len));
    if (checksum) {
        /* mode 0: from the 15th byte on, FCS not included */
        stw_be_p(frame->data + offset + size,
                 lan_sum(data + ETH_HLEN, len - ETH_HLEN));
        size += 2;
    }
    stl_le_p(frame->data, status | size << RXS_LENGTH_SHIFT);
    lan_receive(lan, frame);
}

static void lan9514_overflow(USBLanState *lan)
{
    Lan9514State *s = LAN9514(lan);

    s->rx_dropped++;
    REG(s, INT_STS) |= INT_RXDF;
}

static void lan9514_spoil(USBLanState *lan, uint8_t *frame, uint32_t len,
                          uint32_t random)
{
    uint32_t status = ldl_le_p(frame);

    switch (random & 3) {
    case 0:                     /* any length */
        status = deposit32(status, RXS_LENGTH_SHIFT, 14, random >> 8);
        break;
    case 1:                     /* one of the errors */
        status |= RXS_ERROR | BIT(1 + (random >> 8) % 12);
        break;
    case 2:                     /* a wrong FCS */
        frame[len - 1 - (random >> 8) % (len - 4)] ^= 0x55;
        status |= RXS_ERROR | RXS_CRC;
        break;
    default:                    /* a runt or a giant */
        status = deposit32(status, RXS_LENGTH_SHIFT, 14,
                           random & 4 ? (random >> 8) % 18
                                      : 1523 + (random >> 8) % 8000);
        break;
    }
    stl_le_p(frame, status);
}

/* PHY */

static void lan9514_phy_event(USBLanState *lan, enum LanPhyEvent event)
{
    Lan9514State *s = LAN9514(lan);

    switch (event) {
    case LAN_PHY_LINK_DOWN:
        s->phy_regs[PHY_INT_SRC] |= PHY_INT_DOWN;
        break;
    case LAN_PHY_LINK_UP:
        s->phy_regs[PHY_INT_SRC] |= PHY_INT_ENERGY;
        break;
    case LAN_PHY_AN_DONE:
        s->phy_regs[PHY_INT_SRC] |= PHY_INT_AN_DONE;
        break;
    }
    lan9514_update(s);
}

static uint16_t lan9514_phy_read(USBLanState *lan, unsigned reg)
{
    Lan9514State *s = LAN9514(lan);
    uint16_t value = s->phy_regs[reg];

    switch (reg) {
    case PHY_MODE_CTRL:
        return value | (qemu_get_queue(lan->nic)->link_down ? 0 : PHY_ENERGYON);
    case PHY_INT_SRC:
        s->phy_regs[reg] = 0;   /* reading clears */
        return value;
    case PHY_SPECIAL:
        value = lan->phy.complete ? BIT(12) : 0;
        if (lan->phy.link.up) {
            value |= (lan->phy.link.full ? BIT(4) : 0) |
                     (lan->phy.link.speed == 100 ? BIT(3) : BIT(2));
        }
        return value;
    default:
        return value;
    }
}

static void lan9514_phy_write(USBLanState *lan, unsigned reg, uint16_t value)
{
    Lan9514State *s = LAN9514(lan);

    switch (reg) {
    case PHY_MODE_CTRL:
        value &= ~PHY_ENERGYON;
        break;
    case PHY_INT_SRC:
    case PHY_SPECIAL:
    case PHY_SYMBOL_ERRORS:
        return;
    }
    s->phy_regs[reg] = value;
}

static void lan9514_phy_reset(USBLanState *lan)
{
    Lan9514State *s = LAN9514(lan);

    memset(s->phy_regs, 0, sizeof(s->phy_regs));
    s->phy_regs[PHY_SPECIAL_MODES] = 0x00e1;    /* all capable, address 1 */
}

static const USBDescIface lan9514_iface = {
    .bNumEndpoints = 3,
    .bInterfaceClass = USB_CLASS_VENDOR_SPEC,
    .bInterfaceProtocol = 0xff,
    .eps = (USBDescEndpoint[]) {
        {
            .bEndpointAddress = USB_DIR_IN | 0x01,
            .bmAttributes = USB_ENDPOINT_XFER_BULK,
            .wMaxPacketSize = 512,
        }, {
            .bEndpointAddress = USB_DIR_OUT | 0x02,
            .bmAttributes = USB_ENDPOINT_XFER_BULK,
            .wMaxPacketSize = 512,
        }, {
            .bEndpointAddress = USB_DIR_IN | 0x03,
            .bmAttributes = USB_ENDPOINT_XFER_INT,
            .wMaxPacketSize = 16,
            .bInterval = 4,     /* 1 ms */
        },
    },
};

static const USBDescDevice lan9514_device = {
    .bcdUSB = 0x0200,
    .bDeviceClass = USB_CLASS_VENDOR_SPEC,
    .bDeviceProtocol = 1,
    .bMaxPacketSize0 = 64,
    .bNumConfigurations = 1,
    .confs = (USBDescConfig[]) {
        {
            .bNumInterfaces = 1,
            .bConfigurationValue = 1,
            .bmAttributes = USB_CFG_ATT_ONE | USB_CFG_ATT_SELFPOWER |
                            USB_CFG_ATT_WAKEUP,
            .bMaxPower = 1,
            .nif = 1,
            .ifs = &lan9514_iface,
        },
    },
};

static const USBDesc lan9514_desc = {
    .id = { .idVendor = 0x0424, .idProduct = 0xec00, .bcdDevice = 0x0200 },
    .high = &lan9514_device,
    .full = &lan9514_device,
};

static int lan9514_post_load(void *opaque, int version_id)
{
    lan9514_set_path(opaque);
    return 0;
}

static const VMStateDescription vmstate_lan9514 = {
    .name = TYPE_LAN9514,
    /* also of the embedded vmstate_usb_lan, whose own version is not sent */
    .version_id = 2,
    .minimum_version_id = 2,
    .post_load = lan9514_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT(parent, Lan9514State, 1, vmstate_usb_lan, USBLanState),
        VMSTATE_UINT32_ARRAY(regs, Lan9514State, REG_END / 4),
        VMSTATE_UINT16_ARRAY(phy_regs, Lan9514State, 32),
        VMSTATE_INT64(lite_until, Lan9514State),
        VMSTATE_INT64(phy_until, Lan9514State),
        VMSTATE_INT64(e2p_until, Lan9514State),
        VMSTATE_UINT32(tx_errors, Lan9514State),
        VMSTATE_UINT32(rx_dropped, Lan9514State),
        VMSTATE_UINT32(wedged, Lan9514State),
        VMSTATE_UINT64(wedges, Lan9514State),
        VMSTATE_END_OF_LIST()
    }
};

static const Property lan9514_properties[] = {
    DEFINE_PROP_UINT32("giants", Lan9514State, giants, GIANT_NOTHING),
};

static void lan9514_realize(USBDevice *dev, Error **errp)
{
    USBDeviceClass *parent =
        USB_DEVICE_CLASS(object_class_by_name(TYPE_USB_LAN));
    uint32_t giants = LAN9514(dev)->giants;

    if (giants > GIANT_DEAF) {
        error_setg(errp, "giants is 0, 1 or 2, not %u", giants);
        return;
    }
    parent->realize(dev, errp);
}

static void lan9514_instance_init(Object *obj)
{
    object_property_add_uint64_ptr(obj, "wedges", &LAN9514(obj)->wedges,
                                   OBJ_PROP_FLAG_READ);
}

static void lan9514_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    USBDeviceClass *uc = USB_DEVICE_CLASS(klass);
    USBLanClass *c = USB_LAN_CLASS(klass);

    uc->product_desc = "SMSC LAN9514 Ethernet";
    uc->usb_desc = &lan9514_desc;
    uc->realize = lan9514_realize;
    c->phy_id = 0x0007c0c4;
    c->reset = lan9514_reset;
    c->read = lan9514_read;
    c->write = lan9514_write;
    c->stats = lan9514_stats;
    c->transfer = lan9514_transfer;
    c->frame = lan9514_frame;
    c->fifo_cost = lan9514_fifo_cost;
    c->overflow = lan9514_overflow;
    c->spoil = lan9514_spoil;
    c->interrupt = lan9514_interrupt;
    c->phy_event = lan9514_phy_event;
    c->phy_read = lan9514_phy_read;
    c->phy_write = lan9514_phy_write;
    c->phy_reset = lan9514_phy_reset;
    dc->vmsd = &vmstate_lan9514;
    device_class_set_props(dc, lan9514_properties);
}

static const TypeInfo lan9514_type = {
    .name = TYPE_LAN9514,
    .parent = TYPE_USB_LAN,
    .instance_size = sizeof(Lan9514State),
    .instance_init = lan9514_instance_init,
    .class_init = lan9514_class_init,
};

static void lan9514_register(void)
{
    type_register_static(&lan9514_type);
}

type_init(lan9514_register)
