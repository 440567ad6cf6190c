//! An NTP server (RFC 5905, the fields that SNTP looks at) that always says the same.

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use crate::station::{Datagram, Service};

/// Seconds from 1900 to 1970.
const EPOCH: u64 = 2_208_988_800;

/// A server.
pub struct Ntp {
    /// The time that it tells, in seconds since 1970.
    pub seconds: u64,
    /// The stratum; 0 with a reason is a kiss-o'-death.
    pub stratum: u8,
    /// The reason of a kiss-o'-death.
    pub kiss: [u8; 4],
    /// Whether it copies the question's timestamp, as it must.
    pub echoes: bool,
    /// How many questions go unanswered first.
    pub deaf: u32,
    /// How many questions came.
    pub asked: u32,
}

impl Ntp {
    /// A correct server.
    pub fn new(seconds: u64) -> Self {
        Self {
            seconds,
            stratum: 2,
            kiss: [0; 4],
            echoes: true,
            deaf: 0,
            asked: 0,
        }
    }
}

impl Service for Ntp {
    fn datagram(
        &mut self,
        _: Instant,
        address: Ipv4Address,
        datagram: &Datagram,
    ) -> Vec<(Duration, Datagram)> {
        if datagram.destination != (address, 123) {
            return Vec::new();
        }
        assert_eq!((datagram.payload.len(), datagram.payload[0] & 7), (48, 3));
        self.asked += 1;
        if self.asked <= self.deaf {
            return Vec::new();
        }
        let mut payload = vec![0; 48];
        (payload[0], payload[1]) = (0b00_100_100, self.stratum);
        payload[12..16].copy_from_slice(&self.kiss);
        if self.echoes {
            payload[24..32].copy_from_slice(&datagram.payload[40..48]);
        }
        let seconds = (self.seconds + EPOCH) as u32;
        payload[40..44].copy_from_slice(&seconds.to_be_bytes());
        vec![(
            Duration::from_millis(1),
            Datagram {
                source_mac: datagram.destination_mac,
                destination_mac: datagram.source_mac,
                source: datagram.destination,
                destination: datagram.source,
                payload,
            },
        )]
    }
}
