/*
 * Broadcom BCM54213PE gigabit PHY, as a Raspberry Pi 4 straps it (RGMII).
 *
 * No datasheet is public. Registers 0-15 are IEEE 802.3 clause 22 and its
 * window on clause 45; the others are what Linux's broadcom PHY driver uses.
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/net/bcm54213pe.h"
#include "hw/net/mii.h"
#include "qemu/log.h"

/* Broadcom's own registers */
#define REG_EXP_DATA        0x15
#define REG_EXP_SELECT      0x17
#define REG_AUXCTL          0x18
#define REG_AUX_STATUS      0x19
#define REG_INTR_STATUS     0x1a
#define REG_INTR_MASK       0x1b
#define REG_SHADOW          0x1c

#define AUXCTL_MISC         7
#define AUXCTL_WRITE_ENABLE 0x8000
#define AUXCTL_MISC_DATA    0x0ff8
#define MISC_RX_SKEW        0x0100
#define MISC_RGMII          0x0080
#define MISC_STRAPS         0x0060      /* as a board reads; unknown */

#define SHADOW_WRITE_ENABLE 0x8000
#define SHADOW_CLOCK        0x03
#define CLOCK_GTXCLK_DELAY  0x0200

#define EXP_MASK            0x0fff
#define EXP_IDDQ            0x0d06
#define IDDQ_LP             0x0001      /* low power */
#define IDDQ_SR             0x0008      /* with its registers kept */
#define IDDQ_SD             0x0004      /* without */
#define IDDQ_BITS           (IDDQ_LP | IDDQ_SR | IDDQ_SD)

/* On a gigabit link, as a board reads it: next pages, both ways */
#define ANLPAR_NEXT_PAGE    0x8000
#define ANER_GIGABIT        0x006d

#define INTR_LINK           0x0002
#define INTR_SPEED          0x0004
#define INTR_DUPLEX         0x0008
#define INTR_AN_DONE        0x0400

#define BMSR_FIXED (MII_BMSR_100TX_FD | MII_BMSR_100TX_HD | MII_BMSR_10T_FD | \
                    MII_BMSR_10T_HD | MII_BMSR_EXTSTAT | MII_BMSR_MFPS | \
                    MII_BMSR_AUTONEG | MII_BMSR_EXTCAP)

#define RESET_NS     (500 * SCALE_US)   /* BMCR's reset bit clears itself */
#define POWER_UP_NS  (40 * SCALE_US)    /* held in reset after power-down */

static int64_t now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

static bool phy_powered(const BCM54213PE *phy)
{
    return !(phy->reg[MII_BMCR] & MII_BMCR_PDOWN) &&
           !(phy->expansion[EXP_IDDQ] & IDDQ_BITS);
}

bool bcm54213pe_delays_rx(const BCM54213PE *phy)
{
    return phy->auxctl[AUXCTL_MISC] & MISC_RX_SKEW;
}

bool bcm54213pe_delays_tx(const BCM54213PE *phy)
{
    return phy->shadow[SHADOW_CLOCK] & CLOCK_GTXCLK_DELAY;
}

/* What the partner offers, in the form of register 5. */
static uint16_t partner_abilities(const BCM54213PE *phy)
{
    uint16_t bits = MII_ANAR_CSMACD;
    bool full = phy->partner_full_duplex;

    /* At its best speed the partner has one duplex; below, both. */
    if (phy->partner_speed > 100) {
        bits |= MII_ANAR_TXFD | MII_ANAR_TX;
    } else if (phy->partner_speed == 100) {
        bits |= full ? MII_ANAR_TXFD | MII_ANAR_TX : MII_ANAR_TX;
    }
    if (phy->partner_speed > 10) {
        bits |= MII_ANAR_10FD | MII_ANAR_10;
    } else {
        bits |= full ? MII_ANAR_10FD | MII_ANAR_10 : MII_ANAR_10;
    }
    if (phy->partner_pause) {
        bits |= MII_ANAR_PAUSE;
    }
    return bits;
}

