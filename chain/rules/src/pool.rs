//! The pool of TAO and alpha of one subnet: constant product at equal weights.
//!
//! Buying with Δ of TAO out of reserves `alpha`, `tao` yields `alpha·Δ / (tao + Δ)`, rounded down, and the reverse for selling. The fee is
//! taken from the input first and leaves circulation; the pool does not keep it.

/// Reserves below this are not traded against.
pub const MIN_RESERVE: u64 = 1_000_000;
/// An input may be at most this many times the reserve it enters.
pub const MAX_INPUT_PER_RESERVE: u64 = 1000;
/// Default fee, of 65535 (about 0.05 %).
pub const FEE_RATE: u16 = 33;
/// Rao per TAO and per alpha: the unit of prices.
pub const RAO: u64 = 1_000_000_000;

/// Reserves of a pool, in rao.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// TAO reserve.
    pub tao: u64,
    /// Alpha reserve.
    pub alpha: u64,
}

/// A trade that can be executed, in rao.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// What enters the pool: the offer less the fee.
    pub input: u64,
    /// The fee, in the unit of the offer.
    pub fee: u64,
    /// What leaves the pool.
    pub output: u64,
    /// The reserves afterwards.
    pub pool: Pool,
}

/// Why a trade is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// A reserve is below [`MIN_RESERVE`].
    ReservesTooLow,
    /// The offer is more than [`MAX_INPUT_PER_RESERVE`] times the reserve.
    InputTooLarge,
    /// A reserve would exceed 2^64.
    ReserveOverflow,
}

impl core::fmt::Display for PoolError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::ReservesTooLow => "the pool's reserves are too low to trade",
            Self::InputTooLarge => "the offer is too large for the pool",
            Self::ReserveOverflow => "the pool cannot hold more",
        })
    }
}

impl core::error::Error for PoolError {}

/// The fee on an offer: `⌊offer · rate / 65535⌋`.
#[must_use]
pub fn fee(offer: u64, rate: u16) -> u64 {
    // At most `offer`, hence in range.
    u64::try_from(u128::from(offer) * u128::from(rate) / u128::from(u16::MAX)).unwrap_or(offer)
}

impl Pool {
    /// Price in rao of TAO per whole alpha; zero for an empty pool.
    #[must_use]
    pub fn price(&self) -> u64 {
        let scaled = u128::from(self.tao) * u128::from(RAO);
        scaled.checked_div(u128::from(self.alpha)).map_or(0, |price| u64::try_from(price).unwrap_or(u64::MAX))
    }

    /// Buys alpha with TAO.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn buy(&self, tao: u64, fee_rate: u16) -> Result<Trade, PoolError> {
        let (input, fee, output) = swap(self.tao, self.alpha, tao, fee_rate)?;
        Ok(Trade { input, fee, output, pool: Self { tao: self.tao + input, alpha: self.alpha - output } })
    }

    /// Sells alpha for TAO.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn sell(&self, alpha: u64, fee_rate: u16) -> Result<Trade, PoolError> {
        let (input, fee, output) = swap(self.alpha, self.tao, alpha, fee_rate)?;
        Ok(Trade { input, fee, output, pool: Self { tao: self.tao - output, alpha: self.alpha + input } })
    }

    /// The reserves after adding TAO and, at constant price, as much alpha as matches it: `⌊tao · alpha reserve / TAO reserve⌋`, at
    /// most `max_alpha`. When the alpha is capped, only the TAO that matches the cap enters. Returns the pool, the TAO and the alpha
    /// added; nothing enters an empty pool.
    #[must_use]
    pub fn injected(&self, tao: u64, max_alpha: u64) -> (Self, u64, u64) {
        if self.tao == 0 || self.alpha == 0 {
            return (*self, 0, 0);
        }
        let matching = u128::from(tao) * u128::from(self.alpha) / u128::from(self.tao);
        let (tao, alpha) = if matching <= u128::from(max_alpha) {
            // Fits: it is at most `max_alpha`.
            (tao, u64::try_from(matching).unwrap_or(max_alpha))
        } else {
            let tao_of_cap = u128::from(max_alpha) * u128::from(self.tao) / u128::from(self.alpha);
            (u64::try_from(tao_of_cap).unwrap_or(tao).min(tao), max_alpha)
        };
        let pool = Self { tao: self.tao.saturating_add(tao), alpha: self.alpha.saturating_add(alpha) };
        (pool, pool.tao - self.tao, pool.alpha - self.alpha)
    }
}

/// Input, fee and output of a trade. The output is always below the reserve it leaves, and the entered reserve stays in range.
fn swap(reserve_in: u64, reserve_out: u64, offer: u64, fee_rate: u16) -> Result<(u64, u64, u64), PoolError> {
    if reserve_in < MIN_RESERVE || reserve_out < MIN_RESERVE {
        return Err(PoolError::ReservesTooLow);
    }
    if offer > reserve_in.saturating_mul(MAX_INPUT_PER_RESERVE) {
        return Err(PoolError::InputTooLarge);
    }
    let fee = fee(offer, fee_rate);
    let input = offer - fee;
    let after = reserve_in.checked_add(input).ok_or(PoolError::ReserveOverflow)?;
    let output = u128::from(reserve_out) * u128::from(input) / u128::from(after);
    // `input < after`, so the output is below `reserve_out` and fits.
    Ok((input, fee, u64::try_from(output).unwrap_or(u64::MAX)))
}
