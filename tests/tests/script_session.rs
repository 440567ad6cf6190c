//! Sessions of iPXE scripts that belong to no server's dialect: where scripts are found, what DHCP says, how they end.

use tests::{Proxy, Random, Reply, Site};

/// A site whose DHCP server names this boot file.
fn site(seed: u64, boot_file: &str) -> Site {
    let site = Site::with_payload(seed, 50_000, 10_000);
    site.dhcp.borrow_mut().file = boot_file.into();
    site
}

fn asked(site: &Site) -> Vec<String> {
    site.http.borrow().paths()
}

#[test]
fn autoexec_on_the_next_server_comes_before_the_search_path() {
    let mut site = site(9, "");
    site.dhcp.borrow_mut().next_server = [192, 168, 7, 2].into();
    site.route(
        "/autoexec.ipxe",
        [Reply::ok(
            "#!ipxe\ninitrd /boot/initrd.img\nkernel /boot/Image auto\nboot\n",
        )],
    );
    assert!(site.boots().bootargs.contains("auto"));
    assert_eq!(
        asked(&site),
        ["/autoexec.ipxe", "/boot/initrd.img", "/boot/Image"]
    );
}

#[test]
fn a_proxy_and_the_dhcp_server_are_told_apart() {
    let mut site = site(10, "");
    site.lan
        .serve([192, 168, 7, 3], Proxy::new("http://192.168.7.2/proxy.ipxe"));
    site.route(
        "/proxy.ipxe",
        [Reply::ok(
            "#!ipxe\nkernel /boot/Image dhcp=${net0.dhcp/dhcp-server} proxy=${proxydhcp/dhcp-server}\n\
             initrd /boot/initrd.img\nboot\n",
        )],
    );
    let bootargs = site.boots().bootargs;
    assert!(
        bootargs.contains("dhcp=192.168.7.1 proxy=192.168.7.3"),
        "{bootargs}"
    );
}

#[test]
fn a_script_may_ask_dhcp_again_and_hears_the_new_answer() {
    let mut site = site(11, "http://192.168.7.2/first.ipxe");
    site.route(
        "/first.ipxe",
        [Reply::ok(
            "#!ipxe\ndhcp && echo at once ${unixtime}\nsleep 60\n:retry dhcp || goto retry\n\
             echo ${filename}\nkernel /boot/Image ip=${ip}\ninitrd /boot/initrd.img\nboot\n",
        )],
    );
    site.boots();
    let asked = site.dhcp.borrow().count(1);
    assert_eq!(asked, 2, "a fresh lease is an answer, an old one is not");
}

#[test]
fn reboot_resets_without_another_attempt() {
    let mut site = site(12, "http://192.168.7.2/r.ipxe");
    site.route("/r.ipxe", [Reply::ok("#!ipxe\nsleep 1\nreboot\n")]);
    assert_eq!(site.boot().unwrap_err(), boot::Error::Reset);
    assert_eq!(asked(&site), ["/r.ipxe"]);
}

#[test]
fn a_script_that_ends_without_booting_is_tried_again() {
    let mut site = site(13, "http://192.168.7.2/e.ipxe");
    site.route(
        "/e.ipxe",
        [
            Reply::ok("#!ipxe\nexit\n"),
            Reply::ok("#!ipxe\nexit 1\n"),
            Reply::ok("#!ipxe\nshell\n"),
            Reply::ok("#!ipxe\nkernel boot/Image\ninitrd boot/initrd.img\nboot\n"),
        ],
    );
    site.boots();
    let errors: Vec<String> = site.errors().into_iter().map(|line| line.text).collect();
    assert_eq!(
        errors,
        [
            "script: http://192.168.7.2/e.ipxe ended without booting anything, and there is no other boot device",
            "script: http://192.168.7.2/e.ipxe line 2: exit 1: status 0x1",
            "script: http://192.168.7.2/e.ipxe line 2: shell: nobody typed a line in time",
        ]
    );
}

#[test]
fn random_scripts_end_one_way_or_another() {
    let words = [
        "set",
        "x",
        "${x}",
        "goto",
        ":x",
        "chain",
        "r.ipxe",
        "||",
        "&&",
        ";",
        "inc",
        "item",
        "menu",
        "choose",
        "--timeout",
        "1",
        "echo",
        "\n",
        "\n",
        "\n",
        "isset",
        "kernel",
        "Image",
        "boot",
        "imgfree",
        "sleep",
        "exit",
        "prompt",
        "params",
        "r.ipxe##params",
        "param",
        "iseq",
        "${net${x}/mac}",
        "--",
        "\\\n",
        "#",
        "${",
        "}",
        "show",
        "time",
        "imgargs",
        "imgstat",
        "initrd",
        "clear",
        "form",
        "present",
        "fdt",
        "--name",
        "shell",
    ];
    let mut random = Random::new(5);
    for round in 0..60 {
        let mut text = String::from("#!ipxe\n");
        for _ in 0..200 {
            let mut byte = [0];
            random.fill(&mut byte);
            text.push_str(words[usize::from(byte[0]) % words.len()]);
            text.push(' ');
        }
        let mut site = site(100 + round, "http://192.168.7.2/boot/r.ipxe");
        site.route("/boot/r.ipxe", [Reply::ok(text)]);
        // A session that lets the watchdog starve, panics or never ends fails the rig.
        let _ = site.boot_attempts(1);
    }
}

#[test]
fn what_servers_and_scripts_are_told_follows_the_settings() {
    let settings = boot::Settings::from_bootargs(
        "bramble.platform=pcbios bramble.user-class=Tinkerbell bramble.ipxe-features=0 bramble.attempts=1",
    );
    for (settings, class, features, path) in [
        (boot::Settings::default(), &b"iPXE"[..], true, "/boot/efi"),
        (settings, b"Tinkerbell", false, "/boot/pcbios"),
    ] {
        let mut site = site(14, "http://192.168.7.2/boot/${platform}");
        site.route(
            path,
            [Reply::ok(
                "#!ipxe\nkernel Image for=${platform}\ninitrd initrd.img\nboot\n",
            )],
        );
        let handoff = site.boot_with(&settings).unwrap();
        let platform = path.rsplit('/').next().unwrap();
        let bootargs = site.inspect(&handoff).bootargs;
        assert!(bootargs.contains(&format!("for={platform}")), "{bootargs}");
        for message in &site.dhcp.borrow().log {
            assert_eq!(message.options[&77], class);
            assert_eq!(message.options.contains_key(&175), features);
        }
    }
}
