//! The transports: how requests reach the file system and replies the kernel.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`classic`] | read(2) and write(2) on `/dev/fuse` |
//! | [`splice`] | the same, the data of READ and WRITE by splice(2) |
//! | [`message`] | requests and replies as they are on `/dev/fuse` |
//! | [`shm`] | the same, entries and rings in maps shared with kernel programs |
//! | [`uring`] | FUSE-over-io_uring, entries in private memory |

pub mod classic;
pub mod message;
pub mod shm;
pub mod splice;
pub mod uring;

pub use classic::device_reader;

use crate::{
    config::{TransportChoice, TransportKind},
    error::{Error, Result},
    fuse::{ServeThread, Session},
    rules::book::Book,
};
use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

/// The threads that serve a mount.
#[derive(Debug)]
pub struct Server {
    session: Arc<Session>,
    threads: Vec<ServerThread>,
}

/// A thread that serves until the mount ends.
#[derive(Debug)]
#[must_use = "it is awaited by Server::wait"]
pub struct ServerThread(JoinHandle<Result<()>>);

/// Starts the threads of the session's transport. When this returns, each is ready to serve.
///
/// # Errors
///
/// A thread could not be started or prepared; the others end.
pub fn start(session: Arc<Session>) -> Result<Server> {
    let threads = match session.kind() {
        TransportKind::Classic => alone(&session).and_then(|()| classic::start(&session)),
        TransportKind::Splice => alone(&session).and_then(|()| splice::start(&session)),
        TransportKind::Uring => alone(&session).and_then(|()| uring::start(&session)),
        TransportKind::Shm => shm::start(&session).or_else(|error| without_shm(&session, error)),
    };
    match threads {
        Ok(threads) => Ok(Server { session, threads }),
        Err(error) => {
            session.stop();
            session.finish();
            Err(error)
        }
    }
}

/// Serves by `uring` if `shm` cannot be had, and the choice is ours. What every kernel program asks of the
/// kernel is known for sure only once it has been loaded.
fn without_shm(session: &Arc<Session>, error: Error) -> Result<Vec<ServerThread>> {
    let is_ours = session.config().transport == TransportChoice::Auto;
    let is_lack = matches!(error, Error::Unsupported { .. } | Error::Refused { .. });
    if !(is_ours && is_lack) {
        return Err(error);
    }
    tracing::info!("transport: uring; not shm: {error}");
    session.do_without_shared_memory();
    alone(session)?;
    uring::start(session)
}

/// Prepares a mount without kernel programs: the daemon is the one that judges requests.
fn alone(session: &Session) -> Result<()> {
    session.go_by(Book::in_file()?)?;
    session.mounted(None)
}

impl Server {
    /// Waits until the mount ends, or [`Session::stop`] is called, and every thread has ended.
    ///
    /// # Errors
    ///
    /// What made a thread end before.
    pub fn wait(self) -> Result<()> {
        let mut outcome = Ok(());
        for ServerThread(thread) in self.threads {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(Error::Protocol("a serving thread panicked".into())));
            outcome = outcome.and(ended);
        }
        self.session.finish();
        outcome
    }

    /// The mount that is served.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

/// Starts a thread `name` that serves until the mount ends. `prepare` runs on it first, and its
/// error is returned here; then `serve` with what it made. A thread that fails later stops the
/// whole session: a mount that is served by fewer threads than it should is worse than none.
///
/// # Errors
///
/// The thread could not be started, or what `prepare` says.
pub fn spawn<T>(
    session: &Arc<Session>,
    name: String,
    prepare: impl FnOnce(&mut ServeThread) -> Result<T> + Send + 'static,
    serve: impl FnOnce(&Arc<Session>, &mut ServeThread, T) -> Result<()> + Send + 'static,
) -> Result<ServerThread> {
    let (ready, readiness) = mpsc::sync_channel(1);
    let session = Arc::clone(session);
    let body = move || {
        let registered = session.register_server();
        let prepared = registered.and_then(|registered| {
            let mut thread = ServeThread::enter()?;
            let made = prepare(&mut thread)?;
            thread.settle()?;
            Ok((registered, thread, made))
        });
        let (_registered, mut thread, made) = match prepared {
            Ok(prepared) => {
                // The receiver waits for exactly this message.
                drop(ready.send(Ok(())));
                prepared
            }
            Err(error) => {
                drop(ready.send(Err(error)));
                return Ok(());
            }
        };
        let stop = StopOnUnwind(&session);
        let outcome = serve(&session, &mut thread, made);
        session.while_served().end();
        std::mem::forget(stop);
        if let Err(error) = &outcome {
            tracing::error!(%error, "a serving thread ends; the mount ends with it");
            session.fail();
        }
        outcome
    };
    let thread = thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(|source| Error::system("cannot start a thread", source))?;
    match readiness.recv() {
        Ok(Ok(())) => Ok(ServerThread(thread)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::Protocol("a serving thread panicked".into())),
    }
}

/// Ends the session when its thread unwinds.
struct StopOnUnwind<'a>(&'a Session);

impl Drop for StopOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.fail();
    }
}
