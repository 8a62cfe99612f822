//! Dense matrices: the twins of the sparse steps. The epoch uses the sparse ones; these serve checks and small tools.

use alloc::vec;
use alloc::vec::Vec;

use super::{DenseMatrix, inplace_normalize, weighted_median};
use crate::fixed::{I32F32, sum};

/// Divides each row by its sum; rows that sum to zero stay.
pub fn inplace_row_normalize(matrix: &mut [Vec<I32F32>]) {
    for row in matrix {
        inplace_normalize(row);
    }
}

/// Divides each column by its sum; columns that sum to zero stay.
pub fn inplace_col_normalize(matrix: &mut [Vec<I32F32>]) {
    let totals = fold_columns(matrix, I32F32::saturating_add);
    divide_columns(matrix, &totals);
}

/// Divides each column by its largest value; columns without a positive value stay.
pub fn inplace_col_max_upscale(matrix: &mut [Vec<I32F32>]) {
    let maxima = fold_columns(matrix, Ord::max);
    divide_columns(matrix, &maxima);
}

fn fold_columns(matrix: &[Vec<I32F32>], join: impl Fn(I32F32, I32F32) -> I32F32) -> Vec<I32F32> {
    let mut result = vec![I32F32::ZERO; matrix.first().map_or(0, Vec::len)];
    for row in matrix {
        for (slot, value) in result.iter_mut().zip(row) {
            *slot = join(*slot, *value);
        }
    }
    result
}

fn divide_columns(matrix: &mut [Vec<I32F32>], divisors: &[I32F32]) {
    for row in matrix {
        for (value, divisor) in row.iter_mut().zip(divisors) {
            if *divisor != I32F32::ZERO {
                *value = value.safe_div(*divisor);
            }
        }
    }
}

/// Sets masked entries to zero.
pub fn inplace_mask_matrix(mask: &[Vec<bool>], matrix: &mut [Vec<I32F32>]) {
    for (mask, row) in mask.iter().zip(matrix) {
        super::inplace_mask_vector(mask, row);
    }
}

/// Sets masked rows to zero.
pub fn inplace_mask_rows(mask: &[bool], matrix: &mut [Vec<I32F32>]) {
    for (masked, row) in mask.iter().zip(matrix) {
        if *masked {
            row.fill(I32F32::ZERO);
        }
    }
}

/// Sets the diagonal to zero.
pub fn inplace_mask_diag(matrix: &mut [Vec<I32F32>]) {
    inplace_mask_diag_except_index(matrix, None);
}

/// Sets the diagonal to zero except for one row.
pub fn inplace_mask_diag_except_index(matrix: &mut [Vec<I32F32>], except: Option<u16>) {
    for (index, row) in matrix.iter_mut().enumerate() {
        if except.map(usize::from) == Some(index) {
            continue;
        }
        if let Some(value) = row.get_mut(index) {
            *value = I32F32::ZERO;
        }
    }
}

/// Scales entry `(i, j)` by `vector[j]`.
#[must_use]
pub fn mat_vec_mul(matrix: &[Vec<I32F32>], vector: &[I32F32]) -> DenseMatrix {
    matrix.iter().map(|row| super::vec_mul(row, vector)).collect()
}

/// Scales row `i` by `vector[i]`.
#[must_use]
pub fn row_hadamard(matrix: &[Vec<I32F32>], vector: &[I32F32]) -> DenseMatrix {
    let scaled =
        |(row, factor): (&Vec<I32F32>, &I32F32)| row.iter().map(|value| value.saturating_mul(*factor)).collect();
    matrix.iter().zip(vector).map(scaled).collect()
}

/// Sum of each row.
#[must_use]
pub fn row_sum(matrix: &[Vec<I32F32>]) -> Vec<I32F32> {
    matrix.iter().map(|row| sum(row)).collect()
}

/// `result[j] = Σ_i vector[i] · matrix[i][j]`.
#[must_use]
pub fn matmul(matrix: &[Vec<I32F32>], vector: &[I32F32]) -> Vec<I32F32> {
    fold_columns(&row_hadamard(matrix, vector), I32F32::saturating_add)
}

/// `result[i] = Σ_j vector[j] · matrix[i][j]`.
#[must_use]
pub fn matmul_transpose(matrix: &[Vec<I32F32>], vector: &[I32F32]) -> Vec<I32F32> {
    row_sum(&mat_vec_mul(matrix, vector))
}

/// Limits each entry to its column's threshold.
pub fn inplace_col_clip(matrix: &mut [Vec<I32F32>], threshold: &[I32F32]) {
    for row in matrix {
        for (value, limit) in row.iter_mut().zip(threshold) {
            *value = (*value).min(*limit);
        }
    }
}

/// `a + ratio · (b − a)` per position; exactly `a` for ratio 0 and `b` for ratio 1.
#[must_use]
pub fn interpolate(a: &[Vec<I32F32>], b: &[Vec<I32F32>], ratio: I32F32) -> DenseMatrix {
    if ratio == I32F32::ZERO {
        return a.to_vec();
    }
    if ratio == I32F32::ONE {
        return b.to_vec();
    }
    let mixed = |(a, b): (&I32F32, &I32F32)| a.saturating_add(ratio.saturating_mul(b.saturating_sub(*a)));
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(mixed).collect()).collect()
}

/// Weighted median of each column over the rows with positive stake (renormalised), by the plain pivot procedure.
#[must_use]
pub fn weighted_median_col(stake: &[I32F32], score: &[Vec<I32F32>], majority: I32F32) -> Vec<I32F32> {
    let rows = || stake.iter().zip(score).filter(|(stake, _)| **stake > I32F32::ZERO);
    let mut active: Vec<I32F32> = rows().map(|(stake, _)| *stake).collect();
    inplace_normalize(&mut active);
    let total = sum(&active);
    let partition: Vec<usize> = (0..active.len()).collect();
    (0..score.first().map_or(0, Vec::len))
        .map(|column| {
            let scores: Vec<I32F32> = rows().map(|(_, row)| row.get(column).copied().unwrap_or_default()).collect();
            weighted_median(&active, &scores, &partition, total.saturating_sub(majority), I32F32::ZERO, total)
        })
        .collect()
}
