//! What every bench uses: how long it waits, what is downloaded, names of files, and the word for a target.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use qemu::console::Match;

/// For each line that is waited for; a slow host and counted instructions take their time.
pub(super) const PATIENCE: Duration = Duration::from_secs(900);

/// The word for a target.
pub(super) fn verdict(met: bool) -> &'static str {
    if met { "ok" } else { "MISSED" }
}

/// The number in a group of what the console said.
pub(super) fn number(found: &Match, group: usize) -> Result<u64> {
    let digits = found.groups.get(group).context("bench: no such group")?;
    digits.parse().with_context(|| format!("bench: {}", found.text))
}

/// A file's or directory's name that no other process takes.
pub(super) fn scratch(extension: &str) -> PathBuf {
    std::env::temp_dir().join(format!("bramble-bench-{}.{extension}", std::process::id()))
}

/// Bytes that do not compress and are the same in every run (Marsaglia's xorshift64).
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
