//! `glia-testnet` starts, watches, breaks and measures a local network of real processes.
//!
//! ```text
//! spec ─▶ commands ─▶ process ─▶ testnet ─▶ state (testnet.json) ─▶ control (status, logs, down)
//!                                   │
//!             lab (train, alone) ─▶ demo ─▶ client ─▶ evaluate ─▶ stats ─▶ report
//!                                   └──────▶ chain_view ──────────────────────▲
//! ```
//!
//! Nothing waits for luck: a process is ready when it wrote its ready file, a testnet is complete when every router
//! has probed every expert. Whatever ends this process, the children of an attached testnet end with it.
//!
//! Modules, in flow order: [`adversary`] (liars for drills), [`spec`], [`commands`], [`identity`], [`process`], [`state`],
//! [`testnet`], [`control`], [`progress`], [`signals`], [`lab`], [`client`], [`mod@evaluate`], [`stats`], [`chain_view`],
//! [`report`], [`demo`], [`study`].

pub mod adversary;
pub mod spec;

pub mod commands;
pub mod identity;
pub mod process;
pub mod state;
pub mod testnet;

pub mod control;

pub mod progress;
pub mod signals;

pub mod lab;

pub mod client;
pub mod evaluate;
pub mod stats;

pub mod chain_view;
pub mod report;

pub mod demo;
pub mod study;

pub use client::{ClientError, InferOptions, RouterClient};
pub use control::{Down, Status, down, logs, status};
pub use demo::{DemoOptions, run_demo};
pub use evaluate::{EvaluateOptions, Evaluation, LabelledSet, evaluate};
pub use progress::Progress;
pub use report::Report;
pub use signals::stop_on_signals;
pub use spec::{ExpertSpec, Lifetime, TestnetSpec, data_home, default_dir};
pub use study::{StudyOptions, StudyReport, run_study};
pub use testnet::{Interrupted, Testnet};
