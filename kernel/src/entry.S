// Reset to Rust: find home at the top of the first ARM bank, move there, relocate, map, turn the caches on.
// Entered as an arm64 Image (Linux Documentation/arch/arm64/booting): x0 = device tree, MMU and D-cache off.
// Registers that live throughout: x19 device tree, x20 load address, x21 home, x22 peripherals, x23 end of the bank.

.macro offset reg, symbol               // from the image's first byte; needs a page-aligned load address, as booti's
    adrp    \reg, \symbol
    add     \reg, \reg, :lo12:\symbol
    sub     \reg, \reg, x20
.endm

.macro at_home reg, symbol              // where it will be once moved
    offset  \reg, \symbol
    add     \reg, \reg, x21
.endm

.macro absolute reg, symbol             // sizes that link.ld defines
    movz    \reg, #:abs_g1:\symbol
    movk    \reg, #:abs_g0_nc:\symbol
.endm

.macro constant reg, value
    movz    \reg, #((\value) & 0xffff)
    movk    \reg, #(((\value) >> 16) & 0xffff), lsl #16
.endm

.section .text.entry, "ax"
.global _start
_start:
    b       reset                       // code0
    .long   0                           // code1
    .quad   0                           // text_offset: any 2 MiB aligned base
    .quad   __file_end - _start         // image_size: nothing behind the file is touched at the load address
    .quad   0b1010                      // flags: little endian, 4 KiB pages, anywhere in memory
    .quad   0
    .quad   0
    .quad   0
    .ascii  "ARM\x64"
    .long   0

    // Property message of the mailbox: "get ARM memory". The VideoCore answers in place, 16-byte aligned.
    .balign 16
memory_request:
    .long   32                          // bytes in all
    .long   0                           // request
    .long   0x00010005                  // tag: get ARM memory
    .long   8
    .long   0
    .long   0                           // ← base
    .long   0                           // ← size
    .long   0                           // end

reset:
    mov     x19, x0
    msr     daifset, #0xf
    adr     x20, _start

    // Vectors first: on SP_ELx every fault goes straight to the watchdog. FP and SIMD: the compiler uses them anywhere.
    msr     spsel, #1
    adr     x1, vectors
    mrs     x0, CurrentEL
    cmp     x0, #(2 << 2)
    b.hi    reset_now                   // EL3: not how an Image is entered
    b.lo    1f
    msr     vbar_el2, x1
    mov     x0, #0x33ff                 // CPTR_EL2: RES1 bits; TFP clear
    msr     cptr_el2, x0
    b       2f
1:  msr     vbar_el1, x1
    mov     x0, #(3 << 20)              // CPACR_EL1.FPEN
    msr     cpacr_el1, x0
2:  isb

    // SoC by core: a Cortex-A72 is BCM2711's, a Cortex-A53 BCM2837's. Where the peripherals of any other are, memory may be.
    mrs     x0, midr_el1
    ubfx    x0, x0, #4, #12
    constant x22, 0xfe000000
    cmp     x0, #0xd08
    b.eq    3f
    constant x22, 0x3f000000
    cmp     x0, #0xd03
    b.ne    park
3:

    // First ARM bank: ask the mailbox, for a second at most.
    constant x23, 0x1c000000            // without an answer: what the smallest board (512 MiB, gpu_mem 64) has
    constant x0, 0xb880
    add     x0, x22, x0                 // mailbox 0
    mrs     x2, cntfrq_el0
    mrs     x3, cntvct_el0
    add     x2, x2, x3                  // deadline
    adr     x4, memory_request
    lsr     x1, x4, #30
    cbnz    x1, 8f                      // the VideoCore sees only the first GiB
