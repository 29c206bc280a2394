//! POSIX ACLs under a transformation: their users and groups are mapped, and what a mode hides they
//! hide as well.
//!
//! An ACL travels as `struct posix_acl_xattr_header` and entries (include/uapi/linux/
//! posix_acl_xattr.h), little-endian. The group bits of a mode are the mask's where there is one
//! (acl(5)), so that is where they are hidden: what an entry lets somebody do is bounded by it.

use crate::fuse::Errno;
use std::ffi::CStr;
use transport::transform::{Id, NOBODY, Rules, Transform};

const HEADER: usize = 4;
const ENTRY: usize = 8;
/// Tags of entries.
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Which ACL an extended attribute is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Of the file itself; its mode follows it.
    Access,
    /// What is made in a directory begins with it.
    Default,
}

impl Kind {
    /// Of the attribute of this name.
    pub fn of(name: &CStr) -> Option<Self> {
        match name.to_bytes() {
            b"system.posix_acl_access" => Some(Self::Access),
            b"system.posix_acl_default" => Some(Self::Default),
            _ => None,
        }
    }

    /// The bits of a mode that are hidden in it, too.
    fn hidden(self, rules: &Transform) -> u32 {
        match self {
            Self::Access => rules.hidden(),
            Self::Default => 0,
        }
    }
}

/// Makes an ACL of the lower file system one of the mount, in place. What it does not know it leaves.
pub fn show(acl: &mut [u8], kind: Kind, rules: &Transform) {
    let hidden = kind.hidden(rules);
    let class = group_class(acl);
    for entry in entries(acl) {
        let tag = tag(entry);
        let bits = bits_of(tag, class, hidden);
        set_permissions(entry, permissions(entry) & !bits);
        if let Some(id) = id_of(tag, id(entry)) {
            set_id(entry, rules.shown(id));
        }
    }
}

/// Makes an ACL of the mount one for the lower file system, whose file has the mode `present`: what is
/// hidden stays as it is.
///
/// # Errors
///
/// `EOVERFLOW` if it names somebody who has no number below.
pub fn below(acl: &mut [u8], kind: Kind, rules: &Transform, present: u32) -> Result<(), Errno> {
    let hidden = kind.hidden(rules);
    let class = group_class(acl);
    for entry in entries(acl) {
        let tag = tag(entry);
        let bits = bits_of(tag, class, hidden);
        let kept = bits_of(tag, class, present & hidden);
        set_permissions(entry, permissions(entry) & !bits | kept);
        if let Some(id) = id_of(tag, id(entry)) {
            match rules.below(id) {
                NOBODY => return Err(Errno::OVERFLOW),
                id => set_id(entry, id),
            }
        }
    }
    Ok(())
}

fn entries(acl: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let entries = acl.get_mut(HEADER..).unwrap_or_default();
    entries.chunks_exact_mut(ENTRY)
}

/// The entry that a mode's group bits are of.
fn group_class(acl: &mut [u8]) -> u16 {
    match entries(acl).any(|entry| tag(entry) == MASK) {
        true => MASK,
        false => GROUP_OBJ,
    }
}

/// The part of `mode` that an entry stands for.
fn bits_of(tag: u16, class: u16, mode: u32) -> u16 {
    let bits = match tag {
        USER_OBJ => mode >> 6,
        OTHER => mode,
        tag if tag == class => mode >> 3,
        _ => 0,
    };
    bits as u16 & 7
}

fn id_of(tag: u16, id: u32) -> Option<Id> {
    match tag {
        USER => Some(Id::User(id)),
        GROUP => Some(Id::Group(id)),
        _ => None,
    }
}

fn tag(entry: &[u8]) -> u16 {
    u16::from_le_bytes([entry[0], entry[1]])
}

fn permissions(entry: &[u8]) -> u16 {
    u16::from_le_bytes([entry[2], entry[3]])
}

fn set_permissions(entry: &mut [u8], permissions: u16) {
    entry[2..4].copy_from_slice(&permissions.to_le_bytes());
}

fn id(entry: &[u8]) -> u32 {
    u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]])
}

fn set_id(entry: &mut [u8], id: u32) {
    entry[4..8].copy_from_slice(&id.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use transport::transform::Range;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    fn rules(hidden: u32) -> Transform {
        let mut rules = Transform {
            hidden,
            ..Transform::default()
        };
        let range = Range {
            below: 100_000,
            shown: 0,
            count: 1000,
            padding: 0,
        };
        (rules.uid[0], rules.gid[0]) = (range, range);
        rules
    }

    #[test]
    fn users_and_groups_are_mapped_and_hidden_bits_stay_below() {
        let lower = [
            (USER_OBJ, 7, u32::MAX),
            (USER, 6, 100_005),
            (GROUP_OBJ, 4, u32::MAX),
            (GROUP, 5, 100_006),
            (MASK, 5, u32::MAX),
            (OTHER, 4, u32::MAX),
        ];
        let mut bytes = acl(&lower);
        show(&mut bytes, Kind::Access, &rules(0o077));
        let shown = [
            (USER_OBJ, 7, u32::MAX),
            (USER, 6, 5),
            (GROUP_OBJ, 4, u32::MAX),
            (GROUP, 5, 6),
            (MASK, 0, u32::MAX),
            (OTHER, 0, u32::MAX),
        ];
        assert_eq!(bytes, acl(&shown));
        below(&mut bytes, Kind::Access, &rules(0o077), 0o754).unwrap();
        assert_eq!(bytes, acl(&lower));
        let mut default = acl(&lower);
        show(&mut default, Kind::Default, &rules(0o777));
        assert_eq!(default[HEADER + 2], 7);
    }

    #[test]
    fn without_a_mask_the_group_is_hidden_itself_and_rubbish_is_left_alone() {
        let mut bytes = acl(&[(USER_OBJ, 6, 0), (GROUP_OBJ, 6, 0), (OTHER, 6, 0)]);
        show(&mut bytes, Kind::Access, &rules(0o020));
        assert_eq!(
            bytes,
            acl(&[(USER_OBJ, 6, 0), (GROUP_OBJ, 4, 0), (OTHER, 6, 0)])
        );
        for len in 0..HEADER + ENTRY {
            let mut bytes = vec![1; len];
            show(&mut bytes, Kind::Access, &rules(0o777));
            assert_eq!(bytes, vec![1; len]);
        }
        let mut unknown = acl(&[(USER, 6, 100_001)]);
        assert_eq!(
            below(&mut unknown, Kind::Access, &rules(0), 0),
            Err(Errno::OVERFLOW)
        );
    }
}
