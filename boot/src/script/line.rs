//! A script's text: lines, continuations, labels, words, operators and `${…}` (<https://ipxe.org/scripting>).
//!
//! There is no quoting and no escaping. A line is cut into words first and each word expanded then, so a value with
//! blanks in it stays one argument.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::budget::{self, Share};
use super::errno::{Errno, Failure};
use super::value::is_space;
use crate::verify;

/// Bytes of a script.
pub const MAX_SCRIPT: usize = 1024 * 1024;
/// Bytes of a line, its continuations included.
pub const MAX_LINE: usize = 64 * 1024;
/// Bytes that a word may become.
pub const MAX_WORD: usize = 64 * 1024;
/// Bytes that all words of a command may become.
pub const MAX_COMMAND: usize = 256 * 1024;
/// Settings replaced in one command: a value that names itself would go on for ever.
pub const MAX_EXPANSIONS: usize = 1000;

/// A script and where its labels are.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    bytes: Vec<u8>,
    /// Name, and the place that it leads to.
    labels: Vec<(String, Place)>,
    /// Whether the last line has no end, because it ends in a backslash.
    unfinished: bool,
    /// What all of it takes.
    share: Share,
}

/// The start of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Bytes before it.
    pub offset: usize,
    /// Lines before it.
    pub line: usize,
}

/// A line, without its label and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'t> {
    /// What is to be run.
    pub command: Cow<'t, str>,
    /// The label in front of it.
    pub label: Option<Cow<'t, str>>,
    /// Where the next one begins.
    pub next: Place,
}

/// Why there is no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLine {
    /// The script is at its end.
    End,
    /// It ends inside a line.
    Unfinished,
    /// A line is longer than 64 KiB.
    TooLong,
}

impl Text {
    /// Copies a verified script from the start of `memory`, and reads where the labels are; both are part of the budget.
    pub fn new(verified: &verify::Text, memory: &[u8], share: Share) -> Result<Self, Failure> {
        Self::of(memory.get(..verified.len()).unwrap_or_default(), share)
    }

    /// The same of any bytes, for tests of the language.
    #[cfg(any(test, fuzzing))]
    #[doc(hidden)]
    pub fn unverified(bytes: &[u8], share: Share) -> Result<Self, Failure> {
        Self::of(bytes, share)
    }

    fn of(bytes: &[u8], mut share: Share) -> Result<Self, Failure> {
        if bytes.len() > MAX_SCRIPT {
            let reason = alloc::format!("a script of {} bytes: at most {MAX_SCRIPT}", bytes.len());
            return Err(Failure::new(Errno::NO_MEMORY, reason));
        }
        share.take(bytes.len())?;
        let mut text = Self {
            bytes: budget::copied(bytes)?,
            labels: Vec::new(),
            unfinished: false,
            share: share.other(),
        };
        let mut labels = Vec::new();
        let mut place = Place::default();
        text.unfinished = loop {
            match text.line(place) {
                Ok(line) => {
                    // Where nothing stands behind it, the label leads to the next line.
                    let leads_to = match line.command.trim_start_matches(is_space) {
                        "" => line.next,
                        _ => place,
                    };
                    let next = line.next;
                    if let Some(label) = line.label {
                        share.take(budget::texts(&[label.len()])?)?;
                        share.take(budget::element::<(String, Place)>())?;
                        labels.push((label.into_owned(), leads_to));
                    }
                    place = next;
                }
                Err(why) => break why == NoLine::Unfinished,
            }
        };
        (text.labels, text.share) = (labels, share);
        Ok(text)
    }

    /// The script as it arrived.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the first label of that name leads to.
    pub fn label(&self, name: &str) -> Result<Place, Failure> {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map(|(_, place)| *place).ok_or_else(|| {
            let errno = if self.unfinished {
                Errno::CONTINUATION
            } else {
                Errno::NO_LABEL
            };
            Failure::new(errno, alloc::format!("the script has no label :{name}"))
        })
    }

