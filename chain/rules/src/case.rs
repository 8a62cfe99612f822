//! One epoch as JSON: what `glia chain epoch --input CASE.json` reads and prints.
//!
//! A case is an object with `n`, `hyperparameters` and either `inputs` (one epoch) or `steps` (a list of objects with `inputs`, run one
//! after the other); other keys are ignored. The output has the keys of [`EpochOutput`]; a case with `steps` yields a list of them.
//!
//! In later steps, whatever `inputs` leaves out (or all of it) is carried on: stake, registrations, updates and weights from the step
//! before, permits and bonds from its *output*, and the block advances by one. For a step without `inputs` the case may list weights in
//! `raw_weights_by_epoch` (`"3"` or a range `"2..20"` of step numbers to one row of values per validator uid 0, 1, …) toward the uids of
//! `weight_uids`; these validators then count as updated in the block before.

mod check;
mod step;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::epoch::{EpochOutput, Row, epoch};
use step::Progress;

/// The largest number of uids in a case.
pub const MAX_UIDS: usize = u16::MAX as usize;

/// The most numbers (uids, weights and bonds over all steps) that the steps of one case may work through: short steps carry on large
/// matrices, so the length of the text bounds neither time nor memory.
pub const MAX_STEP_ELEMENTS: usize = 1 << 24;

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Number of uids, at most [`MAX_UIDS`].
    pub n: usize,
    /// Settings of the subnet and of this epoch.
    pub hyperparameters: CaseHyperparameters,
    /// The state before a single epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<CaseInputs>,
    /// Several epochs in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<CaseStep>>,
    /// Weights for steps without inputs, by step number or range of steps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub raw_weights_by_epoch: BTreeMap<String, Vec<Vec<u16>>>,
    /// The targets of `raw_weights_by_epoch`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weight_uids: Vec<u16>,
}

/// One step of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseStep {
    /// The state before the epoch, as far as it is not carried on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<CaseInputs>,
}

/// [`crate::epoch::Hyperparameters`] and the per-epoch numbers that the vectors list with them. All but `emission` have the defaults of a
/// new subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseHyperparameters {
    /// Blocks per epoch.
    #[serde(default = "defaults::tempo")]
    pub tempo: u16,
    /// Blocks until a silent uid is inactive.
    #[serde(default = "defaults::activity_cutoff_blocks")]
    pub activity_cutoff_blocks: u64,
    /// Majority, of 65535.
    #[serde(default = "defaults::kappa")]
    pub kappa: u16,
    /// Bonds penalty, of 65535.
    #[serde(default = "defaults::bonds_penalty")]
    pub bonds_penalty: u16,
    /// Inertia of bonds, per million.
    #[serde(default = "defaults::bonds_moving_average")]
    pub bonds_moving_average: u64,
    /// Number of permits.
    #[serde(default = "defaults::max_allowed_validators")]
    pub max_allowed_validators: u16,
    /// Yuma3 instead of Yuma2.
    #[serde(default = "defaults::yuma3")]
    pub yuma3: bool,
    /// Liquid α.
    #[serde(default)]
    pub liquid_alpha: bool,
    /// Lower bound of the liquid α, of 65535.
    #[serde(default = "defaults::alpha_low")]
    pub alpha_low: u16,
    /// Upper bound of the liquid α, of 65535.
    #[serde(default = "defaults::alpha_high")]
    pub alpha_high: u16,
    /// Steepness of the liquid α, in hundredths.
    #[serde(default = "defaults::steepness")]
    pub steepness: i16,
    /// Least stake that counts.
    #[serde(default)]
    pub stake_threshold: u64,
    /// The owner's uid.
    #[serde(default)]
    pub owner_uid: Option<u16>,
    /// Block of the previous distribution, zero for none.
    #[serde(default)]
    pub last_step_block: u64,
    /// Earliest open commit per uid (2^64 − 1 for none), absent without commit-reveal.
    #[serde(default)]
    pub commit_block: Option<Vec<u64>>,
    /// Rao to hand out in the epoch.
    pub emission: u64,
}

/// The state before an epoch, indexed by uid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaseInputs {
    /// The current block.
    pub block: Option<u64>,
    /// Stake in rao.
    pub stake: Option<Vec<u64>>,
    /// Block of the last update.
    pub last_update: Option<Vec<u64>>,
    /// Block of the registration.
    pub block_at_registration: Option<Vec<u64>>,
    /// Permits before the epoch.
    pub validator_permit: Option<Vec<bool>>,
    /// Weight rows.
    pub weights: Option<Vec<Row>>,
    /// Bond rows.
    pub bonds: Option<Vec<Row>>,
}

/// The result of a case: one output for `inputs`, a list for `steps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CaseOutput {
    /// The epoch of a case with `inputs`.
    Epoch(Box<EpochOutput>),
    /// The epochs of a case with `steps`.
    Steps(Vec<EpochOutput>),
}

