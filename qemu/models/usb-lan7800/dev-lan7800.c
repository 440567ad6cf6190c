/*
 * Microchip LAN7800 USB to 10/100/1000 Ethernet (0424:7800), at high speed
 *
 * Also the Ethernet function of the Raspberry Pi 3B+'s LAN7515.
 * Reference: Microchip DS00001992, "LAN7800".
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

#define TYPE_LAN7800 "usb-lan7800"
OBJECT_DECLARE_SIMPLE_TYPE(Lan7800State, LAN7800)

#define FIFO_SIZE       (12 * 1024)
#define LITE_RESET_NS   (2 * SCALE_MS)
#define PHY_RESET_NS    (130 * SCALE_MS)
#define MAC_RESET_NS    (20 * SCALE_US)
#define E2P_NS          (100 * SCALE_US)
#define OTP_NS          (5 * SCALE_US)
#define FRAME_MIN       60
#define FRAME_MAX       9018        /* without FCS */
#define RX_HEADER       10
#define MAF_COUNT       33
#define TCP_MAX         (64 * 1024)

enum {
    ID_REV = 0x000, FPGA_REV = 0x004, INT_STS = 0x00c, HW_CFG = 0x010,
    PMT_CTL = 0x014, GPIO_CFG0 = 0x018, GPIO_CFG1 = 0x01c, GPIO_WAKE = 0x020,
    DP_SEL = 0x024, DP_CMD = 0x028, DP_ADDR = 0x02c, DP_DATA = 0x030,
    E2P_CMD = 0x040, E2P_DATA = 0x044, BOS_ATTR = 0x050, STR_FLAG = 0x068,
    USB_CFG0 = 0x080, BURST_CAP = 0x090, BULK_IN_DLY = 0x094,
    INT_EP_CTL = 0x098, PIPE_CTL = 0x09c, USB_CFG3 = 0x0ac, RFE_CTL = 0x0b0,
    VLAN_TYPE = 0x0b4, FCT_RX_CTL = 0x0c0, FCT_TX_CTL = 0x0c4,
    FCT_RX_FIFO_END = 0x0c8, FCT_TX_FIFO_END = 0x0cc, FCT_FLOW = 0x0d0,
    RX_DP_STOR = 0x0d4, TX_DP_STOR = 0x0d8, LTM_FIRST = 0x0e0,
    LTM_LAST = 0x0f4,
    MAC_CR = 0x100, MAC_RX = 0x104, MAC_TX = 0x108, FLOW = 0x10c,
    RAND_SEED = 0x110, ERR_STS = 0x114, RX_ADDRH = 0x118, RX_ADDRL = 0x11c,
    MII_ACC = 0x120, MII_DATA = 0x124, MAC_RGMII_ID = 0x128,
    EEE_FIRST = 0x130, EEE_LAST = 0x138, WUCSR = 0x140, WK_SRC = 0x144,
    WUF_FIRST = 0x150, WUF_LAST = 0x3fc, MAF_HI = 0x400, MAF_LO = 0x404,
    MAF_END = MAF_HI + 8 * MAF_COUNT, WUCSR2 = 0x600, WUCSR2_LAST = 0x6c4,
    PHY_DEV_ID = 0x700, RGMII_TX = 0x708, RGMII_RX = 0x70c, REG_END = 0x710,
};

enum {
    OTP_PWR_DN = 0x1000, OTP_ADDR1 = 0x1004, OTP_ADDR2 = 0x1008,
    OTP_RD_DATA = 0x1018, OTP_FUNC_CMD = 0x1020, OTP_TST_CMD = 0x1024,
    OTP_CMD_GO = 0x1028, OTP_STATUS = 0x1030, OTP_END = 0x10f4,
};

enum {
    INT_RDFO = BIT(22), INT_TXE = BIT(21), INT_TX_DIS = BIT(19),
    INT_RX_DIS = BIT(18), INT_PHY = BIT(17),

    HW_MEF = BIT(4), HW_LRST = BIT(1), HW_SRST = BIT(0),
    PMT_READY = BIT(7), PMT_PHY_RST = BIT(4), PMT_WUPS = 3,
    PMT_MAC_RST = BIT(11),
    E2P_TIMEOUT = BIT(10),
    CFG0_BIR = BIT(6), CFG0_BCE = BIT(5), CFG0_STALL_OUT_DIS = BIT(0),

    RFE_TCPUDP_COE = BIT(12), RFE_IP_COE = BIT(11), RFE_BCAST = BIT(10),
    RFE_MCAST = BIT(9), RFE_UCAST = BIT(8), RFE_VLAN_STRIP = BIT(7),
    RFE_DISCARD_UNTAGGED = BIT(6), RFE_VLAN_FILTER = BIT(5),
    RFE_MCAST_HASH = BIT(3), RFE_DA_HASH = BIT(2), RFE_DA_PERFECT = BIT(1),
    RFE_RST = BIT(0),

    FCT_RST = BIT(30), FCT_SBF = BIT(25), FCT_OVFL = BIT(24),
    FCT_NOT_EMPTY = BIT(22), FCT_EMPTY = BIT(21), FCT_DIS = BIT(20),

    MAC_ADP = BIT(13), MAC_AUTO_DUPLEX = BIT(12), MAC_AUTO_SPEED = BIT(11),
    MAC_FULL = BIT(3), MAC_RST = BIT(0),
    MAC_FCS_STRIP = BIT(4), MAC_DISABLED = BIT(1), MAC_ENABLE = BIT(0),
    FLOW_TX = BIT(30), FLOW_RX = BIT(29),
    MII_WRITE = BIT(1), MII_BUSY = BIT(0),
    OTP_POWERED_DOWN = BIT(0), OTP_BUSY = BIT(0),
};
#define E2P_BUSY    0x80000000u
#define FCT_EN      0x80000000u
#define DP_READY    0x80000000u
#define MAF_VALID   0x80000000u
#define MAF_SOURCE  0x40000000u
#define INTEP_ON    0x80000000u

/* TX and RX command words */
enum {
    TXA_LSO = BIT(27), TXA_IPE = BIT(26), TXA_TPE = BIT(25),
    TXA_IVTG = BIT(24), TXA_FCS = BIT(22), TXA_LENGTH = 0xfffff,

