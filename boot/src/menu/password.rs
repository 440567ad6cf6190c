//! Passwords of menu entries (Syslinux `doc/menu.txt`): in clear text or hashed (D-87).

use alloc::string::String;

use md5::Md5;
use sha_crypt::{PasswordVerifier as _, ShaCrypt};
use sha1::{Digest as _, Sha1};

use crate::fetch::base64;

/// The most rounds of SHA-crypt, with passwords of up to 32 bytes: about a second on these cores. The hashed password says how many rounds it needs; 5,000 when it
/// does not.
const MAX_ROUNDS: u32 = 100_000;
/// The longest password that is tried, in bytes: the time of a hash grows with it.
const MAX_TYPED: usize = 256;

/// A password as a menu holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Reads a menu's word: clear text, or a hash that begins with `$` and the number of its method.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The menu's word, for the fuzz targets.
    #[cfg(fuzzing)]
    #[doc(hidden)]
    pub fn written(&self) -> &str {
        &self.0
    }

    /// Whether `typed` is the password. Nothing matches an empty password, or a hash in an unknown form.
    pub fn is(&self, typed: &str) -> bool {
        let Some(form) = self.0.strip_prefix('$') else {
            return !self.0.is_empty() && self.0 == typed;
        };
        match form.split_once('$') {
            _ if typed.len() > MAX_TYPED => false,
            Some(("1", rest)) => is_md5(rest, typed.as_bytes()),
            Some(("4", rest)) => is_sha1(rest, typed),
            Some(("5" | "6", rest)) => {
                is_bearable(rounds(rest), typed.len())
                    && ShaCrypt::default()
                        .verify_password(typed.as_bytes(), &*self.0)
                        .is_ok()
            }
            _ => false,
        }
    }
}

/// Whether so many rounds over a password of so many bytes are over in a second or so: each sums up the password, too.
fn is_bearable(rounds: u32, typed: usize) -> bool {
    let work = |rounds: u32, typed: usize| u64::from(rounds).saturating_mul(typed.saturating_add(64) as u64);
    rounds <= MAX_ROUNDS && work(rounds, typed) <= work(MAX_ROUNDS, 32)
}

/// The number of rounds in SHA-crypt's parameters.
fn rounds(parameters: &str) -> u32 {
    match parameters
        .strip_prefix("rounds=")
        .and_then(|rest| rest.split_once('$'))
    {
        Some((rounds, _)) => rounds.parse().unwrap_or(u32::MAX),
        None => 5000,
    }
}

/// FreeBSD's MD5-crypt: 1,000 rounds over salt and password, in a base64 of its own.
fn is_md5(salt_and_digest: &str, typed: &[u8]) -> bool {
    let Some((salt, digest)) = salt_and_digest.split_once('$') else {
        return false;
    };
    let salt = salt.as_bytes();
    let salt = salt.get(..8).unwrap_or(salt);
    let inner = Md5::new()
        .chain_update(typed)
        .chain_update(salt)
        .chain_update(typed)
        .finalize();
    let mut outer = Md5::new()
        .chain_update(typed)
        .chain_update(b"$1$")
        .chain_update(salt);
    for at in (0..typed.len()).step_by(16) {
        let left = typed.len().saturating_sub(at).min(16);
        outer.update(inner.get(..left).unwrap_or_default());
    }
    let mut bits = typed.len();
    while bits > 0 {
        let first = typed.get(..1).unwrap_or_default();
        outer.update(if bits & 1 == 1 { &[0][..] } else { first });
        bits >>= 1;
    }
    let mut last = outer.finalize();
    for round in 0..1000_u32 {
        let mut next = Md5::new();
        let odd = round & 1 == 1;
        next.update(if odd { typed } else { &last });
        if !round.is_multiple_of(3) {
            next.update(salt);
        }
        if !round.is_multiple_of(7) {
            next.update(typed);
        }
        next.update(if odd { &last } else { typed });
        last = next.finalize();
    }
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let byte = |at: usize| u32::from(last.get(at).copied().unwrap_or_default());
    let mut made = String::new();
    for [a, b, c] in ORDER {
        crypt64(&mut made, byte(a) << 16 | byte(b) << 8 | byte(c), 4);
    }
    crypt64(&mut made, byte(11), 2);
    made == digest
}

