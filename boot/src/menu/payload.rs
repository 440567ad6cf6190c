//! From an entry to what it boots: names become URLs, `${…}` becomes what U-Boot would know, SYSAPPEND becomes words.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use smoltcp::wire::Ipv4Address;

use super::bounds::MAX_FILES;
use super::error::{Error, Unsupported};
use super::initrds;
use super::model::{Action, Boot, Load, Menu, Pick};
use super::names::resolve;
use super::trees;
use crate::board::kind;
use crate::hal::{Board, Mac};
use crate::lease::{Lease, Uuid, hardware_address};
use crate::plan::{DeviceTree, File, Plan};
use crate::text::shortened;

/// What `pick` boots.
pub(super) fn payload(
    menu: &Menu,
    pick: &Pick,
    boot: &Boot,
    lease: &Lease,
    board: &Board<'_>,
) -> Result<Plan, Error> {
    let edited = pick.line.as_deref().map(|line| boot.edited(line));
    let boot = edited.as_ref().unwrap_or(boot);
    let shown = || menu.shown(pick);
    let known = |text: &str| match expand(text, lease, board) {
        Expanded {
            missing: Some(name), ..
        } => Err(Error::Variable(shown(), name)),
        Expanded { text, .. } => Ok(text),
    };
    let file = |name: &str| {
        let url = resolve(&menu.base, &known(name)?);
        url.map(File::from).map_err(|e| Error::Reference(shown(), e))
    };
    let (_, initrd_words) = initrds::of_initrd(boot);
    let mut command_line = String::new();
    let facts = system_arguments(boot.sysappend, lease, board);
    for part in [
        &line(&boot.arguments, lease, board),
        &*line(&boot.append, lease, board),
        &*line(initrd_words, lease, board),
        &*facts,
        &*pick.arguments,
    ] {
        let space = if command_line.is_empty() || part.is_empty() {
            ""
        } else {
            " "
        };
        command_line.push_str(space);
        command_line.push_str(part);
    }
    let initrds = initrds::names(boot, &pick.arguments);
    let overlays = boot
        .overlays
        .split([' ', '\t', ','])
        .filter(|name| !name.is_empty());
    if initrds
        .clone()
        .nth(MAX_FILES)
        .or(overlays.clone().nth(MAX_FILES))
        .is_some()
    {
        return Err(Error::TooManyFiles(shown()));
    }
    let (kernel, configuration) = match boot.kernel.split_once('#') {
        Some((file, configuration)) => (file, Some(known(configuration)?)),
        None => (&*boot.kernel, None),
    };
    // `-` is U-Boot's word for the tree that is already there.
    let device_tree = match (boot.device_tree.as_deref(), &boot.device_trees) {
        (Some("-"), _) | (None, None) => DeviceTree::Firmware,
        (Some(name), _) => DeviceTree::Served(file(name)?),
        (None, Some(directory)) => {
            let directory = directory.trim_end_matches('/');
            let names = trees::candidates(board.revision);
            if names.is_empty() {
                warn!(
                    "menu: no device tree is known for revision {}; taking the firmware's",
                    format_args!("{:#x}", board.revision)
                );
            }
            let files: Result<Vec<File>, Error> = names
                .iter()
                .map(|name| file(&format!("{directory}/{name}")))
                .collect();
            match files? {
                files if files.is_empty() => DeviceTree::Firmware,
                files => DeviceTree::FirstOf(files),
            }
        }
    };
    Ok(Plan {
        kernel: file(kernel)?,
        configuration,
        initrds: initrds.map(file).collect::<Result<_, _>>()?,
        device_tree,
        overlays: overlays.map(file).collect::<Result<_, _>>()?,
        command_line,
    })
}

/// A text with U-Boot's variables in it replaced.
struct Expanded {
    text: String,
    /// The first name that stayed as it was written, or that is nothing here.
    missing: Option<String>,
}

/// A command line with U-Boot's variables replaced. What U-Boot does not know belongs to the system that boots.
fn line(text: &str, lease: &Lease, board: &Board<'_>) -> String {
    let Expanded { text, missing } = expand(text, lease, board);
    if let Some(name) = missing {
        let is_known = variable(&name, lease, board).is_some();
        let now = if is_known {
            "is not set: empty"
        } else {
            "is none of U-Boot's: left as it is"
        };
        info!("menu: ${{{}}} {}", name, now);
    }
    text
}

