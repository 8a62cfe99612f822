//! k-means with k-means++ seeding, deterministic for a given generator.

use rand::Rng;

/// Iterations after which the means are taken as they are.
const ROUNDS: usize = 40;

/// Clusters of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// Mean of each cluster.
    pub means: Vec<Vec<f32>>,
    /// Points of each cluster.
    pub counts: Vec<usize>,
    /// Root mean square distance of each cluster's points to its mean.
    pub radii: Vec<f32>,
}

impl Clusters {
    /// At most `k` clusters of `points` (fewer when there are fewer different points).
    pub fn fit(points: &[Vec<f32>], k: usize, rng: &mut impl Rng) -> Self {
        let mut means = seeds(points, k, rng);
        let mut owner = vec![usize::MAX; points.len()];
        for _ in 0..ROUNDS {
            let mut moved = false;
            for (point, owner) in points.iter().zip(&mut owner) {
                let (nearest, _) = nearest(&means, point);
                moved |= nearest != *owner;
                *owner = nearest;
            }
            if !moved {
                break;
            }
            recentre(&mut means, points, &owner);
        }
        let mut counts = vec![0usize; means.len()];
        let mut squares = vec![0.0f64; means.len()];
        for point in points {
            let (nearest, distance) = nearest(&means, point);
            counts[nearest] += 1;
            squares[nearest] += distance;
        }
        let radii = squares.iter().zip(&counts).map(|(s, &n)| (s / n.max(1) as f64).sqrt() as f32).collect();
        Self { means, counts, radii }
    }
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(x - y) * f64::from(x - y)).sum()
}

fn nearest(means: &[Vec<f32>], point: &[f32]) -> (usize, f64) {
    means
        .iter()
        .map(|mean| squared_distance(mean, point))
        .enumerate()
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .unwrap_or((0, 0.0))
}

/// k-means++: each next seed is a point drawn by its squared distance to the seeds so far.
fn seeds(points: &[Vec<f32>], k: usize, rng: &mut impl Rng) -> Vec<Vec<f32>> {
    let mut means: Vec<Vec<f32>> = Vec::with_capacity(k);
    if points.is_empty() || k == 0 {
        return means;
    }
    means.push(points[rng.random_range(0..points.len())].clone());
    let mut distances: Vec<f64> = points.iter().map(|p| squared_distance(&means[0], p)).collect();
    while means.len() < k {
        let total: f64 = distances.iter().sum();
        if total <= 0.0 {
            break;
        }
        let mut ticket = rng.random::<f64>() * total;
        let drawn = distances.iter().position(|&d| {
            ticket -= d;
            ticket < 0.0
        });
        let seed = points[drawn.unwrap_or(points.len() - 1)].clone();
        for (distance, point) in distances.iter_mut().zip(points) {
            *distance = distance.min(squared_distance(&seed, point));
        }
        means.push(seed);
    }
    means
}

fn recentre(means: &mut [Vec<f32>], points: &[Vec<f32>], owner: &[usize]) {
    let width = points.first().map_or(0, Vec::len);
    let mut sums = vec![vec![0.0f64; width]; means.len()];
    let mut counts = vec![0usize; means.len()];
    for (point, &owner) in points.iter().zip(owner) {
        counts[owner] += 1;
        sums[owner].iter_mut().zip(point).for_each(|(s, &v)| *s += f64::from(v));
    }
    for ((mean, sum), &count) in means.iter_mut().zip(sums).zip(&counts) {
        if count > 0 {
            *mean = sum.into_iter().map(|s| (s / count as f64) as f32).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn two_heaps_are_told_apart() {
        let points: Vec<Vec<f32>> = (0..60u8)
            .map(|i| {
                let wobble = f32::from(i % 5) * 0.01;
                if i % 3 == 0 { vec![1.0 + wobble, 0.0] } else { vec![-1.0, 2.0 - wobble] }
            })
            .collect();
        let clusters = Clusters::fit(&points, 2, &mut ChaCha8Rng::seed_from_u64(3));
        let mut counts = clusters.counts.clone();
        counts.sort_unstable();
        assert_eq!(counts, [20, 40]);
        assert!(clusters.radii.iter().all(|&r| r < 0.05), "{:?}", clusters.radii);
    }

    #[test]
    fn no_points_and_equal_points_are_no_trouble() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        assert!(Clusters::fit(&[], 4, &mut rng).means.is_empty());
        let same = vec![vec![0.5f32; 3]; 9];
        assert_eq!(Clusters::fit(&same, 4, &mut rng).counts, [9]);
    }
}
