//! "Not you": how a server says that a node is to boot its own disk, what counts as that, and what never does.

use boot::{Clock as _, Ending, Local, Settings};
use tests::{Reply, Site};

fn tryboot() -> Settings {
    Settings {
        local: Some(Local::Tryboot),
        attempts: Some(3),
        ..Settings::default()
    }
}

/// A site whose boot file is this script or menu.
fn site(text: &str) -> Site {
    let site = Site::new(1);
    site.route("/boot/menu", [Reply::ok(text)]);
    site
}

/// How a node ends that may go to its disk, and after how many seconds.
fn ends(site: &mut Site, settings: &Settings) -> (Ending, i64) {
    let ending = site.node.run(&site.lan, settings);
    (ending, site.lan.now().secs())
}

/// What provisioning servers send to a node that is to boot from its disk.
const NO: [&str; 11] = [
    "#!ipxe\nexit\n",
    "#!ipxe\nexit 0\n",
    // Tinkerbell's smee.
    "#!ipxe\necho not for you\nexit 1\n",
    // Ironic's and Foreman's.
    "#!ipxe\nsanboot --no-describe --drive 0x80\n",
    "#!ipxe\nsanboot --no-describe --drive 0x80 || chain /boot/installer\n",
    "#!ipxe\nsanboot\n",
    "#!ipxe\necho the script ends by itself\n",
    // MAAS's and Cobbler's.
    "DEFAULT local\nLABEL local\nLOCALBOOT 0\n",
    "DEFAULT local\nLABEL local\nLOCALBOOT -1\n",
    "DEFAULT local\nLABEL local\nLOCALBOOT 0x80\n",
    // What is absent is an answer.
    "#!ipxe\nchain /boot/nothing || exit\n",
];

#[test]
fn each_way_to_say_no_leads_to_the_disk_after_a_minute() {
    for text in NO {
        let mut site = site(text);
        let (ending, took) = ends(&mut site, &tryboot());
        assert_eq!(ending, Ending::Local(Local::Tryboot), "{text}");
        assert!((60..75).contains(&took), "{text}: {took} s");
        let lines = tests::lines();
        let told: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.text.strip_prefix("local: "))
            .collect();
        let whys = [
            "http://192.168.7.2/boot/menu ended without booting anything",
            "script: http://192.168.7.2/boot/menu line 3: exit 1: status 0x1",
            "entry \"local\" says LOCALBOOT",
        ];
        let [line] = told[..] else {
            panic!("{text}: {told:?}")
        };
        let why = line
            .strip_suffix("; booting the board's own disk (tryboot) in 60 s")
            .expect(line);
        assert!(whys.contains(&why) || why.contains("sanboot"), "{text}: {why}");
        assert!(!site.asked().contains(&"/boot/installer".to_owned()), "{text}");
    }
}

#[test]
fn without_a_way_it_is_a_failure_like_any_other() {
    for text in NO {
        let mut site = site(text);
        let settings = Settings {
            local: None,
            ..tryboot()
        };
        let (ending, _) = ends(&mut site, &settings);
        assert!(matches!(ending, Ending::Reset(_)), "{text}: {ending:?}");
    }
}

/// A server in trouble never sends a node to its disk.
#[test]
fn trouble_leads_to_no_disk() {
    let error = || Reply::status("500 Internal Server Error", "x");
    for text in [
        "#!ipxe\nchain /boot/broken || exit\n",
        "#!ipxe\nchain /boot/broken ||\nexit 1\n",
        "#!ipxe\nchain /boot/broken || sanboot --no-describe --drive 0x80\n",
        "#!ipxe\nchain /boot/broken || echo going on\n",
        "#!ipxe\nchain /boot/closed || exit\n",
        "#!ipxe\nchain /boot/page || exit\n",
        "#!ipxe\nchain /boot/empty || exit\n",
        "#!ipxe\nchain http://192.168.7.77/x || exit\n",
        "#!ipxe\nchain http://no.such.host/x || exit\n",
        "#!ipxe\nno-such-command || exit\n",
        "#!ipxe\nno-such-command\n",
        "#!ipxe\ngoto nowhere\n",
        "#!ipxe\nsanboot iscsi:192.168.7.2::::iqn.x\n",
        "#!ipxe\nsanhook --drive 0x80\n",
        "DEFAULT a\nLABEL a\nLINUX /boot/broken\n",
        "DEFAULT a\nLABEL b\nLOCALBOOT 0\n",
        "<html><body>a page</body></html>",
        "",
    ] {
        let mut site = site(text);
        site.route("/boot/broken", [error()]);
        site.route("/boot/closed", [Reply::status("403 Forbidden", "x")]);
        site.route("/boot/page", [Reply::ok("<html></html>")]);
        site.route("/boot/empty", [Reply::ok("")]);
        let (ending, _) = ends(&mut site, &tryboot());
        assert!(matches!(ending, Ending::Reset(_)), "{text}: {ending:?}");
    }
    for reply in ["500 x", "503 x", "403 x", "401 x"] {
        let mut site = Site::new(1);
        site.route("/boot/menu", [Reply::status(reply, "x")]);
        let (ending, _) = ends(&mut site, &tryboot());
        assert!(matches!(ending, Ending::Reset(_)), "{reply}: {ending:?}");
    }
}

/// The server changes its mind: what counts is the attempt in which it says no.
#[test]
fn trouble_before_and_no_afterwards_is_no() {
    let mut site = Site::new(1);
    let replies = [
        Reply::status("503 Service Unavailable", "x"),
        Reply::ok("#!ipxe\nexit\n"),
    ];
    site.route("/boot/menu", replies);
    let (ending, _) = ends(&mut site, &tryboot());
    assert_eq!(ending, Ending::Local(Local::Tryboot));
}

/// Somebody who picks the disk means it; nobody else's pick in that menu does.
#[test]
fn a_person_who_picks_the_disk_gets_it() {
    let menu = "UI menu.c32\nTIMEOUT 600\nLABEL a\nLINUX Image\nLABEL local\nLOCALBOOT 0\n";
    let mut site = Site::with_menu(1, menu, &[(5, b"\x1b[B"), (6, b"\r")]);
    let (ending, took) = ends(&mut site, &tryboot());
    assert_eq!(ending, Ending::Local(Local::Tryboot));
    assert!(took < 80, "{took} s");
    let mut site = Site::with_menu(1, menu, &[]);
    assert!(matches!(ends(&mut site, &tryboot()).0, Ending::Boot(..)));
}

/// What the clock boots when its entry cannot be booted is what the menu's author says: the disk, where ONERROR is that.
#[test]
fn onerror_may_be_the_disk() {
    let mut site = site("DEFAULT a\nONERROR local\nLABEL a\nLINUX /boot/gone\nLABEL local\nLOCALBOOT 0\n");
    let (ending, _) = ends(&mut site, &tryboot());
    assert_eq!(ending, Ending::Local(Local::Tryboot));
}
