//! The capabilities that stay, each with its reason (capabilities(7)).

use rustix::thread::CapabilitySet as Cap;

/// A capability that stays, and why.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Which.
    pub capability: Cap,
    /// Its name without `CAP_`.
    pub name: &'static str,
    /// What would fail without it.
    pub reason: &'static str,
}

/// The rows of a table of capabilities.
macro_rules! kept {
    ($($name:ident: $reason:literal,)*) => {
        &[$(Kept { capability: Cap::$name, name: stringify!($name), reason: $reason }),*]
    };
}

/// What a thread that serves requests keeps. It acts for every user of the mount, after the kernel
/// has checked what they may.
pub const SERVING: &[Kept] = kept! {
    CHOWN: "chown(2) by those who may",
    DAC_OVERRIDE: "what the kernel has allowed above is not asked again below",
    DAC_READ_SEARCH: "open_by_handle_at(2): an inode is a file handle",
    FOWNER: "chmod(2), utimensat(2) and ACLs of files that are the caller's, not the daemon's",
    FSETID: "a caller with it keeps suid and sgid; dropped for each caller without",
    SETUID: "setfsuid(2): a new file is its maker's",
    SETGID: "setfsgid(2), setgroups(2): the same of groups",
    LINUX_IMMUTABLE: "chattr +i, +a by those who may",
    SYS_ADMIN: "FUSE_DEV_IOC_BACKING_OPEN (data past the daemon); trusted.* and security.* attributes",
    SYS_NICE: "a ring's thread idles as SCHED_IDLE, and has to leave that",
    SYS_RESOURCE: "root's reserve of blocks, quotas; dropped for each caller without privileges",
    MKNOD: "mknod(2) of devices by those who may",
    SETFCAP: "capabilities of files, by those who may",
};

/// What the thread that ends the mount keeps.
pub const MAIN: &[Kept] = kept! {
    DAC_READ_SEARCH: "to find the mountpoint again, whoever owns the directories on the way",
    SYS_ADMIN: "umount(2)",
};

/// The capabilities of a table.
pub fn of(table: &[Kept]) -> Cap {
    table
        .iter()
        .fold(Cap::empty(), |all, kept| all.union(kept.capability))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_each_capability_with_its_reason() {
        let document = include_str!("../../../docs/security.md");
        for kept in SERVING.iter().chain(MAIN) {
            let row = format!("| `CAP_{}` | {} |", kept.name, kept.reason);
            assert!(document.contains(&row), "docs/security.md lacks: {row}");
        }
    }
}