    RXA_TCE = BIT(30), RXA_IPV6 = BIT(29), RXA_TCP = 1 << 27,
    RXA_UDP = 2 << 27, RXA_IP = 3 << 27, RXA_BROADCAST = BIT(25),
    RXA_MULTICAST = BIT(24), RXA_VLAN = BIT(23), RXA_ERROR = BIT(22),
    RXA_WATCHDOG = BIT(21), RXA_RUNT = BIT(20), RXA_LONG = BIT(19),
    RXA_RXE = BIT(18), RXA_DRIBBLE = BIT(17), RXA_BAD_FCS = BIT(16),
    RXA_NO_CHECKSUM = BIT(14), RXA_LENGTH = 0x3fff,
};
#define RXA_ICE     0x80000000u

/* The order of vendor request 0xa2's answer */
enum {
    RX_FCS_ERRORS, RX_ALIGNMENT, RX_FRAGMENTS, RX_JABBER, RX_UNDERSIZE,
    RX_OVERSIZE, RX_DROPPED, RX_UNICAST_BYTES, RX_BROADCAST_BYTES,
    RX_MULTICAST_BYTES, RX_UNICAST, RX_BROADCAST, RX_MULTICAST, RX_PAUSE,
    RX_BY_SIZE, EEE_RX = RX_BY_SIZE + 7,
    TX_FCS_ERRORS = EEE_RX + 2, TX_DEFERRAL, TX_CARRIER, TX_BAD_BYTES,
    TX_SINGLE, TX_MULTIPLE, TX_EXCESSIVE, TX_LATE,
    TX_UNICAST_BYTES, TX_BROADCAST_BYTES, TX_MULTICAST_BYTES, TX_UNICAST,
    TX_BROADCAST, TX_MULTICAST, TX_PAUSE, TX_BY_SIZE,
    EEE_TX = TX_BY_SIZE + 7, STATS_COUNT = EEE_TX + 2,
};

/* PHY registers past those of clause 22 */
enum {
    PHY_MMD_CTRL = 13, PHY_MMD_DATA = 14, PHY_PAGED = 16,
    PHY_INT_MASK = 0x19, PHY_INT_STS = 0x1a, PHY_AUX_STATUS = 0x1c,
    PHY_PAGE = 0x1f,

    PHY_INT_PIN = BIT(15), PHY_INT_SPEED = BIT(14), PHY_INT_LINK = BIT(13),
    PHY_INT_DUPLEX = BIT(12), PHY_INT_AN_DONE = BIT(10),
};
#define PHY_PAGES       4
#define PHY_PAGE_TR     0x52b5

struct Lan7800State {
    USBLanState parent;
    uint32_t regs[REG_END / 4];
    uint32_t vlan_table[128];
    uint32_t hash_table[16];
    uint32_t stats[STATS_COUNT];
    bool rx_overflow;
    int64_t lite_until;             /* virtual times at which they end */
    int64_t phy_until;
    int64_t mac_until;
    int64_t e2p_until;
    int64_t otp_until;
    bool otp_down;

    uint16_t phy_page;
    uint16_t phy_regs[PHY_PAGES][16];
    uint16_t mmd_ctrl, mmd_addr;
    uint16_t mmd_eee_adv, mmd_phy_cfg;
};

#define REG(s, r) ((s)->regs[(r) / 4])

/* Pages 0, 1, 2 and the one of the test registers; -1: none */
static int lan7800_page(Lan7800State *s)
{
    return s->phy_page < 3 ? s->phy_page : s->phy_page == PHY_PAGE_TR ? 3 : -1;
}

static void lan7800_phy_irq(Lan7800State *s)
{
    uint16_t mask = s->phy_regs[0][PHY_INT_MASK - PHY_PAGED];
    uint16_t status = s->phy_regs[0][PHY_INT_STS - PHY_PAGED];

    if (mask & PHY_INT_PIN && mask & status & ~PHY_INT_PIN) {
        REG(s, INT_STS) |= INT_PHY;
    }
}

static uint32_t lan7800_interrupt(USBLanState *lan)
{
    Lan7800State *s = LAN7800(lan);

    return (REG(s, INT_STS) & REG(s, INT_EP_CTL)) |
           (REG(s, INT_EP_CTL) & INTEP_ON);
}

static uint32_t lan7800_fifo_end(Lan7800State *s, unsigned reg)
{
    return MIN((REG(s, reg) + 1) * 512, FIFO_SIZE);
}

static void lan7800_set_path(Lan7800State *s)
{
    USBLanState *lan = USB_LAN(s);
    LanPath *path = &lan->path;
    LanLink *link = &lan->phy.link;
    uint32_t cr = REG(s, MAC_CR);
    /* a MAC that runs at another speed than the PHY hears and says nothing */
    bool speed = cr & MAC_AUTO_SPEED ||
                 link->speed == (const uint16_t[]) { 10, 100, 1000, 0 }
                                [extract32(cr, 1, 2)];

    path->zero_when_empty = !(REG(s, USB_CFG0) & CFG0_BIR);
    path->multi_frame = REG(s, HW_CFG) & HW_MEF;
    path->burst_cap = REG(s, USB_CFG0) & CFG0_BCE
                      ? REG(s, BURST_CAP) * 512 : 0;
    path->bulk_in_delay = REG(s, BULK_IN_DLY) * 50LL / 3;
    path->rx_on = speed && REG(s, MAC_RX) & MAC_ENABLE &&
                  REG(s, FCT_RX_CTL) & FCT_EN;
    path->tx_on = speed && REG(s, MAC_TX) & MAC_ENABLE &&
                  REG(s, FCT_TX_CTL) & FCT_EN;
    path->rx_fifo = lan7800_fifo_end(s, FCT_RX_FIFO_END);
    path->tx_fifo = lan7800_fifo_end(s, FCT_TX_FIFO_END);
    path->pause_on = extract32(REG(s, FCT_FLOW), 0, 7) * 512;
    path->pause_off = MIN(extract32(REG(s, FCT_FLOW), 8, 7) * 512,
                          path->pause_on);
    path->pause = REG(s, FLOW) & FLOW_TX && REG(s, FLOW) & 0xffff &&
                  path->pause_on && path->pause_on < path->rx_fifo &&
                  link->peer_pause;
}

