//! A walk over a flattened device tree (Devicetree Specification 0.4, chapter 5).

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// What a tree says about this boot; empty where it says nothing.
#[derive(Default)]
pub(crate) struct Summary<'a> {
    pub(crate) nodes: u64,
    pub(crate) depth: u64,
    pub(crate) model: &'a [u8],
    pub(crate) serial: &'a [u8],
    pub(crate) bootargs: &'a [u8],
    pub(crate) stdout: &'a [u8],
    pub(crate) initrd_start: &'a [u8],
    pub(crate) initrd_end: &'a [u8],
    pub(crate) kaslr_seed: &'a [u8],
    pub(crate) rng_seed: &'a [u8],
    /// Whether the walk came to the tree's end.
    pub(crate) whole: bool,
}

/// Bytes of the tree by its own header; none when it has no valid magic number.
pub(crate) fn total_size(header: &[u8]) -> Option<usize> {
    (word(header, 0)? == 0xd00d_feed).then_some(word(header, 4)? as usize)
}

/// Walks the whole tree.
pub(crate) fn summary(tree: &[u8]) -> Summary<'_> {
    let mut summary = Summary::default();
    summary.whole = walk(tree, &mut summary).is_some();
    summary
}

fn walk<'a>(tree: &'a [u8], summary: &mut Summary<'a>) -> Option<()> {
    let mut at = word(tree, 8)? as usize;
    let strings = word(tree, 12)? as usize;
    let mut depth = 0_u64;
    let mut chosen = false;
    loop {
        let token = word(tree, at)?;
        at = at.checked_add(4)?;
        match token {
            BEGIN_NODE => {
                let name = text(tree, at)?;
                at = aligned(at, name.len().checked_add(1)?)?;
                depth = depth.checked_add(1)?;
                summary.nodes = summary.nodes.checked_add(1)?;
                summary.depth = summary.depth.max(depth);
                chosen = depth == 2 && name == b"chosen";
            }
            END_NODE => {
                depth = depth.checked_sub(1)?;
                chosen = false;
            }
            PROPERTY => {
                let length = word(tree, at)? as usize;
                let name = text(
                    tree,
                    strings.checked_add(word(tree, at.checked_add(4)?)? as usize)?,
                )?;
                at = at.checked_add(8)?;
                let value = tree.get(at..at.checked_add(length)?)?;
                at = aligned(at, length)?;
                let place = match (depth, chosen, name) {
                    (1, _, b"model") => &mut summary.model,
                    (1, _, b"serial-number") => &mut summary.serial,
                    (_, true, b"bootargs") => &mut summary.bootargs,
                    (_, true, b"stdout-path") => &mut summary.stdout,
                    (_, true, b"linux,initrd-start") => &mut summary.initrd_start,
                    (_, true, b"linux,initrd-end") => &mut summary.initrd_end,
                    (_, true, b"kaslr-seed") => &mut summary.kaslr_seed,
                    (_, true, b"rng-seed") => &mut summary.rng_seed,
                    _ => continue,
                };
                *place = value
                    .strip_suffix(&[0])
                    .filter(|_| place_is_text(name))
                    .unwrap_or(value);
            }
            NOP => {}
            END if depth == 0 => return Some(()),
            _ => return None,
        }
    }
}

fn place_is_text(name: &[u8]) -> bool {
    !name.starts_with(b"linux,") && !name.ends_with(b"-seed")
}

/// A big-endian number of one or two cells.
pub(crate) fn cells(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 => Some(u64::from(word(value, 0)?)),
        8 => Some(u64::from(word(value, 0)?) << 32 | u64::from(word(value, 4)?)),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(bytes.iter().fold(0, |word, &byte| word << 8 | u32::from(byte)))
}

fn text(tree: &[u8], at: usize) -> Option<&[u8]> {
    let rest = tree.get(at..)?;
    rest.get(..rest.iter().position(|&byte| byte == 0)?)
}

fn aligned(at: usize, length: usize) -> Option<usize> {
    Some(at.checked_add(length)?.checked_add(3)? & !3)
}
