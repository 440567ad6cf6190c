//! One boot from lease to handoff, and what happens when an attempt fails.

use alloc::format;
use alloc::string::{String, ToString as _};

use crate::find::{Found, class_wanted, find, is_for_us};
use crate::gather::gather;
use crate::menu::{self, Menu, Next};
use crate::node::Node;
use crate::observe::Event;
use crate::patience;
use crate::plan::Plan;
use crate::policy::{self, AfterAttempt, AfterEntry, Attempt, BeforeAttempt, Picker};
use crate::script::{self, Outcome};
use crate::{Cause, Ending, Error, Handoff, Machine, Region, Settings};

/// Boots: returns a kernel that is ready to run, or why the board is to reset instead. It makes attempts until either is
/// decided, at most `settings.attempts`.
pub fn run(machine: Machine<'_>, settings: &Settings) -> Ending {
    let (mut node, mut memory) = Node::new(machine, settings);
    let mut failures: u32 = 0;
    loop {
        if failures > 0 && policy::before_attempt(node.net.worth()) == BeforeAttempt::DrawAgain {
            node.draw_again();
        }
        let result = attempt(&mut node, memory.reborrow());
        // While the address is still ours: a server that hears nothing more keeps its connections, and has few.
        node.hang_up();
        let (ended, error) = match result {
            Ok(Outcome::Boot(handoff)) => {
                let watchdog = node.settings.now.watchdog(&handoff.command_line);
                return Ending::Boot(handoff, watchdog);
            }
            Ok(Outcome::Reset) => (Attempt::Resets, None),
            Ok(Outcome::PowerOff) => (Attempt::PowersOff, None),
            Err(error) => (policy::attempt_of(&error), Some(error)),
        };
        // As it was in this attempt, whoever set it.
        let (limit, local) = (node.settings.now.attempts, node.settings.now.local);
        if let Some(error) = &error {
            failures = failures.saturating_add(1);
            if node.settings.attempt_failed(patience::TRUSTED_FAILURES) {
                warn!("settings: what a script has set led nowhere, and is forgotten");
            }
            if ended == Attempt::Failed || local.is_none() {
                node.tell(&Event::AttemptFailed(error));
                error!("{}", error);
            }
        }
        let state = policy::State {
            failures,
            limit,
            local,
        };
        let pause = match policy::after_attempt(state, ended, node.net.random()) {
            AfterAttempt::Retry(pause) => pause,
            AfterAttempt::PowerOff => return Ending::PowerOff,
            AfterAttempt::Local(way, pause) => {
                let no = error.as_ref().map(no).unwrap_or_default();
                info!(
                    "local: {}; booting the board's own disk ({}) in {} s",
                    no,
                    way,
                    pause.secs()
                );
                let deadline = node.net.now() + pause;
                let _: Option<()> = node.net.wait(deadline, |_| None);
                return Ending::Local(way);
            }
            AfterAttempt::Reset => {
                let cause = error.map_or(Cause::Script, |error| Cause::GaveUp(failures, error));
                return Ending::Reset(cause);
            }
        };
        info!(
            "retry: attempt {} in {} ms",
            failures.saturating_add(1),
            pause.total_millis()
        );
        let deadline = node.net.now() + pause;
        let _: Option<()> = node.net.wait(deadline, |_| None);
        // What the servers said led nowhere; an operator may have changed it meanwhile.
        node.net.select(None);
        node.net.ask_as(None);
    }
}

/// How a server said that nothing of it is for this node.
fn no(error: &Error) -> String {
    match error {
        Error::Menu(menu::Error::Unsupported(entry, _)) => format!("entry \"{entry}\" says LOCALBOOT"),
        Error::Script(script::Error::Ended(url)) => format!("{url} ended without booting anything"),
        error => error.to_string(),
    }
}

