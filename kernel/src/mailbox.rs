//! The VideoCore's property mailbox: what the board is, its clocks, its power (raspberrypi-firmware property tags).

use core::ptr::NonNull;

use boot::board::Soc;
use safe_mmio::fields::{ReadOnly, ReadPure, WriteOnly};
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use smoltcp::time::Duration;

use crate::bits::{Bits as _, bits};
use crate::clock::Clock;
use crate::cpu;
use crate::dma::{Arena, Buffer};
use crate::soc::{offset, peripherals};

bits! {
    /// The status of a mailbox.
    struct Status {
        /// There is no room.
        FULL = 1 << 31,
        /// There is no message.
        EMPTY = 1 << 30,
    }
}

/// The channel that carries property messages from the ARM.
const PROPERTY: u32 = 8;
/// The firmware answers in microseconds to milliseconds; Linux waits a second too.
const PATIENCE: Duration = Duration::from_secs(1);
const RESPONSE: u32 = 0x8000_0000;
/// Words of the message buffer: header, one tag of up to 10 words, end.
const WORDS: usize = 16;

#[repr(C)]
struct Registers {
    /// 0x00: reading takes an answer.
    read: ReadOnly<u32>,
    _0: [u32; 5],
    /// 0x18: bit 30 when there is none.
    read_status: ReadPure<Status>,
    _1: u32,
    /// 0x20: a message.
    write: WriteOnly<u32>,
    _2: [u32; 5],
    /// 0x38: bit 31 when there is no room.
    write_status: ReadPure<Status>,
}

/// A clock that the firmware runs.
#[derive(Debug, Clone, Copy)]
pub enum ClockId {
    /// Feeds the PL011.
    Uart = 2,
    /// The cores.
    Arm = 3,
    /// The VideoCore; feeds the mini-UART.
    Core = 4,
}

/// The property channel.
pub struct Mailbox {
    registers: UniqueMmioPointer<'static, Registers>,
    message: Buffer,
    clock: Clock,
}

impl Mailbox {
    /// `None` when the arena has no room.
    ///
    /// # Safety
    ///
    /// The SoC is `soc`, its peripherals are mapped, and this is the only `Mailbox`.
    pub unsafe fn new(soc: Soc, arena: &mut Arena, clock: Clock) -> Option<Self> {
        let address = (peripherals(soc) + offset::MAILBOX) as *mut Registers;
        // SAFETY: mapped by the caller's word, not null, and no other pointer to it exists.
        let registers = unsafe { UniqueMmioPointer::new(NonNull::new_unchecked(address)) };
        Some(Self {
            registers,
            message: arena.buffer(WORDS * 4)?,
            clock,
        })
    }

    /// Sends one tag with `words` as its value and overwrites them with the answer. `None` when the firmware is
    /// silent, refuses the message or does not know the tag.
    fn property(&mut self, tag: u32, words: &mut [u32]) -> Option<()> {
        let size = words.len() as u32 * 4;
        let header = [size + 24, 0, tag, size, 0];
        let message = header.iter().chain(words.iter()).chain(core::iter::once(&0));
        for (place, word) in self.message.bytes_mut().chunks_exact_mut(4).zip(message) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.message.give(self.message.len());
        self.exchange()?;
        read_answer(self.message.take(WORDS * 4), words)
    }

    fn exchange(&mut self) -> Option<()> {
        let request = self.message.bus_address() | PROPERTY;
        let Self { registers, clock, .. } = self;
        cpu::barrier();
        clock.poll(PATIENCE, || {
            if !field_shared!(*registers, read_status).read().has(Status::EMPTY) {
                field!(*registers, read).read(); // an answer that nobody waits for any more
                return None;
            }
            (!field_shared!(*registers, write_status).read().has(Status::FULL)).then_some(())
        })?;
        field!(*registers, write).write(request);
        clock.poll(PATIENCE, || {
            let empty = field_shared!(*registers, read_status).read().has(Status::EMPTY);
            (!empty && field!(*registers, read).read() == request).then_some(())
        })?;
        cpu::barrier();
        Some(())
    }

