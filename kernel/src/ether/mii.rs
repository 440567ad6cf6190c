//! An Ethernet PHY behind MDIO: found, reset, set to negotiate, and watched (IEEE 802.3 clauses 22, 28, 40, annex 28B).

use core::fmt;

use boot::patience::{NO_LINK_TOLD, NO_LINK_TOLD_AGAIN};
use boot::{info, warn};
use embedded_hal::delay::DelayNs as _;
use smoltcp::time::{Duration, Instant};

use super::mdio::{
    ANAR, ANLPAR, Abilities, BMCR, BMSR, Bmcr, Bmsr, ESTATUS, Estatus, GBCR, GBSR, Gbcr, Gbsr, MMD_CONTROL,
    MMD_DATA, Mdio, MmdControl, PHYID1, PHYID2,
};
use crate::bits::Bits as _;
use crate::clock::Clock;

/// How often what reads differently is read again.
const READINGS: usize = 3;

/// From power-down until writes are taken: Broadcom's PHYs need 40 µs.
const POWER_UP_US: u32 = 100;
/// Longest soft reset (802.3 §22.2.4.1.1).
const RESET_PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks at the link.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Speed of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speed {
    /// 10 Mb/s.
    Ten,
    /// 100 Mb/s.
    Hundred,
    /// 1000 Mb/s.
    Thousand,
}

/// What two ends agreed on. Its `Display` is for people: `1000 Mb/s full duplex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its speed.
    pub(crate) speed: Speed,
    /// Whether both ends may send at once.
    pub(crate) full_duplex: bool,
    /// Pause frames are honoured: the other end may stop us.
    pub(crate) pause_receive: bool,
    /// Pause frames are sent: we may stop the other end.
    pub(crate) pause_transmit: bool,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speed = match self.speed {
            Speed::Ten => 10,
            Speed::Hundred => 100,
            Speed::Thousand => 1000,
        };
        let duplex = if self.full_duplex { "full" } else { "half" };
        write!(f, "{speed} Mb/s {duplex} duplex")
    }
}

/// The best that both ends advertised, from ANAR, ANLPAR, GBCR and GBSR (zeros for a PHY without the last two).
///
/// A partner that does not negotiate shows as its one half duplex mode. Nothing in common means 10 Mb/s half duplex, as
/// every end can that.
pub(crate) fn resolve(anar: Abilities, anlpar: Abilities, gbcr: Gbcr, gbsr: Gbsr) -> Link {
    let common = anar & anlpar;
    let (speed, full_duplex) = if gbcr.has(Gbcr::FULL) && gbsr.has(Gbsr::FULL) {
        (Speed::Thousand, true)
    } else if common.has(Abilities::HUNDRED_FULL) {
        (Speed::Hundred, true)
    } else if common.has(Abilities::HUNDRED_HALF) {
        (Speed::Hundred, false)
    } else {
        (Speed::Ten, common.has(Abilities::TEN_FULL))
    };
    // Annex 28B.3: symmetric when both can; else asymmetric towards the end that offered symmetric too.
    let symmetric = common.has(Abilities::PAUSE);
    let asymmetric = common.has(Abilities::ASYMMETRIC);
    Link {
        speed,
        full_duplex,
        pause_receive: full_duplex && (symmetric || asymmetric && anar.has(Abilities::PAUSE)),
        pause_transmit: full_duplex && (symmetric || asymmetric && anlpar.has(Abilities::PAUSE)),
    }
}

/// Whether PHYID1 and PHYID2 come from a PHY: an empty address reads as ones, a broken bus as zeros.
fn is_phy(id1: u32, id2: u32) -> bool {
    !matches!((id1, id2), (0xffff, _) | (_, 0xffff) | (0, 0))
}

/// Whether a PHY can do 1000BASE-T at full duplex.
fn has_gigabit<M: Mdio>(mdio: &mut M, address: u8) -> Result<bool, M::Error> {
    let (_, gigabit) = settled(|| {
        let extended = mdio.get(address, BMSR)?.has(Bmsr::EXTENDED_STATUS);
        let status = if extended {
            mdio.get(address, ESTATUS)?
        } else {
            Estatus::none()
        };
        Ok((extended, status.has(Estatus::GIGABIT_FULL)))
    })?;
    Ok(gigabit)
}

