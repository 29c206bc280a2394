//! The names in a request's payload, and the extensions behind them.

use crate::fuse::{Errno, Exchange};
use std::ffi::CStr;
use transport::wire::{EXT_GROUPS, ExtHeader, InHeader, SuppGroups};

/// Longest name in bytes (`FUSE_NAME_MAX`, fs/fuse/fuse_i.h, since 6.14; 1024 before). A lower
/// file system says `ENAMETOOLONG` long before.
pub const NAME_MAX: usize = libc::PATH_MAX as usize - 1;

/// The payload without the extensions at its end.
///
/// # Errors
///
/// `EIO` if the extensions are longer than the payload.
pub fn without_extensions<'a>(header: &InHeader, payload: &'a [u8]) -> Result<&'a [u8], Errno> {
    let extensions = usize::from(header.total_extlen) * 8;
    let len = payload.len().checked_sub(extensions).ok_or(Errno::IO)?;
    Ok(&payload[..len])
}

/// Takes a NUL-terminated string off the front of `bytes`: any string (a symlink's target).
///
/// # Errors
///
/// `EIO` if nothing ends it.
pub fn take_string<'a>(bytes: &mut &'a [u8]) -> Result<&'a CStr, Errno> {
    let string = CStr::from_bytes_until_nul(bytes).map_err(|_| Errno::IO)?;
    *bytes = &bytes[string.count_bytes() + 1..];
    Ok(string)
}

/// Takes the name of a directory entry off the front of `bytes`.
///
/// Whatever it says, a name that passes here leads to an entry of the directory it is looked up
/// in and nowhere else: the kernel's path walk splits at '/' and treats "." and ".." apart, and
/// no other name.
///
/// # Errors
///
/// `EIO` if nothing ends it, `EINVAL` if it is empty, ".", ".." or has a '/': the kernel sends no
/// such name. `ENAMETOOLONG` beyond [`NAME_MAX`].
pub fn take_name<'a>(bytes: &mut &'a [u8]) -> Result<&'a CStr, Errno> {
    let name = take_string(bytes)?;
    match name.to_bytes() {
        b"" | b"." | b".." => Err(Errno::INVAL),
        name if name.contains(&b'/') => Err(Errno::INVAL),
        name if name.len() > NAME_MAX => Err(Errno::NAMETOOLONG),
        _ => Ok(name),
    }
}

/// The one name in a request's payload.
///
/// # Errors
///
/// As [`take_name`] and [`without_extensions`].
pub fn only_name<'a>(exchange: &'a (dyn Exchange + '_)) -> Result<&'a CStr, Errno> {
    take_name(&mut without_extensions(
        exchange.header(),
        exchange.payload(),
    )?)
}

/// What a LOOKUP asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupName<'a> {
    /// An entry of the directory.
    Entry(&'a CStr),
    /// ".": the inode itself, which need not be a directory. Asked for a file handle on the mount
    /// (`FUSE_EXPORT_SUPPORT`), as is the next.
    Itself,
    /// "..": the directory that this one lies in.
    Parent,
}

/// The name in a LOOKUP.
///
/// # Errors
///
/// As [`only_name`], but for "." and "..".
pub fn lookup_name<'a>(exchange: &'a (dyn Exchange + '_)) -> Result<LookupName<'a>, Errno> {
    let mut payload = without_extensions(exchange.header(), exchange.payload())?;
    match payload {
        b".\0" => Ok(LookupName::Itself),
        b"..\0" => Ok(LookupName::Parent),
        _ => take_name(&mut payload).map(LookupName::Entry),
    }
}

/// The supplementary groups that came with a request (`FUSE_CREATE_SUPP_GROUP`): the group of the
/// parent directory, if the caller is in it by a supplementary group (`get_create_supp_group`,
/// fs/fuse/dir.c). Empty if there is no such extension.
///
/// # Errors
///
/// `EIO` if the extensions do not have the form the protocol says.
pub fn groups(exchange: &(dyn Exchange + '_)) -> Result<Vec<u32>, Errno> {
    groups_in(exchange.header(), exchange.payload())
}

/// As [`groups`], of a header and its payload.
///
/// # Errors
///
/// As [`groups`].
pub fn groups_in(header: &InHeader, payload: &[u8]) -> Result<Vec<u32>, Errno> {
    let mut rest = &payload[without_extensions(header, payload)?.len()..];
    while !rest.is_empty() {
        let head = rest.get(..size_of::<ExtHeader>()).ok_or(Errno::IO)?;
        let head: ExtHeader = bytemuck::pod_read_unaligned(head);
        let body = rest
            .get(size_of::<ExtHeader>()..head.size as usize)
            .ok_or(Errno::IO)?;
        if head.kind == EXT_GROUPS {
            let count = body.get(..size_of::<SuppGroups>()).ok_or(Errno::IO)?;
            let count: SuppGroups = bytemuck::pod_read_unaligned(count);
            let ids = (count.nr_groups as usize).checked_mul(4).ok_or(Errno::IO)?;
            let ids = body[size_of::<SuppGroups>()..]
                .get(..ids)
                .ok_or(Errno::IO)?;
            return Ok(ids
                .chunks_exact(4)
                .map(bytemuck::pod_read_unaligned)
                .collect());
        }
        rest = &rest[head.size as usize..];
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(total_extlen: u16) -> InHeader {
        InHeader {
            total_extlen,
            ..InHeader::default()
        }
    }

    /// A name, then an extension of another kind, then one with two groups.
    fn extended() -> Vec<u8> {
        let words: [u32; 8] = [8, 1, 24, EXT_GROUPS, 2, 77, 88, 0];
        [&b"name\0"[..], bytemuck::cast_slice(&words)].concat()
    }

    #[test]
    fn groups_are_found_behind_the_name_and_other_extensions() {
        let payload = extended();
        assert_eq!(groups_in(&header(4), &payload), Ok(vec![77, 88]));
        let mut names = without_extensions(&header(4), &payload).unwrap();
        assert_eq!(take_name(&mut names), Ok(c"name"));
        assert_eq!(names, b"");
        assert_eq!(groups_in(&header(0), b"name\0"), Ok(vec![]));
    }

    #[test]
    fn two_names_follow_each_other() {
        let mut bytes = &b"old\0new\0"[..];
        assert_eq!(take_name(&mut bytes), Ok(c"old"));
        assert_eq!(take_name(&mut bytes), Ok(c"new"));
        assert_eq!(take_name(&mut bytes), Err(Errno::IO));
    }

    #[test]
    fn extensions_that_do_not_fit_are_refused() {
        assert_eq!(groups_in(&header(1), b"1234"), Err(Errno::IO));
        for size in [0u32, 7, 25, u32::MAX] {
            let words = [size, EXT_GROUPS, 1, 77];
            assert_eq!(
                groups_in(&header(2), bytemuck::cast_slice(&words)),
                Err(Errno::IO)
            );
        }
        let too_many = [16u32, EXT_GROUPS, u32::MAX, 77];
        assert_eq!(
            groups_in(&header(2), bytemuck::cast_slice(&too_many)),
            Err(Errno::IO)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(extlen: u16, payload: Vec<u8>) {
            let _ = groups_in(&header(extlen), &payload);
            let _ = take_name(&mut &payload[..]);
        }

        #[test]
        fn a_name_that_passes_has_no_slash_and_is_no_dot(bytes: Vec<u8>) {
            if let Ok(name) = take_name(&mut &bytes[..]) {
                let name = name.to_bytes();
                prop_assert!(!name.contains(&b'/') && ![&b""[..], b".", b".."].contains(&name));
            }
        }
    }
}
