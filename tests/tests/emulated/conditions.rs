//! What a board may meet besides a clean start and a good switch: PHYs elsewhere or asleep, rings as a firmware left them,
//! slow partners, switches without pause frames. The model forgives none of it, and each ends in a boot.

use qemu::{Board, Entry, Net};

use crate::{DEBUG, HELLO, PATIENCE, RELEASE, boot_file, machine, tiny_site};

/// One condition: the model's properties, and lines that the console shows on the way.
struct Condition {
    board: Board,
    properties: &'static [(&'static str, &'static str)],
    lines: &'static [&'static str],
}

const CONDITIONS: [Condition; 10] = [
    // As the firmware's own netboot leaves it, on a chip that lets nobody set the indices back.
    Condition {
        board: Board::Pi4b,
        properties: &[("start", "dirty"), ("strict-rings", "on")],
        lines: &["^nic: GENET v5, found running, PHY 0x600d84a2 at MDIO address 1$"],
    },
    // The same, abandoned in mid-download.
    Condition {
        board: Board::Pi4b,
        properties: &[("start", "bootloader"), ("strict-rings", "on")],
        lines: &["^nic: GENET v5, found running, PHY 0x600d84a2 at MDIO address 1$"],
    },
    // Stopped, with small rings, indices that went round, and frames in its FIFO.
    Condition {
        board: Board::Pi4b,
        properties: &[("start", "start4")],
        lines: &["^nic: GENET v5, found running, PHY 0x600d84a2 at MDIO address 1$"],
    },
    // Frames complete, and nothing leaves until the link comes up anew.
    Condition {
        board: Board::Pi4b,
        properties: &[("mute", "2")],
        lines: &[
            "^nic: nothing answers: starting the MAC again$",
            "^nic: nothing answers: starting the MAC and the link again$",
            "^nic: link up, 1000 Mb/s full duplex$",
        ],
    },
    // A CM4's PHY, powered down by whatever ran before.
    Condition {
        board: Board::Pi4b,
        properties: &[("phy-address", "0"), ("phy-powered-down", "on")],
        lines: &["^nic: GENET v5, PHY 0x600d84a2 at MDIO address 0$"],
    },
    Condition {
        board: Board::Pi4b,
        properties: &[("phy-address", "2"), ("speed", "100")],
        lines: &["at MDIO address 2$", "^nic: link up, 100 Mb/s full duplex$"],
    },
    Condition {
        board: Board::Pi4b,
        properties: &[("speed", "10"), ("full-duplex", "off")],
        lines: &["^nic: link up, 10 Mb/s half duplex$"],
    },
    Condition {
        board: Board::Pi3b,
        properties: &[("peer-speed", "10")],
        lines: &["^nic: link up, 10 Mb/s full duplex$"],
    },
    Condition {
        board: Board::Pi3bPlus,
        properties: &[("peer-speed", "100")],
        lines: &["^nic: link up, 100 Mb/s full duplex$"],
    },
    // Its FIFO would overflow at 1000 Mb/s.
    Condition {
        board: Board::Pi3bPlus,
        properties: &[("peer-pause", "off")],
        lines: &[
            "^nic: the other end takes no pause frames: negotiating 100 Mb/s instead$",
            "^nic: link up, 100 Mb/s full duplex$",
        ],
    },
];

fn each_ends_in_a_boot(board: Board) {
    let site = tiny_site().unwrap();
    let of_board: Vec<_> = CONDITIONS.iter().filter(|one| one.board == board).collect();
    assert!(!of_board.is_empty(), "no condition of this board");
    for condition in of_board {
        let mut machine = machine(board, DEBUG)
            .unwrap()
            .entry(Entry::At(0x8_0000))
            .other_cores_rest()
            .net(boot_file(&site, "/menu"))
            // The model is asked after the payload has switched off.
            .argument("-no-shutdown");
        for (name, value) in condition.properties {
            machine = machine.nic_option(name, value);
        }
        let mut qemu = machine.start().unwrap();
        let console = qemu.console();
        for line in condition.lines {
            console.expect(line, PATIENCE).unwrap();
        }
        console.expect(HELLO, PATIENCE).unwrap();
        if board == Board::Pi4b {
            // Nothing that the chip would have taken badly.
            let errors = qemu.nic_number("guest-errors").unwrap();
            assert_eq!(errors, 0, "{:?}", condition.properties);
            let stale = qemu.nic_number("stale-frames").unwrap();
            assert_eq!(stale, 0, "{:?}", condition.properties);
        }
        qemu.monitor().unwrap().quit().unwrap();
    }
}

#[test]
fn of_a_4b() {
    require!(tiny_site());
    require!(machine(Board::Pi4b, DEBUG));
    each_ends_in_a_boot(Board::Pi4b);
}

/// As a 4B of revision 1.5 under an EEPROM that is not stock.
#[test]
fn mdio_that_reads_zeros_is_said() {
    let machine = require!(machine(Board::Pi4b, RELEASE)).nic_option("mdio-zeros", "on");
    let mut qemu = machine.net(Net::user()).start().unwrap();
    qemu.console().expect("no PHY answers on MDIO", PATIENCE).unwrap();
}

#[test]
fn of_a_3b() {
    require!(tiny_site());
    require!(machine(Board::Pi3b, DEBUG));
    each_ends_in_a_boot(Board::Pi3b);
}

#[test]
fn of_a_3b_plus() {
    require!(tiny_site());
    require!(machine(Board::Pi3bPlus, DEBUG));
    each_ends_in_a_boot(Board::Pi3bPlus);
}
