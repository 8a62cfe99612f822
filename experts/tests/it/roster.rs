//! Rosters: built in, from TOML, and the mistakes users make.

use std::collections::HashSet;

use glia_experts::roster::{BUILTIN, DIRICHLET_MIN, Entry, Kind, Roster, subnet_of};

use crate::{transforms, vision};

fn refused(text: &str, expected: &str) {
    let error = Roster::from_toml(text, vision()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
}

#[test]
fn built_in_rosters_are_valid_and_have_eight_experts() {
    for name in BUILTIN {
        let roster = Roster::builtin(name, 8).unwrap();
        let subnet = if name == "transforms" { transforms() } else { vision() };
        assert_eq!(subnet_of(name), Some(subnet.name().as_str()));
        roster.validate(subnet).unwrap();
        assert_eq!(roster.experts.len(), 8, "{name}");
    }
    let error = Roster::builtin("zebra", 8).unwrap_err().to_string();
    assert!(error.contains("classes, dirichlet, iid, transforms"), "{error}");
    assert_eq!(subnet_of("zebra"), None);
}

#[test]
fn another_seed_divides_the_data_and_starts_in_another_way() {
    for name in BUILTIN {
        let subnet = if name == "transforms" { transforms() } else { vision() };
        let usual = Roster::builtin(name, 8).unwrap();
        assert_eq!(usual, Roster::builtin_seeded(name, 8, 7).unwrap());
        let other = Roster::builtin_seeded(name, 8, 8).unwrap();
        other.validate(subnet).unwrap();
        for (a, b) in usual.experts.iter().zip(&other.experts) {
            assert_eq!(a.name, b.name);
            assert_ne!(a.seed, b.seed);
            assert_ne!(a.examples(subnet).unwrap(), b.examples(subnet).unwrap(), "{name} {}", a.name);
        }
    }
    let dense = |seed| Entry::dense(&Roster::builtin_seeded("iid", 8, seed).unwrap());
    assert_eq!((dense(7).seed, dense(7).split_seed), (1, 0));
    assert_ne!(dense(8).seed, dense(7).seed);
}

#[test]
fn class_experts_know_five_classes_and_every_class_is_known_twice() {
    let mut known = [0; 20];
    for entry in Roster::builtin("classes", 8).unwrap().experts {
        let Kind::Classes { classes } = &entry.kind else { panic!("{entry:?}") };
        assert_eq!(classes.len(), 5);
        classes.iter().for_each(|&class| known[usize::from(class)] += 1);
        let taught: HashSet<u8> =
            entry.examples(vision()).unwrap().iter().map(|&i| vision().train().classes()[i]).collect();
        assert_eq!(taught, classes.iter().copied().collect());
    }
    assert_eq!(known, [2; 20]);
}

#[test]
fn dirichlet_parts_divide_the_training_images_among_specialists() {
    let roster = Roster::builtin("dirichlet", 8).unwrap();
    let parts: Vec<_> = roster.experts.iter().map(|e| e.examples(vision()).unwrap()).collect();
    let all: HashSet<usize> = parts.iter().flatten().copied().collect();
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), vision().train().len());
    assert_eq!(all.len(), vision().train().len());
    for part in &parts {
        assert!(part.len() >= DIRICHLET_MIN);
        let mut counts = [0usize; 20];
        part.iter().for_each(|&i| counts[usize::from(vision().train().classes()[i])] += 1);
        counts.sort_unstable();
        let top: usize = counts[13..].iter().sum();
        assert!(top * 10 > part.len() * 7, "no specialist: {counts:?}");
    }
}

#[test]
fn iid_shards_are_small_and_do_not_overlap() {
    let roster = Roster::builtin("iid", 8).unwrap();
    let shards: Vec<_> = roster.experts.iter().map(|e| e.examples(vision()).unwrap()).collect();
    assert!(shards.iter().all(|shard| shard.len() == 300));
    assert_eq!(shards.iter().flatten().collect::<HashSet<_>>().len(), 2400);
}

