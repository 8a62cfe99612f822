//! A small study made up by hand, and what becomes of it.

use std::collections::BTreeMap;

use super::analyse::method;
use super::answers::Answers;
use super::report::{Made, SCHEMA, StudyReport, Verdict};
use super::runs::{CollectiveRun, DenseRun, EpochSeen, ExpertFacts, FrozenRun, KRun, StressRun};
use super::{Done, assemble, html, markdown, terminal};

const CLASSES: usize = 4;
const ITEMS: usize = 200;

fn classes() -> Vec<u16> {
    (0..ITEMS).map(|item| (item % CLASSES) as u16).collect()
}

/// Right with 80 % confidence where `right` says so, else the next class.
fn answers(right: impl Fn(usize) -> bool) -> Answers {
    let mut answers = Answers::default();
    for (item, class) in classes().into_iter().enumerate() {
        let top = (usize::from(class) + usize::from(!right(item))) % CLASSES;
        let row: Vec<f32> = (0..CLASSES).map(|c| if c == top { 0.8 } else { 0.2 / 3.0 }).collect();
        answers.push(Some(&row), Some(top), class);
    }
    answers
}

fn at(k: usize, right: impl Fn(usize) -> bool) -> KRun {
    let names = ["expert-0".to_owned(), "expert-1".to_owned()];
    KRun {
        k,
        answers: answers(right),
        latency_ms: (0..ITEMS).map(|item| 1.0 + item as f32 / 100.0).collect(),
        calls: Some((k * ITEMS) as u64 + 4),
        own_us: (0..ITEMS as u32).collect(),
        requests_per_s: 900.0,
        failures: BTreeMap::new(),
        weight: names.iter().cloned().zip([150.0, 50.0]).collect(),
        answers_by: names.iter().cloned().zip([120, 80]).collect(),
    }
}

/// Two experts, each right on two of four classes and the first on a few more; a collective right on nine of ten.
fn run(roster: &str, seed: u64) -> CollectiveRun {
    let shift = seed as usize;
    let facts = |e: usize| ExpertFacts {
        name: format!("expert-{e}"),
        trained_on: if e == 0 { "bag, coat".into() } else { "digit 1, digit 2".into() },
        class_counts: vec![100, 100, 0, 0],
        passes: 4,
        validation: 0.5 + e as f64 / 100.0,
    };
    let dense = |parameters, every| DenseRun {
        parameters,
        examples: 400,
        passes: 4,
        answers: answers(move |item| !(item + shift).is_multiple_of(every)),
    };
    CollectiveRun {
        roster: roster.into(),
        seed,
        classes: classes(),
        labels: ["bag", "coat", "digit 1", "digit 2"].map(String::from).to_vec(),
        experts: vec![facts(0), facts(1)],
        best_on_validation: 1,
        best_on_test: 0,
        singles: vec![answers(|item| item % 4 < 2 || item % 20 == 2), answers(|item| item % 4 >= 2)],
        average: answers(|item| !(item + shift).is_multiple_of(4)),
        vote: answers(|item| !(item + shift).is_multiple_of(3)),
        any_right: vec![true; ITEMS],
        best_by_class: answers(|item| item % 100 != 7),
        dense: Some(dense(1000, 12)),
        dense_total: Some(dense(2000, 25)),
        collective: [1, 2, 4].map(|k| at(k, move |item| !(item + shift).is_multiple_of(6 + k))).to_vec(),
        start_s: 3.0,
        resident_bytes: Some(1 << 28),
    }
}

fn under(kind: &str, count: usize, liars: &[f64]) -> StressRun {
    let names = |share: f64| -> BTreeMap<String, f64> {
        [("expert-0", (1.0 - share) / 2.0), ("expert-1", (1.0 - share) / 2.0), ("liar-0", share)]
            .map(|(name, share)| (name.to_owned(), share))
            .into()
    };
    let seen = |(epoch, &share): (usize, &f64)| EpochSeen {
        epoch: epoch as u64 + 1,
        block: 20 * (epoch as u64 + 1),
        items: 100,
        right: 88,
        failed: 0,
        incentive: names(share),
        weight: names(share),
        share: names(share / 2.0),
    };
    StressRun {
        kind: kind.into(),
        count,
        honest: 2,
        k: 4,
        epochs: liars.iter().enumerate().map(seen).collect(),
        final_right: (0..ITEMS).map(|item| item % 10 != 1).collect(),
        final_failed: 0,
        cloned: (kind == "clones").then(|| "expert-0".to_owned()),
    }
}

