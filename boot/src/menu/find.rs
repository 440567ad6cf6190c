//! Where a menu can be: `bramble.url`, DHCP's boot file, options 209 and 210 (RFC 5071), `autoexec.ipxe`, the PXELINUX
//! search path.
//!
//! Syslinux `doc/pxelinux.txt` gives the search path. A path in DHCP is looked for over HTTP, from the root of the server,
//! and then over TFTP: whoever has a web server beside the TFTP server gets its speed without a change of DHCP.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use smoltcp::wire::EthernetAddress;

use super::{Error, Fault, Found, pxelinux};
use crate::fetch::Get;
use crate::lease::{Lease, Uuid};
use crate::script::{
    self, Script,
    line::{MAX_SCRIPT, is_script},
};
use crate::url::{self, Scheme, Url};
use crate::{Board, Settings};

/// Bytes of a script or a menu.
const MAX_TEXT: usize = if MAX_SCRIPT > pxelinux::MAX_TEXT {
    MAX_SCRIPT
} else {
    pxelinux::MAX_TEXT
};

/// One source of menus: names that are tried in order until one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// What named it.
    pub(super) source: &'static str,
    /// What to fetch.
    pub(super) urls: Vec<Result<Url, url::Error>>,
    /// What names in the menu are relative to, when that is not told by where it is.
    pub(super) base: Option<Url>,
    /// Whether DHCP gave a path, which leaves open whether the server speaks HTTP, TFTP or both.
    pub(super) guess: bool,
}

/// A URL and whether its scheme is a guess.
type Guess = (Result<Url, url::Error>, bool);

impl Place {
    fn one(source: &'static str, url: Result<Url, url::Error>) -> Self {
        Self {
            source,
            urls: vec![url],
            base: None,
            guess: false,
        }
    }

    /// `autoexec.ipxe` in `directory`, as iPXE looks for it, then the PXELINUX search path below.
    fn search(
        source: &'static str,
        directory: &Url,
        guess: bool,
        lease: &Lease,
        board: &Board<'_>,
    ) -> [Self; 2] {
        let urls = search_path(lease, board);
        let path = urls.iter().map(|name| directory.join(name)).collect();
        [vec![directory.join("autoexec.ipxe")], path].map(|urls| Self {
            source,
            urls,
            base: None,
            guess,
        })
    }
}

