//! The pool.

use glia_chain_rules::pool::{FEE_RATE, Pool, PoolError, fee};
use proptest::prelude::*;

const POOL: Pool = Pool { tao: 1_000_000_000_000, alpha: 4_000_000_000_000 };

#[test]
fn doubling_the_tao_buys_half_of_the_alpha() {
    let trade = POOL.buy(1_000_000_000_000, 0).expect("a trade");
    assert_eq!((trade.input, trade.fee, trade.output), (1_000_000_000_000, 0, 2_000_000_000_000));
    assert_eq!(trade.pool, Pool { tao: 2_000_000_000_000, alpha: 2_000_000_000_000 });
    assert_eq!((POOL.price(), trade.pool.price()), (250_000_000, 1_000_000_000));
}

#[test]
fn the_fee_stays_out_of_the_pool() {
    let trade = POOL.sell(65_535_000, FEE_RATE).expect("a trade");
    assert_eq!((trade.fee, trade.input), (33_000, 65_502_000));
    assert_eq!(trade.pool.alpha, POOL.alpha + 65_502_000);
    assert_eq!(fee(u64::MAX, u16::MAX), u64::MAX);
}

#[test]
fn thin_pools_and_huge_offers_are_refused() {
    assert_eq!(Pool { tao: 999_999, ..POOL }.buy(1, 0), Err(PoolError::ReservesTooLow));
    assert_eq!(Pool { alpha: 999_999, ..POOL }.buy(1, 0), Err(PoolError::ReservesTooLow));
    assert_eq!(POOL.buy(1000 * POOL.tao + 1, 0), Err(PoolError::InputTooLarge));
    assert_eq!(Pool { tao: u64::MAX, ..POOL }.buy(1, 0), Err(PoolError::ReserveOverflow));
    assert_eq!(Pool::default().price(), 0);
}

#[test]
fn injection_keeps_the_price() {
    let (pool, tao, alpha) = POOL.injected(1_000_000_000, u64::MAX);
    assert_eq!((tao, alpha), (1_000_000_000, 4_000_000_000));
    assert_eq!(pool.price(), POOL.price());
    let (capped, tao, alpha) = POOL.injected(1_000_000_000, 1_000_000_000);
    assert_eq!((tao, alpha), (250_000_000, 1_000_000_000));
    assert_eq!(capped.price(), POOL.price());
    assert_eq!(Pool::default().injected(5, 5), (Pool::default(), 0, 0));
}

proptest! {
    #[test]
    fn a_trade_never_shrinks_the_product(tao in any::<u64>(), alpha in any::<u64>(), offer in any::<u64>(), rate in any::<u16>(), buys in any::<bool>()) {
        let pool = Pool { tao, alpha };
        let traded = if buys { pool.buy(offer, rate) } else { pool.sell(offer, rate) };
        if let Ok(trade) = traded {
            let product = |pool: Pool| u128::from(pool.tao) * u128::from(pool.alpha);
            prop_assert!(product(trade.pool) >= product(pool));
            prop_assert_eq!(trade.input + trade.fee, offer);
            prop_assert!(trade.pool.tao > 0 && trade.pool.alpha > 0);
        }
    }

    #[test]
    fn buying_and_selling_back_never_gains(tao in 1_000_000u64..1 << 60, alpha in 1_000_000u64..1 << 60, offer in 0u64..1 << 50) {
        let pool = Pool { tao, alpha };
        let sold = pool.buy(offer, 0).and_then(|bought| bought.pool.sell(bought.output, 0));
        prop_assert!(sold.is_err() || sold.is_ok_and(|sold| sold.output <= offer));
    }

    #[test]
    fn injection_never_panics_and_never_exceeds_what_is_given(tao in any::<u64>(), alpha in any::<u64>(), given in any::<u64>(), cap in any::<u64>()) {
        let (pool, tao_in, alpha_in) = Pool { tao, alpha }.injected(given, cap);
        prop_assert!(tao_in <= given && alpha_in <= cap);
        prop_assert_eq!((pool.tao - tao, pool.alpha - alpha), (tao_in, alpha_in));
    }
}