/// What reads the same twice in a row, as far as a few readings can agree: against a wrong one.
pub(crate) fn settled<T: PartialEq, E>(mut read: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut value = read()?;
    for _ in 0..READINGS {
        let again = read()?;
        if again == value {
            break;
        }
        value = again;
    }
    Ok(value)
}

/// A change that the MAC must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Frames can flow, at this speed.
    Up(Link),
    /// They cannot.
    Down,
}

/// A PHY and what is known of its link.
#[derive(Debug)]
pub(crate) struct Phy {
    address: u8,
    id: u32,
    gigabit: bool,
    link: Option<Link>,
    /// A negotiation that was to begin, with a gigabit or without, and of which not all could be written.
    unfinished: Option<bool>,
    next_look: Instant,
    /// When to tell a person that no link has come.
    complain_at: Option<Instant>,
}

impl Phy {
    /// The PHY at `hint`, else the first at any address. `None` when nobody answers.
    pub(crate) fn find<M: Mdio>(mdio: &mut M, hint: Option<u8>) -> Result<Option<Self>, M::Error> {
        for address in hint.into_iter().filter(|hint| *hint < 32).chain(0..32) {
            // The first access after a reset may fail; a PHY that is there answers the second.
            let _ = mdio.get(address, BMSR);
            let (Ok(id1), Ok(id2)) = (mdio.get(address, PHYID1), mdio.get(address, PHYID2)) else {
                continue;
            };
            if !is_phy(id1, id2) {
                continue;
            }
            let gigabit = has_gigabit(mdio, address)?;
            return Ok(Some(Self {
                address,
                id: id1 << 16 | id2,
                gigabit,
                link: None,
                unfinished: None,
                next_look: Instant::ZERO,
                complain_at: None,
            }));
        }
        Ok(None)
    }

    /// Its address on the bus.
    pub(crate) fn address(&self) -> u8 {
        self.address
    }

    /// PHYID1 and PHYID2; the low four bits are the revision.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The link at the last look.
    pub(crate) fn link(&self) -> Option<Link> {
        self.link
    }

    /// Nobody has followed the link: the next look reports it again.
    pub(crate) fn forget_link(&mut self) {
        self.link = None;
        self.complain_at = Some(self.next_look + NO_LINK_TOLD);
    }

