//! PXELINUX's menus in whole boots: submenus, other menus, what happens when an entry fails, and the clock.

use boot::Settings;
use smoltcp::time::Duration;
use tests::{Node, Random, Reply, Site, lines, payload};

fn seconds(at: u64) -> Duration {
    Duration::from_secs(at)
}

fn bootargs(site: &mut Site) -> String {
    site.initrd.clear();
    site.boots().bootargs
}

/// The word of the command line that says which entry booted.
fn entry(site: &mut Site) -> String {
    site.initrd.clear();
    site.boots().entry().to_owned()
}

fn label(name: &str, more: &str) -> String {
    format!("LABEL {name}\nLINUX Image\nAPPEND entry={name}\n{more}")
}

#[test]
fn a_person_goes_into_a_submenu_and_back_and_boots_from_it() {
    let menu = format!(
        "PROMPT 1\nTIMEOUT 200\nMENU TITLE Top\n{}MENU BEGIN inner\nMENU TITLE Inner\n{}{}{}MENU END\n",
        label("one", ""),
        label("two", ""),
        label("three", ""),
        label("four", "")
    );
    // Down and Enter open it, Esc leaves, the same again, then its third entry, which is in another row than the submenu was.
    let mut site = Site::with_menu(
        1,
        &menu,
        &[
            (4, b"\x1b[B\r"),
            (5, b"\x1b"),
            (6, b"\x1b[B\r"),
            (7, b"\x1b[B\x1b[B"),
            (8, b"\r"),
        ],
    );
    assert_eq!(entry(&mut site), "four");
    assert!((8..10).contains(&site.booted_at()), "{}", site.booted_at());
    assert!(site.node.screen().contains("Inner"));
}

#[test]
fn a_key_of_a_hidden_menu_boots_its_label() {
    let menu = format!(
        "UI menu.c32\nTIMEOUT 200\nMENU HIDDEN\nMENU HIDDENKEY x,F3 two\n{}{}",
        label("one", ""),
        label("two", "")
    );
    for (key, entered) in [(&b"x"[..], "two"), (b"\x1bOR", "two"), (b"y", "one")] {
        let mut site = Site::with_menu(1, &menu, &[(4, key)]);
        assert_eq!(entry(&mut site), entered);
        let boots_at = if entered == "two" { 4 } else { 20 };
        assert!(
            (boots_at..boots_at + 3).contains(&site.booted_at()),
            "{}",
            site.booted_at()
        );
    }
}

#[test]
fn texts_that_a_menu_names_are_shown() {
    let menu = format!(
        "PROMPT 1\nTIMEOUT 200\nF1 help.txt\n{}LABEL about\nMENU HELP about.txt\n",
        label("one", "")
    );
    let mut site = Site::with_menu(1, &menu, &[(4, b"\x1bOP"), (6, b"\x1b[B\r"), (10, b"\x1b[A\r")]);
    site.route("/boot/help.txt", [Reply::ok("what the keys do\n")]);
    site.route("/boot/about.txt", [Reply::ok("whose nodes these are\n")]);
    assert_eq!(entry(&mut site), "one");
    for text in ["what the keys do", "whose nodes these are"] {
        assert!(site.node.screen().contains(text), "{text}");
    }
}

#[test]
fn a_menu_in_another_file_is_shown_and_its_clock_boots() {
    let mut site = Site::with_menu(1, "UI vesamenu.c32 sub/other.cfg\n", &[]);
    site.route(
        "/boot/sub/other.cfg",
        [Reply::ok(format!("TIMEOUT 50\n{}", label("other", "")))],
    );
    assert_eq!(entry(&mut site), "other");
    assert!((5..12).contains(&site.booted_at()), "{}", site.booted_at());
}

#[test]
fn menus_that_lead_to_each_other_end() {
    let mut site = Site::with_menu(1, "DEFAULT a\nLABEL a\nCONFIG menu\n", &[]);
    let error = site.boot_attempts(1).unwrap_err().to_string();
    assert_eq!(error, "menu: more than 32 menus lead to each other");
    assert_eq!(site.http.borrow().paths().len(), 33);
}

