//! Device tree overlays, as `dtc -@` writes them, onto a tree (Linux `overlay-notes.rst`; the behaviour is libfdt's).
//!
//! An overlay's own phandles move above the base's, `__fixups__` asks the base's `__symbols__` for nodes by label, each
//! fragment's `__overlay__` is merged into its target, and the overlay's symbols join the base's. One thing is as the Pi's
//! own loader has it, and refused by libfdt: a target that only a later fragment of the overlay adds. What that loader alone
//! understands (`__overrides__`, `__dormant__`) is passed over: such an overlay has the parameters it ships with.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use dtoolkit::model::{DeviceTree, DeviceTreeNode};
use dtoolkit::{Node, Property};

use super::device_tree::{self, DEPTH_LIMIT, HEAP_LIMIT, Tree, text};
use super::edit::{alias, child, find, set};
use crate::text::ascii;

/// Overlays of one boot.
pub const MAX_OVERLAYS: usize = 16;
/// The most heap that an unpacked overlay may take, in bytes. The largest of the Pi's, `sx150x`, takes 662 KB.
pub const OVERLAY_HEAP_LIMIT: usize = 1 << 20;

/// The longest property with references, in bytes: it is copied for each of them.
const REFERENCES_LIMIT: usize = 8192;

const FIXUPS: &str = "__fixups__";
const LOCAL_FIXUPS: &str = "__local_fixups__";
const SYMBOLS: &str = "__symbols__";
const OVERLAY: &str = "__overlay__";
/// The name of a dormant fragment's addition. A parameter would wake it, but only the Pi's own loader has parameters.
const DORMANT: &str = "__dormant__";
const PHANDLES: [&str; 2] = ["phandle", "linux,phandle"];

/// Why an overlay is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The file is no usable device tree.
    Tree(device_tree::Error),
    /// No fragment in it has anything to add.
    NoFragment,
    /// The phandles of base and overlay do not fit into 32 bits together.
    Phandles,
    /// A reference in it, listed under this name, is not where the list says.
    Reference(String),
    /// The base has no symbols at all.
    NoSymbols,
    /// The base has no node of this label.
    Symbol(String),
    /// This fragment has no target in the base.
    Target(String),
    /// The nodes would be nested too deep.
    TooDeep,
    /// Base and overlays would take too much memory together.
    TooBig,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(why) => why.fmt(f),
            Self::NoFragment => write!(
                f,
                "is no overlay: no fragment of it has a node {OVERLAY} or {DORMANT}"
            ),
            Self::Phandles => f.write_str("has phandles that do not fit into 32 bits"),
            Self::Reference(name) => write!(f, "is corrupt: no reference is where its list for {name} says"),
            Self::NoSymbols => write!(
                f,
                "needs labels, and the device tree has none ({SYMBOLS}; dtc -@ writes them)"
            ),
            Self::Symbol(label) => write!(f, "needs the label {label}, which the device tree does not have"),
            Self::Target(fragment) => write!(f, "has a target for {fragment} that the device tree lacks"),
            Self::TooDeep => write!(f, "would nest nodes more than {DEPTH_LIMIT} levels deep"),
            Self::TooBig => write!(
                f,
                "would take more than {HEAP_LIMIT} bytes unpacked with the device tree"
            ),
        }
    }
}

/// An overlay, and what to call it.
#[derive(Debug, Clone, Copy)]
pub struct Overlay<'a> {
    /// The URL that it came from.
    pub name: &'a str,
    /// Its bytes, unchecked.
    pub bytes: &'a [u8],
}

/// `base` with the overlays on it, in order. One that cannot be applied leaves no trace but a warning: a node that boots
/// without it can be reached and mended (D-69).
pub fn merged(base: &Tree<'_>, overlays: &[Overlay<'_>]) -> DeviceTree {
    merged_with(base, overlays, &|_| {})
}

