//! What the operator asks for.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use boot::load::device_tree::Tree;
use boot::script::value::Type;
use boot::url::Url;
use smoltcp::time::Duration;
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

use crate::dhcp::Lease;
use crate::dns;
use crate::model::{MODELS, Model};
use crate::site::Site;
use crate::web;

pub(crate) const HELP: &str = "\
bramble-dryrun URL-or-file   what would a node boot? Asks real servers, boots nothing
bramble-dryrun --tree DIR    the same with a boot server's whole tree, which stands at the next server, and DHCP's answer
    --filename NAME   DHCP's boot file, as --set filename=NAME
    --serve PROTOCOL  serve the tree by http or by tftp only (default both)
    --board NAME      4b (default), 400, cm4, cm4s, 3b, 3b+, 3a+, cm3, cm3+, zero2w
    --mac ADDRESS     the node's MAC address
    --serial HEX      its serial number
    --ip ADDRESS[/N]  the address that DHCP gives it (default 10.0.2.15/24)
    --set NAME=VALUE  a setting of scripts, or what DHCP says: next-server, filename, hostname, domain, root-path,
                      dns, ntp, gateway, an option's number (209=x, 43.116=x, 175:hex=01:02), or bramble.NAME, as on
                      cmdline.txt; may be repeated
    --cmdline TEXT    what the board's cmdline.txt says: bramble.local=tryboot and the like
    --choose ITEM     chosen in the next menu that has an item of this name or label; may be repeated
    --head            fetch only the beginning of kernels and ramdisks, and their sizes
    --json            one JSON object a line
    --memory MIB      the node's memory (default 944)
    --dtb FILE        the node's device tree, as /sys/firmware/fdt has it: what it says is what the node knows
    --limit S         give up after S seconds (default 300)
    --patience S      give up when the node would still be waiting after S seconds (default 3600)
    --requests N      give up after N requests (default 1000)
exit status: 0 it would boot, 1 it would fail, 2 usage, 3 the script ended, 4 a shell, 5 reset, 6 power off,
             7 the local disk would boot
";

/// Settings that DHCP carries, their options, and how they are written.
const CARRIED: [(&str, u8, Type); 10] = [
    ("netmask", 1, Type::Ipv4),
    ("gateway", 3, Type::Ipv4),
    ("dns", 6, Type::Ipv4),
    ("hostname", 12, Type::String),
    ("domain", 15, Type::String),
    ("root-path", 17, Type::String),
    ("ntp", 42, Type::Ipv4),
    ("user-class", 77, Type::String),
    ("tftp-server", 66, Type::String),
    ("filename", 67, Type::String),
];
/// The boot file.
const FILENAME: u8 = 67;

/// The command line, read.
pub(crate) struct Options {
    pub(crate) model: &'static Model,
    pub(crate) mac: EthernetAddress,
    pub(crate) serial: u64,
    pub(crate) memory: usize,
    /// The board's own device tree.
    pub(crate) dtb: Option<Vec<u8>>,
    pub(crate) lease: Lease,
    /// `bramble.url`, if DHCP names another boot file.
    pub(crate) url: Option<String>,
    /// The directory to serve: the tree, or a local file's directory.
    pub(crate) site: Option<Site>,
    pub(crate) presets: Vec<(String, String)>,
    /// What cmdline.txt says.
    pub(crate) cmdline: String,
    pub(crate) choices: Vec<String>,
    pub(crate) heads: bool,
    pub(crate) json: bool,
    pub(crate) limit: std::time::Duration,
    pub(crate) patience: Duration,
    pub(crate) requests: usize,
}

/// The DHCP options beside the address.
#[derive(Default)]
struct Said {
    next_server: Option<Ipv4Address>,
    options: Vec<(u8, Vec<u8>)>,
}

/// A source, resolved.
type Located = (Option<String>, Option<PathBuf>, Option<Ipv4Address>);

/// What was written on the command line, each option by itself.
struct Given {
    model: Option<&'static Model>,
    mac: Option<EthernetAddress>,
    serial: Option<u64>,
    source: Option<String>,
    tree: Option<PathBuf>,
    /// Over HTTP, over TFTP.
    serve: Option<(bool, bool)>,
    dtb: Option<String>,
    address: Ipv4Cidr,
    /// In MiB.
    memory: Option<usize>,
    /// In seconds, as is `patience`.
    limit: u32,
    patience: u32,
    requests: usize,
    heads: bool,
    json: bool,
    choices: Vec<String>,
    presets: Vec<(String, String)>,
    cmdline: String,
    said: Said,
}

