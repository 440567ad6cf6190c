//! One boot from lease to handoff, and what happens when an attempt fails.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use crate::fetch::{self, Fetcher, Method, Reason, Request, Response};
use crate::find::{Found, class_wanted, find, is_for_us};
use crate::lease::{Fixed, Identity, Lease};
use crate::load;
use crate::menu::{self, Chosen, Menu, Next};
use crate::net::Net;
use crate::observe::{Boot, Event};
use crate::plan::{DeviceTree, Plan};
use crate::policy::{self, AfterAttempt, AfterEntry, Attempt, Picker};
use crate::random::Seeds;
use crate::resolve;
use crate::script::{self, Outcome, World};
use crate::settings::Current;
use crate::terminal::progress::Progress;
use crate::terminal::{POLL, write};
use crate::url::{Scheme, Url};
use crate::vlan::Tag;
use crate::{Board, Cause, Console, Ending, Entropy, Error, Handoff, Machine, Region, Settings};
use crate::{ntp, ping};

/// How often a long download says in the log how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// What may stand before an initrd that does not stay in memory, in bytes: the header of a `uInitrd`.
const WRAPPER: usize = 64;

/// A lease this young answers a script's `dhcp`: the script itself was fetched with it.
const FRESH: Duration = Duration::from_secs(30);

/// How long servers are waited for that might know the node by another user class.
const SECOND_QUESTION: Duration = Duration::from_secs(10);

