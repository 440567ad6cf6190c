//! The harness by itself, without Bramble: Debian's kernel through QEMU's own loader, and the built-in payload through
//! our stub. What fails here fails elsewhere for the same reason.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use qemu::http::{Answer, Server};
use qemu::payload::HELLO;
use qemu::{Board, Entry, Firmware, Machine, Net, Payload, Qemu, Uart, capture};
use sha2::{Digest, Sha256};

const PATIENCE: Duration = Duration::from_secs(120);

/// The payload and an initrd file for QEMU, or the reason to skip `test`.
fn demo(test: &str) -> Option<(Payload, Vec<u8>, PathBuf)> {
    if let Some(reason) = Board::UsbNet3b.unavailable() {
        qemu::skip(test, reason);
        return None;
    }
    match Payload::find() {
        Ok(payload) => {
            let bytes = payload.initrd(Board::UsbNet3b).unwrap();
            let file = std::env::temp_dir().join(format!("bramble-{test}-{}", std::process::id()));
            fs::write(&file, &bytes).unwrap();
            Some((payload, bytes, file))
        }
        Err(reason) => {
            qemu::skip(test, format!("{reason:#}"));
            None
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn debian_reaches_user_space_and_the_web_server() {
    let Some((payload, initrd, file)) = demo("debian_reaches_user_space_and_the_web_server") else {
        return;
    };
    let server = Server::start().unwrap();
    server.put("/zeros", Answer::zeros(100_000).chunked(1000));
    server.put("/short", Answer::zeros(100_000).truncate(99_999));
    // Every byte value, NUL among them, and no length that divides anything.
    let blob: Vec<u8> = (0..50_001_u32).map(|at| (at * 7 % 256) as u8).collect();
    server.put("/blob", Answer::ok(&blob));
    server.put("/up", Answer::ok(""));
    let board = Board::UsbNet3b;
    let firmware = Firmware {
        cmdline: format!(
            "console=ttyAMA0,115200 retain_initrd quiet bramble.wget={} bramble.wget={} bramble.get={} \
             bramble.put={}",
            server.url("/zeros"),
            server.url("/short"),
            server.url("/blob"),
            server.url("/up"),
        ),
        ..Firmware::default()
    };
    let pcap = file.with_extension("pcap");
    let mut machine = Machine::new(board, payload.kernel())
        .device_tree(payload.device_tree(board).unwrap())
        .firmware(firmware.clone())
        .initrd(&file)
        .capture(&pcap)
        .start()
        .unwrap();
    let console = machine.console();
    for line in [
        "^hello: cpus 4 online 0-3$".to_owned(),
        format!("^hello: cmdline {}$", regex::escape(&firmware.cmdline)),
        format!(
            "^hello: initrd {} bytes sha256 {}$",
            initrd.len(),
            digest(&initrd)
        ),
        format!("^hello: serial-number {}$", firmware.serial_text()),
        format!("^hello: local-mac-address {}$", firmware.mac_text()),
        "^hello: carrier 1$".to_owned(),
        "^hello: nic cdc_ether ([0-9a-f]{2}:){5}[0-9a-f]{2} ".to_owned(),
        "^hello: lease 10.0.2.15$".to_owned(),
        "^hello: wget in [0-9]+ ms$".to_owned(),
        format!("^hello: wget {} failed$", server.url("/short")),
        format!("^hello: get 50001 bytes sha256 {}$", digest(&blob)),
        "^hello: put 50001 bytes: HTTP/1.1 200 OK$".to_owned(),
        HELLO.to_owned(),
    ] {
        console.expect(&line, PATIENCE).unwrap();
    }
    assert!(machine.wait(PATIENCE).unwrap().success());
    let requests = server.requests();
    let uploaded = requests.iter().find(|request| request.target == "/up").unwrap();
    assert_eq!(*uploaded.body, *blob);
    let frames = capture::frames(&pcap).unwrap();
    let discover = frames.iter().find(|frame| frame.udp_to(67).is_some()).unwrap();
    // Guest time since reset, not a date: Linux was up by then, and the run's patience was not used up.
    assert!(
        (Duration::from_millis(100)..PATIENCE).contains(&discover.time),
        "{:?}",
        discover.time
    );
    fs::remove_file(pcap).unwrap();
    fs::remove_file(file).unwrap();
}

/// Starts the built-in payload the Pi firmware's way, or says why `test` is skipped.
fn built_in(test: &str, board: Board, address: u64, uart: Uart) -> Option<Qemu> {
    if let Some(reason) = board.unavailable() {
        qemu::skip(test, reason);
        return None;
    }
    let image = match qemu::image("payload.img") {
        Ok(image) => image,
        Err(reason) => {
            qemu::skip(test, format!("{reason:#}"));
            return None;
        }
    };
    let firmware = Firmware {
        cmdline: "one two".to_owned(),
        uart,
        ..Firmware::default()
    };
    let machine = Machine::new(board, image)
        .net(Net::none())
        .firmware(firmware)
        .entry(Entry::At(address));
    Some(machine.start().unwrap())
}

#[test]
fn the_stub_enters_at_el2_with_the_device_tree() {
    let test = "the_stub_enters_at_el2_with_the_device_tree";
    for (board, address, uart) in [
        (Board::UsbNet3b, 0x20_0000, Uart::Pl011),
        (Board::UsbNet3aPlus, 0x8_0000, Uart::Mini),
    ] {
        let Some(mut machine) = built_in(test, board, address, uart) else {
            return;
        };
        let console = machine.console();
        for line in [
            format!("^payload: entered at {address:#018x} in EL2$"),
            "^payload: x1 0x0000000000000000$".to_owned(),
            "^payload: device tree [0-9]+ bytes, [0-9]+ nodes, depth [0-9]+, whole$".to_owned(),
            "^payload: serial-number 10000000b4a3b1e5$".to_owned(),
            "^payload: cmdline one two$".to_owned(),
            HELLO.to_owned(),
        ] {
            console.expect(&line, PATIENCE).unwrap();
        }
        assert!(machine.wait(PATIENCE).unwrap().success());
    }
}

#[test]
fn instructions_are_counted_and_the_monitor_answers() {
    let test = "instructions_are_counted_and_the_monitor_answers";
    if let Some(reason) = Board::Pi4b.unavailable() {
        qemu::skip(test, reason);
        return;
    }
    let image = match qemu::image("payload.img") {
        Ok(image) => image,
        Err(reason) => {
            qemu::skip(test, format!("{reason:#}"));
            return;
        }
    };
    let mut machine = Machine::new(Board::Pi4b, image)
        .nic_option("faults", 7)
        .count_instructions()
        // The payload would be over before the monitor is asked.
        .argument("-S")
        .start()
        .unwrap();
    machine.monitor().unwrap().set_link(false).unwrap();
    assert_eq!(machine.nic_number("faults").unwrap(), 7);
    // The payload touches no NIC.
    assert_eq!(machine.nic_number("faults-injected").unwrap(), 0);
    assert!(machine.nic_number("no-such-property").is_err());
    machine.monitor().unwrap().go_on().unwrap();
    machine.console().expect(HELLO, PATIENCE).unwrap();
    assert!(machine.wait(PATIENCE).unwrap().success());
    // Every byte on the console takes some.
    assert!(machine.instructions().unwrap() > 1000);
}

#[test]
fn a_held_machine_is_ended_and_was_counted() {
    let test = "a_held_machine_is_ended_and_was_counted";
    let Some((payload, _, file)) = demo(test) else {
        return;
    };
    if let Some(reason) = Board::Pi4b.unavailable() {
        qemu::skip(test, reason);
        return;
    }
    let board = Board::UsbNet3b;
    let mut machine = Machine::new(board, payload.kernel())
        .device_tree(payload.device_tree(board).unwrap())
        .initrd(&file)
        .count_instructions()
        .argument("-S")
        .start()
        .unwrap();
    assert!(machine.instructions().is_err());
    let mut monitor = machine.monitor().unwrap();
    monitor.go_on().unwrap();
    monitor.stop().unwrap();
    monitor.quit().unwrap();
    assert!(machine.wait(PATIENCE).unwrap().success());
    machine.instructions().unwrap();
    fs::remove_file(file).unwrap();
}

#[test]
fn what_qemu_refuses_is_told() {
    let test = "what_qemu_refuses_is_told";
    if let Some(reason) = Board::UsbNet3b.unavailable() {
        qemu::skip(test, reason);
        return;
    }
    let refused = Machine::new(Board::UsbNet3b, file!().trim_start_matches("qemu/"))
        .argument("-no-such-option")
        .start();
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("-no-such-option"), "{error}");
}
