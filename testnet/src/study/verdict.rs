//! What was promised, and whether it is so. Every promise is judged by the letter, and a missed one says what is known
//! of the reason.

use super::analyse::method;
use super::options::ROSTERS;
use super::report::{Comparison, RosterReport, StressReport, StudyReport, Target, Verdict};
use super::text::{percent, percent_interval, points, points_interval};

/// Share of the gap from best single expert to oracle gate that the collective must close on `dirichlet`.
const GAP: f64 = 0.9;
/// Most points behind the dense model of all experts' size on `iid`.
const BEHIND_DENSE: f64 = 0.01;
/// Most points lost to six colluders.
const LOST_TO_LIARS: f64 = 0.01;
/// Most incentive (and weight) that liars may hold together.
const LIARS_HOLD: f64 = 0.02;
/// The epoch after which they may not hold more.
const LIARS_AFTER: u64 = 5;
/// Epochs after which a sleeper has lost its weight.
const SLEEPER_WITHIN: u64 = 3;
/// Most that an owner may earn with clones, relative to earning alone.
const CLONES_EARN: f64 = 1.1;
/// Largest calibration error on `dirichlet`.
const ECE: f64 = 0.03;
/// Most that the 99th percentile of latency may grow with frozen experts.
const FROZEN_SLOWER: f64 = 2.0;

/// Every promise, in the order they were made.
#[must_use]
pub fn targets(report: &StudyReport) -> Vec<Target> {
    let mut targets = Vec::new();
    for name in ROSTERS {
        let roster = report.rosters.iter().find(|roster| roster.roster == name);
        for (rival, words) in [
            (method::BEST.0, "the best single expert"),
            (method::AVERAGE.0, "the plain average"),
            (method::VOTE.0, "the majority vote"),
        ] {
            let promise = format!("{name}: the collective beats {words}, intervals apart");
            let judged = roster.and_then(|roster| beats(roster, report.made.main_k, rival));
            targets.push(judged.map_or_else(|| unknown(&promise), |judged| judged.of(&promise)));
        }
    }
    let k = report.made.main_k;
    let roster = |name: &str| report.rosters.iter().find(|roster| roster.roster == name);
    for (oracle, words) in [
        (method::CLASS.0, "a gate that knows the class and each expert's record"),
        (method::ANY.0, "an oracle that is right when any expert is"),
    ] {
        let promise = format!("dirichlet: closes at least 90 % of the gap from best single expert to {words}");
        targets.push(
            roster("dirichlet").and_then(|r| gap(r, k, oracle)).map_or_else(|| unknown(&promise), |j| j.of(&promise)),
        );
    }
    let promise = "iid: within 1 point of the dense model of equal total parameters";
    targets.push(roster("iid").and_then(|r| dense(r, k)).map_or_else(|| unknown(promise), |j| j.of(promise)));
    let promise = "dirichlet: calibration error of the collective at most 0.03";
    targets
        .push(roster("dirichlet").and_then(|r| calibrated(r, k)).map_or_else(|| unknown(promise), |j| j.of(promise)));
    let colluders = report.stress.iter().find(|run| run.kind == "collude" && run.count == 6);
    let promise = "6 colluding liars of 14: accuracy falls by at most 1 point";
    targets.push(colluders.and_then(lost).map_or_else(|| unknown(promise), |j| j.of(promise)));
    let promise = "6 colluding liars of 14: after 5 epochs they hold less than 2 % of the incentive";
    targets.push(colluders.and_then(hold).map_or_else(|| unknown(promise), |j| j.of(promise)));
    let promise = "a sleeper loses its weight within 3 epochs of waking";
    let sleepers = report.stress.iter().filter(|run| run.kind == "sleeper" && run.count > 0).filter_map(awake);
    // The worst of them, should several numbers of sleepers have been measured.
    let sleepers = sleepers.max_by_key(|judged| judged.verdict == Verdict::NotMet);
    targets.push(sleepers.map_or_else(|| unknown(promise), |j| j.of(promise)));
    targets.push(clones(report));
    targets.extend(frozen(report));
    targets.push(own_time(report));
    targets
}

struct Judged {
    measured: String,
    verdict: Verdict,
    why: Option<String>,
}

impl Judged {
    fn new(met: bool, measured: String) -> Self {
        Self { measured, verdict: if met { Verdict::Met } else { Verdict::NotMet }, why: None }
    }

    fn because(mut self, why: impl FnOnce() -> String) -> Self {
        if self.verdict == Verdict::NotMet {
            self.why = Some(why());
        }
        self
    }

    fn of(self, promise: &str) -> Target {
        Target { promise: promise.to_owned(), measured: self.measured, verdict: self.verdict, why: self.why }
    }
}

fn unknown(promise: &str) -> Target {
    Target {
        promise: promise.to_owned(),
        measured: "not part of this study".to_owned(),
        verdict: Verdict::NotMeasured,
        why: None,
    }
}

