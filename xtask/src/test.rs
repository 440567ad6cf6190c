//! Every check there is, in stages, and one honest summary of them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::image::{self, Profile};
use crate::program::{cargo, execute};
use crate::rust_target::TARGET;
use crate::setup::{self, Goal};
use crate::{builtin, fuzz};

/// Passed, failed and skipped checks, the latter two with what a person wants to know of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    fn of(outcome: Result<()>, name: &str) -> Self {
        match outcome {
            Ok(()) => Self {
                passed: 1,
                ..Self::default()
            },
            Err(error) => Self {
                failed: vec![format!("{name}: {error:#}")],
                ..Self::default()
            },
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }

    fn verdict(&self) -> &'static str {
        if !self.failed.is_empty() {
            "FAILED"
        } else if self.passed == 0 && !self.skipped.is_empty() {
            "skipped"
        } else {
            "ok"
        }
    }
}

/// Runs every stage, whatever became of the ones before it; success when nothing failed.
pub(crate) fn run() -> Result<ExitCode> {
    let lints = ["--", "-D", "warnings"];
    let firmware = ["--package", "boot", "--package", "kernel", "--target", TARGET];
    let mut stages = vec![("set-up", set_up())];
    let mut stage = |name: &'static str, tally: &mut dyn FnMut() -> Tally| {
        println!("\n== {name}");
        stages.push((name, tally()));
    };
    let mut check = |name: &'static str, words: &[&[&str]]| {
        let mut command = cargo();
        command.args(words.concat());
        stage(name, &mut || Tally::of(execute(&mut command), name));
    };
    check("format", &[&["fmt", "--all", "--check"]]);
    check(
        "lints, host",
        &[&["clippy", "--workspace", "--all-targets"], &lints],
    );
    check(
        "lints, firmware",
        &[&["clippy", "--package", "payload"], &firmware, &lints],
    );
    check(
        "lints, firmware with defmt",
        &[&["clippy", "--features", "defmt"], &firmware, &lints],
    );
    let mut document = |name: &'static str, words: &[&[&str]]| {
        let mut command = cargo();
        command
            .args(["doc", "--no-deps"])
            .args(words.concat())
            .env("RUSTDOCFLAGS", "-D warnings");
        stage(name, &mut || Tally::of(execute(&mut command), name));
    };
    document("documentation, host", &[&["--workspace"]]);
    document(
        "documentation, firmware",
        &[&["--document-private-items"], &firmware],
    );
    stage("images", &mut images);
    // The images' properties and the boots in QEMU are packages' tests like any other.
    stage("tests", &mut || {
        let mut command = cargo();
        command.args(["test", "--workspace", "--no-fail-fast", "--", "--show-output"]);
        tests(&mut command).unwrap_or_else(|error| Tally::of(Err(error), "tests"))
    });
    stage("fuzz targets", &mut fuzzed);
    Ok(summary(stages))
}

/// The set-up: what is missing is skipped here and by the tests that need it, but without the target nothing can be
/// said of the firmware at all.
fn set_up() -> Tally {
    println!("== set-up");
    let missing = setup::run(Goal::Test).missing;
    let mut tally = Tally::default();
    for reason in missing {
        if reason.starts_with(setup::RUST_TARGET) {
            tally.failed.push(reason);
        } else {
            tally.skipped.push(reason);
        }
    }
    if tally == Tally::default() {
        tally.passed = 1;
    }
    tally
}

/// Builds what the tests boot, each a check; the release image must keep its budget.
fn images() -> Tally {
    let mut tally = Tally::default();
    for profile in [Profile::Release, Profile::Debug, Profile::Defmt] {
        let built = image::compile(profile).and_then(|image| {
            image.print();
            image.within_budget()
        });
        tally.add(Tally::of(built, profile.name()));
    }
    tally.add(Tally::of(builtin::build().map(drop), "payload"));
    tally
}

/// Runs each fuzz target, which is a check.
fn fuzzed() -> Tally {
    let mut tally = Tally::default();
    match fuzz::run() {
        Err(error) => tally.add(Tally::of(Err(error), "fuzz")),
        Ok(fuzz::Outcome::Skipped(reason)) => tally.skipped.push(reason),
        Ok(fuzz::Outcome::Ran(ends)) => {
            for (name, end) in ends {
                tally.add(Tally::of(end, &format!("fuzz {name}")));
            }
        }
    }
    tally
}

