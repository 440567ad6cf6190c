//! The settings of scripts: blocks within blocks, found by name or DHCP tag (iPXE `settings.c`, <https://ipxe.org/cfg>).
//!
//! ```text
//! root ── builtin          errno, buildarch, platform, version, unixtime, cwuri, cwduri
//!      ├─ smbios           uuid, manufacturer, product, serial, asset, board-serial
//!      ├─ net0 (netX)      mac, ifname … ── dhcp: the server's options
//!      ├─ proxydhcp        the proxy's options
//!      └─ what `set block/name` makes
//! ```
//!
//! A name without a block is looked for in the root, then in each block and its children in this order. What a script
//! sets is kept beside the facts of its block and hides them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::wire::EthernetAddress;

use super::errno::{Errno, Failure};
use super::value::{Type, number};
use crate::Board;
use crate::lease::{Lease, Options, Uuid};
use crate::url::Url;

/// Settings that scripts can make.
pub const MAX_SETTINGS: usize = 4096;
/// Bytes of their names and values together.
pub const MAX_BYTES: usize = 512 * 1024;

/// In which blocks a predefined setting lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Any,
    Builtin,
    Smbios,
}

/// Settings that have a type or a DHCP tag by their name.
const PREDEFINED: &[(&str, u64, Type, Scope)] = &[
    ("netmask", 1, Type::Ipv4, Scope::Any),
    ("gateway", 3, Type::Ipv4, Scope::Any),
    ("dns", 6, Type::Ipv4, Scope::Any),
    ("syslog", 7, Type::Ipv4, Scope::Any),
    ("hostname", 12, Type::String, Scope::Any),
    ("domain", 15, Type::String, Scope::Any),
    ("root-path", 17, Type::String, Scope::Any),
    ("mtu", 26, Type::Int(2), Scope::Any),
    ("ntp", 42, Type::Ipv4, Scope::Any),
    ("dhcp-server", 54, Type::Ipv4, Scope::Any),
    ("vendor-class", 60, Type::String, Scope::Any),
    ("filename", 67, Type::String, Scope::Any),
    ("user-class", 77, Type::String, Scope::Any),
    ("dnssl", 119, Type::Hex, Scope::Any),
    ("static-routes", 121, Type::Hex, Scope::Any),
    ("initiator-iqn", 203, Type::String, Scope::Any),
    ("priority", sub(1), Type::Int(1), Scope::Any),
    ("ip", YIADDR, Type::Ipv4, Scope::Any),
    ("next-server", SIADDR, Type::Ipv4, Scope::Any),
    ("keep-san", sub(8), Type::Int(1), Scope::Any),
    ("skip-san-boot", sub(9), Type::Int(1), Scope::Any),
    ("scriptlet", sub(0x51), Type::String, Scope::Any),
    ("syslogs", sub(0x55), Type::String, Scope::Any),
    ("san-filename", sub(0xbc), Type::String, Scope::Any),
    ("username", sub(0xbe), Type::String, Scope::Any),
    ("password", sub(0xbf), Type::String, Scope::Any),
    ("mac", 0, Type::Hex, Scope::Any),
    ("hwaddr", 0, Type::Hex, Scope::Any),
    ("bustype", 0, Type::String, Scope::Any),
    ("busloc", 0, Type::Uint(4), Scope::Any),
    ("busid", 0, Type::Hex, Scope::Any),
    ("linktype", 0, Type::String, Scope::Any),
    ("chip", 0, Type::String, Scope::Any),
    ("ifname", 0, Type::String, Scope::Any),
    ("ip6", 0, Type::Ipv6, Scope::Any),
    ("gateway6", 0, Type::Ipv6, Scope::Any),
    ("dns6", 0, Type::Ipv6, Scope::Any),
    ("len6", 0, Type::Int(1), Scope::Any),
    ("errno", 0, Type::Uint(4), Scope::Builtin),
    ("buildarch", 0, Type::String, Scope::Builtin),
    ("platform", 0, Type::String, Scope::Builtin),
    ("version", 0, Type::String, Scope::Builtin),
    ("unixtime", 0, Type::Uint(4), Scope::Builtin),
    ("cwuri", 0, Type::String, Scope::Builtin),
    ("cwduri", 0, Type::String, Scope::Builtin),
    ("uuid", 0, Type::Uuid, Scope::Smbios),
    ("manufacturer", 0, Type::String, Scope::Smbios),
    ("product", 0, Type::String, Scope::Smbios),
    ("serial", 0, Type::String, Scope::Smbios),
    ("asset", 0, Type::String, Scope::Smbios),
    ("board-serial", 0, Type::String, Scope::Smbios),
];

