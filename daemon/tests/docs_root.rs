//! The commands in the documents, run as they stand there.
//!
//! What follows the word `sh` in a block's first line says how: nothing, it is run; `mounted`, it is run with
//! `/srv/data` mounted at `/mnt/data` by the shm transport; `elsewhere`, it takes another machine, a network, or
//! half an hour, and is looked over only: its syntax, and that every task and option that it names exists.

mod common;

use common::{LIMIT, LowerFs, Variant, Watchdog, mount::temp_dir, shell::output, skip};
use std::{fs, path::Path, process::Command};

/// One block of a document.
struct Block {
    document: String,
    line: usize,
    how: How,
    script: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    Run,
    Mounted,
    Elsewhere,
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

fn blocks() -> Vec<Block> {
    documents()
        .iter()
        .flat_map(|name| blocks_of(name))
        .collect()
}

fn documents() -> Vec<String> {
    let mut documents = vec!["README.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    for entry in fs::read_dir(workspace().join("docs")).expect("docs") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".md") {
            documents.push(format!("docs/{name}"));
        }
    }
    documents.sort();
    documents
}

fn blocks_of(document: &str) -> Vec<Block> {
    let text = fs::read_to_string(workspace().join(document)).expect("a document");
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let how = match line.trim().strip_prefix("```sh") {
            Some("") => How::Run,
            Some(" mounted") => How::Mounted,
            Some(" elsewhere") => How::Elsewhere,
            Some(other) => panic!("{document}:{}: sh{other}", number + 1),
            None => continue,
        };
        let body = lines.by_ref().map(|(_, line)| line);
        let script: Vec<_> = body.take_while(|line| line.trim() != "```").collect();
        blocks.push(Block {
            document: document.to_owned(),
            line: number + 1,
            how,
            script: script.join("\n"),
        });
    }
    blocks
}

impl Block {
    fn place(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }
}

/// What is there before a block: a program, two directories, a helper of mount(8).
const BEFORE: &str = r#"
    mount -t tmpfs tmpfs /srv; mount -t tmpfs tmpfs /mnt; mkdir -p /srv/data/dir /mnt/data
    echo one >/srv/data/file; echo two >/srv/data/dir/file
    mkdir -p sbin work; ln -s "$SHMFUSE" sbin/mount.fuse.shmfuse; ln -s "$SHMFUSE" sbin/shmfuse
    place=$(realpath /sbin); mount -t overlay overlay -o "lowerdir=$PWD/sbin:$place" "$place"
    PATH=$PWD/sbin:$PATH; sudo() { "$@"; }; cd work; ln -s "$DOCS" docs
"#;
/// What has to be so afterwards.
const AFTER: &str = r#"
    wait
    ! mountpoint -q /mnt/data || { echo "a mount is left" >&2; exit 1; }
"#;

#[test]
#[ignore = "root"]
fn the_commands_in_the_documents_do_what_they_are_said_to() {
    let name = "the_commands_in_the_documents";
    if let Err(reason) = Variant::SHM_COPY.available() {
        return skip::skip(name, &reason);
    }
    let _watchdog = Watchdog::start(name, LIMIT);
    let mut failed = Vec::new();
    for block in blocks().iter().filter(|block| block.how != How::Elsewhere) {
        let dir = temp_dir(LowerFs::Disk);
        let (before, after) = match block.how {
            How::Mounted => (
                "shmfuse mount /srv/data /mnt/data --transport shm",
                "shmfuse umount /mnt/data",
            ),
            _ => ("", ""),
        };
        let script = format!(
            "{BEFORE}\n{before}\n{}\nwait\n{after}\n{AFTER}",
            block.script
        );
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "timeout", "60"])
            .args(["bash", "-euo", "pipefail", "-c", &script])
            .env("SHMFUSE", env!("CARGO_BIN_EXE_shmfuse"))
            .env("DOCS", workspace().join("docs"))
            .current_dir(dir.path());
        let output = output(&mut command);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            failed.push(format!("{}: {}\n{said}", block.place(), output.status));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn commands_for_elsewhere_are_well_formed_and_name_what_exists() {
    let tasks = fs::read_to_string(workspace().join("xtask/src/main.rs")).expect("xtask");
    for block in blocks().iter().filter(|block| block.how == How::Elsewhere) {
        let place = block.place();
        let syntax = output(Command::new("bash").args(["-n", "-c", &block.script]));
        assert!(syntax.status.success(), "{place}: {syntax:?}");
        for line in block.script.lines() {
            let line = line.split(" #").next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["cargo", "xtask", task, ..] = words[..] {
                assert!(
                    tasks.contains(&format!("//! | `{task}` |")),
                    "{place}: there is no cargo xtask {task}"
                );
            }
        }
    }
}

/// Not in a block of text that is moved in by four places, which nobody runs.
#[test]
fn commands_stand_in_blocks_that_a_test_reads() {
    const COMMANDS: [&str; 7] = [
        "cargo",
        "shmfuse",
        "sudo",
        "mount",
        "rustup",
        "RUSTFLAGS",
        "systemctl",
    ];
    for document in documents() {
        let text = fs::read_to_string(workspace().join(&document)).expect("a document");
        let mut fenced = false;
        for (number, line) in text.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            let word = line.strip_prefix("    ").unwrap_or_default();
            let is_command = COMMANDS.iter().any(|command| word.starts_with(command));
            assert!(fenced || !is_command, "{document}:{}: {line}", number + 1);
        }
    }
}

/// Tests are named `file::module::test`; the last word may end in `*`.
#[test]
fn tests_that_the_documents_name_exist() {
    let tests = workspace().join("daemon/tests");
    for document in ["docs/reliability.md", "docs/security.md"] {
        let text = fs::read_to_string(workspace().join(document)).expect("a document");
        let names = text.split('`').skip(1).step_by(2);
        for name in names.filter(|name| name.contains("_root")) {
            let mut words = name.split("::");
            let file = words.next().unwrap_or_default();
            let mut sources = vec![
                tests.join(format!("{file}.rs")),
                tests.join(file).join("main.rs"),
            ];
            if let Ok(entries) = fs::read_dir(tests.join(file)) {
                sources.extend(entries.flatten().map(|entry| entry.path()));
            }
            let read = |path: &std::path::PathBuf| fs::read_to_string(path).ok();
            let sources: String = sources.iter().filter_map(read).collect();
            assert!(
                !sources.is_empty(),
                "{document}: there is no daemon/tests/{file}"
            );
            for word in words {
                let word = word.trim_end_matches('*');
                assert!(sources.contains(word), "{document}: {name}: no {word}");
            }
        }
    }
}

#[test]
fn options_of_shmfuse_in_the_documents_exist() {
    for block in blocks() {
        let commands = block.script.lines().flat_map(|line| {
            let line = line.split(" #").next().unwrap_or_default();
            line.split([';', '|', '&'])
        });
        for command in commands {
            let words: Vec<&str> = command.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| word.ends_with("shmfuse")) else {
                continue;
            };
            let Some(subcommand) = words
                .get(at + 1)
                .filter(|word| word.chars().all(char::is_alphabetic))
            else {
                continue;
            };
            let help =
                output(Command::new(env!("CARGO_BIN_EXE_shmfuse")).args([subcommand, "--help"]));
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            if help.is_empty() {
                continue;
            }
            for option in words[at..].iter().filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap_or(option);
                assert!(
                    help.contains(option),
                    "{}: shmfuse {subcommand} has no {option}",
                    block.place()
                );
            }
        }
    }
}
