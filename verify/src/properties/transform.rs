//! Transformations against a plain list of ids.

use crate::input::Input;
use std::collections::HashMap;
use transport::{
    layout::Blank,
    transform::{
        Id, NOBODY, Places, RANGES, Range, Rules, SharedTransform, Transform, apply, check,
    },
    wire::{Attr, AttrOut, EntryOut, Statx, StatxOut},
};

/// Ids up to here are looked at, and a few at the other end.
const SMALL: u32 = 40;

/// Any ranges over few ids: they are accepted if and only if no two ids of one side are the same on the
/// other; what is accepted leads there and back, and leaves all else alone. Every kind of reply
/// is shown alike, and nothing else in it is touched.
pub fn transform(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let uid = ranges(&mut input);
    let gid = ranges(&mut input);
    let (Some(users), Some(groups)) = (reference(&uid), reference(&gid)) else {
        assert!(check(&uid).is_err() || check(&gid).is_err());
        return;
    };
    assert_eq!((check(&uid), check(&gid)), (Ok(()), Ok(())));
    let mut transform = Transform {
        hidden: input.u32() & 0o777,
        has_validity: u32::from(input.choice(2)),
        valid: input.u64(),
        valid_nsec: input.u32(),
        ..Transform::default()
    };
    transform.uid[..uid.len()].copy_from_slice(&uid);
    transform.gid[..gid.len()].copy_from_slice(&gid);
    let shared = SharedTransform::blank();
    shared.store(&transform);
    let validity = (transform.valid, transform.valid_nsec);
    let is_given = transform.has_validity != 0;
    assert_eq!(shared.validity(), is_given.then_some(validity));
    for id in (0..SMALL).chain(u32::MAX - 3..=u32::MAX) {
        both_ways(&transform, &shared, &users, Id::User, id);
        both_ways(&transform, &shared, &groups, Id::Group, id);
    }
    replies(&mut input, &transform, &shared);
}

fn ranges(input: &mut Input<'_>) -> Vec<Range> {
    let count = input.choice(RANGES as u8 + 1);
    let mut id = || match input.choice(32) {
        31 => u32::MAX - 2,
        id => u32::from(id),
    };
    let range = |_| Range {
        below: id(),
        shown: id(),
        count: (id() % 9).min(4),
        padding: 0,
    };
    (0..count).map(range).collect()
}

/// From ids below to ids shown, one by one; `None` if that is no one-to-one map.
fn reference(ranges: &[Range]) -> Option<HashMap<u32, u32>> {
    let (mut shown, mut below) = (HashMap::new(), HashMap::new());
    for range in ranges {
        if range.count == 0 {
            return None;
        }
        for n in 0..range.count {
            let (from, to) = (range.below.checked_add(n)?, range.shown.checked_add(n)?);
            let twice = shown.insert(from, to).or(below.insert(to, from));
            if from == NOBODY || to == NOBODY || twice.is_some() {
                return None;
            }
        }
    }
    Some(shown)
}

fn both_ways(
    transform: &Transform,
    shared: &SharedTransform,
    shown: &HashMap<u32, u32>,
    kind: fn(u32) -> Id,
    id: u32,
) {
    let is_taken = shown.values().any(|to| *to == id);
    let expected = match shown.get(&id) {
        Some(to) => *to,
        None if is_taken => NOBODY,
        None => id,
    };
    assert_eq!(transform.shown(kind(id)), expected);
    assert_eq!(shared.shown(kind(id)), expected);
    if expected != NOBODY {
        assert_eq!(transform.below(kind(expected)), id);
    }
    let back = transform.below(kind(id));
    assert_eq!(shared.below(kind(id)), back);
    match back {
        NOBODY => assert!(id == NOBODY || shown.contains_key(&id) && !is_taken),
        below => assert_eq!(transform.shown(kind(below)), id),
    }
}

fn replies(input: &mut Input<'_>, transform: &Transform, shared: &SharedTransform) {
    let mut bytes = [0; size_of::<StatxOut>()];
    bytes.fill_with(|| input.byte());
    let attr = |attr: Attr| Attr {
        uid: transform.shown(Id::User(attr.uid)),
        gid: transform.shown(Id::Group(attr.gid)),
        mode: attr.mode & !transform.hidden,
        ..attr
    };

    let mut entry: EntryOut = bytemuck::pod_read_unaligned(&bytes[..size_of::<EntryOut>()]);
    let mut words: [u64; 16] = bytemuck::cast(entry);
    apply(shared, &Places::ENTRY, &mut words[..]);
    entry.attr = attr(entry.attr);
    assert_eq!(entry, bytemuck::cast(words));

    let mut out: AttrOut = bytemuck::pod_read_unaligned(&bytes[..size_of::<AttrOut>()]);
    let mut words: [u64; 13] = bytemuck::cast(out);
    apply(shared, &Places::ATTR, &mut words[..]);
    out.attr = attr(out.attr);
    assert_eq!(out, bytemuck::cast(words));

    let mut out: StatxOut = bytemuck::pod_read_unaligned(&bytes);
    let mut words: [u64; 36] = bytemuck::cast(out);
    apply(shared, &Places::STATX, &mut words[..]);
    out.stat = Statx {
        uid: transform.shown(Id::User(out.stat.uid)),
        gid: transform.shown(Id::Group(out.stat.gid)),
        mode: out.stat.mode & !transform.hidden as u16,
        ..out.stat
    };
    assert_eq!(out, bytemuck::cast(words));
}

/// A collision names the ranges that collide.
#[test]
fn what_collides_is_named() {
    use transport::transform::{Body, Collision};
    let range = |below, shown, count| Range {
        below,
        shown,
        count,
        padding: 0,
    };
    let one = range(1000, 0, 10);
    assert_eq!(
        check(&[one, range(1009, 20, 1)]),
        Err(Collision::Below(0, 1))
    );
    assert_eq!(check(&[one, range(0, 9, 5)]), Err(Collision::Shown(0, 1)));
    assert_eq!(check(&[range(u32::MAX, 0, 1)]), Err(Collision::Extent(0)));
    assert_eq!(check(&[one, range(0, 1000, 10)]), Ok(()), "a swap");
    let mut nothing: [u64; 0] = [];
    nothing[..].put(3, 1);
    assert_eq!(nothing[..].word(3), 0);
}
