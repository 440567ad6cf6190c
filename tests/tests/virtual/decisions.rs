//! What the clock boots is what Syslinux would have booted, or nothing: menus by the thousand, in whole sessions.
//!
//! `tests::syslinux` says what Syslinux would have booted. The session runs in virtual time; all that a menu names is
//! absent, and what is asked for tells what was chosen.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use boot::Settings;
use smoltcp::time::Duration;
use tests::menus::{self, MENU};
use tests::syslinux::{Decision, Files, Kind, Rule, Start, World};
use tests::{Dhcp, GivenUp, Http, Lan, Node, Reply, seeds};

/// How many generated menus, when not the number in [`VARIABLE`].
const GENERATED: u64 = 4_000;

/// Set by `cargo xtask campaign decisions`.
const VARIABLE: &str = "BRAMBLE_DECISIONS";

/// No clock of these menus is longer.
const WAITS: Duration = Duration::from_secs(12);

/// Much less than any clock of these menus, and all that makes a million sessions a matter of minutes.
const REST: Duration = Duration::from_millis(500);

/// At most one of so many menus boots nothing, or less, where Syslinux boots.
const MOST_WAIT: u64 = 20;

/// Enough to see what differs.
const SHOWN: usize = 10;

thread_local! {
    /// The node's, from session to session.
    static MEMORY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The files besides menus that a node asks for in one attempt.
fn asked(files: &Files) -> Vec<String> {
    let lan = Lan::new(1);
    lan.serve(
        [192, 168, 7, 1],
        Dhcp::new().boot_file(&format!("http://192.168.7.2/{MENU}")),
    );
    let http = lan.attach(Http::new([192, 168, 7, 2]));
    for (name, text) in files {
        http.borrow_mut()
            .route(&format!("/{name}"), [Reply::ok(text.clone())]);
    }
    lan.give_up(WAITS);
    lan.rest_long(REST);
    // Memory that is there is cheaper than memory that is cleared.
    let mut node = Node::with_memory(0);
    node.memory = MEMORY.take();
    node.memory.resize(4 << 20, 0);
    let settings = Settings {
        attempts: Some(1),
        ..Settings::default()
    };
    let boot = || node.boot(&lan, &settings).expect_err("there is no kernel");
    match catch_unwind(AssertUnwindSafe(boot)) {
        Err(why) if !why.is::<GivenUp>() => resume_unwind(why),
        // It failed, or waits for a person.
        Ok(_) | Err(_) => {}
    }
    MEMORY.set(std::mem::take(&mut node.memory));
    let log = http.borrow().paths();
    let names = log.iter().map(|path| unescaped(path.trim_start_matches('/')));
    let names: Vec<String> = names.collect();
    let names = names.iter().map(String::as_str);
    let is_menu = |name: &str| {
        files.contains_key(name)
            || name.contains(".cfg")
            // What APPEND says where a menu module takes it for more files.
            || ["quiet", "console=ttyS0"].contains(&name)
            || name.starts_with("pxelinux.cfg/")
            || name.ends_with(".ipxe")
    };
    // A label without a kernel is a file's name; of one with a blank in it Syslinux takes the first word.
    let word = |name: &str| {
        let (directory, file) = name.split_at(name.rfind('/').map_or(0, |slash| slash + 1));
        format!("{directory}{}", file.split(' ').next().unwrap_or_default())
    };
    let mut names: Vec<String> = names.filter(|name| !is_menu(name)).map(word).collect();
    names.dedup();
    names
}

/// A path with its escapes undone.
fn unescaped(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digits = (byte == b'%').then(|| [rest.next(), rest.next()]);
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let escaped = digits.and_then(|[high, low]| u8::try_from(digit(high)? * 16 + digit(low)?).ok());
        bytes.push(escaped.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The same of a decision: what is made for PCs is not asked for, in whatever case of letters.
fn told(decision: &Decision) -> Vec<String> {
    let all = decision.first.iter().chain(&decision.then);
    let kernels = all.filter_map(|start| match start {
        Start::File(name, Kind::Kernel) => Some(name.clone()).filter(|name| !name.ends_with(".C32")),
        Start::File(..) | Start::Disk => None,
    });
    let mut kernels: Vec<String> = kernels.collect();
    kernels.dedup();
    kernels
}

/// Whether what was asked for is what was decided, or the less of it: ONERROR's is not tried, or nothing at all.
fn safe(ours: &[String], decision: &Decision) -> bool {
    told(decision).starts_with(ours)
}

fn decided(files: &Files, broken: Option<Rule>) -> Decision {
    let world = World {
        files,
        is_pc: false,
        declared: true,
        broken,
    };
    world.decide(MENU)
}

#[test]
fn the_clock_boots_what_syslinux_would_have_booted() {
    let seeds = seeds::range(VARIABLE, GENERATED);
    let generated = seeds.end - seeds.start;
    let less = AtomicU64::new(0);
    let differ: Vec<_> = seeds::each(seeds, |seed| {
        let files = menus::menu(seed);
        let (ours, decision) = (asked(&files), decided(&files, None));
        if !safe(&ours, &decision) {
            return Some(Box::new((ours, decision)));
        }
        if ours != told(&decision) {
            less.fetch_add(1, Ordering::Relaxed);
        }
        None
    })
    .into_iter()
    .filter_map(|(seed, differs)| Some((seed, differs?)))
    .collect();
    let less = less.into_inner();
    println!(
        "{generated} menus: {} boot what Syslinux would not, {less} wait where it would not",
        differ.len()
    );
    for (seed, differs) in differ.iter().take(SHOWN) {
        let (ours, decision) = &**differs;
        println!("== seed {seed}: Bramble {ours:?}, Syslinux {decision}");
        for (name, text) in menus::menu(*seed) {
            println!("-- {name}\n{text}");
        }
    }
    assert!(differ.is_empty(), "{} menus", differ.len());
    // Labels with blanks in them, IMPLICIT 0, menus whose files are absent: few, or something boots no more.
    assert!(less * MOST_WAIT <= generated, "{less} of {generated} menus wait");
}

#[test]
fn the_clock_boots_what_was_meant_in_the_written_menus() {
    for menu in menus::written() {
        let ours = asked(&menu.files);
        assert_eq!(ours, told(&decided(&menu.files, None)), "{}", menu.title);
    }
}

/// The comparison sees: with any one rule broken, the reference differs from what is booted.
#[test]
fn a_broken_rule_differs() {
    for rule in Rule::ALL {
        let seen = (0..5 * GENERATED).map(menus::menu).any(|files| {
            let broken = told(&decided(&files, Some(rule)));
            let whole = told(&decided(&files, None));
            broken != whole && asked(&files) == whole
        });
        assert!(seen, "{rule:?}");
    }
}
