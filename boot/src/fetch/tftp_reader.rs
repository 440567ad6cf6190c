//! The reader's side of TFTP (RFC 1350; options of RFC 2347, 2348, 2349 and 7440), without sockets and clocks: what a datagram leads to.

use alloc::format;
use alloc::vec::Vec;

use super::error::Reason;
use super::sink::Sink;
use super::tftp_error::{BAD_OPTION, Error, ILLEGAL, MAX_TEXT, NOT_DEFINED, is_absence};
use crate::text::ascii_bytes;

/// Blocks that are asked for at once: a gigabit per second over a fifth of a millisecond.
pub(super) const WINDOW: u16 = 16;
/// The block size without options.
pub(super) const PLAIN_BLOCK: usize = 512;
/// The smallest block size that a server may choose (RFC 2348).
const LEAST_BLOCK: usize = 8;
/// Options that one answer may hold.
const MAX_OPTIONS: usize = 16;

const READ: u16 = 1;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS: u16 = 6;

/// What is wanted of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// All of it.
    File,
    /// Its length.
    Size,
    /// Its length and its first block.
    Start,
}

/// What a datagram leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing.
    Nothing,
    /// More blocks are to come before anything is said.
    Taken,
    /// The time to acknowledge.
    Acknowledge,
    /// A block that is here already.
    Again,
    /// The request is to be made again, without options.
    Plain,
    /// Somebody else's conversation, on this port of the server.
    Stray(u16),
    /// Another answer to the request, from this port of the server.
    Rival(u16),
    /// An error in place of a first answer, to be [judged](Reader::judge).
    Refused,
    /// All that was wanted.
    End,
}

/// The state of one read, without sockets and clocks.
#[derive(Debug)]
pub(super) struct Reader {
    file: Vec<u8>,
    /// The largest block to ask for; none when no options are asked for (any more).
    asks: Option<usize>,
    /// What is wanted of the file.
    pub(super) wants: Wants,
    /// The last block has come.
    pub(super) whole: bool,
    /// The server's end of the conversation, once it has answered.
    pub(super) port: Option<u16>,
    /// The length of every block but the last.
    pub(super) block: usize,
    window: u16,
    /// The last block that came in order; 0 before the first.
    pub(super) number: u16,
    /// The length of the file, when the server told it.
    pub(super) total: Option<u64>,
    /// Blocks taken since the last acknowledgement.
    unsaid: u16,
    /// A block is missing, and the server knows.
    gap: bool,
    /// The server has answered the options.
    agreed: bool,
    /// The first error, while no answer has come.
    refusal: Option<Vec<u8>>,
}

impl Reader {
    /// Nothing is said yet. `asks`: the largest block to ask for, or no options at all.
    pub(super) fn new(file: Vec<u8>, asks: Option<usize>, wants: Wants) -> Self {
        Self {
            file,
            asks,
            wants,
            whole: false,
            port: None,
            block: PLAIN_BLOCK,
            window: 1,
            number: 0,
            total: None,
            unsaid: 0,
            gap: false,
            agreed: false,
            refusal: None,
        }
    }

    /// The request, with every option that a reader can use. Servers skip those that they do not know.
    pub(super) fn request(&self) -> Vec<u8> {
        let mut packet = READ.to_be_bytes().to_vec();
        // A zero would end the name.
        packet.extend(self.file.iter().filter(|byte| **byte != 0));
        packet.extend(b"\0octet\0");
        if let Some(block) = self.asks {
            packet.extend(format!("tsize\x000\0blksize\0{block}\0timeout\x001\0").as_bytes());
            if self.wants != Wants::Start {
                packet.extend(format!("windowsize\0{WINDOW}\0").as_bytes());
            }
        }
        packet
    }

    /// That the blocks so far have come.
    pub(super) fn acknowledgement(&self) -> Vec<u8> {
        [ACK.to_be_bytes(), self.number.to_be_bytes()].concat()
    }

