//! The kernel's command line: the entry's, and what only the firmware can know (Linux `kernel-parameters.rst`).
//!
//! The policy: the entry's command line comes first and as it was written, but for the names of UARTs that only the Pi's
//! firmware knows. Of the firmware's own, an argument is kept when the table below names it, the entry does not set it,
//! and there is room for it. All else of the firmware's (`root=`, `console=`, `init=`, `bramble.*` ...) describes the system
//! on its SD card, not the one that boots.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::text::ascii;

/// `COMMAND_LINE_SIZE` of arm64 Linux: bytes of a command line with its NUL.
pub(crate) const LIMIT: usize = 2048;

/// What only the firmware knows: facts of the board, of its memory split and of its displays. A name that ends
/// in a dot stands for all parameters of that module (D-34).
const KEPT: &[&str] = &[
    "8250.nr_uarts",
    "bcm2708_fb.",
    "coherent_pool",
    "smsc95xx.macaddr",
    "snd_bcm2835.",
    "vc_mem.",
    "video",
];

/// Why there is no command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Linux would cut the entry's own.
    TooLong {
        /// Its length in bytes with the NUL.
        len: usize,
    },
    /// A NUL inside, behind which Linux would not look.
    Nul,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => {
                write!(f, "command line has {len} bytes; Linux takes {LIMIT}")
            }
            Self::Nul => f.write_str("command line contains a NUL"),
        }
    }
}

/// Whether Linux could take the entry's command line.
pub(crate) fn check(entry: &str) -> Result<(), Error> {
    let len = entry.trim().len().saturating_add(1);
    if entry.as_bytes().contains(&0) {
        Err(Error::Nul)
    } else if len > LIMIT {
        Err(Error::TooLong { len })
    } else {
        Ok(())
    }
}

/// Merges the entry's command line with the firmware's by the policy above. What has no room is left out with a warning.
/// D-117.
pub(crate) fn merge(entry: &str, firmware: &str) -> Result<String, Error> {
    check(entry)?;
    if ends_quoted(entry) {
        // What came behind it would be a part of its last value.
        warn!("load: the command line ends inside quotes: nothing of the firmware's is added");
        return Ok(entry.trim().into());
    }
    let set: Vec<&str> = arguments(entry).map(name).collect();
    let mut free = LIMIT.saturating_sub(entry.trim().len()).saturating_sub(1);
    let mut kept = Vec::new();
    for argument in arguments(firmware)
        .filter(|argument| is_kept(argument) && !set.iter().any(|s| same(s, name(argument))))
    {
        // A NUL would end the line for Linux, and an open quote take in what follows.
        let needed = argument.len().saturating_add(1);
        if needed > free {
            warn!(
                "load: the firmware's {} has no room on the command line, of which Linux takes {} bytes; it is left out",
                ascii(argument),
                LIMIT
            );
        } else if !argument.contains('\0') && !ends_quoted(argument) {
            free = free.saturating_sub(needed);
            kept.push(argument);
        }
    }
    let mut line = String::from(entry.trim());
    if !kept.is_empty() {
        // What follows a lone "--" belongs to init, not to the kernel.
        let (before, after): (Vec<&str>, Vec<&str>) = {
            let mut ended = false;
            arguments(entry).partition(|argument| {
                ended = ended || *argument == "--";
                !ended
            })
        };
        if after.is_empty() {
            kept.iter().for_each(|argument| push(&mut line, argument));
        } else {
            line.clear();
            before
                .into_iter()
                .chain(kept)
                .chain(after)
                .for_each(|argument| push(&mut line, argument));
        }
    }
    Ok(line)
}

