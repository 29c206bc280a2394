//! Which transport serves a mount: the one that was asked for, or the fastest there is.

use crate::{
    config::{TransportChoice, TransportKind},
    error::{Error, Result},
    serve::{shm, uring::probe},
};
use std::{fs, io, path::Path};

/// The switch of FUSE-over-io_uring (fs/fuse/dev_uring.c, `enable_uring`). The kernel offers it at
/// INIT if it is on then.
pub const ENABLE_URING: &str = "/sys/module/fuse/parameters/enable_uring";

/// Chooses the transport, and turns on what it needs. What was chosen, and why not a faster one,
/// is one line of the log.
///
/// # Errors
///
/// The one that was asked for cannot be had.
pub fn transport(choice: TransportChoice) -> Result<TransportKind> {
    match choice {
        TransportChoice::Only(kind) if kind.is_ring() => {
            uring().map_err(Lack::into_error)?;
            if kind == TransportKind::Shm {
                shm::probe::available()?;
            }
            Ok(kind)
        }
        TransportChoice::Only(kind) => Ok(kind),
        TransportChoice::Auto => Ok(fastest()),
    }
}

fn fastest() -> TransportKind {
    if let Err(lack) = uring() {
        tracing::info!(
            "transport: classic; not uring or shm: {}",
            lack.into_error()
        );
        return TransportKind::Classic;
    }
    if let Err(error) = shm::probe::available() {
        tracing::info!("transport: uring; not shm: {error}");
        return TransportKind::Uring;
    }
    tracing::debug!("transport: shm");
    TransportKind::Shm
}

/// Why there is no FUSE-over-io_uring.
#[derive(Debug)]
pub enum Lack {
    /// The kernel was built without it, or is older than 6.14.
    NotBuilt,
    /// Its switch is off, and cannot be turned on by this user.
    SwitchedOff(io::Error),
    /// This user cannot have an io_uring at all.
    NoRing(Error),
}

/// Whether FUSE-over-io_uring can be used; turns it on if need be and allowed.
///
/// # Errors
///
/// What is lacking.
pub fn uring() -> Result<(), Lack> {
    switch_on(Path::new(ENABLE_URING))?;
    probe::ring().map_err(Lack::NoRing)
}

/// Makes sure that the switch is on.
fn switch_on(switch: &Path) -> Result<(), Lack> {
    let is_on = || fs::read(switch).is_ok_and(|text| matches!(text.first(), Some(b'Y' | b'1')));
    if !switch.exists() {
        return Err(Lack::NotBuilt);
    }
    if is_on() {
        return Ok(());
    }
    match fs::write(switch, "Y") {
        Ok(()) if is_on() => {
            tracing::info!("turned on {}", switch.display());
            Ok(())
        }
        Ok(()) => Err(Lack::SwitchedOff(io::ErrorKind::Unsupported.into())),
        Err(error) => Err(Lack::SwitchedOff(error)),
    }
}

impl Lack {
    /// The lack as an error with its remedy.
    pub fn into_error(self) -> Error {
        match self {
            Self::NotBuilt => Error::refused(
                "FUSE-over-io_uring",
                "this kernel does not have it",
                "Linux 6.14 or newer with CONFIG_FUSE_IO_URING; or --transport classic",
            ),
            Self::SwitchedOff(_) => Error::refused(
                "FUSE-over-io_uring",
                "switched off",
                format!("as root: echo Y > {ENABLE_URING}; or --transport classic"),
            ),
            Self::NoRing(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_the_switch_lacks_it() {
        let lack = switch_on(Path::new("/proc/none")).unwrap_err();
        assert!(
            lack.into_error()
                .to_string()
                .contains("CONFIG_FUSE_IO_URING")
        );
    }

    #[test]
    fn a_switch_that_is_off_is_turned_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "N\n").unwrap();
        assert!(switch_on(file.path()).is_ok());
        assert_eq!(fs::read(file.path()).unwrap(), b"Y");
    }

    #[test]
    fn a_switch_that_cannot_be_turned_on_is_named_with_the_remedy() {
        let error = Lack::SwitchedOff(io::ErrorKind::PermissionDenied.into()).into_error();
        assert!(error.to_string().contains(ENABLE_URING), "{error}");
    }
}
