//! PXELINUX's configuration language (Syslinux `doc/syslinux.txt`, `doc/menu.txt`; U-Boot `doc/README.pxe`): its core.
//!
//! Keywords know no case. A line whose keyword is not known is skipped and counted, and its label goes on. Bytes that
//! are not UTF-8 become U+FFFD, control characters become `?`: neither may keep a node from booting.

use alloc::borrow::{Cow, ToOwned};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::time::Duration;

use super::{
    Action, Boot, Bound, Content, Display, Entry, Fault, Manners, Menu, Pick, Unsupported, base_of, resolve,
    screen,
};
use crate::fetch::{Get, Response};
use crate::url::Url;

/// Bytes of a menu, all its INCLUDEs together. With the next two bounds it keeps the model below 1 MiB of heap.
pub(super) const MAX_TEXT: usize = 256 * 1024;
/// Bytes of a line.
pub(super) const MAX_LINE: usize = 4096;
/// Entries of a menu.
pub(super) const MAX_ENTRIES: usize = 1024;
/// INCLUDE inside INCLUDE, as in Syslinux and U-Boot.
pub(super) const MAX_DEPTH: usize = 16;
/// INCLUDEs in all: each is a download.
pub(super) const MAX_INCLUDES: usize = 64;
/// Messages kept; later ones are skipped.
const MAX_MESSAGES: usize = 16;

/// TIMEOUT when the menu has none. Syslinux would wait for ever, which strands an unattended node.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long keys can hold a menu without TOTALTIMEOUT, unless its TIMEOUT is longer.
const LONGEST: Duration = Duration::from_secs(600);
/// The longest TIMEOUT, in tenths of a second: a day.
const MAX_TIMEOUT: u64 = 864_000;

/// Parses the menu that `response` left at the start of `scratch`, fetching what it INCLUDEs into the rest. Names in
/// it are relative to `base`, or else to where it came from.
pub(super) fn parse(
    response: &Response,
    base: Option<&Url>,
    scratch: &mut [u8],
    get: &mut Get<'_>,
) -> Result<Menu, Fault> {
    let base = base.cloned().unwrap_or_else(|| base_of(&response.url));
    let mut reader = Reader {
        parser: Parser::default(),
        base,
        includes: 0,
        bytes: 0,
    };
    reader.file(response, scratch, 0, get)?;
    let Reader { parser, base, .. } = reader;
    if parser.skipped > 0 {
        warn!(
            "menu: {} lines of {} skipped, the first is: {}",
            parser.skipped,
            response.url,
            screen::printable(&parser.first_skipped)
        );
    }
    if parser.in_text {
        warn!(
            "menu: {}: TEXT without ENDTEXT, all that follows it is skipped",
            response.url
        );
    }
    parser
        .menu(response.url.clone(), base)
        .ok_or_else(|| Fault::NoEntries(response.url.clone()))
}

/// What the server sent, when it is no PXELINUX menu whatever follows.
fn foreign(text: &[u8]) -> Option<Content> {
    let start = without_bom(text).trim_ascii_start();
    if start.is_empty() {
        Some(Content::Empty)
    } else if start.starts_with(b"#!ipxe") || start.starts_with(b"#!gpxe") {
        Some(Content::IpxeScript)
    } else if text.contains(&0) {
        Some(Content::Binary)
    } else if start.starts_with(b"<") {
        Some(Content::Html)
    } else {
        None
    }
}

fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// One menu being read, with what it includes.
struct Reader {
    parser: Parser,
    base: Url,
    includes: usize,
    bytes: usize,
}

