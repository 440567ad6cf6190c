//! Sessions of iPXE scripts that belong to no server's dialect: where scripts are found, what DHCP says, how they end.

use tests::{Proxy, Random, Reply, Site};

#[test]
fn autoexec_on_the_next_server_comes_before_the_search_path() {
    let mut site = Site::named(9, "");
    site.dhcp.borrow_mut().next_server = [192, 168, 7, 2].into();
    site.route(
        "/autoexec.ipxe",
        [Reply::ok(
            "#!ipxe\ninitrd /boot/initrd.img\nkernel /boot/Image auto\nboot\n",
        )],
    );
    assert!(site.boots().bootargs.contains("auto"));
    assert_eq!(
        site.asked(),
        ["/autoexec.ipxe", "/boot/initrd.img", "/boot/Image"]
    );
}

#[test]
fn a_proxy_and_the_dhcp_server_are_told_apart() {
    let mut site = Site::named(10, "");
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
    let mut site = Site::named(11, "http://192.168.7.2/first.ipxe");
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
    let mut site = Site::named(12, "http://192.168.7.2/r.ipxe");
    site.route("/r.ipxe", [Reply::ok("#!ipxe\nsleep 1\nreboot\n")]);
    assert_eq!(site.ends(), boot::Ending::Reset(boot::Cause::Script));
    assert_eq!(site.asked(), ["/r.ipxe"]);
}

#[test]
fn no_failure_of_a_command_tells_the_value_of_a_secret_setting() {
    let mut site = Site::named(16, "http://192.168.7.2/s.ipxe");
    // iPXE's own password, sub-option 191.
    let encapsulated = [&[0xbf, 9][..], b"S3CRET-da"].concat();
    site.dhcp.borrow_mut().options.push((175, encapsulated));
    site.route(
        "/s.ipxe",
        [Reply::ok(
            "#!ipxe\nset api-Token S3CRET\nset pass word\nset x ${api-Token}er\n\
             foo ${net0.dhcp/password} ||\nfoo ${api-Token} ${pass} ${x} ||\ngoto ${x} ||\n\
             set net0/ip ${api-Token} ||\nchain ${net0.dhcp/password} ||\nlast ${api-Token}\n",
        )],
    );
    let error = site.boot_attempts(1).unwrap_err().to_string();
    let told: Vec<String> = tests::lines().into_iter().map(|line| line.text).collect();
    let at = "http://192.168.7.2/s.ipxe line";
    assert_eq!(error, format!("script: {at} 10: last ***: command not found"));
    for line in [
        format!("script: {at} 5: foo ***: command not found"),
        format!("script: {at} 6: foo *** word ***er: command not found"),
        format!("script: {at} 7: goto ***er: the script has no label :***er"),
        error,
    ] {
        assert!(told.contains(&line), "{line}: {told:#?}");
    }
    assert!(
        told.iter().any(|line| line.contains("\"***\" is not ipv4")),
        "{told:#?}"
    );
}

/// An EFI program for this machine that has no kernel in it, such as a boot loader.
fn efi_program(machine: u16) -> Vec<u8> {
    let mut file = vec![0; 512];
    file[..2].copy_from_slice(b"MZ");
    file[60] = 64;
    file[64..68].copy_from_slice(b"PE\0\0");
    file[68..70].copy_from_slice(&machine.to_le_bytes());
    file
}

#[test]
fn what_ipxe_would_have_run_is_not_replaced_by_what_stands_behind_it() {
    const ARM64: u16 = 0xaa64;
    const X86_64: u16 = 0x8664;
    let attempt = |seed, command: &str| {
        let mut site = Site::named(seed, "http://192.168.7.2/menu.ipxe");
        site.route("/grub.efi", [Reply::ok(efi_program(ARM64))]);
        site.route("/pc.efi", [Reply::ok(efi_program(X86_64))]);
        let install = "kernel /boot/Image install && initrd /boot/initrd.img && boot";
        site.route(
            "/menu.ipxe",
            [Reply::ok(format!(
                "#!ipxe\n{command} || goto install\nexit\n:install\n{install}\n"
            ))],
        );
        let result = site.boot_attempts(1).map_err(|error| error.to_string());
        result.map(|handoff| site.inspect(&handoff).bootargs)
    };
    for (seed, command, says) in [
        (13, "sanboot --no-describe --drive 0x80", "disk"),
        (14, "sanboot http://192.168.7.2/x.iso", "disk"),
        (15, "chain /grub.efi", "is an EFI program for arm64"),
        (16, "kernel /grub.efi && boot", "is an EFI program for arm64"),
    ] {
        let error = attempt(seed, command).unwrap_err();
        assert!(error.contains(says), "{command}: {error}");
        assert!(error.contains("line 2"), "{command}: {error}");
    }
    // What iPXE cannot run either, or get, it passes over.
    for (seed, command) in [
        (17, "chain /pc.efi"),
        (18, "chain /gone"),
        (19, "kernel /menu.html && boot"),
    ] {
        let bootargs = attempt(seed, command).unwrap();
        assert!(bootargs.contains("install"), "{command}: {bootargs}");
    }
}

