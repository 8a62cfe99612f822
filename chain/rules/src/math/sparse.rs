//! Sparse matrices: normalising, products with vectors, clipping, mixing.

use alloc::vec;
use alloc::vec::Vec;

use super::{SparseMatrix, SparseRow};
use crate::fixed::I32F32;

/// Divides each row by its sum; rows whose sum is not positive stay.
pub fn inplace_row_normalize_sparse(matrix: &mut [SparseRow]) {
    for row in matrix {
        let total = row.iter().fold(I32F32::ZERO, |total, (_, value)| total.saturating_add(*value));
        if total > I32F32::ZERO {
            for (_, value) in row {
                *value = value.safe_div(total);
            }
        }
    }
}

/// Divides each of `columns` columns by its sum; columns that sum to zero stay.
pub fn inplace_col_normalize_sparse(matrix: &mut [SparseRow], columns: usize) {
    let totals = fold_columns(matrix, columns, I32F32::saturating_add);
    divide_columns(matrix, &totals);
}

/// Divides each of `columns` columns by its largest value; columns without a positive value stay.
pub fn inplace_col_max_upscale_sparse(matrix: &mut [SparseRow], columns: usize) {
    let maxima = fold_columns(matrix, columns, Ord::max);
    divide_columns(matrix, &maxima);
}

fn fold_columns(matrix: &[SparseRow], columns: usize, join: impl Fn(I32F32, I32F32) -> I32F32) -> Vec<I32F32> {
    let mut result = vec![I32F32::ZERO; columns];
    for (column, value) in matrix.iter().flatten() {
        if let Some(slot) = result.get_mut(usize::from(*column)) {
            *slot = join(*slot, *value);
        }
    }
    result
}

fn divide_columns(matrix: &mut [SparseRow], divisors: &[I32F32]) {
    for (column, value) in matrix.iter_mut().flatten() {
        match divisors.get(usize::from(*column)) {
            Some(divisor) if *divisor != I32F32::ZERO => *value = value.safe_div(*divisor),
            _ => {}
        }
    }
}

/// Scales entry `(i, j)` by `vector[j]`; products that are not positive are dropped.
#[must_use]
pub fn mat_vec_mul_sparse(matrix: &[SparseRow], vector: &[I32F32]) -> SparseMatrix {
    let scaled = |(column, value): &(u16, I32F32)| {
        let factor = vector.get(usize::from(*column)).copied().unwrap_or_default();
        let product = value.saturating_mul(factor);
        (product > I32F32::ZERO).then_some((*column, product))
    };
    matrix.iter().map(|row| row.iter().filter_map(scaled).collect()).collect()
}

/// Scales row `i` by `vector[i]`.
#[must_use]
pub fn row_hadamard_sparse(matrix: &[SparseRow], vector: &[I32F32]) -> SparseMatrix {
    let factors = vector.iter().copied().chain(core::iter::repeat(I32F32::ZERO));
    let scaled = |(row, factor): (&SparseRow, I32F32)| {
        row.iter().map(|(column, value)| (*column, value.saturating_mul(factor))).collect()
    };
    matrix.iter().zip(factors).map(scaled).collect()
}

/// Sum of each row.
#[must_use]
pub fn row_sum_sparse(matrix: &[SparseRow]) -> Vec<I32F32> {
    let total = |row: &SparseRow| row.iter().fold(I32F32::ZERO, |total, (_, value)| total.saturating_add(*value));
    matrix.iter().map(total).collect()
}

/// `result[j] = Σ_i vector[i] · matrix[i][j]` for each of `columns` columns.
#[must_use]
pub fn matmul_sparse(matrix: &[SparseRow], vector: &[I32F32], columns: usize) -> Vec<I32F32> {
    let mut result = vec![I32F32::ZERO; columns];
    for (row, factor) in matrix.iter().zip(vector) {
        for (column, value) in row {
            if let Some(slot) = result.get_mut(usize::from(*column)) {
                *slot = slot.saturating_add(factor.saturating_mul(*value));
            }
        }
    }
    result
}

/// `result[i] = Σ_j vector[j] · matrix[i][j]`.
#[must_use]
pub fn matmul_transpose_sparse(matrix: &[SparseRow], vector: &[I32F32]) -> Vec<I32F32> {
    let product = |total: I32F32, (column, value): &(u16, I32F32)| {
        let factor = vector.get(usize::from(*column)).copied().unwrap_or_default();
        total.saturating_add(factor.saturating_mul(*value))
    };
    matrix.iter().map(|row| row.iter().fold(I32F32::ZERO, product)).collect()
}

/// Limits each entry to its column's threshold. An entry above a threshold that is not positive is dropped, not stored as zero.
#[must_use]
pub fn col_clip_sparse(matrix: &[SparseRow], threshold: &[I32F32]) -> SparseMatrix {
    let clipped = |(column, value): &(u16, I32F32)| {
        let limit = threshold.get(usize::from(*column)).copied().unwrap_or_default();
        if *value <= limit { Some((*column, *value)) } else { (limit > I32F32::ZERO).then_some((*column, limit)) }
    };
    matrix.iter().map(|row| row.iter().filter_map(clipped).collect()).collect()
}

/// `a + ratio · (b − a)` per position; exactly `a` for ratio 0 and `b` for ratio 1, otherwise only positive results are kept.
#[must_use]
pub fn interpolate_sparse(a: &[SparseRow], b: &[SparseRow], ratio: I32F32) -> SparseMatrix {
    if ratio == I32F32::ZERO {
        return a.to_vec();
    }
    if ratio == I32F32::ONE {
        return b.to_vec();
    }
    merge_rows(a, b, |_, _, a, b| a.saturating_add(ratio.saturating_mul(b.saturating_sub(a))))
}

/// Combines two matrices position by position (`join(row, column, a, b)`, a missing entry is zero); keeps positive results only.
pub(crate) fn merge_rows(
    a: &[SparseRow],
    b: &[SparseRow],
    join: impl Fn(usize, u16, I32F32, I32F32) -> I32F32,
) -> SparseMatrix {
    let empty = SparseRow::new();
    (0..a.len().max(b.len()))
        .map(|index| {
            merge_row(a.get(index).unwrap_or(&empty), b.get(index).unwrap_or(&empty), |column, a, b| {
                join(index, column, a, b)
            })
        })
        .collect()
}

fn merge_row(a: &[(u16, I32F32)], b: &[(u16, I32F32)], join: impl Fn(u16, I32F32, I32F32) -> I32F32) -> SparseRow {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    let mut result = Vec::new();
    loop {
        let column = match (a.peek(), b.peek()) {
            (None, None) => return result,
            (Some((column, _)), None) | (None, Some((column, _))) => *column,
            (Some((left, _)), Some((right, _))) => *left.min(right),
        };
        let left = a.next_if(|(other, _)| *other == column).map_or(I32F32::ZERO, |(_, value)| value);
        let right = b.next_if(|(other, _)| *other == column).map_or(I32F32::ZERO, |(_, value)| value);
        let value = join(column, left, right);
        if value > I32F32::ZERO {
            result.push((column, value));
        }
    }
}
