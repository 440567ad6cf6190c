//! A local directory as a boot server: which file a path names, and a web server for it on a loopback port that only the
//! gateway uses.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::thread;

use smoltcp::wire::Ipv4Address;

use crate::tftp;

/// The longest head of a request, in bytes.
const LONGEST_HEAD: u64 = 16 * 1024;

/// The protocols that serve a directory, and their address. A connection to any other port there is refused.
pub(crate) struct Site {
    pub(crate) address: Ipv4Address,
    pub(crate) web: Option<SocketAddr>,
    pub(crate) tftp: Option<tftp::Server>,
}

/// Why there is no file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Absent,
    /// The path leads out of the directory, or the file may not be read.
    Refused,
}

impl Site {
    /// Serves `directory` at `address`.
    pub(crate) fn new(directory: &Path, address: Ipv4Address, web: bool, tftp: bool) -> io::Result<Self> {
        let root = directory.canonicalize()?;
        Ok(Self {
            address,
            web: web.then(|| serve(root.clone())).transpose()?,
            tftp: tftp.then(|| tftp::Server::new(root)),
        })
    }
}

/// Serves `root` until the process ends.
fn serve(root: PathBuf) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            // A node that goes away in the middle is no fault.
            thread::spawn(move || answer(&stream, &root));
        }
    });
    Ok(address)
}

/// `name` as the path of a URL.
pub(crate) fn encoded(name: &str) -> String {
    let mut text = String::from("/");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn answer(mut stream: &TcpStream, root: &Path) -> io::Result<()> {
    let mut lines = BufReader::new(io::Read::take(stream, LONGEST_HEAD)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(['?', '#']).next().and_then(decoded);
    let file = match (method, path) {
        ("GET" | "HEAD", Some(path)) => found(root, &path),
        _ => Err(Missing::Absent),
    };
    let mut file = match file {
        Ok(file) => file,
        Err(missing) => {
            let status = match missing {
                Missing::Absent => "404 Not Found",
                Missing::Refused => "403 Forbidden",
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return stream.write_all(head.as_bytes());
        }
    };
    let len = file.metadata()?.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    if method == "GET" {
        io::copy(&mut file, &mut stream)?;
    }
    Ok(())
}

/// Opens the file at this path below `root`, an absolute path without links. The target of a link must be below `root`, too.
pub(crate) fn found(root: &Path, path: &str) -> Result<File, Missing> {
    let path = Path::new(path.trim_start_matches('/'));
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Missing::Refused);
    }
    let missing = |error: io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Missing::Absent,
        _ => Missing::Refused,
    };
    // A link that leads out is refused alike whether its target exists or not.
    let nearest = path
        .ancestors()
        .find_map(|part| root.join(part).canonicalize().ok());
    if !nearest.is_some_and(|nearest| nearest.starts_with(root)) {
        return Err(Missing::Refused);
    }
    let path = root.join(path).canonicalize().map_err(missing)?;
    // A pipe would never end, and a directory is no file.
    match path.is_file() {
        true => File::open(path).map_err(missing),
        false => Err(Missing::Absent),
    }
}

fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_url_and_nothing_outside_is_found() {
        let name = "menu für alle.ipxe";
        assert_eq!(decoded(&encoded(name)).unwrap(), format!("/{name}"));
        assert_eq!(decoded("/%zz"), None);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap();
        for (path, missing) in [
            ("/Cargo.toml", None),
            ("src/files.rs", None),
            ("//src/files.rs", None),
            ("/src", Some(Missing::Absent)),
            ("/src/nothing", Some(Missing::Absent)),
            ("/Cargo.toml/x", Some(Missing::Absent)),
            ("/../Cargo.toml", Some(Missing::Refused)),
            ("/src/../../nothing", Some(Missing::Refused)),
        ] {
            assert_eq!(found(&root, path).err(), missing, "{path}");
        }
    }
}
