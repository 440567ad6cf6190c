//! What a script has downloaded: files by name, in the payload memory where a boot will want them.
//!
//! Scripts move to the heap when they arrive, because they outlive every rearrangement; everything else stays where it
//! landed. A kernel lands at a 2 MiB boundary and keeps room behind it for its BSS and a device tree, so that what is
//! downloaded next already lies where Linux may have it.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::ops::Range;

use super::budget::{self, Share};
use super::errno::{Errno, Failure, too_many};
use super::line::Text;
use crate::Region;
use crate::fetch::Response;
use crate::load::arrange::{Piece, aligned};
use crate::load::device_tree::Tree;
use crate::load::kernel::room as kernel_room;
use crate::load::place::{BLOCK, PAGE};
use crate::load::{fit, gzip, image, pe, uimage, zboot};
use crate::url::Url;
use crate::verify::{self, is_script};
use crate::work::{Tick, shift};

/// Images at a time.
pub const MAX_IMAGES: usize = 256;

/// Which image, for as long as it exists.
pub type Id = u32;

/// What is kept of an image.
#[derive(Debug)]
pub enum Stored {
    /// A script.
    Script(Rc<Text>),
    /// Bytes in the payload memory.
    Data {
        /// Where they are.
        piece: Piece,
        /// Where the room kept for them ends.
        end: usize,
        /// Whether they are a kernel, which begins at a 2 MiB boundary.
        block: bool,
    },
}

/// A file by name.
#[derive(Debug)]
pub struct Image {
    id: Id,
    /// What scripts call it; several may have one name, then the oldest is meant.
    name: String,
    /// Where it came from, after redirects.
    pub url: Url,
    /// Its command line.
    arguments: Option<String>,
    /// The configuration asked for, when it is a FIT image: what stood behind the `#` of its URI.
    configuration: Option<String>,
    /// What these texts and its URL take.
    share: Share,
    /// What it is.
    pub content: Stored,
    /// Whether it was loaded to be executed: then its command line is for that, and it is no part of an initial ramdisk.
    pub program: bool,
    /// Whether it is freed once it was executed.
    pub autofree: bool,
    /// Whether a signature was checked.
    pub trusted: bool,
    /// Whether it is in the list; a script that runs is not.
    pub listed: bool,
}

impl Image {
    /// Its handle.
    pub fn id(&self) -> Id {
        self.id
    }

    /// What scripts call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its command line.
    pub fn arguments(&self) -> Option<&str> {
        self.arguments.as_deref()
    }

    /// The configuration that was asked for.
    pub fn configuration(&self) -> Option<&str> {
        self.configuration.as_deref()
    }

    /// Calls it something else.
    pub(super) fn rename(&mut self, name: &str) -> Result<(), Failure> {
        budget::texts(&[name.len()])?;
        self.share.replace(self.name.len(), name.len())?;
        self.name = name.into();
        Ok(())
    }

    /// Gives it these words as its command line, or none.
    pub(super) fn set_arguments(&mut self, words: Option<&[String]>) -> Result<(), Failure> {
        let old = self.arguments.as_deref().map_or(0, str::len);
        let new = words.map_or(0, budget::joined);
        budget::texts(&[new])?;
        self.share.replace(old, new)?;
        self.arguments = words.map(|words| words.join(" "));
        Ok(())
    }

    /// Asks for this configuration of a FIT image.
    pub(super) fn configure(&mut self, name: &str) -> Result<(), Failure> {
        self.share.take(budget::texts(&[name.len()])?)?;
        self.configuration = Some(name.into());
        Ok(())
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        match &self.content {
            Stored::Script(text) => text.bytes().len(),
            Stored::Data { piece, .. } => piece.len,
        }
    }

