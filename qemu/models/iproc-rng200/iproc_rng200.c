/*
 * Broadcom iProc RNG200 random number generator, as in the BCM2711.
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/irq.h"
#include "hw/misc/iproc_rng200.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/guest-random.h"
#include "qemu/log.h"
#include "qemu/module.h"
#include "qemu/timer.h"

enum {
    R_CTRL = 0x00,
    R_RNG_SOFT_RESET = 0x04,
    R_RBG_SOFT_RESET = 0x08,
    R_TOTAL_BIT_COUNT = 0x0c,
    R_TOTAL_BIT_COUNT_THRESHOLD = 0x10,
    R_INT_STATUS = 0x18,
    R_INT_ENABLE = 0x1c,
    R_FIFO_DATA = 0x20,
    R_FIFO_COUNT = 0x24,
};

/* CTRL: the generator runs while any bit of this field is set; above it is the divider */
#define CTRL_RBGEN_MASK 0x1fff
#define CTRL_MASK 0x1fffff

#define SOFT_RESET 1

#define INT_BIT_COUNT (1u << 0)
#define INT_FIFO_FULL (1u << 2)
#define INT_NIST_FAIL (1u << 5)
#define INT_STARTUP_MET (1u << 17)
#define INT_MASTER_FAIL_LOCKOUT (1u << 31)
#define INT_MASK (INT_BIT_COUNT | INT_FIFO_FULL | INT_NIST_FAIL \
                  | INT_STARTUP_MET | INT_MASTER_FAIL_LOCKOUT)

#define FIFO_WORDS 16
#define FIFO_THRESHOLD_SHIFT 8
#define FIFO_THRESHOLD_MASK 0xff00

/* 32 bits at a million a second */
#define WORD_NS (32 * SCALE_US)
/* A generator that starts tests itself before it makes a word. */
#define START_UP_NS (300 * SCALE_MS)

/* As the firmware leaves it */
#define START_CTRL 1
#define START_BIT_COUNT_THRESHOLD 0x40000
#define START_FIFO_THRESHOLD (2 << FIFO_THRESHOLD_SHIFT)

static bool rng200_runs(IprocRng200State *s)
{
    return (s->ctrl & CTRL_RBGEN_MASK) != 0 && !s->rng_reset && !s->rbg_reset
           && !s->failed;
}

static void rng200_update_irq(IprocRng200State *s)
{
    qemu_set_irq(s->irq, (s->int_status & s->int_enable) != 0);
}

/* Lets the next word come where one may, and stops the generator elsewhere. */
static void rng200_schedule(IprocRng200State *s)
{
    if (!rng200_runs(s) || fifo32_is_full(&s->fifo)) {
        timer_del(s->sample);
    } else if (!timer_pending(s->sample)) {
        timer_mod(s->sample, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) +
                             (s->started ? WORD_NS : START_UP_NS));
    }
}

/* xorshift64*: the same faults for the same seed */
static uint64_t rng200_fault_random(IprocRng200State *s)
{
    s->fault_state ^= s->fault_state >> 12;
    s->fault_state ^= s->fault_state << 25;
    s->fault_state ^= s->fault_state >> 27;
    return (s->fault_state * 0x2545f4914f6cdd1dull) >> 32;
}

static void rng200_sample(void *opaque)
{
    IprocRng200State *s = opaque;
    uint32_t word;

    if (s->faults && rng200_fault_random(s) % 1000000 < s->faults) {
        s->faults_injected++;
        s->failed = true;
        s->int_status |= rng200_fault_random(s) & 1 ? INT_NIST_FAIL
                                                    : INT_MASTER_FAIL_LOCKOUT;
        /* What was made by a generator that fails its tests is withheld. */
        fifo32_reset(&s->fifo);
    } else {
        qemu_guest_getrandom_nofail(&word, sizeof(word));
        fifo32_push(&s->fifo, word);
        s->started = true;
        s->int_status |= INT_STARTUP_MET;
        if (fifo32_is_full(&s->fifo)) {
            s->int_status |= INT_FIFO_FULL;
        }
        s->bit_count += 32;
        if (s->bit_count_threshold && s->bit_count >= s->bit_count_threshold) {
            s->int_status |= INT_BIT_COUNT;
        }
    }
    rng200_update_irq(s);
    rng200_schedule(s);
}