/// The tag of a sub-option of option 175.
const fn sub(tag: u64) -> u64 {
    (175 << 8) | tag
}

/// Pseudo tags for fields of the DHCP header.
const YIADDR: u64 = sub(2);
const SIADDR: u64 = sub(3);

/// A setting as a script names it: `[block/]name[:type]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The block's name; empty for the root.
    block: String,
    name: String,
    /// DHCP option, or sub-options shifted by eight bits each; 0 when it is no tag.
    tag: u64,
    scope: Scope,
    /// What the script says, or else what the predefined setting has.
    kind: Option<Type>,
}

impl Name {
    /// The name alone.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type that it is to have, when that is known.
    pub fn kind(&self) -> Option<Type> {
        self.kind
    }

    fn is(&self, name: &str, tag: u64, scope: Scope) -> bool {
        (self.tag != 0 && self.tag == tag && self.scope == scope) || (!name.is_empty() && self.name == name)
    }
}

/// A value, its type and the block it was found in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The block's full name; empty for the root.
    pub block: String,
    /// How it is written.
    pub kind: Type,
    /// The raw bytes.
    pub raw: Vec<u8>,
}

/// What is known without any script.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    mac: [u8; 6],
    uuid: [u8; 16],
    model: String,
    serial: u64,
    revision: u32,
    platform: String,
    /// What DHCP says now.
    pub lease: Option<Lease>,
    /// The VLANs' interfaces, each with what DHCP has said there.
    vlans: Vec<(String, Option<Lease>)>,
    /// The interface that `netX` means, when that is a VLAN's.
    active: Option<String>,
    /// The number of the last failure.
    pub errno: u32,
    /// What relative URIs are relative to.
    pub cwuri: Option<Url>,
    /// Seconds since 1970; since reset when nobody has told the time.
    pub unixtime: u32,
}

impl Facts {
    /// The facts of `board`.
    pub fn of(board: &Board<'_>, boot: &crate::Settings, lease: Option<Lease>) -> Self {
        let EthernetAddress(mac) = board.mac;
        Self {
            mac,
            uuid: Uuid::of(board).0,
            model: board.model.into(),
            serial: board.serial,
            revision: board.revision,
            // Menus ask it to pick arm64 images, and on a PC's BIOS there are none.
            platform: boot.platform.as_deref().unwrap_or("efi").into(),
            lease,
            ..Self::default()
        }
    }

    /// The raw value of a fact of `block`.
    fn get(&self, block: &str, name: &Name) -> Option<Vec<u8>> {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let vlan = |name: &str| self.vlans.iter().find(|(vlan, _)| vlan == name);
        let lease = match block.strip_suffix(".dhcp").and_then(vlan) {
            Some((_, lease)) => lease.as_ref(),
            None => self.lease.as_ref(),
        };
        // A VLAN's interface is like the one below it, but for its name.
        let (block, ifname) = match (vlan(block), block.strip_suffix(".dhcp")) {
            (Some(_), _) => ("net0", block),
            (None, Some(interface)) if vlan(interface).is_some() => ("net0.dhcp", "net0"),
            _ => (block, "net0"),
        };
        match (block, &*name.name) {
            ("builtin", "errno") => Some(self.errno.to_be_bytes().to_vec()),
            ("builtin", "buildarch") => text("arm64"),
            ("builtin", "platform") => text(&self.platform),
            ("builtin", "version") => text(env!("CARGO_PKG_VERSION")),
            ("builtin", "unixtime") => Some(self.unixtime.to_be_bytes().to_vec()),
            // With the password in it, as scripts build other URLs from it.
            ("builtin", "cwuri") => text(&self.cwuri.as_ref()?.whole()),
            ("builtin", "cwduri") => text(&self.cwuri.as_ref()?.join(".").ok()?.whole()),
            ("smbios", "uuid") => Some(self.uuid.to_vec()),
            ("smbios", "manufacturer") => text("Raspberry Pi"),
            ("smbios", "product") => text(&self.model),
            // The name of the directory that the Pi's own firmware asks for.
            ("smbios", "serial") => text(&format!("{:08x}", self.serial as u32)),
            ("smbios", "board-serial") => text(&format!("{:016x}", self.serial)),
            ("smbios", "asset") => text(&format!("{:06x}", self.revision)),
            ("net0", "mac" | "hwaddr") => Some(self.mac.to_vec()),
            ("net0", "bustype") => text("DT"),
            ("net0", "linktype") => text("Ethernet"),
            ("net0", "chip") => text("bramble"),
            ("net0", "ifname") => text(ifname),
            ("net0.dhcp", _) => option(&lease?.dhcp, name.tag),
            ("proxydhcp", _) => option(lease?.proxy.as_ref()?, name.tag),
            _ => None,
        }
    }
}

