//! Whole boots, from the first DHCPDISCOVER to a kernel in memory, over networks good and bad.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};
use tests::{
    Answer, Dhcp, Dns, Frame, Http, Link, MAC, Mdns, Message, Overload, Proxy, Random, Reply, Site, Spoil,
    lines, payload, site,
};

const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;

fn seconds(at: u64) -> Duration {
    Duration::from_secs(at)
}

fn first(site: &Site, kind: u8) -> Message {
    let dhcp = site.dhcp.borrow();
    let found = dhcp.log.iter().find(|message| message.kind == kind);
    found.expect("a message of that kind").clone()
}

#[test]
fn a_plain_boot_ends_with_everything_in_place() {
    let mut site = Site::new(1);
    let loaded = site.boots();
    assert!(loaded.bootargs.contains("root=/dev/ram0 console=ttyS1,115200"));
    assert!(
        loaded.bootargs.contains("coherent_pool=1M"),
        "the firmware's argument survives: {}",
        loaded.bootargs
    );
    assert!(loaded.kaslr_seed.is_some_and(|seed| seed != 0));
    assert_eq!(
        site.http.borrow().paths(),
        ["/boot/menu", "/boot/Image", "/boot/initrd.img"]
    );
    assert!(site.errors().is_empty());
    assert!(site.lan.kicks() > 0);
}

#[test]
fn a_cable_that_comes_late_is_used_at_once() {
    let mut site = Site::new(1);
    site.lan.plug(false);
    let lan = site.lan.clone();
    site.lan.at(seconds(600), move || lan.plug(true));
    site.boots();
    // Nobody has asked for an address before and waits for the answer now.
    let first = site.lan.frames().first().unwrap().at;
    assert!(first < Instant::ZERO + Duration::from_millis(600_200), "{first}");
    assert!((600..605).contains(&site.booted_at()), "{}", site.booted_at());
}

#[test]
fn one_connection_serves_the_whole_boot() {
    let mut site = Site::new(2);
    site.boots();
    assert_eq!(site.lan.connections(), 1);
    let last = site.lan.frames().pop().unwrap();
    assert!(
        last.from_node && last.bytes[47] & 0b101 != 0,
        "it ends with FIN or RST"
    );
}

#[test]
fn a_connection_closed_between_requests_is_opened_again() {
    let mut site = Site::new(3);
    let kernel = site.kernel.clone();
    site.route("/boot/menu", [Reply::ok(site::MENU_TEXT).closing()]);
    site.route(
        "/boot/Image",
        [Reply::ok(kernel).header("Connection: close").closing()],
    );
    site.boots();
    assert_eq!(site.lan.connections(), 3);
    assert!(
        site.errors().is_empty(),
        "closing an idle connection is no failure"
    );
}

#[test]
fn every_way_to_frame_a_body_delivers_it() {
    let mut site = Site::new(4);
    let (kernel, initrd) = (site.kernel.clone(), site.initrd.clone());
    site.route("/boot/menu", [Reply::ok(site::MENU_TEXT).chunked(7)]);
    site.route("/boot/Image", [Reply::ok(kernel).chunked(1_111)]);
    site.route("/boot/initrd.img", [Reply::ok(initrd).until_close()]);
    site.boots();
}

#[test]
fn a_gzip_kernel_lands_unpacked() {
    let mut site = Site::new(5);
    let packed = payload::gzip(&site.kernel);
    site.route("/boot/Image", [Reply::ok(packed)]);
    site.boots();
}

#[test]
fn several_initrds_become_one() {
    let mut site = Site::new(6);
    let (one, two) = (payload::body(4096, 1), payload::body(8192, 2));
    site.route(
        "/boot/menu",
        [Reply::ok("LABEL a\nLINUX Image\nINITRD one,two\nAPPEND x=1\n")],
    );
    site.route("/boot/one", [Reply::ok(one.clone())]);
    site.route("/boot/two", [Reply::ok(two.clone())]);
    site.initrd = [one, two].concat();
    site.boots();
}

#[test]
fn uboots_wrappers_come_off() {
    let mut site = Site::new(6);
    let kernel = payload::uimage(2, &payload::gzip(&site.kernel));
    let initrd = payload::uimage(3, &site.initrd);
    site.route("/boot/Image", [Reply::ok(kernel.clone())]);
    site.route("/boot/initrd.img", [Reply::ok(initrd.clone())]);
    site.boots();

    // In a script too.
    let mut site = Site::new(6);
    site.route(
        "/boot/menu",
        [Reply::ok("#!ipxe\nkernel Image quiet\ninitrd initrd.img\nboot\n")],
    );
    site.route("/boot/Image", [Reply::ok(kernel)]);
    site.route("/boot/initrd.img", [Reply::ok(initrd)]);
    site.boots();

    // A file with a path in the ramdisk is what it is.
    let mut site = Site::new(6);
    let wrapped = payload::uimage(3, b"inside");
    site.route(
        "/boot/menu",
        [Reply::ok(
            "#!ipxe\nkernel Image\ninitrd initrd.img /boot/uInitrd\nboot\n",
        )],
    );
    site.route("/boot/initrd.img", [Reply::ok(wrapped.clone())]);
    let handoff = site.boot().unwrap();
    let initrd = site.inspect(&handoff).initrd;
    assert!(initrd.ends_with(&wrapped), "the archive's header, then the file");
}

