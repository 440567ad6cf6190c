//! A stranger's answers: menus, scripts, and messages of every protocol, as many as there are numbers.
//!
//! They name files of hosts that are not there, files that the honest server does not have, and such of its files as boot nothing. What of its
//! files would boot, a hostile text may boot as it likes, with a command line of its own: nothing is signed.

use tests::Random;

/// The web server that is honest.
const HONEST: &str = "http://192.168.7.2";
/// The stranger's own.
pub(crate) const STRANGER: [u8; 4] = [192, 168, 7, 66];

/// One of several.
pub(crate) fn pick<'t>(random: &mut Random, all: &[&'t str]) -> &'t str {
    all[random.below(all.len())]
}

/// A number as a stranger likes it.
pub(crate) fn number(random: &mut Random) -> String {
    let all = [
        "0",
        "1",
        "2",
        "7",
        "10",
        "60",
        "300",
        "3600",
        "86400",
        "864000",
        "65535",
        "65536",
        "4294967295",
        "4294967296",
        "99999999999999999999",
        "-1",
        "-86400",
        "0x7fffffff",
        "1e9",
        "x",
        "",
        "007",
        "2147483648",
    ];
    match random.below(3) {
        0 => random.below(100_000).to_string(),
        _ => pick(random, &all).into(),
    }
}

/// Something that stands where a URL does.
pub(crate) fn url(random: &mut Random) -> String {
    let all = [
        "http://192.168.7.66/gone",
        "http://192.168.7.66/endless",
        "http://192.168.7.66/round",
        "http://192.168.7.66/slow",
        "http://192.168.7.66:81/gone",
        "http://192.168.7.2/none",
        "http://192.168.7.2/boot/initrd.img",
        "http://192.168.7.2:81/closed",
        "http://192.168.7.77/nobody",
        "http://10.9.8.7/far",
        "http://gone.example.org/x",
        "http://silent.example.org/x",
        "http://nobody.local/x",
        "tftp://192.168.7.66/x",
        "tftp://192.168.7.77/x",
        "tftp://192.168.7.2/x",
        "https://192.168.7.2/x",
        "ftp://192.168.7.2/x",
        "nfs://192.168.7.2/x",
        "file:/x",
        "http://u:p@192.168.7.66/gone",
        "http://0.0.0.0/x",
        "http://127.0.0.1/x",
        "http://255.255.255.255/x",
        "http://224.0.0.1/x",
        "http://192.168.7.100/self",
        "http://[::1]/x",
        "http://",
        "http:/x",
        "none",
        "/none",
        "../../none",
        "menu/none",
        "${filename}",
        "${cwuri}",
        "x\ty",
        "%00",
        "\u{9b}31m",
    ];
    pick(random, &all).into()
}

/// A menu.
pub(crate) fn menu(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(14) {
        text.push_str(&head(random));
        text.push('\n');
    }
    for index in 0..random.below(6) {
        if random.chance(0.2) {
            text.push_str(pick(random, &["MENU BEGIN\n", "MENU BEGIN sub\n", "MENU END\n"]));
        }
        text.push_str(&format!(
            "LABEL {}\n",
            pick(random, &["a", "b", "c", "linux", "a b", "0", ""])
        ));
        for _ in 0..random.below(7) {
            text.push_str(&line(random, index));
            text.push('\n');
        }
    }
    text
}

