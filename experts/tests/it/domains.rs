//! The variant whose pictures are shown in domains, and the roster for it.

use std::collections::HashSet;

use glia_experts::data::{CLASSES, Domain};
use glia_experts::device::{ComputeDevice, DeviceChoice};
use glia_experts::evaluate;
use glia_experts::roster::{Entry, Kind, Roster};
use glia_experts::train::{TrainOptions, train_one};
use tokio_util::sync::CancellationToken;

use crate::{transforms, vision};

#[test]
fn the_variant_is_the_same_task_with_other_pictures() {
    let (plain, shown) = (vision(), transforms());
    assert_eq!(shown.name().as_str(), "vision-transforms");
    assert_eq!((shown.netuid(), shown.schema()), (plain.netuid(), plain.schema()));
    assert_eq!(shown.feature_map_hash(), plain.feature_map_hash());
    assert_ne!(shown.data_hash(), plain.data_hash());
    assert_eq!(plain.domains(), [Domain::PLAIN]);
    assert_eq!(shown.domains(), Domain::ALL);
    for (a, b, domains) in [
        (plain.validation(), shown.validation(), shown.validation_domains()),
        (plain.test(), shown.test(), shown.test_domains()),
    ] {
        assert_eq!(a.classes(), b.classes());
        for (index, &domain) in domains.iter().enumerate() {
            assert_eq!(a.image(index) == b.image(index), domain == 0, "image {index} in domain {domain}");
        }
    }
    assert!(plain.test_domains().iter().all(|&domain| domain == 0));
}

#[test]
fn every_class_is_shown_evenly_in_every_domain() {
    let subnet = transforms();
    let (training, dealt) = subnet.training(7);
    for (split, domains, fewest) in [
        (subnet.validation(), subnet.validation_domains(), 5),
        (subnet.test(), subnet.test_domains(), 6),
        (&training, dealt, 20),
    ] {
        let mut table = [[0; 8]; CLASSES];
        for (&class, &domain) in split.classes().iter().zip(&domains) {
            table[usize::from(class)][usize::from(domain)] += 1;
        }
        for row in table {
            let (least, most) = (row.iter().min().unwrap(), row.iter().max().unwrap());
            assert!(*least >= fewest && most - least <= 1, "{row:?}");
        }
    }
}

#[test]
fn pictures_are_the_same_every_time_and_training_pictures_follow_the_seed() {
    let again = glia_experts::subnet::Subnet::by_name("vision-transforms").unwrap();
    assert_eq!(again.test().pixels(), transforms().test().pixels());
    assert_eq!(again.data_hash(), transforms().data_hash());
    let (one, two) = (transforms().training(7), transforms().training(7));
    assert_eq!((one.0.pixels(), &one.1), (two.0.pixels(), &two.1));
    assert_ne!(transforms().training(8).1, one.1);
    // The plain subnet shows the same training images whatever the seed.
    assert_eq!(vision().training(8).0.pixels(), vision().train().pixels());
}

#[test]
fn experts_of_the_roster_divide_the_training_pictures_by_domain() {
    for experts in [1, 3, 8, 10, 16] {
        let roster = Roster::builtin("transforms", experts).unwrap();
        roster.validate(transforms()).unwrap();
        let dealt = transforms().training(7).1;
        let mut all = HashSet::new();
        for entry in &roster.experts {
            let Kind::Domains { domains, .. } = &entry.kind else { panic!("{entry:?}") };
            let examples = entry.examples(transforms()).unwrap();
            assert!(examples.iter().all(|&index| domains.contains(&dealt[index])), "{}", entry.name);
            assert!(examples.iter().all(|&index| all.insert(index)), "{}: an image twice", entry.name);
        }
        assert_eq!(all.len(), 5200, "{experts} experts");
        let last = roster.experts.last().unwrap();
        let (data, names) = last.data(transforms()).unwrap();
        let Kind::Domains { domains, .. } = &last.kind else { panic!("{last:?}") };
        assert_eq!((data.len(), names.len()), (last.examples(transforms()).unwrap().len(), domains.len()));
    }
}

#[test]
fn a_roster_file_names_domains() {
    let text = |domains: &str| {
        format!("subnet = \"vision-transforms\"\n[[expert]]\nname = \"a\"\nkind = \"domains\"\ndomains = {domains}\n")
    };
    let roster = Roster::from_toml(&text(r#"["inverted", "plain"]"#), transforms()).unwrap();
    assert_eq!(roster.experts[0].kind, Kind::Domains { domains: vec![4, 0], part: 0, parts: 1 });
    assert_eq!(Roster::subnet_in(&text("[]")).unwrap(), "vision-transforms");
    for (domains, says) in [
        ("[]", "at least one domain"),
        (r#"["upside-down"]"#, "its domains are plain, turned-90"),
        (r#"["plain", "plain"]"#, "domain plain is listed twice"),
        ("[\"plain\"]\nparts = 0", "part 0 of 0 parts does not exist"),
    ] {
        let error = Roster::from_toml(&text(domains), transforms()).unwrap_err().to_string();
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    }
    let error = Roster::builtin("transforms", 8).unwrap().validate(vision()).unwrap_err().to_string();
    assert!(error.contains("is for subnet \"vision-transforms\", not for vision"), "{error}");
}

#[test]
fn an_expert_knows_its_own_domain_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let kind = Kind::Domains { domains: vec![4], part: 0, parts: 1 };
    let entry = Entry { name: "inverted".to_owned(), kind, seed: 5, split_seed: 7 };
    let options = TrainOptions { device: DeviceChoice::Cpu, images: 4_000, ..TrainOptions::default() };
    let stop = CancellationToken::new();
    let trained = train_one(transforms(), &entry, folder.path(), &options, &|_| {}, &stop).unwrap();
    assert_eq!(trained.checkpoint.meta.domains, ["inverted"]);
    assert_eq!(trained.checkpoint.meta.kind, "domains");
    let device = ComputeDevice::open(DeviceChoice::Cpu).unwrap();
    let split = transforms().validation();
    let right = evaluate::probabilities(&trained.checkpoint, transforms(), &device, split).unwrap();
    let right = right.correct(split.classes());
    let share = |domain: u8| {
        let of = transforms().validation_domains();
        let own: Vec<bool> = right.iter().zip(of).filter(|(_, d)| *d == domain).map(|(&right, _)| right).collect();
        own.iter().filter(|&&right| right).count() as f64 / own.len() as f64
    };
    assert!(share(4) > 0.5, "only {:.2} right in its own domain", share(4));
    assert!(share(4) > share(0) + 0.2, "{:.2} in its own domain, {:.2} of plain pictures", share(4), share(0));
    // A checkpoint of one variant is not served in the other.
    let bytes = std::fs::read(&trained.path).unwrap();
    assert!(glia_experts::checkpoint::LoadedCheckpoint::from_bytes(&bytes, vision()).is_err());
}
