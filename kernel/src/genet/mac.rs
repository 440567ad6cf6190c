//! The UniMAC and its surroundings as a whole: stopped, reset, told who it is and what link it has.

use embedded_hal::delay::DelayNs;
use safe_mmio::{UniqueMmioPointer, field, field_shared};

use super::engine;
use super::registers::*;
use crate::bits::Bits as _;
use crate::clock::Clock;
use crate::ether::mii::{Link, Speed};

/// The UniMAC stops between frames: the longest takes 1.2 ms at 10 Mb/s.
const LAST_FRAME_US: u32 = 2_000;
/// Between the steps of a reset.
const RESET_STEP_US: u32 = 10;

/// UMAC_CMD of a link, before anything is enabled.
pub(super) fn command(link: Link) -> UmacCmd {
    let speed = match link.speed {
        Speed::Ten => UmacCmd::SPEED_10,
        Speed::Hundred => UmacCmd::SPEED_100,
        Speed::Thousand => UmacCmd::SPEED_1000,
    };
    let when = |condition: bool, bits| if condition { bits } else { UmacCmd::none() };
    speed
        | when(!link.full_duplex, UmacCmd::HALF_DUPLEX)
        | when(!link.pause_receive, UmacCmd::RX_PAUSE_IGNORE)
        | when(!link.pause_transmit, UmacCmd::TX_PAUSE_IGNORE)
}

/// Whether somebody before us left the MAC or an engine on.
pub(super) fn found_running(registers: &UniqueMmioPointer<'static, Registers>) -> bool {
    field_shared!(field_shared!(*registers, rdma), ctrl)
        .read()
        .has(DmaCtrl::ENABLE)
        || field_shared!(field_shared!(*registers, tdma), ctrl)
            .read()
            .has(DmaCtrl::ENABLE)
        || field_shared!(*registers, umac_cmd).read().has(UmacCmd::RX_EN)
}

/// Ends reception, then both engines, then transmission.
pub(super) fn stop(registers: &mut UniqueMmioPointer<'static, Registers>, clock: &mut Clock) {
    let cmd = field!(*registers, umac_cmd).read();
    field!(*registers, umac_cmd).write(cmd & !UmacCmd::RX_EN);
    clock.delay_us(LAST_FRAME_US);
    engine::stop("receive", &mut field!(*registers, rdma), clock);
    engine::stop("transmit", &mut field!(*registers, tdma), clock);
    field!(*registers, umac_tx_flush).write(TxFlush::ON);
    clock.delay_us(RESET_STEP_US);
    field!(*registers, umac_tx_flush).write(TxFlush::none());
    field!(*registers, umac_cmd).write(cmd & !(UmacCmd::RX_EN | UmacCmd::TX_EN));
}

