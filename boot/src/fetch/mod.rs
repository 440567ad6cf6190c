//! HTTP/1.1 straight into place (RFC 9110, 9112): keep-alive, chunked, redirects, resumed; every bound written here.
//! TFTP, for those who have nothing else, is next door.

mod ahead;
mod body;
mod challenge;
mod connection;
mod digest;
mod head;
mod login;
mod request;
mod resume;
mod tftp;
mod watch;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

pub use self::body::Error as BodyError;
pub use self::challenge::Challenge;
pub use self::connection::{ConnectError, Lost};
pub use self::head::Error as HeadError;
pub use self::request::{Method, Request};
pub use self::tftp::Error as TftpError;
pub use self::watch::{Exchange, Watch};

use self::body::Body;
use self::connection::{Connection, Received};
use self::head::{Framing, Head};
use self::login::Login;
use self::request::Rest;
pub(crate) use self::request::base64;
use self::resume::Resumes;
use crate::net::Net;
use crate::resolve::{self, resolve};
use crate::url::{self, Scheme, Url};

/// How long a server may think before its answer's head is complete: some build an image on demand, which takes them
/// a minute or two. A server that is gone is noticed much sooner.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);
/// A body may pause for 15 s, and must not trickle: less than a full segment in that time is no transfer.
const BODY_PACE: Pace = Pace {
    bytes: 1024,
    window: Duration::from_secs(15),
};
/// Two hours are enough for a gigabyte at 1 Mb/s, and a server cannot hold a node for longer, however often it breaks off.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;
/// The first bytes of a file, which tell what it is.
const BEGINNING: u64 = 4096;
/// The least time between two calls of [`Watch::progress`].
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// The body of an error or a redirect is read, to keep the connection, when it is at most this long …
const MAX_DISCARD: usize = 8 * 1024;
/// … and comes within a second.
const DISCARD_PACE: Pace = Pace {
    bytes: usize::MAX,
    window: Duration::from_secs(1),
};

/// Fetches URLs, keeping one connection open between them.
///
/// Its socket lives in the `Net` that the first `get` was given; all others must be given the same.
#[derive(Debug, Default)]
pub struct Fetcher {
    connection: Connection,
    /// The host last connected to, and its address.
    resolved: Option<(String, Ipv4Address)>,
    /// Servers whose answers to HEAD tell nothing, or not the truth.
    deaf: Vec<Url>,
    /// Servers that want to know who asks, and how.
    logins: Vec<(Url, Login)>,
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

/// A download that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// How it was asked for.
    pub method: Method,
    /// What was asked for at that moment, after redirects.
    pub url: Url,
    /// Why it did not come.
    pub reason: Reason,
}

/// Why a download failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The host's name has no address.
    Resolve(resolve::Error),
    /// The host cannot be reached at this address.
    Connect(Ipv4Address, ConnectError),
    /// The connection ended before the answer began, or its head was not complete within `ANSWER_TIMEOUT`.
    NoAnswer(Lost),
    /// The answer's head cannot be used.
    Head(HeadError),
    /// The server says no.
    Status {
        /// The status code, outside 200 to 299 or one that we did not ask for.
        code: u16,
        /// Its reason phrase: printable ASCII, at most 64 bytes.
        phrase: String,
    },
    /// The server wants to know who asks.
    Unauthorized(Box<Challenge>),
    /// A redirect to something that cannot be fetched.
    Redirect(url::Error),
    /// A redirect to nowhere: no `Location`.
    NoLocation,
    /// More than ten redirects, the last to where we have been.
    RedirectLoop,
    /// More than ten redirects.
    TooManyRedirects,
    /// It does not fit: refused at the head when the server tells the length.
    TooLarge {
        /// The length in bytes, when known.
        len: Option<u64>,
        /// The size of the destination in bytes.
        space: usize,
    },
    /// The body is malformed.
    Body(BodyError),
    /// What only a TFTP server can do wrong.
    Tftp(TftpError),
    /// The rest was asked for, and another part of the file came.
    WrongPart,
    /// It was not asked for: the files before it have taken this long, and that was all the time for them together.
    Overdue(Duration),
    /// The body ended early, and asking for the rest did not help.
    Interrupted {
        /// How.
        how: Lost,
        /// Bytes that had come.
        got: u64,
        /// Bytes in all, when known.
        of: Option<u64>,
    },
}

