//! The recipes of the user's guide, word for word, on the servers that they are for: each leads a board to the menu.

use std::fs;

use qemu::{Board, Net};

use crate::lan::{Lan, TAP};
use crate::{HELLO, PATIENCE, RELEASE, machine, tiny_payload};

const PAGE: &str = include_str!("../../../docs/src/servers.md");

/// The `n`th block of code below a heading of the page.
fn recipe(heading: &str, n: usize) -> String {
    qemu::recipe::recipe(PAGE, heading, n).expect(heading)
}

impl Lan {
    /// A file with a recipe in it, and what else a test needs.
    fn recipe(&self, file: &str, text: &str) -> String {
        let path = self.directory.join(file);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// dnsmasq with a recipe, and with nothing of this machine's own.
    pub(crate) fn dnsmasq_with(&mut self, text: &str) {
        let words = format!(
            "interface=eth0\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\nlog-facility=-\n{text}"
        );
        let file = self.recipe("dnsmasq.conf", &words);
        let state = self.directory.display().to_string();
        let arguments = [
            "--keep-in-foreground".into(),
            format!("--conf-file={file}"),
            format!("--dhcp-leasefile={state}/leases"),
            format!("--pid-file={state}/pid"),
        ];
        self.start(
            "dnsmasq",
            &arguments,
            "sockets bound exclusively to interface eth0",
        );
    }
}

/// Boots the built-in payload from `/menu`, which nginx has and the DHCP server named.
fn leads_to_the_menu(lan: &mut Lan) {
    lan.nginx();
    fs::write(
        lan.www().join("menu"),
        "DEFAULT tiny\nLABEL tiny\n  LINUX payload.img\n",
    )
    .unwrap();
    fs::copy(tiny_payload().unwrap(), lan.www().join("payload.img")).unwrap();
    let mut qemu = machine(Board::UsbNet3b, RELEASE)
        .unwrap()
        .namespace(&lan.name)
        .net(Net::tap(TAP))
        .start()
        .unwrap();
    let console = qemu.console();
    let menu = r"^menu: 1 entries from http://192\.168\.77\.1/menu \(boot file\)$";
    console.expect(menu, PATIENCE).unwrap();
    console.expect(HELLO, PATIENCE).unwrap();
}

/// A LAN for a recipe, when this server and all else is there.
fn lan_for(server: &str) -> anyhow::Result<Lan> {
    machine(Board::UsbNet3b, RELEASE)?;
    tiny_payload()?;
    Lan::needs(server)?;
    Lan::new()
}

#[test]
fn kea() {
    let mut lan = require!(lan_for("kea-dhcp4"));
    let file = lan.recipe("kea.json", &recipe("Kea", 0));
    lan.start("kea-dhcp4", &["-c".into(), file], "DHCP4_STARTED");
    leads_to_the_menu(&mut lan);
}

#[test]
fn isc_dhcpd() {
    let mut lan = require!(lan_for("dhcpd"));
    let file = lan.recipe("dhcpd.conf", &recipe("ISC dhcpd", 0));
    let leases = lan.recipe("dhcpd.leases", "");
    let words = format!("-4 -f -d --no-pid -cf {file} -lf {leases} eth0");
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    lan.start("dhcpd", &words, "Server starting service");
    leads_to_the_menu(&mut lan);
}

#[test]
fn udhcpd() {
    let mut lan = require!(lan_for("udhcpd"));
    let state = lan.directory.display().to_string();
    let text = recipe("udhcpd", 0) + &format!("lease_file {state}/leases\npidfile {state}/pid\n");
    let file = lan.recipe("udhcpd.conf", &text);
    lan.start("udhcpd", &["-f".into(), file], "started");
    leads_to_the_menu(&mut lan);
}

#[test]
fn openwrt() {
    let mut lan = require!(lan_for("dnsmasq"));
    // What OpenWrt makes of the block before it, which needs OpenWrt.
    let text = recipe("OpenWrt", 1);
    lan.dnsmasq_with(&text);
    leads_to_the_menu(&mut lan);
}

#[test]
fn dnsmasq_beside_a_home_router() {
    let mut lan = require!(lan_for("udhcpd"));
    lan.router().unwrap();
    lan.dnsmasq_with(&recipe("A home router, and dnsmasq beside it", 0));
    leads_to_the_menu(&mut lan);
}

#[test]
fn dnsmasq_with_a_url() {
    let mut lan = require!(lan_for("dnsmasq"));
    lan.dnsmasq_with(&recipe("dnsmasq: a URL as boot file", 0));
    leads_to_the_menu(&mut lan);
}
