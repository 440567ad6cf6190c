//! Menus do in Syslinux itself what the reference decision, `tests::syslinux`, says.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use qemu::syslinux::{self, Outcome, Syslinux};
use tests::syslinux::{Decision, Files, Kind, Start, decide};
use tests::{menus, seeds};

/// So many seconds of the guest without a file are a wait for a person: the clocks of these menus are shorter.
const WAITS: Duration = Duration::from_secs(30);

/// How many generated menus are compared besides the written ones, when not the number in [`VARIABLE`].
const GENERATED: u64 = 10;

/// Set by `cargo xtask campaign menus`.
const VARIABLE: &str = "BRAMBLE_MENUS";

/// How many PCs run at a time.
const PCS: usize = 2;

/// What Syslinux's search for a name with an ending leaves: the files that it asked for as such. DEFAULT may name a label
/// that runs nothing (MENU QUIT); then it asks for what lies at address 0, or for the text `(null)`.
fn asked(outcome: &Outcome) -> Vec<String> {
    const ENDINGS: [&str; 6] = [".c32", ".img", ".bss", ".bin", ".bs", ".0"];
    let mut files = Vec::new();
    let mut rest = outcome.files.as_slice();
    while let Some((first, more)) = rest.split_first() {
        let stem = first.strip_suffix(ENDINGS[0]).unwrap_or(first);
        let probes = ENDINGS.iter().map(|ending| format!("{stem}{ending}"));
        // The last search may be cut short by the end of the PC's time, once the name is known.
        let len = ENDINGS.len().min(rest.len());
        let whole = len == ENDINGS.len() || files.iter().any(|file| file == stem);
        let probed = whole && probes.take(len).eq(rest[..len].iter().cloned());
        rest = if probed { &rest[len..] } else { more };
        if !probed && is_name(first) {
            files.push(first.clone());
        }
    }
    few(files)
}

/// Whether it is no leftover of memory.
fn is_name(file: &str) -> bool {
    file.bytes().all(|byte| byte.is_ascii_graphic()) && !file.starts_with("(nul")
}

/// The first file and what followed it: a menu whose time is up for good tries the same again and again.
fn few(mut files: Vec<String>) -> Vec<String> {
    files.dedup();
    files.truncate(2);
    files
}

/// The same of a decision.
fn told(decision: &Decision) -> (Vec<String>, bool) {
    let all = decision.first.iter().chain(&decision.then);
    let files = all.clone().filter_map(|start| match start {
        Start::File(name, Kind::Kernel | Kind::Module | Kind::Program) => Some(name.clone()),
        Start::Disk => None,
    });
    let files = files.filter(|name| is_name(name));
    let disk = all.clone().any(|start| *start == Start::Disk);
    (few(files.collect()), disk)
}

fn served(files: &Files) -> BTreeMap<String, Vec<u8>> {
    let place = |name: &String| match name.as_str() {
        menus::MENU => syslinux::MENU.to_owned(),
        other => other.to_owned(),
    };
    files
        .iter()
        .map(|(name, text)| (place(name), text.clone().into_bytes()))
        .collect()
}

/// What differs, in words; nothing when nothing does.
fn difference(syslinux: &Syslinux, files: &Files) -> Option<String> {
    let outcome = syslinux.boot(&served(files), WAITS);
    let seen = outcome
        .as_ref()
        .ok()
        .map(|outcome| (asked(outcome), outcome.local));
    let decision = decide(files, menus::MENU);
    (Some(told(&decision)) != seen).then(|| {
        let texts: String = files
            .iter()
            .map(|(name, text)| format!("#FILE {name}\n{text}"))
            .collect();
        format!("{texts}=> Syslinux {outcome:?}\n=> reference {decision:?}\n")
    })
}

#[test]
fn menus_decide_as_in_syslinux() {
    let syslinux = require!(Syslinux::find());
    let seeds = seeds::range(VARIABLE, GENERATED);
    let written = menus::written().into_iter().map(|menu| (menu.title, menu.files));
    let generated = seeds
        .clone()
        .map(|seed| (format!("seed {seed}"), menus::menu(seed)));
    // A campaign that goes on from a seed has compared them before.
    let written = written.filter(|_| seeds.start == 0);
    let all: Vec<(String, Files)> = written.chain(generated).collect();
    let (next, differ) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PCS {
            scope.spawn(|| {
                while let Some((name, files)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(difference) = difference(&syslinux, files) {
                        println!("== {name}\n{difference}");
                        differ.lock().unwrap().push(name);
                    }
                }
            });
        }
    });
    let differ = differ.into_inner().unwrap();
    println!(
        "{} menus compared with Syslinux {}",
        all.len(),
        syslinux.version().unwrap()
    );
    assert!(differ.is_empty(), "{differ:?}");
}
