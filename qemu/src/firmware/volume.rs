//! A FAT volume made of files, whose bytes follow from these alone (Microsoft's FAT specification 1.03).
//!
//! `fatfs` makes folders that `fsck.fat` repairs, and no crate that does better is finished. D-210

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

/// Bytes of a sector, and of a cluster.
pub(super) const SECTOR: usize = 512;

/// What names the volume for those who mount it, the same in each.
pub(super) const ID: u32 = 0x4272_616d;
const LABEL: &[u8; 11] = b"BRAMBLE    ";

/// Everything happened on the first day that FAT knows.
const DATE: [u8; 2] = 0x0021_u16.to_le_bytes();

/// How many entries the root of FAT16 has.
const ROOT: usize = 512;

/// The fewest clusters of FAT16, and of FAT32, as the specification counts; no volume here is near to them.
const FEWEST: [usize; 2] = [4085, 65525];
const FROM_THEM: usize = 16;

const FOLDER: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const VOLUME: u8 = 0x08;

/// A FAT16 volume as small as the files allow.
pub(super) fn fat16(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut data = Data::default();
    let root = data.place(&folder(files)?, None)?;
    ensure!(root.len() <= ROOT, "FAT16: too many names for the root");
    let clusters = data.clusters().max(FEWEST[0] + FROM_THEM);
    ensure!(clusters + FROM_THEM < FEWEST[1], "FAT16: more than 32 MiB");
    let table = (2 * (clusters + 2)).div_ceil(SECTOR);
    let reserved = 1;
    let total = reserved + 2 * table + ROOT * 32 / SECTOR + clusters;
    let mut boot = boot_sector(reserved, 0, total)?;
    boot[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
    boot[17..19].copy_from_slice(&(ROOT as u16).to_le_bytes());
    boot[22..24].copy_from_slice(&u16::try_from(table)?.to_le_bytes());
    boot[36..62].copy_from_slice(&names(b"FAT16   "));
    let mut volume = boot;
    for _ in 0..2 {
        let first = volume.len();
        volume.extend([0xf8, 0xff, 0xff, 0xff]);
        for next in &data.next {
            volume.extend((*next as u16).to_le_bytes());
        }
        volume.resize(first + table * SECTOR, 0);
    }
    let first = volume.len();
    volume.extend(root.concat());
    volume.resize(first + ROOT * 32, 0);
    volume.extend(&data.bytes);
    volume.resize(total * SECTOR, 0);
    Ok(volume)
}

/// A FAT32 volume of `total` sectors, `hidden` sectors behind the beginning of its disk.
pub(super) fn fat32(total: usize, hidden: usize, files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let root = folder(files)?;
    let mut data = Data::default();
    // The root comes first, as everybody expects.
    let place = data.reserve(root.size(false));
    let entries = data.place(&root, None)?;
    data.write(place, &entries.concat());
    let reserved = 32;
    let table = (4 * (total - reserved + 2)).div_ceil(SECTOR);
    let clusters = (total - reserved)
        .checked_sub(2 * table)
        .filter(|clusters| *clusters >= FEWEST[1] + FROM_THEM)
        .context("FAT32: too small")?;
    ensure!(data.clusters() <= clusters, "FAT32: more than {clusters} sectors");
    let mut boot = boot_sector(reserved, hidden, total)?;
    boot[..3].copy_from_slice(&[0xeb, 0x58, 0x90]);
    boot[36..40].copy_from_slice(&u32::try_from(table)?.to_le_bytes());
    // The root's cluster, and the sectors of the counts and of the copy.
    boot[44..52].copy_from_slice(&[2, 0, 0, 0, 1, 0, 6, 0]);
    boot[64..90].copy_from_slice(&names(b"FAT32   "));
    let mut counts = vec![0; SECTOR];
    counts[..4].copy_from_slice(b"RRaA");
    counts[484..488].copy_from_slice(b"rrAa");
    counts[488..492].copy_from_slice(&u32::try_from(clusters - data.clusters())?.to_le_bytes());
    counts[492..496].copy_from_slice(&u32::try_from(data.clusters() + 2)?.to_le_bytes());
    counts[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut volume = vec![];
    for _ in 0..2 {
        volume.extend(&boot);
        volume.extend(&counts);
        volume.resize(volume.len() + 4 * SECTOR, 0);
    }
    volume.resize(reserved * SECTOR, 0);
    for _ in 0..2 {
        let first = volume.len();
        volume.extend([0xf8, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0x0f]);
        for next in &data.next {
            volume.extend(next.to_le_bytes());
        }
        volume.resize(first + table * SECTOR, 0);
    }
    volume.extend(&data.bytes);
    volume.resize(total * SECTOR, 0);
    Ok(volume)
}

/// What the first sectors of both kinds have in common.
fn boot_sector(reserved: usize, hidden: usize, total: usize) -> Result<Vec<u8>> {
    let mut sector = vec![0; SECTOR];
    // What the specification recommends: some readers know no other.
    sector[3..11].copy_from_slice(b"MSWIN4.1");
    sector[11..13].copy_from_slice(&(SECTOR as u16).to_le_bytes());
    // One sector a cluster, two tables, a fixed disk.
    sector[13] = 1;
    sector[14..16].copy_from_slice(&u16::try_from(reserved)?.to_le_bytes());
    sector[16] = 2;
    sector[21] = 0xf8;
    // A geometry that nobody uses.
    sector[24..28].copy_from_slice(&[63, 0, 255, 0]);
    sector[28..32].copy_from_slice(&u32::try_from(hidden)?.to_le_bytes());
    match u16::try_from(total) {
        Ok(total) => sector[19..21].copy_from_slice(&total.to_le_bytes()),
        Err(_) => sector[32..36].copy_from_slice(&u32::try_from(total)?.to_le_bytes()),
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    Ok(sector)
}

/// The end of a boot sector's figures: drive, identity, label, kind.
fn names(kind: &[u8; 8]) -> [u8; 26] {
    let mut names = [0; 26];
    names[0] = 0x80;
    names[2] = 0x29;
    names[3..7].copy_from_slice(&ID.to_le_bytes());
    names[7..18].copy_from_slice(LABEL);
    names[18..].copy_from_slice(kind);
    names
}

/// What is in a folder, by names.
#[derive(Default)]
struct Folder<'a>(BTreeMap<&'a str, Node<'a>>);

enum Node<'a> {
    File(&'a [u8]),
    Folder(Folder<'a>),
}

/// Files by their paths, as folders.
fn folder(files: &[(String, Vec<u8>)]) -> Result<Folder<'_>> {
    let mut root = Folder::default();
    for (path, bytes) in files {
        root.add(path, bytes).with_context(|| path.clone())?;
    }
    Ok(root)
}

impl<'a> Folder<'a> {
    fn add(&mut self, path: &'a str, bytes: &'a [u8]) -> Result<()> {
        let (name, rest) = path
            .split_once('/')
            .map_or((path, None), |(name, rest)| (name, Some(rest)));
        let is_plain = |letter: char| letter.is_ascii_graphic() && !"\"*:<>?\\|".contains(letter);
        ensure!(
            name.chars().all(is_plain) && (1..=255).contains(&name.len()) && !name.ends_with('.'),
            "no name for FAT"
        );
        let twice = self
            .0
            .keys()
            .any(|other| *other != name && other.eq_ignore_ascii_case(name));
        ensure!(!twice, "FAT has another file of that name");
        let Some(rest) = rest else {
            ensure!(
                self.0.insert(name, Node::File(bytes)).is_none(),
                "a file is there twice"
            );
            return Ok(());
        };
        match self
            .0
            .entry(name)
            .or_insert_with(|| Node::Folder(Folder::default()))
        {
            Node::Folder(folder) => folder.add(rest, bytes),
            Node::File(_) => anyhow::bail!("{name} is a file"),
        }
    }

    /// Its entries' bytes. Each has two more than its own: its own folder's and the one's above, in the root the volume's.
    fn size(&self, above: bool) -> usize {
        let entries: usize = self.0.keys().map(|name| 1 + name.len().div_ceil(13)).sum();
        32 * (entries + if above { 2 } else { 1 })
    }
}

/// The clusters, from number 2 on.
#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    /// The next one of the same file; the highest ends it.
    next: Vec<u32>,
}

/// Clusters in a row: the first one's number, 0 when there are none.
type First = u32;

impl Data {
    fn clusters(&self) -> usize {
        self.next.len()
    }

    /// Clusters for so many bytes.
    fn reserve(&mut self, length: usize) -> First {
        let (first, count) = (self.next.len() as u32 + 2, length.div_ceil(SECTOR) as u32);
        if count == 0 {
            return 0;
        }
        self.next.extend(first + 1..first + count);
        self.next.push(0x0fff_ffff);
        self.bytes.resize(self.next.len() * SECTOR, 0);
        first
    }

    fn write(&mut self, first: First, bytes: &[u8]) {
        if let Some(start) = first.checked_sub(2) {
            let start = start as usize * SECTOR;
            self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Places what is in a folder, and gives the folder's own entries; `own` is its first cluster and the one's above, none in
    /// the root.
    fn place(&mut self, folder: &Folder<'_>, own: Option<[First; 2]>) -> Result<Vec<[u8; 32]>> {
        let mut entries = match own {
            Some([own, above]) => vec![
                entry(b".          ", FOLDER, own, 0),
                entry(b"..         ", FOLDER, above, 0),
            ],
            None => vec![entry(LABEL, VOLUME, 0, 0)],
        };
        // The root is 0 to those in it, wherever it is.
        let here = own.map_or(0, |[own, _]| own);
        let mut taken = BTreeSet::new();
        for (name, node) in &folder.0 {
            let short = short(name, &taken)?;
            taken.insert(short);
            entries.extend(long(name, &short));
            entries.push(match node {
                Node::File(bytes) => {
                    let first = self.reserve(bytes.len());
                    self.write(first, bytes);
                    entry(&short, ARCHIVE, first, u32::try_from(bytes.len())?)
                }
                Node::Folder(inner) => {
                    let first = self.reserve(inner.size(true));
                    let inside = self.place(inner, Some([first, here]))?;
                    self.write(first, &inside.concat());
                    entry(&short, FOLDER, first, 0)
                }
            });
        }
        Ok(entries)
    }
}

fn entry(name: &[u8; 11], attributes: u8, first: First, length: u32) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes;
    for date in [16..18, 18..20, 24..26] {
        entry[date].copy_from_slice(&DATE);
    }
    let [low, high] = [first as u16, (first >> 16) as u16].map(u16::to_le_bytes);
    entry[20..22].copy_from_slice(&high);
    entry[26..28].copy_from_slice(&low);
    entry[28..].copy_from_slice(&length.to_le_bytes());
    entry
}

/// A name of eight letters and three, which no other in the folder has. A ROM knows no other names, so that `bootcode.bin` is
/// BOOTCODE.BIN, and not a number.
fn short(name: &str, taken: &BTreeSet<[u8; 11]>) -> Result<[u8; 11]> {
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
    let letters = |text: &str| -> Vec<u8> {
        text.bytes()
            .filter(|letter| *letter != b'.')
            .map(|letter| match letter {
                b'+' | b',' | b';' | b'=' | b'[' | b']' => b'_',
                plain => plain.to_ascii_uppercase(),
            })
            .collect()
    };
    let (stem_letters, end_letters) = (letters(stem), letters(end));
    let with = |stem: &[u8]| {
        let mut short = [b' '; 11];
        short[..stem.len()].copy_from_slice(stem);
        let length = end_letters.len().min(3);
        short[8..8 + length].copy_from_slice(&end_letters[..length]);
        short
    };
    let same = |letters: &[u8], text: &str| letters.eq_ignore_ascii_case(text.as_bytes());
    if (1..=8).contains(&stem.len())
        && end.len() <= 3
        && same(&stem_letters, stem)
        && same(&end_letters, end)
        && !taken.contains(&with(&stem_letters))
    {
        return Ok(with(&stem_letters));
    }
    (1..1_000_000)
        .map(|number| {
            let number = format!("~{number}");
            let length = stem_letters.len().min(8 - number.len());
            with(&[&stem_letters[..length], number.as_bytes()].concat())
        })
        .find(|short| !taken.contains(short))
        .context("FAT: too many names alike")
}

/// The entries of a long name, the last part first.
fn long(name: &str, short: &[u8; 11]) -> Vec<[u8; 32]> {
    let sum = short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let letters: Vec<u16> = name.bytes().map(u16::from).collect();
    let parts = letters.chunks(13).enumerate();
    let last = letters.len().div_ceil(13);
    let part = |(index, letters): (usize, &[u16])| {
        let mut entry = [0; 32];
        entry[0] = (index + 1) as u8 | if index + 1 == last { 0x40 } else { 0 };
        entry[11] = 0x0f;
        entry[13] = sum;
        // A name that does not fill its part ends with 0, and behind it nothing.
        let padded = letters
            .iter()
            .copied()
            .chain([0])
            .chain(std::iter::repeat(0xffff));
        let places = (1..11)
            .step_by(2)
            .chain((14..26).step_by(2))
            .chain((28..32).step_by(2));
        for (letter, place) in padded.zip(places) {
            entry[place..place + 2].copy_from_slice(&letter.to_le_bytes());
        }
        entry
    };
    let mut entries: Vec<[u8; 32]> = parts.map(part).collect();
    entries.reverse();
    entries
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    /// What another's reader finds: paths, content and short names.
    fn read(volume: &[u8]) -> Vec<(String, String, Vec<u8>)> {
        type Disk = Cursor<Vec<u8>>;
        fn below(folder: fatfs::Dir<'_, Disk>, prefix: &str, found: &mut Vec<(String, String, Vec<u8>)>) {
            for entry in folder.iter().map(Result::unwrap) {
                let date = entry.modified().date;
                assert_eq!((date.year, date.month, date.day), (1980, 1, 1));
                if matches!(&*entry.file_name(), "." | "..") {
                    continue;
                }
                let path = format!("{prefix}{}", entry.file_name());
                if entry.is_dir() {
                    below(entry.to_dir(), &format!("{path}/"), found);
                } else {
                    let mut bytes = vec![];
                    entry.to_file().read_to_end(&mut bytes).unwrap();
                    found.push((path, entry.short_file_name(), bytes));
                }
            }
        }
        let disk = Cursor::new(volume.to_vec());
        let system = fatfs::FileSystem::new(disk, fatfs::FsOptions::new()).unwrap();
        assert_eq!(
            system.read_volume_label_from_root_dir().unwrap().unwrap(),
            "BRAMBLE"
        );
        assert_eq!(system.volume_label(), "BRAMBLE");
        assert_eq!(system.volume_id(), ID);
        let mut found = vec![];
        below(system.root_dir(), "", &mut found);
        found.sort();
        found
    }

    const CARD: usize = 63 * 2048;

    #[test]
    fn anothers_reader_finds_each_file() {
        let mut files: Vec<(String, Vec<u8>)> = [
            ("README.TXT", 5_usize),
            ("bootcode.bin", 52_460),
            ("bcm2710-rpi-3-b-plus.dtb", 511),
            ("bcm2710-rpi-3-b.dtb", 512),
            ("start4.elf", 513),
            ("thirteen.text", 1),
            ("empty", 0),
            ("a/b/c.d.e", 1024),
        ]
        .map(|(name, length)| (name.to_owned(), (0..length).map(|n| (n % 251) as u8).collect()))
        .to_vec();
        files.extend((0..300).map(|n| (format!("overlays/some-overlay-{n}.dtbo"), vec![n as u8; n])));
        for volume in [fat16(&files).unwrap(), fat32(CARD, 2048, &files).unwrap()] {
            let found = read(&volume);
            let mut wanted = files.clone();
            wanted.sort();
            let same = found.iter().map(|(path, _, bytes)| (path.clone(), bytes.clone()));
            assert!(same.eq(wanted));
            let short = |path: &str| &*found.iter().find(|(name, ..)| name == path).unwrap().1;
            for (path, name) in [
                ("bootcode.bin", "BOOTCODE.BIN"),
                ("start4.elf", "START4.ELF"),
                ("empty", "EMPTY"),
                ("bcm2710-rpi-3-b-plus.dtb", "BCM271~1.DTB"),
                ("bcm2710-rpi-3-b.dtb", "BCM271~2.DTB"),
                ("thirteen.text", "THIRTE~1.TEX"),
                ("a/b/c.d.e", "CD~1.E"),
            ] {
                assert_eq!(short(path), name);
            }
            let unique: BTreeSet<_> = found
                .iter()
                .filter(|(path, ..)| path.starts_with("ov"))
                .map(|it| &it.1)
                .collect();
            assert_eq!(unique.len(), 300);
        }
    }

    /// `.` and `..` come first, without long names, and the root is 0 in a folder of it.
    #[test]
    fn a_folder_begins_as_the_specification_says() {
        let files = [("overlays/x.dtbo".to_owned(), vec![1])];
        for volume in [fat16(&files).unwrap(), fat32(CARD, 0, &files).unwrap()] {
            let at = volume
                .chunks(32)
                .position(|entry| entry.starts_with(b".          "))
                .unwrap()
                * 32;
            assert_eq!(at % SECTOR, 0);
            let entry = |n: usize| &volume[at + 32 * n..at + 32 * (n + 1)];
            assert_eq!((entry(0)[11], entry(1)[11]), (FOLDER, FOLDER));
            assert_ne!(entry(0)[26..28], [0, 0]);
            assert_eq!(
                (&entry(1)[..11], &entry(1)[26..28]),
                (&b"..         "[..], &[0, 0][..])
            );
            assert_eq!(entry(2)[11], 0x0f);
        }
    }

    #[test]
    fn a_full_volume_is_full_to_the_last_sector() {
        let file = |length| [("a".to_owned(), vec![7; length])];
        let free = |volume: &[u8]| {
            u32::from_le_bytes(volume[SECTOR + 488..SECTOR + 492].try_into().unwrap()) as usize
        };
        let most = free(&fat32(CARD, 0, &file(1)).unwrap()) * SECTOR + SECTOR;
        let full = fat32(CARD, 0, &file(most)).unwrap();
        assert_eq!((free(&full), full.len()), (0, CARD * SECTOR));
        assert_eq!(read(&full)[0].2.len(), most);
        assert!(fat32(CARD, 0, &file(most + 1)).is_err());
        // As small as may be: 2 MiB, and then a little more than the files.
        assert_eq!(fat16(&[]).unwrap().len(), SECTOR * (1 + 2 * 17 + 32 + 4101));
        let large = fat16(&file(20 << 20)).unwrap();
        assert!(large.len() < (20 << 20) + (200 << 10));
        assert_eq!(read(&large)[0].2.len(), 20 << 20);
        assert!(fat16(&file(33 << 20)).is_err());
        assert!(fat32(60_000, 0, &[]).is_err());
    }

    #[test]
    fn what_fat_cannot_name_is_refused() {
        let refused = |names: &[&str]| {
            let files: Vec<_> = names.iter().map(|name| ((*name).to_owned(), vec![])).collect();
            fat16(&files).is_err()
        };
        assert!(!refused(&["a", "b/a"]));
        let long = "n".repeat(256);
        for names in [
            &["a:b"][..],
            &["ä"],
            &["a//b"],
            &[""],
            &["a."],
            &[&long],
            &["a", "A"],
            &["a", "a/b"],
            &["a", "a"],
        ] {
            assert!(refused(names), "{names:?}");
        }
    }
}
