//! Renewing untrue attributes from the daemon's reply (protocol 8.9).
//!
//! A program finds at the arrival of a GETATTR or STATX that the answer has become untrue. It takes a
//! stamp, and notes it in the slot with where the fact lies. The daemon looks, and replies; when its commit is
//! submitted, another program finds the note and writes the reply's body into the fact, under the
//! stamp from before the look.

use crate::{
    cache::{ATTR_WORDS, CacheMemory, Found, Kind, STATX_WORDS, put_stamp},
    generation::Stamp,
    index::Unique,
    layout::Slot,
    ownership::State,
    sync::Word,
    wire::{AttrOut, Opcode, OutHeader, StatxOut},
};

/// Length of a successful reply to GETATTR, its header included.
const ATTR_REPLY: u64 = (size_of::<OutHeader>() + size_of::<AttrOut>()) as u64;
/// The same of STATX.
const STATX_REPLY: u64 = (size_of::<OutHeader>() + size_of::<StatxOut>()) as u64;

/// A note in a slot, by the program that sees the arrival.
#[repr(C)]
#[derive(Default, Debug)]
pub struct Renewal {
    /// Which request it is about; of another one it says nothing.
    unique: Word,
    nodeid: Word,
    /// Where the fact lies, and which generation it depends on.
    place: Word,
    /// The generation before the daemon looks.
    value: Word,
}

/// Notes that `found`, a fact about `nodeid`, is to be renewed from the reply.
#[inline(always)]
pub fn note(
    memory: &impl CacheMemory,
    slot: &Slot,
    unique: Unique,
    nodeid: u64,
    found: &Found<'_>,
) {
    let Some(stamp) = Stamp::take(memory, found.depends_on()) else {
        return;
    };
    let renewal = &slot.renewal;
    renewal.nodeid.set(nodeid);
    let place = u64::from(found.place()) | u64::from(stamp.index) << 32;
    renewal.place.set(place);
    renewal.value.set(stamp.value);
    renewal.unique.set(unique.get());
}

/// The daemon's commit of this slot is about to be carried out, and the reply lies there: renews what
/// was noted, if that is still the fact that it was. Returns which opcode it was a reply to, if it did.
#[inline(always)]
pub fn renew(memory: &impl CacheMemory, slot: &Slot, payload: &[Word]) -> Option<Opcode> {
    let owner = slot.ownership().ok()?;
    let renewal = &slot.renewal;
    if owner.state != State::Committed || renewal.unique.get() != owner.unique {
        return None;
    }
    let [lengths, unique, ..] = slot.header.in_out() else {
        return None;
    };
    if unique.get() != owner.unique {
        return None;
    }
    // The length in the lower half, the error in the upper one.
    match lengths.get() {
        ATTR_REPLY => write::<ATTR_WORDS>(memory, renewal, Kind::Attr, payload, Opcode::GETATTR),
        STATX_REPLY => write::<STATX_WORDS>(memory, renewal, Kind::Statx, payload, Opcode::STATX),
        _ => None,
    }
}

/// A number of words for each kind: the verifier wants to see where a loop ends.
#[inline(always)]
fn write<const WORDS: usize>(
    memory: &impl CacheMemory,
    renewal: &Renewal,
    kind: Kind,
    payload: &[Word],
    opcode: Opcode,
) -> Option<Opcode> {
    let body = payload.first_chunk::<WORDS>()?;
    let place = renewal.place.get();
    let stamp = Stamp {
        index: (place >> 32) as u32,
        value: renewal.value.get(),
    };
    let nodeid = renewal.nodeid.get();
    let done = memory.fact(place as u32)?.renew(
        |held| held.word(0) as u8 == kind as u8 && held.word(1) == nodeid,
        |put| {
            put_stamp(stamp, put);
            for (at, word) in body.iter().enumerate() {
                put(kind.body() + at, word.get());
            }
        },
    );
    done.then_some(opcode)
}
