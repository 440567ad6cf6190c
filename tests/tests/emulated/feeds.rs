//! The watchdog is fed by progress: between two feeds no work is longer than two seconds of a Pi's core, on the worst input of each bound.
//!
//! The model of the power management says how long a count has gone on; guest time is the instructions'. What waits, for a
//! network or a person, looks after the watchdog by itself and is in `watchdog.rs`.

use std::time::Duration;

use anyhow::Result;
use dtoolkit::model::DeviceTree;
use qemu::http::{Answer, Server};
use qemu::{Board, Entry, Machine, Qemu};
use sha2::{Digest, Sha512};
use tests::payload::{body, device_tree, fit_with, gzip, node, path_overlay, property, uimage};

use crate::{HELLO, PATIENCE, RELEASE, boot_file, machine, tiny_payload};

/// Two seconds of a Cortex-A53 at 1.2 GHz that executes an instruction in two cycles, as it does in code like this.
const MOST: Duration = Duration::from_nanos(1_200_000_000);

/// The power management's place in QEMU's tree of objects.
const POWER: &str = "/machine/soc/peripherals/powermgt";

/// A machine that fetches `/menu`, and whose guest time is its instructions.
fn counting(server: &Server) -> Result<Machine> {
    counting_on(Board::Pi4b, server)
}

/// The same of any board.
fn counting_on(board: Board, server: &Server) -> Result<Machine> {
    Ok(machine(board, RELEASE)?
        .with_models()
        .entry(Entry::At(0x20_0000))
        .other_cores_rest()
        .instruction_clock()
        .argument("-no-shutdown")
        .net(boot_file(server, "/menu")))
}

/// Fails when any work went on for too long.
fn assert_fed(qemu: &Qemu, what: &str) {
    let longest = qemu.monitor().unwrap().number(POWER, "longest-pause").unwrap();
    let longest = Duration::from_nanos(longest);
    println!(
        "{what}: {} thousand instructions between two feeds",
        longest.as_micros()
    );
    assert!(
        longest > Duration::from_micros(100),
        "{what}: nothing was measured"
    );
    assert!(longest < MOST, "{what}: {longest:?}");
}

/// Boots `menu` beside `files` to the line `end`.
fn boots(what: &str, menu: impl AsRef<[u8]>, files: Vec<(&str, Vec<u8>)>, end: &str) {
    let server = Server::start().unwrap();
    server.put("/menu", Answer::ok(menu));
    server.put("/payload.img", Answer::file(tiny_payload().unwrap()));
    for (path, bytes) in files {
        server.put(path, Answer::ok(bytes));
    }
    let mut qemu = counting(&server).unwrap().start().unwrap();
    qemu.console().expect(end, PATIENCE).unwrap();
    assert_fed(&qemu, what);
    qemu.monitor().unwrap().quit().unwrap();
}

#[test]
fn while_a_fit_image_is_summed_up_and_its_parts_are_moved() {
    require!(counting(&Server::start().unwrap()));
    let kernel = std::fs::read(require!(tiny_payload())).unwrap();
    let ramdisk = body(24 << 20, 1);
    let fit = fit_with(
        &[("kernel", "kernel", &kernel), ("ramdisk", "ramdisk", &ramdisk)],
        &[("conf", "kernel", &[], "ramdisk")],
        "sha512",
        |data| Sha512::digest(data).to_vec(),
    );
    boots(
        "a FIT image",
        "LABEL fit\nKERNEL fit\n",
        vec![("/fit", fit)],
        HELLO,
    );
}

#[test]
fn while_a_kernel_is_unpacked_and_initrds_are_put_together() {
    require!(counting(&Server::start().unwrap()));
    let mut kernel = std::fs::read(require!(tiny_payload())).unwrap();
    kernel.resize(96 << 20, 0);
    let files = vec![
        ("/kernel", gzip(&kernel)),
        ("/a", body(12 << 20, 1)),
        ("/b", body(12 << 20, 2)),
    ];
    boots(
        "gzip and initrds",
        "LABEL gz\nKERNEL kernel\nINITRD a,b,a\n",
        files,
        HELLO,
    );
}

