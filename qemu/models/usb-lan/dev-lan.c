/*
 * What SMSC's and Microchip's USB Ethernet controllers have in common
 *
 * References: IEEE 802.3 clauses 22, 28, 40; USB 2.0 chapters 5, 8 and 9;
 * Microchip LAN9514 and LAN7800 data sheets.
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <zlib.h>
#include "qapi/error.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "hw/qdev-properties.h"
#include "hw/usb.h"
#include "migration/qemu-file-types.h"
#include "migration/vmstate.h"
#include "net/checksum.h"
#include "net/eth.h"
#include "desc.h"
#include "dev-lan.h"

#define HS_PACKET           512
#define VENDOR_WRITE_REG    0xa0
#define VENDOR_READ_REG     0xa1
#define VENDOR_GET_STATS    0xa2
/* INT_EP_CTL: a packet at each interval, whatever it says */
#define INTEP_ALWAYS        0x80000000u

#define MII_ACCESS_NS       (30 * SCALE_US)
#define PHY_RESET_NS        (300 * SCALE_US)
#define PHY_FORCED_NS       (20 * SCALE_MS)
#define PHY_ADDRESS         1
/* The wire may run this far ahead of the clock, see lan_net_receive() */
#define WIRE_LEAD_NS        (10 * SCALE_MS)

enum {
    BMCR = 0, BMSR, PHYID1, PHYID2, ANAR, ANLPAR, ANER, CTRL1000 = 9,
    STAT1000, ESTATUS = 15,
};

enum {
    BMCR_RESET = BIT(15), BMCR_LOOPBACK = BIT(14), BMCR_SPEED100 = BIT(13),
    BMCR_ANENABLE = BIT(12), BMCR_POWERDOWN = BIT(11), BMCR_ISOLATE = BIT(10),
    BMCR_ANRESTART = BIT(9), BMCR_FULL = BIT(8), BMCR_SPEED1000 = BIT(6),
};

/* Abilities in ANAR and ANLPAR; in 9 and 10 for 1000BASE-T */
enum {
    AN_ACK = BIT(14), AN_ASYM = BIT(11), AN_PAUSE = BIT(10),
    AN_100FULL = BIT(8), AN_100HALF = BIT(7), AN_10FULL = BIT(6),
    AN_10HALF = BIT(5), AN_8023 = 1,
    AN_1000FULL = BIT(9), LP_1000FULL = BIT(11),
};

/* Of enum LanFault, in its order */
static const char *const lan_fault_names[LAN_FAULTS] = {
    "frame", "transfer", "register",
};

