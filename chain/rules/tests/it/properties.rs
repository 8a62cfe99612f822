//! What holds for every input.

use glia_chain_rules::emission::{block_emission_for_issuance, split_alpha};
use glia_chain_rules::epoch::{EpochInput, EpochOutput, Hyperparameters, Row, epoch};
use glia_chain_rules::fixed::{I32F32, exp_safe, normalize_amounts, sigmoid_safe, sum};
use glia_chain_rules::math::{SparseMatrix, weighted_median_col, weighted_median_col_sparse};
use proptest::collection::vec;
use proptest::prelude::*;

/// Small numbers, so that comparisons go both ways, and the ends of the range.
fn block() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..20, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn rows(n: usize) -> impl Strategy<Value = Vec<Row>> {
    vec(vec((0..n as u16 + 2, prop_oneof![Just(0), Just(u16::MAX), any::<u16>()]), 0..n + 2), 0..n + 2)
}

prop_compose! {
    fn hyperparameters()(
        (tempo, activity_cutoff_blocks, kappa, bonds_penalty) in (any::<u16>(), block(), any::<u16>(), any::<u16>()),
        bonds_moving_average in prop_oneof![0u64..=1_000_000, any::<u64>()],
        max_allowed_validators in prop_oneof![0u16..6, any::<u16>()],
        (yuma3, liquid_alpha) in any::<(bool, bool)>(),
        (alpha_low, alpha_high, steepness) in any::<(u16, u16, i16)>(),
        stake_threshold in block(),
        owner_uid in proptest::option::of(0u16..8),
    ) -> Hyperparameters {
        Hyperparameters {
            tempo, activity_cutoff_blocks, kappa, bonds_penalty, bonds_moving_average, max_allowed_validators, yuma3, liquid_alpha,
            alpha_low, alpha_high, steepness, stake_threshold, owner_uid,
        }
    }
}

/// Any input, well formed or not.
fn inputs() -> impl Strategy<Value = EpochInput> {
    (0usize..7).prop_flat_map(|n| {
        let blocks = || vec(block(), 0..n + 3);
        (
            (block(), block(), any::<u64>(), hyperparameters()),
            (vec(prop_oneof![block(), any::<u64>()], n), blocks(), blocks(), vec(any::<bool>(), 0..n + 3)),
            (rows(n), rows(n), proptest::option::of(blocks())),
        )
            .prop_map(|(settings, uids, matrices)| EpochInput {
                block: settings.0,
                last_step_block: settings.1,
                emission: settings.2,
                hyperparameters: settings.3,
                stake: uids.0,
                last_update: uids.1,
                block_at_registration: uids.2,
                validator_permit: uids.3,
                weights: matrices.0,
                bonds: matrices.1,
                commit_block: matrices.2,
            })
    })
}

/// A healthy subnet: some validators with permits, everyone up to date.
fn healthy(n: usize) -> impl Strategy<Value = EpochInput> {
    let row = || vec((0..n as u16, 1..=u16::MAX), 0..n);
    (vec(1u64..1 << 50, n), vec(row(), n), vec(row(), n), any::<bool>(), any::<bool>()).prop_map(
        move |(stake, weights, bonds, yuma3, liquid)| EpochInput {
            block: 1000,
            last_step_block: 600,
            emission: 1_000_000_000_000,
            stake,
            last_update: vec![900; n],
            block_at_registration: vec![1; n],
            validator_permit: vec![true; n],
            weights,
            bonds,
            commit_block: None,
            hyperparameters: Hyperparameters { yuma3, liquid_alpha: liquid, ..Hyperparameters::default() },
        },
    )
}

fn total(values: &[u64]) -> u128 {
    values.iter().map(|value| u128::from(*value)).sum()
}

fn total_u16(values: &[u16]) -> u32 {
    values.iter().map(|value| u32::from(*value)).sum()
}

