//! The domains in which names without a dot are looked up: option 119 (RFC 3397), then option 15.

use alloc::string::String;
use alloc::vec::Vec;

/// How many domains are used: six, as resolvers long did (D-110).
const MOST: usize = 6;
/// The longest name and the longest label (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// The domains of option 119's `list`, then `domain`; each once.
pub(crate) fn domains(list: Option<&[u8]>, domain: Option<&str>) -> Vec<String> {
    let mut domains = list.and_then(names).unwrap_or_default();
    let domain = domain.map(|domain| domain.trim_matches('.').into());
    domains.extend(domain.filter(|domain: &String| {
        let known = |other: &String| other.eq_ignore_ascii_case(domain);
        !domain.is_empty() && !domains.iter().any(known)
    }));
    domains
}

/// Whether option 119's value is what it must be; what is not counts for none.
pub(crate) fn is_list(list: &[u8]) -> bool {
    names(list).is_some()
}

/// The first names of a list; `None` when any part of it is malformed, because half of a list is another list (D-110).
fn names(list: &[u8]) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let start = list.len().checked_sub(rest.len())?;
        let (name, after) = name(list, start)?;
        rest = after;
        let known = names.iter().any(|other| other.eq_ignore_ascii_case(&name));
        // The root is a valid name, but no domain to search.
        if names.len() < MOST && !name.is_empty() && !known {
            names.push(name);
        }
    }
    Some(names)
}

/// The name at `start`, and the bytes behind it. A compression pointer must lead further back than the one before, so that
/// reading ends.
fn name(list: &[u8], start: usize) -> Option<(String, &[u8])> {
    let mut name = String::new();
    let mut after = None;
    let mut before = start;
    let mut rest = list.get(start..)?;
    loop {
        rest = match *rest {
            [0, ref rest @ ..] => return Some((name, after.unwrap_or(rest))),
            [high @ 0xc0..=0xff, low, ref rest @ ..] => {
                after.get_or_insert(rest);
                let to = usize::from(u16::from_be_bytes([high & 0x3f, low]));
                if to >= before {
                    return None;
                }
                before = to;
                list.get(to..)?
            }
            [len, ref rest @ ..] if usize::from(len) <= LONGEST_LABEL => {
                let (label, rest) = rest.split_at_checked(usize::from(len))?;
                let is_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                if !label.iter().all(is_of_a_name) {
                    return None;
                }
                if !name.is_empty() {
                    name.push('.');
                }
                name.extend(label.iter().map(|byte| char::from(*byte)));
                if name.len() > LONGEST_NAME {
                    return None;
                }
                rest
            }
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 3397 §2, with an end that is written once.
    const EXAMPLE: &[u8] = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";

    #[test]
    fn a_list_is_read_with_its_shared_ends() {
        let expected = ["eng.apple.com", "marketing.apple.com"];
        assert_eq!(domains(Some(EXAMPLE), None), expected);
        // An end of an end; a name that is all of another; the root, which is no domain.
        let more = [EXAMPLE, b"\x01x\xc0\x0f\xc0\x0f\x00"].concat();
        let expected = ["eng.apple.com", "marketing.apple.com", "x.marketing.apple.com"];
        assert_eq!(domains(Some(&more), None), expected);
    }

    #[test]
    fn option_15_comes_last_and_only_once() {
        let two = ["eng.apple.com", "marketing.apple.com"];
        assert_eq!(
            domains(Some(EXAMPLE), Some("lab.example")),
            [&two[..], &["lab.example"]].concat()
        );
        assert_eq!(domains(Some(EXAMPLE), Some(".Eng.Apple.com.")), two);
        assert_eq!(domains(None, Some(".lab.")), ["lab"]);
        assert_eq!(domains(None, Some(".")), [""; 0]);
        assert_eq!(domains(Some(&[]), None), [""; 0]);
        // What is wrong does not take the other along.
        assert_eq!(domains(Some(b"corp.example"), Some("lab")), ["lab"]);
    }

    #[test]
    fn what_is_no_list_of_names_is_ignored_whole() {
        let long = [b"\x3f".as_slice(), &[b'a'; 63]].concat();
        for bad in [
            b"corp.example".as_slice(), // text instead of names
            b"\x04corp",                // no end
            b"\x04cor",
            b"\x04corp\x00\x03a",
            b"\xc0",
            b"\xc0\x00",               // leads to itself
            b"\x01a\xc0\x00",          // into the name that it ends
            b"\x01a\xc0\x04\xc0\x02",  // forwards
            b"\x01a\x00\x01b\xc0\x40", // out of the list
            b"\x80aaa\x00",
            b"\x40aaa\x00",
            b"\x03a.b\x00",
            b"\x03a/b\x00",
            b"\x02a\n\x00",
            &[long.repeat(4), vec![0]].concat(),
        ] {
            assert_eq!(names(bad), None, "{bad:?}");
        }
        assert!(names(&[long.repeat(3), vec![0]].concat()).is_some());
    }

    #[test]
    fn many_domains_are_six() {
        let list: Vec<u8> = (b'a'..=b'z').flat_map(|letter| [1, letter, 0]).collect();
        assert_eq!(domains(Some(&list), None), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(domains(Some(&list), Some("z")).len(), 7);
    }

    #[test]
    fn every_end_of_two_bytes_and_every_changed_byte_ends() {
        for end in 0..=u16::MAX {
            let _ = names(&[b"\x01a\x00".as_slice(), &end.to_be_bytes()].concat());
        }
        for at in 0..EXAMPLE.len() {
            for value in 0..=255 {
                let mut list = EXAMPLE.to_vec();
                list[at] = value;
                for name in names(&list).unwrap_or_default() {
                    assert!(name.len() <= LONGEST_NAME);
                }
            }
        }
    }
}