impl Reader {
    /// Reads the file that `response` left at the start of `scratch`; files it includes land behind it.
    fn file(
        &mut self,
        response: &Response,
        scratch: &mut [u8],
        depth: usize,
        get: &mut Get<'_>,
    ) -> Result<(), Fault> {
        let url = &response.url;
        let (text, rest) = scratch
            .split_at_mut_checked(response.len)
            .unwrap_or((&mut [], &mut []));
        // There may be nothing to include, but a menu must say something.
        if let Some(content) = foreign(text).filter(|content| depth == 0 || *content != Content::Empty) {
            return Err(Fault::Content(url.clone(), content));
        }
        self.bytes = self.bytes.saturating_add(text.len());
        for (number, line) in (1..).zip(without_bom(text).split(|&byte| byte == b'\n')) {
            let bound = |bound| Fault::Bound(url.clone(), number, bound);
            if line.len() > MAX_LINE {
                return Err(bound(Bound::Line));
            }
            let Some(name) = self.parser.line(&readable(line)).map_err(bound)? else {
                continue;
            };
            if depth >= MAX_DEPTH {
                return Err(bound(Bound::Depth));
            }
            if self.includes >= MAX_INCLUDES {
                return Err(bound(Bound::Includes));
            }
            self.includes = self.includes.saturating_add(1);
            let included = resolve(&self.base, &name).map_err(Fault::Url)?;
            let room = rest.len().min(MAX_TEXT.saturating_sub(self.bytes));
            let window = rest.get_mut(..room).unwrap_or_default();
            match get(&included, window) {
                Ok(response) => self.file(&response, window, depth.saturating_add(1), get)?,
                // Syslinux goes on without it. A failure may be gone next time, and an entry missing until then.
                Err(error) if error.is_absent() => warn!("menu: INCLUDE skipped: {}", error),
                Err(error) => return Err(Fault::Fetch(error)),
            }
        }
        Ok(())
    }
}

/// A line as text without control characters.
fn readable(line: &[u8]) -> Cow<'_, str> {
    let line = String::from_utf8_lossy(line.trim_ascii());
    if line.contains(|c: char| c.is_control() && c != '\t') {
        let clean = line
            .chars()
            .map(|c| if c.is_control() && c != '\t' { '?' } else { c });
        return Cow::Owned(clean.collect());
    }
    line
}

