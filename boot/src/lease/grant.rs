//! From a server's message to a `Lease`: every value checked, bad ones left out or refused (RFC 2131 §4.4.5, RFC 3442).

use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::time::Duration;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

use super::model::{Lease, Route};
use super::packet::{Refusal, Reply, Unfit, address, tag};
use super::search::{domains, is_list};

/// The longest text that is taken from a message.
const LONGEST_TEXT: usize = 1024;
/// How many addresses of a list are taken.
const MOST_ADDRESSES: usize = 4;
/// How many routes are taken: as many as fit into the stack beside the default route.
const MOST_ROUTES: usize = 15;
/// The lease time in seconds when a server sends none, although it must.
const DEFAULT_LEASE_TIME: u32 = 3600;
/// The prefix length when a server sends no usable subnet mask; nearly all small networks have it.
const DEFAULT_PREFIX: u8 = 24;

/// An address, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) lease: Lease,
    /// `None`: for ever.
    pub(super) times: Option<Times>,
}

/// When to renew, counted from the grant. T1 ≤ T2 ≤ end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// Renewing starts: the granting server is asked.
    pub(super) t1: Duration,
    /// Rebinding starts: any server is asked.
    pub(super) t2: Duration,
    /// The address is no longer ours.
    pub(super) end: Duration,
}

/// Reads an OFFER or ACK that came from `source`.
pub(super) fn read(reply: &Reply, source: Ipv4Address) -> Result<Grant, Refusal> {
    let mut lease = boot_part(reply, source)?;
    let prefix = reply
        .address(tag::SUBNET_MASK)
        .and_then(prefix_len)
        .unwrap_or(DEFAULT_PREFIX);
    lease.address = Ipv4Cidr::new(reply.yiaddr, prefix);
    if !is_host_in(lease.address) {
        return Err(Refusal::Address(reply.yiaddr));
    }
    // RFC 3442: with option 121, option 3 does not count.
    if let Some(routes) = reply.option(tag::CLASSLESS_ROUTES).and_then(classless_routes) {
        let (default, others): (Vec<_>, Vec<_>) = routes
            .into_iter()
            .partition(|r| r.destination.prefix_len() == 0 && is_host(r.router));
        lease.router = default.first().map(|r| r.router);
        lease.routes = others;
        lease.routes.truncate(MOST_ROUTES);
    } else {
        lease.router = addresses(reply, tag::ROUTER).first().copied();
    }
    lease.dns = addresses(reply, tag::DNS);
    lease.ntp = addresses(reply, tag::NTP);
    lease.hostname = reply.option(tag::HOST_NAME).and_then(|bytes| text(reply, bytes));
    lease.domain = reply.option(tag::DOMAIN).and_then(|bytes| text(reply, bytes));
    let listed = reply.option(tag::DOMAIN_SEARCH);
    if !listed.is_none_or(is_list) {
        reply.leave_out(Unfit::Domains);
    }
    lease.search = domains(listed, lease.domain.as_deref());
    lease.mtu = reply
        .option(tag::MTU)
        .and_then(|v| Some(u16::from_be_bytes(v.try_into().ok()?)))
        .filter(|mtu| (576..=9000).contains(mtu));
    Ok(Grant {
        lease,
        times: times(reply)?,
    })
}

/// The boot part of a message, without an address: all that a proxy sends.
pub(super) fn boot_part(reply: &Reply, source: Ipv4Address) -> Result<Lease, Refusal> {
    let server = server(reply, source)?;
    let option = |tag| reply.option(tag).and_then(|bytes| text(reply, bytes));
    let tftp_server_name = option(tag::TFTP_SERVER).or_else(|| text(reply, &reply.sname));
    let next_server = Some(reply.siaddr)
        .filter(|ip| is_host(*ip))
        .or_else(|| {
            tftp_server_name
                .as_ref()
                .and_then(|name| name.parse().ok())
                .filter(|ip| is_host(*ip))
        })
        .or_else(|| addresses(reply, tag::TFTP_ADDRESS).first().copied());
    let raw = |tag| reply.option(tag).unwrap_or_default().to_vec();
    Ok(Lease {
        server,
        next_server,
        tftp_server_name,
        boot_file: option(tag::BOOT_FILE).or_else(|| text(reply, &reply.file)),
        config_file: option(tag::CONFIG_FILE),
        path_prefix: option(tag::PATH_PREFIX),
        root_path: option(tag::ROOT_PATH),
        vendor_specific: raw(tag::VENDOR_SPECIFIC),
        ipxe_encapsulated: raw(tag::IPXE),
        dhcp: reply.everything(),
        ..Lease::default()
    })
}

