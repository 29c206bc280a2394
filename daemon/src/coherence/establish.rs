//! Finds and proves a source of changes at mount time.

use super::{
    ChangeSource, Coherence, Feed,
    fanotify::Listener,
    selftest::{self, Verdict},
};
use crate::{
    bpf::Programs,
    config::{CachePolicy, Config, TransportKind},
    error::Result,
    mount::table::MountTable,
    passthrough,
};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::{path::Path, sync::Arc, time::Duration};
use transport::changes::Lower;

/// `EXT4_SUPER_MAGIC` (include/uapi/linux/magic.h), which ext2 and ext3 have too; Linux mounts them
/// by the same driver.
const EXT4: u64 = 0xEF53;
/// The oldest kernel with `FUSE_NOTIFY_INC_EPOCH`, by which everything is revoked when reports are lost.
const OLDEST: (u32, u32) = (6, 16);

/// The validity that is taken where there must be one.
const INSTEAD: Duration = Duration::from_secs(1);

/// What `--cache coherent` and `--s1 on` become on this lower directory: the coherence, or if no source of
/// changes is proven none. What is taken instead is put into `config`, and said in the log, once.
pub fn establish(config: &mut Config, transport: TransportKind) -> Option<Arc<Coherence>> {
    let coherence = match config.cache {
        CachePolicy::Coherent => revocable(config),
        CachePolicy::Strict | CachePolicy::Ttl(_) => None,
    };
    let noticed = coherence
        .as_ref()
        .is_some_and(|coherence| coherence.source() == ChangeSource::Ext4Tracepoint);
    if transport == TransportKind::Shm && config.s1 && !noticed {
        config.s1 = are_noticed(config);
    }
    coherence
}

/// Whether kernel programs notice every change below, as those that answer must.
fn are_noticed(config: &Config) -> bool {
    match prove_source(ChangeSource::Ext4Tracepoint, &Trial::of(config)) {
        Ok(proven) => {
            tracing::info!("kernel programs notice changes below: {}", proven.by);
            true
        }
        Err(reason) => {
            tracing::info!(
                "kernel programs answer nothing, for they do not notice changes of {}: {reason}",
                config.lower.display()
            );
            false
        }
    }
}

fn revocable(config: &mut Config) -> Option<Arc<Coherence>> {
    match prove(&Trial::of(config)) {
        Ok(proven) => {
            tracing::info!(
                "changes below are reported by {}: {}",
                proven.coherence.source().name(),
                proven.by
            );
            Some(Arc::new(proven.coherence))
        }
        Err(reasons) => {
            config.unproven = true;
            // Without OPEN, or with write-back, something must expire.
            config.cache = if config.no_open || config.writeback {
                CachePolicy::Ttl(INSTEAD)
            } else {
                CachePolicy::Strict
            };
            tracing::info!(
                "--cache {} is taken instead of coherent, for changes of {} are not reported: {}",
                config.cache,
                config.lower.display(),
                reasons.join("; ")
            );
            None
        }
    }
}

/// What a source is tried on.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The lower directory.
    pub lower: &'a Path,
    /// Nothing may be changed there.
    pub read_only: bool,
    /// A kind of change that is taken for not reported.
    pub misses: Option<&'a str>,
}

impl<'a> Trial<'a> {
    fn of(config: &'a Config) -> Self {
        Self {
            lower: &config.lower,
            read_only: config.mount.read_only,
            misses: config.selftest_misses.as_deref(),
        }
    }
}

/// A source that can be relied on.
#[derive(Debug)]
pub struct Proven {
    /// With that source.
    pub coherence: Coherence,
    /// How it was proven.
    pub by: String,
}

/// Looks for a source of changes, the best first.
///
/// # Errors
///
/// The reason for each why not.
pub fn prove(trial: &Trial<'_>) -> std::result::Result<Proven, Vec<String>> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    if version(&release).is_none_or(|version| version < OLDEST) {
        let (major, minor) = OLDEST;
        return Err(vec![format!(
            "Linux {major}.{minor} or newer is needed, this is {release}"
        )]);
    }
    let mut reasons = Vec::new();
    for source in [ChangeSource::Ext4Tracepoint, ChangeSource::Fanotify] {
        match prove_source(source, trial) {
            Ok(proven) => {
                return match passthrough::knows_by_handle(trial.lower) {
                    Ok(true) => Ok(proven),
                    Ok(false) => Err(vec!["its inodes are not known by file handles".into()]),
                    Err(error) => Err(vec![error.to_string()]),
                };
            }
            Err(reason) => reasons.push(format!("{}: {reason}", source.name())),
        }
    }
    Err(reasons)
}

fn prove_source(source: ChangeSource, trial: &Trial<'_>) -> std::result::Result<Proven, String> {
    let lower = trial.lower;
    let said = |error: crate::error::Error| error.to_string();
    let stat = statx(CWD, lower, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .map_err(|errno| errno.to_string())?;
    let magic = rustix::fs::statfs(lower).map_err(|errno| errno.to_string())?;
    let programs = match source {
        ChangeSource::Ext4Tracepoint if magic.f_type as u64 != EXT4 => {
            return Err("it is not ext4".into());
        }
        ChangeSource::Ext4Tracepoint => Some(Programs::for_changes().map_err(said)?),
        // For its counters alone.
        ChangeSource::Fanotify => Programs::for_changes().ok(),
    };
    let mut feed = open_feed(source, lower, &stat, programs).map_err(said)?;
    let by = match selftest::run(trial, source, &mut feed) {
        Verdict::Proven(changes) => format!("{changes} kinds of change were tried, each was"),
        // What the tracepoints and fanotify are worth is known of the file systems this was
        // tried on, all of which keep the promise on every kernel since `OLDEST`.
        Verdict::Untried(reason) if is_known(magic.f_type as u64) => {
            format!("by the type of the file system, for {reason}")
        }
        Verdict::Untried(reason) => return Err(reason),
        Verdict::Unreported(kind) => return Err(format!("{kind} was not reported")),
    };
    if let Some(changes) = &mut feed.changes {
        changes.leave_out_own().map_err(said)?;
    }
    let device = crate::passthrough::inode::device_of(&stat);
    let alone = !MountTable::read().map_err(said)?.has_below(lower);
    let coherence = Coherence::new(source, device, alone, feed).map_err(said)?;
    Ok(Proven { coherence, by })
}

fn open_feed(
    source: ChangeSource,
    lower: &Path,
    stat: &rustix::fs::Statx,
    mut programs: Option<Programs>,
) -> Result<Feed> {
    let device = transport::generation::device_of(stat.stx_dev_major, stat.stx_dev_minor);
    let everyone = Lower {
        device: device as u32,
        process: 0,
    };
    let changes = match (source, &mut programs) {
        (ChangeSource::Ext4Tracepoint, Some(programs)) => Some(programs.notice_changes(everyone)?),
        _ => None,
    };
    let listener = Listener::new(lower, source == ChangeSource::Fanotify)?;
    Ok(Feed {
        changes,
        listener,
        programs,
    })
}

/// ext4, xfs, btrfs, tmpfs (include/uapi/linux/magic.h).
fn is_known(magic: u64) -> bool {
    [EXT4, 0x5846_5342, 0x9123_683E, 0x0102_1994].contains(&magic)
}

/// Major and minor version in a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_its_version() {
        assert_eq!(version("6.18.0-1-amd64"), Some((6, 18)));
        assert_eq!(version("6.16-rc1"), Some((6, 16)));
        assert_eq!(version("linux"), None);
    }
}