/// The keyword of a line and what follows it.
fn word(text: &str) -> (&str, &str) {
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

/// What the lines so far said.
#[derive(Default)]
struct Parser {
    title: Option<String>,
    labels: Vec<Label>,
    /// Whether lines belong to the last label.
    in_label: bool,
    /// Inside TEXT … ENDTEXT.
    in_text: bool,
    append: Rc<str>,
    sysappend: u32,
    default: Option<String>,
    on_timeout: Option<String>,
    menu_default: Option<usize>,
    /// Tenths of a second.
    timeout: Option<i64>,
    prompt: Option<bool>,
    ui: bool,
    hidden: bool,
    menu_label: bool,
    messages: Vec<String>,
    skipped: u32,
    first_skipped: String,
}

/// A LABEL and what follows it.
struct Label {
    name: String,
    label: Option<String>,
    hot_key: Option<u8>,
    /// KERNEL or LINUX with everything after it; none means the label's name.
    kernel: Option<String>,
    /// What only LINUX can say: that the kernel is one, whatever its name.
    linux: bool,
    append: Rc<str>,
    sysappend: u32,
    initrds: String,
    device_tree: Option<String>,
    local: Option<i32>,
    unsupported: Option<Unsupported>,
}

impl Parser {
    /// Takes a line without its end; returns the name of a file to include here.
    fn line(&mut self, line: &str) -> Result<Option<String>, Bound> {
        let (keyword, rest) = word(line);
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        if self.in_text {
            self.in_text = !is("endtext");
        } else if line.is_empty() || line.starts_with('#') {
        } else if is("menu") {
            return Ok(self.menu_line(line, rest));
        } else if is("include") {
            return Ok(self.include(line, rest));
        } else if is("label") {
            self.label(rest)?;
        } else if is("text") {
            self.in_text = true;
        } else if is("default") {
            self.default = non_empty(rest);
        } else if is("ontimeout") {
            self.on_timeout = non_empty(rest);
        } else if is("timeout") {
            match word(rest).0.parse() {
                Ok(tenths) => self.timeout = Some(tenths),
                Err(_) => self.skip(line),
            }
        } else if is("prompt") {
            match number(rest) {
                Some(flag) => self.prompt = Some(flag != 0),
                None => self.skip(line),
            }
        } else if is("ui") {
            self.ui = !rest.is_empty();
        } else if is("say") && self.messages.len() < MAX_MESSAGES {
            self.messages.push(rest.to_owned());
        } else if is("append") {
            let append = Rc::from(if rest == "-" { "" } else { rest });
            match self.current() {
                Some(label) => label.append = append,
                None => self.append = append,
            }
        } else if is("sysappend") || is("ipappend") {
            match (number(rest), self.current()) {
                (Some(bits), Some(label)) => label.sysappend = bits,
                (Some(bits), None) => self.sysappend = bits,
                (None, _) => self.skip(line),
            }
        } else if self.current().is_none_or(|label| !label.line(keyword, rest)) {
            self.skip(line);
        }
        Ok(None)
    }

    /// A line that begins with MENU; `rest` is what follows.
    fn menu_line(&mut self, line: &str, rest: &str) -> Option<String> {
        let (keyword, rest) = word(rest);
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        if is("include") {
            return self.include(line, rest);
        } else if is("title") {
            self.title = non_empty(rest);
        } else if is("hidden") {
            self.hidden = true;
        } else if is("default") && self.in_label {
            self.menu_default = self.labels.len().checked_sub(1);
        } else if is("label") && self.in_label {
            self.menu_label = true;
            if let Some(label) = self.current() {
                let (text, hot_key) = without_carets(rest);
                label.label = non_empty(&text);
                label.hot_key = hot_key;
            }
        } else {
            // What follows these belongs to a submenu or to nobody, and must not rename the label before them.
            if is("begin") || is("end") || is("separator") {
                self.in_label = false;
            }
            self.skip(line);
        }
        None
    }

    /// INCLUDE and MENU INCLUDE. What follows the name is a tag for the submenus that other readers make of files.
    fn include(&mut self, line: &str, rest: &str) -> Option<String> {
        let (name, _) = word(rest);
        if name.is_empty() {
            self.skip(line);
        }
        non_empty(name)
    }

    fn label(&mut self, name: &str) -> Result<(), Bound> {
        if self.labels.len() >= MAX_ENTRIES {
            return Err(Bound::Entries);
        }
        self.labels.push(Label {
            name: name.to_owned(),
            label: None,
            hot_key: None,
            kernel: None,
            linux: false,
            append: Rc::clone(&self.append),
            sysappend: self.sysappend,
            initrds: String::new(),
            device_tree: None,
            local: None,
            unsupported: None,
        });
        self.in_label = true;
        Ok(())
    }

    fn current(&mut self) -> Option<&mut Label> {
        self.labels.last_mut().filter(|_| self.in_label)
    }

    fn skip(&mut self, line: &str) {
        if self.skipped == 0 {
            self.first_skipped = line.to_owned();
        }
        self.skipped = self.skipped.saturating_add(1);
    }

    /// The finished menu; `None` without a label.
    fn menu(self, url: Url, base: Url) -> Option<Menu> {
        let entries: Vec<Entry> = self.labels.into_iter().map(Label::entry).collect();
        let named = self.default.as_deref().map(|line| target(&entries, line));
        let ui = self.ui || named == Some(Target::Interface);
        let several = entries.len() > 1;
        let prompts = self.prompt == Some(true) || ui;
        let asks = prompts || (several && (self.menu_label || self.title.is_some()));
        let first = entries
            .iter()
            .position(|entry| matches!(entry.action, Action::Boot(_)))
            .unwrap_or(0);
        let named = match named {
            Some(Target::Entry(pick)) => Some(pick),
            Some(Target::Nothing) => {
                warn!(
                    "menu: {} has no label for its DEFAULT, taking the first entry",
                    url
                );
                None
            }
            Some(Target::Interface) | None => None,
        };
        let is_named = named.is_some();
        let marked = self.menu_default.map(Pick::plain);
        let default = if asks { marked.or(named) } else { named.or(marked) };
        let default = default.unwrap_or_else(|| Pick::plain(first));
        let on_timeout = match self.on_timeout.as_deref().map(|line| target(&entries, line)) {
            Some(Target::Entry(pick)) => pick,
            Some(Target::Nothing | Target::Interface) => {
                warn!("menu: {} has no label for its ONTIMEOUT, taking the default", url);
                default.clone()
            }
            None => default.clone(),
        };
        let timeout = match self.timeout {
            None => Some(DEFAULT_TIMEOUT),
            Some(0) => None,
            Some(tenths) => {
                let tenths = u64::try_from(tenths).unwrap_or(0).min(MAX_TIMEOUT);
                Some(Duration::from_millis(tenths.saturating_mul(100)))
            }
        };
        let display = match timeout {
            Some(_) if self.hidden => Display::Hidden,
            Some(Duration::ZERO) => Display::AtOnce,
            // PROMPT 0 says not to wait, so nobody may be there to end a wait without an end.
            None if self.prompt == Some(false) && !ui && is_named => Display::AtOnce,
            _ if asks => Display::Shown,
            _ => Display::AtOnce,
        };
        // At once, the clock has no say.
        let on_timeout = if display == Display::AtOnce {
            default.clone()
        } else {
            on_timeout
        };
        (!entries.is_empty()).then(|| Menu {
            base,
            default,
            on_timeout,
            timeout,
            total: timeout.map(|timeout| timeout.max(LONGEST)),
            display,
            messages: self.messages,
            ..Menu::flat(url, self.title, entries, Manners::Syslinux)
        })
    }
}

impl Label {
    /// Takes a line that only a label can have; `false` when it is not one.
    fn line(&mut self, keyword: &str, rest: &str) -> bool {
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        if is("kernel") || is("linux") {
            self.kernel = non_empty(rest);
            self.linux = is("linux");
            (self.local, self.unsupported) = (None, None);
        } else if is("initrd") {
            let comma = if self.initrds.is_empty() { "" } else { "," };
            self.initrds.push_str(comma);
            self.initrds.push_str(rest);
        } else if is("fdt") || is("devicetree") {
            self.device_tree = non_empty(rest);
        } else if is("localboot") {
            self.local = Some(word(rest).0.parse().unwrap_or(0));
        } else if let Some(&keyword) = PC_KEYWORDS.iter().find(|&&name| is(name)) {
            self.unsupported = Some(Unsupported::Keyword(keyword));
        } else {
            return false;
        }
        true
    }

    fn entry(self) -> Entry {
        let (kernel, arguments) = match &self.kernel {
            Some(kernel) => word(kernel),
            None => (self.name.as_str(), ""),
        };
        let action = if let Some(why) = self.unsupported {
            Action::Unsupported(why)
        } else if let Some(kind) = self.local {
            Action::Local(kind)
        } else if !self.linux && is_pc_program(kernel) {
            Action::Unsupported(Unsupported::PcProgram(kernel.to_owned()))
        } else {
            Action::Boot(Boot {
                arguments: arguments.to_owned(),
                append: self.append,
                initrds: self.initrds,
                device_tree: self.device_tree,
                sysappend: self.sysappend,
                ..Boot::of(kernel)
            })
        };
        Entry {
            label: self.label,
            hot_key: self.hot_key,
            ..Entry::new(self.name, action)
        }
    }
}

/// Keywords that start something of a PC's BIOS.
const PC_KEYWORDS: [&str; 8] = [
    "BOOT",
    "BSS",
    "PXE",
    "FDIMAGE",
    "COMBOOT",
    "COM32",
    "CONFIG",
    "MULTIBOOT",
];

/// Whether KERNEL takes `name` for a program by its extension: Syslinux modules, COMBOOT programs, boot sectors, NBPs.
fn is_pc_program(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    ["c32", "cbt", "com", "bss", "bs", "0"]
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

/// Whether `name` is a module that shows a menu: `menu.c32`, `vesamenu.c32`, with any path, or bare.
fn is_menu_module(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    ["menu.c32", "vesamenu.c32", "menu", "vesamenu"]
        .iter()
        .any(|known| file.eq_ignore_ascii_case(known))
}

/// What the line of a DEFAULT or ONTIMEOUT means.
#[derive(PartialEq)]
enum Target {
    Entry(Pick),
    /// A menu is to be shown.
    Interface,
    Nothing,
}

/// `line` is a label, which may hold blanks (as in U-Boot), or a label and arguments, or a menu module. A single word may
/// also be the first one of a label, which is all that Syslinux takes for its name.
fn target(entries: &[Entry], line: &str) -> Target {
    let find = |name: &str| entries.iter().position(|entry| entry.name == name);
    let (first, rest) = word(line);
    let found = match find(line) {
        Some(entry) => Some(Pick::plain(entry)),
        None if rest.is_empty() => {
            let first = entries.iter().position(|entry| word(&entry.name).0 == line);
            first.map(Pick::plain)
        }
        None => find(first).map(|entry| Pick {
            entry,
            arguments: rest.to_owned(),
        }),
    };
    match found {
        Some(pick) => match entries.get(pick.entry).map(|entry| &entry.action) {
            Some(Action::Unsupported(Unsupported::PcProgram(name))) if is_menu_module(name) => {
                Target::Interface
            }
            _ => Target::Entry(pick),
        },
        None if is_menu_module(first) => Target::Interface,
        None => Target::Nothing,
    }
}

/// A label without its `^`, and the key that followed the first one; `^^` is a caret.
fn without_carets(label: &str) -> (String, Option<u8>) {
    let (mut text, mut hot_key) = (String::new(), None);
    let mut rest = label.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '^' || rest.next_if_eq(&'^').is_some() {
            text.push(c);
        } else if hot_key.is_none() {
            hot_key = rest
                .peek()
                .filter(|key| key.is_ascii_alphanumeric())
                .and_then(|key| u8::try_from(key.to_ascii_lowercase()).ok());
        }
    }
    (text, hot_key)
}

/// A decimal or `0x` number, whatever follows it after a blank.
fn number(text: &str) -> Option<u32> {
    let (text, _) = word(text);
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;

    const URL: &str = "http://192.0.2.1/pi/pxelinux.cfg/default";

    /// Parses `text` as if it came from `URL`, with `files` beside it.
    fn parse_with(text: &[u8], files: &BTreeMap<&str, &[u8]>) -> Result<Menu, Fault> {
        let mut scratch = text.to_vec();
        scratch.resize(text.len() + 32 * 1024, 0);
        let len = text.len();
        let response = Response {
            url: Url::parse(URL).unwrap(),
            len,
        };
        parse(&response, None, &mut scratch, &mut |url, into| {
            let text = files.get(url.path()).copied().unwrap_or(b"# nothing\n");
            into[..text.len()].copy_from_slice(text);
            Ok(Response {
                url: url.clone(),
                len: text.len(),
            })
        })
    }

    fn menu(text: &str) -> Menu {
        parse_with(text.as_bytes(), &BTreeMap::new()).unwrap()
    }

    fn fault(text: &[u8]) -> String {
        parse_with(text, &BTreeMap::new()).unwrap_err().to_string()
    }

    fn boot(menu: &Menu, entry: usize) -> &Boot {
        match &menu.entries[entry].action {
            Action::Boot(boot) => boot,
            other => panic!("{other:?}"),
        }
    }

    const INSTALLER: &str = "\
# Debian installer, arm64\r
DEFAULT install\r
PROMPT 0\r
TIMEOUT 50\r
MENU TITLE Debian 12\r
SAY Hello\r
LABEL install\r
  MENU LABEL ^Install\r
  LINUX debian/linux\r
  INITRD debian/initrd.gz\r
  APPEND priority=low ---\r
LABEL rescue\r
  menu label Resc^ue a ^^node\r
  menu default\r
  kernel debian/linux rescue/enable=true\r
  initrd debian/initrd.gz,debian/more.gz\r
  initrd debian/firmware.cpio.gz\r
  fdt /dtb/broadcom/bcm2711-rpi-4-b.dtb\r
LABEL local\r
  LOCALBOOT -1\r
";

    #[test]
    fn an_installer_menu_in_the_style_of_debian() {
        let menu = menu(INSTALLER);
        assert_eq!(menu.title(), Some("Debian 12"));
        assert_eq!(menu.base.to_string(), "http://192.0.2.1/pi/");
        assert_eq!(menu.messages, ["Hello"]);
        assert_eq!(
            (menu.display, menu.timeout),
            (Display::Shown, Some(Duration::from_secs(5)))
        );
        assert_eq!(menu.default, Pick::plain(1));
        assert_eq!(menu.on_timeout, Pick::plain(1));
        let shown: Vec<_> = menu.entries.iter().map(|e| (e.shown(), e.hot_key)).collect();
        assert_eq!(
            shown,
            [
                ("Install", Some(b'i')),
                ("Rescue a ^node", Some(b'u')),
                ("local", None)
            ]
        );
        assert_eq!(
            *boot(&menu, 0),
            Boot {
                append: "priority=low ---".into(),
                initrds: "debian/initrd.gz".into(),
                ..Boot::of("debian/linux")
            }
        );
        assert_eq!(
            *boot(&menu, 1),
            Boot {
                arguments: "rescue/enable=true".into(),
                initrds: "debian/initrd.gz,debian/more.gz,debian/firmware.cpio.gz".into(),
                device_tree: Some("/dtb/broadcom/bcm2711-rpi-4-b.dtb".into()),
                ..Boot::of("debian/linux")
            }
        );
        assert_eq!(menu.entries[2].action, Action::Local(-1));
    }

    #[test]
    fn a_single_entry_in_the_style_of_foreman_boots_at_once() {
        let menu = menu(
            "default linux\nlabel linux\nkernel boot/vmlinuz\nappend initrd=boot/initrd.img ks=http://f/ks\nIPAPPEND 2\n",
        );
        assert_eq!((menu.display, menu.default.entry), (Display::AtOnce, 0));
        assert_eq!(&*boot(&menu, 0).append, "initrd=boot/initrd.img ks=http://f/ks");
        assert_eq!(boot(&menu, 0).sysappend, 2);
    }

    #[test]
    fn say_before_kernel_keeps_the_label_as_maas_needs() {
        let menu = menu(
            "DEFAULT execute\nSAY one\nLABEL execute\n  SAY two\n  FROBNICATE x\n  KERNEL http://m:5248/k\n  SYSAPPEND 0x3\n",
        );
        assert_eq!(menu.messages, ["one", "two"]);
        assert_eq!(
            (boot(&menu, 0).kernel.as_str(), boot(&menu, 0).sysappend),
            ("http://m:5248/k", 3)
        );
    }

    #[test]
    fn nixos_writes_a_negative_timeout_for_at_once() {
        let text = "MENU TITLE ---\nTIMEOUT -10\nDEFAULT n 2 (x)\nLABEL n 1\nLINUX ../a\nLABEL n 2 (x)\nLINUX ../b\nFDTDIR ../d\nINITRD\n";
        let menu = menu(text);
        assert_eq!(
            (menu.display, menu.timeout),
            (Display::AtOnce, Some(Duration::ZERO))
        );
        assert_eq!(menu.default, Pick::plain(1));
        assert_eq!(
            (boot(&menu, 1).kernel.as_str(), boot(&menu, 1).initrds.as_str()),
            ("../b", "")
        );
    }

    #[test]
    fn global_append_holds_for_labels_without_their_own_and_a_dash_is_none() {
        let menu =
            menu("APPEND a b\nIPAPPEND 1\nLABEL x\nLABEL y\nAPPEND c\nIPAPPEND 0\nLABEL z\nAPPEND -\n");
        let lines: Vec<_> = (0..3)
            .map(|i| (&*boot(&menu, i).append, boot(&menu, i).sysappend))
            .collect();
        assert_eq!(lines, [("a b", 1), ("c", 0), ("", 1)]);
        assert_eq!(
            boot(&menu, 0).kernel,
            "x",
            "Syslinux takes the label's name for the kernel"
        );
    }

    #[test]
    fn when_a_menu_is_shown_and_what_boots_without_anybody() {
        let entries = "LABEL a\nLINUX k\nLABEL b\nLINUX k\nLABEL m\nKERNEL vesamenu.c32\n";
        for (head, display, default, on_timeout) in [
            ("", Display::AtOnce, 0, 0),
            ("DEFAULT b\n", Display::AtOnce, 1, 1),
            ("DEFAULT b\nPROMPT 1\n", Display::Shown, 1, 1),
            ("DEFAULT b\nUI menu.c32\nONTIMEOUT a\n", Display::Shown, 1, 0),
            ("DEFAULT boot/vesamenu.c32\nONTIMEOUT b\n", Display::Shown, 0, 1),
            ("DEFAULT menu\n", Display::Shown, 0, 0),
            ("DEFAULT m\n", Display::Shown, 0, 0),
            ("DEFAULT nowhere\nONTIMEOUT nowhere\n", Display::AtOnce, 0, 0),
            ("MENU TITLE t\n", Display::Shown, 0, 0),
            ("MENU TITLE t\nMENU HIDDEN\n", Display::Hidden, 0, 0),
            ("MENU TITLE t\nMENU HIDDEN\nTIMEOUT 0\n", Display::Shown, 0, 0),
        ] {
            let menu = menu(&format!("{head}{entries}"));
            let found = (menu.display, menu.default.entry, menu.on_timeout.entry);
            assert_eq!(found, (display, default, on_timeout), "{head}");
        }
    }

    #[test]
    fn prompt_0_without_a_time_limit_does_not_strand_a_node_that_has_a_default() {
        let entries = "MENU TITLE t\nLABEL a\nLINUX k\nLABEL b\nLINUX k\n";
        for (head, display) in [
            ("DEFAULT b\nPROMPT 0\nTIMEOUT 0\n", Display::AtOnce),
            ("DEFAULT b\nTIMEOUT 0\n", Display::Shown),
            ("PROMPT 0\nTIMEOUT 0\n", Display::Shown),
            ("DEFAULT b\nPROMPT 1\nTIMEOUT 0\n", Display::Shown),
            ("UI menu.c32\nDEFAULT b\nPROMPT 0\nTIMEOUT 0\n", Display::Shown),
            ("DEFAULT b\nPROMPT 0\nTIMEOUT 50\n", Display::Shown),
        ] {
            assert_eq!(menu(&format!("{head}{entries}")).display, display, "{head}");
        }
    }

    #[test]
    fn a_number_ends_at_a_blank_as_in_syslinux() {
        let menu = menu("TIMEOUT 15 # soon\nPROMPT 1 yes\nLABEL a\nLINUX k\nIPAPPEND 2 # BOOTIF\n");
        assert_eq!(
            (menu.timeout, menu.display, boot(&menu, 0).sysappend),
            (Some(Duration::from_millis(1500)), Display::Shown, 2)
        );
    }

    #[test]
    fn default_finds_a_label_by_all_of_its_name_or_by_its_first_word() {
        let entry = |default: &str| {
            menu(&format!(
                "DEFAULT {default}\nLABEL x\nLABEL Fedora 22 (old)\nLABEL Fedora 23\nLABEL linux # new\n"
            ))
            .default
        };
        assert_eq!(entry("Fedora 23"), Pick::plain(2));
        assert_eq!(entry("linux"), Pick::plain(3));
        assert_eq!(entry("Fedora"), Pick::plain(1));
        assert_eq!(
            entry("Fedora 24"),
            Pick::plain(0),
            "another version is not the one that was meant"
        );
    }

    #[test]
    fn default_and_ontimeout_can_add_arguments() {
        let menu = menu("PROMPT 1\nDEFAULT a  single 3\nONTIMEOUT a quiet\nLABEL a\nLINUX k\n");
        assert_eq!(
            (
                menu.default.arguments.as_str(),
                menu.on_timeout.arguments.as_str()
            ),
            ("single 3", "quiet")
        );
    }

    #[test]
    fn timeouts_are_tenths_and_bounded() {
        for (text, timeout) in [
            ("TIMEOUT 15", Some(Duration::from_millis(1500))),
            ("TIMEOUT 0", None),
            ("TIMEOUT 9223372036854775807", Some(Duration::from_secs(86_400))),
            ("TIMEOUT 99999999999999999999", Some(DEFAULT_TIMEOUT)),
            ("TIMEOUT soon", Some(DEFAULT_TIMEOUT)),
            ("# none", Some(DEFAULT_TIMEOUT)),
        ] {
            assert_eq!(menu(&format!("{text}\nLABEL a\n")).timeout, timeout, "{text}");
        }
    }

    #[test]
    fn programs_for_pcs_are_unsupported_but_linux_takes_any_name() {
        let menu = menu(
            "LABEL a\nCOM32 chain.c32\nLABEL b\nKERNEL memdisk.C32\nLABEL c\nKERNEL pxelinux.0\nLABEL d\nLINUX k.0\nLABEL e\nKERNEL f.itb#conf-1\n",
        );
        let why: Vec<_> = menu
            .entries
            .iter()
            .map(|entry| match &entry.action {
                Action::Unsupported(why) => Some(why.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(
            why,
            [
                Some(Unsupported::Keyword("COM32")),
                Some(Unsupported::PcProgram("memdisk.C32".into())),
                Some(Unsupported::PcProgram("pxelinux.0".into())),
                None,
                None,
            ]
        );
    }

    #[test]
    fn help_texts_and_submenu_titles_change_nothing_else() {
        let menu = menu(
            "LABEL a\nMENU LABEL A\nTEXT HELP\nDEFAULT b\nLABEL c\nENDTEXT\nLINUX k\nMENU BEGIN s\nMENU LABEL S\nMENU TITLE T\nLABEL b\nMENU END\n",
        );
        let shown: Vec<_> = menu.entries.iter().map(Entry::shown).collect();
        assert_eq!(shown, ["A", "b"]);
        assert_eq!((boot(&menu, 0).kernel.as_str(), menu.default.entry), ("k", 0));
    }

    #[test]
    fn includes_are_read_in_place_relative_to_the_base() {
        let files = BTreeMap::from([
            (
                "/pi/pxelinux.cfg/more",
                &b"LABEL b\nINCLUDE empty\nINCLUDE ::deep/more\nLINUX /k\n"[..],
            ),
            ("/pi/empty", &b""[..]),
            ("/deep/more", &b"\xef\xbb\xbfAPPEND deep\n"[..]),
        ]);
        let text = b"LABEL a\nMENU INCLUDE pxelinux.cfg/more Title\nLABEL c\n";
        let menu = parse_with(text, &files).unwrap();
        let names: Vec<_> = menu.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(
            (boot(&menu, 1).kernel.as_str(), &*boot(&menu, 1).append),
            ("/k", "deep")
        );
    }

    #[test]
    fn includes_without_end_stop_at_their_bounds() {
        let cycle = BTreeMap::from([("/pi/loop", &b"\nINCLUDE loop\n"[..])]);
        let error = parse_with(b"INCLUDE loop\n", &cycle).unwrap_err().to_string();
        assert_eq!(
            error,
            "http://192.0.2.1/pi/loop: line 2: INCLUDE nested more than 16 deep"
        );
        assert_eq!(
            fault("INCLUDE x\n".repeat(MAX_INCLUDES + 1).as_bytes()),
            format!("{URL}: line 65: more than 64 INCLUDEs")
        );
    }

    #[test]
    fn bounds_on_lines_and_entries_end_in_one_line() {
        let long = format!("LABEL a\nAPPEND {}\n", "x".repeat(MAX_LINE));
        assert_eq!(
            fault(long.as_bytes()),
            format!("{URL}: line 2: longer than 4096 bytes")
        );
        let many = "LABEL a\n".repeat(MAX_ENTRIES + 1);
        assert_eq!(
            fault(many.as_bytes()),
            format!("{URL}: line 1025: more than 1024 entries")
        );
    }

    #[test]
    fn what_is_no_menu_is_named() {
        for (text, what) in [
            (
                &b"#!ipxe\nboot\n"[..],
                "what resembles an iPXE script, but its first line is not #!ipxe",
            ),
            (
                b"\xef\xbb\xbf#!gpxe\n",
                "what resembles an iPXE script, but its first line is not #!ipxe",
            ),
            (b" \n<!DOCTYPE html><html>", "an HTML page"),
            (b"MZ\x90\0\x03", "binary data"),
            (b" \r\n", "an empty file"),
        ] {
            assert_eq!(
                fault(text),
                format!("{URL}: expected an iPXE script or a PXELINUX menu, got {what}")
            );
        }
        assert_eq!(
            fault(b"Not found.\n"),
            format!("{URL}: not a PXELINUX menu, it has no LABEL")
        );
    }

    #[test]
    fn bytes_that_are_no_text_keep_nothing_from_booting() {
        let menu = parse_with(
            b"LABEL a\nMENU LABEL Caf\xe9 \x1b[2J\nLINUX k\tro\n",
            &BTreeMap::new(),
        )
        .unwrap();
        assert_eq!(menu.entries[0].shown(), "Caf\u{fffd} ?[2J");
        assert_eq!(
            (boot(&menu, 0).kernel.as_str(), boot(&menu, 0).arguments.as_str()),
            ("k", "ro")
        );
    }

    /// What any menu must satisfy, whatever it was made of.
    fn check(text: &[u8]) {
        let files = BTreeMap::from([("/pi/debian/linux", INSTALLER.as_bytes())]);
        if let Ok(menu) = parse_with(text, &files) {
            assert!(menu.default.entry < menu.entries.len(), "{text:?}");
            assert!(menu.on_timeout.entry < menu.entries.len(), "{text:?}");
            assert!(menu.entries.len() <= MAX_ENTRIES, "{text:?}");
        }
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_a_menu_or_an_error() {
        let golden = INSTALLER.as_bytes();
        for end in 0..golden.len() {
            check(&golden[..end]);
        }
        let mut text = golden.to_vec();
        for at in 0..golden.len() {
            for byte in 0..=u8::MAX {
                text[at] = byte;
                check(&text);
            }
            text[at] = golden[at];
        }
    }

    #[test]
    fn random_bytes_and_random_words_are_a_menu_or_an_error() {
        let words: Vec<&str> = INSTALLER
            .split_inclusive([' ', '\n'])
            .chain(["MENU ", "INCLUDE ", "TEXT ", "^"])
            .collect();
        let mut state = 1_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..random() % 200).map(|_| random().to_le_bytes()[0]).collect();
            check(&bytes);
            let text: String = (0..random() % 60)
                .map(|_| words[random() % words.len()])
                .collect();
            check(text.as_bytes());
        }
    }
}
