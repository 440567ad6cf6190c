//! What happens during a boot, as one stream of typed events with any number of listeners. The dry run is one. Why it is one
//! place: D-80.

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::Error;
use crate::fetch::{Exchange, Request, Watch};
use crate::handoff::Handoff;
use crate::load::Parts;
use crate::menu::{Chosen, Menu};
use crate::script::errno::Failure;
use crate::url::Url;
use crate::verify::Verified;

/// Who hears what happens: a log, a report, a dry run. It is called from within the boot and must return at once (D-139).
pub trait Observer {
    /// Hears what happens, in order.
    fn event(&mut self, event: &Event<'_>);

    /// Whether the rest of a download of `len` bytes is wanted that begins with `first`, about 4 KiB. The download ends early
    /// when one observer knows enough: the part left out then counts as downloaded, and whatever lies in memory there is
    /// taken for its bytes (D-82).
    fn wants(&mut self, _url: &Url, _first: &[u8], _len: u64) -> bool {
        true
    }
}

/// The observers of a boot.
pub(crate) struct Observers<'m>(pub(crate) &'m mut [&'m mut dyn Observer]);

/// They follow a download, and only do not hear how far it is.
impl Watch for Observers<'_> {
    fn asking(&mut self, request: &Request<'_>) {
        self.tell(&Event::Asking(request));
    }

    fn answered(&mut self, exchange: &Exchange<'_>) {
        self.tell(&Event::Answered(exchange));
    }

    fn wants(&mut self, url: &Url, first: &[u8], len: u64) -> bool {
        self.0.iter_mut().all(|observer| observer.wants(url, first, len))
    }
}

impl Observers<'_> {
    /// Tells them what happens.
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        for observer in self.0.iter_mut() {
            observer.event(event);
        }
    }
}

/// Something that happened. All text is as servers and scripts have it: it may hold anything (D-80).
#[derive(Debug)]
pub enum Event<'e> {
    /// A command of a script is about to run.
    Command {
        /// The script; none at the prompt of `shell`.
        script: Option<&'e Url>,
        /// Its line, from 1.
        line: usize,
        /// The command and its arguments, expanded.
        words: &'e [String],
    },
    /// A command failed.
    Failed(&'e Failure),
    /// A request is about to be made, once the host's name is resolved; [`Event::Answered`] follows.
    Asking(&'e Request<'e>),
    /// What a request led to.
    Answered(&'e Exchange<'e>),
    /// Text that a script has for the terminal.
    Print(&'e str),
    /// A menu is shown, or runs its countdown unseen; [`Event::Chosen`] follows.
    Menu(&'e Menu),
    /// How that menu ended.
    Chosen(&'e Menu, Chosen),
    /// What a menu led to cannot be booted, read or shown; the menu, or what its ONERROR names, follows.
    EntryFailed(&'e Error),
    /// An attempt failed; another one follows, or a reset.
    AttemptFailed(&'e Error),
    /// A kernel is about to run: everything that boots was fetched, verified and placed.
    Boot(&'e Booting<'e>),
}

/// What boots.
#[derive(Debug)]
pub struct Booting<'e> {
    /// Where the kernel came from, after redirects.
    pub kernel: &'e Url,
    /// Where the initial ramdisks came from, in order.
    pub initrds: Vec<&'e Url>,
    /// The command line that Linux gets.
    pub command_line: &'e str,
    /// Where the device tree came from; none for the firmware's.
    pub device_tree: Option<&'e Url>,
}

impl<'e> Booting<'e> {
    /// What `parts` became.
    pub fn new(parts: &'e Parts, handoff: &'e Handoff) -> Self {
        Self {
            kernel: parts.kernel.url(),
            initrds: parts.initrds.iter().map(|initrd| initrd.file.url()).collect(),
            command_line: &handoff.command_line,
            device_tree: parts.device_tree.as_ref().map(Verified::url),
        }
    }
}
