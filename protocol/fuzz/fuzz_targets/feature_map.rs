//! Any bytes as a feature map, which is then used.
#![no_main]

use glia_protocol::feature_map::FeatureMap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(map) = FeatureMap::from_bytes(data) {
        assert_eq!(map.to_bytes().expect("what is read can be written"), data);
        if map.input_len() <= 1 << 16
            && let Some(features) = map.apply(&vec![0.5; map.input_len()])
        {
            assert!(features.iter().all(|v| v.is_finite()));
            assert!(usize::from(map.region(&features)) < map.regions());
        }
    }
});
