//! Which offer to take: one that says what to boot, and how long to wait for it (PXE 2.1 §2.2, RFC 4578).
//!
//! The first address offer that names something to boot wins at once. Otherwise offers are gathered for two seconds from
//! the first on, so that a ProxyDHCP server or a second DHCP server is heard; then the first address offer is taken and
//! the first proxy that names a boot file, or else the first proxy, complements it. A server that did not grant what it
//! offered before is taken only when nobody else offers, and whoever offers then is heard for those two seconds: chance takes one of those that
//! are equally good. So no strangers who are quick, and grant nothing, keep a node from the server that works (D-201).
//!
//! Where a setting says what to boot there is nothing to gather: the first offer of an address will do.

use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use super::frame::Peer;
use super::grant::{Grant, names_boot};
use super::model::Lease;
use crate::patience;

/// How many offers of each kind are kept. One that is no worse than the worst takes the last of those places, however many came before.
const MOST: usize = 8;
/// iPXE's sub-option: do not wait for a proxy.
const NO_PXEDHCP: u8 = 0xb0;

/// A PXE boot service that can be asked on port 4011.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) server: Peer,
    /// The first item of its menu, if it sent one.
    pub(super) item: Option<u16>,
}

/// An offer of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) grant: Grant,
    /// Set when the DHCP server is a PXE boot service too.
    pub(super) service: Option<Service>,
}

/// An offer without an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// What it says about booting.
    pub(super) boot: Lease,
    pub(super) service: Service,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) offer: Offer,
    /// The proxy's offer, used only when the address offer names nothing to boot.
    pub(super) proxy: Option<Proxy>,
}

impl Choice {
    /// The server that made the offer.
    pub(super) fn server(&self) -> Ipv4Address {
        self.offer.grant.lease.server
    }
}

/// The last server that did not grant what it had offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastNak {
    pub(super) server: Ipv4Address,
    /// How many in a row did not grant, with this one.
    pub(super) in_a_row: u32,
}

impl LastNak {
    /// `server` did not grant either, after `last`.
    pub(super) fn after(last: Option<Self>, server: Ipv4Address) -> Self {
        let in_a_row = last.map_or(0, |last| last.in_a_row).saturating_add(1);
        Self { server, in_a_row }
    }
}

/// The offers so far.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// The last choice.
    last_nak: Option<LastNak>,
    /// Whether nothing is wanted but an address.
    hasty: bool,
    /// What chance says.
    lot: u32,
    addresses: Vec<Offer>,
    proxies: Vec<Proxy>,
    decide_at: Option<Instant>,
}

impl Offers {
    /// No offers yet; `last_nak` is the last choice, with `lot` for who is taken in its place, and `hasty` takes the first address (D-105).
    pub(super) fn new(last_nak: Option<LastNak>, hasty: bool, lot: u32) -> Self {
        Self {
            last_nak,
            hasty,
            lot,
            ..Self::default()
        }
    }

    /// Takes an address offer; only the first of each server counts. Whether it was kept.
    pub(super) fn add(&mut self, now: Instant, offer: Offer) -> bool {
        let known = self
            .addresses
            .iter()
            .any(|o| o.grant.lease.server == offer.grant.lease.server);
        let rank = self.rank(&offer);
        let ranks: Vec<_> = self.addresses.iter().map(|o| self.rank(o)).collect();
        if known || !makes_room(&mut self.addresses, &ranks, rank) {
            return false;
        }
        let lease = &offer.grant.lease;
        let complete = self.hasty || names_boot(lease) || lease.ipxe_option(NO_PXEDHCP) == Some(&[1]);
        let wait = !complete || self.last_nak.is_some();
        self.addresses.push(offer);
        self.decide_by(if wait { now + self.wait() } else { now });
        self.hurry(now);
        true
    }

