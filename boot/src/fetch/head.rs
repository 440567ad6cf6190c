//! The head of an HTTP response: status, framing and the few fields that matter (RFC 9110; RFC 9112 §4 to §7).

use alloc::format;
use alloc::string::String;
use core::fmt;

use httparse::{Header, ParserConfig, Response};

use super::challenge::Challenge;

/// The longest head, interim responses before it included, in bytes.
pub(crate) const MAX_LEN: usize = 16 * 1024;

/// The most header fields in one head.
const MAX_FIELDS: usize = 128;

/// The fields that say where a body ends, which part of a file it is, and where to go instead. Whatever is odd about the
/// others makes no difference to anybody; a line that some read as one of these, and others not, is refused.
const DECISIVE: [&[u8]; 5] = [
    b"content-length",
    b"transfer-encoding",
    b"content-range",
    b"location",
    // One that were passed over would be taken for none, and the password go out in clear text.
    b"www-authenticate",
];

/// How much of a reason phrase an error repeats, in characters.
const MAX_PHRASE: usize = 64;

/// What a response says before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Printable ASCII, short, possibly empty.
    pub(super) phrase: String,
    pub(super) framing: Framing,
    /// Whether another request may follow on the connection, once the body is read.
    pub(super) persistent: bool,
    /// `Location`, not yet resolved.
    pub(super) location: Option<String>,
    /// What `If-Range` may name: a strong `ETag`, else `Last-Modified`. Visible ASCII and spaces. None, too, when
    /// the server says `Accept-Ranges: none`.
    pub(super) validator: Option<String>,
    /// `Content-Range` of a 206.
    pub(super) content_range: Option<ContentRange>,
    /// What a 401 wants.
    pub(super) challenge: Option<Challenge>,
}

/// Where the body ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes; zero for a status that has no body.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl Framing {
    /// Whether a body of so many bytes may be what follows.
    pub(super) fn may_be(self, bytes: u64) -> bool {
        match self {
            Self::Length(length) => length == bytes,
            Self::Chunked | Self::UntilClose => true,
        }
    }
}

/// `Content-Range: bytes first-last/total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) total: Option<u64>,
}

/// Why a head cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Not HTTP/1.x.
    Malformed,
    /// More than 16 KiB, interim responses included.
    TooLong,
    /// More than 128 header fields.
    TooManyFields,
    /// The connection ended inside it.
    Truncated,
    /// `Content-Length` is no number, or several that differ.
    ContentLength,
    /// A transfer coding other than `chunked`, which we did not ask for.
    TransferEncoding,
    /// Several `Location` fields that differ: clients go to the first, or to the last.
    Locations,
    /// A line without a colon; or a field that decides where the body ends or what it is, written so that some take it for
    /// that field and others do not: its name, in lower case.
    Field(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the answer is not HTTP",
            Self::TooLong => "the answer's head is longer than 16 KiB",
            Self::TooManyFields => "the answer's head has more than 128 fields",
            Self::Truncated => "connection closed inside the answer's head",
            Self::ContentLength => "the answer's Content-Length is not one number",
            Self::TransferEncoding => "the answer's Transfer-Encoding is not supported, only chunked",
            Self::Locations => "the answer redirects to several places at once",
            Self::Field(name) => return write!(f, "the answer's head has an ambiguous line: {name}"),
        })
    }
}

impl core::error::Error for Error {}

