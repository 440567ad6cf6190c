//! Downloads over the simulated LAN: what goes over the wire, and what comes of everything that can go wrong.

use std::cell::RefCell;
use std::rc::Rc;

use boot::Clock;
use boot::fetch::{Error, Fetcher, Lost, Method, Reason, Request, Response, Sink, Watch};
use boot::net::Net;
use boot::url::Url;
use boot::verify::{Expected, Fetched, Needs, verify};
use sha2::{Digest as _, Sha256};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address};
use tests::{Answer, Between, Dhcp, Dns, Http, Lan, Link, Random, Reply, leased, site};

const SERVER: [u8; 4] = [192, 168, 7, 2];

/// A LAN with a DHCP and a web server.
struct Site {
    lan: Lan,
    http: Rc<RefCell<Http>>,
}

impl Site {
    fn new(seed: u64) -> Self {
        let lan = Lan::new(seed);
        let mut dhcp = Dhcp::new();
        // The first name server, .4, does not exist.
        dhcp.options.push((6, vec![192, 168, 7, 4, 192, 168, 7, 3]));
        dhcp.options.push((15, b"lab.example".to_vec()));
        lan.serve([192, 168, 7, 1], dhcp);
        let http = lan.attach(Http::new(SERVER));
        Self { lan, http }
    }

    fn route(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.http.borrow_mut().route(path, replies);
    }

    /// Runs `session` on a node that has just got its lease.
    fn node<T>(&self, session: impl FnOnce(&mut Net<'_>, &mut Fetcher) -> T) -> T {
        leased(&self.lan, session)
    }

    /// One download of at most `space` bytes.
    fn get(&self, url: &str, space: usize) -> Result<Vec<u8>, Error> {
        self.node(|net, fetcher| get(net, fetcher, url, space).map(|(bytes, _)| bytes))
    }

    /// The same, and how long it took, the lease left out.
    fn timed(&self, url: &str, space: usize) -> (Result<Vec<u8>, Error>, Duration) {
        self.node(|net, fetcher| {
            let start = net.now();
            let result = get(net, fetcher, url, space).map(|(bytes, _)| bytes);
            (result, net.now() - start)
        })
    }

    /// Heads of the requests so far.
    fn requests(&self) -> Vec<String> {
        let http = self.http.borrow();
        http.log.iter().map(|request| request.head.clone()).collect()
    }
}

fn get(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    url: &str,
    space: usize,
) -> Result<(Vec<u8>, Response), Error> {
    const GUARD: u8 = 0xa5;
    let mut memory = vec![GUARD; space + 16];
    let url = Url::parse(url).expect("a test's URL");
    let mut heard = Vec::new();
    let result = fetcher.get(
        net,
        &url,
        &mut memory[..space],
        &mut |done: u64, total: Option<u64>| heard.push((done, total)),
    );
    assert!(
        memory[space..].iter().all(|byte| *byte == GUARD),
        "beyond the destination"
    );
    let response = result?;
    let len = response.len as u64;
    assert_eq!(heard.last(), Some(&(len, Some(len))));
    memory.truncate(response.len);
    Ok((memory, response))
}

fn bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(9).fill(&mut bytes);
    bytes
}

fn reason(result: Result<Vec<u8>, Error>) -> Reason {
    result.expect_err("a failure").reason
}

#[test]
fn every_framing_brings_the_same_bytes() {
    let site = Site::new(1);
    let file = bytes(700_001);
    site.route("/length", [Reply::ok(file.clone())]);
    site.route("/chunked", [Reply::ok(file.clone()).chunked(1461)]);
    site.route("/close", [Reply::ok(file.clone()).until_close()]);
    for path in ["length", "chunked", "close"] {
        let url = format!("http://192.168.7.2/{path}");
        assert!(site.get(&url, 700_001).is_ok_and(|got| got == file), "{path}");
        let len = (path == "length").then_some(700_001);
        let space = 700_000;
        assert_eq!(reason(site.get(&url, space)), Reason::TooLarge { len, space });
    }
}

#[test]
fn an_empty_file_is_a_file() {
    let site = Site::new(2);
    site.route("/empty", [Reply::ok("")]);
    assert_eq!(site.get("http://192.168.7.2/empty", 0), Ok(vec![]));
}

#[test]
fn one_connection_serves_files_errors_and_redirects() {
    let site = Site::new(3);
    site.route("/a", [Reply::ok("a")]);
    site.route("/b", [Reply::redirect(302, "c")]);
    site.route("/c", [Reply::ok("c").chunked(1)]);
    site.node(|net, fetcher| {
        for (path, expected) in [
            ("a", Some("a")),
            ("missing", None),
            ("b", Some("c")),
            ("a", Some("a")),
        ] {
            let got = get(net, fetcher, &format!("http://192.168.7.2/{path}"), 9);
            assert_eq!(got.ok().map(|(bytes, _)| bytes), expected.map(Into::into));
        }
    });
    assert_eq!(site.http.borrow().paths(), ["/a", "/missing", "/b", "/c", "/a"]);
    assert_eq!(site.lan.connections(), 1);
}

