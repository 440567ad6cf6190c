//! A NIC without its type: what the poll loop asks of it, in one indirect call for a batch of frames.

use alloc::vec::Vec;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, PacketMeta, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::lease::Client;
use crate::vlan::{self, Tag};

/// Frames taken in before anything is sent or looked at again: one acknowledgement answers them all, and a flood
/// cannot keep the loop from its deadlines.
const BATCH: usize = 32;

/// A network interface: every smoltcp [`Device`] is one. The stack's work on a frame is compiled for the device's type, behind
/// these calls; everything above them is compiled once (D-132).
pub trait Port {
    /// An interface of the stack for this NIC, on the VLAN `tag`.
    fn interface(&mut self, config: Config, tag: Option<Tag>, now: Instant) -> Interface;

    /// What the NIC does by itself on the VLAN `tag`, and how long its frames may be.
    fn capabilities(&self, tag: Option<Tag>) -> DeviceCapabilities;

    /// Gives the stack a batch of frames that have arrived. Returns whether there was one.
    fn ingress(&mut self, stack: &mut Stack<'_>) -> bool;

    /// Sends what the stack has to send. Returns whether a socket's state changed by that.
    fn egress(&mut self, stack: &mut Stack<'_>) -> bool;

    /// Whether the NIC takes a frame now, which it does not without a link.
    fn link(&mut self, now: Instant) -> bool;

    /// Sends one frame, on the VLAN `tag`; it is lost when [`Port::link`] is false.
    fn send(&mut self, frame: &[u8], tag: Option<Tag>, now: Instant);
}

/// What takes and makes frames: lent to the NIC for a batch of them.
pub struct Stack<'a> {
    pub(super) iface: &'a mut Interface,
    pub(super) sockets: &'a mut SocketSet<'static>,
    /// Takes DHCP's frames, and hears ARP; none while DHCP rests.
    pub(super) client: Option<&'a mut Client>,
    /// The VLAN of all frames.
    pub(super) tag: Option<Tag>,
    /// Where frames lose their tags.
    pub(super) scratch: &'a mut Vec<u8>,
    /// The port at which answers of mDNS are waited for.
    pub(super) mdns: Option<u16>,
    pub(super) now: Instant,
}

impl<N: Device> Port for N {
    fn interface(&mut self, config: Config, tag: Option<Tag>, now: Instant) -> Interface {
        let mut link = Link {
            nic: self,
            client: None,
            tag,
            scratch: &mut Vec::new(),
            mdns: None,
            now,
        };
        Interface::new(config, &mut link, now)
    }

    fn capabilities(&self, tag: Option<Tag>) -> DeviceCapabilities {
        let mut capabilities = Device::capabilities(self);
        if tag.is_some() {
            // The tag takes room, and drivers do not look for TCP behind it.
            capabilities.max_transmission_unit = capabilities.max_transmission_unit.saturating_sub(vlan::LEN);
            capabilities.checksum.tcp = Checksum::Both;
            capabilities.checksum.udp = Checksum::Both;
        }
        capabilities
    }

    fn ingress(&mut self, stack: &mut Stack<'_>) -> bool {
        let mut heard = false;
        for _ in 0..BATCH {
            let mut link = Link {
                nic: self,
                client: stack.client.as_deref_mut(),
                tag: stack.tag,
                scratch: stack.scratch,
                mdns: stack.mdns,
                now: stack.now,
            };
            let polled = stack
                .iface
                .poll_ingress_single(stack.now, &mut link, stack.sockets);
            if matches!(polled, PollIngressSingleResult::None) {
                break;
            }
            heard = true;
        }
        heard
    }

    fn egress(&mut self, stack: &mut Stack<'_>) -> bool {
        let mut link = Link {
            nic: self,
            client: None,
            tag: stack.tag,
            scratch: stack.scratch,
            mdns: stack.mdns,
            now: stack.now,
        };
        stack.iface.poll_egress(stack.now, &mut link, stack.sockets) == PollResult::SocketStateChanged
    }

    fn link(&mut self, now: Instant) -> bool {
        self.transmit(now).is_some()
    }