static void lan7800_update(Lan7800State *s)
{
    lan7800_set_path(s);
    lan_path_changed(USB_LAN(s));
}

static void lan7800_defaults(Lan7800State *s)
{
    USBLanState *lan = USB_LAN(s);

    memset(s->regs, 0, sizeof(s->regs));
    REG(s, ID_REV) = 0x78000002;
    REG(s, PMT_CTL) = PMT_READY;
    REG(s, DP_SEL) = DP_READY;
    REG(s, VLAN_TYPE) = 0x8100;
    REG(s, FCT_RX_FIFO_END) = FIFO_SIZE / 512 - 1;
    REG(s, FCT_TX_FIFO_END) = FIFO_SIZE / 512 - 1;
    REG(s, FCT_RX_CTL) = FCT_DIS;
    REG(s, FCT_TX_CTL) = FCT_DIS;
    REG(s, MAC_RX) = 1518 << 16 | MAC_DISABLED;
    REG(s, MAC_TX) = MAC_DISABLED;
    REG(s, RX_ADDRH) = 0xffff;
    REG(s, RX_ADDRL) = 0xffffffff;
    memset(s->vlan_table, 0, sizeof(s->vlan_table));
    memset(s->hash_table, 0, sizeof(s->hash_table));
    s->rx_overflow = false;
    s->mac_until = s->e2p_until = s->otp_until = 0;
    s->otp_down = true;
    lan->mii_until = 0;
    lan->mii_locked = false;
    lan->mii_reading = false;
    lan->mii_data = 0;
    lan7800_update(s);
    lan_flush_rx(lan);
    lan_flush_tx(lan);
}

static void lan7800_reset(USBLanState *lan)
{
    Lan7800State *s = LAN7800(lan);

    s->lite_until = 0;
    s->phy_until = 0;
    memset(s->stats, 0, sizeof(s->stats));
    lan7800_defaults(s);
    lan_phy_reset(lan);
}

static uint32_t lan7800_fct(uint32_t reg, uint32_t used)
{
    return (reg & ~0xffff) | (used ? FCT_NOT_EMPTY : FCT_EMPTY) |
           MIN(used, 0xffff);
}

static bool lan7800_known(uint32_t reg)
{
    switch (reg) {
    case ID_REV ... FPGA_REV:
    case INT_STS ... DP_DATA:
    case E2P_CMD ... E2P_DATA:
    case BOS_ATTR ... STR_FLAG:
    case USB_CFG0 ... USB_CFG0 + 8:
    case BURST_CAP ... VLAN_TYPE:
    case FCT_RX_CTL ... TX_DP_STOR:
    case LTM_FIRST ... LTM_LAST:
    case MAC_CR ... MAC_RGMII_ID:
    case EEE_FIRST ... EEE_LAST:
    case WUCSR ... WK_SRC:
    case WUF_FIRST ... MAF_END - 4:
    case WUCSR2 ... WUCSR2_LAST:
    case PHY_DEV_ID ... RGMII_RX:
        return true;
    default:
        return false;
    }
}

/* Touching the MAC while it is in reset locks it up until a lite reset */
static void lan7800_check_mac(Lan7800State *s, uint32_t reg)
{
    if (reg > MAC_CR && reg < WUCSR && lan_now() < s->mac_until) {
        qemu_log_mask(LOG_GUEST_ERROR, "lan7800: MAC register 0x%x touched "
                      "in MAC reset: MAC locked up\n", reg);
        USB_LAN(s)->mii_locked = true;
    }
}

static uint32_t lan7800_otp_read(Lan7800State *s, uint32_t reg)
{
    switch (reg) {
    case OTP_PWR_DN:
        return s->otp_down ? OTP_POWERED_DOWN : 0;
    case OTP_STATUS:
        return lan_now() < s->otp_until ? OTP_BUSY : 0;
    default:                    /* blank: every byte is zero */
        return 0;
    }
}

static void lan7800_otp_write(Lan7800State *s, uint32_t reg, uint32_t value)
{
    switch (reg) {
    case OTP_PWR_DN:
        s->otp_down = value & OTP_POWERED_DOWN;
        break;
    case OTP_CMD_GO:
        if (s->otp_down) {
            qemu_log_mask(LOG_GUEST_ERROR, "lan7800: OTP is powered down\n");
        }
        s->otp_until = lan_now() + OTP_NS;
        break;
    case OTP_ADDR1:
    case OTP_ADDR2:
        break;
    case OTP_FUNC_CMD:
        if (value == 1) {
            break;
        }
        /* fall through */
    default:
        qemu_log_mask(LOG_GUEST_ERROR, "lan7800: OTP register 0x%x written: "
                      "this may burn fuses\n", reg);
        break;
    }
}

static bool lan7800_read(USBLanState *lan, uint32_t reg, uint32_t *value)
{
    Lan7800State *s = LAN7800(lan);
    int64_t now = lan_now();

    *value = 0;
    if (now < s->lite_until) {
        *value = reg == HW_CFG ? HW_LRST : 0;
        return true;
    }
    if (reg >= OTP_PWR_DN && reg <= OTP_END) {
        *value = lan7800_otp_read(s, reg);
        return true;
    }
    if (!lan7800_known(reg)) {
        qemu_log_mask(LOG_GUEST_ERROR, "lan7800: read of register 0x%x\n", reg);
        return true;
    }
    lan7800_check_mac(s, reg);
    *value = REG(s, reg);
    switch (reg) {
    case PMT_CTL:
        if (now < s->phy_until) {
            *value = (*value | PMT_PHY_RST) & ~PMT_READY;
        }
        break;
    case E2P_CMD:
        if (now < s->e2p_until) {
            *value = (*value | E2P_BUSY) & ~E2P_TIMEOUT;
        }
        break;
    case FCT_RX_CTL:
        *value = lan7800_fct(*value, lan->rx_used) |
                 (s->rx_overflow ? FCT_OVFL : 0);
        break;
    case FCT_TX_CTL:
        *value = lan7800_fct(*value, lan->tx_used);
        break;
    case MAC_CR:
        if (now < s->mac_until) {
            *value |= MAC_RST;
        }
        break;
    case MII_ACC:
        *value |= lan_mii_busy(lan) ? MII_BUSY : 0;
        break;
    case MII_DATA:
        *value = lan_mii_data(lan);
        break;
    }
    return true;
}

