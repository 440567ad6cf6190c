//! iPXE scripts (<https://ipxe.org/scripting>): an interpreter that is a machine of frames, and what it may touch.
//!
//! `line` cuts the text into commands, `settings` and `value` are what `${…}` means, `images` is what was downloaded,
//! and the `cmd_` files are the commands. Nothing recurses: a chained script is one more frame, and one whose caller
//! has nothing left to do takes its caller's place, so that a script may chain to itself for as long as it likes.
//! Everything that happens goes through [`World`], and everything worth knowing to [`World::event`].

pub mod errno;
pub mod images;
pub mod line;
pub mod settings;
pub mod value;

mod cmd_flow;
mod cmd_images;
mod cmd_menus;
mod cmd_network;
mod cmd_settings;
mod commands;
mod console;
mod cpio;
mod options;

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use crate::fetch::{self, Request, Response};
use crate::lease::{Fixed, Lease};
use crate::menu::{Chosen, Menu};
use crate::ntp;
use crate::observe::Event;
use crate::random::Seeds;
use crate::resolve;
use crate::text::plain;
use crate::url::Url;
use crate::vlan::Tag;
use crate::{Board, Handoff, Region, terminal};
use errno::{Errno, Failure};
use images::{Content, Id, Images};
use line::{NoLine, Operator, Place, Text, Words};
use settings::{Facts, Settings};

/// Scripts inside scripts, those not counted whose caller has nothing left to do.
pub const MAX_DEPTH: usize = 32;
/// Commands in a row without a download, a pause or a key.
pub const MAX_IDLE_COMMANDS: u32 = 100_000;
/// Commands between two looks at the network and the watchdog.
const BREATHER: u32 = 64;
/// Characters of a command that an error repeats.
const MAX_SHOWN: usize = 120;
/// Bytes of a command that has run that its script keeps, so that the next one need not allocate.
const MAX_KEPT: usize = 4096;

/// What a script can do to the world, and what the world may know of a script.
pub trait World {
    /// Time since reset.
    fn now(&self) -> Instant;
    /// Rests until `deadline` at the latest, with the network and the watchdog looked after; a byte that was typed ends
    /// it. A deadline in the past only looks after them.
    fn key(&mut self, deadline: Instant) -> Option<u8>;
    /// Writes to the terminal.
    fn print(&mut self, text: &str);
    /// Downloads into memory.
    fn fetch(&mut self, request: &Request<'_>, into: &mut [u8]) -> Result<Response, fetch::Error>;
    /// Shows a menu, and says what was chosen.
    fn choose(&mut self, menu: &Menu) -> Chosen;
    /// The lease, when there is one.
    fn lease(&mut self) -> Option<Lease>;
    /// Asks DHCP again and waits so long for an answer. A lease that is still fresh is one.
    fn dhcp(&mut self, patience: Duration) -> bool;
    /// The address of a host.
    fn resolve(&mut self, host: &str) -> Result<Ipv4Address, resolve::Error>;
    /// Sets what a script has set of the interface's configuration, until DHCP is asked again.
    fn fix(&mut self, _fixed: &Fixed) {}
    /// Moves to a VLAN, or back to the network without a tag: whether it can. There is no lease at first.
    fn select(&mut self, _tag: Option<Tag>) -> bool {
        false
    }
    /// Whether there is a link.
    fn link(&mut self) -> bool {
        true
    }
    /// Sends an ICMP echo of so many bytes: whether it came back in time.
    fn echo(&mut self, _host: Ipv4Address, _sequence: u16, _size: usize, _patience: Duration) -> bool {
        false
    }
    /// Asks an NTP server: seconds since 1970.
    fn ntp(&mut self, _server: Ipv4Address) -> Result<u64, ntp::Error> {
        Err(ntp::Error::NoAnswer)
    }
    /// Hears that `bramble.name` was set; empty: that it was cleared.
    fn set(&mut self, _name: &str, _value: &str) {}
    /// Hears of commands, what they print and what boots, in order.
    fn event(&mut self, _event: &Event<'_>) {}
}

/// Where a script leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To a kernel.
    Boot(Handoff),
    /// To a reset of the board.
    Reset,
    /// To its end: switched off.
    PowerOff,
}

/// Why a script led nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// It failed; the reason begins with the script and the line.
    Failed(Failure),
    /// It ended without booting anything, which is how servers say "the next boot device".
    Ended(Url),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => write!(f, "script: {}", plain(&failure.reason)),
            Self::Ended(url) => {
                write!(
                    f,
                    "script: {url} ended without booting anything, and there is no other boot device"
                )
            }
        }
    }
}

