//! What a server does wrong is said in one line (step, URL, reason), and the node tries again until it is mended.

use boot::Settings;
use smoltcp::time::Duration;
use tests::{Answer, Dns, Reply, Site, payload, site};

/// Boots a site whose first attempt must fail, and returns the line that says why.
fn fails_once(site: &mut Site, parts: &[&str]) {
    site.boots();
    let errors = site.errors();
    assert_eq!(errors.len(), 1, "one failed attempt, one line: {errors:#?}");
    let line = &errors[0].text;
    assert!(!line.contains('\n') && line.len() < 400, "one line: {line}");
    for part in parts {
        assert!(line.contains(part), "{line:?} does not say {part:?}");
    }
}

/// A site whose kernel is spoiled once.
fn bad_kernel(seed: u64, spoil: impl FnOnce(&[u8]) -> Reply) -> Site {
    let site = Site::new(seed);
    let replies = [spoil(&site.kernel), Reply::ok(site.kernel.clone())];
    site.route("/boot/Image", replies);
    site
}

const IMAGE: &str = "http://192.168.7.2/boot/Image";

#[test]
fn a_404_names_the_url() {
    let mut site = bad_kernel(1, |_| Reply::status("404 Not Found", "<html>no</html>"));
    fails_once(&mut site, &["fetch", IMAGE, "404"]);
}

#[test]
fn other_statuses_are_named() {
    for status in [
        "401 Unauthorized",
        "403 Forbidden",
        "500 Internal Server Error",
        "503 Busy",
    ] {
        let mut site = bad_kernel(2, |_| Reply::status(status, "no"));
        fails_once(&mut site, &["fetch", IMAGE, &status[..3]]);
    }
}

#[test]
fn an_html_page_is_no_kernel() {
    let mut site = bad_kernel(3, |_| {
        Reply::ok("<!DOCTYPE html><html><body>Please log in</body></html>")
    });
    fails_once(&mut site, &[IMAGE, "HTML"]);
}

#[test]
fn an_html_page_is_no_menu() {
    let mut site = Site::new(4);
    site.route(
        "/boot/menu",
        [
            Reply::ok("<html><body>hi</body></html>"),
            Reply::ok(site::MENU_TEXT),
        ],
    );
    fails_once(&mut site, &[site::MENU, "HTML"]);
}

#[test]
fn a_kernel_cut_short_by_the_server_is_refused() {
    // The connection ends before Content-Length is reached.
    let mut site = bad_kernel(5, |kernel| Reply::ok(kernel).truncated(100_000));
    fails_once(&mut site, &["fetch", IMAGE, "300000"]);
}

#[test]
fn a_kernel_file_cut_short_is_refused() {
    // The transfer is whole but the file is not even a header.
    let mut site = bad_kernel(6, |kernel| Reply::ok(&kernel[..50]));
    fails_once(&mut site, &[IMAGE]);
}

#[test]
fn a_body_without_length_that_is_cut_in_its_chunks_is_refused() {
    let mut site = bad_kernel(7, |kernel| Reply::ok(kernel).chunked(1000).truncated(5_500));
    fails_once(&mut site, &["fetch", IMAGE]);
}

#[test]
fn a_corrupt_gzip_is_refused() {
    let mut site = bad_kernel(8, |kernel| {
        let mut packed = payload::gzip(kernel);
        let crc = packed.len() - 6;
        packed[crc] ^= 1;
        Reply::ok(packed)
    });
    fails_once(&mut site, &[IMAGE, "gzip"]);
}

#[test]
fn a_truncated_gzip_is_refused() {
    let mut site = bad_kernel(9, |kernel| {
        let packed = payload::gzip(kernel);
        Reply::ok(&packed[..packed.len() / 2])
    });
    fails_once(&mut site, &[IMAGE, "gzip"]);
}