impl Reason {
    /// Whether asking for the rest of a file later may help.
    fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted { .. } | Self::NoAnswer(_) | Self::Connect(..) | Self::Resolve(_) => true,
            Self::Head(error) => *error == HeadError::Truncated,
            // A server that is being started again, or one in front of it.
            Self::Status { code, .. } => matches!(code, 408 | 429 | 500 | 502..=504),
            _ => false,
        }
    }
}

impl Error {
    /// The HTTP status, when that is the reason.
    pub fn status(&self) -> Option<u16> {
        match self.reason {
            Reason::Status { code, .. } => Some(code),
            Reason::Unauthorized(_) => Some(401),
            _ => None,
        }
    }

    /// Whether the server answered that there is no such file.
    pub fn is_absent(&self) -> bool {
        self.may_be_absent() && !self.is_forbidden()
    }

    /// The same, or a refusal that may mean it: object stores answer 403 for what does not exist, when listing is not allowed.
    pub fn may_be_absent(&self) -> bool {
        let absent = matches!(self.status(), Some(403 | 404 | 410));
        absent || matches!(&self.reason, Reason::Tftp(error) if error.is_absent())
    }

    /// Whether the server keeps the file from us, or says so of what it does not have.
    pub fn is_forbidden(&self) -> bool {
        self.status() == Some(403) || matches!(&self.reason, Reason::Tftp(error) if error.is_forbidden())
    }

    /// Whether this is what a web server says that has other business than boot files: a login, its own idea of a
    /// request, or HTTPS for everything.
    pub fn is_foreign(&self) -> bool {
        matches!(self.status(), Some(400 | 401 | 421 | 426)) || matches!(self.reason, Reason::Redirect(_))
    }

    /// Whether nobody is there to ask, so that asking for another file is in vain.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self.reason,
            Reason::Resolve(_) | Reason::Connect(..) | Reason::Tftp(TftpError::Refused | TftpError::NoAnswer)
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fetch: {} {}: {}", self.method, self.url, self.reason)?;
        match self.reason {
            Reason::Interrupted { .. } if self.url.scheme() == Scheme::Tftp => {
                f.write_str("; TFTP cannot go on where it broke off")
            }
            _ => Ok(()),
        }
    }
}

