//! Calibration: whether answers given with 80 % confidence are right in 80 % of the cases.

use serde::{Deserialize, Serialize};

/// Bins of equal width that the confidences 0..1 are put into.
pub const BINS: usize = 15;

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower bound of the confidences in it, exclusive (0 belongs to the first bin).
    pub low: f64,
    /// Upper bound, inclusive.
    pub high: f64,
    /// Answers in it.
    pub count: usize,
    /// Their mean confidence; 0 when there are none.
    pub confidence: f64,
    /// Share of right answers among them; 0 when there are none.
    pub accuracy: f64,
}

/// The bin of a confidence: `(b/15, (b+1)/15]` is bin `b`, and 0 is in the first.
#[must_use]
pub fn bin_of(confidence: f64) -> usize {
    let place = (confidence.clamp(0.0, 1.0) * BINS as f64).ceil() as usize;
    place.max(1) - 1
}

/// The reliability diagram of answers: pairs of confidence (0..1) and whether the answer was right.
#[must_use]
pub fn reliability(answers: impl IntoIterator<Item = (f64, bool)>) -> Vec<Bin> {
    let mut sums = [(0usize, 0.0f64, 0usize); BINS];
    for (confidence, right) in answers {
        let (count, sum, hits) = &mut sums[bin_of(confidence)];
        *count += 1;
        *sum += confidence;
        *hits += usize::from(right);
    }
    let bin = |(index, (count, sum, hits)): (usize, (usize, f64, usize))| {
        let n = count.max(1) as f64;
        Bin {
            low: index as f64 / BINS as f64,
            high: (index + 1) as f64 / BINS as f64,
            count,
            confidence: sum / n,
            accuracy: hits as f64 / n,
        }
    };
    sums.into_iter().enumerate().map(bin).collect()
}

/// Expected calibration error of a reliability diagram: the mean distance of accuracy and confidence, each bin counted
/// by its answers. 0 when there are no answers.
#[must_use]
pub fn ece(bins: &[Bin]) -> f64 {
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    let distance = |bin: &Bin| bin.count as f64 * (bin.accuracy - bin.confidence).abs();
    bins.iter().map(distance).sum::<f64>() / total.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confidence_on_the_border_belongs_to_the_lower_bin() {
        assert_eq!((bin_of(0.0), bin_of(1e-9), bin_of(1.0 / 15.0), bin_of(0.067)), (0, 0, 0, 1));
        assert_eq!((bin_of(1.0), bin_of(2.0), bin_of(-1.0)), (14, 14, 0));
    }

    #[test]
    fn the_error_is_what_a_pencil_gives() {
        // Three at 0.9, of which two are right: |2/3 − 0.9| · 3. One at 0.5 that is wrong: 0.5 · 1. Four answers.
        let bins = reliability([(0.9, true), (0.9, true), (0.9, false), (0.5, false)]);
        let wanted = (3.0 * (0.9 - 2.0 / 3.0) + 0.5) / 4.0;
        assert!((ece(&bins) - wanted).abs() < 1e-12);
        let full = bins[bin_of(0.9)];
        assert_eq!(full.count, 3);
        assert!((full.confidence - 0.9).abs() < 1e-12 && (full.accuracy - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn who_is_as_often_right_as_it_says_has_no_error() {
        let honest = (0..1000).map(|i| (0.7, i % 10 < 7));
        assert!(ece(&reliability(honest)) < 1e-9);
        assert!(ece(&reliability([])) < 1e-12, "nothing said, nothing wrong");
    }
}
