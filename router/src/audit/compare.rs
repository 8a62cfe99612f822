//! Whether two answers are the same answer.

use glia_protocol::{DType, Tensor};

/// Largest relative L2 distance per item between two answers that count as the same.
///
/// The first class of such a pair can differ only between classes that the recomputation itself holds for equal (within
/// √2 of this share of the answer's length), so no rule about it is needed, and nobody is condemned for a tie.
pub const TOLERANCE: f32 = 1e-3;
/// The same for answers in bfloat16, which has 8 bits of precision.
const COARSE: f32 = 1e-2;
/// Added to the length of an answer, so that one of zeros can be compared.
const NEAR_ZERO: f32 = 1e-6;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The same answer.
    Same,
    /// Another answer; a sentence says where and by how much.
    Differs(String),
    /// The recomputation says nothing, and why.
    Unclear(String),
}

/// Distance per item that is allowed for answers in `dtype`.
#[must_use]
pub const fn tolerance(dtype: DType) -> f32 {
    match dtype {
        DType::BF16 => COARSE,
        DType::F32 | DType::F16 | DType::I64 | DType::U8 => TOLERANCE,
    }
}

/// Compares what was `answered` with what the checkpoint computes, item by item: one wrong item of a batch is enough.
#[must_use]
pub fn compare(answered: &Tensor, recomputed: &Tensor) -> Comparison {
    if answered.dtype() != recomputed.dtype() || answered.shape() != recomputed.shape() {
        let (got, want) = (answered.shape(), recomputed.shape());
        let (is, was) = (answered.dtype(), recomputed.dtype());
        return Comparison::Differs(format!("it answered {is:?} of shape {got:?}, its checkpoint {was:?} of {want:?}"));
    }
    if answered.data() == recomputed.data() {
        return Comparison::Same;
    }
    let allowed = tolerance(answered.dtype());
    let (got, want) = (answered.to_f32(), recomputed.to_f32());
    let items = (answered.batch() as usize).max(1);
    let row = (want.len() / items).max(1);
    if !want.iter().all(|value| value.is_finite()) {
        return Comparison::Unclear("the checkpoint computes something that is no number".to_owned());
    }
    for (item, (got, want)) in got.chunks(row).zip(want.chunks(row)).enumerate() {
        let length = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let distance = length(&mut got.iter().zip(want).map(|(a, b)| a - b));
        let share = distance / (length(&mut want.iter().copied()) + f64::from(NEAR_ZERO));
        // What is no number differs.
        if share.is_nan() || share > f64::from(allowed) {
            return Comparison::Differs(format!(
                "item {item} is off by {share:.2e} of its length, {allowed:e} is allowed"
            ));
        }
    }
    Comparison::Same
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(shape: &[u32], values: &[f32]) -> Tensor {
        Tensor::from_f32("p", shape, values).unwrap()
    }

    #[test]
    fn rounding_is_the_same_answer_and_a_lie_in_one_item_is_not() {
        let want = rows(&[2, 2], &[0.9, 0.1, 0.5, 0.5]);
        assert_eq!(compare(&rows(&[2, 2], &[0.9, 0.1, 0.5, 0.5]), &want), Comparison::Same);
        assert_eq!(compare(&rows(&[2, 2], &[0.900_1, 0.099_9, 0.5, 0.5]), &want), Comparison::Same);
        let lie = compare(&rows(&[2, 2], &[0.9, 0.1, 0.4, 0.6]), &want);
        assert!(matches!(&lie, Comparison::Differs(why) if why.contains("item 1")), "{lie:?}");
    }

    #[test]
    fn a_lie_about_one_item_does_not_hide_in_a_large_batch() {
        let mut values: Vec<f32> = [0.99, 0.01].repeat(1000);
        let want = rows(&[1000, 2], &values);
        values[1998] = 0.985;
        values[1999] = 0.015;
        assert!(matches!(compare(&rows(&[1000, 2], &values), &want), Comparison::Differs(_)));
    }

    #[test]
    fn a_tie_that_rounding_decides_is_no_lie() {
        let want = rows(&[1, 2], &[0.500_001, 0.499_999]);
        assert_eq!(compare(&rows(&[1, 2], &[0.499_999, 0.500_001]), &want), Comparison::Same);
    }

    #[test]
    fn what_is_no_number_differs_and_a_recomputation_that_is_none_says_nothing() {
        let want = rows(&[1, 2], &[0.5, 0.5]);
        assert!(matches!(compare(&rows(&[1, 2], &[f32::NAN, 0.5]), &want), Comparison::Differs(_)));
        assert!(matches!(compare(&want, &rows(&[1, 2], &[f32::NAN, 0.5])), Comparison::Unclear(_)));
        assert!(matches!(compare(&rows(&[2, 1], &[0.5, 0.5]), &want), Comparison::Differs(_)));
        let zeros = rows(&[1, 2], &[0.0, 0.0]);
        assert!(matches!(compare(&want, &zeros), Comparison::Differs(_)));
    }
}
