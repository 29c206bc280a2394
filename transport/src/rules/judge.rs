//! Which rule a request meets, and what comes of it.

use super::{
    bucket,
    rule::{Action, is_set, meets, place_of},
    table::{ROWS, RULES_MAX, RuleBook, SECOND, Table},
};
use crate::{
    cache::{KeyWords, NAME_MAX},
    wire::Opcode,
};

/// Which of the requests on the lane for bulk go first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Priority {
    /// Before those of low priority.
    Normal = 0,
    /// After those of normal priority, but not for ever.
    Low = 1,
}

impl Priority {
    #[inline(always)]
    pub(super) const fn of(word: u64) -> Self {
        match word & 1 {
            0 => Self::Normal,
            _ => Self::Low,
        }
    }
}

/// What is to become of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// It goes its way: no rule is about it, or one that lets it pass.
    Pass,
    /// It is refused with this errno, 1 .. 512.
    Deny(u16),
    /// The daemon serves it on the lane for bulk.
    Lane(Priority),
    /// Who judged cannot say, and the daemon is to: a rule asks where the inode lies, or the table
    /// was replaced meanwhile. Nothing was counted.
    Undecided,
}

/// The requests that no rule is about: they give back what the daemon holds (RELEASE, RELEASEDIR,
/// FORGET, BATCH_FORGET), locks with it (FLUSH), or belong to the session.
pub const NEVER_RULED: u64 = {
    let mut mask = 0;
    let mut at = 0;
    let never = [
        Opcode::RELEASE,
        Opcode::RELEASEDIR,
        Opcode::FLUSH,
        Opcode::FORGET,
        Opcode::BATCH_FORGET,
        Opcode::INTERRUPT,
        Opcode::NOTIFY_REPLY,
        Opcode::INIT,
        Opcode::DESTROY,
    ];
    while at < never.len() {
        mask |= 1 << never[at].0;
        at += 1;
    }
    mask
};

/// The row of an OPEN that wants to write or to truncate: a rule may ask for it alone.
pub const OPEN_FOR_WRITING: u32 = 62;
/// `O_WRONLY | O_RDWR | O_TRUNC` (include/uapi/asm-generic/fcntl.h).
const WRITES: u32 = 0o1 | 0o2 | 0o1000;

/// What is known of a request where it is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Its opcode, or [`OPEN_FOR_WRITING`].
    pub row: u32,
    /// The caller's user.
    pub uid: u32,
    /// The caller's group.
    pub gid: u32,
    /// The caller.
    pub pid: u32,
    /// Bytes that a READ, WRITE, READDIR or READDIRPLUS asks for; of other requests 0.
    pub size: u32,
    /// The inode.
    pub nodeid: u64,
}

impl Asked {
    /// From the words of a request's header behind length and opcode, and a way to the words of its
    /// fixed part.
    #[inline(always)]
    pub fn new(
        opcode: Opcode,
        nodeid: u64,
        caller: [u64; 2],
        fixed: impl Fn(usize) -> u64,
    ) -> Self {
        let [owner, process] = caller;
        let mut row = opcode.0;
        let mut size = 0;
        match opcode {
            // `fuse_open_in.flags` is the first half word.
            Opcode::OPEN if fixed(0) as u32 & WRITES != 0 => row = OPEN_FOR_WRITING,
            // `size` stands behind `fh` and `offset`, in `fuse_read_in` and in `fuse_write_in`.
            Opcode::READ | Opcode::WRITE | Opcode::READDIR | Opcode::READDIRPLUS => {
                size = fixed(2) as u32;
            }
            _ => {}
        }
        Self {
            row,
            uid: owner as u32,
            gid: (owner >> 32) as u32,
            pid: process as u32,
            size,
            nodeid,
        }
    }
}

/// What a judge has to look up besides the book.
pub trait Circumstances {
    /// The bytes of the name that a LOOKUP asks for.
    type Name<'n>: KeyWords
    where
        Self: 'n;

