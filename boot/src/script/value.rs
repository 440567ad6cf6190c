//! Types of settings: text to raw bytes and back, numbers to raw bytes and back (iPXE's setting types).
//!
//! A setting is raw bytes; its type only says how they are read and written. So `set x:hex 1b` and `${x:string}` give
//! an escape character, and `${mac:hexhyp}` another spelling of the same address.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::Ipv6Addr;

use super::errno::Errno;
use crate::fetch::base64;

/// How raw bytes are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// Text, percent-encoded when written.
    UriString,
    /// The first four bytes as an address.
    Ipv4,
    /// Sixteen bytes as an address.
    Ipv6,
    /// A decimal number with a sign, this many bytes long.
    Int(usize),
    /// A hexadecimal number without a sign, this many bytes long.
    Uint(usize),
    /// Bytes in hexadecimal with `:` between them.
    Hex,
    /// Bytes in hexadecimal with `-` between them.
    HexHyp,
    /// Bytes in hexadecimal.
    HexRaw,
    /// RFC 4648 §4.
    Base64,
    /// A UUID in the order of its bytes.
    Uuid,
    /// A UUID whose first three fields are little-endian.
    Guid,
    /// A PCI address.
    BusDevFn,
}

const NAMES: [(&str, Type); 16] = [
    ("string", Type::String),
    ("uristring", Type::UriString),
    ("ipv4", Type::Ipv4),
    ("ipv6", Type::Ipv6),
    ("int8", Type::Int(1)),
    ("int16", Type::Int(2)),
    ("int32", Type::Int(4)),
    ("uint8", Type::Uint(1)),
    ("uint16", Type::Uint(2)),
    ("uint32", Type::Uint(4)),
    ("hex", Type::Hex),
    ("hexhyp", Type::HexHyp),
    ("hexraw", Type::HexRaw),
    ("base64", Type::Base64),
    ("uuid", Type::Uuid),
    ("guid", Type::Guid),
];

