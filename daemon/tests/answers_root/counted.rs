//! What `shmfuse stat` counts.

use crate::common::{MountBuilder, TestMount, try_stat, wait_until};
use serde_json::Value;

/// Mounts, and waits until requests come over the rings: a mount answers before its last ring is
/// complete, and what comes over `/dev/fuse` until then is not seen by the programs.
pub fn mounted(builder: MountBuilder) -> TestMount {
    let mount = builder.mount();
    wait_until("requests come over the rings", || {
        let before = Counted::of(&mount).0["totals"]["arrivals"].as_u64();
        let name = mount.path().join("a name that is not there");
        assert!(!name.exists());
        Counted::of(&mount).0["totals"]["arrivals"].as_u64() > before
    });
    mount
}

/// The counters of a mount at one moment.
pub struct Counted(Value);

impl Counted {
    /// Asks for them, as soon as the daemon can be found.
    pub fn of(mount: &TestMount) -> Self {
        let mut said = None;
        wait_until("the daemon is found", || {
            said = try_stat(mount.path());
            said.is_some()
        });
        Self(said.unwrap_or_default())
    }

    /// Requests of an opcode that the programs answered.
    pub fn answered(&self, opcode: &str) -> u64 {
        self.op(opcode, "answered")
    }

    /// Requests of an opcode that the daemon got.
    pub fn dispatched(&self, opcode: &str) -> u64 {
        self.op(opcode, "dispatched")
    }

    /// Requests of an opcode that were refused.
    pub fn denied(&self, opcode: &str) -> u64 {
        self.op(opcode, "denied")
    }

    /// What became of the facts, by its name there.
    pub fn s1(&self, name: &str) -> u64 {
        self.0["s1"][name].as_u64().unwrap_or_default()
    }

    /// What became of what was loaded ahead, by its name there.
    pub fn ahead(&self, name: &str) -> u64 {
        self.0["s2"][name].as_u64().unwrap_or_default()
    }

    /// What is loaded before it is asked for.
    pub fn ahead_mode(&self) -> &str {
        self.0["s2"]["mode"].as_str().unwrap_or_default()
    }

    /// Answers that a program renewed from replies.
    pub fn renewed_by_replies(&self) -> u64 {
        self.0["s6"]["renewed"].as_u64().unwrap_or_default()
    }

    /// Whether there are any.
    pub fn is_on(&self) -> bool {
        self.0["s1"]["on"] == true
    }

    /// All requests that the programs answered.
    pub fn all_answered(&self) -> u64 {
        self.0["totals"]["answered"].as_u64().unwrap_or_default()
    }

    fn op(&self, opcode: &str, name: &str) -> u64 {
        self.0["ops"][opcode][name].as_u64().unwrap_or_default()
    }
}
