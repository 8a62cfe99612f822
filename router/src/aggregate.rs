//! From answers to one answer: check, calibrate, pool linearly over those who answered, sharpen.
//!
//! A linear pool bounds what one member can do: its answer moves the pool by at most its weight. A product would let one
//! confident liar veto a class for everybody.

use glia_protocol::schema::TaskSchema;
use glia_protocol::{ContentHash, DType, ForwardResponse};

/// How far a row's sum may be from 1.
const SIMPLEX_TOLERANCE: f32 = 1e-3;
/// Probabilities are taken as at least this before a logarithm.
const FLOOR: f32 = 1e-6;

/// Why an answer does not count. The sender is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Another checkpoint answered.
    #[error("checkpoint {0} answered instead of the one asked")]
    Checkpoint(ContentHash),
    /// Not exactly one tensor of the name, dtype and shape of the schema.
    #[error("the answer does not have the shape of the subnet's output")]
    Shape,
    /// A value is NaN or infinite.
    #[error("the answer has a value that is no number")]
    NotFinite,
    /// A row is no probability distribution.
    #[error("the answer is no probability distribution")]
    NotSimplex,
}

/// Reads the rows of an answer to `items` inputs; every row is a distribution with sum exactly renormalised.
pub fn read_rows(
    schema: &TaskSchema,
    checkpoint: ContentHash,
    items: usize,
    response: &ForwardResponse,
) -> Result<Vec<Vec<f32>>, AnswerError> {
    if response.checkpoint != checkpoint {
        return Err(AnswerError::Checkpoint(response.checkpoint));
    }
    let [tensor] = response.tensors.as_slice() else { return Err(AnswerError::Shape) };
    let classes = schema.classes().len();
    let is_float = matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16);
    if !schema.output.accepts(tensor) || !is_float || tensor.batch() as usize != items || classes == 0 {
        return Err(AnswerError::Shape);
    }
    tensor.to_f32().chunks_exact(classes).map(check_row).collect()
}

fn check_row(row: &[f32]) -> Result<Vec<f32>, AnswerError> {
    if !row.iter().all(|p| p.is_finite()) {
        return Err(AnswerError::NotFinite);
    }
    let sum: f32 = row.iter().sum();
    if (sum - 1.0).abs() > SIMPLEX_TOLERANCE || row.iter().any(|&p| !(-SIMPLEX_TOLERANCE..=1.1).contains(&p)) {
        return Err(AnswerError::NotSimplex);
    }
    let clean: Vec<f32> = row.iter().map(|p| p.max(0.0)).collect();
    let sum: f32 = clean.iter().sum();
    Ok(clean.iter().map(|p| p / sum).collect())
}

/// p^sharpness, renormalised: sharper above 1, flatter below.
#[must_use]
pub fn sharpen(row: &[f32], sharpness: f32) -> Vec<f32> {
    let mut out: Vec<f32> = row.iter().map(|p| sharpness * p.max(FLOOR).ln()).collect();
    crate::gate::softmax(&mut out);
    out
}

/// Σ w_i p_i over `classes` classes; weights sum to 1, rows are as long as `classes`.
#[must_use]
pub fn linear_pool<R: AsRef<[f32]>>(weights: &[f32], rows: &[R], classes: usize) -> Vec<f32> {
    let mut pool = vec![0.0; classes];
    for (weight, row) in weights.iter().zip(rows) {
        pool.iter_mut().zip(row.as_ref()).for_each(|(q, p)| *q += weight * p);
    }
    pool
}

/// Index of the largest probability, the first of equals.
#[must_use]
pub fn top_class(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use glia_protocol::schema::{Task, TensorSpec};
    use glia_protocol::{RequestId, Tensor};

    use super::*;

    fn schema() -> TaskSchema {
        TaskSchema {
            task: Task::Classification { classes: vec!["a".into(), "b".into()] },
            input: TensorSpec { name: "x".into(), dtype: DType::F32, shape: vec![1] },
            output: TensorSpec { name: "p".into(), dtype: DType::F32, shape: vec![2] },
        }
    }

    fn answer(name: &str, shape: &[u32], values: &[f32]) -> ForwardResponse {
        ForwardResponse {
            id: RequestId([0; 16]),
            checkpoint: ContentHash([1; 32]),
            queue_us: 0,
            compute_us: 0,
            batch: 1,
            tensors: vec![Tensor::from_f32(name, shape, values).unwrap()],
            receipt: None,
        }
    }

    fn read(items: usize, response: &ForwardResponse) -> Result<Vec<Vec<f32>>, AnswerError> {
        read_rows(&schema(), ContentHash([1; 32]), items, response)
    }

    #[test]
    fn a_proper_answer_is_read() {
        assert_eq!(read(2, &answer("p", &[2, 2], &[0.25, 0.75, 1.0, 0.0])).unwrap(), [[0.25, 0.75], [1.0, 0.0]]);
    }

    #[test]
    fn nan_answer_is_refused() {
        assert_eq!(read(1, &answer("p", &[1, 2], &[f32::NAN, 1.0])), Err(AnswerError::NotFinite));
        assert_eq!(read(1, &answer("p", &[1, 2], &[f32::INFINITY, 1.0])), Err(AnswerError::NotFinite));
    }

    #[test]
    fn an_answer_that_is_no_distribution_is_refused() {
        assert_eq!(read(1, &answer("p", &[1, 2], &[0.5, 0.6])), Err(AnswerError::NotSimplex));
        assert_eq!(read(1, &answer("p", &[1, 2], &[-1.0, 2.0])), Err(AnswerError::NotSimplex));
        assert_eq!(read(1, &answer("p", &[1, 2], &[0.0, 0.0])), Err(AnswerError::NotSimplex));
    }

    #[test]
    fn an_answer_of_another_shape_name_or_checkpoint_is_refused() {
        assert_eq!(read(1, &answer("q", &[1, 2], &[0.5, 0.5])), Err(AnswerError::Shape));
        assert_eq!(read(2, &answer("p", &[1, 2], &[0.5, 0.5])), Err(AnswerError::Shape));
        assert_eq!(read(1, &answer("p", &[2], &[0.5, 0.5])), Err(AnswerError::Shape));
        let other = ForwardResponse { checkpoint: ContentHash([2; 32]), ..answer("p", &[1, 2], &[0.5, 0.5]) };
        assert_eq!(read(1, &other), Err(AnswerError::Checkpoint(ContentHash([2; 32]))));
    }

    #[test]
    fn the_pool_moves_by_no_more_than_a_members_weight() {
        let honest = linear_pool(&[0.9, 0.1], &[[0.8, 0.2], [0.8, 0.2]], 2);
        let lied_to = linear_pool(&[0.9, 0.1], &[[0.8, 0.2], [0.0, 1.0]], 2);
        assert!((honest[0] - lied_to[0]).abs() <= 0.1);
    }

    #[test]
    fn sharpening_keeps_the_order_and_the_sum() {
        let row = [0.5, 0.3, 0.2];
        let sharp = sharpen(&row, 2.0);
        assert!(sharp[0] > row[0] && sharp[2] < row[2]);
        assert!((sharp.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let same = sharpen(&row, 1.0);
        assert!(same.iter().zip(&row).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
