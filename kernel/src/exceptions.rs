//! Faults (Arm ARM, ESR_ELx) and panics: say where and why on the raw UART, then reset. Never a silent halt.

use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use boot::board::Soc;

use kernel::clock::Clock;
use kernel::pm::Pm;
use kernel::uart::{self, Uart};
use kernel::{cpu, log};

/// What exceptions.S saves, in its order.
#[repr(C)]
struct Frame {
    x: [u64; 31],
    sp: u64,
    elr: u64,
    esr: u64,
    far: u64,
    _pad: u64,
}

const _: () = assert!(size_of::<Frame>() == 288, "exceptions.S makes room for 288 bytes");

// SAFETY: as exceptions.S defines them.
unsafe extern "C" {
    fn reset_now() -> !;
    #[link_name = "answers"]
    fn load_answers(address: usize) -> bool;
}

/// Whether a device is at `address`: reads a word, and takes an abort for a no. For emulators, which abort at once; on a
/// board nobody says when the bus would.
///
/// # Safety
///
/// `address` is mapped, a multiple of four, and nothing happens there when a word is read.
pub(crate) unsafe fn answers(address: usize) -> bool {
    // SAFETY: a load, by the caller's word without effect; exceptions.S catches its abort.
    unsafe { load_answers(address) }
}

static DYING: AtomicBool = AtomicBool::new(false);

/// Prints `text` and resets; a second death on the way goes straight to the watchdog.
fn die(text: fmt::Arguments<'_>) -> ! {
    if DYING.swap(true, Ordering::Relaxed) {
        // SAFETY: needs neither stack nor anything that could be broken; never returns.
        unsafe { reset_now() }
    }
    let soc = Soc::of(cpu::part_number());
    if !log::started() {
        // Before the console was opened: the UART as the firmware left it, else the PL011, where QEMU has it.
        // SAFETY: peripherals are mapped since entry.S, and `soc` is the SoC.
        let kind = unsafe { uart::pin_functions(soc) };
        // SAFETY: as above; there is one core.
        log::start(unsafe { Uart::new(soc, uart::routed(kind.0, kind.1, true, None), Clock::start()) });
    }
    log::last_words(text);
    // SAFETY: as above; whoever owned the other `Pm` does not run any more.
    unsafe { Pm::new(soc) }.reset()
}

#[unsafe(no_mangle)]
extern "C" fn exception(frame: &Frame, kind: u64) -> ! {
    let name = match kind {
        0 => "synchronous exception",
        1 => "unexpected IRQ",
        2 => "unexpected FIQ",
        _ => "SError",
    };
    let class = match frame.esr >> 26 {
        0x00 => "undefined instruction",
        0x0e => "illegal state",
        0x15..=0x17 => "supervisor call",
        0x20 | 0x21 => "instruction abort",
        0x22 => "PC alignment",
        0x24 | 0x25 => "data abort",
        0x26 => "stack alignment",
        0x2f => "SError",
        0x3c => "breakpoint",
        _ => "other",
    };
    die(format_args!(
        "fault: {name} ({class}) at {:#x}, address {:#x}, ESR {:#010x}, LR {:#x}, SP {:#x}: resetting",
        frame.elr, frame.far, frame.esr, frame.x[30], frame.sp
    ))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    die(format_args!("fault: {info}: resetting"))
}
