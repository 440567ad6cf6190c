//! The text of iPXE scripts: lines, labels, words and operators, printed and read again.
#![no_main]

use std::borrow::Cow;
use std::collections::BTreeMap;

use boot::script::budget::Share;
use boot::script::line::{self, NoLine, Operator, Place, Text};
use fuzz::within;
use libfuzzer_sys::fuzz_target;

type Lines = Vec<(Option<String>, String)>;

fn lines(text: &Text) -> Lines {
    let (mut lines, mut place) = (Vec::new(), Place::default());
    loop {
        match text.line(place) {
            Ok(line) => {
                assert!(line.next.offset > place.offset && line.next.line > place.line);
                lines.push((line.label.map(Cow::into_owned), line.command.into_owned()));
                place = line.next;
            }
            Err(NoLine::End | NoLine::Unfinished | NoLine::TooLong) => return lines,
        }
    }
}

/// Where each label leads: to its first line, or behind it when nothing stands there.
fn labels(text: &Text) -> BTreeMap<String, Place> {
    let (mut labels, mut place) = (BTreeMap::new(), Place::default());
    while let Ok(line) = text.line(place) {
        if let Some(label) = line.label {
            let blank = line
                .command
                .bytes()
                .all(|byte| matches!(byte, b' ' | b'\t'..=b'\r'));
            let leads_to = if blank { line.next } else { place };
            labels.entry(label.into_owned()).or_insert(leads_to);
        }
        place = line.next;
    }
    labels
}

fn printed(lines: &Lines) -> String {
    let line = |(label, command): &(Option<String>, String)| match label {
        // One carriage return is part of the line's end, so that one before it stays.
        Some(label) => format!(":{label} {command}\r\n"),
        None => format!("{command}\r\n"),
    };
    lines.iter().map(line).collect()
}

fn commands(mut text: &str) {
    loop {
        let (words, operator) = line::command(text);
        let mut printed = words.join(" ");
        let rest = operator.map(|(operator, rest)| {
            let operator = match operator {
                Operator::And => "&&",
                Operator::Or => "||",
                Operator::Then => ";",
            };
            printed = format!("{printed} {operator}{rest}");
            rest
        });
        assert_eq!(line::command(&printed), (words, operator), "{text:?}");
        let Some(rest) = rest else { return };
        assert!(rest.len() < text.len());
        text = rest;
    }
}

fuzz_target!(|data: &[u8]| {
    boot::verify::is_script(data);
    // A byte that is not UTF-8 becomes three; an empty line costs a list two strings.
    let (text, lines) = within(4096 + 256 * data.len(), || {
        let text = Text::unverified(data, Share::all()).unwrap();
        let lines = lines(&text);
        (text, lines)
    });
    let again = Text::unverified(printed(&lines).as_bytes(), Share::all()).unwrap();
    assert_eq!(lines, self::lines(&again));
    for (_, command) in &lines {
        commands(command);
    }
    for (label, place) in labels(&text) {
        assert_eq!(text.label(&label), Ok(place));
    }
});