/// Writes `digits` digits of six bits, the lowest first.
fn crypt64(out: &mut String, mut bits: u32, digits: usize) {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..digits {
        out.extend(ALPHABET.get(bits as usize & 63).map(|&digit| char::from(digit)));
        bits >>= 6;
    }
}

/// Menus are printed in tests and traces; passwords are not.
impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Password")
    }
}

/// Syslinux's own form: the salt, and base64 of SHA-1 of salt and password.
fn is_sha1(salt_and_digest: &str, typed: &str) -> bool {
    let Some((salt, digest)) = salt_and_digest.split_once('$') else {
        return false;
    };
    let made = Sha1::new().chain_update(salt).chain_update(typed).finalize();
    base64(&made).trim_end_matches('=') == digest.trim_end_matches('$').trim_end_matches('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_and_syslinuxs_own_form() {
        for (held, typed, is) in [
            ("secret", "secret", true),
            ("secret", "Secret", false),
            ("secret", "", false),
            ("", "", false),
            // printf 'saltsecret' | openssl sha1 -binary | base64
            ("$4$salt$2gDsLm/57U00KyShbiYsgvPIsQs$", "secret", true),
            ("$4$salt$2gDsLm/57U00KyShbiYsgvPIsQs=", "secret", true),
            ("$4$salt$2gDsLm/57U00KyShbiYsgvPIsQs$", "public", false),
            ("$4$salt", "secret", false),
            ("$9$salt$x", "x", false),
            ("$", "$", false),
        ] {
            assert_eq!(Password::new(held).is(typed), is, "{held} {typed}");
        }
    }

    #[test]
    fn the_forms_of_crypt_as_openssl_writes_them() {
        for (held, typed) in [
            ("$1$saltsalt$9xy1btjgzLYfb7hivXtC//", "secret"),
            ("$1$saltsalt$5Jhcit4zN9UlGiA0txPkO0", ""),
            (
                "$1$saltsalt$aLKYxPEwNX5I5/Jp4/oE01",
                "a password that is longer than one block of sixteen",
            ),
            (
                "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
                "secret",
            ),
            ("$1$saltsalt$4px9i58NU2Z2/vZOUlGjq.", "x"),
            (
                "$5$saltsalt$XTB5f8znriCZklOmoNu6Vc8y8Z2VzAIZyVDd8zY3H/3",
                "a password that is longer than one block of sixteen",
            ),
            (
                "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
                "secret",
            ),
            ("$5$saltsalt$hcyDOxdIg0p3xyqtpHh/v8Ph.am06tQaovp1KpEklb7", "x"),
            (
                "$5$rounds=100000$salt$dtleowFa6Iz00Jj8gBFzJjlJJDkOSO25Qy6Yue5ZtF5",
                "another",
            ),
            (
                "$6$saltsalt$efgQAdBWbqth1AQiqz4DLO40nViOzGsy/vxl7BYxZ/dBx9FPXAG9N1eUVcaRfTklJvs9/.42crmVism9EY6641",
                "a password that is longer than one block of sixteen",
            ),
        ] {
            assert!(Password::new(held).is(typed), "{held}");
            assert!(!Password::new(held).is("other"), "{held}");
            // Cut short, it is nobody's.
            for end in 1..held.len() {
                let cut: String = held.chars().take(end).collect();
                assert!(!Password::new(cut).is(typed), "{held} {end}");
            }
        }
    }

    #[test]
    fn more_rounds_than_a_person_would_wait_for_are_nobodys() {
        assert_eq!(rounds("rounds=1000$salt$x"), 1000);
        assert_eq!(rounds("salt$x"), 5000);
        assert!(rounds("rounds=99999999999$salt$x") > MAX_ROUNDS);
        assert!(!Password::new("$6$rounds=999999999$salt$x").is("x"));
        assert!(!Password::new("$6$salt$x").is(&"x".repeat(MAX_TYPED + 1)));
        // A long password makes each round longer.
        assert!(is_bearable(MAX_ROUNDS, 32) && !is_bearable(MAX_ROUNDS, 33));
        assert!(is_bearable(30_000, MAX_TYPED) && !is_bearable(31_000, MAX_TYPED));
        assert!(is_bearable(5000, MAX_TYPED) && !is_bearable(u32::MAX, 0));
    }
}
