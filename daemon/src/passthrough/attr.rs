//! What statx(2) says, as the wire has it.

use super::inode::Inode;
use rustix::fs::StatxTimestamp;
use std::time::Duration;
use transport::wire::{Attr, AttrFlags, AttrOut, EntryOut, Statx, StatxOut, SxTime};

/// `new_encode_dev` (include/linux/kdev_t.h): 12 bits of major, 20 bits of minor number.
pub const fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
}

/// `new_decode_dev`: major and minor number.
pub const fn decode_device(device: u32) -> (u32, u32) {
    (
        (device & 0xf_ff00) >> 8,
        (device & 0xff) | (device >> 12 & 0xf_ff00),
    )
}

/// The attributes of `inode`, whose number is shown as [`Inode::shown_number`] says.
pub fn attr(inode: &Inode, stat: &rustix::fs::Statx, flags: AttrFlags) -> Attr {
    Attr {
        ino: inode.shown_number(stat.stx_ino),
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        // Seconds before 1970 are negative and travel as they are.
        atime: stat.stx_atime.tv_sec as u64,
        mtime: stat.stx_mtime.tv_sec as u64,
        ctime: stat.stx_ctime.tv_sec as u64,
        atimensec: stat.stx_atime.tv_nsec,
        mtimensec: stat.stx_mtime.tv_nsec,
        ctimensec: stat.stx_ctime.tv_nsec,
        mode: u32::from(stat.stx_mode),
        nlink: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        rdev: encode_device(stat.stx_rdev_major, stat.stx_rdev_minor),
        blksize: stat.stx_blksize,
        flags,
    }
}

/// The reply to GETATTR and SETATTR, valid for `ttl`.
pub fn attr_out(attr: Attr, ttl: Duration) -> AttrOut {
    AttrOut {
        attr_valid: ttl.as_secs(),
        attr_valid_nsec: ttl.subsec_nanos(),
        dummy: 0,
        attr,
    }
}

/// The reply to LOOKUP and to what makes an entry; how long the name and the attributes are valid.
pub fn entry_out(nodeid: u64, attr: Attr, name_ttl: Duration, attr_ttl: Duration) -> EntryOut {
    EntryOut {
        nodeid,
        // Nodeids are never used again, so there is one generation.
        generation: 0,
        attr,
        attr_valid: attr_ttl.as_secs(),
        attr_valid_nsec: attr_ttl.subsec_nanos(),
        ..negative_entry_out(name_ttl)
    }
}

/// The reply to a LOOKUP of a name that does not exist, valid for `ttl`.
pub fn negative_entry_out(ttl: Duration) -> EntryOut {
    EntryOut {
        entry_valid: ttl.as_secs(),
        entry_valid_nsec: ttl.subsec_nanos(),
        attr_valid: ttl.as_secs(),
        attr_valid_nsec: ttl.subsec_nanos(),
        ..EntryOut::default()
    }
}

/// The reply to STATX, valid for `ttl`. Its mask says what the lower file system knows; the
/// device numbers are the kernel's to fill.
pub fn statx_out(inode: &Inode, stat: &rustix::fs::Statx, ttl: Duration) -> StatxOut {
    StatxOut {
        attr_valid: ttl.as_secs(),
        attr_valid_nsec: ttl.subsec_nanos(),
        stat: Statx {
            mask: stat.stx_mask,
            blksize: stat.stx_blksize,
            attributes: stat.stx_attributes.bits(),
            nlink: stat.stx_nlink,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mode: stat.stx_mode,
            ino: inode.shown_number(stat.stx_ino),
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            attributes_mask: stat.stx_attributes_mask.bits(),
            atime: time(&stat.stx_atime),
            btime: time(&stat.stx_btime),
            ctime: time(&stat.stx_ctime),
            mtime: time(&stat.stx_mtime),
            rdev_major: stat.stx_rdev_major,
            rdev_minor: stat.stx_rdev_minor,
            dev_major: stat.stx_dev_major,
            dev_minor: stat.stx_dev_minor,
            ..Statx::default()
        },
        ..StatxOut::default()
    }
}

fn time(time: &StatxTimestamp) -> SxTime {
    SxTime {
        tv_sec: time.tv_sec,
        tv_nsec: time.tv_nsec,
        reserved: 0,
    }
}