static void lan7800_data_port(Lan7800State *s, bool write)
{
    uint32_t addr = REG(s, DP_ADDR);
    uint32_t *word = NULL;

    if (extract32(REG(s, DP_SEL), 0, 4) == 1) {     /* VLAN and DA hash */
        if (addr < ARRAY_SIZE(s->vlan_table)) {
            word = &s->vlan_table[addr];
        } else if (addr - 128 < ARRAY_SIZE(s->hash_table)) {
            word = &s->hash_table[addr - 128];
        }
    }
    if (!word) {
        qemu_log_mask(LOG_UNIMP, "lan7800: data port select %u address %u\n",
                      REG(s, DP_SEL) & 15, addr);
    } else if (write) {
        *word = REG(s, DP_DATA);
    } else {
        REG(s, DP_DATA) = *word;
    }
}

/* Enable bits of a FIFO: "disabled" is what a driver waits for */
static void lan7800_write_fct(Lan7800State *s, unsigned reg, uint32_t value,
                              uint32_t interrupt)
{
    bool was = REG(s, reg) & FCT_EN;

    if (value & FCT_RST) {
        if (was || value & FCT_EN) {
            qemu_log_mask(LOG_GUEST_ERROR,
                          "lan7800: FIFO reset while it is enabled\n");
        } else if (reg == FCT_RX_CTL) {
            lan_flush_rx(USB_LAN(s));
        } else {
            lan_flush_tx(USB_LAN(s));
        }
    }
    if (reg == FCT_RX_CTL && value & FCT_OVFL) {
        s->rx_overflow = false;
    }
    REG(s, reg) = value & (FCT_EN | FCT_SBF);
    if (!(value & FCT_EN)) {
        REG(s, reg) |= FCT_DIS;
        if (was) {
            REG(s, INT_STS) |= interrupt;
        }
    }
}

static bool lan7800_write(USBLanState *lan, uint32_t reg, uint32_t value)
{
    Lan7800State *s = LAN7800(lan);
    int64_t now = lan_now();

    if (now < s->lite_until) {
        qemu_log_mask(LOG_GUEST_ERROR, "lan7800: register 0x%x written in "
                      "reset\n", reg);
        return true;
    }
    if (reg >= OTP_PWR_DN && reg <= OTP_END) {
        lan7800_otp_write(s, reg, value);
        return true;
    }
    if (!lan7800_known(reg)) {
        qemu_log_mask(LOG_GUEST_ERROR, "lan7800: write of 0x%08x to register "
                      "0x%x\n", value, reg);
        return true;
    }
    lan7800_check_mac(s, reg);
    switch (reg) {
    case ID_REV:
    case FPGA_REV:
    case RX_DP_STOR:
    case TX_DP_STOR:
    case PHY_DEV_ID:
        break;
    case INT_STS:
        REG(s, reg) &= ~value;
        lan->intr_told &= ~value;
        lan7800_phy_irq(s);     /* a source that lasts occurs again */
        break;
    case HW_CFG:
        if (value & HW_SRST) {
            lan7800_reset(lan);
            s->lite_until = now + LITE_RESET_NS;
            return true;
        }
        if (value & HW_LRST) {
            lan7800_defaults(s);
            s->lite_until = now + LITE_RESET_NS;
            return true;
        }
        REG(s, reg) = value;
        break;
    case PMT_CTL:
        if (value & PMT_PHY_RST) {
            s->phy_until = now + PHY_RESET_NS;
            lan_phy_reset(lan);
            lan->phy.reset_until = s->phy_until;
        }
        REG(s, reg) = PMT_READY |
                      (value & ~(PMT_PHY_RST | PMT_MAC_RST | PMT_WUPS));
        break;
    case DP_SEL:
        REG(s, reg) = DP_READY | (value & 15);
        break;
    case DP_CMD:
        lan7800_data_port(s, value & 1);
        break;
    case E2P_CMD:
        if (now < s->e2p_until) {
            qemu_log_mask(LOG_GUEST_ERROR, "lan7800: E2P_CMD while busy\n");
            break;
        }
        REG(s, reg) = value & 0x700001ff;
        if (value & E2P_BUSY) {
            s->e2p_until = now + E2P_NS;
            if (value & 0x70000000) {
                REG(s, reg) |= E2P_TIMEOUT;
            } else {
                REG(s, E2P_DATA) = 0xff;    /* the pin floats high */
            }
        }
        break;
    case BURST_CAP:
        REG(s, reg) = value & 0xff;
        break;
    case BULK_IN_DLY:
        REG(s, reg) = value & 0xffff;
        break;
    case RFE_CTL:
        REG(s, reg) = value & ~RFE_RST;
        break;
    case FCT_RX_CTL:
        lan7800_write_fct(s, reg, value, INT_RX_DIS);
        break;
    case FCT_TX_CTL:
        lan7800_write_fct(s, reg, value, INT_TX_DIS);
        break;
    case FCT_RX_FIFO_END:
    case FCT_TX_FIFO_END:
        if ((value + 1) * 512 > FIFO_SIZE) {
            qemu_log_mask(LOG_GUEST_ERROR, "lan7800: FIFO end 0x%x is past "
                          "the FIFO\n", value);
        }
        REG(s, reg) = value & 0x7f;
        break;
    case MAC_CR:
        if (value & MAC_RST) {
            /* erratum: a reset during an MII access locks the MAC up */
            if (lan_mii_busy(lan)) {
                qemu_log_mask(LOG_GUEST_ERROR, "lan7800: MAC reset during an "
                              "MII access: MAC locked up\n");
                lan->mii_locked = true;
            }
            s->mac_until = now + MAC_RESET_NS;
        }
        REG(s, reg) = value & ~MAC_RST;
        break;
    case MAC_RX:
        if (REG(s, reg) & value & MAC_ENABLE &&
            (REG(s, reg) ^ value) & 0x3fff0000) {
            qemu_log_mask(LOG_GUEST_ERROR, "lan7800: frame size changed while "
                          "the receiver is on\n");
            value = deposit32(value, 16, 14, extract32(REG(s, reg), 16, 14));
        }
        /* fall through */
    case MAC_TX:
        REG(s, reg) = deposit32(value, 1, 1, !(value & MAC_ENABLE));
        break;
    case RX_ADDRH:
        REG(s, reg) = value & 0xffff;
        break;
    case MII_ACC:
        REG(s, reg) = value & 0xffc2;
        if (value & MII_BUSY) {
            lan_mii_start(lan, extract32(value, 11, 5),
                          extract32(value, 6, 5), value & MII_WRITE);
        }
        break;
    case MII_DATA:
        lan_mii_set_data(lan, value);
        break;
    default:
        REG(s, reg) = value;
        break;
    }
    lan7800_update(s);
    lan_interrupt_changed(lan);
    return true;
}