impl Given {
    /// Each option in turn; `None` when it only asked for help.
    fn read(arguments: &mut lexopt::Parser) -> Result<Option<Self>> {
        use lexopt::prelude::*;
        let mut given = Self {
            model: None,
            mac: None,
            serial: None,
            source: None,
            tree: None,
            serve: None,
            dtb: None,
            address: Ipv4Cidr::new(Ipv4Address::new(10, 0, 2, 15), 24),
            memory: None,
            limit: 300,
            patience: 3600,
            requests: 1000,
            heads: false,
            json: false,
            choices: Vec::new(),
            presets: Vec::new(),
            cmdline: String::new(),
            said: Said::default(),
        };
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("help") | Short('h') => return Ok(None),
                Long("board") => {
                    let name = arguments.value()?.string()?;
                    let names: Vec<&str> = MODELS.iter().map(|model| model.key).collect();
                    let known = MODELS.iter().find(|model| model.key == name);
                    let unknown = || format!("--board: no board {name}, only {}", names.join(", "));
                    given.model = Some(known.with_context(unknown)?);
                }
                Long("mac") => given.mac = Some(mac_address(&arguments.value()?.string()?)?),
                Long("serial") => {
                    let text = arguments.value()?.string()?;
                    let digits = text.trim_start_matches("0x");
                    let number = u64::from_str_radix(digits, 16);
                    given.serial = Some(
                        number.with_context(|| format!("--serial: {text} is not a hexadecimal number"))?,
                    );
                }
                Long("ip") => given.address = cidr(&arguments.value()?.string()?)?,
                Long("set") => {
                    let text = arguments.value()?.string()?;
                    let (name, value) = text
                        .split_once('=')
                        .with_context(|| format!("--set: {text} is not name=value"))?;
                    if !given.said.takes(name, value)? {
                        given.presets.push((name.to_owned(), value.to_owned()));
                    }
                }
                Long("cmdline") => given.cmdline = arguments.value()?.string()?,
                Long("tree") => given.tree = Some(PathBuf::from(arguments.value()?)),
                Long("filename") => {
                    given.said.takes("filename", &arguments.value()?.string()?)?;
                }
                Long("serve") => {
                    given.serve = Some(match &*arguments.value()?.string()? {
                        "both" => (true, true),
                        "http" => (true, false),
                        "tftp" => (false, true),
                        other => bail!("--serve: {other} is not http, tftp or both"),
                    });
                }
                Long("choose") => given.choices.push(arguments.value()?.string()?),
                Long("head") => given.heads = true,
                Long("json") => given.json = true,
                Long("memory") => given.memory = Some(arguments.value()?.parse().context("--memory")?),
                Long("dtb") => given.dtb = Some(arguments.value()?.string()?),
                Long("limit") => given.limit = arguments.value()?.parse().context("--limit")?,
                Long("patience") => given.patience = arguments.value()?.parse().context("--patience")?,
                Long("requests") => given.requests = arguments.value()?.parse().context("--requests")?,
                Value(value) if given.source.is_none() => given.source = Some(value.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(given))
    }

