//! The stake-weighted median: the largest weight that a majority of stake supports.

use alloc::vec;
use alloc::vec::Vec;

use super::{SparseRow, inplace_normalize};
use crate::fixed::{I32F32, sum};

/// Weighted median of `score` over the indices in `partition`, by quickselect.
///
/// `minority` is the total stake less the majority asked for; `partition_lo` and `partition_hi` are the stake below the partition and
/// the stake up to its end. The pivot is the middle element of the index list: descend to the lower part if
/// `minority < lo + stake below` and it is not empty; to the upper part if `hi − stake above ≤ minority` and it is not empty;
/// otherwise the pivot is the median. Zero for an empty partition; indices out of range count as zero.
#[must_use]
pub fn weighted_median(
    stake: &[I32F32],
    score: &[I32F32],
    partition: &[usize],
    minority: I32F32,
    partition_lo: I32F32,
    partition_hi: I32F32,
) -> I32F32 {
    let at = |values: &[I32F32], index: usize| values.get(index).copied().unwrap_or_default();
    let mut current = partition.to_vec();
    let (mut lo, mut hi) = (partition_lo, partition_hi);
    loop {
        let Some(middle) = current.get(current.len() / 2) else {
            return I32F32::ZERO;
        };
        let pivot = at(score, *middle);
        let mut lower = Vec::new();
        let mut upper = Vec::new();
        let (mut lower_stake, mut upper_stake) = (I32F32::ZERO, I32F32::ZERO);
        for index in current {
            let value = at(score, index);
            if value < pivot {
                lower_stake = lower_stake.saturating_add(at(stake, index));
                lower.push(index);
            } else if value > pivot {
                upper_stake = upper_stake.saturating_add(at(stake, index));
                upper.push(index);
            }
        }
        // Both parts lack the pivot, so the list shrinks in every round and the loop ends.
        let below = lo.saturating_add(lower_stake);
        let not_above = hi.saturating_sub(upper_stake);
        if minority < below && !lower.is_empty() {
            current = lower;
            hi = below;
        } else if not_above <= minority && !upper.is_empty() {
            current = upper;
            lo = not_above;
        } else {
            return pivot;
        }
    }
}

/// Weighted median of each of `columns` columns, over the rows with positive stake (renormalised); a missing entry counts as zero.
///
/// Takes the rows without an entry as one group whose score is zero and starts with zero as the pivot. The median does not depend on
/// the choice of pivots, and this way a column costs only its entries.
#[must_use]
pub fn weighted_median_col_sparse(
    stake: &[I32F32],
    score: &[SparseRow],
    columns: usize,
    majority: I32F32,
) -> Vec<I32F32> {
    let mut active: Vec<I32F32> = stake.iter().copied().filter(|stake| *stake > I32F32::ZERO).collect();
    inplace_normalize(&mut active);
    let total = sum(&active);
    let minority = total.saturating_sub(majority);

    let mut stakes: Vec<Vec<I32F32>> = vec![Vec::new(); columns];
    let mut scores: Vec<Vec<I32F32>> = vec![Vec::new(); columns];
    let rows = stake.iter().zip(score).filter(|(stake, _)| **stake > I32F32::ZERO);
    for (weight, (_, row)) in active.iter().zip(rows) {
        for (column, value) in row.iter().filter(|(_, value)| *value != I32F32::ZERO) {
            let column = usize::from(*column);
            if let (Some(stakes), Some(scores)) = (stakes.get_mut(column), scores.get_mut(column)) {
                stakes.push(*weight);
                scores.push(*value);
            }
        }
    }
    stakes
        .iter()
        .zip(&scores)
        .map(|(stakes, scores)| {
            let silent = total.saturating_sub(sum(stakes));
            if scores.is_empty() || (scores.len() < active.len() && minority < silent) {
                return I32F32::ZERO;
            }
            let partition: Vec<usize> = (0..scores.len()).collect();
            weighted_median(stakes, scores, &partition, minority, silent, total)
        })
        .collect()
}
