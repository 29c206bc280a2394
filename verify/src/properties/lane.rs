//! Lanes against a bounded queue.

use crate::{input::Input, reference::Bounded};
use transport::{
    error::PushError,
    index::{Position, QueueIndex, SlotIndex, Unique},
    lane::{Dispatch, LaneConsumer, LaneRoom},
    layout::{Blank, Lane},
    wire::Opcode,
};

/// A lane of four entries, from any position on: pushes, reads, releases, and a new consumer now and
/// then.
pub fn lane(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let lane = Lane::<4>::blank();
    let start = Position(input.u32());
    lane.tail.0.publish(start);
    lane.head.0.release(start);
    let mut consumer = LaneConsumer::attach(&lane).expect("it is empty");
    let mut reference = Bounded::new(4);
    let mut unique = 0;
    while !input.is_over() {
        match input.choice(4) {
            0 | 1 => {
                unique += 2;
                let dispatch = Dispatch {
                    unique: Unique::new(unique).expect("a small number"),
                    slot: SlotIndex(input.u32() as u16),
                    queue: QueueIndex(input.u32() as u16),
                    opcode: Opcode(input.u32()),
                };
                match LaneRoom::reserve(&lane) {
                    Ok(room) => {
                        reference.push(dispatch);
                        room.publish(dispatch);
                    }
                    Err(why) => {
                        assert_eq!(why, PushError::Full);
                        assert!(reference.is_full());
                    }
                }
            }
            2 => {
                assert_eq!(consumer.front(), Ok(reference.front().copied()));
                if reference.pop().is_some() {
                    consumer.release();
                }
            }
            _ => consumer = LaneConsumer::attach(&lane).expect("the positions are right"),
        }
        assert_eq!(consumer.len(), Ok(reference.len()));
        assert_eq!(consumer.is_empty(), Ok(reference.is_empty()));
    }
}
