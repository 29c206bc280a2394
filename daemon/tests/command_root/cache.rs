//! What `--cache` is by default, and where it cannot be had.

use super::{PROGRAM, Place, succeeds};
use crate::common::shell::output;
use std::{fs, process::Command};

#[test]
#[ignore = "root"]
fn the_kernel_believes_until_revoked_unless_it_is_told_otherwise_or_no_source_is_proven() {
    let place = Place::new("default_of_cache");
    let log = place.dir.path().join("log");
    let mounted = |options: &[&str]| {
        let log_file = ["--log-file", log.to_str().expect("UTF-8")];
        succeeds(&place.mount(&[&log_file[..], options].concat()));
        let stat = output(Command::new(PROGRAM).arg("stat").arg(&place.mnt));
        succeeds(&place.umount(&[]));
        let text = fs::read_to_string(&log).expect("the log");
        fs::remove_file(&log).expect("the log");
        (text, String::from_utf8_lossy(&stat.stdout).into_owned())
    };
    let (text, stat) = mounted(&[]);
    assert!(text.contains("changes below are reported by"), "{text}");
    assert!(text.contains("cache coherent"), "{text}");
    assert!(stat.contains("coherent by "), "{stat}");
    let instead = "--cache strict is taken instead of coherent";
    // Each of them: "create" is a change that every source must report.
    for options in [&[][..], &["--cache", "coherent"]] {
        let missing = [options, &["--selftest-misses", "create"]].concat();
        let (text, stat) = mounted(&missing);
        assert!(text.contains(instead), "{text}");
        assert!(text.contains("create was not reported"), "{text}");
        assert!(text.contains("cache strict"), "{text}");
        if text.contains("transport shm") {
            assert!(stat.contains("cache strict"), "{stat}");
            assert!(stat.contains("not coherent, for no source"), "{stat}");
        }
    }
    let (text, stat) = mounted(&["--cache", "strict"]);
    assert!(
        !text.contains(instead) && text.contains("cache strict"),
        "{text}"
    );
    assert!(!stat.contains("coherent"), "{stat}");
    assert_eq!(fs::read_dir(&place.lower).expect("LOWER").count(), 1);
}

#[test]
#[ignore = "root"]
fn a_user_without_privilege_is_told_that_the_mount_is_strict() {
    let place = Place::new("unprivileged_cache");
    let text = succeeds(&place.script(
        "open_device; mkdir logs; chmod 777 logs
         as_nobody shmfuse mount lower mnt --log-file logs/log; as_nobody cat mnt/file
         as_nobody shmfuse umount mnt; cat logs/log",
    ));
    assert!(
        text.contains("strict is taken instead of coherent"),
        "{text}"
    );
}