impl Head {
    /// Reads the head at the start of `bytes`, and its length; `None` while it is incomplete.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = Response::new(&mut fields);
        let mut config = ParserConfig::default();
        // A user agent replaces obsolete line folding by spaces (RFC 9112 §5.2); `text` and `elements` do.
        config.allow_obsolete_multiline_headers_in_responses(true);
        config.allow_multiple_spaces_in_response_status_delimiters(true);
        // Servers do write names with blanks or brackets. `unambiguous` looks at what is ignored so.
        config.ignore_invalid_headers_in_responses(true);
        let len = match config.parse_response(&mut response, bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Error::TooManyFields),
            Err(_) => return Err(Error::Malformed),
        };
        let (Some(version), Some(status), Some(phrase)) = (response.version, response.code, response.reason)
        else {
            return Err(Error::Malformed);
        };
        if !(100..=599).contains(&status) {
            return Err(Error::Malformed);
        }
        let fields = Fields(response.headers);
        unambiguous(bytes.get(..len).unwrap_or_default())?;
        let framing = framing(status, &fields)?;
        let says = |what: &[u8]| {
            fields
                .elements("connection")
                .any(|e| e.eq_ignore_ascii_case(what))
        };
        // Clients before chunks could only keep a connection whose bodies have a length.
        let kept = version == 1 || says(b"keep-alive") && matches!(framing, Framing::Length(_));
        // RFC 9112 §6.3: chunks win over a length, and the connection is not to be trusted with more.
        let doubtful = fields.has("transfer-encoding") && fields.has("content-length");
        let head = Self {
            status,
            phrase: phrase
                .chars()
                .filter(|c| matches!(c, ' '..='~'))
                .take(MAX_PHRASE)
                .collect(),
            framing,
            persistent: kept && !says(b"close") && !doubtful,
            location: location(&fields)?,
            validator: validator(&fields),
            content_range: one_range(&fields)?,
            challenge: (status == 401)
                .then(|| Challenge::parse(fields.values("www-authenticate")))
                .flatten(),
        };
        Ok(Some((head, len)))
    }

    /// The length of what follows, when it is told.
    pub(super) fn length(&self) -> Option<u64> {
        match (self.framing, self.content_range) {
            (Framing::Length(length), _) => Some(length),
            (_, Some(ContentRange { total, .. })) if self.is_all() => total,
            (Framing::Chunked | Framing::UntilClose, _) => None,
        }
    }

    /// Whether a 206 is the whole file, as some servers answer whoever did not ask for a part.
    pub(super) fn is_all(&self) -> bool {
        let range = self
            .content_range
            .filter(|range| self.status == 206 && range.first == 0);
        let end = range.and_then(|range| Some((range.last.checked_add(1)?, range.total?)));
        end.is_some_and(|(end, total)| end == total && self.framing.may_be(total))
    }
}

/// Refuses what one reader takes for a field that decides, and another for one that it does not know: its name beside
/// blanks, or a value with control characters. Those lines are missing from the parsed fields (D-107, D-147).
fn unambiguous(head: &[u8]) -> Result<(), Error> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = head.iter().position(|byte| !byte.is_ascii_whitespace());
    let mut lines = head
        .get(start.unwrap_or_default()..)
        .unwrap_or_default()
        .split(|byte| *byte == b'\n');
    let mut decisive = None;
    let mut first = true;
    // The status line.
    lines.next();
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let controls = line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
        if line.first().is_some_and(blank) && !first {
            // The value goes on.
            if let Some(name) = decisive.filter(|_| controls) {
                return Err(Error::Field(name));
            }
            continue;
        }
        first = false;
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .ok_or(Error::Malformed)?;
        let name = line.get(..colon).unwrap_or_default();
        let known = DECISIVE
            .iter()
            .find(|known| name.trim_ascii().eq_ignore_ascii_case(known));
        decisive = known.and_then(|known| core::str::from_utf8(known).ok());
        if let Some(known) = decisive.filter(|known| controls || name.len() != known.len()) {
            return Err(Error::Field(known));
        }
    }
    Ok(())
}

/// `Location`, as ASCII: servers write other bytes, which stand for themselves.
fn location(fields: &Fields<'_, '_>) -> Result<Option<String>, Error> {
    let mut values = fields.values("location").map(<[u8]>::trim_ascii);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != value) {
        return Err(Error::Locations);
    }
    let mut text = String::new();
    for &byte in value {
        match byte {
            b'\r' | b'\n' | b'\t' => text.push(' '),
            0x80.. => text.push_str(&format!("%{byte:02X}")),
            _ => text.push(char::from(byte)),
        }
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// `Content-Range`: several that differ are two answers to which part it is.
fn one_range(fields: &Fields<'_, '_>) -> Result<Option<ContentRange>, Error> {
    let mut values = fields.values("content-range").map(<[u8]>::trim_ascii);
    let first = values.next();
    if values.any(|other| Some(other) != first) {
        return Err(Error::Field("content-range"));
    }
    Ok(fields.text("content-range").and_then(|text| content_range(&text)))
}

struct Fields<'h, 'b>(&'h [Header<'b>]);

