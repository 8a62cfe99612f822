//! Notes in the book what peers say of their load.

use std::sync::Arc;

use glia_protocol::gossip::Presence;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::subnet::Subnet;

/// Listens to heartbeats until `stop`.
pub async fn watch(subnet: Arc<Subnet>, stop: CancellationToken) {
    let mut beats = subnet.transport.heartbeats();
    loop {
        let beat = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            beat = beats.recv() => beat,
        };
        match beat {
            Ok(beat) if beat.subnets.contains(&subnet.view.name) => {
                if let Presence::Here(load) = beat.presence {
                    subnet.book.heard(beat.peer, load, Instant::now());
                }
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => break,
        }
    }
}
