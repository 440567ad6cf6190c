//! What scripts do to the network, on the simulated LAN: addresses of their own, ping, the time, the next attempt's settings.

use std::cell::RefCell;
use std::rc::Rc;

use boot::{Error, Settings};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;
use tests::{Answer, Dhcp, Dns, Host, Http, Link, MAC, Ntp, Reply, Site, Station, site};

const BOOT: &str = "kernel Image root=/dev/ram0 console=ttyS1,115200\ninitrd initrd.img\nboot\n";

fn scripted(script: &str) -> Site {
    let site = Site::new(1);
    site.route("/boot/menu", [Reply::ok(format!("#!ipxe\n{script}"))]);
    site
}

#[test]
fn an_address_of_the_scripts_own_is_what_the_next_download_comes_from() {
    let mut site = scripted(&format!(
        "set net0/ip 192.168.7.77\nset net0/netmask 255.255.255.0\nset net0/gateway 192.168.7.1\nifopen net0\n{BOOT}"
    ));
    let asked = site.dhcp.borrow().log.len();
    assert_eq!(asked, 0);
    site.boots();
    let frames = site.lan.frames();
    let syns: Vec<[u8; 4]> = frames
        .iter()
        .filter(|frame| frame.from_node && frame.bytes[12..14] == [8, 0] && frame.bytes[23] == 6)
        .filter(|frame| frame.bytes[47] & 2 != 0)
        .map(|frame| frame.bytes[26..30].try_into().unwrap())
        .collect();
    assert_eq!(syns, [[192, 168, 7, 100], [192, 168, 7, 77]]);
}

#[test]
fn a_second_address_of_the_scripts_own_takes_the_place_of_the_first() {
    let mut site = scripted(&format!(
        "set net0/ip 192.168.7.77\nset net0/netmask 255.255.255.0\nimgfetch --name first initrd.img\nimgfree first\n\
         set net0/ip 192.168.7.78\n{BOOT}"
    ));
    site.boots();
    let frames = site.lan.frames();
    let mut sources: Vec<u8> = frames
        .iter()
        .filter(|frame| frame.from_node && frame.bytes[12..14] == [8, 0] && frame.bytes[23] == 6)
        .filter(|frame| frame.bytes[47] & 2 != 0)
        .map(|frame| frame.bytes[29])
        .collect();
    sources.dedup();
    assert_eq!(sources, [100, 77, 78]);
}

#[test]
fn a_scripts_own_domains_are_searched() {
    for set in ["set domain lab", "set dnssl:hex 03:65:6e:67:00:03:6c:61:62:00"] {
        let mut site = scripted(&format!(
            "set dns 192.168.7.3\n{set}\nkernel http://boot/boot/Image root=/dev/ram0 console=ttyS1,115200\n\
             initrd initrd.img\nboot\n"
        ));
        let name = Answer::A(vec![site::HTTP.into()]);
        let dns = site
            .lan
            .serve([192, 168, 7, 3], Dns::new().name("boot.lab", name));
        site.dhcp.borrow_mut().options.push((15, b"elsewhere".to_vec()));
        site.boots();
        assert!(!dns.borrow().log.contains(&"boot.elsewhere".into()), "{set}");
    }
}

#[test]
fn a_script_that_fails_with_its_own_address_leaves_dhcp_to_the_next_attempt() {
    let mut site = scripted("");
    let fixed = "#!ipxe\nset net0/ip 10.9.9.9\nset net0/netmask 255.255.255.0\nchain http://10.9.9.1/x\n";
    site.route(
        "/boot/menu",
        [Reply::ok(fixed), Reply::ok(format!("#!ipxe\n{BOOT}"))],
    );
    site.boots();
}

#[test]
fn dhcp_after_an_address_of_its_own() {
    let mut site = scripted(&format!("set net0/ip 10.9.9.9\nifopen\ndhcp\n{BOOT}"));
    site.boots();
    // The lease of the beginning was still young, but it was not in use.
    let requests = site
        .dhcp
        .borrow()
        .log
        .iter()
        .filter(|message| message.kind == 3)
        .count();
    assert_eq!(requests, 2);
}

#[test]
fn without_a_dhcp_server_an_address_of_its_own_still_works() {
    let mut site = scripted("");
    let lan = site.lan.clone();
    let dhcp = site.dhcp.clone();
    // It answers the first time, and never again.
    lan.at(Duration::from_millis(700), move || {
        dhcp.borrow_mut().silent = true
    });
    // Younger than 30 s a lease is an answer; so grow older first.
    site.route(
        "/boot/menu",
        [Reply::ok(format!(
            "#!ipxe\nsleep 31\ndhcp --timeout 2000 || goto own\nexit 1\n:own\nset net0/ip 192.168.7.50\n{BOOT}"
        ))],
    );
    site.boots();
}

