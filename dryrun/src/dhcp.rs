//! The gateway's DHCP server (RFC 2131): it has one lease, and gives it to anybody who asks.

use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where the options begin.
const FIXED: usize = 240;
/// BOOTP's shortest message; some clients drop shorter ones.
const SHORTEST: usize = 300;
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// What the server tells the node.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    /// The node's address and the subnet's prefix length.
    pub(crate) address: Ipv4Cidr,
    /// The gateway's address.
    pub(crate) server: Ipv4Address,
    /// `siaddr`.
    pub(crate) next_server: Ipv4Address,
    /// Options by number; of two with one number the first counts. Mask, router and name server are added where they are missing.
    pub(crate) options: Vec<(u8, Vec<u8>)>,
}

impl Lease {
    /// Answers a client's message; `None` when there is nothing to answer.
    pub(crate) fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let options = message.get(FIXED..)?;
        if message.first() != Some(&1) || message.get(236..FIXED)? != COOKIE {
            return None;
        }
        let kind = match kind(options)? {
            DISCOVER => OFFER,
            REQUEST => ACK,
            _ => return None,
        };
        let mut reply = vec![2, 1, 6, 0];
        // The transaction, and the flags; the rest of the header is nought.
        reply.extend(message.get(4..8)?);
        reply.extend([0, 0]);
        reply.extend(message.get(10..12)?);
        reply.extend([0; 4]);
        reply.extend(self.address.address().octets());
        reply.extend(self.next_server.octets());
        reply.extend([0; 4]);
        reply.extend(message.get(28..44)?);
        reply.resize(236, 0);
        reply.extend(COOKIE);
        let server = self.server.octets().to_vec();
        let own = [
            (53, vec![kind]),
            (54, server.clone()),
            (51, 86_400_u32.to_be_bytes().to_vec()),
        ];
        let defaults = [
            (1, self.address.netmask().octets().to_vec()),
            (3, server.clone()),
            (6, server),
        ];
        let given = self.options.iter();
        let defaults = defaults
            .into_iter()
            .filter(|(tag, _)| given.clone().all(|(other, _)| other != tag));
        for (tag, value) in own.into_iter().chain(defaults).chain(given.clone().cloned()) {
            // A long value is several options (RFC 3396).
            for part in value.chunks(255) {
                reply.extend([tag, part.len() as u8]);
                reply.extend(part);
            }
        }
        reply.push(255);
        reply.resize(reply.len().max(SHORTEST), 0);
        Some(reply)
    }
}

/// Option 53.
fn kind(mut options: &[u8]) -> Option<u8> {
    loop {
        match options {
            [0, rest @ ..] => options = rest,
            [53, 1, kind, ..] => return Some(*kind),
            [255, ..] | [] | [_] => return None,
            [_, len, rest @ ..] => options = rest.get(usize::from(*len)..)?,
        }
    }
}
