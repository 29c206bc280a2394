//! The kernel's description of its own types (BTF), as far as it is needed here: which number a name has, and where
//! a field of a structure lies. Format: include/uapi/linux/btf.h, Documentation/bpf/btf.rst.

use std::{fs, io, ops::Range, path::Path};

/// The running kernel's types.
pub const KERNEL: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u32 = 0xeb9f;
/// The parts of `struct btf_header` before the last are magic, version and flags, then `hdr_len`.
const HEADER_WORDS: usize = 6;
/// Bytes of `struct btf_type`, and of `struct btf_member`.
const TYPE_LEN: usize = 12;
const MEMBER_LEN: usize = 12;

/// Kinds of types, by `BTF_KIND_*`.
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FWD: u32 = 7;
/// Those that only stand before another type: TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG.
const BEFORE: [u32; 5] = [8, 9, 10, 11, 18];

/// What a kernel, or an object file, says of its types.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Where in `bytes` each type begins: number 1 comes first, 0 is `void`.
    types: Vec<usize>,
    strings: Range<usize>,
}

/// `struct btf_type`, with where its members or parameters begin.
struct Type {
    name: u32,
    kind: u32,
    len: usize,
    /// Bit-fields are described in a way of their own.
    has_bit_fields: bool,
    /// Of kinds that refer to one: the other type's number.
    other: u32,
    rest: usize,
}

impl Btf {
    /// Reads the running kernel's.
    ///
    /// # Errors
    ///
    /// What open(2) and read(2) say; [`io::ErrorKind::InvalidData`] if it is no BTF.
    pub fn of_running_kernel() -> io::Result<Self> {
        Self::read(Path::new(KERNEL))
    }