#[test]
fn ping_and_the_lossy_link() {
    let mut site = scripted(&format!(
        "ping --count 2 192.168.7.2 || exit 1\nping -c 1 -q -s 1472 192.168.7.2 || exit 2\nping -c 1 192.168.7.99 && exit 3 ||\n{BOOT}"
    ));
    site.boots();
    let screen = site.node.screen();
    assert!(
        screen.contains("64 bytes from 192.168.7.2: seq=2\r\n"),
        "{screen}"
    );
    assert!(
        screen.contains("no answer from 192.168.7.99: seq=1\r\n"),
        "{screen}"
    );
    assert!(!screen.contains("1472 bytes"), "{screen}");
    for seed in 0..20 {
        let mut site = scripted(&format!("ping --count 20 --timeout 100 192.168.7.2\n{BOOT}"));
        let lan = site.lan.clone();
        lan.at(Duration::from_millis(310 + seed), {
            let lan = lan.clone();
            move || {
                lan.link(Link {
                    loss: 0.05,
                    corruption: 0.05,
                    duplication: 0.1,
                    ..Link::default()
                });
            }
        });
        site.boots();
    }
}

#[test]
fn the_time_from_a_server_that_was_deaf_at_first() {
    let mut site = scripted(&format!(
        "ntp 192.168.7.3 || exit 1\nntp 192.168.7.4 && exit 2 ||\nntp 192.168.7.2 && exit 3 ||\necho it is ${{unixtime:int32}}\n{BOOT}"
    ));
    let mut server = Ntp::new(1_795_842_000);
    server.deaf = 2;
    let server = site.lan.serve([192, 168, 7, 3], server);
    let mut liar = Ntp::new(1);
    liar.echoes = false;
    site.lan.serve([192, 168, 7, 4], liar);
    site.boots();
    assert_eq!(server.borrow().asked, 3);
    // The liar took its ten seconds.
    let screen = site.node.screen();
    assert!(screen.contains("it is 17958420"), "{screen}");
}

#[test]
fn a_script_switches_the_board_off() {
    let settings = |poweroff| boot::Settings {
        poweroff,
        attempts: Some(1),
        ..boot::Settings::default()
    };
    let mut site = scripted("poweroff\n");
    assert_eq!(site.node.run(&site.lan, &settings(true)), boot::Ending::PowerOff);
    // What is off does not come back: whoever answers first may not do that.
    let mut site = scripted("set bramble.poweroff 1\npoweroff\n");
    let error = site.boot_with(&settings(false)).unwrap_err().to_string();
    assert!(error.contains("bramble.poweroff=1 on cmdline.txt"), "{error}");
}

#[test]
fn what_a_hostile_answer_has_set_is_forgotten_and_the_honest_entry_boots() {
    for hostile in [
        "set bramble.url http://192.168.7.66/gone\nexit 1\n",
        "set bramble.menu-timeout 86400\nset bramble.url http://192.168.7.2/none\nexit 1\n",
        "sleep 4294967295\n",
        ":a sleep 1\ngoto a\n",
        ":a chain http://192.168.7.2/loop || goto a\n",
        ":a\nmenu\nitem a a\nchoose --timeout 898000 x ||\ngoto a\n",
        ":a\nnslookup x 192.168.7.2\ngoto a\n",
        ":a\nprompt --timeout 4294967295 ||\ngoto a\n",
        ":a\nifconf --timeout 4294967295 net0-9 ||\nvcreate --tag 9 net0\ngoto a\n",
        ":a\nping --count 4294967295 --timeout 4294967295 192.168.7.77 ||\ngoto a\n",
        "vcreate --tag 9 net0\nifconf --timeout 1000 net0-9 ||\nnslookup x gone.example.org\nexit 1\n",
    ] {
        let mut site = Site::new(1);
        // The first answer is a stranger's; all that follow are honest.
        let honest = "#!ipxe\nkernel Image\ninitrd initrd.img\nboot\n";
        site.route(
            "/boot/menu",
            [Reply::ok(format!("#!ipxe\n{hostile}")), Reply::ok(honest)],
        );
        site.route("/loop", [Reply::ok("#!ipxe\nchain http://192.168.7.2/loop\n")]);
        site.lan.limit(Duration::from_secs(3 * 3600));
        site.boots();
    }
}

