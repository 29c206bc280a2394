//! Many processes at once, each of which has a file open.

use crate::common::{TestMount, child::Forked};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _, pipe},
};

/// Files that they share.
const FILES: usize = 50;

fn opened_by(mount: &TestMount, count: usize) {
    for number in 0..FILES {
        fs::write(mount.lower().join(number.to_string()), number.to_string()).unwrap();
    }
    let (mut opened, open) = pipe().expect("a pipe");
    let (over, mut go_on) = pipe().expect("a pipe");
    let processes: Vec<_> = (0..count)
        .map(|number| {
            let (path, number) = (mount.path(), number % FILES);
            let (mut open, mut over) = (&open, &over);
            Forked::start(move || {
                let mut file = File::open(path.join(number.to_string())).expect("a file");
                open.write_all(b"x").expect("the pipe");
                over.read_exact(&mut [0]).expect("the pipe");
                let mut text = String::new();
                file.read_to_string(&mut text).expect("its content");
                assert_eq!(text, number.to_string());
            })
        })
        .collect();
    let mut all = vec![0; count];
    opened.read_exact(&mut all).expect("each has its file open");
    go_on.write_all(&all).expect("each is told");
    processes.into_iter().for_each(Forked::join);
}

fn hundreds_of_processes_have_files_open(mount: &TestMount) {
    opened_by(mount, 300);
}

/// More than a daemon with 20,000 descriptors has room for, and than there are process numbers, is not asked for.
fn ten_thousand_processes_have_files_open(mount: &TestMount) {
    opened_by(mount, 10_000);
}

for_every_transport!(on_mount, [hundreds_of_processes_have_files_open]);
mod full_run_10_000 {
    use super::*;
    for_every_transport!(on_mount, [ten_thousand_processes_have_files_open]);
}
