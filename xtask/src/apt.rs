//! Debian packages as files: downloaded and unpacked without being installed, and without a change to the system's apt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::program::{execute, output};

/// Debian's mirror for whoever has none configured.
const MIRROR: &str = "http://deb.debian.org/debian";

/// The keys that sign Debian's releases.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt of our own below one directory: its sources, lists and archives; proxies are the system's.
pub(crate) struct Apt {
    root: PathBuf,
    architecture: &'static str,
}

impl Apt {
    /// An apt for `architecture` with one release's main section, signed by `keyring`.
    pub(crate) fn new(root: &Path, architecture: &'static str, release: &str, keyring: &str) -> Result<Self> {
        Self::section(root, architecture, release, "main", keyring)
    }

    /// The same with another section.
    pub(crate) fn section(
        root: &Path,
        architecture: &'static str,
        release: &str,
        section: &str,
        keyring: &str,
    ) -> Result<Self> {
        let options = format!("deb [arch={architecture} signed-by={keyring}]");
        Self::with(
            root,
            architecture,
            &format!("{options} {} {release} {section}", mirror()),
        )
    }

    /// An apt for the source packages of one release's main section, signed by `keyring`.
    pub(crate) fn sources(root: &Path, release: &str, keyring: &str) -> Result<Self> {
        let options = format!("deb-src [signed-by={keyring}]");
        Self::with(root, "arm64", &format!("{options} {} {release} main", mirror()))
    }

    /// An apt with one line of sources.
    fn with(root: &Path, architecture: &'static str, sources: &str) -> Result<Self> {
        for directory in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(root.join(directory)).with_context(|| root.display().to_string())?;
        }
        fs::write(root.join("status"), "")?;
        fs::write(root.join("sources.list"), format!("{sources}\n"))?;
        // Read after the system's own: no foreign architectures, no hooks, and the package lists only.
        fs::write(
            root.join("apt.conf"),
            format!(
                "#clear APT::Architectures;\n\
                 #clear APT::Update;\n\
                 #clear Acquire::IndexTargets::deb::DEP-11;\n\
                 APT::Architecture \"{architecture}\";\n\
                 APT::Architectures {{ \"{architecture}\"; }};\n\
                 APT::Sandbox::User \"root\";\n\
                 Acquire::Languages \"none\";\n\
                 Dir::State \"{root}/state\";\n\
                 Dir::State::status \"{root}/status\";\n\
                 Dir::Cache \"{root}/cache\";\n\
                 Dir::Etc::sourcelist \"{root}/sources.list\";\n\
                 Dir::Etc::sourceparts \"/dev/null\";\n\
                 Dir::Etc::preferences \"/dev/null\";\n\
                 Dir::Etc::preferencesparts \"/dev/null\";\n",
                root = root.display()
            ),
        )?;
        Ok(Self {
            root: root.to_owned(),
            architecture,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-q").arg("-c").arg(self.root.join("apt.conf"));
        command
    }

    /// Fetches the package lists.
    pub(crate) fn update(&self) -> Result<()> {
        execute(self.command().arg("update"))
    }

    /// Downloads a package, whose signature chain apt checks, and gives its file.
    pub(crate) fn download(&self, package: &str) -> Result<PathBuf> {
        let directory = self.root.join(format!("download-{package}"));
        fs::create_dir_all(&directory)?;
        execute(self.command().args(["download", package]).current_dir(&directory))?;
        packages_in(&directory)?
            .pop()
            .with_context(|| format!("apt: no {package} for {}", self.architecture))
    }

    /// Downloads the newest source package's archives, whose signature chain apt checks, and gives their directory.
    pub(crate) fn source(&self, package: &str) -> Result<PathBuf> {
        let directory = self.root.join(format!("source-{package}"));
        fs::create_dir_all(&directory)?;
        let mut command = self.command();
        command.args([
            "source",
            "--download-only",
            "--tar-only",
            "--only-source",
            package,
        ]);
        execute(command.current_dir(&directory))?;
        Ok(directory)
    }
}

/// Downloads a package of the system's own architecture and sources into `directory`.
pub(crate) fn download_native(package: &str, directory: &Path) -> Result<()> {
    execute(
        Command::new("apt-get")
            .args(["-q", "download", package])
            .current_dir(directory),
    )
}

/// The .deb files in `directory`.
pub(crate) fn packages_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            packages.push(path);
        }
    }
    Ok(packages)
}

/// Unpacks a .deb's files into `directory`.
pub(crate) fn unpack(package: &Path, directory: &Path) -> Result<()> {
    execute(Command::new("dpkg-deb").arg("-x").arg(package).arg(directory))
}

/// The packages that a .deb depends on, without their versions, in its order.
pub(crate) fn depends(package: &Path) -> Result<Vec<String>> {
    let field = output(Command::new("dpkg-deb").arg("-f").arg(package).arg("Depends"))?;
    Ok(names(&field))
}

fn names(depends: &str) -> Vec<String> {
    depends
        .split([',', '|'])
        .filter_map(|entry| entry.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The mirror that the system's apt uses for Debian, else the one that everybody reaches.
fn mirror() -> String {
    let format = "$(REPO_URI)";
    let listed = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            format,
            "Created-By: Packages",
            "Component: main",
        ])
        .output();
    let listed = listed
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    debian_mirror(&listed).unwrap_or(MIRROR).to_owned()
}

/// A Debian archive ends in `/debian` wherever it is mirrored; other distributions' and vendors' do not.
fn debian_mirror(uris: &str) -> Option<&str> {
    uris.lines()
        .map(|uri| uri.trim_end_matches('/'))
        .find(|uri| uri.ends_with("/debian"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_lose_their_versions() {
        assert_eq!(
            names("linux-image-6.1.0-50-arm64 (= 6.1.176-1)\n"),
            ["linux-image-6.1.0-50-arm64"]
        );
        assert_eq!(names("a | b (>= 1), c"), ["a", "b", "c"]);
        assert!(names("\n").is_empty());
    }

    #[test]
    fn the_mirror_is_debians() {
        let listed = "https://packages.example/apt\nhttp://security.debian.org/debian-security/\nhttp://m.example/debian/\n";
        assert_eq!(debian_mirror(listed), Some("http://m.example/debian"));
        assert_eq!(debian_mirror("http://archive.ubuntu.com/ubuntu/\n"), None);
    }
}
