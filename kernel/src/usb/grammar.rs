//! Whole buses as they are plugged together, made of a fuzzer's bytes: hubs, network functions, other devices, and now and then one
//! thing wrong. Random bytes never form a function; these do, so that what is behind the first check is tested too.

use core::iter;
use std::vec;
use std::vec::Vec;

use crate::usb::bus::{self, Ask, Class};
use crate::usb::descriptor::{self, Ecm, Vendor};
use crate::usb::pipe::Setup;
use crate::usb::transfer::{Device, Error};

/// Decisions, out of bytes; all are zero behind the last.
struct Draws<'d>(&'d [u8]);

impl Draws<'_> {
    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first) % limit
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

/// What stands in a configuration, when nothing is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Ecm(Ecm),
    Vendor(Vendor),
    Nothing,
}

/// Puts each of `parts` somewhere.
fn shuffled(draws: &mut Draws<'_>, mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    let order = iter::from_fn(|| (!parts.is_empty()).then(|| parts.remove(draws.below(parts.len()))));
    order.flatten().collect()
}

fn endpoint(address: u8, attributes: u8, max_packet: u16) -> Vec<u8> {
    let [low, high] = max_packet.to_le_bytes();
    vec![7, 5, address, attributes, low, high, 0]
}

fn interface(number: u8, alternate: u8, endpoints: u8, class: [u8; 3]) -> Vec<u8> {
    vec![
        9, 4, number, alternate, endpoints, class[0], class[1], class[2], 0,
    ]
}

/// An interface that is no network function: a keyboard's, or a disk's with bulk endpoints.
fn other(draws: &mut Draws<'_>, number: u8) -> Vec<u8> {
    let mut bytes = interface(
        number,
        0,
        2,
        draws.of(&[[3, 1, 1], [8, 6, 0x50], [2, 2, 1], [10, 0, 0]]),
    );
    bytes.extend(endpoint(0x80 | draws.of(&[1, 4, 9]), draws.of(&[2, 3]), 64));
    bytes.extend(endpoint(draws.of(&[1, 4, 9]), draws.of(&[2, 3]), 64));
    bytes
}

/// A configuration as a device has it.
fn configuration(draws: &mut Draws<'_>) -> (Vec<u8>, Holds) {
    const SIZES: [u16; 5] = [8, 16, 32, 64, 512];
    let value = draws.of(&[1, 2, 255]);
    let (input, output) = (draws.of(&[1, 2, 15]), draws.of(&[1, 2, 15]));
    let bulk_in = (0x80 | input, draws.of(&SIZES));
    let bulk_out = (output, draws.of(&SIZES));
    // Bits 12:11 are no part of the size.
    let more = u16::from(draws.byte()) << 11 & 0x1800;
    let pair = |draws: &mut Draws<'_>| {
        let pair = vec![
            endpoint(bulk_in.0, 2, bulk_in.1 | more),
            endpoint(bulk_out.0, 2, bulk_out.1),
            endpoint(0x83, 3, 16),
        ];
        shuffled(draws, pair)
    };
    let mut bytes = vec![9, 2, 0, 0, 2, value, 0, 0xc0, 50];
    if draws.below(2) == 0 {
        bytes.extend(other(draws, 7));
    }
    let holds = match draws.below(3) {
        0 => {
            let (control, data, alternate) =
                (draws.of(&[0, 1, 5]), draws.of(&[2, 3, 200]), draws.of(&[0, 1, 4]));
            let mac_string = draws.of(&[1, 3, 255]);
            bytes.extend(interface(control, 0, 1, [2, 6, 0]));
            let functional = vec![
                vec![5, 0x24, 0, 0x10, 1],
                vec![5, 0x24, 6, control, data],
                vec![13, 0x24, 0x0f, mac_string, 0, 0, 0, 0, 0xea, 5, 0, 0, 0],
            ];
            bytes.extend(shuffled(draws, functional));
            bytes.extend(endpoint(0x84, 3, 16));
            if alternate > 0 {
                bytes.extend(interface(data, 0, 0, [10, 0, 0]));
            }
            bytes.extend(interface(data, alternate, 3, [10, 0, 0]));
            bytes.extend(pair(draws));
            Holds::Ecm(Ecm {
                configuration: value,
                control_interface: control,
                data_interface: (data, alternate),
                bulk_in,
                bulk_out,
                mac_string,
            })
        }
        1 => {
            bytes.extend(interface(0, 0, 3, [0xff, 0, 0xff]));
            bytes.extend(pair(draws));
            Holds::Vendor(Vendor {
                configuration: value,
                bulk_in,
                bulk_out,
            })
        }
        _ => Holds::Nothing,
    };
    if draws.below(2) == 0 {
        bytes.extend(other(draws, 8));
    }
    let [low, high] = (bytes.len() as u16).to_le_bytes();
    (bytes[2], bytes[3]) = (low, high);
    (bytes, holds)
}