    /// Firmware revision: seconds since 1970 of its build; 346337 is QEMU, 346338 our emulator.
    pub fn firmware_revision(&mut self) -> Option<u32> {
        let mut value = [0];
        self.property(0x0000_0001, &mut value)?;
        Some(value[0])
    }

    /// Board revision code.
    pub fn board_revision(&mut self) -> Option<u32> {
        let mut value = [0];
        self.property(0x0001_0002, &mut value)?;
        Some(value[0])
    }

    /// MAC address of the board's own Ethernet.
    pub fn mac_address(&mut self) -> Option<[u8; 6]> {
        let mut value = [0; 2];
        self.property(0x0001_0003, &mut value)?;
        let [a, b, c, d] = value[0].to_le_bytes();
        let [e, f, ..] = value[1].to_le_bytes();
        Some([a, b, c, d, e, f])
    }

    /// Serial number of the SoC.
    pub fn serial(&mut self) -> Option<u64> {
        let mut value = [0; 2];
        self.property(0x0001_0004, &mut value)?;
        Some(u64::from(value[0]) | u64::from(value[1]) << 32)
    }

    /// First bank of ARM memory: base and size in bytes.
    pub fn arm_memory(&mut self) -> Option<(u32, u32)> {
        let mut value = [0; 2];
        self.property(0x0001_0005, &mut value)?;
        Some((value[0], value[1]))
    }

    /// Rate of a clock in Hz; `None` also when it is stopped.
    pub fn clock_rate(&mut self, clock: ClockId) -> Option<u32> {
        let mut value = [clock as u32, 0];
        self.property(0x0003_0002, &mut value)?;
        Some(value[1]).filter(|hz| *hz != 0)
    }

    /// Highest rate of a clock in Hz.
    pub fn max_clock_rate(&mut self, clock: ClockId) -> Option<u32> {
        let mut value = [clock as u32, 0];
        self.property(0x0003_0004, &mut value)?;
        Some(value[1]).filter(|hz| *hz != 0)
    }

    /// Sets the rate of a clock; the rate that it got. Other clocks stay: "turbo" would also raise the VideoCore's,
    /// and with it the mini-UART's baud rate.
    pub fn set_clock_rate(&mut self, clock: ClockId, hz: u32) -> Option<u32> {
        const SKIP_TURBO: u32 = 1;
        let mut value = [clock as u32, hz, SKIP_TURBO];
        self.property(0x0003_8002, &mut value)?;
        Some(value[1])
    }

    /// Temperature of the SoC in thousandths of a degree Celsius.
    pub fn temperature(&mut self) -> Option<u32> {
        let mut value = [0, 0];
        self.property(0x0003_0006, &mut value)?;
        Some(value[1])
    }

    /// Throttling bits: 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft limit; 16 up, since boot.
    pub fn throttled(&mut self) -> Option<u32> {
        let mut value = [0];
        self.property(0x0003_0046, &mut value)?;
        Some(value[0])
    }

    /// Asks for tryboot at the next reset. `None` when the firmware is too old to know of it.
    pub fn ask_for_tryboot(&mut self) -> Option<()> {
        const TRYBOOT: u32 = 1;
        self.property(0x0003_8064, &mut [TRYBOOT])
    }

    /// Powers the USB controller and waits for it. `None` when the firmware says there is no such device.
    pub fn power_usb(&mut self) -> Option<()> {
        let mut value = [3, 0b11];
        self.property(0x0002_8001, &mut value)?;
        (value[1] & 0b11 == 0b01).then_some(())
    }
}

/// Reads the tag's words out of an answered message. `None` when there are fewer, or when the tag was not understood.
fn read_answer(message: &[u8], words: &mut [u32]) -> Option<()> {
    let word = |i: usize| {
        Some(u32::from_le_bytes(
            message.get(i * 4..i * 4 + 4)?.try_into().ok()?,
        ))
    };
    // An unknown tag comes back without the response bit on hardware, with a length of 0 from QEMU.
    if word(1)? != RESPONSE || word(4)? & RESPONSE == 0 || word(4)? & !RESPONSE == 0 {
        return None;
    }
    for (i, place) in words.iter_mut().enumerate() {
        *place = word(5 + i)?;
    }
    Some(())
}

