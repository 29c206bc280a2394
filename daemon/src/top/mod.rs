//! What `shmfuse top` shows.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`watched`] | a mount and where its numbers come from |
//! | [`interval`] | what happened between two looks at it |
//! | [`screen`] | the terminal, while it is ours |

pub mod interval;
pub mod screen;
pub mod watched;

pub use interval::Interval;
pub use screen::Screen;
pub use watched::{Sample, Watched};