/// Changes, leaves out or adds one thing; often none. Whether it did.
fn spoil(draws: &mut Draws<'_>, bytes: &mut Vec<u8>) -> bool {
    let at = draws.below(256) % bytes.len();
    match draws.below(8) {
        0 => bytes[at] = draws.byte(),
        1 => bytes[at] = bytes[at].wrapping_add(draws.of(&[1, 2, 255])),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, draws.byte()),
        4 => _ = bytes.remove(at),
        _ => return false,
    }
    true
}

/// Reads one configuration: what is whole is found as it was made, and what is not has bounds at least. Whether a function was
/// found, and whether it was whole.
fn described(data: &[u8]) -> (bool, bool) {
    let mut draws = Draws(data);
    let (mut bytes, holds) = configuration(&mut draws);
    let spoilt = spoil(&mut draws, &mut bytes);
    let (ecm, vendor) = (descriptor::ecm(&bytes), descriptor::vendor(&bytes));
    if !spoilt {
        assert_eq!(
            ecm,
            if let Holds::Ecm(ecm) = holds {
                Some(ecm)
            } else {
                None
            }
        );
        assert_eq!(
            vendor,
            if let Holds::Vendor(vendor) = holds {
                Some(vendor)
            } else {
                None
            }
        );
    }
    descriptor::within_bounds(&bytes);
    (ecm.is_some() || vendor.is_some(), !spoilt)
}

/// Something that is plugged in.
struct Plugged {
    /// Which one is its hub, and the port there.
    hub: (usize, u16),
    device: Vec<u8>,
    configuration: Vec<u8>,
    hub_descriptor: Vec<u8>,
    address: u8,
}

/// A bus that answers as its devices would, by what it is asked.
struct Bus {
    all: Vec<Plugged>,
    /// The one whose reset was the last.
    reset: usize,
    answer: Vec<u8>,
}

impl Bus {
    fn of(draws: &mut Draws<'_>) -> Self {
        let mut all: Vec<Plugged> = Vec::new();
        for n in 0..1 + draws.below(6) {
            let hubs: Vec<usize> = (0..n).filter(|n| all[*n].device.get(4) == Some(&9)).collect();
            if n > 0 && hubs.is_empty() {
                break;
            }
            let hub = (if n > 0 { draws.of(&hubs) } else { 0 }, 1 + draws.below(4) as u16);
            let is_hub = draws.below(2) == 0;
            let class = if is_hub { 9 } else { 0 };
            let mut plugged = Plugged {
                hub,
                device: vec![18, 1, 0, 2, class, 0, 1, 64, 0x24, 4, 0, 0xec, 0, 2, 0, 0, 0, 1],
                configuration: match is_hub {
                    true => [
                        vec![9, 2, 25, 0, 1, 1, 0, 0xe0, 1],
                        interface(0, 0, 1, [9, 0, 1]),
                        endpoint(0x81, 3, 1),
                    ]
                    .concat(),
                    false => configuration(draws).0,
                },
                hub_descriptor: vec![
                    9,
                    0x29,
                    draws.of(&[4, 1, 15, 255]),
                    9,
                    0,
                    draws.of(&[50, 0, 255]),
                    1,
                    0,
                    0,
                ],
                address: 0,
            };
            // One thing in a whole bus or two; else nothing comes far.
            if draws.below(4) == 0 {
                let answers = [
                    &mut plugged.device,
                    &mut plugged.configuration,
                    &mut plugged.hub_descriptor,
                ];
                let at = draws.below(3);
                for (_, answer) in answers.into_iter().enumerate().filter(|(n, _)| *n == at) {
                    spoil(draws, answer);
                }
            }
            all.push(plugged);
        }
        Self {
            all,
            reset: 0,
            answer: Vec::new(),
        }
    }