    /// Where it lies in payload memory; none for a script.
    pub(super) fn at(&self) -> Option<Range<usize>> {
        match &self.content {
            Stored::Script(_) => None,
            Stored::Data { piece, .. } => Some(piece.at..piece.end()),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The images and the memory they are in (D-57).
#[derive(Debug)]
pub struct Images<'m> {
    memory: Region<'m>,
    list: Vec<Image>,
    next: Id,
    /// What scripts may keep.
    budget: Share,
    /// The image that `boot` means.
    pub selected: Option<Id>,
    /// The device tree that Linux gets.
    pub device_tree: Option<Id>,
}

impl<'m> Images<'m> {
    /// None yet, and room for them. What is kept of them on the heap is part of the budget.
    pub fn new(memory: Region<'m>, budget: Share) -> Self {
        Self {
            memory,
            budget,
            list: Vec::new(),
            next: 0,
            selected: None,
            device_tree: None,
        }
    }

    /// The images in order, those that run included.
    pub fn iter(&self) -> impl Iterator<Item = &Image> {
        self.list.iter()
    }

    /// The image of that handle.
    pub fn get(&self, id: Id) -> Option<&Image> {
        self.list.iter().find(|image| image.id == id)
    }

    /// The image of that handle, to change.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut Image> {
        self.list.iter_mut().find(|image| image.id == id)
    }

    /// The oldest listed image of that name.
    pub fn find(&self, name: &str) -> Option<Id> {
        let mut listed = self.list.iter().filter(|image| image.listed);
        Some(listed.find(|image| image.name == name)?.id)
    }

    /// The bytes of an image.
    pub fn bytes(&self, id: Id) -> &[u8] {
        match self.get(id).map(|image| &image.content) {
            Some(Stored::Script(text)) => text.bytes(),
            Some(Stored::Data { piece, .. }) => {
                self.memory.bytes().get(piece.at..piece.end()).unwrap_or_default()
            }
            None => &[],
        }
    }

    /// Forgets an image.
    pub fn free(&mut self, id: Id) {
        self.list.retain(|image| image.id != id);
        for reference in [&mut self.selected, &mut self.device_tree] {
            if *reference == Some(id) {
                *reference = None;
            }
        }
    }

    /// Puts an image that has run behind all others, where newly loaded ones are.
    pub fn list_again(&mut self, id: Id) {
        if let Some(at) = self.list.iter().position(|image| image.id == id) {
            let mut image = self.list.remove(at);
            image.listed = true;
            self.list.push(image);
        }
    }

    /// Where the next download goes, at the offset returned. A kernel begins at a 2 MiB boundary; `front` bytes, whole
    /// pages, stay free before anything else.
    pub fn room(&mut self, kernel: bool, front: usize, tick: &mut Tick<'_>) -> (usize, &mut [u8]) {
        self.close_gaps(tick);
        let at = self.free_from(kernel, front);
        (at, self.memory.bytes_mut().get_mut(at..).unwrap_or_default())
    }

    fn free_from(&self, kernel: bool, front: usize) -> usize {
        let end = self.list.iter().map(|image| match image.content {
            Stored::Data { end, .. } => end,
            Stored::Script(_) => 0,
        });
        let align = if kernel { BLOCK } else { PAGE };
        aligned(self.memory.range().start, end.max().unwrap_or(0), align).saturating_add(front)
    }

    /// Moves images down over what was freed below them.
    fn close_gaps(&mut self, tick: &mut Tick<'_>) {
        let base = self.memory.range().start;
        let bytes = self.memory.bytes_mut();
        let mut free = 0;
        let mut moved: Vec<Id> = Vec::new();
        loop {
            // The lowest that has not been looked at.
            let rest = self.list.iter_mut().filter(|image| !moved.contains(&image.id));
            let lowest = rest
                .filter_map(|image| match &mut image.content {
                    Stored::Data { piece, end, block } => Some((image.id, piece, end, *block)),
                    Stored::Script(_) => None,
                })
                .min_by_key(|(_, piece, ..)| piece.at);
            let Some((id, piece, end, block)) = lowest else {
                return;
            };
            moved.push(id);
            let align = if block { BLOCK } else { PAGE };
            let target = aligned(base, free, align).saturating_add(piece.front);
            if target < piece.at && bytes.get(piece.at..piece.end()).is_some() {
                shift(bytes, piece.at..piece.end(), target, tick);
                *end = end.saturating_sub(piece.at.saturating_sub(target));
                piece.at = target;
            }
            free = *end;
        }
    }

    /// Takes in a download of `len` bytes at the offset that [`Images::room`] gave, with the same `front`.
    pub fn add(
        &mut self,
        name: String,
        url: Url,
        at: usize,
        len: usize,
        front: usize,
    ) -> Result<Id, Failure> {
        if self.list.len() >= MAX_IMAGES {
            return Err(too_many(MAX_IMAGES, "images: imgfree forgets them"));
        }
        let memory = self.memory.bytes();
        let bytes = memory
            .get(at..)
            .and_then(|bytes| bytes.get(..len))
            .unwrap_or_default();
        // What has room for a name in front is a file, whatever is in it.
        let content = if front == 0 && is_script(bytes) {
            self.script(&url, bytes)?
        } else {
            let base = self.memory.range().start;
            let piece = Piece { at, len, front };
            let room = kernel_room(bytes);
            let block = aligned(base, at, BLOCK) == at && (room.is_some() || gzip::is_gzip(bytes));
            let end = match room.filter(|_| block) {
                Some(room) => at.saturating_add(room).min(memory.len()),
                None => aligned(base, piece.end(), PAGE),
            };
            Stored::Data { piece, end, block }
        };
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let mut share = self.budget.other();
        share.take(budget::element::<Image>())?;
        share.take(budget::texts(&[name.len(), url.whole().len(), 0])?)?;
        self.list.push(Image {
            id,
            name,
            url,
            arguments: None,
            configuration: None,
            share,
            content,
            program: false,
            autofree: false,
            trusted: false,
            listed: true,
        });
        Ok(id)
    }

    /// The script from `url`, verified, on the heap.
    fn script(&self, url: &Url, bytes: &[u8]) -> Result<Stored, Failure> {
        let len = bytes.len();
        let response = Response {
            url: url.clone(),
            len,
        };
        let text = verify::text(&response, bytes);
        let text = text.map_err(|why| Failure::new(Errno::NOT_EXECUTABLE, why.to_string()))?;
        Ok(Stored::Script(Rc::new(Text::new(
            &text,
            bytes,
            self.budget.other(),
        )?)))
    }

    /// Makes a script of a file that is one, now that it is to be executed.
    pub(super) fn read_script(&mut self, id: Id) -> Result<(), Failure> {
        let is_data = self
            .get(id)
            .is_some_and(|image| matches!(image.content, Stored::Data { .. }));
        if is_data && is_script(self.bytes(id)) {
            let url = self.get(id).map(|image| image.url.clone());
            let script = url.map(|url| self.script(&url, self.bytes(id))).transpose()?;
            if let (Some(image), Some(script)) = (self.get_mut(id), script) {
                image.content = script;
            }
        }
        Ok(())
    }

    /// Unpacks a gzip image into a new one, which is taken in, and verified, as a download is.
    pub fn extract(&mut self, id: Id, name: String, tick: &mut Tick<'_>) -> Result<Id, Failure> {
        let failure = |why: &dyn core::fmt::Display| Failure::new(Errno::ARCHIVE, format!("{why}"));
        let url = self.get(id).map(|image| image.url.clone());
        let (Some(url), true) = (url, gzip::is_gzip(self.bytes(id))) else {
            return Err(failure(&"not a gzip file"));
        };
        self.close_gaps(tick);
        let at = self.free_from(false, 0);
        let Some(Image {
            content: Stored::Data { piece, .. },
            ..
        }) = self.get(id)
        else {
            return Err(failure(&"not a gzip file"));
        };
        let range = piece.at..piece.end();
        let (packed, room) = self
            .memory
            .bytes_mut()
            .split_at_mut_checked(at)
            .unwrap_or_default();
        let packed = packed.get(range).unwrap_or_default();
        let len = gzip::unpack(packed, room, tick).map_err(|why| failure(&why))?;
        self.add(name, url, at, len, 0)
    }

    /// Forgets all that lies in payload memory, where nothing is what it was.
    pub(super) fn forget_data(&mut self) {
        let lost: Vec<Id> = self
            .iter()
            .filter(|image| image.at().is_some())
            .map(Image::id)
            .collect();
        lost.into_iter().for_each(|id| self.free(id));
    }

    /// All of the memory that images lie in.
    pub(super) fn all_bytes(&self) -> &[u8] {
        self.memory.bytes()
    }

    /// The memory, for a boot.
    pub(super) fn memory(&mut self) -> &mut Region<'m> {
        &mut self.memory
    }

