//! From the raw runs of the stress part to its figures. Pure.

use super::report::{CloneReport, EpochRow, FrozenReport, StressReport};
use super::runs::{EpochSeen, FrozenRun, StressRun};
use crate::stats::{Interval, paired_difference, percentile, wilson};

/// Width of a step of the latency timeline, seconds.
const STEP: f64 = 0.5;
/// Time the mesh has to notice frozen experts, seconds.
pub const NOTICE: f64 = 2.0;

/// Whether an expert of a stress mesh is a dishonest one: they are named so.
#[must_use]
pub fn is_liar(name: &str) -> bool {
    name.starts_with("liar-")
}

/// Whether an expert is `of` itself or one of its clones.
fn is_family(name: &str, of: &str) -> bool {
    name == of || name.strip_prefix("clone-").is_some_and(|rest| rest.ends_with(of))
}

/// The figures of one attack; `clean` is whether each item was answered right in the mesh without liars.
#[must_use]
pub fn stress(run: &StressRun, clean: Option<&[bool]>, resamples: usize) -> StressReport {
    let change = clean.and_then(|clean| {
        // The short version asks the same items in the same order; whoever asked more is cut to them.
        let n = clean.len().min(run.final_right.len());
        paired_difference(&run.final_right[..n], &clean[..n], resamples, 7)
    });
    StressReport {
        kind: run.kind.clone(),
        count: run.count,
        honest: run.honest,
        k: run.k,
        epochs: run.epochs.iter().map(epoch).collect(),
        accuracy: share(&run.final_right),
        failed: run.final_failed,
        change,
    }
}

fn share(right: &[bool]) -> Interval {
    wilson(right.iter().filter(|&&right| right).count(), right.len())
}

fn epoch(seen: &EpochSeen) -> EpochRow {
    let liars = |of: &std::collections::BTreeMap<String, f64>| -> f64 {
        of.iter().filter(|(name, _)| is_liar(name)).map(|(_, share)| share).sum()
    };
    let liar_incentive = liars(&seen.incentive);
    EpochRow {
        epoch: seen.epoch,
        items: seen.items,
        accuracy: wilson(seen.right, seen.items),
        failed: seen.failed,
        honest_incentive: (seen.incentive.values().sum::<f64>() - liar_incentive).max(0.0),
        liar_incentive,
        liar_weight: liars(&seen.weight),
        liar_share: liars(&seen.share),
        incentive: seen.incentive.clone(),
    }
}

/// What the owner of an expert earns with clones and without.
#[must_use]
pub fn clones(alone: &StressRun, cloned: &StressRun) -> Option<CloneReport> {
    let expert = cloned.cloned.clone()?;
    let earned = |run: &StressRun| -> Vec<f64> {
        let family = |seen: &EpochSeen| {
            seen.incentive.iter().filter(|(name, _)| is_family(name, &expert)).map(|(_, share)| share).sum()
        };
        run.epochs.iter().map(family).collect()
    };
    let (alone, with_clones) = (earned(alone), earned(cloned));
    let late = |values: &[f64]| {
        let last = &values[values.len() / 2..];
        last.iter().sum::<f64>() / last.len().max(1) as f64
    };
    let (mean_alone, mean_with) = (late(&alone), late(&with_clones));
    Some(CloneReport { expert, clones: cloned.count, alone, with_clones, mean_alone, mean_with })
}

