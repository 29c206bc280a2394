//! Operations from bytes: what a fuzzer or a property test gives is read as a list of choices. When the
//! bytes are over, every choice is the first and every number 0.

/// Bytes that choices are read from.
#[derive(Clone, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Reads from `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub const fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A choice out of `n`. Range: 0 .. n.
    pub fn choice(&mut self, n: u8) -> u8 {
        self.byte() % n.max(1)
    }

    /// A number of 32 bits.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number of 64 bits; half of them near the values at which something changes.
    pub fn u64(&mut self) -> u64 {
        const EDGES: [u64; 8] = [
            0,
            1 << 16,
            1 << 31,
            1 << 32,
            (1 << 61) - 1,
            1 << 61,
            1 << 63,
            u64::MAX,
        ];
        let choice = self.byte();
        if choice < 128 {
            let near = EDGES[usize::from(choice % 8)];
            near.wrapping_add(u64::from(choice / 8)).wrapping_sub(8)
        } else {
            u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
        }
    }
}
