//! Each operation as its system call.

use super::{
    op::{Name, Op, Time},
    world::World,
};
use rustix::{
    fs::{
        self, Access, AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps,
        Uid, XattrFlags,
    },
    io::{self, Errno},
};
use std::{
    ffi::CString,
    hash::{DefaultHasher, Hasher},
    os::fd::OwnedFd,
    path::PathBuf,
};

/// What a system call returned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Nothing but success.
    Done,
    /// A number: a length, an offset, flags.
    Number(u64),
    /// Bytes, by their length, their hash, and the first of them.
    Bytes(usize, u64, Vec<u8>),
    /// Attribute names, sorted.
    Keys(Vec<String>),
    /// Names in a directory, sorted, with type and whether the inode number is that of stat(2).
    Listing(Vec<(CString, String, bool)>),
    /// Times of access and modification that were set.
    Times(Option<(i64, u64)>, Option<(i64, u64)>),
}

/// Success or errno.
pub type Outcome = Result<Value, Errno>;

const DONE: Outcome = Ok(Value::Done);

fn bytes(bytes: &[u8]) -> Value {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    Value::Bytes(
        bytes.len(),
        hasher.finish(),
        bytes[..bytes.len().min(16)].to_vec(),
    )
}

fn mode(bits: u32) -> Mode {
    Mode::from_bits_retain(bits)
}

fn timestamps(accessed: Time, modified: Time) -> Timestamps {
    let spec = |time| match time {
        Time::Omit => Timespec {
            tv_sec: 0,
            tv_nsec: fs::UTIME_OMIT,
        },
        Time::Now => Timespec {
            tv_sec: 0,
            tv_nsec: fs::UTIME_NOW,
        },
        Time::At(seconds, nanoseconds) => Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds.into(),
        },
    };
    Timestamps {
        last_access: spec(accessed),
        last_modification: spec(modified),
    }
}

/// The times that were set to a value, as the file now has them.
fn times_set(stat: &fs::Stat, accessed: Time, modified: Time) -> Value {
    let set = |time| matches!(time, Time::At(..));
    Value::Times(
        set(accessed).then_some((stat.st_atime, stat.st_atime_nsec)),
        set(modified).then_some((stat.st_mtime, stat.st_mtime_nsec)),
    )
}

impl World {
    fn full(&self, name: Name) -> PathBuf {
        self.path.join(name.path())
    }

    /// `EBADF` for an empty slot, as for a closed descriptor.
    fn file(&self, slot: usize) -> Result<&OwnedFd, Errno> {
        self.slots[slot].as_ref().ok_or(Errno::BADF)
    }