    /// Out of any power-down, then soft reset: strapped defaults. `false` when that does not end in time.
    pub(crate) fn reset<M: Mdio>(&mut self, mdio: &mut M, clock: Clock) -> Result<bool, M::Error> {
        mdio.put(self.address, BMCR, Bmcr::NEGOTIATE)?;
        // A PHY that was powered down takes nothing at first: the reset would be lost.
        let mut delay = clock;
        delay.delay_us(POWER_UP_US);
        mdio.put(self.address, BMCR, Bmcr::RESET)?;
        let mut failure = None;
        let done = clock.poll(RESET_PATIENCE, || match mdio.get(self.address, BMCR) {
            Ok(bmcr) => {
                failure = None;
                (!bmcr.has(Bmcr::RESET)).then_some(())
            }
            // A PHY in the middle of its reset need not answer.
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        failure.map_or(Ok(done.is_some()), Err)
    }

    /// Advertises all speeds (a gigabit only where `gigabit` wants it and the PHY has it), pause, and no
    /// energy-efficient Ethernet; negotiates anew, out of power-down and isolation. Where that fails, the next look tries again.
    pub(crate) fn negotiate<M: Mdio>(
        &mut self,
        mdio: &mut M,
        gigabit: bool,
        now: Instant,
    ) -> Result<(), M::Error> {
        self.unfinished = Some(gigabit);
        self.link = None;
        self.complain_at = Some(now + NO_LINK_TOLD);
        mdio.put(self.address, ANAR, Abilities::ALL)?;
        if self.gigabit {
            mdio.put(
                self.address,
                GBCR,
                if gigabit { Gbcr::FULL } else { Gbcr::none() },
            )?;
            // 7.60: switches that wake slowly lose frames.
            self.write_mmd(mdio, 7, 60, 0)?;
        }
        mdio.put(self.address, BMCR, Bmcr::NEGOTIATE | Bmcr::RESTART)?;
        self.unfinished = None;
        self.next_look = now;
        Ok(())
    }

    /// Writes a register of an MDIO manageable device (clause 22 annex 22D).
    fn write_mmd<M: Mdio>(
        &self,
        mdio: &mut M,
        device: u32,
        register: u32,
        value: u32,
    ) -> Result<(), M::Error> {
        let device = MmdControl::from_number(device);
        mdio.put(self.address, MMD_CONTROL, device)?;
        mdio.put(self.address, MMD_DATA, register)?;
        mdio.put(self.address, MMD_CONTROL, MmdControl::DATA | device)?;
        mdio.put(self.address, MMD_DATA, value)
    }

    /// Whether it is time for a look at the link: cheap, for every poll of a driver.
    pub(crate) fn due(&self, now: Instant) -> bool {
        now >= self.next_look
    }

    /// Whether to tell a person that no link has come: after a while, and then each minute.
    fn is_worth_a_line(&mut self, now: Instant) -> bool {
        let due = self.complain_at.is_some_and(|at| now >= at);
        if due {
            self.complain_at = Some(now + NO_LINK_TOLD_AGAIN);
        }
        due
    }

    /// Whether there is a link that both ends agreed on, as one read has it.
    fn is_up<M: Mdio>(&self, mdio: &mut M) -> Result<bool, M::Error> {
        let status = mdio.get(self.address, BMSR)?;
        Ok(status.has(Bmsr::LINK) && status.has(Bmsr::NEGOTIATED))
    }

    /// What both ends agreed on.
    fn agreed<M: Mdio>(&self, mdio: &mut M) -> Result<Link, M::Error> {
        let (gbcr, gbsr) = if self.gigabit {
            (mdio.get(self.address, GBCR)?, mdio.get(self.address, GBSR)?)
        } else {
            (Gbcr::none(), Gbsr::none())
        };
        let anar = mdio.get(self.address, ANAR)?;
        Ok(resolve(anar, mdio.get(self.address, ANLPAR)?, gbcr, gbsr))
    }

    /// The link, when everything reads the same twice: a value may have come wrong.
    fn confirmed<M: Mdio>(&self, mdio: &mut M) -> Result<Option<Link>, M::Error> {
        if !self.is_up(mdio)? {
            return Ok(None);
        }
        let link = self.agreed(mdio)?;
        Ok((self.agreed(mdio)? == link).then_some(link))
    }

    /// Looks at the link when that is due, ten times a second: one register while nothing changes. Says what changed, also on
    /// the log. A loss between two looks is reported as one look of `Down` when the link is another after it.
    pub(crate) fn look<M: Mdio>(&mut self, mdio: &mut M, now: Instant) -> Result<Option<Change>, M::Error> {
        if !self.due(now) {
            return Ok(None);
        }
        self.next_look = now + LOOK_EVERY;
        if let Some(gigabit) = self.unfinished {
            return self.negotiate(mdio, gigabit, now).map(|()| None);
        }
        match (self.is_up(mdio)?, self.link) {
            (true, None) => {
                let Some(link) = self.confirmed(mdio)? else {
                    return Ok(None);
                };
                self.link = Some(link);
                self.complain_at = None;
                info!("nic: link up, {}", link);
                Ok(Some(Change::Up(link)))
            }
            // The read was wrong, or the loss so short that nobody negotiated: the MAC has nothing to follow.
            (false, Some(link)) if self.confirmed(mdio)? == Some(link) => Ok(None),
            (false, Some(_)) => {
                self.link = None;
                self.complain_at = Some(now + NO_LINK_TOLD);
                warn!("nic: link down");
                Ok(Some(Change::Down))
            }
            (false, None) => {
                if self.is_worth_a_line(now) {
                    warn!("nic: no link yet: is the cable plugged in, and the switch on?");
                }
                Ok(None)
            }
            (true, Some(_)) => Ok(None),
        }
    }
}

/// For the fuzz target: a PHY whose registers read as `readings`, two bytes each, from its search through negotiation and looks
/// at its link. `follow` hears of each link and of each loss.
#[cfg(fuzzing)]
pub fn follow(readings: &[u8], follow: &mut dyn FnMut(bool)) {
    struct Readings<'d>(&'d [u8]);

    impl Mdio for Readings<'_> {
        type Error = &'static str;

        fn read(&mut self, _: u8, _: u8) -> Result<u16, Self::Error> {
            let (value, rest) = self.0.split_first_chunk().ok_or("over")?;
            self.0 = rest;
            match u16::from_le_bytes(*value) {
                0xdead => Err("no answer"),
                value => Ok(value),
            }
        }

        fn write(&mut self, phy: u8, register: u8, _: u16) -> Result<(), Self::Error> {
            self.read(phy, register).map(drop)
        }
    }

