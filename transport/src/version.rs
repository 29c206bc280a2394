//! Which protocol lies in the maps.

/// The versions of `docs/protocol.md`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub enum Version {
    /// The first one.
    V1 = 1,
}

impl Version {
    /// What this source speaks.
    pub const CURRENT: Self = Self::V1;
}

impl TryFrom<u32> for Version {
    type Error = u32;

    /// The version with this number, or the number if there is none.
    fn try_from(number: u32) -> Result<Self, u32> {
        match number {
            1 => Ok(Self::V1),
            other => Err(other),
        }
    }
}
