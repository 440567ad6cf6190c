//! Kernel, initrds and device tree to where they will run: [`Parts`], each [`Verified`] → placed → [`Handoff`]. Menus and scripts
//! both end here (D-166).
//!
//! Device trees and overlays are read first, because they say where nothing else may lie (D-115). Downloads in the usual order
//! lie right already, and nothing moves; what does not is arranged (D-57). A compressed kernel or a FIT image then goes to the
//! end of its room and is unpacked from there to where the kernel runs (D-30, D-68).

pub mod arrange;
pub mod device_tree;
pub mod fit;
pub mod foreign;
pub mod gzip;
pub mod image;
pub mod overlay;
pub mod pe;
pub mod place;
pub mod uimage;
pub mod zboot;

pub(crate) mod edit;
mod error;
mod fixups;
mod formats;
pub(crate) mod kernel;
mod layout;
mod uart;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::hal::Board;
use crate::handoff::Handoff;
use crate::memory::{Address, Region};
use crate::random::Seeds;
use crate::text::ascii;
use crate::url::Url;
use crate::verify::{Expected, Verified};
use crate::work::{Tick, copy};
use arrange::{Piece, Space, arrange};
use device_tree::Tree;
pub use error::Error;
use kernel::{Bundle, Kernel};
use layout::Layout;
use uimage::ImageType;

/// What boots together: every file was fetched and verified, and lies somewhere in payload memory.
#[derive(Debug)]
pub struct Parts {
    /// The kernel, or a FIT image.
    pub kernel: Verified,
    /// Which configuration of a FIT image; none is its default.
    pub configuration: Option<String>,
    /// Initial ramdisks in order; they are concatenated.
    pub initrds: Vec<Initrd>,
    /// A device tree instead of the firmware's. The kernel's own file stands for what is in it.
    pub device_tree: Option<Verified>,
    /// Device tree overlays, to be applied in order.
    pub overlays: Vec<Verified>,
    /// The command line, but for what the firmware adds.
    pub command_line: String,
    /// Whether any were moved, and may be unpacked over each other: then nothing in payload memory is what it was.
    pub moved: bool,
}

/// A part of the initial ramdisk.
#[derive(Debug)]
pub struct Initrd {
    /// Its file.
    pub file: Verified,
    /// The headers that make a file in an archive of it; empty for what is an archive itself.
    pub headers: Vec<u8>,
}

/// Places `parts` in `memory`, in which they lie, and makes them ready to run. `tick` hears of the work (D-169).
pub fn load(
    parts: &mut Parts,
    mut memory: Region<'_>,
    board: &Board<'_>,
    seeds: &Seeds,
    tick: &mut Tick<'_>,
) -> Result<Handoff, Error> {
    let range = memory.range();
    // Of a FIT image the packed trees are unpacked first, wherever no part lies.
    let kernel = memory.bytes().get(parts.kernel.at()).unwrap_or_default();
    parts.moved = fit::is_fit(kernel);
    let layout = layout(parts, memory.bytes_mut(), range.clone(), board, tick)?;
    let command_line = layout.command_line(&parts.command_line, board)?;
    let excuse = layout.excuse();
    parts.moved = true;
    unwrap_initrds(parts, memory.bytes_mut(), tick)?;
    let window = memory_offset(&range, layout.window.start)..memory_offset(&range, layout.window.end);
    let space = Space {
        bytes: memory.bytes_mut(),
        base: range.start,
        window: window.clone(),
    };
    if !in_place(parts, space, tick) {
        return Err(excuse(Error::Together {
            free: window.len() as u64,
        }));
    }
    let initrd = initrd_addresses(parts, range.start);
    let no_room = no_memory(Expected::Kernel, &memory);
    let behind = parts.initrds.first().map_or(window.end, Initrd::start);
    let at = parts.kernel.at();
    let (below, _) = memory.split_at(behind).ok_or(no_room.clone())?;
    let (_, room) = below.split_at(at.start).ok_or(no_room)?;
    let Layout { tree, contents, .. } = layout;
    let url = parts.kernel.url().clone();
    let kernel = kernel::place(url, room, at.len(), contents, tick).map_err(&excuse)?;
    let Kernel { placed, free, bundle } = kernel;
    let (slot, free) = slot(free).map_err(&excuse)?;
    let ramdisk = bundle.as_ref().and_then(Bundle::ramdisk);
    let initrd = match ramdisk.filter(|_| initrd.is_none()) {
        Some(ramdisk) => Some(place_ramdisk(ramdisk, free, tick).map_err(&excuse)?),
        None => initrd,
    };
    let chosen = fixups::ChosenNode {
        command_line: &command_line,
        initrd,
        seeds,
    };
    finish(tree, placed, slot, &chosen, tick).map_err(excuse)
}

