//! The body of an HTTP response, decoded in place: bytes as they come in, payload out (RFC 9112 §6, §7.1).

use core::fmt;

use super::head::Framing;

/// The longest chunk-size line with its extensions, and the longest trailer section, in bytes.
const MAX_LINE: u16 = 4096;

/// A decoder. How the bytes are cut into pieces makes no difference to what comes out.
#[derive(Debug, Clone)]
pub(super) struct Body {
    state: State,
    /// Bytes left of the body, or of the chunk; while its size is read, the size so far.
    left: u64,
    /// Bytes of the current size line or trailer section.
    line: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length,
    UntilClose,
    /// Before the first digit.
    Size,
    SizeDigits,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    Done,
}

/// Why a body cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A chunk whose size or ending is wrong.
    Chunk,
    /// A chunk-size line or a trailer section of more than 4 KiB.
    LongLine,
    /// More bytes than the destination holds.
    TooLarge,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chunk => "malformed chunk",
            Self::LongLine => "a chunk's size line or the trailers exceed 4 KiB",
            Self::TooLarge => "larger than the space for it",
        })
    }
}

impl core::error::Error for Error {}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        let (state, left) = match framing {
            Framing::Length(0) => (State::Done, 0),
            Framing::Length(length) => (State::Length, length),
            Framing::Chunked => (State::Size, 0),
            Framing::UntilClose => (State::UntilClose, 0),
        };
        Self { state, left, line: 0 }
    }

    /// Decodes from `input` to the start of `into`: how many bytes were consumed, and how many written.
    ///
    /// All input is consumed unless the body ends inside it. A chunk too large for `into` is refused at its size.
    pub(super) fn decode(&mut self, input: &[u8], into: &mut [u8]) -> Result<(usize, usize), Error> {
        let (mut rest, mut space) = (input, into);
        let room = space.len();
        loop {
            match self.state {
                State::Done => break,
                State::Length | State::Data | State::UntilClose => {
                    let part = match self.state {
                        State::UntilClose => rest.len(),
                        _ => usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len())),
                    };
                    if part == 0 {
                        break;
                    }
                    let (data, after) = rest.split_at_checked(part).ok_or(Error::Chunk)?;
                    let (target, free) = space.split_at_mut_checked(part).ok_or(Error::TooLarge)?;
                    target.copy_from_slice(data);
                    (rest, space) = (after, free);
                    if self.state != State::UntilClose {
                        self.left = self.left.saturating_sub(part as u64);
                    }
                    match self.state {
                        State::Length if self.left == 0 => self.state = State::Done,
                        State::Data if self.left == 0 => self.state = State::DataCr,
                        _ => {}
                    }
                }
                _ => {
                    let Some((&byte, after)) = rest.split_first() else {
                        break;
                    };
                    rest = after;
                    self.state = self.between(byte)?;
                    if self.state == State::Data && self.left > space.len() as u64 {
                        return Err(Error::TooLarge);
                    }
                }
            }
        }
        let consumed = input.len().saturating_sub(rest.len());
        Ok((consumed, room.saturating_sub(space.len())))
    }

    /// Whether the last byte of the body has been decoded.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the body is whole if the connection ends here.
    pub(super) fn may_end(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// The state after `byte`, which stands between chunks.
    fn between(&mut self, byte: u8) -> Result<State, Error> {
        self.line = self.line.saturating_add(1);
        if self.line > MAX_LINE {
            return Err(Error::LongLine);
        }
        Ok(match (self.state, byte) {
            (State::Size, b) => {
                self.left = hex_digit(b).ok_or(Error::Chunk)?;
                State::SizeDigits
            }
            (State::SizeDigits | State::Extension, b'\r') => State::SizeLf,
            // A lone LF where nothing else can stand: who does not take it for the end of a line refuses it.
            (State::SizeDigits, b'\n') => self.sized(),
            (State::SizeDigits, b';' | b' ' | b'\t') => State::Extension,
            (State::SizeDigits, b) => {
                let digit = hex_digit(b).ok_or(Error::Chunk)?;
                let size = self.left.checked_mul(16).and_then(|size| size.checked_add(digit));
                self.left = size.ok_or(Error::Chunk)?;
                State::SizeDigits
            }
            // Inside of text it ends a line for some recipients and not for others: that is how messages are smuggled.
            (State::Extension | State::Trailer, b'\n') => return Err(Error::Chunk),
            (State::Extension, _) => State::Extension,
            (State::SizeLf, b'\n') => self.sized(),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataCr | State::DataLf, b'\n') => {
                self.line = 0;
                State::Size
            }
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::TrailerStart, b'\n') => State::Done,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, _) => State::Trailer,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::LastLf, b'\n') => State::Done,
            _ => return Err(Error::Chunk),
        })
    }

    /// What follows a chunk's size.
    fn sized(&mut self) -> State {
        self.line = 0;
        if self.left == 0 {
            State::TrailerStart
        } else {
            State::Data
        }
    }
}