/// The server that sent a message: option 54, else the IP header's source.
pub(super) fn server(reply: &Reply, source: Ipv4Address) -> Result<Ipv4Address, Refusal> {
    let server = reply.address(tag::SERVER).unwrap_or(source);
    if is_host(server) {
        Ok(server)
    } else {
        Err(Refusal::Server(server))
    }
}

/// Whether the message says what to boot: a boot file, or where PXELINUX finds its configuration.
pub(super) fn names_boot(lease: &Lease) -> bool {
    lease.boot_file.is_some() || lease.config_file.is_some() || lease.path_prefix.is_some()
}

/// Takes over what `boot` says about booting, where it says something.
pub(super) fn merge_boot(lease: &mut Lease, boot: &Lease) {
    let take = |ours: &mut Option<String>, theirs: &Option<String>| {
        if theirs.is_some() {
            ours.clone_from(theirs);
        }
    };
    take(&mut lease.tftp_server_name, &boot.tftp_server_name);
    take(&mut lease.boot_file, &boot.boot_file);
    take(&mut lease.config_file, &boot.config_file);
    take(&mut lease.path_prefix, &boot.path_prefix);
    take(&mut lease.root_path, &boot.root_path);
    lease.next_server = boot
        .next_server
        .or(Some(boot.server).filter(|ip| is_host(*ip)))
        .or(lease.next_server);
    if !boot.vendor_specific.is_empty() {
        lease.vendor_specific.clone_from(&boot.vendor_specific);
    }
    if !boot.ipxe_encapsulated.is_empty() {
        lease.ipxe_encapsulated.clone_from(&boot.ipxe_encapsulated);
    }
    if !boot.dhcp.list.is_empty() {
        lease.proxy = Some(boot.dhcp.clone());
    }
}

/// Keeps what an earlier lease said about booting, where the renewed one says nothing.
pub(super) fn keep_boot(lease: &mut Lease, earlier: &Lease) {
    let next_server = earlier.next_server.or(lease.next_server);
    merge_boot(lease, earlier);
    lease.next_server = next_server;
    lease.dhcp.clone_from(&earlier.dhcp);
    lease.proxy.clone_from(&earlier.proxy);
}

/// Lease time, T1 and T2; the defaults of RFC 2131 §4.4.5 for what the server leaves out, or where it does not ascend.
fn times(reply: &Reply) -> Result<Option<Times>, Refusal> {
    let end = match reply.seconds(tag::LEASE_TIME).unwrap_or(DEFAULT_LEASE_TIME) {
        0 => return Err(Refusal::Expired),
        u32::MAX => return Ok(None),
        seconds => u64::from(seconds),
    };
    let given = |tag| {
        reply
            .seconds(tag)
            .map(|seconds| Duration::from_secs(seconds.into()))
    };
    let defaults = [500, 875].map(|thousandths| Duration::from_millis(end.saturating_mul(thousandths)));
    let end = Duration::from_secs(end);
    let [half, most] = defaults;
    let (t1, t2) = (given(tag::T1).unwrap_or(half), given(tag::T2).unwrap_or(most));
    let [t1, t2] = if Duration::ZERO < t1 && t1 < t2 && t2 < end {
        [t1, t2]
    } else {
        defaults
    };
    Ok(Some(Times { t1, t2, end }))
}

/// Whether a single host can have this address: not 0/8, 127/8, 224/3.
pub(super) fn is_host(ip: Ipv4Address) -> bool {
    let [first, ..] = ip.octets();
    !matches!(first, 0 | 127 | 224..)
}

