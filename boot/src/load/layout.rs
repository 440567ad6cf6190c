//! What is known before anything has its place: what the kernel's file is, Linux's device tree, the memory that this leaves.
//!
//! A tree reserves memory, and so may each overlay on it (crash logs, cameras). Nothing of a payload may lie there: Linux
//! gives it away, or hides it. So all of that is fetched and merged first, and only then is anything placed.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::ops::Range;

use super::device_tree::{self, Tree};
use super::error::Error;
use super::fit::Contents;
use super::overlay::Overlay;
use super::{fixups, kernel, place, uart};
use crate::bootargs;
use crate::hal::Board;
use crate::text::ascii_bytes;
use crate::url::Url;
use crate::work::Tick;

/// The files that decide, each beside where it came from.
pub(super) struct Given<'a> {
    /// The kernel's.
    pub(super) kernel: (&'a Url, &'a [u8]),
    /// The configuration of the kernel's FIT image; the one for the board without.
    pub(super) configuration: Option<&'a str>,
    /// A device tree instead of the firmware's; the kernel's file for what is in it.
    pub(super) device_tree: Option<(&'a Url, &'a [u8])>,
    /// What goes onto either.
    pub(super) overlays: &'a [(&'a Url, &'a [u8])],
}

/// What they come to.
#[derive(Debug)]
pub(super) struct Layout {
    /// The device tree for Linux, without what only the boot itself can say.
    pub(super) tree: Vec<u8>,
    /// What is in the kernel's FIT image.
    pub(super) contents: Option<Contents>,
    /// The addresses that kernel, device tree and initrds may have.
    pub(super) window: Range<u64>,
    /// Where the tree came from; none for the firmware's.
    source: Option<Url>,
    /// Whether that is less than there is.
    crowded: bool,
}

impl Layout {
    /// Plans a boot in `memory`. What is packed is unpacked into `scratch`.
    pub(super) fn new(
        given: &Given<'_>,
        scratch: &mut [u8],
        memory: Range<u64>,
        board: &Board<'_>,
        tick: &mut Tick<'_>,
    ) -> Result<Self, Error> {
        let firmware = board.device_tree.map(Tree::check);
        let usable = firmware.as_ref().and_then(|tree| tree.as_ref().ok());
        let (url, file) = given.kernel;
        let contents = kernel::open(url, file, given.configuration, usable, tick)?;
        // As in U-Boot, a FIT image named once more stands for what is in it.
        let named = given
            .device_tree
            .filter(|(tree, _)| contents.is_none() || *tree != url);
        let served = match (named, &contents) {
            (Some((url, bytes)), _) => Some(Served {
                url,
                bytes,
                overlays: Vec::new(),
            }),
            (None, Some(contents)) => {
                kernel::trees(url, file, contents, scratch, tick)?.map(|trees| Served {
                    url,
                    bytes: trees.base,
                    overlays: trees.overlays,
                })
            }
            (None, None) => None,
        };
        let tree = make_tree(served.as_ref(), given.overlays, firmware, board)?;
        let source = served.map(|served| served.url.clone());
        let reserved: Vec<Range<u64>> = Tree::check(&tree)
            .map(|tree| tree.reservations().collect())
            .map_err(|why| Error::DeviceTree {
                url: source.clone(),
                why,
            })?;
        let window = place::payload_region(memory.clone(), &reserved);
        let crowded = window != memory;
        Ok(Self {
            tree,
            contents,
            window,
            source,
            crowded,
        })
    }

    /// The command line for Linux: the entry's with Linux's names for UARTs, and what only the firmware knows.
    pub(super) fn command_line(&self, entry: &str, board: &Board<'_>) -> Result<String, Error> {
        let tree = Tree::check(&self.tree).map_err(|why| Error::DeviceTree {
            url: self.source.clone(),
            why,
        })?;
        let firmware = board.device_tree.and_then(|tree| Tree::check(tree).ok());
        let firmware = firmware.and_then(|tree| tree.bootargs()).unwrap_or_default();
        let nr_uarts = [entry, firmware]
            .into_iter()
            .find_map(|line| bootargs::value(line, "8250.nr_uarts"));
        let entry = bootargs::with_ports(entry, &mut |name| {
            let port = board.uart.and_then(|routed| uart::called(name, routed));
            match port {
                Some(port) => {
                    let linux = uart::name(port, &tree, nr_uarts);
                    info!("load: {} on the command line is {} for Linux", name, linux);
                    Some(linux)
                }
                None => {
                    warn!(
                        "load: {} on the command line is a name of the Raspberry Pi's firmware, which Linux does not know, and no \
                         such UART is on GPIO 14 and 15 (enable_uart=1 in config.txt)",
                        name
                    );
                    None
                }
            }
        });
        bootargs::merge(&entry, firmware).map_err(Error::CommandLine)
    }

