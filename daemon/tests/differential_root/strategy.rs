//! Which operations are tried, and how often.

use super::op::{Name, Op, PATHS, SLOTS, Step, Time};
use crate::common::{acl, identity::Who};
use proptest::{collection::vec, option, prelude::*, sample::select};
use rustix::fs::{AtFlags, FallocateFlags, OFlags, RenameFlags, XattrFlags};

/// A sequence of up to `steps` steps.
pub fn sequence(steps: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), steps / 2..=steps)
}

fn step() -> impl Strategy<Value = Step> {
    let who = prop_oneof![5 => Just(Who::Root), 4 => Just(Who::Member), 1 => Just(Who::Stranger)];
    (who, select(vec![0, 0o022, 0o077]), op()).prop_map(|(who, umask, op)| Step { who, umask, op })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![8 => on_open_files(), 6 => on_names(), 5 => on_attributes()]
}

fn name() -> impl Strategy<Value = Name> {
    (0..PATHS.len()).prop_map(Name)
}

/// Names under which files lie at the start, more often than others.
fn file() -> impl Strategy<Value = Name> {
    let files: Vec<_> = (0..PATHS.len())
        .filter(|&index| PATHS[index].ends_with(['a', 'b']))
        .collect();
    prop_oneof![6 => select(files).prop_map(Name), 1 => name()]
}

/// Names under which directories lie at the start, more often than others.
fn dir() -> impl Strategy<Value = Name> {
    let dirs: Vec<_> = (0..PATHS.len())
        .filter(|&index| !PATHS[index].ends_with(['a', 'b']))
        .collect();
    prop_oneof![6 => select(dirs).prop_map(Name), 1 => name()]
}

fn slot() -> impl Strategy<Value = usize> {
    0..SLOTS
}

/// Offsets: near the start, near page boundaries, anywhere in 300 KiB.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..100_u64,
        (0..75_u64, 0..3_u64).prop_map(|(page, near)| (page * 4096 + near).saturating_sub(1)),
        0..300_000_u64,
    ]
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![0..64_usize, 4000..4200_usize, 1..200_000_usize]
}

/// Any of these flags, each as likely set as not in `often` of ten cases.
fn flags(each: &'static [(OFlags, u32)]) -> impl Strategy<Value = OFlags> {
    vec(0..10_u32, each.len()).prop_map(move |draws| {
        each.iter()
            .zip(draws)
            .filter(|((_, often), draw)| draw < often)
            .fold(OFlags::empty(), |all, ((flag, _), _)| all | *flag)
    })
}

fn access_mode() -> impl Strategy<Value = OFlags> {
    select(vec![
        OFlags::RDWR,
        OFlags::RDWR,
        OFlags::RDONLY,
        OFlags::WRONLY,
    ])
}

fn open_flags() -> impl Strategy<Value = OFlags> {
    let others = flags(&[
        (OFlags::CREATE, 6),
        (OFlags::EXCL, 2),
        (OFlags::TRUNC, 2),
        (OFlags::APPEND, 2),
        (OFlags::NOFOLLOW, 1),
        (OFlags::NOATIME, 1),
        (OFlags::DSYNC, 1),
    ]);
    (access_mode(), others).prop_map(|(mode, others)| mode | others)
}

fn mode() -> impl Strategy<Value = u32> {
    prop_oneof![
        select(vec![
            0o644, 0o666, 0o600, 0o755, 0o777, 0o4755, 0o2755, 0o6777, 0o2644
        ]),
        0..0o10000_u32,
    ]
}

