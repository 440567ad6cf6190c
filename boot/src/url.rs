//! `http` and `tftp` URLs: parsing and reference resolution (RFC 3986), as far as netbooting needs them.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::text::escaped;

/// The longest URL, as given and as sent, in bytes. Web servers take request lines of this length; signed links of object
/// stores with a session's token are half as long.
pub const MAX_LEN: usize = 8192;

/// The longest path that a line for people shows whole. Of a longer one it shows the beginning and the end (D-109).
const MAX_SHOWN_TARGET: usize = 512;
const SHOWN_FIRST: usize = 384;
const SHOWN_LAST: usize = 64;

/// The longest part of a refused text that an error repeats, in characters.
const MAX_SHOWN: usize = 160;

/// The protocol of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP over TCP; port 80 unless written.
    Http,
    /// TFTP over UDP; port 69 unless written (RFC 3617).
    Tftp,
}

impl Scheme {
    fn named(name: &str) -> Option<Self> {
        [Self::Http, Self::Tftp]
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }

    /// The scheme's name in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tftp => "tftp",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Tftp => 69,
        }
    }
}

/// An absolute `http` or `tftp` URL in the form in which it is sent: host in lower case, dot segments removed, no
/// fragment, and everything that RFC 3986 does not allow in a path or query percent-encoded (a space becomes
/// `%20`, a `%` that starts no escape `%25`). Control characters, so CR and LF too, were refused.
///
/// `Display` hides the user information, and so does `Debug`: URLs are printed on consoles. It also leaves the middle of
/// very long ones out; `{:#}` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    /// `user:password` as written, percent-encoded.
    userinfo: Option<Box<str>>,
    host: String,
    port: u16,
    /// Path and query; begins with a slash.
    target: String,
}

/// Why a text is not a URL that can be fetched. Every variant but `TooLong` holds the text, cut to what a
/// console line can show, user information hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Longer than [`MAX_LEN`]: this many bytes.
    TooLong(usize),
    /// A control character, for example a line break.
    Control(String),
    /// A reference where an absolute URL is needed.
    Relative(String),
    /// A scheme other than `http` and `tftp`.
    Scheme(String),
    /// An IPv6 literal as host.
    Ipv6(String),
    /// No host, or one that is neither a DNS name nor an IPv4 address.
    Host(String),
    /// A port that is not 1 to 65535.
    Port(String),
}

