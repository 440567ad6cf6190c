//! A step of the set-up: what comes of it, and how it leaves all of a directory or nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What a step found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to do.
    Present(String),
    /// Done now.
    Done(String),
}

/// Lets `make` fill a directory beside `directory`, and gives it that name when it is whole. `is_there` tells whether somebody
/// else was quicker.
pub(crate) fn made_whole(
    directory: &Path,
    make: impl FnOnce(&Path) -> Result<String>,
    is_there: impl FnOnce() -> bool,
) -> Result<Outcome> {
    let partial = directory.with_extension(format!("partial-{}", std::process::id()));
    let made = make(&partial).and_then(|version| {
        let renamed = fs::rename(&partial, directory);
        if !is_there() {
            renamed.with_context(|| directory.display().to_string())?;
        }
        Ok(Outcome::Done(format!("{version} in {}", directory.display())))
    });
    // Gone when it was renamed.
    let _ = fs::remove_dir_all(&partial);
    made
}
