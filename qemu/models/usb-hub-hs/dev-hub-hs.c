/*
 * High-speed USB 2.0 hubs: SMSC LAN9514 (0424:9514) and USB2514 (0424:2514)
 *
 * Reference: Universal Serial Bus Specification, revision 2.0, chapter 11.
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bitops.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "hw/qdev-properties.h"
#include "hw/usb.h"
#include "migration/vmstate.h"
#include "qom/object.h"
#include "desc.h"

#define TYPE_HS_HUB         "usb-hub-hs"
#define TYPE_HS_HUB_9514    "usb-hub-9514"
#define TYPE_HS_HUB_2514    "usb-hub-2514"

OBJECT_DECLARE_TYPE(HSHubState, HSHubClass, HS_HUB)

#define HUB_MAX_PORTS       7
/* bPwrOn2PwrGood counts 2 ms */
#define POWER_ON_TO_GOOD    50
/* A connect is seen this long after power is on, a reset lasts this long */
#define CONNECT_NS          (60 * SCALE_MS)
#define RESET_NS            (15 * SCALE_MS)

#define HUB_DESCRIPTOR      0x29

/* wPortStatus; the low five have their change bit at the same place */
enum {
    PORT_CONNECTION  = BIT(0),
    PORT_ENABLE      = BIT(1),
    PORT_SUSPEND     = BIT(2),
    PORT_OVERCURRENT = BIT(3),
    PORT_RESET       = BIT(4),
    PORT_POWER       = BIT(8),
    PORT_HIGH_SPEED  = BIT(10),
    PORT_TEST        = BIT(11),
    PORT_INDICATOR   = BIT(12),
};

/* Feature selectors, table 11-17 */
enum {
    FEAT_C_HUB_LOCAL_POWER   = 0,
    FEAT_C_HUB_OVERCURRENT   = 1,
    FEAT_PORT_ENABLE         = 1,
    FEAT_PORT_SUSPEND        = 2,
    FEAT_PORT_RESET          = 4,
    FEAT_PORT_POWER          = 8,
    FEAT_C_PORT_CONNECTION   = 16,
    FEAT_C_PORT_RESET        = 20,
    FEAT_PORT_INDICATOR      = 22,
};

typedef struct HSHubPort {
    USBPort port;
    uint16_t status;
    uint16_t change;
    /* virtual time at which the connect is seen or the reset ends, 0: neither */
    int64_t connect_at;
    int64_t reset_end;
} HSHubPort;

struct HSHubState {
    USBDevice dev;
    USBEndpoint *intr;
    QEMUTimer *timer;
    HSHubPort ports[HUB_MAX_PORTS];
    bool intr_halted;

    uint32_t faults;
    uint64_t fault_seed;
    uint64_t fault_state;
    uint64_t faults_injected;
};

struct HSHubClass {
    USBDeviceClass parent_class;
    unsigned ports;
    uint16_t characteristics;
    uint8_t removable_mask;
};

/* xorshift64*: the same seed gives the same faults */
static uint32_t hs_hub_random(HSHubState *s)
{
    s->fault_state ^= s->fault_state >> 12;
    s->fault_state ^= s->fault_state << 25;
    s->fault_state ^= s->fault_state >> 27;
    return (s->fault_state * 0x2545f4914f6cdd1dULL) >> 32;
}

static bool hs_hub_fault(HSHubState *s)
{
    if (!s->faults || hs_hub_random(s) % 1000000 >= s->faults) {
        return false;
    }
    s->faults_injected++;
    return true;
}

static void hs_hub_changed(HSHubState *s, HSHubPort *port, uint16_t bits)
{
    port->change |= bits;
    usb_wakeup(s->intr, 0);
}

static bool hs_hub_occupied(HSHubPort *port)
{
    return port->port.dev && port->port.dev->attached;
}

/* One timer for all ports, at the earliest event */
static void hs_hub_schedule(HSHubState *s)
{
    int64_t next = INT64_MAX;
    int i;

    for (i = 0; i < HS_HUB_GET_CLASS(s)->ports; i++) {
        if (s->ports[i].connect_at) {
            next = MIN(next, s->ports[i].connect_at);
        }
        if (s->ports[i].reset_end) {
            next = MIN(next, s->ports[i].reset_end);
        }
    }
    if (next == INT64_MAX) {
        timer_del(s->timer);
    } else {
        timer_mod(s->timer, next);
    }
}

static void hs_hub_connect_after(HSHubState *s, HSHubPort *port, int64_t ns)
{
    port->connect_at = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + ns;
    hs_hub_schedule(s);
}

