//! File handles: the lower file system's own name of an inode, which outlives every descriptor.

use super::sys::{self, MAX_HANDLE_BYTES, RawHandle};
use crate::fuse::Errno;
use std::{
    ffi::CStr,
    fmt,
    hash::{Hash, Hasher},
    os::fd::{BorrowedFd, OwnedFd},
};

/// Bytes that are kept without an allocation: enough for ext4 (8), tmpfs and xfs (12), btrfs (20).
const INLINE: usize = 24;

/// What name_to_handle_at(2) says of an inode. Two handles of one mount are equal exactly if they
/// are of the same inode in the same life of its number.
#[derive(Clone)]
pub struct FileHandle {
    kind: i32,
    len: u8,
    inline: [u8; INLINE],
    /// The whole handle, if it is longer than [`INLINE`].
    long: Option<Box<[u8]>>,
}

impl FileHandle {
    /// The handle of `name` in `dir` (no symlink is followed), or of `dir` itself if `name` is
    /// empty, and the id of its mount: the unique one if `unique_mount_id`.
    ///
    /// # Errors
    ///
    /// Those of name_to_handle_at(2): `EOPNOTSUPP` if the file system has no handles.
    pub fn of(
        dir: BorrowedFd<'_>,
        name: &CStr,
        unique_mount_id: bool,
    ) -> Result<(Self, u64), Errno> {
        let mut flags = 0;
        if name.is_empty() {
            flags |= libc::AT_EMPTY_PATH;
        }
        if unique_mount_id {
            flags |= sys::AT_HANDLE_MNT_ID_UNIQUE;
        }
        let (raw, mount_id) = sys::name_to_handle_at(dir, name, flags)?;
        Ok((Self::from_raw(&raw), mount_id))
    }

    /// The inode number that the handle seems to be made of: `FILEID_INO32_GEN`, which ext4 has, starts
    /// with it (include/linux/exportfs.h).
    pub(super) fn likely_number(&self) -> Option<u64> {
        const FILEID_INO32_GEN: i32 = 1;
        let number = self.bytes().first_chunk::<4>()?;
        (self.kind == FILEID_INO32_GEN).then_some(u32::from_ne_bytes(*number).into())
    }

    /// Opens the inode; `mount` is a descriptor (not `O_PATH`) of anything on its mount.
    ///
    /// # Errors
    ///
    /// Those of open_by_handle_at(2): `ESTALE` if the inode is gone.
    pub fn open(&self, mount: BorrowedFd<'_>, flags: i32) -> Result<OwnedFd, Errno> {
        match sys::open_by_handle_at(mount, &self.to_raw(), flags) {
            // Its number is being given to a new inode at this moment: `iget_locked` finds one that
            // is `I_CREATING` and returns nothing, which `__ext4_iget` takes for a lack of memory
            // (fs/inode.c, fs/ext4/inode.c).
            Err(Errno::NOMEM) => Err(Errno::STALE),
            result => result,
        }
    }

    /// The handle of this kind with these bytes; `None` if they are too many.
    pub(crate) fn from_parts(kind: i32, bytes: &[u8]) -> Option<Self> {
        let mut raw = RawHandle {
            len: bytes.len() as u32,
            kind,
            bytes: [0; MAX_HANDLE_BYTES],
        };
        raw.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self::from_raw(&raw))
    }

    /// The kind and the bytes, from which [`from_parts`](Self::from_parts) makes it again.
    pub(crate) fn parts(&self) -> (i32, &[u8]) {
        (self.kind, self.bytes())
    }

    fn from_raw(raw: &RawHandle) -> Self {
        let bytes = &raw.bytes[..(raw.len as usize).min(MAX_HANDLE_BYTES)];
        let mut inline = [0; INLINE];
        let mut long = None;
        match inline.get_mut(..bytes.len()) {
            Some(inline) => inline.copy_from_slice(bytes),
            None => long = Some(bytes.into()),
        }
        Self {
            kind: raw.kind,
            // At most MAX_HANDLE_BYTES = 128.
            len: bytes.len() as u8,
            inline,
            long,
        }
    }

    fn to_raw(&self) -> RawHandle {
        let bytes = self.bytes();
        let mut raw = RawHandle {
            len: bytes.len() as u32,
            kind: self.kind,
            bytes: [0; MAX_HANDLE_BYTES],
        };
        raw.bytes[..bytes.len()].copy_from_slice(bytes);
        raw
    }

    fn bytes(&self) -> &[u8] {
        match &self.long {
            Some(long) => long,
            None => &self.inline[..usize::from(self.len)],
        }
    }
}

impl PartialEq for FileHandle {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.bytes() == other.bytes()
    }
}

impl Eq for FileHandle {}

impl Hash for FileHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.bytes().hash(state);
    }
}

impl fmt::Debug for FileHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind)?;
        self.bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, os::fd::AsFd};

    fn raw(kind: i32, len: usize, fill: u8) -> RawHandle {
        let mut raw = RawHandle {
            len: len as u32,
            kind,
            bytes: [0xEE; MAX_HANDLE_BYTES],
        };
        raw.bytes[..len].fill(fill);
        raw
    }

    #[test]
    fn handles_of_any_length_are_kept_whole() {
        let mut all = HashSet::new();
        for len in [0, 1, INLINE - 1, INLINE, INLINE + 1, MAX_HANDLE_BYTES] {
            for (kind, fill) in [(1, 0), (1, 1), (2, 0)] {
                let handle = FileHandle::from_raw(&raw(kind, len, fill));
                let again = FileHandle::from_raw(&handle.to_raw());
                assert_eq!(handle, again);
                assert_eq!(
                    handle.to_raw().bytes[..len],
                    raw(kind, len, fill).bytes[..len]
                );
                all.insert(handle);
            }
        }
        // Without bytes, only the kind tells them apart.
        assert_eq!(all.len(), 2 + 5 * 3);
    }

    #[test]
    fn a_name_and_its_descriptor_have_one_handle() {
        for place in [std::env::temp_dir(), "/dev/shm".into()] {
            let dir = tempfile::TempDir::new_in(place).unwrap();
            std::fs::write(dir.path().join("f"), b"").unwrap();
            let open = std::fs::File::open(dir.path()).unwrap();
            let file = std::fs::File::open(dir.path().join("f")).unwrap();
            let Ok((by_name, _)) = FileHandle::of(open.as_fd(), c"f", false) else {
                continue;
            };
            let (by_fd, _) = FileHandle::of(file.as_fd(), c"", false).unwrap();
            assert_eq!(by_name, by_fd);
        }
    }
}