#[test]
fn a_fit_image_brings_kernel_ramdisk_and_device_tree() {
    let site = |menu: &str| {
        let site = Site::new(6);
        let fit = payload::fit(
            &[
                ("kernel", "kernel", &site.kernel),
                ("packed", "kernel", &payload::gzip(&site.kernel)),
                ("tree", "flat_dt", &payload::device_tree()),
                ("overlay", "flat_dt", &payload::overlay("by the FIT image")),
                ("ramdisk", "ramdisk", &site.initrd),
            ],
            &[
                ("plain", "kernel", &[], "ramdisk"),
                ("whole", "packed", &["tree", "overlay"], "ramdisk"),
            ],
        );
        site.route("/boot/menu", [Reply::ok(menu)]);
        site.route("/boot/pi.itb", [Reply::ok(fit)]);
        site
    };
    let is_overlaid = |tree: &[u8]| {
        tree.windows(16)
            .filter(|text| *text == b"by the FIT image")
            .count()
    };
    for (line, overlaid) in [("pi.itb", 0), ("pi.itb#plain", 0), ("pi.itb#whole", 2)] {
        let mut by_menu = site(&format!("LABEL a\nKERNEL {line}\nAPPEND quiet\n"));
        assert_eq!(is_overlaid(&by_menu.boots().tree), overlaid);
        assert_eq!(by_menu.http.borrow().paths(), ["/boot/menu", "/boot/pi.itb"]);
        let mut by_script = site(&format!("#!ipxe\nkernel {line} quiet\nboot\n"));
        assert_eq!(is_overlaid(&by_script.boots().tree), overlaid);
    }
    // What the menu names itself wins.
    let mut named = site("LABEL a\nKERNEL pi.itb#whole\nINITRD initrd.img\n");
    named.initrd = payload::body(5_000, 9);
    named.route("/boot/initrd.img", [Reply::ok(named.initrd.clone())]);
    named.boots();
    named.route(
        "/boot/menu",
        [Reply::ok("#!ipxe\nkernel pi.itb\ninitrd initrd.img\nboot\n")],
    );
    named.boots();
    // A configuration that is not there, and one that is.
    let mut absent = site("#!ipxe\nkernel pi.itb#none || kernel pi.itb#whole\nboot\n");
    absent.boots();
    let refusal = lines()
        .into_iter()
        .find(|line| line.text.contains("has no configuration"));
    assert!(refusal.is_some_and(|line| line.text.contains("it has plain, whole")));
}

#[test]
fn a_menus_overlays_go_onto_the_boards_tree_out_of_a_directory_or_the_firmwares() {
    let site = |tree: &str| {
        let site = Site::new(6);
        let text = format!(
            "LABEL a\nLINUX Image\nINITRD initrd.img\n{tree}FDTOVERLAYS /o/one.dtbo /o/absent.dtbo /o/two.dtbo\n"
        );
        site.route("/boot/menu", [Reply::ok(text)]);
        site.route(
            "/boot/dtbs/bcm2837-rpi-3-b.dtb",
            [Reply::ok(payload::device_tree())],
        );
        site.route("/o/one.dtbo", [Reply::ok(payload::overlay("the first's value"))]);
        site.route("/o/two.dtbo", [Reply::ok(payload::overlay("the second's value"))]);
        site
    };
    let count = |tree: &[u8], text: &[u8]| tree.windows(text.len()).filter(|part| *part == text).count();
    for tree in ["", "FDTDIR dtbs\n", "FDTDIR elsewhere\n"] {
        let mut site = site(tree);
        let loaded = site.boots();
        assert_eq!(count(&loaded.tree, b"the first's value"), 0, "{tree}");
        assert_eq!(count(&loaded.tree, b"the second's value"), 2, "{tree}");
        let paths = site.http.borrow().paths();
        let candidates = paths.iter().filter(|path| path.ends_with(".dtb")).count();
        assert_eq!(candidates > 0, !tree.is_empty(), "{paths:?}");
        let warnings: Vec<String> = lines().into_iter().map(|line| line.text).collect();
        assert!(warnings.iter().any(|line| line.contains("/o/absent.dtbo: 404")));
        let is_missing = |line: &String| line.contains("no device tree for this board");
        assert_eq!(
            warnings.iter().any(is_missing),
            tree.contains("elsewhere"),
            "{tree}"
        );
    }
    // A server that is busy is asked again, rather than that the overlay is left out.
    let mut busy = site("");
    let two = Reply::ok(payload::overlay("the second's value"));
    busy.route(
        "/o/two.dtbo",
        [Reply::status("503 Service Unavailable", "later"), two],
    );
    assert_eq!(count(&busy.boots().tree, b"the second's value"), 2);
    assert_eq!(busy.errors().len(), 1);
}

