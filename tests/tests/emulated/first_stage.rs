//! The stage before us, played by the harness against the real servers: from an empty slot, a card or a boot.img to Debian's
//! user space. The configurations are those of the user's guide.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::Result;
use qemu::cpio::Archive;
use qemu::firmware::card::{self, Layout, PARTITION};
use qemu::firmware::order::{PI3_TRACE_ROOT, PI4_TRACE};
use qemu::firmware::{self, disable_bt};
use qemu::http::{Answer, Server};
use qemu::payload::labelled_tree;
use qemu::{Board, Cable, Firmware, Left, Net, Stage};

use crate::debian::{Expected, reaches_user_space};
use crate::lan::{Lan, TAP};
use crate::{HELLO, PATIENCE, RELEASE, Scratch, boot_file, debian, machine, tiny_payload};

const PAGE: &str = include_str!("../../../docs/src/first-stage.md");

/// A block of code of the page.
pub(crate) fn block(heading: &str, n: usize) -> String {
    qemu::recipe::recipe(PAGE, heading, n).expect(heading)
}

/// The same, with the TFTP root where this test has it.
pub(crate) fn recipe(heading: &str, n: usize, root: &Path) -> String {
    block(heading, n).replace("/srv/tftp", &root.display().to_string())
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

/// What to copy for `board`, as the guide says.
pub(crate) fn copied(board: Board) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        ("config.txt".to_owned(), block("What to copy", 0).into_bytes()),
        ("cmdline.txt".to_owned(), block("What to copy", 1).into_bytes()),
        (
            "kernel8.img".to_owned(),
            fs::read(qemu::image(RELEASE).unwrap()).unwrap(),
        ),
    ];
    files.extend(of_the_pi(board));
    files
}

/// What comes from the Pi's firmware for `board`; its programs, which are not ours to have, are stood in for.
pub(crate) fn of_the_pi(board: Board) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        (board.firmware_tree().to_owned(), labelled_tree(board).unwrap()),
        ("overlays/disable-bt.dtbo".to_owned(), disable_bt().unwrap()),
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
    firmware::write(root, files).unwrap();
}

/// The command line of Debian in these tests.
const CMDLINE: &str = "console=ttyAMA0,115200 quiet retain_initrd";

