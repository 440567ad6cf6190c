//! What a script can do to the world: a trait, because the tests of the language stand in for the network; and the node.

use alloc::string::String;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use crate::fetch::{self, Request, Response, Sink};
use crate::handoff::Handoff;
use crate::lease::{Fixed, Lease};
use crate::load::{self, Parts};
use crate::memory::Region;
use crate::menu::{self, Chosen, Menu};
use crate::node::Node;
use crate::observe::Event;
use crate::patience;
use crate::terminal::{POLL, write};
use crate::text;
use crate::vlan::Tag;
use crate::{ntp, ping, resolve};

/// What a script can do to the world, and what the world may know of a script.
pub trait World {
    /// Time since reset.
    fn now(&self) -> Instant;
    /// Rests until `deadline`, with the network and the watchdog looked after. A deadline in the past only looks after them.
    /// What is typed meanwhile stays typed (D-154).
    fn rest(&mut self, deadline: Instant);
    /// Looks after the watchdog while work gets on.
    fn tick(&mut self) {}
    /// The next byte that was typed or is typed until `deadline`, with the same looked after.
    fn key(&mut self, deadline: Instant) -> Option<u8>;
    /// Writes what a script says to the terminal.
    fn print(&mut self, text: &str);
    /// Writes what we draw around texts of others, each of which is fit to be shown (D-196).
    fn draw(&mut self, text: &str) {
        self.print(text);
    }
    /// Downloads into memory.
    fn fetch(&mut self, request: &Request<'_>, into: &mut [u8]) -> Result<Response, fetch::Error>;
    /// Makes ready to run what lies in memory.
    fn load(&mut self, parts: &mut Parts, memory: Region<'_>) -> Result<Handoff, load::Error>;
    /// Shows a menu, and says what was chosen.
    fn choose(&mut self, menu: &Menu) -> Chosen;
    /// The lease, when there is one.
    fn lease(&mut self) -> Option<Lease>;
    /// Asks DHCP again and waits so long for an answer. A lease that is still fresh is one.
    fn dhcp(&mut self, patience: Duration) -> bool;
    /// The address of a host.
    fn resolve(&mut self, host: &str) -> Result<Ipv4Address, resolve::Error>;
    /// Sets what a script has set of the interface's configuration, until DHCP is asked again.
    fn fix(&mut self, _fixed: &Fixed) {}
    /// Moves to a VLAN, or back to the network without a tag: whether it can. There is no lease at first.
    fn select(&mut self, _tag: Option<Tag>) -> bool {
        false
    }
    /// Whether there is a link.
    fn link(&mut self) -> bool {
        true
    }
    /// Sends an ICMP echo of so many bytes: whether it came back in time.
    fn echo(&mut self, _host: Ipv4Address, _sequence: u16, _size: usize, _patience: Duration) -> bool {
        false
    }
    /// Asks an NTP server: seconds since 1970.
    fn ntp(&mut self, _server: Ipv4Address) -> Result<u64, ntp::Error> {
        Err(ntp::Error::NoAnswer)
    }
    /// Hears that `bramble.name` was set; empty: that it was cleared.
    fn set(&mut self, _name: &str, _value: &str) {}
    /// Hears of commands, what they print and what boots, in order.
    fn event(&mut self, _event: &Event<'_>) {}
}

impl World for Node<'_> {
    fn now(&self) -> Instant {
        self.net.now()
    }

    fn rest(&mut self, deadline: Instant) {
        let _: Option<()> = self.net.wait(deadline, |_| None);
    }

    fn tick(&mut self) {
        self.net.kick_watchdog();
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
        let mut output = text::of_a_script(text);
        if !output.is_empty() {
            write(self.console, &mut output);
        }
    }

    fn draw(&mut self, text: &str) {
        write(self.console, &mut String::from(text));
    }

    fn fetch(&mut self, request: &Request<'_>, into: &mut [u8]) -> Result<Response, fetch::Error> {
        self.download(request, &mut Sink::new(into))
    }

    fn load(&mut self, parts: &mut Parts, memory: Region<'_>) -> Result<Handoff, load::Error> {
        Node::load(self, parts, memory)
    }

    fn choose(&mut self, menu: &Menu) -> Chosen {
        menu::ask(self, menu)
    }

    fn lease(&mut self) -> Option<Lease> {
        self.net.lease_now().cloned()
    }

    fn dhcp(&mut self, patience: Duration) -> bool {
        let now = self.net.now();
        if self.net.lease_now().is_some() && !self.net.is_fixed() && now < self.leased + patience::LEASE_FRESH
        {
            return true;
        }
        // While the address is still ours.
        self.hang_up();
        self.net.ask_again();
        self.leased = now;
        let granted = self.net.wait(now + patience, |net| net.lease_now().map(|_| ()));
        granted.is_some()
    }

    fn resolve(&mut self, host: &str) -> Result<Ipv4Address, resolve::Error> {
        resolve::resolve(&mut self.net, host)
    }

    fn fix(&mut self, fixed: &Fixed) {
        // The connection was made from the old address.
        self.hang_up();
        self.net.fix(fixed.clone());
    }

    fn select(&mut self, tag: Option<Tag>) -> bool {
        // While the address is still ours.
        self.hang_up();
        self.net.select(tag);
        true
    }

    fn link(&mut self) -> bool {
        self.net.link()
    }

    fn echo(&mut self, host: Ipv4Address, sequence: u16, size: usize, patience: Duration) -> bool {
        ping::echo(&mut self.net, host, sequence, size, patience)
    }

    fn ntp(&mut self, server: Ipv4Address) -> Result<u64, ntp::Error> {
        ntp::ask(&mut self.net, server)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.settings.set(name, value);
    }

    fn event(&mut self, event: &Event<'_>) {
        self.tell(event);
    }
}
