//! What experts were worth on the labelled items nearest to an input.
//!
//! A slope over φ can say "better to the left"; where regions are not halves of the space it says little. So the gate also
//! looks an input up among the probes: how well did each expert answer those that lie nearest? That follows regions of any
//! shape (k nearest neighbours as competence, Ko, Sabourin and Britto 2008), needs no claim, and costs one pass over the
//! probes' features.

use std::sync::Arc;

use super::vector::squared_distance;

/// Probes that an input is compared with.
const NEAREST: usize = 12;
/// How fast a probe farther than the nearest counts less; squared distances of unit vectors are 0 to 4.
const WIDTH: f32 = 0.2;
/// Below this probability of the right class an answer is no worse.
const FLOOR: f32 = 0.01;

/// Where an input lies: the probes nearest to it and how much each counts; the shares sum to 1.
pub type Place = Vec<(usize, f32)>;

/// The features of all probes, row by row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Neighbours {
    features: Arc<[f32]>,
    width: usize,
}

impl Neighbours {
    /// Over the first `items` rows of `features`, all of one length.
    #[must_use]
    pub fn new(features: &[Vec<f32>], items: usize) -> Self {
        let width = features.first().map_or(0, Vec::len);
        let rows = features.iter().take(items).filter(|row| row.len() == width);
        Self { features: rows.flatten().copied().collect(), width }
    }

    /// The place of an input; of a probe itself, when `but` names it, as if that one were not there.
    #[must_use]
    pub fn place(&self, features: &[f32], but: Option<usize>) -> Place {
        if self.width == 0 || features.len() != self.width {
            return Place::new();
        }
        // The nearest so far, nearest last.
        let mut nearest: Vec<(f32, usize)> = Vec::with_capacity(NEAREST + 1);
        for (item, row) in self.features.chunks_exact(self.width).enumerate() {
            let distance = squared_distance(row, features);
            let full = nearest.len() == NEAREST;
            if Some(item) == but || distance.is_nan() || (full && distance >= nearest[0].0) {
                continue;
            }
            let at = nearest.partition_point(|(other, _)| *other > distance);
            nearest.insert(at, (distance, item));
            if full {
                nearest.remove(0);
            }
        }
        let Some(&(least, _)) = nearest.last() else { return Place::new() };
        let mut place: Place =
            nearest.iter().rev().map(|&(distance, item)| (item, (-(distance - least) / WIDTH).exp())).collect();
        let sum: f32 = place.iter().map(|(_, share)| share).sum();
        place.iter_mut().for_each(|(_, share)| *share /= sum);
        place
    }
}

/// How much better than ignorance an answer was, nats: ln(C·p(y)), p at least 0.01.
#[must_use]
pub fn gain(right: f32, classes: usize) -> f32 {
    (classes.max(1) as f32 * right.clamp(FLOOR, 1.0)).ln()
}

/// Mean gain over the probes of `place` that were answered; `gains` holds NaN where not. 0, as good as ignorance, where
/// none was.
#[must_use]
pub fn competence(gains: &[f32], place: &[(usize, f32)]) -> f32 {
    let (mut sum, mut shares) = (0.0, 0.0);
    for &(item, share) in place {
        let gain = gains.get(item).copied().unwrap_or(f32::NAN);
        if !gain.is_nan() {
            sum += share * gain;
            shares += share;
        }
    }
    if shares > 0.0 { sum / shares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(items: usize) -> Vec<Vec<f32>> {
        let angle = |i: usize| std::f32::consts::TAU * i as f32 / items as f32;
        (0..items).map(|i| vec![angle(i).cos(), angle(i).sin()]).collect()
    }

    #[test]
    fn the_nearest_count_and_the_nearest_counts_most() {
        let features = circle(100);
        let neighbours = Neighbours::new(&features, 100);
        let place = neighbours.place(&features[50], None);
        assert_eq!(place.len(), NEAREST);
        assert_eq!(place[0].0, 50);
        assert!(place.iter().all(|(item, _)| (44..=56).contains(item)), "{place:?}");
        assert!(place.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        assert!((place.iter().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(neighbours.place(&features[50], Some(50)).iter().all(|(item, _)| *item != 50));
    }

    #[test]
    fn an_expert_of_scattered_regions_is_found_in_each_of_them() {
        let features = circle(120);
        let neighbours = Neighbours::new(&features, 120);
        // Right in every second of six sectors: no half of the plane says so.
        let gains: Vec<f32> = (0..120).map(|i| gain(if i / 20 % 2 == 0 { 0.9 } else { 0.02 }, 20)).collect();
        for (i, here) in features.iter().enumerate().filter(|(i, _)| (6..14).contains(&(i % 20))) {
            let competence = competence(&gains, &neighbours.place(here, Some(i)));
            assert_eq!(competence > 1.0, i / 20 % 2 == 0, "item {i}: {competence}");
        }
    }

    #[test]
    fn what_is_not_known_is_as_good_as_ignorance() {
        let neighbours = Neighbours::new(&circle(30), 30);
        let place = neighbours.place(&[1.0, 0.0], None);
        assert_eq!(competence(&[f32::NAN; 30], &place), 0.0);
        assert_eq!(competence(&[], &place), 0.0);
        assert!(neighbours.place(&[1.0], None).is_empty());
        assert!(neighbours.place(&[f32::NAN, 0.0], None).is_empty());
        assert!(Neighbours::default().place(&[], None).is_empty());
        assert_eq!(gain(0.05, 20), 0.0);
    }
}
