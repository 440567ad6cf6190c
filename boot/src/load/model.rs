//! A device tree while it is changed (Devicetree Specification v0.4, chapter 5): read from a checked one, written anew.
//!
//! Names and values stay where they were read from; only what is new is on the heap. Of nodes or properties with one
//! name the first counts, as for Linux.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;

use super::device_tree::{
    BEGIN_NODE, END, END_NODE, HEADER_LEN, MAGIC, PROPERTY, Token, Tokens, Tree, VERSION,
};

/// A tree.
pub(super) struct Model<'a> {
    pub(super) root: Node<'a>,
    /// The memory reservation block.
    pub(super) reservations: Vec<Range<u64>>,
    /// The strings block of the tree that was read, which the names in it point to.
    strings: &'a [u8],
    /// The length of its structure block.
    structure_len: usize,
    boot_cpu: u32,
}

/// Bytes that a boot adds to a block at most, usually: a command line has 2 KiB.
const ADDED: usize = 8 * 1024;

/// A node.
#[derive(Default)]
pub(super) struct Node<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) properties: Vec<Property<'a>>,
    pub(super) children: Vec<Node<'a>>,
}

/// A property.
pub(super) struct Property<'a> {
    pub(super) name: &'a str,
    pub(super) value: Cow<'a, [u8]>,
    /// Where the strings block has the name; none for one that is new.
    name_at: Option<u32>,
}

impl<'a> Model<'a> {
    pub(super) fn read(tree: &Tree<'a>) -> Self {
        let mut tokens = tree.tokens();
        // The checked tree begins with the root.
        tokens.next();
        Self {
            root: Node::read(Cow::Borrowed(""), &mut tokens),
            reservations: tree.reservation_block().collect(),
            strings: tree.strings(),
            structure_len: tree.structure().len(),
            boot_cpu: tree.boot_cpu(),
        }
    }

    /// The tree as bytes, version 17.
    pub(super) fn to_dtb(&self) -> Vec<u8> {
        // Room for what a boot adds, so that no block is copied to grow.
        let mut strings = Vec::with_capacity(self.strings.len().saturating_add(ADDED));
        strings.extend(self.strings);
        let mut structure = Vec::with_capacity(self.structure_len.saturating_add(ADDED));
        self.root.write(&mut structure, &mut strings);
        structure.extend(END.to_be_bytes());
        let mut block: Vec<u8> = Vec::new();
        for range in &self.reservations {
            block.extend(range.start.to_be_bytes());
            block.extend(range.end.saturating_sub(range.start).to_be_bytes());
        }
        // An entry of zeros ends the list.
        block.extend([0; 16]);
        let structure_at = HEADER_LEN.saturating_add(block.len());
        let strings_at = structure_at.saturating_add(structure.len());
        let len = strings_at.saturating_add(strings.len());
        let [
            len,
            structure_at,
            strings_at,
            block_at,
            structure_len,
            strings_len,
        ] = [
            len,
            structure_at,
            strings_at,
            HEADER_LEN,
            structure.len(),
            strings.len(),
        ]
        .map(word);
        // Readable as version 16.
        let header = [
            MAGIC,
            len,
            structure_at,
            strings_at,
            block_at,
            VERSION,
            16,
            self.boot_cpu,
            strings_len,
            structure_len,
        ];
        let header = header.map(u32::to_be_bytes);
        [header.as_flattened(), &block, &structure, &strings].concat()
    }
}

impl<'a> Node<'a> {
    /// Reads up to the end of the node. The check bounded how deep this goes.
    fn read(name: Cow<'a, str>, tokens: &mut Tokens<'a>) -> Self {
        let mut node = Self {
            name,
            ..Self::default()
        };
        loop {
            match tokens.next() {
                Some(Token::Begin(name)) => node.children.push(Self::read(Cow::Borrowed(name), tokens)),
                Some(Token::Property { name, name_at, value }) => node.properties.push(Property {
                    name,
                    value: Cow::Borrowed(value),
                    name_at: Some(name_at),
                }),
                Some(Token::End) | None => return node,
            }
        }
    }

    fn write(&self, structure: &mut Vec<u8>, strings: &mut Vec<u8>) {
        structure.extend(BEGIN_NODE.to_be_bytes());
        structure.extend(self.name.as_bytes());
        structure.push(0);
        pad(structure);
        for property in &self.properties {
            let name_at = property.name_at.unwrap_or_else(|| {
                let at = word(strings.len());
                strings.extend(property.name.as_bytes());
                strings.push(0);
                at
            });
            for word in [PROPERTY, word(property.value.len()), name_at] {
                structure.extend(word.to_be_bytes());
            }
            structure.extend(&*property.value);
            pad(structure);
        }
        for child in &self.children {
            child.write(structure, strings);
        }
        structure.extend(END_NODE.to_be_bytes());
    }

    pub(super) fn property(&self, name: &str) -> Option<&[u8]> {
        let found = self.properties.iter().find(|property| property.name == name)?;
        Some(&found.value)
    }

