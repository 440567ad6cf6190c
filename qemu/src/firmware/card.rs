//! A card's image, or a boot.img: FAT, which the stage only reads; and such images made of files.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result as IoResult, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::files::Files;

/// A FAT volume in a file, read only.
pub struct Card(fatfs::FileSystem<Volume>);

/// Bytes of a sector.
const SECTOR: u64 = 512;

impl Card {
    /// The volume in `image`: the whole of it, or the MBR's `partition`, 1 to 4; 0 is the first that holds FAT.
    ///
    /// # Errors
    ///
    /// When there is no such thing.
    pub fn open(image: &Path, partition: u8) -> Result<Self> {
        Self::volume(image, partition).with_context(|| format!("card: {}", image.display()))
    }

    fn volume(image: &Path, partition: u8) -> Result<Self> {
        let mut file = File::open(image)?;
        let mut sector = [0; SECTOR as usize];
        file.read_exact(&mut sector).context("its first sector")?;
        ensure!(sector[510..] == [0x55, 0xaa], "neither a partition table nor FAT");
        // A volume begins with a jump over its own figures.
        let start = if matches!(sector[0], 0xeb | 0xe9) {
            0
        } else {
            partition_start(&sector, partition)? * SECTOR
        };
        let mut volume = Volume {
            file,
            start,
            writable: false,
        };
        volume.seek(SeekFrom::Start(0))?;
        let options = fatfs::FsOptions::new().update_accessed_date(false);
        Ok(Self(fatfs::FileSystem::new(volume, options)?))
    }
}

fn partition_start(sector: &[u8; SECTOR as usize], partition: u8) -> Result<u64> {
    for (number, entry) in (1..).zip(sector[446..510].chunks(16)) {
        let wanted = match partition {
            // FAT12, FAT16 and FAT32, as the ROM looks for them (DOC).
            0 => matches!(entry[4], 0x01 | 0x04 | 0x06 | 0x0b | 0x0c | 0x0e),
            wanted => wanted == number,
        };
        if wanted && entry[4] != 0 {
            let start: [u8; 4] = entry[8..12].try_into()?;
            return Ok(u32::from_le_bytes(start).into());
        }
    }
    bail!("no FAT partition {partition}")
}

/// The size of an image made here: the least that FAT32 may have, and some.
const SIZE: u64 = 48 << 20;

/// Where its partition begins, when it has a table.
const FIRST: u64 = 2048;

/// Makes `image` of files, by their paths: a card's, with a partition table, or without one a boot.img.
///
/// # Errors
///
/// When it cannot be written.
pub fn make(image: &Path, table: bool, files: &[(String, Vec<u8>)]) -> Result<()> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(image)
        .with_context(|| image.display().to_string())?;
    file.set_len(SIZE)?;
    let first = if table { FIRST } else { 0 };
    let sectors = u32::try_from(SIZE / SECTOR - first)?;
    if table {
        let mut sector = [0; SECTOR as usize];
        // One partition of FAT32, addressed by sectors alone.
        sector[446..458].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0x0c, 0xff, 0xff, 0xff, 0, 8, 0, 0]);
        sector[458..462].copy_from_slice(&sectors.to_le_bytes());
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        file.write_all(&sector)?;
    }
    let mut volume = Volume {
        file,
        start: first * SECTOR,
        writable: true,
    };
    volume.seek(SeekFrom::Start(0))?;
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat32)
        .bytes_per_cluster(SECTOR as u32)
        .total_sectors(sectors);
    fatfs::format_volume(&mut volume, options)?;
    volume.seek(SeekFrom::Start(0))?;
    let system = fatfs::FileSystem::new(volume, fatfs::FsOptions::new())?;
    for (path, bytes) in files {
        let mut folder = system.root_dir();
        let mut words = path.split('/').peekable();
        while let Some(word) = words.next() {
            if words.peek().is_some() {
                folder = folder.create_dir(word)?;
            } else {
                folder.create_file(word)?.write_all(bytes)?;
            }
        }
    }
    Ok(system.unmount()?)
}

impl Files for Card {
    fn on_a_network(&self) -> bool {
        false
    }

    fn get(&mut self, path: &str, look: bool) -> Result<Option<Vec<u8>>> {
        let mut file = match self.0.root_dir().open_file(path.trim_matches('/')) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("card: {path}")),
        };
        let mut bytes = vec![];
        if !look {
            file.read_to_end(&mut bytes)
                .with_context(|| format!("card: {path}"))?;
        }
        Ok(Some(bytes))
    }
}

/// A part of a file that is read as if it began at 0.
struct Volume {
    file: File,
    start: u64,
    writable: bool,
}

impl Read for Volume {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        self.file.read(buffer)
    }
}

impl Write for Volume {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        if self.writable {
            self.file.write(bytes)
        } else {
            Err(Error::new(ErrorKind::PermissionDenied, "the stage only reads"))
        }
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

impl Seek for Volume {
    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(self.start + at),
            end @ SeekFrom::End(_) => end,
            current @ SeekFrom::Current(_) => current,
        };
        let at = self.file.seek(to)?;
        at.checked_sub(self.start)
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "before the volume"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Directory;

    #[test]
    fn what_was_made_is_read_and_nothing_else() {
        let directory = Directory::new().unwrap();
        let image = directory.path().join("image");
        let long: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let files = [
            ("config.txt".to_owned(), b"a=1".to_vec()),
            ("overlays/a-long-name.dtbo".to_owned(), long.clone()),
            ("overlays/another.dtbo".to_owned(), vec![]),
        ];
        for table in [true, false] {
            make(&image, table, &files).unwrap();
            let before = std::fs::read(&image).unwrap();
            let mut card = Card::open(&image, 0).unwrap();
            let mut get = |path: &str, look| card.get(path, look).unwrap();
            assert_eq!(get("CONFIG.TXT", false), Some(b"a=1".to_vec()));
            assert!(get("overlays/a-long-name.dtbo", false).as_ref() == Some(&long));
            assert_eq!(get("overlays/a-long-name.dtbo", true), Some(vec![]));
            assert_eq!(get("overlays/another.dtbo", false), Some(vec![]));
            assert_eq!(get("kernel8.img", false), None);
            assert_eq!(get("none/kernel8.img", false), None);
            drop(card);
            assert!(std::fs::read(&image).unwrap() == before);
            // Without a table, whatever partition is asked for is the whole.
            assert_eq!(Card::open(&image, 2).is_ok(), !table);
        }
        std::fs::write(&image, vec![0; 4096]).unwrap();
        assert!(Card::open(&image, 0).is_err());
    }
}
