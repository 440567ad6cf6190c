//! Small faults put into `boot` and `kernel` by the hundred, each in a run of its own of the tests that come by it: do they notice (D-198)?

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::campaign::points::{self, Point};
use crate::campaign::rewrite;
use crate::program::{cargo, output};

/// Which tests, by their places in a list, come by which mutant.
type Reach = BTreeMap<u32, BTreeSet<usize>>;

/// What `boot::mutant` is in the copy.
const SWITCH: &str = include_str!("switch.rs.in");
/// Where the copy and what is built of it are kept, below the target directory.
const PLACE: &str = "mutants";
/// The tests' programs: what runs on a host within a minute or two; `hostile` takes longer than all of them.
const PROGRAMS: [&str; 12] = [
    "--package",
    "boot",
    "--package",
    "kernel",
    "--package",
    "tests",
    "--package",
    "bramble-dryrun",
    "--lib",
    "--test",
    "virtual",
    "--test=dryrun",
];
/// How often mutants that are no Rust are left out and others taken, before it is an error.
const ROUNDS: usize = 24;
/// What a run of tests may take beyond what they took before: a machine has others.
const SLACK: Duration = Duration::from_secs(20);
/// How many times as long as before tests may take. A mutant that waits for ever is noticed by that.
const SLOWER: u32 = 8;
/// Memory for a run, in KiB: a mutant that asks for all must not get it.
const MEMORY: u64 = 6 << 20;
/// Seconds that a test may take to take part.
const LONGEST: f64 = 30.0;
/// Tests run together: as long as they take these times, in seconds, one batch after the other. Most mutants end in the first.
const BATCHES: [f64; 5] = [1.0, 4.0, 16.0, 64.0, f64::INFINITY];

/// `cargo xtask campaign mutants`'s options.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) count: usize,
    /// `boot` or `kernel`; both without.
    pub(crate) area: Option<String>,
    /// Parts of lines that tell of mutants (`boot/src/url.rs:10`, `fix: statement dropped`): these come before the sample.
    pub(crate) at: Vec<String>,
}

impl Options {
    pub(crate) fn parse(arguments: &mut lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let mut options = Self {
            seed: 0,
            count: 300,
            area: None,
            at: Vec::new(),
        };
        let mut count = None;
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("seed") => options.seed = arguments.value()?.parse().context("mutants: --seed")?,
                Long("count") => count = Some(arguments.value()?.parse().context("mutants: --count")?),
                Long("area") => options.area = Some(arguments.value()?.string()?),
                Long("at") => options.at.push(arguments.value()?.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        // Who names some wants no others.
        let usual = if options.at.is_empty() { options.count } else { 0 };
        options.count = count.unwrap_or(usual);
        Ok(options)
    }
}

/// A mutant of the sample.
#[derive(Debug)]
struct Mutant {
    number: u32,
    file: String,
    point: Point,
}

/// A line that tells of a mutant.
fn told(file: &str, point: &Point) -> String {
    format!("{file}:{} {}: {}", point.line, point.function, point.what)
}

/// A test, and how long it takes.
#[derive(Debug, Clone)]
struct Test {
    program: usize,
    name: String,
    seconds: f64,
}

/// What became of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Noticed,
    TimedOut,
    Survived,
    Unreached,
}

