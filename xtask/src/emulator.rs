//! Builds our own emulator: QEMU's source, the models of `qemu/models/` and the patch that wires them in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use qemu::emulator::{self, BUILT, CONFIGURE, PATCH, PYTHON, SERIES, SOURCES};

use crate::apt::{Apt, KEYRING};
use crate::program::on_path;
use crate::step::Outcome;

/// Debian's releases that have the series, the newest first.
const RELEASES: [&str; 2] = ["trixie", "bookworm-backports"];

/// Makes sure that [`emulator::installed`] finds it, built from `source` where one is given.
pub(crate) fn ensure(source: Option<&Path>) -> Result<Outcome> {
    let directory = emulator::directory()?;
    let wanted = source.map(version).transpose()?;
    let present = || {
        emulator::installed().ok()?;
        let built = fs::read_to_string(directory.join("version")).unwrap_or_default();
        let built = built.trim();
        let good = wanted.as_ref().is_none_or(|wanted| wanted == built);
        good.then(|| Outcome::Present(format!("QEMU {built} in {}", directory.display())))
    };
    if let Some(present) = present() {
        return Ok(present);
    }
    let partial = directory.with_extension(format!("partial-{}", std::process::id()));
    let work = partial.join("work");
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    // One builds, the others wait for it; the lock ends with its process.
    let lock = directory.with_extension("lock");
    let held = fs::File::create(&lock).with_context(|| lock.display().to_string())?;
    held.lock().with_context(|| lock.display().to_string())?;
    let made = match present() {
        Some(present) => Ok(present),
        None => make(&partial, &work, source).and_then(|version| {
            fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
            if directory.is_dir() {
                fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
            }
            fs::rename(&partial, &directory).with_context(|| directory.display().to_string())?;
            Ok(Outcome::Done(format!(
                "QEMU {version} in {}",
                directory.display()
            )))
        }),
    };
    // Gone when it was renamed.
    let _ = fs::remove_dir_all(&partial);
    made
}

/// Builds in `work` and installs into `directory`; gives QEMU's version.
fn make(directory: &Path, work: &Path, source: Option<&Path>) -> Result<String> {
    let tree = work.join("qemu");
    match source {
        Some(source) => command("cp", &["-a", "--reflink=auto"], &[source, &tree], work)?,
        None => {
            let archive = archive(work)?;
            fs::create_dir(&tree).with_context(|| tree.display().to_string())?;
            command("tar", &["--strip-components=1", "-xf"], &[&archive], &tree)?;
        }
    }
    let version = version(&tree)?;
    println!("setup: emulator: building QEMU {version} with our models; this takes some minutes");
    wire(&tree)?;
    build(&tree, work)?;
    for name in BUILT {
        let built = work.join("build").join(name);
        let place = directory.join(built.file_name().context("qemu: a file without a name")?);
        fs::copy(&built, &place).with_context(|| built.display().to_string())?;
    }
    fs::write(directory.join("version"), format!("{version}\n"))
        .with_context(|| directory.display().to_string())?;
    Ok(version)
}

/// The version of QEMU's source in `tree`, if the patch is for it.
fn version(tree: &Path) -> Result<String> {
    let file = tree.join("VERSION");
    let version = fs::read_to_string(&file).with_context(|| format!("qemu: {}", file.display()))?;
    let version = version.trim();
    let minor = version
        .strip_prefix(SERIES)
        .and_then(|rest| rest.strip_prefix('.'));
    ensure!(
        minor.is_some(),
        "qemu: {} is of QEMU {version}; the patch is for {SERIES}",
        tree.display()
    );
    Ok(version.to_owned())
}

/// The archive of Debian's source package, kept in the cache; apt checks its signature chain.
fn archive(work: &Path) -> Result<PathBuf> {
    let kept = qemu::payload::cache()?.join("qemu-source");
    if let Some(archive) = archive_in(&kept)? {
        return Ok(archive);
    }
    ensure!(
        on_path("apt-get"),
        "no apt to take QEMU's source from; cargo xtask qemu --source DIR takes an unpacked one"
    );
    let mut failed = Vec::new();
    for release in RELEASES {
        let got = Apt::sources(&work.join(release), release, KEYRING).and_then(|apt| {
            apt.update()?;
            apt.source("qemu")
        });
        match got.and_then(|directory| archive_in(&directory)) {
            Ok(Some(archive)) => {
                fs::create_dir_all(&kept).with_context(|| kept.display().to_string())?;
                let place = kept.join(archive.file_name().context("qemu: a file without a name")?);
                // Both are in the cache, so that this leaves all of it or nothing.
                fs::rename(&archive, &place).with_context(|| place.display().to_string())?;
                return Ok(place);
            }
            Ok(None) => failed.push(format!("{release} has no QEMU {SERIES}")),
            Err(error) => failed.push(format!("{release}: {error:#}")),
        }
    }
    bail!("qemu: no source: {}", failed.join("; "))
}

