//! The report as text of at most 100 columns.

use std::fmt::Write as _;

use super::analyse::method;
use super::report::{RosterReport, StudyReport, Verdict};
use super::text::{bounds, counted, percent, points};
use crate::report::{Pen, wrapped, wrapped_to};

/// The whole report as text.
#[must_use]
pub fn render(report: &StudyReport, colour: bool) -> String {
    let pen = Pen { colour };
    let mut text = String::new();
    for roster in &report.rosters {
        pen.heading(
            &mut text,
            &format!(
                "{}: {}, {}",
                roster.roster,
                counted(roster.seeds.len(), "seed"),
                counted(roster.items, "test image")
            ),
        );
        text.push_str(&methods(roster, report.made.main_k, pen));
    }
    if !report.stress.is_empty() {
        pen.heading(&mut text, "Among liars");
        text.push_str(&stress(report, pen));
    }
    pen.heading(&mut text, "Verdict");
    for target in &report.targets {
        let (sign, code) = match target.verdict {
            Verdict::Met => ("✓", "32"),
            Verdict::NotMet => ("✗", "31"),
            Verdict::NotMeasured => ("–", "2"),
        };
        if target.verdict == Verdict::NotMeasured {
            continue;
        }
        for (index, line) in wrapped_to(&target.promise, 96).iter().enumerate() {
            let sign = if index == 0 { pen.wrap(code, sign) } else { " ".to_owned() };
            let _ = writeln!(text, "{sign} {line}");
        }
        for line in wrapped_to(&target.measured, 94) {
            let _ = writeln!(text, "    {}", pen.dim(&line));
        }
    }
    let count = |wanted| report.targets.iter().filter(|target| target.verdict == wanted).count();
    let _ = writeln!(
        text,
        "\n{} met, {} not met, {} not measured in this study.",
        count(Verdict::Met),
        count(Verdict::NotMet),
        count(Verdict::NotMeasured)
    );
    for left_out in &report.made.left_out {
        for line in wrapped(&format!("left out: {left_out}")) {
            let _ = writeln!(text, "{}", pen.wrap("33", &line));
        }
    }
    text
}

fn methods(roster: &RosterReport, k: usize, pen: Pen) -> String {
    let mut table = pen.table(&["who answers", "right", "95 %", "k vs it, points", "log-loss", "ECE", "p99 ms"], &[0]);
    for one in &roster.methods {
        let difference = roster.comparison(k, &one.id).map_or_else(String::new, |comparison| {
            let d = comparison.difference;
            format!("{} [{}, {}]", points(d.estimate), points(d.low), points(d.high))
        });
        let p99 = one.k.and_then(|k| roster.costs.iter().find(|cost| cost.k == k));
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
        table.add_row([
            one.name.clone(),
            percent(one.accuracy.estimate),
            bounds(one.accuracy),
            difference,
            number(one.log_loss.map(|loss| loss.estimate)),
            number(one.ece.map(|ece| ece.estimate)),
            p99.map_or_else(String::new, |cost| format!("{:.1}", cost.p99_ms)),
        ]);
    }
    let mut text = pen.finish(&table);
    if let Some(gap) = roster.gaps.iter().find(|gap| gap.k == k && gap.oracle == method::CLASS.0) {
        let closed = percent(gap.closed.estimate);
        let _ = writeln!(text, "k = {k} closes {closed} of the gap from best single expert to oracle gate");
    }
    text
}

fn stress(report: &StudyReport, pen: Pen) -> String {
    let header = ["dishonest", "right", "95 %", "change", "failed", "their incentive, epoch by epoch, %"];
    let mut table = pen.table(&header, &[0, 5]);
    for run in &report.stress {
        let course: Vec<String> = run.epochs.iter().map(|row| format!("{:.1}", row.liar_incentive * 100.0)).collect();
        table.add_row([
            if run.count == 0 { "none".to_owned() } else { format!("{} × {}", run.count, run.kind) },
            percent(run.accuracy.estimate),
            bounds(run.accuracy),
            run.change.map_or_else(|| "–".to_owned(), |change| points(change.estimate)),
            run.failed.to_string(),
            if run.count == 0 { String::new() } else { course.join("  ") },
        ]);
    }
    let mut text = pen.finish(&table);
    if let Some(clones) = &report.clones {
        let _ = writeln!(
            text,
            "{}: {} of the incentive alone, {} with {} clones",
            clones.expert,
            percent(clones.mean_alone),
            percent(clones.mean_with),
            clones.clones
        );
    }
    if let Some(frozen) = &report.frozen {
        let line = format!(
            "{} of {} experts frozen: {} of {} requests failed; p99 {:.1} ms before, {:.1} ms in the first 2 s, {:.1} ms after",
            frozen.frozen.len(),
            frozen.experts,
            frozen.failed,
            frozen.requests,
            frozen.p99_before_ms,
            frozen.p99_first_ms,
            frozen.p99_after_ms
        );
        for line in wrapped(&line) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}