/* The generator's core starts over: what it made, counted and suffered. */
static void rng200_reset_core(IprocRng200State *s)
{
    fifo32_reset(&s->fifo);
    s->bit_count = 0;
    s->failed = false;
    s->started = false;
}

static uint64_t rng200_read(void *opaque, hwaddr offset, unsigned size)
{
    IprocRng200State *s = opaque;
    uint32_t word;

    switch (offset) {
    case R_CTRL:
        return s->ctrl;
    case R_RNG_SOFT_RESET:
        return s->rng_reset;
    case R_RBG_SOFT_RESET:
        return s->rbg_reset;
    case R_TOTAL_BIT_COUNT:
        return s->bit_count;
    case R_TOTAL_BIT_COUNT_THRESHOLD:
        return s->bit_count_threshold;
    case R_INT_STATUS:
        return s->int_status;
    case R_INT_ENABLE:
        return s->int_enable;
    case R_FIFO_DATA:
        if (fifo32_is_empty(&s->fifo)) {
            qemu_log_mask(LOG_GUEST_ERROR,
                          TYPE_IPROC_RNG200 ": read of an empty FIFO\n");
            return 0;
        }
        word = fifo32_pop(&s->fifo);
        rng200_schedule(s);
        return word;
    case R_FIFO_COUNT:
        return s->fifo_threshold | fifo32_num_used(&s->fifo);
    default:
        qemu_log_mask(LOG_GUEST_ERROR,
                      TYPE_IPROC_RNG200 ": read of 0x%" HWADDR_PRIx "\n",
                      offset);
        return 0;
    }
}

static void rng200_write(void *opaque, hwaddr offset, uint64_t value,
                         unsigned size)
{
    IprocRng200State *s = opaque;

    switch (offset) {
    case R_CTRL:
        s->ctrl = value & CTRL_MASK;
        break;
    case R_RNG_SOFT_RESET:
        s->rng_reset = value & SOFT_RESET;
        if (s->rng_reset) {
            rng200_reset_core(s);
        }
        break;
    case R_RBG_SOFT_RESET:
        s->rbg_reset = value & SOFT_RESET;
        break;
    case R_TOTAL_BIT_COUNT_THRESHOLD:
        s->bit_count_threshold = value;
        break;
    case R_INT_STATUS:
        s->int_status &= ~value;
        break;
    case R_INT_ENABLE:
        s->int_enable = value & INT_MASK;
        break;
    case R_FIFO_COUNT:
        s->fifo_threshold = value & FIFO_THRESHOLD_MASK;
        break;
    default:
        qemu_log_mask(LOG_GUEST_ERROR,
                      TYPE_IPROC_RNG200 ": write of 0x%" HWADDR_PRIx "\n",
                      offset);
        return;
    }
    rng200_update_irq(s);
    rng200_schedule(s);
}

