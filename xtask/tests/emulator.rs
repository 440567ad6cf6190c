//! `cargo xtask qemu`, as a person uses it: the last line is a program that has the boards.

use std::process::{Command, Output};

fn text(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_last_line_is_an_emulator_with_the_models() {
    if let Err(reason) = qemu::emulator::installed() {
        qemu::skip(
            "the_last_line_is_an_emulator_with_the_models",
            format!("{reason:#}"),
        );
        return;
    }
    let said = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("qemu")
        .output()
        .unwrap();
    let said = text(said);
    let program = said.lines().last().unwrap();
    for model in [
        "bcm2711-genet",
        "usb-lan9514",
        "usb-lan7800",
        "usb-hub-9514",
        "usb-hub-2514",
    ] {
        let help = Command::new(program)
            .args(["-machine", "raspi4b", "-device", &format!("{model},help")])
            .output()
            .unwrap();
        assert!(text(help).starts_with(&format!("{model} options:")), "{model}");
    }
}
