//! The jump: everything quiet and in memory (Linux `Documentation/arch/arm64/booting.rst`); jump.S sets the registers.

use boot::Handoff;

use kernel::{cpu, log};

// SAFETY: as jump.S defines it.
unsafe extern "C" {
    fn jump(entry: u64, device_tree: u64) -> !;
}

/// Starts the kernel. The NIC is quiet already; nothing of ours runs again.
///
/// # Safety
///
/// `handoff` describes a loaded kernel outside our own memory, and no device writes to memory any more.
pub(crate) unsafe fn jump_to(handoff: Handoff) -> ! {
    log::drain();
    for range in &handoff.written {
        // Physical addresses of the payload region: mapped one to one, below 1 GiB.
        cpu::clean_and_invalidate(range.start as usize, (range.end - range.start) as usize);
    }
    cpu::stop_event_stream();
    // SAFETY: the caller's word; entry and tree are clean in memory now.
    unsafe { jump(handoff.entry, handoff.device_tree) }
}
