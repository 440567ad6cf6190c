//! Every error that a board can print has a row in the user's guide: what `Display` writes is looked up in `docs/src/errors.md`.

use std::fs;

use tests::checkout::{root, sources};

/// What is printed as a part of an error; other types with a `Display` (a URL, a lease) are facts.
const KINDS: [&str; 9] = [
    "Error",
    "ConnectError",
    "Reason",
    "Refusal",
    "Fault",
    "Content",
    "Bound",
    "Unsupported",
    "Line",
];
/// Words shorter than this say nothing alone.
const SHORTEST: usize = 8;

/// The string literals of a piece of Rust that has no raw ones and no comments with quotes, as they are printed.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = source.chars();
    while chars.by_ref().any(|c| c == '"') {
        let mut literal = String::new();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => match chars.next() {
                    // A line that goes on.
                    Some('\n') => {
                        while chars.as_str().starts_with(' ') {
                            chars.next();
                        }
                    }
                    Some(c) => literal.push(c),
                    None => {}
                },
                c => literal.push(c),
            }
        }
        found.push(literal);
    }
    found
}

/// The longest words of a format string that are the same whatever is put into it.
fn fixed(literal: &str) -> &str {
    let parts = literal.split('{').flat_map(|part| {
        match part.split_once('}') {
            Some((_, after)) => after,
            None => part,
        }
        .split('"')
    });
    let parts = parts.map(|part| part.trim_matches([' ', ':', ';', ',', '(', ')', '{', '}']));
    parts.max_by_key(|part| part.len()).unwrap_or_default()
}

/// What the `Display` of errors in `source` can say.
fn said(source: &str) -> Vec<String> {
    let mut said = Vec::new();
    for block in source.split("\nimpl fmt::Display for ").skip(1) {
        let (name, body) = block.split_once(' ').unwrap_or_default();
        if KINDS.contains(&name.trim_end_matches("<'_>")) {
            said.extend(literals(body.split("\n}\n").next().unwrap_or_default()));
        }
    }
    said
}

/// What the lines of `source` that warn, or that end a boot, can say; its own tests say nothing to anybody.
fn warned(source: &str) -> Vec<String> {
    let shipped = source.split("mod tests {").next().unwrap_or_default();
    let calls = ["warn!(", "error!("].map(|call| shipped.split(call).skip(1));
    let first = |rest: &str| literals(rest).into_iter().next();
    calls.into_iter().flatten().filter_map(first).collect()
}

/// The files in `folder` whose texts no row of the guide has; at least `least` texts must be found there, else the form of the
/// sources has changed.
fn missing(folder: &str, texts: impl Fn(&str) -> Vec<String>, least: usize) -> Vec<String> {
    let guide = fs::read_to_string(root().join("docs/src/errors.md")).expect("the guide");
    let mut count = 0;
    let mut missing = Vec::new();
    for file in &sources(&root().join(folder)) {
        let source = fs::read_to_string(file).expect("a source file");
        for literal in texts(&source) {
            let words = fixed(&literal);
            count += 1;
            if words.len() >= SHORTEST && !guide.contains(words) {
                missing.push(format!("{}: {words}", file.display()));
            }
        }
    }
    assert!(
        count > least,
        "only {count} texts found: has the form of the sources changed?"
    );
    missing
}

#[test]
fn every_error_has_a_row_in_the_guide() {
    let mut all = missing("boot/src", said, 150);
    all.extend(missing("kernel/src", said, 20));
    assert!(
        all.is_empty(),
        "no row says what to do about:\n{}",
        all.join("\n")
    );
}

#[test]
fn every_warning_of_a_driver_has_a_row_in_the_guide() {
    let all = missing("kernel/src", warned, 15);
    assert!(
        all.is_empty(),
        "no row says what to do about:\n{}",
        all.join("\n")
    );
}

#[test]
fn texts_are_found_as_they_are_printed() {
    let source = "\nimpl fmt::Display for Error {\n  x => write!(f, \"a {b} is not the {c:#x} \\\n     of \\\"{d}\\\": why\"),\n}\n\
                  \nimpl fmt::Display for Fact {\n  \"never\"\n}\n";
    assert_eq!(said(source), ["a {b} is not the {c:#x} of \"{d}\": why"]);
    let source = "warn!(\n \"nic: {}\",\n e);\ninfo!(\"never\");\nmod tests {\n warn!(\"never\");\n";
    assert_eq!(warned(source), ["nic: {}"]);
    assert_eq!(fixed("a {b} is not the {c:#x} of \"{d}\": why"), "is not the");
    assert_eq!(fixed("whole"), "whole");
    assert_eq!(fixed(""), "");
}