/// As [`merged`], but `prepare` changes the base first.
pub(super) fn merged_with(
    base: &Tree<'_>,
    overlays: &[Overlay<'_>],
    prepare: &dyn Fn(&mut DeviceTreeNode),
) -> DeviceTree {
    let mut wanted: Vec<&Overlay<'_>> = overlays.iter().take(MAX_OVERLAYS).collect();
    for left_out in overlays.iter().skip(MAX_OVERLAYS) {
        warn!(
            "load: overlay {} is left out: at most {} are applied",
            left_out.name, MAX_OVERLAYS
        );
    }
    let mut told = false;
    // An overlay may fail when half of it is merged: then all begins again without it, so at most 17 times.
    loop {
        let (mut tree, twin) = base.unpacked();
        if let Some(twin) = twin.filter(|_| !told) {
            told = true;
            twins("the device tree", &twin);
        }
        prepare(&mut tree.root);
        let mut room = HEAP_LIMIT.saturating_sub(base.heap());
        let mut effects = Vec::with_capacity(wanted.len());
        let failed = wanted.iter().enumerate().find_map(|(index, overlay)| {
            match apply(&mut tree.root, overlay, &mut room) {
                Ok(effect) => {
                    effects.push(effect);
                    None
                }
                Err(why) => Some((index, overlay.name, why)),
            }
        });
        let Some((index, name, why)) = failed else {
            for (overlay, effect) in wanted.iter().zip(effects) {
                match effect {
                    Effect::Some => info!("load: overlay {} applied", overlay.name),
                    Effect::None => warn!(
                        "load: overlay {} changes nothing: all of it waits for parameters ({}), which it does not get here",
                        overlay.name, DORMANT
                    ),
                }
            }
            return tree;
        };
        warn!("load: overlay {} {}; it is left out", name, why);
        wanted.remove(index);
    }
}

/// The effect of an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Something was merged.
    Some,
    /// Nothing was merged: all of its fragments are dormant.
    None,
}

/// Applies one overlay. `room` is the heap that the tree may still grow by. After an error the base is in between (D-70).
fn apply(base: &mut DeviceTreeNode, overlay: &Overlay<'_>, room: &mut usize) -> Result<Effect, Error> {
    let tree = Tree::check_within(overlay.bytes, OVERLAY_HEAP_LIMIT).map_err(Error::Tree)?;
    // It is there twice while it is merged.
    let twice = tree.heap().saturating_mul(2);
    room.checked_sub(twice).ok_or(Error::TooBig)?;
    *room = room.saturating_sub(tree.heap());
    let mut overlay = unpacked(&tree, overlay.name);
    let local = overlay.remove_child(LOCAL_FIXUPS);
    let delta = max_phandle(base);
    move_phandles(&mut overlay, delta)?;
    if let Some(local) = &local {
        edit(&mut overlay, local, &|phandle| phandle.checked_add(delta))?;
    }
    if let Some(fixups) = overlay.remove_child(FIXUPS) {
        resolve(base, &mut overlay, &fixups)?;
    }
    if let Some(local) = &local {
        keep_phandles(base, &mut overlay, local)?;
    }
    let folded = fold(base, &mut overlay)?;
    let symbols = overlay.remove_child(SYMBOLS);
    let mut targets: Vec<(&str, String)> = Vec::new();
    for (fragment, addition) in additions(&overlay) {
        let path = target(base, fragment).ok_or_else(|| Error::Target(ascii(fragment.name())))?;
        let depth = path.split('/').filter(|name| !name.is_empty()).count();
        let node = find(base, &path).ok_or_else(|| Error::Target(ascii(fragment.name())))?;
        merge(node, addition, depth)?;
        targets.push((fragment.name(), path));
    }
    if targets.is_empty() {
        let mut fragments = overlay.children();
        return if fragments.any(|fragment| fragment.child(DORMANT).is_some()) {
            Ok(Effect::None)
        } else {
            Err(Error::NoFragment)
        };
    }
    // The last first: it may have taken in those before.
    for (name, place) in folded.iter().rev() {
        if let Some(path) = rebased(place, &targets) {
            targets.push((name, path));
        }
    }
    if let Some(symbols) = symbols {
        add_symbols(base, &symbols, &targets, room)?;
    }
    Ok(Effect::Some)
}

/// Says that two nodes of one name side by side are taken for one, the values of the second in it.
fn twins(whose: &str, name: &str) {
    warn!(
        "load: {} has two nodes {} side by side, which are taken for one",
        whose,
        ascii(name)
    );
}

/// An overlay's nodes. Of two fragments with one name the second gets another, so that each keeps its target.
fn unpacked(tree: &Tree<'_>, whose: &str) -> DeviceTreeNode {
    let fdt = tree.fdt();
    let mut overlay = DeviceTreeNode::new_unchecked("");
    for fragment in fdt.root().children() {
        let mut name = fragment.name().to_owned();
        if overlay.child_mut(&name).is_some() {
            name = format!("{name}, number {}", overlay.children().count());
        }
        let mut node = DeviceTreeNode::new_unchecked(name);
        if let Some(twin) = device_tree::unpack(&mut node, &fragment) {
            twins(whose, &twin);
        }
        overlay.add_child(node);
    }
    overlay
}