    let (mut bus, clock) = (Readings(readings), Clock::start());
    let mut now = Instant::ZERO;
    let Ok(Some(mut phy)) = Phy::find(&mut bus, Some(1)) else {
        return;
    };
    if phy.reset(&mut bus, clock) != Ok(true) {
        return;
    }
    let _ = phy.negotiate(&mut bus, true, now);
    while bus.0.len() > 1 {
        now += LOOK_EVERY;
        match phy.look(&mut bus, now) {
            Ok(Some(Change::Up(link))) => {
                assert_eq!(phy.link(), Some(link));
                follow(true);
            }
            Ok(Some(Change::Down)) => {
                assert_eq!(phy.link(), None);
                follow(false);
            }
            Ok(None) | Err(_) => {}
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;

    use super::*;

    // As the standard has them, in numbers of its own.
    const RESET: u16 = 0x8000;
    const LINK: u16 = 0x0004;
    const UP: u16 = 0x0024;
    const EXTENDED_STATUS: u16 = 0x0100;
    const CONTROL: u8 = 0;
    const MMD: u8 = 14;

    /// A PHY of ordinary memory at one address of an MDIO bus.
    pub(crate) struct FakePhy {
        pub(crate) address: u8,
        pub(crate) registers: [u16; 32],
        /// BMSR's link bit reads 0 once more after a loss.
        pub(crate) lost: bool,
        /// What the next reads give instead, where there is something.
        pub(crate) misreads: VecDeque<Option<u16>>,
        /// BMCR's reset bit stays for so many reads.
        pub(crate) reset_reads: u32,
        /// MMD register writes: device, register, value.
        pub(crate) mmd: Vec<(u16, u16, u16)>,
        /// Values written to BMCR.
        pub(crate) bmcr: Vec<u16>,
        /// Addresses that were read from, in their order.
        pub(crate) asked: Vec<u8>,
        mmd_register: u16,
        resetting: u32,
    }

    impl FakePhy {
        /// A BCM54213PE without a link.
        pub(crate) fn gigabit(address: u8) -> Self {
            let mut registers = [0; 32];
            registers[usize::from(PHYID1.number())] = 0x600d;
            registers[usize::from(PHYID2.number())] = 0x84a2;
            registers[usize::from(BMSR.number())] = 0x7949;
            registers[usize::from(ESTATUS.number())] = 0x3000;
            Self {
                address,
                registers,
                lost: false,
                misreads: VecDeque::new(),
                reset_reads: 2,
                mmd: Vec::new(),
                bmcr: Vec::new(),
                asked: Vec::new(),
                mmd_register: 0,
                resetting: 0,
            }
        }

        /// The partner advertises, and the link comes up.
        pub(crate) fn plug(&mut self, anlpar: u16, gbsr: u16) {
            self.registers[usize::from(ANLPAR.number())] = anlpar;
            self.registers[usize::from(GBSR.number())] = gbsr;
            self.registers[usize::from(BMSR.number())] |= UP;
        }

        /// The cable is pulled.
        pub(crate) fn unplug(&mut self) {
            self.registers[usize::from(BMSR.number())] &= !UP;
            self.lost = true;
        }

        pub(crate) fn read(&mut self, phy: u8, register: u8) -> u16 {
            if self.asked.last() != Some(&phy) {
                self.asked.push(phy);
            }
            if phy != self.address {
                return 0xffff;
            }
            if let Some(wrong) = self.misreads.pop_front().flatten() {
                return wrong;
            }
            let register = usize::from(register);
            let mut value = self.registers[register];
            if register == usize::from(BMSR.number()) && std::mem::take(&mut self.lost) {
                value &= !LINK;
            }
            if register == usize::from(BMCR.number()) && value & RESET != 0 {
                self.resetting -= 1;
                if self.resetting == 0 {
                    self.registers[register] &= !RESET;
                }
            }
            value
        }

        pub(crate) fn write(&mut self, phy: u8, register: u8, value: u16) {
            if phy != self.address {
                return;
            }
            match register {
                MMD if self.registers[usize::from(MMD_CONTROL.number())] >> 14 == 0 => {
                    self.mmd_register = value
                }
                MMD => {
                    let device = self.registers[usize::from(MMD_CONTROL.number())] & 31;
                    self.mmd.push((device, self.mmd_register, value));
                }
                CONTROL => {
                    self.bmcr.push(value);
                    if value & RESET != 0 {
                        self.resetting = self.reset_reads;
                        self.registers[usize::from(BMSR.number())] &= !UP;
                    }
                }
                _ => {}
            }
            self.registers[usize::from(register)] = value;
        }
    }

    impl Mdio for FakePhy {
        type Error = &'static str;
        fn read(&mut self, phy: u8, register: u8) -> Result<u16, &'static str> {
            Ok(FakePhy::read(self, phy, register))
        }
        fn write(&mut self, phy: u8, register: u8, value: u16) -> Result<(), &'static str> {
            FakePhy::write(self, phy, register, value);
            Ok(())
        }
    }

