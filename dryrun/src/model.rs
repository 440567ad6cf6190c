//! The models that a node may be.

use boot::Uart;
use boot::board::{self, Row};

/// A model: what `--board` calls it, what its device tree calls it and its SoC, a revision code that was made, and the first
/// half of its MAC addresses.
pub(crate) struct Model {
    pub(crate) key: &'static str,
    pub(crate) compatible: [&'static str; 2],
    pub(crate) revision: u32,
    pub(crate) vendor: [u8; 3],
}

const BCM2837: &str = "brcm,bcm2837";
const BCM2711: &str = "brcm,bcm2711";
const PI_3: [u8; 3] = [0xb8, 0x27, 0xeb];
const PI_4: [u8; 3] = [0xdc, 0xa6, 0x32];

/// The models that Bramble runs on; the first is the default.
pub(crate) const MODELS: [Model; 10] = [
    model("4b", ["raspberrypi,4-model-b", BCM2711], 0x00c0_3115, PI_4),
    model("400", ["raspberrypi,400", BCM2711], 0x00c0_3130, PI_4),
    model(
        "cm4",
        ["raspberrypi,4-compute-module", BCM2711],
        0x00c0_3140,
        PI_4,
    ),
    model(
        "cm4s",
        ["raspberrypi,4-compute-module-s", BCM2711],
        0x00b0_3150,
        PI_4,
    ),
    model("3b", ["raspberrypi,3-model-b", BCM2837], 0x00a0_2082, PI_3),
    model("3b+", ["raspberrypi,3-model-b-plus", BCM2837], 0x00a0_20d3, PI_3),
    model("3a+", ["raspberrypi,3-model-a-plus", BCM2837], 0x0090_20e0, PI_3),
    model(
        "cm3",
        ["raspberrypi,3-compute-module", BCM2837],
        0x00a0_20a0,
        PI_3,
    ),
    model(
        "cm3+",
        ["raspberrypi,3-compute-module", BCM2837],
        0x00a0_2100,
        PI_3,
    ),
    model(
        "zero2w",
        ["raspberrypi,model-zero-2-w", BCM2837],
        0x0090_2120,
        PI_3,
    ),
];

const fn model(key: &'static str, compatible: [&'static str; 2], revision: u32, vendor: [u8; 3]) -> Model {
    Model {
        key,
        compatible,
        revision,
        vendor,
    }
}

impl Model {
    /// The model with this revision code.
    pub(crate) fn of(revision: u32) -> Option<&'static Self> {
        let row = board::of(revision)?;
        MODELS.iter().find(|model| model.row() == Some(row))
    }

    /// What boards of this model have in common.
    fn row(&self) -> Option<&'static Row> {
        board::of(self.revision)
    }

    /// The name that the firmware gives it.
    pub(crate) fn name(&self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// The UART on the header's pins: the console of the board's own tree; else the one that `enable_uart=1` puts there, because
    /// Bluetooth does not use it.
    pub(crate) fn uart(&self, stdout: Option<&str>) -> Uart {
        match (stdout, self.key) {
            (Some(path), _) if path.ends_with("serial@7e201000") => Uart::Pl011,
            (Some(path), _) if path.ends_with("serial@7e215040") => Uart::Mini,
            (_, "cm3" | "cm3+" | "cm4s") => Uart::Pl011,
            _ => Uart::Mini,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_board_is_one_model() {
        for row in &board::BOARDS {
            let models = MODELS.iter().filter(|model| model.row() == Some(row));
            assert_eq!(models.count(), 1, "{}", row.name);
        }
        assert_eq!(MODELS.len(), board::BOARDS.len());
        assert_eq!(
            Model::of(0x00a0_20d3).map(Model::name),
            Some("Raspberry Pi 3 Model B+")
        );
    }
}
