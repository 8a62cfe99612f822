use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::chain_view::{NeuronView, RouterWeights};
use crate::evaluate::{Evaluation, Outcome};

fn certain(class: usize, classes: usize) -> Vec<f32> {
    (0..classes).map(|c| if c == class { 0.9 } else { 0.1 / (classes - 1) as f32 }).collect()
}

/// 400 items of 4 classes; expert `e` is right on classes `2e` and `2e + 1`, the collective on 95 %.
fn sample(collective_wrong_every: usize) -> Report {
    let classes: Vec<usize> = (0..400).map(|i| i % 4).collect();
    let labels: Vec<String> = ["bag", "coat", "digit 1", "digit 2"].map(String::from).to_vec();
    let single = |e: usize| Single {
        name: format!("expert-{e}"),
        uid: Some(e as u16 + 1),
        trained_on: format!("{} and {}", labels[2 * e], labels[2 * e + 1]),
        passes: 2,
        class_counts: (0..4).map(|c| if c / 2 == e { 150 } else { 3 }).collect(),
        probabilities: classes.iter().map(|&c| certain(if c / 2 == e { c } else { 2 * e }, 4)).collect(),
    };
    let evaluation = |k: usize| Evaluation {
        k,
        classes: classes.clone(),
        elapsed: Duration::from_secs(2),
        outcomes: (0..400)
            .map(|i| match i {
                7 => Outcome::Failed("the router refused (503): no expert is ready".into()),
                _ => Outcome::Answered {
                    predicted: if i % collective_wrong_every == 0 { (classes[i] + 1) % 4 } else { classes[i] },
                    true_class: 0.8,
                    latency: Duration::from_micros(1000 + i as u64 * 10),
                    experts: vec!["expert-0".into()],
                    detail: Default::default(),
                },
            })
            .collect(),
    };
    let settings = Settings {
        subnet: "vision".into(),
        roster: "classes".into(),
        seed: 7,
        routers: 1,
        items: 400,
        concurrency: 8,
        resamples: 500,
    };
    let neuron = |uid: u16, name: &str, incentive| NeuronView {
        uid,
        name: (uid > 0).then(|| name.to_owned()),
        hotkey: "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY".into(),
        consensus: incentive,
        incentive,
        dividends: if name == "router-1" { 65535 } else { 0 },
        emission: u64::from(incentive) * 10_000,
    };
    let weights: BTreeMap<u16, u16> = [(1, 65535), (2, 32768)].into();
    let chain = ChainView {
        url: "ws://127.0.0.1:9944".into(),
        netuid: 1,
        block: 124,
        epoch_block: 120,
        epochs: 6,
        tempo: 20,
        routers: vec![RouterWeights {
            name: "router-1".into(),
            uid: Some(3),
            hotkey: "5F".into(),
            block: 118,
            ledger: weights.clone(),
            storage: weights,
            equal: true,
        }],
        neurons: vec![
            neuron(0, "", 0),
            neuron(1, "expert-0", 43690),
            neuron(2, "expert-1", 21845),
            neuron(3, "router-1", 0),
        ],
    };
    let dense = Dense { examples: 600, passes: 3, probabilities: classes.iter().map(|&c| certain(c, 4)).collect() };
    let singles = [single(0), single(1)];
    let times = Times { train: 9.5, from_cache: false, start: 4.0, evaluate: 6.25, epoch: 1.5, total: 22.0 };
    assemble(Measured {
        settings,
        labels: &labels,
        classes: &classes,
        singles: &singles,
        dense: Some(&dense),
        evaluations: &[evaluation(1), evaluation(2)],
        chain: Some(chain),
        times,
        resident_bytes: Some(512 << 20),
    })
}

#[test]
fn figures_follow_from_the_answers() {
    let report = sample(20);
    assert_eq!(report.baselines.best_single_name, "expert-0", "the first of equals");
    assert!((report.baselines.best_single.estimate - 0.5).abs() < 1e-12);
    assert!((report.baselines.mean_single.estimate - 0.5).abs() < 1e-12);
    assert!((report.baselines.oracle_gate.estimate - 1.0).abs() < 1e-12);
    assert_eq!(report.experts[1].own_classes, ["digit 1", "digit 2"]);
    assert_eq!(report.experts[1].own_items, 200);
    assert!((report.experts[1].own_accuracy.unwrap().estimate - 1.0).abs() < 1e-12);
    let row = &report.collective[1];
    assert_eq!((row.figures.failed, row.figures.items), (1, 400));
    // 20 wrong and one unanswered of 400.
    assert!((row.figures.accuracy.estimate - 379.0 / 400.0).abs() < 1e-12);
    assert!(row.versus_best_single.difference.low > 0.3);
    assert!(row.versus_dense.as_ref().unwrap().difference.high < 0.0);
}

#[test]
fn the_own_region_is_what_it_was_trained_on() {
    assert_eq!(own_classes(&[95, 5, 4, 0]), [0], "5 of 104 is less than 5 %");
    assert_eq!(own_classes(&[50, 50, 0]), [0, 1]);
    assert_eq!(own_classes(&[1; 30]).len(), 1, "spread evenly, the most frequent one stands for it");
    assert!(own_classes(&[0, 0]).is_empty());
}

#[test]
fn the_report_looks_like_this() {
    let text = render(&sample(20), false);
    let wanted = include_str!("snapshot.txt");
    if text != wanted && std::env::var_os("GLIA_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/snapshot.txt"), &text).unwrap();
    }
    assert_eq!(text, wanted, "\n{text}");
}

#[test]
fn a_loss_is_called_a_loss() {
    let text = render(&sample(1), false);
    assert!(text.contains("▼ k = 2 loses to the best single expert (expert-0): -50.0 points"), "{text}");
    assert!(text.contains("1 request failed: the router refused (503)"), "{text}");
}

#[test]
fn no_line_is_wider_than_100_columns_even_with_long_names() {
    let mut report = sample(20);
    report.experts[0].name = "an-expert-with-a-very-long-name-".into();
    report.experts[0].trained_on = "every class there is, and each of them named at full length ".repeat(3);
    report.settings.roster = "r".repeat(20);
    let mut chain = report.chain.take().unwrap();
    chain.routers = vec![chain.routers[0].clone(); 5];
    report.chain = Some(chain);
    for line in render(&report, false).lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn colours_come_only_when_wanted() {
    assert!(!render(&sample(20), false).contains('\x1b'));
    assert!(render(&sample(20), true).contains('\x1b'));
}

#[test]
fn json_keeps_everything() {
    /// Equal, but for the last digit of a fraction.
    fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
        use serde_json::Value::{Array, Number, Object};
        match (a, b) {
            (Number(a), Number(b)) => (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-12,
            (Array(a), Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
            (Object(a), Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
            }
            (a, b) => a == b,
        }
    }
    let report = sample(20);
    let back: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert!(same(&serde_json::to_value(&report).unwrap(), &serde_json::to_value(&back).unwrap()));
    assert_eq!(render(&back, false), render(&report, false));
}