/// Counts what is noticed and tells what is not. Always success: what survives is for a person to judge.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let place = std::path::absolute(PathBuf::from(target).join(PLACE))?;
    let copy = Copy {
        tree: place.join("tree"),
        built: place.join("built"),
    };
    let sources = sources()?;
    let (mut all, mut named) = (candidates(options, &sources)?, Vec::new());
    println!("mutants: {} places", all.len());
    if !options.at.is_empty() {
        let is_named = |(file, point): &(String, Point)| {
            let told = told(file, point);
            options.at.iter().any(|part| told.contains(&**part))
        };
        named = all.extract_if(.., |one| is_named(one)).collect();
    }
    shuffle(&mut all, options.seed);
    let count = named.len() + options.count;
    let all = named.into_iter().chain(all);
    let mutants = copy.write(&sources, all, count)?;
    println!("mutants: {} are built in", mutants.len());
    let programs = copy.build()?;
    let (tests, reach) = copy.survey(&programs, &place.join("reach"))?;
    let mut fates = Vec::new();
    for (index, mutant) in mutants.iter().enumerate() {
        let (fate, by) = copy.fate(mutant, &programs, &batches(reach.get(&mutant.number), &tests))?;
        println!(
            "{}/{} {fate:?} {} {by}",
            index + 1,
            mutants.len(),
            told(&mutant.file, &mutant.point)
        );
        fates.push((mutant, fate));
    }
    tell(options, &fates);
    Ok(ExitCode::SUCCESS)
}

/// The sources of the packages that get mutants, by their names: as they are now, whoever writes to them later.
fn sources() -> Result<BTreeMap<String, String>> {
    let listed = output(Command::new("git").args(["ls-files", "boot/src/*.rs", "kernel/src/*.rs"]))?;
    let read = |file: &str| {
        Ok((
            file.to_owned(),
            fs::read_to_string(file).with_context(|| file.to_owned())?,
        ))
    };
    listed.lines().map(read).collect()
}

/// All mutants of what a host compiles of the chosen packages, in order.
fn candidates(options: &Options, sources: &BTreeMap<String, String>) -> Result<Vec<(String, Point)>> {
    let mut of_files = Vec::new();
    let (mut declared, mut absent) = (BTreeSet::new(), BTreeSet::new());
    for (file, source) in sources {
        // The program beside the library runs on boards only, and so does what it declares.
        let package = file.split('/').next().unwrap_or_default();
        if *file == format!("{package}/src/main.rs") {
            continue;
        }
        let directory = Path::new(file).parent().context("a file without a directory")?;
        let (points, elsewhere) = points::points(source).with_context(|| file.clone())?;
        for module in source.lines().filter_map(declaration) {
            declared.insert(directory.join(format!("{module}.rs")));
            declared.insert(directory.join(module).join("mod.rs"));
        }
        absent.extend(
            elsewhere
                .iter()
                .map(|module| directory.join(format!("{module}.rs"))),
        );
        if options.area.as_deref().is_none_or(|area| area == package) {
            of_files.push((file, points));
        }
    }
    let mut found = Vec::new();
    for (file, points) in of_files {
        let path = Path::new(file);
        if absent.contains(path) || !(declared.contains(path) || file.ends_with("src/lib.rs")) {
            continue;
        }
        found.extend(points.into_iter().map(|point| (file.clone(), point)));
    }
    ensure!(!found.is_empty(), "campaign: no mutant there");
    Ok(found)
}

/// The module that a line declares as a file.
fn declaration(line: &str) -> Option<&str> {
    let line = line.strip_suffix(';')?;
    let (visibility, name) = line.rsplit_once("mod ")?;
    let is_one = visibility.is_empty() || visibility.starts_with("pub");
    is_one.then_some(name)
}

/// SplitMix64, and Fisher and Yates: the same seed on the same tree is the same sample.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for end in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let drawn = (z ^ (z >> 31)) % (end as u64 + 1);
        items.swap(end, drawn as usize);
    }
}

/// Where the copy of the checkout is, and what is built of it.
struct Copy {
    tree: PathBuf,
    built: PathBuf,
}

