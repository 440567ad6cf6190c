//! The data cache between a driver under test and its fake device: DMA memory in two copies, as on a board.
//!
//! Drivers load from and store to the core's copy, fakes read and write what lies in RAM. Cache maintenance by address moves
//! whole lines between the two, and nothing else need ever do so. A cache may, though (Arm ARM D7.5): it writes a dirty line
//! back and fetches another ahead of its use when it likes. Drivers are tried with both ends of that freedom, see `Habit`.
//! D-133.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::Location;
use std::ptr;
use std::rc::Rc;
use std::sync::{LazyLock, Mutex};

/// Bytes of a line (technical reference manuals of the Cortex-A53 and A72).
const LINE: usize = 64;

/// How a run of these tests differs from a plain one: `RESTLESS`; or the call of `give` or `take` that does nothing; or, behind
/// `SHORTENED`, the one that leaves out its last line.
const VARIABLE: &str = "BRAMBLE_DMA";
const RESTLESS: &str = "restless";
const SHORTENED: &str = "shortened ";
/// Before each call that is made, once, on standard error.
const CALL: &str = "dma call: ";

static RUN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(VARIABLE).ok());
static HABIT: LazyLock<Habit> = LazyLock::new(|| match RUN.as_deref() {
    Some(RESTLESS) => Habit::Restless,
    _ => Habit::Idle,
});
static CALLS: Mutex<BTreeSet<(&str, u32)>> = Mutex::new(BTreeSet::new());

thread_local! {
    static CLEANED: Cell<usize> = const { Cell::new(0) };
    static INSTALLED: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

/// What the cache does without being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// It fetches a line as soon as that was dropped, before a device has written, and then leaves it alone: what was not
    /// handed over stays unseen on either side.
    Idle,
    /// It writes a dirty line back before a device reads there, and over what a device has just written there; any other it
    /// fetches anew after a device has written: what belongs to the other side is spoilt, or changes.
    Restless,
}

/// DMA memory of the machine that a test builds: what its devices see.
#[derive(Debug, Clone)]
pub(crate) struct Memory(Rc<RefCell<Lines>>);

#[derive(Debug)]
struct Lines {
    /// Address of the first byte, for the core and for devices. The core's copy lies there.
    start: usize,
    ram: Vec<u8>,
    /// The core's copy of each line when it was fetched or cleaned last. A line that differs from it by now is dirty.
    fetched: Vec<u8>,
    habit: Habit,
}

impl Memory {
    /// So many bytes, rounded up to whole lines, for as long as the program runs. This thread's cache maintenance is for
    /// them from now on.
    pub(crate) fn install(len: usize) -> Self {
        Self::with_habit(len, *HABIT)
    }

    fn with_habit(len: usize, habit: Habit) -> Self {
        let len = len.next_multiple_of(LINE);
        let core: &'static mut [u8] = Box::leak(vec![0xff; len + LINE].into_boxed_slice());
        let start = core.as_mut_ptr().expose_provenance();
        let memory = Self(Rc::new(RefCell::new(Lines {
            start: start.next_multiple_of(LINE),
            ram: vec![0xff; len],
            fetched: vec![0xff; len],
            habit,
        })));
        INSTALLED.set(Some(memory.clone()));
        memory
    }

    /// Its addresses.
    pub(crate) fn range(&self) -> Range<usize> {
        let lines = self.0.borrow();
        lines.start..lines.start + lines.ram.len()
    }

    /// The address that legacy bus masters know by this one: the uncached alias of 30 bits.
    pub(crate) fn behind_alias(&self, bus: u32) -> u64 {
        let start = self.range().start;
        (start + (bus.wrapping_sub(start as u32) & 0x3fff_ffff) as usize) as u64
    }

    /// Panics unless a device may use all of these bytes.
    pub(crate) fn assert_reaches(&self, address: u64, len: usize) {
        self.0.borrow().offsets(address, len);
    }

