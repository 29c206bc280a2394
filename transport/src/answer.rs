//! What the program answers by itself, from facts (protocol 8.6).
//!
//! Every answer is what the daemon would have said at a moment within the request, byte by byte, or
//! there is none. A fact is read whole, its stamps are compared last, and only then is the reply
//! written where the request lies.

use crate::{
    cache::{
        ABSENT, ATTR_WORDS, CacheMemory, Found, Key, Kind, NAME_MAX, STATX_WORDS, SharedKey,
        XATTR_NAME_MAX, find, find_among,
    },
    lookups::{self, LookupRef},
    renewal,
    slot::{Arrived, Reply},
    sync::Word,
    transform::{Body, Places, apply, rule_in},
    wire::Opcode,
};

const ENOENT: i32 = 2;
const ERANGE: i32 = 34;
const ENODATA: i32 = 61;
/// Words of `fuse_entry_out` before its attributes.
const ENTRY_WORDS: usize = 5;
/// Words of `fuse_attr_out` before its attributes.
const ATTR_HEAD: usize = 2;
const ENTRY_LEN: u32 = 128;
const ATTR_LEN: u32 = 104;
const STATX_LEN: u32 = 288;

/// What is known of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// The reply, which is written.
    Answer(Reply),
    /// Nothing, or nothing that could be said.
    Nothing,
    /// A fact that has become untrue: it is the daemon's to renew.
    Untrue,
}

/// The errno that a request's name is refused with, a positive number, if it is. Names are refused
/// where they are looked up: what is refused there comes no further (fs/namei.c).
#[inline(always)]
pub fn denied<M: CacheMemory>(
    memory: &M,
    opcode: Opcode,
    arrived: &Arrived<'_>,
    payload: &[Word],
) -> Option<i32> {
    if memory.denied_sets() == 0 || opcode != Opcode::LOOKUP {
        return None;
    }
    let name = name_of(payload, arrived.payload_len(), NAME_MAX)?;
    let key = Key {
        kind: Kind::Denied,
        nodeid: 0,
        name: &name,
        len: name.len,
    };
    let found = find_among(memory.denied_sets(), |index| memory.denied(index), &key)?;
    let errno = found.body(0) as i32;
    (found.is_whole() && (1..512).contains(&errno)).then_some(errno)
}

/// The opcodes that may be answered.
///
/// READLINK, READ and READDIR are not among them: they move access times. STATFS is not, for nothing tells
/// when blocks are taken. FLUSH is not: it reports errors of writing back, and releases locks.
#[inline(always)]
pub const fn may_answer(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::LOOKUP | Opcode::GETATTR | Opcode::STATX | Opcode::GETXATTR | Opcode::LISTXATTR
    )
}

/// Answers a request if it can. `payload` is the head of its payload: what follows the fixed part,
/// and where the reply's body goes.
#[inline(always)]
pub fn answer<M: CacheMemory>(
    memory: &M,
    opcode: Opcode,
    arrived: &Arrived<'_>,
    payload: &[Word],
) -> Known {
    let [_, _, nodeid, _, extensions, ..] = arrived.slot().header.in_out() else {
        return Known::Nothing;
    };
    // Extensions stand behind a name, which would seem to be longer.
    if (extensions.get() >> 32) as u16 != 0 {
        return Known::Nothing;
    }
    let nodeid = nodeid.get();
    match opcode {
        Opcode::LOOKUP => lookup(memory, nodeid, arrived.payload_len(), payload),
        Opcode::GETATTR => getattr(memory, nodeid, arrived, payload),
        Opcode::STATX => statx(memory, nodeid, arrived, payload),
        Opcode::GETXATTR => getxattr(memory, nodeid, arrived, payload),
        Opcode::LISTXATTR => listxattr(memory, nodeid, arrived, payload),
        _ => Known::Nothing,
    }
}

/// The name at the front of a payload that is all of it but the byte that ends it.
#[inline(always)]
fn name_of(payload: &[Word], payload_len: u32, max: usize) -> Option<SharedKey<'_>> {
    let len = payload_len.checked_sub(1)? as usize;
    (1..=max).contains(&len).then_some(SharedKey {
        words: payload,
        len,
    })
}

/// The fact of this kind about an inode.
#[inline(always)]
fn about<M: CacheMemory>(memory: &M, kind: Kind, nodeid: u64) -> Option<Found<'_>> {
    let name = SharedKey { words: &[], len: 0 };
    let key = Key {
        kind,
        nodeid,
        name: &name,
        len: 0,
    };
    find(memory, &key)
}