/// What the kernel's file and the device trees come to, before anything moves. What is packed in a FIT image is unpacked into
/// the largest piece of memory in which no part lies.
fn layout(
    parts: &Parts,
    bytes: &mut [u8],
    memory: Range<u64>,
    board: &Board<'_>,
    tick: &mut Tick<'_>,
) -> Result<Layout, Error> {
    let files = parts.initrds.iter().map(|initrd| &initrd.file);
    let files = files
        .chain([&parts.kernel])
        .chain(&parts.device_tree)
        .chain(&parts.overlays);
    let taken: Vec<Range<u64>> = files
        .map(|file| file.at().start as u64..file.at().end as u64)
        .collect();
    let free = place::payload_region(0..bytes.len() as u64, &taken);
    let offset = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let free = offset(free.start)..offset(free.end);
    let (below, rest) = bytes.split_at_mut_checked(free.start).unwrap_or_default();
    let (scratch, above) = rest.split_at_mut_checked(free.len()).unwrap_or_default();
    let (below, above) = (&*below, &*above);
    let given = |file: &'_ Verified| {
        let at = file.at();
        match (at.start.checked_sub(free.end), at.end.checked_sub(free.end)) {
            (Some(start), Some(end)) => above.get(start..end),
            _ => below.get(at),
        }
        .unwrap_or_default()
    };
    let overlays: Vec<(&Url, &[u8])> = parts
        .overlays
        .iter()
        .map(|file| (file.url(), given(file)))
        .collect();
    let given = layout::Given {
        kernel: (parts.kernel.url(), given(&parts.kernel)),
        configuration: parts.configuration.as_deref(),
        device_tree: parts.device_tree.as_ref().map(|file| (file.url(), given(file))),
        overlays: &overlays,
    };
    Layout::new(&given, scratch, memory, board, tick)
}

/// Takes U-Boot's wrapper off each initrd that has one.
fn unwrap_initrds(parts: &mut Parts, bytes: &mut [u8], tick: &mut Tick<'_>) -> Result<(), Error> {
    for Initrd { file, headers } in &mut parts.initrds {
        let at = file.at();
        // What is a file in the archive stays what it is.
        if !headers.is_empty() {
            continue;
        }
        let room = bytes.get_mut(at.clone()).unwrap_or_default();
        let len = uimage::unwrap(room, at.len(), ImageType::Ramdisk, tick).map_err(|why| Error::Uimage {
            kind: ImageType::Ramdisk,
            url: file.url().clone(),
            why,
        })?;
        file.moved(at.start..at.start.saturating_add(len));
    }
    Ok(())
}

/// Moves the parts to where they are wanted inside of the window, and writes the headers of those that have some. False when
/// there is no room.
fn in_place(parts: &mut Parts, mut space: Space<'_>, tick: &mut Tick<'_>) -> bool {
    let piece = |at: Range<usize>, headers: usize| Piece {
        at: at.start,
        len: at.len(),
        front: place::pages(headers),
    };
    let mut kernel = piece(parts.kernel.at(), 0);
    let room = kernel::room(space.bytes.get(parts.kernel.at()).unwrap_or_default());
    let initrds = parts.initrds.iter();
    let mut rest: Vec<Piece> = initrds
        .map(|initrd| piece(initrd.file.at(), initrd.headers.len()))
        .collect();
    let done = arrange(&mut space, &mut kernel, &mut rest, room, tick);
    parts.kernel.moved(kernel.at..kernel.end());
    for (initrd, piece) in parts.initrds.iter_mut().zip(&rest) {
        initrd.file.moved(piece.at..piece.end());
    }
    for Initrd { file, headers } in parts.initrds.iter().filter(|_| done) {
        let at = file.at().start;
        let front = space.bytes.get_mut(at.saturating_sub(headers.len())..at);
        if let Some(front) = front.filter(|front| front.len() == headers.len()) {
            front.copy_from_slice(headers);
        }
    }
    done
}

