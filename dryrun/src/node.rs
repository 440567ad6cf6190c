//! The board under trial: its facts, its memory, and the boot, in a thread of its own.

use std::cell::RefCell;
use std::io::Read as _;
use std::ops::Range;
use std::rc::Rc;
use std::sync::mpsc::Sender;

use boot::load::device_tree::Tree;
use boot::load::place;
use boot::{Board, Entropy, Machine, Region, Settings, Uart, menu, script};
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use smoltcp::wire::EthernetAddress;

use crate::clock::Clock;
use crate::desk::{Listener, Shared, Terminal};
use crate::gateway::{Gateway, Nic};
use crate::options::Options;
use crate::trace::{Decision, Told};

/// Free memory begins above page 0, as on the board.
const BASE: u64 = 0x1000;
/// The memory that Bramble takes at the top of the first bank, in bytes.
const HOME: u64 = 16 << 20;

/// A model: what `--board` calls it, its name, what its device tree calls it and its SoC, a revision code that was made,
/// and the first half of its MAC addresses.
pub(crate) struct Model {
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) compatible: [&'static str; 2],
    pub(crate) revision: u32,
    pub(crate) vendor: [u8; 3],
}

const BCM2837: &str = "brcm,bcm2837";
const BCM2711: &str = "brcm,bcm2711";
const PI_3: [u8; 3] = [0xb8, 0x27, 0xeb];
const PI_4: [u8; 3] = [0xdc, 0xa6, 0x32];

/// The models that Bramble runs on, by the names that the firmware gives them; the first is the default.
pub(crate) const MODELS: [Model; 9] = [
    model(
        "4b",
        "Raspberry Pi 4 Model B",
        ["raspberrypi,4-model-b", BCM2711],
        0x00c0_3115,
        PI_4,
    ),
    model(
        "400",
        "Raspberry Pi 400",
        ["raspberrypi,400", BCM2711],
        0x00c0_3130,
        PI_4,
    ),
    model(
        "cm4",
        "Raspberry Pi Compute Module 4",
        ["raspberrypi,4-compute-module", BCM2711],
        0x00c0_3140,
        PI_4,
    ),
    model(
        "3b",
        "Raspberry Pi 3 Model B",
        ["raspberrypi,3-model-b", BCM2837],
        0x00a0_2082,
        PI_3,
    ),
    model(
        "3b+",
        "Raspberry Pi 3 Model B+",
        ["raspberrypi,3-model-b-plus", BCM2837],
        0x00a0_20d3,
        PI_3,
    ),
    model(
        "3a+",
        "Raspberry Pi 3 Model A+",
        ["raspberrypi,3-model-a-plus", BCM2837],
        0x0090_20e0,
        PI_3,
    ),
    model(
        "cm3",
        "Raspberry Pi Compute Module 3",
        ["raspberrypi,3-compute-module", BCM2837],
        0x00a0_20a0,
        PI_3,
    ),
    model(
        "cm3+",
        "Raspberry Pi Compute Module 3+",
        ["raspberrypi,3-compute-module", BCM2837],
        0x00a0_2100,
        PI_3,
    ),
    model(
        "zero2w",
        "Raspberry Pi Zero 2 W",
        ["raspberrypi,model-zero-2-w", BCM2837],
        0x0090_2120,
        PI_3,
    ),
];

const fn model(
    key: &'static str,
    name: &'static str,
    compatible: [&'static str; 2],
    revision: u32,
    vendor: [u8; 3],
) -> Model {
    Model {
        key,
        name,
        compatible,
        revision,
        vendor,
    }
}

impl Model {
    /// The model with this revision code.
    pub(crate) fn of(revision: u32) -> Option<&'static Self> {
        let kind = |revision: u32| revision >> 4 & 0xff;
        MODELS.iter().find(|model| kind(model.revision) == kind(revision))
    }

    /// The UART on the header's pins: the console of the board's own tree; else the one that `enable_uart=1` puts there, because
    /// Bluetooth does not use it.
    fn uart(&self, stdout: Option<&str>) -> Uart {
        match (stdout, self.key) {
            (Some(path), _) if path.ends_with("serial@7e201000") => Uart::Pl011,
            (Some(path), _) if path.ends_with("serial@7e215040") => Uart::Mini,
            (_, "cm3" | "cm3+") => Uart::Pl011,
            _ => Uart::Mini,
        }
    }
}

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
        model: options.model.name,
        revision: revision.unwrap_or(options.model.revision),
        serial: options.serial,
        mac: options.mac,
        uart: Some(options.model.uart(checked.as_ref().and_then(Tree::stdout_path))),
        device_tree: Some(&tree),
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
        platform: &mut Listener {
            shared: shared.clone(),
            clock: clock.clone(),
            told: told.clone(),
            heads: options.heads,
            partial: None,
            any_partial: false,
            wanted: None,
        },
    };
    let settings = Settings {
        url: options.url,
        attempts: Some(1),
        presets: options.presets,
        ..Settings::default()
    };
    let result = boot::run(machine, &settings);
    if let Some(reason) = shared.left_over() {
        return Decision::Fail {
            step: "choose",
            reason,
        };
    }
    match result {
        // [`Event::Boot`] has reported it.
        Ok(_) => Decision::Boot {
            kernel: String::new(),
            initrds: Vec::new(),
            cmdline: String::new(),
            fdt: None,
        },
        Err(error) => decision(&error),
    }
}

/// The outcome of a boot that failed, or did not lead to a kernel.
fn decision(error: &boot::Error) -> Decision {
    let step = match error {
        boot::Error::Reset => return Decision::Reset,
        boot::Error::PowerOff => return Decision::Poweroff,
        boot::Error::Menu(menu::Error::Unsupported(_, menu::Unsupported::LocalBoot)) => {
            return Decision::Local;
        }
        boot::Error::Script(script::Error::Ended(_)) => return Decision::Exit(0),
        // `exit` with a status: all other failures that nobody provided for are unexpected.
        boot::Error::Script(script::Error::Failed(failure)) if failure.expected => {
            return Decision::Exit(failure.errno.0);
        }
        boot::Error::Menu(_) => "menu",
        boot::Error::Fetch(_) => "fetch",
        boot::Error::Verify(_) => "verify",
        boot::Error::Load(_) => "load",
        boot::Error::Script(_) => "script",
    };
    let reason = error.to_string();
    let prefix = format!("{step}: ");
    Decision::Fail {
        step,
        reason: reason.strip_prefix(&prefix).map_or(reason.clone(), Into::into),
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
    property(&mut tree.root, "model", model.name);
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
