//! The list of schemes by which a server lets somebody in, each with its parameters (RFC 9110 §11.3).

use alloc::string::String;
use alloc::vec::Vec;

use crate::text::ascii_bytes;

/// The longest part of a name or a realm that a line repeats, in characters.
pub(super) const MAX_TEXT: usize = 64;
/// The most schemes that are read …
const MAX_OFFERS: usize = 8;
/// … and the most parameters of each.
const MAX_PARAMETERS: usize = 16;

/// One scheme that a server takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) scheme: String,
    /// Names and values, without their quotes.
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Offer {
    /// The value of the first parameter with this name.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.parameters.iter();
        let found = found.find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| &value[..])
    }

    /// Whether it is this scheme.
    pub(super) fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }
}

/// The offers in a field's values, up to the first that is one too many.
pub(super) fn read<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<Offer> {
    let mut offers = Vec::new();
    for element in values.flat_map(elements) {
        if take(element, &mut offers).is_none() {
            break;
        }
    }
    offers
}

/// Reads one element of the list: `scheme`, `scheme name=value`, or one more `name=value`. `None` when there are too many.
fn take(element: &[u8], offers: &mut Vec<Offer>) -> Option<()> {
    let end = element
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || *byte == b'=');
    let (word, rest) = element.split_at_checked(end.unwrap_or(element.len()))?;
    let parameter = if rest.trim_ascii().starts_with(b"=") {
        element
    } else {
        if !word.is_empty() {
            let (scheme, parameters) = (ascii_bytes(word, MAX_TEXT), Vec::new());
            (offers.len() < MAX_OFFERS).then(|| offers.push(Offer { scheme, parameters }))?;
        }
        rest
    };
    if let Some((name, value)) = split(parameter, b'=')
        && let Some(offer) = offers.last_mut()
        && offer.parameters.len() < MAX_PARAMETERS
    {
        let value = unquoted(value.trim_ascii());
        offer.parameters.push((name.trim_ascii().to_vec(), value));
    }
    Some(())
}

/// The value of a token or a quoted string (RFC 9110 §5.6.4).
fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inside) = value.strip_prefix(b"\"") else {
        return value.to_vec();
    };
    let mut meant = Vec::new();
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => meant.extend(bytes.next()),
            _ => meant.push(*byte),
        }
    }
    meant
}

/// The parts between commas. A comma inside of quotes separates nothing.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value
        .split(move |byte| {
            let part = *byte == b',' && !quoted;
            quoted ^= *byte == b'"' && !escaped;
            escaped = quoted && !escaped && *byte == b'\\';
            part
        })
        .map(<[u8]>::trim_ascii)
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == at)?;
    let (before, after) = text.split_at_checked(end)?;
    Some((before, after.get(1..)?))
}