/// Boots: returns a kernel that is ready to run, or why the board is to reset instead. It makes attempts until either is
/// decided, at most `settings.attempts`.
pub fn run(machine: Machine<'_>, settings: &Settings) -> Ending {
    let Machine {
        nic,
        clock,
        console,
        mut memory,
        entropy,
        board,
        platform,
        observers,
    } = machine;
    let identity = Identity::of(board, settings);
    let mut net = Net::new(nic, clock, platform, entropy, identity).heard_by(observers);
    // Its socket lives in `net`: one for all attempts.
    let mut fetcher = Fetcher::new();
    let mut failures: u32 = 0;
    // A script may change them for the attempts that follow.
    let mut settings = Current::new(settings);
    loop {
        let result = attempt(
            &mut net,
            &mut fetcher,
            console,
            memory.reborrow(),
            entropy,
            board,
            &mut settings,
        );
        // While the address is still ours: a server that hears nothing more keeps its connections, and has few.
        fetcher.close(&mut net);
        let (ended, error) = match result {
            Ok(Outcome::Boot(handoff)) => return Ending::Boot(handoff),
            Ok(Outcome::Reset) => (Attempt::Resets, None),
            Ok(Outcome::PowerOff) => (Attempt::PowersOff, None),
            Err(error) => (Attempt::Failed, Some(error)),
        };
        if let Some(error) = &error {
            failures = failures.saturating_add(1);
            net.tell(&Event::AttemptFailed(error));
            error!("{}", error);
        }
        let state = policy::State {
            failures,
            limit: settings.now.attempts,
        };
        let pause = match policy::after_attempt(state, ended, net.random()) {
            AfterAttempt::Retry(pause) => pause,
            AfterAttempt::PowerOff => return Ending::PowerOff,
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
        let deadline = net.now() + pause;
        let _: Option<()> = net.wait(deadline, |_| None);
        // What the servers said led nowhere; an operator may have changed it meanwhile.
        net.select(None);
        net.ask_as(None);
    }
}

/// The pipeline, once. Each line is a step of the picture in `lib.rs`.
fn attempt(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    console: &mut dyn Console,
    mut memory: Region<'_>,
    entropy: &mut dyn Entropy,
    board: &Board<'_>,
    settings: &mut Current<'_>,
) -> Result<Outcome, Error> {
    net.hasten(settings.now.url.is_some());
    let lease = net.lease();
    let mut found = find(net, fetcher, &lease, board, &settings.now, memory.bytes_mut());
    if let Err(error) = &found
        && let Some(class) = class_wanted(&settings.now, &lease)
    {
        warn!("{}", error);
        info!("lease: asking once more, with user class {}", class);
        fetcher.close(net);
        net.ask_as(Some(class));
        let deadline = net.now() + SECOND_QUESTION;
        let other = net.wait(deadline, |net| net.lease_now().cloned());
        if let Some(other) = other.filter(is_for_us) {
            found = find(net, fetcher, &other, board, &settings.now, memory.bytes_mut());
        }
    }
    let found = found?;
    let seeds = Seeds::draw(entropy);
    let menu = match found {
        Found::Menu(menu) => menu,
        Found::Script(script) => {
            let mut world = Live {
                leased: net.now(),
                net,
                fetcher,
                console,
                settings,
            };
            let current = world.settings.now.clone();
            return Ok(script::run(script, memory, board, &current, &seeds, &mut world)?);
        }
    };
    let menu = (*menu, settings.now.menu_timeout);
    from_menu(net, fetcher, console, memory, board, &seeds, menu).map(Outcome::Boot)
}

/// Shows a menu, and those that it leads to, until something boots or an attempt has failed. What a person chose may
/// fail: the menu comes back. What the clock chose may not, unless the menu says what to do then.
fn from_menu(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    console: &mut dyn Console,
    mut memory: Region<'_>,
    board: &Board<'_>,
    seeds: &Seeds,
    (mut menu, timeout): (Menu, Option<Duration>),
) -> Result<Handoff, Error> {
    let mut menus: usize = 0;
    menu.timed(timeout);
    let mut opened = net.now();
    loop {
        let picked = menu::choose(net, fetcher, console, &menu, memory.bytes_mut())?;
        let mut pick = picked.pick;
        loop {
            // The lease may have changed while the menu waited.
            let lease = net.lease();
            let result = match menu.leads(&pick, &lease, board) {
                Ok(Next::Boot(payload)) => {
                    info!("menu: booting {} {}", payload.kernel, payload.command_line);
                    match boot(net, fetcher, console, &payload, memory.reborrow(), board, seeds) {
                        Ok(handoff) => return Ok(handoff),
                        Err(error) => Err(error),
                    }
                }
                Ok(Next::Menu(_)) if menus >= menu::MAX_MENUS => Err(menu::Error::TooManyMenus.into()),
                Ok(Next::Menu(load)) => {
                    menu::load(net, fetcher, &load, &menu, memory.bytes_mut()).map_err(Error::Menu)
                }
                Err(error) => Err(error.into()),
            };
            let error = match result {
                Ok(mut next) => {
                    menus = menus.saturating_add(1);
                    next.timed(timeout);
                    menu = next;
                    opened = net.now();
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
            match (policy::after_entry(picker, &error), after) {
                (AfterEntry::ShowAgain, _) => {
                    net.tell(&Event::EntryFailed(&error));
                    error!("{}", error);
                    menu.again(pick, error.to_string(), net.now() - opened);
                    break;
                }
                (AfterEntry::OnError, Some(after)) => {
                    // Once: what ONERROR leads to has no ONERROR.
                    menu.on_error = None;
                    net.tell(&Event::EntryFailed(&error));
                    error!("{}", error);
                    pick = after;
                }
                _ => return Err(error),
            }
        }
    }
}

/// Downloads and places what an entry boots.
fn boot(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    console: &mut dyn Console,
    payload: &Plan,
    memory: Region<'_>,
    board: &Board<'_>,
    seeds: &Seeds,
) -> Result<Handoff, Error> {
    let there = look_ahead(net, fetcher, payload, memory.len())?;
    let mut sources: Vec<(Url, Url)> = Vec::new();
    let handoff = load::load(payload, memory, board, seeds, &mut |url, into| {
        let response = download(net, fetcher, console, &Request::get(url), into).inspect_err(|error| {
            // One that counts how often it is asked.
            if there.contains(&url) && error.may_be_absent() {
                warn!(
                    "fetch: {}: was there when it was asked for with HEAD; that is not done any more",
                    url
                );
                fetcher.distrust(&error.url);
            }
        })?;
        sources.push((url.clone(), response.url.clone()));
        Ok(response)
    })?;
    // Where they came from, after redirects.
    let source = |url| {
        let found = sources.iter().find(|(asked, _)| asked == url);
        found.map_or(url, |(_, source)| source)
    };
    net.tell(&Event::Boot(&Boot {
        kernel: source(&payload.kernel),
        initrds: payload.initrds.iter().map(source).collect(),
        command_line: &handoff.command_line,
        device_tree: match &payload.device_tree {
            DeviceTree::Firmware => None,
            DeviceTree::Served(url) => Some(source(url)),
            DeviceTree::FirstOf(urls) => {
                let mut sources = sources.iter();
                sources
                    .find(|(asked, _)| urls.contains(asked))
                    .map(|(_, source)| source)
            }
        },
    }));
    Ok(handoff)
}

/// Asks for what an entry boots beside its kernel before that is downloaded: that each file is there, and that together they
/// fit. An entry with a kernel alone costs nothing. Returns those that are there.
fn look_ahead<'p>(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    payload: &'p Plan,
    memory: usize,
) -> Result<Vec<&'p Url>, fetch::Error> {
    let tree = match &payload.device_tree {
        DeviceTree::Served(url) => Some(url),
        DeviceTree::FirstOf(_) | DeviceTree::Firmware => None,
    };
    let mut looked: Vec<&Url> = Vec::new();
    let mut there = Vec::new();
    let mut free = memory;
    for url in payload.initrds.iter().chain(tree) {
        if *url == payload.kernel || looked.contains(&url) {
            continue;
        }
        looked.push(url);
        let Some(len) = fetcher.look(net, url)? else {
            continue;
        };
        there.push(url);
        let bytes = usize::try_from(len).unwrap_or(usize::MAX);
        if bytes > free {
            return Err(fetch::Error {
                // TFTP has one way to ask.
                method: match url.scheme() {
                    Scheme::Http => Method::Head,
                    Scheme::Tftp => Method::Get,
                },
                url: url.clone(),
                reason: Reason::TooLarge {
                    len: Some(len),
                    space: free,
                },
            });
        }
        // U-Boot's wrapper comes off.
        free = free.saturating_sub(bytes.saturating_sub(WRAPPER));
    }
    Ok(there)
}

/// Downloads, and says now and then how far it is: to a person, or, where the terminal has frames on it, in log lines.
fn download(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    console: &mut dyn Console,
    request: &Request<'_>,
    into: &mut [u8],
) -> Result<Response, fetch::Error> {
    let clock = net.clock();
    let mut next = clock.now() + PROGRESS;
    let mut progress = Progress::new(clock.now());
    let mut output = String::new();
    let result = fetcher.send(net, request, into, &mut |done, total| {
        let now = clock.now();
        if cfg!(not(feature = "defmt")) {
            progress.arrived(done, total, now, &mut output);
            write(console, &mut output);
        } else if now >= next {
            next = now + PROGRESS;
            // Without a length the server has not said how much will come.
            info!(
                "fetch: {}: {} of {} KiB",
                request.url,
                done / 1024,
                total.unwrap_or_default() / 1024
            );
        }
    });
    progress.end(&mut output);
    write(console, &mut output);
    result
}

/// The world of a script on the board.
struct Live<'a, 'm, 's> {
    net: &'a mut Net<'m>,
    fetcher: &'a mut Fetcher,
    console: &'a mut dyn Console,
    /// When DHCP was last asked.
    leased: Instant,
    settings: &'a mut Current<'s>,
}

