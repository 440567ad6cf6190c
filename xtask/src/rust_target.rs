//! The Rust target `aarch64-unknown-none`: found, built from an archive of rust-src that is here, added by rustup, or built from Debian's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt;
use crate::program::{cargo, execute, on_path, output};
use crate::scratch::Scratch;
use crate::step::Outcome;

/// The target of boot and kernel.
pub(crate) const TARGET: &str = "aarch64-unknown-none";

/// The libraries that make the target; what each file's name begins with.
const LIBRARIES: [&str; 3] = ["libcore-", "liballoc-", "libcompiler_builtins-"];

/// Makes sure that plain cargo can build for the target.
pub(crate) fn ensure() -> Result<Outcome> {
    let rustup = on_path("rustup").then(|| Command::new("rustup"));
    Toolchain::here()?.ensure(rustup, cargo())
}

/// The compiler that lacks the target's libraries, and where they may come from.
struct Toolchain {
    version: String,
    sysroot: PathBuf,
    /// Where it looks for the libraries.
    libdir: PathBuf,
    /// An archive of its rust-src.
    archive: Option<PathBuf>,
    /// A directory that may be filled, and is removed again.
    scratch: PathBuf,
}

fn complete(libdir: &Path) -> bool {
    LIBRARIES.iter().all(|prefix| rlib(libdir, prefix).is_ok())
}

/// The one library in `directory` whose name begins with `prefix`.
fn rlib(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry.with_context(|| directory.display().to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(prefix) && name.ends_with(".rlib") {
            found.push(path);
        }
    }
    ensure!(
        found.len() == 1,
        "{} files {prefix}*.rlib in {}",
        found.len(),
        directory.display()
    );
    found.pop().context("none")
}

impl Toolchain {
    /// The one on the PATH. An archive that the environment names is taken, else one that lies beside the checkout.
    fn here() -> Result<Self> {
        let rustc = |words: &[&str]| output(Command::new("rustc").args(words));
        let version = rustc(&["--version"])?;
        let version = version.split(' ').nth(1).context("rustc --version names none")?;
        let beside = PathBuf::from(format!("../shared/rust-src-{version}.tar.xz"));
        let named = std::env::var_os("BRAMBLE_RUST_SRC").map(PathBuf::from);
        Ok(Self {
            version: version.to_owned(),
            sysroot: rustc(&["--print", "sysroot"])?.trim().into(),
            libdir: rustc(&["--print", "target-libdir", "--target", TARGET])?
                .trim()
                .into(),
            archive: named.or_else(|| beside.exists().then_some(beside)),
            scratch: qemu::payload::cache()?.join(format!("rust-src-{}", std::process::id())),
        })
    }

    /// Does nothing, or what needs no network, or what needs one, in this order: where there is an archive, a network may not
    /// be ours to try.
    fn ensure(&self, rustup: Option<Command>, cargo: Command) -> Result<Outcome> {
        if complete(&self.libdir) {
            return Ok(Outcome::Present(self.libdir.display().to_string()));
        }
        if self.archive.is_some() {
            return self.build(cargo).map(Outcome::Done);
        }
        let rustup = match rustup.map(|mut rustup| execute(rustup.args(["target", "add", TARGET]))) {
            Some(Ok(())) if complete(&self.libdir) => {
                return Ok(Outcome::Done("rustup target add".to_owned()));
            }
            Some(Ok(())) => "rustup did not add the libraries".to_owned(),
            Some(Err(error)) => format!("{error:#}"),
            None => "no rustup".to_owned(),
        };
        println!("setup: rust target: {rustup}; building it from rust-src");
        let built = self.build(cargo).with_context(|| format!("{rustup}; rust-src"))?;
        Ok(Outcome::Done(built))
    }

    /// Builds the libraries from the sources of exactly this compiler into its sysroot.
    fn build(&self, mut cargo: Command) -> Result<String> {
        let scratch = Scratch::new(&self.scratch)?;
        let (library, origin) = self.sources(&scratch.0)?;
        // cargo looks for the sources there and nowhere else.
        let _linked = Link::new(&library, &self.sysroot.join("lib/rustlib/src/rust/library"))?;
        let package = scratch.0.join("package");
        fs::create_dir_all(package.join("src"))?;
        fs::write(package.join("src/lib.rs"), "#![no_std]\n")?;
        fs::write(
            package.join("Cargo.toml"),
            "[package]\nname = \"empty\"\nedition = \"2024\"\n[workspace]\n",
        )?;
        let target = scratch.0.join("target");
        cargo
            .current_dir(&package)
            .args(["build", "--release", "--target", TARGET])
            .arg("-Zbuild-std=core,alloc,compiler_builtins")
            .arg("-Zbuild-std-features=compiler-builtins-mem")
            .env("RUSTC_BOOTSTRAP", "1")
            // Link-time optimisation reads bitcode.
            .env("RUSTFLAGS", "-Cembed-bitcode=yes")
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET");
        execute(&mut cargo)?;
        let libdir = &self.libdir;
        fs::create_dir_all(libdir).with_context(|| libdir.display().to_string())?;
        for prefix in LIBRARIES {
            let file = rlib(&target.join(TARGET).join("release/deps"), prefix)?;
            let name = file.file_name().context("a library without a name")?;
            let partial = libdir.join("partial");
            fs::copy(&file, &partial).with_context(|| partial.display().to_string())?;
            fs::rename(&partial, libdir.join(name))?;
        }
        Ok(format!("built from {origin} into {}", libdir.display()))
    }

