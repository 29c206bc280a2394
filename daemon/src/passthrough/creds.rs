//! Acting as the caller: fsuid, fsgid, groups, umask and CAP_FSETID of one thread.
//!
//! Everything here is set per thread, as the kernel has it: credentials and (after
//! `unshare(CLONE_FS)`) the umask belong to a task. The wrappers of the C library for setuid,
//! setgroups and the like change every thread of the process and are not used.
//!
//! A serving thread sets `SECBIT_NO_SETUID_FIXUP`, so that a change of the file system user does
//! not touch its capabilities (`cap_task_fix_setuid`, security/commoncap.c): the kernel has
//! already checked the caller's permissions (`default_permissions`), and what it allowed because
//! of a capability or a supplementary group, of which a request does not tell, must not be
//! refused below. What a capability would *change* is dropped for callers who lack it:
//! CAP_FSETID (who holds it keeps suid and sgid bits that others lose) and CAP_SYS_RESOURCE (who
//! holds it exceeds quotas).

use super::caller::Caller;
use crate::{
    error::{Error, Result},
    fuse::Errno,
};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::{
    fs::Mode,
    thread::{
        CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
        capabilities_secure_bits, set_capabilities, set_capabilities_secure_bits,
        set_thread_groups,
    },
};
use transport::transform::NOBODY;

/// What a caller without privileges does not hold although the daemon does.
const UNPRIVILEGED_LACK: CapabilitySet = CapabilitySet::FSETID.union(CapabilitySet::SYS_RESOURCE);

/// What overrides permission checks.
const PERMISSION_OVERRIDES: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER);

/// Who the calling thread currently acts as, as far as it lasts from request to request.
#[derive(Debug)]
pub struct ThreadCreds {
    /// The daemon's own.
    uid: u32,
    gid: u32,
    /// Whether the thread may take another identity (CAP_SETUID, CAP_SETGID, and
    /// `SECBIT_NO_SETUID_FIXUP` or the CAP_SETPCAP to set it). An unprivileged daemon serves only
    /// the user who runs it.
    can_switch: bool,
    /// What the thread can have effective, and what it has now.
    full: CapabilitySets,
    effective: CapabilitySet,
    /// The thread's umask as last set.
    umask: u32,
    _not_send: std::marker::PhantomData<*const ()>,
}

