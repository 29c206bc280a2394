//! The FUSE wire protocol, version 7.45, as in the kernel's `include/uapi/linux/fuse.h`.
//!
//! Every structure is `repr(C)` and plain data ([`bytemuck::Pod`]); padding is a named field, and
//! sizes are asserted at compile time. All integers are in the host's byte order. Names are the
//! kernel's, in Rust's spelling: `struct fuse_entry_out` is [`EntryOut`].
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`opcode`] | what is asked: [`Opcode`], and the length of each request's fixed part |
//! | [`flags`] | the bit sets: INIT, open, setattr, ... |
//! | [`request`] | the fixed part of each request (`..In`) |
//! | [`reply`] | the body of each reply (`..Out`), attributes, directory entries |
//! | [`notify`] | what the daemon tells the kernel unasked |
//! | [`uring`] | FUSE-over-io_uring: header buffer and commands |

pub mod flags;
pub mod notify;
pub mod opcode;
pub mod reply;
pub mod request;
pub mod uring;

pub use flags::*;
pub use notify::*;
pub use opcode::Opcode;
pub use reply::*;
pub use request::*;
pub use uring::*;

/// The protocol's major version. A kernel that speaks another one is refused.
pub const KERNEL_VERSION: u32 = 7;
/// The newest minor version this daemon knows.
pub const KERNEL_MINOR_VERSION: u32 = 45;
/// The oldest minor version this daemon accepts (Linux 5.17): from here on INIT carries 64 bits
/// of flags, and SETXATTR its longer form.
pub const KERNEL_MINOR_VERSION_MIN: u32 = 36;
/// The nodeid of the root of a mount.
pub const ROOT_ID: u64 = 1;
/// The smallest read buffer the kernel accepts on `/dev/fuse` (`FUSE_MIN_READ_BUFFER`), in bytes.
pub const MIN_READ_BUFFER: usize = 8192;

/// Asserts the size of a wire structure at compile time.
macro_rules! assert_sizes {
    ($($ty:ty = $size:expr),+ $(,)?) => {
        $(const _: () = assert!(core::mem::size_of::<$ty>() == $size, stringify!($ty));)+
    };
}
pub(crate) use assert_sizes;