fn head(random: &mut Random) -> String {
    let label = pick(random, &["a", "b", "c", "linux", "none", "x y", ".", "-"]);
    let number = number(random);
    let url = url(random);
    match random.below(28) {
        0..3 => format!("DEFAULT {label}"),
        3 => format!("DEFAULT {url}"),
        4..6 => format!(
            "UI {}",
            pick(
                random,
                &[
                    "menu.c32",
                    "vesamenu.c32",
                    "menu.c32 other",
                    "x.c32",
                    "MENU.C32 ~"
                ]
            )
        ),
        6 => format!("PROMPT {}", pick(random, &["0", "1", "2", ""])),
        7..11 => format!("TIMEOUT {number}"),
        11..13 => format!("TOTALTIMEOUT {number}"),
        13 => format!("ONTIMEOUT {label}"),
        14 => format!("ONERROR {label}"),
        15 => format!("INCLUDE {url}"),
        16 => format!("MENU INCLUDE {url} {label}"),
        17 => "MENU HIDDEN".into(),
        18 => format!("MENU TITLE {url}"),
        19 => format!("DISPLAY {url}"),
        20 => format!("SAY {url}"),
        21 => format!("F1 {url}"),
        22 => pick(
            random,
            &[
                "NOESCAPE 1",
                "ALLOWOPTIONS 0",
                "IMPLICIT 0",
                "NOCOMPLETE 1",
                "MENU SHIFTKEY",
            ],
        )
        .into(),
        23 => format!("MENU MASTER PASSWD {label}"),
        24 => format!("MENU AUTOBOOT {number}"),
        25 => format!("SERIAL 0 {number}"),
        26 => format!("menu.c32 {label}"),
        _ => format!("CONFIG {url}"),
    }
}

fn line(random: &mut Random, index: usize) -> String {
    let url = url(random);
    let number = number(random);
    match random.below(24) {
        0..4 => format!(
            "{} {url}",
            pick(
                random,
                &["LINUX", "KERNEL", "FIT", "BOOT", "COM32", "PXE", "BSS", "FDIMAGE"]
            )
        ),
        4 => format!("INITRD {url},{url}"),
        5 => format!("APPEND initrd={url} quiet entry={index}"),
        6 => format!("FDT {url}"),
        7 => format!("FDTDIR {url}"),
        8 => format!("FDTOVERLAYS {url} {url}"),
        9 => format!("LOCALBOOT {number}"),
        10 => format!("CONFIG {url}"),
        11 => format!("KERNEL menu.c32\nAPPEND {url}"),
        12 => "KERNEL menu.c32".into(),
        13 => format!(
            "COM32 {}\nAPPEND {url}",
            pick(
                random,
                &["chain.c32", "poweroff.c32", "reboot.c32", "whichsys.c32"]
            )
        ),
        14 => pick(
            random,
            &[
                "MENU DEFAULT",
                "MENU DISABLE",
                "MENU HIDE",
                "MENU QUIT",
                "MENU SEPARATOR",
                "MENU EXIT",
                "MENU GOTO sub",
                "MENU START",
            ],
        )
        .into(),
        15 => format!("MENU LABEL ^{url}"),
        16 => format!("MENU PASSWD {number}"),
        17 => format!("TEXT HELP\n{url}\n{}", pick(random, &["ENDTEXT", ""])),
        18 => format!("SYSAPPEND {number}"),
        19 => format!("IPAPPEND {number}"),
        20 => format!("TIMEOUT {number}"),
        21 => format!("ONTIMEOUT {url}"),
        22 => format!("devicetree-overlay {url}"),
        _ => format!("SAY {url}"),
    }
}

/// A script.
pub(crate) fn script(random: &mut Random) -> String {
    let mut text = String::from("#!ipxe\n");
    let looped = random.chance(0.4);
    if looped {
        text.push_str(":again\n");
    }
    for _ in 0..1 + random.below(9) {
        text.push_str(&command(random));
        text.push_str(pick(
            random,
            &["\n", " ||\n", " ||\n", " || goto again\n", " && goto again ||\n"],
        ));
    }
    text.push_str(match (looped, random.below(6)) {
        (true, 0..5) => "goto again\n",
        (_, 0) => "exit 1\n",
        (_, 1) => "exit 0\n",
        (_, 2) => "chain http://192.168.7.66/round-again\n",
        (_, 3) => "shell\n",
        _ => "",
    });
    text
}

