//! What happened on a mount that is not seen in its replies.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// Counts up, from any thread.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// So far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// One mount's counters, logged when it ends.
#[derive(Debug, Default)]
pub struct Counters {
    /// READs whose data went from the lower file to the kernel by splice(2).
    pub reads_spliced: Counter,
    /// READs of the splice transport that had to be copied: the lower file cannot be spliced from.
    pub reads_not_spliced: Counter,
    /// WRITEs whose data went from the kernel to the lower file by splice(2).
    pub writes_spliced: Counter,
    /// WRITEs of the splice transport that had to be copied: the lower file cannot be spliced to
    /// (it is open for appending, or for direct I/O that the data is not aligned for).
    pub writes_not_spliced: Counter,
    /// READs and WRITEs of the splice transport that were copied because they are short.
    pub short_copied: Counter,
    /// Requests that were answered with `EIO` because the file system panicked.
    pub panics: Counter,
    /// Requests that the kernel sent with a length that is not theirs.
    pub malformed: Counter,
    /// INTERRUPTs.
    pub interrupts: Counter,
    /// Requests that were served beside their queue: those that may block, and slow ones.
    pub served_beside: Counter,
    /// Requests that a rule sent to the lane for bulk.
    pub served_on_lane: Counter,
    /// Of those served beside, such that were refused, since there was no thread for them.
    pub blocking_refused: Counter,
    /// Lower reads and writes that served several requests at once.
    pub merges: Counter,
    /// The requests that they served.
    pub merged: Counter,
}

impl Counters {
    /// So many requests were served by one lower read or write.
    pub fn merged(&self, width: usize) {
        self.merges.count();
        self.merged.add(width as u64);
    }
}
