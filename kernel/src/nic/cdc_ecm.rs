//! CDC Ethernet over bulk pipes (USB CDC ECM 1.2): one frame a transfer, ended by a short or empty packet.
//!
//! Life of a received frame: the controller writes it into one of two buffers while the stack works on the other;
//! on its end the buffers swap, the free one is armed at once, and smoltcp reads the frame where it landed.

use boot::{info, warn};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::{Duration, Instant};

use crate::clock::Clock;
use crate::dma::{Arena, Buffer};
use crate::usb::bus::Found;
use crate::usb::dwc2::{Channel, Dwc2, Error, Pipe, Setup};

/// Longest frame with its header, without a VLAN tag or frame check sequence.
const FRAME: usize = 1514;
/// Room for one frame in whole packets of either speed. Above 1536 QEMU hands a frame over in one piece.
const BUFFER: usize = 2048;
/// Failures in a row after which the device is taken for gone.
const TOO_MANY: u32 = 16;
/// Longest transmission: 1514 bytes take 1.3 ms at full speed; the rest is for a busy bus.
const TRANSMIT_PATIENCE: Duration = Duration::from_millis(100);

/// A CDC Ethernet device.
pub(crate) struct CdcEcm {
    usb: Dwc2,
    receiver: Receiver,
    transmitter: Transmitter,
    clock: Clock,
    own_mac: Option<[u8; 6]>,
}

struct Receiver {
    pipe: Pipe,
    /// The controller fills one while the other is read.
    buffers: [Buffer; 2],
    armed: usize,
    failures: u32,
}

struct Transmitter {
    pipe: Pipe,
    buffer: Buffer,
    /// When the transfer under way began, if one is.
    since: Option<Instant>,
    /// The frame under way still needs an empty packet to end it.
    owes_empty_packet: bool,
    failures: u32,
}

impl CdcEcm {
    /// Takes the function that the bus search configured, opens its filter and arms reception.
    pub(crate) fn start(usb: Dwc2, found: Found, arena: &mut Arena, clock: Clock) -> Result<Self, Error> {
        let (device, function) = (found.device, found.function);
        let mut buffer = || arena.buffer(BUFFER).ok_or(Error::NoMemory);
        let mut nic = Self {
            receiver: Receiver {
                pipe: Pipe::bulk(device, function.bulk_in.0, function.bulk_in.1),
                buffers: [buffer()?, buffer()?],
                armed: 0,
                failures: 0,
            },
            transmitter: Transmitter {
                pipe: Pipe::bulk(device, function.bulk_out.0, function.bulk_out.1),
                buffer: buffer()?,
                since: None,
                owes_empty_packet: false,
                failures: 0,
            },
            usb,
            clock,
            own_mac: found.mac,
        };
        nic.open_filter(found)?;
        info!("nic: CDC Ethernet at USB address {}", device.address);
        nic.receiver.arm(&mut nic.usb);
        Ok(nic)
    }

    /// SET_ETHERNET_PACKET_FILTER. The node's MAC address is the board's, seldom the device's own, so the device
    /// must pass frames for others: promiscuous, directed, broadcast.
    fn open_filter(&mut self, found: Found) -> Result<(), Error> {
        let setup = Setup {
            request_type: 0x21,
            request: 0x43,
            value: 1 << 0 | 1 << 2 | 1 << 3,
            index: u16::from(found.function.control_interface),
        };
        match self.usb.control_out(found.device, setup, &[]) {
            // Optional for devices (ECM 1.2 §6.2): one that refuses passes everything.
            Ok(()) | Err(Error::Stall) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next frame, and a place for an answer.
    pub(crate) fn receive(&mut self) -> Option<(RxToken<'_>, TxToken<'_>)> {
        // An answer must find room: smoltcp would rather have the frame later than not be able to answer it.
        if !self.transmitter.ready(&mut self.usb, self.clock) {
            return None;
        }
        let frame = self.receiver.poll(&mut self.usb)?;
        Some((
            RxToken(frame),
            TxToken {
                usb: &mut self.usb,
                to: &mut self.transmitter,
                clock: self.clock,
            },
        ))
    }

    /// A place for a frame, when the last one has left.
    pub(crate) fn transmit(&mut self) -> Option<TxToken<'_>> {
        let ready = self.transmitter.ready(&mut self.usb, self.clock);
        ready.then_some(TxToken {
            usb: &mut self.usb,
            to: &mut self.transmitter,
            clock: self.clock,
        })
    }

    /// What smoltcp may expect.
    pub(crate) fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }

    /// The MAC address that the device says it has.
    pub(crate) fn own_mac(&self) -> Option<[u8; 6]> {
        self.own_mac
    }

