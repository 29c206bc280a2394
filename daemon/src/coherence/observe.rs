//! What `shmfuse stat` shows of a mount's coherence, read from the daemon's map.

use super::{ChangeSource, UNPROVEN};
use crate::{bpf::observe, error::Result};
use rustix::process::Pid;
use serde_json::{Value, json};
use std::fmt;
use transport::changes::ChangeCounters;

/// What has become of `--cache coherent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// A source of changes is proven.
    Coherent(Revocations),
    /// None is; what is taken instead stands elsewhere, the reasons in the log.
    Unproven,
}

impl Standing {
    /// Of the mount of the daemon `pid`; none if coherent was not asked for, or there is nothing that
    /// the daemon shares with the kernel.
    ///
    /// # Errors
    ///
    /// [`Error::System`](crate::error::Error::System) if this user may not look.
    pub fn of_process(pid: Pid) -> Result<Option<Self>> {
        let map = observe::map_of::<ChangeCounters>(pid, "CHANGE_COUNTERS")?;
        Ok(map.and_then(|map| map.iter().next().and_then(Self::of)))
    }

    fn of(counters: &ChangeCounters) -> Option<Self> {
        if counters.source.get() == u64::from(UNPROVEN) {
            return Some(Self::Unproven);
        }
        Revocations::of(counters).map(Self::Coherent)
    }

    /// As in `shmfuse stat --json`.
    pub fn to_json(self) -> Value {
        match self {
            Self::Coherent(revocations) => revocations.to_json(),
            Self::Unproven => json!({ "source": "none" }),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coherent(revocations) => revocations.fmt(f),
            Self::Unproven => f.write_str(
                "not coherent, for no source of changes below is proven (the log says why)",
            ),
        }
    }
}

/// The counters at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revocations {
    /// Where reports come from.
    pub source: ChangeSource,
    /// Changes of inodes on the lower file system, as programs noticed them.
    pub noticed: u64,
    /// Reports of them.
    pub reported: u64,
    /// Notifications sent to the kernel.
    pub notifications: u64,
    /// Inodes revoked.
    pub inodes: u64,
    /// Names revoked.
    pub names: u64,
    /// How often everything was revoked, because reports were lost.
    pub overflows: u64,
}

impl Revocations {
    fn of(counters: &ChangeCounters) -> Option<Self> {
        let code = u32::try_from(counters.source.get()).ok()?;
        Some(Self {
            source: ChangeSource::of_code(code)?,
            noticed: counters.noticed.get(),
            reported: counters.reported.get(),
            notifications: counters.notifications.get(),
            inodes: counters.inodes_revoked.get(),
            names: counters.names_revoked.get(),
            overflows: counters.overflows.get(),
        })
    }

    /// As in `shmfuse stat --json`.
    pub fn to_json(self) -> Value {
        json!({
            "source": self.source.name(),
            "noticed": self.noticed,
            "reported": self.reported,
            "notifications": self.notifications,
            "inodes": self.inodes,
            "names": self.names,
            "overflows": self.overflows,
        })
    }
}

impl fmt::Display for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "coherent by {}: noticed {}, reported {}; notifications {}, inodes revoked {}, names {}, overflows {}",
            self.source.name(),
            self.noticed,
            self.reported,
            self.notifications,
            self.inodes,
            self.names,
            self.overflows
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_without_a_source_has_nothing_to_show() {
        let counters = ChangeCounters::default();
        assert_eq!(Revocations::of(&counters), None);
        counters.source.add(ChangeSource::Fanotify.code().into());
        counters.overflows.add(2);
        let shown = Revocations::of(&counters).unwrap();
        assert_eq!(shown.to_json()["source"], "fanotify");
        assert!(shown.to_string().contains("overflows 2"));
    }
}
