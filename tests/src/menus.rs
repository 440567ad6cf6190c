//! Menus to decide on: those of `tests/menus/decisions.txt`, and generated ones, each from a seed, with what authors write and
//! with what they write by mistake.

use crate::random::Random;
use crate::syslinux::Files;

/// The menu itself, among the files.
pub const MENU: &str = "menu";

/// Files that a menu may include, show or lead to.
const OTHERS: [&str; 3] = ["one.cfg", "two.cfg", "three.cfg"];

/// So long a comment takes all that Syslinux reads as one line.
const LONG: usize = 4094;

/// Names of labels; few, so that some are used twice, and some only referred to.
const NAMES: [&str; 10] = ["a", "a", "b", "b", "c", "c", "A", "linux", "b c", "rescue "];

/// A menu that a person wrote, and what Syslinux does with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The title.
    pub title: String,
    /// The decision, as [`crate::syslinux::Decision`] is printed.
    pub boots: String,
    /// The menu, as [`MENU`], and its other files.
    pub files: Files,
}

/// All of `tests/menus/decisions.txt`.
pub fn written() -> Vec<Written> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/menus/decisions.txt");
    let text = std::fs::read_to_string(path).expect("the file is part of the checkout");
    let (_, menus) = text.split_once("\n== ").expect("a first menu");
    menus.split("\n== ").map(one_written).collect()
}

fn one_written(text: &str) -> Written {
    let (title, text) = text.split_once('\n').expect("a title's line");
    let (boots, text) = text.split_once('\n').expect("a decision's line");
    let boots = boots.strip_prefix("=> ").expect("a decision");
    let mut files = Files::new();
    let mut name = MENU;
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("-- ") {
            Some(other) => name = other.trim_end(),
            None => files.entry(name.into()).or_default().push_str(line),
        }
    }
    Written {
        title: title.into(),
        boots: boots.into(),
        files,
    }
}

/// The menu that `seed` names, with the files that belong to it.
pub fn menu(seed: u64) -> Files {
    let mut writer = Writer {
        random: Random::new(seed),
        text: String::new(),
        kernels: 0,
        open: 0,
    };
    let ui = writer.head();
    let mut files = Files::new();
    writer.body(2, &OTHERS);
    files.insert(MENU.into(), writer.take());
    for name in OTHERS {
        if writer.random.chance(0.7) {
            if writer.random.chance(0.3) {
                writer.clock(ui);
            }
            writer.uneven();
            writer.body(0, &[]);
            writer.uneven();
            files.insert(name.into(), writer.take());
        }
    }
    files
}

struct Writer {
    random: Random,
    text: String,
    kernels: usize,
    open: usize,
}

impl Writer {
    /// The file, now and then with a byte order mark before it.
    fn take(&mut self) -> String {
        self.open = 0;
        let text = std::mem::take(&mut self.text);
        let mark = if self.random.chance(0.01) { "\u{feff}" } else { "" };
        format!("{mark}{text}")
    }

    /// Now and then the beginning or the end of a submenu without the other.
    fn uneven(&mut self) {
        match self.random.below(30) {
            0 => self.line("MENU END", ""),
            1 => self.line("MENU BEGIN", "inner"),
            _ => {}
        }
    }

