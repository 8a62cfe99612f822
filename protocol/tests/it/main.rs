//! Tests of every byte.

mod counting;
mod descriptor;
mod feature_map;
mod golden;
mod ids;
mod lies;
mod numbers;
mod receipt;
mod roundtrip;
mod samples;
mod signature;
mod spec;
mod transfer;
