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
use transport::wire::InHeader;

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
    /// Whether the thread may take another identity (CAP_SETUID, CAP_SETGID and CAP_SETPCAP). An
    /// unprivileged daemon serves only the user who runs it.
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
        let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETPCAP;
        let can_switch = full.effective.contains(needed);
        if can_switch {
            let bits = capabilities_secure_bits()
                .map_err(|e| Error::system("cannot read a serving thread's securebits", e))?;
            set_capabilities_secure_bits(bits | CapabilitiesSecureBits::NO_SETUID_FIXUP)
                .map_err(|e| Error::system("cannot set SECBIT_NO_SETUID_FIXUP", e))?;
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
        caller: &InHeader,
        umask: u32,
        groups: &[u32],
    ) -> Result<ActingAs<'_>, Errno> {
        if caller.uid == u32::MAX || caller.gid == u32::MAX {
            return Err(Errno::OVERFLOW);
        }
        if caller.uid == 0 {
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
                    .map(|&g| rustix::process::Gid::from_raw(g))
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
