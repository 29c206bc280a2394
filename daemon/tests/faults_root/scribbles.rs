//! Values that no correct peer writes, in each place of the memory (protocol 10).

use crate::{
    common::Variant,
    maps::{Maps, moved},
    trial::{Chance, scribble},
};

/// A unique that is, or could be, another's.
fn other_unique(chance: &mut Chance) -> u64 {
    chance.of(&[0, 2, 40, 4000, 1 << 61, u64::MAX])
}

macro_rules! scribbles {
    ($($(#[$doc:meta])* $name:ident: |$maps:ident, $chance:ident| $fault:expr;)+) => {$(
        $(#[$doc])*
        fn $name(variant: Variant) {
            scribble(variant, stringify!($name), |$maps: &Maps, $chance: &mut Chance| $fault);
        }
    )+};
}

scribbles! {
    the_unique_of_a_header: |maps, chance| {
        let slot = maps.slots.get(chance.next());
        slot.header.unique().set(other_unique(chance));
    };
    the_commit_id_of_a_header: |maps, chance| {
        let slot = maps.slots.get(chance.next());
        slot.header.commit_id().set(other_unique(chance));
    };
    the_identity_of_another_slot: |maps, chance| {
        let (from, to) = (maps.slots.get(chance.next()), maps.slots.get(chance.next()));
        to.header.unique().set(from.header.unique().get());
        to.header.commit_id().set(from.header.commit_id().get());
    };
    the_length_of_a_payload: |maps, chance| {
        let slot = maps.slots.get(chance.next());
        slot.header.payload_len().set(chance.of(&[2 << 20, u64::from(u32::MAX)]));
    };
    the_word_of_a_slot: |maps, chance| {
        let word = &maps.slots.get(chance.next()).word;
        let state = chance.next() % 8;
        word.scribble(other_unique(chance) << 3 | state);
    };
    the_state_of_a_slot: |maps, chance| {
        let slot = maps.slots.get(chance.next());
        let unique = slot.header.unique().get();
        slot.word.scribble((unique << 3) | (chance.next() % 8));
    };
    the_head_of_an_sq: |maps, chance| {
        let words = &maps.rings.get(chance.next()).words;
        let by = chance.of(&[-256, -257, -1, 1, 1000]);
        words.sq_head.scribble(moved(words.sq_tail.own(), by));
    };
    the_tail_of_an_sq: |maps, chance| {
        let words = &maps.rings.get(chance.next()).words;
        let by = chance.of(&[-1, 257, 1 << 30, -1000]);
        words.sq_tail.scribble(moved(words.sq_tail.own(), by));
    };
    /// What is in the places that the kernel then takes has been there before.
    the_tail_of_an_sq_by_a_small_step: |maps, chance| {
        let words = &maps.rings.get(chance.next()).words;
        let by = chance.of(&[1, 2, 3, 7, -2]);
        words.sq_tail.scribble(moved(words.sq_tail.own(), by));
    };
    /// Among them the one that says that the poll thread has to be woken.
    the_flags_of_an_sq: |maps, chance| {
        let words = &maps.rings.get(chance.next()).words;
        words.sq_flags.scribble(chance.of(&[0, 1, 2, 4, 6]));
    };
    the_commit_id_of_an_sqe: |maps, chance| {
        let ring = maps.rings.get(chance.next());
        let at = ring.words.sq_tail.own().0 as usize % ring.sqes.len();
        for back in 0..4 {
            ring.sqes[at.wrapping_sub(back) % ring.sqes.len()].0[7].set(other_unique(chance));
        }
    };
    the_tag_of_an_sqe: |maps, chance| {
        let ring = maps.rings.get(chance.next());
        let at = ring.words.sq_tail.own().0 as usize % ring.sqes.len();
        for back in 0..4 {
            ring.sqes[at.wrapping_sub(back) % ring.sqes.len()].0[4].set(chance.next());
        }
    };
    the_tail_of_a_lane: |maps, chance| {
        let lane = maps.lanes.get(chance.next());
        let by = chance.of(&[-1, 1, 5, 200, i32::MAX]);
        lane.tail.0.scribble(moved(lane.tail.0.own(), by));
    };
    the_head_of_a_lane: |maps, chance| {
        let lane = maps.lanes.get(chance.next());
        let by = chance.of(&[1, 5, -128, -129, i32::MAX]);
        lane.head.0.scribble(moved(lane.tail.0.own(), by));
    };
    the_entries_of_a_lane: |maps, chance| {
        let lane = maps.lanes.get(chance.next());
        let at = lane.head.0.own().0 as usize;
        for ahead in 0..2 {
            let entry = &lane.entries[(at + ahead) % lane.entries.len()];
            entry.unique.set(other_unique(chance));
            entry.what.set(chance.next());
        }
    };
    the_words_of_parks: |maps, chance| {
        let value = chance.of(&[0, 1, 2, u32::MAX]);
        maps.parks.get(chance.next()).0.scribble(value);
    };
    the_head_of_a_cq: |maps, chance| {
        let words = &maps.rings.get(chance.next()).words;
        let by = chance.of(&[1, 3, -1, -512, -513, i32::MAX]);
        words.cq_head.scribble(moved(words.cq_tail.observe(), by));
    };
    /// For so long that the kernel, too, reads it so when a thread waits.
    the_head_of_a_cq_all_the_while: |maps, chance| {
        let words = &maps.rings.get(chance.next()).words;
        let by = chance.of(&[1, 3, i32::MAX]);
        for _ in 0..20_000 {
            words.cq_head.scribble(moved(words.cq_tail.observe(), by));
        }
    };
    the_marks_of_completions: |maps, chance| {
        let ring = maps.rings.get(chance.next());
        let at = ring.words.cq_tail.observe().0 as usize;
        for around in 0..4 {
            let cqe = &ring.cqes[at.wrapping_sub(around) % ring.cqes.len()];
            cqe.flags.set(chance.of(&[1 << 31, u32::MAX]));
        }
    };
    the_tags_of_completions: |maps, chance| {
        let ring = maps.rings.get(chance.next());
        let at = ring.words.cq_tail.observe().0 as usize;
        for around in 0..4 {
            let cqe = &ring.cqes[at.wrapping_sub(around) % ring.cqes.len()];
            cqe.user_data.set(chance.next());
        }
    };
}

with_each_engine!([
    the_unique_of_a_header,
    the_commit_id_of_a_header,
    the_identity_of_another_slot,
    the_length_of_a_payload,
    the_word_of_a_slot,
    the_state_of_a_slot,
    the_head_of_an_sq,
    the_tail_of_an_sq,
    the_tail_of_an_sq_by_a_small_step,
    the_flags_of_an_sq,
    the_commit_id_of_an_sqe,
    the_tag_of_an_sqe,
    the_tail_of_a_lane,
    the_head_of_a_lane,
    the_entries_of_a_lane,
    the_words_of_parks,
    the_head_of_a_cq,
    the_head_of_a_cq_all_the_while,
    the_marks_of_completions,
    the_tags_of_completions,
]);