    /// The `library` directory of this version's sources, and where they come from.
    fn sources(&self, scratch: &Path) -> Result<(PathBuf, String)> {
        let version = &self.version;
        let unpacked = scratch.join("rust-src");
        fs::create_dir_all(&unpacked)?;
        let origin = if let Some(archive) = &self.archive {
            execute(
                Command::new("tar")
                    .arg("-xf")
                    .arg(archive)
                    .arg("-C")
                    .arg(&unpacked),
            )
            .with_context(|| archive.display().to_string())?;
            archive.display().to_string()
        } else {
            debian_sources(version, &unpacked).with_context(|| {
                format!("set BRAMBLE_RUST_SRC to rust-src-{version}.tar.xz, or give rustup a network")
            })?
        };
        let library =
            find_library(&unpacked, 0).with_context(|| format!("{origin}: no library/core in it"))?;
        // An archive that names itself for another compiler would build libraries that this one refuses.
        let named = fs::read_to_string(library.join("../version")).unwrap_or_default();
        ensure!(
            named.is_empty() || named.split(' ').next().map(str::trim) == Some(version),
            "{origin}: sources of {named}, compiler {version}"
        );
        Ok((library, origin))
    }
}

/// Debian's `rust-src` of exactly this version, unpacked without being installed.
fn debian_sources(version: &str, unpacked: &Path) -> Result<String> {
    ensure!(on_path("apt-get"), "no apt to take Debian's rust-src from");
    let versions = output(Command::new("apt-cache").args(["madison", "rust-src"]))?;
    let exact = versions
        .lines()
        .filter_map(|line| line.split('|').nth(1).map(str::trim))
        .find(|candidate| candidate.split(['+', '-', '~']).next() == Some(version))
        .with_context(|| format!("Debian has no rust-src {version} here"))?;
    apt::download_native(&format!("rust-src={exact}"), unpacked)?;
    for package in apt::packages_in(unpacked)? {
        apt::unpack(&package, unpacked)?;
    }
    Ok(format!("Debian's rust-src {exact}"))
}

fn find_library(directory: &Path, depth: u32) -> Option<PathBuf> {
    if directory.join("core/Cargo.toml").is_file() {
        return Some(directory.to_owned());
    }
    if depth > 5 {
        return None;
    }
    let entries = fs::read_dir(directory).ok()?.flatten();
    let directories = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.is_symlink());
    directories
        .into_iter()
        .find_map(|path| find_library(&path, depth + 1))
}

/// A symbolic link in the toolchain, which goes away with every directory that was made for it.
struct Link {
    link: Option<PathBuf>,
    made: Vec<PathBuf>,
}

