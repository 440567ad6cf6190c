//! The places where a text can be, in order: `bramble.url`, DHCP's boot file, options 209 and 210 (RFC 5071), `autoexec.ipxe`,
//! the PXELINUX search path.
//!
//! Syslinux `doc/pxelinux.txt` gives the search path. A path in DHCP is looked for over HTTP, from the root of the server,
//! and then over TFTP: whoever has a web server beside the TFTP server gets its speed without a change of DHCP.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use super::boot_file::{is_for_others, is_url, names_a_menu};
use crate::hal::Board;
use crate::lease::{Lease, Uuid, hardware_address};
use crate::script;
use crate::settings::Settings;
use crate::url::{self, Scheme, Url};

/// The reason to ask this server by this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A URL says so.
    Url,
    /// DHCP gave a path: it may be on the web server of that host, port 80.
    Guess,
    /// DHCP gave a path: it is on the TFTP server of that host, which has the last word.
    Tftp,
}

/// One source of menus: names that are tried in order until one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The setting or DHCP option that named it.
    pub source: &'static str,
    /// The URLs to try, in order.
    pub urls: Vec<Result<Url, url::Error>>,
    /// The base of names in the menu, if it is not the menu's own place.
    pub base: Option<Url>,
    /// The reason to ask its server.
    pub by: By,
    /// Whether a setting or DHCP names the file itself; else its names are those that a search asks for.
    pub named: bool,
}

/// A URL and how its server is known.
type Located = (Result<Url, url::Error>, By);

impl Place {
    fn one(source: &'static str, (url, by): Located) -> Self {
        Self {
            source,
            urls: vec![url],
            base: None,
            by,
            named: true,
        }
    }

    /// `autoexec.ipxe` in `directory`, as iPXE looks for it, then the PXELINUX search path below.
    fn search(source: &'static str, directory: &Url, by: By, lease: &Lease, board: &Board<'_>) -> Self {
        let names = search_path(lease, board);
        let names = ["autoexec.ipxe"]
            .into_iter()
            .chain(names.iter().map(String::as_str));
        Self {
            source,
            urls: names.map(|name| directory.join(name)).collect(),
            base: None,
            by,
            named: false,
        }
    }
}

/// Every place worth asking, in order: a function of what is known about the node, but for a log line.
///
/// `bramble.url`, when set, is the only one: it holds whatever DHCP says. A URL that ends in `/` is a directory with a
/// search path. Boot files that are programs for other clients are not fetched, but their directory is searched.
pub(super) fn places(settings: &Settings, lease: &Lease, board: &Board<'_>) -> Vec<Place> {
    if let Some(setting) = &settings.url {
        let url = Url::parse(&script::expand(setting, board, settings, lease));
        return vec![of_setting(url, lease, board)];
    }
    let roots = server_roots(lease);
    // Servers for iPXE write `${mac}` and the like.
    let boot_file = lease.boot_file.as_deref().unwrap_or_default();
    let boot_file = &*script::expand(boot_file, board, settings, lease);
    let boot_urls = if boot_file.is_empty() {
        Vec::new()
    } else {
        on_server(boot_file, &roots)
    };
    let prefixes = prefixes(lease, &roots);
    let mut places = of_boot_file(boot_file, &boot_urls);
    let directories: Vec<Located> = boot_urls
        .into_iter()
        .map(|(url, by)| (url.and_then(|url| url.join("./")), by))
        .collect();
    if let Some(name) = &lease.config_file {
        let bases = if prefixes.is_empty() {
            &directories
        } else {
            &prefixes
        };
        places.extend(of_config_file(name, bases, &roots));
    }
    let directories = [
        ("option 210", prefixes),
        ("search path", directories),
        ("search path", roots),
    ];
    add_searches(&mut places, directories, lease, board);
    places
}

/// The place that `bramble.url` names.
fn of_setting(url: Result<Url, url::Error>, lease: &Lease, board: &Board<'_>) -> Place {
    match url {
        Ok(url) if url.target().ends_with('/') => Place::search("bramble.url", &url, By::Url, lease, board),
        url => Place::one("bramble.url", (url, By::Url)),
    }
}

/// The place of a text that the firmware handed over under this name: what it names relatively is on the web server of the host that DHCP
/// names, at its root.
pub(super) fn of_handed_over(name: &str, lease: &Lease) -> Place {
    let roots = server_roots(lease).into_iter().next();
    let root = roots.map_or_else(
        || Url::on(Scheme::Http, lease.server.to_string(), "/"),
        |(url, _)| url,
    );
    Place::one("initramfs", (root.and_then(|root| root.join(name)), By::Url))
}

