/*
 * What SMSC's and Microchip's USB Ethernet controllers have in common
 *
 * The USB side (register requests, bulk and interrupt endpoints, bursts,
 * FIFOs), the PHY's IEEE 802.3 clause 22 registers and fault injection.
 * A chip adds its registers, its framing and its address filter.
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_USB_DEV_LAN_H
#define HW_USB_DEV_LAN_H

#include "qemu/queue.h"
#include "qemu/timer.h"
#include "hw/usb.h"
#include "net/net.h"
#include "qom/object.h"

#define TYPE_USB_LAN "usb-lan"
OBJECT_DECLARE_TYPE(USBLanState, USBLanClass, USB_LAN)

#define LAN_FCS_LEN         4
/* No frame that a peer can send is longer */
#define LAN_FRAME_MAX       (10 * 1024)
/* The largest BURST_CAP, 255 packets, and a frame that alone exceeds it */
#define LAN_BURST_MAX       (256 * 512 + LAN_FRAME_MAX)
/* The longest bulk-out transfer that is looked at */
#define LAN_TRANSFER_MAX    (128 * 1024)

typedef struct LanFrame {
    QSIMPLEQ_ENTRY(LanFrame) next;
    uint32_t len;
    uint8_t data[];
} LanFrame;

typedef QSIMPLEQ_HEAD(LanQueue, LanFrame) LanQueue;

/* How the chip's registers tell the USB side to work, set by the chip */
typedef struct LanPath {
    bool zero_when_empty;   /* bulk IN on an empty FIFO: ZLP, else NAK */
    bool multi_frame;       /* several frames in one bulk-in transfer */
    uint32_t burst_cap;     /* bytes, 0: no cap */
    int64_t bulk_in_delay;  /* ns that the chip waits for more frames */
    bool rx_on, tx_on;      /* FIFO and MAC are enabled */
    bool rx_stuck;          /* bulk IN: NAK, whatever the FIFO holds */
    uint32_t rx_fifo;       /* bytes */
    uint32_t tx_fifo;
    bool pause;             /* pause frames stop the peer */
    uint32_t pause_on;      /* at this fill, bytes */
    uint32_t pause_off;     /* until this fill */
} LanPath;

/* Results of negotiation */
typedef struct LanLink {
    bool up;
    uint16_t speed;         /* 10, 100, 1000 Mbit/s */
    bool full;
    bool peer_pause;        /* both sides offered symmetric pause */
} LanLink;

typedef struct LanPhy {
    uint16_t bmcr;
    uint16_t anar;
    uint16_t ctrl1000;
    bool complete;          /* autonegotiation */
    bool link_failed;       /* BMSR's link status latches low */
    LanLink link;
    int64_t reset_until;    /* virtual ns */
    int64_t settle_at;      /* link or negotiation result is due, 0: none */
    QEMUTimer *timer;
} LanPhy;

/* What a fault befalls: each kind has a rate and a counter of its own */
enum LanFault {
    LAN_FAULT_FRAME,        /* between wire and FIFO */
    LAN_FAULT_TRANSFER,     /* bulk and interrupt endpoints */
    LAN_FAULT_REGISTER,     /* vendor requests, MII reads */
    LAN_FAULTS
};

enum LanPhyEvent {
    LAN_PHY_LINK_DOWN,
    LAN_PHY_LINK_UP,
    LAN_PHY_AN_DONE,
};

struct USBLanState {
    USBDevice dev;
    NICState *nic;
    NICConf conf;
    USBEndpoint *bulk_in, *bulk_out, *intr;
    bool halted_in, halted_out, halted_intr;

    LanPath path;
    LanPhy phy;

    LanQueue rx, tx;
    uint32_t rx_used, tx_used;
    bool paused;
    int64_t wire_free;      /* when the wire has delivered all so far */
    int64_t held_until;     /* a frame waits on the wire for room */
    uint64_t overflows;     /* frames that found no room */
    int64_t forward_at;     /* until then the switch forwards nothing */
    QEMUTimer *wire_timer;

