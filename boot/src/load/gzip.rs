//! gzip files (RFC 1952) into linear memory; the deflate inside (RFC 1951) is `miniz_oxide`'s.
//!
//! Time is linear in input plus output, both bounded by the caller's slices. A deflate block costs microseconds for its
//! tables even when it is empty and ten bits long, so their number is bounded, by what comes out of them and in all.

use core::fmt;

use crate::work::{PIECE, Tick};
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// gzip's CRC-32. One table of 1 KiB: unpacking is slower by far, and the faster ways cost 10 KB of image and more.
static CRC32: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// The CRC-32 that gzip and U-Boot's images use (D-32).
pub(crate) fn crc32(bytes: &[u8], tick: &mut Tick<'_>) -> u32 {
    let mut sum = CRC32.digest();
    for piece in bytes.chunks(PIECE) {
        sum.update(piece);
        tick(piece.len());
    }
    sum.finalize()
}

/// Blocks that are free, and bytes of output that allow one more. Most compressors make blocks of 10 KB and longer, but
/// `gzip --rsyncable` ends one at each of its longest matches (258 bytes) where bytes repeat, and a program that flushes
/// leaves two for each piece that it wrote.
const FREE_BLOCKS: usize = 1024;
const BYTES_A_BLOCK: usize = 32;
/// Blocks in all, which take a Cortex-A53 some seconds: a real kernel's file has thousands (D-119).
const MAX_BLOCKS: usize = 1 << 19;
/// Blocks after which the watchdog is looked after, however little came out of them: their tables take time, too.
const BLOCKS_A_TICK: usize = 1024;

/// Why a gzip file cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The file ends too early.
    Truncated,
    /// A header that RFC 1952 does not know, or whose checksum differs.
    Header,
    /// The deflate stream is not one.
    Deflate,
    /// The unpacked bytes have another CRC-32 than the file says.
    Checksum,
    /// The unpacked bytes are not as many as the file says.
    Length,
    /// More comes out than there is memory for.
    TooBig {
        /// The memory in bytes.
        room: usize,
    },
    /// Far more blocks than the data needs: a file made to waste time.
    Blocks,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("gzip file is truncated"),
            Self::Header => f.write_str("gzip header is corrupt"),
            Self::Deflate => f.write_str("gzip file is corrupt: bad deflate data"),
            Self::Checksum => f.write_str("gzip file is corrupt: the CRC-32 differs"),
            Self::Length => f.write_str("gzip file is corrupt: the length differs"),
            Self::TooBig { room } => write!(f, "gzip file unpacks to more than the {room} bytes left"),
            Self::Blocks => f.write_str("gzip file is absurd: too many blocks for its data"),
        }
    }
}

const MAGIC: &[u8] = &[0x1f, 0x8b];

/// Whether a file claims to be gzip with deflate inside, the only method there is.
pub fn is_gzip(file: &[u8]) -> bool {
    file.starts_with(&[0x1f, 0x8b, 8])
}

