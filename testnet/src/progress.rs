//! What a person sees while it works: bars on a terminal, plain lines elsewhere, nothing when asked.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where progress goes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Bars(MultiProgress),
    Lines,
    Silent,
}

impl Progress {
    /// Bars when standard error is a terminal, else lines.
    #[must_use]
    pub fn auto() -> Self {
        if std::io::stderr().is_terminal() { Self { kind: Kind::Bars(MultiProgress::new()) } } else { Self::lines() }
    }

    /// One line when a step begins and one when it ends.
    #[must_use]
    pub const fn lines() -> Self {
        Self { kind: Kind::Lines }
    }

    /// Nothing at all.
    #[must_use]
    pub const fn silent() -> Self {
        Self { kind: Kind::Silent }
    }

    /// Begins a step of `total` parts; 0 when the number is not known.
    #[must_use]
    pub fn step(&self, what: &str, total: u64) -> Step {
        let bar = match &self.kind {
            Kind::Bars(all) => {
                let bar = all.add(if total == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(total) });
                bar.set_style(style(total > 0));
                bar.set_prefix(what.to_owned());
                bar.enable_steady_tick(Duration::from_millis(120));
                Some(bar)
            }
            Kind::Lines => {
                eprintln!("{what} …");
                None
            }
            Kind::Silent => None,
        };
        let lines = matches!(self.kind, Kind::Lines);
        Step { bar, lines, what: what.to_owned(), started: Instant::now(), over: false }
    }

    /// A line of its own, above the bars.
    pub fn say(&self, line: &str) {
        match &self.kind {
            // A terminal that went away is no reason to stop working.
            Kind::Bars(all) => drop(all.println(line)),
            Kind::Lines => eprintln!("{line}"),
            Kind::Silent => {}
        }
    }
}

fn style(counted: bool) -> ProgressStyle {
    let template = if counted {
        "{spinner:.cyan} {prefix:<26} {bar:30.cyan/dim} {pos:>5}/{len:<5} {elapsed:>4} {msg:.dim}"
    } else {
        "{spinner:.cyan} {prefix:<26} {elapsed:>4} {msg:.dim}"
    };
    // Both templates are constants; were one wrong, the default style still shows the step.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("━╸─")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✓")
}

/// One step under way. Dropped before [`Step::done`], it vanishes.
#[derive(Debug)]
pub struct Step {
    bar: Option<ProgressBar>,
    lines: bool,
    what: String,
    started: Instant,
    over: bool,
}

impl Step {
    /// `done` parts are done.
    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// The number of parts became known, or changed.
    pub fn total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_style(style(total > 0));
            bar.set_length(total);
        }
    }

    /// What it is busy with (bars only).
    pub fn message(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// Seconds since it began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The step is done; `text` says with what result.
    pub fn done(mut self, text: &str) {
        self.over = true;
        if let Some(bar) = &self.bar {
            bar.finish_with_message(text.to_owned());
        } else if self.lines {
            eprintln!("{}: {text} ({:.1} s)", self.what, self.started.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let (Some(bar), false) = (&self.bar, self.over) {
            bar.finish_and_clear();
        }
    }
}
