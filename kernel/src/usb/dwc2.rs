//! DWC2 USB host controller, polled, buffer DMA (Synopsys core 2.80a; facts of EDK2 DwUsbHostDxe and Linux dwc2).

use core::fmt;
use core::ptr::NonNull;

use safe_mmio::fields::{ReadPure, ReadPureWrite};
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use smoltcp::time::Duration;

use crate::clock::Clock;
use crate::cpu;
use crate::dma::{Arena, Buffer};
use crate::soc::{Soc, offset};

#[repr(C)]
pub(super) struct Registers {
    _0: [u32; 2],
    /// 0x008: AHB configuration: bit 0 interrupts, 4 wait for AXI writes (BCM), 5 DMA.
    gahbcfg: ReadPureWrite<u32>,
    /// 0x00c: USB configuration.
    gusbcfg: ReadPureWrite<u32>,
    /// 0x010: resets and flushes.
    grstctl: ReadPureWrite<u32>,
    /// 0x014: bit 0 host mode.
    gintsts: ReadPureWrite<u32>,
    /// 0x018: interrupt mask.
    gintmsk: ReadPureWrite<u32>,
    _1: [u32; 2],
    /// 0x024: receive FIFO words.
    grxfsiz: ReadPureWrite<u32>,
    /// 0x028: non-periodic transmit FIFO words and start.
    gnptxfsiz: ReadPureWrite<u32>,
    _2: [u32; 5],
    /// 0x040: core release.
    gsnpsid: ReadPure<u32>,
    _3: [u32; 47],
    /// 0x100: periodic transmit FIFO words and start.
    hptxfsiz: ReadPureWrite<u32>,
    _4: [u32; 191],
    /// 0x400: host configuration.
    hcfg: ReadPureWrite<u32>,
    _5: [u32; 15],
    /// 0x440: root port.
    hprt0: ReadPureWrite<u32>,
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
    hcchar: ReadPureWrite<u32>,
    /// 0x04: split transactions.
    hcsplt: ReadPureWrite<u32>,
    /// 0x08: what happened; write 1 to clear.
    hcint: ReadPureWrite<u32>,
    /// 0x0c: interrupt mask.
    hcintmsk: ReadPureWrite<u32>,
    /// 0x10: bytes, packets, packet identifier.
    hctsiz: ReadPureWrite<u32>,
    /// 0x14: bus address.
    hcdma: ReadPureWrite<u32>,
    _0: [u32; 2],
}

const CHANNELS: usize = 8;

const GAHBCFG_WAIT_AXI_WRITES: u32 = 1 << 4;
const GAHBCFG_DMA: u32 = 1 << 5;
const GUSBCFG_CLEAR: u32 = 1 << 30 // force device
    | 1 << 22 // term-select pulse
    | 1 << 20 // external VBUS
    | 1 << 19 // ULPI clock suspend
    | 1 << 17 // ULPI full and low speed
    | 1 << 9 // HNP
    | 1 << 8 // SRP
    | 1 << 4 // ULPI
    | 1 << 3; // 16-bit PHY
const GUSBCFG_TIMEOUT_CALIBRATION: u32 = 7;
const GUSBCFG_FORCE_HOST: u32 = 1 << 29;
const GRSTCTL_CORE: u32 = 1 << 0;
const GRSTCTL_FLUSH_RX: u32 = 1 << 4;
const GRSTCTL_FLUSH_ALL_TX: u32 = 1 << 5 | 0x10 << 6;
const GRSTCTL_AHB_IDLE: u32 = 1 << 31;
const GINTSTS_HOST: u32 = 1 << 0;

const HPRT0_CONNECTED: u32 = 1 << 0;
const HPRT0_ENABLED: u32 = 1 << 2;
const HPRT0_RESET: u32 = 1 << 8;
const HPRT0_POWER: u32 = 1 << 12;
/// Written back as ones these bits clear themselves, and bit 2 disables the port.
const HPRT0_WRITE_1_TO_CLEAR: u32 = 1 << 1 | HPRT0_ENABLED | 1 << 3 | 1 << 5;

const HCCHAR_DISABLE: u32 = 1 << 30;
const HCCHAR_ENABLE: u32 = 1 << 31;

/// HCTSIZ: bytes still to move.
const BYTES: u32 = 0x7_ffff;
/// HCTSIZ: identifier of the next packet.
const PID: u32 = 3 << 29;

