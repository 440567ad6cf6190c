//! Values of settings: what a type reads, writes and reads again.
#![no_main]

use boot::script::value::Type;
use fuzz::within;
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 17] = [
    "string",
    "uristring",
    "ipv4",
    "ipv6",
    "int8",
    "int16",
    "int32",
    "uint8",
    "uint16",
    "uint32",
    "hex",
    "hexhyp",
    "hexraw",
    "base64",
    "uuid",
    "guid",
    "busdevfn",
];

fuzz_target!(|data: &[u8]| {
    let Some((first, raw)) = data.split_first() else {
        return;
    };
    let kind = Type::named(NAMES[usize::from(*first) % NAMES.len()]).expect("a type");
    assert_eq!(Type::named(kind.name()), Some(kind));
    // Whatever the bytes are, they can be shown, or not.
    let shown = within(4096 + 32 * raw.len(), || kind.format(raw));
    drop(shown);
    kind.numerate(raw);
    let text = String::from_utf8_lossy(raw);
    let Ok(value) = within(4096 + 32 * raw.len(), || kind.parse(&text)) else {
        return;
    };
    // In iPXE a text ends at its first NUL.
    if kind == Type::String && value.contains(&0) {
        return;
    }
    if let Some(written) = kind.format(&value) {
        assert_eq!(
            kind.parse(&written).ok(),
            Some(value),
            "{text:?} became {written:?}"
        );
    }
});
