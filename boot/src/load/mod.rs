//! Kernel, initrds and device tree to where they will run: [`Fetched`] → [`Verified`] → placed → [`Handoff`].
//!
//! Every download goes straight to its place. The one that moves is a compressed kernel: its bytes go to the end of
//! memory, once, and are unpacked from there to where the kernel runs.

pub mod arrange;
pub mod bootargs;
pub mod device_tree;
pub mod gzip;
pub mod image;
pub mod place;

mod fixups;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::fetch::{Get, Response};
use crate::menu::{DeviceTree, Payload};
use crate::url::Url;
use crate::verify::{Expected, Fetched, Verified, verify};
use crate::{Board, Handoff, Region};
use device_tree::Tree;
use place::Address;

/// Random bytes for Linux's `/chosen`.
#[derive(Debug, Clone, Default)]
pub struct Seeds {
    /// `kaslr-seed`; zero when there is no entropy.
    pub kaslr: u64,
    /// `rng-seed`; none when there is no entropy.
    pub rng: Option<[u8; 64]>,
}

impl Seeds {
    /// Draws both from the hardware generator, or leaves them out when it failed.
    pub fn draw(entropy: &mut dyn crate::Entropy) -> Self {
        let (mut kaslr, mut rng) = ([0; 8], [0; 64]);
        if entropy.fill(&mut kaslr) && entropy.fill(&mut rng) {
            Self {
                kaslr: u64::from_le_bytes(kaslr),
                rng: Some(rng),
            }
        } else {
            Self::default()
        }
    }
}

/// Why a payload cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The kernel's file is not one that can run.
    Image {
        /// Where it came from.
        url: Url,
        /// Why it cannot.
        why: image::Error,
    },
    /// The kernel's file cannot be unpacked.
    Gzip {
        /// Where it came from.
        url: Url,
        /// Why it cannot.
        why: gzip::Error,
    },
    /// The kernel takes more memory than there is.
    KernelTooBig {
        /// Where it came from.
        url: Url,
        /// Bytes from the 2 MiB boundary to its end.
        needed: u64,
        /// Bytes that are free there.
        free: u64,
    },
    /// The device tree cannot be used.
    DeviceTree {
        /// Where it came from; none for the firmware's.
        url: Option<Url>,
        /// Why it cannot.
        why: device_tree::Error,
    },
    /// Neither the entry nor the firmware brought a device tree.
    NoDeviceTree,
    /// The command line cannot be handed on.
    CommandLine(bootargs::Error),
    /// Memory ends where something should begin.
    NoMemory {
        /// What was to be placed.
        what: Expected,
        /// How many bytes were free.
        free: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { url, why } => write!(f, "load: kernel {url}: {why}"),
            Self::Gzip { url, why } => write!(f, "load: kernel {url}: {why}"),
            Self::KernelTooBig { url, needed, free } => {
                write!(
                    f,
                    "load: kernel {url} needs {needed} bytes of memory; {free} are free"
                )
            }
            Self::DeviceTree { url: Some(url), why } => write!(f, "load: device tree {url} {why}"),
            Self::DeviceTree { url: None, why } => write!(f, "load: the firmware's device tree {why}"),
            Self::NoDeviceTree => {
                f.write_str("load: no device tree: the firmware passed none and the entry names none (FDT)")
            }
            Self::CommandLine(why) => write!(f, "load: {why}"),
            Self::NoMemory { what, free } => {
                write!(f, "load: no place for {what}: only {free} bytes are free")
            }
        }
    }
}

impl core::error::Error for Error {}

