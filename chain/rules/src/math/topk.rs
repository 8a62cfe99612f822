//! The k largest values of a vector, which become the validators of a subnet.

use alloc::vec;
use alloc::vec::Vec;

use crate::fixed::I32F32;

/// Marks the `k` largest values. On a tie at the cut the higher index stays.
#[must_use]
pub fn is_topk(values: &[I32F32], k: usize) -> Vec<bool> {
    let mut result = vec![true; values.len()];
    drop_lowest(values, k, &mut result);
    result
}

/// Marks the `k` largest values except zeros. On a tie at the cut the higher index stays.
#[must_use]
pub fn is_topk_nonzero(values: &[I32F32], k: usize) -> Vec<bool> {
    let mut result: Vec<bool> = values.iter().map(|value| *value != I32F32::ZERO).collect();
    drop_lowest(values, k, &mut result);
    result
}

/// Clears all but the `k` last positions of the stable ascending order.
fn drop_lowest(values: &[I32F32], k: usize, marks: &mut [bool]) {
    let mut order: Vec<(I32F32, usize)> = values.iter().copied().zip(0..).collect();
    // Pairs of value and index: the same order as a stable sort by value.
    order.sort_unstable();
    for (_, index) in order.iter().take(values.len().saturating_sub(k)) {
        if let Some(mark) = marks.get_mut(*index) {
            *mark = false;
        }
    }
}
