//! The client against the embedded chain.

mod commit;
mod connection;
mod enrol;
mod neuron;
mod send;
mod submitting;
mod world;
