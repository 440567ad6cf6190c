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
                "url" | "attempts" => {
                    warn!("settings: bramble.{} can not be \"{}\"; ignored", name, value);
                }
                _ => warn!("settings: bramble.{} is unknown; ignored", name),
            }
        }
        settings
    }
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
            }
        );
    }

    #[test]
    fn the_last_of_a_repeated_setting_counts_and_quotes_fall() {
        let settings = Settings::from_bootargs("bramble.url=a bramble.url=\"http://b/with space\"");
        assert_eq!(settings.url.as_deref(), Some("http://b/with space"));
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
