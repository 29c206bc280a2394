//! The thread that hears of changes and tells the kernel.
//!
//! # Replies on their way
//!
//! A reply may be overtaken by the notification that was to revoke it. Of *attributes* of an inode
//! that the kernel knows, it discards replies to requests older than the last notification
//! (`attr_version`, fs/fuse/inode.c; but not those to SETATTR and LINK, which therefore carry no
//! validity). One that it does not know yet (`ENOENT`) is in the reply to a request that looks up or
//! makes a name: the kernel holds the directory's lock meanwhile, and `FUSE_NOTIFY_INVAL_ENTRY`, of any name
//! in that directory, waits for it. So it is sent as a barrier, and the inode's notification again.
//! Of *names*, the same lock keeps a look-up from being overtaken; where the kernel asks again about
//! a name it has, without the lock, the notification takes that dentry out of its cache, with
//! whatever the reply says.
//!
//! # Waiting
//!
//! Notifications wait for locks that requests hold which this daemon is to answer: hence a thread
//! of its own, which serves none.

use super::{ChangeSource, Coherence, Feed, fanotify::Event, known::Told};
use crate::{
    bpf::changes::Changes,
    error::{Error, Result},
    fuse::{Device, Errno},
    passthrough::{file_handle::FileHandle, inode::Inode},
    privilege,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::{
    collections::HashSet,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};
use transport::{changes::ChangeCounters, wire::InvalEntryFlags};

/// A name that no file has: what is sent for its wait alone.
const BARRIER: &[u8] = b".shmfuse-barrier\x01";

/// How long changes may stand that come after changes of no concern.
const IDLE: Duration = Duration::from_millis(1);

/// Reports that are taken at once, of names and of inodes each, before what they say is revoked: a quarter of what
/// the queue and the ring hold. More may come for as long as the rest is read, on a file system where others are at work.
const AT_ONCE: usize = 4096;

/// What the revoker asks of the file system.
pub trait Inodes: Send + Sync {
    /// The inodes that have a file handle, one for each mount it is reached by.
    fn of_handle(&self, handle: &FileHandle) -> Vec<Arc<Inode>>;
    /// Whether the kernel was told of this nodeid and has not forgotten it.
    fn knows(&self, nodeid: u64) -> bool;
}

/// What the daemon counts; `shmfuse stat` reads the same from the map, if there is one.
#[derive(Default)]
pub struct Counters {
    own: ChangeCounters,
    shared: OnceLock<Arc<crate::bpf::words::SharedArray<ChangeCounters>>>,
}

impl Counters {
    /// From now on counts where others can read it.
    pub(super) fn share(&self, map: Arc<crate::bpf::words::SharedArray<ChangeCounters>>) {
        // Once in the life of a mount.
        let _ = self.shared.set(map);
    }

    /// The counters.
    pub fn get(&self) -> &ChangeCounters {
        let shared = self.shared.get().and_then(|map| map.get(0));
        shared.unwrap_or(&self.own)
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

/// What others tell the revoker.
#[derive(Debug)]
pub struct Wake {
    event: OwnedFd,
    told: Mutex<Messages>,
}

#[derive(Default, Debug)]
struct Messages {
    doubts: Vec<(u64, Vec<u8>)>,
    /// Everything is to be revoked; these wait for it.
    everything: Vec<Sender<()>>,
    stop: bool,
}

impl Wake {
    pub(super) fn new() -> Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::system("cannot make an eventfd", errno))?;
        Ok(Self {
            event,
            told: Mutex::default(),
        })
    }

    pub(super) fn push(&self, parent: u64, name: &[u8]) {
        self.tell(|told| told.doubts.push((parent, name.to_vec())));
    }

    /// Everything is to be revoked; what is returned hears when it is.
    pub(super) fn everything(&self) -> Receiver<()> {
        let (done, waits) = channel();
        self.tell(|told| told.everything.push(done));
        waits
    }

    pub(super) fn stop(&self) {
        self.tell(|told| told.stop = true);
    }

    fn tell(&self, tell: impl FnOnce(&mut Messages)) {
        tell(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
        // Fails only if the counter is full, and then it is readable.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    fn take(&self) -> Messages {
        let _ = rustix::io::read(&self.event, &mut [0_u8; 8]);
        std::mem::take(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts the thread; from now on replies may be valid for long. To be called once, with the device
/// of the mount. `changes` are reported by the programs that answer requests, if there are any: what
/// they answer is revoked by the reports that go with their own generations.
///
/// # Errors
///
/// The thread cannot be started, or was before.
pub fn start(
    coherence: &Arc<Coherence>,
    device: Device,
    inodes: Arc<dyn Inodes>,
    changes: Option<Changes>,
) -> Result<()> {
    let Some(mut feed) = coherence.take_feed() else {
        return Err(Error::Protocol("the revoker was started before".into()));
    };
    if coherence.source() == ChangeSource::Ext4Tracepoint
        && let Some(changes) = changes
    {
        feed.changes = Some(changes);
        feed.programs = None;
    }
    coherence.report_by(&feed)?;
    let mut revoker = Revoker {
        coherence: Arc::clone(coherence),
        device,
        inodes,
        lost: coherence.counters().get().lost.get(),
        feed,
        own: std::process::id() as i32,
    };
    thread::Builder::new()
        .name("shmfuse-revoke".into())
        .spawn(move || {
            // All that takes privileges has been opened: what is left is to read and to notify.
            if let Err(error) = privilege::settle_bystander() {
                tracing::error!("caches are revoked with more privileges than that takes: {error}");
            }
            revoker.run();
        })
        .map_err(|error| Error::system("cannot start a thread", error))?;
    coherence.listening.store(true, Ordering::Release);
    Ok(())
}

struct Revoker {
    coherence: Arc<Coherence>,
    device: Device,
    inodes: Arc<dyn Inodes>,
    feed: Feed,
    /// This process, whose changes the kernel knows of.
    own: i32,
    /// Reports lost before those that everything was revoked for.
    lost: u64,
}

/// What has changed, each thing once.
#[derive(Default)]
struct Batch {
    indices: HashSet<u32>,
    names: HashSet<(u64, Vec<u8>)>,
    everything: bool,
    /// Reports were lost.
    overflow: bool,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.indices.is_empty() && self.names.is_empty() && !self.everything
    }
}

impl Revoker {
    fn run(&mut self) {
        loop {
            self.wait();
            let messages = self.coherence.wake.take();
            if messages.stop {
                return;
            }
            let mut batch = Batch::default();
            batch.names.extend(messages.doubts);
            batch.everything = !messages.everything.is_empty();
            self.collect(&mut batch);
            if batch.is_empty() {
                // Others are at work elsewhere on the file system: not a wake-up for each of them.
                thread::sleep(IDLE);
                continue;
            }
            let revoke = AssertUnwindSafe(|| self.revoke(batch));
            if catch_unwind(revoke).is_err() {
                tracing::error!("panic while caches were revoked; all of them are");
                self.everything();
            }
            for waits in messages.everything {
                // Nobody may wait any more.
                let _ = waits.send(());
            }
        }
    }

    fn wait(&self) {
        let wake = self.coherence.wake.event.as_fd();
        let listener = self.feed.listener.as_fd();
        let ring = self.feed.changes.as_ref().map(|changes| changes.fd());
        let fds = [Some(wake), Some(listener), ring];
        let mut fds: Vec<_> = fds.into_iter().flatten().map(readable).collect();
        // EINTR is as good as an event: whoever looks finds nothing.
        let _ = poll(&mut fds, None);
    }

    fn collect(&mut self, batch: &mut Batch) {
        let mut taken = 0;
        while taken < AT_ONCE {
            let events = self.feed.listener.read().unwrap_or_else(|errno| {
                tracing::error!(%errno, "cannot read what fanotify reports");
                batch.overflow = true;
                Vec::new()
            });
            if events.is_empty() {
                break;
            }
            taken += events.len();
            for event in events {
                batch.overflow |= event.is_overflow();
                if event.process != self.own {
                    self.collect_event(batch, event);
                }
            }
        }
        if let Some(changes) = &mut self.feed.changes {
            let reports = std::iter::from_fn(|| changes.next_report());
            batch.indices.extend(reports.take(AT_ONCE));
        }
        let lost = self.coherence.counters().get().lost.get();
        batch.overflow |= lost != self.lost;
        self.lost = lost;
        if batch.overflow {
            self.coherence.counters().get().overflows.add(1);
            batch.everything = true;
        }
    }

    fn collect_event(&self, batch: &mut Batch, event: Event) {
        let of_name = event.is_of_name();
        // Where programs report inodes, fanotify does not.
        let and_inode = self.coherence.source() == ChangeSource::Fanotify;
        if let Some((directory, name)) = &event.name
            && of_name
        {
            for inode in self.inodes.of_handle(directory) {
                batch.names.insert((inode.nodeid(), name.clone()));
                if and_inode {
                    batch.indices.insert(index_of(&inode));
                }
            }
        }
        if let Some(object) = &event.object {
            let inodes = self.inodes.of_handle(object);
            batch
                .indices
                .extend(inodes.iter().map(|inode| index_of(inode)));
        }
    }

    fn revoke(&self, batch: Batch) {
        if batch.everything {
            return self.everything();
        }
        for (parent, name) in &batch.names {
            self.name(*parent, name);
        }
        for index in batch.indices {
            for told in self.coherence.known.of_index(index) {
                self.inode(index, told);
            }
        }
    }

    fn everything(&self) {
        let counters = self.coherence.counters().get();
        tracing::debug!("everything is revoked");
        counters.notifications.add(1);
        if let Err(errno) = self.device.notify_inc_epoch() {
            tracing::error!(%errno, "names cannot be revoked");
        }
        for (index, told) in self.coherence.known.all() {
            self.inode(index, told);
        }
    }

    fn name(&self, parent: u64, name: &[u8]) {
        let counters = self.coherence.counters().get();
        counters.notifications.add(1);
        let sent = self
            .device
            .notify_inval_entry(parent, name, InvalEntryFlags::empty());
        match sent {
            Ok(()) => counters.names_revoked.add(1),
            // Not cached; or the mount has ended.
            Err(Errno::NOENT | Errno::NODEV | Errno::NOTCONN) => {}
            Err(errno) => tracing::warn!(%errno, parent, "a name cannot be revoked"),
        }
    }

    fn inode(&self, index: u32, told: Told) {
        if self.inval_inode(told.nodeid) {
            return;
        }
        if !self.inodes.knows(told.nodeid) {
            return self.coherence.known.remove(index, told.nodeid);
        }
        // The reply is on its way, or the kernel's forget is.
        for &parent in &told.parents {
            self.coherence.counters().get().notifications.add(1);
            let flags = InvalEntryFlags::EXPIRE_ONLY;
            let _ = self.device.notify_inval_entry(parent, BARRIER, flags);
        }
        self.inval_inode(told.nodeid);
    }

    /// Whether the kernel knew it.
    fn inval_inode(&self, nodeid: u64) -> bool {
        let counters = self.coherence.counters().get();
        counters.notifications.add(1);
        match self.device.notify_inval_inode(nodeid, 0, 0) {
            Ok(()) => {
                counters.inodes_revoked.add(1);
                true
            }
            Err(Errno::NOENT) => false,
            Err(Errno::NODEV | Errno::NOTCONN) => true,
            Err(errno) => {
                tracing::warn!(%errno, nodeid, "an inode cannot be revoked");
                true
            }
        }
    }
}

fn index_of(inode: &Inode) -> u32 {
    super::index_of(inode.device(), inode.number())
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}
