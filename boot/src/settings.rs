//! What an operator may set: `bramble.*` on the firmware's cmdline.txt, the same names everywhere.

use alloc::string::String;

use crate::load::bootargs;

/// The settings of one boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `bramble.url=`: the menu to fetch, whatever DHCP says.
    pub url: Option<String>,
    /// `bramble.attempts=`: reset the board after so many failed attempts; none means never give up.
    pub attempts: Option<u32>,
    /// `bramble.platform=`: what scripts see as `${platform}`; `efi` when not set.
    pub platform: Option<String>,
    /// `bramble.user-class=`: DHCP's option 77; `iPXE` when not set, not sent when empty.
    pub user_class: Option<String>,
    /// `bramble.ipxe-features=`: whether DHCP's option 175 is sent; it is when not set.
    pub ipxe_features: Option<bool>,
}

impl Settings {
    /// Reads the firmware's `/chosen/bootargs`. Of a repeated setting the last one counts; what is not understood
    /// leaves the default and a line in the log.
    pub fn from_bootargs(arguments: &str) -> Self {
        let mut settings = Self::default();
        for argument in bootargs::arguments(arguments) {
            let Some(setting) = argument.strip_prefix("bramble.") else {
                continue;
            };
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            let value = value.trim_matches('"');
            match name {
                "url" if !value.is_empty() => settings.url = Some(value.into()),
                "attempts" if matches!(value.parse(), Ok(1..=u32::MAX)) => {
                    settings.attempts = value.parse().ok();
                }
                "platform" if is_word(value) => settings.platform = Some(value.into()),
                "user-class" if value.is_empty() || is_word(value) => {
                    settings.user_class = Some(value.into());
                }
                "ipxe-features" if matches!(value, "0" | "1") => {
                    settings.ipxe_features = Some(value == "1");
                }
                "url" | "attempts" | "platform" | "user-class" | "ipxe-features" => {
                    warn!("settings: bramble.{} can not be \"{}\"; ignored", name, value);
                }
                _ => warn!("settings: bramble.{} is unknown; ignored", name),
            }
        }
        settings
    }
}

/// Bytes of a name that servers are told.
const MAX_WORD: usize = 64;

/// Whether servers can be told `value`: printable ASCII without blanks, not too long.
fn is_word(value: &str) -> bool {
    (1..=MAX_WORD).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

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
