//! The numbers in Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats).

use crate::{
    bpf::Snapshot,
    fuse::Session,
    stat::{self, Report},
    top::{Sample, Watched},
};
use std::fmt::Write as _;
use transport::{stats::LatencyClass, wire::InitFlags};

/// Classes of latency that are told: from 1 µs to 17 s, by factors of two.
const CLASSES: std::ops::Range<usize> = 9..34;

/// Text that grows by families of numbers.
#[derive(Default)]
struct Families(String);

impl Families {
    /// Begins a family.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // A String takes everything.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A number with its labels, of which the values may be any text.
    fn number(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let quoted = |(label, value): &(&str, &str)| {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            format!("{label}=\"{value}\"")
        };
        let labels: Vec<_> = labels.iter().map(quoted).collect();
        let _ = match labels[..] {
            [] => writeln!(self.0, "{name} {value}"),
            _ => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }

    /// A family of one number without labels.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.number(name, &[], value);
    }
}

/// Everything at this moment.
pub fn render(session: &Session, watched: Option<&Watched>) -> String {
    let mut families = Families::default();
    info(&mut families, session);
    held(&mut families, session);
    happened(&mut families, session);
    if let Some(sample) = watched.and_then(Watched::sample) {
        process(&mut families, &sample);
        requests(&mut families, &sample.requests);
        if let Some(shared) = &sample.shared {
            answered(&mut families, &shared.report);
            families.family(
                "shmfuse_lane_waiting",
                "gauge",
                "Requests that wait on lanes.",
            );
            for (index, waiting) in shared.lanes.iter().enumerate() {
                let lane = index.to_string();
                families.number("shmfuse_lane_waiting", &[("lane", &lane)], *waiting as f64);
            }
        }
    }
    families.0
}

fn info(families: &mut Families, session: &Session) {
    let config = session.config();
    let passthrough = session.negotiated().flags.contains(InitFlags::PASSTHROUGH);
    families.family("shmfuse_info", "gauge", "What is mounted, and how.");
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("mountpoint", &config.mountpoint.to_string_lossy()),
        ("lower", &config.lower.to_string_lossy()),
        ("transport", session.kind().name()),
        ("data", if passthrough { "passthrough" } else { "copy" }),
        ("cache", &config.cache.to_string()),
    ];
    families.number("shmfuse_info", &labels, 1.0);
}

/// What the file system holds, in its own words: `inodes=3 files=1`.
fn held(families: &mut Families, session: &Session) {
    families.family(
        "shmfuse_held",
        "gauge",
        "What the daemon holds, or has opened.",
    );
    for word in session.holdings().split_whitespace() {
        if let Some((what, count)) = word.split_once('=')
            && let Ok(count) = count.parse()
        {
            families.number("shmfuse_held", &[("what", what)], count);
        }
    }
}

fn happened(families: &mut Families, session: &Session) {
    let counters = session.counters();
    families.family(
        "shmfuse_events_total",
        "counter",
        "What is not seen in replies.",
    );
    for (event, count) in [
        ("panic", &counters.panics),
        ("malformed_request", &counters.malformed),
        ("interrupt", &counters.interrupts),
        ("blocking_refused", &counters.blocking_refused),
        ("read_spliced", &counters.reads_spliced),
        ("write_spliced", &counters.writes_spliced),
    ] {
        families.number(
            "shmfuse_events_total",
            &[("event", event)],
            count.get() as f64,
        );
    }
}

fn process(families: &mut Families, sample: &Sample) {
    let process = &sample.process;
    let cpu = process.cpu.as_secs_f64();
    families.single(
        "process_cpu_seconds_total",
        "counter",
        "CPU time of the daemon.",
        cpu,
    );
    families.single(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory of the daemon.",
        process.resident as f64,
    );
    families.single(
        "process_threads",
        "gauge",
        "Threads of the daemon.",
        process.threads as f64,
    );
}

fn requests(families: &mut Families, requests: &Snapshot) {
    let failed = "shmfuse_request_errors_total";
    families.family(failed, "counter", "Requests that ended with an errno.");
    for (opcode, counts) in requests.seen() {
        families.number(failed, &[("op", stat::name(opcode))], counts.failed as f64);
    }
    let name = "shmfuse_request_duration_seconds";
    families.family(name, "histogram", "From a request's sending to its end.");
    for (opcode, counts) in requests.seen() {
        let op = stat::name(opcode);
        let latency = &counts.latency;
        let (mut below, bucket) = (0, format!("{name}_bucket"));
        let mut classes = latency.classes().peekable();
        for class in LatencyClass::all().skip(CLASSES.start).take(CLASSES.len()) {
            while let Some((_, count)) = classes.next_if(|(of, _)| *of <= class) {
                below += count;
            }
            let end = class.ceiling_ns() as f64 / 1e9;
            families.number(
                &bucket,
                &[("op", op), ("le", &end.to_string())],
                below as f64,
            );
        }
        let count = latency.count() as f64;
        families.number(&bucket, &[("op", op), ("le", "+Inf")], count);
        let sum = latency.sum_ns as f64 / 1e9;
        families.number(&format!("{name}_sum"), &[("op", op)], sum);
        families.number(&format!("{name}_count"), &[("op", op)], count);
    }
}

fn answered(families: &mut Families, report: &Report) {
    let name = "shmfuse_answered_in_kernel_total";
    families.family(name, "counter", "Requests that a kernel program answered.");
    for op in &report.ops {
        let answered = op.totals.answered as f64;
        families.number(name, &[("op", stat::name(op.opcode))], answered);
    }
    let slots = f64::from(report.queues.0) * f64::from(report.queues.1);
    families.single("shmfuse_slots", "gauge", "Slots of all queues.", slots);
    families.single(
        "shmfuse_slots_used",
        "gauge",
        "Requests that lie in a slot without an answer.",
        report.totals.in_flight() as f64,
    );
    families.single(
        "shmfuse_corrupt_total",
        "counter",
        "Values in shared memory that cannot be.",
        report.corrupt as f64,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_may_be_any_text() {
        let mut families = Families::default();
        families.number("n", &[("path", "a\"b\\c\nd"), ("x", "")], 1.5);
        assert_eq!(families.0, "n{path=\"a\\\"b\\\\c\\nd\",x=\"\"} 1.5\n");
    }
}
