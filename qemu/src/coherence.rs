//! What `libcoherence.so` writes: each use of a byte that a cache may have made wrong, and how far the program came.

use std::fmt;

/// What the plugin's model of caches has to say about a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coherence {
    /// Where the next program was entered, once it was.
    pub handed_over: Option<u64>,
    /// Nothing is watched any more: the next program turned on its own MMU, or the machine has ended.
    pub ended: bool,
    /// Each once, in their order.
    pub findings: Vec<Finding>,
    /// How often maintenance was left out, once nothing is watched any more.
    pub left_out: u64,
}

/// A use of a byte that may be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The address of the core's instruction that did it, or that wrote the line which a device met.
    pub instruction: u64,
    /// Who is on the other side: the device that did it, or that wrote what the core met; "core" when there is none.
    pub device: String,
    /// What happened.
    pub what: String,
    /// The byte's address.
    pub address: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instruction,
            device,
            what,
            address,
        } = self;
        write!(f, "{instruction:#x}: {device}: {what}: {address:#x}")
    }
}

/// Reads the plugin's lines out of `text`, which may hold others.
pub(crate) fn parse(text: &str) -> Coherence {
    let mut coherence = Coherence::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("coherence: ")) {
        if let Some(finding) = line.strip_prefix("found: ").and_then(finding) {
            coherence.findings.push(finding);
        } else if let Some(place) = line.strip_prefix("hands over to ") {
            coherence.handed_over = place.split(',').next().and_then(number);
        } else if let Some(numbers) = line.strip_prefix("ends, ") {
            coherence.ended = true;
            let left_out = numbers
                .split_once(" found, ")
                .and_then(|(_, rest)| rest.split(' ').next());
            coherence.left_out = left_out.and_then(|text| text.parse().ok()).unwrap_or(0);
        }
    }
    coherence
}

fn finding(line: &str) -> Option<Finding> {
    let mut parts = line.split(": ");
    let finding = Finding {
        instruction: number(parts.next()?)?,
        device: parts.next()?.to_owned(),
        what: parts.next()?.to_owned(),
        address: number(parts.next()?)?,
    };
    parts.next().is_none().then_some(finding)
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugins_lines_are_read_whatever_stands_between_them() {
        let text = "coherence: found: 0x3b0412a8: dwc2: reads what may be stale: 0x3bc01004\n\
                    cpu 0 insns: 2040\n\
                    coherence: hands over to 0x200000, 1 found\n\
                    coherence: ends, 1 found, 7 left out\n";
        let coherence = parse(text);
        assert_eq!(coherence.handed_over, Some(0x20_0000));
        assert!(coherence.ended);
        assert_eq!((coherence.findings.len(), coherence.left_out), (1, 7));
        assert_eq!(
            coherence.findings[0].to_string(),
            "0x3b0412a8: dwc2: reads what may be stale: 0x3bc01004"
        );
    }

    #[test]
    fn a_boot_that_is_not_over_has_not_ended() {
        assert_eq!(parse("total insns: 7\n"), Coherence::default());
        assert!(parse("coherence: found: 0x1: a: b\n").findings.is_empty());
    }
}
