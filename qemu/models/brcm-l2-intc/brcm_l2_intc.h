/*
 * Broadcom second-level interrupt controller, edge flavour (STB "l2-intc").
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_INTC_BRCM_L2_INTC_H
#define HW_INTC_BRCM_L2_INTC_H

#include "hw/sysbus.h"
#include "qom/object.h"

#define TYPE_BRCM_L2_INTC "brcm-l2-intc"
OBJECT_DECLARE_SIMPLE_TYPE(BrcmL2IntcState, BRCM_L2_INTC)

#define BRCM_L2_INTC_MMIO_SIZE 0x30
#define BRCM_L2_INTC_LINES 32

/* Two sets of the same registers over one set of lines: the CPU's, the PCI's */
#define BRCM_L2_INTC_SETS 2

struct BrcmL2IntcState {
    SysBusDevice parent_obj;

    MemoryRegion iomem;
    qemu_irq irq[BRCM_L2_INTC_SETS];

    /* The lines' levels, to tell a rising edge by */
    uint32_t level;
    uint32_t status[BRCM_L2_INTC_SETS];
    uint32_t mask[BRCM_L2_INTC_SETS];
};

#endif /* HW_INTC_BRCM_L2_INTC_H */
