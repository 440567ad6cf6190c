//! A web server for a directory, on a loopback port that only the gateway uses.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use crate::files::{self, Missing};

/// The longest head of a request, in bytes.
const LONGEST_HEAD: u64 = 16 * 1024;

/// Serves `root` until the process ends.
pub(crate) fn serve(root: PathBuf) -> io::Result<SocketAddr> {
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
        ("GET" | "HEAD", Some(path)) => files::found(root, &path),
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
    fn names_survive_a_url() {
        let name = "menu für alle.ipxe";
        assert_eq!(decoded(&encoded(name)).unwrap(), format!("/{name}"));
        assert_eq!(decoded("/%zz"), None);
    }
}