fn beats(roster: &RosterReport, k: usize, rival: &str) -> Option<Judged> {
    let (ours, theirs) = (roster.collective(k)?, roster.method(rival)?);
    let comparison = roster.comparison(k, rival)?;
    let measured = format!(
        "{} against {}; difference {}; better in {} of {} seeds",
        percent_interval(ours.accuracy),
        percent_interval(theirs.accuracy),
        points_interval(comparison.difference),
        comparison.seeds_won,
        roster.seeds.len()
    );
    Some(Judged::new(comparison.apart, measured).because(|| why_not(roster, comparison)))
}

/// What the figures tell of why a rival was not beaten.
fn why_not(roster: &RosterReport, lost: &Comparison) -> String {
    let difference = lost.difference;
    let mut text = if difference.low > 0.0 {
        format!(
            "The collective is better on the same images: the paired difference excludes 0 ({} to {} points). The two \
             intervals overlap because both move with the same images and seeds.",
            points(difference.low),
            points(difference.high)
        )
    } else if difference.high < 0.0 {
        "The collective is worse.".to_owned()
    } else {
        "No difference can be shown: the paired interval holds 0.".to_owned()
    };
    let experts = roster.experts.iter().filter(|expert| Some(&expert.seed) == roster.seeds.first()).count();
    if lost.rival == method::AVERAGE.0 || lost.rival == method::VOTE.0 {
        text.push_str(&format!(" The rival asks all {experts} experts, the collective {}.", lost.k));
        if let Some(all) = roster.comparison(experts, &lost.rival).filter(|all| all.k != lost.k) {
            text.push_str(&format!(
                " Asking {experts}, too, the collective differs by {}.",
                points_interval(all.difference)
            ));
        }
        if spread(roster) < 0.06 {
            text.push_str(" These experts are about equally good at everything, so there is little to choose by, and every further answer averages out some error.");
        }
    }
    if roster.seeds.len() == 1 {
        text.push_str(" One seed and few images make wide intervals.");
    }
    text
}

/// How far the experts' own accuracies are apart, mean over the seeds.
fn spread(roster: &RosterReport) -> f64 {
    let of = |seed: &u64| {
        let all = || roster.experts.iter().filter(move |expert| expert.seed == *seed).map(|expert| expert.accuracy);
        all().fold(0.0, f64::max) - all().fold(1.0, f64::min)
    };
    roster.seeds.iter().map(of).sum::<f64>() / roster.seeds.len().max(1) as f64
}

fn gap(roster: &RosterReport, k: usize, oracle: &str) -> Option<Judged> {
    let gap = roster.gaps.iter().find(|gap| gap.k == k && gap.oracle == oracle)?;
    let of = |id: &str| roster.method(id).map(|method| method.accuracy.estimate);
    let measured = format!(
        "{} closed (from {} to {})",
        percent_interval(gap.closed),
        percent(of(method::BEST.0)?),
        percent(of(oracle)?)
    );
    let judged = Judged::new(gap.closed.estimate >= GAP, measured);
    Some(judged.because(|| {
        let dense = of(method::DENSE_TOTAL.0).or_else(|| of(method::DENSE.0));
        let dense = dense.map_or_else(String::new, |dense| {
            format!(" One model trained on everybody's data together reaches {}.", percent(dense))
        });
        let any = if oracle == method::ANY.0 {
            " That oracle sees the true answer after the fact: it also counts lucky guesses, which no gate can foresee."
        } else {
            ""
        };
        format!(
            "The collective answers {} right at k = {k}.{any}{dense}",
            percent(roster.collective(k).map_or(0.0, |m| m.accuracy.estimate))
        )
    }))
}

fn dense(roster: &RosterReport, k: usize) -> Option<Judged> {
    let comparison = roster.comparison(k, method::DENSE_TOTAL.0)?;
    let measured = format!(
        "{} against {}; difference {}",
        percent_interval(roster.collective(k)?.accuracy),
        percent_interval(roster.method(method::DENSE_TOTAL.0)?.accuracy),
        points_interval(comparison.difference)
    );
    let used: u64 = roster.experts.iter().filter(|e| Some(&e.seed) == roster.seeds.first()).map(|e| e.examples).sum();
    Some(Judged::new(comparison.difference.estimate >= -BEHIND_DENSE, measured).because(|| {
        format!(
            "The dense model learns from all training images at once; the experts together hold {used} of them, each \
             trained on its own shard alone."
        )
    }))
}

fn calibrated(roster: &RosterReport, k: usize) -> Option<Judged> {
    let ece = roster.collective(k)?.ece?;
    let measured = format!("{:.3} [{:.3}, {:.3}]", ece.estimate, ece.low, ece.high);
    Some(Judged::new(ece.estimate <= ECE, measured).because(|| {
        let bins = roster.reliability.iter().find(|r| r.id == method::collective(k)).map(|r| r.bins.as_slice());
        let signed: f64 = bins.unwrap_or_default().iter().map(|b| b.count as f64 * (b.confidence - b.accuracy)).sum();
        let says = if signed > 0.0 { "more" } else { "less" };
        format!(
            "Over all answers it claims {says} confidence than it has right answers. The estimate itself is a little \
             high with few images: empty chance alone gives a positive error."
        )
    }))
}