    /// What the options come to together.
    fn settled(self) -> Result<Options> {
        let Self {
            model,
            mac,
            serial,
            source,
            tree,
            serve,
            dtb,
            address,
            memory,
            limit,
            patience,
            requests,
            heads,
            json,
            choices,
            presets,
            cmdline,
            mut said,
        } = self;
        let dtb = dtb
            .map(|path: String| std::fs::read(&path).with_context(|| format!("--dtb: {path}")))
            .transpose()?;
        ensure!(
            dtb.is_none() || memory.is_none(),
            "--memory: the device tree (--dtb) says how much there is"
        );
        let memory: usize = memory.unwrap_or(944);
        ensure!((64..=4000).contains(&memory), "--memory: 64 to 4000 MiB");
        let own = dtb.as_deref().map(Own::of).transpose()?;
        let model = model
            .or(own.as_ref().and_then(|own| own.model))
            .unwrap_or(&MODELS[0]);
        let serial = serial
            .or(own.as_ref().and_then(|own| own.serial))
            .unwrap_or(0x1000_0000_0000_0001);
        let mac = mac.or(own.and_then(|own| own.mac));
        ensure!(tree.is_some() || serve.is_none(), "--serve is for a --tree");
        let server = router(address);
        let (url, root, host) = match (&source, tree) {
            (Some(source), None) => located(source, server)?,
            (None, Some(tree)) => {
                ensure!(tree.is_dir(), "--tree: {}: no such directory", tree.display());
                (None, Some(tree), said.next_server)
            }
            (Some(_), Some(_)) => bail!("--tree needs no URL or file: DHCP names the boot file (--filename)"),
            (None, None) => bail!("which URL, file or --tree?"),
        };
        let next_server = said.next_server.or(host).unwrap_or(server);
        // A file's directory has no host: it stands at the router. So does a tree that DHCP names no server for.
        let at = host.filter(|host| !host.is_unspecified()).unwrap_or(server);
        let (web, tftp) = serve.unwrap_or((true, true));
        let site = root.map(|root| {
            Site::new(&root, at, web, tftp).with_context(|| format!("{}: serving it", root.display()))
        });
        let named = said.options.iter().any(|(tag, _)| *tag == FILENAME);
        if let Some(url) = url.as_ref().filter(|_| !named) {
            said.options.push((FILENAME, url.clone().into_bytes()));
        }
        let mac = mac.unwrap_or_else(|| {
            let [a, b, c] = model.vendor;
            EthernetAddress([a, b, c, 0, 0, 1])
        });
        Ok(Options {
            model,
            mac,
            serial,
            memory: memory << 20,
            dtb,
            lease: Lease {
                address,
                server,
                next_server,
                options: said.options,
            },
            url: url.filter(|_| named),
            site: site.transpose()?,
            presets,
            cmdline,
            choices,
            heads,
            json,
            limit: std::time::Duration::from_secs(limit.into()),
            patience: Duration::from_secs(patience.into()),
            requests,
        })
    }
}

impl Options {
    /// Reads the command line; `None` when it only asked for help.
    pub(crate) fn parse(arguments: &mut lexopt::Parser) -> Result<Option<Self>> {
        Given::read(arguments)?.map(Given::settled).transpose()
    }
}

/// The board's facts from its device tree.
struct Own {
    model: Option<&'static Model>,
    serial: Option<u64>,
    mac: Option<EthernetAddress>,
}

impl Own {
    fn of(bytes: &[u8]) -> Result<Self> {
        let tree = match Tree::check(bytes) {
            Ok(tree) => tree,
            Err(why) => bail!("--dtb: {why}"),
        };
        ensure!(tree.memory().next().is_some(), "--dtb: names no memory");
        let serial = tree.serial_number();
        Ok(Self {
            model: tree.revision().and_then(Model::of),
            serial: serial.and_then(|serial| u64::from_str_radix(serial, 16).ok()),
            mac: tree.mac().map(EthernetAddress),
        })
    }
}

/// The menu's URL, which there always is; what is to be served, of a local file; the address of the host that a URL names.
fn located(source: &str, server: Ipv4Address) -> Result<Located> {
    if source.contains("://") {
        let host = Url::parse(source).ok().and_then(|url| {
            let literal = url.host().parse().ok();
            literal.or_else(|| dns::addresses(url.host()).first().copied())
        });
        return Ok((Some(source.to_owned()), None, host));
    }
    let path = Path::new(source);
    ensure!(path.exists(), "{source}: no such file, and a URL would have ://");
    ensure!(path.is_file(), "{source}: not a file");
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{source}: not a name for a URL"))?;
    let path = path.canonicalize()?;
    // A link is served where it was named.
    let directory = Path::new(source)
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let (directory, name) = if directory.join(name).canonicalize()? == path {
        (directory, name)
    } else {
        bail!("{source}: moved while it was read");
    };
    let (root, below) = served(directory).with_context(|| format!("{source}: serving its directory"))?;
    let url = format!("http://{server}{below}{}", web::encoded(name));
    Ok((Some(url), Some(root), None))
}

