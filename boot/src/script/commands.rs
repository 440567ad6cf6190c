//! The table of commands: every name a script can use (<https://ipxe.org/cmd>), and where it is defined.

use alloc::string::String;

use super::errno::Failure;
use super::{Interpreter, Step};

/// A command: its words, the first of which is its name.
pub(super) type Command = fn(&mut Interpreter<'_, '_>, &[String]) -> Result<Step, Failure>;

/// In the order of their names.
const COMMANDS: &[(&str, Command)] = &[
    ("autoboot", |i, w| i.autoboot(w)),
    ("boot", |i, w| i.imgexec(w)),
    ("chain", |i, w| i.imgexec(w)),
    ("choose", |i, w| i.choose(w)),
    ("clear", |i, w| i.clear(w)),
    ("colour", |i, w| i.colour(w)),
    ("config", |i, w| i.config(w)),
    ("console", |i, w| i.console(w)),
    ("cpair", |i, w| i.cpair(w)),
    ("cpuid", |i, w| i.no_x86(w)),
    ("dhcp", |i, w| i.ifconf(w)),
    ("echo", |i, w| i.echo(w)),
    ("exit", |i, w| i.exit(w)),
    ("fdt", |i, w| i.fdt(w)),
    ("form", |i, w| i.menu(w)),
    ("goto", |i, w| i.goto(w)),
    ("help", |i, w| i.help(w)),
    ("ifclose", |i, w| i.ifclose(w)),
    ("ifconf", |i, w| i.ifconf(w)),
    ("iflinkwait", |i, w| i.iflinkwait(w)),
    ("ifopen", |i, w| i.ifopen(w)),
    ("ifstat", |i, w| i.ifstat(w)),
    ("imgargs", |i, w| i.imgargs(w)),
    ("imgexec", |i, w| i.imgexec(w)),
    ("imgextract", |i, w| i.imgextract(w)),
    ("imgfetch", |i, w| i.imgfetch(w)),
    ("imgfree", |i, w| i.imgfree(w)),
    ("imgload", |i, w| i.imgselect(w)),
    ("imgselect", |i, w| i.imgselect(w)),
    ("imgset", |i, w| i.imgset(w)),
    ("imgstat", |i, w| i.imgstat(w)),
    ("imgtrust", |i, w| i.imgtrust(w)),
    ("imgverify", |i, w| i.imgverify(w)),
    ("inc", |i, w| i.inc(w)),
    ("initrd", |i, w| i.imgfetch(w)),
    ("ipstat", |i, w| i.ifstat(w)),
    ("iseq", |i, w| i.iseq(w)),
    ("isset", |i, w| i.isset(w)),
    ("item", |i, w| i.item(w)),
    ("kernel", |i, w| i.imgselect(w)),
    ("login", |i, w| i.login(w)),
    ("md5sum", |i, w| i.md5sum(w)),
    ("menu", |i, w| i.menu(w)),
    ("module", |i, w| i.imgfetch(w)),
    ("nslookup", |i, w| i.nslookup(w)),
    ("ntp", |i, w| i.ntp(w)),
    ("param", |i, w| i.param(w)),
    ("params", |i, w| i.params(w)),
    ("pciscan", |i, w| i.scan(w)),
    ("ping", |i, w| i.ping(w)),
    ("poweroff", |i, w| i.poweroff(w)),
    ("present", |i, w| i.present(w)),
    ("prompt", |i, w| i.prompt(w)),
    ("read", |i, w| i.read(w)),
    ("reboot", |i, w| i.reboot(w)),
    ("route", |i, w| i.route(w)),
    ("sanboot", |i, w| i.no_disk(w)),
    ("sanhook", |i, w| i.no_disk(w)),
    ("sanunhook", |i, w| i.sanunhook(w)),
    ("set", |i, w| i.set(w)),
    ("sha1sum", |i, w| i.sha1sum(w)),
    ("sha256sum", |i, w| i.sha256sum(w)),
    ("sha512sum", |i, w| i.sha512sum(w)),
    ("shell", |i, w| i.shell(w)),
    ("shim", |i, w| i.shim(w)),
    ("show", |i, w| i.show(w)),
    ("sleep", |i, w| i.sleep(w)),
    ("sync", |i, w| i.sync(w)),
    ("time", |i, w| i.time(w)),
    ("usbscan", |i, w| i.scan(w)),
    ("vcreate", |i, w| i.vcreate(w)),
    ("vdestroy", |i, w| i.vdestroy(w)),
];

/// The command of that name.
pub(super) fn find(name: &str) -> Option<Command> {
    let index = COMMANDS.binary_search_by(|(other, _)| (*other).cmp(name)).ok()?;
    COMMANDS.get(index).map(|(_, command)| *command)
}

/// Every name, in order.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found() {
        assert!(COMMANDS.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(names().all(|name| find(name).is_some()));
        assert!(find("nonsense").is_none());
    }
}
