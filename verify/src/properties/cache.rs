//! Cached facts with invalidation, against the truth: a cached answer is never wrong.

use crate::{input::Input, reference::Truth};
use transport::{
    fact::{Fact, FactWriter},
    generation::{Stamp, begin_change, bump, end_change},
    layout::Blank,
    sync::GenerationWord,
};

/// Inodes; two share a generation word, as a collision of the hash makes them.
const INODES: usize = 4;
const WORDS: usize = 3;

/// A fill that has begun: which inode, its stamp, and what was found once it has looked.
struct Fill {
    inode: usize,
    stamp: Option<Stamp>,
    found: Option<u64>,
}

/// Fills in their three steps, changes through the mount in theirs, and changes below, of a few
/// inodes, in any order.
pub fn cache(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let generations = <[GenerationWord; WORDS]>::blank();
    let facts: [Fact<2>; INODES] = std::array::from_fn(|_| Fact::blank());
    let mut writer = FactWriter::default();
    let mut truths = [Truth::default(); INODES];
    let mut fills: Vec<Fill> = Vec::new();
    let word = |inode: usize| (inode % WORDS) as u32;
    while !input.is_over() {
        let inode = usize::from(input.choice(INODES as u8));
        let truth = &mut truths[inode];
        match input.choice(6) {
            0 => {
                let stamp = Stamp::take(&generations, word(inode));
                fills.push(Fill {
                    inode,
                    stamp,
                    found: None,
                });
            }
            1 if !fills.is_empty() => {
                let place = usize::from(input.byte()) % fills.len();
                let fill = &mut fills[place];
                match (fill.found, fill.stamp) {
                    (None, _) => fill.found = Some(truths[fill.inode].value),
                    (Some(value), Some(stamp)) => {
                        facts[fill.inode].write(&[value, stamp.value + 1], &mut writer);
                        fills.swap_remove(place);
                    }
                    (Some(_), None) => drop(fills.swap_remove(place)),
                }
            }
            2 => {
                begin_change(&generations, word(inode));
                truth.changes += 1;
            }
            3 if truth.changes > 0 => truth.value += 1,
            4 if truth.changes > 0 => {
                end_change(&generations, word(inode));
                truth.changes -= 1;
            }
            5 => {
                truth.value += 1;
                bump(&generations, word(inode));
            }
            _ => {}
        }
        for (inode, fact) in facts.iter().enumerate() {
            let mut words = [0; 2];
            assert!(fact.read(&mut words), "nobody writes it");
            let Some(value) = words[1].checked_sub(1) else {
                continue;
            };
            if (Stamp {
                index: word(inode),
                value,
            })
            .is_valid(&generations)
            {
                assert!(
                    truths[inode].allows(words[0]),
                    "inode {inode}: {words:?}, {truths:?}"
                );
            }
        }
    }
}
