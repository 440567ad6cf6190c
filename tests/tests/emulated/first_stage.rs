//! The stage before us, played by the harness against the real servers: from an empty slot, a card or a boot.img to Debian's
//! user space. The configurations are those of the user's guide.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::Result;
use qemu::firmware::order::{PI3_TRACE_ROOT, PI4_TRACE};
use qemu::{Board, Cable, Firmware, Left, Net, Stage};

use crate::debian::{Expected, reaches_user_space};
use crate::lan::{Lan, TAP};
use crate::recipes::recipe_of;
use crate::{RELEASE, Scratch, debian, machine};

const PAGE: &str = include_str!("../../../docs/src/first-stage.md");

/// A block of code of the page, with the TFTP root where this test has it.
fn recipe(heading: &str, n: usize, root: &Path) -> String {
    recipe_of(PAGE, heading, n).replace("/srv/tftp", &root.display().to_string())
}

/// A second node.
fn other() -> Firmware {
    Firmware {
        serial: 0x1000_0000_0c0f_fee1,
        mac: [0xb8, 0x27, 0xeb, 0x0f, 0xfe, 0xe1],
        ..Firmware::default()
    }
}

/// A node's directory.
fn serial(firmware: &Firmware) -> String {
    format!("{:08x}", firmware.serial & 0xffff_ffff)
}

/// What to copy for `board`, as the guide says; the Pi's own programs, which are not ours to have, are stood in for.
fn copied(board: Board) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        (
            "config.txt".to_owned(),
            recipe_of(PAGE, "What to copy", 0).into_bytes(),
        ),
        (
            "cmdline.txt".to_owned(),
            recipe_of(PAGE, "What to copy", 1).into_bytes(),
        ),
        (
            "kernel8.img".to_owned(),
            fs::read(qemu::image(RELEASE).unwrap()).unwrap(),
        ),
        (
            board.firmware_tree().to_owned(),
            debian().unwrap().device_tree(board).unwrap(),
        ),
    ];
    let programs: &[&str] = if board == Board::Pi4b {
        &["start4.elf", "fixup4.dat"]
    } else {
        &["bootcode.bin", "start.elf", "fixup.dat"]
    };
    files.extend(programs.iter().map(|name| ((*name).to_owned(), vec![b'-'; 2000])));
    files
}

