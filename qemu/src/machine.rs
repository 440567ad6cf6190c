//! A QEMU machine: its board, image and network as a command line, and the process that runs it.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::board::Board;
use crate::capture;
use crate::coherence::{self, Coherence};
use crate::console::Console;
use crate::debugger::Debugger;
use crate::emulator;
use crate::firmware::{Firmware, Uart};
use crate::monitor::Monitor;
use crate::profile::{self, Instruction};
use crate::stub;

/// QEMU's serial lines, and the socket of each in a run's directory.
const SERIAL_LINES: [&str; 2] = ["uart0", "uart1"];

/// The debugger's socket in a run's directory.
const DEBUGGER: &str = "gdb";

/// The monitor's.
pub(crate) const MONITOR: &str = "monitor";

/// Where the plugins write, in a run's directory.
const PLUGINS: &str = "plugins";

/// How the image gets into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// QEMU's `-kernel`: QEMU loads the image as its header asks and starts it at EL2.
    Kernel,
    /// The Pi firmware's way: our stub at 0, the image at this address, the device tree high in the first bank, GPIO
    /// 14 and 15 routed to the console.
    At(u64),
}

/// The network that the board's NIC is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Net {
    netdev: String,
}

impl Net {
    /// No network: the NIC's cable is not plugged in.
    pub fn none() -> Self {
        Self {
            netdev: "hubport,id=net0,hubid=0".to_owned(),
        }
    }

    /// QEMU's user network, which needs no root: the guest is 10.0.2.15, and 10.0.2.2 is this host's loopback.
    pub fn user() -> Self {
        Self {
            netdev: "user,id=net0,domainname=bramble.test,hostname=node".to_owned(),
        }
    }

    /// The tap device of this name, made by the caller.
    pub fn tap(name: &str) -> Self {
        Self {
            netdev: format!("tap,id=net0,ifname={name},script=no,downscript=no"),
        }
    }

    /// A wire whose frames are UDP datagrams between two ports of this host, QEMU's and another's.
    pub fn udp(qemu: SocketAddr, other: SocketAddr) -> Self {
        Self {
            netdev: format!("socket,id=net0,localaddr={qemu},udp={other}"),
        }
    }

    /// The value of QEMU's `-netdev`, whose id is `net0`.
    pub(crate) fn netdev(&self) -> &str {
        &self.netdev
    }

    /// Adds the user network's DHCP boot file (127 bytes at most).
    pub fn boot_file(self, url: impl AsRef<str>) -> Self {
        self.option("bootfile", url.as_ref())
    }

    /// Adds one option of QEMU's `-netdev`, such as `tftp`.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        // A comma in a value is doubled in QEMU's option syntax.
        self.netdev
            .push_str(&format!(",{name}={}", value.replace(',', ",,")));
        self
    }
}

/// A machine to be started: a builder.
#[derive(Debug, Clone)]
pub struct Machine {
    board: Board,
    image: PathBuf,
    entry: Entry,
    firmware: Firmware,
    device_tree: Option<Vec<u8>>,
    device_tree_address: Option<u64>,
    serial: bool,
    debugger: bool,
    initrd: Option<PathBuf>,
    initrd_address: Option<u64>,
    nic: bool,
    nic_options: Vec<(String, String)>,
    net: Net,
    capture: Option<PathBuf>,
    namespace: Option<String>,
    instruction_clock: bool,
    with_models: bool,
    count_instructions: bool,
    profile: bool,
    watch_caches: bool,
    without_maintenance: Vec<u64>,
    other_cores_rest: bool,
    thread_for_each_core: bool,
    starts_over: bool,
    arguments: Vec<OsString>,
}

impl Machine {
    /// This board with this image, started by QEMU's `-kernel`, with the user network and a minimal device tree.
    pub fn new(board: Board, image: impl Into<PathBuf>) -> Self {
        Self {
            board,
            image: image.into(),
            entry: Entry::Kernel,
            firmware: Firmware::default(),
            device_tree: None,
            device_tree_address: None,
            serial: true,
            debugger: false,
            initrd: None,
            initrd_address: None,
            nic: true,
            nic_options: vec![],
            net: Net::user(),
            capture: None,
            namespace: None,
            instruction_clock: false,
            with_models: false,
            count_instructions: false,
            profile: false,
            watch_caches: false,
            without_maintenance: vec![],
            other_cores_rest: false,
            thread_for_each_core: false,
            starts_over: false,
            arguments: vec![],
        }
    }