fn assert_sound(input: &EpochInput, output: &EpochOutput) -> Result<(), TestCaseError> {
    let n = input.stake.len();
    let lengths = [
        output.stake_weight.len(),
        output.active.len(),
        output.consensus.len(),
        output.incentive.len(),
        output.dividends.len(),
        output.validator_trust.len(),
        output.validator_permit.len(),
        output.server_emission.len(),
        output.validator_emission.len(),
        output.emission.len(),
        output.bonds.len(),
    ];
    prop_assert_eq!(lengths, [n; 11]);
    for amounts in [&output.server_emission, &output.validator_emission, &output.emission] {
        prop_assert!(total(amounts) <= u128::from(input.emission));
    }
    prop_assert!(total(&output.server_emission) + total(&output.validator_emission) <= u128::from(input.emission));
    for shares in [&output.stake_weight, &output.incentive, &output.dividends] {
        prop_assert!(total_u16(shares) <= 65_535);
    }
    for (row, permit) in output.bonds.iter().zip(&output.validator_permit) {
        prop_assert!(*permit || row.is_empty());
        prop_assert!(row.windows(2).all(|pair| pair[0].0 < pair[1].0));
        prop_assert!(row.iter().all(|(uid, _)| usize::from(*uid) < n));
    }
    Ok(())
}

