//! The embedded pack, its splits and φ.

use std::collections::HashSet;

use glia_experts::data::{CLASSES, PIXELS, VALIDATION_PER_CLASS, VisionPack};
use glia_experts::features;
use glia_experts::subnet::Subnet;

use crate::vision;

#[test]
fn every_split_has_the_images_it_promises() {
    let subnet = vision();
    for (name, split, digits, fashion) in [
        ("train", subnet.train(), 360, 160),
        ("validation", subnet.validation(), VALIDATION_PER_CLASS, VALIDATION_PER_CLASS),
        ("test", subnet.test(), 100, 50),
    ] {
        for class in 0..CLASSES as u8 {
            let want = if class < 10 { digits } else { fashion };
            assert_eq!(split.of_class(class).len(), want, "class {class} of {name}");
        }
        assert_eq!(split.pixels().len(), split.len() * PIXELS);
    }
    assert_eq!((subnet.train().len(), subnet.validation().len(), subnet.test().len()), (5200, 800, 1500));
}

#[test]
fn no_image_is_in_two_splits() {
    let subnet = vision();
    let content = |split: &glia_experts::data::Split| -> HashSet<Vec<u8>> {
        split.iter().map(|example| example.pixels.to_vec()).collect()
    };
    let (train, validation, test) = (content(subnet.train()), content(subnet.validation()), content(subnet.test()));
    assert_eq!(train.intersection(&validation).count(), 0, "training images in validation");
    assert_eq!(train.intersection(&test).count(), 0, "training images in test");
    assert_eq!(validation.intersection(&test).count(), 0, "validation images in test");
}

#[test]
fn the_splits_are_the_same_every_time() {
    let (one, two) = (VisionPack::embedded().unwrap(), VisionPack::embedded().unwrap());
    assert_eq!(one.hash, two.hash);
    assert_eq!(one.validation.pixels(), two.validation.pixels());
    assert_eq!(one.train.classes(), two.train.classes());
}

#[test]
fn images_are_pictures_not_noise() {
    // Digits are mostly background; a shifted header or a wrong dtype would not be.
    let test = vision().test();
    let dark = test.iter().take(1000).flat_map(|e| e.pixels).filter(|&&p| p == 0).count();
    let share = dark as f64 / (1000 * PIXELS) as f64;
    assert!((0.7..0.9).contains(&share), "{share:.2} of the digits' pixels are background");
}

#[test]
fn the_schema_is_valid_and_names_twenty_classes() {
    let schema = vision().schema();
    schema.validate().unwrap();
    assert_eq!(schema.classes().len(), CLASSES);
    assert_eq!(schema.input.elements(), PIXELS);
}

#[test]
fn an_unknown_subnet_is_named_in_the_error() {
    let error = Subnet::by_name("smell").unwrap_err().to_string();
    assert!(error.contains("smell") && error.contains("vision"), "{error}");
}

#[test]
fn the_shipped_feature_map_is_what_fitting_gives() {
    let shipped = vision().feature_map();
    let fitted = features::fit(vision().train());
    let close = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-3);
    assert!(close(&shipped.mean, &fitted.mean), "means differ");
    assert!(close(&shipped.components, &fitted.components), "components differ");
    assert!(close(&shipped.anchors, &fitted.anchors), "anchors differ");
}

#[test]
fn regions_are_all_used_and_tell_digits_from_clothes() {
    let subnet = vision();
    let regions = glia_experts::evaluate::regions(subnet, subnet.validation());
    let mut table = vec![[0usize; 2]; subnet.feature_map().regions()];
    for (&region, &class) in regions.iter().zip(subnet.validation().classes()) {
        table[usize::from(region)][usize::from(class >= 10)] += 1;
    }
    assert!(table.iter().all(|[digits, clothes]| digits + clothes > 0), "an empty region: {table:?}");
    let majority: usize = table.iter().map(|row| row[0].max(row[1])).sum();
    assert!(majority * 10 > subnet.validation().len() * 8, "regions do not separate the two sets: {table:?}");
}
