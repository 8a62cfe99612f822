//! Neuron price and lock cost.

use glia_chain_rules::price::{
    BURN_HALF_LIFE, BURN_INCREASE_MULT, LOCK_REDUCTION_INTERVAL, MIN_LOCK_COST, decay_factor_q32, decayed_burn,
    increased_burn, lock_cost, lock_reduction_interval,
};

const TAO: u64 = 1_000_000_000;

#[test]
fn price_halves_in_its_half_life() {
    let after =
        |blocks: u16, half_life: u16| (0..blocks).fold(100 * TAO, |burn, _| decayed_burn(burn, half_life, 0, u64::MAX));
    for half_life in [1, 7, BURN_HALF_LIFE, 7200] {
        let halved = after(half_life, half_life);
        // The factor is found with powers rounded down, the price is rounded down in every block: both errors stay below one in 10^5.
        assert!(halved.abs_diff(50 * TAO) < TAO / 2000, "half-life {half_life}: {halved}");
    }
    assert_eq!(decay_factor_q32(1), 1 << 31);
    assert_eq!(decay_factor_q32(0), 1 << 32);
    assert_eq!(decayed_burn(7, 0, 0, u64::MAX), 7);
}

#[test]
fn price_stays_within_its_bounds() {
    assert_eq!(decayed_burn(500_000, 360, 500_000, 100 * TAO), 500_000);
    assert_eq!(increased_burn(90 * TAO, BURN_INCREASE_MULT, 0, 100 * TAO), 100 * TAO);
    assert_eq!(increased_burn(u64::MAX, u128::MAX, 0, u64::MAX), u64::MAX);
}

#[test]
fn registration_raises_the_price_by_26_percent() {
    assert_eq!(increased_burn(TAO, BURN_INCREASE_MULT, 0, u64::MAX), 1_260_000_000);
    assert_eq!(increased_burn(500_000, BURN_INCREASE_MULT, 0, u64::MAX), 630_000);
    assert_eq!(increased_burn(TAO, 1 << 64, 0, u64::MAX), TAO);
    // Three registrations in a row double it.
    let thrice = (0..3).fold(TAO, |burn, _| increased_burn(burn, BURN_INCREASE_MULT, 0, u64::MAX));
    assert_eq!(thrice, 2_000_376_000);
}

#[test]
fn lock_cost_doubles_and_falls_back_to_the_last_price() {
    let cost = |blocks| lock_cost(MIN_LOCK_COST, 3 * MIN_LOCK_COST, 1000, LOCK_REDUCTION_INTERVAL, 1000 + blocks);
    assert_eq!(cost(0), 6 * MIN_LOCK_COST);
    assert!(cost(LOCK_REDUCTION_INTERVAL).abs_diff(3 * MIN_LOCK_COST) < LOCK_REDUCTION_INTERVAL);
    assert_eq!(cost(2 * LOCK_REDUCTION_INTERVAL), MIN_LOCK_COST);
    assert_eq!(cost(u64::MAX - 1000), MIN_LOCK_COST);
}

#[test]
fn the_first_subnet_costs_the_floor() {
    assert_eq!(lock_cost(MIN_LOCK_COST, MIN_LOCK_COST, 0, LOCK_REDUCTION_INTERVAL, 0), MIN_LOCK_COST);
    assert_eq!(lock_cost(MIN_LOCK_COST, u64::MAX, 5, 0, 9), u64::MAX);
}

#[test]
fn the_lock_interval_shrinks_with_emission() {
    assert_eq!(lock_reduction_interval(LOCK_REDUCTION_INTERVAL, TAO), LOCK_REDUCTION_INTERVAL);
    assert_eq!(lock_reduction_interval(LOCK_REDUCTION_INTERVAL, TAO / 2), LOCK_REDUCTION_INTERVAL / 2);
    assert_eq!(lock_reduction_interval(u64::MAX, u64::MAX), u64::MAX);
}
