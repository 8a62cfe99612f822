//! Feedback: an application that learns later what was right says so, and the answer is scored as if it had been a
//! labelled item.
//!
//! ```text
//! answer ─▶ recent (remembered for 10 minutes) ─▶ POST /glia/v1/feedback (key, rate) ─▶ claim an item once ─▶ scoring
//! ```
//!
//! Where labels come from is explicit ([`LabelSource`]): labelled items among the traffic, feedback, or, where neither is
//! there, the agreement of experts with each other. The router says which in its log, in `/healthz` and in
//! `glia_router_label_source`.
//!
//! Feedback moves weights on chain, so it needs a key: whoever may label may decide who is paid. Keys are compared by hash
//! in constant time, and each may send [`crate::config::Policy::feedback_rate`] labels per second in the long run.
//!
//! Modules: [`keys`] (who may), [`recent`] (what can still be labelled).

pub mod keys;
pub mod recent;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use keys::FeedbackKeys;
pub use recent::{ClaimError, Recent};

use crate::pipeline::Routed;
use crate::subnet::Subnet;

/// Feedback counts as a source of labels for this long after its last label.
const FRESH: Duration = Duration::from_secs(600);

/// Where the labels come from that answers are scored with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelSource {
    /// Labelled items that the router sends among the traffic.
    Canaries,
    /// Applications that say what was right.
    Feedback,
    /// Nobody: experts are compared with each other, at low weight.
    Agreement,
}

impl LabelSource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Canaries, Self::Feedback, Self::Agreement];

    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Canaries => "canaries",
            Self::Feedback => "feedback",
            Self::Agreement => "agreement",
        }
    }

    /// In a sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Canaries => "answers are scored with labelled items that are sent among the traffic",
            Self::Feedback => "answers are scored with labels that applications send to /glia/v1/feedback",
            Self::Agreement => {
                "there are no labels: no labelled items, and no feedback in the last 10 minutes; experts are scored by \
                 their agreement with each other, at low weight"
            }
        }
    }
}

/// The feedback side of one subnet.
#[derive(Debug, Default)]
pub struct Feedback {
    /// Answers that can still be labelled.
    pub recent: Recent,
    open: AtomicBool,
    last: Mutex<Option<Instant>>,
}

impl Feedback {
    /// Says whether anybody may give feedback; while nobody may, no answer is remembered.
    pub fn open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    /// Remembers an answer for its label.
    pub fn remember(&self, routed: Routed, now: Instant) {
        if self.open.load(Ordering::Acquire) {
            self.recent.put(routed, now);
        }
    }

    /// A label came at `now`.
    pub fn heard(&self, now: Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Where labels come from, given whether the router has `labelled` items of its own.
    #[must_use]
    pub fn source(&self, labelled: bool, now: Instant) -> LabelSource {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last {
            _ if labelled => LabelSource::Canaries,
            Some(at) if now.saturating_duration_since(at) < FRESH => LabelSource::Feedback,
            _ => LabelSource::Agreement,
        }
    }
}

/// Where the labels of `subnet` come from.
#[must_use]
pub fn source(subnet: &Subnet, now: Instant) -> LabelSource {
    subnet.feedback.source(!subnet.probes.scoring().is_empty(), now)
}

/// Says where labels come from, in the figures always and in the log when it has changed since `said`.
pub fn tell(subnet: &Subnet, said: &mut Option<LabelSource>, now: Instant) {
    let source = source(subnet, now);
    subnet.metrics.labels(&subnet.view.name, source);
    if said.replace(source) == Some(source) {
        return;
    }
    let name = &subnet.view.name;
    match source {
        LabelSource::Agreement => tracing::warn!(subnet = %name, "{}", source.sentence()),
        _ => tracing::info!(subnet = %name, "{}", source.sentence()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_labels_agreement_is_said_and_feedback_takes_its_place_while_it_comes() {
        let (feedback, now) = (Feedback::default(), Instant::now());
        assert_eq!(feedback.source(true, now), LabelSource::Canaries);
        assert_eq!(feedback.source(false, now), LabelSource::Agreement);
        feedback.heard(now);
        assert_eq!(feedback.source(false, now), LabelSource::Feedback);
        assert_eq!(feedback.source(false, now + FRESH), LabelSource::Agreement);
        assert!(LabelSource::Agreement.sentence().contains("no labels"));
    }
}