/// Where commands come from.
#[derive(Debug)]
enum Source {
    /// A script in memory, and the image that it is.
    Script(Rc<Text>, Id, Url),
    /// A person at the prompt of `shell`, since then.
    Person(Instant),
}

/// A script that runs.
#[derive(Debug)]
struct Frame {
    source: Source,
    /// The line that comes next.
    next: Place,
    /// The number of the current line, from 1.
    number: usize,
    /// The current line.
    line: String,
    /// Where what is left of it begins; none when it is done.
    rest: Option<usize>,
    /// What follows the command that runs, and where.
    pending: Option<(Operator, usize)>,
    /// Whether the next command is run.
    runs: bool,
    /// How the last command ended.
    result: Result<(), Failure>,
    /// The last command, expanded: for an error, and for the next one to take its room.
    words: Vec<String>,
    /// Whether that one named settings.
    expands: bool,
    /// Room for words of commands that have more of them.
    spare: Vec<String>,
    /// What relative URIs were relative to before.
    cwuri: Option<Url>,
    /// The image that takes this script's place when it ends.
    replacement: Option<Id>,
    /// When a command's time is to be told: the command and its start.
    timed: Option<Instant>,
}

impl Frame {
    fn new(source: Source, cwuri: Option<Url>) -> Self {
        Self {
            source,
            next: Place::default(),
            number: 0,
            line: String::new(),
            rest: None,
            pending: None,
            runs: true,
            result: Ok(()),
            words: Vec::new(),
            expands: false,
            spare: Vec::new(),
            cwuri,
            replacement: None,
            timed: None,
        }
    }

    /// Whether all that is left are blank lines and comments.
    fn is_over(&self) -> bool {
        let Source::Script(text, ..) = &self.source else {
            return false;
        };
        let mut place = self.next;
        while let Ok(line) = text.line(place) {
            let mut words = Words::of(&line.command);
            if words.next().is_some() || words.tail.is_some() {
                return false;
            }
            place = line.next;
        }
        self.pending.is_none() && self.timed.is_none() && text.line(place) == Err(NoLine::End)
    }
}

/// What a command leads to, other than failure.
enum Step {
    /// The next command.
    Done,
    /// Another line of the script.
    Goto(Place),
    /// The end of the script, with this result.
    Exit(Result<(), Failure>),
    /// An image that is executed.
    Execute(Id),
    /// The end of everything.
    End(Outcome),
    /// A prompt.
    Shell,
}

/// A script's world and its state.
struct Interpreter<'r, 'm> {
    world: &'r mut dyn World,
    board: &'r Board<'r>,
    seeds: &'r Seeds,
    settings: Settings,
    images: Images<'m>,
    frames: Vec<Frame>,
    menus: Vec<cmd_menus::Form>,
    person: console::Person,
    parameters: Vec<cmd_network::Parameters>,
    /// Whether images must be trusted, and whether that is for ever.
    trust: (bool, bool),
    /// Commands since something last took time.
    idle: u32,
    /// Downloads in a row that failed.
    misses: u32,
    /// Menu items and form fields, of all menus and forms.
    items: usize,
    /// What was last set of the interface's configuration.
    fixed: Fixed,
    /// VLANs that were made.
    vlans: Vec<Tag>,
    /// Seconds from 1970 to the reset of the board; 0 when nobody has told the time.
    epoch: u64,
}

/// A script that was downloaded.
#[derive(Debug, Clone)]
pub struct Script {
    /// Where it came from, after redirects.
    pub url: Url,
    /// Its text.
    pub text: Vec<u8>,
}

/// The value of `text` with every `${…}` in it replaced, for a boot file or a menu's URL that names settings.
pub fn expand(text: &str, board: &Board<'_>, boot: &crate::Settings, lease: &Lease) -> String {
    if !text.contains("${") {
        return text.into();
    }
    let mut settings = Settings::new(Facts::of(board, boot, Some(lease.clone())));
    // What is wrong with one of them is said when a script runs.
    let _ = preset(&mut settings, boot);
    line::expand(text, &mut |name| settings.text(name)).unwrap_or_else(|_| text.into())
}

