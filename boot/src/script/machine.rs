//! The machine: what a script is while it runs. A frame for each script inside another, and what all of them share.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};

use super::budget::Share;
use super::errno::{Errno, Failure, bounded};
use super::images::{Id, Images};
use super::line::{self, NoLine, Operator, Place, Text, Words};
use super::settings::Values;
use super::world::World;
use crate::fetch::Method;
use crate::hal::Board;
use crate::handoff::Handoff;
use crate::lease::Fixed;
use crate::menu::Entry;
use crate::observe::Event;
use crate::patience;
use crate::terminal::editor::History;
use crate::terminal::keys::Key;
use crate::terminal::{self, Size};
use crate::url::Url;
use crate::vlan::Tag;

/// Characters of a command that an error repeats.
pub(super) const MAX_SHOWN: usize = 120;

/// What takes no longer has not waited for anything.
const NO_TIME: Duration = Duration::from_millis(1);

/// Bytes of a command that has run that its script keeps, so that the next one need not allocate.
pub(super) const MAX_KEPT: usize = 4096;

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

/// Where commands come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A script in memory, and the image that it is.
    Script(Rc<Text>, Id, Url),
    /// A person at the prompt of `shell`, since then.
    Person(Instant),
}

/// A script that runs.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) source: Source,
    /// The line that comes next.
    pub(super) next: Place,
    /// The number of the current line, from 1.
    pub(super) number: usize,
    /// The current line.
    pub(super) line: String,
    /// What that takes.
    pub(super) share: Share,
    /// Where what is left of it begins; none when it is done.
    pub(super) rest: Option<usize>,
    /// What follows the command that runs, and where.
    pub(super) pending: Option<(Operator, usize)>,
    /// Whether the next command is run.
    pub(super) runs: bool,
    /// How the last command ended.
    pub(super) result: Result<(), Failure>,
    /// The last command, expanded: for an error, and for the next one to take its room.
    pub(super) words: Vec<String>,
    /// Whether that one named settings.
    pub(super) expands: bool,
    /// Room for words of commands that have more of them.
    pub(super) spare: Vec<String>,
    /// What relative URIs were relative to before.
    pub(super) cwuri: Option<Url>,
    /// The image that takes this script's place when it ends.
    pub(super) replacement: Option<Id>,
    /// When a command's time is to be told: the command and its start.
    pub(super) timed: Option<Instant>,
}

/// What a command leads to, other than failure.
pub(super) enum Step {
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
pub(super) struct Interpreter<'r, 'm> {
    pub(super) world: &'r mut dyn World,
    pub(super) board: &'r Board<'r>,
    pub(super) settings: Values,
    pub(super) images: Images<'m>,
    pub(super) frames: Vec<Frame>,
    pub(super) menus: Vec<Form>,
    pub(super) person: Person,
    pub(super) parameters: Vec<Parameters>,
    /// Whether a command failed otherwise than by an answer that was provided for: a file that is absent is one.
    pub(super) trouble: bool,
    /// Whether images must be trusted, and whether that is for ever.
    pub(super) trust: (bool, bool),
    /// When the script has run for long enough without anybody.
    pub(super) until: Instant,
    /// Scripts executed, files downloaded and hosts asked, in a row without a pause or a key.
    pub(super) errands: u32,
    /// Whether a script may switch the board off.
    pub(super) may_power_off: bool,
    /// Commands since something last took time.
    pub(super) idle: u32,
    /// Commands, and long lines' worth of them, since the network and the watchdog were looked after between them.
    pub(super) breath: usize,
    /// Downloads in a row that failed.
    pub(super) misses: u32,
    /// What may be kept.
    pub(super) budget: Share,
    /// What was last set of the interface's configuration.
    pub(super) fixed: Fixed,
    /// VLANs that were made.
    pub(super) vlans: Vec<Tag>,
    /// Seconds from 1970 to the reset of the board; 0 when nobody has told the time.
    pub(super) epoch: u64,
}

impl Interpreter<'_, '_> {
    /// Writes to the terminal.
    pub(super) fn print(&mut self, text: &str) {
        self.world.event(&Event::Print(text));
        self.world.print(text);
        self.person.column = terminal::column_after(self.person.column, text);
    }

    /// Something took time: whatever loops here is not only burning it.
    pub(super) fn progress(&mut self) {
        self.idle = 0;
        self.tell_time();
    }

    /// The same, if it did since `start`: an address is known, and a lease fresh, in no time.
    pub(super) fn waited(&mut self, start: Instant) {
        if self.world.now() > start + NO_TIME {
            self.progress();
        }
    }

    /// Somebody is there.
    pub(super) fn attended(&mut self) {
        self.until = self.world.now() + patience::SCRIPT_ALONE;
        self.errands = 0;
    }

