//! What a person types while a script waits: single keys, told from noise by the silence around them, and lines.

use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};

use super::errno::{Errno, Failure};
use super::{Frame, Interpreter, Source};

/// The silence after which what arrived is looked at.
const SILENCE: Duration = Duration::from_millis(20);
/// The most bytes of one key.
const MAX_KEY: usize = 8;
/// How long a script waits for a person when it does not say: nobody may be there.
pub(super) const UNATTENDED: Duration = Duration::from_secs(600);
/// How long a prompt waits for its first line, and how long it lives at most.
const FIRST_LINE: Duration = Duration::from_secs(60);
const LONGEST_SHELL: Duration = Duration::from_secs(3600);
/// Bytes of a line that is typed.
const MAX_LINE: usize = 4096;

pub(super) const CTRL_C: u8 = 3;

/// Whether what is typed is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    /// As it is.
    Plain,
    /// As stars.
    Secret,
}

impl Interpreter<'_, '_> {
    /// Waits until `deadline` for a single key: one byte, or a terminal's sequence for one. What comes without a pause
    /// and is no key does nothing.
    pub(super) fn keystroke(&mut self, deadline: Instant) -> Option<Vec<u8>> {
        loop {
            let mut burst = Vec::from([self.world.key(deadline)?]);
            loop {
                let now = self.world.now();
                if now >= deadline {
                    return None;
                }
                match self.world.key(now + SILENCE) {
                    Some(byte) if burst.len() <= MAX_KEY => burst.push(byte),
                    Some(_) => {}
                    None => break,
                }
            }
            if matches!(*burst, [_] | [0x1b, b'[' | b'O', .., b'A'..=b'Z' | b'~'] if burst.len() <= MAX_KEY) {
                self.progress();
                return Some(burst);
            }
        }
    }

    /// Lets `time` pass; Ctrl-C ends it.
    pub(super) fn pause(&mut self, time: Duration) -> Result<(), Failure> {
        let end = self.world.now() + time;
        while let Some(key) = self.keystroke(end) {
            if *key == [CTRL_C] {
                return Err(Failure::new(Errno::INTERRUPTED, "Ctrl-C"));
            }
        }
        if !time.eq(&Duration::ZERO) {
            self.progress();
        }
        Ok(())
    }

    /// Reads a line that begins as `initial`.
    pub(super) fn read_line(
        &mut self,
        patience: Option<Duration>,
        prompt: &str,
        initial: &str,
        echo: Echo,
    ) -> Result<String, Failure> {
        let mut line: String = initial.chars().filter(|c| matches!(c, ' '..='~')).collect();
        self.print(prompt);
        self.echoed(&line, echo);
        let start = self.world.now();
        let latest = start + UNATTENDED.max(patience.unwrap_or(UNATTENDED));
        let mut deadline = start + patience.unwrap_or(UNATTENDED);
        loop {
            let Some(byte) = self.world.key(deadline.min(latest)) else {
                self.print("\n");
                self.progress();
                return Err(Failure::new(Errno::LINE_TIMEOUT, "nobody typed a line in time"));
            };
            deadline = self.world.now() + UNATTENDED;
            match byte {
                b'\r' | b'\n' => {
                    self.print("\n");
                    self.progress();
                    return Ok(line);
                }
                CTRL_C => {
                    self.print("\n");
                    self.progress();
                    return Err(Failure::expected(Errno::LINE_LEFT, "Ctrl-C"));
                }
                0x08 | 0x7f if line.pop().is_some() => self.print("\x08 \x08"),
                // Ctrl-U
                0x15 => {
                    while line.pop().is_some() {
                        self.print("\x08 \x08");
                    }
                }
                b' '..=b'~' if line.len() < MAX_LINE => {
                    line.push(char::from(byte));
                    self.echoed(char::from(byte).encode_utf8(&mut [0; 4]), echo);
                }
                _ => {}
            }
        }
    }

    fn echoed(&mut self, text: &str, echo: Echo) {
        match echo {
            Echo::Plain => self.print(text),
            Echo::Secret => text.chars().for_each(|_| self.print("*")),
        }
    }

    /// Reads a command at the prompt of `shell`. A board that nobody looks after does not stay there.
    pub(super) fn read_command(&mut self, since: Instant) -> Result<String, Failure> {
        let now = self.world.now();
        if now > since + LONGEST_SHELL {
            return Err(Failure::new(
                Errno::LINE_TIMEOUT,
                "the prompt was open for an hour",
            ));
        }
        let first = matches!(
            self.frames.last(),
            Some(Frame {
                source: Source::Person(_),
                number: 0,
                ..
            })
        );
        let patience = first.then_some(FIRST_LINE);
        match self.read_line(patience, "bramble> ", "", Echo::Plain) {
            Err(failure) if failure.errno == Errno::LINE_LEFT => Ok(String::new()),
            Err(failure) => Err(failure),
            Ok(line) => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.number = 1;
                }
                Ok(line)
            }
        }
    }
}
