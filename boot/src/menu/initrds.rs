//! Which initrds Linux gets from a menu's entry. What a script's Linux gets is in `script/initrds.rs`.

use super::model::Boot;

/// The names of the files, with what a person has typed behind the entry. INITRD is as one more `initrd=` behind APPEND, and of
/// several the last counts.
pub(super) fn names<'e>(boot: &'e Boot, typed: &'e str) -> impl Iterator<Item = &'e str> + Clone {
    let (own, _) = of_initrd(boot);
    last(typed)
        .or(Some(own).filter(|names| !names.is_empty()))
        .or_else(|| last(&boot.append))
        .or_else(|| last(&boot.arguments))
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// What stands behind INITRD: the names of files, and words for the command line.
pub(super) fn of_initrd(boot: &Boot) -> (&str, &str) {
    boot.initrds.split_once(' ').unwrap_or((&boot.initrds, ""))
}

/// The value of the last `initrd=` in a command line.
fn last(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace().rev();
    words.find_map(|word| word.strip_prefix("initrd="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_the_one_who_spoke_last_counts() {
        let boot = |arguments: &str, append: &str, initrds: &str| Boot {
            arguments: arguments.into(),
            append: append.into(),
            initrds: initrds.into(),
            ..Boot::of("Image")
        };
        for (boot, typed, files) in [
            (boot("", "", ""), "", &[][..]),
            (boot("initrd=a", "", ""), "", &["a"]),
            (boot("initrd=a", "x initrd=b initrd=c", ""), "", &["c"]),
            (boot("initrd=a", "initrd=b", "c, d,"), "quiet", &["c"]),
            (boot("initrd=a", "initrd=b", "c,,d words"), "", &["c", "d"]),
            (boot("initrd=a", "initrd=b", "c"), "initrd=e,f", &["e", "f"]),
            (boot("", "initrd=b", "c"), "initrd=", &[]),
        ] {
            assert_eq!(names(&boot, typed).collect::<Vec<_>>(), files, "{typed} {boot:?}");
        }
    }
}
