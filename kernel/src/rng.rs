//! Hardware random numbers: BCM2835's generator on BCM2837, iProc RNG200 on BCM2711 (Linux hw_random drivers' facts).

use core::ptr::NonNull;

use boot::Clock as _;
use boot::board::Soc;
use safe_mmio::fields::{ReadPureWrite, ReadWrite};
use safe_mmio::{UniqueMmioPointer, field};
use smoltcp::time::Duration;

use crate::bits::{Bits as _, bits};
use crate::clock::Clock;
use crate::soc::{offset, peripherals};

/// Longest wait for one word: both generators make megabits a second.
const PATIENCE: Duration = Duration::from_millis(10);
/// Longest wait for the first word, of this boot and after a reset: an RNG200 tests itself first, which takes longer than 0.25 s.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long an RNG200 may fail its self-tests before a word.
const FAILING: Duration = Duration::from_secs(3);

#[repr(C)]
struct Bcm2835 {
    /// 0x0: enables.
    ctrl: ReadPureWrite<Bcm2835Ctrl>,
    /// 0x4: words ready in bits 31:24; a warm-up count may be written before enabling.
    status: ReadPureWrite<u32>,
    /// 0x8: reading takes a word.
    data: ReadWrite<u32>,
}

#[repr(C)]
struct Rng200 {
    /// 0x0: enables.
    ctrl: ReadPureWrite<Rng200Ctrl>,
    /// 0x04: bit 0 holds the FIFO in reset.
    rng_reset: ReadPureWrite<Rng200Reset>,
    /// 0x08: bit 0 holds the generator in reset.
    rbg_reset: ReadPureWrite<Rng200Reset>,
    _0: [u32; 3],
    /// 0x18: what happened; write 1 to clear.
    status: ReadPureWrite<Rng200Status>,
    _1: u32,
    /// 0x20: reading takes a word.
    data: ReadWrite<u32>,
    /// 0x24: words ready in bits 7:0.
    count: ReadPureWrite<u32>,
}

bits! {
    /// RNG_CTRL of BCM2835's.
    struct Bcm2835Ctrl {
        /// Makes words.
        ENABLE = 1 << 0,
    }

    /// RNG_CTRL of an RNG200.
    struct Rng200Ctrl {
        /// Makes words.
        ENABLE = 1,
        /// The field that this is a value of.
        ENABLE_FIELD = 0x1fff,
    }

    /// RNG_SOFT_RESET and RBG_SOFT_RESET of an RNG200.
    struct Rng200Reset {
        /// Holds it in reset.
        ON = 1 << 0,
    }

    /// INT_STATUS of an RNG200.
    struct Rng200Status {
        /// A self-test failed, or failed so often that the generator has locked itself: it makes no more words.
        FAILED = 1 << 5 | 1 << 31,
        /// Whatever has happened.
        ALL = u32::MAX,
    }
}

impl Rng200 {
    /// Lets it run. One that runs goes on as it is, with the words that it has made.
    fn enable(registers: &mut UniqueMmioPointer<'static, Self>) {
        let ctrl = field!(*registers, ctrl).read();
        if !ctrl.has(Rng200Ctrl::ENABLE_FIELD) {
            field!(*registers, ctrl).write(ctrl | Rng200Ctrl::ENABLE);
        }
    }

    /// Starts one that has failed again.
    fn restart(registers: &mut UniqueMmioPointer<'static, Self>) {
        let ctrl = field!(*registers, ctrl).read() & !Rng200Ctrl::ENABLE_FIELD;
        field!(*registers, ctrl).write(ctrl);
        field!(*registers, status).write(Rng200Status::ALL);
        field!(*registers, rbg_reset).write(Rng200Reset::ON);
        field!(*registers, rng_reset).write(Rng200Reset::ON);
        field!(*registers, rng_reset).write(Rng200Reset::none());
        field!(*registers, rbg_reset).write(Rng200Reset::none());
        Self::enable(registers);
    }

