//! Processes that use a mount and check all they are given.
//!
//! Every word of every file says which file it is of and where it stands, so that another's data is
//! noticed wherever it turns up. The errors that a mount with a fault may give are counted; any
//! other one, and any wrong byte, ends the process with status 1.

use crate::common::{child::Forked, wait_until};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::fs::RawDir;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    io::{self, Read, Write},
    mem::MaybeUninit,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process,
};

/// Sizes of the files that are read, in words.
const FILES: [usize; 6] = [1, 512, 513, 8192, 40_000, 140_000];
/// Names in the directory that is listed.
const LISTED: usize = 20;
/// Words of the file that a victim writes.
const WRITTEN: usize = 9000;
/// What may become of one request. EIO is the daemon's; the others are the kernel's: EINVAL and ENOENT
/// for a reply whose header is not one (`fuse_uring_out_header_has_err`, fs/fuse/dev_uring.c), ECANCELED
/// for a request whose ring has gone, EINTR for one that was just being copied to a daemon that was killed
/// (`__get_user_pages`, mm/gup.c).
const LOST: [i32; 5] = [
    nix::libc::EINTR,
    nix::libc::EIO,
    nix::libc::EINVAL,
    nix::libc::ENOENT,
    nix::libc::ECANCELED,
];
/// What a mount that has ended answers.
const ENDED: [i32; 2] = [nix::libc::ENOTCONN, nix::libc::ECONNABORTED];

fn contents(file: usize, words: usize) -> Vec<u8> {
    (0..words as u64)
        .flat_map(|at| ((file as u64) << 40 | at).to_le_bytes())
        .collect()
}

/// Makes the files that victims read, in the lower directory.
pub fn prepare(lower: &Path) {
    for (file, &words) in FILES.iter().enumerate() {
        fs::write(lower.join(format!("file{file}")), contents(file, words)).expect("a file");
    }
    fs::create_dir(lower.join("listed")).expect("a directory");
    for name in 0..LISTED {
        File::create(lower.join(format!("listed/{name}"))).expect("a name");
    }
}

/// How a victim fared.
#[derive(Debug, Default)]
struct Diary {
    rounds: u64,
    lost: u64,
    ended: bool,
}

impl Diary {
    fn write(&self, place: &Path) {
        let Self {
            rounds,
            lost,
            ended,
        } = self;
        fs::write(place, format!("{rounds} {lost} {ended}")).expect("a diary");
    }

    fn read(place: &Path) -> Self {
        // While it is written anew it may be empty.
        let text = fs::read_to_string(place).unwrap_or_default();
        let words: Vec<_> = text.split(' ').collect();
        match words[..] {
            [rounds, lost, ended] => Self {
                rounds: rounds.parse().unwrap_or_default(),
                lost: lost.parse().unwrap_or_default(),
                ended: ended == "true",
            },
            _ => Self::default(),
        }
    }
}

/// How all of them fared.
#[derive(Clone, Copy, Debug)]
pub struct Fates {
    /// Rounds they went.
    pub rounds: u64,
    /// Requests that were lost.
    pub lost: u64,
    /// Victims that were told that the mount has ended.
    pub ended: usize,
}

/// Several at work.
pub struct Victims {
    place: PathBuf,
    children: Vec<Forked>,
}

impl Victims {
    /// Starts `count` of them on the mount at `mount`. Their diaries are in `place`.
    pub fn start(mount: &Path, place: &Path, count: usize) -> Self {
        let place = place.join("victims");
        fs::create_dir(&place).expect("a directory");
        let children = (0..count)
            .map(|me| Forked::start(|| live(me, mount, &place)))
            .collect();
        Self { place, children }
    }

    fn diaries(&self) -> Vec<Diary> {
        let all = 0..self.children.len();
        all.map(|me| Diary::read(&self.place.join(me.to_string())))
            .collect()
    }

    /// Waits until each of them has gone so many more rounds, or has been told that the mount has
    /// ended.
    pub fn wait_for_progress(&self, rounds: u64) {
        let before = self.diaries();
        wait_until("every victim goes on or has been told of the end", || {
            assert!(!self.place.join("harmed").exists(), "a victim was harmed");
            let now = self.diaries();
            now.iter()
                .zip(&before)
                .all(|(now, before)| now.ended || now.rounds >= before.rounds + rounds)
        });
    }

