//! Makes a kernel's file a kernel that can run: unwrapped, unpacked, at its text offset (Linux `booting.rst`).
//!
//! A packed kernel moves to the end of memory, once, and is unpacked from there to where the kernel runs (D-30). A FIT image
//! stays there while its other parts are needed, and the memory for everything else ends where it begins (D-68).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use super::device_tree::Tree;
use super::error::Error;
use super::fit::{self, Contents};
use super::place::BLOCK;
use super::uimage::{self, ImageType};
use super::{gzip, image, zboot};
use crate::memory::Region;
use crate::text::ascii;
use crate::url::Url;
use crate::work::{Tick, copy, shift};

/// A kernel in its place.
#[derive(Debug)]
pub(super) struct Kernel<'m> {
    /// The addresses that it occupies, its entry first.
    pub(super) placed: Range<u64>,
    /// The memory behind it.
    pub(super) free: Region<'m>,
    /// The FIT image that it came in.
    pub(super) bundle: Option<Bundle<'m>>,
}

/// A FIT image at the end of memory (D-68).
#[derive(Debug)]
pub(super) struct Bundle<'m> {
    file: Region<'m>,
    contents: Contents,
}

impl Bundle<'_> {
    /// Its initial ramdisk.
    pub(super) fn ramdisk(&self) -> Option<&[u8]> {
        self.contents.ramdisk.as_ref().map(|range| self.part(range))
    }

    fn part(&self, range: &Range<usize>) -> &[u8] {
        self.file.bytes().get(range.clone()).unwrap_or_default()
    }
}

/// What an arm64 `Image` needs from a 2 MiB boundary on, a device tree behind it included; none when only unpacking can tell.
pub(crate) fn room(file: &[u8]) -> Option<usize> {
    let image = image::parse(file).ok()?;
    let end = image.text_offset.checked_add(image.size)?;
    let room = end.checked_next_multiple_of(BLOCK)?.checked_add(BLOCK)?;
    usize::try_from(room).ok()
}

/// Looks into a kernel's file: what is in it when it is a FIT image, of that `configuration`, else of the one for the
/// `board`.
pub(super) fn open(
    url: &Url,
    file: &[u8],
    configuration: Option<&str>,
    board: Option<&Tree<'_>>,
    tick: &mut Tick<'_>,
) -> Result<Option<Contents>, Error> {
    if fit::is_fit(file) {
        let contents = fit::open(file, configuration, board, tick);
        return contents.map(Some).map_err(|why| in_fit(url, why));
    }
    match configuration {
        Some(name) => Err(Error::NoFit {
            url: url.clone(),
            configuration: ascii(name),
        }),
        None => Ok(None),
    }
}

/// The device tree of a FIT image and the overlays for that, in order, those that are packed unpacked into `scratch`.
pub(super) fn trees<'b>(
    url: &Url,
    file: &'b [u8],
    contents: &Contents,
    mut scratch: &'b mut [u8],
    tick: &mut Tick<'_>,
) -> Result<Option<Trees<'b>>, Error> {
    let Some(tree) = &contents.device_tree else {
        return Ok(None);
    };
    let mut unpacked = |range: &Range<usize>| {
        let bytes = file.get(range.clone()).unwrap_or_default();
        if !gzip::is_gzip(bytes) {
            return Ok(bytes);
        }
        let len = gzip::unpack(bytes, scratch, tick)
            .map_err(|why| in_fit(url, fit::Error::Gzip("a device tree", why)))?;
        let (unpacked, rest) = core::mem::take(&mut scratch)
            .split_at_mut_checked(len)
            .unwrap_or_default();
        scratch = rest;
        Ok(&*unpacked)
    };
    let base = unpacked(tree)?;
    let overlays = contents.overlays.iter().map(unpacked);
    Ok(Some(Trees {
        base,
        overlays: overlays.collect::<Result<_, Error>>()?,
    }))
}

/// The device tree of a FIT image, unpacked.
#[derive(Debug)]
pub(super) struct Trees<'b> {
    pub(super) base: &'b [u8],
    /// Overlays for it, in order.
    pub(super) overlays: Vec<&'b [u8]>,
}

