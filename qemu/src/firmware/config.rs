//! config.txt: which lines count for a board, and what they set. Pure functions (DOC: config.txt pages).

use std::collections::BTreeMap;

/// How much of a line is read (DOC); the rest is ignored, and the stage says so.
const LINE: usize = 98;

/// How deep `include` goes here. What the firmware does with a file that includes itself is U.
const DEEPEST_INCLUDE: usize = 8;

/// The board and the reset, as filters ask for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// The names of the filters that match the board, `pi4` or `pi3`, `pi3+`.
    pub models: &'a [&'a str],
    /// The revision code, for `[board-type=0x…]`: its bits 4 to 11.
    pub revision: u32,
    /// The serial number; its low 32 bits count.
    pub serial: u64,
    /// Whether this boot is a tryboot.
    pub tryboot: bool,
    /// The partition that the reset asked for.
    pub partition: u8,
}

/// `initramfs FILE[,FILE…] WHERE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initramfs {
    /// The files, which are loaded one behind the other.
    pub files: Vec<String>,
    /// Where; nothing is `followkernel`, which Pi 4's firmware takes for "high, the tree below it" (E).
    pub address: Option<u64>,
}

/// An overlay, or with no name the base tree, and its parameters, `i2c_arm=on` or `i2c_arm`, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overlay {
    /// The file's name below `overlays/`, without `.dtbo`; empty for the base tree.
    pub name: String,
    /// Name and value; a name alone is `on` (DOC).
    pub parameters: Vec<(String, String)>,
}

/// What a config.txt says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The values by key; of several the last.
    values: BTreeMap<String, String>,
    /// `initramfs`, the last one.
    pub initramfs: Option<Initramfs>,
    /// The base tree's parameters and the overlays, in the order of the file.
    pub overlays: Vec<Overlay>,
    /// The lines that count for this board and that the stage does nothing about.
    pub ignored: Vec<String>,
}

/// The keys that the stage obeys, besides `initramfs`, `dtoverlay`, `dtparam` and `include`.
const OBEYED: [&str; 13] = [
    "arm_64bit",
    "auto_initramfs",
    "cmdline",
    "device_tree",
    "device_tree_address",
    "enable_uart",
    "initramfs",
    "kernel",
    "kernel_address",
    "os_prefix",
    "overlay_prefix",
    "ramfsaddr",
    "ramfsfile",
];

impl Config {
    /// Reads `text`. `include` gives the text of another file, when there is one.
    pub fn parse(
        text: &str,
        circumstances: &Circumstances<'_>,
        include: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Self {
        let mut config = Self::default();
        let mut filters = Filters::default();
        config.read(text, circumstances, &mut filters, include, 0);
        if let Some(file) = config.values.get("ramfsfile")
            && config.initramfs.is_none()
        {
            let address = config.values.get("ramfsaddr").and_then(|text| number(text));
            config.initramfs = Some(Initramfs {
                files: vec![file.clone()],
                address,
            });
        }
        config
    }

    fn read(
        &mut self,
        text: &str,
        circumstances: &Circumstances<'_>,
        filters: &mut Filters,
        include: &mut dyn FnMut(&str) -> Option<String>,
        depth: usize,
    ) {
        for whole in text.lines() {
            let end = (0..=LINE.min(whole.len()))
                .rev()
                .find(|&end| whole.is_char_boundary(end));
            let (line, behind) = whole.split_at(end.unwrap_or(0));
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(filter) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                if !filters.meet(filter.trim(), circumstances) {
                    self.ignored
                        .push(format!("{line} (a filter that is never true here)"));
                }
                continue;
            }
            if !filters.pass() {
                continue;
            }
            if !behind.is_empty() {
                self.ignored
                    .push(format!("{behind} (behind the {LINE}th character)"));
            }
            if let Some(file) = word(line, "include") {
                // Whether filters reach into an included file, and out of it, is U: here they do.
                match include(file).filter(|_| depth < DEEPEST_INCLUDE) {
                    Some(text) => self.read(&text, circumstances, filters, include, depth + 1),
                    None => self.ignored.push(format!("{line} (no such file)")),
                }
            } else if let Some(rest) = word(line, "initramfs") {
                self.initramfs(rest, line);
            } else if let Some((key, value)) = line.split_once('=') {
                self.set(key.trim(), value.trim(), line);
            } else {
                self.ignored.push(line.to_owned());
            }
        }
    }

    fn initramfs(&mut self, rest: &str, line: &str) {
        let mut words = rest.split_whitespace();
        let files = words.next().unwrap_or_default().split(',');
        let address = match words.next() {
            None | Some("followkernel" | "0") => None,
            Some(text) => match number(text) {
                Some(address) => Some(address),
                None => return self.ignored.push(line.to_owned()),
            },
        };
        self.initramfs = Some(Initramfs {
            files: files.map(str::to_owned).collect(),
            address,
        });
    }

