//! More at once than there are slots for, and others beside it who use the same things.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`queue`] | many processes against few slots |
//! | [`idle`] | a mount that nobody uses |
//! | [`neighbours`] | mounts and a foreign io_uring program at once |

#[macro_use]
mod common;

#[path = "pressure_root/idle.rs"]
mod idle;
#[path = "pressure_root/neighbours.rs"]
mod neighbours;
#[path = "pressure_root/queue.rs"]
mod queue;
#[path = "faults_root/victims.rs"]
mod victims;
