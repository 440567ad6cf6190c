//! Finding devices: reset, address and look at one after another, through hubs (USB 2.0 §9.1.2, §11.24) (D-13).

use alloc::vec::Vec;
use core::fmt;

use boot::patience::USB_SEARCH;
use boot::{info, warn};
use embedded_hal::delay::DelayNs as _;
use smoltcp::time::{Duration, Instant};

use crate::bits::{Bits as _, bits};
use crate::clock::Clock;
use crate::usb::descriptor::{self, DeviceDescriptor};
use crate::usb::dwc2::{CONTROL_BUFFER, Dwc2};
use crate::usb::pipe::Setup;
use crate::usb::transfer::{Device, Error, Speed};

/// Hubs in a row, the root port's not counted (USB 2.0 §4.1.1).
const MAX_DEPTH: u8 = 5;
/// Addresses are never given twice, so this also bounds the whole search.
const MAX_ADDRESS: u8 = 127;
/// A device may take this long to show up on a powered port.
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);
/// How long a plug that is just being pushed in bounces (USB 2.0 §7.1.7.3, TATTDB).
const DEBOUNCE_MS: u32 = 100;
/// Longest reset of a hub's port.
const RESET_PATIENCE: Duration = Duration::from_millis(200);
/// How often a port is tried while what is behind it fails, in the first half of a search. A device that was just plugged in may need
/// more than one try.
const PORT_TRIES: u32 = 3;

const GET_STATUS: u8 = 0;
const CLEAR_FEATURE: u8 = 1;
const SET_FEATURE: u8 = 3;
const SET_ADDRESS: u8 = 5;
const GET_DESCRIPTOR: u8 = 6;
const SET_CONFIGURATION: u8 = 9;
/// bmRequestType: device to host, standard, to the device.
const FROM_DEVICE: u8 = 0x80;
/// bmRequestType: device to host, class, to the device (a hub).
const FROM_HUB: u8 = 0xa0;
/// bmRequestType: device to host, class, to something else (a port).
const FROM_PORT: u8 = 0xa3;
/// bmRequestType: host to device, class, to something else (a port).
const TO_PORT: u8 = 0x23;

/// What is set or cleared of a hub's port (USB 2.0 table 11-17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
enum Feature {
    Enable = 1,
    Reset = 4,
    Power = 8,
    ConnectionChange = 16,
    EnableChange = 17,
    ResetChange = 20,
}

bits! {
    /// wPortStatus, and wPortChange above it (§11.24.2.7).
    struct PortStatus {
        CONNECTED = 1 << 0,
        ENABLED = 1 << 1,
        LOW_SPEED = 1 << 9,
        HIGH_SPEED = 1 << 10,
        RESET_CHANGED = 1 << 20,
    }
}

/// Devices that one driver drives.
pub(crate) struct Class {
    /// What they are, for the log: `a network interface`.
    pub(crate) what: &'static str,
    /// Which of them are driven, for the log.
    pub(crate) driven: &'static str,
    /// Whether the driver knows a device in one of its configurations, whose descriptor comes with all that follows it.
    pub(crate) knows: fn(&DeviceDescriptor, &[u8]) -> bool,
}

/// A device that its driver knows: it has an address, and the configuration that the driver wants.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Where it is.
    pub(crate) device: Device,
    /// What it is.
    pub(crate) about: DeviceDescriptor,
    /// The configuration descriptor, with all that follows it.
    pub(crate) configuration: Vec<u8>,
}

/// A class that is looked for, and the first device of it once that has been found.
pub(super) struct Wanted {
    pub(super) class: &'static Class,
    pub(super) found: Option<Found>,
}

/// A hub's port.
enum Port {
    Empty,
    /// Something is plugged in, and was looked at.
    Seen,
}

