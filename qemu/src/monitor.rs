//! A client of QEMU's monitor, as far as a test needs one (QEMU Machine Protocol: one JSON object a line).

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::Board;

/// The system timer's counter below the peripherals: low word, then high word.
const SYSTEM_TIMER_CLO: u64 = 0x3004;

/// The longest line in bytes.
const LONGEST: u64 = 1 << 20;

/// A connection to one machine's monitor, which takes one at a time.
#[derive(Debug)]
pub struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("monitor: connect")?;
        Self::greet(stream)
    }

    fn greet(stream: UnixStream) -> Result<Self> {
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .context("monitor: socket")?;
        let mut monitor = Self {
            stream: BufReader::new(stream),
        };
        let greeting = monitor.message()?;
        ensure!(greeting.starts_with("{\"QMP\": "), "monitor: {greeting}");
        monitor.ask("qmp_capabilities", "{}")?;
        Ok(monitor)
    }

    /// Plugs the network cable in or out.
    pub fn set_link(&mut self, up: bool) -> Result<()> {
        self.ask("set_link", &format!(r#"{{"name": "net0", "up": {up}}}"#))?;
        Ok(())
    }

    /// Unplugs the USB NIC from its port, or plugs it in again; its model must allow that.
    pub fn set_attached(&mut self, there: bool) -> Result<()> {
        let arguments =
            format!(r#"{{"path": "/machine/peripheral/nic", "property": "attached", "value": {there}}}"#);
        self.ask("qom-set", &arguments)?;
        Ok(())
    }

    /// A property, a whole number, of the object at `path` (`/machine/...`).
    pub fn number(&mut self, path: &str, property: &str) -> Result<u64> {
        let arguments = format!(r#"{{"path": "{path}", "property": "{property}"}}"#);
        let value = self.ask("qom-get", &arguments)?;
        value
            .parse()
            .with_context(|| format!("monitor: {path} {property}: {value}"))
    }

    /// Changes such a property; the device must allow that while it runs.
    pub fn set_number(&mut self, path: &str, property: &str, value: u64) -> Result<()> {
        let arguments = format!(r#"{{"path": "{path}", "property": "{property}", "value": {value}}}"#);
        self.ask("qom-set", &arguments)?;
        Ok(())
    }

    /// Guest time: the counter of the SoC's system timer (BCM2835 ARM peripherals, §12), microseconds since reset.
    pub fn guest_time(&mut self, board: Board) -> Result<Duration> {
        let counter = board.peripherals() + SYSTEM_TIMER_CLO;
        let command = format!(r#"{{"command-line": "xp /2xw {counter:#x}"}}"#);
        let answer = self.ask("human-monitor-command", &command)?;
        words(&answer)
            .map(Duration::from_micros)
            .with_context(|| format!("monitor: system timer: {answer}"))
    }

    /// The word at a guest's address.
    pub fn word(&mut self, address: u64) -> Result<u32> {
        let command = format!(r#"{{"command-line": "xp /2xw {address:#x}"}}"#);
        let answer = self.ask("human-monitor-command", &command)?;
        words(&answer)
            .map(|both| both as u32)
            .with_context(|| format!("monitor: word: {answer}"))
    }

    /// Whether the machine has ended, and is held.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.ask("query-status", "{}")?.contains("shutdown"))
    }

    /// A PC's clock, which began at midnight: what time of day it is, to the second.
    pub fn time_of_day(&mut self) -> Result<Duration> {
        let time = self.ask("qom-get", r#"{"path": "/machine", "property": "rtc-time"}"#)?;
        let field = |name: &str| {
            let (_, rest) = time.split_once(&format!("\"tm_{name}\": "))?;
            rest.split([',', '}']).next()?.parse::<u64>().ok()
        };
        let fields = (field("hour"), field("min"), field("sec"));
        let (Some(hours), Some(minutes), Some(seconds)) = fields else {
            bail!("monitor: rtc-time: {time}");
        };
        Ok(Duration::from_secs((hours * 60 + minutes) * 60 + seconds))
    }

    /// Pauses the machine.
    pub fn stop(&mut self) -> Result<()> {
        self.ask("stop", "{}")?;
        Ok(())
    }

    /// Resumes the machine.
    pub fn go_on(&mut self) -> Result<()> {
        self.ask("cont", "{}")?;
        Ok(())
    }

    /// Writes the state of a machine that is held into a new file, for another QEMU's `-incoming file:`.
    ///
    /// # Errors
    ///
    /// When a device cannot be saved, or it takes longer than `patience`.
    pub fn save(&mut self, file: &Path, patience: Duration) -> Result<()> {
        let file = file
            .to_str()
            .context("monitor: migrate: a file that is not UTF-8")?;
        self.ask("migrate", &format!(r#"{{"uri": "file:{file}"}}"#))?;
        self.moved(patience)
    }

    /// Waits until all of a state has been written, or read by a QEMU that was started with one; it is still held then.
    ///
    /// # Errors
    ///
    /// When it fails, or takes longer than `patience`.
    pub fn moved(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let state = self.ask("query-migrate", "{}")?;
            if state.contains(r#""status": "completed""#) {
                return Ok(());
            }
            let failed = state.contains(r#""status": "failed""#);
            ensure!(!failed && Instant::now() < deadline, "monitor: migrate: {state}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends QEMU, so that its plugins write their results.
    pub fn quit(mut self) -> Result<()> {
        self.ask("quit", "{}")?;
        Ok(())
    }

    /// Gives the text of the answer's value.
    fn ask(&mut self, command: &str, arguments: &str) -> Result<String> {
        let line = format!("{{\"execute\": \"{command}\", \"arguments\": {arguments}}}\n");
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .with_context(|| format!("monitor: {command}"))?;
        let message = self.message()?;
        let value = message
            .strip_prefix("{\"return\": ")
            .and_then(|rest| rest.strip_suffix('}'));
        match value {
            Some(value) => Ok(value.to_owned()),
            None => bail!("monitor: {command} {arguments}: {message}"),
        }
    }

    /// The next line that is no event. QEMU sends events to every client, even before the greeting.
    fn message(&mut self) -> Result<String> {
        loop {
            let line = self.line()?;
            // QEMU writes an object's members in one fixed order.
            if !line.starts_with("{\"timestamp\": ") {
                return Ok(line);
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.stream.by_ref().take(LONGEST).read_line(&mut line);
        read.context("monitor: receive")?;
        ensure!(line.ends_with('\n'), "monitor: closed, or a line without end");
        Ok(line.trim_end().to_owned())
    }
}

/// Two words, the low one first, of what QEMU prints of memory: `"ADDRESS: 0xLOW 0xHIGH\r\n"`.
fn words(answer: &str) -> Option<u64> {
    let (_, words) = answer.trim_matches('"').split_once(": ")?;
    let mut words = words.trim_end_matches("\\r\\n").split(' ');
    let mut word = || u32::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (low, high) = (word()?, word()?);
    Some(u64::from(high) << 32 | u64::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &str =
        "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n{\"return\": {}}\r\n";

    /// A monitor whose QEMU answers with these lines.
    fn answering(lines: &str) -> Result<(Monitor, UnixStream)> {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(format!("{GREETING}{lines}").as_bytes()).unwrap();
        Ok((Monitor::greet(near)?, far))
    }

    #[test]
    fn answers_are_told_from_events() {
        let (mut monitor, mut far) = answering(
            "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"STOP\"}\r\n\
             {\"return\": 1234}\r\n{\"return\": {}}\r\n",
        )
        .unwrap();
        assert_eq!(monitor.number("/machine/x", "faults-injected").unwrap(), 1234);
        monitor.set_link(false).unwrap();
        drop(monitor);
        let mut sent = String::new();
        far.read_to_string(&mut sent).unwrap();
        assert!(
            sent.contains(r#"{"execute": "set_link", "arguments": {"name": "net0", "up": false}}"#),
            "{sent}"
        );
    }

    #[test]
    fn an_event_may_come_before_the_greeting() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let event = "{\"timestamp\": {\"seconds\": 1}, \"event\": \"SHUTDOWN\"}\r\n";
        far.write_all(format!("{event}{GREETING}{{\"return\": 7}}\r\n").as_bytes())
            .unwrap();
        let mut monitor = Monitor::greet(near).unwrap();
        assert_eq!(monitor.number("/machine/x", "y").unwrap(), 7);
    }

    #[test]
    fn guest_time_is_read_from_the_system_timer() {
        let answer = "{\"return\": \"00000000fe003004: 0x05f5e100 0x00000001\\r\\n\"}\r\n";
        let (mut monitor, mut far) = answering(answer).unwrap();
        let time = monitor.guest_time(Board::Pi4b).unwrap();
        assert_eq!(time, Duration::from_micros(0x1_05f5_e100));
        drop(monitor);
        let mut sent = String::new();
        far.read_to_string(&mut sent).unwrap();
        assert!(sent.contains("xp /2xw 0xfe003004"), "{sent}");
        for rubbish in ["\"\"", "\"x: 0x1\\r\\n\"", "\"x: 1 2\""] {
            assert_eq!(words(rubbish), None);
        }
    }

    #[test]
    fn a_pcs_time_of_day_is_read_from_its_clock() {
        let time = "{\"tm_hour\": 1, \"tm_mday\": 1, \"tm_min\": 2, \"tm_sec\": 3}";
        let (mut monitor, _far) =
            answering(&format!("{{\"return\": {time}}}\r\n{{\"return\": 7}}\r\n")).unwrap();
        assert_eq!(monitor.time_of_day().unwrap(), Duration::from_secs(3723));
        assert!(monitor.time_of_day().is_err());
    }

    #[test]
    fn a_machine_is_saved_when_qemu_says_so_and_a_failure_is_told() {
        let began = "{\"return\": {}}\r\n{\"return\": {\"status\": \"active\"}}\r\n";
        let save = |end: &str| {
            let lines = format!("{began}{{\"return\": {{\"status\": \"{end}\", \"x\": 1}}}}\r\n");
            let (mut monitor, far) = answering(&lines).unwrap();
            let saved = monitor.save(Path::new("/x/state"), Duration::from_secs(9));
            drop(monitor);
            (saved, far)
        };
        let (saved, mut far) = save("completed");
        saved.unwrap();
        let mut sent = String::new();
        far.read_to_string(&mut sent).unwrap();
        assert!(
            sent.contains(r#"{"execute": "migrate", "arguments": {"uri": "file:/x/state"}}"#),
            "{sent}"
        );
        let error = save("failed").0.unwrap_err().to_string();
        assert!(error.contains("failed"), "{error}");
    }

    #[test]
    fn a_refusal_is_told_and_rubbish_is_an_error() {
        let refusal =
            "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"Device 'net0' not found\"}}\r\n";
        let (mut monitor, _far) = answering(refusal).unwrap();
        let error = monitor.set_link(true).unwrap_err().to_string();
        assert!(error.contains("Device 'net0' not found"), "{error}");
        for rubbish in ["{}\r\n", "{\"return\": \"x\"}\r\n", "\r\n"] {
            let (mut monitor, _far) = answering(rubbish).unwrap();
            assert!(monitor.number("/machine", "x").is_err(), "{rubbish}");
        }
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"SSH-2.0\r\n").unwrap();
        assert!(Monitor::greet(near).is_err());
    }
}
