//! Lanes (protocol 4).

use super::explore;
use crate::rt::pause;
use loom::{sync::Arc, thread};
use transport::{
    error::PushError,
    index::{Position, QueueIndex, SlotIndex, Unique},
    lane::{Dispatch, LaneConsumer, LaneRoom},
    layout::{Blank, Lane},
    sync::Word,
    wire::Opcode,
};

struct Shared {
    lane: Lane<2>,
    /// What the entries stand for: the request in slot n.
    slots: [Word; 4],
}

fn at_the_wrap() -> Arc<Shared> {
    let shared = Shared {
        lane: Blank::blank(),
        slots: Blank::blank(),
    };
    let start = Position(u32::MAX);
    shared.lane.tail.0.publish(start);
    shared.lane.head.0.release(start);
    Arc::new(shared)
}

fn entry(n: u64) -> Dispatch {
    Dispatch {
        unique: Unique::new(n).expect("a small number"),
        slot: SlotIndex(n as u16),
        queue: QueueIndex(0),
        opcode: Opcode::READ,
    }
}

/// Three entries through a lane of two places, over the wrap of the positions: they come out once
/// each and in order, and with each the request that was written before it. A full lane refuses.
pub fn wraps_and_fills(preemptions: Option<usize>) {
    explore(preemptions, || {
        let shared = at_the_wrap();
        let producer = {
            let shared = shared.clone();
            thread::spawn(move || {
                for n in 1..=3 {
                    let room = loop {
                        match LaneRoom::reserve(&shared.lane) {
                            Ok(room) => break room,
                            Err(PushError::Full) => pause(),
                            Err(PushError::Corrupt(what)) => panic!("{what}"),
                        }
                    };
                    shared.slots[n as usize].set(n * 10);
                    room.publish(entry(n));
                }
            })
        };
        let mut consumer = LaneConsumer::attach(&shared.lane).expect("the positions are right");
        for n in 1..=3 {
            let got = loop {
                match consumer.front().expect("nothing is corrupt") {
                    Some(got) => break got,
                    None => pause(),
                }
            };
            assert_eq!(got, entry(n));
            assert_eq!(
                shared.slots[n as usize].get(),
                n * 10,
                "read before its publication"
            );
            consumer.release();
        }
        producer.join().expect("the producer ends");
    });
}