/// `text` with every `${name}` and `$(name)` that U-Boot's environment holds on a Pi replaced by its value, which is empty
/// when the network did not say it. All else stays as it is written, but for the backslash of `\${name}`, which only says
/// that this stays. `$$` begins no name.
fn expand(text: &str, lease: &Lease, board: &Board<'_>) -> Expanded {
    let mut out = String::new();
    let mut missing = None;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        let end = match after.chars().next() {
            Some('{') => '}',
            Some('(') => ')',
            next => {
                // With what follows, as in U-Boot: a second dollar is none that begins a name.
                let taken = before
                    .len()
                    .saturating_add(1)
                    .saturating_add(next.map_or(0, char::len_utf8));
                let (taken, behind) = rest.split_at_checked(taken).unwrap_or((rest, ""));
                out.push_str(taken);
                rest = behind;
                continue;
            }
        };
        let name = after.get(1..).and_then(|after| after.split_once(end));
        let Some((name, behind)) = name else {
            break;
        };
        let written = rest
            .len()
            .saturating_sub(before.len())
            .saturating_sub(behind.len());
        let written = rest
            .get(before.len()..)
            .and_then(|from| from.get(..written))
            .unwrap_or_default();
        rest = behind;
        if let Some(before) = before.strip_suffix('\\') {
            out.push_str(before);
            out.push_str(written);
            continue;
        }
        out.push_str(before);
        let value = variable(name, lease, board);
        if value.as_ref().is_none_or(Option::is_none) {
            missing.get_or_insert_with(|| shortened(name));
        }
        match value {
            Some(value) => out.push_str(&value.unwrap_or_default()),
            None => out.push_str(written),
        }
    }
    out.push_str(rest);
    Expanded { text: out, missing }
}

/// The value of a variable that U-Boot sets on a Pi, when it has one; none when it sets no such variable (D-99).
fn variable(name: &str, lease: &Lease, board: &Board<'_>) -> Option<Option<String>> {
    let address = |address: Option<Ipv4Address>| address.map(|address| address.to_string());
    Some(match name {
        "ethaddr" => Some(Mac(board.mac).to_string()),
        "ipaddr" => address(Some(lease.address.address())),
        "netmask" => address(Some(lease.address.netmask())),
        "serverip" => address(Some(lease.next_server.unwrap_or(lease.server))),
        "gatewayip" => address(lease.router),
        "dnsip" => address(lease.dns.first().copied()),
        "dnsip2" => address(lease.dns.get(1).copied()),
        "hostname" => lease.hostname.clone(),
        "domain" => lease.domain.clone(),
        "rootpath" => lease.root_path.clone(),
        "bootfile" => lease.boot_file.clone(),
        "serial#" => Some(format!("{:016x}", board.serial)),
        "pxeuuid" => Some(Uuid::of(board).to_string()),
        "board" => Some("rpi".into()),
        "board_name" => Some(board.model.trim_start_matches("Raspberry Pi ").into()),
        "board_rev" => Some(format!("{:#x}", kind(board.revision))),
        "board_revision" => Some(format!("{:#X}", board.revision)),
        "soc" => Some("bcm283x".into()),
        "vendor" => Some("raspberrypi".into()),
        "arch" => Some("arm".into()),
        "cpu" => Some("armv8".into()),
        "fdtfile" => trees::candidates(board.revision).into_iter().next(),
        _ => return None,
    })
}

