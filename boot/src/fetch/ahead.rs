//! Whether files are there, and how long they are, before the first large one is fetched.
//!
//! Only a clear no counts, and only one that a GET confirms: servers refuse HEAD, forget it, or sign links for GET alone. What
//! an answer does not tell is found out when the file is fetched. What else was thought of: D-108.

use super::Fetcher;
use super::bounds::MAX_REDIRECTS;
use super::error::{Error, Reason};
use super::head::Error as HeadError;
use super::request::{Method, Request};
use super::sink::Sink;
use super::transfer::Transfer;
use super::watch::Watch;
use crate::net::Net;
use crate::patience;
use crate::url::{Scheme, Url};

impl Fetcher {
    /// The length of the file at `url`, if the server tells it; an error when there is no such file, or no such server. One
    /// round trip, and none to where the last one was in vain, or where a query tells that the answer is made by a
    /// program, which may count how often it is asked.
    pub fn look(
        &mut self,
        net: &mut Net<'_>,
        url: &Url,
        watch: &mut dyn Watch,
    ) -> Result<Option<u64>, Error> {
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            if at.target().contains('?') || self.deaf.has(&at) {
                return Ok(None);
            }
            match self.ask_for(net, Method::Head, &at, watch) {
                Ok((None, len)) => return Ok(len),
                Ok((Some(next), _)) => at = next,
                Err(error) => return self.judge(net, error, watch),
            }
        }
        Ok(None)
    }

    /// Believes no answer of this server to HEAD any more.
    pub fn distrust(&mut self, url: &Url) {
        self.deaf.add(url);
    }

    /// What a failed HEAD says of the file.
    fn judge(
        &mut self,
        net: &mut Net<'_>,
        error: Error,
        watch: &mut dyn Watch,
    ) -> Result<Option<u64>, Error> {
        match &error.reason {
            // No method makes a difference to that.
            Reason::Resolve(_) | Reason::Connect(..) => Err(error),
            // TFTP has one way to ask.
            Reason::Tftp(_) if error.may_be_absent() => Err(Error {
                method: Method::Get,
                ..error
            }),
            Reason::Status { code: 404 | 410, .. } => match self.ask_for(net, Method::Get, &error.url, watch)
            {
                Err(error) if is_gone(&error) => Err(error),
                // It says another thing of HEAD than of GET.
                _ => {
                    self.distrust(&error.url);
                    Ok(None)
                }
            },
            Reason::NoAnswer(_)
            | Reason::Head(HeadError::Malformed | HeadError::Truncated)
            | Reason::Tftp(_)
            | Reason::Status {
                code: 400 | 405 | 501,
                ..
            } => {
                self.distrust(&error.url);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Asks for the head of an answer alone: where it leads, or the file's length.
    fn ask_for(
        &mut self,
        net: &mut Net<'_>,
        method: Method,
        url: &Url,
        watch: &mut dyn Watch,
    ) -> Result<(Option<Url>, Option<u64>), Error> {
        let request = Request {
            method,
            patience: (method == Method::Head).then_some(patience::HEAD_ANSWER),
            ..Request::get(url)
        };
        let now = net.now();
        let mut sink = Sink::new(&mut []);
        let mut transfer = Transfer::new(&mut sink, watch, now, now + patience::DOWNLOAD);
        transfer.looks = true;
        let next = self
            .sources
            .exchange(net, &request, &mut transfer)
            .map_err(|reason| Error {
                method,
                url: url.clone(),
                reason,
            })?;
        // TFTP's is unknown, not zero, when the server does not tell it.
        let len = transfer
            .total
            .filter(|len| *len > 0 || url.scheme() == Scheme::Http);
        Ok((next, len))
    }
}

/// Whether a server says that a file is not there, and nothing else.
fn is_gone(error: &Error) -> bool {
    matches!(error.status(), Some(404 | 410))
}
