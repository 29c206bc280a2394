//! Makes each kind of change in a scratch directory of the lower file system, and looks whether it is
//! reported.
#![expect(unsafe_code, reason = "a mapping of the scratch file is written to")]

use super::{ChangeSource, Feed, establish::Trial, index_of};
use crate::{
    bpf::words::SharedArray,
    passthrough::{file_handle::FileHandle, inode::device_of},
};
use rustix::fs::{AtFlags, CWD, StatxFlags, XattrFlags, statx};
use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    sync::Arc,
};
use transport::sync::InterestWord;

/// What came of it.
#[derive(Debug)]
pub enum Verdict {
    /// Each of so many kinds was reported.
    Proven(usize),
    /// It could not be tried, for this reason.
    Untried(String),
    /// This kind was not.
    Unreported(&'static str),
}

/// Tries `source`, whose reports come by `feed`, on the file system of the lower directory.
pub fn run(wanted: &Trial<'_>, source: ChangeSource, feed: &mut Feed) -> Verdict {
    let lower = wanted.lower;
    if wanted.read_only {
        return Verdict::Untried("the mount is read-only".into());
    }
    let name = format!(".shmfuse-selftest-{}", std::process::id());
    let scratch = lower.join(name);
    let times = fs::metadata(lower).and_then(|meta| Ok((meta.accessed()?, meta.modified()?)));
    if let Err(error) = fs::create_dir(&scratch) {
        return Verdict::Untried(format!("nothing can be made in it ({error})"));
    }
    let mut trial = Course {
        misses: wanted.misses,
        interest: feed.changes.as_ref().map(|changes| changes.interest()),
        source,
        feed,
        tried: 0,
    };
    let outcome = trial.try_all(&scratch);
    let removed = fs::remove_dir_all(&scratch);
    // Its modification is undone, as far as it can be.
    if let (Ok((accessed, modified)), Ok(directory)) = (times, File::open(lower)) {
        let times = fs::FileTimes::new()
            .set_accessed(accessed)
            .set_modified(modified);
        let _ = directory.set_times(times);
    }
    trial.forget_seen();
    match (outcome, removed) {
        (Err(Failure::Unreported(kind)), _) => Verdict::Unreported(kind),
        (Err(Failure::Io(error)), _) | (Ok(()), Err(error)) => {
            Verdict::Untried(format!("the scratch directory does not work ({error})"))
        }
        (Ok(()), Ok(())) => Verdict::Proven(trial.tried),
    }
}

enum Failure {
    Io(io::Error),
    Unreported(&'static str),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// What was reported since it was last asked.
#[derive(Default)]
struct Seen {
    indices: HashSet<u32>,
    handles: HashSet<FileHandle>,
    names: HashSet<Vec<u8>>,
}

struct Course<'a> {
    misses: Option<&'a str>,
    interest: Option<Arc<SharedArray<InterestWord>>>,
    source: ChangeSource,
    feed: &'a mut Feed,
    tried: usize,
}

impl Course<'_> {
    fn try_all(&mut self, scratch: &Path) -> Result<(), Failure> {
        let path = |name: &str| scratch.join(name);
        let (one, two) = (path("one"), path("two"));
        fs::create_dir(&one)?;
        fs::create_dir(&two)?;
        let file = one.join("file");
        fs::write(&file, [1; 8192])?;
        self.try_attributes(&file)?;
        self.try_data(&file)?;
        self.try_names(&one, &two, &file)
    }

    fn try_attributes(&mut self, file: &PathBuf) -> Result<(), Failure> {
        self.inodes("chmod", &[file], || {
            fs::set_permissions(file, Permissions::from_mode(0o640))
        })?;
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        self.inodes("chown", &[file], || {
            Ok(rustix::fs::chownat(
                CWD,
                file,
                Some(uid),
                Some(gid),
                AtFlags::empty(),
            )?)
        })?;
        self.inodes("utimes", &[file], || {
            File::open(file)?.set_modified(std::time::UNIX_EPOCH)
        })?;
        let name = c"user.shmfuse";
        match rustix::fs::setxattr(file, name, b"1", XattrFlags::empty()) {
            // There are none to change.
            Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
            result => result?,
        }
        self.inodes("setxattr", &[file], || {
            Ok(rustix::fs::setxattr(file, name, b"2", XattrFlags::empty())?)
        })?;
        self.inodes("removexattr", &[file], || {
            Ok(rustix::fs::removexattr(file, name)?)
        })
    }

