//! What menus and scripts cost: a large one read and shown, a command in a loop, a key that moves the selection.
//!
//! Instructions are counted by QEMU's plugin in runs of which one does more than the other, so that what a boot takes is
//! in neither figure. What polls consist of is left out: how many there are is the server's affair.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use qemu::http::{Answer, Server};
use qemu::profile::Instruction;
use qemu::{Board, Entry, Machine, Net, Payload};

use super::functions::{Functions, differences};
use super::trial::{PATIENCE, verdict};
use crate::image::{self, Profile};
use crate::setup::{self, Goal};

const BOARD: Board = Board::Pi4b;

/// Items of the large menu, and the bytes of its script.
const ITEMS: usize = 1000;
const BYTES: usize = 64 << 10;

/// Instructions to read and show it.
const MOST_TO_SHOW: f64 = 5e6;

/// Commands of the two loops: the script ends before its bound on commands that lead nowhere.
const LOOPS: [usize; 2] = [10_000, 70_000];

/// Instructions for each of them.
const MOST_FOR_A_COMMAND: f64 = 2000.0;

/// How long a download of the script hangs, and after how many bytes, for what a poll is made of.
const HANGS: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(1200)];
const BEFORE_HANGING: u64 = 1024;

/// What an arrow sends, how often without a pause, and how many such bursts: all within what is in view.
const DOWN: &str = "\x1b[B";
const BURST: usize = 5;
const BURSTS: [usize; 2] = [1, 3];

/// Bytes for a key: two rows of 80 characters, where they are and how they look.
const MOST_FOR_A_KEY: f64 = 240.0;

/// What one machine executed.
struct Run {
    rests: f64,
    /// The image's own.
    executed: Vec<Instruction>,
    by_function: BTreeMap<String, u64>,
    /// What it wrote to the console.
    written: usize,
}

/// What was measured.
struct Figures {
    shown: f64,
    command: f64,
    key_bytes: f64,
}

/// What is done while a script runs.
#[derive(Debug, Clone, Copy)]
enum Then {
    Wait,
    /// Its download hangs so long, and the machine is ended.
    Hang(Duration),
    /// So many bursts of arrow keys, and Enter.
    Press(usize),
}

struct Bench {
    image: image::Image,
    functions: Functions,
    device_tree: Vec<u8>,
}

/// Measures and prints; whether every target was met.
pub(super) fn run(functions: bool) -> Result<bool> {
    setup::run(Goal::Emulator);
    if let Some(reason) = BOARD.unavailable() {
        bail!("bench: board {}: {reason}", BOARD.name());
    }
    let image = image::compile(Profile::Release)?;
    let bench = Bench {
        functions: Functions::read(&image.file.with_extension("elf"))?,
        image,
        device_tree: Payload::find()?.device_tree(BOARD)?,
    };
    let figures = bench.measure(functions)?;
    let met = table(&figures);
    println!();
    println!(
        "One run each on {}, differences between two: guest instructions by QEMU's plugin, without what polls consist of.",
        BOARD.name()
    );
    Ok(met)
}

impl Bench {
    fn measure(&self, functions: bool) -> Result<Figures> {
        let [short, long] = HANGS.map(|time| self.run(&menu(ITEMS, ""), Then::Hang(time)));
        let polls = polls(&short?, &long?);
        println!("bench:   a poll is {} of the image's instructions", polls.len());
        let work = |less: &Run, more: &Run| beside(&polls, less, more);
        let [one, all] = [1, ITEMS].map(|items| self.run(&menu(items, "--timeout 1 "), Then::Wait));
        let (one, all) = (one?, all?);
        let shown = work(&one, &all);
        let [few, many] = LOOPS.map(|commands| self.run(&counting(commands), Then::Wait));
        let (few, many) = (few?, many?);
        let command = work(&few, &many) / (LOOPS[1] - LOOPS[0]) as f64;
        if functions {
            print_functions("the menu", &one, &all, 1.0);
            print_functions("a command", &few, &many, (LOOPS[1] - LOOPS[0]) as f64);
        }
        let [few, many] = BURSTS.map(|bursts| self.run(&menu(ITEMS, ""), Then::Press(bursts)));
        let (few, many) = (few?, many?);
        let keys = ((BURSTS[1] - BURSTS[0]) * BURST) as f64;
        Ok(Figures {
            shown,
            command,
            key_bytes: (many.written as f64 - few.written as f64) / keys,
        })
    }