fn command(random: &mut Random) -> String {
    let url = url(random);
    let n = number(random);
    let host = pick(
        random,
        &[
            "192.168.7.2",
            "192.168.7.66",
            "192.168.7.77",
            "10.9.8.7",
            "gone.example.org",
            "silent.example.org",
            "0.0.0.0",
            "${netX/gateway}",
        ],
    );
    let net = pick(random, &["net0", "netX", "net0-5", "net1", ""]);
    let timeout = match random.below(3) {
        0 => String::new(),
        _ => format!("--timeout {n} "),
    };
    match random.below(46) {
        0..4 => format!("set bramble.url {url}"),
        4 => format!(
            "set bramble.url {HONEST}/{}",
            pick(random, &["none", "boot/initrd.img", "boot/", "waits"])
        ),
        5 => format!("set bramble.attempts {n}"),
        6 => format!(
            "set bramble.platform {}",
            pick(random, &["pcbios", "x", "efi", ""])
        ),
        7 => format!("set bramble.menu-timeout {n}"),
        8 => format!(
            "set bramble.{} {n}",
            pick(
                random,
                &["poweroff", "user-class", "ipxe-features", "x", "", "require"]
            )
        ),
        9 => format!(
            "set net0/{} {host}",
            pick(
                random,
                &[
                    "ip",
                    "netmask",
                    "gateway",
                    "dns",
                    "next-server",
                    "filename",
                    "mac"
                ]
            )
        ),
        10 => format!("set netX/netmask 255.0.255.0 ||\nset netX/ip {host}"),
        11..14 => format!("sleep {n}"),
        14 => format!("ping {timeout}--count {n} {host}"),
        15 => format!("ping {timeout}{host}"),
        16 => format!("ifconf {timeout}{net}"),
        17 => format!(
            "vcreate --tag {} {net}\nifconf {timeout}net0-5",
            pick(random, &["5", "0", "4095", "9"])
        ),
        18 => format!(
            "{} {net}",
            pick(
                random,
                &[
                    "ifopen",
                    "ifclose",
                    "ifstat",
                    "vdestroy",
                    "route",
                    "iflinkwait --timeout 4294967295"
                ]
            )
        ),
        19 => format!("nslookup x {host}"),
        20 => format!("ntp {host}"),
        21..24 => format!(
            "chain {timeout}{}{url}",
            pick(random, &["", "--autofree ", "--replace "])
        ),
        24 => "chain http://192.168.7.66/round-again".into(),
        25..27 => format!("imgfetch {timeout}{url}"),
        27 => format!("imgfetch {timeout}http://192.168.7.66/endless"),
        28 => format!("params\nparam x {n}\nparam --header Authorization {n}\nimgfetch {url}##params"),
        29 => format!("imgargs {url} {n}"),
        30 => format!("menu {n}\nitem a {url}\nitem b {n}\nchoose {timeout}x"),
        31 => format!("menu\nitem --key a a a\nchoose {timeout}--retimeout {n} x"),
        32 => format!("prompt {timeout}{url}"),
        33 => "form\nitem a a\nitem --secret b b\npresent".into(),
        34 => pick(
            random,
            &[
                "read x", "login", "config", "shell", "show x", "help", "console", "sync",
            ],
        )
        .into(),
        35 => format!("time sleep {n}"),
        36 => format!("exit {n}"),
        37 => pick(
            random,
            &[
                "reboot",
                "poweroff",
                "sanboot http://192.168.7.66/x",
                "autoboot",
                "imgfree",
                "imgstat",
                "dhcp",
                "boot",
            ],
        )
        .into(),
        38 => "imgtrust --permanent".into(),
        39 => format!(
            "{} {url}",
            pick(
                random,
                &[
                    "imgextract",
                    "imgset x",
                    "imgverify x",
                    "sha512sum",
                    "fdt",
                    "shim",
                    "md5sum",
                    "imgselect"
                ]
            )
        ),
        40 => format!("inc x {n}"),
        41 => format!(
            "set x:{} {n}",
            pick(
                random,
                &["hex", "int8", "uint32", "ipv4", "uristring", "base64", "none"]
            )
        ),
        42 => format!(
            "echo {url} ${{{}}}",
            pick(
                random,
                &["x", "net0/ip", "67:hex", "cwuri", "x:y:z", "netX/175.177"]
            )
        ),
        43 => pick(
            random,
            &["goto again", "goto none", "iseq a b", "isset ${x}", "foo"],
        )
        .into(),
        44 => format!("kernel {timeout}{url}"),
        _ => format!("initrd {timeout}{url} x mode={n}"),
    }
}

