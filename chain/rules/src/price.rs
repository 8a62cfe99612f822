//! What a place costs: the neuron price (a decaying burn) and the subnet lock cost.

/// 1 in the 32-bit fraction format of the decay.
const Q32_ONE: u64 = 1 << 32;
/// The interval of the lock cost is given for this block emission, in rao.
const FULL_BLOCK_EMISSION: u64 = 1_000_000_000;

/// Default blocks in which the neuron price halves.
pub const BURN_HALF_LIFE: u16 = 360;
/// Default factor on the neuron price after a registration, with 64 fraction bits: the binary64 number nearest to 1.26.
pub const BURN_INCREASE_MULT: u128 = 0x1_428F_5C28_F5C2_9000;
/// Default number of blocks in which the lock cost falls back to the last price at full block emission: 14 days.
pub const LOCK_REDUCTION_INTERVAL: u64 = 100_800;
/// Default floor of the lock cost, in rao.
pub const MIN_LOCK_COST: u64 = 1_000_000_000_000;

/// `⌊value · factor / 2^32⌋`, saturated.
fn mul_q32(value: u64, factor: u64) -> u64 {
    u64::try_from((u128::from(value) * u128::from(factor)) >> 32).unwrap_or(u64::MAX)
}

/// `base^exponent` with 32 fraction bits, by squaring from the lowest bit of the exponent, every product rounded down.
fn pow_q32(base: u64, mut exponent: u16) -> u64 {
    let (mut result, mut square) = (Q32_ONE, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = mul_q32(result, square);
        }
        exponent >>= 1;
        square = mul_q32(square, square);
    }
    result
}

/// The factor per block, with 32 fraction bits, that halves a price in `half_life` blocks: the largest below one whose power does not
/// exceed ½. One for a half-life of zero.
#[must_use]
pub fn decay_factor_q32(half_life: u16) -> u64 {
    if half_life == 0 {
        return Q32_ONE;
    }
    let (mut low, mut high) = (0, Q32_ONE);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if pow_q32(middle, half_life) > Q32_ONE / 2 {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

/// The neuron price one block later, in rao: times the decay factor, kept in `min..=max`; when these cross, `max` wins.
#[must_use]
pub fn decayed_burn(burn: u64, half_life: u16, min: u64, max: u64) -> u64 {
    mul_q32(burn, decay_factor_q32(half_life)).max(min).min(max)
}

/// The neuron price after a registration, in rao: `⌊burn · mult⌋` with `mult` of 64 fraction bits, kept in `min..=max`.
#[must_use]
pub fn increased_burn(burn: u64, mult: u128, min: u64, max: u64) -> u64 {
    let whole = u64::try_from(mult >> 64).unwrap_or(u64::MAX);
    let fraction = (mult & u128::from(u64::MAX)) as u64;
    let grown = u128::from(burn) * u128::from(whole) + ((u128::from(burn) * u128::from(fraction)) >> 64);
    u64::try_from(grown).unwrap_or(u64::MAX).max(min).min(max)
}

/// The interval of the lock cost at the current block emission: `interval · emission / 10^9` blocks.
#[must_use]
pub fn lock_reduction_interval(interval: u64, block_emission: u64) -> u64 {
    let scaled = u128::from(interval) * u128::from(block_emission) / u128::from(FULL_BLOCK_EMISSION);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// What a new subnet costs, in rao: twice the last price, falling by `last / interval` per block, at least `min`.
///
/// Once the price instead of twice while no subnet was ever sold (`last_block` zero). No fall at all with interval zero.
#[must_use]
pub fn lock_cost(min: u64, last: u64, last_block: u64, interval: u64, block: u64) -> u64 {
    let factor = if last_block == 0 { 1 } else { 2 };
    let fall = last.checked_div(interval).unwrap_or(0).saturating_mul(block.saturating_sub(last_block));
    last.saturating_mul(factor).saturating_sub(fall).max(min)
}
