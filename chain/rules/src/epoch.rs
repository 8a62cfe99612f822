//! The complete Yuma epoch: from stake, weights and bonds to consensus, incentive, dividends, permits and emission.
//!
//! [`epoch`] is a pure function. The flow, with the letters used below: stake `S`, active stake `A`, masked weights `W`, consensus `C`
//! (stake-weighted median), clipped weights `W̄`, rank and incentive `I`, bonds `B`, dividends `D`, shares of the emission.

mod reward;
mod state;

use alloc::vec::Vec;

use crate::bonds::{LiquidAlpha, compute_bonds_sparse};
use crate::fixed::{I32F32, normalize_amounts};
use crate::math::{
    SparseMatrix, col_clip_sparse, inplace_col_max_upscale_sparse, inplace_col_normalize_sparse, inplace_mask_vector,
    inplace_normalize, inplace_row_normalize_sparse, interpolate_sparse, is_topk_nonzero, keep_columns,
    mask_diag_sparse_except_index, mask_rows_sparse, mat_vec_mul_sparse, matmul_sparse, matmul_transpose_sparse,
    row_hadamard_sparse, row_sum_sparse, vec_mask_sparse_matrix, vec_mul, weighted_median_col_sparse,
};
use reward::Shares;
use state::State;

/// One stored row of weights or bonds: `(uid, value)` with the value in parts of 65535.
pub type Row = Vec<(u16, u16)>;

/// Hyperparameters of a subnet that the epoch reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hyperparameters {
    /// Blocks per epoch. Only used for the bond mask while `last_step_block` is zero.
    pub tempo: u16,
    /// Blocks without an update after which a uid's stake no longer counts; see [`crate::schedule::activity_cutoff`].
    pub activity_cutoff_blocks: u64,
    /// Majority of stake a weight needs, of 65535.
    pub kappa: u16,
    /// How far bonds follow clipped weights instead of raw ones, of 65535.
    pub bonds_penalty: u16,
    /// Inertia of bonds, per million.
    pub bonds_moving_average: u64,
    /// How many uids may hold a validator permit (the owner's comes on top).
    pub max_allowed_validators: u16,
    /// Absolute bonds (Yuma3) instead of relative ones (Yuma2).
    pub yuma3: bool,
    /// An α per pair of validator and server; acts under Yuma3 only.
    pub liquid_alpha: bool,
    /// Lower bound of the liquid α, of 65535.
    pub alpha_low: u16,
    /// Upper bound of the liquid α, of 65535.
    pub alpha_high: u16,
    /// Steepness of the liquid α, in hundredths.
    pub steepness: i16,
    /// Stake below this counts as none (the owner's uid excepted).
    pub stake_threshold: u64,
    /// The uid of the subnet owner's hotkey, if registered: always permitted, may weight itself.
    pub owner_uid: Option<u16>,
}

impl Default for Hyperparameters {
    /// The values a new subnet starts with on the public chain.
    fn default() -> Self {
        Self {
            tempo: 360,
            activity_cutoff_blocks: 5000,
            kappa: 32_767,
            bonds_penalty: u16::MAX,
            bonds_moving_average: 900_000,
            max_allowed_validators: 64,
            yuma3: true,
            liquid_alpha: false,
            alpha_low: 45_875,
            alpha_high: 58_982,
            steepness: 1000,
            stake_threshold: 0,
            owner_uid: None,
        }
    }
}

/// Everything one epoch reads. All vectors are indexed by uid; the number of uids is the length of `stake`.
///
/// Other lengths are tolerated: what is missing counts as zero, `false` or an empty row, what is too long is ignored, as are entries toward
/// uids that do not exist. Rows may be in any order; of several entries toward one uid the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochInput {
    /// The current block.
    pub block: u64,
    /// The block of the previous epoch's distribution; zero if there was none.
    pub last_step_block: u64,
    /// What the epoch hands out, in rao of alpha.
    pub emission: u64,
    /// Total stake weight per uid, in rao.
    pub stake: Vec<u64>,
    /// Block of the last weights (or commit) per uid.
    pub last_update: Vec<u64>,
    /// Block of registration per uid.
    pub block_at_registration: Vec<u64>,
    /// Permits of the previous epoch.
    pub validator_permit: Vec<bool>,
    /// Stored weight rows.
    pub weights: Vec<Row>,
    /// Stored bond rows.
    pub bonds: Vec<Row>,
    /// Only under commit-reveal: block of the earliest unexpired commit per uid, [`u64::MAX`] for none.
    pub commit_block: Option<Vec<u64>>,
    /// The subnet's settings.
    pub hyperparameters: Hyperparameters,
}

