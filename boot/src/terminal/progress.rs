//! How far a download is: one line that is written over in place, seldom enough for a slow line (D-73).

use alloc::format;
use alloc::string::String;

use smoltcp::time::{Duration, Instant};

use crate::patience;

/// The first report of a download comes after this time, and no two reports are closer together.
const FIRST: Duration = Duration::from_millis(500);
/// The most columns of the line.
const WIDTH: usize = 60;

/// The progress of one download.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    next: Instant,
    /// Columns of the line as it stands on the terminal.
    width: usize,
}

impl Progress {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            next: now + FIRST,
            width: 0,
        }
    }

    /// Redraws the line when a report is due, and removes it when the download is complete. The cursor stays at the line's
    /// beginning, so the next output overwrites it (D-73).
    pub(crate) fn arrived(&mut self, done: u64, total: Option<u64>, now: Instant, out: &mut String) {
        if total.is_some_and(|total| done >= total) {
            self.end(out);
            return;
        }
        if now < self.next {
            return;
        }
        let elapsed = now - self.started;
        // Less often the longer it takes: a line in a log stays readable, and a person has learned to wait.
        self.next = now + (elapsed / 32).clamp(FIRST, patience::PROGRESS_SHOWN);
        let line = line(done, total, elapsed);
        out.push_str(&format!("\r{line:<width$}\r", width = self.width));
        self.width = line.len();
    }

    /// Removes the line.
    pub(crate) fn end(&mut self, out: &mut String) {
        if self.width > 0 {
            out.push_str(&format!("\r{:width$}\r", "", width = self.width));
            self.width = 0;
        }
    }
}

/// The report: bytes so far, of how many, speed, time left.
fn line(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let millis = elapsed.total_millis().max(1);
    let rate = done.saturating_mul(1000).checked_div(millis).unwrap_or(0);
    let mut line = format!("  {}", amount(done));
    if let Some(total) = total {
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0);
        line.push_str(&format!(" of {}, {percent} %", amount(total)));
    }
    line.push_str(&format!(", {}/s", amount(rate)));
    let left = total.map(|total| total.saturating_sub(done).checked_div(rate));
    match left {
        Some(Some(seconds)) => line.push_str(&format!(", {} left", time(seconds))),
        Some(None) => line.push_str(", no end in sight"),
        None => {}
    }
    line.truncate(WIDTH);
    line
}

/// Bytes as people read them, in units of 1024.
fn amount(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x40_0000 => (0x400, "KiB"),
        0x40_0000..0x1_0000_0000 => (0x10_0000, "MiB"),
        _ => (0x4000_0000, "GiB"),
    };
    let tenths = bytes.saturating_mul(10).checked_div(unit).unwrap_or(0);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// `m:ss`, or `h:mm:ss`; at most 99 hours.
fn time(seconds: u64) -> String {
    let seconds = seconds.min(359_999);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::screen::Terminal;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(millis: i64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn the_line() {
        for (done, total, millis, text) in [
            (
                12 * MIB,
                Some(64 * MIB),
                6000,
                "  12.0 MiB of 64.0 MiB, 18 %, 2048.0 KiB/s, 0:26 left",
            ),
            (700, None, 500, "  0.6 KiB, 1.3 KiB/s"),
            (
                5 << 30,
                Some(6 << 30),
                3_600_000,
                "  5.0 GiB of 6.0 GiB, 83 %, 1456.3 KiB/s, 12:00 left",
            ),
            (
                0,
                Some(100),
                700,
                "  0.0 KiB of 0.0 KiB, 0 %, 0.0 KiB/s, no end in sight",
            ),
            (
                1000,
                Some(MIB),
                5000,
                "  0.9 KiB of 1024.0 KiB, 0 %, 0.1 KiB/s, 1:27:17 left",
            ),
        ] {
            assert_eq!(line(done, total, Duration::from_millis(millis)), text);
        }
        let longest = line(u64::MAX, Some(u64::MAX), Duration::from_millis(1));
        assert!(longest.len() <= WIDTH, "{longest}");
    }

    #[test]
    fn a_short_download_says_nothing_and_a_long_one_little() {
        let mut out = String::new();
        let mut progress = Progress::new(at(1000));
        for millis in 0..5 {
            progress.arrived(100, Some(1000), at(1000 + millis * 100 - 1), &mut out);
        }
        progress.arrived(1000, Some(1000), at(1499), &mut out);
        assert_eq!(out, "");

        // Two hours, heard of every 100 ms.
        let mut progress = Progress::new(at(0));
        (1..72_000).for_each(|tick| progress.arrived(tick * 1000, None, at(tick as i64 * 100), &mut out));
        assert!((20_000..100_000).contains(&out.len()), "{}", out.len());
    }

    #[test]
    fn the_line_stands_alone_and_makes_room() {
        let (mut out, mut terminal) = (String::new(), Terminal::new());
        let mut progress = Progress::new(at(0));
        progress.arrived(5 * MIB, Some(5000 * MIB), at(500), &mut out);
        terminal.show(&mut out);
        assert!(terminal.line(0).ends_with(" left"), "{}", terminal.line(0));
        progress.arrived(6 * MIB, None, at(1000), &mut out);
        terminal.show(&mut out);
        assert_eq!(terminal.line(0), "  6.0 MiB, 6.0 MiB/s");
        progress.arrived(6 * MIB, Some(6 * MIB), at(1001), &mut out);
        terminal.show(&mut out);
        assert_eq!((terminal.line(0).as_str(), terminal.column), ("", 0));
        progress.end(&mut out);
        assert_eq!(out, "");
    }
}
