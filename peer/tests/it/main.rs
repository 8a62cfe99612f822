//! Networks of real peers on the loopback interface: every test opens its own sockets on free ports and waits for
//! events, never for luck.

mod bare;
mod checkpoints;
mod descriptors;
mod discovery;
mod heartbeats;
mod liar;
mod lifecycle;
mod limits;
mod receipts;
mod support;
mod tensors;