int64_t lan_now(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

/* xorshift64*: the same seed gives the same faults */
static uint32_t lan_random(USBLanState *s)
{
    s->fault_state ^= s->fault_state >> 12;
    s->fault_state ^= s->fault_state << 25;
    s->fault_state ^= s->fault_state >> 27;
    return (s->fault_state * 0x2545f4914f6cdd1dULL) >> 32;
}

/* An opportunity for a fault of a kind; the caller carries it out when true */
static bool lan_fault(USBLanState *s, enum LanFault kind)
{
    uint32_t rate = MAX(s->faults, s->kind_faults[kind]);

    if (!rate || lan_random(s) % 1000000 >= rate) {
        return false;
    }
    s->faults_injected++;
    s->kind_faults_injected[kind]++;
    return true;
}

uint32_t lan_fcs(const uint8_t *data, uint32_t len)
{
    return crc32(0, data, len);
}

uint16_t lan_sum(const uint8_t *data, uint32_t len)
{
    return ~net_checksum_finish(net_checksum_add(len, (uint8_t *)data));
}

/* PHY */

static bool lan_carrier(USBLanState *s)
{
    return !qemu_get_queue(s->nic)->link_down &&
           !(s->phy.bmcr & (BMCR_POWERDOWN | BMCR_ISOLATE));
}

/* What the peer offers */
static uint16_t lan_peer_abilities(USBLanState *s)
{
    return AN_8023 | AN_ACK | AN_10HALF | AN_10FULL |
           (s->peer_speed >= 100 ? AN_100HALF | AN_100FULL : 0) |
           (s->peer_pause ? AN_PAUSE : 0);
}

static bool lan_peer_gigabit(USBLanState *s)
{
    return s->gigabit && s->peer_speed >= 1000;
}

static LanLink lan_resolve(USBLanState *s)
{
    LanPhy *phy = &s->phy;
    uint16_t common;
    LanLink link = { };

    if (!(phy->bmcr & BMCR_ANENABLE)) {
        link.speed = phy->bmcr & BMCR_SPEED1000 && s->gigabit ? 1000
                     : phy->bmcr & BMCR_SPEED100 ? 100 : 10;
        link.full = phy->bmcr & BMCR_FULL;
        /* 1000BASE-T cannot be forced, it needs a master and a slave */
        link.up = link.speed <= 100 && link.speed <= s->peer_speed;
        return link;
    }
    link.up = true;
    common = phy->anar & lan_peer_abilities(s);
    if (lan_peer_gigabit(s) && phy->ctrl1000 & AN_1000FULL) {
        link.speed = 1000;
        link.full = true;
    } else if (common & (AN_100FULL | AN_100HALF)) {
        link.speed = 100;
        link.full = common & AN_100FULL;
    } else if (common & (AN_10FULL | AN_10HALF)) {
        link.speed = 10;
        link.full = common & AN_10FULL;
    } else {
        link.up = false;
    }
    link.peer_pause = link.up && link.full && common & AN_PAUSE;
    return link;
}

static void lan_phy_event(USBLanState *s, enum LanPhyEvent event)
{
    USB_LAN_GET_CLASS(s)->phy_event(s, event);
    lan_interrupt_changed(s);
}

static void lan_phy_lose(USBLanState *s)
{
    s->phy.complete = false;
    s->phy.settle_at = 0;
    timer_del(s->phy.timer);
    if (s->phy.link.up) {
        s->phy.link = (LanLink) { };
        s->phy.link_failed = true;
        lan_phy_event(s, LAN_PHY_LINK_DOWN);
    }
    lan_path_changed(s);
}

/* Link goes down, and comes up in time if there is a carrier */
static void lan_phy_restart(USBLanState *s)
{
    lan_phy_lose(s);
    if (lan_carrier(s)) {
        s->phy.settle_at = lan_now() +
            (s->phy.bmcr & BMCR_ANENABLE ? s->autoneg_ms * (int64_t)SCALE_MS
                                         : PHY_FORCED_NS);
        timer_mod(s->phy.timer, s->phy.settle_at);
    }
}

static void lan_phy_settle(void *opaque)
{
    USBLanState *s = opaque;

    s->phy.settle_at = 0;
    if (!lan_carrier(s)) {
        return;
    }
    s->phy.link = lan_resolve(s);
    s->forward_at = lan_now() + s->forward_delay_ms * (int64_t)SCALE_MS;
    s->phy.complete = s->phy.bmcr & BMCR_ANENABLE;
    lan_path_changed(s);
    if (s->phy.complete) {
        lan_phy_event(s, LAN_PHY_AN_DONE);
    }
    if (s->phy.link.up) {
        lan_phy_event(s, LAN_PHY_LINK_UP);
    }
}

void lan_phy_reset(USBLanState *s)
{
    USBLanClass *c = USB_LAN_GET_CLASS(s);
    LanPhy *phy = &s->phy;

    phy->bmcr = BMCR_ANENABLE | BMCR_SPEED100 |
                (s->gigabit ? BMCR_SPEED1000 | BMCR_FULL : 0);
    phy->anar = AN_8023 | AN_10HALF | AN_10FULL | AN_100HALF | AN_100FULL;
    phy->ctrl1000 = s->gigabit ? AN_1000FULL : 0;
    phy->reset_until = lan_now() + PHY_RESET_NS;
    c->phy_reset(s);
    lan_phy_restart(s);
}

static uint16_t lan_bmsr(USBLanState *s)
{
    LanPhy *phy = &s->phy;
    uint16_t value = 0x7809 | (s->gigabit ? BIT(8) : 0);

    if (phy->complete) {
        value |= BIT(5);
    }
    /* 22.2.4.2.13: a lost link is seen once, then the present state */
    if (phy->link.up && !phy->link_failed) {
        value |= BIT(2);
    }
    phy->link_failed = false;
    return value;
}

uint16_t lan_phy_get(USBLanState *s, unsigned reg)
{
    USBLanClass *c = USB_LAN_GET_CLASS(s);
    LanPhy *phy = &s->phy;

    if (lan_now() < phy->reset_until) {
        return reg == BMCR ? phy->bmcr | BMCR_RESET : 0xffff;
    }
    switch (reg) {
    case BMCR:
        return phy->bmcr;
    case BMSR:
        return lan_bmsr(s);
    case PHYID1:
        return c->phy_id >> 16;
    case PHYID2:
        return c->phy_id;
    case ANAR:
        return phy->anar;
    case ANLPAR:
        return phy->complete ? lan_peer_abilities(s) : 0;
    case ANER:
        return phy->complete ? 1 : 0;
    case CTRL1000:
        return phy->ctrl1000;
    case STAT1000:
        return phy->complete && lan_peer_gigabit(s)
               ? LP_1000FULL | BIT(13) | BIT(12) : 0;
    case ESTATUS:
        return s->gigabit ? BIT(13) : 0;
    default:
        return c->phy_read(s, reg);
    }
}

static void lan_phy_set(USBLanState *s, unsigned reg, uint16_t value)
{
    USBLanClass *c = USB_LAN_GET_CLASS(s);
    LanPhy *phy = &s->phy;
    uint16_t old = phy->bmcr;

    if (lan_now() < phy->reset_until) {
        qemu_log_mask(LOG_GUEST_ERROR, "%s: PHY register %u written in reset\n",
                      object_get_typename(OBJECT(s)), reg);
        return;
    }
    switch (reg) {
    case BMCR:
        if (value & BMCR_RESET) {
            lan_phy_reset(s);
            return;
        }
        phy->bmcr = value & ~BMCR_ANRESTART;
        if (!s->gigabit) {
            phy->bmcr &= ~BMCR_SPEED1000;
        }
        if (value & BMCR_ANRESTART || (phy->bmcr ^ old) & ~BMCR_LOOPBACK) {
            lan_phy_restart(s);
        }
        break;
    case BMSR:
    case PHYID1:
    case PHYID2:
    case ANLPAR:
    case ANER:
    case STAT1000:
    case ESTATUS:
        break;
    case ANAR:
        phy->anar = value & ~AN_ACK;
        break;
    case CTRL1000:
        phy->ctrl1000 = s->gigabit ? value : 0;
        break;
    default:
        c->phy_write(s, reg, value);
        lan_interrupt_changed(s);
        break;
    }
}

bool lan_mii_busy(USBLanState *s)
{
    return s->mii_locked || lan_now() < s->mii_until;
}

void lan_mii_start(USBLanState *s, unsigned phy, unsigned reg, bool write)
{
    if (lan_mii_busy(s)) {
        qemu_log_mask(LOG_GUEST_ERROR, "%s: MII access while one is busy\n",
                      object_get_typename(OBJECT(s)));
        return;
    }
    s->mii_until = lan_now() + MII_ACCESS_NS;
    s->mii_reading = !write;
    if (write) {
        if (phy == PHY_ADDRESS) {
            lan_phy_set(s, reg, s->mii_data);
        }
        return;
    }
    /* the bus floats high where no PHY answers */
    s->mii_result = phy == PHY_ADDRESS ? lan_phy_get(s, reg) : 0xffff;
    if (lan_fault(s, LAN_FAULT_REGISTER)) {
        s->mii_result = lan_random(s);
    }
    lan_interrupt_changed(s);
}

/* The data register holds what was read only once the access is over */
uint16_t lan_mii_data(USBLanState *s)
{
    if (s->mii_reading && !lan_mii_busy(s)) {
        s->mii_data = s->mii_result;
        s->mii_reading = false;
    }
    return s->mii_data;
}

void lan_mii_set_data(USBLanState *s, uint16_t value)
{
    lan_mii_data(s);
    if (lan_mii_busy(s)) {
        qemu_log_mask(LOG_GUEST_ERROR, "%s: MII data written while busy\n",
                      object_get_typename(OBJECT(s)));
        return;
    }
    s->mii_data = value;
}

/* Receive: wire to FIFO */

LanFrame *lan_frame_new(uint32_t len)
{
    LanFrame *frame = g_malloc0(sizeof(*frame) + len);

    frame->len = len;
    return frame;
}

static uint32_t lan_align(uint32_t len)
{
    return QEMU_ALIGN_UP(len, 4);
}

static void lan_rx_drained(USBLanState *s)
{
    if (s->paused && s->rx_used <= s->path.pause_off) {
        s->paused = false;
    }
    if (!s->paused) {
        qemu_flush_queued_packets(qemu_get_queue(s->nic));
    }
}

void lan_receive(USBLanState *s, LanFrame *frame)
{
    bool was_empty = QSIMPLEQ_EMPTY(&s->rx);

    if (lan_fault(s, LAN_FAULT_FRAME)) {
        USB_LAN_GET_CLASS(s)->spoil(s, frame->data, frame->len, lan_random(s));
    }
    QSIMPLEQ_INSERT_TAIL(&s->rx, frame, next);
    s->rx_used += lan_align(frame->len);
    if (s->path.pause && s->rx_used >= s->path.pause_on) {
        s->paused = true;
    }
    if (was_empty) {
        s->burst_due = lan_now() + s->path.bulk_in_delay;
    }
    if (lan_now() >= s->burst_due || !s->path.multi_frame ||
        (s->path.burst_cap && s->rx_used >= s->path.burst_cap)) {
        usb_wakeup(s->bulk_in, 0);
    } else {
        timer_mod(s->burst_timer, s->burst_due);
    }
}

static void lan_free_frames(USBLanState *s)
{
    LanFrame *frame;

    while ((frame = QSIMPLEQ_FIRST(&s->rx))) {
        QSIMPLEQ_REMOVE_HEAD(&s->rx, next);
        g_free(frame);
    }
    while ((frame = QSIMPLEQ_FIRST(&s->tx))) {
        QSIMPLEQ_REMOVE_HEAD(&s->tx, next);
        g_free(frame);
    }
}

void lan_flush_rx(USBLanState *s)
{
    LanFrame *frame;

    while ((frame = QSIMPLEQ_FIRST(&s->rx))) {
        QSIMPLEQ_REMOVE_HEAD(&s->rx, next);
        g_free(frame);
    }
    s->rx_used = 0;
    s->burst_len = s->burst_pos = 0;
    s->burst_open = false;
    s->paused = false;
    timer_del(s->burst_timer);
    lan_rx_drained(s);
}

/* There is a link, and the switch at its other end forwards what comes */
static bool lan_forwarded(USBLanState *s)
{
    return s->phy.link.up && lan_now() >= s->forward_at;
}

static bool lan_wire_open(USBLanState *s)
{
    return s->path.rx_on && lan_forwarded(s);
}

static bool lan_net_can_receive(NetClientState *nc)
{
    USBLanState *s = qemu_get_nic_opaque(nc);

    /* With the receiver off frames come and are lost, as on the wire */
    return !lan_wire_open(s) || !s->paused;
}

/*
 * The peer that QEMU gives us knows no line rate: it hands over a whole TCP
 * window at once. So a frame that finds no room is held back until the moment
 * at which a wire would have delivered it; only then is it an overflow.
 */
static ssize_t lan_net_receive(NetClientState *nc, const uint8_t *buf,
                               size_t size)
{
    USBLanState *s = qemu_get_nic_opaque(nc);
    USBLanClass *c = USB_LAN_GET_CLASS(s);
    int64_t now = lan_now();
    int64_t arrival;

    if (!lan_wire_open(s) || size > LAN_FRAME_MAX || size < ETH_HLEN) {
        s->held_until = 0;
        return size;
    }

    arrival = s->held_until ?: MAX(now, s->wire_free) +
              (int64_t)(size + 24) * 8 * 1000 / s->phy.link.speed;
    if (s->rx_used + c->fifo_cost(s, size) > s->path.rx_fifo) {
        if (s->path.pause) {
            s->paused = true;
            return 0;
        }
        if (now < arrival) {
            s->held_until = arrival;
            timer_mod(s->wire_timer, arrival);
            return 0;
        }
        s->overflows++;
        c->overflow(s);
        lan_interrupt_changed(s);
    } else {
        c->frame(s, buf, size);
    }
    s->held_until = 0;
    s->wire_free = MIN(arrival, now + WIRE_LEAD_NS);
    return size;
}

static void lan_wire_timer(void *opaque)
{
    USBLanState *s = opaque;

    qemu_flush_queued_packets(qemu_get_queue(s->nic));
}

static void lan_burst_timer(void *opaque)
{
    USBLanState *s = opaque;

    usb_wakeup(s->bulk_in, 0);
}

static void lan_link_status_changed(NetClientState *nc)
{
    lan_phy_restart(qemu_get_nic_opaque(nc));
}

/* Receive: FIFO to bulk IN */

/* Gathers as many whole frames as one transfer may carry */
static void lan_build_burst(USBLanState *s)
{
    LanFrame *frame;

    s->burst_len = s->burst_pos = 0;
    while ((frame = QSIMPLEQ_FIRST(&s->rx))) {
        uint32_t at = lan_align(s->burst_len);
        uint32_t cap = s->path.burst_cap ?: LAN_BURST_MAX;

        if (s->burst_len &&
            (!s->path.multi_frame ||
             at + frame->len > MIN(cap, LAN_BURST_MAX))) {
            break;
        }
        memset(s->burst + s->burst_len, 0, at - s->burst_len);
        memcpy(s->burst + at, frame->data, frame->len);
        s->burst_len = at + frame->len;
        s->rx_used -= lan_align(frame->len);
        QSIMPLEQ_REMOVE_HEAD(&s->rx, next);
        g_free(frame);
    }
    if (s->burst_len && lan_fault(s, LAN_FAULT_TRANSFER)) {
        switch (lan_random(s) % 3) {
        case 0:                 /* a short burst: the rest is lost */
            s->burst_len = lan_random(s) % s->burst_len;
            break;
        case 1:                 /* a header spoilt; USB's CRC keeps data safe */
            s->burst[lan_random(s) % 4] ^= 1 + lan_random(s) % 255;
            break;
        default:                /* a zero-length packet in front of it */
            s->burst_open = false;
            s->burst_pos = UINT32_MAX;
            break;
        }
    }
    if (!QSIMPLEQ_EMPTY(&s->rx)) {
        s->burst_due = 0;
    }
    lan_rx_drained(s);
}

static void lan_bulk_in(USBLanState *s, USBPacket *p)
{
    int64_t now = lan_now();
    uint32_t n;

    if (s->path.rx_stuck) {
        p->status = USB_RET_NAK;
        return;
    }
    if (!s->burst_open && s->burst_pos >= s->burst_len) {
        bool full = s->path.burst_cap && s->rx_used >= s->path.burst_cap;

        if (QSIMPLEQ_EMPTY(&s->rx)) {
            if (!s->path.zero_when_empty) {
                p->status = USB_RET_NAK;
            } else if (!s->burst_due || now < s->burst_due) {
                if (!s->burst_due) {
                    s->burst_due = now + MAX(s->path.bulk_in_delay, SCALE_US);
                }
                timer_mod(s->burst_timer, s->burst_due);
                p->status = USB_RET_NAK;
            } else {
                s->burst_due = 0;   /* answered with a zero-length packet */
            }
            return;
        }
        if (s->path.multi_frame && now < s->burst_due && !full) {
            timer_mod(s->burst_timer, s->burst_due);
            p->status = USB_RET_NAK;
            return;
        }
        lan_build_burst(s);
        s->burst_open = true;
    }
    if (s->burst_pos == UINT32_MAX) {   /* injected zero-length packet */
        s->burst_pos = 0;
        s->burst_open = false;
        return;
    }

    n = MIN(p->iov.size, s->burst_len - s->burst_pos);
    usb_packet_copy(p, s->burst + s->burst_pos, n);
    s->burst_pos += n;
    if (s->burst_pos == s->burst_len) {
        /*
         * A short packet ends the transfer; so does a full burst, which the
         * host has room for exactly; else a zero-length packet follows.
         */
        s->burst_open = n && s->burst_len % HS_PACKET == 0 &&
                        s->burst_len != s->path.burst_cap;
        if (!s->burst_open) {
            s->burst_len = s->burst_pos = 0;
            s->burst_due = QSIMPLEQ_EMPTY(&s->rx) ? 0 : s->burst_due;
        }
    }
}

/* Transmit */

static void lan_send_queued(USBLanState *s)
{
    LanFrame *frame;

    while (s->path.tx_on && (frame = QSIMPLEQ_FIRST(&s->tx))) {
        QSIMPLEQ_REMOVE_HEAD(&s->tx, next);
        s->tx_used -= frame->len;
        if (lan_forwarded(s)) {
            qemu_send_packet(qemu_get_queue(s->nic), frame->data, frame->len);
        }
        g_free(frame);
    }
}

void lan_transmit(USBLanState *s, const uint8_t *data, uint32_t len)
{
    LanFrame *frame = lan_frame_new(len);

    memcpy(frame->data, data, len);
    QSIMPLEQ_INSERT_TAIL(&s->tx, frame, next);
    s->tx_used += len;
}

void lan_flush_tx(USBLanState *s)
{
    LanFrame *frame;

    while ((frame = QSIMPLEQ_FIRST(&s->tx))) {
        QSIMPLEQ_REMOVE_HEAD(&s->tx, next);
        g_free(frame);
    }
    s->tx_used = 0;
    s->out_len = 0;
    s->out_overrun = false;
    usb_wakeup(s->bulk_out, 0);
}

static void lan_bulk_out(USBLanState *s, USBPacket *p)
{
    USBLanClass *c = USB_LAN_GET_CLASS(s);
    size_t size = p->iov.size;

    if (s->tx_used >= s->path.tx_fifo) {
        p->status = USB_RET_NAK;
        return;
    }
    if (s->out_len + size > sizeof(s->out)) {
        s->out_overrun = true;
        p->actual_length = size;
    } else {
        usb_packet_copy(p, s->out + s->out_len, size);
        s->out_len += size;
    }
    /* Only a short packet ends a transfer; without one the next joins it */
    if (size && size % HS_PACKET == 0) {
        return;
    }
    size = s->out_len;
    s->out_len = 0;
    if (s->out_overrun) {
        s->out_overrun = false;
        qemu_log_mask(LOG_GUEST_ERROR, "%s: endless bulk-out transfer\n",
                      object_get_typename(OBJECT(s)));
        s->halted_out = true;
        return;
    }
    if (!size || lan_fault(s, LAN_FAULT_TRANSFER)) {
        return;                 /* nothing, or lost by an injected fault */
    }
    s->halted_out = !c->transfer(s, s->out, size);
    lan_send_queued(s);
}

void lan_path_changed(USBLanState *s)
{
    if (!s->path.pause) {
        s->paused = false;
    }
    lan_send_queued(s);
    if (!s->paused) {
        qemu_flush_queued_packets(qemu_get_queue(s->nic));
    }
}

/* Interrupt endpoint */

void lan_interrupt_changed(USBLanState *s)
{
    uint32_t value = USB_LAN_GET_CLASS(s)->interrupt(s);

    s->intr_told &= value;
    if (value & ~s->intr_told) {
        usb_wakeup(s->intr, 0);
    }
}

static void lan_intr_in(USBLanState *s, USBPacket *p)
{
    uint32_t value = USB_LAN_GET_CLASS(s)->interrupt(s);
    uint8_t data[4];

    /* One packet when a source occurs, not one each interval while it lasts */
    s->intr_told &= value & ~INTEP_ALWAYS;
    if (!(value & ~s->intr_told)) {
        p->status = USB_RET_NAK;
        return;
    }
    s->intr_told = value & ~INTEP_ALWAYS;
    stl_le_p(data, lan_fault(s, LAN_FAULT_TRANSFER) ? lan_random(s) : value);
    if (p->iov.size < sizeof(data)) {
        p->status = USB_RET_BABBLE;
        return;
    }
    usb_packet_copy(p, data, sizeof(data));
}

static void lan_handle_data(USBDevice *dev, USBPacket *p)
{
    USBLanState *s = USB_LAN(dev);
    bool in = p->pid == USB_TOKEN_IN;
    bool *halted;

    if (!dev->configuration) {
        p->status = USB_RET_IOERROR;    /* nobody answers */
        return;
    }
    if (in && p->ep->nr == s->bulk_in->nr) {
        halted = &s->halted_in;
    } else if (!in && p->ep->nr == s->bulk_out->nr) {
        halted = &s->halted_out;
    } else if (in && p->ep->nr == s->intr->nr) {
        halted = &s->halted_intr;
    } else {
        p->status = USB_RET_IOERROR;
        return;
    }
    /* A NAKed packet comes again and again: no fault for those */
    if (!*halted && p->status != USB_RET_NAK && halted == &s->halted_out &&
        lan_fault(s, LAN_FAULT_TRANSFER)) {
        *halted = true;
    }
    if (!*halted && halted == &s->halted_in && !QSIMPLEQ_EMPTY(&s->rx) &&
        !s->burst_open && lan_now() >= s->burst_due &&
        lan_fault(s, LAN_FAULT_TRANSFER)) {
        *halted = true;
    }
    if (*halted) {
        p->status = USB_RET_STALL;
    } else if (halted == &s->halted_in) {
        lan_bulk_in(s, p);
    } else if (halted == &s->halted_out) {
        lan_bulk_out(s, p);
    } else {
        lan_intr_in(s, p);
    }
}

/* Control endpoint */

static bool *lan_halted(USBLanState *s, int address)
{
    return address == (USB_DIR_IN | s->bulk_in->nr) ? &s->halted_in
           : address == s->bulk_out->nr ? &s->halted_out
           : address == (USB_DIR_IN | s->intr->nr) ? &s->halted_intr
           : NULL;
}

/* Length of the answer, -1: STALL */
static int lan_request(USBLanState *s, int request, int value, int index,
                       int length, uint8_t *data)
{
    USBLanClass *c = USB_LAN_GET_CLASS(s);
    bool *halted = lan_halted(s, index);
    uint32_t word = 0;

    switch (request) {
    case EndpointRequest | USB_REQ_GET_STATUS:
        if (length != 2 || (index & 0x7f && !halted)) {
            return -1;
        }
        stw_le_p(data, halted && *halted);
        return 2;
    case EndpointOutRequest | USB_REQ_SET_FEATURE:
    case EndpointOutRequest | USB_REQ_CLEAR_FEATURE:
        if (value != 0 || (index & 0x7f && !halted)) {
            return -1;
        }
        if (halted) {
            *halted = (request & 0xff) == USB_REQ_SET_FEATURE;
        }
        if (index == s->bulk_out->nr) {
            s->out_len = 0;
            s->out_overrun = false;
        }
        return 0;
    case VendorDeviceRequest | VENDOR_READ_REG:
        if (value || length != 4 || index & 3 || !c->read(s, index, &word)) {
            return -1;
        }
        stl_le_p(data, word);
        return 4;
    case VendorDeviceOutRequest | VENDOR_WRITE_REG:
        if (value || length != 4 || index & 3 ||
            !c->write(s, index, ldl_le_p(data))) {
            return -1;
        }
        return 0;
    case VendorDeviceRequest | VENDOR_GET_STATS:
        return c->stats(s, data, length) ?: -1;
    default:
        return -1;
    }
}

static bool lan_has_descriptor(USBLanState *s, int type)
{
    switch (type) {
    case USB_DT_DEVICE:
    case USB_DT_CONFIG:
    case USB_DT_DEVICE_QUALIFIER:
    case USB_DT_OTHER_SPEED_CONFIG:
        return true;
    case USB_DT_BOS:
        return s->dev.device->bcdUSB > 0x0200;
    default:                    /* no strings: there is no EEPROM */
        return false;
    }
}

static void lan_handle_control(USBDevice *dev, USBPacket *p, int request,
                               int value, int index, int length, uint8_t *data)
{
    USBLanState *s = USB_LAN(dev);
    bool vendor = (request >> 8 & 0x60) == 0x40;
    int ret = -1;

    if (request == (DeviceRequest | USB_REQ_GET_DESCRIPTOR) &&
        !lan_has_descriptor(s, value >> 8)) {
        p->status = USB_RET_STALL;
        return;
    }
    if (!vendor && usb_desc_handle_control(dev, p, request, value, index,
                                           length, data) >= 0) {
        if (request == (DeviceOutRequest | USB_REQ_SET_CONFIGURATION)) {
            s->halted_in = s->halted_out = s->halted_intr = false;
            s->out_len = 0;
        }
        return;
    }
    if (!vendor || !lan_fault(s, LAN_FAULT_REGISTER)) {
        ret = lan_request(s, request, value, index, length, data);
        if (ret < 0) {
            qemu_log_mask(LOG_GUEST_ERROR, "%s: request 0x%04x value 0x%x "
                          "index 0x%x length %d refused\n",
                          object_get_typename(OBJECT(s)), request, value,
                          index, length);
        } else if (ret == 4 && lan_fault(s, LAN_FAULT_REGISTER)) {
            stl_le_p(data, lan_random(s));
        }
    }
    if (ret < 0) {
        p->status = USB_RET_STALL;
    } else {
        p->actual_length = ret;
    }
}

static void lan_handle_reset(USBDevice *dev)
{
    USBLanState *s = USB_LAN(dev);

    s->halted_in = s->halted_out = s->halted_intr = false;
    s->mii_locked = false;
    s->mii_until = 0;
    USB_LAN_GET_CLASS(s)->reset(s);
    s->intr_told = 0;
    s->burst_due = 0;
    s->held_until = 0;
    lan_flush_rx(s);
    lan_flush_tx(s);
}

static NetClientInfo lan_net_info = {
    .type = NET_CLIENT_DRIVER_NIC,
    .size = sizeof(NICState),
    .can_receive = lan_net_can_receive,
    .receive = lan_net_receive,
    .link_status_changed = lan_link_status_changed,
};

static void lan_realize(USBDevice *dev, Error **errp)
{
    USBLanState *s = USB_LAN(dev);
    USBLanClass *c = USB_LAN_GET_CLASS(s);

    if (s->peer_speed == 0) {
        s->peer_speed = c->gigabit ? 1000 : 100;
    }
    if (s->peer_speed != 10 && s->peer_speed != 100 && s->peer_speed != 1000) {
        error_setg(errp, "peer-speed is 10, 100 or 1000");
        return;
    }

    usb_desc_init(dev);
    /* The full-speed descriptors are there for the device qualifier only */
    dev->speedmask = USB_SPEED_MASK_HIGH;
    s->bulk_in = usb_ep_get(dev, USB_TOKEN_IN, 1);
    s->bulk_out = usb_ep_get(dev, USB_TOKEN_OUT, 2);
    s->intr = usb_ep_get(dev, USB_TOKEN_IN, 3);

    s->gigabit = c->gigabit;
    s->fault_state = s->fault_seed * 2 + 1;
    QSIMPLEQ_INIT(&s->rx);
    QSIMPLEQ_INIT(&s->tx);
    s->phy.timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, lan_phy_settle, s);
    s->wire_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, lan_wire_timer, s);
    s->burst_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, lan_burst_timer, s);

    qemu_macaddr_default_if_unset(&s->conf.macaddr);
    s->nic = qemu_new_nic(&lan_net_info, &s->conf,
                          object_get_typename(OBJECT(dev)), dev->qdev.id,
                          &dev->qdev.mem_reentrancy_guard, s);
    qemu_format_nic_info_str(qemu_get_queue(s->nic), s->conf.macaddr.a);
    lan_handle_reset(dev);
}

