//! What U-Boot makes of a PXELINUX menu's lines (`boot/pxe_utils.c`), as far as it decides what boots without anybody.
//!
//! It reads the same text by rules of its own: a label ends at the first word that it does not know there, ONTIMEOUT is
//! another word for DEFAULT, MENU outside of labels asks, and a value that is missing fails the whole file (D-158).

use alloc::borrow::ToOwned;
use alloc::string::String;

use super::names::{is_blank, is_command, leading, padded_word};

/// Words of a label that U-Boot knows and Syslinux does not: the text was written for U-Boot.
const OF_U_BOOT: [&str; 7] = [
    "fdt",
    "devicetree",
    "fdtdir",
    "devicetreedir",
    "fdtoverlays",
    "devicetree-overlay",
    "kaslrseed",
];

/// Why it boots nothing, or why nobody knows what.
const EMPTY: &str = "for U-Boot, a line without its value fails the menu";
const BLANKS: &str = "U-Boot takes the blanks behind a label's name for a part of it";
const ELSEWHERE: &str = "U-Boot takes a line behind MENU BEGIN, END or SEPARATOR for the label's before it";
const INCLUDED: &str = "U-Boot reads an INCLUDE otherwise here";
const ABSENT: &str = "for U-Boot, an INCLUDE that is not there fails the menu";

/// What the lines so far say to U-Boot.
#[derive(Debug, Default)]
pub(super) struct UBoot {
    /// Whether there was a word that only U-Boot knows.
    pub(super) is_meant: bool,
    /// Whether there was one that it does not know.
    pub(super) is_foreign: bool,
    pub(super) default: Option<String>,
    pub(super) asks: bool,
    /// Tenths of a second.
    pub(super) timeout: i64,
    /// Why it boots nothing at all.
    pub(super) fails: Option<&'static str>,
    in_label: bool,
}

/// What it knows of a label.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Label {
    has_kernel: bool,
    is_local: bool,
    /// Whether something says what it runs that U-Boot does not know, or not there.
    differs: bool,
    /// What it takes once; after a second one the label is over.
    taken: [bool; 4],
}

impl Label {
    pub(super) fn is_kernel(self) -> bool {
        self.has_kernel && !self.is_local && !self.differs
    }

    pub(super) fn is_local(self) -> bool {
        self.is_local && !self.differs
    }
}

impl UBoot {
    /// Takes a line without its end. `label` is the last label and, without blanks behind it, its name; `in_label` and `in_text`
    /// say where the line stands for Syslinux.
    pub(super) fn line(
        &mut self,
        line: &str,
        label: Option<(&mut Label, Option<&str>)>,
        in_label: bool,
        in_text: bool,
    ) {
        let (keyword, value) = padded_word(line);
        let keyword = keyword.to_ascii_lowercase();
        if line.trim_matches(is_blank).is_empty() || line.starts_with('#') {
            return;
        }
        self.is_meant |= match &*keyword {
            "fallback" => !in_text,
            keyword => in_label && OF_U_BOOT.contains(&keyword),
        };
        // A comment is no value.
        let is_empty = value.is_empty() || value.starts_with('#');
        let second = padded_word(value).0;
        let of_label = matches!(&*keyword, "kernel" | "linux" | "localboot")
            || keyword == "menu" && second.eq_ignore_ascii_case("default");
        if self.in_label && !in_label && of_label {
            self.fail(ELSEWHERE);
        }
        if let Some((label, name)) = label {
            if self.in_label && self.in_a_label(&keyword, value, is_empty, label, name) {
                return;
            }
            // The label is over for U-Boot, not for Syslinux.
            label.differs |= in_label && is_command(&keyword);
        }
        self.in_label = keyword == "label";
        // The first of these lines is a label here, and text there.
        if in_text && (self.in_label || keyword == "include") {
            self.fail(INCLUDED);
        }
        let takes = ["timeout", "label", "default", "ontimeout", "fallback", "include"];
        if takes.contains(&&*keyword) && is_empty {
            self.fail(EMPTY);
        }
        match &*keyword {
            "menu" => {
                self.asks = true;
                let (keyword, value) = padded_word(value);
                match &*keyword.to_ascii_lowercase() {
                    "title" | "background" | "include" if !value.is_empty() && !value.starts_with('#') => {}
                    "title" | "background" | "include" | "" => self.fail(EMPTY),
                    _ => self.is_foreign = true,
                }
            }
            "timeout" => self.timeout = leading(value),
            "default" | "ontimeout" => self.names(value),
            "prompt" if !is_empty => self.asks = leading(value) != 0,
            "label" | "fallback" | "include" | "prompt" => {}
            _ => self.is_foreign = true,
        }
    }

    /// Takes a line in a label; `false` when it ends that.
    fn in_a_label(
        &mut self,
        keyword: &str,
        value: &str,
        is_empty: bool,
        label: &mut Label,
        name: Option<&str>,
    ) -> bool {
        let once = match keyword {
            "initrd" => Some(0),
            "fdt" | "devicetree" => Some(1),
            "fdtdir" | "devicetreedir" => Some(2),
            "fdtoverlays" | "devicetree-overlay" => Some(3),
            _ => None,
        };
        if let Some(taken) = once.and_then(|once| label.taken.get_mut(once))
            && core::mem::replace(taken, true)
        {
            // Its value is the next line then, and no word that ends nothing.
            self.is_foreign = true;
            self.in_label = false;
            return true;
        }
        let takes = ["kernel", "linux", "append", "localboot", "ipappend"];
        if is_empty && (once.is_some() || takes.contains(&keyword)) {
            self.fail(EMPTY);
        }
        match keyword {
            "menu" => match &*padded_word(value).0.to_ascii_lowercase() {
                "default" if self.default.is_none() => match name {
                    Some(name) => self.default = Some(name.to_owned()),
                    None => self.fail(BLANKS),
                },
                "default" | "label" => {}
                "include" => self.fail(INCLUDED),
                "" => self.fail(EMPTY),
                _ => self.is_foreign = true,
            },
            "kernel" | "linux" => label.has_kernel = true,
            "localboot" => label.is_local = true,
            "append" => {
                let [initrd, ..] = &mut label.taken;
                *initrd |= value.contains("initrd=");
            }
            "ipappend" => {}
            "kaslrseed" if value.is_empty() => {}
            _ => return once.is_some(),
        }
        true
    }

    fn names(&mut self, default: &str) {
        if default.ends_with(is_blank) {
            self.fail(BLANKS);
        }
        self.default = Some(default.to_owned());
    }

    /// A file that is included begins or ends, and a label with it.
    pub(super) fn include(&mut self, tag: Option<&str>) {
        self.in_label = false;
        if tag.is_some() {
            self.fail(INCLUDED);
        }
    }

    /// A file to include is not there.
    pub(super) fn absent(&mut self) {
        self.fail(ABSENT);
    }

    /// A line is several for Syslinux, not for U-Boot.
    pub(super) fn cut(&mut self) {
        self.fail("a line of more than 4095 bytes is one for U-Boot, several for Syslinux");
    }

    fn fail(&mut self, why: &'static str) {
        self.fails.get_or_insert(why);
    }
}