impl ThreadCreds {
    /// Gives the calling thread a umask of its own, which is 0 until a caller's is set, and drops
    /// the daemon's supplementary groups where it may.
    ///
    /// # Errors
    ///
    /// What unshare(2), capget(2), prctl(2) or setgroups(2) say.
    pub fn enter() -> Result<Self> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)
            .map_err(|e| Error::system("cannot give a serving thread a umask of its own", e))?;
        rustix::process::umask(Mode::empty());
        let full = capabilities(None)
            .map_err(|e| Error::system("cannot read a serving thread's capabilities", e))?;
        let bits = capabilities_secure_bits()
            .map_err(|e| Error::system("cannot read a serving thread's securebits", e))?;
        // A thread that another serving thread has started has its securebits, and no CAP_SETPCAP.
        let is_fixed = bits.contains(CapabilitiesSecureBits::NO_SETUID_FIXUP);
        let mut needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
        needed.set(CapabilitySet::SETPCAP, !is_fixed);
        let can_switch = full.effective.contains(needed);
        if can_switch {
            if !is_fixed {
                set_capabilities_secure_bits(bits | CapabilitiesSecureBits::NO_SETUID_FIXUP)
                    .map_err(|e| Error::system("cannot set SECBIT_NO_SETUID_FIXUP", e))?;
            }
            set_thread_groups(&[])
                .map_err(|e| Error::system("cannot drop supplementary groups", e))?;
        }
        Ok(Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            can_switch,
            full,
            effective: full.effective,
            umask: 0,
            _not_send: std::marker::PhantomData,
        })
    }

    /// Takes note that the thread has these capabilities from now on, and no others.
    pub(crate) fn settle(&mut self, left: CapabilitySets) {
        self.full = left;
        self.effective = left.effective;
    }

    /// Takes the identity of the request's caller until the guard is dropped: what is created
    /// belongs to the caller. `umask` is the request's (0 where it has none), `groups` are those
    /// of its extension ([`super::names::groups`]).
    ///
    /// Capabilities that override permissions stay. open_by_handle_at(2) works in the guard's
    /// time, too.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW` if the caller has no user id here (as in the kernel's `may_create`), or what
    /// capset(2) or setgroups(2) say.
    pub fn act_as(
        &mut self,
        caller: &Caller,
        umask: u32,
        groups: &[u32],
    ) -> Result<ActingAs<'_>, Errno> {
        if caller.uid == NOBODY || caller.gid == NOBODY {
            return Err(Errno::OVERFLOW);
        }
        if caller.is_root {
            self.with_fsetid()?;
        } else {
            self.without_fsetid()?;
        }
        self.set_umask(umask);
        let (mut groups_set, mut gid_set, mut uid_set) = (false, false, false);
        if self.can_switch {
            if !groups.is_empty() {
                let gids: Vec<_> = groups
                    .iter()
                    .map(|&g| rustix::process::Gid::from_raw_unchecked(g))
                    .collect();
                set_thread_groups(&gids)?;
                groups_set = true;
            }
            if caller.gid != self.gid {
                setfsgid(Gid::from_raw(caller.gid));
                gid_set = true;
            }
            if caller.uid != self.uid {
                setfsuid(Uid::from_raw(caller.uid));
                uid_set = true;
            }
        }
        Ok(ActingAs {
            creds: self,
            groups_set,
            gid_set,
            uid_set,
        })
    }

    /// Lets go of CAP_FSETID (and CAP_SYS_RESOURCE) until [`with_fsetid`](Self::with_fsetid): a
    /// write, truncation or chmod then clears suid and sgid as it does for a caller without
    /// privileges. Costs a system call only when the state changes.
    ///
    /// # Errors
    ///
    /// What capset(2) says.
    pub fn without_fsetid(&mut self) -> Result<(), Errno> {
        self.set_effective(self.full.effective.difference(UNPRIVILEGED_LACK))
    }

    /// Takes CAP_FSETID (and CAP_SYS_RESOURCE) again, if the daemon has it at all.
    ///
    /// # Errors
    ///
    /// What capset(2) says.
    pub fn with_fsetid(&mut self) -> Result<(), Errno> {
        self.set_effective(self.full.effective)
    }

    /// Lets go of everything that overrides permission checks until
    /// [`with_fsetid`](Self::with_fsetid): for asking the lower file system what a caller may.
    ///
    /// # Errors
    ///
    /// What capset(2) says.
    pub fn without_overrides(&mut self) -> Result<(), Errno> {
        let lack = UNPRIVILEGED_LACK.union(PERMISSION_OVERRIDES);
        self.set_effective(self.full.effective.difference(lack))
    }

    fn set_effective(&mut self, effective: CapabilitySet) -> Result<(), Errno> {
        if self.effective != effective {
            set_capabilities(
                None,
                CapabilitySets {
                    effective,
                    ..self.full
                },
            )?;
            self.effective = effective;
        }
        Ok(())
    }

    fn set_umask(&mut self, umask: u32) {
        let umask = umask & 0o777;
        if self.umask != umask {
            rustix::process::umask(Mode::from_raw_mode(umask));
            self.umask = umask;
        }
    }
}

impl Drop for ThreadCreds {
    /// The thread gets back what it let go of. A failure changes nothing that matters to a thread
    /// that serves no more.
    fn drop(&mut self) {
        let _ = self.with_fsetid();
    }
}

/// While it lives the thread acts as a caller; see [`ThreadCreds::act_as`].
#[derive(Debug)]
#[must_use = "the thread acts as the caller only while this lives"]
pub struct ActingAs<'a> {
    creds: &'a mut ThreadCreds,
    groups_set: bool,
    gid_set: bool,
    uid_set: bool,
}

impl ActingAs<'_> {
    /// As [`ThreadCreds::without_fsetid`]; lasts beyond the guard.
    ///
    /// # Errors
    ///
    /// What capset(2) says.
    pub fn without_fsetid(&mut self) -> Result<(), Errno> {
        self.creds.without_fsetid()
    }

    /// As [`ThreadCreds::without_overrides`]; ends with the guard.
    ///
    /// # Errors
    ///
    /// What capset(2) says.
    pub fn without_overrides(&mut self) -> Result<(), Errno> {
        self.creds.without_overrides()
    }
}

