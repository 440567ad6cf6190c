//! Adds defmt's linker script when log lines are to be defmt frames.

fn main() {
    println!("cargo:rerun-if-changed=../link.ld");
    let bare = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    if bare && std::env::var_os("CARGO_FEATURE_DEFMT").is_some() {
        println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
    }
}
