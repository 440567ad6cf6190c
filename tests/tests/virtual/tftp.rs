//! Downloads over TFTP on the simulated LAN: good servers and bad ones, good links and bad ones, and boots from them.

use std::cell::RefCell;
use std::rc::Rc;

use boot::Clock;
use boot::fetch::{Error, Lost, Method, Reason, Request, Sink, TftpError};
use boot::url::Url;
use sha2::{Digest as _, Sha256};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;
use tests::{Dhcp, Host, Http, Lan, Link, Random, Reply, Site, Station, Tftp, leased, payload, site};

const SERVER: [u8; 4] = [192, 168, 7, 2];
const FILE: &str = "tftp://192.168.7.2/pi/file";

/// How a look at a file of some blocks ends, whether the server says the same to another port (D-199): ahead of the first block.
fn looked() -> (u16, String) {
    (0, String::from("only the size was wanted"))
}

/// A LAN with a TFTP server that has `pi/file`.
struct Bench {
    lan: Lan,
    tftp: Rc<RefCell<Tftp>>,
    file: Vec<u8>,
}

impl Bench {
    fn new(seed: u64, bytes: usize) -> Self {
        let lan = Lan::new(seed);
        lan.serve([192, 168, 7, 1], Dhcp::new());
        let file = payload::body(bytes, 5);
        let tftp = lan.serve(SERVER, Tftp::new().file("pi/file", file.clone()));
        Self { lan, tftp, file }
    }

    fn with(self, change: impl FnOnce(&mut Tftp)) -> Self {
        change(&mut self.tftp.borrow_mut());
        self
    }

    /// Sends a request from a node that has just got its lease; what came, and how long that took.
    fn ask(&self, method: Method, url: &str, space: usize) -> (Result<Vec<u8>, Error>, Duration) {
        const GUARD: u8 = 0xa5;
        let mut memory = vec![GUARD; space + 16];
        let url = Url::parse(url).unwrap();
        let mut last = (0, None);
        let request = Request {
            method,
            ..Request::get(&url)
        };
        let mut sink = Sink::with_digest(&mut memory[..space]);
        let (result, took) = leased(&self.lan, |net, fetcher| {
            let start = self.lan.now();
            let mut watch = |done: u64, total: Option<u64>| last = (done, total);
            let result = fetcher.download(net, &request, &mut sink, &mut watch);
            let took = self.lan.now() - start;
            // What was sent last arrives.
            let soon = self.lan.now() + Duration::from_millis(10);
            let _: Option<()> = net.wait(soon, |_| None);
            (result, took)
        });
        let digest = sink.digest().expect("a digest");
        assert!(
            memory[space..].iter().all(|byte| *byte == GUARD),
            "beyond the end"
        );
        if let Ok(response) = &result {
            let second: [u8; 32] = Sha256::digest(&memory[..response.len]).into();
            assert_eq!(digest, second, "a second pass says otherwise");
            assert_eq!(last.0, response.len as u64);
            assert_eq!(method == Method::Head, response.len == 0 && last.1 > Some(0));
        }
        let result = result.map(|response| {
            memory.truncate(response.len);
            memory
        });
        (result, took)
    }

    fn get(&self) -> (Result<Vec<u8>, Error>, Duration) {
        self.ask(Method::Get, FILE, self.file.len())
    }

    fn gets(&self) -> Duration {
        let (result, took) = self.get();
        assert!(result.unwrap() == self.file, "other bytes");
        took
    }

    fn fails(&self) -> (Reason, Duration) {
        let (result, took) = self.get();
        (result.unwrap_err().reason, took)
    }
}

#[test]
fn files_of_every_length_around_a_block() {
    for bytes in [
        0,
        1,
        511,
        512,
        513,
        1467,
        1468,
        1469,
        1468 * 16,
        1468 * 16 + 1,
        1468 * 32,
    ] {
        Bench::new(1, bytes).gets();
        Bench::new(1, bytes).with(|tftp| tftp.options = false).gets();
    }
}