#[test]
fn an_initrd_named_inside_append_is_fetched_and_a_kernel_alone_is_enough() {
    let mut site = Site::new(7);
    site.route(
        "/boot/menu",
        [Reply::ok(
            "LABEL a\nKERNEL Image\nAPPEND initrd=initrd.img quiet\n",
        )],
    );
    assert!(site.boots().bootargs.contains("quiet"));

    let mut site = Site::new(7);
    site.route("/boot/menu", [Reply::ok("LABEL a\nKERNEL Image\n")]);
    site.initrd.clear();
    site.boots();
}

#[test]
fn a_broken_generator_leaves_the_seeds_out() {
    let mut site = Site::new(8);
    site.node.entropy_fails = u32::MAX;
    let loaded = site.boots();
    assert!(loaded.kaslr_seed.is_none_or(|seed| seed == 0));
}

/// What of the log is about the generator.
fn of_the_generator() -> Vec<String> {
    let lines = lines().into_iter().map(|line| line.text);
    lines
        .filter(|text| text.contains("no entropy") || text.contains("generator of random numbers"))
        .map(|text| text.chars().take(30).collect())
        .collect()
}

#[test]
fn a_generator_that_works_later_is_asked_again_with_each_attempt() {
    let failing = |fails| {
        let mut site = Site::new(8);
        site.node.entropy_fails = fails;
        site.route(
            "/boot/menu",
            [
                Reply::status("500 Internal Server Error", ""),
                Reply::status("500 Internal Server Error", ""),
                Reply::ok("LABEL a\nKERNEL Image\nAPPEND initrd=initrd.img\n"),
            ],
        );
        let seeded = site.boots().kaslr_seed.is_some_and(|seed| seed != 0);
        (seeded, of_the_generator())
    };
    let failed = "net: no entropy; ports, transac"
        .chars()
        .take(30)
        .collect::<String>();
    let works = "net: the generator of random numbers"
        .chars()
        .take(30)
        .collect::<String>();
    assert_eq!(failing(0), (true, vec![]));
    // Two attempts fail before they draw seeds: one question each.
    assert_eq!(failing(1), (true, vec![failed.clone(), works.clone()]));
    assert_eq!(failing(2), (true, vec![failed.clone(), works]));
    assert_eq!(failing(u32::MAX), (false, vec![failed]), "it boots all the same");
}

/// Boots over links like this one.
fn boots_over(seeds: Range<u64>, link: Link) {
    for seed in seeds {
        let mut site = Site::with_payload(seed, 60_000, 40_000);
        site.lan.link(link);
        site.boots();
    }
}

#[test]
fn a_lossy_link_only_costs_time() {
    let link = Link {
        loss: 0.1,
        ..Link::default()
    };
    boots_over(0..5, link);
}

#[test]
fn duplicates_and_overtaking_change_nothing() {
    let link = Link {
        duplication: 0.2,
        reordering: 0.3,
        ..Link::default()
    };
    boots_over(0..5, link);
}

#[test]
fn everything_at_once_changes_nothing() {
    let link = Link {
        latency: Duration::from_millis(20),
        loss: 0.03,
        duplication: 0.05,
        reordering: 0.1,
        held: Duration::from_millis(60),
        corruption: 0.02,
    };
    boots_over(10..13, link);
}

#[test]
fn three_hundred_bad_networks_all_boot() {
    for seed in 100..400 {
        let mut random = Random::new(seed);
        let mut up_to = |most: f64| {
            random
                .chance(0.5)
                .then(|| most * random.below(100) as f64 / 100.0)
        };
        let link = Link {
            loss: up_to(0.15).unwrap_or(0.0),
            duplication: up_to(0.3).unwrap_or(0.0),
            reordering: up_to(0.4).unwrap_or(0.0),
            corruption: up_to(0.05).unwrap_or(0.0),
            latency: Duration::from_millis(up_to(80.0).unwrap_or(1.0) as u64),
            held: Duration::from_millis(up_to(300.0).unwrap_or(5.0) as u64),
        };
        let (kernel, initrd) = (600 + random.below(100_000), 100 + random.below(60_000));
        let mut site = Site::with_payload(seed, kernel, initrd);
        site.lan.link(link);
        match seed % 5 {
            0 => {
                site.dhcp.borrow_mut().file.clear();
                let mut proxy = Proxy::new(site::MENU);
                proxy.file_in_offer = random.chance(0.5);
                site.lan.serve([192, 168, 7, 5], proxy);
            }
            1 => {
                let other = site.lan.serve([192, 168, 7, 9], Dhcp::new());
                other.borrow_mut().pool = vec![Ipv4Address::new(192, 168, 7, 200)];
            }
            2 => drop(site.lan.serve([192, 168, 7, 100], ())),
            3 => {
                let mut dhcp = site.dhcp.borrow_mut();
                (dhcp.naks, dhcp.lease) = (3, seconds(20));
            }
            _ => {}
        }
        site.boots();
        assert!(site.errors().len() <= 5, "seed {seed}: {:#?}", site.errors());
    }
}

