//! Tests of the pallet by topic.

mod commit_reveal;
mod epoch;
mod extension;
mod genesis;
mod random;
mod registration;
mod replacement;
mod serving;
mod staking;
mod subnet;
mod weights;