#[test]
fn an_initrd_larger_than_memory_is_refused_before_it_is_sent() {
    let mut site = Site::new(10);
    // What is asked before the kernel is `ahead.rs`'s.
    let silent = Reply::status("405 Method Not Allowed", "");
    site.http
        .borrow_mut()
        .heads
        .insert("/boot/initrd.img".into(), silent);
    let initrd = site.initrd.clone();
    site.route(
        "/boot/initrd.img",
        [Reply::ok(vec![0; 100 << 20]), Reply::ok(initrd)],
    );
    fails_once(
        &mut site,
        &["http://192.168.7.2/boot/initrd.img", &(100 << 20).to_string()],
    );
    assert!(site.lan.frames().len() < 5_000, "the body was not downloaded");
}

#[test]
fn an_initrd_larger_than_memory_is_refused_when_its_size_was_not_announced() {
    let mut site = Site::new(11);
    site.node = tests::Node::with_memory(16 << 20);
    let initrd = site.initrd.clone();
    site.route(
        "/boot/initrd.img",
        [Reply::ok(vec![0; 20 << 20]).until_close(), Reply::ok(initrd)],
    );
    fails_once(&mut site, &["http://192.168.7.2/boot/initrd.img"]);
}

#[test]
fn a_menu_of_a_mebibyte_is_refused() {
    for reply in [
        Reply::ok(vec![b'#'; 1 << 20]),
        Reply::ok(vec![b'\n'; 1 << 20]).until_close(),
        Reply::ok("LABEL a\nLINUX Image\n".repeat((1 << 20) / 20)),
    ] {
        let mut site = Site::new(12);
        site.route("/boot/menu", [reply, Reply::ok(site::MENU_TEXT)]);
        fails_once(&mut site, &[site::MENU]);
    }
}

#[test]
fn a_redirect_to_https_names_both_ends() {
    let mut site = bad_kernel(13, |_| Reply::redirect(301, "https://192.168.7.2/boot/Image"));
    fails_once(&mut site, &["fetch", "https://192.168.7.2/boot/Image"]);
}

#[test]
fn a_redirect_loop_ends() {
    let mut site = bad_kernel(14, |_| Reply::redirect(302, "/loop"));
    site.route("/loop", [Reply::redirect(302, "/loop")]);
    fails_once(&mut site, &["fetch", "redirect"]);
    let hops = site.http.borrow().paths();
    let hops = hops.iter().filter(|path| *path == "/loop").count();
    assert!((1..=20).contains(&hops), "{hops} hops");
}

#[test]
fn a_redirect_without_a_location_is_refused() {
    let mut site = bad_kernel(15, |_| Reply::status("302 Found", ""));
    fails_once(&mut site, &["fetch", IMAGE]);
}

#[test]
fn a_stalled_transfer_is_given_up_and_tried_again() {
    let mut site = bad_kernel(16, |kernel| Reply::ok(kernel).stalled(123_456));
    // Without an entity tag and without a date there is nothing to ask for the rest by: the attempt fails, and the next one has it all.
    fails_once(&mut site, &["fetch", IMAGE]);
    let images = site.http.borrow().paths();
    assert_eq!(images.iter().filter(|path| *path == "/boot/Image").count(), 2);
    assert!(boot::Clock::now(&site.lan).total_millis() < 180_000);
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let mut site = bad_kernel(17, |kernel| Reply::ok(kernel).after(Duration::from_secs(100_000)));
    fails_once(&mut site, &["fetch", IMAGE]);
    // Three minutes and the rest of the boot.
    assert!((180..185).contains(&site.booted_at()), "{}", site.booted_at());
}

#[test]
fn a_reset_connection_is_tried_again() {
    let mut site = bad_kernel(18, |kernel| Reply::ok(kernel).reset(200_000));
    fails_once(&mut site, &["fetch", IMAGE]);
}

#[test]
fn something_that_is_not_http_is_refused() {
    for noise in [
        &b"220 ftp.example.org ready\r\n\r\n"[..],
        b"HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\0\0",
    ] {
        let mut site = Site::new(19);
        let kernel = Reply::ok(site.kernel.clone());
        // On a connection that had served before, it may be the end of what came last.
        site.route("/boot/Image", [Reply::raw(noise), Reply::raw(noise), kernel]);
        fails_once(&mut site, &["fetch", IMAGE]);
    }
}

