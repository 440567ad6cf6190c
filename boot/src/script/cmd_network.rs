//! Commands on the network: `dhcp ifopen ifstat route nslookup ping ntp vcreate params param autoboot` and the
//! like.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use smoltcp::time::Duration;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

use super::budget;
use super::errno::{Errno, Failure, too_many};
use super::machine::{Interpreter, Parameter, Parameters, Step};
use super::options::{Arguments, MANY, Spec};
use crate::fetch::Method;
use crate::lease::{self, Fixed};
use crate::patience;
use crate::vlan::Tag;
use crate::{ntp, ping};

/// Bytes of an echo, and the time from one to the next.
const PING_SIZE: u32 = 64;
/// VLANs at a time.
const MAX_VLANS: usize = 16;
/// Name servers that count.
const MAX_DNS: usize = 4;
/// Parameter lists, parameters in one, and the bytes of their names and values: they are sent three times as long, encoded.
const MAX_LISTS: usize = 16;
const MAX_PARAMETERS: usize = 256;
const MAX_LIST_BYTES: usize = budget::MAX_TEXT;

/// How often a link that is waited for is looked at.
const LINK_POLL: Duration = Duration::from_millis(100);

impl Interpreter<'_, '_> {
    pub(super) fn params(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("name", 'n', true), ("method", 'm', true), ("delete", 'd', false)];
        let arguments = Arguments::parse(words, &specs, 0..=0)?;
        let method = match arguments.value('m') {
            None => None,
            Some("GET") => Some(Method::Get),
            Some("HEAD") => Some(Method::Head),
            Some("POST") => Some(Method::Post),
            Some("PUT") => Some(Method::Put),
            Some(other) => {
                return Err(Failure::new(
                    Errno::UNSUPPORTED,
                    format!("there is no method \"{other}\", only GET, HEAD, POST and PUT"),
                ));
            }
        };
        // One of that name is replaced.
        self.claim_parameters(arguments.value('n'));
        if arguments.has('d') {
            return Ok(Step::Done);
        }
        if self.parameters.len() >= MAX_LISTS {
            return Err(too_many(MAX_LISTS, "lists of parameters"));
        }
        let mut share = self.budget.other();
        share.take(budget::texts(&[arguments.value('n').map_or(0, str::len)])?)?;
        self.parameters.push(Parameters {
            share,
            bytes: 0,
            name: arguments.value('n').map(Into::into),
            method,
            entries: Vec::new(),
        });
        Ok(Step::Done)
    }

    pub(super) fn param(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("params", 'p', true), ("header", 'H', false)];
        let arguments = Arguments::parse(words, &specs, 1..=MANY)?;
        let name = arguments.value('p');
        let mut lists = self.parameters.iter_mut();
        let list = lists.find(|list| list.name.as_deref() == name).ok_or_else(|| {
            let name = name.unwrap_or("default");
            Failure::new(
                Errno::NO_LIST,
                format!("there is no \"{name}\" list of parameters"),
            )
        })?;
        if list.entries.len() >= MAX_PARAMETERS {
            return Err(too_many(MAX_PARAMETERS, "parameters"));
        }
        let sizes = [
            arguments.get(0).len(),
            budget::joined(arguments.rest.get(1..).unwrap_or_default()),
        ];
        let texts = budget::texts(&sizes)?;
        let bytes = sizes.into_iter().fold(list.bytes, usize::saturating_add);
        if bytes > MAX_LIST_BYTES {
            return Err(too_many(MAX_LIST_BYTES, "bytes in the parameters of one list"));
        }
        list.share
            .take(texts.saturating_add(budget::element::<Parameter>()))?;
        list.bytes = bytes;
        list.entries.push(Parameter {
            key: arguments.get(0).into(),
            value: arguments.text(1),
            header: arguments.has('H'),
        });
        Ok(Step::Done)
    }

    /// Takes the list of that name: it is used once.
    pub(super) fn claim_parameters(&mut self, name: Option<&str>) -> Option<Parameters> {
        let at = self
            .parameters
            .iter()
            .position(|list| list.name.as_deref() == name)?;
        Some(self.parameters.remove(at))
    }

    /// Checks the interfaces that a command names: `net0`, and the VLANs on it.
    fn interfaces(&self, arguments: &Arguments<'_>) -> Result<(), Failure> {
        let known = |name: &String| {
            matches!(&**name, "net0" | "netX") || self.vlans.iter().any(|tag| interface_of(*tag) == **name)
        };
        match arguments.rest.iter().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => Err(Failure::new(
                Errno::NO_INTERFACE,
                format!("there is no network interface \"{name}\""),
            )),
        }
    }

    /// Goes over to the last interface that a command names; one at a time is in use.
    fn open(&mut self, arguments: &Arguments<'_>) -> Result<(), Failure> {
        self.interfaces(arguments)?;
        let Some(name) = arguments.rest.last().filter(|name| *name != "netX") else {
            return Ok(());
        };
        if name == self.settings.interface() {
            return Ok(());
        }
        let tag = self
            .vlans
            .iter()
            .find(|tag| interface_of(**tag) == **name)
            .copied();
        if !self.world.select(tag) {
            return Err(Failure::new(Errno::UNSUPPORTED, "VLANs are not supported here"));
        }
        self.settings.activate(name);
        self.fixed = Fixed::default();
        Ok(())
    }

    pub(super) fn ifconf(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("configurator", 'c', true), ("timeout", 't', true)];
        let arguments = Arguments::parse(words, &specs, 0..=MANY)?;
        match arguments.value('c') {
            None | Some("dhcp") => {}
            Some("ipv6") => {
                return Err(Failure::new(Errno::NO_CONFIGURATOR, "IPv6 is not supported"));
            }
            Some(other) => {
                return Err(Failure::new(
                    Errno::NO_CONFIGURATOR,
                    format!("there is no configurator \"{other}\""),
                ));
            }
        }
        self.open(&arguments)?;
        let patience = arguments.timeout('t')?.unwrap_or(patience::SCRIPT_DHCP);
        // What a script has set hides what DHCP says, so it goes.
        for name in ["netX/ip", "netX/netmask", "netX/gateway"] {
            let name = self.settings.name_to_store(name)?;
            self.settings.store_text(&name, "")?;
        }
        let start = self.world.now();
        let granted = self.world.dhcp(patience);
        self.fixed = Fixed::default();
        self.configure()?;
        self.waited(start);
        match self.world.lease().filter(|_| granted) {
            Some(lease) => {
                self.settings.set_lease(lease);
                Ok(Step::Done)
            }
            None => Err(Failure::new(
                Errno::TIMEOUT,
                format!("no lease within {} s", patience.total_millis().div_ceil(1000)),
            )),
        }
    }

    pub(super) fn ifopen(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 0..=MANY)?;
        self.open(&arguments)?;
        self.configure()?;
        Ok(Step::Done)
    }

    /// Brings the interface in line with `net0/ip` and what belongs to it, when a script has set them. Every command that
    /// uses the network does so first: in iPXE they count from the moment when they are set.
    pub(super) fn configure(&mut self) -> Result<(), Failure> {
        let fixed = self.fixed_by_script()?;
        if fixed != self.fixed {
            self.world.fix(&fixed);
            self.fixed = fixed;
        }
        Ok(())
    }

    fn fixed_by_script(&self) -> Result<Fixed, Failure> {
        let found = |name: &str| {
            let name = self.settings.name(name).ok()?;
            self.settings.fetch(&name)
        };
        // What a script has set is in the interface's own block; what DHCP says, in the one inside of that.
        let set = |name: &str| found(name).filter(|found| found.block == self.settings.interface());
        let wrong = |name: &str, value: &[u8]| {
            Failure::new(
                Errno::IPV4,
                format!(
                    "{name} cannot be {}",
                    super::value::Type::Hex.format(value).unwrap_or_default()
                ),
            )
        };
        let host = |name: &str, raw: &[u8]| match <[u8; 4]>::try_from(raw).map(Ipv4Address::from) {
            Ok(host) if !(host.is_unspecified() || host.is_multicast() || host.is_broadcast()) => Ok(host),
            _ => Err(wrong(name, raw)),
        };
        let mut fixed = Fixed::default();
        if let Some(ip) = set("netX/ip") {
            let ip = host("netX/ip", &ip.raw)?;
            let prefix = match found("netX/netmask") {
                Some(mask) => <[u8; 4]>::try_from(&*mask.raw)
                    .ok()
                    .and_then(|mask| prefix(u32::from_be_bytes(mask)))
                    .ok_or_else(|| wrong("netX/netmask", &mask.raw))?,
                None => class(ip),
            };
            fixed.address = Some(Ipv4Cidr::new(ip, prefix));
            if let Some(gateway) = found("netX/gateway").filter(|gateway| gateway.raw.len() >= 4) {
                // DHCP may name several.
                fixed.router = Some(host("netX/gateway", gateway.raw.get(..4).unwrap_or_default())?);
            }
        } else if let Some(gateway) = set("netX/gateway") {
            fixed.router = Some(host("netX/gateway", &gateway.raw)?);
        }
        let by_script = |name: &str| {
            found(name).filter(|found| found.block.is_empty() || found.block == self.settings.interface())
        };
        if let Some(dns) = by_script("dns") {
            let servers = dns.raw.chunks(4).take(MAX_DNS).map(|raw| host("dns", raw));
            fixed.dns = Some(servers.collect::<Result<_, _>>()?);
        }
        if by_script("dnssl").or(by_script("domain")).is_some() {
            let list = found("dnssl").map(|list| list.raw);
            let domain = found("domain").map(|domain| String::from_utf8_lossy(&domain.raw).into_owned());
            if !list.as_deref().is_none_or(lease::is_list) {
                warn!("lease: option 119 (domain search) is not a list of DNS names; ignored");
            }
            fixed.search = Some(lease::domains(list.as_deref(), domain.as_deref()));
        }
        Ok(fixed)
    }

    pub(super) fn ifclose(&mut self, words: &[String]) -> Result<Step, Failure> {
        // The lease is kept: the next command will want it.
        self.interfaces(&Arguments::parse(words, &[], 0..=MANY)?)?;
        Ok(Step::Done)
    }

    pub(super) fn iflinkwait(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[("timeout", 't', true)], 0..=MANY)?;
        self.interfaces(&arguments)?;
        let end = self.world.now() + arguments.timeout('t')?.unwrap_or(patience::SCRIPT_DHCP);
        while !self.world.link() {
            let now = self.world.now();
            if now >= end {
                return Err(Failure::new(Errno::TIMEOUT, "no link"));
            }
            self.pause((end - now).min(LINK_POLL))?;
        }
        Ok(Step::Done)
    }

    pub(super) fn ifstat(&mut self, words: &[String]) -> Result<Step, Failure> {
        self.interfaces(&Arguments::parse(words, &[], 0..=MANY)?)?;
        self.configure()?;
        let active = self.settings.interface().to_string();
        let mac = self.settings.text("net0/mac");
        let state = match self.world.lease() {
            Some(lease) => format!("open, {}", lease.address),
            None => "open, no lease".to_string(),
        };
        let vlans = self.vlans.iter().map(|tag| interface_of(*tag));
        let lines = ["net0".to_string()].into_iter().chain(vlans).map(|name| {
            let state = if name == active { &*state } else { "closed" };
            format!("{name}: {mac} ({state})\n")
        });
        let text: String = lines.collect();
        self.print(&text);
        Ok(Step::Done)
    }

    pub(super) fn route(&mut self, words: &[String]) -> Result<Step, Failure> {
        Arguments::parse(words, &[], 0..=0)?;
        self.configure()?;
        let name = self.settings.interface();
        let text = match self.world.lease() {
            Some(lease) => {
                let router = lease
                    .router
                    .map(|router| format!(" gw {router}"))
                    .unwrap_or_default();
                format!(
                    "{name}: {}/{}{router}\n",
                    lease.address.address(),
                    lease.address.netmask()
                )
            }
            None => format!("{name}: no lease\n"),
        };
        self.print(&text);
        Ok(Step::Done)
    }

    pub(super) fn nslookup(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 2..=2)?;
        let name = self.settings.name_to_store(arguments.get(0))?;
        let address = self.host(arguments.get(1))?;
        let kind = super::value::Type::Ipv4;
        self.settings.store(&name, kind, &address.octets())?;
        Ok(Step::Done)
    }

    /// The address of a host.
    fn host(&mut self, name: &str) -> Result<Ipv4Address, Failure> {
        self.configure()?;
        if name.parse::<Ipv4Address>().is_err() {
            self.errand()?;
        }
        let start = self.world.now();
        let result = self.world.resolve(name);
        self.waited(start);
        result.map_err(|error| Failure::new(Errno::of_resolve(&error), error.to_string()))
    }

    pub(super) fn ping(&mut self, words: &[String]) -> Result<Step, Failure> {
        const SPECS: [Spec; 4] = [
            ("size", 's', true),
            ("timeout", 't', true),
            ("count", 'c', true),
            ("quiet", 'q', false),
        ];
        let arguments = Arguments::parse(words, &SPECS, 1..=1)?;
        let size = arguments.number('s')?.unwrap_or(PING_SIZE) as usize;
        let patience = arguments.timeout('t')?.unwrap_or(patience::PING);
        let count = arguments.number('c')?.filter(|count| *count > 0);
        let quiet = arguments.has('q');
        if size > ping::MAX_SIZE {
            return Err(Failure::new(
                Errno::UNSUPPORTED,
                format!("at most {} bytes fit a frame", ping::MAX_SIZE),
            ));
        }
        let name = arguments.get(0);
        let address = self.host(name)?;
        let end = self.world.now() + patience::SCRIPT_UNATTENDED;
        let (mut sent, mut came): (u32, u32) = (0, 0);
        loop {
            sent = sent.saturating_add(1);
            self.errand()?;
            let next = self.world.now() + patience;
            let back = self.world.echo(address, sent as u16, size, patience);
            self.progress();
            came = came.saturating_add(back.into());
            if !quiet {
                self.print(&match back {
                    true => format!("{size} bytes from {address}: seq={sent}\n"),
                    false => format!("no answer from {address}: seq={sent}\n"),
                });
            }
            if count.is_some_and(|count| sent >= count) {
                break;
            }
            // Without a count a person ends it; and nobody may be there.
            let now = self.world.now();
            if now >= end || (next > now && self.pause(next - now).is_err()) {
                break;
            }
        }
        match came {
            0 => Err(Failure::new(
                Errno::TIMEOUT,
                format!("{name} ({address}) does not answer"),
            )),
            _ => Ok(Step::Done),
        }
    }

    pub(super) fn ntp(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 1..=1)?;
        let name = arguments.get(0);
        let address = self.host(name)?;
        self.errand()?;
        let result = self.world.ntp(address);
        self.progress();
        let seconds = result.map_err(|error| {
            let errno = match error {
                ntp::Error::NoAnswer | ntp::Error::Refused => Errno::TIMEOUT,
                ntp::Error::Kiss(_) | ntp::Error::Unsynchronised => Errno::PEER,
            };
            Failure::new(errno, format!("{name} ({address}): {error}"))
        })?;
        self.epoch = seconds.saturating_sub(self.world.now().secs().cast_unsigned());
        self.tell_time();
        Ok(Step::Done)
    }

    pub(super) fn vcreate(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("tag", 't', true), ("priority", 'p', true)];
        let arguments = Arguments::parse(words, &specs, 1..=1)?;
        if !matches!(arguments.get(0), "net0" | "netX") {
            self.interfaces(&arguments)?;
            return Err(Failure::new(Errno::UNSUPPORTED, "a VLAN inside of a VLAN"));
        }
        let id = arguments.number('t')?.unwrap_or_default();
        let priority = arguments.number('p')?.unwrap_or_default();
        let tag = match (u16::try_from(id), u8::try_from(priority)) {
            (Ok(id @ 1..=4094), Ok(priority @ 0..=7)) => Tag { id, priority },
            _ => {
                return Err(Failure::new(
                    Errno::NUMBER,
                    format!("no VLAN has tag {id} and priority {priority}: 1 to 4094, 0 to 7"),
                ));
            }
        };
        let name = interface_of(tag);
        if let Some(known) = self.vlans.iter_mut().find(|known| known.id == tag.id) {
            *known = tag;
            return Ok(Step::Done);
        }
        if self.vlans.len() >= MAX_VLANS {
            return Err(too_many(MAX_VLANS, "VLANs"));
        }
        self.vlans.push(tag);
        self.settings.add_vlan(&name);
        Ok(Step::Done)
    }

    pub(super) fn vdestroy(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 0..=MANY)?;
        self.interfaces(&arguments)?;
        for name in arguments.rest {
            if matches!(&**name, "net0" | "netX") {
                return Err(Failure::new(Errno::NO_INTERFACE, "net0 is no VLAN"));
            }
            if name == self.settings.interface() {
                self.world.select(None);
                self.settings.activate("net0");
                self.fixed = Fixed::default();
            }
            self.vlans.retain(|tag| interface_of(*tag) != **name);
            self.settings.remove_vlan(name);
        }
        Ok(Step::Done)
    }

    pub(super) fn autoboot(&mut self, words: &[String]) -> Result<Step, Failure> {
        self.interfaces(&Arguments::parse(words, &[], 0..=MANY)?)?;
        let dhcp = [String::from("dhcp")];
        self.ifconf(&dhcp)?;
        let file = self.settings.text("filename");
        let file = super::line::expand(&file, &mut |name| self.settings.text(name))?;
        if file.is_empty() {
            return Err(Failure::new(Errno::NO_SETTING, "DHCP names no boot file"));
        }
        let id = self.download(&file, None, true, 0)?;
        Ok(Step::Execute(id))
    }
}

/// The name of a VLAN's interface.
fn interface_of(tag: Tag) -> String {
    format!("net0-{}", tag.id)
}

/// The length of a netmask that is one.
fn prefix(mask: u32) -> Option<u8> {
    let ones = mask.leading_ones();
    (mask.count_ones() == ones).then_some(ones as u8)
}

/// The prefix length of an address without a netmask, as it was before there were any (RFC 791).
fn class(address: Ipv4Address) -> u8 {
    match address.octets() {
        [0..=127, ..] => 8,
        [128..=191, ..] => 16,
        _ => 24,
    }
}