#[test]
fn a_script_that_asks_for_a_file_again_and_again_is_slowed_down() {
    let mut site = scripted(":a\nimgset x http://192.168.7.2/small ||\ngoto a\n");
    site.route("/small", [Reply::ok("x")]);
    site.lan.limit(Duration::from_secs(3 * 3600));
    assert!(site.boot_attempts(1).is_err());
    // Two hours of a second each, and those that were free.
    let slowed = 2048 + 3600..2048 + 7300;
    let asked = site.asked().len();
    assert!(slowed.contains(&asked), "{asked}");
    // A host that says at once that it has no NTP.
    let mut site = scripted(":a\nntp 192.168.7.2 ||\ngoto a\n");
    site.lan.limit(Duration::from_secs(3 * 3600));
    assert!(site.boot_attempts(1).is_err());
    let is_ntp = |bytes: &[u8]| bytes.get(23) == Some(&17) && bytes.get(36..38) == Some(&[0, 123]);
    let frames = site.lan.frames();
    let asked = frames
        .iter()
        .filter(|frame| frame.from_node && is_ntp(&frame.bytes))
        .count();
    assert!(slowed.contains(&asked), "{asked}");
}

/// The table of docs/src/policy.md: what waits, and for how long at most.
#[test]
fn every_wait_ends_when_nobody_is_there() {
    let hour = 3600;
    let menu = |clock: &str| format!("UI menu.c32\n{clock}\nDEFAULT a\nLABEL a\nLINUX none\n");
    let waits = [
        (menu("TIMEOUT 864000"), hour),
        (menu("TIMEOUT 0\nTOTALTIMEOUT 864000"), hour),
        (menu("TIMEOUT 0"), hour),
        ("sleep 4294967295".into(), 2 * hour),
        ("prompt --timeout 4294967295 x".into(), 2 * hour),
        ("menu\nitem a a\nchoose --timeout 4294967295 x".into(), 600),
        (
            "vcreate --tag 9 net0\nifconf --timeout 4294967295 net0-9".into(),
            2 * hour,
        ),
        ("ping --timeout 4294967295 192.168.7.77".into(), 2 * hour),
        ("ping 192.168.7.77".into(), 600),
        ("prompt x".into(), 600),
        ("read x".into(), 600),
        ("login".into(), 600),
        ("menu\nitem a a\nchoose x".into(), 600),
        ("form\nitem a a\npresent".into(), 600),
        ("shell".into(), 60),
        ("vcreate --tag 9 net0\nifconf net0-9".into(), 60),
        ("ntp 192.168.7.77".into(), 10),
        ("nslookup x gone.example.org".into(), 10),
        (
            "vcreate --tag 9 net0\nifconf --timeout 1000 net0-9 ||\nping --count 1 gone.example.org".into(),
            11,
        ),
        ("sync --timeout 4294967295".into(), 0),
        (":a\nsleep 1\ngoto a".into(), 2 * hour),
        (":a\nchain http://192.168.7.2/none ||\ngoto a".into(), 2 * hour),
        (":a\nnslookup x 192.168.7.2\ngoto a".into(), 0),
    ];
    for (hostile, most) in waits {
        let mut site = Site::new(1);
        let text = match hostile.starts_with("UI") {
            true => hostile.clone(),
            false => format!("#!ipxe\n{hostile}\nexit 1\n"),
        };
        site.route("/boot/menu", [Reply::ok(text), Reply::ok(site::MENU_TEXT)]);
        site.dhcp.borrow_mut().options.push((6, vec![192, 168, 7, 77]));
        site.lan.limit(Duration::from_secs(3 * hour));
        site.lan.rest_long(Duration::from_millis(20));
        site.boots();
        // DHCP and the pause before the second attempt are a few seconds.
        let at = site.booted_at();
        assert!((most..most + 20).contains(&at), "{hostile:?}: {at} s");
    }
}

#[test]
fn a_form_and_a_prompt_ask_the_terminal_how_big_it_is_and_put_the_cursor_back() {
    for script in ["form\nitem a a\npresent ||\n", "read x ||\n"] {
        let mut site = scripted(script);
        site.node = std::mem::take(&mut site.node).types(Duration::from_secs(2), *b"\x0c");
        site.lan.limit(Duration::from_secs(3600));
        let _ = site.boot_attempts(1);
        let screen = site.node.screen();
        assert!(screen.contains("\x1b7\x1b[999;999H\x1b[6n\x1b8"), "{screen:?}");
    }
}

#[test]
fn a_url_in_a_hosts_place_is_told_to_no_server_of_names() {
    let mut site = scripted("nslookup x http://u:SECRET@192.168.7.66/ ||\nexit 1\n");
    let dns = site.lan.serve([192, 168, 7, 3], tests::Dns::new());
    site.dhcp.borrow_mut().options.push((6, vec![192, 168, 7, 3]));
    let _ = site.boot_attempts(1);
    assert!(dns.borrow().log.is_empty(), "{:?}", dns.borrow().log);
    let told = tests::lines();
    assert!(
        told.iter()
            .any(|line| line.text.contains("cannot resolve http://***@192.168.7.66/"))
    );
}