    /// Lets them end, and says how they fared.
    pub fn stop(self) -> Fates {
        File::create(self.place.join("stop")).expect("a file");
        let mut statuses = BTreeMap::new();
        wait_until("every victim has come to its end", || {
            for child in &self.children {
                if let Entry::Vacant(status) = statuses.entry(child.pid()) {
                    match waitpid(child.pid(), Some(WaitPidFlag::WNOHANG)).expect("waitpid") {
                        WaitStatus::StillAlive => {}
                        ended => drop(status.insert(ended)),
                    }
                }
            }
            statuses.len() == self.children.len()
        });
        for (pid, status) in statuses {
            assert_eq!(status, WaitStatus::Exited(pid, 0), "a victim was harmed");
        }
        let diaries = self.diaries();
        Fates {
            rounds: diaries.iter().map(|diary| diary.rounds).sum(),
            lost: diaries.iter().map(|diary| diary.lost).sum(),
            ended: diaries.iter().filter(|diary| diary.ended).count(),
        }
    }
}

/// Says so when its process panics.
struct Harmed<'a>(&'a Path);

impl Drop for Harmed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = File::create(self.0.join("harmed"));
        }
    }
}

fn live(me: usize, mount: &Path, place: &Path) {
    let _harmed = Harmed(place);
    let root = File::open(mount).expect("the mount's root");
    // By this path the mount is reached even when it is not in its place any more.
    let base = PathBuf::from(format!("/proc/{}/fd/{}", process::id(), root.as_raw_fd()));
    let mut diary = Diary::default();
    while !place.join("stop").exists() && !diary.ended {
        match work(me, diary.rounds as usize, &base) {
            Ok(()) => {}
            Err(error) => match error.raw_os_error() {
                Some(errno) if ENDED.contains(&errno) => diary.ended = true,
                Some(errno) if LOST.contains(&errno) => diary.lost += 1,
                _ => panic!("victim {me}, round {}: {error}", diary.rounds),
            },
        }
        diary.rounds += 1;
        diary.write(&place.join(me.to_string()));
    }
}

fn work(me: usize, round: usize, base: &Path) -> io::Result<()> {
    let file = (me + round) % FILES.len();
    let path = base.join(format!("file{file}"));
    let mut found = Vec::new();
    let mut opened = File::open(&path)?;
    opened.read_to_end(&mut found)?;
    let expected = contents(file, FILES[file]);
    if let Some(at) = (0..expected.len()).find(|&at| found.get(at) != expected.get(at)) {
        let around = found.get(at & !7..).unwrap_or_default();
        let around = &around[..around.len().min(16)];
        panic!("file{file} at {at} of {}: {around:02x?}", found.len());
    }
    assert_eq!(found.len(), expected.len(), "file{file}");
    assert_eq!(fs::metadata(&path)?.len(), expected.len() as u64);
    if round.is_multiple_of(4) {
        assert_eq!(
            names_in(&base.join("listed"))?,
            LISTED,
            "names in a directory"
        );
    }
    let mine = base.join(format!("mine{me}"));
    let mut written = File::create(&mine)?;
    written.write_all(&contents(100 + me, WRITTEN))?;
    written.sync_data()
}

/// How many names are in a directory, by getdents64(2) itself: a C library takes ENOENT of it for the
/// directory's end (glibc's readdir64), and a request that was lost would look like an empty directory.
fn names_in(directory: &Path) -> io::Result<usize> {
    let opened = File::open(directory)?;
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(opened, &mut space);
    let mut names = 0;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        names += usize::from(![c".", c".."].contains(&entry.file_name()));
    }
    Ok(names)
}

/// Checks that what each victim wrote is its own, as far as it was written.
pub fn check_written(lower: &Path, count: usize) {
    for me in 0..count {
        let Ok(found) = fs::read(lower.join(format!("mine{me}"))) else {
            continue;
        };
        let expected = contents(100 + me, WRITTEN);
        let wrong = found
            .iter()
            .zip(&expected)
            // A write that was lost leaves a hole.
            .position(|(found, expected)| found != expected && *found != 0);
        assert_eq!(wrong, None, "mine{me} holds what victim {me} never wrote");
    }
}
