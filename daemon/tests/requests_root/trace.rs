//! The requests of one connection, as the tracepoint `fuse_request_send` shows them (Linux 6.9 and
//! newer; fs/fuse/fuse_trace.h). Traced in an instance of tracefs of its own, so that whoever
//! else traces is left alone.

use crate::common::bash;
use std::{collections::BTreeMap, fs, path::Path, path::PathBuf, process};

/// A trace in progress.
#[derive(Debug)]
pub struct RequestTrace {
    instance: PathBuf,
}

impl RequestTrace {
    /// Starts to trace the requests of `connection` (the minor device number of the mount).
    pub fn start(connection: u32) -> Self {
        let tracefs = Path::new("/sys/kernel/tracing");
        if !tracefs.join("instances").exists() {
            bash(tracefs, "mount -t tracefs tracefs .");
        }
        let instance = tracefs.join(format!(
            "instances/shmfuse-test-{}-{connection}",
            process::id()
        ));
        fs::create_dir(&instance).expect("an instance of tracefs");
        let trace = Self { instance };
        trace.write("buffer_size_kb", "16384");
        let event = "events/fuse/fuse_request_send";
        trace.write(
            &format!("{event}/filter"),
            &format!("connection == {connection}"),
        );
        trace.write(&format!("{event}/enable"), "1");
        trace
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.instance.join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Requests since the start, by opcode as in `FUSE_GETXATTR`.
    pub fn stop(self) -> BTreeMap<String, u64> {
        self.write("tracing_on", "0");
        let text = fs::read_to_string(self.instance.join("trace")).expect("the trace");
        let mut counts = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // "... opcode 22 (FUSE_GETXATTR) len 68"
            let opcode = line
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .find(|word| word.starts_with("FUSE_"))
                .unwrap_or_else(|| panic!("a request without its opcode: {line}"));
            *counts.entry(opcode.to_owned()).or_default() += 1;
        }
        counts
    }
}

impl Drop for RequestTrace {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.instance);
    }
}
