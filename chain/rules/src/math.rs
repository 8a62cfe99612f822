//! Vectors and matrices of [`I32F32`]: the steps the epoch is made of.
//!
//! A sparse row lists `(column, value)` in ascending order of columns, each column at most once; a sparse matrix is a list of rows.
//! Lengths that do not fit together never panic: the shorter one decides, missing values count as zero.

mod dense;
mod mask;
mod median;
mod sparse;
mod topk;
mod vector;

use alloc::vec::Vec;

use crate::fixed::I32F32;

pub use dense::{
    inplace_col_clip, inplace_col_max_upscale, inplace_col_normalize, inplace_mask_diag,
    inplace_mask_diag_except_index, inplace_mask_matrix, inplace_mask_rows, inplace_row_normalize, interpolate,
    mat_vec_mul, matmul, matmul_transpose, row_hadamard, row_sum, weighted_median_col,
};
pub(crate) use mask::keep_columns;
pub use mask::{
    inplace_mask_vector, mask_diag_sparse, mask_diag_sparse_except_index, mask_rows_sparse, vec_mask_sparse_matrix,
};
pub use median::{weighted_median, weighted_median_col_sparse};
pub(crate) use sparse::merge_rows;
pub use sparse::{
    col_clip_sparse, inplace_col_max_upscale_sparse, inplace_col_normalize_sparse, inplace_row_normalize_sparse,
    interpolate_sparse, mat_vec_mul_sparse, matmul_sparse, matmul_transpose_sparse, row_hadamard_sparse,
    row_sum_sparse,
};
pub use topk::{is_topk, is_topk_nonzero};
pub use vector::{
    check_vec_max_limited, checked_sum, inplace_normalize, inplace_normalize_using_sum, normalize,
    vec_max_upscale_to_u16, vec_mul, vec_u16_max_upscale_to_u16, vecdiv,
};

/// One row of a sparse matrix: `(column, value)`, columns ascending and unique.
pub type SparseRow = Vec<(u16, I32F32)>;
/// Rows of a sparse matrix.
pub type SparseMatrix = Vec<SparseRow>;
/// Rows of a dense matrix, all of the same length.
pub type DenseMatrix = Vec<Vec<I32F32>>;
