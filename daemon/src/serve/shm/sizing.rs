//! How much memory a mount gets: what was asked for, or as much of it as the bound allows.

use crate::{
    bpf::{CacheSizes, Sizes},
    config::Config,
    error::{Error, Result},
};
use rustix::system::sysinfo;
use std::fmt;
use transport::{cq::Engine, layout::MAX_DEPTH};

/// The share of the machine's memory that a mount may take if nobody says otherwise: one in four.
const DEFAULT_SHARE: u64 = 4;
/// `--s1-entries`, if nobody says otherwise.
pub const DEFAULT_FACTS: u32 = 65536;

/// What a mount of the shm transport takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// As it will be.
    pub sizes: Sizes,
    /// Answers that the programs may give.
    pub caches: CacheSizes,
    /// Slots per queue that were asked for; more than there will be if the bound does not hold them.
    pub depth_asked: u32,
    /// The bound, in bytes.
    pub memory_max: u64,
}

/// Sizes the memory of `queues` queues with payloads of `payload_len` bytes as `config` wants it.
/// If that is more than the bound, the queues are less deep.
///
/// `noticed` says whether changes below can be noticed: else the programs answer nothing from facts.
/// Where they do not even refuse names, no payload has a head: they would have nothing to do with it.
///
/// # Errors
///
/// [`Error::Refused`] if the bound does not even hold one slot per queue.
pub fn plan(config: &Config, noticed: bool, queues: u32, payload_len: usize) -> Result<Plan> {
    let facts = match config.s1 && noticed {
        true => config.s1_entries,
        false => 0,
    };
    let caches = CacheSizes {
        renews: facts > 0 && config.s6,
        ..CacheSizes::new(facts, config.deny.len())
    };
    let asked = Sizes {
        queues,
        depth: config.queue_depth.clamp(1, MAX_DEPTH) as u32,
        rings: match config.engine {
            Engine::Worker => 1,
            Engine::Kernel => 2,
        },
        consumers: queues,
        head_len: match caches.sets + caches.denied_sets {
            0 => 0,
            _ => config.head_len.min(payload_len),
        },
        payload_len,
    };
    fit(asked, caches, config.memory_max)
}

/// The same with everything as it is if nobody says otherwise, and the longest payload.
///
/// # Errors
///
/// As [`plan`].
pub fn plan_by_default(queues: u32) -> Result<Plan> {
    let payload_len = crate::fuse::negotiate::PAYLOAD_MAX;
    let asked = Sizes {
        queues,
        depth: 8,
        rings: 1,
        consumers: queues,
        head_len: 4096,
        payload_len,
    };
    fit(asked, CacheSizes::new(DEFAULT_FACTS, 0), None)
}

fn fit(asked: Sizes, caches: CacheSizes, memory_max: Option<u64>) -> Result<Plan> {
    let bound = memory_max.unwrap_or_else(default_memory_max);
    let of_depth = |depth| Sizes { depth, ..asked };
    let total = |sizes: &Sizes| sizes.total_bytes() + caches.bytes() as u64;
    let fits = |sizes: &Sizes| total(sizes) <= bound;
    let found = (1..=asked.depth).rev().map(of_depth).find(fits);
    let sizes = found.ok_or_else(|| refused(&of_depth(1), &caches, memory_max, bound))?;
    Ok(Plan {
        sizes,
        caches,
        depth_asked: asked.depth,
        memory_max: bound,
    })
}

fn refused(least: &Sizes, caches: &CacheSizes, memory_max: Option<u64>, bound: u64) -> Error {
    let thing = match memory_max {
        Some(_) => format!("--memory-max {}", Mebibytes(bound)),
        None => format!(
            "--transport shm in a quarter of this memory, {}",
            Mebibytes(bound)
        ),
    };
    let needed = Mebibytes(least.total_bytes() + caches.bytes() as u64);
    Error::refused(
        thing,
        format!(
            "too little for {} queues with one payload of {} KiB each and {} answers, which take {needed}",
            least.queues,
            least.payload_len >> 10,
            caches.facts(),
        ),
        format!(
            "--memory-max {needed} or more, less --max-write or --s1-entries, or --transport uring"
        ),
    )
}

fn default_memory_max() -> u64 {
    let system = sysinfo();
    (system.totalram as u64).saturating_mul(u64::from(system.mem_unit)) / DEFAULT_SHARE
}

/// Bytes, as `--memory-max` takes them: rounded up to whole mebibytes.
struct Mebibytes(u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}M", self.0.div_ceil(1 << 20))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sizes {
            queues,
            depth,
            head_len,
            ..
        } = self.sizes;
        write!(
            f,
            "{queues} queues of {depth} slots, heads of {} KiB: {} in maps and up to {} beside them",
            head_len >> 10,
            Mebibytes((self.sizes.map_bytes() + self.caches.bytes()) as u64),
            Mebibytes(self.sizes.payload_bytes() as u64),
        )?;
        if depth < self.depth_asked {
            write!(
                f,
                "; not {} slots, to stay below --memory-max {}",
                self.depth_asked,
                Mebibytes(self.memory_max)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(depth: u32, head_len: usize) -> Sizes {
        Sizes {
            queues: 2,
            depth,
            rings: 1,
            consumers: 4,
            head_len,
            payload_len: 1 << 20,
        }
    }

    #[test]
    fn what_fits_is_given_as_asked_and_nothing_is_said() {
        let plan = fit(asked(8, 4096), CacheSizes::default(), Some(1 << 30)).unwrap();
        assert_eq!(plan.sizes, asked(8, 4096));
        assert!(!plan.to_string().contains("memory-max"), "{plan}");
    }

    #[test]
    fn what_does_not_fit_makes_queues_less_deep_and_that_is_said() {
        let plan = fit(asked(8, 4096), CacheSizes::default(), Some(14 << 20)).unwrap();
        assert_eq!(plan.sizes.depth, 3);
        assert!(plan.sizes.total_bytes() <= 14 << 20);
        let text = plan.to_string();
        assert!(text.contains("2 queues of 3 slots"), "{text}");
        assert!(
            text.contains("not 8 slots") && text.contains("14M"),
            "{text}"
        );
    }

    #[test]
    fn a_payload_that_lies_in_a_map_as_a_whole_takes_nothing_beside_it() {
        let plan = fit(asked(8, 1 << 20), CacheSizes::default(), Some(20 << 20)).unwrap();
        assert_eq!(plan.sizes.payload_bytes(), 0);
        assert!(plan.sizes.map_bytes() > 16 << 20);
    }

    #[test]
    fn a_bound_below_one_slot_per_queue_is_refused_and_the_one_it_takes_is_named() {
        let error = fit(asked(8, 4096), CacheSizes::default(), Some(3 << 20))
            .unwrap_err()
            .to_string();
        assert!(error.contains("--memory-max 3M"), "{error}");
        assert!(error.contains("--memory-max 5M or more"), "{error}");
        assert!(fit(asked(8, 4096), CacheSizes::default(), Some(5 << 20)).is_ok());
    }
}
