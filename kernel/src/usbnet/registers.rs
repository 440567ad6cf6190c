//! Registers of Microchip's USB Ethernet chips, by vendor requests, and the PHY behind them (LAN9514 and LAN7800
//! datasheets as Linux smsc95xx and lan78xx use them).

use core::fmt;
use core::marker::PhantomData;

use smoltcp::time::Duration;

use crate::bits::{Bits, bits};
use crate::ether::mdio::Mdio;
use crate::ether::mii;
use crate::usb;
use crate::usb::dwc2::Dwc2;
use crate::usb::pipe::Setup;
use crate::usb::transfer::Device;

/// Longest reset of a part of the chip, and longest access to its PHY.
const PATIENCE: Duration = Duration::from_secs(1);

/// What kinds of network interfaces Bramble drives on USB, for the log.
pub(super) const DRIVEN: &str = "CDC Ethernet (ECM), LAN9514 (0424:ec00), LAN7515 and LAN7800 (0424:7800)";

/// Why a network interface on USB cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The bus or the device failed.
    Usb(usb::Error),
    /// For so many seconds nothing came in, although frames were sent.
    Deaf(u64),
    /// The chip did not do in time what this says.
    Stuck(&'static str),
    /// Another chip than its USB ids say; its ID_REV.
    OtherChip(u32),
    /// No PHY answers.
    NoPhy,
    /// Nothing on the bus that Bramble drives.
    NothingKnown,
}

impl From<usb::Error> for Error {
    fn from(error: usb::Error) -> Self {
        Self::Usb(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usb(error) => write!(f, "USB: {error}"),
            Self::Deaf(seconds) => {
                write!(f, "nobody has answered for {seconds} s, or the chip is stuck")
            }
            Self::Stuck(what) => write!(f, "the chip is stuck: {what}"),
            Self::OtherChip(id) => write!(f, "an unknown chip (ID_REV {id:#010x})"),
            Self::NoPhy => f.write_str("no PHY answers"),
            Self::NothingKnown => write!(
                f,
                "no network interface on USB that Bramble drives: it drives {}",
                DRIVEN
            ),
        }
    }
}

/// A register of a chip: where it is, and whose bits it takes; `u32` for one that holds a number.
#[derive(Clone, Copy)]
pub(super) struct Register<B>(u16, PhantomData<B>);

impl<B> Register<B> {
    /// The register at this address.
    pub(super) const fn at(address: u16) -> Self {
        Self(address, PhantomData)
    }
}

/// The registers of a chip.
pub(super) struct Registers<'u> {
    pub(super) usb: &'u mut Dwc2,
    pub(super) device: Device,
    /// Where MII_ADDR (MII_ACC) is; MII_DATA follows it.
    pub(super) mii: u16,
}

/// Tries of an access that the chip refused or that was lost. One that got no answer in time is not tried again: what polls
/// the registers must not wait for long.
const TRIES: usize = 3;

/// Registers take the same access twice without harm.
fn again<T>(mut access: impl FnMut() -> Result<T, usb::Error>) -> Result<T, Error> {
    let mut end = Err(usb::Error::Transaction);
    for _ in 0..TRIES {
        end = access();
        if !matches!(end, Err(usb::Error::Stall | usb::Error::Transaction)) {
            break;
        }
    }
    end.map_err(Error::Usb)
}

/// Which chip it is, in the upper half: the first register of each.
const ID_REV: Register<u32> = Register::at(0x00);

bits! {
    /// MII_ADDR (MII_ACC). Bits 15:11 are the PHY, 10:6 its register.
    struct MiiAccess {
        /// Starts an access; set until its end.
        BUSY = 1 << 0,
        /// A write.
        WRITE = 1 << 1,
    }
}

/// A MAC address in the two registers that hold it: bytes 0 to 3, bytes 4 and 5.
pub(super) fn address_words([a, b, c, d, e, f]: [u8; 6]) -> (u32, u32) {
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, 0, 0]))
}

