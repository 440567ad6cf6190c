//! Bramble and iPXE run the same scripts against the same servers: what they ask for and what comes out is the same,
//! but for the differences that `tests/scripts/differences.txt` declares with their reasons.
//!
//! One boot of each runs all cases, one after the other. Every `echo` becomes a `set` that appends to a setting, and a
//! step of our own around each case reports that setting, the others that the case sets, and the number it ended with,
//! as a request: nothing is read from a screen.

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use qemu::http::{Answer, Request, Server};
use qemu::ipxe::Ipxe;
use qemu::{Board, Net};
use tests::cases::{self, Case};

use self::stage::{Seen, Stage, commands, on_stage};
use crate::{PATIENCE, RELEASE, machine};

const BOARD: Board = Board::UsbNet3b;

/// More cases, for this test alone.
const COMPARED: &str = "compared";

/// Fewer cases would mean that something keeps them from being compared.
const ENOUGH: usize = 400;

/// iPXE's number for a command that it does not have.
const NO_COMMAND: &str = "0x2e022081";

/// What `tests/scripts/differences.txt` declares.
#[derive(Debug, Default)]
struct Declared {
    /// Commands that iPXE lacks: the cases that use them are not run.
    lacks: BTreeSet<String>,
    /// Commands whose cases are not run for what they do.
    never: BTreeSet<String>,
    /// Other cases that are not run.
    apart: BTreeSet<String>,
    /// Cases that differ.
    differ: BTreeSet<String>,
}

impl Declared {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/differences.txt");
        let text = std::fs::read_to_string(path).unwrap();
        let mut declared = Self::default();
        let mut kind = "";
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let Some(name) = line.strip_prefix("  ") else {
                kind = line.split_once(": ").expect("a kind and a reason").0;
                continue;
            };
            let set = match kind {
                "lacks" => &mut declared.lacks,
                "never" => &mut declared.never,
                "apart" => &mut declared.apart,
                "differ" => &mut declared.differ,
                other => panic!("what is {other}?"),
            };
            assert!(set.insert(name.into()), "{name} twice");
        }
        declared
    }

    /// The cases that are run, and one that asks for what iPXE lacks.
    fn cases(&self) -> Vec<(String, Case)> {
        let named = |file| move |case: Case| (format!("{file}: {}", case.title), case);
        let all: Vec<_> = cases::FILES
            .into_iter()
            .chain([COMPARED])
            .flat_map(|file| cases::file(file).into_iter().map(named(file)))
            .collect();
        for name in self.apart.iter().chain(&self.differ) {
            assert!(all.iter().any(|(other, _)| other == name), "no case {name}");
        }
        let not_run = |command: &str| self.lacks.contains(command) || self.never.contains(command);
        let mut cases: Vec<_> = all
            .into_iter()
            .filter(|(name, case)| {
                !needs_more(case) && !commands(case).any(not_run) && !self.apart.contains(name)
            })
            .collect();
        let ask = |command: &String| format!("{command} --help || echo {command} ${{errno}}");
        let ask = Case {
            script: self.lacks.iter().map(ask).collect(),
            ..Case::default()
        };
        cases.push((String::new(), ask));
        cases
    }
}

/// Whether a case needs what is not here: somebody who types, a network without DHCP, another boot, another server.
fn needs_more(case: &Case) -> bool {
    let resets = case.trace.iter().any(|line| line == "reset");
    !case.keys.is_empty() || case.no_lease || resets || !on_stage(case)
}

