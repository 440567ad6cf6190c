//! From the first line of Rust to the jump: what the board is, its console, its NIC, then the boot.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::{fmt, slice};

use boot::Address;
use boot::load::device_tree::Tree;
use boot::load::place;
use boot::{
    Board, Cause, Clock as _, Ending, Mac, Machine, NO_NIC_PAUSE, Region, Settings, error, info, warn,
};
use smoltcp::wire::EthernetAddress;

use kernel::board::{self, Ethernet, Row};
use kernel::clock::Clock;
use kernel::console::Console;
use kernel::dma::Arena;
use kernel::genet::{self, Genet};
use kernel::mailbox::{ClockId, Mailbox};
use kernel::nic::Nic;
use kernel::pm::Pm;
use kernel::rng::Rng;
use kernel::soc::Soc;
use kernel::uart::{self, Kind, Uart};
use kernel::usb::{Dwc2, Host};
use kernel::usbnet::{self, UsbNic};
use kernel::{cpu, log};

use crate::entry::{self, Home};
use crate::{exceptions, handoff, heap};

/// The firmware revision that QEMU reports for ever (D-7).
const QEMU_FIRMWARE: u32 = 346_337;
/// The largest device tree that is believed.
const MAX_DEVICE_TREE: usize = 2 << 20;

/// The first line of Rust: entry.S has moved us to `home`, below `bank_end`, and turned the MMU on.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(device_tree: usize, loaded_at: usize, home: usize, bank_end: usize) -> ! {
    let clock = Clock::start();
    // SAFETY: the value comes straight from entry.S.
    let home = unsafe { Home::new(home) };
    // SAFETY: entry.S maps this part of home and uses none of it; this runs once.
    unsafe { heap::start(home.heap()) };
    // SAFETY: as above; home is below 1 GiB.
    let mut arena = unsafe { Arena::new(home.dma()) };
    // SAFETY: entry.S maps the whole bank readable.
    let device_tree = unsafe { copy_device_tree(device_tree, bank_end) };
    // One wake-up in about 50 µs: a frame waits no longer than that.
    cpu::start_event_stream(u64::from((cpu::counter_frequency() / 20_000).max(2).ilog2()));

    let soc = Soc::of(cpu::part_number());
    // SAFETY: entry.S maps the peripherals of the SoC that the same register names; each block is taken once.
    let (mut pm, mailbox) = unsafe { (Pm::new(soc), Mailbox::new(soc, &mut arena, clock)) };
    let Some(mut mailbox) = mailbox else { pm.reset() };
    let emulated = mailbox.firmware_revision() == Some(QEMU_FIRMWARE);
    // QEMU resets at once instead of counting.
    if !emulated {
        pm.arm();
    }

    let tree = device_tree.as_deref().and_then(readable_tree);
    let stdout = tree.as_ref().and_then(Tree::stdout_path);
    let (mut console, kind) = open_console(soc, emulated, stdout, &mut mailbox, clock);
    let (version, level) = (env!("CARGO_PKG_VERSION"), cpu::exception_level());
    let (from, at) = (Address(loaded_at as u64), Address(home.range().start as u64));
    info!(
        "bramble: {} loaded at {}, running at {}, EL{}",
        version, from, at, level
    );
    let (row, mut board) = describe(soc, &mut mailbox, device_tree.as_deref(), tree.as_ref());
    board.uart = kind.uart();

    // An emulator may lack what every board has; touching it there would abort.
    // SAFETY: only asked for peripherals of this SoC, which are mapped, by registers that may be read at any time.
    let has = |address| !emulated || unsafe { exceptions::answers(address) };
    // SAFETY: taken once, mapped, told apart by SoC.
    let mut entropy = unsafe { Rng::new(soc, has(Rng::address(soc)), clock) };
    let none = board.mac == EthernetAddress([0; 6]);
    if none {
        // Without one anywhere: locally administered, and the serial number tells the nodes apart.
        let [a, b, c, d, e, ..] = board.serial.to_le_bytes();
        board.mac = EthernetAddress([2, e, d, c, b, a]);
    }
    let nic = match row.ethernet {
        Ethernet::Genet => {
            let phy = tree.as_ref().and_then(Tree::phy);
            bring_up_genet(has(genet::ADDRESS), board.mac, phy, &mut arena, clock)
        }
        Ethernet::Usb => bring_up_usb(soc, board.mac, &mut mailbox, &mut arena, clock),
    };
    let mut nic = match nic {
        Ok(nic) => nic,
        Err(reason) => {
            error!("nic: {}", reason);
            give_up(pm, clock);
        }
    };

    if let (true, Some(own)) = (none, nic.own_mac()) {
        board.mac = EthernetAddress(own);
    }

    let memory = payload_region(bank_end, home, tree.as_ref());
    let settings = Settings::from_bootargs(tree.as_ref().and_then(Tree::bootargs).unwrap_or_default());
    let machine = Machine {
        nic: &mut nic,
        clock: &clock,
        console: &mut console,
        memory,
        entropy: &mut entropy,
        board: &board,
        platform: &mut pm,
        observers: &mut [],
    };
    let ending = boot::run(machine, &settings);
    nic.quiesce();
    match ending {
        Ending::Boot(kernel) => {
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
            pm.disarm();
            // SAFETY: the payload region excludes home, and the NIC, the only bus master in use, is quiet.
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
        Ending::PowerOff => {
            info!("boot: a script asks for the board to be switched off");
            log::drain();
            pm.power_off()
        }
    }
}