#[test]
fn onerror_boots_when_the_clocks_entry_fails() {
    let menu = format!(
        "DEFAULT bad\nONERROR good\nLABEL bad\nLINUX missing\n{}",
        label("good", "")
    );
    let mut site = Site::with_menu(1, &menu, &[]);
    assert!(bootargs(&mut site).contains("entry=good bad"));
    assert_eq!(site.errors().len(), 1, "{:?}", site.errors());
}

#[test]
fn no_other_label_boots_when_the_default_fails() {
    let menu = format!("DEFAULT bad\nLABEL bad\nLINUX missing\n{}", label("wipe", ""));
    let mut site = Site::with_menu(1, &menu, &[]);
    let error = site.boot_attempts(2).unwrap_err().to_string();
    assert!(error.contains("/boot/missing: 404"), "{error}");
}

#[test]
fn an_onerror_that_fails_too_ends_the_attempt() {
    let mut site = Site::with_menu(
        1,
        "DEFAULT bad\nONERROR worse\nLABEL bad\nLINUX missing\nLABEL worse\nLOCALBOOT 0\n",
        &[],
    );
    let error = site.boot_attempts(1).unwrap_err().to_string();
    assert_eq!(
        error,
        "menu: cannot boot \"worse\": it means the board's own disk, and bramble.local does not say how that boots"
    );
}

#[test]
fn what_a_person_chose_may_fail_and_the_menu_comes_back() {
    let menu = format!(
        "PROMPT 1\nTIMEOUT 100\nONERROR never\n{}LABEL bad\nLINUX missing\n",
        label("good", "")
    );
    // Enter alone tries the same entry again: what failed stays selected.
    let mut site = Site::with_menu(1, &menu, &[(4, b"\x1b[B\r"), (20, b"\r"), (40, b"\x1b[A\r")]);
    assert_eq!(entry(&mut site), "good");
    assert!(site.booted_at() >= 40, "{}", site.booted_at());
    let menus = site
        .http
        .borrow()
        .paths()
        .iter()
        .filter(|path| **path == "/boot/menu")
        .count();
    assert_eq!(menus, 1, "it is the same menu");
}

#[test]
fn a_total_timeout_is_not_moved_by_keys_or_noise() {
    for (head, end) in [
        ("TIMEOUT 100\nTOTALTIMEOUT 450\n", 45),
        ("TIMEOUT 0\nTOTALTIMEOUT 300\n", 30),
    ] {
        let menu = format!(
            "PROMPT 1\n{head}ONTIMEOUT two\n{}{}",
            label("one", ""),
            label("two", "")
        );
        let mut site = Site::with_menu(1, &menu, &[]);
        let mut node = Node::new();
        let mut random = Random::new(5);
        for second in 0..200 {
            // Arrows, and bytes that are no Enter.
            let mut noise = [0; 2];
            random.fill(&mut noise);
            let noise = noise.map(|byte| if matches!(byte, b'\r' | b'\n') { 0 } else { byte });
            node = node
                .types(seconds(second), *b"\x1b[B")
                .types(seconds(second) + Duration::from_millis(500), noise);
        }
        site.node = node;
        assert_eq!(entry(&mut site), "two");
        assert!(
            (end..end + 10).contains(&site.booted_at()),
            "{}",
            site.booted_at()
        );
    }
}

#[test]
fn fdtdir_takes_the_first_tree_that_is_there() {
    let menu = label("a", "FDTDIR dtbs\n");
    let mut site = Site::with_menu(1, &menu, &[]);
    site.route(
        "/boot/dtbs/bcm2710-rpi-3-b.dtb",
        [Reply::ok(payload::device_tree())],
    );
    assert_eq!(entry(&mut site), "a");
    let asked: Vec<String> = site
        .http
        .borrow()
        .paths()
        .iter()
        .map(|path| path.to_string())
        .collect();
    let trees = [
        "/boot/dtbs/broadcom/bcm2837-rpi-3-b.dtb",
        "/boot/dtbs/bcm2837-rpi-3-b.dtb",
        "/boot/dtbs/broadcom/bcm2710-rpi-3-b.dtb",
        "/boot/dtbs/bcm2710-rpi-3-b.dtb",
    ];
    let found: Vec<_> = asked.iter().filter(|path| path.contains("dtbs")).collect();
    assert_eq!(found, trees.iter().collect::<Vec<_>>());
}