/// Finds the first device of each class, in ten seconds at most. It ends with the last of them; devices that no class knows
/// are logged on the way.
pub(super) fn search(usb: &mut Dwc2, wanted: &mut [Wanted]) -> Result<(), Error> {
    let clock = usb.clock();
    clock
        .poll(CONNECT_PATIENCE, || usb.connected().then_some(()))
        .ok_or(Error::NotConnected)?;
    let mut delay = clock;
    delay.delay_ms(DEBOUNCE_MS);
    let speed = usb.reset_port()?;
    let mut search = Search {
        usb,
        wanted,
        clock,
        deadline: boot::Clock::now(&clock) + USB_SEARCH,
        next_address: 1,
    };
    let end = search.visit(speed, speed, 0);
    match end {
        // Who has found its device can work, whatever became of a hub behind it.
        Err(error) if search.wanted.iter().any(|wanted| wanted.found.is_some()) => {
            warn!("usb: {}: the rest of the bus is left alone", error);
            Ok(())
        }
        end => end,
    }
}

/// Who asks devices: the controller.
pub(super) trait Ask {
    /// What a device answers, at most `len` bytes.
    fn control_in(&mut self, device: Device, setup: Setup, len: usize) -> Result<&[u8], Error>;
    /// Tells it something.
    fn control_out(&mut self, device: Device, setup: Setup, data: &[u8]) -> Result<(), Error>;
    /// What a device that is found now bears.
    fn era(&self) -> u32;
}

impl Ask for Dwc2 {
    fn control_in(&mut self, device: Device, setup: Setup, len: usize) -> Result<&[u8], Error> {
        self.control_in(device, setup, len)
    }

    fn control_out(&mut self, device: Device, setup: Setup, data: &[u8]) -> Result<(), Error> {
        self.control_out(device, setup, data)
    }

    fn era(&self) -> u32 {
        self.era()
    }
}

struct Search<'u, A> {
    usb: &'u mut A,
    wanted: &'u mut [Wanted],
    clock: Clock,
    deadline: Instant,
    next_address: u8,
}

