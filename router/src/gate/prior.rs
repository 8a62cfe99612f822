//! What an expert's own centroids say about an input: enough to be nominated and probed, never enough to be believed.

use glia_protocol::descriptor::Centroid;

use super::vector::squared_distance;

/// Largest squared radius that is taken at its word: half of the largest squared distance of unit vectors.
const WIDEST: f32 = 2.0;

/// −min_c ‖φ−c‖²/T, at most 0 however many centroids are claimed and however wide they are.
#[must_use]
pub fn prior_logit(centroids: &[Centroid], features: &[f32], temperature: f32) -> f32 {
    let nearest = centroids.iter().map(|c| squared_distance(&c.mean, features)).fold(f32::INFINITY, f32::min);
    // Unit vectors are at most 4 apart; a claim far outside says no more than one at the edge.
    -nearest.min(4.0) / temperature
}

/// How far an input lies in the region an expert claims, 0..1: 1 inside the radius of a centroid, falling outside.
///
/// A wider claim is a claim to be probed on more; a narrow one gathers evidence slowly.
#[must_use]
pub fn claim(centroids: &[Centroid], features: &[f32], temperature: f32) -> f32 {
    let beyond = centroids
        .iter()
        .map(|c| {
            let radius = (c.radius * c.radius).min(WIDEST);
            (squared_distance(&c.mean, features) - radius).max(0.0)
        })
        .fold(f32::INFINITY, f32::min);
    (-beyond / temperature).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn centroid(mean: [f32; 2], radius: f32) -> Centroid {
        Centroid { mean: mean.to_vec(), weight: 1.0, radius }
    }

    #[test]
    fn the_nearest_centroid_decides_and_breadth_cannot_raise_the_prior_above_zero() {
        let narrow = [centroid([1.0, 0.0], 0.1)];
        let broad: Vec<Centroid> = (0..8).map(|_| centroid([1.0, 0.0], 100.0)).collect();
        let x = [1.0, 0.0];
        assert_eq!(prior_logit(&narrow, &x, 0.1), 0.0);
        assert_eq!(prior_logit(&broad, &x, 0.1), 0.0);
        assert!((prior_logit(&narrow, &[0.0, 1.0], 0.1) + 20.0).abs() < 1e-4);
    }

    #[test]
    fn an_infinite_claim_stays_finite() {
        let far = [centroid([f32::MAX, f32::MAX], f32::MAX)];
        assert_eq!(prior_logit(&far, &[0.0, 1.0], 0.1), -40.0);
        assert!(claim(&far, &[0.0, 1.0], 0.1).is_finite());
        assert_eq!(prior_logit(&[], &[0.0, 1.0], 0.1), -40.0);
    }

    #[test]
    fn a_claim_is_full_inside_its_radius_and_fades_outside() {
        let one = [centroid([1.0, 0.0], 0.5)];
        assert_eq!(claim(&one, &[1.0, 0.0], 0.1), 1.0);
        assert!(claim(&one, &[0.0, 1.0], 0.1) < 1e-6);
    }
}