/// The directory to serve for a menu in `directory`, and the menu's place in it. Names in a menu are relative to the directory
/// above `pxelinux.cfg/`, so that one is served. A link counts where it was named.
fn served(directory: &Path) -> Result<(PathBuf, String)> {
    const MENUS: &str = "pxelinux.cfg";
    let is_menus = |path: &Path| path.file_name().is_some_and(|name| name == MENUS);
    let directory = match directory.file_name() {
        Some(_) => directory.to_owned(),
        // `.` and the like have no name as they are written.
        None => directory.canonicalize()?,
    };
    if !is_menus(&directory) {
        return Ok((directory, String::new()));
    }
    let above = directory.parent().filter(|above| !above.as_os_str().is_empty());
    Ok((above.unwrap_or(Path::new(".")).to_owned(), web::encoded(MENUS)))
}

impl Said {
    /// Whether DHCP carries the setting; otherwise scripts get it.
    fn takes(&mut self, text: &str, value: &str) -> Result<bool> {
        let (name, kind) = match text.split_once(':') {
            Some((name, kind)) => {
                let kind = Type::named(kind).with_context(|| format!("--set {text}: no type {kind}"))?;
                (name, Some(kind))
            }
            None => (text, None),
        };
        let wrong = || format!("--set {text}: {value} is not a value for it");
        if name == "next-server" {
            self.next_server = Some(value.parse().with_context(wrong)?);
            return Ok(true);
        }
        let (tag, inner, usual) = match CARRIED.iter().find(|(carried, ..)| *carried == name) {
            Some((_, tag, kind)) => (*tag, None, *kind),
            None => {
                let (outer, inner) = match name.split_once('.') {
                    Some((outer, inner)) => (outer, Some(inner)),
                    None => (name, None),
                };
                let (Ok(tag), Ok(inner)) = (outer.parse::<u8>(), inner.map(str::parse::<u8>).transpose())
                else {
                    return Ok(false);
                };
                (tag, inner, Type::String)
            }
        };
        ensure!(
            !matches!(tag, 0 | 51..=54 | 255),
            "--set {text}: the dry run's DHCP needs option {tag} itself"
        );
        let raw = kind.unwrap_or(usual).parse(value).ok().with_context(wrong)?;
        let old = self.options.iter().position(|(other, _)| *other == tag);
        let Some(inner) = inner else {
            let raw = (tag, raw);
            match old.and_then(|at| self.options.get_mut(at)) {
                Some(old) => *old = raw,
                None => self.options.push(raw),
            }
            return Ok(true);
        };
        let len = u8::try_from(raw.len()).ok().with_context(wrong)?;
        let part = [&[inner, len][..], &raw].concat();
        match old.and_then(|at| self.options.get_mut(at)) {
            Some((_, whole)) => whole.extend(part),
            None => self.options.push((tag, part)),
        }
        Ok(true)
    }
}

/// `b8:27:eb:01:02:03`, with dashes, or without either.
fn mac_address(text: &str) -> Result<EthernetAddress> {
    let wrong = || format!("--mac: {text} is not a MAC address");
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
    ensure!(digits.len() == 12 && digits.is_ascii(), wrong());
    let number = u64::from_str_radix(&digits, 16).with_context(wrong)?;
    let [_, _, mac @ ..] = number.to_be_bytes();
    ensure!(
        EthernetAddress(mac).is_unicast(),
        "--mac: {text} is not one host's address"
    );
    Ok(EthernetAddress(mac))
}

fn cidr(text: &str) -> Result<Ipv4Cidr> {
    let wrong = || format!("--ip: {text} is not an address");
    let (address, length) = text.split_once('/').unwrap_or((text, "24"));
    let length: u8 = length.parse().with_context(wrong)?;
    ensure!(
        (1..=30).contains(&length),
        "--ip: /{length} leaves no room for a router"
    );
    let address: Ipv4Address = address.parse().with_context(wrong)?;
    let usable = !(address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_loopback());
    ensure!(usable, "--ip: {text} is no host's address");
    Ok(Ipv4Cidr::new(address, length))
}