static void lan_unrealize(USBDevice *dev)
{
    USBLanState *s = USB_LAN(dev);

    qemu_del_nic(s->nic);
    timer_free(s->phy.timer);
    timer_free(s->wire_timer);
    timer_free(s->burst_timer);
    lan_free_frames(s);
}

/* A queue of frames: each with its length before it, a length of 0 ends it */

static int lan_put_queue(QEMUFile *f, void *pv, size_t size,
                         const VMStateField *field, JSONWriter *vmdesc)
{
    LanQueue *queue = pv;
    LanFrame *frame;

    QSIMPLEQ_FOREACH(frame, queue, next) {
        qemu_put_be32(f, frame->len);
        qemu_put_buffer(f, frame->data, frame->len);
    }
    qemu_put_be32(f, 0);
    return 0;
}

static int lan_get_queue(QEMUFile *f, void *pv, size_t size,
                         const VMStateField *field)
{
    LanQueue *queue = pv;
    uint32_t total = 0, len;

    while ((len = qemu_get_be32(f))) {
        LanFrame *frame;

        if (len > LAN_TRANSFER_MAX - total) {
            return -EINVAL;
        }
        total += len;
        frame = lan_frame_new(len);
        QSIMPLEQ_INSERT_TAIL(queue, frame, next);
        if (qemu_get_buffer(f, frame->data, len) != len) {
            return -EINVAL;
        }
    }
    return 0;
}