fn hex_digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] =
        b"5\r\nhello\r\n1;a=\"b\" \r\n,\r\n00007 ;x\r\n world!\r\n0\r\nX-T: y\r\nZ:\r\n\r\n";

    /// Where a body ended: consumed bytes, the payload, whether it is done; or the error.
    type Outcome = Result<(usize, Vec<u8>, bool), Error>;

    /// Feeds `input` in pieces of the sizes that `piece` names in turn.
    fn feed(framing: Framing, input: &[u8], room: usize, mut piece: impl FnMut() -> usize) -> Outcome {
        const GUARD: u8 = 0xa5;
        let mut memory = vec![GUARD; room + 8];
        let mut body = Body::new(framing);
        let (mut consumed, mut written) = (0, 0);
        while consumed < input.len() && !body.is_done() {
            let end = input.len().min(consumed + piece());
            let result = body.decode(&input[consumed..end], &mut memory[written..room]);
            assert!(memory[room..].iter().all(|&b| b == GUARD));
            let (used, wrote) = result?;
            assert!(used == end - consumed || body.is_done(), "all input is consumed");
            consumed += used;
            written += wrote;
            assert!(written <= room);
            assert!(
                memory[written..].iter().all(|&b| b == GUARD),
                "nothing written beyond"
            );
        }
        Ok((consumed, memory[..written].to_vec(), body.is_done()))
    }

    /// Whole, byte by byte and in odd sizes: the same outcome.
    fn outcome(framing: Framing, input: &[u8], room: usize) -> Outcome {
        let whole = feed(framing, input, room, || usize::MAX / 2);
        for size in [1, 2, 3, 7, 13] {
            assert_eq!(feed(framing, input, room, || size), whole, "in pieces of {size}");
        }
        let mut size = 0;
        let growing = feed(framing, input, room, || {
            size = size % 11 + 1;
            size
        });
        assert_eq!(growing, whole);
        whole
    }

    #[test]
    fn length_stops_at_the_length() {
        let whole = Ok((5, b"hello".to_vec(), true));
        assert_eq!(outcome(Framing::Length(5), b"hello", 5), whole);
        assert_eq!(outcome(Framing::Length(5), b"helloHTTP", 9), whole);
        assert_eq!(
            outcome(Framing::Length(6), b"hello", 6),
            Ok((5, b"hello".to_vec(), false))
        );
        assert_eq!(outcome(Framing::Length(0), b"x", 9), Ok((0, vec![], true)));
        assert_eq!(
            outcome(Framing::Length(u64::MAX), b"hello", 4),
            Err(Error::TooLarge)
        );
    }

    #[test]
    fn until_close_may_end_anywhere_but_must_fit() {
        assert_eq!(
            outcome(Framing::UntilClose, b"hello", 5),
            Ok((5, b"hello".to_vec(), false))
        );
        assert!(Body::new(Framing::UntilClose).may_end());
        assert!(!Body::new(Framing::Length(1)).may_end());
        assert!(!Body::new(Framing::Chunked).may_end());
        assert_eq!(outcome(Framing::UntilClose, b"hello", 4), Err(Error::TooLarge));
    }

    #[test]
    fn chunked_with_extensions_and_trailers() {
        let expected = b"hello, world!";
        let whole = Ok((CHUNKED.len(), expected.to_vec(), true));
        assert_eq!(outcome(Framing::Chunked, CHUNKED, 13), whole);
        let followed = [CHUNKED, b"HTTP/1.1"].concat();
        assert_eq!(outcome(Framing::Chunked, &followed, 99), whole);
        assert_eq!(outcome(Framing::Chunked, CHUNKED, 12), Err(Error::TooLarge));
        assert_eq!(outcome(Framing::Chunked, b"0\r\n\r\n", 0), Ok((5, vec![], true)));
        assert_eq!(
            outcome(Framing::Chunked, b"aB\r\n", 0xab),
            Ok((4, vec![], false)),
            "hexadecimal in either case"
        );
    }

    #[test]
    fn lines_of_chunks_may_end_with_lf_alone() {
        for text in ["1\na\n0\n\n", "1\na\r\n0\r\n\n", "1\r\na\n0\n\r\n"] {
            let whole = Ok((text.len(), b"a".to_vec(), true));
            assert_eq!(outcome(Framing::Chunked, text.as_bytes(), 1), whole, "{text:?}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for bad in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\na\r\n",
            " 1\r\na\r\n",
            "0x1\r\n",
            "1;e\na\r\n",
            "1\rx",
            "1\r\nab\r\n",
            "1\r\na\rb",
            "0\r\nX: y\n\r\n",
            "0\r\n\rx",
            "10000000000000000\r\n",
        ] {
            assert_eq!(
                outcome(Framing::Chunked, bad.as_bytes(), 99),
                Err(Error::Chunk),
                "{bad:?}"
            );
        }
        assert_eq!(
            outcome(Framing::Chunked, b"ffffffffffffffff\r\n", 99),
            Err(Error::TooLarge)
        );
    }

    #[test]
    fn lines_between_chunks_are_bounded() {
        let line = |n: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(n));
        let longest = usize::from(MAX_LINE) - 4;
        assert!(outcome(Framing::Chunked, line(longest).as_bytes(), 1).unwrap().2);
        assert_eq!(
            outcome(Framing::Chunked, line(longest + 1).as_bytes(), 1),
            Err(Error::LongLine)
        );
        let trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(700));
        assert_eq!(
            outcome(Framing::Chunked, trailers.as_bytes(), 1),
            Err(Error::LongLine)
        );
        let zeros = "0".repeat(5000);
        assert_eq!(
            outcome(Framing::Chunked, zeros.as_bytes(), 1),
            Err(Error::LongLine)
        );
    }

    #[test]
    fn every_truncation_is_incomplete_and_every_change_is_safe() {
        for end in 0..CHUNKED.len() {
            let (consumed, _, done) = outcome(Framing::Chunked, &CHUNKED[..end], 13).unwrap();
            assert!(!done && consumed == end, "{end}");
        }
        let (mut refused, mut whole) = (0, 0);
        for at in 0..CHUNKED.len() {
            for byte in 0..=255 {
                let mut input = CHUNKED.to_vec();
                input[at] = byte;
                match outcome(Framing::Chunked, &input, 13) {
                    Ok((_, payload, true)) => {
                        whole += 1;
                        assert!(payload.len() <= 13);
                    }
                    Ok(_) => {}
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 1000 && whole > 1000, "{refused} {whole}");
    }

    #[test]
    fn random_bytes_are_safe() {
        // xorshift: the same bytes in every run.
        let mut x = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x
        };
        for _ in 0..3000 {
            let len = random() as usize % 64;
            // Half of the bytes from the alphabet of chunk lines, or nothing would get past the first one.
            let input: Vec<u8> = (0..len)
                .map(|_| match random() % 16 {
                    0..8 => b"012a;\r\n\n"[random() as usize % 8],
                    _ => random() as u8,
                })
                .collect();
            for framing in [
                Framing::Chunked,
                Framing::Length(random() % 80),
                Framing::UntilClose,
            ] {
                let _ = outcome(framing, &input, random() as usize % 64);
            }
        }
    }
}
