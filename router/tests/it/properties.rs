//! What holds for all inputs.

use glia_protocol::{ContentHash, Hotkey, RequestId, Tensor};
use glia_router::aggregate::{linear_pool, read_rows, sharpen};
use glia_router::api::tensor::{Numbers, to_bytes};
use glia_router::gate::{Bench, Slot, select, weigh};
use glia_router::scoring::shapley::shapley;
use glia_router::scoring::weights::to_row;
use proptest::collection::vec;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::mesh::{CLASSES, schema};

fn sums_to_one(row: &[f32]) -> bool {
    (row.iter().sum::<f32>() - 1.0).abs() < 1e-3 && row.iter().all(|p| p.is_finite() && *p >= 0.0)
}

proptest! {
    #[test]
    fn weights_sum_to_one_whatever_the_logits(
        logits in vec(-1e6_f32..1e6, 1..9),
        proven in vec(any::<bool>(), 9),
    ) {
        prop_assert!(sums_to_one(&weigh(&logits, &proven)));
    }

    #[test]
    fn a_pool_of_distributions_is_a_distribution(
        raw in vec(vec(0.0_f32..1.0, CLASSES), 1..9),
        logits in vec(-50.0_f32..50.0, 9),
        sharpness in 0.1_f32..4.0,
    ) {
        let rows: Vec<Vec<f32>> = raw.iter().map(|row| sharpen(row, 1.0)).collect();
        let weights = weigh(&logits[..rows.len()], &vec![true; rows.len()]);
        let pool = sharpen(&linear_pool(&weights, &rows, CLASSES), sharpness);
        prop_assert!(sums_to_one(&pool));
    }

    #[test]
    fn whatever_an_expert_sends_is_refused_or_a_distribution(values in vec(any::<f32>(), CLASSES * 2)) {
        let shape = [2, CLASSES as u32];
        let response = glia_protocol::ForwardResponse {
            id: RequestId([0; 16]),
            checkpoint: ContentHash([0; 32]),
            queue_us: 0,
            compute_us: 0,
            batch: 2,
            tensors: vec![Tensor::from_f32("probabilities", &shape, &values).unwrap()],
            receipt: None,
        };
        if let Ok(rows) = read_rows(&schema(), ContentHash([0; 32]), 2, &response) {
            prop_assert!(rows.iter().all(|row| sums_to_one(row)));
        }
    }

    #[test]
    fn nobody_is_asked_twice_and_the_shut_out_only_by_chance(
        seats in vec((0_u8..6, proptest::option::of(0_u32..6), any::<bool>(), any::<bool>(), any::<bool>()), 0..20),
        logits in vec(-10.0_f32..10.0, 20),
        (k, standbys) in (1_usize..9, 0_usize..4),
        (chance, seed) in (0.0_f64..1.0, any::<u64>()),
    ) {
        let slots = seats.iter().map(|(operator, cluster, proven, shut_out, slow)| Slot {
            hotkey: Hotkey([*operator; 32]),
            cluster: *cluster,
            proven: *proven,
            shut_out: *shut_out,
            slow: *slow,
        });
        let bench = Bench { slots: slots.collect(), least: 1 };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let chosen = select(&bench, &logits[..seats.len()], k, standbys, Some((chance, &mut rng)));
        prop_assert!(chosen.members.len() <= k && chosen.standbys.len() <= standbys);
        let mut all: Vec<usize> = chosen.members.iter().chain(&chosen.standbys).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all.len(), count);
        let out = chosen.members.iter().filter(|&&i| bench.slots[i].shut_out).count();
        prop_assert!(out <= 1);
        prop_assert!(chosen.standbys.iter().all(|&i| !bench.slots[i].shut_out));
        let slow = chosen.members.iter().chain(&chosen.standbys).filter(|&&i| bench.slots[i].slow).count();
        prop_assert!(slow == 0 || (slow == 1 && count <= 2), "the slow only where nobody else is");
        prop_assert!(chosen.propensity.iter().all(|(i, p)| chosen.members.contains(i) && *p > 0.0 && *p <= 1.0));
        prop_assert_eq!(chosen.propensity.len(), chosen.members.len());
        for (at, &i) in chosen.members.iter().enumerate() {
            for &j in &chosen.members[..at] {
                prop_assert!(bench.slots[i].hotkey != bench.slots[j].hotkey);
                let (a, b) = (bench.slots[i].cluster, bench.slots[j].cluster);
                prop_assert!(a.is_none() || a != b);
            }
        }
    }

    #[test]
    fn shapley_values_sum_to_the_gain_and_are_finite(
        logits in vec(-20.0_f32..20.0, 1..9),
        right in vec(0.0_f32..=1.0, 9),
    ) {
        let weights = weigh(&logits, &vec![true; logits.len()]);
        let values = shapley(&weights, &right[..weights.len()], 20, 7);
        let pool: f64 = weights.iter().zip(&right).map(|(w, p)| f64::from(*w) * f64::from(*p).max(1e-3)).sum();
        prop_assert!(values.iter().all(|v| v.is_finite()));
        prop_assert!((values.iter().sum::<f64>() - (20.0 * pool.max(1e-3)).ln()).abs() < 1e-3);
    }

    #[test]
    fn a_row_is_ascending_and_its_largest_weight_is_65535(
        useful in vec((any::<u16>(), any::<f64>()), 0..40),
        min_allowed in any::<u16>(),
        uids in vec(any::<u16>(), 0..60),
    ) {
        let row = to_row(&useful, min_allowed, u16::MAX, &uids);
        prop_assert!(row.windows(2).all(|pair| pair[0].0 < pair[1].0));
        prop_assert!(row.is_empty() || row.iter().any(|(_, weight)| *weight == u16::MAX));
    }

    #[test]
    fn any_text_is_numbers_or_refused(text in "[\\[\\]0-9.,eE+\\- \"a-z]{0,200}") {
        if let Ok(numbers) = serde_json::from_str::<Numbers>(&text) {
            for dtype in glia_protocol::DType::ALL {
                if let Ok(bytes) = to_bytes(&numbers.0, dtype) {
                    prop_assert_eq!(bytes.len(), numbers.0.len() * dtype.size());
                }
            }
        }
    }
}
