//! A card's image, or a boot.img: FAT, read only.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result as IoResult, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::stage::Files;

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
        let end = file.metadata()?.len();
        let mut volume = Volume { file, start, end };
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
    end: u64,
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
            SeekFrom::End(_) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("from the end, {}", self.end),
                ));
            }
            current @ SeekFrom::Current(_) => current,
        };
        let at = self.file.seek(to)?;
        at.checked_sub(self.start)
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "before the volume"))
    }
}
