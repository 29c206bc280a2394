//! Acting as another user, on the calling thread alone.

use rustix::{
    fs::Mode,
    process::{Gid, Uid, umask},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// Who does something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// uid 0 with every capability.
    Root,
    /// uid 1000, gid 1000, also in group 2000.
    Member,
    /// uid 3000, gid 3000, in no other group.
    Stranger,
}

impl Who {
    const fn ids(self) -> (u32, u32, &'static [u32]) {
        match self {
            Self::Root => (0, 0, &[]),
            Self::Member => (1000, 1000, &[2000]),
            Self::Stranger => (3000, 3000, &[]),
        }
    }
}

/// Gives the calling thread a umask of its own, so that tests beside it keep theirs.
pub fn own_umask() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).expect("unshare(CLONE_FS)");
}

/// Runs `action` as `who`, with files created under `mask`.
///
/// The saved user id stays 0, by which the thread becomes root again. Capabilities follow the
/// effective user id (capabilities(7)), and access(2) the real one.
pub fn acting<T>(who: Who, mask: u32, action: impl FnOnce() -> T) -> T {
    let (uid, gid, groups) = who.ids();
    let groups: Vec<_> = groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    become_user(uid, gid, &groups);
    let old = umask(Mode::from_bits_retain(mask));
    let result = action();
    umask(old);
    become_user(0, 0, &[]);
    result
}

fn become_user(uid: u32, gid: u32, groups: &[Gid]) {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let (root, root_group) = (Uid::ROOT, Gid::ROOT);
    set_thread_res_uid(root, root, root).expect("becoming root");
    set_thread_groups(groups).expect("setgroups");
    set_thread_res_gid(gid, gid, root_group).expect("setresgid");
    set_thread_res_uid(uid, uid, root).expect("setresuid");
}
