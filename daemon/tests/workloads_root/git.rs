//! git: clone, status, fsck, and the everyday commands between.

use crate::common::{TestMount, Tree, assert_same, run};
use std::{fs, path::Path, process::Command};

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
        .args(["-c", "protocol.file.allow=always", "-c", "gc.auto=0"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_DATE", "2001-02-03T04:05:06Z")
        .env("GIT_COMMITTER_DATE", "2001-02-03T04:05:06Z");
    run(&mut command)
}

/// A repository with some history: text, binary, executable and linked files, 40 directories.
fn make_repository(dir: &Path) {
    fs::create_dir(dir).unwrap();
    git(dir, &["init", "-q", "-b", "main", "."]);
    for commit in 0..5_u32 {
        for number in 0..40_u32 {
            let sub = dir.join(format!("dir{number}"));
            fs::create_dir_all(&sub).unwrap();
            let text = format!("file {number} of commit {commit}\n").repeat(50);
            fs::write(sub.join(format!("file{}", number % (commit + 1))), text).unwrap();
        }
        let noise: Vec<u8> = (0..200_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(commit) >> 13) as u8)
            .collect();
        fs::write(dir.join("noise"), noise).unwrap();
        if commit == 0 {
            std::os::unix::fs::symlink("dir1/file0", dir.join("link")).unwrap();
            fs::write(dir.join("tool"), "#!/bin/sh\n").unwrap();
            crate::common::bash(dir, "chmod +x tool");
        }
        git(dir, &["add", "-A"]);
        git(dir, &["commit", "-q", "-m", &format!("commit {commit}")]);
    }
}

fn a_git_clone_is_clean_whole_and_usable(mount: &TestMount) {
    let origin = mount.scratch().join("origin");
    make_repository(&origin);
    let url = format!("file://{}", origin.display());
    for dir in [mount.path(), mount.plain()] {
        git(dir, &["clone", "-q", &url, "clone"]);
        let clone = dir.join("clone");
        assert_eq!(git(&clone, &["status", "--porcelain"]), "");
        git(&clone, &["fsck", "--full", "--strict"]);
        fs::write(clone.join("dir3/file0"), "changed\n").unwrap();
        fs::write(clone.join("new"), "new\n").unwrap();
        fs::remove_file(clone.join("tool")).unwrap();
        let changes = git(&clone, &["status", "--porcelain"]);
        assert_eq!(changes, " M dir3/file0\n D tool\n?? new\n");
        git(&clone, &["switch", "-q", "-c", "work"]);
        git(&clone, &["add", "-A"]);
        git(&clone, &["commit", "-q", "-m", "work"]);
        git(&clone, &["switch", "-q", "main"]);
        git(&clone, &["merge", "-q", "work"]);
        git(&clone, &["mv", "dir5", "moved"]);
        git(&clone, &["stash", "-q"]);
        git(&clone, &["stash", "pop", "-q", "--index"]);
        git(&clone, &["commit", "-q", "-m", "moved"]);
        git(&clone, &["gc", "-q"]);
        git(&clone, &["fsck", "--full", "--strict"]);
        assert_eq!(git(&clone, &["status", "--porcelain"]), "");
    }
    let [on_mount, on_plain, below] = [mount.path(), mount.plain(), mount.lower()]
        .map(|dir| Tree::of(&dir.join("clone")).without(".git"));
    assert_same(
        "clone on the mount and on a plain directory",
        &on_mount,
        &on_plain,
    );
    assert_same("clone on the mount and below it", &on_mount, &below);
    let [mounted, plain] = [mount.path(), mount.plain()]
        .map(|dir| git(&dir.join("clone"), &["log", "--format=%H %T %s"]));
    assert_eq!(mounted, plain);
}

for_every_variant_and_writeback!(on_mount, [a_git_clone_is_clean_whole_and_usable]);
