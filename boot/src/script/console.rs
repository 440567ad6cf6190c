//! What a person types while a script waits: single keys, lines and forms, all told from noise as in menus.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};

use super::errno::{Errno, Failure};
use super::machine::{Frame, Interpreter, Source};
use crate::observe::Event;
use crate::patience;
use crate::terminal::editor::{Echo, Editor};
use crate::terminal::form::{Form, Wish};
use crate::terminal::keys::{Burst, Key, SILENCE};
use crate::terminal::{ASK_SIZE, column_after};

/// The most bytes of one key.
const MAX_KEY: usize = 8;
/// Bytes of a line that is typed, and of what is typed or pasted without a pause.
pub(super) const MAX_LINE: usize = 4096;
/// A line begins in a row of its own when the one that the prompt is in has less room.
const MIN_ROOM: usize = 16;

/// A line that is wanted.
pub(super) struct Line<'l> {
    /// How long the first key is waited for; ten minutes when the script does not say.
    pub(super) patience: Option<Duration>,
    pub(super) prompt: &'l str,
    /// How it begins.
    pub(super) initial: &'l str,
    pub(super) echo: Echo,
    /// Whether up and down recall what was typed before.
    pub(super) recalls: bool,
}

/// Whether what a form holds could be stored: else which line not, and why.
pub(super) type Stored = Result<(), (usize, String)>;

impl Interpreter<'_, '_> {
    /// What is typed until `deadline`, up to a silence: keys, all of which do something.
    fn keys(&mut self, deadline: Instant, limit: usize, takes: impl Fn(Key) -> bool) -> Option<Vec<Key>> {
        loop {
            let mut burst = Burst::new(limit);
            let mut byte = Some(self.world.key(deadline)?);
            // What comes with the deadline counts; a line that never falls silent ends behind it.
            let latest = deadline + SILENCE;
            while let Some(key) = byte {
                let now = self.world.now();
                if now >= latest {
                    return None;
                }
                burst.push(key, now);
                byte = self.world.key(now + SILENCE);
            }
            let keys = burst.take(self.world.now());
            if !keys.is_empty() && keys.iter().all(|key| takes(*key)) {
                // A terminal says its size without anybody.
                if keys.iter().any(|key| !matches!(key, Key::Size(_))) {
                    self.attended();
                }
                self.progress();
                return Some(keys);
            }
        }
    }

    /// Waits until `deadline` for a single key.
    pub(super) fn keystroke(&mut self, deadline: Instant) -> Option<Key> {
        self.person.ahead.clear();
        loop {
            let keys = self.keys(deadline, MAX_KEY, |key| !matches!(key, Key::Size(_)))?;
            if let [key] = *keys {
                return Some(key);
            }
        }
    }

    /// Lets `time` pass; Ctrl-C ends it.
    pub(super) fn pause(&mut self, time: Duration) -> Result<(), Failure> {
        let end = self.world.now() + time;
        while let Some(key) = self.keystroke(end) {
            if key == Key::INTERRUPT {
                return Err(Failure::new(Errno::INTERRUPTED, "Ctrl-C"));
            }
        }
        if !time.eq(&Duration::ZERO) {
            self.progress();
        }
        Ok(())
    }