/// A menu for one node, its kernel and its initrd, in the same root.
pub(crate) fn furnish(root: &Path, board: Board, firmware: &Firmware) {
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
pub(crate) fn lan_for(boards: &[Board], servers: &[&str]) -> Result<Lan> {
    for board in boards {
        machine(*board, RELEASE)?;
        labelled_tree(*board)?;
    }
    Lan::needs("dtc")?;
    debian()?;
    for server in servers {
        Lan::needs(server)?;
    }
    Lan::new()
}

/// Boots a node of the LAN from its network up to Debian's user space.
pub(crate) fn boots(lan: &Lan, tap: &str, board: Board, firmware: Firmware) -> Left {
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
        .map(|name| {
            name.replace("SERIAL", &serial(firmware))
                .replace("OVERLAY", "disable-bt")
        })
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
            assert_eq!(left.asked, trace(PI4_TRACE, pi4, &["initramfs8"]));
        });
        scope.spawn(|| {
            let left = boots(lan, &second, Board::Pi3b, pi3.clone());
            assert_eq!(left.asked, trace(PI3_TRACE_ROOT, pi3, &[]));
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
fn a_pi_4_and_a_pi_3_boot_from_kea_and_tftpd_hpa() {
    let board = Board::Pi4b;
    let mut lan = require!(lan_for(&[board, Board::Pi3b], &["kea-dhcp4", "in.tftpd"]));
    let root = lan.directory.join("tftp");
    for board in [Board::Pi3b, Board::Pi3bPlus, board] {
        write(&root, &copied(board));
    }
    furnish(&root, board, &Firmware::default());
    furnish(&root, Board::Pi3b, &other());
    let file = lan.directory.join("kea.json");
    fs::write(&file, recipe("Kea and tftpd-hpa", 0, &root)).unwrap();
    lan.start(
        "kea-dhcp4",
        &["-c".into(), file.display().to_string()],
        "DHCP4_STARTED",
    );
    tftpd(&mut lan, &root);
    let kernel = fs::read(qemu::image(RELEASE).unwrap()).unwrap();
    let stage = Stage::new(Board::Pi3bPlus, Firmware::default());
    let left = stage.from_network(Cable::plug(&lan.name, TAP).unwrap()).unwrap();
    assert!(left.kernel() == kernel);
    assert_eq!(left.said, [""; 0]);
    boots(&lan, TAP, Board::Pi3b, other());
    boots(&lan, TAP, board, Firmware::default());
}

/// A file of more than 65,535 blocks: an old client stops there (M, R#720), which the ROM's 512 bytes make 32 MiB.
#[test]
fn a_file_of_too_many_blocks_ends_an_old_client() {
    let mut lan = require!(lan_for(&[], &[]));
    let root = lan.directory.join("tftp");
    write(&root, &copied(Board::Pi3b));
    let bootcode = |length| {
        // Another file of that name: dnsmasq has the first one open still.
        fs::remove_file(root.join("bootcode.bin")).unwrap();
        let file = File::create(root.join("bootcode.bin")).unwrap();
        file.set_len(length).unwrap();
    };
    bootcode(512 * 65_536);
    lan.dnsmasq_with(&recipe("No card: one dnsmasq for both stages", 0, &root));
    let stage = Stage::new(Board::Pi3b, Firmware::default());
    let error = stage
        .from_network(Cable::plug(&lan.name, TAP).unwrap())
        .unwrap_err();
    let said = format!("{error:#}");
    assert!(said.contains("bootcode.bin: more than 65535 blocks"), "{said}");
    bootcode(512 * 65_535 - 1);
    let left = stage.from_network(Cable::plug(&lan.name, TAP).unwrap()).unwrap();
    assert_eq!(left.said, [""; 0]);
}

/// A router that knows nothing of booting gives the addresses of both stages, and a dnsmasq beside it says what to boot.
#[test]
fn each_board_boots_beside_a_home_router() {
    let board = Board::Pi4b;
    let mut lan = require!(lan_for(&[board], &["udhcpd"]));
    let payload = require!(tiny_payload());
    let root = lan.directory.join("tftp");
    for board in [Board::Pi3b, Board::Pi3bPlus, board] {
        write(&root, &copied(board));
    }
    fs::write(root.join("menu"), "LABEL tiny\n  LINUX payload.img\n").unwrap();
    fs::copy(payload, root.join("payload.img")).unwrap();
    lan.router().unwrap();
    lan.dnsmasq_with(&recipe("Beside a home router", 0, &root));
    for board in [Board::Pi3b, Board::Pi3bPlus, board] {
        let stage = Stage::new(board, Firmware::default());
        let left = stage.from_network(Cable::plug(&lan.name, TAP).unwrap()).unwrap();
        assert_eq!(left.said, [""; 0], "{}", board.name());
        if board == Board::Pi4b {
            let files = Scratch::directory("left");
            let machine = left.machine(&files.0).unwrap();
            let mut qemu = machine.namespace(&lan.name).net(Net::tap(TAP)).start().unwrap();
            qemu.console().expect(HELLO, PATIENCE).unwrap();
        }
    }
}

/// Boots what the stage left with a menu over HTTP, up to Debian's user space.
pub(crate) fn boots_over_http(left: &Left, board: Board) {
    let payload = debian().unwrap();
    let server = Server::start().unwrap();
    server.put(
        "/menu",
        Answer::ok(format!(
            "LABEL debian\n  LINUX vmlinuz\n  INITRD initrd\n  APPEND {CMDLINE}\n"
        )),
    );
    server.put("/vmlinuz", Answer::file(payload.kernel()));
    server.put("/initrd", Answer::ok(payload.initrd(board).unwrap()));
    let files = Scratch::directory("left");
    let machine = left.machine(&files.0).unwrap().net(boot_file(&server, "/menu"));
    reaches_user_space(machine, &expected(left, board));
}

#[test]
fn a_pi_3_boots_from_a_card() {
    let board = Board::Pi3b;
    require!(machine(board, RELEASE));
    require!(labelled_tree(board));
    require!(debian());
    let scratch = Scratch::directory("card");
    let image = scratch.0.join("card.img");
    card::make(&image, Layout::Card, &copied(board)).unwrap();
    let left = Stage::new(board, Firmware::default()).from_card(&image).unwrap();
    assert_eq!(left.said, [""; 0]);
    boots_over_http(&left, board);
}

/// A menu that came beside Bramble, by the firmware's hand: as a script from a card, and in an archive over TFTP.
#[test]
fn a_text_beside_bramble_says_what_boots_before_any_server_does() {
    let board = Board::Pi4b;
    let mut lan = require!(lan_for(&[board], &[]));
    let payload = require!(tiny_payload());
    let with_text = |text: Vec<u8>| {
        let mut files = copied(board);
        let config = block("What to copy", 0) + &block("A menu beside Bramble", 0);
        files.retain(|(name, _)| name != "config.txt");
        files.push(("config.txt".to_owned(), config.into_bytes()));
        files.push(("netboot.cpio".to_owned(), text));
        files
    };
    // DHCP names another menu, which nobody asks for.
    let server = Server::start().unwrap();
    server.put("/payload.img", Answer::file(&payload));
    let script = format!(
        "#!ipxe\nkernel {} from a card\nboot\n",
        server.url("/payload.img")
    );
    let scratch = Scratch::directory("text");
    let image = scratch.0.join("card.img");
    card::make(&image, Layout::Card, &with_text(script.into_bytes())).unwrap();
    let left = Stage::new(board, Firmware::default()).from_card(&image).unwrap();
    let machine = left.machine(&scratch.0).unwrap();
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    qemu.console()
        .expect(r"^menu: a script from .* \(initramfs\)", PATIENCE)
        .unwrap();
    qemu.console().expect(HELLO, PATIENCE).unwrap();
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.target == "/payload.img")
    );

    let mut archive = Archive::new();
    archive.file(
        "pxelinux.cfg/default",
        0o644,
        block("A menu beside Bramble", 1).as_bytes(),
    );
    let root = lan.directory.join("tftp");
    write(&root, &with_text(archive.finish()));
    write(&root, &[("vmlinuz".to_owned(), fs::read(&payload).unwrap())]);
    lan.dnsmasq_with(&recipe("No card: one dnsmasq for both stages", 0, &root));
    let stage = Stage::new(board, Firmware::default());
    let left = stage.from_network(Cable::plug(&lan.name, TAP).unwrap()).unwrap();
    let files = Scratch::directory("left");
    let machine = left.machine(&files.0).unwrap().namespace(&lan.name);
    let mut qemu = machine.net(Net::tap(TAP)).start().unwrap();
    qemu.console()
        .expect(
            r"^menu: 1 entries from .*/pxelinux.cfg/default \(initramfs\)",
            PATIENCE,
        )
        .unwrap();
    qemu.console().expect(HELLO, PATIENCE).unwrap();
}

