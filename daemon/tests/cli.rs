//! The command as its users meet it: what it says, on which stream, with which exit status.
//!
//! Nothing here mounts: what does is in `command_root.rs`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt as _,
    process::{Command, Output},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_shmfuse");

/// Runs the command with backtraces asked for: none may ever be seen.
fn shmfuse<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(PROGRAM)
        .args(args)
        .env("RUST_BACKTRACE", "full")
        .output()
        .expect("the command runs")
}

/// What it says when it refuses, which must be one line that begins with its name.
#[track_caller]
fn refusal<S: AsRef<OsStr>>(status: i32, args: impl IntoIterator<Item = S>) -> String {
    refusal_of(status, &shmfuse(args))
}

#[track_caller]
fn refusal_of(status: i32, output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty());
    let text = said.strip_prefix("shmfuse: ").expect("its name in front");
    text.trim_end().to_owned()
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no '{part}' in: {text}");
    }
}

/// Two directories, `lower` and `mnt`. Every test that names a lower directory names one of these: should
/// it be mounted against all expectation, then the end of the test removes what is in it through the
/// mount.
fn places() -> (TempDir, String, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).expect("a directory");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (lower, mnt) = (place("lower"), place("mnt"));
    (dir, lower, mnt)
}

#[test]
fn help_names_every_command_and_ends_with_status_0() {
    let output = shmfuse(["--help"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_has(&text, &["mount", "umount"]);
}

#[test]
fn help_of_mount_gives_units_ranges_and_defaults() {
    let output = shmfuse(["mount", "--help"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_has(&text, &["in bytes", "4K to 1M", "[default: 1M]"]);
    assert_has(&text, &["[default: auto]", "allow_other"]);
    assert!(!text.contains("lower-delay"), "a test's option is shown");
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = shmfuse(["--version"]);
    let expected = format!("shmfuse {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn wrong_usage_ends_with_status_2() {
    let none: [&str; 0] = [];
    assert_has(&refusal(2, none), &["no command"]);
    assert_has(&refusal(2, ["frobnicate"]), &["frobnicate"]);
    assert_has(&refusal(2, ["mount"]), &["LOWER", "MOUNTPOINT"]);
    let (_dir, lower, mnt) = places();
    let text = refusal(2, ["mount", &lower, &mnt, "/usr"]);
    assert_has(&text, &["/usr"]);
    let text = refusal(2, ["mount", "--wizardry", &lower, &mnt]);
    assert_has(&text, &["--wizardry"]);
    let text = refusal(2, ["umount", "-l", "-f", "/mnt"]);
    assert_has(&text, &["--lazy", "--force"]);
}

#[test]
fn what_keeps_pages_is_refused_where_there_are_none_to_keep() {
    let (_dir, lower, mnt) = places();
    let places = [lower.as_str(), mnt.as_str()];
    for option in ["--no-open", "--writeback"] {
        let strict = ["mount", option, "--cache", "strict"];
        let text = refusal(1, strict.into_iter().chain(places));
        assert_has(&text, &[option, "strict", "--cache coherent"]);
        let cached = ["mount", option, "--cache", "ttl=1", "--data", "passthrough"];
        let text = refusal(1, cached.into_iter().chain(places));
        assert_has(&text, &[option, "--data passthrough", "leave out"]);
    }
}

#[test]
fn a_bad_value_names_the_option_the_value_and_what_would_do() {
    let (_dir, lower, mnt) = places();
    for (option, value, would_do) in [
        ("--transport", "pigeon", "classic, splice, uring"),
        ("--data", "mirror", "copy, passthrough, auto"),
        ("--cache", "forever", "ttl=SECONDS"),
        ("--cache", "ttl=soon", "seconds"),
        ("--threads", "0", "between 1 and 1024"),
        ("--queue-depth", "257", "between 1 and 256"),
        ("--max-write", "1000", "multiple of 4K"),
        ("--max-write", "2M", "1M"),
        ("--max-background", "65536", "65535"),
        ("--log-level", "loud", "error, warn, info"),
        ("--head-len", "6000", "multiple of 4K"),
        ("--memory-max", "lots", "64M"),
        ("--lower-delay", "5", "50ms:slow*"),
    ] {
        let assigned = format!("{option}={value}");
        let text = refusal(1, ["mount", &lower, &mnt, &assigned]);
        assert_has(&text, &[option, value, would_do]);
        let key = option.trim_start_matches("--").replace('-', "_");
        let listed = format!("ro,{key}={value}");
        assert_eq!(refusal(1, ["mount", &lower, &mnt, "-o", &listed]), text);
    }
}

#[test]
fn a_bad_mount_option_is_named() {
    let (_dir, lower, mnt) = places();
    for (list, parts) in [
        ("wizardry", ["-o wizardry", "unknown"]),
        ("allow_other=yes", ["-o allow_other=yes", "no value"]),
        ("fsname", ["-o fsname", "needs a value"]),
        ("max_read=much", ["-o max_read=much", "bytes"]),
        ("transport", ["--transport", "missing"]),
    ] {
        assert_has(&refusal(1, ["mount", &lower, &mnt, "-o", list]), &parts);
    }
}

#[test]
fn a_missing_directory_is_named_with_the_remedy() {
    let (_dir, lower, mnt) = places();
    let text = refusal(1, ["mount", "/no/such/lower", &mnt]);
    assert_has(&text, &["/no/such/lower", "No such file"]);
    assert_has(&text, &["(create the lower directory"]);
    let text = refusal(1, ["mount", &lower, "/no/such/mnt"]);
    assert_has(&text, &["/no/such/mnt", "No such file"]);
    assert_has(&text, &["(create the mountpoint"]);
}

#[test]
fn a_file_is_no_directory_to_mount_or_to_mount_on() {
    let (dir, lower, mnt) = places();
    let file = dir.path().join("file");
    fs::write(&file, "").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let text = refusal(1, ["mount", file, &mnt]);
    assert_has(&text, &[file, "not a directory"]);
    let text = refusal(1, ["mount", &lower, file]);
    assert_has(&text, &[file, "not a directory"]);
}

#[test]
fn a_log_file_that_cannot_be_written_is_named() {
    let (_dir, lower, mnt) = places();
    let text = refusal(1, ["mount", "--log-file", "/no/such/log", &lower, &mnt]);
    assert_has(&text, &["/no/such/log", "No such file"]);
}

#[test]
fn what_is_not_mounted_is_not_unmounted() {
    let (_dir, _, mnt) = places();
    assert_has(&refusal(1, ["umount", &mnt]), &[&mnt, "not mounted there"]);
    let text = refusal(1, ["umount", "/proc"]);
    assert_has(&text, &["/proc", "not mounted there"]);
}

#[test]
fn the_helper_of_mount_says_the_same_in_one_line() {
    let helper = |args: &[&str]| {
        Command::new(PROGRAM)
            .arg0("/sbin/mount.fuse.shmfuse")
            .args(args)
            .output()
            .expect("the command runs")
    };
    let (_dir, lower, mnt) = places();
    let output = helper(&["/no/such/lower", &mnt, "-o", "rw,nofail"]);
    assert_has(&refusal_of(1, &output), &["/no/such/lower"]);
    let output = helper(&[&lower, &mnt, "-o", "wizardry"]);
    assert_has(&refusal_of(1, &output), &["-o wizardry"]);
    let output = helper(&[&lower]);
    assert_has(&refusal_of(2, &output), &["MOUNTPOINT"]);
}

#[test]
fn a_fake_mount_checks_and_mounts_nothing() {
    let (_dir, lower, mnt) = places();
    let output = Command::new(PROGRAM)
        .arg0("mount.fuse.shmfuse")
        .args([&lower, &mnt, "-s", "-f", "-n", "-v", "-o"])
        .args(["rw,wizardry,transport=classic", "-t", "fuse.shmfuse"])
        .output()
        .expect("the command runs");
    assert!(output.status.success(), "{output:?}");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
    assert!(!mounts.contains(&mnt));
}

#[test]
fn man_pages_and_completions_know_every_option() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = dir.path().join("made");
    for what in ["man", "completions"] {
        let args = [OsStr::new("generate"), OsStr::new(what), place.as_os_str()];
        let output = shmfuse(args);
        assert!(output.status.success(), "{output:?}");
    }
    let read = |name: &str| {
        let text = fs::read_to_string(place.join(name)).expect(name);
        // Of a man page, what is read.
        text.replace('\\', "")
    };
    let page = read("shmfuse-mount.8");
    let completions = [read("shmfuse.bash"), read("_shmfuse")];
    for option in [
        "--transport",
        "--data",
        "--cache",
        "--threads",
        "--max-write",
    ] {
        assert_has(&page, &[option]);
        completions
            .iter()
            .for_each(|text| assert_has(text, &[option]));
    }
    assert_has(&page, &["allow_other", "Exit status"]);
    assert_has(&read("shmfuse.fish"), &["uring"]);
    assert_has(&read("shmfuse.8"), &["umount"]);
    assert_has(&read("shmfuse-umount.8"), &["--lazy"]);
    assert_has(&read("mount.fuse.shmfuse.8"), &["MOUNTPOINT"]);
}

#[test]
fn doctor_names_what_is_missing_with_a_way_to_turn_it_on() {
    let output = shmfuse(["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["can_mount"], output.status.success());
    let checks = report["checks"].as_array().expect("checks");
    for check in checks {
        let text = |key: &str| check[key].as_str().expect(key);
        assert!(!text("enables").is_empty(), "{check}");
        assert_eq!(
            text("status") == "yes",
            text("remedy").is_empty(),
            "{check}"
        );
    }
    let table = shmfuse(["doctor"]);
    assert_eq!(table.status.code(), output.status.code());
    let table = String::from_utf8_lossy(&table.stdout);
    for check in checks {
        assert_has(&table, &[check["name"].as_str().expect("a name")]);
    }
    assert_has(&table, &["FUSE", "io_uring", "BPF", "tracing", "mount"]);
}