#[test]
fn a_script_says_where_the_next_attempt_begins_and_how_many_there_are() {
    let mut site = scripted(&format!(
        "set bramble.url {}next\nexit 1\n",
        "http://192.168.7.2/"
    ));
    site.route("/next", [Reply::ok("#!ipxe\nset bramble.attempts 3\nexit 1\n")]);
    assert!(matches!(site.boot(), Err(Error::Script(_))));
    let paths = site.http.borrow().paths();
    assert_eq!(paths, ["/boot/menu", "/next", "/next"]);
    // What was cleared is what the board came with.
    let mut site = scripted("set bramble.url http://192.168.7.2/next\nclear bramble.url\nexit 1\n");
    let settings = Settings {
        attempts: Some(2),
        ..Settings::default()
    };
    assert!(site.boot_with(&settings).is_err());
    assert_eq!(site.http.borrow().paths(), ["/boot/menu", "/boot/menu"]);
}

/// A switch port that carries VLAN 5 tagged: servers behind it live in untagged frames.
struct Trunk<H> {
    host: H,
    /// Tagged frames of the node that came, and untagged ones that were not for everybody.
    heard: [usize; 2],
}

impl<H: Host> Host for Trunk<H> {
    fn mac(&self) -> EthernetAddress {
        self.host.mac()
    }

    fn receive(&mut self, now: Instant, frame: &[u8]) {
        let from_node = frame[6..12] == MAC.0;
        if frame[12..14] != [0x81, 0] {
            self.heard[1] += usize::from(from_node && frame[0] & 1 == 0);
            return;
        }
        if from_node {
            self.heard[0] += 1;
            assert_eq!(frame[14..16], [0x60, 5], "priority 3, VLAN 5");
        } else if frame[15] != 5 {
            return;
        }
        self.host.receive(now, &[&frame[..12], &frame[16..]].concat());
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        self.host.poll(now, &mut |frame| {
            send([&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat());
            // What other VLANs have on this trunk, and what has no tag, is not for the node.
            send([&frame[..12], &[0x81, 0, 0, 6], &frame[12..]].concat());
            send(frame);
        });
    }

    fn next(&mut self, now: Instant) -> Option<Instant> {
        self.host.next(now)
    }
}

#[test]
fn a_vlan_with_its_own_lease_and_servers() {
    let mut site = scripted(
        "vcreate --tag 5 --priority 3 net0\nifconf net0-5 || exit 1\necho ${net0/ip} ${net0-5/ip} ${netX/ifname}\n\
         kernel http://192.168.7.12/Image root=/dev/ram0 console=ttyS1,115200\n\
         initrd http://192.168.7.12/initrd.img\nboot\n",
    );
    let mut dhcp = Dhcp::new();
    dhcp.pool = vec![[192, 168, 7, 150].into()];
    let dhcp = Rc::new(RefCell::new(dhcp));
    let station = Station::new([192, 168, 7, 11].into(), dhcp.clone());
    site.lan.attach(Trunk {
        host: station,
        heard: [0; 2],
    });
    let mut http = Http::new([192, 168, 7, 12]);
    http.route("/Image", [Reply::ok(site.kernel.clone())]);
    http.route("/initrd.img", [Reply::ok(site.initrd.clone())]);
    let trunk = site.lan.attach(Trunk {
        host: http,
        heard: [0; 2],
    });
    site.boots();
    let screen = site.node.screen();
    assert!(screen.contains("192.168.7.100 192.168.7.150 net0-5"), "{screen}");
    assert_eq!(
        trunk.borrow().heard[1],
        0,
        "untagged frames to a server on the VLAN"
    );
    assert!(trunk.borrow().heard[0] > 10);
    // Broadcasts of both networks reach every port; each server has taken its own.
    assert_eq!(site.http.borrow().paths(), ["/boot/menu"]);
    assert!(
        site.lan
            .frames()
            .iter()
            .all(|frame| frame.len <= 1518 && (!frame.from_node || frame.len <= 1514))
    );
}

#[test]
fn a_script_that_fails_on_a_vlan_leaves_the_next_attempt_without_it() {
    let mut site = scripted("");
    let lost = "#!ipxe\nvcreate --tag 9 net0\ndhcp --timeout 3000 net0-9\n";
    site.route(
        "/boot/menu",
        [Reply::ok(lost), Reply::ok(format!("#!ipxe\n{BOOT}"))],
    );
    site.boots();
}
