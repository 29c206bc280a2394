//! Taking over from a daemon that died: its supervisor shares its descriptors and its [`Ledger`].

#![expect(unsafe_code, reason = "descriptors by their numbers")]

use super::{
    Passthrough,
    backing_table::DataPath,
    file_handle::FileHandle,
    inode::{FdSlot, Identity, Inode, Nature, Place},
    ledger::{Kind, Ledger, Recorded, file, inode},
    lower::Lower,
    open_directory::OpenDirectory,
    open_file::OpenFile,
};
use crate::{
    config::Config,
    error::{Error, Result},
    fuse::{Backing, BackingId, Errno},
};
use rustix::fs::{FileType, OFlags};
use std::{
    fs::File,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
    sync::Arc,
};

/// The bit of a record's mode that says "submount".
const SUBMOUNT: u64 = 1 << 63;
/// In place of a handle.
const NO_HANDLE: u64 = u64::MAX;

impl Passthrough {
    /// A file system that keeps `ledger`, and goes on from what is there already. `lower` is as
    /// it was for the predecessor.
    ///
    /// # Errors
    ///
    /// What opening LOWER says, and `ledger` if it cannot be gone on from.
    pub fn kept(
        config: &Config,
        backing: Arc<dyn Backing>,
        lower: Lower,
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let first_generation = generation_after(ledger.take_over());
        let fs = Self::with_lower(config, backing, lower, first_generation)?;
        fs.restore(ledger)
            .map_err(|errno| Error::system("cannot go on where the daemon died", errno))?;
        fs.inodes.recorded_by(ledger);
        Ok(Self {
            ledger: Some(Arc::clone(ledger)),
            ..fs
        })
    }

    fn restore(&self, ledger: &Arc<Ledger>) -> Result<(), Errno> {
        let mut tags: Vec<(u64, u64)> = Vec::new();
        for record in ledger.records(Kind::Inode) {
            let (given, returned) = (record.get(inode::GIVEN), record.get(inode::RETURNED));
            if returned >= given {
                continue;
            }
            tags.push((
                record.get(inode::NUMBER_TAG) >> 48,
                record.get(inode::DEVICE),
            ));
            let inode = self.inode_of(record)?;
            self.inodes.restore(Arc::new(inode), given, returned);
        }
        self.lower.restore_devices(tags);
        for record in ledger.records(Kind::File) {
            self.restore_file(record)?;
        }
        for record in ledger.records(Kind::Directory) {
            let fh = record.get(file::HANDLE);
            let directory = OpenDirectory::new(descriptor(record.get(file::FD)));
            directory.begun_before();
            directory.record(Some(record));
            if !self.directories.restore(fh, Arc::new(directory)) {
                return Err(Errno::IO);
            }
        }
        self.inodes.nodeids_from(ledger.next_nodeid());
        Ok(())
    }

    fn inode_of(&self, record: Recorded) -> Result<Inode, Errno> {
        let mount_id = record.get(inode::MOUNT);
        let mount = match self.lower.mounts().get(mount_id) {
            Some(mount) => mount,
            None => {
                let handle_fd = record.get(inode::MOUNT_FD).checked_sub(1);
                let handle_fd = handle_fd.map(descriptor);
                self.lower.mounts().restore(mount_id, handle_fd)
            }
        };
        let (device, number) = (record.get(inode::DEVICE), record.get(inode::NUMBER));
        let identity = match record.get(inode::HANDLE) {
            NO_HANDLE => Identity::Number {
                mount: mount_id,
                device,
                number,
            },
            handle => {
                let words: [u64; 4] = std::array::from_fn(|at| record.get(inode::BYTES + at));
                let bytes: &[u8] = bytemuck::cast_slice(&words);
                let bytes = bytes.get(..(handle >> 32) as usize).ok_or(Errno::IO)?;
                let handle = FileHandle::from_parts(handle as u32 as i32, bytes);
                Identity::Handle {
                    mount: mount_id,
                    handle: handle.ok_or(Errno::IO)?,
                }
            }
        };
        let slot = match record.get(inode::HELD).checked_sub(1) {
            Some(fd) => FdSlot::Held(Arc::new(descriptor(fd)), self.fds.permit()?),
            None => FdSlot::Absent,
        };
        let mode = record.get(inode::MODE);
        let nature = Nature {
            kind: FileType::from_raw_mode(mode as u32),
            device,
            number,
            place: Place {
                submount: mode & SUBMOUNT != 0,
                number_tag: record.get(inode::NUMBER_TAG),
            },
        };
        let inode = Inode::of(record.get(inode::NODEID), identity, mount, nature, slot);
        inode.record(Some(record));
        Ok(inode)
    }