impl Link {
    /// Nothing, when something is there already.
    fn new(to: &Path, link: &Path) -> Result<Self> {
        let mut linked = Self {
            link: None,
            made: vec![],
        };
        if link.exists() {
            return Ok(linked);
        }
        let mut missing: Vec<&Path> = link
            .ancestors()
            .skip(1)
            .take_while(|path| !path.exists())
            .collect();
        missing.reverse();
        for directory in missing {
            fs::create_dir(directory).with_context(|| directory.display().to_string())?;
            linked.made.push(directory.to_owned());
        }
        std::os::unix::fs::symlink(to, link).with_context(|| link.display().to_string())?;
        linked.link = Some(link.to_owned());
        Ok(linked)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(link) = &self.link
            && let Err(error) = fs::remove_file(link)
        {
            println!("setup: rust target: left behind {}: {error}", link.display());
        }
        for directory in self.made.iter().rev() {
            // Not ours any more when somebody else put something in.
            let _ = fs::remove_dir(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stand-ins for rustup and cargo, which write down what they are asked and add the libraries; and a toolchain without them.
    struct Bench {
        directory: Scratch,
        toolchain: Toolchain,
    }

    impl Bench {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("bramble-{name}-{}", std::process::id()));
            let directory = Scratch::new(&path).unwrap();
            let libdir = path.join("sysroot/lib");
            for (program, place) in [
                ("rustup", libdir.display().to_string()),
                ("cargo", format!("$CARGO_TARGET_DIR/{TARGET}/release/deps")),
            ] {
                let script = format!(
                    "echo {program} \"$@\" >> {record}\nmkdir -p {place}\n\
                     for name in core alloc compiler_builtins; do : > {place}/lib$name-1.rlib; done\n",
                    record = path.join("record").display(),
                );
                fs::write(path.join(program), script).unwrap();
            }
            let toolchain = Toolchain {
                version: "1.2.3".to_owned(),
                sysroot: path.join("sysroot"),
                libdir,
                archive: None,
                scratch: path.join("scratch"),
            };
            Self { directory, toolchain }
        }

        /// An archive of `version`'s sources.
        fn archive(&mut self, version: &str) {
            let sources = self.directory.0.join("sources/rust-src-1.2.3");
            fs::create_dir_all(sources.join("library/core")).unwrap();
            fs::write(sources.join("library/core/Cargo.toml"), "").unwrap();
            fs::write(sources.join("version"), format!("{version} (hash date)\n")).unwrap();
            let archive = self.directory.0.join("archive.tar");
            let mut tar = Command::new("tar");
            tar.arg("-cf")
                .arg(&archive)
                .arg("-C")
                .arg(self.directory.0.join("sources"));
            execute(tar.arg(".")).unwrap();
            self.toolchain.archive = Some(archive);
        }

        fn program(&self, name: &str) -> Command {
            let mut command = Command::new("sh");
            command.arg(self.directory.0.join(name));
            command
        }

        fn ensure(&self) -> Result<Outcome> {
            self.toolchain
                .ensure(Some(self.program("rustup")), self.program("cargo"))
        }

        /// What the stand-ins were asked.
        fn record(&self) -> String {
            fs::read_to_string(self.directory.0.join("record")).unwrap_or_default()
        }
    }

    #[test]
    fn without_an_archive_rustup_adds_the_target() {
        let bench = Bench::new("rustup");
        let done = Outcome::Done("rustup target add".to_owned());
        assert_eq!(bench.ensure().unwrap(), done);
        assert_eq!(bench.record(), "rustup target add aarch64-unknown-none\n");
        // And nobody is asked again.
        assert!(matches!(bench.ensure().unwrap(), Outcome::Present(_)));
        assert_eq!(bench.record(), "rustup target add aarch64-unknown-none\n");
    }

    #[test]
    fn an_archive_that_is_here_is_built_and_rustup_not_asked() {
        let mut bench = Bench::new("archive");
        bench.archive("1.2.3");
        let Outcome::Done(done) = bench.ensure().unwrap() else {
            panic!("nothing was done");
        };
        assert!(
            done.starts_with("built from ") && done.contains("archive.tar"),
            "{done}"
        );
        assert_eq!(
            bench.record(),
            "cargo build --release --target aarch64-unknown-none -Zbuild-std=core,alloc,compiler_builtins \
             -Zbuild-std-features=compiler-builtins-mem\n"
        );
        assert!(complete(&bench.toolchain.libdir));
        // The link to the sources went with them.
        assert!(!bench.toolchain.sysroot.join("lib/rustlib").exists());
    }

    #[test]
    fn another_compilers_archive_is_refused_and_rustup_not_asked() {
        let mut bench = Bench::new("other");
        bench.archive("1.2.4");
        let error = format!("{:#}", bench.ensure().unwrap_err());
        assert!(error.contains("sources of 1.2.4"), "{error}");
        assert_eq!(bench.record(), "");
    }

    #[test]
    fn a_link_leaves_nothing_behind() {
        let scratch =
            Scratch::new(&std::env::temp_dir().join(format!("bramble-link-{}", std::process::id()))).unwrap();
        let link = scratch.0.join("src/rust/library");
        {
            let _linked = Link::new(Path::new("/somewhere"), &link).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new("/somewhere"));
        }
        assert!(!scratch.0.join("src").exists());
        fs::create_dir_all(&link).unwrap();
        drop(Link::new(Path::new("/somewhere"), &link).unwrap());
        assert!(link.is_dir());
    }

    #[test]
    fn the_library_is_found_where_archives_have_it() {
        let path = std::env::temp_dir().join(format!("bramble-library-{}", std::process::id()));
        let scratch = Scratch::new(&path).unwrap();
        assert_eq!(find_library(&scratch.0, 0), None);
        let library = scratch.0.join("usr/src/rustc-1.95.0/library");
        fs::create_dir_all(library.join("core")).unwrap();
        fs::write(library.join("core/Cargo.toml"), "").unwrap();
        assert_eq!(find_library(&scratch.0, 0), Some(library));
    }
}
