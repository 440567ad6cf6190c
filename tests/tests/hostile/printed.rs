//! What strangers write reaches no terminal as an order, and what is secret no line and no other host: every field that a peer controls,
//! in whole sessions, with somebody at the terminal (D-178).
//!
//! | Peer | What it writes there |
//! |---|---|
//! | DHCP, ProxyDHCP | the boot file, any option (names, vendor options, PXE, iPXE's, path prefixes), overloaded fields, the next server |
//! | DNS, mDNS | names and aliases, codes, every byte behind the question's id |
//! | NTP | the kiss's reason and every other byte but the stamp |
//! | HTTP | the status line, any header's name and value, challenges, redirects; a body that is a menu, a script, a text to show, or none of these |
//! | TFTP | errors, options, a menu |
//! | menus and scripts | every keyword and command with an argument |
//! | images | names in FIT, legacy and zboot headers, gzip's name, values of device trees and overlays; the firmware's own tree |

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use boot::{Ending, Settings};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetFrame, EthernetProtocol, Ipv4Address, Ipv4Packet};
use tests::{
    Answer, Datagram, Dns, GivenUp, Http, Lan, Mdns, Node, Ntp, Proxy, Random, Reply, Service, Site, Tftp,
    lines, payload, seeds, site,
};

use crate::stranger::{STRANGER, pick};

/// How many sessions, when not the number in [`VARIABLE`].
const GENERATED: u64 = 300;
/// Set by who wants more.
const VARIABLE: &str = "BRAMBLE_PRINTED";
/// What must not be told, in every secret, and as a web server is told it with Basic.
const SECRET: &str = "S3CRET";
const BASIC: &str = "dTpTM0NSRVQ=";
/// A number in every order to a terminal: none of ours has it.
const MARK: &str = "66";

/// What a terminal would obey, and what looks like a line of ours.
fn nasty(random: &mut Random) -> String {
    let orders = [
        "\u{1b}]52;c;cm0=\u{7}",
        "\u{1b}[66J",
        "\u{1b}[66;66H",
        "\u{1b}[66m",
        "\u{1b}[?66h",
        "\u{1b}[6n\u{1b}[66n",
        "\u{1b}c\u{1b}[66r",
        "\u{1b}P+q66\u{1b}\\",
        "\u{1b}_66\u{1b}\\",
        "\u{9b}66m",
        "\u{9d}52;c;66\u{9c}",
        "Ý52;c;66Ü",
        "Û66m",
        "\u{202e}66\u{200b}\u{2028}",
        "\r\nFAKE: verified",
        "\nFAKE: booting",
        "\u{b}\u{c}\u{7}\u{e}\u{8}\u{8}\u{7f}",
        "\u{0}",
        "\t",
    ];
    format!("x{}y{}", pick(random, &orders), pick(random, &orders))
}

/// A URL, or nearly one, with a secret that is for the stranger's own server.
fn secret(random: &mut Random) -> String {
    let all = [
        "http://u:S3CRET@192.168.7.66/x",
        "http://u:S3CRET@192.168.7.66/x?y=http://u:S3CRET@192.168.7.66/",
        "http://S3CRET@192.168.7.66/x",
        "http:/u:S3CRET@192.168.7.66/x",
        "http:///u:S3CRET@192.168.7.66/x",
        "http://u:a/S3CRET@192.168.7.66/x",
        "http://u:a?S3CRET@192.168.7.66/x",
        "http://u:a#S3CRET@192.168.7.66/x",
        "http://u:a@S3CRET@192.168.7.66/x",
        "http://u:S3CRET@192.168.7.66:port/x",
        "http://u:S3CRET@bad_host!/x",
        "htp://u:S3CRET@192.168.7.66/x",
        "https://u:S3CRET@192.168.7.66/x",
        "tftp://u:S3CRET@192.168.7.66/x",
        "//u:S3CRET@192.168.7.66/x",
        "u:S3CRET@192.168.7.66/x",
        "http://192.168.7.66/x?token=S3CRET",
        "http://192.168.7.66/x?a=1&api_token=S3CRET#x",
        "inst.password=S3CRET",
    ];
    pick(random, &all).into()
}

