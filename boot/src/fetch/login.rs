//! Logins: a URL's user and password go to its server in the form that the server asks for, and not before it asks
//! (RFC 9110 §11.6) (D-79).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::digest::Digest;
use super::offer::Offer;
use super::request::{Request, base64};
use crate::url::Url;

/// How many servers' challenges are remembered. A file of a forgotten server costs one more request.
const MAX_LOGINS: usize = 8;

/// The form of login that a server asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// User and password in clear text (RFC 7617).
    Basic,
    Digest(Digest),
}

impl Login {
    /// The form that an offer asks for; an error when it cannot be answered.
    pub(super) fn offered(offer: &Offer, cnonce: &str) -> Result<Self, String> {
        if offer.is("basic") {
            return Ok(Self::Basic);
        }
        if offer.is("digest") {
            return Digest::offered(offer, cnonce.into()).map(Self::Digest);
        }
        Err(String::new())
    }

    /// The value of `Authorization`; `None` for a user name that the form cannot carry (D-127).
    pub(super) fn answer(&mut self, credentials: &[u8], request: &Request<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Basic => Some(format!("Basic {}", base64(credentials)).into_bytes()),
            Self::Digest(digest) => {
                let colon = credentials.iter().position(|byte| *byte == b':')?;
                let (user, password) = credentials.split_at_checked(colon)?;
                let unfit = user.iter().any(u8::is_ascii_control);
                let password = password.get(1..).filter(|_| !unfit)?;
                Some(digest.answer(user, password, request.method, request.url.target()))
            }
        }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic => f.write_str("Basic, the password in clear text"),
            Self::Digest(digest) => write!(f, "Digest, {}", digest.name()),
        }
    }
}

/// The forms that servers have asked for, each with the URL that it was for.
#[derive(Debug, Default)]
pub(super) struct Logins(Vec<(Url, Login)>);

impl Logins {
    /// The form for `url`, when it is known.
    pub(super) fn known(&mut self, url: &Url) -> Option<&mut Login> {
        let mut logins = self.0.iter_mut();
        logins.find_map(|(known, login)| serves(known, url).then_some(login))
    }

    /// Forgets the form for `url`.
    pub(super) fn forget(&mut self, url: &Url) {
        self.0.retain(|(known, _)| !serves(known, url));
    }

    /// Remembers one, in place of the oldest if need be.
    pub(super) fn remember(&mut self, url: &Url, login: Login) {
        if self.0.len() >= MAX_LOGINS {
            self.0.remove(0);
        }
        self.0.push((url.clone(), login));
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Whether a remembered form serves another URL: only with the same server and the same secret, so that a password of one
/// place never goes out in clear text because another place asked for that.
fn serves(known: &Url, url: &Url) -> bool {
    known.same_origin(url) && known.credentials() == url.credentials()
}
