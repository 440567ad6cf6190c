/*
 * Broadcom GENET v5 Ethernet MAC of the BCM2711, with its BCM54213PE PHY.
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_NET_BCM2711_GENET_H
#define HW_NET_BCM2711_GENET_H

#include "hw/sysbus.h"
#include "net/net.h"
#include "qom/object.h"

#define TYPE_BCM2711_GENET "bcm2711-genet"
OBJECT_DECLARE_SIMPLE_TYPE(BCM2711GenetState, BCM2711_GENET)

#define BCM2711_GENET_MMIO_SIZE 0x10000

struct BCM2711GenetState {
    SysBusDevice parent_obj;

    MemoryRegion iomem;
    qemu_irq irq[2];
    NICState *nic;
    NICConf conf;
};

#endif /* HW_NET_BCM2711_GENET_H */
