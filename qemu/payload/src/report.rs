//! What the payload prints, and how it ends.

use crate::print::Uart;
use crate::{selftest, tree};

/// The registers at entry, as `entry.S` lays them on the stack.
#[repr(C)]
pub(crate) struct Entry {
    x: [u64; 4],
    counter: u64,
    frequency: u64,
    current_el: u64,
    sctlr: u64,
    mpidr: u64,
    midr: u64,
    start: u64,
    stack: u64,
}

/// No device tree that Linux takes is larger.
const TREE_LIMIT: usize = 2 << 20;

/// Cortex-A72's part number in MIDR_EL1: a BCM2711, whose peripherals are elsewhere.
const CORTEX_A72: u64 = 0xd08;

/// Called by `entry.S` on the first core.
#[unsafe(no_mangle)]
extern "C" fn report(entry: &Entry) -> ! {
    let part = entry.midr >> 4 & 0xfff;
    let peripherals = if part == CORTEX_A72 {
        0xfe00_0000
    } else {
        0x3f00_0000
    };
    let blob = device_tree(entry.x[0]);
    let summary = tree::summary(blob);
    let uart = if summary.stdout.starts_with(b"serial1") {
        Uart::mini(peripherals)
    } else {
        Uart::pl011(peripherals)
    };
    uart.text("payload: counter ").number(entry.counter);
    uart.text(" at ").number(entry.frequency).text(" Hz\n");
    uart.text("payload: entered at ").hex(entry.start);
    uart.text(" in EL").number(entry.current_el >> 2 & 3).text("\n");
    let [x0, x1, x2, x3] = entry.x;
    uart.text("payload: x0 ").hex(x0).text("\n");
    uart.text("payload: x1 ").hex(x1).text("\n");
    uart.text("payload: x2 ").hex(x2).text("\n");
    uart.text("payload: x3 ").hex(x3).text("\n");
    uart.text("payload: sctlr ").hex(entry.sctlr).text("\n");
    uart.text("payload: mpidr ").hex(entry.mpidr).text("\n");
    uart.text("payload: midr ").hex(entry.midr).text("\n");
    uart.text("payload: sp ").hex(entry.stack).text("\n");
    uart.text("payload: device tree ")
        .number(blob.len() as u64)
        .text(" bytes, ");
    uart.number(summary.nodes)
        .text(" nodes, depth ")
        .number(summary.depth);
    uart.text(if summary.whole { ", whole\n" } else { ", BROKEN\n" });
    uart.text("payload: model ").bytes(summary.model).text("\n");
    uart.text("payload: serial-number ")
        .bytes(summary.serial)
        .text("\n");
    uart.text("payload: cmdline ").bytes(summary.bootargs).text("\n");
    uart.text("payload: kaslr-seed ")
        .number(summary.kaslr_seed.len() as u64);
    uart.text(" bytes, rng-seed ")
        .number(summary.rng_seed.len() as u64)
        .text(" bytes\n");
    let initrd = tree::cells(summary.initrd_start).zip(tree::cells(summary.initrd_end));
    if let Some((start, end)) = initrd {
        uart.text("payload: initrd ").number(end.wrapping_sub(start));
        uart.text(" bytes at ").hex(start);
        if let Some(initrd) = initrd_bytes(start, end) {
            uart.text(", CRC-32 ").hex(u64::from(crc32(initrd)));
        }
        uart.text("\n");
    }
    if summary
        .bootargs
        .split(|&byte| byte == b' ')
        .any(|word| word == b"selftest")
    {
        selftest::report(uart, entry.start, entry.current_el >> 2 & 3);
    }
    uart.text("hello: built-in payload\n");
    power_off(peripherals)
}

/// The device tree at this address; empty when there is none.
fn device_tree(address: u64) -> &'static [u8] {
    if address == 0 || !address.is_multiple_of(8) || address > 0xffff_f000 {
        return &[];
    }
    // SAFETY: aligned, not null, and memory on every board, which nothing writes to: the boot protocol puts a device
    // tree there, and its header, looked at first, tells whether it is one and its size.
    unsafe {
        let header = core::slice::from_raw_parts(address as *const u8, 40);
        match tree::total_size(header) {
            Some(size) if size <= TREE_LIMIT => core::slice::from_raw_parts(address as *const u8, size),
            _ => &[],
        }
    }
}

/// The initrd between these addresses; none when it is not in the first GiB, where every board has its memory.
fn initrd_bytes(start: u64, end: u64) -> Option<&'static [u8]> {
    let length = usize::try_from(end.checked_sub(start)?).ok()?;
    if start < 0x1000 || end > 0x4000_0000 {
        return None;
    }
    // SAFETY: memory on every board, one to one because the MMU is off, which nothing writes to: the boot loader says
    // that the initrd is there.
    Some(unsafe { core::slice::from_raw_parts(start as *const u8, length) })
}

/// The CRC-32 of gzip and Ethernet, with the CPU's own instructions, which every core of a Pi 3 or 4 has.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        // SAFETY: arithmetic on two registers.
        unsafe {
            core::arch::asm!(
                ".arch_extension crc",
                "crc32x {crc:w}, {crc:w}, {word}",
                crc = inout(reg) crc,
                word = in(reg) u64::from_le_bytes(*word),
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
    for byte in rest {
        // SAFETY: as above.
        unsafe {
            core::arch::asm!(
                ".arch_extension crc",
                "crc32b {crc:w}, {crc:w}, {byte:w}",
                crc = inout(reg) crc,
                byte = in(reg) u32::from(*byte),
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
    !crc
}

/// The power management block: partition 63 in RSTS, then a full reset through RSTC once WDOG has counted down, is the firmware's halt;
/// QEMU exits. A boot loader may have left WDOG at sixteen seconds.
fn power_off(peripherals: usize) -> ! {
    const PASSWORD: u32 = 0x5a00_0000;
    let rsts = (peripherals + 0x10_0020) as *mut u32;
    let rstc = (peripherals + 0x10_001c) as *mut u32;
    let wdog = (peripherals + 0x10_0024) as *mut u32;
    // SAFETY: registers of this SoC, mapped one to one because the MMU is off; this is their documented use.
    unsafe {
        rsts.write_volatile(PASSWORD | 0x555);
        // Ten ticks of a 65,536th of a second.
        wdog.write_volatile(PASSWORD | 10);
        rstc.write_volatile(PASSWORD | 0x20);
    }
    loop {
        core::hint::spin_loop();
    }
}