    const ALL: u16 = 0x0de1;

    /// What comes of these four registers.
    fn of(anar: u16, anlpar: u16, gbcr: u16, gbsr: u16) -> Link {
        let abilities = |word: u16| Abilities::from_number(word.into());
        let gigabit = (Gbcr::from_number(gbcr.into()), Gbsr::from_number(gbsr.into()));
        resolve(abilities(anar), abilities(anlpar), gigabit.0, gigabit.1)
    }

    #[test]
    fn the_best_common_mode_wins() {
        for (anar, anlpar, gbcr, gbsr, text) in [
            (ALL, ALL, 0x200, 0x3800, "1000 Mb/s full duplex"),
            // 1000BASE-T half duplex of the partner is not ours.
            (ALL, ALL, 0x200, 0x0400, "100 Mb/s full duplex"),
            (ALL, ALL, 0, 0x3800, "100 Mb/s full duplex"),
            (ALL, 0x0081, 0x200, 0, "100 Mb/s half duplex"),
            (ALL, 0x0061, 0x200, 0, "10 Mb/s full duplex"),
            (ALL, 0x0021, 0, 0, "10 Mb/s half duplex"),
            (ALL, 0, 0, 0, "10 Mb/s half duplex"),
        ] {
            assert_eq!(of(anar, anlpar, gbcr, gbsr).to_string(), text);
        }
    }

    #[test]
    fn pause_follows_annex_28b() {
        let (none, symmetric, asymmetric) = (0, 1 << 10, 1 << 11);
        let both = symmetric | asymmetric;
        // Table 28B-3, whole: ours, and of each partner whether we may be stopped, and may stop.
        let (neither, stopped, stops, either) = ((false, false), (true, false), (false, true), (true, true));
        for (ours, of_partners) in [
            (none, [neither, neither, neither, neither]),
            (asymmetric, [neither, neither, neither, stops]),
            (symmetric, [neither, neither, either, either]),
            (both, [neither, stopped, either, either]),
        ] {
            for (theirs, pause) in [none, asymmetric, symmetric, both].into_iter().zip(of_partners) {
                // Whatever else both say.
                let full = 0x01e1;
                let half = 0x00a1;
                for common in [full, 0x0041, 0x0100] {
                    let link = of(common | ours, common | theirs, 0, 0);
                    let resolved = (link.pause_receive, link.pause_transmit);
                    assert_eq!(resolved, pause, "{ours:x} {theirs:x}");
                }
                let link = of(half | ours, full | theirs, 0, 0);
                assert!(!link.pause_receive && !link.pause_transmit);
            }
        }
    }

