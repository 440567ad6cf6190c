//! A TFTP server (RFC 1350; options of RFC 2347, 2348 and 2349) for one node that reads one file at a time. The wire loses
//! nothing, so the server repeats nothing.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use crate::files::{self, Missing};
use crate::frames::Datagram;

/// The port for requests.
const PORT: u16 = 69;
/// The block size without options, the smallest (RFC 2348), and the largest that fits into a frame.
const PLAIN_BLOCK: usize = 512;
const LEAST_BLOCK: usize = 8;
const LONGEST_BLOCK: usize = 1468;

const READ: u16 = 1;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS: u16 = 6;

const NOT_DEFINED: u16 = 0;
const NOT_FOUND: u16 = 1;
const NO_ACCESS: u16 = 2;
const ILLEGAL: u16 = 4;

/// The server.
pub(crate) struct Server {
    root: PathBuf,
    transfer: Option<Transfer>,
}

/// One read.
struct Transfer {
    /// The port of the conversation: the node's, and also ours.
    port: u16,
    file: File,
    block: usize,
    /// The number of the last block that was sent; 0 is the answer to options.
    number: u16,
    /// Whether another block follows.
    more: bool,
}

/// Whether a datagram is for this server: a request, or one whose destination port equals its source port.
pub(crate) fn is_for(datagram: &Datagram) -> bool {
    datagram.to.1 == PORT || datagram.to.1 == datagram.from.1
}

impl Server {
    /// Serves `root`, an absolute path without links in it.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, transfer: None }
    }

    /// Answers a datagram that is for this server.
    pub(crate) fn hear(&mut self, datagram: &Datagram) -> Option<Datagram> {
        let (opcode, rest) = word(&datagram.payload)?;
        let payload = match (datagram.to.1, opcode) {
            (PORT, READ) => self
                .open(datagram.from.1, rest)
                .unwrap_or_else(|(code, text)| packet(ERROR, code, format!("{text}\0").as_bytes())),
            (PORT, _) => return None,
            (port, ACK) => {
                let (number, _) = word(rest)?;
                let transfer = self.transfer.as_mut().filter(|transfer| transfer.port == port)?;
                if transfer.number != number || !transfer.more {
                    return None;
                }
                transfer.block()
            }
            // An error packet ends the read.
            _ => {
                self.transfer = None;
                return None;
            }
        };
        Some(Datagram {
            from: (datagram.to.0, datagram.from.1),
            to: datagram.from,
            payload,
        })
    }

    /// Begins a read, which replaces the last one, and returns its first packet.
    fn open(&mut self, port: u16, request: &[u8]) -> Result<Vec<u8>, (u16, String)> {
        let texts: Vec<_> = request
            .split(|byte| *byte == 0)
            .map(String::from_utf8_lossy)
            .collect();
        let [name, mode, options @ ..] = &texts[..] else {
            return Err((ILLEGAL, "no name and mode".into()));
        };
        if !mode.eq_ignore_ascii_case("octet") {
            return Err((ILLEGAL, "octets only".into()));
        }
        let failed = |error: io::Error| (NOT_DEFINED, error.to_string());
        let file = files::found(&self.root, name).map_err(|missing| match missing {
            Missing::Absent => (NOT_FOUND, String::new()),
            Missing::Refused => (NO_ACCESS, "out of the tree, or not to be read".into()),
        })?;
        let len = file.metadata().map_err(failed)?.len();
        let mut transfer = Transfer {
            port,
            file,
            block: PLAIN_BLOCK,
            number: 0,
            more: true,
        };
        let mut agreed = String::new();
        for pair in options.chunks_exact(2) {
            let [option, value] = pair else { continue };
            match (&*option.to_ascii_lowercase(), value.parse()) {
                ("blksize", Ok(asked @ LEAST_BLOCK..)) => {
                    transfer.block = asked.min(LONGEST_BLOCK);
                    agreed += &format!("blksize\0{}\0", transfer.block);
                }
                ("tsize", _) => agreed += &format!("tsize\0{len}\0"),
                _ => {}
            }
        }
        let first = match agreed.is_empty() {
            true => transfer.block(),
            false => [&OPTIONS.to_be_bytes(), agreed.as_bytes()].concat(),
        };
        self.transfer = Some(transfer);
        Ok(first)
    }
}

impl Transfer {
    /// The next block. Numbers start over after 65535.
    fn block(&mut self) -> Vec<u8> {
        self.number = self.number.wrapping_add(1);
        let mut data = Vec::new();
        if let Err(error) = (&self.file).take(self.block as u64).read_to_end(&mut data) {
            self.more = false;
            return packet(ERROR, NOT_DEFINED, format!("{error}\0").as_bytes());
        }
        self.more = data.len() == self.block;
        packet(DATA, self.number, &data)
    }
}