/// Latencies before, during and after a freeze.
#[must_use]
pub fn frozen(run: &FrozenRun) -> FrozenReport {
    let within = |from: f64, to: f64| -> Vec<f64> {
        let mut all: Vec<f64> = run
            .requests
            .iter()
            .filter(|(at, _, answered)| *answered && (from..to).contains(at))
            .map(|&(_, latency, _)| latency)
            .collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let ends = |pick: fn(f64, f64) -> f64, from: f64| run.requests.iter().map(|&(at, ..)| at).fold(from, pick);
    let (first, last) = (ends(f64::min, 0.0), ends(f64::max, 0.0));
    let steps = (first / STEP).floor() as i64..=(last / STEP).floor() as i64;
    let timeline = steps.filter_map(|step| {
        let from = step as f64 * STEP;
        let sorted = within(from, from + STEP);
        (!sorted.is_empty()).then(|| (from, sorted.len(), percentile(&sorted, 0.5), percentile(&sorted, 0.99)))
    });
    FrozenReport {
        experts: run.experts,
        frozen: run.frozen.clone(),
        k: run.k,
        requests: run.requests.len(),
        failed: run.requests.iter().filter(|(.., answered)| !answered).count(),
        failures: run.failures.clone(),
        p99_before_ms: percentile(&within(f64::NEG_INFINITY, 0.0), 0.99),
        p99_first_ms: percentile(&within(0.0, NOTICE), 0.99),
        p99_after_ms: percentile(&within(NOTICE, f64::INFINITY), 0.99),
        timeline: timeline.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn seen(epoch: u64, incentive: &[(&str, f64)]) -> EpochSeen {
        let shares: BTreeMap<String, f64> =
            incentive.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect();
        EpochSeen {
            epoch,
            block: epoch * 10,
            items: 100,
            right: 90,
            failed: 1,
            weight: shares.clone(),
            share: shares.clone(),
            incentive: shares,
        }
    }

    fn run(kind: &str, epochs: Vec<EpochSeen>) -> StressRun {
        StressRun {
            kind: kind.into(),
            count: 2,
            honest: 2,
            k: 4,
            epochs,
            final_right: vec![true, true, false, true],
            final_failed: 0,
            cloned: (kind == "clones").then(|| "expert-1".to_owned()),
        }
    }

    #[test]
    fn liars_and_honest_share_the_whole() {
        let epochs = vec![seen(1, &[("expert-0", 0.5), ("expert-1", 0.25), ("liar-0", 0.15), ("liar-1", 0.1)])];
        let report = stress(&run("noise", epochs), Some(&[true, true, true, true, true]), 200);
        let row = &report.epochs[0];
        assert!((row.liar_incentive - 0.25).abs() < 1e-12 && (row.honest_incentive - 0.75).abs() < 1e-12);
        assert!((report.accuracy.estimate - 0.75).abs() < 1e-12);
        assert!((report.change.unwrap().estimate + 0.25).abs() < 1e-12, "one of four is lost");
        assert_eq!(stress(&run("noise", vec![]), None, 10).change, None);
    }

    #[test]
    fn clones_earn_for_their_owner() {
        let alone = run("honest", (1..=4).map(|e| seen(e, &[("expert-0", 0.8), ("expert-1", 0.2)])).collect());
        let with = [("expert-0", 0.7), ("expert-1", 0.1), ("clone-1-expert-1", 0.15), ("clone-2-expert-1", 0.05)];
        let cloned = run("clones", (1..=4).map(|e| seen(e, &with)).collect());
        let report = clones(&alone, &cloned).unwrap();
        assert!((report.mean_alone - 0.2).abs() < 1e-12 && (report.mean_with - 0.3).abs() < 1e-12);
        assert_eq!(report.alone.len(), 4);
    }

    #[test]
    fn a_freeze_cuts_time_in_three() {
        // 100 quick requests before, a slow one at once, quick ones later, one lost.
        let mut requests: Vec<(f64, f64, bool)> = (0..100).map(|i| (-1.0 + f64::from(i) * 0.01, 5.0, true)).collect();
        requests.push((0.5, 900.0, true));
        requests.push((1.0, 0.0, false));
        requests.extend((0..100).map(|i| (2.0 + f64::from(i) * 0.01, 6.0, true)));
        let run = FrozenRun { experts: 10, frozen: vec!["a".into()], k: 4, requests, failures: BTreeMap::new() };
        let report = frozen(&run);
        assert!((report.p99_before_ms - 5.0).abs() < 1e-9 && (report.p99_after_ms - 6.0).abs() < 1e-9);
        assert!((report.p99_first_ms - 900.0).abs() < 1e-9);
        assert_eq!((report.requests, report.failed), (202, 1));
        let starts: Vec<f64> = report.timeline.iter().map(|step| step.0).collect();
        assert_eq!(starts, [-1.0, -0.5, 0.5, 2.0, 2.5], "steps without an answer are left out");
    }
}
