//! The classic transport: one read(2) and one write(2) on `/dev/fuse` per request.

use super::{
    ServerThread,
    message::{Malformed, MessageBuffer, Request},
    spawn,
};
use crate::{
    error::{Error, Result},
    fuse::{Device, Errno, OwnedExchange, Reply, ServeThread, Session, fulfil::fulfil},
    rules::serving::Course,
};
use std::{ops::ControlFlow, sync::Arc, thread, time::Duration};
use transport::{
    rules::{Priority, Ruling},
    wire::{InHeader, Opcode},
};

/// So long a reader that has nothing but FORGET and INTERRUPT to read lets them gather after a FORGET: who
/// forgets inodes one after the other, as by unlink(2), would wake it each time, on another CPU
/// for the most part. Then they come by the hundred (`fuse_read_batch_forget`, fs/fuse/dev.c).
const FORGETS_TOGETHER: Duration = Duration::from_millis(1);

/// Starts the threads, each with a channel of its own.
///
/// # Errors
///
/// As [`spawn`].
pub fn start(session: &Arc<Session>) -> Result<Vec<ServerThread>> {
    (0..session.config().threads)
        .map(|index| start_one(session, index))
        .collect()
}

fn start_one(session: &Arc<Session>, index: usize) -> Result<ServerThread> {
    let channel = session.channel(index)?;
    let max_payload = session.negotiated().max_payload();
    spawn(
        session,
        format!("shmfuse-{index}"),
        move |_| MessageBuffer::new(max_payload),
        move |session, thread, mut buffer| {
            serve(session, &channel, thread, &mut buffer, Duration::ZERO)
        },
    )
}

/// Serves what comes over `/dev/fuse` on `channel` until the mount ends or the session stops. The
/// ring transports need one such thread: FORGET, BATCH_FORGET and INTERRUPT never come over a ring. An
/// INTERRUPT behind a FORGET is read a millisecond later than it might be.
///
/// # Errors
///
/// `/dev/fuse` failed in a way that the protocol does not know.
pub fn device_reader(
    session: &Arc<Session>,
    channel: &Device,
    thread: &mut ServeThread,
) -> Result<()> {
    let mut buffer = MessageBuffer::new(session.negotiated().max_payload())?;
    serve(session, channel, thread, &mut buffer, FORGETS_TOGETHER)
}

fn serve(
    session: &Arc<Session>,
    channel: &Device,
    thread: &mut ServeThread,
    buffer: &mut MessageBuffer,
    after_forget: Duration,
) -> Result<()> {
    loop {
        match channel.read(buffer.space()) {
            Ok(len) => match buffer.request(len, len) {
                Ok(request) => {
                    serve_one(session, channel, thread, buffer, &request);
                    let opcode = request.header().opcode;
                    let forgets = matches!(opcode, Opcode::FORGET | Opcode::BATCH_FORGET);
                    if forgets && !after_forget.is_zero() {
                        thread::sleep(after_forget);
                    }
                }
                Err(malformed) => refuse(session, channel, buffer, malformed)?,
            },
            Err(errno) => match after_failed_read(session, channel, errno)? {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(()) => return Ok(()),
            },
        }
    }
}

/// Whether a channel is to be read again after `errno`.
pub(super) fn after_failed_read(
    session: &Session,
    channel: &Device,
    errno: Errno,
) -> Result<ControlFlow<()>> {
    match errno {
        // The request was taken back before it was read.
        Errno::NOENT => Ok(ControlFlow::Continue(())),
        Errno::INTR if session.stopping() => Ok(ControlFlow::Break(())),
        Errno::INTR => Ok(ControlFlow::Continue(())),
        Errno::AGAIN => match channel.wait_readable() {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(Errno::INTR) if session.stopping() => Ok(ControlFlow::Break(())),
            Err(Errno::INTR) => Ok(ControlFlow::Continue(())),
            Err(errno) => Err(Error::system("cannot wait for /dev/fuse", errno)),
        },
        Errno::NODEV => Ok(ControlFlow::Break(())),
        Errno::CONNABORTED => {
            tracing::warn!("the connection was aborted");
            Ok(ControlFlow::Break(()))
        }
        errno => Err(Error::system("cannot read from /dev/fuse", errno)),
    }
}

fn serve_one(
    session: &Arc<Session>,
    channel: &Device,
    thread: &mut ServeThread,
    buffer: &mut MessageBuffer,
    request: &Request,
) {
    let header = *request.header();
    let payload = buffer.payload(request);
    let course = session.course(Ruling::Undecided, &header, request.fixed(), payload);
    if let Course::Refuse(errno) = course {
        return after_send(
            buffer.send(channel, Reply::Error(errno), header.unique),
            &header,
        );
    }
    if session.may_block(&header, request.fixed()) {
        return detach(session, channel, request, payload, None);
    }
    if let Course::Lane(priority) = course {
        return detach(session, channel, request, payload, Some(priority));
    }
    let mut exchange = buffer.exchange(request);
    let watch = session.watch(&header);
    let answer = session.serve(thread, &mut exchange);
    let reply = fulfil(answer, &mut exchange);
    session.watched(watch);
    after_send(buffer.send(channel, reply, header.unique), &header);
}

/// Hands a request that may block to a thread of its own, or by its priority to the lane for bulk; the
/// reply goes to the same channel.
pub(super) fn detach(
    session: &Arc<Session>,
    channel: &Device,
    request: &Request,
    payload: &[u8],
    lane: Option<Priority>,
) {
    let header = *request.header();
    let max_payload = session.negotiated().max_payload();
    let owned = OwnedExchange::copy(&header, request.fixed(), payload, max_payload);
    let channel = channel.clone();
    let complete = move |exchange: OwnedExchange, reply: Reply| {
        let Some(out) = reply.header(header.unique) else {
            return;
        };
        let message = [
            std::io::IoSlice::new(bytemuck::bytes_of(&out)),
            std::io::IoSlice::new(exchange.body(reply.body_len())),
        ];
        after_send(channel.writev(&message), &header);
    };
    match lane {
        None => session.serve_blocking(owned, complete),
        Some(priority) => session.serve_on_lane(owned, priority, complete),
    }
}

/// Tells whoever waits for a malformed request that it failed.
///
/// # Errors
///
/// [`Error::Protocol`] for what is no request at all: the device is not what it should be.
pub(super) fn refuse(
    session: &Session,
    channel: &Device,
    buffer: &mut MessageBuffer,
    malformed: Malformed,
) -> Result<()> {
    let Malformed::Length(header) = malformed else {
        return Err(Error::Protocol("a message without a header".into()));
    };
    let InHeader { opcode, len, .. } = header;
    tracing::error!(%opcode, len, "a request whose length is not its own gets EIO");
    session.counters().malformed.count();
    let sent = buffer.send(channel, Reply::Error(Errno::IO), header.unique);
    after_send(sent, &header);
    Ok(())
}

/// A reply that nobody waits for any more, or whose mount is gone, is no error.
pub(super) fn after_send(sent: Result<(), Errno>, header: &InHeader) {
    match sent {
        Ok(()) | Err(Errno::NOENT | Errno::NODEV | Errno::CONNABORTED) => {}
        Err(errno) => {
            let InHeader { opcode, unique, .. } = *header;
            tracing::error!(%opcode, unique, %errno, "the kernel refused a reply");
        }
    }
}
