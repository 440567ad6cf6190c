//! Who asks: the user and the password of a URL, shown to its server as that wants it, and not before it says so
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

/// How many servers are remembered with what they want. Of one forgotten, each file costs a request more.
const MAX_LOGINS: usize = 8;

/// What a server wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// Both in clear text (RFC 7617).
    Basic,
    Digest(Digest),
}

impl Login {
    /// The value of `Authorization`; none for a user that it cannot carry.
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
    /// Sends `request` and reads the answer's head; a 401 is answered once by what it asks for, and once more when the
    /// server calls its nonce stale. What was asked for before is sent at once, and may be out of date.
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
        // Whether what this very file's 401 asked for was sent, and whether a nonce was replaced.
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
                // It says nothing of how, and the URL has a password.
                None => Some(Login::Basic),
            };
            let stale = answered && head.challenge.as_ref().is_some_and(Challenge::is_stale);
            let again = !told || stale && !renewed;
            // The same again would be answered by the same.
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

/// Whether what was wanted of one is wanted of the other: the same server, and the same secret, so that what one place in
/// clear text is not given to another.
fn serves(known: &Url, url: &Url) -> bool {
    known.same_origin(url) && known.credentials() == url.credentials()
}