/// Whether a host of this subnet can have the address: it is also neither the subnet's first nor its last.
fn is_host_in(cidr: Ipv4Cidr) -> bool {
    let ends = |ip| ip == cidr.network().address() || Some(ip) == cidr.broadcast();
    is_host(cidr.address()) && (cidr.prefix_len() > 30 || !ends(cidr.address()))
}

/// The prefix length of a mask; `None` unless it is ones, then zeros, with at least one one.
fn prefix_len(mask: Ipv4Address) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    (ones > 0 && ones.checked_add(bits.trailing_zeros()) == Some(32) || bits == u32::MAX)
        .then(|| u8::try_from(ones).ok())
        .flatten()
}

/// The first addresses of a list that hosts can have; empty when the list's length is no multiple of four.
fn addresses(reply: &Reply, tag: u8) -> Vec<Ipv4Address> {
    let (list, []) = reply.option(tag).unwrap_or_default().as_chunks::<4>() else {
        return Vec::new();
    };
    list.iter()
        .filter_map(|a| address(a))
        .filter(|a| is_host(*a))
        .take(MOST_ADDRESSES)
        .collect()
}

/// Option 121 (RFC 3442); `None` when it is malformed. Routes through impossible routers are left out.
fn classless_routes(mut bytes: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let [width @ 0..=32, rest @ ..] = bytes {
        let (significant, rest) = rest.split_at_checked(usize::from(width.div_ceil(8)))?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        bytes = rest;
        let mut network = [0; 4];
        network.get_mut(..significant.len())?.copy_from_slice(significant);
        let destination = Ipv4Cidr::new(Ipv4Address::from(network), *width).network();
        let router = Ipv4Address::from(*router);
        if router.is_unspecified() || is_host(router) {
            routes.push(Route { destination, router });
        }
    }
    bytes.is_empty().then_some(routes)
}

