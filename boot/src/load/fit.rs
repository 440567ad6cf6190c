//! FIT images: kernel, device trees and initial ramdisk in one file, a device tree itself (Flat Image Tree specification).
//!
//! A configuration names its parts; every hash of a part that is used is checked before anything else sees its bytes.
//! Signatures are not checked, no more than any other file's are. Which configuration: by name, by default, or for the
//! board (U-Boot's `FIT_BEST_MATCH`).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use dtoolkit::Node as _;
use dtoolkit::fdt::FdtNode;
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use super::device_tree::{self, Tree, property, strings, text};
use super::gzip;
use super::overlay::MAX_OVERLAYS;
use crate::text::ascii_bytes;
use crate::work::{Tick, digest};

/// Hashes of a part; real images have one or two.
const MAX_HASHES: usize = 4;
/// How often the bytes of a file are summed up at most, all in all: parts do not lie over each other.
const MAX_SUMS: usize = MAX_HASHES;
/// Names that an error lists.
const SHOWN: usize = 8;
/// Configurations that do not say which board they are for, and whose device trees are asked instead.
const MAX_ASKED: usize = 64;
/// Names of boards that are looked at, of a tree or a configuration. Real ones have two to four.
const MAX_NAMES: usize = 64;

/// A configuration's parts, as ranges of the file. All of their hashes were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The kernel, raw or packed by gzip.
    pub kernel: Range<usize>,
    /// The device tree, raw or packed by gzip.
    pub device_tree: Option<Range<usize>>,
    /// Overlays for the device tree, raw or packed by gzip, in order.
    pub overlays: Vec<Range<usize>>,
    /// The initial ramdisk, however it is packed.
    pub ramdisk: Option<Range<usize>>,
}

/// Why an image cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Its structure cannot be read.
    Tree(device_tree::Error),
    /// A node without which there is nothing to boot.
    Missing(&'static str),
    /// No configuration of this name; the names that there are.
    Configuration(String, String),
    /// No configuration was asked for, none is the default, and none is for this board.
    NoDefault {
        /// The board's name; empty when it is unknown.
        board: String,
        /// The names that there are.
        names: String,
    },
    /// This configuration has no device tree for overlays that were asked for with it.
    NoTree(String),
    /// This added configuration (`#name`) has no overlays.
    NoOverlay(String),
    /// This configuration has no kernel.
    NoKernel(String),
    /// This image, which a configuration names, does not exist.
    NoImage(String),
    /// An image is something else than its place in the configuration needs.
    Unfit {
        /// Which image.
        image: String,
        /// The property that says so.
        property: &'static str,
        /// The value that was found.
        found: String,
        /// The values that would be accepted.
        wanted: &'static str,
    },
    /// An image without data.
    NoData(String),
    /// The file ends before this image's data does.
    Truncated {
        /// Which image.
        image: String,
        /// Bytes of the file.
        len: usize,
        /// Bytes that there must be.
        expected: usize,
    },
    /// This part cannot be unpacked.
    Gzip(&'static str, gzip::Error),
    /// A hash of this image, by this algorithm, differs.
    Hash(String, &'static str),
    /// A hash of this image is by this algorithm, which is not known here.
    Algorithm(String, String),
    /// A hash of this image has no value, or there are more than four.
    Hashes(String),
    /// Parts up to this image lie over each other: their hashes are of more than four times the file's bytes.
    Overlap(String),
    /// More overlays in a configuration than are applied.
    Overlays,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(device_tree::Error::Truncated { len, expected }) => {
                write!(f, "truncated FIT image: {len} of {expected} bytes")
            }
            Self::Tree(why) => write!(f, "FIT image {why}"),
            Self::Missing(node) => write!(f, "is a device tree, but no FIT image: it has no {node}"),
            Self::Configuration(name, names) => {
                write!(f, "FIT image has no configuration \"{name}\"; it has {names}")
            }
            Self::NoDefault { board, names } => {
                f.write_str("FIT image has no default configuration")?;
                if !board.is_empty() {
                    write!(f, ", and none for {board}")?;
                }
                write!(f, " (file#name asks for one); it has {names}")
            }
            Self::NoTree(name) => write!(
                f,
                "configuration \"{name}\" of the FIT image has no device tree to put overlays on"
            ),
            Self::NoOverlay(name) => {
                write!(
                    f,
                    "configuration \"{name}\" of the FIT image has no overlay to add"
                )
            }
            Self::NoKernel(name) => write!(f, "configuration \"{name}\" of the FIT image names no kernel"),
            Self::NoImage(name) => write!(f, "FIT image lacks \"{name}\", which its configuration names"),
            Self::Unfit {
                image,
                property,
                found,
                wanted,
            } => write!(
                f,
                "\"{image}\" in the FIT image has the {property} \"{found}\", not {wanted}"
            ),
            Self::NoData(name) => write!(f, "\"{name}\" in the FIT image has no data"),
            Self::Truncated { image, len, expected } => write!(
                f,
                "truncated FIT image: {len} of {expected} bytes, inside \"{image}\""
            ),
            Self::Gzip(part, why) => write!(f, "{part} in the FIT image: {why}"),
            Self::Hash(image, algorithm) => {
                write!(f, "FIT image is corrupt: the {algorithm} of \"{image}\" differs")
            }
            Self::Algorithm(image, name) => {
                write!(
                    f,
                    "\"{image}\" in the FIT image has a hash by \"{name}\", which is not known"
                )
            }
            Self::Hashes(image) => write!(
                f,
                "\"{image}\" in the FIT image has an empty hash, or more than {MAX_HASHES}"
            ),
            Self::Overlap(image) => write!(f, "\"{image}\" in the FIT image lies over other images"),
            Self::Overlays => write!(
                f,
                "FIT image has more than {MAX_OVERLAYS} overlays in one configuration"
            ),
        }
    }
}

