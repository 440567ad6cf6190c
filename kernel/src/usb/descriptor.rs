//! What devices say of themselves, every length of it checked (USB 2.0 §9.6, §11.23.2; CDC ECM 1.2 §5.4).

/// bDescriptorType of interfaces and endpoints.
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;

/// A device descriptor, as far as Bramble reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceDescriptor {
    /// bDeviceClass; 9 is a hub.
    pub(crate) class: u8,
    /// Largest packet of endpoint 0.
    pub(crate) max_packet: u8,
    /// Vendor.
    pub(crate) vendor: u16,
    /// Product.
    pub(crate) product: u16,
    /// How many configurations there are.
    pub(crate) configurations: u8,
}

/// Reads an 18-byte device descriptor.
pub(crate) fn device(bytes: &[u8]) -> Option<DeviceDescriptor> {
    let bytes: &[u8; 18] = bytes.get(..18)?.try_into().ok()?;
    (bytes[0] >= 18 && bytes[1] == 1).then(|| DeviceDescriptor {
        class: bytes[4],
        max_packet: bytes[7],
        vendor: u16::from_le_bytes([bytes[8], bytes[9]]),
        product: u16::from_le_bytes([bytes[10], bytes[11]]),
        configurations: bytes[17],
    })
}

/// bMaxPacketSize0 of the first eight bytes of a device descriptor, when it is one that the standard allows.
pub(crate) fn max_packet_0(bytes: &[u8]) -> Option<u16> {
    let size = *bytes.get(7)?;
    matches!(size, 8 | 16 | 32 | 64).then_some(u16::from(size))
}

/// Ports of a hub and the time they need to get power, from its hub descriptor.
pub(crate) fn hub(bytes: &[u8]) -> Option<(u8, u32)> {
    let bytes: &[u8; 7] = bytes.get(..7)?.try_into().ok()?;
    (bytes[1] == 0x29).then(|| (bytes[2].min(15), u32::from(bytes[5]) * 2))
}

/// wTotalLength of a configuration descriptor.
pub(crate) fn total_length(bytes: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes([*bytes.get(2)?, *bytes.get(3)?])))
}

/// A CDC Ethernet function within a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ecm {
    /// bConfigurationValue to set.
    pub(crate) configuration: u8,
    /// Communication interface, where class requests go.
    pub(crate) control_interface: u8,
    /// Data interface, and the alternate setting that has its endpoints.
    pub(crate) data_interface: (u8, u8),
    /// Bulk IN endpoint: address, largest packet.
    pub(crate) bulk_in: (u8, u16),
    /// Bulk OUT endpoint: address, largest packet.
    pub(crate) bulk_out: (u8, u16),
    /// String that holds the MAC address as 12 hex digits.
    pub(crate) mac_string: u8,
}

/// What a vendor's own interface is used by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vendor {
    /// bConfigurationValue to set.
    pub(crate) configuration: u8,
    /// Bulk IN endpoint: address, largest packet.
    pub(crate) bulk_in: (u8, u16),
    /// Bulk OUT endpoint: address, largest packet.
    pub(crate) bulk_out: (u8, u16),
}

/// Finds a bulk endpoint of either direction in a device that has one interface of its vendor's class.
pub(crate) fn vendor(configuration: &[u8]) -> Option<Vendor> {
    let (mut bulk_in, mut bulk_out) = (None, None);
    let mut ours = false;
    for descriptor in descriptors(configuration) {
        match *descriptor {
            [_, INTERFACE, _, alternate, _, class, ..] => ours = (alternate, class) == (0, 0xff),
            [_, ENDPOINT, address, attributes, low, high, ..] if ours && attributes & 3 == 2 => {
                let place = if address & 0x80 != 0 {
                    &mut bulk_in
                } else {
                    &mut bulk_out
                };
                place.get_or_insert((address, u16::from_le_bytes([low, high]) & 0x7ff));
            }
            _ => {}
        }
    }
    let (bulk_in, bulk_out) = (bulk_in?, bulk_out?);
    (usual(bulk_in.1) && usual(bulk_out.1)).then_some(Vendor {
        configuration: value(configuration)?,
        bulk_in,
        bulk_out,
    })
}

