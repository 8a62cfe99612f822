//! The emission of a block: TAO into the pools by price, alpha into what the next epoch will pay.

use alloc::vec::Vec;
use glia_chain_rules::emission;
use glia_chain_rules::fixed::I32F32;
use glia_chain_rules::pool::Pool;

use crate::types::{AlphaBalance, I96F32, NetUid, TaoBalance, U96F32};
use crate::*;

impl<T: Config> Pallet<T> {
    /// Emits one block.
    pub(crate) fn run_coinbase(subnets: &[NetUid]) {
        let emitting: Vec<NetUid> = subnets.iter().copied().filter(|netuid| Self::emits(*netuid)).collect();
        let paid: Vec<NetUid> =
            emitting.iter().copied().filter(|netuid| SubnetEmissionEnabled::<T>::get(netuid)).collect();
        let budget = Self::block_emission();
        let shares = emission::subnet_shares(
            &paid.iter().map(|netuid| Self::moving_price(*netuid)).collect::<Vec<_>>(),
            &paid.iter().map(|netuid| narrow(MinerBurned::<T>::get(netuid).bits)).collect::<Vec<_>>(),
        );
        let shares = if shares.iter().all(|share| *share == I32F32::ZERO) {
            // Before any price has moved every subnet gets the same.
            let count = u64::try_from(paid.len()).unwrap_or(u64::MAX);
            paid.iter().map(|_| I32F32::from_ratio(1, count)).collect()
        } else {
            shares
        };
        let root_earns = Self::root_earns(subnets);
        for netuid in &emitting {
            let share = paid.iter().zip(&shares).find_map(|(paid, share)| (paid == netuid).then_some(*share));
            let tao = share.unwrap_or(I32F32::ZERO).of_amount(budget);
            Self::emit_subnet(*netuid, tao, root_earns);
        }
    }

    /// Whether a subnet takes part in emission.
    fn emits(netuid: NetUid) -> bool {
        FirstEmissionBlockNumber::<T>::get(netuid).is_some_and(|first| Self::now() >= first)
            && SubtokenEnabled::<T>::get(netuid)
            && NetworkRegistrationAllowed::<T>::get(netuid)
    }

    /// Whether root stakers get a part of the dividends: when the prices of all subnets together exceed one.
    fn root_earns(subnets: &[NetUid]) -> bool {
        let sum = subnets.iter().fold(I32F32::ZERO, |sum, netuid| sum.saturating_add(Self::moving_price(*netuid)));
        sum > I32F32::ONE
    }

    fn moving_price(netuid: NetUid) -> I32F32 {
        let bits = SubnetMovingPrice::<T>::get(netuid).bits;
        I32F32::from_bits(i64::try_from(bits).unwrap_or(i64::MAX))
    }

    fn emit_subnet(netuid: NetUid, tao: u64, root_earns: bool) {
        let pool = Self::pool_of(netuid);
        let issued = pool.alpha.saturating_add(SubnetAlphaOut::<T>::get(netuid).0);
        let alpha = emission::mintable(issued);
        let root = emission::root_proportion(SubnetTAO::<T>::get(NetUid::ROOT).0, TaoWeight::<T>::get(), issued);
        RootProp::<T>::insert(netuid, U96F32::from_bits(u128::try_from(root.to_bits()).unwrap_or(0)));
        Self::fill_pool(netuid, pool, tao, root.of_amount(alpha));

        let cut = if OwnerCutEnabled::<T>::get(netuid) { SubnetOwnerCut::<T>::get() } else { 0 };
        let split = emission::split_alpha(alpha, cut, root);
        // Without earning root its part is not issued at all.
        let root_part = if root_earns { split.root } else { 0 };
        let made = AlphaBalance(alpha.saturating_sub(split.root).saturating_add(root_part));
        SubnetAlphaOutEmission::<T>::insert(netuid, made);
        SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.plus(made));
        PendingOwnerCut::<T>::mutate(netuid, |pending| *pending = pending.plus(AlphaBalance(split.owner)));
        PendingServerEmission::<T>::mutate(netuid, |pending| *pending = pending.plus(AlphaBalance(split.server)));
        PendingValidatorEmission::<T>::mutate(netuid, |pending| *pending = pending.plus(AlphaBalance(split.validator)));
        PendingRootAlphaDivs::<T>::mutate(netuid, |pending| *pending = pending.plus(AlphaBalance(root_part)));
    }

    /// Puts TAO emission into a pool at constant price as far as alpha may be added; the rest buys alpha for the chain.
    fn fill_pool(netuid: NetUid, pool: Pool, tao: u64, most_alpha: u64) {
        let (filled, tao_in, alpha_in) = pool.injected(tao, most_alpha);
        let minted = Self::mint_tao(netuid, tao_in);
        if minted == tao_in {
            Self::put_pool(netuid, &filled);
            TotalStake::<T>::mutate(|total| *total = total.plus(TaoBalance(tao_in)));
        }
        SubnetTaoInEmission::<T>::insert(netuid, TaoBalance(minted));
        SubnetAlphaInEmission::<T>::insert(netuid, AlphaBalance(if minted == tao_in { alpha_in } else { 0 }));

        let excess = tao.saturating_sub(tao_in);
        let bought = Self::pool_of(netuid).buy(excess, 0).ok().filter(|_| excess > 0);
        let spent = match bought {
            Some(trade) if Self::mint_tao(netuid, trade.input) == trade.input => {
                Self::book_buy(netuid, &trade);
                SubnetProtocolAlpha::<T>::mutate(netuid, |held| *held = held.plus(AlphaBalance(trade.output)));
                trade.input
            }
            _ => 0,
        };
        SubnetExcessTao::<T>::insert(netuid, TaoBalance(spent));
    }

    /// Moves the moving price of a subnet by one block.
    pub(crate) fn update_prices(netuid: NetUid, now: u64) {
        let Some(first) = FirstEmissionBlockNumber::<T>::get(netuid) else {
            return;
        };
        let next = emission::next_moving_price(
            Self::moving_price(netuid),
            Self::alpha_price(netuid),
            I32F32::from_bits(i64::try_from(SubnetMovingAlpha::<T>::get().bits).unwrap_or(0)),
            now.saturating_sub(first),
            EMAPriceHalvingBlocks::<T>::get(netuid),
        );
        SubnetMovingPrice::<T>::insert(netuid, I96F32::from_bits(i128::from(next.to_bits())));
    }
}

/// Raw bits of a non-negative number in the narrower type.
fn narrow(bits: u128) -> I32F32 {
    I32F32::from_bits(i64::try_from(bits).unwrap_or(i64::MAX))
}
