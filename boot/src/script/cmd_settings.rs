//! Commands on settings: `set clear inc show read config`.

use alloc::format;
use alloc::string::String;

use super::console::Line;
use super::errno::{Errno, Failure};
use super::machine::{Interpreter, Step};
use super::options::{Arguments, MANY, number};
use crate::terminal::editor::Echo;

impl Interpreter<'_, '_> {
    pub(super) fn set(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 1..=MANY)?;
        let name = self.settings.name_to_store(arguments.get(0))?;
        let value = arguments.text(1);
        self.settings.store_text(&name, &value)?;
        self.tell(arguments.get(0), &value);
        Ok(Step::Done)
    }

    /// Tells the world of a setting that is Bramble's own.
    fn tell(&mut self, name: &str, value: &str) {
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        if let Some(name) = name.strip_prefix("bramble.") {
            self.world.set(name, value);
        }
    }

    pub(super) fn clear(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 1..=1)?;
        let name = self.settings.name_to_store(arguments.get(0))?;
        self.settings.store_text(&name, "")?;
        self.tell(arguments.get(0), "");
        Ok(Step::Done)
    }

    pub(super) fn inc(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 1..=2)?;
        let name = self.settings.name(arguments.get(0))?;
        let by = arguments.rest.get(1).map_or(Ok(1), |by| number(by))?;
        self.settings.increment(&name, by)?;
        Ok(Step::Done)
    }

    pub(super) fn show(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[("quiet", 'q', false)], 1..=1)?;
        let name = self.settings.name(arguments.get(0))?;
        let not_found = || Failure::new(Errno::NO_SETTING, format!("could not find \"{}\"", name.name()));
        let found = self.settings.fetch(&name).ok_or_else(not_found)?;
        let value = found.kind.format(&found.raw).ok_or_else(not_found)?;
        let slash = if found.block.is_empty() { "" } else { "/" };
        let line = if arguments.has('q') {
            format!("{value}\n")
        } else {
            format!(
                "{}{slash}{}:{} = {value}\n",
                found.block,
                name.name(),
                found.kind.name()
            )
        };
        self.print(&line);
        Ok(Step::Done)
    }

    pub(super) fn read(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[("timeout", 't', true)], 1..=1)?;
        let patience = arguments.timeout('t')?;
        let text = arguments.get(0);
        let name = self.settings.name_to_store(text)?;
        let existing = self.settings.text(text);
        let line = self.read_line(&Line {
            patience,
            prompt: "",
            initial: &existing,
            echo: Echo::Plain,
            recalls: false,
        })?;
        self.settings.store_text(&name, &line)?;
        self.tell(text, &line);
        Ok(Step::Done)
    }

    pub(super) fn config(&mut self, words: &[String]) -> Result<Step, Failure> {
        Arguments::parse(words, &[], 0..=1)?;
        let mut n: usize = 0;
        while let Some(line) = self.settings.listed(n) {
            self.print(&line);
            n = n.saturating_add(1);
        }
        Ok(Step::Done)
    }
}
