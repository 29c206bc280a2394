//! What the kernel programs count and the daemon reads: one [`CpuStats`] a CPU, in an array map.
//!
//! Written by: the programs `fuse_request_send` and `fuse_request_end`, each in the element of the
//! CPU it runs on. Read by: the daemon, at any time, without a system call. Every word only grows,
//! so nothing is handed over and there is no order to keep: whoever adds up the elements sees, of
//! each word by itself, a value it had at some moment while it was read. Two words may be apart
//! by the requests of that time.
//!
//! Facts about the kernel, from fs/fuse/dev.c and dev_uring.c and from trying them on Linux 6.18.44:
//!
//! - FORGET, BATCH_FORGET and INTERRUPT pass neither tracepoint and are not counted.
//! - What an application or the kernel asks for passes both, in the background or not, whatever
//!   the transport. Up to some 6.18 a background request that goes over an io_uring (read-ahead,
//!   write-back, RELEASE) passed the second only: there it is counted as ended and unmatched.
//! - A request that finds the connection gone ends without having been sent: unmatched, too.

use crate::{sync::Tally, wire::Opcode};

/// How many classes of latency are told apart.
pub const LATENCY_CLASSES: usize = 35;

/// Where the requests of one opcode are counted. Range: below [`Opcode::TABLE_LEN`]. Slot 0, which
/// is no opcode's, takes those that the table has no slot for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpcodeSlot(u8);

impl OpcodeSlot {
    /// The slot in which `opcode` is counted.
    pub const fn of(opcode: Opcode) -> Self {
        if opcode.0 < Opcode::TABLE_LEN as u32 {
            Self(opcode.0 as u8)
        } else {
            Self(0)
        }
    }

    /// Every slot, in the order of the opcodes.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Opcode::TABLE_LEN as u8).map(Self)
    }

    /// The opcode that is counted here; `None` for the slot that takes all those without one.
    pub const fn opcode(self) -> Option<Opcode> {
        match self.0 {
            0 => None,
            opcode => Some(Opcode(opcode as u32)),
        }
    }

    /// The slot's index in a table of [`Opcode::TABLE_LEN`] slots.
    pub const fn index(self) -> usize {
        // The mask changes nothing: it proves to compiler and verifier that the index is in range.
        self.0 as usize & (Opcode::TABLE_LEN - 1)
    }
}

/// A class of latencies: class `c` takes 2^c to 2^(c+1) - 1 nanoseconds. Class 0 takes 0 as well,
/// and the last one everything longer: from 2^34 ns (17 s) on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LatencyClass(u8);

impl LatencyClass {
    /// The class of a request that took `latency_ns` nanoseconds.
    pub const fn of(latency_ns: u64) -> Self {
        let log2 = (latency_ns | 1).ilog2();
        if log2 < LATENCY_CLASSES as u32 {
            Self(log2 as u8)
        } else {
            Self(LATENCY_CLASSES as u8 - 1)
        }
    }

    /// Every class, the shortest latency first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..LATENCY_CLASSES as u8).map(Self)
    }

    /// The shortest latency in this class, in nanoseconds.
    pub const fn floor_ns(self) -> u64 {
        match self.0 {
            0 => 0,
            log2 => 1 << log2,
        }
    }

    /// The longest latency in this class, in nanoseconds; of the last class, which has none: the
    /// end of the range it would have.
    pub const fn ceiling_ns(self) -> u64 {
        (2 << self.0) - 1
    }

    /// The class's index in a table of [`LATENCY_CLASSES`] classes.
    pub const fn index(self) -> usize {
        // Always the first arm: the comparison proves to the compiler that the index is in range.
        if (self.0 as usize) < LATENCY_CLASSES {
            self.0 as usize
        } else {
            LATENCY_CLASSES - 1
        }
    }
}

/// The requests of one opcode, as counted on one CPU. A request may be sent on one CPU and end on
/// another: only sums over all CPUs mean anything.
#[repr(C)]
#[derive(Debug)]
pub struct OpcodeStats {
    /// Requests that the kernel queued for the daemon.
    pub sent: Tally,
    /// Requests that came to an end: answered, aborted, or, where no answer is due, read.
    pub ended: Tally,
    /// Of the ended ones, those with an error.
    pub failed: Tally,
    /// Of the ended ones, those whose sending was not seen: their latency is not known.
    pub unmatched: Tally,
    /// Nanoseconds from sending to end, of all the requests in `latency` together.
    pub latency_sum_ns: Tally,
    latency: [Tally; LATENCY_CLASSES],
}

impl OpcodeStats {
    /// The requests whose time from sending to end is in `class`.
    #[inline(always)]
    pub fn latency(&self, class: LatencyClass) -> &Tally {
        &self.latency[class.index()]
    }
}

/// What the programs counted on one CPU: an element of the array map.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct CpuStats {
    /// Requests whose start could not be kept: their ends will be unmatched.
    pub starts_dropped: Tally,
    reserved: [u64; 7],
    opcodes: [OpcodeStats; Opcode::TABLE_LEN],
}

impl CpuStats {
    /// The requests counted in `slot`.
    #[inline(always)]
    pub fn opcode(&self, slot: OpcodeSlot) -> &OpcodeStats {
        &self.opcodes[slot.index()]
    }
}

// loom's atomics have another size
#[cfg(not(shmfuse_loom))]
const _: () = {
    assert!(Opcode::TABLE_LEN.is_power_of_two());
    assert!(size_of::<OpcodeStats>() == 5 * 64);
    assert!(size_of::<CpuStats>() == 64 + Opcode::TABLE_LEN * size_of::<OpcodeStats>());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_opcode_has_a_slot_of_its_own() {
        for &opcode in Opcode::ALL {
            assert_eq!(OpcodeSlot::of(opcode).opcode(), Some(opcode));
        }
    }

    #[test]
    fn an_opcode_beyond_the_table_shares_slot_0() {
        for unknown in [0, Opcode::TABLE_LEN as u32, 4096, u32::MAX] {
            assert_eq!(OpcodeSlot::of(Opcode(unknown)).opcode(), None);
        }
    }

    #[test]
    fn the_classes_meet_without_a_gap() {
        let mut next_ns = 0;
        for class in LatencyClass::all() {
            assert_eq!(class.floor_ns(), next_ns);
            assert_eq!(LatencyClass::of(class.floor_ns()), class);
            assert_eq!(LatencyClass::of(class.ceiling_ns()), class);
            next_ns = class.ceiling_ns() + 1;
        }
        assert_eq!(
            LatencyClass::of(next_ns),
            LatencyClass::all().next_back().unwrap()
        );
        assert_eq!(
            LatencyClass::of(u64::MAX),
            LatencyClass::all().next_back().unwrap()
        );
    }
}
