//! The fuzz targets, built as `cargo fuzz build --sanitizer none` does but with any compiler, and a million executions of each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::program::{cargo, execute, on_path, output};

/// Each target, and the longest input that it is given: enough for every rule, little enough for a million.
const TARGETS: [(&str, usize); 18] = [
    ("pxelinux", 256),
    ("script", 256),
    ("expand", 96),
    ("value", 256),
    ("url", 512),
    ("dhcp", 768),
    ("http", 512),
    ("formats", 1024),
    ("tftp", 512),
    ("ntp", 64),
    ("keys", 64),
    ("cmdline", 256),
    ("initramfs", 1024),
    ("vlan", 96),
    ("usb", 256),
    ("bursts", 512),
    ("mailbox", 96),
    ("mii", 256),
];
/// Executions of each target.
const RUNS: usize = 1_000_000;
/// Lines of a panic that are worth showing.
const MOST_SAID: usize = 30;
/// Targets that run at once.
const AT_ONCE: usize = 2;

/// What libFuzzer needs to see where an input led, and the way to what `boot` and `kernel` keep to themselves.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// What became of all of them.
pub(crate) enum Outcome {
    /// Why none could be run.
    Skipped(String),
    /// Each target's end.
    Ran(Vec<(&'static str, Result<()>)>),
}

/// Builds the targets and runs each; the corpus in the checkout is read only.
pub(crate) fn run() -> Result<Outcome> {
    if !on_path("c++") {
        return Ok(Outcome::Skipped(
            "fuzz: needs a C++ compiler for libFuzzer (Debian: g++)".to_owned(),
        ));
    }
    let manifest = ["--manifest-path", "fuzz/Cargo.toml", "--locked"];
    if let Err(error) = output(cargo().arg("fetch").args(manifest)) {
        return Ok(Outcome::Skipped(format!("fuzz: its crates: {error:#}")));
    }
    let host = host()?;
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--target", &host, "--target-dir"]);
    build.arg("fuzz/target").args(manifest);
    // With a target named, build scripts and macros stay without instrumentation.
    execute(
        build
            .env("RUSTFLAGS", FLAGS)
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    )?;
    let programs = Path::new("fuzz/target").join(host).join("release");
    let mut ends = Vec::new();
    for group in TARGETS.chunks(AT_ONCE) {
        let running: Vec<_> = group
            .iter()
            .map(|&(name, longest)| (name, start(&programs, name, longest)))
            .collect();
        for (name, child) in running {
            ends.push((name, child.and_then(|(child, log)| end(child, &log))));
        }
    }
    Ok(Outcome::Ran(ends))
}

/// The compiler's own target.
fn host() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc: no host")?.to_owned())
}

/// Starts a target; what it finds goes to a directory of its own below the build's.
fn start(programs: &Path, name: &str, longest: usize) -> Result<(Child, PathBuf)> {
    let found = Path::new("fuzz/target/found").join(name);
    // Every run is the same, whatever the one before it found.
    if found.exists() {
        fs::remove_dir_all(&found).with_context(|| found.display().to_string())?;
    }
    let artifacts = Path::new("fuzz/artifacts").join(name);
    for directory in [&found, &artifacts] {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let log = found.with_extension("log");
    let file = fs::File::create(&log).with_context(|| log.display().to_string())?;
    let child = Command::new(programs.join(name))
        .args([format!("-runs={RUNS}"), format!("-max_len={longest}")])
        .args(["-seed=1", "-timeout=10", "-rss_limit_mb=1024"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([found, Path::new("fuzz/corpus").join(name)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .with_context(|| name.to_owned())?;
    Ok((child, log))
}

/// Waits for a target; its failure names the input's file, and has what it says and the input itself: where the tests ran
/// in a clean machine, neither file outlives them.
fn end(mut child: Child, log: &Path) -> Result<()> {
    let status = child.wait().context("fuzz")?;
    let said = fs::read(log).with_context(|| log.display().to_string())?;
    let said = String::from_utf8_lossy(&said);
    if status.success() {
        println!("{}: {}", log.display(), said.lines().last().unwrap_or_default());
        return Ok(());
    }
    let file = said
        .lines()
        .find_map(|line| line.split_once("Test unit written to "));
    let panic: String = said
        .lines()
        .skip_while(|line| !line.contains("panicked at"))
        .take(MOST_SAID)
        .fold(String::new(), |text, line| format!("{text}\n  {line}"));
    let base64 = |line: &&str| line.contains("Base64: ");
    let input = said.lines().find(base64).unwrap_or_default();
    match file {
        Some((_, file)) => bail!(
            "{status}; the input is {file}, the log {}{panic}\n  {input}",
            log.display()
        ),
        None => bail!("{status}; the log is {}{panic}", log.display()),
    }
}