impl Copy {
    /// Writes the copy with `count` mutants of `all` in it, those first that come first and that the compiler takes.
    fn write(
        &self,
        sources: &BTreeMap<String, String>,
        all: impl Iterator<Item = (String, Point)>,
        count: usize,
    ) -> Result<Vec<Mutant>> {
        let listed =
            output(Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
        let others = |file: &&str| Path::new(file).is_file() && !sources.contains_key(*file);
        for file in listed.lines().filter(others) {
            self.put(file, &fs::read(file).with_context(|| file.to_owned())?)?;
        }
        self.put("boot/src/mutant.rs", SWITCH.as_bytes())?;
        let mut numbers = 0_u32..;
        let mut rest = all.filter_map(|(file, point)| {
            let number = numbers.next()?;
            Some(Mutant { number, file, point })
        });
        let mut mutants: Vec<Mutant> = rest.by_ref().take(count).collect();
        for _ in 0..ROUNDS {
            let refused = self.refused(sources, &mutants)?;
            if refused.is_empty() {
                return Ok(mutants);
            }
            println!("mutants: {} are no Rust; others are taken", refused.len());
            mutants.retain(|mutant| !refused.contains(&mutant.number));
            let missing = count.saturating_sub(mutants.len());
            mutants.extend(rest.by_ref().take(missing));
        }
        bail!("campaign: {ROUNDS} times some mutants were no Rust");
    }

    /// Writes a file of the copy, if it is different: what is the same is not built again.
    fn put(&self, file: &str, bytes: &[u8]) -> Result<()> {
        let path = self.tree.join(file);
        if fs::read(&path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        fs::create_dir_all(path.parent().context("a file without a directory")?)?;
        fs::write(&path, bytes).with_context(|| path.display().to_string())
    }

    /// Writes the sources with these mutants; which of them the compiler does not take.
    fn refused(&self, sources: &BTreeMap<String, String>, mutants: &[Mutant]) -> Result<BTreeSet<u32>> {
        let mut by_file: BTreeMap<&str, Vec<(u32, &Point)>> = BTreeMap::new();
        for mutant in mutants {
            let points = by_file.entry(&mutant.file).or_default();
            points.push((mutant.number, &mutant.point));
        }
        let mut places = BTreeMap::new();
        // Files that had some in the round before, too.
        for (file, source) in sources {
            let points = by_file.entry(file).or_default();
            points.sort_by_key(|(number, point)| (point.range.start, usize::MAX - point.range.end, *number));
            let in_boot = file.starts_with("boot/");
            let question = if in_boot {
                "crate::mutant::active"
            } else {
                "::boot::mutant::active"
            };
            let (mut text, of_file) = rewrite::switched(source, points, question);
            if file == "boot/src/lib.rs" {
                text.push_str("\n#[doc(hidden)]\npub mod mutant;\n");
            }
            self.put(file, text.as_bytes())?;
            places.insert(file.clone(), of_file);
        }
        let mut command = self.cargo();
        command.args([
            "check",
            "--quiet",
            "--package",
            "boot",
            "--package",
            "kernel",
            "--lib",
            "--keep-going",
        ]);
        let said = command
            .arg("--message-format=json")
            .stderr(Stdio::null())
            .output()?;
        if said.status.success() {
            return Ok(BTreeSet::new());
        }
        let mut refused = BTreeSet::new();
        for line in String::from_utf8_lossy(&said.stdout).lines() {
            let message: Value = serde_json::from_str(line).context("cargo's message")?;
            refused.extend(blamed(&message["message"], &places));
        }
        ensure!(
            !refused.is_empty(),
            "campaign: the copy in {} does not compile",
            self.tree.display()
        );
        Ok(refused)
    }

    /// Cargo, in the copy.
    fn cargo(&self) -> Command {
        let mut command = cargo();
        command
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.built)
            // Nobody reads a mutant's warnings, and one that the compiler sees to overflow is only seen to when it is built.
            .env("RUSTFLAGS", "--cap-lints=allow");
        command
    }

    /// Builds the tests' programs.
    fn build(&self) -> Result<Vec<PathBuf>> {
        let mut command = self.cargo();
        command
            .args(["test", "--no-run", "--quiet", "--message-format=json"])
            .args(PROGRAMS);
        let said = output(&mut command)?;
        let mut programs = Vec::new();
        for line in said.lines() {
            let message: Value = serde_json::from_str(line).context("cargo's message")?;
            let is_test = message["profile"]["test"].as_bool() == Some(true);
            if let Some(program) = message["executable"].as_str().filter(|_| is_test) {
                programs.push(PathBuf::from(program));
            }
        }
        ensure!(!programs.is_empty(), "campaign: no tests");
        Ok(programs)
    }

    /// A run of a program of tests. They run where cargo would run them.
    fn program(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"")])
            .arg(program)
            // A test of one thread runs in the main one, which does not have its name.
            .arg("--test-threads=2")
            .current_dir(self.tree.join("tests"))
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// All tests, with how long each takes, and by which mutants which come, by their places in that list. A test that fails without
    /// a mutant is an error.
    fn survey(&self, programs: &[PathBuf], file: &Path) -> Result<(Vec<Test>, Reach)> {
        let (mut tests, mut reach) = (Vec::new(), BTreeMap::<u32, BTreeSet<usize>>::new());
        let (mut sum, mut long) = (0.0, 0);
        for (index, program) in programs.iter().enumerate() {
            File::create(file)?;
            let mut command = self.program(program);
            // Only libtest knows how long a test took, and it tells nobody but a compiler's bootstrap.
            command
                .args(["-Z", "unstable-options", "--format=json", "--report-time"])
                .env("RUSTC_BOOTSTRAP", "1")
                .env("BRAMBLE_REACH", file);
            let said = output(&mut command)?;
            let mut places: BTreeMap<String, Option<usize>> = BTreeMap::new();
            for line in said.lines() {
                let Ok(event) = serde_json::from_str::<Value>(line) else {
                    continue;
                };
                let (Some("test"), Some("ok"), Some(name)) = (
                    event["type"].as_str(),
                    event["event"].as_str(),
                    event["name"].as_str(),
                ) else {
                    continue;
                };
                let seconds = event["exec_time"].as_f64().unwrap_or(1.0);
                let is_long = seconds > LONGEST;
                places.insert(name.to_owned(), (!is_long).then_some(tests.len()));
                if is_long {
                    long += 1;
                    continue;
                }
                sum += seconds;
                tests.push(Test {
                    program: index,
                    name: name.to_owned(),
                    seconds,
                });
            }
            for line in fs::read_to_string(file)?.lines() {
                let (number, thread) = line.split_once(' ').context("a line of the reach")?;
                let reached = reach.entry(number.parse()?).or_default();
                match places.get(thread) {
                    Some(place) => reached.extend(place),
                    // A thread of a test's, or a program: which test's is not known.
                    None => reached.extend(places.values().flatten()),
                }
            }
        }
        println!(
            "mutants: {} tests of {sum:.0} s, and {long} too long",
            tests.len()
        );
        Ok((tests, reach))
    }

    /// Runs the tests that come by a mutant, until one fails; with what told its fate.
    fn fate(&self, mutant: &Mutant, programs: &[PathBuf], batches: &[Vec<&Test>]) -> Result<(Fate, String)> {
        for batch in batches {
            let Some(first) = batch.first() else {
                continue;
            };
            let program = programs.get(first.program).context("a program")?;
            let mut command = self.program(program);
            command
                .arg("--exact")
                .args(batch.iter().map(|test| &test.name))
                .env("BRAMBLE_MUTANT", mutant.number.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // What it starts ends with it.
                .process_group(0);
            let usual: f64 = batch.iter().map(|test| test.seconds).sum();
            let until = Instant::now() + SLACK + Duration::from_secs_f64(usual) * SLOWER;
            let mut child = command.spawn().context("a program of tests")?;
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break Some(status);
                }
                if Instant::now() > until {
                    break None;
                }
                std::thread::sleep(Duration::from_millis(20));
            };
            let by = || {
                format!(
                    "({} of {})",
                    batch.len(),
                    first.name.split("::").next().unwrap_or_default()
                )
            };
            match status {
                Some(status) if status.success() => {}
                Some(_) => return Ok((Fate::Noticed, by())),
                None => {
                    let _ = Command::new("kill")
                        .args(["-KILL", "--", &format!("-{}", child.id())])
                        .status();
                    child.wait()?;
                    return Ok((Fate::TimedOut, by()));
                }
            }
        }
        let fate = if batches.is_empty() {
            Fate::Unreached
        } else {
            Fate::Survived
        };
        Ok((fate, String::new()))
    }
}