    /// Takes a datagram of the server in; a block goes into the sink.
    pub(super) fn hear(&mut self, port: u16, packet: &[u8], sink: &mut Sink<'_>) -> Result<Heard, Reason> {
        let Some((opcode, rest)) = word(packet) else {
            return Ok(Heard::Nothing);
        };
        match opcode {
            DATA | OPTIONS if self.port.is_some_and(|own| own != port) => {
                let is_first = match opcode {
                    OPTIONS => self.asks.is_some(),
                    _ => !self.agreed && matches!(word(rest), Some((1, _))),
                };
                Ok(if is_first {
                    Heard::Rival(port)
                } else {
                    Heard::Stray(port)
                })
            }
            _ if self.port.is_some_and(|own| own != port) => Ok(Heard::Nothing),
            DATA => self.data(port, rest, sink),
            OPTIONS => self.options(port, rest, sink.space()),
            ERROR if self.port.is_some() => self.error(rest),
            ERROR if self.refusal.is_none() => {
                self.refusal = Some(rest.to_vec());
                Ok(Heard::Refused)
            }
            _ => Ok(Heard::Nothing),
        }
    }

    fn data(&mut self, port: u16, packet: &[u8], sink: &mut Sink<'_>) -> Result<Heard, Reason> {
        let Some((number, data)) = word(packet) else {
            return Ok(Heard::Nothing);
        };
        if self.port.is_none() {
            // No options, then: block and window are the plain ones.
            if number != 1 {
                return Ok(Heard::Nothing);
            }
            self.port = Some(port);
        }
        if self.wants == Wants::Size {
            return Ok(Heard::End);
        }
        if data.len() > self.block {
            return Err(Reason::Tftp(Error::Block));
        }
        // Some servers count from 1 again after 65535. Where blocks come one by one, there is no mistaking that.
        let starts_over = self.number == u16::MAX && number == 1 && self.window == 1;
        match number.wrapping_sub(self.number) {
            1 => {}
            _ if starts_over => {}
            0 | 0x8000.. => return Ok(Heard::Again),
            ahead if ahead > self.window || self.gap => return Ok(Heard::Nothing),
            _ => {
                // The server goes back to what we have.
                (self.gap, self.unsaid) = (true, 0);
                return Ok(Heard::Acknowledge);
            }
        }
        let space = sink.space();
        let place = sink.free().get_mut(..data.len()).ok_or(Reason::TooLarge {
            len: self.total,
            space,
        })?;
        place.copy_from_slice(data);
        sink.fill(data.len());
        (self.number, self.gap) = (number, false);
        self.whole = data.len() < self.block;
        if self.wants == Wants::Start {
            return Ok(Heard::End);
        }
        if self.whole {
            return match self.total {
                // The file was changed or cut while it was sent.
                Some(announced) if announced != sink.filled() as u64 => Err(Reason::Tftp(Error::Size {
                    came: sink.filled() as u64,
                    announced,
                })),
                _ => Ok(Heard::End),
            };
        }
        self.unsaid = self.unsaid.saturating_add(1);
        if self.unsaid < self.window {
            return Ok(Heard::Taken);
        }
        self.unsaid = 0;
        Ok(Heard::Acknowledge)
    }