fn write(root: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// The command line of Debian in these tests, on the mini-UART, where the firmware leaves the console.
const CMDLINE: &str = "console=ttyS1,115200 quiet retain_initrd";

/// A menu for one node, its kernel and its initrd, in the same root.
fn furnish(root: &Path, board: Board, firmware: &Firmware) {
    let payload = debian().unwrap();
    let mac = firmware.mac_text().replace(':', "-");
    let initrd = format!("initrd-{}", board.name());
    let menu =
        format!("DEFAULT debian\nLABEL debian\n  LINUX vmlinuz\n  INITRD {initrd}\n  APPEND {CMDLINE}\n");
    let kernel = fs::read(payload.kernel()).unwrap();
    let files = [
        (format!("pxelinux.cfg/01-{mac}"), menu.into_bytes()),
        ("vmlinuz".to_owned(), kernel),
        (initrd, payload.initrd(board).unwrap()),
    ];
    write(root, &files);
}

/// What Debian has to find.
fn expected(left: &Left, board: Board) -> Expected {
    Expected {
        firmware: left.firmware.clone(),
        cmdline: CMDLINE.to_owned(),
        initrd: debian().unwrap().initrd(board).unwrap(),
        ethernet: true,
        asked: vec![],
    }
}

/// What the test needs: the boards, Debian, servers and a LAN.
fn lan_for(boards: &[Board], servers: &[&str]) -> Result<Lan> {
    for board in boards {
        machine(*board, RELEASE)?;
    }
    debian()?;
    for server in servers {
        Lan::needs(server)?;
    }
    Lan::new()
}

/// Boots a node of the LAN from its network up to Debian's user space.
fn boots(lan: &Lan, tap: &str, board: Board, firmware: Firmware) -> Left {
    let stage = Stage::new(board, firmware);
    let left = stage.from_network(Cable::plug(&lan.name, tap).unwrap()).unwrap();
    assert_eq!(left.said, [""; 0]);
    let files = Scratch::directory("left");
    let machine = left
        .machine(&files.0)
        .unwrap()
        .namespace(&lan.name)
        .net(Net::tap(tap));
    reaches_user_space(machine, &expected(&left, board));
    left
}

/// A recorded trace without what these nodes do not have.
fn trace(recorded: &str, firmware: &Firmware, without: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = recorded
        .split_whitespace()
        .map(|name| name.replace("SERIAL", &serial(firmware)))
        .filter(|name| !without.iter().any(|gone| name.contains(gone)))
        .collect();
    // What is not there is looked for once.
    names.dedup_by(|second, first| second == first && first.contains("overlay_map"));
    names
}

/// Two nodes at once, of both generations, with no card in either: the Pi 4 from a directory of its own, the Pi 3 from the root.
#[test]
fn a_pi_4_and_a_pi_3_boot_at_once_from_one_dnsmasq() {
    let mut lan = require!(lan_for(&[Board::Pi4b, Board::Pi3b], &[]));
    let second = lan.another_tap().unwrap();
    let root = lan.directory.join("tftp");
    let (pi4, pi3) = (Firmware::default(), other());
    write(&root.join(serial(&pi4)), &copied(Board::Pi4b));
    write(&root, &copied(Board::Pi3b));
    furnish(&root, Board::Pi4b, &pi4);
    furnish(&root, Board::Pi3b, &pi3);
    lan.dnsmasq_with(&recipe("No card: one dnsmasq for both stages", 0, &root));
    let (lan, pi4, pi3) = (&lan, &pi4, &pi3);
    thread::scope(|scope| {
        scope.spawn(|| {
            let left = boots(lan, TAP, Board::Pi4b, pi4.clone());
            assert_eq!(left.asked, trace(PI4_TRACE, pi4, &["initramfs8", "OVERLAY"]));
        });
        scope.spawn(|| {
            let left = boots(lan, &second, Board::Pi3b, pi3.clone());
            assert_eq!(left.asked, trace(PI3_TRACE_ROOT, pi3, &["OVERLAY"]));
        });
    });
}

/// The tftpd-hpa of the guide, in the namespace.
fn tftpd(lan: &mut Lan, root: &Path) {
    let words = recipe("Kea and tftpd-hpa", 1, root);
    let mut arguments: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    // Not to the background, and as who may read this directory.
    arguments.insert(0, "--foreground".to_owned());
    arguments.insert(0, "--user=root".to_owned());
    lan.start("in.tftpd", &arguments, "");
}

#[test]
fn a_pi_4_boots_from_kea_and_tftpd_hpa_and_so_would_each_pi_3() {
    let board = Board::Pi4b;
    let mut lan = require!(lan_for(&[board], &["kea-dhcp4", "in.tftpd"]));
    let root = lan.directory.join("tftp");
    for board in [Board::Pi3b, Board::Pi3bPlus, board] {
        write(&root, &copied(board));
    }
    furnish(&root, board, &Firmware::default());
    let file = lan.directory.join("kea.json");
    fs::write(&file, recipe("Kea and tftpd-hpa", 0, &root)).unwrap();
    lan.start(
        "kea-dhcp4",
        &["-c".into(), file.display().to_string()],
        "DHCP4_STARTED",
    );
    tftpd(&mut lan, &root);
    let kernel = fs::read(qemu::image(RELEASE).unwrap()).unwrap();
    for board in [Board::Pi3b, Board::Pi3bPlus] {
        let stage = Stage::new(board, Firmware::default());
        let left = stage.from_network(Cable::plug(&lan.name, TAP).unwrap()).unwrap();
        assert!(left.kernel() == kernel, "{}", board.name());
        assert_eq!(left.said, [""; 0]);
    }
    boots(&lan, TAP, board, Firmware::default());
}
