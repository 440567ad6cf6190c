//! A menu as PXELINUX text, which must mean the same menu.

use boot::menu::{Action, Editing, Entry, Menu, Pick, Unsupported};

struct Printer {
    text: String,
}

impl Printer {
    fn line(&mut self, words: &[&str]) {
        self.text.push_str(&words.join(" "));
        self.text.push('\n');
    }

    fn some(&mut self, keyword: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.line(&[keyword, value]);
        }
    }

    /// What stands between LABEL or MENU BEGIN and the next; `title` is the submenu's that it opens.
    fn attributes(&mut self, entry: &Entry, title: Option<Option<&str>>) -> Option<()> {
        let label = entry.label.as_deref();
        let marked = with_carets(label.unwrap_or_default(), entry.hot_key);
        match (title, marked) {
            (None, marked) => {
                if label.is_some() || entry.hot_key.is_some() {
                    self.line(&["MENU LABEL", &marked?]);
                }
            }
            (Some(title), Some(marked)) => {
                self.some("MENU TITLE", title);
                if label != title || entry.hot_key.is_some() {
                    self.line(&["MENU LABEL", &marked]);
                }
            }
            (Some(title), None) => {
                // The key of an earlier label stays when the title replaces it.
                let key = char::from(entry.hot_key?).to_string();
                self.line(&["MENU LABEL", &format!("^{key}")]);
                self.line(&["MENU TITLE", title.unwrap_or_default()]);
                (label == title).then_some(())?;
            }
        }
        if entry.indent > 0 {
            self.line(&["MENU INDENT", &entry.indent.to_string()]);
        }
        if entry.disabled {
            self.line(&["MENU DISABLE"]);
        }
        if let Some(password) = &entry.password {
            self.line(&["MENU PASSWD", password.written()]);
        }
        if !entry.help.is_empty() {
            self.line(&["TEXT HELP"]);
            for line in &entry.help {
                self.text.push_str(line);
                self.text.push('\n');
            }
            self.line(&["ENDTEXT"]);
        }
        Some(())
    }

    fn action(&mut self, entry: &Entry, tags: &[&str]) -> Option<()> {
        match &entry.action {
            Action::Boot(boot) => {
                match (&*boot.kernel, &*boot.arguments) {
                    // Without a name LINUX takes the label's.
                    (kernel, "") if kernel == entry.name => self.line(&["LINUX"]),
                    (kernel, arguments) => self.line(&["LINUX", kernel, arguments]),
                }
                self.line(&["APPEND", if boot.append.is_empty() { "-" } else { &boot.append }]);
                self.line(&["SYSAPPEND", &boot.sysappend.to_string()]);
                self.some("INITRD", Some(&boot.initrds));
                self.some("FDT", boot.device_tree.as_deref());
                self.some("FDTDIR", boot.device_trees.as_deref());
                self.some("FDTOVERLAYS", Some(&boot.overlays));
            }
            Action::Page(0) => self.line(&["MENU GOTO .top"]),
            Action::Page(page) => {
                let tag = tags.get(*page).filter(|tag| **tag != ".top")?;
                // Of two pages with one tag, the reader decides which is meant.
                (tags.iter().skip(1).filter(|known| *known == tag).count() == 1).then_some(())?;
                self.line(&["MENU GOTO", tag]);
            }
            Action::Load(load) if load.asks => {
                self.line(&["KERNEL menu.c32", &load.files.join(" ")]);
                self.line(&["APPEND -"]);
                load.directory.is_none().then_some(())?;
            }
            Action::Load(load) => {
                self.line(&["CONFIG", load.files.first()?]);
                self.line(&["APPEND", load.directory.as_deref().unwrap_or("-")]);
            }
            Action::Text(file) => self.line(&["MENU HELP", file]),
            Action::Local(kind) => self.line(&["LOCALBOOT", &kind.to_string()]),
            Action::Quit => self.line(&["MENU QUIT"]),
            Action::Unsupported(Unsupported::Keyword(keyword)) => self.line(&[keyword, "x"]),
            Action::Unsupported(Unsupported::PcProgram(name)) if *name == entry.name => {
                self.line(&["KERNEL"])
            }
            Action::Unsupported(Unsupported::PcProgram(name)) => self.line(&["KERNEL", name]),
            Action::Unsupported(Unsupported::NoPage(tag)) => self.line(&["MENU GOTO", tag]),
            Action::Unsupported(_) | Action::Answer | Action::Gap => return None,
        }
        Some(())
    }
}

/// A label with `^` before the first `key` in it; none when it is not in it.
fn with_carets(label: &str, mut key: Option<u8>) -> Option<String> {
    let mut marked = String::new();
    // A caret before nothing that could be a key keeps a blank from being trimmed.
    if label.starts_with(char::is_whitespace) {
        marked.push('^');
    }
    for c in label.chars() {
        if key.is_some_and(|key| c.to_ascii_lowercase() == char::from(key)) {
            key = None;
            marked.push('^');
        }
        marked.push(c);
        if c == '^' {
            marked.push('^');
        }
    }
    if label.ends_with(char::is_whitespace) {
        marked.push('^');
    }
    key.is_none().then_some(marked)
}

