//! Completions: whose a CQE is (protocol 6).

use crate::{
    error::Corrupt,
    index::Position,
    layout::{CQ_ENTRIES, CqeWords, Ring, SQ_ENTRIES},
    sync::weakened,
};

/// The program's mark in a CQE's flags: dealt with. The kernel uses the low bits of the word, and the
/// high half only for buffer ids, of which our commands have none.
pub const SEEN: u32 = 1 << 31;

/// Which engine a ring belongs to, and so who consumes its completions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Engine {
    /// The daemon consumes all, the program marks (6.2).
    Worker,
    /// The program consumes what it deals with; the head is a token (6.3).
    Kernel,
}

/// A completion in the program's hands, before the kernel publishes it.
#[derive(Debug)]
pub struct Completion<'m, const S: usize = SQ_ENTRIES, const C: usize = CQ_ENTRIES> {
    ring: &'m Ring<S, C>,
    index: Position,
    engine: Engine,
}

impl<'m, const S: usize, const C: usize> Completion<'m, S, C> {
    /// The completion at `index`, the kernel's private tail less one (6.1), whose tag the program was
    /// given as `user_data`.
    ///
    /// # Errors
    ///
    /// If the map holds another tag there: then nothing is to be done with it at all.
    #[inline(always)]
    pub fn identify(
        ring: &'m Ring<S, C>,
        index: Position,
        user_data: u64,
        engine: Engine,
    ) -> Result<Self, Corrupt> {
        let there = match ring.cqes.get(index.place::<C>()) {
            Some(cqe) => cqe.user_data.get(),
            None => 0,
        };
        if there == user_data {
            Ok(Self {
                ring,
                index,
                engine,
            })
        } else {
            Err(Corrupt::Tag(there))
        }
    }

    /// Whether the program may deal with it: in the kernel engine only if nothing stands before it
    /// (6.3). If not, it is left as it is.
    #[inline(always)]
    pub fn may_be_dealt_with(&self) -> bool {
        match self.engine {
            Engine::Worker => true,
            Engine::Kernel if weakened!(CqDealsBehindStanding) || weakened!(CqTokenIgnored) => true,
            Engine::Kernel => self.ring.words.cq_head.observe() == self.index,
        }
    }

    /// Says that the program has dealt with it: marks it, or consumes it (SP-CQ-TOKEN). To be called
    /// after the hand-over, and only if it [may be](Self::may_be_dealt_with): then nobody else moves
    /// the head meanwhile, for the kernel has not published the completion.
    #[inline(always)]
    pub fn dealt_with(self) {
        let words = &self.ring.words;
        match self.engine {
            Engine::Worker if weakened!(WorkerConsumes) => words.cq_head.consume(self.index.next()),
            Engine::Worker => {
                if let Some(cqe) = self.ring.cqes.get(self.index.place::<C>()) {
                    cqe.flags.set(SEEN);
                }
            }
            Engine::Kernel
                if weakened!(CqDealsBehindStanding) && words.cq_head.observe() != self.index => {}
            Engine::Kernel => words.cq_head.consume(self.index.next()),
        }
    }
}

/// A completion that the daemon has to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cqe {
    /// The tag of what completed.
    pub user_data: u64,
    /// 0, or a negative errno.
    pub res: i32,
    /// Whether the program has dealt with it.
    pub seen: bool,
    /// `IORING_CQE_F_*` and the program's mark.
    pub flags: u32,
}

impl CqeWords {
    #[inline(always)]
    fn read(&self) -> Cqe {
        let flags = self.flags.get();
        Cqe {
            user_data: self.user_data.get(),
            res: self.res.get() as i32,
            seen: flags & SEEN != 0,
            flags,
        }
    }
}

/// The daemon's end of a CQ: sees what stands.
#[derive(Debug)]
pub struct CqReader<'m, const S: usize = SQ_ENTRIES, const C: usize = CQ_ENTRIES> {
    ring: &'m Ring<S, C>,
}

impl<'m, const S: usize, const C: usize> CqReader<'m, S, C> {
    /// The reader of this ring. There is one.
    pub fn new(ring: &'m Ring<S, C>) -> Self {
        Self { ring }
    }