fn packet(opcode: u16, number: u16, rest: &[u8]) -> Vec<u8> {
    [&opcode.to_be_bytes()[..], &number.to_be_bytes(), rest].concat()
}

/// The first two bytes as a number, and the rest.
fn word(packet: &[u8]) -> Option<(u16, &[u8])> {
    let (word, rest) = packet.split_first_chunk()?;
    Some((u16::from_be_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::Ipv4Address;

    use super::*;

    /// What a server of this crate's sources answers, and the port that the answer is from.
    fn asked(server: &mut Server, to: u16, payload: &[u8]) -> Option<(u16, Vec<u8>)> {
        let datagram = Datagram {
            from: (Ipv4Address::new(10, 0, 2, 15), 50_000),
            to: (Ipv4Address::new(10, 0, 2, 2), to),
            payload: payload.to_vec(),
        };
        assert!(is_for(&datagram));
        let answer = server.hear(&datagram)?;
        assert_eq!((answer.from.0, answer.to), (datagram.to.0, datagram.from));
        Some((answer.from.1, answer.payload))
    }

    fn server() -> Server {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        Server::new(root.canonicalize().unwrap())
    }

    #[test]
    fn a_file_comes_whole_with_options_and_without() {
        let whole = std::fs::read(server().root.join("src/gateway.rs")).unwrap();
        for (options, block) in [
            ("", 512),
            ("blksize\x005000\0", 1468),
            ("x\0y\0BLKSIZE\08\0", 8),
            ("tsize\x000\0", 512),
            // Not a size of blocks.
            ("blksize\x007\0", 512),
        ] {
            let mut server = server();
            let request = format!("\0\x01/src/gateway.rs\0OCTET\0{options}");
            let (port, mut packet) = asked(&mut server, PORT, request.as_bytes()).unwrap();
            let len = whole.len();
            let expected = match options {
                "" | "blksize\x007\0" => None,
                "tsize\x000\0" => Some(format!("\0\x06tsize\0{len}\0")),
                _ => Some(format!("\0\x06blksize\0{block}\0")),
            };
            if let Some(expected) = expected {
                assert_eq!(packet, expected.as_bytes());
                packet = asked(&mut server, port, &[0, 4, 0, 0]).unwrap().1;
            }
            let mut came: Vec<u8> = Vec::new();
            let mut number = 1_u16;
            loop {
                let start = [[0, 3], number.to_be_bytes()].concat();
                assert_eq!(packet[..4], start[..]);
                came.extend(&packet[4..]);
                assert_eq!(asked(&mut server, port, &[0, 4, 0xff, 0xff]), None);
                let acknowledgement = [[0, 4], number.to_be_bytes()].concat();
                let Some(next) = asked(&mut server, port, &acknowledgement) else {
                    break;
                };
                assert_eq!(packet.len() - 4, block);
                (packet, number) = (next.1, number + 1);
            }
            assert_eq!(came, whole, "{options:?}");
        }
    }

    #[test]
    fn what_is_refused_and_what_is_not_there() {
        for (request, code) in [
            ("\0\x01src/nothing\0octet\0", 1),
            ("\0\x01src\0octet\0", 1),
            ("\0\x01Cargo.toml/x\0octet\0", 1),
            ("\0\x01../Cargo.toml\0octet\0", 2),
            ("\0\x01src/../../Cargo.toml\0octet\0tsize\x000\0", 2),
            ("\0\x01Cargo.toml\0netascii\0", 4),
            ("\0\x01Cargo.toml", 4),
        ] {
            let (_, answer) = asked(&mut server(), PORT, request.as_bytes()).unwrap();
            assert_eq!(answer[..4], [0, 5, 0, code], "{request:?}");
            assert_eq!(answer.last(), Some(&0));
        }
        // A write, an error, half a word.
        for packet in [&b"\0\x02x\0octet\0"[..], b"\0\x05\0\0\0", b"\0"] {
            assert_eq!(asked(&mut server(), PORT, packet), None);
        }
    }

    #[test]
    fn a_node_that_has_heard_enough_is_told_no_more() {
        let mut server = server();
        let request = b"\0\x01src/gateway.rs\0octet\0tsize\x000\0";
        let (port, _) = asked(&mut server, PORT, request).unwrap();
        assert_eq!(asked(&mut server, port, b"\0\x05\0\0enough\0"), None);
        assert_eq!(asked(&mut server, port, &[0, 4, 0, 0]), None);
    }
}