fn lost(run: &StressReport) -> Option<Judged> {
    let change = run.change?;
    let measured = format!("{} with liars; change {}", percent_interval(run.accuracy), points_interval(change));
    let share = run.epochs.last().map_or(0.0, |row| row.liar_share);
    Some(
        Judged::new(change.estimate >= -LOST_TO_LIARS, measured)
            .because(|| format!("In the last epoch the liars still had {} of the answers' weight.", percent(share))),
    )
}

fn hold(run: &StressReport) -> Option<Judged> {
    let row = run.epochs.iter().find(|row| row.epoch > LIARS_AFTER).or_else(|| run.epochs.last())?;
    if row.epoch < LIARS_AFTER {
        return None;
    }
    let course: Vec<String> = run.epochs.iter().map(|row| percent(row.liar_incentive)).collect();
    let measured =
        format!("{} in epoch {}; epoch by epoch {}", percent(row.liar_incentive), row.epoch, course.join(", "));
    Some(
        Judged::new(row.liar_incentive < LIARS_HOLD, measured)
            .because(|| format!("In that epoch they had {} of the answers' weight.", percent(row.liar_share))),
    )
}

fn awake(run: &StressReport) -> Option<Judged> {
    let course: Vec<String> = run.epochs.iter().map(|row| percent(row.liar_weight)).collect();
    let row = run.epochs.iter().find(|row| row.epoch == SLEEPER_WITHIN)?;
    let measured = format!(
        "{} sleepers hold {} of the expert weights in epoch 3 after waking; epoch by epoch {}",
        run.count,
        percent(row.liar_weight),
        course.join(", ")
    );
    Some(Judged::new(row.liar_weight < LIARS_HOLD, measured).because(|| {
        format!(
            "Lost is judged as below 2 % together. In epoch 3 the sleepers had {} of the answers' weight and {} of the \
             incentive, which follows the weights with a delay.",
            percent(row.liar_share),
            percent(row.liar_incentive)
        )
    }))
}

fn clones(report: &StudyReport) -> Target {
    let promise = "a cloned expert's owner earns no more with 3 clones than alone (±10 %)";
    let Some(clones) = &report.clones else { return unknown(promise) };
    let ratio = clones.mean_with / clones.mean_alone.max(1e-9);
    let measured = format!(
        "{}: {} of the incentive alone, {} with clones, {ratio:.2} times as much (means of the later epochs)",
        clones.expert,
        percent(clones.mean_alone),
        percent(clones.mean_with)
    );
    let course = |shares: &[f64]| shares.iter().map(|share| percent(*share)).collect::<Vec<_>>().join(", ");
    Judged::new(ratio <= CLONES_EARN, measured)
        .because(|| {
            format!("Alone, epoch by epoch: {}. With clones: {}.", course(&clones.alone), course(&clones.with_clones))
        })
        .of(promise)
}

fn frozen(report: &StudyReport) -> Vec<Target> {
    let promises = [
        "20 % of the experts frozen mid-run: no request fails",
        "20 % of the experts frozen mid-run: p99 latency within 2× of before after the first 2 s",
    ];
    let Some(frozen) = &report.frozen else { return promises.into_iter().map(unknown).collect() };
    let failed = Judged::new(
        frozen.failed == 0,
        format!(
            "{} of {} requests failed ({} of {} experts frozen)",
            frozen.failed,
            frozen.requests,
            frozen.frozen.len(),
            frozen.experts
        ),
    );
    let reasons = || frozen.failures.keys().take(2).cloned().collect::<Vec<_>>().join("; ");
    let slower = Judged::new(
        frozen.p99_after_ms <= FROZEN_SLOWER * frozen.p99_before_ms,
        format!(
            "{:.1} ms before, {:.1} ms in the first 2 s, {:.1} ms after",
            frozen.p99_before_ms, frozen.p99_first_ms, frozen.p99_after_ms
        ),
    );
    vec![failed.because(reasons).of(promises[0]), slower.of(promises[1])]
}

fn own_time(report: &StudyReport) -> Target {
    let of = |roster: &RosterReport| {
        roster.costs.iter().find(|cost| cost.k == report.made.main_k).and_then(|cost| cost.own_p99_us)
    };
    let worst = report
        .rosters
        .iter()
        .filter_map(of)
        .fold(None, |most: Option<f64>, us| Some(most.map_or(us, |most| most.max(us))));
    let seen = worst.map_or_else(String::new, |us| {
        format!("; in these meshes of {} experts on a busy machine p99 was {us:.0} µs", report.made.experts)
    });
    Target {
        promise: "the router's own time, p99 at most 300 µs for 64 experts".to_owned(),
        measured: format!("measured by `cargo bench -p glia-router`, not here{seen}"),
        verdict: Verdict::NotMeasured,
        why: None,
    }
}