/// Merges each fragment whose target is a node that a later fragment adds into that one, in order, as the Pi's loader does.
/// Returns the names of those fragments, each with the place in the overlay where its addition went (D-114).
fn fold(base: &DeviceTreeNode, overlay: &mut DeviceTreeNode) -> Result<Vec<(String, String)>, Error> {
    let names: Vec<String> = additions(overlay)
        .map(|(fragment, _)| fragment.name().to_owned())
        .collect();
    let mut folded = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let Some(place) = later_place(base, overlay, names.get(index..).unwrap_or_default()) else {
            continue;
        };
        let addition = overlay
            .child_mut(name)
            .and_then(|fragment| fragment.remove_child(OVERLAY));
        let (Some(addition), Some(node)) = (addition, find(overlay, &place)) else {
            continue;
        };
        // The fragment and its addition are no levels of the result.
        let depth = place.matches('/').count().saturating_sub(2);
        merge(node, &addition, depth)?;
        folded.push((name.clone(), place));
    }
    Ok(folded)
}

/// The place, in a later fragment, of the node that the first of `names` is for: the base has no node with that phandle, and no
/// fragment before adds one (D-114).
fn later_place(base: &DeviceTreeNode, overlay: &DeviceTreeNode, names: &[String]) -> Option<String> {
    let (name, later) = names.split_first()?;
    let wanted = number(overlay.child(name)?.property("target")?.value())?;
    later.iter().find_map(|name| {
        let mut path = String::new();
        let addition = overlay.child(name)?.child(OVERLAY)?;
        let found = find_phandle(addition, wanted, &mut path);
        let elsewhere = || find_phandle(base, wanted, &mut String::new());
        (found && !elsewhere()).then(|| format!("/{name}/{OVERLAY}{path}"))
    })
}

/// A node's phandle, when it has one.
fn phandle(node: &DeviceTreeNode) -> Option<u32> {
    PHANDLES
        .iter()
        .find_map(|name| number(node.property(name)?.value()))
}

fn number(value: &[u8]) -> Option<u32> {
    let bytes: [u8; 4] = value.try_into().ok()?;
    let number = u32::from_be_bytes(bytes);
    // Both mean that there is none.
    (number != 0 && number != u32::MAX).then_some(number)
}

fn max_phandle(node: &DeviceTreeNode) -> u32 {
    let below = node.children().map(max_phandle).max().unwrap_or(0);
    phandle(node).unwrap_or(0).max(below)
}

/// Adds `delta` to every phandle that a node of the overlay has.
fn move_phandles(node: &mut DeviceTreeNode, delta: u32) -> Result<(), Error> {
    for name in PHANDLES {
        if let Some(property) = node.property_mut(name)
            && let Some(old) = number((&*property).value())
        {
            let new = old.checked_add(delta).filter(|new| *new != u32::MAX);
            property.set_value(new.ok_or(Error::Phandles)?);
        }
    }
    node.children_mut()
        .try_for_each(|child| move_phandles(child, delta))
}

/// Replaces the reference at `offset` of a property; `None` when there is none.
fn replace(
    node: &mut DeviceTreeNode,
    name: &str,
    offset: usize,
    new: &dyn Fn(u32) -> Option<u32>,
) -> Option<()> {
    let property = node.property_mut(name)?;
    let shared = &*property;
    let value = Some(shared.value()).filter(|value| value.len() <= REFERENCES_LIMIT);
    let mut value = value?.to_vec();
    let reference = value.get_mut(offset..)?.first_chunk_mut::<4>()?;
    *reference = new(u32::from_be_bytes(*reference))?.to_be_bytes();
    property.set_value(value);
    Some(())
}

/// Changes every reference to a node of the overlay's own. `local` has the shape of the overlay; its properties hold
/// the offsets of the references in the property of that name.
fn edit(
    node: &mut DeviceTreeNode,
    local: &DeviceTreeNode,
    new: &dyn Fn(u32) -> Option<u32>,
) -> Result<(), Error> {
    for offsets in local.properties() {
        let name = Property::name(&offsets);
        for offset in offsets.value().as_chunks::<4>().0 {
            replace(node, name, u32::from_be_bytes(*offset) as usize, new)
                .ok_or_else(|| Error::Reference(ascii(name)))?;
        }
    }
    for local in local.children() {
        let wrong = || Error::Reference(ascii(local.name()));
        edit(node.child_mut(local.name()).ok_or_else(wrong)?, local, new)?;
    }
    Ok(())
}