    /// What a device reads at `address`.
    pub(crate) fn read(&self, address: u64, len: usize) -> Vec<u8> {
        let mut lines = self.0.borrow_mut();
        let bytes = lines.offsets(address, len);
        if lines.habit == Habit::Restless {
            for line in whole(&bytes) {
                lines.write_back(line);
            }
        }
        lines.ram[bytes].to_vec()
    }

    /// A device writes at `address`.
    pub(crate) fn write(&self, address: u64, data: &[u8]) {
        let mut lines = self.0.borrow_mut();
        let bytes = lines.offsets(address, data.len());
        lines.ram[bytes.clone()].copy_from_slice(data);
        if lines.habit == Habit::Restless {
            for line in whole(&bytes) {
                lines.write_back(line);
                lines.fetch(line);
            }
        }
    }
}

/// Writes back and drops the lines of `len` bytes at `start` in the memory of this thread's machine, as cpu.rs does it on the
/// target.
#[track_caller]
pub(crate) fn clean_and_invalidate(start: usize, len: usize) {
    CLEANED.set(CLEANED.get() + len);
    let call = Location::caller();
    let shortened = RUN.as_deref().and_then(|run| run.strip_prefix(SHORTENED));
    let len = if shortened.is_some_and(|shortened| shortened == place(call)) {
        len.saturating_sub(1) / LINE * LINE
    } else {
        len
    };
    INSTALLED.with_borrow(|memory| {
        let memory = memory.as_ref().expect("DMA without memory");
        let mut lines = memory.0.borrow_mut();
        for line in whole(&lines.offsets(start as u64, len)) {
            lines.write_back(line);
            lines.fetch(line);
        }
    });
}

/// How many bytes were cleaned and invalidated so far.
pub(crate) fn cleaned() -> usize {
    CLEANED.get()
}

/// Whether the call of `give` or `take` in which this is asked is to do nothing in this run (D-134).
#[track_caller]
pub(crate) fn left_out() -> bool {
    let Some(run) = &*RUN else {
        return false;
    };
    let place = Location::caller();
    if CALLS.lock().unwrap().insert((place.file(), place.line())) {
        // To the parent: libtest does not catch this.
        use std::io::Write as _;
        writeln!(std::io::stderr(), "{CALL}{}:{}", place.file(), place.line()).unwrap();
    }
    *run == self::place(place)
}

fn place(call: &Location<'_>) -> String {
    format!("{}:{}", call.file(), call.line())
}

/// Where the lines begin in which these bytes are.
fn whole(bytes: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
    let end = if bytes.is_empty() { 0 } else { bytes.end };
    (bytes.start / LINE * LINE..end).step_by(LINE)
}

impl Lines {
    fn offsets(&self, address: u64, len: usize) -> Range<usize> {
        let start = usize::try_from(address).unwrap().wrapping_sub(self.start);
        let inside = start <= self.ram.len() && len <= self.ram.len() - start;
        assert!(inside, "{len} bytes at {address:#x}: outside of DMA memory");
        start..start + len
    }

    /// The core's copy of the line at this offset.
    fn core(&self, line: usize) -> *mut [u8; LINE] {
        assert!(line.is_multiple_of(LINE) && line < self.ram.len());
        ptr::with_exposed_provenance_mut(self.start + line)
    }

    /// Writes a line to RAM if it is dirty.
    fn write_back(&mut self, line: usize) {
        let place = line..line + LINE;
        // SAFETY: inside the leaked memory. The cache moves only while a driver waits or hands a buffer over, and then no
        // reference is in use through which a byte of that buffer could be written (`dma::Buffer`).
        let core = unsafe { self.core(line).read() };
        if core != self.fetched[place.clone()] {
            self.ram[place.clone()].copy_from_slice(&core);
            self.fetched[place].copy_from_slice(&core);
        }
    }

