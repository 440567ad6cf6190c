//! One request over HTTP/1.1 and its answer, straight into place (RFC 9110, 9112): keep-alive, chunked, ranges.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use smoltcp::time::{Duration, Instant};

use super::body::{Body, Error as BodyError};
use super::bounds::BODY_PACE;
use super::challenge::Challenge;
use super::connection::{Connection, Received};
use super::error::{Lost, Reason};
use super::head::{Error as HeadError, Framing, Head, MAX_LEN};
use super::host::LastHost;
use super::login::{Login, Logins};
use super::pace::{Due, Pace};
use super::request::{ByteRange, Method, Request};
use super::sink::Sink;
use super::transfer::Transfer;
use crate::net::Net;
use crate::patience;
use crate::url::Url;

/// The first bytes of a file, which tell what it is.
const BEGINNING: u64 = 4096;
/// The body of an error or a redirect is read, to keep the connection, when it is at most this long …
const MAX_DISCARD: usize = 8 * 1024;
/// … and comes in time.
const DISCARD_PACE: Pace = Pace {
    bytes: usize::MAX,
    window: patience::DISCARDED,
};

/// The one connection, kept open between requests, and what servers want to know.
#[derive(Debug, Default)]
pub(super) struct Http {
    connection: Connection,
    logins: Logins,
}

/// Hears the time and what has come of a body, and says whether to go on.
type Arrived<'a> = dyn FnMut(Instant, &mut Transfer<'_, '_>) -> bool + 'a;

/// Why the reading of a body ended.
enum Broken {
    Body(BodyError),
    Lost(Lost),
}

