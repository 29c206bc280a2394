//! The `user_data` of our SQEs, which the kernel hands back in the CQE (protocol 1.3).

use crate::index::{QueueIndex, RingIndex, SlotIndex};

/// What a tag starts with: the one comparison that foreign completions cost.
pub const TAG_MAGIC: u16 = 0x5a17;

/// What was submitted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TagKind {
    /// A command of a ring entry.
    Entry,
    /// A wake of a consumer, whose number stands in place of the slot.
    Wake,
    /// Nothing but its completion, at which the program wakes that consumer (protocol 6.7).
    Nudge,
    /// A command of an entry that lies outside the maps; its number stands in place of the slot.
    /// The program leaves its completions to the daemon (protocol 6.9).
    Private,
}

/// A tag, taken apart.
///
/// ```text
///  63     48 47    32  31  30  29  28  27   16 15     0
///  |  magic | cookie | 0 | kind  |ring| queue |  slot |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tag {
    /// Which mount of this machine. Chosen at random; it tells mounts apart in traces.
    pub cookie: u16,
    /// What was submitted.
    pub kind: TagKind,
    /// On which ring of the queue.
    pub ring: RingIndex,
    /// Which queue. Range: 0 .. 4096.
    pub queue: QueueIndex,
    /// Which slot of it.
    pub slot: SlotIndex,
}

impl Tag {
    /// The tag as `user_data`.
    #[inline(always)]
    pub const fn to_user_data(self) -> u64 {
        let kind = match self.kind {
            TagKind::Entry => 0,
            TagKind::Wake => 1,
            TagKind::Nudge => 2,
            TagKind::Private => 3,
        };
        (TAG_MAGIC as u64) << 48
            | (self.cookie as u64) << 32
            | kind << 29
            | ((self.ring.0 & 1) as u64) << 28
            | ((self.queue.0 & 0xfff) as u64) << 16
            | self.slot.0 as u64
    }

    /// The tag in `user_data`, or `None` if that is none.
    #[inline(always)]
    pub const fn from_user_data(user_data: u64) -> Option<Self> {
        if (user_data >> 48) as u16 != TAG_MAGIC {
            return None;
        }
        let kind = match (user_data >> 29) & 7 {
            0 => TagKind::Entry,
            1 => TagKind::Wake,
            2 => TagKind::Nudge,
            3 => TagKind::Private,
            _ => return None,
        };
        Some(Self {
            cookie: (user_data >> 32) as u16,
            kind,
            ring: RingIndex((user_data >> 28) as u8 & 1),
            queue: QueueIndex((user_data >> 16) as u16 & 0xfff),
            slot: SlotIndex(user_data as u16),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_its_user_data() {
        for kind in [
            TagKind::Entry,
            TagKind::Wake,
            TagKind::Nudge,
            TagKind::Private,
        ] {
            for ring in [RingIndex::PROGRAM, RingIndex::DAEMON] {
                let tag = Tag {
                    cookie: 0xbeef,
                    kind,
                    ring,
                    queue: QueueIndex(0xfff),
                    slot: SlotIndex(0x1234),
                };
                assert_eq!(Tag::from_user_data(tag.to_user_data()), Some(tag));
            }
        }
    }

    #[test]
    fn values_without_the_magic_or_with_a_reserved_bit_are_no_tags() {
        let tag = u64::from(TAG_MAGIC) << 48;
        assert!(Tag::from_user_data(tag).is_some());
        assert_eq!(Tag::from_user_data(0), None);
        assert_eq!(Tag::from_user_data(tag ^ 1 << 48), None);
        assert_eq!(Tag::from_user_data(tag | 1 << 31), None);
        assert_eq!(Tag::from_user_data(tag | 4 << 29), None);
    }
}