/// From any state to one that is known: the UniMAC in reset, filters, offloads and interrupts as this driver wants them.
pub(super) fn reset(registers: &mut UniqueMmioPointer<'static, Registers>, clock: &mut Clock) {
    // Frames that a firmware left in the FIFO go first.
    for flush in [
        RbufFlush::FIFO,
        RbufFlush::none(),
        RbufFlush::UNIMAC,
        RbufFlush::none(),
    ] {
        field!(*registers, sys_rbuf_flush).write(flush);
        clock.delay_us(RESET_STEP_US);
    }
    field!(*registers, sys_port_ctrl).write(PortCtrl::EXTERNAL_GIGABIT);
    field!(*registers, umac_cmd).write(UmacCmd::none());
    field!(*registers, umac_cmd).write(UmacCmd::SW_RESET | UmacCmd::LOCAL_LOOP);
    clock.delay_us(RESET_STEP_US);
    // In reset until there is a link.
    field!(*registers, umac_cmd).write(UmacCmd::SW_RESET);

    let rbuf = field!(*registers, rbuf_ctrl).read();
    let rbuf = rbuf & !(RbufCtrl::STATUS_BLOCK | RbufCtrl::BAD_DISCARD) | RbufCtrl::ALIGN_2B;
    field!(*registers, rbuf_ctrl).write(rbuf);
    let check = field!(*registers, rbuf_chk_ctrl).read();
    field!(*registers, rbuf_chk_ctrl)
        .write(check & !(ChkCtrl::NO_PARSING | ChkCtrl::SKIP_FCS) | ChkCtrl::ENABLE);
    let tbuf = field!(*registers, tbuf_ctrl).read();
    field!(*registers, tbuf_ctrl).write(tbuf & !TbufCtrl::STATUS_BLOCK);
    field!(*registers, rbuf_tbuf_size_ctrl).write(1);
    // Left on by a former system they lose frames, and write to memory when they wake (raspberrypi/linux#7388).
    let energy = field!(*registers, rbuf_energy_ctrl).read();
    field!(*registers, rbuf_energy_ctrl).write(energy & !EnergyCtrl::ON);
    let energy = field!(*registers, tbuf_energy_ctrl).read();
    field!(*registers, tbuf_energy_ctrl).write(energy & !EnergyCtrl::ON);
    let eee = field!(*registers, umac_eee_ctrl).read();
    field!(*registers, umac_eee_ctrl).write(eee & !EeeCtrl::ENABLE);
    // Armed to wake a sleeping system, perhaps.
    field!(*registers, hfb_ctrl).write(0);
    for mut enable in field!(*registers, hfb_enable).iter() {
        enable.write(0);
    }
    field!(*registers, umac_mib_ctrl).write(MibCtrl::RESET);
    field!(*registers, umac_mib_ctrl).write(MibCtrl::none());
    silence(registers);
}

/// No interrupt is wanted, none is left pending.
pub(super) fn silence(registers: &mut UniqueMmioPointer<'static, Registers>) {
    for mut controller in field!(*registers, intrl2).iter() {
        field!(controller, mask).write(u32::MAX);
        field!(controller, clear).write(u32::MAX);
    }
}

/// The MAC address, and filters that pass frames for it and for all.
pub(super) fn identify(registers: &mut UniqueMmioPointer<'static, Registers>, mac: [u8; 6]) {
    let [first, second] = address_words(mac);
    field!(*registers, umac_mac0).write(first);
    field!(*registers, umac_mac1).write(second);
    field!(*registers, umac_max_frame).write(MAX_FRAME);
    let mut filters = field!(*registers, umac_mdf_addr);
    for (mut filter, address) in filters.iter().zip([mac, [0xff; 6]]) {
        for (mut word, value) in filter.iter().zip(filter_words(address)) {
            word.write(value);
        }
    }
    field!(*registers, umac_mdf_ctrl).write(filters_on(2));
}

/// UMAC_MAC0 and UMAC_MAC1.
fn address_words([a, b, c, d, e, f]: [u8; 6]) -> [u32; 2] {
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([0, 0, e, f])]
}

/// The two words of an address filter.
fn filter_words([a, b, c, d, e, f]: [u8; 6]) -> [u32; 2] {
    [u32::from_be_bytes([0, 0, a, b]), u32::from_be_bytes([c, d, e, f])]
}

/// The first `count` filters on.
fn filters_on(count: u32) -> Filters {
    Filters::ALL & !Filters::from_number(Filters::ALL.number() >> count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_becomes_speed_duplex_and_pause() {
        let link = |speed, full_duplex, pause| Link {
            speed,
            full_duplex,
            pause_receive: pause,
            pause_transmit: pause,
        };
        assert_eq!(command(link(Speed::Thousand, true, true)).number(), 0x0000_0008);
        assert_eq!(command(link(Speed::Hundred, true, false)).number(), 0x1000_0104);
        assert_eq!(command(link(Speed::Ten, false, false)).number(), 0x1000_0500);
    }

    #[test]
    fn addresses_are_split_where_the_registers_split_them() {
        let mac = [0xdc, 0xa6, 0x32, 1, 2, 3];
        assert_eq!(address_words(mac), [0xdca6_3201, 0x0203]);
        assert_eq!(filter_words(mac), [0xdca6, 0x3201_0203]);
        assert_eq!(filters_on(2).number(), 1 << 16 | 1 << 15);
        assert_eq!(filters_on(17).number(), 0x1_ffff);
    }
}
