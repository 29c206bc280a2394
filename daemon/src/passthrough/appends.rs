//! Direct writes in append mode: the requests of one write(2) follow each other in the file.
//!
//! The kernel sends all requests of such a write at once, if it is asynchronous to it (`fuse_direct_IO`,
//! fs/fuse/file.c), with the offsets that they would have if the file ended where the kernel believes it
//! does; while they are under way it holds the inode's lock, so that there is one such write at a time.
//! They are served in any order: by several threads, by several queues, and out of one queue the request
//! that a commit fetches comes first (`fuse_uring_commit_fetch`, fs/fuse/dev_uring.c). Each is
//! appended where the lower file ends by then, so here it waits for the one before it.
//!
//! The offset says which one that is, and whether there is one the daemon cannot know for certain. There
//! is none if the request continues what was appended last, or if the lower file ends at its offset; unless
//! that is some whole requests behind what was appended last, because others may have appended as much. Else,
//! if others have changed the file below, the first request looks like a later one: it waits until
//! [`GRACE`] has passed in vain, and then the first of those that wait goes.

use super::{Passthrough, open_file::OpenFile};
use crate::fuse::Errno;
use rustix::fs::OFlags;
use std::{
    collections::{BTreeMap, HashMap},
    os::fd::AsFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};
use transport::wire::{InHeader, Opcode, WriteFlags, WriteIn};

/// How long a request waits for one before it that may not exist. The kernel has sent the one before
/// already, so this is the time in which a thread of the daemon takes it up.
const GRACE: Duration = Duration::from_millis(100);
/// In so many pieces it waits, and anew when something was appended: a daemon that was stopped, or
/// that gets no processor, has not waited for as long as the clock says.
const PIECES: u32 = 10;

/// The [`Appends`] of inodes, by nodeid.
#[derive(Default, Debug)]
pub(super) struct AppendTable(Mutex<HashMap<u64, Arc<Appends>>>);

impl AppendTable {
    /// How many are kept that nobody uses at the moment.
    const KEPT: usize = 64;

    /// Those of an inode; the kernel sends up to `request_max` bytes in a request.
    fn of(&self, nodeid: u64, request_max: u64) -> Arc<Appends> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= Self::KEPT && !table.contains_key(&nodeid) {
            table.retain(|_, appends| Arc::strong_count(appends) > 1);
        }
        let appends = table
            .entry(nodeid)
            .or_insert_with(|| Arc::new(Appends::new(GRACE, request_max)));
        Arc::clone(appends)
    }
}

impl Passthrough {
    /// Whether a WRITE must wait for another one that is not served yet, or is being served.
    pub(super) fn waits_for_append(&self, header: &InHeader, fixed: &[u8]) -> bool {
        self.waits(header, fixed).unwrap_or(false)
    }

    /// `None`: who serves it will say why not.
    fn waits(&self, header: &InHeader, fixed: &[u8]) -> Option<bool> {
        if header.opcode != Opcode::WRITE {
            return None;
        }
        let write: WriteIn = bytemuck::pod_read_unaligned(fixed.get(..size_of::<WriteIn>())?);
        if self.writes_back() || !may_be_one_of_several(&write) {
            return None;
        }
        let lower_end = match self.open_file_if_any(write.fh).ok()? {
            Some(open) => end_of(&*open),
            None => end_of(self.path_fd(&self.inode(header.nodeid).ok()?).ok()?),
        };
        let appends = self.appends_of(header.nodeid);
        Some(appends.waits(write.offset, lower_end.ok()?))
    }

    fn appends_of(&self, nodeid: u64) -> Arc<Appends> {
        // Before INIT there are no requests.
        let max = self.negotiated.get().map_or(0, |agreed| agreed.max_write);
        self.appends.of(nodeid, max.into())
    }

    /// Does `write`, which appends to `open` what `request` says, when it is its turn.
    ///
    /// # Errors
    ///
    /// As [`Appends::append`].
    pub(super) fn in_turn(
        &self,
        open: &OpenFile,
        request: &WriteIn,
        write: impl FnOnce() -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        if !may_be_one_of_several(request) {
            return write();
        }
        let part = Part {
            offset: request.offset,
            len: request.size.into(),
        };
        let appends = self.appends_of(open.nodeid());
        appends.append(part, || end_of(open), write)
    }
}

