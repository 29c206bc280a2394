//! What a file system is to a transport.

use super::{Answer, Device, Exchange, ServeThread};
use crate::{
    answers::AnswerMemory,
    bpf::changes::Changes,
    error::{Error, Result},
    rules::serving::Rules,
    transform::Rule,
};
use std::sync::Arc;
use transport::wire::{InHeader, InitFlags};

/// What kernel and daemon agreed on at INIT.
#[derive(Clone, Copy, Debug)]
pub struct Negotiated {
    /// The protocol's minor version: the lower of both sides'.
    pub minor: u32,
    /// What both sides do.
    pub flags: InitFlags,
    /// Largest WRITE in bytes.
    pub max_write: u32,
    /// Largest request or reply in pages of 4 KiB.
    pub max_pages: u16,
}

impl Negotiated {
    /// Bytes that a request's payload, or a reply's body, can have at most.
    pub fn max_payload(&self) -> usize {
        /// An extended attribute's name and value (include/uapi/linux/limits.h), in whole pages.
        const XATTR_MAX: usize = 65536 + 4096;
        XATTR_MAX
            .max(self.max_write as usize)
            .max(usize::from(self.max_pages) * 4096)
    }
}

/// A file system, served by any number of threads of any transport at once.
pub trait FileSystem: Send + Sync + 'static {
    /// What was agreed on at INIT; called once, before any request.
    fn init(&self, negotiated: &Negotiated);

    /// The mount is made, and `device` its channel: for what the daemon tells the kernel unasked.
    /// `changes` of the lower directory are reported by the programs of the transport, if it has any.
    /// Called once, after [`init`](Self::init), before any request.
    ///
    /// # Errors
    ///
    /// Why the mount cannot be.
    fn mounted(self: Arc<Self>, device: &Device, changes: Option<Changes>) -> Result<()> {
        let _ = (device, changes);
        Ok(())
    }

    /// Answers one request. Never called for INIT, DESTROY, FORGET, BATCH_FORGET or INTERRUPT:
    /// those are the session's.
    ///
    /// A request that [`may_block`](Self::may_block) says so of is served on a thread that
    /// nothing else waits for.
    fn serve(&self, thread: &mut ServeThread, exchange: &mut (dyn Exchange + '_)) -> Answer;

    /// The kernel drops `nlookup` references to `nodeid`.
    fn forget(&self, nodeid: u64, nlookup: u64);

    /// Whether this request may wait for another application (a lock): it must not hold up the
    /// thread of a queue. `fixed` is the request's fixed part.
    fn may_block(&self, header: &InHeader, fixed: &[u8]) -> bool;

    /// Whether this request may wait for another that has been sent: a short time at most, so that the
    /// thread of its queue may serve it if no other is left.
    fn may_wait(&self, _header: &InHeader, _fixed: &[u8]) -> bool {
        false
    }

    /// The device of the lower file system (major and minor number), if the kernel programs notice
    /// every change of an inode there: ext4 has the tracepoints for that.
    fn noticed_device(&self) -> Option<(u32, u32)> {
        None
    }

    /// Kernel programs answer what is put there from now on; called at most once, before requests
    /// are served, and only if every change of an inode of the lower file system, whoever makes it,
    /// moves its generation there. A file system that puts nothing there answers everything itself.
    fn use_answers(self: Arc<Self>, _memory: Box<dyn AnswerMemory>) {}

    /// Attributes are shown by these rules from now on, and what the kernel believes is revoked when this
    /// returns. Not called by a thread that serves requests.
    fn show_by(&self, _rules: &[Rule]) {}

    /// Rules are in force on requests: before one is [served](Self::serve) somebody has asked them. The
    /// file system must not tell unasked what they refuse. Called once, before requests are served.
    fn use_rules(&self, _rules: Arc<Rules>) {}

    /// Whether an inode is, or lies below, the directory that users see under the number `directory`.
    fn is_within(&self, _nodeid: u64, _directory: u64) -> bool {
        false
    }

    /// The number that users will see of a directory, by its path from the root.
    ///
    /// # Errors
    ///
    /// If there is none.
    fn number_of(&self, path: &str) -> Result<u64> {
        let why = "this file system knows no subtrees";
        Err(Error::refused(path, why, "leave the rule out"))
    }

    /// What it holds at the moment, as words like `inodes=1`, for who watches the daemon.
    fn holdings(&self) -> String;

    /// The connection has ended: every file is closed, every nodeid forgotten.
    fn destroy(&self);
}