/// The line with Linux's names in place of the firmware's for UARTs, in `console=serial0,115200` and its like. `port` knows
/// them, and may not know one: then that argument stays.
pub(crate) fn with_ports(line: &str, port: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(line.len());
    let mut ended = false;
    let mut quoted = false;
    let pieces = line.split_inclusive(|c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    });
    for piece in pieces {
        let argument = piece.trim_end();
        ended = ended || argument == "--";
        let rewritten = (!ended).then(|| rewritten(argument, port)).flatten();
        match rewritten {
            Some(rewritten) => {
                out.push_str(&rewritten);
                out.push_str(piece.strip_prefix(argument).unwrap_or_default());
            }
            None => out.push_str(piece),
        }
    }
    out
}

fn rewritten(argument: &str, port: &mut dyn FnMut(&str) -> Option<String>) -> Option<String> {
    let (parameter, value) = argument.split_once('=')?;
    if !matches!(parameter, "console" | "kgdboc") {
        return None;
    }
    let (name, options) = value.split_once(',').map_or((value, None), |(n, o)| (n, Some(o)));
    let digits = name.strip_prefix("serial")?;
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let name = port(name)?;
    Some(match options {
        Some(options) => format!("{parameter}={name},{options}"),
        None => format!("{parameter}={name}"),
    })
}

/// The value of the last argument of that name.
pub(crate) fn value<'l>(line: &'l str, wanted: &str) -> Option<&'l str> {
    arguments(line)
        .take_while(|argument| *argument != "--")
        .filter_map(|argument| argument.split_once('='))
        .filter(|(name, _)| same(name, wanted))
        .map(|(_, value)| value)
        .last()
}

/// Whether a quote is still open at its end.
fn ends_quoted(line: &str) -> bool {
    line.bytes().filter(|byte| *byte == b'"').count() % 2 == 1
}

fn push(line: &mut String, argument: &str) {
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(argument);
}

/// The arguments of a command line: blanks separate them except between double quotes.
pub(crate) fn arguments(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|argument| !argument.is_empty())
}

fn name(argument: &str) -> &str {
    argument.split_once('=').map_or(argument, |(name, _)| name)
}

/// Linux takes `-` and `_` in names for the same.
fn same(a: &str, b: &str) -> bool {
    let canonical = |c| if c == b'-' { b'_' } else { c };
    a.bytes().map(canonical).eq(b.bytes().map(canonical))
}

fn is_kept(argument: &str) -> bool {
    KEPT.iter().any(|kept| {
        if kept.ends_with('.') {
            argument.starts_with(kept)
        } else {
            same(kept, name(argument))
        }
    })
}