/// Why a case cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// The text is not JSON of this shape.
    #[error("not a case: {0}")]
    Json(String),
    /// More uids than a subnet can address.
    #[error("n is {0}, more than {MAX_UIDS}")]
    TooManyUids(usize),
    /// Neither `inputs` nor `steps`, or both.
    #[error("a case needs either `inputs` or a non-empty list of `steps`")]
    NoInputs,
    /// A value that nothing before provides.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A vector does not have one element per uid.
    #[error("`{name}` has {found} elements for {n} uids")]
    Length {
        /// Name of the vector.
        name: &'static str,
        /// Its length.
        found: usize,
        /// Number of uids.
        n: usize,
    },
    /// A reference to a uid that does not exist.
    #[error("`{name}` names uid {uid} of {n} uids")]
    UnknownUid {
        /// Where it is named.
        name: &'static str,
        /// The uid.
        uid: u16,
        /// Number of uids.
        n: usize,
    },
    /// A row lists one uid twice.
    #[error("row {row} of `{name}` lists uid {uid} twice")]
    DuplicateUid {
        /// Name of the matrix.
        name: &'static str,
        /// Index of the row.
        row: usize,
        /// The uid.
        uid: u16,
    },
    /// A key of `raw_weights_by_epoch` that is neither a number nor a range.
    #[error("`{0}` is no step number and no range of steps")]
    StepRange(String),
    /// A row of `raw_weights_by_epoch` does not match `weight_uids`.
    #[error("`raw_weights_by_epoch` has a row of {found} values for {expected} uids")]
    RawRow {
        /// Values in the row.
        found: usize,
        /// Length of `weight_uids`.
        expected: usize,
    },
    /// The steps exceed [`MAX_STEP_ELEMENTS`].
    #[error("the steps work through more than {MAX_STEP_ELEMENTS} numbers")]
    TooMuchWork,
    /// The error of one step.
    #[error("step {index}: {error}")]
    Step {
        /// Index of the step.
        index: usize,
        /// What is wrong with it.
        error: Box<Self>,
    },
    /// The error of one case of a list.
    #[error("case {index}: {error}")]
    Case {
        /// Index of the case.
        index: usize,
        /// What is wrong with it.
        error: Box<Self>,
    },
}

/// Runs one case.
///
/// # Errors
/// See [`CaseError`]; nothing is computed for lengths or uids that do not fit.
pub fn run_case(case: &Case) -> Result<CaseOutput, CaseError> {
    check::case(case)?;
    match (&case.inputs, &case.steps) {
        (Some(inputs), None) => Ok(CaseOutput::Epoch(Box::new(epoch(Progress::start(case, inputs)?.input())))),
        (None, Some(steps)) => run_steps(case, steps, MAX_STEP_ELEMENTS).map(CaseOutput::Steps),
        _ => Err(CaseError::NoInputs),
    }
}

fn run_steps(case: &Case, steps: &[CaseStep], mut budget: usize) -> Result<Vec<EpochOutput>, CaseError> {
    let at = |index| move |error| CaseError::Step { index, error: Box::new(error) };
    let mut outputs: Vec<EpochOutput> = Vec::new();
    let mut progress: Option<Progress<'_>> = None;
    for (index, step) in steps.iter().enumerate() {
        let current = match progress.as_mut() {
            None => {
                let inputs = step.inputs.as_ref().ok_or(CaseError::Missing("inputs")).map_err(at(index))?;
                progress.insert(Progress::start(case, inputs).map_err(at(index))?)
            }
            Some(current) => {
                current.advance(index, step.inputs.as_ref()).map_err(at(index))?;
                current
            }
        };
        budget = budget.checked_sub(current.elements()).ok_or(CaseError::TooMuchWork)?;
        let output = epoch(current.input());
        current.finish(&output);
        outputs.push(output);
    }
    if outputs.is_empty() { Err(CaseError::NoInputs) } else { Ok(outputs) }
}

/// Runs the case, or the list of cases, of a JSON text and returns the result as indented JSON: a result or a list of results.
///
/// # Errors
/// See [`CaseError`].
pub fn run_json(text: &str) -> Result<String, CaseError> {
    let json = |error: serde_json::Error| CaseError::Json(error.to_string());
    // Decided by the first character, so that an error names what is wrong inside the case, with line and column.
    if !text.trim_start().starts_with('[') {
        let case: Case = serde_json::from_str(text).map_err(json)?;
        return serde_json::to_string_pretty(&run_case(&case)?).map_err(json);
    }
    let cases: Vec<Case> = serde_json::from_str(text).map_err(json)?;
    let mut outputs = Vec::with_capacity(cases.len());
    for (index, case) in cases.iter().enumerate() {
        let output = run_case(case).map_err(|error| CaseError::Case { index, error: Box::new(error) })?;
        outputs.push(output);
    }
    serde_json::to_string_pretty(&outputs).map_err(json)
}

/// The settings of a new subnet, for keys that a case leaves out.
mod defaults {
    use crate::epoch::Hyperparameters;

    macro_rules! default_of {
        ($($name:ident: $kind:ty),* $(,)?) => {
            $(pub(super) fn $name() -> $kind {
                Hyperparameters::default().$name
            })*
        };
    }

    default_of! {
        tempo: u16,
        activity_cutoff_blocks: u64,
        kappa: u16,
        bonds_penalty: u16,
        bonds_moving_average: u64,
        max_allowed_validators: u16,
        yuma3: bool,
        alpha_low: u16,
        alpha_high: u16,
        steepness: i16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_steps_on_a_large_state_are_bounded() {
        let text = r#"{"n": 2, "hyperparameters": {"emission": 1}, "steps": [{"inputs": {"block": 1, "stake": [1, 1],
            "last_update": [1, 1], "block_at_registration": [0, 0], "validator_permit": [false, false],
            "weights": [[[1, 1]], []], "bonds": [[], []]}}, {}, {}]}"#;
        let case: Case = serde_json::from_str(text).expect("a case");
        let steps = case.steps.as_deref().expect("steps");
        // Two uids, one weight and the step itself, three times; the bond of the second step counts in the third.
        assert_eq!(run_steps(&case, steps, 13).map(|outputs| outputs.len()), Ok(3));
        assert_eq!(run_steps(&case, steps, 12), Err(CaseError::TooMuchWork));
    }
}
