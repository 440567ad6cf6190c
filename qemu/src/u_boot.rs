//! A person at U-Boot's prompt: stops the countdown, types commands, reads the answers.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::console::Match;
use crate::{Entry, Machine, Qemu};

/// Where the Pi's firmware puts U-Boot.
const LOADED_AT: u64 = 0x8_0000;

/// A machine that runs U-Boot.
#[derive(Debug)]
pub struct UBoot {
    /// The machine.
    pub qemu: Qemu,
    patience: Duration,
}

impl UBoot {
    /// Starts `machine`, whose image is U-Boot's, and stops it at its prompt; `patience` is for each answer.
    pub fn start(machine: Machine, patience: Duration) -> Result<Self> {
        let mut qemu = machine.entry(Entry::At(LOADED_AT)).start()?;
        let console = qemu.console();
        console.expect("Hit any key to stop autoboot", patience)?;
        console.send(b" ")?;
        Ok(Self { qemu, patience })
    }

    /// Types a command at the prompt and returns the part of its answer that matches.
    pub fn ask(&mut self, command: &str, answer: &str) -> Result<Match> {
        let patience = self.patience;
        let console = self.qemu.console();
        console.expect("^U-Boot> $", patience)?;
        console.send(format!("{command}\r").as_bytes())?;
        console.expect(answer, patience)
    }

    /// Asks for a lease, without the boot file that DHCP names.
    ///
    /// # Errors
    ///
    /// When there is none in time, or no network device that U-Boot has a driver for.
    pub fn lease(&mut self) -> Result<Match> {
        self.ask("setenv autoload no", "")?;
        // The pattern includes the text behind the address, so that an address that has arrived only in part does not match.
        let answer = self.ask(
            "dhcp",
            r"DHCP client bound to address ([0-9.]+) \(|No ethernet found",
        )?;
        ensure!(answer.text.contains("bound"), "U-Boot has no driver for it");
        Ok(answer)
    }
}
