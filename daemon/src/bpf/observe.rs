//! The maps of another process, to be read: how `shmfuse stat` looks at a mount without its daemon.
//!
//! A process that holds a map has a descriptor of it, and `/proc/PID/fdinfo` tells the map's number
//! (`bpf_map_show_fdinfo`, kernel/bpf/syscall.c); with it root opens the map too. Nothing is asked of
//! the daemon, which may even be stopped.

use super::{
    Counters,
    mapping::{MapElement, MappedArray},
    words::{SharedArray, SharedElement},
};
use crate::error::{Error, Result};
use aya::maps::{MapData, MapInfo};
use rustix::process::Pid;
use std::{collections::HashMap, fs};
use transport::{
    counters::{OpCounters, QueueCounters},
    layout::{Control, Lane, MAGIC, Slot},
    stats::CpuStats,
};

/// What a mount with the shm transport counts, mapped.
#[derive(Debug)]
pub struct Observation {
    /// What describes the mount: one element.
    pub control: MappedArray<Control>,
    /// By queue.
    pub queues: MappedArray<QueueCounters>,
    /// By queue and slot: who has the request in it.
    pub slots: MappedArray<Slot>,
    /// Index rings to the daemon: those of a queue follow each other.
    pub lanes: MappedArray<Lane>,
    /// By queue and opcode.
    pub ops: MappedArray<OpCounters>,
    /// Requests as the kernel sends and ends them, with their latency.
    pub requests: Counters,
}

impl Observation {
    /// Maps the counters that the daemon `pid` shares with the kernel.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if it shares none: its transport is not shm. [`Error::System`] if this user
    /// may not look.
    pub fn of_process(pid: Pid) -> Result<Self> {
        Self::find(pid)?.ok_or_else(|| not_shm(pid))
    }

    /// The same; none if the daemon shares no counters with the kernel.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if this user may not look.
    pub fn find(pid: Pid) -> Result<Option<Self>> {
        let maps = maps_of(pid)?;
        if !["CONTROL", "SLOTS", "LANES"]
            .iter()
            .all(|name| maps.contains_key(*name))
        {
            return Ok(None);
        }
        let open = |name: &str| -> Result<MapData> {
            let id = *maps.get(name).ok_or_else(|| not_shm(pid))?;
            MapData::from_id(id).map_err(|error| {
                let error = std::io::Error::other(error);
                Error::system("cannot open a map of the daemon", error).with_remedy("run as root")
            })
        };
        let control = MappedArray::<Control>::new(&open("CONTROL")?)?;
        if control
            .iter()
            .next()
            .is_none_or(|page| page.magic.get() != MAGIC)
        {
            return Ok(None);
        }
        Ok(Some(Self {
            control,
            queues: MappedArray::<QueueCounters>::new(&open("COUNTERS")?)?,
            slots: MappedArray::<Slot>::new(&open("SLOTS")?)?,
            lanes: MappedArray::<Lane>::new(&open("LANES")?)?,
            ops: MappedArray::<OpCounters>::new(&open("OPS")?)?,
            requests: Counters::new(MappedArray::<CpuStats>::new(&open("STATS")?)?),
        }))
    }
}

/// The map of this name that the daemon `pid` holds, mapped; none if it holds none.
///
/// # Errors
///
/// [`Error::System`] if this user may not look.
pub fn map_of<T: MapElement>(pid: Pid, name: &str) -> Result<Option<MappedArray<T>>> {
    let Some(map) = open_map(pid, name)? else {
        return Ok(None);
    };
    MappedArray::new(&map).map(Some)
}

/// The same, to be written as well.
///
/// # Errors
///
/// [`Error::System`] if this user may not look.
pub fn shared_map_of<T: SharedElement>(pid: Pid, name: &str) -> Result<Option<SharedArray<T>>> {
    let Some(map) = open_map(pid, name)? else {
        return Ok(None);
    };
    SharedArray::new(&map).map(Some)
}

fn open_map(pid: Pid, name: &str) -> Result<Option<MapData>> {
    // The kernel keeps 15 bytes of a map's name (`BPF_OBJ_NAME_LEN`, include/uapi/linux/bpf.h).
    let kept = name.get(..15).unwrap_or(name);
    let Some(&id) = maps_of(pid)?.get(kept) else {
        return Ok(None);
    };
    let map = MapData::from_id(id).map_err(|error| {
        let error = std::io::Error::other(error);
        Error::system("cannot open a map of the daemon", error).with_remedy("run as root")
    })?;
    Ok(Some(map))
}

/// The maps that a process holds, by name.
fn maps_of(pid: Pid) -> Result<HashMap<String, u32>> {
    let folder = format!("/proc/{}/fdinfo", pid.as_raw_nonzero());
    let entries = fs::read_dir(&folder)
        .map_err(|error| Error::path("cannot list", &folder, error).with_remedy("run as root"))?;
    let mut maps = HashMap::new();
    for entry in entries.flatten() {
        // A descriptor may be closed between the listing and the reading.
        let Ok(text) = fs::read_to_string(entry.path()) else {
            continue;
        };
        let id = text
            .lines()
            .find_map(|line| line.strip_prefix("map_id:")?.trim().parse::<u32>().ok());
        if let Some(id) = id
            && let Ok(info) = MapInfo::from_id(id)
            && let Some(name) = info.name_as_str()
        {
            maps.insert(name.to_owned(), id);
        }
    }
    Ok(maps)
}

fn not_shm(pid: Pid) -> Error {
    Error::refused(
        format!("daemon {}", pid.as_raw_nonzero()),
        "shares no counters with the kernel",
        "mount with --transport shm",
    )
}
