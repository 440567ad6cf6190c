//! U-Boot's formats to user space: a FIT image brings Debian whole, with an overlay that Linux then sees.

use qemu::http::{Answer, Server};
use qemu::{Board, Firmware};
use tests::payload;

use crate::debian::{Expected, reaches_user_space};
use crate::{RELEASE, boot_file, debian, machine};

#[test]
fn debian_out_of_a_fit_image_with_an_overlay() {
    let board = Board::UsbNet3b;
    let debian = require!(debian());
    let machine = require!(machine(board, RELEASE));
    let server = Server::start().unwrap();
    let initrd = debian.initrd(board).unwrap();
    let kernel = payload::gzip(&std::fs::read(debian.kernel()).unwrap());
    let tree = debian.device_tree(board).unwrap();
    let overlay = payload::path_overlay("/chosen", "overlaid", "by a fragment");
    let fit = payload::fit(
        &[
            ("kernel", "kernel", &kernel),
            ("fdt", "flat_dt", &tree),
            ("marker", "flat_dt", &overlay),
            ("initrd", "ramdisk", &initrd),
        ],
        &[
            ("bare", "kernel", &["fdt"], ""),
            ("pi", "kernel", &["fdt", "marker"], "initrd"),
        ],
    );
    let cmdline = "console=ttyAMA0,115200 quiet retain_initrd bramble.tree=/chosen/overlaid";
    server.put(
        "/menu",
        Answer::ok(format!(
            "LABEL debian\n  LINUX debian.itb#pi\n  APPEND {cmdline}\n"
        )),
    );
    server.put("/debian.itb", Answer::ok(fit));
    let firmware = Firmware::default();
    let machine = machine
        .device_tree(tree)
        .firmware(firmware.clone())
        .net(boot_file(&server, "/menu"));
    reaches_user_space(
        machine,
        &Expected {
            firmware,
            cmdline: cmdline.to_owned(),
            initrd,
            ethernet: true,
            asked: vec!["tree /chosen/overlaid by a fragment ".to_owned()],
        },
    );
}
