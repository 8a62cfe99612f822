//! `report.html`: the report as one page that needs nothing else: no script, no font, no image from anywhere.

mod roster;
mod stress;

use std::fmt::Write as _;

use super::report::{StudyReport, Verdict};
use super::svg::escape;
use super::text::{counted, date};

const STYLE: &str = include_str!("html/style.css");

/// The page.
#[must_use]
pub fn render(report: &StudyReport) -> String {
    let mut page = String::with_capacity(256 * 1024);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Glia: collective against individual</title>\n<style>{STYLE}</style></head>\n<body>\n"
    );
    head(&mut page, report);
    verdicts(&mut page, report);
    losses(&mut page, report);
    for one in &report.rosters {
        roster::section(&mut page, one, report.made.main_k);
    }
    stress::section(&mut page, report);
    method(&mut page, report);
    page.push_str("</body></html>\n");
    page
}

fn head(page: &mut String, report: &StudyReport) {
    let made = &report.made;
    let seeds = report.rosters.iter().map(|roster| roster.seeds.len()).max().unwrap_or(0);
    let _ = write!(
        page,
        "<h1>Does the collective beat its best member?</h1>\n<p class=\"dim\">A study of Glia {}: {}, {} of {} experts, \
         {} that nobody trained or tuned on. {}, {:.0} s on {} ({}). Program {}.</p>\n",
        escape(&made.version),
        counted(report.rosters.len(), "roster"),
        counted(seeds, "seed"),
        made.experts,
        counted(made.items, "test image"),
        date(made.unix_s),
        made.seconds,
        escape(&made.platform),
        counted(made.cpus, "processor"),
        escape(made.program.get(..12).unwrap_or(&made.program)),
    );
    if made.quick {
        page.push_str(
            "<p class=\"note\">This is the short version (<code>--quick</code>): few rosters, one seed, part of the test \
             images, short epochs. Its intervals are wide. <code>glia eval</code> runs the whole study.</p>\n",
        );
    }
    if !report.is_complete() || !made.left_out.is_empty() {
        let _ = write!(
            page,
            "<div class=\"note\"><p>Not everything is here: {} of {} runs.</p><ul>",
            made.done, made.planned
        );
        for line in &made.left_out {
            let _ = write!(page, "<li>{}</li>", escape(line));
        }
        page.push_str("</ul></div>\n");
    }
    page.push_str("<nav><a href=\"#verdict\">Verdict</a>");
    for roster in &report.rosters {
        let _ = write!(page, "<a href=\"#{0}\">{0}</a>", escape(&roster.roster));
    }
    if !report.stress.is_empty() {
        page.push_str("<a href=\"#stress\">Liars</a>");
    }
    page.push_str("<a href=\"#method\">Method</a></nav>\n");
}

/// Sign and word of a verdict.
pub(super) const fn sign(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Met => ("✓", "met"),
        Verdict::NotMet => ("✗", "not met"),
        Verdict::NotMeasured => ("–", "not measured"),
    }
}

fn verdicts(page: &mut String, report: &StudyReport) {
    let count = |wanted| report.targets.iter().filter(|target| target.verdict == wanted).count();
    let _ = write!(
        page,
        "<h2 id=\"verdict\">Verdict</h2>\n<p>{} of {} promises met, {} not met, {} not measured here.</p>\n",
        count(Verdict::Met),
        report.targets.len(),
        count(Verdict::NotMet),
        count(Verdict::NotMeasured)
    );
    let mut table = Table::new(&[("", true), ("promised", true), ("measured, and why not", true)]);
    for target in &report.targets {
        let (sign, word) = sign(target.verdict);
        let class = ["met", "missed", "open"][target.verdict as usize];
        let why = target.why.as_ref().map_or_else(String::new, |why| format!("<br><small>{}</small>", escape(why)));
        table.row(
            "",
            &[
                format!("<td class=\"w\"><span class=\"{class}\">{sign} {word}</span></td>"),
                format!("<td class=\"p\">{}</td>", escape(&target.promise)),
                format!("<td class=\"p\">{}{why}</td>", escape(&target.measured)),
            ],
        );
    }
    table.end(page);
}

/// Says plainly where the collective does not win.
fn losses(page: &mut String, report: &StudyReport) {
    let k = report.made.main_k;
    let mut lines = Vec::new();
    for roster in &report.rosters {
        for comparison in roster.comparisons.iter().filter(|c| c.k == k && c.difference.low <= 0.0) {
            let name = roster.method(&comparison.rival).map_or(comparison.rival.as_str(), |method| &method.name);
            let word = if comparison.difference.high < 0.0 { "loses to" } else { "shows no difference to" };
            lines.push(format!(
                "On <b>{}</b> it {word} <b>{}</b>: {}.",
                escape(&roster.roster),
                escape(name),
                escape(&super::text::points_interval(comparison.difference))
            ));
        }
    }
    if report.rosters.is_empty() {
        return;
    }
    let _ = write!(
        page,
        "<h2>Where the collective does not win</h2>\n<p class=\"dim\">At k = {k}, on the same images, paired.</p>\n"
    );
    if lines.is_empty() {
        page.push_str("<p>Nowhere in this study: every paired interval lies above 0.</p>\n");
        return;
    }
    page.push_str("<ul>");
    for line in &lines {
        let _ = write!(page, "<li>{line}</li>");
    }
    page.push_str(
        "</ul>\n<p>A dense model sees everybody's training data at once, which strangers who keep their data to themselves \
         cannot offer; it shows what is lost by not sharing. A plain average or a vote asks every expert for every image; \
         where all experts know the same, that is hard to beat with fewer calls.</p>\n",
    );
}