#[test]
fn fdtdir_without_a_tree_for_this_board_takes_the_firmwares() {
    let mut site = Site::with_menu(1, &label("a", "FDTDIR dtbs\n"), &[]);
    assert_eq!(entry(&mut site), "a");
    let warned = lines()
        .into_iter()
        .any(|line| line.text.contains("taking the firmware's"));
    assert!(warned, "{:?}", lines());
}

#[test]
fn fdtdir_passes_over_a_page_in_place_of_a_tree_and_says_so() {
    let mut site = Site::with_menu(1, &label("a", "FDTDIR dtbs\n"), &[]);
    site.route(
        "/boot/dtbs/broadcom/bcm2837-rpi-3-b.dtb",
        [Reply::ok("<html>No such file")],
    );
    site.route(
        "/boot/dtbs/bcm2837-rpi-3-b.dtb",
        [Reply::ok(payload::device_tree())],
    );
    assert_eq!(entry(&mut site), "a");
    let page = "verify: http://192.168.7.2/boot/dtbs/broadcom/bcm2837-rpi-3-b.dtb is an HTML page, not a device tree; it is passed over";
    let told = lines().into_iter().filter(|line| line.text == page).count();
    assert_eq!(told, 1, "{:?}", lines());
}

#[test]
fn fdtdir_on_a_server_in_trouble_fails() {
    let mut site = Site::with_menu(1, &label("a", "FDTDIR dtbs\n"), &[]);
    site.route(
        "/boot/dtbs/broadcom/bcm2837-rpi-3-b.dtb",
        [Reply::status("503 Service Unavailable", "")],
    );
    let error = site.boot_attempts(1).unwrap_err().to_string();
    assert!(error.contains("503"), "{error}");
}

#[test]
fn an_include_with_a_tag_is_a_submenu_and_its_label_the_default() {
    let mut site = Site::with_menu(
        1,
        "PROMPT 1\nTIMEOUT 50\nDEFAULT inner\nLABEL a\nLOCALBOOT 0\nINCLUDE more tag\n",
        &[],
    );
    site.route(
        "/boot/more",
        [Reply::ok(format!(
            "MENU TITLE More systems\n{}",
            label("inner", "")
        ))],
    );
    assert_eq!(entry(&mut site), "inner");
    assert!(site.node.screen().contains("More systems"));
}

/// Two labels, one that installs and one that does what `safe` says, and this before them.
fn installer_and(head: &str, safe: &str) -> Site {
    let install = label("install", "MENU LABEL Reinstall\n");
    Site::with_menu(
        1,
        &format!("{head}LABEL safe\nMENU LABEL Safe\n{safe}{install}"),
        &[],
    )
}

#[test]
fn the_clock_asks_for_no_password() {
    let menu = format!(
        "UI menu.c32\nTIMEOUT 50\nDEFAULT kept\n{}{}",
        label("kept", "MENU PASSWD $4$salt$2gDsLm/57U00KyShbiYsgvPIsQs$\n"),
        label("install", "")
    );
    assert_eq!(entry(&mut Site::with_menu(1, &menu, &[])), "kept");
}

#[test]
fn what_only_a_pc_can_run_is_nobodys_reason_to_boot_the_next_label() {
    for head in [
        "DEFAULT safe\nPROMPT 0\n",
        "UI menu.c32\nDEFAULT safe\nTIMEOUT 50\n",
        "UI menu.c32\nTIMEOUT 50\n",
        "DEFAULT menu.c32\nTIMEOUT 50\nMENU TITLE t\n",
        "PROMPT 1\nTIMEOUT 50\nDEFAULT nothing\nONTIMEOUT safe\n",
    ] {
        for (safe, why) in [
            (
                "COM32 chain.c32\n",
                "COM32 starts something that only exists on x86 PCs",
            ),
            ("KERNEL chain.c32\n", "chain.c32 is a program for x86 PCs"),
            (
                "LOCALBOOT 0\n",
                "it means the board's own disk, and bramble.local does not say how that boots",
            ),
        ] {
            let mut site = installer_and(head, safe);
            let error = site.boot_attempts(2).unwrap_err().to_string();
            assert_eq!(error, format!("menu: cannot boot \"Safe\": {why}"), "{head}");
        }
    }
}