/// The arguments that SYSAPPEND asks for, in the order of its bits. Bits for facts that a Pi does not have are ignored.
fn system_arguments(bits: u32, lease: &Lease, board: &Board<'_>) -> String {
    let mut arguments = String::new();
    let mut add = |bit: u32, argument: fmt::Arguments<'_>| {
        if bits & bit != 0 {
            let space = if arguments.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(arguments, "{space}{argument}");
        }
    };
    let server = lease.next_server.unwrap_or(lease.server);
    let router = lease.router.map(|router| router.to_string()).unwrap_or_default();
    add(
        0x1,
        format_args!(
            "ip={}:{server}:{router}:{}",
            lease.address.address(),
            lease.address.netmask()
        ),
    );
    add(0x2, format_args!("BOOTIF={}", hardware_address(board)));
    add(0x4, format_args!("SYSUUID={}", Uuid::of(board)));
    add(0x10, format_args!("SYSVENDOR=Raspberry_Pi"));
    let graphic = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let product: String = board.model.chars().map(graphic).collect();
    let serial = format_args!("{:016x}", board.serial);
    add(0x20, format_args!("SYSPRODUCT={product}"));
    add(0x80, format_args!("SYSSERIAL={serial}"));
    // The board is the system.
    add(0x400, format_args!("MBVENDOR=Raspberry_Pi"));
    add(0x800, format_args!("MBPRODUCT={product}"));
    add(0x2000, format_args!("MBSERIAL={serial}"));
    add(0x4000, format_args!("MBASSET={:06x}", board.revision));
    add(0x8000, format_args!("BIOSVENDOR=Bramble"));
    add(
        0x1_0000,
        format_args!("BIOSVERSION={}", env!("CARGO_PKG_VERSION")),
    );
    arguments
}

/// Where a pick leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// To something that boots.
    Boot(Box<Plan>),
    /// To another menu.
    Menu(Load),
}

