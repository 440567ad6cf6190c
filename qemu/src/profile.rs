//! What the counting plugins write when a machine ends: `libinsn.so` a sum, `libexecuted.so` a line for each instruction.

/// An instruction of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Its virtual address.
    pub address: u64,
    /// How often it was executed.
    pub executions: u64,
}

/// The sum over all cores; none when the machine did not come to its end.
pub(crate) fn instructions(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("total insns: "))?
        .parse()
        .ok()
}

/// Every instruction that was executed; none when the machine did not come to its end, or a line is cut off.
pub(crate) fn executed(text: &str) -> Option<Vec<Instruction>> {
    let mut lines = text.lines();
    lines.by_ref().find(|line| *line == "address, executions")?;
    // What another plugin writes may follow.
    let rows = lines.take_while(|line| line.starts_with("0x"));
    rows.map(|line| {
        let (address, executions) = line.strip_prefix("0x")?.split_once(", ")?;
        Some(Instruction {
            address: u64::from_str_radix(address, 16).ok()?,
            executions: executions.parse().ok()?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "address, executions\n0x3b041000, 2040\n0xffff800008010000, 7\n\
                        cpu 0 insns: 2040\ncpu 1 insns: 7\ntotal insns: 2047\n";

    #[test]
    fn sum_and_executions_are_found_whoever_writes_first() {
        let (sum, executions) = TEXT.split_at(TEXT.find("cpu 0").unwrap());
        for text in [TEXT.to_owned(), format!("{executions}{sum}")] {
            assert_eq!(instructions(&text), Some(2047));
            let found = executed(&text).unwrap();
            let [first, second] = found[..] else { panic!() };
            assert_eq!((first.address, first.executions), (0x3b04_1000, 2040));
            assert_eq!((second.address, second.executions), (0xffff_8000_0801_0000, 7));
        }
    }

    #[test]
    fn a_machine_that_was_killed_has_none() {
        assert_eq!(instructions("cpu 0 insns: 2040\n"), None);
        assert_eq!(instructions("total insns: many\n"), None);
        assert_eq!(executed(""), None);
        assert_eq!(executed("address, executions\n0x10\n"), None);
        assert_eq!(executed("address, executions\n0x1x, 1\n"), None);
    }
}
