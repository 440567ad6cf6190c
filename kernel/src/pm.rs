//! Reset and watchdog of the power management block (Linux bcm2835_wdt and U-Boot reset.c agree on these facts).

use core::ptr::NonNull;

use boot::board::Soc;
use boot::{Local, WatchdogFound};
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
        /// The bits that choose what happens when the count ends; nothing does at 0.
        MODE = 0x30,
        /// Of those, a full reset.
        COUNTS = 0x20,
        /// What a change leaves out: the top byte and the mode.
        CHANGED = TOP | 0x30,
        /// Stops the watchdog.
        STOP = PASSWORD | 0x102,
    }

    /// RSTS.
    struct Rsts {
        /// The power came.
        BY_POWER = 1 << 12,
        /// A software reset: hard, full, quick.
        BY_SOFTWARE = 1 << 10 | 1 << 9 | 1 << 8,
        /// The watchdog's full reset, which is how everybody resets.
        BY_WATCHDOG = 1 << 5,
        /// With the bits that hold the partition to boot next cleared: an ordinary boot.
        ORDINARY = PASSWORD,
        /// The firmware reads tryboot.txt, or the part for tryboot of autoboot.txt, once.
        TRYBOOT = 1 << 1,
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

/// What a value of RSTS says of the last reset, for people: whoever looks at it cannot tell a watchdog's from one that was
/// ordered, some boards come with the watchdog's bit from power-on, and some bits are the partition's (D-185).
pub fn reset_cause(rsts: u32) -> &'static str {
    let rsts = Rsts(rsts);
    if rsts.has(Rsts::BY_POWER) {
        "power"
    } else if rsts.has(Rsts::BY_WATCHDOG) {
        "the watchdog, or a reboot"
    } else if rsts.has(Rsts::BY_SOFTWARE) {
        "software"
    } else {
        "something unknown"
    }
}

