//! Transfers over the controller's channels: control, waited for, and bulk, polled (USB 2.0 §8.5.3, §5.8).

use boot::Clock as _;
use smoltcp::time::{Duration, Instant};

use crate::dma::Buffer;
use crate::usb::dwc2::{CONTROL_BUFFER, Channel, Dwc2};
use crate::usb::transfer::{
    DATA0, DATA1, Device, Endpoint, Error, Kind, Pid, SETUP, Step, Transfer, next_pid,
};

/// Longest control transfer, all its stages and their repetitions together; the devices Bramble knows answer within milliseconds.
const CONTROL_PATIENCE: Duration = Duration::from_millis(500);

const CLEAR_FEATURE: u8 = 1;

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

/// A bulk endpoint, its data toggle, and the controller's channel that it has for itself.
#[derive(Debug)]
pub(crate) struct Pipe {
    endpoint: Endpoint,
    channel: Channel,
    toggle: Pid,
    under_way: Option<Transfer>,
}

impl Pipe {
    /// Largest packet in bytes.
    pub(crate) fn max_packet(&self) -> usize {
        usize::from(self.endpoint.max_packet.max(1))
    }

    /// Whether a transfer is under way.
    pub(crate) fn busy(&self) -> bool {
        self.under_way.is_some()
    }
}

impl Dwc2 {
    /// A pipe to bulk endpoint `address` (bit 7: IN) of `device`, straight after its configuration or interface was set.
    pub(crate) fn pipe(&mut self, device: Device, (address, max_packet): (u8, u16)) -> Result<Pipe, Error> {
        Ok(Pipe {
            endpoint: Endpoint {
                device,
                number: address & 0xf,
                input: address & 0x80 != 0,
                kind: Kind::Bulk,
                max_packet,
            },
            channel: self.channel()?,
            toggle: DATA0,
            under_way: None,
        })
    }

    /// Whether the bus is still the one on which `device` was found.
    pub(crate) fn knows(&self, device: Device) -> bool {
        device.era == self.era()
    }

    /// Starts a bulk transfer of the first `len` bytes of `buffer`; for IN, of as many whole packets as fit in there. The
    /// caller polls for its end and leaves the buffer alone until then. Nothing is started on a pipe of a bus that has ended.
    pub(crate) fn start_bulk(&mut self, pipe: &mut Pipe, buffer: &mut Buffer, len: usize) {
        if !self.knows(pipe.endpoint.device) {
            return;
        }
        let len = len.min(buffer.len());
        // Round down, so that no packet ends behind the buffer.
        let len = if pipe.endpoint.input {
            len - len % pipe.max_packet()
        } else {
            len
        };
        buffer.give(len);
        let transfer = Transfer::new(
            &pipe.endpoint,
            len,
            pipe.toggle,
            buffer.bus_address(),
            self.limits,
        );
        self.start_transfer(pipe.channel, &transfer);
        pipe.under_way = Some(transfer);
    }

    /// The end of a bulk transfer, if it has ended: how many bytes moved. A packet that went wrong on the wire is tried
    /// again first. A pipe of a bus that has ended is not connected.
    pub(crate) fn poll_bulk(&mut self, pipe: &mut Pipe) -> Option<Result<usize, Error>> {
        if !self.knows(pipe.endpoint.device) {
            return Some(Err(Error::NotConnected));
        }
        let transfer = pipe.under_way.as_mut()?;
        let (hcint, left) = self.halted(pipe.channel)?;
        pipe.toggle = next_pid(left);
        let end = match transfer.halted(hcint, left) {
            Step::Done(len) => Ok(len),
            Step::Failed(error) => Err(error),
            Step::Again => {
                let transfer = *transfer;
                self.start_transfer(pipe.channel, &transfer);
                return None;
            }
        };
        pipe.under_way = None;
        Some(end)
    }