impl Type {
    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        if name == "busdevfn" {
            return Some(Self::BusDevFn);
        }
        NAMES.iter().find(|(n, _)| *n == name).map(|(_, kind)| *kind)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("busdevfn", |(name, _)| name)
    }

    /// The raw bytes of `text`.
    pub fn parse(self, text: &str) -> Result<Vec<u8>, Errno> {
        match self {
            Self::String => Ok(text.as_bytes().to_vec()),
            Self::UriString => Ok(percent_decoded(text)),
            Self::Ipv4 => ipv4(text).map(Vec::from).ok_or(Errno::IPV4),
            Self::Ipv6 => text
                .parse::<Ipv6Addr>()
                .ok()
                // Without the form that ends in an IPv4 address.
                .filter(|_| !text.contains('.'))
                .map(|address| address.octets().to_vec())
                .ok_or(Errno::IPV6),
            Self::Int(width) | Self::Uint(width) => match number(text, 0) {
                (value, "") => Ok(low_bytes(value, width)),
                _ => Err(Errno::VALUE),
            },
            Self::Hex => hex(text, Some(':'), false).ok_or(Errno::HEX),
            Self::HexHyp => hex(text, Some('-'), false).ok_or(Errno::HEX),
            Self::HexRaw => hex(text, None, false).ok_or(Errno::HEX),
            Self::Base64 => base64_decoded(text).ok_or(Errno::BASE64),
            Self::Uuid | Self::Guid => {
                let bytes = hex(text, Some('-'), true).ok_or(Errno::HEX)?;
                let mut bytes: [u8; 16] = bytes.try_into().map_err(|_| Errno::UUID)?;
                if self == Self::Guid {
                    mangle(&mut bytes);
                }
                Ok(bytes.to_vec())
            }
            Self::BusDevFn => Err(Errno::TYPE),
        }
    }

    /// `raw` as text; none when it cannot be of this type.
    pub fn format(self, raw: &[u8]) -> Option<String> {
        match self {
            Self::String => {
                // In iPXE a text ends at its first NUL.
                let text = raw.split(|&byte| byte == 0).next().unwrap_or_default();
                Some(String::from_utf8_lossy(text).into_owned())
            }
            Self::UriString => Some(uri_encoded(raw)),
            Self::Ipv4 => {
                let [a, b, c, d] = raw.first_chunk::<4>()?;
                Some(format!("{a}.{b}.{c}.{d}"))
            }
            Self::Ipv6 => Some(Ipv6Addr::from(*raw.first_chunk::<16>()?).to_string()),
            Self::Int(_) => Some(signed(raw)?.to_string()),
            Self::Uint(_) => Some(format!("{:#x}", unsigned(raw)?)),
            Self::Hex => Some(separated(raw, ":")),
            Self::HexHyp => Some(separated(raw, "-")),
            Self::HexRaw => Some(separated(raw, "")),
            Self::Base64 => Some(base64(raw)),
            Self::Uuid | Self::Guid => {
                let mut bytes: [u8; 16] = raw.try_into().ok()?;
                if self == Self::Guid {
                    mangle(&mut bytes);
                }
                Some(crate::lease::Uuid(bytes).to_string())
            }
            Self::BusDevFn => {
                let value = unsigned(raw)?;
                Some(format!(
                    "{:04x}:{:02x}:{:02x}.{:x}",
                    (value >> 16) & 0xffff,
                    (value >> 8) & 0xff,
                    (value >> 3) & 0x1f,
                    value & 7
                ))
            }
        }
    }

    /// `raw` as a number; none when the type is not one of numbers.
    pub fn numerate(self, raw: &[u8]) -> Option<u64> {
        match self {
            Self::Int(_) => signed(raw).map(i64::cast_unsigned),
            Self::Uint(_) => unsigned(raw),
            _ => None,
        }
    }

    /// The raw bytes of a number; none when the type is not one of numbers.
    pub fn denumerate(self, value: u64, bytes: &mut [u8; 8]) -> Option<&[u8]> {
        *bytes = value.to_be_bytes();
        match self {
            Self::Int(width) | Self::Uint(width) => bytes.get(bytes.len().saturating_sub(width)..),
            _ => None,
        }
    }
}

/// C's `isspace`, which decides where words end.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// The number at the start of `text` as C's `strtoul` reads it, and what follows. Base 0 takes `0x` for hexadecimal and
/// a leading `0` for octal. It wraps at 2^64, and a minus sign is two's complement.
pub(super) fn number(text: &str, base: u32) -> (u64, &str) {
    let mut rest = text.trim_start_matches(is_space);
    let negative = rest.starts_with('-');
    rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let mut base = base;
    if base == 0 {
        base = 10;
        if let Some(after) = rest.strip_prefix('0') {
            (base, rest) = (8, after);
            if let Some(after) = rest.strip_prefix(['x', 'X']) {
                (base, rest) = (16, after);
            }
        }
    }
    let mut value = 0_u64;
    while let Some(digit) = rest.chars().next().and_then(|c| c.to_digit(base)) {
        value = value.wrapping_mul(base.into()).wrapping_add(digit.into());
        rest = rest.get(1..).unwrap_or_default();
    }
    (if negative { value.wrapping_neg() } else { value }, rest)
}

/// A number argument: all of `text`, at most 32 bits of it.
pub(super) fn integer(text: &str) -> Option<u32> {
    match number(text, 0) {
        (value, "") if !text.is_empty() => Some(value as u32),
        _ => None,
    }
}

/// Four numbers, each in any base, with dots between them.
fn ipv4(text: &str) -> Option<[u8; 4]> {
    let mut parts = text.split('.').map(|part| match number(part, 0) {
        (value, "") if !part.is_empty() => u8::try_from(value).ok(),
        _ => None,
    });
    let mut next = || parts.next().flatten();
    let address = [next()?, next()?, next()?, next()?];
    parts.next().is_none().then_some(address)
}

