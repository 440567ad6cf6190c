//! The checkout's own files, for tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// Its root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every directory and file below `directory`, each directory before what is in it. `enters` says of a directory whether to look
/// inside.
pub fn below(directory: &Path, enters: fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.expect("an entry").path();
        let inside = if path.is_dir() && enters(&path) {
            below(&path, enters)
        } else {
            Vec::new()
        };
        found.push(path);
        found.extend(inside);
    }
    found
}

/// The sources in Rust below `directory`.
pub fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = below(directory, |_| true);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found
}