#[test]
fn a_roster_file_is_read() {
    let roster = Roster::from_toml(
        r#"
        subnet = "vision"
        seed = 3
        [[expert]]
        name = "ada"
        kind = "classes"
        classes = ["digit 0", 4, "sandal"]
        [[expert]]
        name = "bob"
        kind = "dirichlet"
        [[expert]]
        name = "cy"
        kind = "dirichlet"
        alpha = 1.5
        [[expert]]
        name = "dee"
        kind = "iid"
        examples = 50
        seed = 99
        [[expert]]
        name = "mallory"
        kind = "noise"
        "#,
        vision(),
    )
    .unwrap();
    let kinds: Vec<_> = roster.experts.iter().map(|e| e.kind.clone()).collect();
    assert_eq!(kinds[0], Kind::Classes { classes: vec![0, 4, 15] });
    assert_eq!(kinds[1], Kind::Dirichlet { alpha: 0.3, part: 0, parts: 2 });
    assert_eq!(kinds[2], Kind::Dirichlet { alpha: 1.5, part: 1, parts: 2 });
    assert_eq!(kinds[3], Kind::Iid { examples: 50, part: 0 });
    assert_eq!(kinds[4], Kind::Noise);
    assert_eq!(roster.experts[3].seed, 99);
    assert_eq!(roster.experts[0].split_seed, 3);
}

#[test]
fn mistakes_in_a_roster_are_named_in_sentences() {
    let expert = |body: &str| format!("subnet = \"vision\"\n[[expert]]\nname = \"a\"\n{body}\n");
    refused("subnet = ", "cannot be read");
    refused("subnet = \"smell\"\nexpert = []\n", "is for subnet \"smell\", not for vision");
    refused("subnet = \"vision\"\nexpert = []\n", "1 to 256 experts");
    let kinds = "known kinds are classes, dirichlet, iid, domains, noise, all";
    refused(&expert("kind = \"wizard\""), kinds);
    refused(&expert("kind = \"wizard\"\nclasses = [3]"), kinds);
    refused(&expert("kind = 3"), kinds);
    refused(&expert(""), kinds);
    refused(&expert("kind = \"classes\""), "needs a list `classes`");
    refused(&expert("kind = \"classes\"\nclasses = [\"cat\"]"), "no class is called \"cat\"");
    refused(&expert("kind = \"classes\"\nclasses = [20]"), "class 20 does not exist");
    refused(&expert("kind = \"classes\"\nclasses = [3, 3]"), "listed twice");
    refused(&expert("kind = \"classes\"\nclasses = [3]\nalpha = 1.0"), "has no use for `alpha`");
    refused(&expert("kind = \"dirichlet\"\nalpha = -1.0"), "alpha must be between");
    refused(&expert("kind = \"dirichlet\"\npart = 8\nparts = 8"), "part 8 of 8 parts does not exist");
    refused(&expert("kind = \"dirichlet\"\nparts = 200"), "too many");
    refused(&expert("kind = \"dirichlet\"\npart = 4294967295\nparts = 8"), "does not exist");
    refused(&expert("kind = \"iid\"\nexamples = 5201"), "there are 5200");
    refused(&expert("kind = \"iid\"\nexamples = 0"), "`examples` must be at least 1");
    refused(&expert("kind = \"domains\"\ndomains = [\"plain\"]"), "vision-transforms does");
    refused(&expert("kind = \"iid\"\ndomains = [\"plain\"]"), "has no use for `domains`");
    refused(&expert("kind = \"iid\"\ncolour = 3"), "colour");
    refused(&expert("kind = \"iid\"").replace("\"a\"", "\"A b\""), "a-z, 0-9");
    let twice = expert("kind = \"noise\"") + "[[expert]]\nname = \"a\"\nkind = \"noise\"\n";
    refused(&twice, "two experts are called \"a\"");
}
