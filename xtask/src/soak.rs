//! A million faults at each port that our models have: the emulated tests' storms, for as long as that takes.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use qemu::Board;

use crate::image::{self, Profile};
use crate::program::cargo;
use crate::setup::{self, Goal};
use crate::{builtin, tally};

/// How many faults each port gets.
const FAULTS: u64 = 1_000_000;

/// Where the tests look for that number.
const VARIABLE: &str = "BRAMBLE_FAULTS";

/// `cargo xtask soak`'s options.
#[derive(Debug)]
pub(crate) struct Options {
    boards: Vec<Board>,
    faults: u64,
}

impl Options {
    pub(crate) fn parse(arguments: &mut lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let mut options = Self {
            boards: vec![],
            faults: FAULTS,
        };
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("board") => options
                    .boards
                    .push(Board::from_name(&arguments.value()?.string()?)?),
                Long("faults") => options.faults = arguments.value()?.parse().context("soak: --faults")?,
                other => return Err(other.unexpected().into()),
            }
        }
        if options.boards.is_empty() {
            options.boards = vec![Board::Pi4b, Board::Pi3b, Board::Pi3bPlus];
        }
        Ok(options)
    }
}

/// The name of the test that is this board's storm.
fn test(board: Board) -> Result<&'static str> {
    Ok(match board {
        Board::Pi4b => "soak::a_4b_survives",
        Board::Pi3b => "soak::a_3b_survives",
        Board::Pi3bPlus => "soak::a_3b_plus_survives",
        _ => bail!("soak: {}: QEMU's own usb-net has no faults", board.name()),
    })
}

/// One board after the other; success when each has had its faults and still works.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let tests = options
        .boards
        .iter()
        .map(|board| test(*board))
        .collect::<Result<Vec<_>>>()?;
    setup::run(Goal::Emulator);
    for board in &options.boards {
        // The test would be skipped, which is no success here.
        let reason = board.unavailable();
        ensure!(
            reason.is_none(),
            "soak: board {}: {}",
            board.name(),
            reason.unwrap_or_default()
        );
    }
    image::compile(Profile::Release)?;
    builtin::build()?;
    let mut command = cargo();
    command
        .args(["test", "--package", "tests", "--test", "emulated", "--"])
        .args(["--exact", "--nocapture", "--test-threads", "1"])
        .args(&tests)
        .env(VARIABLE, options.faults.to_string());
    let tally = tally::tests(&mut command)?;
    ensure!(
        tally.passed == tests.len() && tally.failed.is_empty() && tally.skipped.is_empty(),
        "soak: of {} ports {} passed",
        tests.len(),
        tally.passed
    );
    Ok(ExitCode::SUCCESS)
}
