//! The whole of Glia: house rules, and meshes of real processes.

mod mesh;
mod tidy;