static int lan7800_stats(USBLanState *lan, uint8_t *data, int length)
{
    Lan7800State *s = LAN7800(lan);
    uint8_t all[STATS_COUNT * 4];
    int i;

    for (i = 0; i < STATS_COUNT; i++) {
        stl_le_p(all + 4 * i, s->stats[i]);
    }
    length = MIN(length, sizeof(all));
    memcpy(data, all, length);
    return length;
}

/* Counters of one direction: @base is that of its unicast bytes */
static void lan7800_count(Lan7800State *s, unsigned base, unsigned by_size,
                          const uint8_t *frame, uint32_t len)
{
    static const uint32_t limits[] = { 64, 127, 255, 511, 1023, 1518 };
    unsigned kind = is_broadcast_ether_addr(frame) ? 1
                    : is_multicast_ether_addr(frame) ? 2 : 0;
    unsigned bin = 0;

    len += LAN_FCS_LEN;
    s->stats[base + kind] += len;
    s->stats[base + 3 + kind]++;
    while (bin < ARRAY_SIZE(limits) && len > limits[bin]) {
        bin++;
    }
    s->stats[by_size + bin]++;
}

/* Checksums */

typedef struct Layers {
    bool ipv4, ipv6;
    uint32_t l3, l4;            /* offsets */
    uint32_t end;               /* of the IP packet */
    uint8_t proto;
    uint32_t check;             /* offset of the checksum, 0: none known */
} Layers;

static Layers lan7800_layers(const uint8_t *frame, uint32_t len)
{
    Layers l = { .l3 = ETH_HLEN };
    uint16_t type = lduw_be_p(frame + 12);

    if (type == ETH_P_VLAN && len >= ETH_HLEN + 4) {
        type = lduw_be_p(frame + 16);
        l.l3 += 4;
    }
    if (type == ETH_P_IP && len >= l.l3 + 20 && frame[l.l3] >> 4 == 4 &&
        (frame[l.l3] & 15) >= 5) {
        l.l4 = l.l3 + 4 * (frame[l.l3] & 15);
        l.end = l.l3 + lduw_be_p(frame + l.l3 + 2);
        l.proto = frame[l.l3 + 9];
        l.ipv4 = l.l4 <= len;
        if (lduw_be_p(frame + l.l3 + 6) & 0x3fff) {
            l.proto = 0;        /* a fragment */
        }
    } else if (type == ETH_P_IPV6 && len >= l.l3 + 40 &&
               frame[l.l3] >> 4 == 6) {
        l.l4 = l.l3 + 40;
        l.end = l.l4 + lduw_be_p(frame + l.l3 + 4);
        l.proto = frame[l.l3 + 6];
        l.ipv6 = true;
    }
    if (!(l.ipv4 || l.ipv6) || l.end < l.l4 || l.end > len) {
        l.proto = 0;
        l.end = len;
    }
    if (l.proto == IP_PROTO_TCP && l.l4 + 20 <= l.end) {
        l.check = l.l4 + 16;
    } else if (l.proto == IP_PROTO_UDP && l.l4 + 8 <= l.end) {
        l.check = l.l4 + 6;
    }
    return l;
}