/* The same for 1000BASE-T, in the form of register 10. */
static uint16_t partner_abilities_1000(const BCM54213PE *phy)
{
    if (phy->partner_speed < 1000) {
        return 0;
    }
    return phy->partner_full_duplex ? MII_STAT1000_FULL : MII_STAT1000_HALF;
}

bool bcm54213pe_pause(const BCM54213PE *phy)
{
    return phy->link && phy->negotiated && phy->full_duplex &&
           phy->partner_pause && (phy->reg[MII_ANAR] & MII_ANAR_PAUSE);
}

static void phy_lose_link(BCM54213PE *phy)
{
    phy->negotiated = false;
    if (phy->link) {
        phy->link = false;
        phy->link_was_lost = true;
        phy->reg[REG_INTR_STATUS] |= INTR_LINK;
        phy->link_changed(phy->opaque);
    }
}

/* Drops the link and, where one can come, starts towards a new one. */
static void phy_restart(BCM54213PE *phy)
{
    phy_lose_link(phy);
    if (phy->cable && phy_powered(phy)) {
        timer_mod(phy->timer,
                  now_ns() + (int64_t)phy->autoneg_ms * SCALE_MS);
    } else {
        timer_del(phy->timer);
    }
}

/* The best mode both ends offer (802.3 annex 28B.3); false when none. */
static bool phy_resolve(BCM54213PE *phy)
{
    uint16_t both = phy->reg[MII_ANAR] & partner_abilities(phy);
    uint16_t gigabit = 0;

    if (phy->reg[MII_CTRL1000] & MII_CTRL1000_FULL) {
        gigabit |= MII_STAT1000_FULL;
    }
    if (phy->reg[MII_CTRL1000] & MII_CTRL1000_HALF) {
        gigabit |= MII_STAT1000_HALF;
    }
    gigabit &= partner_abilities_1000(phy);

    if (gigabit) {
        phy->speed = 1000;
        phy->full_duplex = gigabit & MII_STAT1000_FULL;
    } else if (both & (MII_ANAR_TXFD | MII_ANAR_TX)) {
        phy->speed = 100;
        phy->full_duplex = both & MII_ANAR_TXFD;
    } else if (both & (MII_ANAR_10FD | MII_ANAR_10)) {
        phy->speed = 10;
        phy->full_duplex = both & MII_ANAR_10FD;
    } else {
        return false;
    }
    return true;
}

/*
 * Without negotiation: the partner detects 10 or 100 Mb/s in parallel and
 * falls to half duplex. Gigabit needs negotiation.
 */
static bool phy_force(BCM54213PE *phy)
{
    uint16_t bmcr = phy->reg[MII_BMCR];
    uint32_t speed = bmcr & MII_BMCR_SPEED1000 ? 1000
                   : bmcr & MII_BMCR_SPEED100 ? 100 : 10;

    if (speed == 1000 || speed > phy->partner_speed) {
        return false;
    }
    phy->speed = speed;
    phy->full_duplex = bmcr & MII_BMCR_FD;
    return true;
}

static void phy_timer(void *opaque)
{
    BCM54213PE *phy = opaque;
    bool negotiate = phy->reg[MII_BMCR] & MII_BMCR_AUTOEN;

    if (!phy->cable || !phy_powered(phy)) {
        return;
    }
    if (!(negotiate ? phy_resolve(phy) : phy_force(phy))) {
        return;
    }
    phy->link = true;
    phy->negotiated = negotiate;
    phy->reg[REG_INTR_STATUS] |= INTR_LINK | INTR_SPEED | INTR_DUPLEX |
                                 (negotiate ? INTR_AN_DONE : 0);
    phy->link_changed(phy->opaque);
}

void bcm54213pe_negotiate_now(BCM54213PE *phy)
{
    timer_del(phy->timer);
    phy_timer(phy);
}

