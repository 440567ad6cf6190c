/*
 * Broadcom GENET v5 Ethernet MAC of the BCM2711, with its BCM54213PE PHY.
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/net/bcm2711_genet.h"
#include "hw/irq.h"
#include "hw/qdev-properties.h"
#include "qemu/log.h"

#define R_SYS_REV_CTRL 0x0000

static uint64_t genet_read(void *opaque, hwaddr offset, unsigned size)
{
    if (offset == R_SYS_REV_CTRL) {
        return 0x06000000;
    }
    qemu_log_mask(LOG_UNIMP, "bcm2711-genet: read 0x%" HWADDR_PRIx "\n",
                  offset);
    return 0;
}

static void genet_write(void *opaque, hwaddr offset, uint64_t value,
                        unsigned size)
{
    qemu_log_mask(LOG_UNIMP, "bcm2711-genet: write 0x%" HWADDR_PRIx "\n",
                  offset);
}

static const MemoryRegionOps genet_ops = {
    .read = genet_read,
    .write = genet_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 4 },
};

static ssize_t genet_receive(NetClientState *nc, const uint8_t *buf,
                             size_t size)
{
    return size;
}

static NetClientInfo genet_net_info = {
    .type = NET_CLIENT_DRIVER_NIC,
    .size = sizeof(NICState),
    .receive = genet_receive,
};

static void genet_realize(DeviceState *dev, Error **errp)
{
    BCM2711GenetState *s = BCM2711_GENET(dev);

    memory_region_init_io(&s->iomem, OBJECT(s), &genet_ops, s,
                          TYPE_BCM2711_GENET, BCM2711_GENET_MMIO_SIZE);
    sysbus_init_mmio(SYS_BUS_DEVICE(dev), &s->iomem);
    sysbus_init_irq(SYS_BUS_DEVICE(dev), &s->irq[0]);
    sysbus_init_irq(SYS_BUS_DEVICE(dev), &s->irq[1]);

    qemu_macaddr_default_if_unset(&s->conf.macaddr);
    s->nic = qemu_new_nic(&genet_net_info, &s->conf, TYPE_BCM2711_GENET,
                          dev->id, &dev->mem_reentrancy_guard, s);
    qemu_format_nic_info_str(qemu_get_queue(s->nic), s->conf.macaddr.a);
}

static const Property genet_properties[] = {
    DEFINE_NIC_PROPERTIES(BCM2711GenetState, conf),
};

static void genet_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);

    dc->desc = "BCM2711 GENET v5 Ethernet";
    dc->realize = genet_realize;
    device_class_set_props(dc, genet_properties);
    set_bit(DEVICE_CATEGORY_NETWORK, dc->categories);
}

static const TypeInfo genet_types[] = {
    {
        .name = TYPE_BCM2711_GENET,
        .parent = TYPE_SYS_BUS_DEVICE,
        .instance_size = sizeof(BCM2711GenetState),
        .class_init = genet_class_init,
    },
};
DEFINE_TYPES(genet_types)
