//! The bus as drivers share it: one controller, one search, and each driver gets the first device that it knows.
//!
//! A driver borrows the host for as long as one step takes, and in it the controller, for transfers. Nobody but the host starts
//! or stops the bus. That ends every pipe: a driver sees that its device is not connected, and claims what the last search has
//! found for it, or searches again (D-141).

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::usb::bus::{self, Class, Found, Wanted};
use crate::usb::dwc2::Dwc2;
use crate::usb::transfer::Error;

/// The controller, and who looks for what behind it.
pub struct Host {
    usb: Dwc2,
    wanted: Vec<Wanted>,
}

/// What a driver claims its device with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat(usize);

impl Host {
    /// A bus that nobody has looked at yet, for all of its drivers.
    pub fn new(usb: Dwc2) -> Rc<RefCell<Self>> {
        let wanted = Vec::new();
        Rc::new(RefCell::new(Self { usb, wanted }))
    }

    /// From now on a search looks for a device of `class` too.
    pub(crate) fn seat(&mut self, class: &'static Class) -> Seat {
        self.wanted.push(Wanted { class, found: None });
        Seat(self.wanted.len() - 1)
    }

    /// Starts the bus, from any state, and looks for a device for each driver. Takes eleven seconds at most.
    pub(crate) fn search(&mut self) -> Result<(), Error> {
        for wanted in &mut self.wanted {
            wanted.found = None;
        }
        self.usb.start()?;
        bus::search(&mut self.usb, &mut self.wanted)
    }

    /// What the last search found for this driver, once.
    pub(crate) fn claim(&mut self, seat: Seat) -> Option<Found> {
        self.wanted.get_mut(seat.0)?.found.take()
    }

    /// The controller, for transfers.
    pub(crate) fn usb(&mut self) -> &mut Dwc2 {
        &mut self.usb
    }

    /// Whether anything is plugged in.
    pub(crate) fn connected(&self) -> bool {
        self.usb.connected()
    }

    /// Stops the bus: no write to memory happens after this.
    pub(crate) fn stop(&mut self) {
        for wanted in &mut self.wanted {
            wanted.found = None;
        }
        self.usb.quiesce();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::usb::fake::Fake;
    use crate::usb::peripheral::{Faults, Function, Peripheral, Reply};
    use crate::usb::pipe::Pipe;

    /// A device that says its letter for as long as it is asked.
    struct Letter(u8);

    impl Function for Letter {
        fn descriptors(&self) -> (Vec<u8>, Vec<u8>) {
            let device = vec![18, 1, 0, 2, 0xff, 0, 0, 64, self.0, 0, 1, 0, 0, 0, 0, 0, 0, 1];
            let mut configuration = vec![
                9, 2, 32, 0, 1, self.0, 0, 0xe0, 1, 9, 4, 0, 0, 2, 0xff, 0, 0xff, 0,
            ];
            configuration.extend([7, 5, 0x81, 2, 0, 2, 0, 7, 5, 0x02, 2, 0, 2, 0]);
            (device, configuration)
        }

        fn request(&mut self, _: [u8; 8], _: &[u8]) -> Option<Vec<u8>> {
            None
        }

        fn input(&mut self) -> Reply {
            Reply::Data(vec![self.0; 3])
        }

        fn sent(&mut self) {}

        fn output(&mut self, _: &[u8]) {}

        fn reset(&mut self) {}
    }

    /// A device of `letter`, in no hub yet.
    pub(crate) fn letter(letter: u8) -> Rc<RefCell<Peripheral>> {
        let function = Box::new(Letter(letter));
        Rc::new(RefCell::new(Peripheral::new(function, Faults::new(1, 0))))
    }

    /// Letters a and b are classes of their own; c is nobody's.
    pub(crate) static A: Class = Class {
        what: "an a",
        driven: "a",
        knows: |about, _| about.vendor == b'a'.into(),
    };
    static B: Class = Class {
        what: "a b",
        driven: "b",
        knows: |about, configuration| about.vendor == b'b'.into() && configuration.len() == 32,
    };

    /// The pipe to what a driver claims.
    pub(crate) fn claimed(host: &mut Host, seat: Seat) -> Option<Pipe> {
        let device = host.claim(seat)?.device;
        Some(host.usb().pipe(device, (0x81, 512)).unwrap())
    }

    #[test]
    fn each_driver_on_one_bus_gets_its_own_device_and_its_own_channel() {
        // Whatever is in the hub before, between and behind them.
        for order in ["ab", "ba", "cacbca"] {
            let (mut fake, usb) = Fake::plugged();
            fake.attach_hub(&order.bytes().map(letter).collect::<Vec<_>>());
            let host = Host::new(usb);
            let mut host = host.borrow_mut();
            let seats = [host.seat(&A), host.seat(&B)];
            assert!(host.claim(seats[0]).is_none(), "before any search");
            host.search().unwrap();
            let mut pipes = seats.map(|seat| claimed(&mut host, seat).unwrap());
            assert!(seats.iter().all(|seat| host.claim(*seat).is_none()), "only once");
            let mut buffers = seats.map(|_| fake.arena.buffer(512).unwrap());
            // Both are under way at the same time.
            for (pipe, buffer) in pipes.iter_mut().zip(&mut buffers) {
                host.usb().start_bulk(pipe, buffer, 512);
            }
            fake.step();
            for ((pipe, buffer), letter) in pipes.iter_mut().zip(&buffers).zip(*b"ab") {
                assert_eq!(host.usb().poll_bulk(pipe), Some(Ok(3)));
                assert_eq!(buffer.take(3), [letter; 3]);
            }
        }
    }

    #[test]
    fn a_driver_without_a_device_costs_the_other_nothing() {
        let (fake, usb) = Fake::plugged();
        fake.attach_hub(&[letter(b'c'), letter(b'b')]);
        let host = Host::new(usb);
        let mut host = host.borrow_mut();
        let seats = [host.seat(&A), host.seat(&B)];
        host.search().unwrap();
        assert!(host.claim(seats[0]).is_none());
        assert!(host.claim(seats[1]).is_some());
    }

    #[test]
    fn a_pipe_ends_with_the_bus_and_a_search_finds_for_everybody() {
        let (mut fake, usb) = Fake::plugged();
        fake.attach_hub(&[letter(b'a'), letter(b'b')]);
        let host = Host::new(usb);
        let mut host = host.borrow_mut();
        let seats = [host.seat(&A), host.seat(&B)];
        host.search().unwrap();
        let mut buffer = fake.arena.buffer(512).unwrap();
        let mut pipe = claimed(&mut host, seats[0]).unwrap();
        host.usb().start_bulk(&mut pipe, &mut buffer, 512);
        // The driver of b searches; a's address is the same again, and its old pipe is not taken for a new one.
        host.search().unwrap();
        assert_eq!(host.usb().poll_bulk(&mut pipe), Some(Err(Error::NotConnected)));
        assert_eq!(host.usb().clear_halt(&mut pipe), Err(Error::NotConnected));
        let mut pipe = claimed(&mut host, seats[0]).unwrap();
        host.usb().start_bulk(&mut pipe, &mut buffer, 512);
        fake.step();
        assert_eq!(host.usb().poll_bulk(&mut pipe), Some(Ok(3)));
        host.stop();
        assert_eq!(host.usb().poll_bulk(&mut pipe), Some(Err(Error::NotConnected)));
        assert!(host.claim(seats[1]).is_none(), "found before the stop");
    }
}