/// The served tree is known only when the other images are in memory, wherever there was room.
#[test]
fn nothing_that_a_script_boots_lies_where_its_tree_reserves_memory() {
    const MIB: u64 = 1 << 20;
    const ORDERS: [&str; 2] = [
        "initrd /boot/initrd.img\nkernel /boot/Image\nfdt /reserves.dtb",
        "fdt /reserves.dtb\nkernel /boot/Image\ninitrd /boot/initrd.img",
    ];
    let mut moved = std::collections::BTreeSet::new();
    for start in (1..60).step_by(3) {
        for (order, images) in (0..).zip(ORDERS) {
            let kept = start * MIB..(start + 4) * MIB;
            let mut site = Site::named(20, "http://192.168.7.2/menu.ipxe");
            site.route("/menu.ipxe", [Reply::ok(format!("#!ipxe\n{images}\nboot\n"))]);
            let tree = tests::payload::device_tree_that_reserves(std::slice::from_ref(&kept));
            site.route("/reserves.dtb", [Reply::ok(tree)]);
            let handoff = site
                .boot_attempts(1)
                .unwrap_or_else(|error| panic!("{kept:x?}: {error}"));
            let loaded = site.inspect(&handoff);
            assert_eq!(loaded.initrd, site.initrd, "{kept:x?}");
            assert_eq!(site.node.at(handoff.entry)[..site.kernel.len()], site.kernel[..]);
            for part in &loaded.places {
                assert!(
                    part.end <= kept.start || kept.end <= part.start,
                    "{part:x?} is in {kept:x?}, order {order}"
                );
            }
            moved.insert(handoff.entry);
        }
    }
    assert!(moved.len() > 1, "each place was free anyway: {moved:x?}");
}

/// The kernel's room, with what it clears behind its file, is not where the next download lands.
#[test]
fn an_initrd_larger_than_a_block_leaves_the_kernel_before_it_whole() {
    let mut site = Site::with_payload(13, 3_000_000, 3_000_000);
    site.dhcp.borrow_mut().file = "http://192.168.7.2/boot/k.ipxe".into();
    site.route(
        "/boot/k.ipxe",
        [Reply::ok("#!ipxe\nkernel Image\ninitrd initrd.img\nboot\n")],
    );
    site.boots();
}

#[test]
fn a_download_has_as_long_as_the_script_says() {
    let mut site = Site::named(13, "http://192.168.7.2/boot/t.ipxe");
    site.route("/stalls", [Reply::ok(vec![0; 100_000]).stalled(5000)]);
    site.route(
        "/boot/t.ipxe",
        [Reply::ok(
            "#!ipxe\nimgfetch --timeout 3000 /stalls || echo over\nkernel Image\ninitrd initrd.img\nboot\n",
        )],
    );
    site.boots();
    assert!(site.node.screen().contains("over"), "{}", site.node.screen());
    assert!((3..8).contains(&site.booted_at()), "{}", site.booted_at());
}

#[test]
fn a_key_moves_the_clock_of_choose_as_far_as_the_script_says() {
    let script = "#!ipxe\nmenu\nitem a A\nitem b B\nchoose --timeout 10000 --retimeout 9000 it\n\
                  kernel Image entry=${it}\ninitrd initrd.img\nboot\n";
    let mut site = Site::with_menu(13, script, &[(5, b"\x1b[B")]);
    assert_eq!(site.boots().entry(), "b");
    assert!((14..16).contains(&site.booted_at()), "{}", site.booted_at());
}

