//! The serial terminal as the ecosystem's traits (embedded-io): reads never block, writes never fail.

use core::convert::Infallible;

use crate::uart::Uart;

/// A terminal on a UART, with one byte of look-ahead.
pub struct Console {
    uart: Uart,
    ahead: Option<u8>,
}

impl Console {
    /// A terminal on `uart`.
    pub fn new(uart: Uart) -> Self {
        Self { uart, ahead: None }
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