    #[test]
    fn a_phy_is_found_at_any_address_and_at_the_hint_first() {
        for address in 0..32 {
            let mut bus = FakePhy::gigabit(address);
            for hint in [None, Some(1), Some(address), Some(77)] {
                let phy = Phy::find(&mut bus, hint).unwrap().unwrap();
                assert_eq!(
                    (phy.address(), phy.id(), phy.gigabit),
                    (address, 0x600d_84a2, true)
                );
            }
        }
        let mut empty = FakePhy::gigabit(77);
        assert!(Phy::find(&mut empty, Some(1)).unwrap().is_none());
        let mut shorted = FakePhy::gigabit(1);
        shorted.registers = [0; 32];
        assert!(Phy::find(&mut shorted, Some(1)).unwrap().is_none());
    }

    #[test]
    fn a_reset_that_does_not_end_is_told() {
        let mut bus = FakePhy::gigabit(1);
        let mut phy = Phy::find(&mut bus, None).unwrap().unwrap();
        assert_eq!(phy.reset(&mut bus, Clock::start()), Ok(true));
        bus.reset_reads = u32::MAX;
        assert_eq!(phy.reset(&mut bus, Clock::start()), Ok(false));
    }

    #[test]
    fn negotiation_offers_all_but_what_is_unwanted() {
        let mut bus = FakePhy::gigabit(1);
        let mut phy = Phy::find(&mut bus, None).unwrap().unwrap();
        phy.negotiate(&mut bus, true, Instant::ZERO).unwrap();
        assert_eq!(bus.registers[4], 0x0de1);
        assert_eq!(bus.registers[9], 0x0200);
        assert_eq!(
            (bus.bmcr.as_slice(), &bus.mmd),
            (&[0x1200][..], &vec![(7, 60, 0)])
        );

        phy.negotiate(&mut bus, false, Instant::ZERO).unwrap();
        assert_eq!(bus.registers[9], 0, "and takes back what was offered before");
        phy.negotiate(&mut bus, true, Instant::ZERO).unwrap();
        assert_eq!(bus.registers[9], 0x0200, "and offers it again");

        let mut fast = FakePhy::gigabit(1);
        fast.registers[usize::from(BMSR.number())] &= !EXTENDED_STATUS;
        let mut phy = Phy::find(&mut fast, None).unwrap().unwrap();
        phy.negotiate(&mut fast, true, Instant::ZERO).unwrap();
        fast.plug(ALL, 0x3800);
        let change = phy.look(&mut fast, Instant::ZERO).unwrap();
        assert!(matches!(change, Some(Change::Up(link)) if link.speed == Speed::Hundred));
    }

    #[test]
    fn no_single_wrong_reading_hides_a_gigabit() {
        // Before these come a reading for nothing and the two halves of the identifier.
        for read in 3..7 {
            let mut bus = FakePhy::gigabit(1);
            bus.misreads = vec![None; read].into();
            bus.misreads.push_back(Some(0));
            let mut phy = Phy::find(&mut bus, Some(1)).unwrap().unwrap();
            bus.misreads.clear();
            phy.negotiate(&mut bus, true, Instant::ZERO).unwrap();
            assert_eq!(bus.registers[9], 0x0200, "reading {read}");
        }
    }

    #[test]
    fn a_missing_link_is_told_again_each_minute_until_there_is_one() {
        let mut bus = FakePhy::gigabit(1);
        let mut phy = Phy::find(&mut bus, None).unwrap().unwrap();
        phy.negotiate(&mut bus, true, Instant::ZERO).unwrap();
        let told = |phy: &mut Phy, seconds: core::ops::Range<i64>| -> Vec<i64> {
            seconds
                .filter(|&second| phy.is_worth_a_line(Instant::from_secs(second)))
                .collect()
        };
        assert_eq!(told(&mut phy, 0..150), [8, 68, 128]);
        bus.plug(ALL, 0x3800);
        phy.look(&mut bus, Instant::from_secs(150)).unwrap();
        assert_eq!(told(&mut phy, 150..300), []);
        bus.unplug();
        phy.look(&mut bus, Instant::from_secs(300)).unwrap();
        assert_eq!(told(&mut phy, 300..370), [308, 368]);
    }

