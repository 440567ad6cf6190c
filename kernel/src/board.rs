//! What the firmware says of this board: its row, its numbers, its clocks.

use boot::board::{self, Ethernet};
use boot::load::device_tree::Tree;
use boot::{Address, Board, Mac, info, warn};
use smoltcp::wire::EthernetAddress;

use crate::hardware::Hardware;
use crate::mailbox::ClockId;
use crate::pm;

/// Says what the board is, and gathers where its network port is and what the boot wants to know; which UART is on the
/// header only the console learns. A MAC address of zeros says that the board has none.
pub fn describe<'m>(
    hardware: &mut Hardware,
    device_tree: Option<&'m [u8]>,
    tree: Option<&Tree<'_>>,
) -> (Ethernet, Board<'m>) {
    let Hardware { soc, mailbox, .. } = hardware;
    let soc = *soc;
    let revision = mailbox.board_revision().unwrap_or_default();
    // QEMU's mailbox knows none; the device tree may have what a firmware wrote there.
    let written = || u64::from_str_radix(tree?.serial_number()?, 16).ok();
    let serial = mailbox.serial().filter(|serial| *serial != 0);
    let serial = serial.or_else(written).unwrap_or_default();
    let (row, known) = board::on(soc, revision);
    if !known {
        warn!(
            "board: revision {} is not known on {}: taken for a {}",
            Address(revision.into()),
            soc.name(),
            row.name
        );
    }
    let one_nodes = |mac: &[u8; 6]| EthernetAddress(*mac).is_unicast() && *mac != [0; 6];
    let mac = tree.and_then(Tree::mac).filter(one_nodes);
    let mac = mac.or_else(|| mailbox.mac_address().filter(one_nodes));
    let mac = EthernetAddress(mac.unwrap_or_default());
    let revision_text = Address(revision.into());
    info!(
        "board: {} ({}), revision {}, serial {}, MAC {}",
        row.name,
        soc.name(),
        revision_text,
        Address(serial),
        Mac(mac)
    );
    if let Some(status) = tree.and_then(Tree::reset_status) {
        info!(
            "board: reset by {} (RSTS {})",
            pm::reset_cause(status),
            Address(status.into())
        );
    }
    if let Some((base, size)) = mailbox.arm_memory() {
        info!(
            "board: {} MiB for the ARM at {}",
            size >> 20,
            Address(base.into())
        );
    }
    // Hashing and unpacking want the full speed; the firmware keeps watch over heat and power.
    let arm = mailbox
        .max_clock_rate(ClockId::Arm)
        .and_then(|hz| mailbox.set_clock_rate(ClockId::Arm, hz));
    let (mega, core) = (1_000_000, mailbox.clock_rate(ClockId::Core).unwrap_or_default());
    info!(
        "board: ARM at {} MHz, core at {} MHz",
        arm.unwrap_or_default() / mega,
        core / mega
    );
    if let Some(temperature) = mailbox.temperature() {
        info!(
            "board: {} °C, throttled {}",
            temperature / 1000,
            Address(mailbox.throttled().unwrap_or_default().into())
        );
    }
    (
        row.ethernet,
        Board {
            model: row.name,
            revision,
            serial,
            mac,
            uart: None,
            device_tree,
            handed_over: None,
        },
    )
}
