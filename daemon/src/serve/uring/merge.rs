//! S5: which of the requests that wait in a queue at one time are read or written together.
//!
//! Requests are taken up in the order in which they arrived. What is planned is as if each had been
//! executed alone in that order: a request joins another only if nothing that it could tell apart stands
//! between them. Two of one inode change places only if both are READs; those of different inodes are
//! different files.

use super::entry::Request;
use rustix::fs::OFlags;
use transport::wire::{Opcode, ReadIn, WriteIn};

/// The longest request that is merged, in bytes: longer ones gain nothing by it, and the first waits for
/// the last (docs/decisions/0028-merging.md).
pub const LEN_MAX: u32 = 256 << 10;
/// Bytes that are read or written together at most.
pub const BYTES_MAX: u64 = 1 << 20;
/// Requests at most: as many pieces one preadv(2) takes (`UIO_MAXIOV`, include/uapi/linux/uio.h).
pub const WIDTH_MAX: usize = 1024;
/// What a length must be a multiple of, for direct I/O: no logical block of a disk that a file system
/// lies on is longer.
const BLOCK: u32 = 4096;

/// A READ or WRITE that may be merged with others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// What those that are merged have in common.
    pub stream: Stream,
    /// In bytes from the start of the file.
    pub offset: u64,
    /// In bytes, 1 ..= [`LEN_MAX`]; `offset + len` is no more than `i64::MAX`.
    pub len: u32,
}

/// By whom, on what and how: whatever a lower read or write can depend on but its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    /// READ or WRITE.
    pub opcode: Opcode,
    /// The inode.
    pub nodeid: u64,
    /// The open file.
    pub fh: u64,
    /// The file's status flags.
    pub flags: u32,
    /// Those of the request.
    pub request_flags: u32,
    /// User, group and thread that ask.
    pub caller: [u32; 3],
}

impl Piece {
    /// `request` as a piece; `None` if it is none, or one that is to be executed alone: what is appended
    /// goes where the lower file ends by then, and direct I/O of a part of a block may depend on which
    /// block it is.
    pub fn of(request: &Request) -> Option<Self> {
        let header = &request.header;
        let (offset, len, fh, flags, request_flags) = match header.opcode {
            Opcode::READ => {
                let read: ReadIn = whole(request.fixed())?;
                (
                    read.offset,
                    read.size,
                    read.fh,
                    read.flags,
                    read.read_flags.bits(),
                )
            }
            Opcode::WRITE => {
                let write: WriteIn = whole(request.fixed())?;
                if write.size as usize != request.payload_len {
                    return None;
                }
                (
                    write.offset,
                    write.size,
                    write.fh,
                    write.flags,
                    write.write_flags.bits(),
                )
            }
            _ => return None,
        };
        let status = OFlags::from_bits_retain(flags);
        let is_part = status.contains(OFlags::DIRECT) && !len.is_multiple_of(BLOCK);
        if len == 0 || len > LEN_MAX || is_part || status.contains(OFlags::APPEND) {
            return None;
        }
        i64::try_from(offset.checked_add(u64::from(len))?).ok()?;
        Some(Self {
            stream: Stream {
                opcode: header.opcode,
                nodeid: header.nodeid,
                fh,
                flags,
                request_flags,
                caller: [header.uid, header.gid, header.pid],
            },
            offset,
            len,
        })
    }

    /// The first byte behind it.
    fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

fn whole<T: bytemuck::Pod>(fixed: &[u8]) -> Option<T> {
    let bytes = fixed.get(..size_of::<T>())?;
    Some(bytemuck::pod_read_unaligned(bytes))
}

/// Requests that are executed together, by their places among those that were planned; each begins where
/// the one before ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// At least one.
    pub members: Vec<usize>,
    stream: Stream,
    end: u64,
    bytes: u64,
}

impl Group {
    fn of(place: usize, piece: &Piece) -> Self {
        Self {
            members: vec![place],
            stream: piece.stream,
            end: piece.end(),
            bytes: piece.len.into(),
        }
    }