const HCINT_COMPLETE: u32 = 1 << 0;
const HCINT_HALTED: u32 = 1 << 1;
const HCINT_AHB_ERROR: u32 = 1 << 2;
const HCINT_STALL: u32 = 1 << 3;
const HCINT_BABBLE: u32 = 1 << 8;

/// FIFO depths in words: receive, non-periodic, periodic; 4080 words are there.
const FIFO: [u32; 3] = [1024, 1024, 1024];
/// Longest control transfer; the devices Bramble knows answer within milliseconds.
const CONTROL_PATIENCE: Duration = Duration::from_millis(500);
/// Longest wait for a register bit that the core itself sets.
const CORE_PATIENCE: Duration = Duration::from_millis(100);
/// Longest wait for QEMU's model to end a transfer: a frame, but a starved host serves it when it can.
const EMULATED_PATIENCE: Duration = Duration::from_secs(5);
/// From the core's reset until its registers may be relied on: what EDK2 and Circle wait.
const RESET_RECOVERY_MS: u32 = 100;
/// Tries of a transaction that went wrong on the wire.
const TRIES: u32 = 3;
/// Largest control data stage; descriptors are shorter.
pub(crate) const CONTROL_BUFFER: usize = 1024;
/// Largest transfer: what Linux allows this core.
const MAX_TRANSFER: usize = 65_535;

/// Why a transfer or the controller failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Error {
    /// No Synopsys core behind the registers; what was read instead.
    NotDwc2(u32),
    /// The core did not do in time what it was told: reset, enter host mode, stop a channel.
    CoreStuck,
    /// Nothing is plugged in.
    NotConnected,
    /// A device is plugged in but its port does not come up.
    PortNotEnabled,
    /// No DMA memory left.
    NoMemory,
    /// The device refused the request.
    Stall,
    /// The device sent more than was asked for.
    Babble,
    /// No valid answer on the wire.
    Transaction,
    /// The controller could not reach memory.
    Bus,
    /// No answer in time.
    TimedOut,
    /// The request is longer than the driver's buffer.
    TooLong,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDwc2(id) => write!(f, "no DWC2 core (GSNPSID {id:#010x})"),
            Self::CoreStuck => f.write_str("the controller is stuck"),
            Self::NotConnected => f.write_str("nothing is connected"),
            Self::PortNotEnabled => f.write_str("the port does not come up"),
            Self::NoMemory => f.write_str("no DMA memory left"),
            Self::Stall => f.write_str("the device refused (stall)"),
            Self::Babble => f.write_str("the device sent too much (babble)"),
            Self::Transaction => f.write_str("no valid answer on the wire"),
            Self::Bus => f.write_str("DMA failed (AHB error)"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::TooLong => f.write_str("the transfer is longer than the driver's buffer"),
        }
    }
}

/// Speed of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speed {
    /// 480 Mb/s.
    High,
    /// 12 Mb/s.
    Full,
    /// 1.5 Mb/s.
    Low,
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::High => "high speed",
            Self::Full => "full speed",
            Self::Low => "low speed",
        })
    }
}

/// A device's default control pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    /// Bus address; 0 until it has one.
    pub(crate) address: u8,
    /// Its speed.
    pub(crate) speed: Speed,
    /// Largest packet of endpoint 0.
    pub(crate) max_packet: u16,
}

/// An eight-byte request (USB 2.0 §9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    /// bmRequestType; bit 7 is the direction of the data stage, device to host.
    pub(crate) request_type: u8,
    /// bRequest.
    pub(crate) request: u8,
    /// wValue.
    pub(crate) value: u16,
    /// wIndex.
    pub(crate) index: u16,
}

/// A channel of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Control transfers, one at a time.
    Control = 0,
    /// Bulk IN of the network interface, always armed.
    Receive = 1,
    /// Bulk OUT of the network interface.
    Transmit = 2,
}

/// Packet identifier of the next data packet, as HCTSIZ holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pid(u32);

const DATA0: Pid = Pid(0);
const DATA1: Pid = Pid(2);
const SETUP: Pid = Pid(3);

/// A bulk endpoint and its data toggle.
#[derive(Debug)]
pub(crate) struct Pipe {
    device: Device,
    number: u8,
    input: bool,
    max_packet: u16,
    toggle: Pid,
    /// Bytes that the transfer under way was programmed for.
    asked: u32,
}

impl Pipe {
    /// Bulk endpoint `address` (bit 7: IN) of `device`, straight after its configuration or interface was set.
    pub(crate) fn bulk(device: Device, address: u8, max_packet: u16) -> Self {
        Self {
            device,
            number: address & 0xf,
            input: address & 0x80 != 0,
            max_packet,
            toggle: DATA0,
            asked: 0,
        }
    }

