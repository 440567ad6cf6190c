//! How a script goes on: from a line to its command, from what that led to to the next line, and in and out of scripts inside scripts.

use alloc::format;
use alloc::string::String;

use super::cmd_images;
use super::commands;
use super::errno::{Errno, Failure};
use super::error;
use super::images::{Id, Stored};
use super::line::{self, NoLine};
use super::machine::{Frame, Interpreter, Outcome, Script, Source, Step, at_line, read};
use crate::observe::Event;
use crate::patience;
use crate::text::plain;
use crate::verify::is_script;

/// Scripts inside scripts, those not counted whose caller has nothing left to do (D-56).
pub const MAX_DEPTH: usize = 32;
/// Commands in a row without a download, a pause or a key (D-58).
pub const MAX_IDLE_COMMANDS: u32 = 100_000;
/// Scripts, downloads and questions in a row, without a pause or a key, before each costs a second more: a script that chains to itself, or
/// asks for the same again and again, is not to hammer a server.
const FREE_ERRANDS: u32 = 2048;
/// Commands between two looks at the network and the watchdog.
const BREATHER: usize = 64;
/// So many bytes of a line, and of what it expands to, are worth a command more.
const BYTES_OF_A_COMMAND: usize = 1024;

impl Interpreter<'_, '_> {
    /// Makes the first script an image like any other.
    pub(super) fn take_in(&mut self, script: Script) -> Result<Id, Failure> {
        let Script { url, text } = script;
        let (at, room) = self.images.room(true, 0, &mut |_| self.world.tick());
        let space = room
            .get_mut(..text.len())
            .ok_or_else(|| Failure::new(Errno::NO_MEMORY, format!("{url}: no memory for it")))?;
        space.copy_from_slice(&text);
        let name = cmd_images::base_name(&url);
        self.images.add(name, url, at, text.len(), 0)
    }

    /// Runs until there is no frame left. No failure means that all went well, and nothing booted.
    pub(super) fn run(&mut self) -> Result<Outcome, Option<Failure>> {
        while let Some(frame) = self.frames.last_mut() {
            let Some(rest) = frame.rest.take() else {
                let left = self.next_line().and_then(|result| self.leave(result));
                match left {
                    Some(end) => return end,
                    None => continue,
                }
            };
            if !frame.runs {
                frame.skip(rest);
                frame.go_on();
                continue;
            }
            let mut words = core::mem::take(&mut frame.words);
            let expanded = frame.expand(rest, &mut words, &self.settings);
            if words.is_empty() && expanded.is_ok() {
                // Nothing is done, successfully.
                (frame.words, frame.result) = (words, Ok(()));
                frame.go_on();
                continue;
            }
            let result = expanded.and_then(|()| self.command(&words));
            if let Some(frame) = self.frames.last_mut() {
                frame.keep(words, &self.settings);
            }
            if let Some(end) = self.took(result) {
                return end;
            }
        }
        Err(None)
    }

    /// Gets the next line of the top frame; a result when there is none.
    fn next_line(&mut self) -> Option<Result<(), Failure>> {
        let frame = self.frames.last_mut()?;
        match &frame.source {
            Source::Script(..) if frame.result.is_err() => {
                // Nobody provided for it, whatever it was.
                let result = core::mem::replace(&mut frame.result, Ok(()));
                return Some(result.map_err(|failure| Failure {
                    expected: failure.expected && failure.ends,
                    ..at_line(&self.settings, frame, failure)
                }));
            }
            Source::Script(text, ..) => match text.line(frame.next) {
                Ok(line) => {
                    frame.number = frame.next.line.saturating_add(1);
                    frame.next = line.next;
                    if let Err(failure) = read(&line.command, &mut frame.line, &mut frame.share) {
                        frame.words.clear();
                        return Some(Err(at_line(&self.settings, frame, failure)));
                    }
                }
                Err(NoLine::End) => return Some(Ok(())),
                Err(why) => {
                    frame.number = frame.next.line.saturating_add(1);
                    frame.words.clear();
                    let failure = match why {
                        NoLine::TooLong => {
                            Failure::new(Errno::BOUND, format!("longer than {} bytes", line::MAX_LINE))
                        }
                        _ => Failure::new(Errno::CONTINUATION, "the script ends inside a line"),
                    };
                    return Some(Err(at_line(&self.settings, frame, failure)));
                }
            },
            Source::Person(since) => {
                let since = *since;
                match self.read_command(since) {
                    Ok(line) => self.frames.last_mut()?.line = line,
                    Err(failure) => return Some(Err(failure)),
                }
            }
        }
        let frame = self.frames.last_mut()?;
        frame.rest = Some(0);
        frame.runs = true;
        None
    }