/// Whether this is direct I/O that appends: all else the kernel sends one after the other.
fn may_be_one_of_several(write: &WriteIn) -> bool {
    let both = OFlags::APPEND | OFlags::DIRECT;
    !write.write_flags.contains(WriteFlags::CACHE)
        && OFlags::from_bits_retain(write.flags).contains(both)
}

fn end_of(file: impl AsFd) -> Result<u64, Errno> {
    Ok(rustix::fs::fstat(file)?.st_size as u64)
}

/// A part of what is appended, in bytes as the kernel counts them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    /// Where the kernel believes that it goes.
    offset: u64,
    /// At least 1.
    len: u64,
}

/// Whose turn it is to append to one inode.
#[derive(Debug)]
struct Appends {
    state: Mutex<State>,
    changed: Condvar,
    grace: Duration,
    /// What is longer the kernel sends in several requests, of which all but the last are so long.
    request_max: u64,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Last>,
    /// How many wait at each offset.
    waiting: BTreeMap<u64, usize>,
}

/// What was appended last.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// The offset behind it, as the kernel counts.
    end: u64,
    /// Where the lower file ended then.
    lower_end: u64,
    /// It was not appended as a whole, and what continues it is not to be appended.
    failed: Option<Errno>,
}

/// What becomes of a part.
enum Turn {
    Append,
    /// The part before it failed.
    Fail(Errno),
    Wait,
}

impl State {
    fn turn(&self, offset: u64, lower_end: u64, request_max: u64) -> Turn {
        // A file that is shorter than it was is another one.
        let last = self.last.filter(|last| last.lower_end <= lower_end);
        let behind = last.and_then(|last| offset.checked_sub(last.end));
        match (behind, last) {
            (Some(0), Some(last)) => last.failed.map_or(Turn::Append, Turn::Fail),
            (Some(behind), _) if behind.checked_rem(request_max) == Some(0) => Turn::Wait,
            _ if offset == lower_end => Turn::Append,
            _ => Turn::Wait,
        }
    }

    fn is_first_that_waits(&self, offset: u64) -> bool {
        self.waiting
            .first_key_value()
            .is_none_or(|(&first, _)| offset <= first)
    }

    fn begin_to_wait(&mut self, offset: u64) {
        *self.waiting.entry(offset).or_insert(0) += 1;
    }

    fn end_to_wait(&mut self, offset: u64) {
        if let Some(count) = self.waiting.get_mut(&offset) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&offset);
            }
        }
    }
}