    /// Largest packet in bytes.
    pub(crate) fn max_packet(&self) -> usize {
        usize::from(self.max_packet)
    }

    /// Where the toggle stands at the end of a transfer: the core leaves the identifier of the next packet in HCTSIZ.
    /// QEMU leaves it alone, and ignores it too.
    fn follow(&mut self, hctsiz: u32) {
        self.toggle = if hctsiz & PID == DATA1.0 << 29 {
            DATA1
        } else {
            DATA0
        };
    }

    fn hcchar(&self) -> u32 {
        const BULK: u32 = 2;
        hcchar(self.device, self.number, self.input, BULK, self.max_packet)
    }
}

/// HCCHAR without its enable bit.
fn hcchar(device: Device, endpoint: u8, input: bool, kind: u32, max_packet: u16) -> u32 {
    u32::from(max_packet & 0x7ff)
        | u32::from(endpoint) << 11
        | u32::from(input) << 15
        | u32::from(device.speed == Speed::Low) << 17
        | kind << 18
        | 1 << 20
        | u32::from(device.address) << 22
}

/// HCTSIZ of a transfer: an IN transfer asks for whole packets, and even nothing is one packet.
fn hctsiz(len: usize, max_packet: u16, input: bool, pid: Pid) -> u32 {
    let packets = len.div_ceil(usize::from(max_packet.max(1))).max(1);
    let bytes = if input {
        packets * usize::from(max_packet)
    } else {
        len
    };
    bytes as u32 & BYTES | (packets as u32 & 0x3ff) << 19 | pid.0 << 29
}

/// Packets still to move, of HCTSIZ.
fn packets(hctsiz: u32) -> u32 {
    hctsiz >> 19 & 0x3ff
}

/// What a halted channel's HCINT means. Without another reason the wire is to blame.
fn outcome(hcint: u32) -> Result<(), Error> {
    if hcint & HCINT_AHB_ERROR != 0 {
        Err(Error::Bus)
    } else if hcint & HCINT_STALL != 0 {
        Err(Error::Stall)
    } else if hcint & HCINT_BABBLE != 0 {
        Err(Error::Babble)
    } else if hcint & HCINT_COMPLETE != 0 {
        Ok(())
    } else {
        Err(Error::Transaction)
    }
}

/// The controller, as host.
pub(crate) struct Dwc2 {
    registers: UniqueMmioPointer<'static, Registers>,
    control: Buffer,
    clock: Clock,
}

