//! A machine without processors: a test reads and writes its registers and memory (QEMU's qtest protocol: a command and its
//! answer, a line each; docs/devel/testing/qtest in QEMU's source).

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::machine::{self, Directory, MONITOR, Process};
use crate::{Board, Monitor, Net};

/// The longest answer in bytes, and the time limit for it.
const LONGEST: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// The protocol's socket in a run's directory.
const QTEST: &str = "qtest";

/// QEMU's error output, in the same directory.
const ERRORS: &str = "stderr";

/// A machine's bus, with its NIC on a network. Guest time advances only by [`Bus::pass`].
#[derive(Debug)]
pub struct Bus {
    _process: Process,
    stream: BufReader<UnixStream>,
    nic: &'static str,
    directory: Directory,
}

impl Bus {
    /// Starts `board` without processors; `nic_options` are properties of the model of its NIC, `card` is an image of a whole SD card.
    ///
    /// # Errors
    ///
    /// When QEMU cannot be started or refuses its arguments (with what it said).
    pub fn start(board: Board, net: &Net, nic_options: &[(&str, &str)], card: Option<&Path>) -> Result<Self> {
        let directory = Directory::new()?;
        let socket = directory.path().join(QTEST);
        let listener = UnixListener::bind(&socket).context("bus: socket")?;
        let mut command = Command::new(board.program()?);
        command.args(["-machine", board.qemu_machine(), "-accel", "qtest"]);
        command.args(["-qtest", &format!("unix:{}", machine::option_value(&socket)?)]);
        command.args(["-qtest-log", "none"]);
        command.args(["-display", "none", "-serial", "none", "-monitor", "none"]);
        command.args(machine::monitor_arguments(directory.path())?);
        command.args(["-netdev", net.netdev()]);
        for (name, value) in nic_options {
            command.args(["-global", &format!("{}.{name}={value}", board.nic_driver())]);
        }
        if let Some(card) = card {
            let card = machine::option_value(card)?;
            command.args(["-drive", &format!("if=sd,format=raw,file={card}")]);
        }
        command.args(board.nic(crate::Firmware::default().mac_text().as_str()));
        let errors = directory.path().join(ERRORS);
        let mut process = Process::start(&mut command, &errors)?;
        let stream = machine::connect(&listener, &mut process, &errors)?;
        stream.set_read_timeout(Some(PATIENCE)).context("bus: socket")?;
        let mut bus = Self {
            _process: process,
            stream: BufReader::new(stream),
            nic: board.nic_path(),
            directory,
        };
        // QEMU connects before it checks most of its arguments.
        bus.ask("endianness")?;
        Ok(bus)
    }

    /// The word at `address`.
    pub fn read(&mut self, address: u64) -> Result<u32> {
        let answer = self.ask(&format!("readl {address:#x}"))?;
        let digits = answer.strip_prefix("0x").unwrap_or(&answer);
        let word = u64::from_str_radix(digits, 16)
            .ok()
            .and_then(|word| word.try_into().ok());
        word.with_context(|| format!("bus: no word at {address:#x}: {answer}"))
    }

    /// Writes the word at `address`.
    pub fn write(&mut self, address: u64, value: u32) -> Result<()> {
        self.ask(&format!("writel {address:#x} {value:#x}")).map(drop)
    }

    /// Reads `len` bytes from `address` on.
    pub fn memory(&mut self, address: u64, length: usize) -> Result<Vec<u8>> {
        let answer = self.ask(&format!("read {address:#x} {length:#x}"))?;
        let digits = answer.strip_prefix("0x").unwrap_or(&answer);
        let bytes =
            (0..digits.len() / 2).map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok());
        let bytes: Option<Vec<u8>> = bytes.collect();
        bytes
            .filter(|bytes| bytes.len() == length)
            .with_context(|| format!("bus: no {length} bytes at {address:#x}: {answer}"))
    }

    /// Writes `bytes` there.
    pub fn set_memory(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.ask(&format!("write {address:#x} {:#x} 0x{digits}", bytes.len()))
            .map(drop)
    }

    /// Advances guest time.
    pub fn pass(&mut self, time: Duration) -> Result<()> {
        self.ask(&format!("clock_step {}", time.as_nanos())).map(drop)
    }

    /// A counter or setting of the NIC's model, such as `tx-lost`.
    pub fn nic_number(&self, property: &str) -> Result<u64> {
        Monitor::connect(&self.directory.path().join(MONITOR))?.number(self.nic, property)
    }

    /// Sends a command and returns the text behind `OK` in the answer.
    fn ask(&mut self, command: &str) -> Result<String> {
        self.stream
            .get_mut()
            .write_all(format!("{command}\n").as_bytes())
            .with_context(|| format!("bus: {command}"))?;
        let mut line = String::new();
        let read = self.stream.by_ref().take(LONGEST).read_line(&mut line);
        read.with_context(|| format!("bus: {command}"))?;
        if line.is_empty() {
            let said = fs::read_to_string(self.directory.path().join(ERRORS)).unwrap_or_default();
            bail!("bus: {command}: QEMU has ended: {}", said.trim());
        }
        let answer = line.trim_end().strip_prefix("OK");
        ensure!(answer.is_some(), "bus: {command}: {line}");
        Ok(answer.unwrap_or_default().trim_start().to_owned())
    }
}
