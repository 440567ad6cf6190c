//! The firmware's last steps in machine code: why the board was reset, then the cores' start (facts of raspberrypi/tools
//! `armstubs/armstub8.S`).

use anyhow::{Context, Result};

use crate::Board;
use crate::firmware::Uart;

/// The stub holds its last word just below this, where the firmware leaves a device tree of its own.
const STUB_SIZE: usize = 0x100;

/// Where the code is that reads and rewrites RSTS.
const RESET_STATUS: usize = 0x900;

/// The stub for address 0: all cores enter it at EL3; core 0 leaves for `kernel` at EL2 with x0 = `device_tree`, the
/// others wait at the release addresses 0xd8 to 0xf0, or rest until an interrupt, which nothing sends them. GPIO 14 and 15
/// get the function that the firmware gives them. Behind the stub stands the head of a tree that is none any more.
pub(crate) fn stub(
    board: Board,
    uart: Uart,
    kernel: u64,
    device_tree: &DeviceTree<'_>,
    others_rest: bool,
) -> Result<Vec<u8>> {
    let gpfsel1 = board.peripherals() + 0x20_0004;
    // Three bits a pin, pin 14 at bit 12: 4 is ALT0 (PL011), 2 is ALT5 (mini-UART).
    let function: u32 = match uart {
        Uart::Pl011 => 0o44 << 12,
        Uart::Mini => 0o22 << 12,
    };
    let mut words = CODE.to_vec();
    if others_rest && let Some(wait) = words.iter_mut().find(|word| **word == WFE) {
        *wait = WFI;
    }
    words.push(u32::try_from(gpfsel1).context("firmware: GPIO")?);
    words.push(function);
    words.resize(STUB_SIZE / 4 - 2, 0);
    words.push(u32::try_from(device_tree.address).context("firmware: a device tree above 4 GiB")?);
    words.push(u32::try_from(kernel).context("firmware: a kernel above 4 GiB")?);
    let stale = device_tree.blob.as_chunks::<4>().0.iter().take(FDT_HEADER / 4);
    words.extend(stale.map(|word| u32::from_le_bytes(*word)));
    words.resize(RESET_STATUS / 4, 0);
    words.extend(REWRITE_RSTS);
    let behind = RESET_STATUS + REWRITE_RSTS.len() * 4;
    words.extend([branch(behind, GO), 0]);
    words.push(u32::try_from(board.peripherals() + 0x10_0000).context("firmware: PM")?);
    for value in device_tree.bootloader {
        let address = device_tree.address + value as u64;
        words.push(u32::try_from(address).context("firmware: a device tree above 4 GiB")?);
    }
    Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
}

/// A device tree that the stub hands over.
pub(crate) struct DeviceTree<'a> {
    pub(crate) address: u64,
    pub(crate) blob: &'a [u8],
    /// Where the values of `/chosen/bootloader` stand in it, as [`crate::Firmware`] wrote them.
    pub(crate) bootloader: [usize; 3],
}

/// Bytes of a device tree's head.
const FDT_HEADER: usize = 40;

/// The instruction that goes from one offset in the stub to another.
const fn branch(from: usize, to: usize) -> u32 {
    0x1400_0000 | ((to.wrapping_sub(from) >> 2) as u32 & 0x03ff_ffff)
}

/// Waits for an event.
const WFE: u32 = 0xd503_205f;
/// Waits for an interrupt.
const WFI: u32 = 0xd503_207f;

/// Where the stub goes on when RSTS is read.
const GO: usize = 0x6c;

/// Tells the tree what RSTS was, and leaves only its partition: the firmware writes there, too, and takes the request for a
/// tryboot (bit 1) as it reads it. Behind it are the branch back and, at 68, the block's address and those of the values.
const REWRITE_RSTS: [u32; 24] = [
    0x1800_0341, // 00        ldr   w1, pm
    0xb940_2022, // 04        ldr   w2, [x1, #0x20]
    0x1800_0323, // 08        ldr   w3, rsts
    0x5ac0_0848, // 0c        rev   w8, w2
    0xb900_0068, // 10        str   w8, [x3]
    0x5301_0448, // 14        ubfx  w8, w2, #1, #1
    0x5ac0_0908, // 18        rev   w8, w8
    0x1800_02a3, // 1c        ldr   w3, tryboot
    0xb900_0068, // 20        str   w8, [x3]
    0x5280_0008, // 24        mov   w8, #0              // the partition is every other bit
    0x5280_0185, // 28        mov   w5, #12
    0x5100_08a5, // 2c  bit:  sub   w5, w5, #2
    0x1ac5_2449, // 30        lsr   w9, w2, w5
    0x1200_0129, // 34        and   w9, w9, #1
    0x2a08_0528, // 38        orr   w8, w9, w8, lsl #1
    0x35ff_ff85, // 3c        cbnz  w5, bit
    0x5ac0_0908, // 40        rev   w8, w8
    0x1800_0183, // 44        ldr   w3, partition
    0xb900_0068, // 48        str   w8, [x3]
    0x5280_aaa8, // 4c        mov   w8, #0x555
    0x0a08_0042, // 50        and   w2, w2, w8
    0x52ab_4008, // 54        mov   w8, #0x5a000000
    0x2a08_0042, // 58        orr   w2, w2, w8
    0xb900_2022, // 5c        str   w2, [x1, #0x20]
];

