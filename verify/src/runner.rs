//! Runs each model, and each mutant, in a process of its own: a model that fails leaves the model
//! checker unusable for the next.

use std::{
    env, fmt,
    io::Write,
    panic,
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use transport::mutant::{Mutant, activate};
use verify::{
    models::executions,
    registry::{KILLERS, MODELS, Model},
};

const USAGE: &str = "usage: verify [--quick] [--mutants] [--model NAME] [--mutant NAME] [--list]";

/// Time after which a model counts as failed.
const LIMIT: Duration = Duration::from_secs(1800);
/// How many run at once.
const JOBS: usize = 2;

/// Entry point.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (mut quick, mut mutants, mut only, mut mutant) = (false, false, None, None);
    let mut rest = words.as_slice();
    while let Some((word, tail)) = rest.split_first() {
        rest = match (*word, tail.split_first()) {
            ("--one", Some((name, options))) => return one(name, options),
            ("--list", _) => return list(),
            ("--quick", _) => {
                quick = true;
                tail
            }
            ("--mutants", _) => {
                mutants = true;
                tail
            }
            ("--model", Some((name, tail))) => {
                only = Some(*name);
                tail
            }
            ("--mutant", Some((name, tail))) => {
                mutant = Some(*name);
                tail
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::FAILURE;
            }
        };
    }
    let jobs = jobs(quick, mutants, only, mutant);
    if jobs.is_empty() {
        eprintln!("there is no such model or mutant; `--list` names them");
        return ExitCode::FAILURE;
    }
    run_all(jobs)
}

fn list() -> ExitCode {
    for model in MODELS {
        println!("{:<18} {}", model.name, model.question);
    }
    println!();
    for (mutant, name, what) in Mutant::ALL {
        let killer = KILLERS
            .iter()
            .find(|(it, _)| it == mutant)
            .map_or("-", |(_, name)| name);
        println!("{name:<26} {killer:<18}{what}");
    }
    ExitCode::SUCCESS
}

fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.name == name)
}

/// A model to run, as it is or with a mutant that it must fail for.
struct Job {
    model: &'static Model,
    mutant: Option<&'static (Mutant, &'static str, &'static str)>,
    quick: bool,
}

fn jobs(quick: bool, mutants: bool, only: Option<&str>, mutant: Option<&str>) -> Vec<Job> {
    let wanted = |model: &Model| only.is_none_or(|name| name == model.name);
    let mut jobs = Vec::new();
    if mutant.is_none() && !(mutants && only.is_none()) {
        let models = MODELS.iter().filter(|model| wanted(model));
        jobs.extend(models.map(|model| Job {
            model,
            mutant: None,
            quick,
        }));
    }
    if only.is_some() && !mutants {
        return jobs;
    }
    for entry in Mutant::ALL {
        let killer = KILLERS
            .iter()
            .find(|(it, _)| *it == entry.0)
            .map(|(_, name)| *name);
        let Some(model) = killer.and_then(find) else {
            panic!("no model is named for the mutant {}", entry.1);
        };
        if wanted(model) && mutant.is_none_or(|name| name == entry.1) {
            jobs.push(Job {
                model,
                mutant: Some(entry),
                quick: true,
            });
        }
    }
    jobs
}

/// What came of a job.
enum Verdict {
    Passed(u64),
    Failed(u64, String),
    /// Without a panic of the model: says nothing about the protocol.
    Crashed,
    TimedOut,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Passed(_) => "holds".to_owned(),
            Self::Failed(_, why) => format!("fails: {why}"),
            Self::Crashed => "the process died".to_owned(),
            Self::TimedOut => format!("not done after {} s", LIMIT.as_secs()),
        };
        f.pad(&text)
    }
}

struct Running {
    job: Job,
    child: Child,
    since: Instant,
}