#[test]
fn a_dhcp_server_that_sleeps_ten_minutes_is_waited_for() {
    let mut site = Site::new(20);
    site.dhcp.borrow_mut().silent_until = Instant::ZERO + seconds(600);
    site.boots();
    let dhcp = site.dhcp.borrow();
    let asked: Vec<&Message> = dhcp.log.iter().filter(|m| m.kind == DISCOVER).collect();
    let early = asked.iter().filter(|m| m.at < Instant::ZERO + seconds(600));
    let early = early.count();
    assert!(
        (6..=300).contains(&early),
        "{early} DISCOVERs are too many or too few"
    );
    let gaps: Vec<u64> = asked
        .windows(2)
        .map(|two| (two[1].at - two[0].at).total_millis())
        .collect();
    assert!(gaps.iter().all(|gap| *gap <= 70_000), "{gaps:?}");
    assert!(gaps.iter().max() > gaps.first(), "it backs off: {gaps:?}");
    assert!(
        gaps.windows(2).any(|two| two[0] != two[1] && two[1] % 1000 != 0),
        "with jitter: {gaps:?}"
    );
    assert!(asked.last().is_some_and(|m| m.secs >= 500), "secs counts");
}

#[test]
fn discover_says_who_is_asking_and_for_what() {
    let mut site = Site::new(21);
    site.boots();
    for kind in [DISCOVER, REQUEST] {
        let message = first(&site, kind);
        let option = |code: u8| message.options.get(&code).cloned().unwrap_or_default();
        assert_eq!(message.chaddr, MAC);
        assert_eq!(option(61), [&[1], MAC.as_bytes()].concat());
        assert_eq!(option(93), [0, 11], "arm64 EFI");
        assert_eq!(option(94), [1, 3, 10]);
        assert!(option(60).starts_with(b"PXEClient:Arch:00011"));
        assert_eq!(option(77), b"iPXE");
        let version: Vec<u8> = env!("CARGO_PKG_VERSION")
            .split('.')
            .map(|n| n.parse().unwrap())
            .collect();
        assert_eq!(
            option(175)[..5],
            [&[0xeb, 3], &*version].concat(),
            "our version comes first"
        );
        // HTTP, TFTP, DNS, EFI, VLANs, menus: what Bramble has of iPXE's features, by its numbers, each as one byte of 1.
        let has: Vec<u8> = [0x13, 0x15, 0x17, 0x24, 0x26, 0x27]
            .into_iter()
            .flat_map(|feature| [feature, 1, 1])
            .collect();
        assert_eq!(option(175)[5..], has);
        assert_eq!((option(97).len(), option(97).first()), (17, Some(&0)));
        assert!(u16::from_be_bytes(option(57).try_into().unwrap()) >= 576);
        for wanted in [1, 3, 6, 15, 43, 66, 67, 121, 175, 209, 210] {
            assert!(option(55).contains(&wanted), "option {wanted} is not asked for");
        }
    }
}

#[test]
fn two_dhcp_servers_and_only_one_is_taken() {
    let mut site = Site::new(22);
    let other = Dhcp::new();
    let other = site.lan.serve([192, 168, 7, 9], other);
    other.borrow_mut().pool = vec![Ipv4Address::new(192, 168, 7, 200)];
    // The one without a boot file is quicker.
    site.dhcp.borrow_mut().delay = Duration::from_millis(300);
    site.boots();
    assert_eq!(first(&site, REQUEST).address(54), Some(site::DHCP.into()));
}

#[test]
fn a_proxy_names_the_boot_file_that_the_dhcp_server_does_not() {
    for file_in_offer in [true, false] {
        let mut site = Site::new(23);
        site.dhcp.borrow_mut().file.clear();
        let mut proxy = Proxy::new(site::MENU);
        proxy.file_in_offer = file_in_offer;
        proxy.delay = Duration::from_millis(1500);
        let proxy = site.lan.serve([192, 168, 7, 5], proxy);
        site.boots();
        let asked_again = proxy.borrow().log.iter().any(|m| m.sent_to.1 == 4011);
        assert!(file_in_offer || asked_again);
    }
}

#[test]
fn redirects_are_followed_absolute_and_relative() {
    let mut site = Site::new(24);
    let kernel = site.kernel.clone();
    site.route(
        "/boot/menu",
        [Reply::redirect(302, "http://192.168.7.2/a/b/menu")],
    );
    site.route("/a/b/menu", [Reply::redirect(307, "/c/menu")]);
    site.route("/c/menu", [Reply::redirect(301, "sub/menu")]);
    // Names in a menu are relative to where it was finally found.
    site.route(
        "/c/sub/menu",
        [Reply::ok("LABEL a\nLINUX ../Image\nINITRD /boot/initrd.img\n")],
    );
    site.route("/c/Image", [Reply::redirect(308, "//192.168.7.2/d/Image")]);
    site.route("/d/Image", [Reply::ok(kernel)]);
    site.boots();
}

