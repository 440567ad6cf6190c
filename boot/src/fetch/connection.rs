//! One TCP connection (RFC 9293, over smoltcp), kept open between requests; its socket and buffers are used again (D-156).

use alloc::string::String;
use alloc::vec;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::Ipv4Address;

use super::error::{ConnectError, Lost};
use crate::net::Net;
use crate::patience;
use crate::url::Url;

/// The receive window. A gigabit per second over 2 ms needs as much.
const RECEIVE_BUFFER: usize = 256 * 1024;
/// A whole request fits, with the longest URL; one with Digest, which has it twice, goes in two parts.
const SEND_BUFFER: usize = 12 * 1024;
/// Bytes of heap for both.
pub(crate) const BUFFERS: usize = RECEIVE_BUFFER + SEND_BUFFER;

/// The socket, and whom it is connected to (D-21).
#[derive(Debug, Default)]
pub(super) struct Connection {
    socket: Option<SocketHandle>,
    origin: Option<(String, u16)>,
    local_port: u16,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received<T> {
    Data(T),
    /// The server closed its side, everything before has been read.
    End,
}

impl Connection {
    /// Whether the next request to `url` may go over it: open to that host and port, and nothing unread.
    pub(super) fn serves(&self, net: &mut Net<'_>, url: &Url) -> bool {
        let Some((socket, (host, port))) = self.socket.zip(self.origin.as_ref()) else {
            return false;
        };
        let socket = net.tcp(socket);
        url.host() == host
            && url.port() == *port
            && socket.state() == tcp::State::Established
            && !socket.can_recv()
    }

    /// Connects to `address`, which is the host of `url`, from a local port other than the last one.
    pub(super) fn open(
        &mut self,
        net: &mut Net<'_>,
        url: &Url,
        address: Ipv4Address,
    ) -> Result<(), ConnectError> {
        self.close(net);
        let handle = *self.socket.get_or_insert_with(|| net.sockets().1.add(socket()));
        // Servers remember the last one for a while (TIME-WAIT).
        let port = net.port();
        self.local_port = if port == self.local_port { port ^ 1 } else { port };
        if !net.connect(handle, (address, url.port()), self.local_port) {
            return Err(ConnectError::Unaddressable);
        }
        let deadline = net.now() + patience::CONNECT;
        let state = net.wait(deadline, |net| match net.tcp(handle).state() {
            tcp::State::SynSent | tcp::State::SynReceived => None,
            state => Some(state),
        });
        match state {
            Some(tcp::State::Closed) => Err(ConnectError::Refused),
            Some(_) => {
                self.origin = Some((url.host().into(), url.port()));
                Ok(())
            }
            None => {
                self.close(net);
                Err(ConnectError::Timeout)
            }
        }
    }

    /// Hands all of `bytes` to the socket.
    pub(super) fn send(
        &mut self,
        net: &mut Net<'_>,
        mut bytes: &[u8],
        deadline: Instant,
    ) -> Result<(), Lost> {
        let handle = self.socket.ok_or(Lost::Closed)?;
        while !bytes.is_empty() {
            let sent = net.wait(deadline, |net| match net.tcp(handle).send_slice(bytes) {
                Ok(0) => None,
                sent => Some(sent),
            });
            let sent = sent.ok_or(Lost::Stalled)?.map_err(|_| Lost::Reset)?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until `deadline` for bytes and shows them to `read`, straight from the receive buffer; it returns how many
    /// it took, and what it made of them.
    pub(super) fn receive<T>(
        &mut self,
        net: &mut Net<'_>,
        deadline: Instant,
        read: impl FnOnce(&[u8]) -> (usize, T),
    ) -> Result<Received<T>, Lost> {
        let handle = self.socket.ok_or(Lost::Closed)?;
        net.wait(deadline, |net| {
            let socket = net.tcp(handle);
            (socket.can_recv() || !socket.may_recv()).then_some(())
        })
        .ok_or(Lost::Stalled)?;
        match net.tcp(handle).recv(|bytes| read(bytes)) {
            Ok(value) => Ok(Received::Data(value)),
            Err(tcp::RecvError::Finished) => Ok(Received::End),
            Err(tcp::RecvError::InvalidState) => Err(Lost::Reset),
        }
    }

    /// Ends the connection, if any, with a reset: the server can forget it at once.
    pub(super) fn close(&mut self, net: &mut Net<'_>) {
        self.origin = None;
        let Some(handle) = self.socket else { return };
        let socket = net.tcp(handle);
        if socket.is_open() {
            socket.abort();
            // One round of the poll loop sends it.
            let now = net.now();
            let _: Option<()> = net.wait(now, |_| None);
        }
    }
}

fn socket() -> tcp::Socket<'static> {
    let mut socket = tcp::Socket::new(
        tcp::SocketBuffer::new(vec![0; RECEIVE_BUFFER]),
        tcp::SocketBuffer::new(vec![0; SEND_BUFFER]),
    );
    // Frames are taken in batches and acknowledged per batch; a further delay only slows the sender down.
    socket.set_ack_delay(None);
    socket.set_nagle_enabled(false);
    socket.set_keep_alive(Some(patience::KEEP_ALIVE));
    socket.set_timeout(Some(patience::PEER_SILENT));
    socket
}