impl World for Live<'_, '_, '_> {
    fn now(&self) -> Instant {
        self.net.now()
    }

    fn key(&mut self, deadline: Instant) -> Option<u8> {
        loop {
            let console = &mut *self.console;
            let until = deadline.min(self.net.now() + POLL);
            let key = self.net.wait(until, |_| {
                let mut byte = [0];
                let ready = console.read_ready() == Ok(true) && console.read(&mut byte) == Ok(1);
                ready.then_some(byte)
            });
            if let Some([key]) = key {
                return Some(key);
            }
            if self.net.now() >= deadline {
                return None;
            }
        }
    }

    fn print(&mut self, text: &str) {
        let mut output = String::new();
        for c in text.chars() {
            match c {
                '\n' => output.push_str("\r\n"),
                // What moves the cursor or changes colours is the script's to use.
                '\x1b' | '\x08' | '\r' | '\t' => output.push(c),
                _ if c.is_control() => {}
                _ => output.push(c),
            }
        }
        if !output.is_empty() {
            write(self.console, &mut output);
        }
    }

    fn fetch(&mut self, request: &Request<'_>, into: &mut [u8]) -> Result<Response, fetch::Error> {
        download(self.net, self.fetcher, self.console, request, into)
    }

    fn choose(&mut self, menu: &Menu) -> Chosen {
        menu::ask(self.net, self.console, menu)
    }

    fn lease(&mut self) -> Option<Lease> {
        self.net.lease_now().cloned()
    }

    fn dhcp(&mut self, patience: Duration) -> bool {
        let now = self.net.now();
        if self.net.lease_now().is_some() && !self.net.is_fixed() && now < self.leased + FRESH {
            return true;
        }
        // While the address is still ours.
        self.fetcher.close(self.net);
        self.net.ask_again();
        self.leased = now;
        let granted = self.net.wait(now + patience, |net| net.lease_now().map(|_| ()));
        granted.is_some()
    }

    fn resolve(&mut self, host: &str) -> Result<Ipv4Address, resolve::Error> {
        resolve::resolve(self.net, host)
    }

    fn fix(&mut self, fixed: &Fixed) {
        // The connection was made from the old address.
        self.fetcher.close(self.net);
        self.net.fix(fixed.clone());
    }

    fn select(&mut self, tag: Option<Tag>) -> bool {
        // While the address is still ours.
        self.fetcher.close(self.net);
        self.net.select(tag);
        true
    }

    fn link(&mut self) -> bool {
        self.net.link()
    }

    fn echo(&mut self, host: Ipv4Address, sequence: u16, size: usize, patience: Duration) -> bool {
        ping::echo(self.net, host, sequence, size, patience)
    }

    fn ntp(&mut self, server: Ipv4Address) -> Result<u64, ntp::Error> {
        ntp::ask(self.net, server)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.settings.set(name, value);
    }

    fn event(&mut self, event: &Event<'_>) {
        self.net.tell(event);
    }
}
