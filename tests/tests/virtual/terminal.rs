//! A person at the serial terminal, or nobody, or only noise.

use smoltcp::time::Duration;
use tests::{Link, Node, Random, Reply, Site};

const MENU: &str = "\
DEFAULT one
TIMEOUT 200
MENU TITLE Which one?
LABEL one
  MENU LABEL ^First system
  LINUX Image
  INITRD initrd.img
  APPEND entry=one
LABEL two
  MENU LABEL Se^cond system
  LINUX Image
  INITRD initrd.img
  APPEND entry=two
LABEL three
  MENU LABEL ^Third system
  LINUX Image
  INITRD initrd.img
  APPEND entry=three
";

fn seconds(at: u64) -> Duration {
    Duration::from_secs(at)
}

/// A site with the menu above (20 s countdown) and these keys.
fn site(seed: u64, keys: &[(u64, &[u8])]) -> Site {
    Site::with_menu(seed, MENU, keys)
}

#[test]
fn the_countdown_boots_the_default() {
    let mut site = site(1, &[]);
    assert_eq!(site.boots().entry(), "one");
    assert!((20..30).contains(&site.booted_at()), "{}", site.booted_at());
    let screen = site.node.screen();
    for text in ["Which one?", "First system", "Second system", "Third system"] {
        assert!(screen.contains(text), "{text} is not on the screen:\n{screen}");
    }
}

#[test]
fn enter_boots_at_once() {
    for enter in [&b"\r"[..], b"\n"] {
        let mut site = site(2, &[(12, enter)]);
        assert_eq!(site.boots().entry(), "one");
        assert!(site.booted_at() < 16, "{}", site.booted_at());
    }
}

#[test]
fn arrows_move_and_enter_chooses() {
    for (keys, chosen) in [
        (&b"\x1b[B"[..], "two"),
        (b"\x1b[B\x1b[B", "three"),
        (b"\x1b[B\x1b[B\x1b[A", "two"),
        // Application cursor keys say O instead of [.
        (b"\x1bOB", "two"),
    ] {
        let mut site = site(3, &[(12, keys), (14, b"\r")]);
        assert_eq!(site.boots().entry(), chosen, "{keys:?}");
    }
}

#[test]
fn a_person_who_moved_is_given_time() {
    let mut site = site(4, &[(12, b"\x1b[B"), (60, b"\r")]);
    assert_eq!(site.boots().entry(), "two");
    assert!(site.booted_at() >= 60);
}

#[test]
fn a_hot_key_selects_its_entry() {
    let mut site = site(5, &[(12, b"t"), (13, b"\r")]);
    assert_eq!(site.boots().entry(), "three");
}

#[test]
fn noise_does_not_stop_an_unattended_boot() {
    // Bytes a floating or mis-clocked line may bring; not Enter, arrows, or an entry's hot key.
    for seed in 0..8 {
        let mut site = site(6, &[]);
        let mut random = Random::new(seed);
        let mut node = Node::new();
        for second in 0..120 {
            let mut noise = [0; 3];
            random.fill(&mut noise);
            let noise: Vec<u8> = noise
                .into_iter()
                .filter(|byte| matches!(byte, 0 | 0x01..=0x08 | 0x7f..=0xff))
                .collect();
            node = node.types(seconds(second), noise);
        }
        site.node = node;
        assert_eq!(site.boots().entry(), "one");
        assert!(site.booted_at() < 40, "{}", site.booted_at());
    }
}

#[test]
fn a_gps_receiver_on_the_line_chooses_nothing() {
    // NMEA 0183 at 9600 baud: a byte each millisecond, Enter and hot keys in every sentence.
    let sentence = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n";
    let mut site = site(12, &[]);
    let mut node = Node::new();
    for second in 0..60 {
        for (at, byte) in sentence.iter().enumerate() {
            node = node.types(seconds(second) + Duration::from_millis(at as u64), [*byte]);
        }
    }
    site.node = node;
    assert_eq!(site.boots().entry(), "one");
    assert!((20..22).contains(&site.booted_at()), "{}", site.booted_at());
}