impl<A: Ask> Search<'_, A> {
    /// Looks at the device that answers at address 0, and behind it when it is a hub. `bus` is the speed of the
    /// root port.
    fn visit(&mut self, speed: Speed, bus: Speed, depth: u8) -> Result<(), Error> {
        if speed != bus {
            // The controller would have to split transactions; nothing that Bramble drives needs that.
            warn!("usb: a {} device behind a {} hub is left alone", speed, bus);
            return Ok(());
        }
        self.in_time()?;
        let (device, about) = self.address(speed)?;
        info!(
            "usb: {} at address {}, {}",
            Id(about.vendor, about.product),
            device.address,
            speed
        );
        if about.class == 9 {
            return if depth < MAX_DEPTH {
                self.hub(device, bus, depth)
            } else {
                Ok(())
            };
        }
        self.offer(device, about)
    }

    /// Gives the device at address 0 an address and reads its descriptor.
    fn address(&mut self, speed: Speed) -> Result<(Device, DeviceDescriptor), Error> {
        let guess = if speed == Speed::Low { 8 } else { 64 };
        let mut device = Device {
            address: 0,
            speed,
            max_packet: guess,
            era: self.usb.era(),
        };
        let start = self.usb.control_in(device, get_descriptor(1, 0), 8)?;
        device.max_packet = descriptor::max_packet_0(start).ok_or(Error::Babble)?;
        let address = self.next_address;
        if address > MAX_ADDRESS {
            return Err(Error::TooMany);
        }
        let setup = Setup {
            request_type: 0,
            request: SET_ADDRESS,
            value: u16::from(address),
            index: 0,
        };
        self.usb.control_out(device, setup, &[])?;
        self.next_address += 1;
        device.address = address;
        let mut delay = self.clock;
        // USB 2.0 §9.2.6.3 grants a device two; there are some that need the ten that Linux gives them.
        delay.delay_ms(10);
        let bytes = self.usb.control_in(device, get_descriptor(1, 0), 18)?;
        let about = descriptor::device(bytes).ok_or(Error::Transaction)?;
        Ok((device, about))
    }

    /// Configures `device` for the first class without one that knows it in one of its configurations.
    fn offer(&mut self, device: Device, about: DeviceDescriptor) -> Result<(), Error> {
        for index in 0..about.configurations.min(8) {
            self.in_time()?;
            let configuration = self.configuration(device, index)?.to_vec();
            let taker = self
                .wanted
                .iter()
                .position(|wanted| wanted.found.is_none() && (wanted.class.knows)(&about, &configuration));
            if let Some(taker) = taker {
                let value = descriptor::value(&configuration).ok_or(Error::Transaction)?;
                self.set_configuration(device, value)?;
                self.wanted[taker].found = Some(Found {
                    device,
                    about,
                    configuration,
                });
                return Ok(());
            }
        }
        for wanted in self.wanted.iter().filter(|wanted| wanted.found.is_none()) {
            warn!(
                "usb: {} is not {} that Bramble drives; it drives {}",
                Id(about.vendor, about.product),
                wanted.class.what,
                wanted.class.driven
            );
        }
        Ok(())
    }

    /// Whether every class has its device.
    fn over(&self) -> bool {
        self.wanted.iter().all(|wanted| wanted.found.is_some())
    }

    /// A configuration descriptor with all that follows it, as far as the buffer reaches.
    fn configuration(&mut self, device: Device, index: u8) -> Result<&[u8], Error> {
        let head = self.usb.control_in(device, get_descriptor(2, index), 9)?;
        let total = descriptor::total_length(head).unwrap_or(0).min(CONTROL_BUFFER);
        self.usb.control_in(device, get_descriptor(2, index), total)
    }

    fn set_configuration(&mut self, device: Device, value: u8) -> Result<(), Error> {
        let setup = Setup {
            request_type: 0,
            request: SET_CONFIGURATION,
            value: u16::from(value),
            index: 0,
        };
        self.usb.control_out(device, setup, &[])
    }

    /// Looks at everything that is plugged into a hub.
    fn hub(&mut self, hub: Device, bus: Speed, depth: u8) -> Result<(), Error> {
        // A hub that is not configured need not know its class's requests (USB 2.0 §11.24.2).
        let configuration = descriptor::value(self.configuration(hub, 0)?).ok_or(Error::Transaction)?;
        self.set_configuration(hub, configuration)?;
        let setup = Setup {
            request_type: FROM_HUB,
            ..get_descriptor(0x29, 0)
        };
        let (ports, power_ms) =
            descriptor::hub(self.usb.control_in(hub, setup, 9)?).ok_or(Error::Transaction)?;
        for port in 1..=u16::from(ports) {
            self.in_time()?;
            self.port_feature(hub, port, SET_FEATURE, Feature::Power)?;
        }
        let mut delay = self.clock;
        delay.delay_ms(power_ms);
        let mut waiting: Vec<(u16, u32)> = (1..=u16::from(ports)).map(|port| (port, PORT_TRIES)).collect();
        let deadline = boot::Clock::now(&self.clock) + CONNECT_PATIENCE;
        while !waiting.is_empty() {
            let last = boot::Clock::now(&self.clock) > deadline;
            for (port, tries) in core::mem::take(&mut waiting) {
                self.in_time()?;
                if tries < PORT_TRIES && self.half_over() {
                    continue;
                }
                match self.port(hub, port, bus, depth) {
                    Ok(Port::Empty) if last => {}
                    Ok(Port::Empty) => waiting.push((port, tries)),
                    Ok(Port::Seen) if self.over() => return Ok(()),
                    Ok(Port::Seen) => {}
                    Err(error) => {
                        // One broken device must not hide the others, nor answer at address 0 in their place.
                        warn!(
                            "usb: port {} of the hub at address {}: {}",
                            port, hub.address, error
                        );
                        let _ = self.port_feature(hub, port, CLEAR_FEATURE, Feature::Enable);
                        if tries > 1 {
                            waiting.push((port, tries - 1));
                        }
                    }
                }
            }
            delay.delay_ms(10);
        }
        Ok(())
    }

    /// The rest of the search is for what has not been looked at yet.
    fn half_over(&self) -> bool {
        boot::Clock::now(&self.clock) > self.deadline - USB_SEARCH / 2
    }

    fn in_time(&self) -> Result<(), Error> {
        let late = boot::Clock::now(&self.clock) > self.deadline;
        if late { Err(Error::TimedOut) } else { Ok(()) }
    }

    fn port(&mut self, hub: Device, port: u16, bus: Speed, depth: u8) -> Result<Port, Error> {
        if !self.port_status(hub, port)?.has(PortStatus::CONNECTED) {
            return Ok(Port::Empty);
        }
        let mut delay = self.clock;
        delay.delay_ms(DEBOUNCE_MS);
        self.port_feature(hub, port, CLEAR_FEATURE, Feature::ConnectionChange)?;
        self.port_feature(hub, port, SET_FEATURE, Feature::Reset)?;
        let deadline = boot::Clock::now(&self.clock) + RESET_PATIENCE;
        let status = loop {
            // Told before the look, so that there is one look after the deadline.
            let late = boot::Clock::now(&self.clock) > deadline;
            delay.delay_ms(10);
            let status = self.port_status(hub, port)?;
            if status.has(PortStatus::RESET_CHANGED) && status.has(PortStatus::ENABLED) {
                break status;
            }
            if late {
                return Err(Error::PortNotEnabled);
            }
        };
        self.port_feature(hub, port, CLEAR_FEATURE, Feature::ResetChange)?;
        self.port_feature(hub, port, CLEAR_FEATURE, Feature::EnableChange)?;
        delay.delay_ms(10); // USB 2.0 §7.1.7.5, TRSTRCY
        let speed = match status {
            _ if status.has(PortStatus::LOW_SPEED) => Speed::Low,
            _ if status.has(PortStatus::HIGH_SPEED) => Speed::High,
            _ => Speed::Full,
        };
        self.visit(speed, bus, depth + 1)?;
        Ok(Port::Seen)
    }

    fn port_status(&mut self, hub: Device, port: u16) -> Result<PortStatus, Error> {
        let setup = Setup {
            request_type: FROM_PORT,
            request: GET_STATUS,
            value: 0,
            index: port,
        };
        let bytes = self.usb.control_in(hub, setup, 4)?;
        let status = bytes.try_into().map_err(|_| Error::Transaction)?;
        Ok(PortStatus::from_number(u32::from_le_bytes(status)))
    }

    fn port_feature(&mut self, hub: Device, port: u16, request: u8, feature: Feature) -> Result<(), Error> {
        self.usb.control_out(
            hub,
            Setup {
                request_type: TO_PORT,
                request,
                value: feature as u16,
                index: port,
            },
            &[],
        )
    }
}