fn run_all(jobs: Vec<Job>) -> ExitCode {
    println!(
        "{:<18} {:<27} {:>10} {:>8}  result",
        "model", "mutant", "executions", "seconds"
    );
    let begin = Instant::now();
    let (mut models, mut killed, mut bad) = (0, 0, 0);
    let mut waiting = jobs.into_iter();
    let mut running: Vec<Running> = Vec::new();
    loop {
        while running.len() < JOBS {
            let Some(job) = waiting.next() else { break };
            running.push(start(job));
        }
        if running.is_empty() {
            break;
        }
        sleep(Duration::from_millis(20));
        let mut index = 0;
        while index < running.len() {
            match finished(&mut running[index]) {
                None => index += 1,
                Some(verdict) => {
                    let Running { job, since, .. } = running.remove(index);
                    let good = report(&job, &verdict, since.elapsed());
                    match (good, job.mutant) {
                        (true, None) => models += 1,
                        (true, Some(_)) => killed += 1,
                        (false, _) => bad += 1,
                    }
                }
            }
        }
    }
    let seconds = begin.elapsed().as_secs();
    println!("\n{models} models hold and {killed} mutants are killed, in {seconds} s");
    println!("{} passed, {bad} failed", models + killed);
    if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn start(job: Job) -> Running {
    let mut command = Command::new(env::current_exe().expect("the running program has a path"));
    command.args(["--one", job.model.name]);
    if job.quick {
        command.arg("--quick");
    }
    if let Some((_, name, _)) = job.mutant {
        command.arg(name);
    }
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    Running {
        job,
        child: child.expect("a process can be started"),
        since: Instant::now(),
    }
}

fn finished(running: &mut Running) -> Option<Verdict> {
    if running
        .child
        .try_wait()
        .expect("the child is ours")
        .is_none()
    {
        if running.since.elapsed() < LIMIT {
            return None;
        }
        // A child that has just ended is no error.
        let _ = running.child.kill();
        let _ = running.child.wait();
        return Some(Verdict::TimedOut);
    }
    let mut output = String::new();
    if let Some(mut stdout) = running.child.stdout.take() {
        let _ = std::io::Read::read_to_string(&mut stdout, &mut output);
    }
    let count = output
        .lines()
        .last()
        .and_then(|line| line.parse().ok())
        .unwrap_or(0);
    let why = output.lines().find_map(|line| line.strip_prefix("panic: "));
    Some(match why {
        _ if output.lines().any(|line| line == "holds") => Verdict::Passed(count),
        Some(why) => Verdict::Failed(count, why.to_owned()),
        None => Verdict::Crashed,
    })
}

/// Prints a line of the table; whether it is as it should be.
fn report(job: &Job, verdict: &Verdict, time: Duration) -> bool {
    let count = match verdict {
        Verdict::Passed(count) | Verdict::Failed(count, _) => *count,
        Verdict::Crashed | Verdict::TimedOut => 0,
    };
    let bound = if job.quick {
        job.model.quick
    } else {
        job.model.full
    };
    let bound = bound.map_or("all".to_owned(), |n| format!("<= {n} preemptions"));
    let mutant = job.mutant.map_or(bound.as_str(), |(_, name, _)| name);
    let good = match job.mutant {
        None => matches!(verdict, Verdict::Passed(_)),
        Some(_) => matches!(verdict, Verdict::Failed(..)),
    };
    let result = match (job.mutant, verdict) {
        (None, verdict) => verdict.to_string(),
        (Some(_), Verdict::Failed(_, why)) => format!("killed: {why}"),
        (Some(_), Verdict::Passed(_)) => "SURVIVES".to_owned(),
        (Some(_), verdict) => verdict.to_string(),
    };
    let (name, seconds) = (job.model.name, time.as_secs_f64());
    let line: String = result.chars().take(90).collect();
    println!("{name:<18} {mutant:<27} {count:>10} {seconds:>8.1}  {line}");
    let _ = std::io::stdout().flush();
    good
}

/// Runs one model in this process; prints its result and the number of executions.
fn one(name: &str, options: &[&str]) -> ExitCode {
    let Some(model) = find(name) else {
        return ExitCode::FAILURE;
    };
    let quick = options.contains(&"--quick");
    let mutant = Mutant::ALL
        .iter()
        .find(|(_, name, _)| options.contains(name));
    activate(mutant.map(|(it, ..)| *it));
    // Said at once: after a deadlock the model checker may not live to return the panic.
    panic::set_hook(Box::new(|info| {
        println!("panic: {}", reason(info.payload()));
        let _ = std::io::stdout().flush();
    }));
    let result = panic::catch_unwind(|| (model.run)(if quick { model.quick } else { model.full }));
    if result.is_ok() {
        println!("holds");
    }
    println!("{}", executions());
    if result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn reason(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").replace('\n', " ")
}
