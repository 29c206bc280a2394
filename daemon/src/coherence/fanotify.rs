//! Names, and where need be inodes, as fanotify(7) reports them: after the change, with the file
//! handle of the directory and the name.

use crate::{
    error::{Error, Result},
    passthrough::file_handle::FileHandle,
};
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use rustix::io::Errno;
use std::{
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

// include/uapi/linux/fanotify.h, where nix has no name.
const REPORT_FID: u32 = 0x200;
const REPORT_DIR_FID: u32 = 0x400;
const REPORT_NAME: u32 = 0x800;
const INFO_TYPE_FID: u8 = 1;
const INFO_TYPE_DFID_NAME: u8 = 2;
const INFO_TYPE_DFID: u8 = 3;
const QUEUE_OVERFLOW: u64 = 0x4000;
/// Names made, removed and moved, directories among them.
const NAMES: u64 = 0x100 | 0x200 | 0x40 | 0x80 | 0x4000_0000;
/// Attributes and data.
const INODES: u64 = 0x4 | 0x2;
/// `struct fanotify_event_metadata`, and `struct fanotify_event_info_header` with the fsid.
const METADATA: usize = 24;
const INFO: usize = 12;

/// A change on the file system.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Event {
    /// `FAN_*` bits.
    pub mask: u64,
    /// The process that made it.
    pub process: i32,
    /// The inode itself, if it is told.
    pub object: Option<FileHandle>,
    /// The directory and the name in it, if they are told; "." for the directory itself.
    pub name: Option<(FileHandle, Vec<u8>)>,
}

impl Event {
    /// Whether events were lost before this one.
    pub fn is_overflow(&self) -> bool {
        self.mask & QUEUE_OVERFLOW != 0
    }

    /// Whether a name was made, removed or moved.
    pub fn is_of_name(&self) -> bool {
        self.mask & NAMES & !0x4000_0000 != 0
    }
}

/// A queue of the changes on one file system.
#[derive(Debug)]
pub struct Listener {
    group: Fanotify,
    buffer: Vec<u8>,
}

impl Listener {
    /// Listens to the file system that `path` lies on: to names, and with `inodes` to attributes and
    /// data too.
    ///
    /// # Errors
    ///
    /// What fanotify_init(2) and fanotify_mark(2) say: `EPERM` without CAP_SYS_ADMIN, `ENODEV`, `EXDEV`
    /// and `EOPNOTSUPP` for file systems without an id or handles.
    pub fn new(path: &Path, inodes: bool) -> Result<Self> {
        let report = REPORT_DIR_FID | REPORT_NAME | if inodes { REPORT_FID } else { 0 };
        let flags = InitFlags::FAN_CLASS_NOTIF
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::from_bits_retain(report);
        let system = |what, errno: nix::Error| {
            Error::system(what, std::io::Error::from_raw_os_error(errno as i32))
        };
        let group = Fanotify::init(flags, EventFFlags::O_RDONLY)
            .map_err(|errno| system("cannot have a queue of fanotify", errno))?;
        let mask = NAMES | if inodes { INODES } else { 0 };
        let mark = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        group
            .mark(
                mark,
                MaskFlags::from_bits_retain(mask),
                rustix::fs::CWD,
                Some(path),
            )
            .map_err(|errno| system("fanotify does not watch this file system", errno))?;
        Ok(Self {
            group,
            buffer: vec![0; 64 << 10],
        })
    }

    /// The events that stand; none if there are none.
    ///
    /// # Errors
    ///
    /// What read(2) says.
    pub fn read(&mut self) -> std::result::Result<Vec<Event>, Errno> {
        match rustix::io::read(&self.group, &mut self.buffer) {
            Ok(len) => Ok(parse(&self.buffer[..len])),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }
}

/// The events in what was read. One that cannot be understood is taken for an overflow.
fn parse(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let (event, rest) = parse_event(bytes).unwrap_or_else(|| {
            let lost = Event {
                mask: QUEUE_OVERFLOW,
                ..Event::default()
            };
            (lost, &[])
        });
        events.push(event);
        bytes = rest;
    }
    events
}

fn parse_event(bytes: &[u8]) -> Option<(Event, &[u8])> {
    let len = u32_at(bytes, 0)? as usize;
    let mut event = Event {
        mask: u64::from(u32_at(bytes, 8)?) | u64::from(u32_at(bytes, 12)?) << 32,
        process: u32_at(bytes, 20)? as i32,
        ..Event::default()
    };
    let (this, rest) = bytes.split_at_checked(len)?;
    let mut records = this.get(METADATA..)?;
    while !records.is_empty() {
        let kind = *records.first()?;
        let len = usize::from(u16::from_ne_bytes(records.get(2..4)?.try_into().ok()?));
        let (record, others) = records.split_at_checked(len)?;
        let handle_len = u32_at(record, INFO)? as usize;
        let handle_kind = u32_at(record, INFO + 4)? as i32;
        let handle = record.get(INFO + 8..INFO + 8 + handle_len)?;
        let handle = FileHandle::from_parts(handle_kind, handle)?;
        match kind {
            INFO_TYPE_FID => event.object = Some(handle),
            INFO_TYPE_DFID => event.name = Some((handle, b".".to_vec())),
            INFO_TYPE_DFID_NAME => {
                let name = record.get(INFO + 8 + handle_len..)?;
                let name = name.split(|byte| *byte == 0).next()?;
                event.name = Some((handle, name.to_vec()));
            }
            _ => {}
        }
        records = others;
    }
    Some((event, rest))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event of one record, as the kernel lays it out.
    fn event(mask: u64, process: i32, kind: u8, handle: &[u8], name: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0, 0, 0];
        record.extend([0; 8]);
        record.extend((handle.len() as u32).to_ne_bytes());
        record.extend(1_i32.to_ne_bytes());
        record.extend(handle);
        record.extend(name);
        record.resize(record.len().next_multiple_of(4), 0);
        let len = record.len() as u16;
        record[2..4].copy_from_slice(&len.to_ne_bytes());
        let mut bytes = ((METADATA + record.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend([3, 0, 24, 0]);
        bytes.extend(mask.to_ne_bytes());
        bytes.extend((-1_i32).to_ne_bytes());
        bytes.extend(process.to_ne_bytes());
        bytes.extend(record);
        bytes
    }

    #[test]
    fn a_name_and_an_object_are_read_from_what_the_kernel_writes() {
        let mut bytes = event(0x100, 42, INFO_TYPE_DFID_NAME, &[1; 8], b"name\0");
        bytes.extend(event(0x4, 43, INFO_TYPE_FID, &[2; 12], b""));
        let events = parse(&bytes);
        let handle = |bytes: &[u8]| FileHandle::from_parts(1, bytes).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].name, Some((handle(&[1; 8]), b"name".to_vec())));
        assert_eq!((events[0].process, events[0].object.as_ref()), (42, None));
        assert_eq!(events[1].object, Some(handle(&[2; 12])));
        assert!(events[0].is_of_name() && !events[1].is_of_name());
    }

    #[test]
    fn what_cannot_be_understood_counts_as_lost() {
        for cut in 1..60 {
            let bytes = event(0x100, 42, INFO_TYPE_DFID_NAME, &[1; 8], b"name\0");
            let events = parse(&bytes[..bytes.len().saturating_sub(cut).max(1)]);
            assert!(events.last().unwrap().is_overflow());
        }
    }
}
