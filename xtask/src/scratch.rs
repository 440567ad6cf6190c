//! A directory that goes away with its content.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Removed when dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It lies in the cache or among the system's temporary files, which may be deleted at any time.
        let _ = fs::remove_dir_all(&self.0);
    }
}
