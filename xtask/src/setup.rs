//! Set-up: Debian packages, the Rust target, the demo payload, our own emulator. Each step looks first, and says what it did.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::apt::KEYRING;
use crate::program::{cargo, execute, is_root, on_path};
use crate::step::Outcome;
use crate::{emulator, ipxe, overlays, payload, rust_target};

/// What the set-up is for; each needs all that the ones before it need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Goal {
    /// Building kernel8.img.
    Image,
    /// Booting the demo.
    Boot,
    /// Booting it on a board that needs our own emulator.
    Emulator,
    /// Running every test.
    Test,
}

/// The step without which no firmware can be built.
pub(crate) const RUST_TARGET: &str = "rust target";

/// What is still missing after the set-up, a line for each.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) missing: Vec<String>,
}

impl Report {
    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.missing.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Makes sure of the packages that are wanted; without apt, of those that are known by a program.
    fn packages(&mut self, wanted: impl Fn(&Package) -> bool) {
        let apt = on_path("apt-get");
        let (present, absent): (Vec<&Package>, Vec<&Package>) = PACKAGES
            .iter()
            .filter(|package| wanted(package) && (apt || package.is_program()))
            .partition(|package| package.present());
        for package in present {
            self.step(package.name, Ok(Outcome::Present(package.proof.to_owned())));
        }
        if !apt {
            for package in absent {
                self.step(package.proof, Err(anyhow::anyhow!("{}", package.need())));
            }
        } else if !absent.is_empty() {
            let installed = install(&absent);
            for package in absent {
                let outcome = match &installed {
                    Ok(()) if package.present() => Ok(Outcome::Done("installed with apt".to_owned())),
                    Ok(()) => Err(anyhow::anyhow!(
                        "apt installed it, but {} is not there",
                        package.proof
                    )),
                    Err(error) => Err(anyhow::anyhow!("{error:#}")),
                };
                self.step(package.name, outcome);
            }
        }
    }

    fn step(&mut self, name: &str, outcome: Result<Outcome>) {
        match outcome {
            Ok(Outcome::Present(fact)) => println!("setup: {name}: present: {fact}"),
            Ok(Outcome::Done(fact)) => println!("setup: {name}: done: {fact}"),
            Err(error) => {
                println!("setup: {name}: MISSING: {error:#}");
                self.missing.push(format!("{name}: {error:#}"));
            }
        }
    }
}

/// Does what `goal` needs. A step that fails does not keep the others from being done.
pub(crate) fn run(goal: Goal) -> Report {
    let mut report = Report::default();
    // What builds the emulator is not needed when it has been built, or when another stands in.
    let ours = goal >= Goal::Emulator && std::env::var_os("BRAMBLE_QEMU").is_none();
    let tools = ours && qemu::emulator::installed().is_err();
    report.packages(|package| package.goal <= goal && (package.goal != Goal::Emulator || tools));
    report.step(RUST_TARGET, rust_target::ensure());
    if goal >= Goal::Boot {
        report.step("demo payload", payload::ensure());
    }
    if ours {
        report.step("emulator", emulator::ensure(None));
    }
    if goal >= Goal::Test {
        report.step("defmt-print", defmt_print());
        report.step("iPXE", ipxe::ensure());
        report.step("overlays", overlays::ensure());
    }
    report
}

/// Does what our own emulator alone needs; `source` is where QEMU's source is, when it is not to be Debian's.
pub(crate) fn emulator(source: Option<&Path>) -> Report {
    let mut report = Report::default();
    if source.is_some() || qemu::emulator::installed().is_err() {
        report.packages(|package| package.goal == Goal::Emulator);
    }
    report.step("emulator", emulator::ensure(source));
    report
}

