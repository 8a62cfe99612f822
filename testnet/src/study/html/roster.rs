//! One roster's part of the page.

use std::fmt::Write as _;

use super::{Table, figure};
use crate::stats::Interval;
use crate::study::analyse::method;
use crate::study::report::{MethodReport, RosterReport};
use crate::study::svg::{Dot, Point, Series, Unit, dots, escape, lines, reliability, strips};
use crate::study::text::{bounds, counted, number_interval, p_value, percent, percent_interval, points_interval};

/// What a roster's experts know.
fn about(roster: &str) -> &'static str {
    match roster {
        "dirichlet" => {
            "Each class is divided among the experts by a Dirichlet draw (α = 0.3): specialists that overlap."
        }
        "classes" => "Each expert saw five of the twenty classes and nothing else: pure specialists.",
        "iid" => "Each expert saw a random shard of all classes: all know the same, little to route by.",
        "transforms" => "Each expert saw pictures of one domain only: plain, turned, inverted, noisy.",
        _ => "",
    }
}

pub(super) fn section(page: &mut String, roster: &RosterReport, k: usize) {
    let _ = write!(
        page,
        "<h2 id=\"{0}\">Roster <code>{0}</code></h2>\n<p>{1} {2}, {3}.</p>\n",
        escape(&roster.roster),
        about(&roster.roster),
        counted(roster.seeds.len(), "seed"),
        counted(roster.items, "test image")
    );
    page.push_str("<div class=\"charts\">\n");
    figure(page, "Accuracy, 95 % intervals", &accuracies(roster));
    figure(page, "Accuracy by the number of experts asked", &by_k(roster));
    let diagrams: Vec<_> = roster
        .reliability
        .iter()
        .map(|one| (roster.method(&one.id).map_or_else(|| one.id.clone(), |m| m.name.clone()), one.bins.clone()))
        .collect();
    figure(page, "Reliability: confidence against what is right", &reliability("Reliability diagram", &diagrams));
    figure(page, "Accuracy by class", &classes(roster, k));
    page.push_str("</div>\n");
    methods(page, roster);
    comparisons(page, roster);
    costs(page, roster);
    experts(page, roster);
}

fn series_of(method: &MethodReport) -> usize {
    if method.id.starts_with("collective") {
        0
    } else if method.id.starts_with("oracle") {
        3
    } else if method.id.starts_with("dense") {
        2
    } else {
        1
    }
}

fn accuracies(roster: &RosterReport) -> String {
    let dot = |method: &MethodReport| Dot {
        label: method.name.clone(),
        interval: method.accuracy,
        series: series_of(method),
        text: percent(method.accuracy.estimate),
    };
    dots("Accuracy of every way of answering", &roster.methods.iter().map(dot).collect::<Vec<_>>())
}

fn by_k(roster: &RosterReport) -> String {
    let ours = roster.methods.iter().filter_map(|method| Some(Point::of(method.k? as f64, method.accuracy)));
    let mut all = vec![Series { name: "collective".to_owned(), points: ours.collect(), level: false }];
    let level = |id: &str| {
        let method = roster.method(id)?;
        let points = vec![Point::bare(1.0, method.accuracy.estimate)];
        Some(Series { name: method.name.clone(), points, level: true })
    };
    let rivals = [method::BEST.0, method::AVERAGE.0, method::VOTE.0, method::DENSE.0, method::CLASS.0];
    all.extend(rivals.iter().filter_map(|id| level(id)));
    lines("Accuracy by k", "experts asked (k)", Unit::Share, &all, &[])
}

fn classes(roster: &RosterReport, k: usize) -> String {
    let ids =
        [method::collective(k), method::BEST.0.to_owned(), method::DENSE.0.to_owned(), method::CLASS.0.to_owned()];
    let ids: Vec<&String> = ids.iter().filter(|id| roster.method(id).is_some()).collect();
    let names: Vec<String> = ids.iter().filter_map(|id| roster.method(id)).map(|method| method.name.clone()).collect();
    let rows = roster.classes.iter().filter(|row| row.items > 0);
    let rows: Vec<_> =
        rows.map(|row| (row.label.clone(), ids.iter().map(|id| row.accuracy.get(*id).copied()).collect())).collect();
    strips("Accuracy by class", &names, &rows)
}

fn or_dash(interval: Option<Interval>) -> String {
    interval.map_or_else(|| "–".to_owned(), number_interval)
}

