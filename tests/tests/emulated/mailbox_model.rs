//! The mailbox's model message by message, as a Pi 4's firmware answers (github.com/raspberrypi/firmware/wiki/Mailbox-property-interface), and the
//! card whose power it switches (SD Host Controller Simplified Specification 3.00).

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use qemu::{Board, Bus, Net};
use tests::Wire;

/// Mailbox 0, of answers: what is next, and its status. Mailbox 1, of messages.
const READ: u64 = 0xfe00_b880;
const STATUS: u64 = 0xfe00_b898;
const WRITE: u64 = 0xfe00_b8a0;
const FULL: u32 = 1 << 31;
const EMPTY: u32 = 1 << 30;
/// The channel of properties.
const PROPERTIES: u32 = 8;

/// Where the message is; the VideoCore's alias of it.
const MESSAGE: u64 = 0x20_0000;
const ALIAS: u32 = 0xc000_0000;

/// A message's code, and the mark of a tag's length word, once they are answered.
const ANSWERED: u32 = 1 << 31;
const REFUSED: u32 = ANSWERED | 1;

const GET_FIRMWARE_REVISION: u32 = 0x1;
const GET_CLOCK_RATE: u32 = 0x3_0002;
const GET_GPIO_STATE: u32 = 0x3_0041;
const SET_GPIO_STATE: u32 = 0x3_8041;
const GET_GPIO_CONFIG: u32 = 0x3_0043;
const SET_GPIO_CONFIG: u32 = 0x3_8043;
const GET_REBOOT_FLAGS: u32 = 0x3_0064;
const SET_REBOOT_FLAGS: u32 = 0x3_8064;
const NO_TAG: u32 = 0x3_0fff;

/// Lines of the expander: the card's signals at 1.8 V, its power.
const VDD_SD_IO_SEL: u32 = 128 + 4;
const SD_PWR_ON: u32 = 128 + 6;

/// Registers of the Arasan controller, to which QEMU wires the card at first, as words.
const ARASAN: u64 = 0xfe30_0000;
const ARGUMENT: u64 = 0x08;
const COMMAND: u64 = 0x0c;
const RESPONSE: u64 = 0x10;
const POWER: u64 = 0x28;
const CLOCK: u64 = 0x2c;
const INTERRUPTS: u64 = 0x30;
const INTERRUPTS_ON: u64 = 0x34;
const COMPLETE: u32 = 1;
const TIMED_OUT: u32 = 1 << 16;

struct Pi {
    bus: Bus,
}

impl Pi {
    fn start() -> Self {
        static NTH: AtomicU32 = AtomicU32::new(0);
        let nth = NTH.fetch_add(1, Ordering::Relaxed);
        let card = std::env::temp_dir().join(format!("bramble-mailbox-{}-{nth}", std::process::id()));
        fs::write(&card, vec![0; 1 << 20]).unwrap();
        let (here, qemus) = Wire::new().unwrap().ends().unwrap();
        let bus = Bus::start(Board::Pi4b, &Net::udp(qemus, here), &[], Some(&card)).unwrap();
        fs::remove_file(&card).unwrap();
        Self { bus }
    }

    /// Writes a message of one tag with these values, and `behind` its end.
    fn write(&mut self, tag: u32, values: &[u32], behind: u32) {
        let len = values.len() as u32 * 4;
        let mut words = vec![len + 28, 0, tag, len, 0];
        words.extend(values);
        words.extend([0, behind]);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.bus.set_memory(MESSAGE, &bytes).unwrap();
    }

    fn send(&mut self) {
        let word = ALIAS | MESSAGE as u32 | PROPERTIES;
        self.bus.write(WRITE, word).unwrap();
        self.bus.pass(Duration::from_millis(1)).unwrap();
    }

    fn word(&mut self, nth: u64) -> u32 {
        self.bus.read(MESSAGE + nth * 4).unwrap()
    }

    /// The message's code, the tag's length word, and its values after an exchange.
    fn ask(&mut self, tag: u32, values: &[u32], behind: u32) -> (u32, u32, Vec<u32>) {
        self.write(tag, values, behind);
        self.send();
        assert_eq!(self.bus.read(READ).unwrap(), ALIAS | MESSAGE as u32 | PROPERTIES);
        let values = (0..values.len() as u64).map(|nth| self.word(5 + nth)).collect();
        (self.word(1), self.word(4), values)
    }

    fn set_line(&mut self, line: u32, state: u32) {
        assert_eq!(
            self.ask(SET_GPIO_STATE, &[line, state], 0),
            (ANSWERED, 0, vec![0, state])
        );
    }

