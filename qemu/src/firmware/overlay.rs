//! `dtoverlay` and `dtparam`: overlays are merged by dtc's `fdtoverlay`, parameters are what `__overrides__` says.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};

use crate::machine::Directory;

/// Frees the PL011 of Bluetooth, as the Pi's overlay of this name does; `speed` is a parameter of ours.
const DISABLE_BT: &str = r#"/dts-v1/;
/plugin/;
/ {
    compatible = "brcm,bcm2835";
    fragment@0 {
        target = <&uart0>;
        uart: __overlay__ {
            status = "okay";
            max-speed = <9600>;
        };
    };
    __overrides__ {
        speed = <&uart>, "max-speed:0";
    };
};
"#;

/// An overlay in place of the Pi's own `disable-bt.dtbo`, which is not ours to have, made by `dtc`.
///
/// # Errors
///
/// When there is no `dtc`.
pub fn disable_bt() -> Result<Vec<u8>> {
    let directory = Directory::new()?;
    let source = directory.path().join("disable-bt.dts");
    fs::write(&source, DISABLE_BT)?;
    let output = Command::new("dtc")
        .args(["-q", "-I", "dts", "-O", "dtb"])
        .arg(&source)
        .output()
        .context("dtc (Debian: device-tree-compiler)")?;
    ensure!(
        output.status.success(),
        "dtc: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// Merges `overlay` into `tree`, in files of `directory`.
///
/// # Errors
///
/// When they do not fit, with what `fdtoverlay` says; when there is none.
pub(crate) fn merged(tree: &[u8], overlay: &[u8], directory: &Path) -> Result<Vec<u8>> {
    let file = |name: &str| directory.join(name);
    fs::write(file("base.dtb"), tree)?;
    fs::write(file("overlay.dtbo"), overlay)?;
    let output = Command::new("fdtoverlay")
        .arg("-i")
        .arg(file("base.dtb"))
        .arg("-o")
        .arg(file("merged.dtb"))
        .arg(file("overlay.dtbo"))
        .output()
        .context("fdtoverlay (Debian: device-tree-compiler)")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")
    );
    Ok(fs::read(file("merged.dtb"))?)
}

/// Sets parameters of a tree or an overlay; `say` hears of each that does nothing, as the firmware's own log does.
///
/// # Errors
///
/// When `blob` is no tree.
pub(crate) fn with_parameters(
    blob: &[u8],
    parameters: &[(String, String)],
    say: &mut dyn FnMut(String),
) -> Result<Vec<u8>> {
    if parameters.is_empty() {
        return Ok(blob.to_vec());
    }
    let fdt = Fdt::new(blob).map_err(anyhow::Error::msg)?;
    let mut tree = DeviceTree::from_fdt(&fdt);
    for (name, value) in parameters {
        let targets = fdt
            .find_node("/__overrides__")
            .and_then(|node| node.property(name).map(|property| property.value().to_vec()));
        let Some(targets) = targets else {
            say(format!("dtparam={name}={value} (no such parameter)"));
            continue;
        };
        let mut rest = &*targets;
        while let Some((handle, behind)) = rest.split_first_chunk() {
            let end = behind.iter().position(|byte| *byte == 0).unwrap_or(behind.len());
            let (target, behind) = behind.split_at(end);
            rest = behind.get(1..).unwrap_or_default();
            let target = String::from_utf8_lossy(target);
            if !set(&mut tree, u32::from_be_bytes(*handle), &target, value) {
                say(format!("dtparam={name}={value} ({target}: not emulated)"));
            }
        }
    }
    Ok(tree.to_dtb())
}

/// Sets one property of the node with this handle: `status`, a string, `name:OFFSET` a cell, `name?` a flag. False for what
/// else there is: `;` and `.` for smaller and larger numbers, `[…]` bytes, fragments switched on and off, look-up tables.
fn set(tree: &mut DeviceTree, handle: u32, target: &str, value: &str) -> bool {
    let Some(node) = with_handle(&mut tree.root, handle) else {
        return false;
    };
    let on = match value {
        "on" | "yes" | "y" | "true" | "okay" | "1" => Some(true),
        "off" | "no" | "n" | "false" | "disabled" | "0" => Some(false),
        _ => None,
    };
    if let Some((name, offset)) = target.split_once(':') {
        let number = match value.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => value.parse().ok().or(on.map(u32::from)),
        };
        let (Ok(offset), Some(number)) = (offset.parse::<usize>(), number) else {
            return false;
        };
        let mut bytes = node
            .property(name)
            .map(|property| property.value().to_vec())
            .unwrap_or_default();
        bytes.resize(bytes.len().max(offset + 4), 0);
        bytes[offset..offset + 4].copy_from_slice(&number.to_be_bytes());
        node.add_property(DeviceTreeProperty::new_unchecked(name, bytes));
    } else if let Some(name) = target.strip_suffix('?') {
        match on {
            Some(true) => node.add_property(DeviceTreeProperty::new_unchecked(name, Vec::<u8>::new())),
            Some(false) => drop(node.remove_property(name)),
            None => return false,
        }
    } else if target.contains([';', '.', '[', '{', '=', '!']) {
        return false;
    } else {
        let text = match (target, on) {
            ("status", Some(true)) => "okay",
            ("status", Some(false)) => "disabled",
            _ => value,
        };
        node.add_property(DeviceTreeProperty::new_unchecked(target, text));
    }
    true
}

