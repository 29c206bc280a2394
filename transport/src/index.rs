//! Positions, indices and lengths: each its own type, so that none passes for another.

use bytemuck::{Pod, Zeroable};

/// An unsigned integer that positions run over. `u32` in production; `u8` where a test tries every
/// value.
pub trait Width: Copy + Eq + core::fmt::Debug {
    /// The smallest position.
    const ZERO: Self;
    /// How many positions there are, less one.
    const LAST: u64;
    /// `self + n`, around the end.
    fn forward(self, n: Self) -> Self;
    /// `self - earlier`, around the end.
    fn since(self, earlier: Self) -> Self;
    /// As a number.
    fn to_u64(self) -> u64;
    /// The low bits of a number.
    fn low(n: u64) -> Self;
}

macro_rules! widths {
    ($($ty:ty),+) => {$(
        impl Width for $ty {
            const ZERO: Self = 0;
            const LAST: u64 = <$ty>::MAX as u64;
            #[inline(always)]
            fn forward(self, n: Self) -> Self { self.wrapping_add(n) }
            #[inline(always)]
            fn since(self, earlier: Self) -> Self { self.wrapping_sub(earlier) }
            #[inline(always)]
            fn to_u64(self) -> u64 { self as u64 }
            #[inline(always)]
            fn low(n: u64) -> Self { n as $ty }
        }
    )+};
}
widths!(u8, u32);

/// A free-running position in a ring. It wraps; which of two is ahead shows in their distance
/// only, and that is right as long as they are less than half of all positions apart.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Position<W = u32>(pub W);

impl<W: Width> Position<W> {
    /// Where every ring starts.
    pub const ZERO: Self = Self(W::ZERO);

    /// The position behind this one.
    #[inline(always)]
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.forward(W::low(1)))
    }

    /// The position `n` further.
    #[inline(always)]
    #[must_use]
    pub fn plus(self, n: u32) -> Self {
        Self(self.0.forward(W::low(n as u64)))
    }

    /// How many steps lead from `earlier` to here. A position *behind* `earlier` comes out as a
    /// huge distance, which [`used`] refuses.
    #[inline(always)]
    pub fn distance_from(self, earlier: Self) -> u64 {
        self.0.since(earlier.0).to_u64()
    }

    /// Whether this position is ahead of `other` by at least one step and less than half of all.
    #[inline(always)]
    pub fn is_ahead_of(self, other: Self) -> bool {
        let distance = self.distance_from(other);
        distance != 0 && distance <= W::LAST / 2
    }

    /// Which of `capacity` places the position falls on.
    #[inline(always)]
    pub fn place<const CAPACITY: usize>(self) -> usize {
        const { assert!(CAPACITY.is_power_of_two()) };
        self.0.to_u64() as usize & (CAPACITY - 1)
    }
}

/// How many of `CAPACITY` places are in use between `head` and `tail`; `None` if that cannot be.
#[inline(always)]
pub fn used<W: Width, const CAPACITY: usize>(
    tail: Position<W>,
    head: Position<W>,
) -> Option<usize> {
    const { assert!(CAPACITY.is_power_of_two() && CAPACITY as u64 <= W::LAST / 2 + 1) };
    let distance = tail.distance_from(head);
    if distance <= CAPACITY as u64 {
        Some(distance as usize)
    } else {
        None
    }
}

/// A FUSE queue: the number of a possible CPU. Range: 0 .. 4096, by the tag's width.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Pod, Zeroable)]
pub struct QueueIndex(pub u16);

/// A slot within its queue. Range: 0 .. [`MAX_DEPTH`](crate::layout::MAX_DEPTH).
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Pod, Zeroable)]
pub struct SlotIndex(pub u16);

impl SlotIndex {
    /// The element of this slot in maps that hold all slots of a mount, queue by queue.
    #[inline(always)]
    pub const fn element(self, queue: QueueIndex, depth: u32) -> u32 {
        (queue.0 as u32)
            .wrapping_mul(depth)
            .wrapping_add(self.0 as u32)
    }
}

/// A lane within its queue.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LaneIndex(pub u8);

impl LaneIndex {
    /// Requests that are short: names, attributes, open and close.
    pub const METADATA: Self = Self(0);
    /// Requests that move data or may wait long.
    pub const BULK: Self = Self(1);

    /// The element of this lane in the map of a mount's lanes.
    #[inline(always)]
    pub const fn element(self, queue: QueueIndex) -> u32 {
        queue.0 as u32 * crate::layout::LANES_PER_QUEUE as u32 + self.0 as u32
    }
}

/// A ring within its queue.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RingIndex(pub u8);

impl RingIndex {
    /// The worker engine's only ring; in the kernel engine the one whose SQ the program writes.
    pub const PROGRAM: Self = Self(0);
    /// In the kernel engine the ring whose SQ the daemon writes.
    pub const DAEMON: Self = Self(1);

    /// The element of this ring in the map of a mount's rings.
    #[inline(always)]
    pub const fn element(self, queue: QueueIndex, rings_per_queue: u32) -> u32 {
        (queue.0 as u32)
            .wrapping_mul(rings_per_queue)
            .wrapping_add(self.0 as u32)
    }
}

/// FUSE's number of a request, and its commit id. Range: 1 .. 2^61; the kernel counts up by two
/// from 2 and does not come around (`FUSE_REQ_ID_STEP`, fs/fuse/fuse_dev_i.h).
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Unique(u64);

impl Unique {
    /// The number, if it is one that a request can have.
    #[inline(always)]
    pub const fn new(number: u64) -> Option<Self> {
        if number != 0 && number < 1 << 61 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Position<u8>> {
        (0..=u8::MAX).map(Position)
    }

    #[test]
    fn distance_undoes_plus_for_every_pair() {
        for p in all() {
            for n in 0..=u8::MAX {
                assert_eq!(p.plus(n.into()).distance_from(p), n.into());
            }
        }
    }

    #[test]
    fn of_two_different_positions_less_than_half_apart_exactly_one_is_ahead() {
        for a in all() {
            for b in all() {
                let apart_by_half = a.distance_from(b) == 128;
                if a == b || apart_by_half {
                    assert!(!a.is_ahead_of(b) || apart_by_half);
                } else {
                    assert_ne!(a.is_ahead_of(b), b.is_ahead_of(a));
                }
            }
        }
    }

    fn used_is_right_for_every_pair<const CAPACITY: usize>() {
        for head in all() {
            for tail in all() {
                let steps = (0..=255u32).find(|n| head.plus(*n) == tail).unwrap() as usize;
                let expected = (steps <= CAPACITY).then_some(steps);
                assert_eq!(used::<u8, CAPACITY>(tail, head), expected);
            }
        }
    }

    #[test]
    fn used_is_right_for_every_pair_and_capacity() {
        used_is_right_for_every_pair::<1>();
        used_is_right_for_every_pair::<2>();
        used_is_right_for_every_pair::<4>();
        used_is_right_for_every_pair::<64>();
        used_is_right_for_every_pair::<128>();
    }

    #[test]
    fn neighbouring_positions_fall_on_neighbouring_places_at_the_wrap_too() {
        for p in all() {
            assert_eq!(p.next().place::<8>(), (p.place::<8>() + 1) % 8);
            assert!(p.place::<8>() < 8);
        }
    }

    #[test]
    fn places_of_a_full_ring_are_all_different() {
        for head in all() {
            let mut seen = [false; 8];
            for n in 0..8 {
                let place = head.plus(n).place::<8>();
                assert!(!core::mem::replace(&mut seen[place], true));
            }
        }
    }
}
