//! The two UARTs that can reach GPIO 14 and 15, and which of them does (BCM2835 ARM Peripherals; Arm PL011 TRM).

use core::ptr::NonNull;

use boot::board::Soc;
use safe_mmio::fields::{ReadPure, ReadPureWrite, ReadWrite, WriteOnly};
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use smoltcp::time::Duration;

use crate::bits::{Bits as _, bits};
use crate::clock::Clock;
use crate::soc::{offset, peripherals};

const BAUD: u32 = 115_200;
/// Longest wait for room in a FIFO. One byte takes 87 µs at 115200 baud; a UART that takes longer is not running.
const PATIENCE: Duration = Duration::from_millis(5);

/// A UART, or the silence of a board that has none on its pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PL011, on the pins as ALT0.
    Pl011,
    /// Mini-UART, on the pins as ALT5.
    Mini,
    /// Nothing is routed to the pins.
    Silent,
}

impl Kind {
    /// The UART that Linux can be told of.
    pub fn uart(self) -> Option<boot::Uart> {
        match self {
            Self::Pl011 => Some(boot::Uart::Pl011),
            Self::Mini => Some(boot::Uart::Mini),
            Self::Silent => None,
        }
    }
}

/// Which UART is the console. The pins decide. QEMU does not model them: there the device tree's stdout decides
/// (`serial1` is the mini-UART), else the PL011 (D-8).
pub fn routed(tx: u32, rx: u32, emulated: bool, stdout: Option<&str>) -> Kind {
    const ALT0: u32 = 4;
    const ALT5: u32 = 2;
    match (tx, rx) {
        (ALT0, ALT0) => Kind::Pl011,
        (ALT5, ALT5) => Kind::Mini,
        _ if !emulated => Kind::Silent,
        _ if stdout.is_some_and(is_mini) => Kind::Mini,
        _ => Kind::Pl011,
    }
}

/// `serial1:115200n8`, or the path of a node such as `/soc/serial@7e215040`.
fn is_mini(stdout: &str) -> bool {
    let node = stdout.split(':').next().unwrap_or_default();
    node == "serial1" || node.ends_with("serial@7e215040")
}

/// Functions of GPIO 14 and 15, the pins 8 and 10 of the header.
///
/// # Safety
///
/// The SoC is `soc` and its peripherals are mapped.
pub unsafe fn pin_functions(soc: Soc) -> (u32, u32) {
    let address = (peripherals(soc) + offset::GPIO + 4) as *mut ReadPure<u32>;
    // SAFETY: GPFSEL1, mapped by the caller's word; reading has no side effect.
    let fsel1 = unsafe { UniqueMmioPointer::new(NonNull::new_unchecked(address)) };
    let bits = fsel1.read();
    (bits >> 12 & 7, bits >> 15 & 7)
}

#[repr(C)]
struct Pl011 {
    /// 0x00: data; reading takes a byte, bits 11:8 say what was wrong with it.
    dr: ReadWrite<u32>,
    _0: [u32; 5],
    /// 0x18: flags.
    fr: ReadPure<Fr>,
    _1: [u32; 2],
    /// 0x24: baud rate divisor, whole part.
    ibrd: ReadPureWrite<u32>,
    /// 0x28: baud rate divisor, 64ths.
    fbrd: ReadPureWrite<u32>,
    /// 0x2c: line control.
    lcrh: ReadPureWrite<Lcrh>,
    /// 0x30: control.
    cr: ReadPureWrite<Cr>,
    _2: u32,
    /// 0x38: interrupt mask.
    imsc: ReadPureWrite<Interrupts>,
    _3: [u32; 2],
    /// 0x44: interrupt clear.
    icr: WriteOnly<Interrupts>,
}

bits! {
    /// UARTFR.
    struct Fr {
        /// A byte is leaving.
        BUSY = 1 << 3,
        /// Nothing has come in.
        RXFE = 1 << 4,
        /// There is no room.
        TXFF = 1 << 5,
    }

    /// UARTLCR_H.
    struct Lcrh {
        /// 8 bits, FIFOs.
        EIGHT_BITS = 0b11 << 5 | 1 << 4,
    }

    /// UARTCR.
    struct Cr {
        /// Receive, transmit, enable.
        ON = 1 << 9 | 1 << 8 | 1,
    }

    /// UARTIMSC and UARTICR.
    struct Interrupts {
        /// Each of them.
        ALL = 0x7ff,
    }
}

