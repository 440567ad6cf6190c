//! plan → fetch → verify: everything that a plan names, into payload memory, each file verified as soon as it is there.
//!
//! Device trees and overlays come first, because they are small and decide whether the rest is worth its time; they wait at the end
//! of memory. The kernel and the initial ramdisks go straight to where they may stay (D-166).

use alloc::vec::Vec;

use crate::Error;
use crate::bootargs;
use crate::fetch::{self, Method, Reason, Request, Response, Sink};
use crate::load::overlay::MAX_OVERLAYS;
use crate::load::{self, Initrd, Parts, arrange, fit, kernel, place};
use crate::memory::Region;
use crate::node::Node;
use crate::plan::{DeviceTree, File, Plan};
use crate::url::{Scheme, Url};
use crate::verify::{self, Expected, Fetched, Needs, Verified, verify};

/// What may stand before an initrd that does not stay in memory, in bytes: the header of a `uInitrd`.
const WRAPPER: usize = 64;

/// Downloads a URL to a sink: from the node's network, or from a test's server.
type Get<'g> = dyn FnMut(&Url, &mut Sink<'_>) -> Result<Response, fetch::Error> + 'g;

/// Downloads what `plan` names into `memory`.
pub(crate) fn gather(node: &mut Node<'_>, plan: &Plan, memory: &mut Region<'_>) -> Result<Parts, Error> {
    let there = look_ahead(node, plan, memory.len())?;
    parts(plan, memory, &mut |url, sink| {
        node.download(&Request::get(url), sink).inspect_err(|error| {
            // One that counts how often it is asked.
            if there.contains(&url) && error.may_be_absent() {
                warn!(
                    "fetch: {}: was there when it was asked for with HEAD; that is not done any more",
                    url
                );
                node.fetcher.distrust(&error.url);
            }
        })
    })
}

/// Asks for what an entry boots beside its kernel before that is downloaded: that each file is there, and that together they
/// fit. An entry with a kernel alone costs nothing. Returns those that are there.
fn look_ahead<'p>(node: &mut Node<'_>, plan: &'p Plan, memory: usize) -> Result<Vec<&'p Url>, fetch::Error> {
    let tree = match &plan.device_tree {
        DeviceTree::Served(file) => Some(file),
        DeviceTree::FirstOf(_) | DeviceTree::Firmware => None,
    };
    let mut looked: Vec<&Url> = Vec::new();
    let mut there = Vec::new();
    let mut free = memory;
    for File { url, .. } in plan.initrds.iter().chain(tree) {
        if *url == plan.kernel.url || looked.contains(&url) {
            continue;
        }
        looked.push(url);
        let Some(len) = node.look(url)? else {
            continue;
        };
        there.push(url);
        let bytes = usize::try_from(len).unwrap_or(usize::MAX);
        if bytes > free {
            return Err(fetch::Error {
                // TFTP has one way to ask.
                method: match url.scheme() {
                    Scheme::Http => Method::Head,
                    Scheme::Tftp => Method::Get,
                },
                url: url.clone(),
                reason: Reason::TooLarge {
                    len: Some(len),
                    space: free,
                },
            });
        }
        // U-Boot's wrapper comes off.
        free = free.saturating_sub(bytes.saturating_sub(WRAPPER));
    }
    Ok(there)
}

/// The parts of `plan`, downloaded with `get`.
fn parts(plan: &Plan, memory: &mut Region<'_>, get: &mut Get<'_>) -> Result<Parts, Error> {
    bootargs::check(&plan.command_line).map_err(load::Error::CommandLine)?;
    let mut shelf = Shelf::new(memory);
    let device_tree = match &plan.device_tree {
        DeviceTree::Served(file) if *file != plan.kernel => Some(shelf.aside(file, get)?.needed()?),
        DeviceTree::FirstOf(files) => first_of(files, &mut shelf, get)?,
        DeviceTree::Served(_) | DeviceTree::Firmware => None,
    };
    let overlays = overlays(&plan.overlays, &mut shelf, get)?;
    let kernel = shelf.kernel(&plan.kernel, get)?;
    let device_tree = match &plan.device_tree {
        DeviceTree::Served(file) if *file == plan.kernel => Some(kernel.clone()),
        _ => device_tree,
    };
    // As in U-Boot, a FIT image named once more stands for what is in it.
    let is_fit = fit::is_fit(shelf.bytes(&kernel));
    let is_apart = |file: &&File| !is_fit || **file != plan.kernel;
    let mut initrds = Vec::with_capacity(plan.initrds.len());
    for file in plan.initrds.iter().filter(is_apart) {
        initrds.push(Initrd {
            file: shelf.next(file, get, Expected::Initrd)?,
            headers: Vec::new(),
        });
    }
    Ok(Parts {
        kernel,
        configuration: plan.configuration.clone(),
        initrds,
        device_tree,
        overlays,
        command_line: plan.command_line.clone(),
        moved: false,
    })
}

