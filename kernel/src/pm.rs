//! Reset and watchdog of the power management block (Linux bcm2835_wdt and U-Boot reset.c agree on these facts).

use core::ptr::NonNull;

use boot::board::Soc;
use safe_mmio::fields::ReadPureWrite;
use safe_mmio::{UniqueMmioPointer, field};

use crate::bits::{Bits as _, bits};
use crate::soc::{offset, peripherals};

/// Every write carries it in the top byte.
const PASSWORD: u32 = 0x5a00_0000;
/// Where it stands; what is read there is not it.
const TOP: u32 = 0xff00_0000;
/// The longest count: 20 bits of 1/65536 s, just under 16 s.
const LONGEST: u32 = 0xf_ffff;

bits! {
    /// RSTC.
    struct Rstc {
        /// Bits 5:4 as "full reset when the count ends".
        FULL_RESET = PASSWORD | 0x20,
        /// What a change leaves out: the top byte, and the bits that choose what happens when the count ends.
        CHANGED = TOP | 0x30,
        /// Stops the watchdog.
        STOP = PASSWORD | 0x102,
    }

    /// RSTS.
    struct Rsts {
        /// With the bits that hold the partition to boot next cleared: an ordinary boot.
        ORDINARY = PASSWORD,
        /// All of them, partition 63, tell the firmware to halt until power comes or the global enable pin is touched (D-75).
        HALT = PASSWORD | 0x555,
        /// What a change leaves out: the top byte, and the partition.
        CHANGED = TOP | 0x555,
    }

    /// WDOG. Bits 19:0 are the count.
    struct Wdog {
        /// What every write carries.
        PASSED = PASSWORD,
    }
}

#[repr(C)]
struct Registers {
    _0: [u32; 7],
    /// 0x1c: reset control.
    rstc: ReadPureWrite<Rstc>,
    /// 0x20: reset status, and the boot partition for the firmware.
    rsts: ReadPureWrite<Rsts>,
    /// 0x24: watchdog count.
    wdog: ReadPureWrite<Wdog>,
}

/// The power management block.
pub struct Pm {
    registers: UniqueMmioPointer<'static, Registers>,
    armed: bool,
}

impl Pm {
    /// # Safety
    ///
    /// The SoC is `soc`, its peripherals are mapped, and no other `Pm` is in use (a dying one excepted).
    pub unsafe fn new(soc: Soc) -> Self {
        let address = (peripherals(soc) + offset::PM) as *mut Registers;
        // SAFETY: the caller vouches for the mapping; the address is not null.
        let registers = unsafe { UniqueMmioPointer::new(NonNull::new_unchecked(address)) };
        Self {
            registers,
            armed: false,
        }
    }

    /// Starts the watchdog: without a `kick` for 16 s the board resets (D-9).
    pub fn arm(&mut self) {
        self.armed = true;
        self.kick();
    }

    /// Starts the count over, when armed.
    pub fn kick(&mut self) {
        if self.armed {
            self.count(LONGEST);
        }
    }

    /// Stops the watchdog: not every kernel has a driver for it.
    pub fn disarm(&mut self) {
        self.armed = false;
        field!(self.registers, rstc).write(Rstc::STOP);
    }

    /// Resets the board now.
    pub fn reset(mut self) -> ! {
        self.order_reset();
        loop {
            crate::cpu::wait_for_event();
        }
    }

    /// Switches the board off, as far as it can be: the firmware halts after this reset.
    pub fn power_off(mut self) -> ! {
        self.order_halt();
        loop {
            crate::cpu::wait_for_event();
        }
    }

    fn order_halt(&mut self) {
        let rsts = field!(self.registers, rsts).read();
        field!(self.registers, rsts).write(rsts & !Rsts::CHANGED | Rsts::HALT);
        self.count(10);
    }

    /// In 10 ticks, 150 µs, from the partition that the firmware chooses by itself.
    fn order_reset(&mut self) {
        let rsts = field!(self.registers, rsts).read();
        field!(self.registers, rsts).write(rsts & !Rsts::CHANGED | Rsts::ORDINARY);
        self.count(10);
    }

    fn count(&mut self, ticks: u32) {
        field!(self.registers, wdog).write(Wdog::PASSED | Wdog::from_number(ticks));
        let rstc = field!(self.registers, rstc).read();
        field!(self.registers, rstc).write(rstc & !Rstc::CHANGED | Rstc::FULL_RESET);
    }
}

impl boot::Platform for Pm {
    fn kick_watchdog(&mut self) {
        self.kick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_pm(words: &mut [u32; 10], act: impl FnOnce(&mut Pm)) {
        let registers = NonNull::from(words).cast();
        // SAFETY: ten words are the ten registers, exclusively borrowed for this call.
        let registers = unsafe { UniqueMmioPointer::new(registers) };
        act(&mut Pm {
            registers,
            armed: false,
        });
    }

    #[test]
    fn an_unarmed_watchdog_is_never_started_by_a_kick() {
        let mut words = [0; 10];
        with_pm(&mut words, Pm::kick);
        assert_eq!(words, [0; 10]);
    }

    #[test]
    fn arming_counts_16_seconds_to_a_full_reset() {
        let mut words = [0; 10];
        words[7] = 0x102;
        with_pm(&mut words, Pm::arm);
        assert_eq!((words[7], words[9]), (0x5a00_0122, 0x5a0f_ffff));
    }

    #[test]
    fn a_reset_is_ordinary_whatever_partition_was_asked_for() {
        let mut words = [0; 10];
        (words[7], words[8]) = (0x102, 0x575);
        with_pm(&mut words, Pm::order_reset);
        assert_eq!(
            (words[7], words[8], words[9]),
            (0x5a00_0122, 0x5a00_0020, 0x5a00_000a)
        );
    }

    #[test]
    fn switching_off_is_a_reset_to_partition_63() {
        let mut words = [0; 10];
        (words[7], words[8]) = (0x102, 0x1020);
        with_pm(&mut words, Pm::order_halt);
        assert_eq!(
            (words[7], words[8], words[9]),
            (0x5a00_0122, 0x5a00_1575, 0x5a00_000a)
        );
    }

    #[test]
    fn disarming_writes_the_stop_value() {
        let mut words = [0; 10];
        with_pm(&mut words, |pm| {
            pm.arm();
            pm.disarm();
        });
        assert_eq!(words[7], 0x5a00_0102);
    }
}
