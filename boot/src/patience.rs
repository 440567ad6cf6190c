//! Every patience of a node: how long it waits, and for whom (D-168). `policy.rs` says what follows; docs/src/limits.md has them for people.
//!
//! Pauses before a question is repeated, which protocols prescribe, and what a driver grants its chip stand where they are spoken to.

use smoltcp::time::Duration;

// Persons at the serial terminal.

/// A menu waits for a person who does not come; then all is asked again (D-89). No clock of a menu is longer (D-193).
pub(crate) const MENU_UNATTENDED: Duration = Duration::from_secs(60 * 60);
/// A key holds a menu's countdown for at least so long.
pub(crate) const MENU_HELD_BY_A_KEY: Duration = Duration::from_secs(60);
/// Keys hold a menu without TOTALTIMEOUT for so long in all, unless its TIMEOUT is longer.
pub(crate) const MENU_HELD: Duration = Duration::from_secs(10 * 60);
/// A menu is shown for at least so long after a choice that failed.
pub(crate) const MENU_SHOWN_AGAIN: Duration = Duration::from_secs(60);
/// A terminal says how big it is.
pub(crate) const TERMINAL_SIZE: Duration = Duration::from_secs(2);
/// A script waits for a person when it does not say how long: nobody may be there.
pub(crate) const SCRIPT_UNATTENDED: Duration = Duration::from_secs(10 * 60);
/// A script runs while nobody types, waiting, looping and downloading together, and no single wait in it is longer: then the attempt has
/// failed, and all is asked again (D-172).
pub(crate) const SCRIPT_ALONE: Duration = Duration::from_secs(2 * 60 * 60);
/// A prompt waits for its first line.
pub(crate) const SHELL_FIRST_LINE: Duration = Duration::from_secs(60);
/// A prompt or a form lives for so long, whoever types.
pub(crate) const SCRIPT_ATTENDED: Duration = Duration::from_secs(60 * 60);
/// The log says how far a download is, where the terminal cannot.
pub(crate) const PROGRESS_LINE: Duration = Duration::from_secs(5);
/// The terminal says how far a download is, at the latest.
pub(crate) const PROGRESS_SHOWN: Duration = Duration::from_secs(5);
/// A board is not sent to its disk sooner: a loop between server and disk is slow, and can be seen.
pub(crate) const BEFORE_LOCAL: Duration = Duration::from_secs(60);
// DHCP.

/// Offers are gathered (D-18).
pub(crate) const OFFERS: Duration = Duration::from_secs(2);
/// The longest that they are gathered, after servers that did not grant what they had offered (D-201).
pub(crate) const OFFERS_LONGEST: Duration = Duration::from_secs(32);
/// It is told that nobody answers. A driver restarts a chip that hears nothing, but only later than this (D-112).
pub const SILENCE_TOLD: Duration = Duration::from_secs(5);
/// It is told again.
pub(crate) const SILENCE_TOLD_AGAIN: Duration = Duration::from_secs(60);
/// The pause after an address conflict (RFC 2131 §3.1).
pub(crate) const ADDRESS_CONFLICT: Duration = Duration::from_secs(10);
/// The shortest pause between renewals (RFC 2131 §4.4.5).
pub(crate) const RENEWAL: Duration = Duration::from_secs(60);
/// Servers are waited for that might know the node by another user class (D-103).
pub(crate) const SECOND_CLASS: Duration = Duration::from_secs(10);
/// A lease this young answers a script's `dhcp`: the script itself was fetched with it (D-59).
pub(crate) const LEASE_FRESH: Duration = Duration::from_secs(30);
/// A script's `dhcp` waits when it does not say how long.
pub(crate) const SCRIPT_DHCP: Duration = Duration::from_secs(60);

// Neighbours, names, time, echoes.

/// Whoever is sent something on the same network is heard within, or asked for anew.
pub(crate) const NEIGHBOUR: Duration = Duration::from_secs(2);
/// mDNS and all DNS servers together answer for a name.
pub(crate) const DNS: Duration = Duration::from_secs(10);
/// The pause before a question is repeated; it doubles.
pub(crate) const DNS_AGAIN: Duration = Duration::from_secs(1);
/// A time server answers, over all repeats of the question.
pub(crate) const NTP: Duration = Duration::from_secs(10);
/// The pause before that question is repeated; it doubles.
pub(crate) const NTP_AGAIN: Duration = Duration::from_secs(1);
/// The time from one echo to the next.
pub(crate) const PING: Duration = Duration::from_secs(1);

