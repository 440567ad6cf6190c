//! Boots kernel8.img on an emulated Pi with a demo network, and shows its console.

use std::fs;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qemu::console::{Console, Waited, line_regex};
use qemu::firmware::card::Layout;
use qemu::http::Server;
use qemu::payload::HELLO;
use qemu::{Board, Firmware, Machine, Net, Payload, Qemu, Uart};

use crate::builtin;
use crate::first_stage::{self, FirstStage, From};
use crate::image::{self, Profile};
use crate::program::output;
use crate::setup::{self, Goal};
use crate::site::Site;

/// The exit status of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// `cargo xtask boot`'s options.
#[derive(Debug)]
pub(crate) struct Options {
    board: Board,
    kernel: Option<PathBuf>,
    initrd: Option<PathBuf>,
    append: String,
    menu: Option<PathBuf>,
    root: Option<PathBuf>,
    timeout: Duration,
    expect: Option<String>,
    interactive: bool,
    profile: Profile,
    trace: Option<PathBuf>,
    from: Option<From>,
}

impl Options {
    /// Relative paths are under `directory`, where the person typed them.
    pub(crate) fn parse(arguments: &mut lexopt::Parser, directory: &Path) -> Result<Self> {
        use lexopt::prelude::*;
        let mut options = Self {
            board: Board::default(),
            kernel: None,
            initrd: None,
            append: String::new(),
            menu: None,
            root: None,
            timeout: Duration::from_secs(600),
            expect: None,
            interactive: false,
            profile: Profile::Release,
            trace: None,
            from: None,
        };
        let (mut board, mut generation) = (None, None);
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("board") => board = Some(Board::from_name(&arguments.value()?.string()?)?),
                Long("from") => options.from = Some(From::named(&arguments.value()?.string()?)?),
                Long("firmware") => generation = Some(first_stage::board(&arguments.value()?.string()?)?),
                Long("kernel") => options.kernel = Some(directory.join(arguments.value()?)),
                Long("initrd") => options.initrd = Some(directory.join(arguments.value()?)),
                Long("append") => options.append = arguments.value()?.string()?,
                Long("menu") => options.menu = Some(directory.join(arguments.value()?)),
                Long("root") => options.root = Some(directory.join(arguments.value()?)),
                Long("timeout") => {
                    // More would overflow the deadline.
                    let seconds: u32 = arguments.value()?.parse().context("boot: --timeout")?;
                    options.timeout = Duration::from_secs(seconds.into());
                }
                Long("expect") => options.expect = Some(arguments.value()?.string()?),
                Long("interactive") => options.interactive = true,
                Long("debug") => options.profile = Profile::Debug,
                Long("trace-net") => options.trace = Some(directory.join(arguments.value()?)),
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!(
            generation.is_none() || options.from.is_some(),
            "boot: --firmware without --from: the image is in memory already"
        );
        ensure!(
            board.is_none() || options.from.is_none(),
            "boot: --board with --from: --firmware says which board"
        );
        ensure!(
            options.root.is_none() || options.from != Some(From::Tftp),
            "boot: --root with --from tftp: there is no web server"
        );
        options.board = match options.from {
            Some(_) => generation.unwrap_or(Board::Pi4b),
            None => board.unwrap_or_default(),
        };
        ensure!(
            options.menu.is_none() || options.append.is_empty(),
            "boot: --append with --menu: the menu is sent as it is; write the words on its APPEND line"
        );
        ensure!(
            options.expect.is_none() || !options.interactive,
            "boot: --expect with --interactive: the keys decide when it ends"
        );
        Ok(options)
    }
}