/// Either, or both.
fn text(random: &mut Random) -> String {
    match random.below(3) {
        0 => nasty(random),
        1 => secret(random),
        _ => format!("{}{}", nasty(random), secret(random)),
    }
}

/// A text for a line of a menu or a script, whose lines end where lines end.
fn inline(random: &mut Random) -> String {
    text(random).replace(['\r', '\n', '\u{0}', '\u{b}'], "\u{7}")
}

/// Bytes of the terminal that are no order of ours. A script's own orders are colours and the cursor.
fn check_screen(screen: &[u8], by_script: bool) -> Result<(), String> {
    let text = String::from_utf8_lossy(screen);
    let around = |at: usize| {
        format!(
            "{:?}",
            &text[floor(&text, at.saturating_sub(60))..floor(&text, (at + 60).min(text.len()))]
        )
    };
    if let Some(at) = screen.iter().position(|byte| matches!(byte, 0x7f..=0x9f)) {
        return Err(format!("a control byte of eight bits: {}", around(at)));
    }
    for (at, c) in text.char_indices() {
        let ours = matches!(c, '\r' | '\n' | '\u{8}' | '\u{1b}') || by_script && c == '\t';
        if c.is_control() && !ours || matches!(c, '\u{202e}' | '\u{200b}' | '\u{2028}') {
            return Err(format!("{c:?}: {}", around(at)));
        }
    }
    for (at, _) in text.match_indices('\u{1b}') {
        let rest = &text[at + 1..];
        let Some(rest) = rest.strip_prefix('[') else {
            // The cursor is kept and put back.
            if rest.starts_with(['7', '8']) {
                continue;
            }
            return Err(format!("an order: {}", around(at)));
        };
        let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (numbers, order) = rest.split_at(end);
        let plain = numbers.chars().all(|c| c.is_ascii_digit() || c == ';');
        let order = order.chars().next().unwrap_or(' ');
        let ours = plain
            && (order == 'n' && numbers == "6"
                || "mABCDEFGHJKdfsur".contains(order)
                    && (by_script && order != 'r' || !numbers.contains(MARK)));
        if !ours {
            return Err(format!("an order: {}", around(at)));
        }
    }
    if text.lines().any(|line| line.starts_with("FAKE")) && !by_script {
        let at = text.find("FAKE").unwrap_or(0);
        return Err(format!("a line that is none of ours: {}", around(at)));
    }
    match text.find(SECRET) {
        Some(at) => Err(format!("a secret on the terminal: {}", around(at))),
        None => Ok(()),
    }
}

/// The end of a character before or at `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// No line has an order or a secret in it.
fn check_lines(error: Option<String>) -> Result<(), String> {
    // What an attempt fails with is clean by itself, whoever shows it.
    for line in lines().into_iter().map(|line| line.text).chain(error) {
        let control =
            line.chars().any(char::is_control) || line.bytes().any(|byte| matches!(byte, 0x7f..=0x9f));
        if control || line.contains(SECRET) {
            return Err(format!("a line of the log: {line:?}"));
        }
    }
    Ok(())
}

