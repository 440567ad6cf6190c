//! A card's image, or a boot.img: FAT, which the stage only reads; and such images made of files.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result as IoResult, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::files::Files;
use super::volume::{self, SECTOR};

/// A FAT volume in a file, read only.
pub struct Card(fatfs::FileSystem<Volume>);

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
        let mut sector = [0; SECTOR];
        file.read_exact(&mut sector).context("its first sector")?;
        ensure!(sector[510..] == [0x55, 0xaa], "neither a partition table nor FAT");
        // A volume begins with a jump over its own figures.
        let start = if matches!(sector[0], 0xeb | 0xe9) {
            0
        } else {
            partition_start(&sector, partition)? * SECTOR as u64
        };
        let mut volume = Volume { file, start };
        volume.seek(SeekFrom::Start(0))?;
        let options = fatfs::FsOptions::new().update_accessed_date(false);
        Ok(Self(fatfs::FileSystem::new(volume, options)?))
    }
}

fn partition_start(sector: &[u8; SECTOR], partition: u8) -> Result<u64> {
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

/// How an image is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A card's: a partition table and one partition of FAT32, with room for more.
    Card,
    /// A boot.img's: FAT16 without a table, as small as the files allow. The vendor's rpi-make-boot-image makes the same of less
    /// than 32 MiB (DOC).
    BootImage,
}

/// Where a card's partition begins, in bytes.
pub const PARTITION: u64 = 1 << 20;

/// The size of a card's image; every card is larger, and FAT32 begins at 33 MiB.
const CARD: usize = 64 << 20;

/// The bytes of an image of files, by their paths, which follow from these alone.
///
/// # Errors
///
/// When they do not fit, or FAT has no such names.
pub fn image(layout: Layout, files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    if layout == Layout::BootImage {
        return volume::fat16(files);
    }
    let start = PARTITION as usize;
    let (first, count) = (start / SECTOR, (CARD - start) / SECTOR);
    let mut image = vec![0; start];
    image[440..444].copy_from_slice(&volume::ID.to_le_bytes());
    // One partition of FAT32, addressed by sectors alone.
    image[446..454].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0x0c, 0xff, 0xff, 0xff]);
    image[454..458].copy_from_slice(&u32::try_from(first)?.to_le_bytes());
    image[458..462].copy_from_slice(&u32::try_from(count)?.to_le_bytes());
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image.extend(volume::fat32(count, first, files)?);
    Ok(image)
}

/// Writes a card of two partitions of FAT32, each with its files.
///
/// # Errors
///
/// When they do not fit, FAT has no such names, or it cannot be written.
pub fn make_two(file: &Path, files: [&[(String, Vec<u8>)]; 2]) -> Result<()> {
    let [first, second] = files;
    let mut bytes = image(Layout::Card, first)?;
    let (start, count) = (bytes.len() / SECTOR, (CARD - PARTITION as usize) / SECTOR);
    let mut entry = bytes[446..462].to_vec();
    entry[8..12].copy_from_slice(&u32::try_from(start)?.to_le_bytes());
    bytes[462..478].copy_from_slice(&entry);
    bytes.extend(volume::fat32(count, start, second)?);
    std::fs::write(file, bytes).with_context(|| file.display().to_string())
}

/// Writes such an image.
///
/// # Errors
///
/// Likewise, and when it cannot be written.
pub fn make(file: &Path, layout: Layout, files: &[(String, Vec<u8>)]) -> Result<()> {
    let bytes = image(layout, files).with_context(|| file.display().to_string())?;
    std::fs::write(file, bytes).with_context(|| file.display().to_string())
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
}

impl Read for Volume {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        self.file.read(buffer)
    }
}

impl Write for Volume {
    fn write(&mut self, _: &[u8]) -> IoResult<usize> {
        Err(Error::new(ErrorKind::PermissionDenied, "the stage only reads"))
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
        for layout in [Layout::Card, Layout::BootImage] {
            make(&image, layout, &files).unwrap();
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
            assert_eq!(Card::open(&image, 2).is_ok(), layout == Layout::BootImage);
        }
        std::fs::write(&image, vec![0; 4096]).unwrap();
        assert!(Card::open(&image, 0).is_err());
    }
}
