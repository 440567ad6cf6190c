//! TFTP straight into place: requests, pauses and patience, and what is believed of the answers.
//!
//! A lost datagram costs a quarter of a second, because a lone reader cannot know whether the server is slow; windows make
//! that rare. A block that came twice is never acknowledged twice at once: two peers that both answer every datagram
//! double their traffic for ever (RFC 1123 §4.2.3.1).

use alloc::vec;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use super::bounds::BODY_PACE;
use super::error::{Lost, Reason};
use super::host::LastHost;
use super::pace::Due;
use super::request::{Method, Request};
use super::sink::Sink;
use super::tftp_error::{DISK_FULL, Error, UNKNOWN_ID};
use super::tftp_reader::{Heard, PLAIN_BLOCK, Reader, WINDOW, Wants, error_packet};
use super::transfer::Transfer;
use crate::hal::NEVER;
use crate::net::Net;
use crate::patience;
use crate::udp::Conversation;

/// The first pause before a request or an acknowledgement is repeated; it doubles up to the longest.
const REQUEST_PAUSE: Duration = Duration::from_millis(500);
const BLOCK_PAUSE: Duration = Duration::from_millis(250);
/// A block that comes again this soon after our last word was doubled by the network. Later, the server missed our word (D-67).
const ECHO: Duration = Duration::from_millis(100);
/// How long a first answer is only one of several: an error waits so long for a better one, and the start of a file for a rival from
/// another port. A stranger who guesses the port of the request is quicker than the server, but the server answers, too (D-189).
const BELIEF: Duration = Duration::from_millis(25);
/// How often a file is asked for before what came stands: some networks double all frames.
const REQUESTS: u32 = 3;
/// What IPv4, UDP and TFTP put before a block.
const HEADERS: u16 = 20 + 8 + 4;
/// An Ethernet frame carries so much, and nobody puts fragments together here.
const ETHERNET_MTU: u16 = 1500;

/// Reads the file that `request` names, from its start.
pub(super) fn exchange(
    net: &mut Net<'_>,
    host: &mut LastHost,
    request: &Request<'_>,
    transfer: &mut Transfer<'_, '_>,
) -> Result<(), Reason> {
    let name = request.url.host();
    let address = host.address(net, name)?;
    transfer.sink.restart();
    let result = read(net, address, request, transfer);
    transfer.came = transfer.sink.filled() as u64;
    result?;
    host.proved(name, address);
    Ok(())
}

/// Asks until what was said once is said again to another port: who does not hear the node has to guess both (D-199).
fn read(
    net: &mut Net<'_>,
    address: Ipv4Address,
    request: &Request<'_>,
    transfer: &mut Transfer<'_, '_>,
) -> Result<(), Reason> {
    let mtu = net
        .lease_now()
        .and_then(|lease| lease.mtu)
        .unwrap_or(ETHERNET_MTU);
    let largest = usize::from(mtu.min(ETHERNET_MTU).saturating_sub(HEADERS)).max(PLAIN_BLOCK);
    let wants = match request.method {
        Method::Head => Wants::Size,
        _ => Wants::File,
    };
    let mut question = Question {
        address,
        request,
        largest,
        asks: Some(largest),
        pause: REQUEST_PAUSE,
    };
    let mut requests: u32 = 0;
    let mut came = false;
    loop {
        requests = requests.saturating_add(1);
        let is_last = requests >= REQUESTS;
        transfer.sink.restart();
        let (ended, _) = question.put(net, wants, !is_last, is_last, transfer);
        let result = match ended {
            Ended::Whole => Ok(()),
            Ended::Failed(reason) => Err(reason),
            Ended::Plain => {
                info!("fetch: {}: the server takes no options", request.url);
                question.asks = None;
                requests = requests.saturating_sub(1);
                continue;
            }
            Ended::Twice => {
                warn!(
                    "fetch: {}: two ports of the server answer; asking from another one",
                    request.url
                );
                // A server that is slow answers what is repeated from a second port.
                question.pause = question.pause + question.pause;
                continue;
            }
        };
        // A file that came whole is not lost by a server that is slow to repeat it.
        let is_lost = matches!(
            result,
            Err(Reason::Tftp(Error::NoAnswer) | Reason::Interrupted { .. })
        );
        if is_last || !(came && is_lost) && question.is_confirmed(net, &result, transfer) {
            return result;
        }
        came |= result.is_ok();
        warn!(
            "fetch: {}: asked from another port, the server does not say the same",
            request.url
        );
    }
}

