//! Fixed-point numbers: [`I32F32`] and the few wide helpers the epoch needs.
//!
//! Rules, everywhere: sums, differences, products and quotients saturate; a product is `⌊a·b / 2^32⌋`; a quotient is cut toward
//! zero; a quotient by zero is zero. No operation panics.

mod exp;

pub use exp::{EXP_LIMIT, exp_safe, sigmoid_safe};

/// Number of fraction bits of [`I32F32`].
const FRACTION_BITS: u32 = 32;

/// A signed number with 31 integer and 32 fraction bits, stored as its raw bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct I32F32(i64);

impl I32F32 {
    /// 0.
    pub const ZERO: Self = Self(0);
    /// 1.
    pub const ONE: Self = Self(1 << FRACTION_BITS);
    /// 0.5.
    pub const HALF: Self = Self(1 << (FRACTION_BITS - 1));
    /// The largest number, just below 2^31.
    pub const MAX: Self = Self(i64::MAX);
    /// The smallest number, −2^31.
    pub const MIN: Self = Self(i64::MIN);
    /// 65535, the `u16` that means one.
    pub const U16_MAX: Self = Self(0xFFFF << FRACTION_BITS);

    /// The number with these raw bits (units of 2^-32).
    #[must_use]
    pub const fn from_bits(bits: i64) -> Self {
        Self(bits)
    }

    /// The raw bits (units of 2^-32).
    #[must_use]
    pub const fn to_bits(self) -> i64 {
        self.0
    }

    /// A whole number, saturated to the range.
    #[must_use]
    pub fn from_int(value: i64) -> Self {
        Self::narrow(i128::from(value) << FRACTION_BITS)
    }

    /// A `u16` as the fraction `value / 65535`, cut to 32 bits.
    #[must_use]
    pub fn from_proportion(value: u16) -> Self {
        Self::from(value).safe_div(Self::U16_MAX)
    }

    /// `⌊numerator · 2^32 / denominator⌋` bits, saturated; 0 if the denominator is 0.
    #[must_use]
    pub fn from_ratio(numerator: u64, denominator: u64) -> Self {
        if denominator == 0 {
            return Self::ZERO;
        }
        Self::narrow_unsigned((u128::from(numerator) << FRACTION_BITS) / u128::from(denominator))
    }

    const fn narrow(bits: i128) -> Self {
        if bits > i64::MAX as i128 {
            Self::MAX
        } else if bits < i64::MIN as i128 {
            Self::MIN
        } else {
            Self(bits as i64)
        }
    }

    const fn narrow_unsigned(bits: u128) -> Self {
        if bits > i64::MAX as u128 { Self::MAX } else { Self(bits as i64) }
    }

    /// Sum, saturated.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Difference, saturated.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Product, rounded down, saturated.
    #[must_use]
    pub const fn saturating_mul(self, other: Self) -> Self {
        Self::narrow((self.0 as i128 * other.0 as i128) >> FRACTION_BITS)
    }

    /// Quotient, cut toward zero, saturated; zero when `other` is zero.
    #[must_use]
    pub const fn safe_div(self, other: Self) -> Self {
        if other.0 == 0 { Self::ZERO } else { Self::narrow(((self.0 as i128) << FRACTION_BITS) / other.0 as i128) }
    }

    /// The nearest whole number, halves away from zero, saturated.
    #[must_use]
    pub const fn round(self) -> Self {
        let magnitude = (self.0 as i128).abs() + (1 << (FRACTION_BITS - 1));
        let whole = (magnitude >> FRACTION_BITS) << FRACTION_BITS;
        Self::narrow(if self.0 < 0 { -whole } else { whole })
    }

    /// The number kept between `low` and `high`; when these cross, `low` wins.
    #[must_use]
    pub fn clamped(self, low: Self, high: Self) -> Self {
        self.min(high).max(low)
    }

    /// The whole part, rounded down, clamped to a `u16`.
    #[must_use]
    pub fn to_u16(self) -> u16 {
        let whole = self.0 >> FRACTION_BITS;
        u16::try_from(whole.max(0)).unwrap_or(u16::MAX)
    }

    /// `⌊self · 65535⌋` clamped to a `u16`: how a fraction is stored on chain.
    #[must_use]
    pub fn to_proportion(self) -> u16 {
        self.saturating_mul(Self::U16_MAX).to_u16()
    }

    /// `⌊self · amount⌋` in the unit of `amount`, clamped to a `u64`; nothing for a negative fraction.
    #[must_use]
    pub fn of_amount(self, amount: u64) -> u64 {
        let bits = u128::from(self.0.max(0).unsigned_abs());
        u64::try_from((bits * u128::from(amount)) >> FRACTION_BITS).unwrap_or(u64::MAX)
    }
}

impl From<u16> for I32F32 {
    fn from(value: u16) -> Self {
        Self(i64::from(value) << FRACTION_BITS)
    }
}

/// Sum of a slice, saturated after each term.
#[must_use]
pub fn sum(values: &[I32F32]) -> I32F32 {
    values.iter().fold(I32F32::ZERO, |total, value| total.saturating_add(*value))
}

/// Scales whole amounts so that they sum to one, each share cut to 32 fraction bits. All zero stays all zero.
///
/// Equal to the chain's division with 64 fraction bits and the cut that follows, as long as the amounts sum to less than 2^63 (its wide
/// format saturates there; the supply is below 2^55). The shares never sum to more than one.
#[must_use]
pub fn normalize_amounts(amounts: &[u64]) -> alloc::vec::Vec<I32F32> {
    let total: u128 = amounts.iter().copied().map(u128::from).sum();
    // An amount is at most the total, so a share is at most one.
    let share = |amount: &u64| {
        (u128::from(*amount) << FRACTION_BITS).checked_div(total).map_or(I32F32::ZERO, I32F32::narrow_unsigned)
    };
    amounts.iter().map(share).collect()
}
