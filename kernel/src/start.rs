//! From the first line of Rust to the jump: what the board is, its console, its NIC, then the boot (D-173).

use boot::board::Soc;
use boot::load::device_tree::Tree;
use boot::patience::NO_NIC_PAUSE;
use boot::{Address, Cause, Clock as _, Ending, Local, Machine, Settings, at_the_jump, error, info};

use kernel::clock::Clock;
use kernel::console::Console;
use kernel::hardware::Hardware;
use kernel::nic::Nic;
use kernel::pm::Pm;
use kernel::rng::Rng;
use kernel::{board, cpu, log};

use crate::entry::{self, Home};
use crate::{device_tree, exceptions, handoff, heap, memory};

/// The first line of Rust: entry.S has moved us to `home`, below `bank_end`, and turned the MMU on.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(device_tree: usize, loaded_at: usize, home: usize, bank_end: usize) -> ! {
    let clock = Clock::start();
    // SAFETY: the value comes straight from entry.S.
    let home = unsafe { Home::new(home) };
    // SAFETY: entry.S has run, and this runs once.
    let arena = unsafe { memory::ours(home) };
    // SAFETY: entry.S maps the whole bank readable.
    let device_tree = unsafe { device_tree::copy(device_tree, bank_end) };
    let tree = device_tree.as_deref().and_then(device_tree::read);
    let tree = tree.as_ref();
    // One wake-up in about 50 µs: a frame waits no longer than that.
    cpu::start_event_stream(u64::from((cpu::counter_frequency() / 20_000).max(2).ilog2()));

    let soc = Soc::of(cpu::part_number());
    // SAFETY: entry.S maps the peripherals of the SoC that the same register names; each block is taken once.
    let (mut pm, hardware) = unsafe { (Pm::new(soc), Hardware::new(soc, arena, clock)) };
    let Some(mut hardware) = hardware else { pm.reset() };
    let emulated = hardware.emulated;
    if hardware.watchdog_counts {
        pm.arm();
    }
    // An emulator may lack what every board has; touching it there would abort.
    // SAFETY: only asked for peripherals of this SoC, which are mapped, by registers that may be read at any time.
    let has = |address| !emulated || unsafe { exceptions::answers(address) };

    // SAFETY: the SoC's peripherals are mapped; log and console run on this core.
    let (mut console, uart) = unsafe { Console::open(&mut hardware, tree) };
    info!(
        "bramble: {} loaded at {}, running at {}, EL{}",
        env!("CARGO_PKG_VERSION"),
        Address(loaded_at as u64),
        Address(home.range().start as u64),
        cpu::exception_level()
    );
    let (port, mut board) = board::describe(&mut hardware, device_tree.as_deref(), tree);
    board.uart = uart;
    // SAFETY: taken once, mapped, told apart by SoC.
    let mut entropy = unsafe { Rng::new(soc, has(Rng::address(soc)), clock) };
    // SAFETY: `port` is this SoC's, whose peripherals are mapped; taken once.
    let nic = unsafe { Nic::bring_up(&mut hardware, port, &mut board, tree, has) };
    let mut nic = match nic {
        Ok(nic) => nic,
        Err(reason) => {
            error!("nic: {}", reason);
            give_up(pm, clock);
        }
    };
    // SAFETY: entry.S maps the bank readable; it is the payloads' from below on only.
    let initramfs = unsafe { device_tree::initramfs(tree, bank_end, home) };
    let handed_over = match initramfs {
        Some(Ok(file)) => boot::handed_over(file, &board),
        Some(Err(why)) => Some(Err(why)),
        None => None,
    };
    board.handed_over = handed_over
        .as_ref()
        .map(|found| found.as_ref().map_err(|why| *why));
    let mut settings = Settings::from_bootargs(tree.and_then(Tree::bootargs).unwrap_or_default());
    settings.came_by(tree.and_then(Tree::boot_mode));
    let machine = Machine {
        nic: &mut nic,
        clock: &clock,
        console: &mut console,
        // SAFETY: entry.S maps the bank as RAM, and this runs once.
        memory: unsafe { memory::payloads(bank_end, home, tree) },
        entropy: &mut entropy,
        board: &board,
        platform: &mut pm,
        observers: &mut [],
    };
    let ending = boot::run(machine, &settings);
    nic.quiesce();
    // SAFETY: the NIC, the only bus master in use, is quiet; memory for payloads excludes home.
    unsafe { end(ending, pm, &mut hardware) }
}

/// Waits, so that a person can read why there is no NIC, then starts over from reset.
fn give_up(mut pm: Pm, clock: Clock) -> ! {
    info!("boot: resetting in {} s", NO_NIC_PAUSE.secs());
    let deadline = clock.now() + NO_NIC_PAUSE;
    while clock.now() < deadline {
        pm.kick();
        clock.idle_until(deadline);
    }
    log::drain();
    pm.reset()
}

/// Does what the boot came to.
///
/// # Safety
///
/// What is to be started lies outside of our own memory, and no device writes to memory any more.
unsafe fn end(ending: Ending, mut pm: Pm, hardware: &mut Hardware) -> ! {
    match ending {
        Ending::Boot(kernel, watchdog) => {
            info!(
                "handoff: heap peak {} bytes, stack peak {} bytes",
                heap::peak(),
                entry::stack_peak()
            );
            info!(
                "handoff: kernel at {}, device tree at {}",
                Address(kernel.entry),
                Address(kernel.device_tree)
            );
            let left = at_the_jump(pm.found(), watchdog);
            info!("handoff: {}", left);
            pm.hand_over(left.counts());
            // SAFETY: the caller's word.
            unsafe { handoff::jump_to(kernel) }
        }
        Ending::Reset(cause) => {
            match &cause {
                Cause::Script => info!("boot: {}", cause),
                Cause::GaveUp(..) => error!("boot: {}", cause),
            }
            log::drain();
            pm.reset()
        }
        Ending::Local(way) => {
            info!("boot: resetting to the board's own disk ({})", way);
            log::drain();
            if way == Local::Tryboot {
                // The documented way. The register, which is written below in any case, is what it comes to.
                let _: Option<()> = hardware.mailbox.ask_for_tryboot();
            }
            pm.reset_to(way)
        }
        Ending::PowerOff => {
            info!("boot: a script asks for the board to be switched off");
            log::drain();
            pm.power_off()
        }
    }
}