    /// How the image gets into memory.
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entry = entry;
        self
    }

    /// What the firmware writes into the device tree: serial, MAC, cmdline.txt, console.
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// The stock device tree for the firmware to patch, in place of [`Firmware::minimal`].
    pub fn device_tree(mut self, stock: Vec<u8>) -> Self {
        self.device_tree = Some(stock);
        self
    }

    /// Where the firmware leaves the device tree, in place of its usual place; only with [`Entry::At`].
    pub fn device_tree_at(mut self, address: u64) -> Self {
        self.device_tree_address = Some(address);
        self
    }

    /// Nothing is connected to either UART: both consoles stay empty.
    pub fn no_serial(mut self) -> Self {
        self.serial = false;
        self
    }

    /// Lets [`Qemu::debugger`] attach.
    pub fn debugger(mut self) -> Self {
        self.debugger = true;
        self
    }

    /// An initrd: with [`Entry::Kernel`] loaded by QEMU itself, for booting Linux without Bramble; with [`Entry::At`] what
    /// the firmware makes of config.txt's `initramfs`, high in the first bank with the device tree below it.
    pub fn initrd(mut self, file: impl Into<PathBuf>) -> Self {
        self.initrd = Some(file.into());
        self
    }

    /// Where the firmware leaves it, in place of its usual place; only with [`Entry::At`].
    pub fn initrd_at(mut self, address: u64) -> Self {
        self.initrd_address = Some(address);
        self
    }

    /// Nothing is plugged into USB, or into the board's own NIC: there is no network.
    pub fn no_nic(mut self) -> Self {
        self.nic = false;
        self
    }

    /// Sets a property of the NIC's model, such as `start` or `faults`.
    pub fn nic_option(mut self, name: &str, value: impl ToString) -> Self {
        self.nic_options.push((name.to_owned(), value.to_string()));
        self
    }

    /// The network.
    pub fn net(mut self, net: Net) -> Self {
        self.net = net;
        self
    }

    /// Writes every frame to this pcap file, which [`crate::capture`] reads; its times are guest time.
    pub fn capture(mut self, pcap: impl Into<PathBuf>) -> Self {
        self.capture = Some(pcap.into());
        self
    }

    /// Runs QEMU inside this network namespace (`ip netns exec`, root only).
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// One guest instruction takes one nanosecond of guest time (`-icount shift=0`), so that guest time counts
    /// instructions. Slower.
    pub fn instruction_clock(mut self) -> Self {
        self.instruction_clock = true;
        self
    }

    /// Runs on the emulator of `cargo xtask qemu` even where a stock QEMU would do, for figures that compare boards.
    pub fn with_models(mut self) -> Self {
        self.with_models = true;
        self
    }

    /// Counts the instructions that the guest executes, for [`Qemu::instructions`]; implies [`Self::with_models`], whose
    /// plugin counts. Guest time goes on as usual; the emulator is slower.
    pub fn count_instructions(mut self) -> Self {
        self.count_instructions = true;
        self.with_models()
    }

    /// Also counts where they were executed, for [`Qemu::executed`].
    pub fn profile(mut self) -> Self {
        self.profile = true;
        self.count_instructions()
    }

    /// Models what the first core's caches may do to the program, for [`Qemu::coherence`]; implies
    /// [`Self::with_models`] and [`Self::other_cores_rest`]. The emulator is slower.
    pub fn watch_caches(mut self) -> Self {
        self.watch_caches = true;
        self.with_models().other_cores_rest()
    }

    /// For who watches caches: maintenance by the instruction at this address, or by the function that it calls, does not count.
    pub fn without_maintenance(mut self, address: u64) -> Self {
        self.without_maintenance.push(address);
        self
    }

    /// The other three cores rest for good; only with [`Entry::At`], and for programs that run on one. QEMU takes a
    /// WFE without an event stream, in which cores wait to be released, for no operation: they would spin, on the host's
    /// processors too.
    pub fn other_cores_rest(mut self) -> Self {
        self.other_cores_rest = true;
        self
    }

    /// Runs each core on a host thread of its own, for figures: who uses several gets several of the host's processors.
    /// Cores that wait in WFE without an event stream spin.
    pub fn thread_for_each_core(mut self) -> Self {
        self.thread_for_each_core = true;
        self
    }

    /// A reset is the next boot, in place of the end of QEMU.
    pub fn starts_over(mut self) -> Self {
        self.starts_over = true;
        self
    }

    /// A reset or a power-off holds the machine, so that its memory and registers can be looked at ([`crate::Monitor::has_ended`]).
    pub fn held_at_its_end(self) -> Self {
        self.starts_over()
            .argument("-action")
            .argument("reboot=shutdown,shutdown=pause")
    }

    /// Adds one argument to QEMU's command line.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts QEMU. It exits when the guest powers off or resets.
    ///
    /// # Errors
    ///
    /// When QEMU cannot be started or refuses its arguments (with what it said), or the device tree cannot be
    /// written.
    pub fn start(self) -> Result<Qemu> {
        if let Some(reason) = self.board.unavailable() {
            bail!("board {}: {reason}", self.board.name());
        }
        // QEMU's own message about a missing image does not say which of its files it means.
        fs::metadata(&self.image).with_context(|| format!("image {}", self.image.display()))?;
        let directory = Directory::new()?;
        let tree = match &self.device_tree {
            Some(stock) => self.firmware.patch(stock, self.board)?,
            None => self.firmware.minimal(self.board)?,
        };
        let listeners = SERIAL_LINES.map(|name| UnixListener::bind(directory.0.join(name)));
        let mut command = self.command(&directory.0, &tree)?;
        let errors = directory.0.join("stderr");
        let mut process = Process::start(&mut command, &errors)?;
        let mut accept = |listener: std::io::Result<UnixListener>| {
            let listener = listener.context("qemu: serial socket")?;
            if self.serial {
                connect(&listener, &mut process, &errors).and_then(Console::new)
            } else {
                Console::unconnected()
            }
        };
        let [pl011, mini] = listeners.map(&mut accept);
        let (pl011, mini) = match (pl011, mini) {
            (Ok(pl011), Ok(mini)) => (pl011, mini),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        Ok(Qemu {
            process,
            pl011,
            mini,
            uart: self.firmware.uart,
            nic: self.board.nic_path(),
            directory,
        })
    }

    /// The whole command, whose files it writes to `directory`.
    fn command(&self, directory: &Path, tree: &[u8]) -> Result<Command> {
        let mut command = self.program()?;
        command.args(["-machine", self.board.qemu_machine()]);
        // One host thread for all cores: with a thread each, those that wait in the stub's WFE loop spin, and take the
        // host's processors from the one that works.
        let threads = if self.thread_for_each_core {
            "multi"
        } else {
            "single"
        };
        command.args(["-accel", &format!("tcg,thread={threads}")]);
        command.args(["-display", "none", "-monitor", "none"]);
        if !self.starts_over {
            command.arg("-no-reboot");
        }
        // Ahead of the serial lines, whose opening tells that QEMU listens here too.
        command.args(monitor_arguments(directory)?);
        self.lines(&mut command, directory)?;
        self.loads(&mut command, directory, tree)?;
        self.network(&mut command)?;
        self.plugins(&mut command, directory)?;
        command.args(&self.arguments);
        Ok(command)
    }

    /// The emulator, in its network namespace.
    fn program(&self) -> Result<Command> {
        let program = if self.with_models {
            emulator::with_models()?
        } else {
            self.board.program()?
        };
        Ok(match &self.namespace {
            Some(name) => {
                let mut ip = Command::new("ip");
                ip.args(["netns", "exec", name]).arg(program);
                ip
            }
            None => Command::new(program),
        })
    }

    /// The debugger's line and the serial ones.
    fn lines(&self, command: &mut Command, directory: &Path) -> Result<()> {
        if self.debugger {
            let socket = option_value(&directory.join(DEBUGGER))?;
            command.args(["-gdb", &format!("unix:{socket},server=on,wait=off")]);
        }
        for name in SERIAL_LINES {
            if !self.serial {
                command.args(["-serial", "none"]);
                continue;
            }
            let socket = option_value(&directory.join(name))?;
            command.args(["-chardev", &format!("socket,id={name},path={socket}")]);
            command.args(["-serial", &format!("chardev:{name}")]);
        }
        Ok(())
    }

    /// What is in memory when the machine starts, and where it starts.
    fn loads(&self, command: &mut Command, directory: &Path, tree: &[u8]) -> Result<()> {
        let dtb = directory.join("board.dtb");
        let mut tree = Cow::Borrowed(tree);
        let initrd = match (&self.initrd, self.entry) {
            (Some(file), Entry::At(_)) => Some(self.initrd_place(file)?),
            _ => None,
        };
        if self.entry != Entry::Kernel {
            tree = self.firmware.with_bootloader(&tree, initrd.clone())?.into();
        }
        fs::write(&dtb, &tree).context("qemu: device tree file")?;
        match self.entry {
            Entry::Kernel => {
                ensure!(
                    !self.other_cores_rest,
                    "qemu: with QEMU's -kernel, the cores wait in QEMU's own code"
                );
                command.arg("-kernel").arg(&self.image).arg("-dtb").arg(&dtb);
                if let Some(initrd) = &self.initrd {
                    command.arg("-initrd").arg(initrd);
                }
            }
            Entry::At(address) => {
                let tree_address = self.device_tree_address.unwrap_or_else(|| match &initrd {
                    Some(initrd) => below(initrd.start, tree.len()),
                    None => device_tree_address(self.board),
                });
                let stub = directory.join("stub");
                fs::write(
                    &stub,
                    stub::stub(
                        self.board,
                        self.firmware.uart,
                        address,
                        &stub::DeviceTree {
                            address: tree_address,
                            blob: &tree,
                            bootloader: Firmware::bootloader_values(&tree)?,
                        },
                        self.other_cores_rest,
                    )?,
                )
                .context("qemu: stub file")?;
                let loaded = [(&stub, 0), (&self.image, address), (&dtb, tree_address)];
                let initrd = self.initrd.iter().zip(initrd.map(|initrd| initrd.start));
                for (file, address) in loaded.into_iter().chain(initrd) {
                    let file = option_value(file)?;
                    command.args([
                        "-device",
                        &format!("loader,file={file},addr={address:#x},force-raw=on"),
                    ]);
                }
            }
        }
        Ok(())
    }

    /// Where the firmware leaves an initrd.
    fn initrd_place(&self, file: &Path) -> Result<Range<u64>> {
        let length = fs::metadata(file)
            .with_context(|| format!("initrd {}", file.display()))?
            .len();
        let high = || {
            let start = high_end(self.board).checked_sub(length);
            start.map(|start| start & !0xfff)
        };
        let start = self.initrd_address.or_else(high);
        let start = start.with_context(|| format!("an initrd of {length} bytes"))?;
        Ok(start..start + length)
    }

    /// The NIC, what its cable leads to, and who listens on it.
    fn network(&self, command: &mut Command) -> Result<()> {
        if self.nic {
            command.args(["-netdev", &self.net.netdev]);
            let driver = self.board.nic_driver();
            for (name, value) in &self.nic_options {
                command.args(["-global", &format!("{driver}.{name}={value}")]);
            }
            command.args(self.board.nic(&self.firmware.mac_text()));
            if let Some(pcap) = &self.capture {
                let pcap = option_value(pcap)?;
                // QEMU takes the date for local time when it stamps frames.
                command.env("TZ", "UTC");
                command.args(["-rtc", &format!("base={},clock=vm", capture::EPOCH)]);
                command.args([
                    "-object",
                    &format!("filter-dump,id=dump0,netdev=net0,file={pcap}"),
                ]);
            }
        } else {
            // QEMU would plug a user network into the NIC of a board that has one.
            command.args(["-nic", "none"]);
        }
        Ok(())
    }

    /// What counts or watches the guest's instructions.
    fn plugins(&self, command: &mut Command, directory: &Path) -> Result<()> {
        if self.instruction_clock {
            command.args(["-icount", "shift=0"]);
        }
        if self.count_instructions {
            let counter = option_value(&emulator::counter()?)?;
            command.args(["-plugin", &format!("{counter},inline=on")]);
        }
        if self.profile {
            let profiler = option_value(&emulator::profiler()?)?;
            command.args(["-plugin", &profiler]);
        }
        if self.watch_caches {
            let mut caches = option_value(&emulator::caches()?)?;
            for address in &self.without_maintenance {
                caches.push_str(&format!(",without={address:x}"));
            }
            command.args(["-plugin", &caches]);
        }
        if self.count_instructions || self.watch_caches {
            command.args(["-d", "plugin", "-D"]).arg(directory.join(PLUGINS));
        }
        Ok(())
    }
}

