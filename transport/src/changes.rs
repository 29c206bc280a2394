//! Reports of changes that others make below the mount.
//!
//! Who gives something about an inode away that is to be revoked when it changes (a reply with a long
//! validity) arms the inode's interest word **before** he looks at the inode. The program that
//! notices a change takes the wish after the change has taken effect, and if there was one reports
//! the inode's index once (SP-INTEREST). So either the report comes, or the look has seen the change;
//! and however often an inode changes, it is reported once for each time that it was asked about.

use crate::sync::{InterestWord, Tally};

/// What the programs know of the mount whose lower directory they watch: element 0 of the map
/// `LOWER`. All zero: they watch nothing.
#[repr(C)]
#[derive(Default, Clone, Copy, Debug)]
pub struct Lower {
    /// `s_dev` of the lower file system, as the kernel has it in memory: `major << 20 | minor`
    /// (`MKDEV`, include/linux/kdev_t.h).
    pub device: u32,
    /// The daemon's process, as the initial PID namespace has it. What it changes itself moves
    /// generations and is not reported: the kernel's FUSE client made the request.
    pub process: u32,
}

/// What programs and daemon count of changes; all of them only grow.
#[repr(C)]
#[derive(Default, Debug)]
pub struct ChangeCounters {
    /// Changes of inodes on the lower file system, a system call's of one inode counted once.
    pub noticed: Tally,
    /// Reports put into the ring.
    pub reported: Tally,
    /// Reports for which the ring had no room: whoever reads it has to revoke everything.
    pub lost: Tally,
    /// Changes of one system call that were too many to be held open until its end.
    pub crowded: Tally,
    /// Changes by tasks whose place another task had at that moment.
    pub displaced: Tally,
    /// By the daemon, once: where its reports come from, by `ChangeSource::code`; 0 is nowhere.
    pub source: Tally,
    /// By the daemon: inodes whose attributes and data it has revoked.
    pub inodes_revoked: Tally,
    /// By the daemon: names it has revoked.
    pub names_revoked: Tally,
    /// By the daemon: notifications it has sent.
    pub notifications: Tally,
    /// By the daemon: how often it has revoked everything, because reports were lost.
    pub overflows: Tally,
}

/// The bytes of a report: the index of the inode's words, as [`index_of`](crate::generation::index_of),
/// in native byte order.
pub type Report = u64;

/// An inode changed: whether a report is due.
#[inline(always)]
pub fn is_wanted(interest: &InterestWord) -> bool {
    interest.take()
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_reported_once_for_each_time_it_was_asked_about() {
        let word = InterestWord::default();
        assert!(!is_wanted(&word));
        assert!(word.arm());
        assert!(!word.arm());
        assert!(is_wanted(&word));
        assert!(!is_wanted(&word));
        assert!(word.arm());
        assert!(is_wanted(&word));
    }
}
