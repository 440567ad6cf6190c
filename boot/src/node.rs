//! What every step may use, in menus and scripts alike: the network, downloads, the terminal, settings, the board (D-153).

use alloc::string::String;

use smoltcp::time::Instant;

use crate::fetch::{self, Exchange, Fetcher, Request, Response, Sink, Watch};
use crate::hal::{Board, Console, Entropy};
use crate::handoff::Handoff;
use crate::lease::Identity;
use crate::load::{self, Parts};
use crate::machine::Machine;
use crate::memory::Region;
use crate::net::Net;
use crate::observe::{Booting, Event, Observers};
use crate::patience;
use crate::random::Seeds;
use crate::settings::{Current, Settings};
use crate::terminal::progress::Progress;
use crate::terminal::write;
use crate::url::Url;

/// A node that boots. Payload memory is apart: it is divided while all this is used.
pub(crate) struct Node<'m> {
    pub(crate) net: Net<'m>,
    /// Its socket lives in `net`: one for all attempts.
    pub(crate) fetcher: Fetcher,
    pub(crate) console: &'m mut dyn Console,
    /// A script may change them for the attempts that follow.
    pub(crate) settings: Current,
    pub(crate) board: &'m Board<'m>,
    /// For Linux, drawn anew in each attempt.
    pub(crate) seeds: Seeds,
    /// When DHCP was last asked.
    pub(crate) leased: Instant,
    entropy: &'m mut dyn Entropy,
    observers: Observers<'m>,
}

impl<'m> Node<'m> {
    /// The node that a machine is, and its payload memory. Nothing is sent yet.
    pub(crate) fn new(machine: Machine<'m>, settings: &Settings) -> (Self, Region<'m>) {
        let Machine {
            nic,
            clock,
            console,
            memory,
            entropy,
            board,
            platform,
            observers,
        } = machine;
        let identity = Identity::of(board, settings);
        let node = Self {
            net: Net::new(nic, clock, platform, entropy, identity),
            fetcher: Fetcher::new(),
            console,
            settings: Current::new(settings),
            board,
            seeds: Seeds::default(),
            leased: Instant::ZERO,
            entropy,
            observers: Observers(observers),
        };
        (node, memory)
    }

    /// Asks the generator of random numbers again, where it has failed (D-207).
    pub(crate) fn draw_again(&mut self) {
        self.net.draw(self.entropy);
    }

    /// Draws new seeds for Linux.
    pub(crate) fn draw_seeds(&mut self) {
        self.seeds = Seeds::draw(self.entropy);
    }

    /// Tells whoever listens what happens.
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        self.observers.tell(event);
    }

    /// Closes the connection and forgets what it taught.
    pub(crate) fn hang_up(&mut self) {
        self.fetcher.close(&mut self.net);
    }

    /// Downloads a text, which takes no time worth a line on the terminal.
    pub(crate) fn get(&mut self, url: &Url, into: &mut [u8]) -> Result<Response, fetch::Error> {
        self.fetcher.get(&mut self.net, url, into, &mut self.observers)
    }

    /// Downloads, and says now and then how far it is: to a person, or, where the terminal has frames on it, in log lines.
    pub(crate) fn download(
        &mut self,
        request: &Request<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Response, fetch::Error> {
        let clock = self.net.clock();
        let console = &mut *self.console;
        let mut next = clock.now() + patience::PROGRESS_LINE;
        let mut progress = Progress::new(clock.now());
        let mut output = String::new();
        let mut watch = Attended {
            observers: &mut self.observers,
            progress: &mut |done, total| {
                let now = clock.now();
                if cfg!(not(feature = "defmt")) {
                    progress.arrived(done, total, now, &mut output);
                    write(console, &mut output);
                } else if now >= next {
                    next = now + patience::PROGRESS_LINE;
                    // Without a length the server has not said how much will come.
                    info!(
                        "fetch: {}: {} of {} KiB",
                        request.url,
                        done / 1024,
                        total.unwrap_or_default() / 1024
                    );
                }
            },
        };
        let result = self.fetcher.download(&mut self.net, request, sink, &mut watch);
        progress.end(&mut output);
        write(self.console, &mut output);
        result
    }

    /// Places what boots, and tells whoever listens: from here on a kernel is about to run.
    pub(crate) fn load(&mut self, parts: &mut Parts, memory: Region<'_>) -> Result<Handoff, load::Error> {
        let handoff = load::load(parts, memory, self.board, &self.seeds, &mut |_| {
            self.net.kick_watchdog()
        })?;
        self.tell(&Event::Boot(&Booting::new(parts, &handoff)));
        Ok(handoff)
    }

    /// Asks whether a file is there, and how long it is; none when its server cannot be asked.
    pub(crate) fn look(&mut self, url: &Url) -> Result<Option<u64>, fetch::Error> {
        self.fetcher.look(&mut self.net, url, &mut self.observers)
    }
}

/// The observers of a download, and a person who wants to know how far it is.
struct Attended<'a, 'm> {
    observers: &'a mut Observers<'m>,
    progress: &'a mut dyn FnMut(u64, Option<u64>),
}

impl Watch for Attended<'_, '_> {
    fn progress(&mut self, done: u64, total: Option<u64>) {
        (self.progress)(done, total);
    }

    fn asking(&mut self, request: &Request<'_>) {
        self.observers.asking(request);
    }

    fn answered(&mut self, exchange: &Exchange<'_>) {
        self.observers.answered(exchange);
    }

    fn wants(&mut self, url: &Url, first: &[u8], len: u64) -> bool {
        self.observers.wants(url, first, len)
    }
}