/// Pairs of hexadecimal digits with `separator` between them.
fn hex(text: &str, separator: Option<char>, optional: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(separator) = separator.filter(|_| !bytes.is_empty()) {
            rest = match rest.strip_prefix(separator) {
                Some(after) => after,
                None if optional => rest,
                None => return None,
            };
        }
        let mut digits = rest.chars();
        let mut digit = || digits.next()?.to_digit(16);
        let byte = (digit()? << 4) | digit()?;
        bytes.push(u8::try_from(byte).ok()?);
        rest = rest.get(2..)?;
    }
    Some(bytes)
}

fn separated(raw: &[u8], separator: &str) -> String {
    let mut text = String::new();
    for (i, byte) in raw.iter().enumerate() {
        let separator = if i == 0 { "" } else { separator };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{byte:02x}");
    }
    text
}

fn low_bytes(value: u64, width: usize) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    bytes
        .get(bytes.len().saturating_sub(width)..)
        .unwrap_or(&bytes)
        .to_vec()
}

/// Big-endian bytes as a number, as long as it fits into 64 bits.
fn padded(raw: &[u8], pad: u8) -> Option<u64> {
    let (head, tail) = raw.split_at_checked(raw.len().saturating_sub(8))?;
    if head.iter().any(|&byte| byte != pad) {
        return None;
    }
    let start = if pad == 0 { 0 } else { u64::MAX };
    Some(
        tail.iter()
            .fold(start, |value, &byte| (value << 8) | u64::from(byte)),
    )
}

fn signed(raw: &[u8]) -> Option<i64> {
    let negative = raw.first().is_some_and(|byte| byte & 0x80 != 0);
    padded(raw, if negative { 0xff } else { 0 }).map(u64::cast_signed)
}

fn unsigned(raw: &[u8]) -> Option<u64> {
    padded(raw, 0)
}

/// RFC 4122 to Microsoft's byte order, and back.
fn mangle(bytes: &mut [u8; 16]) {
    for field in [0..4, 4..6, 6..8] {
        if let Some(field) = bytes.get_mut(field) {
            field.reverse();
        }
    }
}

/// Percent-encoded, so that it can stand anywhere in a URI, in a query's name or value too.
pub(super) fn uri_encoded(raw: &[u8]) -> String {
    let mut text = String::new();
    for &byte in raw {
        if byte.is_ascii_graphic() && !b"%/#:@?=&+".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| {
            after
                .get(at)
                .filter(|_| first == b'%')
                .and_then(|&byte| char::from(byte).to_digit(16))
        };
        // One digit alone counts too.
        let (value, len) = match (digit(0), digit(1)) {
            (Some(high), Some(low)) => (high << 4 | low, 2),
            (Some(digit), None) => (digit, 1),
            (None, _) => (first.into(), 0),
        };
        bytes.push(value as u8);
        rest = after.get(len..).unwrap_or_default();
    }
    bytes
}