    uint8_t burst[LAN_BURST_MAX];
    uint32_t burst_len, burst_pos;
    bool burst_open;        /* a transfer is under way */
    int64_t burst_due;      /* BULK_IN_DLY has passed */
    QEMUTimer *burst_timer;

    uint8_t out[LAN_TRANSFER_MAX];
    uint32_t out_len;
    bool out_overrun;

    uint32_t intr_told;     /* what the interrupt endpoint has reported */

    /* MII management */
    int64_t mii_until;
    bool mii_locked;
    uint16_t mii_data, mii_result;
    bool mii_reading;

    /* properties */
    bool gigabit;
    uint32_t autoneg_ms;
    uint32_t peer_speed;
    bool peer_pause;
    uint32_t forward_delay_ms;
    uint32_t faults;
    uint32_t kind_faults[LAN_FAULTS];
    uint64_t fault_seed;
    uint64_t fault_state;
    uint64_t faults_injected;
    uint64_t kind_faults_injected[LAN_FAULTS];
};

struct USBLanClass {
    USBDeviceClass parent_class;

    uint32_t phy_id;
    bool gigabit;

    /* USB reset: every register has its default */
    void (*reset)(USBLanState *s);
    /* Vendor requests 0xa0, 0xa1; false: refused with STALL */
    bool (*read)(USBLanState *s, uint32_t reg, uint32_t *value);
    bool (*write)(USBLanState *s, uint32_t reg, uint32_t value);
    /* Vendor request 0xa2: length of the answer, 0: STALL */
    int (*stats)(USBLanState *s, uint8_t *data, int length);
    /* One bulk-out transfer; false: the endpoint halts */
    bool (*transfer)(USBLanState *s, uint8_t *data, uint32_t len);
    /* One frame without FCS from the wire: filter it, lan_receive() it */
    void (*frame)(USBLanState *s, const uint8_t *data, uint32_t len);
    /* What a frame of @len bytes takes in the RX FIFO */
    uint32_t (*fifo_cost)(USBLanState *s, uint32_t len);
    /* A frame found no room and pause did not help */
    void (*overflow)(USBLanState *s);
    /* Spoil the framing of what is about to be received */
    void (*spoil)(USBLanState *s, uint8_t *frame, uint32_t len,
                  uint32_t random);
    /* What the interrupt endpoint has to say, 0: nothing */
    uint32_t (*interrupt)(USBLanState *s);
    void (*phy_event)(USBLanState *s, enum LanPhyEvent event);
    /* Registers other than 0-6, 9, 10, 15 */
    uint16_t (*phy_read)(USBLanState *s, unsigned reg);
    void (*phy_write)(USBLanState *s, unsigned reg, uint16_t value);
    void (*phy_reset)(USBLanState *s);
};

int64_t lan_now(void);

/* All but the properties and @path, which the chip sets after loading */
extern const VMStateDescription vmstate_usb_lan;

/* PHY and MII management; writes while busy, or in reset, are lost */
void lan_phy_reset(USBLanState *s);
uint16_t lan_phy_get(USBLanState *s, unsigned reg);
void lan_mii_start(USBLanState *s, unsigned phy, unsigned reg, bool write);
bool lan_mii_busy(USBLanState *s);
uint16_t lan_mii_data(USBLanState *s);
void lan_mii_set_data(USBLanState *s, uint16_t value);

/* RX: put a frame with its header and FCS into the FIFO */
LanFrame *lan_frame_new(uint32_t len);
void lan_receive(USBLanState *s, LanFrame *frame);
void lan_flush_rx(USBLanState *s);

/* TX: a frame without FCS for the wire; sent once the path is on */
void lan_transmit(USBLanState *s, const uint8_t *data, uint32_t len);
void lan_flush_tx(USBLanState *s);

/* After any change of @path, or of the interrupt's sources */
void lan_path_changed(USBLanState *s);
void lan_interrupt_changed(USBLanState *s);

/* IEEE 802.3 FCS of @len bytes, as it is stored after them */
uint32_t lan_fcs(const uint8_t *data, uint32_t len);
/* Sum of 16-bit big-endian words, folded, not inverted */
uint16_t lan_sum(const uint8_t *data, uint32_t len);

#endif
