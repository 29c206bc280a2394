//! Requests and replies of every opcode through a slot.

use crate::input::Input;
use transport::{
    error::Corrupt,
    index::{QueueIndex, RingIndex, SlotIndex},
    layout::{Blank, Ring, Slot},
    slot::{CommitError, Reply},
    sq::{Commit, SqWriter},
    tag::{Tag, TagKind},
    wire::{InHeader, Opcode, OutHeader, URING_IN_OUT_LEN},
};

/// A request of some opcode with any contents is written into a slot as the kernel does, taken, and
/// answered: the daemon reads what was written, and the kernel what was replied.
pub fn wire(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let opcode = Opcode(u32::from(input.choice(Opcode::TABLE_LEN as u8)));
    assert!(opcode.fixed_len() <= URING_IN_OUT_LEN, "{opcode}");
    assert_eq!(opcode.fixed_len() % 8, 0, "{opcode}");
    let header = InHeader {
        len: input.u32(),
        opcode,
        unique: input.u64(),
        nodeid: input.u64(),
        uid: input.u32(),
        gid: input.u32(),
        pid: input.u32(),
        total_extlen: input.u32() as u16,
        padding: 0,
    };
    let mut fixed = [0; URING_IN_OUT_LEN];
    fixed[..opcode.fixed_len()].fill_with(|| input.byte());
    let payload_len = input.u32();

    let slot = Slot::blank();
    let words: [u64; 5] = bytemuck::cast(header);
    for (to, from) in slot.header.in_out().iter().zip(words) {
        to.set(from);
    }
    let words: [u64; 16] = bytemuck::cast(fixed);
    for (to, from) in slot.header.op_in().iter().zip(words) {
        to.set(from);
    }
    slot.header.commit_id().set(header.unique);
    slot.header.payload_len().set(u64::from(payload_len));

    let legal = header.unique != 0 && header.unique < 1 << 61;
    let Ok(taken) = slot.take_standing() else {
        assert!(!legal);
        return;
    };
    assert!(legal);
    assert_eq!(taken.header(), Ok(header));
    assert_eq!(taken.fixed(), fixed);
    let bound = input.u32();
    let expected = if payload_len <= bound {
        Ok(payload_len)
    } else {
        Err(Corrupt::PayloadLen(payload_len))
    };
    assert_eq!(taken.payload_len(bound), expected);

    let reply = match input.choice(2) {
        0 => Reply::Body(input.u32() >> 8),
        _ => Reply::Errno(1 + i32::from(input.byte())),
    };
    answer(&slot, taken, reply, header.unique);
}

fn answer(slot: &Slot, taken: transport::slot::Taken<'_>, reply: Reply, unique: u64) {
    let ring = Box::new(Ring::blank());
    let tag = Tag {
        cookie: 1,
        kind: TagKind::Entry,
        ring: RingIndex::PROGRAM,
        queue: QueueIndex(1),
        slot: SlotIndex(2),
    };
    let commit = Commit {
        queue: QueueIndex(1),
        tag,
    };
    match taken.commit(reply, &mut SqWriter::attach(&ring), commit) {
        Ok(()) => {}
        Err(CommitError::Sq(_, why)) => panic!("an empty SQ refuses: {why}"),
        Err(CommitError::Overtaken(what)) => panic!("nobody else was there: {what}"),
    }
    let words = [slot.header.in_out()[0].get(), slot.header.in_out()[1].get()];
    let out: OutHeader = bytemuck::cast(words);
    let (error, body_len) = match reply {
        Reply::Body(len) => (0, len),
        Reply::Errno(errno) => (-errno, 0),
    };
    assert_eq!(
        out,
        OutHeader {
            len: 16 + body_len,
            error,
            unique
        }
    );
    assert_eq!(slot.header.payload_len().get(), u64::from(body_len));
    assert_eq!(
        (ring.sqes[0].commit_id(), ring.sqes[0].user_data()),
        (unique, tag.to_user_data())
    );
}