/// The input with uid `i` renamed `order[i]`.
fn renamed(input: &EpochInput, order: &[usize]) -> EpochInput {
    fn moved<T: Clone + Default>(values: &[T], order: &[usize]) -> Vec<T> {
        let mut result = vec![T::default(); values.len()];
        values.iter().zip(order).for_each(|(value, to)| result[*to] = value.clone());
        result
    }
    let rows = |rows: &[Row]| -> Vec<Row> {
        let renamed: Vec<Row> = rows
            .iter()
            .map(|row| row.iter().map(|(uid, value)| (order[usize::from(*uid)] as u16, *value)).collect())
            .collect();
        moved(&renamed, order)
    };
    EpochInput {
        stake: moved(&input.stake, order),
        weights: rows(&input.weights),
        bonds: rows(&input.bonds),
        ..input.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_input_yields_a_sound_output(input in inputs()) {
        let output = epoch(&input);
        assert_sound(&input, &output)?;
        // Feeding the output back must be sound too.
        let next = EpochInput {
            block: input.block.saturating_add(1),
            validator_permit: output.validator_permit,
            bonds: output.bonds,
            ..input
        };
        assert_sound(&next, &epoch(&next))?;
    }

    #[test]
    fn renaming_uids_renames_the_result(input in healthy(6), order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle()) {
        let output = epoch(&input);
        let other = epoch(&renamed(&input, &order));
        for (uid, to) in order.iter().enumerate() {
            prop_assert_eq!(output.stake_weight[uid], other.stake_weight[*to]);
            prop_assert_eq!(output.consensus[uid], other.consensus[*to]);
            prop_assert_eq!(output.incentive[uid], other.incentive[*to]);
            prop_assert_eq!(output.dividends[uid], other.dividends[*to]);
            prop_assert_eq!(output.emission[uid], other.emission[*to]);
            let mut bonds: Row = output.bonds[uid].iter().map(|(uid, bond)| (order[usize::from(*uid)] as u16, *bond)).collect();
            bonds.sort_unstable();
            prop_assert_eq!(&bonds, &other.bonds[*to]);
        }
    }

    #[test]
    fn healthy_subnets_lose_next_to_nothing_of_their_emission(input in healthy(6)) {
        let output = epoch(&input);
        assert_sound(&input, &output)?;
        // A few units of 2^-32 of the emission per uid.
        let lost = u128::from(input.emission) - total(&output.emission);
        prop_assert!(lost <= (u128::from(input.emission) >> 32) * 32 + 32, "{} rao lost", lost);
    }

    #[test]
    fn one_validators_vote_is_taken_whole(weights in vec(1..=u16::MAX, 1..20)) {
        let n = weights.len() + 1;
        let mut input = EpochInput { block: 9, emission: 1 << 40, stake: vec![0; n], ..EpochInput::default() };
        input.stake[0] = 1;
        input.last_update = vec![8; n];
        input.validator_permit = vec![true];
        input.weights = vec![weights.iter().enumerate().map(|(index, weight)| (index as u16 + 1, *weight)).collect()];
        let output = epoch(&input);
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        for (index, weight) in weights.iter().enumerate() {
            let exact = u64::from(*weight) * 65_535 / sum;
            prop_assert!(u64::from(output.incentive[index + 1]).abs_diff(exact) <= 1);
        }
        prop_assert_eq!(output.incentive[0], 0);
        prop_assert!(output.dividends[0] >= 65_534);
    }

    #[test]
    fn sparse_median_equals_the_pivot_procedure(
        stake in vec(prop_oneof![Just(0i64), 1i64..8, any::<u32>().prop_map(i64::from)], 0..12),
        score in vec(vec(prop_oneof![2 => Just(0i64), 2 => 1i64..4, 1 => 0i64..1 << 32], 3), 12),
        majority in prop_oneof![0i64..=1 << 32, Just(2_147_450_879)],
    ) {
        let stake: Vec<I32F32> = stake.into_iter().map(I32F32::from_bits).collect();
        let dense: Vec<Vec<I32F32>> = score.iter().take(stake.len()).map(|row| row.iter().copied().map(I32F32::from_bits).collect()).collect();
        let sparse: SparseMatrix = dense.iter().map(|row| {
            row.iter().enumerate().filter(|(_, value)| **value != I32F32::ZERO).map(|(column, value)| (column as u16, *value)).collect()
        }).collect();
        let majority = I32F32::from_bits(majority);
        let columns = if dense.is_empty() { 0 } else { 3 };
        prop_assert_eq!(weighted_median_col(&stake, &dense, majority), weighted_median_col_sparse(&stake, &sparse, columns, majority));
    }

    #[test]
    fn numbers_never_panic(a in any::<i64>(), b in any::<i64>(), c in any::<i64>(), amount in any::<u64>()) {
        let [a, b, c] = [a, b, c].map(I32F32::from_bits);
        let product = (i128::from(a.to_bits()) * i128::from(b.to_bits())).div_euclid(1 << 32);
        prop_assert_eq!(i128::from(a.saturating_mul(b).to_bits()), product.clamp(i128::from(i64::MIN), i128::from(i64::MAX)));
        _ = (a.safe_div(b), a.round(), a.to_u16(), a.to_proportion(), a.of_amount(amount), exp_safe(a));
        let sigmoid = sigmoid_safe(a, b, c);
        prop_assert!(sigmoid >= I32F32::ZERO && sigmoid <= I32F32::ONE);
    }

    #[test]
    fn normalised_amounts_are_exact_quotients(amounts in vec(any::<u32>().prop_map(u64::from), 0..9), huge in vec(any::<u64>(), 0..9)) {
        let whole: u64 = amounts.iter().sum();
        let shares = normalize_amounts(&amounts);
        for (share, amount) in shares.iter().zip(&amounts) {
            prop_assert_eq!(*share, I32F32::from_ratio(*amount, whole));
        }
        prop_assert!(sum(&shares) <= I32F32::ONE);
        prop_assert!(sum(&normalize_amounts(&huge)) <= I32F32::ONE);
    }

    #[test]
    fn alpha_is_divided_without_rest(alpha in any::<u64>(), cut in any::<u16>(), root in any::<i64>()) {
        let split = split_alpha(alpha, cut, I32F32::from_bits(root));
        prop_assert_eq!(u128::from(split.owner) + u128::from(split.server) + u128::from(split.validator) + u128::from(split.root), u128::from(alpha));
    }

    #[test]
    fn emission_never_rises_with_issuance(a in any::<u64>(), b in 0u64..22_000_000_000_000_000) {
        let (less, more) = (a.min(b), a.max(b));
        prop_assert!(block_emission_for_issuance(less) >= block_emission_for_issuance(more));
    }
}