/// Every place worth asking, in order: a function of what is known about the node, but for a log line.
///
/// `bramble.url`, when set, is the only one: it holds whatever DHCP says. A URL that ends in `/` is a directory with a
/// search path. Boot files that are programs for other clients are not fetched, but their directory is searched.
pub(super) fn places(settings: &Settings, lease: &Lease, board: &Board<'_>) -> Vec<Place> {
    if let Some(setting) = &settings.url {
        return match Url::parse(&script::expand(setting, board, settings, lease)) {
            Ok(url) if url.target().ends_with('/') => {
                Place::search("bramble.url", &url, false, lease, board).into()
            }
            url => vec![Place::one("bramble.url", url)],
        };
    }
    let mut places = Vec::new();
    let roots = server_roots(lease);
    // What a name in DHCP may mean; nothing when it is a path and DHCP names no server at all.
    let on_server = |name: &str| -> Vec<Guess> {
        if is_url(name) {
            return vec![(Url::parse(name), false)];
        }
        let urls = roots.iter().map(|root| match root {
            Ok(root) => (root.join(name), true),
            Err(e) => (Err(e.clone()), true),
        });
        urls.collect()
    };

    // Servers for iPXE write `${mac}` and the like.
    let boot_file = lease.boot_file.as_deref().unwrap_or_default();
    let boot_file = &*script::expand(boot_file, board, settings, lease);
    let boot_urls = if boot_file.is_empty() {
        Vec::new()
    } else {
        on_server(boot_file)
    };
    if boot_urls.is_empty() {
        // Nothing to say about it.
    } else if is_for_others(boot_file) {
        info!(
            "menu: boot file {} is for other clients, only its directory counts",
            boot_file
        );
    } else if (is_url(boot_file) && !boot_file.ends_with('/')) || names_a_menu(boot_file) {
        places.extend(boot_urls.iter().cloned().map(|(url, guess)| Place {
            guess,
            ..Place::one("boot file", url)
        }));
    }

    let prefixes = lease.path_prefix.as_deref().map(|prefix| {
        let slash = if prefix.ends_with('/') { "" } else { "/" };
        on_server(&format!("{prefix}{slash}"))
    });
    let prefixes = prefixes.unwrap_or_default();
    let directories: Vec<Guess> = boot_urls
        .into_iter()
        .map(|(url, guess)| (url.and_then(|url| url.join("./")), guess))
        .collect();
    if let Some(name) = &lease.config_file {
        let bases = if prefixes.is_empty() {
            &directories
        } else {
            &prefixes
        };
        let bases = bases
            .iter()
            .filter_map(|(url, guess)| Some((url.as_ref().ok()?, *guess)));
        let based: Vec<Place> = bases
            .map(|(base, guess)| Place {
                // A full URL in option 209 says itself where it is.
                base: (!is_url(name)).then(|| base.clone()),
                guess,
                ..Place::one("option 209", base.join(name))
            })
            .collect();
        let unbased = || {
            on_server(name).into_iter().map(|(url, guess)| Place {
                guess,
                ..Place::one("option 209", url)
            })
        };
        match based.is_empty() {
            true => places.extend(unbased()),
            // The same full URL against every base is one place.
            false if is_url(name) => places.extend(based.into_iter().take(1)),
            false => places.extend(based),
        }
    }

    let mut searched: Vec<Url> = Vec::new();
    let roots = roots.iter().cloned().map(|root| (root, true));
    let searches = [
        ("option 210", prefixes),
        ("search path", directories),
        ("search path", roots.collect()),
    ];
    for (source, (directory, guess)) in searches
        .into_iter()
        .flat_map(|(source, guesses)| guesses.into_iter().map(move |guess| (source, guess)))
    {
        match directory {
            Ok(directory) if !searched.contains(&directory) => {
                places.extend(Place::search(source, &directory, guess, lease, board));
                searched.push(directory);
            }
            // An unusable URL is worth a line of its own only where nothing else was made of it.
            Err(e) if places.iter().all(|place| !place.urls.contains(&Err(e.clone()))) => {
                places.push(Place::one(source, Err(e)));
            }
            _ => {}
        }
    }
    places
}

/// The first menu in `places`.
///
/// An absent file (404 and the like) lets the next name be tried. Anything else, a server that does not answer or a
/// file that is no menu, ends its place: the names that follow are more general, and must not be booted in its stead
/// because of a hiccup. Of a server that nobody answers for, nothing else is asked by the same protocol; and where that
/// was a guess, it says nothing as long as the other protocol knows better.
pub(super) fn first(places: &[Place], scratch: &mut [u8], get: &mut Get<'_>) -> Result<Found, Error> {
    let mut tried: Vec<&Url> = Vec::new();
    let mut fault: Option<Fault> = None;
    let mut absence: Option<Fault> = None;
    let mut silence: Option<Fault> = None;
    let mut dead: Vec<Url> = Vec::new();
    for place in places {
        for url in &place.urls {
            if let Ok(url) = url
                && dead.iter().any(|dead| dead.same_origin(url))
            {
                break;
            }
            tried.extend(url);
            match menu_at(url, place.base.as_ref(), scratch, get) {
                Ok(found) => {
                    // Why the menu is not from where it should be.
                    if let Some(fault) = fault {
                        warn!("menu: {}", fault);
                    }
                    match &found {
                        Found::Menu(menu) => {
                            let entries = menu.entries.len();
                            info!("menu: {} entries from {} ({})", entries, menu.url, place.source);
                        }
                        Found::Script(script) => {
                            info!("menu: a script from {} ({})", script.url, place.source);
                        }
                    }
                    return Ok(found);
                }
                Err(Fault::Fetch(error)) if error.is_absent() => absence = Some(Fault::Fetch(error)),
                Err(Fault::Fetch(error)) if error.is_unreachable() => {
                    dead.push(error.url.clone());
                    if place.guess {
                        info!("menu: {}", error);
                        silence.get_or_insert(Fault::Fetch(error));
                    } else {
                        fault.get_or_insert(Fault::Fetch(error));
                    }
                    break;
                }
                Err(error) if fault.is_none() => {
                    fault = Some(error);
                    break;
                }
                Err(error) => {
                    warn!("menu: {}", error);
                    break;
                }
            }
        }
    }
    let url = |url: Option<&&Url>| url.map(|url| url.to_string()).unwrap_or_default();
    Err(match fault.or(absence).or(silence) {
        None => Error::NoSource,
        Some(fault) => Error::NotFound {
            tried: tried.len(),
            first: url(tried.first()),
            last: url(tried.last()),
            fault: Box::new(fault),
        },
    })
}

