//! The board under trial: its facts, its memory, and the boot, in a thread of its own.

use std::cell::RefCell;
use std::io::Read as _;
use std::ops::Range;
use std::rc::Rc;
use std::sync::mpsc::Sender;

use boot::load::device_tree::Tree;
use boot::load::place;
use boot::{Board, Cause, Ending, Entropy, Machine, Region, Settings, Uart, menu, script};
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use smoltcp::wire::EthernetAddress;

use crate::clock::Clock;
use crate::desk::{Desk, Listener, Terminal};
use crate::gateway::{Gateway, Nic};
use crate::model::Model;
use crate::options::Options;
use crate::shared::Shared;
use crate::trace::{Decision, Told, failure};

/// Free memory begins above page 0, as on the board.
const BASE: u64 = 0x1000;
/// The memory that Bramble takes at the top of the first bank, in bytes.
const HOME: u64 = 16 << 20;

/// The system's random numbers.
struct Random;

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        std::fs::File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(bytes))
            .is_ok()
    }
}

/// Boots once, and reports everything.
pub(crate) fn boot(options: Options, told: Sender<Told>) {
    let decision = attempt(options, &told);
    let _ = told.send(Told::End(decision));
}

fn attempt(options: Options, told: &Sender<Told>) -> Decision {
    let (free, tree) = match options.dtb {
        Some(tree) => (Tree::check(&tree).map_or(0..0, |tree| free_memory(&tree)), tree),
        None => {
            let memory = options.memory;
            let tree = device_tree(options.model, options.mac, options.serial, memory);
            (BASE..BASE.saturating_add(memory as u64), tree)
        }
    };
    let checked = Tree::check(&tree).ok();
    let revision = checked.as_ref().and_then(Tree::revision);
    let board = Board {
        model: options.model.name(),
        revision: revision.unwrap_or(options.model.revision),
        serial: options.serial,
        mac: options.mac,
        uart: Some(options.model.uart(checked.as_ref().and_then(Tree::stdout_path))),
        device_tree: Some(&tree),
        handed_over: None,
    };
    let gateway = Gateway::new(options.lease, options.mac, options.site);
    let gateway = Rc::new(RefCell::new(gateway));
    let shared = Rc::new(Shared::new(options.choices));
    let clock = Rc::new(Clock::new(
        gateway.clone(),
        shared.clone(),
        options.patience,
        told.clone(),
    ));
    // The system gives a page only when it is touched.
    let len = usize::try_from(free.end.saturating_sub(free.start)).unwrap_or(0);
    let mut memory = vec![0; len];
    let Some(memory) = Region::new(free.start, &mut memory) else {
        return Decision::Fail {
            step: "memory",
            reason: "more memory than addresses".into(),
        };
    };
    let machine = Machine {
        nic: &mut Nic(gateway),
        clock: &*clock,
        console: &mut Terminal {
            shared: shared.clone(),
            clock: clock.clone(),
        },
        memory,
        entropy: &mut Random,
        board: &board,
        platform: &mut Desk,
        observers: &mut [&mut Listener {
            shared: shared.clone(),
            clock: clock.clone(),
            told: told.clone(),
            heads: options.heads,
            partial: None,
            any_partial: false,
            wanted: None,
        }],
    };
    // As the board reads them, from the arguments in its own tree.
    let said = checked.as_ref().and_then(Tree::bootargs).unwrap_or_default();
    // What the operator would write on cmdline.txt comes last there.
    let (own, presets): (Vec<_>, Vec<_>) = options
        .presets
        .into_iter()
        .partition(|(name, _)| name.starts_with("bramble."));
    let own: String = own
        .iter()
        .map(|(name, value)| format!(" {name}=\"{value}\""))
        .collect();
    let mut came_with = Settings::from_bootargs(&format!("{said} {}{own}", options.cmdline));
    came_with.came_by(checked.as_ref().and_then(Tree::boot_mode));
    let settings = Settings {
        url: options.url.or(came_with.url),
        attempts: Some(1),
        presets,
        ..came_with
    };
    let ending = boot::run(machine, &settings);
    if let Some(reason) = shared.left_over() {
        return Decision::Fail {
            step: "choose",
            reason,
        };
    }
    match ending {
        // [`boot::observe::Event::Boot`] has reported it.
        Ending::Boot(..) => Decision::Boot {
            kernel: String::new(),
            initrds: Vec::new(),
            cmdline: String::new(),
            fdt: None,
        },
        Ending::Reset(Cause::Script) => Decision::Reset,
        Ending::Reset(Cause::GaveUp(_, error)) => decision(&error),
        Ending::Local(_) => Decision::Local,
        Ending::PowerOff => Decision::Poweroff,
    }
}

/// The outcome of a boot that failed, or did not lead to a kernel.
fn decision(error: &boot::Error) -> Decision {
    match error {
        boot::Error::Menu(menu::Error::Unsupported(_, menu::Unsupported::LocalBoot)) => Decision::Local,
        boot::Error::Script(script::Error::Ended(_) | script::Error::EndedInTrouble(_)) => Decision::Exit(0),
        // `exit` with a status: all other failures that nobody provided for are unexpected.
        boot::Error::Script(script::Error::Failed(failure) | script::Error::Left(failure))
            if failure.expected && !failure.ends =>
        {
            Decision::Exit(failure.errno.0)
        }
        error => {
            let (step, reason) = failure(error);
            Decision::Fail { step, reason }
        }
    }
}

/// The free memory of a board with this tree: the largest piece of its first bank without page 0, Bramble's place at the top, and
/// the firmware's reservations.
fn free_memory(tree: &Tree<'_>) -> Range<u64> {
    let bank = tree.memory().next().unwrap_or_default();
    let end = bank.end.min(1 << 30);
    let mut kept = vec![0..BASE, end.saturating_sub(HOME)..end];
    kept.extend(tree.reservations());
    place::payload_region(bank.start..end, &kept)
}

/// A device tree with what the firmware always writes, but without the board's devices.
fn device_tree(model: &Model, mac: EthernetAddress, serial: u64, memory: usize) -> Vec<u8> {
    let mut tree = DeviceTree::new();
    property(&mut tree.root, "#address-cells", 1_u32);
    property(&mut tree.root, "#size-cells", 1_u32);
    property(&mut tree.root, "compatible", model.compatible.as_slice());
    property(&mut tree.root, "model", model.name());
    property(&mut tree.root, "serial-number", format!("{serial:016x}").as_str());
    tree.root.add_child(node("chosen"));
    let mut aliases = node("aliases");
    property(&mut aliases, "ethernet0", "/ethernet");
    let uart = match model.uart(None) {
        Uart::Pl011 => "serial@7e201000",
        Uart::Mini => "serial@7e215040",
    };
    property(&mut aliases, "serial0", format!("/{uart}").as_str());
    tree.root.add_child(node(uart));
    tree.root.add_child(aliases);
    let mut ram = node("memory@0");
    property(&mut ram, "device_type", "memory");
    property(&mut ram, "reg", [0, u32::try_from(memory).unwrap_or(u32::MAX)]);
    tree.root.add_child(ram);
    let mut ethernet = node("ethernet");
    property(&mut ethernet, "local-mac-address", mac.0);
    tree.root.add_child(ethernet);
    tree.to_dtb()
}

fn node(name: &str) -> DeviceTreeNode {
    DeviceTreeNode::new(name).expect("a legal name")
}

fn property(node: &mut DeviceTreeNode, name: &str, value: impl dtoolkit::ToPropertyValue) {
    node.add_property(DeviceTreeProperty::new(name, value).expect("a legal name"));
}