#[test]
fn any_bytes_at_all_do_not_hang_or_crash_it() {
    for seed in 0..8 {
        let mut site = site(7, &[]);
        let mut node = Node::new();
        let mut random = Random::new(1000 + seed);
        for second in 0..60 {
            let mut noise = [0; 20];
            random.fill(&mut noise);
            node = node.types(seconds(second), noise);
        }
        // Whatever that did, a person can always finish with Enter.
        site.node = node.types(seconds(100), b"\r").types(seconds(102), b"\r");
        site.boots();
    }
}

#[test]
fn the_lease_is_renewed_while_a_menu_waits() {
    let mut site = site(8, &[(1_999, b"\x1b[B"), (2_000, b"\r")]);
    site.route("/boot/menu", [Reply::ok(format!("PROMPT 1\n{MENU}TIMEOUT 0\n"))]);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.lease = seconds(600);
    drop(dhcp);
    assert_eq!(site.boots().entry(), "two");
    let dhcp = site.dhcp.borrow();
    let renewals: Vec<_> = dhcp
        .log
        .iter()
        .filter(|message| message.kind == 3 && !message.ciaddr.is_unspecified())
        .collect();
    assert!((4..=10).contains(&renewals.len()), "{renewals:#?}");
    for renewal in &renewals {
        // RFC 2131, 4.3.6: unicast, without server identifier and requested address.
        assert_eq!(renewal.sent_to, (tests::site::DHCP.into(), 67));
        assert!(renewal.address(54).is_none() && renewal.address(50).is_none());
    }
    let first = renewals[0].at.total_millis() / 1000;
    assert!(
        (300..=320).contains(&first),
        "T1 is half the lease, not {first} s"
    );
}

#[test]
fn a_lease_that_runs_out_while_a_menu_waits_is_taken_anew() {
    let mut site = site(9, &[(1_499, b"\x1b[B"), (1_500, b"\r")]);
    site.route("/boot/menu", [Reply::ok(format!("PROMPT 1\n{MENU}TIMEOUT 0\n"))]);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.lease = seconds(300);
    drop(dhcp);
    let server = site.dhcp.clone();
    site.lan
        .at(seconds(30), move || server.borrow_mut().silent = true);
    let server = site.dhcp.clone();
    site.lan
        .at(seconds(1_000), move || server.borrow_mut().silent = false);
    assert_eq!(site.boots().entry(), "two");
}

#[test]
fn a_menu_that_shows_nothing_dangerous() {
    let mut site = Site::with_payload(10, 50_000, 10_000);
    site.route(
        "/boot/menu",
        [Reply::ok(
            "DEFAULT a\nTIMEOUT 50\nSAY \x1b[2J\x07hello\nMENU TITLE \x1b]0;owned\x07\nLABEL a\nMENU LABEL \x1bc\nLINUX Image\n",
        )],
    );
    site.initrd.clear();
    site.boots();
    let screen = site.node.screen();
    // The menu may move the cursor itself; the server's text may not.
    assert!(!screen.contains("\x1b]0;") && !screen.contains('\x07') && !screen.contains("\x1bc"));
}

#[test]
fn an_included_menu_is_part_of_it() {
    let mut site = Site::with_payload(11, 50_000, 10_000);
    site.route("/boot/menu", [Reply::ok("DEFAULT two\nINCLUDE more/menu\n")]);
    site.route("/boot/more/menu", [Reply::ok(MENU.replace("DEFAULT one\n", ""))]);
    assert_eq!(site.boots().entry(), "two");
}

#[test]
fn a_command_line_is_edited_before_it_boots() {
    // INITRD is an `initrd=` in the line. Without such a kernel the menu comes back, and the clock boots the default.
    for (keys, chosen) in [
        (&b"\x01\x06 entry=new\r"[..], "one"),
        (b" entry=x\x17\r", "two"),
        (b"\x17\x17initrd=initrd.img entry=typed\r", "typed"),
    ] {
        let mut site = Site::with_menu(18, MENU, &[(12, b"\x1b[B"), (13, b"\t"), (14, keys)]);
        assert_eq!(site.boots().entry(), chosen);
        assert!(site.node.screen().contains("> Image entry=two initrd=initrd.img"));
    }
}

