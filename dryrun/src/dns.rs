//! The gateway's name server (RFC 1035): one question of type A, answered with what the host's resolver knows.

use std::net::{IpAddr, ToSocketAddrs as _};

use smoltcp::wire::Ipv4Address;

/// The most addresses in an answer: they fit into a datagram, and a node tries no more.
const MOST_ADDRESSES: usize = 8;

/// The name in a query, and the bytes of its question.
pub(crate) fn question(query: &[u8]) -> Option<(String, &[u8])> {
    let question = query.get(12..)?;
    let mut labels: Vec<String> = Vec::new();
    let mut at = 0;
    loop {
        let len = usize::from(*question.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        let label = question.get(at..at + len).filter(|_| len < 64)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += len;
    }
    // Type A, class IN.
    let whole = question.get(..at + 4)?;
    (whole.get(at..)? == [0, 1, 0, 1]).then(|| (labels.join("."), whole))
}

/// The IPv4 addresses of `name`; waits for the host's resolver.
pub(crate) fn addresses(name: &str) -> Vec<Ipv4Address> {
    let Ok(found) = (name, 0).to_socket_addrs() else {
        return Vec::new();
    };
    let addresses = found.filter_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    addresses.take(MOST_ADDRESSES).collect()
}

/// Answers `query`; without addresses, NXDOMAIN.
pub(crate) fn answer(query: &[u8], question: &[u8], addresses: &[Ipv4Address]) -> Vec<u8> {
    let code = if addresses.is_empty() { 3 } else { 0 };
    let mut reply = query.get(..2).unwrap_or_default().to_vec();
    for word in [0x8180 | code, 1, addresses.len() as u16, 0, 0] {
        reply.extend(u16::to_be_bytes(word));
    }
    reply.extend(question);
    for address in addresses {
        // The question's name, type A, class IN, a minute.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(address.octets());
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_and_answered() {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(b"\x04boot\x03lab\x00\x00\x01\x00\x01");
        let (name, question) = question(&query).unwrap();
        assert_eq!(name, "boot.lab");
        let reply = answer(&query, question, &[Ipv4Address::new(192, 0, 2, 7)]);
        assert_eq!(reply[..8], [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1]);
        assert!(reply.ends_with(&[0, 4, 192, 0, 2, 7]));
        assert_eq!(answer(&query, question, &[])[3], 0x83);
        assert_eq!(super::question(&query[..20]), None);
    }
}