/// Whether a file claims to be a FIT image, or another device tree.
pub fn is_fit(file: &[u8]) -> bool {
    file.starts_with(&[0xd0, 0x0d, 0xfe, 0xed])
}

/// The demands on an image for one place in a configuration: its type, its operating system (if it names one), its packing.
struct Place {
    kinds: &'static [&'static str],
    kind: &'static str,
    compression: &'static [&'static str],
    packed: &'static str,
}

const KERNEL: Place = Place {
    kinds: &["kernel", "kernel_noload"],
    kind: "kernel",
    compression: &["none", "gzip"],
    packed: "none or gzip",
};
const DEVICE_TREE: Place = Place {
    kinds: &["flat_dt"],
    kind: "flat_dt",
    ..KERNEL
};
/// Linux unpacks it, whatever the image says.
const RAMDISK: Place = Place {
    kinds: &["ramdisk"],
    kind: "ramdisk",
    compression: &[],
    packed: "",
};

/// Whether the configuration that [`open`] would open exists. Its images are not looked at.
pub fn check(
    file: &[u8],
    wanted: Option<&str>,
    board: Option<&Tree<'_>>,
    tick: &mut Tick<'_>,
) -> Result<(), Error> {
    Fit::read(file, tick)?.choose(wanted, board, tick).map(|_| ())
}

/// Finds the parts of a configuration: the one of that name, else the default one, else the only one, else the one that
/// suits the `board` best. Names behind it, each after a `#`, are of configurations whose device trees are overlays for it.
/// D-120.
pub fn open(
    file: &[u8],
    wanted: Option<&str>,
    board: Option<&Tree<'_>>,
    tick: &mut Tick<'_>,
) -> Result<Contents, Error> {
    let fit = Fit::read(file, tick)?;
    let Choice { base, extras, board } = fit.choose(wanted, board, tick)?;
    let name = || shown(base.name());
    let kernel = names(&base, "kernel")
        .next()
        .ok_or_else(|| Error::NoKernel(name()))?;
    let mut trees = names(&base, "fdt");
    let device_tree = trees.next();
    let added = extras.iter().flat_map(|extra| names(extra, "fdt"));
    let overlays: Vec<&str> = trees.chain(added).take(MAX_OVERLAYS.saturating_add(1)).collect();
    if overlays.len() > MAX_OVERLAYS {
        return Err(Error::Overlays);
    }
    if device_tree.is_none() && !overlays.is_empty() {
        return Err(Error::NoTree(name()));
    }
    info!("load: configuration {} of the FIT image", name());
    fit.compare(&base, &board, tick);
    for unused in ["loadables", "firmware", "fpga"] {
        if property(&base, unused).is_some() {
            warn!("load: {} in the FIT image is not loaded", unused);
        }
    }
    let ramdisk = names(&base, "ramdisk").next();
    let sums = &mut Sums {
        left: file.len().saturating_mul(MAX_SUMS),
        known: Vec::new(),
        tick,
    };
    Ok(Contents {
        kernel: fit.part(kernel, &KERNEL, sums)?,
        device_tree: device_tree
            .map(|name| fit.part(name, &DEVICE_TREE, sums))
            .transpose()?,
        overlays: overlays
            .into_iter()
            .map(|name| fit.part(name, &DEVICE_TREE, sums))
            .collect::<Result<_, _>>()?,
        ramdisk: ramdisk.map(|name| fit.part(name, &RAMDISK, sums)).transpose()?,
    })
}

/// The configurations that were asked for.
struct Choice<'a, 'b> {
    base: FdtNode<'a>,
    /// Those whose device trees are overlays for the base's.
    extras: Vec<FdtNode<'a>>,
    /// The board's `compatible` names.
    board: Vec<&'b str>,
}

/// The child of exactly that name: `kernel` is not `kernel@1`. It may stand behind all nodes that a file can have, and many may be looked
/// for, so each search is heard of like a piece of other work.
fn child<'a>(node: &FdtNode<'a>, name: &str, tick: &mut Tick<'_>) -> Option<FdtNode<'a>> {
    let child = node.children().find(|child| child.name() == name);
    tick(0);
    child
}

/// The strings of a property.
fn names<'a>(node: &FdtNode<'a>, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    strings(property(node, name).unwrap_or_default())
}

/// A name as an error shows it.
fn shown(name: &str) -> String {
    ascii_bytes(name.as_bytes(), 64)
}

/// A file that was proven to be a device tree.
struct Fit<'a> {
    file: &'a [u8],
    /// The offset in the file from which external data is counted.
    end: usize,
    images: FdtNode<'a>,
    configurations: FdtNode<'a>,
}

