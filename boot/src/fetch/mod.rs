//! A URL to a sink: redirects, what broke off taken up again, progress, and bounds. How bytes come is the sources' business
//! (`source.rs`), where they go the sink's (D-155).

mod ahead;
mod body;
mod bounds;
mod challenge;
mod connection;
mod deaf;
mod digest;
mod error;
mod head;
mod host;
mod http;
mod login;
mod offer;
mod pace;
mod request;
mod resume;
mod sink;
mod source;
mod tftp;
mod tftp_error;
mod tftp_reader;
mod transfer;
mod watch;

use alloc::vec;

pub use self::body::Error as BodyError;
pub use self::challenge::Challenge;
pub use self::error::{ConnectError, Error, Lost, Reason};
pub use self::head::Error as HeadError;
pub use self::request::{Method, Request};
pub use self::sink::Sink;
pub use self::tftp_error::Error as TftpError;
pub use self::watch::{Exchange, Watch};

use self::bounds::MAX_REDIRECTS;
pub(crate) use self::connection::BUFFERS;
use self::deaf::Deaf;
pub(crate) use self::head::MAX_LEN as HEAD;
pub(crate) use self::request::base64;
use self::resume::Resumes;
use self::source::{Sources, sends_the_rest};
use self::transfer::Transfer;
use crate::net::Net;
use crate::patience;
use crate::url::Url;

/// Fetches URLs, keeping one connection open between them.
///
/// Its socket lives in the `Net` that the first `get` was given; all others must be given the same.
#[derive(Debug, Default)]
pub struct Fetcher {
    sources: Sources,
    deaf: Deaf,
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Where it came from, after redirects.
    pub url: Url,
    /// How many bytes of the destination were filled.
    pub len: usize,
}

/// Downloads a URL to the start of a slice: [`Fetcher::get`] for those who need not know the network.
pub type Get<'g> = dyn FnMut(&Url, &mut [u8]) -> Result<Response, Error> + 'g;

impl Fetcher {
    /// No connection yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Downloads `url` into `into`.
    ///
    /// When a download breaks off, the rest is asked for, as long as it gets on (`resume.rs`), if the server gave an entity
    /// tag or a date by which it can tell that the file is still the same. Otherwise that is an error, like all others.
    pub fn get(
        &mut self,
        net: &mut Net<'_>,
        url: &Url,
        into: &mut [u8],
        watch: &mut dyn Watch,
    ) -> Result<Response, Error> {
        self.send(net, &Request::get(url), into, watch)
    }

    /// The same for any request. A redirect of any kind leads to a plain GET, as in iPXE: parameters are for the first URL
    /// only. It may lead to where we have been, which answers another request (a form and then a page), or has
    /// changed its mind; what goes round for ever is ended by the number (D-22).
    pub fn send(
        &mut self,
        net: &mut Net<'_>,
        request: &Request<'_>,
        into: &mut [u8],
        watch: &mut dyn Watch,
    ) -> Result<Response, Error> {
        self.download(net, request, &mut Sink::new(into), watch)
    }

    /// The same to the start of any sink: one [with a digest](Sink::with_digest), too.
    pub fn download(
        &mut self,
        net: &mut Net<'_>,
        request: &Request<'_>,
        sink: &mut Sink<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Response, Error> {
        sink.restart();
        let started = net.now();
        let mut url = request.url.clone();
        let mut redirected = false;
        let mut visited = vec![url.clone()];
        let end = started + patience::DOWNLOAD;
        let mut resumes = Resumes::new(started, end, request.patience);
        let mut transfer = Transfer::new(sink, watch, started, end);
        loop {
            let plain = Request::get(&url);
            let request = if redirected {
                Request {
                    patience: request.patience,
                    ..plain
                }
            } else {
                *request
            };
            let method = request.method;
            match self.sources.exchange(net, &request, &mut transfer) {
                Ok(None) => break,
                Ok(Some(next)) => {
                    if visited.len() > MAX_REDIRECTS {
                        let reason = if visited.contains(&next) {
                            Reason::RedirectLoop
                        } else {
                            Reason::TooManyRedirects
                        };
                        return Err(Error { method, url, reason });
                    }
                    redirected = true;
                    info!("fetch: {}: redirected to {}", url, next);
                    visited.push(next.clone());
                    url = next;
                }
                Err(reason) => {
                    if method == Method::Get && reason.is_interruption() && sends_the_rest(url.scheme()) {
                        if transfer.missing().is_some() {
                            let random = net.random();
                            if let Some(pause) = resumes.next(net.now(), transfer.sink.filled(), random) {
                                let millis = pause.total_millis();
                                warn!(
                                    "fetch: GET {}: {}; asking for the rest in {} ms",
                                    url, reason, millis
                                );
                                let until = net.now() + pause;
                                let _: Option<()> = net.wait(until, |_| None);
                                continue;
                            }
                        } else if transfer.sink.filled() > 0 {
                            warn!(
                                "fetch: GET {}: no ETag and no Last-Modified by which to ask for the rest",
                                url
                            );
                        }
                    }
                    return Err(Error { method, url, reason });
                }
            }
        }
        let len = transfer.sink.filled();
        transfer.report();
        let millis = (net.now() - started).total_millis();
        info!("fetch: {}: {} bytes in {} ms", url, len, millis);
        Ok(Response { url, len })
    }

    /// Closes the connection and forgets the host's address and what servers want to know, at the end of an attempt: the
    /// next one may have another network or another answer from DNS.
    pub fn close(&mut self, net: &mut Net<'_>) {
        self.sources.close(net);
    }
}

#[cfg(fuzzing)]
#[doc(hidden)]
pub use tftp_reader::hear as read_tftp;

/// Reads a response's head and as much of its body as there is, in pieces of `piece` bytes: the status, the body, and
/// whether it was whole. For the fuzz targets.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn parse(message: &[u8], piece: usize) -> Option<(u16, alloc::vec::Vec<u8>, bool)> {
    let (head, len) = head::Head::parse(message).ok()??;
    let mut decoder = body::Body::new(head.framing);
    let mut content = alloc::vec![0; message.len()];
    let mut filled: usize = 0;
    for part in message.get(len..)?.chunks(piece) {
        let room = content.get_mut(filled..)?;
        filled = filled.saturating_add(decoder.decode(part, room).ok()?.1);
        if decoder.is_done() {
            break;
        }
    }
    content.truncate(filled);
    Some((head.status, content, decoder.is_done()))
}