#[test]
fn while_a_menu_of_the_most_bytes_and_entries_is_read() {
    require!(counting(&Server::start().unwrap()));
    let mut menu = String::from("DEFAULT e0\n");
    for entry in 0..1000 {
        let filler = "x".repeat(160);
        menu += &format!("LABEL e{entry}\nKERNEL payload.img\nAPPEND {filler}\nMENU LABEL {entry}\n");
    }
    assert!((200 << 10..256 << 10).contains(&menu.len()), "{}", menu.len());
    boots("a menu", menu, vec![], HELLO);
}

#[test]
fn while_a_script_of_the_most_bytes_jumps_and_expands() {
    require!(counting(&Server::start().unwrap()));
    // A mebibyte, with a label before each thousand bytes of comments, and the one that is gone to at the end.
    let mut script =
        String::from("#!ipxe\nset i:int32 0\nset a 0123456789012345678901234567890123456789\ngoto end\n");
    while script.len() < (1 << 20) - 70_000 {
        script += &format!(":l{}\n# {}\n", script.len(), "x".repeat(1000));
    }
    script += ":end\n";
    // A line of the most bytes, with the most settings in it.
    script += &format!("set b {}{}\n", "${a}".repeat(999), "y".repeat(20_000));
    script += "inc i\niseq ${i} 200 || goto end\nkernel payload.img\nboot\n";
    boots("a script", script, vec![], HELLO);
}

#[test]
fn while_a_device_tree_and_the_most_overlays_are_read() {
    require!(counting(&Server::start().unwrap()));
    let mut tree = DeviceTree::from_fdt(&dtoolkit::fdt::Fdt::new(&device_tree()).unwrap());
    for many in 0..40 {
        let mut bus = node(&format!("bus@{many}"));
        for device in 0..60 {
            let mut device = node(&format!("device@{device}"));
            property(&mut device, "compatible", "maker,part-of-some-length");
            bus.add_child(device);
        }
        tree.root.add_child(bus);
    }
    let names: Vec<String> = (0..16).map(|overlay| format!("/o{overlay}")).collect();
    let mut files = vec![("/tree", tree.to_dtb())];
    for name in &names {
        files.push((name, path_overlay("/bus@39", &name[1..], &"z".repeat(6000))));
    }
    let overlays = names.join(" ");
    let menu = format!("LABEL tree\nKERNEL payload.img\nFDT tree\nFDTOVERLAYS {overlays}\n");
    // The payload finds no console in it.
    boots("a device tree", menu, files, "^handoff: kernel at ");
}

#[test]
fn while_a_password_of_the_most_rounds_is_tried() {
    // Of "another".
    for hash in [
        "$5$rounds=100000$salt$dtleowFa6Iz00Jj8gBFzJjlJJDkOSO25Qy6Yue5ZtF5",
        "$6$rounds=100000$salt$5kMuZkP.SPjF/PBvyFR9W69ncu9leXZpfUOVRH3qa1xjVWDDClr2MamZY7C0gdWVjDtCHocsS5PCksGoOvZyS0",
    ] {
        let server = Server::start().unwrap();
        let menu = format!("UI menu.c32\nTIMEOUT 6000\nLABEL kept\nMENU PASSWD {hash}\nKERNEL payload.img\n");
        server.put("/menu", Answer::ok(menu));
        let mut qemu = require!(counting(&server)).start().unwrap();
        let console = qemu.console();
        console.expect("Enter boots", PATIENCE).unwrap();
        console.send(b"\r").unwrap();
        console.expect("[Pp]assword", PATIENCE).unwrap();
        for _ in 0..2 {
            console.send(&[b'p'; 16]).unwrap();
        }
        console.send(b"\r").unwrap();
        console.expect("[Ww]rong", PATIENCE).unwrap();
        assert_fed(&qemu, &hash[..3]);
        qemu.monitor().unwrap().quit().unwrap();
    }
}