    /// Looks at the clock for `${unixtime}`.
    pub(super) fn tell_time(&mut self) {
        let since_reset = self.world.now().secs().cast_unsigned();
        self.settings.facts.unixtime = self.epoch.saturating_add(since_reset) as u32;
    }
}

/// A script that was downloaded.
#[derive(Debug, Clone)]
pub struct Script {
    /// Where it came from, after redirects.
    pub url: Url,
    /// Its text.
    pub text: Vec<u8>,
}

/// The failure with the place where it happened in front.
pub(super) fn at_line(settings: &Values, frame: &Frame, failure: Failure) -> Failure {
    let place = match &frame.source {
        Source::Script(_, _, url) => format!("{url} line {}: ", frame.number),
        Source::Person(_) => String::new(),
    };
    let shown = shown(settings, &frame.words);
    let gap = if shown.is_empty() { "" } else { ": " };
    let reason = settings.without_secrets(&failure.reason);
    Failure {
        reason: bounded(format!("{place}{shown}{gap}{reason}").into()),
        ..failure
    }
}

/// A command as an error repeats it.
pub(super) fn shown(settings: &Values, words: &[String]) -> String {
    let line = settings.without_secrets(&words.join(" "));
    if line.chars().nth(MAX_SHOWN).is_none() {
        return line;
    }
    line.chars().take(MAX_SHOWN).chain(['.'; 3]).collect()
}

/// Takes in a line: in the room of the last one, or in one that is just as long.
pub(super) fn read(line: &str, into: &mut String, share: &mut Share) -> Result<(), Failure> {
    if line.len() > into.capacity() {
        share.resize(line.len())?;
        *into = line.into();
    } else {
        into.clear();
        into.push_str(line);
    }
    Ok(())
}

impl Frame {
    pub(super) fn new(source: Source, cwuri: Option<Url>, share: Share) -> Self {
        Self {
            source,
            next: Place::default(),
            number: 0,
            line: String::new(),
            share,
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
    pub(super) fn is_over(&self) -> bool {
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

impl Frame {
    /// Goes on with the line behind a command, or to the next line.
    pub(super) fn go_on(&mut self) {
        if let Some((operator, rest)) = self.pending.take() {
            self.runs = operator.goes_on(self.result.is_ok());
            self.rest = Some(rest);
        }
    }

    /// Passes over the command that begins at `rest`.
    pub(super) fn skip(&mut self, rest: usize) {
        let mut given = Words::of(self.line.get(rest..).unwrap_or_default());
        self.pending = given.tail(&self.line);
    }

    /// Reads the command that begins at `rest` into `words`, expanded; when that fails, the words until then.
    pub(super) fn expand(
        &mut self,
        rest: usize,
        words: &mut Vec<String>,
        settings: &Values,
    ) -> Result<(), Failure> {
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
    pub(super) fn keep(&mut self, words: Vec<String>, settings: &Values) {
        // A short line without settings cannot take much.
        if self.line.len() <= MAX_SHOWN && !self.expands {
            self.words = words;
            return;
        }
        let room: usize = words.iter().chain(&self.spare).map(String::capacity).sum();
        self.words = if room > MAX_KEPT {
            self.spare = Vec::new();
            Vec::from([shown(settings, &words)])
        } else {
            words
        };
    }
}

/// A menu or a form: `choose` or `present` decides which.
#[derive(Debug)]
pub(super) struct Form {
    /// What all of it takes.
    pub(super) share: Share,
    pub(super) name: Option<String>,
    pub(super) title: String,
    /// As a menu has them, so that nothing is copied to show it: an answer's or a field's name, or gaps.
    pub(super) entries: Vec<Entry>,
    /// The last entry that wanted to be the default.
    pub(super) default: Option<usize>,
    /// The fields that are typed in secret, in order.
    pub(super) secrets: Vec<usize>,
}

/// What is sent with a request whose URI ends in `##params`.
#[derive(Debug)]
pub(super) struct Parameters {
    /// What all of it takes.
    pub(super) share: Share,
    /// Bytes of the entries' names and values.
    pub(super) bytes: usize,
    pub(super) name: Option<String>,
    /// None: POST when there is a form, else GET.
    pub(super) method: Option<Method>,
    pub(super) entries: Vec<Parameter>,
}

/// A field of a form, or of the request's head.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) header: bool,
}

/// What is known of the person at the terminal, and of the terminal.
#[derive(Debug)]
pub(super) struct Person {
    /// What was typed ahead, for the next line.
    pub(super) ahead: VecDeque<Key>,
    /// The lines typed at the prompt.
    pub(super) history: History,
    pub(super) size: Size,
    /// The column of the cursor, as far as what the script printed tells.
    pub(super) column: usize,
}

impl Default for Person {
    fn default() -> Self {
        Self {
            ahead: VecDeque::new(),
            history: History::default(),
            size: Size::DEFAULT,
            column: 0,
        }
    }
}

impl Person {
    /// How wide the terminal is, as far as it has said.
    pub(super) fn columns(&self) -> usize {
        self.size.columns
    }
}
