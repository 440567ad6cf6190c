//! The head of an HTTP request (RFC 9112 §3), with Basic authentication (RFC 7617) and ranges (RFC 9110 §14).

use alloc::format;
use alloc::string::String;

use crate::url::Url;

/// The part of a file that an interrupted download still lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest<'a> {
    /// The first byte wanted.
    pub(super) from: u64,
    /// The entity tag or date of the bytes that we have; with another one the server sends the whole file.
    pub(super) validator: &'a str,
}

/// A GET for `url`. `Url` and `Head` let no control character through, so the lines are ours alone.
pub(super) fn get(url: &Url, rest: Option<Rest<'_>>) -> String {
    let port = match url.port() {
        80 => String::new(),
        port => format!(":{port}"),
    };
    let authorization = url
        .credentials()
        .map(|credentials| format!("Authorization: Basic {}\r\n", base64(&credentials)))
        .unwrap_or_default();
    let range = rest
        .map(|Rest { from, validator }| format!("Range: bytes={from}-\r\nIf-Range: {validator}\r\n"))
        .unwrap_or_default();
    // A server that compresses all the same is one that stores the file so: what it sends is the file.
    format!(
        "GET {} HTTP/1.1\r\nHost: {}{port}\r\nUser-Agent: Bramble/{}\r\nAccept: */*\r\n\
         Accept-Encoding: identity\r\nConnection: keep-alive\r\n{authorization}{range}\r\n",
        url.target(),
        url.host(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
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

    #[test]
    fn requests() {
        let agent = concat!("User-Agent: Bramble/", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            get(&Url::parse("http://h/a b?c").unwrap(), None),
            format!(
                "GET /a%20b?c HTTP/1.1\r\nHost: h\r\n{agent}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\
                 Connection: keep-alive\r\n\r\n"
            )
        );
        let rest = Rest {
            from: 7,
            validator: "\"v\"",
        };
        let text = get(
            &Url::parse("http://Aladdin:open%20sesame@h:8080/").unwrap(),
            Some(rest),
        );
        assert!(text.contains("\r\nHost: h:8080\r\n"));
        assert!(text.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
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
