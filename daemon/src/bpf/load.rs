//! The programs of one mount: load, attach, let go.

use std::{fs, io, os::unix::fs::MetadataExt, sync::Arc};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, Map, MapData},
    programs::{BtfTracePoint, ProgramError, ProgramInfo},
    util::nr_cpus,
};

use transport::{
    changes::{ChangeCounters, Lower},
    cq::Engine,
    memory::Geometry,
};

use super::{
    CacheMaps, CacheSizes, Counters, Generations, changes,
    mapping::MappedArray,
    offsets::{self, Offsets},
    shared::{Reservation, SharedMemory, Sizes},
    words::SharedArray,
};
use crate::{
    doctor::trial::{LOAD_ATTEMPTS, is_interrupted},
    error::{Error, Result},
    mount::table::DeviceNumber,
    rules::book::Book,
};

/// The eBPF crate, compiled by build.rs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/shmfuse.bpf.o"));

/// The programs, each named for the tracepoint it sits on, in the order they are attached.
///
/// The one that sees requests sent comes first: a request that passes between the two attachments
/// leaves a start behind that the next request at its address overwrites, rather than an end
/// without a start.
const PROGRAMS: [&str; 2] = ["fuse_request_send", "fuse_request_end"];

/// The program of the shared-memory transport.
const ARRIVAL: &str = "io_uring_complete";
/// The one that renews answers from replies.
const REPLY: &str = "io_uring_submit_req";

pub(super) const CANNOT_LOAD: &str =
    "loading kernel programs takes root, or CAP_BPF and CAP_PERFMON";

