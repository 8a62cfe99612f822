//! From one step of a case to the next.

use super::{Case, CaseError, CaseInputs, check};
use crate::epoch::{EpochInput, EpochOutput, Hyperparameters};

/// The state of a case between its steps.
pub(super) struct Progress<'case> {
    case: &'case Case,
    input: EpochInput,
}

impl<'case> Progress<'case> {
    /// The first step: everything must be given.
    pub(super) fn start(case: &'case Case, inputs: &CaseInputs) -> Result<Self, CaseError> {
        let first = [
            ("block", inputs.block.is_some()),
            ("stake", inputs.stake.is_some()),
            ("last_update", inputs.last_update.is_some()),
            ("block_at_registration", inputs.block_at_registration.is_some()),
            ("validator_permit", inputs.validator_permit.is_some()),
            ("weights", inputs.weights.is_some()),
            ("bonds", inputs.bonds.is_some()),
        ];
        if let Some((name, _)) = first.into_iter().find(|(_, given)| !given) {
            return Err(CaseError::Missing(name));
        }
        let mut progress = Self { case, input: settings(case) };
        progress.take(inputs)?;
        Ok(progress)
    }

    /// A later step: what is not given is carried on.
    pub(super) fn advance(&mut self, index: usize, inputs: Option<&CaseInputs>) -> Result<(), CaseError> {
        self.input.block = self.input.block.saturating_add(1);
        match inputs {
            Some(inputs) => self.take(inputs),
            None => self.take_raw_weights(index),
        }
    }

    /// Permits and bonds of an epoch are the state before the next.
    pub(super) fn finish(&mut self, output: &EpochOutput) {
        self.input.validator_permit.clone_from(&output.validator_permit);
        self.input.bonds.clone_from(&output.bonds);
    }

    /// How many numbers the epoch goes through, about: a step without anything still costs one.
    pub(super) fn elements(&self) -> usize {
        let rows = self.input.weights.iter().chain(&self.input.bonds);
        rows.fold(self.input.stake.len().saturating_add(1), |total, row| total.saturating_add(row.len()))
    }

    pub(super) fn input(&self) -> &EpochInput {
        &self.input
    }

    fn take(&mut self, inputs: &CaseInputs) -> Result<(), CaseError> {
        check::inputs(inputs, self.case.n)?;
        let input = &mut self.input;
        replace(&mut input.block, &inputs.block);
        replace(&mut input.stake, &inputs.stake);
        replace(&mut input.last_update, &inputs.last_update);
        replace(&mut input.block_at_registration, &inputs.block_at_registration);
        replace(&mut input.validator_permit, &inputs.validator_permit);
        replace(&mut input.weights, &inputs.weights);
        replace(&mut input.bonds, &inputs.bonds);
        Ok(())
    }

    fn take_raw_weights(&mut self, index: usize) -> Result<(), CaseError> {
        for (range, rows) in &self.case.raw_weights_by_epoch {
            if !covers(range, index)? {
                continue;
            }
            let updated = self.input.block.saturating_sub(1);
            let state = self.input.weights.iter_mut().zip(&mut self.input.last_update);
            for (raw, (row, last_update)) in rows.iter().zip(state) {
                *row = self.case.weight_uids.iter().copied().zip(raw.iter().copied()).collect();
                *last_update = updated;
            }
        }
        Ok(())
    }
}

fn replace<T: Clone>(slot: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        slot.clone_from(value);
    }
}

/// Whether a key like `7` or `2..20` (both ends included) covers a step.
fn covers(range: &str, index: usize) -> Result<bool, CaseError> {
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| CaseError::StepRange(range.into()));
    match range.split_once("..") {
        Some((first, last)) => Ok((number(first)?..=number(last)?).contains(&index)),
        None => Ok(number(range)? == index),
    }
}

fn settings(case: &Case) -> EpochInput {
    let given = &case.hyperparameters;
    EpochInput {
        last_step_block: given.last_step_block,
        emission: given.emission,
        commit_block: given.commit_block.clone(),
        hyperparameters: Hyperparameters {
            tempo: given.tempo,
            activity_cutoff_blocks: given.activity_cutoff_blocks,
            kappa: given.kappa,
            bonds_penalty: given.bonds_penalty,
            bonds_moving_average: given.bonds_moving_average,
            max_allowed_validators: given.max_allowed_validators,
            yuma3: given.yuma3,
            liquid_alpha: given.liquid_alpha,
            alpha_low: given.alpha_low,
            alpha_high: given.alpha_high,
            steepness: given.steepness,
            stake_threshold: given.stake_threshold,
            owner_uid: given.owner_uid,
        },
        ..EpochInput::default()
    }
}
