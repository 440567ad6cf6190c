//! A serial line of the emulated machine: everything it ever printed, and a way to wait for more and to type.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use regex::Regex;

/// One UART's far end. Cloning gives another handle on the same line with its own place in the output.
#[derive(Debug)]
pub struct Console {
    stream: UnixStream,
    output: Arc<Output>,
    /// Where the next `expect` begins to look.
    seen: usize,
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    bytes: Vec<u8>,
    closed: bool,
    /// Copy what arrives to standard output.
    echo: bool,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`Console::expect`] found: the whole match, and each group (empty when it took no part).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The matched text.
    pub text: String,
    /// The pattern's groups, from the first.
    pub groups: Vec<String>,
}

/// How [`Console::wait`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// The text appeared.
    Found(Match),
    /// The machine ended, so it will never come.
    Ended,
    /// The text did not appear in time.
    NotYet,
}

impl Console {
    /// Collects what arrives on `stream` from now on, in a thread that ends when QEMU does.
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        let output = Arc::new(Output::default());
        let reader = stream.try_clone().context("console: duplicate the socket")?;
        let collected = Arc::clone(&output);
        thread::spawn(move || collect(reader, &collected));
        Ok(Self {
            stream,
            output,
            seen: 0,
        })
    }

    /// A line without a machine.
    pub(crate) fn unconnected() -> Result<Self> {
        let (near, _) = UnixStream::pair().context("console: socket")?;
        Self::new(near)
    }

    /// Another handle on the same line, whose `expect` starts where this one's stands.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone().context("console: duplicate the socket")?,
            output: Arc::clone(&self.output),
            seen: self.seen,
        })
    }

    /// Also copies to standard output what arrives from now on.
    pub fn echo(&self) {
        self.output.lock().echo = true;
    }

    /// Everything printed so far; bytes that are not UTF-8 read as U+FFFD, and what is written over a line
    /// from its beginning is a line of its own.
    pub fn text(&self) -> String {
        self.output.lock().text.clone()
    }

    /// Every byte so far as it was sent, for output that is no text.
    pub fn bytes(&self) -> Vec<u8> {
        self.output.lock().bytes.clone()
    }

    /// Skips everything printed so far.
    pub fn skip(&mut self) {
        self.seen = self.output.lock().text.len();
    }

    /// Waits for text that matches `pattern`, after the last match; `^` and `$` are ends of lines.
    ///
    /// # Errors
    ///
    /// When `pattern` is no regular expression, nothing matched within `patience`, or the machine ended without it;
    /// the last two with the console's last lines.
    pub fn expect(&mut self, pattern: &str, patience: Duration) -> Result<Match> {
        match self.wait(&line_regex(pattern)?, patience) {
            Waited::Found(found) => Ok(found),
            Waited::Ended => bail!(
                "console: the machine ended before /{pattern}/{}",
                self.last_lines()
            ),
            Waited::NotYet => {
                bail!(
                    "console: no /{pattern}/ within {} s{}",
                    patience.as_secs(),
                    self.last_lines()
                )
            }
        }
    }

    /// As [`Console::expect`], for a caller that has other things to look at meanwhile.
    pub fn wait(&mut self, regex: &Regex, patience: Duration) -> Waited {
        let deadline = Instant::now() + patience;
        let mut state = self.output.lock();
        loop {
            if let Some(found) = regex.captures(state.text.get(self.seen..).unwrap_or("")) {
                let whole = found.get_match();
                self.seen += whole.end();
                return Waited::Found(Match {
                    text: whole.as_str().to_owned(),
                    groups: found
                        .iter()
                        .skip(1)
                        .map(|group| group.map_or(String::new(), |g| g.as_str().to_owned()))
                        .collect(),
                });
            }
            if state.closed {
                return Waited::Ended;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return Waited::NotYet;
            };
            state = self
                .output
                .grown
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn last_lines(&self) -> String {
        last_lines(&self.output.lock().text)
    }

    /// Types `bytes` on the line.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("console: type")
    }
}

/// A pattern as `--expect` and [`Console::expect`] understand it: `^` and `$` are ends of lines.
pub fn line_regex(pattern: &str) -> Result<Regex> {
    regex::RegexBuilder::new(pattern)
        .multi_line(true)
        .build()
        .with_context(|| format!("console: /{pattern}/"))
}

fn collect(mut reader: UnixStream, output: &Output) {
    let mut buffer = [0; 4096];
    // The buffer's end cut a character in two.
    let mut rest = Vec::new();
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        let mut state = output.lock();
        if state.echo {
            let mut stdout = std::io::stdout().lock();
            // A closed standard output must not end the boot that is being watched.
            let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
        }
        state.bytes.extend_from_slice(bytes);
        rest.extend_from_slice(bytes);
        let whole = complete(&rest);
        let text = String::from_utf8_lossy(rest.get(..whole).unwrap_or_default());
        state
            .text
            .push_str(&text.replace("\r\n", "\n").replace('\r', "\n"));
        rest.drain(..whole);
        output.grown.notify_all();
    }
    output.lock().closed = true;
    output.grown.notify_all();
}

/// How many of `bytes` can be decoded now: a character or an end of line that is incomplete has to wait.
fn complete(bytes: &[u8]) -> usize {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(30)..).unwrap_or_default();
    if tail.is_empty() {
        "; it printed nothing".to_owned()
    } else {
        format!("; its last lines:\n    {}", tail.join("\n    "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn pair() -> (UnixStream, Console) {
        let (machine, host) = UnixStream::pair().unwrap();
        (machine, Console::new(host).unwrap())
    }

    #[test]
    fn expect_finds_in_order_and_gives_groups() {
        let (mut machine, mut console) = pair();
        machine
            .write_all(b"nic: up\r\nlease: 10.0.2.15 from 10.0.2.2\r\n")
            .unwrap();
        let lease = console.expect(r"^lease: (\S+) from (\S+)$", PATIENCE).unwrap();
        assert_eq!(lease.groups, ["10.0.2.15", "10.0.2.2"]);
        drop(machine);
        let error = console.expect("nic", PATIENCE).unwrap_err().to_string();
        assert!(error.contains("ended before /nic/"), "{error}");
        assert!(error.contains("lease: 10.0.2.15"), "{error}");
    }

    #[test]
    fn a_character_in_two_reads_is_one_character() {
        let (mut machine, mut console) = pair();
        machine.write_all(&"é".as_bytes()[..1]).unwrap();
        thread::yield_now();
        machine.write_all(&"é".as_bytes()[1..]).unwrap();
        machine.write_all(b"\xff!").unwrap();
        console.expect("é\u{fffd}!", PATIENCE).unwrap();
        assert_eq!(console.bytes(), [0xc3, 0xa9, 0xff, b'!']);
    }

    #[test]
    fn what_is_written_over_a_line_is_a_line() {
        let (mut machine, mut console) = pair();
        machine.write_all(b"  1.0 MiB of 4.0 MiB\r").unwrap();
        thread::yield_now();
        machine.write_all(b"nic: link down\r").unwrap();
        thread::yield_now();
        machine.write_all(b"\nnic: link up\r\n").unwrap();
        console.expect("^nic: link down$", PATIENCE).unwrap();
        console.expect("^nic: link up$", PATIENCE).unwrap();
        assert!(!console.text().contains("\n\n"));
    }

    #[test]
    fn what_is_typed_arrives() {
        let (mut machine, mut console) = pair();
        console.send(b"\x1b[B").unwrap();
        let mut typed = [0; 3];
        machine.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"\x1b[B");
    }
}