/// Sets what the operator has set for scripts.
fn preset(settings: &mut Settings, boot: &crate::Settings) -> Result<(), Failure> {
    boot.presets.iter().try_for_each(|(name, value)| {
        let name = settings.name_to_store(name)?;
        settings.store_text(&name, value)
    })
}

/// Runs a script until something boots or nothing is left to do. What it downloads goes into `memory`.
// Inside a generic caller it would be optimised as the caller's crate is: for size.
#[inline(never)]
pub fn run(
    script: Script,
    memory: Region<'_>,
    board: &Board<'_>,
    boot: &crate::Settings,
    seeds: &Seeds,
    world: &mut dyn World,
) -> Result<Outcome, Error> {
    let facts = Facts::of(board, boot, world.lease());
    let url = script.url.clone();
    let mut interpreter = Interpreter {
        world,
        board,
        seeds,
        settings: Settings::new(facts),
        images: Images::new(memory),
        frames: Vec::new(),
        menus: Vec::new(),
        person: console::Person::default(),
        parameters: Vec::new(),
        trust: (false, false),
        idle: 0,
        misses: 0,
        items: 0,
        fixed: Fixed::default(),
        vlans: Vec::new(),
        epoch: 0,
    };
    preset(&mut interpreter.settings, boot).map_err(Error::Failed)?;
    interpreter.tell_time();
    let id = interpreter.take_in(script).map_err(Error::Failed)?;
    interpreter.execute(id).map_err(Error::Failed)?;
    match interpreter.run() {
        Ok(outcome) => Ok(outcome),
        Err(Some(failure)) => Err(Error::Failed(failure)),
        Err(None) => Err(Error::Ended(url)),
    }
}

impl Interpreter<'_, '_> {
    /// Makes the first script an image like any other.
    fn take_in(&mut self, script: Script) -> Result<Id, Failure> {
        let Script { url, text } = script;
        let (at, room) = self.images.room(true, 0);
        let space = room
            .get_mut(..text.len())
            .ok_or_else(|| Failure::new(Errno::NO_MEMORY, format!("{url}: no memory for it")))?;
        space.copy_from_slice(&text);
        let name = cmd_images::base_name(&url);
        self.images.add(name, url, at, text.len(), 0)
    }

