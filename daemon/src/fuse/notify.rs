//! Notifications: what the daemon tells the kernel unasked.

use super::{Device, Errno};
use std::io::IoSlice;
use transport::wire::{
    InvalEntryFlags, NotifyCode, NotifyDeleteOut, NotifyInvalEntryOut, NotifyInvalInodeOut,
    NotifyPollWakeupOut, NotifyRetrieveOut, NotifyStoreOut, OutHeader,
};

/// Each blocks while the kernel holds locks of the inodes concerned: a notification must not be
/// sent from a thread that serves requests, or the request that holds the lock never ends.
///
/// Every one fails with `ENOENT` if the kernel does not know the inode or name (nothing is
/// cached: mostly no error to the caller), and with `ENODEV` once the mount is gone.
impl Device {
    /// Attributes of `nodeid` are stale, and its cached data from `offset` for `len` bytes. A
    /// negative `offset`: attributes only. `len` 0: to the end of the file.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENODEV`.
    pub fn notify_inval_inode(&self, nodeid: u64, offset: i64, len: i64) -> Result<(), Errno> {
        let body = NotifyInvalInodeOut {
            nodeid,
            off: offset,
            len,
        };
        self.notify(NotifyCode::INVAL_INODE, &[bytemuck::bytes_of(&body)])
    }

    /// The name in the directory `parent` is stale: dropped, or with `EXPIRE_ONLY` asked for
    /// again at its next use.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENODEV`, `ENAMETOOLONG` (over 1024 bytes), `ENOTDIR`.
    pub fn notify_inval_entry(
        &self,
        parent: u64,
        name: &[u8],
        flags: InvalEntryFlags,
    ) -> Result<(), Errno> {
        let body = NotifyInvalEntryOut {
            parent,
            namelen: name_len(name)?,
            flags,
        };
        let parts = [bytemuck::bytes_of(&body), name, &[0]];
        self.notify(NotifyCode::INVAL_ENTRY, &parts)
    }

    /// The name of `child` in the directory `parent` is gone.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENODEV`, `ENAMETOOLONG`, `ENOTEMPTY` and `EBUSY` if `child` is a directory in use.
    pub fn notify_delete(&self, parent: u64, child: u64, name: &[u8]) -> Result<(), Errno> {
        let body = NotifyDeleteOut {
            parent,
            child,
            namelen: name_len(name)?,
            padding: 0,
        };
        let parts = [bytemuck::bytes_of(&body), name, &[0]];
        self.notify(NotifyCode::DELETE, &parts)
    }

    /// Puts `data` into the page cache of `nodeid` at `offset`.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENODEV`, `E2BIG` (over 4 GiB).
    pub fn notify_store(&self, nodeid: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let body = NotifyStoreOut {
            nodeid,
            offset,
            size: u32::try_from(data.len()).map_err(|_| Errno::TOOBIG)?,
            padding: 0,
        };
        self.notify(NotifyCode::STORE, &[bytemuck::bytes_of(&body), data])
    }

    /// Asks for what the page cache holds of `nodeid` at `offset`, at most `size` bytes. The kernel
    /// answers with a NOTIFY_REPLY whose `unique` is the one given here, as a request of the
    /// calling thread (`fuse_retrieve`, fs/fuse/dev.c).
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENODEV`, `ENOTCONN`.
    pub fn notify_retrieve(
        &self,
        unique: u64,
        nodeid: u64,
        offset: u64,
        size: u32,
    ) -> Result<(), Errno> {
        let body = NotifyRetrieveOut {
            notify_unique: unique,
            nodeid,
            offset,
            size,
            padding: 0,
        };
        self.notify(NotifyCode::RETRIEVE, &[bytemuck::bytes_of(&body)])
    }

    /// Wakes those who poll the file whose POLL carried `kh`.
    ///
    /// # Errors
    ///
    /// `ENODEV`.
    pub fn notify_poll(&self, kh: u64) -> Result<(), Errno> {
        let body = NotifyPollWakeupOut { kh };
        self.notify(NotifyCode::POLL, &[bytemuck::bytes_of(&body)])
    }

    /// Every name that the kernel caches is asked for again at its next use (Linux 6.16).
    ///
    /// # Errors
    ///
    /// `EINVAL` if the kernel does not know it, `ENODEV`.
    pub fn notify_inc_epoch(&self) -> Result<(), Errno> {
        self.notify(NotifyCode::INC_EPOCH, &[])
    }

    /// The kernel sends every request again that was read and not answered, on whatever channel
    /// (Linux 6.9; `fuse_resend`, fs/fuse/dev.c). Not to be called while requests are served.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the kernel does not know it, `ENODEV`.
    pub fn notify_resend(&self) -> Result<(), Errno> {
        self.notify(NotifyCode::RESEND, &[])
    }

    /// Writes one notification.
    ///
    /// # Errors
    ///
    /// What the kernel makes of it.
    fn notify(&self, code: NotifyCode, parts: &[&[u8]]) -> Result<(), Errno> {
        let body_len: usize = parts.iter().map(|part| part.len()).sum();
        let header = OutHeader {
            len: u32::try_from(size_of::<OutHeader>() + body_len).map_err(|_| Errno::TOOBIG)?,
            error: code.0,
            unique: 0,
        };
        let mut message = vec![IoSlice::new(bytemuck::bytes_of(&header))];
        message.extend(parts.iter().map(|part| IoSlice::new(part)));
        self.writev(&message)
    }
}

fn name_len(name: &[u8]) -> Result<u32, Errno> {
    u32::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)
}
