//! The UART: text, numbers and bytes, without `core::fmt`.

/// A UART that something else has set up.
#[derive(Clone, Copy)]
pub(crate) struct Uart {
    data: *mut u32,
    status: *const u32,
    /// Bits of `status` under which a byte can be written.
    ready_mask: u32,
    ready_value: u32,
}

impl Uart {
    /// The PL011 below the SoC's peripherals: data at 0x201000, flags at +0x18, transmit FIFO full in bit 5.
    pub(crate) fn pl011(peripherals: usize) -> Self {
        Self {
            data: (peripherals + 0x20_1000) as *mut u32,
            status: (peripherals + 0x20_1018) as *const u32,
            ready_mask: 1 << 5,
            ready_value: 0,
        }
    }

    /// The mini-UART: data at 0x215040, line status at +0x14, transmitter ready in bit 5.
    pub(crate) fn mini(peripherals: usize) -> Self {
        Self {
            data: (peripherals + 0x21_5040) as *mut u32,
            status: (peripherals + 0x21_5054) as *const u32,
            ready_mask: 1 << 5,
            ready_value: 1 << 5,
        }
    }

    fn byte(self, byte: u8) {
        // SAFETY: both are registers of a UART of this SoC, mapped one to one because the MMU is off; reading its
        // status and writing a byte when it is ready is what they are for.
        unsafe {
            while self.status.read_volatile() & self.ready_mask != self.ready_value {}
            self.data.write_volatile(u32::from(byte));
        }
    }

    /// Text; a line feed gets its carriage return.
    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Bytes that should be text; those that are not printable come out as dots.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        for &byte in bytes {
            match byte {
                b'\n' => {
                    self.byte(b'\r');
                    self.byte(b'\n');
                }
                b' '..=b'~' => self.byte(byte),
                _ => self.byte(b'.'),
            }
        }
        self
    }

    /// Hexadecimal, 16 digits.
    pub(crate) fn hex(self, value: u64) -> Self {
        self.text("0x");
        for shift in (0..16).rev() {
            let digit = (value >> (4 * shift)) as u8 & 0xf;
            self.byte(if digit < 10 {
                b'0' + digit
            } else {
                b'a' + digit - 10
            });
        }
        self
    }

    /// Decimal.
    pub(crate) fn number(self, value: u64) -> Self {
        let mut power = 1;
        while value / power >= 10 {
            power *= 10;
        }
        while power > 0 {
            self.byte(b'0' + (value / power % 10) as u8);
            power /= 10;
        }
        self
    }
}