#[test]
fn an_empty_answer_is_refused_but_not_before_a_fresh_connection() {
    // On a connection that had served before, it only means that the server had closed it.
    let mut site = bad_kernel(19, |_| Reply::raw(""));
    site.boots();
    assert!(site.errors().is_empty());

    let mut site = Site::new(19);
    site.route("/boot/Image", [Reply::raw("")]);
    let error = site.boot_attempts(1).unwrap_err().to_string();
    assert!(error.contains(IMAGE), "{error}");
}

#[test]
fn an_endless_head_is_refused() {
    let mut site = bad_kernel(20, |_| {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        head.extend(b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(10_000));
        Reply::raw(head)
    });
    fails_once(&mut site, &["fetch", IMAGE]);
}

#[test]
fn a_web_server_that_is_down_is_waited_for() {
    let mut site = Site::new(21);
    // Nobody answers ARP at .77.
    site.dhcp.borrow_mut().file = "http://192.168.7.77/boot/menu".into();
    let error = site.boot_attempts(2).unwrap_err().to_string();
    assert!(error.contains("http://192.168.7.77/boot/menu"), "{error}");
    assert_eq!(site.errors().len(), 2);
}

#[test]
fn a_mended_dhcp_server_is_heard_by_the_next_attempt() {
    let mut site = Site::new(31);
    site.dhcp.borrow_mut().file = "http://192.168.7.2/wrong/menu".into();
    let dhcp = site.dhcp.clone();
    site.lan.at(Duration::from_secs(60), move || {
        dhcp.borrow_mut().file = site::MENU.into();
    });
    site.boots();
    // The longest pause between attempts is a minute.
    let at = boot::Clock::now(&site.lan).total_millis() / 1000;
    assert!((60..130).contains(&at), "booted at {at} s");
    assert!(site.errors()[0].text.contains("http://192.168.7.2/wrong/menu"));
}

#[test]
fn a_closed_port_is_named() {
    let mut site = Site::new(22);
    site.dhcp.borrow_mut().file = "http://192.168.7.2:8080/boot/menu".into();
    let error = site.boot_attempts(1).unwrap_err().to_string();
    assert!(error.contains("http://192.168.7.2:8080/boot/menu"), "{error}");
}

#[test]
fn a_name_that_does_not_exist_is_named() {
    for answer in [
        Answer::Code(3),
        Answer::Code(2),
        Answer::Truncated,
        Answer::Silence,
    ] {
        let mut site = Site::new(23);
        site.lan
            .serve([192, 168, 7, 3], Dns::new().name("boot.example.org", answer));
        let mut dhcp = site.dhcp.borrow_mut();
        dhcp.file = "http://boot.example.org/menu".into();
        dhcp.options.push((6, vec![192, 168, 7, 3]));
        drop(dhcp);
        let error = site.boot_attempts(1).unwrap_err().to_string();
        assert!(error.contains("boot.example.org"), "{error}");
    }
}

#[test]
fn a_name_without_a_name_server_is_refused() {
    let mut site = Site::new(24);
    site.dhcp.borrow_mut().file = "http://boot.example.org/menu".into();
    let error = site.boot_attempts(1).unwrap_err().to_string();
    assert!(error.contains("boot.example.org"), "{error}");
}

#[test]
fn a_menu_without_an_entry_is_refused() {
    for text in [
        "",
        "# nothing\n",
        "DEFAULT nobody\nat all\n",
        "\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let mut site = Site::new(25);
        site.route("/boot/menu", [Reply::ok(text), Reply::ok(site::MENU_TEXT)]);
        fails_once(&mut site, &[site::MENU]);
    }
}

