//! Who asks: the caller of a request, as the lower file system is to know him.

use crate::fuse::Errno;
use std::sync::Arc;
use transport::{
    transform::{Id, NOBODY, Rules, Transform},
    wire::InHeader,
};

/// Who asks, by the numbers that he has on the lower file system.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose is what he makes; [`NOBODY`] if he has no number below.
    pub uid: u32,
    /// The same of the group.
    pub gid: u32,
    /// His thread, as seen from here.
    pub pid: u32,
    /// Whether he is root on the mount: what is dropped for callers without privileges stays. Who is
    /// root below by a transformation alone is not.
    pub is_root: bool,
    /// What makes his numbers those of the lower file system.
    rules: Option<Arc<Transform>>,
}

impl Caller {
    /// Who made a request, where these rules are in force.
    pub fn new(header: &InHeader, rules: Option<Arc<Transform>>) -> Self {
        let mut caller = Self {
            uid: header.uid,
            gid: header.gid,
            pid: header.pid,
            is_root: header.uid == 0,
            rules: None,
        };
        if let Some(rules) = rules {
            caller.uid = rules.below(Id::User(header.uid));
            caller.gid = rules.below(Id::Group(header.gid));
            caller.rules = Some(rules);
        }
        caller
    }

    /// The number below of a user that the caller names.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW` if there is none.
    pub fn user_below(&self, uid: u32) -> Result<u32, Errno> {
        self.below(Id::User(uid), uid)
    }

    /// The number below of a group that the caller names, or is in.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW` if there is none.
    pub fn group_below(&self, gid: u32) -> Result<u32, Errno> {
        self.below(Id::Group(gid), gid)
    }

    /// Those of these groups that have numbers below.
    pub fn groups_below(&self, groups: &[u32]) -> Vec<u32> {
        let below = |group: &u32| self.group_below(*group).ok();
        groups.iter().filter_map(below).collect()
    }

    fn below(&self, id: Id, same: u32) -> Result<u32, Errno> {
        match self.rules.as_ref().map_or(same, |rules| rules.below(id)) {
            NOBODY => Err(Errno::OVERFLOW),
            id => Ok(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passthrough::creds::ThreadCreds;

    #[test]
    fn a_mapped_caller_has_other_numbers_and_no_other_privileges() {
        let mut rules = Transform::default();
        rules.uid[0] = range(100_000, 0, 1000);
        rules.uid[1] = range(0, 5000, 1);
        rules.gid[0] = range(100_000, 0, 1000);
        let rules = Some(Arc::new(rules));
        let caller = |uid, gid| {
            let header = InHeader {
                uid,
                gid,
                ..InHeader::default()
            };
            Caller::new(&header, rules.clone())
        };
        let root = caller(0, 7);
        assert_eq!((root.uid, root.gid, root.is_root), (100_000, 100_007, true));
        let becomes_root = caller(5000, 5000);
        assert_eq!((becomes_root.uid, becomes_root.gid), (0, 5000));
        assert!(!becomes_root.is_root);
        assert_eq!(root.group_below(3), Ok(100_003));
        assert_eq!(root.user_below(100_003), Err(Errno::OVERFLOW));
        let mut creds = ThreadCreds::enter().unwrap();
        let nobody = creds.act_as(&caller(100_003, 0), 0, &[]).err();
        assert_eq!(nobody, Some(Errno::OVERFLOW));
    }

    fn range(below: u32, shown: u32, count: u32) -> transport::transform::Range {
        transport::transform::Range {
            below,
            shown,
            count,
            padding: 0,
        }
    }
}
