//! What a stranger on the LAN cannot do: he hears broadcasts, and sends what he likes; all servers are honest.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use boot::Clock;
use boot::url::Url;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::socket::tcp as socket;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{ArpOperation, EthernetAddress, Icmpv4Repr, IpCidr, Ipv4Address, TcpControl};
use tests::stranger::{arp, icmp, tcp, udp};
use tests::{
    Answer, Between, Dns, Http, Lan, Link, Random, Reply, Site, Stranger, Tftp, leased, payload, site,
};

/// The address that the tests' DHCP server gives first.
const NODE: Ipv4Address = Ipv4Address::new(192, 168, 7, 100);

/// The `n`th of 150 hosts that are not there.
fn made_up(n: u64) -> (EthernetAddress, Ipv4Address) {
    let last = 101 + (n % 150) as u8;
    (
        EthernetAddress([2, 1, 0, 0, last, 9]),
        Ipv4Address::new(192, 168, 7, last),
    )
}

/// A second web server.
const SECOND: [u8; 4] = [192, 168, 7, 9];

/// How long a boot of 8 MB from two servers takes, in milliseconds, with that much one way, an answer to each request after `think`,
/// and a flood of what `mouth` says, each `pause`, for a minute.
fn flooded(
    one_way: u64,
    think: u64,
    pause: Duration,
    mouth: impl FnMut(u64) -> Vec<Vec<u8>> + 'static,
) -> u64 {
    let mut site = Site::with_payload(1, 8 << 20, 200_000);
    site.lan.link(Link {
        latency: Duration::from_micros(one_way),
        ..Link::default()
    });
    let think = Duration::from_millis(think);
    let (kernel, initrd) = (site.kernel.clone(), site.initrd.clone());
    let menu = "LABEL a\nLINUX Image\nINITRD http://192.168.7.9/initrd.img\n";
    site.route("/boot/menu", [Reply::ok(menu).after(think)]);
    site.route("/boot/Image", [Reply::ok(kernel).after(think)]);
    let second = site.lan.attach(Http::new(SECOND));
    second
        .borrow_mut()
        .route("/initrd.img", [Reply::ok(initrd).after(think)]);
    if pause > Duration::ZERO {
        site.lan
            .attach(Stranger::flooding(pause, Duration::from_secs(60), mouth));
    }
    site.boots();
    site.lan.now().total_millis().cast_unsigned()
}

fn nothing(_: u64) -> Vec<Vec<u8>> {
    Vec::new()
}

#[test]
fn questions_of_strangers_do_not_cost_a_node_its_neighbour() {
    for (one_way, think, pause) in [(200, 0, 25), (2000, 0, 25), (2000, 0, 500), (200, 50, 1000)] {
        let calm = flooded(one_way, think, Duration::ZERO, nothing);
        for operation in [ArpOperation::Request, ArpOperation::Reply] {
            let flood = flooded(one_way, think, Duration::from_micros(pause), move |n| {
                let (mac, address) = made_up(n);
                vec![arp(operation, mac, address, NODE)]
            });
            assert!(
                flood < calm + 1000,
                "{one_way} us one way, {think} ms, {operation:?} each {pause} us: {flood} ms in place of {calm}"
            );
        }
    }
}

/// Whatever makes the stack answer a host that it does not know makes it ask for that host, and it asks one question a second.
#[test]
fn nobody_has_a_node_ask_for_strangers() {
    let data = [7; 32];
    type Mouth = fn(Ipv4Address, &[u8]) -> Vec<u8>;
    let kinds: [(&str, Mouth); 4] = [
        ("ping", |from, data| {
            let echo = Icmpv4Repr::EchoRequest {
                ident: 1,
                seq_no: 2,
                data,
            };
            icmp(from, NODE, &echo)
        }),
        ("SYN", |from, _| {
            tcp((from, 4000), (NODE, 22), TcpControl::Syn, 1, None, &[])
        }),
        ("datagram", |from, data| udp((from, 4000), (NODE, 9), data)),
        ("protocol", |from, data| {
            let mut frame = udp((from, 4000), (NODE, 9), data);
            // SCTP's number; the sum of the header stays what it was.
            frame[23] = 132;
            frame[22] = frame[22].wrapping_sub(132 - 17);
            let at = u16::from_be_bytes([frame[22], frame[23]]);
            let was = u16::from_be_bytes([64, 17]);
            let sum = u16::from_be_bytes([frame[24], frame[25]]);
            let (sum, carry) = sum.overflowing_add(was.wrapping_sub(at));
            let borrowed = u16::from(was < at);
            let sum = sum.wrapping_add(u16::from(carry)).wrapping_sub(borrowed);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
            frame
        }),
    ];
    for (name, mouth) in kinds {
        let calm = flooded(200, 50, Duration::ZERO, nothing);
        let flood = flooded(200, 50, Duration::from_millis(1), move |n| {
            vec![mouth(made_up(n).1, &data)]
        });
        assert!(flood < calm + 1000, "{name}: {flood} ms in place of {calm}");
    }
}

