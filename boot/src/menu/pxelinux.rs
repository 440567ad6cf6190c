//! PXELINUX menus (Syslinux `doc/syslinux.txt`, `doc/menu.txt`; U-Boot `doc/README.pxe`): files read into one [`Menu`].
//!
//! `keywords` knows what a line means, and `assemble` what all lines together mean; here files are read, with those that
//! they include. Bytes that are not UTF-8 become U+FFFD, control characters become spaces: neither may keep a person from
//! booting (D-27).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::assemble::assemble;
use super::bounds::{MAX_DEPTH, MAX_INCLUDES, MAX_LINE, MAX_REQUESTS, MAX_TEXT};
use super::error::{Bound, Fault};
use super::keywords::{Insert, MAX_MESSAGES, Parser};
use super::model::{Load, Menu};
use super::names::{base_of, is_blank, resolve, word};
use crate::fetch::{Get, Response};
use crate::text::shortened;
use crate::url::Url;
use crate::verify::{self, Language, Text, Unreadable, without_bom};

/// Bytes of a line that Syslinux reads as one; what is longer is several there.
const LONGEST_LINE: usize = 4095;

/// Parses the menu in `text` at the start of `scratch`, fetching what it INCLUDEs into the rest. Names in it are relative to
/// `base`, or else to where it came from.
pub(crate) fn parse(
    text: &Text,
    base: Option<&Url>,
    scratch: &mut [u8],
    get: &mut Get<'_>,
) -> Result<Menu, Fault> {
    let base = base.cloned().unwrap_or_else(|| base_of(text.url()));
    let mut reader = Reader::new(base);
    reader.file(text, scratch, 0, get)?;
    reader.menu(text.url(), false)
}

/// Reads the menu that an entry of `menu` leads to.
pub(super) fn load(load: &Load, menu: &Menu, scratch: &mut [u8], get: &mut Get<'_>) -> Result<Menu, Fault> {
    let base = match &load.directory {
        Some(directory) => {
            let slash = if directory.ends_with('/') { "" } else { "/" };
            resolve(&menu.base, &alloc::format!("{directory}{slash}")).map_err(Fault::Url)?
        }
        None => menu.base.clone(),
    };
    let mut reader = Reader::new(base);
    let (mut first, mut absent) = (None, None);
    let several = load.files.len() > 1;
    // One that is not there could have more.
    reader.alone = !several;
    for file in &load.files {
        let url = match &**file {
            "~" => menu.url.clone(),
            name => resolve(&menu.base, name).map_err(Fault::Url)?,
        };
        let room = scratch.len().min(MAX_TEXT.saturating_sub(reader.bytes));
        let window = scratch.get_mut(..room).unwrap_or_default();
        let response = match get(&url, window) {
            Ok(response) => response,
            // As in Syslinux, those that are there are the menu; one that is kept from us, or cannot be had now, could be more of it.
            Err(error) if several && error.is_absent() => {
                warn!("menu: one of several files skipped: {}", error);
                absent.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(Fault::Fetch(error)),
        };
        let text = verified(&response, window, several)?;
        reader.file(&text, window, usize::from(several), get)?;
        first.get_or_insert(response.url);
    }
    // Only Syslinux comes here from another menu.
    reader.parser.u_boot.is_meant = false;
    if let (None, Some(error)) = (&first, absent) {
        return Err(Fault::Fetch(error));
    }
    reader.menu(first.as_ref().unwrap_or(&menu.url), load.asks)
}

/// The lines of the text file that `response` left at the start of `memory`, as Syslinux would show them, without what means something
/// only to a PC's screen: colours (SI and two digits), pictures (CAN and a file's name), modes.
pub(super) fn text_lines(response: &Response, memory: &[u8]) -> Result<Vec<String>, Fault> {
    let text = verify::shown(response, memory);
    let text = text.map_err(|why| Fault::NotShown(response.url.clone(), why))?;
    let mut kept = Vec::new();
    let mut rest = text.bytes().iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            0x0f => {
                let _ = (rest.next(), rest.next());
            }
            0x18 => {
                let _ = rest.find(|&byte| byte == b'\n');
            }
            0x10..=0x17 | 0x19 | 0x0c | b'\r' => {}
            _ => kept.push(byte),
        }
    }
    let lines = kept.split(|&byte| byte == b'\n').take(MAX_MESSAGES);
    let lines = lines.map(|line| readable(line.trim_ascii_end(), '?').into_owned());
    let mut lines: Vec<String> = lines.collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    Ok(lines)
}

/// The text that `response` left at the start of `memory`. Where it is one of several it may be empty.
fn verified(response: &Response, memory: &[u8], several: bool) -> Result<Text, Fault> {
    let text = if several {
        verify::included(response, memory)
    } else {
        verify::text(response, memory)
    };
    let why = match text {
        Ok(text) if text.language() == Language::Menu => return Ok(text),
        Ok(_) => Unreadable::IpxeScript,
        Err(why) => why,
    };
    Err(Fault::Unreadable(response.url.clone(), why))
}

/// One menu being read, with what it includes.
struct Reader {
    parser: Parser,
    base: Url,
    /// Files that were there, and all that were asked for.
    includes: usize,
    requests: usize,
    bytes: usize,
    /// Whether no line so far says anything but what one label boots.
    alone: bool,
}

impl Reader {
    fn new(base: Url) -> Self {
        Self {
            parser: Parser::default(),
            base,
            includes: 0,
            requests: 0,
            bytes: 0,
            alone: true,
        }
    }