impl Dwc2 {
    /// Takes the controller; touches nothing yet.
    ///
    /// # Safety
    ///
    /// The SoC is `soc`, its peripherals are mapped, the controller is powered, and this is the only `Dwc2`.
    pub(crate) unsafe fn new(soc: Soc, arena: &mut Arena, clock: Clock) -> Result<Self, Error> {
        let address = (soc.peripherals() + offset::USB) as *mut Registers;
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
            clock,
        }
    }

    /// Resets the core and makes it a host with power on its root port. Works from any state.
    pub(crate) fn start(&mut self) -> Result<(), Error> {
        let id = field_shared!(self.registers, gsnpsid).read();
        if id >> 16 != 0x4f54 {
            return Err(Error::NotDwc2(id));
        }
        field!(self.registers, gahbcfg).write(0);
        field!(self.registers, gintmsk).write(0);
        field!(self.registers, pcgcctl).write(0); // a core whose clocks are gated would not come out of reset
        self.reset_core()?;
        // Only now does it show whether it is a host: its ID filter starts over.
        embedded_hal::delay::DelayNs::delay_ms(&mut self.clock, RESET_RECOVERY_MS);
        let gusbcfg = field!(self.registers, gusbcfg).read() & !(GUSBCFG_CLEAR | 7);
        field!(self.registers, gusbcfg).write(gusbcfg | GUSBCFG_TIMEOUT_CALIBRATION | GUSBCFG_FORCE_HOST);
        self.until(CORE_PATIENCE, |r| {
            field_shared!(*r, gintsts).read() & GINTSTS_HOST != 0
        })?;
        field!(self.registers, hcfg).write(0);
        field!(self.registers, gahbcfg).write(GAHBCFG_WAIT_AXI_WRITES | GAHBCFG_DMA);
        let [receive, non_periodic, periodic] = FIFO;
        field!(self.registers, grxfsiz).write(receive);
        field!(self.registers, gnptxfsiz).write(non_periodic << 16 | receive);
        field!(self.registers, hptxfsiz).write(periodic << 16 | (receive + non_periodic));
        field!(self.registers, grstctl).write(GRSTCTL_FLUSH_ALL_TX);
        self.until(CORE_PATIENCE, |r| field_shared!(*r, grstctl).read() & 1 << 5 == 0)?;
        field!(self.registers, grstctl).write(GRSTCTL_FLUSH_RX);
        self.until(CORE_PATIENCE, |r| {
            field_shared!(*r, grstctl).read() & GRSTCTL_FLUSH_RX == 0
        })?;
        for number in 0..CHANNELS {
            self.halt(number);
        }
        self.write_port(|port| port | HPRT0_POWER);
        Ok(())
    }

    fn reset_core(&mut self) -> Result<(), Error> {
        self.until(CORE_PATIENCE, |r| {
            field_shared!(*r, grstctl).read() & GRSTCTL_AHB_IDLE != 0
        })
        .or_else(|e| if self.emulated() { Ok(()) } else { Err(e) })?;
        field!(self.registers, grstctl).write(GRSTCTL_CORE);
        self.until(CORE_PATIENCE, |r| {
            field_shared!(*r, grstctl).read() & GRSTCTL_CORE == 0
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

    fn write_port(&mut self, change: impl FnOnce(u32) -> u32) {
        let port = field!(self.registers, hprt0).read() & !HPRT0_WRITE_1_TO_CLEAR;
        field!(self.registers, hprt0).write(change(port));
    }

    /// Whether something is plugged into the root port.
    pub(crate) fn connected(&self) -> bool {
        field_shared!(self.registers, hprt0).read() & HPRT0_CONNECTED != 0
    }

    /// Resets the device on the root port: it then answers at address 0.
    pub(crate) fn reset_port(&mut self) -> Result<Speed, Error> {
        use embedded_hal::delay::DelayNs as _;
        if !self.connected() {
            return Err(Error::NotConnected);
        }
        let mut clock = self.clock;
        self.write_port(|port| port | HPRT0_RESET);
        clock.delay_ms(50); // USB 2.0 §7.1.7.5, TDRSTR
        self.write_port(|port| port & !HPRT0_RESET);
        self.until(CORE_PATIENCE, |r| {
            field_shared!(*r, hprt0).read() & HPRT0_ENABLED != 0
        })
        .map_err(|_| Error::PortNotEnabled)?;
        clock.delay_ms(10); // USB 2.0 §7.1.7.5, TRSTRCY
        Ok(match field!(self.registers, hprt0).read() >> 17 & 3 {
            0 => Speed::High,
            1 => Speed::Full,
            _ => Speed::Low,
        })
    }

    /// Starts a transfer of `len` bytes between `buffer` and an endpoint. Never waits.
    fn start_transfer(&mut self, channel: Channel, hcchar: u32, hctsiz: u32, buffer: u32) {
        let mut channels = field!(self.registers, channels);
        let Some(mut registers) = channels.get(channel as usize) else {
            return;
        };
        field!(registers, hcint).write(u32::MAX);
        field!(registers, hcintmsk).write(0);
        field!(registers, hcsplt).write(0);
        field!(registers, hctsiz).write(hctsiz);
        field!(registers, hcdma).write(buffer);
        cpu::barrier();
        field!(registers, hcchar).write(hcchar | HCCHAR_ENABLE);
    }

    /// HCINT and HCTSIZ of a channel, once it has halted.
    fn halted(&mut self, channel: Channel) -> Option<(u32, u32)> {
        let mut channels = field!(self.registers, channels);
        let mut registers = channels.get(channel as usize)?;
        let hcint = field!(registers, hcint).read();
        (hcint & HCINT_HALTED != 0).then(|| (hcint, field!(registers, hctsiz).read()))
    }

    /// Stops a channel, whatever it does; true when it has stopped.
    fn halt(&mut self, number: usize) -> bool {
        let clock = self.clock;
        let mut channels = field!(self.registers, channels);
        let Some(mut registers) = channels.get(number) else {
            return true;
        };
        let hcchar = field!(registers, hcchar).read();
        if hcchar & HCCHAR_ENABLE == 0 {
            return true;
        }
        field!(registers, hcchar).write(hcchar | HCCHAR_ENABLE | HCCHAR_DISABLE);
        let stopped = clock.poll(Duration::from_millis(10), || {
            (field!(registers, hcint).read() & HCINT_HALTED != 0).then_some(())
        });
        stopped.is_some()
    }

    /// One stage of a control transfer; the bytes that moved. A packet that went wrong on the wire is tried again.
    fn stage(&mut self, device: Device, input: bool, pid: Pid, len: usize) -> Result<usize, Error> {
        const CONTROL: u32 = 0;
        let hcchar = hcchar(device, 0, input, CONTROL, device.max_packet);
        let clock = self.clock;
        let mut asked = hctsiz(len, device.max_packet, input, pid);
        let mut behind = 0; // bytes of whole packets that went through
        let mut tries = 0;
        loop {
            let buffer = self.control.bus_address() + behind;
            self.start_transfer(Channel::Control, hcchar, asked, buffer);
            let Some((hcint, rest)) = clock.poll(CONTROL_PATIENCE, || self.halted(Channel::Control)) else {
                let stopped = self.halt(Channel::Control as usize);
                return Err(if stopped {
                    Error::TimedOut
                } else {
                    Error::CoreStuck
                });
            };
            match outcome(hcint) {
                Ok(()) => return Ok((behind + (asked & BYTES).saturating_sub(rest & BYTES)) as usize),
                Err(Error::Transaction) => {}
                Err(error) => return Err(error),
            }
            // The packets tell what the device has taken; the bytes of an OUT stage only what was fetched from memory.
            let done = packets(asked).saturating_sub(packets(rest));
            tries = if done == 0 { tries + 1 } else { 1 };
            if tries == TRIES || packets(rest) == 0 {
                return Err(Error::Transaction);
            }
            if done != 0 {
                let moved = done * u32::from(device.max_packet);
                behind += moved;
                asked = (asked & BYTES).saturating_sub(moved) | packets(rest) << 19 | rest & PID;
            }
        }
    }

    /// A control transfer with data towards the device, or none.
    pub(crate) fn control_out(&mut self, device: Device, setup: Setup, data: &[u8]) -> Result<(), Error> {
        self.setup_stage(device, setup, data.len())?;
        if !data.is_empty() {
            self.control
                .bytes_mut()
                .get_mut(..data.len())
                .ok_or(Error::TooLong)?
                .copy_from_slice(data);
            self.control.give();
            self.stage(device, false, DATA1, data.len())?;
        }
        self.stage(device, true, DATA1, 0)?;
        Ok(())
    }

    /// A control transfer with up to `len` bytes from the device; what it sent.
    pub(crate) fn control_in(&mut self, device: Device, setup: Setup, len: usize) -> Result<&[u8], Error> {
        // The controller writes whole packets, and whole words beyond them.
        if len.next_multiple_of(usize::from(device.max_packet.max(1))) > self.control.len() {
            return Err(Error::TooLong);
        }
        self.setup_stage(device, setup, len)?;
        self.control.give();
        let received = self.stage(device, true, DATA1, len)?;
        let kept = received.min(len);
        // The data must leave the buffer before the status stage; that one moves no bytes.
        self.stage(device, false, DATA1, 0)?;
        Ok(self.control.take(kept))
    }

    fn setup_stage(&mut self, device: Device, setup: Setup, len: usize) -> Result<(), Error> {
        let length = u16::try_from(len).map_err(|_| Error::TooLong)?;
        let mut bytes = [setup.request_type, setup.request, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&setup.value.to_le_bytes());
        bytes[4..6].copy_from_slice(&setup.index.to_le_bytes());
        bytes[6..8].copy_from_slice(&length.to_le_bytes());
        self.control.bytes_mut()[..8].copy_from_slice(&bytes);
        self.control.give();
        self.stage(device, false, SETUP, 8)?;
        Ok(())
    }

    /// Starts a bulk transfer: all of `buffer` for IN, its first `len` bytes for OUT. The caller polls for its end
    /// and leaves the buffer alone until then.
    pub(crate) fn start_bulk(&mut self, channel: Channel, pipe: &mut Pipe, buffer: &mut Buffer, len: usize) {
        let len = len.min(MAX_TRANSFER).min(buffer.len());
        // An IN transfer is whole packets: round down, so that none ends behind the buffer.
        let len = if pipe.input {
            len - len % pipe.max_packet().max(1)
        } else {
            len
        };
        buffer.give();
        let hctsiz = hctsiz(len, pipe.max_packet, pipe.input, pipe.toggle);
        pipe.asked = hctsiz & BYTES;
        self.start_transfer(channel, pipe.hcchar(), hctsiz, buffer.bus_address());
    }

    /// The end of a bulk transfer, if it has ended: how many bytes moved.
    pub(crate) fn poll_bulk(&mut self, channel: Channel, pipe: &mut Pipe) -> Option<Result<usize, Error>> {
        let (hcint, rest) = self.halted(channel)?;
        pipe.follow(rest);
        Some(outcome(hcint).map(|()| pipe.asked.saturating_sub(rest & BYTES) as usize))
    }

    /// Stops a bulk transfer that does not end; packets of it may have gone through.
    pub(crate) fn cancel(&mut self, channel: Channel, pipe: &mut Pipe) -> Error {
        if !self.halt(channel as usize) {
            return Error::CoreStuck;
        }
        if let Some((_, rest)) = self.halted(channel) {
            pipe.follow(rest);
        }
        Error::TimedOut
    }

    /// QEMU goes on serving a halted bulk channel until its packet moves, and aborts when the port is gone by then.
    /// As an interrupt endpoint the channel ends at the next NAK.
    fn end_emulated_transfer(&mut self, number: usize) {
        const INTERRUPT: u32 = 3 << 18;
        let clock = self.clock;
        let mut channels = field!(self.registers, channels);
        let Some(mut registers) = channels.get(number) else {
            return;
        };
        let hcchar = field!(registers, hcchar).read();
        field!(registers, hcchar).write(hcchar | INTERRUPT);
        field!(registers, hcint).write(u32::MAX);
        clock.poll(EMULATED_PATIENCE, || {
            (field!(registers, hcint).read() & HCINT_HALTED != 0).then_some(())
        });
    }

    /// Whether a transfer is under way on a channel.
    fn busy(&mut self, number: usize) -> bool {
        let mut channels = field!(self.registers, channels);
        let Some(mut registers) = channels.get(number) else {
            return false;
        };
        field!(registers, hcchar).read() & HCCHAR_ENABLE != 0
    }

    /// Leaves nothing in flight: no write to memory happens after this.
    pub(crate) fn quiesce(&mut self) {
        let emulated = self.emulated();
        for number in 0..CHANNELS {
            let busy = self.busy(number);
            self.halt(number);
            if busy && emulated {
                self.end_emulated_transfer(number);
            }
        }
        self.write_port(|port| port | HPRT0_ENABLED); // written as a one: off
        field!(self.registers, gintmsk).write(0);
        field!(self.registers, gahbcfg).write(0);
        // A core that does not reset has been told to stop already.
        let _ = self.reset_core();
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;
    use crate::usb::fake::{self, Answer, Fake};

    const FULL: Device = Device {
        address: 5,
        speed: Speed::Full,
        max_packet: 64,
    };

    #[test]
    fn registers_lie_where_the_databook_says() {
        assert_eq!(
            (offset_of!(Registers, gahbcfg), offset_of!(Registers, gsnpsid)),
            (0x008, 0x040)
        );
        assert_eq!(
            (offset_of!(Registers, hptxfsiz), offset_of!(Registers, hcfg)),
            (0x100, 0x400)
        );
        assert_eq!(
            (offset_of!(Registers, hprt0), offset_of!(Registers, channels)),
            (0x440, 0x500)
        );
        assert_eq!(
            (offset_of!(Registers, pcgcctl), size_of::<ChannelRegisters>()),
            (0xe00, 0x20)
        );
    }

    #[test]
    fn hcchar_names_the_endpoint() {
        let pipe = Pipe::bulk(FULL, 0x82, 64);
        assert_eq!(
            pipe.hcchar(),
            64 | 2 << 11 | 1 << 15 | 2 << 18 | 1 << 20 | 5 << 22
        );
        let slow = Device {
            speed: Speed::Low,
            ..FULL
        };
        assert_eq!(hcchar(slow, 0, false, 0, 8), 8 | 1 << 17 | 1 << 20 | 5 << 22);
    }

    #[test]
    fn an_in_transfer_asks_for_whole_packets_and_nothing_is_one_packet() {
        assert_eq!(hctsiz(100, 64, true, DATA0), 128 | 2 << 19);
        assert_eq!(hctsiz(100, 64, false, DATA1), 100 | 2 << 19 | 2 << 29);
        assert_eq!(hctsiz(0, 64, false, DATA1), 1 << 19 | 2 << 29);
        assert_eq!(hctsiz(2048, 512, true, DATA0), 2048 | 4 << 19);
    }

    const GET: Setup = Setup {
        request_type: 0x80,
        request: 6,
        value: 0x0200,
        index: 0,
    };
    const SET: Setup = Setup {
        request_type: 0,
        request: 9,
        value: 1,
        index: 0,
    };

    /// Packet identifiers and lengths of the transfers that a fake has seen.
    fn stages(fake: &Fake) -> Vec<(u32, u32)> {
        fake.seen().iter().map(|t| (t.pid(), t.bytes())).collect()
    }

    #[test]
    fn a_core_comes_up_as_a_host_and_its_port_resets() {
        let (fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        assert_eq!(fake.register(0x008), GAHBCFG_WAIT_AXI_WRITES | GAHBCFG_DMA);
        assert_eq!(fake.register(0x00c), GUSBCFG_FORCE_HOST | 7);
        assert_eq!(
            (fake.register(0x024), fake.register(0x028)),
            (1024, 1024 << 16 | 1024)
        );
        assert_eq!(fake.register(0x100), 1024 << 16 | 2048);
        assert_eq!(fake.register(0x440) & HPRT0_POWER, HPRT0_POWER);
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
    fn a_control_read_has_three_stages() {
        let (fake, mut usb) = Fake::plugged();
        let data: Vec<u8> = (0..80).collect();
        fake.expect(0, [Answer::Taken, Answer::Sends(data.clone()), Answer::Taken]);
        assert_eq!(usb.control_in(FULL, GET, 80), Ok(&data[..]));
        let seen = fake.seen();
        assert_eq!(seen[0].sent, [0x80, 6, 0, 2, 0, 0, 80, 0]);
        let seen: Vec<_> = seen
            .iter()
            .map(|t| (t.pid(), t.bytes(), t.hcchar >> 15 & 1))
            .collect();
        assert_eq!(seen, [(3, 8, 0), (2, 128, 1), (2, 0, 0)]);
    }

    #[test]
    fn a_short_answer_is_as_long_as_it_is() {
        let (fake, mut usb) = Fake::plugged();
        fake.expect(0, [Answer::Taken, Answer::Sends(vec![7; 9]), Answer::Taken]);
        assert_eq!(usb.control_in(FULL, GET, 255), Ok(&[7; 9][..]));
    }

    #[test]
    fn a_control_write_sends_its_data() {
        let (fake, mut usb) = Fake::plugged();
        fake.expect(0, [Answer::Taken, Answer::Taken, Answer::Sends(vec![])]);
        assert_eq!(usb.control_out(FULL, SET, &[1, 2, 3, 4]), Ok(()));
        let seen = fake.seen();
        assert_eq!(seen[1].sent, [1, 2, 3, 4]);
        assert_eq!((seen[2].pid(), seen[2].hcchar >> 15 & 1), (2, 1));
    }

    #[test]
    fn a_request_without_data_has_two_stages() {
        let (fake, mut usb) = Fake::plugged();
        fake.expect(0, [Answer::Taken, Answer::Sends(vec![])]);
        assert_eq!(usb.control_out(FULL, SET, &[]), Ok(()));
        assert_eq!(stages(&fake), [(3, 8), (2, 64)]); // IN asks for whole packets even of nothing
    }

    #[test]
    fn a_stall_refuses_and_the_next_request_goes_through() {
        let (fake, mut usb) = Fake::plugged();
        fake.expect(0, [Answer::Taken, Answer::Fails(vec![], 0, fake::STALL)]);
        assert_eq!(usb.control_in(FULL, GET, 9), Err(Error::Stall));
        fake.expect(0, [Answer::Taken, Answer::Sends(vec![1; 9]), Answer::Taken]);
        assert_eq!(usb.control_in(FULL, GET, 9), Ok(&[1; 9][..]));
    }

    #[test]
    fn a_setup_packet_that_was_lost_is_sent_again() {
        let (fake, mut usb) = Fake::plugged();
        let lost = Answer::Fails(vec![], 0, fake::TRANSACTION_ERROR);
        fake.expect(
            0,
            [lost.clone(), lost.clone(), Answer::Taken, Answer::Sends(vec![])],
        );
        assert_eq!(usb.control_out(FULL, SET, &[]), Ok(()));
        assert_eq!(stages(&fake), [(3, 8), (3, 8), (3, 8), (2, 64)]);
        fake.expect(0, [lost.clone(), lost.clone(), lost]);
        assert_eq!(usb.control_out(FULL, SET, &[]), Err(Error::Transaction));
    }

    #[test]
    fn a_data_stage_goes_on_behind_the_packets_that_arrived() {
        let (fake, mut usb) = Fake::plugged();
        let data: Vec<u8> = (0..80).collect();
        fake.expect(
            0,
            [
                Answer::Taken,
                Answer::Fails(data[..64].to_vec(), 0, fake::TRANSACTION_ERROR),
                Answer::Sends(data[64..].to_vec()),
                Answer::Taken,
            ],
        );
        assert_eq!(usb.control_in(FULL, GET, 80), Ok(&data[..]));
        // The second try asks for one packet, with the other toggle.
        assert_eq!(stages(&fake), [(3, 8), (2, 128), (0, 64), (2, 0)]);
    }

    #[test]
    fn a_silent_device_costs_half_a_second_and_the_channel_is_free_again() {
        let (fake, mut usb) = Fake::plugged();
        fake.expect(0, [Answer::Taken, Answer::Silence(0)]);
        let before = boot::Clock::now(&fake.clock);
        assert_eq!(usb.control_in(FULL, GET, 9), Err(Error::TimedOut));
        let waited = boot::Clock::now(&fake.clock) - before;
        assert!(waited >= CONTROL_PATIENCE && waited < CONTROL_PATIENCE * 2);
        assert_eq!(fake.register(0x500) & HCCHAR_ENABLE, 0);
    }

    #[test]
    fn more_than_the_buffer_is_not_asked_for() {
        let (fake, mut usb) = Fake::plugged();
        assert_eq!(usb.control_in(FULL, GET, CONTROL_BUFFER + 1), Err(Error::TooLong));
        assert_eq!(fake.seen(), []);
    }

    #[test]
    fn a_bulk_pipe_keeps_its_toggle_through_success_error_and_cancel() {
        let (mut fake, mut usb) = Fake::plugged();
        let mut buffer = fake.arena.buffer(2048).unwrap();
        let mut pipe = Pipe::bulk(FULL, 0x02, 64);
        let mut send = |answer, len| {
            fake.expect(2, [answer]);
            usb.start_bulk(Channel::Transmit, &mut pipe, &mut buffer, len);
            fake.step();
            let end = usb.poll_bulk(Channel::Transmit, &mut pipe);
            let end = end.unwrap_or_else(|| Err(usb.cancel(Channel::Transmit, &mut pipe)));
            (fake.seen()[0].pid(), end)
        };
        assert_eq!(send(Answer::Taken, 100), (0, Ok(100))); // two packets
        assert_eq!(send(Answer::Taken, 10), (0, Ok(10))); // one
        let failed = Answer::Fails(vec![], 1, fake::TRANSACTION_ERROR);
        assert_eq!(send(failed, 100), (2, Err(Error::Transaction)));
        assert_eq!(send(Answer::Silence(1), 100), (0, Err(Error::TimedOut)));
        assert_eq!(send(Answer::Taken, 1), (2, Ok(1)));
    }

    #[test]
    fn reception_is_whole_packets_inside_the_buffer() {
        let (mut fake, mut usb) = Fake::plugged();
        let mut buffer = fake.arena.buffer(256).unwrap();
        let mut pipe = Pipe::bulk(FULL, 0x82, 64);
        fake.expect(1, [Answer::Fails(vec![1; 64], 0, fake::BABBLE)]);
        usb.start_bulk(Channel::Receive, &mut pipe, &mut buffer, 9999);
        fake.step();
        assert_eq!(fake.seen()[0].bytes(), 256);
        assert_eq!(
            usb.poll_bulk(Channel::Receive, &mut pipe),
            Some(Err(Error::Babble))
        );
    }

    #[test]
    fn nothing_is_in_flight_after_quiesce() {
        let (mut fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        let mut buffer = fake.arena.buffer(256).unwrap();
        usb.start_bulk(
            Channel::Receive,
            &mut Pipe::bulk(FULL, 0x82, 64),
            &mut buffer,
            256,
        );
        fake.step();
        usb.quiesce();
        assert_eq!(fake.register(0x520) & HCCHAR_ENABLE, 0);
        assert_eq!((fake.register(0x008), fake.register(0x018)), (0, 0));
    }

    #[test]
    fn outcomes_are_told_apart() {
        assert_eq!(outcome(HCINT_HALTED | HCINT_COMPLETE), Ok(()));
        assert_eq!(outcome(HCINT_HALTED | HCINT_STALL), Err(Error::Stall));
        assert_eq!(outcome(HCINT_HALTED | HCINT_BABBLE), Err(Error::Babble));
        assert_eq!(outcome(HCINT_HALTED | HCINT_AHB_ERROR), Err(Error::Bus));
        assert_eq!(outcome(HCINT_HALTED | 1 << 7), Err(Error::Transaction));
        assert_eq!(outcome(HCINT_HALTED), Err(Error::Transaction));
    }
}