/// A driver has room for the stack's frames, which know the port's MTU; what answers in the stack's stead has to know it, too.
#[test]
fn a_ping_that_fits_no_frame_is_not_answered() {
    const HEADERS: usize = 14 + 20 + 8;
    let lengths = [60, 1513, 1514, 1515, 1518, 1522];
    let pings = move |nth: u64| {
        let data = vec![7; lengths[nth as usize % lengths.len()] - HEADERS];
        let echo = Icmpv4Repr::EchoRequest {
            ident: 1,
            seq_no: 2,
            data: &data,
        };
        vec![icmp(Ipv4Address::new(192, 168, 7, 201), NODE, &echo)]
    };
    let mut site = Site::new(1);
    site.lan.attach(Stranger::flooding(
        Duration::from_millis(1),
        Duration::from_secs(60),
        pings,
    ));
    site.boots();
    let sent = site.lan.frames();
    let of_node = |len: usize| {
        sent.iter()
            .filter(|frame| frame.from_node && frame.len == len)
            .count()
    };
    assert!(of_node(60) > 0 && of_node(1513) > 0 && of_node(1514) > 0);
    assert!(sent.iter().all(|frame| !frame.from_node || frame.len <= 1514));
}

/// Whether the kernel of a stranger runs who from the first second on says without a pause that he is the web server, and is one; the
/// real one thinks for a while before the kernel, if it is still there.
fn claimed(server_goes: bool) -> bool {
    let mut site = Site::new(1);
    let kernel = site.kernel.clone();
    // The site's own server stays switched off.
    site.dhcp.borrow_mut().file = "http://192.168.7.9/menu".into();
    // Nothing is said for five seconds after the menu has come.
    let menu = "DEFAULT a\nPROMPT 1\nTIMEOUT 50\nLABEL a\nLINUX Image\n";
    let mut honest = Http::new(SECOND);
    honest.route("/menu", [Reply::ok(menu)]);
    honest.route(
        "/Image",
        [Reply::ok(kernel.clone()).after(Duration::from_secs(20))],
    );
    let until = Duration::from_secs(if server_goes { 2 } else { 9999 });
    site.lan.attach(Between::new(honest, Duration::ZERO, until));
    let evil = payload::image(33_000);
    let mac = EthernetAddress([2, 0, 0, 0, 0, 0x66]);
    let mut http = Http::successor(SECOND, mac);
    http.route("/menu", [Reply::ok(menu)]);
    http.route("/Image", [Reply::ok(evil.clone())]);
    let forever = Duration::from_secs(9999);
    site.lan
        .attach(Between::new(http, Duration::from_secs(1), forever));
    let mouth = move |n| match n {
        0..2000 => Vec::new(),
        _ => vec![arp(ArpOperation::Reply, mac, SECOND.into(), NODE)],
    };
    site.lan.attach(Stranger::flooding(
        Duration::from_micros(500),
        Duration::from_secs(100),
        mouth,
    ));
    let handoff = site.boot_attempts(3).expect("a kernel");
    let ran = &site.node.at(handoff.entry)[..33_000];
    assert!(ran == evil || ran == &kernel[..33_000], "one of the two");
    ran == evil
}

/// A node asks anew where a neighbour is that is silent. The one that it knows is asked first, so that who only claims the address gets it
/// when that one is gone.
#[test]
fn nobody_takes_the_place_of_a_server_that_answers() {
    assert!(!claimed(false));
    assert!(claimed(true), "the claim works");
}

/// Each was seven lines on a UART that takes 39 ms for them.
#[test]
fn a_stranger_does_not_fill_the_log() {
    let mut site = Site::new(1);
    // The honest server is switched on after ten minutes.
    site.dhcp.borrow_mut().silent_until = Instant::from_secs(600);
    let texts: [u8; 7] = [12, 15, 17, 66, 67, 209, 210];
    let asked = Rc::new(RefCell::new(None));
    let heard = asked.clone();
    site.lan.attach(Stranger::hearing(move |_, frame| {
        if frame.len() > 290 && frame[23] == 17 && frame[36..38] == [0, 67] {
            *heard.borrow_mut() = frame[46..50].first_chunk::<4>().copied();
        }
        Vec::new()
    }));
    let mouth = move |_| {
        let Some(xid) = *asked.borrow() else {
            return Vec::new();
        };
        let mut offer = vec![2, 1, 6, 0];
        offer.extend(xid);
        offer.resize(16, 0);
        offer.extend(NODE.octets());
        offer.resize(28, 0);
        offer.extend(tests::MAC.0);
        offer.resize(236, 0);
        offer.extend([99, 130, 83, 99, 53, 1, 2, 54, 4, 192, 168, 7, 66]);
        texts
            .iter()
            .for_each(|tag| offer.extend([*tag, 3, b'a', 7, b'b']));
        offer.push(255);
        vec![udp((Ipv4Address::new(192, 168, 7, 66), 67), (NODE, 68), &offer)]
    };
    let mut flood = Stranger::flooding(Duration::from_micros(38_461), Duration::from_secs(600), mouth);
    flood = flood.beside(EthernetAddress([2, 0, 0, 0, 0, 0x68]));
    site.lan.attach(flood);
    site.boots();
    let lines = tests::lines();
    let unfit = lines
        .iter()
        .filter(|line| line.text.contains("not printable"))
        .count();
    // 15,600 datagrams: 2 to the 13th is below.
    assert!((1..=14).contains(&unfit), "{unfit} lines");
    assert!(lines.len() < 200, "{} lines", lines.len());
}