fn on_open_files() -> impl Strategy<Value = Op> {
    // Collapse, insert and unshare are refused by the kernel before the daemon hears of them
    // (fs/fuse/file.c, fuse_file_fallocate).
    let allocation = select(vec![
        FallocateFlags::empty(),
        FallocateFlags::KEEP_SIZE,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        FallocateFlags::PUNCH_HOLE,
        FallocateFlags::ZERO_RANGE,
        FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
    ]);
    prop_oneof![
        8 => (slot(), file(), open_flags(), mode())
            .prop_map(|(slot, name, flags, mode)| Op::Open { slot, name, flags, mode }),
        2 => (slot(), dir(), access_mode(), flags(&[(OFlags::EXCL, 2)]), mode())
            .prop_map(|(slot, name, access, excl, mode)|
                Op::Tmpfile { slot, name, flags: access | excl, mode }),
        2 => (slot(), name()).prop_map(|(slot, to)| Op::LinkOpen { slot, to }),
        1 => slot().prop_map(|slot| Op::Close { slot }),
        2 => (slot(), len()).prop_map(|(slot, len)| Op::Read { slot, len }),
        4 => (slot(), offset(), len()).prop_map(|(slot, at, len)| Op::ReadAt { slot, at, len }),
        3 => (slot(), len(), 1..=255_u8)
            .prop_map(|(slot, len, byte)| Op::Write { slot, len, byte }),
        5 => (slot(), offset(), len(), 1..=255_u8)
            .prop_map(|(slot, at, len, byte)| Op::WriteAt { slot, at, len, byte }),
        2 => (slot(), offset()).prop_map(|(slot, len)| Op::SetLen { slot, len }),
        2 => (slot(), allocation, offset(), 0..100_000_u64)
            .prop_map(|(slot, flags, at, len)| Op::Allocate { slot, flags, at, len }),
        1 => (slot(), offset()).prop_map(|(slot, at)| Op::SeekData { slot, at }),
        1 => (slot(), offset()).prop_map(|(slot, at)| Op::SeekHole { slot, at }),
        2 => (slot(), slot(), offset(), offset(), len()).prop_map(
            |(from, to, from_at, to_at, len)| Op::CopyRange { from, to, from_at, to_at, len }),
        1 => (slot(), any::<bool>()).prop_map(|(slot, data_only)| Op::Sync { slot, data_only }),
        2 => slot().prop_map(|slot| Op::DropPages { slot }),
        1 => slot().prop_map(|slot| Op::GetFlags { slot }),
        1 => (slot(), any::<bool>()).prop_map(|(slot, on)| Op::SetNoDump { slot, on }),
    ]
}

fn on_names() -> impl Strategy<Value = Op> {
    let rename_flags = select(vec![
        RenameFlags::empty(),
        RenameFlags::empty(),
        RenameFlags::NOREPLACE,
        RenameFlags::EXCHANGE,
        RenameFlags::WHITEOUT,
        RenameFlags::NOREPLACE | RenameFlags::EXCHANGE,
    ]);
    let targets = select(vec!["a", "../a", "dir", "nowhere", "sub/a", ".", "acl/a"]);
    let follow = select(vec![AtFlags::empty(), AtFlags::SYMLINK_FOLLOW]);
    let nofollow = select(vec![AtFlags::empty(), AtFlags::SYMLINK_NOFOLLOW]);
    let nodes = select(vec![
        (0o010_000, (0, 0)),
        (0o140_000, (0, 0)),
        (0o100_000, (0, 0)),
        (0o020_000, (0, 0)),
        (0o060_000, (250, 70_000)),
    ]);
    prop_oneof![
        4 => (name(), name(), rename_flags)
            .prop_map(|(from, to, flags)| Op::Rename { from, to, flags }),
        3 => (file(), file(), follow).prop_map(|(from, to, flags)| Op::Link { from, to, flags }),
        2 => (targets, name()).prop_map(|(target, name)| Op::Symlink { target, name }),
        1 => name().prop_map(|name| Op::ReadLink { name }),
        2 => name().prop_map(|name| Op::Unlink { name }),
        3 => (name(), mode()).prop_map(|(name, mode)| Op::MakeDir { name, mode }),
        2 => name().prop_map(|name| Op::RemoveDir { name }),
        1 => (name(), nodes, mode()).prop_map(|(name, (kind, device), mode)|
            Op::MakeNode { name, mode: kind | (mode & 0o7777), device }),
        1 => dir().prop_map(|name| Op::ListDir { name }),
        1 => (name(), nofollow).prop_map(|(name, flags)| Op::Stat { name, flags }),
        1 => (name(), 0..8_u32).prop_map(|(name, mode)| Op::Access { name, mode }),
    ]
}

