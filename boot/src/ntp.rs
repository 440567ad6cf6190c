//! The time, from an NTP server (SNTP, RFC 4330; packets of RFC 5905): asked for by a script, to the second.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use smoltcp::wire::Ipv4Address;

use crate::net::Net;
use crate::patience;
use crate::udp::Conversation;

const PORT: u16 = 123;
/// Bytes of a packet without extensions.
const LEN: usize = 48;
/// No leap second, version 4, a client's question.
const QUESTION: u8 = 0b00_100_011;
/// Seconds from 1900, where NTP counts from, to 1970.
const EPOCH: u64 = 2_208_988_800;

/// Why there is no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Nothing that answers the question came within 10 s.
    NoAnswer,
    /// No server runs there.
    Refused,
    /// The server refuses (kiss-o'-death); its reason, four characters.
    Kiss(String),
    /// The server does not know the time itself.
    Unsynchronised,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => write!(f, "no answer within {} s", patience::NTP.secs()),
            Self::Refused => f.write_str("no NTP server runs there"),
            Self::Kiss(code) => write!(f, "the server does not serve us: {code}"),
            Self::Unsynchronised => f.write_str("the server does not know the time"),
        }
    }
}

/// Asks `server`: seconds since 1970.
pub(crate) fn ask(net: &mut Net<'_>, server: Ipv4Address) -> Result<u64, Error> {
    // What comes back must repeat it, so that nobody who has not seen the question can answer.
    let [high, low] = [net.random(), net.random()].map(u32::to_be_bytes);
    let stamp = [high, low].concat();
    let talk = Conversation::open(net, server, 4, 512);
    let end = net.now() + patience::NTP;
    let mut pause = patience::NTP_AGAIN;
    let mut result = Err(Error::NoAnswer);
    while net.now() < end {
        if !talk.waits(net) {
            talk.send(net, PORT, &question(&stamp));
        }
        let heard = net.wait((net.now() + pause).min(end), |net| {
            if talk.refused(net) {
                return Some(Err(Error::Refused));
            }
            while let Some(answer) =
                talk.receive(net, |port, packet| (port == PORT).then(|| read(packet, &stamp)))
            {
                if let Some(time) = answer.flatten() {
                    return Some(time);
                }
            }
            None
        });
        if let Some(heard) = heard {
            result = heard;
            break;
        }
        pause = pause + pause;
    }
    talk.close(net);
    result
}

fn question(stamp: &[u8]) -> Vec<u8> {
    let mut packet = vec![QUESTION];
    packet.resize(LEN.saturating_sub(stamp.len()), 0);
    packet.extend(stamp);
    packet
}

/// The time in an answer; `None` when it does not answer the question that carried `stamp`.
fn read(packet: &[u8], stamp: &[u8]) -> Option<Result<u64, Error>> {
    let packet = packet.first_chunk::<LEN>()?;
    let [flags, stratum, _, _, _, _, _, _, _, _, _, _, k, i, s, t, ..] = *packet;
    let (leap, version, mode) = (flags >> 6, (flags >> 3) & 7, flags & 7);
    if packet.get(24..32) != Some(stamp) || mode != 4 || !(3..=4).contains(&version) {
        return None;
    }
    if stratum == 0 {
        let code = [k, i, s, t].map(|byte| match byte {
            b'!'..=b'~' => char::from(byte),
            _ => '?',
        });
        return Some(Err(Error::Kiss(code.into_iter().collect())));
    }
    let seconds = u32::from_be_bytes(*packet.get(40..)?.first_chunk()?);
    if leap == 3 || stratum > 15 || seconds == 0 {
        return Some(Err(Error::Unsynchronised));
    }
    // The first bit tells whether the count began in 1900 or, when it is over, in 2036 (RFC 4330 §3).
    let era = if seconds >> 31 == 0 { 1 << 32 } else { 0 };
    Some(Ok(u64::from(seconds).saturating_add(era).saturating_sub(EPOCH)))
}

/// For the fuzz target: reads an answer.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn parse(packet: &[u8], stamp: &[u8]) -> Option<Result<u64, Error>> {
    read(packet, stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: [u8; 8] = *b"question";

    fn answer(change: impl FnOnce(&mut [u8])) -> Option<Result<u64, Error>> {
        let mut packet = question(&[0; 8]);
        packet[0] = 0b00_100_100;
        packet[1] = 2;
        packet[24..32].copy_from_slice(&STAMP);
        // 2026-11-28 05:00:00.
        packet[40..44].copy_from_slice(&(1_795_842_000_u32.wrapping_add(EPOCH as u32)).to_be_bytes());
        change(&mut packet);
        read(&packet, &STAMP)
    }

    #[test]
    fn an_answer_tells_the_seconds_since_1970() {
        assert_eq!(answer(|_| ()), Some(Ok(1_795_842_000)));
        let at = |seconds: u32| answer(move |packet| packet[40..44].copy_from_slice(&seconds.to_be_bytes()));
        assert_eq!(at(u32::MAX), Some(Ok(2_085_978_495)), "2036-02-07 06:28:15");
        assert_eq!(at(1), Some(Ok(2_085_978_497)), "and two seconds later");
    }

    #[test]
    fn what_does_not_answer_the_question_is_none() {
        assert_eq!(answer(|packet| packet[24] ^= 1), None);
        assert_eq!(answer(|packet| packet[0] = 0b00_100_011), None, "a question");
        assert_eq!(answer(|packet| packet[0] = 0b00_000_100), None, "version 0");
        assert_eq!(read(&[0x24; 47], &STAMP), None);
        assert_eq!(read(&[], &STAMP), None);
    }

    #[test]
    fn servers_without_the_time() {
        assert_eq!(
            answer(|packet| packet[0] |= 0xc0),
            Some(Err(Error::Unsynchronised))
        );
        assert_eq!(answer(|packet| packet[1] = 16), Some(Err(Error::Unsynchronised)));
        assert_eq!(
            answer(|packet| packet[40..44].fill(0)),
            Some(Err(Error::Unsynchronised))
        );
        let kiss = |code: &[u8; 4]| {
            answer(|packet| {
                packet[1] = 0;
                packet[12..16].copy_from_slice(code);
            })
        };
        assert_eq!(kiss(b"RATE"), Some(Err(Error::Kiss("RATE".into()))));
        assert_eq!(kiss(b"\x1b[2\0"), Some(Err(Error::Kiss("?[2?".into()))));
    }
}
