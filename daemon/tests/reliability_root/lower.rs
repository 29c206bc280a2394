//! The lower file system is full, read-only, gone, or fails.

use crate::common::{LowerFs, TestMount, Variant, bash, mount::temp_dir, wait_until};
use nix::errno::Errno;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A small file system of its own, mounted in a directory of the test, and unmounted at the end.
struct Small {
    dir: TempDir,
    place: &'static str,
}

impl Small {
    /// A tmpfs of so many bytes, as mount(8) reads them.
    fn tmpfs(size: &str) -> Self {
        let dir = temp_dir(LowerFs::Disk);
        let script =
            format!("mkdir fs; mount -t tmpfs -o size={size},mode=755 tmpfs fs; mkdir fs/lower");
        bash(dir.path(), &script);
        Self { dir, place: "fs" }
    }

    /// An ext4 that believes to have 64 MiB, on a tmpfs that holds 16: what is written beyond fails when it
    /// is written back.
    fn failing() -> Self {
        let dir = temp_dir(LowerFs::Disk);
        bash(
            dir.path(),
            "mkdir below fs; mount -t tmpfs -o size=16M tmpfs below
             truncate -s 64M below/image; mkfs.ext4 -q -E lazy_itable_init=1,nodiscard -J size=4 below/image
             mount -t ext4 -o loop,errors=continue below/image fs; mkdir fs/lower",
        );
        Self { dir, place: "fs" }
    }

    /// An ext4 whose device can be cut short: what lies beyond its end cannot be read (`lo_complete_rq`,
    /// drivers/block/loop.c: a read that gets nothing is an I/O error).
    fn cut() -> Self {
        let dir = temp_dir(LowerFs::Disk);
        bash(
            dir.path(),
            "mkdir below fs; mount -t tmpfs -o size=80M tmpfs below; truncate -s 64M below/image
             mkfs.ext4 -q -b 4096 -E lazy_itable_init=1,nodiscard -J size=4 below/image
             mount -t ext4 -o loop,errors=continue below/image fs; mkdir fs/lower",
        );
        Self { dir, place: "fs" }
    }

    fn lower(&self) -> PathBuf {
        self.dir.path().join(self.place).join("lower")
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        bash(
            self.path(),
            "for at in fs below; do umount -l $at 2>/dev/null || true; done",
        );
    }
}

#[track_caller]
fn errno<T>(result: io::Result<T>) -> Option<Errno> {
    let error = result.err()?;
    error.raw_os_error().map(Errno::from_raw)
}

fn a_full_lower_file_system_is_enospc_and_what_is_there_stays(variant: Variant) {
    let small = Small::tmpfs("4m");
    let mount = TestMount::builder(variant).lower(&small.lower()).mount();
    let kept = vec![7; 1 << 20];
    let mut file = File::create(mount.path().join("kept")).unwrap();
    file.write_all(&kept).unwrap();
    file.sync_all().unwrap();
    let filled = File::create(mount.path().join("filler")).and_then(|mut filler| {
        let piece = vec![1; 1 << 16];
        (0..128).try_for_each(|_| filler.write_all(&piece))
    });
    assert_eq!(errno(filled), Some(Errno::ENOSPC));
    assert_eq!(fs::read(mount.path().join("kept")).unwrap(), kept);
    // Room again once the kernel has told the daemon that nobody has the file any more, which it does
    // in the background; and all goes on.
    fs::remove_file(mount.path().join("filler")).unwrap();
    wait_until("there is room", || {
        fs::write(mount.path().join("after"), &kept).is_ok()
    });
    assert_eq!(fs::read(small.lower().join("after")).unwrap(), kept);
    drop(file);
    mount.finish();
}

fn a_lower_file_system_that_becomes_read_only_is_erofs_until_it_is_not(variant: Variant) {
    let small = Small::tmpfs("8m");
    let mount = TestMount::builder(variant).lower(&small.lower()).mount();
    fs::write(mount.path().join("file"), "content").unwrap();
    bash(small.path(), "mount -o remount,ro fs");
    assert_eq!(
        fs::read_to_string(mount.path().join("file")).unwrap(),
        "content"
    );
    for result in [
        fs::write(mount.path().join("file"), "other"),
        fs::write(mount.path().join("new"), "x"),
        fs::create_dir(mount.path().join("dir")),
        fs::remove_file(mount.path().join("file")),
    ] {
        assert_eq!(errno(result), Some(Errno::EROFS));
    }
    bash(small.path(), "mount -o remount,rw fs");
    fs::write(mount.path().join("new"), "x").unwrap();
    assert_eq!(
        fs::read_to_string(mount.path().join("file")).unwrap(),
        "content"
    );
    mount.finish();
}