/// The kernel programs of one mount, loaded and attached to their tracepoints. They go with this
/// value, or with the process, however it ends.
///
/// # Minimum kernel version
///
/// Linux 6.14 with `CONFIG_DEBUG_INFO_BTF` and `CONFIG_BPF_EVENTS`.
pub struct Programs {
    ebpf: Ebpf,
    btf: Btf,
    mount: Array<MapData, u32>,
    counters: Counters,
    generations: Arc<Generations>,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs").finish_non_exhaustive()
    }
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
        let (mut ebpf, btf) = open_object(None)?;
        attach(&mut ebpf, &PROGRAMS, &btf)?;
        Self::of(ebpf, btf)
    }

    /// Loads and attaches the programs of a mount with the shared-memory transport, and maps its
    /// memory. `geometry` is asked with the address that the parking words will have. The programs
    /// leave every completion to the daemon until the session is started (protocol 11.1).
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and if the memory cannot be had, or this process is not in the
    /// initial PID namespace (programs could not tell its rings from others').
    pub fn load_shared(
        sizes: Sizes,
        caches: CacheSizes,
        geometry: impl FnOnce(u64) -> Geometry,
    ) -> Result<(Self, SharedMemory, Geometry)> {
        check_pid_namespace()?;
        let reservation = Reservation::new(sizes)?;
        let geometry = geometry(reservation.parks_address());
        let (mut ebpf, btf) = open_object(Some((&sizes, &caches, &geometry)))?;
        let memory = reservation.fill(|name| array_data(&ebpf, name))?;
        attach(&mut ebpf, &[ARRIVAL], &btf)?;
        if caches.renews {
            attach(&mut ebpf, &[REPLY], &btf)?;
        }
        attach(&mut ebpf, &PROGRAMS, &btf)?;
        Ok((Self::of(ebpf, btf)?, memory, geometry))
    }

    /// The programs that notice changes alone, none of which is attached: see
    /// [`notice_changes`](Self::notice_changes).
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn for_changes() -> Result<Self> {
        let (ebpf, btf) = open_object(None)?;
        Self::of(ebpf, btf)
    }

    fn of(mut ebpf: Ebpf, btf: Btf) -> Result<Self> {
        let mount =
            Array::try_from(take_map(&mut ebpf, "MOUNT")).expect("MOUNT is an array of u32");
        // The map's descriptor stays with the object: by it others find the counters.
        let stats = MappedArray::new(array_data(&ebpf, "STATS"))?;
        let generations = Arc::new(Generations::new(array_data(&ebpf, "GENERATIONS"))?);
        Ok(Self {
            ebpf,
            btf,
            mount,
            generations,
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
        name_mount(&mut self.mount, mount)
    }

    /// Makes these programs notice what anybody changes on a lower file system: ext4 alone has the
    /// tracepoints. They move the generations, and report to who armed an inode's interest word.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if this kernel lacks a tracepoint or refuses a program.
    pub fn notice_changes(&mut self, lower: Lower) -> Result<changes::Changes> {
        attach(&mut self.ebpf, &changes::PROGRAMS, &self.btf)?;
        changes::Changes::of(&mut self.ebpf, lower)
    }

    /// The counters of changes, where something else than programs notices them.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn change_counters(&self) -> Result<Arc<SharedArray<ChangeCounters>>> {
        let map = array_data(&self.ebpf, "CHANGE_COUNTERS");
        Ok(Arc::new(SharedArray::new(map)?))
    }

    /// What the programs counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The generation words, which the programs and this process move. They outlive this value, and
    /// are moved by nobody else then.
    pub fn generations(&self) -> &Arc<Generations> {
        &self.generations
    }

    /// The caches that the programs answer from, as sized at the load; `shared` is what was mapped
    /// then.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn caches(&self, sizes: CacheSizes, shared: &Arc<SharedMemory>) -> Result<CacheMaps> {
        let (generations, shared) = (Arc::clone(&self.generations), Arc::clone(shared));
        CacheMaps::new(sizes, generations, shared, |name| {
            array_data(&self.ebpf, name)
        })
    }

    /// The rules that the programs judge requests by.
    ///
    /// # Errors
    ///
    /// What mmap(2) says.
    pub fn rules(&self) -> Result<Book> {
        Ok(Book::new(SharedArray::new(array_data(
            &self.ebpf, "RULES",
        ))?))
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

/// Tells programs by their map `MOUNT` which mount's requests are meant.
pub(super) fn name_mount(map: &mut Array<MapData, u32>, mount: DeviceNumber) -> Result<()> {
    // the kernel's `dev_t` in memory, `MKDEV` of include/linux/kdev_t.h
    let device = mount.major << 20 | mount.minor;
    map.set(0, device, 0).map_err(|error| {
        let error = io::Error::other(error);
        Error::system("cannot name the mount to the kernel programs", error)
    })
}

/// The running kernel's types, as aya takes them.
pub(super) fn kernel_types() -> Result<Btf> {
    Btf::from_sys_fs().map_err(|error| {
        unsupported(
            format!("cannot read the kernel's types: {error}"),
            "the kernel must be built with CONFIG_DEBUG_INFO_BTF and /sys be mounted",
        )
    })
}

/// The eBPF object with its maps made and its constants set; no program is loaded yet.
pub(super) fn open_object(shared: Option<(&Sizes, &CacheSizes, &Geometry)>) -> Result<(Ebpf, Btf)> {
    let btf = kernel_types()?;
    let cpus = nr_cpus().map_err(|(path, error)| Error::path("cannot read", path, error))?;
    let cpus = u32::try_from(cpus).expect("Linux has at most 8192 CPUs");

    let offsets = Offsets::of_running_kernel(&[offsets::MOUNT])?;
    let constants = shared.map(|(sizes, caches, geometry)| Constants::of(sizes, caches, geometry));
    let mut loader = EbpfLoader::new();
    loader.btf(Some(&btf));
    for (global, offset) in offsets.globals() {
        loader.override_global(global, offset, true);
    }
    if let (Some((sizes, caches, _)), Some(constants)) = (shared, &constants) {
        for (map, elements) in sizes.elements().into_iter().chain(caches.elements()) {
            loader.map_max_entries(map, elements);
        }
        for (global, value) in &constants.words {
            loader.override_global(global, value, true);
        }
        loader.override_global("SHM_PARKS_ADDRESS", &constants.parks_address, true);
    }
    let ebpf = loader
        .map_max_entries("STATS", cpus)
        .map_max_entries("CHANGES", changes::RING_BYTES)
        .load(OBJECT)
        .map_err(|error| unsupported(format!("cannot set up the maps: {error}"), CANNOT_LOAD))?;
    Ok((ebpf, btf))
}

/// What the programs of the shared-memory transport know of the mount (ebpf/src/shm.rs).
struct Constants {
    words: [(&'static str, u32); 10],
    parks_address: u64,
}

impl Constants {
    fn of(sizes: &Sizes, caches: &CacheSizes, geometry: &Geometry) -> Self {
        Self {
            words: [
                (
                    "SHM_KERNEL_ENGINE",
                    u32::from(geometry.engine == Engine::Kernel),
                ),
                ("SHM_QUEUES", geometry.queues),
                ("SHM_DEPTH", geometry.depth),
                ("SHM_CONSUMERS", geometry.consumers),
                ("SHM_COOKIE", u32::from(geometry.cookie)),
                ("SHM_PROCESS", std::process::id()),
                ("SHM_HEAD_PAGES", sizes.head_pages()),
                ("CACHE_SETS", caches.sets),
                ("CACHE_RENEWS", caches.renews.into()),
                ("CACHE_DENIED_SETS", caches.denied_sets),
            ],
            parks_address: geometry.parks_address,
        }
    }
}

/// The number of the initial PID namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xeffffffc;

/// Whether the programs could tell rings of this process from others': they know it by its number in
/// the initial PID namespace.
///
/// # Errors
///
/// [`Error::Unsupported`] if it is in another one.
pub fn check_pid_namespace() -> Result<()> {
    let path = "/proc/self/ns/pid";
    let namespace = fs::metadata(path)
        .map_err(|error| Error::path("cannot examine", path, error))?
        .ino();
    if namespace == INITIAL_PID_NAMESPACE {
        return Ok(());
    }
    Err(unsupported(
        "the shared-memory transport does not work inside a PID namespace".to_owned(),
        "run the daemon outside the container, or use '--transport uring'",
    ))
}

pub(super) fn attach(ebpf: &mut Ebpf, names: &[&str], btf: &Btf) -> Result<()> {
    names
        .iter()
        .try_for_each(|name| attach_to(ebpf, name, name, btf))
}

/// Loads a program and attaches it to a tracepoint.
pub(super) fn attach_to(ebpf: &mut Ebpf, program: &str, name: &str, btf: &Btf) -> Result<()> {
    let program: &mut BtfTracePoint = ebpf
        .program_mut(program)
        .and_then(|program| program.try_into().ok())
        .expect("the object has a program for each tracepoint");
    load_uninterrupted(program, name, btf).map_err(|error| match error {
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

/// Loads a program, again if the verifier gave up because something waited for this thread.
fn load_uninterrupted(
    program: &mut BtfTracePoint,
    name: &str,
    btf: &Btf,
) -> Result<(), ProgramError> {
    let mut attempts = 1;
    loop {
        match program.load(name, btf) {
            Err(ProgramError::LoadError { io_error, .. })
                if is_interrupted(&io_error) && attempts < LOAD_ATTEMPTS =>
            {
                attempts += 1;
            }
            outcome => return outcome,
        }
    }
}

pub(super) fn take_map(ebpf: &mut Ebpf, name: &str) -> Map {
    ebpf.take_map(name).expect("the object has this map")
}

pub(super) fn array_data<'e>(ebpf: &'e Ebpf, name: &str) -> &'e MapData {
    match ebpf.map(name) {
        Some(Map::Array(data)) => data,
        other => unreachable!("the object's {name} is an array, not {other:?}"),
    }
}

pub(super) fn unsupported(what: String, remedy: &str) -> Error {
    Error::Unsupported {
        what,
        remedy: remedy.to_owned(),
    }
}
