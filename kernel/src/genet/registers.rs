//! GENET v5's registers as the driver uses them (facts of Linux bcmgenet, U-Boot bcmgenet and FreeBSD if_genet agree).

use core::mem::offset_of;

use safe_mmio::fields::{ReadPure, ReadPureWrite, WriteOnly};

use crate::bits::bits;

/// Descriptors of each direction.
pub(super) const DESCRIPTORS: usize = 256;
/// The default queue: the one ring in use.
pub(super) const RING: usize = 16;

/// The whole block, 64 KiB. In it "hardware" and "software" say who moves an index.
#[repr(C)]
pub(super) struct Registers {
    /// 0x000: bits 27:24 are the major revision.
    pub(super) sys_rev_ctrl: ReadPure<u32>,
    /// 0x004: what PHY is attached.
    pub(super) sys_port_ctrl: ReadPureWrite<PortCtrl>,
    /// 0x008: bit 1 resets the UniMAC's receive side.
    pub(super) sys_rbuf_flush: ReadPureWrite<RbufFlush>,
    /// 0x00c: flushes the transmit buffer.
    pub(super) sys_tbuf_flush: ReadPureWrite<u32>,
    _0: [u32; 31],
    /// 0x08c: RGMII: link, mode, delay.
    pub(super) ext_rgmii_oob_ctrl: ReadPureWrite<OobCtrl>,
    _1: [u32; 92],
    /// 0x200, 0x240: the two interrupt controllers.
    pub(super) intrl2: [Intrl2; 2],
    _2: [u32; 32],
    /// 0x300: receive buffer.
    pub(super) rbuf_ctrl: ReadPureWrite<RbufCtrl>,
    _3: [u32; 4],
    /// 0x314: checks of received frames.
    pub(super) rbuf_chk_ctrl: ReadPureWrite<ChkCtrl>,
    _4: [u32; 31],
    /// 0x394: frames lost because the receive buffer was full.
    pub(super) rbuf_ovfl_cnt: ReadPureWrite<u32>,
    /// 0x398: frames in error.
    pub(super) rbuf_err_cnt: ReadPureWrite<u32>,
    /// 0x39c: energy saving of the receive buffer.
    pub(super) rbuf_energy_ctrl: ReadPureWrite<EnergyCtrl>,
    _5: [u32; 5],
    /// 0x3b4.
    pub(super) rbuf_tbuf_size_ctrl: ReadPureWrite<u32>,
    _6: [u32; 146],
    /// 0x600: transmit buffer.
    pub(super) tbuf_ctrl: ReadPureWrite<TbufCtrl>,
    _7: [u32; 4],
    /// 0x614: energy saving of the transmit buffer.
    pub(super) tbuf_energy_ctrl: ReadPureWrite<EnergyCtrl>,
    _8: [u32; 124],
    /// 0x808: the MAC's switches.
    pub(super) umac_cmd: ReadPureWrite<UmacCmd>,
    /// 0x80c: bytes 0 to 3 of the MAC address.
    pub(super) umac_mac0: ReadPureWrite<u32>,
    /// 0x810: bytes 4 and 5.
    pub(super) umac_mac1: ReadPureWrite<u32>,
    /// 0x814: longest frame.
    pub(super) umac_max_frame: ReadPureWrite<u32>,
    _9: [u32; 19],
    /// 0x864: energy-efficient Ethernet.
    pub(super) umac_eee_ctrl: ReadPureWrite<EeeCtrl>,
    _10: [u32; 179],
    /// 0xb34: 1 drops what waits for transmission.
    pub(super) umac_tx_flush: ReadPureWrite<TxFlush>,
    _11: [u32; 146],
    /// 0xd80: resets counters.
    pub(super) umac_mib_ctrl: ReadPureWrite<MibCtrl>,
    _12: [u32; 36],
    /// 0xe14: MDIO.
    pub(super) mdio_cmd: ReadPureWrite<MdioCmd>,
    _13: [u32; 14],
    /// 0xe50: which address filters are on.
    pub(super) umac_mdf_ctrl: ReadPureWrite<Filters>,
    /// 0xe54: the filters: bytes 0 and 1, bytes 2 to 5.
    pub(super) umac_mdf_addr: [[ReadPureWrite<u32>; 2]; 17],
    _14: [u32; 1097],
    /// 0x2000: receive.
    pub(super) rdma: Dma,
    _15: [u32; 1004],
    /// 0x4000: transmit.
    pub(super) tdma: Dma,
    _16: [u32; 10988],
    /// 0xfc00: hardware filters of whole frames.
    pub(super) hfb_ctrl: ReadPureWrite<u32>,
    /// 0xfc04: which are on.
    pub(super) hfb_enable: [ReadPureWrite<u32>; 2],
}

