/*
 * Broadcom iProc RNG200 random number generator, as in the BCM2711.
 *
 * Copyright (c) 2026 Bramble contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MISC_IPROC_RNG200_H
#define HW_MISC_IPROC_RNG200_H

#include "hw/sysbus.h"
#include "qemu/fifo32.h"
#include "qom/object.h"

#define TYPE_IPROC_RNG200 "iproc-rng200"
OBJECT_DECLARE_SIMPLE_TYPE(IprocRng200State, IPROC_RNG200)

#define IPROC_RNG200_MMIO_SIZE 0x28

struct IprocRng200State {
    SysBusDevice parent_obj;

    MemoryRegion iomem;
    qemu_irq irq;
    QEMUTimer *sample;

    uint32_t ctrl;
    uint32_t rng_reset;
    uint32_t rbg_reset;
    uint32_t bit_count;
    uint32_t bit_count_threshold;
    uint32_t int_status;
    uint32_t int_enable;
    uint32_t fifo_threshold;
    Fifo32 fifo;
    /* A self-test failed; only a reset of the core helps. */
    bool failed;
    /* A word has come since the core was reset. */
    bool started;
    bool running;

    uint32_t faults;
    uint64_t fault_seed;
    uint64_t fault_state;
    uint64_t faults_injected;
};

#endif /* HW_MISC_IPROC_RNG200_H */