/// An offer of an address from a server that is not there, to the transaction `xid`.
fn offer(server: Ipv4Address, xid: &[u8], options: &[u8]) -> Vec<u8> {
    let mut offer = vec![2, 1, 6, 0];
    offer.extend(xid);
    offer.resize(16, 0);
    offer.extend(NODE.octets());
    offer.resize(28, 0);
    offer.extend(tests::MAC.0);
    offer.resize(236, 0);
    offer.extend([
        99, 130, 83, 99, 53, 1, 2, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 54, 4,
    ]);
    offer.extend(server.octets());
    offer.extend(options);
    offer.push(255);
    udp((server, 67), (NODE, 68), &offer)
}

/// They answer each question of the node's at once, before the honest server does, and grant nothing.
#[test]
fn offers_of_made_up_servers_do_not_keep_the_honest_one_out() {
    // As many as are kept, and as grant nothing in turn; with and without something to boot.
    for (servers, options, most) in [
        (8, &b""[..], 5),
        (9, b"", 5),
        (2, b"\x43\x01x", 600),
        (7, b"\x43\x01x", 600),
    ] {
        for seed in 0..6 {
            let mut site = Site::new(seed);
            site.dhcp.borrow_mut().delay = Duration::from_millis(50);
            site.lan.attach(Stranger::hearing(move |_, frame| {
                let is_discover = frame.len() > 290
                    && frame[23] == 17
                    && frame[36..38] == [0, 67]
                    && frame[282..].windows(3).any(|option| option == [53, 1, 1]);
                if !is_discover {
                    return Vec::new();
                }
                (0..servers)
                    .map(|n| (SOON, offer(made_up(n).1, &frame[46..50], options)))
                    .collect()
            }));
            site.boots();
            let took = site.lan.now().secs();
            assert!(took < most, "{servers} servers, {took} s");
        }
    }
}

/// Of each question's answers five hundred come within a second, each from another server, and none grants; the honest one thinks for
/// longer than offers are gathered at first.
#[test]
fn five_hundred_made_up_servers_neither_fill_the_log_nor_outlast_a_slow_one() {
    // A part of each offer cannot be kept, either: no printable boot file, root path or configuration file.
    let unprintable = b"\x43\x01\x01\x11\x01\x02\xd1\x01\x03\xd2\x01\x04";
    for options in [&b""[..], unprintable] {
        for seed in 0..4 {
            let mut site = Site::new(seed);
            site.dhcp.borrow_mut().delay = Duration::from_secs(3);
            site.lan.attach(Stranger::hearing(move |_, frame| {
                let is_discover = frame.len() > 290
                    && frame[23] == 17
                    && frame[36..38] == [0, 67]
                    && frame[282..].windows(3).any(|option| option == [53, 1, 1]);
                let answers = if is_discover { 500 } else { 0 };
                (0..answers)
                    .map(|n| {
                        let server = Ipv4Address::from(0xc0a8_0801 + n);
                        let frame = offer(server, &frame[46..50], options);
                        (Duration::from_micros(u64::from(n) * 2000), frame)
                    })
                    .collect()
            }));
            site.boots();
            let took = site.lan.now().secs();
            assert!(took < 60, "{took} s");
            let lines = tests::lines();
            assert!(
                lines
                    .iter()
                    .any(|line| line.text.ends_with("offers 192.168.7.100"))
            );
            assert!(lines.len() < 120, "{} lines", lines.len());
        }
    }
}

/// The stranger's own web server, and what he wants to run.
const EVIL: Ipv4Address = Ipv4Address::new(192, 168, 7, 66);
const EVIL_MENU: &str = "DEFAULT a\nLABEL a\nLINUX http://192.168.7.66/evil\n";
/// Who is attacked.
const WEB: Ipv4Address = Ipv4Address::new(192, 168, 7, 2);
const NAMES: Ipv4Address = Ipv4Address::new(192, 168, 7, 3);
const FILES: Ipv4Address = Ipv4Address::new(192, 168, 7, 4);

