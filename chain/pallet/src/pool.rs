//! The market of a subnet: moves TAO between accounts and reserves as `glia_chain_rules::pool` prices it.
//!
//! TAO of a pool lies in the account of its subnet; the sum of all reserves is `TotalStake`. Subnets without a market (root among
//! them) change TAO one to one.

use glia_chain_rules::fixed::I32F32;
use glia_chain_rules::pool::{FEE_RATE, Pool, PoolError, Trade};
use polkadot_sdk_frame::prelude::*;
use polkadot_sdk_frame::token::fungible::Mutate;
use polkadot_sdk_frame::token::{Fortitude, Precision, Preservation};

use crate::types::{AlphaBalance, NetUid, TaoBalance};
use crate::*;

impl<T: Config> Pallet<T> {
    /// Whether the alpha of a subnet has a market.
    pub fn is_dynamic(netuid: NetUid) -> bool {
        SubnetMechanism::<T>::get(netuid) == 1
    }

    /// Reserves of a subnet.
    pub fn pool_of(netuid: NetUid) -> Pool {
        Pool { tao: SubnetTAO::<T>::get(netuid).0, alpha: SubnetAlphaIn::<T>::get(netuid).0 }
    }

    /// TAO per alpha of a subnet.
    pub fn alpha_price(netuid: NetUid) -> I32F32 {
        if !Self::is_dynamic(netuid) {
            return I32F32::ONE;
        }
        let pool = Self::pool_of(netuid);
        I32F32::from_ratio(pool.tao, pool.alpha)
    }

    /// Fee of a trade in a subnet, of 65535.
    fn fee_rate(netuid: NetUid) -> u16 {
        if Self::is_dynamic(netuid) { FEE_RATE } else { 0 }
    }

    /// The fee on an offer in a subnet, in the unit of the offer.
    pub(crate) fn fee_of(netuid: NetUid, offer: u64) -> u64 {
        glia_chain_rules::pool::fee(offer, Self::fee_rate(netuid))
    }

    /// What buying alpha with an offer of TAO would do.
    pub(crate) fn quote_buy(netuid: NetUid, offer: TaoBalance, fee_rate: u16) -> Result<Trade, DispatchError> {
        let pool = Self::pool_of(netuid);
        if Self::is_dynamic(netuid) {
            return pool.buy(offer.0, fee_rate).map_err(Self::pool_error);
        }
        let tao = pool.tao.checked_add(offer.0).ok_or(Error::<T>::Overflow)?;
        Ok(Trade { input: offer.0, fee: 0, output: offer.0, pool: Pool { tao, ..pool } })
    }

    /// What selling an offer of alpha would do.
    fn quote_sell(netuid: NetUid, offer: AlphaBalance, fee_rate: u16) -> Result<Trade, DispatchError> {
        let pool = Self::pool_of(netuid);
        if Self::is_dynamic(netuid) {
            return pool.sell(offer.0, fee_rate).map_err(Self::pool_error);
        }
        let tao = pool.tao.checked_sub(offer.0).ok_or(Error::<T>::InsufficientLiquidity)?;
        Ok(Trade { input: offer.0, fee: 0, output: offer.0, pool: Pool { tao, ..pool } })
    }

    /// Sells nothing yet: TAO an offer of alpha would bring before fees.
    pub(crate) fn value_of(netuid: NetUid, offer: AlphaBalance) -> Result<TaoBalance, DispatchError> {
        Self::quote_sell(netuid, offer, 0).map(|trade| TaoBalance(trade.output))
    }

    fn pool_error(error: PoolError) -> DispatchError {
        match error {
            PoolError::ReservesTooLow | PoolError::InputTooLarge => Error::<T>::InsufficientLiquidity.into(),
            PoolError::ReserveOverflow => Error::<T>::Overflow.into(),
        }
    }

    /// Buys alpha for an account with its TAO, for the usual fee, which is recycled. Returns the alpha and the fee in rao.
    pub(crate) fn buy_alpha(
        coldkey: &T::AccountId,
        netuid: NetUid,
        offer: TaoBalance,
    ) -> Result<(AlphaBalance, u64), DispatchError> {
        let trade = Self::quote_buy(netuid, offer, Self::fee_rate(netuid))?;
        Self::recycle_tao(coldkey, trade.fee)?;
        Self::pay_in(coldkey, netuid, &trade)?;
        Ok((AlphaBalance(trade.output), trade.fee))
    }

    /// Buys alpha with the price of a registration and destroys it.
    pub(crate) fn burn_for_registration(coldkey: &T::AccountId, netuid: NetUid, cost: TaoBalance) -> DispatchResult {
        let trade = Self::quote_buy(netuid, cost, 0)?;
        Self::pay_in(coldkey, netuid, &trade)?;
        SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.minus(AlphaBalance(trade.output)));
        RAORecycledForRegistration::<T>::mutate(netuid, |total| *total = total.plus(cost));
        Ok(())
    }

    fn pay_in(coldkey: &T::AccountId, netuid: NetUid, trade: &Trade) -> DispatchResult {
        T::Currency::transfer(coldkey, &Self::subnet_account(netuid), trade.input, Preservation::Preserve)
            .map_err(|_| Error::<T>::BalanceWithdrawalError)?;
        Self::book_buy(netuid, trade);
        Ok(())
    }

    /// Writes the reserves after a purchase whose TAO lies in the subnet's account already.
    pub(crate) fn book_buy(netuid: NetUid, trade: &Trade) {
        Self::put_pool(netuid, &trade.pool);
        SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.plus(AlphaBalance(trade.output)));
        TotalStake::<T>::mutate(|total| *total = total.plus(TaoBalance(trade.input)));
        SubnetVolume::<T>::mutate(netuid, |volume| *volume = volume.saturating_add(u128::from(trade.input)));
    }

    pub(crate) fn put_pool(netuid: NetUid, pool: &Pool) {
        SubnetTAO::<T>::insert(netuid, TaoBalance(pool.tao));
        SubnetAlphaIn::<T>::insert(netuid, AlphaBalance(pool.alpha));
    }

    /// Sells alpha that was taken from its holder already, pays the TAO to an account, and recycles the TAO of the fee. Returns the
    /// TAO paid and the fee in alpha.
    pub(crate) fn sell_alpha(
        coldkey: &T::AccountId,
        netuid: NetUid,
        offer: AlphaBalance,
    ) -> Result<(TaoBalance, u64), DispatchError> {
        let account = Self::subnet_account(netuid);
        let trade = Self::quote_sell(netuid, offer, Self::fee_rate(netuid))?;
        Self::book_sale(netuid, &trade);
        T::Currency::transfer(&account, coldkey, trade.output, Preservation::Expendable)?;
        if trade.fee > 0 {
            let rest = Self::quote_sell(netuid, AlphaBalance(trade.fee), 0)?;
            Self::book_sale(netuid, &rest);
            let burned = T::Currency::burn_from(
                &account,
                rest.output,
                Preservation::Expendable,
                Precision::Exact,
                Fortitude::Polite,
            )?;
            Self::note_recycled(burned);
        }
        Ok((TaoBalance(trade.output), trade.fee))
    }

    fn book_sale(netuid: NetUid, trade: &Trade) {
        Self::put_pool(netuid, &trade.pool);
        SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.minus(AlphaBalance(trade.input)));
        TotalStake::<T>::mutate(|total| *total = total.minus(TaoBalance(trade.output)));
        SubnetVolume::<T>::mutate(netuid, |volume| *volume = volume.saturating_add(u128::from(trade.output)));
    }
}