/// The gateway's address: the subnet's second, or its first when the node has that.
fn router(node: Ipv4Cidr) -> Ipv4Address {
    let network = u32::from(node.network().address());
    let second = Ipv4Address::from(network + 2);
    match second == node.address() {
        true => Ipv4Address::from(network + 1),
        false => second,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        let mut parser = lexopt::Parser::from_args(line.split(' '));
        Options::parse(&mut parser).map(|options| options.expect("no help"))
    }

    #[test]
    fn what_dhcp_says_and_what_scripts_are_told() {
        let options = parsed(
            "http://192.0.2.1/m --set hostname=n1 --set 43.116=a --set 43.117=bc --set role=web --set 175:hex=01:02",
        )
        .unwrap();
        assert_eq!(options.presets, [("role".into(), "web".into())]);
        assert_eq!(
            options.lease.options,
            [
                (12, b"n1".to_vec()),
                (43, b"\x74\x01a\x75\x02bc".to_vec()),
                (175, vec![1, 2]),
                (67, b"http://192.0.2.1/m".to_vec())
            ]
        );
        assert_eq!(options.lease.next_server, Ipv4Address::new(192, 0, 2, 1));
        assert_eq!(options.url, None);
        // A boot file of its own does not take the argument's place.
        let options = parsed("http://192.0.2.1/m --set filename=snponly.efi").unwrap();
        assert_eq!(options.url.as_deref(), Some("http://192.0.2.1/m"));
    }

    #[test]
    fn a_tree_stands_at_the_next_server_and_a_file_at_the_router() {
        for (line, next, at, file) in [
            ("--tree .", "10.0.2.2", "10.0.2.2", None),
            (
                "--tree . --filename a --filename b",
                "10.0.2.2",
                "10.0.2.2",
                Some("b"),
            ),
            (
                "--set next-server=192.0.2.1 --tree . --set filename=a",
                "192.0.2.1",
                "192.0.2.1",
                Some("a"),
            ),
            ("--tree . --set next-server=0.0.0.0", "0.0.0.0", "10.0.2.2", None),
            (
                "Cargo.toml --set next-server=192.0.2.1",
                "192.0.2.1",
                "10.0.2.2",
                Some("http://10.0.2.2/Cargo.toml"),
            ),
        ] {
            let options = parsed(line).unwrap();
            assert_eq!(options.url, None, "{line}");
            let (site, lease) = (options.site.unwrap(), options.lease);
            assert_eq!(lease.next_server.to_string(), next, "{line}");
            assert_eq!(site.address.to_string(), at, "{line}");
            assert!(site.web.is_some() && site.tftp.is_some(), "{line}");
            let file = file.map(|file| (FILENAME, file.as_bytes().to_vec()));
            assert_eq!(lease.options, Vec::from_iter(file), "{line}");
        }
    }

    #[test]
    fn a_menu_of_a_tree_is_served_from_above_its_directory() {
        for (directory, root, below) in [
            ("tree", "tree", ""),
            ("tree/pxelinux.cfg", "tree", "/pxelinux.cfg"),
            ("pxelinux.cfg", ".", "/pxelinux.cfg"),
            ("/srv/pxelinux.cfg", "/srv", "/pxelinux.cfg"),
            ("pxelinux.cfg/more", "pxelinux.cfg/more", ""),
        ] {
            let served = served(Path::new(directory)).unwrap();
            assert_eq!(served, (root.into(), below.into()), "{directory}");
        }
        let here = Path::new(".").canonicalize().unwrap();
        assert_eq!(served(Path::new(".")).unwrap(), (here, String::new()));
    }

    #[test]
    fn help_has_every_exit_status() {
        let (_, statuses) = HELP.split_once("exit status: ").unwrap();
        for status in 0..=7 {
            assert!(statuses.contains(&format!("{status} ")), "{status}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for (line, reason) in [
            ("http://h/ --board 5", "--board: no board 5"),
            ("http://h/ --mac b8:27", "--mac: b8:27 is not"),
            ("http://h/ --ip 10.0.0.1/31", "--ip: /31"),
            ("http://h/ --set 53=x", "needs option 53"),
            ("http://h/ --set next-server=x", "is not a value"),
            ("http://h/ --set x", "not name=value"),
            ("no/such/file", "no such file"),
            ("http://h/ --memory 1", "64 to 4000"),
            ("--tree no/such/tree", "no such directory"),
            ("--tree Cargo.toml", "no such directory"),
            ("--tree . http://h/", "--tree needs no URL"),
            ("--tree . --serve nfs", "--serve: nfs is not"),
            ("http://h/ --serve tftp", "--serve is for a --tree"),
            ("--filename pxelinux.0", "which URL, file or --tree?"),
            ("http://h/ --dtb no/such/file", "--dtb: no/such/file"),
            ("http://h/ --dtb Cargo.toml", "--dtb: is not a device tree"),
        ] {
            let error = parsed(line).err().expect(line);
            assert!(format!("{error:#}").contains(reason), "{line}: {error:#}");
        }
    }
}
