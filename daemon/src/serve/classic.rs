//! The classic transport: one read(2) and one write(2) on `/dev/fuse` per request.

use super::{
    ServerThread,
    message::{BufferedExchange, Malformed, ReplyBuffer, Request, RequestBuffer},
    spawn,
};
use crate::{
    error::{Error, Result},
    fuse::{Device, Errno, OwnedExchange, Reply, ServeThread, Session, fulfil::fulfil},
};
use std::{ops::ControlFlow, sync::Arc};
use transport::wire::InHeader;

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

/// The channel of thread `index`: the first serves the one that was mounted.
pub(super) fn open_channel(session: &Session, index: usize) -> Result<Device> {
    match index {
        0 => Ok(session.device().clone()),
        _ => session.device().clone_channel(),
    }
}

fn start_one(session: &Arc<Session>, index: usize) -> Result<ServerThread> {
    let channel = open_channel(session, index)?;
    let max_payload = session.negotiated().max_payload();
    spawn(
        session,
        format!("shmfuse-{index}"),
        move |_| Buffers::new(max_payload),
        move |session, thread, mut buffers| serve(session, &channel, thread, &mut buffers),
    )
}

/// Serves what comes over `/dev/fuse` on `channel` until the mount ends or the session stops. The
/// ring transports need one such thread: FORGET, BATCH_FORGET and INTERRUPT never come over a ring.
///
/// # Errors
///
/// `/dev/fuse` failed in a way that the protocol does not know.
pub fn device_reader(
    session: &Arc<Session>,
    channel: &Device,
    thread: &mut ServeThread,
) -> Result<()> {
    let mut buffers = Buffers::new(session.negotiated().max_payload())?;
    serve(session, channel, thread, &mut buffers)
}

/// The memory of one thread.
#[derive(Debug)]
struct Buffers {
    request: RequestBuffer,
    reply: ReplyBuffer,
}

impl Buffers {
    fn new(max_payload: usize) -> Result<Self> {
        Ok(Self {
            request: RequestBuffer::new(max_payload)?,
            reply: ReplyBuffer::new(max_payload)?,
        })
    }
}

fn serve(
    session: &Arc<Session>,
    channel: &Device,
    thread: &mut ServeThread,
    buffers: &mut Buffers,
) -> Result<()> {
    loop {
        let len = match channel.read(buffers.request.space()) {
            Ok(len) => len,
            Err(errno) => match after_failed_read(session, channel, errno)? {
                ControlFlow::Continue(()) => continue,
                ControlFlow::Break(()) => return Ok(()),
            },
        };
        match buffers.request.request(len) {
            Ok(request) => serve_one(session, channel, thread, &mut buffers.reply, request),
            Err(malformed) => refuse(session, channel, &mut buffers.reply, malformed)?,
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
    replies: &mut ReplyBuffer,
    request: Request<'_>,
) {
    let header = request.header;
    if session.may_block(&header, request.fixed) {
        return detach(session, channel, request);
    }
    let mut exchange = BufferedExchange {
        request,
        out: replies.body(),
    };
    let answer = session.serve(thread, &mut exchange);
    let reply = fulfil(answer, &mut exchange);
    let sent = replies.send(channel, reply, header.unique);
    after_send(sent, &header);
}

/// Hands a request that may block to a thread of its own, which replies on the same channel.
pub(super) fn detach(session: &Arc<Session>, channel: &Device, request: Request<'_>) {
    let Request {
        header,
        fixed,
        payload,
    } = request;
    let max_payload = session.negotiated().max_payload();
    let owned = OwnedExchange::copy(&header, fixed, payload, max_payload);
    let channel = channel.clone();
    session.serve_blocking(owned, move |exchange, reply| {
        let Some(out) = reply.header(header.unique) else {
            return;
        };
        let message = [
            std::io::IoSlice::new(bytemuck::bytes_of(&out)),
            std::io::IoSlice::new(exchange.body(reply.body_len())),
        ];
        after_send(channel.writev(&message), &header);
    });
}

/// Tells whoever waits for a malformed request that it failed.
///
/// # Errors
///
/// [`Error::Protocol`] for what is no request at all: the device is not what it should be.
pub(super) fn refuse(
    session: &Session,
    channel: &Device,
    replies: &mut ReplyBuffer,
    malformed: Malformed,
) -> Result<()> {
    let Malformed::Length(header) = malformed else {
        return Err(Error::Protocol("a message without a header".into()));
    };
    let InHeader { opcode, len, .. } = header;
    tracing::error!(%opcode, len, "a request whose length is not its own gets EIO");
    session.counters().malformed.count();
    let sent = replies.send(channel, Reply::Error(Errno::IO), header.unique);
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
