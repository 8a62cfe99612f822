//! Shares of the emission.

use alloc::vec;
use alloc::vec::Vec;

use crate::fixed::{I32F32, sum};
use crate::math::inplace_normalize_using_sum;

/// Fractions of the epoch's emission per uid.
pub(super) struct Shares {
    pub(super) server: Vec<I32F32>,
    pub(super) validator: Vec<I32F32>,
    pub(super) combined: Vec<I32F32>,
}

impl Shares {
    /// Incentive and dividends over their joint sum; without either, everything goes to active stake, or to all stake if none is active.
    pub(super) fn new(incentive: &[I32F32], dividends: &[I32F32], active_stake: &[I32F32], stake: &[I32F32]) -> Self {
        let mut combined: Vec<I32F32> = incentive.iter().zip(dividends).map(|(i, d)| i.saturating_add(*d)).collect();
        let total = sum(&combined);
        if total == I32F32::ZERO {
            let nobody_active = active_stake.iter().all(|stake| *stake == I32F32::ZERO);
            let fallback = if nobody_active { stake } else { active_stake };
            return Self {
                server: vec![I32F32::ZERO; incentive.len()],
                validator: fallback.to_vec(),
                combined: fallback.to_vec(),
            };
        }
        let (mut server, mut validator) = (incentive.to_vec(), dividends.to_vec());
        inplace_normalize_using_sum(&mut server, total);
        inplace_normalize_using_sum(&mut validator, total);
        inplace_normalize_using_sum(&mut combined, total);
        Self { server, validator, combined }
    }
}