    /// The line that begins at `place`.
    pub fn line(&self, place: Place) -> Result<Line<'_>, NoLine> {
        let mut next = place;
        let mut whole: Cow<'_, [u8]> = Cow::Borrowed(&[]);
        loop {
            let rest = self.bytes.get(next.offset..).unwrap_or_default();
            if rest.is_empty() {
                return Err(if next == place {
                    NoLine::End
                } else {
                    NoLine::Unfinished
                });
            }
            let end = newline(rest);
            let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            next.offset = next.offset.saturating_add(part.len()).saturating_add(1);
            next.line = next.line.saturating_add(1);
            if whole.is_empty() {
                let bare = match part {
                    [bare @ .., b'\r'] => bare,
                    _ => part,
                };
                if !matches!(bare, [.., b'\\']) && part.len() <= MAX_LINE {
                    // As most lines are.
                    whole = Cow::Borrowed(bare);
                    break;
                }
                whole = Cow::Borrowed(part);
            } else {
                whole.to_mut().extend_from_slice(part);
            }
            if whole.len() > MAX_LINE {
                return Err(NoLine::TooLong);
            }
            // The carriage return goes first, as in iPXE.
            cut(&mut whole, b'\r');
            if !cut(&mut whole, b'\\') {
                break;
            }
        }
        let text = match whole {
            Cow::Borrowed(bytes) => match str::from_utf8(bytes) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => String::from_utf8_lossy(bytes),
            },
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        };
        Ok(match text {
            Cow::Borrowed(text) => {
                let (label, command) = labelled(text);
                Line {
                    command: Cow::Borrowed(command),
                    label: label.map(Cow::Borrowed),
                    next,
                }
            }
            Cow::Owned(text) => {
                let (label, command) = labelled(&text);
                Line {
                    command: Cow::Owned(command.into()),
                    label: label.map(|label| Cow::Owned(label.into())),
                    next,
                }
            }
        })
    }
}

/// Where the first line of `bytes` ends; eight bytes at a time.
fn newline(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (chunks, _) = bytes.as_chunks::<8>();
    let without = chunks.iter().take_while(|chunk| {
        let zero_at_newline = u64::from_ne_bytes(**chunk) ^ ONES.wrapping_mul(b'\n'.into());
        let borrowed = zero_at_newline.wrapping_sub(ONES) & !zero_at_newline;
        borrowed & ONES.wrapping_mul(0x80) == 0
    });
    let start = without.count().saturating_mul(8);
    let rest = bytes.get(start..)?;
    let at = rest.iter().position(|&byte| byte == b'\n')?;
    Some(start.saturating_add(at))
}

/// Takes `byte` off the end of `bytes`.
fn cut(bytes: &mut Cow<'_, [u8]>, byte: u8) -> bool {
    let Some((&last, rest)) = bytes.split_last() else {
        return false;
    };
    if last != byte {
        return false;
    }
    let len = rest.len();
    match bytes {
        Cow::Borrowed(bytes) => *bytes = bytes.get(..len).unwrap_or_default(),
        Cow::Owned(bytes) => bytes.truncate(len),
    }
    true
}

/// A line's label, and what is to be run.
fn labelled(line: &str) -> (Option<&str>, &str) {
    if line.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) {
        return (None, line);
    }
    match line.trim_start_matches(is_space).strip_prefix(':') {
        None => (None, line),
        Some(rest) => {
            let (label, command) = rest.split_once(is_space).unwrap_or((rest, ""));
            (Some(label), command)
        }
    }
}

/// What decides whether the next command of a line is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `&&`: after success.
    And,
    /// `||`: after failure.
    Or,
    /// `;`: always.
    Then,
}

impl Operator {
    /// Whether the next command is run.
    pub fn goes_on(self, succeeded: bool) -> bool {
        match self {
            Self::And => succeeded,
            Self::Or => !succeeded,
            Self::Then => true,
        }
    }
}

/// The words of the first command in `line`, and the operator behind it with the rest of the line.
pub fn command(line: &str) -> (Vec<&str>, Option<(Operator, &str)>) {
    let mut words = Words::of(line);
    let list = words.by_ref().collect();
    (list, words.tail)
}

/// The words of the first command in a line, one by one.
#[derive(Debug, Clone)]
pub struct Words<'l> {
    rest: &'l str,
    /// Once there are no more words: the operator behind them, and the rest of the line.
    pub tail: Option<(Operator, &'l str)>,
}

impl<'l> Words<'l> {
    /// Those of the first command in `line`.
    pub fn of(line: &'l str) -> Self {
        Self {
            rest: line,
            tail: None,
        }
    }

    /// Passes over the words that are left: the operator behind them, and where in `line`, whose end this one's is, what
    /// follows begins.
    pub(super) fn tail(&mut self, line: &str) -> Option<(Operator, usize)> {
        self.by_ref().for_each(drop);
        let (operator, tail) = self.tail?;
        Some((operator, line.len().saturating_sub(tail.len())))
    }
}

impl<'l> Iterator for Words<'l> {
    type Item = &'l str;

    fn next(&mut self) -> Option<&'l str> {
        // All white space is ASCII, so that bytes will do.
        let blank = |byte: &u8| *byte <= b' ' && is_space(char::from(*byte));
        let bytes = self.rest.as_bytes();
        let start = bytes.iter().position(|byte| !blank(byte))?;
        let word = self.rest.get(start..)?;
        let end = word.as_bytes().iter().position(blank).unwrap_or(word.len());
        let (word, after) = word.split_at_checked(end)?;
        let operator = match word.as_bytes() {
            b"||" => Operator::Or,
            b"&&" => Operator::And,
            b";" => Operator::Then,
            // A comment reaches to the end of the line.
            [b'#', ..] => {
                self.rest = "";
                return None;
            }
            _ => {
                self.rest = after;
                return Some(word);
            }
        };
        self.rest = "";
        self.tail = Some((operator, after));
        None
    }
}