/// For the fuzz target: the command line of a kernel.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn merged(entry: &str, firmware: &str) -> Result<String, Error> {
    merge(entry, firmware)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRMWARE: &str = "coherent_pool=1M 8250.nr_uarts=1 snd_bcm2835.enable_headphones=0 \
        bcm2708_fb.fbwidth=656 smsc95xx.macaddr=B8:27:EB:00:00:01 vc_mem.mem_base=0x3ec00000 \
        video=HDMI-A-1:1920x1080M@60 console=ttyS0,115200 root=/dev/mmcblk0p2 rootfstype=ext4 rootwait \
        init=/bin/sh bramble.url=http://x";

    #[test]
    fn an_open_quote_takes_nothing_in() {
        // Found by the fuzz target.
        let firmware = "video=a coherent_pool=1M";
        let entry = " root=/dev/nfs foo=\"a b ";
        assert_eq!(merge(entry, firmware).as_deref(), Ok("root=/dev/nfs foo=\"a b"));
        let merged = merge("quiet -- init", "coherent_pool=1M video=\"a b");
        assert_eq!(merged.as_deref(), Ok("quiet coherent_pool=1M -- init"));
    }

    #[test]
    fn the_entry_comes_first_and_the_facts_of_the_firmware_follow() {
        assert_eq!(
            merge("console=ttyAMA0 quiet", FIRMWARE).unwrap(),
            "console=ttyAMA0 quiet coherent_pool=1M 8250.nr_uarts=1 snd_bcm2835.enable_headphones=0 \
             bcm2708_fb.fbwidth=656 smsc95xx.macaddr=B8:27:EB:00:00:01 vc_mem.mem_base=0x3ec00000 \
             video=HDMI-A-1:1920x1080M@60"
        );
    }

    #[test]
    fn what_the_entry_sets_wins_whatever_its_dashes() {
        let line = merge(
            "coherent-pool=4M video=off",
            "coherent_pool=1M video=HDMI-A-1 vc_mem.x=1",
        )
        .unwrap();
        assert_eq!(line, "coherent-pool=4M video=off vc_mem.x=1");
    }

    #[test]
    fn nothing_goes_to_init_that_is_meant_for_the_kernel() {
        assert_eq!(
            merge("quiet -- single", "coherent_pool=1M").unwrap(),
            "quiet coherent_pool=1M -- single"
        );
    }

    #[test]
    fn quoted_blanks_do_not_separate() {
        assert_eq!(
            arguments("a=\"b c\"  d\te").collect::<Vec<_>>(),
            ["a=\"b c\"", "d", "e"]
        );
        assert_eq!(
            merge("", "x=\" video=1\" vc_mem.y=\"1 2\"").unwrap(),
            "vc_mem.y=\"1 2\""
        );
    }

    #[test]
    fn the_entry_is_not_rewritten() {
        assert_eq!(merge("  a  b ", "root=/dev/sda").unwrap(), "a  b");
        assert_eq!(merge("", "").unwrap(), "");
    }

    #[test]
    fn the_limit_of_linux_holds_to_the_byte() {
        assert_eq!(merge(&"a".repeat(LIMIT - 1), "").unwrap().len(), LIMIT - 1);
        assert_eq!(
            merge(&"a".repeat(LIMIT), "").unwrap_err().to_string(),
            "command line has 2049 bytes; Linux takes 2048"
        );
        assert_eq!(merge("a\0b", ""), Err(Error::Nul));
    }

    #[test]
    fn what_has_no_room_of_the_firmwares_is_left_out_and_the_entry_boots() {
        let entry = "a".repeat(LIMIT - 1 - " video=x".len());
        assert_eq!(
            merge(&entry, "coherent_pool=1M video=x vc_mem.y=1").unwrap(),
            format!("{entry} video=x")
        );
        let longer = format!("{entry}b");
        assert_eq!(merge(&longer, "video=x").unwrap(), longer);
        let entry = format!("{} -- x", "a".repeat(LIMIT - 6));
        assert_eq!(merge(&entry, "video=x").unwrap(), entry);
        // Linux would not look behind it.
        assert_eq!(
            merge("a", "video=x\0y coherent_pool=1M").unwrap(),
            "a coherent_pool=1M"
        );
    }

    #[test]
    fn the_firmwares_names_for_uarts_become_linuxs() {
        let mut port = |name: &str| match name {
            "serial0" => Some("ttyS0".into()),
            "serial1" => Some("ttyAMA1".into()),
            _ => None,
        };
        assert_eq!(
            with_ports(
                " console=serial0,115200  console=tty1\tconsole=serial1 kgdboc=serial0,9600 console=serial2,115200",
                &mut port
            ),
            " console=ttyS0,115200  console=tty1\tconsole=ttyAMA1 kgdboc=ttyS0,9600 console=serial2,115200"
        );
        for other in [
            "console=serial",
            "console=serialx,1",
            "x=serial0",
            "serial0",
            "a=\"b console=serial0 c\"",
            "quiet -- console=serial0",
        ] {
            assert_eq!(with_ports(other, &mut port), other);
        }
    }

    #[test]
    fn the_last_value_counts() {
        assert_eq!(
            value(
                "8250.nr_uarts=1 a 8250.nr-uarts=4 -- 8250.nr_uarts=2",
                "8250.nr_uarts"
            ),
            Some("4")
        );
        assert_eq!(value("8250.nr_uarts", "8250.nr_uarts"), None);
    }
}