impl Url {
    /// Parses an absolute URL.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = checked(text)?;
        let (scheme, rest) = split_scheme(text).ok_or_else(|| Error::Relative(shown(text)))?;
        let scheme = Scheme::named(scheme).ok_or_else(|| Error::Scheme(shown(text)))?;
        Self::from_authority(scheme, text, rest)
    }

    /// The `http` URL of `path` (with or without its leading slash, query allowed) on `host` (`name` or `name:port`).
    pub fn http(host: impl fmt::Display, path: &str) -> Result<Self, Error> {
        Self::on(Scheme::Http, host, path)
    }

    /// As [`Self::http`], with any scheme.
    pub fn on(scheme: Scheme, host: impl fmt::Display, path: &str) -> Result<Self, Error> {
        let slash = if path.starts_with('/') { "" } else { "/" };
        Self::parse(&format!("{}://{host}{slash}{path}", scheme.name()))
    }

    /// Resolves a reference (a full URL, `//host/path`, an absolute path, a relative path or only a query)
    /// against this one (RFC 3986 §5.2).
    ///
    /// Only `scheme://` makes a reference a full URL. The RFC would also read a scheme in `cfg-b8:27:eb`, but
    /// servers do name files after MAC addresses.
    pub fn join(&self, reference: &str) -> Result<Self, Error> {
        let reference = checked(reference)?;
        if split_scheme(reference).is_some() {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::from_authority(self.scheme, reference, rest);
        }
        self.relative(reference)
    }

    /// As [`Self::join`], but `//host/path` is a path on this server, as in iPXE.
    pub fn join_path(&self, reference: &str) -> Result<Self, Error> {
        let reference = checked(reference)?;
        if split_scheme(reference).is_some() {
            return Self::parse(reference);
        }
        self.relative(reference)
    }

    fn relative(&self, reference: &str) -> Result<Self, Error> {
        let (base_path, base_query) = split_query(&self.target);
        let (path, query) = split_query(reference);
        let (path, query) = if path.is_empty() {
            (base_path.to_string(), query.or(base_query))
        } else if path.starts_with('/') {
            (path.to_string(), query)
        } else {
            let directory = base_path.rsplit_once('/').map_or("", |(directory, _)| directory);
            (format!("{directory}/{path}"), query)
        };
        let joined = Self {
            target: target(&path, query),
            ..self.clone()
        };
        joined.bounded()
    }

    /// The protocol.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The DNS name or the dotted IPv4 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP or UDP port; the scheme's own unless written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query as they stand in a request line; begins with a slash.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path alone; begins with a slash.
    pub fn path(&self) -> &str {
        split_query(&self.target).0
    }

    /// The path as TFTP's request names the file: one slash in front taken off, escapes decoded. A query is no part of it.
    pub fn file(&self) -> Vec<u8> {
        let path = self.path();
        percent_decoded(path.strip_prefix('/').unwrap_or(path))
    }

    /// Whether `other` is on the same host and port by the same scheme, so that a connection and credentials serve both.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.port == other.port && self.host == other.host
    }

    /// `user:password` with its escapes decoded, as Basic authentication wants it (RFC 7617).
    pub fn credentials(&self) -> Option<Vec<u8>> {
        let mut credentials = percent_decoded(self.userinfo.as_deref()?);
        if !credentials.contains(&b':') {
            credentials.push(b':');
        }
        Some(credentials)
    }

    /// The whole URL with its password: for scripts, never for a line that people read.
    #[cfg(not(fuzzing))]
    pub(crate) fn whole(&self) -> String {
        self.written()
    }

    /// The whole URL with its password, for the fuzz targets.
    #[cfg(fuzzing)]
    #[doc(hidden)]
    pub fn whole(&self) -> String {
        self.written()
    }

    fn written(&self) -> String {
        let shown = format!("{self:#}");
        match &self.userinfo {
            Some(userinfo) => shown.replacen("***", userinfo, 1),
            None => shown,
        }
    }

    /// This URL with the credentials of `other`, when it has none and is on the same host and port.
    pub(crate) fn or_credentials_of(mut self, other: &Self) -> Self {
        if self.userinfo.is_none() && self.same_origin(other) {
            self.userinfo.clone_from(&other.userinfo);
        }
        self
    }

    /// `rest` is what follows the two slashes of `text`.
    fn from_authority(scheme: Scheme, text: &str, rest: &str) -> Result<Self, Error> {
        let (authority, after) = match rest.find(['/', '?']) {
            Some(end) => rest.split_at_checked(end).unwrap_or((rest, "")),
            None => (rest, ""),
        };
        let (userinfo, host_port) = match authority.rsplit_once('@') {
            Some((userinfo, host_port)) => (Some(userinfo.into()), host_port),
            None => (None, authority),
        };
        if host_port.starts_with('[') {
            return Err(Error::Ipv6(shown(text)));
        }
        let (host, port) = match host_port.split_once(':') {
            None | Some((_, "")) => (host_port.trim_end_matches(':'), scheme.port()),
            Some((host, port)) => {
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                match port.parse() {
                    Ok(port) if digits && port != 0 => (host, port),
                    _ => return Err(Error::Port(shown(text))),
                }
            }
        };
        if !is_host(host) {
            return Err(Error::Host(shown(text)));
        }
        let (path, query) = split_query(after);
        let url = Self {
            scheme,
            userinfo,
            host: host.to_ascii_lowercase(),
            port,
            target: target(path, query),
        };
        url.bounded()
    }

    /// Encoding can lengthen a URL, joining too; as shown and with its password.
    fn bounded(self) -> Result<Self, Error> {
        match format!("{self:#}").len().max(self.written().len()) {
            0..=MAX_LEN => Ok(self),
            len => Err(Error::TooLong(len)),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = if self.userinfo.is_some() { "***@" } else { "" };
        write!(f, "{}://{hidden}{}", self.scheme.name(), self.host)?;
        if self.port != self.scheme.port() {
            write!(f, ":{}", self.port)?;
        }
        let target = &self.target;
        let last = target.len().saturating_sub(SHOWN_LAST);
        match (target.get(..SHOWN_FIRST), target.get(last..)) {
            (Some(begins), Some(ends)) if target.len() > MAX_SHOWN_TARGET && !f.alternate() => {
                write!(f, "{begins}[{} bytes]{ends}", last.saturating_sub(SHOWN_FIRST))
            }
            _ => f.write_str(target),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => write!(f, "a URL of {len} bytes is too long, at most {MAX_LEN}"),
            Self::Control(text) => write!(f, "{text}: a URL cannot hold a control character"),
            Self::Relative(text) => write!(f, "{text}: not a full URL, expected http://..."),
            Self::Scheme(text) => write!(f, "{text}: scheme not supported, only http and tftp"),
            Self::Ipv6(text) => write!(f, "{text}: IPv6 addresses are not supported"),
            Self::Host(text) => write!(f, "{text}: no valid host name or IPv4 address"),
            Self::Port(text) => write!(f, "{text}: the port is not a number from 1 to 65535"),
        }
    }
}