/// Boots a site with `stranger` on its LAN, and his web server; whether it is his kernel that runs.
fn boots_evil(mut site: Site, one_way: u64, stranger: Stranger) -> bool {
    site.lan.link(Link {
        latency: Duration::from_micros(one_way),
        ..Link::default()
    });
    let evil = payload::image(33_000);
    let http = site.lan.attach(Http::new(EVIL));
    http.borrow_mut().route("/evil", [Reply::ok(evil.clone())]);
    http.borrow_mut().route("/boot/menu", [Reply::ok(EVIL_MENU)]);
    site.lan.attach(stranger);
    let handoff = site.boot_attempts(3).expect("a kernel");
    let ran = &site.node.at(handoff.entry)[..33_000];
    assert!(ran == evil || ran == &site.kernel[..33_000], "one of the two");
    ran == evil
}

/// Whether a frame is the node's ARP question for `address`.
fn asks_for(frame: &[u8], address: Ipv4Address) -> bool {
    frame[12..14] == [8, 6] && frame[38..42] == address.octets() && frame[28..32] == NODE.octets()
}

/// The MAC address of a simulated host.
fn mac_of(address: Ipv4Address) -> EthernetAddress {
    let [a, b, c, d] = address.octets();
    EthernetAddress([2, 0, a, b, c, d])
}

fn word(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(*frame[at..].first_chunk().unwrap())
}

fn number(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*frame[at..].first_chunk().unwrap())
}

/// A connection's forged first answer, with a menu in it.
fn forged_connection(server: Ipv4Address, port: u16, first: u32) -> Vec<Vec<u8>> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{EVIL_MENU}",
        EVIL_MENU.len()
    );
    let segment = |control, number, data: &[u8]| {
        let acknowledged = Some(first.wrapping_add(1));
        tcp((server, 80), (NODE, port), control, number, acknowledged, data)
    };
    vec![
        segment(TcpControl::Syn, 1000, &[]),
        segment(TcpControl::Psh, 1001, head.as_bytes()),
    ]
}

/// A forged answer to a question for the address of boot.example.org.
fn forged_address(port: u16, id: u16) -> Vec<u8> {
    let mut answer = id.to_be_bytes().to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend(b"\x04boot\x07example\x03org\x00\x00\x01\x00\x01");
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend(EVIL.octets());
    udp((NAMES, 53), (NODE, port), &answer)
}

fn named_site(seed: u64) -> Site {
    let site = Site::named(seed, "http://boot.example.org/boot/menu");
    site.dhcp.borrow_mut().options.push((6, NAMES.octets().to_vec()));
    let answer = Answer::A(vec![WEB]);
    site.lan.serve(NAMES, Dns::new().name("boot.example.org", answer));
    site
}

const SOON: Duration = Duration::from_micros(1);

/// Whoever hears the node's first segment takes its connection over, and whoever hears its question, its answer: that is what the forged
/// frames of the next test are good for.
#[test]
fn who_hears_a_node_takes_it_over() {
    let silent = Ipv4Address::from(SECOND);
    let ear = Stranger::hearing(move |_, frame| {
        if frame[12..14] != [8, 0] || frame[23] != 6 || frame[47] & 0x12 != 2 {
            return Vec::new();
        }
        let forged = forged_connection(silent, word(frame, 34), number(frame, 38));
        forged.into_iter().map(|frame| (SOON, frame)).collect()
    });
    // The rig's web server answers in no time, so that this one has to be a silent one.
    let site = Site::named(1, "http://192.168.7.9/boot/menu");
    site.lan.serve(silent, ());
    assert!(boots_evil(site, 200, ear.beside(mac_of(silent))));
    let ear = Stranger::hearing(|_, frame| {
        if frame[12..14] != [8, 0] || frame[23] != 17 || word(frame, 36) != 53 {
            return Vec::new();
        }
        vec![(SOON, forged_address(word(frame, 34), word(frame, 42)))]
    });
    assert!(boots_evil(named_site(1), 200, ear.beside(mac_of(NAMES))));
}

/// What a stranger answers who hears broadcasts only.
#[derive(Debug, Clone, Copy)]
enum Blind {
    Connection,
    Question,
    File,
}

impl Blind {
    const ALL: [Self; 3] = [Self::Connection, Self::Question, Self::File];

    /// In whose place.
    fn victim(self) -> Ipv4Address {
        match self {
            Self::Connection => WEB,
            Self::Question => NAMES,
            Self::File => FILES,
        }
    }

    fn site(self, seed: u64) -> Site {
        let site = match self {
            Self::Connection => Site::with_payload(seed, 50_000, 10_000),
            Self::Question => named_site(seed),
            // Where the server is quick, even two that hit are not enough.
            Self::File => file_site(seed, |files| files.thinks = Duration::from_millis(40)),
        };
        site.lan.link(Link {
            latency: Duration::from_micros(200 + 40 * seed),
            ..Link::default()
        });
        site
    }

    /// What is right if the node has drawn these numbers: its port, and what goes with it.
    fn forged(self, (port, number): (u16, u32)) -> Vec<Vec<u8>> {
        match self {
            Self::Connection => forged_connection(WEB, port, number),
            Self::Question => vec![forged_address(port, number as u16)],
            Self::File => {
                let data = [&[0, 3, 0, 1], EVIL_MENU.as_bytes()].concat();
                vec![udp((FILES, 40_000), (NODE, port), &data)]
            }
        }
    }

