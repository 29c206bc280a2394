//! What a run leaves behind, in memory and as files that can be read back.
//!
//! | file | what it holds |
//! | --- | --- |
//! | raw.csv | a line a repetition: [`Row`] |
//! | latency.csv | its latencies at each of [`QUANTILES`] |
//! | counts.csv | requests and system calls of one repetition: [`CountRow`] |
//! | run.json | everything else: [`About`] |

use crate::{
    counting::Counts,
    floor::Floor,
    host::{Host, Noise},
    recorder::{Figures, QUANTILES},
    workload::Measure,
};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fs, path::Path};

/// Version of the files' schema: grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 2;

/// One repetition of a workload on a variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// [`Group::name`](crate::run::Group::name).
    pub group: String,
    /// [`Workload::name`](crate::workload::Workload::name).
    pub workload: String,
    /// What it is compared by.
    pub measure: Measure,
    /// [`Variant::name`](crate::variant::Variant::name).
    pub variant: String,
    /// 0 ..= repetitions - 1.
    pub repetition: usize,
    /// What was noted.
    pub figures: Figures,
    /// Latencies in nanoseconds at each of [`QUANTILES`].
    pub latency_curve_ns: Vec<u64>,
}

/// What was counted of a workload on a variant, in a repetition that was not timed.
#[derive(Clone, Debug, PartialEq)]
pub struct CountRow {
    /// As in [`Row`].
    pub group: String,
    /// As in [`Row`].
    pub workload: String,
    /// As in [`Row`].
    pub variant: String,
    /// The counts.
    pub counts: Counts,
}

/// A workload that failed on a variant: it has no figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// As in [`Row`].
    pub group: String,
    /// As in [`Row`].
    pub workload: String,
    /// As in [`Row`].
    pub variant: String,
    /// The error, and what it was about.
    pub why: String,
}

/// A variant, peer or workload that could not be run here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its name.
    pub what: String,
    /// The reason, and the remedy where there is one.
    pub why: String,
}

/// A group of a run, for its headings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupAbout {
    /// Its name.
    pub name: String,
    /// What it is there to show.
    pub purpose: String,
    /// What is run to mount each variant, by its name.
    pub variants: BTreeMap<String, Vec<String>>,
    /// Copies by the CPU of each byte that a workload delivers, by design, where that is known:
    /// by workload, then by variant.
    pub copies: BTreeMap<String, BTreeMap<String, f64>>,
}

/// What is known of a run besides its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The words behind `shmfuse-bench`.
    pub command: String,
    /// The lower directory's file system.
    pub lower: String,
    /// How often each workload ran on each variant and counted, at least.
    pub repetitions: usize,
    /// Free memory that was kept from going back to a host, in MiB ([`crate::reserve`]).
    #[serde(default)]
    pub reserved_mib: u64,
    /// Seconds of a repetition, of workloads that end by time.
    pub budget_s: f64,
    /// Seconds of the whole run.
    pub took_s: f64,
    /// Of these, what went into what: preparing, mounting, warming up, counting, timed, ...
    #[serde(default)]
    pub spent_s: BTreeMap<String, f64>,
    /// The machine.
    pub host: Host,
    /// How quiet it was.
    pub noise: Noise,
    /// What it charges for a system call, a hand-over, a copy.
    pub floor: Floor,
    /// The groups, in order.
    pub groups: Vec<GroupAbout>,
    /// Variants that are other people's programs.
    pub peers: Vec<String>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// What could not be run.
    pub left: Vec<Left>,
}

impl About {
    /// Name and value of each thing worth knowing, for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = self.host.lines();
        lines.extend(self.noise.lines());
        lines.push(("lower file system", self.lower.clone()));
        lines.push(("repetitions", self.repetitions.to_string()));
        lines.push(("time of a repetition", format!("{} s", self.budget_s)));
        lines.push(("the whole run", format!("{:.1} min", self.took_s / 60.0)));
        let spent = self.spent_s.iter();
        let spent: Vec<String> = spent.map(|(what, s)| format!("{what} {s:.0} s")).collect();
        if !spent.is_empty() {
            lines.push(("of it", spent.join(", ")));
        }
        lines
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Record {
    /// What is known of it.
    pub about: About,
    /// Every repetition, in the order of groups, workloads and variants.
    pub rows: Vec<Row>,
    /// What was counted.
    pub counts: Vec<CountRow>,
}

/// The columns of raw.csv before those of [`Figures`].
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Key {
    group: String,
    workload: String,
    variant: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    repetition: usize,
}

impl Record {
    /// Writes raw.csv, latency.csv, counts.csv and run.json into `folder`, which is made.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let raw = self.rows.iter().map(|row| (key(row), row.figures));
        write_csv(&folder.join("raw.csv"), raw)?;
        let counts = self.counts.iter().map(|row| {
            let key = Key {
                group: row.group.clone(),
                workload: row.workload.clone(),
                variant: row.variant.clone(),
                unit: String::new(),
                repetition: 0,
            };
            (key, row.counts)
        });
        write_csv(&folder.join("counts.csv"), counts)?;
        self.write_latencies(&folder.join("latency.csv"))?;
        let json = serde_json::to_string_pretty(&self.about)? + "\n";
        let path = folder.join("run.json");
        fs::write(&path, json).with_context(|| path.display().to_string())
    }