    fn set(&mut self, key: &str, value: &str, line: &str) {
        match key {
            "dtoverlay" | "device_tree_overlay" => {
                // `name:a=b` is the older spelling of `name,a=b`.
                let mut words = value.splitn(2, [',', ':']);
                let name = words.next().unwrap_or_default().trim_end_matches(".dtbo");
                self.overlays.push(Overlay {
                    name: name.to_owned(),
                    parameters: parameters(words.next().unwrap_or_default()),
                });
            }
            "dtparam" | "device_tree_param" => {
                if self.overlays.is_empty() {
                    self.overlays.push(Overlay::default());
                }
                if let Some(last) = self.overlays.last_mut() {
                    last.parameters.extend(parameters(value));
                }
            }
            _ if OBEYED.contains(&key) => {
                self.values.insert(key.to_owned(), value.to_owned());
            }
            _ => self.ignored.push(line.to_owned()),
        }
    }

    /// The value of one of the keys that are obeyed, as it stands there.
    pub fn text(&self, key: &str) -> Option<&str> {
        debug_assert!(OBEYED.contains(&key), "{key} is not read");
        self.values.get(key).map(String::as_str)
    }

    /// The same as a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.text(key).and_then(number)
    }

    /// Whether the kernel is a 64-bit one: what config.txt says, else nothing.
    pub fn arm_64bit(&self) -> Option<bool> {
        self.number("arm_64bit").map(|value| value != 0)
    }

    /// A file's path with `os_prefix` before it: kernel, initramfs, cmdline.txt, trees and overlays have it (DOC).
    pub fn prefixed(&self, file: &str) -> String {
        format!("{}{file}", self.text("os_prefix").unwrap_or_default())
    }

    /// Where overlays are: `overlay_prefix`, by default `overlays/`, behind `os_prefix`.
    pub fn overlay_path(&self, file: &str) -> String {
        self.prefixed(&format!(
            "{}{file}",
            self.text("overlay_prefix").unwrap_or("overlays/")
        ))
    }
}

/// What stands behind a line's first word, when that is `word` and a blank follows.
fn word<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(word)?;
    rest.starts_with([' ', '\t']).then(|| rest.trim())
}

fn parameters(text: &str) -> Vec<(String, String)> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').unwrap_or((word, "on"));
        (name.to_owned(), value.to_owned())
    };
    words.map(pair).collect()
}

