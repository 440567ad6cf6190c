/*
 * Broadcom BCM54213PE gigabit PHY, as a Raspberry Pi 4 straps it (RGMII).
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_NET_BCM54213PE_H
#define HW_NET_BCM54213PE_H

#include "migration/vmstate.h"
#include "qemu/timer.h"

#define BCM54213PE_ID 0x600d84a2

/* Called when the link changes, with the new state already readable. */
typedef void (*BCM54213PELinkChanged)(void *opaque);

typedef struct BCM54213PE {
    /* Set by the owner before the first reset. */
    BCM54213PELinkChanged link_changed;
    void *opaque;
    uint32_t autoneg_ms;        /* how long a negotiation takes */
    uint32_t partner_speed;     /* best speed of the other end, Mb/s */
    bool partner_full_duplex;
    bool partner_pause;         /* symmetric pause advertised */

    /* Registers. */
    uint16_t reg[32];
    uint16_t auxctl[8];         /* register 0x18's shadows */
    uint16_t shadow[32];        /* register 0x1c's shadows */
    uint16_t expansion[0x1000]; /* through registers 0x17 and 0x15 */
    uint16_t mmd_address[32];
    uint16_t eee_advertised;    /* MMD 7.60 */
    uint16_t eee_control;       /* MMD 7.0x803d */

    /* State. */
    bool cable;
    bool link;
    bool link_was_lost;         /* BMSR's link bit is latched low */
    bool negotiated;
    uint32_t speed;             /* Mb/s, meaningful while link */
    bool full_duplex;
    int64_t reset_until;        /* virtual ns: self-reset or power-up */
    QEMUTimer *timer;
} BCM54213PE;

void bcm54213pe_init(BCM54213PE *phy, BCM54213PELinkChanged link_changed,
                     void *opaque);
void bcm54213pe_finalize(BCM54213PE *phy);

/* Power-on: registers take the straps, negotiation starts. */
void bcm54213pe_reset(BCM54213PE *phy);

/* Skips the wait: the link is what negotiation would have made it. */
void bcm54213pe_negotiate_now(BCM54213PE *phy);

/* As an operating system that suspended the PHY leaves it. */
void bcm54213pe_power_down(BCM54213PE *phy);

void bcm54213pe_set_cable(BCM54213PE *phy, bool plugged);

uint16_t bcm54213pe_read(BCM54213PE *phy, unsigned reg);
void bcm54213pe_write(BCM54213PE *phy, unsigned reg, uint16_t value);

/* Does the PHY delay the clock it gives (RX) and the clock it takes (TX)? */
bool bcm54213pe_delays_rx(const BCM54213PE *phy);
bool bcm54213pe_delays_tx(const BCM54213PE *phy);

/* Both ends agreed on symmetric pause, on a full-duplex link. */
bool bcm54213pe_pause(const BCM54213PE *phy);

extern const VMStateDescription vmstate_bcm54213pe;

#endif /* HW_NET_BCM54213PE_H */
