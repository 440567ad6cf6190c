//! After any one hostile answer the node boots the honest entry within `boot::patience::COMES_BACK`: answers by the thousand, in whole
//! sessions with nobody at the terminal.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use boot::patience::COMES_BACK;
use boot::{Clock as _, Ending, Settings};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;
use tests::{
    Answer, Datagram, Dns, Http, Mdns, Node, Ntp, Proxy, Random, Reply, Service, Site, Tftp, seeds, site,
};

use crate::stranger;

/// How many answers, when not the number in [`VARIABLE`].
const GENERATED: u64 = 150;
/// Set by `cargo xtask campaign hostile`.
const VARIABLE: &str = "BRAMBLE_HOSTILE";
/// A node that rests in its waits: what is tested is minutes and hours.
const REST: Duration = Duration::from_millis(200);
/// A board that resets more often in one session does nothing else.
const MOST_RESETS: u32 = 100;
/// Heap of the kernel's 8 MiB that one answer may take.
const MOST_HEAP: usize = 6 << 20;

/// What the honest servers have, and how the node comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    /// A menu that boots at once.
    Menu,
    /// A menu that counts down.
    Clock,
    /// A menu without a time, for which the operator has set one.
    Untimed,
    Script,
    /// A script that asks for the time first.
    Ntp,
    /// The web server's name is asked of a DNS server, or of everybody.
    Dns,
    Mdns,
    Tftp,
    /// No boot file: the node searches.
    Search,
    /// The boot file is a proxy's.
    Proxy,
}

const HOMES: [Home; 10] = [
    Home::Menu,
    Home::Clock,
    Home::Untimed,
    Home::Script,
    Home::Ntp,
    Home::Dns,
    Home::Mdns,
    Home::Tftp,
    Home::Search,
    Home::Proxy,
];

/// What is answered once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Menu,
    Script,
    /// DHCP names the stranger's own server, which has a script or a menu.
    Elsewhere,
    Dhcp,
    Http,
    Datagram,
}

/// A service whose first answers are a stranger's.
struct Once<S> {
    honest: S,
    spoil: Option<(u32, Random)>,
}

impl<S: Service> Service for Once<S> {
    fn datagram(
        &mut self,
        now: Instant,
        address: Ipv4Address,
        datagram: &Datagram,
    ) -> Vec<(Duration, Datagram)> {
        let mut answers = self.honest.datagram(now, address, datagram);
        if let Some((left @ 1.., random)) = &mut self.spoil {
            for (_, answer) in &mut answers {
                *left = left.saturating_sub(1);
                let honest = answer.payload.clone();
                stranger::datagram(random, &mut answer.payload);
                // With the head of TFTP's DATA as it was, the rest is a menu of the stranger's that names honest files: what it
                // boots is what it says, because nothing is signed.
                if honest.starts_with(&[0, 3]) && answer.payload.get(..4) == honest.get(..4) {
                    answer.payload = honest;
                }
            }
        }
        answers
    }

    fn due(&mut self, now: Instant) -> Vec<Datagram> {
        self.honest.due(now)
    }

    fn next(&self) -> Option<Instant> {
        self.honest.next()
    }
}

/// The text that the honest server has.
fn text(home: Home) -> &'static str {
    match home {
        Home::Clock => {
            "UI menu.c32\nTIMEOUT 50\nDEFAULT d\nLABEL d\nLINUX Image\nINITRD initrd.img\nAPPEND root=/dev/ram0\n"
        }
        Home::Untimed => {
            "UI menu.c32\nLABEL d\nMENU DEFAULT\nLINUX Image\nINITRD initrd.img\nAPPEND root=/dev/ram0\n"
        }
        Home::Script => {
            "#!ipxe\niseq ${platform} efi || exit 1\nimgfree\nkernel Image root=/dev/ram0\ninitrd initrd.img\nboot\n"
        }
        Home::Ntp => {
            "#!ipxe\nntp 192.168.7.4 || exit 1\nimgfree\nkernel Image root=/dev/ram0\ninitrd initrd.img\nboot\n"
        }
        _ => site::MENU_TEXT,
    }
}

/// The path of the text on the web server.
fn path(home: Home) -> &'static str {
    match home {
        Home::Search => "/pxelinux.cfg/default",
        _ => "/boot/menu",
    }
}