    fn send(&mut self, frame: &[u8], tag: Option<Tag>, now: Instant) {
        if let Some(token) = self.transmit(now) {
            let token = vlan::Tagging { token, tag };
            token.consume(frame.len(), |buffer| buffer.copy_from_slice(frame));
        }
    }
}

/// The NIC as the stack sees it: DHCP takes its own frames out, and hears ARP.
struct Link<'a, N: Device> {
    nic: &'a mut N,
    client: Option<&'a mut Client>,
    tag: Option<Tag>,
    scratch: &'a mut Vec<u8>,
    mdns: Option<u16>,
    now: Instant,
}

impl<N: Device> Device for Link<'_, N> {
    type RxToken<'a>
        = Tapped<'a, N::RxToken<'a>>
    where
        Self: 'a;
    type TxToken<'a>
        = vlan::Tagging<N::TxToken<'a>>
    where
        Self: 'a;

    fn receive(&mut self, timestamp: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let (frame, token) = self.nic.receive(timestamp)?;
        Some((
            Tapped {
                frame,
                client: self.client.as_deref_mut(),
                tag: self.tag,
                scratch: self.scratch,
                mdns: self.mdns,
                now: self.now,
            },
            vlan::Tagging { token, tag: self.tag },
        ))
    }

    fn transmit(&mut self, timestamp: Instant) -> Option<Self::TxToken<'_>> {
        let token = self.nic.transmit(timestamp)?;
        Some(vlan::Tagging { token, tag: self.tag })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        Port::capabilities(self.nic, self.tag)
    }
}

/// A frame on its way to the stack.
struct Tapped<'a, T> {
    frame: T,
    client: Option<&'a mut Client>,
    tag: Option<Tag>,
    scratch: &'a mut Vec<u8>,
    mdns: Option<u16>,
    now: Instant,
}

impl<T: RxToken> RxToken for Tapped<'_, T> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        self.frame.consume(|frame| {
            let Some(frame) = vlan::untagged(frame, self.tag, self.scratch) else {
                return f(&[]);
            };
            let taken = self.client.is_some_and(|client| client.hear(self.now, frame));
            // The stack skips an empty frame.
            f(if taken || is_unasked_mdns(frame, self.mdns) {
                &[]
            } else {
                frame
            })
        })
    }

    fn meta(&self) -> PacketMeta {
        self.frame.meta()
    }
}

/// Where all of a link hear multicast DNS (RFC 6762).
pub(crate) const MDNS: u16 = 5353;

/// Whether a frame has a datagram from mDNS's port to another port than the one that waits for it.
fn is_unasked_mdns(frame: &[u8], waiting: Option<u16>) -> bool {
    const IPV4: [u8; 2] = [8, 0];
    const UDP: u8 = 17;
    // Most frames are a download's, and go no further.
    if frame.get(23) != Some(&UDP) || frame.get(12..14) != Some(&IPV4) {
        return false;
    }
    let header = frame
        .get(14)
        .map_or(0, |first| usize::from(first & 0x0f).saturating_mul(4));
    let ports = frame
        .get(header.saturating_add(14)..)
        .and_then(|udp| udp.first_chunk::<4>());
    ports.is_some_and(|[s1, s2, d1, d2]| {
        let [source, target] = [[*s1, *s2], [*d1, *d2]].map(u16::from_be_bytes);
        source == MDNS && waiting != Some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_mdns_reach_only_who_waits_for_them() {
        let frame = |protocol: u8, words: u8, source: u16, target: u16| {
            let mut frame = vec![0; 14 + 4 * usize::from(words)];
            frame[12] = 8;
            frame[14] = 0x40 | words;
            frame[23] = protocol;
            frame.extend(source.to_be_bytes());
            frame.extend(target.to_be_bytes());
            frame
        };
        for words in [5, 15] {
            assert!(is_unasked_mdns(&frame(17, words, MDNS, 4000), None));
            assert!(is_unasked_mdns(&frame(17, words, MDNS, 4000), Some(4001)));
            assert!(!is_unasked_mdns(&frame(17, words, MDNS, 4000), Some(4000)));
            assert!(!is_unasked_mdns(&frame(17, words, 53, 4000), None));
            assert!(!is_unasked_mdns(&frame(6, words, MDNS, 4000), None));
        }
        let whole = frame(17, 5, MDNS, 4000);
        for len in 0..whole.len() {
            assert!(!is_unasked_mdns(&whole[..len], None), "{len}");
        }
    }
}
