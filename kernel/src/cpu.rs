//! The core: counter, idling, barriers, caches by address (Arm ARM). On a workstation, enough of it for tests.

#[cfg(target_os = "none")]
mod aarch64 {
    use core::arch::asm;

    use aarch64_cpu::asm::barrier;
    use aarch64_cpu::registers::{
        CNTFRQ_EL0, CNTHCTL_EL2, CNTKCTL_EL1, CNTVCT_EL0, CurrentEL, MIDR_EL1, Readable, Writeable,
    };

    /// Ticks of the architectural timer.
    pub(crate) fn counter() -> u64 {
        barrier::isb(barrier::SY);
        CNTVCT_EL0.get()
    }

    /// Ticks a second, as the firmware programmed it; QEMU's differs from the boards'.
    pub fn counter_frequency() -> u64 {
        CNTFRQ_EL0.get().max(1)
    }

    /// The exception level, 1 or 2.
    pub fn exception_level() -> u64 {
        CurrentEL.read(CurrentEL::EL)
    }

    /// The part number of MIDR_EL1.
    pub fn part_number() -> u64 {
        MIDR_EL1.read(MIDR_EL1::PartNum)
    }

    /// Lets `wait_for_event` return every 2^(bit+1) ticks of the counter.
    pub fn start_event_stream(bit: u64) {
        if exception_level() == 2 {
            CNTHCTL_EL2.set(CNTHCTL_EL2.get() & !0xfc | 1 << 2 | (bit & 0xf) << 4);
        } else {
            CNTKCTL_EL1.set(CNTKCTL_EL1.get() & !0xfc | 1 << 2 | (bit & 0xf) << 4);
        }
    }

    /// Ends the event stream: Linux finds the timer as the firmware left it.
    pub fn stop_event_stream() {
        if exception_level() == 2 {
            CNTHCTL_EL2.set(CNTHCTL_EL2.get() & !(1 << 2));
        } else {
            CNTKCTL_EL1.set(CNTKCTL_EL1.get() & !(1 << 2));
        }
    }

    /// Rests until the next event.
    pub(crate) fn wait_for_event() {
        aarch64_cpu::asm::wfe();
    }

    /// Orders memory against devices: the BCM283x peripherals share a bus that may answer out of order.
    pub(crate) fn barrier() {
        barrier::dsb(barrier::SY);
    }

    /// Smallest data cache line in bytes.
    fn line() -> usize {
        let ctr: usize;
        // SAFETY: reading CTR_EL0 has no side effect.
        unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
        4 << (ctr >> 16 & 0xf) // DminLine: log2 of words
    }

    /// Writes back and drops the lines of `start..start + len`, so that the next load sees what a device wrote.
    ///
    /// Clean lines are simply dropped; a dirty one is written first, so neighbours in a shared line lose nothing. There
    /// is no clean alone: on the Cortex-A53 an eviction may overtake it (Arm erratum 855873).
    pub fn clean_and_invalidate(start: usize, len: usize) {
        let line = line();
        if len > 0 {
            let end = start + len;
            // SAFETY: clean and invalidate keeps every byte that was written, and no line is touched but those of the range. Below
            // `end - 3 * line` four lines begin before `end`; these four at once save a third of the instructions.
            unsafe {
                asm!(
                    "b 3f",
                    "2: dc civac, {at}",
                    "add {at}, {at}, {line}",
                    "dc civac, {at}",
                    "add {at}, {at}, {line}",
                    "dc civac, {at}",
                    "add {at}, {at}, {line}",
                    "dc civac, {at}",
                    "add {at}, {at}, {line}",
                    "3: cmp {at}, {fours}",
                    "b.lo 2b",
                    "b 5f",
                    "4: dc civac, {at}",
                    "add {at}, {at}, {line}",
                    "5: cmp {at}, {end}",
                    "b.lo 4b",
                    at = inout(reg) start & !(line - 1) => _,
                    line = in(reg) line,
                    fours = in(reg) end.saturating_sub(3 * line),
                    end = in(reg) end,
                    options(nostack),
                );
            }
        }
        barrier();
    }

    /// Never: tests on a workstation leave a hand-over out to see what fails.
    pub(crate) const fn left_out() -> bool {
        false
    }
}

#[cfg(target_os = "none")]
pub use aarch64::*;

#[cfg(not(target_os = "none"))]
mod host {
    //! Virtual time: looking at the clock takes 10 µs, and lets the device that a test plugged in go on. The cache is in
    //! cache.rs.

    use std::cell::{Cell, RefCell};

    /// What a look at the clock takes, in µs. A million searches of a bus must not last for hours.
    const LOOK: u64 = if cfg!(fuzzing) { 1000 } else { 10 };

    type Device = Box<dyn FnMut()>;

    thread_local! {
        static MICROS: Cell<u64> = const { Cell::new(0) };
        static DEVICE: RefCell<Option<Device>> = const { RefCell::new(None) };
    }

    /// Runs `device` at every barrier and whenever the program looks at the clock.
    #[cfg(test)]
    pub(crate) fn plug(device: impl FnMut() + 'static) {
        DEVICE.set(Some(Box::new(device)));
    }

    /// Lets time pass without looking at the clock.
    #[cfg(test)]
    pub(crate) fn skip(micros: u64) {
        MICROS.set(MICROS.get() + micros);
    }

    pub(crate) fn barrier() {
        DEVICE.with_borrow_mut(|device| {
            if let Some(device) = device {
                device();
            }
        });
    }

    pub(crate) fn counter() -> u64 {
        barrier();
        MICROS.set(MICROS.get() + LOOK);
        MICROS.get()
    }
    pub(crate) fn counter_frequency() -> u64 {
        1_000_000
    }
    pub(crate) fn wait_for_event() {}

    #[cfg(test)]
    pub(crate) use crate::cache::left_out;

    #[cfg(test)]
    #[track_caller]
    pub(crate) fn clean_and_invalidate(start: usize, len: usize) {
        crate::cache::clean_and_invalidate(start, len);
        barrier();
    }

    // No device is plugged into a program that is not a test.
    #[cfg(not(test))]
    pub(crate) fn clean_and_invalidate(_: usize, _: usize) {}
    #[cfg(not(test))]
    pub(crate) const fn left_out() -> bool {
        false
    }
}

#[cfg(not(target_os = "none"))]
pub(crate) use host::*;