fn method(page: &mut String, report: &StudyReport) {
    let made = &report.made;
    let _ = write!(
        page,
        "<h2 id=\"method\">How this was measured</h2>\n<ul>\
         <li>Each roster and seed is a real mesh of processes: chain, bootstrap peer, {} experts, a router, real connections \
         between them. The seed decides how the training data is divided, how each model begins and what the router does by \
         chance. Before it is measured, a mesh routes labelled <em>validation</em> images of its own for {:.0} s.</li>\
         <li>The test images are the same for all. They are never trained, probed, calibrated, scored or chosen by; the best \
         single expert <em>in hindsight</em> is the one exception, made in that rival's favour.</li>\
         <li>Unanswered requests count as wrong. Log-loss and calibration are those of the answered ones.</li>\
         <li>Calibration error (ECE): 15 bins of equal width, computed for each seed's mesh and averaged.</li>\
         <li>Brackets are 95 % intervals: seeds and images are drawn with replacement separately ({} times), each drawn image \
         for all drawn seeds, because all seeds answer the same images. For the calibration error the bounds are corrected for \
         the bias of resampling. In the stress part: Wilson's interval, differences by a paired bootstrap over images.</li>\
         <li>McNemar's exact test counts the answers of different seeds as independent, the intervals do not; where they \
         disagree, believe the interval.</li>\
         <li>Majority vote: each expert votes for its most probable class, ties go to the larger sum of probabilities. Its \
         “probabilities” are shares of the votes.</li>\
         <li><em>Oracle gate</em>: asks, for every image, the one expert with the best validation record on the image's true \
         class (roster <code>transforms</code>: on its domain). <em>Oracle, any expert right</em>: an upper bound on choosing one \
         expert; it also counts lucky guesses. A pool of several answers can beat both.</li>\
         <li>Dense models learn from all training images, for as many images seen as all experts together; one has the \
         parameters of one expert, one those of all together.</li>\
         <li>{} requests under way at a time. Latencies are those of all these processes on {} together.</li></ul>\n\
         <p class=\"dim\">Everything here is in <code>report.json</code>; <code>glia eval --render report.json --out DIR</code> \
         renders it again.</p>\n",
        made.experts,
        made.warm_up_s,
        made.resamples,
        made.concurrency,
        counted(made.cpus, "processor"),
    );
}

/// A table that scrolls sideways where it is too wide.
pub(super) struct Table {
    text: String,
    words: Vec<bool>,
}

impl Table {
    /// Headers, and whether the column holds words (left) or numbers (right). A table of words alone is stacked on a
    /// phone.
    pub(super) fn new(header: &[(&str, bool)]) -> Self {
        let stack = if header.iter().all(|(_, words)| *words) { " class=\"stack\"" } else { "" };
        let mut text = format!("<div class=\"scroll\"><table{stack}><thead><tr>");
        for (name, words) in header {
            let class = if *words { " class=\"w\"" } else { "" };
            let _ = write!(text, "<th{class}>{}</th>", escape(name));
        }
        text.push_str("</tr></thead><tbody>");
        Self { text, words: header.iter().map(|(_, words)| *words).collect() }
    }

    /// A row of finished cells.
    fn row(&mut self, class: &str, cells: &[String]) {
        let _ = writeln!(self.text, "<tr class=\"{class}\">{}</tr>", cells.concat());
    }

    /// A row of texts; `class` `us` makes it bold.
    pub(super) fn texts(&mut self, class: &str, texts: &[String]) {
        let cell = |(text, words): (&String, &bool)| {
            let left = if *words { " class=\"w\"" } else { "" };
            format!("<td{left}>{}</td>", escape(text))
        };
        let cells: Vec<String> = texts.iter().zip(&self.words).map(cell).collect();
        self.row(class, &cells);
    }

    /// The table, into the page.
    pub(super) fn end(self, page: &mut String) {
        page.push_str(&self.text);
        page.push_str("</tbody></table></div>\n");
    }
}

/// A chart with its caption.
pub(super) fn figure(page: &mut String, caption: &str, svg: &str) {
    let _ = writeln!(page, "<figure><figcaption>{}</figcaption>{svg}</figure>", escape(caption));
}
