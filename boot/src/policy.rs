//! What a node does next: a pure table, state × what happened → what to do. docs/src/policy.md is the same for people (D-138).

use core::fmt;

use smoltcp::time::Duration;

use crate::backoff::backoff;
use crate::menu::{self, Unsupported};
use crate::random::Worth;
use crate::settings::{Local, Watchdog};
use crate::{Error, patience, script};

/// What is known of a node when an attempt has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    /// Attempts that have failed since reset, this one included.
    pub(crate) failures: u32,
    /// How many may (`bramble.attempts`); none for no limit.
    pub(crate) limit: Option<u32>,
    /// The way to the board's own disk (`bramble.local`); none when there is none.
    pub(crate) local: Option<Local>,
}

/// How an attempt ended that brought no kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// A step of it failed.
    Failed,
    /// Whoever was asked says that there is nothing for this node (LOCALBOOT, `exit`, `sanboot` of a drive, a script that ends by itself), and
    /// nothing of what led there was in trouble.
    SaysNo,
    /// A script asked for a reset.
    Resets,
    /// A script asked for the board to be switched off.
    PowersOff,
}

/// What is done then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterAttempt {
    /// Another attempt begins after this pause, from DHCP on.
    Retry(Duration),
    /// After this pause the board resets, and its firmware boots the disk in this way.
    Local(Local, Duration),
    /// The board resets.
    Reset,
    /// The board is switched off.
    PowerOff,
}

/// How an attempt with this error ended (D-212).
pub(crate) fn attempt_of(error: &Error) -> Attempt {
    match error {
        Error::Menu(menu::Error::Unsupported(_, Unsupported::LocalBoot))
        | Error::Script(script::Error::Ended(_) | script::Error::Left(_)) => Attempt::SaysNo,
        _ => Attempt::Failed,
    }
}

/// What follows an attempt. `random` jitters the pause.
pub(crate) fn after_attempt(state: State, attempt: Attempt, random: u32) -> AfterAttempt {
    match attempt {
        Attempt::SaysNo if let Some(local) = state.local => {
            AfterAttempt::Local(local, patience::BEFORE_LOCAL)
        }
        Attempt::Failed | Attempt::SaysNo if state.limit.is_some_and(|limit| state.failures >= limit) => {
            AfterAttempt::Reset
        }
        Attempt::Failed | Attempt::SaysNo => AfterAttempt::Retry(backoff(state.failures, random)),
        Attempt::Resets => AfterAttempt::Reset,
        Attempt::PowersOff => AfterAttempt::PowerOff,
    }
}

/// What is done about the node's numbers (ports, ids, sequence numbers, Linux's seeds) before an attempt begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BeforeAttempt {
    /// Nothing: they are what they should be.
    GoOn,
    /// The generator is asked again. The attempt begins whatever comes of it: a node that cannot keep a secret still boots.
    DrawAgain,
}

/// What comes before an attempt with numbers of this worth (D-207).
pub(crate) fn before_attempt(worth: Worth) -> BeforeAttempt {
    match worth {
        Worth::Secret => BeforeAttempt::GoOn,
        Worth::Guessable => BeforeAttempt::DrawAgain,
    }
}

/// What is known of a board's watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchdogFound {
    /// It does not count: a released QEMU's resets when it is started.
    Useless,
    /// Nobody had started it before us.
    Stopped,
    /// The firmware had started it for whoever comes.
    Running,
}

/// What becomes of the watchdog as the last thing before the jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchdogLeft {
    /// It is stopped.
    Stopped,
    /// It goes on with a full count, as the firmware had started it.
    GoesOn,
    /// It goes on with a full count, because the operator says so.
    Started,
    /// It is stopped, and could not count.
    Useless,
}

impl WatchdogLeft {
    /// Whether it counts.
    pub fn counts(self) -> bool {
        matches!(self, Self::GoesOn | Self::Started)
    }
}

/// A line for people.
impl fmt::Display for WatchdogLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "the watchdog is stopped",
            Self::GoesOn => "the firmware's watchdog goes on: 16 s",
            Self::Started => "the watchdog goes on: 16 s, as bramble.watchdog=handoff says",
            Self::Useless => "the watchdog is stopped: this emulator's does not count",
        })
    }
}

/// What a kernel gets of the watchdog (D-184, D-213).
pub fn at_the_jump(found: WatchdogFound, wanted: Watchdog) -> WatchdogLeft {
    match (found, wanted) {
        (WatchdogFound::Useless, _) => WatchdogLeft::Useless,
        (_, Watchdog::Off) | (WatchdogFound::Stopped, Watchdog::Found) => WatchdogLeft::Stopped,
        (WatchdogFound::Running, Watchdog::Found | Watchdog::Handoff) => WatchdogLeft::GoesOn,
        (WatchdogFound::Stopped, Watchdog::Handoff) => WatchdogLeft::Started,
    }
}