/// For the fuzz target: reads an answer.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn answer(message: &[u8], words: &mut [u32]) -> Option<()> {
    read_answer(message, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_lie_where_the_datasheet_says() {
        assert_eq!(core::mem::offset_of!(Registers, read_status), 0x18);
        assert_eq!(core::mem::offset_of!(Registers, write), 0x20);
        assert_eq!(core::mem::offset_of!(Registers, write_status), 0x38);
        for (soc, address) in [(Soc::Bcm2837, 0x3f00_b880), (Soc::Bcm2711, 0xfe00_b880)] {
            let mut arena = crate::dma::tests::arena(256).0;
            // SAFETY: nothing is read or written.
            let mailbox = unsafe { Mailbox::new(soc, &mut arena, Clock::start()) }.unwrap();
            assert_eq!(mailbox.registers.ptr().addr(), address);
        }
    }

    /// A mailbox whose VideoCore turns the tag's words into `answer`, or stays silent.
    fn with_firmware(answer: Option<impl Fn(&mut [u32]) + 'static>) -> Mailbox {
        with_busy_firmware(0, 0, answer)
    }

    /// The same, whose VideoCore delivers answers to requests that were given up for so many steps, and has no room for so many
    /// behind them: what is written meanwhile is lost.
    fn with_busy_firmware(
        mut late: u32,
        mut full: u32,
        answer: Option<impl Fn(&mut [u32]) + 'static>,
    ) -> Mailbox {
        let (mut arena, memory) = crate::dma::tests::arena(256);
        let message = arena.buffer(WORDS * 4).unwrap();
        let registers = Box::leak(vec![0_u32; size_of::<Registers>() / 4].into_boxed_slice());
        let registers = NonNull::from(registers).cast::<u32>();
        let register = move |offset: usize| registers.as_ptr().wrapping_add(offset / 4);
        let expected = message.bus_address() | PROPERTY;
        cpu::plug(move || {
            // SAFETY: the block is leaked, and the driver only waits meanwhile.
            unsafe {
                let request = register(0x20).replace(0);
                register(0x18).write_volatile(Status::EMPTY.number());
                if late > 0 {
                    // The message lies where the next one will lie, so its answer looks the same.
                    late -= 1;
                    register(0x00).write_volatile(expected);
                    register(0x18).write_volatile(0);
                    return;
                }
                full = full.saturating_sub(1);
                let has_room = register(0x38).replace(if full > 0 { Status::FULL.number() } else { 0 }) == 0;
                if let (true, true, Some(answer)) = (request == expected, has_room, &answer) {
                    let at = memory.behind_alias(request & !0xf);
                    let message = memory.read(at, WORDS * 4);
                    let mut words: Vec<_> = message
                        .as_chunks()
                        .0
                        .iter()
                        .map(|word| u32::from_le_bytes(*word))
                        .collect();
                    answer(&mut words);
                    memory.write(
                        at,
                        &words
                            .iter()
                            .flat_map(|word| word.to_le_bytes())
                            .collect::<Vec<_>>(),
                    );
                    register(0x00).write_volatile(request);
                    register(0x18).write_volatile(0);
                }
            }
        });
        Mailbox {
            // SAFETY: leaked above and as long as the register block.
            registers: unsafe { UniqueMmioPointer::new(registers.cast()) },
            message,
            clock: Clock::start(),
        }
    }

    #[test]
    fn a_request_is_one_tag_and_its_answer_comes_back_in_place() {
        let mut mailbox = with_firmware(Some(|words: &mut [u32]| {
            assert_eq!(words[..8], [32, 0, 0x0001_0004, 8, 0, 0, 0, 0]);
            words[1] = RESPONSE;
            words[4] = RESPONSE | 8;
            (words[5], words[6]) = (0x1234_5678, 0x1000_0000);
        }));
        assert_eq!(mailbox.serial(), Some(0x1000_0000_1234_5678));
        assert_eq!(mailbox.serial(), Some(0x1000_0000_1234_5678), "and again");
    }

    #[test]
    fn an_unknown_tag_a_refusal_and_silence_have_no_answer() {
        // Hardware leaves an unknown tag's response bit clear, QEMU's length is 0.
        assert_eq!(
            with_firmware(Some(|words: &mut [u32]| words[1] = RESPONSE)).temperature(),
            None
        );
        let empty = |words: &mut [u32]| (words[1], words[4]) = (RESPONSE, RESPONSE);
        assert_eq!(with_firmware(Some(empty)).temperature(), None);
        let refused = |words: &mut [u32]| (words[1], words[4]) = (RESPONSE | 1, RESPONSE | 8);
        assert_eq!(with_firmware(Some(refused)).temperature(), None);
        assert_eq!(with_firmware(None::<fn(&mut [u32])>).temperature(), None);
    }

    #[test]
    fn an_answer_that_came_too_late_is_not_the_next_one_s_and_a_full_mailbox_is_waited_for() {
        for (late, full) in [(1, 0), (10, 0), (50, 0), (0, 5), (10, 1000)] {
            let mut mailbox = with_busy_firmware(
                late,
                full,
                Some(|words: &mut [u32]| {
                    (words[1], words[4], words[5]) = (RESPONSE, RESPONSE | 4, 0xc0_3111)
                }),
            );
            assert_eq!(mailbox.board_revision(), Some(0xc0_3111), "{late} {full}");
        }
    }

    #[test]
    fn what_the_firmware_says_of_the_board_is_read_out_of_its_words() {
        let says = |tag: u32, first: u32, second: u32| {
            with_firmware(Some(move |words: &mut [u32]| {
                assert_eq!(words[2], tag);
                let len = words[3];
                (words[1], words[4], words[5]) = (RESPONSE, RESPONSE | len, first);
                if len > 4 {
                    words[6] = second;
                }
            }))
        };
        assert_eq!(says(0x0000_0001, 346_337, 0).firmware_revision(), Some(346_337));
        assert_eq!(says(0x0001_0002, 0xc0_3111, 0).board_revision(), Some(0xc0_3111));
        let mac = [0xdc, 0xa6, 0x32, 1, 2, 3];
        assert_eq!(says(0x0001_0003, 0x0132_a6dc, 0x0302).mac_address(), Some(mac));
        assert_eq!(
            says(0x0001_0005, 0, 0x3b40_0000).arm_memory(),
            Some((0, 0x3b40_0000))
        );
        let of = |hz| says(0x0003_0002, 4, hz).clock_rate(ClockId::Core);
        assert_eq!((of(500_000_000), of(0)), (Some(500_000_000), None));
        let most = |hz| says(0x0003_0004, 3, hz).max_clock_rate(ClockId::Arm);
        assert_eq!((most(1_500_000_000), most(0)), (Some(1_500_000_000), None));
        let set = says(0x0003_8002, 3, 600_000_000).set_clock_rate(ClockId::Arm, 1_500_000_000);
        assert_eq!(set, Some(600_000_000));
        assert_eq!(says(0x0003_0006, 0, 48_312).temperature(), Some(48_312));
        assert_eq!(says(0x0003_0046, 0x5_0005, 0).throttled(), Some(0x5_0005));
    }

    #[test]
    fn usb_has_power_only_when_the_firmware_says_so() {
        let powered = |state| {
            move |words: &mut [u32]| {
                assert_eq!((words[2], words[5], words[6]), (0x0002_8001, 3, 0b11));
                (words[1], words[4], words[6]) = (RESPONSE, RESPONSE | 8, state);
            }
        };
        assert_eq!(with_firmware(Some(powered(0b01))).power_usb(), Some(()));
        assert_eq!(with_firmware(Some(powered(0b11))).power_usb(), None);
        assert_eq!(with_firmware(Some(powered(0))).power_usb(), None);
    }
}
