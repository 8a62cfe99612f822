//! Ctrl-C and SIGTERM as a stop token.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that fires on the first Ctrl-C or SIGTERM. The second one ends this process at once (status 130); the
/// processes of an attached testnet then end by themselves. Must be called inside a tokio runtime.
///
/// # Errors
/// When the signals cannot be watched.
pub fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let fired = token.clone();
    tokio::spawn(async move {
        for count in 0.. {
            tokio::select! {
                biased;
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if count > 0 {
                std::process::exit(130);
            }
            fired.cancel();
        }
    });
    Ok(token)
}