/// How a conversation ended.
enum Ended {
    /// All has come that was wanted.
    Whole,
    /// The server says no, or nothing more.
    Failed(Reason),
    /// The server dislikes options: it is to be asked without.
    Plain,
    /// Two ports of the server have answered, of which one may be a stranger's.
    Twice,
}

/// What a server is asked, each time from another port.
struct Question<'q> {
    address: Ipv4Address,
    request: &'q Request<'q>,
    /// The largest block that an Ethernet frame carries.
    largest: usize,
    /// The largest block to ask for; none when no options are asked for.
    asks: Option<usize>,
    /// The pause before the request is repeated first.
    pause: Duration,
}

impl Question<'_> {
    /// One conversation. `doubts`: two answers are none. `holds`: an error waits for a better answer.
    fn put(
        &self,
        net: &mut Net<'_>,
        wants: Wants,
        doubts: bool,
        holds: bool,
        transfer: &mut Transfer<'_, '_>,
    ) -> (Ended, Reader) {
        // Two windows: one that is repeated may follow on the heels of the first.
        let datagrams = usize::from(WINDOW).saturating_mul(2);
        let talk = Conversation::open(net, self.address, datagrams, self.largest.saturating_add(4));
        let reader = Reader::new(self.request.url.file(), self.asks, wants);
        let mut exchange = Exchange::begin(net, self, &talk, reader, transfer.end);
        (exchange.doubts, exchange.holds) = (doubts, holds);
        let ended = loop {
            match exchange.step(net, transfer) {
                Ok(None) => {}
                Ok(Some(ended)) => break ended,
                Err(reason) => break Ended::Failed(reason),
            }
        };
        let reader = exchange.reader;
        part(net, talk, &reader, &ended);
        (ended, reader)
    }

    /// Whether the server says the same when it is asked again from another port: how the file begins and how long it is, or
    /// whether it is there. Silence needs no proof, and a size alone decides nothing.
    fn is_confirmed(
        &self,
        net: &mut Net<'_>,
        result: &Result<(), Reason>,
        transfer: &Transfer<'_, '_>,
    ) -> bool {
        match result {
            Ok(()) if self.request.method == Method::Head => return true,
            Err(Reason::Tftp(Error::NoAnswer)) => return true,
            Ok(()) | Err(Reason::Tftp(_) | Reason::TooLarge { .. }) => {}
            Err(_) => return true,
        }
        let mut place = vec![0; self.largest];
        let mut sink = Sink::new(&mut place);
        let mut nobody = ();
        let mut look = Transfer::new(&mut sink, &mut nobody, net.now(), transfer.end);
        let (ended, reader) = self.put(net, Wants::Start, true, true, &mut look);
        let (file, start) = (transfer.sink.bytes(), sink.bytes());
        match (result, ended) {
            (Err(Reason::Tftp(first)), Ended::Failed(Reason::Tftp(second))) => {
                second != Error::NoAnswer && first.is_absent() == second.is_absent()
            }
            (Err(Reason::TooLarge { .. }), Ended::Whole) => {
                reader.total == transfer.total && file.iter().zip(start).all(|(one, other)| one == other)
            }
            (Ok(()), Ended::Whole) => {
                let as_long = !reader.whole || start.len() == file.len();
                reader.total == transfer.total && as_long && file.starts_with(start)
            }
            _ => false,
        }
    }
}

