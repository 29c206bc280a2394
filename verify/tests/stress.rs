//! The real rings under real threads: a poll thread with the program in it, and a consumer that parks. The
//! payloads are ordinary memory, so that ThreadSanitizer sees whether the protocol orders their uses
//! (docs/testing.md says how to run it so).
#![cfg(not(shmfuse_loom))]
#![expect(
    unsafe_code,
    reason = "payloads are handed over by the protocol under test"
)]

use std::{cell::UnsafeCell, sync::Arc};
use transport::memory::Memory;
use verify::{
    daemon::Daemon,
    engine::{Futex, mount, poll, serve},
    kernel::{Ask, End, Kernel, REPLY, Request},
};

const WORDS: usize = 64;

/// One payload for each slot.
#[derive(Default)]
struct Payloads([UnsafeCell<Vec<u64>>; 4]);

// SAFETY: this is what is tested: a payload belongs to the slot's owner (docs/protocol.md, 3).
unsafe impl Sync for Payloads {}

impl Payloads {
    fn fill(&self, slot: usize, value: u64) {
        // SAFETY: the caller owns the slot.
        let payload = unsafe { &mut *self.0[slot].get() };
        payload.clear();
        payload.resize(WORDS, value);
    }

    fn check(&self, slot: usize, allowed: [u64; 2]) {
        // SAFETY: the caller owns the slot.
        let payload = unsafe { &*self.0[slot].get() };
        assert_eq!(payload.len(), WORDS);
        assert!(
            allowed.contains(&payload[0]),
            "{} is not in {allowed:?}",
            payload[0]
        );
        assert!(
            payload.iter().all(|word| *word == payload[0]),
            "a torn payload"
        );
    }
}

fn requests(count: u64, seed: u64) -> Vec<Request> {
    let mut state = seed;
    (1..=count)
        .map(|n| {
            // xorshift64 (Marsaglia 2003)
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let ask = match state % 8 {
                0 => Ask::Leave,
                1..4 => Ask::Dispatch,
                _ => Ask::Answer,
            };
            Request::new(2 * n, ask)
        })
        .collect()
}

fn run(count: u64, seed: u64) {
    let (geometry, memory) = mount(4);
    let futex = Arc::new(Futex::default());
    let payloads = Arc::new(Payloads::default());
    let requests = requests(count, seed);
    let mut kernel = Kernel::new(memory.clone(), geometry, &requests);
    let wakes = futex.clone();
    kernel.futex_wake = Box::new(move || wakes.wake());
    let copies = payloads.clone();
    kernel.copy_in = Box::new(move |slot, unique| copies.fill(slot, unique));
    let copies = payloads.clone();
    kernel.copy_out = Box::new(move |slot, unique| copies.check(slot, [unique, unique + REPLY]));
    let poll_thread = {
        let (futex, count) = (futex.clone(), requests.len());
        std::thread::spawn(move || {
            poll(&mut kernel, count, &futex);
            kernel
        })
    };
    let mut daemon = Daemon::new(&memory, geometry);
    daemon.payload = Box::new(move |slot, unique| {
        payloads.check(slot.0.into(), [unique; 2]);
        payloads.fill(slot.0.into(), unique + REPLY);
    });
    serve(&mut daemon, memory.park(0).expect("there is one"), &futex);
    let kernel = poll_thread.join().expect("the poll thread ends");
    assert_eq!(kernel.refused, 0);
    assert_eq!(kernel.ended.len() as u64, count);
    assert!(kernel.ended.iter().all(|(_, end)| *end == End::Replied));
    let by_daemon = requests.iter().filter(|it| it.ask != Ask::Answer).count();
    assert!(
        daemon.served >= by_daemon,
        "{} of {by_daemon}",
        daemon.served
    );
}

#[test]
fn every_request_ends_once_under_real_threads() {
    for seed in 1..=8 {
        run(5_000, seed);
    }
}
