//! Words and names in menus, and the URLs that they stand for.

use alloc::format;

use crate::url::{self, Url};

/// The URL of a name in a menu, by PXELINUX's rules carried over to HTTP:
///
/// - `http://host/path` is itself, and without a host on the server of the menu;
/// - `::path` is `path` from the server's root;
/// - `host::path` is `path` from the root of another server;
/// - `/path` is `path` from the server's root (as in U-Boot and RFC 3986), with any number of slashes: a template whose
///   prefix is `/` writes two, which RFC 3986 would take for a host;
/// - anything else is relative to `base`.
pub(super) fn resolve(base: &Url, name: &str) -> Result<Url, url::Error> {
    let rooted = |path: &str| format!("/{}", path.trim_start_matches('/'));
    match name.split_once(':') {
        Some((scheme @ ("http" | "tftp"), rest)) if rest.starts_with("///") => {
            Url::parse(&format!("{scheme}://{}{}", base.host(), rooted(rest)))
        }
        Some(("", path)) if path.starts_with(':') => base.join(&rooted(path.trim_start_matches(':'))),
        Some((host, path)) if path.starts_with(':') && !host.contains(['/', ':']) => {
            Url::on(base.scheme(), host, &rooted(path.trim_start_matches(':')))
        }
        _ if name.starts_with("//") => base.join(&rooted(name)),
        _ => base.join(name),
    }
}

/// What the names in the menu at `url` are relative to: its directory, or, when that is a `pxelinux.cfg/`, the
/// directory above, where PXELINUX itself would be.
pub(super) fn base_of(url: &Url) -> Url {
    let in_search_path = url
        .path()
        .rsplit_once('/')
        .is_some_and(|(directory, _)| directory.ends_with("/pxelinux.cfg"));
    // A shorter URL of the same host cannot fail to parse.
    url.join(if in_search_path { "../" } else { "./" })
        .unwrap_or_else(|_| url.clone())
}

/// Whether it parts words: white space beyond ASCII does not.
pub(super) fn is_blank(c: char) -> bool {
    c <= ' ' || c == '\x7f'
}

/// The keyword of a line and what follows it.
pub(super) fn word(text: &str) -> (&str, &str) {
    let (word, rest) = padded_word(text);
    (word, rest.trim_end_matches(is_blank))
}

/// The same with the blanks at the end, which are a part of some names.
pub(super) fn padded_word(text: &str) -> (&str, &str) {
    match text.split_once(is_blank) {
        Some((word, rest)) => (word, rest.trim_start_matches(is_blank)),
        None => (text, ""),
    }
}

/// The decimal number that a text begins with, 0 without one, as C's `atoi` has it: in the menu's numbers that decide.
pub(super) fn leading(text: &str) -> i64 {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, _) = digits.split_at_checked(end).unwrap_or((digits, ""));
    let number = match digits {
        "" => 0,
        digits => digits.parse().unwrap_or(i64::MAX),
    };
    if text.starts_with('-') {
        number.saturating_neg()
    } else {
        number
    }
}

/// Keywords that start something of a PC's BIOS, or, in Syslinux, nothing; and how a person is told.
pub(super) const PC_KEYWORDS: [(&str, &str); 7] = [
    ("none", "NONE"),
    ("boot", "BOOT"),
    ("bss", "BSS"),
    ("pxe", "PXE"),
    ("fdimage", "FDIMAGE"),
    ("comboot", "COMBOOT"),
    ("multiboot", "MULTIBOOT"),
];

/// Whether a keyword says what a label runs, in Syslinux.
pub(super) fn is_command(keyword: &str) -> bool {
    ["kernel", "linux", "com32", "config", "localboot"].contains(&keyword)
        || PC_KEYWORDS.iter().any(|(name, _)| *name == keyword)
}

/// Whether `name` is a module that shows a menu: `menu.c32`, `vesamenu.c32`, with any path, in this case of letters.
pub(super) fn is_menu_file(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    ["menu.c32", "vesamenu.c32"].contains(&file)
}

/// The same where a name may do without its ending.
pub(super) fn is_menu_module(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    is_menu_file(name) || ["menu", "vesamenu"].contains(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_by_the_documented_rules() {
        let base = Url::parse("http://192.0.2.1:8080/pi/").unwrap();
        for (name, url) in [
            ("Image", "http://192.0.2.1:8080/pi/Image"),
            ("../debian/Image", "http://192.0.2.1:8080/debian/Image"),
            ("/srv/Image", "http://192.0.2.1:8080/srv/Image"),
            ("::srv/Image", "http://192.0.2.1:8080/srv/Image"),
            ("::/srv/Image", "http://192.0.2.1:8080/srv/Image"),
            ("192.0.2.7::srv/Image", "http://192.0.2.7/srv/Image"),
            (":srv/Image", "http://192.0.2.1:8080/pi/:srv/Image"),
            ("//images//k", "http://192.0.2.1:8080/images//k"),
            ("///images/k", "http://192.0.2.1:8080/images/k"),
            ("//", "http://192.0.2.1:8080/"),
            ("::///k", "http://192.0.2.1:8080/k"),
            ("192.0.2.7:://srv/Image", "http://192.0.2.7/srv/Image"),
            ("http:///k", "http://192.0.2.1/k"),
            ("tftp:////a/k", "tftp://192.0.2.1/a/k"),
            ("../../../k", "http://192.0.2.1:8080/k"),
            ("images\\k", "http://192.0.2.1:8080/pi/images%5Ck"),
            ("http://mirror.example/a?b=c::d", "http://mirror.example/a?b=c::d"),
            (
                "boot/cfg-b8:27:eb::1",
                "http://192.0.2.1:8080/pi/boot/cfg-b8:27:eb::1",
            ),
        ] {
            assert_eq!(resolve(&base, name).unwrap().to_string(), url, "{name}");
        }
        // A trailing `::` is no server, and what a scheme hides is no path.
        assert!(resolve(&base, "a b::x").is_err());
        assert!(matches!(resolve(&base, "https:///b"), Err(url::Error::Scheme(_))));
        assert!(matches!(
            resolve(&base, "https://a/b"),
            Err(url::Error::Scheme(_))
        ));
    }

    #[test]
    fn the_base_is_the_directory_or_the_parent_of_the_search_path() {
        for (menu, base) in [
            ("http://a/pi/pxelinux.cfg/01-00-11-22-33-44-55", "http://a/pi/"),
            ("http://a/pxelinux.cfg/default", "http://a/"),
            (
                "http://a/boot/extlinux/extlinux.conf?mac=1/2",
                "http://a/boot/extlinux/",
            ),
            ("http://a/menu", "http://a/"),
            ("http://a", "http://a/"),
            ("http://a/notpxelinux.cfg/default", "http://a/notpxelinux.cfg/"),
        ] {
            assert_eq!(base_of(&Url::parse(menu).unwrap()).to_string(), base, "{menu}");
        }
    }
}
