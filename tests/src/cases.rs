//! iPXE scripts as cases, in `tests/scripts/`: data for the interpreter's traces and for the comparison with iPXE.
//!
//! A case is a title, a script, what it finds, and its trace:
//!
//! ```text
//! case a failing command ends the script
//! | echo one
//! | isset ${nothing}
//! | echo two
//! > print one
//! > failed line 3: isset : not set
//! ```
//!
//! `| ` begins a line of the script, behind a first line `#!ipxe` unless it has its own; `file /path` a file of the
//! server, lines `+ ` behind it; `status /path 503` an answer, `redirect /path url` another; `key 500 \x02` a byte typed
//! after so many milliseconds; `no lease`, `no link` and `commands` say what their names say. `%` at the end of a script's
//! or a trace's line stands for nothing, to keep a blank before it. Of the trace, `print` is a line on the terminal
//! (`print-` one without its end), `7x line` stands for seven, and in the end's reason `http://h/dir/` is left out.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use crate::payload;

/// The files of cases that both the interpreter's traces and the comparison with iPXE read.
pub const FILES: [&str; 7] = [
    "language",
    "expansion",
    "settings",
    "flow",
    "images",
    "menus",
    "network",
];

/// One script, its servers and its person, and its expected trace.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// The title, which is unique in its file.
    pub title: String,
    /// The lines of the script.
    pub script: Vec<String>,
    /// The server's files by path: their lines.
    pub files: BTreeMap<String, Vec<String>>,
    /// Paths with a status as their answer.
    pub status: BTreeMap<String, u16>,
    /// Paths with a redirect as their answer, and its target.
    pub redirects: BTreeMap<String, String>,
    /// The choice in each menu.
    pub choices: VecDeque<String>,
    /// The bytes that are typed, each with its time in milliseconds.
    pub keys: VecDeque<(i64, u8)>,
    /// Whether there is no DHCP server.
    pub no_lease: bool,
    /// Whether the cable is not plugged in.
    pub no_link: bool,
    /// Whether the trace has each command.
    pub commands: bool,
    /// The expected trace.
    pub trace: Vec<String>,
}

impl Case {
    /// The script's text.
    pub fn text(&self) -> String {
        let text = self.script.join("\n");
        if text.starts_with("#!") {
            return text;
        }
        format!("#!ipxe\n{text}\n")
    }

    /// What the server has at `path`, its query included; otherwise a status.
    pub fn answer(&self, path: &str) -> Result<Vec<u8>, u16> {
        if let Some(code) = self.status.get(path) {
            return Err(*code);
        }
        if let Some(lines) = self.files.get(path) {
            return Ok(lines
                .iter()
                .flat_map(|line| format!("{line}\n").into_bytes())
                .collect());
        }
        match path.split('?').next().unwrap().rsplit('/').next().unwrap() {
            "vmlinuz" => Ok(payload::image(10_000)),
            "vmlinuz.gz" => Ok(payload::gzip(&payload::image(20_000))),
            "initrd" => Ok(payload::body(5000, 1)),
            "initrd2" => Ok(payload::body(6000, 2)),
            "archive.gz" => Ok(payload::gzip(&payload::body(5000, 3))),
            "pi.dtb" => Ok(payload::device_tree()),
            "page" => Ok(b"<!DOCTYPE html><title>x</title>".to_vec()),
            "bzImage" => Ok([vec![0; 514], b"HdrS".to_vec(), vec![0; 2000]].concat()),
            "hello" => Ok(b"hello\n".to_vec()),
            _ => Err(404),
        }
    }
}

/// The cases of the file `name`, without its `.txt`, in `tests/scripts/`.
pub fn file(name: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scripts/{name}.txt"));
    let text = std::fs::read_to_string(&path).expect("the file of cases");
    cases(&text)
}

/// Reads a file of cases.
fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut file: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "case" {
            cases.push(Case {
                title: rest.into(),
                ..Case::default()
            });
            file = None;
            continue;
        }
        let case = cases.last_mut().expect("a file of cases begins with one");
        match word {
            "|" => {
                case.script.push(rest.strip_suffix('%').unwrap_or(rest).into());
            }
            "+" => {
                let file = file.as_ref().and_then(|path| case.files.get_mut(path));
                file.expect("a file before its lines")
                    .push(rest.replace("\\r", "\r"));
            }
            "file" => {
                case.files.insert(rest.into(), Vec::new());
                file = Some(rest.into());
            }
            "status" => {
                let (path, code) = rest.split_once(' ').unwrap();
                case.status.insert(path.into(), code.parse().unwrap());
            }
            "redirect" => {
                let (path, to) = rest.split_once(' ').unwrap();
                case.redirects.insert(path.into(), to.into());
            }
            "choose" => case.choices.push_back(rest.into()),
            "key" => {
                let (at, keys) = rest.split_once(' ').unwrap();
                let keys = keys.replace("\\r", "\r").replace("\\e", "\x1b");
                let keys = keys.replace("\\x02", "\x02").replace("\\x03", "\x03");
                let keys = keys.replace("\\b", "\x08").replace("\\x15", "\x15");
                let at = at.parse().unwrap();
                case.keys.extend(keys.bytes().map(|key| (at, key)));
            }
            "no" if rest == "link" => case.no_link = true,
            "no" => case.no_lease = true,
            "commands" => case.commands = true,
            ">" => {
                let rest = rest.strip_suffix('%').unwrap_or(rest);
                let repeated = rest
                    .split_once("x ")
                    .and_then(|(count, rest)| Some((count.parse().ok()?, rest.to_owned())));
                let (count, line) = repeated.unwrap_or((1, rest.to_owned()));
                case.trace.extend(std::iter::repeat_n(line, count));
            }
            other => panic!("line {}: what is {other}?", number + 1),
        }
    }
    cases
}
