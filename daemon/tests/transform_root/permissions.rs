//! The kernel checks permissions by what is shown.

use super::shown::{BOX, own, replace};
use crate::common::{
    TestMount, bash,
    identity::{Who, acting, own_umask},
};
use std::{
    fs::{self, File},
    io::{Error, ErrorKind},
    path::Path,
};

fn write(path: &Path) -> Result<(), ErrorKind> {
    let open = File::options().append(true).open(path);
    open.map(drop).map_err(|error| error.kind())
}

fn read(path: &Path) -> Result<(), ErrorKind> {
    File::open(path).map(drop).map_err(|error| error.kind())
}

fn who_is_shown_as_the_owner_is_the_owner(mount: &TestMount) {
    bash(
        mount.lower(),
        "touch mine same; chmod 600 mine; chmod 606 same",
    );
    own(&mount.lower().join("mine"), 101_000, 101_000);
    // By number the caller's own, but 1000 is what 101000 is shown as.
    own(&mount.lower().join("same"), 1000, 1000);
    replace(mount, &BOX.replace("hide", "# hide"));
    let (mine, same) = (mount.path().join("mine"), mount.path().join("same"));
    acting(Who::Member, 0, || {
        assert_eq!(write(&mine), Ok(()));
        fs::set_permissions(&mine, fs::metadata(&mine).expect("stat").permissions())
            .expect("chmod by the owner");
        // The kernel lets nobody write what is nobody's (`HAS_UNMAPPED_ID`, include/linux/fs.h).
        assert_eq!(write(&same), Err(ErrorKind::PermissionDenied));
        let chmod = fs::set_permissions(&same, fs::metadata(&mine).expect("stat").permissions());
        assert!(chmod.is_err());
    });
    acting(Who::Stranger, 0, || {
        assert_eq!(write(&mine), Err(ErrorKind::PermissionDenied));
    });
}

fn what_is_hidden_is_not_allowed(mount: &TestMount) {
    bash(
        mount.lower(),
        "touch open; chmod 666 open; chown 100000:100000 open",
    );
    let open = mount.path().join("open");
    acting(Who::Stranger, 0, || assert_eq!(read(&open), Ok(())));
    // Directories can be passed through, and nothing can be read.
    replace(mount, &BOX.replace("077", "044"));
    acting(Who::Stranger, 0, || {
        assert_eq!(read(&open), Err(ErrorKind::PermissionDenied));
    });
    replace(mount, "");
    acting(Who::Stranger, 0, || assert_eq!(read(&open), Ok(())));
}

fn who_has_no_number_below_makes_nothing(mount: &TestMount) {
    own_umask();
    bash(mount.lower(), "mkdir -m 777 dir");
    let rules = r#"
        [[transform]]
        name = "one"
        uid = [{ below = 3000, shown = 1000, count = 1 }]
    "#;
    replace(mount, rules);
    let dir = mount.path().join("dir");
    let make = |name: &str| File::create(dir.join(name)).map(drop);
    acting(Who::Member, 0, || make("by-3000-below").expect("CREATE"));
    let refused = acting(Who::Stranger, 0, || make("by-nobody"));
    let errno = refused.as_ref().map_err(Error::raw_os_error);
    assert_eq!(errno, Err(Some(libc::EOVERFLOW)));
    assert!(!mount.lower().join("dir/by-nobody").exists());
}

for_every_way!(
    on_mount,
    [
        who_is_shown_as_the_owner_is_the_owner,
        what_is_hidden_is_not_allowed,
        who_has_no_number_below_makes_nothing,
    ]
);