fn owner() -> impl Strategy<Value = Option<u32>> {
    option::of(select(vec![0, 1000, 2000, 3000]))
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        Just(Time::Omit),
        Just(Time::Now),
        (-1_000_000_000..1_000_000_000_i64, 0..1_000_000_000_u32)
            .prop_map(|(s, ns)| Time::At(s, ns)),
    ]
}

/// cap_net_raw, permitted and effective, as the kernel stores it (`struct vfs_cap_data`, version 2).
pub const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What is inherited from a directory: one more user, one more group, and a mask.
pub const DEFAULT_ACL: &[(u16, u16, u32)] = &[
    (1, 7, u32::MAX),
    (2, 7, 1000),
    (4, 5, u32::MAX),
    (8, 4, 2000),
    (16, 7, u32::MAX),
    (32, 5, u32::MAX),
];

fn xattr() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    const ANYONE: u32 = u32::MAX;
    let acls = select(vec![
        acl(&[
            (1, 6, ANYONE),
            (2, 7, 1000),
            (4, 4, ANYONE),
            (16, 7, ANYONE),
            (32, 0, ANYONE),
        ]),
        acl(&[
            (1, 7, ANYONE),
            (4, 5, ANYONE),
            (8, 6, 2000),
            (16, 4, ANYONE),
            (32, 5, ANYONE),
        ]),
        acl(&[(1, 7, ANYONE), (4, 5, ANYONE), (32, 5, ANYONE)]),
        acl(&[(1, 7, ANYONE), (2, 7, 1000), (32, 5, ANYONE)]),
        b"nonsense".to_vec(),
    ]);
    prop_oneof![
        4 => (select(vec!["user.one", "user.two", "trusted.one"]), vec(any::<u8>(), 0..2000)),
        3 => (select(vec!["system.posix_acl_access", "system.posix_acl_default"]), acls),
        1 => Just(("security.capability", CAPABILITY.to_vec())),
        1 => (select(vec!["nonsense", "system.nonsense", "user."]), vec(any::<u8>(), 0..9)),
    ]
}

fn xattr_key() -> impl Strategy<Value = &'static str> {
    xattr().prop_map(|(key, _)| key)
}

fn on_attributes() -> impl Strategy<Value = Op> {
    let nofollow = || select(vec![AtFlags::empty(), AtFlags::SYMLINK_NOFOLLOW]);
    let how = select(vec![
        XattrFlags::empty(),
        XattrFlags::CREATE,
        XattrFlags::REPLACE,
    ]);
    let room = || select(vec![0, 10, 70_000_usize]);
    prop_oneof![
        4 => (file(), mode()).prop_map(|(name, mode)| Op::Chmod { name, mode }),
        1 => (slot(), mode()).prop_map(|(slot, mode)| Op::ChmodOpen { slot, mode }),
        3 => (name(), owner(), owner(), nofollow())
            .prop_map(|(name, uid, gid, flags)| Op::Chown { name, uid, gid, flags }),
        1 => (slot(), owner(), owner()).prop_map(|(slot, uid, gid)| Op::ChownOpen { slot, uid, gid }),
        2 => (name(), time(), time(), nofollow()).prop_map(
            |(name, accessed, modified, flags)| Op::SetTimes { name, accessed, modified, flags }),
        1 => (slot(), time(), time())
            .prop_map(|(slot, accessed, modified)| Op::SetTimesOpen { slot, accessed, modified }),
        2 => (file(), offset()).prop_map(|(name, len)| Op::Truncate { name, len }),
        4 => (file(), xattr(), how).prop_map(
            |(name, (key, value), flags)| Op::SetXattr { name, key, value, flags }),
        1 => (slot(), xattr()).prop_map(
            |(slot, (key, value))| Op::SetXattrOpen { slot, key, value }),
        2 => (file(), xattr_key(), room())
            .prop_map(|(name, key, room)| Op::GetXattr { name, key, room }),
        2 => (name(), room()).prop_map(|(name, room)| Op::ListXattrs { name, room }),
        1 => (file(), xattr_key()).prop_map(|(name, key)| Op::RemoveXattr { name, key }),
    ]
}
