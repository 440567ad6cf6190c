//! Where the stage has its files from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::order::Program;

/// A place for files, card or server.
pub(crate) trait Files {
    /// Whether the node may have a directory of its own.
    fn on_a_network(&self) -> bool;

    /// The next program takes over.
    fn program(&mut self, _program: &Program) {}

    /// The file, or nothing when there is none; of a look no bytes.
    fn get(&mut self, path: &str, look: bool) -> Result<Option<Vec<u8>>>;
}

/// Writes what was copied below `root`, as a TFTP server has it.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(root: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    for (name, bytes) in files {
        let path = root.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