impl Registers<'_> {
    /// Reads which chip it is, which must be this one.
    pub(super) fn expect_chip(&mut self, chip: u32) -> Result<(), Error> {
        match self.steady(ID_REV)? {
            id if id >> 16 == chip => Ok(()),
            id => Err(Error::OtherChip(id)),
        }
    }

    /// The word at an address.
    fn word(&mut self, address: u16) -> Result<u32, Error> {
        let setup = Setup {
            request_type: 0xc0,
            request: 0xa1,
            value: 0,
            index: address,
        };
        again(|| {
            let bytes = self.usb.control_in(self.device, setup, 4)?;
            let bytes = bytes.try_into().map_err(|_| usb::Error::Transaction)?;
            Ok(u32::from_le_bytes(bytes))
        })
    }

    fn write_word(&mut self, address: u16, value: u32) -> Result<(), Error> {
        let setup = Setup {
            request_type: 0x40,
            request: 0xa0,
            value: 0,
            index: address,
        };
        again(|| self.usb.control_out(self.device, setup, &value.to_le_bytes()))
    }

    fn steady_word(&mut self, address: u16) -> Result<u32, Error> {
        mii::settled(|| self.word(address))
    }

    fn change_word(&mut self, address: u16, clear: u32, set: u32) -> Result<(), Error> {
        let value = self.steady_word(address)?;
        self.write_word(address, value & !clear | set)
    }

    fn until_word(
        &mut self,
        address: u16,
        (mask, value): (u32, u32),
        what: &'static str,
    ) -> Result<(), Error> {
        let clock = self.usb.clock();
        let mut reads = || Ok(self.word(address)? & mask == value);
        clock
            .poll(PATIENCE, || match reads().and_then(|once| Ok(once && reads()?)) {
                Ok(true) => Some(Ok(())),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            })
            .unwrap_or(Err(Error::Stuck(what)))
    }

    /// A register.
    pub(super) fn read<B: Bits>(&mut self, register: Register<B>) -> Result<B, Error> {
        self.word(register.0).map(B::from_number)
    }

    /// Writes a register.
    pub(super) fn write<B: Bits>(&mut self, register: Register<B>, value: B) -> Result<(), Error> {
        self.write_word(register.0, value.number())
    }

    /// Sets bits of a register.
    pub(super) fn set<B: Bits>(&mut self, register: Register<B>, bits: B) -> Result<(), Error> {
        self.change(register, B::none(), bits)
    }

    /// Clears bits of a register.
    pub(super) fn clear<B: Bits>(&mut self, register: Register<B>, bits: B) -> Result<(), Error> {
        self.change(register, bits, B::none())
    }

    /// A register that nothing but its driver changes, read until it comes twice: against one wrong read.
    pub(super) fn steady<B: Bits>(&mut self, register: Register<B>) -> Result<B, Error> {
        self.steady_word(register.0).map(B::from_number)
    }

    /// Clears bits of a register, and sets others. What was read is written back: one wrong read would stay in the chip.
    pub(super) fn change<B: Bits>(&mut self, register: Register<B>, clear: B, set: B) -> Result<(), Error> {
        self.change_word(register.0, clear.number(), set.number())
    }

    /// Waits until `mask` of a register reads `value` twice in a row: a wait that one wrong read ends leaves a part of the chip
    /// in its reset, where it does not answer (D-135).
    pub(super) fn until<B: Bits>(
        &mut self,
        register: Register<B>,
        (mask, value): (B, B),
        what: &'static str,
    ) -> Result<(), Error> {
        self.until_word(register.0, (mask.number(), value.number()), what)
    }

    fn mii(&mut self, phy: u8, register: u8, bits: MiiAccess) -> Result<(), Error> {
        let access = Register::at(self.mii);
        let place = u32::from(phy & 31) << 11 | u32::from(register & 31) << 6;
        let place = MiiAccess::from_number(place);
        self.write(access, place | bits | MiiAccess::BUSY)?;
        self.until(
            access,
            (MiiAccess::BUSY, MiiAccess::none()),
            "the bus to its PHY stays busy",
        )
    }
}

/// No access begins while another is under way: each waits for its own end.
impl Mdio for Registers<'_> {
    type Error = Error;

    fn read(&mut self, phy: u8, register: u8) -> Result<u16, Error> {
        self.mii(phy, register, MiiAccess::none())?;
        Ok(self.word(self.mii + 4)? as u16)
    }

    fn write(&mut self, phy: u8, register: u8, value: u16) -> Result<(), Error> {
        self.write_word(self.mii + 4, value.into())?;
        self.mii(phy, register, MiiAccess::WRITE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_that_was_refused_or_lost_is_tried_three_times_and_one_without_an_answer_once() {
        for (error, tries) in [
            (usb::Error::Stall, 3),
            (usb::Error::Transaction, 3),
            (usb::Error::TimedOut, 1),
        ] {
            let tried = |works_at: u32| {
                let mut count = 0;
                let end = again(|| {
                    count += 1;
                    if count == works_at { Ok(count) } else { Err(error) }
                });
                (count, end)
            };
            assert_eq!(tried(u32::MAX), (tries, Err(Error::Usb(error))), "{error:?}");
            assert_eq!(tried(1), (1, Ok(1)));
            assert_eq!(tried(tries), (tries, Ok(tries)), "{error:?}");
        }
    }

    #[test]
    fn an_address_is_in_two_words_the_first_byte_in_the_lowest() {
        assert_eq!(address_words([1, 2, 3, 4, 5, 6]), (0x0403_0201, 0x0605));
    }
}
