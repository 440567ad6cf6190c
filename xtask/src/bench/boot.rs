//! Measures one boot against Linux's own driver, on the same QEMU and web server, and prints one table.
//!
//! Three runs: Bramble with the built-in payload and a large initrd; the same with one instruction a nanosecond, where
//! guest time counts instructions; and Debian's kernel with `cdc_ether` and busybox wget for the same bytes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use qemu::http::{Answer, Server};
use qemu::payload::HELLO;
use qemu::{Board, Firmware, Machine, Net, Payload, capture};

use super::trial::{PATIENCE, noise, number, scratch, verdict};
use crate::image::{self, Profile};
use crate::setup::{self, Goal};
use crate::{boot, builtin};

/// Bytes that both download.
const BYTES: usize = 8 << 20;

/// The port of DHCP servers.
const DHCP_SERVER: u16 = 67;

/// Bramble's download is to be this many times as fast as Linux's.
const RATIO: f64 = 4.0;

/// From reset, the first DHCP packet is to come sooner.
const FIRST_PACKET: Duration = Duration::from_secs(2);

/// What one run of Bramble showed. Times are the guest's, since reset.
struct Run {
    /// The first frame to a DHCP server.
    dhcp: Duration,
    /// The payload's first instruction.
    payload: Duration,
    /// The large download alone.
    fetch: Duration,
    heap_peak: u64,
    stack_peak: u64,
}

/// Measures and prints; whether every target was met.
pub(super) fn run() -> Result<bool> {
    setup::run(Goal::Boot);
    let board = Board::default();
    if let Some(reason) = board.unavailable() {
        bail!("bench: board {}: {reason}", board.name());
    }
    let image = image::compile(Profile::Release)?.file;
    let server = Server::start()?;
    server.put("/menu", Answer::ok(boot::demo_menu("", true)));
    server.put("/vmlinuz", Answer::file(builtin::build()?));
    server.put("/initrd", Answer::ok(noise(BYTES)));
    println!("bench: Bramble");
    let bramble = bramble(&server, board, &image, false)?;
    println!("bench: Bramble, one instruction a nanosecond");
    let counted = self::bramble(&server, board, &image, true)?;
    println!("bench: Linux");
    let linux = linux(&server, board);
    Ok(table(&bramble, &counted, linux.as_ref()))
}

/// Boots the built-in payload with Bramble.
fn bramble(server: &Server, board: Board, image: &Path, instruction_clock: bool) -> Result<Run> {
    let pcap = scratch("pcap");
    let mut machine = Machine::new(board, image)
        .net(Net::user().boot_file(server.url("/menu")))
        .capture(&pcap);
    if let Ok(payload) = Payload::find() {
        machine = machine.device_tree(payload.device_tree(board)?);
    }
    if instruction_clock {
        machine = machine.instruction_clock();
    }
    let mut qemu = machine.start()?;
    let console = qemu.console();
    let fetch = console.expect("^.*fetch: .*/initrd.*: ([0-9]+) bytes in ([0-9]+) ms", PATIENCE)?;
    ensure!(number(&fetch, 0)? == BYTES as u64, "bench: {}", fetch.text);
    let peaks = console.expect(
        "handoff: heap peak ([0-9]+) bytes, stack peak ([0-9]+) bytes",
        PATIENCE,
    )?;
    let counter = console.expect("^payload: counter ([0-9]+) at ([0-9]+) Hz$", PATIENCE)?;
    console.expect(HELLO, PATIENCE)?;
    qemu.wait(PATIENCE)?;
    let frames = capture::frames(&pcap)?;
    let first = frames.iter().find(|frame| frame.udp_to(DHCP_SERVER).is_some());
    let dhcp = first.context("bench: no DHCP packet in the capture")?.time;
    // Left behind when something above failed, for whoever looks into it.
    fs::remove_file(&pcap).context("bench: capture")?;
    let ticks = u128::from(number(&counter, 0)?) * 1_000_000_000 / u128::from(number(&counter, 1)?.max(1));
    Ok(Run {
        dhcp,
        payload: Duration::from_nanos(u64::try_from(ticks)?),
        fetch: Duration::from_millis(number(&fetch, 1)?),
        heap_peak: number(&peaks, 0)?,
        stack_peak: number(&peaks, 1)?,
    })
}