fn a_lower_file_system_that_is_unmounted_is_served_to_the_end_of_the_mount(variant: Variant) {
    let small = Small::tmpfs("8m");
    let mount = TestMount::builder(variant).lower(&small.lower()).mount();
    fs::write(mount.path().join("file"), "content").unwrap();
    bash(small.path(), "umount fs");
    assert!(!small.lower().exists());
    assert_eq!(
        fs::read_to_string(mount.path().join("file")).unwrap(),
        "content"
    );
    fs::write(mount.path().join("new"), "x").unwrap();
    assert_eq!(bash(mount.path(), "ls"), "file\nnew\n");
    mount.finish();
}

fn a_lower_file_system_that_fails_fails_fsync_and_loses_nothing_acknowledged(variant: Variant) {
    let small = Small::failing();
    let mount = TestMount::builder(variant).lower(&small.lower()).mount();
    let mut kept = File::create(mount.path().join("kept")).unwrap();
    kept.write_all(&[7; 1 << 20]).unwrap();
    kept.sync_all().unwrap();
    // ext4 has room, the device has not: the failure comes with write-back.
    let mut file = File::create(mount.path().join("large")).unwrap();
    let piece = vec![1; 1 << 20];
    let outcome = (0..32)
        .try_for_each(|_| file.write_all(&piece))
        .and_then(|()| file.sync_all());
    let found = errno(outcome);
    assert!(
        matches!(found, Some(Errno::EIO | Errno::ENOSPC | Errno::EROFS)),
        "{found:?}"
    );
    // Past the page cache: what was acknowledged is on the device.
    bash(small.path(), "echo 1 >/proc/sys/vm/drop_caches");
    assert_eq!(
        fs::read(mount.path().join("kept")).unwrap(),
        vec![7; 1 << 20]
    );
    drop((file, kept));
    // The daemon has nothing to complain of: the errors were the lower file system's.
    mount.finish();
}

fn what_the_device_cannot_read_is_eio_and_the_rest_goes_on(variant: Variant) {
    let small = Small::cut();
    bash(
        small.path(),
        "for f in good bad; do head -c 4M /dev/zero | tr '\\0' x >fs/lower/$f; sync -f fs; done",
    );
    let mount = TestMount::builder(variant).lower(&small.lower()).mount();
    // The second is allocated behind the first; the device ends where it begins, and neither is in memory. Whatever is
    // written behind the end makes the device longer: what mounting tries below is over.
    bash(
        small.path(),
        "sync -f fs
         start() { filefrag -e -b4096 fs/lower/$1 | awk '/^ *0:/{print $4 + 0}'; }
         test $(start good) -lt $(start bad); truncate -s $(($(start bad) * 4096)) below/image
         for f in good bad; do dd of=fs/lower/$f oflag=nocache conv=notrunc,fdatasync count=0 status=none; done",
    );
    let (good, bad) = (mount.path().join("good"), mount.path().join("bad"));
    for _ in 0..2 {
        assert_eq!(errno(fs::read(&bad)), Some(Errno::EIO));
        assert_eq!(fs::read(&good).unwrap(), vec![b'x'; 4 << 20]);
    }
    assert_eq!(fs::metadata(&bad).unwrap().len(), 4 << 20);
    let copied = bash(
        mount.path(),
        "cp --reflink=never bad copy 2>&1 || echo failed",
    );
    assert!(copied.contains("Input/output error"), "{copied}");
    // The device is whole again, though not what it held.
    bash(small.path(), "truncate -s 64M below/image");
    assert_eq!(fs::read(&bad).unwrap(), vec![0; 4 << 20]);
    assert_eq!(fs::read(&good).unwrap(), vec![b'x'; 4 << 20]);
    mount.finish();
}

for_every_daemon_variant!(
    on_variant,
    [
        a_full_lower_file_system_is_enospc_and_what_is_there_stays,
        a_lower_file_system_that_fails_fails_fsync_and_loses_nothing_acknowledged,
    ]
);

mod names {
    use super::*;
    for_every_transport!(
        on_variant,
        [
            a_lower_file_system_that_becomes_read_only_is_erofs_until_it_is_not,
            a_lower_file_system_that_is_unmounted_is_served_to_the_end_of_the_mount,
            what_the_device_cannot_read_is_eio_and_the_rest_goes_on,
        ]
    );
    variant_tests!(
        classic_passthrough_strict,
        Variant::CLASSIC_PASSTHROUGH,
        on_variant,
        [what_the_device_cannot_read_is_eio_and_the_rest_goes_on]
    );
}