/// Printable ASCII up to the first NUL, blanks at its ends cut; `None` when that is empty, too long or not printable,
/// because half a URL is worse than none.
fn text(reply: &Reply, bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|b| *b == 0).next()?.trim_ascii();
    if text.is_empty() {
        return None;
    }
    if text.len() > LONGEST_TEXT || !text.iter().all(|b| matches!(b, b' '..=b'~')) {
        reply.leave_out(Unfit::Text(text.len()));
        return None;
    }
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::{MAC, XID, reply};
    use super::*;

    const SOURCE: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);

    fn grant(options: &[(u8, &[u8])]) -> Result<Grant, Refusal> {
        parse(&reply(5, [10, 0, 2, 15], options))
    }

    fn parse(bytes: &[u8]) -> Result<Grant, Refusal> {
        read(&Reply::parse(bytes, XID, MAC)?, SOURCE)
    }

    fn lease(options: &[(u8, &[u8])]) -> Lease {
        grant(options).unwrap().lease
    }

    #[test]
    fn a_full_ack_becomes_a_full_lease() {
        let mut bytes = reply(
            5,
            [10, 0, 2, 15],
            &[
                (54, &[10, 0, 2, 3]),
                (51, &[0, 0, 0, 100]),
                (1, &[255, 255, 254, 0]),
                (3, &[10, 0, 2, 1, 10, 0, 2, 7]),
                (6, &[8, 8, 8, 8, 0, 0, 0, 0, 9, 9, 9, 9]),
                (42, &[10, 0, 2, 5]),
                (12, b"node7\0\0"),
                (15, b"lab.example"),
                (17, b"10.0.2.4:/srv"),
                (26, &[5, 220]),
                (43, &[6, 1, 8]),
                (66, b"10.0.2.9"),
                (119, b"\x03eng\x03lab\x07example\x00"),
                (67, b"http://10.0.2.4/${mac:hexhyp}"),
                (175, &[0xb0, 1, 1]),
                (209, b"cfg"),
                (210, b"http://10.0.2.4/"),
            ],
        );
        bytes[108..112].copy_from_slice(b"file");
        let grant = parse(&bytes).unwrap();
        let ip = Ipv4Address::new;
        let text = |t: &str| Some(String::from(t));
        assert_eq!(
            grant.lease,
            Lease {
                address: Ipv4Cidr::new(ip(10, 0, 2, 15), 23),
                router: Some(ip(10, 0, 2, 1)),
                routes: vec![],
                dns: vec![ip(8, 8, 8, 8), ip(9, 9, 9, 9)],
                ntp: vec![ip(10, 0, 2, 5)],
                server: ip(10, 0, 2, 3),
                next_server: Some(ip(10, 0, 2, 9)),
                tftp_server_name: text("10.0.2.9"),
                boot_file: text("http://10.0.2.4/${mac:hexhyp}"),
                config_file: text("cfg"),
                path_prefix: text("http://10.0.2.4/"),
                hostname: text("node7"),
                domain: text("lab.example"),
                search: vec!["eng.lab.example".into(), "lab.example".into()],
                root_path: text("10.0.2.4:/srv"),
                mtu: Some(1500),
                vendor_specific: vec![6, 1, 8],
                ipxe_encapsulated: vec![0xb0, 1, 1],
                dhcp: grant.lease.dhcp.clone(),
                proxy: None,
            }
        );
        // The file field before the option, as iPXE does.
        assert_eq!(grant.lease.dhcp.get(67), Some(&b"file"[..]));
        assert_eq!(grant.lease.dhcp.sub(43, 6), Some(&[8][..]));
        assert_eq!(grant.lease.dhcp.sub(43, 7), None);
        let seconds = Duration::from_millis;
        assert_eq!(
            grant.times,
            Some(Times {
                t1: seconds(50_000),
                t2: seconds(87_500),
                end: seconds(100_000)
            })
        );
    }

    #[test]
    fn the_bootp_fields_serve_when_the_options_are_missing() {
        let mut bytes = reply(5, [10, 0, 2, 15], &[]);
        bytes[20..24].copy_from_slice(&[10, 0, 2, 8]);
        bytes[44..52].copy_from_slice(b"bootsrv\0");
        bytes[108..236].fill(b'f');
        let lease = parse(&bytes).unwrap().lease;
        assert_eq!(lease.server, SOURCE);
        assert_eq!(lease.next_server, Some(Ipv4Address::new(10, 0, 2, 8)));
        assert_eq!(lease.tftp_server_name.as_deref(), Some("bootsrv"));
        assert_eq!(lease.boot_file, Some("f".repeat(128)));
        assert_eq!(lease.address.prefix_len(), 24);
    }

    #[test]
    fn addresses_that_no_host_can_have_are_refused() {
        let offered =
            |yiaddr| parse(&reply(2, yiaddr, &[(1, &[255, 255, 255, 0])])).map(|g| g.lease.address.address());
        for bad in [
            [0, 0, 0, 1],
            [127, 0, 0, 1],
            [224, 0, 0, 1],
            [255; 4],
            [10, 0, 2, 0],
            [10, 0, 2, 255],
        ] {
            assert_eq!(offered(bad), Err(Refusal::Address(bad.into())));
        }
        assert_eq!(offered([10, 0, 2, 1]), Ok(Ipv4Address::new(10, 0, 2, 1)));
        assert_eq!(
            grant(&[(54, &[224, 0, 0, 1])]).unwrap_err(),
            Refusal::Server(Ipv4Address::new(224, 0, 0, 1))
        );
    }

    #[test]
    fn masks_are_prefixes_or_ignored() {
        let prefix = |mask: &[u8]| lease(&[(1, mask)]).address.prefix_len();
        assert_eq!(prefix(&[255, 0, 0, 0]), 8);
        assert_eq!(prefix(&[255, 255, 255, 255]), 32);
        assert_eq!(prefix(&[255, 255, 255, 224]), 27);
        for bad in [&[255, 0, 255, 0][..], &[0; 4], &[255; 3], &[0, 0, 0, 255]] {
            assert_eq!(prefix(bad), 24);
        }
    }

    #[test]
    fn lease_times_ascend_or_are_the_defaults() {
        let times = |t: [u32; 3]| {
            let [lease, t1, t2] = t.map(u32::to_be_bytes);
            grant(&[(51, &lease), (58, &t1), (59, &t2)]).map(|g| {
                g.times
                    .map(|t| [t.t1.total_millis(), t.t2.total_millis(), t.end.total_millis()])
            })
        };
        assert_eq!(times([100, 10, 20]), Ok(Some([10_000, 20_000, 100_000])));
        for [t1, t2] in [[20, 10], [0, 10], [50, 100], [u32::MAX; 2], [10, 10]] {
            assert_eq!(times([100, t1, t2]), Ok(Some([50_000, 87_500, 100_000])));
        }
        let only = |tag, seconds: u32| {
            let given = (tag, &seconds.to_be_bytes()[..]);
            let times = grant(&[(51, &100_u32.to_be_bytes()), given])
                .unwrap()
                .times
                .unwrap();
            (times.t1.total_millis(), times.t2.total_millis())
        };
        assert_eq!(only(58, 10), (10_000, 87_500));
        assert_eq!(only(59, 60), (50_000, 60_000));
        assert_eq!((only(58, 90), only(59, 40)), ((50_000, 87_500), (50_000, 87_500)));
        assert_eq!(times([0, 0, 0]), Err(Refusal::Expired));
        assert_eq!(times([u32::MAX, 1, 2]), Ok(None));
        let longest = u64::from(u32::MAX - 1);
        assert_eq!(
            times([u32::MAX - 1, 0, 0]),
            Ok(Some([longest * 500, longest * 875, longest * 1000]))
        );
        assert_eq!(grant(&[]).unwrap().times.unwrap().end, Duration::from_secs(3600));
    }

    #[test]
    fn classless_routes_take_precedence_over_the_router_option() {
        let routes = [
            0, 10, 0, 2, 1, 25, 10, 9, 8, 0x80, 10, 0, 2, 4, 32, 10, 0, 2, 1, 0, 0, 0, 0,
        ];
        let lease = lease(&[(3, &[10, 0, 2, 99]), (121, &routes)]);
        assert_eq!(lease.router, Some(Ipv4Address::new(10, 0, 2, 1)));
        let route = |d, len, r| Route {
            destination: Ipv4Cidr::new(Ipv4Address::from(d), len),
            router: Ipv4Address::from(r),
        };
        assert_eq!(
            lease.routes,
            [
                route([10, 9, 8, 128], 25, [10, 0, 2, 4]),
                route([10, 0, 2, 1], 32, [0; 4])
            ]
        );
    }

    #[test]
    fn malformed_classless_routes_leave_the_router_option_in_force() {
        for bad in [
            &[33, 1, 2, 3, 4, 5, 10, 0, 2, 1][..],
            &[24, 10, 0],
            &[0, 10, 0, 2],
            &[8, 10, 10, 0, 2, 1, 7],
        ] {
            let lease = lease(&[(3, &[10, 0, 2, 99]), (121, bad)]);
            assert_eq!(lease.router, Some(Ipv4Address::new(10, 0, 2, 99)));
            assert!(lease.routes.is_empty());
        }
        let many = [8, 10, 10, 0, 2, 1].repeat(40);
        assert_eq!(lease(&[(121, &many)]).routes.len(), MOST_ROUTES);
    }

    #[test]
    fn bad_values_are_left_out_one_by_one() {
        let lease = lease(&[
            (3, &[0, 0, 0, 0, 10, 0, 2, 1]),
            (6, &[1, 2, 3]),
            (26, &[0, 1]),
            (12, b"  \0x"),
            (67, b"http://a/\nb"),
            (17, b"caf\xc3\xa9"),
            (150, &[10, 0, 2, 6]),
        ]);
        assert_eq!(lease.router, Some(Ipv4Address::new(10, 0, 2, 1)));
        assert_eq!(lease.next_server, Some(Ipv4Address::new(10, 0, 2, 6)));
        assert_eq!(
            (lease.mtu, lease.hostname, lease.boot_file, lease.root_path),
            (None, None, None, None)
        );
        assert!(lease.dns.is_empty());
    }

    #[test]
    fn text_is_bounded() {
        let reply = Reply::parse(&reply(5, [10, 0, 2, 15], &[]), XID, MAC).unwrap();
        let text = |bytes: &[u8]| text(&reply, bytes);
        assert_eq!(text(&[b'a'; LONGEST_TEXT]).map(|t| t.len()), Some(LONGEST_TEXT));
        assert_eq!(text(b" \0"), None);
        assert_eq!(reply.left_out(), None, "nothing that was there");
        assert_eq!(text(&[b'a'; LONGEST_TEXT + 1]), None);
        assert_eq!(text(b"\x07"), None);
        assert_eq!(reply.left_out(), Some(Unfit::Text(LONGEST_TEXT + 1)), "the first");
    }

    #[test]
    fn a_proxy_adds_what_it_says_and_keeps_the_rest() {
        let mut ours = lease(&[(12, b"pi"), (17, b"/nfs"), (43, b"x")]);
        let proxy = Lease {
            server: Ipv4Address::new(10, 0, 2, 77),
            boot_file: Some("menu".into()),
            ..Lease::default()
        };
        merge_boot(&mut ours, &proxy);
        assert_eq!(ours.boot_file.as_deref(), Some("menu"));
        assert_eq!(ours.next_server, Some(proxy.server));
        assert_eq!(ours.server, SOURCE);
        assert_eq!(
            (ours.root_path.as_deref(), ours.vendor_specific.as_slice()),
            (Some("/nfs"), &b"x"[..])
        );
    }

    #[test]
    fn of_booting_each_thing_said_is_taken_and_each_not_said_is_kept() {
        let said = |by: &str, last: u8| Lease {
            next_server: Some(Ipv4Address::new(10, 0, 2, last)),
            tftp_server_name: Some(format!("tftp of {by}")),
            boot_file: Some(format!("file of {by}")),
            config_file: Some(format!("config of {by}")),
            path_prefix: Some(format!("prefix of {by}")),
            root_path: Some(format!("root of {by}")),
            vendor_specific: format!("43 of {by}").into_bytes(),
            ipxe_encapsulated: format!("175 of {by}").into_bytes(),
            ..Lease::default()
        };
        let merged = |mut ours: Lease, theirs: &Lease| {
            merge_boot(&mut ours, theirs);
            ours
        };
        let (ours, theirs) = (said("ours", 1), said("theirs", 2));
        assert_eq!(merged(ours.clone(), &theirs), theirs);
        assert_eq!(merged(Lease::default(), &theirs), theirs);
        assert_eq!(merged(ours.clone(), &Lease::default()), ours);
        // A renewal that says nothing of it.
        let mut renewed = Lease::default();
        keep_boot(&mut renewed, &ours);
        assert_eq!(renewed, ours);
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_read_or_refused() {
        let routes = [0, 10, 0, 2, 1, 25, 10, 9, 8, 0x80, 10, 0, 2, 4];
        let options: &[(u8, &[u8])] = &[
            (52, &[3]),
            (54, &[10, 0, 2, 2]),
            (51, &[0, 0, 1, 0]),
            (58, &[0, 0, 0, 9]),
            (59, &[0, 0, 0, 99]),
            (1, &[255, 255, 255, 0]),
            (3, &[10, 0, 2, 1]),
            (6, &[1, 1, 1, 1]),
            (121, &routes),
            (60, b"PXEClient"),
            (43, b"\x06\x01\x03\x09\x05\x80\x01\x02ab\xff"),
            (67, b"http://x/y"),
            (175, &[0xb0, 1, 1]),
        ];
        for kind in [2, 5, 6] {
            let good = reply(kind, [10, 0, 2, 15], options);
            let look = |bytes: &[u8]| {
                let Ok(reply) = Reply::parse(bytes, XID, MAC) else {
                    return;
                };
                let _ = (reply.first_boot_item(), reply.is_pxe());
                let Ok(grant) = read(&reply, SOURCE) else { return };
                // Whatever was changed, a grant is fit for use.
                assert!(is_host_in(grant.lease.address) && is_host(grant.lease.server));
                assert!(grant.times.is_none_or(|t| t.t1 < t.t2 && t.t2 < t.end));
            };
            for len in 0..good.len() {
                look(&good[..len]);
            }
            for at in 0..good.len() {
                for value in 0..=255 {
                    let mut bytes = good.clone();
                    bytes[at] = value;
                    look(&bytes);
                }
            }
        }
    }
}