    /// The numbers that the node draws for this in the world of `seed`, in their order.
    fn drawn(self, seed: u64) -> Vec<(u16, u32)> {
        let mut site = self.site(seed);
        site.boot().expect("the site is in order");
        let mut drawn = Vec::new();
        for frame in site.lan.frames().iter().filter(|frame| frame.from_node) {
            let bytes = &frame.bytes;
            if bytes[12..14] != [8, 0] || bytes[30..34] != self.victim().octets() {
                continue;
            }
            let port = word(bytes, 34);
            match (self, bytes[23], word(bytes, 36)) {
                (Self::Connection, 6, 80) if bytes[47] & 0x12 == 2 => drawn.push((port, number(bytes, 38))),
                (Self::Question, 17, 53) => drawn.push((port, word(bytes, 42).into())),
                (Self::File, 17, 69) => drawn.push((port, 0)),
                _ => {}
            }
        }
        drawn
    }

    /// Whether the kernel of a stranger runs who sends 250 guesses from the broadcast question for the server's neighbour address
    /// on, every tenth of which he need not guess, as long as he has been told.
    fn wins(self, seed: u64, told: &[(u16, u32)]) -> bool {
        let (mut dice, told) = (Random::new(seed), told.to_vec());
        let stranger = Stranger::hearing(move |_, frame| {
            if !asks_for(frame, self.victim()) {
                return Vec::new();
            }
            let mut frames = Vec::new();
            for n in 0..250 {
                let guess = (1024 + dice.below(64_512) as u16, dice.draw() as u32);
                let known = told.get(n / 10).filter(|_| n % 10 == 9);
                let at = Duration::from_micros(8 * n as u64);
                let forged = self.forged(*known.unwrap_or(&guess));
                frames.extend(forged.into_iter().map(|frame| (at, frame)));
            }
            frames
        });
        boots_evil(self.site(seed), 200 + 40 * seed, stranger)
    }
}

/// 250 tries in each of 40 boots.
#[test]
fn none_of_ten_thousand_guesses_of_a_connection_a_question_or_a_file_wins() {
    for seed in 0..40 {
        for blind in Blind::ALL {
            assert!(!blind.wins(seed, &[]), "{blind:?} {seed}");
        }
    }
}

/// The same stranger wins every time when he has seen what the node draws in a world that is the same in all but him: it is the numbers
/// that keep him out, and the test before can fail.
#[test]
fn who_is_told_a_nodes_numbers_wins() {
    for seed in 0..40 {
        for blind in Blind::ALL {
            let told = blind.drawn(seed);
            assert!(blind.wins(seed, &told), "{blind:?} {seed}");
            // With a file he has to hit the look, too.
            let first = blind.wins(seed, &told[..1]);
            assert_eq!(first, !matches!(blind, Blind::File), "{blind:?} {seed}");
            // One number that is not right.
            let (port, number) = told[0];
            let wrong = [(port ^ 1, number), (port, number ^ 1)];
            for guess in &wrong[..if matches!(blind, Blind::File) { 1 } else { 2 }] {
                assert!(!blind.wins(seed, std::slice::from_ref(guess)), "{blind:?} {seed}");
            }
        }
    }
}

/// The port and the number of the node's last segment, by one who hears what the web server hears.
fn overheard(site: &Site) -> Rc<RefCell<Option<(u16, u32)>>> {
    let sent = Rc::new(RefCell::new(None));
    let heard = sent.clone();
    let ear = Stranger::hearing(move |_, frame| {
        if frame[12..14] == [8, 0] && frame[23] == 6 {
            *heard.borrow_mut() = Some((word(frame, 34), number(frame, 38)));
        }
        Vec::new()
    });
    site.lan.attach(ear.beside(mac_of(WEB)));
    sent
}

#[test]
fn resets_that_know_the_port_end_no_download() {
    for (pause, step) in [(1, 120 * 1024), (10, 200 * 1024)] {
        let mut site = Site::with_payload(1, 24 << 20, 100);
        let kernel = Reply::ok(site.kernel.clone()).ranges();
        site.route("/boot/Image", [kernel.slow(1 << 20, Duration::from_millis(10))]);
        let sent = overheard(&site);
        let mouth = move |n: u64| {
            let reset = |(port, _)| {
                let number = (n as u32).wrapping_mul(step);
                tcp((WEB, 80), (NODE, port), TcpControl::Rst, number, None, &[])
            };
            sent.borrow().map(reset).into_iter().collect()
        };
        let flood = Stranger::flooding(
            Duration::from_micros(pause),
            Duration::from_millis(36 * pause),
            mouth,
        );
        site.lan.attach(flood);
        site.boots();
        assert_eq!(site.lan.connections(), 1, "each {pause} us");
        // The node is no sender of many segments for it.
        let challenges = site.lan.frames().iter().filter(|frame| frame.from_node).count();
        assert!(challenges < 20_000, "{challenges} frames");
    }
}

