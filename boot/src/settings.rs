//! The operator's settings: `bramble.*` on the firmware's cmdline.txt, under the same names everywhere.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use smoltcp::time::Duration;

use crate::bootargs;
use crate::patience;

/// How the firmware is sent to the board's own disk (D-212).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// By its tryboot flag, for one boot.
    Tryboot,
    /// From this partition, until somebody says otherwise: mainline Linux's reboot does not.
    Partition(u8),
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tryboot => f.write_str("tryboot"),
            Self::Partition(number) => write!(f, "partition {number}"),
        }
    }
}

/// The firmware's numbers for what it was loaded over: `/chosen/bootloader/boot-mode`, TFTP and HTTP.
const FROM_NETWORK: [u32; 2] = [2, 7];

/// The settings of one boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `bramble.url=`: the menu to fetch, whatever DHCP says.
    pub url: Option<String>,
    /// `bramble.attempts=`: reset the board after this number of failed attempts; `None` means never.
    pub attempts: Option<u32>,
    /// `bramble.platform=`: what scripts see as `${platform}`; `efi` when not set.
    pub platform: Option<String>,
    /// `bramble.user-class=`: DHCP's option 77; `iPXE` when not set, not sent when empty.
    pub user_class: Option<String>,
    /// `bramble.ipxe-features=`: whether DHCP's option 175 is sent; it is when not set.
    pub ipxe_features: Option<bool>,
    /// `bramble.poweroff=`: whether scripts may switch the board off, which nothing but power brings back; not when not set.
    pub poweroff: bool,
    /// `bramble.local=`: how the firmware is sent to the board's own disk when a server says "not you"; it is not when not set.
    pub local: Option<Local>,
    /// `bramble.menu-timeout=`: seconds, from 1 to an hour, after which the clock boots in a PXELINUX menu that says nothing of a time;
    /// without it such a menu waits for a person.
    pub menu_timeout: Option<Duration>,
    /// `bramble.watchdog=`: what becomes of the watchdog when a kernel starts; an entry's own command line goes before it.
    pub watchdog: Watchdog,
    /// Settings of scripts, name and value, set before a script's first line; those of the dry run's `--set`.
    pub presets: Vec<(String, String)>,
}

/// What the operator wants of the watchdog once a kernel runs: `bramble.watchdog`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Watchdog {
    /// Nothing.
    Off,
    /// What the firmware wanted of it.
    #[default]
    Found,
    /// It watches the kernel: this one has a driver that feeds it.
    Handoff,
}

impl Watchdog {
    const ALL: [Self; 3] = [Self::Off, Self::Found, Self::Handoff];

    /// The one of that name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wanted| wanted.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Found => "found",
            Self::Handoff => "handoff",
        }
    }
}

impl Settings {
    /// Reads the firmware's `/chosen/bootargs`. Of a repeated setting the last one counts. A value that makes no sense leaves the
    /// default, with a line in the log.
    pub fn from_bootargs(arguments: &str) -> Self {
        let mut settings = Self::default();
        for argument in bootargs::arguments(arguments) {
            let Some(setting) = argument.strip_prefix("bramble.") else {
                continue;
            };
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            settings.set(name, value.trim_matches('"'));
        }
        settings
    }

    /// Hears what the firmware was loaded over (`/chosen/bootloader/boot-mode`). Neither tryboot nor a partition changes where the firmware
    /// looks first, so that a node which came over the network would come so again, for ever: `local` is no setting for it.
    pub fn came_by(&mut self, boot_mode: Option<u32>) {
        if self.local.is_some() && boot_mode.is_some_and(|mode| FROM_NETWORK.contains(&mode)) {
            self.local = None;
            warn!(
                "settings: bramble.local does not work for a board that came over the network: its firmware would come so again; ignored"
            );
        }
    }

    /// The wish for the watchdog of what boots with this command line, which may have one of its own.
    /// D-213.
    pub(crate) fn watchdog(&self, command_line: &str) -> Watchdog {
        let mut settings = self.clone();
        if let Some(value) = bootargs::value(command_line, "bramble.watchdog") {
            settings.set("watchdog", value.trim_matches('"'));
        }
        settings.watchdog
    }