/// The stub's instructions, ahead of the words that `stub` adds.
const CODE: [u32; 32] = [
    0xd538_00a6, // 00        mrs   x6, mpidr_el1
    0x9240_04c6, // 04        and   x6, x6, #3
    0xd51c_e07f, // 08        msr   cntvoff_el2, xzr
    0xd51e_115f, // 0c        msr   cptr_el3, xzr
    0xd280_b620, // 10        mov   x0, #0x5b1          // RW, HCE, SMD, RES1, NS
    0xd51e_1100, // 14        msr   scr_el3, x0
    0xd280_0e60, // 18        mov   x0, #0x73
    0xd51e_1020, // 1c        msr   actlr_el3, x0
    0x1800_02e0, // 20        ldr   w0, sctlr
    0xd51c_1000, // 24        msr   sctlr_el2, x0
    0xd280_7920, // 28        mov   x0, #0x3c9          // EL2h, DAIF masked
    0xd51e_4000, // 2c        msr   spsr_el3, x0
    0x1000_0060, // 30        adr   x0, el2
    0xd51e_4020, // 34        msr   elr_el3, x0
    0xd69f_03e0, // 38        eret
    0xb500_00e6, // 3c  el2:  cbnz  x6, park
    0x1800_0201, // 40        ldr   w1, gpfsel1
    0x1800_0202, // 44        ldr   w2, function
    0xb900_0022, // 48        str   w2, [x1]
    0x1800_0560, // 4c        ldr   w0, 0xf8            // device tree
    0x1800_0564, // 50        ldr   w4, 0xfc            // kernel
    branch(0x54, RESET_STATUS),
    0x1000_0405, // 58  park: adr   x5, 0xd8
    WFE,         // 5c  wait: wfe
    0xf866_78a4, // 60        ldr   x4, [x5, x6, lsl #3]
    0xb4ff_ffc4, // 64        cbz   x4, wait
    0xd280_0000, // 68        mov   x0, #0
    0xd280_0001, // 6c  go:   mov   x1, #0
    0xd280_0002, // 70        mov   x2, #0
    0xd280_0003, // 74        mov   x3, #0
    0xd61f_0080, // 78        br    x4
    0x30c5_0830, // 7c  sctlr: RES1 bits, all else off; then gpfsel1 and function
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stub_leaves_the_release_addresses_clear_and_ends_with_its_arguments() {
        let tree = DeviceTree {
            address: 0x2eff_2c00,
            blob: &[0xd7; 48],
            bootloader: [0x100, 0x110, 0x120],
        };
        let of = |others_rest| stub(Board::UsbNet3b, Uart::Pl011, 0x20_0000, &tree, others_rest).unwrap();
        let stub = of(false);
        let word = |at: usize| u32::from_le_bytes(stub[at..at + 4].try_into().unwrap());
        assert!(stub[0xd8..0xf8].iter().all(|&byte| byte == 0));
        assert_eq!(stub[0xf8..0xfc], 0x2eff_2c00_u32.to_le_bytes());
        assert_eq!(word(0xfc), 0x20_0000);
        assert_eq!(
            (word(0x100), word(0x124), word(0x128)),
            (0xd7d7_d7d7, 0xd7d7_d7d7, 0)
        );
        assert_eq!(word(0x54), 0x1400_022b);
        assert_eq!(word(0x960), 0x17ff_fdc3);
        assert_eq!((word(0x968), word(0x96c)), (0x3f10_0000, 0x2eff_2d00));
        assert_eq!((word(0x970), word(0x974)), (0x2eff_2d10, 0x2eff_2d20));
        assert_eq!(stub.len(), 0x978);
        assert_eq!(stub[0x80..0x84], 0x3f20_0004_u32.to_le_bytes());
        assert_eq!(stub[0x5c..0x60], WFE.to_le_bytes());
        assert_eq!(of(true)[0x5c..0x60], WFI.to_le_bytes());
    }
}