/// Fetches and places everything that `payload` names.
pub fn load(
    payload: &Payload,
    memory: Region<'_>,
    board: &Board<'_>,
    seeds: &Seeds,
    get: &mut Get<'_>,
) -> Result<Handoff, crate::Error> {
    let firmware = board.device_tree.map(Tree::check);
    let command_line = command_line(&payload.command_line, firmware.as_ref())?;
    let no_room = no_memory(Expected::Kernel, &memory);
    let room = place::kernel_room(memory).ok_or(no_room)?;
    let kernel = fetch(&payload.kernel, room, Expected::Kernel, get)?;
    let (kernel, free) = place_kernel(kernel)?;
    let no_slot = no_memory(Expected::DeviceTree, &free);
    let (mut slot, free) = place::device_tree_slot(free).ok_or(no_slot)?;
    let served = match &payload.device_tree {
        DeviceTree::Served(url) => Some(fetch(url, slot.reborrow(), Expected::DeviceTree, get)?),
        DeviceTree::FirstOf(urls) => first_of(urls, slot.reborrow(), get)?,
        DeviceTree::Firmware => None,
    };
    if !payload.overlays.is_empty() {
        warn!("load: device tree overlays are not supported: booting without them");
    }
    let trees = Trees::choose(served.as_ref(), firmware)?;
    let initrd = load_initrds(&payload.initrds, free, get)?;
    let boot = fixups::Boot {
        command_line: &command_line,
        initrd,
        seeds,
        board,
    };
    let dtb = make_tree(trees, &boot)?;
    finish(&dtb, kernel, slot, &boot)
}

/// What a script has downloaded, each file where it may stay.
#[derive(Debug)]
pub struct Files<'m> {
    /// The kernel, at a 2 MiB boundary; its room ends where the initrds begin.
    pub kernel: Fetched<'m>,
    /// Files for the initial ramdisk, one behind the other.
    pub initrds: Vec<(Fetched<'m>, Expected)>,
    /// The addresses from the first to the last byte of those.
    pub initrd: Option<Range<u64>>,
    /// A device tree instead of the firmware's.
    pub device_tree: Option<Fetched<'m>>,
}

/// Places what is already there.
pub fn start(
    files: Files<'_>,
    arguments: &str,
    board: &Board<'_>,
    seeds: &Seeds,
) -> Result<Handoff, crate::Error> {
    let firmware = board.device_tree.map(Tree::check);
    let command_line = command_line(arguments, firmware.as_ref())?;
    for (file, expected) in files.initrds {
        verify(file, expected)?;
    }
    let served = files
        .device_tree
        .map(|file| verify(file, Expected::DeviceTree))
        .transpose()?;
    let (kernel, free) = place_kernel(verify(files.kernel, Expected::Kernel)?)?;
    let no_slot = no_memory(Expected::DeviceTree, &free);
    let (slot, _) = place::device_tree_slot(free).ok_or(no_slot)?;
    let trees = Trees::choose(served.as_ref(), firmware)?;
    let boot = fixups::Boot {
        command_line: &command_line,
        initrd: files.initrd,
        seeds,
        board,
    };
    let dtb = make_tree(trees, &boot)?;
    finish(&dtb, kernel, slot, &boot)
}

/// The command line for Linux: the entry's, and what only the firmware knows.
fn command_line(
    entry: &str,
    firmware: Option<&Result<Tree<'_>, device_tree::Error>>,
) -> Result<String, Error> {
    let bootargs = match firmware {
        Some(Ok(tree)) => tree.bootargs().unwrap_or_default(),
        _ => "",
    };
    bootargs::merge(entry, bootargs).map_err(Error::CommandLine)
}

/// The device tree that Linux gets.
fn make_tree(trees: Trees<'_>, boot: &fixups::Boot<'_>) -> Result<Vec<u8>, Error> {
    fixups::for_linux(&trees.base, trees.firmware.as_ref(), boot)
        .map_err(|why| Error::DeviceTree { url: trees.url, why })
}

/// Puts the device tree into its slot, and says what was done.
fn finish(
    dtb: &[u8],
    kernel: Range<u64>,
    slot: Region<'_>,
    boot: &fixups::Boot<'_>,
) -> Result<Handoff, crate::Error> {
    let device_tree = write(dtb, slot).ok_or(Error::NoMemory {
        what: Expected::DeviceTree,
        free: place::BLOCK,
    })?;
    // It may hold bytes of a damaged device tree, and a terminal would obey them.
    let visible = |c| if matches!(c, ' '..='~') { c } else { '?' };
    let shown: String = boot.command_line.chars().map(visible).collect();
    info!("load: command line \"{}\"", shown);
    let mut written = vec![kernel.clone(), device_tree.clone()];
    written.extend(boot.initrd.clone());
    for (what, range) in ["kernel", "device tree", "initrd"].iter().zip(&written) {
        let len = range.end.saturating_sub(range.start);
        info!("load: {} at {}, {} bytes", what, Address(range.start), len);
    }
    Ok(Handoff {
        entry: kernel.start,
        device_tree: device_tree.start,
        written,
    })
}