#[inline(always)]
fn getattr<M: CacheMemory>(
    memory: &M,
    nodeid: u64,
    arrived: &Arrived<'_>,
    payload: &[Word],
) -> Known {
    let (Some(found), Some(copy)) = (about(memory, Kind::Attr, nodeid), Copy::of(payload)) else {
        return Known::Nothing;
    };
    copy.take(&found, ATTR_WORDS);
    let rule = show(memory, copy, &Places::ATTR);
    if !found.is_true(memory) {
        return untrue(memory, nodeid, arrived, &found, rule);
    }
    copy.put(payload, 0, ATTR_WORDS);
    found.mark_used();
    Known::Answer(Reply::Body(ATTR_LEN))
}

/// Attributes that have become untrue: the daemon's reply may make them true again.
#[inline(always)]
fn untrue<M: CacheMemory>(
    memory: &M,
    nodeid: u64,
    arrived: &Arrived<'_>,
    found: &Found<'_>,
    rule: u32,
) -> Known {
    // What is shown by a transformation is not what a fact says.
    if memory.renews() && rule == 0 {
        renewal::note(memory, arrived.slot(), arrived.unique(), nodeid, found);
    }
    Known::Untrue
}

/// Applies the transformation that a copy of attributes names behind their validity, where a reply has
/// zeroes, and returns its number. It may be replaced meanwhile: then the fact is not true any more.
#[inline(always)]
fn show(memory: &impl CacheMemory, copy: Copy<'_>, places: &Places) -> u32 {
    let validity = copy.word(1);
    let number = rule_in(validity);
    if number == 0 {
        return 0;
    }
    let mut body = copy.0;
    body.put(1, validity & 0xffff_ffff);
    if let Some(rules) = memory.transform(number) {
        apply(rules, places, &mut body);
    }
    number
}

#[inline(always)]
fn statx<M: CacheMemory>(
    memory: &M,
    nodeid: u64,
    arrived: &Arrived<'_>,
    payload: &[Word],
) -> Known {
    let (Some(found), Some(copy)) = (about(memory, Kind::Statx, nodeid), Copy::of(payload)) else {
        return Known::Nothing;
    };
    copy.take(&found, STATX_WORDS);
    let rule = show(memory, copy, &Places::STATX);
    if !found.is_true(memory) {
        return untrue(memory, nodeid, arrived, &found, rule);
    }
    copy.put(payload, 0, STATX_WORDS);
    let reserved = payload.get(STATX_WORDS..STATX_LEN as usize / 8);
    for word in reserved.unwrap_or_default() {
        word.set(0);
    }
    found.mark_used();
    Known::Answer(Reply::Body(STATX_LEN))
}

/// The entry's inode is one fact, its attributes another: an entry is answered only with attributes
/// that are true.
#[inline(always)]
fn lookup<M: CacheMemory>(memory: &M, parent: u64, payload_len: u32, payload: &[Word]) -> Known {
    let Some(name) = name_of(payload, payload_len, NAME_MAX) else {
        return Known::Nothing;
    };
    let key = Key {
        kind: Kind::Name,
        nodeid: parent,
        name: &name,
        len: name.len,
    };
    let Some(entry) = find(memory, &key) else {
        return Known::Nothing;
    };
    let (child, counted, valid, valid_nsec) =
        (entry.body(0), entry.body(1), entry.body(2), entry.body(3));
    if child == 0 {
        if !entry.is_true(memory) {
            return Known::Untrue;
        }
        entry.mark_used();
        return no_entry(payload, valid, valid_nsec);
    }
    let (Some(attributes), Some(copy)) = (about(memory, Kind::Attr, child), Copy::of(payload))
    else {
        return Known::Nothing;
    };
    copy.take(&attributes, ATTR_WORDS);
    show(memory, copy, &Places::ATTR);
    if !entry.is_true(memory) || !attributes.is_true(memory) {
        return Known::Untrue;
    }
    let counted = LookupRef::unpack(counted);
    let Some(word) = memory.lookup_word(counted.index) else {
        return Known::Nothing;
    };
    if !lookups::count(word, counted.incarnation) {
        return Known::Nothing;
    }
    if let [nodeid, generation, entry_valid, attr_valid, nsec, rest @ ..] = payload {
        nodeid.set(child);
        generation.set(0);
        entry_valid.set(valid);
        attr_valid.set(copy.word(0));
        nsec.set(valid_nsec & 0xffff_ffff | copy.word(1) << 32);
        copy.put(rest, ATTR_HEAD, ATTR_WORDS);
    }
    entry.mark_used();
    attributes.mark_used();
    Known::Answer(Reply::Body(ENTRY_LEN))
}