    /// Runs until there is no frame left. No failure means that all went well, and nothing booted.
    fn run(&mut self) -> Result<Outcome, Option<Failure>> {
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
                frame.keep(words);
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
                    expected: false,
                    ..at_line(frame, failure)
                }));
            }
            Source::Script(text, ..) => match text.line(frame.next) {
                Ok(line) => {
                    frame.number = frame.next.line.saturating_add(1);
                    frame.next = line.next;
                    frame.line.clear();
                    frame.line.push_str(&line.command);
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
                    return Some(Err(at_line(frame, failure)));
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
        if self.idle.is_multiple_of(BREATHER) {
            let now = self.world.now();
            let _ = self.world.key(now);
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
        if self.idle > MAX_IDLE_COMMANDS {
            let failure = Failure::new(
                Errno::BOUND,
                format!(
                    "{MAX_IDLE_COMMANDS} commands without a download, a pause or a key: a loop that leads nowhere"
                ),
            );
            let frame = self.frames.last();
            return Some(Err(Some(match frame {
                Some(frame) => at_line(frame, failure),
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
                self.frames.push(Frame::new(source, cwuri));
                return None;
            }
            Ok(Step::End(outcome)) => return Some(Ok(outcome)),
            Ok(Step::Exit(result)) => {
                self.note(&result);
                let result = match self.frames.last() {
                    Some(frame) => result.map_err(|failure| at_line(frame, failure)),
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
            let told = |failure: &Failure| plain(&at_line(frame, failure.clone()).reason);
            match &frame.source {
                Source::Person(_) => line = Some(format!("{}\n", told(failure))),
                Source::Script(..) if frame.pending.is_some() && !failure.expected => {
                    warn!("script: {}", told(failure));
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
    fn execute(&mut self, id: Id) -> Result<Option<Outcome>, Failure> {
        self.images.executable(id, self.board.device_tree)?;
        self.images.read_script(id)?;
        let Some(image) = self.images.get_mut(id) else {
            return Err(Failure::new(Errno::NO_IMAGE, "no such image"));
        };
        if self.trust.0 && !image.trusted {
            return Err(Failure::new(
                Errno::UNTRUSTED,
                "not trusted: imgtrust demands a signature, and imgverify has not seen one",
            ));
        }
        let Content::Script(text) = &image.content else {
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
        self.frames.push(Frame::new(source, cwuri));
        Ok(None)
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

    /// Writes to the terminal.
    fn print(&mut self, text: &str) {
        self.world.event(&Event::Print(text));
        self.world.print(text);
        self.person.column = terminal::column_after(self.person.column, text);
    }

    /// Something took time: whatever loops here is not only burning it.
    fn progress(&mut self) {
        self.idle = 0;
        self.tell_time();
    }

    /// Looks at the clock for `${unixtime}`.
    fn tell_time(&mut self) {
        let since_reset = self.world.now().secs().cast_unsigned();
        self.settings.facts.unixtime = self.epoch.saturating_add(since_reset) as u32;
    }
}

impl Frame {
    /// Goes on with the line behind a command, or to the next line.
    fn go_on(&mut self) {
        if let Some((operator, rest)) = self.pending.take() {
            self.runs = operator.goes_on(self.result.is_ok());
            self.rest = Some(rest);
        }
    }

    /// Passes over the command that begins at `rest`.
    fn skip(&mut self, rest: usize) {
        let mut given = Words::of(self.line.get(rest..).unwrap_or_default());
        self.pending = given.tail(&self.line);
    }

    /// Reads the command that begins at `rest` into `words`, expanded; when that fails, the words until then.
    fn expand(&mut self, rest: usize, words: &mut Vec<String>, settings: &Settings) -> Result<(), Failure> {
        let command = self.line.get(rest..).unwrap_or_default();
        let mut given = Words::of(command);
        self.expands = command.as_bytes().contains(&b'$');
        let (mut count, mut room, mut expansions) = (0_usize, line::MAX_COMMAND, line::MAX_EXPANSIONS);
        let mut result = Ok(());
        while result.is_ok()
            && let Some(word) = given.next()
        {
            if count == words.len() {
                words.push(self.spare.pop().unwrap_or_default());
            }
            let Some(text) = words.get_mut(count) else {
                break;
            };
            text.clear();
            text.push_str(word);
            if self.expands {
                result = line::expand_in_place(text, &mut expansions, &mut |name| settings.text(name));
            }
            match room.checked_sub(text.len()) {
                Some(left) => room = left,
                None => {
                    let reason = format!("expands to more than {} bytes", line::MAX_COMMAND);
                    result = result.and(Err(Failure::new(Errno::BOUND, reason)));
                }
            }
            count = count.saturating_add(usize::from(result.is_ok()));
        }
        while words.len() > count {
            self.spare.extend(words.pop());
        }
        self.pending = given.tail(&self.line);
        result
    }

    /// Remembers the command that has run.
    fn keep(&mut self, words: Vec<String>) {
        // A short line without settings cannot take much.
        if self.line.len() <= MAX_SHOWN && !self.expands {
            self.words = words;
            return;
        }
        let room: usize = words.iter().chain(&self.spare).map(String::capacity).sum();
        self.words = if room > MAX_KEPT {
            self.spare = Vec::new();
            Vec::from([shown(&words)])
        } else {
            words
        };
    }
}

/// The failure with the place where it happened in front.
fn at_line(frame: &Frame, failure: Failure) -> Failure {
    let place = match &frame.source {
        Source::Script(_, _, url) => format!("{url} line {}: ", frame.number),
        Source::Person(_) => String::new(),
    };
    let shown = shown(&frame.words);
    let gap = if shown.is_empty() { "" } else { ": " };
    Failure {
        reason: format!("{place}{shown}{gap}{}", failure.reason).into(),
        ..failure
    }
}

/// A command as an error repeats it.
fn shown(words: &[String]) -> String {
    let line = words.join(" ");
    if line.chars().nth(MAX_SHOWN).is_none() {
        return line;
    }
    line.chars().take(MAX_SHOWN).chain(['…']).collect()
}