void bcm54213pe_set_cable(BCM54213PE *phy, bool plugged)
{
    if (phy->cable != plugged) {
        phy->cable = plugged;
        phy_restart(phy);
    }
}

/*
 * What the straps of the board give: the PHY delays both clocks. Whether a soft
 * reset ends IDDQ is not known. Linux's driver does not rely on it, and boards
 * have been seen that stayed without a link; so here it does not.
 */
static void phy_load_straps(BCM54213PE *phy)
{
    uint16_t iddq = phy->expansion[EXP_IDDQ];

    memset(phy->reg, 0, sizeof(phy->reg));
    memset(phy->auxctl, 0, sizeof(phy->auxctl));
    memset(phy->shadow, 0, sizeof(phy->shadow));
    memset(phy->expansion, 0, sizeof(phy->expansion));
    phy->expansion[EXP_IDDQ] = iddq;
    memset(phy->mmd_address, 0, sizeof(phy->mmd_address));
    phy->reg[MII_BMCR] = MII_BMCR_AUTOEN | MII_BMCR_FD | MII_BMCR_SPEED1000;
    phy->reg[MII_ANAR] = MII_ANAR_TXFD | MII_ANAR_TX | MII_ANAR_10FD |
                         MII_ANAR_10 | MII_ANAR_CSMACD;
    phy->reg[MII_CTRL1000] = MII_CTRL1000_FULL | MII_CTRL1000_HALF;
    phy->reg[REG_INTR_MASK] = 0xffff;
    phy->auxctl[AUXCTL_MISC] = MISC_RX_SKEW | MISC_RGMII | MISC_STRAPS;
    phy->shadow[SHADOW_CLOCK] = CLOCK_GTXCLK_DELAY;
    phy->eee_advertised = 0x0006;       /* 100BASE-TX and 1000BASE-T */
    phy->eee_control = 0xc000;
}

void bcm54213pe_reset(BCM54213PE *phy)
{
    phy->expansion[EXP_IDDQ] = 0;
    phy_load_straps(phy);
    phy->link = false;
    phy->link_was_lost = true;
    phy->negotiated = false;
    phy->reset_until = 0;
    phy_restart(phy);
}

void bcm54213pe_power_down(BCM54213PE *phy)
{
    phy->reg[MII_BMCR] = MII_BMCR_PDOWN;
    phy->expansion[EXP_IDDQ] |= IDDQ_LP | IDDQ_SR;
    phy_restart(phy);
}

/* The clause 45 registers that EEE needs, through registers 13 and 14. */
static uint16_t *phy_mmd(BCM54213PE *phy)
{
    unsigned device = phy->reg[MII_MDDACR] & 0x1f;

    if (device == 7 && phy->mmd_address[device] == 60) {
        return &phy->eee_advertised;
    }
    if (device == 7 && phy->mmd_address[device] == 0x803d) {
        return &phy->eee_control;
    }
    return NULL;
}

static uint16_t phy_mmd_read(BCM54213PE *phy)
{
    unsigned device = phy->reg[MII_MDDACR] & 0x1f;
    uint16_t *slot = phy_mmd(phy);

    if ((phy->reg[MII_MDDACR] & 0xc000) == 0) {
        return phy->mmd_address[device];
    }
    if (slot) {
        return *slot;
    }
    if (device == 3 && phy->mmd_address[device] == 20) {
        return 0x0006;          /* EEE capable at 100 and 1000 Mb/s */
    }
    return 0;                   /* 7.61: the partner offers no EEE */
}

static void phy_mmd_write(BCM54213PE *phy, uint16_t value)
{
    unsigned device = phy->reg[MII_MDDACR] & 0x1f;
    uint16_t *slot = phy_mmd(phy);

    if ((phy->reg[MII_MDDACR] & 0xc000) == 0) {
        phy->mmd_address[device] = value;
    } else if (slot) {
        *slot = value;
    }
}

