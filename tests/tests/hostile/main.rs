//! Hostile input: whatever a network sends, an error or a right answer, within the limits below.

mod comes_back;
mod printed;
mod stranger;

use boot::{Error, Handoff, load};
use dtoolkit::fdt::Fdt;
use dtoolkit::{Node as _, Property as _};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;
use tests::heap::{Counting, measured, peak};
use tests::{Answer, Dns, Host, Mutation, Proxy, Random, Reply, Site, payload, seeds, site};

/// Heap that `boot` may hold at once: an eighth of the 8 MiB that the kernel gives it.
const MOST_HEAP: usize = 1 << 20;
/// Virtual time that two attempts may take, from switching on, on a network that is honest after `LYING`.
const MOST_TIME: Duration = Duration::from_secs(20 * 60);
/// How long the DHCP server lies: no client can boot before it stops.
const LYING: Duration = Duration::from_secs(60);
/// Bytes of a line that a person is meant to read.
const MOST_LINE: usize = 1024;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` as `boot`'s and checks how much heap it held.
fn bounded<T>(work: impl FnOnce() -> T) -> T {
    held_by(MOST_HEAP, work)
}

/// The same, with at most `most` bytes.
fn held_by<T>(most: usize, work: impl FnOnce() -> T) -> T {
    let (result, peak) = measured(work);
    assert!(peak <= most, "boot held {peak} bytes of heap");
    result
}

/// Two attempts at most; then all limits are checked, and every line that a person would read.
fn survives(site: &mut Site) -> Result<Handoff, Error> {
    survives_for(site, MOST_TIME)
}

/// The same within `most` of virtual time.
fn survives_for(site: &mut Site, most: Duration) -> Result<Handoff, Error> {
    site.lan.limit(most);
    let result = bounded(|| site.boot_attempts(2));
    let mut lines: Vec<String> = tests::lines().into_iter().map(|line| line.text).collect();
    lines.extend(result.as_ref().err().map(ToString::to_string));
    for line in lines {
        assert!(!line.is_empty() && line.len() <= MOST_LINE, "{line:?}");
        assert!(!line.contains(char::is_control), "control characters in {line:?}");
    }
    result
}

/// What became of the spoilt input of one test. When hardly any is taken, another reason than the mutations refuses it; when hardly
/// any is refused, nobody looks.
struct Tally {
    taken: usize,
    refused: usize,
    least: (usize, usize),
}

impl Tally {
    /// Of a test in which so many must be taken, and so many refused.
    fn at_least(taken: usize, refused: usize) -> Self {
        Self {
            taken: 0,
            refused: 0,
            least: (taken, refused),
        }
    }

    /// A session on spoilt input: it survives, is counted, and when it boots the kernel is the one that was served.
    fn session(&mut self, site: &mut Site, mutation: Mutation) -> Result<Handoff, Error> {
        let result = survives(site);
        self.count(&result);
        if let Ok(handoff) = &result {
            assert_kernel(site, handoff, mutation);
        }
        result
    }

    fn count<T, E>(&mut self, result: &Result<T, E>) {
        *(if result.is_ok() {
            &mut self.taken
        } else {
            &mut self.refused
        }) += 1;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let Self {
            taken,
            refused,
            least,
        } = *self;
        println!("{taken} taken, {refused} refused");
        if !std::thread::panicking() {
            let enough = taken >= least.0 && refused >= least.1;
            assert!(enough, "{taken} taken, {refused} refused; at least {least:?}");
        }
    }
}

/// A site with payloads so small that thousands of boots take seconds.
fn small_site() -> Site {
    Site::with_payload(1, 600, 100)
}

/// The kernel that was served is the kernel that would run.
fn assert_kernel(site: &Site, handoff: &Handoff, mutation: Mutation) {
    assert_eq!(
        site.node.at(handoff.entry)[..600],
        site.kernel[..],
        "{mutation:?}"
    );
}

#[test]
fn the_limits_are_not_idle() {
    let mut site = small_site();
    let (result, held) = measured(|| site.boot_attempts(2));
    result.unwrap();
    assert!(held > 10_000, "the allocator counts: {held}");
    println!("heap of a plain boot: {} bytes", peak());
}

fn dhcp(mutations: impl Iterator<Item = Mutation>, mut tally: Tally, spoil: impl Fn(&mut Site)) {
    for mutation in mutations {
        let mut site = small_site();
        spoil(&mut site);
        site.dhcp.borrow_mut().tamper = Some(Box::new(move |reply| *reply = mutation.apply(reply)));
        let server = site.dhcp.clone();
        site.lan.at(LYING, move || server.borrow_mut().tamper = None);
        let _ = tally.session(&mut site, mutation);
    }
}

/// The reply's last bytes are padding; these many are not.
const DHCP_REPLY: usize = 300;

#[test]
fn dhcp_truncated() {
    // The server is honest in the end.
    dhcp(Mutation::cuts(DHCP_REPLY), Tally::at_least(DHCP_REPLY, 0), |_| ());
}

#[test]
fn dhcp_changed() {
    // `chaddr`'s padding, `sname` and most of `file` are read as they are, or not at all.
    let dull = |mutation: &Mutation| matches!(mutation, Mutation::Flip(at, _) if (48..236).contains(at));
    let all = Mutation::changes(DHCP_REPLY).filter(|m| !dull(m));
    dhcp(all, Tally::at_least(28_000, 1), |_| ());
    let all = Mutation::flips(DHCP_REPLY).filter(dull);
    dhcp(all, Tally::at_least(1_300, 150), |_| ());
}

#[test]
fn dhcp_random() {
    dhcp(Mutation::random(300), Tally::at_least(550, 5), |_| ());
}

#[test]
fn dhcp_options_changed() {
    // Every option that the client reads, so that each one's length and value get their turn.
    let options: [(u8, &[u8]); 8] = [
        (3, &[192, 168, 7, 1]),
        (6, &[192, 168, 7, 3]),
        (15, b"example.org"),
        (26, &[5, 220]),
        (43, &[6, 1, 8, 255]),
        (121, &[16, 10, 9, 192, 168, 7, 254]),
        (175, &[0xb0, 1, 1]),
        (210, b"http://192.168.7.2/boot/"),
    ];
    let spoil = |site: &mut Site| {
        let mut dhcp = site.dhcp.borrow_mut();
        for (code, value) in options {
            dhcp.options.push((code, value.to_vec()));
        }
    };
    // The options begin behind the cookie.
    let in_options = |mutation: &Mutation| matches!(mutation, Mutation::Flip(at, _) if *at >= 240);
    dhcp(
        Mutation::flips(380).filter(in_options),
        Tally::at_least(1_200, 1),
        spoil,
    );
}

#[test]
fn proxy_dhcp_mutated() {
    for file_in_offer in [true, false] {
        let all = Mutation::cuts(DHCP_REPLY)
            .chain(Mutation::flips(DHCP_REPLY))
            .chain(Mutation::random(300));
        let mut tally = Tally::at_least(1_700, 1_000);
        for mutation in all {
            let mut site = small_site();
            site.dhcp.borrow_mut().file.clear();
            let mut proxy = Proxy::new(site::MENU);
            proxy.file_in_offer = file_in_offer;
            proxy.tamper = Some(Box::new(move |reply| *reply = mutation.apply(reply)));
            site.lan.serve([192, 168, 7, 5], proxy);
            let _ = tally.session(&mut site, mutation);
        }
    }
}

#[test]
fn dns_mutated() {
    let len = 12 + 22 + 16;
    let all = Mutation::cuts(len)
        .chain(Mutation::changes(len))
        .chain(Mutation::random(300));
    let mut tally = Tally::at_least(1_500, 8_000);
    for mutation in all {
        let mut site = small_site();
        let name = Answer::A(vec![site::HTTP.into()]);
        let mut dns = Dns::new().name("boot.example.org", name);
        dns.tamper = Some(Box::new(move |reply| *reply = mutation.apply(reply)));
        site.lan.serve([192, 168, 7, 3], dns);
        let mut dhcp = site.dhcp.borrow_mut();
        dhcp.file = "http://boot.example.org/boot/menu".into();
        dhcp.options.push((6, vec![192, 168, 7, 3]));
        drop(dhcp);
        let _ = tally.session(&mut site, mutation);
    }
}

/// What stands behind a response's head.
fn behind_head(response: &[u8]) -> &[u8] {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n");
    end.map_or(&[], |end| &response[end + 4..])
}

/// What chunks hold, where they are as they should be (RFC 9112 §7.1).
fn chunks(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&body[..end]).ok()?;
        let len = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
        body = &body[end + 2..];
        if len == 0 {
            return Some(all);
        }
        all.extend(body.get(..len)?);
        body = body.get(len..)?.strip_prefix(b"\r\n")?;
    }
}

/// Serves the kernel in a response mutated as raw bytes. What boots begins with all that `body` finds in it, another reader; as often as
/// `at_least`.
fn http(
    golden: &dyn Fn(&[u8]) -> Vec<u8>,
    len: usize,
    mut tally: Tally,
    body: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
    at_least: u32,
) {
    let mut compared = 0;
    let all = Mutation::cuts(len)
        .chain(Mutation::flips(len))
        .chain(Mutation::random(200));
    for mutation in all {
        let mut site = small_site();
        let response = mutation.apply(&golden(&site.kernel));
        site.route("/boot/Image", [Reply::raw(response.clone())]);
        site.route("/boot/real", [Reply::ok(site.kernel.clone())]);
        let result = survives(&mut site);
        tally.count(&result);
        if let Ok(handoff) = result {
            let found = site.node.at(handoff.entry);
            assert_eq!(found[56..60], *b"ARM\x64", "{mutation:?}");
            if site.asked().iter().any(|path| path == "/boot/real") {
                assert_kernel(&site, &handoff, mutation);
                compared += 1;
            } else if let Some(body) = body(&response) {
                assert_eq!(found[..body.len()], body[..], "{mutation:?}");
                compared += 1;
            }
        }
    }
    assert!(compared >= at_least, "{compared}");
}

#[test]
fn http_with_a_length_mutated() {
    let golden = |kernel: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", kernel.len());
        [head.as_bytes(), kernel].concat()
    };
    // As many bytes as the head says, or all that come.
    let body = |response: &[u8]| {
        let head =
            String::from_utf8_lossy(&response[..response.len() - behind_head(response).len()]).into_owned();
        let said = head
            .split_once("Content-Length: ")?
            .1
            .split_once('\r')?
            .0
            .parse::<usize>();
        behind_head(response).get(..said.ok()?).map(<[u8]>::to_vec)
    };
    http(&golden, 42 + 10, Tally::at_least(250, 400), &body, 100);
}

#[test]
fn http_in_chunks_mutated() {
    let golden = |kernel: &[u8]| {
        let mut response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        response.extend(b"40;x=y\r\n");
        response.extend(&kernel[..0x40]);
        response.extend(b"\r\n218\r\n");
        response.extend(&kernel[0x40..]);
        response.extend(b"\r\n0\r\nTrailer: x\r\n\r\n");
        response
    };
    let body = |response: &[u8]| chunks(behind_head(response));
    http(&golden, 140, Tally::at_least(500, 800), &body, 200);
}

#[test]
fn http_redirect_mutated() {
    let golden = |_: &[u8]| b"HTTP/1.1 302 Found\r\nLocation: http://192.168.7.2/boot/real\r\n\r\n".to_vec();
    http(&golden, 62, Tally::at_least(60, 700), &|_| None, 60);
}

#[test]
fn pxelinux_mutated() {
    let golden = "DEFAULT a\nTIMEOUT 10\nPROMPT 0\nSAY hi\nINCLUDE b\nLABEL a\nMENU LABEL ^A\nLINUX Image\nINITRD x,y\nAPPEND initrd=z q\nFDT d\nIPAPPEND 3\n";
    let all: Vec<Mutation> = Mutation::cuts(golden.len())
        .chain(Mutation::flips(golden.len()))
        .chain(Mutation::random(300))
        .collect();
    let ends = seeds::each(0..all.len() as u64, |nth| {
        let mut site = small_site();
        let menu = all[nth as usize].apply(golden.as_bytes());
        site.route("/boot/menu", [Reply::ok(menu)]);
        site.route("/boot/b", [Reply::ok("LABEL b\nLINUX Image\n")]);
        for path in ["/boot/x", "/boot/y", "/boot/z"] {
            site.route(path, [Reply::ok(payload::body(60, 3))]);
        }
        site.route("/boot/d", [Reply::ok(payload::device_tree())]);
        // Somebody is at the console of a menu that waits for a person, and tries another entry when one fails.
        site.node.keys = (1..20)
            .map(|turn| (Duration::from_secs(30 * turn), b"\x1b[B\r".to_vec()))
            .collect();
        // Where none boots, each attempt ends an hour after the last key.
        let end = survives_for(&mut site, Duration::from_secs(3 * 3600));
        end.map(drop).map_err(drop)
    });
    let mut tally = Tally::at_least(100, 10);
    for (_, end) in &ends {
        tally.count(end);
    }
}

#[test]
fn gzip_kernel_mutated() {
    let golden = payload::gzip(&payload::image(600));
    let all = Mutation::cuts(golden.len())
        .chain(Mutation::flips(golden.len()))
        .chain(Mutation::random(300));
    let mut tally = Tally::at_least(50, 5_000);
    for mutation in all {
        let mut site = small_site();
        site.route("/boot/Image", [Reply::ok(mutation.apply(&golden))]);
        let _ = tally.session(&mut site, mutation);
    }
}

#[test]
fn menus_at_their_limits() {
    let entry = "LABEL a\nLINUX Image\n";
    let menus = [
        (
            "includes itself",
            format!("INCLUDE menu\nINCLUDE menu\n{entry}"),
            "INCLUDE nested more than 16 deep",
        ),
        (
            "many entries",
            (0..3000).map(|n| format!("LABEL {n}\nLINUX Image\n")).collect(),
            "line 2049: more than 1024 entries",
        ),
        (
            "a long line",
            format!("{entry}APPEND {}\n", "x".repeat(60_000)),
            "line 3: longer than 16384 bytes",
        ),
        (
            "many initrds",
            format!("{entry}INITRD {}\n", "x,".repeat(30_000)),
            "line 3: longer than 16384 bytes",
        ),
        (
            "many messages",
            "SAY hello\n".repeat(6_000) + entry,
            "nobody chose anything",
        ),
        (
            "many submenus",
            "MENU BEGIN\n".repeat(5_000) + entry,
            "line 64: more than 63 submenus",
        ),
        (
            "many labels that never end",
            "LABEL a\n".repeat(7_000) + entry,
            "line 1025: more than 1024 entries",
        ),
        ("only blanks", " \t\n".repeat(20_000) + entry, "boots"),
    ];
    for (what, text, expected) in menus {
        let mut site = small_site();
        site.route("/boot/menu", [Reply::ok(text)]);
        site.route("/boot/x", [Reply::ok("initrd")]);
        // Where no default is told nobody chooses, twice for an hour.
        let result = survives_for(&mut site, Duration::from_secs(3 * 60 * 60));
        let end = result.map_or_else(|error| error.to_string(), |_| "boots".to_owned());
        println!("{what}: heap {}, {end}", peak());
        assert!(end.contains(expected), "{what}: {end}");
    }
    // A chain of includes: each menu brings the next.
    let mut site = small_site();
    site.route("/boot/menu", [Reply::ok(format!("INCLUDE m0\n{entry}"))]);
    for n in 0..200 {
        site.route(
            &format!("/boot/m{n}"),
            [Reply::ok(format!("INCLUDE m{}\n{entry}", n + 1))],
        );
    }
    let error = survives_for(&mut site, Duration::from_secs(3 * 60 * 60)).unwrap_err();
    assert!(
        error.to_string().contains("INCLUDE nested more than 16 deep"),
        "{error}"
    );
    let asked = site.http.borrow().log.len();
    assert!(asked < 100, "{asked} requests");
}

/// What the public parsers make of every change: an error, or what was meant.
#[test]
fn payload_parsers_changed() {
    let image = payload::image(600);
    let packed = payload::gzip(&image);
    let tree = payload::device_tree();
    let mut room = vec![0; 1024];
    let all = |len: usize| {
        Mutation::cuts(len)
            .chain(Mutation::changes(len))
            .chain(Mutation::random(2_000))
    };
    let mut tally = Tally::at_least(1_200, 120_000);
    for mutation in all(packed.len()) {
        let file = mutation.apply(&packed);
        let result = bounded(|| tests::as_boot(|| load::gzip::unpack(&file, &mut room, &mut |_| {})));
        tally.count(&result);
        if let Ok(len) = result {
            assert_eq!(room[..len], image[..], "{mutation:?}");
        }
    }
    drop(tally);
    let mut tally = Tally::at_least(11_000, 3_500);
    for mutation in all(64) {
        let file = mutation.apply(&image[..64]);
        let result = bounded(|| tests::as_boot(|| load::image::parse(&file)));
        tally.count(&result);
        if let Ok(parsed) = result {
            assert_eq!(file[56..60], *b"ARM\x64", "{mutation:?}: {parsed:?}");
        }
    }
    drop(tally);
    let mut tally = Tally::at_least(60_000, 75_000);
    for mutation in all(tree.len()) {
        let file = mutation.apply(&tree);
        let result = bounded(|| {
            tests::as_boot(|| {
                let result = load::device_tree::Tree::check(&file);
                if let Ok(tree) = &result {
                    let _ = (tree.model(), tree.bootargs(), tree.mac(), tree.alias("ethernet0"));
                    assert!(tree.memory().count() <= file.len());
                    assert!(tree.reservations().count() <= file.len());
                }
                result.map(|_| ())
            })
        });
        tally.count(&result);
    }
}

/// The same for U-Boot's formats.
#[test]
fn uboot_parsers_changed() {
    let image = payload::image(600);
    let wrapped = payload::uimage(2, &image);
    let all = |len: usize| {
        Mutation::cuts(len)
            .chain(Mutation::flips(len))
            .chain(Mutation::random(2_000))
    };
    let unwrapped = |file: &[u8]| {
        let contents = load::uimage::contents(file, load::uimage::ImageType::Kernel, &mut |_| {});
        contents.map(|range| file[range].to_vec())
    };
    let mut tally = Tally::at_least(60, 8_000);
    for mutation in all(wrapped.len()) {
        let file = mutation.apply(&wrapped);
        let result = bounded(|| tests::as_boot(|| unwrapped(&file)));
        tally.count(&result);
        if let Ok(contents) = result {
            assert_eq!(contents, image, "{mutation:?}");
        }
    }
    drop(tally);
    let fit = payload::fit(
        &[
            ("kernel", "kernel", &image),
            ("tree", "flat_dt", &[1; 50]),
            ("initrd", "ramdisk", &[2; 50]),
        ],
        &[("one", "kernel", &["tree"], "initrd"), ("two", "kernel", &[], "")],
    );
    let mut tally = Tally::at_least(4_000, 25_000);
    for mutation in all(fit.len()) {
        let file = mutation.apply(&fit);
        for configuration in [None, Some("two")] {
            let result =
                bounded(|| tests::as_boot(|| load::fit::open(&file, configuration, None, &mut |_| {})));
            tally.count(&result);
            if let Ok(contents) = result {
                let parts = [Some(contents.kernel), contents.device_tree, contents.ramdisk];
                for part in parts.into_iter().flatten() {
                    assert!(
                        file.get(part.clone()).is_some_and(|part| !part.is_empty()),
                        "{mutation:?}"
                    );
                }
            }
        }
    }
    drop(tally);
    let (tree, overlay) = (payload::device_tree(), payload::overlay("x"));
    let base = load::device_tree::Tree::check(&tree).unwrap();
    let mut changed = 0;
    for mutation in all(overlay.len()) {
        let bytes = mutation.apply(&overlay);
        let overlay = load::overlay::Overlay {
            name: "x",
            bytes: &bytes,
        };
        let result = bounded(|| tests::as_boot(|| load::overlay::merged(&base, &[overlay]).to_dtb()));
        load::device_tree::Tree::check(&result).unwrap_or_else(|error| panic!("{mutation:?}: {error}"));
        changed += usize::from(result != tree);
    }
    assert!(changed > 0);
}

/// A FIT image in whole sessions.
#[test]
fn fit_image_mutated() {
    let kernel = payload::image(600);
    let golden = payload::fit(
        &[
            ("kernel", "kernel", &kernel),
            ("tree", "flat_dt", &payload::device_tree()),
            ("more", "flat_dt", &payload::overlay("x")),
            ("initrd", "ramdisk", &payload::body(100, 77)),
        ],
        &[("one", "kernel", &["tree", "more"], "initrd")],
    );
    let mut tally = Tally::at_least(10, 700);
    for mutation in Mutation::random(300).chain((0..golden.len()).step_by(7).map(Mutation::Cut)) {
        let mut site = small_site();
        site.route("/boot/menu", [Reply::ok("LABEL a\nLINUX Image\n")]);
        site.route("/boot/Image", [Reply::ok(mutation.apply(&golden))]);
        tally.count(&survives(&mut site));
    }
}

#[test]
fn a_gzip_bomb_is_refused() {
    let mut site = small_site();
    site.node = tests::Node::with_memory(16 << 20);
    let mut bomb = payload::image(600);
    bomb.resize(64 << 20, 0);
    site.route("/boot/Image", [Reply::ok(payload::gzip(&bomb))]);
    let error = survives(&mut site).unwrap_err().to_string();
    assert!(error.contains("/boot/Image"), "{error}");
    assert!(error.contains("unpacks to more than"), "{error}");
}

#[test]
fn image_header_mutated() {
    let golden = payload::image(600);
    let all = Mutation::cuts(golden.len())
        .chain(Mutation::flips(64))
        .chain(Mutation::random(300));
    let mut tally = Tally::at_least(900, 400);
    for mutation in all {
        let mut site = small_site();
        let served = mutation.apply(&golden);
        site.route("/boot/Image", [Reply::ok(served.clone())]);
        let result = survives(&mut site);
        tally.count(&result);
        if let Ok(handoff) = result {
            assert_eq!(
                site.node.at(handoff.entry)[..served.len()],
                served[..],
                "{mutation:?}"
            );
        }
    }
}

#[test]
fn firmware_device_tree_mutated() {
    let golden = payload::device_tree();
    let all = Mutation::cuts(golden.len())
        .chain(Mutation::flips(golden.len()))
        .chain(Mutation::random(300));
    let mut tally = Tally::at_least(2_200, 3_500);
    let mut read = 0;
    for mutation in all {
        let mut site = small_site();
        site.node.device_tree = Some(mutation.apply(&golden));
        if let Ok(handoff) = tally.session(&mut site, mutation) {
            let tree = site.node.at(handoff.device_tree);
            assert_eq!(tree[..4], 0xd00d_feed_u32.to_be_bytes(), "{mutation:?}");
            let total = u32::from_be_bytes(tree[4..8].try_into().unwrap()) as usize;
            // Another reader finds what Linux needs. It is stricter than Linux about names, which are the firmware's.
            if let Ok(fdt) = Fdt::new(&tree[..total]) {
                let chosen = fdt.find_node("/chosen").expect("/chosen");
                let words = chosen.property("bootargs").expect("bootargs");
                let words: &str = words.value_as().expect("text");
                assert!(words.starts_with("root=/dev/ram0"), "{mutation:?}: {words}");
                assert!(chosen.property("linux,initrd-start").is_some(), "{mutation:?}");
                read += 1;
            }
        }
    }
    assert!(read >= 500, "{read}");
}

#[test]
fn served_device_tree_mutated() {
    let golden = payload::device_tree();
    let all = Mutation::cuts(golden.len())
        .chain(Mutation::flips(golden.len()))
        .chain(Mutation::random(300));
    let mut tally = Tally::at_least(2_500, 3_300);
    for mutation in all {
        let mut site = small_site();
        site.route("/boot/menu", [Reply::ok("LABEL a\nLINUX Image\nFDT tree.dtb\n")]);
        site.route("/boot/tree.dtb", [Reply::ok(mutation.apply(&golden))]);
        if let Err(error) = tally.session(&mut site, mutation) {
            let error = error.to_string();
            assert!(error.contains("/boot/tree.dtb"), "{mutation:?}: {error}");
        }
    }
}

#[test]
fn a_device_tree_nested_without_end_is_refused() {
    let nested = payload::nested_device_tree(10_000);
    let mut firmware = small_site();
    firmware.node.device_tree = Some(nested.clone());
    let served = small_site();
    served.route("/boot/menu", [Reply::ok("LABEL a\nLINUX Image\nFDT tree.dtb\n")]);
    served.route("/boot/tree.dtb", [Reply::ok(nested)]);
    for mut site in [firmware, served] {
        let error = survives(&mut site).unwrap_err().to_string();
        assert!(error.to_lowercase().contains("device tree"), "{error}");
    }
}

/// A host that talks nonsense to everybody: random frames, and ARP and UDP heads with random insides.
struct Babbler {
    random: Random,
    next: Instant,
}

impl Host for Babbler {
    fn mac(&self) -> EthernetAddress {
        EthernetAddress([2, 0, 0, 0, 0, 0xbb])
    }

    fn receive(&mut self, _: Instant, _: &[u8]) {}

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        if now < self.next {
            return;
        }
        self.next = now + Duration::from_millis(5);
        let mut frame = vec![0; 14 + self.random.below(1500)];
        self.random.fill(&mut frame);
        let to_node = [tests::MAC.as_bytes(), &[255; 6]][self.random.below(2)];
        frame[..6].copy_from_slice(to_node);
        frame[12..14].copy_from_slice(&[[8, 0], [8, 6], [0x86, 0xdd], [0x81, 0]][self.random.below(4)]);
        if let Some(ip) = frame.get_mut(14..54) {
            // Often enough a plausible IPv4 head, so that what lies behind it is looked at.
            if self.random.chance(0.7) {
                ip[0] = 0x45;
                ip[6..8].fill(0);
                ip[9] = [6, 17][self.random.below(2)];
                ip[16..20].copy_from_slice(&[192, 168, 7, 100]);
                ip[22..24].copy_from_slice(&[0, 68]);
                let len = (frame.len() - 14) as u16;
                frame[16..18].copy_from_slice(&len.to_be_bytes());
                let sum = ip_checksum(&frame[14..34]);
                frame[24..26].copy_from_slice(&sum.to_be_bytes());
            }
        }
        send(frame);
    }

    fn next(&mut self, _: Instant) -> Option<Instant> {
        Some(self.next)
    }
}

/// RFC 1071 over a 20-byte head whose own field is still to be set.
fn ip_checksum(head: &[u8]) -> u16 {
    let sum: u32 = head
        .chunks(2)
        .enumerate()
        .filter(|(index, _)| *index != 5)
        .map(|(_, two)| u32::from(two[0]) << 8 | u32::from(two[1]))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[test]
fn a_host_that_babbles_changes_nothing() {
    for seed in 0..10 {
        let mut site = Site::with_payload(seed, 50_000, 10_000);
        site.lan.attach(Babbler {
            random: Random::new(seed),
            next: Instant::ZERO,
        });
        let handoff = survives(&mut site).unwrap();
        assert_eq!(site.node.at(handoff.entry)[..50_000], site.kernel[..]);
    }
}