    /// Runs one command.
    fn command(&mut self, words: &[String]) -> Result<Step, Failure> {
        let Some(name) = words.first() else {
            // Nothing is done, successfully.
            return Ok(Step::Done);
        };
        self.idle = self.idle.saturating_add(1);
        // Whatever the commands are: not all that take time look after the watchdog.
        let line = self.frames.last().map_or(0, |frame| frame.line.len());
        let bytes = words
            .iter()
            .fold(line, |sum, word| sum.saturating_add(word.len()));
        self.breath = self
            .breath
            .saturating_add(bytes / BYTES_OF_A_COMMAND)
            .saturating_add(1);
        if self.breath >= BREATHER {
            self.breath = 0;
            let now = self.world.now();
            self.world.rest(now);
            self.tell_time();
        }
        let (script, line) = match self.frames.last() {
            Some(Frame {
                source: Source::Script(_, _, url),
                number,
                ..
            }) => (Some(url), *number),
            _ => (None, 0),
        };
        self.world.event(&Event::Command { script, line, words });
        let Some(command) = commands::find(name) else {
            return Err(Failure::new(Errno::NO_COMMAND, "command not found"));
        };
        command(self, words)
    }

    /// Goes where a command led. Something when that is the end of everything.
    fn took(&mut self, result: Result<Step, Failure>) -> Option<Result<Outcome, Option<Failure>>> {
        let ends = match result {
            _ if self.idle > MAX_IDLE_COMMANDS => Some(format!(
                "{MAX_IDLE_COMMANDS} commands without a download, a pause or a key: a loop that leads nowhere"
            )),
            Ok(Step::End(_)) => None,
            // What boots after a long download boots.
            Ok(Step::Execute(id)) if !is_script(self.images.bytes(id)) => None,
            _ if self.world.now() >= self.until => Some(format!(
                "nothing has booted in {} min, and nobody is there",
                patience::SCRIPT_ALONE.secs() / 60
            )),
            _ => None,
        };
        if let Some(reason) = ends {
            let failure = Failure::new(Errno::BOUND, reason);
            let frame = self.frames.last();
            return Some(Err(Some(match frame {
                Some(frame) => at_line(&self.settings, frame, failure),
                None => failure,
            })));
        }
        let result = match result {
            Ok(Step::Execute(id)) => match self.execute(id) {
                // The new frame's result is the command's.
                Ok(None) => return None,
                Ok(Some(outcome)) => return Some(Ok(outcome)),
                Err(failure) => Err(failure),
            },
            Ok(Step::Shell) => {
                let cwuri = self.settings.facts.cwuri.clone();
                let source = Source::Person(self.world.now());
                self.frames.push(Frame::new(source, cwuri, self.budget.other()));
                return None;
            }
            Ok(Step::End(outcome)) => return Some(Ok(outcome)),
            Ok(Step::Exit(result)) => {
                self.note(&result);
                let result = match self.frames.last() {
                    Some(frame) => result.map_err(|failure| at_line(&self.settings, frame, failure)),
                    None => result,
                };
                return self.leave(result);
            }
            Ok(Step::Goto(place)) => {
                if let Some(frame) = self.frames.last_mut() {
                    (frame.next, frame.rest, frame.pending) = (place, None, None);
                    frame.timed = None;
                    frame.result = Ok(());
                }
                return None;
            }
            Ok(Step::Done) => Ok(()),
            Err(failure) => Err(failure),
        };
        self.after(result);
        None
    }

    /// Remembers a failure's number.
    fn note(&mut self, result: &Result<(), Failure>) {
        if let Err(failure) = result {
            self.settings.facts.errno = failure.errno.0;
            self.world.event(&Event::Failed(failure));
        }
    }