// Servers with files.

/// A server accepts a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// An HTTP server thinks before its answer's head is complete: some build an image on demand, which takes them a minute or two. A
/// server that is gone is noticed much sooner.
pub(crate) const HTTP_ANSWER: Duration = Duration::from_secs(3 * 60);
/// An HTTP server thinks about a HEAD.
pub(crate) const HEAD_ANSWER: Duration = Duration::from_secs(3);
/// The body of an error or a redirect comes whole, so that its connection can be kept.
pub(crate) const DISCARDED: Duration = Duration::from_secs(1);
/// A TFTP server answers at all.
pub(crate) const TFTP_ANSWER: Duration = Duration::from_secs(10);
/// The longest pause before a request or an acknowledgement is repeated; it doubles up to this.
pub(crate) const TFTP_AGAIN: Duration = Duration::from_secs(4);
/// A body must bring 1 KiB within: less than a full segment in that time is no transfer.
pub(crate) const BODY: Duration = Duration::from_secs(15);
/// A silent peer is probed so often …
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// … and given up after this long without any segment, which means that it is gone, not that it is busy.
pub(crate) const PEER_SILENT: Duration = Duration::from_secs(20);
/// A file, however often it breaks off: enough for a gigabyte at 1 Mb/s, and no server holds a node for longer.
pub(crate) const DOWNLOAD: Duration = Duration::from_secs(2 * 60 * 60);
/// All files of a menu, the search for it included, until the last is asked for.
pub(crate) const MENU_READING: Duration = Duration::from_secs(30 * 60);
/// The pause after each of many downloads in a row that failed: a server that is down is not to be hammered.
pub(crate) const MISS: Duration = Duration::from_secs(1);

// All of it together.

/// Attempts in a row that may fail with what a script has set (`bramble.*`), before the command line's settings are back (D-172).
pub(crate) const TRUSTED_FAILURES: u32 = 3;
/// After one hostile answer, whatever it was, a node boots from honest servers within so long, with nobody at the terminal: a text is
/// searched for and read, a script runs and ends with its longest wait, and each of the attempts with what it has set, and the honest
/// one, reads a menu and waits for its clock (D-195).
pub const COMES_BACK: Duration = Duration::from_secs(
    MENU_READING.secs()
        + DOWNLOAD.secs()
        + 2 * SCRIPT_ALONE.secs()
        + (TRUSTED_FAILURES as u64 + 1) * (MENU_READING.secs() + MENU_UNATTENDED.secs()),
);

// The board.

/// The longest rest: the Pi's watchdog counts to 16 s at most, and only the poll loop kicks it while nothing happens (D-9).
pub(crate) const REST: Duration = Duration::from_secs(5);
/// A board without a network interface waits, so that a person can read why, before it resets and looks again (D-14).
pub const NO_NIC_PAUSE: Duration = Duration::from_secs(30);

// The network interface. What a driver grants its chip, at most five seconds, stands in the driver.

/// The port has no link: a person is told. Gigabit negotiation takes 2 to 4 s.
pub const NO_LINK_TOLD: Duration = Duration::from_secs(8);
/// It is told again: whoever comes later sees a line, and a log does not fill.
pub const NO_LINK_TOLD_AGAIN: Duration = Duration::from_secs(60);
/// Frames leave and nobody answers: the interface is restarted. Twice as long each time, from the first to the last (D-204).
pub const NOBODY_ANSWERS: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(64));
// Nearly always nobody is there, and that is what a person must read first (D-112).
const _: () = assert!(NOBODY_ANSWERS.0.secs() > SILENCE_TOLD.secs());
/// The last of these frames has so long for its answer: a DHCP server may look first whether an address is free.
pub const LAST_ANSWER: Duration = Duration::from_secs(3);
/// What was sent so long before the next belongs to other questions: an ARP question of a stranger's, answered once a minute, is none of ours.
pub const OTHER_QUESTIONS: Duration = Duration::from_secs(45);
/// Between two searches for a USB device that is gone: twice as long each time, from the first to the last.
pub const NIC_SEARCHED_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// A search of the USB bus ends, whatever is still plugged in: well before the watchdog would end it without a word.
pub const USB_SEARCH: Duration = Duration::from_secs(8);
/// A link of 1000 Mb/s that goes so often within so long is none: no more are offered (D-204).
pub const LINK_FLAPS: (usize, Duration) = (3, Duration::from_secs(60));
