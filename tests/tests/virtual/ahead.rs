//! What servers are asked before the first large file, and what comes of all the ways to answer that.

use boot::{Clock, Error, Handoff};
use smoltcp::time::Duration;
use tests::{Reply, Site, Tftp, payload};

fn requests(site: &Site) -> Vec<String> {
    site.http.borrow().requests()
}

fn head(site: &Site, path: &str, reply: Reply) {
    site.http.borrow_mut().heads.insert(path.into(), reply);
}

fn line(result: Result<Handoff, Error>) -> String {
    result.expect_err("no boot").to_string()
}

#[test]
fn an_absent_initrd_costs_no_kernel() {
    let mut site = Site::new(1);
    site.route("/boot/initrd.img", [Reply::status("404 Not Found", "gone")]);
    assert_eq!(
        line(site.boot_attempts(2)),
        "fetch: GET http://192.168.7.2/boot/initrd.img: 404 Not Found"
    );
    let attempt = ["GET /boot/menu", "HEAD /boot/initrd.img", "GET /boot/initrd.img"];
    assert_eq!(requests(&site), [attempt, attempt].concat());
}

#[test]
fn so_does_an_absent_device_tree_and_a_later_initrd() {
    let mut site = Site::new(2);
    let text = "LABEL a\nLINUX Image\nINITRD initrd.img,/x/more\nFDT pi.dtb\n";
    site.route("/boot/menu", [Reply::ok(text)]);
    site.route("/x/more", [Reply::redirect(302, "/y/more")]);
    assert!(line(site.boot_attempts(1)).ends_with("http://192.168.7.2/y/more: 404 Not Found"));
    site.route("/y/more", [Reply::ok("more")]);
    assert!(line(site.boot_attempts(1)).ends_with("/boot/pi.dtb: 404 Not Found"));
    assert!(!requests(&site).contains(&"GET /boot/Image".to_owned()));
}

/// One round trip for each file beside the kernel, over the connection that is open anyway; none for a kernel alone.
#[test]
fn what_it_costs() {
    let mut site = Site::new(3);
    site.boots();
    assert_eq!(
        requests(&site),
        [
            "GET /boot/menu",
            "HEAD /boot/initrd.img",
            "GET /boot/Image",
            "GET /boot/initrd.img"
        ]
    );
    assert_eq!(site.lan.connections(), 1);
    let mut alone = Site::new(4);
    alone.route("/boot/menu", [Reply::ok("LABEL a\nLINUX Image\n")]);
    alone.boot_attempts(1).expect("a boot");
    assert_eq!(requests(&alone), ["GET /boot/menu", "GET /boot/Image"]);
}

/// Whatever a server makes of HEAD, what it answers to GET boots.
#[test]
fn odd_answers_change_nothing() {
    let html = "<!DOCTYPE html><title>no</title>";
    let never = Duration::from_secs(100_000);
    for (name, reply) in [
        ("403", Reply::status("403 Forbidden", "")),
        ("405", Reply::status("405 Method Not Allowed", "")),
        ("400", Reply::status("400 Bad Request", "").closing()),
        ("501", Reply::status("501 Not Implemented", html).closing()),
        ("500", Reply::status("500 Oops", html)),
        (
            "401",
            Reply::status("401 Unauthorized", "").header("WWW-Authenticate: Basic realm=x"),
        ),
        ("404, which GET is not", Reply::status("404 Not Found", "")),
        ("404 with a body", Reply::status("404 Not Found", html)),
        ("410", Reply::status("410 Gone", "")),
        ("a body", Reply::ok(payload::body(200_001, 3))),
        ("a small body", Reply::ok(html)),
        ("no length", Reply::ok("").until_close()),
        ("a length of nothing", Reply::ok("")),
        ("silence", Reply::ok("").after(never)),
        ("a closed connection", Reply::raw("")),
        ("half a head", Reply::raw("HTTP/1.1 200 O")),
        ("no HTTP", Reply::raw("sorry?")),
        ("a loop", Reply::redirect(302, "/boot/initrd.img")),
        ("a redirect to nothing", Reply::redirect(302, "https://secret/")),
        ("a redirect to a program", Reply::redirect(302, "/x?token=1")),
    ] {
        let mut site = Site::new(5);
        head(&site, "/boot/initrd.img", reply);
        site.boots();
        assert!(site.errors().is_empty(), "{name}: {:?}", site.errors());
        assert!(site.lan.now().total_millis() < 10_000, "{name}");
    }
}

/// A link that is good for one request, or signed for GET, has a query, as everything that a program answers.
#[test]
fn programs_are_asked_once() {
    let mut site = Site::new(6);
    let text = "LABEL a\nLINUX Image\nINITRD /file?name=initrd&signature=x\n";
    site.route("/boot/menu", [Reply::ok(text)]);
    let once = [Reply::ok(site.initrd.clone()), Reply::status("410 Gone", "")];
    site.route("/file?name=initrd&signature=x", once);
    site.boots();
    assert_eq!(requests(&site).len(), 3);
}

/// One that counts a HEAD too spoils one attempt and is not asked so again.
#[test]
fn a_server_that_counts_is_not_asked_again() {
    let mut site = Site::new(7);
    head(&site, "/boot/initrd.img", Reply::ok("").claiming(200_001));
    let used = Reply::status("410 Gone", "used");
    site.route("/boot/initrd.img", [used, Reply::ok(site.initrd.clone())]);
    site.boots();
    let heads = requests(&site)
        .iter()
        .filter(|request| request.starts_with("HEAD"))
        .count();
    assert_eq!(heads, 1);
    assert_eq!(site.errors().len(), 1);
}

#[test]
fn what_cannot_fit_is_refused_before_the_first_byte() {
    let mut site = Site::new(8);
    head(&site, "/boot/initrd.img", Reply::ok("").claiming(1 << 40));
    let refused = line(site.boot_attempts(1));
    assert!(
        refused.contains("/boot/initrd.img: 1099511627776 bytes do not fit into the "),
        "{refused}"
    );
    assert_eq!(requests(&site), ["GET /boot/menu", "HEAD /boot/initrd.img"]);
}

#[test]
fn a_server_that_is_not_there_is_found_out_first() {
    let mut site = Site::new(9);
    let text = "LABEL a\nLINUX Image\nINITRD http://192.168.7.2:81/initrd\n";
    site.route("/boot/menu", [Reply::ok(text)]);
    assert!(line(site.boot_attempts(1)).ends_with("192.168.7.2: connection refused"));
    assert_eq!(requests(&site), ["GET /boot/menu"]);
}

#[test]
fn the_same_over_tftp() {
    let mut site = Site::new(10);
    let tftp = Tftp::new().file("k", site.kernel.clone());
    let tftp = site.lan.serve([192, 168, 7, 9], tftp);
    let text = "LABEL a\nLINUX tftp://192.168.7.9/k\nINITRD tftp://192.168.7.9/i\n";
    site.route("/boot/menu", [Reply::ok(text)]);
    assert_eq!(
        line(site.boot_attempts(1)),
        "fetch: GET tftp://192.168.7.9/i: file not found: no such file"
    );
    assert!(tftp.borrow().log.iter().all(|request| request.starts_with("i ")));
    tftp.borrow_mut().files.insert("i".into(), site.initrd.clone());
    site.boots();
}
