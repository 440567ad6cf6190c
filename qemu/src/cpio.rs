//! Writes the "newc" cpio archives that Linux unpacks as an initramfs (Linux `early-userspace/buffer-format`).

/// An archive under construction. The same calls give the same bytes: no times, no owners, inode numbers in order.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory; its parents must have been added before.
    pub fn directory(&mut self, name: &str) -> &mut Self {
        self.entry(name, 0o040_755, &[], (0, 0))
    }

    /// Adds a regular file with these permission bits.
    ///
    /// # Panics
    ///
    /// When `content` is 4 GiB or longer: the format has 32-bit sizes.
    pub fn file(&mut self, name: &str, permissions: u32, content: &[u8]) -> &mut Self {
        self.entry(name, 0o100_000 | permissions, content, (0, 0))
    }

    /// Adds a character device, by major and minor number, for root only.
    pub fn character_device(&mut self, name: &str, device: (u32, u32)) -> &mut Self {
        self.entry(name, 0o020_600, &[], device)
    }

    /// The archive's bytes, with its trailer.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8], (major, minor): (u32, u32)) -> &mut Self {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("an entry of less than 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a short name");
        // ino, mode, uid, gid, nlink, mtime, filesize, dev (2), rdev (2), namesize, check
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            major,
            minor,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_names_and_contents_are_where_the_format_puts_them() {
        let mut archive = Archive::new();
        archive.directory("dev").character_device("dev/console", (5, 1));
        archive.file("init", 0o755, b"hello");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        // The third entry: its header follows two entries of 110 bytes and their padded names.
        let third = (110 + "dev\0".len()).next_multiple_of(4);
        let third = (third + 110 + "dev/console\0".len()).next_multiple_of(4);
        assert_eq!(&bytes[third..third + 22], b"07070100000003000081ED");
        let name = third + 110;
        assert_eq!(&bytes[name..name + 5], b"init\0");
        let content = (name + 5).next_multiple_of(4);
        assert_eq!(&bytes[content..content + 8], b"hello\0\0\0");
        assert!(bytes.windows(11).any(|window| window == b"TRAILER!!!\0"));
    }
}
