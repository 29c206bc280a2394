//! Faults in the ring protocol: whatever somebody writes into the shared memory, and whatever is taken
//! from the daemon under its feet, the mount goes on or ends, and whoever uses it goes on or gets an
//! error. Nobody hangs, nobody is given another's data, the daemon does not crash.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`maps`] | the shared memory of a daemon, to be written to from outside |
//! | [`victims`] | processes that use a mount and check all they are given |
//! | [`trial`] | a mount in use, a fault, and what is to come of it |
//! | [`inside`] | what is taken from the daemon under its feet, in a daemon of the test's own |
//! | [`signals`] | a daemon that is stopped, and one that is killed |
//! | [`scribbles`] | values that no correct peer writes, in each place of the memory |

#[macro_use]
mod common;

#[path = "faults_root/inside.rs"]
mod inside;
#[path = "faults_root/maps.rs"]
mod maps;
#[path = "faults_root/scribbles.rs"]
mod scribbles;
#[path = "faults_root/signals.rs"]
mod signals;
#[path = "faults_root/trial.rs"]
mod trial;
#[path = "faults_root/victims.rs"]
mod victims;
