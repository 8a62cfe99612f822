//! `glia-chain-rules` is the integer mathematics of the chain: what stake, weights and blocks turn into, without floats,
//! without storage, without `std`.
//!
//! ```text
//!  stake, weights, bonds ─▶ epoch ─▶ consensus, incentive, dividends, permits, bonds, emission
//!                             ▲
//!  issuance ─▶ emission ──────┘ rao per epoch        price, pool ─▶ what a place or alpha costs
//! ```
//!
//! Every result is bit-equal to pallet `SubtensorModule` of the public chain (spec version 425) as far as the vectors in
//! `tests/vectors` reach. All functions are pure and total: whatever the input, they return; arithmetic saturates.
//!
//! Modules in the order of the flow:
//! - [`fixed`]: the numbers, [`fixed::I32F32`] and its exponential.
//! - [`math`]: vectors, dense and sparse matrices, masks, weighted median, top-k.
//! - [`bonds`]: moving averages of bonds, plain and liquid.
//! - [`epoch`]: the complete sparse Yuma epoch.
//! - [`schedule`]: when an epoch is due and when a uid counts as inactive.
//! - [`emission`]: block emission with halvings, shares of subnets, the 18/41/41 split.
//! - [`price`]: the neuron price and the subnet lock cost.
//! - [`pool`]: the constant-product pool of TAO and alpha.
//! - `case` (feature `serde`): one epoch as JSON text.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod bonds;
#[cfg(feature = "serde")]
pub mod case;
pub mod emission;
pub mod epoch;
pub mod fixed;
pub mod math;
pub mod pool;
pub mod price;
pub mod schedule;
