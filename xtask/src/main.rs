//! What a person types: `cargo xtask setup | image | dist | boot | check | test | bench | soak | campaign | qemu | dryrun`.
//!
#![doc = include_str!("../README.md")]

mod apt;
mod bench;
mod boot;
mod builtin;
mod campaign;
mod dist;
mod elf;
mod emulator;
mod erratum;
mod first_stage;
mod fuzz;
mod image;
mod ipxe;
mod overlays;
mod payload;
mod program;
mod rust_target;
mod scratch;
mod setup;
mod site;
mod soak;
mod step;
mod tally;
mod test;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::program::{cargo, execute, root};

const HELP: &str = "\
cargo xtask boot     build kernel8.img and boot Debian with it on an emulated Pi 3
    --board NAME     3b-usbnet (default), 3b-usbnet-hub, 3a+-usbnet, 3b, 3b+, 4b
    --from PLACE     the Pi's own firmware first, from sd, tftp (root only) or boot.img
    --firmware GEN   whose firmware, and its board: pi3, pi4 (default)
    --kernel F       the payload's kernel, in place of Debian's
    --initrd F       its initrd, in place of the demo's
    --append S       more words for its command line (with --menu, write them there)
    --menu F         a menu of your own, served as the boot file
    --root DIR       more files for the web server
    --timeout S      give up after S seconds (default 600)
    --expect REGEX   end with success when the console matches (default: the demo's hello)
    --interactive    your keys go to the console; Ctrl-A x ends (not with --expect)
    --debug          the debug build of kernel8.img
    --trace-net F    write every frame to F, a pcap file
cargo xtask check    before a commit: format, lints, boot's unit tests, sessions in virtual time
cargo xtask test     everything: format, lints, documentation, host tests, the image, QEMU end to end
    STAGE...         these only: setup, format, lints, docs, images, host, emulated, fuzz
    FILTER           behind host or emulated: tests with this in their names
cargo xtask image    target/kernel8.img, target/kernel8.elf and a size table; --debug, --defmt for other builds
cargo xtask dist     what people copy, in target/dist: boot partition, SD image, TFTP root, boot.img, sums, bill of materials
    --firmware DIR   the Pi's own firmware (default: Debian's raspi-firmware; without any, the rest is written)
    --to DIR         an empty directory for it
cargo xtask bench    boot (default): throughput beside Linux's, time and instructions to the payload
                     menu: instructions of a large menu, of a command in a loop, of a key
                     net: instructions for each byte and throughput, beside Linux's and U-Boot's, over each NIC
    --board NAME     net: this board only; may be repeated
    --alone          net: Bramble only; bars on others are left out
    --functions      menu, net: also where Bramble's instructions went
cargo xtask soak     a million faults at each NIC of ours on the release image, and the right bytes all the same
    --board NAME     this board only; may be repeated
    --faults N       so many at each
cargo xtask campaign menus      generated menus on Debian's Syslinux, which boots what our reference says
                     decisions  generated menus in sessions of ours, which boot that or nothing
                     boots      whole boots with faults of everything, which end as the policy says
                     hostile    a stranger's answers, after each of which the honest entry boots
                     overlays DIR  each overlay there on Debian's trees, which comes out as fdtoverlay has it
                     mutants    small faults in the code, and which of them no test notices
                     caches     each cache maintenance left out, and whether our emulator's caches notice
    --count N        so many (default 500; a million; 10,000; 300)
    --from SEED      these, not the first (also --seed)
    --seed N         mutants: others than those of 0
    --area NAME      mutants: of boot or kernel only
    --at TEXT        mutants: those whose line has that in it; may be repeated
cargo xtask qemu     the emulator with our models of the boards' own NICs; its path is the last line
    --source DIR     from QEMU's source there, not from Debian's package
cargo xtask dryrun   URL or file: what would a node boot? --help lists the options
cargo xtask setup    what the others need; safe to repeat
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    use lexopt::prelude::*;
    let typed_in = std::env::current_dir().context("xtask: this directory")?;
    // Everything below names files by their place in the checkout.
    std::env::set_current_dir(root()?).context("xtask: the checkout")?;
    let mut arguments = lexopt::Parser::from_env();
    let command = match arguments.next()? {
        Some(Value(command)) => command.string()?,
        Some(Long("help") | Short('h')) | None => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "boot" => boot::run(boot::Options::parse(&mut arguments, &typed_in)?),
        "image" => {
            let image = image::build(image::Profile::parse(&mut arguments)?)?;
            image.print();
            image.within_budget()?;
            Ok(ExitCode::SUCCESS)
        }
        "dist" => dist::run(&dist::Options::parse(&mut arguments, &typed_in)?),
        "setup" => {
            nothing_more(&mut arguments)?;
            Ok(setup::run(setup::Goal::Test).exit_code())
        }
        "qemu" => qemu(&mut arguments, &typed_in),
        "dryrun" => dryrun(&mut arguments, &typed_in),
        "check" => {
            nothing_more(&mut arguments)?;
            Ok(test::check())
        }
        "test" => test::run(&test::Options::parse(&mut arguments)?),
        "soak" => soak::run(&soak::Options::parse(&mut arguments)?),
        "campaign" => campaign::run(&mut arguments),
        "bench" => bench::run(&bench::Options::parse(&mut arguments)?),
        unknown => bail!("xtask: no command {unknown}\n\n{HELP}"),
    }
}

/// `cargo xtask qemu`: the last line of standard output is the emulator's path.
fn qemu(arguments: &mut lexopt::Parser, typed_in: &Path) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let mut source = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("source") => source = Some(typed_in.join(arguments.value()?)),
            other => return Err(other.unexpected().into()),
        }
    }
    let report = setup::emulator(source.as_deref());
    if report.missing.is_empty() {
        println!(
            "{}",
            qemu::emulator::installed()?
                .join(qemu::emulator::BUILT[0])
                .display()
        );
    }
    Ok(report.exit_code())
}

/// Runs the host program, where the person typed: its output and its exit status are ours.
fn dryrun(arguments: &mut lexopt::Parser, typed_in: &Path) -> Result<ExitCode> {
    execute(cargo().args(["build", "--quiet", "--package", "bramble-dryrun"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let program = std::path::absolute(PathBuf::from(target).join("debug/bramble-dryrun"))?;
    let status = Command::new(program)
        .args(arguments.raw_args()?)
        .current_dir(typed_in)
        .status()
        .context("dryrun")?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

fn nothing_more(arguments: &mut lexopt::Parser) -> Result<()> {
    match arguments.next()? {
        Some(other) => Err(other.unexpected().into()),
        None => Ok(()),
    }
}