/// The firmware's device tree, copied out of the way of payloads.
///
/// # Safety
///
/// Memory from 0 to `bank_end` is mapped readable and nothing writes to it.
unsafe fn copy_device_tree(address: usize, bank_end: usize) -> Option<Vec<u8>> {
    if address == 0 || !address.is_multiple_of(8) || address.checked_add(8)? > bank_end {
        return None;
    }
    // SAFETY: eight bytes inside the bank, by the caller's word.
    let head = unsafe { slice::from_raw_parts(address as *const u8, 8) };
    let (magic, size) = head.split_at(4);
    let size = u32::from_be_bytes(size.try_into().ok()?) as usize;
    if magic != [0xd0, 0x0d, 0xfe, 0xed] || size > MAX_DEVICE_TREE || address.checked_add(size)? > bank_end {
        return None;
    }
    // SAFETY: `size` bytes inside the bank, by the caller's word.
    Some(unsafe { slice::from_raw_parts(address as *const u8, size) }.to_vec())
}

/// The device tree, checked. One that cannot be read is not there; `load` says why when it is needed.
fn readable_tree(bytes: &[u8]) -> Option<Tree<'_>> {
    Tree::check(bytes).ok()
}

/// Sets up the UART that the firmware routed to the header, for the log and for a person.
fn open_console(
    soc: Soc,
    emulated: bool,
    stdout: Option<&str>,
    mailbox: &mut Mailbox,
    clock: Clock,
) -> (Console, Kind) {
    // SAFETY: the peripherals are mapped and `soc` is the SoC.
    let (tx, rx) = unsafe { uart::pin_functions(soc) };
    let kind = uart::routed(tx, rx, emulated, stdout);
    let hz = mailbox.clock_rate(if kind == Kind::Mini {
        ClockId::Core
    } else {
        ClockId::Uart
    });
    // SAFETY: as above; log and console run on this core.
    let mut uart = unsafe { Uart::new(soc, kind, clock) };
    uart.set_up(hz);
    log::start(uart);
    (Console::new(uart), kind)
}

