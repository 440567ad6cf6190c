//! The rig itself: a plain smoltcp client on the simulated LAN, so that a failing session is never the rig's fault.

use std::cell::Cell;
use std::rc::Rc;

use boot::Clock;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpCidr, Ipv4Address};
use tests::{Http, Lan, Link, MAC, Reply, payload};

/// Sends one GET over the node's NIC and returns all that comes until the server closes.
fn get(lan: &Lan, path: &str) -> Vec<u8> {
    let mut nic = lan.nic();
    let mut interface = Interface::new(Config::new(MAC.into()), &mut nic, Instant::ZERO);
    interface.update_ip_addrs(|list| {
        list.push(IpCidr::new(Ipv4Address::new(192, 168, 7, 100).into(), 24))
            .unwrap()
    });
    let mut sockets = SocketSet::new(Vec::new());
    let buffer = || tcp::SocketBuffer::new(vec![0; 65_535]);
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let server = (Ipv4Address::new(192, 168, 7, 2), 80);
    sockets
        .get_mut::<tcp::Socket<'_>>(handle)
        .connect(interface.context(), server, 50_000)
        .unwrap();
    let (mut received, mut asked) = (Vec::new(), false);
    loop {
        let now = lan.now();
        interface.poll(now, &mut nic, &mut sockets);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        if socket.can_send() && !asked {
            socket
                .send_slice(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
                .unwrap();
            asked = true;
        }
        while socket.can_recv() {
            socket
                .recv(|bytes| (bytes.len(), received.extend_from_slice(bytes)))
                .unwrap();
        }
        if asked && !socket.may_recv() {
            println!("done at {now}");
            return received;
        }
        let wake = interface
            .poll_at(now, &sockets)
            .unwrap_or(now + Duration::from_secs(1));
        lan.kick();
        lan.idle_until(wake.min(now + Duration::from_secs(1)));
    }
}

fn served(link: Link, seed: u64) -> (Vec<u8>, Vec<u8>, usize) {
    let lan = Lan::new(seed);
    lan.link(link);
    let body = payload::body(300_000, 5);
    let http = lan.attach(Http::new([192, 168, 7, 2]));
    http.borrow_mut()
        .route("/body", [Reply::ok(body.clone()).closing()]);
    let received = get(&lan, "/body");
    assert_eq!(http.borrow().paths(), ["/body"]);
    assert_eq!(lan.connections(), 1);
    (received, body, lan.frames().len())
}

#[test]
fn a_perfect_link_delivers_and_the_same_seed_replays() {
    let (received, body, frames) = served(Link::default(), 1);
    assert!(received.ends_with(&body));
    assert!(received.starts_with(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"));
    assert_eq!(served(Link::default(), 1).2, frames);
}

#[test]
fn a_bad_link_costs_frames_but_no_bytes() {
    let bad = Link {
        loss: 0.05,
        duplication: 0.05,
        reordering: 0.2,
        corruption: 0.02,
        ..Link::default()
    };
    let (received, body, frames) = served(bad, 2);
    assert!(received.ends_with(&body));
    assert!(frames > served(Link::default(), 2).2);
}

#[test]
fn actions_run_at_their_moment() {
    let lan = Lan::new(0);
    let (seen, moment) = (Rc::new(Cell::new(None)), Duration::from_secs(3));
    let (note, clock) = (seen.clone(), lan.clone());
    lan.at(moment, move || note.set(Some(clock.now())));
    lan.idle_until(Instant::ZERO + Duration::from_secs(10));
    assert_eq!(seen.get(), Some(Instant::ZERO + moment));
}

#[test]
#[should_panic(expected = "watchdog bites")]
fn sleeping_past_the_watchdog_fails_a_test() {
    Lan::new(0).idle_until(Instant::ZERO + Duration::from_secs(16));
}