    #[test]
    fn changes_are_told_once_and_a_short_loss_as_down_and_up() {
        let mut bus = FakePhy::gigabit(1);
        let mut phy = Phy::find(&mut bus, None).unwrap().unwrap();
        phy.negotiate(&mut bus, true, Instant::ZERO).unwrap();
        let mut at = Instant::ZERO;
        let mut look = |bus: &mut FakePhy| {
            let change = phy.look(bus, at).unwrap();
            assert_eq!(phy.look(bus, at), Ok(None), "not due");
            at += LOOK_EVERY;
            change
        };
        assert_eq!(look(&mut bus), None);
        bus.plug(ALL, 0x3800);
        assert!(matches!(look(&mut bus), Some(Change::Up(link)) if link.speed == Speed::Thousand));
        assert_eq!(look(&mut bus), None);
        bus.unplug();
        bus.plug(0x0081, 0);
        assert_eq!(look(&mut bus), Some(Change::Down));
        assert!(matches!(look(&mut bus), Some(Change::Up(link)) if link.speed == Speed::Hundred));
        bus.unplug();
        assert_eq!(look(&mut bus), Some(Change::Down));
        assert_eq!(look(&mut bus), None);
    }

    /// A link that is looked at, with these reads wrong from the next on.
    fn look_with(phy: &mut Phy, bus: &mut FakePhy, at: Instant, misreads: &[Option<u16>]) -> Option<Change> {
        bus.misreads = misreads.iter().copied().collect();
        let change = phy.look(bus, at).unwrap();
        bus.misreads.clear();
        change
    }

    #[test]
    fn no_single_wrong_read_takes_a_link_down_or_brings_one_up() {
        let mut bus = FakePhy::gigabit(1);
        let mut phy = Phy::find(&mut bus, None).unwrap().unwrap();
        phy.negotiate(&mut bus, true, Instant::ZERO).unwrap();
        let mut at = Instant::ZERO;
        let mut look = |bus: &mut FakePhy, misreads: &[Option<u16>]| {
            at += LOOK_EVERY;
            look_with(&mut phy, bus, at, misreads)
        };
        assert_eq!(look(&mut bus, &[Some(0xffff)]), None, "nothing is plugged in");
        bus.plug(0x0081, 0);
        // BMSR twice, then GBCR, GBSR, ANAR and ANLPAR twice.
        for (read, wrong) in [(0, 0), (1, 0), (5, 0xffff), (9, 0xffff)] {
            let mut misreads = vec![None; read];
            misreads.push(Some(wrong));
            assert_eq!(look(&mut bus, &misreads), None, "read {read}");
        }
        let up = look(&mut bus, &[]);
        assert!(
            matches!(up, Some(Change::Up(link)) if link.speed == Speed::Hundred),
            "{up:?}"
        );
        assert_eq!(look(&mut bus, &[Some(0)]), None);
        assert_eq!(look(&mut bus, &[]), None);
        bus.unplug();
        assert_eq!(look(&mut bus, &[]), Some(Change::Down), "a loss that lasts");
    }

    #[test]
    fn a_loss_too_short_for_a_negotiation_changes_nothing() {
        let mut bus = FakePhy::gigabit(1);
        let mut phy = Phy::find(&mut bus, None).unwrap().unwrap();
        phy.negotiate(&mut bus, true, Instant::ZERO).unwrap();
        bus.plug(ALL, 0x3800);
        phy.look(&mut bus, Instant::ZERO).unwrap().unwrap();
        bus.lost = true;
        assert_eq!(look_with(&mut phy, &mut bus, Instant::from_secs(1), &[]), None);
        assert_eq!(phy.link().map(|link| link.speed), Some(Speed::Thousand));
    }
}