#[test]
fn a_script_that_ends_without_booting_is_tried_again() {
    let mut site = Site::named(13, "http://192.168.7.2/e.ipxe");
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
            "script: http://192.168.7.2/e.ipxe ended without booting anything, and bramble.local does not say how another device boots",
            "script: http://192.168.7.2/e.ipxe line 2: exit 1: status 0x1",
            "script: http://192.168.7.2/e.ipxe line 2: shell: nobody typed a line in time",
        ]
    );
}

/// What Linux makes of an initial ramdisk: of each file its mode, name and bytes.
fn unpacked(mut bytes: &[u8]) -> Vec<(u32, String, Vec<u8>)> {
    let mut files = Vec::new();
    let whole = bytes.len();
    while let Some(skipped) = bytes.iter().position(|byte| *byte != 0) {
        bytes = &bytes[skipped..];
        assert_eq!(
            (whole - bytes.len()) % 4,
            0,
            "a header begins at a multiple of four"
        );
        assert!(
            bytes.starts_with(b"070701"),
            "{:?}",
            &bytes[..bytes.len().min(16)]
        );
        let field =
            |at: usize| u32::from_str_radix(core::str::from_utf8(&bytes[at..at + 8]).unwrap(), 16).unwrap();
        let (mode, len, name_len) = (field(14), field(54) as usize, field(94) as usize);
        assert_eq!((field(22), field(30), field(46)), (0, 0, 0), "root's, of no time");
        assert_eq!(bytes[110 + name_len - 1], 0, "a name ends in NUL");
        let name = String::from_utf8(bytes[110..110 + name_len - 1].to_vec()).unwrap();
        let body = (110 + name_len).next_multiple_of(4);
        files.push((mode, name, bytes[body..body + len].to_vec()));
        bytes = &bytes[(body + len).next_multiple_of(4).min(bytes.len())..];
    }
    files.retain(|(_, name, _)| name != "TRAILER!!!");
    files
}