fn with_handle(node: &mut DeviceTreeNode, handle: u32) -> Option<&mut DeviceTreeNode> {
    if node
        .property("phandle")
        .and_then(|value| value.value_as::<u32>().ok())
        == Some(handle)
    {
        return Some(node);
    }
    node.children_mut().find_map(|child| with_handle(child, handle))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Vec<u8> {
        let mut tree = DeviceTree::new();
        let mut device = DeviceTreeNode::new_unchecked("device");
        device.add_property(DeviceTreeProperty::new_unchecked("phandle", 7_u32));
        device.add_property(DeviceTreeProperty::new_unchecked("status", "disabled"));
        device.add_property(DeviceTreeProperty::new_unchecked("speed", vec![1_u32, 2]));
        tree.root.add_child(device);
        let mut overrides = DeviceTreeNode::new_unchecked("__overrides__");
        for (name, target) in [
            ("device", &b"status\0"[..]),
            ("speed", b"speed:4\0"),
            ("fast", b"fast?\0"),
            ("odd", b"speed;0\0"),
            ("both", b"status\0\0\0\0\x07fast?\0"),
        ] {
            let value = [&[0, 0, 0, 7][..], target].concat();
            overrides.add_property(DeviceTreeProperty::new_unchecked(name, value));
        }
        tree.root.add_child(overrides);
        tree.to_dtb()
    }

    #[test]
    fn parameters_set_what_overrides_name() {
        let mut said = vec![];
        let mut with = |parameters: &[(&str, &str)]| {
            let parameters: Vec<(String, String)> = parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let blob = with_parameters(&tree(), &parameters, &mut |line| said.push(line)).unwrap();
            let tree = Fdt::new(&blob).unwrap();
            let node = tree.find_node("/device").unwrap();
            let value = |name: &str| node.property(name).map(|property| property.value().to_vec());
            (value("status").unwrap(), value("speed").unwrap(), value("fast"))
        };
        let stock = (b"disabled\0".to_vec(), vec![0, 0, 0, 1, 0, 0, 0, 2], None);
        assert_eq!(with(&[]), stock);
        assert_eq!(with(&[("odd", "3"), ("none", "on")]), stock);
        let all = with(&[("device", "on"), ("speed", "0x12"), ("fast", "on")]);
        assert_eq!(
            all,
            (b"okay\0".to_vec(), vec![0, 0, 0, 1, 0, 0, 0, 0x12], Some(vec![]))
        );
        assert_eq!(
            with(&[("both", "on")]),
            (b"okay\0".to_vec(), stock.1.clone(), Some(vec![]))
        );
        assert_eq!(
            said,
            [
                "dtparam=odd=3 (speed;0: not emulated)",
                "dtparam=none=on (no such parameter)"
            ]
        );
    }
}
