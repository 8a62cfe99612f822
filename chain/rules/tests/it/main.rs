//! The rules against the vectors of the public chain, and against inputs nobody would send.

mod case;
mod coinbase;
mod epoch_vectors;
mod literal;
mod math_vectors;
mod pool;
mod price;
mod properties;