    pub(super) fn set(&mut self, name: &'a str, value: impl Into<Cow<'a, [u8]>>) {
        let value = value.into();
        match self.properties.iter_mut().find(|property| property.name == name) {
            Some(property) => property.value = value,
            None => self.properties.push(Property {
                name,
                value,
                name_at: None,
            }),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.properties.retain(|property| property.name != name);
    }

    /// The child of that name. The unit address may be left out.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.get(self.position(name)?)
    }

    /// As `child`.
    pub(super) fn child_mut(&mut self, name: &str) -> Option<&mut Self> {
        let at = self.position(name)?;
        self.children.get_mut(at)
    }

    /// As `child`; made when it is missing.
    pub(super) fn child_or_new(&mut self, name: &str) -> &mut Self {
        // Taken out and put back, because the borrow checker cannot follow a look-up that may fail.
        let at = self.position(name);
        let child = at.map(|at| self.children.remove(at)).unwrap_or_else(|| Self {
            name: Cow::Owned(name.into()),
            ..Self::default()
        });
        self.children.insert_mut(at.unwrap_or(self.children.len()), child)
    }

    fn position(&self, name: &str) -> Option<usize> {
        let is = |own: &str| own == name || own.split_once('@').is_some_and(|(bare, _)| bare == name);
        self.children.iter().position(|child| is(&child.name))
    }
}

/// Blocks are bounded by the checks far below 4 GiB.
fn word(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn pad(structure: &mut Vec<u8>) {
    structure.resize(structure.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::super::device_tree::tests::firmware;
    use super::*;

    fn again(dtb: &[u8], change: impl FnOnce(&mut Model<'_>)) -> Vec<u8> {
        let mut model = Model::read(&Tree::check(dtb).unwrap());
        change(&mut model);
        model.to_dtb()
    }

    #[test]
    fn a_tree_read_and_written_is_the_same_to_another_reader() {
        let dtb = again(&firmware().to_dtb(), |_| ());
        // Its own checks are stricter than ours.
        let read = dtoolkit::fdt::Fdt::new(&dtb).unwrap();
        assert_eq!(dtoolkit::model::DeviceTree::from_fdt(&read), firmware());
        assert_eq!(again(&dtb, |_| ()), dtb);
    }

    #[test]
    fn the_boot_cpu_of_the_header_is_kept() {
        let mut dtb = firmware().to_dtb();
        dtb[31] = 3;
        assert_eq!(again(&dtb, |_| ())[28..32], [0, 0, 0, 3]);
    }

    #[test]
    fn children_are_found_with_and_without_their_unit_address_and_made_once() {
        let dtb = again(&firmware().to_dtb(), |model| {
            let root = &mut model.root;
            let count = root.children.len();
            root.child_or_new("memory").set("new", &b"a"[..]);
            root.child_or_new("memory@0").set("new", &b"bcd"[..]);
            assert_eq!(root.children.len(), count);
            assert!(root.child("memory@1").is_none() && root.child("mem").is_none());
            root.child_or_new("other")
                .child_or_new("below")
                .set("new", &b""[..]);
            assert_eq!(root.children.len(), count + 1);
            root.child_mut("chosen").unwrap().remove("bootargs");
        });
        let tree = Tree::check(&dtb).unwrap();
        let model = Model::read(&tree);
        assert_eq!(
            model.root.child("memory").unwrap().property("new"),
            Some(&b"bcd"[..])
        );
        let below = model.root.child("other").and_then(|other| other.child("below"));
        assert_eq!(below.unwrap().property("new"), Some(&b""[..]));
        assert_eq!(
            (tree.bootargs(), tree.stdout_path()),
            (None, Some("/soc/serial@7e215040"))
        );
    }

    #[test]
    fn the_first_of_equal_names_is_read_changed_and_kept_first() {
        let mut dtb = firmware().to_dtb();
        // Two properties of one name: the second's is pointed to the first's.
        let tree = Tree::check(&dtb).unwrap();
        let at = |name: &str| {
            let found = tree.tokens().find_map(|token| match token {
                Token::Property {
                    name: own, name_at, ..
                } if own == name => Some(name_at),
                _ => None,
            });
            found.unwrap().to_be_bytes()
        };
        let (first, second) = (at("bootargs"), at("os_prefix"));
        let property = dtb
            .windows(12)
            .position(|w| w[..4] == [0, 0, 0, 3] && w[8..] == second);
        let name_at = property.unwrap() + 8;
        dtb[name_at..name_at + 4].copy_from_slice(&first);
        let dtb = again(&dtb, |model| {
            let chosen = model.root.child_or_new("chosen");
            assert!(chosen.property("bootargs").unwrap().starts_with(b"coherent_pool"));
            chosen.set("bootargs", &b"x\0"[..]);
        });
        assert_eq!(Tree::check(&dtb).unwrap().bootargs(), Some("x"));
    }
}
