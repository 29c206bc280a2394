//! `-o`: the comma-separated options that mount(8), fstab and users of FUSE know.
//!
//! Three kinds of keys are told apart: those of the mount itself ([`MountOptions`]), those that
//! are a long option of `shmfuse mount` (`transport=uring` is `--transport=uring`), and those that
//! concern mount(8) or the init system alone and are passed over. Anything else is an error.

use crate::{
    config::MountOptions,
    error::{Error, Result},
};
use std::ffi::OsString;

use super::values;

/// One option of an `-o` list, unescaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountOption {
    /// What stands before the first `=`.
    pub key: String,
    /// What stands behind it.
    pub value: Option<String>,
}

/// Options that mount(8), fstab or the init system act on; a file system has no part in them
/// (mount(8), "FILESYSTEM-INDEPENDENT MOUNT OPTIONS"; systemd.mount(5)).
const FOR_OTHERS: &[&str] = &[
    "_netdev", "auto", "comment", "defaults", "group", "loud", "noauto", "nofail", "nogroup",
    "noowner", "nouser", "nousers", "owner", "relatime", "silent", "user", "users",
];

/// A long option of the command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LongOption {
    /// Without the two dashes.
    pub name: String,
    /// Whether a value belongs to it.
    pub takes_value: bool,
}

/// Takes an `-o` list apart. A backslash takes the meaning from the character behind it, and
/// double quotes from the commas between them (as fstab and libmount have it).
///
/// # Examples
///
/// ```
/// # use shmfuse::cli::options::split;
/// let options = split(r#"ro,fsname=a\,b,x-note="c,d""#);
/// assert_eq!(options[1].value.as_deref(), Some("a,b"));
/// assert_eq!(options[2].value.as_deref(), Some("c,d"));
/// ```
pub fn split(list: &str) -> Vec<MountOption> {
    let mut options = vec![String::new()];
    let mut quoted = false;
    let mut chars = list.chars();
    while let Some(char) = chars.next() {
        let last = options.len() - 1;
        match char {
            '\\' => options[last].extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => options.push(String::new()),
            _ => options[last].push(char),
        }
    }
    options
        .into_iter()
        .filter(|option| !option.is_empty())
        .map(|option| match option.split_once('=') {
            Some((key, value)) => MountOption {
                key: key.to_owned(),
                value: Some(value.to_owned()),
            },
            None => MountOption {
                key: option,
                value: None,
            },
        })
        .collect()
}

/// What an `-o` list asks for.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Of the mount itself.
    pub mount: MountOptions,
    /// Long options of the command, as arguments: `--transport=uring`.
    pub arguments: Vec<OsString>,
}

/// Sorts options by who acts on them; later ones win over earlier ones.
///
/// `long` are the command's long options. With `sloppy`, unknown options are passed
/// over, as mount(8) wants it of a helper called with `-s`.
///
/// # Errors
///
/// An unknown option, a value where none belongs, a missing or a bad one.
pub fn sort(options: &[MountOption], long: &[LongOption], sloppy: bool) -> Result<Sorted> {
    let mut sorted = Sorted::default();
    for option in options {
        if set(&mut sorted.mount, option)? || is_for_others(&option.key) {
            continue;
        }
        let name = option.key.replace('_', "-");
        if let Some(long) = long.iter().find(|long| long.name == name) {
            sorted.arguments.push(match &option.value {
                Some(value) => format!("--{name}={value}").into(),
                // Not without the equals sign: the next argument would become the value.
                None if long.takes_value => format!("--{name}=").into(),
                None => format!("--{name}").into(),
            });
        } else if !sloppy {
            return Err(Error::refused(
                format!("-o {}", option.key),
                "unknown mount option",
                "shmfuse mount --help lists those there are",
            ));
        }
    }
    Ok(sorted)
}

fn is_for_others(key: &str) -> bool {
    FOR_OTHERS.contains(&key) || key.starts_with("x-") || key.starts_with("X-")
}

