//! Hosts of the simulated LAN on a wire in real time: QEMU's `-netdev socket,udp=`, a frame in each datagram.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use smoltcp::time::{Duration, Instant};

use crate::lan::Host;

/// Longer than any frame that QEMU sends.
const LONGEST: usize = 64 * 1024;

/// How long the wire waits for a frame before it looks at what else there is to do.
const REST: std::time::Duration = std::time::Duration::from_millis(1);

/// This end of the wire; QEMU's is on another port of the loopback.
pub struct Wire {
    socket: UdpSocket,
    peer: SocketAddr,
}

impl Wire {
    /// A wire between two free ports.
    ///
    /// # Errors
    ///
    /// When the loopback has none.
    pub fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(REST))?;
        // QEMU binds its own port; nobody else asks for a free one so soon after it was let go.
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        Ok(Self { socket, peer })
    }

    /// This end, then QEMU's.
    ///
    /// # Errors
    ///
    /// When the system does not know its own socket.
    pub fn ends(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.socket.local_addr()?, self.peer))
    }

    /// Sends one frame. One that is lost is what networks have.
    pub fn send(&self, frame: &[u8]) {
        drop(self.socket.send_to(frame, self.peer));
    }

    /// The next frame of QEMU's, if one comes within `patience`.
    pub fn receive(&self, patience: std::time::Duration) -> Option<Vec<u8>> {
        let deadline = std::time::Instant::now() + patience;
        let mut buffer = vec![0; LONGEST];
        while std::time::Instant::now() < deadline {
            if let Ok((length, sender)) = self.socket.recv_from(&mut buffer)
                && sender == self.peer
            {
                buffer.truncate(length);
                return Some(buffer);
            }
        }
        None
    }

    /// Lets `hosts` live on the wire until `stop`. Each frame of theirs goes through `send`, which decides what leaves in
    /// its place.
    pub fn serve(
        &self,
        hosts: &mut [&mut dyn Host],
        mut send: impl FnMut(Vec<u8>, &mut dyn FnMut(&[u8])),
        stop: &AtomicBool,
    ) {
        let began = std::time::Instant::now();
        let mut buffer = vec![0; LONGEST];
        while !stop.load(Ordering::Relaxed) {
            let arrived = self.socket.recv_from(&mut buffer);
            let now = Instant::ZERO + Duration::from_micros(began.elapsed().as_micros() as u64);
            if let Ok((length, sender)) = arrived
                && sender == self.peer
            {
                for host in hosts.iter_mut() {
                    host.receive(now, &buffer[..length]);
                }
            }
            for host in hosts.iter_mut() {
                // A lost frame is what networks have: QEMU may not be there yet, or busy.
                host.poll(now, &mut |frame| {
                    send(frame, &mut |frame| self.send(frame));
                });
            }
        }
    }
}
