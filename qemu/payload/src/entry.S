// Image header, then: counter and registers into a struct on the stack, FP/SIMD on, and Rust.
.section .text.entry, "ax"
.globl _start
_start:
    b       1f
    .word   0
    .quad   0                       // text_offset
    .quad   __image_size
    .quad   0xa                     // little endian, 4 KiB pages, anywhere
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .word   0
1:  mrs     x9, cntvct_el0          // first: this is the time of the payload's first instruction
    mrs     x10, cntfrq_el0
    mrs     x11, CurrentEL
    cmp     x11, #8
    b.eq    2f
    mrs     x12, sctlr_el1
    mov     x13, #(3 << 20)
    msr     cpacr_el1, x13
    b       3f
2:  mrs     x12, sctlr_el2
    mov     x13, #0x33ff            // RES1 bits; no traps
    msr     cptr_el2, x13
3:  isb
    mrs     x13, mpidr_el1
    mrs     x14, midr_el1
    mov     x16, sp
    adrp    x15, __stack_top
    add     x15, x15, :lo12:__stack_top
    mov     sp, x15
    adr     x15, _start
    stp     x15, x16, [sp, #-16]!
    stp     x13, x14, [sp, #-16]!
    stp     x11, x12, [sp, #-16]!
    stp     x9, x10, [sp, #-16]!
    stp     x2, x3, [sp, #-16]!
    stp     x0, x1, [sp, #-16]!
    mov     x0, sp
    b       report
