//! DWC2 USB host controller, polled, buffer DMA (Synopsys core 2.80a; facts of EDK2 DwUsbHostDxe and Linux dwc2).

use core::ptr::NonNull;

use boot::board::Soc;
use safe_mmio::fields::{ReadPure, ReadPureWrite};
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use smoltcp::time::{Duration, Instant};

use crate::bits::{Bits as _, bits};
use crate::clock::Clock;
use crate::cpu;
use crate::dma::{Arena, Buffer};
use crate::soc::{offset, peripherals};
use crate::usb::transfer::{Error, Hcchar, Hcint, Limits, Speed, Transfer};

#[repr(C)]
pub(super) struct Registers {
    _0: [u32; 2],
    /// 0x008: AHB configuration: bit 0 interrupts, 4 wait for AXI writes (BCM), 5 DMA.
    gahbcfg: ReadPureWrite<Gahbcfg>,
    /// 0x00c: USB configuration.
    gusbcfg: ReadPureWrite<Gusbcfg>,
    /// 0x010: resets and flushes.
    grstctl: ReadPureWrite<Grstctl>,
    /// 0x014: bit 0 host mode.
    gintsts: ReadPureWrite<Gintsts>,
    /// 0x018: interrupt mask.
    gintmsk: ReadPureWrite<Gintsts>,
    _1: [u32; 2],
    /// 0x024: receive FIFO words.
    grxfsiz: ReadPureWrite<u32>,
    /// 0x028: non-periodic transmit FIFO words and start.
    gnptxfsiz: ReadPureWrite<u32>,
    _2: [u32; 5],
    /// 0x040: core release.
    gsnpsid: ReadPure<u32>,
    _3: [u32; 2],
    /// 0x04c: widths of the counters.
    ghwcfg3: ReadPure<u32>,
    _8: [u32; 44],
    /// 0x100: periodic transmit FIFO words and start.
    hptxfsiz: ReadPureWrite<u32>,
    _4: [u32; 191],
    /// 0x400: host configuration.
    hcfg: ReadPureWrite<u32>,
    _5: [u32; 15],
    /// 0x440: root port.
    hprt0: ReadPureWrite<Hprt0>,
    _6: [u32; 47],
    /// 0x500: host channels.
    channels: [ChannelRegisters; CHANNELS],
    _7: [u32; 512],
    /// 0xe00: clock gating.
    pcgcctl: ReadPureWrite<u32>,
}

#[repr(C)]
struct ChannelRegisters {
    /// 0x00: endpoint, direction, enable.
    hcchar: ReadPureWrite<Hcchar>,
    /// 0x04: split transactions.
    hcsplt: ReadPureWrite<u32>,
    /// 0x08: what happened; write 1 to clear.
    hcint: ReadPureWrite<Hcint>,
    /// 0x0c: interrupt mask.
    hcintmsk: ReadPureWrite<Hcint>,
    /// 0x10: bytes, packets, packet identifier.
    hctsiz: ReadPureWrite<u32>,
    /// 0x14: bus address.
    hcdma: ReadPureWrite<u32>,
    _0: [u32; 2],
}

const CHANNELS: usize = 8;

