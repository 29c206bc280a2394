//! What a caller may keep: suid, sgid and capabilities of files that it changes.
//!
//! The kernel leaves it to the daemon to clear them (`FUSE_HANDLE_KILLPRIV_V2`), and the daemon
//! leaves it to the lower file system, on a thread that is like the caller in what counts
//! (fs/attr.c): whether it has CAP_FSETID, and, of a file with sgid that its group may not execute
//! (which is no set-group-id program), whether it is in the file's group. Requests do not carry
//! supplementary groups; where they count they are read from /proc, of a caller that waits.

use super::{
    Passthrough,
    caller::Caller,
    creds::{ActingAs, ThreadCreds},
    inode::Inode,
};
use crate::fuse::Errno;
use nix::{
    fcntl::AtFlags,
    unistd::{AccessFlags, faccessat},
};
use rustix::fs::{Mode, OFlags};
use std::{
    collections::HashMap,
    os::fd::BorrowedFd,
    sync::{Mutex, PoisonError},
};
use transport::wire::InHeader;

/// The group of a file with this mode, if it matters who is in it when the file changes.
pub(super) fn sgid_group(mode: u32, gid: u32) -> Option<u32> {
    let (sgid, exec) = (Mode::SGID.bits(), Mode::XGRP.bits());
    (mode & (sgid | exec) == sgid).then_some(gid)
}

/// Whether a regular file of this mode has something that a change of owner clears.
pub(super) fn has_suid_or_sgid(mode: u32) -> bool {
    mode & (Mode::SUID | Mode::SGID).bits() != 0
}

/// Makes the thread change the content of the file `fd` as the caller would. `keeps` says that the
/// caller has CAP_FSETID.
///
/// # Errors
///
/// Those of [`ThreadCreds::act_as`] and fstat(2).
pub(super) fn changing<'a>(
    creds: &'a mut ThreadCreds,
    caller: &Caller,
    keeps: bool,
    fd: BorrowedFd<'_>,
) -> Result<Option<ActingAs<'a>>, Errno> {
    if keeps {
        creds.with_fsetid()?;
        return Ok(None);
    }
    let stat = rustix::fs::fstat(fd)?;
    let Some(group) = sgid_group(stat.st_mode, stat.st_gid) else {
        creds.without_fsetid()?;
        return Ok(None);
    };
    let mut acting = creds.act_as(caller, 0, &supplementary(caller, &[group]))?;
    acting.without_fsetid()?;
    Ok(Some(acting))
}

/// Those of `groups`, numbers of the lower file system, that the caller is in by a supplementary group.
/// A caller that cannot be seen from here is in none.
pub(super) fn supplementary(caller: &Caller, groups: &[u32]) -> Vec<u32> {
    let elsewhere = |group: &&u32| **group != caller.gid;
    if !groups.iter().any(|group| elsewhere(&group)) {
        return Vec::new();
    }
    // The number is a thread's, and /proc answers to it though it lists processes only.
    let status = std::fs::read_to_string(format!("/proc/{}/status", caller.pid));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    let has: Vec<u32> = line
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|group| caller.group_below(group.parse().ok()?).ok())
        .collect();
    let groups = groups.iter().filter(elsewhere);
    groups
        .filter(|group| has.contains(group))
        .copied()
        .collect()
}

/// Callers with privileges that lost a file's capabilities, by thread.
///
/// Before a write to a file with capabilities the kernel sends REMOVEXATTR and then a SETATTR of
/// nothing (`file_remove_privs`, fs/inode.c); a chown(2) to nobody new sends a SETATTR of nothing,
/// too, and only the latter takes suid away from root. So a SETATTR of nothing that follows such a
/// REMOVEXATTR is taken for a write's. Only a chown(2) to nobody new of a file that has both suid
/// and capabilities is mistaken for one.
#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<HashMap<u32, u64>>);

impl Writers {
    /// Most threads that are remembered: each only until its next request, the SETATTR.
    const MAX: usize = 1024;

    /// `caller` has had the capabilities of its request's inode removed.
    pub(super) fn note(&self, caller: &InHeader) {
        let mut writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if writers.len() == Self::MAX {
            writers.clear();
        }
        writers.insert(caller.pid, caller.nodeid);
    }