/// Changes an answer of a DHCP server, whose options begin behind 240 bytes: the header's fields, and options of every kind.
pub(crate) fn dhcp(random: &mut Random, reply: &mut Vec<u8>) {
    let address = |random: &mut Random| {
        let all = [
            [0, 0, 0, 0],
            [127, 0, 0, 1],
            [224, 0, 0, 1],
            [255; 4],
            [192, 168, 7, 1],
            [192, 168, 7, 2],
            [192, 168, 7, 66],
            [192, 168, 7, 77],
            [192, 168, 7, 99],
            [192, 168, 7, 255],
            [10, 9, 8, 7],
            [169, 254, 1, 1],
        ];
        all[random.below(all.len())]
    };
    let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut rest = &reply[240..];
    while let [code @ 1..=254, len, tail @ ..] = rest {
        let (value, tail) = tail.split_at(usize::from(*len));
        options.push((*code, value.to_vec()));
        rest = tail;
    }
    reply.truncate(240);
    for _ in 0..1 + random.below(6) {
        let number = [0, 1, 2, 5, 60, 3600, u32::MAX - 1, u32::MAX][random.below(8)];
        let noise = |random: &mut Random| {
            let mut bytes = vec![0; random.below(300)];
            random.fill(&mut bytes);
            bytes
        };
        let (code, value) = match random.below(22) {
            0 => {
                reply[16..20].copy_from_slice(&address(random));
                continue;
            }
            1 => {
                reply[20..24].copy_from_slice(&address(random));
                continue;
            }
            2 => {
                let file = url(random);
                reply[108..236].fill(0);
                reply[108..108 + file.len().min(128)]
                    .copy_from_slice(&file.as_bytes()[..file.len().min(128)]);
                continue;
            }
            3 => {
                random.fill(&mut reply[44..108]);
                continue;
            }
            4 => (1, address(random).to_vec()),
            5 => (3, [address(random), address(random)].concat()),
            6 => (6, [address(random), address(random), address(random)].concat()),
            7 => ([12, 15, 17, 66][random.below(4)], url(random).into_bytes()),
            8 => (
                26,
                [[0, 0], [0, 68], [5, 220], [255, 255]][random.below(4)].to_vec(),
            ),
            9 => (51, number.to_be_bytes().to_vec()),
            10 => ([58, 59][random.below(2)], number.to_be_bytes().to_vec()),
            11 => (52, vec![[0, 1, 2, 3, 255][random.below(5)]]),
            12 => (53, vec![[1, 2, 4, 5, 6, 9, 0][random.below(7)]]),
            13 => (54, address(random).to_vec()),
            14 => (67, url(random).into_bytes()),
            15 => (
                119,
                [&[0xc0, 0][..], &[63, 1], &[3, b'a', b'b', b'c', 0]][random.below(3)].to_vec(),
            ),
            16 => (
                121,
                [
                    &[33, 1, 2, 3][..],
                    &[0, 192, 168, 7, 77],
                    &[8, 10, 192, 168, 7, 77],
                    &[32, 192, 168, 7, 2, 192, 168, 7, 77],
                ][random.below(4)]
                .to_vec(),
            ),
            17 => (209, url(random).into_bytes()),
            18 => (210, url(random).into_bytes()),
            19 => (
                [43, 175][random.below(2)],
                [
                    &[6, 1, 8][..],
                    &[6, 1, 3, 8, 4, 0, 0, 192, 168],
                    &[0xb0, 1, 1, 0xbf, 3, 97, 98, 99],
                    &[175, 255],
                    &[71, 4, 0x80, 0, 0, 0],
                ][random.below(5)]
                .to_vec(),
            ),
            20 => (random.below(255).max(1) as u8, noise(random)),
            _ => (60, b"PXEClient".to_vec()),
        };
        options.retain(|(other, _)| *other != code);
        options.push((code, value));
    }
    for (code, value) in options {
        for piece in value.chunks(255).chain(value.is_empty().then_some(&[][..])) {
            reply.extend([code, piece.len() as u8]);
            reply.extend(piece);
        }
    }
    reply.push(255);
    reply.resize(reply.len().max(300), 0);
}

