//! Commands for menus and forms: `menu item choose`, `form present`, `login`, and those that only change colours.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::cmd_flow::key;
use super::console::{Echo, UNATTENDED};
use super::errno::{Errno, Failure};
use super::options::{Arguments, MANY, Spec, number};
use super::{Interpreter, Step};
use crate::menu::{Action, Chosen, Entry, Hold, Manners, Menu, Pick};

/// Items of all menus and forms together.
const MAX_ITEMS: usize = 4096;
/// Menus and forms.
const MAX_FORMS: usize = 64;

/// A menu, or a form: which it is shows when it is shown.
#[derive(Debug)]
pub(super) struct Form {
    name: Option<String>,
    title: String,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    /// What is chosen, or the setting that is filled in; none for a gap.
    name: Option<String>,
    text: String,
    key: u32,
    default: bool,
    secret: bool,
}

impl Interpreter<'_, '_> {
    pub(super) fn menu(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("name", 'n', true), ("delete", 'd', false)];
        let arguments = Arguments::parse(words, &specs, 0..=MANY)?;
        let name = arguments.value('n');
        if let Ok(at) = self.form(name) {
            self.remove_form(at);
        }
        if arguments.has('d') {
            return Ok(Step::Done);
        }
        if self.menus.len() >= MAX_FORMS {
            return Err(Failure::new(
                Errno::NO_MEMORY,
                format!("more than {MAX_FORMS} menus"),
            ));
        }
        self.menus.push(Form {
            name: name.map(Into::into),
            title: arguments.text(0),
            items: Vec::new(),
        });
        Ok(Step::Done)
    }

    fn form(&self, name: Option<&str>) -> Result<usize, Failure> {
        let mut forms = self.menus.iter();
        forms
            .position(|form| form.name.as_deref() == name)
            .ok_or_else(|| {
                let name = name.unwrap_or("default");
                Failure::new(Errno::NO_LIST, format!("there is no \"{name}\" menu or form"))
            })
    }

    fn remove_form(&mut self, at: usize) {
        if at < self.menus.len() {
            let form = self.menus.remove(at);
            self.items = self.items.saturating_sub(form.items.len());
        }
    }

    pub(super) fn item(&mut self, words: &[String]) -> Result<Step, Failure> {
        const SPECS: [Spec; 6] = [
            ("menu", 'm', true),
            ("form", 'f', true),
            ("key", 'k', true),
            ("default", 'd', false),
            ("secret", 's', false),
            ("gap", 'g', false),
        ];
        let arguments = Arguments::parse(words, &SPECS, 0..=MANY)?;
        let gap = arguments.has('g');
        let name = if gap { None } else { arguments.rest.first() };
        let text = arguments.text(usize::from(!gap));
        let key = arguments.value('k').map(key).transpose()?.unwrap_or(0);
        let at = self.form(arguments.value('f').or(arguments.value('m')))?;
        if self.items >= MAX_ITEMS {
            return Err(Failure::new(
                Errno::NO_MEMORY,
                format!("more than {MAX_ITEMS} items"),
            ));
        }
        if let Some(form) = self.menus.get_mut(at) {
            self.items = self.items.saturating_add(1);
            form.items.push(Item {
                name: name.cloned(),
                text,
                key,
                default: arguments.has('d'),
                secret: arguments.has('s'),
            });
        }
        Ok(Step::Done)
    }

    pub(super) fn choose(&mut self, words: &[String]) -> Result<Step, Failure> {
        const SPECS: [Spec; 5] = [
            ("menu", 'm', true),
            ("default", 'd', true),
            ("timeout", 't', true),
            ("retimeout", 'r', true),
            ("keep", 'k', false),
        ];
        let arguments = Arguments::parse(words, &SPECS, 1..=1)?;
        let name = self.settings.name_to_store(arguments.get(0))?;
        let at = self.form(arguments.value('m'))?;
        let result = self.ask(at, &arguments);
        let chosen = result.map(|entry| {
            let item = self.menus.get(at).and_then(|form| form.items.get(entry));
            item.and_then(|item| item.name.clone()).unwrap_or_default()
        });
        if !arguments.has('k') {
            self.remove_form(at);
        }
        self.settings.store_text(&name, &chosen?)?;
        Ok(Step::Done)
    }

    /// Shows the menu at `at` and returns the index of what was chosen.
    fn ask(&mut self, at: usize, arguments: &Arguments<'_>) -> Result<usize, Failure> {
        let timeout = arguments.timeout('t')?;
        let hold = arguments.timeout('r')?;
        let (Some(form), Some(url)) = (self.menus.get(at), &self.settings.facts.cwuri) else {
            return Err(Failure::new(Errno::NO_LIST, "there is no menu"));
        };
        let wanted = arguments.value('d');
        let is_default = |item: &Item| match wanted {
            Some(wanted) => item.name.as_deref() == Some(wanted),
            None => item.default,
        };
        let mut items = form.items.iter();
        let first = items
            .position(|item| item.name.is_some())
            .ok_or_else(|| Failure::new(Errno::MENU_EMPTY, "nothing in the menu can be chosen"))?;
        // The last of several, as in iPXE.
        let mut items = form.items.iter();
        let default = items
            .rposition(|item| item.name.is_some() && is_default(item))
            .unwrap_or(first);
        let entries = form.items.iter().map(|item| Entry {
            label: Some(item.text.clone()),
            hot_key: u8::try_from(item.key).ok().filter(|key| *key > 0),
            immediate: true,
            ..match &item.name {
                Some(name) => Entry::new(name.clone(), Action::Answer),
                None => Entry::new("", Action::Gap),
            }
        });
        let title = Some(form.title.clone()).filter(|title| !title.is_empty());
        let manners = Manners::Script(Hold {
            after_key: hold,
            unattended: UNATTENDED,
        });
        let menu = Menu {
            default: Pick::plain(default),
            on_timeout: Pick::plain(default),
            timeout,
            ..Menu::flat(url.clone(), title, entries.collect(), manners)
        };
        let chosen = self.world.choose(&menu);
        self.progress();
        match chosen {
            Chosen::Entry(entry) => Ok(entry),
            Chosen::Left => Err(Failure::expected(Errno::MENU_LEFT, "left")),
            Chosen::Unattended => Err(Failure::new(
                Errno::NO_KEY,
                format!("nobody chose anything for {} s", UNATTENDED.secs()),
            )),
        }
    }

    pub(super) fn present(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("form", 'f', true), ("keep", 'k', false)];
        let arguments = Arguments::parse(words, &specs, 0..=0)?;
        let at = self.form(arguments.value('f'))?;
        let Some(form) = self.menus.get(at) else {
            return Ok(Step::Done);
        };
        let title = form.title.clone();
        let fields: Vec<(Option<String>, String, bool)> = form
            .items
            .iter()
            .map(|item| (item.name.clone(), item.text.clone(), item.secret))
            .collect();
        if !arguments.has('k') {
            self.remove_form(at);
        }
        self.print(&format!("{title}\n"));
        // All or nothing: what was typed counts when the last field is done.
        let mut filled = Vec::new();
        for (name, text, secret) in fields {
            let Some(name) = name else {
                self.print(&format!("{text}\n"));
                continue;
            };
            let label = if text.is_empty() { &name } else { &text };
            let echo = if secret { Echo::Secret } else { Echo::Plain };
            let existing = self.settings.text(&name);
            let line = self.read_line(None, &format!("{label}: "), &existing, echo)?;
            filled.push((name, line));
        }
        for (name, line) in filled {
            let name = self.settings.name_to_store(&name)?;
            self.settings.store_text(&name, &line)?;
        }
        Ok(Step::Done)
    }

    pub(super) fn login(&mut self, words: &[String]) -> Result<Step, Failure> {
        Arguments::parse(words, &[], 0..=0)?;
        let user = self.settings.text("username");
        let user = self.read_line(None, "Username: ", &user, Echo::Plain)?;
        let password = self.read_line(None, "Password: ", "", Echo::Secret)?;
        for (name, value) in [("username", user), ("password", password)] {
            let name = self.settings.name_to_store(name)?;
            self.settings.store_text(&name, &value)?;
        }
        Ok(Step::Done)
    }

    pub(super) fn console(&mut self, words: &[String]) -> Result<Step, Failure> {
        const SPECS: [Spec; 9] = [
            ("x", 'x', true),
            ("y", 'y', true),
            ("left", 'l', true),
            ("right", 'r', true),
            ("top", 't', true),
            ("bottom", 'b', true),
            ("depth", 'd', true),
            ("picture", 'p', true),
            ("keep", 'k', false),
        ];
        // A serial terminal has no mode and shows no picture; the screen is cleared, as in iPXE.
        Arguments::parse(words, &SPECS, 0..=0)?;
        self.print("\x1b[2J\x1b[H");
        Ok(Step::Done)
    }

    pub(super) fn colour(&mut self, words: &[String]) -> Result<Step, Failure> {
        self.no_colours(words, &[("basic", 'b', true), ("rgb", 'r', true)])
    }

    pub(super) fn cpair(&mut self, words: &[String]) -> Result<Step, Failure> {
        self.no_colours(words, &[("foreground", 'f', true), ("background", 'b', true)])
    }

    /// Menus are drawn without colours: what they would be makes no difference, but must be right.
    fn no_colours(&mut self, words: &[String], specs: &[Spec]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, specs, 1..=1)?;
        number(arguments.get(0))?;
        for (_, letter, _) in specs {
            arguments.number(*letter)?;
        }
        Ok(Step::Done)
    }
}