/// A boot.img with an overlay, a parameter of it, and an initramfs high in memory with the tree below it.
#[test]
fn a_pi_4_boots_from_a_boot_img_with_an_overlay_and_an_initramfs() {
    let board = Board::Pi4b;
    require!(machine(board, RELEASE));
    require!(debian());
    require!(labelled_tree(board));
    let scratch = Scratch::directory("boot-img");
    let mut files = copied(board);
    files.retain(|(name, _)| name != "config.txt");
    let config = "[pi4]\ndtoverlay=disable-bt,speed=115200\n[all]\ninitramfs initramfs8 followkernel\n";
    files.extend([
        ("config.txt".to_owned(), config.into()),
        ("initramfs8".to_owned(), vec![0xa5; 3_000_001]),
    ]);
    let image = scratch.0.join("boot.img");
    card::make(&image, Layout::BootImage, &files).unwrap();
    let left = Stage::new(board, Firmware::default()).from_card(&image).unwrap();
    assert_eq!(left.said, [""; 0]);
    let tree = dtoolkit::fdt::Fdt::new(left.tree()).unwrap();
    let uart = tree.find_node("/soc/serial@7e201000").unwrap();
    let value =
        |name: &str| dtoolkit::Node::property(&uart, name).map(|it| dtoolkit::Property::value(&it).to_vec());
    assert_eq!(value("max-speed"), Some(115_200_u32.to_be_bytes().to_vec()));
    boots_over_http(&left, board);
}

/// An image of a kernel, as far as the firmware looks at it, filled with `byte`.
fn image_of(byte: u8, length: usize) -> Vec<u8> {
    let mut image = vec![byte; length];
    image[8..16].copy_from_slice(&[0; 8]);
    image[56..60].copy_from_slice(b"ARM\x64");
    image
}

