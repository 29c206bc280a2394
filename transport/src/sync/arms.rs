//! What the words of [`super`] are made of, in each arm, and how a mutant weakens them.

#[cfg(not(shmfuse_loom))]
pub(super) mod imp {
    pub(in crate::sync) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    pub(in crate::sync) use {AtomicU32 as Data32, AtomicU64 as Data64};

    #[inline(always)]
    pub(in crate::sync) fn get64(data: &Data64) -> u64 {
        data.load(Ordering::Relaxed)
    }
    #[inline(always)]
    pub(in crate::sync) fn set64(data: &Data64, value: u64) {
        data.store(value, Ordering::Relaxed);
    }
    #[inline(always)]
    pub(in crate::sync) fn get32(data: &Data32) -> u32 {
        data.load(Ordering::Relaxed)
    }
    #[inline(always)]
    pub(in crate::sync) fn set32(data: &Data32, value: u32) {
        data.store(value, Ordering::Relaxed);
    }
}

/// Under loom a word of data is a cell: two accesses that no sync point orders are a failure of the
/// model, even if they would yield the right value. So a missing release at the *reader's* end shows
/// too, which loom, whose loads never see the future, could not show on a relaxed atomic.
#[cfg(shmfuse_loom)]
pub(super) mod imp {
    #![expect(unsafe_code, reason = "loom's cells are reached by pointer")]
    pub(in crate::sync) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    #[derive(Debug, Default)]
    pub struct Data<T>(loom::cell::UnsafeCell<T>);
    pub(in crate::sync) type Data64 = Data<u64>;
    pub(in crate::sync) type Data32 = Data<u32>;

    // SAFETY: loom stops the model at any two accesses that could be at the same time.
    unsafe impl<T: Send> Sync for Data<T> {}

    impl<T: Copy> Data<T> {
        fn get(&self) -> T {
            // SAFETY: the pointer is valid during the call; loom has checked that nobody writes.
            self.0.with(|it| unsafe { *it })
        }
        fn set(&self, value: T) {
            // SAFETY: the pointer is valid during the call; loom has checked that we are alone.
            self.0.with_mut(|it| unsafe { *it = value });
        }
    }

    pub(in crate::sync) fn get64(data: &Data64) -> u64 {
        data.get()
    }
    pub(in crate::sync) fn set64(data: &Data64, value: u64) {
        data.set(value);
    }
    pub(in crate::sync) fn get32(data: &Data32) -> u32 {
        data.get()
    }
    pub(in crate::sync) fn set32(data: &Data32, value: u32) {
        data.set(value);
    }
}

#[cfg(shmfuse_loom)]
pub(crate) use crate::mutant::is_mutant;
#[cfg(not(shmfuse_loom))]
pub(crate) use production::is_mutant;

/// Asks whether a named weakening is on. Outside the loom arm it never is, and the question
/// leaves no code behind.
macro_rules! weakened {
    ($name:ident) => {
        $crate::sync::is_mutant($crate::sync::mutant!($name))
    };
}
pub(crate) use weakened;

#[cfg(not(shmfuse_loom))]
macro_rules! mutant {
    ($name:ident) => {
        ()
    };
}
#[cfg(shmfuse_loom)]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutant::Mutant::$name
    };
}
pub(crate) use mutant;

/// An ordering that carries a sync point: `strong`, unless its mutant is on.
macro_rules! point {
    ($name:ident, $strong:expr) => {
        if weakened!($name) { Relaxed } else { $strong }
    };
}
pub(super) use point;

/// A place at which a model may let the daemon die.
#[cfg(not(shmfuse_loom))]
#[inline(always)]
pub(crate) const fn crash_point() {}
#[cfg(shmfuse_loom)]
pub(crate) use crate::mutant::crash_point;

#[cfg(not(shmfuse_loom))]
mod production {
    #[inline(always)]
    pub(crate) const fn is_mutant(_: ()) -> bool {
        false
    }
}
