//! What every long-running `glia` process does alike: logs, the ready file, leaving with its parent.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use glia_chain_client::enrol::tao;
use glia_chain_client::{EnrolStep, Keypair};
use glia_peer::HotkeySigner;
use glia_protocol::Hotkey;
use glia_protocol::signature::Signature;
use glia_testnet::spec::data_home;
use glia_testnet::stop_on_signals;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::Supervision;

/// Logs to standard error: `RUST_LOG`, or by the number of `-v`.
pub(crate) fn start_logging(verbose: u8) {
    let default = match verbose {
        0 => "warn,libp2p_kad=error,glia=info,glia_peer=warn,glia_experts=warn,glia_router=warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(coloured)
        .with_target(verbose > 0)
        .init();
}

/// A token that is cancelled by Ctrl-C (a second one ends the process at once), SIGTERM or, when asked for, the end of standard input.
pub(crate) fn stop_token(supervision: &Supervision) -> anyhow::Result<CancellationToken> {
    let token = stop_on_signals()?;
    if supervision.exit_with_parent {
        let orphaned = token.clone();
        // A plain thread: a blocked read of standard input cannot be cancelled and must not hold the runtime.
        std::thread::Builder::new().name("parent-watch".to_owned()).spawn(move || {
            let mut byte = [0];
            while matches!(std::io::stdin().read(&mut byte), Ok(n) if n > 0) {}
            orphaned.cancel();
        })?;
    }
    Ok(token)
}

/// Writes the ready file in one step, so that a reader never sees half of it.
pub(crate) fn announce_ready(supervision: &Supervision, facts: &impl Serialize) -> anyhow::Result<()> {
    let Some(path) = &supervision.ready_file else { return Ok(()) };
    let text = serde_json::to_vec_pretty(facts)?;
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("cannot write the ready file {}", path.display()))
}

/// `--data-dir`, or `glia/<role>` in the user's data directory.
pub(crate) fn data_dir(given: Option<&Path>, role: &str) -> anyhow::Result<PathBuf> {
    let dir = match given {
        Some(dir) => dir.to_owned(),
        None => data_home()?.join(role),
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create the data directory {}", dir.display()))?;
    Ok(dir)
}

/// `--data-dir`, or the user's data directory itself.
pub(crate) fn home(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    given.map_or_else(data_home, |dir| Ok(dir.to_owned()))
}

/// Says what enrolling did.
pub(crate) fn tell_enrolment(name: &str, step: EnrolStep) {
    match step {
        EnrolStep::Funded { rao } => tracing::info!("{name}: got {} TAO from the development account", tao(rao)),
        EnrolStep::WaitingForFunds { coldkey, missing } => {
            eprintln!("{name}: waiting until the coldkey {coldkey} has {} TAO more", tao(missing));
        }
        EnrolStep::Registered { uid } => tracing::info!("{name}: registered as uid {uid}"),
        EnrolStep::Staked { rao } => tracing::info!("{name}: staked {} TAO", tao(rao)),
        _ => {}
    }
}

/// The chain key as the mesh needs it: to sign bindings and proofs of possession.
pub(crate) fn hotkey_signer(hotkey: &Keypair) -> HotkeySigner {
    let key = hotkey.clone();
    HotkeySigner { hotkey: Hotkey(hotkey.account().0), sign: Arc::new(move |message| Signature(key.sign(message))) }
}
