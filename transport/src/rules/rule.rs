//! What a rule says, as values and as words.

use super::table::{RULE_WORDS, RuleWords};

/// Numbers from `min` to `max`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The smallest.
    pub min: u32,
    /// The largest.
    pub max: u32,
}

impl Span {
    /// All there are.
    pub const ANY: Self = Self {
        min: 0,
        max: u32::MAX,
    };

    const fn pack(self) -> u64 {
        self.min as u64 | (self.max as u64) << 32
    }

    const fn unpack(word: u64) -> Self {
        Self {
            min: word as u32,
            max: (word >> 32) as u32,
        }
    }
}

/// What a rule does with what meets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It goes its way, and no later rule is asked.
    Allow,
    /// It is refused with this errno, 1 .. 512.
    Deny(u16),
    /// The daemon serves it on the lane for bulk, by this priority.
    Lane(super::Priority),
    /// It goes its way as long as there are not too many; else it is refused with this errno.
    Limit(u16),
    /// It is counted, and the next rules are asked.
    Count,
}

const ALLOW: u64 = 1;
const DENY: u64 = 2;
const LANE: u64 = 3;
const LIMIT: u64 = 4;
const COUNT: u64 = 5;

impl Action {
    fn pack(self) -> u64 {
        match self {
            Self::Allow => ALLOW,
            Self::Deny(errno) => DENY | u64::from(errno) << 16,
            Self::Lane(priority) => LANE | (priority as u64) << 8,
            Self::Limit(errno) => LIMIT | u64::from(errno) << 16,
            Self::Count => COUNT,
        }
    }

    /// What the words say; `None` for what no rule says.
    #[inline(always)]
    pub(super) fn unpack(word: u64) -> Option<Self> {
        let errno = (word >> 16) as u16 & 0x1ff;
        match word & 0xff {
            ALLOW => Some(Self::Allow),
            DENY if errno != 0 => Some(Self::Deny(errno)),
            LANE => Some(Self::Lane(super::Priority::of(word >> 8))),
            LIMIT if errno != 0 => Some(Self::Limit(errno)),
            COUNT => Some(Self::Count),
            _ => None,
        }
    }
}

/// What a rule asks for besides opcodes and names, which lie in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// What it does.
    pub action: Action,
    /// Where it is counted, below [`STATES`](super::table::STATES).
    pub place: u8,
    /// The caller's user.
    pub uid: Span,
    /// The caller's group.
    pub gid: Span,
    /// The caller.
    pub pid: Span,
    /// Bytes that a READ, WRITE, READDIR or READDIRPLUS asks for; of other requests 0.
    pub size: Span,
    /// The inode; 0 for any.
    pub nodeid: u64,
    /// The number that users see of a directory at or below which the inode is to lie; 0 for anywhere.
    pub subtree: u64,
    /// Of a limit: nanoseconds in which a token comes back.
    pub interval_ns: u64,
    /// Of a limit: nanoseconds that the bucket's other tokens stand for.
    pub span_ns: u64,
}

impl Terms {
    /// Asks for nothing.
    pub const fn new(action: Action, place: u8) -> Self {
        Self {
            action,
            place,
            uid: Span::ANY,
            gid: Span::ANY,
            pid: Span::ANY,
            size: Span::ANY,
            nodeid: 0,
            subtree: 0,
            interval_ns: 0,
            span_ns: 0,
        }
    }

    /// As words of a table.
    pub fn encode(&self) -> [u64; RULE_WORDS] {
        let mut words = [0; RULE_WORDS];
        let said = [
            self.action.pack() | u64::from(self.place) << 48,
            self.uid.pack(),
            self.gid.pack(),
            self.pid.pack(),
            self.size.pack(),
            self.nodeid,
            self.subtree,
            self.interval_ns,
            self.span_ns,
        ];
        for (to, from) in words.iter_mut().zip(said) {
            *to = from;
        }
        words
    }

    /// From words of a table; `None` for what no rule says.
    pub fn decode(words: &[u64; RULE_WORDS]) -> Option<Self> {
        let [
            what,
            uid,
            gid,
            pid,
            size,
            nodeid,
            subtree,
            interval_ns,
            span_ns,
            ..,
        ] = *words;
        Some(Self {
            action: Action::unpack(what)?,
            place: place_of(what) as u8,
            uid: Span::unpack(uid),
            gid: Span::unpack(gid),
            pid: Span::unpack(pid),
            size: Span::unpack(size),
            nodeid,
            subtree,
            interval_ns,
            span_ns,
        })
    }
}

/// Where a rule is counted.
#[inline(always)]
pub(super) const fn place_of(what: u64) -> usize {
    (what >> 48) as usize & (super::table::STATES - 1)
}

/// Negative, as a signed number, if `value` lies outside the span. Without a branch: a program that
/// branches at each term of each rule is more than the verifier walks through.
#[inline(always)]
fn outside(span: u64, value: u32) -> u64 {
    let value = u64::from(value);
    value.wrapping_sub(span & 0xffff_ffff) | (span >> 32).wrapping_sub(value)
}

/// 1 if any bit is set, else 0.
#[inline(always)]
pub(super) const fn is_set(bits: u64) -> u64 {
    (bits | bits.wrapping_neg()) >> 63
}

/// 1 if a request meets the terms of a rule, but for names and subtree, else 0.
#[inline(always)]
pub(super) fn meets(rule: &RuleWords, asked: &super::Asked) -> u64 {
    let [_, uid, gid, pid, size, nodeid, ..] = rule;
    let beyond = outside(uid.get(), asked.uid)
        | outside(gid.get(), asked.gid)
        | outside(pid.get(), asked.pid)
        | outside(size.get(), asked.size);
    let nodeid = nodeid.get();
    let other = is_set(nodeid) & is_set(nodeid ^ asked.nodeid);
    (beyond >> 63 | other) ^ 1
}
