//! Processes that use a mount: this test binary, started again in a role.

use shmfuse::config::TransportKind;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What a process does, told by this variable: `role:path:number`.
const ROLE: &str = "SHMFUSE_URING_ROOT_ROLE";
/// The test that plays it.
const STAGE: &str = "plays_the_role_it_was_given";

/// A process in a role; killed when dropped.
#[derive(Debug)]
pub struct Actor(Child);

/// Starts a process that plays `role` on `path`.
pub fn actor(role: &str, path: &Path, number: usize) -> Actor {
    let child = Command::new(std::env::current_exe().expect("current_exe"))
        .args([
            "--exact",
            STAGE,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, format!("{role}:{}:{number}", path.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("this binary can be started");
    Actor(child)
}

impl Actor {
    /// Waits for its end; `None` if it does not come in a minute.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.0.try_wait().expect("wait") {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Expects it to end well.
    pub fn succeeded(mut self) {
        let status = self.ended().expect("the process ends");
        assert!(status.success(), "{status}");
    }

    /// Lets a process that waits for it go on.
    pub fn go(&mut self) {
        drop(self.0.stdin.take());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.0.kill().expect("kill");
    }

    /// Expects it to end, however it likes, but not of a signal that a test did not send.
    pub fn ends(mut self) {
        let status = self.ended().expect("the process ends");
        assert!(
            matches!(status.signal(), None | Some(libc::SIGKILL)),
            "{status}"
        );
    }

    /// Expects the process to end of SIGKILL: one in uninterruptible sleep does not.
    pub fn dies(mut self) {
        self.kill();
        assert!(
            self.ended().is_some(),
            "process {} is in D state",
            self.0.id()
        );
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        drop(self.0.kill());
    }
}

/// Plays the role in the environment, if there is one.
pub fn play() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let mut parts = role.splitn(3, ':');
    let mut next = || parts.next().expect("role:path:number");
    let (role, path, number) = (next(), Path::new(next()), next());
    let number: usize = number.parse().expect("a number");
    match role {
        "mix" => mix(path, number).expect("the mount serves"),
        "hammer" => hammer(path, number),
        "count" => count(path, number).expect("the mount serves"),
        "lock" => lock_when_told(path).expect("the mount serves"),
        "daemon" => super::serve_forever(path, TransportKind::ALL[number]),
        _ => panic!("no such role: {role}"),
    }
}

/// Writes and reads back pieces of all sizes, 30 times, in a region of the file that is `number`'s
/// alone.
fn mix(mount: &Path, number: usize) -> io::Result<()> {
    let file = open(&mount.join(format!("d{}", number % 8)))?;
    let base = (number as u64) << 22;
    for round in 0..30 {
        let size = [1, 17, 4095, 4096, 4097, 65_536, 1 << 20][(number + round) % 7];
        let byte = (number * 31 + round) as u8;
        let data = vec![byte; size];
        file.write_all_at(&data, base)?;
        let mut back = vec![0; size];
        file.read_exact_at(&mut back, base)?;
        assert!(
            back == data,
            "process {number}, round {round}: another's data"
        );
        mount.join(format!("c{}", round % 64)).metadata()?;
    }
    Ok(())
}

/// Uses the mount until it is gone.
fn hammer(mount: &Path, number: usize) {
    let use_it = || -> io::Result<()> {
        let file = open(&mount.join(format!("d{}", number % 64)))?;
        let mut buffer = vec![7; 1 << (number % 21)];
        for round in 0.. {
            file.write_all_at(&buffer, 0)?;
            file.read_at(&mut buffer, round % 5)?;
            mount.join(format!("c{}", round % 64)).metadata()?;
            if number % 4 == 3 {
                lock(&file, libc::F_WRLCK)?;
                lock(&file, libc::F_UNLCK)?;
            }
        }
        Ok(())
    };
    use_it().expect_err("a hammer stops only when the mount is gone");
}

/// Adds 1 to the number in a file, `times` times, under a lock.
fn count(path: &Path, times: usize) -> io::Result<()> {
    let file = open(path)?;
    for _ in 0..times {
        lock(&file, libc::F_WRLCK)?;
        let mut number = [0; 8];
        file.read_at(&mut number, 0)?;
        let next = u64::from_le_bytes(number) + 1;
        thread::yield_now();
        file.write_all_at(&next.to_le_bytes(), 0)?;
        lock(&file, libc::F_UNLCK)?;
    }
    Ok(())
}

/// On CPU 0: opens a file, waits for [`Actor::go`], and locks and unlocks it.
fn lock_when_told(path: &Path) -> io::Result<()> {
    pin_to_cpu_0();
    let file = open(path)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    lock(&file, libc::F_WRLCK)?;
    lock(&file, libc::F_UNLCK)
}

/// Makes the calling thread's requests those of queue 0.
pub fn pin_to_cpu_0() {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(0);
    rustix::thread::sched_setaffinity(None, &cpus).expect("CPU 0 exists");
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// fcntl(2) `F_SETLKW` on the whole file.
pub fn lock(file: &File, kind: libc::c_int) -> io::Result<()> {
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETLKW(&lock))?;
    Ok(())
}