/// Who picked an entry of a menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Picker {
    /// A person, who can choose again.
    Person,
    /// The clock, in a menu that says with ONERROR what to boot instead.
    ClockWithOnError,
    /// The clock, in a menu that does not.
    Clock,
}

/// What is done when the entry that was picked cannot be booted, or leads to no menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterEntry {
    /// The menu is shown again, with what is wrong.
    ShowAgain,
    /// What ONERROR names is booted; that has no ONERROR of its own.
    OnError,
    /// The attempt has failed: never another entry.
    FailAttempt,
}

/// What follows an entry that failed like this (D-84). With a way to the disk, an entry that means it ends the attempt, whoever picked it.
pub(crate) fn after_entry(picker: Picker, error: &Error, local: Option<Local>) -> AfterEntry {
    match (picker, error) {
        _ if local.is_some() && attempt_of(error) == Attempt::SaysNo => AfterEntry::FailAttempt,
        (_, Error::Menu(menu::Error::TooManyMenus | menu::Error::Left)) => AfterEntry::FailAttempt,
        (Picker::Person, _) => AfterEntry::ShowAgain,
        (Picker::ClockWithOnError, error) if leads_to_onerror(error) => AfterEntry::OnError,
        (Picker::ClockWithOnError | Picker::Clock, _) => AfterEntry::FailAttempt,
    }
}

