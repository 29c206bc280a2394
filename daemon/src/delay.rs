//! A layer that makes the lower file system slow: for tests of what waits for it, and what does not; or
//! replies late: for tests of what overtakes them.
//!
//! It stands between session and pass-through and sleeps before a request is passed on, or between its
//! answer and the reply, so every transport meets it in the same place. What is answered without the
//! pass-through never sleeps.

use crate::{
    answers::AnswerMemory,
    bpf::changes::Changes,
    config::Config,
    error::Result,
    fuse::{Answer, Body, Device, Exchange, FileSystem, Negotiated, ServeThread},
    rules::serving::Rules,
    transform::Rule,
};
use bytemuck::pod_read_unaligned;
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};
use transport::wire::{Dirent, EntryOut, InHeader, Opcode};

/// How much slower, and what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LowerDelay {
    /// Slept for each operation.
    pub time: Duration,
    /// Files of these names only; `None`: every operation.
    pub names: Option<NamePattern>,
}

/// When is slept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    /// Before the operation.
    Lower,
    /// When its answer is known, and not yet sent.
    Reply,
}

/// A pattern of file names, as the shell has it: `*` is any text, `?` any byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamePattern(String);

impl NamePattern {
    /// The pattern that `text` is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the whole of `name` fits.
    pub fn matches(&self, name: &[u8]) -> bool {
        let pattern = self.0.as_bytes();
        let (mut at, mut from) = (0, 0);
        // Where the last star stands, and how much of the name it was given.
        let mut star = None;
        while from < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, from));
                    at += 1;
                }
                Some(&byte) if byte == b'?' || byte == name[from] => {
                    at += 1;
                    from += 1;
                }
                _ => match star {
                    Some((place, given)) => {
                        star = Some((place, given + 1));
                        at = place + 1;
                        from = given + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|&byte| byte == b'*')
    }
}

/// A file system whose lower operations take longer.
///
/// With a pattern, slow are the requests that name a file which fits, and those on inodes that the
/// kernel learnt by such a name. An inode stays slow when it is renamed.
pub struct Delayed {
    inner: Arc<dyn FileSystem>,
    delay: LowerDelay,
    when: When,
    /// The inodes that are slow. A nodeid is used once, so that none has to be taken out.
    slow: RwLock<HashSet<u64>>,
}

impl Delayed {
    /// `fs` with the delays that `config` asks for.
    pub fn as_asked(mut fs: Arc<dyn FileSystem>, config: &Config) -> Arc<dyn FileSystem> {
        let delays = [
            (&config.lower_delay, When::Lower),
            (&config.reply_delay, When::Reply),
        ];
        for (delay, when) in delays {
            if let Some(delay) = delay.clone() {
                fs = Arc::new(Self {
                    inner: fs,
                    delay,
                    when,
                    slow: RwLock::default(),
                });
            }
        }
        fs
    }

    /// Sleeps, if this is when.
    fn sleep(&self, when: When) {
        if self.when == when {
            thread::sleep(self.delay.time);
        }
    }

    fn is_slow(&self, nodeid: u64) -> bool {
        let slow = self.slow.read().unwrap_or_else(PoisonError::into_inner);
        slow.contains(&nodeid)
    }

    fn learn(&self, nodeids: impl Iterator<Item = u64>) {
        let mut slow = self.slow.write().unwrap_or_else(PoisonError::into_inner);
        // 0 stands for "no such file" (negative entries).
        slow.extend(nodeids.filter(|&nodeid| nodeid != 0));
    }
}

/// The names in a request: one, or two of a rename. Values behind them (a symlink's target) are none.
fn names(opcode: Opcode, payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = match opcode {
        Opcode::RENAME | Opcode::RENAME2 => 2,
        Opcode::LOOKUP
        | Opcode::CREATE
        | Opcode::MKNOD
        | Opcode::MKDIR
        | Opcode::SYMLINK
        | Opcode::LINK
        | Opcode::UNLINK
        | Opcode::RMDIR => 1,
        _ => 0,
    };
    payload.split(|&byte| byte == 0).take(count)
}

/// The nodeid that a reply gives to the request's name.
fn nodeid_of(opcode: Opcode, body: &[u8]) -> Option<u64> {
    match opcode {
        Opcode::LOOKUP
        | Opcode::CREATE
        | Opcode::MKNOD
        | Opcode::MKDIR
        | Opcode::SYMLINK
        | Opcode::LINK => {
            let entry = body.get(..size_of::<EntryOut>())?;
            Some(pod_read_unaligned::<EntryOut>(entry).nodeid)
        }
        _ => None,
    }
}

/// Names and nodeids in the reply to a READDIRPLUS.
fn listed(mut body: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    std::iter::from_fn(move || {
        let (entry, rest) = body.split_at_checked(size_of::<EntryOut>())?;
        let (dirent, rest) = rest.split_at_checked(size_of::<Dirent>())?;
        let nodeid = pod_read_unaligned::<EntryOut>(entry).nodeid;
        let len = pod_read_unaligned::<Dirent>(dirent).namelen as usize;
        let name = rest.get(..len)?;
        body = body.get(Dirent::plus_padded_len(len)..).unwrap_or_default();
        Some((name, nodeid))
    })
}