/// Boots while a stranger who knows the port sends data for every place of the window; whether the kernel is the server's. He knows what
/// the node expects to be acknowledged, or guesses.
fn injected(knows: bool) -> bool {
    let mut site = Site::with_payload(1, 24 << 20, 100);
    let kernel = Reply::ok(site.kernel.clone());
    site.route("/boot/Image", [kernel.slow(1 << 20, Duration::from_millis(10))]);
    let sent = overheard(&site);
    let mut dice = Random::new(7);
    let mouth = move |n: u64| {
        let data = |(port, right)| {
            let acknowledged = if knows { right } else { dice.draw() as u32 };
            let number = (n as u32).wrapping_mul(120 * 1024);
            let from = (WEB, 80);
            tcp(
                from,
                (NODE, port),
                TcpControl::None,
                number,
                Some(acknowledged),
                &[0xee; 1000],
            )
        };
        sent.borrow().map(data).into_iter().collect()
    };
    let pause = Duration::from_micros(2);
    site.lan
        .attach(Stranger::flooding(pause, Duration::from_millis(350), mouth));
    let handoff = site.boot().expect("a kernel");
    site.node.at(handoff.entry)[..site.kernel.len()] == site.kernel[..]
}

/// The stack takes no data that acknowledges what the node has not sent, or what was acknowledged before: less than RFC 5961 §5 has it take.
#[test]
fn data_that_knows_the_port_changes_no_download() {
    assert!(!injected(true), "the attack works");
    assert!(injected(false));
}

/// The stack's generator: a state of 64 bits, and the 32 bits that are given away of it.
fn step(state: u64) -> u64 {
    state.wrapping_mul(MULTIPLIER).wrapping_add(0x7590_ef39)
}

fn given_away(state: u64) -> u32 {
    (state >> (29 - (state >> 61))) as u32
}

const MULTIPLIER: u64 = 0xbb2e_fcec_3c39_611d;

/// The fourth number of that generator, from three.
///
/// A number tells all bits of its state but those below it, at most 29, and up to seven between it and the highest three. For each guess of
/// these seven of two states, what is below solves `M x - y = C` modulo 2^64 with small x and y: the point of a lattice of two dimensions
/// that is next to a known one.
fn predicted(numbers: [u32; 3]) -> Option<u32> {
    let guesses = |number: u32| {
        (0..8_u32).flat_map(move |top| {
            (0..1_u64 << top).map(move |gap| {
                let high = u64::from(top) << 61 | gap << (61 - top) | u64::from(number) << (29 - top);
                (high, 1_i128 << (29 - top))
            })
        })
    };
    let (mut u, mut v) = ([1, i128::from(MULTIPLIER.cast_signed())], [0, 1_i128 << 64]);
    loop {
        let dot = |a: [i128; 2], b: [i128; 2]| a[0] as f64 * b[0] as f64 + a[1] as f64 * b[1] as f64;
        if dot(u, u) > dot(v, v) {
            (u, v) = (v, u);
        }
        let q = (dot(u, v) / dot(u, u)).round() as i128;
        if q == 0 {
            break;
        }
        v = [v[0] - q * u[0], v[1] - q * u[1]];
    }
    let area = u[0] * v[1] - u[1] * v[0];
    let nearest = |n: i128| (n as f64 / area as f64).round() as i128;
    for (first, below) in guesses(numbers[0]) {
        for (second, below_second) in guesses(numbers[1]) {
            let c = i128::from(second.wrapping_sub(step(first)));
            let target = [below / 2, c + below_second / 2];
            let a = nearest(target[0] * v[1] - target[1] * v[0]);
            let b = nearest(u[0] * target[1] - u[1] * target[0]);
            let x = a * u[0] + b * v[0];
            if !(0..below).contains(&x) {
                continue;
            }
            let state = first + x as u64;
            let states = [state, step(state), step(step(state))];
            if states.map(given_away) == numbers {
                return Some(given_away(step(states[2])));
            }
        }
    }
    None
}

/// The numbers of which whoever has seen three knows the fourth.
fn foreseen(numbers: &[u32]) -> usize {
    let known = |four: &&[u32]| predicted([four[0], four[1], four[2]]) == Some(four[3]);
    numbers.windows(4).filter(known).count()
}

/// The first sequence numbers of the node's connections so far.
fn first_numbers(lan: &Lan) -> Vec<u32> {
    let mut numbers = Vec::new();
    for frame in lan.frames().iter().filter(|frame| frame.from_node) {
        let bytes = &frame.bytes;
        if bytes[12..14] == [8, 0] && bytes[23] == 6 && bytes[47] & 0x12 == 2 {
            numbers.push(number(bytes, 38));
        }
    }
    numbers.dedup();
    numbers
}