    fn one<'w>(&mut self, of: &[&'w str]) -> &'w str {
        of[self.random.below(of.len())]
    }

    /// A line, now and then in other case or with odd blanks, or with its end as Windows has it.
    fn line(&mut self, keyword: &str, value: &str) {
        let keyword = match self.random.below(8) {
            0 => keyword.to_lowercase(),
            1 => {
                let (first, rest) = keyword.split_at(1);
                format!("{first}{}", rest.to_lowercase())
            }
            _ => keyword.to_owned(),
        };
        let mut indent = self.one(&["", "", "  ", "\t", "    "]);
        let mut gap = self.one(&[" ", " ", " ", "\t", "   "]);
        let mut end = self.one(&["\n", "\n", "\n", "\n", "\n", "\r\n"]);
        // What a web page or an editor has left.
        match self.random.below(700) {
            0 => indent = self.one(&["\x0c", "\x01", "\u{a0}"]),
            1 => gap = self.one(&["\x0b", "\x7f", "\u{a0}", " \u{3000}"]),
            2 => end = self.one(&[" \n", "\x0b\n", "\u{a0}\n", "\u{3000}\r\n"]),
            3 if self.random.chance(0.3) => {
                self.text.push('#');
                self.text.push_str(&"-".repeat(LONG));
            }
            _ => {}
        }
        self.text.push_str(indent);
        self.text.push_str(&keyword);
        if !value.is_empty() {
            self.text.push_str(gap);
            self.text.push_str(value);
        }
        self.text.push_str(end);
    }

    /// A name of a label, of a file, or of nothing that exists.
    fn target(&mut self) -> String {
        let name = self.one(&NAMES);
        match self.random.below(12) {
            0 => "nowhere".into(),
            1 => format!("{name} more"),
            _ => name.into(),
        }
    }

    fn clock(&mut self, ui: bool) {
        if self.random.chance(0.75) {
            let time = self.one(&["25", "25", "30", "35", "0", "-10", "x", "25 tenths"]);
            self.line("TIMEOUT", time);
        }
        if self.random.chance(0.12) {
            let time = self.one(&["30", "40", "0"]);
            self.line("TOTALTIMEOUT", time);
        }
        if self.random.chance(0.2) {
            let target = self.target();
            self.line("ONTIMEOUT", &target);
        }
        if self.random.chance(0.15) {
            let target = self.target();
            let keyword = self.one(&["ONERROR", "MENU ONERROR"]);
            self.line(keyword, &target);
        }
        if self.random.chance(if ui { 0.5 } else { 0.8 }) {
            let target = self.target();
            self.line("DEFAULT", &target);
        }
    }

    /// Writes who reads the menu, and its clock; returns whether a module shows it.
    fn head(&mut self) -> bool {
        let module = self.one(&[
            "menu.c32",
            "vesamenu.c32",
            "menu.c32",
            "menu.c32 one.cfg",
            "menu.c32 ~ two.cfg",
            "menu.c32",
            "vesamenu",
            "Menu.C32",
        ]);
        let module = module.to_owned();
        let (ui, by_default) = match self.random.below(10) {
            0..=3 => (true, false),
            4 | 5 => (true, true),
            _ => (false, false),
        };
        if ui && !by_default {
            self.line("UI", &module);
        }
        if self.random.chance(0.4) {
            let prompt = self.one(&["0", "1", "1", "yes"]);
            self.line("PROMPT", prompt);
        }
        if self.random.chance(0.06) {
            let number = self.one(&["1", "1", "0"]);
            self.line("NOESCAPE", number);
        }
        self.clock(ui);
        if by_default {
            self.line("DEFAULT", &module);
        }
        for (chance, keyword) in [
            (0.06, "MENU HIDDEN"),
            (0.03, "MENU SHIFTKEY"),
            (0.05, "MENU TITLE Boot me"),
        ] {
            if self.random.chance(chance) {
                self.line(keyword, "");
            }
        }
        if self.random.chance(0.1) {
            self.line("IMPLICIT", "0");
        }
        if self.random.chance(0.1) {
            self.line("APPEND", "quiet");
        }
        ui
    }

    fn comment(&mut self) {
        let text = self.one(&[
            "# a comment",
            "# one that goes on \\",
            "#\\",
            "; not a keyword \\",
            "say hello \\",
            "# LABEL b",
            "nonsense a b c",
            "",
        ]);
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn kernel(&mut self) {
        self.kernels += 1;
        let name = format!("k{}", self.kernels);
        match self.random.below(15) {
            14 => match self.random.below(3) {
                0 => self.line("KERNEL", "Menu.C32"),
                1 => self.line("KERNEL", "vesamenu"),
                _ => self.line("LINUX", &format!("{name}.c32")),
            },
            0 => self.line("KERNEL", &format!("{name}.c32")),
            1 => self.line("COM32", &name),
            2 => {
                let disk = self.one(&["0", "-1"]);
                self.line("LOCALBOOT", disk);
            }
            3 => {
                let keyword = self.one(&["BOOT", "PXE", "BSS", "KERNEL"]);
                self.line(keyword, &format!("{name}.0"));
            }
            4 => {}
            5 => self.line("KERNEL", &format!("{name} with=arguments")),
            6..=9 => self.line("KERNEL", &name),
            _ => self.line("LINUX", &name),
        }
    }

    fn label(&mut self) {
        let name = self.one(&NAMES);
        self.line("LABEL", name);
        if self.random.chance(0.1) {
            self.comment();
        }
        let at = self.random.below(3);
        for place in 0..3 {
            if place == at {
                self.kernel();
            }
            match self.random.below(26) {
                0 => self.line("MENU DEFAULT", ""),
                1 if self.random.chance(0.5) => self.line("MENU DEFAULT", ""),
                2 => self.line("MENU HIDE", ""),
                3 => self.line("MENU DISABLE", ""),
                4 => self.line("MENU PASSWD", "secret"),
                5 => self.line("MENU LABEL", "^Boot \\"),
                6 => self.line("APPEND", "console=ttyS0 quiet"),
                7 => {
                    let keyword = self.one(&["TEXT HELP", "TEXT HELP", "TEXT"]);
                    self.line(keyword, "");
                    self.line("MENU DEFAULT", "");
                    self.line("LABEL", "b");
                    self.line("ENDTEXT", "");
                }
                8 if self.random.chance(0.3) => self.kernel(),
                9 if self.random.chance(0.3) => self.line("MENU INDENT", "2"),
                10 if self.random.chance(0.4) => self.line("MENU QUIT", ""),
                11 if self.random.chance(0.4) => {
                    let tag = self.one(&["inner", "inner", ".top", ".hidden", "inner "]);
                    self.line("MENU GOTO", tag);
                }
                12 if self.random.chance(0.3) => {
                    let tag = self.one(&["", "inner", ".top", "nowhere"]);
                    self.line("MENU EXIT", tag);
                }
                _ => {}
            }
        }
    }

    /// Writes labels and the lines between them; at most `deep` submenus are open at a time.
    fn body(&mut self, deep: usize, others: &[&str]) {
        if self.random.chance(0.1) {
            self.comment();
        }
        let first = self.random.below(14);
        if first == 0 {
            self.line("MENU SEPARATOR", "");
        }
        for _ in 0..1 + self.random.below(4) {
            self.label();
            match self.random.below(24) {
                0 => self.line("MENU SEPARATOR", ""),
                1 => self.comment(),
                2 | 3 if self.open < deep => self.submenu(deep, others),
                4 if !others.is_empty() => {
                    let keyword = self.one(&["INCLUDE", "MENU INCLUDE"]);
                    let file = self.one(others);
                    let tag = self.one(&["", "", " more"]);
                    self.line(keyword, &format!("{file}{tag}"));
                }
                5 if !others.is_empty() && self.random.chance(0.7) => {
                    let file = self.one(others);
                    // No line of a web page's: another label's APPEND would be this one's.
                    self.text.push_str("LABEL more\n");
                    match self.random.below(3) {
                        0 => self.line("KERNEL", "menu.c32"),
                        1 => self.line("KERNEL", "vesamenu.c32"),
                        _ => self.line("COM32", "vesamenu"),
                    }
                    self.line("APPEND", file);
                }
                6 if !others.is_empty() && self.random.chance(0.5) => {
                    let file = self.one(others);
                    self.line("LABEL", "c");
                    self.line("CONFIG", file);
                }
                _ => {}
            }
        }
        if self.random.chance(0.1) {
            let target = self.target();
            self.line("DEFAULT", &target);
        }
    }

    fn submenu(&mut self, deep: usize, others: &[&str]) {
        self.open += 1;
        let tag = self.one(&["", "inner", "inner"]);
        self.line("MENU BEGIN", tag);
        match self.random.below(12) {
            4 => self.line("TIMEOUT", "0"),
            5 => {
                let target = self.target();
                self.line("ONTIMEOUT", &target);
            }
            6 => {
                let target = self.target();
                let keyword = self.one(&["ONERROR", "MENU ONERROR"]);
                self.line(keyword, &target);
            }
            7 => self.line("APPEND", "quiet"),
            0 => self.line("MENU DEFAULT", ""),
            1 => self.line("MENU START", ""),
            2 => self.line("TIMEOUT", "25"),
            3 => self.line("MENU TITLE", "Inner"),
            _ => {}
        }
        self.body(deep, others);
        if self.random.chance(0.95) {
            self.line("MENU END", "");
        }
        self.open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_one_menu_and_menus_differ() {
        assert_eq!(menu(1), menu(1));
        let texts: std::collections::BTreeSet<String> =
            (0..100).map(|seed| menu(seed)[MENU].clone()).collect();
        assert!(texts.len() > 95, "{}", texts.len());
        assert!(texts.iter().all(|text| text.to_uppercase().contains("LABEL")));
    }
}