    /// What CMD8 gets: the card's answer, or `None` when there is none in time.
    fn interface_condition(&mut self) -> Option<u32> {
        let mut set = |register, value| self.bus.write(ARASAN + register, value).unwrap();
        set(INTERRUPTS_ON, 0xffff_ffff);
        // 3.3 V on; the internal clock and the card's.
        set(POWER, 0xf00);
        set(CLOCK, 5);
        set(INTERRUPTS, 0xffff_ffff);
        set(ARGUMENT, 0);
        set(COMMAND, 0);
        set(INTERRUPTS, 0xffff_ffff);
        set(ARGUMENT, 0x1aa);
        // 48 bits, with its sum and its number checked.
        set(COMMAND, 0x081a_0000);
        let what = self.bus.read(ARASAN + INTERRUPTS).unwrap();
        assert!(what & (COMPLETE | TIMED_OUT) != 0, "{what:#x}");
        (what & TIMED_OUT == 0).then(|| self.bus.read(ARASAN + RESPONSE).unwrap())
    }
}

#[test]
fn tags_are_marked_but_for_those_of_the_expander_and_unknown_ones() {
    let mut pi = Pi::start();
    assert_eq!(
        pi.ask(GET_FIRMWARE_REVISION, &[0], 0),
        (ANSWERED, ANSWERED | 4, vec![346_338])
    );
    // The core's, EMMC's and EMMC2's.
    for (clock, rate) in [(4, 350_000_000), (1, 50_000_000), (12, 100_000_000)] {
        assert_eq!(
            pi.ask(GET_CLOCK_RATE, &[clock, 0], 0),
            (ANSWERED, ANSWERED | 8, vec![clock, rate])
        );
    }
    assert_eq!(
        pi.ask(GET_REBOOT_FLAGS, &[7], 0),
        (ANSWERED, ANSWERED | 4, vec![0])
    );
    pi.ask(SET_REBOOT_FLAGS, &[1], 0);
    assert_eq!(pi.ask(GET_REBOOT_FLAGS, &[7], 0).2, [1]);
    assert_eq!(pi.ask(NO_TAG, &[7, 8], 0), (ANSWERED, 0, vec![7, 8]));
    // The card is powered, its signals have 3.3 V.
    assert_eq!(
        pi.ask(GET_GPIO_STATE, &[SD_PWR_ON, 9], 0),
        (ANSWERED, 0, vec![0, 1])
    );
    assert_eq!(
        pi.ask(GET_GPIO_STATE, &[VDD_SD_IO_SEL, 9], 0),
        (ANSWERED, 0, vec![0, 0])
    );
    pi.set_line(VDD_SD_IO_SEL, 1);
    assert_eq!(pi.ask(GET_GPIO_STATE, &[VDD_SD_IO_SEL, 9], 0).2, [0, 1]);
    for tag in [GET_GPIO_CONFIG, SET_GPIO_CONFIG] {
        let (_, mark, values) = pi.ask(tag, &[SD_PWR_ON, 0, 0, 0, 0], 0);
        assert_eq!((mark, values[0]), (0, 0));
    }
    // There are eight lines: of another nothing is answered.
    assert_eq!(
        pi.ask(GET_GPIO_STATE, &[128 + 8, 9], 0),
        (ANSWERED, 0, vec![136, 9])
    );
}

#[test]
fn what_stands_behind_the_end_has_the_message_refused() {
    let mut pi = Pi::start();
    assert_eq!(pi.ask(GET_FIRMWARE_REVISION, &[0], 0).0, ANSWERED);
    assert_eq!(pi.ask(GET_FIRMWARE_REVISION, &[0], 0x0100_0000).0, REFUSED);
}

#[test]
fn eight_answers_wait_and_no_more() {
    let mut pi = Pi::start();
    pi.write(GET_FIRMWARE_REVISION, &[0], 0);
    for sent in 0..8 {
        let status = pi.bus.read(STATUS).unwrap();
        assert_eq!(status & FULL, 0, "after {sent}");
        assert_eq!(status & EMPTY != 0, sent == 0, "after {sent}");
        pi.send();
    }
    assert_eq!(pi.bus.read(STATUS).unwrap() & FULL, FULL);
    pi.bus.read(READ).unwrap();
    assert_eq!(pi.bus.read(STATUS).unwrap() & FULL, 0);
}

#[test]
fn a_card_without_power_answers_nothing_and_begins_anew_with_it() {
    let mut pi = Pi::start();
    assert_eq!(pi.interface_condition(), Some(0x1aa));
    pi.set_line(SD_PWR_ON, 0);
    assert_eq!(pi.interface_condition(), None);
    // What is on already changes nothing.
    pi.set_line(VDD_SD_IO_SEL, 0);
    assert_eq!(pi.interface_condition(), None);
    pi.set_line(SD_PWR_ON, 1);
    assert_eq!(pi.interface_condition(), Some(0x1aa));
}
