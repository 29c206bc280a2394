//! The rule book as a map, and the judgement of what arrives (docs/protocol.md, 13).
//!
//! The daemon, and `shmfuse rules`, write it; `transport::rules` is the judge on both sides.
#![expect(unsafe_code, reason = "a helper of the kernel")]

use aya_ebpf::{bindings::BPF_F_MMAPABLE, helpers::bpf_ktime_get_ns, macros::map, maps::Array};
use transport::{
    cache::SharedKey,
    rules::{Asked, RuleBook, Ruling, judge, judge::Circumstances},
    slot::Arrived,
    sync::Word,
    wire::Opcode,
};

#[map]
static RULES: Array<RuleBook> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What is to become of a request.
#[inline(always)]
pub fn rule(opcode: Opcode, arrived: &Arrived<'_>) -> Ruling {
    let Some(book) = RULES.get(0) else {
        return Ruling::Pass;
    };
    if book.is_empty() {
        return Ruling::Pass;
    }
    let slot = arrived.slot();
    let [_, _, nodeid, owner, process, ..] = slot.header.in_out() else {
        return Ruling::Pass;
    };
    let caller = [owner.get(), process.get()];
    let asked = Asked::new(opcode, nodeid.get(), caller, |index| {
        slot.header.op_in().get(index).map_or(0, Word::get)
    });
    let ruling = judge(book, &asked, &Here { arrived });
    slot.note_ruling(arrived.unique(), ruling)
}

/// A request in its slot.
struct Here<'a, 'm> {
    arrived: &'a Arrived<'m>,
}

impl Circumstances for Here<'_, '_> {
    type Name<'n>
        = SharedKey<'n>
    where
        Self: 'n;

    #[inline(always)]
    fn name(&self) -> Option<(SharedKey<'_>, usize)> {
        None
    }

    const KNOWS_NAMES: bool = false;

    /// Nothing here knows what an inode lies in.
    const KNOWS_TREE: bool = false;

    #[inline(always)]
    fn is_within(&self, _directory: u64) -> bool {
        false
    }

    #[inline(always)]
    fn launder(&self, word: u64) -> u64 {
        let scratch = &self.arrived.slot().ruling;
        scratch.set(word);
        scratch.get()
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper takes nothing and has no effect.
        unsafe { bpf_ktime_get_ns() }
    }
}
