//! FIT images: kernel, device trees and initial ramdisk in one file, a device tree itself (Flat Image Tree specification).
//!
//! A configuration names its parts; every hash of a part that is used is checked before anything else sees its bytes.
//! Signatures are not checked, no more than any other file's are.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use dtoolkit::Node as _;
use dtoolkit::fdt::FdtNode;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use super::device_tree::{self, Tree, property, text};
use super::overlay::MAX_OVERLAYS;
use super::{gzip, visible};

/// Hashes of a part; real images have one or two.
const MAX_HASHES: usize = 4;
/// Names that an error lists.
const SHOWN: usize = 8;

/// Where the parts of a configuration are in the file. All of their hashes were right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The kernel, raw or packed by gzip.
    pub kernel: Range<usize>,
    /// The device tree, raw or packed by gzip.
    pub device_tree: Option<Range<usize>>,
    /// Overlays for the device tree, in order.
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
    /// No configuration was asked for, and none is the default; the names that there are.
    NoDefault(String),
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
        /// What it says.
        found: String,
        /// What would do.
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
    /// A hash of this image, by this algorithm, differs.
    Hash(String, &'static str),
    /// A hash of this image is by this algorithm, which is not known here.
    Algorithm(String, String),
    /// A hash of this image has no value, or there are more than four.
    Hashes(String),
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
            Self::NoDefault(names) => write!(
                f,
                "FIT image has no default configuration (file#name asks for one); it has {names}"
            ),
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

/// What an image must be to take a place in a configuration: its type, its operating system if it has one, and how it
/// may be packed.
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
const OVERLAY: Place = Place {
    compression: &["none"],
    packed: "none",
    ..DEVICE_TREE
};
/// Linux unpacks it, whatever the image says.
const RAMDISK: Place = Place {
    kinds: &["ramdisk"],
    kind: "ramdisk",
    compression: &[],
    packed: "",
};

/// Whether there is a configuration of that name, else a default one, else an only one. No part of it is looked at.
pub fn check(file: &[u8], configuration: Option<&str>) -> Result<(), Error> {
    read(file, configuration).map(|_| ())
}

/// Finds the parts of the configuration of that name, else of the default one, else of the only one.
pub fn open(file: &[u8], configuration: Option<&str>) -> Result<Contents, Error> {
    let (fit, chosen) = read(file, configuration)?;
    let name = || shown(chosen.name());
    let kernel = names(&chosen, "kernel")
        .next()
        .ok_or_else(|| Error::NoKernel(name()))?;
    let mut trees = names(&chosen, "fdt");
    let device_tree = trees.next();
    let overlays: Vec<&str> = trees.take(MAX_OVERLAYS.saturating_add(1)).collect();
    if overlays.len() > MAX_OVERLAYS {
        return Err(Error::Overlays);
    }
    info!("load: configuration {} of the FIT image", name());
    for unused in ["loadables", "firmware", "fpga"] {
        if property(&chosen, unused).is_some() {
            warn!("load: {} in the FIT image is not loaded", unused);
        }
    }
    let ramdisk = names(&chosen, "ramdisk").next();
    Ok(Contents {
        kernel: fit.part(kernel, &KERNEL)?,
        device_tree: device_tree.map(|name| fit.part(name, &DEVICE_TREE)).transpose()?,
        overlays: overlays
            .into_iter()
            .map(|name| fit.part(name, &OVERLAY))
            .collect::<Result<_, _>>()?,
        ramdisk: ramdisk.map(|name| fit.part(name, &RAMDISK)).transpose()?,
    })
}

fn read<'a>(file: &'a [u8], configuration: Option<&str>) -> Result<(Fit<'a>, FdtNode<'a>), Error> {
    let tree = Tree::check_container(file).map_err(Error::Tree)?;
    let root = tree.fdt().root();
    let images = child(&root, "images").ok_or(Error::Missing("/images"))?;
    let all = child(&root, "configurations").ok_or(Error::Missing("/configurations"))?;
    let chosen = choose(&all, configuration)?;
    let fit = Fit {
        file,
        // Where data that is not in the tree begins to be counted.
        end: tree.size().checked_next_multiple_of(4).unwrap_or(usize::MAX),
        images,
    };
    Ok((fit, chosen))
}

