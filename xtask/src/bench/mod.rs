//! `cargo xtask bench`: figures beside their targets, in one table; failure when a target is missed.

mod boot;
mod functions;
mod menu;
mod net;
mod table;
mod trial;

use std::process::ExitCode;

use anyhow::{Result, bail};
use qemu::Board;

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