/// Whether ONERROR is for this failure of the clock's entry. Where Syslinux would not have failed it is not: the disk that
/// LOCALBOOT means is there, and a menu that is not there, or has nothing to boot, waits for a person (D-93).
fn leads_to_onerror(error: &Error) -> bool {
    match error {
        Error::Menu(menu::Error::Load(_)) => false,
        Error::Menu(menu::Error::Unsupported(_, why)) => {
            !matches!(why, Unsupported::LocalBoot | Unsupported::Nothing)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;
    use crate::url::{self, Url};
    use crate::{fetch, load, verify};

    fn url() -> Url {
        Url::parse("http://h/x").unwrap()
    }

    /// One of each kind that the table could tell apart, and whether ONERROR is for it.
    fn errors() -> Vec<(Error, bool)> {
        let unsupported = |why| Error::Menu(menu::Error::Unsupported("e".into(), why));
        let fault = Box::new(menu::Fault::Url(url::Error::Relative("x".into())));
        vec![
            (unsupported(Unsupported::LocalBoot), false),
            (unsupported(Unsupported::Nothing), false),
            (unsupported(Unsupported::PcProgram("chain.c32".into())), true),
            (unsupported(Unsupported::NoLabel("x".into())), true),
            (Error::Menu(menu::Error::Load(fault)), false),
            (Error::Menu(menu::Error::NoSource), true),
            (Error::Menu(menu::Error::Unattended), true),
            (
                Error::Fetch(fetch::Error {
                    method: fetch::Method::Get,
                    url: url(),
                    reason: fetch::Reason::Overdue(Duration::ZERO),
                }),
                true,
            ),
            (
                Error::Verify(verify::Error::Empty {
                    url: url(),
                    expected: verify::Expected::Kernel,
                }),
                true,
            ),
            (Error::Load(load::Error::NoDeviceTree), true),
            (Error::Script(script::Error::Ended(url())), true),
        ]
    }

    #[test]
    fn only_a_person_or_onerror_leads_from_an_entry_that_failed_to_another() {
        for (error, onerror) in &errors() {
            assert_eq!(
                after_entry(Picker::Person, error, None),
                AfterEntry::ShowAgain,
                "{error}"
            );
            assert_eq!(
                after_entry(Picker::Clock, error, None),
                AfterEntry::FailAttempt,
                "{error}"
            );
            let expected = if *onerror {
                AfterEntry::OnError
            } else {
                AfterEntry::FailAttempt
            };
            assert_eq!(
                after_entry(Picker::ClockWithOnError, error, None),
                expected,
                "{error}"
            );
        }
        for error in [menu::Error::TooManyMenus, menu::Error::Left].map(Error::Menu) {
            for picker in [Picker::Person, Picker::ClockWithOnError, Picker::Clock] {
                assert_eq!(
                    after_entry(picker, &error, None),
                    AfterEntry::FailAttempt,
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn every_end_of_an_attempt_leads_on_in_every_state() {
        for limit in [None, Some(0), Some(1), Some(3), Some(u32::MAX)] {
            for failures in [1, 2, 3, 4, 1000, u32::MAX] {
                for random in [0, 1, u32::MAX] {
                    let state = State {
                        failures,
                        limit,
                        local: None,
                    };
                    let after = |attempt| after_attempt(state, attempt, random);
                    // A script's wish is obeyed in every state, and only a script switches a board off.
                    assert_eq!(after(Attempt::Resets), AfterAttempt::Reset);
                    assert_eq!(after(Attempt::PowersOff), AfterAttempt::PowerOff);
                    match after(Attempt::Failed) {
                        AfterAttempt::Reset => assert!(limit.is_some_and(|limit| limit <= failures)),
                        AfterAttempt::Retry(pause) => {
                            assert!(limit.is_none_or(|limit| limit > failures));
                            assert!((500..=60_000).contains(&pause.total_millis()));
                        }
                        AfterAttempt::PowerOff | AfterAttempt::Local(..) => panic!("{state:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn only_who_is_told_no_goes_to_the_disk_and_only_where_there_is_a_way() {
        for limit in [None, Some(1), Some(3)] {
            for failures in [1, 3, 1000] {
                for local in [None, Some(Local::Tryboot), Some(Local::Partition(2))] {
                    let state = State {
                        failures,
                        limit,
                        local,
                    };
                    let after = |attempt| after_attempt(state, attempt, 5);
                    match (after(Attempt::SaysNo), local) {
                        (AfterAttempt::Local(way, pause), Some(local)) => {
                            assert_eq!((way, pause), (local, patience::BEFORE_LOCAL));
                        }
                        (after_no, None) => assert_eq!(after_no, after(Attempt::Failed)),
                        other => panic!("{other:?}"),
                    }
                    for attempt in [Attempt::Failed, Attempt::Resets, Attempt::PowersOff] {
                        assert!(!matches!(after(attempt), AfterAttempt::Local(..)), "{attempt:?}");
                    }
                }
            }
        }
        let no = [
            Error::Menu(menu::Error::Unsupported("e".into(), Unsupported::LocalBoot)),
            Error::Script(script::Error::Ended(url())),
        ];
        for error in &no {
            assert_eq!(attempt_of(error), Attempt::SaysNo, "{error}");
            for picker in [Picker::Person, Picker::ClockWithOnError, Picker::Clock] {
                assert_eq!(
                    after_entry(picker, error, Some(Local::Tryboot)),
                    AfterEntry::FailAttempt
                );
            }
        }
        for (error, _) in errors().iter().filter(|(error, _)| !no.contains(error)) {
            assert_eq!(attempt_of(error), Attempt::Failed, "{error}");
        }
    }

    #[test]
    fn numbers_that_can_be_guessed_are_drawn_again_and_hold_nobody_up() {
        assert_eq!(before_attempt(Worth::Secret), BeforeAttempt::GoOn);
        assert_eq!(before_attempt(Worth::Guessable), BeforeAttempt::DrawAgain);
    }

    #[test]
    fn the_watchdog_counts_on_where_the_firmware_or_the_operator_started_it_and_can_count() {
        use WatchdogFound as Found;
        use WatchdogLeft as Left;
        for (found, wanted, left) in [
            (Found::Useless, Watchdog::Off, Left::Useless),
            (Found::Useless, Watchdog::Found, Left::Useless),
            (Found::Useless, Watchdog::Handoff, Left::Useless),
            (Found::Stopped, Watchdog::Off, Left::Stopped),
            (Found::Stopped, Watchdog::Found, Left::Stopped),
            (Found::Stopped, Watchdog::Handoff, Left::Started),
            (Found::Running, Watchdog::Off, Left::Stopped),
            (Found::Running, Watchdog::Found, Left::GoesOn),
            (Found::Running, Watchdog::Handoff, Left::GoesOn),
        ] {
            assert_eq!(at_the_jump(found, wanted), left, "{found:?} {wanted:?}");
        }
        for (left, counts) in [
            (Left::Useless, false),
            (Left::Stopped, false),
            (Left::GoesOn, true),
            (Left::Started, true),
        ] {
            assert_eq!(left.counts(), counts, "{left:?}");
            assert_eq!(left.to_string().contains("goes on: 16 s"), counts, "{left}");
        }
        // Nobody who says nothing gets more than the firmware wanted.
        assert_eq!(Watchdog::default(), Watchdog::Found);
    }

    #[test]
    fn so_many_attempts_as_allowed_and_without_a_limit_for_ever() {
        let attempts = |limit: Option<u32>| {
            let ends = |failures: &u32| {
                after_attempt(
                    State {
                        failures: *failures,
                        limit,
                        local: None,
                    },
                    Attempt::Failed,
                    7,
                ) == AfterAttempt::Reset
            };
            (1..5000).find(ends)
        };
        assert_eq!(
            [Some(0), Some(1), Some(2), Some(77), None].map(attempts),
            [Some(1), Some(1), Some(2), Some(77), None]
        );
    }
}
