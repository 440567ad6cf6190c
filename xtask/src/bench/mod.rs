//! `cargo xtask bench`: figures beside their targets, in one table; failure when a target is missed.

mod boot;
mod functions;
mod menu;
mod net;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use qemu::Board;
use qemu::console::Match;

/// For each line that is waited for; a slow host and counted instructions take their time.
const PATIENCE: Duration = Duration::from_secs(900);

/// `cargo xtask bench`'s words.
pub(crate) enum Options {
    /// One boot.
    Boot,
    /// Scripts and menus; whether to say where the instructions went.
    Menu(bool),
    /// Downloads over each NIC.
    Net(net::Options),
}

impl Options {
    /// A kind of bench and its options; without one, the boot.
    pub(crate) fn parse(arguments: &mut lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let kind = match arguments.next()? {
            None => return Ok(Self::Boot),
            Some(Value(kind)) => kind.string()?,
            Some(other) => return Err(other.unexpected().into()),
        };
        let mut net = net::Options::default();
        let mut functions = false;
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("board") if kind == "net" => {
                    net.boards.push(Board::from_name(&arguments.value()?.string()?)?);
                }
                Long("alone") if kind == "net" => net.alone = true,
                Long("functions") if kind == "net" || kind == "menu" => functions = true,
                other => return Err(other.unexpected().into()),
            }
        }
        match kind.as_str() {
            "boot" => Ok(Self::Boot),
            "menu" => Ok(Self::Menu(functions)),
            "net" => Ok(Self::Net(net::Options { functions, ..net })),
            unknown => bail!("bench: {unknown}: not one of boot, menu, net"),
        }
    }
}

/// Measures, prints, and fails when a target was missed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let met = match options {
        Options::Boot => boot::run()?,
        Options::Menu(functions) => menu::run(*functions)?,
        Options::Net(options) => net::run(options)?,
    };
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(met: bool) -> &'static str {
    if met { "ok" } else { "MISSED" }
}

/// The number in a group of what the console said.
fn number(found: &Match, group: usize) -> Result<u64> {
    let digits = found.groups.get(group).context("bench: no such group")?;
    digits.parse().with_context(|| format!("bench: {}", found.text))
}

/// A file's or directory's name that no other process takes.
fn scratch(extension: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("bramble-bench-{}.{extension}", std::process::id()))
}

/// Bytes that do not compress and are the same in every run (Marsaglia's xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options> {
        Options::parse(&mut lexopt::Parser::from_args(words))
    }

    #[test]
    fn words_are_understood_or_refused() {
        assert!(matches!(parse(&[]).unwrap(), Options::Boot));
        assert!(matches!(parse(&["boot"]).unwrap(), Options::Boot));
        assert!(matches!(parse(&["menu"]).unwrap(), Options::Menu(false)));
        assert!(matches!(
            parse(&["menu", "--functions"]).unwrap(),
            Options::Menu(true)
        ));
        let Options::Net(net) = parse(&["net", "--board", "4b", "--functions"]).unwrap() else {
            panic!()
        };
        assert_eq!(net.boards, [Board::Pi4b]);
        assert!(net.functions);
        for wrong in [
            &["nets"][..],
            &["boot", "--board", "4b"],
            &["menu", "--board", "4b"],
            &["--board", "4b"],
            &["net", "4b"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
