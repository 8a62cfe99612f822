//! How much each expert helped, and what is said about it on chain.
//!
//! ```text
//! labelled stream ─▶ pipeline ─▶ outcome: shapley ─▶ tally (one epoch) ─▶ share (clusters) ─▶ ledger (averages, rows sent) ─▶ weights ─▶ chain
//! ```
//!
//! Modules in flow order: [`stream`], [`outcome`], [`shapley`], [`agreement`], [`tally`], [`share`], [`weights`], [`ledger`],
//! [`keeper`], [`explain`].

pub mod agreement;
pub mod explain;
pub mod keeper;
pub mod ledger;
pub mod outcome;
pub mod shapley;
pub mod share;
pub mod stream;
pub mod tally;
pub mod weights;
