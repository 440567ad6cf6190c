//! Digest authentication (RFC 7616, and RFC 2069 for servers of that age): proves the knowledge of a password without sending it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::offer::Offer;
use super::request::Method;

/// The longest realm, nonce and opaque value that is sent back, in bytes.
const MAX_VALUE: usize = 1024;

/// The name on the wire, and whether it is a `-sess` variant, whose secret includes the nonces.
const ALGORITHMS: [(&str, Hash, bool); 4] = [
    ("MD5", Hash::Md5, false),
    ("MD5-sess", Hash::Md5, true),
    ("SHA-256", Hash::Sha256, false),
    ("SHA-256-sess", Hash::Sha256, true),
];

/// In the order of strength, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hash {
    Md5,
    Sha256,
}

impl Hash {
    /// The hash of the parts, joined by colons, in hexadecimal.
    fn of(self, parts: &[&[u8]]) -> String {
        let text = parts.join(&b':');
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Md5 => hex(&Md5::digest(&text)),
            Self::Sha256 => hex(&Sha256::digest(&text)),
        }
    }
}

/// A server's Digest challenge, and how often it was answered. It holds no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) hash: Hash,
    /// The algorithm's name as the server wrote it, if it did.
    algorithm: Option<&'static str>,
    session: bool,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    /// Whether answers are counted (`qop=auth`); in RFC 2069 they are not.
    counted: bool,
    /// The client's nonce. It has no character that needs quoting.
    cnonce: String,
    count: u32,
}

impl Digest {
    /// Reads an offer; the error names the part that is not supported.
    pub(super) fn offered(offer: &Offer, cnonce: String) -> Result<Self, String> {
        let text = |name| offer.get(name).map(|value| String::from_utf8_lossy(value));
        let named = text("algorithm");
        let wanted = named.as_deref().unwrap_or("MD5");
        let (algorithm, hash, session) = ALGORITHMS
            .into_iter()
            .find(|(name, ..)| name.eq_ignore_ascii_case(wanted))
            .ok_or_else(|| format!("with {wanted}"))?;
        let qop = text("qop").filter(|qop| !qop.trim().is_empty());
        let counted = qop.is_some();
        if let Some(qop) = &qop
            && !qop.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth"))
        {
            return Err(format!("with {qop}"));
        }
        if session && !counted {
            return Err(format!("with {algorithm}, without qop"));
        }
        let value = |name| match offer.get(name) {
            Some(value) if value.len() > MAX_VALUE => {
                Err(format!("with more than {MAX_VALUE} bytes of {name}"))
            }
            Some(value) if value.iter().any(u8::is_ascii_control) => {
                Err(format!("with control characters in {name}"))
            }
            value => Ok(value.map(<[u8]>::to_vec)),
        };
        let needed = |name| value(name)?.ok_or_else(|| format!("without {name}"));
        Ok(Self {
            hash,
            algorithm: named.as_ref().map(|_| algorithm),
            session,
            realm: needed("realm")?,
            nonce: needed("nonce")?,
            opaque: value("opaque")?,
            counted,
            cnonce,
            count: 0,
        })
    }

    /// The value of `Authorization` for the next request. `target` must hold no character that needs quoting.
    pub(super) fn answer(&mut self, user: &[u8], password: &[u8], method: Method, target: &str) -> Vec<u8> {
        self.count = self.count.saturating_add(1);
        let count = format!("{:08x}", self.count);
        let (nonce, cnonce, target) = (&self.nonce[..], self.cnonce.as_bytes(), target.as_bytes());
        let mut secret = self.hash.of(&[user, &self.realm, password]);
        if self.session {
            secret = self.hash.of(&[secret.as_bytes(), nonce, cnonce]);
        }
        let request = self.hash.of(&[method.to_string().as_bytes(), target]);
        let (secret, request) = (secret.as_bytes(), request.as_bytes());
        let response = if self.counted {
            self.hash
                .of(&[secret, nonce, count.as_bytes(), cnonce, b"auth", request])
        } else {
            self.hash.of(&[secret, nonce, request])
        };
        let mut field = b"Digest username=".to_vec();
        quote(user, &mut field);
        let values: [(_, &[u8]); 4] = [
            (", realm=", &self.realm),
            (", nonce=", nonce),
            (", uri=", target),
            (", response=", response.as_bytes()),
        ];
        let opaque = self.opaque.iter().map(|opaque| (", opaque=", &opaque[..]));
        for (name, value) in values.into_iter().chain(opaque) {
            field.extend_from_slice(name.as_bytes());
            quote(value, &mut field);
        }
        if let Some(algorithm) = self.algorithm {
            field.extend_from_slice(format!(", algorithm={algorithm}").as_bytes());
        }
        if self.counted {
            let counted = format!(", qop=auth, nc={count}, cnonce=\"{}\"", self.cnonce);
            field.extend_from_slice(counted.as_bytes());
        }
        field
    }

    /// Its name, as in the list of algorithms.
    pub(super) fn name(&self) -> &'static str {
        self.algorithm.unwrap_or("MD5")
    }
}

