//! What an operator reads while no DHCP server answers: soon, before any driver doubts its chip, and again each minute.

use core::fmt;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

use crate::Mac;
use crate::net::NEVER;

/// How long nobody may answer until that is told. A driver that doubts its chip for the same reason does it later.
pub const TOLD_AFTER: Duration = Duration::from_secs(5);
/// How long until it is told again.
const AGAIN: Duration = Duration::from_secs(60);

/// Since when nobody answers, and what else was heard.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// When it was first asked, and when to tell.
    times: Option<(Instant, Instant)>,
    asked: u32,
    frames: u32,
    /// DHCP for other nodes among them.
    pub(super) others: u32,
}

impl Silence {
    /// A question goes out.
    pub(super) fn asks(&mut self, now: Instant) {
        self.times.get_or_insert((now, now + TOLD_AFTER));
        self.asked = self.asked.saturating_add(1);
    }

    /// A frame came in.
    pub(super) fn hears(&mut self) {
        self.frames = self.frames.saturating_add(1);
    }

    /// It was DHCP, and not for us.
    pub(super) fn passes(&mut self) {
        self.others = self.others.saturating_add(1);
    }

    /// When there is something to tell.
    pub(super) fn due(&self) -> Instant {
        self.times.map_or(NEVER, |(_, next)| next)
    }

    /// What to tell, when it is time.
    pub(super) fn line(&mut self, now: Instant, mac: EthernetAddress) -> Option<Line> {
        let (since, next) = self.times.as_mut()?;
        if now < *next {
            return None;
        }
        *next = now + AGAIN;
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
