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

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::wire::EthernetAddress;

use super::budget::{self, Share};
use super::errno::{Errno, Failure, too_many};
use super::table::key;
use super::value::{Type, number};
use crate::Board;
use crate::lease::{Lease, Options, Uuid};
use crate::text::is_secret;
use crate::url::Url;

/// Settings that scripts can make.
pub const MAX_SETTINGS: usize = 4096;
/// Blocks of settings, ours included: a name without a block is looked for in all of them.
pub const MAX_BLOCKS: usize = 64;

/// A secret of fewer bytes is not looked for in what is told: it would be found everywhere.
const SHORTEST_SECRET: usize = 4;
/// So many are looked for: each is a look at all of a line.
const MOST_SECRETS: usize = 16;

/// Bytes that a value's room may have beside it, so that a number that changes need not move.
const SLACK: usize = 64;

/// In which blocks a predefined setting lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Any,
    Builtin,
    Smbios,
}

/// A setting's name, tag, type and scope.
type Row = (&'static str, u64, Type, Scope);

const fn row(name: &'static str, tag: u64, kind: Type, scope: Scope) -> (u64, Row) {
    (key(name), (name, tag, kind, scope))
}

/// Settings that have a type or a DHCP tag by their name, in the order of their names.
const PREDEFINED: &[(u64, Row)] = &[
    row("asset", 0, Type::String, Scope::Smbios),
    row("board-serial", 0, Type::String, Scope::Smbios),
    row("buildarch", 0, Type::String, Scope::Builtin),
    row("busid", 0, Type::Hex, Scope::Any),
    row("busloc", 0, Type::Uint(4), Scope::Any),
    row("bustype", 0, Type::String, Scope::Any),
    row("chip", 0, Type::String, Scope::Any),
    row("cwduri", 0, Type::String, Scope::Builtin),
    row("cwuri", 0, Type::String, Scope::Builtin),
    row("dhcp-server", 54, Type::Ipv4, Scope::Any),
    row("dns", 6, Type::Ipv4, Scope::Any),
    row("dns6", 0, Type::Ipv6, Scope::Any),
    row("dnssl", 119, Type::Hex, Scope::Any),
    row("domain", 15, Type::String, Scope::Any),
    row("errno", 0, Type::Uint(4), Scope::Builtin),
    row("filename", 67, Type::String, Scope::Any),
    row("gateway", 3, Type::Ipv4, Scope::Any),
    row("gateway6", 0, Type::Ipv6, Scope::Any),
    row("hostname", 12, Type::String, Scope::Any),
    row("hwaddr", 0, Type::Hex, Scope::Any),
    row("ifname", 0, Type::String, Scope::Any),
    row("initiator-iqn", 203, Type::String, Scope::Any),
    row("ip", YIADDR, Type::Ipv4, Scope::Any),
    row("ip6", 0, Type::Ipv6, Scope::Any),
    row("keep-san", sub(8), Type::Int(1), Scope::Any),
    row("len6", 0, Type::Int(1), Scope::Any),
    row("linktype", 0, Type::String, Scope::Any),
    row("mac", 0, Type::Hex, Scope::Any),
    row("manufacturer", 0, Type::String, Scope::Smbios),
    row("mtu", 26, Type::Int(2), Scope::Any),
    row("netmask", 1, Type::Ipv4, Scope::Any),
    row("next-server", SIADDR, Type::Ipv4, Scope::Any),
    row("ntp", 42, Type::Ipv4, Scope::Any),
    row("password", sub(0xbf), Type::String, Scope::Any),
    row("platform", 0, Type::String, Scope::Builtin),
    row("priority", sub(1), Type::Int(1), Scope::Any),
    row("product", 0, Type::String, Scope::Smbios),
    row("root-path", 17, Type::String, Scope::Any),
    row("san-filename", sub(0xbc), Type::String, Scope::Any),
    row("scriptlet", sub(0x51), Type::String, Scope::Any),
    row("serial", 0, Type::String, Scope::Smbios),
    row("skip-san-boot", sub(9), Type::Int(1), Scope::Any),
    row("static-routes", 121, Type::Hex, Scope::Any),
    row("syslog", 7, Type::Ipv4, Scope::Any),
    row("syslogs", sub(0x55), Type::String, Scope::Any),
    row("unixtime", 0, Type::Uint(4), Scope::Builtin),
    row("user-class", 77, Type::String, Scope::Any),
    row("username", sub(0xbe), Type::String, Scope::Any),
    row("uuid", 0, Type::Uuid, Scope::Smbios),
    row("vendor-class", 60, Type::String, Scope::Any),
    row("version", 0, Type::String, Scope::Builtin),
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
pub struct Name<'t> {
    /// The block's name; empty for the root.
    block: Cow<'t, str>,
    name: &'t str,
    /// DHCP option, or sub-options shifted by eight bits each; 0 when it is no tag.
    tag: u64,
    scope: Scope,
    /// What the script says, or else what the predefined setting has.
    kind: Option<Type>,
}

impl<'t> Name<'t> {
    /// The name alone.
    pub fn name(&self) -> &'t str {
        self.name
    }

    /// The type that it is to have, when that is known.
    pub fn kind(&self) -> Option<Type> {
        self.kind
    }

    /// Whether a setting of this name and tag, kept in a block, is the one that is meant.
    fn is(&self, name: &str, tag: u64) -> bool {
        (self.tag != 0 && self.tag == tag) || (!name.is_empty() && self.name == name)
    }
}

