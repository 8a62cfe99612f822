//! Masks: what is removed from stake, weights and bonds before they count.

use alloc::vec::Vec;

use super::{SparseMatrix, SparseRow};
use crate::fixed::I32F32;

/// Sets masked values to zero.
pub fn inplace_mask_vector(mask: &[bool], values: &mut [I32F32]) {
    for (masked, value) in mask.iter().zip(values) {
        if *masked {
            *value = I32F32::ZERO;
        }
    }
}

/// Empties masked rows.
#[must_use]
pub fn mask_rows_sparse(mask: &[bool], matrix: &[SparseRow]) -> SparseMatrix {
    let masked = |row: usize| mask.get(row).copied().unwrap_or(false);
    matrix.iter().enumerate().map(|(row, entries)| if masked(row) { Vec::new() } else { entries.clone() }).collect()
}

/// Removes the diagonal.
#[must_use]
pub fn mask_diag_sparse(matrix: &[SparseRow]) -> SparseMatrix {
    mask_diag_sparse_except_index(matrix, None)
}

/// Removes the diagonal except for one row.
#[must_use]
pub fn mask_diag_sparse_except_index(matrix: &[SparseRow], except: Option<u16>) -> SparseMatrix {
    keep(matrix, |row, column| usize::from(column) != row || Some(column) == except)
}

/// Removes the entries for which `masked(first[row], second[column])` holds. Entries beyond either vector are removed too.
#[must_use]
pub fn vec_mask_sparse_matrix<A, B>(
    matrix: &[SparseRow],
    first: &[A],
    second: &[B],
    masked: impl Fn(&A, &B) -> bool,
) -> SparseMatrix {
    keep(matrix, |row, column| match (first.get(row), second.get(usize::from(column))) {
        (Some(first), Some(second)) => !masked(first, second),
        _ => false,
    })
}

/// Removes the columns for which `kept(column)` does not hold.
pub(crate) fn keep_columns(matrix: &[SparseRow], kept: impl Fn(u16) -> bool) -> SparseMatrix {
    keep(matrix, |_, column| kept(column))
}

fn keep(matrix: &[SparseRow], kept: impl Fn(usize, u16) -> bool) -> SparseMatrix {
    let row_of = |(row, entries): (usize, &SparseRow)| {
        entries.iter().copied().filter(|(column, _)| kept(row, *column)).collect()
    };
    matrix.iter().enumerate().map(row_of).collect()
}