    /// How long offers are gathered, from the first on.
    fn wait(&self) -> Duration {
        let more = self.last_nak.map_or(0, |last| last.in_a_row.saturating_sub(1));
        let doubled = 1_u32.checked_shl(more).unwrap_or(u32::MAX);
        let longest = patience::OFFERS_LONGEST;
        Duration::from_millis(patience::OFFERS.total_millis().saturating_mul(doubled.into())).min(longest)
    }

    /// Takes a proxy's offer; only the first of each server counts. Whether it was kept.
    pub(super) fn add_proxy(&mut self, now: Instant, proxy: Proxy) -> bool {
        let known = self
            .proxies
            .iter()
            .any(|p| p.service.server.ip == proxy.service.server.ip);
        let ranks: Vec<_> = self.proxies.iter().map(|p| !names_boot(&p.boot)).collect();
        if known || !makes_room(&mut self.proxies, &ranks, !names_boot(&proxy.boot)) {
            return false;
        }
        self.proxies.push(proxy);
        self.hurry(now);
        true
    }

    /// Whether the wait is over: there is an address, and a proxy that names a boot file.
    fn hurry(&mut self, now: Instant) {
        let usable = self.last_nak.is_none() && !self.addresses.is_empty();
        if usable && self.proxies.iter().any(|p| names_boot(&p.boot)) {
            self.decide_by(now);
        }
    }

    /// The lowest is the best.
    fn rank(&self, offer: &Offer) -> (bool, bool) {
        let lease = &offer.grant.lease;
        (
            self.last_nak.map(|last| last.server) == Some(lease.server),
            !names_boot(lease),
        )
    }

    fn decide_by(&mut self, time: Instant) {
        self.decide_at = Some(self.decide_at.map_or(time, |t| t.min(time)));
    }

    /// When the wait for more offers ends; `None` without an address offer.
    pub(super) fn decide_at(&self) -> Option<Instant> {
        self.decide_at
    }

    /// The decision, once the wait is over.
    pub(super) fn decide(&self, now: Instant) -> Option<Choice> {
        if self.decide_at? > now {
            return None;
        }
        let best = self.addresses.iter().map(|o| self.rank(o)).min()?;
        let mut equals = self.addresses.iter().filter(|o| self.rank(o) == best);
        // The first, as long as nobody has been wrong.
        let nth = self.last_nak.map_or(0, |_| self.lot as usize);
        let offer = equals.clone().nth(nth.checked_rem(equals.clone().count())?);
        let offer = offer.or_else(|| equals.next())?.clone();
        if self.hasty || names_boot(&offer.grant.lease) {
            return Some(Choice { offer, proxy: None });
        }
        let proxy = self
            .proxies
            .iter()
            .find(|p| names_boot(&p.boot))
            .or_else(|| self.proxies.first())
            .cloned()
            .or_else(|| {
                let service = offer.service.clone()?;
                Some(Proxy {
                    boot: Lease::default(),
                    service,
                })
            });
        Some(Choice { offer, proxy })
    }
}

