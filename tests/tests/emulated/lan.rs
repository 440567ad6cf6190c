//! A LAN of the real servers: dnsmasq for DHCP, DNS and TFTP, nginx for HTTP, and a cable to QEMU, in a network namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use qemu::segment::{Segment, ip};
use qemu::{Board, Firmware, Net};

pub(crate) use qemu::segment::TAP;

use crate::debian::{Expected, reaches_user_space};
use crate::{PATIENCE, RELEASE, debian, machine};

/// The servers' address.
const SERVER: &str = "192.168.77.1";

/// A namespace with the servers on a bridge that has QEMU's tap device as a port. Dropping it ends the servers and removes
/// everything.
pub(crate) struct Lan {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    servers: Vec<(&'static str, Child)>,
    /// The namespace of another host, when there is one.
    router: Option<String>,
    /// Goes last.
    segment: Segment,
}

impl Lan {
    /// The namespace and its tap device, without servers.
    ///
    /// # Errors
    ///
    /// When this machine or user cannot have that, or lacks a server; a reason to skip.
    pub(crate) fn new() -> Result<Self> {
        for server in ["dnsmasq", "nginx"] {
            Self::needs(server)?;
        }
        let segment = Segment::new()?;
        let name = segment.name().to_owned();
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir(&directory)?;
        Ok(Self {
            name,
            directory,
            servers: vec![],
            router: None,
            segment,
        })
    }

    /// One more port of the bridge, for another node: the name of its tap device.
    pub(crate) fn another_tap(&self) -> Result<String> {
        let tap = "tap1";
        self.segment.tap(tap)?;
        Ok(tap.to_owned())
    }

    /// # Errors
    ///
    /// When a server is not there; a reason to skip.
    pub(crate) fn needs(server: &str) -> Result<()> {
        let there = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/sbin"]
            .iter()
            .any(|directory| Path::new(directory).join(server).is_file());
        ensure!(there, "no {server} (cargo xtask setup installs it)");
        Ok(())
    }