/// Debian's kernel downloads the same bytes with its own driver; the time that this took.
fn linux(server: &Server, board: Board) -> Result<Duration> {
    let payload = Payload::find()?;
    let initrd = scratch("initrd");
    fs::write(&initrd, payload.initrd(board)?).context("bench: initrd")?;
    let firmware = Firmware {
        cmdline: format!(
            "console=ttyAMA0,115200 quiet bramble.wget={}",
            server.url("/initrd")
        ),
        ..Firmware::default()
    };
    let mut qemu = Machine::new(board, payload.kernel())
        .device_tree(payload.device_tree(board)?)
        .firmware(firmware)
        .initrd(&initrd)
        .start()?;
    let wget = qemu.console().expect("^hello: wget in ([0-9]+) ms$", PATIENCE);
    fs::remove_file(&initrd).context("bench: initrd")?;
    Ok(Duration::from_millis(number(&wget?, 0)?))
}

/// Prints the figures; whether every target was met.
fn table(bramble: &Run, counted: &Run, linux: Result<&Duration, &anyhow::Error>) -> bool {
    let row = |name: &str, figure: String| println!("{name:<52} {figure}");
    println!();
    row("payload over usb-net, Bramble", rate(bramble.fetch));
    let fast = match linux {
        Ok(time) => {
            row("payload over usb-net, Linux cdc_ether + wget", rate(*time));
            let ratio = time.as_secs_f64() / bramble.fetch.as_secs_f64().max(0.001);
            row(
                "  Bramble is faster by",
                format!(
                    "{ratio:.1} times (target: {RATIO} or more) {}",
                    verdict(ratio >= RATIO)
                ),
            );
            ratio >= RATIO
        }
        Err(reason) => {
            row(
                "payload over usb-net, Linux cdc_ether + wget",
                format!("not available: {reason:#}; {}", verdict(false)),
            );
            false
        }
    };
    let prompt = bramble.dhcp < FIRST_PACKET;
    row(
        "reset to first DHCP packet",
        format!(
            "{} (target: under {}) {}",
            seconds(bramble.dhcp),
            seconds(FIRST_PACKET),
            verdict(prompt)
        ),
    );
    row("  instructions", millions(counted.dhcp));
    row(
        "reset to the payload's first instruction",
        seconds(bramble.payload),
    );
    row("  instructions", millions(counted.payload));
    let per_byte = counted.fetch.as_nanos() as f64 / BYTES as f64;
    row(
        "  instructions for each downloaded byte",
        format!("{per_byte:.1}"),
    );
    row("heap, high-water mark", format!("{} bytes", bramble.heap_peak));
    row("stack, high-water mark", format!("{} bytes", bramble.stack_peak));
    println!();
    println!(
        "One run each on this machine: {BYTES} bytes over HTTP, {}.",
        Board::default().name()
    );
    println!(
        "Seconds are the guest's clock since reset, which is the host's wall clock; instructions are guest time with \
         -icount shift=0, where a wait counts as instructions."
    );
    fast && prompt
}

fn rate(time: Duration) -> String {
    let rate = BYTES as f64 / 1e6 / time.as_secs_f64().max(0.001);
    format!("{rate:.2} MB/s ({:.2} s)", time.as_secs_f64())
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// With the instruction clock, a nanosecond is an instruction.
fn millions(time: Duration) -> String {
    format!("{:.1} million", time.as_nanos() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(dhcp: u64, fetch: u64, linux: Result<u64>) -> bool {
        let run = Run {
            dhcp: Duration::from_millis(dhcp),
            payload: Duration::from_secs(3),
            fetch: Duration::from_millis(fetch),
            heap_peak: 0,
            stack_peak: 0,
        };
        table(&run, &run, linux.map(Duration::from_millis).as_ref())
    }

    #[test]
    fn each_missed_target_fails_the_bench() {
        assert!(met(1999, 1000, Ok(4000)));
        assert!(!met(2000, 1000, Ok(4000)));
        assert!(!met(1999, 1000, Ok(3999)));
        assert!(!met(1999, 1000, Err(anyhow::anyhow!("no payload"))));
    }
}
