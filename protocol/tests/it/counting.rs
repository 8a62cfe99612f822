//! An allocator that counts, per thread, so that "refused before memory is taken" can be seen.
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

thread_local! {
    static TAKEN: Cell<Taken> = const { Cell::new(Taken { total: 0, largest: 0 }) };
}

/// Bytes that were asked for, whether or not they were given back since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// All together.
    pub(crate) total: usize,
    /// The largest single piece.
    pub(crate) largest: usize,
}

fn count(size: usize) {
    // A thread that is ending has no counter any more, and nobody who asks.
    let _ = TAKEN.try_with(|taken| {
        let Taken { total, largest } = taken.get();
        taken.set(Taken { total: total.saturating_add(size), largest: largest.max(size) });
    });
}

// SAFETY: every call is handed to `System` unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Runs `work` and tells what memory this thread asked for meanwhile.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (T, Taken) {
    TAKEN.set(Taken { total: 0, largest: 0 });
    let result = work();
    (result, TAKEN.get())
}

#[test]
fn the_counter_sees_an_allocation() {
    let (list, taken) = counted(|| vec![1u8; 100_000]);
    assert_eq!(list.len(), 100_000);
    assert!(taken.largest >= 100_000 && taken.total >= 100_000, "{taken:?}");
}
