//! Options of commands, by iPXE's rules: they come first, `--name value` or `--name=value`, letters may be joined.
//!
//! A value must not begin with `-` unless it is joined to its option; `--` ends the options; there are no abbreviations.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::errno::{Errno, Failure};
use super::value::integer;
use crate::patience;
use smoltcp::time::Duration;

/// An option: its long name, its letter, and whether it takes a value.
pub(super) type Spec = (&'static str, char, bool);

/// Any number of arguments.
pub(super) const MANY: usize = usize::MAX;

/// A command's options and arguments.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    given: Vec<(char, Option<&'a str>)>,
    /// What follows the options.
    pub(super) rest: &'a [String],
}

impl<'a> Arguments<'a> {
    /// Reads `words`, of which the first is the command's name.
    pub(super) fn parse(
        words: &'a [String],
        specs: &[Spec],
        count: RangeInclusive<usize>,
    ) -> Result<Self, Failure> {
        let mut given = Vec::new();
        let mut rest = words.get(1..).unwrap_or_default();
        while let Some((word, after)) = rest.split_first() {
            let Some(option) = word.strip_prefix('-') else {
                break;
            };
            rest = after;
            if let Some(long) = option.strip_prefix('-') {
                if long.is_empty() {
                    break;
                }
                given.push(long_option(long, specs, &mut rest)?);
            } else {
                short_options(option, specs, &mut rest, &mut given)?;
            }
        }
        if given.iter().any(|(letter, _)| *letter == 'h') {
            return Err(Failure::new(Errno::HELP, usage(words, specs)));
        }
        if !count.contains(&rest.len()) {
            let (least, most) = count.into_inner();
            let wants = match most {
                MANY => format!("at least {least}"),
                _ if least == most => format!("{least}"),
                _ => format!("{least} to {most}"),
            };
            return Err(Failure::new(
                Errno::ARGUMENTS,
                format!("takes {wants} arguments, got {}", rest.len()),
            ));
        }
        Ok(Self { given, rest })
    }

    /// Whether the option was given.
    pub(super) fn has(&self, letter: char) -> bool {
        self.given.iter().any(|(given, _)| *given == letter)
    }

    /// The value of the option; the last when it was given more than once.
    pub(super) fn value(&self, letter: char) -> Option<&'a str> {
        let mut given = self.given.iter().rev();
        given.find(|(given, _)| *given == letter)?.1
    }

    /// The value of the option as a number.
    pub(super) fn number(&self, letter: char) -> Result<Option<u32>, Failure> {
        self.value(letter).map(number).transpose()
    }

    /// The value of the option as milliseconds; zero is none, and what is longer than a script may run alone is that.
    pub(super) fn timeout(&self, letter: char) -> Result<Option<Duration>, Failure> {
        let millis = self.number(letter)?.filter(|millis| *millis > 0);
        Ok(millis.map(|millis| Duration::from_millis(millis.into()).min(patience::SCRIPT_ALONE)))
    }

    /// The argument at `index`; empty when there is none.
    pub(super) fn get(&self, index: usize) -> &'a str {
        self.rest.get(index).map_or("", String::as_str)
    }

    /// The arguments from `index` on, with blanks between them.
    pub(super) fn text(&self, index: usize) -> String {
        self.rest.get(index..).unwrap_or_default().join(" ")
    }
}

/// All of `text` as a number.
pub(super) fn number(text: &str) -> Result<u32, Failure> {
    integer(text).ok_or_else(|| Failure::new(Errno::NUMBER, format!("\"{text}\" is not a number")))
}

/// Takes an option's value from the word behind it.
fn take<'a>(rest: &mut &'a [String], option: &str) -> Result<&'a str, Failure> {
    match rest.split_first() {
        Some((value, after)) if !value.starts_with('-') => {
            *rest = after;
            Ok(value)
        }
        _ => Err(Failure::new(
            Errno::OPTION_ARGUMENT,
            format!("option \"{option}\" needs a value"),
        )),
    }
}