/// Whether there is room for an offer of that rank, if need be in the last place of the worst.
fn makes_room<T, R: Ord + Copy>(offers: &mut Vec<T>, ranks: &[R], rank: R) -> bool {
    if offers.len() < MOST {
        return true;
    }
    let worst = ranks.iter().enumerate().max_by_key(|(at, rank)| (**rank, *at));
    match worst {
        Some((at, worst)) if rank <= *worst => {
            offers.remove(at);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::EthernetAddress;

    use super::*;

    fn nak(last: u8) -> Option<LastNak> {
        Some(LastNak::after(None, peer(last).ip))
    }

    fn peer(last: u8) -> Peer {
        Peer {
            mac: EthernetAddress([2, 0, 0, 0, 0, last]),
            ip: Ipv4Address::new(10, 0, 0, last),
        }
    }

    fn offer(last: u8, boot_file: Option<&str>) -> Offer {
        let lease = Lease {
            server: peer(last).ip,
            boot_file: boot_file.map(Into::into),
            ..Lease::default()
        };
        Offer {
            grant: Grant { lease, times: None },
            service: None,
        }
    }

    fn proxy(last: u8, boot_file: Option<&str>) -> Proxy {
        let boot = offer(last, boot_file).grant.lease;
        Proxy {
            boot,
            service: Service {
                server: peer(last),
                item: None,
            },
        }
    }

    fn at(millis: i64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn an_offer_that_names_a_boot_file_is_taken_at_once() {
        let mut offers = Offers::default();
        assert_eq!((offers.decide_at(), offers.decide(at(9999))), (None, None));
        offers.add(at(5), offer(1, Some("a")));
        assert_eq!(offers.decide_at(), Some(at(5)));
        assert_eq!(
            offers.decide(at(5)),
            Some(Choice {
                offer: offer(1, Some("a")),
                proxy: None
            })
        );
    }

    #[test]
    fn an_offer_without_one_waits_two_seconds_and_no_longer() {
        let mut offers = Offers::default();
        offers.add(at(100), offer(1, None));
        offers.add(at(900), offer(2, None));
        assert_eq!(offers.decide_at(), Some(at(2100)));
        assert_eq!(
            offers.decide(at(2100)),
            Some(Choice {
                offer: offer(1, None),
                proxy: None
            })
        );
        assert_eq!(offers.decide(at(2099)), None);
    }

    #[test]
    fn a_second_server_with_a_boot_file_beats_the_first() {
        let mut offers = Offers::default();
        offers.add(at(100), offer(1, None));
        offers.add(at(900), offer(2, Some("b")));
        assert_eq!(offers.decide_at(), Some(at(900)));
        assert_eq!(offers.decide(at(900)).unwrap().offer, offer(2, Some("b")));
    }

    #[test]
    fn a_proxy_with_a_boot_file_ends_the_wait_whichever_comes_first() {
        let wanted = Choice {
            offer: offer(1, None),
            proxy: Some(proxy(8, Some("menu"))),
        };
        let mut before = Offers::default();
        before.add_proxy(at(1), proxy(8, Some("menu")));
        assert_eq!(before.decide_at(), None);
        before.add(at(2), offer(1, None));
        assert_eq!(
            (before.decide_at(), before.decide(at(2))),
            (Some(at(2)), Some(wanted.clone()))
        );

        let mut after = Offers::default();
        after.add(at(2), offer(1, None));
        after.add_proxy(at(3), proxy(9, None));
        assert_eq!(after.decide_at(), Some(at(2002)));
        after.add_proxy(at(4), proxy(8, Some("menu")));
        assert_eq!(
            (after.decide_at(), after.decide(at(4))),
            (Some(at(4)), Some(wanted))
        );
    }

    #[test]
    fn of_proxies_that_name_no_file_the_first_is_asked() {
        let mut offers = Offers::default();
        offers.add_proxy(at(1), proxy(8, None));
        offers.add_proxy(at(2), proxy(9, None));
        offers.add(at(3), offer(1, None));
        let choice = offers.decide(at(2003)).unwrap();
        assert_eq!(choice.proxy, Some(proxy(8, None)));
    }

    #[test]
    fn no_pxedhcp_skips_the_wait() {
        let mut offers = Offers::default();
        let mut quick = offer(1, None);
        quick.grant.lease.ipxe_encapsulated = vec![0xb0, 1, 1];
        offers.add(at(7), quick);
        assert_eq!(offers.decide_at(), Some(at(7)));
    }

    #[test]
    fn where_only_an_address_is_wanted_the_first_will_do() {
        let mut offers = Offers::new(None, true, 0);
        offers.add_proxy(at(1), proxy(8, None));
        offers.add(at(7), offer(1, None));
        let address = Choice {
            offer: offer(1, None),
            proxy: None,
        };
        assert_eq!(
            (offers.decide_at(), offers.decide(at(7))),
            (Some(at(7)), Some(address))
        );
        // But not that of a server that does not grant what it offers.
        let mut offers = Offers::new(nak(1), true, 0);
        offers.add(at(7), offer(1, None));
        assert_eq!(offers.decide_at(), Some(at(2007)));
    }

    #[test]
    fn a_dhcp_server_that_is_a_boot_service_is_asked_as_its_own_proxy() {
        let mut offers = Offers::default();
        let service = Service {
            server: peer(1),
            item: Some(3),
        };
        offers.add(
            at(7),
            Offer {
                service: Some(service.clone()),
                ..offer(1, None)
            },
        );
        assert_eq!(offers.decide(at(2007)).unwrap().proxy.unwrap().service, service);
    }

    #[test]
    fn a_flood_of_offers_is_bounded() {
        let mut offers = Offers::default();
        for last in 0..=255 {
            offers.add(at(0), offer(last, None));
            offers.add(at(0), offer(last, None));
            offers.add_proxy(at(0), proxy(last, None));
        }
        assert_eq!((offers.addresses.len(), offers.proxies.len()), (MOST, MOST));
        assert_eq!(
            offers.decide(at(2000)).unwrap().offer,
            offer(0, None),
            "the first"
        );
        // None of them keeps out who names something to boot, nor each other the last.
        assert_eq!(offers.addresses[MOST - 1], offer(255, None));
        assert_eq!(offers.proxies[MOST - 1], proxy(255, None));
        offers.add_proxy(at(7), proxy(204, Some("b")));
        assert_eq!(offers.decide(at(7)).unwrap().proxy, Some(proxy(204, Some("b"))));
        offers.add(at(8), offer(200, Some("a")));
        assert_eq!(offers.decide(at(8)).unwrap().offer, offer(200, Some("a")));
        offers.add_proxy(at(8), proxy(205, None));
        assert!(
            offers.proxies.contains(&proxy(204, Some("b"))),
            "nor does one that is worse"
        );
        for last in 0..=255 {
            offers.add(at(9), offer(last, Some("x")));
            offers.add(at(9), offer(last, None));
        }
        assert_eq!(offers.addresses.len(), MOST);
        assert_eq!(offers.decide(at(9)).unwrap().offer, offer(200, Some("a")));
    }

    #[test]
    fn after_one_that_grants_nothing_chance_takes_any_of_the_others() {
        let mut taken = [0; 5];
        for lot in 0..999 {
            let mut offers = Offers::new(nak(1), lot % 2 == 0, lot);
            for last in 1..5 {
                offers.add(at(7), offer(last, Some("a")));
            }
            offers.add(at(7), offer(5, None));
            assert_eq!(offers.decide_at(), Some(at(2007)), "all are heard");
            let server = offers.decide(at(2007)).unwrap().server();
            taken[usize::from(server.octets()[3]) - 1] += 1;
        }
        assert_eq!(taken, [0, 333, 333, 333, 0]);
    }

    #[test]
    fn offers_are_gathered_for_longer_after_each_server_that_did_not_grant() {
        let mut last = None;
        for wait in [2, 4, 8, 16, 32, 32] {
            last = Some(LastNak::after(last, peer(1).ip));
            let mut offers = Offers::new(last, false, 0);
            offers.add(at(100), offer(2, Some("a")));
            assert_eq!(offers.decide_at(), Some(at(100) + Duration::from_secs(wait)));
        }
        let many = LastNak {
            server: peer(1).ip,
            in_a_row: u32::MAX,
        };
        let next = LastNak::after(Some(many), peer(2).ip);
        assert_eq!(next.server, peer(2).ip);
        let mut offers = Offers::new(Some(next), false, 0);
        offers.add(at(0), offer(2, None));
        assert_eq!(offers.decide_at(), Some(at(32_000)));
    }
}
