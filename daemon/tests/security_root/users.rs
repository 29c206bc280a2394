//! Who may enter a mount, and what programs and devices in it can do.

use crate::common::{LowerFs, Variant, Watchdog, bash, mount::temp_dir, shell, wait_until};
use std::{fs, path::Path, process::Command};

/// A mount made by a plain `shmfuse mount`, without the options that tests otherwise mount with.
struct Plain {
    dir: tempfile::TempDir,
    _watchdog: Watchdog,
}

impl Plain {
    fn new(name: &str, options: &[&str]) -> Self {
        let watchdog = Watchdog::start(name, crate::common::LIMIT);
        let dir = temp_dir(LowerFs::Disk);
        for name in ["lower", "mnt"] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        crate::common::watchdog::guard_mountpoint(&dir.path().join("mnt"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_shmfuse"));
        command.arg("mount").args(options);
        shell::run(command.args(["lower", "mnt"]).current_dir(dir.path()));
        Self {
            dir,
            _watchdog: watchdog,
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What a script says that is run in the directory of the test by nobody.
    fn nobody(&self, script: &str) -> String {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        let output = command.args(["sh", "-c", script]).current_dir(self.path());
        let output = shell::output(output);
        let both = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&both).into_owned()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let mnt = self.path().join("mnt");
        crate::common::watchdog::take_down(&mnt);
        crate::common::watchdog::release_mountpoint(&mnt);
    }
}

fn each_transport(name: &str, test: impl Fn(&str)) {
    for (variant, transport) in [
        (Variant::CLASSIC_COPY, "classic"),
        (Variant::SPLICE_COPY, "splice"),
        (Variant::URING_COPY, "uring"),
        (Variant::SHM_COPY, "shm"),
    ] {
        match variant.available() {
            Ok(()) => test(transport),
            Err(reason) => crate::common::skip::skip(name, &reason),
        }
    }
}

#[test]
#[ignore = "root"]
fn only_who_mounted_enters_unless_others_are_allowed() {
    each_transport("only_who_mounted_enters", |transport| {
        let alone = Plain::new("alone", &["--transport", transport]);
        bash(alone.path(), "echo secret >mnt/file; chmod 644 mnt/file");
        let said = alone.nobody("cat mnt/file; ls mnt; echo >mnt/new");
        assert!(!said.contains("secret"), "{said}");
        assert!(said.contains("Permission denied"), "{said}");
        drop(alone);

        let shared = Plain::new("shared", &["--transport", transport, "-o", "allow_other"]);
        bash(
            shared.path(),
            "cd mnt; echo open >file; echo secret >mine; chmod 600 mine; mkdir -m 700 closed
             echo secret >closed/file; mkdir -m 1777 tmp; touch tmp/roots",
        );
        assert_eq!(shared.nobody("cat mnt/file"), "open\n");
        let denied =
            shared.nobody("cat mnt/mine mnt/closed/file; ls mnt/closed; rm -f mnt/tmp/roots");
        assert!(!denied.contains("secret"), "{denied}");
        assert!(
            denied.matches("denied").count() + denied.matches("not permitted").count() >= 4,
            "{denied}"
        );
        assert_eq!(
            shared.nobody("echo mine >mnt/tmp/f; stat -c %u:%g mnt/tmp/f"),
            "65534:65534\n"
        );
    });
}

#[test]
#[ignore = "root"]
fn set_user_id_and_devices_are_off_unless_asked_for() {
    each_transport("set_user_id_and_devices", |transport| {
        // Made below, as somebody with access to the lower directory would.
        let plant =
            "cp $(command -v id) lower/id; chmod 4755 lower/id; mknod -m 666 lower/zero c 1 5";
        let usual = Plain::new("usual", &["--transport", transport, "-o", "allow_other"]);
        bash(usual.path(), plant);
        let options = bash(usual.path(), "findmnt -no OPTIONS mnt");
        assert!(
            options.contains("nosuid") && options.contains("nodev"),
            "{options}"
        );
        assert_eq!(usual.nobody("mnt/id -u"), "65534\n");
        let device = usual.nobody("head -c1 mnt/zero");
        assert!(device.contains("Permission denied"), "{device}");
        drop(usual);

        let asked = Plain::new(
            "asked",
            &["--transport", transport, "-o", "allow_other,suid,dev"],
        );
        bash(asked.path(), plant);
        assert_eq!(asked.nobody("mnt/id -u"), "0\n");
        assert_eq!(asked.nobody("head -c1 mnt/zero | wc -c"), "1\n");
    });
}

#[test]
#[ignore = "root"]
fn root_does_not_enter_the_mount_of_a_user() {
    let _watchdog = Watchdog::start("root_does_not_enter", crate::common::LIMIT);
    let dir = temp_dir(LowerFs::Disk);
    let program = dir.path().join("shmfuse");
    fs::copy(env!("CARGO_BIN_EXE_shmfuse"), program).expect("a copy of the program");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "bash", "-euo", "pipefail", "-c"])
        .arg(
            "cd $T; mkdir lower mnt; chown 65534:65534 lower mnt; echo theirs >lower/file
             mknod fuse c 10 229; chmod 666 fuse; mount --bind fuse /dev/fuse
             as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"; }
             as_nobody ./shmfuse mount lower mnt
             as_nobody cat mnt/file; cat mnt/file 2>&1 || true
             as_nobody ./shmfuse umount mnt",
        )
        .env("T", dir.path());
    let said = shell::run(&mut command);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "theirs");
    assert!(lines[1].contains("Permission denied"), "{said}");
    wait_until("the mount is gone", || {
        fs::remove_dir(dir.path().join("mnt")).is_ok()
    });
}
