//! What iPXE scripts do, rule by rule and command by command: cases with their expected traces, in `scripts/`.

use std::cell::RefCell;
use std::fmt::Write as _;

use boot::fetch::{Error, Reason, Request, Response, TftpError};
use boot::lease::{Fixed, Lease, Options};
use boot::load::{self, Parts};
use boot::menu::{Action, Chosen, Menu};
use boot::observe::{Booting, Event};
use boot::script::{self, Outcome, Script, World};
use boot::url::{Scheme, Url};
use boot::vlan::Tag;
use boot::{Board, Handoff, Region, Seeds, ntp, resolve};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};
use tests::cases::{self, Case};
use tests::payload;

/// Where the script under test comes from.
const HOME: &str = "http://h/dir/test.ipxe";
const BASE: u64 = 0x1000;

/// What a case finds, and what it leaves behind.
struct Bench {
    case: Case,
    now: i64,
    fixed: Fixed,
    trace: RefCell<Trace>,
}

#[derive(Default)]
struct Trace {
    lines: Vec<String>,
    /// The line on the terminal that has no end yet.
    open: String,
}

impl Trace {
    fn say(&mut self, line: String) {
        if !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            self.lines.push(format!("print- {}", shown(&open)));
        }
        self.lines.push(line);
    }
}

fn shown(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\x1b' => "\\e".into(),
            '\x08' => "\\b".into(),
            '\r' => "\\r".into(),
            c => c.to_string(),
        })
        .collect()
}

impl Bench {
    fn download(&mut self, request: &Request<'_>, into: &mut [u8]) -> Result<Response, Error> {
        // A download takes time.
        self.now += 1;
        let mut url = request.url.clone();
        if let Some(to) = self.case.redirects.get(url.target()) {
            url = url.join(to).unwrap();
        }
        let fail = |reason| Error {
            method: request.method,
            url: url.clone(),
            reason,
        };
        let unauthorized = url.path().starts_with("/private") && url.credentials().is_none();
        let answer = if unauthorized {
            Err(401)
        } else {
            self.case.answer(url.target())
        };
        let body = answer.map_err(|code| {
            fail(match (url.scheme(), code) {
                (Scheme::Tftp, 404) => Reason::Tftp(TftpError::Server {
                    code: 1,
                    text: String::new(),
                }),
                (Scheme::Tftp, 408) => Reason::Tftp(TftpError::NoAnswer),
                (Scheme::Tftp, code) => Reason::Tftp(TftpError::Server {
                    code,
                    text: String::new(),
                }),
                (Scheme::Http, code) => Reason::Status {
                    code,
                    phrase: String::new(),
                },
            })
        })?;
        let space = into.len();
        let Some(place) = into.get_mut(..body.len()) else {
            let len = Some(body.len() as u64);
            return Err(fail(Reason::TooLarge { len, space }));
        };
        place.copy_from_slice(&body);
        let len = body.len();
        Ok(Response { url, len })
    }

    fn pick(&mut self, menu: &Menu) -> Chosen {
        let Some(choice) = self.case.choices.pop_front() else {
            return match menu.timeout {
                Some(_) => Chosen::Entry {
                    entry: menu.default.entry,
                    by_person: false,
                },
                None => Chosen::Unattended,
            };
        };
        if choice == "esc" {
            return Chosen::Left;
        }
        let found = menu.entries.iter().position(|entry| entry.name == choice);
        Chosen::Entry {
            entry: found.expect("an item of that name"),
            by_person: true,
        }
    }

    /// What a request led to, as the trace has it.
    fn record_request(&mut self, request: &Request<'_>, result: &Result<Response, Error>) {
        let mut line = format!("{} {}", request.method, request.url);
        if let Some(form) = request.form {
            let _ = write!(line, " [{form}]");
        }
        for (name, value) in request.headers {
            let _ = write!(line, " {{{name}: {value}}}");
        }
        if let Some(credentials) = request.url.credentials() {
            let _ = write!(line, " as {}", String::from_utf8_lossy(&credentials));
        }
        match result {
            Ok(response) if response.url != *request.url => {
                let _ = write!(line, " -> {}", response.url);
            }
            Ok(_) => {}
            Err(error) => {
                let _ = write!(line, " {}", error.reason);
            }
        }
        self.trace.get_mut().say(line);
    }

    /// What a menu led to.
    fn record_menu(&mut self, menu: &Menu, chosen: Chosen) {
        let mut line = format!("menu {}:", menu.title().unwrap_or_default());
        for (index, entry) in menu.entries.iter().enumerate() {
            let mark = if index == menu.default.entry { "*" } else { "" };
            let key = entry
                .hot_key
                .map_or(String::new(), |key| format!("[{}]", char::from(key)));
            let _ = match entry.action {
                Action::Gap => write!(line, " -{}-", entry.shown()),
                _ => write!(line, " {key}{}={}{mark}", entry.name, entry.shown()),
            };
        }
        if let Some(timeout) = menu.timeout {
            let _ = write!(line, " ({} ms)", timeout.total_millis());
        }
        self.trace.get_mut().say(format!(
            "{line} -> {}",
            match chosen {
                Chosen::Entry { entry, .. } => menu.entries[entry].name.clone(),
                Chosen::Left => "left".into(),
                Chosen::Unattended => "nobody".into(),
            }
        ));
    }
}