impl Menu {
    /// Where a pick leads.
    pub fn leads(&self, pick: &Pick, lease: &Lease, board: &Board<'_>) -> Result<Next, Error> {
        let entry = self.entries.get(pick.entry);
        match entry.map(|entry| &entry.action) {
            Some(Action::Boot(boot)) => {
                payload(self, pick, boot, lease, board).map(|payload| Next::Boot(Box::new(payload)))
            }
            Some(Action::Load(load)) => Ok(Next::Menu(load.with(&pick.arguments))),
            Some(Action::Local(_)) => Err(Error::Unsupported(self.shown(pick), Unsupported::LocalBoot)),
            Some(Action::Unsupported(why)) => Err(Error::Unsupported(self.shown(pick), why.clone())),
            Some(Action::Quit) => Err(Error::Left),
            // A person sees pages and texts on the screen; scripts ask elsewhere.
            Some(Action::Page(_) | Action::Text(_) | Action::Answer | Action::Gap) | None => {
                Err(Error::Unsupported(self.shown(pick), Unsupported::Nothing))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Behaviour, Entry};
    use super::super::names::base_of;
    use super::*;
    use crate::hal::tests::board;
    use crate::lease::tests::lease;
    use crate::url::Url;

    fn boot() -> Boot {
        Boot::of("Image")
    }

    fn payload_of(boot: Boot, arguments: &str) -> Result<Plan, Error> {
        let url = Url::parse("http://192.0.2.1/pi/pxelinux.cfg/default").unwrap();
        let base = base_of(&url);
        let entry = Entry::new("a\x07b", Action::Boot(boot));
        let menu = Menu {
            base,
            ..Menu::flat(url, None, vec![entry], Behaviour::Syslinux)
        };
        let pick = Pick {
            entry: 0,
            arguments: arguments.into(),
            line: None,
        };
        match menu.leads(&pick, &lease(), &board())? {
            Next::Boot(payload) => Ok(*payload),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_payload_is_the_command_line_in_syslinux_order_and_resolved_names() {
        let payload = payload_of(
            Boot {
                arguments: "ro".into(),
                append: "root=/dev/nfs quiet".into(),
                initrds: "ucode.img,../initrd.gz".into(),
                device_tree: Some("/dtb/pi.dtb".into()),
                sysappend: 3,
                ..boot()
            },
            "single",
        )
        .unwrap();
        assert_eq!(payload.kernel.url.to_string(), "http://192.0.2.1/pi/Image");
        let initrds: Vec<_> = payload.initrds.iter().map(|file| file.url.to_string()).collect();
        assert_eq!(
            initrds,
            ["http://192.0.2.1/pi/ucode.img", "http://192.0.2.1/initrd.gz"]
        );
        let tree = Url::parse("http://192.0.2.1/dtb/pi.dtb").unwrap();
        assert_eq!(payload.device_tree, DeviceTree::Served(tree.into()));
        assert_eq!(
            payload.command_line,
            "ro root=/dev/nfs quiet ip=192.0.2.91:192.0.2.1:192.0.2.254:255.255.255.0 \
             BOOTIF=01-dc-a6-32-ec-fc-3c single"
        );
    }

    #[test]
    fn initrds_come_from_the_labels_arguments_then_initrd_then_append_and_the_line_keeps_them_all() {
        let initrds = |append: &str, initrd: &str, arguments: &str| {
            let boot = Boot {
                append: append.into(),
                initrds: initrd.into(),
                ..boot()
            };
            let payload = payload_of(boot, arguments).unwrap();
            assert_eq!(payload.command_line, format!("{append} {arguments}").trim());
            let names: Vec<_> = payload
                .initrds
                .iter()
                .map(|file| file.url.target().strip_prefix("/pi/").unwrap().to_owned())
                .collect();
            names.join(" ")
        };
        assert_eq!(
            initrds("initrd=old.img quiet initrd=a.img,,b.img", "", ""),
            "a.img b.img"
        );
        // Syslinux makes INITRD the `initrd=` behind APPEND's, and Linux's loaders take the last.
        assert_eq!(initrds("initrd=a.img", "c.img,d.img", ""), "c.img d.img");
        assert_eq!(initrds("initrd=a.img", "c.img", "initrd=e.img single"), "e.img");
        assert_eq!(initrds("quiet", "", ""), "");
    }

    #[test]
    fn an_entry_that_cannot_boot_says_why_in_one_printable_line() {
        let many = Boot {
            initrds: "a,".repeat(MAX_FILES + 1),
            ..boot()
        };
        let https = Boot {
            kernel: "https://a/Image".into(),
            ..boot()
        };
        for (boot, line) in [
            (
                many,
                "menu: cannot boot \"a?b\": more than 32 initial ramdisks or overlays",
            ),
            (
                https,
                "menu: cannot boot \"a?b\": https://a/Image: scheme not supported, only http and tftp",
            ),
        ] {
            assert_eq!(payload_of(boot, "").unwrap_err().to_string(), line);
        }
        let unsupported = |why| Error::Unsupported("x".into(), why).to_string();
        assert_eq!(
            unsupported(Unsupported::PcProgram("chain.c32\x1b[2J".into())),
            "menu: cannot boot \"x\": chain.c32?[2J is a program for x86 PCs"
        );
        assert_eq!(
            unsupported(Unsupported::LocalBoot),
            "menu: cannot boot \"x\": it means the board's own disk, and bramble.local does not say how that boots"
        );
    }

    #[test]
    fn sysappend_knows_the_facts_of_a_pi_in_the_order_of_the_bits() {
        assert_eq!(system_arguments(0, &lease(), &board()), "");
        assert_eq!(
            system_arguments(0xffff_fffc, &lease(), &board()),
            "SYSUUID=52506934-3031-c000-32ec-fc3cda06ffe0 SYSVENDOR=Raspberry_Pi \
             SYSPRODUCT=Raspberry_Pi_4_Model_B SYSSERIAL=10000000e0ff06da \
             MBVENDOR=Raspberry_Pi MBPRODUCT=Raspberry_Pi_4_Model_B MBSERIAL=10000000e0ff06da \
             MBASSET=c03130 BIOSVENDOR=Bramble BIOSVERSION=0.1.0"
        );
        let bare = Lease {
            router: None,
            next_server: Some(Ipv4Address::new(192, 0, 2, 2)),
            ..lease()
        };
        assert_eq!(
            system_arguments(1, &bare, &board()),
            "ip=192.0.2.91:192.0.2.2::255.255.255.0"
        );
    }

    #[test]
    fn variables_of_u_boot_are_what_it_would_know_of_a_pi() {
        let lease = Lease {
            hostname: Some("node7".into()),
            ..lease()
        };
        let expand = |text| expand(text, &lease, &board()).text;
        for (text, expected) in [
            ("quiet", "quiet"),
            ("a=${ethaddr} b", "a=dc:a6:32:ec:fc:3c b"),
            (
                "$(ipaddr):${serverip}:${gatewayip}:${netmask}",
                "192.0.2.91:192.0.2.1:192.0.2.254:255.255.255.0",
            ),
            ("${hostname}-${serial#}", "node7-10000000e0ff06da"),
            ("${board} ${soc} ${arch}", "rpi bcm283x arm"),
            ("${fdtfile}", "broadcom/bcm2711-rpi-400.dtb"),
            ("a=${rootpath}b", "a=b"),
            (
                "c?mac=${mac}&u=${uuid}&s=${serial}",
                "c?mac=${mac}&u=${uuid}&s=${serial}",
            ),
            ("http://$(pxeserver)/${}$()", "http://$(pxeserver)/${}$()"),
            (
                "${a} \\${ethaddr} \\$(x) $x \\$6\\$y ${",
                "${a} ${ethaddr} $(x) $x \\$6\\$y ${",
            ),
            (
                "$${ethaddr} $$$(arch) $\u{e9}${arch} $",
                "$${ethaddr} $$arm $\u{e9}arm $",
            ),
            ("${a${arch}} ${arch)} ${arch", "${a${arch}} ${arch)} ${arch"),
            ("${ARCH} ${arch }", "${ARCH} ${arch }"),
            ("${", "${"),
            ("", ""),
        ] {
            assert_eq!(expand(text), expected, "{text}");
        }
    }

    #[test]
    fn a_name_with_a_variable_that_is_nothing_here_is_an_error_that_tells_it() {
        for (kernel, append, initrds, missing) in [
            ("nodes/${mac}/Image", "", "", "mac"),
            ("Image", "", "a.img,$(kernel_addr_r).img", "kernel_addr_r"),
            ("Image", "initrd=${hostname}.img", "", "hostname"),
            ("fit.itb#${x\x07}", "", "", "x?"),
        ] {
            let boot = Boot {
                kernel: kernel.into(),
                append: append.into(),
                initrds: initrds.into(),
                ..boot()
            };
            assert_eq!(
                payload_of(boot, "").unwrap_err().to_string(),
                format!(
                    "menu: cannot boot \"a?b\": ${{{missing}}} in a file's name is not known here, or not set"
                )
            );
        }
        let of_the_system = Boot {
            append: "initrd=${ethaddr}.img a=${mac} b=${hostname}c".into(),
            ..boot()
        };
        let payload = payload_of(of_the_system, "").unwrap();
        assert_eq!(payload.initrds[0].url.target(), "/pi/dc:a6:32:ec:fc:3c.img");
        assert_eq!(payload.command_line, "initrd=dc:a6:32:ec:fc:3c.img a=${mac} b=c");
    }

    #[test]
    fn words_behind_initrd_are_kernel_arguments_behind_append() {
        let boot = Boot {
            arguments: "ro".into(),
            append: "quiet".into(),
            initrds: "a.img,b.img splash=verbose mac=${ethaddr}".into(),
            sysappend: 2,
            ..boot()
        };
        assert_eq!(
            boot.line(""),
            "Image ro quiet initrd=a.img,b.img splash=verbose mac=${ethaddr}"
        );
        let payload = payload_of(boot, "single").unwrap();
        assert_eq!(
            payload.command_line,
            "ro quiet splash=verbose mac=dc:a6:32:ec:fc:3c BOOTIF=01-dc-a6-32-ec-fc-3c single"
        );
        assert_eq!(payload.initrds.len(), 2);
    }

    #[test]
    fn a_fit_image_and_its_configuration_overlays_and_trees_for_many_boards() {
        let payload = payload_of(
            Boot {
                device_trees: Some("dtbs/6.1/".into()),
                overlays: "a.dtbo ../b.dtbo,/c.dtbo".into(),
                ..Boot::of("fit-${board}.itb#conf-1#extra")
            },
            "",
        )
        .unwrap();
        assert_eq!(payload.kernel.url.to_string(), "http://192.0.2.1/pi/fit-rpi.itb");
        assert_eq!(payload.configuration.as_deref(), Some("conf-1#extra"));
        let overlays: Vec<_> = payload.overlays.iter().map(|file| file.url.target()).collect();
        assert_eq!(overlays, ["/pi/a.dtbo", "/b.dtbo", "/c.dtbo"]);
        let DeviceTree::FirstOf(trees) = payload.device_tree else {
            panic!("{:?}", payload.device_tree)
        };
        let trees: Vec<_> = trees.iter().map(|file| file.url.target()).collect();
        assert_eq!(
            trees,
            [
                "/pi/dtbs/6.1/broadcom/bcm2711-rpi-400.dtb",
                "/pi/dtbs/6.1/bcm2711-rpi-400.dtb"
            ]
        );
        let own = Boot {
            device_tree: Some("-".into()),
            device_trees: Some("dtbs".into()),
            ..boot()
        };
        assert_eq!(payload_of(own, "").unwrap().device_tree, DeviceTree::Firmware);
    }
}