impl Fields<'_, '_> {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let Self(fields) = self;
        fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The elements of a list-valued field, over all its lines (RFC 9110 §5.6.1); empty ones do not count.
    fn elements<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name)
            .flat_map(|value| value.split(|&b| b == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// The first value, line folding replaced by spaces.
    fn text(&self, name: &str) -> Option<String> {
        let value = self.values(name).next()?.trim_ascii();
        let unfold = |c| if matches!(c, '\r' | '\n' | '\t') { ' ' } else { c };
        Some(String::from_utf8_lossy(value).chars().map(unfold).collect())
    }
}

// D-23
fn framing(status: u16, fields: &Fields<'_, '_>) -> Result<Framing, Error> {
    let length = match coded(fields)? {
        Coding::Chunked => None,
        Coding::Plain => Some(length(fields)?),
    };
    Ok(match length {
        _ if matches!(status, 100..=199 | 204 | 304) => Framing::Length(0),
        None => Framing::Chunked,
        Some(Some(length)) => Framing::Length(length),
        Some(None) => Framing::UntilClose,
    })
}

enum Coding {
    Plain,
    Chunked,
}

/// What `Transfer-Encoding` says. `identity` is how the standard of 1999 says nothing, and servers behind servers say
/// `chunked` twice of what is in chunks once. Anything behind it would be read to the end of the connection by some.
fn coded(fields: &Fields<'_, '_>) -> Result<Coding, Error> {
    let mut coding = Coding::Plain;
    let mut said = !fields.has("transfer-encoding");
    for element in fields.elements("transfer-encoding") {
        said = true;
        match coding {
            Coding::Plain if element.eq_ignore_ascii_case(b"identity") => {}
            _ if element.eq_ignore_ascii_case(b"chunked") => coding = Coding::Chunked,
            _ => return Err(Error::TransferEncoding),
        }
    }
    if said {
        Ok(coding)
    } else {
        Err(Error::TransferEncoding)
    }
}

/// What `Content-Length` says: several fields, or numbers in one, must be the same.
fn length(fields: &Fields<'_, '_>) -> Result<Option<u64>, Error> {
    let mut length = None;
    // Not `elements`: an empty value is no number.
    for value in fields.values("content-length") {
        for element in value.split(|&b| b == b',') {
            let n = decimal(element.trim_ascii()).ok_or(Error::ContentLength)?;
            if length.replace(n).is_some_and(|before| before != n) {
                return Err(Error::ContentLength);
            }
        }
    }
    Ok(length)
}

fn validator(fields: &Fields<'_, '_>) -> Option<String> {
    if fields
        .elements("accept-ranges")
        .any(|e| e.eq_ignore_ascii_case(b"none"))
    {
        return None;
    }
    let strong = fields.text("etag").filter(|tag| tag.starts_with('"'));
    strong
        .or_else(|| fields.text("last-modified"))
        .filter(|text| text.bytes().all(|b| matches!(b, b' '..=b'~')))
}

fn content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some(ContentRange {
        first: decimal(first.as_bytes())?,
        last: decimal(last.as_bytes())?,
        total: match total {
            "*" => None,
            total => Some(decimal(total.as_bytes())?),
        },
    })
}