/// bConfigurationValue of a configuration descriptor; 0 would mean to leave the configured state.
pub(crate) fn value(configuration: &[u8]) -> Option<u8> {
    let value = *configuration.get(5)?;
    (configuration.get(1) == Some(&2) && value != 0).then_some(value)
}

/// USB 2.0 §5.8.3: what a bulk endpoint's packets may be, at full and at high speed.
fn usual(max_packet: u16) -> bool {
    matches!(max_packet, 8 | 16 | 32 | 64 | 512)
}

/// Finds a CDC Ethernet function in a whole configuration descriptor.
pub(crate) fn ecm(configuration: &[u8]) -> Option<Ecm> {
    const CS_INTERFACE: u8 = 0x24;
    const UNION: u8 = 0x06;
    const ETHERNET: u8 = 0x0f;
    let value = value(configuration)?;
    let (mut control, mut data, mut mac) = (None, None, None);
    let (mut bulk_in, mut bulk_out) = (None, None);
    let mut current = None;
    for descriptor in descriptors(configuration) {
        match *descriptor {
            [_, INTERFACE, number, alternate, _, class, subclass, ..] => {
                current = Some((number, alternate));
                if (class, subclass) == (2, 6) && control.is_none() {
                    control = Some(number);
                }
            }
            [_, CS_INTERFACE, UNION, master, slave, ..] if control == Some(master) => data = Some(slave),
            [_, CS_INTERFACE, ETHERNET, string, ..] if control.is_some() && mac.is_none() => {
                mac = Some(string)
            }
            [_, ENDPOINT, address, attributes, low, high, ..] if attributes & 3 == 2 => {
                let (number, alternate) = current?;
                if data != Some(number) {
                    continue;
                }
                let endpoint = (alternate, address, u16::from_le_bytes([low, high]) & 0x7ff);
                let place = if address & 0x80 != 0 {
                    &mut bulk_in
                } else {
                    &mut bulk_out
                };
                place.get_or_insert(endpoint);
            }
            _ => {}
        }
    }
    let ((alternate, in_address, in_max), (out_alternate, out_address, out_max)) = (bulk_in?, bulk_out?);
    if alternate != out_alternate || !usual(in_max) || !usual(out_max) {
        return None;
    }
    Some(Ecm {
        configuration: value,
        control_interface: control?,
        data_interface: (data?, alternate),
        bulk_in: (in_address, in_max),
        bulk_out: (out_address, out_max),
        mac_string: mac?,
    })
}

/// The descriptors that follow one another in `bytes`; ends where a length makes no sense.
fn descriptors(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let len = usize::from(*bytes.first()?);
        if len < 2 {
            return None;
        }
        let (descriptor, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        Some(descriptor)
    })
}