#[test]
fn a_connection_closed_meanwhile_is_replaced_in_silence() {
    let site = Site::new(4);
    site.route("/a", [Reply::ok("a").closing()]);
    site.node(|net, fetcher| {
        for pause in [0, 0, 5] {
            let deadline = net.now() + Duration::from_secs(pause);
            let _: Option<()> = net.wait(deadline, |_| None);
            assert!(get(net, fetcher, "http://192.168.7.2/a", 9).is_ok());
        }
    });
    let warnings = tests::lines()
        .iter()
        .filter(|line| line.text.contains("fetch") && line.text.contains("rest"))
        .count();
    assert_eq!((warnings, site.lan.connections()), (0, 3));
}

#[test]
fn a_connection_that_is_to_be_closed_is_used_once() {
    for close in ["Connection: close", "connection: Keep-Alive, CLOSE"] {
        let site = Site::new(4);
        // The server says so and does not do it.
        site.route("/a", [Reply::ok("a").header(close)]);
        site.node(|net, fetcher| {
            for _ in 0..3 {
                assert!(get(net, fetcher, "http://192.168.7.2/a", 9).is_ok());
            }
        });
        assert_eq!(site.lan.connections(), 3, "{close}");
    }
}

#[test]
fn a_new_connection_comes_from_another_port() {
    let site = Site::new(5);
    site.route("/a", [Reply::ok("a")]);
    site.node(|net, fetcher| {
        for _ in 0..20 {
            assert!(get(net, fetcher, "http://192.168.7.2/a", 9).is_ok());
            fetcher.close(net);
        }
    });
    assert_eq!(site.lan.connections(), 20);
}