impl World for Bench {
    fn now(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    fn rest(&mut self, deadline: Instant) {
        self.now = self.now.max(deadline.total_millis());
    }

    fn key(&mut self, deadline: Instant) -> Option<u8> {
        let deadline = deadline.total_millis();
        match self.case.keys.front() {
            Some((at, _)) if *at <= deadline => {
                let (at, key) = self.case.keys.pop_front().unwrap();
                self.now = self.now.max(at);
                Some(key)
            }
            _ => {
                self.now = self.now.max(deadline);
                None
            }
        }
    }

    fn print(&mut self, _: &str) {}

    fn fetch(&mut self, request: &Request<'_>, into: &mut [u8]) -> Result<Response, Error> {
        let result = self.download(request, into);
        self.record_request(request, &result);
        result
    }

    fn load(&mut self, parts: &mut Parts, memory: Region<'_>) -> Result<Handoff, load::Error> {
        let tree = payload::device_tree();
        let handoff = load::load(parts, memory, &board(&tree), &Seeds::default(), &mut |_| {})?;
        self.event(&Event::Boot(&Booting::new(parts, &handoff)));
        Ok(handoff)
    }

    fn choose(&mut self, menu: &Menu) -> Chosen {
        let chosen = self.pick(menu);
        self.record_menu(menu, chosen);
        chosen
    }

    fn lease(&mut self) -> Option<Lease> {
        let lease = (!self.case.no_lease).then(lease);
        self.fixed.over(lease.as_ref())
    }

    fn dhcp(&mut self, _: Duration) -> bool {
        self.fixed = Fixed::default();
        !self.case.no_lease
    }

    fn resolve(&mut self, host: &str) -> Result<Ipv4Address, resolve::Error> {
        match host {
            "boot" => Ok(Ipv4Address::new(192, 168, 7, 2)),
            "dark" => Ok(Ipv4Address::new(192, 168, 7, 99)),
            _ if host.parse::<Ipv4Address>().is_ok() => Ok(host.parse().unwrap()),
            _ => Err(resolve::Error::NotFound(host.into())),
        }
    }

    fn fix(&mut self, fixed: &Fixed) {
        let mut line = String::from("fix");
        if let Some(address) = fixed.address {
            let _ = write!(line, " {address}");
        }
        if let Some(router) = fixed.router {
            let _ = write!(line, " gw {router}");
        }
        for server in fixed.dns.iter().flatten() {
            let _ = write!(line, " dns {server}");
        }
        self.trace.get_mut().say(line);
        self.fixed = fixed.clone();
    }

    fn select(&mut self, tag: Option<Tag>) -> bool {
        let line = match tag {
            Some(Tag { id, priority }) => format!("vlan {id} {priority}"),
            None => "no vlan".into(),
        };
        self.trace.get_mut().say(line);
        self.fixed = Fixed::default();
        true
    }

    fn link(&mut self) -> bool {
        !self.case.no_link
    }

    fn echo(&mut self, host: Ipv4Address, sequence: u16, _: usize, patience: Duration) -> bool {
        // The third is always lost, and one host is dark.
        let back = sequence != 3 && host.octets()[3] != 99;
        self.now += if back { 1 } else { patience.total_millis() as i64 };
        back
    }

    fn ntp(&mut self, server: Ipv4Address) -> Result<u64, ntp::Error> {
        match server.octets()[3] {
            99 => Err(ntp::Error::NoAnswer),
            98 => Err(ntp::Error::Kiss("RATE".into())),
            _ => Ok(1_795_842_000),
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.trace.get_mut().say(format!("bramble {name}={value}"));
    }

    fn event(&mut self, event: &Event<'_>) {
        let trace = self.trace.get_mut();
        match event {
            Event::Command { line, words, .. } if self.case.commands => {
                trace.say(format!("command {line} {}", words.join("_")));
            }
            Event::Command { .. } | Event::Failed(_) => {}
            Event::Print(text) => {
                let mut parts = text.split('\n');
                trace.open.push_str(parts.next().unwrap_or_default());
                for part in parts {
                    let line = std::mem::replace(&mut trace.open, part.into());
                    trace.lines.push(format!("print {}", shown(&line)));
                }
            }
            Event::Boot(boot) => {
                // What the firmware of this board adds is in each.
                let command_line = boot.command_line.trim_end_matches("coherent_pool=1M").trim_end();
                let mut line = match command_line {
                    long if long.len() > 200 => format!("boot {} [{} bytes]", boot.kernel, long.len()),
                    short => format!("boot {} [{short}]", boot.kernel),
                };
                for initrd in &boot.initrds {
                    let _ = write!(line, " {initrd}");
                }
                if let Some(url) = boot.device_tree {
                    let _ = write!(line, " fdt {url}");
                }
                trace.say(line);
            }
            // The lower layers tell of these, which the bench stands in for.
            Event::Asking(_)
            | Event::Answered(_)
            | Event::Menu(_)
            | Event::Chosen(..)
            | Event::EntryFailed(_)
            | Event::AttemptFailed(_) => {}
        }
    }
}

fn lease() -> Lease {
    let list = |options: &[(u8, &[u8])]| {
        options
            .iter()
            .map(|(tag, value)| (*tag, value.to_vec()))
            .collect()
    };
    Lease {
        address: Ipv4Cidr::new(Ipv4Address::new(192, 168, 7, 100), 24),
        server: Ipv4Address::new(192, 168, 7, 1),
        router: Some(Ipv4Address::new(192, 168, 7, 254)),
        dhcp: Options {
            yiaddr: Ipv4Address::new(192, 168, 7, 100),
            siaddr: Ipv4Address::new(192, 168, 7, 9),
            list: list(&[
                (1, &[255, 255, 255, 0]),
                (3, &[192, 168, 7, 254]),
                (6, &[192, 168, 7, 53, 9, 9, 9, 9]),
                (12, b"node7"),
                (15, b"lab.example"),
                (17, b"nfs:/srv/root"),
                (26, &[5, 220]),
                (43, b"\x74\x05vlan5\xff"),
                (54, &[192, 168, 7, 1]),
                (67, b"boot.ipxe"),
                (175, &[1, 1, 0xff, 0xb0, 1, 1]),
                (209, b"cfg/${hostname}"),
                (224, &[0xc3, 0xa9, 0]),
            ]),
        },
        proxy: Some(Options {
            siaddr: Ipv4Address::new(192, 168, 7, 8),
            list: list(&[(54, &[192, 168, 7, 8]), (66, b"tftp"), (67, b"pxelinux.0")]),
            ..Options::default()
        }),
        ..Lease::default()
    }
}

/// The node of all cases, with this device tree.
fn board(tree: &[u8]) -> Board<'_> {
    Board {
        model: "Raspberry Pi 4 Model B",
        revision: 0x00c0_3130,
        serial: 0x1000_0000_e0ff_06da,
        mac: EthernetAddress([0xdc, 0xa6, 0x32, 0xec, 0xfc, 0x3c]),
        uart: None,
        device_tree: Some(tree),
        handed_over: None,
    }
}

/// Runs a case and returns its trace.
fn run(case: Case) -> Vec<String> {
    let text = case.text();
    let mut bench = Bench {
        case,
        now: 0,
        fixed: Fixed::default(),
        trace: RefCell::default(),
    };
    let tree = payload::device_tree();
    let script = Script {
        url: Url::parse(HOME).unwrap(),
        text: text.into_bytes(),
    };
    let mut memory = vec![0; 12 << 20];
    let region = Region::new(BASE, &mut memory).unwrap();
    let result = script::run(
        script,
        region,
        &board(&tree),
        &boot::Settings::default(),
        &mut bench,
    );
    let mut trace = bench.trace.into_inner();
    let end = match result {
        Ok(Outcome::Boot(handoff)) => {
            let kernel = &memory[(handoff.entry - BASE) as usize..];
            assert_eq!(&kernel[56..60], b"ARM\x64", "a kernel at its entry");
            "handoff".into()
        }
        Ok(Outcome::Reset) => "reset".into(),
        Ok(Outcome::PowerOff) => "power off".into(),
        Err(script::Error::Ended(_) | script::Error::EndedInTrouble(_)) => "ended".into(),
        Err(script::Error::Failed(failure) | script::Error::Left(failure)) => {
            format!("failed {failure}").replace("http://h/dir/", "")
        }
    };
    trace.say(end);
    trace.lines
}

/// Runs a file of cases: how many there are, and how many differ.
fn check(name: &str) -> (usize, usize) {
    let cases = cases::file(name);
    let count = cases.len();
    let mut wrong = 0;
    for case in cases {
        let (title, expected) = (case.title.clone(), case.trace.clone());
        let trace = run(case);
        if trace != expected {
            wrong += 1;
            println!("{name}.txt: {title}");
            for line in &expected {
                println!("  expected > {line}");
            }
            for line in &trace {
                println!("  got      > {line}");
            }
        }
    }
    (count, wrong)
}

#[test]
fn every_rule_and_command_has_its_trace() {
    let (mut count, mut wrong) = (0, 0);
    for name in cases::FILES.iter().chain(&["bounds"]) {
        let (cases, differ) = check(name);
        (count, wrong) = (count + cases, wrong + differ);
    }
    assert_eq!(wrong, 0, "{wrong} of {count} cases differ");
    assert!(count >= 300, "only {count} cases");
}