/// Arguments for a monitor at [`MONITOR`] in `directory`.
pub(crate) fn monitor_arguments(directory: &Path) -> Result<[String; 4]> {
    let socket = option_value(&directory.join(MONITOR))?;
    Ok([
        "-chardev".to_owned(),
        format!("socket,id=monitor,path={socket},server=on,wait=off"),
        "-mon".to_owned(),
        "chardev=monitor,mode=control".to_owned(),
    ])
}

/// One past the highest that the firmware leaves in the first bank (E).
fn high_end(board: Board) -> u64 {
    board.memory_end().min(0x2f00_0000)
}

/// Where the firmware leaves the device tree: high in the first bank, on no page boundary.
fn device_tree_address(board: Board) -> u64 {
    high_end(board) - 0xd400
}

/// Where it leaves a tree of this length below something else (E).
fn below(end: u64, length: usize) -> u64 {
    end.saturating_sub(length as u64) & !0x1ff
}

/// A path inside a QEMU option, where a comma is doubled.
pub(crate) fn option_value(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("qemu: {} is not UTF-8", path.display()))?;
    Ok(text.replace(',', ",,"))
}

/// Waits until QEMU connects to a socket of ours, or ends because it refused something.
pub(crate) fn connect(listener: &UnixListener, process: &mut Process, errors: &Path) -> Result<UnixStream> {
    listener.set_nonblocking(true).context("qemu: socket")?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).context("qemu: socket")?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("qemu: socket"),
        }
        if let Some(status) = process.0.try_wait().context("qemu: wait")? {
            let said = fs::read_to_string(errors).unwrap_or_default();
            bail!("qemu: ended with {status}: {}", said.trim());
        }
        ensure!(Instant::now() < deadline, "qemu: did not connect to its sockets");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running machine. Dropping it ends the emulator.
