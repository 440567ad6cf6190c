//! Where log lines go: the console's UART, as text, or as defmt frames with the `defmt` feature.

use core::cell::Cell;
use core::fmt::{self, Write};

use crate::uart::Uart;

struct Slot(Cell<Option<Uart>>);

// SAFETY: one core runs and no interrupt is ever enabled; a fault finds the slot before or after it was filled.
unsafe impl Sync for Slot {}

static SINK: Slot = Slot(Cell::new(None));

/// A copy each time: a panic while a line is being written still finds its UART.
fn with(act: impl FnOnce(&mut Uart)) {
    if let Some(mut uart) = SINK.0.get() {
        act(&mut uart);
    }
}

/// From now on log lines leave through `uart`.
pub fn start(uart: Uart) {
    SINK.0.set(Some(uart));
    #[cfg(not(feature = "defmt"))]
    {
        // A second start would only fail to replace the same logger.
        let _ = log::set_logger(&Text);
        log::set_max_level(log::LevelFilter::Info);
    }
}

/// Whether lines have a place to go.
pub fn started() -> bool {
    SINK.0.get().is_some()
}

/// Waits until everything has left.
pub fn drain() {
    with(Uart::drain);
}

/// Writes text on the raw UART, whatever the encoding of log lines is: for the last words of a dying program.
pub fn last_words(text: fmt::Arguments<'_>) {
    with(|uart| {
        // A frame that was cut off ends here, and the text cannot be taken for one.
        #[cfg(feature = "defmt")]
        uart.send(0);
        let _ = writeln!(Lines(uart), "{text}");
        #[cfg(feature = "defmt")]
        uart.send(0);
        uart.drain();
    });
}

/// Text with the line ends of a terminal.
struct Lines<'a>(&'a mut Uart);

impl Write for Lines<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.0.send(b'\r');
            }
            self.0.send(byte);
        }
        Ok(())
    }
}

#[cfg(not(feature = "defmt"))]
struct Text;

#[cfg(not(feature = "defmt"))]
impl log::Log for Text {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        with(|uart| {
            // Writing to a UART cannot fail; a `Display` that does loses the rest of its line.
            let _ = writeln!(Lines(uart), "{}", record.args());
        });
    }

    fn flush(&self) {
        drain();
    }
}

#[cfg(feature = "defmt")]
mod frames {
    //! defmt's rzcobs frames, each fenced with zero bytes so that a terminal's or a menu's text between two frames
    //! costs the decoder nothing but that text.

    use core::cell::UnsafeCell;

    use super::with;

    struct Encoder(UnsafeCell<defmt::Encoder>);

    // SAFETY: as for `Slot`: one core, no interrupts.
    unsafe impl Sync for Encoder {}

    static ENCODER: Encoder = Encoder(UnsafeCell::new(defmt::Encoder::new()));

    #[defmt::global_logger]
    struct Frames;

    fn send(bytes: &[u8]) {
        with(|uart| bytes.iter().for_each(|byte| uart.send(*byte)));
    }

    // SAFETY: one core, no interrupts: acquire and release cannot be interleaved.
    unsafe impl defmt::Logger for Frames {
        fn acquire() {
            send(&[0]);
            // SAFETY: see `Sync`.
            unsafe { (*ENCODER.0.get()).start_frame(send) };
        }

        unsafe fn flush() {
            super::drain();
        }

        unsafe fn release() {
            // SAFETY: see `Sync`.
            unsafe { (*ENCODER.0.get()).end_frame(send) };
        }

        unsafe fn write(bytes: &[u8]) {
            // SAFETY: see `Sync`.
            unsafe { (*ENCODER.0.get()).write(bytes, send) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uart;

    #[test]
    fn a_line_ends_as_a_terminal_wants_it() {
        let said = uart::tests::sent(None, |mut uart| {
            Lines(&mut uart).write_str("one\ntwo\n\nthree").unwrap();
        });
        assert_eq!(said, b"one\r\ntwo\r\n\r\nthree");
    }
}