    fn asked(&self, device: Device) -> Result<usize, Error> {
        match device.address {
            0 => Ok(self.reset),
            address => self
                .all
                .iter()
                .position(|one| one.address == address)
                .ok_or(Error::TimedOut),
        }
    }
}

impl Ask for Bus {
    fn control_in(&mut self, device: Device, setup: Setup, len: usize) -> Result<&[u8], Error> {
        let at = self.asked(device)?;
        let one = &self.all[at];
        self.answer = match (setup.request_type, setup.request, setup.value >> 8) {
            (0x80, 6, 1) => one.device.clone(),
            (0x80, 6, 2) => one.configuration.clone(),
            (0xa0, 6, 0x29) => one.hub_descriptor.clone(),
            (0xa3, 0, _) => {
                let port = self
                    .all
                    .iter()
                    .skip(1)
                    .position(|other| other.hub == (at, setup.index));
                let is_reset = port.is_some_and(|below| below + 1 == self.reset);
                let status: u32 = match (port, is_reset) {
                    (None, _) => 0,
                    // Connected, at high speed; reset and enabled.
                    (Some(_), false) => 0x401,
                    (Some(_), true) => 0x0010_0403,
                };
                status.to_le_bytes().into()
            }
            _ => return Err(Error::Stall),
        };
        self.answer.truncate(len);
        Ok(&self.answer)
    }

    fn control_out(&mut self, device: Device, setup: Setup, _: &[u8]) -> Result<(), Error> {
        let at = self.asked(device)?;
        match (setup.request_type, setup.request, setup.value) {
            (0, 5, address) => self.all[at].address = address as u8,
            (0x23, 3, 4) => {
                let port = self
                    .all
                    .iter()
                    .skip(1)
                    .position(|other| other.hub == (at, setup.index));
                self.reset = port.ok_or(Error::Stall)? + 1;
                self.all[self.reset].address = 0;
            }
            _ => {}
        }
        Ok(())
    }

    fn era(&self) -> u32 {
        0
    }
}

/// Searches a whole bus: it takes no longer than a search may, and what is found there is a function. Whether something was.
fn searched(data: &[u8]) -> bool {
    static FUNCTION: Class = Class {
        what: "a network interface",
        driven: "some",
        knows: |_, configuration| {
            descriptor::vendor(configuration).is_some() || descriptor::ecm(configuration).is_some()
        },
    };
    let mut bus = Bus::of(&mut Draws(data));
    let (took, found) = bus::searched(&mut bus, &FUNCTION);
    assert!(took.as_secs() <= 9, "{took:?}");
    let found = found.map(|found| found.configuration);
    if let Some(configuration) = &found {
        descriptor::within_bounds(configuration);
        assert!(descriptor::ecm(configuration).is_some() || descriptor::vendor(configuration).is_some());
    }
    found.is_some()
}

/// For the fuzz target: one configuration, and one bus.
#[cfg(fuzzing)]
pub fn fuzzed(bytes: &[u8]) {
    described(bytes);
    searched(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that `seed` names.
    fn bytes(seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        iter::repeat_with(draw).take(200).collect()
    }

    #[test]
    fn what_is_whole_is_found_as_it_was_made_and_what_is_not_has_bounds() {
        let (mut whole, mut spoilt) = (0, 0);
        for seed in 0..100_000 {
            match described(&bytes(seed)) {
                (true, true) => whole += 1,
                (true, false) => spoilt += 1,
                (false, _) => {}
            }
        }
        assert!(whole > 20_000, "{whole} whole functions of 100000 configurations");
        assert!(spoilt > 10_000, "{spoilt} functions in spite of what is wrong");
    }

    #[test]
    fn a_search_finds_functions_behind_hubs_and_ends_in_time() {
        let found = (0..300).filter(|seed| searched(&bytes(*seed))).count();
        assert!(found > 60, "functions on {found} of 300 buses");
    }
}
