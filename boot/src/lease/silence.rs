//! The line that an operator reads while no DHCP server answers: after five seconds, then each minute (D-112).

use core::fmt;

use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use crate::hal::{Mac, NEVER};
use crate::patience;

/// How long nobody has answered, and what else came in.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// When DHCP first asked, and when the next line is due.
    times: Option<(Instant, Instant)>,
    asked: u32,
    frames: u32,
    /// How many of them were DHCP messages for other nodes.
    pub(super) others: u32,
}

impl Silence {
    /// DHCP sent a message.
    pub(super) fn asks(&mut self, now: Instant) {
        self.times.get_or_insert((now, now + patience::SILENCE_TOLD));
        self.asked = self.asked.saturating_add(1);
    }

    /// A frame was received.
    pub(super) fn hears(&mut self) {
        self.frames = self.frames.saturating_add(1);
    }

    /// The frame was DHCP for another node.
    pub(super) fn passes(&mut self) {
        self.others = self.others.saturating_add(1);
    }

    /// When the next line is due.
    pub(super) fn due(&self) -> Instant {
        self.times.map_or(NEVER, |(_, next)| next)
    }

    /// The line, when it is due.
    pub(super) fn line(&mut self, now: Instant, mac: EthernetAddress) -> Option<Line> {
        let (since, next) = self.times.as_mut()?;
        if now < *next {
            return None;
        }
        *next = now + patience::SILENCE_TOLD_AGAIN;
        Some(Line {
            asked: self.asked,
            seconds: (now - *since).secs(),
            frames: self.frames,
            others: self.others,
            mac,
        })
    }
}

/// The line.
pub(super) struct Line {
    asked: u32,
    seconds: u64,
    frames: u32,
    others: u32,
    mac: EthernetAddress,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, seconds, .. } = self;
        write!(
            f,
            "no DHCP server answers, asked {asked} times in {seconds} s, and "
        )?;
        if self.frames == 0 {
            return f.write_str("nothing else is heard: cable, switch port, VLAN?");
        }
        write!(
            f,
            "{} other frames came, {} of them DHCP for other nodes: is a server on this network, and does it serve {}?",
            self.frames,
            self.others,
            Mac(self.mac)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: EthernetAddress = EthernetAddress([0xb8, 0x27, 0xeb, 1, 2, 3]);

    fn at(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn it_is_told_after_five_seconds_and_then_each_minute() {
        let mut silence = Silence::default();
        assert_eq!(silence.due(), NEVER);
        assert!(silence.line(at(1000), MAC).is_none());
        for second in [10, 11, 13] {
            silence.asks(at(second));
        }
        assert_eq!(silence.due(), at(15));
        assert!(silence.line(at(14), MAC).is_none());
        let line = silence.line(at(15), MAC).unwrap().to_string();
        assert_eq!(
            line,
            "no DHCP server answers, asked 3 times in 5 s, and nothing else is heard: cable, switch port, VLAN?"
        );
        assert_eq!(silence.due(), at(75));
        silence.hears();
        silence.hears();
        silence.passes();
        let line = silence.line(at(76), MAC).unwrap().to_string();
        assert_eq!(
            line,
            "no DHCP server answers, asked 3 times in 66 s, and 2 other frames came, 1 of them DHCP for other nodes: \
             is a server on this network, and does it serve b8:27:eb:01:02:03?"
        );
        assert_eq!(silence.due(), at(136));
    }
}