fn get_descriptor(kind: u8, index: u8) -> Setup {
    let value = u16::from(kind) << 8 | u16::from(index);
    Setup {
        request_type: FROM_DEVICE,
        request: GET_DESCRIPTOR,
        value,
        index: 0,
    }
}

/// `vendor:product` as lsusb prints it, with the name of what a Pi has on board.
struct Id(u16, u16);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.0, self.1) {
            (0x0424, 0x9514) => " (LAN9514 hub)",
            (0x0424, 0xec00) => " (LAN9514 Ethernet)",
            (0x0424, 0x2514) => " (LAN7515 hub)",
            (0x0424, 0x7800) => " (LAN7515 Ethernet)",
            _ => "",
        };
        write!(f, "{:04x}:{:04x}{name}", self.0, self.1)
    }
}

/// For the fuzz target: a search in which devices answer with one piece after another; for how long it takes. A piece that
/// begins with 0xff is a refusal, and an empty one silence.
#[cfg(fuzzing)]
pub fn fuzzed<'d>(answers: &mut dyn Iterator<Item = &'d [u8]>) -> core::time::Duration {
    struct Script<'a, 'd> {
        answers: &'a mut dyn Iterator<Item = &'d [u8]>,
        clock: Clock,
    }

    impl Ask for Script<'_, '_> {
        fn control_in(&mut self, _: Device, setup: Setup, len: usize) -> Result<&[u8], Error> {
            assert!(len <= CONTROL_BUFFER && setup.request_type & 0x80 != 0);
            match self.answers.next() {
                None | Some([0xff, ..]) => Err(Error::Stall),
                Some([]) => {
                    self.clock.delay_ms(500);
                    Err(Error::TimedOut)
                }
                Some(answer) => Ok(&answer[..answer.len().min(len)]),
            }
        }

        fn control_out(&mut self, device: Device, setup: Setup, data: &[u8]) -> Result<(), Error> {
            assert!(setup.request_type & 0x80 == 0 && data.is_empty() && device.address <= MAX_ADDRESS);
            Ok(())
        }

        fn era(&self) -> u32 {
            0
        }
    }

    static ANYTHING: Class = Class {
        what: "a device",
        driven: "some",
        knows: |_, configuration| descriptor::vendor(configuration).is_some(),
    };
    let clock = Clock::start();
    searched(&mut Script { answers, clock }, &ANYTHING).0
}

