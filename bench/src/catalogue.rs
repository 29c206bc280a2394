//! What is compared with what: the groups of a full and of a quick run.

use crate::{
    ablation,
    capability::Capabilities,
    comparison,
    peers::Peer,
    record::Left,
    run::{Below, Group},
    variant::Variant,
    workload::{Start, Workload, command::Shell, disturbed::OnBusyCpus},
    workloads::{self, Amount},
};
use std::{collections::HashSet, time::Duration};

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A look, in less than four minutes.
    Quick,
    /// The figures that count, in about 24 minutes.
    Full,
    /// [`comparison`](crate::comparison): past goals, settings and libfuse, in about 20 minutes.
    Comparison,
}

impl Scale {
    /// Repetitions that count.
    pub fn repetitions(self) -> usize {
        match self {
            Self::Quick => 3,
            Self::Full | Self::Comparison => 5,
        }
    }

    /// How many there are at most where intervals are wide.
    pub fn repetitions_at_most(self) -> usize {
        match self {
            Self::Quick | Self::Comparison => self.repetitions(),
            Self::Full => 9,
        }
    }

    /// How much time rounds that are not needed may fill up.
    pub fn aim(self) -> Duration {
        match self {
            Self::Quick | Self::Comparison => Duration::ZERO,
            Self::Full => Duration::from_secs(23 * 60),
        }
    }

    /// How long a run may take, in minutes.
    pub fn limit_minutes(self) -> f64 {
        match self {
            Self::Quick => 3.6,
            Self::Full => 38.0,
            Self::Comparison => 22.0,
        }
    }

    /// Time of a repetition.
    pub fn budget(self) -> Duration {
        match self {
            Self::Quick => Duration::from_millis(50),
            Self::Full => Duration::from_millis(110),
            Self::Comparison => Duration::from_millis(60),
        }
    }

    /// Sizes of what is worked on.
    pub fn amount(self) -> Amount {
        match self {
            Self::Quick => workloads::QUICK,
            Self::Full | Self::Comparison => workloads::FULL,
        }
    }
}

/// What a run can choose from.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// What the installed `shmfuse` can be told.
    pub capabilities: Capabilities,
    /// Other file systems.
    pub peers: Vec<Peer>,
    /// How much.
    pub scale: Scale,
}

/// A list of work.
type Work = Vec<Box<dyn Workload>>;