    /// Drops a line and reads it from RAM again.
    fn fetch(&mut self, line: usize) {
        let ram: [u8; LINE] = *self.ram[line..].first_chunk().unwrap();
        let core = self.core(line);
        // What does not change is not written: a driver may be reading what it has taken before.
        // SAFETY: as in `write_back` for the read. The write finds nobody reading: RAM differs where a device has written,
        // and a driver holds no reference into what a device may write (`dma::Buffer`).
        unsafe {
            if core.read() != ram {
                core.write(ram);
            }
        }
        self.fetched[line..line + LINE].copy_from_slice(&ram);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead as _, BufReader};
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::dma::{Arena, Buffer};

    /// A buffer of two lines that was given away full of ones, and RAM.
    fn given(habit: Habit) -> (Buffer, Memory) {
        let memory = Memory::with_habit(1024, habit);
        // SAFETY: leaked for this arena alone.
        let mut buffer = unsafe { Arena::new(memory.range()) }.buffer(2 * LINE).unwrap();
        buffer.bytes_mut().fill(1);
        buffer.give(2 * LINE);
        (buffer, memory)
    }

    #[test]
    fn a_device_sees_what_was_given_and_no_more_and_the_core_what_was_taken() {
        let (mut buffer, memory) = given(Habit::Idle);
        let at = buffer.physical_address();
        assert_eq!(memory.read(at, 2 * LINE), [1; 2 * LINE]);
        buffer.bytes_mut().fill(2);
        assert_eq!(memory.read(at, 2 * LINE), [1; 2 * LINE]);
        buffer.give(LINE);
        assert_eq!(memory.read(at, 2 * LINE), [[2; LINE], [1; LINE]].concat());
        buffer.give(2 * LINE);

        memory.write(at, &[3; 2 * LINE]);
        assert_eq!(buffer.bytes(2 * LINE), [2; 2 * LINE]);
        assert_eq!(buffer.take(2 * LINE), [3; 2 * LINE]);
        // Taken before the device has written: fetched ahead.
        memory.write(at, &[4; 2 * LINE]);
        assert_eq!(buffer.bytes(2 * LINE), [3; 2 * LINE]);
        // Whole lines are taken, and no more.
        assert_eq!(buffer.take(1), [4]);
        assert_eq!(buffer.bytes(2 * LINE), [[4; LINE], [3; LINE]].concat());
    }

    #[test]
    fn a_line_that_both_sides_write_is_the_core_s_at_the_latest_when_it_is_taken() {
        for habit in [Habit::Idle, Habit::Restless] {
            let (mut buffer, memory) = given(habit);
            let at = buffer.physical_address();
            buffer.bytes_mut()[0] = 2;
            memory.write(at + 8, &[3; LINE]);
            let mut expected = [[1; LINE], [1; LINE]].concat();
            expected[0] = 2;
            expected[LINE..LINE + 8].fill(3);
            assert_eq!(buffer.take(2 * LINE), expected, "{habit:?}");
            assert_eq!(memory.read(at, 2 * LINE), expected, "{habit:?}");
        }
    }

    #[test]
    fn a_restless_cache_shows_each_side_what_the_other_does_in_its_turn() {
        let (mut buffer, memory) = given(Habit::Restless);
        let at = buffer.physical_address();
        memory.write(at, &[3; 8]);
        assert_eq!(buffer.bytes(16), [[3; 8], [1; 8]].concat());
        buffer.bytes_mut()[1] = 4;
        assert_eq!(memory.read(at, 3), [3, 4, 3]);
    }

    #[test]
    #[should_panic(expected = "outside of DMA memory")]
    fn a_device_reaches_nothing_else() {
        let (_, memory) = given(Habit::Idle);
        memory.write(memory.range().end as u64 - 1, &[0; 2]);
    }

