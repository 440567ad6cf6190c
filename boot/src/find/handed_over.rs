//! The menu or script that the Pi's firmware hands over as `initramfs` (config.txt; the archive is Linux's `buffer-format.rst`, `newc`).
//!
//! The file is a script, a menu, or an archive with one in it. What is none of these is Linux's own initial ramdisk, which a card for another
//! system still has beside its kernel: it says nothing about a menu, and the search goes on. One that may well have held a menu, and cannot
//! be read, is trouble: nothing else is booted in its stead (D-208).

use alloc::format;
use alloc::string::String;

use super::search::MAX_TEXT;
use crate::hal::{Board, HandedOver, HandoverError as Error};
use crate::lease::{Uuid, hardware_address};
use crate::verify::{Content, content};

/// What a file of an archive begins with: the magic, then twelve more numbers of eight digits.
const MAGIC: [&[u8]; 2] = [b"070701", b"070702"];
const HEADER: usize = 6 + 13 * 8;
/// Where the digits of its mode, its length and its name's length are.
const MODE: usize = 6 + 8;
const SIZE: usize = 6 + 6 * 8;
const NAME_SIZE: usize = 6 + 11 * 8;
/// The kind of a file in its mode, and that of a file with bytes.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
/// The name that ends an archive; another may follow.
const TRAILER: &[u8] = b"TRAILER!!!";

/// The text for `board` in the file that was handed over; `None` when it has none, which is told.
pub fn handed_over(file: &[u8], board: &Board<'_>) -> Option<Result<HandedOver, Error>> {
    let found = read(file, board);
    if found.is_none() {
        info!("menu: the initramfs that the firmware handed over has none for this board");
    }
    found
}

fn read(file: &[u8], board: &Board<'_>) -> Option<Result<HandedOver, Error>> {
    let (name, text) = if begins(file) {
        match in_archive(file, &names(board)) {
            Ok(found) => found?,
            Err(error) => return Some(Err(error)),
        }
    } else {
        // The firmware puts several files behind each other, padded with zeros.
        let end = file.iter().rposition(|byte| *byte != 0)?;
        let text = file.get(..=end)?;
        if matches!(content(text), Content::Binary | Content::Nothing) {
            return None;
        }
        (String::from("initramfs"), text)
    };
    if text.len() > MAX_TEXT {
        return Some(Err(Error::Long));
    }
    let text = text.to_vec();
    Some(Ok(HandedOver { name, text }))
}

/// The names that are looked for, the most specific first: as on a server, but for those that come with a lease.
fn names(board: &Board<'_>) -> [String; 4] {
    [
        "autoexec.ipxe".into(),
        format!("pxelinux.cfg/{}", Uuid::of(board)),
        format!("pxelinux.cfg/{}", hardware_address(board)),
        "pxelinux.cfg/default".into(),
    ]
}

/// The first of these names that archives have, and its file: of several the last, as for Linux. What follows an archive and is none is
/// not looked at.
fn in_archive<'f>(mut rest: &'f [u8], names: &[String]) -> Result<Option<(String, &'f [u8])>, Error> {
    let mut found: Option<(usize, &[u8])> = None;
    loop {
        if !begins(rest) {
            return Err(Error::Cut);
        }
        let number = |at: usize| number(rest, at).ok_or(Error::Cut);
        let (mode, size, name_size) = (number(MODE)?, number(SIZE)? as usize, number(NAME_SIZE)? as usize);
        let name_end = HEADER.checked_add(name_size).ok_or(Error::Cut)?;
        let start = name_end.checked_next_multiple_of(4).ok_or(Error::Cut)?;
        let end = start.checked_add(size).ok_or(Error::Cut)?;
        let name = rest.get(HEADER..name_end).ok_or(Error::Cut)?;
        let bytes = rest.get(start..end).ok_or(Error::Cut)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let path = name.strip_prefix(b"./").unwrap_or(name);
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let wanted = names.iter().position(|wanted| wanted.as_bytes() == path);
        if let Some(at) = wanted.filter(|_| mode & KIND == REGULAR)
            && found.is_none_or(|(best, _)| at <= best)
        {
            found = Some((at, bytes));
        }
        rest = rest
            .get(end.checked_next_multiple_of(4).ok_or(Error::Cut)?..)
            .unwrap_or_default();
        if path == TRAILER {
            let zeros = rest.iter().take_while(|byte| **byte == 0).count();
            rest = rest.get(zeros..).unwrap_or_default();
            if !begins(rest) {
                return Ok(found.and_then(|(at, bytes)| Some((names.get(at)?.clone(), bytes))));
            }
        }
    }
}

/// Whether a file of an archive begins here.
fn begins(bytes: &[u8]) -> bool {
    MAGIC.iter().any(|magic| bytes.starts_with(magic))
}

