//! What facts say: cached answers by kind, and how they are found (protocol 8.5).
//!
//! ```text
//!  word  0              1       2     3               4, 5           6 ...
//!  +------------------+-------+------+---------------+--------------+---------------------------+
//!  | kind, lengths    | inode | hash | two stamps:   | their values | body and key, by kind     |
//!  |                  |       |      | their indices |              |                           |
//!  +------------------+-------+------+---------------+--------------+---------------------------+
//!  name       the entry's inode, who counts it, validity (4 words); then the name
//!  attributes the reply to GETATTR (13 words)
//!  statx      the reply to STATX, up to the zeroes at its end (22 words)
//!  xattr      the attribute's name (4 words); then its value
//!  xattrs     the names
//! ```
//!
//! The table is set-associative: a fact lies in one of the [`WAYS`] places of the set that its hash
//! says.

use crate::{
    fact::{FACT_WORDS, Fact, Reading},
    generation::Stamp,
    memory::GenerationMemory,
    sync::{LookupWord, Word},
    transform::SharedTransform,
};

/// Places in which a fact may lie.
pub const WAYS: u32 = 8;
/// Words before body and key.
const HEAD: usize = 6;
/// Words of a name's body.
const NAME_BODY: usize = 4;
/// Longest name of a directory entry that is cached, in bytes.
pub const NAME_MAX: usize = (FACT_WORDS - HEAD - NAME_BODY) * 8;
/// Words of the reply to GETATTR.
pub const ATTR_WORDS: usize = 13;
/// Words of the reply to STATX, without the reserved ones at its end, which are zeroes.
pub const STATX_WORDS: usize = 22;
/// Words of the name of an extended attribute.
const XATTR_KEY: usize = 4;
/// Longest name of an extended attribute that is cached, in bytes.
pub const XATTR_NAME_MAX: usize = XATTR_KEY * 8;
/// Longest value of an extended attribute that is cached, in bytes.
pub const XATTR_VALUE_MAX: usize = (FACT_WORDS - HEAD - XATTR_KEY) * 8;
/// Longest list of attributes' names, in bytes.
pub const BODY_MAX: usize = (FACT_WORDS - HEAD) * 8;

/// What a fact is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Which inode a directory has under a name, or that it has none.
    Name = 1,
    /// Attributes of an inode.
    Attr = 2,
    /// The same as statx(2) has them.
    Statx = 3,
    /// An extended attribute of an inode, or that it has none of the name.
    Xattr = 4,
    /// The names of an inode's extended attributes.
    Xattrs = 5,
    /// A name that is refused everywhere.
    Denied = 6,
}

impl Kind {
    /// Where the key's words begin, and how many there are; the rest is body.
    #[inline(always)]
    const fn key(self) -> (usize, usize) {
        match self {
            Self::Name | Self::Denied => (HEAD + NAME_BODY, FACT_WORDS - HEAD - NAME_BODY),
            Self::Xattr => (HEAD, XATTR_KEY),
            Self::Attr | Self::Statx | Self::Xattrs => (HEAD, 0),
        }
    }

    /// Where the body's words begin.
    #[inline(always)]
    pub(crate) const fn body(self) -> usize {
        match self {
            Self::Xattr => HEAD + XATTR_KEY,
            _ => HEAD,
        }
    }
}

/// The value in [`Found::body_len`] of an attribute that is not there.
pub const ABSENT: u32 = u32::MAX;

/// The caches of one mount, as elements.
pub trait CacheMemory: GenerationMemory {
    /// Sets of facts: a power of two, or 0.
    fn sets(&self) -> u32;
    /// A fact; set `n` has those from `n * WAYS`.
    fn fact(&self, index: u32) -> Option<&Fact>;
    /// Where look-ups of an inode are counted.
    fn lookup_word(&self, index: u32) -> Option<&LookupWord>;
    /// Whether untrue attributes are renewed from the daemon's reply ([`renewal`](crate::renewal)).
    fn renews(&self) -> bool {
        false
    }
    /// A transformation by its number ([`transform`](crate::transform)).
    fn transform(&self, number: u32) -> Option<&SharedTransform>;
    /// Sets of names that are refused: a power of two, or 0.
    fn denied_sets(&self) -> u32;
    /// A name that is refused; set `n` has those from `n * WAYS`.
    fn denied(&self, index: u32) -> Option<&Fact>;
}

