//! One name after the other: attributes of names, of an open file, of names that are not there;
//! renaming.

use super::{
    Measure, Place, Start, Workload,
    files::{file_name, paths, prepare_files},
    on_threads, threads_name,
};
use crate::recorder::Recorder;
use anyhow::{Context, Result, ensure};
use rustix::{
    fs::{AtFlags, CWD, StatxFlags, fstat, rename, statx},
    io::Errno,
};
use std::{
    fs::{self, File},
    path::Path,
};

const FOLDER: &str = "bench-names";

/// What is asked of each name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// statx(2) by path: LOOKUP and GETATTR.
    Stat,
    /// fstat(2) of one open file, without names: GETATTR alone.
    Fstat,
    /// statx(2) of names that are not there: LOOKUP that fails.
    Absent,
}

/// Asks for attributes, over and over.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    /// What is asked.
    pub question: Question,
    /// How many names.
    pub files: usize,
    /// How many threads ask at once, each for all names.
    pub threads: usize,
    /// Whether each repetition has a mount of its own.
    pub start: Start,
}

impl Attributes {
    fn ask(&self, folder: &Path, number: usize, recorder: &mut Recorder) -> Result<()> {
        let names = match self.question {
            Question::Absent => (0..self.files)
                .map(|index| folder.join(format!("absent-{index:06}")))
                .collect(),
            _ => paths(folder, self.files),
        };
        if self.question == Question::Fstat {
            let name = &names[number % names.len()];
            let file = File::open(name).with_context(|| name.display().to_string())?;
            while recorder.goes_on() {
                recorder.time(|| fstat(&file)).context("fstat")?;
            }
            return Ok(());
        }
        let expected = (self.question == Question::Absent).then_some(Errno::NOENT);
        // Threads begin at different names, so that they do not follow each other's traces.
        let first = number * names.len() / self.threads;
        let mut round = names.iter().cycle().skip(first);
        while recorder.goes_on() {
            let Some(name) = round.next() else {
                break;
            };
            let (flags, mask) = (AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
            let result = recorder.time(|| statx(CWD, name, flags, mask));
            ensure!(
                result.as_ref().err().copied() == expected,
                "{}: {result:?}",
                name.display()
            );
        }
        Ok(())
    }
}

impl Workload for Attributes {
    fn name(&self) -> String {
        let question = match self.question {
            Question::Stat => "stat",
            Question::Fstat => "fstat",
            Question::Absent => "stat absent",
        };
        let first = match self.start {
            Start::Warm => "",
            Start::FreshMount => ", first",
        };
        format!("{question}{}{first}", threads_name(self.threads))
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn start(&self) -> Start {
        self.start
    }

    fn warmed_by(&self) -> Option<String> {
        let names = match self.question {
            Question::Absent => "names: absent",
            Question::Stat | Question::Fstat => "names: there",
        };
        (self.start == Start::Warm).then(|| names.into())
    }

    /// Each name once, by one thread.
    fn warm_up(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let question = match self.question {
            Question::Absent => Question::Absent,
            Question::Stat | Question::Fstat => Question::Stat,
        };
        let names = Self {
            question,
            threads: 1,
            ..*self
        };
        names.run(place, recorder)
    }

    fn prepare(&self, lower: &Path) -> Result<()> {
        prepare_files(lower, FOLDER, self.files, b"")
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let folder = place.root.join(FOLDER);
        on_threads(self.threads, recorder, |number, recorder| {
            self.ask(&folder, number, recorder)
        })
    }
}

/// Renames a file back and forth between two directories.
#[derive(Clone, Copy, Debug)]
pub struct Rename;

impl Workload for Rename {
    fn name(&self) -> String {
        "rename".into()
    }

    fn measure(&self) -> Measure {
        Measure::Operations
    }

    fn prepare(&self, _lower: &Path) -> Result<()> {
        Ok(())
    }

    fn run(&self, place: &Place<'_>, recorder: &mut Recorder) -> Result<()> {
        let [here, there] = ["here", "there"].map(|name| place.scratch.join(name));
        recorder.aside(|| -> Result<()> {
            fs::create_dir(&here)?;
            fs::create_dir(&there)?;
            Ok(fs::write(here.join(file_name(0)), b"")?)
        })?;
        let mut round = [(here.clone(), there.clone()), (there, here)]
            .into_iter()
            .cycle();
        while recorder.goes_on() {
            let Some((from, to)) = round.next() else {
                break;
            };
            let (from, to) = (from.join(file_name(0)), to.join(file_name(0)));
            recorder
                .time(|| rename(&from, &to))
                .with_context(|| from.display().to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::figures_of;

    #[test]
    fn every_question_is_asked() {
        for question in [Question::Stat, Question::Fstat, Question::Absent] {
            for threads in [1, 2] {
                let ask = Attributes {
                    question,
                    files: 10,
                    threads,
                    start: Start::Warm,
                };
                assert!(figures_of(&ask).operations > 0, "{}", ask.name());
            }
        }
        assert!(figures_of(&Rename).operations > 0);
    }
}