/// Tells the server how its conversation ended, if it must know, and closes it. One that serves one client at a time hears no other
/// question until then: it is told twice, as one word may be lost.
fn part(net: &mut Net<'_>, talk: Conversation, reader: &Reader, ended: &Ended) {
    let error = match ended {
        Ended::Whole if reader.whole => None,
        Ended::Whole if reader.number > 0 => Some((0, "only the start was wanted")),
        Ended::Whole => Some((0, "only the size was wanted")),
        Ended::Plain => None,
        Ended::Twice => Some((0, "asked again")),
        Ended::Failed(Reason::Tftp(error)) => error.told(),
        Ended::Failed(Reason::TooLarge { .. }) => Some((DISK_FULL, "no room for it")),
        Ended::Failed(_) => Some((0, "given up")),
    };
    let farewell = match (error, ended) {
        (Some((code, text)), _) => Some(error_packet(code, text)),
        (None, Ended::Whole) => Some(reader.acknowledgement()),
        (None, _) => None,
    };
    if let Some((farewell, port)) = farewell.zip(reader.port) {
        talk.send(net, port, &farewell);
        // A round of the poll loop sends one.
        let now = net.now();
        let _: Option<()> = net.wait(now, |_| None);
        talk.send(net, port, &farewell);
    }
    talk.close(net);
}

/// A conversation that runs.
struct Exchange<'e> {
    question: &'e Question<'e>,
    talk: &'e Conversation,
    reader: Reader,
    doubts: bool,
    holds: bool,
    /// When the request left.
    asked: Instant,
    /// Until when there must be an answer.
    first: Instant,
    due: Due,
    /// When we said something last, and when we do so again.
    said: Instant,
    repeat_at: Instant,
    pause: Duration,
    /// When the first error counts.
    judge_at: Instant,
}

impl<'e> Exchange<'e> {
    /// Sends the request.
    fn begin(
        net: &mut Net<'_>,
        question: &'e Question<'e>,
        talk: &'e Conversation,
        reader: Reader,
        end: Instant,
    ) -> Self {
        let (start, request) = (net.now(), question.request);
        let patience = request.patience.unwrap_or(patience::TFTP_ANSWER);
        let first = start + patience.min(patience::TFTP_ANSWER);
        talk.send(net, request.url.port(), &reader.request());
        // What comes before the request has left, while its neighbour is asked for, is no answer.
        let _: Option<()> = net.wait(first, |net| (!talk.waits(net)).then_some(()));
        while talk.receive(net, |_, _| ()).is_some() {}
        let asked = net.now();
        Self {
            question,
            talk,
            reader,
            doubts: true,
            holds: true,
            asked,
            first,
            due: Due::new(BODY_PACE.within(request.patience), start, end),
            said: asked,
            repeat_at: asked + question.pause,
            pause: question.pause,
            judge_at: NEVER,
        }
    }

    /// Waits for what comes next and answers it; how the conversation ended, when it has.
    fn step(&mut self, net: &mut Net<'_>, transfer: &mut Transfer<'_, '_>) -> Result<Option<Ended>, Reason> {
        let heard = self.hear(net, transfer)?;
        let now = net.now();
        let speaks = match heard {
            Some(Heard::End) => return Ok(Some(self.end(net))),
            Some(Heard::Plain) => return Ok(Some(Ended::Plain)),
            Some(Heard::Rival(port)) if self.doubts => {
                self.turn_away(net, port);
                return Ok(Some(Ended::Twice));
            }
            Some(Heard::Stray(port) | Heard::Rival(port)) => {
                self.turn_away(net, port);
                false
            }
            Some(Heard::Refused) => {
                self.judge_at = now + BELIEF;
                false
            }
            Some(Heard::Acknowledge) => {
                self.pause = BLOCK_PAUSE;
                true
            }
            Some(Heard::Taken) => {
                self.pause = BLOCK_PAUSE;
                self.repeat_at = now + self.pause;
                false
            }
            Some(Heard::Again) => now >= self.said + ECHO,
            Some(Heard::Nothing) | None => false,
        };
        // Chatter does not move the deadline, so it cannot hold a node.
        if now >= self.deadline() {
            return Err(self.silence(transfer));
        }
        self.speak(net, now, speaks);
        Ok(None)
    }