    /// What stands in the way, once the tree and its contents are taken.
    pub(super) fn excuse(&self) -> impl Fn(Error) -> Error + use<> {
        let (source, crowded) = (self.source.clone(), self.crowded);
        let free = self.window.end.saturating_sub(self.window.start);
        move |error| match error {
            Error::NoMemory { .. } | Error::KernelTooBig { .. } | Error::Together { .. } if crowded => {
                Error::DeviceTree {
                    url: source.clone(),
                    why: device_tree::Error::NoRoom { free },
                }
            }
            Error::DeviceTree { url: None, why } => Error::DeviceTree {
                url: source.clone(),
                why,
            },
            error => error,
        }
    }
}

/// A device tree from the server.
struct Served<'a> {
    url: &'a Url,
    bytes: &'a [u8],
    /// The overlays that came with it in a FIT image.
    overlays: Vec<&'a [u8]>,
}

/// The device tree that Linux gets: the served one, else the firmware's, with the overlays and what the board adds. With a
/// served one, an unusable one of the firmware's is only worth a warning.
fn make_tree(
    served: Option<&Served<'_>>,
    overlays: &[(&Url, &[u8])],
    firmware: Option<Result<Tree<'_>, device_tree::Error>>,
    board: &Board<'_>,
) -> Result<Vec<u8>, Error> {
    let (base, firmware) = match (served, firmware) {
        (None, None) => return Err(Error::NoDeviceTree),
        (None, Some(firmware)) => (firmware, None),
        (Some(served), None) => (Tree::check(served.bytes), None),
        (Some(served), Some(Ok(firmware))) => (Tree::check(served.bytes), Some(firmware)),
        (Some(served), Some(Err(why))) => {
            warn!(
                "load: the firmware's device tree {}; only the served one is used",
                why
            );
            (Tree::check(served.bytes), None)
        }
    };
    if let (Some(served), Ok(base), Some(firmware)) = (served, &base, &firmware) {
        compare(served.url, base, firmware);
    }
    let names: Vec<String> = overlays.iter().map(|(url, _)| url.to_string()).collect();
    let bundled = served.iter().flat_map(|served| &served.overlays);
    let bundled = bundled.map(|bytes| Overlay {
        name: "of the FIT image",
        bytes,
    });
    let own = names
        .iter()
        .zip(overlays)
        .map(|(name, (_, bytes))| Overlay { name, bytes });
    let overlays: Vec<Overlay<'_>> = bundled.chain(own).collect();
    base.and_then(|base| fixups::prepared(&base, &overlays, firmware.as_ref(), board))
        .map_err(|why| Error::DeviceTree {
            url: served.map(|served| served.url.clone()),
            why,
        })
}

/// Warns when a tree has no name in common with the board's own: with another board's Linux is silent from its first line.
fn compare(url: &Url, served: &Tree<'_>, own: &Tree<'_>) {
    let is_own = |name: &str| own.compatible().any(|own| own == name);
    let names_one = served.compatible().next().is_some() && own.compatible().next().is_some();
    if names_one && !served.compatible().any(is_own) {
        warn!(
            "load: device tree {} is another board's: it is for {}, and this is {}",
            url,
            listed(served),
            listed(own)
        );
    }
}

/// Names of boards in a line, and characters of each: a served tree may have a megabyte of them, and a line keeps a node from its watchdog.
const NAMED: usize = 4;
const LONGEST_NAME: usize = 64;

/// What a tree is for, as people read it.
fn listed(tree: &Tree<'_>) -> String {
    let mut list = String::new();
    for name in tree.compatible().take(NAMED) {
        if !list.is_empty() {
            list.push_str(" or ");
        }
        list.push_str(&ascii_bytes(name.as_bytes(), LONGEST_NAME));
    }
    list
}
