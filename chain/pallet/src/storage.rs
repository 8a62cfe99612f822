//! Storage of the pallet by what it belongs to; names, key order, hashers, types and defaults are those of the public chain.

pub(crate) mod accounts;
pub(crate) mod chain;
pub(crate) mod defaults;
pub(crate) mod hyperparameters;
pub(crate) mod neurons;
pub(crate) mod subnets;