fn made() -> Made {
    Made {
        version: "0.1.0".into(),
        program: "ab".repeat(32),
        unix_s: 1_795_370_640,
        seconds: 1234.5,
        platform: "linux x86_64".into(),
        cpus: 2,
        quick: false,
        planned: 9,
        done: 9,
        left_out: Vec::new(),
        items: ITEMS,
        experts: 2,
        concurrency: 8,
        warm_up_s: 15.0,
        resamples: 200,
        main_k: 4,
    }
}

fn done() -> Done {
    let requests = (-20..40).map(|n| (f64::from(n) / 10.0, if n == 1 { 250.0 } else { 6.0 }, true)).collect();
    Done {
        collective: vec![run("dirichlet", 1), run("iid", 1), run("dirichlet", 2), run("iid", 2)],
        stress: vec![
            under("honest", 0, &[0.0; 6]),
            under("collude", 6, &[0.3, 0.2, 0.1, 0.05, 0.02, 0.01]),
            under("sleeper", 2, &[0.2, 0.15, 0.1, 0.05, 0.02, 0.01]),
        ],
        cloned: Some(under("clones", 3, &[0.0; 6])),
        frozen: Some(FrozenRun {
            experts: 10,
            frozen: vec!["expert-3".into()],
            k: 4,
            requests,
            failures: BTreeMap::new(),
        }),
        left_out: Vec::new(),
        runs: 9,
    }
}

fn report() -> StudyReport {
    let rosters = ["dirichlet", "iid"].map(String::from);
    assemble(made(), &rosters, &done(), 200)
}

fn snapshot(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/study/snapshots").join(name);
    if std::env::var_os("GLIA_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap();
    assert!(text == wanted, "{name} has changed; look at it, then keep it with GLIA_UPDATE_SNAPSHOTS=1:\n{text}");
}

#[test]
fn the_readme_table_looks_like_this() {
    snapshot("table.md", &markdown::render(&report()));
}

/// `report.json` beside the other snapshots: what the command line's tests render.
#[test]
fn an_earlier_report_is_rendered_as_a_new_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/study/snapshots/report.json");
    if std::env::var_os("GLIA_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, serde_json::to_vec_pretty(&report()).unwrap()).unwrap();
    }
    let earlier = StudyReport::from_json(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(markdown::render(&earlier), markdown::render(&report()));
    assert_eq!(html::render(&earlier), html::render(&report()));
}

#[test]
fn the_terminal_shows_this_in_100_columns() {
    let text = terminal::render(&report(), false);
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
    snapshot("terminal.txt", &text);
}

#[test]
fn the_page_looks_like_this_and_needs_nothing_else() {
    let page = html::render(&report());
    for outside in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!page.contains("NaN") && !page.contains(">inf"));
    for tag in ["table", "svg", "figure", "ul", "details", "div", "p"] {
        let count = |what: String| page.matches(&what).count();
        let open = count(format!("<{tag}>")) + count(format!("<{tag} "));
        assert_eq!(open, count(format!("</{tag}>")), "{tag}");
    }
    snapshot("page.html", &page);
}

#[test]
fn the_figures_are_those_of_the_answers() {
    let report = report();
    let roster = &report.rosters[0];
    assert_eq!((roster.roster.as_str(), roster.seeds.as_slice()), ("dirichlet", &[1, 2][..]));
    let accuracy = |id: &str| roster.method(id).unwrap().accuracy.estimate;
    // 100 of the first two classes and one in 20.
    assert!((accuracy(method::BEST.0) - 110.0 / 200.0).abs() < 1e-12);
    assert!((accuracy(method::CHOSEN.0) - 0.5).abs() < 1e-12);
    assert!((accuracy(method::MEAN.0) - 0.525).abs() < 1e-12);
    assert!((accuracy(method::AVERAGE.0) - 0.75).abs() < 1e-12);
    assert!((accuracy(method::ANY.0) - 1.0).abs() < 1e-12);
    let four = roster.collective(4).unwrap();
    assert!((four.accuracy.estimate - 0.9).abs() < 1e-12);
    // Right on 90 % at a confidence of 80 %.
    assert!((four.ece.unwrap().estimate - 0.1).abs() < 1e-6);
    let against = roster.comparison(4, method::BEST.0).unwrap();
    assert!((against.difference.estimate - 0.35).abs() < 1e-12 && against.apart && against.seeds_won == 2);
    let gap = roster.gaps.iter().find(|gap| gap.k == 4 && gap.oracle == method::ANY.0).unwrap();
    assert!((gap.closed.estimate - 0.35 / 0.45).abs() < 1e-12);
    let cost = roster.costs.iter().find(|cost| cost.k == 4).unwrap();
    assert!((cost.calls_per_request.unwrap() - 4.02).abs() < 1e-12);
    let expert = &roster.experts[0];
    assert!((expert.calls - 0.6).abs() < 1e-12 && (expert.weight - 0.75).abs() < 1e-12);
    assert_eq!(roster.classes[0].items, 50);
    assert!((roster.classes[3].accuracy[method::BEST.0] - 0.0).abs() < 1e-12);
}