/// Which mutants an error of the compiler is about: the one that it points into, else those in what it points at, else the nearest.
fn blamed(message: &Value, places: &BTreeMap<String, Vec<(u32, Range<usize>)>>) -> BTreeSet<u32> {
    let mut spans: Vec<&Value> = message["spans"].as_array().into_iter().flatten().collect();
    if message["level"].as_str() != Some("error") {
        spans.clear();
    }
    spans.sort_by_key(|span| span["is_primary"].as_bool() != Some(true));
    let byte = |value: &Value| usize::try_from(value.as_u64()?).ok();
    let spans = spans.into_iter().filter_map(|span| {
        let of_file = places.get(span["file_name"].as_str()?)?;
        Some((of_file, byte(&span["byte_start"])?..byte(&span["byte_end"])?))
    });
    let spans: Vec<_> = spans.collect();
    for (of_file, span) in &spans {
        let around = of_file.iter().filter(|(_, range)| range.contains(&span.start));
        if let Some((number, _)) = around.min_by_key(|(_, range)| range.len()) {
            return BTreeSet::from([*number]);
        }
        let inside = of_file.iter().filter(|(_, range)| span.contains(&range.start));
        let inside: BTreeSet<u32> = inside.map(|(number, _)| *number).collect();
        if !inside.is_empty() {
            return inside;
        }
    }
    let near = spans.iter().filter_map(|(of_file, span)| {
        let near = of_file
            .iter()
            .min_by_key(|(_, range)| range.start.abs_diff(span.start));
        near.map(|(number, _)| *number)
    });
    near.collect()
}