/// What an epoch yields, indexed by uid. `u16` values are fractions in parts of 65535, rounded down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EpochOutput {
    /// Share of the total stake.
    pub stake_weight: Vec<u16>,
    /// Whether the uid updated within the cutoff.
    pub active: Vec<bool>,
    /// Stake-weighted median of the weights toward the uid.
    pub consensus: Vec<u16>,
    /// Share of the servers' reward.
    pub incentive: Vec<u16>,
    /// Share of the validators' reward.
    pub dividends: Vec<u16>,
    /// How much of the uid's weights consensus supports.
    pub validator_trust: Vec<u16>,
    /// Permits for the next epoch.
    pub validator_permit: Vec<bool>,
    /// Reward as a server, in rao.
    pub server_emission: Vec<u64>,
    /// Reward as a validator, in rao.
    pub validator_emission: Vec<u64>,
    /// Both rewards together, in rao, computed from the joint share (up to one rao more than the parts).
    pub emission: Vec<u64>,
    /// Bond rows to store; uids without a new permit have an empty row.
    pub bonds: Vec<Row>,
}

/// Runs one epoch. Never panics; the sum of each emission vector never exceeds `input.emission`.
///
/// Permits lag: weights count if the uid held a permit *before* this epoch.
#[must_use]
pub fn epoch(input: &EpochInput) -> EpochOutput {
    let params = &input.hyperparameters;
    let state = State::load(input);
    let n = state.n;

    let stake = normalize_amounts(&state.counted_stake);
    let active_stake = active_stake(&stake, &state);
    let validator_permit = new_permits(&stake, params);

    let weights = masked_weights(&state, params);
    let consensus = weighted_median_col_sparse(&active_stake, &weights, n, I32F32::from_proportion(params.kappa));
    let clipped = col_clip_sparse(&weights, &consensus);
    let validator_trust = row_sum_sparse(&clipped);
    let mut incentive = matmul_sparse(&clipped, &active_stake, n);
    inplace_normalize(&mut incentive);

    let penalty = I32F32::from_proportion(params.bonds_penalty);
    let bond_weights = interpolate_sparse(&weights, &clipped, penalty);
    let bonded = if params.yuma3 {
        absolute_bonds(&state, params, &bond_weights, &consensus, &incentive, &active_stake)
    } else {
        relative_bonds(&state, params, &bond_weights, &incentive, &active_stake)
    };

    let shares = Shares::new(&incentive, &bonded.dividends, &active_stake, &stake);
    EpochOutput {
        stake_weight: proportions(&stake),
        active: state.active,
        consensus: proportions(&consensus),
        incentive: proportions(&incentive),
        dividends: proportions(&bonded.dividends),
        validator_trust: proportions(&validator_trust),
        server_emission: amounts(&shares.server, input.emission),
        validator_emission: amounts(&shares.validator, input.emission),
        emission: amounts(&shares.combined, input.emission),
        bonds: stored_bonds(&bonded.bonds, &validator_permit),
        validator_permit,
    }
}

/// Stake of active, permitted uids, renormalised.
fn active_stake(stake: &[I32F32], state: &State) -> Vec<I32F32> {
    let mut result = stake.to_vec();
    let masked: Vec<bool> = state.active.iter().zip(&state.permit).map(|(active, permit)| !active || !permit).collect();
    inplace_mask_vector(&masked, &mut result);
    inplace_normalize(&mut result);
    result
}

