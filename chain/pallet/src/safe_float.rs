//! The decimal float in which stake shares are kept: `mantissa * 10^exponent` with about 21 significant digits.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use polkadot_sdk_frame::hashing::U256;
use scale_info::TypeInfo;

/// A non-negative number `mantissa * 10^exponent`; the mantissa of a number other than zero lies in `(1e20, 1e21]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo, MaxEncodedLen)]
pub struct SafeFloat {
    /// Digits.
    pub mantissa: u128,
    /// Power of ten the digits are multiplied with.
    pub exponent: i64,
}

const TOP: u128 = 1_000_000_000_000_000_000_000;
const BOTTOM: u128 = TOP / 10;

impl From<u64> for SafeFloat {
    fn from(value: u64) -> Self {
        Self::normal(U256::from(value), 0)
    }
}

impl SafeFloat {
    /// Zero.
    pub const ZERO: Self = Self { mantissa: 0, exponent: 0 };

    /// Whether this is zero.
    pub fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    fn normal(mut mantissa: U256, mut exponent: i64) -> Self {
        if mantissa.is_zero() {
            return Self::ZERO;
        }
        let ten = U256::from(10u8);
        while mantissa > U256::from(TOP) {
            mantissa /= ten;
            exponent = exponent.saturating_add(1);
        }
        while mantissa <= U256::from(BOTTOM) {
            mantissa *= ten;
            exponent = exponent.saturating_sub(1);
        }
        Self { mantissa: mantissa.low_u128(), exponent }
    }

    /// The product, cut to the digits a number has.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        Self::normal(
            U256::from(self.mantissa) * U256::from(other.mantissa),
            self.exponent.saturating_add(other.exponent),
        )
    }

    /// The quotient, cut to the digits a number has; zero when divided by zero.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        if other.is_zero() {
            return Self::ZERO;
        }
        // At most 1e21 * 1e42 < 2^210, so the product fits.
        let scaled = U256::from(self.mantissa) * U256::from(TOP) * U256::from(TOP);
        Self::normal(
            scaled / U256::from(other.mantissa),
            self.exponent.saturating_sub(other.exponent).saturating_sub(42),
        )
    }

    /// Both digits at the smaller exponent, when they overlap at all.
    fn aligned(&self, other: &Self) -> Option<(U256, U256, i64)> {
        let low = self.exponent.min(other.exponent);
        let up = |f: &Self| -> Option<U256> {
            let shift = f.exponent.saturating_sub(low);
            // 1e21 * 10^40 < 2^204.
            (shift <= 40).then(|| U256::from(f.mantissa) * U256::from(10u8).pow(U256::from(shift.unsigned_abs())))
        };
        Some((up(self)?, up(other)?, low))
    }

    fn larger<'a>(&'a self, other: &'a Self) -> &'a Self {
        if self.exponent >= other.exponent { self } else { other }
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        if self.is_zero() {
            return other.clone();
        }
        if other.is_zero() {
            return self.clone();
        }
        match self.aligned(other) {
            Some((a, b, exponent)) => Self::normal(a + b, exponent),
            None => self.larger(other).clone(),
        }
    }

    /// The difference, or zero when `other` is the larger one.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        if other.is_zero() || self.is_zero() {
            return self.clone();
        }
        match self.aligned(other) {
            Some((a, b, exponent)) => Self::normal(a.saturating_sub(b), exponent),
            None if self.exponent > other.exponent => self.clone(),
            None => Self::ZERO,
        }
    }

    /// The number cut to an integer, or the largest one.
    pub fn floor(&self) -> u64 {
        if self.is_zero() {
            return 0;
        }
        let ten = U256::from(10u8);
        let value = if self.exponent >= 0 {
            if self.exponent > 20 {
                return u64::MAX;
            }
            U256::from(self.mantissa) * ten.pow(U256::from(self.exponent.unsigned_abs()))
        } else {
            if self.exponent < -40 {
                return 0;
            }
            U256::from(self.mantissa) / ten.pow(U256::from(self.exponent.unsigned_abs()))
        };
        if value > U256::from(u64::MAX) { u64::MAX } else { value.low_u64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_survive_the_round_trip() {
        for value in [0, 1, 9, 10, 999_999_999, 21_000_000_000_000_000, u64::MAX] {
            assert_eq!(SafeFloat::from(value).floor(), value);
        }
    }

    #[test]
    fn mantissa_stays_in_its_window() {
        for value in [1u64, 10, 123_456_789, u64::MAX] {
            let f = SafeFloat::from(value);
            assert!(f.mantissa > BOTTOM && f.mantissa <= TOP, "{f:?}");
            let g = f.times(&f).over(&SafeFloat::from(3));
            assert!(g.mantissa > BOTTOM && g.mantissa <= TOP, "{g:?}");
        }
    }

    #[test]
    fn arithmetic_agrees_with_integers() {
        let (a, b) = (SafeFloat::from(1_000_000_007), SafeFloat::from(998_244_353));
        assert_eq!(a.plus(&b).floor(), 1_000_000_007 + 998_244_353);
        assert_eq!(a.minus(&b).floor(), 1_000_000_007 - 998_244_353);
        assert_eq!(b.minus(&a), SafeFloat::ZERO);
        assert_eq!(a.times(&b).floor(), 1_000_000_007 * 998_244_353);
        assert_eq!(a.times(&b).over(&b).floor(), 1_000_000_007);
        assert_eq!(a.over(&SafeFloat::ZERO), SafeFloat::ZERO);
    }

    #[test]
    fn far_apart_numbers_do_not_disturb_each_other() {
        let tiny = SafeFloat { mantissa: TOP, exponent: -90 };
        let one = SafeFloat::from(1);
        assert_eq!(one.plus(&tiny), one);
        assert_eq!(one.minus(&tiny), one);
        assert_eq!(tiny.minus(&one), SafeFloat::ZERO);
        assert_eq!(SafeFloat { mantissa: TOP, exponent: 99 }.floor(), u64::MAX);
    }
}
