// Data cache maintenance by set and way, every level (Arm ARM D7.5.9.5): only for a core that is alone with its caches (D-5).
// Clobbers x0..x9.
.macro by_set_way operation
    dsb     sy
    mrs     x0, clidr_el1
    mov     x1, #0                      // level << 1
11: add     x2, x1, x1, lsr #1
    lsr     x2, x0, x2
    and     x2, x2, #7
    cbz     x2, 15f                     // no more levels
    cmp     x2, #2
    b.lo    14f                         // instructions only
    msr     csselr_el1, x1
    isb
    mrs     x2, ccsidr_el1
    and     x3, x2, #7
    add     x3, x3, #4                  // line shift
    ubfx    x4, x2, #3, #10             // ways - 1
    clz     w5, w4                      // way shift
    ubfx    x6, x2, #13, #15            // sets - 1
12: mov     x7, x4
13: lsl     x8, x7, x5
    orr     x8, x8, x1
    lsl     x9, x6, x3
    orr     x8, x8, x9
    dc      \operation, x8
    subs    x7, x7, #1
    b.ge    13b
    subs    x6, x6, #1
    b.ge    12b
14: add     x1, x1, #2
    cmp     x1, #14
    b.lo    11b
15: dsb     sy
.endm