#[test]
fn a_locked_entry_boots_with_its_password_and_never_by_the_clock() {
    let menu = MENU.replace(
        "  MENU LABEL Se^cond system\n",
        "  MENU LABEL Se^cond system\n  MENU PASSWD secret\n",
    );
    let keys: [(u64, &[u8]); 5] = [
        (12, b"c"),
        (13, b"\r"),
        (14, b"guess\r"),
        (15, b"\r"),
        (16, b"secret\r"),
    ];
    let mut site = Site::with_menu(19, &menu, &keys);
    assert_eq!(site.boots().entry(), "two");
    let screen = site.node.screen();
    assert!(screen.contains("Wrong password") && screen.contains("******") && !screen.contains("secret"));
    // Left alone at the prompt, the default boots.
    let mut site = Site::with_menu(20, &menu, &keys[..2]);
    assert_eq!(site.boots().entry(), "one");
}

/// The person chose the second system, whose kernel is not there the first time: the reason stays, and so does the choice.
#[test]
fn a_choice_that_failed_stays_chosen() {
    let menu = MENU.replace(
        "entry=two\n",
        "entry=two\nMENU BEGIN\nLABEL in\nLINUX gone\nAPPEND entry=in\nMENU END\n",
    );
    let menu = menu.replacen(
        "LINUX Image\n  INITRD initrd.img\n  APPEND entry=two",
        "LINUX late\n  INITRD initrd.img\n  APPEND entry=two",
        1,
    );
    let mut site = Site::with_menu(21, &menu, &[(12, b"\x1b[B"), (13, b"\r"), (20, b"\r")]);
    let kernel = site.kernel.clone();
    site.route(
        "/boot/late",
        [Reply::status("404 Not Found", "no"), Reply::ok(kernel)],
    );
    assert_eq!(site.boots().entry(), "two");
    let screen = site.node.screen();
    let again = screen.rsplit("\x1b[2J").next().unwrap();
    assert!(again.contains("> [c] \x1b[7mSecond system"), "{again}");
    assert!(
        again.contains("fetch: GET http://192.168.7.2/boot/late: 404 Not Found"),
        "{again}"
    );
}

#[test]
fn help_in_a_shell_fits_the_terminal() {
    let mut site = script(28, "shell\nset entry on", &[(12, b"help\r"), (14, b"exit\r")]);
    assert_eq!(site.boots().entry(), "on");
    let screen = site.node.screen();
    let help = screen.split("Commands:\r\n").nth(1).unwrap();
    let rows: Vec<&str> = help
        .split("\r\n")
        .take_while(|row| row.starts_with("  "))
        .collect();
    assert!(
        rows.len() > 5 && rows.iter().all(|row| row.len() < 80),
        "{rows:#?}"
    );
}

/// A site whose boot file is this script, and these keys.
fn script(seed: u64, script: &str, keys: &[(u64, &[u8])]) -> Site {
    let site = site(seed, keys);
    let text = format!("#!ipxe\n{script}\nkernel Image entry=${{entry}}\ninitrd initrd.img\nboot\n");
    site.route("/boot/menu", [Reply::ok(text)]);
    site
}