#[test]
fn names_in_urls_are_resolved() {
    for answer in [
        Answer::A(vec![site::HTTP.into()]),
        Answer::Cname("www.example.org".into(), vec![site::HTTP.into()]),
    ] {
        let mut site = Site::new(25);
        let dns = site
            .lan
            .serve([192, 168, 7, 3], Dns::new().name("boot.example.org", answer));
        let mut dhcp = site.dhcp.borrow_mut();
        dhcp.file = "http://boot.example.org/boot/menu".into();
        dhcp.options.push((6, vec![192, 168, 7, 3]));
        drop(dhcp);
        site.boots();
        assert_eq!(
            dns.borrow().log.first().map(String::as_str),
            Some("boot.example.org")
        );
        let host = &site.http.borrow().log[0].head;
        assert!(
            host.to_ascii_lowercase().contains("host: boot.example.org\r\n"),
            "{host}"
        );
    }
}

/// A site whose boot file is at `boot.local`, with a responder for that.
#[test]
fn what_comes_from_port_5353_is_no_answer_of_a_dns_server() {
    let mut site = Site::new(25);
    let mut dns = Dns::new().name("boot.example.org", Answer::A(vec![site::HTTP.into()]));
    // Somebody knows the question's number and port, and says from a host of his own that there is no such name.
    dns.forger = Some([192, 168, 7, 66].into());
    site.lan.serve([192, 168, 7, 3], dns);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.file = "http://boot.example.org/boot/menu".into();
    dhcp.options.push((6, vec![192, 168, 7, 3]));
    drop(dhcp);
    site.boots();
}

fn local_site(seed: u64, change: impl FnOnce(&mut Mdns)) -> (Site, Rc<RefCell<Mdns>>) {
    let site = Site::new(seed);
    let mut mdns = Mdns::new("boot.local", site::HTTP);
    change(&mut mdns);
    let mdns = site.lan.serve([192, 168, 7, 9], mdns);
    site.dhcp.borrow_mut().file = "http://Boot.LOCAL/boot/menu".into();
    (site, mdns)
}

/// Moments after the first, in milliseconds.
fn pauses(mdns: &Mdns) -> Vec<u64> {
    let since = |at: &Instant| (*at - mdns.asked[0]).total_millis();
    mdns.asked.iter().map(since).collect()
}

#[test]
fn a_name_in_local_is_asked_of_the_link_and_of_no_dns_server() {
    let (mut site, mdns) = local_site(35, |_| ());
    let dns = site.lan.serve([192, 168, 7, 3], Dns::new());
    site.dhcp.borrow_mut().options.push((6, vec![192, 168, 7, 3]));
    site.boots();
    assert!(dns.borrow().log.is_empty());
    assert!(site.errors().is_empty(), "{:?}", site.errors());
    let to_group = |frame: &Frame| frame.bytes.starts_with(&[1, 0, 0x5e, 0, 0, 251]);
    let frames = site.lan.frames();
    let asked: Vec<_> = frames.iter().filter(|frame| to_group(frame)).collect();
    assert_eq!(asked.len(), mdns.borrow().asked.len());
    // Behind the Ethernet header, at the ninth byte: the hops that are left.
    assert!(asked.iter().all(|frame| frame.bytes[14 + 8] == 255));
}

/// All of them name an address where nobody is.
#[test]
fn an_answer_that_mdns_does_not_allow_is_dropped_and_the_next_is_waited_for() {
    let bad: [Spoil; 6] = [
        |datagram| datagram.payload[0] ^= 1,
        |datagram| datagram.payload[13] = b'r',
        |datagram| datagram.source.0 = Ipv4Address::new(10, 0, 0, 9),
        |datagram| datagram.source.1 = 53,
        |datagram| datagram.payload[3] = 3,
        |datagram| datagram.payload.truncate(datagram.payload.len() - 1),
    ];
    let (mut site, mdns) = local_site(36, |mdns| mdns.bad = bad.to_vec());
    site.boots();
    assert!(site.errors().is_empty(), "{:?}", site.errors());
    assert_eq!(mdns.borrow().asked.len(), 1);
}

#[test]
fn the_link_is_asked_three_times() {
    for (deaf, expected) in [(1, &[0, 1000][..]), (2, &[0, 1000, 3000])] {
        let (mut site, mdns) = local_site(37, |mdns| mdns.deaf = deaf);
        site.boots();
        assert!(site.errors().is_empty(), "{:?}", site.errors());
        assert_eq!(pauses(&mdns.borrow()), expected);
    }
    let (mut site, mdns) = local_site(37, |mdns| mdns.deaf = 3);
    site.boot_attempts(1).expect_err("nobody answers");
    assert_eq!(pauses(&mdns.borrow())[..3], [0, 1000, 3000]);
    let error = "cannot resolve boot.local: no host on this network answered to it by mDNS within 5 s, and no DNS server \
                 knows it";
    assert!(
        site.errors().iter().any(|line| line.text.contains(error)),
        "{:?}",
        site.errors()
    );
}