/// What became of a file that a boot may do without. These are three things, and a server in trouble is a fourth: an error.
#[derive(Debug)]
enum Optional {
    /// It may be used.
    There(Verified),
    /// Its server has none.
    Absent(fetch::Error),
    /// Its server has something else in its place.
    Refused(verify::Error),
}

impl Optional {
    /// The file, where the boot cannot do without it.
    fn needed(self) -> Result<Verified, Error> {
        match self {
            Self::There(file) => Ok(file),
            Self::Absent(why) => Err(why.into()),
            Self::Refused(why) => Err(why.into()),
        }
    }
}

/// Payload memory while it fills: from below with what runs, from above with what is only read.
struct Shelf<'a, 'm> {
    memory: &'a mut Region<'m>,
    /// Where the next file may begin.
    free: usize,
    /// Where those begin that are only read.
    top: usize,
}

impl<'a, 'm> Shelf<'a, 'm> {
    fn new(memory: &'a mut Region<'m>) -> Self {
        let top = memory.len();
        let free = arrange::aligned(memory.range().start, 0, place::BLOCK);
        Self { memory, free, top }
    }

    /// The bytes of a file.
    fn bytes(&self, file: &Verified) -> &[u8] {
        self.memory.bytes().get(file.at()).unwrap_or_default()
    }

    /// Downloads what must be a device tree to the end of memory. What is something else is not kept. What does not prove what its
    /// plan demands fails the boot: whoever changed it may want a boot without it.
    fn aside(&mut self, file: &File, get: &mut Get<'_>) -> Result<Optional, Error> {
        let free = self.memory.bytes_mut().get_mut(..self.top).unwrap_or_default();
        let (Response { url, len }, digest) = match download(file, free, get) {
            Ok(downloaded) => downloaded,
            Err(why) if why.may_be_absent() => return Ok(Optional::Absent(why)),
            Err(trouble) => return Err(trouble.into()),
        };
        // It came into this memory.
        let at = self.top.saturating_sub(len);
        free.copy_within(..len.min(self.top), at);
        let fetched = Fetched {
            url,
            at: at..self.top,
            digest,
        };
        match verify(fetched, self.memory.bytes(), Expected::DeviceTree, &file.needs) {
            Ok(file) => {
                self.top = at;
                Ok(Optional::There(file))
            }
            Err(unproven @ verify::Error::Digest { .. }) => Err(unproven.into()),
            Err(why) => Ok(Optional::Refused(why)),
        }
    }

    /// Downloads a kernel to the first place that one may have, and keeps the room behind it that it needs.
    fn kernel(&mut self, file: &File, get: &mut Get<'_>) -> Result<Verified, Error> {
        let start = self.free;
        let kernel = self.next(file, get, Expected::Kernel)?;
        if let Some(room) = kernel::room(self.bytes(&kernel)) {
            // What does not fit is refused where it is placed.
            self.free = self.free.max(start.saturating_add(room)).min(self.top);
        }
        Ok(kernel)
    }

    /// Downloads a file behind those before it.
    fn next(&mut self, file: &File, get: &mut Get<'_>, expected: Expected) -> Result<Verified, Error> {
        let start = self.free;
        let space = self.memory.bytes_mut().get_mut(start..self.top);
        let no_room = load::Error::NoMemory {
            what: expected,
            free: self.top.saturating_sub(start) as u64,
        };
        let (Response { url, len }, digest) = download(file, space.ok_or(no_room)?, get)?;
        let at = start..start.saturating_add(len);
        self.free = arrange::aligned(self.memory.range().start, at.end, place::PAGE);
        let fetched = Fetched { url, at, digest };
        Ok(verify(fetched, self.memory.bytes(), expected, &file.needs)?)
    }
}

/// Downloads a file to the start of `space`. Its digest is made meanwhile when it must prove one.
fn download(
    file: &File,
    space: &mut [u8],
    get: &mut Get<'_>,
) -> Result<(Response, Option<[u8; 32]>), fetch::Error> {
    let mut sink = match file.needs {
        Needs::Nothing => Sink::new(space),
        Needs::Sha256(_) => Sink::with_digest(space),
    };
    let response = get(&file.url, &mut sink)?;
    Ok((response, sink.digest()))
}