/// One attempt: a lease, the text that it leads to, and what that boots. A menu's entry is a plan, whose files are gathered; a script
/// has gathered its own. From there on there is one road, [`Node::load`].
fn attempt(node: &mut Node<'_>, mut memory: Region<'_>) -> Result<Outcome, Error> {
    node.net.hasten(node.settings.now.url.is_some());
    let lease = node.net.lease();
    let mut found = find(node, &lease, memory.bytes_mut());
    if let Err(error) = &found
        && let Some(class) = class_wanted(&node.settings.now, &lease)
    {
        warn!("{}", error);
        info!("lease: asking once more, with user class {}", class);
        node.hang_up();
        node.net.ask_as(Some(class));
        let deadline = node.net.now() + patience::SECOND_CLASS;
        let other = node.net.wait(deadline, |net| net.lease_now().cloned());
        if let Some(other) = other.filter(is_for_us) {
            found = find(node, &other, memory.bytes_mut());
        }
    }
    let found = found?;
    node.draw_seeds();
    match found {
        Found::Menu(menu) => from_menu(node, memory, *menu).map(Outcome::Boot),
        Found::Script(script) => {
            node.leased = node.net.now();
            let (board, settings) = (node.board, node.settings.now.clone());
            Ok(script::run(script, memory, board, &settings, node)?)
        }
    }
}

/// Shows a menu, and those that it leads to, until something boots or an attempt has failed. What a person chose may
/// fail: the menu comes back. What the clock chose may not, unless the menu says what to do then.
fn from_menu(node: &mut Node<'_>, mut memory: Region<'_>, mut menu: Menu) -> Result<Handoff, Error> {
    let timeout = node.settings.now.menu_timeout;
    let mut menus: usize = 0;
    menu.timed(timeout);
    let mut opened = node.net.now();
    loop {
        let picked = menu::choose(node, &menu, memory.bytes_mut())?;
        let mut pick = picked.pick;
        loop {
            // The lease may have changed while the menu waited.
            let lease = node.net.lease();
            let result = match menu.leads(&pick, &lease, node.board) {
                Ok(Next::Boot(payload)) => {
                    info!("menu: booting {} {}", payload.kernel.url, payload.command_line);
                    match boot(node, &payload, memory.reborrow()) {
                        Ok(handoff) => return Ok(handoff),
                        Err(error) => Err(error),
                    }
                }
                Ok(Next::Menu(_)) if menus >= menu::MAX_MENUS => Err(menu::Error::TooManyMenus.into()),
                Ok(Next::Menu(load)) => {
                    menu::load(node, &load, &menu, memory.bytes_mut()).map_err(Error::Menu)
                }
                Err(error) => Err(error.into()),
            };
            let error = match result {
                Ok(mut next) => {
                    menus = menus.saturating_add(1);
                    if !picked.by_person {
                        next.led_by_clock(&menu);
                    }
                    next.timed(timeout);
                    menu = next;
                    opened = node.net.now();
                    break;
                }
                Err(error) => error,
            };
            let after = menu.after(&pick);
            let picker = match &after {
                _ if picked.by_person => Picker::Person,
                Some(_) => Picker::ClockWithOnError,
                None => Picker::Clock,
            };
            let act = policy::after_entry(picker, &error, node.settings.now.local);
            if act == AfterEntry::FailAttempt {
                return Err(error);
            }
            node.tell(&Event::EntryFailed(&error));
            error!("{}", error);
            match after.filter(|_| act == AfterEntry::OnError) {
                Some(after) => {
                    // Once: what ONERROR leads to has no ONERROR.
                    menu.on_error = None;
                    pick = after;
                }
                None => {
                    menu.again(pick, error.to_string(), node.net.now() - opened);
                    break;
                }
            }
        }
    }
}

/// The road from a plan on: fetch, verify, load.
fn boot(node: &mut Node<'_>, plan: &Plan, mut memory: Region<'_>) -> Result<Handoff, Error> {
    let mut parts = gather(node, plan, &mut memory)?;
    Ok(node.load(&mut parts, memory)?)
}