/// The decoder that the guide names, for its test: from the PATH, else installed beside the demo payload.
fn defmt_print() -> Result<Outcome> {
    let cache = qemu::payload::cache()?;
    let program = cache.join("bin/defmt-print");
    if on_path("defmt-print") {
        return Ok(Outcome::Present("defmt-print".to_owned()));
    }
    if program.is_file() {
        return Ok(Outcome::Present(program.display().to_string()));
    }
    let mut install = cargo();
    // Unoptimised: quicker to build, quick enough for one boot's lines.
    install.args([
        "install",
        "--debug",
        "--locked",
        "--version",
        "1.2.0",
        "defmt-print",
        "--root",
    ]);
    execute(install.arg(&cache))?;
    Ok(Outcome::Done(program.display().to_string()))
}

/// A Debian package, and the program or file by which to know that it, or another system's like of it, is there.
struct Package {
    name: &'static str,
    proof: &'static str,
    goal: Goal,
}

const PACKAGES: &[Package] = &[
    // tar needs xz for a rust-src archive.
    Package {
        name: "xz-utils",
        proof: "xz",
        goal: Goal::Image,
    },
    Package {
        name: "qemu-system-arm",
        proof: "qemu-system-aarch64",
        goal: Goal::Boot,
    },
    // Signs the demo payload's archive.
    Package {
        name: "debian-archive-keyring",
        proof: KEYRING,
        goal: Goal::Boot,
    },
    Package {
        name: "gcc",
        proof: "cc",
        goal: Goal::Emulator,
    },
    Package {
        name: "ninja-build",
        proof: "ninja",
        goal: Goal::Emulator,
    },
    Package {
        name: "pkg-config",
        proof: "pkg-config",
        goal: Goal::Emulator,
    },
    Package {
        name: "flex",
        proof: "flex",
        goal: Goal::Emulator,
    },
    Package {
        name: "bison",
        proof: "bison",
        goal: Goal::Emulator,
    },
    Package {
        name: "patch",
        proof: "patch",
        goal: Goal::Emulator,
    },
    Package {
        name: "python3-venv",
        proof: "/var/lib/dpkg/info/python3-venv.list",
        goal: Goal::Emulator,
    },
    Package {
        name: "libglib2.0-dev",
        proof: "/usr/include/glib-2.0/glib.h",
        goal: Goal::Emulator,
    },
    Package {
        name: "libslirp-dev",
        proof: "/usr/include/slirp/libslirp.h",
        goal: Goal::Emulator,
    },
    Package {
        name: "libfdt-dev",
        proof: "/usr/include/libfdt.h",
        goal: Goal::Emulator,
    },
    // Builds libFuzzer.
    Package {
        name: "g++",
        proof: "c++",
        goal: Goal::Test,
    },
    Package {
        name: "iproute2",
        proof: "ip",
        goal: Goal::Test,
    },
    Package {
        name: "dnsmasq-base",
        proof: "dnsmasq",
        goal: Goal::Test,
    },
    // The TFTP server beside dnsmasq's.
    Package {
        name: "tftpd-hpa",
        proof: "in.tftpd",
        goal: Goal::Test,
    },
    // The DHCP servers of the user's guide.
    Package {
        name: "kea-dhcp4-server",
        proof: "kea-dhcp4",
        goal: Goal::Test,
    },
    Package {
        name: "isc-dhcp-server",
        proof: "dhcpd",
        goal: Goal::Test,
    },
    Package {
        name: "udhcpd",
        proof: "udhcpd",
        goal: Goal::Test,
    },
    // Writes and applies overlays, to compare.
    Package {
        name: "device-tree-compiler",
        proof: "fdtoverlay",
        goal: Goal::Test,
    },
    // Looks at the FAT volumes that we write.
    Package {
        name: "dosfstools",
        proof: "fsck.fat",
        goal: Goal::Test,
    },
    Package {
        name: "u-boot-tools",
        proof: "mkimage",
        goal: Goal::Test,
    },
    Package {
        name: "nginx-light",
        proof: "nginx",
        goal: Goal::Test,
    },
    // A PC, and Syslinux for it, to compare with.
    Package {
        name: "qemu-system-x86",
        proof: "qemu-system-i386",
        goal: Goal::Test,
    },
    Package {
        name: "pxelinux",
        proof: "/usr/lib/PXELINUX/pxelinux.0",
        goal: Goal::Test,
    },
    Package {
        name: "syslinux-common",
        proof: "/usr/lib/syslinux/modules/bios/menu.c32",
        goal: Goal::Test,
    },
];

