//! The programs of one mount: load, attach, let go.

use std::io;

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, Map, MapData},
    programs::{BtfTracePoint, ProgramError, ProgramInfo},
    util::nr_cpus,
};

use super::{Counters, mapping::MappedArray, offsets::Offsets};
use crate::{
    error::{Error, Result},
    mount::table::DeviceNumber,
};

/// The eBPF crate, compiled by build.rs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/shmfuse.bpf.o"));

/// The programs, each named for the tracepoint it sits on, in the order they are attached.
///
/// The one that sees requests sent comes first: a request that passes between the two attachments
/// leaves a start behind that the next request at its address overwrites, rather than an end
/// without a start.
const PROGRAMS: [&str; 2] = ["fuse_request_send", "fuse_request_end"];

const CANNOT_LOAD: &str = "loading kernel programs takes root, or CAP_BPF and CAP_PERFMON";

/// The kernel programs of one mount, loaded and attached to their tracepoints. They go with this
/// value, or with the process, however it ends.
///
/// # Minimum kernel version
///
/// Linux 6.14 with `CONFIG_DEBUG_INFO_BTF` and `CONFIG_BPF_EVENTS`.
pub struct Programs {
    ebpf: Ebpf,
    mount: Array<MapData, u32>,
    counters: Counters,
}

impl Programs {
    /// Loads and attaches the programs. They count nothing until they are told which mount to
    /// [`watch`](Self::watch).
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if this user may not load programs, or this kernel lacks its BTF, a
    /// tracepoint or a field of a structure, or its verifier refuses a program (the text then holds
    /// the verifier's log).
    pub fn load() -> Result<Self> {
        let btf = Btf::from_sys_fs().map_err(|error| {
            unsupported(
                format!("cannot read the kernel's types: {error}"),
                "the kernel must be built with CONFIG_DEBUG_INFO_BTF and /sys be mounted",
            )
        })?;
        let cpus = nr_cpus().map_err(|(path, error)| Error::path("cannot read", path, error))?;
        let cpus = u32::try_from(cpus).expect("Linux has at most 8192 CPUs");

        let offsets = Offsets::of_running_kernel()?;
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&btf));
        for (global, offset) in offsets.globals() {
            loader.override_global(global, offset, true);
        }
        let mut ebpf = loader
            .map_max_entries("STATS", cpus)
            .map_max_entries("STARTS", starts_kept(cpus))
            .load(OBJECT)
            .map_err(|error| {
                unsupported(format!("cannot set up the maps: {error}"), CANNOT_LOAD)
            })?;

        for name in PROGRAMS {
            attach(&mut ebpf, name, &btf)?;
        }
        let mount =
            Array::try_from(take_map(&mut ebpf, "MOUNT")).expect("MOUNT is an array of u32");
        let stats = MappedArray::new(&array_data(take_map(&mut ebpf, "STATS")))?;
        Ok(Self {
            ebpf,
            mount,
            counters: Counters::new(stats),
        })
    }

    /// Makes the programs count the requests of the mount of this device number, from now on, and of
    /// no other.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel refuses the update of its map, for which no reason is known.
    pub fn watch(&mut self, mount: DeviceNumber) -> Result<()> {
        // the kernel's `dev_t` in memory, `MKDEV` of include/linux/kdev_t.h
        let device = mount.major << 20 | mount.minor;
        self.mount.set(0, device, 0).map_err(|error| {
            let error = io::Error::other(error);
            Error::system("cannot name the mount to the kernel programs", error)
        })
    }

    /// What the programs counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The kernel's numbers for the programs, as `bpftool prog` lists them.
    pub fn ids(&self) -> Vec<u32> {
        self.infos().map(|(_, info)| info.id()).collect()
    }

    /// How many instructions the verifier walked through, by program: what a program costs at
    /// load, and what the kernel limits to 1,000,000 (`BPF_COMPLEXITY_LIMIT_INSNS`).
    pub fn verified_instructions(&self) -> Vec<(&str, u32)> {
        self.infos()
            .filter_map(|(name, info)| Some((name, info.verified_instruction_count()?)))
            .collect()
    }

    fn infos(&self) -> impl Iterator<Item = (&str, ProgramInfo)> {
        self.ebpf
            .programs()
            .filter_map(|(name, program)| Some((name, program.info().ok()?)))
    }
}

/// How many starts are kept: far more than requests are ever under way, since the kernel's LRU map
/// sets aside 128 free elements for each CPU and evicts live ones when it runs short.
fn starts_kept(cpus: u32) -> u32 {
    cpus.saturating_mul(512).max(8192)
}

fn attach(ebpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<()> {
    let program: &mut BtfTracePoint = ebpf
        .program_mut(name)
        .and_then(|program| program.try_into().ok())
        .expect("the object has a program for each tracepoint");
    program.load(name, btf).map_err(|error| match error {
        ProgramError::Btf(error) => unsupported(
            format!("this kernel has no tracepoint {name}: {error}"),
            "Linux 6.14 or newer is needed",
        ),
        error => unsupported(
            format!("the kernel refuses the program {name}: {error}"),
            CANNOT_LOAD,
        ),
    })?;
    program.attach().map_err(|error| {
        unsupported(
            format!("cannot attach to tracepoint {name}: {error}"),
            CANNOT_LOAD,
        )
    })?;
    Ok(())
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Map {
    ebpf.take_map(name).expect("the object has this map")
}

fn array_data(map: Map) -> MapData {
    match map {
        Map::Array(data) => data,
        other => unreachable!("the object's {other:?} is not an array"),
    }
}

fn unsupported(what: String, remedy: &str) -> Error {
    Error::Unsupported {
        what,
        remedy: remedy.to_owned(),
    }
}
