//! The shm transport: FUSE-over-io_uring, entries and rings in maps that kernel programs share.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`setup`] | an io_uring in memory of ours (unsafe) |
//! | [`backlog`] | whether requests may be waiting for a poll thread |
//! | [`guard`] | looking for requests that got lost |
//! | [`sizing`] | how much memory a mount gets |
//! | [`probe`] | whether kernel and user can have it |
//! | [`queue`] | a queue from the daemon's end: requests taken and answered (unsafe) |
//! | [`ring`] | its ring in the worker engine (unsafe) |
//! | [`polled`] | its rings in the kernel engine (unsafe) |
//! | [`parked`] | sleeping on a parking word (unsafe) |
//! | [`poll_threads`] | how the kernel engine's poll threads are scheduled |
//!
//! Everything else, from the worker's loop to the pool for requests that block, is the uring
//! transport's own.

pub mod backlog;
pub mod guard;
pub mod parked;
pub mod poll_threads;
pub mod polled;
pub mod probe;
pub mod queue;
pub mod ring;
pub mod setup;
pub mod sizing;

use super::{
    ServerThread, device_reader, spawn,
    uring::{self, entry::QueueId, memory::EntryMemory, ring::Ring, worker::Worker},
};
use crate::{
    answers::Answers,
    bpf::{Programs, SharedMemory, Sizes, changes::Changes},
    coherence::UNPROVEN,
    config::{CachePolicy, S2},
    error::Result,
    fuse::Session,
    mount::table::MountTable,
    stat::UNTIL_REVOKED,
};
use backlog::Backlog;
use poll_threads::Keeper;
use polled::PolledRing;
use ring::ShmRing;
use std::{
    convert::Infallible,
    os::fd::AsFd,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
};
use transport::{
    changes::Lower,
    cq::Engine,
    generation,
    layout::MAGIC,
    memory::{Geometry, Memory},
    session,
    version::Version,
    wire::InitFlags,
};

/// What a mount with this transport holds on to.
#[derive(Debug)]
struct Shared {
    memory: Arc<SharedMemory>,
    geometry: Geometry,
}

/// Loads the programs, starts a worker for each queue, and the reader of `/dev/fuse`.
///
/// # Errors
///
/// As [`uring::start`], and as [`Programs::load_shared`].
pub fn start(session: &Arc<Session>) -> Result<Vec<ServerThread>> {
    let engine = session.config().engine;
    let queues = uring::probe::possible_cpus()?;
    let payload_len = session.negotiated().max_payload();
    let plan = sizing::plan(
        session.config(),
        session.noticed_device().is_some(),
        u32::from(queues),
        payload_len,
    )?;
    let (sizes, depth) = (plan.sizes, plan.sizes.depth);
    let (mut programs, memory, geometry) =
        Programs::load_shared(sizes, plan.caches, |parks_address| Geometry {
            engine,
            queues: u32::from(queues),
            depth,
            consumers: u32::from(queues),
            cookie: std::process::id() as u16,
            parks_address,
        })?;
    tracing::info!(?engine, "shared memory: {plan}");
    if engine == Engine::Kernel {
        let idle_ms = session.config().poll_idle_ms;
        tracing::info!(
            "kernel threads poll for {idle_ms} ms, in ticks of the kernel, before they sleep"
        );
    }
    let shared = Shared {
        memory: Arc::new(memory),
        geometry,
    };
    let caches = programs.caches(plan.caches, &shared.memory)?;
    let deny = session.config().deny.iter();
    Answers::refuse(&caches, deny.map(|denied| (&*denied.name, denied.errno)));
    let changes = if session.config().s1 {
        notice_changes(session, &mut programs)
    } else {
        None
    };
    if session.config().unproven {
        let counters = programs.change_counters()?;
        let source = counters.get(0).map(|counters| &counters.source);
        source.inspect(|source| source.add(UNPROVEN.into()));
    }
    let answers = changes.is_some();
    session.mounted(changes)?;
    if answers {
        session.use_answers(Box::new(caches));
        let control = shared.memory.control().expect("the map has one element");
        control.facts.set(plan.caches.facts().into());
        control.renews.set(plan.caches.renews.into());
    }
    let ahead = match session.config().s2 {
        S2::Prefetch if !answers => S2::Readdirplus,
        s2 => s2,
    };
    let control = shared.memory.control().expect("the map has one element");
    control.ahead.set(ahead as u64);
    let mount = MountTable::read()?;
    let mount = mount.top(&session.config().mountpoint);
    if let Some(mount) = mount {
        programs.watch(mount.device)?;
        describe(session, &shared, &sizes, mount.device.minor);
    }
    session.go_by(programs.rules()?)?;
    tracing::debug!(
        "instructions walked by the verifier: {:?}",
        programs.verified_instructions()
    );

    let mut threads = Vec::with_capacity(usize::from(queues) + 2);
    let device = session.device().clone();
    // The programs take part in every request, and in the end of every entry: they go when the last
    // queue has ended.
    let (queues_live, queues_end) = mpsc::channel::<Infallible>();
    let (live, end) = mpsc::channel::<Infallible>();
    threads.push(spawn(
        session,
        "shmfuse-dev".into(),
        |_| Ok(()),
        move |session, thread, ()| {
            let outcome = device_reader(session, &device, thread);
            // Nothing is ever sent: this waits until the other ends are dropped.
            let _ = queues_end.recv();
            drop(programs);
            drop(live);
            outcome
        },
    )?);
    let memory = Arc::clone(&shared.memory);
    threads.push(spawn(
        session,
        "shmfuse-guard".into(),
        |_| Ok(()),
        move |_, _, ()| guard::watch(&memory, &end),
    )?);
    match engine {
        Engine::Worker => {
            for queue in (0..queues).map(QueueId) {
                let (memory, geometry) = (Arc::clone(&shared.memory), shared.geometry);
                let device = session.device().clone();
                let make = move || ShmRing::new(queue, device.as_fd(), memory, geometry);
                let live = queues_live.clone();
                threads.push(start_queue(session, queue, &shared.memory, make, live)?);
            }
        }
        Engine::Kernel => {
            let device_minor = mount.map(|mount| mount.device.minor);
            let backlog = Backlog::new(Arc::clone(&shared.memory), device_minor);
            let (registrar, keeper) = Keeper::new(backlog);
            threads.push(spawn(
                session,
                "shmfuse-pace".into(),
                |_| Ok(()),
                move |_, _, ()| {
                    keeper.run();
                    Ok(())
                },
            )?);
            let idle_ms = session.config().poll_idle_ms;
            for queue in (0..queues).map(QueueId) {
                let (memory, geometry) = (Arc::clone(&shared.memory), shared.geometry);
                let registrar = registrar.clone();
                let device = session.device().clone();
                let make = move || {
                    PolledRing::new(queue, device.as_fd(), memory, geometry, idle_ms, registrar)
                };
                let live = queues_live.clone();
                threads.push(start_queue(session, queue, &shared.memory, make, live)?);
            }
        }
    }
    Ok(threads)
}

