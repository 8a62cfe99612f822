//! Charts as inline SVG: no script, colours from the page's style sheet, wide enough for a phone and no wider.
//!
//! Every series has its colour *and* its own mark or dash, so that nothing rests on colour alone.

use std::fmt::Write as _;

use crate::stats::Interval;

/// Width of every chart in user units; a phone shows it about 1:1.
const WIDTH: f64 = 360.0;
/// Height of a line of text.
const LINE: f64 = 15.0;
/// Answers from which on a bin of a reliability diagram is drawn.
const FEWEST: usize = 5;
/// Series that have a colour of their own.
const COLOURS: usize = 6;

/// Text that may stand in HTML and SVG.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Round steps that cut `low..high` into about `wanted` parts.
#[must_use]
pub fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) || wanted == 0 {
        return vec![low];
    }
    let rough = span / wanted as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|m| m * power).find(|step| *step >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..).map(|n| n as f64 * step).take_while(|value| *value <= high + step * 1e-6).take(50).collect()
}

/// One line of a dot chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Dot {
    /// What it is.
    pub label: String,
    /// Where it lies.
    pub interval: Interval,
    /// Its series.
    pub series: usize,
    /// The number as text.
    pub text: String,
}

/// A line per way of answering: a dot and its interval on a common axis of percent.
#[must_use]
pub fn dots(title: &str, rows: &[Dot]) -> String {
    const ROW: f64 = 31.0;
    let (left, right, top) = (8.0, WIDTH - 8.0, 6.0);
    let values = || rows.iter().flat_map(|row| [row.interval.low, row.interval.high, row.interval.estimate]);
    let (low, high) = padded(values());
    let at = |value: f64| left + (value - low) / (high - low) * (right - left);
    let bottom = top + ROW * rows.len() as f64;
    let mut svg = begin(title, bottom + 22.0);
    for tick in ticks(low, high, 5) {
        let x = at(tick);
        let _ = write!(svg, r#"<path class="line" d="M{x:.1} {top:.1}V{bottom:.1}"/>"#);
        let _ = write!(
            svg,
            r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            bottom + 14.0,
            share(tick)
        );
    }
    for (index, row) in rows.iter().enumerate() {
        let y = top + ROW * index as f64;
        let (text, line) = (y + 12.0, y + 22.0);
        let _ = write!(svg, r#"<text x="{left}" y="{text:.1}">{}</text>"#, escape(&row.label));
        let _ = write!(
            svg,
            r#"<text class="value" x="{right}" y="{text:.1}" text-anchor="end">{}</text>"#,
            escape(&row.text)
        );
        let colour = row.series % COLOURS;
        let _ = write!(
            svg,
            r#"<path class="l l{colour}" d="M{:.1} {line:.1}H{:.1}"/>"#,
            at(row.interval.low),
            at(row.interval.high)
        );
        mark(&mut svg, row.series, at(row.interval.estimate), line, 4.5);
    }
    svg.push_str("</svg>");
    svg
}

/// A point of a line chart; `low` and `high` draw a bar when they differ from `y`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Point {
    /// A point without an interval.
    #[must_use]
    pub const fn bare(x: f64, y: f64) -> Self {
        Self { x, y, low: y, high: y }
    }

    /// A point with one.
    #[must_use]
    pub const fn of(x: f64, interval: Interval) -> Self {
        Self { x, y: interval.estimate, low: interval.low, high: interval.high }
    }
}

/// One line of a line chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<Point>,
    /// Whether it is a level to compare with: dashed, without marks.
    pub level: bool,
}

/// What a line chart's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Shares, shown in percent.
    Share,
    /// Milliseconds.
    Milliseconds,
}