3:  ldr     w1, [x0, #0x18]             // drop answers that nobody waits for
    tbnz    w1, #30, 4f
    ldr     w1, [x0]
    mrs     x3, cntvct_el0
    cmp     x3, x2
    b.lo    3b
    b       8f
4:  ldr     w1, [x0, #0x38]
    tbz     w1, #31, 5f                 // room to write
    mrs     x3, cntvct_el0
    cmp     x3, x2
    b.lo    4b
    b       8f
5:  orr     w5, w4, #0xc0000000         // VideoCore's uncached view
    orr     w5, w5, #8                  // property channel
    dsb     sy
    str     w5, [x0, #0x20]
6:  ldr     w1, [x0, #0x18]
    tbz     w1, #30, 7f                 // something to read
    mrs     x3, cntvct_el0
    cmp     x3, x2
    b.lo    6b
    b       8f
7:  ldr     w1, [x0]
    cmp     w1, w5
    b.ne    6b
    dmb     sy
    ldr     w1, [x4, #4]
    tbz     w1, #31, 8f                 // not answered
    ldr     w1, [x4, #20]
    ldr     w2, [x4, #24]
    cbnz    w1, 8f                      // a first bank that does not start at 0 is no Pi
    constant x3, 0x4000000
    cmp     x2, x3
    b.lo    8f                          // under 64 MiB: nonsense
    lsr     x1, x2, #30
    cbnz    x1, 8f                      // over 1 GiB: nonsense
    mov     x23, x2
8:  cmp     x23, x22                    // with little memory for the VideoCore, a Pi 3's bank ends at its peripherals
    csel    x23, x22, x23, hi
    bic     x23, x23, #0x1fffff         // whole 2 MiB blocks are mapped

    // Home: the top of the bank, or under the device tree when the firmware put that there (D-1).
    absolute x6, HOME_SIZE
    sub     x21, x23, x6
    tst     x19, #7
    b.ne    1f
    cmp     x19, x23
    b.hs    1f
    cbz     x19, 1f
    ldr     w0, [x19]
    constant x1, 0xedfe0dd0
    cmp     w0, w1
    b.ne    1f
    ldr     w0, [x19, #4]
    rev     w0, w0
    constant x1, 0x200000
    cmp     x0, x1
    b.hi    1f                          // larger than any tree that device_tree.rs believes
    add     x0, x19, x0                 // end of the tree
    cmp     x0, x21
    b.ls    1f
    sub     x21, x19, x6
    bic     x21, x21, #0x1fffff
1:
    // Move: equal or disjoint, both 2 MiB aligned and all that is written from here on smaller than that.
    cmp     x20, x21
    b.eq    2f
    at_home x2, __file_end
    mov     x0, x20
    mov     x1, x21
1:  ldp     x3, x4, [x0], #16
    stp     x3, x4, [x1], #16
    cmp     x1, x2
    b.lo    1b
2:
    at_home x0, __bss_start
    at_home x1, __bss_end
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b

    // Relocate: every word that .relr.dyn names gets home added. An even entry is the offset of a word; an odd one
    // is a bitmap of the 63 words behind the last (ELF gABI, SHT_RELR) (D-2).
    at_home x0, __relr_start
    at_home x1, __relr_end
1:  cmp     x0, x1
    b.hs    5f
    ldr     x2, [x0], #8
    tbnz    x2, #0, 2f
    add     x3, x21, x2
    ldr     x4, [x3]
    add     x4, x4, x21
    str     x4, [x3], #8                // x3: where the next bitmap begins
    b       1b
2:  mov     x5, x3
    add     x3, x3, #(63 * 8)
3:  lsr     x2, x2, #1
    cbz     x2, 1b
    tbz     x2, #0, 4f
    ldr     x4, [x5]
    add     x4, x4, x21
    str     x4, [x5]
4:  add     x5, x5, #8
    b       3b
5:
    // Stack fill for the high-water mark.
    at_home x0, __stack_bottom
    at_home x1, __stack_top
    constant x2, 0x5aa55aa5
1:  stp     w2, w2, [x0], #8
    cmp     x0, x1
    b.lo    1b

    // Translation: 4 KiB granule, 39-bit addresses, identity. x24 level 1, then level 2 for GiB 0 and GiB 3,
    // level 3 for the first 2 MiB and for home's window (D-3).
    at_home x24, __page_tables
    add     x25, x24, #0x1000           // level 2, GiB 0
    add     x26, x24, #0x2000           // level 2, GiB 3
    add     x27, x24, #0x3000           // level 3, first 2 MiB
    add     x28, x24, #0x4000           // level 3 ×2, window
    constant x9, 0x745                  // block: valid, normal (1), AP[1], inner shareable, AF
    movk    x9, #0x0060, lsl #48        // XN, PXN
    constant x10, 0x641                 // block: valid, device (0), AP[1], outer shareable, AF
    movk    x10, #0x0060, lsl #48
    orr     x0, x25, #3
    str     x0, [x24]                   // GiB 0 → level 2
    mov     x0, #0
1:  orr     x1, x0, x9                  // RAM of the bank, in blocks
    lsr     x2, x0, #21
    str     x1, [x25, x2, lsl #3]
    add     x0, x0, #0x200000
    cmp     x0, x23
    b.lo    1b
    orr     x0, x27, #3
    str     x0, [x25]                   // first 2 MiB → level 3
    orr     x9, x9, #2                  // page, not block, from here on
    orr     x1, x9, #0x80               // page 0: stub, spin table, never written
    str     x1, [x27]
    mov     x0, #0x1000
1:  orr     x1, x0, x9
    lsr     x2, x0, #12
    str     x1, [x27, x2, lsl #3]
    add     x0, x0, #0x1000
    tbz     x0, #21, 1b
    lsr     x2, x21, #21                // window → level 3
    add     x2, x25, x2, lsl #3
    orr     x0, x28, #3
    str     x0, [x2]
    add     x0, x0, #0x1000
    str     x0, [x2, #8]
    mov     x0, #0                      // offset in the window
    offset  x3, __text_end
    offset  x4, __rodata_end
    offset  x5, __guard
    absolute x6, WINDOW
1:  add     x1, x0, x21
    orr     x1, x1, x9
    cmp     x0, x4
    b.hs    2f
    orr     x1, x1, #0x80               // text and read-only data
    cmp     x0, x3
    b.hs    3f
    bic     x1, x1, #(3 << 53)          // text may run
    b       3f
2:  cmp     x0, x5
    csel    x1, xzr, x1, eq             // guard
3:  lsr     x2, x0, #12
    str     x1, [x28, x2, lsl #3]
    add     x0, x0, #0x1000
    cmp     x0, x6
    b.lo    1b
    constant x1, 0xfe000000             // devices
    cmp     x22, x1
    b.eq    2f
    mov     x0, x22                     // BCM2837: 0x3f000000..0x40000000
1:  orr     x1, x0, x10
    lsr     x2, x0, #21
    str     x1, [x25, x2, lsl #3]
    add     x0, x0, #0x200000
    tbz     x0, #30, 1b
    b       4f
2:  orr     x0, x26, #3                 // BCM2711: 0xfc000000..0x100000000
    str     x0, [x24, #24]
    constant x0, 0xfc000000
1:  orr     x1, x0, x10
    ubfx    x2, x0, #21, #9
    str     x1, [x26, x2, lsl #3]
    add     x0, x0, #0x200000
    tbz     x0, #32, 1b
4:
    // Invalidate, never clean, the data caches: nothing of ours is in them, and stale lines must not land on the
    // image.
    by_set_way isw
    ic      iallu
    dsb     sy
    isb
    at_home x0, home                    // only home's text may run once the MMU is on
    br      x0
home:
    mov     x25, x20
    mov     x20, x21                    // what `offset` counts from, now that we run here

    constant x0, 0xff04                 // MAIR: 0 device nGnRE, 1 normal write-back
    at_home x1, vectors
    mrs     x2, CurrentEL
    cmp     x2, #(2 << 2)
    b.ne    1f
    msr     vbar_el2, x1
    msr     mair_el2, x0
    constant x0, 0x80823519             // TCR_EL2: RES1, 40-bit PA, inner shareable, write-back walks, T0SZ 25
    msr     tcr_el2, x0
    msr     ttbr0_el2, x24
    tlbi    alle2
    dsb     sy
    isb
    constant x0, 0x30cd183d             // SCTLR_EL2: RES1, WXN, I, SA, C, M
    msr     sctlr_el2, x0
    b       2f
1:  msr     vbar_el1, x1
    msr     mair_el1, x0
    constant x0, 0x00803519             // TCR_EL1: EPD1, the rest as above
    movk    x0, #2, lsl #32             // 40-bit PA
    msr     tcr_el1, x0
    msr     ttbr0_el1, x24
    tlbi    vmalle1
    dsb     sy
    isb
    constant x0, 0x30d8181d             // SCTLR_EL1: RES1, WXN, I, SA, C, M
    msr     sctlr_el1, x0
2:  isb

    // Two stacks: exceptions take SP_ELx, everything else SP_EL0, so that an overflow can still be reported (D-4).
    at_home x0, __emergency_stack_top
    mov     sp, x0
    msr     spsel, #0
    at_home x0, __stack_top
    mov     sp, x0

    // An access that goes wrong on the bus later than its instruction is reported too, not left to Linux.
    mrs     x0, CurrentEL
    cmp     x0, #(2 << 2)
    b.ne    1f
    mrs     x0, hcr_el2
    orr     x0, x0, #(1 << 5)           // AMO: SError to EL2
    msr     hcr_el2, x0
    isb
1:  msr     daifclr, #4

    mov     x0, x19                     // kernel_main(device tree, loaded at, home, end of the bank)
    mov     x1, x25
    mov     x2, x21
    mov     x3, x23
    mov     x29, xzr
    at_home x4, kernel_main
    br      x4                          // for ever: kernel_main does not return