#[test]
fn credentials_are_sent_and_not_shown() {
    let site = Site::new(6);
    site.route(
        "/a",
        [
            Reply::status("401 Unauthorized", "who?").header("WWW-Authenticate: Basic realm=\"cave\""),
            Reply::redirect(301, "http://192.168.7.2/b"),
        ],
    );
    site.route("/b", [Reply::ok("b")]);
    assert!(site.get("http://Aladdin:open%20sesame@192.168.7.2/a", 9).is_ok());
    let requests = site.requests();
    assert_eq!(requests.len(), 3);
    assert!(!requests[0].contains("Authorization"), "nobody has asked");
    for request in &requests[1..] {
        assert!(request.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
    }
    let lines = tests::lines();
    assert!(!lines.is_empty() && lines.iter().all(|line| !line.text.contains("sesame")));
}

#[test]
fn redirects_end() {
    let site = Site::new(7);
    for i in 0..30 {
        let next = format!("/{}", i + 1);
        site.route(&format!("/{i}"), [Reply::redirect(307, &next)]);
    }
    site.route("/30", [Reply::ok("there")]);
    site.node(|net, fetcher| {
        let (bytes, response) = get(net, fetcher, "http://192.168.7.2/20", 9).expect("ten redirects");
        assert_eq!((&bytes[..], response.url.target()), (&b"there"[..], "/30"));
    });
    assert_eq!(
        reason(site.get("http://192.168.7.2/19", 9)),
        Reason::TooManyRedirects
    );
    site.route("/x", [Reply::redirect(302, "/y")]);
    site.route("/y", [Reply::redirect(302, "x")]);
    assert_eq!(reason(site.get("http://192.168.7.2/x", 9)), Reason::RedirectLoop);
    site.route("/z", [Reply::status("302 Found", "")]);
    assert_eq!(reason(site.get("http://192.168.7.2/z", 9)), Reason::NoLocation);
    site.route("/tls", [Reply::redirect(301, "https://other.example/z")]);
    assert_eq!(
        site.get("http://192.168.7.2/tls", 9).unwrap_err().to_string(),
        "fetch: GET http://192.168.7.2/tls: redirected to https://other.example/z: scheme not supported, only http and tftp"
    );
}

#[test]
fn what_breaks_off_without_a_version_is_an_error() {
    let site = Site::new(8);
    let file = bytes(300_000);
    site.route("/short", [Reply::ok(file.clone()).truncated(100_000)]);
    site.route("/reset", [Reply::ok(file.clone()).reset(100_000)]);
    site.route("/stall", [Reply::ok(file.clone()).stalled(100_000)]);
    site.route("/chunk", [Reply::ok(file).chunked(1000).truncated(10_070)]);
    for (path, line) in [
        ("short", "truncated after 100000 of 300000 bytes"),
        ("reset", "connection lost after 100000 of 300000 bytes"),
        ("stall", "stalled after 100000 of 300000 bytes"),
        // Ten chunks of 1000 bytes, each with 7 bytes around it.
        ("chunk", "truncated after 10000 bytes"),
    ] {
        let url = format!("http://192.168.7.2/{path}");
        let error = site.get(&url, 300_000).unwrap_err();
        assert_eq!(error.to_string(), format!("fetch: GET {url}: {line}"));
    }
    assert_eq!(site.requests().len(), 4);
}

#[test]
fn a_broken_download_is_resumed_where_it_broke() {
    let site = Site::new(9);
    let file = bytes(300_000);
    let tag = "ETag: \"v1\"";
    let rest = |from: usize| {
        Reply::status("206 Partial Content", &file[from..])
            .header(tag)
            .header(&format!("Content-Range: bytes {from}-299999/300000"))
    };
    site.route(
        "/a",
        [
            Reply::ok(file.clone()).header(tag).stalled(100_000),
            rest(100_000).reset(50_000),
            rest(150_000).truncated(1),
            rest(150_001),
        ],
    );
    assert!(
        site.get("http://192.168.7.2/a", 300_000)
            .is_ok_and(|got| got == file)
    );
    let requests = site.requests();
    assert!(!requests[0].contains("Range"));
    for (request, from) in requests[1..].iter().zip([100_000, 150_000, 150_001]) {
        let fields = format!("\r\nRange: bytes={from}-\r\nIf-Range: \"v1\"\r\n");
        assert!(request.contains(&fields), "{request}");
    }
    assert_eq!(requests.len(), 4);
}

#[test]
fn a_file_that_changed_meanwhile_starts_again() {
    let site = Site::new(10);
    let (old, new) = (bytes(300_000), vec![7; 200_000]);
    site.route(
        "/a",
        [
            Reply::ok(old)
                .header("Last-Modified: yesterday")
                .truncated(250_000),
            Reply::ok(new.clone()).header("Last-Modified: today"),
        ],
    );
    assert!(
        site.get("http://192.168.7.2/a", 300_000)
            .is_ok_and(|got| got == new)
    );
    assert!(site.requests()[1].contains("\r\nIf-Range: yesterday\r\n"));
}

/// The digest of a download as it arrives, and that of a second pass over what has come.
fn digests(site: &Site, path: &str) -> ([u8; 32], [u8; 32]) {
    let url = Url::parse(&format!("http://192.168.7.2/{path}")).expect("a test's URL");
    let mut memory = vec![0; 400_000];
    let mut sink = Sink::with_digest(&mut memory);
    let request = Request::get(&url);
    let response = site.node(|net, fetcher| fetcher.download(net, &request, &mut sink, &mut ()));
    let (len, digest) = (response.expect("a file").len, sink.digest());
    (digest.expect("a digest"), Sha256::digest(&memory[..len]).into())
}

#[test]
fn a_digest_beside_a_download_is_that_of_the_file() {
    let (file, old) = (bytes(300_001), vec![7; 250_000]);
    let tag = "ETag: \"v1\"";
    let rest = |from: usize| {
        Reply::status("206 Partial Content", &file[from..])
            .header(tag)
            .header(&format!("Content-Range: bytes {from}-300000/300001"))
    };
    let whole = || Reply::ok(file.clone());
    for (seed, case, replies) in [
        (70, "whole", vec![whole()]),
        (71, "chunked", vec![whole().chunked(1461)]),
        (72, "until the end", vec![whole().until_close()]),
        (
            73,
            "resumed",
            vec![
                whole().header(tag).stalled(100_000),
                rest(100_000).reset(50_000),
                rest(150_000).truncated(1),
                rest(150_001),
            ],
        ),
        (
            74,
            "restarted",
            vec![
                Reply::ok(old.clone())
                    .header("Last-Modified: yesterday")
                    .truncated(200_000),
                whole().header("Last-Modified: today"),
            ],
        ),
        (
            75,
            "resumed, and then restarted",
            vec![
                Reply::ok(old).header("ETag: \"v0\"").truncated(100_000),
                whole().header(tag).truncated(64),
                rest(64),
            ],
        ),
        (76, "redirected", vec![Reply::redirect(302, "elsewhere")]),
    ] {
        let site = Site::new(seed);
        let asked = if case == "redirected" { 2 } else { replies.len() };
        site.route("/a", replies);
        site.route("/elsewhere", [whole()]);
        let (riding, second) = digests(&site, "a");
        assert_eq!(riding, second, "{case}");
        assert!(
            riding == <[u8; 32]>::from(Sha256::digest(&file)),
            "{case}: other bytes"
        );
        assert_eq!(site.requests().len(), asked, "{case}");
    }
}

/// Who wants only the beginnings of files, as the dry run with `--head`.
struct Beginnings;

impl Watch for Beginnings {
    fn wants(&mut self, _url: &Url, _first: &[u8], _len: u64) -> bool {
        false
    }
}

/// The digest rides on the download; whoever looks on cannot leave a part of the file out of it.
#[test]
fn a_file_is_verified_by_the_digest_that_came_with_it() {
    let site = Site::new(77);
    let file = bytes(300_001);
    let sum: [u8; 32] = Sha256::digest(&file).into();
    site.route("/a", [Reply::ok(file)]);
    let url = Url::parse("http://192.168.7.2/a").expect("a test's URL");
    let mut memory = vec![0; 400_000];
    let mut sink = Sink::with_digest(&mut memory);
    let request = Request::get(&url);
    let response = site.node(|net, fetcher| fetcher.download(net, &request, &mut sink, &mut Beginnings));
    let Response { url, len } = response.expect("a file");
    let digest = sink.digest();
    let verified = |needs: Needs| {
        let (url, at) = (url.clone(), 0..len);
        verify(Fetched { url, at, digest }, &memory, Expected::Initrd, &needs)
    };
    assert_eq!(verified(Needs::Sha256(sum)).expect("the file").at(), 0..300_001);
    let mut other = sum;
    other[31] ^= 1;
    let hex = |sum: [u8; 32]| sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(
        verified(Needs::Sha256(other))
            .expect_err("another file")
            .to_string(),
        format!(
            "verify: http://192.168.7.2/a: its SHA-256 is {}, not {}",
            hex(sum),
            hex(other)
        )
    );
}

/// A server that is started again, or a switch: what has come stays, however long it takes within a minute and a half.
#[test]
fn a_server_that_is_away_for_a_while_costs_the_while() {
    for (seed, away) in [(51, 1), (52, 5), (53, 30), (54, 60)] {
        let site = Site::new(seed);
        let file = bytes(3_000_000);
        // A twentieth of a second each 50 KB: three seconds.
        let reply = Reply::ok(file.clone())
            .ranges()
            .slow(50_000, Duration::from_millis(50));
        site.route("/a", [reply]);
        let start = site.node(|net, fetcher| {
            let from = net.now() + Duration::from_millis(1500);
            site.http.borrow_mut().away = Some((from, from + Duration::from_secs(away)));
            let start = net.now();
            let (got, _) = get(net, fetcher, "http://192.168.7.2/a", 3_000_000).expect("a download");
            assert!(got == file, "{away} s");
            start
        });
        // The longest pause is as long as all before it, and began before the server was back.
        let took = site.lan.now() - start;
        assert!(
            (away + 3..2 * away + 6).contains(&took.secs()),
            "{away} s: {took}"
        );
        let requests = site.requests();
        assert_eq!(requests.len(), 2, "the server answered each that it got");
        assert!(requests[1].contains("\r\nRange: bytes="), "{}", requests[1]);
    }
}

/// A second machine takes the server's address over, at an address of its own on the wire, and announces nothing: the node notices by
/// itself, with the first words that nobody answers.
#[test]
fn a_server_that_moves_to_another_machine_is_found_again() {
    let file = bytes(3_000_000);
    let reply = Reply::ok(file.clone())
        .ranges()
        .header("ETag: \"1\"")
        .slow(50_000, Duration::from_millis(50));
    // Before the second download; in its middle.
    for (moves, most) in [(Duration::from_secs(10), 3 + 4), (Duration::from_secs(21), 3 + 8)] {
        let lan = Lan::new(56);
        lan.serve(site::DHCP, Dhcp::new());
        let mac = EthernetAddress([2, 0, 0, 0, 0, 0x99]);
        for (mut server, from, until) in [
            (Http::new(site::HTTP), Duration::ZERO, moves),
            (Http::successor(site::HTTP, mac), moves, Duration::from_secs(9999)),
        ] {
            server.route("/a", [reply.clone()]);
            lan.attach(Between::new(server, from, until));
        }
        leased(&lan, |net, fetcher| {
            let second = Instant::from_secs(20);
            get(net, fetcher, "http://192.168.7.2/a", 3_000_000).expect("a download");
            net.wait::<()>(second, |_| None);
            let (got, _) = get(net, fetcher, "http://192.168.7.2/a", 3_000_000).expect("a second");
            assert!(got == file);
            let took = lan.now() - second;
            assert!(took.secs() < most, "{took} after {moves}");
        });
    }
}

#[test]
fn a_server_that_stays_away_is_given_up() {
    let site = Site::new(55);
    let reply = Reply::ok(bytes(3_000_000))
        .ranges()
        .slow(50_000, Duration::from_millis(50));
    site.route("/a", [reply]);
    let (start, result) = site.node(|net, fetcher| {
        let from = net.now() + Duration::from_millis(1500);
        site.http.borrow_mut().away = Some((from, from + Duration::from_secs(100_000)));
        (net.now(), get(net, fetcher, "http://192.168.7.2/a", 3_000_000))
    });
    let line = result.unwrap_err().to_string();
    assert_eq!(
        line,
        "fetch: GET http://192.168.7.2/a: 192.168.7.2: connection refused"
    );
    let took = site.lan.now() - start;
    assert!((90..200).contains(&took.secs()), "{took}");
    let pauses = tests::lines()
        .iter()
        .filter(|line| line.text.contains("asking for the rest in"))
        .count();
    assert_eq!(pauses, 8);
}

/// A server that breaks off after each 100 KB, for ever: the file comes, for each piece is one that was not there before.
/// One that sends the same piece each time gets nowhere.
#[test]
fn what_gets_on_is_taken_up_again_and_what_does_not_is_not() {
    let site = Site::new(56);
    let file = bytes(3_000_000);
    site.route("/a", [Reply::ok(file.clone()).ranges().truncated(100_000)]);
    assert!(
        site.get("http://192.168.7.2/a", 3_000_000)
            .is_ok_and(|got| got == file)
    );
    assert_eq!(site.requests().len(), 30);
    let site = Site::new(11);
    let reply = Reply::ok(bytes(300_000))
        .header("ETag: \"v1\"")
        .truncated(100_000);
    site.route("/a", [reply]);
    let broken = Reason::Interrupted {
        how: Lost::Closed,
        got: 100_000,
        of: Some(300_000),
    };
    assert_eq!(reason(site.get("http://192.168.7.2/a", 300_000)), broken);
    assert_eq!(site.requests().len(), 9);
}

#[test]
fn trouble_is_no_verdict_on_the_rest() {
    let site = Site::new(57);
    let file = bytes(300_000);
    let busy = |status: &str| Reply::status(status, "later");
    site.route(
        "/a",
        [
            Reply::ok(file.clone()).ranges().truncated(100_000),
            busy("502 Bad Gateway"),
            busy("503 Service Unavailable"),
            Reply::raw("HTTP/1.1 200 OK\r\nCont"),
            Reply::ok(file.clone()).ranges(),
        ],
    );
    assert!(
        site.get("http://192.168.7.2/a", 300_000)
            .is_ok_and(|got| got == file)
    );
    // At the beginning it is one, and so is an absence in the middle.
    site.route("/b", [busy("503 Service Unavailable")]);
    assert_eq!(
        site.get("http://192.168.7.2/b", 9).unwrap_err().status(),
        Some(503)
    );
    let gone = busy("404 Not Found");
    site.route("/c", [Reply::ok(file).ranges().truncated(100_000), gone]);
    assert_eq!(
        site.get("http://192.168.7.2/c", 300_000).unwrap_err().status(),
        Some(404)
    );
}

/// A form that was taken leads to a page at the same address.
#[test]
fn a_form_may_lead_to_where_it_was_sent() {
    for status in [301, 302, 303, 307, 308] {
        let site = Site::new(58);
        site.route(
            "/register",
            [Reply::redirect(status, "/register"), Reply::ok("done")],
        );
        let url = Url::parse("http://192.168.7.2/register").expect("a URL");
        let mut memory = [0; 9];
        let response = site.node(|net, fetcher| {
            let request = Request {
                method: Method::Post,
                form: Some("mac=b8"),
                ..Request::get(&url)
            };
            fetcher.send(net, &request, &mut memory, &mut ()).expect("a page")
        });
        assert_eq!(
            (&memory[..response.len], response.url.target()),
            (&b"done"[..], "/register")
        );
        let http = site.http.borrow();
        assert_eq!(http.requests(), ["POST /register", "GET /register"], "{status}");
        assert_eq!(http.log[1].body, "", "as in iPXE, whatever the status");
    }
    // A server that changes its mind is asked again, as often as there are redirects.
    let site = Site::new(59);
    let elsewhere = Reply::redirect(302, "/a");
    site.route("/a", [elsewhere.clone(), elsewhere.clone(), Reply::ok("ready")]);
    assert_eq!(site.get("http://192.168.7.2/a", 9), Ok(b"ready".to_vec()));
    site.route("/b", [Reply::redirect(303, "/b")]);
    assert_eq!(reason(site.get("http://192.168.7.2/b", 9)), Reason::RedirectLoop);
    assert_eq!(site.requests().len(), 3 + 11);
}

/// A link of an object store, with a session's token in it: asked for as it is, shown in part.
#[test]
fn signed_links_are_long() {
    let site = Site::new(61);
    let path = format!(
        "/kernel?X-Amz-Security-Token={}&X-Amz-Signature=cafe",
        "t".repeat(7000)
    );
    site.route("/start", [Reply::redirect(302, &path)]);
    site.route(
        &path,
        [
            Reply::ok("ok").header("ETag: \"v\"").truncated(1),
            Reply::ok("ok"),
        ],
    );
    assert_eq!(site.get("http://192.168.7.2/start", 9), Ok(b"ok".to_vec()));
    assert_eq!(
        site.http.borrow().paths(),
        ["/start", path.as_str(), path.as_str()]
    );
    assert!(tests::lines().iter().all(|line| line.text.len() < 1100));
    let beyond = format!("/{}", "t".repeat(9000));
    site.route("/beyond", [Reply::redirect(302, &beyond)]);
    let line = site.get("http://192.168.7.2/beyond", 9).unwrap_err().to_string();
    assert!(
        line.ends_with("redirected to a URL of 9001 bytes is too long, at most 8192"),
        "{line}"
    );
}

#[test]
fn a_401_says_what_is_missing() {
    let site = Site::new(62);
    let locked =
        |wants: &str| Reply::status("401 Unauthorized", "who?").header(&format!("WWW-Authenticate: {wants}"));
    site.route("/basic", [locked("Basic realm=\"lab\"")]);
    site.route("/digest", [locked("Digest realm=\"lab\", nonce=\"x\"")]);
    site.route("/other", [locked("Negotiate")]);
    site.route("/none", [Reply::status("401 Unauthorized", "")]);
    for (url, line) in [
        (
            "http://192.168.7.2/basic",
            "401 Unauthorized: a user and a password are missing: user:password@ in front of the host (Basic, realm \"lab\")",
        ),
        (
            "http://me:secret@192.168.7.2/basic",
            "401 Unauthorized: the user or the password in the URL is not the right one (Basic, realm \"lab\")",
        ),
        (
            "http://192.168.7.2/digest",
            "401 Unauthorized: a user and a password are missing: user:password@ in front of the host (Digest, realm \"lab\")",
        ),
        (
            "http://me:secret@192.168.7.2/other",
            "401 Unauthorized: the server wants what is not supported, only Basic and Digest with MD5 or SHA-256 are (Negotiate)",
        ),
        ("http://192.168.7.2/none", "401 Unauthorized"),
    ] {
        let error = site.get(url, 9).unwrap_err();
        assert_eq!(error.status(), Some(401));
        assert!(error.to_string().ends_with(&format!(": {line}")), "{error}");
    }
}

/// Answers that no two readers could read differently.
#[test]
fn unusual_answers_are_answers() {
    let site = Site::new(60);
    let says = |answer: &str| {
        site.route("/a", [Reply::raw(answer)]);
        site.get("http://192.168.7.2/a", 9)
    };
    for answer in [
        "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX Cached By: me\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/2\r\n\r\nok",
        "HTTP/1.1 203 Whatever\r\nContent-Length: 2\r\n\r\nok",
    ] {
        assert_eq!(says(answer), Ok(b"ok".to_vec()), "{answer:?}");
    }
    assert_eq!(says("HTTP/1.1 204 No Content\r\n\r\n"), Ok(vec![]));
    let short = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-2/3\r\n\r\nok";
    assert!(matches!(
        reason(says(short)),
        Reason::Interrupted {
            got: 2,
            of: Some(3),
            ..
        }
    ));
    let long = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/1\r\n\r\nok";
    assert_eq!(reason(says(long)), Reason::WrongPart);
    site.route("/there", [Reply::ok("ok")]);
    for answer in [
        "HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n",
        "HTTP/1.1 301\r\nLocation: //192.168.7.2/there\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 300 Multiple Choices\r\nLocation: there\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 308 x\r\nLocation: http://192.168.7.2/there\r\nLocation: http://192.168.7.2/there\r\n\r\nbody",
        // Its body is longer than it says, which the next request must not see.
        "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 1\r\n\r\n<html>",
    ] {
        assert_eq!(says(answer), Ok(b"ok".to_vec()), "{answer:?}");
    }
    for answer in [
        "HTTP/1.1 302 Found\r\nLocation: /there\r\nLocation: /elsewhere\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        "HTTP/1.1 305 Use Proxy\r\nLocation: http://192.168.7.2/there\r\n\r\n",
    ] {
        assert!(says(answer).is_err(), "{answer:?}");
    }
}

#[test]
fn another_part_than_the_rest_is_refused() {
    let site = Site::new(12);
    let wrong =
        Reply::status("206 Partial Content", vec![0; 200_000]).header("Content-Range: bytes 0-199999/300000");
    let first = Reply::ok(bytes(300_000))
        .header("ETag: \"v1\"")
        .truncated(100_000);
    site.route("/a", [first, wrong.clone()]);
    assert_eq!(
        reason(site.get("http://192.168.7.2/a", 300_000)),
        Reason::WrongPart
    );
    site.route("/b", [wrong]);
    assert_eq!(
        site.get("http://192.168.7.2/b", 300_000).unwrap_err().status(),
        Some(206)
    );
}

/// What tests of pace and patience stand on: the server of the tests sends when it is due to, and not when the node's next frame wakes
/// it (a keep-alive, five seconds later).
#[test]
fn a_server_that_waits_or_is_slow_takes_the_time_that_it_says() {
    let site = Site::new(12);
    let millis = Duration::from_millis;
    for wait in [1, 50, 900, 4_000, 9_000] {
        site.route("/a", [Reply::ok(bytes(1_000)).after(millis(wait))]);
        let (got, took) = site.timed("http://192.168.7.2/a", 1_000);
        assert_eq!(got.map(|got| got.len()), Ok(1_000));
        assert!(
            (wait..wait + 3).contains(&took.total_millis()),
            "{wait} ms: {took}"
        );
    }
    // 20 KB a second: the last piece comes 14 pauses after the first.
    site.route("/b", [Reply::ok(bytes(299_900)).slow(20_000, millis(1_000))]);
    let (got, took) = site.timed("http://192.168.7.2/b", 300_000);
    assert_eq!(got.map(|got| got.len()), Ok(299_900));
    assert!((14_000..14_005).contains(&took.total_millis()), "{took}");
}

#[test]
fn a_trickle_is_no_transfer() {
    let site = Site::new(13);
    site.route("/a", [Reply::ok(bytes(300_000)).slow(20, Duration::from_secs(2))]);
    let (result, took) = site.timed("http://192.168.7.2/a", 300_000);
    let Reason::Interrupted {
        how: Lost::Stalled, ..
    } = reason(result)
    else {
        panic!("ten bytes a second")
    };
    // The head is 41 bytes long, so that its end comes after four seconds; the body has a quarter of a minute for its first KiB.
    assert!((19_000..19_005).contains(&took.total_millis()), "{took}");
}

/// The first window's kilobyte comes in time, and nothing after it does.
#[test]
fn a_body_that_begins_well_and_then_trickles_is_no_transfer() {
    let site = Site::new(13);
    site.route(
        "/a",
        [Reply::ok(bytes(300_000)).slow(600, Duration::from_secs(10))],
    );
    let Reason::Interrupted {
        how: Lost::Stalled, ..
    } = reason(site.get("http://192.168.7.2/a", 300_000))
    else {
        panic!("sixty bytes a second")
    };
    let now = site.lan.now();
    assert!(
        now > Instant::from_secs(20) && now < Instant::from_secs(300),
        "{now}"
    );
}

#[test]
fn a_server_cannot_hold_a_node_for_longer_than_two_hours() {
    let site = Site::new(13);
    site.lan.limit(Duration::from_secs(3 * 60 * 60));
    // Just fast enough for the pace: it would take nine hours.
    site.route(
        "/a",
        [Reply::ok(bytes(3_000_000)).slow(1100, Duration::from_secs(12))],
    );
    let (result, took) = site.timed("http://192.168.7.2/a", 3_000_000);
    let Reason::Interrupted {
        how: Lost::Stalled, ..
    } = reason(result)
    else {
        panic!("ninety bytes a second")
    };
    assert!((7_200_000..7_200_005).contains(&took.total_millis()), "{took}");
}

#[test]
fn an_answer_that_never_ends_its_head_is_given_up() {
    let site = Site::new(14);
    let filler = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 99_999]].concat();
    site.route(
        "/interim",
        [Reply::raw(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(2000))],
    );
    site.route("/filler", [Reply::raw(filler)]);
    site.route("/empty", [Reply::raw("")]);
    site.route("/half", [Reply::raw("HTTP/1.1 200 OK\r\nContent-Le")]);
    for (path, line) in [
        ("interim", "the answer's head is longer than 16 KiB"),
        ("filler", "the answer's head is longer than 16 KiB"),
        ("empty", "connection closed without an answer"),
        ("half", "connection closed inside the answer's head"),
    ] {
        let url = format!("http://192.168.7.2/{path}");
        let error = site.get(&url, 9).unwrap_err();
        assert_eq!(error.to_string(), format!("fetch: GET {url}: {line}"));
    }
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    site.route("/hints", [Reply::raw(hints)]);
    assert_eq!(site.get("http://192.168.7.2/hints", 9), Ok(b"ok".to_vec()));
    site.route("/late", [Reply::ok("ok").after(Duration::from_secs(50))]);
    let (late, took) = site.timed("http://192.168.7.2/late", 9);
    assert_eq!(late, Ok(b"ok".to_vec()));
    assert!((50_000..50_005).contains(&took.total_millis()), "{took}");
    site.route("/never", [Reply::ok("ok").after(Duration::from_secs(100_000))]);
    let (never, took) = site.timed("http://192.168.7.2/never", 9);
    assert_eq!(reason(never), Reason::NoAnswer(Lost::Stalled));
    assert!((180_000..180_005).contains(&took.total_millis()), "{took}");
}

