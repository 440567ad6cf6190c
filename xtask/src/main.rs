//! What a person types: set-up, image, boot, test, bench.
fn main() {}
