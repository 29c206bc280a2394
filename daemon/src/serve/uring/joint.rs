//! Requests of one [group](super::merge::Group), executed by one lower read or write.
//!
//! Each is served by the file system as if it were alone, with all checks and in its order; what they
//! share is the system call. Its bytes belong to the requests in order. Whoever got some of his goes on
//! behind them by himself, whoever got none begins by himself: so a short result, and every errno, is that
//! of the request that it concerns.

use super::{entry::Request, exchange::EntryExchange, merge::distribute};
use crate::fuse::{
    Answer, Body, Exchange, Reply, ServeThread, Session,
    fulfil::{fulfil, read_on},
};
use rustix::io::preadv;
use std::{fs::File, io::IoSliceMut, sync::Arc};
use transport::wire::Opcode;

/// Executes the requests of a group, whose entries have these payload buffers: the reply of each.
pub fn execute(
    session: &Session,
    thread: &mut ServeThread,
    requests: &[Request],
    payloads: Vec<&mut [u8]>,
) -> Vec<Reply> {
    match requests.first().map(Request::opcode) {
        Some(Opcode::WRITE) => write(session, thread, requests, payloads),
        _ => read(session, thread, requests, payloads),
    }
}

fn write(
    session: &Session,
    thread: &mut ServeThread,
    requests: &[Request],
    mut payloads: Vec<&mut [u8]>,
) -> Vec<Reply> {
    let mut replies = Vec::with_capacity(requests.len());
    let mut serve = |exchange: &mut EntryExchange<'_>| {
        let answer = session.serve(thread, exchange);
        replies.push(fulfil(answer, exchange));
    };
    let (Some((first, others)), Some((own, behind))) =
        (requests.split_first(), payloads.split_first_mut())
    else {
        return replies;
    };
    let lens: Vec<usize> = others.iter().map(|request| request.payload_len).collect();
    let written = {
        let data: Vec<&[u8]> = behind
            .iter()
            .zip(&lens)
            .map(|(payload, &len)| &payload[..len])
            .collect();
        let mut exchange = EntryExchange::followed(first, own, &data);
        serve(&mut exchange);
        exchange.written_behind()
    };
    let shares = distribute(&lens, written);
    for ((request, payload), share) in others.iter().zip(behind).zip(shares) {
        serve(&mut EntryExchange::written(request, payload, share));
    }
    replies
}

fn read(
    session: &Session,
    thread: &mut ServeThread,
    requests: &[Request],
    mut payloads: Vec<&mut [u8]>,
) -> Vec<Reply> {
    let serve = |(request, payload): (_, &mut &mut [u8])| {
        session.serve(thread, &mut EntryExchange::new(request, payload))
    };
    let answers: Vec<Answer> = requests.iter().zip(&mut payloads).map(serve).collect();
    let Some(range) = Range::of(&answers, &payloads) else {
        let alone = |((request, payload), answer)| {
            let exchange: &mut dyn Exchange = &mut EntryExchange::new(request, payload);
            fulfil(answer, exchange)
        };
        let each = requests.iter().zip(payloads).zip(answers);
        return each.map(alone).collect();
    };
    let mut slices: Vec<IoSliceMut<'_>> = payloads
        .iter_mut()
        .zip(&range.lens)
        .map(|(payload, &len)| IoSliceMut::new(&mut payload[..len]))
        .collect();
    let total = preadv(&range.file, &mut slices, range.offset).unwrap_or(0);
    let mut offset = range.offset;
    let mut replies = Vec::with_capacity(requests.len());
    let shares = distribute(&range.lens, total);
    for ((payload, &len), share) in payloads.into_iter().zip(&range.lens).zip(shares) {
        let out = &mut payload[..len];
        replies.push(match read_on(&range.file, out, offset, share) {
            Ok(read) => Reply::Body(read),
            Err(errno) => Reply::Error(errno),
        });
        offset += len as u64;
    }
    replies
}

/// A range of one file, in pieces.
struct Range {
    file: Arc<File>,
    offset: u64,
    lens: Vec<usize>,
}

impl Range {
    /// What these answers say is to be read, if it is one range and there is room for each piece.
    fn of(answers: &[Answer], payloads: &[&mut [u8]]) -> Option<Self> {
        let mut range: Option<Self> = None;
        let mut end = 0;
        for (answer, payload) in answers.iter().zip(payloads) {
            let Ok(Body::File { file, offset, len }) = answer else {
                return None;
            };
            if *len > payload.len() {
                return None;
            }
            let range = range.get_or_insert_with(|| Self {
                file: Arc::clone(file),
                offset: *offset,
                lens: Vec::with_capacity(answers.len()),
            });
            let follows = range.lens.is_empty() || *offset == end;
            if !follows || !Arc::ptr_eq(&range.file, file) {
                return None;
            }
            range.lens.push(*len);
            end = offset + *len as u64;
        }
        range
    }
}
