//! Reads the pcap files that QEMU's `filter-dump` writes (the classic format of libpcap's `pcap-savefile(5)`).

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// The guest's clock starts here, so that a frame's time is one since reset.
pub(crate) const EPOCH: &str = "2000-01-01T00:00:00";

/// [`EPOCH`] in seconds since 1970.
const EPOCH_SECONDS: u64 = 946_684_800;

/// One captured frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Guest time since reset, to the microsecond.
    pub time: Duration,
    /// The Ethernet frame from its destination address on, without check sum.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// The payload of a UDP datagram over IPv4 to this port; none for any other frame.
    pub fn udp_to(&self, port: u16) -> Option<&[u8]> {
        let bytes = &self.bytes;
        let ip = bytes.get(14..)?;
        let header = usize::from(ip.first()? & 0xf) * 4;
        let udp = ip.get(header..)?;
        let is_udp = bytes.get(12..14)? == [8, 0] && *ip.get(9)? == 17;
        (is_udp && udp.get(2..4)? == port.to_be_bytes()).then(|| udp.get(8..))?
    }
}

/// Every whole frame in `pcap`, oldest first.
///
/// # Errors
///
/// When the file cannot be read or is no little-endian pcap file. A last frame that QEMU was still writing is left out.
pub fn frames(pcap: &Path) -> Result<Vec<Frame>> {
    let bytes = fs::read(pcap).with_context(|| format!("capture: {}", pcap.display()))?;
    ensure!(
        bytes.starts_with(&0xa1b2_c3d4_u32.to_le_bytes()),
        "capture: {} is no pcap file",
        pcap.display()
    );
    let mut frames = Vec::new();
    let mut rest = bytes.get(24..).unwrap_or_default();
    while let Some((frame, length)) = first_frame(rest) {
        frames.push(frame);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(frames)
}

/// The frame at the start of `bytes`, and how many bytes its record takes.
fn first_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let seconds = u64::from(word(0)?).saturating_sub(EPOCH_SECONDS);
    let micros = u64::from(word(4)?);
    let end = 16_usize.checked_add(usize::try_from(word(8)?).ok()?)?;
    let frame = Frame {
        time: Duration::from_secs(seconds) + Duration::from_micros(micros),
        bytes: bytes.get(16..end)?.to_vec(),
    };
    Some((frame, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_a_frame_with_its_time_since_reset() {
        let mut ethernet = vec![0xff; 12];
        ethernet.extend_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17]);
        ethernet.extend_from_slice(&[0; 10]);
        ethernet.extend_from_slice(&[0, 68, 0, 67, 0, 10, 0, 0, 1, 1]);
        let mut record = Vec::new();
        for word in [946_684_801_u32, 250_000, 44, 44] {
            record.extend_from_slice(&word.to_le_bytes());
        }
        record.extend_from_slice(&ethernet);
        let (frame, length) = first_frame(&record).unwrap();
        assert_eq!(length, record.len());
        assert_eq!(frame.time, Duration::from_millis(1250));
        assert_eq!(frame.udp_to(67), Some(&[1, 1][..]));
        assert_eq!(frame.udp_to(69), None);
        for end in 0..record.len() {
            assert_eq!(first_frame(&record[..end]), None);
        }
        for end in 0..ethernet.len() - 2 {
            let frame = Frame {
                time: Duration::ZERO,
                bytes: ethernet[..end].to_vec(),
            };
            assert_eq!(frame.udp_to(67), None);
        }
    }
}