/// An interrupt controller.
#[repr(C)]
pub(super) struct Intrl2 {
    _0: [u32; 2],
    /// +0x08: clears.
    pub(super) clear: WriteOnly<u32>,
    _1: u32,
    /// +0x10: masks.
    pub(super) mask: WriteOnly<u32>,
    _2: [u32; 11],
}

/// A direction.
#[repr(C)]
pub(super) struct Dma {
    /// +0x000: in the block itself, not in RAM.
    pub(super) descriptors: [Descriptor; DESCRIPTORS],
    /// +0xc00: rings.
    pub(super) rings: [Ring; 17],
    /// +0x1040: bit r turns ring r on.
    pub(super) ring_cfg: ReadPureWrite<RingCfg>,
    /// +0x1044: bit 0 turns all on, bit r + 1 the buffers of ring r.
    pub(super) ctrl: ReadPureWrite<DmaCtrl>,
    /// +0x1048: bit 0 when stopped.
    pub(super) status: ReadPure<DmaStatus>,
    /// +0x104c: bus burst.
    pub(super) scb_burst_size: ReadPureWrite<u32>,
}

/// A descriptor. Only `ring` knows its bits.
#[repr(C)]
pub(super) struct Descriptor {
    /// +0: length and status.
    pub(super) length_status: ReadPureWrite<LengthStatus>,
    /// +4: physical address, low word.
    pub(super) address_low: ReadPureWrite<u32>,
    /// +8: high word.
    pub(super) address_high: ReadPureWrite<u32>,
}

/// A ring. The two directions name these registers from the other side, and agree on their places.
#[repr(C)]
pub(super) struct Ring {
    /// +0x00: hardware's place, in words: RX writes, TX reads.
    pub(super) hardware_pointer: [ReadPureWrite<u32>; 2],
    /// +0x08: RX producer (bits 31:16 count frames that found no descriptor), TX consumer. Cannot be set.
    pub(super) hardware_index: ReadPureWrite<u32>,
    /// +0x0c: RX consumer, TX producer.
    pub(super) software_index: ReadPureWrite<u32>,
    /// +0x10: descriptors << 16 + bytes of a buffer.
    pub(super) size: ReadPureWrite<u32>,
    /// +0x14: first word of the ring.
    pub(super) start: [ReadPureWrite<u32>; 2],
    /// +0x1c: last word.
    pub(super) end: [ReadPureWrite<u32>; 2],
    /// +0x24: frames for an interrupt.
    pub(super) done_threshold: ReadPureWrite<u32>,
    /// +0x28: RX: free descriptors that start and end a pause; TX: flow period.
    pub(super) flow: ReadPureWrite<u32>,
    /// +0x2c: software's place, in words.
    pub(super) software_pointer: [ReadPureWrite<u32>; 2],
    _0: [u32; 3],
}

const _: () = {
    assert!(offset_of!(Registers, ext_rgmii_oob_ctrl) == 0x08c);
    assert!(offset_of!(Registers, intrl2) == 0x200);
    assert!(offset_of!(Registers, rbuf_ctrl) == 0x300);
    assert!(offset_of!(Registers, rbuf_chk_ctrl) == 0x314);
    assert!(offset_of!(Registers, rbuf_ovfl_cnt) == 0x394);
    assert!(offset_of!(Registers, rbuf_tbuf_size_ctrl) == 0x3b4);
    assert!(offset_of!(Registers, tbuf_ctrl) == 0x600);
    assert!(offset_of!(Registers, umac_cmd) == 0x808);
    assert!(offset_of!(Registers, umac_eee_ctrl) == 0x864);
    assert!(offset_of!(Registers, umac_tx_flush) == 0xb34);
    assert!(offset_of!(Registers, umac_mib_ctrl) == 0xd80);
    assert!(offset_of!(Registers, mdio_cmd) == 0xe14);
    assert!(offset_of!(Registers, umac_mdf_ctrl) == 0xe50);
    assert!(offset_of!(Registers, rdma) == 0x2000);
    assert!(offset_of!(Registers, tdma) == 0x4000);
    assert!(offset_of!(Registers, hfb_ctrl) == 0xfc00);
    assert!(size_of::<Intrl2>() == 0x40 && size_of::<Ring>() == 0x40 && size_of::<Descriptor>() == 12);
    assert!(offset_of!(Dma, rings) == 0xc00 && offset_of!(Dma, ring_cfg) == 0x1040);
};

/// SYS_REV_CTRL: the major revision of "v5".
pub(super) const MAJOR_V5: u32 = 6;
/// UMAC_MAX_FRAME: with tags, check sequence and room.
pub(super) const MAX_FRAME: u32 = 1536;
/// SCB_BURST_SIZE: the BCM2711's; other SoCs take 16.
pub(super) const SCB_BURST: u32 = 8;

