//! Random operations: the shipped types against plain references, and both sides over hostile memory.
#![cfg(not(shmfuse_loom))]

use proptest::{collection::vec, prelude::*};
use verify::{hostile, properties};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_is_a_bounded_queue(bytes in vec(any::<u8>(), 0..512)) {
        properties::lane(&bytes);
    }

    #[test]
    fn an_sq_is_a_bounded_queue(bytes in vec(any::<u8>(), 0..512)) {
        properties::submissions(&bytes);
    }

    #[test]
    fn each_completion_is_seen_by_one_side(bytes in vec(any::<u8>(), 0..512)) {
        properties::completions(&bytes);
    }

    #[test]
    fn every_request_of_a_queue_ends_once_with_its_own_reply(bytes in vec(any::<u8>(), 0..256)) {
        properties::queue(&bytes);
    }

    #[test]
    fn a_cached_answer_is_never_wrong(bytes in vec(any::<u8>(), 0..1024)) {
        properties::cache(&bytes);
    }

    #[test]
    fn requests_and_replies_survive_a_slot(bytes in vec(any::<u8>(), 0..300)) {
        properties::wire(&bytes);
    }

    #[test]
    fn a_transformation_leads_there_and_back(bytes in vec(any::<u8>(), 0..700)) {
        properties::transform(&bytes);
    }

    #[test]
    fn the_program_bears_any_memory(bytes in vec(any::<u8>(), 0..512)) {
        hostile::program(&bytes);
    }

    #[test]
    fn the_daemon_bears_any_memory(bytes in vec(any::<u8>(), 0..512)) {
        hostile::daemon(&bytes);
    }
}

/// The first byte of the input of [`properties::wire`] chooses the opcode: this misses none.
#[test]
fn requests_of_every_opcode_survive_a_slot() {
    for opcode in 0..64u8 {
        for fill in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = vec![opcode; 1];
            bytes.resize(300, fill);
            properties::wire(&bytes);
        }
    }
}

/// Found by the fuzzer: the length of the whole reply did not fit its word.
#[test]
fn a_body_length_beyond_all_payloads_is_borne() {
    hostile::program(&[
        0xff, 0x00, 0x00, 0xb7, 0x00, 0x00, 0xff, 0xff, 0xff, 0x03, 0x00, 0x02, 0x02, 0x00, 0xb9,
        0xff, 0xf7, 0x9b, 0xff, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xb1, 0xb1, 0xb1, 0xb1,
        0x00, 0xdf, 0x2d, 0xff, 0x5d,
    ]);
}