impl Package {
    /// False for files that are of no use to others than Debian, or have no one place elsewhere.
    fn is_program(&self) -> bool {
        !self.proof.starts_with('/')
    }

    /// What a person without apt has to install.
    fn need(&self) -> String {
        format!("needs the program {} (Debian: {})", self.proof, self.name)
    }

    fn present(&self) -> bool {
        if !self.is_program() {
            return Path::new(self.proof).exists();
        }
        if self.name == "qemu-system-arm" && qemu::Board::default().unavailable().is_none() {
            return true;
        }
        on_path(self.proof)
    }
}

fn install(packages: &[&Package]) -> Result<()> {
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    let list = names.join(" ");
    let prefix: &[&str] = if is_root()? {
        &[]
    } else if Command::new("sudo")
        .args(["-n", "true"])
        .output()
        .is_ok_and(|sudo| sudo.status.success())
    {
        &["sudo", "-n"]
    } else {
        bail!("neither root nor sudo without a password; run: sudo apt-get install {list}");
    };
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> = prefix
            .iter()
            .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"])
            .chain(arguments)
            .copied()
            .collect();
        let (program, rest) = words.split_first().context("apt: no command")?;
        execute(Command::new(program).args(rest))
    };
    println!("setup: apt-get install {list}");
    let arguments: Vec<&str> = ["install", "--no-install-recommends"]
        .iter()
        .copied()
        .chain(names)
        .collect();
    // The first try fails where the package lists are missing or old.
    if apt(&arguments).is_err() {
        apt(&["update"])?;
        apt(&arguments)?;
    }
    // Debian starts what it installs; the tests start their own servers, in a namespace of its own.
    let services = packages.iter().filter_map(|package| match package.name {
        "nginx-light" => Some("nginx"),
        name @ ("kea-dhcp4-server" | "isc-dhcp-server" | "udhcpd" | "tftpd-hpa") => Some(name),
        _ => None,
    });
    for service in services.filter(|_| on_path("systemctl")) {
        let words: Vec<&str> = prefix
            .iter()
            .chain(&["systemctl", "disable", "--now", service])
            .copied()
            .collect();
        if let Some((program, rest)) = words.split_first()
            && let Err(error) = execute(Command::new(program).args(rest))
        {
            println!("setup: {service}: the service may be running: {error:#}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_apt_each_program_is_named_with_debians_package() {
        let needs: Vec<String> = PACKAGES
            .iter()
            .filter(|package| package.is_program())
            .map(Package::need)
            .collect();
        assert_eq!(
            needs,
            [
                "needs the program xz (Debian: xz-utils)",
                "needs the program qemu-system-aarch64 (Debian: qemu-system-arm)",
                "needs the program cc (Debian: gcc)",
                "needs the program ninja (Debian: ninja-build)",
                "needs the program pkg-config (Debian: pkg-config)",
                "needs the program flex (Debian: flex)",
                "needs the program bison (Debian: bison)",
                "needs the program patch (Debian: patch)",
                "needs the program c++ (Debian: g++)",
                "needs the program ip (Debian: iproute2)",
                "needs the program dnsmasq (Debian: dnsmasq-base)",
                "needs the program in.tftpd (Debian: tftpd-hpa)",
                "needs the program kea-dhcp4 (Debian: kea-dhcp4-server)",
                "needs the program dhcpd (Debian: isc-dhcp-server)",
                "needs the program udhcpd (Debian: udhcpd)",
                "needs the program fdtoverlay (Debian: device-tree-compiler)",
                "needs the program fsck.fat (Debian: dosfstools)",
                "needs the program mkimage (Debian: u-boot-tools)",
                "needs the program nginx (Debian: nginx-light)",
                "needs the program qemu-system-i386 (Debian: qemu-system-x86)",
            ]
        );
    }
}