#[test]
fn a_line_is_edited_before_a_script_has_it() {
    for (keys, value) in [
        (&b"two\r"[..], "onetwo"),
        (b"\x15two\r", "two"),
        (b"\x01\x1b[3~O\x05!\r", "One!"),
        (b"\x1b[D\x1b[D\xc3\xbc\r", "oüne"),
        (b"\x17a b\x17\x7fc\n", "ac"),
    ] {
        let mut site = script(20, "set entry one\nread entry", &[(12, keys)]);
        assert_eq!(site.boots().entry(), value, "{keys:?}");
    }
    // What comes in one go and is not all keys of a line is noise.
    let keys = [(12, &b"two\x1b[24~\r"[..]), (14, b"x\r")];
    let mut site = script(20, "set entry one\nread entry", &keys);
    assert_eq!(site.boots().entry(), "onex");
    // Esc leaves the line, and what the setting was stays; so does silence.
    for keys in [&[(12, &b"x\x03"[..])][..], &[(12, b"x"), (13, b"\x1b")], &[]] {
        let mut site = script(21, "set entry one\nread entry ||", keys);
        assert_eq!(site.boots().entry(), "one");
    }
}

#[test]
fn lines_typed_ahead_are_the_next_ones() {
    let commands = "login\nset entry ${username}-${password}";
    let mut site = script(22, commands, &[(12, b"me\rs3cret\r")]);
    assert_eq!(site.boots().entry(), "me-s3cret");
    let screen = site.node.screen();
    assert!(
        screen.contains("Password: ******\r\n") && !screen.contains("s3cret"),
        "{screen}"
    );
}

#[test]
fn a_field_and_a_line_take_4096_characters() {
    for asked in ["form F\nitem entry E\npresent", "read entry"] {
        // In pieces that a terminal has room for.
        let piece = [b'x'; 600];
        let mut keys: Vec<(u64, &[u8])> = (0..8).map(|n| (12 + n, &piece[..])).collect();
        keys.push((25, b"\r"));
        let mut site = script(26, &format!("{asked}\necho [${{entry}}]\nset entry done"), &keys);
        assert_eq!(site.boots().entry(), "done");
        let told = format!("[{}]", "x".repeat(4096));
        assert!(site.node.screen().contains(&told), "{asked}");
    }
}

#[test]
fn a_form_is_filled_in_field_by_field() {
    let form = "set host old\nform Who are you?\nitem user Name\nitem --gap\nitem --secret secret Password\n\
                item host Host\nitem count:int8 Count\npresent && set entry ${user}-${secret}-${host}-${count} || set entry left";
    for (keys, chosen) in [
        (&[(12, &b"me\rs3\r\r7\r"[..])][..], "me-s3-old-7"),
        (
            &[(12, b"x\t\t\x15new\x1b[Z\x1b[Ame\x1b[D\x1b[D\x7f\x18")],
            "me--new-",
        ),
        // A number that is none is refused, and corrected.
        (&[(12, b"me\t\t\tmany\r"), (14, b"\x159\r")], "me--old-9"),
        (&[(12, b"me\t"), (14, b"\x1b")], "left"),
        (&[(12, b"me\x03")], "left"),
        (&[], "left"),
    ] {
        let mut site = script(23, form, keys);
        assert_eq!(site.boots().entry(), chosen);
        let screen = site.node.screen();
        assert!(
            screen.contains("Who are you?") && !screen.contains("s3"),
            "{screen}"
        );
    }
}

#[test]
fn a_shell_remembers_what_was_typed() {
    let keys: [(u64, &[u8]); 5] = [
        (12, b"set entry one\r"),
        (13, b"echo ${entry}\r"),
        (14, b"\x1b[A\x1b[A\x7f\x7f\x7ftwo\r"),
        (15, b"\x1b[A\x1b[A\r"),
        (16, b"exit\r"),
    ];
    let mut site = script(24, "shell", &keys);
    assert_eq!(site.boots().entry(), "two");
    let screen = site.node.screen();
    assert!(
        screen.contains("\none\r\n") && screen.contains("\ntwo\r\n"),
        "{screen}"
    );
}

/// A node on whose line something random arrives, each so often, for so long: single bytes that can be keys, bursts, or
/// a hail without a pause.
fn noisy(seed: u64, seconds: u64) -> Node {
    let mut random = Random::new(seed);
    let mut node = Node::new();
    let (pause, longest) = [(1000, 1), (700, 12), (30, 1), (5, 3)][(seed % 4) as usize];
    for at in 0..seconds * 1000 / pause {
        let mut noise = vec![0; 1 + (at as usize) % longest];
        random.fill(&mut noise);
        node = node.types(Duration::from_millis(at * pause), noise);
    }
    node
}