/// The number of eight hexadecimal digits at `at`.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at.checked_add(8)?)?;
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::hal::tests::board;

    const SCRIPT: &[u8] = b"#!ipxe\necho x\n";

    /// A file of an archive, as `cpio -H newc` writes it.
    fn file(name: &str, mode: u32, bytes: &[u8]) -> Vec<u8> {
        let mut file = format!(
            "070701{:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{2:08x}{0:08x}{0:08x}{0:08x}{0:08x}{3:08x}{0:08x}{name}\0",
            0,
            1,
            bytes.len(),
            name.len() + 1
        )
        .into_bytes();
        file.resize(file.len().next_multiple_of(4), 0);
        file.extend(bytes);
        file.resize(file.len().next_multiple_of(4), 0);
        file
    }

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive: Vec<u8> = files
            .iter()
            .flat_map(|(name, bytes)| file(name, 0o100_644, bytes))
            .collect();
        archive.extend(file("TRAILER!!!", 0, b""));
        archive.resize(archive.len().next_multiple_of(512), 0);
        archive
    }

    fn found(file: &[u8]) -> Option<Result<(String, Vec<u8>), Error>> {
        handed_over(file, &board()).map(|found| found.map(|it| (it.name, it.text)))
    }

    fn text(name: &str, text: &[u8]) -> Option<Result<(String, Vec<u8>), Error>> {
        Some(Ok((name.into(), text.into())))
    }

    #[test]
    fn a_script_or_a_menu_is_taken_as_it_is_without_the_zeros_behind_it() {
        assert_eq!(found(SCRIPT), text("initramfs", SCRIPT));
        let menu = b"DEFAULT a\nLABEL a\nLINUX /k\n";
        assert_eq!(found(menu), text("initramfs", menu));
        assert_eq!(found(&[menu, &[0; 3][..]].concat()), text("initramfs", menu));
        // Meant for us, and refused by whoever reads it.
        let almost = b"\n#!ipxe\necho x\n";
        assert_eq!(found(almost), text("initramfs", almost));
    }

    #[test]
    fn what_is_linuxs_says_nothing_about_a_menu() {
        let own = archive(&[("init", b"#!/bin/sh\n"), ("etc/autoexec.ipxe", SCRIPT)]);
        let gzip = [&[0x1f, 0x8b, 8, 0], &[7; 60][..]].concat();
        let early = [archive(&[("kernel/x86/microcode", b"m")]), gzip.clone()].concat();
        let directory = [file("autoexec.ipxe", 0o040_755, b""), archive(&[])].concat();
        for file in [
            &own,
            &gzip,
            &early,
            &directory,
            &vec![0; 4096],
            &vec![],
            &b"\x28\xb5\x2f\xfd0123".to_vec(),
        ] {
            assert_eq!(found(file), None, "{:?}", file.get(..8));
        }
    }

    #[test]
    fn of_an_archive_the_text_for_this_board_is_taken() {
        let all: [(&str, &[u8]); 5] = [
            ("pxelinux.cfg/default", b"d"),
            ("pxelinux.cfg/01-dc-a6-32-ec-fc-3c", b"m"),
            ("pxelinux.cfg/01-dc-a6-32-ec-fc-3d", b"other"),
            ("pxelinux.cfg/52506934-3031-c000-32ec-fc3cda06ffe0", b"u"),
            ("autoexec.ipxe", SCRIPT),
        ];
        assert_eq!(found(&archive(&all)), text("autoexec.ipxe", SCRIPT));
        assert_eq!(
            found(&archive(&all[..4])),
            text("pxelinux.cfg/52506934-3031-c000-32ec-fc3cda06ffe0", b"u")
        );
        assert_eq!(
            found(&archive(&all[..3])),
            text("pxelinux.cfg/01-dc-a6-32-ec-fc-3c", b"m")
        );
        assert_eq!(found(&archive(&all[..1])), text("pxelinux.cfg/default", b"d"));
        assert_eq!(found(&archive(&all[2..3])), None);
        for name in ["./autoexec.ipxe", "/autoexec.ipxe"] {
            assert_eq!(found(&archive(&[(name, SCRIPT)])), text("autoexec.ipxe", SCRIPT));
        }
        // The last of a name counts, in the second archive too.
        let two = [
            archive(&[("autoexec.ipxe", b"first")]),
            archive(&[("autoexec.ipxe", SCRIPT), ("pxelinux.cfg/default", b"d")]),
        ];
        assert_eq!(found(&two.concat()), text("autoexec.ipxe", SCRIPT));
    }

    #[test]
    fn an_archive_that_is_cut_is_trouble_wherever_it_is_cut() {
        let whole = archive(&[("init", b"not a menu"), ("autoexec.ipxe", SCRIPT)]);
        let end = whole.windows(10).position(|name| name == TRAILER).unwrap() + 11;
        let end = end.next_multiple_of(4);
        for len in 6..end {
            assert_eq!(found(&whole[..len]), Some(Err(Error::Cut)), "{len}");
        }
        assert_eq!(found(&whole[..end]), text("autoexec.ipxe", SCRIPT));
        let mut bad = whole.clone();
        bad[SIZE..SIZE + 8].copy_from_slice(b"ffffffff");
        assert_eq!(found(&bad), Some(Err(Error::Cut)));
        bad[SIZE] = b'+';
        assert_eq!(found(&bad), Some(Err(Error::Cut)));
    }

    #[test]
    fn a_text_has_the_bound_that_texts_have() {
        let long = |len: usize| [b"#!ipxe\n", &vec![b'#'; len - 7][..]].concat();
        assert!(matches!(found(&long(MAX_TEXT)), Some(Ok(_))));
        assert_eq!(found(&long(MAX_TEXT + 1)), Some(Err(Error::Long)));
        let inside = archive(&[("autoexec.ipxe", &long(MAX_TEXT + 1))]);
        assert_eq!(found(&inside), Some(Err(Error::Long)));
    }
}
