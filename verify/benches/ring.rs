//! What the ring protocol itself costs, in process: no kernel, no system call, no copy of a payload.
//!
//! `cargo bench -p verify`. A request here is what the models' kernel, the program and the consumer do for
//! it (docs/protocol.md, 3 to 6); what a real request costs beyond that is the kernel's, and in
//! docs/benchmarks.md.
#![cfg(not(shmfuse_loom))]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::{
    hint::{black_box, spin_loop},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use transport::{
    index::{Position, QueueIndex, SlotIndex, Unique},
    lane::{Dispatch, LaneConsumer, LaneRoom},
    layout::{Blank, Lane},
    memory::Memory,
    wire::Opcode,
};
use verify::{
    daemon::Daemon,
    engine::{mount, run, serve},
    kernel::{Ask, Kernel, Request},
};

/// Requests of one measurement.
const REQUESTS: u64 = 1000;

fn dispatch(number: u64) -> Dispatch {
    Dispatch {
        unique: Unique::new(number * 2 + 2).expect("it is not zero"),
        slot: SlotIndex((number % 64) as u16),
        queue: QueueIndex(0),
        opcode: Opcode::READ,
    }
}

/// A lane whose positions are about to wrap.
fn lane() -> Lane {
    let lane: Lane = Lane::blank();
    let start = Position(u32::MAX - 100);
    lane.tail.0.publish(start);
    lane.head.0.release(start);
    lane
}

/// One entry after the other, by one thread: the protocol without any sharing between CPUs.
fn lane_by_one_thread(criterion: &mut Criterion) {
    let lane = lane();
    let mut consumer = LaneConsumer::attach(&lane).expect("the positions are right");
    let mut number = 0;
    criterion.bench_function("lane entry, one thread", |bencher| {
        bencher.iter(|| {
            number += 1;
            let room = LaneRoom::reserve(&lane).expect("the lane is empty");
            room.publish(black_box(dispatch(number)));
            let entry = consumer.front().expect("the positions are right");
            consumer.release();
            entry
        });
    });
}

/// A producer that fills as fast as a consumer on another thread empties: contention for two cache
/// lines of positions and those of the entries.
fn lane_by_two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lane under contention");
    group.throughput(Throughput::Elements(1));
    group.bench_function("entry, two threads", |bencher| {
        bencher.iter_custom(|entries| {
            let lane = lane();
            std::thread::scope(|scope| {
                let consumer = scope.spawn(|| {
                    let mut consumer =
                        LaneConsumer::attach(&lane).expect("the positions are right");
                    for _ in 0..entries {
                        while consumer.front().expect("the positions are right").is_none() {
                            relax();
                        }
                        consumer.release();
                    }
                });
                let start = Instant::now();
                for number in 0..entries {
                    loop {
                        if let Ok(room) = LaneRoom::reserve(&lane) {
                            room.publish(dispatch(number));
                            break;
                        }
                        relax();
                    }
                }
                consumer.join().expect("the consumer ends");
                start.elapsed()
            })
        });
    });
    group.finish();
}

/// There and back through two lanes, each side spinning: what a hand-over between two CPUs takes when nobody
/// sleeps. On one CPU it is the scheduler's time.
fn hand_over(criterion: &mut Criterion) {
    criterion.bench_function("hand-over there and back, spinning", |bencher| {
        bencher.iter_custom(|rounds| {
            let (there, back, stop) = (lane(), lane(), AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| echo(&there, &back, &stop));
                let mut consumer = LaneConsumer::attach(&back).expect("the positions are right");
                let start = Instant::now();
                for number in 0..rounds {
                    let room = LaneRoom::reserve(&there).expect("one entry is under way");
                    room.publish(dispatch(number));
                    while consumer.front().expect("the positions are right").is_none() {
                        relax();
                    }
                    consumer.release();
                }
                let took = start.elapsed();
                stop.store(true, Ordering::Relaxed);
                took
            })
        });
    });
}

/// Sends back what comes, until told to stop.
fn echo(there: &Lane, back: &Lane, stop: &AtomicBool) {
    let mut consumer = LaneConsumer::attach(there).expect("the positions are right");
    while !stop.load(Ordering::Relaxed) {
        match consumer.front().expect("the positions are right") {
            Some(entry) => {
                consumer.release();
                let room = LaneRoom::reserve(back).expect("one entry is under way");
                room.publish(entry);
            }
            None => relax(),
        }
    }
}

/// Lets the other side go on, on this CPU too.
fn relax() {
    spin_loop();
    std::thread::yield_now();
}

fn requests(ask: Ask) -> Vec<Request> {
    (1..=REQUESTS).map(|n| Request::new(2 * n, ask)).collect()
}

/// Arrival, decision, answer by the program, commit: a request that no consumer sees.
fn answered(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answered by the program");
    group.throughput(Throughput::Elements(REQUESTS));
    for depth in [1, 4, 32] {
        group.bench_function(BenchmarkId::new("depth", depth), |bencher| {
            let set_up = || {
                let (geometry, memory) = mount(depth);
                Kernel::new(memory, geometry, &requests(Ask::Answer))
            };
            let turn = |mut kernel: Kernel| {
                while kernel.ended.len() < REQUESTS as usize {
                    kernel.turn();
                }
                kernel
            };
            bencher.iter_batched(set_up, turn, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// Arrival, lane, a consumer on another thread that parks, reply, commit.
fn dispatched(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answered by a consumer");
    group.throughput(Throughput::Elements(REQUESTS));
    for depth in [1, 4, 32] {
        group.bench_function(BenchmarkId::new("depth", depth), |bencher| {
            let requests = requests(Ask::Dispatch);
            bencher.iter(|| {
                run(depth, &requests, |memory, geometry, futex| {
                    let park = memory.park(0).expect("there is one");
                    serve(&mut Daemon::new(memory, geometry), park, futex);
                })
            });
        });
    }
    group.finish();
}

/// The same by one thread: without the hand-over.
fn dispatched_by_one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answered by a consumer, one thread");
    group.throughput(Throughput::Elements(REQUESTS));
    group.bench_function("depth/4", |bencher| {
        let set_up = || {
            let (geometry, memory) = mount(4);
            let kernel = Kernel::new(memory.clone(), geometry, &requests(Ask::Dispatch));
            (geometry, memory, kernel)
        };
        let work = |(geometry, memory, mut kernel): (_, Arc<_>, Kernel)| {
            let mut daemon = Daemon::new(&memory, geometry);
            while kernel.ended.len() < REQUESTS as usize {
                kernel.turn();
                while daemon.step() {}
            }
        };
        bencher.iter_batched(set_up, work, BatchSize::LargeInput);
    });
    group.finish();
}

/// Short: the machine that checks has two CPUs.
fn configured() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = ring;
    config = configured();
    targets = lane_by_one_thread, lane_by_two_threads, hand_over, answered,
        dispatched_by_one_thread, dispatched
}
criterion_main!(ring);