/// The stages of `cases`, after they were run by what `start` starts, given its network.
fn run<M>(cases: &[(String, Case)], start: impl FnOnce(Net) -> M) -> Vec<(Stage, Seen)> {
    let stages = cases
        .iter()
        .map(|(name, case)| Stage::new(name.clone(), case.clone()));
    let stages: Vec<Stage> = stages.collect();
    let server = Server::start().unwrap();
    let all = format!(
        "#!ipxe\nset compared-case:int32 0\n:next\n\
         chain --autofree /step?${{compared-case}} ||\n\
         inc compared-case\niseq ${{compared-case}} {} || goto next\n\
         imgfetch --name end /end ||\nsleep 1000\n",
        stages.len()
    );
    server.put("/all", Answer::ok(all));
    let steps = stages
        .iter()
        .enumerate()
        .map(|(number, stage)| stage.step(number));
    let steps: Vec<String> = steps.collect();
    server.otherwise(move |request| {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let step = query.parse().ok().and_then(|number: usize| steps.get(number));
        match (path, step) {
            ("/step", Some(step)) => Some(Answer::ok(step)),
            ("/report" | "/end", _) => Some(Answer::ok("#")),
            _ => None,
        }
    });
    let _machine = start(Net::user().boot_file(server.url("/all")));
    let reports = reports(&server);
    let port = server.address().port();
    let seen = |(number, stage): (usize, Stage)| {
        let seen = stage.seen(reports.get(&number), port);
        (stage, seen)
    };
    stages.into_iter().enumerate().map(seen).collect()
}

/// Waits for the end, for a second beginning, or for nothing more, and gives what was reported of each case.
fn reports(server: &Server) -> BTreeMap<usize, Request> {
    let (mut count, mut last) = (0, Instant::now());
    let requests = loop {
        let requests = server.requests();
        if requests.len() > count {
            (count, last) = (requests.len(), Instant::now());
        }
        let begun = requests.iter().filter(|request| request.target == "/all").count();
        let ended = requests.last().is_some_and(|request| request.target == "/end");
        if ended || begun > 1 || last.elapsed() > PATIENCE {
            break requests;
        }
        thread::sleep(Duration::from_millis(50));
    };
    let mut reports = BTreeMap::new();
    for request in requests {
        let query = request.target.strip_prefix("/report?case=");
        let number = query.and_then(|query| query.split('&').next()?.parse().ok());
        if let Some(number) = number {
            reports.entry(number).or_insert(request);
        }
    }
    reports
}

/// What one saw and the other did not.
fn only(who: &str, seen: &Seen, other: &Seen) -> String {
    let lines = |seen: &Seen| -> Vec<String> {
        let report = seen.report.clone().unwrap_or_else(|| vec!["no report".into()]);
        [seen.requests.clone(), report].concat()
    };
    let others = lines(other);
    let mine = lines(seen).into_iter().filter(|line| !others.contains(line));
    mine.map(|line| format!("    {who:7} {line}\n")).collect()
}

#[test]
fn scripts_do_what_they_do_in_ipxe() {
    let machine = require!(machine(BOARD, RELEASE));
    let ipxe = require!(Ipxe::find());
    let declared = Declared::read();
    let cases = declared.cases();
    let (ours, theirs) = thread::scope(|scope| {
        let ours = scope.spawn(|| run(&cases, |net| machine.net(net).start().unwrap()));
        let theirs = run(&cases, |net| ipxe.start(&net).unwrap());
        (ours.join().unwrap(), theirs)
    });
    let (_, asked) = theirs.last().unwrap();
    let lacks = asked.report.as_deref().unwrap_or_default().join("");
    for command in &declared.lacks {
        assert!(
            lacks.contains(&format!("| {command} {NO_COMMAND}")),
            "iPXE has {command}: {lacks}"
        );
    }
    let mut wrong = 0;
    let compared = ours.len() - 1;
    for ((stage, ours), (_, theirs)) in ours.iter().zip(&theirs).take(compared) {
        let (differ, declared) = (ours != theirs, declared.differ.contains(&stage.name));
        // Those that never came to their report were not compared.
        if differ == declared && ours.report.is_some() && theirs.report.is_some() {
            continue;
        }
        wrong += 1;
        let declared = if declared {
            ", which is declared to differ"
        } else {
            ""
        };
        println!("{}{declared}", stage.name);
        println!("    | {}", stage.case.script.join("\n    | "));
        print!("{}{}", only("Bramble", ours, theirs), only("iPXE", theirs, ours));
    }
    let version = ipxe.version().unwrap();
    println!(
        "{compared} cases compared with iPXE {version}, {} declared to differ",
        declared.differ.len()
    );
    assert_eq!(wrong, 0, "{wrong} of {compared} cases");
    assert!(compared >= ENOUGH, "only {compared} cases");
}
