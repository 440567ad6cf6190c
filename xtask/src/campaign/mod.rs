//! What takes longer than a test run: the tests that compare ours with others', or ask much of it, with more menus, overlays and hostile
//! answers, and faults put into the code.

mod caches;
mod mutants;
mod points;
mod rewrite;

use std::ffi::OsStr;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use crate::program::cargo;
use crate::setup::{self, Goal};
use crate::tally;

/// A test that takes the number of its menus, or answers, from a variable.
struct Campaign {
    binary: &'static str,
    test: &'static str,
    variable: &'static str,
    count: u64,
    profile: &'static str,
}

/// Menus on Syslinux itself.
const MENUS: Campaign = Campaign {
    binary: "emulated",
    test: "syslinux::menus_decide_as_in_syslinux",
    variable: "BRAMBLE_MENUS",
    count: 500,
    profile: "dev",
};

/// Menus on the firmware's session.
const DECISIONS: Campaign = Campaign {
    binary: "virtual",
    test: "decisions::the_clock_boots_what_syslinux_would_have_booted",
    variable: "BRAMBLE_DECISIONS",
    count: 1_000_000,
    profile: "campaign",
};

/// A stranger's answers on the firmware's session, which boots the honest entry all the same.
const HOSTILE: Campaign = Campaign {
    binary: "hostile",
    test: "comes_back::after_any_one_hostile_answer_the_honest_entry_boots",
    variable: "BRAMBLE_HOSTILE",
    count: 10_000,
    profile: "dev",
};

/// Whole boots with faults of everything around the node, which end as the policy says.
const BOOTS: Campaign = Campaign {
    binary: "virtual",
    test: "boots::random_boots_end_as_the_policy_says",
    variable: "BRAMBLE_BOOTS",
    count: 10_000,
    profile: "dev",
};

/// Runs the campaign that is named; success when nothing differs.
pub(crate) fn run(arguments: &mut lexopt::Parser) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let (mut campaign, mut count, mut from) = (None, None, 0_u64);
    let mut overlays = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(name) if campaign.is_none() && name == "menus" => campaign = Some(MENUS),
            Value(name) if campaign.is_none() && name == "decisions" => campaign = Some(DECISIONS),
            Value(name) if campaign.is_none() && name == "hostile" => campaign = Some(HOSTILE),
            Value(name) if campaign.is_none() && name == "boots" => campaign = Some(BOOTS),
            Value(name) if campaign.is_none() && name == "overlays" => overlays = Some(arguments.value()?),
            Value(name) if campaign.is_none() && name == "mutants" => {
                return mutants::run(&mutants::Options::parse(arguments)?);
            }
            Value(name) if campaign.is_none() && name == "caches" => {
                if let Some(other) = arguments.next()? {
                    return Err(other.unexpected().into());
                }
                return caches::run();
            }
            Long("count") => count = Some(arguments.value()?.parse().context("campaign: --count")?),
            Long("from" | "seed") => from = arguments.value()?.parse().context("campaign: --from")?,
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(directory) = overlays {
        return compare_overlays(&directory);
    }
    let Some(campaign) = campaign else {
        bail!("campaign: menus, decisions, hostile, boots, overlays DIR, mutants, or caches?");
    };
    if campaign.binary == MENUS.binary {
        setup::run(Goal::Test);
    }
    let end = from.saturating_add(count.unwrap_or(campaign.count));
    let mut command = cargo();
    command
        .args(["test", "--profile", campaign.profile])
        .args(["--package", "tests", "--test", campaign.binary])
        .args(["--", "--exact", "--nocapture", campaign.test])
        .env(campaign.variable, format!("{from}..{end}"));
    let tally = tally::tests(&mut command)?;
    // A test that was skipped has compared nothing.
    ensure!(
        tally.passed == 1 && tally.failed.is_empty() && tally.skipped.is_empty(),
        "campaign: something differs, or was not tried"
    );
    Ok(ExitCode::SUCCESS)
}

/// Applies all overlays of a directory as `fdtoverlay` does, to the trees of Debian that the tests use.
fn compare_overlays(directory: &OsStr) -> Result<ExitCode> {
    setup::run(Goal::Test);
    let directory =
        fs::canonicalize(directory).with_context(|| format!("campaign: {}", directory.display()))?;
    let mut command = cargo();
    command
        .args([
            "test",
            "--package",
            "tests",
            "--test",
            "formats",
            "--",
            "--exact",
            "--nocapture",
        ])
        .arg("debians_overlays_on_debians_trees_come_out_as_fdtoverlay_has_them")
        .env("BRAMBLE_OVERLAYS", directory);
    let tally = tally::tests(&mut command)?;
    ensure!(
        tally.passed == 1 && tally.failed.is_empty() && tally.skipped.is_empty(),
        "campaign: overlays differ, or were not compared"
    );
    Ok(ExitCode::SUCCESS)
}