#[test]
fn onerror_is_for_a_pc_program_and_not_for_the_disk() {
    let more = format!("LABEL safe\nCOM32 chain.c32\n{}", label("rescue", ""));
    let mut pc = Site::with_menu(1, &format!("DEFAULT safe\nONERROR rescue\n{more}"), &[]);
    assert!(bootargs(&mut pc).contains("entry=rescue safe"));
    let more = more.replace("COM32 chain.c32", "LOCALBOOT 0");
    let mut disk = Site::with_menu(1, &format!("DEFAULT safe\nONERROR rescue\n{more}"), &[]);
    let error = disk.boot_attempts(1).unwrap_err().to_string();
    assert_eq!(
        error,
        "menu: cannot boot \"safe\": it means the board's own disk, and bramble.local does not say how that boots"
    );
}

#[test]
fn the_first_entry_is_the_default_whatever_it_is() {
    for safe in ["CONFIG other.cfg\n", "KERNEL menu.c32\nAPPEND other.cfg\n"] {
        let mut site = installer_and("UI menu.c32\nTIMEOUT 50\n", safe);
        site.route(
            "/boot/other.cfg",
            [Reply::ok(format!(
                "TIMEOUT 50\nDEFAULT other\n{}",
                label("other", "")
            ))],
        );
        assert_eq!(entry(&mut site), "other");
    }
    // A text that is one label and nothing else takes the time of the menu whose clock led to it; all others that name no time are
    // a person's in a menu module, be there one to choose or two.
    let to = |other: &str, files: &str| {
        let site = installer_and(
            "UI menu.c32\nTIMEOUT 50\n",
            &format!("KERNEL menu.c32\nAPPEND {files}\n"),
        );
        site.route("/boot/other.cfg", [Reply::ok(other.to_owned())]);
        site.lan.limit(seconds(2 * 3600));
        site
    };
    let one = label("one", "");
    assert_eq!(entry(&mut to(&one, "other.cfg")), "one");
    for (other, files) in [
        (format!("MENU TITLE Really?\n{one}"), "other.cfg"),
        (format!("{one}MENU LABEL Install\n"), "other.cfg"),
        (format!("TIMEOUT 0\n{one}"), "other.cfg"),
        (format!("{one}{}", label("two", "")), "other.cfg"),
        // What is not there could have another.
        (one.clone(), "other.cfg gone.cfg"),
    ] {
        let error = to(&other, files).boot_attempts(1).unwrap_err().to_string();
        assert!(error.contains("waits for a person"), "{other}: {error}");
    }
    // A person who opens it chooses there, too.
    let mut site = Site::with_menu(
        1,
        "UI menu.c32\nTIMEOUT 50\nLABEL more\nKERNEL menu.c32\nAPPEND other.cfg\n",
        &[],
    );
    site.route("/boot/other.cfg", [Reply::ok(one)]);
    site.node.keys = vec![(seconds(2), b"\r".to_vec())];
    site.lan.limit(seconds(2 * 3600));
    let error = site.boot_attempts(1).unwrap_err().to_string();
    assert!(error.contains("waits for a person"), "{error}");
}

#[test]
fn a_lone_label_boots_by_itself_only_when_it_is_all_of_the_text() {
    assert_eq!(entry(&mut Site::with_menu(1, &label("only", ""), &[])), "only");
    let install = label("install", "");
    for text in [
        // The other label was in the file that is gone.
        format!("INCLUDE local.cfg\n{install}"),
        format!("LABEL local\nMENU DISABLE\nLOCALBOOT 0\n{install}"),
        format!("TIMEOUT 50\n{install}"),
        format!("PROMPT 1\nTIMEOUT 50\n{install}"),
        format!("GARBAGE\nWORDS\n{install}"),
    ] {
        let mut site = Site::with_menu(1, &text, &[]);
        site.lan.limit(seconds(2 * 3600));
        let error = site.boot_attempts(1).unwrap_err().to_string();
        assert!(error.contains("waits for a person"), "{text}: {error}");
    }
}

#[test]
fn default_goes_before_menu_default_only_where_there_is_a_ui() {
    for (head, expected) in [
        ("UI menu.c32\nDEFAULT install\n", "install"),
        (
            "UI menu.c32\nPROMPT 0\nMENU TITLE x\nDEFAULT install\n",
            "install",
        ),
        ("UI menu.c32\n", "safe"),
        ("DEFAULT menu.c32\n", "safe"),
    ] {
        let safe = "LINUX Image\nAPPEND entry=safe\nMENU DEFAULT\n";
        let mut site = installer_and(&format!("TIMEOUT 50\n{head}"), safe);
        assert_eq!(entry(&mut site), expected, "{head}");
    }
}