#[test]
fn options_are_asked_for_and_windows_keep_the_line_busy() {
    let bench = Bench::new(1, 4 << 20);
    let windowed = bench.gets();
    assert_eq!(
        bench.tftp.borrow().log,
        [
            "pi/file blksize=1468 timeout=1 tsize=0 windowsize=16",
            // The look whether another port is told the same.
            "pi/file blksize=1468 timeout=1 tsize=0",
        ]
    );
    let lone = Bench::new(1, 4 << 20).with(|tftp| tftp.window = 0).gets();
    assert!(lone > windowed * 8, "{lone} and {windowed}");
    assert_eq!(bench.tftp.borrow().sent, (4 << 20) / 1468 + 1);
}

#[test]
fn servers_that_know_no_options_or_dislike_them() {
    for code in [0, 4, 8] {
        let bench = Bench::new(1, 10_000).with(|tftp| tftp.refuses_options = Some(code));
        bench.gets();
        assert_eq!(bench.tftp.borrow().log[1], "pi/file");
    }
    for (block, window) in [(8, 1), (8, 4), (600, 0), (1428, 7)] {
        let bench = Bench::new(1, 10_000).with(|tftp| (tftp.block, tftp.window) = (block, window));
        bench.gets();
    }
    let refused = Bench::new(1, 10_000).with(|tftp| tftp.more_options = b"multicast\x00224.0.0.9,1758,1\0");
    let named = "multicast=224.0.0.9,1758,1".into();
    assert_eq!(refused.fails().0, Reason::Tftp(TftpError::Option(named)));
    for useless in [&b"timeout\x001.0\0"[..], b"rollover\0\0", b"timeout"] {
        Bench::new(1, 10_000)
            .with(|tftp| tftp.more_options = useless)
            .gets();
    }
}

#[test]
fn block_numbers_roll_over() {
    let bytes = 8 * 70_000 + 3;
    for (window, after_last) in [(0, 0), (0, 1), (16, 0)] {
        let bench = Bench::new(1, bytes).with(|tftp| {
            (tftp.block, tftp.window, tftp.after_last) = (8, window, after_last);
        });
        bench.gets();
        assert_eq!(bench.tftp.borrow().sent, 70_001, "{window} {after_last}");
    }
}

#[test]
fn any_link_delivers_the_same_bytes() {
    for seed in 0..12 {
        for window in [0, 16] {
            let bench = Bench::new(seed, 300_000).with(|tftp| {
                tftp.window = window;
                // One that repeats by itself need not, and often does not, answer what it has answered.
                tftp.answers_again = seed % 2 == 0;
                tftp.repeats = (seed % 3 != 0 || seed % 2 != 0).then(|| Duration::from_secs(1));
            });
            bench.lan.at(Duration::from_millis(900), {
                let lan = bench.lan.clone();
                move || {
                    lan.link(Link {
                        loss: 0.03,
                        duplication: 0.03,
                        reordering: 0.1,
                        corruption: 0.01,
                        ..Link::default()
                    });
                }
            });
            bench.gets();
        }
    }
}

/// A request that is repeated has two honest answers, and so has every request where all frames are doubled (RFC 1350 §4).
#[test]
fn a_server_that_answers_twice_is_no_stranger_for_ever() {
    for (window, requests) in [(0, 4), (16, 4)] {
        let bench = Bench::new(1, 4 << 20).with(|tftp| {
            (tftp.window, tftp.thinks) = (window, Duration::from_millis(700));
        });
        bench.lan.at(Duration::from_millis(900), {
            let lan = bench.lan.clone();
            move || {
                lan.link(Link {
                    latency: Duration::from_millis(5),
                    ..Link::default()
                });
            }
        });
        bench.gets();
        // The first twice, one from another port after more patience, and a look whether that is the file.
        assert_eq!(bench.tftp.borrow().log.len(), requests, "window {window}");
    }
    let doubled = Bench::new(1, 40_000);
    doubled.lan.at(Duration::from_millis(900), {
        let lan = doubled.lan.clone();
        move || {
            lan.link(Link {
                duplication: 1.0,
                ..Link::default()
            });
        }
    });
    doubled.gets();
    assert_eq!(doubled.tftp.borrow().log.len(), 6);
}