/// A bench of this kind on which services answer honestly, but for so many first answers of all that are datagrams.
fn bench(home: Home, spoil: Option<(u32, Random)>) -> (Site, Settings) {
    let mut site = Site::with_payload(1, 600, 100);
    site.node = Node::with_memory(16 << 20);
    let once = |kind: Home| spoil.clone().filter(|_| kind == home);
    site.lan.rest_long(REST);
    let dns = Dns::new()
        .name("boot.example.org", Answer::A(vec![site::HTTP.into()]))
        .name("silent.example.org", Answer::Silence);
    let dns = Once {
        honest: dns,
        spoil: once(Home::Dns),
    };
    site.lan.serve([192, 168, 7, 3], dns);
    let ntp = Once {
        honest: Ntp::new(1_795_842_000),
        spoil: once(Home::Ntp),
    };
    site.lan.serve([192, 168, 7, 4], ntp);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.options.push((6, vec![192, 168, 7, 3]));
    match home {
        Home::Dns => dhcp.file = "http://boot.example.org/boot/menu".into(),
        Home::Mdns => {
            dhcp.file = "http://boot.local/boot/menu".into();
            let mdns = Once {
                honest: Mdns::new("boot.local", site::HTTP),
                spoil: once(Home::Mdns),
            };
            site.lan.serve([192, 168, 7, 5], mdns);
        }
        Home::Tftp => {
            dhcp.file = "tftp://192.168.7.6/boot/menu".into();
            let tftp = Tftp::new()
                .file("boot/menu", text(home))
                .file("boot/Image", site.kernel.clone())
                .file("boot/initrd.img", site.initrd.clone());
            site.lan.serve(
                [192, 168, 7, 6],
                Once {
                    honest: tftp,
                    spoil: once(Home::Tftp),
                },
            );
        }
        Home::Search => {
            dhcp.file.clear();
            dhcp.next_server = site::HTTP.into();
            site.route("/Image", [Reply::ok(site.kernel.clone())]);
            site.route("/initrd.img", [Reply::ok(site.initrd.clone())]);
        }
        Home::Proxy => {
            dhcp.file.clear();
            let proxy = Once {
                honest: Proxy::new(site::MENU),
                spoil: once(Home::Proxy),
            };
            site.lan.serve([192, 168, 7, 7], proxy);
        }
        _ => {}
    }
    drop(dhcp);
    site.route(path(home), [Reply::ok(text(home))]);
    let settings = Settings {
        menu_timeout: (home == Home::Untimed).then(|| Duration::from_secs(20)),
        ..Settings::default()
    };
    (site, settings)
}

/// The command line of each home's honest boot, and when it boots.
fn honest(home: Home) -> &'static (String, Duration) {
    static ALL: OnceLock<Vec<(Home, (String, Duration))>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let boots = |home| {
            let (mut site, settings) = bench(home, None);
            let (line, _) = boots(&mut site, &settings);
            (home, (line, site.lan.now() - Instant::ZERO))
        };
        HOMES.into_iter().map(boots).collect()
    });
    let found = all.iter().find(|(other, _)| *other == home);
    &found.expect("all homes are there").1
}

/// Runs the node until it boots, resets and all: its command line, and how often it has reset. What it boots is what was served.
fn boots(site: &mut Site, settings: &Settings) -> (String, u32) {
    for resets in 0..MOST_RESETS {
        match site.node.run(&site.lan, settings) {
            Ending::Boot(handoff, _) => {
                let loaded = site.inspect(&handoff);
                assert_eq!(site.node.at(handoff.entry)[..600], site.kernel[..], "the kernel");
                assert_eq!(loaded.initrd, site.initrd, "the initrd");
                return (loaded.bootargs, resets);
            }
            Ending::Reset(_) => site.lan.kick(),
            Ending::PowerOff => panic!("it has switched itself off"),
            Ending::Local(way) => panic!("nobody allowed it, and it goes to {way}"),
        }
    }
    panic!("it does nothing but reset");
}

/// The stranger's own server, with what a text of his may lead to.
fn attach_stranger(site: &Site, text: Option<String>) {
    let server = site.lan.attach(Http::new(stranger::STRANGER));
    let mut server = server.borrow_mut();
    let endless = Reply::ok(vec![b'x'; 300 << 10]).slow(1100, Duration::from_secs(14));
    let none = Reply::status("404 Not Found", "");
    server.route("/endless", [endless.claiming(1 << 40), none.clone()]);
    server.route("/round", [Reply::redirect(302, "http://192.168.7.66/round")]);
    server.route(
        "/round-again",
        [Reply::ok("#!ipxe\nchain http://192.168.7.66/round-again\n")],
    );
    server.route("/slow", [none.clone().after(Duration::from_secs(100))]);
    server.route("/text", text.map(Reply::ok).into_iter().chain([none]));
}

