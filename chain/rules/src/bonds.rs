//! Bonds: the moving average by which a validator's early and steady support of a server turns into dividends.
//!
//! Plain: one α for all pairs, from `BondsMovingAverage`. Liquid: an α per pair, steered by how far a weight lies above consensus (buying)
//! or below the bond (selling).

use alloc::vec::Vec;

use crate::fixed::{I32F32, exp_safe};
use crate::math::{DenseMatrix, SparseMatrix, SparseRow, merge_rows};

/// What `BondsMovingAverage` counts as one.
const PER_MILLION: u64 = 1_000_000;

/// Bounds and steepness of the liquid α.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiquidAlpha {
    low: I32F32,
    high: I32F32,
    steepness: I32F32,
}

impl LiquidAlpha {
    /// From the stored hyperparameters: `low` and `high` of 65535, `steepness` in hundredths.
    #[must_use]
    pub fn new(low: u16, high: u16, steepness: i16) -> Self {
        Self {
            low: I32F32::from_proportion(low),
            high: I32F32::from_proportion(high),
            steepness: I32F32::from_int(i64::from(steepness)).safe_div(I32F32::from_int(100)),
        }
    }
}

/// α of the plain moving average: `1 − BondsMovingAverage / 10^6`, the quotient cut to 32 bits.
#[must_use]
pub fn bonds_ema_alpha(bonds_moving_average: u64) -> I32F32 {
    // The wide format of the chain cannot hold more than 2^63 either.
    let average = bonds_moving_average.min(i64::MAX.unsigned_abs());
    I32F32::ONE.saturating_sub(I32F32::from_ratio(average, PER_MILLION))
}

/// Liquid α of one pair: `low + (high − low) / (1 + e^(−steepness·(difference − ½)))`, kept within the bounds.
///
/// The difference is `weight − consensus` when the weight is at least the bond, else `bond − weight`; both kept within 0 and 1.
#[must_use]
pub fn alpha_sigmoid(consensus: I32F32, weight: I32F32, bond: I32F32, alpha: &LiquidAlpha) -> I32F32 {
    let difference = if weight >= bond { weight.saturating_sub(consensus) } else { bond.saturating_sub(weight) };
    let difference = difference.clamped(I32F32::ZERO, I32F32::ONE);
    let minus_steepness = I32F32::from_int(-1).saturating_mul(alpha.steepness);
    let exponent = minus_steepness.saturating_mul(difference.saturating_sub(I32F32::HALF));
    let sigmoid = I32F32::ONE.safe_div(I32F32::ONE.saturating_add(exp_safe(exponent)));
    let range = alpha.high.saturating_sub(alpha.low);
    alpha.low.saturating_add(sigmoid.saturating_mul(range)).clamped(alpha.low, alpha.high)
}

/// `α·new + (1 − α)·old` per position of either matrix, positive results only.
#[must_use]
pub fn mat_ema_sparse(new: &[SparseRow], old: &[SparseRow], alpha: I32F32) -> SparseMatrix {
    let rest = I32F32::ONE.saturating_sub(alpha);
    merge_rows(new, old, |_, _, new, old| alpha.saturating_mul(new).saturating_add(rest.saturating_mul(old)))
}

/// `min(1, α·new + (1 − α)·old)` with an α per pair: `alpha(row, column, new, old)`.
///
/// Only positions present in `new` appear in the result: a new value of zero lets the old one decay, an absent position forgets it at once.
#[must_use]
pub fn mat_ema_alpha_sparse(
    new: &[SparseRow],
    old: &[SparseRow],
    alpha: impl Fn(usize, u16, I32F32, I32F32) -> I32F32,
) -> SparseMatrix {
    let empty = SparseRow::new();
    let row_of = |(index, new): (usize, &SparseRow)| {
        let old = old.get(index).unwrap_or(&empty);
        let mixed = |(column, new): &(u16, I32F32)| {
            let found = old.binary_search_by_key(column, |(column, _)| *column).ok();
            let old = found.and_then(|at| old.get(at)).map_or(I32F32::ZERO, |(_, value)| *value);
            let value = mix(*new, old, alpha(index, *column, *new, old));
            (value > I32F32::ZERO).then_some((*column, value))
        };
        new.iter().filter_map(mixed).collect()
    };
    new.iter().enumerate().map(row_of).collect()
}

/// Dense twin of [`mat_ema_alpha_sparse`]; every position decays.
#[must_use]
pub fn mat_ema_alpha(new: &[Vec<I32F32>], old: &[Vec<I32F32>], alpha: &[Vec<I32F32>]) -> DenseMatrix {
    let row_of = |((new, old), alpha): ((&Vec<I32F32>, &Vec<I32F32>), &Vec<I32F32>)| {
        new.iter().zip(old).zip(alpha).map(|((new, old), alpha)| mix(*new, *old, *alpha)).collect()
    };
    new.iter().zip(old).zip(alpha).map(row_of).collect()
}

fn mix(new: I32F32, old: I32F32, alpha: I32F32) -> I32F32 {
    let kept = I32F32::ONE.saturating_sub(alpha).saturating_mul(old);
    kept.saturating_add(alpha.saturating_mul(new)).min(I32F32::ONE)
}

/// Bonds of the next epoch under liquid α; with no consensus at all the plain average of `bonds_moving_average`.
#[must_use]
pub fn compute_bonds_sparse(
    weights: &[SparseRow],
    bonds: &[SparseRow],
    consensus: &[I32F32],
    liquid: Option<&LiquidAlpha>,
    bonds_moving_average: u64,
) -> SparseMatrix {
    match liquid {
        Some(liquid) if consensus.iter().any(|value| *value != I32F32::ZERO) => {
            mat_ema_alpha_sparse(weights, bonds, |_, column, weight, bond| {
                let consensus = consensus.get(usize::from(column)).copied().unwrap_or_default();
                alpha_sigmoid(consensus, weight, bond, liquid)
            })
        }
        _ => mat_ema_sparse(weights, bonds, bonds_ema_alpha(bonds_moving_average)),
    }
}