#[repr(C)]
struct Aux {
    _0: u32,
    /// 0x04: bit 0 enables the mini-UART.
    enables: ReadPureWrite<Enables>,
    _1: [u32; 14],
    /// 0x40: data; reading takes a byte.
    io: ReadWrite<u32>,
    /// 0x44: interrupt enable.
    ier: ReadPureWrite<Ier>,
    /// 0x48: writing 6 clears the FIFOs.
    iir: ReadPureWrite<Iir>,
    /// 0x4c: line control; 3 is 8 bits.
    lcr: ReadPureWrite<Lcr>,
    /// 0x50: modem control.
    mcr: ReadPureWrite<Mcr>,
    /// 0x54: line status.
    lsr: ReadPure<Lsr>,
    _2: [u32; 2],
    /// 0x60: bit 0 receiver, bit 1 transmitter.
    cntl: ReadPureWrite<Cntl>,
    _3: u32,
    /// 0x68: baud rate divisor.
    baud: ReadPureWrite<u32>,
}

bits! {
    /// AUX_ENABLES.
    struct Enables {
        /// The mini-UART.
        MINI = 1 << 0,
    }

    /// AUX_MU_IER.
    struct Ier {}

    /// AUX_MU_IIR.
    struct Iir {
        /// Clears the FIFOs.
        CLEAR = 6,
    }

    /// AUX_MU_LCR.
    struct Lcr {
        /// 8 bits.
        EIGHT_BITS = 3,
    }

    /// AUX_MU_MCR.
    struct Mcr {}

    /// AUX_MU_LSR.
    struct Lsr {
        /// A byte has come in.
        RX_READY = 1 << 0,
        /// There is room.
        TX_EMPTY = 1 << 5,
        /// Nothing is leaving.
        TX_IDLE = 1 << 6,
    }

    /// AUX_MU_CNTL.
    struct Cntl {
        /// Receive, transmit.
        ON = 3,
    }
}

/// Divisor of a PL011 clocked at `hz`, in 64ths, rounded. `None` when the clock cannot make the baud rate.
fn pl011_divisor(hz: u32) -> Option<(u32, u32)> {
    let sixty_fourths = (u64::from(hz) * 4 + u64::from(BAUD) / 2) / u64::from(BAUD);
    let whole = u32::try_from(sixty_fourths >> 6).ok()?;
    (1..=0xffff)
        .contains(&whole)
        .then_some((whole, (sixty_fourths & 63) as u32))
}

/// Divisor of a mini-UART clocked at `hz`. `None` when the clock cannot make the baud rate.
fn mini_divisor(hz: u32) -> Option<u32> {
    let divisor = (hz / 8 + BAUD / 2) / BAUD;
    (1..=0x1_0000).contains(&divisor).then(|| divisor - 1)
}

/// Where the registers are.
#[derive(Clone, Copy)]
enum Place {
    Pl011(NonNull<Pl011>),
    Mini(NonNull<Aux>),
    Silent,
}

