//! Downloads over each NIC, by Bramble, Linux and U-Boot on one emulator from one network: instructions, throughput, rest.
//!
//! Instructions are counted by QEMU's plugin, over all cores, in runs of 16 and of 64 MiB, whose difference is free of
//! what a boot takes. The clock is the instructions', and stands still for nobody who rests: Bramble in WFE, Linux in
//! WFI. Throughput is of runs without the plugin, by the host's clock.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use qemu::http::{Answer, Server};
use qemu::payload::HELLO;
use qemu::{Board, Entry, Firmware, Machine, Net, Payload, Qemu, UBoot};

use super::functions::{Functions, Profile, differences};
use super::table::{self, Demands, Figures, Parts, Port, slope};
use super::trial::{PATIENCE, noise, number, scratch};
use crate::image::{self, Image};
use crate::setup::{self, Goal};
use crate::{boot, builtin};

/// Each NIC with its board and its bars.
const PORTS: [(&str, Board, Demands); 4] = [
    ("GENET", Board::Pi4b, Demands::Genet),
    ("LAN9514", Board::Pi3b, Demands::Usb),
    ("LAN7515", Board::Pi3bPlus, Demands::Usb),
    ("usb-net", Board::UsbNet3b, Demands::Usb),
];

/// The two downloads, in bytes.
const SMALL: usize = 16 << 20;
const LARGE: usize = 64 << 20;

/// A download that hangs does so after this many bytes.
const BEFORE_HANGING: u64 = 1 << 20;

/// How long what came before a hang takes at most.
const SETTLING: Duration = Duration::from_secs(2);

/// A download is repeated while all together have not taken longer.
const LONG: Duration = Duration::from_secs(60);

/// So far apart two counts of one run may be.
const MOST_APART: f64 = 1e-3;

/// How long downloads hang: less than Bramble waits before it asks again.
const HANGS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// `cargo xtask bench net`'s options.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// The boards to measure; all when there are none.
    pub(super) boards: Vec<Board>,
    /// Whether to say where Bramble's instructions went.
    pub(super) functions: bool,
    /// Whether to leave out everything but Bramble, and bars on others with it.
    pub(super) alone: bool,
}

/// What all runs share.
struct Bench {
    image: Image,
    functions: Functions,
    /// Stands in for Linux, so that nothing but Bramble takes time.
    tiny: PathBuf,
    payload: Payload,
    /// Holds what TFTP serves, and Linux's initrds.
    directory: PathBuf,
    body: Vec<u8>,
}

/// Measures and prints; whether no bar was missed.
pub(super) fn run(options: &Options) -> Result<bool> {
    let ports: Vec<_> = PORTS
        .into_iter()
        .filter(|(_, board, _)| options.boards.is_empty() || options.boards.contains(board))
        .collect();
    for board in &options.boards {
        let known = ports.iter().any(|(_, known, _)| known == board);
        ensure!(known, "bench: net: board {}: not measured", board.name());
    }
    setup::run(Goal::Emulator);
    let directory = scratch("net");
    fs::create_dir(&directory).with_context(|| format!("bench: {}", directory.display()))?;
    let measured = Bench::prepare(directory.clone()).map(|bench| {
        let port = |(nic, board, demands)| bench.port(nic, board, demands, options);
        ports.into_iter().map(port).collect::<Vec<_>>()
    });
    // What cannot be removed stays in the system's directory for temporary files.
    let _ = fs::remove_dir_all(&directory);
    let met = table::print(&measured?);
    notes();
    Ok(met)
}

/// What the figures are; the guide says more (docs/src/developing.md).
fn notes() {
    println!();
    println!(
        "instr./byte: all cores, the difference between {} and {} MiB, one instruction a nanosecond, by QEMU's libinsn.so.",
        SMALL >> 20,
        LARGE >> 20
    );
    println!(
        "Of Bramble what its image executes: the built-in payload, which sums up what it got, is left out."
    );
    println!("copies, checksum: what of it had to be; above these: what is left.");
    println!(
        "MB/s: the fastest of three downloads of {} MiB (of fewer, when they take more than a minute) without plugins, a host \
         thread for each core, by each program's own line.",
        LARGE >> 20
    );
    println!("idle: million instructions a second while a download hangs. U-Boot never rests.");
}

/// A download, or one that hangs for a while.
#[derive(Debug, Clone, Copy)]
enum Task {
    Load(usize),
    Hang(Duration),
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(size) => write!(f, "{} MiB", size >> 20),
            Self::Hang(time) => write!(f, "a download that hangs for {} s", time.as_secs()),
        }
    }
}

/// Bytes or seconds, and the instructions that they took.
type Point = (f64, f64);

