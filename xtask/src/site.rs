//! What a node is to boot: a menu and the payload that it names, on a web server or in a TFTP root.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use qemu::http::{Answer, Server};

/// The payload and its menu.
pub(crate) struct Site {
    pub(crate) menu: Vec<u8>,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: Option<Vec<u8>>,
    /// The board's stock device tree, where Debian's is at hand.
    pub(crate) tree: Option<Vec<u8>>,
}

impl Site {
    /// Puts them on `server`, beside what stands in the directory `root`.
    pub(crate) fn serve(self, server: &Server, root: Option<&Path>) {
        if let Some(root) = root {
            server.directory(root);
        }
        server.put("/vmlinuz", Answer::file(self.kernel));
        server.put("/menu", Answer::ok(self.menu));
        if let Some(initrd) = self.initrd {
            server.put("/initrd", Answer::ok(initrd));
        }
    }

    /// Writes them below `root`, where PXELINUX has its menu.
    pub(crate) fn write(self, root: &Path) -> Result<()> {
        let menus = root.join("pxelinux.cfg");
        fs::create_dir_all(&menus).with_context(|| menus.display().to_string())?;
        fs::write(menus.join("default"), self.menu)?;
        if let Some(initrd) = self.initrd {
            fs::write(root.join("initrd"), initrd)?;
        }
        fs::copy(&self.kernel, root.join("vmlinuz")).with_context(|| self.kernel.display().to_string())?;
        Ok(())
    }
}
