//! One answered request whose truth is known, or nearly: into the tally.
//!
//! | source | where labels come from | counts as |
//! |---|---|---|
//! | [`Source::Canary`] | the validation split, sent among ordinary requests | 1 |
//! | [`Source::Feedback`] | the application that asked (`POST /glia/v1/feedback`) | `Policy::feedback_weight`, 0.5 unless set |
//! | [`Source::Agreement`] | nobody: experts are compared with each other | `Policy::agreement_weight`, 0.2 at most |
//!
//! Agreement is a fallback. It decides an epoch only when there were too few labels for one, and such an epoch moves
//! averages by a fifth at most of what labels would.

use super::shapley::shapley;
use super::tally::{Scored, Tally};
use crate::config::Policy;
use crate::dispatch::{Call, Failure};
use crate::pipeline::{Routed, RoutedItem};
use crate::subnet::Subnet;

/// Items of one request that are compared: the rest tells little more and takes time.
const COMPARED: usize = 64;

/// Where it is known from how good an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A labelled item of the validation split.
    Canary,
    /// A label that the application gave.
    Feedback,
    /// No label: what the experts' answers have in common.
    Agreement,
}

impl Source {
    /// How much one item of this source counts, 0 to 1.
    #[must_use]
    pub const fn weight(self, policy: &Policy) -> f64 {
        match self {
            Self::Canary => 1.0,
            Self::Feedback => policy.feedback_weight,
            Self::Agreement => policy.agreement_weight,
        }
    }
}

/// Counts what an answered request shows about its members, and lets the gate learn: `labels[i]` is the class of item i. Without labels
/// ([`Source::Agreement`]) `labels` is not looked at.
pub fn record(subnet: &Subnet, routed: &Routed, labels: &[usize], source: Source) {
    let classes = subnet.view.schema.classes().len();
    let weight = source.weight(&subnet.policy);
    if source != Source::Agreement {
        subnet.online.learn(routed, labels, weight as f32);
    }
    subnet.tally.with(|tally| match source {
        Source::Agreement => compare(tally, routed),
        Source::Canary | Source::Feedback => {
            for (index, (item, &label)) in routed.items.iter().zip(labels).enumerate() {
                let seed = seed_of(routed) ^ index as u64;
                tally.answered(weight, &scored(routed, item, label, classes, seed));
            }
            count_failures(tally, routed);
        }
    });
}

/// Shapley values of those members that can be paid.
fn scored(routed: &Routed, item: &RoutedItem, label: usize, classes: usize, seed: u64) -> Vec<Scored> {
    let weights: Vec<f32> = item.members.iter().map(|member| member.weight).collect();
    let right: Vec<f32> = item.members.iter().map(|member| member.row.get(label).copied().unwrap_or(0.0)).collect();
    let values = shapley(&weights, &right, classes, seed);
    let payable = item.members.iter().zip(values).filter_map(|(member, value)| {
        let listed = &routed.experts[member.expert];
        listed.is_registered().then(|| Scored {
            hotkey: listed.hotkey(),
            expert: listed.key,
            name: listed.descriptor.name.clone(),
            value,
            propensity: member.propensity,
        })
    });
    payable.collect()
}

/// Answers to the same item, next to each other.
fn compare(tally: &mut Tally, routed: &Routed) {
    for item in routed.items.iter().take(COMPARED) {
        let payable = item.members.iter().filter_map(|member| {
            let listed = &routed.experts[member.expert];
            listed.is_registered().then(|| (listed.hotkey(), listed.key, &*listed.descriptor.name, &*member.row))
        });
        tally.compared(&payable.collect::<Vec<_>>());
    }
}

/// Calls whose failure is the expert's.
fn count_failures(tally: &mut Tally, routed: &Routed) {
    let nobodys = |call: &&Call| matches!(call.failure, None | Some(Failure::Unfinished | Failure::Own(_)));
    for call in routed.calls.iter().filter(|call| !nobodys(call)) {
        let listed = &routed.experts[call.expert];
        if listed.is_registered() {
            tally.failed(listed.hotkey(), &listed.descriptor.name);
        }
    }
}

/// A number that is another for every request.
fn seed_of(routed: &Routed) -> u64 {
    routed.id.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