bits! {
    /// SYS_PORT_CTRL.
    pub(super) struct PortCtrl {
        /// An external gigabit PHY.
        EXTERNAL_GIGABIT = 3,
    }

    /// SYS_RBUF_FLUSH.
    pub(super) struct RbufFlush {
        /// The receive FIFO loses what is in it.
        FIFO = 1 << 0,
        /// Reset of the UniMAC.
        UNIMAC = 1 << 1,
    }

    /// EXT_RGMII_OOB_CTRL.
    pub(super) struct OobCtrl {
        /// There is a link.
        LINK = 1 << 4,
        /// Ignore what the PHY says in-band.
        DISABLE = 1 << 5,
        /// RGMII is in use.
        RGMII_MODE = 1 << 6,
        /// The MAC does not delay the transmit clock.
        ID_MODE_DISABLE = 1 << 16,
    }

    /// RBUF_CTRL.
    pub(super) struct RbufCtrl {
        /// A 64-byte status block before each frame.
        STATUS_BLOCK = 1 << 0,
        /// Two bytes before each frame, so that IP headers are aligned.
        ALIGN_2B = 1 << 1,
        /// Frames in error are not handed over.
        BAD_DISCARD = 1 << 2,
    }

    /// RBUF_CHK_CTRL.
    pub(super) struct ChkCtrl {
        /// Verify checksums.
        ENABLE = 1 << 0,
        /// The frame check sequence is in the buffer and is to be left out.
        SKIP_FCS = 1 << 4,
        /// Sum without looking at headers.
        NO_PARSING = 1 << 5,
    }

    /// TBUF_CTRL.
    pub(super) struct TbufCtrl {
        /// A status block before each frame.
        STATUS_BLOCK = 1 << 0,
    }

    /// RBUF_ENERGY_CTRL and TBUF_ENERGY_CTRL.
    pub(super) struct EnergyCtrl {
        /// Energy-efficient Ethernet and power management.
        ON = 0b11,
    }

    /// UMAC_CMD. Bits 3:2 are the speed.
    pub(super) struct UmacCmd {
        /// Transmit.
        TX_EN = 1 << 0,
        /// Receive.
        RX_EN = 1 << 1,
        /// 10 Mb/s.
        SPEED_10 = 0 << 2,
        /// 100 Mb/s.
        SPEED_100 = 1 << 2,
        /// 1000 Mb/s.
        SPEED_1000 = 2 << 2,
        /// Received pause frames do nothing.
        RX_PAUSE_IGNORE = 1 << 8,
        /// Half duplex.
        HALF_DUPLEX = 1 << 10,
        /// In reset.
        SW_RESET = 1 << 13,
        /// Loop back: gives the reset a clock while the PHY has none.
        LOCAL_LOOP = 1 << 15,
        /// No pause frames are sent.
        TX_PAUSE_IGNORE = 1 << 28,
    }

    /// UMAC_EEE_CTRL.
    pub(super) struct EeeCtrl {
        /// On.
        ENABLE = 1 << 3,
    }

    /// UMAC_TX_FLUSH.
    pub(super) struct TxFlush {
        /// Drops what waits for transmission.
        ON = 1,
    }

    /// UMAC_MIB_CTRL.
    pub(super) struct MibCtrl {
        /// Reset of all counters.
        RESET = 0b111,
    }

    /// MDIO_CMD. Bits 25:21 are the PHY, 20:16 its register, 15:0 the value.
    pub(super) struct MdioCmd {
        /// Starts an access; set until its end.
        START_BUSY = 1 << 29,
        /// Nobody answered.
        READ_FAIL = 1 << 28,
        /// A write.
        WRITE = 1 << 26,
        /// A read.
        READ = 2 << 26,
    }

    /// UMAC_MDF_CTRL.
    pub(super) struct Filters {
        /// All 17; bit 16 is the first.
        ALL = (1 << 17) - 1,
    }

    /// RING_CFG of a direction.
    pub(super) struct RingCfg {
        /// The default queue alone.
        RING = 1 << RING,
    }

    /// CTRL of a direction.
    pub(super) struct DmaCtrl {
        /// The engine runs.
        ENABLE = 1 << 0,
        /// And `RING` has its buffers.
        RUNNING = 1 << 0 | 1 << (RING + 1),
    }

    /// STATUS of a direction.
    pub(super) struct DmaStatus {
        /// Stopped.
        DISABLED = 1 << 0,
    }

    /// length_status of a descriptor. Bits 27:16 are the length.
    pub(super) struct LengthStatus {
        /// The frame's first piece and its last.
        WHOLE = 1 << 13 | 1 << 14,
        /// Receive: L4 checksum verified.
        CHECKSUM_OK = 1 << 15,
        /// Receive: too long, odd nibble, receive error, CRC, overflow.
        ERRORS = 0b1_1111,
        /// Transmit: the hardware appends the check sequence.
        APPEND_CRC = 1 << 6,
        /// Transmit: no queue tag.
        QTAG = 0x3f << 7,
    }
}
