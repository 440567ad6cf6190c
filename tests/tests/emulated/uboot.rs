//! Debian's U-Boot, whose drivers others wrote too, gets a lease and loads files over the models of the boards' NICs;
//! then it boots Bramble, which finds the NIC as U-Boot left it.

use std::fs;

use qemu::{Board, Net, UBoot};
use tests::payload::body;

use crate::{HELLO, PATIENCE, RELEASE, Scratch, debian, ends, guest_errors, logging, machine, on, tiny_site};

/// What is loaded: U-Boot acknowledges each of its blocks before it gets the next.
const BYTES: usize = 4 << 20;

/// How U-Boot ends a download.
const TRANSFERRED: &str = "^Bytes transferred = ([0-9]+) ";

/// `driver` is U-Boot's name for its network device; a guest error, if there is one, is this.
fn loads_a_file_and_bramble(board: Board, driver: &str, complaint: Option<&str>) {
    let payload = debian().unwrap();
    let site = tiny_site().unwrap();
    let files = Scratch::directory("tftp");
    let blob = body(BYTES, 3);
    fs::write(files.0.join("blob"), &blob).unwrap();
    fs::copy(qemu::image(RELEASE).unwrap(), files.0.join("kernel8.img")).unwrap();
    let net = Net::user()
        .option("tftp", files.0.to_str().unwrap())
        .boot_file(site.url("/menu"));
    let log = Scratch::file("log", b"");
    let machine = logging(on(board, payload.u_boot()).unwrap(), &log)
        .device_tree(payload.device_tree(board).unwrap())
        .other_cores_rest()
        .net(net);
    let mut prompt = UBoot::start(machine, PATIENCE).unwrap();
    assert_eq!(prompt.lease().unwrap().groups, ["10.0.2.15"]);
    let mut ask = |command: &str, answer: &str| prompt.ask(command, answer).unwrap().groups;
    assert_eq!(ask("printenv ethact", "^ethact=(.*)\n"), [driver]);
    assert_eq!(
        ask("tftpboot ${ramdisk_addr_r} 10.0.2.2:blob", TRANSFERRED),
        [BYTES.to_string()]
    );
    assert_eq!(
        ask("crc32 ${ramdisk_addr_r} ${filesize}", "==> ([0-9a-f]{8})$"),
        [format!("{:08x}", crc32fast::hash(&blob))]
    );
    ask("tftpboot ${kernel_addr_r} 10.0.2.2:kernel8.img", TRANSFERRED);
    ask("booti ${kernel_addr_r} - ${fdt_addr}", "^bramble: .* EL2");
    let mut qemu = prompt.qemu;
    let console = qemu.console();
    console.expect("^payload: cmdline one two$", PATIENCE).unwrap();
    console.expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
    let errors = guest_errors(&log);
    assert!(
        errors
            .iter()
            .all(|error| complaint.is_some_and(|word| error.contains(word))),
        "{errors:?}"
    );
}

#[test]
fn over_genet_on_a_4b() {
    require!(debian());
    require!(tiny_site());
    require!(machine(Board::Pi4b, RELEASE));
    loads_a_file_and_bramble(Board::Pi4b, "ethernet@7d580000", None);
}

#[test]
fn genet_starts_from_whatever_it_finds() {
    let payload = require!(debian());
    let board = Board::Pi4b;
    require!(on(board, payload.u_boot()));
    for state in ["start4", "bootloader", "dirty"] {
        let machine = on(board, payload.u_boot())
            .unwrap()
            .device_tree(payload.device_tree(board).unwrap())
            .other_cores_rest()
            .nic_option("start", state);
        let mut prompt = UBoot::start(machine, PATIENCE).unwrap();
        assert_eq!(prompt.lease().unwrap().groups, ["10.0.2.15"], "from {state}");
    }
}

#[test]
fn over_a_lan9514_on_a_3b() {
    require!(debian());
    require!(tiny_site());
    require!(machine(Board::Pi3b, RELEASE));
    // It does not wait for the end of the PHY's reset, 300 µs.
    loads_a_file_and_bramble(Board::Pi3b, "smsc95xx_eth", Some("written in reset"));
}

#[test]
fn over_a_lan7515_on_a_3b_plus() {
    require!(debian());
    require!(tiny_site());
    require!(machine(Board::Pi3bPlus, RELEASE));
    loads_a_file_and_bramble(Board::Pi3bPlus, "lan78xx_eth", None);
}

/// That is why no other test and no benchmark has it.
#[test]
fn over_usb_net_it_has_no_driver() {
    let payload = require!(debian());
    let board = Board::UsbNet3b;
    let machine = require!(on(board, payload.u_boot()))
        .device_tree(payload.device_tree(board).unwrap())
        .other_cores_rest();
    let error = UBoot::start(machine, PATIENCE).unwrap().lease().unwrap_err();
    assert_eq!(error.to_string(), "U-Boot has no driver for it");
}
