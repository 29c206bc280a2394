//! Extended attributes, ACLs and file flags, by the tools that users have.

use crate::common::{
    TestMount, bash,
    identity::{Who, acting},
};
use rustix::{
    fs::{CWD, XattrFlags, getxattr, listxattr, setxattr},
    io::Errno,
};
use std::{fs, path::Path};

/// What a script prints on the mount and in a plain directory.
fn same(mount: &TestMount, script: &str) {
    let [got, expected] = [mount.path(), mount.plain()].map(|dir| bash(dir, script));
    assert_eq!(got, expected, "{script}");
    assert!(!expected.is_empty(), "{script}");
}

fn attributes_are_set_listed_and_removed_as_below(mount: &TestMount) {
    same(
        mount,
        "touch file; mkdir dir; ln -s nowhere link
         for name in file dir; do
             setfattr -n user.one -v 1 $name; setfattr -n user.empty $name
             setfattr -n trusted.two -v 2 $name; setfattr -n user.three/slash -v 3 $name
             setfattr -n user.one -v other $name; setfattr -x user.three/slash $name
         done
         setfattr -h -n trusted.link -v l link
         setfattr -n nonsense.x -v 1 file 2>&1 || true
         setfattr -h -n user.link -v l link 2>&1 || true
         getfattr -h -d -m - file dir link | sort",
    );
}

fn lengths_are_judged_as_below(mount: &TestMount) {
    let [got, expected] = [mount.path(), mount.plain()].map(|dir| {
        let path = dir.join("file");
        fs::write(&path, "").unwrap();
        let set = |len| setxattr(&path, "user.x", &vec![7; len], XattrFlags::empty());
        let get = |room: usize| getxattr(&path, "user.x", vec![0; room].as_mut_slice());
        let list = |room: usize| listxattr(&path, vec![0; room].as_mut_slice());
        let mut results = Vec::new();
        for len in [0, 1, 1000, 4096, 60_000, 65_536, 65_537] {
            let set = set(len).map(|()| 0);
            let gets = [0, 1, 1000, 4095, 4096, 65_536].map(get);
            results.push((set, gets, [0, 6, 7, 100].map(list)));
        }
        results
    });
    assert_eq!(got, expected);
    assert!(
        expected
            .iter()
            .any(|(_, gets, _)| gets.contains(&Err(Errno::RANGE)))
    );
}

fn trusted_attributes_are_for_root_alone(mount: &TestMount) {
    let list = |path: &Path| {
        let mut names = [0; 100];
        let len = listxattr(path, &mut names[..]).unwrap();
        String::from_utf8(names[..len].to_vec()).unwrap()
    };
    let [got, expected] = [mount.path(), mount.plain()].map(|dir| {
        let path = dir.join("file");
        fs::write(&path, "").unwrap();
        for name in ["trusted.a", "user.b"] {
            setxattr(&path, name, b"1", XattrFlags::empty()).unwrap();
        }
        let get = || getxattr(&path, "trusted.a", &mut [0; 9][..]);
        acting(Who::Stranger, 0, || (list(&path), get()))
    });
    assert_eq!(got, expected);
    assert_eq!(expected, ("user.b\0".into(), Err(Errno::NODATA)));
}

fn acls_are_set_inherited_and_enforced_as_below(mount: &TestMount) {
    same(
        mount,
        "mkdir dir; setfacl -m u:1000:rwx,g:2000:rx,d:u:1000:rwx,d:g:2000:r,d:o::- dir
         umask 022; touch dir/file; mkdir dir/sub; (umask 077; touch dir/strict)
         setfacl -m u:3000:rw dir/file; chmod 750 dir/sub; setfacl -x g:2000 dir/strict
         setfacl -b dir/strict; chmod 2770 dir/file; setfacl -m g:1000:r dir/file
         getfacl -p -n dir dir/file dir/sub dir/strict; stat -c '%n %a' dir dir/*",
    );
    let [got, expected] = [mount.path(), mount.plain()].map(|dir| {
        let path = dir.join("dir/file");
        [Who::Member, Who::Stranger].map(|who| {
            acting(who, 0, || {
                let open = |flags| {
                    let mode = rustix::fs::Mode::empty();
                    rustix::fs::openat(CWD, &path, flags, mode).map(drop)
                };
                [
                    open(rustix::fs::OFlags::RDONLY),
                    open(rustix::fs::OFlags::RDWR),
                ]
            })
        })
    });
    assert_eq!(got, expected);
}

fn file_flags_are_shown_set_and_obeyed_as_below(mount: &TestMount) {
    same(
        mount,
        "touch file; mkdir dir; echo x >appended
         chattr +dA file; chattr +d dir; chattr -A file; chattr +a appended
         lsattr -d file dir appended
         echo y >>appended; { (echo z >appended) 2>&1 || true; } | sed 's/.*: //'
         lsattr -p file | cut -d' ' -f1
         chattr -a appended; chattr +i file; { (echo z >file) 2>&1 || true; } | sed 's/.*: //'
         chattr -i file
         cat appended",
    );
}

for_every_variant!(
    on_mount,
    [
        attributes_are_set_listed_and_removed_as_below,
        lengths_are_judged_as_below,
        trusted_attributes_are_for_root_alone,
        acls_are_set_inherited_and_enforced_as_below,
        file_flags_are_shown_set_and_obeyed_as_below,
    ]
);