static uint16_t phy_aux_status(const BCM54213PE *phy)
{
    uint16_t mode = 0;

    if (!phy->link) {
        return 0;
    }
    switch (phy->speed) {
    case 1000:
        mode = phy->full_duplex ? 7 : 6;
        break;
    case 100:
        mode = phy->full_duplex ? 5 : 3;
        break;
    default:
        mode = phy->full_duplex ? 2 : 1;
        break;
    }
    return (phy->negotiated ? 0x8000 : 0) | mode << 8 | 0x0004;
}

uint16_t bcm54213pe_read(BCM54213PE *phy, unsigned reg)
{
    bool gigabit = phy->partner_speed == 1000;
    uint16_t value;

    switch (reg) {
    case MII_BMCR:
        value = phy->reg[MII_BMCR];
        return now_ns() < phy->reset_until ? value | MII_BMCR_RESET : value;
    case MII_BMSR:
        value = BMSR_FIXED;
        if (phy->link && !phy->link_was_lost) {
            value |= MII_BMSR_LINK_ST;
        }
        if (phy->negotiated) {
            value |= MII_BMSR_AN_COMP;
        }
        phy->link_was_lost = false;     /* the latch gives way to a read */
        return value;
    case MII_PHYID1:
        return BCM54213PE_ID >> 16;
    case MII_PHYID2:
        return BCM54213PE_ID & 0xffff;
    case MII_ANLPAR:
        return phy->negotiated ? partner_abilities(phy) | MII_ANLPAR_ACK |
                                 (gigabit ? ANLPAR_NEXT_PAGE : 0)
                               : 0;
    case MII_ANER:
        return phy->negotiated && gigabit ? ANER_GIGABIT
             : MII_ANER_NP | (phy->negotiated ? MII_ANER_NWAY : 0);
    case MII_STAT1000:
        if (!phy->negotiated) {
            return 0;
        }
        /* No receiver is said to be right, on a link that is. */
        return partner_abilities_1000(phy);
    case MII_EXTSTAT:
        return MII_EXTSTAT_1000T_FD | MII_EXTSTAT_1000T_HD;
    case MII_MDDAADR:
        return phy_mmd_read(phy);
    case REG_EXP_DATA:
        return phy->expansion[phy->reg[REG_EXP_SELECT] & EXP_MASK];
    case REG_AUXCTL:
        value = extract32(phy->reg[REG_AUXCTL], 12, 3);
        return phy->auxctl[value] | (value == AUXCTL_MISC ? value << 12 : 0) |
               value;
    case REG_AUX_STATUS:
        return phy_aux_status(phy);
    case REG_INTR_STATUS:
        value = phy->reg[REG_INTR_STATUS];
        phy->reg[REG_INTR_STATUS] = 0;
        return value;
    case REG_SHADOW:
        value = extract32(phy->reg[REG_SHADOW], 10, 5);
        return value << 10 | phy->shadow[value];
    default:
        return phy->reg[reg & 0x1f];
    }
}

static void phy_write_bmcr(BCM54213PE *phy, uint16_t value)
{
    uint16_t old = phy->reg[MII_BMCR];

    if (value & MII_BMCR_RESET) {
        phy_load_straps(phy);
        phy->reset_until = now_ns() + RESET_NS;
        phy_restart(phy);
        return;
    }
    phy->reg[MII_BMCR] = value & ~MII_BMCR_ANRESTART;
    if ((old & MII_BMCR_PDOWN) && !(value & MII_BMCR_PDOWN)) {
        phy->reset_until = now_ns() + POWER_UP_NS;
    }
    if ((value & MII_BMCR_ANRESTART) ||
        ((old ^ value) & (MII_BMCR_PDOWN | MII_BMCR_AUTOEN)) ||
        (!(value & MII_BMCR_AUTOEN) && old != value)) {
        phy_restart(phy);
    }
}

