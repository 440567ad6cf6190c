//! The boot partition, which a TFTP root is as well: config.txt, cmdline.txt, the image, and the Pi's own firmware.

use anyhow::{Context, Result};
use qemu::recipe::recipe;

use super::pi::Files;

/// For who finds these files.
pub(super) const README: &str = include_str!("README.txt");

/// The user's guide, whose configuration is the one that is written.
const PAGE: &str = include_str!("../../../docs/src/first-stage.md");

/// The files, by their names.
pub(super) fn of(kernel: &[u8], pi: &Files) -> Result<Files> {
    let block = |n| {
        let text = recipe(PAGE, "What to copy", n).context("dist: the guide's page")?;
        anyhow::Ok(format!("{}\n", text.trim_end()))
    };
    let mut files = pi.clone();
    files.extend([
        ("README.txt".to_owned(), README.into()),
        ("cmdline.txt".to_owned(), block(1)?.into()),
        ("config.txt".to_owned(), block(0)?.into()),
        ("kernel8.img".to_owned(), kernel.into()),
    ]);
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_the_guides_and_nothing_is_there_twice() {
        let pi = vec![("start4.elf".to_owned(), vec![4])];
        let files = of(b"8", &pi).unwrap();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "README.txt",
                "cmdline.txt",
                "config.txt",
                "kernel8.img",
                "start4.elf"
            ]
        );
        let text = |n: usize| std::str::from_utf8(&files[n].1).unwrap();
        // One line each; the firmware reads no more than 98 bytes of one.
        assert_eq!(text(1).lines().count(), 1);
        assert!(text(2).starts_with("arm_64bit=1\n"));
        assert!(text(2).lines().all(|line| line.len() <= 98));
        // config.txt is exchanged as one sector: the guide, "A new kernel8.img while nodes boot".
        assert!(text(2).len() < 512);
    }
}
