//! Would the model of the caches notice? Each maintenance of the release image is left out in turn, and each port boots.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use qemu::http::{Answer, Server};
use qemu::payload::HELLO;
use qemu::{Board, Coherence, Entry, Machine, Net};

use crate::builtin;
use crate::elf::{Elf, Function};
use crate::image::{self, Profile};
use crate::setup::{self, Goal};

/// Each port that a Pi has, and the one of released QEMUs.
const PORTS: [(Board, &str); 4] = [
    (Board::Pi4b, "GENET"),
    (Board::Pi3b, "LAN9514"),
    (Board::Pi3bPlus, "LAN7515"),
    (Board::UsbNet3b, "usb-net"),
];

/// Where the image is loaded.
const LOADED: u64 = 0x8_0000;

/// Where it runs on these boards.
const HOME: u64 = 0x3b00_0000;

/// Bytes of the initrd: every receive buffer is used more than once.
const INITRD: usize = 1 << 20;

/// For the payload's last line, and for the end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Instructions that maintain caches, without their register.
const MAINTENANCE: [(u32, &str); 10] = [
    (0xd508_7620, "dc ivac"),
    (0xd50b_7a20, "dc cvac"),
    (0xd50b_7b20, "dc cvau"),
    (0xd50b_7e20, "dc civac"),
    (0xd508_7640, "dc isw"),
    (0xd508_7a40, "dc csw"),
    (0xd508_7e40, "dc cisw"),
    (0xd508_7500, "ic iallu"),
    (0xd508_7100, "ic ialluis"),
    (0xd50b_7520, "ic ivau"),
];

/// A part of a function's path by which the module of DMA memory is known: who calls its maintenance hands a buffer over.
const DMA: &str = "kernel::dma::";

/// An instruction that maintains, or that calls a function which does.
#[derive(Debug, PartialEq, Eq)]
struct Site {
    /// In the image.
    offset: u64,
    /// What it is, and where.
    name: String,
}

/// What came of leaving a site out on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It maintains nothing there.
    Unused,
    Missed,
    Noticed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unused => "–",
            Self::Missed => "**missed**",
            Self::Noticed => "noticed",
        })
    }
}

/// Prints a table; success when the model noticed each maintenance that is used, on some port.
pub(super) fn run() -> Result<ExitCode> {
    setup::run(Goal::Test);
    let image = image::compile(Profile::Release)?.file;
    let bytes = std::fs::read(image.with_extension("elf")).context("campaign: the image's ELF file")?;
    let sites = sites(&Elf::new(&bytes)?)?;
    let server = Server::start()?;
    server.put(
        "/menu",
        Answer::ok("LABEL tiny\n  LINUX payload\n  INITRD blob\n"),
    );
    server.put("/payload", Answer::file(builtin::build()?));
    server.put("/blob", Answer::ok(vec![0xa5; INITRD]));
    for (board, port) in PORTS {
        let whole = boot(board, &image, &server, None)?;
        ensure!(
            whole.findings.is_empty(),
            "campaign: {port}: {:?}",
            whole.findings
        );
    }
    println!("campaign: {} places, {} ports", sites.len(), PORTS.len());
    let outcomes = outcomes(&sites, &image, &server)?;
    Ok(table(&sites, &outcomes))
}

/// Every place of the image's text that maintains caches, by itself or by a call.
fn sites(elf: &Elf<'_>) -> Result<Vec<Site>> {
    let sections = elf.sections()?;
    let text = sections.iter().find(|section| section.name == ".text");
    let base = text.context("campaign: no text")?.address;
    let words: Vec<(u64, u32)> = elf
        .content(".text")?
        .as_chunks::<4>()
        .0
        .iter()
        .zip((base..).step_by(4))
        .map(|(word, address)| (address, u32::from_le_bytes(*word)))
        .collect();
    let functions = elf.functions()?;
    let sites = sites_of(&words, &functions);
    ensure!(!sites.is_empty(), "campaign: no maintenance in the image");
    let mut offsets: Vec<u64> = sites.iter().map(|site| site.offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    ensure!(offsets.len() == sites.len(), "campaign: a place is listed twice");
    Ok(sites)
}

fn sites_of(words: &[(u64, u32)], functions: &[Function]) -> Vec<Site> {
    let within = |address: u64| functions.iter().find(|function| function.holds(address));
    let mut sites = Vec::new();
    let mut targets: Vec<&Function> = Vec::new();
    for &(address, word) in words {
        let Some(name) = maintenance(word) else {
            continue;
        };
        let function = within(address);
        targets.extend(function.filter(|function| !targets.contains(function)));
        let place = function.map_or_else(|| "assembly".to_owned(), Function::path);
        sites.push(Site {
            offset: address,
            name: format!("`{name}` at {address:#x}, {place}"),
        });
    }
    // Who calls the instructions' functions, then who calls those of the callers that belong to DMA memory.
    let mut next = 0;
    while let Some(&target) = targets.get(next) {
        next += 1;
        for &(address, word) in words {
            if branches_to(address, word) != Some(target.address) || target.holds(address) {
                continue;
            }
            let caller = within(address);
            let hands_over = caller.filter(|caller| caller.path().starts_with(DMA));
            targets.extend(hands_over.filter(|function| !targets.contains(function)));
            let place = caller.map_or_else(|| "assembly".to_owned(), Function::path);
            let path = target.path();
            let called = path.rsplit("::").next().unwrap_or_default();
            sites.push(Site {
                offset: address,
                name: format!("`{called}` at {address:#x}, {place}"),
            });
        }
    }
    sites
}

fn maintenance(word: u32) -> Option<&'static str> {
    let found = MAINTENANCE.iter().find(|(code, _)| word & !0x1f == *code);
    found.map(|(_, name)| *name)
}