/// What the node has sent: to which host a secret has gone.
fn check_frames(lan: &Lan) -> Result<(), String> {
    for frame in lan.frames().iter().filter(|frame| frame.from_node) {
        let has = |text: &str| {
            frame
                .bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        let in_path = has(SECRET);
        if !in_path && !has(BASIC) {
            continue;
        }
        let ethernet = EthernetFrame::new_unchecked(&frame.bytes[..]);
        let to = (ethernet.ethertype() == EthernetProtocol::Ipv4)
            .then(|| Ipv4Packet::new_unchecked(ethernet.payload()).dst_addr());
        // What is no URL is a path of the server that has written it.
        let writers = [site::HTTP, [192, 168, 7, 9]].map(|writer| Some(writer.into()));
        if to != Some(STRANGER.into()) && !(in_path && writers.contains(&to)) {
            return Err(format!(
                "a secret has gone to {to:?}: {:?}",
                String::from_utf8_lossy(&frame.bytes)
            ));
        }
    }
    Ok(())
}

/// A TFTP server that refuses everything, in its own words.
struct Refusing(Random);

impl Service for Refusing {
    fn datagram(&mut self, _: Instant, _: Ipv4Address, datagram: &Datagram) -> Vec<(Duration, Datagram)> {
        if datagram.destination.1 != 69 {
            return Vec::new();
        }
        let random = &mut self.0;
        let words = text(random).into_bytes();
        let payload = match random.below(3) {
            // Options that nobody asked for.
            0 => [&[0, 6][..], &words, &[0], &words, &[0]].concat(),
            _ => [&[0, 5, 0, random.below(10) as u8][..], &words, &[0]].concat(),
        };
        let answer = Datagram {
            source_mac: datagram.destination_mac,
            destination_mac: datagram.source_mac,
            source: (datagram.destination.0, 30_000),
            destination: datagram.source,
            payload,
        };
        vec![(Duration::from_millis(1), answer)]
    }
}

/// A server before whose answers come others, with hostile bytes somewhere behind the first ones, which are a question's.
struct Wordy<S>(S, usize, Random);

impl<S: Service> Service for Wordy<S> {
    fn datagram(
        &mut self,
        now: Instant,
        address: Ipv4Address,
        datagram: &Datagram,
    ) -> Vec<(Duration, Datagram)> {
        let Self(honest, kept, random) = self;
        let mut answers = Vec::new();
        for (delay, answer) in honest.datagram(now, address, datagram) {
            for _ in 0..random.below(5) {
                let mut spoilt = answer.clone();
                let at = *kept + random.below(spoilt.payload.len().saturating_sub(*kept).max(1));
                let words = text(random).into_bytes();
                if random.chance(0.5) {
                    spoilt
                        .payload
                        .resize(spoilt.payload.len().max(at + words.len()), 0);
                }
                let room = spoilt.payload.iter_mut().skip(at);
                room.zip(words).for_each(|(byte, word)| *byte = word);
                answers.push((delay, spoilt));
            }
            answers.push((delay + Duration::from_millis(1), answer));
        }
        answers
    }
}

fn menu(random: &mut Random) -> String {
    let mut out = String::from(pick(
        random,
        &[
            "UI menu.c32\nTIMEOUT 300\n",
            "DEFAULT a\nPROMPT 1\nTIMEOUT 50\n",
            "DEFAULT a\n",
        ],
    ));
    for _ in 0..random.below(8) {
        let text = inline(random);
        out.push_str(&match random.below(14) {
            0 => format!("MENU TITLE {text}\n"),
            1 => format!("SAY {text}\n"),
            2 => format!("{text} odd\n"),
            3 => pick(random, &[&format!("DISPLAY {text}\n"), "DISPLAY shown\n"]).into(),
            4 => format!("INCLUDE {text}\n"),
            5 => pick(random, &[&format!("F1 {text}\n"), "F1 shown\n"]).into(),
            6 => format!("ONTIMEOUT {text}\n"),
            7 => format!("ONERROR {text}\n"),
            8 => format!("MENU MASTER PASSWD {SECRET}\n"),
            9 => format!("MENU AUTOBOOT {text}\n"),
            10 => format!("MENU TABMSG {text}\n"),
            11 => format!("MENU PASSPROMPT {text}\n"),
            12 => format!("MENU HIDDENKEY {text}\n"),
            _ => format!("APPEND {text}\n"),
        });
    }
    for label in ["a", "b", "c"] {
        out.push_str(&format!("LABEL {label}\n"));
        for _ in 0..random.below(6) {
            let text = inline(random);
            out.push_str(&match random.below(13) {
                0 => format!("MENU LABEL {text}\n"),
                1 => format!("LINUX {text}\n"),
                2 => format!("INITRD {text}\n"),
                3 => format!("FDT {text}\n"),
                4 => format!("APPEND {text}\n"),
                5 => format!("TEXT HELP\n{text}\nENDTEXT\n"),
                6 => format!("MENU PASSWD {SECRET}\n"),
                7 => format!("COM32 {text}.c32\n"),
                8 => format!("CONFIG {text}\n"),
                9 => format!("KERNEL menu.c32\nAPPEND {text}\n"),
                10 => format!("FDTOVERLAYS {text}\n"),
                11 => format!("MENU GOTO {text}\n"),
                _ => "LINUX Image\n".into(),
            });
        }
    }
    out
}

fn script(random: &mut Random) -> String {
    let mut out = String::from("#!ipxe\nset esc:hex 1b\nset csi:hex 9b\nset my-password S3CRET\n");
    for _ in 0..1 + random.below(9) {
        let text = inline(random);
        let text = match random.below(4) {
            0 => format!("{text}${{esc:string}}]52;c;66${{esc:string}}\\${{csi:string}}66m"),
            1 => format!("{text}${{hostname}}${{67}}"),
            _ => text,
        };
        let name = pick(random, &["boot.local", "boot.example.org", "192.168.7.4", &text]).to_owned();
        out.push_str(&match random.below(30) {
            0..3 => format!("echo {text}"),
            3 => format!("prompt --timeout 100 {text}"),
            4 => format!("menu {text}\nitem a {text}\nitem --gap {text}\nchoose --timeout 2000 x"),
            5 => format!("form {text}\nitem f {text}\nitem --secret g {text}\npresent"),
            6 => "login".into(),
            7 => "read typed".into(),
            8..11 => format!("chain {text}"),
            11 => format!("imgfetch --name {text} http://192.168.7.2/boot/initrd.img\nimgstat"),
            12 => format!("imgargs {text} {text}"),
            13 => format!("set x {text}\nshow x\nconfig"),
            14 => format!("set bramble.url {text}"),
            15 => format!("set bramble.{text} 1"),
            16 => format!("kernel http://192.168.7.2/boot/Image {text}\nboot"),
            17 => format!("goto {text}"),
            18 => format!("nslookup x {name} && echo ${{x}}"),
            19 => format!("ping --count 1 {name}"),
            20 | 25 => format!("ntp {name}\necho ${{unixtime}}"),
            21 => format!("params\nparam a {text}\nimgfetch http://192.168.7.66/x##params"),
            22 => format!("set {text} 1"),
            23 => format!("inc {text}"),
            24 => format!("imgextract {text}"),
            26 => format!("{text} ${{my-password}}"),
            27 => format!("goto ${{my-password}}{text}"),
            28 => "set net0/ip ${my-password}".into(),
            _ => text,
        });
        out.push_str(" ||\n");
    }
    out
}

/// The words of an HTTP server's head.
fn head(random: &mut Random) -> Vec<u8> {
    let status = pick(
        random,
        &["200", "301", "302", "401", "403", "404", "500", "503", "x"],
    );
    let word = |random: &mut Random| text(random).replace('\u{0}', "");
    let mut head = format!("HTTP/1.1 {status} {}\r\n", word(random));
    for _ in 0..random.below(5) {
        let text = word(random);
        head.push_str(&match random.below(9) {
            0 => format!("Location: {text}"),
            1 => format!("Location: http://192.168.7.66/{text}"),
            2 => format!("WWW-Authenticate: {text} realm=\"x\""),
            3 => format!("WWW-Authenticate: Basic realm=\"{text}\""),
            4 => format!("WWW-Authenticate: Digest realm=\"{text}\", nonce=\"{text}\", algorithm={text}"),
            5 => format!("Content-Length: {text}"),
            6 => format!("Transfer-Encoding: {text}"),
            7 => format!("ETag: \"{text}\""),
            _ => format!("{text}: {text}"),
        });
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Names in a FIT image, as long as they may be.
const KERNEL: &str = "kernel-xxxxxxxxxxxxxxxxxxxxxxxx";
const TREE: &str = "tree-xxxxxxxxxxxxxxxxxxxxxxxxxx";
const ONE: &str = "one-xxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// A FIT image, a device tree, a wrapped kernel: formats with texts in them.
fn file(random: &mut Random) -> Vec<u8> {
    let kernel = payload::image(600);
    // Names of nodes are of one byte each; so are all that matter here.
    let name = |random: &mut Random| {
        let text: String = nasty(random)
            .chars()
            .filter(|c| c.is_ascii() && !matches!(c, '/' | '@'))
            .take(30)
            .collect();
        text
    };
    let bytes = match random.below(8) {
        0 => payload::uimage(random.below(256) as u8, &kernel),
        1 => payload::device_tree(),
        2 => payload::overlay(&text(random).replace('\u{0}', "")),
        3 => text(random).into_bytes(),
        4 => wrapped(payload::uimage(2, &kernel), 32, &text(random)),
        5 => wrapped(
            b"MZ\0\0zimg".iter().copied().chain([0; 600]).collect(),
            24,
            &text(random),
        ),
        6 => [
            &[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..],
            text(random).as_bytes(),
            &[0],
            b"no deflate",
        ]
        .concat(),
        _ => payload::fit(
            &[
                (KERNEL, "kernel", &kernel),
                (TREE, "flat_dt", &payload::device_tree()),
            ],
            &[(ONE, KERNEL, &[TREE], "")],
        ),
    };
    // A name of the same length instead of one of these, here and there.
    let mut bytes = bytes;
    for word in [
        KERNEL,
        TREE,
        ONE,
        "crc32",
        "flat_dt",
        "arm64",
        "none",
        "ethernet",
        "serial-number",
    ] {
        if !random.chance(0.4) {
            continue;
        }
        let new: Vec<u8> = name(random)
            .bytes()
            .chain(std::iter::repeat(b'z'))
            .take(word.len())
            .collect();
        let places: Vec<usize> = (0..bytes.len().saturating_sub(word.len()))
            .filter(|at| bytes[*at..].starts_with(word.as_bytes()))
            .collect();
        places
            .into_iter()
            .for_each(|at| bytes[at..at + word.len()].copy_from_slice(&new));
    }
    bytes
}

/// `file` with a name at `at` of its header.
fn wrapped(mut file: Vec<u8>, at: usize, name: &str) -> Vec<u8> {
    let room = file.iter_mut().skip(at).take(32);
    room.zip(name.bytes()).for_each(|(byte, new)| *byte = new);
    file
}

/// Which peers' words a session has heard.
type Heard = BTreeSet<&'static str>;

/// A session whose strangers write `seed`'s texts.
fn session(seed: u64) -> Result<Heard, String> {
    let random = &mut Random::new(seed);
    let mut site = Site::with_payload(seed, 600, 100);
    site.node = Node::with_memory(16 << 20);
    site.lan.rest_long(Duration::from_millis(20));
    let mut settings = Settings {
        attempts: Some(2),
        ..Settings::default()
    };
    let mut by_script = false;
    let stranger = site.lan.attach(Http::new(STRANGER));
    let wants = Reply::status("401 Who", "").header("WWW-Authenticate: Basic realm=\"x\"");
    let elsewhere = Reply::redirect(302, "http://192.168.7.2/boot/elsewhere");
    stranger.borrow_mut().route("/x", [wants, elsewhere]);
    let dns = Wordy(
        Dns::new()
            .name(
                "boot.example.org",
                Answer::Cname(
                    inline(random).chars().filter(char::is_ascii).take(60).collect(),
                    vec![site::HTTP.into()],
                ),
            )
            .name("x", Answer::Code(random.below(16) as u8)),
        2,
        random.clone(),
    );
    let dns = site.lan.serve([192, 168, 7, 3], dns);
    let mut kiss = Ntp::new(1);
    kiss.stratum = random.below(2) as u8;
    let reason = nasty(random).into_bytes();
    kiss.kiss
        .iter_mut()
        .zip(reason)
        .for_each(|(byte, word)| *byte = word);
    let mut ntp = Wordy(kiss, 1, random.clone());
    // The stamp is what makes an answer one.
    ntp.1 = if random.chance(0.5) { 1 } else { 32 };
    let ntp = site.lan.serve([192, 168, 7, 4], ntp);
    let mdns = Wordy(Mdns::new("boot.local", site::HTTP), 2, random.clone());
    let mdns = site.lan.serve([192, 168, 7, 5], mdns);
    site.lan.serve([192, 168, 7, 9], Refusing(random.clone()));
    // A text has lines of its own, whoever wrote them.
    site.route("/boot/shown", [Reply::ok(inline(random))]);
    let kind = random.below(8);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.options.push((6, vec![192, 168, 7, 3]));
    match kind {
        0 | 1 => {
            for _ in 0..1 + random.below(5) {
                let codes = [12, 15, 17, 43, 60, 66, 67, 77, 119, 125, 175, 203, 209, 210, 224];
                let code = if random.chance(0.2) {
                    random.below(255).max(1)
                } else {
                    codes[random.below(codes.len())]
                };
                dhcp.options.push((code as u8, text(random).into_bytes()));
            }
            let names = [
                "${hostname}",
                "x/${hostname}.efi",
                "${209:string}",
                "http://192.168.7.2/${17}",
                "tftp://192.168.7.9/${hostname}",
                "boot.efi",
            ];
            dhcp.file = match random.below(3) {
                0 => text(random)
                    .chars()
                    .take(120)
                    .collect::<String>()
                    .replace('\u{0}', ""),
                1 => pick(random, &names).into(),
                _ => site::MENU.into(),
            };
            while dhcp.file.len() > 127 {
                dhcp.file.pop();
            }
            dhcp.next_server = [site::HTTP, [192, 168, 7, 9]][random.below(2)].into();
            if random.chance(0.3) {
                let mut proxy = Proxy::new(pick(random, &names));
                proxy.file_in_offer = random.chance(0.5);
                site.lan.serve([192, 168, 7, 7], proxy);
            }
        }
        2 => {
            by_script = true;
            site.route("/boot/menu", [Reply::ok(script(random))]);
            dhcp.options.push((12, text(random).into_bytes()));
        }
        3 => {
            by_script = true;
            site.route("/boot/menu", [Reply::ok(script(random))]);
            settings.url = Some("http://192.168.7.2/boot/menu".into());
        }
        4 => site.route("/boot/menu", [Reply::ok(menu(random))]),
        5 => {
            let path = pick(random, &["/boot/menu", "/boot/Image", "/boot/initrd.img"]);
            site.route(path, [Reply::raw(head(random))]);
        }
        6 => {
            site.route("/boot/Image", [Reply::ok(file(random))]);
            let configuration = inline(random).replace(' ', "");
            let text =
                format!("DEFAULT a\nLABEL a\nLINUX Image#{configuration}\nFDT tree\nFDTOVERLAYS tree\n");
            site.route(
                "/boot/menu",
                [Reply::ok(if random.chance(0.5) {
                    "LABEL a\nLINUX Image\n".into()
                } else {
                    text
                })],
            );
            site.route("/boot/tree", [Reply::ok(file(random))]);
            if random.chance(0.5) {
                site.node.device_tree = Some(file(random));
            }
        }
        _ => {
            settings.url = Some(match random.below(4) {
                0 => "tftp://192.168.7.9/x".into(),
                2 => "http://boot.local/boot/menu".into(),
                1 => "http://boot.example.org/boot/menu".into(),
                _ => text(random),
            });
            let tftp = Tftp::new().file("x", menu(random));
            site.lan.serve([192, 168, 7, 8], tftp);
        }
    }
    drop(dhcp);
    // A person who types a password where one is wanted, chooses, leaves, asks for help.
    let keys = [
        "\u{1b}[B\r",
        "S3CRET\r",
        "\u{1b}[A",
        "\r",
        "\u{1b}",
        "\u{1b}OP",
        "x\r",
        "\u{c}",
    ];
    site.node.keys = (1..40)
        .map(|turn| {
            (
                Duration::from_secs(3 * turn),
                pick(random, &keys).as_bytes().to_vec(),
            )
        })
        .collect();
    // A password is typed where it is not seen; an answer in clear is none.
    if by_script || kind == 4 {
        let hidden = site.node.keys.iter().all(|(_, keys)| keys != b"S3CRET\r");
        if !hidden {
            site.node
                .keys
                .retain(|(_, keys)| keys != b"S3CRET\r" && keys != b"x\r");
        }
    }
    site.lan.limit(Duration::from_secs(100 * 3600));
    site.lan.give_up(Duration::from_secs(600));
    let ended = catch_unwind(AssertUnwindSafe(|| site.node.run(&site.lan, &settings)));
    let error = match ended {
        Ok(Ending::Reset(cause)) => match cause {
            boot::Cause::GaveUp(_, error) => Some(error.to_string()),
            boot::Cause::Script => None,
        },
        Ok(_) => None,
        Err(why) if why.is::<GivenUp>() => None,
        Err(_) => return Err("a panic".into()),
    };
    let screen = site.node.screen.borrow().clone();
    check_screen(&screen, by_script)
        .and_then(|()| check_lines(error))
        .and_then(|()| check_frames(&site.lan))
        .map_err(|why| format!("kind {kind}: {why}"))?;
    let heard = [
        ("DNS", !dns.borrow().0.log.is_empty()),
        ("NTP", ntp.borrow().0.asked > 0),
        ("mDNS", !mdns.borrow().0.asked.is_empty()),
    ];
    Ok(heard
        .iter()
        .filter(|(_, heard)| *heard)
        .map(|(peer, _)| *peer)
        .collect())
}

#[test]
fn no_field_of_a_peer_gives_orders_to_a_terminal_or_tells_a_secret() {
    let seeds = seeds::range(VARIABLE, GENERATED);
    let whole = seeds == (0..GENERATED);
    let (mut failed, mut heard) = (Vec::new(), Heard::new());
    for seed in seeds {
        match session(seed) {
            Ok(peers) => heard.extend(peers),
            Err(why) => failed.push(format!("seed {seed}: {why:.400}")),
        }
    }
    assert!(
        !whole || heard == Heard::from(["DNS", "NTP", "mDNS"]),
        "{heard:?}"
    );
    assert!(
        failed.is_empty(),
        "{} sessions:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn the_check_of_the_terminal_can_fail() {
    for (screen, by_script) in [
        (&b"a\x1b[66mb"[..], false),
        (b"a\x1b]0;x\x07", true),
        (b"a\x1b[66n", true),
        (b"\x1b[?25l", false),
        (b"\xc3\x9d", true),
        (b"\x07", true),
        (b"\nFAKE", false),
        (b"xS3CRET", true),
        ("\u{202e}".as_bytes(), true),
    ] {
        assert!(check_screen(screen, by_script).is_err(), "{screen:?}");
    }
    assert_eq!(
        check_screen(b"\x1b7\x1b[999;999H\x1b[6n\x1b8\x1b[7mx\x1b[m\r\n", false),
        Ok(())
    );
    assert_eq!(check_screen(b"\x1b[66mx\t", true), Ok(()));
}