    /// An answer to our options: those that the server goes along with, and its values for them.
    fn options(&mut self, port: u16, packet: &[u8], space: usize) -> Result<Heard, Reason> {
        let Some(asked) = self.asks else {
            return Ok(Heard::Nothing);
        };
        if self.port.is_some() {
            // It missed our acknowledgement.
            return Ok(if self.number == 0 {
                Heard::Again
            } else {
                Heard::Nothing
            });
        }
        let mut texts = packet
            .strip_suffix(b"\0")
            .unwrap_or(packet)
            .split(|byte| *byte == 0);
        for _ in 0..MAX_OPTIONS {
            let Some(name) = texts.next().filter(|name| !name.is_empty()) else {
                break;
            };
            let value = texts.next().unwrap_or_default();
            let bad = || {
                Reason::Tftp(Error::Option(ascii_bytes(
                    &[name, b"=", value].concat(),
                    MAX_TEXT,
                )))
            };
            match name.to_ascii_lowercase().as_slice() {
                b"blksize" => {
                    let block = decimal(value).and_then(|block| usize::try_from(block).ok());
                    let agreed = block.filter(|block| (LEAST_BLOCK..=asked).contains(block));
                    self.block = agreed.ok_or_else(bad)?;
                }
                b"windowsize" => {
                    let window = decimal(value).and_then(|window| u16::try_from(window).ok());
                    let agreed = window.filter(|window| (1..=WINDOW).contains(window));
                    self.window = agreed.ok_or_else(bad)?;
                }
                // Zero is what was asked with: a server that does not know says it again. A file without a known length is
                // one all the same.
                b"tsize" => self.total = decimal(value).filter(|size| *size > 0),
                // The blocks would go to a group.
                b"multicast" => return Err(bad()),
                // Nothing depends on `timeout`, nor on what servers add of their own.
                _ => {}
            }
        }
        (self.port, self.agreed) = (Some(port), true);
        // Of a file of more than a block its length will do: who ends here is no trouble in a server's log.
        let is_long = self.total.is_some_and(|len| len >= self.block as u64);
        if self.wants == Wants::Size || self.wants == Wants::Start && is_long {
            return Ok(Heard::End);
        }
        match self.total {
            Some(len) if len > space as u64 && self.wants == Wants::File => Err(Reason::TooLarge {
                len: Some(len),
                space,
            }),
            _ => Ok(Heard::Acknowledge),
        }
    }

    /// What an error comes to that stayed the only answer.
    pub(super) fn judge(&mut self) -> Result<Heard, Reason> {
        let refusal = self.refusal.take().filter(|_| self.port.is_none());
        refusal.map_or(Ok(Heard::Nothing), |packet| self.error(&packet))
    }

    fn error(&mut self, packet: &[u8]) -> Result<Heard, Reason> {
        let Some((code, text)) = word(packet) else {
            return Ok(Heard::Nothing);
        };
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        // Some old servers take options for a mistake.
        let dislikes = matches!(code, NOT_DEFINED | ILLEGAL | BAD_OPTION) && !is_absence(code, text);
        if self.port.is_none() && dislikes && self.asks.take().is_some() {
            return Ok(Heard::Plain);
        }
        let text = ascii_bytes(text, MAX_TEXT);
        Err(Reason::Tftp(Error::Server { code, text }))
    }
}

/// For the fuzz target: hears datagrams, each from a port. How many bytes are in place, the server's port, and how it ended.
#[cfg(fuzzing)]
pub fn hear(datagrams: &[(u16, &[u8])], into: &mut [u8]) -> (usize, Option<u16>, alloc::string::String) {
    let (mut reader, mut sink) = (
        Reader::new(b"file".to_vec(), Some(1468), Wants::File),
        Sink::new(into),
    );
    for (port, datagram) in datagrams {
        let heard = match reader.hear(*port, datagram, &mut sink) {
            Ok(Heard::Refused) => reader.judge(),
            heard => heard,
        };
        match heard {
            Ok(Heard::End) => return (sink.filled(), reader.port, "end".into()),
            Ok(_) => {}
            Err(error) => return (sink.filled(), reader.port, format!("{error}")),
        }
    }
    (sink.filled(), reader.port, alloc::string::String::new())
}

/// The first two bytes as a number, and the rest.
fn word(packet: &[u8]) -> Option<(u16, &[u8])> {
    let (word, rest) = packet.split_first_chunk()?;
    Some((u16::from_be_bytes(*word), rest))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let digits = core::str::from_utf8(digits).ok()?;
    // `parse` would take a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    digits.parse().ok()
}