/// The addresses of the initial ramdisk, from the first byte of the first to the last byte of the last.
fn initrd_addresses(parts: &Parts, base: u64) -> Option<Range<u64>> {
    let address = |offset: usize| base.saturating_add(offset as u64);
    let (first, last) = (parts.initrds.first()?, parts.initrds.last()?);
    Some(address(first.start())..address(last.file.at().end))
}

impl Initrd {
    /// The offset of the first page that is its own, that of its headers.
    fn start(&self) -> usize {
        let front = place::pages(self.headers.len());
        self.file.at().start.saturating_sub(front)
    }
}

/// Where an address is in memory of that range.
fn memory_offset(memory: &Range<u64>, address: u64) -> usize {
    usize::try_from(address.saturating_sub(memory.start)).unwrap_or(usize::MAX)
}

/// The device tree's slot, and the memory behind it.
fn slot(free: Region<'_>) -> Result<(Region<'_>, Region<'_>), Error> {
    let no_slot = no_memory(Expected::DeviceTree, &free);
    place::device_tree_slot(free).ok_or(no_slot)
}

/// Puts the device tree into its slot, and says what was done.
fn finish(
    prepared: Vec<u8>,
    kernel: Range<u64>,
    slot: Region<'_>,
    chosen: &fixups::ChosenNode<'_>,
    tick: &mut Tick<'_>,
) -> Result<Handoff, Error> {
    let broken = |why| Error::DeviceTree { url: None, why };
    let dtb = fixups::finished(prepared, chosen).map_err(broken)?;
    let device_tree = write(&dtb, slot, tick).ok_or(Error::NoMemory {
        what: Expected::DeviceTree,
        free: place::BLOCK,
    })?;
    // It may hold bytes of a damaged device tree.
    info!("load: command line \"{}\"", ascii(chosen.command_line));
    let mut written = vec![kernel.clone(), device_tree.clone()];
    written.extend(chosen.initrd.clone());
    for (what, range) in ["kernel", "device tree", "initrd"].iter().zip(&written) {
        let len = range.end.saturating_sub(range.start);
        info!("load: {} at {}, {} bytes", what, Address(range.start), len);
    }
    if let Ok(tree) = Tree::check(&dtb) {
        for name in place::without_room(&tree, &written) {
            warn!(
                "load: the device tree asks for memory for {}, and what boots leaves no room for it",
                ascii(name)
            );
        }
    }
    Ok(Handoff {
        entry: kernel.start,
        device_tree: device_tree.start,
        written,
        command_line: chosen.command_line.into(),
    })
}

/// Copies `bytes` to the start of `room` and returns their addresses; `None` when they do not fit.
fn write(bytes: &[u8], mut room: Region<'_>, tick: &mut Tick<'_>) -> Option<Range<u64>> {
    copy(bytes, room.bytes_mut(), tick)?;
    let (placed, _) = room.split_at(bytes.len())?;
    Some(placed.range())
}

fn no_memory(what: Expected, free: &Region<'_>) -> Error {
    Error::NoMemory {
        what,
        free: free.len() as u64,
    }
}

/// Copies the initial ramdisk of a FIT image to its place, and returns its addresses.
fn place_ramdisk(ramdisk: &[u8], free: Region<'_>, tick: &mut Tick<'_>) -> Result<Range<u64>, Error> {
    let no_room = no_memory(Expected::Initrd, &free);
    let room = place::initrd_room(free).ok_or(no_room)?;
    let no_room = no_memory(Expected::Initrd, &room);
    write(ramdisk, room, tick).ok_or(no_room)
}