/// Writes the phandles of the base's labelled nodes where the overlay refers to them: `label = "path:property:offset"`.
fn resolve(
    base: &mut DeviceTreeNode,
    overlay: &mut DeviceTreeNode,
    fixups: &DeviceTreeNode,
) -> Result<(), Error> {
    for places in fixups.properties() {
        let label = Property::name(&places);
        let wrong = || Error::Reference(ascii(label));
        let symbols = (*base).child(SYMBOLS).ok_or(Error::NoSymbols)?;
        let path = symbols
            .property(label)
            .and_then(|path| text(path.value()).map(ToOwned::to_owned));
        let phandle = path
            .and_then(|path| phandle(find(base, &path)?))
            .ok_or_else(|| Error::Symbol(ascii(label)))?;
        let places = places.value().strip_suffix(b"\0").ok_or_else(wrong)?;
        for place in places.split(|byte| *byte == 0) {
            let place = core::str::from_utf8(place).map_err(|_| wrong())?;
            let (place, offset) = place.rsplit_once(':').ok_or_else(wrong)?;
            let (path, name) = place.rsplit_once(':').ok_or_else(wrong)?;
            let offset: usize = offset.parse().map_err(|_| wrong())?;
            find(overlay, path)
                .and_then(|node| replace(node, name, offset, &|_| Some(phandle)))
                .ok_or_else(wrong)?;
        }
    }
    Ok(())
}

/// The path of the node that a fragment adds to.
fn target(base: &DeviceTreeNode, fragment: &DeviceTreeNode) -> Option<String> {
    if let Some(target) = fragment.property("target") {
        let mut path = String::new();
        return find_phandle(base, number(target.value())?, &mut path)
            .then(|| if path.is_empty() { "/".to_owned() } else { path });
    }
    let path = fragment.property("target-path")?;
    let path = text(path.value())?;
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    let (name, below) = path.split_once('/').unwrap_or((path, ""));
    Some(format!("{}/{below}", alias(base, name)?))
}

/// Appends to `path` the names from `node` down to the one with that phandle.
fn find_phandle(node: &DeviceTreeNode, wanted: u32, path: &mut String) -> bool {
    if phandle(node) == Some(wanted) {
        return true;
    }
    let len = path.len();
    node.children().any(|child| {
        path.truncate(len);
        path.push('/');
        path.push_str(child.name());
        find_phandle(child, wanted, path)
    })
}

/// A label in the overlay gives its node a phandle, even if the node has one already. The node keeps the old one, because
/// other nodes refer to it, and the overlay's references change to it (D-70). The node may be the base's or another fragment's.
fn keep_phandles(
    base: &mut DeviceTreeNode,
    overlay: &mut DeviceTreeNode,
    local: &DeviceTreeNode,
) -> Result<(), Error> {
    let mut same: Vec<(u32, u32)> = Vec::new();
    for (fragment, addition) in additions(overlay) {
        let wanted = fragment
            .property("target")
            .and_then(|target| number(target.value()));
        for (other, node) in additions(overlay).filter(|(other, _)| other.name() != fragment.name()) {
            let mut path = String::new();
            if wanted.is_some_and(|wanted| find_phandle(node, wanted, &mut path))
                && let Some(node) = found(other, &format!("{OVERLAY}{path}"))
            {
                collect_same(node, addition, &mut same);
            }
        }
    }
    adopt(overlay, local, &same)?;
    same.clear();
    for (fragment, addition) in additions(overlay) {
        if let Some(node) = target(base, fragment).and_then(|path| found(base, &path)) {
            collect_same(node, addition, &mut same);
        }
    }
    adopt(overlay, local, &same)
}

/// The fragments that are awake, with what they add.
fn additions(overlay: &DeviceTreeNode) -> impl Iterator<Item = (&DeviceTreeNode, &DeviceTreeNode)> {
    overlay
        .children()
        .filter_map(|fragment| Some((fragment, fragment.child(OVERLAY)?)))
}

/// The node at a path whose unit addresses may be left out.
fn found<'n>(root: &'n DeviceTreeNode, path: &str) -> Option<&'n DeviceTreeNode> {
    let mut names = path.split('/').filter(|name| !name.is_empty());
    names.try_fold(root, |node, name| node.child(name))
}

/// Makes each reference to the first of a pair one to the second.
fn adopt(overlay: &mut DeviceTreeNode, local: &DeviceTreeNode, same: &[(u32, u32)]) -> Result<(), Error> {
    if same.is_empty() {
        return Ok(());
    }
    edit(overlay, local, &|phandle| {
        let kept = same.iter().find(|(own, _)| *own == phandle);
        Some(kept.map_or(phandle, |(_, kept)| *kept))
    })
}

fn collect_same(base: &DeviceTreeNode, overlay: &DeviceTreeNode, same: &mut Vec<(u32, u32)>) {
    if let (Some(own), Some(base)) = (phandle(overlay), phandle(base)) {
        same.push((own, base));
    }
    for node in overlay.children() {
        if let Some(base) = base.child(node.name()) {
            collect_same(base, node, same);
        }
    }
}

