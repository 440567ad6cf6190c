//! The main job through an iPXE script: Debian chosen from its menu by a key on the serial line, and by the clock while
//! random bytes hail down on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use qemu::http::{Answer, Server};
use qemu::{Board, Firmware, Qemu};
use tests::payload::body;

use crate::debian::{Expected, sees_what_was_served};
use crate::{PATIENCE, RELEASE, boot_file, debian, machine};

/// Bytes and pauses of the hail: half of what Bramble takes off a line while a menu is shown, so that the emulator keeps
/// none back for Linux, as it would for as long as nobody reads.
const HAIL: usize = 32;
const TICK: Duration = Duration::from_millis(10);

/// Starts `board` with a script whose menu waits so many milliseconds, lets `choose` be there, and expects Debian.
fn main_job(board: Board, menu: &str, choose: impl FnOnce(&mut Qemu)) {
    let payload = debian().unwrap();
    let machine = machine(board, RELEASE).unwrap();
    let initrd = payload.initrd(board).unwrap();
    let server = Server::start().unwrap();
    server.put(
        "/boot/start.ipxe",
        Answer::ok(
            "#!ipxe\nset os debian\nchain --autofree menu.ipxe?mac=${mac:hexhyp}&arch=${buildarch} || goto lost\n\
             goto ${target}\n\
             :debian\necho chosen: ${target}\nkernel /${os}/vmlinuz console=ttyAMA0,115200 quiet \\\n  retain_initrd\n\
             initrd --name initrd /${os}/initrd || goto lost\nboot\n\
             :rescue\necho chosen: ${target}\n:lost\nsleep 600\n",
        ),
    );
    let firmware = Firmware::default();
    let mac = firmware.mac_text().replace(':', "-");
    server.put(
        "/boot/menu.ipxe",
        Answer::ok(format!(
            "#!ipxe\nmenu Nodes of ${{next-server}}\nitem --gap Systems\nitem --key r rescue Rescue\n\
             item --key d debian Debian 12\n{menu} target\n"
        )),
    );
    server.put("/debian/vmlinuz", Answer::file(payload.kernel()));
    server.put("/debian/initrd", Answer::ok(&initrd));
    let mut qemu = machine
        .device_tree(payload.device_tree(board).unwrap())
        .firmware(firmware.clone())
        .net(boot_file(&server, "/boot/start.ipxe"))
        .start()
        .unwrap();
    choose(&mut qemu);
    let expected = Expected {
        firmware,
        cmdline: "console=ttyAMA0,115200 quiet retain_initrd".into(),
        initrd,
        ethernet: true,
        asked: vec![],
    };
    sees_what_was_served(&mut qemu, &expected);
    let asked: Vec<String> = server
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    let menu = format!("/boot/menu.ipxe?mac={mac}&arch=arm64");
    assert_eq!(
        asked,
        ["/boot/start.ipxe", &menu, "/debian/vmlinuz", "/debian/initrd"]
    );
}

#[test]
fn a_key_on_the_serial_line_chooses_debian() {
    let board = Board::UsbNet3b;
    require!(debian());
    require!(machine(board, RELEASE));
    main_job(board, "choose --default rescue --timeout 600000", |qemu| {
        let console = qemu.console();
        console.expect("Debian 12", PATIENCE).unwrap();
        console.send(b"d").unwrap();
        console.expect("^chosen: debian$", PATIENCE).unwrap();
    });
}

#[test]
fn a_hail_of_bytes_neither_stops_nor_changes_an_unattended_menu() {
    let board = Board::Pi4b;
    require!(debian());
    require!(machine(board, RELEASE));
    main_job(board, "choose --default debian --timeout 3000", |qemu| {
        let mut line = qemu.console().try_clone().unwrap();
        let [late, over] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let (is_late, is_over) = (late.clone(), over.clone());
        let hail = thread::spawn(move || {
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                let mut bytes = body(HAIL, sent);
                if is_late.load(Ordering::Relaxed) {
                    // Linux may get the last of it, whose terminal obeys control characters.
                    bytes
                        .iter_mut()
                        .filter(|byte| **byte < b' ')
                        .for_each(|byte| *byte |= 0x40);
                }
                line.send(&bytes).unwrap();
                sent += 1;
                thread::sleep(TICK);
            }
            sent
        });
        let console = qemu.console();
        let nearly = console.expect("Goes on in 1 s", PATIENCE);
        late.store(true, Ordering::Relaxed);
        let chosen = nearly.and_then(|_| console.expect("^chosen: debian$", PATIENCE));
        over.store(true, Ordering::Relaxed);
        let sent = hail.join().unwrap();
        chosen.unwrap();
        // The menu alone took three seconds of the host's time or of the guest's.
        assert!(sent > 20, "{sent} bursts");
    });
}
