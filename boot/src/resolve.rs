//! Host names to addresses: literal IPv4, mDNS for what ends in `.local`, or DNS over UDP through the lease's servers (RFC 1035).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use crate::net::Net;
use crate::udp::Conversation;
use crate::url::is_host;
use crate::{dns, mdns, patience};

/// Where DNS servers listen.
const PORT: u16 = 53;
/// How many answers are kept until they are read.
const ANSWERS: usize = 4;

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// There is no lease, and none came within 10 s.
    NoLease(String),
    /// The lease names no DNS server.
    NoServer(String),
    /// The servers know no IPv4 address, or cannot find out.
    NotFound(String),
    /// No server answered within 10 s.
    Timeout(String),
    /// A name in `.local` that nobody answers to by mDNS, and no DNS server knows either.
    Nobody(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLease(host) => write!(f, "cannot resolve {host}: no lease says whom to ask"),
            Self::NoServer(host) => write!(f, "cannot resolve {host}: the lease names no DNS server"),
            Self::NotFound(host) => write!(
                f,
                "cannot resolve {host}: no such name, or it has no IPv4 address"
            ),
            Self::Timeout(host) => {
                write!(
                    f,
                    "cannot resolve {host}: no DNS server answered within {} s",
                    patience::DNS.secs()
                )
            }
            Self::Nobody(host) => write!(
                f,
                "cannot resolve {host}: no host on this network answered to it by mDNS within {} s, and no DNS server knows it",
                mdns::PATIENCE
            ),
        }
    }
}

impl core::error::Error for Error {}

/// The address of `host`, a name or a dotted address.
///
/// A name in `.local` is first asked of this link by mDNS. Silence is no answer, and many networks have such names in their DNS.
///
/// A name without a dot is first looked up in the lease's domains, in their order. Every name is asked of every server in
/// turn, each with an equal share of the 10 s that are left, because a server that fails says no more than one that does not
/// know. One that is silent while another answers is not asked again, so that a long list of domains has the time it needs.
/// The servers are not asked at once: smoltcp asks ARP for one neighbour a second, and one that is down would hold up the rest.
pub fn resolve(net: &mut Net<'_>, host: &str) -> Result<Ipv4Address, Error> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    // A URL in a host's place is not told to whoever answers for names.
    if !is_host(host) {
        return Err(Error::NotFound(host.into()));
    }
    let end = net.now() + patience::DNS;
    // A script may have gone to a VLAN on which nobody grants any.
    let Some(lease) = net.wait(end, |net| net.lease_now().cloned()) else {
        return Err(Error::NoLease(host.into()));
    };
    let local = is_local(host);
    if local {
        let Some(name) = dns::Name::new(host) else {
            return Err(Error::NotFound(host.into()));
        };
        if let Some(address) = mdns::ask(net, &name) {
            return Ok(address);
        }
    }
    if lease.dns.is_empty() {
        let error = if local { Error::Nobody } else { Error::NoServer };
        return Err(error(host.into()));
    }
    if local {
        warn!(
            "resolve: nobody answered to {} by mDNS within {} s; asking the DNS servers",
            host,
            mdns::PATIENCE
        );
    }
    let names = names(host, &lease.search);
    let mut servers = lease.dns;
    let mut answered = false;
    for (nth, name) in names.iter().enumerate() {
        let names_left = names.len().saturating_sub(nth);
        let mut left = names_left.saturating_mul(servers.len());
        let mut answer = Vec::new();
        for server in servers.iter().copied() {
            let deadline = share(net.now(), end, left);
            left = left.saturating_sub(1);
            match ask(net, name, server, deadline) {
                Some(Answer::Address(address)) => return Ok(address),
                Some(Answer::Nothing) => answer.push(server),
                None => {}
            }
        }
        if !answer.is_empty() {
            answered = true;
            servers = answer;
        }
    }
    let error = match (answered, local) {
        (false, _) => Error::Timeout,
        (true, true) => Error::Nobody,
        (true, false) => Error::NotFound,
    };
    Err(error(host.into()))
}