/// The places of a boot file that may be a menu or a script.
fn of_boot_file(boot_file: &str, urls: &[Located]) -> Vec<Place> {
    if urls.is_empty() {
        return Vec::new();
    }
    if is_for_others(boot_file) {
        info!(
            "menu: boot file {} is for other clients, only its directory counts",
            boot_file
        );
        return Vec::new();
    }
    if !names_a_menu(boot_file) && (!is_url(boot_file) || boot_file.ends_with('/')) {
        return Vec::new();
    }
    let urls = urls.iter().cloned();
    urls.map(|url| Place::one("boot file", url)).collect()
}

/// The places of option 209, a file below one of `bases`.
fn of_config_file(name: &str, bases: &[Located], roots: &[Located]) -> Vec<Place> {
    let bases = bases
        .iter()
        .filter_map(|(url, by)| Some((url.as_ref().ok()?, *by)));
    let based: Vec<Place> = bases
        .map(|(base, by)| Place {
            base: Some(base.clone()),
            ..Place::one("option 209", (base.join(name), by))
        })
        .collect();
    // A full URL says itself where it is.
    if is_url(name) || based.is_empty() {
        let unbased = on_server(name, roots).into_iter();
        return unbased.map(|url| Place::one("option 209", url)).collect();
    }
    based
}

/// Adds a search of each directory, once, behind the files that DHCP names.
fn add_searches(
    places: &mut Vec<Place>,
    directories: [(&'static str, Vec<Located>); 3],
    lease: &Lease,
    board: &Board<'_>,
) {
    let mut searched: Vec<Url> = Vec::new();
    for (source, (directory, by)) in directories
        .into_iter()
        .flat_map(|(source, urls)| urls.into_iter().map(move |url| (source, url)))
    {
        match directory {
            Ok(directory) if !searched.contains(&directory) => {
                places.push(Place::search(source, &directory, by, lease, board));
                searched.push(directory);
            }
            // An unusable URL is worth a line of its own only where nothing else was made of it.
            Err(e) if places.iter().all(|place| !place.urls.contains(&Err(e.clone()))) => {
                places.push(Place {
                    // The directory of a program for other clients does not count as a named place; a prefix does.
                    named: source == "option 210",
                    ..Place::one(source, (Err(e), by))
                });
            }
            _ => {}
        }
    }
}

/// The directories of option 210.
fn prefixes(lease: &Lease, roots: &[Located]) -> Vec<Located> {
    let prefixes = lease.path_prefix.as_deref().map(|prefix| {
        let slash = if prefix.ends_with('/') { "" } else { "/" };
        on_server(&format!("{prefix}{slash}"), roots)
    });
    prefixes.unwrap_or_default()
}

/// The URLs that a name in DHCP may mean; none for a path when DHCP names no server at all.
fn on_server(name: &str, roots: &[Located]) -> Vec<Located> {
    if is_url(name) {
        return vec![(Url::parse(name), By::Url)];
    }
    let urls = roots.iter().map(|(root, by)| match root {
        Ok(root) => (root.join(name), *by),
        Err(e) => (Err(e.clone()), *by),
    });
    urls.collect()
}

/// Whether a setting or DHCP says what to boot, be it for this node or another; a server alone is no word about that.
pub(super) fn is_named(settings: &Settings, lease: &Lease) -> bool {
    let said = [
        &settings.url,
        &lease.boot_file,
        &lease.config_file,
        &lease.path_prefix,
    ];
    said.into_iter().any(Option::is_some)
}

/// The roots of the server that DHCP names for TFTP, as HTTP and as TFTP; none when it names neither server nor file (D-25).
fn server_roots(lease: &Lease) -> Vec<Located> {
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
        Ok(root) => vec![
            (Ok(root), By::Guess),
            (Url::on(Scheme::Tftp, &host, "/"), By::Tftp),
        ],
        error => vec![(error, By::Tftp)],
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

#[cfg(test)]
mod tests {
    use super::super::boot_file::tests::dhcp;
    use super::*;
    use crate::hal::tests::board;
    use crate::lease::tests::lease;

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

    /// The places as lines: each single URL with its base, and `dir*` for a whole search path.
    fn lines(settings: &Settings, lease: &Lease) -> Vec<String> {
        let places = places(settings, lease, &board());
        let line = |place: &Place| match place.urls.as_slice() {
            [Ok(url)] => match &place.base {
                Some(base) => format!("{url} in {base}"),
                None => url.to_string(),
            },
            [Err(e)] => format!("error {e}"),
            urls => {
                let directory = urls[0].as_ref().unwrap().join("./").unwrap();
                let names = ["autoexec.ipxe"].iter().chain(&SEARCH_PATH);
                let expected: Vec<_> = names.map(|name| directory.join(name)).collect();
                assert_eq!(urls, expected);
                assert!(!place.named);
                format!("{directory}*")
            }
        };
        places.iter().map(line).collect()
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
}