    /// Reads the text at the start of `scratch`; files it includes land behind it.
    fn file(
        &mut self,
        text: &Text,
        scratch: &mut [u8],
        depth: usize,
        get: &mut Get<'_>,
    ) -> Result<(), Fault> {
        let url = text.url();
        let (text, rest) = scratch
            .split_at_mut_checked(text.len())
            .unwrap_or((&mut [], &mut []));
        self.bytes = self.bytes.saturating_add(text.len());
        self.parser.enter();
        let has_bom = without_bom(text).len() < text.len();
        for (number, line) in (1..).zip(without_bom(text).split(|&byte| byte == b'\n')) {
            let bound = |bound| Fault::Bound(url.clone(), number, bound);
            if line.len() > MAX_LINE {
                return Err(bound(Bound::Line));
            }
            if has_bom && number == 1 && !says_nothing(line) {
                self.doubt(
                    url,
                    number,
                    "for Syslinux and U-Boot, a byte order mark is a part of its line",
                );
            }
            if line.len() > LONGEST_LINE {
                self.parser.u_boot.cut();
            }
            for line in line.chunks(LONGEST_LINE) {
                // A carriage return ends a line in Syslinux, wherever it stands. Nothing makes one of two lines: in no reader.
                let line = line.split(|&byte| byte == b'\r').next().unwrap_or_default();
                let has_controls = line.iter().any(|&byte| is_odd(byte));
                let line = readable(line, ' ');
                let line = line.trim_start_matches(is_blank);
                if has_controls && !self.parser.is_for_people(line) {
                    self.doubt(
                        url,
                        number,
                        "for Syslinux, a control character ends a word and begins the next",
                    );
                }
                self.alone &= is_of_a_label(line);
                let insert = self.parser.line(line).map_err(bound)?;
                let Some(insert) = insert else {
                    continue;
                };
                if depth >= MAX_DEPTH {
                    return Err(bound(Bound::Depth));
                }
                if self.includes >= MAX_INCLUDES {
                    return Err(bound(Bound::Includes));
                }
                if self.requests >= MAX_REQUESTS {
                    return Err(bound(Bound::Requests));
                }
                self.insert(insert, rest, depth, get, &bound)?;
            }
        }
        if self.parser.end_text() {
            warn!(
                "menu: {}: TEXT without ENDTEXT, all that follows it is skipped",
                url
            );
        }
        Ok(())
    }

    /// Says why nothing boots without a person.
    fn doubt(&mut self, url: &Url, number: usize, why: &str) {
        warn!(
            "menu: {}: line {}: {}: nothing boots without a person",
            url, number, why
        );
        self.parser.doubtful = true;
    }

    /// Reads what stands for a line into `room`.
    fn insert(
        &mut self,
        insert: Insert,
        room: &mut [u8],
        depth: usize,
        get: &mut Get<'_>,
        bound: &dyn Fn(Bound) -> Fault,
    ) -> Result<(), Fault> {
        self.requests = self.requests.saturating_add(1);
        let (Insert::Menu { file: name, .. } | Insert::Text(name)) = &insert;
        let url = resolve(&self.base, name).map_err(Fault::Url)?;
        let len = room.len().min(MAX_TEXT.saturating_sub(self.bytes));
        let window = room.get_mut(..len).unwrap_or_default();
        let got = get(&url, window);
        if !got.as_ref().is_err_and(|error| error.is_absent()) {
            self.includes = self.includes.saturating_add(1);
        }
        match (got, insert) {
            (Ok(response), Insert::Menu { tag, .. }) => {
                if let Some(tag) = &tag {
                    self.parser.begin(tag).map_err(bound)?;
                }
                self.parser.u_boot.include(tag.as_deref());
                let page = self.parser.page();
                let text = verified(&response, window, true)?;
                self.file(&text, window, depth.saturating_add(1), get)?;
                self.parser.go_on(page);
                self.parser.u_boot.include(None);
                if tag.is_some() {
                    self.parser.end();
                }
            }
            (Ok(response), Insert::Text(_)) => match text_lines(&response, window) {
                Ok(lines) => lines.iter().for_each(|line| self.parser.say(line)),
                Err(fault) => warn!("menu: DISPLAY skipped: {}", fault),
            },
            // Syslinux goes on without it.
            (Err(error), Insert::Text(_)) => warn!("menu: DISPLAY skipped: {}", error),
            // A failure may be gone next time, and an entry missing until then.
            (Err(error), Insert::Menu { tag, .. }) if error.is_absent() => {
                warn!("menu: INCLUDE skipped: {}", error);
                self.parser.u_boot.absent();
                // Its submenu is there all the same, and may be the first entry: then the clock boots nothing.
                if let Some(tag) = tag {
                    self.parser.begin_absent(&tag).map_err(bound)?;
                }
            }
            (Err(error), Insert::Menu { .. }) => return Err(Fault::Fetch(error)),
        }
        Ok(())
    }

    /// The finished menu.
    fn menu(self, url: &Url, asks: bool) -> Result<Menu, Fault> {
        let Self {
            parser, base, alone, ..
        } = self;
        if parser.skipped > 0 {
            warn!(
                "menu: {} lines of {} skipped, the first is: {}",
                parser.skipped,
                url,
                shortened(&parser.first_skipped)
            );
        }
        assemble(parser, url.clone(), base, asks, alone).ok_or_else(|| Fault::NoEntries(url.clone()))
    }
}

/// Whether it is a control character that Syslinux takes for a blank in some places only (D-160).
fn is_odd(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\t' | 0x0b | 0x0c)
}

/// Whether a line means nothing to anybody.
fn says_nothing(line: &[u8]) -> bool {
    matches!(line.trim_ascii_start().first(), None | Some(b'#'))
}

