//! The whole of Glia: house rules, and meshes of real processes.

mod epoch;
mod mesh;
mod tidy;
