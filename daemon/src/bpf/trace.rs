//! The programs that tell the life of requests: loaded while somebody traces, gone afterwards.

use super::{
    load::{CANNOT_LOAD, attach_to, kernel_types, name_mount, take_map, unsupported},
    offsets::{self, Offsets},
};
use crate::{
    error::{Error, Result},
    mount::table::DeviceNumber,
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, RingBuf},
};
use rustix::process::Pid;
use std::{
    fmt, fs, io,
    os::fd::{AsFd, BorrowedFd},
};
use transport::trace::{Filter, Life};

/// The eBPF crate's tracing programs, compiled by build.rs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/trace.bpf.o"));

/// A program and its tracepoint.
type Program = (&'static str, &'static str);

/// Those of every mount. The one that begins a life comes last: no life is told of that the others have seen in part.
const ENDS: [Program; 2] = [
    ("trace_end", "fuse_request_end"),
    ("trace_send", "fuse_request_send"),
];
/// Those of a mount whose requests go over rings.
const RINGS: [Program; 2] = [
    ("trace_commit", "io_uring_submit_req"),
    ("trace_arrival", "io_uring_complete"),
];
/// Those of a mount whose requests go over `/dev/fuse`. Each system call of the machine passes them.
const DEVICE: [Program; 2] = [("trace_given", "sys_enter"), ("trace_taken", "sys_exit")];

/// The system calls that a daemon takes requests and gives answers by, as the programs want them.
const CALLS: [u32; 4] = [
    libc::SYS_read as u32,
    libc::SYS_write as u32,
    libc::SYS_writev as u32,
    libc::SYS_splice as u32,
];

/// Bytes of the ring buffer to this process: about 9000 lives.
const BUFFER_BYTES: u32 = 1 << 20;

/// A trace of one mount's requests. It ends when this value is dropped.
pub struct Trace {
    ended: RingBuf<MapData>,
    dropped: Array<MapData, u64>,
    /// Holds the programs.
    _ebpf: Ebpf,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").finish_non_exhaustive()
    }
}

impl Trace {
    /// Starts to trace the requests of a mount that `filter` asks for. `daemon` is the process that
    /// serves it.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if this user may not load programs, or this kernel lacks BTF, a tracepoint
    /// or a field of a structure.
    pub fn start(mount: DeviceNumber, daemon: Pid, filter: &Filter) -> Result<Self> {
        let btf = kernel_types()?;
        let (between, tables) = if has_rings(daemon)? {
            (RINGS, &[offsets::TRACE][..])
        } else {
            (DEVICE, &[offsets::TRACE, offsets::TRACE_DEVICE][..])
        };
        let offsets = Offsets::of_running_kernel(tables)?;
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&btf));
        for (global, offset) in offsets.globals() {
            loader.override_global(global, offset, true);
        }
        let by_uid = u32::from(filter.uid.is_some());
        let uid = filter.uid.unwrap_or(0);
        let process = daemon.as_raw_nonzero().get() as u32;
        loader.override_global("TRACE_OPCODES", &filter.opcodes, true);
        loader.override_global("TRACE_BY_UID", &by_uid, true);
        loader.override_global("TRACE_UID", &uid, true);
        loader.override_global("TRACE_SLOW_NS", &filter.slow_ns, true);
        loader.override_global("TRACE_PROCESS", &process, true);
        loader.override_global("TRACE_CALLS", &CALLS[..], true);
        let mut ebpf = loader
            .map_max_entries("ENDED", BUFFER_BYTES)
            .load(OBJECT)
            .map_err(|error| {
                unsupported(format!("cannot set up the maps: {error}"), CANNOT_LOAD)
            })?;
        let [end, send] = ENDS;
        for (program, tracepoint) in [end].into_iter().chain(between).chain([send]) {
            attach_to(&mut ebpf, program, tracepoint, &btf)?;
        }
        let cannot = |error| {
            Error::system(
                "cannot map the ring buffer of the kernel programs",
                io::Error::other(error),
            )
        };
        let ended = RingBuf::try_from(take_map(&mut ebpf, "ENDED")).map_err(cannot)?;
        let dropped = Array::try_from(take_map(&mut ebpf, "DROPPED")).map_err(cannot)?;
        let mut watched = Array::try_from(take_map(&mut ebpf, "MOUNT")).map_err(cannot)?;
        name_mount(&mut watched, mount)?;
        Ok(Self {
            ended,
            dropped,
            _ebpf: ebpf,
        })
    }

    /// The next request that has ended; none if there is none yet. The descriptor ([`AsFd`]) is
    /// readable when there is one.
    pub fn take(&mut self) -> Option<Life> {
        let record = self.ended.next()?;
        // A record is as long as a life: the two are compiled from one source.
        bytemuck::try_pod_read_unaligned(&record).ok()
    }

    /// Requests that were not told of because the buffer was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.get(&0, 0).unwrap_or(0)
    }
}

/// Whether a process has an io_uring: a daemon whose requests go over `/dev/fuse` has none.
fn has_rings(daemon: Pid) -> Result<bool> {
    let descriptors = format!("/proc/{}/fd", daemon.as_raw_nonzero());
    let entries = fs::read_dir(&descriptors)
        .map_err(|error| Error::path("cannot look at the descriptors in", &descriptors, error))?;
    // One that is closed meanwhile is no ring.
    let targets = entries
        .flatten()
        .flat_map(|entry| fs::read_link(entry.path()));
    let mut rings = targets.filter(|target| target.as_os_str() == "anon_inode:[io_uring]");
    Ok(rings.next().is_some())
}

impl AsFd for Trace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}