/// Many networks have such names in their DNS.
#[test]
fn a_name_in_local_that_nobody_answers_to_is_asked_of_dns_with_a_warning() {
    for (known, silent) in [(true, false), (false, false), (false, true)] {
        let (mut site, mdns) = local_site(38, |mdns| mdns.deaf = u32::MAX);
        let dns = match (known, silent) {
            (true, _) => Dns::new().name("boot.local", Answer::A(vec![site::HTTP.into()])),
            (_, true) => Dns::new().name("boot.local", Answer::Silence),
            _ => Dns::new(),
        };
        site.lan.serve([192, 168, 7, 3], dns);
        site.dhcp.borrow_mut().options.push((6, vec![192, 168, 7, 3]));
        if known {
            site.boots();
        } else {
            let error = site.boot_attempts(1).expect_err("nobody knows it").to_string();
            let wanted = if silent {
                "no DNS server answered within 10 s"
            } else {
                "and no DNS server knows it"
            };
            assert!(error.contains(wanted), "{error}");
        }
        let warning = "resolve: nobody answered to boot.local by mDNS within 5 s; asking the DNS servers";
        assert!(lines().iter().any(|line| line.text == warning));
        assert_eq!(pauses(&mdns.borrow())[..3], [0, 1000, 3000]);
    }
}

#[test]
fn a_dead_name_server_is_passed_over_for_the_next() {
    let mut site = Site::new(26);
    let name = Answer::A(vec![site::HTTP.into()]);
    site.lan
        .serve([192, 168, 7, 3], Dns::new().name("boot", Answer::Silence));
    site.lan.serve([192, 168, 7, 4], Dns::new().name("boot", name));
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.file = "http://boot/boot/menu".into();
    dhcp.options.push((6, vec![192, 168, 7, 3, 192, 168, 7, 4]));
    drop(dhcp);
    site.boots();
}

#[test]
fn a_name_without_a_dot_is_looked_up_in_the_domains_of_options_119_and_15() {
    let searched = ["boot.eng.example", "boot.lab.example", "boot.example", "boot"];
    for (nth, name) in searched.iter().enumerate() {
        let mut site = Site::new(29);
        let dns = Dns::new().name(name, Answer::A(vec![site::HTTP.into()]));
        let dns = site.lan.serve([192, 168, 7, 3], dns);
        let mut dhcp = site.dhcp.borrow_mut();
        dhcp.file = "http://boot/boot/menu".into();
        dhcp.options.push((6, vec![192, 168, 7, 3]));
        dhcp.options
            .push((119, b"\x03eng\x07example\x00\x03lab\xc0\x04".to_vec()));
        dhcp.options.push((15, b"example".to_vec()));
        drop(dhcp);
        site.boots();
        assert_eq!(dns.borrow().log[..=nth], searched[..=nth]);
    }
    // One with a dot is whole.
    let mut site = Site::new(29);
    let dns = Dns::new().name("boot.lab", Answer::A(vec![site::HTTP.into()]));
    let dns = site.lan.serve([192, 168, 7, 3], dns);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.file = "http://boot.lab/boot/menu".into();
    dhcp.options.push((6, vec![192, 168, 7, 3]));
    dhcp.options.push((119, b"\x07example\x00".to_vec()));
    drop(dhcp);
    site.boots();
    assert!(dns.borrow().log.iter().all(|name| name == "boot.lab"));
}

/// Six domains and two dead servers before the one that knows: the last name still gets its answer within ten seconds.
#[test]
fn a_long_search_with_dead_servers_comes_to_its_end() {
    let mut site = Site::new(30);
    let name = Answer::A(vec![site::HTTP.into()]);
    let mut dead = Dns::new();
    for letter in 'a'..='f' {
        dead = dead.name(&format!("boot.{letter}"), Answer::Silence);
    }
    site.lan.serve([192, 168, 7, 3], dead);
    site.lan.serve([192, 168, 7, 5], Dns::new().name("boot", name));
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.file = "http://boot/boot/menu".into();
    let servers = [[192, 168, 7, 3], [192, 168, 7, 4], [192, 168, 7, 5]];
    dhcp.options.push((6, servers.concat()));
    dhcp.options
        .push((119, b"\x01a\0\x01b\0\x01c\0\x01d\0\x01e\0\x01f\0".to_vec()));
    drop(dhcp);
    site.boots();
    assert!(site.errors().is_empty(), "{:?}", site.errors());
}

/// A switch that marks how urgent each frame is: all of them carry a tag of VLAN 0, which is no VLAN.
#[test]
fn frames_with_a_priority_and_no_vlan_are_frames() {
    for priority in [0, 0x20, 0xe0] {
        let mut site = Site::new(31);
        site.lan.tag(Some([0x81, 0, priority, 0]));
        let dns = Dns::new().name("boot", Answer::A(vec![site::HTTP.into()]));
        site.lan.serve([192, 168, 7, 3], dns);
        site.dhcp.borrow_mut().file = "http://boot/boot/menu".into();
        site.dhcp.borrow_mut().options.push((6, vec![192, 168, 7, 3]));
        site.boots();
        let (sent, heard): (Vec<_>, Vec<_>) =
            site.lan.frames().into_iter().partition(|frame| frame.from_node);
        assert!(heard.iter().all(|frame| frame.bytes[12..14] == [0x81, 0]));
        assert!(
            sent.iter().all(|frame| frame.bytes[12] == 8),
            "sent without a tag"
        );
    }
    let mut site = Site::with_payload(32, 60_000, 40_000);
    site.lan.tag(Some([0x81, 0, 0x40, 0]));
    site.lan.link(Link {
        loss: 0.03,
        corruption: 0.05,
        ..Link::default()
    });
    site.boots();
}

