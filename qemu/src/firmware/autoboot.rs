//! autoboot.txt: which partition of a card the firmware goes on with (raspberrypi/documentation `config_txt/autoboot.adoc`: DOC).

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Autoboot {
    /// The partition that the next files come from.
    pub(super) partition: Option<u8>,
    /// Whether a tryboot reads config.txt like any boot, of a partition of its own.
    pub(super) a_b: bool,
}

/// How much of it is read.
const MOST: usize = 512;

impl Autoboot {
    /// Reads it for a boot that is a tryboot, or is none. Of a repeated key the last one counts.
    pub(super) fn read(text: &[u8], tryboot: bool) -> Self {
        let text = String::from_utf8_lossy(text.get(..MOST).unwrap_or(text)).into_owned();
        let (mut read, mut applies) = (Self::default(), true);
        for line in text.lines().map(str::trim) {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some("all") => applies = true,
                Some("tryboot") => applies = tryboot,
                // [partition=N] is of a reset that asked for one, in which this file is not read.
                Some(_) => applies = false,
                None => {}
            }
            match line.split_once('=') {
                Some(("boot_partition", value)) if applies => read.partition = value.parse().ok(),
                Some(("tryboot_a_b", value)) if applies => read.a_b = value == "1",
                _ => {}
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tryboot_has_a_partition_of_its_own() {
        let text = b"[all]\ntryboot_a_b=1\nboot_partition=1\r\n[tryboot]\nboot_partition=2\n[none]\nboot_partition=9\n";
        let read = |tryboot| Autoboot::read(text, tryboot);
        let a_b = true;
        assert_eq!(
            read(false),
            Autoboot {
                partition: Some(1),
                a_b
            }
        );
        assert_eq!(
            read(true),
            Autoboot {
                partition: Some(2),
                a_b
            }
        );
        assert_eq!(Autoboot::read(b"", true), Autoboot::default());
        let late = [&[b'#'; MOST][..], b"\nboot_partition=3\n"].concat();
        assert_eq!(Autoboot::read(&late, false), Autoboot::default());
    }
}