static const VMStateInfo vmstate_info_lan_queue = {
    .name = "usb-lan-queue",
    .get = lan_get_queue,
    .put = lan_put_queue,
};

#define VMSTATE_LAN_QUEUE(_field) \
    VMSTATE_SINGLE(_field, USBLanState, 0, vmstate_info_lan_queue, LanQueue)

/* Frames that came before the state did are not part of it */
static int lan_pre_load(void *opaque)
{
    USBLanState *s = opaque;

    lan_free_frames(s);
    return 0;
}

static int lan_post_load(void *opaque, int version_id)
{
    USBLanState *s = opaque;
    LanFrame *frame;

    s->rx_used = s->tx_used = 0;
    QSIMPLEQ_FOREACH(frame, &s->rx, next) {
        s->rx_used += lan_align(frame->len);
    }
    QSIMPLEQ_FOREACH(frame, &s->tx, next) {
        s->tx_used += frame->len;
    }
    if (s->burst_len > sizeof(s->burst) || s->out_len > sizeof(s->out) ||
        (s->burst_pos > s->burst_len && s->burst_pos != UINT32_MAX)) {
        return -EINVAL;
    }
    /* endpoints and interfaces follow from it */
    return usb_desc_handle_control(&s->dev, NULL, DeviceOutRequest |
                                   USB_REQ_SET_CONFIGURATION,
                                   s->dev.configuration, 0, 0, NULL) < 0
           ? -EINVAL : 0;
}