    /// Whether the device has stopped answering.
    pub(crate) fn gone(&self) -> bool {
        self.receiver.failures.max(self.transmitter.failures) >= TOO_MANY
    }

    /// Ends all traffic.
    pub(crate) fn quiesce(&mut self) {
        self.usb.quiesce();
    }
}

impl Receiver {
    fn arm(&mut self, usb: &mut Dwc2) {
        usb.start_bulk(
            Channel::Receive,
            &mut self.pipe,
            &mut self.buffers[self.armed],
            BUFFER,
        );
    }

    /// The frame that has arrived, if one has. The other buffer is armed before it is looked at.
    fn poll(&mut self, usb: &mut Dwc2) -> Option<&[u8]> {
        // Empty transfers and failures are passed over, but not for ever.
        for _ in 0..4 {
            let end = usb.poll_bulk(Channel::Receive, &mut self.pipe)?;
            let done = self.armed;
            self.armed = 1 - done;
            self.arm(usb);
            match end {
                // The empty packet behind a frame whose length is a multiple of the packet's.
                Ok(0) => self.failures = 0,
                Ok(len) => {
                    self.failures = 0;
                    return Some(self.buffers[done].take(len));
                }
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    if self.failures == 1 {
                        warn!("nic: reception failed: {}", error);
                    }
                }
            }
        }
        None
    }
}

impl Transmitter {
    /// Whether the last frame has left. One that does not leave is given up.
    fn ready(&mut self, usb: &mut Dwc2, clock: Clock) -> bool {
        let Some(since) = self.since else { return true };
        let error = match usb.poll_bulk(Channel::Transmit, &mut self.pipe) {
            Some(Ok(_)) if self.owes_empty_packet => {
                self.owes_empty_packet = false;
                usb.start_bulk(Channel::Transmit, &mut self.pipe, &mut self.buffer, 0);
                return false;
            }
            Some(Ok(_)) => {
                self.since = None;
                self.failures = 0;
                return true;
            }
            Some(Err(error)) => error,
            None if boot::Clock::now(&clock) < since + TRANSMIT_PATIENCE => return false,
            None => usb.cancel(Channel::Transmit, &mut self.pipe),
        };
        self.since = None;
        self.owes_empty_packet = false;
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            warn!("nic: transmission failed: {}", error);
        }
        true
    }
}