/* The sum that a right TCP or UDP checksum makes 0xffff */
static uint16_t lan7800_l4_sum(const uint8_t *frame, const Layers *l)
{
    uint32_t size = l->end - l->l4;
    uint32_t sum = l->ipv4 ? lan_sum(frame + l->l3 + 12, 8)
                           : lan_sum(frame + l->l3 + 8, 32);

    sum += l->proto + (size >> 16) + (size & 0xffff);
    sum += lan_sum(frame + l->l4, size);
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static void lan7800_insert_checksums(uint8_t *frame, uint32_t len, uint32_t a)
{
    Layers l = lan7800_layers(frame, len);

    if (a & TXA_IPE && l.ipv4) {
        stw_be_p(frame + l.l3 + 10, 0);
        stw_be_p(frame + l.l3 + 10, ~lan_sum(frame + l.l3, l.l4 - l.l3));
    }
    if (a & TXA_TPE && l.check) {
        uint16_t sum;

        stw_be_p(frame + l.check, 0);
        sum = ~lan7800_l4_sum(frame, &l);
        stw_be_p(frame + l.check,
                 sum || l.proto != IP_PROTO_UDP ? sum : 0xffff);
    }
}

/* Transmit */

static void lan7800_send(Lan7800State *s, const uint8_t *frame, uint32_t len)
{
    lan7800_count(s, TX_UNICAST_BYTES, TX_BY_SIZE, frame, len);
    lan_transmit(USB_LAN(s), frame, len);
}

static bool lan7800_tx_error(Lan7800State *s, const char *why)
{
    qemu_log_mask(LOG_GUEST_ERROR, "lan7800: TX: %s\n", why);
    REG(s, INT_STS) |= INT_TXE;
    lan_interrupt_changed(USB_LAN(s));
    return REG(s, USB_CFG0) & CFG0_STALL_OUT_DIS;
}

/* Large send: one TCP packet becomes several of @mss */
static bool lan7800_segment(Lan7800State *s, const uint8_t *frame,
                            uint32_t len, uint32_t a, uint32_t mss)
{
    g_autofree uint8_t *out = g_malloc(len);
    Layers l = lan7800_layers(frame, len);
    uint32_t header, at, seq;
    uint16_t id = 0;

    /* The length fields of a packet past 64 KiB mean nothing: take the frame */
    l.end = len;
    if (l.ipv4) {
        l.proto = frame[l.l3 + 9];
        id = lduw_be_p(frame + l.l3 + 4);
    } else if (l.ipv6) {
        l.proto = frame[l.l3 + 6];
    }
    if (!(l.ipv4 || l.ipv6) || l.proto != IP_PROTO_TCP || l.l4 + 20 > len ||
        mss < 8 || len - l.l3 > TCP_MAX + 40) {
        return lan7800_tx_error(s, "large send of no TCP packet");
    }
    header = l.l4 + 4 * (frame[l.l4 + 12] >> 4);
    if (header < l.l4 + 20 || header >= len) {
        return lan7800_tx_error(s, "large send without data");
    }
    seq = ldl_be_p(frame + l.l4 + 4);
    for (at = header; at < len; at += mss) {
        uint32_t size = MIN(mss, len - at);
        uint8_t flags = frame[l.l4 + 13];

        memcpy(out, frame, header);
        memcpy(out + header, frame + at, size);
        if (l.ipv4) {
            stw_be_p(out + l.l3 + 2, header + size - l.l3);
            stw_be_p(out + l.l3 + 4, id++);
        } else {
            stw_be_p(out + l.l3 + 4, header + size - l.l4);
        }
        stl_be_p(out + l.l4 + 4, seq + (at - header));
        if (at != header) {
            flags &= ~0x80;     /* CWR on the first only */
        }
        if (at + size < len) {
            flags &= ~0x09;     /* PSH and FIN on the last only */
        }
        out[l.l4 + 13] = flags;
        lan7800_insert_checksums(out, header + size, a | TXA_IPE | TXA_TPE);
        lan7800_send(s, out, header + size);
    }
    return true;
}

static bool lan7800_tx_frame(Lan7800State *s, const uint8_t *data,
                             uint32_t len, uint32_t a, uint32_t b)
{
    g_autofree uint8_t *frame = NULL;

    if (len < ETH_HLEN) {
        return lan7800_tx_error(s, "a frame without its header");
    }
    frame = g_malloc(len + 4 + FRAME_MIN);
    if (a & TXA_IVTG) {
        memcpy(frame, data, 12);
        stw_be_p(frame + 12, REG(s, VLAN_TYPE));
        stw_be_p(frame + 14, b);
        memcpy(frame + 16, data + 12, len - 12);
        len += 4;
    } else {
        memcpy(frame, data, len);
    }
    if (a & TXA_LSO) {
        return lan7800_segment(s, frame, len, a, extract32(b, 16, 14));
    }
    if (a & (TXA_IPE | TXA_TPE)) {
        lan7800_insert_checksums(frame, len, a);
    }
    if (!(a & TXA_FCS)) {
        if (len < FRAME_MIN + LAN_FCS_LEN ||
            lan_fcs(frame, len - LAN_FCS_LEN) !=
            ldl_le_p(frame + len - LAN_FCS_LEN)) {
            qemu_log_mask(LOG_GUEST_ERROR, "lan7800: TX: wrong FCS\n");
            s->stats[TX_FCS_ERRORS]++;
            return true;        /* sent, and no peer takes it */
        }
        len -= LAN_FCS_LEN;
    } else if (len < FRAME_MIN) {
        memset(frame + len, 0, FRAME_MIN - len);
        len = FRAME_MIN;
    }
    if (len > FRAME_MAX) {
        return lan7800_tx_error(s, "frame too long");
    }
    lan7800_send(s, frame, len);
    return true;
}

static bool lan7800_transfer(USBLanState *lan, uint8_t *data, uint32_t len)
{
    Lan7800State *s = LAN7800(lan);
    uint32_t at = 0;

    while (at + 8 <= len) {
        uint32_t a = ldl_le_p(data + at);
        uint32_t b = ldl_le_p(data + at + 4);
        uint32_t size = a & TXA_LENGTH;

        at += 8;
        if (size == 0 || size > len - at) {
            return lan7800_tx_error(s, "frame is longer than its transfer");
        }
        if (!lan7800_tx_frame(s, data + at, size, a, b)) {
            return false;
        }
        at = QEMU_ALIGN_UP(at + size, 4);
    }
    if (at < len) {
        return lan7800_tx_error(s, "transfer ends within a command");
    }
    return true;
}

/* Receive */

static bool lan7800_hash_hit(Lan7800State *s, const uint8_t *addr)
{
    unsigned bit = net_crc32(addr, ETH_ALEN) >> 23;

    return s->hash_table[bit / 32] & BIT(bit % 32);
}

/* The filter looks at the MAF registers; RX_ADDR is for pause frames */
static bool lan7800_perfect(Lan7800State *s, const uint8_t *addr)
{
    uint32_t lo = ldl_le_p(addr), hi = lduw_le_p(addr + 4);
    int i;

    for (i = 0; i < MAF_COUNT; i++) {
        uint32_t maf = REG(s, MAF_HI + 8 * i);

        if (maf & MAF_VALID && !(maf & MAF_SOURCE) && (maf & 0xffff) == hi &&
            REG(s, MAF_LO + 8 * i) == lo) {
            return true;
        }
    }
    return false;
}

static bool lan7800_addressed(Lan7800State *s, const uint8_t *addr)
{
    uint32_t rfe = REG(s, RFE_CTL);

    if (is_broadcast_ether_addr(addr)) {
        return rfe & RFE_BCAST;
    }
    if (rfe & RFE_DA_PERFECT && lan7800_perfect(s, addr)) {
        return true;
    }
    if (is_multicast_ether_addr(addr)) {
        return rfe & RFE_MCAST ||
               (rfe & RFE_MCAST_HASH && lan7800_hash_hit(s, addr));
    }
    return rfe & RFE_UCAST || (rfe & RFE_DA_HASH && lan7800_hash_hit(s, addr));
}

static bool lan7800_vlan_wanted(Lan7800State *s, bool tagged, uint16_t tag)
{
    if (!tagged) {
        return !(REG(s, RFE_CTL) & RFE_DISCARD_UNTAGGED);
    }
    tag &= 0xfff;
    return !(REG(s, RFE_CTL) & RFE_VLAN_FILTER) ||
           s->vlan_table[tag / 32] & BIT(tag % 32);
}

static uint32_t lan7800_rx_layers(const uint8_t *frame, uint32_t len)
{
    Layers l = lan7800_layers(frame, len);
    uint32_t a = l.ipv6 ? RXA_IPV6 : 0;

    if (!l.ipv4 && !l.ipv6) {
        return a;
    }
    if (l.ipv4 && lan_sum(frame + l.l3, l.l4 - l.l3) != 0xffff) {
        a |= RXA_ICE;
    }
    if (!l.check) {
        return a | RXA_IP;
    }
    a |= l.proto == IP_PROTO_TCP ? RXA_TCP : RXA_UDP;
    /* UDP over IPv4 may come without a checksum */
    if (l.proto == IP_PROTO_UDP && l.ipv4 && !lduw_be_p(frame + l.check)) {
        return a;
    }
    return lan7800_l4_sum(frame, &l) == 0xffff ? a : a | RXA_TCE;
}

static uint32_t lan7800_fifo_cost(USBLanState *lan, uint32_t len)
{
    return QEMU_ALIGN_UP(RX_HEADER + len + LAN_FCS_LEN, 4);
}

static void lan7800_frame(USBLanState *lan, const uint8_t *data, uint32_t len)
{
    Lan7800State *s = LAN7800(lan);
    uint32_t rfe = REG(s, RFE_CTL);
    bool store_bad = REG(s, FCT_RX_CTL) & FCT_SBF;
    bool tagged = len >= ETH_HLEN + 4 &&
                  lduw_be_p(data + 12) == (REG(s, VLAN_TYPE) & 0xffff);
    uint16_t tag = tagged ? lduw_be_p(data + 14) : 0;
    uint32_t a = 0, b = 0, size = len;
    LanFrame *frame;
    uint8_t *at;

    if (!lan7800_addressed(s, data) || !lan7800_vlan_wanted(s, tagged, tag)) {
        return;
    }
    if (len + LAN_FCS_LEN > extract32(REG(s, MAC_RX), 16, 14)) {
        s->stats[RX_OVERSIZE]++;
        a |= RXA_ERROR | RXA_LONG;
    } else if (len < FRAME_MIN) {
        s->stats[RX_UNDERSIZE]++;
        a |= RXA_ERROR | RXA_RUNT;
    }
    if (a && !store_bad) {
        s->stats[RX_DROPPED]++;
        return;
    }
    lan7800_count(s, RX_UNICAST_BYTES, RX_BY_SIZE, data, len);

    frame = lan_frame_new(RX_HEADER + len + LAN_FCS_LEN);
    at = frame->data + RX_HEADER;
    memcpy(at, data, len);
    if (is_broadcast_ether_addr(data)) {
        a |= RXA_BROADCAST;
    } else if (is_multicast_ether_addr(data)) {
        a |= RXA_MULTICAST;
    }
    if (tagged) {
        a |= RXA_VLAN;
        b |= tag;
        if (rfe & RFE_VLAN_STRIP) {
            memmove(at + 12, at + 16, len - 16);
            size -= 4;
        }
    }
    if (rfe & (RFE_TCPUDP_COE | RFE_IP_COE)) {
        a |= lan7800_rx_layers(at, size);
        b |= (uint32_t)lan_sum(at + ETH_HLEN, size - ETH_HLEN) << 16;
    } else {
        a |= RXA_NO_CHECKSUM;
    }
    if (!(REG(s, MAC_RX) & MAC_FCS_STRIP)) {
        stl_le_p(at + size, lan_fcs(data, len));
        size += LAN_FCS_LEN;
    }
    stl_le_p(frame->data, a | size);
    stl_le_p(frame->data + 4, b);
    frame->len = RX_HEADER + size;
    lan_receive(lan, frame);
}

static void lan7800_overflow(USBLanState *lan)
{
    Lan7800State *s = LAN7800(lan);

    s->rx_overflow = true;
    s->stats[RX_DROPPED]++;
    REG(s, INT_STS) |= INT_RDFO;
}

static void lan7800_spoil(USBLanState *lan, uint8_t *frame, uint32_t len,
                          uint32_t random)
{
    uint32_t a = ldl_le_p(frame);

    switch (random & 3) {
    case 0:                     /* any length */
        a = deposit32(a, 0, 14, random >> 8);
        break;
    case 1:                     /* one of the errors */
        a |= RXA_ERROR | BIT(16 + (random >> 8) % 6);
        break;
    case 2:                     /* a wrong FCS */
        frame[len - 1 - (random >> 8) % (len - RX_HEADER)] ^= 0x55;
        a |= RXA_ERROR | RXA_BAD_FCS;
        break;
    default:                    /* a runt or a giant */
        a = deposit32(a, 0, 14, random & 4 ? (random >> 8) % 18
                                           : 1523 + (random >> 8) % 8000);
        break;
    }
    stl_le_p(frame, a);
}

/* PHY */

static void lan7800_phy_event(USBLanState *lan, enum LanPhyEvent event)
{
    Lan7800State *s = LAN7800(lan);
    uint16_t *status = &s->phy_regs[0][PHY_INT_STS - PHY_PAGED];

    switch (event) {
    case LAN_PHY_LINK_DOWN:
        *status |= PHY_INT_LINK;
        break;
    case LAN_PHY_LINK_UP:
        *status |= PHY_INT_LINK | PHY_INT_SPEED | PHY_INT_DUPLEX;
        break;
    case LAN_PHY_AN_DONE:
        *status |= PHY_INT_AN_DONE;
        break;
    }
    lan7800_phy_irq(s);
    lan7800_update(s);
}

/* The few MMD registers that drivers use; the others read zero */
static uint16_t *lan7800_mmd(Lan7800State *s)
{
    switch ((s->mmd_ctrl & 31) << 16 | s->mmd_addr) {
    case 3 << 16 | 0x806a:
        return &s->mmd_phy_cfg;
    case 7 << 16 | 60:
        return &s->mmd_eee_adv;
    default:
        return NULL;
    }
}

static uint16_t lan7800_mmd_read(Lan7800State *s)
{
    uint16_t *reg = lan7800_mmd(s);

    if (!(s->mmd_ctrl & 0xc000)) {
        return s->mmd_addr;
    }
    if ((s->mmd_ctrl & 31) == 3 && s->mmd_addr == 20) {
        return 0x0006;          /* EEE at 100 and 1000 Mbit/s */
    }
    return reg ? *reg : 0;
}

static uint16_t lan7800_phy_read(USBLanState *lan, unsigned reg)
{
    Lan7800State *s = LAN7800(lan);
    LanLink *link = &lan->phy.link;
    int page = lan7800_page(s);
    uint16_t value;

    if (reg == PHY_PAGE) {
        return s->phy_page;
    }
    if (reg == PHY_MMD_DATA) {
        return lan7800_mmd_read(s);
    }
    if (reg < PHY_PAGED || page < 0) {
        return reg == PHY_MMD_CTRL ? s->mmd_ctrl : 0;
    }
    value = s->phy_regs[page][reg - PHY_PAGED];
    if (page) {
        return value;
    }
    switch (reg) {
    case PHY_INT_STS:
        s->phy_regs[0][reg - PHY_PAGED] = 0;    /* reading clears */
        return value | (value ? PHY_INT_PIN : 0);
    case PHY_AUX_STATUS:
        value = lan->phy.complete ? BIT(15) : 0;
        if (link->up) {
            value |= (link->full ? BIT(5) : 0) |
                     (link->speed == 1000 ? 2 : link->speed == 100 ? 1 : 0) << 3;
        }
        return value;
    default:
        return value;
    }
}

static void lan7800_phy_write(USBLanState *lan, unsigned reg, uint16_t value)
{
    Lan7800State *s = LAN7800(lan);
    int page = lan7800_page(s);

    if (reg == PHY_PAGE) {
        s->phy_page = value;
    } else if (reg == PHY_MMD_CTRL) {
        s->mmd_ctrl = value;
    } else if (reg == PHY_MMD_DATA) {
        uint16_t *mmd = lan7800_mmd(s);

        if (!(s->mmd_ctrl & 0xc000)) {
            s->mmd_addr = value;
        } else if (mmd) {
            *mmd = value;
        }
    } else if (reg >= PHY_PAGED && page >= 0 &&
               !(page == 0 && (reg == PHY_INT_STS || reg == PHY_AUX_STATUS))) {
        s->phy_regs[page][reg - PHY_PAGED] = value;
    }
    lan7800_phy_irq(s);
}

static void lan7800_phy_reset(USBLanState *lan)
{
    Lan7800State *s = LAN7800(lan);

    memset(s->phy_regs, 0, sizeof(s->phy_regs));
    s->phy_page = 0;
    s->mmd_ctrl = s->mmd_addr = 0;
    s->mmd_eee_adv = 0x0006;
    s->mmd_phy_cfg = 0;
}

static const USBDescIface lan7800_iface = {
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

static const USBDescDevice lan7800_device = {
    .bcdUSB = 0x0210,
    .bDeviceClass = USB_CLASS_VENDOR_SPEC,
    .bDeviceProtocol = 0xff,
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
            .ifs = &lan7800_iface,
        },
    },
};

