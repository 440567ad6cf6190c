// The last instructions: caches and MMU off, registers as the arm64 boot protocol wants them, and away.
// fn jump(entry: x0, device tree: x1) -> !
// Runs from home, which is identity mapped, so turning the MMU off does not move it (D-6).

.section .text.jump, "ax"
.global jump
jump:
    mov     x19, x0
    mov     x20, x1
    msr     daifset, #0xf
    mrs     x2, CurrentEL
    cmp     x2, #(2 << 2)
    b.ne    1f
    mrs     x3, sctlr_el2
    bic     x3, x3, #1                  // M
    bic     x3, x3, #4                  // C
    bic     x3, x3, #(1 << 12)          // I
    bic     x3, x3, #(1 << 19)          // WXN
    msr     sctlr_el2, x3
    mrs     x3, hcr_el2
    bic     x3, x3, #(1 << 5)           // AMO
    msr     hcr_el2, x3
    isb
    tlbi    alle2
    b       2f
1:  mrs     x3, sctlr_el1
    bic     x3, x3, #1
    bic     x3, x3, #4
    bic     x3, x3, #(1 << 12)
    bic     x3, x3, #(1 << 19)
    msr     sctlr_el1, x3
    isb
    tlbi    vmalle1
2:  dsb     sy
    by_set_way cisw                     // what we wrote anywhere must not be evicted over Linux later
    ic      iallu
    dsb     sy
    isb
    msr     spsel, #1                   // as the firmware hands over: EL2h
    mov     x0, x20
    mov     x1, xzr
    mov     x2, xzr
    mov     x3, xzr
    adr     x30, reset_now              // a payload that returns resets the board
    br      x19
