//! `cargo xtask test` and `check`: every check there is, in stages, or those that a change needs first.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::image::{self, Profile};
use crate::program::{cargo, execute, root};
use crate::rust_target::TARGET;
use crate::setup::{self, Goal};
use crate::tally::{self, Tally};
use crate::{builtin, dist, fuzz};

/// A part of the checks that has a name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Setup,
    Format,
    Lints,
    Docs,
    Images,
    Host,
    Emulated,
    Fuzz,
}

/// In the order in which they run.
const STAGES: [(&str, Stage); 8] = [
    ("setup", Stage::Setup),
    ("format", Stage::Format),
    ("lints", Stage::Lints),
    ("docs", Stage::Docs),
    ("images", Stage::Images),
    ("host", Stage::Host),
    ("emulated", Stage::Emulated),
    ("fuzz", Stage::Fuzz),
];

impl Stage {
    /// What has to be set up before it.
    fn goal(self) -> Option<Goal> {
        match self {
            Self::Format => None,
            Self::Lints | Self::Docs | Self::Images | Self::Host => Some(Goal::Image),
            Self::Setup | Self::Emulated | Self::Fuzz => Some(Goal::Test),
        }
    }

    fn takes_filter(self) -> bool {
        matches!(self, Self::Host | Self::Emulated)
    }
}

/// `cargo xtask test`'s words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The stages to run; all when there are none.
    stages: Vec<Stage>,
    /// A part of the names of the tests to run.
    filter: Option<String>,
}

impl Options {
    /// Stages, and behind them a filter.
    pub(crate) fn parse(arguments: &mut lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let mut options = Self::default();
        while let Some(argument) = arguments.next()? {
            let word = match argument {
                Value(word) => word.string()?,
                other => return Err(other.unexpected().into()),
            };
            if let Some(unknown) = &options.filter {
                bail!("test: no stage {unknown}, only {}", names(|_| true));
            }
            match STAGES.iter().find(|(name, _)| *name == word) {
                Some((_, stage)) => options.stages.push(*stage),
                None => options.filter = Some(word),
            }
        }
        match &options.filter {
            Some(word) if !options.stages.iter().any(|stage| stage.takes_filter()) => bail!(
                "test: no stage {word}, only {}; a filter of tests stands behind {}",
                names(|_| true),
                names(Stage::takes_filter)
            ),
            _ => Ok(options),
        }
    }
}

/// The names of stages, for a person.
fn names(which: fn(Stage) -> bool) -> String {
    let names: Vec<&str> = STAGES
        .iter()
        .filter(|(_, stage)| which(*stage))
        .map(|(name, _)| *name)
        .collect();
    names.join(", ")
}