impl<'a> Fit<'a> {
    fn read(file: &'a [u8], tick: &mut Tick<'_>) -> Result<Self, Error> {
        let tree = Tree::check_container(file).map_err(Error::Tree)?;
        tick(0);
        let root = tree.fdt().root();
        let mut part = |name| child(&root, name, tick);
        Ok(Self {
            file,
            end: tree.size().checked_next_multiple_of(4).unwrap_or(usize::MAX),
            images: part("images").ok_or(Error::Missing("/images"))?,
            configurations: part("configurations").ok_or(Error::Missing("/configurations"))?,
        })
    }

    /// The configurations, in the file's order.
    fn all(&self) -> impl Iterator<Item = FdtNode<'a>> + use<'a> {
        // dtoolkit's iterator reads on behind the node's end, and panics there.
        self.configurations.children().fuse()
    }

    /// The names that exist, for an error.
    fn have(&self) -> String {
        let mut names: Vec<String> = self.all().take(SHOWN).map(|node| shown(node.name())).collect();
        match self.all().count().saturating_sub(names.len()) {
            _ if names.is_empty() => names.push("none".into()),
            0 => {}
            more => names.push(format!("and {more} more")),
        }
        names.join(", ")
    }

    fn named(&self, name: &str, tick: &mut Tick<'_>) -> Result<FdtNode<'a>, Error> {
        child(&self.configurations, name, tick).ok_or_else(|| Error::Configuration(shown(name), self.have()))
    }

    fn choose<'b>(
        &self,
        wanted: Option<&str>,
        board: Option<&Tree<'b>>,
        tick: &mut Tick<'_>,
    ) -> Result<Choice<'a, 'b>, Error> {
        let board = board.into_iter().flat_map(Tree::compatible);
        let board: Vec<&str> = board.take(MAX_NAMES).collect();
        let mut wanted = wanted.into_iter().flat_map(|wanted| wanted.split('#'));
        let mut all = self.all();
        let base = if let Some(name) = wanted.next() {
            self.named(name, tick)?
        } else if let Some(default) = property(&self.configurations, "default").and_then(text) {
            self.named(default, tick)?
        } else if let (Some(only), None) = (all.next(), all.next()) {
            only
        } else {
            self.best(&board, tick).ok_or_else(|| Error::NoDefault {
                board: board.first().copied().map(shown).unwrap_or_default(),
                names: self.have(),
            })?
        };
        let mut extras = Vec::new();
        for name in wanted {
            let extra = self.named(name, tick)?;
            if names(&extra, "fdt").next().is_none() {
                return Err(Error::NoOverlay(shown(name)));
            }
            extras.push(extra);
            if extras.len() > MAX_OVERLAYS {
                return Err(Error::Overlays);
            }
        }
        Ok(Choice { base, extras, board })
    }

    /// Which of the board's names a configuration is for, the most specific one being 0, and all that it is for.
    fn rank(
        &self,
        configuration: &FdtNode<'a>,
        board: &[&str],
        ask: bool,
        tick: &mut Tick<'_>,
    ) -> (Option<usize>, Vec<&'a str>) {
        let suits = names(configuration, "compatible").take(MAX_NAMES);
        let mut suits: Vec<&str> = suits.collect();
        if suits.is_empty() && ask {
            let tree = names(configuration, "fdt").next();
            let image = tree.and_then(|name| Some((child(&self.images, name, tick)?, name)));
            let range = image.and_then(|(image, name)| self.data(&image, name).ok());
            let bytes = range.and_then(|range| self.file.get(range));
            // A packed tree cannot be read here; U-Boot does not read one either.
            let tree = bytes.and_then(|bytes| Tree::check(bytes).ok());
            suits = tree.iter().flat_map(Tree::compatible).take(MAX_NAMES).collect();
        }
        let rank = board.iter().position(|name| suits.contains(name));
        (rank, suits)
    }

    /// The configuration that is for the most specific of the board's names; of several the first (D-121).
    fn best(&self, board: &[&str], tick: &mut Tick<'_>) -> Option<FdtNode<'a>> {
        let mut asked: usize = 0;
        let ranked = self.all().filter_map(|configuration| {
            asked = asked.saturating_add(usize::from(property(&configuration, "compatible").is_none()));
            let (rank, _) = self.rank(&configuration, board, asked <= MAX_ASKED, tick);
            Some((rank?, configuration))
        });
        ranked
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, configuration)| configuration)
    }

    /// Says when a configuration is for another board than this.
    fn compare(&self, chosen: &FdtNode<'a>, board: &[&str], tick: &mut Tick<'_>) {
        let (rank, suits) = self.rank(chosen, board, true, tick);
        let (Some(board_name), Some(other)) = (board.first(), suits.first()) else {
            return;
        };
        if rank == Some(0) || board.contains(other) {
            return;
        }
        let line = format!(
            "configuration {} is for {}, and this is {}",
            shown(chosen.name()),
            shown(other),
            shown(board_name)
        );
        match self.best(core::slice::from_ref(board_name), tick) {
            Some(better) => warn!("load: {}, which {} is for", line, shown(better.name())),
            None => warn!("load: {}", line),
        }
    }

    /// The range of the named image, after a check of its type and its hashes.
    fn part(&self, name: &str, place: &Place, sums: &mut Sums<'_>) -> Result<Range<usize>, Error> {
        let image = child(&self.images, name, sums.tick).ok_or_else(|| Error::NoImage(shown(name)))?;
        let check = |property_name, known: &[&str], wanted| {
            let found = property(&image, property_name).and_then(text);
            match found.filter(|found| !known.contains(found)) {
                Some(found) => Err(Error::Unfit {
                    image: shown(name),
                    property: property_name,
                    found: shown(found),
                    wanted,
                }),
                None => Ok(()),
            }
        };
        check("type", place.kinds, place.kind)?;
        check("arch", &["arm64"], "arm64")?;
        check("os", &["linux"], "linux")?;
        if !place.compression.is_empty() {
            check("compression", place.compression, place.packed)?;
        }
        let range = self.data(&image, name)?;
        check_hashes(&image, self.file, &range, name, sums)?;
        Ok(range)
    }

    /// The range of an image's data, in the tree or behind it.
    fn data(&self, image: &FdtNode<'_>, name: &str) -> Result<Range<usize>, Error> {
        let number = |name| {
            let value = property(image, name)?;
            value
                .try_into()
                .ok()
                .map(|bytes| u32::from_be_bytes(bytes) as usize)
        };
        let no_data = || Error::NoData(shown(name));
        if let Some(data) = property(image, "data") {
            return self.place_of(data).ok_or_else(no_data);
        }
        let position = number("data-position");
        let position = position.or_else(|| self.end.checked_add(number("data-offset")?));
        let (start, size) = position.zip(number("data-size")).ok_or_else(no_data)?;
        let end = start.saturating_add(size);
        if end > self.file.len() {
            return Err(Error::Truncated {
                image: shown(name),
                len: self.file.len(),
                expected: end,
            });
        }
        Some(start..end)
            .filter(|range| !range.is_empty())
            .ok_or_else(no_data)
    }

    /// The range of `part` in the file.
    fn place_of(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = part.as_ptr().addr().checked_sub(self.file.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        Some(start..end).filter(|range| !range.is_empty() && range.end <= self.file.len())
    }
}