/// Downloads the first device tree that is there; none when the server has none of them. What is something else is passed over
/// with a line: some servers say so that a file is absent.
fn first_of(files: &[File], shelf: &mut Shelf<'_, '_>, get: &mut Get<'_>) -> Result<Option<Verified>, Error> {
    for file in files {
        match shelf.aside(file, get)? {
            Optional::There(tree) => return Ok(Some(tree)),
            Optional::Refused(why) => warn!("{}; it is passed over", why),
            Optional::Absent(_) => {}
        }
    }
    if let (Some(first), Some(last)) = (files.first(), files.last()) {
        warn!(
            "load: no device tree for this board from {} to {}; taking the firmware's",
            first.url, last.url
        );
    }
    Ok(None)
}

/// Downloads overlays. One that is not there, or is none, is left out with a line: the node boots without it. One that could not
/// be fetched for another reason fails the attempt, since the next may get it.
fn overlays(files: &[File], shelf: &mut Shelf<'_, '_>, get: &mut Get<'_>) -> Result<Vec<Verified>, Error> {
    let mut all = Vec::new();
    for file in files.iter().take(MAX_OVERLAYS.saturating_add(1)) {
        match shelf.aside(file, get)? {
            Optional::There(overlay) => all.push(overlay),
            Optional::Refused(why) => warn!("{}; it is no overlay", why),
            Optional::Absent(why) => warn!("load: no overlay: {}", why),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use core::ops::Range;

    use dtoolkit::fdt::Fdt;
    use dtoolkit::model;
    use dtoolkit::{Node, Property};
    use sha2::{Digest as _, Sha256};
    use smoltcp::wire::EthernetAddress;

    use super::*;
    use crate::fetch;
    use crate::hal::Board;
    use crate::handoff::Handoff;
    use crate::load::uimage::{self, ImageType};
    use crate::load::{device_tree, edit, gzip, image, zboot};
    use crate::random::Seeds;
    use crate::work::PIECE;

    /// A server with these files, each beside its URL.
    struct Server(Vec<(&'static str, Vec<u8>)>);

    impl Server {
        fn get(&self, url: &Url, sink: &mut Sink<'_>) -> Result<Response, crate::fetch::Error> {
            let name = url.to_string();
            let status = |code| fetch::Error {
                method: fetch::Method::Get,
                url: url.clone(),
                reason: fetch::Reason::Status {
                    code,
                    phrase: String::new(),
                },
            };
            if name.ends_with("/busy") {
                return Err(status(503));
            }
            let file = self.0.iter().find(|(path, _)| name.ends_with(path));
            let (_, file) = file.ok_or_else(|| status(404))?;
            let into = sink.free();
            if file.len() > into.len() {
                return Err(fetch::Error {
                    method: fetch::Method::Get,
                    url: url.clone(),
                    reason: fetch::Reason::TooLarge {
                        len: Some(file.len() as u64),
                        space: into.len(),
                    },
                });
            }
            into[..file.len()].copy_from_slice(file);
            sink.fill(file.len());
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

    fn file(path: &str) -> File {
        url(path).into()
    }

    fn payload(initrds: &[&str], device_tree: Option<&str>) -> Plan {
        Plan {
            kernel: file("/kernel"),
            configuration: None,
            initrds: initrds.iter().map(|path| file(path)).collect(),
            device_tree: device_tree.map_or(DeviceTree::Firmware, |path| DeviceTree::Served(file(path))),
            overlays: Vec::new(),
            command_line: "quiet root=/dev/nfs".into(),
        }
    }

    /// Loads, checks what must hold of every handoff, and returns it with the memory.
    fn run(server: &Server, payload: &Plan, firmware: Option<&[u8]>) -> Result<(Handoff, Vec<u8>), String> {
        let mut bytes = vec![0xa5; MEMORY];
        let board = Board {
            model: "test",
            revision: 0,
            serial: 1,
            mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
            uart: None,
            device_tree: firmware,
            handed_over: None,
        };
        let mut memory = Region::new(BASE, &mut bytes).unwrap();
        let all = memory.range();
        let mut parts =
            parts(payload, &mut memory, &mut |url, sink| server.get(url, sink)).map_err(|e| e.to_string())?;
        // Somebody hears of every piece of the work.
        let tick = &mut |piece| assert!(piece <= PIECE, "{piece} bytes at once");
        let handoff = load::load(&mut parts, memory, &board, &SEEDS, tick).map_err(|e| e.to_string())?;
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
    fn an_efi_zboot_kernel_is_unpacked() {
        let kernel = image::tests::golden(0, 0x30_0000);
        let packed = zboot::tests::wrapped(&gzip::tests::member(&kernel), "gzip");
        let server = Server(vec![("/kernel", packed)]);
        let (handoff, bytes) = run(&server, &payload(&[], None), Some(&firmware())).unwrap();
        assert_eq!(at(&bytes, handoff.entry, kernel.len()), kernel);
        let server = Server(vec![("/kernel", zboot::tests::wrapped(b"x", "zstd"))]);
        assert_eq!(
            run(&server, &payload(&[], None), Some(&firmware())).unwrap_err(),
            "load: kernel http://boot/kernel: is an EFI zboot kernel packed with zstd, which is not \
             supported: unpack it on the server, or pack it with gzip"
        );
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
    fn uboots_wrappers_come_off_kernel_and_initrds() {
        let kernel = image::tests::golden(0, 0x30_0000);
        let packed = gzip::tests::member(&kernel);
        for (compression, data) in [(0, &kernel), (1, &packed)] {
            let server = Server(vec![
                (
                    "/kernel",
                    uimage::tests::wrapped(ImageType::Kernel, compression, data),
                ),
                (
                    "/first",
                    uimage::tests::wrapped(ImageType::Ramdisk, 1, &[1; 5000]),
                ),
                ("/second", vec![2; 10]),
            ]);
            let payload = payload(&["/first", "/second"], None);
            let (handoff, bytes) = run(&server, &payload, Some(&firmware())).unwrap();
            assert_eq!(at(&bytes, handoff.entry, kernel.len()), kernel);
            let mut initrd = vec![1; 5000];
            initrd.resize(8192, 0);
            initrd.extend([2; 10]);
            assert_eq!(at(&bytes, handoff.written[2].start, 8202), initrd);
        }
        let server = Server(vec![
            ("/kernel", kernel.clone()),
            ("/initrd", uimage::tests::wrapped(ImageType::Kernel, 0, b"x")),
        ]);
        assert_eq!(
            run(&server, &payload(&["/initrd"], None), Some(&firmware())).unwrap_err(),
            "load: initrd http://boot/initrd: is a uImage with a kernel, not with an initrd"
        );
    }

    /// An overlay that gives `/chosen` a property `marker` of this value.
    fn marker(value: &str) -> Vec<u8> {
        let node = device_tree::tests::node;
        let mut tree = model::DeviceTree::new();
        let addition = node("__overlay__", &[("marker", &value)], vec![]);
        tree.root = node(
            "",
            &[],
            vec![node("fragment@0", &[("target-path", &"/chosen")], vec![addition])],
        );
        tree.to_dtb()
    }

    #[test]
    fn overlays_are_applied_in_order_to_either_tree_and_those_that_are_not_there_are_left_out() {
        let server = Server(vec![
            ("/kernel", image::tests::golden(0, 0x30_0000)),
            ("/initrd", vec![4; 100]),
            ("/dtb", firmware()),
            ("/one", marker("one")),
            ("/two", marker("two")),
            ("/page", b"<html>".to_vec()),
            ("/tree", firmware()),
        ]);
        for tree in [None, Some("/dtb")] {
            let mut payload = payload(&["/initrd"], tree);
            let last = |payload: &Plan| {
                let (handoff, bytes) = run(&server, payload, Some(&firmware())).unwrap();
                assert_eq!(at(&bytes, handoff.written[2].start, 100), [4; 100]);
                chosen(&handoff, &bytes, "marker")
            };
            assert_eq!(last(&payload), None);
            payload.overlays = ["/one", "/absent", "/page", "/two", "/tree"].map(file).to_vec();
            assert_eq!(last(&payload).unwrap(), b"two\0");
            payload.overlays = ["/two", "/one"].map(file).to_vec();
            assert_eq!(last(&payload).unwrap(), b"one\0");
            // The next attempt may get this one.
            payload.overlays = ["/one", "/busy"].map(file).to_vec();
            assert_eq!(
                run(&server, &payload, Some(&firmware())).unwrap_err(),
                "fetch: GET http://boot/busy: 503"
            );
        }
    }

    #[test]
    fn the_first_candidate_that_is_there_is_the_device_tree_and_without_any_it_is_the_firmwares() {
        let mut served = device_tree::tests::firmware();
        edit::set(served.find_node_mut("/chosen").unwrap(), "marker", "served");
        let server = Server(vec![
            ("/kernel", image::tests::golden(0, 0x30_0000)),
            ("/page", b"<html>".to_vec()),
            ("/there", served.to_dtb()),
        ]);
        let marker = |candidates: &[&str]| -> Result<Option<Vec<u8>>, String> {
            let mut payload = payload(&[], None);
            payload.device_tree = DeviceTree::FirstOf(candidates.iter().map(|path| file(path)).collect());
            let (handoff, bytes) = run(&server, &payload, Some(&firmware()))?;
            Ok(chosen(&handoff, &bytes, "marker"))
        };
        let served = Some(b"served\0".to_vec());
        assert_eq!(marker(&["/absent", "/page", "/there", "/busy"]), Ok(served));
        assert_eq!(marker(&["/absent", "/page"]), Ok(None));
        assert_eq!(
            marker(&["/absent", "/busy", "/there"]),
            Err("fetch: GET http://boot/busy: 503".into())
        );
    }

    #[test]
    fn what_is_absent_what_is_refused_and_trouble_are_three_things() {
        let server = Server(vec![("/page", b"<html>".to_vec()), ("/tree", firmware())]);
        let mut bytes = vec![0; MEMORY];
        let mut memory = Region::new(BASE, &mut bytes).unwrap();
        let mut shelf = Shelf::new(&mut memory);
        let mut aside = |path| shelf.aside(&file(path), &mut |url, sink| server.get(url, sink));
        assert!(matches!(aside("/absent"), Ok(Optional::Absent(_))));
        assert!(matches!(aside("/page"), Ok(Optional::Refused(_))));
        assert!(matches!(aside("/tree"), Ok(Optional::There(_))));
        assert!(matches!(aside("/busy"), Err(Error::Fetch(error)) if error.status() == Some(503)));
        // A boot that cannot do without it fails, and with which.
        let needed = |optional: Optional| optional.needed().unwrap_err();
        assert!(matches!(needed(aside("/absent").unwrap()), Error::Fetch(_)));
        assert!(matches!(needed(aside("/page").unwrap()), Error::Verify(_)));
    }

    #[test]
    fn every_part_proves_the_digest_that_its_plan_demands_or_nothing_boots() {
        let kernel = image::tests::golden(0, 0x30_0000);
        let (tree, overlay) = (firmware(), marker("one"));
        let files: Vec<(&'static str, Vec<u8>)> = vec![
            ("/kernel", gzip::tests::member(&kernel)),
            ("/initrd", vec![4; 100]),
            ("/dtb", tree.clone()),
            ("/candidate", tree),
            ("/overlay", overlay),
        ];
        let demanded = |path: &str| {
            let (_, bytes) = files.iter().find(|(name, _)| *name == path).unwrap();
            File {
                url: url(path),
                needs: Needs::Sha256(Sha256::digest(bytes).into()),
            }
        };
        let mut plan = payload(&[], None);
        plan.kernel = demanded("/kernel");
        plan.initrds = vec![demanded("/initrd")];
        plan.overlays = vec![demanded("/overlay")];
        let trees = [
            DeviceTree::Served(demanded("/dtb")),
            DeviceTree::FirstOf(vec![file("/absent"), demanded("/candidate"), demanded("/dtb")]),
        ];
        for device_tree in trees {
            plan.device_tree = device_tree;
            let (handoff, bytes) = run(&Server(files.clone()), &plan, Some(&firmware())).unwrap();
            assert_eq!(at(&bytes, handoff.entry, kernel.len()), kernel);
            assert_eq!(chosen(&handoff, &bytes, "marker").unwrap(), b"one\0");
            let unused = if matches!(plan.device_tree, DeviceTree::Served(_)) {
                "/candidate"
            } else {
                "/dtb"
            };
            for (changed, (path, _)) in files.iter().enumerate().filter(|(_, (path, _))| *path != unused) {
                // A byte more, and a page in its place: what could be missing is not left out.
                for other in [&[&files[changed].1[..], b"\0"].concat()[..], b"<html>"] {
                    let mut server = files.clone();
                    server[changed].1 = other.to_vec();
                    let line = run(&Server(server), &plan, Some(&firmware())).unwrap_err();
                    let begins = format!("verify: http://boot{path}: its SHA-256 is ");
                    assert!(line.starts_with(&begins), "{line}");
                }
            }
        }
    }

    #[test]
    fn a_kernel_named_again_with_something_to_prove_proves_it() {
        let server = Server(vec![(
            "/kernel",
            fit_image(&image::tests::golden(0, 0x30_0000), false),
        )]);
        let other = File {
            needs: Needs::Sha256([1; 32]),
            ..file("/kernel")
        };
        let mut tree = payload(&[], None);
        tree.device_tree = DeviceTree::Served(other.clone());
        let mut initrd = payload(&[], None);
        initrd.initrds = vec![other];
        for plan in [tree, initrd] {
            let line = run(&server, &plan, None).unwrap_err();
            assert!(
                line.starts_with("verify: http://boot/kernel: its SHA-256 is "),
                "{line}"
            );
        }
    }

    /// The firmware's tree with these ranges, each of whole megabytes, reserved by one node.
    fn reserving(ranges: &[Range<u32>]) -> model::DeviceTree {
        let mut tree = device_tree::tests::firmware();
        let reg: Vec<[u32; 3]> = ranges
            .iter()
            .map(|range| [0, range.start << 20, (range.end - range.start) << 20])
            .collect();
        let reserved = tree.find_node_mut("/reserved-memory").unwrap();
        let log = device_tree::tests::node("log@b000000", &[("reg", &reg.concat().as_slice())], vec![]);
        reserved.add_child(log);
        tree
    }

    #[test]
    fn nothing_lies_where_the_tree_that_linux_gets_reserves_memory() {
        let kernel = image::tests::golden(0, 0x30_0000);
        let overlay = |range: Range<u32>| {
            let node = device_tree::tests::node;
            let reg = [0, range.start << 20, (range.end - range.start) << 20];
            let log = node("log@b000000", &[("reg", &reg)], vec![]);
            let addition = node("__overlay__", &[], vec![log]);
            let target: &dyn device_tree::tests::Value = &"/reserved-memory";
            let mut tree = model::DeviceTree::new();
            tree.root = node(
                "",
                &[],
                vec![node("fragment@0", &[("target-path", target)], vec![addition])],
            );
            tree.to_dtb()
        };
        // Below, inside and behind what would have been the places.
        for range in [0..3, 2..3, 5..6, 6..8, 9..10, 8..9, 14..20] {
            for reserved_by in ["tree", "overlay", "FIT"] {
                let served = reserving(std::slice::from_ref(&range)).to_dtb();
                let mut payload = payload(&["/initrd"], (reserved_by == "tree").then_some("/dtb"));
                let mut files = vec![
                    ("/kernel", kernel.clone()),
                    ("/initrd", vec![4; 0x12_0000]),
                    ("/dtb", served.clone()),
                    ("/overlay", overlay(range.clone())),
                ];
                match reserved_by {
                    "overlay" => payload.overlays = vec![file("/overlay")],
                    "FIT" => {
                        let parts: &[(&str, &str, &[u8])] =
                            &[("kernel", "kernel", &kernel), ("tree", "flat_dt", &served)];
                        let parts_of: &[(&str, &dyn device_tree::tests::Value)] =
                            &[("kernel", &"kernel"), ("fdt", &"tree")];
                        let image = fit::tests::golden(parts, &[("pi", parts_of)], Some("pi"));
                        files[0].1 = image.to_dtb();
                    }
                    _ => {}
                }
                let (handoff, bytes) = match run(&Server(files), &payload, Some(&firmware())) {
                    Ok(loaded) => loaded,
                    Err(error) => {
                        let is_small = error.contains("reserves memory")
                            || error.contains("free")
                            || error.contains("no place")
                            || error.contains("fit");
                        assert!(
                            is_small && range.start >= 5 && range.end <= 10,
                            "{range:?} {reserved_by}: {error}"
                        );
                        continue;
                    }
                };
                let reserved = u64::from(range.start) << 20..u64::from(range.end) << 20;
                for written in &handoff.written {
                    let apart = written.end <= reserved.start || reserved.end <= written.start;
                    assert!(apart, "{range:?} {reserved_by}: {:?}", handoff.written);
                }
                assert_eq!(at(&bytes, handoff.entry, kernel.len()), kernel);
                assert_eq!(at(&bytes, handoff.written[2].start, 0x12_0000), [4; 0x12_0000]);
            }
        }
    }

    #[test]
    fn the_entry_boots_when_the_firmwares_arguments_have_no_room_and_uarts_get_linuxs_names() {
        let server = Server(vec![("/kernel", image::tests::golden(0, 0x30_0000))]);
        let mut payload = payload(&[], None);
        payload.command_line = "x".repeat(2020);
        let (handoff, _) = run(&server, &payload, Some(&firmware())).unwrap();
        assert_eq!(
            handoff.command_line,
            format!("{} coherent_pool=1M", payload.command_line)
        );
        // No UART is on the pins of this board.
        payload.command_line = "console=serial0,115200".into();
        let (handoff, bytes) = run(&server, &payload, Some(&firmware())).unwrap();
        assert!(handoff.command_line.starts_with("console=serial0,115200 "));
        assert_eq!(
            chosen(&handoff, &bytes, "bootargs").unwrap(),
            format!("{}\0", handoff.command_line).into_bytes()
        );
    }

    /// A FIT image with everything in it, the kernel (as a zboot one, too) and the device trees packed or not.
    fn fit_image(kernel: &[u8], packed: bool) -> Vec<u8> {
        let zboot = |packed| zboot::tests::wrapped(packed, "gzip");
        fit_image_of(
            &if packed {
                zboot(&gzip::tests::member(kernel))
            } else {
                kernel.to_vec()
            },
            packed,
        )
    }

    /// The same with this kernel as it is.
    fn fit_image_of(kernel: &[u8], packed: bool) -> Vec<u8> {
        let pack = |data: &[u8]| {
            if packed {
                gzip::tests::member(data)
            } else {
                data.to_vec()
            }
        };
        let mut image = fit::tests::golden(
            &[
                ("kernel", "kernel", kernel),
                ("tree", "flat_dt", &pack(&firmware())),
                ("addition", "flat_dt", &pack(&marker("overlaid"))),
                ("initrd", "ramdisk", &[7; 9000]),
            ],
            &[(
                "pi",
                &[
                    ("kernel", &"kernel"),
                    ("fdt", &b"tree\0addition\0".as_slice()),
                    ("ramdisk", &"initrd"),
                ],
            )],
            Some("pi"),
        );
        for name in ["/images/tree", "/images/addition"] {
            let node = image.find_node_mut(name).unwrap();
            edit::set(node, "compression", if packed { "gzip" } else { "none" });
        }
        image.to_dtb()
    }

    #[test]
    fn a_fit_image_brings_everything() {
        let kernel = image::tests::golden(0, 0x30_0000);
        for packed in [false, true] {
            let server = Server(vec![
                ("/kernel", fit_image(&kernel, packed)),
                ("/own", vec![5; 100]),
                ("/dtb", firmware()),
            ]);
            let (handoff, bytes) = run(&server, &payload(&[], None), None).unwrap();
            assert_eq!(handoff.written[0], 0x20_0000..0x50_0000);
            assert_eq!(at(&bytes, handoff.entry, kernel.len()), kernel);
            assert_eq!(chosen(&handoff, &bytes, "marker").unwrap(), b"overlaid\0");
            assert_eq!(handoff.written[2], 0x80_0000..0x80_0000 + 9000);
            assert_eq!(at(&bytes, 0x80_0000, 9000), [7; 9000]);
            // What the entry names wins over what came with the kernel, and the overlay was for that tree.
            let (handoff, bytes) = run(&server, &payload(&["/own"], Some("/dtb")), None).unwrap();
            assert_eq!(at(&bytes, handoff.written[2].start, 100), [5; 100]);
            assert_eq!(chosen(&handoff, &bytes, "marker"), None);
        }
    }

    #[test]
    fn what_cannot_be_unpacked_in_a_fit_image_is_named() {
        let line = |kernel: &[u8], packed| {
            let server = Server(vec![("/kernel", fit_image_of(kernel, packed))]);
            run(&server, &payload(&[], None), None).unwrap_err()
        };
        let kernel = image::tests::golden(0, 0x30_0000);
        let packed = gzip::tests::member(&kernel);
        assert_eq!(
            line(&packed[..100], false),
            "load: http://boot/kernel: the kernel in the FIT image: gzip file is truncated"
        );
        assert_eq!(
            line(&zboot::tests::wrapped(&packed, "zstd22"), false),
            "load: kernel http://boot/kernel: is an EFI zboot kernel packed with zstd22, which is not supported: unpack \
             it on the server, or pack it with gzip"
        );
        // The hash is right, and yet it is no gzip file.
        let good = fit_image_of(&packed, true);
        let tree = gzip::tests::member(&firmware());
        let mut changed = tree.clone();
        changed[tree.len() - 8] ^= 1;
        let at = |file: &[u8], part: &[u8]| file.windows(part.len()).position(|bytes| bytes == part).unwrap();
        let mut file = good.clone();
        let start = at(&good, &tree);
        file[start..start + tree.len()].copy_from_slice(&changed);
        let sum = gzip::crc32(&tree, &mut |_| {}).to_be_bytes();
        let start = at(&file, &sum);
        file[start..start + 4].copy_from_slice(&gzip::crc32(&changed, &mut |_| {}).to_be_bytes());
        let server = Server(vec![("/kernel", file)]);
        assert_eq!(
            run(&server, &payload(&[], None), None).unwrap_err(),
            "load: http://boot/kernel: a device tree in the FIT image: gzip file is corrupt: the CRC-32 differs"
        );
    }

    #[test]
    fn a_fit_image_named_again_stands_for_what_is_in_it_and_a_configuration_must_be_there() {
        let kernel = image::tests::golden(0, 0x30_0000);
        let server = Server(vec![("/kernel", fit_image(&kernel, false))]);
        let mut named = payload(&["/kernel"], Some("/kernel"));
        let (handoff, bytes) = run(&server, &named, None).unwrap();
        assert_eq!(at(&bytes, handoff.written[2].start, 9000), [7; 9000]);
        assert_eq!(chosen(&handoff, &bytes, "marker").unwrap(), b"overlaid\0");
        named.configuration = Some("pi".into());
        run(&server, &named, None).unwrap();
        named.configuration = Some("pi5".into());
        assert_eq!(
            run(&server, &named, None).unwrap_err(),
            "load: http://boot/kernel: FIT image has no configuration \"pi5\"; it has pi"
        );
        let server = Server(vec![("/kernel", kernel)]);
        assert_eq!(
            run(&server, &named, None).unwrap_err(),
            "load: kernel http://boot/kernel is no FIT image; it has no configuration \"pi5\""
        );
    }

    #[test]
    fn a_fit_image_that_fills_memory_is_refused() {
        let mut kernel = image::tests::golden(0, 0x30_0000);
        kernel.resize(8 << 20, 3);
        let server = Server(vec![("/kernel", fit_image(&kernel, false))]);
        let line = run(&server, &payload(&[], None), None).unwrap_err();
        assert!(
            line.starts_with("load: kernel http://boot/kernel needs 8388608 bytes of memory; "),
            "{line}"
        );
    }

    #[test]
    fn every_changed_byte_of_a_fit_image_is_an_error_or_a_sound_handoff() {
        let kernel = image::tests::golden(0, 0x30_0000);
        let golden = fit_image(&kernel, false);
        let firmware = firmware();
        // The structure, and the kernel's header behind it.
        for at in 0..400 {
            for flip in [1, 0x80] {
                let mut file = golden.clone();
                file[at] ^= flip;
                let server = Server(vec![("/kernel", file)]);
                let _ = run(&server, &payload(&[], None), Some(&firmware));
            }
        }
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
            "load: kernel http://boot/kernel: is an ELF file, not an arm64 Image: of a kernel's build serve \
             arch/arm64/boot/Image, not vmlinux"
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
            "load: command line has 2049 bytes; Linux takes 2048"
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

    #[test]
    fn all_work_on_a_boots_files_is_heard_of() {
        let mut kernel = image::tests::golden(0, 0x30_0000);
        kernel.resize(0x2f_0000, 1);
        let initrd = vec![9; 0x12_0000];
        let packed = gzip::tests::member(&kernel);
        let wrapped = uimage::tests::wrapped(ImageType::Kernel, 1, &packed);
        let ramdisk = uimage::tests::wrapped(ImageType::Ramdisk, 0, &initrd);
        let heard = |kernel: &[u8]| {
            let server = Server(vec![("/kernel", kernel.to_vec()), ("/initrd", ramdisk.clone())]);
            let mut bytes = vec![0xa5; MEMORY];
            let firmware = firmware();
            let board = Board {
                device_tree: Some(&firmware),
                ..crate::hal::tests::board()
            };
            let mut memory = Region::new(BASE, &mut bytes).unwrap();
            let plan = payload(&["/initrd"], None);
            let mut parts = parts(&plan, &mut memory, &mut |url, sink| server.get(url, sink)).unwrap();
            let mut heard = 0;
            load::load(&mut parts, memory, &board, &SEEDS, &mut |piece| heard += piece).unwrap();
            heard
        };
        // The initrd is summed up and loses its wrapper.
        let initrds = 2 * initrd.len();
        assert!(heard(&kernel) >= initrds);
        // A packed kernel is unpacked and summed up, but for a last piece, and what was in its way is moved.
        assert!(heard(&packed) >= initrds + 2 * kernel.len() - PIECE + initrd.len());
        // Of a wrapped one the packed bytes are summed up and moved, too.
        assert!(heard(&wrapped) >= heard(&packed) + 2 * packed.len() - 200);
        // What a FIT image says of its kernel is checked.
        assert!(heard(&fit_image(&kernel, false)) >= initrds + kernel.len());
    }
}
