//! Commands for menus and forms: `menu item choose`, `form present`, `login`, and those that only change colours.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::budget;
use super::cmd_flow::key;
use super::console::{Line, MAX_LINE};
use super::errno::{Errno, Failure, too_many};
use super::machine::{Form, Interpreter, Step};
use super::options::{Arguments, MANY, Spec, number};
use crate::menu::{Action, Behaviour, Chosen, Entry, Menu, Pick, Timeouts};
use crate::observe::Event;
use crate::patience;
use crate::terminal::editor::{Echo, Editor};
use crate::terminal::form;

/// Items of all menus and forms together: as many as always fit into the budget.
const MAX_ITEMS: usize = 2048;
/// Menus and forms.
const MAX_FORMS: usize = 64;

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
            return Err(too_many(MAX_FORMS, "menus"));
        }
        let mut share = self.budget.other();
        share.take(budget::texts(&[
            name.map_or(0, str::len),
            budget::joined(arguments.rest),
        ])?)?;
        self.menus.push(Form {
            share,
            name: name.map(Into::into),
            title: arguments.text(0),
            entries: Vec::new(),
            default: None,
            secrets: Vec::new(),
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
            self.menus.remove(at);
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
        let text = arguments.rest.get(usize::from(!gap)..).unwrap_or_default();
        let key = arguments.value('k').map(key).transpose()?.unwrap_or(0);
        let at = self.form(arguments.value('f').or(arguments.value('m')))?;
        if self.menus.iter().map(|form| form.entries.len()).sum::<usize>() >= MAX_ITEMS {
            return Err(too_many(MAX_ITEMS, "items"));
        }
        if let Some(form) = self.menus.get_mut(at) {
            form.share.take(budget::element::<(Entry, usize)>())?;
            form.share.take(budget::texts(&[
                name.map_or(0, String::len),
                budget::joined(text),
            ])?)?;
            let index = form.entries.len();
            let entry = match name {
                Some(name) => Entry::new(name.clone(), Action::Answer),
                None => Entry::new("", Action::Gap),
            };
            if arguments.has('d') && entry.selectable() {
                form.default = Some(index);
            }
            if arguments.has('s') {
                form.secrets.push(index);
            }
            form.entries.push(Entry {
                label: Some(text.join(" ")),
                hot_key: u8::try_from(key).ok().filter(|key| *key > 0),
                immediate: true,
                ..entry
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
        let chosen = self.ask(at, &arguments);
        if !arguments.has('k') {
            self.remove_form(at);
        }
        self.settings.store_text(&name, &chosen?)?;
        Ok(Step::Done)
    }

    /// Shows the menu at `at` and returns the name of what was chosen.
    fn ask(&mut self, at: usize, arguments: &Arguments<'_>) -> Result<String, Failure> {
        let timeout = arguments.timeout('t')?;
        let after_key = arguments.timeout('r')?;
        let (Some(form), Some(url)) = (self.menus.get_mut(at), &self.settings.facts.cwuri) else {
            return Err(Failure::new(Errno::NO_LIST, "there is no menu"));
        };
        let first = form
            .entries
            .iter()
            .position(Entry::selectable)
            .ok_or_else(|| Failure::new(Errno::MENU_EMPTY, "nothing in the menu can be chosen"))?;
        // The last of several, as in iPXE.
        let default = match arguments.value('d') {
            Some(wanted) => {
                let mut entries = form.entries.iter();
                entries.rposition(|entry| entry.selectable() && entry.name == wanted)
            }
            None => form.default,
        };
        let default = default.unwrap_or(first);
        let title = Some(form.title.clone()).filter(|title| !title.is_empty());
        let behaviour = Behaviour::Script(Timeouts {
            after_key,
            unattended: patience::SCRIPT_UNATTENDED,
        });
        let entries = core::mem::take(&mut form.entries);
        let menu = Menu {
            default: Pick::plain(default),
            timeout,
            ..Menu::flat(url.clone(), title, entries, behaviour)
        };
        let chosen = self.world.choose(&menu);
        if matches!(chosen, Chosen::Left | Chosen::Entry { by_person: true, .. }) {
            self.attended();
        }
        self.progress();
        self.person.column = 0;
        let chosen = match chosen {
            Chosen::Entry { entry, .. } => Ok(menu.entries.get(entry).map(|entry| entry.name.clone())),
            Chosen::Left => Err(Failure::expected(Errno::MENU_LEFT, "left")),
            Chosen::Unattended => Err(Failure::new(
                Errno::NO_KEY,
                format!(
                    "nobody chose anything for {} s",
                    patience::SCRIPT_UNATTENDED.secs()
                ),
            )),
        };
        if let Some(form) = self.menus.get_mut(at) {
            form.entries = menu.entries;
        }
        chosen.map(Option::unwrap_or_default)
    }

    pub(super) fn present(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("form", 'f', true), ("keep", 'k', false)];
        let arguments = Arguments::parse(words, &specs, 0..=0)?;
        let at = self.form(arguments.value('f'))?;
        let result = self.show_form(at);
        if !arguments.has('k') {
            self.remove_form(at);
        }
        result.map(|()| Step::Done)
    }

    /// Shows the form at `at` and stores what is typed.
    fn show_form(&mut self, at: usize) -> Result<(), Failure> {
        let Some(list) = self.menus.get(at) else {
            return Err(Failure::new(Errno::NO_LIST, "there is no form"));
        };
        let mut names = Vec::new();
        let mut lines = Vec::new();
        let mut share = self.budget.other();
        for (index, entry) in list.entries.iter().enumerate() {
            let text = entry.label.as_deref().unwrap_or_default();
            let echo = match list.secrets.binary_search(&index) {
                Ok(_) => Echo::Secret,
                Err(_) => Echo::Plain,
            };
            let is_field = entry.selectable();
            if is_field {
                // What cannot be stored is not asked for.
                self.settings.name_to_store(&entry.name)?;
            }
            let value = if is_field {
                self.settings.text(&entry.name)
            } else {
                String::new()
            };
            share.take(budget::element::<(Option<String>, form::Line)>())?;
            share.take(budget::texts(&[entry.name.len(), text.len()])?)?;
            if is_field {
                share.take(Editor::room(&value, MAX_LINE))?;
            }
            names.push(is_field.then(|| entry.name.clone()));
            lines.push(form::Line {
                label: if is_field && text.is_empty() {
                    &entry.name
                } else {
                    text
                }
                .into(),
                field: is_field.then(|| Editor::new(&value, echo, MAX_LINE, 0)),
                key: entry.hot_key.map(u32::from),
            });
        }
        let title = list.title.clone();
        let mut form = form::Form::new(title.clone(), lines);
        let result = self.fill_in(&mut form, &mut |interpreter, form| {
            for (index, (line, name)) in form.lines().zip(&names).enumerate() {
                if let (Some(field), Some(name)) = (&line.field, name) {
                    let settings = &mut interpreter.settings;
                    let name = settings.name_to_store(name);
                    let stored = name.and_then(|name| settings.store_text(&name, &field.text()));
                    stored.map_err(|failure| (index, failure.reason.into_owned()))?;
                }
            }
            Ok(())
        });
        // What is heard of it is what it was in the end.
        self.world.event(&Event::Print(&format!("{title}\n")));
        for line in form.lines() {
            let line = match &line.field {
                Some(field) => format!("{}: {}\n", line.label, field.shown()),
                None => format!("{}\n", line.label),
            };
            self.world.event(&Event::Print(&line));
        }
        result
    }

    pub(super) fn login(&mut self, words: &[String]) -> Result<Step, Failure> {
        Arguments::parse(words, &[], 0..=0)?;
        let user = self.settings.text("username");
        let mut line = Line {
            patience: None,
            prompt: "Username: ",
            initial: &user,
            echo: Echo::Plain,
            recalls: false,
        };
        let user = self.read_line(&line)?;
        (line.prompt, line.initial, line.echo) = ("Password: ", "", Echo::Secret);
        let password = self.read_line(&line)?;
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
