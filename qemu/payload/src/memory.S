// normal_memory(table, on): memory as the firmware's assembly needs it, where accesses may be unaligned (Arm ARM: MMU).
//
// The table is of level 2, for the first GiB; `on` is 1 or 0. Memory stays uncached, so there is nothing to clean.
.section .text.normal_memory, "ax"
.globl normal_memory
normal_memory:
    mov     x9, #0x44               // MAIR: 0 normal, uncached
    mov     x10, #34                // TCR: T0SZ 34, uncached walks, and in EL2's RES1, in EL1's EPD1
    movk    x10, #0x8080, lsl #16
    and     x11, x1, #1             // SCTLR: M, and RES1
    mrs     x12, CurrentEL
    dsb     sy
    cmp     x12, #8
    b.eq    1f
    msr     mair_el1, x9
    msr     tcr_el1, x10
    msr     ttbr0_el1, x0
    isb
    tlbi    vmalle1
    dsb     sy
    isb
    movk    x11, #0x30d0, lsl #16
    add     x11, x11, #0x800
    msr     sctlr_el1, x11
    b       2f
1:  msr     mair_el2, x9
    msr     tcr_el2, x10
    msr     ttbr0_el2, x0
    isb
    tlbi    alle2
    dsb     sy
    isb
    movk    x11, #0x30c5, lsl #16
    add     x11, x11, #0x830
    msr     sctlr_el2, x11
2:  isb
    ret