/// Adds the properties and children of `addition` to `node`, which is `depth` levels below the root.
fn merge(node: &mut DeviceTreeNode, addition: &DeviceTreeNode, depth: usize) -> Result<(), Error> {
    if depth >= DEPTH_LIMIT as usize {
        return Err(Error::TooDeep);
    }
    let has_phandle = phandle(node).is_some();
    for property in addition.properties() {
        let name = Property::name(&property);
        if !(has_phandle && PHANDLES.contains(&name)) {
            node.add_property(property.clone());
        }
    }
    addition
        .children()
        .try_for_each(|below| merge(child(node, below.name()), below, depth.saturating_add(1)))
}

/// Gives the base the overlay's labels. A label outside of what was merged names nothing there.
fn add_symbols(
    base: &mut DeviceTreeNode,
    symbols: &DeviceTreeNode,
    targets: &[(&str, String)],
    room: &mut usize,
) -> Result<(), Error> {
    for symbol in symbols.properties() {
        let Some(path) = text(symbol.value()).and_then(|path| rebased(path, targets)) else {
            continue;
        };
        *room = room.checked_sub(path.len()).ok_or(Error::TooBig)?;
        set(child(base, SYMBOLS), Property::name(&symbol), path);
    }
    Ok(())
}

/// The path in the base of a node of the overlay, once its fragment is merged into its target.
fn rebased(path: &str, targets: &[(&str, String)]) -> Option<String> {
    let path = path.strip_prefix('/')?;
    let (fragment, path) = path.split_once('/').unwrap_or((path, ""));
    let (first, below) = path.split_once('/').unwrap_or((path, ""));
    let target = targets.iter().find(|(name, _)| *name == fragment);
    let (_, target) = target.filter(|_| first == OVERLAY)?;
    let target = target.trim_end_matches('/');
    Some(match below {
        "" if target.is_empty() => "/".to_string(),
        "" => target.to_owned(),
        below => format!("{target}/{below}"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::device_tree::tests::{ask_all, firmware, node};
    use super::*;

    /// The firmware's tree with labels, as `dtc -@` would have written them.
    fn base() -> DeviceTree {
        let mut tree = firmware();
        for (path, phandle) in [("/soc", 3_u32), ("/soc/serial@7e215040", 7)] {
            set(find(&mut tree.root, path).unwrap(), "phandle", phandle);
        }
        tree.root.add_child(node(
            SYMBOLS,
            &[
                ("soc", &"/soc"),
                ("uart1", &"/soc/serial@7e215040"),
                ("bus", &"/emmc2bus"),
            ],
            vec![],
        ));
        tree
    }

    /// An overlay with every feature: labels of the base and its own, both kinds of target, symbols, and what only the
    /// Pi's firmware understands.
    fn overlay() -> DeviceTree {
        let mut tree = DeviceTree::new();
        tree.root = node(
            "",
            &[("compatible", &"brcm,bcm2835")],
            vec![
                node(
                    "fragment@0",
                    &[("target", &u32::MAX)],
                    vec![node(
                        OVERLAY,
                        &[("phandle", &1_u32), ("status", &"okay")],
                        vec![node(
                            "rtc@68",
                            &[
                                ("phandle", &2_u32),
                                ("reg", &0x68_u32),
                                ("names", &"ab"),
                                ("mixed", &[0_u8; 11]),
                            ],
                            vec![],
                        )],
                    )],
                ),
                node(
                    "fragment@1",
                    &[("target-path", &"/")],
                    vec![node(
                        OVERLAY,
                        &[],
                        vec![node("user", &[("refers", &[2_u32, 1, 2])], vec![])],
                    )],
                ),
                node(
                    "fragment@2",
                    &[("target", &2_u32)],
                    vec![node(OVERLAY, &[("late", &[0_u8; 0])], vec![])],
                ),
                node(
                    "fragment@3",
                    &[("target", &5_u32)],
                    vec![node("__dormant__", &[], vec![])],
                ),
                node(
                    "__overrides__",
                    &[("addr", &b"\0\0\0\x02reg:0\0".as_slice())],
                    vec![],
                ),
                node(
                    SYMBOLS,
                    &[
                        ("rtc", &"/fragment@0/__overlay__/rtc@68"),
                        ("serial", &"/fragment@0/__overlay__"),
                        ("root", &"/fragment@1/__overlay__"),
                        ("elsewhere", &"/fragment@3/__dormant__/x"),
                    ],
                    vec![],
                ),
                node(
                    FIXUPS,
                    &[
                        ("uart1", &"/fragment@0:target:0"),
                        ("soc", &"/fragment@0/__overlay__/rtc@68:mixed:3"),
                    ],
                    vec![],
                ),
                node(
                    LOCAL_FIXUPS,
                    &[],
                    vec![
                        node(
                            "fragment@1",
                            &[],
                            vec![node(
                                OVERLAY,
                                &[],
                                vec![node("user", &[("refers", &[0_u32, 4])], vec![])],
                            )],
                        ),
                        node("fragment@2", &[("target", &0_u32)], vec![]),
                        node("__overrides__", &[("addr", &0_u32)], vec![]),
                    ],
                ),
            ],
        );
        tree
    }

    fn named(bytes: &[u8]) -> Overlay<'_> {
        Overlay { name: "x", bytes }
    }

    fn applied(base: &DeviceTree, overlay: &DeviceTree) -> Result<DeviceTree, String> {
        let mut tree = base.clone();
        let mut room = HEAP_LIMIT;
        apply(&mut tree.root, &named(&overlay.to_dtb()), &mut room).map_err(|why| why.to_string())?;
        Ok(tree)
    }

    fn value(tree: &DeviceTree, path: &str, name: &str) -> Vec<u8> {
        tree.find_node(path)
            .unwrap()
            .property(name)
            .unwrap()
            .value()
            .to_vec()
    }

    #[test]
    fn fragments_references_and_labels_land_where_they_belong() {
        let tree = applied(&base(), &overlay()).unwrap();
        let words = |words: &[u32]| {
            words
                .iter()
                .flat_map(|word| word.to_be_bytes())
                .collect::<Vec<_>>()
        };
        let rtc = "/soc/serial@7e215040/rtc@68";
        assert_eq!(value(&tree, "/soc/serial@7e215040", "status"), b"okay\0");
        // The overlay's own phandles moved above the base's 7.
        assert_eq!(value(&tree, rtc, "phandle"), words(&[9]));
        assert_eq!(value(&tree, rtc, "mixed"), b"\0\0\0\0\0\0\x03\0\0\0\0");
        // The label on what was merged into the base's node means that node, whose phandle others know.
        assert_eq!(value(&tree, "/soc/serial@7e215040", "phandle"), words(&[7]));
        assert_eq!(value(&tree, "/user", "refers"), words(&[9, 7, 2]));
        assert!(tree.find_node(rtc).unwrap().property("late").is_some());
        assert_eq!(
            value(&tree, "/__symbols__", "rtc"),
            b"/soc/serial@7e215040/rtc@68\0"
        );
        assert_eq!(value(&tree, "/__symbols__", "serial"), b"/soc/serial@7e215040\0");
        assert_eq!(value(&tree, "/__symbols__", "root"), b"/\0");
        assert!(
            tree.find_node("/__symbols__")
                .unwrap()
                .property("elsewhere")
                .is_none()
        );
        assert!(tree.find_node("/__overrides__").is_none());
        // Nothing else changed.
        assert_eq!(tree.find_node("/memory@0"), base().find_node("/memory@0"));
    }

    #[test]
    fn a_second_overlay_builds_on_the_first() {
        let mut second = DeviceTree::new();
        second.root = node(
            "",
            &[],
            vec![
                node(
                    "fragment@0",
                    &[("target", &u32::MAX)],
                    vec![node(OVERLAY, &[("phandle", &1_u32), ("trickle", &1_u32)], vec![])],
                ),
                node(FIXUPS, &[("rtc", &"/fragment@0:target:0")], vec![]),
            ],
        );
        let base = base().to_dtb();
        let (first, second) = (overlay().to_dtb(), second.to_dtb());
        let overlays = [("first", &first), ("second", &second)].map(|(name, bytes)| Overlay { name, bytes });
        let tree = merged(&Tree::check(&base).unwrap(), &overlays);
        assert!(
            tree.find_node("/soc/serial/rtc@68")
                .is_some_and(|rtc| rtc.property("trickle").is_some())
        );
        // Without the first it lacks a label, and leaves no trace.
        let alone = merged(&Tree::check(&base).unwrap(), &overlays[1..]);
        assert_eq!(alone, merged(&Tree::check(&base).unwrap(), &[]));
    }

    #[test]
    fn an_overlay_that_fails_in_the_middle_leaves_no_trace() {
        let mut broken = overlay();
        set(
            find(&mut broken.root, "/fragment@1").unwrap(),
            "target-path",
            "/nowhere",
        );
        let base = base().to_dtb();
        let (good, broken) = (overlay().to_dtb(), broken.to_dtb());
        let overlay = |bytes| Overlay { name: "x", bytes };
        let tree = Tree::check(&base).unwrap();
        let expected = merged(&tree, &[overlay(&good)]);
        assert_ne!(expected, merged(&tree, &[]));
        assert_eq!(
            merged(&tree, &[overlay(&broken), overlay(&good), overlay(b"\0")]),
            expected
        );
    }

    #[test]
    fn each_refusal_says_what_is_wrong() {
        let line = |change: &dyn Fn(&mut DeviceTree, &mut DeviceTreeNode)| {
            let (mut base, mut overlay) = (base(), overlay());
            change(&mut base, &mut overlay.root);
            applied(&base, &overlay).unwrap_err()
        };
        assert_eq!(
            line(&|base, _| {
                base.root.remove_child(SYMBOLS);
            }),
            "needs labels, and the device tree has none (__symbols__; dtc -@ writes them)"
        );
        assert_eq!(
            line(&|base, _| {
                child(&mut base.root, SYMBOLS).remove_property("soc");
            }),
            "needs the label soc, which the device tree does not have"
        );
        // A label whose node has no phandle cannot be referred to.
        assert_eq!(
            line(&|_, overlay| set(child(overlay, FIXUPS), "bus", "/fragment@0:target:0")),
            "needs the label bus, which the device tree does not have"
        );
        assert_eq!(
            line(&|_, overlay| set(child(overlay, "fragment@1"), "target-path", "nobody/x")),
            "has a target for fragment@1 that the device tree lacks"
        );
        for place in [
            "",
            "/fragment@0:target",
            "/x:target:0",
            "/fragment@0:x:0",
            "/fragment@0:target:1",
        ] {
            assert_eq!(
                line(&|_, overlay| set(child(overlay, FIXUPS), "soc", place)),
                "is corrupt: no reference is where its list for soc says",
                "{place}"
            );
        }
        assert_eq!(
            line(&|_, overlay| set(child(child(overlay, LOCAL_FIXUPS), "fragment@2"), "target", 1_u32)),
            "is corrupt: no reference is where its list for target says"
        );
        assert_eq!(
            line(&|base, _| set(find(&mut base.root, "/soc").unwrap(), "phandle", u32::MAX - 2)),
            "has phandles that do not fit into 32 bits"
        );
        assert_eq!(
            line(&|_, overlay| *overlay = node("", &[], vec![node("fragment@0", &[], vec![])])),
            "is no overlay: no fragment of it has a node __overlay__ or __dormant__"
        );
    }

    /// An overlay of these nodes below the root.
    fn of(children: Vec<DeviceTreeNode>) -> DeviceTree {
        let mut tree = DeviceTree::new();
        tree.root = node("", &[], children);
        tree
    }

    /// A fragment that adds to the node of this phandle.
    fn fragment(name: &str, target: u32, addition: DeviceTreeNode) -> DeviceTreeNode {
        node(name, &[("target", &target)], vec![addition])
    }

    #[test]
    fn a_target_that_a_later_fragment_adds_is_found_and_what_stands_before_wins() {
        let local = |name: &str| node(name, &[("target", &0_u32)], vec![]);
        let overlay = of(vec![
            // Into a node of a node that the last one adds, then into that one, both before they are there.
            fragment(
                "fragment@0",
                12,
                node(OVERLAY, &[("phandle", &13_u32), ("turned", &180_u32)], vec![]),
            ),
            fragment(
                "fragment@1",
                11,
                node(
                    OVERLAY,
                    &[("refers", &13_u32)],
                    vec![node("lens", &[("phandle", &12_u32), ("turned", &0_u32)], vec![])],
                ),
            ),
            node(
                "fragment@2",
                &[("target-path", &"/soc")],
                vec![node(
                    OVERLAY,
                    &[],
                    vec![node("camera@1a", &[("phandle", &11_u32)], vec![])],
                )],
            ),
            fragment("fragment@3", 12, node(OVERLAY, &[("last", &1_u32)], vec![])),
            node(
                SYMBOLS,
                &[
                    ("lens", &"/fragment@1/__overlay__/lens"),
                    ("same", &"/fragment@0/__overlay__"),
                ],
                vec![],
            ),
            node(
                LOCAL_FIXUPS,
                &[],
                vec![
                    local("fragment@0"),
                    node(
                        "fragment@1",
                        &[("target", &0_u32)],
                        vec![node(OVERLAY, &[("refers", &0_u32)], vec![])],
                    ),
                    local("fragment@3"),
                ],
            ),
        ]);
        let tree = applied(&base(), &overlay).unwrap();
        let lens = "/soc/camera@1a/lens";
        assert_eq!(value(&tree, lens, "turned"), 180_u32.to_be_bytes());
        assert_eq!(value(&tree, lens, "last"), 1_u32.to_be_bytes());
        // A label on the addition means the node that is there.
        assert_eq!(
            value(&tree, "/soc/camera@1a", "refers"),
            value(&tree, lens, "phandle")
        );
        for label in ["lens", "same"] {
            assert_eq!(value(&tree, "/__symbols__", label), b"/soc/camera@1a/lens\0");
        }
        // A fragment cannot be what makes its own target.
        let own = node(OVERLAY, &[], vec![node("x", &[("phandle", &9_u32)], vec![])]);
        let mut overlay = of(vec![fragment("fragment@0", 9, own)]);
        let fixups = node(LOCAL_FIXUPS, &[], vec![local("fragment@0")]);
        overlay.root.add_child(fixups);
        assert_eq!(
            applied(&base(), &overlay).unwrap_err(),
            "has a target for fragment@0 that the device tree lacks"
        );
    }

    #[test]
    fn an_overlay_that_sleeps_changes_nothing_and_is_one() {
        let asleep = of(vec![fragment("fragment@0", 3, node(DORMANT, &[], vec![]))]);
        let mut tree = base();
        let effect = apply(&mut tree.root, &named(&asleep.to_dtb()), &mut HEAP_LIMIT.clone());
        assert_eq!((effect, tree), (Ok(Effect::None), base()));
    }

    #[test]
    fn nodes_of_one_name_are_all_applied() {
        // No tool writes them, but some edit.
        let marked = |name: &str, target: &str, child: &str, mark: &str| {
            let inner = |name: &str, mark: &str| node(name, &[("mark", &mark), (mark, &1_u32)], vec![]);
            let addition = node(OVERLAY, &[], vec![inner(child, mark), inner("twin", "a")]);
            node(name, &[("target-path", &target)], vec![addition])
        };
        let overlay = of(vec![
            marked("fragment@0", "/soc", "x", "a"),
            marked("fragment@1", "/chosen", "twiN", "b"),
        ]);
        let mut dtb = overlay.to_dtb();
        for (from, to) in [("fragment@1", "fragment@0"), ("twiN", "twin")] {
            let at = dtb.windows(from.len()).position(|bytes| bytes == from.as_bytes());
            let at = at.unwrap();
            dtb[at..at + from.len()].copy_from_slice(to.as_bytes());
        }
        let mut tree = base();
        apply(&mut tree.root, &named(&dtb), &mut HEAP_LIMIT.clone()).unwrap();
        assert_eq!(value(&tree, "/soc/x", "mark"), b"a\0");
        // Both are in the one, and of each value the last.
        assert_eq!(value(&tree, "/chosen/twin", "b"), 1_u32.to_be_bytes());
        assert_eq!(value(&tree, "/chosen/twin", "mark"), b"a\0");
        assert!(tree.find_node("/soc/twin").is_some());
    }

    #[test]
    fn what_would_nest_too_deep_or_grow_too_big_is_left_out() {
        let mut deep = node("end", &[], vec![]);
        for _ in 0..28 {
            deep = node("n", &[], vec![deep]);
        }
        let fragment = |addition: Vec<DeviceTreeNode>| {
            let mut tree = DeviceTree::new();
            tree.root = node(
                "",
                &[],
                vec![node(
                    "fragment",
                    &[("target-path", &"/scb/ethernet/mdio")],
                    vec![node(OVERLAY, &[], addition)],
                )],
            );
            tree
        };
        assert_eq!(
            applied(&base(), &fragment(vec![deep])).unwrap_err(),
            "would nest nodes more than 32 levels deep"
        );
        let many = (0..700).map(|n| node(&format!("n{n}"), &[], vec![])).collect();
        let many = fragment(many).to_dtb();
        let base = base().to_dtb();
        let mut room = 0;
        let mut tree = DeviceTree::from_fdt(&Tree::check(&base).unwrap().fdt());
        assert_eq!(
            apply(&mut tree.root, &named(&many), &mut room),
            Err(Error::TooBig)
        );
        let huge = (0..2000).map(|n| node(&format!("n{n}"), &[], vec![])).collect();
        assert!(matches!(
            apply(
                &mut tree.root,
                &named(&fragment(huge).to_dtb()),
                &mut HEAP_LIMIT.clone()
            ),
            Err(Error::Tree(device_tree::Error::TooComplex { .. }))
        ));
        let overlays = [Overlay {
            name: "many",
            bytes: &many,
        }; MAX_OVERLAYS + 1];
        merged(&Tree::check(&base).unwrap(), &overlays);
    }

    #[test]
    fn every_changed_byte_is_a_warning_or_a_sound_tree() {
        let base = base().to_dtb();
        let golden = overlay().to_dtb();
        let tree = Tree::check(&base).unwrap();
        let mut changed = golden.clone();
        for at in 0..golden.len() {
            for flip in [0x01, 0x80, 0xff] {
                changed[at] ^= flip;
                let overlay = Overlay {
                    name: "changed",
                    bytes: &changed,
                };
                let dtb = merged(&tree, &[overlay]).to_dtb();
                ask_all(&Tree::check(&dtb).unwrap());
                changed[at] = golden[at];
            }
        }
        for len in 0..golden.len() {
            let overlay = Overlay {
                name: "cut",
                bytes: &golden[..len],
            };
            assert_eq!(merged(&tree, &[overlay]), merged(&tree, &[]));
        }
    }
}