/// Where B or BL at `address` leads.
fn branches_to(address: u64, word: u32) -> Option<u64> {
    (word & 0x7c00_0000 == 0x1400_0000).then(|| {
        let words = i64::from((word << 6) as i32 >> 6);
        address.wrapping_add_signed(words * 4)
    })
}

/// Boots to the payload's last line; the payload reads all that it got, without caches.
fn boot(board: Board, image: &Path, server: &Server, without: Option<&Site>) -> Result<Coherence> {
    let mut machine = Machine::new(board, image)
        .entry(Entry::At(LOADED))
        .net(Net::user().boot_file(server.url("/menu")))
        .watch_caches();
    if let Some(site) = without {
        machine = machine
            .without_maintenance(LOADED + site.offset)
            .without_maintenance(HOME + site.offset);
    }
    let mut qemu = machine.start()?;
    qemu.console().expect(HELLO, PATIENCE)?;
    qemu.wait(PATIENCE)?;
    let coherence = qemu.coherence()?;
    ensure!(
        coherence.ended && coherence.handed_over.is_some(),
        "campaign: no jump was seen"
    );
    Ok(coherence)
}

/// Leaves out each site on each port, as many at a time as there are processors.
fn outcomes(sites: &[Site], image: &Path, server: &Server) -> Result<Vec<[Outcome; PORTS.len()]>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![[Outcome::Unused; PORTS.len()]; sites.len()]);
    let work = || -> Result<()> {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let (index, port) = (job / PORTS.len(), job % PORTS.len());
            let (Some(site), Some((board, _))) = (sites.get(index), PORTS.get(port)) else {
                return Ok(());
            };
            let coherence = boot(*board, image, server, Some(site))
                .with_context(|| format!("campaign: {} without {}", board.name(), site.name))?;
            let outcome = if !coherence.findings.is_empty() {
                Outcome::Noticed
            } else if coherence.left_out > 0 {
                Outcome::Missed
            } else {
                Outcome::Unused
            };
            let Ok(mut outcomes) = outcomes.lock() else {
                bail!("campaign: another thread failed");
            };
            if let Some(place) = outcomes.get_mut(index).and_then(|row| row.get_mut(port)) {
                *place = outcome;
            }
        }
    };
    thread::scope(|scope| {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("campaign: a thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    outcomes
        .into_inner()
        .map_err(|_| anyhow::anyhow!("campaign: a thread panicked"))
}

/// Prints what came of it.
fn table(sites: &[Site], outcomes: &[[Outcome; PORTS.len()]]) -> ExitCode {
    let ports: Vec<&str> = PORTS.iter().map(|(_, port)| *port).collect();
    println!("| Left out | {} |", ports.join(" | "));
    println!("|---|{}", "---|".repeat(PORTS.len()));
    for (site, row) in sites.iter().zip(outcomes) {
        let cells: Vec<String> = row.iter().map(Outcome::to_string).collect();
        println!("| {} | {} |", site.name, cells.join(" | "));
    }
    let count =
        |wanted: fn(&[Outcome; PORTS.len()]) -> bool| outcomes.iter().filter(|row| wanted(row)).count();
    let unused = count(|row| row.iter().all(|outcome| *outcome == Outcome::Unused));
    let missed = count(|row| row.contains(&Outcome::Missed) && !row.contains(&Outcome::Noticed));
    println!(
        "campaign: {} places: {} noticed, {missed} missed, {unused} used on no port",
        sites.len(),
        sites.len() - missed - unused
    );
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, address: u64) -> Function {
        Function {
            name: name.to_owned(),
            address,
            size: 8,
        }
    }

    #[test]
    fn a_call_counts_as_what_it_calls_as_far_as_dma_memory_goes() {
        const NOP: u32 = 0xd503_201f;
        let functions = [
            function("_ZN6kernel3cpu5clean17h0123456789abcdefE", 0x10),
            function("_ZN6kernel3dma6Buffer4give17h0123456789abcdefE", 0x18),
            function("_ZN6kernel5genet4send17h0123456789abcdefE", 0x20),
            function("_ZN6kernel5start17h0123456789abcdefE", 0x28),
        ];
        let words = [
            (0x8, 0xd508_7648),  // dc isw, x8
            (0x10, 0xd50b_7e29), // dc civac, x9
            (0x14, 0x17ff_ffff), // b .-4: a loop
            (0x18, 0x97ff_fffe), // bl clean
            (0x1c, NOP),
            (0x20, 0x17ff_fffe), // b give
            (0x28, 0x97ff_fffe), // bl send
        ];
        let sites = sites_of(&words, &functions);
        let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "`dc isw` at 0x8, assembly",
                "`dc civac` at 0x10, kernel::cpu::clean",
                "`clean` at 0x18, kernel::dma::Buffer::give",
                "`give` at 0x20, kernel::genet::send",
            ]
        );
    }
}