/// Where the firmware reads which partition to boot: bits 0 to 5 of the number in bits 0, 2, 4, 6, 8 and 10 of RSTS.
fn partition(number: u8) -> u32 {
    (0..6).fold(0, |bits, bit| bits | u32::from(number >> bit & 1) << (2 * bit))
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
    found: WatchdogFound,
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
            found: WatchdogFound::Useless,
        }
    }

    /// Starts the watchdog: without a `kick` for 16 s the board resets (D-9). One that the firmware has started goes on.
    pub fn arm(&mut self) {
        let counts = field!(self.registers, rstc).read() & Rstc::MODE == Rstc::COUNTS;
        self.found = if counts {
            WatchdogFound::Running
        } else {
            WatchdogFound::Stopped
        };
        self.armed = true;
        self.kick();
    }

    /// Starts the count over, when armed.
    pub fn kick(&mut self) {
        if self.armed {
            self.count(LONGEST);
        }
    }

    /// As it was before it was armed (D-184); of no use when it never was.
    pub fn found(&self) -> WatchdogFound {
        self.found
    }

    /// Leaves the watchdog to the kernel, counting from the start or stopped.
    pub fn hand_over(&mut self, counts: bool) {
        if counts {
            self.kick();
        } else {
            field!(self.registers, rstc).write(Rstc::STOP);
        }
        self.armed = false;
    }

    /// Resets the board now.
    pub fn reset(mut self) -> ! {
        self.order_reset();
        loop {
            crate::cpu::wait_for_event();
        }
    }

    /// Resets the board now, so that the firmware boots its disk.
    pub fn reset_to(mut self, way: Local) -> ! {
        self.order_reset_to(way);
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

    fn order_reset_to(&mut self, way: Local) {
        let rsts = field!(self.registers, rsts).read() & !Rsts::CHANGED | Rsts::ORDINARY;
        let asked = match way {
            Local::Tryboot => Rsts::TRYBOOT,
            Local::Partition(number) => Rsts::from_number(partition(number)),
        };
        field!(self.registers, rsts).write(rsts | asked);
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
            found: WatchdogFound::Useless,
        });
    }

    #[test]
    fn the_block_lies_where_the_manuals_say() {
        for (soc, address) in [(Soc::Bcm2837, 0x3f10_0000), (Soc::Bcm2711, 0xfe10_0000)] {
            // SAFETY: nothing is read or written.
            assert_eq!(unsafe { Pm::new(soc) }.registers.ptr().addr(), address);
        }
        assert_eq!(core::mem::offset_of!(Registers, rstc), 0x1c);
    }

    #[test]
    fn the_way_to_the_disk_is_in_rsts() {
        for (way, asked) in [
            (Local::Tryboot, 0x2),
            (Local::Partition(1), 0x1),
            (Local::Partition(2), 0x4),
            (Local::Partition(3), 0x5),
            (Local::Partition(62), 0x554),
        ] {
            let mut words = [0; 10];
            // Another partition, and what the last reset was.
            words[8] = 0x1020 | 0x444;
            with_pm(&mut words, |pm| pm.order_reset_to(way));
            assert_eq!(words[8], PASSWORD | 0x1020 | asked, "{way}");
            assert_eq!(words[9], PASSWORD | 10);
            assert_eq!(words[7] & 0x30, 0x20);
        }
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
    fn a_watchdog_that_nobody_had_started_is_found_so_and_can_be_stopped() {
        // As it idles, with what firmware leaves beside the mode, and with a mode that is no reset.
        for idle in [0x102, 0x200, 0x202, 0x112, 0x130] {
            let mut words = [0; 10];
            words[7] = idle;
            with_pm(&mut words, |pm| {
                pm.arm();
                assert_eq!(pm.found(), WatchdogFound::Stopped, "{idle:#x}");
                pm.hand_over(false);
                pm.kick();
            });
            assert_eq!(words[7], 0x5a00_0102, "{idle:#x}");
        }
    }

    #[test]
    fn a_watchdog_that_the_firmware_had_started_is_found_so_and_counts_on_from_the_start() {
        for running in [0x122, 0x20, 0x222, 0x3222] {
            let mut words = [0; 10];
            (words[7], words[9]) = (running, 0x1234);
            with_pm(&mut words, |pm| {
                pm.arm();
                pm.kick();
                assert_eq!(pm.found(), WatchdogFound::Running, "{running:#x}");
                pm.hand_over(true);
            });
            assert_eq!((words[7] & 0x30, words[9]), (0x20, 0x5a0f_ffff), "{running:#x}");
        }
    }

    #[test]
    fn a_watchdog_that_nobody_had_started_can_go_on_all_the_same() {
        let mut words = [0; 10];
        words[7] = 0x102;
        with_pm(&mut words, |pm| {
            pm.arm();
            pm.hand_over(true);
        });
        assert_eq!((words[7], words[9]), (0x5a00_0122, 0x5a0f_ffff));
    }

    #[test]
    fn a_watchdog_that_does_not_count_is_never_started() {
        let mut words = [0; 10];
        with_pm(&mut words, |pm| {
            assert_eq!(pm.found(), WatchdogFound::Useless);
            pm.hand_over(true);
        });
        assert_eq!(words, [0; 10]);
    }

    #[test]
    fn causes_are_those_of_boards() {
        for (rsts, cause) in [
            (0x1000, "power"),
            (0x1020, "power"),
            (0x20, "the watchdog, or a reboot"),
            (0x420, "the watchdog, or a reboot"),
            (0x400, "software"),
            (0, "something unknown"),
            (0x555, "software"),
        ] {
            assert_eq!(reset_cause(rsts), cause, "{rsts:#x}");
        }
    }

    #[test]
    fn a_request_for_a_tryboot_outlives_a_reset() {
        let mut words = [0; 10];
        (words[7], words[8]) = (0x102, 0x2);
        with_pm(&mut words, Pm::order_reset);
        assert_eq!(words[8], 0x5a00_0002);
    }
}
