//! Every kind of reply shows an inode alike.

use super::shown::{BOX, Shown, of, own, replace, shown};
use crate::common::{
    TestMount, Variant, bash,
    identity::{Who, acting, own_umask},
    stat,
};
use rustix::fs::{AtFlags, CWD, FileType, Mode, StatxFlags, mknodat, statx};
use std::{
    fs::{self, File},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::Path,
};

const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const FIFO: u32 = 0o010_000;

/// As statx(2) has it with the time of birth, which only STATX tells.
fn by_statx(path: &Path) -> Shown {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted).expect("statx");
    Shown(stat.stx_uid, stat.stx_gid, stat.stx_mode.into())
}

fn what_is_there_is_shown_alike_in_every_reply(mount: &TestMount) {
    let lower = mount.lower();
    bash(
        lower,
        "mkdir dir; touch dir/{1..40}; chmod 2755 dir; chmod 754 dir/*; ln -s x dir/link",
    );
    own(&lower.join("dir"), 100_005, 100_006);
    own(&lower.join("dir/link"), 100_009, 7);
    for n in 1..=40 {
        own(&lower.join(format!("dir/{n}")), 100_000 + n, 100_000);
    }
    replace(mount, BOX);
    let dir = mount.path().join("dir");
    // READDIRPLUS, and what the kernel made of it.
    let listed = bash(
        mount.path(),
        "find dir -mindepth 1 -type f -printf '%U %G %m %f\\n'",
    );
    assert_eq!(listed.lines().count(), 40);
    for line in listed.lines() {
        let name = line.split(' ').next_back().expect("a name");
        assert_eq!(line, format!("{name} 0 700 {name}"));
    }
    let file = dir.join("7");
    for _ in 0..4 {
        assert_eq!(of(&dir), Shown(5, 6, DIRECTORY | 0o2700));
        assert_eq!(of(&file), Shown(7, 0, FILE | 0o700));
        assert_eq!(by_statx(&file), Shown(7, 0, FILE | 0o700));
        let open = File::open(&file).expect("open");
        assert_eq!(
            shown(&open.metadata().expect("fstat")),
            Shown(7, 0, FILE | 0o700)
        );
        // The group 7 is not in the range, and nobody's who is shown as it: its number is taken.
        assert_eq!(of(&dir.join("link")), Shown(9, 65534, LINK | 0o700));
    }
    assert_eq!(
        of(&lower.join("dir/7")),
        Shown(100_007, 100_000, FILE | 0o754)
    );
}

fn what_is_made_belongs_to_its_maker_on_both_sides(mount: &TestMount) {
    own_umask();
    bash(mount.lower(), "mkdir -m 777 dir; mkdir -m 777 dir/open");
    own(&mount.lower().join("dir"), 100_000, 100_000);
    own(&mount.lower().join("dir/open"), 100_000, 100_000);
    replace(mount, BOX.replace("hide", "# hide").as_str());
    let (dir, lower) = (
        mount.path().join("dir/open"),
        mount.lower().join("dir/open"),
    );
    acting(Who::Member, 0o022, || {
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o666);
        let file = file.open(dir.join("file")).expect("CREATE");
        let expected = Shown(1000, 1000, FILE | 0o644);
        assert_eq!(shown(&file.metadata().expect("fstat")), expected);
        fs::DirBuilder::new()
            .mode(0o777)
            .create(dir.join("sub"))
            .expect("MKDIR");
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, dir.join("fifo"), FileType::Fifo, mode, 0).expect("MKNOD");
        symlink("file", dir.join("soft")).expect("SYMLINK");
        fs::hard_link(dir.join("file"), dir.join("hard")).expect("LINK");
    });
    let made = [
        ("file", FILE | 0o644),
        ("sub", DIRECTORY | 0o755),
        ("fifo", FIFO | 0o644),
        ("soft", LINK | 0o777),
        ("hard", FILE | 0o644),
    ];
    for (name, mode) in made {
        assert_eq!(of(&dir.join(name)), Shown(1000, 1000, mode), "{name}");
        assert_eq!(
            of(&lower.join(name)),
            Shown(101_000, 101_000, mode),
            "{name} below"
        );
    }
}

fn owner_and_mode_are_changed_both_ways(mount: &TestMount) {
    bash(mount.lower(), "touch file; chmod 654 file");
    own(&mount.lower().join("file"), 100_000, 100_000);
    replace(mount, BOX);
    let (file, lower) = (mount.path().join("file"), mount.lower().join("file"));
    assert_eq!(of(&file), Shown(0, 0, FILE | 0o600));
    own(&file, 20, 30);
    assert_eq!(of(&file), Shown(20, 30, FILE | 0o600));
    assert_eq!(of(&lower), Shown(100_020, 100_030, FILE | 0o654));
    // What is hidden stays as it is.
    let open = File::options().write(true).open(&file).expect("open");
    for mode in [0o400, 0o777, 0o4711, 0o640] {
        bash(mount.path(), &format!("chmod {mode:o} file"));
        assert_eq!(of(&file), Shown(20, 30, FILE | mode & !0o077));
        assert_eq!(shown(&open.metadata().expect("fstat")), of(&file));
        assert_eq!(
            of(&lower),
            Shown(100_020, 100_030, FILE | mode & !0o077 | 0o054)
        );
    }
    // Who has no number below cannot own anything.
    let refused = std::os::unix::fs::lchown(&file, Some(100_001), None);
    let errno = refused.expect_err("chown to nobody").raw_os_error();
    assert_eq!(errno, Some(libc::EOVERFLOW));
    // Ids in no range are the same on both sides.
    own(&file, 300_000, 300_001);
    assert_eq!(of(&file), of(&file));
    assert_eq!(of(&lower), Shown(300_000, 300_001, FILE | 0o654));
}

/// The same inode with programs that answer, and with the daemon alone.
fn programs_answer_what_the_daemon_answers(variant: Variant) {
    for s1 in ["on", "off"] {
        let mount = TestMount::builder(variant).args(&["--s1", s1]).mount();
        bash(
            mount.lower(),
            "mkdir dir; touch dir/file; chmod 777 dir dir/file",
        );
        own(&mount.lower().join("dir"), 100_000, 100_000);
        own(&mount.lower().join("dir/file"), 100_003, 100_004);
        let file = mount.path().join("dir/file");
        for rules in [BOX, "", &BOX.replace("077", "700")] {
            replace(&mount, rules);
            let expected = match rules {
                "" => Shown(100_003, 100_004, FILE | 0o777),
                BOX => Shown(3, 4, FILE | 0o700),
                _ => Shown(3, 4, FILE | 0o077),
            };
            for _ in 0..5 {
                assert_eq!(of(&file), expected, "s1 {s1}");
                assert_eq!(by_statx(&file), expected, "s1 {s1}");
            }
        }
        let answered = stat(mount.path())["totals"]["answered"].as_u64();
        assert_eq!(answered > Some(0), s1 == "on", "{answered:?}");
        mount.finish();
    }
}

for_every_way!(
    on_mount,
    [
        what_is_there_is_shown_alike_in_every_reply,
        what_is_made_belongs_to_its_maker_on_both_sides,
        owner_and_mode_are_changed_both_ways,
    ]
);
with_each_engine!([programs_answer_what_the_daemon_answers]);