impl Http {
    /// One request and its answer, whose status is left in `status`. `Some`: a redirect to follow.
    pub(super) fn exchange(
        &mut self,
        net: &mut Net<'_>,
        hosts: &mut LastHost,
        request: &Request<'_>,
        transfer: &mut Transfer<'_, '_>,
        status: &mut Option<u16>,
    ) -> Result<Option<Url>, Reason> {
        let url = request.url;
        let mut head = self.ask_as_wanted(net, hosts, request, transfer.missing())?;
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
                transfer.sink.restart();
                transfer.total = length;
                return Ok(None);
            }
            (206, _) if head.is_all() => expect_whole(transfer, &head, length),
            (206, _) if transfer.missing().is_some() => expect_rest(transfer, &head),
            (200..=205 | 207..=299, _) => expect_whole(transfer, &head, length),
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
        let have = transfer.sink.filled();
        let due = Due::new(BODY_PACE.within(request.patience), net.now(), transfer.end);
        let result = self.read_body(net, &head, transfer, due, &mut |now, transfer| {
            let before = transfer.came;
            let came = transfer.sink.filled().saturating_sub(have) as u64;
            transfer.came = came;
            transfer.tell(now);
            // Asked once, when enough has come to tell what the file is. Who asked for a digest wants all of it.
            let asks = have == 0 && before < BEGINNING && !transfer.sink.has_digest();
            let rest = transfer
                .total
                .filter(|total| asks && (BEGINNING..*total).contains(&came));
            match rest {
                Some(total) if !transfer.watch.wants(url, transfer.sink.bytes(), total) => {
                    transfer.sink.leave_out_rest(total);
                    false
                }
                _ => true,
            }
        });
        // What comes in chunks, or until the connection ends, may be a part of a file whose length is known.
        let (got, of) = (transfer.sink.filled() as u64, transfer.total);
        let result = match (result, of.map(|total| got.cmp(&total))) {
            (Ok(()), Some(Ordering::Less)) => Err(Broken::Lost(Lost::Closed)),
            (Ok(()), Some(Ordering::Greater)) => return Err(Reason::WrongPart),
            (result, _) => result,
        };
        result.map(|()| None).map_err(|broken| match broken {
            Broken::Body(BodyError::TooLarge) => Reason::TooLarge {
                len: None,
                space: transfer.sink.space(),
            },
            Broken::Body(error) => Reason::Body(error),
            Broken::Lost(how) => Reason::Interrupted { how, got, of },
        })
    }

    /// Closes the connection and forgets what servers want to know.
    pub(super) fn close(&mut self, net: &mut Net<'_>) {
        self.logins.clear();
        self.connection.close(net);
    }

    /// Sends `request` and reads the answer's head. A 401 is answered once in the form that it asks for, and once more when the
    /// server calls its nonce stale. A remembered form is used in the first request already, and may be out of date.
    fn ask_as_wanted(
        &mut self,
        net: &mut Net<'_>,
        hosts: &mut LastHost,
        request: &Request<'_>,
        range: Option<ByteRange<'_>>,
    ) -> Result<Head, Reason> {
        let url = request.url;
        let Some(credentials) = url.credentials() else {
            return self.ask(net, hosts, request, range, None);
        };
        // Whether this file's own 401 was answered, and whether a stale nonce was replaced.
        let (mut told, mut renewed) = (false, false);
        loop {
            let known = self.logins.known(url);
            let basic = matches!(known, Some(Login::Basic));
            let answer = known.and_then(|login| login.answer(&credentials, request));
            let answered = answer.is_some();
            let mut head = self.ask(net, hosts, request, range, answer.as_deref())?;
            if head.status != 401 {
                return Ok(head);
            }
            self.logins.forget(url);
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
            self.logins.remember(url, login);
        }
    }

    /// Sends `request` and reads the answer's head, over the open connection when it serves `url`, and over a fresh one
    /// when that turns out to be closed: servers drop idle connections without asking.
    fn ask(
        &mut self,
        net: &mut Net<'_>,
        hosts: &mut LastHost,
        request: &Request<'_>,
        range: Option<ByteRange<'_>>,
        authorization: Option<&[u8]>,
    ) -> Result<Head, Reason> {
        let url = request.url;
        let bytes = request.encode(range, authorization);
        let answer = patience::HTTP_ANSWER.min(request.patience.unwrap_or(patience::HTTP_ANSWER));
        // What changes something on the server must not be sent twice.
        if self.connection.serves(net, url) && request.may_be_repeated() {
            match self.request(net, &bytes, answer) {
                // Closed meanwhile; or the answer before was longer than it said.
                Err(Reason::NoAnswer(Lost::Closed | Lost::Reset) | Reason::Head(HeadError::Malformed)) => {}
                result => return result,
            }
        }
        let address = hosts.address(net, url.host())?;
        self.connection
            .open(net, url, address)
            .map_err(|error| Reason::Connect(address, error))?;
        hosts.proved(url.host(), address);
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
                let room = MAX_LEN.saturating_sub(spent).saturating_sub(before);
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

    /// Reads the body that follows `head` to where `transfer` wants it. `arrived` hears of each part of it; the rest is left when
    /// it wants no more.
    ///
    /// Afterwards the connection is either ready for the next request or closed.
    fn read_body(
        &mut self,
        net: &mut Net<'_>,
        head: &Head,
        transfer: &mut Transfer<'_, '_>,
        mut due: Due,
        arrived: &mut Arrived<'_>,
    ) -> Result<(), Broken> {
        let mut body = Body::new(head.framing);
        let mut written: usize = 0;
        let result = loop {
            if body.is_done() {
                break Ok(());
            }
            let free = transfer.sink.free();
            let received =
                self.connection
                    .receive(net, due.deadline, |input| match body.decode(input, free) {
                        Ok((consumed, wrote)) => (consumed, Ok(wrote)),
                        Err(error) => (input.len(), Err(error)),
                    });
            match received {
                Ok(Received::Data(Ok(wrote))) => {
                    transfer.sink.fill(wrote);
                    written = written.saturating_add(wrote);
                    let now = net.now();
                    due.arrived(now, written);
                    if !arrived(now, transfer) {
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
        let mut place = vec![0; MAX_DISCARD];
        let (mut sink, mut watch) = (Sink::new(&mut place), ());
        let now = net.now();
        let end = now + DISCARD_PACE.window;
        let mut transfer = Transfer::new(&mut sink, &mut watch, now, end);
        let due = Due::new(DISCARD_PACE, now, end);
        // `read_body` closes the connection when it fails.
        let _ = self.read_body(net, head, &mut transfer, due, &mut |_, _| true);
    }
}

/// A 200 follows: the file from its start, of this length if the head tells it.
fn expect_whole(transfer: &mut Transfer<'_, '_>, head: &Head, len: Option<u64>) -> Result<(), Reason> {
    let validator = head.validator.clone().filter(|_| len.is_some());
    transfer.begin(len, validator)
}

/// A 206 follows: it must be exactly the rest of the file.
fn expect_rest(transfer: &Transfer<'_, '_>, head: &Head) -> Result<(), Reason> {
    let (done, total) = (transfer.sink.filled() as u64, transfer.total.unwrap_or(0));
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

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::super::head::ContentRange;
    use super::*;

    fn head(status: u16, framing: Framing, range: Option<(u64, u64, Option<u64>)>) -> Head {
        Head {
            status,
            phrase: String::new(),
            framing,
            persistent: true,
            location: None,
            validator: Some("\"v\"".into()),
            content_range: range.map(|(first, last, total)| ContentRange { first, last, total }),
            challenge: None,
        }
    }

    /// Runs `check` on a download of which 4 of 10 bytes have come.
    fn after_four_of_ten(check: impl FnOnce(&mut Transfer<'_, '_>)) {
        let (mut place, mut watch) = ([0; 12], ());
        let mut sink = Sink::new(&mut place);
        let mut transfer = Transfer::new(&mut sink, &mut watch, Instant::ZERO, Instant::ZERO);
        let whole = head(200, Framing::Length(10), None);
        expect_whole(&mut transfer, &whole, whole.length()).unwrap();
        transfer.sink.fill(4);
        check(&mut transfer);
    }

    #[test]
    fn only_the_very_rest_is_accepted_as_the_rest() {
        after_four_of_ten(|transfer| {
            assert_eq!(
                transfer.missing().map(|range| (range.from, range.validator)),
                Some((4, "\"v\""))
            );
            let accepts = |framing, range| expect_rest(transfer, &head(206, framing, range)).is_ok();
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
    fn the_rest_of_nothing_and_of_no_version_is_not_asked_for() {
        after_four_of_ten(|transfer| {
            transfer.validator = None;
            assert!(transfer.missing().is_none(), "no version to ask the rest of");
        });
        after_four_of_ten(|transfer| {
            transfer.sink.restart();
            assert!(transfer.missing().is_none(), "nothing has come");
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
            let mut expect = |len| expect_whole(transfer, &head(200, Framing::Length(len), None), Some(len));
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
}
