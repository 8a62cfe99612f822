//! The runtime as a node sees it: by name, through bytes.

mod blocks;
mod genesis;
mod metadata;
mod support;
