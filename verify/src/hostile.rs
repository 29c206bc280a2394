//! Both sides over memory in which anything may stand: neither panics, neither runs on for ever, and
//! what each does is bounded by its own memory (protocol 10). That nothing is reached outside its
//! element follows from the language: `transport` has no `unsafe` code.

use crate::{
    daemon::{QUEUE, commit},
    input::Input,
};
use transport::{
    consumer::{FromCq, FromLane, next_of_cq, next_of_lane},
    cq::{CqReader, Engine},
    error::Corrupt,
    index::{LaneIndex, Position, QueueIndex, RingIndex, SlotIndex},
    lane::LaneConsumer,
    layout::{CQ_ENTRIES, LANE_ENTRIES},
    memory::{Geometry, Memory},
    ownership::State,
    program::{Event, Outcome, Verdict, on_completion},
    restart::{Inheritance, inherit},
    slot::{CommitError, Reply, Taken},
    sq::SqWriter,
    tag::Tag,
    testing::{Heap, small},
    wire::Opcode,
};

fn mount(input: &mut Input<'_>) -> (Geometry, Heap) {
    let geometry = small(if input.choice(2) == 0 {
        Engine::Worker
    } else {
        Engine::Kernel
    });
    let heap = Heap::new(&geometry);
    // A short input fills the memory over and over: rare values meet each other more often so.
    let pattern: Vec<u64> = (0..1 + input.choice(32)).map(|_| input.u64()).collect();
    let mut next = 0;
    heap.scribble(|| {
        next += 1;
        pattern[next % pattern.len()]
    });
    (geometry, heap)
}

/// The program meets a completion, and decides anything about it.
pub fn program(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (geometry, heap) = mount(&mut input);
    let mut events = 0;
    while !input.is_over() && events < 64 {
        events += 1;
        let event = Event {
            ring: RingIndex(input.choice(3)),
            queue: QueueIndex(u16::from(input.choice(3))),
            index: Position(input.u32()),
            user_data: hostile_tag(&mut input, &geometry),
            res: if input.choice(4) == 0 {
                input.u32() as i32
            } else {
                0
            },
        };
        make_identifiable(&heap, &geometry, event, &mut input);
        let verdict = match input.choice(4) {
            0 => Verdict::Answer(Reply::Body(input.u32())),
            1 => Verdict::Deny(i32::from(input.byte())),
            2 => Verdict::Dispatch(LaneIndex(input.choice(4)), Opcode(input.u32())),
            _ => Verdict::Leave,
        };
        let mut asked = 0;
        let outcome = on_completion(&heap, &geometry, event, |_, element| {
            asked += 1;
            assert!(
                heap.slot(element).is_some(),
                "asked about a slot that is not there"
            );
            verdict
        });
        assert!(asked <= 1);
        match outcome {
            Outcome::Answered => assert!(matches!(verdict, Verdict::Answer(_) | Verdict::Deny(_))),
            Outcome::Dispatched => assert!(matches!(verdict, Verdict::Dispatch(..))),
            Outcome::Foreign | Outcome::Woken => assert_eq!(asked, 0),
            Outcome::Standing => {}
        }
    }
}

/// Mostly tags that are nearly right.
fn hostile_tag(input: &mut Input<'_>, geometry: &Geometry) -> u64 {
    if input.choice(8) == 0 {
        return input.u64();
    }
    let right = Tag {
        cookie: geometry.cookie,
        kind: transport::tag::TagKind::Entry,
        ring: RingIndex(input.choice(2)),
        queue: QueueIndex(u16::from(input.choice(2))),
        slot: SlotIndex(u16::from(input.choice(6))),
    };
    right.to_user_data() | u64::from(input.choice(4)) << 29
}

