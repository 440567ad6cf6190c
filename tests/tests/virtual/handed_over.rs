//! The menu or script that the firmware hands over as initramfs: what it goes before, what goes before it, and what is none.

use boot::Settings;
use qemu::cpio::Archive;
use tests::{Reply, Site};

const SCRIPT: &str = "#!ipxe\nkernel /card/Image from-card\ninitrd /card/initrd.img\nboot\n";

/// A site whose web server has what a text on a card names, beside what DHCP's menu names.
fn site() -> Site {
    let mut site = Site::new(1);
    site.dhcp.borrow_mut().next_server = [192, 168, 7, 2].into();
    site.route("/card/Image", [Reply::ok(site.kernel.clone())]);
    site.route("/card/initrd.img", [Reply::ok(site.initrd.clone())]);
    site.node.initramfs = Some(SCRIPT.into());
    site
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = Archive::new();
    for (name, text) in files {
        archive.file(name, 0o644, text.as_bytes());
    }
    archive.finish()
}

#[test]
fn a_script_goes_before_dhcp_and_names_files_of_its_server() {
    let mut site = site();
    let loaded = site.boots();
    assert!(loaded.bootargs.starts_with("from-card"), "{}", loaded.bootargs);
    assert_eq!(site.asked(), ["/card/Image", "/card/initrd.img"]);
}

#[test]
fn a_setting_goes_before_it() {
    let mut site = site();
    let settings = Settings {
        url: Some("http://192.168.7.2/boot/menu".into()),
        ..Settings::default()
    };
    site.boot_with(&settings).unwrap();
    assert_eq!(site.asked()[0], "/boot/menu");
}

#[test]
fn linuxs_own_is_passed_over() {
    let mut site = site();
    site.node.initramfs = Some(archive(&[("init", "#!/bin/sh\n")]));
    site.boots();
    assert_eq!(site.asked()[0], "/boot/menu");
}

#[test]
fn a_menu_in_an_archive_may_include_from_a_server() {
    let mut site = site();
    site.route(
        "/card/more",
        [Reply::ok(
            "LABEL a\nLINUX /card/Image\nINITRD /card/initrd.img\nAPPEND more\n",
        )],
    );
    let menu = "DEFAULT a\nINCLUDE /card/more\n";
    site.node.initramfs = Some(archive(&[("./pxelinux.cfg/default", menu)]));
    let loaded = site.boots();
    assert!(loaded.bootargs.starts_with("more"), "{}", loaded.bootargs);
    assert_eq!(site.asked(), ["/card/more", "/card/Image", "/card/initrd.img"]);
}

/// Of what cannot be read nobody knows what it meant.
#[test]
fn what_cannot_be_read_boots_nothing_else() {
    let cut = archive(&[("autoexec.ipxe", SCRIPT)])[..200].to_vec();
    for (file, why) in [
        (
            cut,
            "menu: the initramfs that the firmware handed over is an archive that ends in the midst of a file; nothing else is booted in its stead",
        ),
        (
            b"TIMEOUT 5\n".to_vec(),
            "menu: http://192.168.7.2/initramfs: not a PXELINUX menu, it has no LABEL",
        ),
        (
            b" #!ipxe\n".to_vec(),
            "menu: http://192.168.7.2/initramfs: expected an iPXE script or a PXELINUX menu, got what resembles an iPXE script, but its first line is not #!ipxe (a byte order mark or blanks before it?)",
        ),
    ] {
        let mut site = site();
        site.node.initramfs = Some(file);
        let error = site.boot_attempts(2).unwrap_err();
        assert_eq!(error.to_string(), why);
        assert_eq!(site.asked(), [""; 0]);
    }
}