/// An algorithm: its name, and the sum that it makes of bytes.
type Algorithm = (&'static str, fn(&[u8], &mut Tick<'_>) -> Vec<u8>);

/// The algorithm of that name.
fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "crc32" => ("crc32", |bytes, tick| {
            gzip::crc32(bytes, tick).to_be_bytes().into()
        }),
        "md5" => ("md5", digest::<Md5>),
        "sha1" => ("sha1", digest::<Sha1>),
        "sha256" => ("sha256", digest::<Sha256>),
        "sha384" => ("sha384", digest::<Sha384>),
        "sha512" => ("sha512", digest::<Sha512>),
        _ => return None,
    })
}

/// The sums of a file's ranges: no range is summed up twice by one algorithm, however many images have it, and all sums are of a
/// bounded number of bytes. Without that a file of 400 MB would keep a node busy for an hour (D-192).
struct Sums<'t> {
    /// Bytes that may still be summed up.
    left: usize,
    known: Vec<(Range<usize>, &'static str, Vec<u8>)>,
    tick: &'t mut Tick<'t>,
}

impl Sums<'_> {
    /// The sum of a range of `file`; none when too much was summed up.
    fn of(&mut self, file: &[u8], range: &Range<usize>, (name, sum): Algorithm) -> Option<&[u8]> {
        let is_it = |(of, by, _): &(Range<usize>, &str, _)| of == range && *by == name;
        let at = match self.known.iter().position(is_it) {
            Some(at) => at,
            None => {
                self.left = self.left.checked_sub(range.len())?;
                let sum = sum(file.get(range.clone()).unwrap_or_default(), self.tick);
                self.known.push((range.clone(), name, sum));
                self.known.len().saturating_sub(1)
            }
        };
        self.known.get(at).map(|(.., sum)| &**sum)
    }
}

