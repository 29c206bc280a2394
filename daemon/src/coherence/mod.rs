//! Caches of the kernel that are revoked when the lower directory changes (`--cache coherent`;
//! docs/coherence.md).
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`establish`] | finds and proves a source of changes at mount time |
//! | [`selftest`] | makes each kind of change, and looks whether it is reported (unsafe) |
//! | [`fanotify`] | names, and where need be inodes, as fanotify(7) reports them |
//! | [`known`] | what the kernel was told of, by the words of the change reports |
//! | [`observe`] | what `shmfuse stat` shows of it |
//! | [`revoker`] | the thread that hears of changes and tells the kernel |
//!
//! The order of things for an inode: it is put among the [`known`] ones, its interest word is armed,
//! *then* the daemon looks at it, and answers with a long validity. A change that comes after the
//! look is reported, and the report revokes what was answered. A reply that is still on its
//! way then is discarded by the kernel, or found by the revoker: see [`revoker`].

pub mod establish;
pub mod fanotify;
pub mod known;
pub mod observe;
pub mod revoker;
pub mod selftest;

use crate::bpf::{Programs, changes::Changes, words::SharedArray};
use fanotify::Listener;
use known::Known;
use revoker::{Counters, Wake};
use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use transport::{generation, sync::InterestWord};

/// How long replies are valid where they can be revoked: names and attributes are asked for once an
/// hour all the same, which costs nothing and bounds what an error of ours could do.
const REVOCABLE: Duration = Duration::from_secs(3600);
/// How long attributes of regular files are valid where writes to mappings are not reported.
const MAPPED: Duration = Duration::from_secs(1);

/// As the counters have it that coherent was asked for, and no source of changes is proven.
pub const UNPROVEN: u32 = u32::MAX;
/// How long is waited for everything to be revoked: a request that holds a lock may take as long.
const REVOKED: Duration = Duration::from_secs(10);

/// Where reports of changes come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeSource {
    /// Inodes by the kernel's tracepoints in ext4, names by fanotify. Every kind of change is
    /// reported before the system call that makes it returns.
    Ext4Tracepoint,
    /// Inodes and names by fanotify, which does not report writes to mappings.
    Fanotify,
}

impl ChangeSource {
    /// As in the log, in `shmfuse doctor` and `shmfuse stat`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4Tracepoint => "ext4-tracepoint",
            Self::Fanotify => "fanotify",
        }
    }

    /// The source with this [`code`](Self::code).
    pub const fn of_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Ext4Tracepoint),
            2 => Some(Self::Fanotify),
            _ => None,
        }
    }

    /// As the counters have it; 0 is none.
    pub const fn code(self) -> u32 {
        match self {
            Self::Ext4Tracepoint => 1,
            Self::Fanotify => 2,
        }
    }
}

/// The coherence of one mount.
pub struct Coherence {
    source: ChangeSource,
    /// The lower file system, as [`device_of`](crate::passthrough::inode::device_of).
    device: u64,
    /// No other file system is mounted in the lower directory.
    alone: bool,
    interest: OnceLock<Arc<SharedArray<InterestWord>>>,
    known: Known,
    counters: Counters,
    feed: Mutex<Option<Feed>>,
    wake: Arc<Wake>,
    /// Until the revoker listens, nothing is promised.
    listening: AtomicBool,
}

/// What the revoker reads.
#[derive(Debug)]
pub struct Feed {
    /// Inodes; `None` where fanotify reports them.
    pub changes: Option<Changes>,
    /// Names.
    pub listener: Listener,
    /// What notices the changes, for as long as it is kept.
    pub programs: Option<Programs>,
}

impl Coherence {
    fn new(
        source: ChangeSource,
        device: u64,
        alone: bool,
        feed: Feed,
    ) -> crate::error::Result<Self> {
        Ok(Self {
            source,
            device,
            alone,
            interest: OnceLock::new(),
            known: Known::default(),
            counters: Counters::default(),
            feed: Mutex::new(Some(feed)),
            wake: Arc::new(Wake::new()?),
            listening: AtomicBool::new(false),
        })
    }

    /// Where reports come from.
    pub fn source(&self) -> ChangeSource {
        self.source
    }

    /// What was revoked so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether changes on this device are reported.
    pub fn covers(&self, device: u64) -> bool {
        device == self.device && self.listening.load(Ordering::Acquire)
    }

    /// Whether changes of all that can be reached are reported.
    pub fn covers_everything(&self) -> bool {
        self.alone && self.listening.load(Ordering::Acquire)
    }

    /// How long a name in a directory on `device` is valid, and attributes of a directory, link or
    /// special file.
    pub fn name_validity(&self, device: u64) -> Duration {
        if self.covers(device) {
            REVOCABLE
        } else {
            Duration::ZERO
        }
    }

    /// How long attributes are valid of an inode that was [watched](Self::watch) before they were
    /// looked at.
    pub fn attr_validity(&self, device: u64, is_regular: bool) -> Duration {
        let validity = self.name_validity(device);
        match self.source {
            ChangeSource::Fanotify if is_regular => validity.min(MAPPED),
            _ => validity,
        }
    }

    /// The kernel is about to be told of an inode, found in `parent` if it was found by a name: from
    /// now on its changes are reported. To be called before the look at the inode whose result the
    /// kernel is told.
    pub fn watch(&self, device: u64, number: u64, nodeid: u64, parent: Option<u64>) {
        if device != self.device {
            return;
        }
        let index = index_of(device, number);
        self.known.insert(index, nodeid, parent);
        if let Some(word) = self.interest.get().and_then(|words| words.get(index)) {
            word.arm();
        }
    }

    /// The kernel has forgotten the inode.
    pub fn forget(&self, device: u64, number: u64, nodeid: u64) {
        if device == self.device {
            self.known.remove(index_of(device, number), nodeid);
        }
    }

    /// A request that changes this name has failed, perhaps after its effect: the kernel is to ask
    /// again.
    pub fn doubt(&self, parent: u64, name: &[u8]) {
        self.wake.push(parent, name);
    }

    /// Revokes all that the kernel was told, because it is shown otherwise from now on. To be waited for only
    /// by a thread that serves no requests, and not after the mount has ended.
    pub fn revoke_everything(&self, wait: bool) {
        let done = self.wake.everything();
        if wait && self.listening.load(Ordering::Acquire) {
            // Hung up: the mount has ended, and nothing is believed.
            let _ = done.recv_timeout(REVOKED);
        }
    }

    /// The mount has ended.
    pub fn stop(&self) {
        self.listening.store(false, Ordering::Release);
        self.wake.stop();
    }

    /// These are what the revoker listens to.
    fn report_by(&self, feed: &Feed) -> crate::error::Result<()> {
        let counters = match (&feed.changes, &feed.programs) {
            (Some(changes), _) => {
                // Once in the life of a mount.
                let _ = self.interest.set(changes.interest());
                Some(changes.counters())
            }
            (None, Some(programs)) => Some(programs.change_counters()?),
            (None, None) => None,
        };
        if let Some(counters) = counters {
            self.counters.share(counters);
        }
        let code = u64::from(self.source.code());
        self.counters.get().source.add(code);
        Ok(())
    }

    fn take_feed(&self) -> Option<Feed> {
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        feed.take()
    }
}

impl fmt::Debug for Coherence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coherence")
            .field("source", &self.source)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// The index of an inode's words; `device` as [`device_of`](crate::passthrough::inode::device_of).
fn index_of(device: u64, number: u64) -> u32 {
    let device = generation::device_of((device >> 32) as u32, device as u32);
    generation::index_of(device, number)
}