fn menu_at(
    url: &Result<Url, url::Error>,
    base: Option<&Url>,
    scratch: &mut [u8],
    get: &mut Get<'_>,
) -> Result<Found, Fault> {
    let url = url.as_ref().map_err(|error| Fault::Url(error.clone()))?;
    let room = scratch.len().min(MAX_TEXT);
    let window = scratch.get_mut(..room).unwrap_or_default();
    let response = get(url, window).map_err(Fault::Fetch)?;
    let text = scratch.get(..response.len).unwrap_or_default();
    if is_script(text) {
        return Ok(Found::Script(Script {
            url: response.url,
            text: text.to_vec(),
        }));
    }
    pxelinux::parse(&response, base, scratch, get).map(|menu| Found::Menu(Box::new(menu)))
}

/// The roots of the server that DHCP names for TFTP, as HTTP and as TFTP; none when it names neither server nor file.
fn server_roots(lease: &Lease) -> Vec<Result<Url, url::Error>> {
    let is_path = |name: &Option<String>| name.as_deref().is_some_and(|name| !is_url(name));
    let relative = is_path(&lease.config_file) && lease.path_prefix.is_none();
    let host = if let Some(address) = lease.next_server {
        address.to_string()
    } else if let Some(name) = &lease.tftp_server_name {
        name.clone()
    } else if is_path(&lease.boot_file) || is_path(&lease.path_prefix) || relative {
        // A path without a server is on the server that named it.
        lease.server.to_string()
    } else {
        return Vec::new();
    };
    match Url::on(Scheme::Http, &host, "/") {
        Ok(root) => vec![Ok(root), Url::on(Scheme::Tftp, &host, "/")],
        error => vec![error],
    }
}

/// The names that PXELINUX asks for, most specific first: the UUID, the hardware address, the IP address in upper-case
/// hexadecimal, shortened digit by digit, `default`; before that what U-Boot asks for on a Pi.
fn search_path(lease: &Lease, board: &Board<'_>) -> Vec<String> {
    let address = format!("{:08X}", u32::from(lease.address.address()));
    let mut names = vec![Uuid::of(board).to_string(), hardware_address(board)];
    names.extend(
        (1..=address.len())
            .rev()
            .filter_map(|len| address.get(..len))
            .map(String::from),
    );
    // U-Boot's, by its names for architecture, SoC and board.
    let defaults = [
        "default-arm-bcm283x-rpi",
        "default-arm-bcm283x",
        "default-arm",
        "default",
    ];
    names.extend(defaults.map(String::from));
    names.iter().map(|name| format!("pxelinux.cfg/{name}")).collect()
}

/// The MAC address as PXELINUX writes it: ARP type 1, lower case, dashes.
pub(super) fn hardware_address(board: &Board<'_>) -> String {
    let EthernetAddress([a, b, c, d, e, f]) = board.mac;
    format!("01-{a:02x}-{b:02x}-{c:02x}-{d:02x}-{e:02x}-{f:02x}")
}

/// Whether a boot file is a URL rather than a path on the TFTP server.
fn is_url(name: &str) -> bool {
    name.split_once(':')
        .is_some_and(|(_, rest)| rest.starts_with("//"))
}

/// The last path component, without query, in lower case.
fn file_name(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase()
}

/// Whether a boot file is a program that x86 or EFI clients, or the Pi's own firmware, would run.
fn is_for_others(path: &str) -> bool {
    let name = file_name(path);
    let extensions = [
        ".0", ".efi", ".pxe", ".kpxe", ".kkpxe", ".kkkpxe", ".lkrn", ".n12", ".com", ".elf", ".bin",
    ];
    let names = ["undionly", "grub", "shim"];
    extensions.iter().any(|extension| name.ends_with(extension))
        || names
            .iter()
            .any(|start| name.starts_with(start) && !names_a_menu(path))
}