fn in_fit(url: &Url, why: fit::Error) -> Error {
    Error::Fit {
        url: url.clone(),
        why: Box::new(why),
    }
}

/// Makes a kernel's file of `len` bytes at a 2 MiB boundary ready to run there. `contents` are those of a FIT image.
pub(super) fn place<'m>(
    url: Url,
    mut room: Region<'m>,
    len: usize,
    contents: Option<Contents>,
    tick: &mut Tick<'_>,
) -> Result<Kernel<'m>, Error> {
    if let Some(contents) = contents {
        return place_fit(url, room, len, contents, tick);
    }
    let len =
        uimage::unwrap(room.bytes_mut(), len, ImageType::Kernel, tick).map_err(|why| Error::Uimage {
            kind: ImageType::Kernel,
            url: url.clone(),
            why,
        })?;
    let len = zboot::unwrap(room.bytes_mut(), len, tick).map_err(|why| Error::Zboot {
        url: url.clone(),
        why,
    })?;
    let len = if gzip::is_gzip(room.bytes()) {
        unpack(room.bytes_mut(), len, tick).map_err(|why| Error::Gzip {
            url: url.clone(),
            why,
        })?
    } else {
        len
    };
    let (placed, free) = settle(url, room, len, tick)?;
    Ok(Kernel {
        placed,
        free,
        bundle: None,
    })
}

fn place_fit<'m>(
    url: Url,
    mut room: Region<'m>,
    len: usize,
    contents: Contents,
    tick: &mut Tick<'_>,
) -> Result<Kernel<'m>, Error> {
    let at = room.len().saturating_sub(len);
    shift(room.bytes_mut(), 0..len, at, tick);
    let too_big = |needed: usize, free: usize| Error::KernelTooBig {
        url: url.clone(),
        needed: needed as u64,
        free: free as u64,
    };
    let (mut room, file) = room.split_at(at).ok_or_else(|| too_big(len, at))?;
    let bundle = Bundle { file, contents };
    let mut kernel = bundle.part(&bundle.contents.kernel);
    if zboot::is_zboot(kernel) {
        let contents = zboot::contents(kernel).map_err(|why| Error::Zboot {
            url: url.clone(),
            why,
        })?;
        kernel = kernel.get(contents).unwrap_or_default();
    }
    let len = if gzip::is_gzip(kernel) {
        gzip::unpack(kernel, room.bytes_mut(), tick)
            .map_err(|why| in_fit(&url, fit::Error::Gzip("the kernel", why)))?
    } else {
        copy(kernel, room.bytes_mut(), tick).ok_or_else(|| too_big(kernel.len(), at))?;
        kernel.len()
    };
    let (placed, free) = settle(url, room, len, tick)?;
    Ok(Kernel {
        placed,
        free,
        bundle: Some(bundle),
    })
}

/// Moves an `Image` at a 2 MiB boundary to its text offset. Returns the addresses that it occupies, its entry first, and
/// the memory behind it.
fn settle<'m>(
    url: Url,
    mut room: Region<'m>,
    len: usize,
    tick: &mut Tick<'_>,
) -> Result<(Range<u64>, Region<'m>), Error> {
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
        _ => return Err(too_big),
    };
    // Only kernels before Linux 5.8 have a text offset, so only they pay for this copy.
    if offset != 0 {
        shift(room.bytes_mut(), 0..len, offset, tick);
    }
    let (placed, rest) = room.split_at(end).ok_or(too_big)?;
    let start = placed.range().start.saturating_add(image.text_offset);
    Ok((start..placed.range().end, rest))
}

/// Unpacks the gzip file in the first `len` bytes of `room` to the start of `room`, at the cost of one copy of the
/// compressed bytes, and returns how many came out.
fn unpack(room: &mut [u8], len: usize, tick: &mut Tick<'_>) -> Result<usize, gzip::Error> {
    let at = room.len().saturating_sub(len);
    shift(room, 0..len.min(room.len()), at, tick);
    let (output, file) = room.split_at_mut_checked(at).unwrap_or_default();
    gzip::unpack(file, output, tick)
}
