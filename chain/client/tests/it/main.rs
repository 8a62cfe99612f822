//! The client against the embedded chain.

mod connection;
mod neuron;
mod submitting;
mod world;