/// A line chart with its legend. `marks` are upright lines with a word each.
#[must_use]
pub fn lines(title: &str, x_label: &str, unit: Unit, series: &[Series], marks: &[(f64, String)]) -> String {
    let points = || series.iter().flat_map(|one| &one.points);
    let (left, right, top, bottom) = (44.0, WIDTH - 10.0, 10.0, 178.0);
    let (x_low, x_high) = bounds(points().map(|point| point.x).chain(marks.iter().map(|mark| mark.0)));
    let (mut y_low, mut y_high) = padded(points().flat_map(|point| [point.low, point.high, point.y]));
    if unit == Unit::Milliseconds {
        y_low = 0.0;
    } else {
        (y_low, y_high) = (y_low.max(0.0), y_high.min(1.0));
    }
    let x = |value: f64| left + (value - x_low) / (x_high - x_low) * (right - left);
    let y = |value: f64| bottom - (value.clamp(y_low, y_high) - y_low) / (y_high - y_low) * (bottom - top);
    let legend_rows = series.len();
    let mut svg = begin(title, bottom + 36.0 + LINE * legend_rows as f64);
    for tick in ticks(y_low, y_high, 5) {
        let (place, text) = (y(tick), if unit == Unit::Share { share(tick) } else { number(tick) });
        let _ = write!(svg, r#"<path class="line" d="M{left} {place:.1}H{right}"/>"#);
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#,
            left - 5.0,
            place + 3.5
        );
    }
    for tick in ticks(x_low, x_high, 8) {
        let place = x(tick);
        let _ = write!(
            svg,
            r#"<text class="tick" x="{place:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            bottom + 14.0,
            number(tick)
        );
    }
    let _ = write!(svg, r#"<path class="axis" d="M{left} {bottom}H{right}"/>"#);
    let _ = write!(
        svg,
        r#"<text class="tick" x="{right}" y="{:.1}" text-anchor="end">{}</text>"#,
        bottom + 27.0,
        escape(x_label)
    );
    for (value, word) in marks {
        let place = x(*value);
        let _ = write!(svg, r#"<path class="mark" d="M{place:.1} {top}V{bottom}"/>"#);
        let _ =
            write!(svg, r#"<text class="tick" x="{:.1}" y="{:.1}">{}</text>"#, place + 3.0, top + 9.0, escape(word));
    }
    for (index, one) in series.iter().enumerate() {
        let colour = index % COLOURS;
        let dash = if one.level { " level" } else { "" };
        let mut path = String::new();
        for (n, point) in one.points.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if n == 0 { 'M' } else { 'L' }, x(point.x), y(point.y));
        }
        if one.level && one.points.len() == 1 {
            path = format!("M{left} {0:.1}H{right}", y(one.points[0].y));
        }
        let _ = write!(svg, r#"<path class="l l{colour}{dash}" d="{path}"/>"#);
        if !one.level {
            for point in &one.points {
                if point.high > point.low {
                    let _ = write!(
                        svg,
                        r#"<path class="l thin l{colour}" d="M{0:.1} {1:.1}V{2:.1}"/>"#,
                        x(point.x),
                        y(point.low),
                        y(point.high)
                    );
                }
                mark(&mut svg, index, x(point.x), y(point.y), if one.points.len() > 20 { 2.0 } else { 3.6 });
            }
        }
        let line = bottom + 43.0 + LINE * index as f64;
        let _ = write!(svg, r#"<path class="l l{colour}{dash}" d="M{left} {0:.1}h22"/>"#, line - 4.0);
        if !one.level {
            mark(&mut svg, index, left + 11.0, line - 4.0, 3.6);
        }
        let _ = write!(svg, r#"<text x="{:.1}" y="{line:.1}">{}</text>"#, left + 28.0, escape(&one.name));
    }
    svg.push_str("</svg>");
    svg
}

/// A reliability diagram: confidence across, share of right answers up, the larger the mark the more answers. Bins of fewer than
/// five answers are left out.
#[must_use]
pub fn reliability(title: &str, series: &[(String, Vec<crate::stats::calibration::Bin>)]) -> String {
    let (left, right, top) = (44.0, 304.0, 8.0);
    let bottom = top + (right - left);
    let x = |value: f64| left + value * (right - left);
    let y = |value: f64| bottom - value * (bottom - top);
    let mut svg = begin(title, bottom + 40.0 + LINE * series.len() as f64);
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let _ =
            write!(svg, r#"<path class="line" d="M{left} {0:.1}H{right}M{1:.1} {top}V{bottom}"/>"#, y(tick), x(tick));
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            left - 5.0,
            y(tick) + 3.5,
            share(tick)
        );
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            x(tick),
            bottom + 14.0,
            share(tick)
        );
    }
    let _ = write!(svg, r#"<path class="mark" d="M{left} {bottom}L{right} {top}"/>"#);
    let _ = write!(
        svg,
        r#"<text class="tick" x="{right}" y="{:.1}" text-anchor="end">confidence → , share right ↑</text>"#,
        bottom + 27.0
    );
    for (index, (name, bins)) in series.iter().enumerate() {
        let total: usize = bins.iter().map(|bin| bin.count).sum();
        let filled: Vec<_> = bins.iter().filter(|bin| bin.count >= FEWEST).collect();
        let mut path = String::new();
        for (n, bin) in filled.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if n == 0 { 'M' } else { 'L' }, x(bin.confidence), y(bin.accuracy));
        }
        let colour = index % COLOURS;
        let _ = write!(svg, r#"<path class="l thin l{colour}" d="{path}"/>"#);
        for bin in filled {
            let size = 1.5 + 7.0 * (bin.count as f64 / total.max(1) as f64).sqrt();
            mark(&mut svg, index, x(bin.confidence), y(bin.accuracy), size);
        }
        let line = bottom + 45.0 + LINE * index as f64;
        mark(&mut svg, index, left + 11.0, line - 4.0, 3.6);
        let _ = write!(svg, r#"<text x="{:.1}" y="{line:.1}">{}</text>"#, left + 28.0, escape(name));
    }
    svg.push_str("</svg>");
    svg
}

/// A row per class with a mark per series.
#[must_use]
pub fn strips(title: &str, names: &[String], rows: &[(String, Vec<Option<f64>>)]) -> String {
    const ROW: f64 = 17.0;
    let (left, right, top) = (84.0, WIDTH - 12.0, 6.0);
    let bottom = top + ROW * rows.len() as f64;
    let (low, high) = padded(rows.iter().flat_map(|row| row.1.iter().flatten().copied()));
    let (low, high) = (low.max(0.0), high.min(1.0));
    let x = |value: f64| left + (value - low) / (high - low).max(1e-9) * (right - left);
    let mut svg = begin(title, bottom + 26.0 + LINE * names.len() as f64);
    for tick in ticks(low, high, 5) {
        let _ = write!(svg, r#"<path class="line" d="M{0:.1} {top}V{bottom:.1}"/>"#, x(tick));
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            x(tick),
            bottom + 14.0,
            share(tick)
        );
    }
    for (index, (label, values)) in rows.iter().enumerate() {
        let y = top + ROW * (index as f64 + 0.5);
        let _ =
            write!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#, left - 8.0, y + 4.0, escape(label));
        let _ = write!(svg, r#"<path class="line" d="M{left} {y:.1}H{right}"/>"#);
        // The first series last, so that it lies on top.
        for (series, value) in values.iter().enumerate().rev() {
            if let Some(value) = value {
                mark(&mut svg, series, x(*value), y, 4.2);
            }
        }
    }
    for (index, name) in names.iter().enumerate() {
        let line = bottom + 32.0 + LINE * index as f64;
        mark(&mut svg, index, left + 6.0, line - 4.0, 4.2);
        let _ = write!(svg, r#"<text x="{:.1}" y="{line:.1}">{}</text>"#, left + 18.0, escape(name));
    }
    svg.push_str("</svg>");
    svg
}

fn begin(title: &str, height: f64) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{0}"><title>{0}</title>"#, escape(title))
}

/// The mark of a series: circle, square, diamond, triangle up, triangle down, cross.
fn mark(svg: &mut String, series: usize, x: f64, y: f64, size: f64) {
    let colour = series % COLOURS;
    let s = size;
    let shape = match colour {
        0 => {
            let _ = write!(svg, r#"<circle class="m m0" cx="{x:.1}" cy="{y:.1}" r="{s:.1}"/>"#);
            return;
        }
        1 => format!("M{:.1} {:.1}h{2:.1}v{2:.1}h-{2:.1}z", x - s * 0.9, y - s * 0.9, s * 1.8),
        2 => format!("M{x:.1} {:.1}l{s1:.1} {s1:.1}l-{s1:.1} {s1:.1}l-{s1:.1} -{s1:.1}z", y - s * 1.25, s1 = s * 1.25),
        3 => format!("M{x:.1} {:.1}l{:.1} {2:.1}h-{3:.1}z", y - s * 1.1, s * 1.15, s * 2.0, s * 2.3),
        4 => format!("M{x:.1} {:.1}l{:.1} -{2:.1}h-{3:.1}z", y + s * 1.1, s * 1.15, s * 2.0, s * 2.3),
        _ => {
            let _ = write!(
                svg,
                r#"<path class="l l5" d="M{:.1} {:.1}l{2:.1} {2:.1}m0 -{2:.1}l-{2:.1} {2:.1}"/>"#,
                x - s * 0.9,
                y - s * 0.9,
                s * 1.8
            );
            return;
        }
    };
    let _ = write!(svg, r#"<path class="m m{colour}" d="{shape}"/>"#);
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut range: Option<(f64, f64)> = None;
    for value in values.filter(|value| value.is_finite()) {
        range = Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))));
    }
    match range {
        None => (0.0, 1.0),
        Some((low, high)) if high - low < 1e-9 => (low - 0.5, high + 0.5),
        Some(range) => range,
    }
}

/// The range of `values` with a little room at both ends.
fn padded(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = bounds(values);
    let room = ((high - low) * 0.06).max(0.005);
    (low - room, high + room)
}

fn share(value: f64) -> String {
    format!("{} %", number(value * 100.0))
}

fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.0, 5).len(), 6);
        assert_eq!(ticks(3.0, 3.0, 5), [3.0], "no range, one tick");
        for (low, high) in [(0.41, 0.983), (-3.2, 11.0), (0.0, 900.0)] {
            let ticks = ticks(low, high, 5);
            assert!((2..=12).contains(&ticks.len()), "{ticks:?}");
            assert!(ticks.iter().all(|tick| *tick >= low - 1e-9 && *tick <= high + 1e-6), "{ticks:?}");
        }
        assert_eq!(ticks(f64::NAN, 1.0, 5).len(), 1);
    }

    #[test]
    fn names_cannot_leave_the_text_they_stand_in() {
        let row = Dot {
            label: "<script>alert(\"x\")</script>".into(),
            interval: Interval { estimate: 0.5, low: 0.4, high: 0.6 },
            series: 0,
            text: "50 %".into(),
        };
        let svg = dots("a & b", &[row]);
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;") && svg.contains("a &amp; b"), "{svg}");
    }

    #[test]
    fn charts_without_points_are_still_charts() {
        for svg in [
            dots("t", &[]),
            lines("t", "k", Unit::Share, &[], &[]),
            reliability("t", &[("a".into(), Vec::new())]),
            strips("t", &[], &[]),
        ] {
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn a_point_lies_where_its_number_says() {
        let series =
            Series { name: "s".into(), points: vec![Point::bare(0.0, 0.0), Point::bare(10.0, 1.0)], level: false };
        let svg = lines("t", "x", Unit::Share, &[series], &[]);
        // The lowest value at the bottom left, the highest at the top right.
        assert!(svg.contains(r#"cx="44.0" cy="178.0""#) && svg.contains(r#"cx="350.0" cy="10.0""#), "{svg}");
    }
}