static void hs_hub_end_reset(HSHubState *s, HSHubPort *port)
{
    port->status &= ~PORT_RESET;
    if (hs_hub_occupied(port) && (port->status & PORT_CONNECTION) &&
        !hs_hub_fault(s)) {
        usb_device_reset(port->port.dev);
        port->status |= PORT_ENABLE | PORT_HIGH_SPEED;
    }
    hs_hub_changed(s, port, PORT_RESET);
}

static void hs_hub_timer(void *opaque)
{
    HSHubState *s = opaque;
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
    int i;

    for (i = 0; i < HS_HUB_GET_CLASS(s)->ports; i++) {
        HSHubPort *port = &s->ports[i];

        if (port->connect_at && port->connect_at <= now) {
            port->connect_at = 0;
            if (hs_hub_occupied(port) && (port->status & PORT_POWER) &&
                !(port->status & PORT_CONNECTION)) {
                port->status |= PORT_CONNECTION;
                hs_hub_changed(s, port, PORT_CONNECTION);
            }
        }
        if (port->reset_end && port->reset_end <= now) {
            port->reset_end = 0;
            hs_hub_end_reset(s, port);
        }
    }
    hs_hub_schedule(s);
}

static void hs_hub_power_off(HSHubPort *port)
{
    port->status = 0;
    port->change = 0;
    port->connect_at = 0;
    port->reset_end = 0;
}

static void hs_hub_attach(USBPort *uport)
{
    HSHubState *s = uport->opaque;
    HSHubPort *port = &s->ports[uport->index];

    if (port->status & PORT_POWER) {
        hs_hub_connect_after(s, port, CONNECT_NS);
    }
}

static void hs_hub_detach(USBPort *uport)
{
    HSHubState *s = uport->opaque;
    HSHubPort *port = &s->ports[uport->index];

    /* The host controller must forget what it has in flight there */
    s->dev.port->ops->child_detach(s->dev.port, uport->dev);

    port->connect_at = 0;
    if (port->status & PORT_CONNECTION) {
        port->status &= ~(PORT_CONNECTION | PORT_ENABLE | PORT_SUSPEND |
                          PORT_HIGH_SPEED);
        hs_hub_changed(s, port, PORT_CONNECTION);
    }
}

static void hs_hub_child_detach(USBPort *uport, USBDevice *child)
{
    HSHubState *s = uport->opaque;

    s->dev.port->ops->child_detach(s->dev.port, child);
}

static void hs_hub_port_wakeup(USBPort *uport)
{
    HSHubState *s = uport->opaque;
    HSHubPort *port = &s->ports[uport->index];

    if (port->status & PORT_SUSPEND) {
        port->status &= ~PORT_SUSPEND;
        hs_hub_changed(s, port, PORT_SUSPEND);
    }
}

static void hs_hub_complete(USBPort *uport, USBPacket *p)
{
    HSHubState *s = uport->opaque;

    /* packet->owner is gone by now, so not usb_packet_complete() */
    s->dev.port->ops->complete(s->dev.port, p);
}

static USBPortOps hs_hub_port_ops = {
    .attach = hs_hub_attach,
    .detach = hs_hub_detach,
    .child_detach = hs_hub_child_detach,
    .wakeup = hs_hub_port_wakeup,
    .complete = hs_hub_complete,
};

/* A packet reaches a device only through enabled ports */
static USBDevice *hs_hub_find_device(USBDevice *dev, uint8_t addr)
{
    HSHubState *s = HS_HUB(dev);
    int i;

    for (i = 0; i < HS_HUB_GET_CLASS(s)->ports; i++) {
        HSHubPort *port = &s->ports[i];
        USBDevice *found;

        if ((port->status & (PORT_ENABLE | PORT_SUSPEND)) != PORT_ENABLE) {
            continue;
        }
        found = usb_find_device(&port->port, addr);
        if (found) {
            return found;
        }
    }
    return NULL;
}

static void hs_hub_handle_reset(USBDevice *dev)
{
    HSHubState *s = HS_HUB(dev);
    int i;

    for (i = 0; i < HS_HUB_GET_CLASS(s)->ports; i++) {
        hs_hub_power_off(&s->ports[i]);
    }
    s->intr_halted = false;
    hs_hub_schedule(s);
}

