//! Logins: a URL's user and password go to its server in the form that the server asks for, and not before it asks
//! (RFC 9110 §11.6).

use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use super::challenge::Challenge;
use super::digest::Digest;
use super::head::{Framing, Head};
use super::request::{Method, Request, Rest, base64};
use super::{Fetcher, Reason};
use crate::net::Net;
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
    /// The value of `Authorization`; `None` for a user name that the form cannot carry.
    fn answer(&mut self, credentials: &[u8], request: &Request<'_>) -> Option<Vec<u8>> {
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

impl Fetcher {
    /// Sends `request` and reads the answer's head. A 401 is answered once in the form that it asks for, and once more when the
    /// server calls its nonce stale. A remembered form is used in the first request already, and may be out of date.
    pub(super) fn ask_as_wanted(
        &mut self,
        net: &mut Net<'_>,
        request: &Request<'_>,
        rest: Option<Rest<'_>>,
    ) -> Result<Head, Reason> {
        let url = request.url;
        let Some(credentials) = url.credentials() else {
            return self.ask(net, request, rest, None);
        };
        // Whether this file's own 401 was answered, and whether a stale nonce was replaced.
        let (mut told, mut renewed) = (false, false);
        loop {
            let known = self.logins.iter_mut().find(|(known, _)| serves(known, url));
            let basic = matches!(known, Some((_, Login::Basic)));
            let answer = known.and_then(|(_, login)| login.answer(&credentials, request));
            let answered = answer.is_some();
            let mut head = self.ask(net, request, rest, answer.as_deref())?;
            if head.status != 401 {
                return Ok(head);
            }
            self.logins.retain(|(known, _)| !serves(known, url));
            let wanted = match &head.challenge {
                Some(challenge) => {
                    let cnonce = format!("{:08x}{:08x}", net.random(), net.random());
                    challenge.login(&cnonce)
                }
                // The server names no scheme, and the URL has a password.
                None => Some(Login::Basic),
            };
            let stale = answered && head.challenge.as_ref().is_some_and(Challenge::is_stale);
            let again = !told || stale && !renewed;
            // The same answer would only bring the same 401.
            let Some(login) = wanted.filter(|login| again && !(basic && *login == Login::Basic)) else {
                return Ok(head);
            };
            renewed |= told;
            told = true;
            info!("fetch: {}: asked again with {}", url, login);
            if request.method == Method::Head {
                head.framing = Framing::Length(0);
            }
            self.discard(net, &head);
            if self.logins.len() >= MAX_LOGINS {
                self.logins.remove(0);
            }
            self.logins.push((url.clone(), login));
        }
    }
}

/// Whether a remembered form serves another URL: only with the same server and the same secret, so that a password of one
/// place never goes out in clear text because another place asked for that.
fn serves(known: &Url, url: &Url) -> bool {
    known.same_origin(url) && known.credentials() == url.credentials()
}