    /// Whether an image can be executed on the board of this device tree, or why not.
    pub fn executable(&self, id: Id, firmware: Option<&[u8]>, tick: &mut Tick<'_>) -> Result<(), Failure> {
        self.check(id, firmware, tick).map_err(|failure| {
            // iPXE would have run it, be it a boot loader that starts what is installed.
            if pe::is_for_arm64(self.bytes(id)) {
                return failure.at_the_end();
            }
            failure
        })
    }

    fn check(&self, id: Id, firmware: Option<&[u8]>, tick: &mut Tick<'_>) -> Result<(), Failure> {
        let bytes = self.bytes(id);
        let refusal = |why: &dyn core::fmt::Display| Failure::new(Errno::NOT_EXECUTABLE, format!("{why}"));
        if is_script(bytes) || gzip::is_gzip(bytes) {
            return Ok(());
        }
        if uimage::is_uimage(bytes) {
            let contents = uimage::contents(bytes, uimage::ImageType::Kernel, tick);
            return contents.map(|_| ()).map_err(|why| refusal(&why));
        }
        if zboot::is_zboot(bytes) {
            return zboot::contents(bytes).map(|_| ()).map_err(|why| refusal(&why));
        }
        if fit::is_fit(bytes) {
            let configuration = self.get(id).and_then(|image| image.configuration.as_deref());
            let tree = firmware.and_then(|tree| Tree::check(tree).ok());
            return fit::check(bytes, configuration, tree.as_ref(), tick).map_err(|why| refusal(&why));
        }
        let marked = bytes.strip_prefix(b"\xef\xbb\xbf");
        if marked.is_some_and(is_script) {
            return Err(refusal(
                &"a script with a byte order mark in front: save it without, as UTF-8",
            ));
        }
        image::parse(bytes)
            .map(|_| ())
            .map_err(|why| match verify::content(bytes) {
                _ if matches!(why, image::Error::Foreign(_)) => refusal(&why),
                verify::Content::Binary => refusal(&format_args!("{why}, nor a script")),
                content @ (verify::Content::Nothing | verify::Content::Script) => refusal(&content),
                content => refusal(&format_args!("{content}, neither a kernel nor a script")),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::MAX_SCRIPT;
    use super::*;

    const BASE: u64 = 0x1000;

    fn url() -> Url {
        Url::parse("http://h/x").unwrap()
    }

    fn load(images: &mut Images<'_>, name: &str, bytes: &[u8], kernel: bool, front: usize) -> Id {
        let (at, room) = images.room(kernel, front, &mut |_| {});
        room[..bytes.len()].copy_from_slice(bytes);
        images.add(name.into(), url(), at, bytes.len(), front).unwrap()
    }

    fn at(images: &Images<'_>, id: Id) -> u64 {
        match images.get(id).unwrap().content {
            Stored::Data { piece, .. } => BASE + piece.at as u64,
            Stored::Script(_) => 0,
        }
    }

    #[test]
    fn images_lie_in_pages_and_scripts_do_not() {
        let mut memory = vec![0; 8 << 20];
        let mut images = Images::new(Region::new(BASE, &mut memory).unwrap(), Share::all());
        let script = load(&mut images, "s", b"#!ipxe\nboot\n", true, 0);
        let gzip = load(&mut images, "k", b"\x1f\x8b\x08 packed", true, 0);
        let one = load(&mut images, "i", &[1; 5000], false, 0);
        let two = load(&mut images, "i", &[2; 10], false, 4096);
        assert_eq!(
            (
                at(&images, script),
                at(&images, gzip),
                at(&images, one),
                at(&images, two)
            ),
            (0, 0x20_0000, 0x20_1000, 0x20_4000)
        );
        assert_eq!(images.find("i"), Some(one));
        assert_eq!(images.bytes(script), b"#!ipxe\nboot\n");
        images.free(one);
        assert_eq!(images.find("i"), Some(two));
        // The next download makes use of what was freed.
        let three = load(&mut images, "j", &[3; 10], false, 0);
        assert_eq!((at(&images, two), at(&images, three)), (0x20_2000, 0x20_3000));
        assert_eq!(images.bytes(two), [2; 10]);
    }

    #[test]
    fn what_is_no_kernel_is_called_what_it_is_however_small() {
        let mut memory = vec![0; 8 << 20];
        let mut images = Images::new(Region::new(BASE, &mut memory).unwrap(), Share::all());
        for (bytes, line) in [
            (
                &b"<!doctype html><p>Log in"[..],
                "an HTML page, neither a kernel nor a script",
            ),
            (
                b"no such node\n",
                "text (\"no such node\"), neither a kernel nor a script",
            ),
            (b"", "empty"),
            (
                b"\n#!ipxe\necho\n",
                "almost a script, but its first line is not #!ipxe",
            ),
            (
                b"\x01\x02\0",
                "truncated kernel: 3 of at least 64 bytes, nor a script",
            ),
        ] {
            let id = load(&mut images, "x", bytes, true, 0);
            let failure = images.executable(id, None, &mut |_| {}).unwrap_err();
            let end = failure.to_string().ends_with(line);
            assert!(
                end || line == "empty" && failure.to_string().contains(line),
                "{failure}"
            );
        }
    }

    #[test]
    fn what_runs_is_not_found_and_comes_back_last() {
        let mut memory = vec![0; 1 << 20];
        let mut images = Images::new(Region::new(BASE, &mut memory).unwrap(), Share::all());
        let first = load(&mut images, "a", b"#!ipxe\n", false, 0);
        let second = load(&mut images, "a", b"#!ipxe\n", false, 0);
        images.get_mut(first).unwrap().listed = false;
        assert_eq!(images.find("a"), Some(second));
        images.list_again(first);
        assert_eq!(images.find("a"), Some(second));
        images.selected = Some(second);
        images.free(second);
        assert_eq!((images.find("a"), images.selected), (Some(first), None));
    }

    #[test]
    fn their_number_and_the_bytes_of_scripts_are_bounded() {
        let mut memory = vec![0; 4 << 20];
        let mut images = Images::new(Region::new(BASE, &mut memory).unwrap(), Share::all());
        let script = [b"#!ipxe\n".to_vec(), vec![b'\n'; MAX_SCRIPT - 7]].concat();
        load(&mut images, "a", &script, false, 0);
        load(&mut images, "b", &script, false, 0);
        let (at, room) = images.room(false, 0, &mut |_| {});
        room[..script.len()].copy_from_slice(&script);
        assert_eq!(
            images
                .add("c".into(), url(), at, script.len(), 0)
                .unwrap_err()
                .errno,
            Errno::NO_MEMORY
        );
        let one = images.find("a").unwrap();
        let long = "x".repeat(budget::MAX_TEXT);
        let image = images.get_mut(one).unwrap();
        image.rename(&long).unwrap();
        image.set_arguments(Some(std::slice::from_ref(&long))).unwrap();
        image.set_arguments(None).unwrap();
        image.rename("a").unwrap();
        for text in [format!("{long}x"), long.repeat(20)] {
            assert!(image.rename(&text).is_err());
            assert!(image.set_arguments(Some(&[text])).is_err());
        }
        assert_eq!((image.name(), image.arguments()), ("a", None));
        for _ in 2..MAX_IMAGES {
            load(&mut images, "d", b"x", false, 0);
        }
        assert!(images.add("e".into(), url(), 0, 1, 0).is_err());
    }
}