bits! {
    /// GAHBCFG.
    struct Gahbcfg {
        /// Wait for AXI writes (BCM).
        WAIT_AXI_WRITES = 1 << 4,
        /// DMA.
        DMA = 1 << 5,
    }

    /// GUSBCFG.
    struct Gusbcfg {
        /// What the host of this PHY does not want, and the field for `TIMEOUT_CALIBRATION`.
        CLEAR = 1 << 30 // force device
            | 1 << 22 // term-select pulse
            | 1 << 20 // external VBUS
            | 1 << 19 // ULPI clock suspend
            | 1 << 17 // ULPI full and low speed
            | 1 << 9 // HNP
            | 1 << 8 // SRP
            | 1 << 4 // ULPI
            | 1 << 3 // 16-bit PHY
            | 7,
        /// The longest.
        TIMEOUT_CALIBRATION = 7,
        /// Be a host, whatever the ID pin says.
        FORCE_HOST = 1 << 29,
    }

    /// GRSTCTL.
    struct Grstctl {
        /// Reset of the core.
        CORE = 1 << 0,
        /// Flush of the receive FIFO.
        FLUSH_RX = 1 << 4,
        /// Flush of a transmit FIFO.
        FLUSH_TX = 1 << 5,
        /// Flush of all transmit FIFOs.
        FLUSH_ALL_TX = 1 << 5 | 0x10 << 6,
        /// Nothing is under way on the AHB.
        AHB_IDLE = 1 << 31,
    }

    /// GINTSTS, and GINTMSK.
    struct Gintsts {
        /// The core is a host.
        HOST = 1 << 0,
    }

    /// HPRT0. Bits 18:17 are the speed.
    struct Hprt0 {
        /// Something is plugged in.
        CONNECTED = 1 << 0,
        /// The port is enabled; written as a one: disables it.
        ENABLED = 1 << 2,
        /// The port is in reset.
        RESET = 1 << 8,
        /// The port has power.
        POWER = 1 << 12,
        /// Written back as ones these bits clear themselves, and bit 2 disables the port.
        WRITE_1_TO_CLEAR = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5,
    }
}

/// FIFO depths in words: receive, non-periodic, periodic; 4080 words are there.
const FIFO: [u32; 3] = [1024, 1024, 1024];
/// Longest wait for a register bit that the core itself sets.
const CORE_PATIENCE: Duration = Duration::from_millis(100);
/// Longest wait for QEMU's model to end a transfer: a frame, but a starved host serves it when it can.
const EMULATED_PATIENCE: Duration = Duration::from_secs(2);
/// From the core's reset until its registers may be relied on: what EDK2 and Circle wait.
const RESET_RECOVERY_MS: u32 = 100;
/// Largest control data stage; descriptors are shorter.
pub(crate) const CONTROL_BUFFER: usize = 1024;

/// A channel of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Channel(u8);

impl Channel {
    /// For control transfers, one at a time, whoever asks. Each pipe has one of the others.
    pub(super) const CONTROL: Self = Self(0);
}

/// The controller, as host.
pub struct Dwc2 {
    registers: UniqueMmioPointer<'static, Registers>,
    /// Where control transfers keep their data.
    pub(super) control: Buffer,
    /// What the core can count; known once it has started.
    pub(super) limits: Limits,
    /// Counts what ends everything on the bus: starts, and stops.
    era: u32,
    /// Channels that are given away, the one for control transfers with them.
    given: u8,
    /// When all control transfers must have ended, while somebody [has said so](Self::within).
    pub(super) deadline: Option<Instant>,
    clock: Clock,
}

impl Dwc2 {
    /// Takes the controller; touches nothing yet.
    ///
    /// # Safety
    ///
    /// The SoC is `soc`, its peripherals are mapped, the controller is powered, and this is the only `Dwc2`.
    pub unsafe fn new(soc: Soc, arena: &mut Arena, clock: Clock) -> Result<Self, Error> {
        let address = (peripherals(soc) + offset::USB) as *mut Registers;
        let control = arena.buffer(CONTROL_BUFFER).ok_or(Error::NoMemory)?;
        // SAFETY: mapped by the caller's word, not null, and no other pointer to it exists.
        Ok(unsafe { Self::at(NonNull::new_unchecked(address), control, clock) })
    }

    /// # Safety
    ///
    /// `registers` are a controller's, or memory that stands for them in a test, and only this `Dwc2` uses them.
    pub(super) unsafe fn at(registers: NonNull<Registers>, control: Buffer, clock: Clock) -> Self {
        Self {
            // SAFETY: the caller's word.
            registers: unsafe { UniqueMmioPointer::new(registers) },
            control,
            limits: Limits::LEAST,
            era: 0,
            given: 1,
            deadline: None,
            clock,
        }
    }