/// The tests that come by a mutant: those of a program that take little time first.
fn batches<'t>(reached: Option<&BTreeSet<usize>>, tests: &'t [Test]) -> Vec<Vec<&'t Test>> {
    let mut by_program: BTreeMap<usize, Vec<&Test>> = BTreeMap::new();
    for place in reached.into_iter().flatten() {
        if let Some(test) = tests.get(*place) {
            by_program.entry(test.program).or_default().push(test);
        }
    }
    let mut found: BTreeMap<(usize, usize), Vec<&Test>> = BTreeMap::new();
    for (program, mut tests) in by_program {
        tests.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let (mut sum, mut batch) = (0.0, 0);
        for test in tests {
            sum += test.seconds;
            while BATCHES.get(batch).is_some_and(|limit| sum > *limit) {
                batch += 1;
            }
            found.entry((batch, program)).or_default().push(test);
        }
    }
    found.into_values().collect()
}

/// Prints what was noticed, by area, and what was not.
fn tell(options: &Options, fates: &[(&Mutant, Fate)]) {
    println!();
    for (mutant, fate) in fates {
        if matches!(fate, Fate::Survived | Fate::Unreached) {
            println!("{fate:?}: {}", told(&mutant.file, &mutant.point));
        }
    }
    let mut areas: BTreeMap<String, Vec<Fate>> = BTreeMap::new();
    for (mutant, fate) in fates {
        let mut parts = mutant.file.split('/');
        let (package, part) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        let area = format!("{package} {}", part.trim_end_matches(".rs"));
        areas.entry(area).or_default().push(*fate);
        areas.entry("~ all".to_owned()).or_default().push(*fate);
    }
    println!();
    println!(
        "{:<22}{:>6}{:>9}{:>11}{:>10}{:>11}",
        "", "n", "noticed", "timed out", "survived", "unreached"
    );
    for (area, fates) in &areas {
        let count = |fate: Fate| fates.iter().filter(|one| **one == fate).count();
        println!(
            "{area:<22}{:>6}{:>9}{:>11}{:>10}{:>11}",
            fates.len(),
            count(Fate::Noticed),
            count(Fate::TimedOut),
            count(Fate::Survived),
            count(Fate::Unreached),
        );
    }
    println!("mutants: seed {}", options.seed);
}
