//! A TFTP server (RFC 1350, 2347 to 2349, 7440) with any manners, good or bad.

use std::collections::BTreeMap;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use crate::station::{Datagram, Service};

/// The delay of each answer.
const DELAY: Duration = Duration::from_micros(100);

/// A server. It has no files at first, and behaves well by default.
pub struct Tftp {
    /// The files, by name as requested.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether it knows options at all.
    pub options: bool,
    /// The code with which it refuses a request that has options.
    pub refuses_options: Option<u16>,
    /// What it appends to its acknowledgement of options.
    pub more_options: &'static [u8],
    /// The largest block it agrees to.
    pub block: usize,
    /// The largest window; 0 when it does not know that option.
    pub window: u16,
    /// The size that it claims, if that is not the file's.
    pub size: Option<u64>,
    /// The block number after 65535.
    pub after_last: u16,
    /// The pause after which it repeats what was not acknowledged.
    pub repeats: Option<Duration>,
    /// Whether it answers a repeated acknowledgement again.
    pub answers_again: bool,
    /// Whether it sends each block twice.
    pub stutters: bool,
    /// Whether another port sends false blocks before each of ours.
    pub stranger: bool,
    /// A block number, and the error that is sent instead of that block.
    pub fails: Option<(u64, u16, &'static str)>,
    /// The block number from which on the server is silent.
    pub falls_silent: Option<u64>,
    /// The delay of each first answer.
    pub thinks: Duration,
    /// Requests that get lost before it answers one.
    pub deaf: u32,
    /// Clients' last words that get lost: errors, and acknowledgements of a whole file.
    pub deaf_at_the_end: u32,
    /// It serves one client at a time: what others ask it does not hear until this long after its answer to the request.
    pub alone: Option<Duration>,
    /// Requests: the file and its options.
    pub log: Vec<String>,
    /// Errors that clients have sent.
    pub errors: Vec<(u16, String)>,
    /// Blocks sent.
    pub sent: u64,
    conversations: Vec<Conversation>,
    last_port: u16,
}

struct Conversation {
    /// The client's address and port, and our port.
    to: Datagram,
    file: Vec<u8>,
    block: usize,
    window: u64,
    /// How many blocks the client has acknowledged; 0 until it acknowledges our options.
    acknowledged: u64,
    /// Our answer to the options, until it is acknowledged.
    greeting: Option<Vec<u8>>,
    repeat_at: Option<Instant>,
    since: Instant,
}

impl Default for Tftp {
    fn default() -> Self {
        Self::new()
    }
}

impl Tftp {
    /// A server without files.
    pub fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            options: true,
            refuses_options: None,
            more_options: b"",
            block: usize::MAX,
            window: u16::MAX,
            size: None,
            after_last: 0,
            repeats: Some(Duration::from_secs(1)),
            answers_again: true,
            stutters: false,
            stranger: false,
            fails: None,
            falls_silent: None,
            thinks: DELAY,
            deaf: 0,
            deaf_at_the_end: 0,
            alone: None,
            log: Vec::new(),
            errors: Vec::new(),
            sent: 0,
            conversations: Vec::new(),
            last_port: 20_000,
        }
    }

    /// Adds or replaces a file.
    pub fn file(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.into(), bytes.into());
        self
    }

    fn request(&mut self, now: Instant, datagram: &Datagram) -> Vec<Datagram> {
        let mut words = datagram.payload[2..].split(|byte| *byte == 0);
        let mut text = || {
            words
                .next()
                .map(|word| String::from_utf8_lossy(word).into_owned())
        };
        let (name, mode) = (text().unwrap_or_default(), text().unwrap_or_default());
        assert_eq!(mode, "octet");
        let mut options = BTreeMap::new();
        while let Some((name, value)) = text().filter(|name| !name.is_empty()).zip(text()) {
            options.insert(name, value);
        }
        let shown = options.iter().map(|(name, value)| format!(" {name}={value}"));
        self.log.push(format!("{name}{}", shown.collect::<String>()));
        self.last_port += 1;
        let to = Datagram {
            source_mac: datagram.destination_mac,
            destination_mac: datagram.source_mac,
            source: (datagram.destination.0, self.last_port),
            destination: datagram.source,
            payload: Vec::new(),
        };
        let error = |code: u16, text: &str| {
            let payload = [&[0, 5][..], &code.to_be_bytes(), text.as_bytes(), &[0]].concat();
            vec![Datagram {
                payload,
                ..to.clone()
            }]
        };
        if let Some(code) = self.refuses_options.filter(|_| !options.is_empty()) {
            return error(code, "options?");
        }
        let Some(file) = self.files.get(&name) else {
            return error(1, "no such file");
        };
        let mut conversation = Conversation {
            to: to.clone(),
            file: file.clone(),
            block: 512,
            window: 1,
            acknowledged: 0,
            greeting: None,
            repeat_at: None,
            since: now,
        };
        if self.options && !options.is_empty() {
            let mut greeting = vec![0, 6];
            let mut agree = |name: &str, value: u64| {
                greeting.extend(format!("{name}\0{value}\0").into_bytes());
            };
            let asked = |name: &str| options.get(name).and_then(|value| value.parse::<u64>().ok());
            if let Some(block) = asked("blksize") {
                conversation.block = self.block.min(block as usize);
                agree("blksize", conversation.block as u64);
            }
            if let Some(window) = asked("windowsize").filter(|_| self.window > 0) {
                conversation.window = window.min(self.window.into());
                agree("windowsize", conversation.window);
            }
            if asked("tsize").is_some() {
                agree("tsize", self.size.unwrap_or(file.len() as u64));
            }
            greeting.extend(self.more_options);
            conversation.greeting = Some(greeting);
        }
        self.conversations.push(conversation);
        let index = self.conversations.len() - 1;
        self.send(now, index)
    }

    /// The blocks that the client lacks, up to a window of them.
    fn send(&mut self, now: Instant, index: usize) -> Vec<Datagram> {
        let conversation = &mut self.conversations[index];
        conversation.repeat_at = self.repeats.map(|pause| now + pause);
        let to = conversation.to.clone();
        let packet = |payload: Vec<u8>| Datagram {
            payload,
            ..to.clone()
        };
        if let Some(greeting) = &conversation.greeting {
            return vec![packet(greeting.clone())];
        }
        let mut packets = Vec::new();
        let first = conversation.acknowledged + 1;
        for number in first..first + conversation.window {
            if self.falls_silent.is_some_and(|block| number >= block) {
                break;
            }
            if let Some((_, code, text)) = self.fails.filter(|(block, ..)| *block == number) {
                let head = [0, 5, (code >> 8) as u8, code as u8];
                packets.push(packet([&head, text.as_bytes(), &[0]].concat()));
                break;
            }
            let at = (number as usize - 1) * conversation.block;
            let Some(rest) = conversation.file.get(at..) else {
                break;
            };
            let data = &rest[..rest.len().min(conversation.block)];
            let wire = wire_number(number, self.after_last);
            let payload = [&[0, 3][..], &wire.to_be_bytes(), data].concat();
            if self.stranger {
                let mut strange = packet(payload.clone());
                strange.source.1 = 6666;
                strange.payload[4..].fill(0xee);
                packets.push(strange);
            }
            for _ in 0..1 + u8::from(self.stutters) {
                packets.push(packet(payload.clone()));
                self.sent += 1;
            }
        }
        packets
    }

    /// Whether it hears nobody else.
    fn is_busy(&self, now: Instant) -> bool {
        let alone = |patience| {
            self.conversations
                .iter()
                .any(|other| now < other.since + patience)
        };
        self.alone.is_some_and(alone)
    }

    fn acknowledge(&mut self, now: Instant, datagram: &Datagram, number: u16) -> Vec<Datagram> {
        let ours = |conversation: &Conversation| {
            conversation.to.source == datagram.destination && conversation.to.destination == datagram.source
        };
        let Some(index) = self.conversations.iter().position(ours) else {
            return Vec::new();
        };
        let after_last = self.after_last;
        let conversation = &mut self.conversations[index];
        let greeted = conversation.greeting.take().is_some();
        let sent = conversation.acknowledged..=conversation.acknowledged + conversation.window;
        let mut sent = sent.filter(|block| wire_number(*block, after_last) == number);
        let Some(acknowledged) = sent.next() else {
            return Vec::new();
        };
        let again = acknowledged == conversation.acknowledged && !greeted;
        conversation.acknowledged = acknowledged;
        if acknowledged * conversation.block as u64 > conversation.file.len() as u64 {
            if self.deaf_at_the_end > 0 {
                self.deaf_at_the_end -= 1;
                conversation.acknowledged -= 1;
                return Vec::new();
            }
            self.conversations.remove(index);
            return Vec::new();
        }
        if again && !self.answers_again {
            return Vec::new();
        }
        self.send(now, index)
    }
}

