//! One way of answering the test items, reduced to the three numbers per item that every figure is made of.

use serde::{Deserialize, Serialize};

use crate::stats::argmax;
use crate::stats::crossed::{Draw, Draws};
use crate::stats::{Interval, calibration};

/// Smallest probability a log-loss counts: one impossible event must not decide a mean.
const LEAST: f64 = 1e-6;

/// Answers to a list of items, in its order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answers {
    /// The most probable class; `None` when there was no answer.
    pub predicted: Vec<Option<u16>>,
    /// The probability given to it.
    pub confidence: Vec<f32>,
    /// The probability given to the true class.
    pub true_class: Vec<f32>,
}

impl Answers {
    /// Reduces rows of probabilities; `None` is an item without an answer.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = Option<&'a [f32]>>, classes: &[u16]) -> Self {
        let mut answers = Self::default();
        for (row, &class) in rows.into_iter().zip(classes) {
            let top = row.and_then(argmax);
            answers.push(row, top, class);
        }
        answers
    }

    /// Adds one item; `top` is what counts as the answer (usually the most probable class of `row`).
    pub fn push(&mut self, row: Option<&[f32]>, top: Option<usize>, class: u16) {
        let of = |class: Option<usize>| row.zip(class).and_then(|(row, class)| row.get(class)).copied().unwrap_or(0.0);
        self.predicted.push(top.and_then(|top| u16::try_from(top).ok()));
        self.confidence.push(of(top));
        self.true_class.push(of(Some(usize::from(class))));
    }

    /// Whether each item was answered right; an unanswered item is wrong.
    #[must_use]
    pub fn right(&self, classes: &[u16]) -> Vec<bool> {
        self.predicted.iter().zip(classes).map(|(predicted, class)| *predicted == Some(*class)).collect()
    }

    /// Share of right answers.
    #[must_use]
    pub fn accuracy(&self, classes: &[u16]) -> f64 {
        let right = self.right(classes);
        right.iter().filter(|&&right| right).count() as f64 / right.len().max(1) as f64
    }

    /// Items without an answer.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.predicted.iter().filter(|predicted| predicted.is_none()).count()
    }

    /// Confidence and whether it was right, of each answered item.
    pub fn said<'a>(&'a self, classes: &'a [u16]) -> impl Iterator<Item = (f64, bool)> + 'a {
        let all = self.predicted.iter().zip(&self.confidence).zip(classes);
        all.filter_map(|((predicted, &confidence), class)| Some((f64::from(confidence), (*predicted)? == *class)))
    }
}

/// The same way of answering in several seeds.
#[derive(Debug, Clone, Copy)]
pub struct Method<'a> {
    /// Its answers, one per seed.
    pub seeds: &'a [&'a Answers],
    /// The true classes, the same in every seed.
    pub classes: &'a [u16],
}