/// Sorcerer's apprentice: with a server that answers every acknowledgement, a doubled block must not start a second stream.
#[test]
fn a_doubled_block_is_not_acknowledged_twice() {
    for window in [0, 16] {
        let bench = Bench::new(1, 400_000).with(|tftp| tftp.window = window);
        bench.lan.link(Link {
            duplication: 0.2,
            ..Link::default()
        });
        bench.gets();
        let blocks = 400_000 / 1468 + 1;
        let sent = bench.tftp.borrow().sent;
        // Acknowledgements are doubled by the network, too, and this server answers both.
        assert!(sent < blocks * 2, "{sent} for {blocks}");
        let stuttering = Bench::new(1, 400_000).with(|tftp| (tftp.stutters, tftp.window) = (true, window));
        stuttering.gets();
        assert_eq!(stuttering.tftp.borrow().sent, blocks * 2);
    }
}

#[test]
fn blocks_from_another_port_are_refused_and_do_no_harm() {
    let bench = Bench::new(1, 20_000).with(|tftp| tftp.stranger = true);
    // The very first packet decides whose conversation it is, so options protect it.
    bench.gets();
    let tftp = bench.tftp.borrow();
    let others = tftp.errors.iter().filter(|error| **error != looked());
    let others: Vec<_> = others.collect();
    assert!(
        others.len() >= 13 && others.iter().all(|(code, _)| *code == 5),
        "{:?}",
        tftp.errors
    );
}

#[test]
fn absent_files_and_other_errors() {
    let bench = Bench::new(1, 100);
    let (result, took) = bench.ask(Method::Get, "tftp://192.168.7.2/nothing", 100);
    let error = result.unwrap_err();
    // An error waits for a better answer.
    assert!(
        error.is_absent() && (25..27).contains(&took.total_millis()),
        "{took}"
    );
    assert_eq!(
        error.to_string(),
        "fetch: GET tftp://192.168.7.2/nothing: file not found: no such file"
    );
    let failing = Bench::new(1, 100_000).with(|tftp| tftp.fails = Some((20, 3, "disk on fire")));
    let (reason, _) = failing.fails();
    assert_eq!(reason.to_string(), "TFTP error 3: disk on fire");
    // An error that comes while the start is still there may be a stranger's: all three requests end so.
    let told = &failing.tftp.borrow().errors;
    assert_eq!(told[..], [looked(), looked()], "errors are not answered");
}

#[test]
fn a_file_too_large_is_refused_before_it_is_sent_when_the_size_is_told() {
    let bench = Bench::new(1, 100_000);
    let (result, _) = bench.ask(Method::Get, FILE, 99_999);
    let reason = result.unwrap_err().reason;
    assert_eq!(
        reason,
        Reason::TooLarge {
            len: Some(100_000),
            space: 99_999
        }
    );
    let told = [(3, "no room for it".to_owned()), looked()];
    assert_eq!(bench.tftp.borrow().errors, told);
    assert_eq!(bench.tftp.borrow().sent, 0);
    let plain = Bench::new(1, 100_000).with(|tftp| tftp.options = false);
    let (result, _) = plain.ask(Method::Get, FILE, 99_999);
    assert!(matches!(
        result.unwrap_err().reason,
        Reason::TooLarge { len: None, .. }
    ));
}

#[test]
fn a_size_that_was_not_true() {
    let cut = Bench::new(1, 10_000).with(|tftp| tftp.size = Some(9_999));
    let (came, announced) = (10_000, 9_999);
    assert_eq!(cut.fails().0, Reason::Tftp(TftpError::Size { came, announced }));
    Bench::new(1, 10_000).with(|tftp| tftp.size = Some(0)).gets();
}