const VMStateDescription vmstate_usb_lan = {
    .name = TYPE_USB_LAN,
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_load = lan_pre_load,
    .post_load = lan_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_USB_DEVICE(dev, USBLanState),
        VMSTATE_INT32(dev.configuration, USBLanState),
        VMSTATE_BOOL(halted_in, USBLanState),
        VMSTATE_BOOL(halted_out, USBLanState),
        VMSTATE_BOOL(halted_intr, USBLanState),
        VMSTATE_UINT16(phy.bmcr, USBLanState),
        VMSTATE_UINT16(phy.anar, USBLanState),
        VMSTATE_UINT16(phy.ctrl1000, USBLanState),
        VMSTATE_BOOL(phy.complete, USBLanState),
        VMSTATE_BOOL(phy.link_failed, USBLanState),
        VMSTATE_BOOL(phy.link.up, USBLanState),
        VMSTATE_UINT16(phy.link.speed, USBLanState),
        VMSTATE_BOOL(phy.link.full, USBLanState),
        VMSTATE_BOOL(phy.link.peer_pause, USBLanState),
        VMSTATE_INT64(phy.reset_until, USBLanState),
        VMSTATE_INT64(phy.settle_at, USBLanState),
        VMSTATE_TIMER_PTR(phy.timer, USBLanState),
        VMSTATE_LAN_QUEUE(rx),
        VMSTATE_LAN_QUEUE(tx),
        VMSTATE_BOOL(paused, USBLanState),
        VMSTATE_INT64(wire_free, USBLanState),
        VMSTATE_INT64(held_until, USBLanState),
        VMSTATE_UINT64(overflows, USBLanState),
        VMSTATE_TIMER_PTR(wire_timer, USBLanState),
        VMSTATE_BUFFER(burst, USBLanState),
        VMSTATE_UINT32(burst_len, USBLanState),
        VMSTATE_UINT32(burst_pos, USBLanState),
        VMSTATE_BOOL(burst_open, USBLanState),
        VMSTATE_INT64(burst_due, USBLanState),
        VMSTATE_TIMER_PTR(burst_timer, USBLanState),
        VMSTATE_BUFFER(out, USBLanState),
        VMSTATE_UINT32(out_len, USBLanState),
        VMSTATE_BOOL(out_overrun, USBLanState),
        VMSTATE_UINT32(intr_told, USBLanState),
        VMSTATE_INT64(mii_until, USBLanState),
        VMSTATE_BOOL(mii_locked, USBLanState),
        VMSTATE_UINT16(mii_data, USBLanState),
        VMSTATE_UINT16(mii_result, USBLanState),
        VMSTATE_BOOL(mii_reading, USBLanState),
        VMSTATE_INT64(forward_at, USBLanState),
        VMSTATE_UINT32(faults, USBLanState),
        VMSTATE_UINT64(fault_state, USBLanState),
        VMSTATE_UINT64(faults_injected, USBLanState),
        VMSTATE_UINT32_ARRAY(kind_faults, USBLanState, LAN_FAULTS),
        VMSTATE_UINT64_ARRAY(kind_faults_injected, USBLanState, LAN_FAULTS),
        VMSTATE_END_OF_LIST()
    }
};

