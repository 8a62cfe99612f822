//! The README's table from a report.

use std::fmt::Write as _;

use super::analyse::method;
use super::report::{RosterReport, StudyReport};
use super::text::{bounds, counted, percent, points};

/// A Markdown table of all rosters: who is how often right, with 95 % intervals, and a few lines under it.
#[must_use]
pub fn render(report: &StudyReport) -> String {
    let k = report.made.main_k;
    let mut text = String::from("| right, % [95 %] |");
    for roster in &report.rosters {
        let _ = write!(text, " {} |", roster.roster);
    }
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(report.rosters.len()));
    text.push('\n');
    let collective = method::collective(k);
    let rows = [
        (method::MEAN.0, "mean single expert".to_owned()),
        (method::BEST.0, "best single expert, chosen in hindsight".to_owned()),
        (method::VOTE.0, "majority vote of all".to_owned()),
        (method::AVERAGE.0, "plain average of all".to_owned()),
        (collective.as_str(), format!("**collective, k = {k}**")),
        (method::DENSE.0, "one dense model, everybody's data".to_owned()),
        (method::DENSE_TOTAL.0, "the same, as large as all experts together".to_owned()),
        (method::CLASS.0, "oracle gate: knows the class (or domain), asks the best expert for it".to_owned()),
    ];
    for (id, name) in rows {
        if !report.rosters.iter().any(|roster| roster.method(id).is_some()) {
            continue;
        }
        let _ = write!(text, "| {name} |");
        for roster in &report.rosters {
            let _ = write!(text, " {} |", cell(roster, id, id == collective));
        }
        text.push('\n');
    }
    line(&mut text, report, "calibration error of the collective", |roster| {
        roster.collective(k)?.ece.map(|ece| format!("{:.3}", ece.estimate))
    });
    line(&mut text, report, "gap from best single to oracle gate closed", |roster| {
        let gap = roster.gaps.iter().find(|gap| gap.k == k && gap.oracle == method::CLASS.0)?;
        Some(percent(gap.closed.estimate))
    });
    line(&mut text, report, "calls per request", |roster| {
        let cost = roster.costs.iter().find(|cost| cost.k == k)?;
        cost.calls_per_request.map(|calls| format!("{calls:.2}"))
    });
    let seeds = report.rosters.iter().map(|roster| roster.seeds.len()).max().unwrap_or(0);
    let _ = write!(
        text,
        "\n{}, {} never trained or tuned on, {} experts; intervals over seeds and images.",
        counted(seeds, "seed"),
        counted(report.made.items, "test image"),
        report.made.experts
    );
    if !report.is_complete() {
        let _ = write!(text, " **Unfinished: {} of {} runs.**", report.made.done, report.made.planned);
    }
    if report.made.quick {
        text.push_str(" Short version (`--quick`).");
    }
    text.push('\n');
    under_attack(&mut text, report);
    text
}

fn cell(roster: &RosterReport, id: &str, bold: bool) -> String {
    let Some(method) = roster.method(id) else { return "–".to_owned() };
    let share = format!("{:.1}", method.accuracy.estimate * 100.0);
    let share = if bold { format!("**{share}**") } else { share };
    format!("{share} [{}]", bounds(method.accuracy))
}

fn line(text: &mut String, report: &StudyReport, name: &str, of: impl Fn(&RosterReport) -> Option<String>) {
    let cells: Vec<Option<String>> = report.rosters.iter().map(of).collect();
    if cells.iter().all(Option::is_none) {
        return;
    }
    let _ = write!(text, "| {name} |");
    for cell in cells {
        let _ = write!(text, " {} |", cell.unwrap_or_else(|| "–".to_owned()));
    }
    text.push('\n');
}

fn under_attack(text: &mut String, report: &StudyReport) {
    let runs: Vec<_> = report.stress.iter().filter(|run| run.count > 0).collect();
    // The largest number of each kind.
    let worst: Vec<_> =
        runs.iter().filter(|run| !runs.iter().any(|other| other.kind == run.kind && other.count > run.count)).collect();
    if worst.is_empty() {
        return;
    }
    let honest = worst.first().map_or(0, |run| run.honest);
    let _ = write!(
        text,
        "\n| beside {honest} honest experts | right, % | change, points [95 %] | their incentive at the end |\n|---|---:|---:|---:|\n"
    );
    for run in worst {
        let change = run.change.map_or_else(
            || "–".to_owned(),
            |change| format!("{} [{}, {}]", points(change.estimate), points(change.low), points(change.high)),
        );
        let incentive = run.epochs.last().map_or_else(|| "–".to_owned(), |row| percent(row.liar_incentive));
        let right = run.accuracy.estimate * 100.0;
        let _ = writeln!(text, "| {} × {} | {right:.1} | {change} | {incentive} |", run.count, run.kind);
    }
}
