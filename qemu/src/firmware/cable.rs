//! The board's cable before QEMU plugs into it: a tap device of a network namespace, frame by frame.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// One end of a cable. Dropping it pulls it out, and QEMU may have it.
#[derive(Debug)]
pub struct Cable(File);

impl Cable {
    /// Plugs into the tap device `tap` of this network namespace (root only).
    ///
    /// # Errors
    ///
    /// When there is no such namespace or device, or QEMU is plugged into it.
    pub fn plug(namespace: &str, tap: &str) -> Result<Self> {
        let (namespace, tap) = (namespace.to_owned(), tap.to_owned());
        // A thread is in a namespace, not a process; this one ends, and the open file stays where it was opened.
        let plug = move || {
            let place = format!("/var/run/netns/{namespace}");
            let place = File::open(&place).with_context(|| place.clone())?;
            // SAFETY: an open file's descriptor; the call reads nothing of ours.
            let entered = unsafe { libc::setns(place.as_raw_fd(), libc::CLONE_NEWNET) };
            checked(entered).context("the network namespace")?;
            Self::open(&tap)
        };
        thread::spawn(plug)
            .join()
            .map_err(|_| anyhow::anyhow!("cable: the thread in the namespace"))?
    }

    fn open(tap: &str) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .context("/dev/net/tun")?;
        // `struct ifreq`: 16 bytes of name, then the flags.
        let mut request = [0_u8; 40];
        let name = tap.as_bytes();
        let room = request.get_mut(..name.len().min(15)).unwrap_or_default();
        room.copy_from_slice(name.get(..room.len()).unwrap_or_default());
        let flags = (libc::IFF_TAP | libc::IFF_NO_PI) as u16;
        request[16..18].copy_from_slice(&flags.to_ne_bytes());
        // Who starts a program while a cable is plugged in holds it, too, until that program runs.
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            // SAFETY: the descriptor is open, and `request` is as large as the `struct ifreq` that the call reads and writes.
            let set = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
            match checked(set) {
                Ok(()) => return Ok(Self(file)),
                Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error).with_context(|| format!("the tap device {tap}")),
            }
        }
    }

    /// Sends a frame, padded to Ethernet's shortest.
    pub(crate) fn send(&mut self, frame: &[u8]) -> Result<()> {
        let mut frame = frame.to_vec();
        frame.resize(frame.len().max(60), 0);
        match self.0.write(&frame) {
            // A full queue loses frames, as a switch does.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(drop).context("cable: send"),
        }
    }

    /// The next frame, before `deadline`.
    pub(crate) fn receive(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0; 2048];
        loop {
            match self.0.read(&mut frame) {
                Ok(length) => {
                    frame.truncate(length);
                    return Ok(Some(frame));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cable: receive"),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut waiting = libc::pollfd {
                fd: self.0.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            let patience = left.min(Duration::from_secs(1)).as_millis().max(1) as libc::c_int;
            // SAFETY: one `pollfd` of ours, which outlives the call.
            unsafe { libc::poll(&raw mut waiting, 1, patience) };
        }
    }
}

fn checked(result: libc::c_int) -> std::io::Result<()> {
    if result < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}