    /// Sets `bramble.name`. A name or a value that makes no sense changes nothing, with a line in the log.
    fn set(&mut self, name: &str, value: &str) {
        match name {
            "url" if !value.is_empty() => self.url = Some(value.into()),
            "attempts" if matches!(value.parse(), Ok(1..=u32::MAX)) => {
                self.attempts = value.parse().ok();
            }
            "platform" if is_word(value) => self.platform = Some(value.into()),
            "user-class" if value.is_empty() || is_word(value) => {
                self.user_class = Some(value.into());
            }
            "ipxe-features" if matches!(value, "0" | "1") => {
                self.ipxe_features = Some(value == "1");
            }
            "poweroff" if matches!(value, "0" | "1") => self.poweroff = value == "1",
            "local" if local(value).is_some() => self.local = local(value).flatten(),
            "menu-timeout" if matches!(value.parse(), Ok(1..=MAX_MENU_TIMEOUT)) => {
                self.menu_timeout = value.parse().ok().map(Duration::from_secs);
            }
            "watchdog" if let Some(watchdog) = Watchdog::named(value) => self.watchdog = watchdog,
            "url" | "attempts" | "platform" | "user-class" | "ipxe-features" | "poweroff" | "local"
            | "menu-timeout" | "watchdog" => {
                warn!("settings: bramble.{} can not be \"{}\"; ignored", name, value);
            }
            _ => warn!("settings: bramble.{} is unknown; ignored", name),
        }
    }
}

/// The settings from the command line, with the changes that scripts have made.
#[derive(Debug)]
pub(crate) struct Current {
    came_with: Settings,
    /// The settings in force.
    pub(crate) now: Settings,
    /// Attempts that have failed with what a script has set; none in the one in which it set it.
    failures: Option<u32>,
}

impl Current {
    /// The settings from the command line.
    pub(crate) fn new(came_with: &Settings) -> Self {
        Self {
            came_with: came_with.clone(),
            now: came_with.clone(),
            failures: None,
        }
    }

    /// Forgets what scripts have set once `most` attempts in a row have failed with it: a URL that leads nowhere, set by whoever answered
    /// first, must not keep a node for ever (D-172). Says whether there was something to forget.
    pub(crate) fn attempt_failed(&mut self, most: u32) -> bool {
        let failures = self.failures.map_or(0, |failures| failures.saturating_add(1));
        self.failures = Some(failures);
        // After how many failures the board resets is no place where a node could be kept.
        let kept = Settings {
            attempts: self.now.attempts,
            ..self.came_with.clone()
        };
        if failures < most || self.now == kept {
            return false;
        }
        self.now = kept;
        true
    }

    /// Sets `bramble.name` for a script: from the next attempt to the next reset. An empty value restores the command line's.
    /// Options already sent in DHCP cannot be changed in this boot.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.failures = None;
        let (now, came_with) = (&mut self.now, &self.came_with);
        match (name, value) {
            ("user-class" | "ipxe-features" | "poweroff" | "local", _) => {
                warn!("settings: bramble.{} counts on cmdline.txt only; ignored", name);
            }
            ("url", "") => now.url.clone_from(&came_with.url),
            ("attempts", "") => now.attempts = came_with.attempts,
            ("platform", "") => now.platform.clone_from(&came_with.platform),
            ("menu-timeout", "") => now.menu_timeout = came_with.menu_timeout,
            ("watchdog", "") => now.watchdog = came_with.watchdog,
            _ => now.set(name, value),
        }
    }
}

/// Reads `off`, `tryboot` or `partition:N`; partition 63 is the firmware's word for "halt", 0 for "whatever comes first".
fn local(value: &str) -> Option<Option<Local>> {
    let partition = || {
        let number = value.strip_prefix("partition:")?.parse().ok()?;
        (1..=62).contains(&number).then_some(Local::Partition(number))
    };
    match value {
        "off" => Some(None),
        "tryboot" => Some(Some(Local::Tryboot)),
        _ => partition().map(Some),
    }
}

/// The longest time for a menu without one, in seconds.
const MAX_MENU_TIMEOUT: u64 = patience::MENU_UNATTENDED.secs();

/// The longest value that is sent to servers, in bytes.
const MAX_WORD: usize = 64;

