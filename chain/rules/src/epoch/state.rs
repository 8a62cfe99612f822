//! The epoch's inputs brought to one length, with rows sorted and the per-uid conditions decided.

use alloc::vec::Vec;

use super::{EpochInput, Row};
use crate::fixed::I32F32;
use crate::math::SparseMatrix;

/// Inputs in working form; every vector has `n` elements.
pub(super) struct State {
    pub(super) n: usize,
    /// Stake after the threshold.
    pub(super) counted_stake: Vec<u64>,
    pub(super) active: Vec<bool>,
    /// Permits of the previous epoch, the owner's forced.
    pub(super) permit: Vec<bool>,
    pub(super) last_update: Vec<u64>,
    pub(super) registered: Vec<u64>,
    pub(super) commit_block: Option<Vec<u64>>,
    pub(super) weights: SparseMatrix,
    bonds: Vec<Row>,
    /// Bonds toward uids registered at or after this block are void.
    bond_cutoff: u64,
}

impl State {
    pub(super) fn load(input: &EpochInput) -> Self {
        let params = &input.hyperparameters;
        let n = input.stake.len();
        let owner = params.owner_uid.map(usize::from);
        let last_update = resized(&input.last_update, n, 0);
        let threshold = params.stake_threshold;
        let counted = |(uid, stake): (usize, &u64)| if *stake < threshold && Some(uid) != owner { 0 } else { *stake };
        let is_active = |updated: &u64| updated.saturating_add(params.activity_cutoff_blocks) >= input.block;
        let mut permit = resized(&input.validator_permit, n, false);
        if let Some(permit) = owner.and_then(|uid| permit.get_mut(uid)) {
            *permit = true;
        }
        Self {
            n,
            counted_stake: input.stake.iter().enumerate().map(counted).collect(),
            active: last_update.iter().map(is_active).collect(),
            permit,
            registered: resized(&input.block_at_registration, n, 0),
            commit_block: input.commit_block.as_ref().map(|blocks| resized(blocks, n, u64::MAX)),
            weights: mapped(&sorted_rows(&input.weights, n), I32F32::from),
            bonds: sorted_rows(&input.bonds, n),
            bond_cutoff: if input.last_step_block == 0 {
                input.block.saturating_sub(u64::from(params.tempo))
            } else {
                input.last_step_block.saturating_add(1)
            },
            last_update,
        }
    }

    /// Whether the uid is older than the previous epoch, so that bonds toward it are toward the same neuron.
    pub(super) fn bond_survives(&self, uid: u16) -> bool {
        self.registered.get(usize::from(uid)).is_some_and(|registered| self.bond_cutoff > *registered)
    }

    pub(super) fn bonds_as_numbers(&self) -> SparseMatrix {
        mapped(&self.bonds, I32F32::from)
    }

    pub(super) fn bonds_as_proportions(&self) -> SparseMatrix {
        mapped(&self.bonds, I32F32::from_proportion)
    }
}

fn resized<T: Copy>(values: &[T], n: usize, missing: T) -> Vec<T> {
    values.iter().copied().chain(core::iter::repeat(missing)).take(n).collect()
}

fn mapped(rows: &[Row], number: impl Fn(u16) -> I32F32) -> SparseMatrix {
    rows.iter().map(|row| row.iter().map(|(uid, value)| (*uid, number(*value))).collect()).collect()
}

/// `n` rows with ascending, unique, existing uids.
fn sorted_rows(rows: &[Row], n: usize) -> Vec<Row> {
    let empty = Row::new();
    let sorted = |row: &Row| {
        let mut row: Row = row.iter().copied().filter(|(uid, _)| usize::from(*uid) < n).collect();
        row.sort_by_key(|(uid, _)| *uid);
        // Of equal uids the later entry wins: it overwrites the one that `dedup_by` keeps.
        row.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
        row
    };
    rows.iter().chain(core::iter::repeat(&empty)).take(n).map(sorted).collect()
}