/// No such entry: an errno, or if the kernel may believe it for a time an entry without an inode.
#[inline(always)]
fn no_entry(payload: &[Word], valid: u64, valid_nsec: u64) -> Known {
    if valid == 0 && valid_nsec == 0 {
        return Known::Answer(Reply::Errno(ENOENT));
    }
    let nsec = valid_nsec & 0xffff_ffff;
    let head = [0, 0, valid, valid, nsec | nsec << 32];
    let words = head
        .into_iter()
        .chain([0; ENTRY_LEN as usize / 8 - ENTRY_WORDS]);
    for (to, word) in payload.iter().zip(words) {
        to.set(word);
    }
    Known::Answer(Reply::Body(ENTRY_LEN))
}

/// The size in a `fuse_getxattr_in`.
#[inline(always)]
fn size_wanted(arrived: &Arrived<'_>) -> u32 {
    let first = arrived.slot().header.op_in().first();
    first.map_or(0, |word| word.get() as u32)
}

#[inline(always)]
fn getxattr<M: CacheMemory>(
    memory: &M,
    nodeid: u64,
    arrived: &Arrived<'_>,
    payload: &[Word],
) -> Known {
    let Some(name) = name_of(payload, arrived.payload_len(), XATTR_NAME_MAX) else {
        return Known::Nothing;
    };
    let key = Key {
        kind: Kind::Xattr,
        nodeid,
        name: &name,
        len: name.len,
    };
    match find(memory, &key) {
        Some(found) => value_of(memory, &found, size_wanted(arrived), payload),
        None => Known::Nothing,
    }
}

#[inline(always)]
fn listxattr<M: CacheMemory>(
    memory: &M,
    nodeid: u64,
    arrived: &Arrived<'_>,
    payload: &[Word],
) -> Known {
    match about(memory, Kind::Xattrs, nodeid) {
        Some(found) => value_of(memory, &found, size_wanted(arrived), payload),
        None => Known::Nothing,
    }
}

/// A value for a caller with room for `size` bytes, as getxattr(2) has it: 0 asks for the length, and
/// less than the length is too little.
#[inline(always)]
fn value_of<M: CacheMemory>(memory: &M, found: &Found<'_>, size: u32, payload: &[Word]) -> Known {
    let len = found.body_len();
    let Some(copy) = Copy::of(payload) else {
        return Known::Nothing;
    };
    copy.take(found, BODY_WORDS);
    if !found.is_true(memory) {
        return Known::Untrue;
    }
    found.mark_used();
    if len == ABSENT {
        return Known::Answer(Reply::Errno(ENODATA));
    }
    match size {
        0 => {
            if let Some(first) = payload.first() {
                first.set(u64::from(len));
            }
            Known::Answer(Reply::Body(8))
        }
        _ if size < len => Known::Answer(Reply::Errno(ERANGE)),
        _ => {
            copy.put(payload, 0, BODY_WORDS);
            Known::Answer(Reply::Body(len))
        }
    }
}

/// The longest body, in words.
const BODY_WORDS: usize = crate::cache::BODY_MAX / 8;

/// Where a body is kept until it is known to be true: behind the request, which the daemon may still
/// have to read, in the same page. The stack of a program is too small for it.
#[derive(Clone, Copy)]
struct Copy<'m>(&'m [Word]);

impl<'m> Copy<'m> {
    /// In words of the payload: behind the longest name that is looked at.
    const AT: usize = 64;

    #[inline(always)]
    fn of(payload: &'m [Word]) -> Option<Self> {
        payload.get(Self::AT..Self::AT + BODY_WORDS).map(Self)
    }

    /// Copies the first words of a body.
    #[inline(always)]
    fn take(self, found: &Found<'_>, words: usize) {
        for (index, to) in self.0.iter().take(words).enumerate() {
            to.set(found.body(index));
        }
    }

    #[inline(always)]
    fn word(self, index: usize) -> u64 {
        self.0.get(index).map_or(0, Word::get)
    }

    /// Writes the words from `first` on, up to the one before `end`.
    #[inline(always)]
    fn put(self, to: &[Word], first: usize, end: usize) {
        let words = self.0.get(first..end).unwrap_or_default();
        for (to, from) in to.iter().zip(words) {
            to.set(from.get());
        }
    }
}