static bool hs_hub_set_port_feature(HSHubState *s, HSHubPort *port, int feat)
{
    switch (feat) {
    case FEAT_PORT_POWER:
        if (!(port->status & PORT_POWER)) {
            port->status |= PORT_POWER;
            hs_hub_connect_after(s, port, CONNECT_NS);
        }
        return true;
    case FEAT_PORT_RESET:
        /* 11.24.2.13: of no effect on a port that has nothing connected */
        if ((port->status & PORT_CONNECTION) && !port->reset_end) {
            port->status &= ~(PORT_ENABLE | PORT_SUSPEND | PORT_HIGH_SPEED);
            port->status |= PORT_RESET;
            port->reset_end = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + RESET_NS;
            hs_hub_schedule(s);
        }
        return true;
    case FEAT_PORT_SUSPEND:
        if (port->status & PORT_ENABLE) {
            port->status |= PORT_SUSPEND;
        }
        return true;
    case FEAT_PORT_INDICATOR:
        port->status |= PORT_INDICATOR;
        return true;
    default:
        return false;
    }
}

static bool hs_hub_clear_port_feature(HSHubState *s, HSHubPort *port, int feat)
{
    switch (feat) {
    case FEAT_C_PORT_CONNECTION ... FEAT_C_PORT_RESET:
        port->change &= ~BIT(feat - FEAT_C_PORT_CONNECTION);
        return true;
    case FEAT_PORT_ENABLE:
        port->status &= ~(PORT_ENABLE | PORT_SUSPEND | PORT_HIGH_SPEED);
        return true;
    case FEAT_PORT_SUSPEND:
        if (port->status & PORT_SUSPEND) {
            port->status &= ~PORT_SUSPEND;
            hs_hub_changed(s, port, PORT_SUSPEND);
        }
        return true;
    case FEAT_PORT_POWER:
        hs_hub_power_off(port);
        hs_hub_schedule(s);
        return true;
    case FEAT_PORT_INDICATOR:
        port->status &= ~PORT_INDICATOR;
        return true;
    default:
        return false;
    }
}

static int hs_hub_descriptor(HSHubState *s, uint8_t *data, int length)
{
    HSHubClass *c = HS_HUB_GET_CLASS(s);
    const uint8_t desc[] = {
        9, HUB_DESCRIPTOR, c->ports,
        extract32(c->characteristics, 0, 8),
        extract32(c->characteristics, 8, 8),
        POWER_ON_TO_GOOD,
        1,                      /* bHubContrCurrent, mA */
        c->removable_mask,
        0xff,                   /* PortPwrCtrlMask, as USB 1.0 had it */
    };

    length = MIN(length, sizeof(desc));
    memcpy(data, desc, length);
    return length;
}

/*
 * Class requests and the endpoint requests that desc.c leaves to the device.
 * Returns the length of the answer, or -1 for a STALL.
 */
static int hs_hub_request(HSHubState *s, int request, int value, int index,
                          int length, uint8_t *data)
{
    HSHubClass *c = HS_HUB_GET_CLASS(s);
    /* the indicator selector lives in the high byte of the port's wIndex */
    unsigned n = (index & 0xff) - 1;
    HSHubPort *port = n < c->ports ? &s->ports[n] : NULL;

    switch (request) {
    case EndpointRequest | USB_REQ_GET_STATUS:
        if (length != 2 || index != 0x81) {
            return -1;
        }
        stw_le_p(data, s->intr_halted);
        return 2;
    case EndpointOutRequest | USB_REQ_CLEAR_FEATURE:
    case EndpointOutRequest | USB_REQ_SET_FEATURE:
        if (value != 0 || index != 0x81) {
            return -1;
        }
        s->intr_halted = (request & 0xff) == USB_REQ_SET_FEATURE;
        return 0;
    }

    if (!s->dev.configuration) {
        return -1;              /* 11.24.2: only for a configured hub */
    }
    switch (request) {
    case (0xa0 << 8) | USB_REQ_GET_DESCRIPTOR:
        return value >> 8 == HUB_DESCRIPTOR || value == 0
               ? hs_hub_descriptor(s, data, length) : -1;
    case (0xa0 << 8) | USB_REQ_GET_STATUS:
        if (length != 4) {
            return -1;
        }
        stl_le_p(data, 0);
        return 4;
    case (0x20 << 8) | USB_REQ_CLEAR_FEATURE:
        return value == FEAT_C_HUB_LOCAL_POWER ||
               value == FEAT_C_HUB_OVERCURRENT ? 0 : -1;
    case (0xa3 << 8) | USB_REQ_GET_STATUS:
        if (!port || length != 4) {
            return -1;
        }
        stw_le_p(data, port->status);
        stw_le_p(data + 2, port->change);
        return 4;
    case (0x23 << 8) | USB_REQ_SET_FEATURE:
        return port && hs_hub_set_port_feature(s, port, value) ? 0 : -1;
    case (0x23 << 8) | USB_REQ_CLEAR_FEATURE:
        return port && hs_hub_clear_port_feature(s, port, value) ? 0 : -1;
    default:
        return -1;
    }
}

