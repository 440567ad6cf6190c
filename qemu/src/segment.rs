//! A network segment of its own: a namespace with a bridge, on which real servers stand and emulated boards are plugged in.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A namespace whose `eth0` is a bridge at 192.168.77.1/24 (root only). Dropping it removes it, and whatever is plugged in.
#[derive(Debug)]
pub struct Segment {
    name: String,
}

/// The tap device that every segment has.
pub const TAP: &str = "tap0";

impl Segment {
    /// The namespace and its tap device [`TAP`].
    ///
    /// # Errors
    ///
    /// When this machine or user cannot have that; a reason to skip.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        fs::metadata("/dev/net/tun").context("/dev/net/tun")?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bramble-{}-{number}", std::process::id());
        ip(&["netns", "add", &name]).context("no network namespace (it needs root)")?;
        // From here on dropping cleans up.
        let segment = Self { name };
        for words in [
            // The servers' interface, called as in the recipes. A bridge would wait before it forwards.
            &["link", "add", "eth0", "type", "bridge", "forward_delay", "0"][..],
            // A port that is always up: Kea does not listen where there is no carrier, and QEMU comes later.
            &["link", "add", "port0", "type", "veth", "peer", "name", "cable0"],
            &["link", "set", "cable0", "up"],
            &["link", "set", "port0", "master", "eth0", "up"],
            &["address", "add", "192.168.77.1/24", "dev", "eth0"],
            &["link", "set", "eth0", "up"],
            &["link", "set", "lo", "up"],
        ] {
            segment.ip(words).context("no bridge (it needs root)")?;
        }
        segment.tap(TAP)?;
        // The kernel takes up to a second to say so.
        let deadline = Instant::now() + Duration::from_secs(120);
        while !segment.ip(&["link", "show", "eth0"])?.contains("state UP") {
            ensure!(Instant::now() < deadline, "the bridge has no carrier");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(segment)
    }

    /// The namespace, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One more port of the bridge: a tap device of this name.
    pub fn tap(&self, tap: &str) -> Result<()> {
        for words in [
            &["tuntap", "add", "dev", tap, "mode", "tap"][..],
            &["link", "set", tap, "master", "eth0"],
            &["link", "set", tap, "up"],
        ] {
            self.ip(words).context("no tap device (it needs root)")?;
        }
        Ok(())
    }

    /// `ip` with these words, in the namespace: what it prints.
    pub fn ip(&self, words: &[&str]) -> Result<String> {
        ip(&[&["-n", &self.name], words].concat())
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Who holds it is going, too.
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

/// `ip`, with these words: what it prints.
///
/// # Errors
///
/// With what it says.
pub fn ip(words: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(words).output().context("ip")?;
    if !output.status.success() {
        bail!(
            "ip {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