impl Catalogue {
    /// Every group, and what had to be left out of them.
    pub fn groups(&self) -> (Vec<Group>, Vec<Left>) {
        let mut left = Vec::new();
        let peers = self.peers_here(&mut left);
        if self.scale == Scale::Comparison {
            return (comparison::groups(|names| self.ours(names), &peers), left);
        }
        let amount = self.scale.amount();
        let full = self.scale == Scale::Full;
        let mut groups = Vec::new();
        let mut add = |name: &str, purpose: &str, variants: Vec<Variant>, work: Work| {
            if variants.len() > 1 && !work.is_empty() {
                groups.push(Group {
                    name: name.into(),
                    purpose: purpose.into(),
                    below: Below::AsTold,
                    variants,
                    workloads: work,
                });
            }
        };
        add(
            "transport",
            "What a request costs on each transport. Timeouts are 0, data is copied: every call of \
             the application is at least one request.",
            self.ours(&[
                "native",
                "classic",
                "splice",
                "uring",
                "shm",
                "shm~s1=off",
                "shm-kernel",
                "shm-kernel~s1=off",
            ]),
            workloads::transport(&amount),
        );
        add(
            "streams",
            "What the bytes of a large file cost on each data path.",
            self.ours(if full {
                &[
                    "native",
                    "classic",
                    "splice",
                    "uring",
                    "uring+direct",
                    "uring+passthrough",
                    "classic+passthrough",
                    "shm",
                    "shm+direct",
                    "shm+passthrough",
                    "shm+auto",
                    "shm-kernel",
                    "shm-kernel+passthrough",
                    "uring@coherent~writeback",
                ]
            } else {
                &[
                    "native",
                    "classic",
                    "splice",
                    "uring",
                    "uring+passthrough",
                    "shm",
                    "shm+passthrough",
                    "shm+auto",
                ]
            }),
            workloads::streams(&amount),
        );
        add(
            "fio",
            "Data by fio: block sizes, both ways, in order and at random, buffered and direct, one \
             request at a time and many.",
            self.ours(if full {
                &[
                    "native",
                    "classic",
                    "uring",
                    "shm",
                    "shm-kernel",
                    "uring+passthrough",
                    "shm+passthrough",
                ]
            } else {
                &["native", "classic", "uring", "shm", "uring+passthrough"]
            }),
            workloads::fio(&amount),
        );
        add(
            "metadata",
            "Names, directories and small files with timeouts 0: the kernel asks each time.",
            self.ours(&[
                "native",
                "classic",
                "uring",
                "shm",
                "shm-kernel",
                "shm+passthrough",
            ]),
            workloads::metadata(&amount),
        );
        let mut cached = self.ours(if full {
            &[
                "native",
                "uring+auto@ttl=1",
                "shm+auto@ttl=1",
                "uring+auto@coherent",
                "shm+auto@coherent",
                "shm-kernel+auto@coherent",
                "shm+auto@coherent~no-open",
            ]
        } else {
            &["native", "uring+auto@ttl=1", "shm+auto@coherent"]
        });
        cached.extend(peers.iter().cloned());
        add(
            "peers",
            "Ours with names and attributes believed by the kernel, beside other file systems that \
             pass a directory through.",
            cached.clone(),
            workloads::peers(&amount),
        );
        let workers = if full {
            let mut workers = self.ours(&["native", "uring+auto", "shm+auto", "shm-kernel+auto"]);
            workers.extend(cached.into_iter().skip(1));
            workers
        } else {
            let mut workers = self.ours(&["native", "uring+auto@coherent", "shm+auto@coherent"]);
            workers.extend(peers.iter().take(1).cloned());
            workers
        };
        add(
            "work",
            "Real programs on a tree of sources.",
            workers,
            boxed(Shell::all(amount.tree_files)),
        );
        let mut ablated = self.ours(&["native", "uring+auto"]);
        ablated.extend(ablation::variants("shm+auto", &self.capabilities));
        if ablated.len() > 2 {
            add(
                "ablation",
                "What each stage gains or costs: everything on and each one off, everything off and \
                 each one on. uring is the same without shared memory.",
                ablated,
                workloads::ablation(&amount),
            );
        }
        add(
            "busy",
            "The same while a loop keeps each CPU busy.",
            self.ours(&["native", "classic", "uring", "shm", "shm-kernel"]),
            workloads::transport_brief(&amount)
                .into_iter()
                .map(|workload| Box::new(OnBusyCpus(workload)) as Box<dyn Workload>)
                .collect(),
        );
        add(
            "slow",
            "The same while each operation on the lower file system takes a millisecond more, \
             beside itself without.",
            self.ours(&[
                "uring",
                "uring~lower-delay=1ms",
                "shm",
                "shm~lower-delay=1ms",
                "shm-kernel",
                "shm-kernel~lower-delay=1ms",
            ])
            .into_iter()
            .filter(|_| self.capabilities.has("lower-delay", "1ms"))
            .collect(),
            workloads::transport_brief(&amount),
        );
        (groups, left)
    }

    /// All workloads, once each, on variants that are named.
    pub fn chosen(&self, variants: Vec<Variant>) -> Vec<Group> {
        let mut seen = HashSet::new();
        let workloads = self
            .groups()
            .0
            .into_iter()
            .flat_map(|group| group.workloads)
            .filter(|workload| seen.insert(workload.name()))
            .collect();
        vec![Group {
            name: "chosen".into(),
            purpose: "What was named on the command line.".into(),
            below: Below::AsTold,
            variants,
            workloads,
        }]
    }

