//! A report as tables of at most 100 columns.

use std::fmt::Write as _;
use std::io::IsTerminal;

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle,
};

use super::{Comparison, Report};
use crate::chain_view::ChainView;
use crate::stats::Interval;

/// Reasons of failures that are shown; the JSON report has all.
const REASONS: usize = 5;
/// Widest line of a report.
const WIDTH: u16 = 100;

/// Whether standard output is a terminal that wants colours (`NO_COLOR` is respected).
#[must_use]
pub fn use_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !refused && !dumb
}

/// The whole report as text.
#[must_use]
pub fn render(report: &Report, colour: bool) -> String {
    let pen = Pen { colour };
    let mut text = String::new();
    pen.heading(&mut text, "Each expert alone");
    text.push_str(&experts(report, pen));
    pen.heading(&mut text, "Together");
    text.push_str(&together(report, pen));
    verdicts(&mut text, report, pen);
    if let Some(chain) = &report.chain {
        pen.heading(&mut text, &format!("On chain, after the epoch at block {}", chain.epoch_block));
        text.push_str(&chain_table(chain, pen));
        ledgers(&mut text, chain, pen);
    }
    footnotes(&mut text, report, pen);
    text
}

/// How the text of a report is written: with colours or without.
#[derive(Clone, Copy)]
pub(crate) struct Pen {
    pub(crate) colour: bool,
}