/// Boots; success when the console said what was expected.
pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let pattern = line_regex(options.expect.as_deref().unwrap_or(HELLO))?;
    for file in [&options.kernel, &options.initrd, &options.menu, &options.root]
        .into_iter()
        .flatten()
    {
        fs::metadata(file).with_context(|| format!("boot: {}", file.display()))?;
    }
    // What is missing has been said; whether it was needed shows below.
    setup::run(if options.board.needs_models() {
        Goal::Emulator
    } else {
        Goal::Boot
    });
    if let Some(reason) = options.board.unavailable() {
        anyhow::bail!("boot: board {}: {reason}", options.board.name());
    }
    let image = image::compile(options.profile)?;
    let server = Server::start()?;
    // What has to stay until the machine has ended.
    let (mut network, mut files) = (None, None);
    let mut machine = match options.from {
        None => {
            let firmware = Firmware::default();
            let site = site(&options, firmware.uart)?;
            let mut machine = Machine::new(options.board, &image.file).firmware(firmware);
            if let Some(tree) = &site.tree {
                machine = machine.device_tree(tree.clone());
            }
            site.serve(&server, options.root.as_deref());
            machine.net(Net::user().boot_file(server.url("/menu")))
        }
        Some(from) => {
            let stage = FirstStage::new(options.board, &image.file)?;
            let site = site(&options, stage.uart())?;
            let layout = match from {
                From::Tftp => None,
                From::Card => Some(Layout::Card),
                From::BootImage => Some(Layout::BootImage),
            };
            if let Some(layout) = layout {
                let (machine, scratch) = stage.reads_card(layout)?;
                files = Some(scratch);
                site.serve(&server, options.root.as_deref());
                machine.net(Net::user().boot_file(server.url("/menu")))
            } else {
                let (machine, lan) = stage.asks_network(site)?;
                network = Some(lan);
                machine
            }
        }
    };
    if let Some(pcap) = &options.trace {
        machine = machine.capture(pcap);
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("boot: signals")?;
    }
    let menu = match &network {
        Some(_) => "by TFTP".to_owned(),
        None => server.url("/menu"),
    };
    println!(
        "boot: {} on {}, menu {menu}",
        image.file.display(),
        options.board.name()
    );
    let mut qemu = machine.start()?;
    let _until_the_end = (network, files);
    qemu.console().echo();
    if options.interactive {
        return interact(&mut qemu, &interrupted);
    }
    let deadline = Instant::now() + options.timeout;
    let said = loop {
        match qemu.console().wait(&pattern, Duration::from_millis(200)) {
            Waited::Found(_) => break true,
            Waited::Ended => break false,
            Waited::NotYet if interrupted.load(Ordering::Relaxed) => return Ok(ExitCode::from(INTERRUPTED)),
            Waited::NotYet if Instant::now() >= deadline => {
                println!();
                anyhow::bail!("boot: no /{pattern}/ within {} s", options.timeout.as_secs());
            }
            Waited::NotYet => {}
        }
    };
    if interrupted.load(Ordering::Relaxed) {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    ensure!(
        said,
        "boot: the machine ended before /{pattern}/ {}",
        qemu.complaints().trim()
    );
    if options.expect.is_none() {
        // The demo powers off after its hello; that it can is part of the demo.
        qemu.wait(Duration::from_secs(60))?;
    }
    println!();
    Ok(ExitCode::SUCCESS)
}

/// What the options ask for, or the demo, for a console on `uart`.
fn site(options: &Options, uart: Uart) -> Result<Site> {
    let payload = Payload::find();
    let tree = match &payload {
        Ok(payload) => Some(payload.device_tree(options.board)?),
        Err(_) => None,
    };
    let read = |file: &PathBuf| fs::read(file).with_context(|| format!("boot: {}", file.display()));
    let mut initrd = options.initrd.as_ref().map(read).transpose()?;
    let kernel = match (&options.kernel, &payload) {
        (Some(kernel), _) => kernel.clone(),
        (None, Ok(payload)) => {
            if initrd.is_none() {
                initrd = Some(payload.initrd(options.board)?);
            }
            payload.kernel()
        }
        (None, Err(reason)) => {
            println!("boot: {reason:#}; the built-in payload stands in");
            builtin::build()?
        }
    };
    let console = uart.linux_name();
    let hold = if options.interactive { " bramble.hold" } else { "" };
    let append = format!(
        "console={console},115200 quiet retain_initrd{hold} {}",
        options.append
    );
    let menu = match &options.menu {
        Some(menu) => read(menu)?,
        None => demo_menu(append.trim(), initrd.is_some()).into_bytes(),
    };
    Ok(Site {
        menu,
        kernel,
        initrd,
        tree,
    })
}