/// Appends a quoted string (RFC 9110 §5.6.4).
fn quote(value: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    for &byte in value {
        if matches!(byte, b'"' | b'\\') {
            into.push(b'\\');
        }
        into.push(byte);
    }
    into.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::challenge::Challenge;
    use super::*;

    fn offered(value: &str) -> Result<Digest, String> {
        let challenge = Challenge::parse([value.as_bytes()].into_iter()).unwrap();
        let offer = challenge.offers().next().unwrap();
        Digest::offered(offer, "0a4f113b".into())
    }

    fn answer(digest: &mut Digest, user: &str, password: &str) -> String {
        let field = digest.answer(
            user.as_bytes(),
            password.as_bytes(),
            Method::Get,
            "/dir/index.html",
        );
        String::from_utf8(field).unwrap()
    }

    /// RFC 7616 §3.9.1, whose names and values these are; the sessions' were computed with Python's hashlib.
    #[test]
    fn the_examples_of_the_standard() {
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
            ("MD5-sess", "e783283f46242139c486a698fec7211d"),
            (
                "SHA-256-sess",
                "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7",
            ),
        ] {
            let mut digest = offered(&format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            ))
            .unwrap();
            digest.cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".into();
            assert_eq!(
                answer(&mut digest, "Mufasa", "Circle of Life"),
                format!(
                    "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
                     nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", uri=\"/dir/index.html\", \
                     response=\"{response}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", \
                     algorithm={algorithm}, qop=auth, nc=00000001, \
                     cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\""
                )
            );
            assert!(answer(&mut digest, "Mufasa", "Circle of Life").contains("nc=00000002,"));
        }
    }

    /// RFC 2617 §3.5; and RFC 2069 §2.4, with its erratum.
    #[test]
    fn the_examples_of_the_standards_before() {
        let asks = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let mut digest = offered(&format!("{asks}, qop=auth")).unwrap();
        let text = answer(&mut digest, "Mufasa", "Circle Of Life");
        assert!(
            text.contains("response=\"6629fae49393a05397450978507c4ef1\""),
            "{text}"
        );
        assert!(
            !text.contains("algorithm") && !text.contains("opaque"),
            "not asked for"
        );
        for asks in [asks.to_owned(), format!("{asks}, qop=\"\"")] {
            let text = answer(&mut offered(&asks).unwrap(), "Mufasa", "CircleOfLife");
            assert!(
                text.ends_with("response=\"1949323746fe6a43ef61f9606e7febea\""),
                "{text}"
            );
        }
    }

    /// What is hashed is what the quotes mean, not how it is written.
    #[test]
    fn quotes_are_taken_off_and_put_on() {
        let plain = answer(&mut offered("Digest realm=lab, nonce=n").unwrap(), "me", "x");
        let quoted = answer(
            &mut offered("digest  Realm = \"l\\ab\" ,NONCE=\"n\", algorithm=\"md5\"").unwrap(),
            "me",
            "x",
        );
        assert_eq!(format!("{plain}, algorithm=MD5"), quoted);
        let odd = answer(
            &mut offered("Digest realm=\"a \\\"b\\\", c\\\\\", nonce=\"\"").unwrap(),
            "m\"e\\",
            "x",
        );
        assert!(
            odd.starts_with("Digest username=\"m\\\"e\\\\\", realm=\"a \\\"b\\\", c\\\\\", nonce=\"\", "),
            "{odd}"
        );
        // printf 'm"e\:a "b", c\:x' | md5sum, and so on.
        assert!(
            odd.ends_with(&format!(
                "response=\"{}\"",
                Hash::Md5.of(&[
                    Hash::Md5.of(&[b"m\"e\\:a \"b\", c\\:x"]).as_bytes(),
                    b"",
                    Hash::Md5.of(&[b"GET:/dir/index.html"]).as_bytes(),
                ])
            )),
            "{odd}"
        );
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let long = format!("Digest realm=x, nonce={}", "n".repeat(1025));
        for (asks, why) in [
            (
                "Digest realm=x, nonce=n, algorithm=SHA-512-256, qop=auth",
                "with SHA-512-256",
            ),
            ("Digest realm=x, nonce=n, qop=\"auth-int\"", "with auth-int"),
            (
                "Digest realm=x, nonce=n, algorithm=MD5-sess",
                "with MD5-sess, without qop",
            ),
            ("Digest realm=x", "without nonce"),
            ("Digest nonce=x", "without realm"),
            ("Digest", "without realm"),
            ("Digest realm=x, nonce", "without nonce"),
            (
                "Digest realm=\"a\r\n b\", nonce=n",
                "with control characters in realm",
            ),
            (
                "Digest realm=x, nonce=n, opaque=\"\\\n\"",
                "with control characters in opaque",
            ),
            (&long, "with more than 1024 bytes of nonce"),
        ] {
            assert_eq!(offered(asks), Err(why.to_owned()), "{asks}");
        }
        assert!(offered(&long.replace("nn", "n")).is_ok());
    }
}
