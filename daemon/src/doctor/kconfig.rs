//! How the kernel was configured, where it tells: `/proc/config.gz`, `/boot/config-RELEASE`, or
//! `/lib/modules/RELEASE/config`.

use flate2::read::GzDecoder;
use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read as _,
};

/// The options that are on.
#[derive(Clone, Debug)]
pub struct KernelConfig {
    /// Where it was read.
    pub source: String,
    options: HashMap<String, String>,
}

impl KernelConfig {
    /// Reads the configuration of the running kernel, whose release this is. None if it is not
    /// told.
    pub fn read(release: &str) -> Option<Self> {
        let packed = "/proc/config.gz".to_owned();
        let unpack = || {
            let mut text = String::new();
            GzDecoder::new(File::open(&packed).ok()?)
                .read_to_string(&mut text)
                .ok()?;
            Some(text)
        };
        if let Some(text) = unpack() {
            return Some(Self::parse(packed, &text));
        }
        [
            format!("/boot/config-{release}"),
            format!("/lib/modules/{release}/config"),
        ]
        .into_iter()
        .find_map(|path| Some(Self::parse(path.clone(), &fs::read_to_string(&path).ok()?)))
    }

    fn parse(source: String, text: &str) -> Self {
        let options = text
            .lines()
            .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self { source, options }
    }

    /// The value of an option, named without `CONFIG_`; none if it is not set.
    pub fn get(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }

    /// Whether an option is built in or a module.
    pub fn has(&self, option: &str) -> bool {
        matches!(self.get(option), Some("y" | "m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_on_when_built_in_or_a_module() {
        let text =
            "# CONFIG_KPROBES is not set\nCONFIG_FTRACE=y\nCONFIG_FUSE_FS=m\nCONFIG_HZ=250\n";
        let config = KernelConfig::parse("text".into(), text);
        assert!(config.has("FTRACE") && config.has("FUSE_FS"));
        assert!(!config.has("KPROBES") && !config.has("HZ"));
        assert_eq!(config.get("HZ"), Some("250"));
    }
}