    /// A home router on the bridge, at 192.168.77.254: it gives addresses, and knows nothing of booting.
    pub(crate) fn router(&mut self) -> Result<()> {
        let name = format!("{}-router", self.name);
        ip(&["netns", "add", &name])?;
        self.router = Some(name.clone());
        let port = [
            "link", "add", "port1", "type", "veth", "peer", "name", "eth0", "netns", &name,
        ];
        ip(&[&["-n", &self.name], &port[..]].concat())?;
        ip(&["-n", &self.name, "link", "set", "port1", "master", "eth0", "up"])?;
        ip(&["-n", &name, "address", "add", "192.168.77.254/24", "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        let state = self.directory.join("router").display().to_string();
        let text = format!(
            "interface eth0\nstart 192.168.77.50\nend 192.168.77.99\noption subnet 255.255.255.0\n\
             option router 192.168.77.254\nlease_file {state}.leases\npidfile {state}.pid\n"
        );
        fs::write(self.directory.join("router.conf"), text)?;
        let file = self.directory.join("router.conf").display().to_string();
        self.start_in(&name, "udhcpd", &["-f".to_owned(), file], "started");
        Ok(())
    }

    /// What nginx serves at `/`.
    pub(crate) fn www(&self) -> PathBuf {
        self.directory.join("www")
    }

    /// Starts a server in the namespace, and waits until `ready` connects or `log` says so.
    pub(crate) fn start(&mut self, name: &'static str, arguments: &[String], ready: &str) {
        self.start_in(&self.name.clone(), name, arguments, ready);
    }

    fn start_in(&mut self, namespace: &str, name: &'static str, arguments: &[String], ready: &str) {
        let log = fs::File::create(self.log(name)).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", namespace, name])
            .args(arguments)
            // Where Kea has what it locks.
            .env("KEA_LOCKFILE_DIR", &self.directory)
            .env("KEA_PIDFILE_DIR", &self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.servers.push((name, child));
        let deadline = Instant::now() + PATIENCE;
        while !self.said(name).contains(ready) {
            let child = &mut self.servers.last_mut().unwrap().1;
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{name}: {ended:?}: {}", self.said(name));
            assert!(
                Instant::now() < deadline,
                "{name} does not start: {}",
                self.said(name)
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    /// What a server logged.
    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    /// dnsmasq, with these options besides its addresses and the name `boot.bramble.test`.
    fn dnsmasq(&mut self, options: &[&str]) {
        let mut arguments: Vec<String> = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--log-facility=-",
            "--log-dhcp",
            "--interface=eth0",
            "--bind-interfaces",
            "--dhcp-authoritative",
            "--dhcp-range=192.168.77.50,192.168.77.99,1h",
            "--address=/boot.bramble.test/192.168.77.1",
        ]
        .map(str::to_owned)
        .to_vec();
        for file in ["dhcp-leasefile", "pid-file"] {
            arguments.push(format!("--{file}={}", self.directory.join(file).display()));
        }
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        self.start(
            "dnsmasq",
            &arguments,
            "sockets bound exclusively to interface eth0",
        );
    }

    pub(crate) fn nginx(&mut self) {
        let directory = self.directory.display().to_string();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {directory}/{what};\n"))
            .concat();
        let configuration = format!(
            "user root; daemon off; pid {directory}/nginx.pid; error_log stderr notice;\n\
             events {{}}\n\
             http {{\n{temporary}access_log {directory}/access.log;\n\
             server {{ listen {SERVER}:80; root {directory}/www; }}\n}}\n"
        );
        fs::create_dir_all(self.www()).unwrap();
        let file = self.directory.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let arguments = [
            "-e",
            "stderr",
            "-p",
            &directory,
            "-c",
            &file.display().to_string(),
        ]
        .map(str::to_owned);
        self.start("nginx", &arguments, "start worker process ");
    }
}

impl Lan {
    /// Ends the servers.
    pub(crate) fn stop(&mut self) {
        for (_, mut child) in self.servers.drain(..) {
            // nginx's master ends its workers when asked to, and leaves them when killed.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let names: Vec<_> = self.servers.iter().map(|(name, _)| *name).collect();
        self.stop();
        if thread::panicking() {
            for name in names {
                println!("== {name}\n{}", self.said(name));
            }
        }
        if let Some(router) = &self.router {
            let _ = ip(&["netns", "delete", router]);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The command line of Debian in these tests.
const CMDLINE: &str = "console=ttyAMA0,115200 quiet retain_initrd";

/// Puts the menu at `menu`, the kernel at `boot/debian/vmlinuz` and the initrd at `initrd`, in the directory `root`.
fn furnish(root: &Path, menu: &str, board: Board) {
    let payload = debian().unwrap();
    let file = root.join(menu);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(
        file,
        format!(
            "DEFAULT debian\nLABEL debian\n  LINUX debian/vmlinuz\n  INITRD /initrd\n  APPEND {CMDLINE}\n"
        ),
    )
    .unwrap();
    let kernel = root.join("boot/debian");
    fs::create_dir_all(&kernel).unwrap();
    fs::copy(payload.kernel(), kernel.join("vmlinuz")).unwrap();
    fs::write(root.join("initrd"), payload.initrd(board).unwrap()).unwrap();
}

/// Boots on the LAN up to user space, and checks what dnsmasq says of the board.
fn debian_boots(lan: &Lan, board: Board) {
    let payload = debian().unwrap();
    let firmware = Firmware::default();
    let machine = machine(board, RELEASE)
        .unwrap()
        .device_tree(payload.device_tree(board).unwrap())
        .firmware(firmware.clone())
        .namespace(&lan.name);
    let machine = if board == Board::Pi4b {
        // What a person types for an image of their own: this alone plugs into GENET.
        let nic = format!("tap,ifname={TAP},script=no,downscript=no");
        machine.no_nic().argument("-nic").argument(nic)
    } else {
        machine.net(Net::tap(TAP))
    };
    let expected = Expected {
        firmware,
        cmdline: CMDLINE.to_owned(),
        initrd: payload.initrd(board).unwrap(),
        ethernet: true,
        asked: vec![],
    };
    reaches_user_space(machine, &expected);
    let mac = Firmware::default().mac_text();
    let said = lan.said("dnsmasq");
    let granted: Vec<&str> = said.lines().filter(|line| line.contains("DHCPACK(")).collect();
    assert!(
        !granted.is_empty() && granted.iter().all(|line| line.contains(&mac)),
        "{mac}: {said}"
    );
}

/// Debian from nginx, with what dnsmasq's `options` say of the menu that stands at `menu`.
fn debian_boots_from_nginx(lan: &mut Lan, board: Board, options: &[&str], menu: &str) {
    lan.nginx();
    lan.dnsmasq(options);
    furnish(&lan.www(), menu, board);
    debian_boots(lan, board);
    let served = fs::read_to_string(lan.directory.join("access.log")).unwrap();
    for path in [&*format!("/{menu}"), "/boot/debian/vmlinuz", "/initrd"] {
        assert!(
            served.contains(&format!("\"GET {path} HTTP/1.1\" 200 ")),
            "{path} in {served}"
        );
    }
}

#[test]
fn dnsmasq_names_a_boot_file_url_on_a_host_that_it_resolves() {
    require!(machine(Board::UsbNet3b, RELEASE));
    require!(debian());
    let mut lan = require!(Lan::new());
    debian_boots_from_nginx(
        &mut lan,
        Board::UsbNet3b,
        &["--dhcp-boot=http://boot.bramble.test/boot/menu"],
        "boot/menu",
    );
}

#[test]
fn dnsmasq_gives_a_4b_options_209_and_210() {
    require!(machine(Board::Pi4b, RELEASE));
    require!(debian());
    let mut lan = require!(Lan::new());
    let options = [
        "--dhcp-option=209,nodes/pi.cfg",
        "--dhcp-option=210,http://192.168.77.1/boot/",
    ];
    debian_boots_from_nginx(&mut lan, Board::Pi4b, &options, "boot/nodes/pi.cfg");
}

/// What a PC's netboot has had for decades, unchanged: no web server, one path in DHCP.
#[test]
fn dnsmasq_alone_serves_a_pxelinux_tree_over_tftp() {
    require!(machine(Board::UsbNet3b, RELEASE));
    require!(debian());
    let mut lan = require!(Lan::new());
    let root = lan.directory.join("tftp");
    furnish(&root, "boot/pxelinux.cfg/default", Board::UsbNet3b);
    let tftp = format!("--tftp-root={}", root.display());
    lan.dnsmasq(&["--enable-tftp", &tftp, "--dhcp-boot=boot/pxelinux.0"]);
    debian_boots(&lan, Board::UsbNet3b);
    let said = lan.said("dnsmasq");
    for file in ["boot/pxelinux.cfg/default", "boot/debian/vmlinuz", "initrd"] {
        let sent = format!("sent {}", root.join(file).display());
        assert!(said.contains(&sent), "{sent}: {said}");
    }
    assert!(!said.contains("failed sending"), "{said}");
}