/// The registers, for as long as one method runs.
enum Registers<'a> {
    Pl011(UniqueMmioPointer<'a, Pl011>),
    Mini(UniqueMmioPointer<'a, Aux>),
    Silent,
}

/// The console's UART: 115200 baud, 8N1, polled. The log and the terminal each hold a copy, and so do the last words
/// of a dying program.
#[derive(Clone, Copy)]
pub struct Uart {
    place: Place,
    clock: Clock,
}

impl Uart {
    /// Takes the UART as it is, without setting it up.
    ///
    /// # Safety
    ///
    /// The SoC is `soc` and its peripherals are mapped. It and its copies stay on one core.
    pub unsafe fn new(soc: Soc, kind: Kind, clock: Clock) -> Self {
        let base = peripherals(soc);
        let place = match kind {
            Kind::Pl011 => NonNull::new((base + offset::PL011) as *mut Pl011).map(Place::Pl011),
            Kind::Mini => NonNull::new((base + offset::AUX) as *mut Aux).map(Place::Mini),
            Kind::Silent => None,
        };
        Self {
            place: place.unwrap_or(Place::Silent),
            clock,
        }
    }

    fn registers(&mut self) -> Registers<'_> {
        match self.place {
            // SAFETY: mapped by the word of `new`'s caller. No other pointer is in use meanwhile: methods of copies do not
            // call each other, one core runs them, and what a fault interrupted does not go on.
            Place::Pl011(place) => Registers::Pl011(unsafe { UniqueMmioPointer::new(place) }),
            // SAFETY: as above.
            Place::Mini(place) => Registers::Mini(unsafe { UniqueMmioPointer::new(place) }),
            Place::Silent => Registers::Silent,
        }
    }

    /// Sets 115200 8N1 for an input clock of `hz`. Without a usable clock the firmware's divisor stays.
    pub fn set_up(&mut self, hz: Option<u32>) {
        self.drain();
        match self.registers() {
            Registers::Pl011(mut uart) => {
                field!(uart, cr).write(Cr::none());
                field!(uart, imsc).write(Interrupts::none());
                field!(uart, icr).write(Interrupts::ALL);
                if let Some((whole, fraction)) = hz.and_then(pl011_divisor) {
                    field!(uart, ibrd).write(whole);
                    field!(uart, fbrd).write(fraction);
                }
                field!(uart, lcrh).write(Lcrh::EIGHT_BITS); // latches the divisor
                field!(uart, cr).write(Cr::ON);
            }
            Registers::Mini(mut uart) => {
                let enables = field!(uart, enables).read();
                field!(uart, enables).write(enables | Enables::MINI);
                field!(uart, cntl).write(Cntl::none());
                field!(uart, ier).write(Ier::none());
                field!(uart, lcr).write(Lcr::EIGHT_BITS);
                field!(uart, mcr).write(Mcr::none());
                field!(uart, iir).write(Iir::CLEAR);
                if let Some(divisor) = hz.and_then(mini_divisor) {
                    field!(uart, baud).write(divisor);
                }
                field!(uart, cntl).write(Cntl::ON);
            }
            Registers::Silent => {}
        }
    }

    /// Sends one byte, or drops it when the UART does not move.
    pub(crate) fn send(&mut self, byte: u8) {
        let clock = self.clock;
        match self.registers() {
            Registers::Pl011(mut uart) => {
                let room = || (!field_shared!(uart, fr).read().has(Fr::TXFF)).then_some(());
                if clock.poll(PATIENCE, room).is_some() {
                    field!(uart, dr).write(u32::from(byte));
                }
            }
            Registers::Mini(mut uart) => {
                let room = || field_shared!(uart, lsr).read().has(Lsr::TX_EMPTY).then_some(());
                if clock.poll(PATIENCE, room).is_some() {
                    field!(uart, io).write(u32::from(byte));
                }
            }
            Registers::Silent => {}
        }
    }

    /// The next byte that came in, if there is one. Bytes with framing, parity or break errors are noise.
    pub(crate) fn receive(&mut self) -> Option<u8> {
        match self.registers() {
            Registers::Pl011(mut uart) => {
                // A FIFO's worth: a line held low fills it with breaks for ever.
                for _ in 0..16 {
                    if field_shared!(uart, fr).read().has(Fr::RXFE) {
                        return None;
                    }
                    let data = field!(uart, dr).read();
                    if data & 0x700 == 0 {
                        return Some(data as u8);
                    }
                }
                None
            }
            Registers::Mini(mut uart) => {
                let ready = field_shared!(uart, lsr).read().has(Lsr::RX_READY);
                ready.then(|| field!(uart, io).read() as u8)
            }
            Registers::Silent => None,
        }
    }

    /// Waits until everything has left, but not for a UART that does not move.
    pub(crate) fn drain(&mut self) {
        let clock = self.clock;
        match self.registers() {
            Registers::Pl011(uart) => {
                clock.poll(PATIENCE, || {
                    (!field_shared!(uart, fr).read().has(Fr::BUSY)).then_some(())
                });
            }
            Registers::Mini(uart) => {
                clock.poll(PATIENCE, || {
                    field_shared!(uart, lsr).read().has(Lsr::TX_IDLE).then_some(())
                });
            }
            Registers::Silent => {}
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use core::mem::offset_of;
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn registers_lie_where_the_manuals_say() {
        assert_eq!((offset_of!(Pl011, fr), offset_of!(Pl011, ibrd)), (0x18, 0x24));
        assert_eq!((offset_of!(Pl011, cr), offset_of!(Pl011, icr)), (0x30, 0x44));
        assert_eq!((offset_of!(Aux, enables), offset_of!(Aux, io)), (0x04, 0x40));
        assert_eq!((offset_of!(Aux, lsr), offset_of!(Aux, baud)), (0x54, 0x68));
        for (soc, pl011, mini) in [
            (Soc::Bcm2837, 0x3f20_1000, 0x3f21_5000),
            (Soc::Bcm2711, 0xfe20_1000, 0xfe21_5000),
        ] {
            // SAFETY: nothing is read or written.
            let place = |kind| unsafe { Uart::new(soc, kind, Clock::start()) }.place;
            let is_pl011 = |at: NonNull<Pl011>| at.addr().get() == pl011;
            assert!(matches!(place(Kind::Pl011), Place::Pl011(at) if is_pl011(at)));
            assert!(matches!(place(Kind::Mini), Place::Mini(at) if at.addr().get() == mini));
        }
    }

    #[test]
    fn the_pins_decide_on_a_board() {
        assert_eq!(routed(4, 4, false, Some("serial1:115200n8")), Kind::Pl011);
        assert_eq!(routed(2, 2, false, Some("serial0")), Kind::Mini);
        assert_eq!(routed(0, 0, false, Some("serial0:115200n8")), Kind::Silent);
        assert_eq!(routed(4, 0, false, None), Kind::Silent);
    }

    #[test]
    fn the_device_tree_decides_under_emulation() {
        assert_eq!(routed(0, 0, true, Some("serial1:115200n8")), Kind::Mini);
        assert_eq!(routed(0, 0, true, Some("/soc/serial@7e215040")), Kind::Mini);
        assert_eq!(routed(0, 0, true, Some("serial0:115200n8")), Kind::Pl011);
        assert_eq!(routed(0, 0, true, None), Kind::Pl011);
    }

    #[test]
    fn divisors_are_the_manuals() {
        assert_eq!(pl011_divisor(48_000_000), Some((26, 3))); // 26.04
        assert_eq!(pl011_divisor(3_000_000), Some((1, 40))); // 1.63, QEMU's clock
        assert_eq!(pl011_divisor(1000), None);
        assert_eq!(pl011_divisor(u32::MAX), Some((2330, 11)));
        assert_eq!(mini_divisor(250_000_000), Some(270)); // "250 MHz, 115200 baud: 270"
        assert_eq!(mini_divisor(1000), None);
    }

    #[test]
    fn a_uart_is_set_to_115200_8n1_without_interrupts() {
        // As a firmware left it, at another rate and with interrupts.
        let mut words = [0; 18];
        (words[9], words[10], words[11], words[12], words[14]) = (1, 2, 0x10, 0x101, 0x50);
        with_pl011(&mut words, |uart| uart.set_up(Some(48_000_000)));
        // IBRD, FBRD, LCRH, CR, IMSC, ICR.
        let set = [9, 10, 11, 12, 14, 17].map(|word| words[word]);
        assert_eq!(set, [26, 3, 0x70, 0x301, 0, 0x7ff]);
        // Without a clock the divisor is the firmware's.
        with_pl011(&mut words, |uart| uart.set_up(None));
        assert_eq!((words[9], words[10], words[12]), (26, 3, 0x301));

        let mut words = [0; 27];
        (words[1], words[17], words[20], words[21]) = (0b110, 3, 2, Lsr::TX_IDLE.number());
        with_mini(&mut words, |uart| uart.set_up(Some(250_000_000)));
        // Enables (SPI's stay), IER, IIR, LCR, MCR, CNTL, BAUD.
        let set = [1, 17, 18, 19, 20, 24, 26].map(|word| words[word]);
        assert_eq!(set, [0b111, 0, 6, 3, 0, 3, 270]);
        with_mini(&mut words, |uart| uart.set_up(None));
        assert_eq!(words[26], 270);
    }

    #[test]
    fn silence_takes_every_byte_and_has_none() {
        // SAFETY: no peripheral is mapped here; a register that was touched would end the test.
        let mut uart = unsafe { Uart::new(Soc::Bcm2837, Kind::Silent, Clock::start()) };
        assert!(matches!(uart.place, Place::Silent));
        uart.set_up(Some(48_000_000));
        uart.send(b'x');
        assert_eq!(uart.receive(), None);
        uart.drain();
    }

    fn with_pl011(words: &mut [u32; 18], act: impl FnOnce(&mut Uart)) {
        // 18 words are the registers up to ICR, exclusively borrowed for this call.
        act(&mut Uart {
            place: Place::Pl011(NonNull::from(words).cast()),
            clock: Clock::start(),
        });
    }

    /// What leaves a UART, in its order. While it is used, this byte comes in again and again, if there is one.
    pub(crate) fn sent(incoming: Option<u8>, act: impl FnOnce(Uart)) -> Vec<u8> {
        let words = NonNull::from(Box::leak(Box::new([0_u32; 18]))).cast::<u32>();
        let idle = incoming.map_or(u32::MAX, u32::from);
        let flags = if incoming.is_none() { Fr::RXFE.number() } else { 0 };
        let sent = Rc::new(RefCell::new(Vec::new()));
        let recorded = sent.clone();
        let step = move || {
            // SAFETY: leaked, and the driver only waits meanwhile.
            let written = unsafe {
                words.add(6).write_volatile(flags);
                words.replace(idle)
            };
            if written != idle {
                recorded.borrow_mut().push(written as u8);
            }
        };
        step();
        sent.borrow_mut().clear();
        crate::cpu::plug(step.clone());
        act(Uart {
            place: Place::Pl011(words.cast()),
            clock: Clock::start(),
        });
        step();
        sent.take()
    }

    fn with_mini(words: &mut [u32; 27], act: impl FnOnce(&mut Uart)) {
        // 27 words are the registers up to BAUD, exclusively borrowed for this call.
        act(&mut Uart {
            place: Place::Mini(NonNull::from(words).cast()),
            clock: Clock::start(),
        });
    }

    #[test]
    fn a_mini_uart_waits_for_room_and_has_the_bytes_that_came() {
        let mut words = [0; 27];
        with_mini(&mut words, |uart| uart.send(b'x'));
        assert_eq!(words[16], 0, "stuck: the byte is dropped");
        words[21] = Lsr::TX_EMPTY.number();
        with_mini(&mut words, |uart| {
            uart.send(b'x');
            assert_eq!(uart.receive(), None);
        });
        assert_eq!(words[16], u32::from(b'x'));
        words[21] = Lsr::RX_READY.number();
        with_mini(&mut words, |uart| assert_eq!(uart.receive(), Some(b'x')));
    }

    #[test]
    fn a_uart_that_moves_takes_each_byte() {
        let mut words = [0; 18];
        with_pl011(&mut words, |uart| uart.send(b'x'));
        assert_eq!(words[0], u32::from(b'x'));
        words[6] = Fr::RXFE.number();
        with_pl011(&mut words, |uart| assert_eq!(uart.receive(), None));
        let said = sent(None, |mut uart| b"hello".iter().for_each(|byte| uart.send(*byte)));
        assert_eq!(said, b"hello");
    }

    #[test]
    fn a_stuck_transmitter_drops_the_byte_and_returns() {
        let mut words = [0; 18];
        words[6] = Fr::TXFF.number();
        with_pl011(&mut words, |uart| uart.send(b'x'));
        assert_eq!(words[0], 0);
    }

    #[test]
    fn a_line_held_low_is_not_input() {
        let mut words = [0; 18];
        words[0] = 0x400; // break
        with_pl011(&mut words, |uart| assert_eq!(uart.receive(), None));
        words[0] = 0x61;
        with_pl011(&mut words, |uart| assert_eq!(uart.receive(), Some(b'a')));
    }
}
