//! From the raw answers of all seeds of one roster to its figures. Pure: the draws are an argument.

use std::collections::BTreeMap;

use super::answers::{Answers, Method};
use super::options::main_k;
use super::report::{ClassRow, Comparison, Cost, ExpertRow, Gap, MethodReport, Reliability, RosterReport};
use super::runs::{CollectiveRun, DenseRun, KRun};
use crate::stats::crossed::{Draws, mean};
use crate::stats::{Interval, mcnemar, percentile};

/// Ids and names of the rivals.
pub mod method {
    /// The expert that is best on the test items themselves: no choice of one expert can do better.
    pub const BEST: (&str, &str) = ("best-single", "best single expert, in hindsight");
    /// The expert that is best on validation: what one would choose in advance.
    pub const CHOSEN: (&str, &str) = ("chosen-single", "best single, by validation");
    /// The mean of all experts.
    pub const MEAN: (&str, &str) = ("mean-single", "mean single expert");
    /// The unweighted mean of all experts' probabilities.
    pub const AVERAGE: (&str, &str) = ("plain-average", "plain average of all");
    /// The class most experts find most probable.
    pub const VOTE: (&str, &str) = ("majority-vote", "majority vote of all");
    /// Right when any expert is: an upper bound on choosing one expert that no gate can know how to reach.
    pub const ANY: (&str, &str) = ("oracle-any", "oracle: any expert right");
    /// A gate that knows the true class (of the roster `transforms`: the domain) of every input, and asks the one expert
    /// with the best record on it on validation.
    pub const CLASS: (&str, &str) = ("oracle-gate", "oracle gate: knows class, domain");
    /// A dense model of one expert's size.
    pub const DENSE: (&str, &str) = ("dense", "dense model, size of one expert");
    /// A dense model of the size of all experts.
    pub const DENSE_TOTAL: (&str, &str) = ("dense-total", "dense model, size of all experts");

    /// The id of the collective at `k`.
    #[must_use]
    pub fn collective(k: usize) -> String {
        format!("collective-{k}")
    }
}

/// The figures of a roster from its runs, one per seed, in the order of the seeds. `None` without a run.
#[must_use]
pub fn roster(runs: &[CollectiveRun], resamples: usize) -> Option<RosterReport> {
    let first = runs.first()?;
    // A run over other items (none is made) could not be compared item by item.
    let runs: Vec<&CollectiveRun> = runs.iter().filter(|run| run.classes == first.classes).collect();
    let draws = Draws::new(runs.len(), first.classes.len(), resamples, 7);
    let figures = Figures { runs: &runs, classes: &first.classes, labels: first.labels.len(), draws };
    Some(figures.report())
}

struct Figures<'a> {
    runs: &'a [&'a CollectiveRun],
    classes: &'a [u16],
    labels: usize,
    draws: Draws,
}

/// One way of answering, with what is compared.
struct Way<'a> {
    report: MethodReport,
    hits: Vec<Vec<f64>>,
    answers: Option<Vec<&'a Answers>>,
}

impl<'a> Figures<'a> {
    fn report(&self) -> RosterReport {
        let first = self.runs[0];
        let ks = self.ks();
        let main = main_k(&ks);
        let mut ways = self.rivals();
        ways.extend(ks.iter().filter_map(|&k| self.collective(k)));
        ways.extend(self.oracles());
        let rivals = [method::BEST, method::CHOSEN, method::AVERAGE, method::VOTE, method::DENSE, method::DENSE_TOTAL];
        let of = |id: &str| ways.iter().find(|way| way.report.id == id);
        let mut comparisons = Vec::new();
        let mut gaps = Vec::new();
        for &k in &ks {
            let Some(collective) = of(&method::collective(k)) else { continue };
            for rival in rivals.iter().filter_map(|(id, _)| of(id)) {
                comparisons.push(self.compare(k, collective, rival));
            }
            if let Some(best) = of(method::BEST.0) {
                let oracles = [method::ANY, method::CLASS];
                gaps.extend(oracles.iter().filter_map(|(id, _)| Some(self.gap(k, collective, best, of(id)?))));
            }
        }
        let collective = method::collective(main);
        let drawn = [collective.as_str(), method::BEST.0, method::AVERAGE.0, method::DENSE.0];
        let methods_of = |id: &str| of(id).and_then(|way| Some((id.to_owned(), way.answers.as_ref()?)));
        let reliability = drawn
            .iter()
            .filter_map(|id| methods_of(id))
            .map(|(id, seeds)| Reliability { id, bins: Method { seeds, classes: self.classes }.reliability() });
        let mut classes: Vec<ClassRow> = first
            .labels
            .iter()
            .enumerate()
            .map(|(class, label)| ClassRow {
                label: label.clone(),
                items: self.classes.iter().filter(|&&other| usize::from(other) == class).count(),
                accuracy: BTreeMap::new(),
            })
            .collect();
        let compared = [collective.as_str(), method::BEST.0, method::AVERAGE.0, method::CLASS.0, method::DENSE.0];
        for (id, seeds) in compared.iter().filter_map(|id| methods_of(id)) {
            let by_class = Method { seeds, classes: self.classes }.by_class(self.labels);
            for (row, accuracy) in classes.iter_mut().zip(by_class) {
                row.accuracy.extend(accuracy.map(|accuracy| (id.clone(), accuracy)));
            }
        }
        RosterReport {
            roster: first.roster.clone(),
            seeds: self.runs.iter().map(|run| run.seed).collect(),
            items: self.classes.len(),
            labels: first.labels.clone(),
            reliability: reliability.collect(),
            classes,
            comparisons,
            costs: ks.iter().map(|&k| self.cost(k)).collect(),
            gaps,
            experts: self.runs.iter().flat_map(|run| experts(run, main)).collect(),
            methods: ways.into_iter().map(|way| way.report).collect(),
        }
    }