#[test]
fn silence_ends_in_time() {
    let silent = Bench::new(1, 100_000).with(|tftp| tftp.falls_silent = Some(30));
    let (reason, took) = silent.fails();
    assert!(matches!(
        reason,
        Reason::Interrupted {
            how: Lost::Stalled,
            of: Some(100_000),
            ..
        }
    ));
    assert!((15..17).contains(&took.secs()), "{took}");
    assert_eq!(silent.tftp.borrow().errors.len(), 1);
    // A host that is there and has no such server.
    let deaf = Bench::new(1, 100);
    deaf.lan.serve([192, 168, 7, 9], ());
    let (result, took) = deaf.ask(Method::Get, "tftp://192.168.7.9/x", 100);
    assert_eq!(result.unwrap_err().reason, Reason::Tftp(TftpError::NoAnswer));
    assert!((10..11).contains(&took.secs()), "{took}");
    // One that says so.
    deaf.lan.attach(Http::new([192, 168, 7, 10]));
    let (result, took) = deaf.ask(Method::Get, "tftp://192.168.7.10/x", 100);
    assert_eq!(result.unwrap_err().reason, Reason::Tftp(TftpError::Refused));
    assert!(took < Duration::from_millis(100), "{took}");
}

#[test]
fn who_has_less_patience_is_told_sooner() {
    let deaf = Bench::new(1, 100);
    deaf.lan.serve([192, 168, 7, 9], ());
    for (patience, seconds) in [(3, 3), (60, 10)] {
        let url = Url::parse("tftp://192.168.7.9/x").unwrap();
        let request = Request {
            patience: Some(Duration::from_secs(patience)),
            ..Request::get(&url)
        };
        let (result, took) = leased(&deaf.lan, |net, fetcher| {
            let start = deaf.lan.now();
            let result = fetcher.download(net, &request, &mut Sink::new(&mut [0; 100]), &mut |_, _| {});
            (result, deaf.lan.now() - start)
        });
        assert_eq!(result.unwrap_err().reason, Reason::Tftp(TftpError::NoAnswer));
        assert_eq!(took.secs(), seconds, "{took}");
    }
}

/// The pauses between the node's datagrams to `port`, or to any that is not this when it is `None`, in milliseconds.
fn pauses(lan: &Lan, port: impl Fn(u16) -> bool) -> Vec<i64> {
    let frames = lan.frames().into_iter().filter(|frame| {
        let bytes = &frame.bytes;
        frame.from_node && bytes.len() > 42 && bytes[12..14] == [8, 0] && bytes[23] == 17 && {
            port(u16::from_be_bytes([bytes[36], bytes[37]]))
        }
    });
    let sent: Vec<i64> = frames.map(|frame| frame.at.total_millis()).collect();
    sent.windows(2).map(|two| two[1] - two[0]).collect()
}

#[test]
fn what_stays_without_an_answer_is_sent_again_in_pauses_that_double_up_to_four_seconds() {
    let deaf = Bench::new(1, 100);
    deaf.lan.serve([192, 168, 7, 9], ());
    deaf.ask(Method::Get, "tftp://192.168.7.9/x", 100).0.unwrap_err();
    assert_eq!(pauses(&deaf.lan, |port| port == 69), [500, 1000, 2000, 4000]);

    let silent = Bench::new(1, 100_000).with(|tftp| tftp.falls_silent = Some(30));
    silent.fails();
    // Behind those that an answer followed at once; the last is the farewell.
    let pauses = pauses(&silent.lan, |port| port >= 20_000);
    let long: Vec<i64> = pauses.into_iter().filter(|pause| *pause > 100).collect();
    assert_eq!(long[..5], [250, 500, 1000, 2000, 4000]);
    assert!(long[5..].iter().all(|pause| *pause <= 4000), "{long:?}");
}