#[test]
fn names_are_resolved() {
    let site = Site::new(15);
    let address = Ipv4Address::from(SERVER);
    let dns = Dns::new()
        .name("boot.lab.example", Answer::A(vec![address]))
        .name(
            "www.example",
            Answer::Cname("boot.lab.example".into(), vec![address]),
        )
        .name("mute.example", Answer::Silence);
    let dns = site.lan.serve([192, 168, 7, 3], dns);
    site.route("/a", [Reply::ok("a")]);
    site.route("/close", [Reply::ok("a").header("Connection: close").closing()]);
    for host in ["boot.lab.example", "boot", "BOOT", "www.example", "www.example."] {
        assert_eq!(
            site.get(&format!("http://{host}/a"), 9),
            Ok(b"a".to_vec()),
            "{host}"
        );
    }
    let asked = dns.borrow().log.len();
    site.node(|net, fetcher| {
        for _ in 0..3 {
            assert!(get(net, fetcher, "http://www.example/close", 9).is_ok());
        }
    });
    assert_eq!(
        dns.borrow().log.len(),
        asked + 1,
        "the next connection knows the address"
    );
    for (host, line) in [
        ("none.example", "no such name, or it has no IPv4 address"),
        ("mute.example", "no DNS server answered within 10 s"),
    ] {
        assert_eq!(
            site.get(&format!("http://{host}/a"), 9).unwrap_err().to_string(),
            format!("fetch: GET http://{host}/a: cannot resolve {host}: {line}")
        );
    }
}