/// DEFAULT's or ONERROR's line for a pick; none when no line can say it.
fn named(menu: &Menu, pick: &Pick) -> Option<String> {
    let entry = menu.entries.get(pick.entry)?;
    let first = |name: &str| menu.entries.iter().position(|entry| entry.name == name);
    (first(&entry.name)? == pick.entry && !entry.name.is_empty()).then_some(())?;
    // Nor is a submenu, or what cannot be chosen, found by a name, or is what only a person can take a default.
    let only_for_people = matches!(entry.action, Action::Page(_) | Action::Quit | Action::Text(_));
    (!entry.disabled && !only_for_people).then_some(())?;
    (entry.name.trim() == entry.name).then_some(())?;
    // A name with bytes that are no text is never sure to be the one that was meant (D-159).
    (!entry.name.contains(char::REPLACEMENT_CHARACTER)).then_some(())?;
    // Nor is one that begins as another does: readers differ in how much of it they look for (D-159).
    let start = |entry: &Entry| entry.name.split([' ', '\t']).next().map(str::to_owned);
    let mut others = menu.entries.iter().filter(|other| start(other) == start(entry));
    others.all(|other| other.name == entry.name).then_some(())?;
    if pick.arguments.is_empty() {
        return Some(entry.name.clone());
    }
    let line = format!("{} {}", entry.name, pick.arguments);
    (!entry.name.contains([' ', '\t']) && first(&line).is_none()).then_some(line)
}

/// A menu's text, and whether it also says the default and what boots after an error. None for the few menus that no
/// text says: with messages that begin with a blank, or pages that cannot be named.
pub fn pxelinux(menu: &Menu) -> Option<(String, [bool; 2])> {
    let mut out = Printer { text: String::new() };
    let tenths = |time: u64| (time / 100).to_string();
    match menu.timeout.map(|timeout| timeout.total_millis()) {
        None => out.line(&["TIMEOUT 0"]),
        Some(time) => out.line(&["TIMEOUT", &tenths(time)]),
    }
    if let Some(total) = menu.total {
        out.line(&["TOTALTIMEOUT", &tenths(total.total_millis())]);
    }
    for message in &menu.messages {
        (message.trim() == message).then_some(())?;
        out.line(&["SAY", message]);
    }
    out.some("MENU AUTOBOOT", menu.texts.countdown.as_deref());
    match menu.texts.editing.as_deref() {
        None => {}
        Some("") => out.line(&["MENU NOTABMSG"]),
        Some(text) => out.line(&["MENU TABMSG", text]),
    }
    out.some("MENU PASSPROMPT", menu.texts.password.as_deref());
    for (number, file) in (1..).zip(&menu.function_keys) {
        out.some(&format!("F{number}"), file.as_deref());
    }
    if menu.editing == Editing::Forbidden {
        out.line(&["ALLOWOPTIONS 0"]);
    }
    if !menu.leaves {
        out.line(&["NOESCAPE 1"]);
    }
    if menu.clears {
        out.line(&["MENU CLEAR"]);
    }
    if let Some(master) = &menu.master {
        out.line(&["MENU MASTER PASSWD", master.written()]);
    }
    let default = named(menu, &menu.default);
    out.some("DEFAULT", default.as_deref());
    let on_error = menu.on_error.as_ref().map(|pick| named(menu, pick));
    out.some("ONERROR", on_error.clone().flatten().as_deref());
    out.some("MENU TITLE", menu.title_of(0));
    entries(menu, &mut out)?;
    Some((
        out.text,
        [default.is_some(), on_error.is_none_or(|line| line.is_some())],
    ))
}

/// The entries in their order, each in its page.
fn entries(menu: &Menu, out: &mut Printer) -> Option<()> {
    let page_of = |index: usize| menu.pages.iter().position(|page| page.lines.contains(&index));
    let openers = openers(menu, &page_of)?;
    let tag = |opener: &usize| menu.entries.get(*opener).map_or("", |entry| &*entry.name);
    // The menu itself is named in another way.
    let tags: Vec<&str> = std::iter::once("").chain(openers.iter().map(tag)).collect();
    let mut open = vec![0];
    for (index, entry) in menu.entries.iter().enumerate() {
        let page = page_of(index);
        if let Some(page) = page {
            open.contains(&page).then_some(())?;
            while open.last() != Some(&page) {
                open.pop();
                out.line(&["MENU END"]);
            }
        }
        out.line(&[if entry.immediate {
            "MENU IMMEDIATE"
        } else {
            "MENU NOIMMEDIATE"
        }]);
        if entry.action == Action::Gap {
            out.line(&["MENU SEPARATOR"]);
            continue;
        }
        if let Some(opened) = openers.iter().position(|opener| *opener == index) {
            let opened = opened + 1;
            out.line(&["MENU BEGIN", &entry.name]);
            out.attributes(entry, Some(menu.title_of(opened)))?;
            open.push(opened);
            continue;
        }
        out.line(&["LABEL", &entry.name]);
        if page.is_none() {
            out.line(&["MENU HIDE"]);
        }
        out.attributes(entry, None)?;
        out.action(entry, &tags)?;
    }
    Some(())
}

/// The entries that open the submenus, from the first.
fn openers(menu: &Menu, page_of: &dyn Fn(usize) -> Option<usize>) -> Option<Vec<usize>> {
    let mut openers = Vec::new();
    let mut from = 0;
    for (number, page) in menu.pages.iter().enumerate().skip(1) {
        let opens = |index: &usize| {
            let entry = menu.entries.get(*index);
            entry.is_some_and(|entry| entry.action == Action::Page(number)) && page_of(*index) == page.parent
        };
        let opener = (from..menu.entries.len()).find(opens)?;
        openers.push(opener);
        from = opener + 1;
    }
    Some(openers)
}

/// A page's own title.
trait Titles {
    fn title_of(&self, page: usize) -> Option<&str>;
}

impl Titles for Menu {
    fn title_of(&self, page: usize) -> Option<&str> {
        self.pages.get(page)?.title.as_deref()
    }
}