impl Pen {
    pub(crate) fn wrap(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn heading(self, out: &mut String, text: &str) {
        let _ = writeln!(out, "\n{}", self.wrap("1", text));
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn table(self, header: &[&str], left: &[usize]) -> Table {
        let mut table = Table::new();
        let line = |fill| LineStyle::none().fill(fill).junction(fill);
        table
            .load_style(
                TableStyle::new()
                    .top_border(line('─'))
                    .header_lines(ContentLineStyle::none())
                    .header_separator(line('─'))
                    .content_lines(ContentLineStyle::none())
                    .bottom_border(line('─')),
            )
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(WIDTH)
            .set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
        for (index, column) in table.column_iter_mut().enumerate() {
            if !left.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            column.set_padding((0, if index + 1 == header.len() { 0 } else { 1 }));
        }
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }

    pub(crate) fn finish(self, table: &Table) -> String {
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(if self.colour { &line } else { line.trim_end() });
            text.push('\n');
        }
        text
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn bounds(interval: Interval) -> String {
    format!("{:.1} – {:.1}", interval.low * 100.0, interval.high * 100.0)
}

fn points(value: f64) -> String {
    let shown = format!("{:+.1}", value * 100.0);
    if shown == "-0.0" { "+0.0".to_owned() } else { shown }
}

fn experts(report: &Report, pen: Pen) -> String {
    let mut table =
        pen.table(&["expert", "uid", "images", "trained on", "whole set", "95 %", "own region", "95 %"], &[0, 3]);
    for expert in &report.experts {
        let best = expert.name == report.baselines.best_single_name;
        let accuracy = Cell::new(percent(expert.accuracy.estimate));
        table.add_row([
            Cell::new(&expert.name),
            Cell::new(expert.uid.map_or_else(|| "–".to_owned(), |uid| uid.to_string())),
            Cell::new(expert.examples),
            Cell::new(&expert.trained_on),
            if best { accuracy.add_attribute(Attribute::Bold) } else { accuracy },
            Cell::new(bounds(expert.accuracy)),
            Cell::new(expert.own_accuracy.map_or_else(|| "–".to_owned(), |own| percent(own.estimate))),
            Cell::new(expert.own_accuracy.map_or_else(|| "–".to_owned(), bounds)),
        ]);
    }
    pen.finish(&table)
}

fn together(report: &Report, pen: Pen) -> String {
    let base = &report.baselines;
    let mut table =
        pen.table(&["who answers", "right", "95 %", "vs best single", "req/s", "p50 ms", "p95 ms", "failed"], &[0]);
    let plain = |name: String, interval: Interval| {
        let mut row = vec![Cell::new(name), Cell::new(percent(interval.estimate)), Cell::new(bounds(interval))];
        row.push(Cell::new(points(interval.estimate - base.best_single.estimate)));
        row.extend(std::iter::repeat_with(|| Cell::new("")).take(4));
        row
    };
    table.add_row(plain(format!("best single: {}", base.best_single_name), base.best_single));
    table.add_row(plain("mean single".to_owned(), base.mean_single));
    table.add_row(plain("plain average of all".to_owned(), base.plain_average));
    for row in &report.collective {
        let figures = &row.figures;
        let difference = row.versus_best_single.difference;
        table.add_row([
            Cell::new(format!("collective, k = {}", figures.k)).add_attribute(Attribute::Bold),
            Cell::new(percent(figures.accuracy.estimate)).add_attribute(Attribute::Bold),
            Cell::new(bounds(figures.accuracy)),
            Cell::new(points(difference.estimate)).fg(colour_of(difference)),
            Cell::new(format!("{:.0}", figures.requests_per_s)),
            Cell::new(format!("{:.1}", figures.p50_ms)),
            Cell::new(format!("{:.1}", figures.p95_ms)),
            if figures.failed == 0 { Cell::new(0) } else { Cell::new(figures.failed).fg(Color::Red) },
        ]);
    }
    if let Some(dense) = base.dense {
        table.add_row(plain("one dense model, all data".to_owned(), dense));
    }
    table.add_row(plain("oracle gate (upper bound)".to_owned(), base.oracle_gate));
    pen.finish(&table)
}

fn colour_of(difference: Interval) -> Color {
    match (difference.low > 0.0, difference.high < 0.0) {
        (true, _) => Color::Green,
        (_, true) => Color::Red,
        _ => Color::Yellow,
    }
}

fn verdicts(out: &mut String, report: &Report, pen: Pen) {
    let Some(row) = report.collective.iter().max_by_key(|row| row.figures.k) else { return };
    let k = row.figures.k;
    let best = format!("the best single expert ({})", report.baselines.best_single_name);
    let mut lines = vec![(best.as_str(), &row.versus_best_single), ("the plain average", &row.versus_plain_average)];
    if let Some(dense) = &row.versus_dense {
        lines.push(("the dense model", dense));
    }
    for (other, comparison) in lines {
        let _ = writeln!(out, "{}", verdict(k, other, comparison, pen));
    }
    for row in report.collective.iter().filter(|row| row.figures.failed > 0) {
        for (why, count) in row.figures.failures.iter().take(REASONS) {
            let line = format!("k = {}: {} failed: {why}", row.figures.k, counted(*count, "request"));
            for line in wrapped(&line) {
                let _ = writeln!(out, "{}", pen.wrap("31", &line));
            }
        }
    }
}

fn verdict(k: usize, other: &str, comparison: &Comparison, pen: Pen) -> String {
    let Interval { estimate, low, high } = comparison.difference;
    let (mark, code, word) = match (low > 0.0, high < 0.0) {
        (true, _) => ("▲", "32", "beats"),
        (_, true) => ("▼", "31", "loses to"),
        _ => ("●", "33", "shows no difference to"),
    };
    let mark = pen.wrap(code, mark);
    format!("{mark} k = {k} {word} {other}: {} points, 95 % {} to {}", points(estimate), points(low), points(high))
}

fn fraction(value: u16) -> String {
    format!("{:.4}", f64::from(value) / f64::from(u16::MAX))
}

fn chain_table(chain: &ChainView, pen: Pen) -> String {
    // More routers than fit side by side are in the JSON report.
    let shown: Vec<_> = chain.routers.iter().take(3).collect();
    let mut header = vec!["uid", "neuron"];
    let names: Vec<String> = shown.iter().map(|router| format!("by {}", router.name)).collect();
    header.extend(names.iter().map(String::as_str));
    header.extend(["consensus", "incentive", "dividends", "emission α"]);
    let mut table = pen.table(&header, &[1]);
    for neuron in &chain.neurons {
        let name = neuron.name.clone().unwrap_or_else(|| format!("{}…", neuron.hotkey.get(..8).unwrap_or("?")));
        let mut row = vec![Cell::new(neuron.uid), Cell::new(name)];
        for router in &shown {
            let weight = router.storage.get(&neuron.uid);
            row.push(Cell::new(weight.map_or_else(|| "·".to_owned(), ToString::to_string)));
        }
        row.push(Cell::new(fraction(neuron.consensus)));
        row.push(Cell::new(fraction(neuron.incentive)));
        row.push(Cell::new(fraction(neuron.dividends)));
        row.push(Cell::new(format!("{:.4}", neuron.emission as f64 / 1e9)));
        table.add_row(row);
    }
    pen.finish(&table)
}

fn ledgers(out: &mut String, chain: &ChainView, pen: Pen) {
    for router in &chain.routers {
        let uid = router.uid.map_or_else(|| "no uid".to_owned(), |uid| format!("uid {uid}"));
        let line = if router.storage.is_empty() {
            pen.wrap("31", &format!("✗ {} ({uid}) has no weights on chain", router.name))
        } else if router.equal {
            let mark = pen.wrap("32", "✓");
            format!(
                "{mark} {} ({uid}): {} weights set in block {}, storage equals its ledger",
                router.name,
                router.storage.len(),
                router.block
            )
        } else {
            pen.wrap("31", &format!("✗ {} ({uid}): storage differs from its ledger", router.name))
        };
        let _ = writeln!(out, "{line}");
    }
}

fn footnotes(out: &mut String, report: &Report, pen: Pen) {
    let (settings, times) = (&report.settings, &report.times);
    let mut notes = vec![
        format!(
            "{} of {}, never trained or calibrated on; roster {}; {}, {}; {} at a time.",
            counted(settings.items, "test image"),
            settings.subnet,
            settings.roster,
            counted(report.experts.len(), "expert"),
            counted(settings.routers, "router"),
            counted(settings.concurrency, "request")
        ),
        "Own region: test images of the classes that make up at least 5 % of the expert's training images.".to_owned(),
        "Best single is picked on the test set itself, which favours it. Oracle: some expert is right.".to_owned(),
        format!(
            "Intervals: Wilson; differences: paired bootstrap, {} resamples, seed {}.",
            settings.resamples, settings.seed
        ),
        format!(
            "{} {:.1} s, start {:.1} s, evaluation {:.1} s, epoch {:.1} s, total {:.1} s{}.",
            if times.from_cache { "Checkpoints from cache" } else { "Training" },
            times.train,
            times.start,
            times.evaluate,
            times.epoch,
            times.total,
            report
                .resident_bytes
                .map_or_else(String::new, |bytes| format!("; {} MiB in all processes", bytes / (1024 * 1024)))
        ),
    ];
    if let (Some(examples), Some(passes)) = (report.baselines.dense_examples, report.baselines.dense_passes) {
        let note = format!(
            "Dense: the same architecture trained on all {examples} training images, {passes} passes: {} images seen; \
             all experts together saw {}.",
            examples * u64::from(passes),
            report.baselines.experts_saw
        );
        notes.insert(3, note);
    }
    out.push('\n');
    for line in notes.iter().flat_map(|note| wrapped(note)) {
        let _ = writeln!(out, "{}", pen.dim(&line));
    }
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// A sentence in lines that fit; a single longer word keeps its own line.
pub(crate) fn wrapped(text: &str) -> Vec<String> {
    wrapped_to(text, usize::from(WIDTH))
}

/// The same for another width.
pub(crate) fn wrapped_to(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        // Never empty: it begins with one line and only grows.
        let Some(line) = lines.last_mut() else { break };
        let width = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && width > most {
            lines.push(format!("  {word}"));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