/// A PXELINUX menu for the one payload that `serve` puts beside it.
pub(crate) fn demo_menu(append: &str, initrd: bool) -> String {
    let initrd = if initrd { "  INITRD initrd\n" } else { "" };
    format!(
        "DEFAULT demo\nLABEL demo\n  MENU LABEL The demo payload\n  LINUX vmlinuz\n{initrd}  APPEND {append}\n"
    )
}

/// Connects the terminal and the console until the machine ends or somebody types Ctrl-A x.
fn interact(qemu: &mut Qemu, interrupted: &AtomicBool) -> Result<ExitCode> {
    let _raw = RawTerminal::enter()?;
    let left = Arc::new(AtomicBool::new(false));
    let typed = Arc::clone(&left);
    let mut keys = qemu.console().try_clone()?;
    // Ends with the process: nothing can wake a read of the terminal.
    thread::spawn(move || {
        forward_keys(&mut keys);
        typed.store(true, Ordering::Relaxed);
    });
    let never = line_regex("[^\\s\\S]")?;
    while !left.load(Ordering::Relaxed) && !interrupted.load(Ordering::Relaxed) {
        if qemu.console().wait(&never, Duration::from_millis(100)) == Waited::Ended {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-A, then x: QEMU's own way out.
const ESCAPE: u8 = 1;

fn forward_keys(console: &mut Console) {
    let mut escaped = false;
    for key in std::io::stdin().lock().bytes() {
        let Ok(key) = key else { return };
        if escaped && key == b'x' {
            return;
        }
        // Ctrl-A twice sends one.
        let send = escaped || key != ESCAPE;
        escaped = !send;
        if send && console.send(&[key]).is_err() {
            return;
        }
    }
}

/// A terminal that gives every key at once, put back as it was when dropped.
struct RawTerminal {
    settings: Option<String>,
}

impl RawTerminal {
    fn enter() -> Result<Self> {
        if !std::io::stdin().is_terminal() {
            return Ok(Self { settings: None });
        }
        let stty = |argument: &str| {
            output(
                Command::new("stty")
                    .arg(argument)
                    .stdin(std::process::Stdio::inherit()),
            )
        };
        let settings = stty("-g").context("boot: the terminal")?;
        println!("boot: your keys go to the console; Ctrl-A x ends");
        let raw = Self {
            settings: Some(settings.trim().to_owned()),
        };
        output(
            Command::new("stty")
                .args(["raw", "-echo", "opost"])
                .stdin(std::process::Stdio::inherit()),
        )
        .context("boot: the terminal")?;
        Ok(raw)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.settings {
            // A terminal that is gone needs no settings.
            let _ = Command::new("stty").arg(settings).status();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &'static [&'static str]) -> Result<Options> {
        let mut parser = lexopt::Parser::from_args(arguments);
        Options::parse(&mut parser, Path::new("/typed/here"))
    }

    fn refusal(arguments: &'static [&'static str]) -> String {
        format!("{:#}", parse(arguments).unwrap_err())
    }

    #[test]
    fn without_options_the_demo_boots() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.board, Board::default());
        for path in [
            &options.kernel,
            &options.initrd,
            &options.menu,
            &options.root,
            &options.trace,
        ] {
            assert_eq!(*path, None);
        }
        assert_eq!(options.append, "");
        assert_eq!(options.timeout, Duration::from_secs(600));
        assert_eq!(options.expect, None);
        assert!(!options.interactive);
        assert_eq!(options.profile, Profile::Release);
    }

    #[test]
    fn every_option_arrives() {
        for board in Board::ALL {
            let mut parser = lexopt::Parser::from_args(["--board", board.name()]);
            assert_eq!(Options::parse(&mut parser, Path::new("/")).unwrap().board, board);
        }
        let options = parse(&["--append", "a b", "--timeout", "7", "--expect", "^ok$", "--debug"]).unwrap();
        assert_eq!(options.append, "a b");
        assert_eq!(options.timeout, Duration::from_secs(7));
        assert_eq!(options.expect.as_deref(), Some("^ok$"));
        assert_eq!(options.profile, Profile::Debug);
        assert!(parse(&["--interactive"]).unwrap().interactive);
        for (from, expected) in [
            ("sd", From::Card),
            ("tftp", From::Tftp),
            ("boot.img", From::BootImage),
        ] {
            let mut parser = lexopt::Parser::from_args(["--from", from]);
            let options = Options::parse(&mut parser, Path::new("/")).unwrap();
            assert_eq!((options.from, options.board), (Some(expected), Board::Pi4b));
        }
        let options = parse(&["--firmware", "pi3", "--from", "sd"]).unwrap();
        assert_eq!(options.board, Board::Pi3b);
    }

    #[test]
    fn paths_are_relative_to_where_they_were_typed() {
        let options = parse(&[
            "--kernel",
            "Image",
            "--initrd",
            "../initrd",
            "--menu=my.menu",
            "--root",
            ".",
            "--trace-net",
            "/tmp/net.pcap",
        ])
        .unwrap();
        assert_eq!(options.kernel.as_deref(), Some(Path::new("/typed/here/Image")));
        assert_eq!(
            options.initrd.as_deref(),
            Some(Path::new("/typed/here/../initrd"))
        );
        assert_eq!(options.menu.as_deref(), Some(Path::new("/typed/here/my.menu")));
        assert_eq!(options.root.as_deref(), Some(Path::new("/typed/here")));
        assert_eq!(options.trace.as_deref(), Some(Path::new("/tmp/net.pcap")));
    }

    #[test]
    fn an_option_that_would_be_ignored_is_refused() {
        let refused = refusal(&["--menu", "m", "--append", "quiet"]);
        assert!(refused.contains("the menu is sent as it is"), "{refused}");
        for (arguments, reason) in [
            (&["--firmware", "pi3"][..], "--firmware without --from"),
            (&["--from", "sd", "--board", "3b"], "--board with --from"),
            (&["--from", "tftp", "--root", "."], "--root with --from tftp"),
        ] {
            let refused = refusal(arguments);
            assert!(refused.contains(reason), "{refused}");
        }
        let refused = refusal(&["--expect", "x", "--interactive"]);
        assert!(refused.contains("--expect with --interactive"), "{refused}");
    }

    #[test]
    fn what_is_no_option_is_refused() {
        assert!(refusal(&["--board", "5b"]).contains("board 5b: not one of 3b-usbnet"));
        assert!(refusal(&["--from", "usb"]).contains("--from usb: not one of sd, tftp, boot.img"));
        assert!(
            refusal(&["--from", "sd", "--firmware", "pi5"]).contains("--firmware pi5: not one of pi3, pi4")
        );
        assert!(refusal(&["--frobnicate"]).contains("'--frobnicate'"));
        assert!(refusal(&["stray"]).contains("\"stray\""));
        for seconds in ["soon", "-1", "1.5", "", "4294967296"] {
            let mut parser = lexopt::Parser::from_args(["--timeout", seconds]);
            let refused = format!("{:#}", Options::parse(&mut parser, Path::new("/")).unwrap_err());
            assert!(refused.starts_with("boot: --timeout: "), "{refused}");
        }
    }

    #[test]
    fn an_option_without_its_value_is_refused() {
        for option in [
            "--board",
            "--kernel",
            "--initrd",
            "--append",
            "--menu",
            "--root",
            "--timeout",
            "--expect",
            "--trace-net",
            "--from",
            "--firmware",
        ] {
            let mut parser = lexopt::Parser::from_args([option]);
            let refused = format!("{:#}", Options::parse(&mut parser, Path::new("/")).unwrap_err());
            assert!(
                refused.contains("missing argument") && refused.contains(option),
                "{refused}"
            );
        }
        for option in ["--interactive=yes", "--debug=1"] {
            let mut parser = lexopt::Parser::from_args([option]);
            assert!(Options::parse(&mut parser, Path::new("/")).is_err(), "{option}");
        }
    }

    #[test]
    fn the_demo_menu_names_what_is_served() {
        let menu = demo_menu("console=ttyAMA0", true);
        assert!(
            menu.contains("  LINUX vmlinuz\n  INITRD initrd\n  APPEND console=ttyAMA0\n"),
            "{menu}"
        );
        assert!(!demo_menu("", false).contains("INITRD"));
    }
}