/// Mostly the completion is where it says, the session runs, and the header is one that can be.
fn make_identifiable(heap: &Heap, geometry: &Geometry, event: Event, input: &mut Input<'_>) {
    let ring = heap.ring(event.ring.element(event.queue, geometry.rings_per_queue()));
    let (Some(ring), Some(control)) = (ring, heap.control()) else {
        return;
    };
    if input.choice(8) != 0 {
        ring.cqes[event.index.place::<CQ_ENTRIES>()]
            .user_data
            .set(event.user_data);
    }
    if input.choice(4) != 0 {
        ring.words.cq_head.consume(event.index);
    }
    if input.choice(4) != 0 {
        transport::session::Session::start(control);
    }
    let tag = Tag::from_user_data(event.user_data);
    let slot = tag.and_then(|tag| heap.slot(tag.slot.element(event.queue, geometry.depth)));
    if let (Some(slot), true) = (slot, input.choice(4) != 0) {
        slot.header.unique().set(42);
        slot.header.commit_id().set(42);
    }
}

/// The daemon serves whatever it finds, and takes over from a predecessor that it never had.
pub fn daemon(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (geometry, heap) = mount(&mut input);
    let element = RingIndex::PROGRAM.element(QUEUE, geometry.rings_per_queue());
    let ring = heap.ring(element).expect("there is one");
    let mut sq = SqWriter::attach(ring);

    let lane = heap
        .lane(LaneIndex::METADATA.element(QUEUE))
        .expect("there is one");
    if let Ok(mut lane) = LaneConsumer::attach(lane) {
        let mut entries = 0;
        loop {
            match next_of_lane(&heap, &geometry, &mut lane) {
                Ok(FromLane::Empty) => break,
                Ok(FromLane::Request(taken, dispatch)) => {
                    judge(taken, dispatch.slot, &geometry, &mut sq, &mut input);
                }
                Ok(FromLane::Dropped(_)) => {}
                Err(corrupt) => panic!("nobody moved the tail: {corrupt}"),
            }
            entries += 1;
            assert!(entries <= LANE_ENTRIES, "more entries than places");
        }
    }

    let mut cq = CqReader::new(ring);
    let mut completions = 0;
    loop {
        match next_of_cq(&heap, &geometry, QUEUE, &mut cq) {
            Ok(FromCq::Request(taken, tag)) => {
                judge(taken, tag.slot, &geometry, &mut sq, &mut input);
            }
            Ok(FromCq::Done | FromCq::Failed(..)) => {}
            Ok(FromCq::Empty) => break,
            Err(Corrupt::Positions { .. }) => break,
            Err(_) => {}
        }
        completions += 1;
        assert!(completions <= CQ_ENTRIES, "more completions than places");
    }

    for index in 0..geometry.depth {
        let slot = heap.slot(index).expect("there is one");
        match inherit(slot, sq.tail()) {
            Ok(Inheritance::None) | Err(_) => {}
            Ok(Inheritance::Unfinished(taken)) => {
                judge(
                    taken,
                    SlotIndex(index as u16),
                    &geometry,
                    &mut sq,
                    &mut input,
                );
            }
            Ok(Inheritance::Unpublished(it)) => {
                // A full SQ is what the memory says.
                let _ = it.publish(&mut sq, commit(&geometry, SlotIndex(index as u16)));
            }
        }
    }
}

fn judge(
    taken: Taken<'_>,
    slot: SlotIndex,
    geometry: &Geometry,
    sq: &mut SqWriter<'_>,
    input: &mut Input<'_>,
) {
    let unique = taken.unique();
    if let Ok(header) = taken.header() {
        assert_eq!(header.unique, unique.get());
        assert!(header.opcode.fixed_len() <= taken.fixed().len());
    }
    let bound = input.u32();
    assert!(
        taken.payload_len(bound).is_ok_and(|len| len <= bound) || taken.payload_len(bound).is_err()
    );
    match taken.commit(Reply::Errno(5), sq, commit(geometry, slot)) {
        Ok(()) | Err(CommitError::Sq(..)) => {}
        Err(CommitError::Overtaken(what)) => {
            panic!("a request just taken is not {:?}: {what}", State::Replying)
        }
    }
}