/// Two ways to count must agree, or one of them counts something else.
fn agree(by_address: f64, in_all: f64) -> Result<()> {
    ensure!(
        (by_address - in_all).abs() <= in_all * MOST_APART,
        "bench: {by_address:.0} instructions by their addresses, but {in_all:.0} in all"
    );
    Ok(())
}

/// A machine that has done its task and ended.
struct Done {
    qemu: Qemu,
    /// How long that took.
    time: Duration,
    /// Where Bramble ran.
    base: u64,
}

impl Done {
    /// What all cores executed; said at once, because the figures that come of it come much later.
    fn point(&self, task: Task) -> Result<Point> {
        let instructions = self.qemu.instructions()? as f64;
        println!("bench:   {task}: {:.1} million instructions", instructions / 1e6);
        let against = match task {
            Task::Load(size) => size as f64,
            Task::Hang(_) => self.time.as_secs_f64(),
        };
        Ok((against, instructions))
    }
}

/// A machine for one of the two clocks: the instructions', which are counted, or the host's.
fn clocked(machine: Machine, counted: bool) -> Machine {
    if counted {
        machine.count_instructions().instruction_clock()
    } else {
        machine.with_models().thread_for_each_core()
    }
}

/// Bytes a second of the fastest of three downloads, or fewer when they take long: other programs on the host make them
/// slower, nothing makes them faster.
fn fastest(download: impl Fn() -> Result<Done>) -> Result<f64> {
    let mut best = f64::INFINITY;
    let began = Instant::now();
    for _ in 0..3 {
        let seconds = download()?.time.as_secs_f64();
        println!("bench:   {}: {seconds:.2} s", Task::Load(LARGE));
        best = best.min(seconds);
        if began.elapsed() > LONG {
            break;
        }
    }
    ensure!(best > 0.0, "bench: a download in no time");
    Ok(LARGE as f64 / best)
}

impl Bench {
    fn prepare(directory: PathBuf) -> Result<Self> {
        let image = image::compile(image::Profile::Release)?;
        let bench = Self {
            functions: Functions::read(&image.file.with_extension("elf"))?,
            tiny: builtin::build()?,
            image,
            payload: Payload::find()?,
            directory,
            body: noise(LARGE),
        };
        for size in [SMALL, LARGE] {
            fs::write(bench.directory.join(blob(size)), bench.body(size)?).context("bench: TFTP's file")?;
        }
        Ok(bench)
    }

    fn body(&self, size: usize) -> Result<&[u8]> {
        self.body.get(..size).context("bench: no such size")
    }

    /// All figures of one NIC. What cannot be measured says why.
    fn port(&self, nic: &str, board: Board, demands: Demands, options: &Options) -> Port {
        let available = match board.unavailable() {
            Some(reason) => Err(reason),
            None => Ok(()),
        };
        let measure = |what: &str, figures: &dyn Fn() -> Result<Figures>| {
            println!("bench: {nic}: {what}");
            let figures = available
                .clone()
                .map_err(anyhow::Error::msg)
                .and_then(|()| figures());
            if let Err(reason) = &figures {
                // The table comes much later.
                println!("bench: {nic}: {what}: {reason:#}");
            }
            figures
        };
        let other = |what: &str, figures: &dyn Fn() -> Result<Figures>| {
            (!options.alone).then(|| measure(what, figures))
        };
        Port {
            name: format!("{nic} ({})", board.name()),
            demands,
            bramble: measure("Bramble", &|| self.bramble_figures(board, options.functions)),
            linux: other("Linux", &|| self.linux_figures(board)),
            u_boot: vec![
                (
                    "U-Boot tftpboot",
                    other("U-Boot tftpboot", &|| self.tftpboot_figures(board)),
                ),
                ("U-Boot wget", other("U-Boot wget", &|| self.u_boot_wget(board))),
            ],
        }
    }

    fn bramble_figures(&self, board: Board, functions: bool) -> Result<Figures> {
        let rate = fastest(|| self.bramble(board, Task::Load(LARGE), false))?;
        let counted = |task| -> Result<(Point, Profile)> {
            let done = self.bramble(board, task, true)?;
            let profile = self.functions.profile(done.base, &done.qemu.executed()?);
            let mut point = done.point(task)?;
            agree(profile.total() as f64, point.1)?;
            point.1 -= profile.elsewhere as f64;
            Ok((point, profile))
        };
        let [short, long] = HANGS.map(|time| counted(Task::Hang(time)));
        let (small, large) = (counted(Task::Load(SMALL))?, counted(Task::Load(LARGE))?);
        if functions {
            print_functions(&small.1, &large.1);
        }
        let per_byte = |part: fn(&Profile) -> u64| {
            (part(&large.1) as f64 - part(&small.1) as f64) / (LARGE - SMALL) as f64
        };
        Ok(Figures {
            per_byte: slope(small.0, large.0)?,
            rate,
            waiting: Some(slope(short?.0, long?.0)?),
            parts: Some(Parts {
                copies: per_byte(|profile| profile.copies),
                checksums: per_byte(|profile| profile.checksums),
            }),
        })
    }