#[test]
fn a_device_tree_that_makes_no_sense_is_refused() {
    let mut nested = payload::device_tree();
    nested.truncate(40);
    for tree in [None, Some(vec![]), Some(vec![0xff; 4096]), Some(nested)] {
        let mut site = Site::new(26);
        site.node.device_tree = tree;
        let error = site.boot_attempts(1).unwrap_err().to_string();
        assert!(error.to_lowercase().contains("device tree"), "{error}");
    }
}

#[test]
fn attempts_end_in_the_last_error_and_pauses_grow() {
    let mut site = Site::new(27);
    site.route("/boot/Image", [Reply::status("404 Not Found", "")]);
    let error = site.boot_attempts(5).unwrap_err();
    assert!(error.to_string().contains("404"));
    let errors = site.errors();
    assert_eq!(errors.len(), 5);
    let pauses: Vec<u64> = errors
        .windows(2)
        .map(|two| (two[1].at - two[0].at).total_millis())
        .collect();
    // A new lease and, at worst, a second for ARP come on top.
    for (pause, ceiling) in pauses.iter().zip([1000, 2000, 4000, 8000]) {
        assert!((ceiling / 2..=ceiling + 1500).contains(pause), "{pauses:?}");
    }
}

#[test]
fn without_a_limit_it_never_gives_up() {
    let mut site = Site::new(28);
    site.lan.limit(Duration::from_secs(7_200));
    site.route("/boot/Image", [Reply::status("404 Not Found", "")]);
    let (http, kernel) = (site.http.clone(), site.kernel.clone());
    site.lan.at(Duration::from_secs(3_600), move || {
        http.borrow_mut().route("/boot/Image", [Reply::ok(kernel)]);
    });
    site.node.boot(&site.lan, &Settings::default()).unwrap();
    let at = boot::Clock::now(&site.lan).total_millis() / 1000;
    assert!((3_600..3_700).contains(&at), "booted at {at} s");
    assert!(site.errors().len() > 50);
}

#[test]
fn a_dhcp_server_that_names_no_menu_at_all_is_named() {
    let mut site = Site::new(29);
    site.dhcp.borrow_mut().file.clear();
    let error = site.boot_attempts(1).unwrap_err().to_string();
    assert!(error.starts_with("menu: DHCP named nothing to boot"), "{error}");
}

#[test]
fn boot_files_for_other_machines_are_not_chained() {
    let mut site = Site::new(30);
    for file in [
        "undionly.kpxe",
        "bootaa64.efi",
        "http://192.168.7.2/boot/ipxe.efi",
    ] {
        site.dhcp.borrow_mut().file = file.into();
        site.route("/boot/ipxe.efi", [Reply::ok(b"MZ\0\0".repeat(1000))]);
        assert!(site.boot_attempts(1).is_err());
    }
}

#[test]
fn a_boot_file_in_trouble_is_asked_for_again_and_nothing_else_boots() {
    for trouble in [
        || Reply::status("503 Busy", "later"),
        || Reply::status("500 Internal Server Error", "<html>"),
        || Reply::status("401 Unauthorized", ""),
        || Reply::status("403 Forbidden", ""),
        || Reply::ok("<html><body>Maintenance</body></html>"),
        || Reply::ok(""),
        || Reply::ok(payload::gzip(site::MENU_TEXT.as_bytes())),
    ] {
        let mut site = Site::with_payload(31, 50_000, 10_000);
        site.route(
            site::MENU.trim_start_matches("http://192.168.7.2"),
            [trouble(), Reply::ok(site::MENU_TEXT)],
        );
        let wipe = "DEFAULT wipe\nLABEL wipe\n LINUX Image\n APPEND wipe\n";
        for directory in ["/boot", ""] {
            site.route(&format!("{directory}/pxelinux.cfg/default"), [Reply::ok(wipe)]);
        }
        let loaded = site.boots();
        assert!(!loaded.bootargs.contains("wipe"), "{}", loaded.bootargs);
        let errors = site.errors();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors[0].text.contains(site::MENU), "{}", errors[0].text);
        assert!(
            errors[0].text.contains("nothing else is booted"),
            "{}",
            errors[0].text
        );
    }
}