static void hs_hub_handle_control(USBDevice *dev, USBPacket *p, int request,
                                  int value, int index, int length,
                                  uint8_t *data)
{
    HSHubState *s = HS_HUB(dev);
    int ret;

    /* These hubs carry no strings: a request for one is an error */
    if (request == (DeviceRequest | USB_REQ_GET_DESCRIPTOR)) {
        int type = value >> 8;

        if ((type < USB_DT_DEVICE || type > USB_DT_CONFIG) &&
            type != USB_DT_DEVICE_QUALIFIER &&
            type != USB_DT_OTHER_SPEED_CONFIG) {
            p->status = USB_RET_STALL;
            return;
        }
    }
    if (usb_desc_handle_control(dev, p, request, value, index, length,
                                data) >= 0) {
        return;
    }
    ret = hs_hub_fault(s) ? -1
          : hs_hub_request(s, request, value, index, length, data);
    if (ret < 0) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "%s: request 0x%04x value 0x%x index 0x%x refused\n",
                      object_get_typename(OBJECT(s)), request, value, index);
        p->status = USB_RET_STALL;
        return;
    }
    p->actual_length = ret;
}

static void hs_hub_handle_data(USBDevice *dev, USBPacket *p)
{
    HSHubState *s = HS_HUB(dev);
    uint8_t map = 0;
    int i;

    if (p->pid != USB_TOKEN_IN || p->ep->nr != 1 || s->intr_halted) {
        p->status = USB_RET_STALL;
        return;
    }
    for (i = 0; i < HS_HUB_GET_CLASS(s)->ports; i++) {
        if (s->ports[i].change) {
            map |= BIT(i + 1);
        }
    }
    if (!map) {
        p->status = USB_RET_NAK;
    } else if (p->iov.size < sizeof(map)) {
        p->status = USB_RET_BABBLE;
    } else {
        usb_packet_copy(p, &map, sizeof(map));
    }
}

static void hs_hub_realize(USBDevice *dev, Error **errp)
{
    HSHubState *s = HS_HUB(dev);
    int i;

    /* Seven tiers: root, five hubs, device */
    if (dev->port->hubcount == 5) {
        error_setg(errp, "usb hub chain too deep");
        return;
    }

    usb_desc_init(dev);
    /* The full-speed descriptors are there for the device qualifier only */
    dev->speedmask = USB_SPEED_MASK_HIGH;

    s->fault_state = s->fault_seed * 2 + 1;
    s->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, hs_hub_timer, s);
    s->intr = usb_ep_get(dev, USB_TOKEN_IN, 1);
    for (i = 0; i < HS_HUB_GET_CLASS(s)->ports; i++) {
        USBPort *port = &s->ports[i].port;

        usb_register_port(usb_bus_from_device(dev), port, s, i,
                          &hs_hub_port_ops, USB_SPEED_MASK_HIGH);
        usb_port_location(port, dev->port, i + 1);
    }
    hs_hub_handle_reset(dev);
}

static void hs_hub_unrealize(USBDevice *dev)
{
    HSHubState *s = HS_HUB(dev);
    int i;

    for (i = 0; i < HS_HUB_GET_CLASS(s)->ports; i++) {
        usb_unregister_port(usb_bus_from_device(dev), &s->ports[i].port);
    }
    timer_free(s->timer);
}

static const USBDescIface hs_hub_iface = {
    .bNumEndpoints = 1,
    .bInterfaceClass = USB_CLASS_HUB,
    .eps = (USBDescEndpoint[]) {
        {
            .bEndpointAddress = USB_DIR_IN | 0x01,
            .bmAttributes = USB_ENDPOINT_XFER_INT,
            .wMaxPacketSize = 1,
            .bInterval = 12,    /* 256 ms */
        },
    },
};

static const USBDescDevice hs_hub_high = {
    .bcdUSB = 0x0200,
    .bDeviceClass = USB_CLASS_HUB,
    .bDeviceProtocol = 1,       /* single transaction translator */
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
            .ifs = &hs_hub_iface,
        },
    },
};

static const USBDescDevice hs_hub_full = {
    .bcdUSB = 0x0200,
    .bDeviceClass = USB_CLASS_HUB,
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
            .ifs = &hs_hub_iface,
        },
    },
};

static const USBDesc hs_hub_desc_9514 = {
    .id = { .idVendor = 0x0424, .idProduct = 0x9514, .bcdDevice = 0x0200 },
    .high = &hs_hub_high,
    .full = &hs_hub_full,
};