impl Drop for ActingAs<'_> {
    fn drop(&mut self) {
        if self.uid_set {
            setfsuid(Uid::from_raw(self.creds.uid));
        }
        if self.gid_set {
            setfsgid(Gid::from_raw(self.creds.gid));
        }
        let creds = &mut *self.creds;
        let overrides = creds.full.effective.intersection(PERMISSION_OVERRIDES);
        if let Err(errno) = creds.set_effective(creds.effective.union(overrides)) {
            // As below; what the thread serves next is refused rather than allowed too much.
            tracing::error!("cannot take back what overrides permissions: {errno}");
        }
        if self.groups_set
            && let Err(errno) = set_thread_groups(&[])
        {
            // Only a change of the thread's capabilities from outside could bring this about. The
            // next caller's files must not be made with this one's groups.
            tracing::error!("cannot drop a caller's supplementary groups: {errno}");
            self.creds.can_switch = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::testing::on_a_thread_of_root;
    use std::{
        fs::{self, File},
        os::unix::fs::{MetadataExt, OpenOptionsExt},
    };
    use transport::wire::InHeader;

    fn by(uid: u32, gid: u32) -> Caller {
        let header = InHeader {
            uid,
            gid,
            ..InHeader::default()
        };
        Caller::new(&header, None)
    }

    fn fsids() -> (u32, u32) {
        let line = |status: &str, name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(4).unwrap().parse().unwrap()
        };
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        (line(&status, "Uid:"), line(&status, "Gid:"))
    }

    fn has(capability: CapabilitySet) -> bool {
        capabilities(None).unwrap().effective.contains(capability)
    }

    #[test]
    fn a_guard_lends_an_identity_and_takes_it_back() {
        on_a_thread_of_root(|| {
            let mut creds = ThreadCreds::enter().unwrap();
            {
                let _acting = creds.act_as(&by(12, 34), 0, &[56]).unwrap();
                assert_eq!(fsids(), (12, 34));
                let groups = rustix::process::getgroups().unwrap();
                assert_eq!(groups, [rustix::process::Gid::from_raw(56)]);
                assert!(!has(CapabilitySet::FSETID));
                assert!(has(
                    CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH
                ));
            }
            assert_eq!(fsids(), (0, 0));
            assert_eq!(rustix::process::getgroups().unwrap(), []);
            let _acting = creds.act_as(&by(0, 0), 0, &[]).unwrap();
            assert!(has(CapabilitySet::FSETID));
        });
    }

    #[test]
    fn a_panic_gives_the_identity_back() {
        on_a_thread_of_root(|| {
            let mut creds = ThreadCreds::enter().unwrap();
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _acting = creds.act_as(&by(12, 34), 0, &[]).unwrap();
                panic!("expected by the test");
            }));
            assert!(result.is_err());
            assert_eq!(fsids(), (0, 0));
        });
    }

    #[test]
    fn capabilities_come_and_go_on_one_thread_only() {
        on_a_thread_of_root(|| {
            let mut creds = ThreadCreds::enter().unwrap();
            creds.without_fsetid().unwrap();
            assert!(!has(CapabilitySet::FSETID));
            let other = std::thread::spawn(|| {
                capabilities(None)
                    .unwrap()
                    .permitted
                    .contains(CapabilitySet::FSETID)
            });
            assert!(other.join().unwrap());
            creds.with_fsetid().unwrap();
            assert!(has(CapabilitySet::FSETID));
            creds.without_overrides().unwrap();
            assert!(!has(CapabilitySet::DAC_OVERRIDE));
            drop(creds);
            assert!(has(CapabilitySet::DAC_OVERRIDE | CapabilitySet::FSETID));
        });
    }

    #[test]
    fn threads_make_files_for_different_callers_at_once() {
        on_a_thread_of_root(|| {
            let dir = tempfile::tempdir().unwrap();
            std::thread::scope(|scope| {
                for uid in 100..104 {
                    let dir = dir.path();
                    scope.spawn(move || {
                        let mut creds = ThreadCreds::enter().unwrap();
                        // Each thread has a umask of its own, too.
                        let umask = 0o100 >> (3 * (uid % 3));
                        for n in 0..200 {
                            let path = dir.join(format!("{uid}-{n}"));
                            {
                                let _acting = creds.act_as(&by(uid, uid + 1), umask, &[]).unwrap();
                                let mut options = File::options();
                                options.write(true).create_new(true).mode(0o777);
                                options.open(&path).unwrap();
                            }
                            let meta = fs::metadata(&path).unwrap();
                            assert_eq!((meta.uid(), meta.gid()), (uid, uid + 1));
                            assert_eq!(meta.mode() & 0o777, 0o777 & !umask);
                        }
                    });
                }
            });
        });
    }

    #[test]
    fn a_caller_without_a_number_here_is_refused() {
        let mut creds = ThreadCreds::enter().unwrap();
        for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX)] {
            assert_eq!(
                creds.act_as(&by(uid, gid), 0, &[]).err(),
                Some(Errno::OVERFLOW)
            );
        }
    }
}