    /// Does it.
    pub fn carry_out(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Open { .. } | Op::Tmpfile { .. } | Op::LinkOpen { .. } | Op::Close { .. } => {
                self.open_or_close(op)
            }
            Op::Rename { .. }
            | Op::Link { .. }
            | Op::Symlink { .. }
            | Op::ReadLink { .. }
            | Op::Unlink { .. }
            | Op::MakeDir { .. }
            | Op::RemoveDir { .. }
            | Op::MakeNode { .. }
            | Op::ListDir { .. }
            | Op::Stat { .. }
            | Op::Access { .. } => self.on_name(op),
            Op::SetXattr { .. }
            | Op::GetXattr { .. }
            | Op::ListXattrs { .. }
            | Op::RemoveXattr { .. }
            | Op::SetXattrOpen { .. } => self.on_xattr(op),
            Op::Chmod { .. }
            | Op::ChmodOpen { .. }
            | Op::Chown { .. }
            | Op::ChownOpen { .. }
            | Op::SetTimes { .. }
            | Op::SetTimesOpen { .. }
            | Op::Truncate { .. }
            | Op::GetFlags { .. }
            | Op::SetNoDump { .. } => self.on_attribute(op),
            _ => self.on_data(op),
        }
    }

    fn open_or_close(&mut self, op: &Op) -> Outcome {
        match *op {
            Op::Open {
                slot,
                name,
                flags,
                mode: bits,
            } => {
                // A FIFO without a peer would be waited for.
                let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
                self.slots[slot] = Some(fs::openat(&self.dir, name.path(), flags, mode(bits))?);
            }
            Op::Tmpfile {
                slot,
                name,
                flags,
                mode: bits,
            } => {
                let flags = flags | OFlags::TMPFILE | OFlags::CLOEXEC;
                self.slots[slot] = Some(fs::openat(&self.dir, name.path(), flags, mode(bits))?);
            }
            Op::LinkOpen { slot, to } => {
                fs::linkat(
                    self.file(slot)?,
                    c"",
                    &self.dir,
                    to.path(),
                    AtFlags::EMPTY_PATH,
                )?;
            }
            Op::Close { slot } => self.slots[slot] = None,
            _ => unreachable!("not an opening operation: {op:?}"),
        }
        DONE
    }

    fn on_data(&mut self, op: &Op) -> Outcome {
        let number = |number: usize| Ok(Value::Number(number as u64));
        match *op {
            Op::Read { slot, len } => {
                let mut buffer = vec![0; len];
                let len = io::read(self.file(slot)?, &mut buffer)?;
                Ok(bytes(&buffer[..len]))
            }
            Op::ReadAt { slot, at, len } => {
                let mut buffer = vec![0; len];
                let len = io::pread(self.file(slot)?, &mut buffer, at)?;
                Ok(bytes(&buffer[..len]))
            }
            Op::Write { slot, len, byte } => number(io::write(self.file(slot)?, &vec![byte; len])?),
            Op::WriteAt {
                slot,
                at,
                len,
                byte,
            } => number(io::pwrite(self.file(slot)?, &vec![byte; len], at)?),
            Op::SetLen { slot, len } => fs::ftruncate(self.file(slot)?, len).and(DONE),
            Op::Allocate { .. } if !self.scope.allocations => DONE,
            Op::Allocate {
                slot,
                flags,
                at,
                len,
            } => {
                fs::fallocate(self.file(slot)?, flags, at, len)?;
                self.has_unwritten = true;
                DONE
            }
            Op::SeekData { slot, at } => self.seek(slot, SeekFrom::Data(at)),
            Op::SeekHole { slot, at } => self.seek(slot, SeekFrom::Hole(at)),
            Op::CopyRange {
                from,
                to,
                mut from_at,
                mut to_at,
                len,
            } => number(fs::copy_file_range(
                self.file(from)?,
                Some(&mut from_at),
                self.file(to)?,
                Some(&mut to_at),
                len,
            )?),
            Op::Sync {
                slot,
                data_only: true,
            } => fs::fdatasync(self.file(slot)?).and(DONE),
            Op::Sync {
                slot,
                data_only: false,
            } => fs::fsync(self.file(slot)?).and(DONE),
            Op::DropPages { slot } => {
                let file = self.file(slot)?;
                fs::fsync(file)?;
                fs::fadvise(file, 0, None, fs::Advice::DontNeed).and(DONE)
            }
            _ => unreachable!("not an operation on data: {op:?}"),
        }
    }

    /// Only in regular files: the size of a directory is that of its hash tree on ext4 and of its
    /// blocks on FUSE. Not after an allocation: whether ext4 takes allocated space for data depends
    /// on what of it was read ahead into the page cache.
    fn seek(&self, slot: usize, to: SeekFrom) -> Outcome {
        let file = self.file(slot)?;
        let is_file = FileType::from_raw_mode(fs::fstat(file)?.st_mode) == FileType::RegularFile;
        if !is_file || self.has_unwritten {
            return DONE;
        }
        fs::seek(file, to).map(Value::Number)
    }

    fn on_name(&self, op: &Op) -> Outcome {
        let dir = &self.dir;
        match *op {
            Op::Rename { flags, .. }
                if flags.contains(fs::RenameFlags::WHITEOUT) && !self.scope.unforeseen =>
            {
                DONE
            }
            Op::Rename { from, to, flags } => {
                fs::renameat_with(dir, from.path(), dir, to.path(), flags).and(DONE)
            }
            Op::Link { from, to, flags } => {
                fs::linkat(dir, from.path(), dir, to.path(), flags).and(DONE)
            }
            Op::Symlink { target, name } => fs::symlinkat(target, dir, name.path()).and(DONE),
            Op::ReadLink { name } => Ok(bytes(
                fs::readlinkat(dir, name.path(), Vec::new())?.as_bytes(),
            )),
            Op::Unlink { name } => fs::unlinkat(dir, name.path(), AtFlags::empty()).and(DONE),
            Op::MakeDir { name, mode: bits } => fs::mkdirat(dir, name.path(), mode(bits)).and(DONE),
            Op::RemoveDir { name } => fs::unlinkat(dir, name.path(), AtFlags::REMOVEDIR).and(DONE),
            Op::MakeNode {
                name,
                mode: bits,
                device: (major, minor),
            } => {
                let kind = FileType::from_raw_mode(bits);
                let device = fs::makedev(major, minor);
                fs::mknodat(dir, name.path(), kind, mode(bits & 0o7777), device).and(DONE)
            }
            Op::ListDir { name } => self.list(name),
            Op::Stat { name, flags } => {
                let stat = fs::statat(dir, name.path(), flags)?;
                Ok(Value::Number(self.scope.of_mode(stat.st_mode).into()))
            }
            Op::Access { name, mode } => {
                let wanted = Access::from_bits_truncate(mode);
                fs::accessat(dir, name.path(), wanted, AtFlags::empty()).and(DONE)
            }
            _ => unreachable!("not an operation on names: {op:?}"),
        }
    }

    fn list(&self, name: Name) -> Outcome {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = fs::openat(&self.dir, name.path(), flags, Mode::empty())?;
        let mut listing = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
            let same = stat.is_ok_and(|stat| stat.st_ino == entry.ino());
            listing.push((name.to_owned(), format!("{:?}", entry.file_type()), same));
        }
        listing.sort();
        Ok(Value::Listing(listing))
    }

    fn on_xattr(&self, op: &Op) -> Outcome {
        match op {
            Op::SetXattr {
                name,
                key,
                value,
                flags,
            } => fs::lsetxattr(self.full(*name), *key, value, *flags).and(DONE),
            Op::SetXattrOpen { slot, key, value } => {
                fs::fsetxattr(self.file(*slot)?, *key, value, XattrFlags::empty()).and(DONE)
            }
            Op::GetXattr { name, key, room } => {
                let mut value = vec![0; *room];
                let len = fs::lgetxattr(self.full(*name), *key, &mut value[..])?;
                Ok(bytes(&value[..len.min(*room)]))
            }
            Op::ListXattrs { name, room } => {
                let mut list = vec![0; *room];
                let len = fs::llistxattr(self.full(*name), &mut list[..])?;
                let mut keys: Vec<_> = list[..len.min(*room)]
                    .split(|&byte| byte == 0)
                    .filter(|key| !key.is_empty())
                    .map(|key| String::from_utf8_lossy(key).into_owned())
                    .collect();
                keys.sort();
                Ok(Value::Keys(keys))
            }
            Op::RemoveXattr { name, key } => fs::lremovexattr(self.full(*name), *key).and(DONE),
            _ => unreachable!("not an operation on extended attributes: {op:?}"),
        }
    }

    /// Whether a chown(2) looks to the daemon like what the kernel sends before a write to a file
    /// with suid or sgid: a SETATTR of nothing. The daemon must then not refuse it.
    fn is_ambiguous(stat: &fs::Stat, uid: Option<u32>, gid: Option<u32>) -> bool {
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        uid.is_none() && gid.is_none() && is_file && stat.st_mode & 0o6000 != 0
    }

    fn on_attribute(&self, op: &Op) -> Outcome {
        let dir = &self.dir;
        let (user, group) = (
            |uid: Option<u32>| uid.map(Uid::from_raw),
            |gid: Option<u32>| gid.map(Gid::from_raw),
        );
        match *op {
            Op::Chmod { name, mode: bits } => {
                fs::chmodat(dir, name.path(), mode(bits), AtFlags::empty()).and(DONE)
            }
            Op::ChmodOpen { slot, mode: bits } => {
                fs::fchmod(self.file(slot)?, mode(bits)).and(DONE)
            }
            Op::Chown {
                name,
                uid,
                gid,
                flags,
            } => {
                let stat = fs::statat(dir, name.path(), flags)?;
                if Self::is_ambiguous(&stat, uid, gid) {
                    return DONE;
                }
                fs::chownat(dir, name.path(), user(uid), group(gid), flags).and(DONE)
            }
            Op::ChownOpen { slot, uid, gid } => {
                if Self::is_ambiguous(&fs::fstat(self.file(slot)?)?, uid, gid) {
                    return DONE;
                }
                fs::fchown(self.file(slot)?, user(uid), group(gid)).and(DONE)
            }
            Op::SetTimes {
                name,
                accessed,
                modified,
                flags,
            } => {
                fs::utimensat(dir, name.path(), &timestamps(accessed, modified), flags)?;
                Ok(times_set(
                    &fs::statat(dir, name.path(), flags)?,
                    accessed,
                    modified,
                ))
            }
            Op::SetTimesOpen {
                slot,
                accessed,
                modified,
            } => {
                fs::futimens(self.file(slot)?, &timestamps(accessed, modified))?;
                Ok(times_set(&fs::fstat(self.file(slot)?)?, accessed, modified))
            }
            Op::Truncate { name, len } => {
                nix::unistd::truncate(&self.full(name), i64::try_from(len).expect("an offset"))
                    .map_err(|errno| Errno::from_raw_os_error(errno as i32))
                    .and(DONE)
            }
            Op::GetFlags { slot } => Ok(Value::Number(
                fs::ioctl_getflags(self.file(slot)?)?.bits().into(),
            )),
            Op::SetNoDump { .. } if !self.scope.unforeseen => DONE,
            Op::SetNoDump { slot, on } => {
                let file = self.file(slot)?;
                let mut flags = fs::ioctl_getflags(file)?;
                flags.set(fs::IFlags::NODUMP, on);
                fs::ioctl_setflags(file, flags).and(DONE)
            }
            _ => unreachable!("not an operation on attributes: {op:?}"),
        }
    }
}
