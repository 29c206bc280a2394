//! Which inodes a request changes: for the time of it, no fact about them is true (docs/protocol.md,
//! 8.2).
//!
//! Changes of times by reading alone (READ, READDIR, READLINK) are not announced; the lower file
//! system tells of them as of those that others make.

use super::{
    Passthrough,
    inode::device_of,
    ioctl,
    names::{take_name, without_extensions},
};
use crate::{answers::Change, fuse::Exchange};
use rustix::fs::OFlags;
use std::{ffi::CStr, os::fd::AsFd};
use transport::wire::{CopyFileRangeIn, IoctlIn, LinkIn, Opcode, OpenIn, Rename2In, RenameIn};

/// An inode of the lower tree: its device as [`device_of`] has it, and its number.
type Lower = (u64, u64);

impl Passthrough {
    /// The change that a request is, to be dropped when its reply is made.
    pub(super) fn change_by(&self, exchange: &(dyn Exchange + '_)) -> Option<Change<'_>> {
        let answers = self.answers.get()?;
        let nodeid = exchange.header().nodeid;
        let inodes = match exchange.header().opcode {
            Opcode::SETATTR
            | Opcode::WRITE
            | Opcode::FALLOCATE
            | Opcode::SETXATTR
            | Opcode::REMOVEXATTR
            | Opcode::CREATE
            | Opcode::TMPFILE
            | Opcode::MKNOD
            | Opcode::MKDIR
            | Opcode::SYMLINK => [self.lower_of(nodeid), None, None, None],
            Opcode::IOCTL => {
                let IoctlIn { cmd, .. } = exchange.arg().ok()?;
                if !ioctl::is_change(cmd) {
                    return None;
                }
                [self.lower_of(nodeid), None, None, None]
            }
            Opcode::OPEN => {
                let OpenIn { flags, .. } = exchange.arg().ok()?;
                if flags & OFlags::TRUNC.bits() == 0 {
                    return None;
                }
                [self.lower_of(nodeid), None, None, None]
            }
            Opcode::COPY_FILE_RANGE | Opcode::COPY_FILE_RANGE_64 => {
                let CopyFileRangeIn { nodeid_out, .. } = exchange.arg().ok()?;
                [self.lower_of(nodeid), self.lower_of(nodeid_out), None, None]
            }
            Opcode::LINK => {
                let LinkIn { oldnodeid } = exchange.arg().ok()?;
                [self.lower_of(nodeid), self.lower_of(oldnodeid), None, None]
            }
            Opcode::UNLINK | Opcode::RMDIR => {
                let mut names = without_extensions(exchange.header(), exchange.payload()).ok()?;
                let name = take_name(&mut names).ok()?;
                [self.lower_of(nodeid), self.named(nodeid, name), None, None]
            }
            Opcode::RENAME => {
                let RenameIn { newdir } = exchange.arg().ok()?;
                self.renamed(exchange, newdir)?
            }
            Opcode::RENAME2 => {
                let Rename2In { newdir, .. } = exchange.arg().ok()?;
                self.renamed(exchange, newdir)?
            }
            _ => return None,
        };
        Some(answers.change(inodes.into_iter().flatten()))
    }

    /// Both directories, what is moved, and what is replaced or moved the other way.
    fn renamed(&self, exchange: &(dyn Exchange + '_), to: u64) -> Option<[Option<Lower>; 4]> {
        let from = exchange.header().nodeid;
        let mut names = without_extensions(exchange.header(), exchange.payload()).ok()?;
        let old = take_name(&mut names).ok()?;
        let new = take_name(&mut names).ok()?;
        Some([
            self.lower_of(from),
            self.lower_of(to),
            self.named(from, old),
            self.named(to, new),
        ])
    }

    fn lower_of(&self, nodeid: u64) -> Option<Lower> {
        let inode = self.inode(nodeid).ok()?;
        Some((inode.device(), inode.number()))
    }

    fn named(&self, directory: u64, name: &CStr) -> Option<Lower> {
        let directory = self.inode(directory).ok()?;
        let fd = self.path_fd(&directory).ok()?;
        let stat = self.lower.stat_name(fd.as_fd(), name).ok()?;
        Some((device_of(&stat), stat.stx_ino))
    }
}