fn methods(page: &mut String, roster: &RosterReport) {
    let header = [
        ("who answers", true),
        ("right", false),
        ("95 %", false),
        ("log-loss", false),
        ("ECE", false),
        ("each seed", true),
    ];
    let mut table = Table::new(&header);
    for method in &roster.methods {
        let size = method.parameters.map_or_else(String::new, |count| format!(" ({count} parameters)"));
        let seeds: Vec<String> = method.by_seed.iter().map(|share| format!("{:.1}", share * 100.0)).collect();
        table.texts(
            if method.k.is_some() { "us" } else { "" },
            &[
                format!("{}{size}", method.name),
                percent(method.accuracy.estimate),
                bounds(method.accuracy),
                or_dash(method.log_loss),
                or_dash(method.ece),
                seeds.join("  "),
            ],
        );
    }
    table.end(page);
}

fn comparisons(page: &mut String, roster: &RosterReport) {
    page.push_str("<h3>Collective against each rival, on the same images</h3>\n");
    let header = [
        ("k", false),
        ("rival", true),
        ("difference", true),
        ("intervals apart", true),
        ("only collective right", false),
        ("only rival right", false),
        ("McNemar p", false),
        ("seeds won", false),
    ];
    let mut table = Table::new(&header);
    for one in &roster.comparisons {
        let name = roster.method(&one.rival).map_or_else(|| one.rival.clone(), |method| method.name.clone());
        table.texts(
            "",
            &[
                one.k.to_string(),
                name,
                points_interval(one.difference),
                if one.apart { "yes" } else { "no" }.to_owned(),
                one.only_collective.to_string(),
                one.only_rival.to_string(),
                p_value(one.p_value),
                format!("{} of {}", one.seeds_won, roster.seeds.len()),
            ],
        );
    }
    table.end(page);
    if !roster.gaps.is_empty() {
        page.push_str("<h3>Share of the gap from the best single expert to an oracle that is closed</h3>\n");
        let mut table = Table::new(&[("k", false), ("oracle", true), ("closed", true)]);
        for gap in &roster.gaps {
            let name = roster.method(&gap.oracle).map_or_else(|| gap.oracle.clone(), |method| method.name.clone());
            table.texts("", &[gap.k.to_string(), name, percent_interval(gap.closed)]);
        }
        table.end(page);
    }
}

fn costs(page: &mut String, roster: &RosterReport) {
    if roster.costs.is_empty() {
        return;
    }
    page.push_str("<h3>Cost</h3>\n");
    let header = [
        ("k", false),
        ("calls per request", false),
        ("p50", false),
        ("p95", false),
        ("p99", false),
        ("router's own time, p99", false),
        ("requests/s", false),
        ("failed", false),
    ];
    let mut table = Table::new(&header);
    let ms = |value: f64| format!("{value:.1} ms");
    for cost in &roster.costs {
        table.texts(
            "",
            &[
                cost.k.to_string(),
                cost.calls_per_request.map_or_else(|| "–".to_owned(), |calls| format!("{calls:.2}")),
                ms(cost.p50_ms),
                ms(cost.p95_ms),
                ms(cost.p99_ms),
                cost.own_p99_us.map_or_else(|| "–".to_owned(), |us| format!("{us:.0} µs")),
                format!("{:.0}", cost.requests_per_s),
                cost.failed.to_string(),
            ],
        );
    }
    table.end(page);
    for (why, count) in roster.costs.iter().flat_map(|cost| &cost.failures).take(5) {
        let _ = writeln!(page, "<p class=\"dim\">{count} failed: {}</p>", escape(why));
    }
}

fn experts(page: &mut String, roster: &RosterReport) {
    page.push_str("<details><summary>Experts of every seed, and their share of calls and weight</summary>\n");
    let header = [
        ("seed", false),
        ("expert", true),
        ("trained on", true),
        ("images", false),
        ("test", false),
        ("validation", false),
        ("share of calls", false),
        ("share of weight", false),
    ];
    let mut table = Table::new(&header);
    for expert in &roster.experts {
        table.texts(
            "",
            &[
                expert.seed.to_string(),
                expert.name.clone(),
                expert.trained_on.clone(),
                expert.examples.to_string(),
                percent(expert.accuracy),
                percent(expert.validation),
                percent(expert.calls),
                percent(expert.weight),
            ],
        );
    }
    table.end(page);
    page.push_str("</details>\n");
}
