//! φ on good and bad maps and inputs.

use glia_protocol::feature_map::FeatureMap;
use glia_protocol::testing::feature_map;

#[test]
fn features_have_unit_length_and_a_region() {
    let map = feature_map();
    let input: Vec<f32> = (0..16).map(|i| i as f32 / 16.0).collect();
    let features = map.apply(&input).unwrap();
    assert_eq!(features.len(), 3);
    assert!((features.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-6);
    assert!(usize::from(map.region(&features)) < map.regions());
    assert_eq!(map.region(&[1.0, 0.0, 0.0]), 0);
    assert_eq!(map.region(&[0.0, 1.0, 0.0]), 1);
}

#[test]
fn features_are_the_same_bits_on_every_machine() {
    let input: Vec<f32> = (0..16).map(|i| i as f32 / 16.0).collect();
    let bits: Vec<u32> = feature_map().apply(&input).unwrap().into_iter().map(f32::to_bits).collect();
    assert_eq!(bits, GOLDEN_BITS);
    // By hand: pooled and centred 0.05625, 0.08125, 0.35625, 0.38125; projected 0.05625, -0.1375, 0.21875.
    let length = (0.056_25f32.powi(2) + 0.137_5f32.powi(2) + 0.218_75f32.powi(2)).sqrt();
    for (bits, by_hand) in bits.into_iter().zip([0.056_25, -0.137_5, 0.218_75]) {
        assert!((f32::from_bits(bits) - by_hand / length).abs() < 1e-6);
    }
}

/// Measured once; plain f32 arithmetic in a fixed order gives it everywhere.
const GOLDEN_BITS: [u32; 3] = [1_046_074_433, 3_204_783_655, 1_062_455_104];

#[test]
fn input_that_gives_no_finite_features_gives_none() {
    let map = feature_map();
    assert_eq!(map.apply(&[0.0; 15]), None);
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        assert_eq!(map.apply(&[poison; 16]), None, "{poison}");
    }
    let mut one = [0.5; 16];
    one[5] = f32::NAN;
    assert_eq!(map.apply(&one), None);
}

#[test]
fn map_that_fits_nothing_is_refused_and_never_panics() {
    type Spoil = fn(&mut FeatureMap);
    let bad: [(&str, Spoil); 12] = [
        ("no pool", |m| m.pool = 0),
        ("pool does not divide", |m| m.pool = 3),
        ("no rows", |m| m.input.0 = 0),
        ("too wide", |m| m.input = (4, 4100)),
        ("huge", |m| m.input = (u32::MAX, u32::MAX)),
        ("mean too short", |m| m.mean.truncate(3)),
        ("no mean", |m| m.mean.clear()),
        ("components not a rectangle", |m| m.components.truncate(11)),
        ("no components", |m| m.components.clear()),
        ("no anchors", |m| m.anchors.clear()),
        ("too many anchors", |m| m.anchors = vec![0.0; 65 * 3]),
        ("not finite", |m| m.mean[0] = f32::NAN),
    ];
    for (what, spoil) in bad {
        let mut map = feature_map();
        spoil(&mut map);
        assert!(map.validate().is_err() && map.to_bytes().is_err(), "{what}");
        let _ = map.apply(&[0.5; 16]);
        let _ = map.region(&[0.0, 0.0, 0.0]);
    }
}

#[test]
fn a_blank_input_has_zero_features() {
    let mut map = feature_map();
    map.mean = vec![0.0; 4];
    assert_eq!(map.apply(&[0.0; 16]).unwrap(), [0.0; 3]);
}
