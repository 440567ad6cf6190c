//! Commands that say what comes next: `goto exit echo prompt sleep isset iseq time shell help reboot` and the like.

use alloc::format;
use alloc::string::String;

use smoltcp::time::Duration;

use super::errno::{Errno, Failure};
use super::machine::{Frame, Interpreter, Outcome, Source, Step};
use super::options::{Arguments, MANY, number};
use crate::patience;

impl Interpreter<'_, '_> {
    pub(super) fn echo(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[("n", 'n', false)], 0..=MANY)?;
        let end = if arguments.has('n') { "" } else { "\n" };
        let text = format!("{}{end}", arguments.text(0));
        self.print(&text);
        Ok(Step::Done)
    }

    pub(super) fn isset(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 1..=1)?;
        if arguments.get(0).is_empty() {
            return Err(Failure::expected(Errno::NOT_SET, "not set"));
        }
        Ok(Step::Done)
    }

    pub(super) fn iseq(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 2..=2)?;
        if arguments.get(0) != arguments.get(1) {
            return Err(Failure::expected(Errno::NOT_EQUAL, "not equal"));
        }
        Ok(Step::Done)
    }

    pub(super) fn goto(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 1..=1)?;
        match self.frames.last() {
            Some(Frame {
                source: Source::Script(text, ..),
                ..
            }) => text.label(arguments.get(0)).map(Step::Goto),
            _ => Err(Failure::new(Errno::NO_SCRIPT, "not in a script")),
        }
    }

    pub(super) fn exit(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 0..=1)?;
        let status = match arguments.rest.first() {
            Some(status) => number(status)?,
            None => 0,
        };
        Ok(Step::Exit(match status {
            0 => Ok(()),
            _ => Err(Failure::expected(Errno(status), format!("status {status:#x}"))),
        }))
    }

    pub(super) fn sleep(&mut self, words: &[String]) -> Result<Step, Failure> {
        let arguments = Arguments::parse(words, &[], 1..=1)?;
        let seconds = number(arguments.get(0))?;
        if seconds > 0 {
            self.errands = 0;
        }
        self.pause(Duration::from_secs(seconds.into()).min(patience::SCRIPT_ALONE))?;
        Ok(Step::Done)
    }

    pub(super) fn prompt(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("key", 'k', true), ("timeout", 't', true)];
        let arguments = Arguments::parse(words, &specs, 0..=MANY)?;
        let key = arguments.value('k').map(key).transpose()?.filter(|key| *key != 0);
        let patience = arguments.timeout('t')?.unwrap_or(patience::SCRIPT_UNATTENDED);
        let text = arguments.text(0);
        self.print(&text);
        let deadline = self.world.now() + patience;
        let pressed = self.keystroke(deadline);
        self.print(if text.is_empty() { "" } else { "\r\x1b[K" });
        self.progress();
        match (pressed, key) {
            (None, _) => Err(Failure::expected(Errno::NO_KEY, "no key in time")),
            (Some(pressed), Some(key)) if pressed.code() != Some(key) => {
                Err(Failure::expected(Errno::OTHER_KEY, "another key"))
            }
            (Some(_), _) => Ok(Step::Done),
        }
    }

    pub(super) fn shell(&mut self, words: &[String]) -> Result<Step, Failure> {
        Arguments::parse(words, &[], 0..=0)?;
        Ok(Step::Shell)
    }

    pub(super) fn sync(&mut self, words: &[String]) -> Result<Step, Failure> {
        // Nothing runs behind a command's back.
        Arguments::parse(words, &[("timeout", 't', true)], 0..=0)?;
        Ok(Step::Done)
    }

    pub(super) fn reboot(&mut self, words: &[String]) -> Result<Step, Failure> {
        let specs = [("warm", 'w', false), ("setup", 's', false)];
        Arguments::parse(words, &specs, 0..=0)?;
        Ok(Step::End(Outcome::Reset))
    }

    pub(super) fn poweroff(&mut self, words: &[String]) -> Result<Step, Failure> {
        Arguments::parse(words, &[], 0..=0)?;
        if !self.may_power_off {
            let reason =
                "not allowed: what is off does not come back; bramble.poweroff=1 on cmdline.txt allows it";
            return Err(Failure::new(Errno::UNSUPPORTED, reason));
        }
        Ok(Step::End(Outcome::PowerOff))
    }

    pub(super) fn no_x86(&mut self, _: &[String]) -> Result<Step, Failure> {
        Err(Failure::expected(Errno::NO_COMMAND, "this is no x86 CPU"))
    }

    /// A disk of the network's is none that a Pi has; without a URI its own is meant, which is how servers say "not you".
    pub(super) fn no_disk(&mut self, words: &[String]) -> Result<Step, Failure> {
        let reason = "booting from a disk, local or over the network, is not supported";
        let specs = [
            ("drive", 'd', true),
            ("no-describe", 'n', false),
            ("keep", 'k', false),
            ("filename", 'f', true),
            ("extra", 'e', true),
            ("label", 'l', true),
            ("uuid", 'u', true),
        ];
        let own = Arguments::parse(words, &specs, 0..=MANY).is_ok_and(|arguments| arguments.rest.is_empty());
        let boots = words.first().is_some_and(|name| name == "sanboot");
        let failure = Failure::new(Errno::NO_DISK, reason).at_the_end();
        Err(Failure {
            expected: own && boots,
            ..failure
        })
    }

    pub(super) fn sanunhook(&mut self, _: &[String]) -> Result<Step, Failure> {
        // There is nothing to unhook.
        Ok(Step::Done)
    }

    pub(super) fn scan(&mut self, words: &[String]) -> Result<Step, Failure> {
        // No device comes after the last, and none before it: the loop that scans ends.
        let arguments = Arguments::parse(words, &[], 1..=1)?;
        let name = self.settings.name_to_store(arguments.get(0))?;
        self.settings.store_text(&name, "")?;
        Err(Failure::expected(Errno::NO_DEVICE, "no more devices"))
    }
}

/// A key: itself, or its number.
pub(super) fn key(text: &str) -> Result<u32, Failure> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(key), None) => Ok(key.into()),
        _ => number(text),
    }
}
