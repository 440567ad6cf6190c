//! What would a node boot? The firmware's own `boot` against real servers: nothing starts but the downloads.
//!
#![doc = include_str!("../README.md")]

mod clock;
mod desk;
mod dhcp;
mod dns;
mod files;
mod frames;
mod gateway;
mod model;
mod node;
mod options;
mod outside;
mod shared;
mod site;
mod tftp;
mod trace;
mod web;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use options::{HELP, Options};
use trace::{Decision, Told};

/// The exit status for a command line that makes no sense.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = match Options::parse(&mut lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("bramble-dryrun: {error:#}\nbramble-dryrun --help lists the options");
            return ExitCode::from(USAGE);
        }
    };
    let mut run = Run {
        json: options.json,
        requests: options.requests,
        limit: Instant::now() + options.limit,
        menu: None,
        picked: false,
        failed: None,
        boot: None,
    };
    let lease = &options.lease;
    let file = lease.options.iter().find(|(tag, _)| *tag == 67);
    run.show(&Told::Lease {
        ip: lease.address.to_string(),
        router: lease.server.to_string(),
        next_server: lease.next_server.to_string(),
        filename: file.map(|(_, name)| String::from_utf8_lossy(name).into_owned()),
    });
    let (told, hears) = mpsc::channel();
    listen_to_warnings(told.clone());
    // The thread is not joined: the outcome may be known before the boot ends, and the process ends the thread.
    thread::spawn(move || node::boot(options, told));
    let decision = run.follow(&hears);
    run.show(&Told::End(decision.clone()));
    ExitCode::from(decision.code())
}

/// The state of the report.
struct Run {
    json: bool,
    /// How many more requests are allowed.
    requests: usize,
    limit: Instant,
    /// The menu that is open.
    menu: Option<trace::Menu>,
    /// Whether the last choice was the operator's.
    picked: bool,
    /// What is wrong with the entry that was chosen last: the step, and why.
    failed: Option<(&'static str, String)>,
    /// What would boot, once that is known.
    boot: Option<Decision>,
}

impl Run {
    /// Reports events until the outcome is known.
    fn follow(&mut self, hears: &Receiver<Told>) -> Decision {
        loop {
            let left = self.limit.saturating_duration_since(Instant::now());
            let told = match hears.recv_timeout(left) {
                Ok(told) => told,
                Err(RecvTimeoutError::Timeout) => {
                    return Decision::Fail {
                        step: "time",
                        reason: "nothing was decided in the time allowed (--limit)".into(),
                    };
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Decision::Fail {
                        step: "dryrun",
                        reason: "the boot broke off: please report this".into(),
                    };
                }
            };
            match &told {
                Told::Asking if self.requests == 0 => {
                    return Decision::Fail {
                        step: "requests",
                        reason: "nothing was decided in as many requests as allowed (--requests)".into(),
                    };
                }
                Told::Asking => self.requests -= 1,
                Told::EntryFailed { step, reason } => self.failed = Some((step, reason.clone())),
                Told::Shown(menu) => {
                    // A person could choose again when an entry cannot boot, but the operator asked for this one.
                    if let Some((step, reason)) = self.failed.take().filter(|_| self.picked) {
                        return Decision::Fail { step, reason };
                    }
                    self.menu = Some(menu.clone());
                }
                Told::Menu(menu) => (self.menu, self.picked) = (None, menu.by == "operator"),
                Told::Boot {
                    kernel,
                    initrds,
                    cmdline,
                    fdt,
                } => {
                    self.boot = Some(Decision::Boot {
                        kernel: kernel.clone(),
                        initrds: initrds.clone(),
                        cmdline: cmdline.clone(),
                        fdt: fdt.clone(),
                    });
                }
                Told::End(decision) => {
                    // The menu that is still open is one that nobody answered: the report shows it.
                    if let Some(menu) = self.menu.take() {
                        self.show(&Told::Menu(menu));
                    }
                    return match (decision, self.boot.take()) {
                        (Decision::Boot { .. }, Some(boot)) => boot,
                        (decision, _) => decision.clone(),
                    };
                }
                _ => {}
            }
            self.show(&told);
            // Nobody is there to type anything.
            if let Told::Command { words, .. } = &told
                && matches!(&words[..], [name] if name == "shell")
            {
                return Decision::Shell;
            }
        }
    }

    fn show(&self, told: &Told) {
        let text = if self.json { told.json() } else { told.text() };
        if let Some(text) = text {
            // The reader may have closed the pipe; the exit status still counts.
            let _ = std::io::stdout().write_all(text.as_bytes());
            let _ = std::io::stdout().flush();
        }
    }
}

/// Turns the firmware's warnings into notes of the report.
fn listen_to_warnings(told: Sender<Told>) {
    struct Warnings(Mutex<Sender<Told>>);
    impl log::Log for Warnings {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.level() == log::Level::Warn && metadata.target().starts_with("boot")
        }

        fn log(&self, record: &log::Record<'_>) {
            // A script's failures are events.
            if self.enabled(record.metadata())
                && record.target() != boot::script::TOLD
                && let Ok(told) = self.0.lock()
            {
                let _ = told.send(Told::Note(record.args().to_string()));
            }
        }

        fn flush(&self) {}
    }
    if log::set_boxed_logger(Box::new(Warnings(Mutex::new(told)))).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}