static const Property lan_properties[] = {
    DEFINE_NIC_PROPERTIES(USBLanState, conf),
    DEFINE_PROP_UINT32("autoneg-ms", USBLanState, autoneg_ms, 1000),
    DEFINE_PROP_UINT32("peer-speed", USBLanState, peer_speed, 0),
    DEFINE_PROP_BOOL("peer-pause", USBLanState, peer_pause, true),
    DEFINE_PROP_UINT32("forward-delay-ms", USBLanState, forward_delay_ms, 0),
    DEFINE_PROP_UINT64("fault-seed", USBLanState, fault_seed, 0),
};

static void lan_instance_init(Object *obj)
{
    USBLanState *s = USB_LAN(obj);

    object_property_add_uint32_ptr(obj, "faults", &s->faults,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint64_ptr(obj, "faults-injected", &s->faults_injected,
                                   OBJ_PROP_FLAG_READ);
    for (int kind = 0; kind < LAN_FAULTS; kind++) {
        g_autofree char *rate = g_strdup_printf("%s-faults",
                                                lan_fault_names[kind]);
        g_autofree char *count = g_strdup_printf("%s-injected", rate);

        object_property_add_uint32_ptr(obj, rate, &s->kind_faults[kind],
                                       OBJ_PROP_FLAG_READWRITE);
        object_property_add_uint64_ptr(obj, count,
                                       &s->kind_faults_injected[kind],
                                       OBJ_PROP_FLAG_READ);
    }
    object_property_add_uint64_ptr(obj, "overflows", &s->overflows,
                                   OBJ_PROP_FLAG_READ);
}

static void lan_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    USBDeviceClass *uc = USB_DEVICE_CLASS(klass);

    uc->realize = lan_realize;
    uc->unrealize = lan_unrealize;
    uc->handle_attach = usb_desc_attach;
    uc->handle_reset = lan_handle_reset;
    uc->handle_control = lan_handle_control;
    uc->handle_data = lan_handle_data;
    uc->attached_settable = true;   /* QMP qom-set: the device vanishes */
    set_bit(DEVICE_CATEGORY_NETWORK, dc->categories);
    dc->fw_name = "network";
    device_class_set_props(dc, lan_properties);
}

static const TypeInfo lan_type = {
    .name = TYPE_USB_LAN,
    .parent = TYPE_USB_DEVICE,
    .instance_size = sizeof(USBLanState),
    .instance_init = lan_instance_init,
    .class_size = sizeof(USBLanClass),
    .class_init = lan_class_init,
    .abstract = true,
};

static void lan_register(void)
{
    type_register_static(&lan_type);
}

type_init(lan_register)
