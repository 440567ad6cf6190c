//! The table of commands: every name a script can use (<https://ipxe.org/cmd>), and where it is defined; and the two commands
//! that look into it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::errno::{Errno, Failure};
use super::machine::{Interpreter, Step};
use super::table::key;
use crate::terminal::in_columns;

/// A command: its words, the first of which is its name.
pub(super) type Command = fn(&mut Interpreter<'_, '_>, &[String]) -> Result<Step, Failure>;

/// A command by its name.
struct Named {
    /// The name's start as a number: quick to compare, and no two commands have the same.
    key: u64,
    name: &'static str,
    command: Command,
}

const fn named(name: &'static str, command: Command) -> Named {
    Named {
        key: key(name),
        name,
        command,
    }
}

/// In the order of their names.
const COMMANDS: &[Named] = &[
    named("autoboot", |i, w| i.autoboot(w)),
    named("boot", |i, w| i.imgexec(w)),
    named("chain", |i, w| i.imgexec(w)),
    named("choose", |i, w| i.choose(w)),
    named("clear", |i, w| i.clear(w)),
    named("colour", |i, w| i.colour(w)),
    named("config", |i, w| i.config(w)),
    named("console", |i, w| i.console(w)),
    named("cpair", |i, w| i.cpair(w)),
    named("cpuid", |i, w| i.no_x86(w)),
    named("dhcp", |i, w| i.ifconf(w)),
    named("echo", |i, w| i.echo(w)),
    named("exit", |i, w| i.exit(w)),
    named("fdt", |i, w| i.fdt(w)),
    named("form", |i, w| i.menu(w)),
    named("goto", |i, w| i.goto(w)),
    named("help", |i, w| i.help(w)),
    named("ifclose", |i, w| i.ifclose(w)),
    named("ifconf", |i, w| i.ifconf(w)),
    named("iflinkwait", |i, w| i.iflinkwait(w)),
    named("ifopen", |i, w| i.ifopen(w)),
    named("ifstat", |i, w| i.ifstat(w)),
    named("imgargs", |i, w| i.imgargs(w)),
    named("imgexec", |i, w| i.imgexec(w)),
    named("imgextract", |i, w| i.imgextract(w)),
    named("imgfetch", |i, w| i.imgfetch(w)),
    named("imgfree", |i, w| i.imgfree(w)),
    named("imgload", |i, w| i.imgselect(w)),
    named("imgselect", |i, w| i.imgselect(w)),
    named("imgset", |i, w| i.imgset(w)),
    named("imgstat", |i, w| i.imgstat(w)),
    named("imgtrust", |i, w| i.imgtrust(w)),
    named("imgverify", |i, w| i.imgverify(w)),
    named("inc", |i, w| i.inc(w)),
    named("initrd", |i, w| i.imgfetch(w)),
    named("ipstat", |i, w| i.ifstat(w)),
    named("iseq", |i, w| i.iseq(w)),
    named("isset", |i, w| i.isset(w)),
    named("item", |i, w| i.item(w)),
    named("kernel", |i, w| i.imgselect(w)),
    named("login", |i, w| i.login(w)),
    named("md5sum", |i, w| i.md5sum(w)),
    named("menu", |i, w| i.menu(w)),
    named("module", |i, w| i.imgfetch(w)),
    named("nslookup", |i, w| i.nslookup(w)),
    named("ntp", |i, w| i.ntp(w)),
    named("param", |i, w| i.param(w)),
    named("params", |i, w| i.params(w)),
    named("pciscan", |i, w| i.scan(w)),
    named("ping", |i, w| i.ping(w)),
    named("poweroff", |i, w| i.poweroff(w)),
    named("present", |i, w| i.present(w)),
    named("prompt", |i, w| i.prompt(w)),
    named("read", |i, w| i.read(w)),
    named("reboot", |i, w| i.reboot(w)),
    named("route", |i, w| i.route(w)),
    named("sanboot", |i, w| i.no_disk(w)),
    named("sanhook", |i, w| i.no_disk(w)),
    named("sanunhook", |i, w| i.sanunhook(w)),
    named("set", |i, w| i.set(w)),
    named("sha1sum", |i, w| i.sha1sum(w)),
    named("sha256sum", |i, w| i.sha256sum(w)),
    named("sha512sum", |i, w| i.sha512sum(w)),
    named("shell", |i, w| i.shell(w)),
    named("shim", |i, w| i.shim(w)),
    named("show", |i, w| i.show(w)),
    named("sleep", |i, w| i.sleep(w)),
    named("sync", |i, w| i.sync(w)),
    named("time", |i, w| i.time(w)),
    named("usbscan", |i, w| i.scan(w)),
    named("vcreate", |i, w| i.vcreate(w)),
    named("vdestroy", |i, w| i.vdestroy(w)),
];

/// The command of that name.
pub(super) fn find(name: &str) -> Option<Command> {
    let index = COMMANDS
        .binary_search_by_key(&key(name), |named| named.key)
        .ok()?;
    let found = COMMANDS.get(index).filter(|named| named.name == name)?;
    Some(found.command)
}

/// Every name, in order.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|named| named.name)
}

impl Interpreter<'_, '_> {
    pub(super) fn help(&mut self, _: &[String]) -> Result<Step, Failure> {
        let names: Vec<&str> = names().collect();
        let text = format!("Commands:\n{}", in_columns(&names, self.person.columns()));
        self.print(&text);
        Ok(Step::Done)
    }

    pub(super) fn time(&mut self, words: &[String]) -> Result<Step, Failure> {
        let now = self.world.now();
        if let Some(frame) = self.frames.last_mut() {
            frame.timed = Some(now);
        }
        // What follows is a command of its own; `time time …` is told once.
        let mut rest = words.get(1..).unwrap_or_default();
        while let Some(("time", after)) = rest.split_first().map(|(name, after)| (name.as_str(), after)) {
            rest = after;
        }
        match rest.first().map(|name| find(name)) {
            None => Err(Failure::new(
                Errno::ARGUMENTS,
                "takes at least 1 arguments, got 0",
            )),
            Some(None) => Err(Failure::new(Errno::NO_COMMAND, "command not found")),
            Some(Some(command)) => command(self, rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.key < b.key));
        assert!(names().all(|name| find(name).is_some()));
        for other in ["nonsense", "", "imgextracted", "sha256", "ech", "echoo"] {
            assert!(find(other).is_none(), "{other}");
        }
    }
}
