//! A file system that does what it is asked for by its nodeid.

use shmfuse::fuse::{Answer, Body, Errno, Exchange, FileSystem, Negotiated, ServeThread};
use std::{sync::Mutex, thread, time::Duration};
use transport::wire::*;

/// The file system.
#[derive(Default)]
pub struct Fake {
    /// What FORGET said.
    pub forgotten: Mutex<Vec<ForgetOne>>,
    /// How often the connection ended.
    pub ended: Mutex<u32>,
}

/// A request to it is answered with its own payload.
pub const ANSWERS: u64 = 10;
/// A request to it panics.
pub const PANICS: u64 = 11;
/// A request to it waits until it is interrupted.
pub const WAITS: u64 = 12;
/// An answer for which there is no room.
pub const TOO_LONG: u64 = 13;

impl FileSystem for Fake {
    fn init(&self, _: &Negotiated) {}

    fn serve(&self, thread: &mut ServeThread, exchange: &mut (dyn Exchange + '_)) -> Answer {
        match exchange.header().nodeid {
            ANSWERS => {
                let payload = exchange.payload().to_vec();
                exchange.reply_bytes(&payload)
            }
            PANICS => panic!("asked to"),
            WAITS => loop {
                thread::sleep(Duration::from_millis(1));
                if thread.interrupted() {
                    return Err(Errno::INTR);
                }
            },
            TOO_LONG => Ok(Body::Out(exchange.out().len() + 1)),
            _ => Err(Errno::NOSYS),
        }
    }

    fn forget(&self, nodeid: u64, nlookup: u64) {
        assert_ne!(nodeid, PANICS, "asked to");
        let forgotten = ForgetOne { nodeid, nlookup };
        self.forgotten.lock().unwrap().push(forgotten);
    }

    fn may_block(&self, header: &InHeader, _: &[u8]) -> bool {
        header.nodeid == WAITS
    }

    fn holdings(&self) -> String {
        String::new()
    }

    fn destroy(&self) {
        *self.ended.lock().unwrap() += 1;
    }
}
