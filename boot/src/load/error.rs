//! Why a payload cannot be loaded.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use super::uimage::ImageType;
use super::{device_tree, fit, gzip, image, uimage, zboot};
use crate::bootargs;
use crate::url::Url;
use crate::verify::Expected;

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
    /// A FIT image cannot be used.
    Fit {
        /// Where it came from.
        url: Url,
        /// Why it cannot.
        why: Box<fit::Error>,
    },
    /// The entry names a configuration of a FIT image, and this is none.
    NoFit {
        /// Where it came from.
        url: Url,
        /// The configuration's name.
        configuration: String,
    },
    /// U-Boot's wrapper around a file cannot be taken off.
    Uimage {
        /// What is in it.
        kind: ImageType,
        /// Where it came from.
        url: Url,
        /// Why it cannot.
        why: uimage::Error,
    },
    /// The kernel inside an EFI program cannot be had.
    Zboot {
        /// Where it came from.
        url: Url,
        /// Why it cannot.
        why: zboot::Error,
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
    /// Kernel and initial ramdisks take more memory than there is.
    Together {
        /// How many bytes they may have.
        free: u64,
    },
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
            Self::Zboot { url, why } => write!(f, "load: kernel {url}: {why}"),
            Self::Fit { url, why } => write!(f, "load: {url}: {why}"),
            Self::NoFit { url, configuration } => write!(
                f,
                "load: kernel {url} is no FIT image; it has no configuration \"{configuration}\""
            ),
            Self::Uimage { kind, url, why } => write!(f, "load: {kind} {url}: {why}"),
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
            Self::Together { free } => {
                write!(
                    f,
                    "load: kernel and initial ramdisks do not fit into {free} bytes together"
                )
            }
            Self::NoMemory { what, free } => {
                write!(f, "load: no place for {what}: only {free} bytes are free")
            }
        }
    }
}

impl core::error::Error for Error {}
