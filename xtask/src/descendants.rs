//! The processes that this one started, and those that they started, to any depth.

use std::{collections::HashMap, fmt, fs, process};

use anyhow::{Context, Result};
use nix::{
    sys::{prctl, signal},
    unistd::Pid,
};

/// A process below ours that still runs.
pub struct Descendant {
    pid: i32,
    name: String,
}

impl fmt::Display for Descendant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.pid)
    }
}

/// Makes processes that lose their parent ours, if they are below us: a daemon that detaches
/// itself, even into a session of its own, stays a descendant.
pub fn adopt_orphans() -> Result<()> {
    prctl::set_child_subreaper(true).context("cannot adopt orphaned processes (prctl)")
}

/// All of them but the dead that nobody has asked after yet.
pub fn list() -> Vec<Descendant> {
    let mut children: HashMap<i32, Vec<Descendant>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some((parent, child)) = parse(&stat) {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut found = children.remove(&(process::id() as i32)).unwrap_or_default();
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        found.extend(children.remove(&parent.pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// Sends SIGKILL to all of them.
pub fn kill() {
    for descendant in list() {
        // gone already, which is as good
        let _ = signal::kill(Pid::from_raw(descendant.pid), signal::Signal::SIGKILL);
    }
}

/// `pid (name) state ppid ...`, proc_pid_stat(5): the parent and the process, if it is alive.
fn parse(stat: &str) -> Option<(i32, Descendant)> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut rest = rest.split(' ');
    let state = rest.next()?;
    let parent = rest.next()?.parse().ok()?;
    let descendant = Descendant {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
    };
    (!["Z", "X"].contains(&state)).then_some((parent, descendant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let (parent, child) = parse("17 (a) b (c) S 3 17 17 0").unwrap();
        assert_eq!((parent, child.to_string()), (3, "a) b (c (17)".to_owned()));
    }

    #[test]
    fn the_dead_do_not_count() {
        assert!(parse("17 (sh) Z 3 17 17 0").is_none());
    }
}
