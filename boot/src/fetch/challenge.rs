//! What a server wants before it answers (`WWW-Authenticate`, RFC 9110 §11): the schemes, and the realm.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// How much of it a line repeats, in characters.
const MAX_TEXT: usize = 64;

/// An answer of 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The schemes that the server takes, in its order.
    schemes: Vec<String>,
    /// What it calls the place that is locked: printable ASCII, possibly empty.
    realm: String,
    /// Whether the request had a user and a password.
    pub(super) tried: bool,
}

impl Challenge {
    /// Reads the field's values; none when they name no scheme.
    pub(super) fn parse<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut challenge = Self {
            schemes: Vec::new(),
            realm: String::new(),
            tried: false,
        };
        for value in values {
            for element in elements(value) {
                challenge.add(element);
            }
        }
        (!challenge.schemes.is_empty()).then_some(challenge)
    }

    /// Takes one element of the list in: `scheme`, `scheme name=value`, or one more `name=value`.
    fn add(&mut self, element: &[u8]) {
        let end = element
            .iter()
            .position(|byte| matches!(byte, b' ' | b'\t' | b'='));
        let (word, rest) = element
            .split_at_checked(end.unwrap_or(element.len()))
            .unwrap_or_default();
        let parameter = if rest.trim_ascii().starts_with(b"=") {
            element
        } else {
            if !word.is_empty() && self.schemes.len() < 8 {
                self.schemes.push(printable(word));
            }
            rest
        };
        if let Some((name, value)) = split(parameter, b'=')
            && name.trim_ascii().eq_ignore_ascii_case(b"realm")
            && self.realm.is_empty()
        {
            let value = value.trim_ascii();
            let quoted = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""));
            self.realm = printable(quoted.unwrap_or(value));
        }
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let basic = self
            .schemes
            .iter()
            .any(|scheme| scheme.eq_ignore_ascii_case("basic"));
        f.write_str("401 Unauthorized: ")?;
        f.write_str(match (basic, self.tried) {
            (true, true) => "the user or the password in the URL is not the right one (",
            (true, false) => "a user and a password are missing, as in http://user:password@host/ (",
            (false, _) => "the server wants what is not supported, only Basic is (",
        })?;
        for (i, scheme) in self.schemes.iter().enumerate() {
            write!(f, "{}{scheme}", if i > 0 { ", " } else { "" })?;
        }
        if !self.realm.is_empty() {
            write!(f, ", realm \"{}\"", self.realm)?;
        }
        f.write_str(")")
    }
}

/// The parts between commas; those inside of quotes separate nothing.
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

fn printable(text: &[u8]) -> String {
    let kept = text
        .iter()
        .filter(|byte| matches!(byte, b' '..=b'~') && **byte != b'\\');
    kept.take(MAX_TEXT).map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[&str], tried: bool) -> Option<String> {
        let challenge = Challenge::parse(values.iter().map(|value| value.as_bytes()))?;
        Some(Challenge { tried, ..challenge }.to_string())
    }

    #[test]
    fn what_is_missing() {
        let some = |text: &str| Some(format!("401 Unauthorized: {text}"));
        assert_eq!(
            line(
                &["Basic realm=\"the \\\"lab\\\", here\", charset=\"UTF-8\""],
                false
            ),
            some(
                "a user and a password are missing, as in http://user:password@host/ (Basic, realm \"the \"lab\", here\")"
            )
        );
        assert_eq!(
            line(&["basic  realm = lab"], true),
            some("the user or the password in the URL is not the right one (basic, realm \"lab\")")
        );
        assert_eq!(
            line(
                &[
                    "Digest realm=\"a, Basic x\", nonce=\"1=\", qop=\"auth\"",
                    "Negotiate"
                ],
                true
            ),
            some(
                "the server wants what is not supported, only Basic is (Digest, Negotiate, realm \"a, Basic x\")"
            )
        );
        assert_eq!(
            line(&["NTLM TlRMTVNT==, Basic"], false),
            some("a user and a password are missing, as in http://user:password@host/ (NTLM, Basic)")
        );
        assert_eq!(line(&["", ",", "realm=x"], false), None);
        let long = line(&[&format!("Basic realm=\"{}\x1b\"", "x".repeat(500))], false).unwrap();
        assert!(long.len() < 250 && !long.contains(char::is_control), "{long}");
    }
}