/// `word` with every `${…}` replaced by what `value` says, the innermost and leftmost first, and what comes out looked
/// at again.
pub fn expand(word: &str, value: &mut dyn FnMut(&str) -> String) -> Result<String, Failure> {
    let mut text = String::from(word);
    expand_in_place(&mut text, &mut { MAX_EXPANSIONS }, value)?;
    Ok(text)
}

/// The same in place, with at most `left` settings replaced, which it counts down.
pub(super) fn expand_in_place(
    text: &mut String,
    left: &mut usize,
    value: &mut dyn FnMut(&str) -> String,
) -> Result<(), Failure> {
    let Some(first) = text.as_bytes().iter().position(|byte| *byte == b'$') else {
        return Ok(());
    };
    // The last `${` before `at` that has no `}` yet, and those before it.
    let mut last = None;
    let mut outer = Vec::new();
    let mut at = first;
    while let Some(&byte) = text.as_bytes().get(at) {
        let next = at.saturating_add(1);
        if byte == b'$' && text.as_bytes().get(next) == Some(&b'{') {
            outer.extend(last.replace(at));
        } else if byte == b'}'
            && let Some(start) = last
        {
            last = outer.pop();
            *left = left.checked_sub(1).ok_or_else(|| {
                let reason = alloc::format!(
                    "a command needs more than {MAX_EXPANSIONS} expansions: does a setting name itself?"
                );
                Failure::new(Errno::BOUND, reason)
            })?;
            let name = text.get(start.saturating_add(2)..at).unwrap_or_default();
            let value = value(name);
            if text.len().saturating_add(value.len()) > MAX_WORD {
                return Err(Failure::new(
                    Errno::BOUND,
                    alloc::format!("a word expands to more than {MAX_WORD} bytes"),
                ));
            }
            if start == 0 && next == text.len() {
                // Most words are one setting.
                text.clear();
                text.push_str(&value);
            } else {
                text.replace_range(start..=at, &value);
            }
            // A `$` in front of the value may have become the start of another.
            at = start.saturating_sub(1);
            continue;
        }
        at = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (Vec<(String, String)>, NoLine) {
        let text = Text::unverified(text.as_bytes(), Share::all()).unwrap();
        let (mut lines, mut place) = (Vec::new(), Place::default());
        loop {
            match text.line(place) {
                Ok(line) => {
                    lines.push((
                        line.label.unwrap_or_default().into_owned(),
                        line.command.into_owned(),
                    ));
                    place = line.next;
                }
                Err(why) => return (lines, why),
            }
        }
    }

    #[test]
    fn lines_are_joined_stripped_and_labelled() {
        let line = |label: &str, command: &str| (label.to_owned(), command.to_owned());
        assert_eq!(
            lines("echo a\r\nb\\\n  c \\\r\nd\n:x\n  :y echo  z\n::q\nlast"),
            (
                vec![
                    line("", "echo a"),
                    line("", "b  c d"),
                    line("x", ""),
                    line("y", "echo  z"),
                    line(":q", ""),
                    line("", "last")
                ],
                NoLine::End
            )
        );
        // A backslash followed by a blank joins nothing.
        assert_eq!(lines("a\\ \nb\n").0.len(), 2);
        assert_eq!(lines("a\\\n"), (vec![], NoLine::Unfinished));
        assert_eq!(lines("a\\"), (vec![], NoLine::Unfinished));
        assert_eq!(lines(""), (vec![], NoLine::End));
        assert_eq!(lines("\n\n").0.len(), 2);
    }

    #[test]
    fn a_lines_end_is_found_wherever_it_is() {
        for length in 0..40 {
            let mut bytes = vec![b'\x0b'; length];
            assert_eq!(newline(&bytes), None);
            for at in (0..length).rev() {
                bytes[at] = b'\n';
                assert_eq!(newline(&bytes), Some(at));
            }
        }
    }

    #[test]
    fn labels_are_part_of_what_scripts_keep() {
        let share = Share::all();
        let script = [b":\n".repeat(10_000), b"\n".repeat(MAX_SCRIPT - 20_000)].concat();
        let text = Text::unverified(&script, share.other()).unwrap();
        assert_eq!(text.labels.len(), 10_000);
        let many = b":\n".repeat(MAX_SCRIPT / 2);
        assert_eq!(
            Text::unverified(&many, Share::all()).unwrap_err().errno,
            Errno::NO_MEMORY
        );
        assert!(Text::unverified(&script, share.other()).is_err(), "two of them");
        drop(text);
        assert!(
            Text::unverified(&script, share.other()).is_ok(),
            "one after the other"
        );
        assert!(Text::unverified(&vec![b'x'; MAX_SCRIPT + 1], share.other()).is_err());
    }

    #[test]
    fn a_line_has_a_bound() {
        let long = "x".repeat(MAX_LINE);
        assert_eq!(lines(&long).0.len(), 1);
        assert_eq!(lines(&format!("{long}x")).1, NoLine::TooLong);
        assert_eq!(lines(&"x\\\n".repeat(MAX_LINE + 1)).1, NoLine::TooLong);
    }

    #[test]
    fn labels_are_found_by_their_first_place_and_line() {
        let text = Text::unverified(b"#!ipxe\n:a\n:b\\\nc echo\n:a\n", Share::all()).unwrap();
        assert_eq!(text.label("a"), Ok(Place { offset: 10, line: 2 }));
        assert_eq!(text.label("bc"), Ok(Place { offset: 10, line: 2 }));
        assert_eq!(text.label("b").unwrap_err().errno, Errno::NO_LABEL);
        assert_eq!(
            Text::unverified(b"x\\", Share::all())
                .unwrap()
                .label("b")
                .unwrap_err()
                .errno,
            Errno::CONTINUATION
        );
    }

    #[test]
    fn operators_are_whole_words_and_comments_begin_one() {
        for (line, words, operator) in [
            ("", vec![], None),
            ("  echo  a\tb ", vec!["echo", "a", "b"], None),
            ("a && b || c", vec!["a"], Some((Operator::And, " b || c"))),
            ("a ||", vec!["a"], Some((Operator::Or, ""))),
            ("a ; b", vec!["a"], Some((Operator::Then, " b"))),
            ("a;b c; d", vec!["a;b", "c;", "d"], None),
            ("a | b & c", vec!["a", "|", "b", "&", "c"], None),
            ("a #b && c", vec!["a"], None),
            ("a b#c", vec!["a", "b#c"], None),
            ("#!ipxe", vec![], None),
            ("|| a", vec![], Some((Operator::Or, " a"))),
            ("a \"b c\"", vec!["a", "\"b", "c\""], None),
        ] {
            assert_eq!(command(line), (words, operator), "{line}");
        }
    }

    #[test]
    fn expansion_is_innermost_first_and_looks_again() {
        let mut value = |name: &str| {
            String::from(match name {
                "i" => "0",
                "net0/mac" => "b8:27",
                "ref" => "i",
                "open" => "${",
                "" => "empty",
                _ => "",
            })
        };
        for (word, expanded) in [
            ("plain", "plain"),
            ("${i}", "0"),
            ("a${i}b${i}c", "a0b0c"),
            ("${net${i}/mac}", "b8:27"),
            ("${${ref}}", "0"),
            ("${unset}", ""),
            ("${}", "empty"),
            ("${i", "${i"),
            ("$i}", "$i}"),
            ("}${i}", "}0"),
            ("${open}i}", "0"),
            ("$${i}", "$0"),
            ("${a${b", "${a${b"),
        ] {
            assert_eq!(expand(word, &mut value).unwrap(), expanded, "{word}");
        }
    }

    /// The definition: the first `}` behind a `${`, and the last `${` before it, again and again.
    fn plainly(word: &str, value: &dyn Fn(&str) -> String) -> String {
        let mut text = word.to_owned();
        let complete = |text: &str| {
            let mut ends = text.match_indices('}');
            ends.find_map(|(end, _)| Some((text.get(..end)?.rfind("${")?, end)))
        };
        while let Some((start, end)) = complete(&text) {
            let value = value(text.get(start + 2..end).unwrap());
            text.replace_range(start..=end, &value);
        }
        text
    }

    #[test]
    fn expansion_is_as_defined_for_every_short_word() {
        let value = |name: &str| {
            String::from(match name {
                "a" => "{",
                "aa" => "$",
                "{" => "}a",
                _ => "",
            })
        };
        for length in 1..=9 {
            for number in 0..4_usize.pow(length) {
                let letter = |at: u32| ['$', '{', '}', 'a'][number / 4_usize.pow(at) % 4];
                let word: String = (0..length).map(letter).collect();
                let expanded = expand(&word, &mut |name| value(name));
                assert_eq!(expanded.unwrap(), plainly(&word, &value), "{word}");
            }
        }
    }

    #[test]
    fn expansion_has_bounds() {
        let failure = expand("${x}", &mut |_| "${x}".into()).unwrap_err();
        assert_eq!(failure.errno, Errno::BOUND);
        let failure = expand("${x}", &mut |_| "a${x}${x}".repeat(40)).unwrap_err();
        assert_eq!(failure.errno, Errno::BOUND);
    }
}
