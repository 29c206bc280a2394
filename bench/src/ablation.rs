//! The stages of a request where shared maps help, each with its switch: what each gains or costs.
//!
//! To have another switch ablated, add a line to [`STAGES`]. A switch that the installed `shmfuse`
//! does not know is left out.

use crate::{capability::Capabilities, mounted::RULES, variant::Variant};

/// A stage and its switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name in tables.
    pub name: &'static str,
    /// The option of `shmfuse mount` that takes `on` and `off`.
    pub option: &'static str,
    /// What it does.
    pub what: &'static str,
}

/// Every stage with a switch. S3 is there when there are rules ([`RULED`]); S4, the shared memory
/// itself, is switched off by another transport.
pub const STAGES: &[Stage] = &[
    Stage {
        name: "S1",
        option: "s1",
        what: "names and attributes are answered by the kernel program",
    },
    Stage {
        name: "S2",
        option: "s2",
        what: "directories are loaded ahead",
    },
    Stage {
        name: "S5",
        option: "s5",
        what: "adjacent reads and writes are merged",
    },
    Stage {
        name: "S6",
        option: "s6",
        what: "replies fill the caches",
    },
];

/// The name of the variant with every stage on, the baseline of ablation.
pub const ALL_ON: &str = "everything on";
/// The name of the variant with no stage on.
pub const ALL_OFF: &str = "everything off";

/// The name of the variant with every stage on and as many rules as there may be, which no request
/// meets: what looking at all of them costs.
pub const RULED: &str = "everything on, and S3: 64 rules";

/// The stages whose switches this `shmfuse` knows.
pub fn known(capabilities: &Capabilities) -> Vec<Stage> {
    let known = |stage: &&Stage| {
        capabilities.has(stage.option, "on") && capabilities.has(stage.option, "off")
    };
    STAGES.iter().filter(known).copied().collect()
}

/// `base` with every stage on, then each one off; with every stage off, then each one on. None
/// without switches.
pub fn variants(base: &str, capabilities: &Capabilities) -> Vec<Variant> {
    let stages = known(capabilities);
    let with = |name: &str, on: &dyn Fn(Stage) -> bool| {
        let mut words = base.to_owned();
        for &stage in &stages {
            let switch = if on(stage) { "on" } else { "off" };
            words.push_str(&format!("~{}={switch}", stage.option));
        }
        Some(Variant::parse(&words, capabilities).ok()?.called(name))
    };
    let with_rules = || {
        let words = stages.iter().map(|stage| format!("~{}=on", stage.option));
        let words = format!("{base}{}~rules={RULES}", words.collect::<String>());
        Some(Variant::parse(&words, capabilities).ok()?.called(RULED))
    };
    if stages.is_empty() {
        return Vec::new();
    }
    let mut variants = vec![with(ALL_ON, &|_| true)];
    variants.push(with_rules());
    for &stage in &stages {
        let name = format!("without {}", stage.name);
        variants.push(with(&name, &|other| other != stage));
    }
    variants.push(with(ALL_OFF, &|_| false));
    for &stage in &stages {
        let name = format!("{} alone", stage.name);
        variants.push(with(&name, &|other| other == stage));
    }
    variants.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::fake;

    const USUAL: &[(&str, &str)] = &[("transport", "shm"), ("data", "copy"), ("cache", "strict")];

    #[test]
    fn every_known_stage_is_once_off_and_once_alone() {
        let dir = tempfile::tempdir().unwrap();
        let options = [USUAL, &[("s1", "on off"), ("s6", "on off")]].concat();
        let variants = variants("shm", &fake(dir.path(), &options));
        let names: Vec<&str> = variants.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(
            names,
            [
                ALL_ON,
                "without S1",
                "without S6",
                ALL_OFF,
                "S1 alone",
                "S6 alone"
            ]
        );
        let words = variants[1].words().join(" ");
        assert!(words.contains("--s1 off --s6 on"), "{words}");
    }

    #[test]
    fn rules_are_a_row_where_they_can_be_given() {
        let dir = tempfile::tempdir().unwrap();
        let options = [USUAL, &[("s1", "on off"), ("rules", RULES)]].concat();
        let variants = variants("shm", &fake(dir.path(), &options));
        let ruled = variants.iter().find(|variant| variant.name == RULED);
        let words = ruled.unwrap().words().join(" ");
        assert!(words.contains("--s1 on --rules {rules}"), "{words}");
    }

    #[test]
    fn without_switches_there_is_nothing_to_ablate() {
        let dir = tempfile::tempdir().unwrap();
        assert!(variants("shm", &fake(dir.path(), USUAL)).is_empty());
    }
}