impl core::error::Error for Error {}

/// `text` without its fragment, when short enough and free of control characters.
fn checked(text: &str) -> Result<&str, Error> {
    if text.len() > MAX_LEN {
        return Err(Error::TooLong(text.len()));
    }
    if text.contains(char::is_control) {
        return Err(Error::Control(shown(text)));
    }
    Ok(text.split_once('#').map_or(text, |(before, _)| before))
}

/// `http://rest` → `("http", "rest")`, whatever the scheme.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let rest = rest.strip_prefix("//")?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    valid.then_some((scheme, rest))
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

/// The request target: dot segments removed, encoded.
fn target(path: &str, query: Option<&str>) -> String {
    let mut target = String::new();
    encode(&remove_dot_segments(path), &mut target);
    if let Some(query) = query {
        target.push('?');
        encode(query, &mut target);
    }
    target
}

/// RFC 3986 §5.2.4, for paths that begin with a slash or are empty; `..` above the root stays at the root.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            name => {
                kept.push(name);
                continue;
            }
        }
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// Appends `text` with every byte escaped that a path or query may not hold as it is.
fn encode(text: &str, into: &mut String) {
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escape = || {
            let mut ahead = rest.clone();
            [ahead.next(), ahead.next()]
                .iter()
                .all(|b| b.is_some_and(|b| b.is_ascii_hexdigit()))
        };
        match byte {
            b'%' if escape() => into.push('%'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => into.push(char::from(byte)),
            _ if b"-._~!$&'()*+,;=:@/?".contains(&byte) => into.push(char::from(byte)),
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escape = tail
            .split_at_checked(2)
            .filter(|_| first == b'%')
            .and_then(|(digits, after)| Some((hex(digits)?, after)));
        let (byte, after) = escape.unwrap_or((first, tail));
        decoded.push(byte);
        rest = after;
    }
    decoded
}

fn hex(digits: &[u8]) -> Option<u8> {
    // `from_str_radix` would take a sign.
    let digits = core::str::from_utf8(digits).ok()?;
    u8::from_str_radix(digits, 16)
        .ok()
        .filter(|_| !digits.starts_with('+'))
}

/// A DNS name (RFC 1123, and the underscore that internal names hold) or, when its last label is a number, an
/// IPv4 address.
pub(crate) fn is_host(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let labels_fit = name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        });
    let numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    labels_fit && (!numeric || host.parse::<core::net::Ipv4Addr>().is_ok())
}

/// `text`, which is meant as a URL, with its user information hidden: passwords are not for consoles. The log's `Clean` sees it in any
/// text, and so needs its `//`; here it is hidden in `user:password@host/file`, too.
pub(crate) fn without_userinfo(text: &str) -> String {
    let after_slashes = text
        .split_once('/')
        .and_then(|(scheme, rest)| Some((scheme, rest.strip_prefix('/')?)));
    let (scheme, rest) = match after_slashes {
        Some((scheme, rest)) => (format!("{scheme}//"), rest),
        None => (String::new(), text),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((userinfo, _)) => {
            let after = rest.strip_prefix(userinfo).unwrap_or(rest);
            format!("{scheme}***{after}")
        }
        None => text.to_string(),
    }
}