fn choose<'a>(all: &FdtNode<'a>, wanted: Option<&str>) -> Result<FdtNode<'a>, Error> {
    let have = || {
        let names: Vec<String> = all
            .children()
            .take(SHOWN)
            .map(|node| shown(node.name()))
            .collect();
        match names.as_slice() {
            [] => "none".into(),
            names => names.join(", "),
        }
    };
    if let Some(wanted) = wanted {
        return child(all, wanted).ok_or_else(|| Error::Configuration(shown(wanted), have()));
    }
    if let Some(default) = property(all, "default").and_then(text) {
        return child(all, default).ok_or_else(|| Error::Configuration(shown(default), have()));
    }
    // dtoolkit's iterator reads on behind the node's end, and panics there.
    let mut nodes = all.children().fuse();
    match (nodes.next(), nodes.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(Error::NoDefault(have())),
    }
}

/// The child of exactly that name: `kernel` is not `kernel@1`.
fn child<'a>(node: &FdtNode<'a>, name: &str) -> Option<FdtNode<'a>> {
    node.children().find(|child| child.name() == name)
}

/// The strings of a property.
fn names<'a>(node: &FdtNode<'a>, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    property(node, name)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter_map(|name| core::str::from_utf8(name).ok())
        .filter(|name| !name.is_empty())
}

/// A name as an error shows it.
fn shown(name: &str) -> String {
    visible(name.get(..64).unwrap_or(name))
}

/// A file that was proven to be a device tree.
struct Fit<'a> {
    file: &'a [u8],
    end: usize,
    images: FdtNode<'a>,
}

impl Fit<'_> {
    /// Where the image of that name is; it suits its place, and its hashes are right.
    fn part(&self, name: &str, place: &Place) -> Result<Range<usize>, Error> {
        let image = child(&self.images, name).ok_or_else(|| Error::NoImage(shown(name)))?;
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
        let data = self.file.get(range.clone()).unwrap_or_default();
        check_hashes(&image, data, name)?;
        Ok(range)
    }

    /// Where an image's data is: in the tree, or behind it.
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

    /// Where in the file a part of it is.
    fn place_of(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = part.as_ptr().addr().checked_sub(self.file.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        Some(start..end).filter(|range| !range.is_empty() && range.end <= self.file.len())
    }
}

/// Checks what the image's nodes `hash`, `hash-1`, `hash@1` and so on say.
fn check_hashes(image: &FdtNode<'_>, data: &[u8], name: &str) -> Result<(), Error> {
    let hashes = image.children().filter(|node| node.name().starts_with("hash"));
    let mut count: usize = 0;
    for hash in hashes {
        count = count.saturating_add(1);
        let value = property(&hash, "value").filter(|_| count <= MAX_HASHES);
        let value = value.ok_or_else(|| Error::Hashes(shown(name)))?;
        let algorithm = property(&hash, "algo").and_then(text).unwrap_or_default();
        let (algorithm, is_right) = match algorithm {
            "crc32" => ("crc32", gzip::crc32(data).to_be_bytes() == *value),
            "md5" => ("md5", *Md5::digest(data) == *value),
            "sha1" => ("sha1", *Sha1::digest(data) == *value),
            "sha256" => ("sha256", *Sha256::digest(data) == *value),
            "sha384" => ("sha384", *Sha384::digest(data) == *value),
            "sha512" => ("sha512", *Sha512::digest(data) == *value),
            unknown => return Err(Error::Algorithm(shown(name), shown(unknown))),
        };
        if !is_right {
            return Err(Error::Hash(shown(name), algorithm));
        }
    }
    if count == 0 {
        warn!("load: \"{}\" in the FIT image has no hash", shown(name));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
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
        gzip::crc32(data).to_be_bytes().to_vec()
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
        let contents = open(file, configuration).map_err(|why| why.to_string())?;
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
        for at in 0..golden.len() {
            for flip in 1..=255 {
                changed[at] ^= flip;
                for configuration in [None, Some("conf-2")] {
                    let _ = opened(&changed, configuration);
                }
                changed[at] = golden[at];
            }
        }
    }
}