/// Applies one option of the mount itself; false if it is none.
fn set(mount: &mut MountOptions, option: &MountOption) -> Result<bool> {
    let (field, value) = match option.key.as_str() {
        "ro" => (&mut mount.read_only, true),
        "rw" => (&mut mount.read_only, false),
        "suid" => (&mut mount.suid, true),
        "nosuid" => (&mut mount.suid, false),
        "dev" => (&mut mount.dev, true),
        "nodev" => (&mut mount.dev, false),
        "exec" => (&mut mount.exec, true),
        "noexec" => (&mut mount.exec, false),
        "atime" => (&mut mount.noatime, false),
        "noatime" => (&mut mount.noatime, true),
        "diratime" => (&mut mount.nodiratime, false),
        "nodiratime" => (&mut mount.nodiratime, true),
        "sync" => (&mut mount.synchronous, true),
        "async" => (&mut mount.synchronous, false),
        "dirsync" => (&mut mount.dirsync, true),
        "allow_other" => (&mut mount.allow_other, true),
        "default_permissions" => (&mut mount.default_permissions, true),
        "nodefault_permissions" => (&mut mount.default_permissions, false),
        "fsname" => {
            mount.fsname = Some(value_of(option)?.to_owned());
            return Ok(true);
        }
        "max_read" => {
            mount.max_read = values::bytes(value_of(option)?).map_err(|why| bad(option, why))?;
            return Ok(true);
        }
        _ => return Ok(false),
    };
    if option.value.is_some() {
        return Err(bad(option, "takes no value"));
    }
    *field = value;
    Ok(true)
}

fn value_of(option: &MountOption) -> Result<&str> {
    match option.value.as_deref() {
        Some(value) if !value.is_empty() && !value.contains(['\0', '\n']) => Ok(value),
        _ => Err(bad(option, "needs a value")),
    }
}

fn bad(option: &MountOption, why: impl Into<String>) -> Error {
    let thing = match &option.value {
        Some(value) => format!("-o {}={value}", option.key),
        None => format!("-o {}", option.key),
    };
    Error::refused(thing, why, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(list: &str) -> Result<Sorted> {
        let long = ["transport", "max-write"].map(|name| LongOption {
            name: name.into(),
            takes_value: true,
        });
        sort(&split(list), &long, false)
    }

    #[test]
    fn later_options_win_over_earlier_ones() {
        let mount = sorted("ro,rw,noexec,exec,suid,nosuid,fsname=a,fsname=b")
            .unwrap()
            .mount;
        assert!(!mount.read_only && mount.exec && !mount.suid);
        assert_eq!(mount.fsname.as_deref(), Some("b"));
    }

    #[test]
    fn a_long_option_of_the_command_is_an_o_key_with_dash_or_underscore() {
        let sorted = sorted("transport=uring,max_write=4K,max-write=8K").unwrap();
        assert_eq!(
            sorted.arguments,
            ["--transport=uring", "--max-write=4K", "--max-write=8K"]
        );
    }

    #[test]
    fn what_concerns_mount_and_init_alone_is_passed_over() {
        let list = "defaults,user=joe,_netdev,nofail,x-systemd.automount,X-mount.mkdir=755";
        assert!(sorted(list).unwrap().arguments.is_empty());
    }

    #[test]
    fn an_unknown_option_is_named() {
        let error = sorted("ro,wizardry=3").unwrap_err().to_string();
        assert!(error.starts_with("-o wizardry: unknown"), "{error}");
    }

    #[test]
    fn an_unknown_option_is_passed_over_when_mount_is_sloppy() {
        assert!(sort(&split("wizardry"), &[], true).is_ok());
    }

    #[test]
    fn a_value_where_none_belongs_is_refused() {
        for list in ["ro=1", "fsname", "fsname=", "max_read=x"] {
            assert!(sorted(list).is_err(), "{list}");
        }
    }

    #[test]
    fn escapes_and_quotes_keep_commas_together() {
        let keys: Vec<_> = split(r#"a\,b,"c,d",,e\"#)
            .into_iter()
            .map(|option| option.key)
            .collect();
        assert_eq!(keys, ["a,b", "c,d", "e"]);
    }

    proptest::proptest! {
        #[test]
        fn no_list_makes_it_panic(list in ".*") {
            let _ = sorted(&list);
        }

        #[test]
        fn no_list_of_known_words_makes_it_panic(
            list in "((ro|rw|fsname|max_read|transport|x-|user)(=|,|\\\\|\"|[0-9KM])?){0,8}"
        ) {
            let _ = sorted(&list);
        }
    }
}