    /// Runs a script, and counts until it resets the board.
    fn run(&self, script: &str, then: Then) -> Result<Run> {
        let server = Server::start()?;
        let answer = Answer::ok(script);
        let answer = match then {
            Then::Hang(_) => answer.stall(BEFORE_HANGING),
            Then::Wait | Then::Press(_) => answer,
        };
        server.put("/script", answer);
        let mut qemu = Machine::new(BOARD, &self.image.file)
            .entry(Entry::At(0x8_0000))
            .other_cores_rest()
            .device_tree(self.device_tree.clone())
            .net(Net::user().boot_file(server.url("/script")))
            .profile()
            .instruction_clock()
            .start()?;
        let console = qemu.console();
        let start = console.expect("^bramble: .*running at 0x([0-9a-f]+)[^0-9a-f]", PATIENCE)?;
        let base = u64::from_str_radix(start.groups.first().map_or("", String::as_str), 16)?;
        let mut written = 0;
        match then {
            Then::Wait => {}
            Then::Hang(time) => {
                while server.requests().is_empty() {
                    thread::sleep(Duration::from_millis(1));
                }
                thread::sleep(time);
                qemu.monitor()?.quit()?;
            }
            Then::Press(bursts) => {
                console.expect("Waiting for a key", PATIENCE)?;
                for burst in 1..=bursts {
                    console.send(DOWN.repeat(BURST).as_bytes())?;
                    console.expect(&format!("item {:04} [^\n]*\x1b8", burst * BURST), PATIENCE)?;
                    written = console.bytes().len();
                }
                console.send(b"\r")?;
            }
        }
        qemu.wait(PATIENCE)?;
        let mut executed = qemu.executed()?;
        let profile = self.functions.profile(base, &executed);
        let instructions = qemu.instructions()? as f64 - profile.elsewhere as f64;
        println!(
            "bench:   {} bytes of script, {then:?}: {:.1} million instructions, {} polls",
            script.len(),
            instructions / 1e6,
            profile.rests
        );
        executed.retain(|instruction| self.functions.within(base, instruction).is_some());
        ensure!(profile.rests > 0, "bench: the machine never waited");
        Ok(Run {
            rests: profile.rests as f64,
            executed,
            by_function: profile.by_function,
            written,
        })
    }
}

/// How much more often each instruction was executed, by its address.
fn more_often(less: &Run, more: &Run) -> HashMap<u64, f64> {
    let mut instructions: HashMap<u64, f64> = HashMap::new();
    for (run, sign) in [(less, -1.0), (more, 1.0)] {
        for instruction in &run.executed {
            *instructions.entry(instruction.address).or_default() += sign * instruction.executions as f64;
        }
    }
    instructions
}

/// The instructions that polls which find nothing are made of: those that ran at least in every eighth one of those that
/// the longer of two waits had more.
fn polls(short: &Run, long: &Run) -> HashSet<u64> {
    let more = long.rests - short.rests;
    more_often(short, long)
        .into_iter()
        .filter(|(_, executions)| executions * 8.0 >= more)
        .map(|(address, _)| address)
        .collect()
}

/// What the image executed more in one run than in the other, but for what polls are made of.
fn beside(polls: &HashSet<u64>, less: &Run, more: &Run) -> f64 {
    more_often(less, more)
        .into_iter()
        .filter(|(address, _)| !polls.contains(address))
        .map(|(_, executions)| executions)
        .sum()
}

/// Where the instructions went that `large` executed more than `small`, for each of so many things.
fn print_functions(what: &str, small: &Run, large: &Run, each: f64) {
    println!("bench:   {what}:");
    for (more, name) in differences(&small.by_function, &large.by_function) {
        if more / each >= 5.0 {
            println!("{:>12.0} {name}", more / each);
        }
    }
}

/// A menu of so many items; that of all has the bytes of a script that it is about.
fn menu(items: usize, options: &str) -> String {
    let mut script = "#!ipxe\nmenu What there is to boot here\n".to_owned();
    for item in 0..items {
        let line = format!("item item-{item:04} item {item:04} of a menu");
        let padding = if items == ITEMS { BYTES / ITEMS - 1 } else { 0 };
        script.push_str(&format!("{line:.<padding$}\n"));
    }
    script.push_str(&format!("choose {options}choice\nreboot\n"));
    script
}

/// A loop of so many commands: three in each turn but the last, which has two, and one each before and behind it.
fn counting(commands: usize) -> String {
    let turns = (commands - 1) / 3;
    format!("#!ipxe\nset i:int32 0\n:loop\ninc i\niseq ${{i}} {turns} || goto loop\nreboot\n")
}

/// Prints the figures; whether every target was met.
fn table(figures: &Figures) -> bool {
    let rows = [
        (
            format!("script of {} KiB with {ITEMS} items, read and shown", BYTES >> 10),
            "instructions",
            figures.shown,
            MOST_TO_SHOW,
        ),
        (
            format!("a command in a loop of {}", LOOPS[0]),
            "instructions",
            figures.command,
            MOST_FOR_A_COMMAND,
        ),
        (
            "an arrow key in that menu".to_owned(),
            "bytes",
            figures.key_bytes,
            MOST_FOR_A_KEY,
        ),
    ];
    println!();
    let mut met = true;
    for (name, unit, figure, most) in rows {
        let good = figure < most;
        println!(
            "{name:<52} {figure:.0} {unit} (target: under {most:.0}) {}",
            verdict(good)
        );
        met &= good;
    }
    met
}
