//! Passwords of menu entries (Syslinux `doc/menu.txt`): in clear text, or as what a digest made of them.

use alloc::string::String;

use sha1::{Digest as _, Sha1};

use crate::fetch::base64;

/// What a menu holds of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password in a menu's words: clear text, or a `$` with the number of the digest that it was put through.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it is `typed`. An empty one is nobody's, and so is one in a form that is not known here.
    pub fn is(&self, typed: &str) -> bool {
        match self.0.strip_prefix('$') {
            None => !self.0.is_empty() && self.0 == typed,
            Some(form) => match form.split_once('$') {
                Some(("4", rest)) => is_sha1(rest, typed),
                _ => false,
            },
        }
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
}
