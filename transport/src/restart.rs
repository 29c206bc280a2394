//! Taking over from a consumer that has ended (protocol 9).

use crate::{
    error::{Corrupt, PushError},
    index::{Position, Unique},
    layout::Slot,
    ownership::State,
    slot::{Taken, pending_commit},
    sq::{Commit, SqWriter},
    sync::weakened,
};

/// What a successor has to do about one slot, before it pushes anything else.
#[derive(Debug)]
pub enum Inheritance<'m> {
    /// Nothing: it is the kernel's or the program's, or its entry is in a lane.
    None,
    /// The predecessor had it, and what became of the operation is unknown: answer `EIO`.
    Unfinished(Taken<'m>),
    /// The reply is complete, the commit was not published.
    Unpublished(Unpublished<'m>),
}

/// A commit that was not published.
#[derive(Debug)]
#[must_use = "without its commit the request is never answered"]
pub struct Unpublished<'m> {
    slot: &'m Slot,
    unique: Unique,
}

impl Unpublished<'_> {
    /// Publishes it.
    ///
    /// # Errors
    ///
    /// If there is no place in the SQ.
    pub fn publish(self, sq: &mut SqWriter<'_>, commit: Commit) -> Result<(), PushError> {
        sq.reserve()?.publish(&commit.sqe(self.unique));
        self.slot.commit_pending.set(0);
        Ok(())
    }
}

/// Looks at one slot; `sq_tail` is the tail of the SQ that the daemon commits to.
///
/// # Errors
///
/// If the slot word cannot be.
pub fn inherit<'m>(slot: &'m Slot, sq_tail: Position) -> Result<Inheritance<'m>, Corrupt> {
    let ownership = slot.ownership()?;
    let unique = Unique::new(ownership.unique);
    Ok(match (ownership.state, unique) {
        (State::Replying, Some(unique)) if !weakened!(RestartForgetsReplying) => {
            Inheritance::Unfinished(slot.inherit(unique))
        }
        (State::Dispatched, Some(unique)) if weakened!(RestartAnswersDispatched) => {
            Inheritance::Unfinished(slot.inherit(unique))
        }
        (State::Committed, Some(unique)) if !weakened!(RestartForgetsCommit) => {
            match pending_commit(slot) {
                Some(_) if weakened!(RestartRepeatsCommit) => unpublished(slot, unique),
                Some(position) if !sq_tail.is_ahead_of(position) => unpublished(slot, unique),
                _ => Inheritance::None,
            }
        }
        _ => Inheritance::None,
    })
}

fn unpublished(slot: &Slot, unique: Unique) -> Inheritance<'_> {
    Inheritance::Unpublished(Unpublished { slot, unique })
}
