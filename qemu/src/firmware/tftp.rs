//! The stage's TFTP: octet, `tsize` and `blksize` or no options at all, looks that end in an error of the client's.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::files::Files;
use super::host::Host;
use super::order::Program;

/// How long one packet is waited for before the last one is sent again (U), and a file in all (DOC: TFTP_FILE_TIMEOUT).
const PACKET: Duration = Duration::from_secs(1);
const FILE: Duration = Duration::from_secs(30);

/// What a server sends in a block without options.
const CLASSIC: usize = 512;

/// One program's client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) host: Host,
    pub(crate) server: Ipv4Addr,
    /// The block size that is asked for, with `tsize`; else there are no options.
    pub(crate) block_size: Option<u16>,
    /// Whether block 0 may follow block 65535: not before September 2025 on a Pi 4, and not on a Pi 3 (M, R#720).
    pub(crate) rolls_over: bool,
    /// The port of the next request.
    pub(crate) port: u16,
}

const DATA: u16 = 3;
const ERROR: u16 = 5;
const OACK: u16 = 6;

impl Client {
    /// The file, or nothing when the server says that there is none; of a look no bytes.
    ///
    /// # Errors
    ///
    /// When the server is silent, or says something else.
    fn transfer(&mut self, path: &str, look: bool) -> Result<Option<Vec<u8>>> {
        let mut request = vec![0, 1];
        for word in [path, "octet"] {
            request.extend(word.bytes());
            request.push(0);
        }
        if let Some(size) = self.block_size {
            for word in ["tsize", "0", "blksize", &size.to_string()] {
                request.extend(word.bytes());
                request.push(0);
            }
        }
        let mut block_size = CLASSIC;
        let mut peer = (self.server, 69);
        let mut last = request;
        let mut next = 1_u16;
        let mut file = vec![];
        let end = Instant::now() + FILE;
        loop {
            self.host.send(self.port, peer, &last)?;
            let patience = (Instant::now() + PACKET).min(end);
            let datagram = loop {
                match self.host.receive(self.port, patience)? {
                    // The server answers from a port of its own, and stays there.
                    Some(datagram)
                        if datagram.from.0 == self.server && (peer.1 == 69 || datagram.from == peer) =>
                    {
                        break Some(datagram);
                    }
                    Some(_) => {}
                    None => break None,
                }
            };
            ensure!(Instant::now() < end, "no end after {} s", FILE.as_secs());
            let Some(datagram) = datagram else { continue };
            peer = datagram.from;
            let word = |at: usize| {
                let pair = datagram.bytes.get(at..at + 2)?;
                Some(u16::from_be_bytes(pair.try_into().ok()?))
            };
            match word(0) {
                Some(ERROR) if word(2) == Some(1) => return Ok(None),
                Some(ERROR) => bail!(
                    "{}",
                    String::from_utf8_lossy(datagram.bytes.get(4..).unwrap_or_default())
                ),
                Some(OACK | DATA) if look => {
                    // What servers log as "early terminate" (E).
                    self.host.send(self.port, peer, b"\0\x05\0\0early terminate\0")?;
                    return Ok(Some(vec![]));
                }
                Some(OACK) if next == 1 => {
                    block_size = agreed(datagram.bytes.get(2..).unwrap_or_default()).unwrap_or(CLASSIC);
                    last = vec![0, 4, 0, 0];
                }
                Some(DATA) if word(2) == Some(next) => {
                    let data = datagram.bytes.get(4..).unwrap_or_default();
                    file.extend(data);
                    last = [&[0, 4][..], &next.to_be_bytes()].concat();
                    if data.len() < block_size {
                        self.host.send(self.port, peer, &last)?;
                        return Ok(Some(file));
                    }
                    next = match next.checked_add(1) {
                        Some(next) => next,
                        None if self.rolls_over => 0,
                        None => bail!("more than 65535 blocks"),
                    };
                }
                // An earlier block again: its acknowledgement is sent again.
                _ => {}
            }
        }
    }
}

impl Files for Client {
    fn on_a_network(&self) -> bool {
        true
    }

    fn program(&mut self, program: &Program) {
        self.block_size = program.block_size;
        // A ROM does not answer ARP (M); what it starts does.
        self.host.answers = program.block_size.is_some();
    }

    fn get(&mut self, path: &str, look: bool) -> Result<Option<Vec<u8>>> {
        self.port = self.port.checked_add(1).unwrap_or(49152);
        self.transfer(path, look).with_context(|| format!("tftp: {path}"))
    }
}

/// The block size that an option acknowledgement grants.
fn agreed(options: &[u8]) -> Option<usize> {
    let words: Vec<&[u8]> = options.split(|byte| *byte == 0).collect();
    let pair = words
        .as_chunks::<2>()
        .0
        .iter()
        .find(|[name, _]| name.eq_ignore_ascii_case(b"blksize"))?;
    std::str::from_utf8(pair[1]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_size_is_what_the_server_grants() {
        assert_eq!(agreed(b"tsize\x007\0blksize\x001024\0"), Some(1024));
        assert_eq!(agreed(b"BLKSIZE\x00512\0"), Some(512));
        assert_eq!(agreed(b"tsize\x007\0"), None);
    }
}