static void phy_write_expansion(BCM54213PE *phy, uint16_t value)
{
    unsigned select = phy->reg[REG_EXP_SELECT] & EXP_MASK;
    uint16_t changed = phy->expansion[select] ^ value;

    phy->expansion[select] = value;
    if (select == EXP_IDDQ && (changed & IDDQ_BITS)) {
        phy_restart(phy);
    }
}

void bcm54213pe_write(BCM54213PE *phy, unsigned reg, uint16_t value)
{
    if (now_ns() < phy->reset_until) {
        qemu_log_mask(LOG_GUEST_ERROR, "bcm54213pe: write of register 0x%x "
                      "during the PHY's reset is lost\n", reg);
        return;
    }
    if ((phy->reg[MII_BMCR] & MII_BMCR_PDOWN) && reg != MII_BMCR &&
        reg != REG_EXP_SELECT && reg != REG_EXP_DATA) {
        qemu_log_mask(LOG_GUEST_ERROR, "bcm54213pe: write of register 0x%x "
                      "while powered down is lost\n", reg);
        return;
    }

    switch (reg) {
    case MII_BMCR:
        phy_write_bmcr(phy, value);
        break;
    case MII_BMSR:
    case MII_PHYID1:
    case MII_PHYID2:
    case MII_ANLPAR:
    case MII_ANER:
    case MII_STAT1000:
    case MII_EXTSTAT:
    case REG_AUX_STATUS:
    case REG_INTR_STATUS:
        qemu_log_mask(LOG_GUEST_ERROR,
                      "bcm54213pe: register 0x%x is read-only\n", reg);
        break;
    case MII_MDDAADR:
        phy_mmd_write(phy, value);
        break;
    case REG_EXP_DATA:
        phy_write_expansion(phy, value);
        break;
    case REG_AUXCTL:
        phy->reg[REG_AUXCTL] = value;
        if ((value & 7) != AUXCTL_MISC) {
            phy->auxctl[value & 7] = value & ~7;
        } else if (value & AUXCTL_WRITE_ENABLE) {
            phy->auxctl[AUXCTL_MISC] = value & AUXCTL_MISC_DATA;
        }
        break;
    case REG_SHADOW:
        phy->reg[REG_SHADOW] = value;
        if (value & SHADOW_WRITE_ENABLE) {
            phy->shadow[extract32(value, 10, 5)] = value & 0x3ff;
        }
        break;
    default:
        phy->reg[reg & 0x1f] = value;
        break;
    }
}

void bcm54213pe_init(BCM54213PE *phy, BCM54213PELinkChanged link_changed,
                     void *opaque)
{
    phy->link_changed = link_changed;
    phy->opaque = opaque;
    phy->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, phy_timer, phy);
}

void bcm54213pe_finalize(BCM54213PE *phy)
{
    timer_free(phy->timer);
    phy->timer = NULL;
}

const VMStateDescription vmstate_bcm54213pe = {
    .name = "bcm54213pe",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT16_ARRAY(reg, BCM54213PE, 32),
        VMSTATE_UINT16_ARRAY(auxctl, BCM54213PE, 8),
        VMSTATE_UINT16_ARRAY(shadow, BCM54213PE, 32),
        VMSTATE_UINT16_ARRAY(expansion, BCM54213PE, 0x1000),
        VMSTATE_UINT16_ARRAY(mmd_address, BCM54213PE, 32),
        VMSTATE_UINT16(eee_advertised, BCM54213PE),
        VMSTATE_UINT16(eee_control, BCM54213PE),
        VMSTATE_BOOL(cable, BCM54213PE),
        VMSTATE_BOOL(link, BCM54213PE),
        VMSTATE_BOOL(link_was_lost, BCM54213PE),
        VMSTATE_BOOL(negotiated, BCM54213PE),
        VMSTATE_UINT32(speed, BCM54213PE),
        VMSTATE_BOOL(full_duplex, BCM54213PE),
        VMSTATE_INT64(reset_until, BCM54213PE),
        VMSTATE_TIMER_PTR(timer, BCM54213PE),
        VMSTATE_END_OF_LIST()
    }
};
