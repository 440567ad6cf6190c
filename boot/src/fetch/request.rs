//! The head of an HTTP request (RFC 9112 §3), with forms, and ranges (RFC 9110 §14).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use smoltcp::time::Duration;

use crate::url::Url;

/// The part of a file that an interrupted download still lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteRange<'a> {
    /// The first byte wanted.
    pub(super) from: u64,
    /// The entity tag or date of the bytes that we have; with another one the server sends the whole file.
    pub(super) validator: &'a str,
}

/// How something is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD: the answer has no body.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
        })
    }
}

/// What is asked of a server.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Where.
    pub url: &'a Url,
    /// How.
    pub method: Method,
    /// More header fields. Those with control characters, or a name that is no token, are left out.
    pub headers: &'a [(String, String)],
    /// An HTML form (`application/x-www-form-urlencoded`).
    pub form: Option<&'a str>,
    /// How long the server may be silent, when that is less than usual.
    pub patience: Option<Duration>,
}

impl<'a> Request<'a> {
    /// A plain GET.
    pub fn get(url: &'a Url) -> Self {
        Self {
            url,
            method: Method::Get,
            headers: &[],
            form: None,
            patience: None,
        }
    }

    /// Whether sending it twice does no harm.
    pub(super) fn may_be_repeated(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head)
    }

    /// Head and body; `authorization` is that field's value. `Url`, `Head` and `Login` let no control character through, so
    /// the lines are ours alone.
    pub(super) fn encode(&self, range: Option<ByteRange<'_>>, authorization: Option<&[u8]>) -> Vec<u8> {
        let url = self.url;
        let port = match url.port() {
            80 => String::new(),
            port => format!(":{port}"),
        };
        let range = range
            .map(|ByteRange { from, validator }| format!("Range: bytes={from}-\r\nIf-Range: {validator}\r\n"))
            .unwrap_or_default();
        let mut more: String = self
            .headers
            .iter()
            .filter(|(name, value)| is_token(name) && !value.contains(char::is_control))
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        if let Some(form) = self.form {
            more.push_str(&format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                form.len()
            ));
        } else if !self.may_be_repeated() {
            more.push_str("Content-Length: 0\r\n");
        }
        // A server that compresses all the same is one that stores the file so: what it sends is the file.
        let mut bytes = format!(
            "{} {} HTTP/1.1\r\nHost: {}{port}\r\nUser-Agent: Bramble/{}\r\nAccept: */*\r\n\
             Accept-Encoding: identity\r\nConnection: keep-alive\r\n",
            self.method,
            url.target(),
            url.host(),
            env!("CARGO_PKG_VERSION"),
        )
        .into_bytes();
        if let Some(value) = authorization {
            bytes.extend([b"Authorization: ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(format!("{range}{more}\r\n{}", self.form.unwrap_or_default()).as_bytes());
        bytes
    }
}

/// Whether `name` can be the name of a header field (RFC 9110 §5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// RFC 4648 §4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut triple = [0; 3];
        triple.iter_mut().zip(group).for_each(|(to, from)| *to = *from);
        let [a, b, c] = triple;
        let word = u32::from_be_bytes([0, a, b, c]);
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = ALPHABET
                .get((word >> shift) as usize & 63)
                .filter(|_| i <= group.len());
            text.push(digit.map_or('=', |&digit| char::from(digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(request: &Request<'_>, range: Option<ByteRange<'_>>) -> String {
        String::from_utf8(request.encode(range, None)).unwrap()
    }

    #[test]
    fn forms_and_header_fields() {
        let url = Url::parse("http://h/boot.php").unwrap();
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = Request {
            method: Method::Post,
            headers: &[
                field("X-A", "1"),
                field("bad name", "2"),
                field("X-B", "3\r\nX-C: 4"),
            ],
            form: Some("mac=b8%3A27&x="),
            ..Request::get(&url)
        };
        let sent = text(&request, None);
        assert!(sent.starts_with("POST /boot.php HTTP/1.1\r\n"));
        assert!(sent.contains("\r\nX-A: 1\r\n") && !sent.contains("bad") && !sent.contains("X-C"));
        assert!(sent.ends_with(
            "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 14\r\n\r\nmac=b8%3A27&x="
        ));
        let put = Request {
            method: Method::Put,
            ..Request::get(&url)
        };
        assert!(text(&put, None).ends_with("\r\nContent-Length: 0\r\n\r\n"));
    }

    #[test]
    fn requests() {
        let agent = concat!("User-Agent: Bramble/", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            text(&Request::get(&Url::parse("http://h/a b?c").unwrap()), None),
            format!(
                "GET /a%20b?c HTTP/1.1\r\nHost: h\r\n{agent}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\
                 Connection: keep-alive\r\n\r\n"
            )
        );
        let range = ByteRange {
            from: 7,
            validator: "\"v\"",
        };
        let url = Url::parse("http://Aladdin:open%20sesame@h:8080/").unwrap();
        let text = text(&Request::get(&url), Some(range));
        assert!(text.contains("\r\nHost: h:8080\r\n"));
        assert!(!text.contains("Authorization"), "nobody has asked");
        let asked = Request::get(&url).encode(None, Some(b"Digest \xfc"));
        assert!(asked.ends_with(b"\r\nAuthorization: Digest \xfc\r\n\r\n"));
        assert!(text.ends_with("\r\nRange: bytes=7-\r\nIf-Range: \"v\"\r\n\r\n"));
    }

    /// RFC 4648 §10.
    #[test]
    fn base64_vectors() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
