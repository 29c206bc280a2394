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
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
};
use transport::trace::{Filter, Life};

/// The eBPF crate's tracing programs, compiled by build.rs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/trace.bpf.o"));

/// The programs and their tracepoints. The one that begins a life comes last: no life is told of that
/// the others have seen in part.
const PROGRAMS: [(&str, &str); 4] = [
    ("trace_end", "fuse_request_end"),
    ("trace_commit", "io_uring_submit_req"),
    ("trace_arrival", "io_uring_complete"),
    ("trace_send", "fuse_request_send"),
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
        let offsets = Offsets::of_running_kernel(offsets::TRACE)?;
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
        let mut ebpf = loader
            .map_max_entries("ENDED", BUFFER_BYTES)
            .load(OBJECT)
            .map_err(|error| {
                unsupported(format!("cannot set up the maps: {error}"), CANNOT_LOAD)
            })?;
        for (program, tracepoint) in PROGRAMS {
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

impl AsFd for Trace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}