    /// The name of a LOOKUP and its length in bytes.
    fn name(&self) -> Option<(Self::Name<'_>, usize)>;

    /// Whether [`name`](Self::name) can tell. A program leaves names to the daemon: the search of a name
    /// made the verifier walk twice as far.
    const KNOWS_NAMES: bool;

    /// Whether [`is_within`](Self::is_within) can tell.
    const KNOWS_TREE: bool;

    /// Whether an inode of the request is, or lies below, the directory that users see under this
    /// number.
    fn is_within(&self, directory: u64) -> bool;

    /// The word itself. In a program it goes through memory: the verifier then knows nothing of how
    /// it came about, and walks what follows once.
    #[inline(always)]
    fn launder(&self, word: u64) -> u64 {
        word
    }

    /// Nanoseconds of the monotonic clock.
    fn now_ns(&self) -> u64;
}

/// Judges a request by the first rule that it meets; those that only count let it go on.
#[inline(always)]
pub fn judge<A: Circumstances>(book: &RuleBook, asked: &Asked, about: &A) -> Ruling {
    if book.is_empty() {
        return Ruling::Pass;
    }
    judge_by(book, asked, about)
}

#[inline(always)]
fn judge_by<A: Circumstances>(book: &RuleBook, asked: &Asked, about: &A) -> Ruling {
    let epoch = book.epoch.begin();
    let Some(table) = book.tables.get((epoch & SECOND) as usize) else {
        return Ruling::Pass;
    };
    let mut left = table.by_opcode[asked.row as usize % ROWS].get();
    if left == 0 {
        return if book.epoch.has_moved(epoch) {
            Ruling::Undecided
        } else {
            Ruling::Pass
        };
    }
    let by_name = table.by_name.get();
    if left & by_name != 0 {
        if !A::KNOWS_NAMES {
            return Ruling::Undecided;
        }
        let speaking = match about.name() {
            Some((name, len)) if len <= NAME_MAX => {
                table.rules_of_name(&name, len, |word| about.launder(word))
            }
            _ => 0,
        };
        left &= !by_name | speaking;
    }
    left = about.launder(left);
    let mut met = 0u64;
    for index in 0..RULES_MAX {
        let Some(rule) = table.rules.get(index) else {
            break;
        };
        if left >> index == 0 {
            break;
        }
        if left >> index & 1 != 0 {
            met |= meets(rule, asked) << index;
        }
    }
    met = about.launder(met);
    let counts = table.counts.get();
    if met & up_to_first(met & !counts) & table.by_subtree.get() != 0 {
        let Some(found) = within(table, met, about) else {
            return Ruling::Undecided;
        };
        met = found;
    }
    let decides = met & !counts;
    let rule = table.rules.get(lowest(decides));
    let [what, interval_ns, span_ns] =
        rule.map_or([0; 3], |rule| [rule[0].get(), rule[7].get(), rule[8].get()]);
    if book.epoch.has_moved(epoch) {
        return Ruling::Undecided;
    }
    let counted = about.launder(met & up_to_first(decides) & counts);
    if counted != 0 {
        for index in 0..RULES_MAX {
            let Some(rule) = table.rules.get(index) else {
                break;
            };
            if counted >> index == 0 {
                break;
            }
            if counted >> index & 1 != 0 {
                count(book, place_of(rule[0].get()));
            }
        }
    }
    if decides == 0 {
        return Ruling::Pass;
    }
    let Some(action) = Action::unpack(what) else {
        return Ruling::Pass;
    };
    let place = place_of(what);
    count(book, place);
    match action {
        Action::Allow | Action::Count => Ruling::Pass,
        Action::Deny(errno) => Ruling::Deny(errno),
        Action::Lane(priority) => Ruling::Lane(priority),
        Action::Limit(errno) => {
            let Some(state) = book.states.get(place) else {
                return Ruling::Pass;
            };
            if bucket::draw(&state.bucket, about.now_ns(), interval_ns, span_ns) {
                return Ruling::Pass;
            }
            state.limited.add(1);
            Ruling::Deny(errno)
        }
    }
}

/// Of the rules that a request meets, those without a subtree, and those whose subtree it is in; `None`
/// if that cannot be told.
#[inline(always)]
fn within<A: Circumstances>(table: &Table, met: u64, about: &A) -> Option<u64> {
    if !A::KNOWS_TREE {
        return None;
    }
    let mut found = met;
    for (index, rule) in table.rules.iter().enumerate() {
        let subtree = rule[6].get();
        if met >> index & 1 != 0 && subtree != 0 && !about.is_within(subtree) {
            found &= !(1 << index);
        }
    }
    Some(found)
}

/// The bits up to the lowest one that is set, it included; all if none is.
#[inline(always)]
const fn up_to_first(bits: u64) -> u64 {
    bits ^ bits.wrapping_sub(1)
}

/// The number of the lowest bit that is set; 63 if none is. The BPF machine has no instruction for it.
#[inline(always)]
fn lowest(bits: u64) -> usize {
    let mut below = up_to_first(bits) >> 1;
    let mut count = 0;
    for step in [32, 16, 8, 4, 2, 1] {
        let more = is_set(below >> (step - 1)) * step;
        count += more;
        below >>= more;
    }
    count as usize % RULES_MAX
}

#[inline(always)]
fn count(book: &RuleBook, place: usize) {
    if let Some(state) = book.states.get(place) {
        state.met.add(1);
    }
}