    fn takes(&self, piece: &Piece) -> bool {
        self.stream == piece.stream
            && self.end == piece.offset
            && self.members.len() < WIDTH_MAX
            && self.bytes + u64::from(piece.len) <= BYTES_MAX
    }

    fn take(&mut self, place: usize, piece: &Piece) {
        self.members.push(place);
        self.end = piece.end();
        self.bytes += u64::from(piece.len);
    }

    /// Whether `piece` must not be executed before this.
    fn holds_back(&self, piece: &Piece) -> bool {
        let both_read = self.stream.opcode == Opcode::READ && piece.stream.opcode == Opcode::READ;
        self.stream.nodeid == piece.stream.nodeid && !both_read
    }
}

/// Requests, in the order of their arrival, as groups in the order of their execution.
pub fn plan(pieces: &[Piece]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(pieces.len());
    for (place, piece) in pieces.iter().enumerate() {
        // To join a group is to be executed before all that stand behind it.
        let first = groups.iter().rposition(|group| group.holds_back(piece));
        let reachable = &mut groups[first.unwrap_or(0)..];
        match reachable.iter_mut().find(|group| group.takes(piece)) {
            Some(group) => group.take(place, piece),
            None => groups.push(Group::of(place, piece)),
        }
    }
    groups
}

/// What the requests of a group, so long, get of `total` bytes that were read or written together: the
/// first gets the first of them.
pub fn distribute(lens: &[usize], total: usize) -> impl Iterator<Item = usize> + '_ {
    lens.iter().scan(total, |left, &len| {
        let share = len.min(*left);
        *left -= share;
        Some(share)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn piece(opcode: Opcode, nodeid: u64, offset: u64, len: u32) -> Piece {
        Piece {
            stream: Stream {
                opcode,
                nodeid,
                fh: nodeid,
                flags: 0,
                request_flags: 0,
                caller: [0; 3],
            },
            offset,
            len,
        }
    }

    fn places(pieces: &[Piece]) -> Vec<Vec<usize>> {
        let members = |group: Group| group.members;
        plan(pieces).into_iter().map(members).collect()
    }

    #[test]
    fn adjacent_requests_of_two_files_become_two_groups() {
        let read = |nodeid, offset| piece(Opcode::READ, nodeid, offset, 10);
        let pieces = [
            read(1, 0),
            read(2, 0),
            read(1, 10),
            read(2, 10),
            read(1, 30),
        ];
        assert_eq!(places(&pieces), [vec![0, 2], vec![1, 3], vec![4]]);
    }

    #[test]
    fn a_write_does_not_pass_what_is_of_its_file() {
        let write = |offset, len| piece(Opcode::WRITE, 1, offset, len);
        let overlapping = [write(0, 10), write(5, 10), write(10, 10), write(15, 5)];
        assert_eq!(places(&overlapping), [vec![0], vec![1], vec![2], vec![3]]);
        let read_between = [write(0, 10), piece(Opcode::READ, 1, 0, 10), write(10, 10)];
        assert_eq!(places(&read_between), [vec![0], vec![1], vec![2]]);
    }

    #[test]
    fn who_asks_by_another_way_is_not_merged() {
        let first = piece(Opcode::WRITE, 1, 0, 10);
        let mut second = piece(Opcode::WRITE, 1, 10, 10);
        assert_eq!(places(&[first, second]).len(), 1);
        second.stream.caller[0] = 1000;
        assert_eq!(places(&[first, second]).len(), 2);
    }

    fn request(opcode: Opcode, fixed: &[u8], payload_len: usize) -> Request {
        let mut op_in = [0; transport::wire::URING_IN_OUT_LEN];
        op_in[..fixed.len()].copy_from_slice(fixed);
        let header = transport::wire::InHeader {
            len: (size_of::<transport::wire::InHeader>() + fixed.len()) as u32,
            opcode,
            ..Default::default()
        };
        Request::new(header, op_in, payload_len)
    }

    fn write_of(offset: u64, size: u32, flags: OFlags) -> Option<Piece> {
        let write = WriteIn {
            offset,
            size,
            flags: flags.bits(),
            ..bytemuck::Zeroable::zeroed()
        };
        let request = request(Opcode::WRITE, bytemuck::bytes_of(&write), size as usize);
        Piece::of(&request)
    }

    #[test]
    fn what_is_appended_or_ends_in_a_block_of_direct_io_stays_alone() {
        assert!(write_of(0, 100, OFlags::empty()).is_some());
        assert!(write_of(0, 4096, OFlags::DIRECT).is_some());
        assert!(write_of(0, 512, OFlags::DIRECT).is_none());
        assert!(write_of(0, 4096, OFlags::APPEND).is_none());
    }

    #[test]
    fn a_range_that_no_file_has_stays_alone() {
        assert!(write_of(u64::MAX, 2, OFlags::empty()).is_none());
        assert!(write_of(i64::MAX as u64, 1, OFlags::empty()).is_none());
        assert!(write_of(0, 0, OFlags::empty()).is_none());
    }

    fn any_piece() -> impl Strategy<Value = Piece> {
        let opcode = prop_oneof![Just(Opcode::READ), Just(Opcode::WRITE)];
        (opcode, 0..2u64, 0..2u32, 0..6u64, 1..4u32).prop_map(
            |(opcode, nodeid, flags, block, blocks)| {
                let mut piece = piece(opcode, nodeid, block << 17, blocks << 17);
                piece.stream.flags = flags;
                piece
            },
        )
    }

    proptest! {
        #[test]
        fn every_request_is_executed_once_and_none_passes_one_that_it_concerns(
            pieces in vec(any_piece(), 0..24)
        ) {
            let groups = plan(&pieces);
            let order: Vec<usize> = groups.iter().flat_map(|group| group.members.clone()).collect();
            let mut all = order.clone();
            all.sort_unstable();
            prop_assert!(all.iter().copied().eq(0..pieces.len()));
            for (at, &earlier) in order.iter().enumerate() {
                for &later in &order[at + 1..] {
                    let (a, b) = (pieces[earlier].stream, pieces[later].stream);
                    let read = a.opcode == Opcode::READ && b.opcode == Opcode::READ;
                    prop_assert!(earlier < later || read || a.nodeid != b.nodeid);
                }
            }
        }

        #[test]
        fn a_group_is_one_range_of_one_stream(pieces in vec(any_piece(), 0..24)) {
            for group in plan(&pieces) {
                let members: Vec<&Piece> = group.members.iter().map(|&at| &pieces[at]).collect();
                let bytes: u64 = members.iter().map(|piece| u64::from(piece.len)).sum();
                prop_assert!(bytes <= BYTES_MAX);
                for pair in members.windows(2) {
                    prop_assert_eq!(pair[0].stream, pair[1].stream);
                    prop_assert_eq!(pair[0].end(), pair[1].offset);
                }
            }
        }

        #[test]
        fn one_stream_in_order_is_merged_as_far_as_it_may(lens in vec(1..LEN_MAX, 1..40)) {
            let mut offset = 0;
            let pieces: Vec<Piece> = lens.iter().map(|&len| {
                let piece = piece(Opcode::WRITE, 1, offset, len);
                offset = piece.end();
                piece
            }).collect();
            let groups = plan(&pieces);
            for pair in groups.windows(2) {
                let next = u64::from(pieces[pair[1].members[0]].len);
                prop_assert!(pair[0].bytes + next > BYTES_MAX);
            }
        }

        #[test]
        fn bytes_are_distributed_in_order(lens in vec(1..100usize, 1..20), total in 0..2000usize) {
            let all: usize = lens.iter().sum();
            let total = total.min(all);
            let shares: Vec<usize> = distribute(&lens, total).collect();
            prop_assert_eq!(shares.len(), lens.len());
            prop_assert_eq!(shares.iter().sum::<usize>(), total);
            // Whoever gets something comes behind those that have all of theirs.
            let first_short = shares.iter().zip(&lens).position(|(share, len)| share < len);
            if let Some(first) = first_short {
                prop_assert!(shares[first + 1..].iter().all(|&share| share == 0));
            }
        }
    }
}