/// The session that `seed` names: what was answered, and how long it took. A text that is alone is shown.
fn session(seed: u64, alone: bool) -> (Home, Kind, Duration, u32) {
    let random = &mut Random::new(seed);
    let home = HOMES[random.below(HOMES.len())];
    let expected = honest(home);
    let over_http = home != Home::Tftp;
    let in_datagrams = matches!(
        home,
        Home::Dns | Home::Mdns | Home::Tftp | Home::Ntp | Home::Proxy
    );
    let kind = match random.below(20) {
        0..5 if over_http => Kind::Menu,
        5..11 if over_http => Kind::Script,
        11..13 if over_http => Kind::Http,
        13..16 if in_datagrams => Kind::Datagram,
        16..18 => Kind::Elsewhere,
        _ => Kind::Dhcp,
    };
    let spoil = (kind == Kind::Datagram).then(|| (1 + random.below(3) as u32, random.clone()));
    let (mut site, settings) = bench(home, spoil);
    site.lan.limit(COMES_BACK);
    site.route(
        "/waits",
        [Reply::ok(
            "UI menu.c32\nLABEL x\nLINUX Image\nINITRD initrd.img\n",
        )],
    );
    let menu_or_script = |random: &mut Random| match random.below(3) {
        0 => stranger::menu(random),
        _ => stranger::script(random),
    };
    let honest_text = Reply::ok(text(home));
    let mut elsewhere = None;
    let told = |text: String| {
        if alone {
            println!("{kind:?} for {home:?}:\n{text}");
        }
        text
    };
    match kind {
        Kind::Menu => site.route(path(home), [Reply::ok(told(stranger::menu(random))), honest_text]),
        Kind::Script => site.route(
            path(home),
            [Reply::ok(told(stranger::script(random))), honest_text],
        ),
        Kind::Http => {
            let answer = Reply::raw(stranger::http(random));
            let answer = match random.below(4) {
                0 => answer.slow(
                    3 + random.below(2000),
                    Duration::from_secs(1 + random.below(14) as u64),
                ),
                1 => answer.stalled(random.below(100)),
                2 => answer.after(Duration::from_secs(random.below(400) as u64)),
                _ => answer,
            };
            let honest_kernel = Reply::ok(site.kernel.clone());
            match random.below(3) {
                0 if home != Home::Search => site.route("/boot/Image", [answer, honest_kernel]),
                _ => site.route(path(home), [answer, honest_text]),
            }
        }
        Kind::Elsewhere => {
            elsewhere = Some(told(menu_or_script(random)));
            let mut dhcp = site.dhcp.borrow_mut();
            let file = std::mem::replace(&mut dhcp.file, "http://192.168.7.66/text".into());
            drop(dhcp);
            let dhcp = site.dhcp.clone();
            site.lan
                .at(Duration::from_millis(310), move || dhcp.borrow_mut().file = file);
        }
        Kind::Dhcp => {
            let (first, end) = [(0, 1), (0, 2), (1, 2), (0, 3)][random.below(4)];
            let (random, mut count) = (random.clone(), 0);
            site.dhcp.borrow_mut().tamper = Some(Box::new(move |reply| {
                if (first..end).contains(&count) {
                    // What was offered is what is granted.
                    stranger::dhcp(&mut random.clone(), reply);
                }
                count += 1;
            }));
        }
        Kind::Datagram => {}
    }
    attach_stranger(&site, elsewhere);
    let (line, resets) = crate::held_by(MOST_HEAP, || boots(&mut site, &settings));
    assert_eq!(line, expected.0, "the command line");
    (home, kind, site.lan.now() - Instant::ZERO, resets)
}

#[test]
fn after_any_one_hostile_answer_the_honest_entry_boots() {
    let seeds = seeds::range(VARIABLE, GENERATED);
    let count = seeds.end - seeds.start;
    // Before the threads, which would wait for each other.
    let _ = honest(Home::Menu);
    let results = seeds::each(seeds, |seed| {
        catch_unwind(AssertUnwindSafe(|| session(seed, count == 1))).map_err(|why| {
            let text = why.downcast_ref::<String>().cloned();
            text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_string()))
                .unwrap_or_default()
        })
    });
    let failed = results
        .iter()
        .filter_map(|(seed, result)| Some((seed, result.as_ref().err()?)));
    let failed: Vec<String> = failed
        .map(|(seed, why)| format!("seed {seed}: {why:.300}"))
        .collect();
    // What each kind brought about, so that a generator that does no harm is noticed.
    let mut told: BTreeMap<Kind, (u64, u64, u32, Duration)> = BTreeMap::new();
    for (home, kind, time, resets) in results.iter().filter_map(|(_, result)| result.as_ref().ok()) {
        let (all, late, reset, longest) = told.entry(*kind).or_default();
        *all += 1;
        *late += u64::from(*time > honest(*home).1 + Duration::from_millis(400));
        *reset += resets;
        *longest = (*longest).max(*time);
    }
    for (kind, (all, late, resets, longest)) in &told {
        println!(
            "{kind:?}: {all} answers, {late} in the way, {resets} resets, at most {} min",
            longest.secs() / 60
        );
    }
    assert!(
        failed.is_empty(),
        "{} of {count} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    if count >= GENERATED {
        let late: u64 = told.values().map(|(_, late, ..)| late).sum();
        assert!(
            late * 2 > count && told.len() == 6,
            "{late} of {count} were in the way: {told:?}"
        );
    }
}