    fn try_data(&mut self, file: &PathBuf) -> Result<(), Failure> {
        let open = || OpenOptions::new().read(true).write(true).open(file);
        self.inodes("append", &[file], || {
            OpenOptions::new().append(true).open(file)?.write_all(b"2")
        })?;
        self.inodes("truncate", &[file], || open()?.set_len(4096))?;
        if self.source == ChangeSource::Fanotify {
            // Known not to be.
            return Ok(());
        }
        let opened = open()?;
        // SAFETY: the file is the scratch directory's; nobody truncates it meanwhile, and its bytes
        // are looked at by nobody.
        let mut mapping = unsafe { memmap2::MmapMut::map_mut(&opened)? };
        self.inodes("a write to a mapping", &[file], || {
            if let Some(byte) = mapping.first_mut() {
                *byte = 3;
            }
            Ok(())
        })
    }

    fn try_names(&mut self, one: &PathBuf, two: &PathBuf, file: &PathBuf) -> Result<(), Failure> {
        let within = |name: &str| one.join(name);
        self.names("create", &[one], &["new"], || {
            File::create_new(within("new")).map(drop)
        })?;
        self.names("mkdir", &[one], &["dir"], || fs::create_dir(within("dir")))?;
        self.names("symlink", &[one], &["symlink"], || {
            symlink("target", within("symlink"))
        })?;
        self.names("link", &[two, file], &["link"], || {
            fs::hard_link(file, two.join("link"))
        })?;
        self.names("unlink", &[two, file], &["link"], || {
            fs::remove_file(two.join("link"))
        })?;
        self.names("rmdir", &[one], &["dir"], || fs::remove_dir(within("dir")))?;
        let renamed = within("renamed");
        self.names("rename", &[one], &["file", "renamed"], || {
            fs::rename(file, &renamed)
        })?;
        self.names(
            "rename to another directory",
            &[one, two],
            &["renamed", "moved"],
            || fs::rename(&renamed, two.join("moved")),
        )?;
        let victim = within("new");
        let kept = two.join("kept");
        fs::hard_link(&victim, &kept)?;
        self.names(
            "rename over another",
            &[one, two, &kept],
            &["moved", "new"],
            || fs::rename(two.join("moved"), &victim),
        )
    }

    /// Makes a change that concerns these inodes.
    fn inodes(
        &mut self,
        kind: &'static str,
        concerned: &[&PathBuf],
        change: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Failure> {
        self.names(kind, concerned, &[], change)
    }

    /// The same, of these names too.
    fn names(
        &mut self,
        kind: &'static str,
        concerned: &[&PathBuf],
        names: &[&str],
        change: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Failure> {
        self.forget_seen();
        let mut inodes = Vec::new();
        for path in concerned {
            inodes.push(self.arm(path)?);
        }
        change()?;
        let seen = self.seen();
        let all_inodes = inodes.iter().all(|(index, handle)| match self.source {
            ChangeSource::Ext4Tracepoint => seen.indices.contains(index),
            ChangeSource::Fanotify => seen.handles.contains(handle),
        });
        if !all_inodes
            || self.misses == Some(kind)
            || !names
                .iter()
                .all(|name| seen.names.contains(name.as_bytes()))
        {
            return Err(Failure::Unreported(kind));
        }
        self.tried += 1;
        Ok(())
    }

    fn arm(&self, path: &Path) -> Result<(u32, FileHandle), Failure> {
        let stat = statx(
            CWD,
            path,
            AtFlags::SYMLINK_NOFOLLOW,
            StatxFlags::BASIC_STATS,
        )?;
        let index = index_of(device_of(&stat), stat.stx_ino);
        if let Some(word) = self.interest.as_ref().and_then(|words| words.get(index)) {
            word.arm();
        }
        let opened = File::open(path)?;
        let (handle, _) = FileHandle::of(opened.as_fd(), c"", false)?;
        Ok((index, handle))
    }

    fn seen(&mut self) -> Seen {
        let mut seen = Seen::default();
        while let Ok(events) = self.feed.listener.read() {
            if events.is_empty() {
                break;
            }
            for event in events {
                seen.handles.extend(event.object.clone());
                if event.is_of_name() {
                    seen.handles
                        .extend(event.name.iter().map(|(directory, _)| directory.clone()));
                    seen.names.extend(event.name.map(|(_, name)| name));
                }
            }
        }
        if let Some(changes) = &mut self.feed.changes {
            while let Some(index) = changes.next_report() {
                seen.indices.insert(index);
            }
        }
        seen
    }

    fn forget_seen(&mut self) {
        drop(self.seen());
    }
}
