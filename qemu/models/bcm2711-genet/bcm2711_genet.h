/*
 * Broadcom GENET v5 Ethernet MAC of the BCM2711, with its BCM54213PE PHY.
 *
 * Sysbus: one 64 KiB region; interrupt 0 (link, MDIO, ring 16) and
 * interrupt 1 (rings 0 to 15), both level.
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_NET_BCM2711_GENET_H
#define HW_NET_BCM2711_GENET_H

#include "hw/net/bcm54213pe.h"
#include "hw/sysbus.h"
#include "net/net.h"
#include "qom/object.h"

#define TYPE_BCM2711_GENET "bcm2711-genet"
OBJECT_DECLARE_SIMPLE_TYPE(BCM2711GenetState, BCM2711_GENET)

#define BCM2711_GENET_MMIO_SIZE 0x10000
#define BCM2711_GENET_RINGS     17
#define BCM2711_GENET_FIFO_SIZE 8192
#define BCM2711_GENET_FRAME_MAX 16384

/* What a fault befalls: each kind has a rate and a counter of its own. */
enum GenetFault {
    GENET_FAULT_FRAME,          /* between wire and ring */
    GENET_FAULT_TRANSFER,       /* descriptors and DMA */
    GENET_FAULT_REGISTER,       /* MDIO accesses, interrupt bits */
    GENET_FAULTS
};

/* Frames complete and are counted, and nothing leaves, until … */
enum GenetMute {
    GENET_MUTE_NOT,
    GENET_MUTE_MAC,             /* the UniMAC comes out of a reset */
    GENET_MUTE_LINK,            /* the link comes up anew */
};

struct BCM2711GenetState {
    SysBusDevice parent_obj;

    MemoryRegion iomem;
    AddressSpace dma_as;
    qemu_irq irq[2];
    NICState *nic;
    NICConf conf;
    BCM54213PE phy;

    /* Registers that keep what is written, descriptors, filter memory. */
    uint32_t regs[BCM2711_GENET_MMIO_SIZE / sizeof(uint32_t)];
    uint32_t intr_stat[2];
    uint32_t intr_mask[2];

    /* Interrupt moderation. */
    uint16_t rx_done[BCM2711_GENET_RINGS];
    uint16_t tx_done[BCM2711_GENET_RINGS];
    int64_t rx_deadline[BCM2711_GENET_RINGS];   /* virtual ns, 0: none */
    QEMUTimer *rx_timer;
    QEMUTimer *tx_timer;        /* pending: the transmitter is held up */

    /* Frames the MAC took in while receive DMA stood still. */
    uint8_t fifo[BCM2711_GENET_FIFO_SIZE];
    uint32_t fifo_len;
    uint32_t fifo_stale;        /* of that, from before the start */

    QEMUTimer *mdio_timer;
    bool mdio_asleep;           /* the first access after reset fails */
    bool tx_dead;               /* left reset without a receive clock */
    bool link_known;            /* a link came up since the reset */
    bool rx_paused;             /* the partner obeys our pause frame */
    bool rx_refused;            /* the backend waits for us to ask again */
    int64_t forward_at;         /* virtual ns: the switch port forwards */

    /* Scratch, valid within one call. */
    uint8_t rx_frame[BCM2711_GENET_FRAME_MAX];
    uint8_t rx_out[BCM2711_GENET_FRAME_MAX + 128];
    uint8_t tx_frame[BCM2711_GENET_FRAME_MAX];
    const char *path_fault[2];

    /* Properties. */
    uint8_t phy_address;
    bool phy_powered_down;
    bool mdio_first_fails;
    uint32_t forward_delay_ms;
    bool strict_rings;
    char *start;                /* what was there before the ARM */
    uint64_t dirty_buffer;
    bool mdio_zeros;            /* every read is zero, and answered */
    uint32_t mute;              /* enum GenetMute */
    uint32_t faults;
    uint32_t kind_faults[GENET_FAULTS];
    uint64_t fault_seed;
    bool fault_mdio;            /* failed MDIO reads are among the faults */

    /* Read through QOM. */
    uint64_t fault_state;
    uint64_t faults_injected;
    uint64_t kind_faults_injected[GENET_FAULTS];
    uint64_t guest_errors;
    uint64_t rx_lost;
    uint64_t tx_lost;
    uint64_t stale_frames;      /* of those in the FIFO, into memory */
};

#endif /* HW_NET_BCM2711_GENET_H */
