//! The real image on emulated boards: Debian, a real LAN, every place in memory, failures, a person's keys, faults.
//!
//! What a boot says is read from its console, as a person would. A test whose machine, image or program is missing is
//! skipped with the reason.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use object::{Object, ObjectSymbol};
use qemu::http::{Answer, Server};
use qemu::{Board, Machine, Net, Payload, Qemu};

/// Gives what a test needs, or says why the test is skipped and returns from it.
macro_rules! require {
    ($needs:expr) => {
        match $needs {
            Ok(found) => found,
            Err(reason) => {
                let here = || ();
                let name = std::any::type_name_of_val(&here).trim_end_matches("::{{closure}}");
                qemu::skip(name, format!("{reason:#}"));
                return;
            }
        }
    };
}

mod conditions;
mod debian;
mod defmt;
mod failures;
mod faults;
mod lan;
mod no_network;
mod position;
mod terminal;

/// For each line that is waited for, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);

/// The last line of the built-in payload.
const HELLO: &str = "^hello: built-in payload$";

/// The release image.
const RELEASE: &str = "kernel8.img";

/// The image with assertions.
const DEBUG: &str = "kernel8-debug.img";

/// A board and an image to try on it.
fn machine(board: Board, image: &str) -> Result<Machine> {
    if let Some(reason) = board.unavailable() {
        anyhow::bail!("{}: {reason}", board.name());
    }
    Ok(Machine::new(board, qemu::image(image)?))
}

/// The built-in payload, which says hello within a second.
fn tiny_payload() -> Result<PathBuf> {
    qemu::image("payload.img")
}

/// The address of a symbol of the image, from its base, for tests that look behind the console.
fn symbol(elf: &str, name: &str) -> Result<u64> {
    let bytes = std::fs::read(qemu::image(elf)?)?;
    let file = object::File::parse(&*bytes)?;
    let symbol = file
        .symbol_by_name(name)
        .with_context(|| format!("{elf}: no {name}"))?;
    Ok(symbol.address())
}

/// A web server whose `/menu` boots the built-in payload.
fn tiny_site() -> Result<Server> {
    let server = Server::start()?;
    server.put(
        "/menu",
        Answer::ok("DEFAULT tiny\nLABEL tiny\n  LINUX payload.img\n  APPEND one two\n"),
    );
    server.put("/payload.img", Answer::file(tiny_payload()?));
    Ok(server)
}

/// QEMU's user network with `path` on `server` as DHCP's boot file.
fn boot_file(server: &Server, path: &str) -> Net {
    Net::user().boot_file(server.url(path))
}

/// Debian's kernel and initrd.
fn debian() -> Result<Payload> {
    Payload::find().context("Debian")
}

/// The guest powers off or resets, and QEMU has nothing to complain about.
fn ends(qemu: &mut Qemu) {
    let status = qemu.wait(PATIENCE).unwrap();
    assert!(status.success(), "{status}: {}", qemu.complaints());
}