#[test]
fn who_has_seen_a_nodes_numbers_does_not_know_the_next() {
    // The attack works on the stack as it comes.
    let lan = Lan::new(1);
    lan.attach(Http::new(WEB));
    let mut nic = lan.nic();
    let mut config = Config::new(tests::MAC.into());
    config.random_seed = 0x0123_4567_89ab_cdef;
    let mut interface = Interface::new(config, &mut nic, Instant::ZERO);
    interface.update_ip_addrs(|list| list.push(IpCidr::new(NODE.into(), 24)).unwrap());
    let mut sockets = SocketSet::new(Vec::new());
    let buffer = || socket::SocketBuffer::new(vec![0; 1000]);
    let handle = sockets.add(socket::Socket::new(buffer(), buffer()));
    for port in 50_000..50_008 {
        let socket = sockets.get_mut::<socket::Socket<'_>>(handle);
        socket.abort();
        socket.connect(interface.context(), (WEB, 80), port).unwrap();
        for _ in 0..20 {
            interface.poll(lan.now(), &mut nic, &mut sockets);
            lan.kick();
            lan.idle_until(lan.now() + Duration::from_millis(100));
        }
    }
    let raw = first_numbers(&lan);
    assert_eq!((raw.len(), foreseen(&raw)), (8, 5));
    // And on nothing that the node sends.
    let lan = Lan::new(1);
    let dhcp = lan.serve(site::DHCP, tests::Dhcp::new().option(6, NAMES.octets()));
    lan.serve(NAMES, Dns::new().name("boot.example.org", Answer::A(vec![WEB])));
    let http = lan.attach(Http::new(WEB));
    http.borrow_mut().route("/a", [Reply::ok("a")]);
    leased(&lan, |net, fetcher| {
        for _ in 0..16 {
            let mut place = [0; 1];
            let url = Url::parse("http://boot.example.org/a").expect("a URL");
            fetcher.get(net, &url, &mut place, &mut ()).expect("a letter");
            fetcher.close(net);
            net.ask_again();
            net.lease();
        }
    });
    let mut connections = Vec::new();
    let mut questions = Vec::new();
    for frame in lan.frames().iter().filter(|frame| frame.from_node) {
        let bytes = &frame.bytes;
        if bytes[12..14] == [8, 0] && bytes[23] == 6 && bytes[47] & 0x12 == 2 {
            connections.push(word(bytes, 34));
        }
        if bytes[12..14] == [8, 0] && bytes[23] == 17 && word(bytes, 36) == 53 {
            questions.push((word(bytes, 34), word(bytes, 42)));
        }
    }
    let mut xids: Vec<u32> = dhcp.borrow().log.iter().map(|message| message.xid).collect();
    xids.dedup();
    let numbers = first_numbers(&lan);
    assert_eq!((numbers.len(), questions.len()), (16, 16));
    assert!(xids.len() >= 16, "{}", xids.len());
    // In their own order, and as they were drawn, one with another.
    let mixed: Vec<u32> = xids.iter().zip(&numbers).flat_map(|(a, b)| [*a, *b]).collect();
    let asked = questions
        .iter()
        .map(|(port, id)| u32::from(*port) << 16 | u32::from(*id));
    for numbers in [xids, numbers, mixed, asked.collect()] {
        assert_eq!(foreseen(&numbers), 0, "{numbers:x?}");
        let mut once = numbers.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), numbers.len(), "none comes twice");
    }
}

/// A site whose menu comes by TFTP, from a server with those manners.
fn file_site(seed: u64, manners: impl FnOnce(&mut Tftp)) -> Site {
    let site = Site::named(seed, "tftp://192.168.7.4/menu");
    let menu = "DEFAULT a\nLABEL a\nLINUX Image\n";
    let mut files = Tftp::new().file("menu", menu).file("Image", site.kernel.clone());
    manners(&mut files);
    site.lan.serve(FILES, files);
    site
}

/// Hears each request for a file, and answers those of `hits` with the right port, before the server does and later.
fn forger(hits: Range<usize>, packets: Vec<(Duration, Vec<u8>)>) -> Stranger {
    let mut heard = 0;
    let ear = Stranger::hearing(move |_, frame| {
        if frame[12..14] != [8, 0] || frame[23] != 17 || word(frame, 36) != 69 {
            return Vec::new();
        }
        heard += 1;
        if !hits.contains(&(heard - 1)) {
            return Vec::new();
        }
        let to = (NODE, word(frame, 34));
        packets
            .iter()
            .map(|(delay, packet)| (*delay, udp((FILES, 40_000), to, packet)))
            .collect()
    });
    ear.beside(mac_of(FILES))
}

