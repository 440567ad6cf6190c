//! The serial terminal as the ecosystem's traits (embedded-io): reads never block, writes never fail.

use core::convert::Infallible;

use boot::load::device_tree::Tree;

use crate::hardware::Hardware;
use crate::log;
use crate::mailbox::ClockId;
use crate::uart::{self, Kind, Uart};

/// A terminal on a UART, with one byte of look-ahead.
pub struct Console {
    uart: Uart,
    ahead: Option<u8>,
}

impl Console {
    /// Sets up the UART that the firmware routed to the header, for the log and for a person; also which one it is, when it
    /// is one that Linux can be told of.
    ///
    /// # Safety
    ///
    /// The peripherals of the hardware's SoC are mapped. Log and console run on one core.
    pub unsafe fn open(hardware: &mut Hardware, tree: Option<&Tree<'_>>) -> (Self, Option<boot::Uart>) {
        let stdout = tree.and_then(Tree::stdout_path);
        // SAFETY: the caller's word.
        let (tx, rx) = unsafe { uart::pin_functions(hardware.soc) };
        let kind = uart::routed(tx, rx, hardware.emulated, stdout);
        let hz = hardware.mailbox.clock_rate(if kind == Kind::Mini {
            ClockId::Core
        } else {
            ClockId::Uart
        });
        // SAFETY: the caller's word.
        let mut uart = unsafe { Uart::new(hardware.soc, kind, hardware.clock) };
        uart.set_up(hz);
        log::start(uart);
        (Self { uart, ahead: None }, kind.uart())
    }
}

impl embedded_io::ErrorType for Console {
    type Error = Infallible;
}

impl embedded_io::ReadReady for Console {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        if self.ahead.is_none() {
            self.ahead = self.uart.receive();
        }
        Ok(self.ahead.is_some())
    }
}

impl embedded_io::Read for Console {
    /// What is there; 0 when nothing is.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let mut count = 0;
        for place in buffer {
            let Some(byte) = self.ahead.take().or_else(|| self.uart.receive()) else {
                break;
            };
            *place = byte;
            count += 1;
        }
        Ok(count)
    }
}

impl embedded_io::Write for Console {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        for byte in bytes {
            self.uart.send(*byte);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        self.uart.drain();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use embedded_io::{Read as _, ReadReady as _, Write as _};

    use super::*;
    use crate::uart;

    #[test]
    fn what_came_is_read_once_and_looked_at_before_if_one_likes() {
        uart::tests::sent(None, |uart| {
            let mut console = Console { uart, ahead: None };
            assert_eq!(console.read_ready(), Ok(false));
            assert_eq!(console.read(&mut [0; 4]), Ok(0));
            console.ahead = Some(b'x');
            assert_eq!(console.read_ready(), Ok(true));
            let mut bytes = [0; 4];
            assert_eq!((console.read(&mut bytes), bytes), (Ok(1), *b"x\0\0\0"));
            assert_eq!(console.read(&mut bytes), Ok(0));
        });
        uart::tests::sent(Some(b'a'), |uart| {
            let mut console = Console { uart, ahead: None };
            assert_eq!(console.read_ready(), Ok(true));
            assert_eq!(console.ahead, Some(b'a'));
            let mut bytes = [0; 3];
            assert_eq!((console.read(&mut bytes), bytes), (Ok(3), *b"aaa"));
        });
    }

    #[test]
    fn what_is_written_leaves() {
        let said = uart::tests::sent(None, |uart| {
            let mut console = Console { uart, ahead: None };
            assert_eq!(console.write(b"menu\x1b[K"), Ok(7));
            console.flush().unwrap();
        });
        assert_eq!(said, b"menu\x1b[K");
    }
}