    fn restore_file(&self, record: Recorded) -> Result<(), Errno> {
        let id = BackingId(record.get(file::BACKING) as i32);
        let data = match record.get(file::DATA) {
            1 => DataPath::Passthrough(id),
            2 => DataPath::CopyBeside(id),
            _ => DataPath::Copy,
        };
        let (fh, nodeid) = (record.get(file::HANDLE), record.get(file::NODEID));
        let file = File::from(descriptor(record.get(file::FD)));
        // The application may have changed them since.
        let status = rustix::fs::fcntl_getfl(&file)?;
        let flags = OFlags::from_bits_retain(record.get(file::FLAGS) as u32);
        let open = OpenFile::restored(nodeid, file, flags, status, data);
        open.record(Some(record));
        self.modes.restore(nodeid, data);
        match self.files.restore(fh, Arc::new(open)) {
            true => Ok(()),
            false => Err(Errno::IO),
        }
    }
}

/// The record of an inode that has just been made, with one lookup; none if its handle is too long.
pub(super) fn record_inode(ledger: &Arc<Ledger>, made: &Inode) -> Option<Recorded> {
    let mut bytes = [0u64; 4];
    let handle = match made.identity() {
        Identity::Number { .. } => NO_HANDLE,
        Identity::Handle { handle, .. } => {
            let (kind, handle) = handle.parts();
            let room: &mut [u8] = bytemuck::cast_slice_mut(&mut bytes);
            let Some(room) = room.get_mut(..handle.len()) else {
                ledger.give_up();
                return None;
            };
            room.copy_from_slice(handle);
            u64::from(kind as u32) | (handle.len() as u64) << 32
        }
    };
    let nature = made.nature();
    let plus_one = |fd: Option<RawFd>| fd.map_or(0, |fd| fd as u64 + 1);
    let mode = u64::from(nature.kind.as_raw_mode());
    let submount = if nature.place.submount { SUBMOUNT } else { 0 };
    let mut words = vec![
        (inode::NODEID, made.nodeid()),
        (inode::GIVEN, 1),
        (inode::RETURNED, 0),
        (inode::MOUNT, made.mount().id()),
        (inode::DEVICE, nature.device),
        (inode::NUMBER, nature.number),
        (inode::NUMBER_TAG, nature.place.number_tag),
        (inode::MODE, mode | submount),
        (inode::HELD, plus_one(made.held_fd())),
        (inode::HANDLE, handle),
        (inode::MOUNT_FD, plus_one(made.mount().raw_handle_fd())),
    ];
    words.extend(
        bytes
            .into_iter()
            .enumerate()
            .map(|(at, word)| (inode::BYTES + at, word)),
    );
    ledger.handed_out(made.nodeid());
    ledger.add(Kind::Inode, &words)
}

/// Handles that end before a takeover are not used again after it: each daemon has 2^20 generations
/// of its own, and goes on from there.
fn generation_after(takeovers: u64) -> u32 {
    1 + ((takeovers as u32 & 0xfff) << 20)
}

/// The descriptor of this number, which a predecessor opened.
fn descriptor(number: u64) -> OwnedFd {
    // SAFETY: the process that opened it is dead, shared its table of descriptors with this one, and
    // recorded the number before it died; the supervisor has closed everything else, and nothing
    // here takes the same number twice but by a record that is corrupt, which the supervisor's own
    // memory would have to be.
    unsafe { OwnedFd::from_raw_fd(number as RawFd) }
}
