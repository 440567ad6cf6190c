//! How many checks passed, failed and were skipped: read from what libtest prints, and summed up.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

/// Passed, failed and skipped checks, the latter two with what a person wants to know of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    /// One check.
    pub(crate) fn of(outcome: Result<()>, name: &str) -> Self {
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

    /// Both together.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }

    /// All of them.
    pub(crate) fn count(&self) -> usize {
        self.passed + self.failed.len() + self.skipped.len()
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
pub(crate) fn summary(stages: Vec<(&'static str, Tally)>) -> ExitCode {
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
