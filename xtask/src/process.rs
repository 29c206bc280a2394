//! Other programs: run, asked, or watched.

use std::{
    io::{self, BufRead, BufReader, PipeReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::descendants;

/// The exit code of a task that found no way to do its work and did none of it (Automake's
/// number for a skipped test).
pub const SKIPPED: u8 = 77;

/// Runs `command` with our own input and output, and fails if it does.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_run(command))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs `command` and returns what it prints, without the last newline; fails if it does.
pub fn ask(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| cannot_run(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} ended with {}: {}",
            shown(command),
            output.status,
            said.trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn cannot_run(command: &Command) -> String {
    format!("cannot run {}", shown(command))
}

/// How a watched program ended.
pub struct Watched {
    /// `None` if it was killed because its time was up.
    pub status: Option<ExitStatus>,
    /// The processes that it left behind (and that are killed now), as `name (pid)`.
    pub left_behind: Vec<String>,
    /// From its start to its end.
    pub took: Duration,
}

/// How long what a program started may outlive it.
const GRACE: Duration = Duration::from_secs(2);

/// How long a killed process may take to be gone. One in an uninterruptible wait takes for ever.
const DYING: Duration = Duration::from_secs(10);

const TICK: Duration = Duration::from_millis(20);

/// Runs `command` without input, hands each line it prints (to either output) to `on_line`, and
/// kills it with everything it started when `limit` is over. Leaves none of its processes behind.
pub fn watch(
    mut command: Command,
    limit: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<Watched> {
    descendants::adopt_orphans()?;
    let (output, input) = io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input);
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| cannot_run(&command))?;
    drop(command); // and with it our writing end of the pipe

    let lines = read_lines(output);
    let mut exited: Option<(ExitStatus, Instant)> = None;
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if exited.is_some() => break,
            Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK),
        }
        match exited {
            // something else still holds the pipe
            Some((_, at)) if at.elapsed() > GRACE => break,
            Some(_) => {}
            None if start.elapsed() > limit => break,
            None => exited = child.try_wait()?.map(|status| (status, Instant::now())),
        }
    }
    let took = exited.map_or_else(|| start.elapsed(), |(_, at)| at - start);

    let deadline = exited.map(|(_, at)| at + GRACE);
    while deadline.is_some_and(|deadline| Instant::now() < deadline)
        && !descendants::list().is_empty()
    {
        thread::sleep(TICK);
    }
    let left_behind = exited.map(|_| descendants::list()).unwrap_or_default();
    kill_all(&mut child);
    while let Ok(line) = lines.try_recv() {
        on_line(&line);
    }
    Ok(Watched {
        status: exited.map(|(status, _)| status),
        left_behind: left_behind.iter().map(ToString::to_string).collect(),
        took,
    })
}

fn kill_all(child: &mut Child) {
    let deadline = Instant::now() + DYING;
    loop {
        descendants::kill();
        let _ = child.try_wait(); // reaps it, so that it is listed no more
        if descendants::list().is_empty() || Instant::now() > deadline {
            return;
        }
        thread::sleep(TICK);
    }
}

fn read_lines(output: PipeReader) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    // one test, for what is left behind is told by the whole process's children
    #[test]
    fn watch_ends_everything_that_a_program_started() {
        let mut lines = Vec::new();
        let over = watch(sh("echo one; echo two >&2; exit 3"), GRACE, |line| {
            lines.push(line.to_owned())
        })
        .unwrap();
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(over.status.and_then(|status| status.code()), Some(3));
        assert!(over.left_behind.is_empty());

        let limit = Duration::from_millis(200);
        let hung = watch(sh("setsid sleep 1000 & sleep 1000"), limit, |_| {}).unwrap();
        assert!(hung.status.is_none());
        assert!(descendants::list().is_empty());

        let daemon = watch(sh("setsid sleep 1000 & exit 0"), 5 * GRACE, |_| {}).unwrap();
        assert!(daemon.status.is_some_and(|status| status.success()));
        assert_eq!(daemon.left_behind.len(), 1, "{:?}", daemon.left_behind);
        assert!(daemon.left_behind[0].starts_with("sleep ("));
        assert!(descendants::list().is_empty());
    }
}