#[test]
fn a_name_is_asked_for_again_after_a_failed_attempt() {
    let site = Site::new(31);
    site.route("/f", [Reply::ok("x")]);
    let names = Dns::new().name("boot.lab.example", Answer::A(vec![SERVER.into()]));
    let dns = site.lan.serve([192, 168, 7, 3], names);
    site.node(|net, fetcher| {
        for _ in 0..2 {
            get(net, fetcher, "http://boot/f", 9).expect("a file");
            get(net, fetcher, "http://boot/f", 9).expect("a file");
            // As the session does when an attempt has ended.
            fetcher.close(net);
        }
    });
    assert_eq!(dns.borrow().log, ["boot.lab.example"; 2]);
}

#[test]
fn an_address_without_a_server_is_named() {
    let site = Site::new(16);
    assert_eq!(
        site.get("http://192.168.7.99/a", 9).unwrap_err().to_string(),
        "fetch: GET http://192.168.7.99/a: 192.168.7.99: no connection within 10 s"
    );
    assert_eq!(
        site.get("http://192.168.7.2:81/a", 9).unwrap_err().to_string(),
        "fetch: GET http://192.168.7.2:81/a: 192.168.7.2: connection refused"
    );
}

/// Questions for a connection that the node sent to a host.
fn syns(lan: &Lan, host: [u8; 4]) -> usize {
    let frames = lan.frames();
    let syns = frames.iter().filter(|frame| {
        let is_tcp = frame.from_node && frame.bytes[12..14] == [8, 0] && frame.bytes[23] == 6;
        is_tcp && frame.bytes[30..34] == host && frame.bytes[47] & 2 != 0
    });
    syns.count()
}

