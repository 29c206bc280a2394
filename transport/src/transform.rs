//! Transformations: attributes are shown otherwise than they are below (protocol 8.10).
//!
//! One transformation maps owners and groups, hides mode bits, and says how long attributes are valid. It
//! lies in a map, and whoever writes a reply applies it there: a program to what it answers, the
//! daemon to what it answers, by the functions here. Facts say what is below, and by which transformation
//! it is to be shown; how long it is valid they say already.
//!
//! ```text
//!  word  0 .. 12      12 .. 24     24                    25        26            27 .. 32
//!  +-----------------+------------+---------------------+---------+-------------+----------+
//!  | uid: 6 ranges   | gid: same  | hidden, has validity | seconds | nanoseconds | reserved |
//!  +-----------------+------------+---------------------+---------+-------------+----------+
//!  a range: below, shown | count, 0
//! ```

use crate::{
    layout::Blank,
    sync::{FactWord, Word},
    wire::{Attr, AttrOut, EntryOut, Statx, StatxOut},
};
use bytemuck::{Pod, Zeroable};
use core::mem::offset_of;

/// Ranges of users, and of groups, in one transformation.
pub const RANGES: usize = 6;
/// Transformations that a mount can have at a time. Number 0 changes nothing.
pub const TRANSFORMS: u32 = 64;
/// Words of a transformation.
pub const TRANSFORM_WORDS: usize = 32;
/// What is no user and no group (`INVALID_UID`, include/linux/uidgid.h): the kernel shows it as its
/// overflow id and lets nobody act as it.
pub const NOBODY: u32 = u32::MAX;
/// The mode bits that may be hidden: permissions of owner, group and others.
pub const HIDEABLE: u32 = 0o777;

/// `count` ids from `below` on are shown as those from `shown` on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Range {
    /// First id on the lower file system.
    pub below: u32,
    /// First id on the mount.
    pub shown: u32,
    /// How many; 0: the range is not there.
    pub count: u32,
    /// 0.
    pub padding: u32,
}

/// One transformation, as the words in the map have it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Pod, Zeroable)]
pub struct Transform {
    /// Of users; [`check`] says which go together.
    pub uid: [Range; RANGES],
    /// Of groups.
    pub gid: [Range; RANGES],
    /// Mode bits that are shown as 0, of [`HIDEABLE`].
    pub hidden: u32,
    /// Whether attributes are valid for the time below: 1, else 0.
    pub has_validity: u32,
    /// Seconds.
    pub valid: u64,
    /// Nanoseconds, below 1e9.
    pub valid_nsec: u32,
    /// 0.
    pub padding: u32,
    /// 0.
    pub reserved: [u64; 5],
}

const _: () = assert!(size_of::<Range>() == 16);
const _: () = assert!(size_of::<Transform>() == TRANSFORM_WORDS * 8);
const _: () = assert!(offset_of!(Transform, gid) == GID * 8);
const _: () = assert!(offset_of!(Transform, hidden) == HIDDEN * 8);
const _: () = assert!(offset_of!(Transform, valid) == VALID * 8);
const _: () = assert!(offset_of!(Transform, valid_nsec) == VALID_NSEC * 8);

/// First word of each part.
const UID: usize = 0;
const GID: usize = 12;
const HIDDEN: usize = 24;
const VALID: usize = 25;
const VALID_NSEC: usize = 26;

/// Why ranges do not go together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collision {
    /// A range is empty, or leads beyond the last id, 4294967294.
    Extent(usize),
    /// Two ranges, by their places, have an id of the lower file system in common.
    Below(usize, usize),
    /// Two ranges have an id of the mount in common.
    Shown(usize, usize),
}

/// Whether each id of these ranges has one id on the other side.
///
/// # Errors
///
/// The first pair that collides.
pub fn check(ranges: &[Range]) -> Result<(), Collision> {
    let fits = |first: u32, count: u32| first.checked_add(count).is_some();
    let meet = |a: u32, a_count: u32, b: u32, b_count: u32| {
        b.wrapping_sub(a) < a_count || a.wrapping_sub(b) < b_count
    };
    for (at, one) in ranges.iter().enumerate() {
        if one.count == 0 || !fits(one.below, one.count) || !fits(one.shown, one.count) {
            return Err(Collision::Extent(at));
        }
        for (earlier, other) in ranges.iter().enumerate().take(at) {
            if meet(one.below, one.count, other.below, other.count) {
                return Err(Collision::Below(earlier, at));
            }
            if meet(one.shown, one.count, other.shown, other.count) {
                return Err(Collision::Shown(earlier, at));
            }
        }
    }
    Ok(())
}

/// A transformation wherever it lies.
pub trait Rules {
    /// A word of it.
    fn word(&self, index: usize) -> u64;

    /// The user or group of the mount for one of the lower file system.
    ///
    /// An id in no range stays what it is, unless that is what an id of a range is shown as: then it
    /// is [`NOBODY`].
    #[inline(always)]
    fn shown(&self, id: Id) -> u32 {
        match id {
            Id::User(id) => map(self, UID, id, true),
            Id::Group(id) => map(self, GID, id, true),
        }
    }

    /// The user or group of the lower file system for one of the mount; [`NOBODY`] if there is none.
    #[inline(always)]
    fn below(&self, id: Id) -> u32 {
        match id {
            Id::User(id) => map(self, UID, id, false),
            Id::Group(id) => map(self, GID, id, false),
        }
    }

    /// The mode bits that are not shown.
    #[inline(always)]
    fn hidden(&self) -> u32 {
        self.word(HIDDEN) as u32 & HIDEABLE
    }