/// The device trees that a boot is made from.
struct Trees<'a> {
    /// Where the base comes from; none for the firmware.
    url: Option<Url>,
    /// The tree that Linux gets, before the fix-ups.
    base: Tree<'a>,
    /// The firmware's tree, when the base is another one.
    firmware: Option<Tree<'a>>,
}

impl<'a> Trees<'a> {
    /// The served tree is the base when there is one; then an unusable one of the firmware's is only worth a warning.
    fn choose(
        served: Option<&'a Verified<'_>>,
        firmware: Option<Result<Tree<'a>, device_tree::Error>>,
    ) -> Result<Self, Error> {
        let url = served.map(|served| served.url().clone());
        let (base, firmware) = match (served, firmware) {
            (None, None) => return Err(Error::NoDeviceTree),
            (None, Some(firmware)) => (firmware, None),
            (Some(served), None) => (Tree::check(served.bytes()), None),
            (Some(served), Some(Ok(firmware))) => (Tree::check(served.bytes()), Some(firmware)),
            (Some(served), Some(Err(why))) => {
                warn!(
                    "load: the firmware's device tree {}; only the served one is used",
                    why
                );
                (Tree::check(served.bytes()), None)
            }
        };
        match base {
            Ok(base) => Ok(Self { url, base, firmware }),
            Err(why) => Err(Error::DeviceTree { url, why }),
        }
    }
}

/// Copies `bytes` to the start of `room` and returns their addresses; `None` when they do not fit.
fn write(bytes: &[u8], mut room: Region<'_>) -> Option<Range<u64>> {
    room.bytes_mut().get_mut(..bytes.len())?.copy_from_slice(bytes);
    let (placed, _) = room.split_at(bytes.len())?;
    Some(placed.range())
}

fn no_memory(what: Expected, free: &Region<'_>) -> Error {
    Error::NoMemory {
        what,
        free: free.len() as u64,
    }
}

/// Downloads to the start of `room` what must be `expected`.
fn fetch<'m>(
    url: &Url,
    mut room: Region<'m>,
    expected: Expected,
    get: &mut Get<'_>,
) -> Result<Verified<'m>, crate::Error> {
    let Response { url, len } = get(url, room.bytes_mut())?;
    Ok(verify(Fetched { url, room, len }, expected)?)
}

