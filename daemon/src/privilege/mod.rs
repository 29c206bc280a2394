//! Least privilege: what the threads of a mount let go of once it is set up.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`kept`] | the capabilities that stay, each with its reason |
//! | [`filter`] | the system calls that a serving thread can no longer make (seccomp) |
//!
//! Capabilities, the bounding set, no_new_privs and filters belong to a thread, and those it starts
//! have them too. A serving thread lets go of them when all it serves with has been made
//! ([`settle_server`]); the thread that ends the mount, when the mount is served
//! ([`settle_main`]). Who has none, a daemon mounted through fusermount3, has none to let go of:
//! only the filter is put before its serving threads.
//!
//! docs/security.md says against whom this helps, and why Landlock is not used.

pub mod filter;
pub mod kept;

use crate::error::{Error, Result};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

pub use kept::{MAIN, SERVING};

/// Makes the calling thread one that serves, and can do nothing else. Returns the capabilities
/// that it has from now on.
///
/// # Errors
///
/// What capset(2), prctl(2) or seccomp(2) say.
pub fn settle_server() -> Result<CapabilitySets> {
    let left = keep(kept::of(SERVING))?;
    // It starts no programs: not even fusermount3, which is the main thread's to call.
    set_no_new_privs(true).map_err(|errno| Error::system("cannot set no_new_privs", errno))?;
    filter::apply()?;
    Ok(left)
}

/// Makes the calling thread one that waits for the end of the mount, and unmounts.
///
/// # Errors
///
/// What capset(2) or prctl(2) say.
pub fn settle_main() -> Result<()> {
    // The set-user-id program fusermount3 unmounts for those who have no privileges.
    if crate::mount::is_privileged() {
        keep(kept::of(MAIN))?;
        set_no_new_privs(true).map_err(|errno| Error::system("cannot set no_new_privs", errno))?;
    }
    Ok(())
}

/// Makes the calling thread one that neither serves nor mounts, and has no privileges at all.
///
/// # Errors
///
/// As [`settle_server`].
pub fn settle_bystander() -> Result<()> {
    keep(CapabilitySet::empty())?;
    set_no_new_privs(true).map_err(|errno| Error::system("cannot set no_new_privs", errno))?;
    filter::apply()
}

/// Lets go of every capability of the calling thread but these, for good: also of those that a
/// program it starts would get.
fn keep(kept: CapabilitySet) -> Result<CapabilitySets> {
    let cannot = |errno| Error::system("cannot let go of capabilities", errno);
    let has = capabilities(None).map_err(cannot)?;
    if has.effective.contains(CapabilitySet::SETPCAP) {
        for (_, capability) in CapabilitySet::all().difference(kept).iter_names() {
            remove_capability_from_bounding_set(capability).map_err(cannot)?;
        }
    }
    clear_ambient_capability_set().map_err(cannot)?;
    let left = CapabilitySets {
        permitted: has.permitted.intersection(kept),
        effective: has.effective.intersection(kept),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, left).map_err(cannot)?;
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::testing::on_a_thread_of_root;
    use nix::errno::Errno;

    #[test]
    fn a_settled_server_has_what_is_listed_and_can_take_nothing_back() {
        on_a_thread_of_root(|| {
            let before = capabilities(None).unwrap();
            let left = settle_server().unwrap();
            assert_eq!(capabilities(None).unwrap(), left);
            assert_eq!(
                left.permitted,
                before.permitted.intersection(kept::of(SERVING))
            );
            assert!(set_capabilities(None, before).is_err());
            assert!(rustix::thread::no_new_privs().unwrap());
        });
    }

    #[test]
    fn a_settled_server_makes_no_program_no_namespace_and_no_mount() {
        on_a_thread_of_root(|| {
            settle_server().unwrap();
            let none = None::<&str>;
            let flags = nix::mount::MsFlags::empty();
            let mounted = nix::mount::mount(none, "/nowhere", Some("tmpfs"), flags, none);
            assert_eq!(mounted, Err(Errno::EPERM));
            let unshare = nix::sched::unshare;
            let namespace = nix::sched::CloneFlags::CLONE_NEWUTS;
            assert_eq!(unshare(namespace), Err(Errno::EPERM));
            assert_eq!(unshare(nix::sched::CloneFlags::CLONE_FS), Ok(()));
            // The threads it starts are no freer.
            let started = std::thread::spawn(|| nix::unistd::execv(c"/bin/true", &[c"true"]));
            assert_eq!(started.join().unwrap(), Err(Errno::EPERM));
            assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err());
        });
    }
}
