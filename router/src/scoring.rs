//! How much each expert helped, and what is said about it on chain.
//!
//! ```text
//! labelled stream ─▶ pipeline ─▶ shapley ─▶ tally (one epoch) ─▶ ledger (averages, rows sent) ─▶ weights ─▶ chain
//! ```
//!
//! Modules in flow order: [`shapley`], [`tally`], [`weights`], [`ledger`], [`stream`], [`keeper`].

pub mod keeper;
pub mod ledger;
pub mod shapley;
pub mod stream;
pub mod tally;
pub mod weights;