/// Downloads the first device tree that is there; none when the server has none of them.
fn first_of<'m>(
    urls: &[Url],
    room: Region<'m>,
    get: &mut Get<'_>,
) -> Result<Option<Verified<'m>>, crate::Error> {
    let mut room = room;
    for url in urls {
        match get(url, room.bytes_mut()) {
            Ok(Response { url, len }) => {
                return Ok(Some(verify(Fetched { url, room, len }, Expected::DeviceTree)?));
            }
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let (Some(first), Some(last)) = (urls.first(), urls.last()) {
        warn!(
            "load: no device tree for this board from {} to {}; taking the firmware's",
            first, last
        );
    }
    Ok(None)
}

/// Makes a kernel at a 2 MiB boundary ready to run there. Returns the addresses that it occupies, its entry first, and
/// the memory behind it.
fn place_kernel(file: Verified<'_>) -> Result<(Range<u64>, Region<'_>), crate::Error> {
    let (url, mut room, len) = file.into_parts();
    let len = if gzip::is_gzip(room.bytes()) {
        unpack(room.bytes_mut(), len).map_err(|why| Error::Gzip {
            url: url.clone(),
            why,
        })?
    } else {
        len
    };
    let file = room.bytes().get(..len).unwrap_or_default();
    let image = image::parse(file).map_err(|why| Error::Image {
        url: url.clone(),
        why,
    })?;
    let needed = image.text_offset.saturating_add(image.size);
    let too_big = Error::KernelTooBig {
        url,
        needed,
        free: room.len() as u64,
    };
    let (offset, end) = match (usize::try_from(image.text_offset), usize::try_from(needed)) {
        (Ok(offset), Ok(end)) if end <= room.len() => (offset, end),
        _ => return Err(too_big.into()),
    };
    // Only kernels before Linux 5.8 have a text offset, so only they pay for this copy.
    if offset != 0 {
        room.bytes_mut().copy_within(..len, offset);
    }
    let (placed, rest) = room.split_at(end).ok_or(too_big)?;
    let start = placed.range().start.saturating_add(image.text_offset);
    Ok((start..placed.range().end, rest))
}

/// Unpacks the gzip file in the first `len` bytes of `room` to the start of `room`, at the cost of one copy of the
/// compressed bytes, and returns how many came out.
fn unpack(room: &mut [u8], len: usize) -> Result<usize, gzip::Error> {
    let at = room.len().saturating_sub(len);
    room.copy_within(..len.min(room.len()), at);
    let (output, file) = room.split_at_mut_checked(at).unwrap_or_default();
    gzip::unpack(file, output)
}

/// Downloads the initrds one behind the other and returns the addresses from the first to the last byte.
fn load_initrds(
    urls: &[Url],
    mut free: Region<'_>,
    get: &mut Get<'_>,
) -> Result<Option<Range<u64>>, crate::Error> {
    let mut all: Option<Range<u64>> = None;
    for url in urls {
        let no_room = no_memory(Expected::Initrd, &free);
        let room = place::initrd_room(free).ok_or(no_room)?;
        let (_, room, len) = fetch(url, room, Expected::Initrd, get)?.into_parts();
        let no_room = no_memory(Expected::Initrd, &room);
        let (placed, rest) = room.split_at(len).ok_or(no_room)?;
        let start = all.map_or(placed.range().start, |before| before.start);
        all = Some(start..placed.range().end);
        free = rest;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use dtoolkit::fdt::Fdt;
    use dtoolkit::{Node, Property};
    use smoltcp::wire::EthernetAddress;

    use super::*;

    /// A server with these files, each beside its URL.
    struct Server(Vec<(&'static str, Vec<u8>)>);

    impl Server {
        fn get(&self, url: &Url, into: &mut [u8]) -> Result<Response, crate::fetch::Error> {
            let name = url.to_string();
            let (_, file) = self.0.iter().find(|(path, _)| name.ends_with(path)).unwrap();
            into[..file.len()].copy_from_slice(file);
            Ok(Response {
                url: url.clone(),
                len: file.len(),
            })
        }
    }

    const BASE: u64 = 0x1000;
    const MEMORY: usize = 16 << 20;
    const SEEDS: Seeds = Seeds { kaslr: 1, rng: None };

    fn url(path: &str) -> Url {
        Url::parse(&format!("http://boot{path}")).unwrap()
    }

    fn payload(initrds: &[&str], device_tree: Option<&str>) -> Payload {
        Payload {
            kernel: url("/kernel"),
            configuration: None,
            initrds: initrds.iter().map(|path| url(path)).collect(),
            device_tree: device_tree.map_or(DeviceTree::Firmware, |path| DeviceTree::Served(url(path))),
            overlays: Vec::new(),
            command_line: "quiet root=/dev/nfs".into(),
        }
    }

    /// Loads, checks what must hold of every handoff, and returns it with the memory.
    fn run(
        server: &Server,
        payload: &Payload,
        firmware: Option<&[u8]>,
    ) -> Result<(Handoff, Vec<u8>), String> {
        let mut bytes = vec![0xa5; MEMORY];
        let board = Board {
            model: "test",
            revision: 0,
            serial: 1,
            mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
            device_tree: firmware,
        };
        let memory = Region::new(BASE, &mut bytes).unwrap();
        let all = memory.range();
        let handoff = load(payload, memory, &board, &SEEDS, &mut |url, into| {
            server.get(url, into)
        })
        .map_err(|e| e.to_string())?;
        let mut end = all.start;
        for range in &handoff.written {
            assert!(
                end <= range.start && range.start < range.end,
                "{:?}",
                handoff.written
            );
            end = range.end;
        }
        assert!(end <= all.end);
        assert_eq!(handoff.entry, handoff.written[0].start);
        assert_eq!(handoff.device_tree, handoff.written[1].start);
        assert_eq!(handoff.device_tree % (2 << 20), 0);
        Ok((handoff, bytes))
    }

    fn firmware() -> Vec<u8> {
        device_tree::tests::firmware().to_dtb()
    }

    fn at(bytes: &[u8], address: u64, len: usize) -> &[u8] {
        &bytes[(address - BASE) as usize..][..len]
    }

    fn chosen(handoff: &Handoff, bytes: &[u8], name: &str) -> Option<Vec<u8>> {
        let range = &handoff.written[1];
        let dtb = at(bytes, range.start, (range.end - range.start) as usize);
        let tree = Fdt::new(dtb).unwrap();
        let value = tree
            .find_node("/chosen")
            .unwrap()
            .property(name)?
            .value()
            .to_vec();
        Some(value)
    }

    #[test]
    fn kernel_device_tree_and_initrds_lie_in_this_order_and_apart() {
        let kernel = image::tests::golden(0, 0x30_0000);
        let server = Server(vec![
            ("/kernel", kernel.clone()),
            ("/first", vec![1; 5000]),
            ("/second", vec![2; 4096]),
            ("/third", vec![3; 1]),
        ]);
        let payload = payload(&["/first", "/second", "/third"], None);
        let (handoff, bytes) = run(&server, &payload, Some(&firmware())).unwrap();
        assert_eq!(handoff.entry, 0x20_0000);
        assert_eq!(handoff.written[0], 0x20_0000..0x50_0000);
        assert_eq!(handoff.device_tree, 0x60_0000);
        assert_eq!(handoff.written[2], 0x80_0000..0x80_3001);
        assert_eq!(at(&bytes, 0x20_0000, kernel.len()), kernel);
        let mut initrd = vec![1; 5000];
        initrd.resize(8192, 0);
        initrd.extend([2; 4096]);
        initrd.push(3);
        assert_eq!(at(&bytes, 0x80_0000, 0x3001), initrd);
        assert_eq!(
            chosen(&handoff, &bytes, "linux,initrd-start").unwrap(),
            0x80_0000_u64.to_be_bytes()
        );
        assert_eq!(
            chosen(&handoff, &bytes, "linux,initrd-end").unwrap(),
            0x80_3001_u64.to_be_bytes()
        );
        assert_eq!(
            chosen(&handoff, &bytes, "bootargs").unwrap(),
            b"quiet root=/dev/nfs coherent_pool=1M vc_mem.mem_size=0x3f000000\0"
        );
    }

    #[test]
    fn a_compressed_kernel_runs_where_a_raw_one_would() {
        let kernel = image::tests::golden(0, 0x30_0000);
        let server = Server(vec![("/kernel", gzip::tests::member(&kernel))]);
        let (handoff, bytes) = run(&server, &payload(&[], None), Some(&firmware())).unwrap();
        assert_eq!(handoff.written[0], 0x20_0000..0x50_0000);
        assert_eq!(at(&bytes, 0x20_0000, kernel.len()), kernel);
        assert_eq!(chosen(&handoff, &bytes, "linux,initrd-start"), None);
    }

    #[test]
    fn a_compressed_kernel_may_fill_most_of_memory() {
        // Incompressible, so that the compressed bytes overlap the place they are moved to.
        let mut kernel = image::tests::golden(0, 64);
        let mut state = 1_u64;
        kernel.extend((0..6 << 20).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        }));
        let server = Server(vec![("/kernel", gzip::tests::member(&kernel))]);
        let (handoff, bytes) = run(&server, &payload(&[], None), Some(&firmware())).unwrap();
        assert_eq!(at(&bytes, handoff.entry, kernel.len()), kernel);
    }

    #[test]
    fn a_text_offset_moves_the_kernel() {
        let kernel = image::tests::golden(0x8_0000, 0x10_0000);
        let server = Server(vec![("/kernel", kernel.clone())]);
        let (handoff, bytes) = run(&server, &payload(&[], None), Some(&firmware())).unwrap();
        assert_eq!(handoff.written[0], 0x28_0000..0x38_0000);
        assert_eq!(at(&bytes, 0x28_0000, kernel.len()), kernel);
    }

    #[test]
    fn a_served_device_tree_replaces_the_firmwares_and_needs_none() {
        let server = Server(vec![
            ("/kernel", image::tests::golden(0, 0x30_0000)),
            ("/dtb", firmware()),
        ]);
        let payload = payload(&[], Some("/dtb"));
        let (handoff, bytes) = run(&server, &payload, None).unwrap();
        assert_eq!(
            chosen(&handoff, &bytes, "bootargs").unwrap(),
            b"quiet root=/dev/nfs\0"
        );
        // An absurd tree of the firmware's is no reason not to boot with the server's.
        run(&server, &payload, Some(b"nonsense")).unwrap();
    }

    #[test]
    fn each_refusal_is_one_line_with_the_step_the_url_and_the_reason() {
        let image = image::tests::golden(0, 0x30_0000);
        let golden = gzip::tests::member(&image);
        let mut corrupt = golden.clone();
        let end = corrupt.len();
        corrupt[end - 8] ^= 1;
        let line = |kernel: &[u8], firmware: Option<&[u8]>, dtb: &[u8]| {
            let server = Server(vec![("/kernel", kernel.into()), ("/dtb", dtb.into())]);
            let tree = (!dtb.is_empty()).then_some("/dtb");
            run(&server, &payload(&[], tree), firmware)
                .map(|_| ())
                .unwrap_err()
        };
        let own = firmware();
        let own = Some(own.as_slice());
        assert_eq!(
            line(b"<html><body>It works!", own, b""),
            "verify: http://boot/kernel is an HTML page, not a kernel"
        );
        assert_eq!(
            line(&image[..0x1000], own, b""),
            "load: kernel http://boot/kernel: truncated kernel: 4096 of at least 6144 bytes"
        );
        assert_eq!(
            line(&golden[..500], own, b""),
            "load: kernel http://boot/kernel: gzip file is truncated"
        );
        assert_eq!(
            line(&corrupt, own, b""),
            "load: kernel http://boot/kernel: gzip file is corrupt: the CRC-32 differs"
        );
        assert_eq!(
            line(b"\x7fELF\x02\x01\x01\0", own, b""),
            "load: kernel http://boot/kernel: is an ELF file, not an arm64 Image"
        );
        assert_eq!(
            line(&image::tests::golden(0, u64::MAX), own, b""),
            "load: kernel http://boot/kernel needs 18446744073709551615 bytes of memory; 14684160 are free"
        );
        assert_eq!(
            line(&image::tests::golden(0, (14 << 20) - 4096), own, b""),
            "load: no place for a device tree: only 8192 bytes are free"
        );
        assert_eq!(
            line(&image, None, b""),
            "load: no device tree: the firmware passed none and the entry names none (FDT)"
        );
        assert_eq!(
            line(&image, Some(b"\0\0"), b""),
            "load: the firmware's device tree is not a device tree"
        );
        assert_eq!(
            line(&image, own, &firmware()[..500]),
            format!(
                "load: device tree http://boot/dtb is truncated: 500 of {} bytes",
                firmware().len()
            )
        );
    }

    #[test]
    fn a_command_line_that_linux_would_cut_is_refused() {
        let server = Server(vec![("/kernel", image::tests::golden(0, 0x30_0000))]);
        let mut payload = payload(&[], None);
        payload.command_line = "x".repeat(2048);
        assert_eq!(
            run(&server, &payload, Some(&firmware())).unwrap_err(),
            "load: command line has 2093 bytes; Linux takes 2048"
        );
    }

    #[test]
    fn every_changed_header_byte_is_an_error_or_a_sound_handoff() {
        let golden = image::tests::golden(0, 0x30_0000);
        let firmware = firmware();
        for at in 0..64 {
            for flip in [1, 0x80] {
                let mut kernel = golden.clone();
                kernel[at] ^= flip;
                let server = Server(vec![("/kernel", kernel)]);
                let _ = run(&server, &payload(&[], None), Some(&firmware));
            }
        }
    }
}
