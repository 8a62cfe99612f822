//! Emission, shares and the epoch schedule.

use glia_chain_rules::emission::{
    AlphaSplit, SUBNET_OWNER_CUT, TOTAL_SUPPLY, block_emission_for_issuance, mintable, next_moving_price,
    root_proportion, split_alpha, split_take, subnet_shares,
};
use glia_chain_rules::fixed::I32F32;
use glia_chain_rules::schedule::{activity_cutoff, blocks_until_next_auto_epoch, epoch_is_due, first_epoch_block};
use serde_json::Value;

use crate::literal::{Literal, cases, int};

fn as_number(value: I32F32) -> f64 {
    value.to_bits() as f64 / 4_294_967_296.0
}

#[test]
fn every_coinbase_case_holds() {
    let mut seen = 0;
    for case in cases("coinbase_cases") {
        let inputs = &case["inputs"];
        let tolerance = case.get("tolerance").and_then(Value::as_f64);
        match case["fn"].as_str() {
            Some("block_emission_for_issuance") => {
                assert_eq!(
                    block_emission_for_issuance(int(&case["issuance_rao"])),
                    int(&case["expected_rao"]),
                    "{case}"
                );
            }
            Some("blocks_until_next_auto_epoch") => {
                let (last, tempo, block) =
                    (int(&inputs["last_epoch_block"]), int(&inputs["tempo"]) as u16, int(&inputs["block"]));
                assert_eq!(blocks_until_next_auto_epoch(last, tempo, block), int(&case["expected"]), "{case}");
            }
            Some("update_moving_price") => {
                let fixed = |key: &str| Literal::Double.fixed(&inputs[key]);
                let (blocks, halving) = (int(&inputs["blocks_since_start"]), int(&inputs["ema_price_halving_blocks"]));
                let price = (0..int(&inputs["updates"])).fold(fixed("start_moving"), |moving, _| {
                    next_moving_price(moving, fixed("price"), fixed("subnet_moving_alpha"), blocks, halving)
                });
                let distance = (as_number(price) - case["expected"].as_f64().expect("a number")).abs();
                assert!(distance <= tolerance.expect("a tolerance"), "{case}");
                let exact = (as_number(price) - case["derived_float"].as_f64().expect("a number")).abs();
                assert!(exact < 1e-7, "{case}");
            }
            Some("get_shares") => {
                let vector = |key: &str| Literal::Double.vector(&inputs[key]);
                let shares = subnet_shares(&vector("moving_price"), &vector("miner_burned"));
                let expected = case["expected"].as_array().expect("a list");
                assert_eq!(shares.len(), expected.len());
                for (share, expected) in shares.into_iter().zip(expected) {
                    // The case is computed in floats; 32 fraction bits cost up to ten units here.
                    let distance = (as_number(share) - expected.as_f64().expect("a number")).abs();
                    assert!(distance <= 10.0 / 4_294_967_296.0, "{case}: {share:?}");
                }
            }
            other => panic!("no function {other:?}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 19);
}

#[test]
fn halvings_come_at_half_of_what_is_left() {
    assert_eq!(block_emission_for_issuance(10_499_999_990_000_000), 1_000_000_000);
    assert_eq!(block_emission_for_issuance(10_500_000_000_000_000), 500_000_000);
    assert_eq!(block_emission_for_issuance(15_750_000_000_000_000), 250_000_000);
    assert_eq!(block_emission_for_issuance(18_375_000_000_000_000), 125_000_000);
    // A hundred halvings of 10.5 million blocks: the total the public chain states for its own schedule.
    let total = (0..100).fold(0, |total, _| total + block_emission_for_issuance(total) * 10_500_000);
    assert_eq!(total, 20_999_999_989_500_000);
}

#[test]
fn nothing_is_minted_past_the_cap() {
    assert_eq!(mintable(TOTAL_SUPPLY), 0);
    assert_eq!(mintable(u64::MAX), 0);
    assert_eq!(mintable(0), 1_000_000_000);
    assert!(mintable(TOTAL_SUPPLY - 1) <= 1);
}

#[test]
fn alpha_is_split_18_41_41() {
    let split = split_alpha(1_000_000_000, SUBNET_OWNER_CUT, I32F32::ZERO);
    assert_eq!(split, AlphaSplit { owner: 179_995_422, server: 410_002_289, validator: 410_002_289, root: 0 });
    let half = split_alpha(1_000_000_000, SUBNET_OWNER_CUT, I32F32::HALF);
    assert_eq!((half.validator, half.root), (205_001_145, 205_001_144));
    assert_eq!(split_alpha(u64::MAX, 0, I32F32::ONE).validator, 0);
    assert_eq!(split_take(1000, 11_796), (179, 821));
}

#[test]
fn root_earns_in_proportion_to_its_weighted_tao() {
    assert_eq!(root_proportion(0, u64::MAX, 0), I32F32::ZERO);
    assert_eq!(root_proportion(2_000_000, 1 << 63, 1_000_000), I32F32::HALF);
    assert_eq!(root_proportion(2, u64::MAX, 0), I32F32::ONE);
}

#[test]
fn shares_fall_back_to_prices_when_all_is_burned() {
    let price = |value: i64| I32F32::from_bits(value << 20);
    let burned = subnet_shares(&[price(1), price(3)], &[I32F32::ONE, I32F32::ONE]);
    assert_eq!(burned, subnet_shares(&[price(1), price(3)], &[]));
    assert_eq!(burned, [I32F32::from_ratio(1, 4), I32F32::from_ratio(3, 4)]);
    assert_eq!(subnet_shares(&[I32F32::ZERO], &[]), [I32F32::ZERO]);
}

#[test]
fn epochs_are_due_by_tempo_trigger_or_long_silence() {
    assert!(!epoch_is_due(100, 0, 0, 360, 459));
    assert!(epoch_is_due(100, 0, 0, 360, 460));
    assert!(epoch_is_due(100, 300, 0, 360, 300));
    assert!(!epoch_is_due(100, 301, 0, 360, 300));
    assert!(epoch_is_due(100, 0, 50_401, 360, 101));
    assert!(!epoch_is_due(0, 1, 60_000, 0, u64::MAX));
    assert_eq!(blocks_until_next_auto_epoch(0, 0, 9), u64::MAX);
    assert_eq!(first_epoch_block(1000, 7, 5), 998);
    assert_eq!(first_epoch_block(1000, 7, 0), 1000);
    assert_eq!(first_epoch_block(1, 7, 10), 0);
}

#[test]
fn silence_of_fourteen_tempos_is_inactivity() {
    assert_eq!(activity_cutoff(13_889, 360), 5000);
    assert_eq!(activity_cutoff(13_889, 65_534), 910_201);
    assert_eq!(activity_cutoff(13_889, 0), 1);
    assert_eq!(activity_cutoff(u32::MAX, u16::MAX), 281_470_681_677);
}
