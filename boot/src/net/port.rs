//! A NIC without its type: what the poll loop asks of it, in one indirect call for a batch of frames.

use alloc::vec::Vec;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketSet};
use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, PacketMeta, RxToken, TxToken,
};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use super::gate::Gate;
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
    /// What strangers cannot pass.
    pub(super) gate: &'a Gate,
    pub(super) now: Instant,
}

impl<N: Device> Port for N {
    fn interface(&mut self, config: Config, tag: Option<Tag>, now: Instant) -> Interface {
        let mut link = Link {
            nic: self,
            client: None,
            tag,
            scratch: &mut Vec::new(),
            // Nothing comes or goes: only the capabilities are asked for.
            gate: &Gate::new(EthernetAddress([0; 6]), ChecksumCapabilities::default()),
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
                gate: stack.gate,
                now: stack.now,
            };
            let polled = stack
                .iface
                .poll_ingress_single(stack.now, &mut link, stack.sockets);
            if matches!(polled, PollIngressSingleResult::None) {
                break;
            }
            heard = true;
            if let Some(answer) = stack.gate.answer() {
                self.send(&answer, stack.tag, stack.now);
            }
        }
        heard
    }

    fn egress(&mut self, stack: &mut Stack<'_>) -> bool {
        let mut link = Link {
            nic: self,
            client: None,
            tag: stack.tag,
            scratch: stack.scratch,
            gate: stack.gate,
            now: stack.now,
        };
        stack.iface.poll_egress(stack.now, &mut link, stack.sockets) == PollResult::SocketStateChanged
    }

    fn link(&mut self, now: Instant) -> bool {
        self.transmit(now).is_some()
    }

    /// Sends a frame that is not the stack's, unless it is longer than those: drivers have room for these only.
    fn send(&mut self, frame: &[u8], tag: Option<Tag>, now: Instant) {
        let len = frame.len().saturating_add(tag.map_or(0, |_| vlan::LEN));
        if len > Device::capabilities(self).max_transmission_unit {
            return;
        }
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
    gate: &'a Gate,
    now: Instant,
}

impl<N: Device> Device for Link<'_, N> {
    type RxToken<'a>
        = Tapped<'a, N::RxToken<'a>>
    where
        Self: 'a;
    type TxToken<'a>
        = Leaving<'a, vlan::Tagging<N::TxToken<'a>>>
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
                gate: self.gate,
                now: self.now,
            },
            Leaving {
                token: vlan::Tagging { token, tag: self.tag },
                gate: self.gate,
                now: self.now,
            },
        ))
    }

    fn transmit(&mut self, timestamp: Instant) -> Option<Self::TxToken<'_>> {
        let token = self.nic.transmit(timestamp)?;
        Some(Leaving {
            token: vlan::Tagging { token, tag: self.tag },
            gate: self.gate,
            now: self.now,
        })
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
    gate: &'a Gate,
    now: Instant,
}

impl<T: RxToken> RxToken for Tapped<'_, T> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        self.frame.consume(|frame| {
            let Some(frame) = vlan::untagged(frame, self.tag, self.scratch) else {
                return f(&[]);
            };
            // Nearly every frame is a segment of a download, which concerns nobody else.
            let segment = self.gate.segment(self.now, frame);
            if segment == Some(true) {
                return f(frame);
            }
            let taken = self.client.is_some_and(|client| client.hear(self.now, frame));
            // The stack skips an empty frame.
            f(if taken || segment.is_some() || !self.gate.passes(frame) {
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

/// The right to send one frame, which the gate hears of.
struct Leaving<'a, T> {
    token: T,
    gate: &'a Gate,
    now: Instant,
}

impl<T: TxToken> TxToken for Leaving<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        self.token.consume(len, |frame| {
            let result = f(frame);
            self.gate.leaves(self.now, frame);
            result
        })
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.token.set_meta(meta);
    }
}
