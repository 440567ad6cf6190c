//! A server's challenge (`WWW-Authenticate`, RFC 9110 §11.6.1): which of its offers is answered, and what a person reads of it.

use alloc::vec::Vec;
use core::fmt;

use super::login::Login;
use super::offer::{self, MAX_TEXT, Offer};
use crate::text::ascii_bytes;

/// An answer of 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The schemes that the server takes, in its order.
    offers: Vec<Offer>,
    /// Whether the URL had a user and a password.
    pub(super) tried: bool,
}

impl Challenge {
    /// Reads the field's values; `None` when they name no scheme.
    pub(super) fn parse<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let (offers, tried) = (offer::read(values), false);
        (!offers.is_empty()).then_some(Self { offers, tried })
    }

    /// The strongest scheme that can be answered. The server's order does not count, and the password goes out in clear text only
    /// when the server accepts nothing else (D-127).
    pub(super) fn login(&self, cnonce: &str) -> Option<Login> {
        let logins = self
            .offers
            .iter()
            .rev()
            .filter_map(|offer| Login::offered(offer, cnonce).ok());
        // `max_by_key` takes the last of equals; in reverse order that is the server's first.
        logins.max_by_key(|login| match login {
            Login::Basic => None,
            Login::Digest(digest) => Some(digest.hash),
        })
    }

    /// Whether the last answer failed only because its nonce was stale.
    pub(super) fn is_stale(&self) -> bool {
        let mut stale = self.offers.iter().filter_map(|offer| offer.get("stale"));
        stale.any(|stale| stale.eq_ignore_ascii_case(b"true"))
    }

    #[cfg(test)]
    pub(super) fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers.iter()
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("401 Unauthorized: ")?;
        f.write_str(match (self.login("").is_some(), self.tried) {
            (true, true) if self.is_stale() => "the server calls each of its nonces stale (",
            (true, true) => "the user or the password in the URL is not the right one (",
            (true, false) => "a user and a password are missing: user:password@ in front of the host (",
            (false, _) => {
                "the server wants what is not supported, only Basic and Digest with MD5 or SHA-256 are ("
            }
        })?;
        for (i, offer) in self.offers.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { ", " } else { "" }, offer.scheme)?;
            match Login::offered(offer, "") {
                Err(why) if !why.is_empty() => write!(f, " {}", ascii_bytes(why.as_bytes(), MAX_TEXT))?,
                _ => {}
            }
        }
        let mut realms = self.offers.iter().filter_map(|offer| offer.get("realm"));
        match realms.next().map(|realm| ascii_bytes(realm, MAX_TEXT)) {
            Some(realm) if !realm.is_empty() => write!(f, ", realm \"{realm}\")"),
            _ => f.write_str(")"),
        }
    }
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
                "a user and a password are missing: user:password@ in front of the host (Basic, realm \"the \"lab\", here\")"
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
                "the user or the password in the URL is not the right one (Digest, Negotiate, realm \"a, Basic x\")"
            )
        );
        assert_eq!(
            line(
                &["Negotiate, Digest realm=lab, nonce=1, algorithm=SHA-512-256"],
                true
            ),
            some(
                "the server wants what is not supported, only Basic and Digest with MD5 or SHA-256 are (Negotiate, Digest with SHA-512-256, realm \"lab\")"
            )
        );
        assert_eq!(
            line(&["Digest realm=lab, nonce=1, stale=TRUE"], true),
            some("the server calls each of its nonces stale (Digest, realm \"lab\")")
        );
        assert_eq!(
            line(&["NTLM TlRMTVNT==, Basic"], false),
            some("a user and a password are missing: user:password@ in front of the host (NTLM, Basic)")
        );
        assert_eq!(line(&["", ",", "realm=x"], false), None);
        let long = line(&[&format!("Basic realm=\"{}\x1b\"", "x".repeat(500))], false).unwrap();
        assert!(long.len() < 250 && !long.contains(char::is_control), "{long}");
    }

    fn chosen(values: &[&str]) -> Option<String> {
        let challenge = Challenge::parse(values.iter().map(|value| value.as_bytes()))?;
        Some(challenge.login("c")?.to_string())
    }

    #[test]
    fn the_strongest_that_we_know_is_chosen() {
        let md5 = "Digest realm=\"x\", qop=\"auth\", algorithm=MD5, nonce=\"n\"";
        let sha = "Digest realm=\"x\", qop=\"auth\", algorithm=SHA-256, nonce=\"n\"";
        let other = "Digest realm=\"x\", qop=\"auth\", algorithm=SHA-512-256, nonce=\"n\"";
        let basic = "Basic realm=\"x\"";
        let one_field = [basic, md5, other, sha, "Negotiate"].join(", ");
        for (values, login) in [
            (&[basic, md5, sha][..], Some("Digest, SHA-256")),
            (&[sha, md5, basic], Some("Digest, SHA-256")),
            (&[&one_field], Some("Digest, SHA-256")),
            (&[basic, "Digest realm=x\r\n , nonce=n"], Some("Digest, MD5")),
            (&["Digest\r\n realm=x, nonce=n", basic], Some("Digest, MD5")),
            (
                &["Digest realm=x, nonce=n, algorithm=MD5-sess, qop=auth", md5],
                Some("Digest, MD5-sess"),
            ),
            (&[other, basic], Some("Basic, the password in clear text")),
            (
                &[other, "Digest realm=x, Basic"],
                Some("Basic, the password in clear text"),
            ),
            (&[other], None),
            (&["Bearer realm=x"], None),
        ] {
            assert_eq!(chosen(values).as_deref(), login, "{values:?}");
        }
    }

    /// Nothing here may panic, grow or be sent back as a line of its own.
    #[test]
    fn hostile_challenges() {
        assert_eq!(
            chosen(&["Digest realm=\"x, nonce=\"n\""]),
            None,
            "quotes that do not match"
        );
        assert_eq!(chosen(&["Digest realm=\"x\\"]), None);
        assert_eq!(chosen(&["realm=x, nonce=n", "\"Digest realm=x, nonce=n\""]), None);
        assert_eq!(chosen(&["=, ==, ,, \" , \\"]), None);
        let nine = ["Digest"; 8].join(",") + ", Basic realm=x";
        assert_eq!(chosen(&[&nine]), None, "eight are looked at");
        let many = format!("Digest {}realm=x, nonce=n", "a=b, ".repeat(16));
        assert_eq!(chosen(&[&many]), None, "with sixteen parameters each");
        let twice = "Digest realm=x, nonce=first, nonce=second";
        let challenge = Challenge::parse([twice.as_bytes()].into_iter()).unwrap();
        let offer = challenge.offers().next().unwrap();
        assert_eq!(offer.get("Nonce"), Some(&b"first"[..]));
        for seed in 0..20_000_u32 {
            let mut state = seed;
            let piece = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let pieces = [
                    "Digest",
                    "Basic",
                    "realm",
                    "nonce",
                    "=",
                    "\"",
                    "\\",
                    ",",
                    " ",
                    "\r\n ",
                    "x",
                    "algorithm",
                    "MD5",
                    "qop",
                    "auth",
                    "\u{e9}",
                ];
                pieces[(state >> 24) as usize % pieces.len()]
            };
            let text: String = (0..24).map(piece).collect();
            if let Some(challenge) = Challenge::parse([text.as_bytes()].into_iter()) {
                assert!(
                    challenge.to_string().chars().all(|c| matches!(c, ' '..='~')),
                    "{text}"
                );
                if let Some(Login::Digest(mut digest)) = challenge.login("c") {
                    let field = digest.answer(b"u", b"p", super::super::Method::Get, "/");
                    assert!(!field.iter().any(u8::is_ascii_control), "{text}");
                }
            }
        }
    }
}