/// Lets the programs notice every change of the lower file system; their reports if they do.
fn notice_changes(session: &Session, programs: &mut Programs) -> Option<Changes> {
    let Some((major, minor)) = session.noticed_device() else {
        tracing::info!("kernel programs answer nothing: the lower file system is not ext4");
        return None;
    };
    let lower = Lower {
        device: generation::device_of(major, minor) as u32,
        process: std::process::id(),
    };
    match programs.notice_changes(lower) {
        Ok(changes) => Some(changes),
        Err(error) => {
            tracing::warn!("kernel programs answer nothing: {error}");
            None
        }
    }
}

/// Fills the control page, and lets the programs begin.
fn describe(session: &Session, shared: &Shared, sizes: &Sizes, device_minor: u32) {
    let control = shared.memory.control().expect("the map has one element");
    let geometry = &shared.geometry;
    let passthrough = session.negotiated().flags.contains(InitFlags::PASSTHROUGH);
    control.version.set(Version::CURRENT as u32);
    control.queues.set(sizes.queues);
    control.depth.set(sizes.depth);
    control.rings.set(sizes.rings);
    control.consumers.set(sizes.consumers);
    control.head_len.set(sizes.head_len as u32);
    control.payload_len.set(sizes.payload_len as u32);
    control.pid.set(std::process::id());
    control.device.set(device_minor);
    control.cookie.set(u32::from(geometry.cookie));
    control.passthrough.set(u32::from(passthrough));
    control.parks_address.set(geometry.parks_address);
    control.merges.set(session.config().s5.into());
    control.ttl_us.set(match session.config().cache {
        CachePolicy::Coherent => UNTIL_REVOKED,
        policy => policy.ttl().as_micros() as u64,
    });
    control.magic.set(MAGIC);
    session::Session::start(control);
}

/// Starts the thread of one queue, which makes its ring itself. It drops `live` when it ends.
fn start_queue<R: Ring>(
    session: &Arc<Session>,
    queue: QueueId,
    memory: &Arc<SharedMemory>,
    make: impl FnOnce() -> Result<R> + Send + 'static,
    live: Sender<Infallible>,
) -> Result<ServerThread> {
    let memory = Arc::clone(memory);
    let prepare = move || {
        uring::pin(queue);
        let entries = EntryMemory::new(queue::chunk(queue, &memory)?);
        Worker::start(queue, make()?, entries)
    };
    spawn(
        session,
        format!("shmfuse-q{}", queue.0),
        move |_| prepare(),
        move |session, thread, worker: Worker<R>| {
            let outcome = worker.run(session, thread);
            drop(live);
            outcome
        },
    )
}