/// The forged menu as an answer without options, with them, and drawn out over more than a request's first pause.
fn forged_files() -> [Vec<(Duration, Vec<u8>)>; 3] {
    let block = |number: u8, bytes: &[u8]| [&[0, 3, 0, number], bytes].concat();
    let options = |block: &str| format!("\0\x06tsize\0{}\0blksize\0{block}\0", EVIL_MENU.len()).into_bytes();
    let data = block(1, EVIL_MENU.as_bytes());
    let mut slow = vec![(SOON, options("8"))];
    for (piece, number) in EVIL_MENU.as_bytes().chunks(8).zip(1..) {
        slow.push((
            Duration::from_millis(150 * u64::from(number)),
            block(number, piece),
        ));
    }
    [
        vec![(SOON, data.clone())],
        vec![(SOON, options("1468")), (SOON, data)],
        slow,
    ]
}

/// A guess hits one time in 64,512. One that does is not enough, nor are two in a row: the server answers, too.
#[test]
fn who_guesses_the_port_of_a_request_for_a_file_gains_nothing_by_it() {
    for seed in 0..36 {
        let one_way = [200, 1000, 2500][seed as usize % 3];
        for packets in forged_files() {
            for hits in [0..1, 0..2] {
                let forger = forger(hits.clone(), packets.clone());
                assert!(
                    !boots_evil(file_site(seed, |_| {}), one_way, forger),
                    "{hits:?} at {one_way} us"
                );
            }
            // Five in a row are the limit, a request and a look by turns; three where each drags on until the server's own answer.
            if seed == 0 {
                let site = file_site(seed, |_| {});
                assert!(boots_evil(site, one_way, forger(0..5, packets)));
            }
        }
    }
}

/// The server's own answer comes late, or not at all.
#[test]
fn one_guess_is_not_enough_where_the_server_is_slow_or_its_answer_is_lost() {
    for (millis, deaf) in [(30, 0), (200, 0), (700, 0), (0, 1), (30, 1)] {
        let slow = || {
            file_site(1, |files| {
                (files.thinks, files.deaf) = (Duration::from_millis(millis), deaf);
            })
        };
        for (kind, packets) in forged_files().into_iter().enumerate() {
            for first in 0..4 {
                let forger = forger(first..first + 1, packets.clone());
                assert!(
                    !boots_evil(slow(), 200, forger),
                    "kind {kind}, request {first}, {millis} ms, {deaf} lost"
                );
            }
            // Who hits the request and the look at it wins.
            if (millis, kind) == (30, 0) && deaf == 0 {
                assert!(boots_evil(slow(), 200, forger(0..2, packets)));
            }
        }
    }
}

/// A conversation that a stranger began and leaves alone ends when the server's own answer comes.
#[test]
fn a_late_answer_of_the_server_ends_a_forged_conversation() {
    let mut site = file_site(1, |files| files.thinks = Duration::from_millis(300));
    let [_, options, _] = forged_files();
    site.lan.attach(forger(0..1, options[..1].to_vec()));
    site.boot_attempts(1).expect("the honest menu");
    let took = site.lan.now();
    assert!(took < Instant::from_secs(4), "{took}");
}

#[test]
fn a_forged_error_does_not_lead_to_another_menu() {
    let menu = |entry: &str| format!("DEFAULT a\nLABEL a\nLINUX /Image\nAPPEND entry={entry}\n");
    let boots = |seed, one_way, thinks, stranger| {
        let mut site = Site::named(seed, "tftp://192.168.7.4/");
        let mut files = Tftp::new()
            .file("pxelinux.cfg/01-b8-27-eb-01-02-03", menu("own"))
            .file("pxelinux.cfg/default", menu("wipe"))
            .file("/Image", site.kernel.clone())
            .file("Image", site.kernel.clone());
        files.thinks = Duration::from_micros(thinks);
        site.lan.serve(FILES, files);
        site.lan.link(Link {
            latency: Duration::from_micros(one_way),
            ..Link::default()
        });
        site.lan.attach(stranger);
        let handoff = site.boot_attempts(1)?;
        Ok::<_, boot::Error>(site.inspect(&handoff).entry().to_owned())
    };
    let no = |code| vec![0, 5, 0, code, b'n', b'o', 0];
    for (seed, one_way) in [(1, 200), (2, 1000), (3, 2500)] {
        for code in [0, 1, 2, 8] {
            // Every request. "Not found" in place of what is there is found out; what speaks of trouble where nothing is ends the attempt.
            match boots(seed, one_way, 100, forger(0..usize::MAX, vec![(SOON, no(code))])) {
                Ok(entry) => assert_eq!(entry, "own", "error {code} at {one_way} us"),
                Err(error) => assert_ne!(code, 1, "{error}"),
            }
        }
    }
    // One request, where the server is slow; and an error from who has answered the options before.
    let answered = vec![(SOON, b"\0\x06tsize\x009\0".to_vec()), (SOON, no(1))];
    for first in 0..8 {
        for (thinks, packets) in [
            (30_000, vec![(SOON, no(1))]),
            (700_000, vec![(SOON, no(1))]),
            (100, answered.clone()),
            (30_000, answered.clone()),
        ] {
            let entry = boots(1, 200, thinks, forger(first..first + 1, packets)).expect("a menu");
            assert_eq!(entry, "own", "request {first}, after {thinks} us");
        }
    }
}