    /// The mode that chmod(2) to `given` sets on what has `present` below: what is hidden stays.
    #[inline(always)]
    fn mode_below(&self, given: u32, present: u32) -> u32 {
        let hidden = self.hidden();
        given & !hidden | present & hidden
    }

    /// How long attributes are valid, in seconds and nanoseconds, if it says so.
    #[inline(always)]
    fn validity(&self) -> Option<(u64, u32)> {
        let is_given = self.word(HIDDEN) >> 32 != 0;
        is_given.then(|| (self.word(VALID), self.word(VALID_NSEC) as u32))
    }
}

/// A user or a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Id {
    /// A user.
    User(u32),
    /// A group.
    Group(u32),
}

#[inline(always)]
fn map(rules: &(impl Rules + ?Sized), first: usize, id: u32, forward: bool) -> u32 {
    let mut taken = false;
    for range in 0..RANGES {
        let ends = rules.word(first + 2 * range);
        let count = rules.word(first + 2 * range + 1) as u32;
        let (below, shown) = (ends as u32, (ends >> 32) as u32);
        let (from, to) = if forward {
            (below, shown)
        } else {
            (shown, below)
        };
        let at = id.wrapping_sub(from);
        if at < count {
            return to.wrapping_add(at);
        }
        taken |= id.wrapping_sub(to) < count;
    }
    if taken { NOBODY } else { id }
}

impl Rules for Transform {
    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        let words: &[u64; TRANSFORM_WORDS] = bytemuck::cast_ref(self);
        words.get(index).copied().unwrap_or_default()
    }
}

/// A transformation in a map. It is written while no fact is true (8.10), so who reads a mixture of
/// two finds that out by the stamps of the fact that it was for.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct SharedTransform([FactWord; TRANSFORM_WORDS]);

impl Blank for SharedTransform {
    fn blank() -> Self {
        Self(Blank::blank())
    }
}

impl SharedTransform {
    /// Puts a transformation there.
    pub fn store(&self, transform: &Transform) {
        for (index, to) in self.0.iter().enumerate() {
            to.set(transform.word(index));
        }
    }
}

impl Rules for SharedTransform {
    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, FactWord::get)
    }
}

/// Half of a word in a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Half {
    word: usize,
    high: bool,
}

impl Half {
    /// The u32 at `offset` bytes; of a smaller field, the one that begins there.
    const fn at(offset: usize) -> Self {
        assert!(offset.is_multiple_of(4));
        Self {
            word: offset / 8,
            high: !offset.is_multiple_of(8),
        }
    }

    #[inline(always)]
    fn get(self, body: &(impl Body + ?Sized)) -> u32 {
        let word = body.word(self.word);
        if self.high {
            (word >> 32) as u32
        } else {
            word as u32
        }
    }

    #[inline(always)]
    fn put(self, body: &mut (impl Body + ?Sized), value: u32) {
        let word = body.word(self.word);
        let value = u64::from(value);
        let word = if self.high {
            word & 0xffff_ffff | value << 32
        } else {
            word & !0xffff_ffff | value
        };
        body.put(self.word, word);
    }
}

/// Where a reply's body has its attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Places {
    uid: Half,
    gid: Half,
    mode: Half,
}

impl Places {
    /// LOOKUP, CREATE, TMPFILE, MKNOD, MKDIR, SYMLINK, LINK, and each entry of READDIRPLUS.
    pub const ENTRY: Self = Self::of(offset_of!(EntryOut, attr));
    /// GETATTR and SETATTR.
    pub const ATTR: Self = Self::of(offset_of!(AttrOut, attr));
    /// STATX, whose mode has 16 bits; so the other half stays.
    pub const STATX: Self = Self {
        uid: Half::at(offset_of!(StatxOut, stat) + offset_of!(Statx, uid)),
        gid: Half::at(offset_of!(StatxOut, stat) + offset_of!(Statx, gid)),
        mode: Half::at(offset_of!(StatxOut, stat) + offset_of!(Statx, mode)),
    };

    const fn of(attr: usize) -> Self {
        Self {
            uid: Half::at(attr + offset_of!(Attr, uid)),
            gid: Half::at(attr + offset_of!(Attr, gid)),
            mode: Half::at(attr + offset_of!(Attr, mode)),
        }
    }
}

/// A reply's body as words, in shared memory or not.
pub trait Body {
    /// A word; 0 where there is none.
    fn word(&self, index: usize) -> u64;
    /// Writes a word, if there is one.
    fn put(&mut self, index: usize, value: u64);
}

impl Body for &[Word] {
    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        self.get(index).map_or(0, Word::get)
    }

    #[inline(always)]
    fn put(&mut self, index: usize, value: u64) {
        if let Some(word) = self.get(index) {
            word.set(value);
        }
    }
}

impl Body for [u64] {
    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        self.get(index).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn put(&mut self, index: usize, value: u64) {
        if let Some(word) = self.get_mut(index) {
            *word = value;
        }
    }
}

/// The number of the transformation that a fact of attributes is shown by, in its second word: behind the
/// nanoseconds of their validity, where GETATTR's reply has `dummy` and STATX's has `flags`.
#[inline(always)]
pub const fn rule_in(word: u64) -> u32 {
    (word >> 32) as u32
}

const _: () = assert!(offset_of!(AttrOut, dummy) == 12 && offset_of!(StatxOut, flags) == 12);

/// Shows owner, group and mode as `rules` say.
#[inline(always)]
pub fn apply(rules: &impl Rules, places: &Places, body: &mut (impl Body + ?Sized)) {
    let uid = rules.shown(Id::User(places.uid.get(body)));
    places.uid.put(body, uid);
    let gid = rules.shown(Id::Group(places.gid.get(body)));
    places.gid.put(body, gid);
    let mode = places.mode.get(body) & !rules.hidden();
    places.mode.put(body, mode);
}