    /// Reads a line. Listeners get one event, with the whole line, when it is complete.
    pub(super) fn read_line(&mut self, line: &Line<'_>) -> Result<String, Failure> {
        let mut editor = Editor::new(line.initial, line.echo, MAX_LINE, 0);
        self.prompt_for(line, &mut editor);
        let start = self.world.now();
        let patience = line.patience.unwrap_or(patience::SCRIPT_UNATTENDED);
        let latest = start + patience::SCRIPT_UNATTENDED.max(patience);
        let mut deadline = start + patience;
        let result = loop {
            if self.person.ahead.is_empty() {
                let takes = |key| match key {
                    Key::Enter | Key::Escape | Key::INTERRUPT | Key::REDRAW | Key::Size(_) => true,
                    Key::Up | Key::Down => line.recalls,
                    key => Editor::takes(key),
                };
                match self.keys(deadline.min(latest), MAX_LINE, takes) {
                    Some(keys) => self.person.ahead.extend(keys),
                    None => {
                        break Err(Failure::new(Errno::LINE_TIMEOUT, "nobody typed a line in time"));
                    }
                }
            }
            let Some(key) = self.person.ahead.pop_front() else {
                continue;
            };
            if let Key::Size(size) = key {
                // A size report comes from the terminal itself; it is no sign of a person.
                if size != self.person.size {
                    self.person.size = size;
                    self.world.draw("\r\n");
                    self.person.column = 0;
                    self.prompt_for(line, &mut editor);
                }
                continue;
            }
            deadline = self.world.now() + patience::SCRIPT_UNATTENDED;
            match key {
                Key::Enter => break Ok(editor.text()),
                Key::Escape | Key::INTERRUPT => {
                    break Err(Failure::expected(Errno::LINE_LEFT, "left"));
                }
                Key::REDRAW => {
                    self.world.draw("\r\n");
                    self.person.column = 0;
                    self.world.draw(ASK_SIZE);
                    self.prompt_for(line, &mut editor);
                }
                Key::Up | Key::Down => {
                    self.person.history.recall(key == Key::Up, &mut editor);
                }
                key => editor.key(key),
            }
            let mut out = String::new();
            editor.paint(&mut out);
            self.world.draw(&out);
        };
        self.world.draw("\r\n");
        self.person.column = 0;
        let told = format!("{}{}\n", line.prompt, editor.shown());
        self.world.event(&Event::Print(&told));
        self.progress();
        result
    }

    /// Draws the prompt and the line so far, where the cursor is.
    fn prompt_for(&mut self, line: &Line<'_>, editor: &mut Editor) {
        let columns = self.person.size.columns;
        let column = column_after(self.person.column, line.prompt);
        let mut room = columns.saturating_sub(column.checked_rem(columns).unwrap_or(0));
        let mut out = String::from(line.prompt);
        if room < MIN_ROOM {
            out.push_str("\r\n");
            room = columns;
        }
        editor.moved(room);
        editor.paint(&mut out);
        self.world.draw(&out);
    }

    /// Lets a person fill in a form, until `store` accepts it or says which line it refuses, and why.
    pub(super) fn fill_in(
        &mut self,
        form: &mut Form,
        store: &mut dyn FnMut(&mut Self, &Form) -> Stored,
    ) -> Result<(), Failure> {
        self.person.ahead.clear();
        let mut out = String::new();
        form.draw(&mut out);
        out.push_str(ASK_SIZE);
        let latest = self.world.now() + patience::SCRIPT_ATTENDED;
        let mut deadline = self.world.now() + patience::SCRIPT_UNATTENDED;
        let result = 'form: loop {
            self.world.draw(&core::mem::take(&mut out));
            let Some(keys) = self.keys(deadline.min(latest), MAX_LINE, |key| form.takes(key)) else {
                break Err(Failure::new(
                    Errno::LINE_TIMEOUT,
                    "nobody filled in the form in time",
                ));
            };
            for key in keys {
                if !matches!(key, Key::Size(_)) {
                    deadline = self.world.now() + patience::SCRIPT_UNATTENDED;
                }
                match form.key(key, &mut out) {
                    None => {}
                    Some(Wish::Leave) => break 'form Err(Failure::expected(Errno::LINE_LEFT, "left")),
                    Some(Wish::Submit) => match store(self, form) {
                        Ok(()) => break 'form Ok(()),
                        Err((line, why)) => form.refuse(line, &why, &mut out),
                    },
                }
            }
        };
        form.close(&mut out);
        self.world.draw(&out);
        self.person.column = 0;
        self.progress();
        result
    }

    /// Reads a command at the prompt of `shell`. A board that nobody looks after does not stay there.
    pub(super) fn read_command(&mut self, since: Instant) -> Result<String, Failure> {
        let now = self.world.now();
        if now > since + patience::SCRIPT_ATTENDED {
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
        let line = Line {
            patience: first.then_some(patience::SHELL_FIRST_LINE),
            prompt: "bramble> ",
            initial: "",
            echo: Echo::Plain,
            recalls: true,
        };
        match self.read_line(&line) {
            Err(failure) if failure.errno == Errno::LINE_LEFT => Ok(String::new()),
            Err(failure) => Err(failure),
            Ok(line) => {
                self.person.history.add(&line);
                if let Some(frame) = self.frames.last_mut() {
                    frame.number = 1;
                }
                Ok(line)
            }
        }
    }
}