/// A value, its type and the block it was found in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'s> {
    /// The block's full name; empty for the root.
    pub block: &'s str,
    /// How it is written.
    pub kind: Type,
    /// The raw bytes.
    pub raw: Cow<'s, [u8]>,
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
    fn get(&self, block: &str, name: &Name<'_>) -> Option<Vec<u8>> {
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
        match (block, name.name) {
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
struct Block {
    /// The full name.
    name: String,
    /// The block that this one is looked for behind; none for the root, and where a name between two dots is empty.
    parent: Option<usize>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    tag: u64,
    kind: Type,
    raw: Vec<u8>,
}

/// Every setting there is.
#[derive(Debug)]
pub struct Values {
    /// Parents before their children; the root first.
    blocks: Vec<Block>,
    /// How many entries they have in all.
    count: usize,
    /// What the entries and the blocks that scripts have made take.
    share: Share,
    /// What is known without any script.
    pub facts: Facts,
}

impl Values {
    /// No settings but the facts; what is set is part of the budget.
    pub fn new(facts: Facts, share: Share) -> Self {
        let mut settings = Self {
            blocks: Vec::new(),
            count: 0,
            share,
            facts,
        };
        for block in ["", "builtin", "smbios", "net0"] {
            settings.add_block(block);
        }
        if let Some(lease) = &settings.facts.lease {
            let proxied = lease.proxy.is_some();
            settings.add_block("net0.dhcp");
            if proxied {
                settings.add_block("proxydhcp");
            }
        }
        settings
    }

    fn add_block(&mut self, name: &str) {
        let parent = match name.rsplit_once('.') {
            None => (!name.is_empty()).then_some(0),
            Some(("", _) | (_, "")) => None,
            Some((parent, _)) => self.block(parent),
        };
        self.blocks.push(Block {
            name: name.into(),
            parent,
            entries: Vec::new(),
        });
    }

    /// Takes over a new lease of the active interface.
    pub fn set_lease(&mut self, lease: Lease) {
        let block = format!("{}.dhcp", self.interface());
        for (block, exists) in [(&*block, true), ("proxydhcp", lease.proxy.is_some())] {
            if exists && self.block(block).is_none() {
                self.add_block(block);
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
            self.add_block(name);
        }
        self.facts.vlans.push((name.into(), None));
    }

    /// Forgets a VLAN's interface. What scripts have set in its block stays theirs.
    pub fn remove_vlan(&mut self, name: &str) {
        self.facts.vlans.retain(|(vlan, _)| vlan != name);
    }

    /// Reads a setting's name; a block or a type that does not exist is an error.
    pub fn name<'t>(&self, text: &'t str) -> Result<Name<'t>, Failure> {
        let name = parse(text, self.interface())?;
        if self.block(&name.block).is_some() {
            Ok(name)
        } else {
            Err(Failure::new(
                Errno::NO_BLOCK,
                format!("\"{text}\": there is no \"{}\"", name.block),
            ))
        }
    }

    /// The same, and makes the block when it does not exist.
    pub fn name_to_store<'t>(&mut self, text: &'t str) -> Result<Name<'t>, Failure> {
        let name = parse(text, self.interface())?;
        if self.block(&name.block).is_some() {
            return Ok(name);
        }
        // Each parent too.
        let block = &*name.block;
        let ends = block.match_indices('.').map(|(at, _)| at).chain([block.len()]);
        for end in ends {
            let parent = block.get(..end).unwrap_or_default();
            if self.block(parent).is_none() {
                if self.blocks.len() >= MAX_BLOCKS {
                    return Err(too_many(MAX_BLOCKS, "blocks of settings"));
                }
                self.share.take(budget::texts(&[parent.len()])?)?;
                self.add_block(parent);
            }
        }
        Ok(name)
    }

    fn block(&self, name: &str) -> Option<usize> {
        if name.is_empty() {
            return Some(0);
        }
        self.blocks.iter().position(|block| block.name == name)
    }

    /// Finds a setting.
    pub fn fetch(&self, name: &Name<'_>) -> Option<Found<'_>> {
        if name.name.is_empty() {
            return None;
        }
        let first = self.block(&name.block)?;
        self.fetch_from(first, name)
    }

    /// Looks into a block, then into its children. Blocks are few, and three deep at most but for a script's own.
    fn fetch_from(&self, index: usize, name: &Name<'_>) -> Option<Found<'_>> {
        let block = self.blocks.get(index)?;
        let scope_fits = match &*block.name {
            "builtin" => name.scope == Scope::Builtin,
            "smbios" => name.scope == Scope::Smbios,
            "net0.dhcp" | "proxydhcp" => name.scope == Scope::Any && name.tag != 0,
            vlan if vlan.starts_with("net0-") && vlan.ends_with(".dhcp") => {
                name.scope == Scope::Any && name.tag != 0
            }
            _ => true,
        };
        if scope_fits {
            let found = |kind: Type, raw| Found {
                block: &block.name,
                kind: name.kind.unwrap_or(kind),
                raw,
            };
            let mut entries = block.entries.iter();
            if let Some(entry) =
                entries.find(|entry| (name.tag != 0 && name.tag == entry.tag) || entry.name == name.name)
            {
                return Some(found(entry.kind, Cow::Borrowed(&*entry.raw)));
            }
            if let Some(raw) = self.facts.get(&block.name, name) {
                return Some(found(Type::String, Cow::Owned(raw)));
            }
        }
        let blocks = self.blocks.iter().enumerate();
        blocks
            .filter(|(_, other)| other.parent == Some(index))
            .find_map(|(child, _)| self.fetch_from(child, name))
    }

    /// The text of a setting, as `${…}` means it: empty when anything is wrong with it.
    pub fn text(&self, name: &str) -> String {
        let Ok(name) = parse(name, self.interface()) else {
            return String::new();
        };
        self.fetch(&name)
            .and_then(|found| found.kind.format(&found.raw))
            .unwrap_or_default()
    }

    /// `text` with `***` for the values of settings that are secrets by their names, what DHCP says among them.
    pub fn without_secrets(&self, text: &str) -> String {
        let password = Name {
            block: "".into(),
            name: "password",
            tag: sub(0xbf),
            scope: Scope::Any,
            kind: None,
        };
        let mut secrets: Vec<Vec<u8>> = Vec::new();
        for block in &self.blocks {
            secrets.extend(self.facts.get(&block.name, &password));
            let set = block.entries.iter().filter(|entry| is_secret(&entry.name));
            let room = MOST_SECRETS.saturating_sub(secrets.len());
            secrets.extend(set.take(room).map(|entry| entry.raw.clone()));
        }
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET && core::str::from_utf8(secret).is_ok());
        let (mut shown, mut rest) = (String::new(), text);
        while let Some(c) = rest.chars().next() {
            let starts = |secret: &&Vec<u8>| rest.as_bytes().starts_with(secret);
            let secret = secrets.iter().filter(starts).map(Vec::len).max();
            match secret {
                Some(_) => shown.push_str("***"),
                None => shown.push(c),
            }
            rest = rest.get(secret.unwrap_or(c.len_utf8())..).unwrap_or_default();
        }
        shown
    }

    /// Stores text in a setting; empty text removes it.
    pub fn store_text(&mut self, name: &Name<'_>, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return self.store(name, name.kind.unwrap_or(Type::String), &[]);
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
        self.store(name, kind, &raw)
    }

    /// Stores raw bytes in a setting; none remove it.
    pub fn store(&mut self, name: &Name<'_>, kind: Type, raw: &[u8]) -> Result<(), Failure> {
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
        let index = self.block(&name.block).unwrap_or_default();
        let Some(block) = self.blocks.get_mut(index) else {
            return Err(full());
        };
        let mut entries = block.entries.iter();
        let old = entries.position(|entry| name.is(&entry.name, entry.tag));
        let old_size = old
            .and_then(|at| block.entries.get(at))
            .map_or(0, |old| size(&old.name, &old.raw));
        if raw.is_empty() {
            if let Some(at) = old {
                block.entries.remove(at);
                self.share.give(old_size);
                self.count = self.count.saturating_sub(1);
            }
            return Ok(());
        }
        budget::texts(&[name.name.len(), raw.len()])?;
        if old.is_none() && self.count >= MAX_SETTINGS {
            return Err(full());
        }
        self.share.replace(old_size, size(name.name, raw))?;
        match old.and_then(|at| block.entries.get_mut(at)) {
            Some(entry) => {
                if entry.name != name.name {
                    entry.name = name.name.into();
                }
                (entry.tag, entry.kind) = (name.tag, kind);
                let room = entry.raw.capacity();
                if (raw.len()..=raw.len().saturating_add(SLACK)).contains(&room) {
                    entry.raw.clear();
                    entry.raw.extend_from_slice(raw);
                } else {
                    entry.raw = raw.into();
                }
            }
            None => {
                self.count = self.count.saturating_add(1);
                block.entries.push(Entry {
                    name: name.name.into(),
                    tag: name.tag,
                    kind,
                    raw: raw.into(),
                });
            }
        }
        Ok(())
    }

    /// A line for the setting that is the `n`-th of those that scripts have set; none behind the last.
    pub fn listed(&self, n: usize) -> Option<String> {
        let blocks = self.blocks.iter();
        let mut all = blocks.flat_map(|block| block.entries.iter().map(|entry| (&*block.name, entry)));
        let (block, entry) = all.nth(n)?;
        let slash = if block.is_empty() { "" } else { "/" };
        let value = if is_secret(&entry.name) {
            "***".into()
        } else {
            entry.kind.format(&entry.raw).unwrap_or_default()
        };
        let (name, kind) = (&entry.name, entry.kind.name());
        Some(format!("{block}{slash}{name}:{kind} = {value}\n"))
    }

    /// Adds to a number. What is no number counts as 0, and what was not set becomes one of 32 bits.
    pub fn increment(&mut self, name: &Name<'_>, by: u32) -> Result<(), Failure> {
        let found = self.fetch(name);
        let kind = found
            .as_ref()
            .map(|found| found.kind)
            .or(name.kind)
            .unwrap_or(Type::Int(4));
        let value = found
            .and_then(|found| kind.numerate(&found.raw))
            .unwrap_or_default();
        let mut bytes = [0; 8];
        let raw = kind.denumerate(value.wrapping_add(by.into()), &mut bytes);
        let raw = raw.ok_or_else(|| {
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

/// What a setting takes.
fn size(name: &str, raw: &[u8]) -> usize {
    const BESIDE: usize = budget::element::<Entry>() + 2 * budget::BLOCK + SLACK;
    name.len().saturating_add(raw.len()).saturating_add(BESIDE)
}

fn full() -> Failure {
    too_many(MAX_SETTINGS, "settings")
}

/// `str::split_once` at an ASCII character, for texts too short to be worth its search.
fn split(text: &str, at: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == at)?;
    Some((text.get(..at)?, text.get(at.saturating_add(1)..)?))
}

/// A name, not yet known to be in a block that exists.
fn parse<'t>(text: &'t str, interface: &str) -> Result<Name<'t>, Failure> {
    let (block, name) = split(text, b'/').unwrap_or(("", text));
    // The interface opened last.
    let block = match block.strip_prefix("netX") {
        Some(rest) if rest.is_empty() || rest.starts_with('.') => Cow::Owned(format!("{interface}{rest}")),
        _ => Cow::Borrowed(block),
    };
    let (name, kind) = match split(name, b':') {
        Some((name, kind)) => (name, Some(kind)),
        None => (name, None),
    };
    let given = kind
        .map(|kind| {
            Type::named(kind)
                .ok_or_else(|| Failure::new(Errno::TYPE, format!("\"{text}\": there is no such type")))
        })
        .transpose()?;
    let scope = if block == "smbios" {
        Scope::Smbios
    } else {
        Scope::Any
    };
    let tag = tag(name);
    Ok(match predefined(name, tag, scope) {
        Some((name, tag, kind, scope)) => Name {
            block,
            name,
            tag,
            scope,
            kind: given.or(Some(kind)),
        },
        None => Name {
            block,
            name,
            tag,
            scope,
            kind: given,
        },
    })
}

/// What is known of a setting by its name or tag.
fn predefined(name: &str, tag: u64, scope: Scope) -> Option<Row> {
    let found = if tag == 0 {
        let index = PREDEFINED
            .binary_search_by_key(&key(name), |(key, _)| *key)
            .ok()?;
        PREDEFINED.get(index).filter(|(_, (other, ..))| *other == name)
    } else {
        PREDEFINED
            .iter()
            .find(|(_, (_, other, _, in_scope))| *other == tag && *in_scope == scope)
    };
    found.map(|(_, row)| *row)
}

/// `67` and `43.116` as tags; 0 for anything else.
fn tag(name: &str) -> u64 {
    let mut tag = 0_u64;
    let mut rest = name;
    // A number may have blanks and a sign in front.
    if rest.as_bytes().first().is_none_or(u8::is_ascii_alphabetic) {
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

#[cfg(test)]
mod tests {
    use super::super::budget::MAX_TEXT;
    use super::*;

    #[test]
    fn every_predefined_setting_is_found() {
        assert!(PREDEFINED.is_sorted_by(|(a, _), (b, _)| a < b));
        for (_, row) in PREDEFINED {
            assert_eq!(predefined(row.0, 0, Scope::Any), Some(*row));
        }
        assert_eq!(predefined("gateway7", 0, Scope::Any), None);
        assert_eq!(predefined("67", 67, Scope::Any).unwrap().0, "filename");
    }

    #[test]
    fn a_vlan_has_the_board_s_facts_under_its_own_name_for_as_long_as_it_is_there() {
        let facts = Facts {
            mac: [1, 2, 3, 4, 5, 6],
            lease: Some(Lease {
                dhcp: Options {
                    yiaddr: [192, 168, 7, 100].into(),
                    ..Options::default()
                },
                ..Lease::default()
            }),
            ..Facts::default()
        };
        let mut settings = Values::new(facts, Share::all());
        settings.add_vlan("net0-5");
        settings.add_vlan("net0-6");
        assert_eq!(settings.text("net0-5/mac"), "01:02:03:04:05:06");
        assert_eq!(settings.text("net0-5/ifname"), "net0-5");
        settings.remove_vlan("net0-5");
        assert_eq!(settings.text("net0-5/mac"), "");
        assert_eq!(settings.text("net0-6/ifname"), "net0-6");
        // A script's own blocks have no facts, whatever they are called.
        assert_eq!(settings.text("net0.dhcp/ip"), "192.168.7.100");
        for block in ["net0-5", "net9.dhcp", "mine.dhcp"] {
            let name = format!("{block}/x");
            let name = settings.name_to_store(&name).unwrap();
            settings.store_text(&name, "own").unwrap();
            assert_eq!(settings.text(&format!("{block}/x")), "own");
            for fact in ["ip", "mac", "ifname"] {
                assert_eq!(settings.text(&format!("{block}/{fact}")), "", "{block}");
            }
        }
    }

    #[test]
    fn blocks_have_a_bound_and_what_is_full_loses_nothing() {
        let mut settings = Values::new(Facts::default(), Share::all());
        let deep = "a.".repeat(MAX_BLOCKS);
        let failure = settings.name_to_store(&format!("{deep}/x")).unwrap_err();
        assert_eq!(failure.errno, Errno::NO_MEMORY);
        let name = settings.name_to_store("x").unwrap();
        settings.store_text(&name, "before").unwrap();
        let long = "y".repeat(MAX_TEXT + 1);
        assert!(settings.store_text(&name, &long).is_err());
        assert_eq!(settings.text("x"), "before");
    }

    #[test]
    fn what_is_set_again_keeps_no_more_than_it_says() {
        let share = Share::all();
        let mut settings = Values::new(Facts::default(), share.other());
        let long = "y".repeat(MAX_TEXT);
        let stored = |settings: &mut Values, n: usize, value: &str| {
            let name = format!("x{n}");
            let name = settings.name_to_store(&name).unwrap();
            settings.store_text(&name, value)
        };
        // As often as one likes, and each is short in the end.
        for n in 0..1000 {
            stored(&mut settings, n, &long).unwrap();
            stored(&mut settings, n, "short").unwrap();
        }
        let room: usize = settings.blocks[0]
            .entries
            .iter()
            .map(|entry| entry.raw.capacity())
            .sum();
        assert!(room <= 1000 * (5 + SLACK), "{room}");
        let kept = (1000..2000)
            .take_while(|n| stored(&mut settings, *n, &long).is_ok())
            .count();
        assert!((30..50).contains(&kept), "{kept} of 64 KiB");
        for n in 0..1000 + kept {
            stored(&mut settings, n, "").unwrap();
        }
        assert!(share.other().take(budget::MAX_KEPT).is_ok(), "all is given back");
    }
}