    /// All that has come, up to the first that wants a word.
    fn hear(&mut self, net: &mut Net<'_>, transfer: &mut Transfer<'_, '_>) -> Result<Option<Heard>, Reason> {
        let until = self.repeat_at.min(self.deadline()).min(self.judge_at);
        let (talk, reader, sink) = (self.talk, &mut self.reader, &mut *transfer.sink);
        let before = sink.filled();
        let heard = net.wait(until, |net| {
            let mut last = None;
            while matches!(last, None | Some(Ok(Heard::Taken))) {
                match talk.receive(net, |port, packet| reader.hear(port, packet, sink)) {
                    Some(heard) => last = Some(heard),
                    None => break,
                }
            }
            if last.is_none() && reader.port.is_none() && talk.refused(net) {
                last = Some(Err(Reason::Tftp(Error::Refused)));
            }
            last
        });
        let (now, filled) = (net.now(), transfer.sink.filled());
        if filled > before {
            self.due.arrived(now, filled);
        }
        transfer.total = self.reader.total;
        transfer.tell(now);
        let heard = heard.transpose()?;
        let is_judged = now >= self.judge_at || (heard == Some(Heard::Refused) && !self.holds);
        if is_judged && self.reader.port.is_none() {
            self.judge_at = NEVER;
            return self.reader.judge().map(Some);
        }
        Ok(heard)
    }

    /// Until when something must come.
    fn deadline(&self) -> Instant {
        match self.reader.port {
            Some(_) => self.due.deadline,
            None => self.first,
        }
    }

    /// Nothing more has come.
    fn silence(&self, transfer: &Transfer<'_, '_>) -> Reason {
        match self.reader.port {
            None => Reason::Tftp(Error::NoAnswer),
            Some(_) => Reason::Interrupted {
                how: Lost::Stalled,
                got: transfer.sink.filled() as u64,
                of: self.reader.total,
            },
        }
    }

    /// Says what is to be said now, and again when it is time to.
    fn speak(&mut self, net: &mut Net<'_>, now: Instant, speaks: bool) {
        let is_late = now >= self.repeat_at;
        if is_late && !speaks {
            self.pause = (self.pause + self.pause).min(patience::TFTP_AGAIN);
        }
        if !(speaks || is_late) {
            return;
        }
        // Two requests would be two conversations.
        if !self.talk.waits(net) {
            match self.reader.port {
                Some(port) => self.talk.send(net, port, &self.reader.acknowledgement()),
                None => {
                    let port = self.question.request.url.port();
                    self.talk.send(net, port, &self.reader.request())
                }
            };
        }
        self.said = now;
        self.repeat_at = now + self.pause;
    }

    /// What was wanted is here. Of the start of a file, nobody else has said something for a while (D-189).
    fn end(&mut self, net: &mut Net<'_>) -> Ended {
        if self.reader.wants == Wants::Start && self.has_rival(net) {
            return Ended::Twice;
        }
        Ended::Whole
    }

    /// Whether another port answers the request, too.
    fn has_rival(&mut self, net: &mut Net<'_>) -> bool {
        let (talk, reader) = (self.talk, &mut self.reader);
        let rival = net.wait(self.asked + BELIEF, |net| {
            while let Some(heard) = talk.receive(net, |port, packet| {
                reader.hear(port, packet, &mut Sink::new(&mut []))
            }) {
                if let Ok(Heard::Rival(port)) = heard {
                    return Some(port);
                }
            }
            None
        });
        if let Some(port) = rival {
            self.turn_away(net, port);
        }
        rival.is_some()
    }

    /// Tells a port that its conversation is none of ours.
    fn turn_away(&self, net: &mut Net<'_>, port: u16) {
        self.talk
            .send(net, port, &error_packet(UNKNOWN_ID, "unknown transfer"));
    }
}
