//! A workload while something else keeps every CPU busy.

use super::{Access, Measure, Place, Start, Workload};
use crate::{cpu::thread_time, recorder::Recorder};
use anyhow::Result;
use std::{
    hint::black_box,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Does the same with a thread in a loop on each CPU.
pub struct OnBusyCpus(pub Box<dyn Workload>);

/// Burns CPU time until told to stop; how much.
fn burn(stop: &AtomicBool) -> Duration {
    while !stop.load(Ordering::Relaxed) {
        for word in 0..1000u64 {
            black_box(word.wrapping_mul(word));
        }
    }
    thread_time()
}

impl Workload for OnBusyCpus {
    fn name(&self) -> String {
        format!("{} on busy CPUs", self.0.name())
    }

    fn measure(&self) -> Measure {
        self.0.measure()
    }

    fn start(&self) -> Start {
        self.0.start()
    }

    fn missing(&self) -> Option<&'static str> {
        self.0.missing()
    }

    fn access(&self) -> Option<Access> {
        self.0.access()
    }

    fn settle(&self, lower: &Path) -> Result<()> {
        self.0.settle(lower)
    }

    fn takes(&self) -> Option<Duration> {
        self.0.takes()
    }

    fn warmed_by(&self) -> Option<String> {
        self.0.warmed_by()
    }

    fn warm_up(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        self.0.warm_up(place, recorder)
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        self.0.prepare(lower)
    }

    fn clean(&self, lower: &Path) -> Result<()> {
        self.0.clean(lower)
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let stop = AtomicBool::new(false);
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let burners: Vec<_> = (0..cpus).map(|_| scope.spawn(|| burn(&stop))).collect();
            let result = self.0.run(place, recorder);
            stop.store(true, Ordering::Relaxed);
            for burner in burners {
                recorder.not_ours(burner.join().unwrap_or_default());
            }
            result
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{
        figures_of,
        names::{Attributes, Question},
    };

    #[test]
    fn what_burns_is_not_the_application_s() {
        let stop = AtomicBool::new(true);
        assert!(burn(&stop) < Duration::from_secs(60));
        let busy = OnBusyCpus(Box::new(Attributes {
            question: Question::Stat,
            files: 10,
            threads: 1,
            start: Start::Warm,
        }));
        assert_eq!(busy.name(), "stat on busy CPUs");
        assert!(figures_of(&busy).operations > 0);
    }
}
