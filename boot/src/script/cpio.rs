//! Archive headers in front of a file, so that Linux finds it in its initial ramdisk (`newc`, Linux `buffer-format.rst`).
//!
//! `initrd http://h/x /etc/y mode=0755 mkdir=1` becomes the file `/etc/y`, and the directory `/etc` before it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::value::number;

/// The headers for a file of `len` bytes whose command line is `arguments`; none when that does not begin with a slash.
/// They are a multiple of four bytes long, and the file follows.
pub(super) fn headers(arguments: &str, len: usize) -> Option<Vec<u8>> {
    let mut words = arguments.split(' ');
    let path = words.next().filter(|path| path.starts_with('/'))?;
    let argument = |key: &str| {
        arguments
            .split(' ')
            .skip(1)
            .find_map(|word| word.strip_prefix(key))
    };
    let mode = argument("mode=").map_or(0o644, |text| number(text, 8).0 as u32);
    let directories = argument("mkdir=").map_or(0, |text| number(text, 10).0 as u32);
    let parents: Vec<usize> = path
        .match_indices('/')
        .map(|(at, _)| at)
        .filter(|&at| {
            path.get(..at)
                .is_some_and(|parent| !parent.is_empty() && !parent.ends_with('/'))
        })
        .collect();
    let wanted = usize::try_from(directories)
        .unwrap_or(usize::MAX)
        .min(parents.len());
    let mut bytes = Vec::new();
    for &end in parents
        .get(parents.len().saturating_sub(wanted)..)
        .unwrap_or_default()
    {
        header(&mut bytes, path.get(..end).unwrap_or_default(), 0o040_755, 0);
    }
    header(&mut bytes, path, 0o100_000 | mode, len);
    Some(bytes)
}

fn header(bytes: &mut Vec<u8>, name: &str, mode: u32, len: usize) {
    let mut text = String::from("070701");
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    let fields = [
        0,
        mode,
        0,
        0,
        1,
        0,
        len as u32,
        0,
        0,
        0,
        0,
        name.len().saturating_add(1) as u32,
        0,
    ];
    for field in fields {
        text.push_str(&format!("{field:08x}"));
    }
    text.push_str(name);
    text.push('\0');
    bytes.extend(text.into_bytes());
    // Name and file begin at multiples of four, and the first header at one.
    while !bytes.len().is_multiple_of(4) {
        bytes.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &str) -> Vec<(String, String, String)> {
        let bytes = headers(arguments, 10).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        text.split("070701")
            .skip(1)
            .map(|header| {
                let part = |range| header.get::<std::ops::Range<usize>>(range).unwrap();
                let name = part(104..header.len()).trim_end_matches('\0');
                (part(8..16).into(), part(48..56).into(), name.into())
            })
            .collect()
    }

    #[test]
    fn a_path_becomes_headers_with_as_many_directories_as_asked_for() {
        let entry = |mode: &str, len: &str, name: &str| (mode.into(), len.into(), name.into());
        assert_eq!(names("/x"), [entry("000081a4", "0000000a", "/x")]);
        assert_eq!(
            names("/etc/a/b mode=755 mkdir=1"),
            [
                entry("000041ed", "00000000", "/etc/a"),
                entry("000081ed", "0000000a", "/etc/a/b")
            ]
        );
        assert_eq!(names("/etc/a/b mkdir=-1").len(), 3);
        assert_eq!(headers("quiet", 1), None);
        assert_eq!(headers("", 1), None);
        assert!(headers("/abc", 1).unwrap().len().is_multiple_of(4));
    }
}