    /// Stops a bulk transfer that does not end; packets of it may have gone through.
    pub(crate) fn cancel(&mut self, pipe: &mut Pipe) -> Result<(), Error> {
        if pipe.under_way.take().is_none() || !self.knows(pipe.endpoint.device) {
            return Ok(());
        }
        self.halt(pipe.channel)?;
        if let Some((_, left)) = self.halted(pipe.channel) {
            pipe.toggle = next_pid(left);
        }
        Ok(())
    }

    /// Clears an endpoint's halt; both ends start over at DATA0 (USB 2.0 §9.4.5).
    pub(crate) fn clear_halt(&mut self, pipe: &mut Pipe) -> Result<(), Error> {
        const TO_ENDPOINT: u8 = 0x02;
        const ENDPOINT_HALT: u16 = 0;
        self.cancel(pipe)?;
        let Endpoint {
            device,
            number,
            input,
            ..
        } = pipe.endpoint;
        let setup = Setup {
            request_type: TO_ENDPOINT,
            request: CLEAR_FEATURE,
            value: ENDPOINT_HALT,
            index: u16::from(number) | u16::from(input) << 7,
        };
        self.control_out(device, setup, &[])?;
        pipe.toggle = DATA0;
        Ok(())
    }

    /// Does work of many control transfers, which all end by then, however lively a device answers: what is not done by then has
    /// failed.
    pub(crate) fn within<T>(&mut self, patience: Duration, work: impl FnOnce(&mut Self) -> T) -> T {
        let end = self.clock().now() + patience;
        let outer = self.deadline;
        self.deadline = Some(outer.map_or(end, |outer| outer.min(end)));
        let result = work(self);
        self.deadline = outer;
        result
    }

    /// When a control transfer that begins now must have ended.
    fn control_end(&self) -> Instant {
        let end = self.clock().now() + CONTROL_PATIENCE;
        self.deadline.map_or(end, |deadline| deadline.min(end))
    }

    /// A control transfer with data towards the device, or none.
    pub(crate) fn control_out(&mut self, device: Device, setup: Setup, data: &[u8]) -> Result<(), Error> {
        let end = self.control_end();
        self.setup_stage(device, setup, data.len(), end)?;
        if !data.is_empty() {
            let stage = self.control.bytes_mut().get_mut(..data.len());
            stage.ok_or(Error::TooLong)?.copy_from_slice(data);
            self.stage(device, false, DATA1, data.len(), end)?;
        }
        self.stage(device, true, DATA1, 0, end)?;
        Ok(())
    }

    /// A control transfer with up to `len` bytes from the device; what it sent.
    pub(crate) fn control_in(&mut self, device: Device, setup: Setup, len: usize) -> Result<&[u8], Error> {
        // The controller writes whole packets, and whole words beyond them.
        if len.next_multiple_of(usize::from(device.max_packet.max(1))) > CONTROL_BUFFER {
            return Err(Error::TooLong);
        }
        let end = self.control_end();
        self.setup_stage(device, setup, len, end)?;
        let received = self.stage(device, true, DATA1, len, end)?;
        let kept = received.min(len);
        // The data must leave the buffer before the status stage; that one moves no bytes.
        self.stage(device, false, DATA1, 0, end)?;
        Ok(self.control.take(kept))
    }

    fn setup_stage(&mut self, device: Device, setup: Setup, len: usize, end: Instant) -> Result<(), Error> {
        let length = u16::try_from(len).map_err(|_| Error::TooLong)?;
        let ([value, value_high], [index, index_high]) =
            (setup.value.to_le_bytes(), setup.index.to_le_bytes());
        let [length, length_high] = length.to_le_bytes();
        let head = [setup.request_type, setup.request, value, value_high];
        self.control.bytes_mut()[..4].copy_from_slice(&head);
        self.control.bytes_mut()[4..8].copy_from_slice(&[index, index_high, length, length_high]);
        self.stage(device, false, SETUP, 8, end)?;
        Ok(())
    }