/// Digits only: `parse` would take a sign.
fn decimal(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> Result<Head, Error> {
        let text = std::format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        Head::parse(text.as_bytes()).map(|head| {
            let (head, len) = head.expect("complete");
            assert_eq!(len, text.len());
            head
        })
    }

    #[test]
    fn a_whole_head() {
        let text =
            b"\r\nHTTP/1.1 206 Partial Content\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10\r\n\
            ETag: \"v1\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nLocation: /x\r\n\r\nbody";
        let (head, len) = Head::parse(text).unwrap().unwrap();
        assert_eq!(len, text.len() - 4);
        assert_eq!(
            head,
            Head {
                status: 206,
                phrase: "Partial Content".into(),
                framing: Framing::Length(6),
                persistent: true,
                location: Some("/x".into()),
                validator: Some("\"v1\"".into()),
                content_range: Some(ContentRange {
                    first: 4,
                    last: 9,
                    total: Some(10)
                }),
                challenge: None,
            }
        );
    }

    #[test]
    fn framing_follows_rfc_9112() {
        let framing = |fields: &str| parse(fields).map(|head| head.framing);
        for (fields, expected) in [
            ("", Ok(Framing::UntilClose)),
            ("content-length: 42\r\n", Ok(Framing::Length(42))),
            (
                "Content-Length: 42, 42\r\nContent-Length: 42\r\n",
                Ok(Framing::Length(42)),
            ),
            ("Content-Length:\r\n 42\r\n", Ok(Framing::Length(42))),
            (
                "Content-Length: 18446744073709551615\r\n",
                Ok(Framing::Length(u64::MAX)),
            ),
            (
                "Content-Length: 18446744073709551616\r\n",
                Err(Error::ContentLength),
            ),
            (
                "Content-Length: 42\r\nContent-Length: 43\r\n",
                Err(Error::ContentLength),
            ),
            ("Content-Length: 42,\r\n", Err(Error::ContentLength)),
            ("Content-Length:\r\n", Err(Error::ContentLength)),
            ("Content-Length: +42\r\n", Err(Error::ContentLength)),
            ("Content-Length: -1\r\n", Err(Error::ContentLength)),
            ("Content-Length: 0x10\r\n", Err(Error::ContentLength)),
            ("Content-Length: 4\r\n 2\r\n", Err(Error::ContentLength)),
            ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                Err(Error::TransferEncoding),
            ),
            // One proxy behind another.
            ("Transfer-Encoding: chunked, chunked\r\n", Ok(Framing::Chunked)),
            ("Transfer-Encoding: identity\r\n", Ok(Framing::UntilClose)),
            (
                "Transfer-Encoding: identity\r\nContent-Length: 4\r\n",
                Ok(Framing::Length(4)),
            ),
            ("Transfer-Encoding: identity, chunked\r\n", Ok(Framing::Chunked)),
            (
                "Transfer-Encoding: chunked, identity\r\n",
                Err(Error::TransferEncoding),
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
                Err(Error::TransferEncoding),
            ),
            ("Transfer-Encoding: chunked;x=y\r\n", Err(Error::TransferEncoding)),
            ("Transfer-Encoding:\r\n", Err(Error::TransferEncoding)),
            // Nobody reads by the length then, whatever it is.
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                Ok(Framing::Chunked),
            ),
            (
                "Content-Length: 4\r\nContent-Length: x\r\nTransfer-Encoding: chunked\r\n",
                Ok(Framing::Chunked),
            ),
        ] {
            assert_eq!(framing(fields), expected, "{fields:?}");
        }
    }

    /// What is odd about a field that decides nothing makes no difference; lines that could be read as one that does.
    #[test]
    fn odd_lines() {
        let length = |fields: &str| parse(fields).map(|head| head.framing);
        for fields in [
            "X Powered By: PHP\r\nContent-Length: 4\r\n",
            "X-Powered-By : PHP\r\nContent-Length:4\r\n",
            "X(a)[b]: c\r\ncontent-LENGTH:\t4\t\r\n",
            ": nothing\r\nContent-Length: 4\r\n",
            "X-\u{e9}: \u{1}\x7f\r\n more \u{1}\r\nContent-Length: 4\r\n",
            " X: y\r\nContent-Length: 4\r\n",
            "X-Content-Length: 5\r\nContent-Length: 4\r\nContent Length: 6\r\n",
            "X: y\nContent-Length: 4\n",
        ] {
            assert_eq!(length(fields), Ok(Framing::Length(4)), "{fields:?}");
        }
        for (fields, name) in [
            ("Transfer-Encoding : chunked\r\n", "transfer-encoding"),
            ("Content-Length\t: 4\r\n", "content-length"),
            (" Content-Length: 4\r\n", "content-length"),
            ("Content-Length: 4\u{1}\r\n", "content-length"),
            ("Content-Length: 4\r\n \u{7f}\r\n", "content-length"),
            ("LOCATION : /x\r\n", "location"),
            ("Content-Range : bytes 0-1/2\r\n", "content-range"),
            (
                "Content-Range: bytes 0-1/2\r\ncontent-range: bytes 0-1/3\r\n",
                "content-range",
            ),
            (
                "WWW-Authenticate: Digest realm=\"r\x01\", nonce=\"n\"\r\n",
                "www-authenticate",
            ),
        ] {
            assert_eq!(length(fields), Err(Error::Field(name)), "{fields:?}");
        }
        for fields in ["no colon\r\n", "X: a\0b\r\n", "X: a\rb: c\r\n", "\r\rX: y\r\n"] {
            assert_eq!(length(fields), Err(Error::Malformed), "{fields:?}");
        }
    }

    #[test]
    fn locations() {
        let location = |fields: &str| parse(fields).map(|head| head.location);
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(location("Location: /a\r\nlocation: /a\r\n"), some("/a"));
        assert_eq!(
            location("Location: /a\r\nLocation: /b\r\n"),
            Err(Error::Locations)
        );
        assert_eq!(location("Location:\r\n"), Ok(None));
        assert_eq!(location("Location: /\u{e9} x\r\n"), some("/%C3%A9 x"));
        let latin = Head::parse(b"HTTP/1.1 302\r\nLocation: /\xe9\r\n\r\n")
            .unwrap()
            .unwrap()
            .0;
        assert_eq!(latin.location.as_deref(), Some("/%E9"));
    }

    #[test]
    fn some_statuses_have_no_body() {
        for status in [100, 103, 204, 304] {
            let text = std::format!("HTTP/1.1 {status} \r\nContent-Length: 9\r\n\r\n");
            let (head, _) = Head::parse(text.as_bytes()).unwrap().unwrap();
            assert_eq!((head.status, head.framing), (status, Framing::Length(0)));
        }
    }

    #[test]
    fn persistence() {
        let persistent = |text: &str| Head::parse(text.as_bytes()).unwrap().unwrap().0.persistent;
        assert!(persistent("HTTP/1.1 200\r\n\r\n"));
        assert!(persistent("HTTP/1.1  200  OK\n\n"));
        assert!(!persistent("HTTP/1.1 200 \r\nConnection: x, Close\r\n\r\n"));
        assert!(persistent(
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 4\r\n\r\n"
        ));
        assert!(!persistent("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\n"));
        assert!(!persistent("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!persistent(
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
    }

    #[test]
    fn validators() {
        let validator = |fields: &str| parse(fields).unwrap().validator;
        assert_eq!(validator("ETag: W/\"a\"\r\n"), None);
        assert_eq!(
            validator("ETag: W/\"a\"\r\nLast-Modified: d\r\n").as_deref(),
            Some("d")
        );
        assert_eq!(validator("ETag: \"a\"\r\nAccept-Ranges: none\r\n"), None);
        assert_eq!(validator("ETag: \"\u{e9}\"\r\n"), None);
        assert_eq!(validator("ETag: \"a\r\n b\"\r\n").as_deref(), Some("\"a   b\""));
    }

    #[test]
    fn content_ranges() {
        assert!(content_range("bytes 0-1/2").is_some());
        assert_eq!(content_range("bytes 0-1/*").unwrap().total, None);
        for bad in [
            "",
            "bytes */2",
            "bytes 0-/2",
            "bytes -1/2",
            "bytes 0-1",
            "items 0-1/2",
            "bytes 0-1/+2",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn bounds() {
        let fields = |n: usize| "A: b\r\n".repeat(n);
        assert!(parse(&fields(MAX_FIELDS)).is_ok());
        assert_eq!(parse(&fields(MAX_FIELDS + 1)), Err(Error::TooManyFields));
        let phrase = std::format!("HTTP/1.1 404 \x1b[2J{}\r\n\r\n", "x".repeat(500));
        assert_eq!(Head::parse(phrase.as_bytes()), Err(Error::Malformed));
        let phrase = std::format!("HTTP/1.1 404 {}\t\r\n\r\n", "x".repeat(500));
        let (head, _) = Head::parse(phrase.as_bytes()).unwrap().unwrap();
        assert_eq!(head.phrase, "x".repeat(MAX_PHRASE));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for text in [
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 99 x\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
            "HTTP/1.1 999 x\r\n\r\n",
            "HTTP/1.1 2x0 x\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n",
            "<!DOCTYPE html>",
        ] {
            assert_eq!(Head::parse(text.as_bytes()), Err(Error::Malformed), "{text:?}");
        }
    }

    /// Every truncation of a head is incomplete; every single-byte change is an error, incomplete, or a head whose
    /// fields can be printed and sent. A head never claims bytes beyond its own.
    #[test]
    fn truncations_and_changes() {
        let golden =
            b"HTTP/1.1 206 Partial\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10\r\nETag: \"v1\"\r\n\
            Connection: close\r\nLocation: http://h/p\r\nX-Folded: a\r\n b\r\n\r\n";
        for end in 0..golden.len() {
            assert_eq!(Head::parse(&golden[..end]), Ok(None), "{end}");
        }
        let mut heads = 0;
        for at in 0..golden.len() {
            for byte in 0..=255 {
                let mut text = golden.to_vec();
                text[at] = byte;
                if let Ok(Some((head, len))) = Head::parse(&text) {
                    heads += 1;
                    assert!(len <= text.len());
                    assert!((100..=599).contains(&head.status));
                    assert!(head.phrase.bytes().all(|b| matches!(b, b' '..=b'~')));
                    assert!(
                        head.validator
                            .iter()
                            .all(|v| v.bytes().all(|b| matches!(b, b' '..=b'~')))
                    );
                    assert!(!head.location.iter().any(|l| l.contains(['\r', '\n'])));
                }
            }
        }
        assert!(heads > 1000, "{heads}");
    }
}