impl core::error::Error for Error {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => error.fmt(f),
            Self::Connect(address, error) => write!(f, "{address}: {error}"),
            Self::NoAnswer(Lost::Closed) => f.write_str("connection closed without an answer"),
            Self::NoAnswer(Lost::Reset) => f.write_str("connection lost without an answer"),
            Self::NoAnswer(Lost::Stalled) => write!(f, "no answer within {} s", ANSWER_TIMEOUT.secs()),
            Self::Head(error) => error.fmt(f),
            Self::Status { code, phrase } => {
                let gap = if phrase.is_empty() { "" } else { " " };
                write!(f, "{code}{gap}{phrase}")
            }
            Self::Unauthorized(challenge) => challenge.fmt(f),
            Self::Redirect(error) => write!(f, "redirected to {error}"),
            Self::NoLocation => f.write_str("redirected without a Location"),
            Self::RedirectLoop => f.write_str("redirected in a loop"),
            Self::TooManyRedirects => write!(f, "more than {MAX_REDIRECTS} redirects"),
            Self::TooLarge {
                len: Some(len),
                space,
            } => {
                write!(f, "{len} bytes do not fit into the {space} bytes free for it")
            }
            Self::TooLarge { len: None, space } => {
                write!(f, "longer than the {space} bytes free for it")
            }
            Self::Body(error) => error.fmt(f),
            Self::Tftp(error) => error.fmt(f),
            Self::WrongPart => f.write_str("the server sent another part than asked for"),
            Self::Overdue(spent) => write!(
                f,
                "not asked for: the files before it took {} min",
                spent.secs() / 60
            ),
            Self::Interrupted { how, got, of } => {
                f.write_str(match how {
                    Lost::Closed => "truncated",
                    Lost::Reset => "connection lost",
                    Lost::Stalled => "stalled",
                })?;
                match of {
                    Some(of) => write!(f, " after {got} of {of} bytes"),
                    None => write!(f, " after {got} bytes"),
                }
            }
        }
    }
}

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
    /// changed its mind; what goes round for ever is ended by the number.
    pub fn send(
        &mut self,
        net: &mut Net<'_>,
        request: &Request<'_>,
        into: &mut [u8],
        watch: &mut dyn Watch,
    ) -> Result<Response, Error> {
        let started = net.now();
        let mut url = request.url.clone();
        let mut redirected = false;
        let mut visited = vec![url.clone()];
        let end = started + LONGEST;
        let mut resumes = Resumes::new(started, end, request.patience);
        let mut transfer = Transfer::new(into, watch, started, end);
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
            match self.exchange(net, &request, &mut transfer) {
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
                    if method == Method::Get && reason.is_interruption() && url.scheme() == Scheme::Http {
                        if transfer.rest().is_some() {
                            let random = net.random();
                            if let Some(pause) = resumes.next(net.now(), transfer.done, random) {
                                let millis = pause.total_millis();
                                warn!(
                                    "fetch: GET {}: {}; asking for the rest in {} ms",
                                    url, reason, millis
                                );
                                let until = net.now() + pause;
                                let _: Option<()> = net.wait(until, |_| None);
                                continue;
                            }
                        } else if transfer.done > 0 {
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
        let len = transfer.done;
        transfer.report();
        let millis = (net.now() - started).total_millis();
        info!("fetch: {}: {} bytes in {} ms", url, len, millis);
        Ok(Response { url, len })
    }

    /// Closes the connection and forgets the host's address and what servers want to know, at the end of an attempt: the
    /// next one may have another network or another answer from DNS.
    pub fn close(&mut self, net: &mut Net<'_>) {
        self.resolved = None;
        self.logins.clear();
        self.connection.close(net);
    }

    /// One request and its answer, told to whoever watches. `Some`: a redirect to follow.
    fn exchange(
        &mut self,
        net: &mut Net<'_>,
        request: &Request<'_>,
        transfer: &mut Transfer<'_>,
    ) -> Result<Option<Url>, Reason> {
        transfer.watch.asking(request);
        let mut status = None;
        transfer.came = 0;
        let result = self.converse(net, request, transfer, &mut status);
        transfer.watch.answered(&Exchange {
            method: request.method,
            url: request.url,
            status,
            length: transfer.total,
            received: transfer.came,
            redirect: result.as_ref().ok().and_then(Option::as_ref),
            failure: result.as_ref().err(),
        });
        result
    }

    /// One request and its answer, whose status is left in `status`.
    fn converse(
        &mut self,
        net: &mut Net<'_>,
        request: &Request<'_>,
        transfer: &mut Transfer<'_>,
        status: &mut Option<u16>,
    ) -> Result<Option<Url>, Reason> {
        let url = request.url;
        if url.scheme() == Scheme::Tftp {
            return self.read(net, request, transfer).map(|()| None);
        }
        let mut head = self.ask_as_wanted(net, request, transfer.rest())?;
        *status = Some(head.status);
        let length = head.length();
        if request.method == Method::Head {
            head.framing = Framing::Length(0);
        }
        match (head.status, head.location.as_deref()) {
            // 305 names a proxy to ask instead, and nobody does so any more.
            (300..=304 | 306..=399, Some(location)) => {
                self.discard(net, &head);
                let next = url.join(location).map_err(Reason::Redirect)?;
                return Ok(Some(next.or_credentials_of(url)));
            }
            (301 | 302 | 303 | 307 | 308, None) => {
                self.discard(net, &head);
                return Err(Reason::NoLocation);
            }
            (200..=299, _) if request.method == Method::Head => {
                self.discard(net, &head);
                (transfer.done, transfer.total) = (0, length);
                return Ok(None);
            }
            (206, _) if head.is_all() => transfer.expect_whole(&head, length),
            (206, _) if transfer.rest().is_some() => transfer.expect_rest(&head),
            (200..=205 | 207..=299, _) => transfer.expect_whole(&head, length),
            (code, _) => {
                self.discard(net, &head);
                if let Some(mut challenge) = head.challenge {
                    challenge.tried = url.credentials().is_some();
                    return Err(Reason::Unauthorized(Box::new(challenge)));
                }
                let phrase = head.phrase;
                return Err(Reason::Status { code, phrase });
            }
        }
        .inspect_err(|_| self.connection.close(net))?;
        if transfer.looks {
            self.connection.close(net);
            return Ok(None);
        }
        let Transfer {
            into,
            done,
            came,
            total,
            watch,
            reported,
            end,
            ..
        } = transfer;
        let (space, have, total) = (into.len(), *done, *total);
        let target = into.get_mut(have..).unwrap_or_default();
        let due = Due::new(BODY_PACE.within(request.patience), net.now(), *end);
        let result = self.read_body(net, &head, target, due, &mut |now, bytes| {
            let before = *came;
            *came = bytes.len() as u64;
            *done = have.saturating_add(bytes.len());
            if now - *reported >= PROGRESS_INTERVAL {
                *reported = now;
                watch.progress(*done as u64, total);
            }
            // Asked once, when enough has come to tell what the file is.
            let rest =
                total.filter(|total| have == 0 && before < BEGINNING && (BEGINNING..*total).contains(came));
            match rest {
                Some(total) if !watch.wants(url, bytes, total) => {
                    *done = usize::try_from(total).unwrap_or(*done);
                    false
                }
                _ => true,
            }
        });
        // What comes in chunks, or until the connection ends, may be a part of a file whose length is known.
        let came_of = total.map(|total| (*done as u64).cmp(&total));
        let result = match (result, came_of) {
            (Ok(()), Some(Ordering::Less)) => Err(Broken::Lost(Lost::Closed)),
            (Ok(()), Some(Ordering::Greater)) => return Err(Reason::WrongPart),
            (result, _) => result,
        };
        result.map(|()| None).map_err(|broken| match broken {
            Broken::Body(BodyError::TooLarge) => Reason::TooLarge { len: None, space },
            Broken::Body(error) => Reason::Body(error),
            Broken::Lost(how) => Reason::Interrupted {
                how,
                got: *done as u64,
                of: total,
            },
        })
    }

    /// Reads a file over TFTP, from its start.
    fn read(
        &mut self,
        net: &mut Net<'_>,
        request: &Request<'_>,
        transfer: &mut Transfer<'_>,
    ) -> Result<(), Reason> {
        let host = request.url.host();
        let address = self.address(net, host)?;
        transfer.done = 0;
        let result = tftp::read(net, address, request, transfer);
        transfer.came = transfer.done as u64;
        result?;
        self.resolved = Some((host.into(), address));
        Ok(())
    }

    /// The address of `host`; the last one is remembered, and to be stored again once it has proved right.
    fn address(&mut self, net: &mut Net<'_>, host: &str) -> Result<Ipv4Address, Reason> {
        match self.resolved.take() {
            Some((known, address)) if host == known => Ok(address),
            _ => resolve(net, host).map_err(Reason::Resolve),
        }
    }

    /// Sends `request` and reads the answer's head, over the open connection when it serves `url`, and over a fresh one
    /// when that turns out to be closed: servers drop idle connections without asking.
    fn ask(
        &mut self,
        net: &mut Net<'_>,
        request: &Request<'_>,
        rest: Option<Rest<'_>>,
        authorization: Option<&[u8]>,
    ) -> Result<Head, Reason> {
        let url = request.url;
        let bytes = request.encode(rest, authorization);
        let answer = ANSWER_TIMEOUT.min(request.patience.unwrap_or(ANSWER_TIMEOUT));
        // What changes something on the server must not be sent twice.
        if self.connection.serves(net, url) && request.may_be_repeated() {
            match self.request(net, &bytes, answer) {
                // Closed meanwhile; or the answer before was longer than it said.
                Err(Reason::NoAnswer(Lost::Closed | Lost::Reset) | Reason::Head(HeadError::Malformed)) => {}
                result => return result,
            }
        }
        let address = self.address(net, url.host())?;
        self.connection
            .open(net, url, address)
            .map_err(|error| Reason::Connect(address, error))?;
        self.resolved = Some((url.host().into(), address));
        self.request(net, &bytes, answer)
    }

    fn request(&mut self, net: &mut Net<'_>, request: &[u8], answer: Duration) -> Result<Head, Reason> {
        let deadline = net.now() + answer;
        self.connection
            .send(net, request, deadline)
            .map_err(Reason::NoAnswer)
            .and_then(|()| self.read_head(net, deadline))
            .inspect_err(|_| self.connection.close(net))
    }

    /// Reads up to the end of the head of the final response.
    fn read_head(&mut self, net: &mut Net<'_>, deadline: Instant) -> Result<Head, Reason> {
        let mut bytes = Vec::new();
        // What the interim responses before this head took.
        let mut spent: usize = 0;
        loop {
            let received = self.connection.receive(net, deadline, |input| {
                let before = bytes.len();
                let room = head::MAX_LEN.saturating_sub(spent).saturating_sub(before);
                let input = input.get(..room).unwrap_or(input);
                bytes.extend_from_slice(input);
                match Head::parse(&bytes) {
                    Ok(Some((head, len))) => (len.saturating_sub(before), Ok(Some((head, len)))),
                    Ok(None) if input.len() == room => (input.len(), Err(HeadError::TooLong)),
                    Ok(None) => (input.len(), Ok(None)),
                    Err(error) => (input.len(), Err(error)),
                }
            });
            let lost = match received {
                Ok(Received::Data(parsed)) => {
                    let Some((head, len)) = parsed.map_err(Reason::Head)? else {
                        continue;
                    };
                    // 101 would change the protocol, which we never ask for.
                    if head.status >= 200 || head.status == 101 {
                        return Ok(head);
                    }
                    spent = spent.saturating_add(len);
                    bytes.clear();
                    continue;
                }
                Ok(Received::End) => Lost::Closed,
                Err(lost) => lost,
            };
            return Err(match lost {
                Lost::Closed if !bytes.is_empty() => Reason::Head(HeadError::Truncated),
                lost => Reason::NoAnswer(lost),
            });
        }
    }

    /// Reads the body that follows `head` to the start of `into`. `arrived` hears the time and sees the bytes so far; the
    /// rest is left when it wants no more.
    ///
    /// Afterwards the connection is either ready for the next request or closed.
    fn read_body(
        &mut self,
        net: &mut Net<'_>,
        head: &Head,
        into: &mut [u8],
        mut due: Due,
        arrived: &mut Arrived<'_>,
    ) -> Result<(), Broken> {
        let mut body = Body::new(head.framing);
        let mut written: usize = 0;
        let result = loop {
            if body.is_done() {
                break Ok(());
            }
            let free = into.get_mut(written..).unwrap_or_default();
            let received =
                self.connection
                    .receive(net, due.deadline, |input| match body.decode(input, free) {
                        Ok((consumed, wrote)) => (consumed, Ok(wrote)),
                        Err(error) => (input.len(), Err(error)),
                    });
            match received {
                Ok(Received::Data(Ok(wrote))) => {
                    written = written.saturating_add(wrote);
                    let now = net.now();
                    due.arrived(now, written);
                    if !arrived(now, into.get(..written).unwrap_or_default()) {
                        self.connection.close(net);
                        return Ok(());
                    }
                }
                Ok(Received::Data(Err(error))) => break Err(Broken::Body(error)),
                Ok(Received::End) if body.may_end() => break Ok(()),
                Ok(Received::End) => break Err(Broken::Lost(Lost::Closed)),
                Err(lost) => break Err(Broken::Lost(lost)),
            }
        };
        if result.is_err() || !head.persistent || head.framing == Framing::UntilClose {
            self.connection.close(net);
        }
        result
    }

    /// Reads the body of an answer that nobody wants, to keep the connection, if that is soon done; else closes it.
    fn discard(&mut self, net: &mut Net<'_>, head: &Head) {
        let mut sink = vec![0; MAX_DISCARD];
        let now = net.now();
        let due = Due::new(DISCARD_PACE, now, now + DISCARD_PACE.window);
        // `read_body` closes the connection when it fails.
        let _ = self.read_body(net, head, &mut sink, due, &mut |_, _| true);
    }
}

/// Hears the time and sees the bytes of a body so far, and says whether to go on.
type Arrived<'a> = dyn FnMut(Instant, &[u8]) -> bool + 'a;

/// How fast a body must come: so many bytes in every window, or its end.
#[derive(Debug, Clone, Copy)]
struct Pace {
    bytes: usize,
    window: Duration,
}

impl Pace {
    /// The same with shorter windows, when less patience is asked for.
    fn within(self, patience: Option<Duration>) -> Self {
        Self {
            window: self.window.min(patience.unwrap_or(self.window)),
            ..self
        }
    }
}

/// A pace that is kept to: by how many bytes it is measured next, and until when they must have come.
struct Due {
    pace: Pace,
    bytes: usize,
    end: Instant,
    deadline: Instant,
}

impl Due {
    /// From `start`, and not beyond `end`.
    fn new(pace: Pace, start: Instant, end: Instant) -> Self {
        Self {
            pace,
            bytes: pace.bytes,
            end,
            deadline: (start + pace.window).min(end),
        }
    }

    /// So many bytes have come in all.
    fn arrived(&mut self, now: Instant, bytes: usize) {
        if bytes >= self.bytes {
            self.bytes = bytes.saturating_add(self.pace.bytes);
            self.deadline = (now + self.pace.window).min(self.end);
        }
    }
}

/// Why the reading of a body ended.
enum Broken {
    Body(BodyError),
    Lost(Lost),
}

/// One download, over all its requests.
struct Transfer<'a> {
    into: &'a mut [u8],
    /// How many bytes of `into` are filled.
    done: usize,
    /// How many bytes came with the last answer.
    came: u64,
    /// The length of the file, when known.
    total: Option<u64>,
    /// What tells the server which version of the file those bytes are from.
    validator: Option<String>,
    watch: &'a mut dyn Watch,
    /// When it heard last how far the download is.
    reported: Instant,
    /// Until when it may take.
    end: Instant,
    /// Whether the answer's head is enough.
    looks: bool,
}

impl<'a> Transfer<'a> {
    fn new(into: &'a mut [u8], watch: &'a mut dyn Watch, start: Instant, end: Instant) -> Self {
        Self {
            into,
            done: 0,
            came: 0,
            total: None,
            validator: None,
            watch,
            reported: start,
            end,
            looks: false,
        }
    }

    /// The part to ask for, when only that is missing.
    fn rest(&self) -> Option<Rest<'_>> {
        let validator = self.validator.as_deref().filter(|_| self.done > 0)?;
        Some(Rest {
            from: self.done as u64,
            validator,
        })
    }

    /// A 200 follows: the file from its start, of this length if the head tells it.
    fn expect_whole(&mut self, head: &Head, len: Option<u64>) -> Result<(), Reason> {
        self.done = 0;
        self.total = len;
        self.validator = head.validator.clone().filter(|_| self.total.is_some());
        let space = self.into.len();
        match self.total {
            Some(len) if len > space as u64 && !self.looks => Err(Reason::TooLarge {
                len: Some(len),
                space,
            }),
            _ => Ok(()),
        }
    }

    /// A 206 follows: it must be exactly the rest of the file.
    fn expect_rest(&mut self, head: &Head) -> Result<(), Reason> {
        let (done, total) = (self.done as u64, self.total.unwrap_or(0));
        let rest = total.saturating_sub(done);
        let whole_rest = head.framing.may_be(rest)
            && head.content_range.is_some_and(|range| {
                range.first == done
                    && range.last.checked_add(1) == Some(total)
                    && range.total.is_none_or(|announced| announced == total)
            });
        if whole_rest {
            Ok(())
        } else {
            Err(Reason::WrongPart)
        }
    }

    /// Tells how far it is, when it is time to.
    fn tell(&mut self, now: Instant) {
        if now - self.reported >= PROGRESS_INTERVAL {
            self.reported = now;
            self.watch.progress(self.done as u64, self.total);
        }
    }

    fn report(&mut self) {
        self.watch
            .progress(self.done as u64, self.total.or(Some(self.done as u64)));
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, framing: Framing, range: Option<(u64, u64, Option<u64>)>) -> Head {
        Head {
            status,
            phrase: String::new(),
            framing,
            persistent: true,
            location: None,
            validator: Some("\"v\"".into()),
            content_range: range.map(|(first, last, total)| head::ContentRange { first, last, total }),
            challenge: None,
        }
    }

    fn interrupted() -> Reason {
        Reason::Interrupted {
            how: Lost::Stalled,
            got: 4,
            of: Some(10),
        }
    }

    /// Runs `check` on a download of which 4 of 10 bytes have come.
    fn after_four_of_ten(check: impl FnOnce(&mut Transfer<'_>)) {
        let (mut into, mut watch) = ([0; 12], ());
        let mut transfer = Transfer::new(&mut into, &mut watch, Instant::ZERO, Instant::ZERO);
        let whole = head(200, Framing::Length(10), None);
        transfer.expect_whole(&whole, whole.length()).unwrap();
        transfer.done = 4;
        check(&mut transfer);
    }

    #[test]
    fn only_the_very_rest_is_accepted_as_the_rest() {
        after_four_of_ten(|transfer| {
            assert_eq!(
                transfer.rest().map(|rest| (rest.from, rest.validator)),
                Some((4, "\"v\""))
            );
            let mut accepts = |framing, range| transfer.expect_rest(&head(206, framing, range)).is_ok();
            assert!(accepts(Framing::Length(6), Some((4, 9, Some(10)))));
            assert!(accepts(Framing::Length(6), Some((4, 9, None))));
            assert!(!accepts(Framing::Length(6), None));
            assert!(!accepts(Framing::Length(6), Some((3, 9, Some(10)))));
            assert!(!accepts(Framing::Length(6), Some((4, 8, Some(10)))));
            assert!(!accepts(Framing::Length(6), Some((4, 9, Some(11)))));
            assert!(!accepts(Framing::Length(6), Some((4, u64::MAX, None))));
            assert!(!accepts(Framing::Length(7), Some((4, 9, Some(10)))));
            // Its range tells how long it must become.
            assert!(accepts(Framing::Chunked, Some((4, 9, Some(10)))));
            assert!(!accepts(Framing::Chunked, Some((4, 8, Some(10)))));
        });
    }

    #[test]
    fn what_breaks_off_is_resumed_and_what_is_wrong_is_not() {
        let status = |code| Reason::Status {
            code,
            phrase: String::new(),
        };
        assert!(interrupted().is_interruption());
        assert!(Reason::NoAnswer(Lost::Reset).is_interruption());
        assert!(status(503).is_interruption() && status(502).is_interruption());
        assert!(!status(404).is_interruption() && !status(403).is_interruption());
        assert!(!Reason::Body(BodyError::Chunk).is_interruption());
        assert!(!Reason::WrongPart.is_interruption());
        after_four_of_ten(|transfer| {
            transfer.validator = None;
            assert!(transfer.rest().is_none(), "no version to ask the rest of");
        });
        after_four_of_ten(|transfer| {
            transfer.done = 0;
            assert!(transfer.rest().is_none(), "nothing has come");
        });
    }

    /// A 206 that nobody asked for.
    #[test]
    fn a_part_that_is_all_is_the_whole() {
        let is_all = |framing, range| head(206, framing, range).is_all();
        assert!(is_all(Framing::Length(10), Some((0, 9, Some(10)))));
        assert!(is_all(Framing::Chunked, Some((0, 9, Some(10)))));
        assert!(!is_all(Framing::Length(9), Some((0, 9, Some(10)))));
        assert!(!is_all(Framing::Length(10), Some((0, 9, None))));
        assert!(!is_all(Framing::Length(9), Some((0, 8, Some(10)))));
        assert!(!is_all(Framing::Length(9), Some((1, 9, Some(10)))));
        assert!(!is_all(Framing::Length(10), None));
        assert!(!is_all(Framing::Length(10), Some((0, u64::MAX, Some(0)))));
    }

    #[test]
    fn a_length_beyond_the_space_is_refused_with_both_numbers() {
        after_four_of_ten(|transfer| {
            let mut expect = |len| transfer.expect_whole(&head(200, Framing::Length(len), None), Some(len));
            assert!(expect(12).is_ok());
            let error = expect(13);
            assert_eq!(
                error,
                Err(Reason::TooLarge {
                    len: Some(13),
                    space: 12
                })
            );
        });
    }

    #[test]
    fn the_line_a_person_reads() {
        let line = |reason| {
            let url = Url::parse("http://me:secret@10.0.2.2:8000/vmlinuz").unwrap();
            let method = Method::Get;
            let line = Error { method, url, reason }.to_string();
            let reason = line.strip_prefix("fetch: GET http://***@10.0.2.2:8000/vmlinuz: ");
            reason.unwrap().to_owned()
        };
        let status = |code, phrase: &str| Reason::Status {
            code,
            phrase: phrase.into(),
        };
        assert_eq!(line(status(404, "Not Found")), "404 Not Found");
        assert_eq!(line(status(503, "")), "503");
        assert_eq!(line(interrupted()), "stalled after 4 of 10 bytes");
        assert_eq!(
            line(Reason::Interrupted {
                how: Lost::Closed,
                got: 4,
                of: None
            }),
            "truncated after 4 bytes"
        );
        assert_eq!(
            line(Reason::Redirect(Url::parse("https://b/x").unwrap_err())),
            "redirected to https://b/x: scheme not supported, only http and tftp"
        );
        assert_eq!(
            line(Reason::TooLarge {
                len: Some(13),
                space: 12
            }),
            "13 bytes do not fit into the 12 bytes free for it"
        );
        assert_eq!(
            line(Reason::Connect(
                Ipv4Address::new(10, 0, 2, 2),
                ConnectError::Refused
            )),
            "10.0.2.2: connection refused"
        );
    }
}