#[test]
fn who_was_given_up_is_asked_no_more() {
    let site = Site::new(16);
    // It is there, and says nothing.
    let host = [192, 168, 7, 9];
    site.lan.serve(host, ());
    site.node(|net, fetcher| {
        assert!(get(net, fetcher, "http://192.168.7.9/a", 9).is_err());
        let asked = syns(&site.lan, host);
        assert!(asked > 1, "{asked}");
        let later = net.now() + Duration::from_secs(60);
        let _: Option<()> = net.wait(later, |_| None);
        assert_eq!(syns(&site.lan, host), asked);
    });
}

#[test]
fn a_bad_link_costs_time_and_not_bytes() {
    for seed in 20..26 {
        let site = Site::new(seed);
        let file = bytes(400_000);
        site.route("/a", [Reply::ok(file.clone())]);
        site.node(|net, fetcher| {
            site.lan.link(Link {
                loss: 0.03,
                duplication: 0.03,
                reordering: 0.05,
                corruption: 0.01,
                ..Link::default()
            });
            let (got, _) = get(net, fetcher, "http://192.168.7.2/a", 400_000).expect("a download");
            assert!(got == file);
        });
    }
}

/// Every single-byte change and truncation of an answer: the file, or an error of one printable line, and an end.
#[test]
fn mutated_answers() {
    let golden = b"HTTP/1.1 200 OK\r\nETag: \"v\"\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n";
    let truncated = (0..golden.len()).map(|end| golden[..end].to_vec());
    let changed = (0..golden.len()).flat_map(|at| {
        [0, b'\n', b'\r', b' ', b'0', b'9', b'f', b':', 0xff].map(|byte| {
            let mut answer = golden.to_vec();
            answer[at] = byte;
            answer
        })
    });
    let site = Site::new(17);
    site.lan.limit(Duration::from_secs(100_000));
    let (mut files, mut errors) = (0, 0);
    site.node(|net, fetcher| {
        for answer in truncated.chain(changed) {
            site.route("/a", [Reply::raw(answer.clone())]);
            let started = net.now();
            match get(net, fetcher, "http://192.168.7.2/a", 64) {
                Ok(_) => files += 1,
                Err(error) => {
                    errors += 1;
                    let line = error.to_string();
                    assert!(line.starts_with("fetch: GET http://192.168.7.2/a: "), "{line}");
                    assert!(!line.contains(char::is_control) && line.len() < 300, "{line}");
                }
            }
            assert!(net.now() - started < Duration::from_secs(120), "{answer:?}");
        }
    });
    assert!(files > 100 && errors > 300, "{files} {errors}");
}
