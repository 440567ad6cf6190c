/*
 * Broadcom second-level interrupt controller, edge flavour (STB "l2-intc").
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/intc/brcm_l2_intc.h"
#include "hw/irq.h"
#include "migration/vmstate.h"
#include "qemu/log.h"
#include "qemu/module.h"

enum {
    R_STATUS = 0x00,
    R_SET = 0x04,
    R_CLEAR = 0x08,
    R_MASK_STATUS = 0x0c,
    R_MASK_SET = 0x10,
    R_MASK_CLEAR = 0x14,
    SET_SIZE = 0x18,
};

static void l2_intc_update(BrcmL2IntcState *s)
{
    for (int set = 0; set < BRCM_L2_INTC_SETS; set++) {
        qemu_set_irq(s->irq[set], (s->status[set] & ~s->mask[set]) != 0);
    }
}

static void l2_intc_line(void *opaque, int line, int level)
{
    BrcmL2IntcState *s = opaque;
    uint32_t bit = 1u << line;

    if (level && !(s->level & bit)) {
        for (int set = 0; set < BRCM_L2_INTC_SETS; set++) {
            s->status[set] |= bit;
        }
    }
    s->level = level ? s->level | bit : s->level & ~bit;
    l2_intc_update(s);
}

static uint64_t l2_intc_read(void *opaque, hwaddr offset, unsigned size)
{
    BrcmL2IntcState *s = opaque;
    int set = offset / SET_SIZE;

    switch (offset % SET_SIZE) {
    case R_STATUS:
        return s->status[set];
    case R_MASK_STATUS:
        return s->mask[set];
    default:
        qemu_log_mask(LOG_GUEST_ERROR,
                      TYPE_BRCM_L2_INTC ": read of 0x%" HWADDR_PRIx "\n",
                      offset);
        return 0;
    }
}

static void l2_intc_write(void *opaque, hwaddr offset, uint64_t value,
                          unsigned size)
{
    BrcmL2IntcState *s = opaque;
    int set = offset / SET_SIZE;

    switch (offset % SET_SIZE) {
    case R_SET:
        s->status[set] |= value;
        break;
    case R_CLEAR:
        s->status[set] &= ~value;
        break;
    case R_MASK_SET:
        s->mask[set] |= value;
        break;
    case R_MASK_CLEAR:
        s->mask[set] &= ~value;
        break;
    default:
        qemu_log_mask(LOG_GUEST_ERROR,
                      TYPE_BRCM_L2_INTC ": write of 0x%" HWADDR_PRIx "\n",
                      offset);
        return;
    }
    l2_intc_update(s);
}

static const MemoryRegionOps l2_intc_ops = {
    .read = l2_intc_read,
    .write = l2_intc_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 4 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

static void l2_intc_reset_hold(Object *obj, ResetType type)
{
    BrcmL2IntcState *s = BRCM_L2_INTC(obj);

    for (int set = 0; set < BRCM_L2_INTC_SETS; set++) {
        s->status[set] = 0;
        s->mask[set] = UINT32_MAX;
    }
    l2_intc_update(s);
}

static void l2_intc_init(Object *obj)
{
    BrcmL2IntcState *s = BRCM_L2_INTC(obj);

    memory_region_init_io(&s->iomem, obj, &l2_intc_ops, s, TYPE_BRCM_L2_INTC,
                          BRCM_L2_INTC_MMIO_SIZE);
    sysbus_init_mmio(SYS_BUS_DEVICE(obj), &s->iomem);
    for (int set = 0; set < BRCM_L2_INTC_SETS; set++) {
        sysbus_init_irq(SYS_BUS_DEVICE(obj), &s->irq[set]);
    }
    qdev_init_gpio_in(DEVICE(obj), l2_intc_line, BRCM_L2_INTC_LINES);
}

static const VMStateDescription l2_intc_vmstate = {
    .name = TYPE_BRCM_L2_INTC,
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(level, BrcmL2IntcState),
        VMSTATE_UINT32_ARRAY(status, BrcmL2IntcState, BRCM_L2_INTC_SETS),
        VMSTATE_UINT32_ARRAY(mask, BrcmL2IntcState, BRCM_L2_INTC_SETS),
        VMSTATE_END_OF_LIST()
    }
};

static void l2_intc_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);

    dc->desc = "Broadcom second-level interrupt controller";
    dc->vmsd = &l2_intc_vmstate;
    RESETTABLE_CLASS(klass)->phases.hold = l2_intc_reset_hold;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo l2_intc_type = {
    .name = TYPE_BRCM_L2_INTC,
    .parent = TYPE_SYS_BUS_DEVICE,
    .instance_size = sizeof(BrcmL2IntcState),
    .instance_init = l2_intc_init,
    .class_init = l2_intc_class_init,
};

static void l2_intc_register_types(void)
{
    type_register_static(&l2_intc_type);
}

type_init(l2_intc_register_types)
