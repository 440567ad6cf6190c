//! The world outside of the virtual wire: a thread for each thing that the node waits for, and a bell that rings when it comes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use smoltcp::wire::Ipv4Address;

use crate::dns;
use crate::frames::Place;

/// The time limit for connecting: as long as the node waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes for one read, and how many reads are kept. When the node is slow, reading stops, and the server slows down.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 4;
/// The longest datagram.
const DATAGRAM: usize = 65_536;

/// A bell that rings when something comes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    fn ring(&self) {
        let (rung, condition) = &*self.0;
        if let Ok(mut rung) = rung.lock() {
            *rung = true;
        }
        condition.notify_all();
    }

    /// Waits until it rings, for `at_most`.
    pub(crate) fn wait(&self, at_most: Duration) {
        let (rung, condition) = &*self.0;
        if let Ok(guard) = rung.lock()
            && let Ok((mut guard, _)) = condition.wait_timeout_while(guard, at_most, |rung| !*rung)
        {
            *guard = false;
        }
    }
}

/// How connecting ended.
#[derive(Debug)]
pub(crate) enum Connected {
    Open(Connection),
    /// A reset came.
    Refused,
    /// No answer, or only a router's error.
    Unreachable,
}

/// What a connection brought.
#[derive(Debug)]
pub(crate) enum Came {
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// An open connection: reads and writes happen elsewhere.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) incoming: Receiver<Came>,
    /// Dropped when the node sends no more.
    pub(crate) outgoing: Option<SyncSender<Vec<u8>>>,
}

impl Connection {
    fn over(stream: TcpStream, bell: &Bell) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        let (came, incoming) = mpsc::sync_channel(PIECES);
        let (outgoing, to_send) = mpsc::sync_channel::<Vec<u8>>(PIECES);
        let (mut reader, mut writer) = (stream.try_clone()?, stream.try_clone()?);
        let bell = bell.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; PIECE];
            loop {
                let piece = match reader.read(&mut buffer) {
                    Ok(0) => Came::End,
                    Ok(len) => Came::Bytes(buffer[..len].to_vec()),
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => Came::Reset,
                };
                let last = !matches!(piece, Came::Bytes(_));
                let heard = came.send(piece).is_ok();
                bell.ring();
                if last || !heard {
                    return;
                }
            }
        });
        thread::spawn(move || {
            for bytes in to_send {
                if writer.write_all(&bytes).is_err() {
                    return;
                }
            }
            let _ = writer.shutdown(Shutdown::Write);
        });
        Ok(Self {
            stream,
            incoming,
            outgoing: Some(outgoing),
        })
    }
}

/// The server need not wait for a node that has gone.
impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A UDP port, and the datagrams that came to it, each with its sender.
pub(crate) type Port = (UdpSocket, Receiver<(Place, Vec<u8>)>);

/// Connects to `place`.
pub(crate) fn connect(place: SocketAddr, bell: &Bell) -> Receiver<Connected> {
    let (done, result) = mpsc::channel();
    let bell = bell.clone();
    thread::spawn(move || {
        let connected = match TcpStream::connect_timeout(&place, CONNECT_TIMEOUT) {
            Ok(stream) => Connection::over(stream, &bell).map_or(Connected::Unreachable, Connected::Open),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Connected::Refused,
            Err(_) => Connected::Unreachable,
        };
        let _ = done.send(connected);
        bell.ring();
    });
    result
}

/// The addresses of `name`.
pub(crate) fn resolve(name: String, bell: &Bell) -> Receiver<Vec<Ipv4Address>> {
    let (done, result) = mpsc::channel();
    let bell = bell.clone();
    thread::spawn(move || {
        let _ = done.send(dns::addresses(&name));
        bell.ring();
    });
    result
}

/// A UDP port that takes datagrams from anybody: a TFTP server answers from another port than the one that was asked.
pub(crate) fn udp(bell: &Bell) -> std::io::Result<Port> {
    let socket = UdpSocket::bind((Ipv4Address::UNSPECIFIED, 0))?;
    let reader = socket.try_clone()?;
    let (came, incoming) = mpsc::channel();
    let bell = bell.clone();
    thread::spawn(move || listen(&reader, &came, &bell));
    Ok((socket, incoming))
}

fn listen(socket: &UdpSocket, came: &Sender<(Place, Vec<u8>)>, bell: &Bell) {
    let mut buffer = vec![0; DATAGRAM];
    let mut failures = 0;
    // An error may only mean that an earlier datagram met a closed port, but the socket may also be broken.
    while failures < 16 {
        match socket.recv_from(&mut buffer) {
            Ok((len, SocketAddr::V4(from))) => {
                failures = 0;
                let bytes = buffer[..len].to_vec();
                if came.send(((*from.ip(), from.port()), bytes)).is_err() {
                    return;
                }
                bell.ring();
            }
            Ok(_) => {}
            Err(_) => failures += 1,
        }
    }
}