/// Checks what the image's nodes `hash`, `hash-1`, `hash@1` and so on say of its range of the file.
fn check_hashes(
    image: &FdtNode<'_>,
    file: &[u8],
    range: &Range<usize>,
    name: &str,
    sums: &mut Sums<'_>,
) -> Result<(), Error> {
    let hashes = image.children().filter(|node| node.name().starts_with("hash"));
    let mut count: usize = 0;
    for hash in hashes {
        count = count.saturating_add(1);
        let value = property(&hash, "value").filter(|_| count <= MAX_HASHES);
        let value = value.ok_or_else(|| Error::Hashes(shown(name)))?;
        let wanted = property(&hash, "algo").and_then(text).unwrap_or_default();
        let algorithm = algorithm(wanted).ok_or_else(|| Error::Algorithm(shown(name), shown(wanted)))?;
        let sum = sums.of(file, range, algorithm);
        if sum.ok_or_else(|| Error::Overlap(shown(name)))? != value {
            return Err(Error::Hash(shown(name), algorithm.0));
        }
    }
    if count == 0 {
        warn!("load: \"{}\" in the FIT image has no hash", shown(name));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use sha2::Digest as _;

    use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

    use super::super::device_tree::tests::{Value, node};
    use super::*;

    type Hashes<'a> = &'a [(&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>)];

    /// The properties of a configuration.
    type Parts<'a> = &'a [(&'a str, &'a dyn Value)];

    /// An image of a FIT with these hashes.
    fn image(name: &str, kind: &str, data: &[u8], hashes: Hashes<'_>) -> DeviceTreeNode {
        let hashes = hashes.iter().enumerate().map(|(n, (algorithm, sum))| {
            node(
                &format!("hash-{n}"),
                &[("algo", algorithm), ("value", &sum(data).as_slice())],
                vec![],
            )
        });
        node(
            name,
            &[
                ("description", &name),
                ("type", &kind),
                ("arch", &"arm64"),
                ("os", &"linux"),
                ("compression", &"none"),
                ("data", &data),
            ],
            hashes.collect(),
        )
    }

    fn crc32(data: &[u8]) -> Vec<u8> {
        gzip::crc32(data, &mut |_| {}).to_be_bytes().to_vec()
    }

    /// A FIT image of images, each with its name, type and data, and configurations, each with its name and parts.
    pub(crate) fn golden(
        images: &[(&str, &str, &[u8])],
        configurations: &[(&str, Parts<'_>)],
        default: Option<&str>,
    ) -> DeviceTree {
        let images = images
            .iter()
            .map(|(name, kind, data)| image(name, kind, data, &[("crc32", &crc32)]));
        let configurations = configurations
            .iter()
            .map(|(name, parts)| node(name, parts, vec![]));
        let mut tree = DeviceTree::new();
        let mut all = node("configurations", &[], configurations.collect());
        if let Some(default) = default {
            all.add_property(DeviceTreeProperty::new_unchecked("default", default));
        }
        tree.root = node(
            "",
            &[("description", &"made by a test"), ("#address-cells", &1_u32)],
            vec![node("images", &[], images.collect()), all],
        );
        tree
    }

    fn usual() -> DeviceTree {
        golden(
            &[
                ("kernel", "kernel", b"the kernel"),
                ("other", "kernel_noload", b"another kernel"),
                ("pi3", "flat_dt", b"tree of a Pi 3"),
                ("pi4", "flat_dt", b"tree of a Pi 4"),
                ("rtc", "flat_dt", b"an overlay"),
                ("initrd", "ramdisk", b"a ramdisk"),
            ],
            &[
                (
                    "conf-1",
                    &[("kernel", &"kernel"), ("fdt", &"pi3"), ("ramdisk", &"initrd")],
                ),
                (
                    "conf-2",
                    &[("kernel", &"other"), ("fdt", &b"pi4\0rtc\0".as_slice())],
                ),
            ],
            Some("conf-1"),
        )
    }

    fn opened(file: &[u8], configuration: Option<&str>) -> Result<Vec<String>, String> {
        opened_on(file, configuration, &[])
    }

    /// The parts that a board of these names gets.
    fn opened_on(file: &[u8], configuration: Option<&str>, board: &[&str]) -> Result<Vec<String>, String> {
        let tree = board_tree(board);
        let board = Tree::check(&tree).unwrap();
        let contents = open(file, configuration, Some(&board), &mut |_| {}).map_err(|why| why.to_string())?;
        let checked = check(file, configuration, Some(&board), &mut |_| {}).map_err(|why| why.to_string());
        assert_eq!(checked, Ok(()));
        let all = [Some(contents.kernel), contents.device_tree]
            .into_iter()
            .chain(contents.overlays.into_iter().map(Some))
            .chain([contents.ramdisk]);
        Ok(all
            .flatten()
            .map(|range| String::from_utf8_lossy(&file[range]).into_owned())
            .collect())
    }

    #[test]
    fn a_configuration_is_taken_by_name_or_by_default_or_because_it_is_the_only_one() {
        let mut fit = usual();
        let default = ["the kernel", "tree of a Pi 3", "a ramdisk"];
        let second = ["another kernel", "tree of a Pi 4", "an overlay"];
        assert_eq!(opened(&fit.to_dtb(), None).unwrap(), default);
        assert_eq!(opened(&fit.to_dtb(), Some("conf-1")).unwrap(), default);
        assert_eq!(opened(&fit.to_dtb(), Some("conf-2")).unwrap(), second);
        let all = fit.find_node_mut("/configurations").unwrap();
        all.remove_property("default");
        all.remove_child("conf-1");
        assert_eq!(opened(&fit.to_dtb(), None).unwrap(), second);
        fit.find_node_mut("/configurations")
            .unwrap()
            .remove_child("conf-2");
        assert_eq!(
            opened(&fit.to_dtb(), None).unwrap_err(),
            "FIT image has no default configuration (file#name asks for one); it has none"
        );
    }

    /// A device tree that says what a board is.
    fn board_tree(names: &[&str]) -> Vec<u8> {
        let mut tree = DeviceTree::new();
        tree.root = node("", &[("compatible", &names)], vec![]);
        tree.to_dtb()
    }

    const PI_3: &[&str] = &["raspberrypi,3-model-b", "brcm,bcm2837"];
    const PI_4: &[&str] = &["raspberrypi,4-model-b", "brcm,bcm2711"];

    /// As Linux's `make image.fit`: a kernel and a tree for each of many boards, which the configurations name. No default.
    fn for_many_boards(count: usize) -> DeviceTree {
        let (mut images, mut configurations) = (Vec::new(), Vec::new());
        images.push(image("kernel", "kernel_noload", b"the kernel", &[]));
        for n in 1..=count {
            let tree = format!("fdt-{n}");
            images.push(image(&tree, "flat_dt", format!("tree {n}").as_bytes(), &[]));
            let board = format!("vendor,board-{n}\0vendor,soc-{}\0", n / 2);
            let parts: Parts<'_> = &[
                ("compatible", &board.as_bytes()),
                ("description", &"a board"),
                ("fdt", &&*tree),
                ("kernel", &"kernel"),
            ];
            configurations.push(node(&format!("conf-{n}"), parts, vec![]));
        }
        let mut tree = DeviceTree::new();
        tree.root = node(
            "",
            &[],
            vec![
                node("images", &[], images),
                node("configurations", &[], configurations),
            ],
        );
        tree
    }

    #[test]
    fn linux_for_all_boards_opens_by_name_and_by_board() {
        let file = for_many_boards(3000).to_dtb();
        let parts = |n| Ok(vec!["the kernel".to_string(), format!("tree {n}")]);
        assert_eq!(opened(&file, Some("conf-2999")), parts(2999));
        let on = |board: &[&str]| opened_on(&file, None, board);
        assert_eq!(on(&["vendor,board-3000", "vendor,soc-1500"]), parts(3000));
        // The more specific name counts, wherever its configuration is; of two that suit as well, the first.
        assert_eq!(
            on(&["vendor,board-7", "vendor,board-5", "vendor,soc-1"]),
            parts(7)
        );
        assert_eq!(on(&["vendor,board-x", "vendor,soc-2"]), parts(4));
        assert_eq!(
            on(PI_4).unwrap_err(),
            "FIT image has no default configuration, and none for raspberrypi,4-model-b (file#name asks for one); it \
             has conf-1, conf-2, conf-3, conf-4, conf-5, conf-6, conf-7, conf-8, and 2992 more"
        );
        assert_eq!(
            opened(&for_many_boards(12_000).to_dtb(), Some("conf-1")).unwrap_err(),
            "FIT image has more than 131072 nodes and properties"
        );
    }

    #[test]
    fn a_configuration_that_names_no_board_is_for_the_one_of_its_tree() {
        let (pi_3, pi_4) = (board_tree(PI_3), board_tree(PI_4));
        let of = |default| {
            golden(
                &[
                    ("kernel", "kernel", b"the kernel"),
                    ("pi3", "flat_dt", &pi_3),
                    ("pi4", "flat_dt", &pi_4),
                    ("odd", "flat_dt", b"nonsense"),
                ],
                &[
                    ("none", &[("kernel", &"kernel")]),
                    ("odd", &[("kernel", &"kernel"), ("fdt", &"odd")]),
                    ("three", &[("kernel", &"kernel"), ("fdt", &"pi3")]),
                    ("four", &[("kernel", &"kernel"), ("fdt", &"pi4")]),
                ],
                default,
            )
            .to_dtb()
        };
        let tree = |file: &[u8], board: &[&str]| {
            let (tree, all) = (board_tree(board), file);
            let contents = open(all, None, Some(&Tree::check(&tree).unwrap()), &mut |_| {})?;
            Ok(contents.device_tree.map(|range| all[range].to_vec()))
        };
        assert_eq!(tree(&of(None), PI_3), Ok(Some(pi_3.clone())));
        assert_eq!(tree(&of(None), PI_4), Ok(Some(pi_4.clone())));
        let none = tree(&of(None), &["raspberrypi,5-model-b", "brcm,bcm2712"]);
        assert!(matches!(none, Err(Error::NoDefault { .. })), "{none:?}");
        // The default is what its author meant, also on another board.
        assert_eq!(tree(&of(Some("three")), PI_4), Ok(Some(pi_3)));
    }

    #[test]
    fn each_search_among_the_nodes_is_heard_of_and_so_many_trees_are_asked_for_their_boards() {
        let tree = board_tree(&["maker,another-board"]);
        let names: Vec<String> = (0..=MAX_ASKED).map(|many| format!("c{many}")).collect();
        let parts: Parts<'_> = &[("kernel", &"kernel"), ("fdt", &"tree")];
        let configurations: Vec<_> = names.iter().map(|name| (&**name, parts)).collect();
        let images: &[(&str, &str, &[u8])] = &[("kernel", "kernel", b"kernel"), ("tree", "flat_dt", &tree)];
        let file = golden(images, &configurations, None).to_dtb();
        let board = board_tree(PI_4);
        let board = Tree::check(&board).unwrap();
        let mut heard = 0;
        let refused = check(&file, None, Some(&board), &mut |_| heard += 1);
        assert!(matches!(refused, Err(Error::NoDefault { .. })), "{refused:?}");
        // The whole file, its two parts, and each.
        assert_eq!(heard, 1 + 2 + MAX_ASKED);
        heard = 0;
        open(&file, Some("c1"), Some(&board), &mut |_| heard += 1).unwrap();
        // The same; the configuration, whose board is not this; whether there is a better one; its two images and their hashes.
        assert_eq!(heard, 1 + 2 + 1 + 1 + MAX_ASKED + 2 + 2);
    }

    #[test]
    fn more_configurations_add_their_trees_as_overlays_in_order() {
        let configurations: &[(&str, Parts<'_>)] = &[
            ("pi", &[("kernel", &"kernel"), ("fdt", &b"tree\0own\0")]),
            ("bare", &[("kernel", &"kernel")]),
            ("clock", &[("fdt", &"rtc")]),
            ("both", &[("fdt", &b"rtc\0can\0")]),
            ("empty", &[("fdt", &"")]),
        ];
        let images: &[(&str, &str, &[u8])] = &[
            ("kernel", "kernel", b"kernel"),
            ("tree", "flat_dt", b"tree"),
            ("own", "flat_dt", b"own"),
            ("rtc", "flat_dt", b"rtc"),
            ("can", "flat_dt", b"can"),
        ];
        let file = golden(images, configurations, None).to_dtb();
        let line = |wanted: &str| opened(&file, Some(wanted)).map(|parts| parts.join(" "));
        assert_eq!(line("pi").unwrap(), "kernel tree own");
        assert_eq!(line("pi#clock").unwrap(), "kernel tree own rtc");
        assert_eq!(line("pi#both#clock").unwrap(), "kernel tree own rtc can rtc");
        assert_eq!(
            line("pi#clock#no").unwrap_err(),
            "FIT image has no configuration \"no\"; it has pi, bare, clock, both, empty"
        );
        assert!(line("pi#").is_err() && line("pi##clock").is_err() && line("#pi").is_err());
        assert_eq!(
            line("pi#empty").unwrap_err(),
            "configuration \"empty\" of the FIT image has no overlay to add"
        );
        assert_eq!(
            line("bare#clock").unwrap_err(),
            "configuration \"bare\" of the FIT image has no device tree to put overlays on"
        );
        assert_eq!(
            line(&format!("pi{}", "#clock".repeat(40))).unwrap_err(),
            "FIT image has more than 16 overlays in one configuration"
        );
    }

    #[test]
    fn a_configuration_has_sixteen_overlays_at_most_and_of_ramdisks_the_first() {
        let with = |name: &str, value: &str| {
            let mut fit = usual();
            let node = fit.find_node_mut("/configurations/conf-1").unwrap();
            node.add_property(DeviceTreeProperty::new_unchecked(name, value));
            opened(&fit.to_dtb(), None)
        };
        let overlays = |count| with("fdt", &format!("pi3{}", "\0rtc".repeat(count)));
        assert_eq!(overlays(16).unwrap().len(), 1 + 1 + 16 + 1);
        assert_eq!(
            overlays(17).unwrap_err(),
            "FIT image has more than 16 overlays in one configuration"
        );
        // The second, which is no ramdisk, is not looked at.
        assert_eq!(with("ramdisk", "initrd\0rtc").unwrap()[2], "a ramdisk");
    }

    #[test]
    fn data_behind_the_tree_is_found_by_offset_and_by_position() {
        for by_position in [false, true] {
            let mut fit = usual();
            let kernel = fit.find_node_mut("/images/kernel").unwrap();
            kernel.remove_property("data");
            let mut put = |name: &str, value: usize| {
                kernel.add_property(DeviceTreeProperty::new_unchecked(name, value as u32));
            };
            put("data-size", 10);
            put(
                if by_position {
                    "data-position"
                } else {
                    "data-offset"
                },
                4,
            );
            let start = fit.to_dtb().len().next_multiple_of(4) + 4;
            if by_position {
                let kernel = fit.find_node_mut("/images/kernel").unwrap();
                kernel.add_property(DeviceTreeProperty::new_unchecked("data-position", start as u32));
            }
            let mut file = fit.to_dtb();
            file.resize(start, 0xee);
            file.extend(b"the kernel");
            assert_eq!(opened(&file, None).unwrap()[0], "the kernel");
            file.pop();
            assert_eq!(
                opened(&file, None).unwrap_err(),
                format!(
                    "truncated FIT image: {} of {} bytes, inside \"kernel\"",
                    start + 9,
                    start + 10
                )
            );
        }
    }

    #[test]
    fn every_hash_of_a_part_is_checked_and_none_of_the_others() {
        let all: Hashes<'_> = &[
            ("crc32", &crc32),
            ("md5", &|data| Md5::digest(data).to_vec()),
            ("sha1", &|data| Sha1::digest(data).to_vec()),
            ("sha256", &|data| Sha256::digest(data).to_vec()),
            ("sha384", &|data| Sha384::digest(data).to_vec()),
            ("sha512", &|data| Sha512::digest(data).to_vec()),
        ];
        for hash in all {
            let mut fit = usual();
            let images = fit.find_node_mut("/images").unwrap();
            images.add_child(image("kernel", "kernel", b"the kernel", &[*hash]));
            let file = fit.to_dtb();
            assert!(opened(&file, None).is_ok(), "{}", hash.0);
            let at = file.windows(10).position(|bytes| bytes == b"the kernel").unwrap();
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert_eq!(
                opened(&changed, None).unwrap_err(),
                format!("FIT image is corrupt: the {} of \"kernel\" differs", hash.0)
            );
            assert!(opened(&changed, Some("conf-2")).is_ok());
        }
    }

    /// A FIT image whose kernel, tree, sixteen overlays and ramdisk lie in `data` behind it, the n-th from its byte `step * n` on,
    /// each with four SHA-512 of that. How `open` ends, and of how many bytes of work it told.
    fn summed_up(data: &[u8], step: usize) -> (Result<Contents, Error>, usize, usize) {
        let overlays: Vec<String> = (0..MAX_OVERLAYS).map(|n| format!("overlay{n}")).collect();
        let mut trees = vec!["tree"];
        trees.extend(overlays.iter().map(String::as_str));
        let with = |behind: usize| {
            let all = ["kernel"]
                .into_iter()
                .chain(trees.iter().copied())
                .chain(["ramdisk"]);
            let images = all.enumerate().map(|(n, name)| {
                let start = step * n;
                let sum = Sha512::digest(&data[start..]).to_vec();
                let hashes = (0..MAX_HASHES).map(|n| {
                    let sum: &dyn Value = &sum.as_slice();
                    node(
                        &format!("hash-{n}"),
                        &[("algo", &"sha512"), ("value", sum)],
                        vec![],
                    )
                });
                let kind = if n == 0 { "kernel" } else { "flat_dt" };
                let kind = if name == "ramdisk" { name } else { kind };
                let place: [u32; 2] = [(behind + start) as u32, (data.len() - start) as u32];
                node(
                    name,
                    &[
                        ("type", &kind),
                        ("data-position", &place[0]),
                        ("data-size", &place[1]),
                    ],
                    hashes.collect(),
                )
            });
            let parts: Parts<'_> = &[
                ("kernel", &"kernel"),
                ("fdt", &trees.as_slice()),
                ("ramdisk", &"ramdisk"),
            ];
            let configurations = node("configurations", &[], vec![node("conf-1", parts, vec![])]);
            let mut tree = DeviceTree::new();
            tree.root = node(
                "",
                &[],
                vec![node("images", &[], images.collect()), configurations],
            );
            tree.to_dtb()
        };
        let mut file = with(with(0).len());
        file.extend_from_slice(data);
        let mut told = 0;
        let result = open(&file, None, None, &mut |bytes| told += bytes);
        (result, told, file.len())
    }

    #[test]
    fn bytes_that_many_images_share_are_summed_up_once() {
        let data: Vec<u8> = (0..300_000_usize).map(|byte| (byte % 251) as u8).collect();
        let (result, told, _) = summed_up(&data, 0);
        assert_eq!(result.unwrap().overlays.len(), MAX_OVERLAYS);
        assert_eq!(told, data.len());
    }

    #[test]
    fn images_that_lie_over_each_other_do_not_take_for_ever() {
        let data: Vec<u8> = (0..300_000_usize).map(|byte| (byte % 251) as u8).collect();
        let (result, told, len) = summed_up(&data, 1);
        assert_eq!(result.unwrap_err(), Error::Overlap("overlay2".into()));
        assert!(
            told <= MAX_SUMS * len && told > (MAX_SUMS - 1) * len,
            "{told} of {len}"
        );
    }

    #[test]
    fn each_refusal_says_what_is_wrong() {
        let line = |path: &str, name: &str, value: &str| {
            let mut fit = usual();
            let node = fit.find_node_mut(path).unwrap();
            node.add_property(DeviceTreeProperty::new_unchecked(name, value));
            opened(&fit.to_dtb(), None).unwrap_err()
        };
        assert_eq!(
            line("/configurations", "default", "conf-9"),
            "FIT image has no configuration \"conf-9\"; it has conf-1, conf-2"
        );
        assert_eq!(
            line("/configurations/conf-1", "kernel", "\x1b[31m"),
            "FIT image lacks \"?[31m\", which its configuration names"
        );
        assert_eq!(
            line("/configurations/conf-1", "kernel", ""),
            "configuration \"conf-1\" of the FIT image names no kernel"
        );
        assert_eq!(
            line("/images/kernel", "compression", "lzma"),
            "\"kernel\" in the FIT image has the compression \"lzma\", not none or gzip"
        );
        assert_eq!(
            line("/images/kernel", "arch", "arm"),
            "\"kernel\" in the FIT image has the arch \"arm\", not arm64"
        );
        assert_eq!(
            line("/images/kernel", "os", "u-boot"),
            "\"kernel\" in the FIT image has the os \"u-boot\", not linux"
        );
        assert_eq!(
            line("/images/kernel", "type", "script"),
            "\"kernel\" in the FIT image has the type \"script\", not kernel"
        );
        assert_eq!(
            line("/images/kernel/hash-0", "algo", "xxh3"),
            "\"kernel\" in the FIT image has a hash by \"xxh3\", which is not known"
        );
        let mut fit = usual();
        fit.find_node_mut("/images/kernel")
            .unwrap()
            .remove_property("data");
        assert_eq!(
            opened(&fit.to_dtb(), None).unwrap_err(),
            "\"kernel\" in the FIT image has no data"
        );
        fit.find_node_mut("/configurations")
            .unwrap()
            .remove_property("default");
        assert_eq!(
            opened(&fit.to_dtb(), None).unwrap_err(),
            "FIT image has no default configuration (file#name asks for one); it has conf-1, conf-2"
        );
        fit.root.remove_child("images");
        assert_eq!(
            opened(&fit.to_dtb(), None).unwrap_err(),
            "is a device tree, but no FIT image: it has no /images"
        );
        let file = usual().to_dtb();
        assert_eq!(
            opened(&file[..100], None).unwrap_err(),
            format!("truncated FIT image: 100 of {} bytes", file.len())
        );
    }

    #[test]
    fn every_changed_byte_is_an_error_or_parts_inside_the_file() {
        let golden = usual().to_dtb();
        let mut changed = golden.clone();
        let (mut accepted, mut refused) = (0, 0);
        for at in 0..golden.len() {
            for flip in 1..=255 {
                changed[at] ^= flip;
                for configuration in [None, Some("conf-2")] {
                    match opened(&changed, configuration) {
                        Ok(_) => accepted += 1,
                        Err(_) => refused += 1,
                    }
                }
                changed[at] = golden[at];
            }
        }
        assert!(
            accepted > 1 && refused > 1,
            "{accepted} accepted, {refused} refused"
        );
    }
}