/// Whether a name belongs to mDNS (RFC 6762 §3) (D-128).
fn is_local(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    name.rsplit_once('.')
        .is_some_and(|(_, last)| last.eq_ignore_ascii_case("local"))
}

enum Answer {
    Address(Ipv4Address),
    /// The server knows no address, or cannot find out.
    Nothing,
}

/// Asks `server` for the address of `name`; `None` when nothing came by `deadline`. Port and id are drawn for each question, and nobody
/// else is heard (D-188).
fn ask(net: &mut Net<'_>, name: &str, server: Ipv4Address, deadline: Instant) -> Option<Answer> {
    let Some(name) = dns::Name::new(name) else {
        return Some(Answer::Nothing);
    };
    let id = (net.random() as u16).to_be_bytes();
    let question = dns::question(id, &name, dns::Manner::Server);
    let talk = Conversation::open(net, server, ANSWERS, dns::LONGEST_ANSWER);
    let mut pause = patience::DNS_AGAIN;
    let mut answer = None;
    while answer.is_none() && net.now() < deadline {
        if !talk.waits(net) {
            talk.send(net, PORT, &question);
        }
        answer = net.wait((net.now() + pause).min(deadline), |net| {
            while let Some(heard) = talk.receive(net, |port, message| {
                let answer = dns::read(message, id, &name, dns::Manner::Server);
                answer.filter(|_| port == PORT)
            }) {
                if heard.is_some() {
                    return heard;
                }
            }
            None
        });
        pause = pause + pause;
    }
    talk.close(net);
    answer.map(|address| address.map_or(Answer::Nothing, Answer::Address))
}

/// The names to ask for, in order. A name with a dot is complete, as for iPXE: if it is wrong, a host with a similar name
/// is not the one that the URL means (D-110).
fn names(host: &str, search: &[String]) -> Vec<String> {
    let whole = host.as_bytes().contains(&b'.');
    let searched = search.iter().filter(|_| !whole);
    let mut names: Vec<String> = searched.map(|domain| format!("{host}.{domain}")).collect();
    names.push(host.to_string());
    names
}

/// The deadline of the next of `left` questions: each gets an equal share of the time until `end`.
fn share(now: Instant, end: Instant, left: usize) -> Instant {
    let remaining = (end - now).total_micros();
    let part = remaining.checked_div(left as u64).unwrap_or(0);
    if now >= end {
        end
    } else {
        now + Duration::from_micros(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotless_name_is_looked_up_in_the_domains_first() {
        let search = [String::from("eng.example"), String::from("lab")];
        assert_eq!(names("boot", &search), ["boot.eng.example", "boot.lab", "boot"]);
        assert_eq!(names("boot", &[]), ["boot"]);
        assert_eq!(names("boot.example", &search), ["boot.example"]);
        assert_eq!(names("boot.", &search), ["boot."]);
    }

    #[test]
    fn names_of_mdns_end_in_local() {
        for name in ["boot.local", "a.b.LOCAL", "boot.local."] {
            assert!(is_local(name), "{name}");
        }
        for name in ["local", "boot.local.lab", "boot.notlocal", "local.", ""] {
            assert!(!is_local(name), "{name}");
        }
    }

    #[test]
    fn questions_share_the_time_that_is_left() {
        let at = Instant::from_millis;
        assert_eq!(share(at(0), at(10_000), 4), at(2500));
        assert_eq!(share(at(100), at(10_000), 3), at(3400));
        assert_eq!(share(at(7500), at(10_000), 1), at(10_000));
        assert_eq!(share(at(10_000), at(10_000), 1), at(10_000));
        assert_eq!(share(at(10_001), at(10_000), 1), at(10_000));
        assert_eq!(share(at(0), at(10_000), 0), at(0));
    }

    #[test]
    fn errors_name_the_host() {
        assert_eq!(
            Error::Timeout("boot.example".into()).to_string(),
            "cannot resolve boot.example: no DNS server answered within 10 s"
        );
    }
}