/// Unpacks all members of `file` one after another to the start of `output` and returns how many bytes came out.
/// Zeros after the last member are padding; other bytes, a signature perhaps, are left out with a line, as gzip(1) does.
pub fn unpack(file: &[u8], output: &mut [u8], tick: &mut Tick<'_>) -> Result<usize, Error> {
    let room = output.len();
    let mut inflater = DecompressorOxide::new();
    let mut rest = file;
    let mut filled: usize = 0;
    let mut blocks: usize = 0;
    loop {
        let data = skip_header(rest, tick)?;
        // Each member gets a fresh slice, so that no back-reference reaches into the one before.
        let target = output.get_mut(filled..).unwrap_or_default();
        inflater.init();
        let (mut read, mut written): (usize, usize) = (0, 0);
        // Where the next tick is due.
        let mut due = PIECE.min(target.len());
        loop {
            let (status, more_read, more_written) = decompress(
                &mut inflater,
                data.get(read..).unwrap_or_default(),
                target.get_mut(..due).unwrap_or_default(),
                written,
                TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY,
            );
            read = read.saturating_add(more_read);
            written = written.saturating_add(more_written);
            if status == TINFLStatus::HasMoreOutput && due < target.len() {
                tick(PIECE);
                due = due.saturating_add(PIECE).min(target.len());
                continue;
            }
            blocks = blocks.saturating_add(1);
            if blocks.is_multiple_of(BLOCKS_A_TICK) {
                tick(0);
            }
            let unpacked = filled.saturating_add(written);
            let allowed = (unpacked / BYTES_A_BLOCK).saturating_add(FREE_BLOCKS);
            if blocks > allowed.min(MAX_BLOCKS) {
                return Err(Error::Blocks);
            }
            match status {
                TINFLStatus::BlockBoundary => {}
                TINFLStatus::Done => break,
                TINFLStatus::HasMoreOutput => return Err(Error::TooBig { room }),
                TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
                    return Err(Error::Truncated);
                }
                _ => return Err(Error::Deflate),
            }
        }
        let unpacked = target.get(..written).unwrap_or_default();
        let (trailer, after) = data
            .get(read..)
            .and_then(|t| t.split_first_chunk::<8>())
            .ok_or(Error::Truncated)?;
        let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
        if crc32(unpacked, tick) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(Error::Checksum);
        }
        // ISIZE counts modulo 2^32.
        if written as u32 != u32::from_le_bytes([l0, l1, l2, l3]) {
            return Err(Error::Length);
        }
        filled = filled.saturating_add(written);
        // A member may have been cut within its magic.
        let is_member = after.starts_with(MAGIC) || (!after.is_empty() && MAGIC.starts_with(after));
        if !is_member {
            if after.iter().any(|&byte| byte != 0) {
                warn!(
                    "load: {} bytes behind the end of the gzip file are left out",
                    after.len()
                );
            }
            return Ok(filled);
        }
        rest = after;
    }
}

/// The deflate data behind a member's header (RFC 1952 §2.3).
fn skip_header<'m>(member: &'m [u8], tick: &mut Tick<'_>) -> Result<&'m [u8], Error> {
    let (fixed, mut rest) = member.split_first_chunk::<10>().ok_or(Error::Truncated)?;
    let [0x1f, 0x8b, 8, flags, ..] = *fixed else {
        return Err(Error::Header);
    };
    if flags & RESERVED != 0 {
        return Err(Error::Header);
    }
    if flags & FEXTRA != 0 {
        let (len, after) = rest.split_first_chunk::<2>().ok_or(Error::Truncated)?;
        rest = after
            .get(usize::from(u16::from_le_bytes(*len))..)
            .ok_or(Error::Truncated)?;
    }
    for text in [FNAME, FCOMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0).ok_or(Error::Truncated)?;
            rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
        }
    }
    if flags & FHCRC != 0 {
        let header = member
            .get(..member.len().saturating_sub(rest.len()))
            .unwrap_or_default();
        let (sum, after) = rest.split_first_chunk::<2>().ok_or(Error::Truncated)?;
        if crc32(header, tick) & 0xffff != u32::from(u16::from_le_bytes(*sum)) {
            return Err(Error::Header);
        }
        rest = after;
    }
    Ok(rest)
}

#[cfg(test)]
pub(crate) mod tests {
    use miniz_oxide::deflate::compress_to_vec;

    use super::*;

    /// The same, while somebody hears of every piece of the work.
    fn unpack(file: &[u8], output: &mut [u8]) -> Result<usize, Error> {
        let mut heard: usize = 0;
        let result = super::unpack(file, output, &mut |piece| {
            assert!(piece <= PIECE, "{piece} bytes at once");
            heard += piece;
        });
        if let Ok(len) = result {
            // Unpacked but for the last piece of each member, and summed up.
            assert!(heard >= len, "{heard} of {len}");
        }
        result
    }

    /// A gzip member as a careful compressor writes it: every optional field, all of them checked.
    pub(crate) fn member(data: &[u8]) -> Vec<u8> {
        let mut file = vec![0x1f, 0x8b, 8, FHCRC | FEXTRA | FNAME | FCOMMENT, 1, 2, 3, 4, 0, 3];
        file.extend(b"\x06\x00AB\x02\x00xy");
        file.extend(b"Image\0made by a test\0");
        let sum = CRC32.checksum(&file) as u16;
        file.extend(sum.to_le_bytes());
        file.extend(compress_to_vec(data, 6));
        file.extend(CRC32.checksum(data).to_le_bytes());
        file.extend((data.len() as u32).to_le_bytes());
        file
    }