#[test]
fn a_trickle_is_no_transfer() {
    let bench = Bench::new(1, 100_000).with(|tftp| {
        (tftp.block, tftp.window, tftp.answers_again) = (8, 0, false);
        tftp.repeats = Some(Duration::from_millis(500));
        // Eight bytes at a time, and only when it repeats itself.
        tftp.stutters = false;
    });
    // Every acknowledgement is lost on its way, as if the server were so slow; it hears the reader's repeats.
    bench.lan.at(Duration::from_millis(900), {
        let lan = bench.lan.clone();
        move || {
            lan.link(Link {
                latency: Duration::from_millis(200),
                ..Link::default()
            });
        }
    });
    let (reason, took) = bench.fails();
    assert!(
        matches!(
            reason,
            Reason::Interrupted {
                how: Lost::Stalled,
                ..
            }
        ),
        "{reason}"
    );
    assert!(took < Duration::from_secs(60), "{took}");
}

#[test]
fn a_last_word_that_is_lost_does_not_cost_the_next_answer_of_a_server_that_serves_one_client_at_a_time() {
    // Behind the file comes the question whether the server says the same, and then another file.
    for (seed, bytes, lost) in [(1, 100_000, 1), (2, 100_000, 0), (3, 500, 1), (4, 500, 0)] {
        for options in [true, false] {
            let bench = Bench::new(seed, bytes).with(|tftp| {
                tftp.options = options;
                tftp.alone = Some(Duration::from_secs(25));
                tftp.deaf_at_the_end = lost;
            });
            let took = bench.gets();
            assert!(
                took < Duration::from_secs(2),
                "{bytes} bytes, {lost} lost: {took}"
            );
            assert_eq!(bench.tftp.borrow().deaf_at_the_end, 0);
        }
    }
}

#[test]
fn only_the_size_can_be_asked_for() {
    let bench = Bench::new(1, 100_000);
    let (result, _) = bench.ask(Method::Head, FILE, 0);
    assert_eq!(result.unwrap(), []);
    assert_eq!(bench.tftp.borrow().sent, 0);
}

/// A site whose TFTP server is all there is.
fn tftp_site() -> (Site, Rc<RefCell<Tftp>>) {
    let site = Site::new(1);
    let tftp = Tftp::new()
        .file("pi/Image", site.kernel.clone())
        .file("pi/initrd.img", site.initrd.clone());
    let tftp = site.lan.serve([192, 168, 7, 5], tftp);
    let mut dhcp = site.dhcp.borrow_mut();
    dhcp.file = String::from("pi/pxelinux.0");
    dhcp.next_server = [192, 168, 7, 5].into();
    drop(dhcp);
    (site, tftp)
}

#[test]
fn a_menu_of_the_search_path_with_everything_over_tftp() {
    let (mut site, tftp) = tftp_site();
    tftp.borrow_mut()
        .files
        .insert("pi/pxelinux.cfg/default".into(), site::MENU_TEXT.into());
    site.boots();
    let log = &tftp.borrow().log;
    // The initrd twice: its size, before the kernel is read.
    // And each a second time, from another port, whether the server says the same; a size alone decides nothing.
    assert_eq!(log.len(), (1 + 14 + 3) * 2 - 1, "{log:?}");
    assert!(log[0].starts_with("pi/autoexec.ipxe "));
    // No web server on that host: one try, and a whole boot all the same.
    assert_eq!(site.lan.connections(), 1);
}

#[test]
fn a_script_over_tftp_names_its_files_relative_to_itself() {
    let (mut site, tftp) = tftp_site();
    let script = "#!ipxe\nkernel Image root=/dev/ram0 console=ttyS1,115200\ninitrd initrd.img\nboot\n";
    tftp.borrow_mut()
        .files
        .insert("pi/boot.ipxe".into(), script.into());
    site.dhcp.borrow_mut().file = "tftp://192.168.7.5/pi/boot.ipxe".into();
    site.boots();
    assert_eq!(site.lan.connections(), 0);
}