    /// Tests that the runs below leave out: those that begin them, and those that pass minutes of virtual time.
    const SKIPPED: [&str; 8] = [
        "a_restless_cache_changes_nothing_for_a_driver",
        "each_give_and_each_take_is_needed_to_its_last_line",
        "a_chip_that_hears_nothing_is_restarted_ever_more_seldom",
        "a_link_that_the_chip_could_not_be_told_of_is_told_again",
        "a_million_errors_and_no_buffer_lost_and_no_byte_wrong",
        "another_cable_gets_another_offer_of_a_gigabit",
        "no_call_takes_as_long_as_the_watchdog_waits",
        "no_fault_costs_a_panic_a_buffer_or_a_byte",
    ];
    /// A call whose last line nothing needs: no frame is so long that it ends in the last line of GENET's receive buffers.
    const LAST_LINE_UNUSED: (&str, &str) = ("kernel/src/genet/mod.rs", "buffer.give(BUFFER);");

    /// The other tests of this program, run in another way.
    fn tests(run: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(SKIPPED.iter().flat_map(|name| ["--skip", name]));
        command.env(VARIABLE, run);
        command
    }

    /// The drivers' files, each up to its own tests.
    fn drivers() -> BTreeMap<String, String> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut drivers, mut folders) = (BTreeMap::new(), vec![package.join("src")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(package.parent().unwrap()).unwrap();
                    let text = std::fs::read_to_string(&path).unwrap();
                    drivers.insert(name.to_str().unwrap().to_string(), text);
                }
            }
        }
        // `#[cfg(test)]` stands before the name of a file that only tests use, or before a file's own tests, which end it.
        let mut test_files = Vec::new();
        for text in drivers.values_mut() {
            let behind = text.split("#[cfg(test)]\n").skip(1);
            let modules = behind.filter_map(|rest| rest.lines().next()?.strip_suffix(';'));
            let names = modules.filter_map(|module| module.split("mod ").nth(1));
            test_files.extend(names.map(|name| format!("/{name}.rs")));
            text.truncate(text.find("mod tests {").unwrap_or(text.len()));
        }
        drivers.retain(|name, _| !test_files.iter().any(|file| name.ends_with(file)));
        drivers
    }

    /// The calls of `give` and `take` in the drivers: each `file:line` with the line's text.
    fn calls() -> BTreeMap<String, String> {
        let mut calls = BTreeMap::new();
        for (name, text) in drivers() {
            for (line, number) in text.lines().zip(1..) {
                // An option's `take` has no argument.
                if line.contains(".give(") || line.contains(".take(") && !line.contains(".take()") {
                    calls.insert(format!("{name}:{number}"), line.trim().to_string());
                }
            }
        }
        calls
    }

    #[test]
    fn a_restless_cache_changes_nothing_for_a_driver() {
        let output = tests(RESTLESS).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        let skipped = format!("; {} filtered out", SKIPPED.len());
        assert!(said.contains(&skipped), "each name is one test's: {said}");
        // The calls that the drivers made are those that `calls` finds in the source.
        let drivers = drivers();
        let made = String::from_utf8(output.stderr).unwrap();
        let made = made.lines().filter_map(|line| line.strip_prefix(CALL));
        let made: BTreeSet<_> = made
            .filter(|call| {
                let (file, line) = call.rsplit_once(':').unwrap();
                let lines = drivers.get(file).map_or(0, |text| text.lines().count());
                line.parse::<usize>().unwrap() <= lines
            })
            .map(str::to_string)
            .collect();
        assert_eq!(made, calls().into_keys().collect());
    }

    /// Each call does nothing in a run of its own, or leaves out the last line of what it should hand over: some test fails.
    #[test]
    fn each_give_and_each_take_is_needed_to_its_last_line() {
        for (call, text) in calls() {
            for run in [call.clone(), format!("{SHORTENED}{call}")] {
                let (file, unused) = LAST_LINE_UNUSED;
                if run.starts_with(SHORTENED) && call.starts_with(file) && text == unused {
                    continue;
                }
                let mut child = tests(&run)
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
                let failed =
                    said.find_map(|line| line.unwrap().strip_suffix(" ... FAILED").map(str::to_string));
                // One is enough.
                child.kill().unwrap();
                child.wait().unwrap();
                let failed = failed.unwrap_or_else(|| panic!("nothing fails: {run}"));
                println!("{run}: {failed}");
            }
        }
    }
}
