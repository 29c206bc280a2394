//! What can be seen of a test that waits: its tasks, its mounts, its daemons.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long `shmfuse stat` may take; it maps memory and asks no mount for anything.
const STAT_TIME: Duration = Duration::from_secs(10);

/// Where every task in uninterruptible sleep or stopped waits, and every task of these daemons, and what became of
/// other processes named shmfuse: with the CPU time so far, which tells who spins from who sleeps.
pub fn tasks(daemons: &BTreeSet<i32>) -> String {
    let mut text = format!(
        "load {}",
        fs::read_to_string("/proc/loadavg").unwrap_or_default()
    );
    for pid in numbered("/proc") {
        for tid in numbered(&format!("/proc/{pid}/task")) {
            let read = |name| {
                fs::read_to_string(format!("/proc/{pid}/task/{tid}/{name}")).unwrap_or_default()
            };
            let stat = read("stat");
            // proc_pid_stat(5), from the state on: ppid is number 1, utime and stime are 11 and 12.
            let fields: Vec<_> = stat
                .rsplit(") ")
                .next()
                .unwrap_or_default()
                .split(' ')
                .collect();
            let field = |at: usize| fields.get(at).copied().unwrap_or("?");
            if ["D", "T", "Z"].contains(&field(0)) || daemons.contains(&pid) {
                let comm = read("comm");
                let (comm, wchan, stack) = (comm.trim(), read("wchan"), read("stack"));
                let call = read("syscall");
                let call = call.split(' ').next().unwrap_or_default().trim();
                let (state, parent, user, system) = (field(0), field(1), field(11), field(12));
                let _ = writeln!(
                    text,
                    "task {pid}/{tid} {comm} of {parent} state {state} system call {call} in {wchan}, \
                     ticks {user} + {system}\n{}",
                    stack.trim_end()
                );
            }
        }
    }
    text
}

/// FUSE connections with requests that wait, and the mounts they belong to.
pub fn connections() -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut text = String::new();
    for minor in numbered("/sys/fs/fuse/connections") {
        let waiting = fs::read_to_string(format!("/sys/fs/fuse/connections/{minor}/waiting"));
        let waiting = waiting.unwrap_or_default();
        let device = format!("0:{minor}");
        let place = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields.get(2) == Some(&device.as_str()))
            .map_or("not mounted here", |fields| fields[4]);
        let _ = writeln!(
            text,
            "connection {minor} ({place}): {} requests",
            waiting.trim()
        );
    }
    text
}

/// What `shmfuse stat` says of the mount. It runs beside us for a limited time, and its output goes to a file: if it
/// hangs as well, it is left behind.
pub fn stat(mountpoint: &Path) -> String {
    let place = std::env::temp_dir().join(format!("shmfuse-evidence-{}", std::process::id()));
    let Ok(output) = File::create(&place) else {
        return String::new();
    };
    let errors = output.try_clone().map_or(Stdio::null(), Stdio::from);
    let mut command = Command::new(super::Daemon::program());
    command.arg("stat").arg(mountpoint);
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let Ok(mut child) = command.spawn() else {
        return String::new();
    };
    let start = Instant::now();
    while start.elapsed() < STAT_TIME && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let said = fs::read_to_string(&place).unwrap_or_default();
    let _ = fs::remove_file(&place);
    format!("shmfuse stat {}:\n{said}", mountpoint.display())
}

/// All there is to see, without the help of a mount.
pub fn all(
    daemons: &BTreeSet<i32>,
    mountpoints: &BTreeSet<PathBuf>,
    logs: &BTreeSet<PathBuf>,
) -> String {
    let mut text = tasks(daemons) + &connections();
    for mountpoint in mountpoints {
        text += &stat(mountpoint);
    }
    for log in logs {
        let _ = writeln!(
            text,
            "--- {}\n{}",
            log.display(),
            super::daemon::log_tail(log)
        );
    }
    text
}

/// The entries of a directory that are numbers.
fn numbered(dir: &str) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}