/// Whether a boot file on the TFTP server is a menu: by its extension, or because it is in a `pxelinux.cfg/`.
fn names_a_menu(path: &str) -> bool {
    let name = file_name(path);
    [".cfg", ".conf", ".ipxe", ".menu"]
        .iter()
        .any(|extension| name.ends_with(extension))
        || path
            .rsplit('/')
            .skip(1)
            .any(|directory| directory.ends_with("pxelinux.cfg"))
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::Ipv4Address;

    use super::super::tests::{board, lease};
    use super::*;
    use crate::fetch;

    const SEARCH_PATH: [&str; 14] = [
        "pxelinux.cfg/52506934-3031-c000-32ec-fc3cda06ffe0",
        "pxelinux.cfg/01-dc-a6-32-ec-fc-3c",
        "pxelinux.cfg/C000025B",
        "pxelinux.cfg/C000025",
        "pxelinux.cfg/C00002",
        "pxelinux.cfg/C0000",
        "pxelinux.cfg/C000",
        "pxelinux.cfg/C00",
        "pxelinux.cfg/C0",
        "pxelinux.cfg/C",
        "pxelinux.cfg/default-arm-bcm283x-rpi",
        "pxelinux.cfg/default-arm-bcm283x",
        "pxelinux.cfg/default-arm",
        "pxelinux.cfg/default",
    ];

    fn dhcp(boot_file: &str, config_file: &str, path_prefix: &str, next_server: bool) -> Lease {
        let option = |text: &str| (!text.is_empty()).then(|| text.into());
        Lease {
            boot_file: option(boot_file),
            config_file: option(config_file),
            path_prefix: option(path_prefix),
            next_server: next_server.then_some(Ipv4Address::new(192, 0, 2, 2)),
            ..lease()
        }
    }

    /// The places as lines: each single URL with its base, and `dir*` for a whole search path.
    fn lines(settings: &Settings, lease: &Lease) -> Vec<String> {
        let (mut lines, mut autoexec) = (Vec::new(), None);
        for place in places(settings, lease, &board()) {
            lines.push(match place.urls.as_slice() {
                [Ok(url)] if url.path().ends_with("/autoexec.ipxe") => {
                    autoexec = Some(url.join("./").unwrap());
                    continue;
                }
                [Ok(url)] => match &place.base {
                    Some(base) => format!("{url} in {base}"),
                    None => url.to_string(),
                },
                [Err(e)] => format!("error {e}"),
                urls => {
                    let last = urls.last().unwrap().as_ref().unwrap();
                    let directory = last.join("../").unwrap();
                    let expected: Vec<_> = SEARCH_PATH.iter().map(|name| directory.join(name)).collect();
                    assert_eq!(urls, expected);
                    assert_eq!(
                        autoexec.take(),
                        Some(directory.clone()),
                        "autoexec.ipxe comes first"
                    );
                    format!("{directory}*")
                }
            });
        }
        lines
    }

    fn from_dhcp(boot_file: &str, config_file: &str, path_prefix: &str, next_server: bool) -> Vec<String> {
        lines(
            &Settings::default(),
            &dhcp(boot_file, config_file, path_prefix, next_server),
        )
    }

    #[test]
    fn a_url_in_the_boot_file_comes_first_then_its_directory_then_the_next_server() {
        assert_eq!(
            from_dhcp("http://a/boot/menu?mac=1", "", "", true),
            [
                "http://a/boot/menu?mac=1",
                "http://a/boot/*",
                "http://192.0.2.2/*",
                "tftp://192.0.2.2/*"
            ]
        );
        assert_eq!(from_dhcp("http://a/boot/", "", "", false), ["http://a/boot/*"]);
    }

    #[test]
    fn a_path_in_the_boot_file_is_on_the_next_server_or_the_dhcp_server() {
        assert_eq!(
            from_dhcp("pi/menu.cfg", "", "", true),
            [
                "http://192.0.2.2/pi/menu.cfg",
                "tftp://192.0.2.2/pi/menu.cfg",
                "http://192.0.2.2/pi/*",
                "tftp://192.0.2.2/pi/*",
                "http://192.0.2.2/*",
                "tftp://192.0.2.2/*"
            ]
        );
        assert_eq!(
            from_dhcp("/pxelinux.cfg/default", "", "", false),
            [
                "http://192.0.2.1/pxelinux.cfg/default",
                "tftp://192.0.2.1/pxelinux.cfg/default",
                "http://192.0.2.1/pxelinux.cfg/*",
                "tftp://192.0.2.1/pxelinux.cfg/*",
                "http://192.0.2.1/*",
                "tftp://192.0.2.1/*"
            ]
        );
    }

    #[test]
    fn programs_for_other_clients_are_skipped_but_their_directory_counts() {
        for program in [
            "pxelinux.0",
            "lpxelinux.0",
            "undionly.kpxe",
            "snponly.efi",
            "IPXE.EFI",
            "grubaa64.efi",
            "grub",
            "shim.efi",
            "bootcode.bin",
            "start4.elf",
        ] {
            let found = from_dhcp(&format!("tftp/{program}"), "", "", true);
            assert_eq!(
                found,
                [
                    "http://192.0.2.2/tftp/*",
                    "tftp://192.0.2.2/tftp/*",
                    "http://192.0.2.2/*",
                    "tftp://192.0.2.2/*"
                ],
                "{program}"
            );
            let found = from_dhcp(&format!("http://a/b/{program}"), "", "", false);
            assert_eq!(found, ["http://a/b/*"], "{program}");
        }
        // A name that says nothing is a program when it is a path, and may be anything when it is a URL.
        assert_eq!(
            from_dhcp("kernel", "", "", false),
            ["http://192.0.2.1/*", "tftp://192.0.2.1/*"]
        );
        assert_eq!(
            from_dhcp("http://a/kernel", "", "", false),
            ["http://a/kernel", "http://a/*"]
        );
    }

    #[test]
    fn options_209_and_210_name_file_and_prefix() {
        assert_eq!(
            from_dhcp("", "configs/pi.cfg", "http://a/srv", false),
            ["http://a/srv/configs/pi.cfg in http://a/srv/", "http://a/srv/*"]
        );
        assert_eq!(
            from_dhcp("", "http://b/pi.cfg", "http://a/srv/", false),
            ["http://b/pi.cfg", "http://a/srv/*"]
        );
        assert_eq!(
            from_dhcp("x/pxelinux.0", "pi.cfg", "", true),
            [
                "http://192.0.2.2/x/pi.cfg in http://192.0.2.2/x/",
                "tftp://192.0.2.2/x/pi.cfg in tftp://192.0.2.2/x/",
                "http://192.0.2.2/x/*",
                "tftp://192.0.2.2/x/*",
                "http://192.0.2.2/*",
                "tftp://192.0.2.2/*"
            ]
        );
        assert_eq!(
            from_dhcp("", "", "/tftpboot/", true),
            [
                "http://192.0.2.2/tftpboot/*",
                "tftp://192.0.2.2/tftpboot/*",
                "http://192.0.2.2/*",
                "tftp://192.0.2.2/*"
            ]
        );
        assert_eq!(
            from_dhcp("", "pi.cfg", "", false),
            [
                "http://192.0.2.1/pi.cfg",
                "tftp://192.0.2.1/pi.cfg",
                "http://192.0.2.1/*",
                "tftp://192.0.2.1/*"
            ]
        );
        assert_eq!(from_dhcp("", "http://b/pi.cfg", "", false), ["http://b/pi.cfg"]);
    }

    #[test]
    fn a_server_by_name_serves_too_and_without_any_hint_there_is_no_place() {
        let named = Lease {
            tftp_server_name: Some("boot.example".into()),
            ..lease()
        };
        assert_eq!(
            lines(&Settings::default(), &named),
            ["http://boot.example/*", "tftp://boot.example/*"]
        );
        assert_eq!(from_dhcp("", "", "", false), [""; 0]);
    }

    #[test]
    fn the_setting_overrides_whatever_dhcp_says() {
        let other = dhcp("http://a/menu", "", "", true);
        let set = |url: &str| Settings {
            url: Some(url.into()),
            ..Settings::default()
        };
        assert_eq!(lines(&set("http://b/menu"), &other), ["http://b/menu"]);
        assert_eq!(lines(&set("http://b/pi/"), &other), ["http://b/pi/*"]);
        assert_eq!(
            lines(&set("https://b/menu"), &other),
            ["error https://b/menu: scheme not supported, only http and tftp"]
        );
    }

    #[test]
    fn a_url_that_cannot_be_fetched_is_kept_as_an_error_once() {
        assert_eq!(
            from_dhcp("https://a/menu", "", "", true),
            [
                "error https://a/menu: scheme not supported, only http and tftp",
                "http://192.0.2.2/*",
                "tftp://192.0.2.2/*"
            ]
        );
        assert_eq!(from_dhcp("tftp://a/pxelinux.0", "", "", false), ["tftp://a/*"]);
        assert_eq!(
            from_dhcp("tftp://a/x.ipxe", "", "", false),
            ["tftp://a/x.ipxe", "tftp://a/*"]
        );
    }

    fn failed(url: &Url, code: u16) -> fetch::Error {
        fetch::Error {
            url: url.clone(),
            method: fetch::Method::Get,
            reason: fetch::Reason::Status {
                code,
                phrase: "Phrase".into(),
            },
        }
    }

    /// Looks for a menu where only some origins answer, and those with 404.
    fn knock(lease: &Lease, alive: &[&str]) -> (String, Vec<String>) {
        let mut asked = Vec::new();
        let places = places(&Settings::default(), lease, &board());
        let error = first(&places, &mut [0; 64], &mut |url, _| {
            asked.push(url.to_string());
            let mut error = failed(url, 404);
            if !alive.iter().any(|origin| url.to_string().starts_with(origin)) {
                let address = Ipv4Address::new(192, 0, 2, 2);
                error.reason = match url.scheme() {
                    Scheme::Http => fetch::Reason::Connect(address, fetch::ConnectError::Refused),
                    Scheme::Tftp => fetch::Reason::Tftp(fetch::TftpError::NoAnswer),
                };
            }
            Err(error)
        });
        (error.unwrap_err().to_string(), asked)
    }

    #[test]
    fn a_dead_port_is_knocked_on_once() {
        let lease = dhcp("pi/menu.cfg", "", "", true);
        let (line, asked) = knock(&lease, &["tftp://"]);
        assert_eq!(asked.len(), 1 + 31, "{asked:?}");
        assert!(
            line.ends_with("fetch: GET tftp://192.0.2.2/pxelinux.cfg/default: 404 Phrase"),
            "{line}"
        );
        let (line, asked) = knock(&lease, &["http://"]);
        assert_eq!(asked.len(), 31 + 1, "{asked:?}");
        assert!(
            line.ends_with("fetch: GET http://192.0.2.2/pxelinux.cfg/default: 404 Phrase"),
            "{line}"
        );
        let (line, asked) = knock(&lease, &[]);
        assert_eq!(
            asked,
            ["http://192.0.2.2/pi/menu.cfg", "tftp://192.0.2.2/pi/menu.cfg"]
        );
        assert!(
            line.ends_with("menu.cfg: 192.0.2.2: connection refused"),
            "{line}"
        );
        // What DHCP itself says is no guess.
        let (line, asked) = knock(&dhcp("http://a/menu", "", "", true), &["tftp://"]);
        assert_eq!(asked.len(), 2 + 15, "{asked:?}");
        assert!(
            line.ends_with("fetch: GET http://a/menu: 192.0.2.2: connection refused"),
            "{line}"
        );
    }

    fn base(found: Result<Found, Error>) -> String {
        match found.unwrap() {
            Found::Menu(menu) => menu.base.to_string(),
            Found::Script(script) => panic!("a script from {}", script.url),
        }
    }

    /// Looks for a menu on a server that has `files` (by URL) and answers `code` for anything else; also returns what
    /// was asked for.
    fn look(lease: &Lease, files: &[(&str, Result<&str, u16>)]) -> (Result<Found, Error>, Vec<String>) {
        let mut asked = Vec::new();
        let places = places(&Settings::default(), lease, &board());
        let menu = first(&places, &mut [0; 4096], &mut |url, into| {
            asked.push(url.to_string());
            let file = files.iter().find(|(name, _)| *name == url.to_string());
            let text = file
                .map_or(Err(404), |(_, file)| *file)
                .map_err(|code| failed(url, code))?;
            into[..text.len()].copy_from_slice(text.as_bytes());
            Ok(crate::fetch::Response {
                url: url.clone(),
                len: text.len(),
            })
        });
        (menu, asked)
    }

    #[test]
    fn absent_files_lead_to_the_next_name_until_a_menu_is_there() {
        let (menu, asked) = look(
            &dhcp("", "", "http://a/", false),
            &[
                ("http://a/pxelinux.cfg/C000025B", Err(403)),
                ("http://a/pxelinux.cfg/C0", Ok("LABEL a\nLINUX Image\n")),
            ],
        );
        assert_eq!(base(menu), "http://a/");
        assert_eq!(asked.len(), 10);
    }

    #[test]
    fn a_server_in_trouble_ends_its_place_so_that_no_more_general_menu_boots_instead() {
        let default = ("http://a/pxelinux.cfg/default", Ok("LABEL wipe\n"));
        let trouble = ("http://a/pxelinux.cfg/01-dc-a6-32-ec-fc-3c", Err(503));
        let (menu, asked) = look(&dhcp("", "", "http://a/", false), &[default, trouble]);
        assert_eq!(asked.len(), 3);
        assert_eq!(
            menu.unwrap_err().to_string(),
            format!(
                "menu: none in 3 places, from http://a/autoexec.ipxe to http://a/{}; {}",
                SEARCH_PATH[1],
                failed(&Url::parse(trouble.0).unwrap(), 503)
            )
        );
    }

    #[test]
    fn what_is_no_menu_leads_to_the_next_place() {
        let (menu, _) = look(
            &dhcp("http://a/boot.cfg", "pi.cfg", "http://b/", false),
            &[
                ("http://a/boot.cfg", Ok("<html>")),
                ("http://b/pi.cfg", Ok("LABEL a\nINCLUDE missing\nLINUX Image\n")),
            ],
        );
        assert_eq!(base(menu), "http://b/");
    }

    #[test]
    fn a_script_is_told_by_its_first_line_wherever_it_is() {
        let lease = dhcp("http://a/boot.php?mac=${mac:hexhyp}", "", "", true);
        for (name, asks) in [
            ("http://a/boot.php?mac=dc-a6-32-ec-fc-3c", 1),
            ("http://a/autoexec.ipxe", 2),
            ("http://a/pxelinux.cfg/default", 16),
            ("http://192.0.2.2/autoexec.ipxe", 17),
        ] {
            let (found, asked) = look(&lease, &[(name, Ok("#!ipxe\necho"))]);
            match found.unwrap() {
                Found::Script(script) => assert_eq!(
                    (script.url.to_string().as_str(), &*script.text),
                    (name, &b"#!ipxe\necho"[..])
                ),
                Found::Menu(_) => panic!("a menu at {name}"),
            }
            assert_eq!(asked.len(), asks, "{name}");
        }
    }

    #[test]
    fn when_nothing_is_found_the_first_real_failure_is_the_one_line() {
        let (menu, asked) = look(
            &dhcp("http://a/boot.ipxe", "", "", true),
            &[("http://a/boot.ipxe", Ok("<html>"))],
        );
        assert_eq!(asked.len(), 46);
        assert_eq!(
            menu.unwrap_err().to_string(),
            "menu: none in 46 places, from http://a/boot.ipxe to tftp://192.0.2.2/pxelinux.cfg/default; \
             http://a/boot.ipxe: expected an iPXE script or a PXELINUX menu, got an HTML page"
        );
        assert_eq!(look(&lease(), &[]).0.unwrap_err(), Error::NoSource);
        let (menu, _) = look(&dhcp("https://a/menu", "", "", false), &[]);
        assert_eq!(
            menu.unwrap_err().to_string(),
            "menu: https://a/menu: scheme not supported, only http and tftp"
        );
    }

    #[test]
    fn a_redirected_menu_names_things_relative_to_where_it_came_from() {
        let places = places(
            &Settings::default(),
            &dhcp("http://a/menu", "", "", false),
            &board(),
        );
        let menu = first(&places, &mut [0; 64], &mut |_, into| {
            into[..8].copy_from_slice(b"LABEL a\n");
            Ok(crate::fetch::Response {
                url: Url::parse("http://b/x/pxelinux.cfg/y").unwrap(),
                len: 8,
            })
        });
        assert_eq!(base(menu), "http://b/x/");
    }
}
