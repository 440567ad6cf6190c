//! Where the stage has its files from.

use anyhow::Result;

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