impl Method<'_> {
    /// 1 for right, 0 for wrong, by seed and item.
    #[must_use]
    pub fn hits(&self) -> Vec<Vec<f64>> {
        let row =
            |answers: &&Answers| answers.right(self.classes).into_iter().map(|r| f64::from(u8::from(r))).collect();
        self.seeds.iter().map(row).collect()
    }

    /// `−ln p` of the true class by seed and item; NaN for an item without an answer.
    #[must_use]
    pub fn losses(&self) -> Vec<Vec<f64>> {
        let loss = |(p, predicted): (&f32, &Option<u16>)| match predicted {
            Some(_) => -f64::from(*p).clamp(LEAST, 1.0).ln(),
            None => f64::NAN,
        };
        self.seeds.iter().map(|answers| answers.true_class.iter().zip(&answers.predicted).map(loss).collect()).collect()
    }

    /// Accuracy of each seed.
    #[must_use]
    pub fn accuracies(&self) -> Vec<f64> {
        self.seeds.iter().map(|answers| answers.accuracy(self.classes)).collect()
    }

    /// Expected calibration error: that of each seed's mesh, averaged over the seeds.
    #[must_use]
    pub fn ece(&self, draws: &Draws) -> Interval {
        // Bin, and accuracy minus confidence, of each answered item.
        let items: Vec<Vec<Option<(usize, f64)>>> = self.seeds.iter().map(|answers| self.excess(answers)).collect();
        draws.interval_without_bias(|draw: Draw<'_>| {
            let (mut sum, mut weight) = (0.0, 0.0);
            for (row, &times) in items.iter().zip(draw.seeds).filter(|(_, times)| **times > 0) {
                let (mut bins, mut total) = ([0.0; calibration::BINS], 0.0);
                for (item, &n) in row.iter().zip(draw.items) {
                    if let Some((bin, excess)) = item {
                        bins[*bin] += f64::from(n) * excess;
                        total += f64::from(n);
                    }
                }
                sum += f64::from(times) * bins.iter().map(|sum| sum.abs()).sum::<f64>() / total;
                weight += f64::from(times);
            }
            sum / weight
        })
    }

    fn excess(&self, answers: &Answers) -> Vec<Option<(usize, f64)>> {
        let all = answers.predicted.iter().zip(&answers.confidence).zip(self.classes);
        all.map(|((predicted, &confidence), class)| {
            let right = f64::from(u8::from((*predicted)? == *class));
            Some((calibration::bin_of(f64::from(confidence)), right - f64::from(confidence)))
        })
        .collect()
    }

    /// The reliability diagram of all seeds together.
    #[must_use]
    pub fn reliability(&self) -> Vec<calibration::Bin> {
        calibration::reliability(self.seeds.iter().flat_map(|answers| answers.said(self.classes)))
    }

    /// Accuracy on each of `count` classes, averaged over the seeds; `None` for a class without items.
    #[must_use]
    pub fn by_class(&self, count: usize) -> Vec<Option<f64>> {
        let of = |class: u16| {
            let items: Vec<usize> = (0..self.classes.len()).filter(|&item| self.classes[item] == class).collect();
            let right = |answers: &&Answers| {
                items.iter().filter(|&&item| answers.predicted.get(item) == Some(&Some(class))).count()
            };
            let n = items.len() * self.seeds.len();
            (n > 0).then(|| self.seeds.iter().map(right).sum::<usize>() as f64 / n as f64)
        };
        (0..count).map(|class| of(u16::try_from(class).unwrap_or(u16::MAX))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(rows: &[Option<[f32; 2]>], classes: &[u16]) -> Answers {
        Answers::from_rows(rows.iter().map(|row| row.as_ref().map(|row| row.as_slice())), classes)
    }

    #[test]
    fn an_unanswered_item_is_wrong_but_has_no_loss() {
        let classes = [0, 1, 1];
        let one = answers(&[Some([0.9, 0.1]), None, Some([0.5, 0.5])], &classes);
        assert_eq!(one.right(&classes), [true, false, false]);
        assert_eq!(one.unanswered(), 1);
        let method = Method { seeds: &[&one], classes: &classes };
        let losses = &method.losses()[0];
        assert!((losses[0] - 0.105_360_5).abs() < 1e-6 && losses[1].is_nan());
        assert!((losses[2] - std::f64::consts::LN_2).abs() < 1e-7);
        assert_eq!(method.by_class(3), [Some(1.0), Some(0.0), None]);
    }

    #[test]
    fn the_ece_of_several_seeds_is_the_mean_of_theirs() {
        // One mesh says too much, the other too little by as much: together they must not look calibrated.
        let classes = vec![0u16; 100];
        let proud = answers(&vec![Some([0.9, 0.1]); 100], &classes);
        let mut rows = vec![Some([0.9, 0.1]); 100];
        rows.iter_mut().take(20).for_each(|row| *row = Some([0.1, 0.9]));
        let wrong = answers(&rows, &classes);
        let draws = Draws::new(2, 100, 50, 1);
        let one = |of: &Answers| Method { seeds: &[of], classes: &classes }.ece(&Draws::new(1, 100, 50, 1)).estimate;
        // All right at 0.9: 0.1. 80 % right at 0.9: 0.1.
        assert!((one(&proud) - 0.1).abs() < 1e-6 && (one(&wrong) - 0.1).abs() < 1e-6);
        let both = Method { seeds: &[&proud, &wrong], classes: &classes };
        assert!((both.ece(&draws).estimate - 0.1).abs() < 1e-6);
        let direct = calibration::ece(&calibration::reliability(wrong.said(&classes)));
        assert!((direct - 0.1).abs() < 1e-6, "the two ways to compute it agree");
    }
}
