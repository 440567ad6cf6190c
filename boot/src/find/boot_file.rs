//! What the name of a DHCP boot file says: a menu, a program for other clients, or a server that wants another user class.

use alloc::string::String;
use alloc::vec::Vec;

use crate::lease::Lease;
use crate::settings::Settings;

/// Whether a boot file is a URL rather than a path on the TFTP server.
pub(super) fn is_url(name: &str) -> bool {
    name.split_once(':')
        .is_some_and(|(_, rest)| rest.starts_with("//"))
}

/// The last path component, without query and trace, in lower case.
fn file_name(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let name = path.rsplit('/').next().unwrap_or(path);
    without_trace(name).to_ascii_lowercase()
}

/// Tinkerbell may put a trace's context behind a file's name (W3C Trace Context, `traceparent`).
fn without_trace(name: &str) -> &str {
    /// `-00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
    const LENGTH: usize = 56;
    let cut = name.len().checked_sub(LENGTH);
    let Some((bare, trace)) = cut.and_then(|at| name.split_at_checked(at)) else {
        return name;
    };
    let is_hexadecimal = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths: Vec<usize> = trace.split('-').map(str::len).collect();
    match lengths == [0, 2, 32, 16, 2] && trace.split('-').all(is_hexadecimal) {
        true => bare,
        false => name,
    }
}

/// Servers that offer a program to class `iPXE` too, and keep their script for a class of their own: how the program's
/// name ends, and the class (D-103).
const CLASSES: [(&str, &str); 1] = [
    // Tinkerbell's smee (internal/dhcp/dhcp.go, 2023 to 2026): class `iPXE` gets Tinkerbell's build of iPXE, which calls
    // itself `Tinkerbell` and gets the script. Which program an architecture gets can be set: any for EFI counts.
    (".efi", "Tinkerbell"),
];

/// The user class that DHCP is to be asked with once more when nothing was found; none when the operator says what the
/// node is called, or what it boots, or when the boot file is no such program.
pub(crate) fn class_wanted(settings: &Settings, lease: &Lease) -> Option<&'static str> {
    if settings.url.is_some() || settings.user_class.is_some() {
        return None;
    }
    let name = file_name(lease.boot_file.as_deref()?);
    let (_, class) = CLASSES.iter().find(|(end, _)| name.ends_with(end))?;
    Some(class)
}

/// Whether a lease names a boot file that is no program for others.
pub(crate) fn is_for_us(lease: &Lease) -> bool {
    lease
        .boot_file
        .as_deref()
        .is_some_and(|file| !is_for_others(file))
}

/// Whether a boot file is a program that x86 or EFI clients, or the Pi's own firmware, would run (D-26).
pub(super) fn is_for_others(path: &str) -> bool {
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
pub(super) fn names_a_menu(path: &str) -> bool {
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
pub(super) mod tests {
    use smoltcp::wire::Ipv4Address;

    use super::*;
    use crate::lease::tests::lease;

    /// A lease with these, where they are not empty.
    pub(in crate::find) fn dhcp(
        boot_file: &str,
        config_file: &str,
        path_prefix: &str,
        next_server: bool,
    ) -> Lease {
        let option = |text: &str| (!text.is_empty()).then(|| text.into());
        Lease {
            boot_file: option(boot_file),
            config_file: option(config_file),
            path_prefix: option(path_prefix),
            next_server: next_server.then_some(Ipv4Address::new(192, 0, 2, 2)),
            ..lease()
        }
    }

    #[test]
    fn a_program_for_efi_makes_dhcp_be_asked_with_another_class_unless_the_operator_says_otherwise() {
        let trace = "-00-23b1e307bb35484f535a1f772c06910e-d887dc3912240434-01";
        let settings = Settings::default();
        for (file, class) in [
            ("tftp://10.0.0.1/b8:27:eb:01:02:03/snp.efi", Some("Tinkerbell")),
            (
                &*format!("tftp://10.0.0.1/snp-arm64.efi{trace}"),
                Some("Tinkerbell"),
            ),
            ("http://10.0.0.1/auto.ipxe", None),
            (&*format!("http://10.0.0.1/auto.ipxe{trace}"), None),
            ("pxelinux.0", None),
            ("", None),
        ] {
            let lease = dhcp(file, "", "", false);
            assert_eq!(class_wanted(&settings, &lease), class, "{file}");
            assert_eq!(is_for_us(&lease), file.contains("ipxe"), "{file}");
            for set in [
                Settings {
                    url: Some("http://a/".into()),
                    ..Settings::default()
                },
                Settings {
                    user_class: Some("iPXE".into()),
                    ..Settings::default()
                },
            ] {
                assert_eq!(class_wanted(&set, &lease), None);
            }
        }
        assert_eq!(
            file_name(&format!("a{}", trace.replace('b', "x"))),
            format!("a{}", trace.replace('b', "x"))
        );
    }
}