    /// Resets the core and makes it a host with power on its root port. Works from any state, and ends what was on the bus.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        self.forget();
        let id = field_shared!(self.registers, gsnpsid).read();
        if id >> 16 != 0x4f54 {
            return Err(Error::NotDwc2(id));
        }
        self.limits = Limits::of(field_shared!(self.registers, ghwcfg3).read());
        field!(self.registers, gahbcfg).write(Gahbcfg::none());
        field!(self.registers, gintmsk).write(Gintsts::none());
        field!(self.registers, pcgcctl).write(0); // a core whose clocks are gated would not come out of reset
        self.reset_core()?;
        // Only now does it show whether it is a host: its ID filter starts over.
        embedded_hal::delay::DelayNs::delay_ms(&mut self.clock, RESET_RECOVERY_MS);
        let gusbcfg = field!(self.registers, gusbcfg).read() & !Gusbcfg::CLEAR;
        field!(self.registers, gusbcfg).write(gusbcfg | Gusbcfg::TIMEOUT_CALIBRATION | Gusbcfg::FORCE_HOST);
        self.until(CORE_PATIENCE, |r| {
            field_shared!(*r, gintsts).read().has(Gintsts::HOST)
        })?;
        field!(self.registers, hcfg).write(0);
        field!(self.registers, gahbcfg).write(Gahbcfg::WAIT_AXI_WRITES | Gahbcfg::DMA);
        let [receive, non_periodic, periodic] = FIFO;
        field!(self.registers, grxfsiz).write(receive);
        field!(self.registers, gnptxfsiz).write(non_periodic << 16 | receive);
        field!(self.registers, hptxfsiz).write(periodic << 16 | (receive + non_periodic));
        field!(self.registers, grstctl).write(Grstctl::FLUSH_ALL_TX);
        self.until(CORE_PATIENCE, |r| {
            !field_shared!(*r, grstctl).read().has(Grstctl::FLUSH_TX)
        })?;
        field!(self.registers, grstctl).write(Grstctl::FLUSH_RX);
        self.until(CORE_PATIENCE, |r| {
            !field_shared!(*r, grstctl).read().has(Grstctl::FLUSH_RX)
        })?;
        for number in 0..CHANNELS {
            // Straight after its reset a channel that does not stop is the core's own business.
            let _ = self.halt_number(number);
        }
        self.write_port(|port| port | Hprt0::POWER);
        Ok(())
    }

    /// Devices that were found, and pipes to them, are of the past.
    fn forget(&mut self) {
        self.era = self.era.wrapping_add(1);
        self.given = 1;
    }

    /// What a device that is found now bears.
    pub(super) fn era(&self) -> u32 {
        self.era
    }

    /// A channel for a pipe, until the bus starts again.
    pub(super) fn channel(&mut self) -> Result<Channel, Error> {
        let channel = Channel(self.given);
        if usize::from(self.given) == CHANNELS {
            return Err(Error::NoChannel);
        }
        self.given += 1;
        Ok(channel)
    }

    fn reset_core(&mut self) -> Result<(), Error> {
        self.until(CORE_PATIENCE, |r| {
            field_shared!(*r, grstctl).read().has(Grstctl::AHB_IDLE)
        })
        .or_else(|e| if self.emulated() { Ok(()) } else { Err(e) })?;
        field!(self.registers, grstctl).write(Grstctl::CORE);
        self.until(CORE_PATIENCE, |r| {
            !field_shared!(*r, grstctl).read().has(Grstctl::CORE)
        })
    }

    /// Whether this is QEMU's model.
    fn emulated(&self) -> bool {
        field_shared!(self.registers, gsnpsid).read() == 0x4f54_294a
    }

    fn until(
        &self,
        limit: Duration,
        ready: impl Fn(&UniqueMmioPointer<'static, Registers>) -> bool,
    ) -> Result<(), Error> {
        self.clock
            .poll(limit, || ready(&self.registers).then_some(()))
            .ok_or(Error::CoreStuck)
    }

    fn write_port(&mut self, change: impl FnOnce(Hprt0) -> Hprt0) {
        let port = field!(self.registers, hprt0).read() & !Hprt0::WRITE_1_TO_CLEAR;
        field!(self.registers, hprt0).write(change(port));
    }

    /// Whether something is plugged into the root port.
    pub(super) fn connected(&self) -> bool {
        field_shared!(self.registers, hprt0).read().has(Hprt0::CONNECTED)
    }

    /// Resets the device on the root port: it then answers at address 0.
    pub(super) fn reset_port(&mut self) -> Result<Speed, Error> {
        use embedded_hal::delay::DelayNs as _;
        if !self.connected() {
            return Err(Error::NotConnected);
        }
        let mut clock = self.clock;
        self.write_port(|port| port | Hprt0::RESET);
        clock.delay_ms(50); // USB 2.0 §7.1.7.5, TDRSTR
        self.write_port(|port| port & !Hprt0::RESET);
        self.until(CORE_PATIENCE, |r| {
            field_shared!(*r, hprt0).read().has(Hprt0::ENABLED)
        })
        .map_err(|_| Error::PortNotEnabled)?;
        clock.delay_ms(10); // USB 2.0 §7.1.7.5, TRSTRCY
        Ok(match field!(self.registers, hprt0).read().number() >> 17 & 3 {
            0 => Speed::High,
            1 => Speed::Full,
            _ => Speed::Low,
        })
    }

    /// What tells the time.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Starts a transfer, or goes on with it. Never waits.
    pub(super) fn start_transfer(&mut self, channel: Channel, transfer: &Transfer) {
        let mut channels = field!(self.registers, channels);
        let Some(mut registers) = channels.get(usize::from(channel.0)) else {
            return;
        };
        field!(registers, hcint).write(Hcint::ALL);
        field!(registers, hcintmsk).write(Hcint::none());
        field!(registers, hcsplt).write(0);
        field!(registers, hctsiz).write(transfer.hctsiz);
        field!(registers, hcdma).write(transfer.hcdma);
        cpu::barrier();
        field!(registers, hcchar).write(transfer.hcchar | Hcchar::ENABLE);
    }

    /// HCINT and HCTSIZ of a channel, once it has halted.
    pub(super) fn halted(&mut self, channel: Channel) -> Option<(Hcint, u32)> {
        let mut channels = field!(self.registers, channels);
        let mut registers = channels.get(usize::from(channel.0))?;
        let hcint = field!(registers, hcint).read();
        hcint
            .has(Hcint::HALTED)
            .then(|| (hcint, field!(registers, hctsiz).read()))
    }

    /// Stops a channel, whatever it does.
    pub(super) fn halt(&mut self, channel: Channel) -> Result<(), Error> {
        self.halt_number(usize::from(channel.0))
    }

    fn halt_number(&mut self, number: usize) -> Result<(), Error> {
        let clock = self.clock;
        let mut channels = field!(self.registers, channels);
        let Some(mut registers) = channels.get(number) else {
            return Ok(());
        };
        let hcchar = field!(registers, hcchar).read();
        if !hcchar.has(Hcchar::ENABLE) {
            return Ok(());
        }
        field!(registers, hcchar).write(hcchar | Hcchar::ENABLE | Hcchar::DISABLE);
        clock
            .poll(Duration::from_millis(10), || {
                field!(registers, hcint).read().has(Hcint::HALTED).then_some(())
            })
            .ok_or(Error::CoreStuck)
    }

    /// QEMU goes on serving a halted bulk channel until its packet moves, and aborts when the port is gone by then.
    /// As an interrupt endpoint the channel ends at the next NAK.
    fn end_emulated_transfer(&mut self, number: usize) {
        let clock = self.clock;
        let mut channels = field!(self.registers, channels);
        let Some(mut registers) = channels.get(number) else {
            return;
        };
        let hcchar = field!(registers, hcchar).read();
        field!(registers, hcchar).write(hcchar | Hcchar::INTERRUPT);
        field!(registers, hcint).write(Hcint::ALL);
        clock.poll(EMULATED_PATIENCE, || {
            field!(registers, hcint).read().has(Hcint::HALTED).then_some(())
        });
    }

    /// Whether a transfer is under way on a channel.
    fn busy(&mut self, number: usize) -> bool {
        let mut channels = field!(self.registers, channels);
        let Some(mut registers) = channels.get(number) else {
            return false;
        };
        field!(registers, hcchar).read().has(Hcchar::ENABLE)
    }

    /// Leaves nothing in flight: no write to memory happens after this.
    pub(super) fn quiesce(&mut self) {
        self.forget();
        let emulated = self.emulated();
        for number in 0..CHANNELS {
            let busy = self.busy(number);
            // One that does not stop is stopped by the core's reset below.
            let _ = self.halt_number(number);
            if busy && emulated {
                self.end_emulated_transfer(number);
            }
        }
        self.write_port(|port| port | Hprt0::ENABLED); // written as a one: off
        field!(self.registers, gintmsk).write(Gintsts::none());
        field!(self.registers, gahbcfg).write(Gahbcfg::none());
        // A core that does not reset has been told to stop already.
        let _ = self.reset_core();
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;
    use crate::usb::fake::Fake;
    use crate::usb::transfer::Device;

    const FULL: Device = Device {
        address: 5,
        speed: Speed::Full,
        max_packet: 64,
        era: 1,
    };

    #[test]
    fn registers_lie_where_the_databook_says() {
        assert_eq!(
            (offset_of!(Registers, gahbcfg), offset_of!(Registers, gsnpsid)),
            (0x008, 0x040)
        );
        assert_eq!(
            (offset_of!(Registers, ghwcfg3), offset_of!(Registers, hptxfsiz)),
            (0x04c, 0x100)
        );
        assert_eq!(
            (offset_of!(Registers, hcfg), offset_of!(Registers, hprt0)),
            (0x400, 0x440)
        );
        assert_eq!(offset_of!(Registers, channels), 0x500);
        assert_eq!(
            (offset_of!(Registers, pcgcctl), size_of::<ChannelRegisters>()),
            (0xe00, 0x20)
        );
        for (soc, address) in [(Soc::Bcm2837, 0x3f98_0000), (Soc::Bcm2711, 0xfe98_0000)] {
            let mut arena = crate::dma::tests::arena(CONTROL_BUFFER + 64).0;
            // SAFETY: nothing is read or written.
            let usb = unsafe { Dwc2::new(soc, &mut arena, Clock::start()) }.unwrap();
            assert_eq!(usb.registers.ptr().addr(), address);
        }
    }

    #[test]
    fn a_core_comes_up_as_a_host_and_its_port_resets() {
        let (fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        assert_eq!(
            fake.register(0x008),
            (Gahbcfg::WAIT_AXI_WRITES | Gahbcfg::DMA).number()
        );
        assert_eq!(fake.register(0x00c), Gusbcfg::FORCE_HOST.number() | 7);
        assert_eq!(
            (fake.register(0x024), fake.register(0x028)),
            (1024, 1024 << 16 | 1024)
        );
        assert_eq!(fake.register(0x100), 1024 << 16 | 2048);
        assert_eq!(fake.register(0x440) & 1 << 12, Hprt0::POWER.number());
        assert_eq!(usb.reset_port(), Ok(Speed::Full));
    }

    #[test]
    fn another_core_is_not_touched() {
        let (_fake, mut usb) = Fake::plugged();
        let mut words = vec![0_u32; size_of::<Registers>() / 4];
        words[0x10] = 0x1234_5678;
        // SAFETY: as long as the block, and only this driver uses it.
        usb.registers = unsafe { UniqueMmioPointer::new(NonNull::from(&mut words[..]).cast()) };
        assert_eq!(usb.start(), Err(Error::NotDwc2(0x1234_5678)));
        assert_eq!(words.iter().filter(|word| **word != 0).count(), 1);
    }

    #[test]
    fn nothing_is_in_flight_after_quiesce() {
        let (mut fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        let mut buffer = fake.arena.buffer(256).unwrap();
        let mut pipe = usb.pipe(FULL, (0x82, 64)).unwrap();
        usb.start_bulk(&mut pipe, &mut buffer, 256);
        fake.step();
        usb.quiesce();
        assert_eq!(fake.register(0x520) & Hcchar::ENABLE.number(), 0);
        assert_eq!((fake.register(0x008), fake.register(0x018)), (0, 0));
    }

    #[test]
    fn channels_end_and_begin_anew_with_the_bus() {
        let (_fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        let pipes: Vec<_> = (1..CHANNELS).map(|_| usb.pipe(FULL, (0x82, 64))).collect();
        assert!(pipes.iter().all(Result::is_ok));
        assert_eq!(usb.channel(), Err(Error::NoChannel));
        usb.start().unwrap();
        assert_eq!(usb.channel(), Ok(Channel(1)));
    }
}
