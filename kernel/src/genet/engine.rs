//! One direction's DMA engine: its descriptors, its one ring, started and stopped.

use safe_mmio::fields::ReadPureWrite;
use safe_mmio::{UniqueMmioPointer, field};
use smoltcp::time::Duration;

use super::registers::*;
use super::ring::BUFFER;
use crate::bits::Bits as _;
use crate::clock::Clock;
use crate::cpu;

/// Longest stop of an engine (Linux).
const STOP_PATIENCE: Duration = Duration::from_millis(5);

type Engine<'a> = UniqueMmioPointer<'a, Dma>;

/// Where the hardware is in our ring of a direction.
pub(super) fn hardware_index(dma: &mut Engine<'_>) -> u32 {
    field!(*dma, rings)
        .get(RING)
        .map_or(0, |mut ring| field!(ring, hardware_index).read())
}

/// Starts the count of frames that found no descriptor from zero.
pub(super) fn clear_lost(dma: &mut Engine<'_>) {
    if let Some(mut ring) = field!(*dma, rings).get(RING) {
        field!(ring, hardware_index).write(0);
        cpu::barrier();
    }
}

/// Tells the hardware how far the software is.
pub(super) fn set_software_index(dma: &mut Engine<'_>, index: u32) {
    if let Some(mut ring) = field!(*dma, rings).get(RING) {
        field!(ring, software_index).write(index);
    }
}

/// Gives a descriptor its buffer, for ever.
pub(super) fn point(dma: &mut Engine<'_>, descriptor: usize, address: u64) {
    if let Some(mut descriptor) = field!(*dma, descriptors).get(descriptor) {
        field!(descriptor, length_status).write(LengthStatus::none());
        field!(descriptor, address_low).write(address as u32);
        field!(descriptor, address_high).write((address >> 32) as u32);
    }
}

/// A ring over all descriptors at `index`, the only one of its direction.
pub(super) fn start_ring(dma: &mut Engine<'_>, index: u32, flow: u32) {
    const WORDS: u32 = size_of::<Descriptor>() as u32 / 4;
    field!(*dma, scb_burst_size).write(SCB_BURST);
    if let Some(mut ring) = field!(*dma, rings).get(RING) {
        let place = index % DESCRIPTORS as u32 * WORDS;
        let pair = |mut pair: UniqueMmioPointer<'_, [ReadPureWrite<u32>; 2]>, low| {
            for (mut word, value) in pair.iter().zip([low, 0]) {
                word.write(value);
            }
        };
        pair(field!(ring, start), 0);
        pair(field!(ring, end), DESCRIPTORS as u32 * WORDS - 1);
        pair(field!(ring, hardware_pointer), place);
        pair(field!(ring, software_pointer), place);
        field!(ring, size).write((DESCRIPTORS as u32) << 16 | BUFFER as u32);
        field!(ring, done_threshold).write(1);
        field!(ring, flow).write(flow);
        field!(ring, software_index).write(index);
    }
    field!(*dma, ring_cfg).write(RingCfg::RING);
}

/// Ends all its accesses to memory.
pub(super) fn stop(name: &str, dma: &mut Engine<'_>, clock: &Clock) {
    field!(*dma, ctrl).write(DmaCtrl::none());
    let stopped = clock.poll(STOP_PATIENCE, || {
        (field!(*dma, status).read().has(DmaStatus::DISABLED)).then_some(())
    });
    if stopped.is_none() {
        // Linux goes on too; an engine without buffers has nowhere to write.
        boot::warn!("nic: the {} engine does not say that it stopped", name);
    }
    field!(*dma, ring_cfg).write(RingCfg::none());
}