fn base64_decoded(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held, mut pads) = (Vec::new(), 0_u32, 0_u32, 0_u32);
    for c in text.chars().filter(|c| !is_space(*c)) {
        if c == '=' {
            pads = pads.saturating_add(1);
            continue;
        }
        let digit = match c {
            _ if pads > 0 => return None,
            'A'..='Z' => u32::from(c).checked_sub(65)?,
            'a'..='z' => u32::from(c).checked_sub(71)?,
            '0'..='9' => u32::from(c).checked_add(4)?,
            '+' => 62,
            '/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | digit;
        held = held.saturating_add(6);
        if held >= 8 {
            held = held.saturating_sub(8);
            bytes.push((bits >> held) as u8);
        }
    }
    // Each pad stands for two bits that were sent and do not count.
    (pads <= 2 && held == pads.saturating_mul(2)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, value, rest) in [
            ("12", 12, ""),
            (" 12x", 12, "x"),
            ("0x1f", 31, ""),
            ("0X1Fg", 31, "g"),
            ("010", 8, ""),
            ("08", 0, "8"),
            ("-1", u64::MAX, ""),
            ("+7", 7, ""),
            ("", 0, ""),
            ("abc", 0, "abc"),
            ("0x", 0, ""),
            ("18446744073709551617", 1, ""),
        ] {
            assert_eq!(number(text, 0), (value, rest), "{text}");
        }
        assert_eq!(number("0644 x", 8), (0o644, " x"));
        assert_eq!(integer(""), None);
        assert_eq!(integer("5000"), Some(5000));
        assert_eq!(integer("10s"), None);
        assert_eq!(integer("-1"), Some(u32::MAX));
    }

    #[test]
    fn every_type_writes_what_it_reads() {
        for (kind, text) in [
            ("string", "a b"),
            ("uristring", "a%20b%2Fc"),
            ("ipv4", "192.0.2.1"),
            ("ipv6", "2001:db8::1"),
            ("int8", "-1"),
            ("int16", "-32768"),
            ("int32", "2147483647"),
            ("uint8", "0xff"),
            ("uint16", "0x1"),
            ("uint32", "0xdeadbeef"),
            ("hex", "1b:5b:4a"),
            ("hexhyp", "b8-27-eb-01-02-03"),
            ("hexraw", "b827eb010203"),
            ("base64", "Zm9vYg=="),
            ("uuid", "52506934-3031-c000-32ec-fc3cda06ffe0"),
            ("guid", "52506934-3031-c000-32ec-fc3cda06ffe0"),
        ] {
            let kind = Type::named(kind).unwrap();
            let raw = kind.parse(text).unwrap();
            assert_eq!(kind.format(&raw).unwrap(), text, "{}", kind.name());
        }
        assert_eq!(Type::BusDevFn.format(&[0, 1, 0x1d]).unwrap(), "0000:01:03.5");
        assert_eq!(Type::named("BusDevFn"), None);
        assert_eq!(Type::BusDevFn.name(), "busdevfn");
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (kind, text) in [
            (Type::Ipv4, "host"),
            (Type::Ipv4, "1.2.3"),
            (Type::Ipv4, "1.2.3.256"),
            (Type::Ipv4, "1.2.3.4.5"),
            (Type::Ipv6, "1.2.3.4"),
            (Type::Int(4), "1x"),
            (Type::Hex, "1b-5b"),
            (Type::Hex, "1"),
            (Type::Hex, "1b:"),
            (Type::HexRaw, "1b:5b"),
            (Type::HexRaw, "1é"),
            (Type::Uuid, "52506934"),
            (Type::Base64, "Zg="),
            (Type::Base64, "Z"),
            (Type::Base64, "Zg==Zg=="),
            (Type::Base64, "Zm9vYm=g"),
            (Type::Base64, "Zm9v!"),
        ] {
            assert!(kind.parse(text).is_err(), "{} {text}", kind.name());
        }
        assert_eq!(Type::BusDevFn.parse("0"), Err(Errno::TYPE));
    }

    #[test]
    fn raw_bytes_of_the_wrong_length_have_no_text() {
        assert_eq!(Type::Ipv4.format(&[1, 2, 3]), None);
        assert_eq!(Type::Ipv4.format(&[1, 2, 3, 4, 5]).unwrap(), "1.2.3.4");
        assert_eq!(Type::Uuid.format(&[0; 15]), None);
        assert_eq!(Type::Int(4).format(&[1; 9]), None);
        assert_eq!(Type::Int(1).format(&[0xff; 9]).unwrap(), "-1");
        assert_eq!(Type::Int(1).format(&[]).unwrap(), "0");
        assert_eq!(Type::Uint(4).format(&[]).unwrap(), "0x0");
        assert_eq!(Type::String.format(b"a\0b").unwrap(), "a");
        assert_eq!(Type::String.format(b"\xffa").unwrap(), "\u{fffd}a");
    }

    #[test]
    fn guids_have_three_fields_reversed() {
        let raw = Type::Guid.parse("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!(
            Type::Uuid.format(&raw).unwrap(),
            "33221100-5544-7766-8899-aabbccddeeff"
        );
    }

    #[test]
    fn percent_signs_that_escape_nothing_stay() {
        assert_eq!(percent_decoded("a%2fb%zz%4%"), b"a/b%zz\x04%");
    }
}