    fn read(path: &Path) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "no BTF, or of a new kind");
        Self::parse(fs::read(path)?).ok_or_else(invalid)
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut header = [0; HEADER_WORDS];
        for (index, word) in header.iter_mut().enumerate() {
            *word = word_at(&bytes, index * 4)?;
        }
        let [
            magic,
            header_len,
            type_start,
            type_len,
            string_start,
            string_len,
        ] = header;
        if magic & 0xffff != MAGIC {
            return None;
        }
        let part = |start: u32, len: u32| {
            let start = (header_len as usize).checked_add(start as usize)?;
            let part = start..start.checked_add(len as usize)?;
            (part.end <= bytes.len()).then_some(part)
        };
        let (section, strings) = (part(type_start, type_len)?, part(string_start, string_len)?);
        let mut btf = Self {
            bytes,
            types: Vec::new(),
            strings,
        };
        let mut at = section.start;
        while at < section.end {
            btf.types.push(at);
            at += TYPE_LEN + btf.type_at(at)?.rest_len()?;
        }
        Some(btf)
    }

    /// The number of the first type, function or variable of this name.
    pub fn id_of(&self, name: &str) -> Option<u32> {
        self.find(name, |kind| kind != FWD)
    }

    /// Where the field `path` of `structure` lies, in bytes from its beginning. The path is the names of members from
    /// the structure inwards, with dots between; structures and unions without names in between are not
    /// named.
    pub fn offset_of(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = self.find(structure, |kind| kind == STRUCT)?;
        let mut bits = 0_u32;
        for name in path.split('.') {
            let (offset, member) = self.member(id, name, DEPTH)?;
            bits = bits.checked_add(offset)?;
            id = member;
        }
        Some(bits / 8)
    }

    fn find(&self, name: &str, is_kind: impl Fn(u32) -> bool) -> Option<u32> {
        let found = |at: &usize| {
            let ty = self.type_at(*at);
            ty.is_some_and(|ty| self.is_named(ty.name, name) && is_kind(ty.kind))
        };
        let index = self.types.iter().position(found)?;
        u32::try_from(index + 1).ok()
    }

    /// The member `name` of a type, or of a structure or union without a name inside it: its offset in bits and its
    /// type's number.
    fn member(&self, id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        let ty = self.plain_type(id)?;
        if !matches!(ty.kind, STRUCT | UNION) {
            return None;
        }
        (0..ty.len).find_map(|index| {
            let at = ty.rest + index * MEMBER_LEN;
            let [member_name, member, offset] = [0, 4, 8].map(|field| self.word(at + field));
            let (member_name, member) = (member_name?, member?);
            let bits = offset?
                & if ty.has_bit_fields {
                    0x00ff_ffff
                } else {
                    u32::MAX
                };
            if self.is_named(member_name, name) {
                return Some((bits, member));
            }
            if !self.is_named(member_name, "") || depth == 0 {
                return None;
            }
            let (inner, found) = self.member(member, name, depth - 1)?;
            Some((bits.checked_add(inner)?, found))
        })
    }

    /// The type of this number, without names and qualifiers before it.
    fn plain_type(&self, mut id: u32) -> Option<Type> {
        for _ in 0..DEPTH {
            let at = self.types.get((id as usize).checked_sub(1)?)?;
            let ty = self.type_at(*at)?;
            if !BEFORE.contains(&ty.kind) {
                return Some(ty);
            }
            id = ty.other;
        }
        None
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let [name, info, other] = [0, 4, 8].map(|field| self.word(at + field));
        let info = info?;
        Some(Type {
            name: name?,
            kind: info >> 24 & 0x1f,
            len: (info & 0xffff) as usize,
            has_bit_fields: info >> 31 != 0,
            other: other?,
            rest: at + TYPE_LEN,
        })
    }

    fn word(&self, at: usize) -> Option<u32> {
        word_at(&self.bytes, at)
    }

    /// Whether the string at `start` is `name`.
    fn is_named(&self, start: u32, name: &str) -> bool {
        let strings = &self.bytes[self.strings.clone()];
        let rest = strings.get(start as usize..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// How deep names, qualifiers and structures without names may lie in each other: what the kernel's do not come near,
/// and what ends a circle.
const DEPTH: u32 = 32;

impl Type {
    /// How many bytes follow its `struct btf_type`; none if the kind is not known.
    fn rest_len(&self) -> Option<usize> {
        Some(match self.kind {
            // PTR, FWD, FUNC, FLOAT, and those before others
            2 | FWD | 8..=12 | 16 | 18 => 0,
            // INT, VAR, DECL_TAG
            1 | 14 | 17 => 4,
            // ARRAY
            3 => 12,
            // ENUM, FUNC_PROTO
            6 | 13 => self.len * 8,
            // DATASEC, ENUM64
            STRUCT | UNION | 15 | 19 => self.len * MEMBER_LEN,
            _ => return None,
        })
    }
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct pair { int a; union { const struct { int b:3; int c; }; }; }`, and a function `pair`.
    fn example() -> Vec<u8> {
        let strings = b"\0int\0pair\0a\0b\0c\0later\0";
        let of_kind = |kind: u32, len: u32| kind << 24 | len;
        #[rustfmt::skip]
        let types = [
            1, of_kind(1, 0), 4, 32,                                    // 1: int
            5, of_kind(12, 0), 0,                                       // 2: the function
            5, of_kind(STRUCT, 2), 12, 10, 1, 0, 0, 4, 32,              // 3: pair
            0, of_kind(UNION, 1), 8, 0, 5, 0,                           // 4: the union
            0, of_kind(10, 0), 6,                                       // 5: const
            0, of_kind(STRUCT, 2) | 1 << 31, 8, 12, 1, 3 << 24, 14, 1, 32, // 6: the inner one
            16, of_kind(FWD, 0), 0,                                     // 7: a declaration
        ];
        let type_len = types.len() as u32 * 4;
        let header = [
            MAGIC | 1 << 16,
            24,
            0,
            type_len,
            type_len,
            strings.len() as u32,
        ];
        let words = header.into_iter().chain(types);
        let mut bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn fields_are_found_in_structures_without_names_and_after_bit_fields() {
        let btf = Btf::parse(example()).expect("a BTF");
        let offsets = ["a", "b", "c", "d", "a.b"].map(|path| btf.offset_of("pair", path));
        assert_eq!(offsets, [Some(0), Some(4), Some(8), None, None]);
        assert_eq!(btf.offset_of("int", "a"), None);
        assert_eq!(
            ["pair", "int", "later", "pai"].map(|name| btf.id_of(name)),
            [Some(2), Some(1), None, None]
        );
    }

    #[test]
    fn whatever_is_cut_short_or_changed_in_it_is_borne() {
        let whole = example();
        for len in 0..whole.len() {
            assert!(Btf::parse(whole[..len].to_vec()).is_none(), "{len}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Some(btf) = Btf::parse(changed) {
                    let _ = (btf.offset_of("pair", "c"), btf.id_of("pair"));
                }
            }
        }
    }

    #[test]
    fn the_running_kernels_are_as_bpftool_and_its_headers_have_them() {
        let Ok(btf) = Btf::of_running_kernel() else {
            return;
        };
        // include/linux/types.h: a list_head is two pointers, a hlist_node as well
        assert_eq!(btf.offset_of("list_head", "prev"), Some(8));
        assert_eq!(btf.offset_of("hlist_node", "pprev"), Some(8));
        assert!(btf.id_of("task_struct").is_some());
    }
}