static const USBDesc lan7800_desc = {
    .id = { .idVendor = 0x0424, .idProduct = 0x7800, .bcdDevice = 0x0300 },
    .high = &lan7800_device,
    .full = &lan7800_device,
};

static int lan7800_post_load(void *opaque, int version_id)
{
    lan7800_set_path(opaque);
    return 0;
}

static const VMStateDescription vmstate_lan7800 = {
    .name = TYPE_LAN7800,
    /* also of the embedded vmstate_usb_lan, whose own version is not sent */
    .version_id = 2,
    .minimum_version_id = 2,
    .post_load = lan7800_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT(parent, Lan7800State, 1, vmstate_usb_lan, USBLanState),
        VMSTATE_UINT32_ARRAY(regs, Lan7800State, REG_END / 4),
        VMSTATE_UINT32_ARRAY(vlan_table, Lan7800State, 128),
        VMSTATE_UINT32_ARRAY(hash_table, Lan7800State, 16),
        VMSTATE_UINT32_ARRAY(stats, Lan7800State, STATS_COUNT),
        VMSTATE_BOOL(rx_overflow, Lan7800State),
        VMSTATE_INT64(lite_until, Lan7800State),
        VMSTATE_INT64(phy_until, Lan7800State),
        VMSTATE_INT64(mac_until, Lan7800State),
        VMSTATE_INT64(e2p_until, Lan7800State),
        VMSTATE_INT64(otp_until, Lan7800State),
        VMSTATE_BOOL(otp_down, Lan7800State),
        VMSTATE_UINT16(phy_page, Lan7800State),
        VMSTATE_UINT16_2DARRAY(phy_regs, Lan7800State, PHY_PAGES, 16),
        VMSTATE_UINT16(mmd_ctrl, Lan7800State),
        VMSTATE_UINT16(mmd_addr, Lan7800State),
        VMSTATE_UINT16(mmd_eee_adv, Lan7800State),
        VMSTATE_UINT16(mmd_phy_cfg, Lan7800State),
        VMSTATE_END_OF_LIST()
    }
};