/// The series' source archive in `directory`, which need not exist.
fn archive_in(directory: &Path) -> Result<Option<PathBuf>> {
    if !directory.is_dir() {
        return Ok(None);
    }
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&format!("qemu_{SERIES}.")) && name.ends_with(".orig.tar.xz") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Puts the models and plugins into QEMU's source and applies the patch.
fn wire(tree: &Path) -> Result<()> {
    let sources = emulator::sources();
    for &(file, place) in SOURCES {
        let file = sources.join(file);
        let name = file.file_name().context("qemu: a file without a name")?;
        fs::copy(&file, tree.join(place).join(name)).with_context(|| file.display().to_string())?;
    }
    let patch = sources.join(PATCH);
    command("patch", &["-p1", "--forward", "--fuzz=0", "-i"], &[&patch], tree)
        .context("qemu: the patch does not apply")?;
    for name in firmware_volumes(&fs::read_to_string(tree.join("pc-bios/meson.build"))?) {
        // Debian's archive leaves these out. Nothing here unpacks them, but they have to be there.
        let place = tree.join("pc-bios").join(format!("{name}.bz2"));
        if !place.exists() {
            fs::write(&place, "").with_context(|| place.display().to_string())?;
        }
    }
    Ok(())
}

/// The names in the list `fds` of `pc-bios/meson.build`.
fn firmware_volumes(meson: &str) -> Vec<&str> {
    let mut lines = meson.lines().map(str::trim);
    lines.by_ref().find(|line| *line == "fds = [");
    lines
        .take_while(|line| *line != "]")
        .filter_map(|line| line.strip_prefix('\'')?.strip_suffix("',"))
        .collect()
}

/// Configures and builds `tree` in `work/build`.
fn build(tree: &Path, work: &Path) -> Result<()> {
    let venv = work.join("venv");
    let python = venv.join("bin/python");
    command("python3", &["-m", "venv"], &[&venv], work)?;
    let requirements = work.join("requirements.txt");
    fs::write(&requirements, PYTHON.join("\n"))?;
    let install = ["-m", "pip", "install", "-q", "--disable-pip-version-check"];
    let words: Vec<&str> = install
        .iter()
        .copied()
        .chain(["--only-binary=:all:", "--require-hashes", "-r"])
        .collect();
    command(python.as_os_str(), &words, &[&requirements], work)?;
    let build = work.join("build");
    fs::create_dir(&build).with_context(|| build.display().to_string())?;
    let mut configure = Command::new(tree.join("configure"));
    configure
        .args(CONFIGURE)
        .arg(format!("--python={}", python.display()))
        .current_dir(&build);
    let mut ninja = Command::new("ninja");
    ninja.args(BUILT).current_dir(&build);
    if on_path("ccache") {
        // The same objects wherever they are built.
        configure.env("CC", "ccache cc");
        ninja.env("CCACHE_BASEDIR", work).env("CCACHE_NOHASHDIR", "1");
    }
    quietly(&mut configure, &work.join("log"))?;
    quietly(&mut ninja, &work.join("log"))
}

/// Runs a program in `directory` with words and then files.
fn command(
    program: impl AsRef<std::ffi::OsStr>,
    words: &[&str],
    files: &[&Path],
    directory: &Path,
) -> Result<()> {
    let mut command = Command::new(program);
    command.args(words).args(files).current_dir(directory);
    quietly(&mut command, &directory.join(".bramble-log"))
}

/// The last lines of a log that tell why a program failed.
const LAST_LINES: usize = 30;

/// Runs `command`; what it prints goes to the file `log`, and the end of that into the error when it fails.
fn quietly(command: &mut Command, log: &Path) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = fs::File::create(log).with_context(|| log.display().to_string())?;
    let status = command
        .stdin(Stdio::null())
        .stderr(out.try_clone().context("qemu: log")?)
        .stdout(out)
        .status()
        .with_context(|| name.clone())?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    let end = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or(&[]);
    bail!("{name}: {status}\n{}", end.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_volumes_are_those_of_the_list() {
        let meson = "roms = []\nif unpack_edk2_blobs\n  fds = [\n    'edk2-arm-code.fd',\n    'edk2-arm-vars.fd',\n  ]\n\
                     blobs = [\n  'bios.bin',\n]\n";
        assert_eq!(firmware_volumes(meson), ["edk2-arm-code.fd", "edk2-arm-vars.fd"]);
        assert!(firmware_volumes("blobs = [\n  'bios.bin',\n]\n").is_empty());
    }
}
