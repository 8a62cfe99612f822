//! One connection per peer: callers at the same time share one dial, dead connections are replaced.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt as _, Shared};
use futures::stream::{FuturesUnordered, StreamExt as _};
use glia_protocol::PeerId;
use quinn::{Connection, Endpoint, TransportConfig};
use tokio::sync::oneshot;

use super::{codes, tls};
use crate::identity::Identity;
use crate::shutdown::Shutdown;

/// Connections kept; the longest unused one is closed first.
const MAX_POOLED: usize = 512;
/// Between the attempts on two addresses of one peer.
const STAGGER: Duration = Duration::from_millis(150);

type Dial = Shared<BoxFuture<'static, Result<Connection, String>>>;

struct Slot {
    dial: Dial,
    used: Instant,
}

/// Connections this peer has opened.
pub(super) struct Pool {
    endpoint: Endpoint,
    identity: Identity,
    transport: Arc<TransportConfig>,
    dial_timeout: Duration,
    shutdown: Shutdown,
    slots: Mutex<HashMap<PeerId, Slot>>,
}

/// A connection, and whether it was there before.
pub(super) struct Pooled {
    pub(super) connection: Connection,
    pub(super) reused: bool,
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint, identity: Identity, dial_timeout: Duration, shutdown: Shutdown) -> Self {
        // Nobody may open streams towards a caller.
        let transport = tls::transport(0);
        Self { endpoint, identity, transport, dial_timeout, shutdown, slots: Mutex::default() }
    }

    /// A live connection to `peer`; dials `addresses` if there is none.
    ///
    /// # Cancel safety
    /// Cancel safe: a dial goes on and serves the next caller.
    pub(super) async fn get(&self, peer: PeerId, addresses: &[SocketAddr]) -> Result<Pooled, String> {
        let (dial, reused) = self.slot(peer, addresses);
        let connection = dial.await?;
        Ok(Pooled { connection, reused })
    }

    fn slot(&self, peer: PeerId, addresses: &[SocketAddr]) -> (Dial, bool) {
        let now = Instant::now();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(&peer) {
            slot.used = now;
            match slot.dial.peek() {
                None => return (slot.dial.clone(), false),
                Some(Ok(connection)) if connection.close_reason().is_none() => return (slot.dial.clone(), true),
                Some(_) => {}
            }
        }
        if slots.len() >= MAX_POOLED {
            make_room(&mut slots);
        }
        let dial = self.dial(peer, addresses.to_vec());
        slots.insert(peer, Slot { dial: dial.clone(), used: now });
        (dial, false)
    }

    /// Forgets `connection` if it is still the pooled one of `peer`.
    pub(super) fn forget(&self, peer: &PeerId, connection: &Connection) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let same = slots
            .get(peer)
            .and_then(|slot| slot.dial.peek())
            .is_some_and(|dialed| dialed.as_ref().is_ok_and(|c| c.stable_id() == connection.stable_id()));
        if same {
            slots.remove(peer);
        }
    }

    fn dial(&self, peer: PeerId, addresses: Vec<SocketAddr>) -> Dial {
        let (reply, answer) = oneshot::channel();
        let (endpoint, timeout, token) = (self.endpoint.clone(), self.dial_timeout, self.shutdown.token());
        let config = tls::client(&self.identity, &peer, self.transport.clone());
        self.shutdown.spawn("tensor dial", async move {
            let dialed = async {
                let config = config?;
                tokio::time::timeout(timeout, first_of(&endpoint, &config, &addresses))
                    .await
                    .unwrap_or_else(|_| Err(format!("no answer from {addresses:?} within {timeout:?}")))
            };
            let outcome = tokio::select! {
                biased;
                () = token.cancelled() => Err("this peer stops".to_owned()),
                outcome = dialed => outcome,
            };
            // Nobody waits any more: the connection is closed by being dropped.
            let _ = reply.send(outcome);
        });
        async move { answer.await.unwrap_or_else(|_| Err("this peer stops".to_owned())) }.boxed().shared()
    }
}

fn make_room(slots: &mut HashMap<PeerId, Slot>) {
    slots.retain(|_, slot| {
        slot.dial.peek().is_none_or(|dialed| dialed.as_ref().is_ok_and(|c| c.close_reason().is_none()))
    });
    if slots.len() < MAX_POOLED {
        return;
    }
    let oldest = slots.iter().min_by_key(|(_, slot)| slot.used).map(|(peer, _)| *peer);
    if let Some(slot) = oldest.and_then(|peer| slots.remove(&peer))
        && let Some(Ok(connection)) = slot.dial.peek()
    {
        connection.close(codes::DONE, b"unused");
    }
}

/// The first connection that stands; addresses are tried in order, each a moment after the other.
async fn first_of(
    endpoint: &Endpoint,
    config: &quinn::ClientConfig,
    addresses: &[SocketAddr],
) -> Result<Connection, String> {
    let mut attempts: FuturesUnordered<_> = (0u32..)
        .zip(addresses)
        .map(|(turn, &address)| async move {
            tokio::time::sleep(STAGGER * turn).await;
            let connecting = endpoint
                .connect_with(config.clone(), address, tls::SERVER_NAME)
                .map_err(|e| format!("{address}: {e}"))?;
            connecting.await.map_err(|e| format!("{address}: {e}"))
        })
        .collect();
    let mut failures = Vec::new();
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(connection) => return Ok(connection),
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() { Err("no address is known".to_owned()) } else { Err(failures.join("; ")) }
}