/// The value of a DHCP tag in a server's message.
fn option(options: &Options, tag: u64) -> Option<Vec<u8>> {
    let value = match tag {
        YIADDR => return host(options.yiaddr),
        SIADDR if !options.siaddr.is_unspecified() => return host(options.siaddr),
        _ => {
            let byte = |shift: u32| u8::try_from((tag >> shift) & 0xff).ok();
            match tag {
                0 => return None,
                1..=0xff => options.get(byte(0)?),
                0x100..=0xffff => options.sub(byte(8)?, byte(0)?),
                _ => return None,
            }
        }
    };
    value.map(<[u8]>::to_vec)
}

fn host(address: smoltcp::wire::Ipv4Address) -> Option<Vec<u8>> {
    (!address.is_unspecified()).then(|| address.octets().to_vec())
}

#[derive(Debug)]
struct Entry {
    block: usize,
    name: String,
    tag: u64,
    kind: Type,
    raw: Vec<u8>,
}

/// Every setting there is.
#[derive(Debug)]
pub struct Settings {
    /// Full names, parents before their children; the root first.
    blocks: Vec<String>,
    entries: Vec<Entry>,
    bytes: usize,
    /// What is known without any script.
    pub facts: Facts,
}

impl Settings {
    /// No settings but the facts.
    pub fn new(facts: Facts) -> Self {
        let mut blocks: Vec<String> = ["", "builtin", "smbios", "net0"].map(Into::into).into();
        if let Some(lease) = &facts.lease {
            blocks.push("net0.dhcp".into());
            if lease.proxy.is_some() {
                blocks.push("proxydhcp".into());
            }
        }
        Self {
            blocks,
            entries: Vec::new(),
            bytes: 0,
            facts,
        }
    }

    /// Takes over a new lease of the active interface.
    pub fn set_lease(&mut self, lease: Lease) {
        let block = format!("{}.dhcp", self.interface());
        for (block, exists) in [(&*block, true), ("proxydhcp", lease.proxy.is_some())] {
            if exists && !self.blocks.iter().any(|name| name == block) {
                self.blocks.push(block.into());
            }
        }
        let mut vlans = self.facts.vlans.iter_mut();
        match vlans.find(|(name, _)| self.facts.active.as_ref() == Some(name)) {
            Some((_, slot)) => *slot = Some(lease),
            None => self.facts.lease = Some(lease),
        }
    }

    /// The name of the interface that `netX` means.
    pub fn interface(&self) -> &str {
        self.facts.active.as_deref().unwrap_or("net0")
    }

    /// Makes `netX` mean another interface.
    pub fn activate(&mut self, interface: &str) {
        self.facts.active = (interface != "net0").then(|| interface.into());
    }

    /// Makes the block of a VLAN's interface.
    pub fn add_vlan(&mut self, name: &str) {
        if self.block(name).is_none() {
            self.blocks.push(name.into());
        }
        self.facts.vlans.push((name.into(), None));
    }

    /// Forgets a VLAN's interface. What scripts have set in its block stays theirs.
    pub fn remove_vlan(&mut self, name: &str) {
        self.facts.vlans.retain(|(vlan, _)| vlan != name);
    }

    /// Reads a setting's name; a block or a type that does not exist is an error.
    pub fn name(&self, text: &str) -> Result<Name, Failure> {
        let (name, block) = parse(text, self.interface())?;
        if self.block(&block).is_some() {
            Ok(name)
        } else {
            Err(Failure::new(
                Errno::NO_BLOCK,
                format!("\"{text}\": there is no \"{block}\""),
            ))
        }
    }