/// A number as config.txt has it: decimal, or hexadecimal behind `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The kinds of filters and whether each is met: one of the same kind replaces, different kinds all have to be met, `[all]`
/// clears (DOC).
#[derive(Debug, Default)]
struct Filters(BTreeMap<&'static str, bool>);

impl Filters {
    fn pass(&self) -> bool {
        self.0.values().all(|met| *met)
    }

    /// Takes a filter; false when the stage cannot tell whether it is met, and takes it for not met.
    fn meet(&mut self, filter: &str, circumstances: &Circumstances<'_>) -> bool {
        const MODELS: [&str; 14] = [
            "pi0", "pi0w", "pi02", "pi1", "pi2", "pi3", "pi3+", "pi4", "pi400", "cm4", "cm4s", "pi5",
            "pi500", "cm5",
        ];
        let (kind, met) = match filter {
            "all" => {
                self.0.clear();
                return true;
            }
            // Until `[all]`, or a model: that a model's filter ends it is U.
            "none" => ("model", false),
            "tryboot" => ("tryboot", circumstances.tryboot),
            _ if MODELS.contains(&filter) => ("model", circumstances.models.contains(&filter)),
            _ => {
                let (name, value) = filter.split_once('=').unwrap_or(("", filter));
                match (name, number(value)) {
                    ("board-type", Some(value)) => (
                        "board-type",
                        value == u64::from(circumstances.revision >> 4 & 0xff),
                    ),
                    ("partition", Some(value)) => ("partition", value == u64::from(circumstances.partition)),
                    ("", Some(value)) => ("serial", value == circumstances.serial & 0xffff_ffff),
                    // Pins, displays, HDMI ports and what came after.
                    _ => {
                        self.0.insert("unknown", false);
                        return false;
                    }
                }
            }
        };
        self.0.insert(kind, met);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PI4: Circumstances<'_> = Circumstances {
        models: &["pi4"],
        revision: 0x00b0_3115,
        serial: 0x1000_0000_b4a3_b1e5,
        tryboot: false,
        partition: 0,
    };

    fn of(text: &str, circumstances: &Circumstances<'_>) -> Config {
        Config::parse(text, circumstances, &mut |_| None)
    }

    fn kernel(text: &str, circumstances: &Circumstances<'_>) -> Option<String> {
        of(text, circumstances).text("kernel").map(str::to_owned)
    }

    #[test]
    fn filters_of_a_kind_replace_and_kinds_add_up() {
        let pi3 = Circumstances {
            models: &["pi3", "pi3+"],
            ..PI4
        };
        let text = "[pi3]\nkernel=three\n[pi4]\nkernel=four\n";
        assert_eq!(kernel(text, &PI4).as_deref(), Some("four"));
        assert_eq!(kernel(text, &pi3).as_deref(), Some("three"));
        assert_eq!(kernel("[pi3+]\nkernel=plus", &pi3).as_deref(), Some("plus"));
        // Both have to be met, until [all].
        let text = "kernel=first\n[0xb4a3b1e5]\n[pi3]\nkernel=no\n[all]\nkernel=last";
        assert_eq!(kernel(text, &PI4).as_deref(), Some("last"));
        let text = "[pi4]\n[0xb4a3b1e5]\nkernel=mine\n[0x1]\nkernel=its";
        assert_eq!(kernel(text, &PI4).as_deref(), Some("mine"));
        assert_eq!(kernel("[none]\nkernel=no", &PI4), None);
        assert_eq!(kernel("[cm4]\nkernel=no", &PI4), None);
        assert_eq!(
            kernel("[board-type=0x11]\nkernel=4b", &PI4).as_deref(),
            Some("4b")
        );
        assert_eq!(kernel("[board-type=0x14]\nkernel=cm4", &PI4), None);
    }

    #[test]
    fn the_reset_is_a_filter() {
        let text = "kernel=old\n[tryboot]\nkernel=new\n";
        let tryboot = Circumstances {
            tryboot: true,
            partition: 2,
            ..PI4
        };
        assert_eq!(kernel(text, &PI4).as_deref(), Some("old"));
        assert_eq!(kernel(text, &tryboot).as_deref(), Some("new"));
        let text = "[partition=2]\nkernel=two\n";
        assert_eq!(kernel(text, &PI4), None);
        assert_eq!(kernel(text, &tryboot).as_deref(), Some("two"));
    }

    #[test]
    fn what_the_stage_does_nothing_about_it_says() {
        let config = of(
            "# a remark\ngpu_mem=16\nwhat is this\n[gpio4=1]\nkernel=no\n[all]\nenable_uart=1\n[pi3]\nhdmi_group=1\n",
            &PI4,
        );
        assert_eq!(
            config.ignored,
            [
                "gpu_mem=16",
                "what is this",
                "[gpio4=1] (a filter that is never true here)"
            ]
        );
        assert_eq!(
            (config.number("enable_uart"), config.text("kernel")),
            (Some(1), None)
        );
        let long = format!("kernel={}", "k".repeat(100));
        let config = of(&long, &PI4);
        assert_eq!(config.text("kernel").map(str::len), Some(LINE - 7));
        assert_eq!(config.ignored, ["kkkkkkkkk (behind the 98th character)"]);
    }

    #[test]
    fn a_file_may_include_others_but_not_itself_for_ever() {
        let mut asked = 0;
        let config = Config::parse("include more.txt\nkernel=own\n", &PI4, &mut |name| {
            asked += 1;
            (name == "more.txt").then(|| "cmdline=more.cmd\ninclude more.txt\nkernel=its\n".to_owned())
        });
        assert_eq!(config.text("cmdline"), Some("more.cmd"));
        assert_eq!(config.text("kernel"), Some("own"));
        assert_eq!(asked, 1 + DEEPEST_INCLUDE);
        assert_eq!(config.ignored, ["include more.txt (no such file)"]);
        assert_eq!(
            of("include none\n", &PI4).ignored,
            ["include none (no such file)"]
        );
    }

    #[test]
    fn an_initramfs_has_files_and_a_place() {
        let initramfs = |text| of(text, &PI4).initramfs;
        assert_eq!(
            initramfs("initramfs a,b followkernel"),
            Some(Initramfs {
                files: vec!["a".to_owned(), "b".to_owned()],
                address: None,
            })
        );
        assert_eq!(
            initramfs("initramfs a 0x01f00000"),
            initramfs("ramfsfile=a\nramfsaddr=0x1f00000")
        );
        assert_eq!(of("initramfs a there", &PI4).ignored, ["initramfs a there"]);
    }

    #[test]
    fn parameters_are_of_the_tree_or_of_the_overlay_before_them() {
        let config = of(
            "dtparam=audio=on\ndtparam=i2c_arm,spi=off\ndtoverlay=disable-bt\ndtoverlay=uart2,ctsrts\ndtparam=x=1\ndtoverlay=\n\
             dtparam=last=2\n",
            &PI4,
        );
        let overlay = |name: &str, parameters: &[(&str, &str)]| Overlay {
            name: name.to_owned(),
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        assert_eq!(
            config.overlays,
            [
                overlay("", &[("audio", "on"), ("i2c_arm", "on"), ("spi", "off")]),
                overlay("disable-bt", &[]),
                overlay("uart2", &[("ctsrts", "on"), ("x", "1")]),
                overlay("", &[("last", "2")]),
            ]
        );
        assert_eq!(config.ignored, [""; 0]);
    }

    #[test]
    fn prefixes_stand_before_paths() {
        let config = of("os_prefix=new/\n", &PI4);
        assert_eq!(config.prefixed("kernel8.img"), "new/kernel8.img");
        assert_eq!(config.overlay_path("a.dtbo"), "new/overlays/a.dtbo");
        let config = of("overlay_prefix=o/\n", &PI4);
        assert_eq!(config.overlay_path("a.dtbo"), "o/a.dtbo");
        assert_eq!(config.arm_64bit(), None);
        assert_eq!(of("arm_64bit=0", &PI4).arm_64bit(), Some(false));
    }
}