/// The head, and perhaps the body, of an HTTP server's answer.
pub(crate) fn http(random: &mut Random) -> Vec<u8> {
    let status = pick(
        random,
        &[
            "200 OK",
            "204 No Content",
            "206 Partial Content",
            "301 Moved",
            "302 Found",
            "307 x",
            "401 Who",
            "403 No",
            "404 Gone",
            "407 Proxy",
            "416 Range",
            "429 Slow",
            "500 Oops",
            "503 Busy",
            "999 x",
            "000 x",
            "20",
            "",
        ],
    );
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for _ in 0..random.below(6) {
        let n = number(random);
        let url = url(random);
        head.push_str(&match random.below(14) {
            0..3 => format!("Content-Length: {n}"),
            3 => format!(
                "Transfer-Encoding: {}",
                pick(random, &["chunked", "gzip, chunked", "identity", "x"])
            ),
            4..6 => format!("Location: {url}"),
            6 => "Location: http://192.168.7.2/boot/round".into(),
            7 => format!("Retry-After: {n}"),
            8 => format!(
                "WWW-Authenticate: {}",
                pick(
                    random,
                    &[
                        "Basic realm=\"x\"",
                        "Digest realm=x, nonce=y, qop=auth",
                        "Digest realm=\"\u{1b}[2J",
                        "Negotiate",
                        "Digest",
                        "Basic, Basic, Digest stale=true"
                    ]
                )
            ),
            9 => format!("Content-Range: bytes {n}-{n}/{n}"),
            10 => "ETag: \"x\"".into(),
            11 => format!(
                "Connection: {}",
                pick(random, &["close", "keep-alive", "upgrade"])
            ),
            12 => format!("X: {}", "y".repeat(random.below(20_000))),
            _ => format!("Content-Encoding: {}", pick(random, &["gzip", "br"])),
        });
        head.push_str("\r\n");
    }
    if random.chance(0.9) {
        head.push_str("\r\n");
    }
    let mut bytes = head.into_bytes();
    let body = match random.below(4) {
        0 => menu(random).into_bytes(),
        1 => script(random).into_bytes(),
        2 => format!(
            "{}\r\nx\r\n0\r\n",
            pick(random, &["1", "ffffffffffffffff", "-1", "1;x=y"])
        )
        .into_bytes(),
        _ => Vec::new(),
    };
    bytes.extend(body);
    bytes
}

/// Changes a datagram of any protocol, keeping what the node compares often enough: cut, longer, bits, a span of noise.
pub(crate) fn datagram(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(5) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 => bytes.resize(bytes.len() + random.below(900), random.draw() as u8),
        2 | 3 => {
            for _ in 0..1 + random.below(4) {
                // Where an identifier is, seldom: a wrong one would only be dropped.
                let from = if random.chance(0.9) { bytes.len().min(2) } else { 0 };
                if from < bytes.len() {
                    let at = from + random.below(bytes.len() - from);
                    bytes[at] ^= 1 << random.below(8);
                }
            }
        }
        _ => {
            let from = bytes.len().min(2 + random.below(12));
            random.fill(&mut bytes[from..]);
        }
    }
}
