//! Sums over short vectors in strides of eight, so that they are computed side by side; always in the same order, so that
//! the same numbers come out everywhere.

/// Σ f(a, b); what one is longer than the other does not count.
fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; 8];
    let length = a.len().min(b.len());
    let (left, right) = (a[..length].chunks_exact(8), b[..length].chunks_exact(8));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| f(*a, *b)).sum();
    for (a, b) in left.zip(right) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f(*a, *b);
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// a·b.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| a * b)
}

/// ‖a−b‖².
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_one_number_after_the_other() {
        for length in [0, 1, 7, 8, 9, 32, 33] {
            let a: Vec<f32> = (0..length).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f32> = (0..length).map(|i| (i as f32 * 0.91).cos()).collect();
            let plain: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert!((dot(&a, &b) - plain).abs() < 1e-4);
            let plain: f32 = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum();
            assert!((squared_distance(&a, &b) - plain).abs() < 1e-4);
        }
        assert_eq!(dot(&[1.0, 2.0], &[3.0]), 3.0);
    }
}