    fn text() -> Vec<u8> {
        (0..40_u32)
            .flat_map(|i| format!("line {} of the golden file\n", i * i).into_bytes())
            .collect()
    }

    fn unpacked(file: &[u8]) -> Result<Vec<u8>, Error> {
        let mut output = vec![0xee; 8192];
        let len = unpack(file, &mut output)?;
        assert!(output[len..].iter().all(|&b| b == 0xee), "wrote past its result");
        output.truncate(len);
        Ok(output)
    }

    #[test]
    fn members_with_every_field_are_joined_and_padding_is_not_data() {
        assert_eq!(unpacked(&member(&text())).unwrap(), text());
        let mut two = [member(b"first "), member(b""), member(b"second")].concat();
        two.extend([0; 100]);
        assert_eq!(unpacked(&two).unwrap(), b"first second");
    }

    #[test]
    fn a_bare_header_is_enough() {
        let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        file.extend(compress_to_vec(b"bare", 9));
        file.extend(CRC32.checksum(b"bare").to_le_bytes());
        file.extend(4_u32.to_le_bytes());
        assert_eq!(unpacked(&file).unwrap(), b"bare");
    }

    #[test]
    fn each_field_of_a_header_is_there_when_its_own_bit_says_so() {
        // FTEXT says what a file probably is, and adds nothing; the bits above FCOMMENT are reserved (RFC 1952 §2.3.1).
        let fields: [(u8, &[u8]); 4] = [
            (1, b""),
            (FEXTRA, b"\x03\0xyz"),
            (FNAME, b"name\0"),
            (FCOMMENT, b"comment\0"),
        ];
        for bits in 0..1_u8 << fields.len() {
            let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
            for (at, (flag, field)) in fields.iter().enumerate() {
                if bits >> at & 1 != 0 {
                    file[3] |= flag;
                    file.extend(*field);
                }
            }
            file.extend(compress_to_vec(b"bare", 9));
            file.extend(CRC32.checksum(b"bare").to_le_bytes());
            file.extend(4_u32.to_le_bytes());
            assert_eq!(unpacked(&file).unwrap(), b"bare", "{:#x}", file[3]);
            for reserved in [0x20, 0x40, 0x80] {
                file[3] |= reserved;
                assert_eq!(unpacked(&file), Err(Error::Header), "{:#x}", file[3]);
                file[3] &= !reserved;
            }
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let file = member(&text());
        for len in 0..file.len() {
            assert_eq!(unpacked(&file[..len]), Err(Error::Truncated), "{len}");
        }
    }

    #[test]
    fn every_changed_byte_is_an_error_or_the_right_answer() {
        let file = member(&text());
        // MTIME, XFL and OS are the only bytes no check covers, and here FHCRC covers them.
        let mut changed = file.clone();
        for at in 0..file.len() {
            for value in 0..=255 {
                changed[at] = value;
                match unpacked(&changed) {
                    Ok(data) => assert_eq!(data, text(), "byte {at} = {value:#x}"),
                    Err(_) => assert_ne!(value, file[at]),
                }
            }
            changed[at] = file[at];
        }
    }

    #[test]
    fn each_check_says_what_it_found() {
        let file = member(&text());
        let end = file.len();
        let with = |at: usize, value: u8| {
            let mut file = file.clone();
            file[at] ^= value;
            unpacked(&file).unwrap_err()
        };
        assert_eq!(with(3, 0x20), Error::Header);
        assert_eq!(with(4, 1), Error::Header);
        assert_eq!(with(end - 1, 1), Error::Length);
        assert_eq!(with(end - 8, 1), Error::Checksum);
    }

    #[test]
    fn what_follows_the_last_member_is_left_out_unless_it_is_a_damaged_member() {
        let with = |more: &[u8]| unpacked(&[member(b"whole").as_slice(), more].concat());
        for more in [
            &b"signed by somebody"[..],
            b"\0\0\0and not zeros alone",
            b"\x1e\x8b\x08",
            b"\xff",
        ] {
            assert_eq!(with(more).unwrap(), b"whole", "{more:?}");
        }
        assert_eq!(with(b"\x1f"), Err(Error::Truncated));
        assert_eq!(with(&member(b"more")[..20]), Err(Error::Truncated));
        assert_eq!(with(b"\x1f\x8b\x07 packed in another way"), Err(Error::Header));
        // The zeros end what is one file, as for gzip(1).
        assert_eq!(
            with(&[&[0; 8], member(b"x").as_slice()].concat()).unwrap(),
            b"whole"
        );
    }

    #[test]
    fn output_stops_at_the_memory_that_is_there() {
        let bomb = member(&vec![0; 1 << 20]);
        assert!(bomb.len() < 2000);
        assert_eq!(unpack(&bomb, &mut [0; 4096]), Err(Error::TooBig { room: 4096 }));
        let mut exact = vec![1; 1 << 20];
        assert_eq!(unpack(&bomb, &mut exact), Ok(1 << 20));
        assert_eq!(unpack(&member(b"x"), &mut []), Err(Error::TooBig { room: 0 }));
    }

    /// A member without a trailer whose deflate blocks, each these bits from the lowest on, are many.
    fn blocks(bits: &[u8], count: usize) -> Vec<u8> {
        let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let bits = bits.repeat(count);
        file.extend(
            bits.chunks(8)
                .map(|byte| byte.iter().rev().fold(0, |all, bit| all << 1 | bit)),
        );
        file
    }

    #[test]
    fn blocks_and_members_without_data_are_bounded() {
        // Type 1, and it ends at once: bits 0, 10, 0000000.
        let empty = |count| blocks(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0], count);
        assert_eq!(unpacked(&empty(FREE_BLOCKS - 1)), Err(Error::Truncated));
        assert_eq!(unpacked(&empty(4 * FREE_BLOCKS)), Err(Error::Blocks));
        assert_eq!(unpacked(&member(b"").repeat(FREE_BLOCKS)), Ok(vec![]));
        assert_eq!(unpacked(&member(b"").repeat(FREE_BLOCKS + 1)), Err(Error::Blocks));
    }