    /// The same, and makes the block when it does not exist.
    pub fn name_to_store(&mut self, text: &str) -> Result<Name, Failure> {
        let (name, block) = parse(text, self.interface())?;
        // Each parent too.
        let ends = block.match_indices('.').map(|(at, _)| at).chain([block.len()]);
        for end in ends {
            let parent = block.get(..end).unwrap_or_default();
            if self.block(parent).is_none() {
                if self.blocks.len() >= MAX_SETTINGS {
                    return Err(full());
                }
                self.blocks.push(parent.into());
            }
        }
        Ok(name)
    }

    fn block(&self, name: &str) -> Option<usize> {
        self.blocks.iter().position(|block| block == name)
    }

    /// Finds a setting.
    pub fn fetch(&self, name: &Name) -> Option<Found> {
        if name.name.is_empty() {
            return None;
        }
        let first = self.block(&name.block)?;
        self.fetch_from(first, name)
    }

    /// Looks into a block, then into its children. Blocks are few, and three deep at most but for a script's own.
    fn fetch_from(&self, index: usize, name: &Name) -> Option<Found> {
        let block = self.blocks.get(index)?;
        let found = |kind: Type, raw: Vec<u8>| Found {
            block: block.clone(),
            kind,
            raw,
        };
        let scope_fits = match &**block {
            "builtin" => name.scope == Scope::Builtin,
            "smbios" => name.scope == Scope::Smbios,
            "net0.dhcp" | "proxydhcp" => name.scope == Scope::Any && name.tag != 0,
            vlan if vlan.starts_with("net0-") && vlan.ends_with(".dhcp") => {
                name.scope == Scope::Any && name.tag != 0
            }
            _ => true,
        };
        if scope_fits {
            let mut entries = self.entries.iter();
            let entry = entries.find(|entry| {
                entry.block == index && ((name.tag != 0 && name.tag == entry.tag) || entry.name == name.name)
            });
            if let Some(entry) = entry {
                return Some(found(name.kind.unwrap_or(entry.kind), entry.raw.clone()));
            }
            if let Some(raw) = self.facts.get(block, name) {
                return Some(found(name.kind.unwrap_or(Type::String), raw));
            }
        }
        let is_child = |other: &str| {
            let inside = match &**block {
                "" => Some(other),
                _ => other
                    .strip_prefix(&**block)
                    .and_then(|rest| rest.strip_prefix('.')),
            };
            inside.is_some_and(|rest| !rest.is_empty() && !rest.contains('.'))
        };
        let blocks = self.blocks.iter().enumerate();
        blocks
            .filter(|(_, other)| is_child(other))
            .find_map(|(child, _)| self.fetch_from(child, name))
    }

    /// The text of a setting, as `${…}` means it: empty when anything is wrong with it.
    pub fn text(&self, name: &str) -> String {
        self.name(name)
            .ok()
            .and_then(|name| self.fetch(&name))
            .and_then(|found| found.kind.format(&found.raw))
            .unwrap_or_default()
    }