/// Runs `cargo test`, shows what it says, and counts.
pub(crate) fn tests(command: &mut Command) -> Result<Tally> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo")?;
    let output = child.stdout.take().context("cargo: no output")?;
    let mut count = Count::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cargo: output")?;
        let line = String::from_utf8_lossy(&line);
        count.line(line.trim_end());
        if !count.in_successes {
            println!("{line}");
        }
    }
    let status = child.wait().context("cargo")?;
    let mut tally = count.tally;
    if !status.success() && tally.failed.is_empty() {
        tally.failed.push(format!("cargo test: {status}"));
    }
    Ok(tally)
}

/// Reads libtest's output, and the lines of `qemu::skip` in it.
#[derive(Debug, Default)]
struct Count {
    tally: Tally,
    /// Of the present test binary.
    failed: Vec<String>,
    ignored: Vec<String>,
    skipped: BTreeSet<(String, String)>,
    /// In what passing tests printed, which is long and of interest for its skips alone.
    in_successes: bool,
}

impl Count {
    fn line(&mut self, line: &str) {
        self.in_successes = match line {
            "successes:" => true,
            "failures:" => false,
            _ => self.in_successes && !line.starts_with("test result: "),
        };
        if let Some(skip) = line.strip_prefix("skipped: ") {
            let (name, reason) = skip.split_once(": ").unwrap_or((skip, "no reason given"));
            self.skipped.insert((name.to_owned(), reason.to_owned()));
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.binary_ended(result);
        } else if let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|test| test.rsplit_once(" ... "))
        {
            if outcome == "FAILED" {
                self.failed.push(name.to_owned());
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason.strip_prefix(", ").unwrap_or("ignored without a reason");
                self.ignored.push(format!("{name}: {reason}"));
            }
        }
    }

    /// Takes the figures of `ok. 3 passed; 0 failed; 1 ignored; …`.
    fn binary_ended(&mut self, result: &str) {
        let figure = |what: &str| -> usize {
            let words: Vec<&str> = result.split([' ', ';']).collect();
            let at = words
                .iter()
                .position(|word| *word == what)
                .and_then(|at| at.checked_sub(1));
            at.and_then(|at| words.get(at)?.parse().ok()).unwrap_or(0)
        };
        let mut skipped: Vec<String> = std::mem::take(&mut self.skipped)
            .into_iter()
            .map(|(name, reason)| format!("{name}: {reason}"))
            .collect();
        // A test that skipped itself has returned, which libtest takes for a pass.
        self.tally.passed += figure("passed").saturating_sub(skipped.len());
        skipped.append(&mut self.ignored);
        self.tally.skipped.append(&mut skipped);
        // Whatever the lines looked like, no failure gets lost.
        let mut failed = std::mem::take(&mut self.failed);
        failed.resize(figure("failed").max(failed.len()), "a test".to_owned());
        self.tally.failed.append(&mut failed);
    }
}

/// Prints a line for each stage, each failure and each skip, and the sums; the sums stand alone on the last line.
fn summary(stages: Vec<(&'static str, Tally)>) -> ExitCode {
    println!("\n== summary");
    for (name, tally) in &stages {
        println!("{name:<28} {}", tally.verdict());
    }
    let mut all = Tally::default();
    for (_, tally) in stages {
        all.add(tally);
    }
    for failed in &all.failed {
        println!("FAILED: {failed}");
    }
    for skipped in &all.skipped {
        println!("skipped: {skipped}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        all.passed,
        all.failed.len(),
        all.skipped.len()
    );
    if all.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(output: &str) -> Tally {
        let mut count = Count::default();
        output.lines().for_each(|line| count.line(line));
        count.tally
    }

    #[test]
    fn a_skipped_test_is_not_a_passed_one() {
        let tally = count(
            "test a ... ok\ntest b ... ok\ntest c ... ignored, needs hardware\nsuccesses:\n\n\
             ---- b stdout ----\nskipped: b: no tun: /dev/net/tun\nskipped: b: no tun: /dev/net/tun\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             test d ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n",
        );
        assert_eq!(tally.passed, 2);
        assert_eq!(tally.skipped, ["b: no tun: /dev/net/tun", "c: needs hardware"]);
        assert_eq!(tally.verdict(), "ok");
    }

    #[test]
    fn failures_are_named_and_none_is_lost() {
        let tally = count(
            "test a ... FAILED\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(tally.passed, 1);
        assert_eq!(tally.failed, ["a", "a test"]);
        assert_eq!(tally.verdict(), "FAILED");
    }

    #[test]
    fn a_stage_of_nothing_but_skips_is_skipped() {
        assert_eq!(Tally::default().verdict(), "ok");
        let tally = count("skipped: a: why\ntest result: ok. 1 passed; 0 failed; 0 ignored\n");
        assert_eq!(tally.verdict(), "skipped");
    }
}
