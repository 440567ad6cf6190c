//! Which initrds Linux gets from a script: of what was downloaded, each file that is nothing else. What a menu's Linux gets is in
//! `menu/initrds.rs`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::cpio;
use super::errno::{Errno, Failure};
use super::images::{Id, Image, Images, Stored};
use crate::load::kernel::room as kernel_room;
use crate::load::{fit, uimage, zboot};
use crate::text::plain;
use crate::work::Tick;

/// The parts of the initial ramdisk in order, when `kernel` boots with that device tree. A kernel that is not booted is none either,
/// unless as a file in it.
pub(super) fn of(images: &Images<'_>, kernel: Id, device_tree: Option<Id>, tick: &mut Tick<'_>) -> Vec<Id> {
    let is_free = |image: &&Image| {
        image.listed
            && !image.program
            && image.id() != kernel
            && Some(image.id()) != device_tree
            && matches!(image.content, Stored::Data { .. })
    };
    images
        .iter()
        .filter(is_free)
        .filter(|image| file(image).is_some() || !is_kernel(images.bytes(image.id()), tick))
        .map(Image::id)
        .collect()
}

/// Which file in the initial ramdisk an image is; none for an archive.
pub(super) fn file(image: &Image) -> Option<String> {
    image.arguments().and_then(cpio::name).map(plain)
}

/// The archive headers for a file of `len` bytes with that command line, which names it.
pub(super) fn headers(arguments: &str, len: usize) -> Result<Vec<u8>, Failure> {
    cpio::headers(arguments, len).map_err(|why| {
        let name = plain(cpio::name(arguments).unwrap_or_default());
        Failure::new(
            Errno::VALUE,
            format!("no file in the initial ramdisk can be called \"{name}\": {why}"),
        )
    })
}

/// Whether a file is made to be executed, and so is no initial ramdisk.
fn is_kernel(file: &[u8], tick: &mut Tick<'_>) -> bool {
    let wrapped = uimage::is_uimage(file) && uimage::contents(file, uimage::ImageType::Kernel, tick).is_ok();
    wrapped || zboot::is_zboot(file) || fit::is_fit(file) || kernel_room(file).is_some()
}
