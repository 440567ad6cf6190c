//! Hosts of the simulated LAN on a wire in real time: QEMU's `-netdev socket,udp=`, a frame in each datagram.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use smoltcp::time::{Duration, Instant};

use crate::lan::Host;

/// Room for a frame: more than QEMU ever sends.
const LONGEST: usize = 64 * 1024;

/// The wait for a frame before the hosts get a turn.
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
        // QEMU binds its own port. No other program is likely to get the freed port in the meantime.
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

    /// Sends one frame. A lost frame is no error: networks lose frames.
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

    /// Runs `hosts` on the wire until `stop`. Each of their frames goes through `send`, which may drop, change or add frames.
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
                // A lost frame is no error: QEMU may not have started yet, or may be busy.
                host.poll(now, &mut |frame| {
                    send(frame, &mut |frame| self.send(frame));
                });
            }
        }
    }
}
