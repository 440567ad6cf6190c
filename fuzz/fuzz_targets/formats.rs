//! Files that are loaded: device trees, overlays, FIT, uImage, gzip, kernels.
#![no_main]

use boot::load::device_tree::Tree;
use boot::load::overlay::{self, Overlay};
use boot::load::uimage::ImageType;
use boot::load::{fit, gzip, uimage};
use fuzz::within;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut output = [0; 4096];
    within(4 * 1024 * 1024 + 256 * data.len(), || {
        if gzip::is_gzip(data) {
            let _ = gzip::unpack(data, &mut output, &mut |_| {});
        }
        if uimage::is_uimage(data) {
            for kind in [ImageType::Kernel, ImageType::Ramdisk] {
                if let Ok(range) = uimage::contents(data, kind, &mut |_| {}) {
                    assert!(data.get(range).is_some());
                }
            }
        }
        if fit::is_fit(data) {
            let _ = fit::open(data, Some("a#b"), None, &mut |_| {});
            let tree = Tree::check(data);
            let _ = fit::open(data, None, tree.as_ref().ok(), &mut |_| {});
            if let Ok(tree) = tree {
                let merged = overlay::merged(
                    &tree,
                    &[Overlay {
                        name: "fuzzed",
                        bytes: data,
                    }],
                );
                // What was checked can be written, and is good again.
                assert!(Tree::check(&merged.to_dtb()).is_ok());
            }
        }
    });
});
