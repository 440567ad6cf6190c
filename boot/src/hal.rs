//! The ground: what a boot needs of hardware, or of what stands in for it. It knows no step.

use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

/// The time after all others: a wait without a deadline.
pub(crate) const NEVER: Instant = Instant::from_micros_const(i64::MAX);

/// Monotonic time.
pub trait Clock {
    /// Time since reset.
    fn now(&self) -> Instant;
    /// Rests until `deadline` at the latest. It may return early, and must when a frame may have arrived.
    fn idle_until(&self, deadline: Instant);
}

/// A serial terminal whose reads never block (`ReadReady` tells) and whose writes never fail.
pub trait Console:
    embedded_io::Read<Error = Infallible> + embedded_io::ReadReady + embedded_io::Write
{
}

impl<T> Console for T where
    T: embedded_io::Read<Error = Infallible> + embedded_io::ReadReady + embedded_io::Write + ?Sized
{
}

/// True random bytes, for ports, sequence numbers, back-off and the seeds given to Linux.
pub trait Entropy {
    /// Fills `bytes`; `false` when the generator failed (the bytes are then predictable).
    fn fill(&mut self, bytes: &mut [u8]) -> bool;
}

/// What only hardware can do (D-40).
pub trait Platform {
    /// Tells the watchdog that the boot still makes sense. Called from the poll loop, at least every 5 s while the boot
    /// waits for anything, and after each piece of work on many bytes (`work.rs`).
    fn kick_watchdog(&mut self);
}

/// A MAC address as people write it, `b8:27:eb:01:02:03` (smoltcp prints dashes).
pub struct Mac(pub EthernetAddress);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EthernetAddress([a, b, c, d, e, g]) = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What the board is: facts gathered once, before the network is up.
#[derive(Debug, Clone)]
pub struct Board<'m> {
    /// The name a person knows it by, for example `Raspberry Pi 3 Model B`.
    pub model: &'m str,
    /// The revision code (new style), as in `/proc/cpuinfo`.
    pub revision: u32,
    /// The SoC's serial number; its low half names the TFTP directory of the Pi's own firmware.
    pub serial: u64,
    /// The MAC address that identifies the node everywhere.
    pub mac: EthernetAddress,
    /// The UART on GPIO 14 and 15; none when nothing is routed there.
    pub uart: Option<Uart>,
    /// The flattened device tree that the firmware passed, at most 2 MiB; unchecked bytes.
    pub device_tree: Option<&'m [u8]>,
    /// The script or menu that the firmware handed over as initramfs, or why it cannot be read.
    pub handed_over: Option<Result<&'m HandedOver, HandoverError>>,
}

/// The text that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOver {
    /// Its name in the archive; `initramfs` without one.
    pub name: String,
    /// The script or menu, as it is.
    pub text: Vec<u8>,
}

/// Why what was handed over cannot be read although it is meant for us, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoverError {
    /// An archive ends in the midst of a file.
    Cut,
    /// The text is longer than a text may be.
    Long,
    /// It lies where it cannot be read: not in the first bank of memory, or where Bramble runs.
    Place,
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the initramfs that the firmware handed over ")?;
        match self {
            Self::Cut => f.write_str("is an archive that ends in the midst of a file"),
            Self::Long => f.write_str("has a text that is longer than a text may be"),
            Self::Place => f.write_str("lies where it cannot be read"),
        }
    }
}

/// The UARTs that can be on GPIO 14 and 15, the pins 8 and 10 of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uart {
    /// The PL011, at 7e201000 on the bus.
    Pl011,
    /// The mini-UART, at 7e215040.
    Mini,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A Pi 4 that was seen.
    pub(crate) fn board() -> Board<'static> {
        Board {
            model: "Raspberry Pi 4 Model B",
            revision: 0x00c0_3130,
            serial: 0x1000_0000_e0ff_06da,
            mac: EthernetAddress([0xdc, 0xa6, 0x32, 0xec, 0xfc, 0x3c]),
            uart: None,
            device_tree: None,
            handed_over: None,
        }
    }

    #[test]
    fn a_mac_is_printed_with_colons() {
        let mac = EthernetAddress([0xb8, 0x27, 0xeb, 0x01, 0x02, 0x0f]);
        assert_eq!(std::format!("{}", Mac(mac)), "b8:27:eb:01:02:0f");
    }
}
