//! What is done when GENET sends nothing: frames that do not leave over a link start the MAC again. A network that does not answer is
//! none of its business: DHCP's client says so (`boot/src/lease/silence.rs`).

use smoltcp::time::{Duration, Instant};

/// A frame that has not left for so long, over a link, never will: seen on boards as "receives but does not send".
const STUCK: Duration = Duration::from_secs(1);

/// Since when the transmit ring stands at an index with frames in it.
#[derive(Default)]
pub(super) struct Standstill(Option<(u16, Instant)>);

impl Standstill {
    /// Nothing waits, or nothing could leave.
    pub(super) fn ends(&mut self) {
        self.0 = None;
    }

    /// Frames wait behind this index: whether they have for too long.
    pub(super) fn too_long(&mut self, completed: u16, now: Instant) -> bool {
        match self.0 {
            Some((at, since)) if at == completed => now >= since + STUCK,
            _ => {
                self.0 = Some((completed, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_stands_still_when_nothing_leaves_for_a_second() {
        let at = |millis: i64| Instant::from_millis(millis);
        let mut ring = Standstill::default();
        assert!(!ring.too_long(7, at(0)));
        assert!(!ring.too_long(7, at(999)));
        assert!(ring.too_long(7, at(1000)));
        // One has left.
        assert!(!ring.too_long(8, at(1000)));
        assert!(!ring.too_long(8, at(1999)));
        ring.ends();
        assert!(!ring.too_long(8, at(2000)));
        assert!(ring.too_long(8, at(3000)));
    }
}