static const MemoryRegionOps rng200_ops = {
    .read = rng200_read,
    .write = rng200_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 4 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

static void rng200_reset_hold(Object *obj, ResetType type)
{
    IprocRng200State *s = IPROC_RNG200(obj);

    s->ctrl = 0;
    s->rng_reset = 0;
    s->rbg_reset = 0;
    s->bit_count_threshold = 0;
    s->int_status = 0;
    s->int_enable = 0;
    s->fifo_threshold = 0;
    rng200_reset_core(s);
    timer_del(s->sample);
    if (s->running) {
        s->ctrl = START_CTRL;
        s->bit_count_threshold = START_BIT_COUNT_THRESHOLD;
        s->fifo_threshold = START_FIFO_THRESHOLD;
        s->started = true;
        rng200_schedule(s);
    }
    rng200_update_irq(s);
}

static void rng200_init(Object *obj)
{
    IprocRng200State *s = IPROC_RNG200(obj);

    memory_region_init_io(&s->iomem, obj, &rng200_ops, s, TYPE_IPROC_RNG200,
                          IPROC_RNG200_MMIO_SIZE);
    sysbus_init_mmio(SYS_BUS_DEVICE(obj), &s->iomem);
    sysbus_init_irq(SYS_BUS_DEVICE(obj), &s->irq);
    fifo32_create(&s->fifo, FIFO_WORDS);
    object_property_add_uint64_ptr(obj, "faults-injected", &s->faults_injected,
                                   OBJ_PROP_FLAG_READ);
}

static void rng200_realize(DeviceState *dev, Error **errp)
{
    IprocRng200State *s = IPROC_RNG200(dev);

    if (s->faults > 1000000) {
        error_setg(errp, "faults is at most 1000000 in a million, not %u",
                   s->faults);
        return;
    }
    /* Zero is the one state that this generator never leaves. */
    s->fault_state = s->fault_seed ^ 0x9e3779b97f4a7c15ull;
    if (!s->fault_state) {
        s->fault_state = 1;
    }
    s->sample = timer_new_ns(QEMU_CLOCK_VIRTUAL, rng200_sample, s);
}

static void rng200_unrealize(DeviceState *dev)
{
    timer_free(IPROC_RNG200(dev)->sample);
}

static void rng200_finalize(Object *obj)
{
    fifo32_destroy(&IPROC_RNG200(obj)->fifo);
}

static const VMStateDescription rng200_vmstate = {
    .name = TYPE_IPROC_RNG200,
    .version_id = 2,
    .minimum_version_id = 2,
    .fields = (const VMStateField[]) {
        VMSTATE_TIMER_PTR(sample, IprocRng200State),
        VMSTATE_UINT32(ctrl, IprocRng200State),
        VMSTATE_UINT32(rng_reset, IprocRng200State),
        VMSTATE_UINT32(rbg_reset, IprocRng200State),
        VMSTATE_UINT32(bit_count, IprocRng200State),
        VMSTATE_UINT32(bit_count_threshold, IprocRng200State),
        VMSTATE_UINT32(int_status, IprocRng200State),
        VMSTATE_UINT32(int_enable, IprocRng200State),
        VMSTATE_UINT32(fifo_threshold, IprocRng200State),
        VMSTATE_FIFO32(fifo, IprocRng200State),
        VMSTATE_BOOL(failed, IprocRng200State),
        VMSTATE_BOOL(started, IprocRng200State),
        VMSTATE_UINT64(fault_state, IprocRng200State),
        VMSTATE_UINT64(faults_injected, IprocRng200State),
        VMSTATE_END_OF_LIST()
    }
};

static const Property rng200_properties[] = {
    DEFINE_PROP_UINT32("faults", IprocRng200State, faults, 0),
    DEFINE_PROP_UINT64("fault-seed", IprocRng200State, fault_seed, 0),
    /* The firmware has started it. */
    DEFINE_PROP_BOOL("running", IprocRng200State, running, true),
};

static void rng200_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    dc->desc = "Broadcom iProc RNG200";
    dc->realize = rng200_realize;
    dc->unrealize = rng200_unrealize;
    dc->vmsd = &rng200_vmstate;
    rc->phases.hold = rng200_reset_hold;
    device_class_set_props(dc, rng200_properties);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo rng200_type = {
    .name = TYPE_IPROC_RNG200,
    .parent = TYPE_SYS_BUS_DEVICE,
    .instance_size = sizeof(IprocRng200State),
    .instance_init = rng200_init,
    .instance_finalize = rng200_finalize,
    .class_init = rng200_class_init,
};

static void rng200_register_types(void)
{
    type_register_static(&rng200_type);
}

type_init(rng200_register_types)
