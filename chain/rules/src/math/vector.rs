//! Vectors: normalising, products, quotients, scaling to `u16`.

use alloc::vec::Vec;

use crate::fixed::{I32F32, sum};

/// Above this maximum the scale to `u16` is computed before the product, so that the product cannot saturate.
const SCALE_FIRST_ABOVE: I32F32 = I32F32::from_bits(32_768 << 32);

/// A copy divided by its sum; unchanged when the sum is zero.
#[must_use]
pub fn normalize(values: &[I32F32]) -> Vec<I32F32> {
    let mut result = values.to_vec();
    inplace_normalize(&mut result);
    result
}

/// Divides a vector by its sum; unchanged when the sum is zero.
pub fn inplace_normalize(values: &mut [I32F32]) {
    let total = sum(values);
    inplace_normalize_using_sum(values, total);
}

/// Divides a vector by the given sum; unchanged when the sum is zero.
pub fn inplace_normalize_using_sum(values: &mut [I32F32], total: I32F32) {
    if total == I32F32::ZERO {
        return;
    }
    for value in values {
        *value = value.safe_div(total);
    }
}

/// Element-wise quotient, zero where the divisor is zero; as long as the shorter vector.
#[must_use]
pub fn vecdiv(x: &[I32F32], y: &[I32F32]) -> Vec<I32F32> {
    x.iter().zip(y).map(|(x, y)| x.safe_div(*y)).collect()
}

/// Element-wise product, as long as the shorter vector.
#[must_use]
pub fn vec_mul(a: &[I32F32], b: &[I32F32]) -> Vec<I32F32> {
    a.iter().zip(b).map(|(a, b)| a.saturating_mul(*b)).collect()
}

/// Sum of amounts, or nothing on overflow.
#[must_use]
pub fn checked_sum(amounts: &[u64]) -> Option<u64> {
    amounts.iter().try_fold(0u64, |total, amount| total.checked_add(*amount))
}

/// Scales a vector so that its largest value becomes 65535, rounded to the nearest whole number.
#[must_use]
pub fn vec_max_upscale_to_u16(values: &[I32F32]) -> Vec<u16> {
    let max = values.iter().copied().max().unwrap_or(I32F32::ZERO);
    let scaled = |value: &I32F32| {
        if max == I32F32::ZERO {
            value.saturating_mul(I32F32::U16_MAX)
        } else if max > SCALE_FIRST_ABOVE {
            value.saturating_mul(I32F32::U16_MAX.safe_div(max)).round()
        } else {
            value.saturating_mul(I32F32::U16_MAX).safe_div(max).round()
        }
    };
    values.iter().map(|value| scaled(value).to_u16()).collect()
}

/// Scales a weight row so that its largest weight becomes 65535: the form in which weights are stored.
#[must_use]
pub fn vec_u16_max_upscale_to_u16(values: &[u16]) -> Vec<u16> {
    let values: Vec<I32F32> = values.iter().map(|value| I32F32::from(*value)).collect();
    vec_max_upscale_to_u16(&values)
}

/// Whether no weight of the row, as a share of the row's sum, exceeds `max_limit / 65535`. An empty row passes.
#[must_use]
pub fn check_vec_max_limited(values: &[u16], max_limit: u16) -> bool {
    let mut shares: Vec<I32F32> = values.iter().map(|value| I32F32::from(*value)).collect();
    inplace_normalize(&mut shares);
    let limit = I32F32::from_proportion(max_limit);
    shares.iter().max().is_none_or(|max| *max <= limit)
}