/// The lines of the summary, so far.
#[derive(Default)]
struct Report(Vec<(&'static str, Tally)>);

impl Report {
    /// Runs a stage of a few checks.
    fn stage(&mut self, name: &'static str, run: impl FnOnce() -> Tally) {
        println!("\n== {name}");
        self.0.push((name, run()));
    }

    /// Runs cargo, whose success is one check.
    fn cargo(&mut self, name: &'static str, words: &[&[&str]]) {
        let mut command = cargo();
        command.args(words.concat());
        self.stage(name, || Tally::of(execute(&mut command), name));
    }

    /// Builds documentation; a warning is an error.
    fn document(&mut self, name: &'static str, words: &[&[&str]]) {
        let mut command = cargo();
        command
            .args(["doc", "--no-deps"])
            .args(words.concat())
            .env("RUSTDOCFLAGS", "-D warnings");
        self.stage(name, || Tally::of(execute(&mut command), name));
    }

    /// Runs `cargo test` with each of these words, of which every test is a check.
    fn tests(&mut self, name: &'static str, runs: &[Vec<String>], filter: Option<&str>) {
        self.stage(name, || {
            let mut tally = Tally::default();
            for words in runs {
                let mut command = cargo();
                command.args(["test", "--no-fail-fast"]).args(words);
                command.args(filter).args(["--", "--show-output"]);
                tally.add(tally::tests(&mut command).unwrap_or_else(|error| Tally::of(Err(error), name)));
            }
            tally
        });
    }

    /// The set-up: what is missing is skipped here and by the tests that need it, but without the target nothing can be
    /// said of the firmware at all.
    fn set_up(&mut self, goal: Goal) {
        self.stage("set-up", || {
            let mut tally = Tally::default();
            for reason in setup::run(goal).missing {
                match reason.starts_with(setup::RUST_TARGET) {
                    true => tally.failed.push(reason),
                    false => tally.skipped.push(reason),
                }
            }
            if tally == Tally::default() {
                tally.passed = 1;
            }
            tally
        });
    }

    fn format(&mut self) {
        self.cargo("format", &[&["fmt", "--all", "--check"]]);
    }

    fn lints(&mut self) {
        let payload = ["clippy", "--package", "payload"];
        self.cargo(
            "lints, host",
            &[&["clippy", "--workspace", "--all-targets"], &DENY],
        );
        self.cargo("lints, firmware", &[&payload, &FIRMWARE, &DENY]);
    }
}

/// Lints' warnings are errors.
const DENY: [&str; 3] = ["--", "-D", "warnings"];
/// The packages of kernel8.img, for its target.
const FIRMWARE: [&str; 6] = ["--package", "boot", "--package", "kernel", "--target", TARGET];

/// What to look at before a commit: success when nothing failed.
pub(crate) fn check() -> ExitCode {
    let mut report = Report::default();
    report.set_up(Goal::Image);
    report.format();
    report.lints();
    report.tests("tests, boot", &[words(&["--package", "boot", "--lib"])], None);
    report.tests(
        "tests, virtual time",
        &[words(&["--package", "tests", "--test", "virtual"])],
        None,
    );
    tally::summary(report.0)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Runs the stages that are asked for, whatever became of the ones before it; success when nothing failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let all = options.stages.is_empty();
    let wanted = |stage| all || options.stages.contains(&stage);
    let filter = options.filter.as_deref();
    let mut report = Report::default();
    let goals = STAGES.iter().filter(|(_, stage)| wanted(*stage));
    if let Some(goal) = goals.filter_map(|(_, stage)| stage.goal()).max() {
        report.set_up(goal);
    }
    if wanted(Stage::Format) {
        report.format();
    }
    if wanted(Stage::Lints) {
        report.lints();
        report.cargo(
            "lints, firmware with defmt",
            &[&["clippy", "--features", "defmt"], &FIRMWARE, &DENY],
        );
    }
    if wanted(Stage::Docs) {
        report.document("documentation, host", &[&["--workspace"]]);
        report.document(
            "documentation, firmware",
            &[&["--document-private-items"], &FIRMWARE],
        );
    }
    // Tests of an image that was built before some change would say nothing of that change.
    if wanted(Stage::Images) || wanted(Stage::Emulated) {
        report.stage("images", images);
    }
    let before = report.0.len();
    if all {
        // The images' properties and the boots in QEMU are packages' tests like any other.
        report.tests("tests", &[words(&["--workspace"])], None);
    } else {
        for (stage, name) in [
            (Stage::Images, "tests, images"),
            (Stage::Host, "tests, host"),
            (Stage::Emulated, "tests, emulated"),
        ] {
            if wanted(stage) {
                report.tests(name, &programs(stage)?, filter.filter(|_| stage.takes_filter()));
            }
        }
    }
    if let Some(filter) = filter {
        let ran = report.0.get(before..).unwrap_or_default().iter();
        if ran.map(|(_, tally)| tally.count()).sum::<usize>() == 0 {
            let reason = format!("no test's name has it, and the stages are {}", names(|_| true));
            let tally = Tally::of(Err(anyhow::Error::msg(reason)), filter);
            report.0.push(("filter", tally));
        }
    }
    if wanted(Stage::Fuzz) {
        report.stage("fuzz targets", fuzzed);
    }
    Ok(tally::summary(report.0))
}

/// The words for `cargo test` that run a stage's tests; all stages' together are those of `--workspace`.
fn programs(stage: Stage) -> Result<Vec<Vec<String>>> {
    let of = |packages: &[&str], programs: &[String]| -> Vec<String> {
        let packages = packages
            .iter()
            .flat_map(|package| ["--package", package].map(str::to_owned));
        let programs = programs
            .iter()
            .flat_map(|program| ["--test".to_owned(), program.clone()]);
        packages.chain(programs).collect()
    };
    Ok(match stage {
        Stage::Images => vec![of(&["tests"], &words(&["image"]))],
        // The machines' own tests need an emulator, too.
        Stage::Emulated => vec![of(&["qemu", "tests"], &words(&["emulated", "machine"]))],
        Stage::Host => {
            let mut others = vec![];
            for entry in fs::read_dir(root()?.join("tests/tests")).context("tests/tests")? {
                let path = entry.context("tests/tests")?.path();
                let name = path
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                if name != "image" && name != "emulated" {
                    others.push(name);
                }
            }
            others.sort();
            let mut programs = of(&["qemu", "tests"], &others);
            programs.push("--lib".to_owned());
            vec![
                words(&["--workspace", "--exclude", "qemu", "--exclude", "tests"]),
                programs,
                words(&["--package", "qemu", "--package", "tests", "--doc"]),
            ]
        }
        Stage::Setup | Stage::Format | Stage::Lints | Stage::Docs | Stage::Fuzz => vec![],
    })
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
    tally.add(Tally::of(dist::same_elsewhere(), "dist, built in two places"));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options> {
        Options::parse(&mut lexopt::Parser::from_args(words))
    }

    #[test]
    fn stages_come_first_and_a_filter_behind_them() {
        assert_eq!(parse(&[]).unwrap(), Options::default());
        for (name, stage) in STAGES {
            assert_eq!(parse(&[name]).unwrap().stages, [stage]);
        }
        let options = parse(&["lints", "host", "session::"]).unwrap();
        assert_eq!(options.stages, [Stage::Lints, Stage::Host]);
        assert_eq!(options.filter.as_deref(), Some("session::"));
    }

    #[test]
    fn a_stage_that_does_not_exist_is_refused_with_those_that_do() {
        let list = "only setup, format, lints, docs, images, host, emulated, fuzz";
        for (words, unknown) in [
            (&["lint"][..], "lint"),
            (&["format", "lint"], "lint"),
            (&["hots", "emulated"], "hots"),
            (&["host", "session::", "emulated"], "session::"),
        ] {
            let error = parse(words).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("test: no stage {unknown}, {list}")),
                "{error}"
            );
        }
        assert!(parse(&["--all"]).is_err());
    }

    #[test]
    fn every_program_of_the_tests_is_in_one_stage() {
        let stages = [Stage::Images, Stage::Host, Stage::Emulated];
        let words: Vec<String> = stages
            .iter()
            .flat_map(|stage| programs(*stage).unwrap())
            .flatten()
            .collect();
        let mut found = 0;
        for directory in ["tests/tests", "qemu/tests"] {
            for entry in fs::read_dir(root().unwrap().join(directory)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                let named = words.iter().filter(|word| **word == name);
                assert_eq!(named.count(), 1, "{name}");
                found += 1;
            }
        }
        assert!(found > 7, "{found}");
    }
}
