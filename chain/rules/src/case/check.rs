//! What must hold before a case is run.

use alloc::vec;

use super::{Case, CaseError, CaseInputs, MAX_UIDS};
use crate::epoch::Row;

/// Checks everything of a case but its inputs.
pub(super) fn case(case: &Case) -> Result<(), CaseError> {
    let n = case.n;
    if n > MAX_UIDS {
        return Err(CaseError::TooManyUids(n));
    }
    if let Some(uid) = case.hyperparameters.owner_uid {
        known("owner_uid", uid, n)?;
    }
    if let Some(blocks) = &case.hyperparameters.commit_block {
        length("commit_block", blocks.len(), n)?;
    }
    unique("weight_uids", 0, case.weight_uids.iter().copied(), n)?;
    for rows in case.raw_weights_by_epoch.values() {
        if rows.len() > n {
            return Err(CaseError::Length { name: "raw_weights_by_epoch", found: rows.len(), n });
        }
        if let Some(row) = rows.iter().find(|row| row.len() != case.weight_uids.len()) {
            return Err(CaseError::RawRow { found: row.len(), expected: case.weight_uids.len() });
        }
    }
    Ok(())
}

/// Checks the parts of the inputs that are given.
pub(super) fn inputs(inputs: &CaseInputs, n: usize) -> Result<(), CaseError> {
    let lengths = [
        ("stake", inputs.stake.as_ref().map(|values| values.len())),
        ("last_update", inputs.last_update.as_ref().map(|values| values.len())),
        ("block_at_registration", inputs.block_at_registration.as_ref().map(|values| values.len())),
        ("validator_permit", inputs.validator_permit.as_ref().map(|values| values.len())),
    ];
    for (name, found) in lengths {
        length(name, found.unwrap_or(n), n)?;
    }
    for (name, rows) in [("weights", &inputs.weights), ("bonds", &inputs.bonds)] {
        if let Some(rows) = rows {
            matrix(name, rows, n)?;
        }
    }
    Ok(())
}

fn matrix(name: &'static str, rows: &[Row], n: usize) -> Result<(), CaseError> {
    length(name, rows.len(), n)?;
    rows.iter().enumerate().try_for_each(|(index, row)| unique(name, index, row.iter().map(|(uid, _)| *uid), n))
}

fn unique(name: &'static str, row: usize, uids: impl Iterator<Item = u16>, n: usize) -> Result<(), CaseError> {
    // Sized by what is really there, not by `n`.
    let mut seen = vec![];
    for uid in uids {
        known(name, uid, n)?;
        seen.push(uid);
    }
    seen.sort_unstable();
    match seen.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(CaseError::DuplicateUid { name, row, uid: pair[0] }),
        None => Ok(()),
    }
}

fn length(name: &'static str, found: usize, n: usize) -> Result<(), CaseError> {
    if found == n { Ok(()) } else { Err(CaseError::Length { name, found, n }) }
}

fn known(name: &'static str, uid: u16, n: usize) -> Result<(), CaseError> {
    if usize::from(uid) < n { Ok(()) } else { Err(CaseError::UnknownUid { name, uid, n }) }
}
