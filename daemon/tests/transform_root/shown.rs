//! What the tests share: rules put into force, and how a file is shown.

use crate::common::{Daemon, TestMount, run};
use std::{
    fs,
    os::unix::fs::{MetadataExt, lchown},
    path::Path,
    process::Command,
};

/// Users and groups from 100000 on are shown as those from 0 on, and only the owner's permissions.
pub const BOX: &str = r#"
    [[transform]]
    name = "box"
    uid = [{ below = 100000, shown = 0, count = 65536 }]
    gid = [{ below = 100000, shown = 0, count = 65536 }]
    hide = "077"
"#;

/// Puts these rules in the place of those in force. The root of the mount is root's by all of them: what is
/// nobody's not even root may enter (`capable_wrt_inode_uidgid`, kernel/capability.c).
pub fn replace(mount: &TestMount, rules: &str) {
    let is_mapped = rules.contains("shown = 0");
    let root = if is_mapped { 100_000 } else { 0 };
    own(mount.lower(), root, root);
    let file = mount.scratch().join("rules.toml");
    fs::write(&file, rules).expect("a file of rules");
    let mut command = Command::new(Daemon::program());
    let command = command.arg("rules").arg(mount.path()).arg("replace");
    run(command.arg(file));
}

/// Owner, group, type and mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown(pub u32, pub u32, pub u32);

/// Of what a path names, itself.
pub fn of(path: &Path) -> Shown {
    shown(&fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}")))
}

/// Of these attributes.
pub fn shown(meta: &fs::Metadata) -> Shown {
    Shown(meta.uid(), meta.gid(), meta.mode())
}

/// Gives what a path names an owner and a group.
pub fn own(path: &Path, uid: u32, gid: u32) {
    lchown(path, Some(uid), Some(gid)).unwrap_or_else(|error| panic!("{path:?}: {error}"));
}