/// A MAC address from a string descriptor of 12 hex digits in UTF-16.
pub(crate) fn mac(string: &[u8]) -> Option<[u8; 6]> {
    let len = usize::from(*string.first()?);
    if len != 26 || *string.get(1)? != 3 {
        return None;
    }
    let mut mac = [0; 6];
    let mut digits = string.get(2..26)?.chunks_exact(2).map(|unit| match *unit {
        [low, 0] => char::from(low).to_digit(16),
        _ => None,
    });
    for byte in &mut mac {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    // A group address or none at all identifies nobody.
    (mac[0] & 1 == 0 && mac != [0; 6]).then_some(mac)
}

/// For the fuzz target: reads everything that a device may say.
#[cfg(fuzzing)]
pub fn fuzzed(bytes: &[u8]) {
    device(bytes);
    max_packet_0(bytes);
    assert!(hub(bytes).is_none_or(|(ports, power_ms)| ports <= 15 && power_ms <= 510));
    total_length(bytes);
    within_bounds(bytes);
    assert!(mac(bytes).is_none_or(|mac| mac[0] & 1 == 0));
}

/// What is found in a configuration has bounds, whatever the configuration is.
#[cfg(any(test, fuzzing))]
pub(super) fn within_bounds(bytes: &[u8]) {
    let vendor = vendor(bytes).map(|function| (function.configuration, function.bulk_in, function.bulk_out));
    let ecm = ecm(bytes).map(|function| (function.configuration, function.bulk_in, function.bulk_out));
    for (configuration, input, output) in [vendor, ecm].into_iter().flatten() {
        assert_eq!(Some(configuration), value(bytes));
        assert!(input.0 & 0x80 != 0 && output.0 & 0x80 == 0);
        assert!(usual(input.1) && usual(output.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ECM configuration of QEMU's usb-net, as it sends it.
    const QEMU_ECM: [u8; 80] = [
        9, 2, 80, 0, 2, 1, 7, 0xc0, 50, // configuration 1
        9, 4, 0, 0, 1, 2, 6, 0, 5, // communication interface
        5, 0x24, 0, 0x10, 1, // header
        5, 0x24, 6, 0, 1, // union
        13, 0x24, 0x0f, 3, 0, 0, 0, 0, 0xea, 5, 0, 0, 0, // Ethernet
        7, 5, 0x81, 3, 16, 0, 32, // interrupt IN
        9, 4, 1, 0, 0, 10, 0, 0, 0, // data interface without endpoints
        9, 4, 1, 1, 2, 10, 0, 0, 0, // and with
        7, 5, 0x82, 2, 64, 0, 0, //
        7, 5, 0x02, 2, 64, 0, 0,
    ];

    #[test]
    fn qemus_ecm_function_is_found() {
        let expected = Ecm {
            configuration: 1,
            control_interface: 0,
            data_interface: (1, 1),
            bulk_in: (0x82, 64),
            bulk_out: (0x02, 64),
            mac_string: 3,
        };
        assert_eq!(ecm(&QEMU_ECM), Some(expected));
    }

    #[test]
    fn a_descriptor_of_two_bytes_is_passed_over_and_a_shorter_one_ends_all() {
        for at in [9, 18, 23, 41] {
            let with = |len: u8| [&QEMU_ECM[..at], &[len, 0x99], &QEMU_ECM[at..]].concat();
            assert_eq!(ecm(&with(2)), ecm(&QEMU_ECM), "{at}");
            assert_eq!((ecm(&with(1)), ecm(&with(0))), (None, None), "{at}");
        }
    }

    #[test]
    fn truncated_or_changed_configurations_never_panic() {
        for len in 0..QEMU_ECM.len() {
            assert_eq!(ecm(&QEMU_ECM[..len]), None, "without its last endpoint");
        }
        let mut found = 0;
        for at in 0..QEMU_ECM.len() {
            for value in 0..=255 {
                let mut bytes = QEMU_ECM;
                bytes[at] = value;
                found += usize::from(ecm(&bytes).is_some());
            }
        }
        assert!(found > 0);
    }

    #[test]
    fn of_several_ethernet_descriptors_the_functions_first_counts() {
        let other = [13, 0x24, 0x0f, 9, 0, 0, 0, 0, 0xea, 5, 0, 0, 0];
        // Before any interface, behind the function's own, and between the two.
        for at in [9, 41, 23] {
            let bytes = [&QEMU_ECM[..at], &other, &QEMU_ECM[at..]].concat();
            let found = ecm(&bytes).unwrap().mac_string;
            assert_eq!(found, if at == 23 { 9 } else { 3 }, "{at}");
        }
    }

    #[test]
    fn of_several_functions_the_first_counts_whatever_interfaces_are_around_it() {
        let second = [
            9, 4, 2, 0, 1, 2, 6, 0, 5, // the same, by other numbers
            5, 0x24, 6, 2, 3, //
            13, 0x24, 0x0f, 4, 0, 0, 0, 0, 0xea, 5, 0, 0, 0, //
            9, 4, 3, 1, 2, 10, 0, 0, 0, //
            7, 5, 0x84, 2, 64, 0, 0, //
            7, 5, 0x04, 2, 64, 0, 0,
        ];
        let keyboard = [9, 4, 7, 0, 1, 3, 1, 1, 0, 7, 5, 0x85, 3, 8, 0, 10];
        let first = &QEMU_ECM[9..];
        for parts in [
            [first, &second, &[]],
            [first, &keyboard, &second],
            [&keyboard, first, &second],
            [first, &second, &keyboard],
        ] {
            let bytes = [&QEMU_ECM[..9], &parts.concat()].concat();
            assert_eq!(ecm(&bytes), ecm(&QEMU_ECM), "{bytes:?}");
        }
    }

    #[test]
    fn a_bulk_packet_has_one_of_the_standards_sizes() {
        let mut bytes = QEMU_ECM;
        bytes[70] = 1;
        assert_eq!(ecm(&bytes), None);
        bytes[70] = 64;
        (bytes[77], bytes[78]) = (0, 2);
        assert_eq!(ecm(&bytes).map(|found| found.bulk_out), Some((0x02, 512)));
    }

    #[test]
    fn a_configuration_cut_before_its_endpoints_has_no_function() {
        assert_eq!(ecm(&QEMU_ECM[..66]), None);
    }

    /// The configuration of a LAN9514's Ethernet function.
    const LAN9514: [u8; 39] = [
        9, 2, 39, 0, 1, 1, 0, 0xe0, 1, // configuration 1
        9, 4, 0, 0, 3, 0xff, 0, 0xff, 0, // its one interface
        7, 5, 0x81, 2, 0, 2, 0, // bulk IN
        7, 5, 0x02, 2, 0, 2, 0, // bulk OUT
        7, 5, 0x83, 3, 16, 0, 4, // interrupt IN
    ];

    #[test]
    fn a_vendors_bulk_endpoints_are_told_by_their_direction() {
        let expected = Vendor {
            configuration: 1,
            bulk_in: (0x81, 512),
            bulk_out: (0x02, 512),
        };
        assert_eq!(vendor(&LAN9514), Some(expected));
        let mut other = LAN9514;
        (other[5], other[20], other[27]) = (3, 0x05, 0x84);
        let expected = Vendor {
            configuration: 3,
            bulk_in: (0x84, 512),
            bulk_out: (0x05, 512),
        };
        assert_eq!(vendor(&other), Some(expected));
        for (at, spoilt) in [(5, 0), (14, 2), (21, 3), (22, 1), (27, 0x82)] {
            let mut bytes = LAN9514;
            bytes[at] = spoilt;
            assert_eq!(vendor(&bytes), None, "{at}");
        }
        for len in 0..32 {
            assert_eq!(vendor(&LAN9514[..len]), None);
        }
    }

    #[test]
    fn a_mac_is_twelve_hex_digits_and_no_group() {
        let string = |text: &str| {
            let mut bytes = vec![2 + 2 * text.len() as u8, 3];
            bytes.extend(text.bytes().flat_map(|b| [b, 0]));
            bytes
        };
        assert_eq!(
            mac(&string("40540012345F")),
            Some([0x40, 0x54, 0x00, 0x12, 0x34, 0x5f])
        );
        assert_eq!(mac(&string("41540012345F")), None);
        assert_eq!(mac(&string("000000000000")), None);
        assert_eq!(mac(&string("4054001234")), None);
        assert_eq!(mac(&string("4054001234zz")), None);
        assert_eq!(mac(&string("40540012345F")[..20]), None);
    }

    #[test]
    fn device_descriptors_are_checked() {
        let mut bytes = [
            18, 1, 0, 2, 2, 0, 0, 64, 0x25, 0x05, 0xa2, 0xa4, 0, 0, 1, 2, 10, 2,
        ];
        let read = device(&bytes).unwrap();
        assert_eq!(
            (read.vendor, read.product, read.configurations),
            (0x0525, 0xa4a2, 2)
        );
        assert_eq!(device(&bytes[..17]), None);
        assert_eq!(max_packet_0(&bytes[..8]), Some(64));
        bytes[7] = 3;
        assert_eq!(max_packet_0(&bytes[..8]), None);
    }

    #[test]
    fn a_hub_has_ports_and_a_power_delay() {
        assert_eq!(hub(&[9, 0x29, 8, 0x0a, 0, 1, 0, 0, 0]), Some((8, 2)));
        assert_eq!(hub(&[9, 0x29, 255, 0, 0, 50, 0, 0, 0]), Some((15, 100)));
        assert_eq!(hub(&[9, 0x28, 8, 0, 0, 1, 0]), None);
    }
}