    /// The oldest standing completion. It stays until it is [consumed](Self::consume).
    ///
    /// # Errors
    ///
    /// If more stand than the CQ has places.
    pub fn front(&self) -> Result<Option<Cqe>, Corrupt> {
        // The tail first: then a head behind it is behind it for good, because the program consumes
        // only what is not published yet (6.3).
        let (tail, head) = if weakened!(CqHeadBeforeTail) {
            let head = self.ring.words.cq_head.observe();
            (self.ring.words.cq_tail.observe(), head)
        } else {
            let tail = self.ring.words.cq_tail.observe();
            (tail, self.ring.words.cq_head.observe())
        };
        if !tail.is_ahead_of(head) {
            return Ok(None);
        }
        if tail.distance_from(head) > C as u64 {
            return Err(Corrupt::Positions {
                tail: tail.0,
                head: head.0,
            });
        }
        Ok(self.ring.cqes.get(head.place::<C>()).map(CqeWords::read))
    }

    /// Consumes the completion that [`front`](Self::front) showed; nothing if none stands.
    pub fn consume(&mut self) {
        let tail = self.ring.words.cq_tail.observe();
        let head = self.ring.words.cq_head.observe();
        if tail.is_ahead_of(head) {
            self.ring.words.cq_head.consume(head.next());
        }
    }
}

#[cfg(all(test, not(shmfuse_loom)))]
mod tests {
    use super::*;
    use crate::layout::Blank;
    extern crate std;
    use std::boxed::Box;

    fn post(ring: &Ring<2, 4>, at: Position, user_data: u64) {
        let cqe = &ring.cqes[at.place::<4>()];
        cqe.user_data.set(user_data);
        cqe.res.set(0);
        cqe.flags.set(0);
    }

    #[test]
    fn in_the_kernel_engine_what_the_program_dealt_with_never_stands() {
        let ring = Box::new(Ring::<2, 4>::blank());
        let reader = CqReader::new(&ring);
        let mut at = Position::ZERO;
        for n in 0..9 {
            post(&ring, at, n);
            let completion = Completion::identify(&ring, at, n, Engine::Kernel).unwrap();
            assert!(completion.may_be_dealt_with());
            completion.dealt_with();
            assert_eq!(reader.front(), Ok(None));
            at = at.next();
            ring.words.cq_tail.publish(at);
            assert_eq!(reader.front(), Ok(None));
        }
    }

    #[test]
    fn behind_a_standing_completion_the_program_deals_with_none_until_the_daemon_has() {
        let ring = Box::new(Ring::<2, 4>::blank());
        let mut reader = CqReader::new(&ring);
        post(&ring, Position(0), 10);
        ring.words.cq_tail.publish(Position(1));
        post(&ring, Position(1), 11);
        let second = Completion::identify(&ring, Position(1), 11, Engine::Kernel).unwrap();
        assert!(!second.may_be_dealt_with());
        ring.words.cq_tail.publish(Position(2));
        for expected in [10, 11] {
            assert_eq!(reader.front().unwrap().unwrap().user_data, expected);
            reader.consume();
        }
        assert_eq!(reader.front(), Ok(None));
        post(&ring, Position(2), 12);
        let third = Completion::identify(&ring, Position(2), 12, Engine::Kernel).unwrap();
        assert!(third.may_be_dealt_with());
    }

    #[test]
    fn a_mark_does_not_outlive_its_completion() {
        let ring = Box::new(Ring::<2, 4>::blank());
        let mut reader = CqReader::new(&ring);
        post(&ring, Position(0), 1);
        Completion::identify(&ring, Position(0), 1, Engine::Worker)
            .unwrap()
            .dealt_with();
        ring.words.cq_tail.publish(Position(1));
        assert!(reader.front().unwrap().unwrap().seen);
        reader.consume();
        for at in 1..=4 {
            post(&ring, Position(at), 2);
            ring.words.cq_tail.publish(Position(at + 1));
            assert!(!reader.front().unwrap().unwrap().seen);
            reader.consume();
        }
    }

    #[test]
    fn a_completion_with_a_foreign_tag_is_refused() {
        let ring = Box::new(Ring::<2, 4>::blank());
        post(&ring, Position(0), 1);
        let refused = Completion::identify(&ring, Position(0), 2, Engine::Kernel).unwrap_err();
        assert_eq!(refused, Corrupt::Tag(1));
    }

    #[test]
    fn more_completions_than_places_are_corrupt() {
        let ring = Box::new(Ring::<2, 4>::blank());
        ring.words.cq_tail.publish(Position(5));
        assert!(CqReader::new(&ring).front().is_err());
    }
}