/// A refused text for an error: shortened, user information hidden, control characters visible.
fn shown(text: &str) -> String {
    escaped(&without_userinfo(text), MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, reference: &str) -> String {
        Url::parse(base).unwrap().join(reference).unwrap().to_string()
    }

    #[test]
    fn parts() {
        let url = Url::parse("HTTP://me:p%40ss@Boot.Example:8080/a/b?c=d/e#f").unwrap();
        assert_eq!((url.host(), url.port()), ("boot.example", 8080));
        assert_eq!((url.target(), url.path()), ("/a/b?c=d/e", "/a/b"));
        assert_eq!(url.credentials().unwrap(), b"me:p@ss");
        assert_eq!(url.to_string(), "http://***@boot.example:8080/a/b?c=d/e");
        assert_eq!(format!("{url:?}"), "Url(http://***@boot.example:8080/a/b?c=d/e)");
        let plain = Url::parse("http://10.0.2.2").unwrap();
        assert_eq!(
            (plain.port(), plain.target(), plain.credentials()),
            (80, "/", None)
        );
        assert_eq!(Url::parse("http://a:/?x").unwrap().to_string(), "http://a/?x");
        assert_eq!(Url::parse("http://u@a/").unwrap().credentials().unwrap(), b"u:");
        assert_eq!(
            Url::parse("http://u%4:%+1@a/").unwrap().credentials().unwrap(),
            b"u%4:%+1"
        );
        let built = Url::http("10.0.2.2:81", "pxelinux.cfg/default").unwrap();
        assert_eq!(built.to_string(), "http://10.0.2.2:81/pxelinux.cfg/default");
        assert_eq!(Url::http("a", "/x").unwrap().to_string(), "http://a/x");
    }

    #[test]
    fn tftp_names_its_files_without_the_first_slash() {
        let url = Url::parse("TFTP://10.0.0.1/pi/menu%20a.cfg?x=1").unwrap();
        assert_eq!((url.scheme(), url.port()), (Scheme::Tftp, 69));
        assert_eq!(url.file(), b"pi/menu a.cfg");
        assert_eq!(url.to_string(), "tftp://10.0.0.1/pi/menu%20a.cfg?x=1");
        assert_eq!(joined("tftp://srv:6969/a/b", "c"), "tftp://srv:6969/a/c");
        assert_eq!(joined("tftp://srv:6969/a/b", "//other/c"), "tftp://other/c");
        let path = |reference| {
            Url::parse("http://u@h:81/a/b")
                .unwrap()
                .join_path(reference)
                .unwrap()
                .whole()
        };
        assert_eq!(path("//other/c?d#e"), "http://u@h:81//other/c?d");
        assert_eq!(
            (path("c"), path("http://o/c")),
            ("http://u@h:81/a/c".into(), "http://o/c".into())
        );
        assert_eq!(joined("tftp://srv/a/b", "http://srv/c"), "http://srv/c");
        let root = Url::on(Scheme::Tftp, "10.0.0.1", "/").unwrap();
        assert_eq!(root.join("/initrd").unwrap().file(), b"initrd");
        assert_eq!(Url::parse("tftp://a//srv/tftp/x").unwrap().file(), b"/srv/tftp/x");
        assert!(!url.same_origin(&Url::parse("http://10.0.0.1:69/").unwrap()));
        assert_eq!(Url::parse("tftp://a:80/").unwrap().to_string(), "tftp://a:80/");
    }

    /// RFC 3986 §5.4.1 and §5.4.2, as far as they have an authority.
    #[test]
    fn references_of_the_rfc() {
        for (reference, expected) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            ("g?y#s", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            ("g;x?y#s", "/b/c/g;x?y"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("../../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            (".g", "/b/c/.g"),
            ("g..", "/b/c/g.."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"),
            ("./g/.", "/b/c/g/"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/./y", "/b/c/g;x=1/y"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/../x", "/b/c/g?y/../x"),
        ] {
            assert_eq!(
                joined("http://a/b/c/d;p?q", reference),
                format!("http://a{expected}"),
                "{reference}"
            );
        }
        assert_eq!(joined("http://a/b/c/d;p?q", "//g"), "http://g/");
        assert_eq!(joined("http://a/b/c/d;p?q", "http://g:8/x"), "http://g:8/x");
    }

    #[test]
    fn references_in_menus() {
        let base = "http://u:p@srv:81/pxe/pxelinux.cfg/default";
        assert_eq!(
            joined(base, "vmlinuz"),
            "http://***@srv:81/pxe/pxelinux.cfg/vmlinuz"
        );
        assert_eq!(
            joined(base, "/cfg-b8:27:eb:0:1:2"),
            "http://***@srv:81/cfg-b8:27:eb:0:1:2"
        );
        assert_eq!(joined("http://a/x/y", "cfg-b8:27:eb"), "http://a/x/cfg-b8:27:eb");
        assert_eq!(joined("http://a", "b"), "http://a/b");
        assert_eq!(
            joined("http://a/b", "c?u=http://d/../e"),
            "http://a/c?u=http://d/../e"
        );
        let other = Url::parse(base).unwrap().join("http://other/x").unwrap();
        assert_eq!(
            other.credentials(),
            None,
            "credentials must not leave for another host"
        );
    }

    #[test]
    fn credentials_follow_only_on_the_same_host_and_port() {
        let from = Url::parse("http://u:p@a/x").unwrap();
        let follow = |to: &str| Url::parse(to).unwrap().or_credentials_of(&from).credentials();
        assert_eq!(follow("http://a/y"), Some(b"u:p".to_vec()));
        assert_eq!(follow("http://v:q@a/y"), Some(b"v:q".to_vec()));
        assert_eq!(follow("http://b/y"), None);
        assert_eq!(follow("http://a:81/y"), None);
    }

    #[test]
    fn what_a_path_cannot_hold_is_encoded_once() {
        let url = Url::parse("http://a/b c\\d\"é%41%4%?<[x]>").unwrap();
        assert_eq!(url.target(), "/b%20c%5Cd%22%C3%A9%41%254%25?%3C%5Bx%5D%3E");
        assert_eq!(Url::parse(&url.to_string()).unwrap(), url);
        assert!(url.target().bytes().all(|b| b.is_ascii_graphic()));
    }

    #[test]
    fn refused() {
        use Error::*;
        for (text, error) in [
            ("http://a/\r\nX: y", Control(String::new())),
            ("http://a/\0", Control(String::new())),
            ("http://a\t/", Control(String::new())),
            ("/path", Relative(String::new())),
            ("", Relative(String::new())),
            ("a:b", Relative(String::new())),
            ("://a/", Relative(String::new())),
            ("https://a/b", Scheme(String::new())),
            ("ftp://a/b", Scheme(String::new())),
            ("tftps://a/b", Scheme(String::new())),
            ("http://[::1]/", Ipv6(String::new())),
            ("http://u@[fe80::1]:80/", Ipv6(String::new())),
            ("http:///x", Host(String::new())),
            ("http://u@/x", Host(String::new())),
            ("http://a b/", Host(String::new())),
            ("http://a..b/", Host(String::new())),
            ("http://1.2.3.256/", Host(String::new())),
            ("http://1.2.3/", Host(String::new())),
            ("http://é/", Host(String::new())),
            ("http://a:0/", Port(String::new())),
            ("http://a:65536/", Port(String::new())),
            ("http://a:+80/", Port(String::new())),
            ("http://a:80:81/", Port(String::new())),
            (&format!("http://a/{}", "x".repeat(MAX_LEN)), TooLong(0)),
        ] {
            let got = Url::parse(text).unwrap_err();
            assert_eq!(
                core::mem::discriminant(&got),
                core::mem::discriminant(&error),
                "{text:?}: {got}"
            );
        }
    }

    #[test]
    fn a_host_is_an_address_only_when_its_last_label_is_a_number() {
        for host in ["0.pool.example.org", "1.2.3.4.example", "192-168.lan", "7.a."] {
            assert_eq!(Url::parse(&format!("http://{host}/")).unwrap().host(), host);
        }
        for host in ["pool.0", "a.1.2.3", "example.7."] {
            let refused = Url::parse(&format!("http://{host}/")).unwrap_err();
            assert!(matches!(refused, Error::Host(_)), "{host}: {refused}");
        }
    }

    #[test]
    fn a_host_s_name_and_its_labels_are_as_long_as_the_dns_lets_them_be() {
        let labels = |lens: &[usize]| -> String {
            let labels: Vec<String> = lens.iter().map(|len| "a".repeat(*len)).collect();
            labels.join(".")
        };
        // RFC 1035 §2.3.4: 63 in a label, 253 in a name as it is written; a dot at its end does not count.
        for (lens, fits) in [
            (&[63, 63, 63, 61][..], true),
            (&[63, 63, 63, 62], false),
            (&[63], true),
            (&[64], false),
            (&[1, 0, 1], false),
            (&[0], false),
        ] {
            let name = labels(lens);
            assert_eq!(is_host(&name), fits, "{lens:?}");
            assert_eq!(is_host(&format!("{name}.")), fits, "{lens:?} and a dot");
        }
    }

    #[test]
    fn a_password_counts_for_the_bound() {
        let blanks = " ".repeat(2722);
        let whole =
            |user: &str| Url::parse(&format!("http://{user}@host/{blanks}")).map(|url| url.whole().len());
        assert_eq!(whole("a:b"), Ok(7 + 4 + 5 + 3 * 2722));
        assert_eq!(whole(&"a".repeat(13)), Ok(MAX_LEN));
        assert_eq!(whole(&"a".repeat(14)), Err(Error::TooLong(MAX_LEN + 1)));
    }

    #[test]
    fn error_lines_name_the_url_and_hide_the_password() {
        let line = |text: &str| Url::parse(text).unwrap_err().to_string();
        assert_eq!(
            line("https://me:secret@b.example/x"),
            "https://***@b.example/x: scheme not supported, only http and tftp"
        );
        assert_eq!(
            line("http://me:sec@ret@b:0/@x"),
            "http://***@b:0/@x: the port is not a number from 1 to 65535"
        );
        assert_eq!(
            line("http://a/\r\nEvil: 1"),
            "http://a/\\r\\nEvil: 1: a URL cannot hold a control character"
        );
        assert_eq!(
            line(&format!("http://a/{}", "x".repeat(MAX_LEN))),
            "a URL of 8201 bytes is too long, at most 8192"
        );
        assert!(line(&format!("{}\n", "y".repeat(2000))).len() < 300);
    }

    #[test]
    fn length_is_bounded_after_encoding_and_joining() {
        let spaces = format!("http://a/{}", " ".repeat(3000));
        assert_eq!(Url::parse(&spaces), Err(Error::TooLong(9009)));
        let deep = Url::parse(&format!("http://a/{}/", "d".repeat(7500))).unwrap();
        assert_eq!(deep.join(&"e".repeat(1000)), Err(Error::TooLong(8510)));
        let full = format!("http://a/{}", "x".repeat(MAX_LEN - 9));
        assert_eq!(format!("{:#}", Url::parse(&full).unwrap()), full);
    }

    /// A signed link is not a screenful in each line that names it.
    #[test]
    fn very_long_ones_are_shown_in_part_and_kept_whole() {
        let signed = format!("http://me:secret@store/kernel?{}end", "s".repeat(5000));
        let url = Url::parse(&signed).unwrap();
        let shown = url.to_string();
        assert!(
            shown.starts_with("http://***@store/kernel?sss") && shown.ends_with("ssend"),
            "{shown}"
        );
        assert!(shown.contains("[4563 bytes]") && shown.len() < 500, "{shown}");
        assert_eq!(url.whole(), signed);
        assert_eq!(url.target().len(), 5011);
        let just = format!("http://a/{}", "x".repeat(MAX_SHOWN_TARGET - 1));
        assert_eq!(Url::parse(&just).unwrap().to_string(), just);
    }

    /// Every single-byte change and truncation of a rich URL: an error, or a URL safe to put on a request line
    /// that parses to itself.
    #[test]
    fn mutations_never_reach_a_request_line() {
        let golden = "http://u:p@h.example:8080/a/../b%20c/./d?e=f&g#h";
        let base = Url::parse("http://base/x/y?z").unwrap();
        let check = |text: &str| {
            for url in [Url::parse(text), base.join(text)].into_iter().flatten() {
                assert!(url.target().starts_with('/'), "{text:?}");
                assert!(url.target().bytes().all(|b| b.is_ascii_graphic()), "{text:?}");
                assert!(url.host().bytes().all(|b| b.is_ascii_graphic()), "{text:?}");
                assert!(url.port() != 0);
                assert!(!url.path().split('/').any(|s| s == ".."), "{text:?}");
                let mut bare = url.clone();
                bare.userinfo = None;
                assert_eq!(Url::parse(&bare.to_string()).as_ref(), Ok(&bare), "{text:?}");
            }
        };
        for end in 0..=golden.len() {
            check(golden.get(..end).unwrap());
        }
        for at in 0..golden.len() {
            for byte in 0..128_u8 {
                let mut text = golden.as_bytes().to_vec();
                text[at] = byte;
                check(core::str::from_utf8(&text).unwrap());
            }
        }
    }
}
