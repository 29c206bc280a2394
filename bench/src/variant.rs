//! How the directory is reached: natively, through one of our transports, or through any command
//! that mounts.

use crate::{
    capability::Capabilities,
    mounted::{Mounted, Site},
};
use anyhow::{Context, Result, bail};
use std::{process::Command, time::Duration};

/// The transports, slowest first; `shm-kernel` is `shm` with its kernel engine.
pub const TRANSPORTS: [&str; 5] = ["classic", "splice", "uring", "shm", "shm-kernel"];

/// One way to reach the lower directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name in tables: short, unique within a group.
    pub name: String,
    /// How it is mounted.
    pub how: How,
}

/// How a [`Variant`] is mounted.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// Not at all: the lower directory itself.
    Native,
    /// `shmfuse mount -f OPTIONS LOWER MOUNTPOINT`.
    Shmfuse(Vec<String>),
    /// Any other command that mounts, with `{lower}` and `{mountpoint}` in it.
    Command(Vec<String>),
}

impl Variant {
    /// The lower directory itself.
    pub fn native() -> Self {
        Self {
            name: "native".into(),
            how: How::Native,
        }
    }

    /// A variant of ours by name: `native`, or
    /// `TRANSPORT[+DATA][@CACHE][~OPTION=VALUE ...]`. Without `@` timeouts are 0, without `+` data
    /// goes through the daemon; each `~OPTION=VALUE`, or `~OPTION` where it takes no value, is an
    /// option of `shmfuse mount`.
    ///
    /// # Errors
    ///
    /// If there is no such transport, or the installed `shmfuse` does not know an option.
    pub fn parse(name: &str, capabilities: &Capabilities) -> Result<Self> {
        if name == "native" {
            return Ok(Self::native());
        }
        let mut parts = name.split('~');
        let rest = parts.next().unwrap_or_default();
        let (rest, cache) = rest.split_once('@').unwrap_or((rest, "strict"));
        let (transport, data) = rest.split_once('+').unwrap_or((rest, "copy"));
        if !TRANSPORTS.contains(&transport) {
            bail!(
                "no variant {name}: native, or one of {} with +passthrough, @ttl=SECONDS and \
                 ~OPTION=VALUE as wanted",
                TRANSPORTS.join(", ")
            );
        }
        let (transport, engine) = match transport.split_once('-') {
            Some((transport, engine)) => (transport, Some(engine)),
            // Which engine is the default may change: the worker engine is told by name.
            None => (
                transport,
                (transport == "shm" && capabilities.has("engine", "worker")).then_some("worker"),
            ),
        };
        let mut options = vec!["--transport", transport, "--data", data, "--cache", cache];
        options.extend(engine.iter().flat_map(|engine| ["--engine", engine]));
        let mut words: Vec<String> = options.into_iter().map(str::to_owned).collect();
        for part in parts {
            match part.split_once('=') {
                Some((option, value)) => {
                    words.extend([format!("--{option}"), value.to_owned()]);
                }
                None => words.push(format!("--{part}")),
            }
        }
        // Everything that is not measured is the same on every variant.
        words.extend(["-o".to_owned(), "allow_other".to_owned()]);
        capabilities
            .check(&words)
            .with_context(|| format!("variant {name}"))?;
        Ok(Self {
            name: name.into(),
            how: How::Shmfuse(words),
        })
    }

    /// The same way under another name.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// How long mounting and unmounting takes about: loading and trying kernel programs takes most.
    pub fn mounting(&self) -> Duration {
        let told = |words: &[String], word: &str| words.iter().any(|it| it == word);
        let milliseconds = match &self.how {
            How::Native => 0,
            How::Shmfuse(words) if told(words, "shm") && told(words, "coherent") => 450,
            How::Shmfuse(words) if told(words, "shm") => 280,
            How::Shmfuse(words) if told(words, "coherent") => 180,
            How::Shmfuse(_) | How::Command(_) => 60,
        };
        Duration::from_millis(milliseconds)
    }

    /// What is run to mount it, for the record: nothing on native.
    pub fn words(&self) -> Vec<String> {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        match &self.how {
            How::Native => Vec::new(),
            How::Shmfuse(options) => {
                let mut words: Vec<String> = own(&["shmfuse", "mount"]);
                words.extend(options.iter().cloned());
                words.extend(own(&["{lower}", "{mountpoint}"]));
                words
            }
            How::Command(words) => words.clone(),
        }
    }

    /// Mounts it at an empty directory of the site's, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If the command cannot run, ends in failure, or does not answer in time; what it printed is
    /// in the error.
    pub fn mount(&self, site: &Site) -> Result<Mounted> {
        let mountpoint = site.mountpoint()?;
        let command = match &self.how {
            How::Native => return Ok(Mounted::native(site.lower())),
            How::Shmfuse(options) => {
                let options = options
                    .iter()
                    .map(|word| site.filled(word, &mountpoint))
                    .collect::<Result<Vec<_>>>()?;
                let mut command = Command::new(site.shmfuse());
                command
                    .args(["mount", "-f"])
                    .args(options)
                    .args([site.lower(), &mountpoint]);
                command
            }
            How::Command(words) => {
                let words = words
                    .iter()
                    .map(|word| site.filled(word, &mountpoint))
                    .collect::<Result<Vec<_>>>()?;
                let (program, arguments) = words.split_first().context("an empty mount command")?;
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
        };
        Mounted::by(command, mountpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::fake;

    const USUAL: &[(&str, &str)] = &[
        ("transport", "classic splice uring shm"),
        ("data", "copy passthrough"),
        ("cache", "strict ttl="),
    ];

    fn parse(name: &str, more: &[(&str, &str)]) -> Result<Variant> {
        let dir = tempfile::tempdir().unwrap();
        Variant::parse(name, &fake(dir.path(), &[USUAL, more].concat()))
    }

    fn options(name: &str, more: &[(&str, &str)]) -> String {
        parse(name, more).unwrap().words().join(" ")
    }

    #[test]
    fn a_name_says_transport_data_and_cache() {
        let text = options("uring+passthrough@ttl=1", &[]);
        assert!(text.contains("--transport uring"), "{text}");
        assert!(text.contains("--data passthrough"), "{text}");
        assert!(text.contains("--cache ttl=1"), "{text}");
    }

    #[test]
    fn an_engine_is_told_by_name_where_there_are_two() {
        assert!(!options("shm", &[]).contains("--engine"));
        let engines = &[("engine", "worker kernel")];
        assert!(options("shm", engines).contains("--engine worker"));
        assert!(options("shm-kernel", engines).contains("--engine kernel"));
        assert!(parse("shm-kernel", &[]).is_err());
    }

    #[test]
    fn any_option_of_mount_can_be_varied() {
        let more = &[("s1", "on off"), ("queue-depth", "4")];
        let text = options("shm~s1=off~queue-depth=4", more);
        assert!(text.contains("--s1 off --queue-depth 4"), "{text}");
        let error = parse("shm~s9=off", more).unwrap_err();
        assert!(format!("{error:#}").contains("--s9"), "{error:#}");
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_there_are() {
        for name in ["carrier-pigeon", "uring+wings", "uring@forever", "shm~fast"] {
            let error = parse(name, &[]).unwrap_err();
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }
}