/// The stack asks for one neighbour a second, so a request may wait for longer than it takes to repeat it.
#[test]
fn a_web_menu_may_name_files_over_tftp_and_asks_for_each_once() {
    let (mut site, tftp) = tftp_site();
    site.dhcp.borrow_mut().file = site::MENU.into();
    let menu = site::MENU_TEXT.replace("Image", "tftp://192.168.7.5/pi/Image");
    site.route("/boot/menu", [Reply::ok(menu)]);
    site.boots();
    // And a second time from another port.
    assert_eq!(tftp.borrow().log.len(), 2);
}

#[test]
fn where_both_are_served_http_is_first() {
    let (mut site, tftp) = tftp_site();
    site.dhcp.borrow_mut().next_server = site::HTTP.into();
    site.route("/pi/pxelinux.cfg/default", [Reply::ok(site::MENU_TEXT)]);
    site.route("/pi/Image", [Reply::ok(site.kernel.clone())]);
    site.route("/pi/initrd.img", [Reply::ok(site.initrd.clone())]);
    site.boots();
    assert!(tftp.borrow().log.is_empty());
}

/// A TFTP server whose host also answers each packet with ICMP: right on the outside, anything inside.
struct Babbler {
    station: Station<Tftp>,
    random: Random,
    pending: Vec<Vec<u8>>,
}

impl Babbler {
    fn babble(&mut self, frame: &[u8]) {
        let ip = &frame[14..];
        let kind = [0, 3, 3, 3, 8, 11, 12][self.random.below(7)];
        let mut message = vec![kind, self.random.below(5) as u8, 0, 0];
        message.extend([0; 4].map(|_: u8| self.random.below(256) as u8));
        message.extend(&ip[..self.random.below(ip.len() + 1)]);
        for _ in 0..self.random.below(4) {
            let at = self.random.below(message.len());
            message[at] = self.random.below(256) as u8;
        }
        message[2..4].fill(0);
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum);
        let mut head = vec![0x45, 0];
        head.extend((20 + message.len() as u16).to_be_bytes());
        head.extend([0, 0, 0x40, 0, 64, 1, 0, 0]);
        head.extend([&ip[16..20], &ip[12..16]].concat());
        let sum = checksum(&head);
        head[10..12].copy_from_slice(&sum);
        self.pending
            .push([&frame[6..12], &frame[..6], &[8, 0], &head, &message].concat());
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|word| match *word {
        [high, low] => u32::from(high) << 8 | u32::from(low),
        _ => u32::from(word[0]) << 8,
    });
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

impl Host for Babbler {
    fn mac(&self) -> EthernetAddress {
        self.station.mac()
    }

    fn receive(&mut self, now: Instant, frame: &[u8]) {
        self.station.receive(now, frame);
        if frame[12..14] == [8, 0] && frame[0] & 1 == 0 {
            for _ in 0..3 {
                self.babble(frame);
            }
        }
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        self.pending.drain(..).for_each(&mut *send);
        self.station.poll(now, send);
    }

    fn next(&mut self, now: Instant) -> Option<Instant> {
        self.station.next(now)
    }
}

#[test]
fn hostile_icmp_ends_in_the_file_or_an_error() {
    let (mut whole, mut refused, mut again) = (0, 0, 0);
    for seed in 0..300 {
        let bench = Bench::new(seed, 40_000);
        let server = Rc::new(RefCell::new(Tftp::new().file("pi/file", bench.file.clone())));
        bench.lan.attach(Babbler {
            station: Station::new([192, 168, 7, 8].into(), server.clone()),
            random: Random::new(seed),
            pending: Vec::new(),
        });
        let result = bench.ask(Method::Get, "tftp://192.168.7.8/pi/file", 40_000).0;
        again += usize::from(server.borrow().log.len() > 2);
        match result {
            Ok(bytes) => {
                assert!(bytes == bench.file, "other bytes");
                whole += 1;
            }
            Err(error) => {
                assert_eq!(error.reason, Reason::Tftp(TftpError::Refused));
                refused += 1;
            }
        }
    }
    // Unreachable is what some of them say, in so many words and before any answer: not to every port.
    assert!(
        whole + refused == 300 && whole > 290 && again > 0,
        "{whole} {refused} {again}"
    );
}