#[test]
fn noise_holds_what_a_script_asks_no_longer_than_its_bound() {
    for (asks, bound) in [
        ("read entry", 600),
        ("read --timeout 5000 entry", 600),
        ("login", 2 * 600),
        ("form\nitem entry Entry\nitem other Other\npresent", 3600),
        ("shell", 3600 + 600),
        ("prompt --timeout 5000 Press", 5),
        ("menu\nitem a A\nitem b B\nchoose --timeout 5000 entry", 600),
        ("menu\nitem a A\nitem b B\nchoose entry", 3600 + 600),
    ] {
        for seed in 0..4 {
            let mut site = script(25, &format!("{asks} ||\nset entry on"), &[]);
            site.node = noisy(seed, 4500);
            site.lan.limit(seconds(5000));
            assert_eq!(site.boots().entry(), "on", "{asks}");
            assert!(site.booted_at() < bound + 30, "{asks}: {}", site.booted_at());
        }
    }
}

#[test]
fn a_terminal_that_says_its_size_is_no_person_who_fills_in() {
    let form = "form\nitem entry Entry\nitem other Other\npresent ||\nset entry on";
    for (asks, typed, end) in [
        ("read entry ||\nset entry on", None, 600),
        ("login ||\nset entry on", None, 600),
        (form, None, 600),
        // A person holds it for as long again.
        (form, Some(500), 1100),
    ] {
        let mut site = script(28, asks, &[]);
        for at in 1..30_u64 {
            let size = format!("\x1b[{};{}R", 20 + at, 80 + at).into_bytes();
            site.node = site.node.types(seconds(70 * at), size);
        }
        if let Some(at) = typed {
            site.node = site.node.types(seconds(at), b"x".to_vec());
        }
        site.lan.limit(seconds(5000));
        assert_eq!(site.boots().entry(), "on", "{asks}");
        assert!(
            (end..end + 30).contains(&site.booted_at()),
            "{asks}: {}",
            site.booted_at()
        );
    }
}

#[test]
fn a_long_download_draws_a_line_in_place_and_does_not_flood() {
    let mut site = Site::with_payload(26, 64 << 20, 10_000);
    site.node = Node::with_memory(160 << 20);
    // The server's send buffer of 64 KiB, 50 ms there and back: 1.2 MiB a second.
    site.lan.link(Link {
        latency: Duration::from_millis(25),
        ..Link::default()
    });
    site.boots();
    assert!((50..70).contains(&site.booted_at()), "{}", site.booted_at());
    let screen = site.node.screen();
    assert!(screen.len() < 10_000, "{} bytes", screen.len());
    let drawn: Vec<&str> = screen.split('\r').filter(|line| line.contains(" left")).collect();
    assert!((50..120).contains(&drawn.len()), "{} lines", drawn.len());
    let half = drawn
        .iter()
        .find(|line| line.contains(" 50 %"))
        .expect("a line of half of it");
    assert!(
        half.starts_with("  32.") && half.contains(" of 64.0 MiB, 50 %, 1") && half.contains(" KiB/s, 0:2"),
        "{half}"
    );
    assert!(
        !screen.contains('\n') && !screen.contains('\x1b'),
        "it stays in its line"
    );
    assert!(screen.ends_with(&format!(
        "\r{}\r",
        " ".repeat(drawn.last().unwrap().trim_end().len())
    )));
    // In the end the log says what it was.
    let told = tests::lines();
    let told = told
        .iter()
        .filter(|line| line.text.contains("/boot/Image: 67108864 bytes in "));
    assert_eq!(told.count(), 1);
}

#[test]
fn a_short_download_draws_nothing() {
    let mut site = Site::new(27);
    site.boots();
    assert_eq!(site.node.screen(), "");
}
