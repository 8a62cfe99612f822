//! The stress part of the page.

use std::fmt::Write as _;

use super::{Table, figure};
use crate::study::report::{EpochRow, FrozenReport, StressReport, StudyReport};
use crate::study::svg::{Point, Series, Unit, escape, lines};
use crate::study::text::{percent, percent_interval, points_interval};

/// What the dishonest experts of a kind do.
fn about(kind: &str) -> &'static str {
    match kind {
        "noise" => "answer random shares, so that a random class leads",
        "constant" => "always name the same class with 95 %",
        "collude" => "agree on the same wrong class with 95 %",
        "copy" => "serve disguised copies of one good expert",
        "sleeper" => "are honest at first and to what looks like a probe, then collude; epochs count from their waking",
        "uniform" => "give every class the same probability",
        "slow" => "answer honestly, but 0.8 s late",
        "crash" => "refuse or never answer one request in twenty, and end after a minute",
        _ => "",
    }
}

pub(super) fn section(page: &mut String, report: &StudyReport) {
    if report.stress.is_empty() && report.clones.is_none() && report.frozen.is_none() {
        return;
    }
    page.push_str("<h2 id=\"stress\">Among liars</h2>\n");
    if !report.stress.is_empty() {
        attacks(page, &report.stress);
    }
    clones(page, report);
    if let Some(frozen) = &report.frozen {
        freeze(page, frozen);
    }
}

fn attacks(page: &mut String, runs: &[StressReport]) {
    if let Some(run) = runs.first() {
        let _ = writeln!(
            page,
            "<p>{} honest experts of the roster <code>dirichlet</code>, and so many dishonest ones beside them, each with a good \
             model of its own that claims to know everything. k = {}. Shares of weight and incentive are of all experts.</p>",
            run.honest, run.k
        );
    }
    let header = [
        ("dishonest", true),
        ("right at the end", true),
        ("change to no liars", true),
        ("failed", false),
        ("their incentive, epoch by epoch", true),
        ("their chain weight at the end", false),
        ("their share of answers at the end", false),
    ];
    let mut table = Table::new(&header);
    for run in runs {
        let last = run.epochs.last();
        let of = |value: fn(&EpochRow) -> f64| last.map_or_else(|| "–".to_owned(), |row| percent(value(row)));
        let course: Vec<String> = run.epochs.iter().map(|row| format!("{:.1}", row.liar_incentive * 100.0)).collect();
        let name = if run.count == 0 { "none".to_owned() } else { format!("{} × {}", run.count, run.kind) };
        table.texts(
            if run.count == 0 { "us" } else { "" },
            &[
                name,
                percent_interval(run.accuracy),
                run.change.map_or_else(|| "–".to_owned(), points_interval),
                run.failed.to_string(),
                if run.count == 0 { "–".to_owned() } else { course.join("  ") },
                of(|row| row.liar_weight),
                of(|row| row.liar_share),
            ],
        );
    }
    table.end(page);
    let mut kinds: Vec<&str> = runs.iter().filter(|run| run.count > 0).map(|run| run.kind.as_str()).collect();
    kinds.dedup();
    let honest = runs.iter().find(|run| run.count == 0);
    for kind in kinds {
        let of_kind: Vec<&StressReport> = runs.iter().filter(|run| run.kind == kind && run.count > 0).collect();
        let _ = write!(
            page,
            "<h3>{}</h3><p class=\"dim\">They {}.</p>\n<div class=\"charts\">\n",
            escape(kind),
            about(kind)
        );
        let name =
            |run: &StressReport| if run.count == 0 { "no liars".to_owned() } else { format!("{} {kind}", run.count) };
        let series = |run: &StressReport, point: &dyn Fn(&EpochRow) -> Point| Series {
            name: name(run),
            points: run.epochs.iter().map(point).collect(),
            level: false,
        };
        let accuracy = |row: &EpochRow| Point::of(row.epoch as f64, row.accuracy);
        let all: Vec<Series> =
            honest.into_iter().chain(of_kind.iter().copied()).map(|run| series(run, &accuracy)).collect();
        figure(page, "Accuracy in each epoch", &lines("Accuracy by epoch", "epoch", Unit::Share, &all, &[]));
        let mut shares = Vec::new();
        for run in &of_kind {
            let incentive = |row: &EpochRow| Point::bare(row.epoch as f64, row.liar_incentive);
            let mut one = series(run, &incentive);
            one.name = format!("{}, all together", name(run));
            shares.push(one);
        }
        if let Some(most) = of_kind.iter().max_by_key(|run| run.count) {
            let each = |row: &EpochRow| Point::bare(row.epoch as f64, row.honest_incentive);
            let mut one = series(most, &each);
            one.name = format!("honest beside {}, all together", name(most));
            shares.push(one);
        }
        figure(
            page,
            "Incentive on chain after each epoch",
            &lines("Incentive by epoch", "epoch", Unit::Share, &shares, &[]),
        );
        page.push_str("</div>\n");
    }
}

fn clones(page: &mut String, report: &StudyReport) {
    let Some(clones) = &report.clones else { return };
    let _ = write!(
        page,
        "<h3>Clones</h3><p>{} alone earns {} of the incentive; with {} clones of it, its owner earns {} (means of the later \
         epochs).</p>\n<div class=\"charts\">\n",
        escape(&clones.expert),
        percent(clones.mean_alone),
        clones.clones,
        percent(clones.mean_with)
    );
    let series = |name: &str, shares: &[f64]| Series {
        name: name.to_owned(),
        points: shares.iter().enumerate().map(|(epoch, share)| Point::bare(epoch as f64 + 1.0, *share)).collect(),
        level: false,
    };
    let all = [series("alone", &clones.alone), series("with clones, all together", &clones.with_clones)];
    figure(page, "The owner's incentive", &lines("Incentive of an owner", "epoch", Unit::Share, &all, &[]));
    page.push_str("</div>\n");
}

fn freeze(page: &mut String, frozen: &FrozenReport) {
    let _ = write!(
        page,
        "<h3>Frozen experts</h3><p>{} of {} experts, those asked most, are frozen (SIGSTOP) in the middle of the traffic: they \
         neither answer nor close their connections. {} of {} requests failed. 99th percentile of latency: {:.1} ms before, \
         {:.1} ms in the first two seconds, {:.1} ms after.</p>\n<div class=\"charts\">\n",
        frozen.frozen.len(),
        frozen.experts,
        frozen.failed,
        frozen.requests,
        frozen.p99_before_ms,
        frozen.p99_first_ms,
        frozen.p99_after_ms
    );
    let series = |name: &str, of: fn(&(f64, usize, f64, f64)) -> f64| Series {
        name: name.to_owned(),
        points: frozen.timeline.iter().map(|step| Point::bare(step.0, of(step))).collect(),
        level: false,
    };
    let all = [series("median", |step| step.2), series("99th percentile", |step| step.3)];
    let marks = [(0.0, "frozen".to_owned()), (2.0, "2 s".to_owned())];
    let chart = lines("Latency around the freeze", "seconds since the freeze", Unit::Milliseconds, &all, &marks);
    figure(page, "Latency by half second, ms", &chart);
    page.push_str("</div>\n");
    for (why, count) in frozen.failures.iter().take(5) {
        let _ = writeln!(page, "<p class=\"dim\">{count} failed: {}</p>", escape(why));
    }
}
