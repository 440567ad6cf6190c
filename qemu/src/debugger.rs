//! A client of QEMU's gdbstub, as far as a test needs one: stop, look at registers, change them, go on (GDB manual,
//! "Remote Serial Protocol").

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A register of the core that was stopped, by its number in GDB's description of AArch64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// x0 to x30.
    X(u8),
    /// The stack pointer in use.
    Sp,
    /// The address of the next instruction.
    Pc,
    /// PSTATE, laid out as SPSR_ELx.
    Cpsr,
}

impl Register {
    fn number(self) -> u8 {
        match self {
            Self::X(number) => number,
            Self::Sp => 31,
            Self::Pc => 32,
            Self::Cpsr => 33,
        }
    }

    /// Hexadecimal digits of its value on the wire.
    fn digits(self) -> usize {
        match self {
            Self::X(_) | Self::Sp | Self::Pc => 16,
            Self::Cpsr => 8,
        }
    }
}

/// An attached debugger: the machine stands still until it is dropped or detached.
#[derive(Debug)]
pub struct Debugger {
    stream: UnixStream,
}

impl Debugger {
    /// Connects, which stops the machine.
    pub(crate) fn attach(socket: &Path) -> Result<Self> {
        // QEMU opens it after the serial lines, by which we know that it has started.
        let deadline = Instant::now() + Duration::from_secs(10);
        let stream = loop {
            match UnixStream::connect(socket) {
                Err(error) if error.kind() == ErrorKind::NotFound && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(5));
                }
                connected => break connected.context("debugger: connect")?,
            }
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .context("debugger: socket")?;
        let mut debugger = Self { stream };
        // QEMU accepts writes to single registers only after it was asked for their description.
        debugger.ask("qXfer:features:read:target.xml:0,10")?;
        Ok(debugger)
    }

    /// The value of a register of the first core.
    pub fn read(&mut self, register: Register) -> Result<u64> {
        let answer = self.ask(&format!("p{:x}", register.number()))?;
        let digits = answer
            .get(..register.digits())
            .with_context(|| format!("debugger: {answer}"))?;
        // The least significant byte comes first.
        let value = u64::from_str_radix(&format!("{digits:0<16}"), 16)
            .with_context(|| format!("debugger: {answer}"))?;
        Ok(value.swap_bytes())
    }

    /// Changes a register of the first core.
    pub fn write(&mut self, register: Register, value: u64) -> Result<()> {
        let number = register.number();
        let mut value = format!("{:016x}", value.swap_bytes());
        value.truncate(register.digits());
        let answer = self.ask(&format!("P{number:x}={value}"))?;
        ensure!(answer == "OK", "debugger: {register:?}: {answer}");
        Ok(())
    }

    /// Lets the machine go on until its first core is about to execute the instruction at `address`.
    ///
    /// # Errors
    ///
    /// When it has not come there within 30 s.
    pub fn run_to(&mut self, address: u64) -> Result<()> {
        let breakpoint = format!("1,{address:x},4");
        for packet in [format!("Z{breakpoint}"), format!("z{breakpoint}")] {
            let sets = packet.starts_with('Z');
            let answer = self.ask(&packet)?;
            ensure!(answer == "OK", "debugger: {packet}: {answer}");
            if sets {
                self.stream
                    .write_all(framed("c").as_bytes())
                    .context("debugger: send")?;
                let stop = self.packet()?;
                ensure!(stop.starts_with("T05"), "debugger: stopped by {stop}");
            }
        }
        let at = self.read(Register::Pc)?;
        ensure!(at == address, "debugger: stopped at {at:#x}");
        Ok(())
    }

    /// Lets the machine go on.
    pub fn detach(mut self) -> Result<()> {
        let answer = self.ask("D")?;
        ensure!(answer == "OK", "debugger: detach: {answer}");
        Ok(())
    }

    fn ask(&mut self, packet: &str) -> Result<String> {
        self.stream
            .write_all(framed(packet).as_bytes())
            .context("debugger: send")?;
        loop {
            let answer = self.packet()?;
            // QEMU also reports by itself that the machine has stopped.
            if !answer.starts_with('T') {
                return Ok(answer);
            }
        }
    }

    fn packet(&mut self) -> Result<String> {
        let mut answer = String::new();
        // Skips the acknowledgement in front of the packet.
        while self.byte()? != b'$' {}
        loop {
            match self.byte()? {
                b'#' => break,
                byte => answer.push(char::from(byte)),
            }
            if answer.len() > 4096 {
                bail!("debugger: a packet without end");
            }
        }
        let checksum = [self.byte()?, self.byte()?].map(char::from);
        let expected = framed(&answer);
        ensure!(
            expected.ends_with(&checksum.iter().collect::<String>()),
            "debugger: checksum of {answer}"
        );
        // A machine that goes on may have ended by now; whoever asks it next will learn that.
        let _ = self.stream.write_all(b"+");
        Ok(answer)
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).context("debugger: receive")?;
        Ok(byte[0])
    }
}

/// A packet: `$`, its text, `#`, and the sum of its bytes modulo 256.
fn framed(packet: &str) -> String {
    let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
    format!("${packet}#{sum:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A debugger whose stub answers with these bytes.
    fn answering(bytes: &[u8]) -> (Debugger, UnixStream) {
        let (stream, mut stub) = UnixStream::pair().unwrap();
        stub.write_all(bytes).unwrap();
        (Debugger { stream }, stub)
    }

    #[test]
    fn registers_are_little_endian_digits() {
        let (mut debugger, mut stub) =
            answering(b"+$T02thread:01;#04$0000203b00000000#37+$OK#9a+$c8030060#c4+$OK#9a");
        assert_eq!(debugger.read(Register::Pc).unwrap(), 0x3b20_0000);
        debugger.write(Register::Sp, 0x1234).unwrap();
        assert_eq!(debugger.read(Register::Cpsr).unwrap(), 0x6000_03c8);
        debugger.write(Register::Cpsr, 0x6000_03c9).unwrap();
        drop(debugger);
        let mut sent = String::new();
        stub.read_to_string(&mut sent).unwrap();
        assert_eq!(
            sent,
            "$p20#d2++$P1f=3412000000000000#2e+$p21#d3+$P21=c9030060#b5+"
        );
    }

    #[test]
    fn a_refusal_or_rubbish_is_an_error() {
        for bytes in [&b"+$E14#aa"[..], b"+$0000203b00000000#00", b"+$zz#f4"] {
            let (mut debugger, _stub) = answering(bytes);
            assert!(debugger.read(Register::X(0)).is_err());
        }
    }
}
