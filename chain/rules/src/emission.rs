//! Emission: how much a block mints, which subnet gets it, and how a subnet's alpha is divided.

use alloc::vec::Vec;

use crate::fixed::I32F32;

/// Most rao of TAO (and of each alpha) that will ever exist: 21 million.
pub const TOTAL_SUPPLY: u64 = 21_000_000_000_000_000;
/// Rao minted per block before the first halving.
pub const DEFAULT_BLOCK_EMISSION: u64 = 1_000_000_000;
/// The owner's part of a subnet's alpha, of 65535: 18 %.
pub const SUBNET_OWNER_CUT: u16 = 11_796;
/// Default blocks after which the moving price follows with half of its full speed.
pub const EMA_PRICE_HALVING_BLOCKS: u64 = 201_600;

/// Rao minted by one block when `issuance` rao exist: 10^9, halved each time half of what is left has been issued; zero at the cap.
///
/// The thresholds are cut to 32 fraction bits like the chain's logarithm: the share issued is `⌊issuance · 2^32 / supply⌋`.
#[must_use]
pub fn block_emission_for_issuance(issuance: u64) -> u64 {
    if issuance >= TOTAL_SUPPLY {
        return 0;
    }
    let issued = (u128::from(issuance) << 32) / u128::from(TOTAL_SUPPLY);
    // Issuance is below the supply, so `issued` is below 2^32 and the rest is at least 1.
    let inverse = (1u128 << 64) / ((1 << 32) - issued);
    let halvings = inverse.ilog2() - 32;
    DEFAULT_BLOCK_EMISSION.checked_shr(halvings).unwrap_or(0)
}

/// How much a block really mints: [`block_emission_for_issuance`], but never past the cap.
#[must_use]
pub fn mintable(issuance: u64) -> u64 {
    block_emission_for_issuance(issuance).min(TOTAL_SUPPLY.saturating_sub(issuance))
}

/// Parts of one subnet's alpha emission, in rao; together exactly the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlphaSplit {
    /// To the subnet owner: `⌊alpha · cut / 65535⌋`, 18 % by default.
    pub owner: u64,
    /// To servers: half of the rest, 41 %.
    pub server: u64,
    /// To validators by alpha stake: the other half less the root part.
    pub validator: u64,
    /// To validators by root stake.
    pub root: u64,
}

/// Divides a subnet's alpha emission. `root_proportion` is the part of the validators' half earned by root stake, see
/// [`root_proportion`]; an odd rao goes to the validators.
#[must_use]
pub fn split_alpha(alpha: u64, owner_cut: u16, root_proportion: I32F32) -> AlphaSplit {
    let owner = part_of(alpha, owner_cut);
    let rest = alpha - owner;
    let server = rest / 2;
    let validators = rest - server;
    let root = root_proportion.clamped(I32F32::ZERO, I32F32::ONE).of_amount(validators).min(validators);
    AlphaSplit { owner, server, validator: validators - root, root }
}

/// `⌊amount · part / 65535⌋`.
fn part_of(amount: u64, part: u16) -> u64 {
    // At most `amount`, hence in range.
    u64::try_from(u128::from(amount) * u128::from(part) / u128::from(u16::MAX)).unwrap_or(amount)
}

/// Takes `take / 65535` (rounded down) from a reward: the delegate's part and the remainder for its nominators.
#[must_use]
pub fn split_take(reward: u64, take: u16) -> (u64, u64) {
    let taken = part_of(reward, take);
    (taken, reward - taken)
}

/// Part of a subnet's dividends earned by root stake: `R·w / (R·w + alpha issuance)`, `w = tao_weight / 2^64`.
#[must_use]
pub fn root_proportion(root_tao: u64, tao_weight: u64, alpha_issuance: u64) -> I32F32 {
    // ⌊R·w⌋ is below 2^64.
    let weighted = u64::try_from((u128::from(root_tao) * u128::from(tao_weight)) >> 64).unwrap_or(u64::MAX);
    I32F32::from_ratio(weighted, weighted.saturating_add(alpha_issuance))
}

/// Shares of the block emission: `price_i · (1 − burned_i)`, normalised; plain price shares if nothing is left, zeros without prices.
///
/// `burned` is the fraction of miner incentive that went to the subnet's own owner; missing values count as zero.
#[must_use]
pub fn subnet_shares(moving_prices: &[I32F32], burned: &[I32F32]) -> Vec<I32F32> {
    let kept = burned.iter().map(|burned| I32F32::ONE.saturating_sub(*burned).clamped(I32F32::ZERO, I32F32::ONE));
    let kept = kept.chain(core::iter::repeat(I32F32::ONE));
    let positive = |price: &I32F32| (*price).max(I32F32::ZERO);
    let mut shares: Vec<I32F32> =
        moving_prices.iter().zip(kept).map(|(price, kept)| positive(price).saturating_mul(kept)).collect();
    if shares.iter().all(|share| *share == I32F32::ZERO) {
        shares = moving_prices.iter().map(positive).collect();
    }
    crate::math::inplace_normalize(&mut shares);
    shares
}

/// The moving price one block later: `α·min(price, 1) + (1 − α)·moving`, `α = smoothing · b / (b + halving_blocks)` with `b` blocks since
/// the subnet started.
#[must_use]
pub fn next_moving_price(
    moving: I32F32,
    price: I32F32,
    smoothing: I32F32,
    blocks_since_start: u64,
    halving_blocks: u64,
) -> I32F32 {
    let ramp = I32F32::from_ratio(blocks_since_start, blocks_since_start.saturating_add(halving_blocks));
    let alpha = smoothing.saturating_mul(ramp);
    let rest = I32F32::ONE.saturating_sub(alpha);
    alpha.saturating_mul(price.min(I32F32::ONE)).saturating_add(rest.saturating_mul(moving))
}