    /// A variant by name: one of ours, a peer, or one of the ablation's.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot run here.
    pub fn variant(&self, name: &str) -> anyhow::Result<Variant> {
        if let Some(peer) = self.peers.iter().find(|peer| peer.name == name) {
            return match peer.missing() {
                Some(why) => Err(anyhow::anyhow!("{name}: {why}")),
                None => Ok(peer.variant()),
            };
        }
        Variant::parse(name, &self.capabilities)
    }

    /// Those of the named variants that the installed `shmfuse` knows.
    fn ours(&self, names: &[&str]) -> Vec<Variant> {
        names
            .iter()
            .filter_map(|name| Variant::parse(name, &self.capabilities).ok())
            .collect()
    }

    fn peers_here(&self, left: &mut Vec<Left>) -> Vec<Variant> {
        let mut here = Vec::new();
        for peer in &self.peers {
            match peer.missing() {
                None => here.push(peer.variant()),
                Some(why) => left.push(Left {
                    what: peer.name.clone(),
                    why,
                }),
            }
        }
        here
    }
}

/// What the demonstration does on a tree of sources in the folder `tree`.
pub fn demo(tree: &str, build: Option<&str>) -> Vec<Box<dyn Workload>> {
    use crate::workload::command::Tree;
    let tree = Tree::There(tree.into());
    let mut shells = Shell::daily(&tree);
    shells.extend(build.map(|script| Shell {
        name: "build".into(),
        programs: &[],
        script: script.into(),
        tree,
        start: Start::Warm,
        takes: Duration::from_secs(2),
    }));
    boxed(shells)
}

fn boxed(shells: impl IntoIterator<Item = Shell>) -> Work {
    shells
        .into_iter()
        .map(|shell| Box::new(shell) as Box<dyn Workload>)
        .collect()
}

/// Whether `--only` wants a workload: no filter wants all, else one is a part of its name, or the
/// name of its group.
pub fn wanted(group: &str, workload: &str, only: &[String]) -> bool {
    only.is_empty()
        || only
            .iter()
            .any(|part| group == part || workload.contains(part.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::fake;

    fn catalogue(folder: &std::path::Path, scale: Scale) -> Catalogue {
        let options = [
            ("transport", "classic splice uring shm"),
            ("data", "copy passthrough auto"),
            ("cache", "strict ttl="),
        ];
        Catalogue {
            capabilities: fake(folder, &options),
            peers: Peer::parse(crate::peers::USUAL).unwrap(),
            scale,
        }
    }

    #[test]
    fn names_are_unique_in_every_group() {
        let dir = tempfile::tempdir().unwrap();
        for scale in [Scale::Quick, Scale::Full] {
            for group in catalogue(dir.path(), scale).groups().0 {
                let names: HashSet<String> = group.workloads.iter().map(|w| w.name()).collect();
                assert_eq!(names.len(), group.workloads.len(), "{}", group.name);
                let names: HashSet<&String> = group.variants.iter().map(|v| &v.name).collect();
                assert_eq!(names.len(), group.variants.len(), "{}", group.name);
            }
        }
    }

    #[test]
    fn every_variant_of_ours_says_what_it_promises() {
        let dir = tempfile::tempdir().unwrap();
        for group in catalogue(dir.path(), Scale::Full).groups().0 {
            for variant in &group.variants {
                if let crate::variant::How::Shmfuse(words) = &variant.how {
                    assert!(words.iter().any(|word| word == "--cache"), "{words:?}");
                }
            }
        }
    }

    #[test]
    fn what_the_binary_does_not_know_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let (groups, _) = catalogue(dir.path(), Scale::Full).groups();
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        assert!(
            !names.contains(&"ablation") && !names.contains(&"slow"),
            "{names:?}"
        );
        let all = groups.iter().flat_map(|group| &group.variants);
        assert!(
            all.into_iter()
                .all(|variant| !variant.name.contains("kernel"))
        );
    }

    #[test]
    fn a_group_or_a_part_of_a_name_is_wanted() {
        let only = ["stat".to_owned(), "fio".to_owned()];
        assert!(wanted("transport", "stat x2", &only));
        assert!(wanted("fio", "anything", &only));
        assert!(!wanted("transport", "walk", &only));
        assert!(wanted("transport", "walk", &[]));
    }
}