    /// A word in time. A generator that fails is started again.
    fn word(
        registers: &mut UniqueMmioPointer<'static, Self>,
        clock: Clock,
        mut patience: Duration,
    ) -> Option<u32> {
        let deadline = clock.now() + FAILING;
        while clock.now() < deadline {
            let word = clock.poll(patience, || {
                if field!(*registers, count).read() & 0xff != 0 {
                    return Some(Some(field!(*registers, data).read()));
                }
                let failed = field!(*registers, status).read().has(Rng200Status::FAILED);
                failed.then_some(None)
            });
            // Neither a word nor a failure: it is not there, or dead.
            if let Some(word) = word? {
                return Some(word);
            }
            Self::restart(registers);
            patience = WARM_UP;
        }
        None
    }
}

enum Kind {
    Bcm2835(UniqueMmioPointer<'static, Bcm2835>),
    Rng200(UniqueMmioPointer<'static, Rng200>),
    Absent,
}

/// The board's generator.
pub struct Rng {
    kind: Kind,
    clock: Clock,
    /// Longest wait for the next word.
    patience: Duration,
}

impl Rng {
    /// Where `soc` has it; reading the first word has no effect.
    pub fn address(soc: Soc) -> usize {
        peripherals(soc) + offset::RNG
    }

    /// Starts the generator. One that is not `present` (released QEMUs have none on the BCM2711) is not touched.
    ///
    /// # Safety
    ///
    /// The SoC is `soc`, its peripherals are mapped, and this is the only `Rng`.
    pub unsafe fn new(soc: Soc, present: bool, clock: Clock) -> Self {
        let address = Self::address(soc) as *mut u32;
        let kind = match soc {
            _ if !present => Kind::Absent,
            Soc::Bcm2837 => {
                // SAFETY: mapped by the caller's word, not null, and no other pointer to it exists.
                let mut registers =
                    unsafe { UniqueMmioPointer::<Bcm2835>::new(NonNull::new_unchecked(address.cast())) };
                field!(registers, status).write(0x4_0000);
                field!(registers, ctrl).write(Bcm2835Ctrl::ENABLE);
                Kind::Bcm2835(registers)
            }
            Soc::Bcm2711 => {
                // SAFETY: as above.
                let mut registers =
                    unsafe { UniqueMmioPointer::<Rng200>::new(NonNull::new_unchecked(address.cast())) };
                Rng200::enable(&mut registers);
                Kind::Rng200(registers)
            }
        };
        Self {
            kind,
            clock,
            patience: WARM_UP,
        }
    }

    fn word(&mut self) -> Option<u32> {
        let patience = core::mem::replace(&mut self.patience, PATIENCE);
        match &mut self.kind {
            Kind::Bcm2835(registers) => {
                self.clock.poll(patience, || {
                    (field!(*registers, status).read() >> 24 != 0).then_some(())
                })?;
                Some(field!(*registers, data).read())
            }
            Kind::Rng200(registers) => Rng200::word(registers, self.clock, patience),
            Kind::Absent => None,
        }
    }
}

impl boot::Entropy for Rng {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        let mut good = true;
        for chunk in bytes.chunks_mut(4) {
            // One that has failed is not waited for again for each word.
            let word = if good { self.word() } else { None };
            let word = word.unwrap_or_else(|| {
                good = false;
                // Not secret, only different from node to node and boot to boot: ports and back-off still spread.
                crate::cpu::counter()
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(23) as u32
            });
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;
    use std::collections::BTreeSet;

    use boot::Entropy as _;

    use super::*;
    use crate::cpu;

    #[test]
    fn registers_lie_where_the_drivers_say() {
        assert_eq!(
            (offset_of!(Rng200, rng_reset), offset_of!(Rng200, rbg_reset)),
            (0x04, 0x08)
        );
        assert_eq!(
            (offset_of!(Rng200, status), offset_of!(Rng200, data)),
            (0x18, 0x20)
        );
        assert_eq!(
            (offset_of!(Rng200, count), offset_of!(Bcm2835, data)),
            (0x24, 0x08)
        );
        let places = [Soc::Bcm2837, Soc::Bcm2711].map(Rng::address);
        assert_eq!(places, [0x3f10_4000, 0xfe10_4000]);
    }

    /// An RNG200 whose `chip` goes on with its ten words whenever the driver waits, and what the driver starts on it.
    fn rng200(ctrl: u32, mut chip: impl FnMut(&mut [u32; 10]) + 'static) -> (Rng, NonNull<[u32; 10]>) {
        let words = NonNull::from(Box::leak(Box::new([0; 10])));
        // SAFETY: leaked; nobody else looks at it yet.
        unsafe { words.cast::<u32>().write(ctrl) };
        cpu::plug(move || {
            // SAFETY: leaked, and the driver only waits meanwhile.
            let mut now = unsafe { words.read_volatile() };
            chip(&mut now);
            // SAFETY: as above.
            unsafe { words.write_volatile(now) };
        });
        // SAFETY: leaked, and as long as the registers.
        let mut registers = unsafe { UniqueMmioPointer::<Rng200>::new(words.cast()) };
        Rng200::enable(&mut registers);
        let rng = Rng {
            kind: Kind::Rng200(registers),
            clock: Clock::start(),
            patience: WARM_UP,
        };
        (rng, words)
    }

    #[test]
    fn random_bytes_are_the_generators_words_however_late_the_first_comes() {
        let mut words = [0, 0, 0x1122_3344];
        let registers = NonNull::from(&mut words).cast::<u32>();
        let mut looks = 0;
        cpu::plug(move || {
            looks += 1;
            if looks == 50_000 {
                // SAFETY: `words` outlives the driver, which only waits meanwhile.
                unsafe { registers.add(1).write_volatile(1 << 24) };
            }
        });
        let mut rng = Rng {
            // SAFETY: the three registers, for as long as this test runs.
            kind: Kind::Bcm2835(unsafe { UniqueMmioPointer::new(registers.cast()) }),
            clock: Clock::start(),
            patience: WARM_UP,
        };
        let mut bytes = [0; 6];
        assert!(rng.fill(&mut bytes));
        assert_eq!(bytes, [0x44, 0x33, 0x22, 0x11, 0x44, 0x33]);
        cpu::plug(|| {});

        let mut looks = 0;
        let (mut rng, _) = rng200(0, move |words| {
            looks += 1;
            (words[8], words[9]) = (looks, u32::from(looks > 50_000));
        });
        let mut bytes = [0; 8];
        assert!(rng.fill(&mut bytes));
        let drawn = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
        assert!(drawn.clone().all(|word| word > 50_000) && drawn.is_sorted());
    }

    #[test]
    fn a_generator_that_runs_is_left_as_it_is() {
        for (ctrl, expected) in [(0, 1), (0x2000, 0x2001), (2, 2), (0x1fff, 0x1fff)] {
            let (_, words) = rng200(ctrl, |_| {});
            // SAFETY: leaked, and nobody waits.
            assert_eq!(unsafe { words.read_volatile() }[0], expected, "{ctrl:#x}");
        }
    }

    #[test]
    fn a_generator_that_fails_its_tests_is_started_again_until_it_passes() {
        for failure in [1 << 5, 1 << 31] {
            let mut starts = 0;
            let (mut rng, words) = rng200(0, move |words| {
                // What is written as one is cleared.
                if words[6] == u32::MAX {
                    (words[6], starts) = (0, starts + 1);
                }
                if starts < 3 {
                    words[6] = failure;
                } else {
                    (words[8], words[9]) = (0xabad_1dea, 3);
                }
            });
            let mut bytes = [0; 4];
            assert!(rng.fill(&mut bytes));
            assert_eq!(u32::from_le_bytes(bytes), 0xabad_1dea);
            // SAFETY: leaked, and nobody waits.
            assert_eq!(unsafe { words.read_volatile() }[..3], [1, 0, 0]);
        }
    }

    #[test]
    fn without_a_generator_that_works_the_bytes_differ_and_are_called_bad() {
        let failing = rng200(0, |words| words[6] = 1 << 5).0;
        let dead = rng200(0, |_| {}).0;
        let absent = Rng {
            kind: Kind::Absent,
            ..rng200(0, |_| {}).0
        };
        for (mut rng, most) in [
            (failing, FAILING + WARM_UP),
            (dead, WARM_UP * 2),
            (absent, PATIENCE),
        ] {
            let before = rng.clock.now();
            let mut bytes = [0; 64];
            assert!(!rng.fill(&mut bytes));
            let took = rng.clock.now() - before;
            assert!(took < most, "waited for once, not for each word: {took}");
            let words: BTreeSet<[u8; 4]> = bytes.as_chunks().0.iter().copied().collect();
            assert_eq!(words.len(), 16);
        }
    }
}