/// The guide's way to roll out a kernel8.img, over and over, while a node asks for it.
#[test]
fn a_kernel_rolled_out_on_a_live_tftp_root_is_the_old_or_the_new() {
    let mut lan = require!(lan_for(&[], &["in.tftpd"]));
    let root = lan.directory.join("tftp");
    let mut files = copied(Board::Pi4b);
    files.retain(|(name, _)| name != "kernel8.img");
    let kernels = [image_of(b'o', 600_000), image_of(b'n', 700_001)];
    write(&root, &files);
    fs::write(root.join("kernel8.img"), &kernels[0]).unwrap();
    let dnsmasq = recipe("No card: one dnsmasq for both stages", 0, &root);
    for tftp in ["dnsmasq", "in.tftpd"] {
        if tftp == "dnsmasq" {
            lan.dnsmasq_with(&dnsmasq);
        } else {
            lan.stop();
            lan.dnsmasq_with(&dnsmasq.replace("enable-tftp\n", ""));
            tftpd(&mut lan, &root);
        }
        let rolls_out = recipe("A new kernel8.img while nodes boot", 0, &root);
        let done = AtomicBool::new(false);
        let mut seen = [0; 2];
        let build = lan.directory.join("build");
        fs::create_dir_all(&build).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for kernel in kernels.iter().cycle() {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    fs::write(build.join("kernel8.img"), kernel).unwrap();
                    let mut shell = Command::new("sh");
                    let ran = shell.args(["-e", "-c", &rolls_out]).current_dir(&build).status();
                    assert!(ran.unwrap().success());
                }
            });
            // Whatever fails below, the thread ends.
            let ends = Ends(&done);
            for _ in 0..20 {
                let stage = Stage::new(Board::Pi4b, Firmware::default());
                let left = stage.from_network(Cable::plug(&lan.name, TAP).unwrap()).unwrap();
                let which = kernels.iter().position(|kernel| kernel == left.kernel());
                seen[which.expect("half a kernel")] += 1;
            }
            drop(ends);
        });
        assert!(seen.iter().all(|count| *count > 0), "{tftp}: {seen:?}");
    }
}

/// Says that it is over when dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What was written to a volume, and where.
type Writes = Arc<Mutex<Vec<(u64, Vec<u8>)>>>;

/// A card's volume that remembers what was written to it; `at` is a place on the card.
struct Remembered {
    file: File,
    at: u64,
    writes: Writes,
}

impl Read for Remembered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Write for Remembered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.writes.lock().unwrap().push((self.at, bytes.to_vec()));
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Remembered {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => PARTITION + at,
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().saturating_add_signed(by),
        };
        Ok(self.at - PARTITION)
    }
}

/// The guide's steps on a live card: wherever they break off, and whatever of a step's writes reached the card, the board starts a
/// whole kernel, and the trial the new one.
#[test]
fn a_kernel_rolled_out_on_a_live_card_is_the_old_or_the_new() {
    let board = Board::Pi4b;
    let [old, new] = [image_of(b'o', 30_000), image_of(b'n', 40_001)];
    let config = |which: char| format!("arm_64bit=1\nenable_uart=1\nkernel=kernel8-{which}.img\n");
    let scratch = Scratch::directory("live-card");
    let image = scratch.0.join("card.img");
    let tree = Firmware::default().minimal(board).unwrap();
    let files = [
        ("config.txt", config('a').into_bytes()),
        ("kernel8-a.img", old.clone()),
        (board.firmware_tree(), tree),
    ];
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes));
    card::make(&image, Layout::Card, &files).unwrap();
    let disk = File::options().read(true).write(true).open(&image).unwrap();
    // The steps of the guide, between which it syncs.
    let steps = [
        ("kernel8-b.img", new.clone()),
        ("tryboot.txt", config('b').into_bytes()),
        ("config.txt", config('b').into_bytes()),
    ];
    let starts = |tryboot: bool| {
        let mut stage = Stage::new(board, Firmware::default());
        if tryboot {
            stage = stage.after(1 << 1);
        }
        stage.from_card(&image).unwrap().kernel().to_vec()
    };
    let mut random = 1_u64;
    for (step, (name, bytes)) in steps.into_iter().enumerate() {
        let before = fs::read(&image).unwrap();
        let writes = Writes::default();
        let volume = Remembered {
            file: disk.try_clone().unwrap(),
            at: PARTITION,
            writes: Arc::clone(&writes),
        };
        let system = fatfs::FileSystem::new(volume, fatfs::FsOptions::new()).unwrap();
        // Not cut to nothing first, as `dd conv=notrunc` does not.
        system
            .root_dir()
            .create_file(name)
            .unwrap()
            .write_all(&bytes)
            .unwrap();
        system.unmount().unwrap();
        let writes = writes.lock().unwrap();
        for tried in 0..300 {
            for (at, bytes) in writes.iter() {
                let at = *at as usize;
                disk.write_all_at(&before[at..at + bytes.len()], at as u64)
                    .unwrap();
            }
            let prefix = tried * writes.len() / 150;
            for (number, (at, bytes)) in writes.iter().enumerate() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // First as far as it got, in its order; then some of it, in any order that a card may have.
                let written = if tried < 150 {
                    number < prefix
                } else {
                    random >> 63 == 0
                };
                if written {
                    disk.write_all_at(bytes, *at).unwrap();
                }
            }
            let kernel = starts(false);
            assert!(kernel == old || step == 2 && kernel == new, "{name}, {tried}");
        }
        for (at, bytes) in writes.iter() {
            disk.write_all_at(bytes, *at).unwrap();
        }
        assert!((starts(false) == new) == (step == 2));
        if step > 0 {
            assert!(starts(true) == new);
        }
    }
}