#[test]
fn frames_of_other_vlans_are_not_and_a_person_reads_soon_that_nothing_comes() {
    for tag in [[0x81, 0, 0, 5], [0x81, 0, 0x1f, 0xff], [0x88, 0xa8, 0, 0]] {
        let mut site = Site::new(33);
        site.lan.tag(Some(tag));
        let lan = site.lan.clone();
        site.lan.at(Duration::from_secs(150), move || lan.tag(None));
        site.boots();
        let told: Vec<_> = lines()
            .into_iter()
            .filter(|line| line.text.starts_with("lease: no DHCP server answers"))
            .collect();
        let seconds: Vec<i64> = told.iter().map(|line| line.at.secs()).collect();
        assert_eq!(seconds, [5, 65, 125], "{told:?}");
    }
}

#[test]
fn while_no_dhcp_server_answers_a_person_reads_so_soon_and_each_minute() {
    let mut site = Site::new(34);
    site.dhcp.borrow_mut().silent_until = Instant::ZERO + Duration::from_secs(200);
    site.boots();
    let told: Vec<_> = lines()
        .into_iter()
        .filter(|line| line.text.starts_with("lease: no DHCP server answers"))
        .collect();
    let seconds: Vec<i64> = told.iter().map(|line| line.at.secs()).collect();
    assert_eq!(seconds, [5, 65, 125, 185], "{told:?}");
    assert_eq!(
        told[0].text,
        "lease: no DHCP server answers, asked 3 times in 5 s, and nothing else is heard: cable, switch port, VLAN?"
    );
}

#[test]
fn options_209_and_210_name_the_menu_and_where_it_stands() {
    let mut site = Site::new(27);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.file.clear();
    dhcp.options.push((209, b"conf/node.cfg".to_vec()));
    dhcp.options.push((210, b"http://192.168.7.2/boot/".to_vec()));
    drop(dhcp);
    site.route("/boot/conf/node.cfg", [Reply::ok(site::MENU_TEXT)]);
    site.boots();
    assert_eq!(
        site.http.borrow().paths(),
        ["/boot/conf/node.cfg", "/boot/Image", "/boot/initrd.img"]
    );
}

#[test]
fn the_search_path_goes_from_the_node_to_everybody() {
    let mut site = Site::new(28);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.file.clear();
    dhcp.options.push((210, b"http://192.168.7.2/boot/".to_vec()));
    drop(dhcp);
    site.route("/boot/pxelinux.cfg/default", [Reply::ok(site::MENU_TEXT)]);
    site.boots();
    let paths = site.http.borrow().paths();
    let asked: Vec<&str> = paths
        .iter()
        .filter_map(|path| path.strip_prefix("/boot/pxelinux.cfg/"))
        .collect();
    let [uuid, rest @ ..] = &asked[..] else {
        panic!("nothing was asked for");
    };
    assert!(uuid.len() == 36 && *uuid == uuid.to_ascii_lowercase(), "{uuid}");
    assert_eq!(
        rest,
        [
            "01-b8-27-eb-01-02-03",
            "C0A80764",
            "C0A8076",
            "C0A807",
            "C0A80",
            "C0A8",
            "C0A",
            "C0",
            "C",
            "default-arm-bcm283x-rpi",
            "default-arm-bcm283x",
            "default-arm",
            "default"
        ]
    );
}

#[test]
fn the_next_server_is_searched_when_nothing_else_is_named() {
    let mut site = Site::new(29);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.file.clear();
    dhcp.next_server = site::HTTP.into();
    drop(dhcp);
    let menu = site::MENU_TEXT
        .replace("Image", "/boot/Image")
        .replace("initrd.img", "/boot/initrd.img");
    site.route("/pxelinux.cfg/01-b8-27-eb-01-02-03", [Reply::ok(menu)]);
    site.boots();
}

#[test]
fn the_settings_url_comes_before_dhcp() {
    let mut site = Site::new(30);
    site.route(
        "/mine/menu",
        [Reply::ok("LABEL a\nLINUX /boot/Image\nINITRD /boot/initrd.img\n")],
    );
    let settings = boot::Settings {
        url: Some("http://192.168.7.2/mine/menu".into()),
        ..boot::Settings::default()
    };
    site.boot_with(&settings).unwrap();
    assert_eq!(site.http.borrow().paths()[0], "/mine/menu");
}