    fn linux_figures(&self, board: Board) -> Result<Figures> {
        let rate = fastest(|| self.linux(board, Task::Load(LARGE), false))?;
        let counted = |task| self.linux(board, task, true)?.point(task);
        let [short, long] = HANGS.map(|time| counted(Task::Hang(time)));
        let [small, large] = [SMALL, LARGE].map(|size| counted(Task::Load(size)));
        Ok(Figures {
            per_byte: slope(small?, large?)?,
            rate,
            waiting: Some(slope(short?, long?)?),
            parts: None,
        })
    }

    fn tftpboot_figures(&self, board: Board) -> Result<Figures> {
        let rate = fastest(|| self.tftpboot(board, LARGE, false))?;
        let [small, large] =
            [SMALL, LARGE].map(|size| self.tftpboot(board, size, true)?.point(Task::Load(size)));
        Ok(Figures {
            per_byte: slope(small?, large?)?,
            rate,
            waiting: None,
            parts: None,
        })
    }

    /// Debian's U-Boot has none so far, which it says itself.
    fn u_boot_wget(&self, board: Board) -> Result<Figures> {
        let mut u_boot = UBoot::start(self.u_boot(board, false)?, PATIENCE)?;
        let version = u_boot.ask("version", r"^U-Boot ([0-9.]+)[^0-9.]")?;
        let help = u_boot.ask("help wget", "^(wget - |Unknown command)")?;
        let version = version.groups.first().map_or("", String::as_str);
        match help.text.starts_with("wget") {
            true => bail!("U-Boot {version} has it, and this bench does not know it yet"),
            false => bail!("U-Boot {version} has none"),
        }
    }

    /// Bramble, with the built-in payload and the download as its initrd.
    fn bramble(&self, board: Board, task: Task, counted: bool) -> Result<Done> {
        let server = self.server(task)?;
        server.put("/menu", Answer::ok(boot::demo_menu("", true)));
        server.put("/vmlinuz", Answer::file(&self.tiny));
        let machine = Machine::new(board, &self.image.file)
            // As the Pi's firmware does it, so that the other cores can rest.
            .entry(Entry::At(0x8_0000))
            .other_cores_rest()
            .device_tree(self.payload.device_tree(board)?)
            .net(Net::user().boot_file(server.url("/menu")));
        let machine = if counted { machine.profile() } else { machine };
        let mut qemu = clocked(machine, counted).start()?;
        let console = qemu.console();
        let start = console.expect("^bramble: .*running at 0x([0-9a-f]+)[^0-9a-f]", PATIENCE)?;
        let base = u64::from_str_radix(start.groups.first().map_or("", String::as_str), 16)?;
        let time = match task {
            Task::Load(size) => {
                let fetch =
                    console.expect("^.*fetch: .*/initrd.*: ([0-9]+) bytes in ([0-9]+) ms", PATIENCE)?;
                ensure!(number(&fetch, 0)? == size as u64, "bench: {}", fetch.text);
                console.expect(HELLO, PATIENCE)?;
                qemu.wait(PATIENCE)?;
                Duration::from_millis(number(&fetch, 1)?)
            }
            Task::Hang(time) => hang(&server, &mut qemu, time)?,
        };
        Ok(Done { qemu, time, base })
    }

    /// Debian's kernel with its own driver, and busybox wget.
    fn linux(&self, board: Board, task: Task, counted: bool) -> Result<Done> {
        let server = self.server(task)?;
        let initrd = self.directory.join("initrd");
        fs::write(&initrd, self.payload.initrd(board)?).context("bench: initrd")?;
        let firmware = Firmware {
            cmdline: format!(
                "console=ttyAMA0,115200 quiet bramble.wget={}",
                server.url("/initrd")
            ),
            ..Firmware::default()
        };
        let machine = Machine::new(board, self.payload.kernel())
            .device_tree(self.payload.device_tree(board)?)
            .firmware(firmware)
            .initrd(&initrd);
        let mut qemu = clocked(machine, counted).start()?;
        let time = match task {
            Task::Load(_) => {
                let wget = qemu
                    .console()
                    .expect("^hello: wget (in ([0-9]+) ms|.* failed)$", PATIENCE)?;
                let time = number(&wget, 1)?;
                qemu.wait(PATIENCE)?;
                Duration::from_millis(time)
            }
            Task::Hang(time) => hang(&server, &mut qemu, time)?,
        };
        Ok(Done { qemu, time, base: 0 })
    }

