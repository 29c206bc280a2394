//! How often the CPU copies each byte that an application reads or writes, by design.
//!
//! Counted are copies by a CPU between lower page cache or disk and application. Moving by DMA and
//! by reference (splice(2)) is none. What is measured beside it is CPU time per GiB.

use crate::{
    variant::{How, Variant},
    workload::{Access, Direction},
};

/// Copies per byte, where the design says so: of native and of ours with a data path that is fixed.
pub fn by_design(variant: &Variant, access: Access) -> Option<f64> {
    let (transport, data) = match &variant.how {
        How::Native => ("native", "passthrough"),
        How::Shmfuse(words) => (option(words, "transport")?, option(words, "data")?),
        How::Command(_) => return None,
    };
    let copies = match (data, access) {
        // The kernel uses the lower file as if there were no mount.
        ("passthrough", Access { mmap: true, .. } | Access { direct: true, .. }) => 0,
        ("passthrough", _) => 1,
        // By DMA into the daemon's buffer, from there into the application's pages.
        ("copy" | "direct", Access { direct: true, .. }) => 1,
        // Through the daemon's buffer and the page cache of the mount, in either direction: to one,
        // to the other, and from or to the application, which mmap(2) spares.
        ("copy", Access { mmap, .. }) => {
            let spliced = u8::from(transport == "splice");
            3 - spliced - u8::from(mmap)
        }
        // The lower file by DMA.
        ("direct", Access { mmap, .. }) => 2 - u8::from(mmap),
        _ => return None,
    };
    Some(f64::from(copies))
}

/// The value of a long option among words.
fn option<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let at = words
        .iter()
        .position(|word| word.strip_prefix("--") == Some(name))?;
    words.get(at + 1).map(String::as_str)
}

/// A sequential read through the page cache: the access that tables of copies are about.
pub const BUFFERED_READ: Access = Access {
    direction: Direction::Read,
    direct: false,
    mmap: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(transport: &str, data: &str) -> Variant {
        let words = ["--transport", transport, "--data", data];
        Variant {
            name: transport.into(),
            how: How::Shmfuse(words.map(str::to_owned).into()),
        }
    }

    #[test]
    fn each_way_has_its_number() {
        let of = |variant: &Variant| by_design(variant, BUFFERED_READ);
        assert_eq!(of(&Variant::native()), Some(1.0));
        assert_eq!(of(&ours("classic", "copy")), Some(3.0));
        assert_eq!(of(&ours("splice", "copy")), Some(2.0));
        assert_eq!(of(&ours("shm", "copy")), Some(3.0));
        assert_eq!(of(&ours("shm", "direct")), Some(2.0));
        assert_eq!(of(&ours("uring", "passthrough")), Some(1.0));
        assert_eq!(of(&ours("uring", "auto")), None);
    }

    #[test]
    fn mmap_through_passthrough_copies_nothing() {
        let access = Access {
            mmap: true,
            ..BUFFERED_READ
        };
        assert_eq!(by_design(&ours("uring", "passthrough"), access), Some(0.0));
        assert_eq!(by_design(&ours("uring", "copy"), access), Some(2.0));
    }
}
