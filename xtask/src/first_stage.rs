//! `cargo xtask boot --from`: what a person copies, read by the Pi's own firmware as the harness plays it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use qemu::firmware::card::{self, Layout};
use qemu::firmware::{self, disable_bt};
use qemu::payload::labelled_tree;
use qemu::recipe::recipe;
use qemu::segment::{Segment, TAP};
use qemu::{Board, Cable, Firmware, Left, Machine, Net, Payload, Stage, Uart};

use crate::scratch::Scratch;
use crate::site::Site;

/// Where the firmware finds what was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// On a card.
    Card,
    /// On a TFTP server.
    Tftp,
    /// In a boot.img.
    BootImage,
}

impl From {
    pub(crate) fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "sd" => Self::Card,
            "tftp" => Self::Tftp,
            "boot.img" => Self::BootImage,
            _ => bail!("boot: --from {name}: not one of sd, tftp, boot.img"),
        })
    }
}

/// The board of a generation's firmware.
pub(crate) fn board(generation: &str) -> Result<Board> {
    Ok(match generation {
        "pi3" => Board::Pi3b,
        "pi4" => Board::Pi4b,
        _ => bail!("boot: --firmware {generation}: not one of pi3, pi4"),
    })
}

/// A board, what was copied for it, and a directory of files for the run.
pub(crate) struct FirstStage {
    board: Board,
    files: Vec<(String, Vec<u8>)>,
    uart: Uart,
    directory: Scratch,
}

impl FirstStage {
    /// What to copy: the image, and a tree that has labels for an overlay, which gives the console the PL011, when both
    /// are at hand.
    pub(crate) fn new(board: Board, image: &Path) -> Result<Self> {
        let mut config = "arm_64bit=1\nenable_uart=1\n".to_owned();
        let mut files = vec![
            (
                "kernel8.img".to_owned(),
                fs::read(image).with_context(|| image.display().to_string())?,
            ),
            ("cmdline.txt".to_owned(), vec![]),
        ];
        let tree = board.firmware_tree().to_owned();
        let uart = if let (Ok(labelled), Ok(overlay)) = (labelled_tree(board), disable_bt()) {
            config += "dtoverlay=disable-bt\n";
            files.push((tree, labelled));
            files.push(("overlays/disable-bt.dtbo".to_owned(), overlay));
            Uart::Pl011
        } else {
            let stock = match Payload::find() {
                Ok(payload) => payload.device_tree(board)?,
                Err(_) => Firmware::default().minimal(board)?,
            };
            files.push((tree, stock));
            Uart::Mini
        };
        files.push(("config.txt".to_owned(), config.into_bytes()));
        let directory = std::env::temp_dir().join(format!("bramble-first-stage-{}", std::process::id()));
        Ok(Self {
            board,
            files,
            uart,
            directory: Scratch::new(&directory)?,
        })
    }

    /// Where the console will be.
    pub(crate) fn uart(&self) -> Uart {
        self.uart
    }

    fn stage(&self) -> Stage {
        Stage::new(self.board, Firmware::default())
    }

    /// The machine that boots from a card, or from a boot.img.
    pub(crate) fn reads_card(self, layout: Layout) -> Result<(Machine, Scratch)> {
        let image = self.directory.0.join("image");
        card::make(&image, layout, &self.files)?;
        let left = self.stage().from_card(&image)?;
        self.goes_on(&left)
    }

    /// The machine that boots from a TFTP root, and the network that it is on, with dnsmasq.
    pub(crate) fn asks_network(self, site: Site) -> Result<(Machine, Network)> {
        let root = self.directory.0.join("tftp");
        firmware::write(&root, &self.files)?;
        site.write(&root)?;
        let segment = Segment::new().context("boot: --from tftp")?;
        let server = dnsmasq(&segment, &root, &self.directory.0)?;
        let left = self.stage().from_network(Cable::plug(segment.name(), TAP)?)?;
        let (machine, scratch) = self.goes_on(&left)?;
        let machine = machine.namespace(segment.name()).net(Net::tap(TAP));
        let network = Network {
            server,
            _segment: segment,
            _scratch: scratch,
        };
        Ok((machine, network))
    }

    /// Says what the stage has to say.
    fn goes_on(self, left: &Left) -> Result<(Machine, Scratch)> {
        println!("boot: the firmware asked for {}", left.asked.join(" "));
        for line in &left.said {
            println!("boot: firmware: {line}");
        }
        ensure!(
            left.firmware.uart == self.uart,
            "boot: the console is not where it was meant to be"
        );
        Ok((left.machine(&self.directory.0)?, self.directory))
    }
}

/// The configuration of the user's guide for both stages.
fn dnsmasq(segment: &Segment, root: &Path, directory: &Path) -> Result<Child> {
    let page = include_str!("../../docs/src/first-stage.md");
    let lines = recipe(page, "No card: one dnsmasq for both stages", 0).context("boot: the guide's page")?;
    let mut text = format!(
        "interface=eth0\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\ndhcp-leasefile={}\n",
        directory.join("leases").display()
    );
    text += &lines.replace("/srv/tftp", &root.display().to_string());
    let file = directory.join("dnsmasq.conf");
    fs::write(&file, text)?;
    Command::new("ip")
        .args(["netns", "exec", segment.name(), "dnsmasq", "--keep-in-foreground"])
        .arg(format!("--conf-file={}", file.display()))
        .arg(format!("--pid-file={}", directory.join("pid").display()))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("boot: dnsmasq")
}

/// A server and the segment that it stands on, until dropped.
pub(crate) struct Network {
    server: Child,
    _segment: Segment,
    _scratch: Scratch,
}

impl Drop for Network {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