    /// Reads what [`write`](Self::write) has written.
    ///
    /// # Errors
    ///
    /// If a file is missing, is none of ours, or is of another version.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("run.json");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let about: About =
            serde_json::from_str(&text).with_context(|| format!("{} is no run", path.display()))?;
        ensure!(
            about.schema == SCHEMA,
            "{} has schema {}, this program reads {SCHEMA}",
            path.display(),
            about.schema
        );
        let curves = read_latencies(&folder.join("latency.csv"))?;
        let raw: Vec<(Key, Figures)> = read_csv(&folder.join("raw.csv"))?;
        let rows = raw
            .into_iter()
            .map(|(key, figures)| {
                let name = line_name(&key.group, &key.workload, &key.variant, key.repetition);
                Ok(Row {
                    measure: Measure::from_unit(&key.unit)
                        .with_context(|| format!("no unit {:?}", key.unit))?,
                    latency_curve_ns: curves.get(&name).cloned().unwrap_or_default(),
                    group: key.group,
                    workload: key.workload,
                    variant: key.variant,
                    repetition: key.repetition,
                    figures,
                })
            })
            .collect::<Result<_>>()?;
        let counts: Vec<(Key, Counts)> = read_csv(&folder.join("counts.csv"))?;
        let counts = counts
            .into_iter()
            .map(|(key, counts)| CountRow {
                group: key.group,
                workload: key.workload,
                variant: key.variant,
                counts,
            })
            .collect();
        Ok(Self {
            about,
            rows,
            counts,
        })
    }

    fn write_latencies(&self, path: &Path) -> Result<()> {
        let mut file = csv::Writer::from_path(path).with_context(|| path.display().to_string())?;
        let mut heading: Vec<String> = ["group", "workload", "variant", "repetition"]
            .map(str::to_owned)
            .into();
        heading.extend(QUANTILES.iter().map(|quantile| format!("q{quantile}_ns")));
        file.write_record(&heading)?;
        for row in &self.rows {
            let mut line = vec![
                row.group.clone(),
                row.workload.clone(),
                row.variant.clone(),
                row.repetition.to_string(),
            ];
            line.extend(row.latency_curve_ns.iter().map(u64::to_string));
            line.resize(heading.len(), String::new());
            file.write_record(&line)?;
        }
        Ok(file.flush()?)
    }
}

fn key(row: &Row) -> Key {
    Key {
        group: row.group.clone(),
        workload: row.workload.clone(),
        variant: row.variant.clone(),
        unit: row.measure.unit().to_owned(),
        repetition: row.repetition,
    }
}

fn line_name(group: &str, workload: &str, variant: &str, repetition: usize) -> String {
    format!("{group}\n{workload}\n{variant}\n{repetition}")
}

/// Nanoseconds at each quantile, by [`line_name`].
fn read_latencies(path: &Path) -> Result<BTreeMap<String, Vec<u64>>> {
    let mut file = csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
    let mut curves = BTreeMap::new();
    for line in file.records() {
        let line = line?;
        let field = |index| line.get(index).unwrap_or_default();
        let name = line_name(field(0), field(1), field(2), field(3).parse().unwrap_or(0));
        let curve = line.iter().skip(4).filter_map(|ns| ns.parse().ok());
        curves.insert(name, curve.collect());
    }
    Ok(curves)
}

/// One line for each pair; a heading of the fields of both.
fn write_csv<T: Serialize>(path: &Path, lines: impl Iterator<Item = (Key, T)>) -> Result<()> {
    let mut file = csv::Writer::from_path(path).with_context(|| path.display().to_string())?;
    let mut heading = Vec::new();
    for (key, value) in lines {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for part in [serde_json::to_value(key)?, serde_json::to_value(value)?] {
            let fields = part.as_object().context("no structure")?;
            for (name, value) in fields {
                names.push(name.clone());
                values.push(match value {
                    serde_json::Value::String(text) => text.clone(),
                    serde_json::Value::Null => String::new(),
                    other => other.to_string(),
                });
            }
        }
        if heading.is_empty() {
            file.write_record(&names)?;
            heading = names;
        }
        file.write_record(&values)?;
    }
    Ok(file.flush()?)
}

/// Names, not numbers, whatever they look like.
const TEXTS: [&str; 4] = ["group", "workload", "variant", "unit"];

fn read_csv<T: DeserializeOwned>(path: &Path) -> Result<Vec<(Key, T)>> {
    let mut file = csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
    let names = file.headers()?.clone();
    file.records()
        .map(|line| {
            let line = line?;
            let fields: serde_json::Map<String, serde_json::Value> = names
                .iter()
                .zip(&line)
                .map(|(name, text)| {
                    let number = text.parse::<u64>().ok().filter(|_| !TEXTS.contains(&name));
                    let value = match number {
                        Some(number) => number.into(),
                        None if text.is_empty() && !TEXTS.contains(&name) => {
                            serde_json::Value::Null
                        }
                        None => text.into(),
                    };
                    (name.to_owned(), value)
                })
                .collect();
            let value = serde_json::Value::Object(fields);
            let key = serde_json::from_value(value.clone());
            let rest = serde_json::from_value(value);
            Ok((
                key.with_context(|| path.display().to_string())?,
                rest.with_context(|| path.display().to_string())?,
            ))
        })
        .collect()
}