#[derive(Debug)]
pub struct Qemu {
    process: Process,
    pl011: Console,
    mini: Console,
    uart: Uart,
    nic: &'static str,
    directory: Directory,
}

impl Qemu {
    /// The UART that the firmware made the console.
    pub fn console(&mut self) -> &mut Console {
        self.uart(self.uart)
    }

    /// Either UART.
    pub fn uart(&mut self, uart: Uart) -> &mut Console {
        match uart {
            Uart::Pl011 => &mut self.pl011,
            Uart::Mini => &mut self.mini,
        }
    }

    /// Waits until the guest powers off or resets, either of which ends QEMU.
    ///
    /// # Errors
    ///
    /// When it is still running after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.process.0.try_wait().context("qemu: wait")? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "qemu: still running after {} s",
                patience.as_secs()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops the machine and attaches a debugger, where [`Machine::debugger`] allowed one.
    pub fn debugger(&self) -> Result<Debugger> {
        Debugger::attach(&self.directory.0.join(DEBUGGER))
    }

    /// Connects to QEMU's monitor, which takes one connection at a time.
    pub fn monitor(&self) -> Result<Monitor> {
        Monitor::connect(&self.directory.0.join(MONITOR))
    }

    /// The NIC's place in QEMU's tree of objects.
    pub fn nic_path(&self) -> &'static str {
        self.nic
    }

    /// A counter or setting of the NIC's model, such as `faults-injected`.
    pub fn nic_number(&self, property: &str) -> Result<u64> {
        self.monitor()?.number(self.nic, property)
    }

    /// How many instructions all cores together executed, of a machine that [`Machine::count_instructions`] and that has
    /// ended by itself or by [`Monitor::quit`].
    pub fn instructions(&self) -> Result<u64> {
        profile::instructions(&self.said_by_plugins()?).context("qemu: instructions: no total yet")
    }

    /// How often each instruction was executed, by any core, of a machine that [`Machine::profile`] and that has ended
    /// likewise.
    pub fn executed(&self) -> Result<Vec<Instruction>> {
        profile::executed(&self.said_by_plugins()?).context("qemu: instructions: no profile yet")
    }

    /// What the model of the caches has found so far, of a machine that [`Machine::watch_caches`].
    pub fn coherence(&self) -> Result<Coherence> {
        Ok(coherence::parse(&self.said_by_plugins()?))
    }

    /// The plugins' output.
    fn said_by_plugins(&self) -> Result<String> {
        fs::read_to_string(self.directory.0.join(PLUGINS)).context("qemu: no plugin was asked")
    }

    /// QEMU's own error output so far.
    pub fn complaints(&self) -> String {
        fs::read_to_string(self.directory.0.join("stderr")).unwrap_or_default()
    }
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it without input; its error output goes to `errors`.
    pub(crate) fn start(command: &mut Command, errors: &Path) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(errors).context("qemu: its error file")?)
            .spawn()
            .map(Self)
            .with_context(|| format!("qemu: {}", command.get_program().display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both calls fail only when the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory for one run's files, removed with it.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "bramble-qemu-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("qemu: {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use dtoolkit::{Node, Property};

    use super::*;

    fn line(machine: &Machine) -> String {
        let directory = Directory::new().unwrap();
        let tree = Firmware::default().minimal(machine.board).unwrap();
        let command = machine.command(&directory.0, &tree).unwrap();
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ").replace(directory.0.to_str().unwrap(), "DIR")
    }

    #[test]
    fn the_hub_stands_between_the_port_and_the_nic() {
        let machine = Machine::new(Board::UsbNetHub3b, "kernel8.img");
        let line = line(&machine);
        assert!(line.contains(
            "-device usb-hub,port=1 -device usb-net,id=nic,netdev=net0,mac=b8:27:eb:a3:b1:e5,port=1.1"
        ));
        assert!(line.contains("-kernel kernel8.img -dtb DIR/board.dtb"), "{line}");
    }

    #[test]
    fn the_firmware_way_loads_stub_image_and_tree() {
        let machine = Machine::new(Board::UsbNet3aPlus, "odd,name").entry(Entry::At(0x8_0000));
        let line = line(&machine);
        for loaded in [
            "file=DIR/stub,addr=0x0,",
            "file=odd,,name,addr=0x80000,",
            "file=DIR/board.dtb,addr=0x1bff2c00,",
        ] {
            assert!(line.contains(loaded), "{loaded} in {line}");
        }
        assert!(!line.contains("-kernel"), "{line}");
    }

    #[test]
    fn the_firmware_leaves_an_initramfs_high_and_the_tree_below_it() {
        let directory = Directory::new().unwrap();
        let initramfs = directory.path().join("initramfs");
        fs::write(&initramfs, vec![7; 0x1_2345]).unwrap();
        let machine = Machine::new(Board::Pi4b, "k")
            .entry(Entry::At(0x20_0000))
            .initrd(&initramfs);
        let command = |machine: &Machine| {
            let run = Directory::new().unwrap();
            let tree = Firmware::default().minimal(machine.board).unwrap();
            machine.command(run.path(), &tree).map(|command| {
                let words: Vec<_> = command
                    .get_args()
                    .map(|word| word.to_string_lossy().into_owned())
                    .collect();
                (words.join(" "), fs::read(run.path().join("board.dtb")).unwrap())
            })
        };
        // Without our emulator there is no such board, and no command.
        if Board::Pi4b.unavailable().is_some() {
            return crate::skip("initramfs", "no emulator");
        }
        let (line, tree) = command(&machine).unwrap();
        assert!(line.contains("initramfs,addr=0x2efed000,"), "{line}");
        let place = below(0x2efe_d000, tree.len());
        assert!(place.is_multiple_of(0x200) && place + tree.len() as u64 <= 0x2efe_d000);
        assert!(line.contains(&format!("board.dtb,addr={place:#x},")), "{line}");
        let fdt = dtoolkit::fdt::Fdt::new(&tree).unwrap();
        let chosen = fdt.find_node("/chosen").unwrap();
        for (name, value) in [("start", 0x2efe_d000_u32), ("end", 0x2eff_f345)] {
            let property = chosen.property(&format!("linux,initrd-{name}")).unwrap();
            assert_eq!(property.value(), value.to_be_bytes());
        }
        let (line, _) = command(&machine.clone().initrd_at(0x100_0000).device_tree_at(0x80_0000)).unwrap();
        assert!(line.contains("initramfs,addr=0x1000000,"), "{line}");
        assert!(line.contains("board.dtb,addr=0x800000,"), "{line}");
        let gone = machine.initrd("none");
        assert!(command(&gone).is_err());
    }

    #[test]
    fn the_nics_model_is_told_its_options() {
        let machine = Machine::new(Board::UsbNet3b, "k").nic_option("faults", 7);
        let line = line(&machine);
        assert!(
            line.contains("-global usb-net.faults=7 -device usb-net,"),
            "{line}"
        );
        let line = self::line(&machine.no_nic());
        assert!(!line.contains("usb-net") && line.contains("-nic none"), "{line}");
    }
}