#[test]
fn while_a_fit_image_of_the_most_nodes_says_for_which_boards_it_is() {
    let server = Server::start().unwrap();
    require!(counting_on(Board::Pi3b, &server));
    let kernel = std::fs::read(require!(tiny_payload())).unwrap();
    let mut other = DeviceTree::from_fdt(&dtoolkit::fdt::Fdt::new(&device_tree()).unwrap());
    for many in 0..3000 {
        other.root.add_child(node(&format!("device@{many}")));
    }
    let images = [
        ("kernel", "kernel", &*kernel),
        ("tree", "flat_dt", &other.to_dtb()),
    ];
    // As many as are asked for the tree that they would boot, and one that says for which board it is.
    let names: Vec<String> = (0..65).map(|many| format!("conf{many}")).collect();
    let configurations: Vec<(&str, &str, &[&str], &str)> = names
        .iter()
        .map(|name| (&**name, "kernel", &["tree"][..], ""))
        .collect();
    let fit = fit_with(&images, &configurations, "crc32", |data| {
        crc32fast::hash(data).to_be_bytes().to_vec()
    });
    let mut fit = DeviceTree::from_fdt(&dtoolkit::fdt::Fdt::new(&fit).unwrap());
    let all = fit.root.child_mut("configurations").unwrap();
    all.remove_property("default");
    let last = all.child_mut("conf64").unwrap();
    last.remove_property("fdt");
    property(
        last,
        "compatible",
        ["raspberrypi,3-model-b", "raspberrypi,4-model-b"].as_slice(),
    );
    // The images stand behind all others that there may be.
    let mut images = fit.root.remove_child("images").unwrap();
    let mut behind = node("images");
    for many in 0..130_500 {
        behind.add_child(node(&format!("n{many}")));
    }
    for name in ["kernel", "tree"] {
        behind.add_child(images.child_mut(name).unwrap().clone());
    }
    fit.root.add_child(behind);
    server.put("/fit", Answer::ok(fit.to_dtb()));
    server.put("/menu", Answer::ok("LABEL fit\nKERNEL fit\n"));
    for board in [Board::Pi4b, Board::Pi3b] {
        let mut qemu = counting_on(board, &server).unwrap().start().unwrap();
        // The resets of a USB port and its PHY are waited for.
        qemu.console().expect("^lease: .* from ", PATIENCE).unwrap();
        let reset = qemu.monitor().unwrap().set_number(POWER, "longest-pause", 0);
        reset.unwrap();
        qemu.console()
            .expect("^load: configuration conf64 ", PATIENCE)
            .unwrap();
        // Then QEMU's USB host takes two seconds to end what is under way.
        assert_fed(&qemu, &format!("the boards of a FIT image on a {}", board.name()));
        qemu.console().expect(HELLO, PATIENCE).unwrap();
        if board == Board::Pi4b {
            assert_fed(&qemu, "all of it");
        }
        qemu.monitor().unwrap().quit().unwrap();
    }
}

#[test]
fn while_a_wrapped_kernel_and_overlays_with_hashes_are_summed_up() {
    require!(counting(&Server::start().unwrap()));
    let mut kernel = std::fs::read(require!(tiny_payload())).unwrap();
    let overlays: Vec<(String, Vec<u8>)> = (0..16)
        .map(|many| {
            (
                format!("o{many}"),
                path_overlay("/soc", &format!("p{many}"), &"z".repeat(6000)),
            )
        })
        .collect();
    let tree = device_tree();
    let mut images = vec![("kernel", "kernel", &*kernel), ("tree", "flat_dt", &*tree)];
    images.extend(
        overlays
            .iter()
            .map(|(name, overlay)| (&**name, "flat_dt", &**overlay)),
    );
    let trees: Vec<&str> = images.iter().skip(1).map(|(name, ..)| *name).collect();
    let fit = fit_with(&images, &[("conf", "kernel", &trees, "")], "sha512", |data| {
        Sha512::digest(data).to_vec()
    });
    boots(
        "overlays with hashes",
        "LABEL fit\nKERNEL fit\n",
        vec![("/fit", fit)],
        "^handoff: kernel at ",
    );
    kernel.resize(128 << 20, 0);
    boots(
        "a wrapped kernel",
        "LABEL wrapped\nKERNEL wrapped\n",
        vec![("/wrapped", uimage(2, &kernel))],
        HELLO,
    );
}

#[test]
fn while_a_script_unpacks_and_sums_up() {
    require!(counting(&Server::start().unwrap()));
    let file = gzip(&vec![0; 96 << 20]);
    let script = "#!ipxe\nimgfetch --name packed file.gz\nimgextract --name file packed\n\
                  md5sum file\nsha1sum file\nsha256sum file\nsha512sum file\nkernel payload.img\nboot\n";
    boots("sums of a script", script, vec![("/file.gz", file)], HELLO);
}
