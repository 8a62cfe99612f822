//! Supervision with real processes: small shell programs that behave as `glia`'s processes do.

mod supervision;
mod tree;