static void lan7800_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    USBDeviceClass *uc = USB_DEVICE_CLASS(klass);
    USBLanClass *c = USB_LAN_CLASS(klass);

    uc->product_desc = "Microchip LAN7800 Ethernet";
    uc->usb_desc = &lan7800_desc;
    c->phy_id = 0x0007c132;
    c->gigabit = true;
    c->reset = lan7800_reset;
    c->read = lan7800_read;
    c->write = lan7800_write;
    c->stats = lan7800_stats;
    c->transfer = lan7800_transfer;
    c->frame = lan7800_frame;
    c->fifo_cost = lan7800_fifo_cost;
    c->overflow = lan7800_overflow;
    c->spoil = lan7800_spoil;
    c->interrupt = lan7800_interrupt;
    c->phy_event = lan7800_phy_event;
    c->phy_read = lan7800_phy_read;
    c->phy_write = lan7800_phy_write;
    c->phy_reset = lan7800_phy_reset;
    dc->vmsd = &vmstate_lan7800;
}

static const TypeInfo lan7800_type = {
    .name = TYPE_LAN7800,
    .parent = TYPE_USB_LAN,
    .instance_size = sizeof(Lan7800State),
    .class_init = lan7800_class_init,
};

static void lan7800_register(void)
{
    type_register_static(&lan7800_type);
}

type_init(lan7800_register)