/// An error, as it is sent.
pub(super) fn error_packet(code: u16, text: &str) -> Vec<u8> {
    [
        &ERROR.to_be_bytes()[..],
        &code.to_be_bytes(),
        text.as_bytes(),
        b"\0",
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: u16 = 4000;

    fn reader() -> Reader {
        Reader::new(b"pi/menu".to_vec(), Some(1468), Wants::File)
    }

    fn data(number: u16, bytes: &[u8]) -> Vec<u8> {
        [&DATA.to_be_bytes()[..], &number.to_be_bytes(), bytes].concat()
    }

    fn options(text: &str) -> Vec<u8> {
        [&OPTIONS.to_be_bytes()[..], text.as_bytes()].concat()
    }

    /// An error that stays the only answer.
    fn refuses(reader: &mut Reader, packet: &[u8]) -> Result<Heard, Reason> {
        assert_eq!(hears(reader, packet, &mut Sink::new(&mut [])), Heard::Refused);
        reader.judge()
    }

    fn hears(reader: &mut Reader, packet: &[u8], sink: &mut Sink<'_>) -> Heard {
        reader.hear(SERVER, packet, sink).unwrap()
    }

    #[test]
    fn the_request_names_the_file_and_the_options() {
        let mut reader = reader();
        assert_eq!(
            reader.request(),
            b"\0\x01pi/menu\0octet\0tsize\x000\0blksize\x001468\0timeout\x001\0windowsize\x0016\0"
        );
        // One block is no window.
        reader.wants = Wants::Start;
        assert_eq!(
            reader.request(),
            b"\0\x01pi/menu\0octet\0tsize\x000\0blksize\x001468\0timeout\x001\0"
        );
        reader.asks = None;
        assert_eq!(reader.request(), b"\0\x01pi/menu\0octet\0");
    }

    #[test]
    fn without_options_blocks_of_512_are_acknowledged_one_by_one() {
        let (mut reader, mut place) = (reader(), [0; 600]);
        let mut into = Sink::new(&mut place);
        assert_eq!(hears(&mut reader, &data(2, &[7; 512]), &mut into), Heard::Nothing);
        assert_eq!(
            hears(&mut reader, &data(1, &[7; 512]), &mut into),
            Heard::Acknowledge
        );
        assert_eq!(reader.acknowledgement(), [0, 4, 0, 1]);
        assert_eq!(hears(&mut reader, &data(1, &[9; 512]), &mut into), Heard::Again);
        assert_eq!(hears(&mut reader, &data(2, &[8; 88]), &mut into), Heard::End);
        assert_eq!((into.filled(), into.bytes()[0], into.bytes()[599]), (600, 7, 8));
    }

    #[test]
    fn a_window_is_acknowledged_at_its_end_and_at_its_first_gap() {
        let (mut reader, mut place) = (reader(), [0; 4096]);
        let mut into = Sink::new(&mut place);
        let answer = options("BLKSIZE\08\0windowsize\x004\0tsize\x001000\0");
        assert_eq!(hears(&mut reader, &answer, &mut into), Heard::Acknowledge);
        assert_eq!(reader.acknowledgement(), [0, 4, 0, 0]);
        assert_eq!(hears(&mut reader, &answer, &mut into), Heard::Again);
        let mut block = |number| hears(&mut reader, &data(number, &[0; 8]), &mut into);
        assert_eq!(
            [1, 2, 3].map(&mut block),
            [Heard::Taken, Heard::Taken, Heard::Taken]
        );
        assert_eq!(block(4), Heard::Acknowledge);
        // 6 and 7 come without 5: the server is told once. It begins again with 5.
        assert_eq!([6, 7].map(&mut block), [Heard::Acknowledge, Heard::Nothing]);
        assert_eq!(
            [5, 5, 6, 7].map(&mut block),
            [Heard::Taken, Heard::Again, Heard::Taken, Heard::Taken]
        );
        assert_eq!(block(8), Heard::Acknowledge);
        assert_eq!(block(13), Heard::Nothing, "beyond the window");
        assert_eq!(reader.acknowledgement(), [0, 4, 0, 8]);
    }

    #[test]
    fn block_numbers_roll_over_to_zero_or_to_one() {
        for after in [0, 1] {
            let (mut reader, mut place) = (reader(), [0; 4096]);
            let mut into = Sink::new(&mut place);
            hears(&mut reader, &options("blksize\08\0"), &mut into);
            reader.number = u16::MAX;
            assert_eq!(
                hears(&mut reader, &data(after, &[1; 8]), &mut into),
                Heard::Acknowledge
            );
            assert_eq!(reader.acknowledgement(), [0, 4, 0, after as u8]);
            assert_eq!(
                hears(&mut reader, &data(after + 1, &[1; 8]), &mut into),
                Heard::Acknowledge
            );
        }
    }

    #[test]
    fn only_the_servers_own_port_counts_once_it_has_answered() {
        let (mut reader, mut place) = (reader(), [0; 4096]);
        let mut into = Sink::new(&mut place);
        hears(&mut reader, &options("tsize\09\0"), &mut into);
        assert_eq!(reader.hear(5, &data(1, b"x"), &mut into), Ok(Heard::Stray(5)));
        assert_eq!(
            reader.hear(5, &options("tsize\x008\0"), &mut into),
            Ok(Heard::Rival(5)),
            "another answer to the request"
        );
        assert_eq!(
            reader.hear(5, &error_packet(1, "no"), &mut into),
            Ok(Heard::Nothing),
            "errors are never answered"
        );
        assert_eq!(hears(&mut reader, &data(1, b"123456789"), &mut into), Heard::End);
    }

    #[test]
    fn an_error_is_no_answer_while_there_is_a_better_one() {
        let (mut reader, mut place) = (reader(), [0; 4096]);
        let mut into = Sink::new(&mut place);
        let no = error_packet(1, "not found");
        assert_eq!(hears(&mut reader, &no, &mut into), Heard::Refused);
        assert_eq!(
            hears(&mut reader, &error_packet(8, ""), &mut into),
            Heard::Nothing,
            "the first"
        );
        assert_eq!(hears(&mut reader, &data(1, b"menu"), &mut into), Heard::End);
        assert_eq!(reader.judge(), Ok(Heard::Nothing));
        // Without options, a first block from another port is an answer, too; a later one is a stray.
        assert_eq!(reader.hear(5, &data(1, b"evil"), &mut into), Ok(Heard::Rival(5)));
        assert_eq!(reader.hear(5, &data(2, b"evil"), &mut into), Ok(Heard::Stray(5)));
        assert_eq!(reader.hear(5, &no, &mut into), Ok(Heard::Nothing));
        assert!(
            reader.hear(SERVER, &no, &mut into).is_err(),
            "its own error counts"
        );
    }

    #[test]
    fn lengths_that_cannot_be() {
        let mut place = [0; 100];
        let mut into = Sink::new(&mut place);
        assert_eq!(
            reader().hear(SERVER, &options("tsize\x00101\0"), &mut into),
            Err(Reason::TooLarge {
                len: Some(101),
                space: 100
            })
        );
        assert_eq!(
            reader().hear(SERVER, &data(1, &[0; 101]), &mut into),
            Err(Reason::TooLarge {
                len: None,
                space: 100
            })
        );
        assert_eq!(
            reader().hear(SERVER, &data(1, &[0; 513]), &mut Sink::new(&mut [0; 4096])),
            Err(Reason::Tftp(Error::Block))
        );
        let mut cut = reader();
        hears(&mut cut, &options("tsize\x0050\0"), &mut into);
        assert_eq!(
            cut.hear(SERVER, &data(1, &[0; 49]), &mut into),
            Err(Reason::Tftp(Error::Size {
                came: 49,
                announced: 50
            }))
        );
        let line = Error::Size {
            came: 38,
            announced: 37,
        }
        .to_string();
        assert_eq!(
            line,
            "38 bytes came of a file of 37, as the server had said: was it changed just now?"
        );
    }

    #[test]
    fn options_that_were_not_asked_for_are_refused_by_name() {
        for (text, option) in [
            ("blksize\x007\0", "blksize=7"),
            ("blksize\x001469\0", "blksize=1469"),
            ("blksize\0+99\0", "blksize=+99"),
            ("blksize\x00512.0\0", "blksize=512.0"),
            ("blksize\0", "blksize="),
            ("BlkSize", "BlkSize="),
            ("windowsize\x000\0", "windowsize=0"),
            ("windowsize\x0017\0", "windowsize=17"),
            ("windowsize\x0065552\0", "windowsize=65552"),
            ("multicast\0,,1\x1b\0", "multicast=,,1?"),
        ] {
            let error = reader()
                .hear(SERVER, &options(text), &mut Sink::new(&mut [0; 9]))
                .unwrap_err();
            let line = format!("the server acknowledges {option}, which was not asked for");
            assert_eq!(error.to_string(), line, "{text:?}");
        }
    }

    /// Nothing is read into an option on which nothing depends, or that can be done without.
    #[test]
    fn what_is_of_no_use_is_ignored() {
        for text in [
            "timeout\x001.0\0blksize\x00600\0",
            "timeout\0soon\0blksize\x00600\0",
            "timeout\0\0blksize\x00600\0",
            "rollover\x000\0utimeout\x00100000\0x\0y\0blksize\x00600\0",
            "tsize\0-1\0blksize\x00600\0",
            "tsize\x001.5\0blksize\x00600\0",
            "tsize\x0099999999999999999999\0blksize\x00600\0",
        ] {
            let mut reader = reader();
            assert_eq!(
                hears(&mut reader, &options(text), &mut Sink::new(&mut [])),
                Heard::Acknowledge,
                "{text:?}"
            );
            assert_eq!((reader.total, reader.block), (None, 600), "{text:?}");
        }
    }

    #[test]
    fn agreeing_to_nothing() {
        // Zero is no size, and an empty answer agrees to nothing.
        for text in ["tsize\x000\0", "", "\0"] {
            let mut reader = reader();
            assert_eq!(
                hears(&mut reader, &options(text), &mut Sink::new(&mut [])),
                Heard::Acknowledge,
                "{text:?}"
            );
            assert_eq!((reader.total, reader.block, reader.window), (None, 512, 1));
        }
    }

    #[test]
    fn errors_are_told_apart_and_made_printable() {
        let error = |code, text: &str| match refuses(&mut reader(), &error_packet(code, text)) {
            Err(Reason::Tftp(error)) => (error.is_absent(), format!("{error}")),
            other => panic!("{other:?}"),
        };
        assert_eq!(error(1, ""), (true, "file not found".into()));
        assert_eq!(
            error(2, "no\r\nway\u{e9}"),
            (true, "access violation: no??way??".into())
        );
        assert_eq!(
            error(3, &"x".repeat(999)),
            (false, format!("TFTP error 3: {}", "x".repeat(512)))
        );
        // The code for "no such file", and what servers that use it for everything add to it.
        let long = format!("open /srv/{}: no such file or directory", "x/".repeat(100));
        for text in [
            "File not found",
            "stat /srv/x: no such file or directory",
            "file [x] unknown: file does not exist",
            "error: x was not found",
            &long,
        ] {
            assert_eq!(error(1, text), (true, format!("file not found: {text}")));
        }
        for text in [
            "open /srv/x: too many open files",
            "open /srv/x: permission denied",
            "read x: context deadline exceeded",
        ] {
            assert_eq!(error(1, text), (false, format!("TFTP error 1: {text}")));
        }
        // Named in words only: no second request without options.
        for text in [
            "File not found",
            "No such file or directory",
            "cannot read /srv/tftp/pxelinux.cfg/default: Not a directory",
            "open /srv/x: no such file or directory",
            "The system cannot find the path specified.",
        ] {
            assert_eq!(error(0, text), (true, text.into()));
        }
        let mut plain = reader();
        plain.asks = None;
        for text in ["host not found", "disk on fire", "found no backend", ""] {
            match refuses(&mut plain, &error_packet(0, text)) {
                Err(Reason::Tftp(error)) => assert!(!error.is_absent(), "{text}"),
                other => panic!("{other:?}"),
            }
        }
        for code in [0, 4, 8] {
            let mut reader = reader();
            let error = error_packet(code, "options?");
            assert_eq!(refuses(&mut reader, &error), Ok(Heard::Plain), "{code}");
            assert!(
                refuses(&mut reader, &error).is_err(),
                "asked without options already"
            );
        }
    }

    #[test]
    fn only_the_size() {
        let mut reader = Reader::new(b"x".to_vec(), Some(1468), Wants::Size);
        assert_eq!(
            hears(
                &mut reader,
                &options("tsize\x001000000\0"),
                &mut Sink::new(&mut [])
            ),
            Heard::End
        );
        assert_eq!(reader.total, Some(1_000_000));
        let mut plain = Reader::new(b"x".to_vec(), Some(1468), Wants::Size);
        assert_eq!(
            hears(&mut plain, &data(1, &[0; 512]), &mut Sink::new(&mut [])),
            Heard::End
        );
    }

    #[test]
    fn only_the_start() {
        for (answer, block) in [
            (options("tsize\x00511\0"), 512),
            (data(9, b""), 512),
            (options("blksize\x00700\0"), 700),
        ] {
            let mut reader = Reader::new(b"x".to_vec(), Some(1468), Wants::Start);
            let mut place = [0; 1468];
            let mut sink = Sink::new(&mut place);
            // However long the file is: only its start needs room.
            let heard = hears(&mut reader, &answer, &mut sink);
            assert!(matches!(heard, Heard::Acknowledge | Heard::Nothing));
            assert_eq!(
                hears(&mut reader, &data(1, &vec![7; block]), &mut sink),
                Heard::End
            );
            assert_eq!((sink.bytes(), reader.whole), (&*vec![7; block], false));
        }
        // Less than a block is all, and is acknowledged; of a long file the length will do.
        let new = || Reader::new(b"x".to_vec(), Some(1468), Wants::Start);
        let (mut short, mut long) = (new(), new());
        let mut place = [0; 8];
        let mut sink = Sink::new(&mut place);
        assert_eq!(hears(&mut short, &data(1, b"all"), &mut sink), Heard::End);
        assert!(short.whole && short.acknowledgement() == [0, 4, 0, 1]);
        let answer = options("tsize\x001000000\0blksize\x001024\0");
        assert_eq!(hears(&mut long, &answer, &mut sink), Heard::End);
        assert_eq!((long.number, long.total, long.whole), (0, Some(1_000_000), false));
    }

    /// Every truncation and every changed byte of an answer: never a panic, never a byte outside of its place.
    #[test]
    fn mutations() {
        for golden in [
            data(1, &[1; 20]),
            options("blksize\x001024\0windowsize\x004\0tsize\x001000\0"),
            error_packet(1, "File not found"),
        ] {
            for at in 0..golden.len() {
                for byte in 0..=u8::MAX {
                    let mut packet = golden.clone();
                    packet[at] = byte;
                    for packet in [&packet[..], &golden[..at]] {
                        let mut reader = reader();
                        let mut place = [0; 64];
                        let mut into = Sink::new(&mut place);
                        let _ = reader.hear(SERVER, packet, &mut into);
                        let _ = reader.hear(SERVER, packet, &mut into);
                        assert!(into.filled() <= 64 && (LEAST_BLOCK..=1468).contains(&reader.block));
                        assert!((1..=WINDOW).contains(&reader.window));
                    }
                }
            }
        }
    }
}