/// The uids with most stake, and the owner.
fn new_permits(stake: &[I32F32], params: &Hyperparameters) -> Vec<bool> {
    let mut permits = is_topk_nonzero(stake, usize::from(params.max_allowed_validators));
    if let Some(permit) = params.owner_uid.and_then(|uid| permits.get_mut(usize::from(uid))) {
        *permit = true;
    }
    permits
}

/// Weights that count: of permitted uids, not toward oneself, newer than the target's registration; rows sum to one.
fn masked_weights(state: &State, params: &Hyperparameters) -> SparseMatrix {
    let forbidden: Vec<bool> = state.permit.iter().map(|permit| !permit).collect();
    let weights = mask_rows_sparse(&forbidden, &state.weights);
    let weights = mask_diag_sparse_except_index(&weights, params.owner_uid);
    let mut weights = vec_mask_sparse_matrix(&weights, &state.last_update, &state.registered, |updated, registered| {
        updated <= registered
    });
    if let Some(commits) = &state.commit_block {
        weights =
            vec_mask_sparse_matrix(&weights, commits, &state.registered, |commit, registered| commit < registered);
    }
    inplace_row_normalize_sparse(&mut weights);
    weights
}

/// New bonds, in the scale in which they are stored, and the dividends they earn.
struct Bonded {
    bonds: SparseMatrix,
    dividends: Vec<I32F32>,
}

/// Yuma2: bonds are shares of a server, so each column sums to one; stored scaled to the largest.
fn relative_bonds(
    state: &State,
    params: &Hyperparameters,
    weights: &SparseMatrix,
    incentive: &[I32F32],
    active_stake: &[I32F32],
) -> Bonded {
    let mut old = keep_columns(&state.bonds_as_numbers(), |uid| state.bond_survives(uid));
    inplace_col_normalize_sparse(&mut old, state.n);
    let mut bought = row_hadamard_sparse(weights, active_stake);
    inplace_col_normalize_sparse(&mut bought, state.n);
    let mut bonds = compute_bonds_sparse(&bought, &old, &[], None, params.bonds_moving_average);
    inplace_col_normalize_sparse(&mut bonds, state.n);
    let mut dividends = matmul_transpose_sparse(&bonds, incentive);
    inplace_normalize(&mut dividends);
    inplace_col_max_upscale_sparse(&mut bonds, state.n);
    Bonded { bonds, dividends }
}

/// Yuma3: a bond is a fraction of full support, independent of stake; stake enters the dividends.
fn absolute_bonds(
    state: &State,
    params: &Hyperparameters,
    weights: &SparseMatrix,
    consensus: &[I32F32],
    incentive: &[I32F32],
    active_stake: &[I32F32],
) -> Bonded {
    let old = keep_columns(&state.bonds_as_proportions(), |uid| state.bond_survives(uid));
    let liquid = params.liquid_alpha.then(|| LiquidAlpha::new(params.alpha_low, params.alpha_high, params.steepness));
    let bonds = compute_bonds_sparse(weights, &old, consensus, liquid.as_ref(), params.bonds_moving_average);
    let mut shares = bonds.clone();
    inplace_col_normalize_sparse(&mut shares, state.n);
    let earned = row_sum_sparse(&mat_vec_mul_sparse(&shares, incentive));
    let mut dividends = vec_mul(&earned, active_stake);
    inplace_normalize(&mut dividends);
    Bonded { bonds, dividends }
}

fn proportions(values: &[I32F32]) -> Vec<u16> {
    values.iter().map(|value| value.to_proportion()).collect()
}

fn amounts(shares: &[I32F32], emission: u64) -> Vec<u64> {
    shares.iter().map(|share| share.of_amount(emission)).collect()
}

fn stored_bonds(bonds: &SparseMatrix, permits: &[bool]) -> Vec<Row> {
    let stored = |(row, permit): (&Vec<(u16, I32F32)>, &bool)| {
        let row = if *permit { row.as_slice() } else { &[] };
        row.iter().map(|(uid, value)| (*uid, value.to_proportion())).collect()
    };
    bonds.iter().zip(permits).map(stored).collect()
}
