//! What QEMU's counting plugins write when a machine ends: `libinsn.so` a sum, `libhotblocks.so` a line for each block.

/// Instructions that stand behind each other and were translated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The first one's virtual address.
    pub address: u64,
    /// How many there are, of four bytes each.
    pub instructions: u64,
    /// How often the block was executed. An exception in its middle counts as a whole execution.
    pub executions: u64,
}

impl Block {
    /// How many instructions its executions come to.
    pub fn executed(&self) -> u64 {
        self.instructions.saturating_mul(self.executions)
    }

    /// Whether the instruction at `address` is one of its own.
    pub fn covers(&self, address: u64) -> bool {
        address
            .checked_sub(self.address)
            .is_some_and(|offset| offset / 4 < self.instructions)
    }
}

/// The sum over all cores; none when the machine did not come to its end.
pub(crate) fn instructions(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("total insns: "))?
        .parse()
        .ok()
}

/// Every block; none when the machine did not come to its end, or a line is cut off.
pub(crate) fn blocks(text: &str) -> Option<Vec<Block>> {
    let mut lines = text.lines();
    lines
        .by_ref()
        .find(|line| *line == "pc, tcount, icount, ecount")?;
    // What another plugin writes may follow.
    let rows = lines.take_while(|line| line.starts_with("0x"));
    rows.map(|line| {
        let mut columns = line.strip_prefix("0x")?.split(", ");
        let address = u64::from_str_radix(columns.next()?, 16).ok()?;
        let _translations = columns.next()?;
        Some(Block {
            address,
            instructions: columns.next()?.parse().ok()?,
            executions: columns.next()?.parse().ok()?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "collected 2 entries in the hash table\npc, tcount, icount, ecount\n\
                        0x000000003b041000, 1, 3, 1000\n0xffff800008010000, 2, 1, 7\n\
                        cpu 0 insns: 2040\ncpu 1 insns: 7\ntotal insns: 2047\n";

    #[test]
    fn sum_and_blocks_are_found_whoever_writes_first() {
        let (blocks_first, sum_first) = (TEXT.to_owned(), {
            let (blocks, sum) = TEXT.split_at(TEXT.find("cpu 0").unwrap());
            format!("{sum}{blocks}")
        });
        for text in [blocks_first, sum_first] {
            assert_eq!(instructions(&text), Some(2047));
            let found = blocks(&text).unwrap();
            assert_eq!(found.len(), 2);
            let [first, second] = found[..] else { panic!() };
            assert_eq!(first.executed(), 3000);
            assert!(first.covers(0x3b04_1008) && !first.covers(0x3b04_100c) && !first.covers(0x3b04_0ffc));
            assert_eq!((second.address, second.executions), (0xffff_8000_0801_0000, 7));
        }
    }

    #[test]
    fn a_machine_that_was_killed_has_none() {
        assert_eq!(instructions("cpu 0 insns: 2040\n"), None);
        assert_eq!(instructions("total insns: many\n"), None);
        assert_eq!(blocks(""), None);
        assert_eq!(blocks("pc, tcount, icount, ecount\n0x10, 1, 3\n"), None);
        assert_eq!(blocks("pc, tcount, icount, ecount\n0x1x, 1, 3, 4\n"), None);
    }
}