fn long_option<'a>(
    option: &'a str,
    specs: &[Spec],
    rest: &mut &'a [String],
) -> Result<(char, Option<&'a str>), Failure> {
    let (name, joined) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    let spec = specs.iter().find(|(long, ..)| *long == name);
    match (spec, joined) {
        (Some((_, letter, false)), None) => Ok((*letter, None)),
        (Some((.., false)), Some(_)) => Err(Failure::new(
            Errno::OPTION_ARGUMENT,
            format!("option \"{name}\" takes no value"),
        )),
        (Some((_, letter, true)), Some(value)) => Ok((*letter, Some(value))),
        (Some((_, letter, true)), None) => Ok((*letter, Some(take(rest, name)?))),
        (None, _) if name == "help" => Ok(('h', None)),
        (None, _) => Err(Failure::new(
            Errno::OPTION,
            format!("has no option \"--{option}\""),
        )),
    }
}

fn short_options<'a>(
    letters: &'a str,
    specs: &[Spec],
    rest: &mut &'a [String],
    given: &mut Vec<(char, Option<&'a str>)>,
) -> Result<(), Failure> {
    let mut letters = letters.chars();
    // A lone dash is an option without a letter.
    let mut next = Some(letters.next().unwrap_or('\0'));
    while let Some(letter) = next {
        let spec = specs.iter().find(|(_, short, _)| *short == letter);
        given.push(match spec {
            Some((.., false)) => (letter, None),
            Some((name, _, true)) => {
                let joined = letters.as_str();
                letters = "".chars();
                let value = if joined.is_empty() {
                    take(rest, name)?
                } else {
                    joined
                };
                (letter, Some(value))
            }
            None if letter == 'h' => ('h', None),
            None => {
                let shown = if letter == '\0' {
                    String::new()
                } else {
                    letter.into()
                };
                return Err(Failure::new(Errno::OPTION, format!("has no option \"-{shown}\"")));
            }
        });
        next = letters.next();
    }
    Ok(())
}

fn usage(words: &[String], specs: &[Spec]) -> String {
    let mut text = format!("usage: {}", words.first().map_or("", String::as_str));
    for (long, short, value) in specs {
        let value = if *value { " <value>" } else { "" };
        text.push_str(&format!(" [-{short}|--{long}{value}]"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: [Spec; 3] = [
        ("name", 'n', true),
        ("quiet", 'q', false),
        ("autofree", 'a', false),
    ];

    fn parse(line: &str, check: impl Fn(Result<Arguments<'_>, Failure>)) {
        let words: Vec<String> = line.split(' ').map(Into::into).collect();
        check(Arguments::parse(&words, &SPECS, 0..=2));
    }

    #[test]
    fn options_come_first_long_short_or_joined() {
        for line in [
            "x --name a -q b",
            "x --name=a --quiet b",
            "x -na -q b",
            "x -qna b",
            "x -q -n a -- b",
        ] {
            parse(line, |arguments| {
                let arguments = arguments.unwrap();
                assert_eq!(arguments.value('n'), Some("a"), "{line}");
                assert!(arguments.has('q') && !arguments.has('a'), "{line}");
                assert_eq!(arguments.rest, ["b"], "{line}");
            });
        }
        parse("x b -q", |arguments| {
            assert_eq!(arguments.unwrap().rest, ["b", "-q"])
        });
        parse("x -- -q", |arguments| assert_eq!(arguments.unwrap().rest, ["-q"]));
        parse("x --name=-1", |arguments| {
            assert_eq!(arguments.unwrap().value('n'), Some("-1"));
        });
        parse("x -n a -n b", |arguments| {
            assert_eq!(arguments.unwrap().value('n'), Some("b"));
        });
    }

    #[test]
    fn what_is_wrong_with_them_has_its_number() {
        for (line, errno) in [
            ("x --nam a", Errno::OPTION),
            ("x --namea", Errno::OPTION),
            ("x -z", Errno::OPTION),
            ("x -", Errno::OPTION),
            ("x --name", Errno::OPTION_ARGUMENT),
            ("x --name -q", Errno::OPTION_ARGUMENT),
            ("x -n -q", Errno::OPTION_ARGUMENT),
            ("x --quiet=1", Errno::OPTION_ARGUMENT),
            ("x a b c", Errno::ARGUMENTS),
            ("x --help", Errno::HELP),
            ("x -h", Errno::HELP),
        ] {
            parse(line, |arguments| {
                assert_eq!(arguments.unwrap_err().errno, errno, "{line}");
            });
        }
    }
}