    /// The k that every seed has.
    fn ks(&self) -> Vec<usize> {
        let mut ks: Vec<usize> = self.runs[0].collective.iter().map(|run| run.k).collect();
        ks.retain(|&k| self.runs.iter().all(|run| at(run, k).is_some()));
        ks
    }

    fn way(&self, (id, name): (&str, &str), seeds: Vec<&'a Answers>) -> Way<'a> {
        let method = Method { seeds: &seeds, classes: self.classes };
        let hits = method.hits();
        let report = MethodReport {
            id: id.to_owned(),
            name: name.to_owned(),
            k: None,
            parameters: None,
            accuracy: self.draws.mean(&hits),
            by_seed: method.accuracies(),
            log_loss: finite(self.draws.mean(&method.losses())),
            ece: finite(method.ece(&self.draws)),
        };
        Way { report, hits, answers: Some(seeds) }
    }

    /// A way of answering of which only right and wrong are known.
    fn bare(&self, (id, name): (&str, &str), hits: Vec<Vec<f64>>) -> Way<'a> {
        let share = |row: &Vec<f64>| row.iter().sum::<f64>() / row.len().max(1) as f64;
        let report = MethodReport {
            id: id.to_owned(),
            name: name.to_owned(),
            k: None,
            parameters: None,
            accuracy: self.draws.mean(&hits),
            by_seed: hits.iter().map(share).collect(),
            log_loss: None,
            ece: None,
        };
        Way { report, hits, answers: None }
    }

