//! The counted requests, added up over the CPUs.

use std::ops::Sub;

use transport::{
    stats::{CpuStats, LATENCY_CLASSES, LatencyClass, OpcodeSlot},
    wire::Opcode,
};

use super::mapping::MappedArray;

/// What the kernel programs count, as they count it. Reading costs no system call and disturbs
/// nobody.
#[derive(Debug)]
pub struct Counters {
    cpus: MappedArray<CpuStats>,
}

impl Counters {
    pub(crate) fn new(cpus: MappedArray<CpuStats>) -> Self {
        Self { cpus }
    }

    /// All counters at this moment.
    ///
    /// # Staleness
    ///
    /// Each number by itself is one that its counter had during the call. Requests that passed
    /// during the call may be in one number and not in another.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for cpu in self.cpus.iter() {
            snapshot.starts_dropped += cpu.starts_dropped.get();
            for (slot, counts) in OpcodeSlot::all().zip(snapshot.opcodes.iter_mut()) {
                let stats = cpu.opcode(slot);
                counts.sent += stats.sent.get();
                counts.ended += stats.ended.get();
                counts.failed += stats.failed.get();
                counts.unmatched += stats.unmatched.get();
                counts.latency.sum_ns += stats.latency_sum_ns.get();
                for class in LatencyClass::all() {
                    counts.latency.classes[class.index()] += stats.latency(class).get();
                }
            }
        }
        snapshot
    }
}

/// The counters of one mount at one moment, or (by subtraction) what came between two moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Requests whose start could not be kept, see [`CpuStats::starts_dropped`].
    pub starts_dropped: u64,
    opcodes: Box<[OpcodeCounts; Opcode::TABLE_LEN]>,
}

impl Snapshot {
    /// The requests of one opcode. Opcodes beyond [`Opcode::TABLE_LEN`] are counted together.
    pub fn opcode(&self, opcode: Opcode) -> &OpcodeCounts {
        &self.opcodes[OpcodeSlot::of(opcode).index()]
    }

    /// The opcodes of which a request was seen, in their order; `None` stands for all those
    /// beyond [`Opcode::TABLE_LEN`].
    pub fn seen(&self) -> impl Iterator<Item = (Option<Opcode>, &OpcodeCounts)> {
        OpcodeSlot::all()
            .map(OpcodeSlot::opcode)
            .zip(self.opcodes.iter())
            .filter(|(_, counts)| counts.sent != 0 || counts.ended != 0)
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            starts_dropped: 0,
            opcodes: Box::new([OpcodeCounts::default(); Opcode::TABLE_LEN]),
        }
    }
}

impl Sub<&Self> for Snapshot {
    type Output = Self;

    /// What was counted since `earlier`, an earlier snapshot of the same counters.
    fn sub(mut self, earlier: &Self) -> Self {
        self.starts_dropped = self.starts_dropped.wrapping_sub(earlier.starts_dropped);
        for (now, then) in self.opcodes.iter_mut().zip(earlier.opcodes.iter()) {
            now.sent = now.sent.wrapping_sub(then.sent);
            now.ended = now.ended.wrapping_sub(then.ended);
            now.failed = now.failed.wrapping_sub(then.failed);
            now.unmatched = now.unmatched.wrapping_sub(then.unmatched);
            now.latency.sum_ns = now.latency.sum_ns.wrapping_sub(then.latency.sum_ns);
            for (now, then) in now.latency.classes.iter_mut().zip(then.latency.classes) {
                *now = now.wrapping_sub(then);
            }
        }
        self
    }
}

/// The requests of one opcode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpcodeCounts {
    /// Requests that the kernel queued for the daemon.
    pub sent: u64,
    /// Requests that came to an end: answered, aborted, or, where no answer is due, read.
    pub ended: u64,
    /// Of the ended ones, those with an error.
    pub failed: u64,
    /// Of the ended ones, those whose sending was not seen; [`transport::stats`] says which.
    pub unmatched: u64,
    /// How long the others took, from sending to end.
    pub latency: Latency,
}

/// How long requests took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// All of them together, in nanoseconds.
    pub sum_ns: u64,
    classes: [u64; LATENCY_CLASSES],
}

impl Latency {
    /// The number of requests.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// The mean in nanoseconds; `None` without requests.
    pub fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count())
    }

    /// The requests by class, the shortest latency first; classes without requests are left out.
    pub fn classes(&self) -> impl Iterator<Item = (LatencyClass, u64)> {
        LatencyClass::all()
            .zip(self.classes)
            .filter(|&(_, count)| count != 0)
    }

    /// The class that holds the `q`-quantile, which is as exact as this histogram gets: a
    /// factor of two. `None` without requests.
    ///
    /// Range of `q`: 0.0 to 1.0; 0.5 is the median.
    pub fn quantile(&self, q: f64) -> Option<LatencyClass> {
        let rank = ((self.count() as f64 * q).ceil() as u64).max(1);
        let mut below = 0;
        self.classes()
            .find(|&(_, count)| {
                below += count;
                below >= rank
            })
            .map(|(class, _)| class)
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            sum_ns: 0,
            classes: [0; LATENCY_CLASSES],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(latencies_ns: &[u64]) -> Latency {
        let mut latency = Latency::default();
        for &ns in latencies_ns {
            latency.sum_ns += ns;
            latency.classes[LatencyClass::of(ns).index()] += 1;
        }
        latency
    }

    #[test]
    fn quantiles_fall_into_the_class_of_their_rank() {
        let latency = latency(&[10, 1_000, 1_000, 1_000_000]);
        assert_eq!(latency.quantile(0.0), Some(LatencyClass::of(10)));
        assert_eq!(latency.quantile(0.5), Some(LatencyClass::of(1_000)));
        assert_eq!(latency.quantile(0.75), Some(LatencyClass::of(1_000)));
        assert_eq!(latency.quantile(0.76), Some(LatencyClass::of(1_000_000)));
        assert_eq!(latency.quantile(1.0), Some(LatencyClass::of(1_000_000)));
    }

    #[test]
    fn without_requests_there_is_no_latency() {
        let none = Latency::default();
        assert_eq!((none.mean_ns(), none.quantile(0.5)), (None, None));
    }

    #[test]
    fn a_difference_holds_what_came_between() {
        let mut earlier = Snapshot::default();
        earlier.opcodes[1].sent = 5;
        let mut later = earlier.clone();
        later.opcodes[1].sent = 7;
        later.opcodes[3].ended = 1;
        let between = later - &earlier;
        let seen: Vec<_> = between
            .seen()
            .map(|(opcode, counts)| (opcode, counts.sent))
            .collect();
        assert_eq!(
            seen,
            [(Some(Opcode::LOOKUP), 2), (Some(Opcode::GETATTR), 0)]
        );
    }
}