/// The bytes of a key as words, zeroes behind them.
pub trait KeyWords {
    /// A word.
    fn word(&self, index: usize) -> u64;
}

/// The first `len` bytes of words in shared memory.
#[derive(Clone, Copy, Debug)]
pub struct SharedKey<'m> {
    /// Where they lie.
    pub words: &'m [Word],
    /// How many bytes count.
    pub len: usize,
}

impl KeyWords for SharedKey<'_> {
    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        let Some(word) = self.words.get(index) else {
            return 0;
        };
        match self.len.saturating_sub(index * 8) {
            0 => 0,
            left @ 1..8 => word.get() & ((1 << (left * 8)) - 1),
            _ => word.get(),
        }
    }
}

impl<K: KeyWords + ?Sized> KeyWords for &K {
    #[inline(always)]
    fn word(&self, index: usize) -> u64 {
        (**self).word(index)
    }
}

/// Bytes of this process.
impl KeyWords for [u8] {
    fn word(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        let rest = self.get(index * 8..).unwrap_or_default();
        for (to, from) in bytes.iter_mut().zip(rest) {
            *to = *from;
        }
        u64::from_ne_bytes(bytes)
    }
}

impl KeyWords for [u64] {
    fn word(&self, index: usize) -> u64 {
        self.get(index).copied().unwrap_or_default()
    }
}

/// The key of a fact.
#[derive(Clone, Copy, Debug)]
pub struct Key<'k, K: ?Sized> {
    /// What it is about.
    pub kind: Kind,
    /// Of which inode.
    pub nodeid: u64,
    /// A name, by the kind.
    pub name: &'k K,
    /// Its length in bytes.
    pub len: usize,
}

impl<K: KeyWords + ?Sized> Key<'_, K> {
    /// Where it is looked for.
    #[inline(always)]
    pub fn hash(&self) -> u64 {
        let mut hash = mix(self.nodeid ^ (self.kind as u64) << 56 ^ self.len as u64);
        let (_, words) = self.kind.key();
        for index in 0..words {
            if index * 8 >= self.len {
                break;
            }
            hash = (hash ^ self.name.word(index)).wrapping_mul(0x9fb2_1c65_1e98_df25);
            hash ^= hash >> 32;
        }
        mix(hash)
    }
}

/// The finalizer of splitmix64 (Vigna, public domain).
#[inline(always)]
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A fact that is about what was asked for. Whether it is whole and true is still to be seen:
/// [`is_true`](Self::is_true).
#[derive(Clone, Copy, Debug)]
pub struct Found<'m> {
    reading: Reading<'m>,
    kind: Kind,
    place: u32,
}

impl<'m> Found<'m> {
    /// A word of the body.
    #[inline(always)]
    pub fn body(&self, index: usize) -> u64 {
        self.reading.word(self.kind.body() + index)
    }

    /// Length of the body in bytes, or [`ABSENT`].
    #[inline(always)]
    pub fn body_len(&self) -> u32 {
        (self.reading.word(0) >> 32) as u32
    }

    /// Whether what was read of it is one fact, and nothing that it depends on has changed since. To
    /// be asked after all else.
    #[inline(always)]
    pub fn is_true(&self, memory: &(impl GenerationMemory + ?Sized)) -> bool {
        let indices = self.reading.word(3);
        let first = Stamp {
            index: indices as u32,
            value: self.reading.word(4),
        };
        let second = Stamp {
            index: (indices >> 32) as u32,
            value: self.reading.word(5),
        };
        self.reading.is_whole() && first.is_valid(memory) && second.is_valid(memory)
    }

    /// Where it lies.
    #[inline(always)]
    pub fn place(&self) -> u32 {
        self.place
    }

    /// The word of the generation that it depends on first.
    #[inline(always)]
    pub fn depends_on(&self) -> u32 {
        self.reading.word(3) as u32
    }

    /// Whether what was read of it is one fact; for those that depend on nothing.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        self.reading.is_whole()
    }

    /// Says that it was of use.
    #[inline(always)]
    pub fn mark_used(&self) {
        self.reading.fact().mark_used();
    }
}

