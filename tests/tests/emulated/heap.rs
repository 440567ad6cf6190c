//! The heap of the image: what a script cannot keep ends in a line of error, and the node goes on.

use qemu::Board;
use qemu::http::{Answer, Server};

use crate::{HELLO, PATIENCE, RELEASE, boot_file, ends, machine, tiny_payload};

#[test]
fn what_a_script_cannot_keep_is_an_error_and_the_node_boots() {
    let machine = require!(machine(Board::Pi4b, RELEASE));
    let server = Server::start().unwrap();
    server.put("/big", Answer::zeros(12 << 20));
    server.put(
        "/labels",
        Answer::ok(format!("#!ipxe\n{}", ":\n".repeat(520_000))),
    );
    server.put(
        "/menu",
        Answer::ok(format!(
            "#!ipxe\nimgset x big || echo big: ${{errno}}\nchain labels || echo labels: ${{errno}}\n\
             set a {}\nset b ${{a}}${{a}}${{a}}${{a}}\nset c ${{b}}${{b}}${{b}}${{b}}\nmenu x\nset n:int32 0\n\
             :more\ninc n\nitem k ${{c}}${{c}}${{c}} || goto full\niseq ${{n}} 400 || goto more\n\
             :full\necho items: ${{errno}}\nkernel kernel and on\nboot\n",
            "0123456789abcdef".repeat(64)
        )),
    );
    server.put("/kernel", Answer::file(tiny_payload().unwrap()));
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    let console = qemu.console();
    for what in ["big", "labels", "items"] {
        console
            .expect(&format!("^{what}: 0x31008089$"), PATIENCE)
            .unwrap();
    }
    console.expect("^payload: cmdline and on$", PATIENCE).unwrap();
    console.expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
}
