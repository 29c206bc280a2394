//! What a daemon holds of the kernel's BPF objects, and what is left of that.

use aya::{maps::MapInfo, programs::loaded_programs};
use nix::unistd::Pid;
use std::{collections::BTreeMap, fs};

/// What a process holds of the kernel's BPF objects.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Maps by name. Constants of programs are among them.
    pub maps: BTreeMap<String, u32>,
    /// Programs.
    pub programs: Vec<u32>,
}

impl Holdings {
    /// By the descriptors of `pid`.
    pub fn of(pid: Pid) -> Self {
        let mut holdings = Self::default();
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
            return holdings;
        };
        for entry in entries.flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let number = |key| -> Option<u32> {
                let mut lines = text.lines();
                lines.find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
            };
            if let Some(id) = number("map_id:")
                && let Ok(info) = MapInfo::from_id(id)
            {
                let name = info.name_as_str().unwrap_or_default().to_owned();
                holdings.maps.insert(name, id);
            }
            // A link names its program too; a program is held by a descriptor of its own.
            if number("link_id:").is_none() {
                holdings.programs.extend(number("prog_id:"));
            }
        }
        holdings
    }

    /// Those that the kernel still has.
    pub fn left(&self) -> Vec<String> {
        let maps = self.maps.iter();
        let maps = maps.filter(|&(_, &id)| MapInfo::from_id(id).is_ok());
        let programs: Vec<u32> = loaded_programs()
            .flatten()
            .map(|info| info.id())
            .filter(|id| self.programs.contains(id))
            .collect();
        maps.map(|(name, id)| format!("map {name} {id}"))
            .chain(programs.iter().map(|id| format!("program {id}")))
            .collect()
    }
}
