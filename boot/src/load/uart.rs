//! Linux's name of a UART, as `console=` wants it (Linux `serial8250`, `amba-pl011`, `of_alias_get_id`).
//!
//! The driver gives the letters and the device tree's alias the number. So one UART has several names: the mini-UART is
//! `ttyS0` with the tree of the Pi's own kernel, whose `serial0` it is, and `ttyS1` with Linux's, where that is the PL011.
//! D-118.

use alloc::format;
use alloc::string::String;

use dtoolkit::{Node, Property};

use super::device_tree::{Tree, text};
use crate::hal::Uart;

/// The number of ports of the mini-UART's driver without `8250.nr_uarts=`; Debian's kernel is built with this one.
const USUAL_PORTS: u32 = 4;

/// The UART that the Pi's firmware calls by this name, when `routed` is the one that it put on GPIO 14 and 15.
pub(super) fn called(name: &str, routed: Uart) -> Option<Uart> {
    match (name, routed) {
        ("serial0", routed) => Some(routed),
        ("serial1", Uart::Mini) => Some(Uart::Pl011),
        ("serial1", Uart::Pl011) => Some(Uart::Mini),
        _ => None,
    }
}

/// Linux's name of a UART with this tree; `nr_uarts` is the value of `8250.nr_uarts=` on the command line.
pub(super) fn name(uart: Uart, tree: &Tree<'_>, nr_uarts: Option<&str>) -> String {
    let number = number(uart, tree).unwrap_or(0);
    match uart {
        Uart::Pl011 => format!("ttyAMA{number}"),
        Uart::Mini => {
            let ports = nr_uarts.and_then(|ports| ports.parse().ok());
            // A number that it has no port for becomes the first port.
            let number = if number < ports.unwrap_or(USUAL_PORTS) {
                number
            } else {
                0
            };
            format!("ttyS{number}")
        }
    }
}

/// The number in the first alias `serialN` of a UART.
fn number(uart: Uart, tree: &Tree<'_>) -> Option<u32> {
    let wanted = match uart {
        Uart::Pl011 => "serial@7e201000",
        Uart::Mini => "serial@7e215040",
    };
    let fdt = tree.fdt();
    let aliases = fdt.find_node("/aliases")?;
    aliases.properties().find_map(|alias| {
        let number = alias.name().strip_prefix("serial")?.parse().ok()?;
        let node = fdt.find_node(text(alias.value())?)?;
        (node.name() == wanted).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use dtoolkit::model::DeviceTree;

    use super::super::device_tree::tests::node;
    use super::*;

    /// A tree with both UARTs, and these aliases.
    fn tree(aliases: &[(&str, &str)]) -> Vec<u8> {
        let mut tree = DeviceTree::new();
        let uarts = ["serial@7e201000", "serial@7e215040"].map(|name| node(name, &[], vec![]));
        tree.root.add_child(node("soc", &[], uarts.into()));
        let mut list = node("aliases", &[], vec![]);
        for (name, path) in aliases {
            super::super::edit::set(&mut list, name, *path);
        }
        tree.root.add_child(list);
        tree.to_dtb()
    }

    const PL011: &str = "/soc/serial@7e201000";
    const MINI: &str = "/soc/serial@7e215040";

    #[test]
    fn the_alias_in_the_tree_gives_the_number() {
        let linux = tree(&[("uart0", PL011), ("serial0", PL011), ("serial1", MINI)]);
        let raspberry = tree(&[("serial0", MINI), ("serial1", PL011), ("serial3", MINI)]);
        let none = tree(&[("serial0", "/nowhere"), ("serial", MINI)]);
        for (dtb, ports, pl011, mini) in [
            (&linux, None, "ttyAMA0", "ttyS1"),
            // The firmware's, with `enable_uart=1`: one port, whatever its number should be.
            (&linux, Some("1"), "ttyAMA0", "ttyS0"),
            (&linux, Some("x"), "ttyAMA0", "ttyS1"),
            (&raspberry, None, "ttyAMA1", "ttyS0"),
            (&none, None, "ttyAMA0", "ttyS0"),
        ] {
            let tree = Tree::check(dtb).unwrap();
            assert_eq!(name(Uart::Pl011, &tree, ports), pl011, "{ports:?}");
            assert_eq!(name(Uart::Mini, &tree, ports), mini, "{ports:?}");
        }
        let far = tree(&[("serial5", MINI)]);
        assert_eq!(name(Uart::Mini, &Tree::check(&far).unwrap(), None), "ttyS0");
    }

    #[test]
    fn the_firmware_numbers_them_by_what_is_on_the_pins() {
        assert_eq!(called("serial0", Uart::Mini), Some(Uart::Mini));
        assert_eq!(called("serial1", Uart::Mini), Some(Uart::Pl011));
        assert_eq!(called("serial1", Uart::Pl011), Some(Uart::Mini));
        assert_eq!(called("serial2", Uart::Pl011), None);
    }
}