/// A line as text, with this in the place of control characters. Those beyond ASCII are as foreign as bytes that are no text.
fn readable(line: &[u8], instead: char) -> Cow<'_, str> {
    let line = String::from_utf8_lossy(line);
    let is_control = |c: char| c.is_control() && c != '\t';
    if line.contains(is_control) {
        let clean = |c: char| match c {
            c if is_control(c) && c.is_ascii() => instead,
            c if is_control(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        return Cow::Owned(line.chars().map(clean).collect());
    }
    line
}

/// Whether a line is blank or a comment, or names a label or what it boots: a text of such lines, and one label, is for one thing.
fn is_of_a_label(line: &str) -> bool {
    const KNOWN: [&str; 13] = [
        "label",
        "linux",
        "kernel",
        "initrd",
        "append",
        "sysappend",
        "ipappend",
        "fdt",
        "fdtdir",
        "fdtoverlays",
        "devicetree",
        "devicetreedir",
        "devicetree-overlay",
    ];
    let (first, _) = word(line);
    let is_known = KNOWN.iter().any(|known| first.eq_ignore_ascii_case(known));
    is_known || first.is_empty() || first.starts_with('#')
}

#[cfg(test)]
pub(super) mod tests {
    use alloc::collections::BTreeMap;

    use smoltcp::time::Duration;

    use super::super::bounds::MAX_ENTRIES;
    use super::super::{Action, Boot, Display, Editing, Entry, Key, Next, Page, Pick, Unsupported};
    use super::*;
    use crate::fetch;
    use crate::hal::tests::board;
    use crate::lease::tests::lease;

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
        let text = verified(&response, &scratch, false)?;
        parse(&text, None, &mut scratch, &mut |url, into| {
            let text = files.get(url.path()).copied().unwrap_or(b"# nothing\n");
            into[..text.len()].copy_from_slice(text);
            Ok(Response {
                url: url.clone(),
                len: text.len(),
            })
        })
    }

    pub(in super::super) fn menu(text: &str) -> Menu {
        bytes(text.as_bytes())
    }

    pub(in super::super) fn bytes(text: &[u8]) -> Menu {
        parse_with(text, &BTreeMap::new()).unwrap()
    }

    fn clock(menu: &Menu) -> Option<usize> {
        menu.on_timeout.as_ref().map(|pick| pick.entry)
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
        // MENU DEFAULT is for menu modules, and none is named.
        assert_eq!((&menu.default, clock(&menu)), (&Pick::plain(0), Some(0)));
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
    fn nixos_writes_a_negative_timeout_for_no_end() {
        let text = "MENU TITLE ---\nTIMEOUT -10\nDEFAULT n 2 (x)\nLABEL n 1\nLINUX ../a\nLABEL n 2 (x)\nLINUX ../b\nFDTDIR ../d\nINITRD\n";
        let menu = menu(text);
        assert_eq!(
            (menu.display, menu.timeout, menu.total),
            (Display::Shown, None, None)
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
            .on_timeout
            .unwrap()
        };
        assert_eq!(entry("linux"), Pick::plain(3));
        assert_eq!(entry("Fedora"), Pick::plain(1));
        let other = menu(
            "DEFAULT Fedora 24
LABEL x
LABEL Fedora 22
",
        );
        assert_eq!(
            clock(&other),
            None,
            "another version is not the one that was meant"
        );
        let exact = menu("DEFAULT Fedora 23\nLABEL x\nLABEL Fedora 23\nLABEL Fedora 22\n");
        assert_eq!(clock(&exact), Some(1));
        let behind = menu("DEFAULT Fedora 23\nLABEL x\nLABEL Fedora 22\nLABEL Fedora 23\n");
        assert_eq!(clock(&behind), None, "Syslinux takes the first of them");
    }

    #[test]
    fn default_and_ontimeout_can_add_arguments() {
        let menu = menu("PROMPT 1\nDEFAULT a  single 3\nONTIMEOUT a quiet\nLABEL a\nLINUX k\n");
        assert_eq!(
            (
                menu.default.arguments.as_str(),
                menu.on_timeout.as_ref().unwrap().arguments.as_str()
            ),
            ("single 3", "quiet")
        );
    }

    #[test]
    fn timeouts_are_tenths_and_bounded() {
        for (text, timeout) in [
            ("TIMEOUT 15", Some(Duration::from_millis(1500))),
            ("TIMEOUT 0", None),
            ("TIMEOUT 36001", Some(Duration::from_secs(3_600))),
            ("TIMEOUT 9223372036854775807", Some(Duration::from_secs(3_600))),
            ("TIMEOUT 99999999999999999999", Some(Duration::from_secs(3_600))),
            ("TIMEOUT 15x", Some(Duration::from_millis(1500))),
            ("TIMEOUT 50\nTIMEOUT soon", None),
            ("TIMEOUT -1", None),
            ("# none", None),
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

    /// The pages as lines: each entry by what is shown, `*` at the selected one.
    fn pages(menu: &Menu) -> Vec<String> {
        let page = |page: &Page| {
            let lines = page.lines.iter().enumerate().map(|(at, &line)| {
                let mark = if at == page.selected { "*" } else { "" };
                format!("{}{mark}", menu.entries[line].shown())
            });
            let lines: Vec<_> = lines.collect();
            format!("{}: {}", page.title.as_deref().unwrap_or("-"), lines.join(", "))
        };
        menu.pages.iter().map(page).collect()
    }

    #[test]
    fn submenus_are_pages_with_an_entry_in_their_parent() {
        let menu = menu(
            "UI menu.c32\nMENU TITLE Top\nAPPEND global\nLABEL a\nLINUX k\n\
             MENU BEGIN one\nMENU TITLE First\nMENU INDENT 2\nTEXT HELP\nmore\nENDTEXT\nAPPEND inner\n\
             LABEL b\nLINUX k\nTIMEOUT 9\nLABEL c\nMENU DEFAULT\nLINUX k\n\
             MENU BEGIN\nMENU LABEL ^Deep\nMENU TITLE Third\nMENU LABEL Dee^per\nLABEL up\nMENU EXIT\nLABEL top\nMENU EXIT .top\nMENU END\nMENU END\n\
             LABEL d\nMENU GOTO one\nLABEL e\nMENU GOTO nowhere\nLABEL q\nMENU QUIT\nLABEL h\nMENU HELP help.txt pic.png\nLABEL z\nLINUX k\n",
        );
        assert_eq!(
            pages(&menu),
            [
                "Top: a*, First, d, e, q, h, z",
                "First: b, c*, Deeper",
                "Third: up*, top"
            ]
        );
        let parents: Vec<_> = menu.pages.iter().map(|page| page.parent).collect();
        assert_eq!(parents, [None, Some(0), Some(1)]);
        let action = |name: &str| {
            let entry = menu.entries.iter().find(|entry| entry.name == name);
            entry.unwrap().action.clone()
        };
        assert_eq!(action("one"), Action::Page(1));
        assert_eq!(action("up"), Action::Page(1));
        assert_eq!(action("top"), Action::Page(0));
        assert_eq!(action("d"), Action::Page(1));
        assert_eq!(
            action("e"),
            Action::Unsupported(Unsupported::NoPage("nowhere".into()))
        );
        assert_eq!(action("q"), Action::Quit);
        assert_eq!(action("h"), Action::Text("help.txt".into()));
        let one = menu.entries.iter().find(|entry| entry.name == "one").unwrap();
        assert_eq!((one.indent, &*one.help), (2, &["more".to_owned()][..]));
        let append = |name: &str| match action(name) {
            Action::Boot(boot) => boot.append.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(append("b"), "inner");
        assert_eq!(append("z"), "inner", "there is one for the whole text");
        assert_eq!(menu.timeout, None, "it is the submenu's");
    }

    #[test]
    fn an_unclosed_submenu_and_one_end_too_many_lose_nothing() {
        let menu = menu("LABEL a\nMENU END\nMENU BEGIN x\nLABEL b\n");
        assert_eq!(pages(&menu), ["-: a*, x", "-: b*"]);
        let many = "MENU BEGIN\n".repeat(100);
        assert_eq!(
            fault(many.as_bytes()),
            format!("{URL}: line 64: more than 63 submenus")
        );
    }

    #[test]
    fn what_an_entry_looks_like_and_what_cannot_be_chosen() {
        let menu = menu(
            "MENU TITLE t\nLABEL h\nMENU DISABLE\nMENU LABEL Systems\nMENU SEPARATOR\nLABEL a\nMENU INDENT 3\nLINUX k\nMENU PASSWD secret\n\
             TEXT HELP\nLABEL x\nENDTEXT\nMENU IMMEDIATE\nLABEL b\nMENU HIDE\nLINUX k\nLABEL c\nMENU LABEL ^C\nLINUX k\n",
        );
        assert_eq!(pages(&menu), ["t: Systems, , a*, C"]);
        let selectable: Vec<_> = menu.entries.iter().map(Entry::selectable).collect();
        assert_eq!(selectable, [false, false, true, true, true]);
        let a = &menu.entries[2];
        assert_eq!(
            (a.indent, &*a.help, a.immediate),
            (3, &["LABEL x".to_owned()][..], false)
        );
        assert!(!menu.opens(a, "") && menu.opens(a, "secret") && menu.opens(&menu.entries[4], ""));
        assert!(menu.entries[4].immediate);
        assert_eq!(menu.entries[3].name, "b", "hidden, but there");
    }

    #[test]
    fn the_page_of_the_default_or_of_menu_start_is_shown_first() {
        let text = "LABEL a\nLINUX k\nLABEL b\nMENU HIDE\nLINUX k\nMENU BEGIN s\nLABEL c\nLINUX k\nLABEL d\nLINUX k\nMENU END\n";
        for (head, default, start) in [
            ("PROMPT 1\nDEFAULT b\n", 1, 0),
            ("PROMPT 1\nDEFAULT d\n", 4, 1),
            ("UI menu.c32\nDEFAULT d\n", 4, 1),
            ("UI menu.c32\nDEFAULT b\n", 0, 0),
        ] {
            let menu = menu(&format!("{head}{text}"));
            assert_eq!((menu.default.entry, menu.start), (default, start), "{head}");
        }
        let started = menu(&format!(
            "UI menu.c32\n{}",
            text.replace("MENU BEGIN s", "MENU BEGIN s\nMENU START")
        ));
        assert_eq!((started.start, started.default.entry), (1, 3));
    }

    #[test]
    fn a_total_timeout_is_the_end_and_there_is_one_wherever_there_is_a_timeout() {
        for (text, total) in [
            ("", None),
            ("TIMEOUT 50", Some(600)),
            ("TIMEOUT 12000", Some(1200)),
            ("TIMEOUT 50\nTOTALTIMEOUT 300", Some(30)),
            ("TIMEOUT 0\nTOTALTIMEOUT 300", Some(30)),
            ("TIMEOUT 50\nTOTALTIMEOUT 0", Some(600)),
            ("TIMEOUT 0", None),
        ] {
            let menu = menu(&format!("PROMPT 1\n{text}\nLABEL a\n"));
            assert_eq!(menu.total, total.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn commands_in_the_place_of_labels() {
        let kernel = |menu: &Menu, pick: &Pick| match &menu.entries[pick.entry].action {
            Action::Boot(boot) => format!("{} {} {}", boot.kernel, boot.append, pick.arguments),
            other => format!("{other:?}"),
        };
        let text = "APPEND quiet\nLABEL a\nLINUX k\n";
        let one = menu(&format!(
            "PROMPT 1\nDEFAULT boot/Image single\nONTIMEOUT ::x/Image\nONERROR rescue/Image r\n{text}"
        ));
        assert_eq!(kernel(&one, &one.default), "boot/Image quiet single");
        assert_eq!(kernel(&one, one.on_timeout.as_ref().unwrap()), "::x/Image quiet ");
        assert_eq!(
            kernel(&one, one.on_error.as_ref().unwrap()),
            "rescue/Image quiet r"
        );
        assert_eq!(pages(&one), ["-: a*"], "they are on no page");
        let strict = menu(&format!("IMPLICIT 0\nDEFAULT boot/Image\n{text}"));
        assert_eq!(
            kernel(&strict, &strict.default),
            "Unsupported(NoLabel(\"boot/Image\"))"
        );
        let alone = menu("DEFAULT linux root=/dev/nfs\nAPPEND quiet\n");
        assert_eq!(kernel(&alone, &alone.default), "linux quiet root=/dev/nfs");
        assert_eq!(
            fault(b"Default page of this server\nIt works!\n"),
            format!("{URL}: not a PXELINUX menu, it has no LABEL")
        );
        let fallback = menu("FALLBACK b\nLABEL a\nLABEL b\n");
        assert_eq!(
            (fallback.on_error, fallback.default),
            (None, Pick::plain(0)),
            "U-Boot takes it only when it counts boots that failed"
        );
    }

    #[test]
    fn onerror_gets_the_command_line_that_failed() {
        let menu = menu("DEFAULT a one two\nONERROR b why\nLABEL a\nLABEL b\n");
        let after = menu.after(&menu.default).unwrap();
        assert_eq!((after.entry, &*after.arguments), (1, "why a one two"));
        assert_eq!(menu.after(&after), None, "not for itself");
    }

    #[test]
    fn menus_in_other_files() {
        let load = |files: &[&str], directory: Option<&str>, asks| {
            Action::Load(Load {
                files: files.iter().map(|file| (*file).to_owned()).collect(),
                directory: directory.map(ToOwned::to_owned),
                asks,
            })
        };
        let menu = menu(
            "MENU TITLE t\nLABEL a\nKERNEL vesamenu.c32\nAPPEND other.cfg\nLABEL b\nCOM32 menu.c32\nAPPEND one ~\n\
             LABEL c\nCONFIG cfg/x\nAPPEND cfg\nLABEL d\nKERNEL menu.c32\nLABEL e\nKERNEL chain.c32\nAPPEND hd0\nLABEL f\nCONFIG y\n",
        );
        let actions: Vec<_> = menu.entries.iter().map(|entry| entry.action.clone()).collect();
        assert_eq!(
            actions,
            [
                load(&["other.cfg"], None, true),
                load(&["one", "~"], None, true),
                load(&["cfg/x"], Some("cfg"), false),
                Action::Page(0),
                Action::Unsupported(Unsupported::PcProgram("chain.c32".into())),
                load(&["y"], None, false),
            ]
        );
        for head in [
            "DEFAULT a\n",
            "UI vesamenu.c32 other.cfg\n",
            "DEFAULT menu.c32 other.cfg\n",
        ] {
            let menu = self::menu(&format!(
                "{head}TIMEOUT 0\nLABEL a\nKERNEL menu.c32\nAPPEND other.cfg\n"
            ));
            let entry = &menu.entries[clock(&menu).unwrap()];
            assert_eq!(
                (menu.display, &entry.action),
                (Display::AtOnce, &load(&["other.cfg"], None, true)),
                "{head}"
            );
        }
    }

    #[test]
    fn what_stands_behind_a_label_goes_to_the_menu_that_it_leads_to() {
        let load = |text: &str| {
            let menu = menu(text);
            let pick = menu.on_timeout.as_ref().unwrap();
            match menu.leads(pick, &lease(), &board()) {
                Ok(Next::Menu(load)) => Ok((load.files.join(" "), load.directory)),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.to_string()),
            }
        };
        let to =
            |files: &str, directory: Option<&str>| Ok((files.to_owned(), directory.map(ToOwned::to_owned)));
        let config = "LABEL a\nCONFIG x.cfg\n";
        for (text, expected) in [
            (format!("DEFAULT a\n{config}"), to("x.cfg", None)),
            (format!("DEFAULT a sub more\n{config}"), to("x.cfg", Some("sub"))),
            (
                format!("DEFAULT a sub\nAPPEND quiet splash\n{config}"),
                to("x.cfg", Some("quiet")),
            ),
            (
                format!("DEFAULT a\nAPPEND quiet\n{config}APPEND -\n"),
                to("x.cfg", None),
            ),
            (
                "DEFAULT a y.cfg ~\nLABEL a\nKERNEL menu.c32\nAPPEND x.cfg\n".into(),
                to("x.cfg y.cfg ~", None),
            ),
            // Its own menu is not the one that arguments name.
            (
                "DEFAULT a x.cfg\nTIMEOUT 50\nLABEL b\nLABEL a\nKERNEL menu.c32\n".into(),
                Err("menu: cannot boot \"a\": there is nothing to boot in it".into()),
            ),
        ] {
            assert_eq!(load(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_loaded_menu_keeps_the_base_and_is_shown() {
        let files = BTreeMap::from([
            ("/pi/sub/one", &b"LABEL a\nLINUX k\n"[..]),
            ("/pi/two", b"LABEL b\nLINUX k\n"),
        ]);
        let menu = parse_with(b"LABEL x\n", &files).unwrap();
        let mut scratch = vec![0; 4096];
        let mut load = |names: &[&str], directory: Option<&str>, asks| {
            let load = Load {
                files: names.iter().map(|name| (*name).to_owned()).collect(),
                directory: directory.map(ToOwned::to_owned),
                asks,
            };
            super::load(&load, &menu, &mut scratch, &mut |url, into| {
                let text = files.get(url.path()).copied().unwrap_or(b"LABEL ~\n");
                into[..text.len()].copy_from_slice(text);
                Ok(Response {
                    url: url.clone(),
                    len: text.len(),
                })
            })
            .unwrap()
        };
        let both = load(&["sub/one", "two", "~"], None, true);
        let names: Vec<_> = both.entries.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["a", "b", "~"]);
        assert_eq!(
            (both.display, both.base.path(), both.url.path()),
            (Display::Shown, "/pi/", "/pi/sub/one")
        );
        let config = load(&["sub/one"], Some("sub"), false);
        assert_eq!(
            (config.display, config.base.path()),
            (Display::AtOnce, "/pi/sub/")
        );
    }

    #[test]
    fn all_files_of_a_menu_share_its_bytes() {
        let text = format!(
            "INCLUDE a\nINCLUDE b\n# {}\nLABEL x\nKERNEL x\n",
            "x".repeat(1000)
        );
        let mut scratch = text.clone().into_bytes();
        scratch.resize(1 << 20, 0);
        let response = Response {
            url: Url::parse(URL).unwrap(),
            len: text.len(),
        };
        let verified = verified(&response, &scratch, false).unwrap();
        let mut rooms = Vec::new();
        let menu = parse(&verified, None, &mut scratch, &mut |url, into| {
            rooms.push(into.len());
            into[..100].fill(b'#');
            Ok(Response {
                url: url.clone(),
                len: 100,
            })
        });
        assert_eq!(menu.unwrap().entries.len(), 1);
        assert_eq!(rooms, [MAX_TEXT - text.len(), MAX_TEXT - text.len() - 100]);
    }

    #[test]
    fn blank_lines_and_remarks_put_nothing_in_doubt() {
        for (remark, boots) in [("", true), ("# DEFAULT x", true), ("#", true), ("odd", false)] {
            let menu = parse_with(
                format!("{remark}\n\nDEFAULT linux quiet\n").as_bytes(),
                &BTreeMap::new(),
            );
            let booted = menu
                .ok()
                .and_then(|menu| clock(&menu).map(|entry| menu.entries[entry].shown().to_owned()));
            assert_eq!(booted.as_deref(), boots.then_some("linux"), "{remark:?}");
        }
    }

    #[test]
    fn sixteen_hidden_keys_are_kept() {
        let keys: Vec<String> = ('a'..='q').map(String::from).collect();
        let menu = menu(&format!(
            "MENU HIDDENKEY {} a\nLABEL a\nKERNEL a\n",
            keys.join(",")
        ));
        let kept: Vec<Key> = menu.hidden_keys.into_iter().map(|(key, _)| key).collect();
        let first: Vec<Key> = (b'a'..=b'p').map(Key::Byte).collect();
        assert_eq!(kept, first);
    }

    #[test]
    fn the_rest_of_a_menu_as_it_was_written() {
        let menu = menu(
            "ALLOWOPTIONS 0\nNOESCAPE 1\nMENU CLEAR\nMENU AUTOBOOT In # s\nMENU NOTABMSG\nMENU PASSPROMPT Who?\n\
             MENU MASTER PASSWD m\nMENU HIDDEN\nMENU HIDDENKEY F2,x b quick\nF1 help.txt\nLABEL a\nLABEL b\nMENU SAVE\n\
             KASLRSEED\nFDTDIR /dtbs\nFDTOVERLAYS a.dtbo b.dtbo\nOVERLAYS c.dtbo\nDEVICETREE\n",
        );
        assert_eq!(
            (menu.editing, menu.leaves, menu.clears),
            (Editing::Forbidden, false, true)
        );
        assert_eq!(menu.texts.countdown(3).as_deref(), Some("In 3 s"));
        assert_eq!(
            (menu.texts.editing.as_deref(), menu.texts.password.as_deref()),
            (Some(""), Some("Who?"))
        );
        let quick = Pick {
            entry: 1,
            arguments: "quick".into(),
            line: None,
        };
        assert_eq!(
            menu.hidden_keys,
            [(Key::Function(2), quick.clone()), (Key::Byte(b'x'), quick)]
        );
        assert_eq!(menu.function_keys[0].as_deref(), Some("help.txt"));
        assert!(menu.master.is_some());
        let boot = boot(&menu, 1);
        assert_eq!(
            (boot.device_trees.as_deref(), &*boot.overlays),
            (Some("/dtbs"), "a.dtbo b.dtbo c.dtbo")
        );
        assert_eq!(boot.device_tree, None, "an empty value is none");
    }

    #[test]
    fn options_may_be_allowed_again_and_only_a_line_that_begins_so_is_a_comment() {
        let menu =
            menu("ALLOWOPTIONS 0\nALLOWOPTIONS 1\nLABEL a\nLINUX k\nAPPEND one #\n# LABEL b\n#LABEL c\n");
        assert_eq!(menu.editing, Editing::Allowed);
        assert_eq!((menu.entries.len(), &*boot(&menu, 0).append), (1, "one #"));
    }

    #[test]
    fn a_line_ends_where_it_ends() {
        let menu = menu(
            "# C:\\boot\\\nDEFAULT b\nLABEL a\nAPPEND one \\\nLINUX k\nLABEL b\nMENU LABEL /\\/\\\nLINUX l\\\nAPPEND x\ry\n",
        );
        assert_eq!(
            (&*boot(&menu, 0).append, &*boot(&menu, 0).kernel),
            ("one \\", "k")
        );
        assert_eq!((&*boot(&menu, 1).append, &*boot(&menu, 1).kernel), ("x", "l\\"));
        assert_eq!(clock(&menu), Some(1), "behind a comment, too");
    }

    #[test]
    fn includes_with_a_tag_are_submenus_and_display_is_text() {
        let files = BTreeMap::from([
            (
                "/pi/more",
                &b"MENU TITLE More\nLABEL b\nMENU BEGIN deep\nLABEL c\n"[..],
            ),
            (
                "/pi/boot.msg",
                b"\x0c\x0f07Hello\x0f0f you\r\n\x18splash.lss\nbye\x1aLABEL no\n",
            ),
        ]);
        let text = b"MENU TITLE t\nDISPLAY boot.msg\nLABEL a\nINCLUDE more tag\nLABEL d\n";
        let menu = parse_with(text, &files).unwrap();
        // The file has left a submenu open: as in Syslinux, the one that ends with it is that one.
        assert_eq!(pages(&menu), ["t: a*, More", "More: b*, deep, c, d", "-: "]);
        assert_eq!(menu.messages, ["Hello you", "bye"]);
    }

    #[test]
    fn a_page_in_place_of_a_text_is_not_shown() {
        let text = b"SAY one\nDISPLAY boot.msg\nLABEL a\n";
        for (file, messages) in [
            (&b"<html><body>Not found"[..], &["one"][..]),
            (b"<F1> helps", &["one", "<F1> helps"]),
        ] {
            let menu = parse_with(text, &BTreeMap::from([("/pi/boot.msg", file)])).unwrap();
            assert_eq!(menu.messages, messages);
        }
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
        let text = b"LABEL a\nMENU INCLUDE pxelinux.cfg/more\nLABEL c\n";
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
            format!("{URL}: line 513: more than 512 INCLUDEs")
        );
    }

    /// Parses `text` when each file it names is answered with this status.
    fn parse_when(status: u16, text: &str) -> Result<Menu, Fault> {
        let mut scratch = text.as_bytes().to_vec();
        let (url, len) = (Url::parse(URL).unwrap(), text.len());
        let text = verified(&Response { url, len }, &scratch, false)?;
        parse(&text, None, &mut scratch, &mut |url, _| Err(no(status, url)))
    }

    fn no(status: u16, url: &Url) -> fetch::Error {
        fetch::Error {
            method: fetch::Method::Get,
            url: url.clone(),
            reason: fetch::Reason::Status {
                code: status,
                phrase: "no".into(),
            },
        }
    }

    #[test]
    fn what_is_absent_costs_a_request_and_counts_as_one() {
        let many = |count| format!("{}LABEL a\n", "MENU INCLUDE x\n".repeat(count));
        assert!(parse_when(404, &many(MAX_REQUESTS)).is_ok());
        assert_eq!(
            parse_when(404, &many(MAX_REQUESTS + 1)).unwrap_err().to_string(),
            format!("{URL}: line 2049: more than 2048 INCLUDEs, those counted that are not there")
        );
        // Kept from us is not absent.
        for status in [401, 403, 500] {
            assert!(
                matches!(parse_when(status, &many(1)), Err(Fault::Fetch(_))),
                "{status}"
            );
        }
    }

    #[test]
    fn what_is_absent_leaves_no_label_alone() {
        assert_eq!(clock(&parse_when(404, "LABEL install\n").unwrap()), Some(0));
        let menu = parse_when(404, "INCLUDE local\nLABEL install\n").unwrap();
        assert_eq!(clock(&menu), None);
    }

    #[test]
    fn of_several_files_those_that_are_there_are_the_menu() {
        let menu = menu("LABEL x\n");
        let load = |names: &[&str]| {
            let load = Load {
                files: names.iter().map(|name| (*name).to_owned()).collect(),
                directory: None,
                asks: true,
            };
            super::load(&load, &menu, &mut [0; 4096], &mut |url, into| {
                let text: &[u8] = match url.path() {
                    "/pi/a" => b"LABEL a\n",
                    "/pi/b" => b"\xef\xbb\xbfLABEL b\n",
                    "/pi/empty" => b"",
                    "/pi/trouble" => return Err(no(503, url)),
                    "/pi/secret" => return Err(no(403, url)),
                    _ => return Err(no(404, url)),
                };
                into[..text.len()].copy_from_slice(text);
                Ok(Response {
                    url: url.clone(),
                    len: text.len(),
                })
            })
            .map(|menu| {
                let names: Vec<_> = menu.entries.iter().map(|entry| &*entry.name).collect();
                format!("{} {}", menu.url.path(), names.join(" "))
            })
            .map_err(|fault| fault.to_string())
        };
        let get = |path: &str, status| format!("fetch: GET http://192.0.2.1/pi/{path}: {status} no");
        for (files, result) in [
            (
                &["none", "a", "gone", "b", "empty"][..],
                Ok("/pi/a a b".to_owned()),
            ),
            (&["empty", "b"], Ok("/pi/empty b".into())),
            (&["none"], Err(get("none", 404))),
            (&["none", "gone"], Err(get("none", 404))),
            (&["a", "trouble"], Err(get("trouble", 503))),
            (&["a", "secret"], Err(get("secret", 403))),
            (
                &["none", "empty"],
                Err("http://192.0.2.1/pi/empty: not a PXELINUX menu, it has no LABEL".into()),
            ),
        ] {
            assert_eq!(load(files), result, "{files:?}");
        }
    }

    #[test]
    fn marks_returns_and_blanks_around_lines_change_nothing() {
        let plain = menu("DEFAULT b\nLABEL a\nLINUX k one two\nLABEL b\nLINUX k\n");
        for text in [
            "\u{feff}\nDEFAULT b\nLABEL a\nLINUX k one two\nLABEL b\nLINUX k",
            "\u{feff} # note\nDEFAULT b\nLABEL a\nLINUX k one two\nLABEL b\nLINUX k",
            "DEFAULT b\r\nLABEL a\r\nLINUX k one two\r\nLABEL b\r\nLINUX k\r\n",
            "\tDEFAULT\tb\t\n\n LABEL \ta \n\t\tLINUX\t k one two\n LABEL\tb\nLINUX k\n\t\n",
            "DEFAULT b\rLABEL c\nLABEL a\nLINUX k one two\r three\nLABEL b\n\rLINUX x\nLINUX k\r\r\n",
        ] {
            assert_eq!(menu(text), plain, "{text:?}");
        }
    }

    #[test]
    fn lines_are_as_long_as_in_syslinux_and_a_mark_is_a_part_of_one() {
        let rest = "LABEL a\nLABEL b\n";
        let long = |bytes: usize| {
            let comment = "x".repeat(bytes - 1);
            clock(&menu(&format!(
                "UI menu.c32\nTIMEOUT 50\n#{comment}DEFAULT b\n{rest}"
            )))
        };
        assert_eq!([4094, 4095, 4096].map(long), [Some(0), Some(1), Some(0)]);
        let u_boot = |comment: usize| {
            let comment = "x".repeat(comment);
            clock(&menu(&format!(
                "DEFAULT b\n#{comment}\nLABEL a\nKERNEL a\nFDT -\nLABEL b\nKERNEL b\n"
            )))
        };
        assert_eq!([4094, 4095].map(u_boot), [Some(1), None]);
        let marked = menu(&format!("\u{feff}DEFAULT b\n{rest}"));
        assert_eq!((clock(&marked), &marked.default), (None, &Pick::plain(1)));
        let elsewhere = menu(&format!("\u{feff}UI menu.c32 other.cfg\n{rest}"));
        assert_eq!((clock(&elsewhere), elsewhere.display), (None, Display::Shown));
    }

    #[test]
    fn an_included_file_begins_and_ends_submenus_for_those_behind_it() {
        let boots = |text: &str, file: &str| {
            let files = BTreeMap::from([("/pi/x", file.as_bytes())]);
            let text = format!("UI menu.c32\nTIMEOUT 50\n{text}").replace("; ", "\n");
            let menu = parse_with(text.as_bytes(), &files).unwrap();
            menu.on_timeout.map(|pick| menu.entries[pick.entry].name.clone())
        };
        let begun = "MENU BEGIN s; INCLUDE x; ONTIMEOUT b; LABEL b; MENU END; LABEL a; MENU DEFAULT";
        let open = "INCLUDE x; LABEL a; MENU DEFAULT; LABEL b";
        let even = "MENU BEGIN z\nLABEL q\nMENU END\n";
        for (text, file, expected) in [
            (begun, "MENU END\n", Some("a")),
            (begun, even, Some("a")),
            (
                "MENU BEGIN s; INCLUDE x; LABEL a; MENU DEFAULT; LABEL b",
                "MENU END\n",
                None,
            ),
            // The label is on the page of the line that ends it.
            (open, "MENU BEGIN z\nLABEL q\n", Some("a")),
            (open, even, Some("a")),
            // There is nothing to end.
            (open, "MENU END\n", Some("a")),
            (
                "INCLUDE x s; LABEL a; MENU DEFAULT; LABEL b",
                "MENU BEGIN z\nLABEL q\n",
                None,
            ),
            ("INCLUDE x s; LABEL a; MENU DEFAULT", even, Some("a")),
            // The menu's own end ends all that is open.
            ("LABEL a; MENU BEGIN s; LABEL b", "", Some("a")),
        ] {
            assert_eq!(boots(text, file).as_deref(), expected, "{text}: {file}");
        }
    }

    #[test]
    fn a_label_that_an_include_with_a_tag_cuts_short_is_in_doubt_on_the_command_line() {
        let boots = |text: &str, file: &str| {
            let files = BTreeMap::from([("/pi/x", file.as_bytes())]);
            clock(&parse_with(text.as_bytes(), &files).unwrap())
        };
        for (head, text, file, expected) in [
            ("DEFAULT a\n", "LABEL a\nINCLUDE x t\n", "KERNEL /k\n", None),
            (
                "DEFAULT a\n",
                "LABEL a\nINCLUDE x t\nKERNEL /k\n",
                "# none\n",
                None,
            ),
            (
                "DEFAULT a\n",
                "LABEL a\nINCLUDE x t\nAPPEND k\n",
                "# none\n",
                None,
            ),
            (
                "DEFAULT a\n",
                "LABEL a\nINCLUDE x t\nMENU DISABLE\n",
                "# none\n",
                None,
            ),
            (
                "DEFAULT a\n",
                "LABEL a\nINCLUDE x t\nTIMEOUT 50\n",
                "LABEL b\n",
                Some(0),
            ),
            (
                "DEFAULT a\n",
                "LABEL a\nMENU INCLUDE x t\nKERNEL /k\n",
                "# none\n",
                Some(0),
            ),
            (
                "UI menu.c32\nTIMEOUT 50\n",
                "LABEL a\nINCLUDE x t\nKERNEL /k\n",
                "# none\n",
                Some(0),
            ),
        ] {
            assert_eq!(boots(&format!("{head}{text}"), file), expected, "{head}{text}");
        }
    }

    #[test]
    fn an_include_that_is_absent_fails_a_menu_of_u_boots() {
        for (text, expected) in [
            (
                "INCLUDE x\nDEFAULT b\nLABEL a\nKERNEL /a\nLABEL b\nKERNEL /b\n",
                Some(1),
            ),
            (
                "INCLUDE x\nDEFAULT b\nLABEL a\nKERNEL /a\nFDT -\nLABEL b\nKERNEL /b\n",
                None,
            ),
        ] {
            assert_eq!(clock(&parse_when(404, text).unwrap()), expected, "{text}");
        }
        let included = "DEFAULT b\nLABEL b\nKERNEL /b\nFDT -\n";
        assert_eq!(clock(&menu(&format!("INCLUDE x\n{included}"))), Some(0));
        assert_eq!(clock(&menu(&format!("INCLUDE x tag\n{included}"))), None);
    }

    #[test]
    fn what_a_submenu_says_of_keys_ends_with_it() {
        let menu = menu(
            "LABEL a\nLINUX k\nMENU BEGIN\nMENU IMMEDIATE\nLABEL b\nLINUX k\nMENU END\nLABEL c\nLINUX k\n\
             MENU IMMEDIATE\nMENU BEGIN\nLABEL d\nLINUX k\nMENU NOIMMEDIATE\nLABEL e\nLINUX k\nMENU END\n\
             LABEL f\nLINUX k\n",
        );
        let of = |name: &str| menu.entries.iter().find(|entry| entry.name == name).unwrap();
        let immediate = ["a", "b", "c", "d", "e", "f"].map(|name| of(name).immediate);
        assert_eq!(immediate, [false, true, false, true, false, true]);
    }

    #[test]
    fn bounds_on_lines_and_entries_end_in_one_line() {
        let long = format!("LABEL a\nAPPEND {}\n", "x".repeat(MAX_LINE));
        assert_eq!(
            fault(long.as_bytes()),
            format!("{URL}: line 2: longer than 16384 bytes")
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
                "what resembles an iPXE script, but its first line is not #!ipxe (a byte order mark or blanks before it?)",
            ),
            (
                b"\xef\xbb\xbf#!gpxe\n",
                "what resembles an iPXE script, but its first line is not #!ipxe (a byte order mark or blanks before it?)",
            ),
            (b"\xff\xfeL\0A\0", "text in UTF-16: save it as UTF-8"),
            (
                b"DEFAULT a\rLABEL a\r",
                "text without line feeds: save it with LF or CR LF at the end of each line",
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
        assert_eq!(menu.entries[0].shown(), "Caf\u{fffd}  [2J");
        assert_eq!(
            (boot(&menu, 0).kernel.as_str(), boot(&menu, 0).arguments.as_str()),
            ("k", "ro")
        );
    }

    /// What any menu must satisfy, whatever it was made of. Whether it is one.
    fn check(text: &[u8]) -> bool {
        let files = BTreeMap::from([("/pi/debian/linux", INSTALLER.as_bytes())]);
        let result = parse_with(text, &files);
        if let Ok(menu) = &result {
            assert!(menu.default.entry < menu.entries.len(), "{text:?}");
            assert!(
                clock(menu).is_none_or(|entry| entry < menu.entries.len()),
                "{text:?}"
            );
            // What DEFAULT and its like name adds to them.
            assert!(menu.entries.len() <= MAX_ENTRIES + 20, "{text:?}");
            assert!(menu.start < menu.pages.len(), "{text:?}");
            for page in &menu.pages {
                assert!(
                    page.parent.is_none_or(|parent| parent < menu.pages.len()),
                    "{text:?}"
                );
                assert!(
                    page.lines.iter().all(|line| *line < menu.entries.len()),
                    "{text:?}"
                );
            }
            for entry in &menu.entries {
                if let Action::Page(page) = entry.action {
                    assert!(page < menu.pages.len(), "{text:?}");
                }
            }
        }
        result.is_ok()
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_a_menu_or_an_error() {
        let golden = INSTALLER.as_bytes();
        let cuts = (0..golden.len()).filter(|end| check(&golden[..*end])).count();
        assert!(cuts > 1, "{cuts} of {}", golden.len());
        let mut text = golden.to_vec();
        let mut menus = 0;
        for at in 0..golden.len() {
            for byte in 0..=u8::MAX {
                text[at] = byte;
                menus += usize::from(check(&text));
            }
            text[at] = golden[at];
        }
        assert!(menus > 1, "{menus} of {}", golden.len() * 256);
    }

    #[test]
    fn random_bytes_and_random_words_are_a_menu_or_an_error() {
        let words: Vec<&str> = INSTALLER
            .split_inclusive([' ', '\n'])
            .chain([
                "MENU ",
                "INCLUDE ",
                "TEXT ",
                "^",
                "MENU BEGIN x\n",
                "MENU END\n",
                "MENU GOTO x\n",
                "MENU EXIT\n",
            ])
            .chain([
                "DEFAULT ",
                "ONTIMEOUT a/b\n",
                "KERNEL menu.c32\n",
                "MENU HIDE\n",
                "MENU PASSWD x\n",
                "\\\n",
            ])
            .collect();
        let mut state = 1_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        let mut menus = 0;
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..random() % 200).map(|_| random().to_le_bytes()[0]).collect();
            check(&bytes);
            let text: String = (0..random() % 60)
                .map(|_| words[random() % words.len()])
                .collect();
            menus += usize::from(check(text.as_bytes()));
        }
        assert!(menus > 1, "{menus} of 2000");
    }
}
