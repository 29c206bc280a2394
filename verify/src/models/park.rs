//! Parking and waking (protocol 7).

use super::explore;
use crate::engine::{Futex, all_are_replied};
use crate::kernel::{Ask, Request};
use loom::{sync::Arc, thread};
use transport::{
    index::{QueueIndex, SlotIndex, Unique},
    lane::{Dispatch, LaneConsumer, LaneRoom},
    layout::{Blank, Lane, Park},
    park::{Rest, Sleeper, must_wake},
    wire::Opcode,
};

#[derive(Default)]
struct Shared {
    park: Park,
    futex: Futex,
}

/// Two programs publish on a lane each, one consumer serves both and sleeps in between: it gets both
/// entries, and never sleeps over one.
pub fn two_producers_one_sleeper(preemptions: Option<usize>) {
    explore(preemptions, || {
        let shared = Arc::new(Shared::default());
        let lanes = [(); 2].map(|()| Arc::new(Lane::<2>::blank()));
        let producers = lanes.clone().map(|lane| {
            let shared = shared.clone();
            thread::spawn(move || {
                LaneRoom::reserve(&lane)
                    .expect("there is room")
                    .publish(Dispatch {
                        unique: Unique::new(2).expect("a number"),
                        slot: SlotIndex(0),
                        queue: QueueIndex(0),
                        opcode: Opcode::READ,
                    });
                if must_wake(&shared.park) {
                    shared.futex.wake();
                }
            })
        });
        let mut consumers = lanes
            .each_ref()
            .map(|lane| LaneConsumer::attach(lane).expect("it is empty"));
        let mut sleeper = Sleeper::new(&shared.park);
        let mut got = 0;
        while got < 2 {
            for consumer in &mut consumers {
                if consumer.front().expect("nothing is corrupt").is_some() {
                    consumer.release();
                    got += 1;
                }
            }
            if got == 2 {
                break;
            }
            let has_work = || {
                consumers
                    .iter()
                    .any(|it| !it.is_empty().expect("nothing is corrupt"))
            };
            if sleeper.rest(has_work) == Rest::Sleep {
                shared.futex.wait(&shared.park);
                sleeper.wake_up();
            }
        }
        for producer in producers {
            producer.join().expect("the producer ends");
        }
    });
}

/// The program dispatches to a consumer that goes to sleep, and wakes it by an SQE.
pub fn wakes_by_sqe(preemptions: Option<usize>) {
    explore(preemptions, || {
        all_are_replied(
            1,
            &[
                Request::new(2, Ask::Dispatch),
                Request::new(4, Ask::Dispatch),
            ],
        );
    });
}

/// The program leaves a completion standing while the consumer goes to sleep, and wakes it after the
/// kernel has published that completion.
pub fn nudges_for_a_standing_completion(preemptions: Option<usize>) {
    explore(preemptions, || {
        all_are_replied(
            1,
            &[Request::new(2, Ask::Leave), Request::new(4, Ask::Leave)],
        );
    });
}