/// A block's number in a packet: 16 bits; servers differ in what follows 65535.
fn wire_number(block: u64, after_last: u16) -> u16 {
    match block {
        0..=0xffff => block as u16,
        _ if after_last == 0 => block as u16,
        _ => ((block - 1) % 0xffff + 1) as u16,
    }
}

impl Service for Tftp {
    fn datagram(
        &mut self,
        now: Instant,
        address: Ipv4Address,
        datagram: &Datagram,
    ) -> Vec<(Duration, Datagram)> {
        if datagram.destination.0 != address {
            return Vec::new();
        }
        let answers = match datagram.payload[..] {
            [0, 1, ..] if datagram.destination.1 == 69 && self.deaf > 0 => {
                self.deaf -= 1;
                Vec::new()
            }
            [0, 1, ..] if datagram.destination.1 == 69 && self.is_busy(now) => Vec::new(),
            [0, 1, ..] if datagram.destination.1 == 69 => {
                let answers = self.request(now, datagram);
                let thinks = self.thinks;
                return answers.into_iter().map(|answer| (thinks, answer)).collect();
            }
            [0, 4, high, low] => self.acknowledge(now, datagram, u16::from_be_bytes([high, low])),
            [0, 5, ..] if self.deaf_at_the_end > 0 => {
                self.deaf_at_the_end -= 1;
                Vec::new()
            }
            [0, 5, high, low, ref text @ ..] => {
                let text = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
                let before = self.conversations.len();
                self.conversations
                    .retain(|other| other.to.source != datagram.destination);
                // What is said again to a port of ours is the same.
                let ours = 20_000..=self.last_port;
                if self.conversations.len() < before || !ours.contains(&datagram.destination.1) {
                    self.errors.push((u16::from_be_bytes([high, low]), text));
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        answers.into_iter().map(|answer| (DELAY, answer)).collect()
    }

    fn due(&mut self, now: Instant) -> Vec<Datagram> {
        let late = |conversation: &Conversation| conversation.repeat_at.is_some_and(|at| at <= now);
        let late: Vec<usize> = (0..self.conversations.len())
            .filter(|index| late(&self.conversations[*index]))
            .collect();
        late.into_iter().flat_map(|index| self.send(now, index)).collect()
    }

    fn next(&self) -> Option<Instant> {
        self.conversations
            .iter()
            .filter_map(|other| other.repeat_at)
            .min()
    }
}
