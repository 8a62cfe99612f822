//! The handle: one address, one connection at a time, made anew when it breaks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use subxt::utils::H256;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::account::AccountId;
use crate::error::{ConnectError, ReadError};
use crate::session::Session;

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// For the first connection, and for each later one.
    pub connect_deadline: Duration,
    /// For one read, reconnects included.
    pub read_deadline: Duration,
    /// For one transaction until it is finalized, retries included. A call under way when it passes is waited for a
    /// little longer, until the chain no longer accepts its signature.
    pub submit_deadline: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_deadline: Duration::from_secs(10),
            read_deadline: Duration::from_secs(30),
            // Ten blocks of 12 s.
            submit_deadline: Duration::from_secs(120),
        }
    }
}

/// A chain, reached over one WebSocket. Cheap to clone; clones share the connection.
///
/// A broken connection is replaced by the next operation that needs it.
#[derive(Clone)]
pub struct Chain {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) url: Arc<str>,
    pub(crate) options: ConnectOptions,
    genesis: H256,
    session: Mutex<Arc<Session>>,
    next_session: AtomicU64,
    /// One dial at a time: whoever comes second finds the new session.
    dial: Semaphore,
    /// One signing account at a time between reading its nonce and handing over the transaction.
    lanes: Mutex<HashMap<AccountId, Arc<Semaphore>>>,
}

/// Lanes kept for accounts that are not signing at the moment; above this the idle ones are forgotten.
const LANES_KEPT: usize = 1024;

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("url", &self.inner.url).finish_non_exhaustive()
    }
}

impl Chain {
    /// Connects to a chain at `url` (`ws://…` or `wss://…`).
    ///
    /// # Errors
    /// When nothing listens, it is no chain, or `options.connect_deadline` passes.
    ///
    /// # Cancel safety
    /// Dropping the future closes a half-made connection.
    pub async fn connect(url: &str, options: ConnectOptions) -> Result<Self, ConnectError> {
        if !(url.starts_with("ws://") || url.starts_with("wss://")) {
            return Err(ConnectError::Address {
                url: url.chars().take(256).collect(),
                reason: "it does not begin with ws:// or wss://".to_owned(),
            });
        }
        let url: Arc<str> = Arc::from(url);
        let session = dial(0, &url, options.connect_deadline).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                url,
                options,
                genesis: session.genesis,
                session: Mutex::new(Arc::new(session)),
                next_session: AtomicU64::new(1),
                dial: Semaphore::new(1),
                lanes: Mutex::new(HashMap::new()),
            }),
        })
    }

    /// The chain's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// The hash of block 0, which names the chain.
    #[must_use]
    pub fn genesis_hash(&self) -> [u8; 32] {
        self.inner.genesis.0
    }

    /// The chain's own name (`system_chain`).
    #[must_use]
    pub fn name(&self) -> String {
        self.current().chain_name.clone()
    }

    /// Whether the node calls itself a development or local chain, where the well-known accounts (//Alice …) hold funds.
    #[must_use]
    pub fn is_development(&self) -> bool {
        let session = self.current();
        matches!(session.chain_type.as_str(), "Development" | "Local")
            || session.chain_name.to_ascii_lowercase().contains("development")
    }

    /// The session in use, good or bad.
    pub(crate) fn current(&self) -> Arc<Session> {
        Arc::clone(&self.inner.session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A session that is not known to be bad; tries until `deadline` to get one.
    ///
    /// # Cancel safety
    /// Yes: a dial cut short leaves the old session in place.
    pub(crate) async fn session(&self, deadline: Instant) -> Result<Arc<Session>, ConnectError> {
        let session = self.current();
        if session.is_suspect() { self.reconnect_until(&session, deadline).await } else { Ok(session) }
    }

    /// Replaces `broken`, or returns what somebody else already put in its place.
    ///
    /// # Cancel safety
    /// Yes, as [`Self::session`].
    pub(crate) async fn reconnect(&self, broken: &Session) -> Result<Arc<Session>, ConnectError> {
        // The semaphore is never closed; were it, dialling twice at once would do no harm.
        let _turn = self.inner.dial.acquire().await.ok();
        let current = self.current();
        if current.id != broken.id {
            return Ok(current);
        }
        let id = self.inner.next_session.fetch_add(1, Ordering::Relaxed);
        let fresh = dial(id, &self.inner.url, self.inner.options.connect_deadline).await?;
        if fresh.genesis != self.inner.genesis {
            return Err(ConnectError::AnotherChain {
                url: self.inner.url.to_string(),
                expected: format!("{:?}", self.inner.genesis),
                found: format!("{:?}", fresh.genesis),
            });
        }
        let fresh = Arc::new(fresh);
        *self.inner.session.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        tracing::info!(url = %self.inner.url, "connected to the chain again");
        Ok(fresh)
    }

    /// As [`Self::reconnect`], trying until `deadline` while the node is away.
    pub(crate) async fn reconnect_until(
        &self,
        broken: &Session,
        deadline: Instant,
    ) -> Result<Arc<Session>, ConnectError> {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.reconnect(broken).await {
                Err(error) if error.is_transient() && Instant::now() + pause < deadline => {
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                other => return other,
            }
        }
    }

    /// Runs a read, on a new connection if the one at hand turns out to be broken.
    ///
    /// # Cancel safety
    /// Yes: reads change nothing.
    pub(crate) async fn read<T, F, Fut>(&self, read: F) -> Result<T, ReadError>
    where
        F: Fn(Arc<Session>) -> Fut,
        Fut: Future<Output = Result<T, ReadError>>,
    {
        let after = self.inner.options.read_deadline;
        let deadline = Instant::now() + after;
        let mut session = self.session(deadline).await?;
        loop {
            match timeout_at(deadline, read(Arc::clone(&session))).await {
                Ok(Err(error)) if error.is_broken() && Instant::now() < deadline => {
                    tracing::debug!(%error, "reading again on a new connection");
                    session = self.reconnect_until(&session, deadline).await?;
                }
                Ok(done) => return done,
                Err(_) => {
                    session.suspect();
                    return Err(ReadError::Deadline { url: self.inner.url.to_string(), after });
                }
            }
        }
    }

    /// The lane of an account: whoever holds its permit may use the account's next nonce.
    pub(crate) fn lane(&self, account: AccountId) -> Arc<Semaphore> {
        let mut lanes = self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= LANES_KEPT {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        Arc::clone(lanes.entry(account).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

async fn dial(id: u64, url: &Arc<str>, deadline: Duration) -> Result<Session, ConnectError> {
    timeout(deadline, Session::open(id, Arc::clone(url)))
        .await
        .unwrap_or_else(|_| Err(ConnectError::Deadline { url: url.to_string(), after: deadline }))
}