    #[test]
    fn blocks_that_carry_a_match_each_are_free_up_to_an_absurd_number() {
        // Type 1: the byte 0 (00110000), perhaps as often again (a length, then distance 1, 00000), and the end.
        let block = |again: &[u8]| [&[0, 1, 0], &[0, 0, 1, 1, 0, 0, 0, 0][..], again, &[0; 7]].concat();
        // Code 285 (11000101): 258 bytes. `gzip --rsyncable` makes these of zeros.
        let long = block(&[1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
        let unpacked = |bits: &[u8], count| {
            let mut output = vec![1; MAX_BLOCKS * 259 + 1];
            let result = unpack(&blocks(bits, count), &mut output);
            // A trailer is missing, but what came before is there.
            let whole = output.iter().take_while(|&&byte| byte == 0).count();
            (result, whole)
        };
        let truncated = |blocks: usize| (Err(Error::Truncated), blocks * 259);
        assert_eq!(unpacked(&long, 97_000), truncated(97_000));
        assert_eq!(unpacked(&long, MAX_BLOCKS - 1), truncated(MAX_BLOCKS - 1));
        assert_eq!(unpacked(&long, MAX_BLOCKS + 8).0, Err(Error::Blocks));
        // 20 bytes a block are too few for so many.
        let short = block(&[0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(unpacked(&short, 40_000).0, Err(Error::Blocks));
    }

    #[test]
    fn data_of_many_blocks_is_joined() {
        // Random bytes are stored, 64 KiB to a block at most.
        let mut state = 1_u64;
        let data: Vec<u8> = (0..1_000_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let mut output = vec![0; data.len()];
        assert_eq!(unpack(&member(&data), &mut output), Ok(data.len()));
        assert!(output == data);
    }

    #[test]
    fn random_deflate_data_never_panics() {
        let mut state = 1_u64;
        let mut output = vec![0; 4096];
        for round in 0..3000 {
            let mut file = vec![0x1f, 0x8b, 8, (round % 32) as u8, 0, 0, 0, 0, 0, 0];
            for _ in 0..200 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                file.push((state >> 56) as u8);
            }
            assert!(unpack(&file, &mut output).is_err());
        }
    }
}