#[test]
fn promises_are_judged_by_the_letter() {
    let report = report();
    let verdict = |start: &str| {
        let all: Vec<_> = report.targets.iter().filter(|target| target.promise.starts_with(start)).collect();
        assert_eq!(all.len(), 1, "{start}: {all:?}");
        (all[0].verdict, all[0].why.is_some())
    };
    assert_eq!(verdict("dirichlet: the collective beats the best single"), (Verdict::Met, false));
    assert_eq!(verdict("classes: the collective beats the best single"), (Verdict::NotMeasured, false));
    // 90 % against 96 %.
    assert_eq!(verdict("iid: within 1 point"), (Verdict::NotMet, true));
    assert_eq!(verdict("dirichlet: calibration error"), (Verdict::NotMet, true));
    assert_eq!(verdict("6 colluding liars of 14: accuracy"), (Verdict::Met, false));
    assert_eq!(verdict("6 colluding liars of 14: after 5"), (Verdict::Met, false));
    assert_eq!(verdict("a sleeper"), (Verdict::NotMet, true));
    assert_eq!(verdict("a cloned expert"), (Verdict::Met, false));
    assert_eq!(verdict("20 % of the experts frozen mid-run: no request"), (Verdict::Met, false));
    assert_eq!(verdict("20 % of the experts frozen mid-run: p99"), (Verdict::Met, false));
    assert_eq!(verdict("the router's own time"), (Verdict::NotMeasured, false));
}

#[test]
fn an_interrupted_study_is_rendered_and_says_so() {
    let mut part = done();
    part.collective.truncate(1);
    part.collective[0].dense_total = None;
    part.collective[0].collective.truncate(1);
    part.stress.clear();
    (part.cloned, part.frozen) = (None, None);
    let made = Made { done: 1, left_out: vec!["the study was interrupted; <b>".into()], ..made() };
    let rosters = ["dirichlet", "iid"].map(String::from);
    let report = assemble(made, &rosters, &part, 50);
    assert_eq!(report.rosters.len(), 1);
    let page = html::render(&report);
    assert!(page.contains("1 of 9 runs") && page.contains("interrupted; &lt;b&gt;"));
    assert!(markdown::render(&report).contains("**Unfinished: 1 of 9 runs.**"));
    assert!(terminal::render(&report, false).contains("left out: the study was interrupted"));
    let nothing = assemble(self::made(), &rosters, &Done::default(), 50);
    assert!(html::render(&nothing).ends_with("</html>\n") && markdown::render(&nothing).ends_with('\n'));
    assert!(nothing.targets.iter().all(|target| target.verdict == Verdict::NotMeasured));
}

#[test]
fn a_request_without_an_answer_is_in_every_figure() {
    let mut one = run("dirichlet", 1);
    let four = one.collective.iter_mut().find(|run| run.k == 4).unwrap();
    for item in 0..20 {
        four.answers.predicted[item] = None;
        (four.answers.confidence[item], four.answers.true_class[item]) = (0.0, 0.0);
    }
    four.failures = [("no expert <answered>".to_owned(), 20)].into();
    let done = Done { collective: vec![one], ..Done::default() };
    let report = assemble(made(), &["dirichlet".to_owned()], &done, 50);
    let roster = &report.rosters[0];
    assert_eq!(roster.costs.iter().find(|cost| cost.k == 4).unwrap().failed, 20);
    assert!(roster.collective(4).unwrap().accuracy.estimate < 0.85);
    assert!(html::render(&report).contains("20 failed: no expert &lt;answered&gt;"));
}

#[test]
fn a_report_is_read_as_it_was_written_and_no_other() {
    let report = report();
    let text = serde_json::to_vec(&report).unwrap();
    let back = StudyReport::from_json(&text).unwrap();
    assert_eq!(html::render(&back), html::render(&report));
    assert!(StudyReport::from_json(b"{}").unwrap_err().to_string().contains("no report"));
    let mut other = serde_json::to_value(&report).unwrap();
    other["schema"] = (SCHEMA + 1).into();
    let error = StudyReport::from_json(other.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("schema 2"), "{error}");
}
