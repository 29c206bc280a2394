//! What the pass-through tells of itself.

use super::Passthrough;

impl Passthrough {
    /// As [`FileSystem::holdings`](crate::fuse::FileSystem::holdings).
    pub(super) fn told_holdings(&self) -> String {
        let opened = self.modes.counts();
        format!(
            "inodes={} files={} directories={} lock_owners={} held_fds={} \
             opened_passthrough={} opened_copied={} passthrough_refused={}",
            self.inode_count(),
            self.files.len(),
            self.directories.len(),
            self.locks.len(),
            self.fds.held(),
            opened.passthrough,
            opened.copied,
            opened.refused,
        )
    }

    /// As [`FileSystem::noticed_device`](crate::fuse::FileSystem::noticed_device).
    pub(super) fn told_device(&self) -> Option<(u32, u32)> {
        /// `EXT4_SUPER_MAGIC` (include/uapi/linux/magic.h); ext2 and ext3 have it too, and on this
        /// kernel the same driver.
        const EXT4: i64 = 0xef53;
        let stat = rustix::fs::fstatfs(self.lower.root()).ok()?;
        let device = self.inodes.root().device();
        (stat.f_type as i64 == EXT4).then_some(((device >> 32) as u32, device as u32))
    }
}
