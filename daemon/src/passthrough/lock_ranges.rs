//! The byte ranges that one owner has locked: what the lower kernel holds for it, known here too.

use transport::wire::FileLock;

/// Which bytes, both ends included. `end` is `i64::MAX` for a lock to the end of the file and
/// beyond.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteRange {
    /// First byte, 0 ..= `i64::MAX`.
    pub start: u64,
    /// Last byte, `start` ..= `i64::MAX`.
    pub end: u64,
}

/// The last byte a file can have.
pub const LAST_BYTE: u64 = i64::MAX as u64;

impl ByteRange {
    /// Every byte.
    pub const ALL: Self = Self {
        start: 0,
        end: LAST_BYTE,
    };

    /// The range of a request's lock; `None` if it is none.
    pub fn of(lock: &FileLock) -> Option<Self> {
        let range = Self {
            start: lock.start,
            end: lock.end,
        };
        (range.start <= range.end && range.end <= LAST_BYTE).then_some(range)
    }

    /// Whether the two have a byte in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// Shared or exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// `F_RDLCK`.
    Read,
    /// `F_WRLCK`.
    Write,
}

impl LockKind {
    /// Whether two owners cannot hold the two at once.
    pub fn conflicts(self, other: Self) -> bool {
        self == Self::Write || other == Self::Write
    }
}

/// The locks of one owner on one inode: disjoint ranges in ascending order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LockRanges(Vec<(ByteRange, LockKind)>);

impl LockRanges {
    /// Replaces whatever is held in `range` by `kind`, or by nothing.
    pub fn set(&mut self, range: ByteRange, kind: Option<LockKind>) {
        let mut after = Vec::with_capacity(self.0.len() + 2);
        for &(held, held_kind) in &self.0 {
            if !held.overlaps(range) {
                after.push((held, held_kind));
                continue;
            }
            if held.start < range.start {
                let end = range.start - 1;
                after.push((ByteRange { end, ..held }, held_kind));
            }
            if held.end > range.end {
                let start = range.end + 1;
                after.push((ByteRange { start, ..held }, held_kind));
            }
        }
        if let Some(kind) = kind {
            after.push((range, kind));
        }
        after.sort_unstable_by_key(|(held, _)| held.start);
        after.dedup_by(|next, previous| {
            let joins = previous.1 == next.1 && previous.0.end + 1 == next.0.start;
            if joins {
                previous.0.end = next.0.end;
            }
            joins
        });
        self.0 = after;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is held, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (ByteRange, LockKind)> {
        self.0.iter().copied()
    }

    /// Whether another owner's `kind` on `range` has to wait for one of these.
    pub fn conflicts(&self, range: ByteRange, kind: LockKind) -> bool {
        self.iter()
            .any(|(held, held_kind)| held.overlaps(range) && held_kind.conflicts(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES: u64 = 12;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    #[test]
    fn the_middle_of_a_lock_can_be_taken_out() {
        let mut ranges = LockRanges::default();
        ranges.set(ByteRange::ALL, Some(LockKind::Write));
        ranges.set(range(10, 19), None);
        let held: Vec<_> = ranges.iter().map(|(held, _)| held).collect();
        assert_eq!(held, [range(0, 9), range(20, LAST_BYTE)]);
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_none() {
        let lock = |start, end| FileLock {
            start,
            end,
            ..FileLock::default()
        };
        assert!(ByteRange::of(&lock(2, 1)).is_none());
        assert!(ByteRange::of(&lock(0, u64::MAX)).is_none());
        assert_eq!(ByteRange::of(&lock(0, LAST_BYTE)), Some(ByteRange::ALL));
    }

    proptest! {
        #[test]
        fn ranges_are_what_a_table_of_bytes_would_be(
            steps in prop::collection::vec((0..BYTES, 0..BYTES, 0..3_u8), 0..30)
        ) {
            let mut ranges = LockRanges::default();
            let mut table = [None; BYTES as usize];
            for (a, b, kind) in steps {
                let kind = match kind {
                    0 => None,
                    1 => Some(LockKind::Read),
                    _ => Some(LockKind::Write),
                };
                let step = range(a.min(b), a.max(b));
                ranges.set(step, kind);
                table[step.start as usize..=step.end as usize].fill(kind);
                for byte in 0..BYTES {
                    let held = ranges.iter().find(|(held, _)| held.overlaps(range(byte, byte)));
                    prop_assert_eq!(held.map(|(_, kind)| kind), table[byte as usize]);
                }
                let all: Vec<_> = ranges.iter().collect();
                for pair in all.windows(2) {
                    let gap = pair[0].0.end + 1 < pair[1].0.start;
                    let adjoin = pair[0].0.end + 1 == pair[1].0.start;
                    prop_assert!(gap || (adjoin && pair[0].1 != pair[1].1));
                }
            }
        }
    }
}
