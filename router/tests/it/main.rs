//! A router against a network and a chain that behave as badly as a test wants.

mod api;
mod audits;
mod clones;
mod directory;
mod dispatch;
mod feedback;
mod gate;
mod learning;
mod mesh;
mod network;
mod properties;
mod reveal;
mod scoring;
