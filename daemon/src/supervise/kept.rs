//! What the supervisor keeps of a mount, so that another daemon can go on with it: the channels of
//! `/dev/fuse`, what INIT agreed on, LOWER, and the ledger of inodes and open files.
//!
//! Daemons share their table of descriptors with the supervisor (clone(2), `CLONE_FILES`), so that
//! every file they have open stays open when they die: with it locks of flock(2), files without a
//! name, and the kernel's end of each channel, which keeps the requests under way.

use crate::{
    config::{CachePolicy, Config, TransportKind},
    error::{Error, Result},
    fuse::{Agreed, Device},
    mount::{self, How, table::DeviceNumber},
    passthrough::{Passthrough, ledger::Ledger, lower::Lower},
    select,
};
use std::{
    collections::HashSet,
    os::fd::{AsFd as _, OwnedFd, RawFd},
    sync::Arc,
};

/// See the [module's documentation](self).
#[derive(Debug)]
pub struct Kept {
    /// The mounted channel, and what was agreed on.
    pub agreed: Agreed,
    /// One for each thread but the first; never empty.
    pub channels: Vec<Device>,
    /// Its device.
    pub mount: DeviceNumber,
    /// What the daemons have recorded.
    pub ledger: Arc<Ledger>,
    lower: OwnedFd,
    /// The descriptors that are no daemon's.
    own: HashSet<RawFd>,
}

impl Kept {
    /// Whether daemons of this configuration can go on where another died: on classic, and as long
    /// as the kernel is asked each time, or for a time that was promised.
    pub fn is_possible(config: &Config) -> Result<bool> {
        let kind = select::transport(config.transport)?;
        Ok(kind == TransportKind::Classic
            && config.cache != CachePolicy::Coherent
            && mount::is_privileged())
    }

    /// Makes the mount. None if requests are not sent again by this kernel, or LOWER is not to be
    /// had as a private tree; then there is no mount.
    ///
    /// # Errors
    ///
    /// As mounting without a supervisor.
    pub fn mount(config: &Config) -> Result<Option<Self>> {
        Passthrough::check(config)?;
        let lower = Lower::open(&config.lower)?;
        if !lower.is_private_tree() {
            return Ok(None);
        }
        let lower = duplicate(lower.root())?;
        let device = Device::open()?;
        let mut mounted = mount::mount(config, &device)?;
        let agreed = Agreed::on(device, config, TransportKind::Classic)?;
        if !agreed.resends {
            mounted.unmount(How::Lazy)?;
            return Ok(None);
        }
        let channels = (1..config.threads.max(2))
            .map(|_| agreed.device.clone_channel())
            .collect::<Result<_>>()?;
        let number = mounted.device();
        let ledger = Arc::new(Ledger::new()?);
        mounted.forget();
        Ok(Some(Self {
            agreed,
            channels,
            mount: number,
            ledger,
            lower,
            own: descriptors()?,
        }))
    }

    /// A descriptor of LOWER for a daemon.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn lower(&self) -> Result<OwnedFd> {
        duplicate(self.lower.as_fd())
    }

    /// Closes what a daemon that died had open and its successor does not need. To be called while
    /// there is no daemon.
    ///
    /// # Errors
    ///
    /// `/proc` is not mounted.
    pub fn sweep(&self) -> Result<()> {
        let needed = self.ledger.descriptors();
        for fd in descriptors()? {
            if !self.own.contains(&fd) && !needed.contains(&fd) {
                // Nobody else could have closed it, and an error changes nothing.
                let _ = nix::unistd::close(fd);
            }
        }
        Ok(())
    }

    /// The supervisor has closed one of its own descriptors: whoever has the number next is a daemon.
    pub fn give_up(&mut self, fd: RawFd) {
        self.own.remove(&fd);
    }

    /// Lets go of the mount of which no daemon can go on: requests under way fail.
    ///
    /// # Errors
    ///
    /// As [`sweep`](Self::sweep).
    pub fn abandon(self) -> Result<()> {
        for fd in descriptors()? {
            if !self.own.contains(&fd) {
                let _ = nix::unistd::close(fd);
            }
        }
        Ok(())
    }
}

fn duplicate(fd: std::os::fd::BorrowedFd<'_>) -> Result<OwnedFd> {
    fd.try_clone_to_owned()
        .map_err(|error| Error::system("no descriptor for the lower directory", error))
}

/// The descriptors of this process.
fn descriptors() -> Result<HashSet<RawFd>> {
    let path = "/proc/self/fd";
    let list = std::fs::read_dir(path).map_err(|error| Error::path("cannot read", path, error))?;
    let numbers = list
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: HashSet<RawFd> = numbers.collect();
    // The one by which the list was read is closed by now.
    found.retain(|fd| std::fs::symlink_metadata(format!("{path}/{fd}")).is_ok());
    Ok(found)
}