/// Looks a fact up.
#[inline(always)]
pub fn find<'m, K: KeyWords + ?Sized>(
    memory: &'m (impl CacheMemory + ?Sized),
    key: &Key<'_, K>,
) -> Option<Found<'m>> {
    find_among(memory.sets(), |index| memory.fact(index), key)
}

/// Looks a fact up in a table of so many sets.
#[inline(always)]
pub fn find_among<'m, K: KeyWords + ?Sized>(
    sets: u32,
    fact: impl Fn(u32) -> Option<&'m Fact>,
    key: &Key<'_, K>,
) -> Option<Found<'m>> {
    let hash = key.hash();
    let first = first_of_set(sets, hash)?;
    for way in 0..WAYS {
        let Some(reading) = fact(first + way).and_then(Fact::begin) else {
            continue;
        };
        if is_about(&reading, key, hash) {
            return same_name(&reading, key).then_some(Found {
                reading,
                kind: key.kind,
                place: first + way,
            });
        }
    }
    None
}

/// The first place of the set in which a fact of this hash may lie; `None` if there are no facts.
#[inline(always)]
pub fn first_of_set(sets: u32, hash: u64) -> Option<u32> {
    Some((hash as u32 & sets.checked_sub(1)?) * WAYS)
}

/// Whether a fact has this key, as far as its head tells.
#[inline(always)]
pub fn is_about<K: ?Sized>(reading: &Reading<'_>, key: &Key<'_, K>, hash: u64) -> bool {
    let lengths = key.kind as u64 | (key.len as u64) << 8;
    reading.word(0) & 0xffff_ffff == lengths
        && reading.word(1) == key.nodeid
        && reading.word(2) == hash
}

#[inline(always)]
fn same_name<K: KeyWords + ?Sized>(reading: &Reading<'_>, key: &Key<'_, K>) -> bool {
    let (start, words) = key.kind.key();
    for index in 0..words {
        if index * 8 >= key.len {
            break;
        }
        if reading.word(start + index) != key.name.word(index) {
            return false;
        }
    }
    true
}

/// The words of a fact.
///
/// Of `stamps`, the second may be the first again if the fact depends on one inode only. What does
/// not fit makes it `None`: a key longer than its place, or such a body.
pub fn encode(
    key: &Key<'_, [u8]>,
    stamps: [Stamp; 2],
    body: &(impl KeyWords + ?Sized),
    body_len: u32,
) -> Option<[u64; FACT_WORDS]> {
    let (start, key_words) = key.kind.key();
    let room = match key.kind {
        Kind::Name | Kind::Denied => NAME_BODY,
        Kind::Xattr => FACT_WORDS - HEAD - XATTR_KEY,
        Kind::Attr | Kind::Statx | Kind::Xattrs => FACT_WORDS - HEAD,
    };
    let body_bytes = if body_len == ABSENT {
        0
    } else {
        body_len as usize
    };
    if key.len > key_words * 8 || body_bytes > room * 8 {
        return None;
    }
    let mut words = [0; FACT_WORDS];
    let [first, second] = stamps;
    words[0] = key.kind as u64 | (key.len as u64) << 8 | u64::from(body_len) << 32;
    words[1] = key.nodeid;
    words[2] = key.hash();
    words[3] = u64::from(first.index) | u64::from(second.index) << 32;
    words[4] = first.value;
    words[5] = second.value;
    for index in 0..key.len.div_ceil(8) {
        words[start + index] = key.name.word(index);
    }
    for index in 0..body_bytes.div_ceil(8) {
        words[key.kind.body() + index] = body.word(index);
    }
    Some(words)
}

/// Writes the stamp of a fact that depends on one inode.
#[inline(always)]
pub(crate) fn put_stamp(stamp: Stamp, put: &mut (impl FnMut(usize, u64) + ?Sized)) {
    let index = u64::from(stamp.index);
    put(3, index | index << 32);
    put(4, stamp.value);
    put(5, stamp.value);
}

/// The stamps of the fact that these words are.
pub fn stamps_of(words: &[u64; FACT_WORDS]) -> [Stamp; 2] {
    let [_, _, _, indices, first, second, ..] = *words;
    [
        Stamp {
            index: indices as u32,
            value: first,
        },
        Stamp {
            index: (indices >> 32) as u32,
            value: second,
        },
    ]
}