    fn rivals(&self) -> Vec<Way<'a>> {
        let runs = self.runs;
        let mut mean_single = self.bare(method::MEAN, runs.iter().map(|run| mean_hits(run)).collect());
        let losses: Vec<Vec<f64>> = runs.iter().map(|run| mean_losses(run)).collect();
        mean_single.report.log_loss = finite(self.draws.mean(&losses));
        let mut ways = vec![
            self.way(method::BEST, runs.iter().map(|run| &run.singles[run.best_on_test]).collect()),
            self.way(method::CHOSEN, runs.iter().map(|run| &run.singles[run.best_on_validation]).collect()),
            mean_single,
            self.way(method::AVERAGE, runs.iter().map(|run| &run.average).collect()),
            self.way(method::VOTE, runs.iter().map(|run| &run.vote).collect()),
        ];
        let mut dense = |names, of: fn(&CollectiveRun) -> Option<&DenseRun>| {
            let all: Option<Vec<&DenseRun>> = runs.iter().map(|run| of(run)).collect();
            if let Some(all) = all {
                let mut way = self.way(names, all.iter().map(|dense| &dense.answers).collect());
                way.report.parameters = all.first().map(|dense| dense.parameters);
                ways.push(way);
            }
        };
        dense(method::DENSE, |run| run.dense.as_ref());
        dense(method::DENSE_TOTAL, |run| run.dense_total.as_ref());
        ways
    }

    fn oracles(&self) -> Vec<Way<'a>> {
        let number = |run: &&CollectiveRun| run.any_right.iter().map(|&right| f64::from(u8::from(right))).collect();
        vec![
            self.way(method::CLASS, self.runs.iter().map(|run| &run.best_by_class).collect()),
            self.bare(method::ANY, self.runs.iter().map(number).collect()),
        ]
    }

    fn collective(&self, k: usize) -> Option<Way<'a>> {
        let seeds: Option<Vec<&Answers>> = self.runs.iter().map(|run| Some(&at(run, k)?.answers)).collect();
        let mut way = self.way((&method::collective(k), &format!("collective, k = {k}")), seeds?);
        way.report.k = Some(k);
        Some(way)
    }

    fn compare(&self, k: usize, collective: &Way<'_>, rival: &Way<'_>) -> Comparison {
        let pairs = || collective.hits.iter().flatten().zip(rival.hits.iter().flatten());
        let only_collective = pairs().filter(|&(a, b)| *a > 0.5 && *b < 0.5).count();
        let only_rival = pairs().filter(|&(a, b)| *a < 0.5 && *b > 0.5).count();
        let by_seed = collective.report.by_seed.iter().zip(&rival.report.by_seed);
        Comparison {
            k,
            rival: rival.report.id.clone(),
            difference: self.draws.difference(&collective.hits, &rival.hits),
            apart: collective.report.accuracy.low > rival.report.accuracy.high,
            only_collective,
            only_rival,
            p_value: mcnemar(only_collective, only_rival),
            seeds_won: by_seed.filter(|(a, b)| a > b).count(),
        }
    }

    fn gap(&self, k: usize, collective: &Way<'_>, best: &Way<'_>, oracle: &Way<'_>) -> Gap {
        let closed = self.draws.interval(|draw| {
            let (c, b, o) = (mean(&collective.hits, draw), mean(&best.hits, draw), mean(&oracle.hits, draw));
            // Where the best expert reaches the oracle there is no way to go.
            if o - b > 1e-9 { (c - b) / (o - b) } else { f64::NAN }
        });
        let nothing = Interval { estimate: 0.0, low: 0.0, high: 0.0 };
        Gap { k, oracle: oracle.report.id.clone(), closed: finite(closed).unwrap_or(nothing) }
    }

    fn cost(&self, k: usize) -> Cost {
        let runs: Vec<&KRun> = self.runs.iter().filter_map(|run| at(run, k)).collect();
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let answered = |run: &&KRun| run.answers.predicted.len() - run.answers.unanswered();
        let latencies = sorted(
            runs.iter()
                .flat_map(|run| run.latency_ms.iter().zip(&run.answers.predicted))
                .filter(|(_, predicted)| predicted.is_some())
                .map(|(&latency, _)| f64::from(latency))
                .collect(),
        );
        let own = sorted(runs.iter().flat_map(|run| &run.own_us).map(|&us| f64::from(us)).collect());
        let calls: Option<u64> = runs.iter().map(|run| run.calls).sum();
        let total: usize = runs.iter().map(answered).sum();
        let mut failures = BTreeMap::new();
        for (why, count) in runs.iter().flat_map(|run| &run.failures) {
            *failures.entry(why.clone()).or_insert(0) += count;
        }
        Cost {
            k,
            calls_per_request: calls.map(|calls| calls as f64 / total.max(1) as f64),
            p50_ms: percentile(&latencies, 0.5),
            p95_ms: percentile(&latencies, 0.95),
            p99_ms: percentile(&latencies, 0.99),
            own_p99_us: (!own.is_empty()).then(|| percentile(&own, 0.99)),
            requests_per_s: runs.iter().map(|run| run.requests_per_s).sum::<f64>() / runs.len().max(1) as f64,
            failed: runs.iter().map(|run| run.answers.unanswered()).sum(),
            failures,
        }
    }
}

fn at(run: &CollectiveRun, k: usize) -> Option<&KRun> {
    run.collective.iter().find(|one| one.k == k)
}

fn mean_hits(run: &CollectiveRun) -> Vec<f64> {
    mean_of(&Method { seeds: &run.singles.iter().collect::<Vec<_>>(), classes: &run.classes }.hits())
}

fn mean_losses(run: &CollectiveRun) -> Vec<f64> {
    mean_of(&Method { seeds: &run.singles.iter().collect::<Vec<_>>(), classes: &run.classes }.losses())
}

fn mean_of(rows: &[Vec<f64>]) -> Vec<f64> {
    let items = rows.first().map_or(0, Vec::len);
    (0..items).map(|item| rows.iter().map(|row| row[item]).sum::<f64>() / rows.len() as f64).collect()
}

fn experts(run: &CollectiveRun, k: usize) -> Vec<ExpertRow> {
    let main = at(run, k);
    let calls: u64 = main.map_or(0, |run| run.answers_by.values().sum());
    let weight: f64 = main.map_or(0.0, |run| run.weight.values().sum());
    let row = |(facts, answers): (&super::runs::ExpertFacts, &Answers)| ExpertRow {
        seed: run.seed,
        name: facts.name.clone(),
        trained_on: facts.trained_on.clone(),
        examples: facts.class_counts.iter().sum(),
        accuracy: answers.accuracy(&run.classes),
        validation: facts.validation,
        calls: main.and_then(|run| run.answers_by.get(&facts.name)).map_or(0.0, |&n| n as f64 / calls.max(1) as f64),
        weight: main.and_then(|run| run.weight.get(&facts.name)).map_or(0.0, |&w| w / weight.max(1e-12)),
    };
    run.experts.iter().zip(&run.singles).map(row).collect()
}

/// What can be written as JSON: intervals without a number are left out.
fn finite(interval: Interval) -> Option<Interval> {
    [interval.estimate, interval.low, interval.high].iter().all(|value| value.is_finite()).then_some(interval)
}