/// A search for one class: how long it takes, and what it finds.
#[cfg(any(test, fuzzing))]
pub(super) fn searched(usb: &mut impl Ask, class: &'static Class) -> (core::time::Duration, Option<Found>) {
    let clock = Clock::start();
    let wanted = &mut [Wanted { class, found: None }];
    let mut search = Search {
        usb,
        wanted,
        clock,
        deadline: boot::Clock::now(&clock) + USB_SEARCH,
        next_address: 1,
    };
    let end = search.visit(Speed::High, Speed::High, 0);
    assert!(search.next_address <= MAX_ADDRESS + 1 && (end.is_ok() || search.wanted[0].found.is_none()));
    let took = core::time::Duration::from_micros(boot::Clock::now(&clock).total_micros() as u64);
    (took, search.wanted[0].found.take())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usb::fake::{self, Answer, Fake};

    const DEVICE: [u8; 18] = [18, 1, 0, 2, 9, 0, 0, 64, 0x24, 0x04, 0x14, 0x95, 0, 0, 0, 0, 0, 1];

    /// Nobody's.
    static NONE: Class = Class {
        what: "a device",
        driven: "none",
        knows: |_, _| false,
    };

    /// Searches the whole bus.
    fn search_for_none(usb: &mut Dwc2) -> Result<(), Error> {
        let mut wanted = [Wanted {
            class: &NONE,
            found: None,
        }];
        search(usb, &mut wanted)?;
        assert!(wanted[0].found.is_none());
        Ok(())
    }

    /// A hub's configuration, as far as it is looked at.
    const CONFIGURATION: [u8; 9] = [9, 2, 9, 0, 1, 7, 0, 0xe0, 1];

    /// A control transfer that sends nothing but its request.
    fn done() -> Vec<Answer> {
        vec![Answer::Taken, Answer::Sends(vec![])]
    }

    /// A control transfer that brings `data`.
    fn brings(data: &[u8]) -> Vec<Answer> {
        vec![Answer::Taken, Answer::Sends(data.to_vec()), Answer::Taken]
    }

    fn status(bits: PortStatus) -> Vec<Answer> {
        brings(&bits.number().to_le_bytes())
    }

    /// A hub with so many ports, power after 20 ms, up to its descriptor.
    fn hub(ports: u8) -> Vec<Answer> {
        let answers = [
            brings(&DEVICE[..8]),
            done(), // SET_ADDRESS
            brings(&DEVICE),
            brings(&CONFIGURATION),
            brings(&CONFIGURATION),
            done(), // SET_CONFIGURATION
            brings(&[9, 0x29, ports, 0, 0, 10, 0, 0, 0]),
        ];
        answers.concat()
    }

    /// A port of it where something is plugged in, up to the end of its reset.
    fn port() -> Vec<Answer> {
        let answers = [
            status(PortStatus::CONNECTED),
            done(), // C_PORT_CONNECTION
            done(), // PORT_RESET
            status(PortStatus::CONNECTED),
            status(PortStatus::CONNECTED | PortStatus::ENABLED | PortStatus::RESET_CHANGED),
            done(), // C_PORT_RESET
            done(), // C_PORT_ENABLE
        ];
        answers.concat()
    }

    /// A device that refuses its first request, and the port that is switched off therefore.
    fn broken() -> Vec<Answer> {
        let mut answers = vec![Answer::Taken, Answer::Fails(vec![], 0, fake::STALL)];
        answers.extend(done());
        answers
    }

    /// Whether a device was given this address.
    fn addressed(fake: &Fake, address: u8) -> bool {
        let wanted = [0, SET_ADDRESS, address, 0, 0, 0, 0, 0];
        let seen = fake.seen();
        seen.iter()
            .any(|request| request.pid() == 3 && request.sent == wanted)
    }

    #[test]
    fn a_new_device_is_asked_in_the_words_of_the_standard() {
        for (speed, guess) in [(Speed::High, 64), (Speed::Full, 64), (Speed::Low, 8)] {
            let (fake, mut usb) = Fake::plugged();
            fake.connect(speed);
            usb.start().unwrap();
            // A keyboard, whose endpoint 0 takes eight bytes.
            let device = [18, 1, 0, 2, 0, 0, 0, 8, 1, 2, 3, 4, 0, 0, 0, 0, 0, 1];
            let configuration = [9, 2, 18, 0, 1, 7, 0, 0xe0, 1, 9, 4, 0, 0, 0, 3, 1, 1, 0];
            let answers = [
                brings(&device[..8]),
                done(),
                brings(&device),
                brings(&configuration[..9]),
                brings(&configuration),
            ];
            fake.expect(0, answers.concat());
            search_for_none(&mut usb).unwrap();
            let asked = fake.seen().into_iter().filter(|transfer| transfer.pid() == 3);
            let asked = asked.map(|setup| {
                assert_eq!(setup.hcchar >> 17 & 1 == 1, speed == Speed::Low);
                (setup.hcchar >> 22 & 0x7f, setup.hcchar & 0x7ff, setup.sent)
            });
            // Its address, its largest packet as far as that is known, and the request (USB 2.0 table 9-2).
            let expected = [
                (0, guess, [0x80, 6, 0, 1, 0, 0, 8, 0].to_vec()),
                (0, 8, [0, 5, 1, 0, 0, 0, 0, 0].to_vec()),
                (1, 8, [0x80, 6, 0, 1, 0, 0, 18, 0].to_vec()),
                (1, 8, [0x80, 6, 0, 2, 0, 0, 9, 0].to_vec()),
                (1, 8, [0x80, 6, 0, 2, 0, 0, 18, 0].to_vec()),
            ];
            assert_eq!(asked.collect::<Vec<_>>(), expected, "{speed}");
        }
    }

    #[test]
    fn a_device_that_fails_at_first_is_found() {
        let (fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        fake.expect(0, [hub(1), done(), port(), broken(), port(), hub(0)].concat());
        search_for_none(&mut usb).unwrap();
        assert!(addressed(&fake, 2));
    }

    #[test]
    fn a_late_device_on_a_hub_is_found_and_a_broken_one_is_switched_off() {
        let (fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        // PORT_POWER, and nothing there at first.
        fake.expect(
            0,
            [
                hub(1),
                done(),
                status(PortStatus::none()),
                status(PortStatus::none()),
            ]
            .concat(),
        );
        for _ in 0..PORT_TRIES {
            fake.expect(0, [port(), broken()].concat());
        }
        let before = boot::Clock::now(&fake.clock);
        search_for_none(&mut usb).unwrap();
        assert!(boot::Clock::now(&fake.clock) - before < USB_SEARCH);
        let requests: Vec<_> = fake.seen().into_iter().filter(|t| t.pid() == 3).collect();
        let last = &requests[requests.len() - 1];
        assert_eq!(last.sent, [TO_PORT, CLEAR_FEATURE, 1, 0, 1, 0, 0, 0]);
        assert_eq!(last.hcchar >> 22 & 0x7f, 1, "said to the hub");
        assert_eq!(requests.len(), 10 + 9 * PORT_TRIES as usize);
        // The configuration has the value that its descriptor says.
        assert_eq!(requests[5].sent, [0, SET_CONFIGURATION, 7, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_device_that_says_nothing_at_first_is_found_as_well() {
        let (fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        fake.expect(0, [hub(1), done()].concat());
        for _ in 1..PORT_TRIES {
            let silent = vec![Answer::Taken, Answer::Silence(0)];
            fake.expect(0, [port(), silent, done()].concat());
        }
        fake.expect(0, [port(), hub(0)].concat());
        let before = boot::Clock::now(&fake.clock);
        search_for_none(&mut usb).unwrap();
        assert!(boot::Clock::now(&fake.clock) - before > CONNECT_PATIENCE);
        assert!(addressed(&fake, 2));
    }

    #[test]
    fn devices_that_say_nothing_leave_time_for_what_is_behind_them() {
        let (fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        // Two hubs on a hub: the first has seven such devices, half a second each.
        fake.expect(
            0,
            [hub(2), done(), done(), port(), hub(7), vec![done(); 7].concat()].concat(),
        );
        for _ in 0..7 {
            let silent = vec![Answer::Taken, Answer::Silence(0)];
            fake.expect(0, [port(), silent, done()].concat());
        }
        fake.expect(0, [port(), hub(0)].concat());
        search_for_none(&mut usb).unwrap();
        assert!(addressed(&fake, 3));
    }

    #[test]
    fn five_hubs_in_a_row_are_looked_behind_and_no_sixth() {
        let (fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        // The root port's, and five behind it; what the last one has of ports is not asked.
        for _ in 0..5 {
            fake.expect(0, [hub(1), done(), port()].concat());
        }
        fake.expect(0, hub(0));
        search_for_none(&mut usb).unwrap();
        let asked: Vec<_> = fake
            .seen()
            .into_iter()
            .filter(|transfer| transfer.pid() == 3)
            .collect();
        let count = |request| {
            asked
                .iter()
                .filter(|setup| setup.sent[..2] == [0, request])
                .count()
        };
        // The sixth has an address, and nobody asks what it has of ports.
        assert_eq!((count(SET_ADDRESS), count(SET_CONFIGURATION)), (6, 5));
    }

    #[test]
    fn a_hub_that_stops_answering_ends_the_search_in_time() {
        let (fake, mut usb) = Fake::plugged();
        usb.start().unwrap();
        let hub = [
            brings(&DEVICE[..8]),
            done(),
            brings(&DEVICE),
            brings(&CONFIGURATION),
            brings(&CONFIGURATION),
            done(),
            brings(&[9, 0x29, 15, 0, 0, 255, 0, 0, 0]),
            vec![done(); 15].concat(),
        ];
        fake.expect(0, hub.concat());
        let before = boot::Clock::now(&fake.clock);
        assert_eq!(search_for_none(&mut usb), Err(Error::TimedOut));
        let took = boot::Clock::now(&fake.clock) - before;
        assert!(took < USB_SEARCH + Duration::from_secs(2), "{took}");
    }
}