static const USBDesc hs_hub_desc_2514 = {
    .id = { .idVendor = 0x0424, .idProduct = 0x2514, .bcdDevice = 0x0bb3 },
    .high = &hs_hub_high,
    .full = &hs_hub_full,
};

static int hs_hub_post_load(void *opaque, int version_id)
{
    HSHubState *s = opaque;
    USBDevice *dev = &s->dev;

    /* endpoints and interfaces follow from it */
    return usb_desc_handle_control(dev, NULL, DeviceOutRequest |
                                   USB_REQ_SET_CONFIGURATION,
                                   dev->configuration, 0, 0, NULL) < 0
           ? -EINVAL : 0;
}

static const VMStateDescription vmstate_hs_hub_port = {
    .name = "usb-hub-hs-port",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT16(status, HSHubPort),
        VMSTATE_UINT16(change, HSHubPort),
        VMSTATE_INT64(connect_at, HSHubPort),
        VMSTATE_INT64(reset_end, HSHubPort),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_hs_hub = {
    .name = TYPE_HS_HUB,
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = hs_hub_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_USB_DEVICE(dev, HSHubState),
        VMSTATE_INT32(dev.configuration, HSHubState),
        VMSTATE_TIMER_PTR(timer, HSHubState),
        VMSTATE_STRUCT_ARRAY(ports, HSHubState, HUB_MAX_PORTS, 1,
                             vmstate_hs_hub_port, HSHubPort),
        VMSTATE_BOOL(intr_halted, HSHubState),
        VMSTATE_UINT32(faults, HSHubState),
        VMSTATE_UINT64(fault_state, HSHubState),
        VMSTATE_UINT64(faults_injected, HSHubState),
        VMSTATE_END_OF_LIST()
    }
};

static const Property hs_hub_properties[] = {
    DEFINE_PROP_UINT64("fault-seed", HSHubState, fault_seed, 0),
};

static void hs_hub_instance_init(Object *obj)
{
    HSHubState *s = HS_HUB(obj);

    object_property_add_uint32_ptr(obj, "faults", &s->faults,
                                   OBJ_PROP_FLAG_READWRITE);
    object_property_add_uint64_ptr(obj, "faults-injected", &s->faults_injected,
                                   OBJ_PROP_FLAG_READ);
}

static void hs_hub_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    USBDeviceClass *uc = USB_DEVICE_CLASS(klass);

    uc->realize = hs_hub_realize;
    uc->unrealize = hs_hub_unrealize;
    uc->find_device = hs_hub_find_device;
    uc->handle_attach = usb_desc_attach;
    uc->handle_reset = hs_hub_handle_reset;
    uc->handle_control = hs_hub_handle_control;
    uc->handle_data = hs_hub_handle_data;
    set_bit(DEVICE_CATEGORY_BRIDGE, dc->categories);
    dc->fw_name = "hub";
    dc->vmsd = &vmstate_hs_hub;
    device_class_set_props(dc, hs_hub_properties);
}

static void hs_hub_9514_class_init(ObjectClass *klass, void *data)
{
    USBDeviceClass *uc = USB_DEVICE_CLASS(klass);
    HSHubClass *c = HS_HUB_CLASS(klass);

    uc->product_desc = "SMSC LAN9514 USB hub";
    uc->usb_desc = &hs_hub_desc_9514;
    c->ports = 5;
    /* power and overcurrent by port, compound: the NIC cannot be unplugged */
    c->characteristics = 0x000d;
    c->removable_mask = BIT(1);
}

static void hs_hub_2514_class_init(ObjectClass *klass, void *data)
{
    USBDeviceClass *uc = USB_DEVICE_CLASS(klass);
    HSHubClass *c = HS_HUB_CLASS(klass);

    uc->product_desc = "SMSC USB2514 USB hub";
    uc->usb_desc = &hs_hub_desc_2514;
    c->ports = 4;
    c->characteristics = 0x0009;
}

static const TypeInfo hs_hub_types[] = {
    {
        .name = TYPE_HS_HUB,
        .parent = TYPE_USB_DEVICE,
        .instance_size = sizeof(HSHubState),
        .instance_init = hs_hub_instance_init,
        .class_size = sizeof(HSHubClass),
        .class_init = hs_hub_class_init,
        .abstract = true,
    }, {
        .name = TYPE_HS_HUB_9514,
        .parent = TYPE_HS_HUB,
        .class_init = hs_hub_9514_class_init,
    }, {
        .name = TYPE_HS_HUB_2514,
        .parent = TYPE_HS_HUB,
        .class_init = hs_hub_2514_class_init,
    },
};

DEFINE_TYPES(hs_hub_types)