/// A frame where it landed.
pub(crate) struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// A place for one frame.
pub(crate) struct TxToken<'a> {
    usb: &'a mut Dwc2,
    to: &'a mut Transmitter,
    clock: Clock,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // smoltcp keeps to the capabilities: never more than FRAME, which is less than the buffer.
        let result = f(&mut self.to.buffer.bytes_mut()[..len]);
        self.to.owes_empty_packet = len.is_multiple_of(self.to.pipe.max_packet());
        self.to.since = Some(boot::Clock::now(&self.clock));
        let Transmitter { pipe, buffer, .. } = self.to;
        self.usb.start_bulk(Channel::Transmit, pipe, buffer, len);
        result
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::{RxToken as _, TxToken as _};

    use super::*;
    use crate::usb::descriptor::Ecm;
    use crate::usb::dwc2::{Device, Speed};
    use crate::usb::fake::{self, Answer, Fake};

    const CONTROL: usize = 0;
    const RECEIVE: usize = 1;
    const TRANSMIT: usize = 2;

    /// A started driver: what the device says to the filter request, and what arrives on the endpoint.
    fn started(filter: Answer, arriving: Vec<Answer>) -> (Fake, CdcEcm) {
        let (mut fake, usb) = Fake::plugged();
        fake.expect(CONTROL, [Answer::Taken, filter]);
        fake.expect(RECEIVE, arriving);
        let found = Found {
            device: Device {
                address: 3,
                speed: Speed::Full,
                max_packet: 64,
            },
            function: Ecm {
                configuration: 1,
                control_interface: 0,
                data_interface: (1, 1),
                bulk_in: (0x82, 64),
                bulk_out: (0x02, 64),
                mac_string: 3,
            },
            mac: None,
        };
        let clock = fake.clock;
        let nic = CdcEcm::start(usb, found, &mut fake.arena, clock).unwrap();
        (fake, nic)
    }

    fn receiving(arriving: Vec<Answer>) -> (Fake, CdcEcm) {
        let (fake, nic) = started(Answer::Sends(vec![]), arriving);
        fake.step();
        (fake, nic)
    }

    /// The frames that `receive` hands over while the core goes on in between.
    fn frames(fake: &Fake, nic: &mut CdcEcm, polls: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for _ in 0..polls {
            if let Some((frame, _)) = nic.receive() {
                frames.push(frame.consume(<[u8]>::to_vec));
            }
            fake.step();
        }
        frames
    }

    fn send(nic: &mut CdcEcm, len: usize) -> bool {
        let token = nic.transmit();
        token
            .map(|token| token.consume(len, |frame| frame.fill(0x5a)))
            .is_some()
    }

    fn sent(fake: &Fake) -> Vec<usize> {
        let seen = fake.seen();
        seen.iter()
            .filter(|t| t.channel == TRANSMIT)
            .map(|t| t.sent.len())
            .collect()
    }

    #[test]
    fn the_filter_is_opened_and_a_refusal_is_no_error() {
        let (fake, _nic) = started(Answer::Fails(vec![], 0, fake::STALL), vec![]);
        assert_eq!(fake.seen()[0].sent, [0x21, 0x43, 0b1101, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn frames_arrive_in_order_from_both_buffers_and_empty_packets_are_passed_over() {
        let arriving = [vec![1; 60], vec![2; 128], vec![], vec![3; 1514], vec![4; 61]];
        let (fake, mut nic) = receiving(arriving.iter().cloned().map(Answer::Sends).collect());
        let expected: Vec<_> = arriving.into_iter().filter(|frame| !frame.is_empty()).collect();
        assert_eq!(frames(&fake, &mut nic, 8), expected);
        let seen = fake.seen();
        let armed: Vec<_> = seen.iter().filter(|t| t.channel == RECEIVE).collect();
        // Five that arrived and the one that waits, each of whole packets into a whole buffer.
        assert_eq!(armed.len(), 6);
        assert!(armed.iter().all(|t| t.bytes() == 2048));
        // The toggle: one packet, two, one empty, twenty-four, one.
        let pids: Vec<_> = armed.iter().map(|t| t.pid()).collect();
        assert_eq!(pids, [0, 2, 2, 0, 0, 2]);
    }

    #[test]
    fn a_frame_stays_whole_while_the_next_one_arrives() {
        let (fake, mut nic) = receiving(vec![Answer::Sends(vec![1; 60]), Answer::Sends(vec![2; 60])]);
        let (frame, _) = nic.receive().unwrap();
        fake.step(); // the second frame lands now
        frame.consume(|bytes| assert_eq!(bytes, [1; 60]));
    }

    #[test]
    fn failures_are_survived_until_they_do_not_end() {
        let lost = Answer::Fails(vec![], 0, fake::TRANSACTION_ERROR);
        let mut arriving = vec![lost.clone(); 15];
        arriving.push(Answer::Sends(vec![1; 60]));
        arriving.extend(vec![lost; 16]);
        let (fake, mut nic) = receiving(arriving);
        assert_eq!(frames(&fake, &mut nic, 17), [vec![1; 60]]);
        assert!(!nic.gone());
        assert!(frames(&fake, &mut nic, 16).is_empty());
        assert!(nic.gone());
    }

    #[test]
    fn a_frame_of_whole_packets_is_ended_by_an_empty_one() {
        let (fake, mut nic) = receiving(vec![]);
        fake.expect(TRANSMIT, vec![Answer::Taken; 3]);
        assert!(send(&mut nic, 128));
        fake.step();
        assert!(!send(&mut nic, 60), "the frame before has not ended");
        fake.step();
        assert!(send(&mut nic, 60));
        fake.step();
        assert_eq!(sent(&fake), [128, 0, 60]);
    }

    #[test]
    fn a_frame_that_does_not_leave_is_given_up_and_the_next_one_sent() {
        let (fake, mut nic) = receiving(vec![]);
        fake.expect(TRANSMIT, [Answer::Silence(1), Answer::Taken]);
        assert!(send(&mut nic, 128));
        let since = boot::Clock::now(&nic.clock);
        while !send(&mut nic, 60) {}
        assert!(boot::Clock::now(&nic.clock) - since >= TRANSMIT_PATIENCE);
        fake.step();
        assert!(send(&mut nic, 60));
        assert_eq!(sent(&fake), [128, 60]);
        assert!(!nic.gone());
    }

    #[test]
    fn reception_waits_until_an_answer_has_room() {
        let (fake, mut nic) = receiving(vec![Answer::Sends(vec![1; 60])]);
        fake.expect(TRANSMIT, [Answer::Silence(0)]);
        assert!(send(&mut nic, 60));
        assert!(nic.receive().is_none());
        while nic.receive().is_none() {}
        assert_eq!(sent(&fake), [60]);
    }
}