    /// Stores text in a setting; empty text removes it.
    pub fn store_text(&mut self, name: &Name, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return self.store(name, name.kind.unwrap_or(Type::String), Vec::new());
        }
        let kind = name.kind.unwrap_or(Type::String);
        let raw = kind.parse(text).map_err(|errno| {
            Failure::new(
                errno,
                format!(
                    "could not store \"{}\": \"{text}\" is not {}",
                    name.name,
                    kind.name()
                ),
            )
        })?;
        self.store(name, kind, raw)
    }

    /// Stores raw bytes in a setting; none remove it.
    pub fn store(&mut self, name: &Name, kind: Type, raw: Vec<u8>) -> Result<(), Failure> {
        let index = self.block(&name.block).unwrap_or_default();
        if matches!(&*name.block, "net0.dhcp" | "proxydhcp") {
            return Err(Failure::new(
                Errno::NOT_THERE,
                format!(
                    "could not store \"{}\": what DHCP said cannot be changed",
                    name.name
                ),
            ));
        }
        let fixed = match &*name.block {
            "builtin" | "smbios" => true,
            interface if interface == "net0" || interface.starts_with("net0-") => {
                self.facts.get(interface, name).is_some()
            }
            _ => false,
        };
        if fixed {
            return Err(Failure::new(
                Errno::TYPE,
                format!("could not store \"{}\": it cannot be changed", name.name),
            ));
        }
        let mut old = self.entries.iter();
        if let Some(at) =
            old.position(|entry| entry.block == index && name.is(&entry.name, entry.tag, Scope::Any))
        {
            let old = self.entries.swap_remove(at);
            self.bytes = self.bytes.saturating_sub(size(&old.name, &old.raw));
        }
        if raw.is_empty() {
            return Ok(());
        }
        let bytes = self.bytes.saturating_add(size(&name.name, &raw));
        if self.entries.len() >= MAX_SETTINGS || bytes > MAX_BYTES {
            return Err(full());
        }
        self.bytes = bytes;
        self.entries.push(Entry {
            block: index,
            name: name.name.clone(),
            tag: name.tag,
            kind,
            raw,
        });
        Ok(())
    }

    /// What scripts have set, a line each.
    pub fn listing(&self) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            let block = self.blocks.get(entry.block).map_or("", String::as_str);
            let slash = if block.is_empty() { "" } else { "/" };
            let value = entry.kind.format(&entry.raw).unwrap_or_default();
            let (name, kind) = (&entry.name, entry.kind.name());
            text.push_str(&format!("{block}{slash}{name}:{kind} = {value}\n"));
        }
        text
    }

    /// Adds to a number. What is no number counts as 0, and what was not set becomes one of 32 bits.
    pub fn increment(&mut self, name: &Name, by: u32) -> Result<(), Failure> {
        let found = self.fetch(name);
        let kind = found
            .as_ref()
            .map(|found| found.kind)
            .or(name.kind)
            .unwrap_or(Type::Int(4));
        let value = found
            .and_then(|found| kind.numerate(&found.raw))
            .unwrap_or_default();
        let raw = kind.denumerate(value.wrapping_add(by.into())).ok_or_else(|| {
            Failure::new(
                Errno::TYPE,
                format!(
                    "could not store \"{}\": {} is no type of numbers",
                    name.name,
                    kind.name()
                ),
            )
        })?;
        self.store(name, kind, raw)
    }
}

/// What a setting counts for against [`MAX_BYTES`].
fn size(name: &str, raw: &[u8]) -> usize {
    name.len().saturating_add(raw.len())
}

fn full() -> Failure {
    Failure::new(
        Errno::NO_MEMORY,
        format!("more than {MAX_SETTINGS} settings or {MAX_BYTES} bytes of them"),
    )
}

/// A name, and the block it asks for.
fn parse(text: &str, interface: &str) -> Result<(Name, String), Failure> {
    let (block, name) = text.split_once('/').unwrap_or(("", text));
    // The interface opened last.
    let block = match block.strip_prefix("netX") {
        Some(rest) if rest.is_empty() || rest.starts_with('.') => format!("{interface}{rest}"),
        _ => block.into(),
    };
    let (name, kind) = match name.split_once(':') {
        Some((name, kind)) => (name, Some(kind)),
        None => (name, None),
    };
    let given = kind
        .map(|kind| {
            Type::named(kind)
                .ok_or_else(|| Failure::new(Errno::TYPE, format!("\"{text}\": there is no type \"{kind}\"")))
        })
        .transpose()?;
    let scope = if block == "smbios" {
        Scope::Smbios
    } else {
        Scope::Any
    };
    let mut parsed = Name {
        block: block.clone(),
        name: name.into(),
        tag: tag(name),
        scope,
        kind: None,
    };
    let mut predefined = PREDEFINED.iter();
    if let Some((name, tag, kind, scope)) =
        predefined.find(|(name, tag, _, scope)| parsed.is(name, *tag, *scope))
    {
        parsed.name = (*name).into();
        (parsed.tag, parsed.kind, parsed.scope) = (*tag, Some(*kind), *scope);
    }
    parsed.kind = given.or(parsed.kind);
    Ok((parsed, block))
}

/// `67` and `43.116` as tags; 0 for anything else.
fn tag(name: &str) -> u64 {
    let mut tag = 0_u64;
    let mut rest = name;
    if rest.is_empty() {
        return 0;
    }
    loop {
        let (part, after) = number(rest, 0);
        tag = (tag << 8) | part;
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return tag,
            None => return 0,
        }
    }
}