    /// The top frame's command has ended.
    fn after(&mut self, result: Result<(), Failure>) {
        self.note(&result);
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if result.as_ref().is_err_and(|failure| failure.ends) {
            // So nothing provides for it, here and in the scripts that called this one.
            frame.pending = None;
        }
        let took = frame
            .timed
            .take()
            .map(|start| (self.world.now() - start).total_millis());
        let mut line = None;
        if let Err(failure) = &result {
            self.trouble |= !failure.expected && !failure.errno.is_absent();
            let told = |failure: &Failure| plain(&at_line(&self.settings, frame, failure.clone()).reason);
            match &frame.source {
                Source::Person(_) => line = Some(format!("{}\n", told(failure))),
                Source::Script(..) if frame.pending.is_some() && !failure.expected => {
                    error::provided_for(&told(failure));
                }
                Source::Script(..) => {}
            }
        }
        frame.result = result;
        if let Some(line) = line {
            self.print(&line);
        }
        if let Some(millis) = took {
            self.print(&format!("{millis} ms\n"));
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.go_on();
        }
    }

    /// Executes an image: a script in a frame of its own, a kernel for good.
    pub(super) fn execute(&mut self, id: Id) -> Result<Option<Outcome>, Failure> {
        self.images
            .executable(id, self.board.device_tree, &mut |_| self.world.tick())?;
        self.images.read_script(id)?;
        if self.images.get(id).is_some_and(|image| image.at().is_none()) {
            self.errand()?;
        }
        let Some(image) = self.images.get_mut(id) else {
            return Err(Failure::new(Errno::NO_IMAGE, "no such image"));
        };
        if self.trust.0 && !image.trusted {
            return Err(Failure::new(
                Errno::UNTRUSTED,
                "not trusted: imgtrust demands a signature, and imgverify has not seen one",
            ));
        }
        let Stored::Script(text) = &image.content else {
            return self.boot(id).map(Some).map_err(Failure::at_the_end);
        };
        let source = Source::Script(text.clone(), id, image.url.clone());
        image.listed = false;
        let mut cwuri = self.settings.facts.cwuri.replace(image.url.clone());
        // A caller that has nothing left to do makes room; its own caller hears what the new script leads to.
        if let Some(over) = self.frames.pop_if(|frame| frame.is_over()) {
            cwuri = over.cwuri;
            if let Source::Script(_, caller, _) = over.source {
                self.images.free(caller);
            }
        }
        if self.frames.len() >= MAX_DEPTH {
            self.settings.facts.cwuri = cwuri;
            self.images.list_again(id);
            return Err(Failure::new(
                Errno::BOUND,
                format!("scripts are nested more than {MAX_DEPTH} deep"),
            ));
        }
        self.frames.push(Frame::new(source, cwuri, self.budget.other()));
        Ok(None)
    }

    /// Counts a script, a download or a question, which costs a second when it is one of many.
    pub(super) fn errand(&mut self) -> Result<(), Failure> {
        self.errands = self.errands.saturating_add(1);
        if self.errands > FREE_ERRANDS {
            self.pause(patience::MISS)?;
        }
        Ok(())
    }

    /// Ends the top frame. Something when it was the last.
    fn leave(&mut self, result: Result<(), Failure>) -> Option<Result<Outcome, Option<Failure>>> {
        let frame = self.frames.pop()?;
        self.settings.facts.cwuri = frame.cwuri;
        if let Source::Script(_, id, _) = frame.source {
            let freed = self.images.get(id).is_none_or(|image| image.autofree);
            if freed || frame.replacement.is_some() {
                self.images.free(id);
            } else {
                self.images.list_again(id);
            }
        }
        let mut result = result;
        if let Some(next) = frame.replacement {
            match self.execute(next) {
                Ok(None) => return None,
                Ok(Some(outcome)) => return Some(Ok(outcome)),
                Err(failure) => result = Err(failure),
            }
        }
        if self.frames.is_empty() {
            return Some(Err(result.err()));
        }
        self.after(result);
        None
    }
}
