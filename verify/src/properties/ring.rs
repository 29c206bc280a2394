//! SQ and CQ against bounded queues.

use crate::{input::Input, reference::Bounded};
use transport::{
    cq::{Completion, CqReader, Engine},
    error::PushError,
    index::{Position, QueueIndex, RingIndex, SlotIndex, Unique},
    layout::{Blank, Ring},
    sq::{Commit, SqWriter},
    tag::{Tag, TagKind},
};

fn tag(slot: u16) -> Tag {
    Tag {
        cookie: 7,
        kind: TagKind::Entry,
        ring: RingIndex::PROGRAM,
        queue: QueueIndex(0),
        slot: SlotIndex(slot),
    }
}

/// An SQ of four places, from any position on: commits are written, the kernel reads them in
/// batches, and the writer changes now and then.
pub fn submissions(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let ring = Box::new(Ring::<4, 8>::blank());
    let mut head = Position(input.u32());
    ring.words.sq_tail.publish(head);
    ring.words.sq_head.release(head);
    let mut writer = SqWriter::attach(&ring);
    let mut reference = Bounded::new(4);
    let mut unique = 0;
    while !input.is_over() {
        match input.choice(4) {
            0 | 1 => {
                unique += 2;
                let commit = Commit {
                    queue: QueueIndex(0),
                    tag: tag(input.u32() as u16),
                };
                match writer.reserve() {
                    Ok(room) => {
                        room.publish(&commit.sqe(Unique::new(unique).expect("a small number")));
                        reference.push((commit.tag.to_user_data(), unique));
                    }
                    Err(why) => {
                        assert_eq!(why, PushError::Full);
                        assert!(reference.is_full());
                    }
                }
            }
            2 => {
                let tail = ring.words.sq_tail.observe();
                assert_eq!(tail.distance_from(head), reference.len() as u64);
                for _ in 0..input.choice(4) {
                    let Some(expected) = reference.pop() else {
                        break;
                    };
                    let sqe = &ring.sqes[head.place::<4>()];
                    assert_eq!((sqe.user_data(), sqe.commit_id()), expected);
                    head = head.next();
                }
                ring.words.sq_head.release(head);
            }
            _ => writer = SqWriter::attach(&ring),
        }
    }
}

/// A CQ of four places, from any position on, in either engine: the kernel posts, the program deals
/// with some and leaves others, the daemon reads. Each completion is seen by just one of them, in
/// order.
pub fn completions(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let engine = if input.choice(2) == 0 {
        Engine::Worker
    } else {
        Engine::Kernel
    };
    let ring = Box::new(Ring::<2, 4>::blank());
    let mut tail = Position(input.u32());
    ring.words.cq_head.consume(tail);
    ring.words.cq_tail.publish(tail);
    let mut reader = CqReader::new(&ring);
    // What stands: the slot, and whether the program has marked it.
    let mut standing = Bounded::new(4);
    while !input.is_over() {
        if input.choice(3) == 0 {
            let expected = standing.pop();
            let front = reader.front().expect("nothing is corrupt");
            assert_eq!(front.map(|cqe| (cqe.user_data, cqe.seen)), expected);
            reader.consume();
        } else if !standing.is_full() {
            let user_data = tag(input.u32() as u16).to_user_data();
            let cqe = &ring.cqes[tail.place::<4>()];
            cqe.user_data.set(user_data);
            cqe.res.set(0);
            cqe.flags.set(0);
            let completion = Completion::identify(&ring, tail, user_data, engine);
            let completion = completion.expect("the tag is there");
            let may = completion.may_be_dealt_with();
            assert_eq!(may, engine == Engine::Worker || standing.is_empty());
            let dealt_with = may && input.choice(2) == 0;
            if dealt_with {
                completion.dealt_with();
            }
            if engine == Engine::Worker || !dealt_with {
                standing.push((user_data, dealt_with));
            }
            tail = tail.next();
            ring.words.cq_tail.publish(tail);
        }
    }
}
