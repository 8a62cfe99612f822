//! The whole of Glia: house rules, and meshes of real processes.

mod epoch;
mod eval;
mod mesh;
mod tidy;
