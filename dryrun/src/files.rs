//! A web server for the directory of a menu that is a local file, on a loopback port that only the gateway uses.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

/// Bytes of a request's head.
const LONGEST_HEAD: u64 = 16 * 1024;

/// Serves `directory` until the process ends.
pub(crate) fn serve(directory: &Path) -> io::Result<SocketAddr> {
    let root = directory.canonicalize()?;
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

/// The path of `name` in a URL.
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
    let file = match method {
        "GET" | "HEAD" => found(root, target),
        _ => None,
    };
    let Some(mut file) = file else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let len = file.metadata()?.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    if method == "GET" {
        io::copy(&mut file, &mut stream)?;
    }
    Ok(())
}

/// The file of that path, when it is in the directory.
fn found(root: &Path, target: &str) -> Option<File> {
    let path = target.split(['?', '#']).next()?;
    let path = root.join(decoded(path)?.trim_start_matches('/'));
    let path: PathBuf = path.canonicalize().ok()?;
    (path.starts_with(root) && fs::metadata(&path).ok()?.is_file()).then(|| File::open(path).ok())?
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
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap();
        assert!(found(&root, "/Cargo.toml?x").is_some());
        assert!(found(&root, "/src/files.rs").is_some());
        assert!(found(&root, "/../Cargo.toml").is_none());
        assert!(found(&root, "/src").is_none());
        assert!(found(&root, "/%zz").is_none());
    }
}