    /// Debian's U-Boot, from TFTP.
    fn tftpboot(&self, board: Board, size: usize, counted: bool) -> Result<Done> {
        let mut u_boot = UBoot::start(self.u_boot(board, counted)?, PATIENCE)?;
        u_boot.lease()?;
        let loaded = u_boot.ask(
            &format!("tftpboot ${{ramdisk_addr_r}} 10.0.2.2:{}", blob(size)),
            r"([0-9.]+) (Bytes|KiB|MiB)/s\s+done\s+Bytes transferred = ([0-9]+) ",
        )?;
        ensure!(number(&loaded, 2)? == size as u64, "bench: {}", loaded.text);
        let mut qemu = u_boot.qemu;
        end(&mut qemu)?;
        let rate = rate(loaded.groups.first(), loaded.groups.get(1))
            .with_context(|| format!("bench: {}", loaded.text))?;
        Ok(Done {
            qemu,
            time: Duration::from_secs_f64(size as f64 / rate),
            base: 0,
        })
    }

    fn u_boot(&self, board: Board, counted: bool) -> Result<Machine> {
        let root = path(&self.directory)?;
        let machine = Machine::new(board, self.payload.u_boot())
            .other_cores_rest()
            .device_tree(self.payload.device_tree(board)?)
            .net(Net::user().option("tftp", root));
        Ok(clocked(machine, counted))
    }

    /// A web server with the download.
    fn server(&self, task: Task) -> Result<Server> {
        let server = Server::start()?;
        let answer = match task {
            Task::Load(size) => Answer::ok(self.body(size)?),
            Task::Hang(_) => Answer::ok(self.body(SMALL)?).stall(BEFORE_HANGING),
        };
        server.put("/initrd", answer);
        Ok(server)
    }
}

/// Lets the download hang, then ends the machine; how long it hung and settled.
fn hang(server: &Server, qemu: &mut Qemu, time: Duration) -> Result<Duration> {
    let deadline = Instant::now() + PATIENCE;
    while !server
        .requests()
        .iter()
        .any(|request| request.target == "/initrd")
    {
        ensure!(Instant::now() < deadline, "bench: the download never began");
        thread::sleep(Duration::from_millis(20));
    }
    let began = Instant::now();
    thread::sleep(SETTLING + time);
    let hung = began.elapsed();
    end(qemu)?;
    Ok(hung)
}

/// Ends a machine that would go on.
fn end(qemu: &mut Qemu) -> Result<()> {
    qemu.monitor()?.quit()?;
    qemu.wait(PATIENCE)?;
    Ok(())
}

/// The name of a file for TFTP.
fn blob(size: usize) -> String {
    format!("blob-{}", size >> 20)
}

fn path(path: &Path) -> Result<&str> {
    path.to_str()
        .context("bench: a directory whose name is not UTF-8")
}

/// What U-Boot calls a rate, in bytes a second.
fn rate(digits: Option<&String>, unit: Option<&String>) -> Option<f64> {
    let unit = match unit?.as_str() {
        "Bytes" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        _ => return None,
    };
    let rate = digits?.parse::<f64>().ok()? * unit;
    (rate > 0.0).then_some(rate)
}

/// Where the instructions of a download went, the most first.
fn print_functions(small: &Profile, large: &Profile) {
    for (more, name) in differences(&small.by_function, &large.by_function) {
        let per_byte = more / (LARGE - SMALL) as f64;
        if per_byte >= 0.01 {
            println!("{per_byte:>12.2} {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u_boots_rates_are_bytes_a_second() {
        let rate = |digits: &str, unit: &str| super::rate(Some(&digits.to_owned()), Some(&unit.to_owned()));
        assert_eq!(rate("1.5", "MiB"), Some(1_572_864.0));
        assert_eq!(rate("512", "KiB"), Some(524_288.0));
        assert_eq!(rate("7", "Bytes"), Some(7.0));
        assert_eq!(rate("0", "Bytes"), None);
        assert_eq!(rate("1.5", "GiB"), None);
        assert_eq!(rate("..", "MiB"), None);
    }

    #[test]
    fn counts_that_differ_are_refused() {
        assert!(agree(1000.0, 1000.5).is_ok());
        assert!(agree(1000.0, 1002.0).is_err());
        assert!(agree(1002.0, 1000.0).is_err());
    }
}