    /// One stage of a control transfer; the bytes that moved. A packet that went wrong on the wire is tried again, until `end`.
    fn stage(
        &mut self,
        device: Device,
        input: bool,
        pid: Pid,
        len: usize,
        end: Instant,
    ) -> Result<usize, Error> {
        let endpoint = Endpoint {
            device,
            number: 0,
            input,
            kind: Kind::Control,
            max_packet: device.max_packet,
        };
        if !self.knows(device) {
            return Err(Error::NotConnected);
        }
        self.control
            .give(len.next_multiple_of(usize::from(device.max_packet.max(1))));
        let mut transfer = Transfer::new(&endpoint, len, pid, self.control.bus_address(), self.limits);
        let clock = self.clock();
        loop {
            let now = clock.now();
            if now >= end {
                return Err(Error::TimedOut);
            }
            self.start_transfer(Channel::CONTROL, &transfer);
            let Some((hcint, left)) = clock.poll(end - now, || self.halted(Channel::CONTROL)) else {
                self.halt(Channel::CONTROL)?;
                return Err(Error::TimedOut);
            };
            match transfer.halted(hcint, left) {
                Step::Done(len) => return Ok(len),
                Step::Failed(error) => return Err(error),
                Step::Again => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usb::fake::{self, Answer, Fake};
    use crate::usb::transfer::Speed;

    /// HCCHAR: the channel is at work.
    const ENABLE: u32 = 1 << 31;
    const FULL: Device = Device {
        address: 5,
        speed: Speed::Full,
        max_packet: 64,
        era: 0,
    };

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

    /// A packet that fails with a sign of life is tried 64 times, each of which had half a second: 32 s, twice what the watchdog waits.
    #[test]
    fn a_device_that_is_alive_and_late_does_not_hold_a_request_for_longer_than_another() {
        let (fake, mut usb) = Fake::plugged();
        let late = || {
            let alive = Answer::Fails(vec![], 0, fake::TRANSACTION_ERROR | 1 << 5);
            Answer::Late(90_000, Box::new(alive))
        };
        fake.expect(0, (0..200).map(|_| late()));
        let before = fake.clock.now();
        assert_eq!(usb.control_out(FULL, SET, &[]), Err(Error::TimedOut));
        let took = fake.clock.now() - before;
        assert!(took < CONTROL_PATIENCE + Duration::from_millis(100), "{took}");
        // The next has its own time, unless all of them together have less.
        let before = fake.clock.now();
        let all = Duration::from_millis(1200);
        let results = usb.within(all, |usb| [(); 10].map(|()| usb.control_out(FULL, SET, &[])));
        assert_eq!(results, [Err(Error::TimedOut); 10]);
        let took = fake.clock.now() - before;
        assert!(took > all && took < all + Duration::from_millis(100), "{took}");
        fake.expect(0, []);
        assert_eq!(
            usb.control_out(FULL, SET, &[]),
            Err(Error::TimedOut),
            "and again half a second"
        );
        assert!(fake.clock.now() - before > all + CONTROL_PATIENCE);
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
        assert_eq!(fake.register(0x500) & ENABLE, 0);
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
        let mut pipe = usb.pipe(FULL, (0x02, 64)).unwrap();
        let mut send = |answers: Vec<Answer>, len| {
            let tries = answers.len();
            fake.expect(1, answers);
            usb.start_bulk(&mut pipe, &mut buffer, len);
            let mut end = None;
            for _ in 0..tries {
                fake.step();
                end = usb.poll_bulk(&mut pipe);
            }
            let end = end.unwrap_or_else(|| usb.cancel(&mut pipe).and(Err(Error::TimedOut)));
            (stages(&fake), end)
        };
        let lost = |packets| Answer::Fails(vec![], packets, fake::TRANSACTION_ERROR);
        assert_eq!(send(vec![Answer::Taken], 100), (vec![(0, 100)], Ok(100))); // two packets
        assert_eq!(send(vec![Answer::Taken], 10), (vec![(0, 10)], Ok(10))); // one
        // One of two packets went through, then nothing more: only the rest is tried again, with its toggle.
        assert_eq!(
            send(vec![lost(1), lost(0), lost(0)], 100),
            (vec![(2, 100), (0, 36), (0, 36)], Err(Error::Transaction))
        );
        assert_eq!(send(vec![lost(1), Answer::Taken], 100).1, Ok(100));
        let silent = send(vec![Answer::Silence(1)], 100);
        assert_eq!(silent, (vec![(0, 100)], Err(Error::TimedOut)));
        assert_eq!(send(vec![Answer::Taken], 1), (vec![(2, 1)], Ok(1)));
    }

    #[test]
    fn a_burst_longer_than_the_core_counts_comes_in_pieces_and_so_does_a_control_stage() {
        let (mut fake, mut usb) = Fake::plugged();
        fake.count_to(0); // 2047 bytes, 15 packets
        usb.start().unwrap();
        let mut buffer = fake.arena.buffer(4096).unwrap();
        let device = Device {
            era: usb.era(),
            ..FULL
        };
        let mut pipe = usb.pipe(device, (0x82, 64)).unwrap();
        let data: Vec<u8> = (0..2500_u32).map(|n| n as u8).collect();
        fake.expect(1, data.chunks(960).map(|piece| Answer::Sends(piece.to_vec())));
        usb.start_bulk(&mut pipe, &mut buffer, 4096);
        for end in [None, None, Some(Ok(2500))] {
            fake.step();
            assert_eq!(usb.poll_bulk(&mut pipe), end);
        }
        assert_eq!(buffer.take(2500), data);
        assert_eq!(stages(&fake), [(0, 960), (2, 960), (0, 960)]);

        fake.expect(0, [Answer::Taken]);
        fake.expect(
            0,
            data[..1024]
                .chunks(960)
                .map(|piece| Answer::Sends(piece.to_vec())),
        );
        fake.expect(0, [Answer::Taken]);
        assert_eq!(usb.control_in(device, GET, 1024), Ok(&data[..1024]));
    }

    #[test]
    fn a_cleared_halt_starts_both_ends_over() {
        let (mut fake, mut usb) = Fake::plugged();
        let mut buffer = fake.arena.buffer(256).unwrap();
        let mut pipe = usb.pipe(FULL, (0x82, 64)).unwrap();
        fake.expect(
            1,
            [Answer::Sends(vec![1; 10]), Answer::Fails(vec![], 0, fake::STALL)],
        );
        for end in [Ok(10), Err(Error::Stall)] {
            usb.start_bulk(&mut pipe, &mut buffer, 256);
            fake.step();
            assert_eq!(usb.poll_bulk(&mut pipe), Some(end));
        }
        fake.seen();
        fake.expect(0, [Answer::Taken, Answer::Sends(vec![])]);
        assert_eq!(usb.clear_halt(&mut pipe), Ok(()));
        assert_eq!(fake.seen()[0].sent, [2, 1, 0, 0, 0x82, 0, 0, 0]);
        usb.start_bulk(&mut pipe, &mut buffer, 256);
        fake.step();
        assert_eq!(fake.seen()[0].pid(), 0);
    }

    #[test]
    fn reception_is_whole_packets_inside_the_buffer() {
        let (mut fake, mut usb) = Fake::plugged();
        let mut buffer = fake.arena.buffer(256).unwrap();
        let mut pipe = usb.pipe(FULL, (0x82, 64)).unwrap();
        fake.expect(1, [Answer::Fails(vec![1; 64], 0, fake::BABBLE)]);
        usb.start_bulk(&mut pipe, &mut buffer, 9999);
        fake.step();
        assert_eq!(fake.seen()[0].bytes(), 256);
        assert_eq!(usb.poll_bulk(&mut pipe), Some(Err(Error::Babble)));
    }
}