    /// Whether somebody has had the capabilities of this inode removed, and asked for nothing since.
    pub(super) fn concern(&self, nodeid: u64) -> bool {
        let writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writers.values().any(|noted| *noted == nodeid)
    }

    /// `caller` asks for capabilities: what it does next begins with that (`cap_inode_need_killpriv`,
    /// security/commoncap.c), and what it removed before was removed for its own sake.
    pub(super) fn forget(&self, caller: &InHeader) {
        let mut writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writers.remove(&caller.pid);
    }

    /// Whether the SETATTR of `caller` follows such a removal; forgets it.
    pub(super) fn take(&self, caller: &InHeader) -> bool {
        let mut writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !writers.is_empty() && writers.remove(&caller.pid) == Some(caller.nodeid)
    }
}

impl Passthrough {
    /// Whether `caller` may make a file lose its capabilities, which the kernel has removed before
    /// it changes the file, and before a chown(2) that changes nothing. To remove them as such
    /// takes a privilege that the kernel checks.
    ///
    /// Natively that chown(2) fails if it would clear suid or sgid for one who is not the owner,
    /// and leaves the capabilities as well. Here the kernel does not check (`fuse_do_setattr`,
    /// fs/fuse/dir.c), so the capabilities of a file with suid or sgid go only if the caller may
    /// write it, or somebody has it open for writing; on a mount without OPEN somebody may always have.
    ///
    /// # Errors
    ///
    /// `EPERM` if it may not, as chown(2) says of a file that is not the caller's.
    pub(super) fn check_capability_removal(
        &self,
        creds: &mut ThreadCreds,
        header: &InHeader,
        inode: &Inode,
        fd: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        if header.uid == 0 {
            self.writers.note(header);
            return Ok(());
        }
        let caller = &self.caller(header, inode);
        let stat = self.lower.stat_fd(fd)?;
        if caller.uid == stat.stx_uid || !has_suid_or_sgid(stat.stx_mode.into()) {
            return Ok(());
        }
        let writes = |flags: OFlags| flags & OFlags::ACCMODE != OFlags::RDONLY;
        let is_open = |open: &super::open_file::OpenFile| {
            open.nodeid() == header.nodeid && writes(open.flags())
        };
        if self.config.no_open || self.files.any(is_open) {
            return Ok(());
        }
        let groups = supplementary(caller, &[stat.stx_gid]);
        let mut acting = creds.act_as(caller, 0, &groups)?;
        acting.without_overrides()?;
        let flags = AtFlags::AT_EACCESS | AtFlags::AT_EMPTY_PATH;
        faccessat(fd, c"", AccessFlags::W_OK, flags).map_err(|_| Errno::PERM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sgid_that_is_no_program_asks_for_groups() {
        assert_eq!(sgid_group(0o2766, 7), Some(7));
        assert_eq!(sgid_group(0o6666, 7), Some(7));
        for mode in [0o777, 0o2777, 0o2010, 0o4766] {
            assert_eq!(sgid_group(mode, 7), None);
        }
    }

    #[test]
    fn groups_are_those_of_the_calling_thread() {
        let header = InHeader {
            pid: std::process::id(),
            gid: 12345,
            ..InHeader::default()
        };
        let caller = Caller::new(&header, None);
        let mine = rustix::process::getgroups().unwrap();
        let mut mine: Vec<u32> = mine.iter().map(|gid| gid.as_raw()).collect();
        mine.retain(|gid| *gid != caller.gid);
        assert_eq!(supplementary(&caller, &mine), mine);
        assert!(supplementary(&caller, &[12345, u32::MAX - 1]).is_empty());
        let gone = Caller::new(&InHeader { pid: 0, ..header }, None);
        assert!(supplementary(&gone, &[1]).is_empty());
    }

    #[test]
    fn a_write_is_told_from_a_change_of_owner_by_what_came_before() {
        let writers = Writers::default();
        let caller = InHeader {
            pid: 5,
            nodeid: 9,
            ..InHeader::default()
        };
        assert!(!writers.take(&caller));
        writers.note(&caller);
        assert!(!writers.take(&InHeader { pid: 6, ..caller }));
        assert!(writers.take(&caller));
        assert!(!writers.take(&caller));
        writers.note(&caller);
        assert!(!writers.take(&InHeader {
            nodeid: 8,
            ..caller
        }));
        assert!(
            !writers.take(&caller),
            "another inode's SETATTR came between"
        );
    }
}