#[test]
fn what_a_script_calls_by_a_name_is_a_file_in_the_initial_ramdisk() {
    let mut site = Site::named(14, "http://192.168.7.2/boot/f.ipxe");
    let archive = |name: &str, body: &str| {
        let fields = [
            0,
            0o100_600,
            0,
            0,
            1,
            0,
            body.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        let mut bytes = format!("070701{fields}{name}\0").into_bytes();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(body.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let first = [archive("init", "#!/bin/sh\n"), archive("TRAILER!!!", "")].concat();
    let text = "d-i debian-installer/locale string C\n";
    let iso: Vec<u8> = (0..70_001_u32).map(|i| (i % 251) as u8).collect();
    let again = "#!ipxe\necho again\n";
    for (path, bytes) in [
        ("/boot/first", first.clone()),
        ("/boot/preseed.cfg", text.into()),
        ("/boot/pve.iso", iso.clone()),
        ("/boot/again.ipxe", again.into()),
        ("/boot/empty", Vec::new()),
    ] {
        site.route(path, [Reply::ok(bytes)]);
    }
    site.route(
        "/boot/f.ipxe",
        [Reply::ok(
            "#!ipxe\n\
             initrd --name seed preseed.cfg preseed.cfg\n\
             kernel Image initrd=first auto\n\
             initrd first\n\
             module pve.iso /var/lib/proxmox.iso mkdir=-1 mode=0640\n\
             imgfetch again.ipxe again.ipxe\n\
             initrd --name nested first etc/first.cpio mkdir=1\n\
             imgfetch --name late preseed.cfg\n\
             imgargs late late.cfg mode=0755\n\
             initrd empty run/ \n\
             boot\n",
        )],
    );
    let handoff = site.boot().expect("it boots");
    let loaded = site.inspect(&handoff);
    assert!(
        loaded.bootargs.contains("initrd=first auto"),
        "{}",
        loaded.bootargs
    );
    let file = |mode: u32, name: &str, body: &[u8]| (mode, name.to_string(), body.to_vec());
    assert_eq!(
        unpacked(&loaded.initrd),
        [
            file(0o100_644, "preseed.cfg", text.as_bytes()),
            file(0o100_600, "init", b"#!/bin/sh\n"),
            file(0o040_755, "/var", b""),
            file(0o040_755, "/var/lib", b""),
            file(0o100_640, "/var/lib/proxmox.iso", &iso),
            file(0o100_644, "again.ipxe", again.as_bytes()),
            file(0o040_755, "etc", b""),
            file(0o100_644, "etc/first.cpio", &first),
            file(0o100_755, "late.cfg", text.as_bytes()),
            file(0o040_755, "run", b""),
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
    let (mut ends, mut far) = (std::collections::BTreeSet::new(), 0);
    for round in 0..60 {
        let mut text = String::from("#!ipxe\n");
        for word in 0..200 {
            let mut byte = [0];
            random.fill(&mut byte);
            text.push_str(words[usize::from(byte[0]) % words.len()]);
            text.push(' ');
            // Every other one goes on after what fails.
            if round % 2 == 1 && word % 4 == 3 {
                text.push_str("||\n");
            }
        }
        let mut site = Site::named(100 + round, "http://192.168.7.2/boot/r.ipxe");
        site.route("/boot/r.ipxe", [Reply::ok(text)]);
        // A session that lets the watchdog starve, panics or never ends fails the rig.
        let Err(error) = site.boot_attempts(1) else {
            far += 1;
            continue;
        };
        let error = error.to_string();
        let line = error
            .split_once(" line ")
            .and_then(|(_, rest)| rest.split(':').next());
        let line = line.and_then(|line| line.parse::<usize>().ok());
        far += usize::from(line.is_none_or(|line| line > 10));
        ends.insert(error.rsplit(": ").next().unwrap_or_default().to_owned());
    }
    // They are not all refused at once, nor for one reason.
    assert!(far >= 6 && ends.len() >= 15, "{far} {ends:#?}");
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
        let mut site = Site::named(14, "http://192.168.7.2/boot/${platform}");
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

#[test]
fn what_boots_brings_its_wish_for_the_watchdog_along() {
    use boot::Watchdog::{self, Found, Handoff, Off};
    let label = "LABEL a\nLINUX Image\n";
    let chooses = "DEFAULT a bramble.watchdog=handoff\n";
    let later = "set bramble.watchdog handoff\nset bramble.url http://192.168.7.2/boot/own\nexit 1\n";
    for (setting, text, watchdog) in [
        ("", label.to_owned(), Found),
        ("bramble.watchdog=handoff", label.to_owned(), Handoff),
        (
            "",
            format!("{label}APPEND quiet bramble.watchdog=handoff\n"),
            Handoff,
        ),
        ("", format!("APPEND bramble.watchdog=handoff\n{label}"), Handoff),
        ("", format!("{chooses}{label}"), Handoff),
        (
            "bramble.watchdog=handoff",
            format!("{label}APPEND bramble.watchdog=off\n"),
            Off,
        ),
        (
            "",
            "#!ipxe\nkernel Image bramble.watchdog=handoff\nboot\n".into(),
            Handoff,
        ),
        (
            "",
            "#!ipxe\nset bramble.watchdog handoff\nkernel Image\nboot\n".into(),
            Handoff,
        ),
        (
            "",
            "#!ipxe\nset bramble.watchdog handoff\nkernel Image bramble.watchdog=off\nboot\n".into(),
            Off,
        ),
        (
            "bramble.watchdog=off",
            "#!ipxe\nset bramble.watchdog handoff\nclear bramble.watchdog\nkernel Image\nboot\n".into(),
            Off,
        ),
        // What a script has set holds for the menu that comes after it.
        ("", format!("#!ipxe\n{later}"), Handoff),
    ] {
        let mut site = Site::named(1, tests::site::MENU);
        site.route("/boot/menu", [Reply::ok(text.clone())]);
        site.route("/boot/own", [Reply::ok(label)]);
        let settings = boot::Settings::from_bootargs(setting);
        match site.node.run(&site.lan, &settings) {
            boot::Ending::Boot(handoff, wanted) => {
                assert_eq!(wanted, watchdog, "{setting} {text}");
                // Linux gets it as it stands there, and no word of ours.
                let of = |line: &str| line.matches("bramble.").count();
                let written = !text.contains("kernel Image\n") && text.contains("bramble.watchdog=");
                assert_eq!(of(&handoff.command_line), usize::from(written), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(Watchdog::default(), Found);
}
