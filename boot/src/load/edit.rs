//! Hands on a device tree that can grow: properties, children, paths and aliases.

use alloc::borrow::ToOwned;
use alloc::string::String;

use dtoolkit::model::{DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property, ToPropertyValue};

use super::device_tree::text;

pub(crate) fn set(node: &mut DeviceTreeNode, name: &str, value: impl ToPropertyValue) {
    node.add_property(DeviceTreeProperty::new_unchecked(name, value));
}

/// The child of that name, made when it is missing. Like Linux's reader it takes the first one whose name is the
/// same without a unit address, so that what is written here is what will be read.
pub(super) fn child<'n>(node: &'n mut DeviceTreeNode, name: &str) -> &'n mut DeviceTreeNode {
    let name = (*node).child(name).map_or(name, |child| child.name()).to_owned();
    node.add_child_mut(DeviceTreeNode::new_unchecked(name))
}

/// The node at a path whose unit addresses may be left out.
pub(super) fn find<'n>(root: &'n mut DeviceTreeNode, path: &str) -> Option<&'n mut DeviceTreeNode> {
    let mut node = root;
    for component in path.split('/').filter(|name| !name.is_empty()) {
        let name = (*node).child(component)?.name().to_owned();
        node = node.child_mut(&name)?;
    }
    Some(node)
}

pub(super) fn alias(root: &DeviceTreeNode, name: &str) -> Option<String> {
    text(root.child("aliases")?.property(name)?.value()).map(ToOwned::to_owned)
}