impl FileSystem for Delayed {
    fn init(&self, negotiated: &Negotiated) {
        self.inner.init(negotiated);
    }

    fn mounted(self: Arc<Self>, device: &Device, changes: Option<Changes>) -> Result<()> {
        Arc::clone(&self.inner).mounted(device, changes)
    }

    fn serve(&self, thread: &mut ServeThread, exchange: &mut (dyn Exchange + '_)) -> Answer {
        let Some(pattern) = &self.delay.names else {
            self.sleep(When::Lower);
            let answer = self.inner.serve(thread, exchange);
            self.sleep(When::Reply);
            return answer;
        };
        let InHeader { opcode, nodeid, .. } = *exchange.header();
        let named = names(opcode, exchange.payload()).any(|name| pattern.matches(name));
        let is_slow = named || self.is_slow(nodeid);
        if is_slow {
            self.sleep(When::Lower);
        }
        let answer = self.inner.serve(thread, exchange);
        if let Ok(Body::Out(len)) = answer {
            let body = &exchange.out()[..len];
            if named {
                self.learn(nodeid_of(opcode, body).into_iter());
            } else if opcode == Opcode::READDIRPLUS {
                let fits = listed(body).filter(|(name, _)| pattern.matches(name));
                self.learn(fits.map(|(_, nodeid)| nodeid));
            }
        }
        if is_slow {
            self.sleep(When::Reply);
        }
        answer
    }

    fn forget(&self, nodeid: u64, nlookup: u64) {
        self.inner.forget(nodeid, nlookup);
    }

    fn may_block(&self, header: &InHeader, fixed: &[u8]) -> bool {
        self.inner.may_block(header, fixed)
    }

    fn may_wait(&self, header: &InHeader, fixed: &[u8]) -> bool {
        self.inner.may_wait(header, fixed)
    }

    fn noticed_device(&self) -> Option<(u32, u32)> {
        self.inner.noticed_device()
    }

    fn show_by(&self, rules: &[Rule]) {
        self.inner.show_by(rules);
    }

    fn use_answers(self: Arc<Self>, memory: Box<dyn AnswerMemory>) {
        Arc::clone(&self.inner).use_answers(memory);
    }

    fn use_rules(&self, rules: Arc<Rules>) {
        self.inner.use_rules(rules);
    }

    fn is_within(&self, nodeid: u64, directory: u64) -> bool {
        self.inner.is_within(nodeid, directory)
    }

    fn number_of(&self, path: &str) -> Result<u64> {
        self.inner.number_of(path)
    }

    fn holdings(&self) -> String {
        self.inner.holdings()
    }

    fn destroy(&self) {
        self.inner.destroy();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_the_whole_name() {
        for (pattern, fits, does_not) in [
            ("slow", &["slow"][..], &["slow1", "aslow", ""][..]),
            ("*", &["", "a", "a.b"], &[]),
            ("s?w*", &["saw", "sow-1"], &["sw", "soow"]),
            ("*.db*", &["a.db", ".db", "x.db-wal"], &["db", "a.d"]),
            ("a*b*c", &["abc", "axbxbc"], &["ab", "acb"]),
        ] {
            let pattern = NamePattern::new(pattern);
            for name in fits {
                assert!(pattern.matches(name.as_bytes()), "{pattern:?} {name}");
            }
            for name in does_not {
                assert!(!pattern.matches(name.as_bytes()), "{pattern:?} {name}");
            }
        }
    }

    #[test]
    fn both_names_of_a_rename_count_and_the_target_of_a_symlink_does_not() {
        let of = |opcode, payload| names(opcode, payload).collect::<Vec<_>>();
        assert_eq!(of(Opcode::RENAME2, b"old\0new\0"), [b"old", b"new"]);
        assert_eq!(of(Opcode::SYMLINK, b"name\0target\0"), [b"name"]);
        assert!(of(Opcode::READ, b"old").is_empty());
    }

    #[test]
    fn a_listing_that_is_cut_short_is_read_to_its_last_whole_entry() {
        let entry = |nodeid: u64, name: &[u8]| {
            let mut bytes = vec![0; Dirent::plus_padded_len(name.len())];
            bytes[..8].copy_from_slice(&nodeid.to_ne_bytes());
            let dirent = size_of::<EntryOut>();
            bytes[dirent + 16..dirent + 20].copy_from_slice(&(name.len() as u32).to_ne_bytes());
            let at = dirent + size_of::<Dirent>();
            bytes[at..at + name.len()].copy_from_slice(name);
            bytes
        };
        let body = [entry(2, b"one"), entry(3, b"another")].concat();
        let all: Vec<_> = listed(&body).collect();
        assert_eq!(all, [(&b"one"[..], 2), (&b"another"[..], 3)]);
        for len in 0..body.len() {
            let _ = listed(&body[..len]).count();
        }
    }
}