#[test]
fn a_menu_without_a_time_waits_for_a_person_or_the_operators_time() {
    let safe = "LINUX Image\nAPPEND entry=safe\n";
    for (head, waits) in [
        ("UI menu.c32\n", false),
        ("PROMPT 1\nDEFAULT safe\n", false),
        ("UI menu.c32\nTIMEOUT 0\n", true),
        ("MENU TITLE t\n", true),
    ] {
        for setting in [None, Some(seconds(30))] {
            let mut site = installer_and(head, safe);
            site.lan.limit(seconds(2 * 3600));
            let settings = Settings {
                attempts: Some(1),
                menu_timeout: setting,
                ..Settings::default()
            };
            match site.boot_with(&settings) {
                Ok(handoff) => {
                    assert!(!waits && setting.is_some(), "{head}");
                    assert!(site.inspect(&handoff).bootargs.contains("entry=safe"));
                    assert_eq!(site.booted_at(), 30, "{head}");
                }
                Err(error) => {
                    assert!(waits || setting.is_none(), "{head}: {error}");
                    assert!(error.to_string().contains("waits for a person"), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_comment_that_ends_in_a_backslash_ends() {
    let menu = format!(
        "# files are in C:\\boot\\\nDEFAULT kept\n{}{}",
        label("install", ""),
        label("kept", "MENU LABEL /\\/\\\nMENU INDENT 1\n")
    );
    assert_eq!(entry(&mut Site::with_menu(1, &menu, &[])), "kept");
}

#[test]
fn localboot_and_quit_fail_an_attempt_and_are_tried_again() {
    let mut site = Site::with_menu(1, "DEFAULT local\nLABEL local\nLOCALBOOT -1\n", &[]);
    let good = label("a", "");
    site.route(
        "/boot/menu",
        [
            Reply::ok("DEFAULT local\nLABEL local\nLOCALBOOT -1\n"),
            Reply::ok(good),
        ],
    );
    assert_eq!(entry(&mut site), "a", "an operator has changed it meanwhile");
}

#[test]
fn variables_of_u_boot_reach_the_command_line_and_names() {
    let mut site = Site::with_menu(
        1,
        "LABEL a\nLINUX Im$(serverip)age\nAPPEND entry=${ethaddr} s=${serial#} c=http://h/?m=${mac}&u=${uuid}\n",
        &[],
    );
    site.route("/boot/Im192.168.7.1age", [Reply::ok(site.kernel.clone())]);
    let bootargs = bootargs(&mut site);
    assert!(
        bootargs.contains("entry=b8:27:eb:01:02:03 s=100000005eadbeef c=http://h/?m=${mac}&u=${uuid}"),
        "{bootargs}"
    );
}

#[test]
fn a_file_with_a_variable_that_nobody_knows_is_not_asked_for() {
    let mut site = Site::with_menu(1, "LABEL a\nLINUX nodes/${mac}/Image\n", &[]);
    let error = site.boot_attempts(1).unwrap_err().to_string();
    assert_eq!(
        error,
        "menu: cannot boot \"a\": ${mac} in a file's name is not known here, or not set"
    );
    assert_eq!(site.http.borrow().paths(), ["/boot/menu"]);
}

#[test]
fn initrd_takes_arguments_and_names_with_two_slashes_are_on_the_same_server() {
    let mut site = Site::with_menu(
        1,
        "LABEL a\nLINUX //boot/Image\nAPPEND one\nINITRD //boot/initrd.img , http:///boot/initrd.img splash=verbose\nIPAPPEND 2\n",
        &[],
    );
    site.initrd.clear();
    let handoff = site.boot().expect("it boots");
    let loaded = site.inspect(&handoff);
    assert!(
        loaded.bootargs.contains("one splash=verbose BOOTIF="),
        "{}",
        loaded.bootargs
    );
    assert_eq!(
        site.http.borrow().paths(),
        [
            "/boot/menu",
            "/boot/Image",
            "/boot/initrd.img",
            "/boot/initrd.img"
        ]
    );
}

#[test]
fn a_tree_of_hundreds_of_files_most_of_them_absent_is_a_menu() {
    let include = |i| format!("MENU INCLUDE plugins/p{i}/p{i}.menu\n");
    let menu: String = (0..260).map(include).collect();
    let mut site = Site::with_menu(1, &format!("DEFAULT p100\nPROMPT 0\n{menu}"), &[]);
    for i in (0..260).filter(|i| i % 5 < 2) {
        let label = label(&format!("p{i}"), "");
        site.route(&format!("/boot/plugins/p{i}/p{i}.menu"), [Reply::ok(label)]);
    }
    assert_eq!(entry(&mut site), "p100");
}

#[test]
fn the_files_of_a_menu_have_half_an_hour_together() {
    let menu = "INCLUDE slow\n".repeat(100);
    let mut site = Site::with_menu(1, &format!("{menu}{}", label("a", "")), &[]);
    site.lan.limit(seconds(3 * 3600));
    site.route("/boot/slow", [Reply::ok("# nothing\n").after(seconds(100))]);
    let error = site.boot_attempts(1).unwrap_err().to_string();
    assert!(
        error.contains("/boot/slow: not asked for: the files before it took 30 min"),
        "{error}"
    );
    assert_eq!(site.http.borrow().paths().len(), 1 + 18);
}

#[test]
fn of_several_files_one_may_be_absent_but_not_in_trouble() {
    let files = "UI menu.c32 gone.cfg more.cfg\nLABEL wipe\nLINUX Image\nAPPEND entry=wipe\n";
    for (status, boots) in [
        ("404 Not Found", true),
        ("403 Forbidden", false),
        ("500 Oops", false),
    ] {
        let mut site = Site::with_menu(1, files, &[]);
        site.route("/boot/gone.cfg", [Reply::status(status, "")]);
        site.route(
            "/boot/more.cfg",
            [Reply::ok(format!("TIMEOUT 30\n{}", label("more", "")))],
        );
        match site.boot_attempts(1) {
            Ok(handoff) => assert!(boots && site.inspect(&handoff).bootargs.contains("entry=more")),
            Err(error) => assert!(!boots && error.to_string().contains(status), "{error}"),
        }
    }
}

#[test]
fn fallback_is_for_who_counts_boots() {
    let menu = format!("DEFAULT a\nFALLBACK b\nLABEL a\nLINUX gone\n{}", label("b", ""));
    let mut site = Site::with_menu(1, &menu, &[]);
    let error = site.boot_attempts(2).unwrap_err().to_string();
    assert!(error.contains("/boot/gone: 404"), "{error}");
}

#[test]
fn u_boots_names_are_searched_before_default() {
    let mut site = Site::with_menu(1, "", &[]);
    site.dhcp.borrow_mut().file = "boot/".into();
    site.dhcp.borrow_mut().next_server = tests::site::HTTP.into();
    site.route(
        "/boot/pxelinux.cfg/default-arm-bcm283x",
        [Reply::ok(label("uboot", ""))],
    );
    site.route("/boot/pxelinux.cfg/default", [Reply::ok(label("default", ""))]);
    let handoff = site.boot_with(&Settings::default()).expect("a menu is there");
    assert!(site.inspect(&handoff).bootargs.contains("entry=uboot"));
}

#[test]
fn a_menu_that_waits_for_a_person_is_fetched_again_after_an_hour() {
    let waits = format!("PROMPT 1\nTIMEOUT 0\n{}", label("one", ""));
    let mut site = Site::with_menu(1, &waits, &[]);
    site.lan.limit(seconds(2 * 3600));
    site.route("/boot/menu", [Reply::ok(waits), Reply::ok(label("two", ""))]);
    // Lone bytes of noise, none of them Enter.
    let mut node = std::mem::take(&mut site.node);
    for i in 0..600 {
        node = node.types(seconds(5 + 6 * i), *b"~");
    }
    site.node = node;
    assert_eq!(entry(&mut site), "two");
    assert!((3600..3700).contains(&site.booted_at()), "{}", site.booted_at());
    assert_eq!(
        site.errors()[0].text,
        "menu: waits for a person, and nobody chose anything for 60 min"
    );
}