#[test]
fn an_address_in_use_is_declined_and_the_next_one_taken() {
    let mut site = Site::new(31);
    site.lan.serve([192, 168, 7, 100], ());
    site.boots();
    let declined = first(&site, DECLINE);
    assert_eq!(declined.address(50), Some(Ipv4Address::new(192, 168, 7, 100)));
    assert_eq!(declined.address(54), Some(site::DHCP.into()));
    let http_clients: Vec<_> = site
        .lan
        .frames()
        .into_iter()
        .filter(|frame| frame.from_node && frame.bytes[12..14] == [8, 0] && frame.bytes[23] == 6)
        .map(|frame| frame.bytes[29])
        .collect();
    assert!(!http_clients.is_empty() && http_clients.iter().all(|last| *last == 101));
}

#[test]
fn a_nak_starts_over() {
    let mut site = Site::new(32);
    site.dhcp.borrow_mut().naks = 2;
    site.boots();
    // One may be sent twice, while offers are gathered.
    let dhcp = site.dhcp.borrow();
    let discovers = dhcp.log.iter().filter(|message| message.kind == DISCOVER);
    let transactions: BTreeSet<u32> = discovers.map(|message| message.xid).collect();
    assert_eq!(transactions.len(), 3);
}

#[test]
fn options_are_found_wherever_the_server_puts_them() {
    // The URL is too long for the 128-byte file field and for one option.
    let long = format!("/boot/{}", "d/".repeat(200));
    for overload in [Overload::None, Overload::File, Overload::Sname, Overload::Both] {
        let mut site = Site::new(33);
        let path = if overload == Overload::None {
            format!("{long}menu")
        } else {
            "/boot/menu".into()
        };
        let menu = site::MENU_TEXT
            .replace("Image", "/boot/Image")
            .replace("initrd.img", "/boot/initrd.img");
        site.route(&path, [Reply::ok(menu)]);
        let mut dhcp = site.dhcp.borrow_mut();
        dhcp.overload = overload;
        dhcp.file = format!("http://192.168.7.2{path}");
        drop(dhcp);
        site.boots();
        assert_eq!(site.http.borrow().paths()[0], path, "{overload:?}");
    }
}

#[test]
fn classless_routes_lead_to_the_server_and_override_the_router() {
    let mut site = Site::new(34);
    // A router in front of 10.9.0.0/16, played by one host with both addresses.
    let far = site.lan.attach(Http::with_addresses(&[
        Ipv4Cidr::new(Ipv4Address::new(192, 168, 7, 254), 24),
        Ipv4Cidr::new(Ipv4Address::new(10, 9, 0, 1), 16),
    ]));
    let menu = "LABEL a\nLINUX http://192.168.7.2/boot/Image\nINITRD http://192.168.7.2/boot/initrd.img\n";
    far.borrow_mut().route("/menu", [Reply::ok(menu)]);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.file = "http://10.9.0.1/menu".into();
    // RFC 3442: with option 121 present, option 3 (here a host that is not there) is ignored.
    dhcp.options.push((3, vec![192, 168, 7, 99]));
    dhcp.options.push((121, vec![16, 10, 9, 192, 168, 7, 254]));
    drop(dhcp);
    site.boots();
    assert_eq!(far.borrow().paths(), ["/menu"]);
}

#[test]
fn a_slow_server_is_not_a_stalled_one() {
    let mut site = Site::with_payload(35, 60_000, 20_000);
    let kernel = site.kernel.clone();
    site.route("/boot/menu", [Reply::ok(site::MENU_TEXT).after(seconds(4))]);
    site.route("/boot/Image", [Reply::ok(kernel).slow(1_000, seconds(2))]);
    site.boots();
    // The head and the kernel are 61 pieces, with two seconds between them.
    assert_eq!(site.booted_at(), 4 + 120);
    assert!(site.errors().is_empty());
    assert!(
        site.node.screen().contains(" of 58.5 KiB, "),
        "a long download says how far it is"
    );
}

#[test]
fn no_line_of_the_log_obeys_a_server_or_repeats_a_password() {
    let url = "http://u:SECRET@192.168.7.2";
    let menu = format!(
        "#!ipxe\nchain {url}/gone ||\nset ks inst.ks={url}/ks\nkernel Image quiet ${{ks}}\ninitrd initrd.img\nboot\n"
    );
    let mut site = Site::new(41);
    site.route("/boot/menu", [Reply::ok(menu)]);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.file = "x/${hostname}.efi".into();
    dhcp.options
        .push((12, b"\x1b]52;c;cm0=\x07\x1b[2J\nload: verified".to_vec()));
    dhcp.options.push((209, b"http://192.168.7.2/boot/menu".to_vec()));
    drop(dhcp);
    let handoff = site.boot().unwrap();
    // Linux gets it, and only Linux.
    assert!(
        handoff.command_line.contains("SECRET"),
        "{}",
        handoff.command_line
    );
    let told = lines();
    assert!(
        told.iter()
            .any(|line| line.text.contains("://***@192.168.7.2/ks"))
    );
    assert!(told.iter().any(|line| line.text.contains("boot file x/?]52")));
    for line in told {
        assert!(!line.text.contains(char::is_control), "{:?}", line.text);
        assert!(!line.text.contains("SECRET"), "{}", line.text);
    }
}