/// Says what the board is, and gathers what the boot wants to know of it.
fn describe<'m>(
    soc: Soc,
    mailbox: &mut Mailbox,
    device_tree: Option<&'m [u8]>,
    tree: Option<&Tree<'_>>,
) -> (&'static Row, Board<'m>) {
    let revision = mailbox.board_revision().unwrap_or_default();
    // QEMU's mailbox knows none; the device tree may have what a firmware wrote there.
    let written = || u64::from_str_radix(tree?.serial_number()?, 16).ok();
    let serial = mailbox.serial().filter(|serial| *serial != 0);
    let serial = serial.or_else(written).unwrap_or_default();
    let (row, known) = board::row(soc, revision);
    if !known {
        warn!(
            "board: revision {} is not known on {}: taken for a {}",
            Address(revision.into()),
            soc.name(),
            row.name
        );
    }
    let one_nodes = |mac: &[u8; 6]| EthernetAddress(*mac).is_unicast() && *mac != [0; 6];
    let mac = tree.and_then(Tree::mac).filter(one_nodes);
    let mac = mac.or_else(|| mailbox.mac_address().filter(one_nodes));
    let mac = EthernetAddress(mac.unwrap_or_default());
    let revision_text = Address(revision.into());
    info!(
        "board: {} ({}), revision {}, serial {}, MAC {}",
        row.name,
        soc.name(),
        revision_text,
        Address(serial),
        Mac(mac)
    );
    if let Some((base, size)) = mailbox.arm_memory() {
        info!(
            "board: {} MiB for the ARM at {}",
            size >> 20,
            Address(base.into())
        );
    }
    // Hashing and unpacking want the full speed; the firmware keeps watch over heat and power.
    let arm = mailbox
        .max_clock_rate(ClockId::Arm)
        .and_then(|hz| mailbox.set_clock_rate(ClockId::Arm, hz));
    let (mega, core) = (1_000_000, mailbox.clock_rate(ClockId::Core).unwrap_or_default());
    info!(
        "board: ARM at {} MHz, core at {} MHz",
        arm.unwrap_or_default() / mega,
        core / mega
    );
    if let Some(temperature) = mailbox.temperature() {
        info!(
            "board: {} °C, throttled {}",
            temperature / 1000,
            Address(mailbox.throttled().unwrap_or_default().into())
        );
    }
    (
        row,
        Board {
            model: row.name,
            revision,
            serial,
            mac,
            uart: None,
            device_tree,
        },
    )
}

/// Brings up GENET, unless an emulator has none; its PHY is at the address `phy`, or somewhere.
fn bring_up_genet(
    present: bool,
    mac: EthernetAddress,
    phy: Option<u8>,
    arena: &mut Arena,
    clock: Clock,
) -> Result<Nic, NoNic> {
    if !present {
        return Err(NoNic::NotEmulated);
    }
    // SAFETY: only a BCM2711's row has it, it is there and mapped, taken once.
    let genet = unsafe { Genet::new(arena, clock, mac.0, phy) };
    genet.map(Nic::Genet).map_err(NoNic::Genet)
}

/// Brings up a network interface on USB; the reason in words when there is none.
fn bring_up_usb(
    soc: Soc,
    mac: EthernetAddress,
    mailbox: &mut Mailbox,
    arena: &mut Arena,
    clock: Clock,
) -> Result<Nic, NoNic> {
    mailbox.power_usb().ok_or(NoNic::NoPower)?;
    // SAFETY: powered above, mapped, taken once.
    let usb = unsafe { Dwc2::new(soc, arena, clock) }.map_err(|error| NoNic::Usb(error.into()))?;
    UsbNic::start(Host::new(usb), arena, mac.0)
        .map(Nic::Usb)
        .map_err(NoNic::Usb)
}

/// Why there is no network interface.
enum NoNic {
    NotEmulated,
    Genet(genet::Error),
    NoPower,
    Usb(usbnet::Error),
}

impl fmt::Display for NoNic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEmulated => f.write_str(
                "this emulator lacks the board's GENET; `cargo xtask qemu` builds one that has it",
            ),
            Self::Genet(error) => write!(f, "GENET: {error}"),
            Self::NoPower => f.write_str("the firmware does not power the USB controller"),
            Self::Usb(error) => error.fmt(f),
        }
    }
}

/// Waits, so that a person can read why, then starts over from reset.
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

/// The largest free piece of the first ARM bank: neither page 0, nor ours, nor what the firmware reserves.
fn payload_region(bank_end: usize, home: Home, tree: Option<&Tree<'_>>) -> Region<'static> {
    let mut kept: Vec<Range<u64>> = vec![0..0x1000, home.range().start as u64..home.range().end as u64];
    if let Some(tree) = tree {
        kept.extend(tree.reservations());
    }
    let free = place::payload_region(0..bank_end as u64, &kept);
    let (start, len) = (free.start as usize, (free.end - free.start) as usize);
    info!("memory: {} MiB free at {}", len >> 20, Address(free.start));
    // SAFETY: mapped by entry.S as RAM, free by the arithmetic above, and taken once.
    let bytes = unsafe { slice::from_raw_parts_mut(start as *mut u8, len) };
    // A region below 1 GiB does not wrap.
    Region::new(free.start, bytes).expect("RAM lies below 1 GiB")
}