impl Appends {
    fn new(grace: Duration, request_max: u64) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            grace,
            request_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a part at this offset would wait, if it were appended at once to a file that ends at
    /// `lower_end`.
    fn waits(&self, offset: u64, lower_end: u64) -> bool {
        match self.state.try_lock() {
            Ok(state) => matches!(state.turn(offset, lower_end, self.request_max), Turn::Wait),
            // Another part is being appended.
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Poisoned(state)) => {
                let turn = state.into_inner().turn(offset, lower_end, self.request_max);
                matches!(turn, Turn::Wait)
            }
        }
    }

    /// Appends a part when it is its turn: `append` says how many bytes it wrote, `lower_end` where the
    /// lower file ends.
    ///
    /// # Errors
    ///
    /// That of `append` or `lower_end`; of the part before it, if that one failed; `EIO` if that was cut
    /// short.
    fn append(
        &self,
        part: Part,
        lower_end: impl Fn() -> Result<u64, Errno>,
        append: impl FnOnce() -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let mut state = self.lock();
        let end = part.offset.saturating_add(part.len);
        let mut left = PIECES;
        state.begin_to_wait(part.offset);
        let turn = loop {
            let turn = lower_end().map(|end| state.turn(part.offset, end, self.request_max));
            match turn {
                Ok(Turn::Wait) if left > 0 || !state.is_first_that_waits(part.offset) => {}
                Ok(Turn::Wait) => break Ok(Turn::Append),
                turn => break turn,
            }
            let (woken, waited) = self
                .changed
                .wait_timeout(state, self.grace / PIECES)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            left = match waited.timed_out() {
                true => left.saturating_sub(1),
                false => PIECES,
            };
        };
        state.end_to_wait(part.offset);
        let result = match turn? {
            Turn::Fail(errno) => Err(errno),
            Turn::Append | Turn::Wait => append(),
        };
        state.last = Some(Last {
            end,
            lower_end: lower_end()?,
            failed: match result {
                Err(errno) => Some(errno),
                Ok(count) => ((count as u64) < part.len).then_some(Errno::IO),
            },
        });
        self.changed.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;

    /// A file that only has a length, and what was appended to it, by the kernel's offsets.
    #[derive(Debug, Default)]
    struct Lower(Mutex<(u64, Vec<u64>)>);

    impl Lower {
        fn of(len: u64) -> Self {
            Self(Mutex::new((len, Vec::new())))
        }

        fn end(&self) -> Result<u64, Errno> {
            Ok(self.0.lock().unwrap().0)
        }

        fn append(&self, part: Part) -> Result<usize, Errno> {
            let mut file = self.0.lock().unwrap();
            file.0 += part.len;
            file.1.push(part.offset);
            Ok(part.len as usize)
        }

        fn order(&self) -> Vec<u64> {
            self.0.lock().unwrap().1.clone()
        }
    }

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(1);

    fn part(offset: u64) -> Part {
        Part { offset, len: 10 }
    }

    /// Waits until so many parts wait.
    fn until_waiting(appends: &Appends, count: usize) {
        while appends.lock().waiting.values().sum::<usize>() < count {
            thread::yield_now();
        }
    }

    /// Appends parts, each by a thread of its own, in the order in which they come.
    fn append_all(appends: &Appends, lower: &Lower, offsets: &[u64]) {
        thread::scope(|scope| {
            for &offset in offsets {
                scope.spawn(move || {
                    let append = || lower.append(part(offset));
                    appends.append(part(offset), || lower.end(), append)
                });
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_comes_in_any_order_is_appended_in_one(
            offsets in Just((0..6).map(|n| 100 + 10 * n).collect::<Vec<u64>>()).prop_shuffle()
        ) {
            let (appends, lower) = (Appends::new(LONG, 10), Lower::of(100));
            append_all(&appends, &lower, &offsets);
            prop_assert_eq!(lower.order(), [100, 110, 120, 130, 140, 150]);
        }
    }

    #[test]
    fn where_the_kernel_is_wrong_a_part_goes_in_the_end() {
        for lower_end in [7, 105, 1000] {
            let (appends, lower) = (Appends::new(SHORT, 10), Lower::of(lower_end));
            append_all(&appends, &lower, &[100]);
            assert_eq!(lower.order(), [100]);
            // What continues it is known by that.
            assert!(!appends.waits(110, lower.end().unwrap()));
        }
    }

    #[test]
    fn of_those_that_wait_in_vain_the_first_goes() {
        let mut state = State::default();
        for offset in [120, 110, 130, 110] {
            state.begin_to_wait(offset);
        }
        state.end_to_wait(110);
        let goes = |state: &State| [110, 120, 130].map(|offset| state.is_first_that_waits(offset));
        assert_eq!(goes(&state), [true, false, false]);
        state.end_to_wait(110);
        assert_eq!(goes(&state), [true, true, false]);
    }

    #[test]
    fn what_continues_a_part_that_failed_fails_as_well() {
        let (appends, lower) = (Appends::new(LONG, 10), Lower::of(100));
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let never = || -> Result<usize, Errno> { panic!("it is not appended") };
                appends.append(part(110), || lower.end(), never)
            });
            until_waiting(&appends, 1);
            let failed = appends.append(part(100), || lower.end(), || Err(Errno::NOSPC));
            assert_eq!(failed, Err(Errno::NOSPC));
            assert_eq!(second.join().unwrap(), Err(Errno::NOSPC));
        });
        // The next write begins where the file ends.
        let append = || lower.append(part(100));
        assert_eq!(appends.append(part(100), || lower.end(), append), Ok(10));
    }

    #[test]
    fn a_file_that_became_shorter_is_continued_by_nobody() {
        let (appends, lower) = (Appends::new(LONG, 10), Lower::of(100));
        append_all(&appends, &lower, &[100]);
        assert!(!appends.waits(110, 110));
        assert!(!appends.waits(110, 500), "others have appended");
        assert!(appends.waits(130, 130), "as much as two requests");
        assert!(!appends.waits(135, 135), "and the kernel knows");
        assert!(appends.waits(110, 0), "it was truncated");
        assert!(!appends.waits(0, 0));
    }

    #[test]
    fn the_table_forgets_those_that_nobody_uses() {
        let table = AppendTable::default();
        let used = table.of(0, 10);
        for nodeid in 1..10_000 {
            table.of(nodeid, 10);
        }
        assert!(table.0.lock().unwrap().len() <= AppendTable::KEPT);
        assert!(Arc::ptr_eq(&used, &table.of(0, 10)));
    }
}