/// Whether `value` can be sent to servers: printable ASCII without blanks, not too long.
fn is_word(value: &str) -> bool {
    (1..=MAX_WORD).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_disk_is_one_of_three_words() {
        let local = |arguments: &str| Settings::from_bootargs(arguments).local;
        assert_eq!(local(""), None);
        assert_eq!(local("bramble.local=tryboot"), Some(Local::Tryboot));
        assert_eq!(local("bramble.local=tryboot bramble.local=off"), None);
        for number in [1, 2, 62] {
            let setting = std::format!("bramble.local=partition:{number}");
            assert_eq!(local(&setting), Some(Local::Partition(number)));
        }
        for wrong in [
            "",
            "on",
            "Tryboot",
            "partition:",
            "partition:0",
            "partition:63",
            "partition:64",
            "partition:300",
            "partition:-1",
            "2",
        ] {
            let setting = std::format!("bramble.local=tryboot bramble.local={wrong}");
            assert_eq!(local(&setting), Some(Local::Tryboot), "{wrong}");
        }
    }

    #[test]
    fn a_script_does_not_set_the_way_to_the_disk() {
        let mut current = Current::new(&Settings::default());
        current.set("local", "tryboot");
        assert_eq!(current.now.local, None);
        let mut current = Current::new(&Settings::from_bootargs("bramble.local=tryboot"));
        for value in ["off", "", "partition:2"] {
            current.set("local", value);
            assert_eq!(current.now.local, Some(Local::Tryboot));
        }
    }

    #[test]
    fn who_came_over_the_network_is_not_sent_to_the_disk() {
        for (mode, works) in [
            (None, true),
            (Some(1), true),
            (Some(4), true),
            (Some(6), true),
            (Some(2), false),
            (Some(7), false),
        ] {
            let mut settings = Settings::from_bootargs("bramble.local=tryboot");
            settings.came_by(mode);
            assert_eq!(settings.local.is_some(), works, "{mode:?}");
        }
    }

    #[test]
    fn what_is_sent_to_servers_is_a_word_of_up_to_sixty_four() {
        for (value, is) in [
            ("", false),
            ("x", true),
            ("iPXE-4_b", true),
            ("two words", false),
            ("caf\u{e9}", false),
            ("a\n", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(is_word(value), is, "{value:?}");
        }
    }

    #[test]
    fn settings_are_found_between_the_arguments_of_linux() {
        assert_eq!(
            Settings::from_bootargs(
                "coherent_pool=1M bramble.url=http://boot/menu bramble.attempts=3 root=/dev/mmcblk0p2"
            ),
            Settings {
                url: Some("http://boot/menu".into()),
                attempts: Some(3),
                ..Settings::default()
            }
        );
    }

    #[test]
    fn the_last_of_a_repeated_setting_counts_and_quotes_fall() {
        let settings = Settings::from_bootargs("bramble.url=a bramble.url=\"http://b/with space\"");
        assert_eq!(settings.url.as_deref(), Some("http://b/with space"));
    }

    #[test]
    fn what_servers_are_told_can_be_set() {
        assert_eq!(
            Settings::from_bootargs(
                "bramble.platform=pcbios bramble.user-class=Tinkerbell bramble.ipxe-features=0"
            ),
            Settings {
                platform: Some("pcbios".into()),
                user_class: Some("Tinkerbell".into()),
                ipxe_features: Some(false),
                ..Settings::default()
            }
        );
        let settings = Settings::from_bootargs("bramble.user-class=");
        assert_eq!(settings.user_class.as_deref(), Some(""));
    }

    #[test]
    fn menus_without_a_time_can_have_one() {
        let settings = Settings::from_bootargs("bramble.menu-timeout=30");
        assert_eq!(settings.menu_timeout, Some(Duration::from_secs(30)));
    }

    #[test]
    fn the_watchdog_is_an_entry_s_first_then_a_script_s_then_cmdline_txt_s() {
        let of = |setting: &str, line: &str| Settings::from_bootargs(setting).watchdog(line);
        for (setting, line, watchdog) in [
            ("", "quiet", Watchdog::Found),
            ("bramble.watchdog=off", "quiet", Watchdog::Off),
            ("bramble.watchdog=found", "quiet", Watchdog::Found),
            ("bramble.watchdog=handoff", "", Watchdog::Handoff),
            ("bramble.watchdog=handoff", "bramble.watchdog=off", Watchdog::Off),
            (
                "bramble.watchdog=handoff",
                "bramble.watchdog=found",
                Watchdog::Found,
            ),
            ("", "a bramble.watchdog=handoff b", Watchdog::Handoff),
            (
                "",
                "bramble.watchdog=off bramble.watchdog=\"handoff\"",
                Watchdog::Handoff,
            ),
            // What is init's, and what makes no sense.
            ("", "a -- bramble.watchdog=handoff", Watchdog::Found),
            ("bramble.watchdog=off", "bramble.watchdog=on", Watchdog::Off),
            ("", "bramble.watchdog bramble.watchdog=", Watchdog::Found),
            ("", "xbramble.watchdog=handoff", Watchdog::Found),
        ] {
            assert_eq!(of(setting, line), watchdog, "{setting:?} {line:?}");
        }
        let mut settings = Current::new(&Settings::from_bootargs("bramble.watchdog=off"));
        settings.set("watchdog", "handoff");
        assert_eq!(settings.now.watchdog("quiet"), Watchdog::Handoff);
        settings.set("watchdog", "yes");
        assert_eq!(settings.now.watchdog("bramble.watchdog=found"), Watchdog::Found);
        settings.set("watchdog", "");
        assert_eq!(settings.now.watchdog("quiet"), Watchdog::Off);
    }

    #[test]
    fn a_script_sets_what_the_next_attempts_go_by() {
        let board = Settings::from_bootargs("bramble.url=http://a/ bramble.attempts=5");
        let mut settings = Current::new(&board);
        for (name, value) in [
            ("url", "http://b/"),
            ("attempts", "2"),
            ("attempts", "x"),
            ("user-class", "y"),
        ] {
            settings.set(name, value);
        }
        assert_eq!(
            settings.now,
            Settings {
                url: Some("http://b/".into()),
                attempts: Some(2),
                ..Settings::default()
            }
        );
        settings.set("url", "");
        settings.set("attempts", "");
        settings.set("menu-timeout", "60");
        settings.set("menu-timeout", "");
        assert_eq!(settings.now, board);
    }

    #[test]
    fn what_a_script_has_set_is_forgotten_after_three_attempts_with_it() {
        let board = Settings::from_bootargs("bramble.url=http://a/");
        let mut settings = Current::new(&board);
        assert!(
            (0..9).all(|_| !settings.attempt_failed(3)),
            "there is nothing to forget"
        );
        settings.set("url", "http://gone/");
        settings.set("attempts", "7");
        // The attempt in which it was set, and two with it.
        assert!((0..3).all(|_| !settings.attempt_failed(3)));
        assert_eq!(settings.now.url.as_deref(), Some("http://gone/"));
        assert!(settings.attempt_failed(3));
        assert_eq!(
            (settings.now.url.as_deref(), settings.now.attempts),
            (Some("http://a/"), Some(7))
        );
        assert!((0..9).all(|_| !settings.attempt_failed(3)), "once");
        // Each time that it is set the count begins again.
        settings.set("url", "http://b/");
        settings.attempt_failed(3);
        settings.attempt_failed(3);
        settings.set("url", "http://c/");
        assert!((0..3).all(|_| !settings.attempt_failed(3)));
        assert!(settings.attempt_failed(3));
    }

    #[test]
    fn nonsense_leaves_the_defaults() {
        for arguments in [
            "",
            "bramble.attempts=0",
            "bramble.attempts=-1",
            "bramble.attempts=4294967296",
            "bramble.attempts",
            "bramble.url=",
            "bramble.url",
            "bramble.colour=red",
            "bramble.platform=",
            "bramble.user-class=\u{e9}",
            "bramble.ipxe-features=yes",
            "bramble.menu-timeout=0",
            "bramble.menu-timeout=3601",
            "bramble.menu-timeout=10s",
            "bramble.watchdog=1",
            "bramble.watchdog=HANDOFF",
            "bramble.watchdog",
            "notbramble.url=x",
        ] {
            assert_eq!(
                Settings::from_bootargs(arguments),
                Settings::default(),
                "{arguments}"
            );
        }
    }
}
