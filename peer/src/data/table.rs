//! The connections others hold to this peer: bounded in all and per peer, and the idle ones give way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use glia_protocol::PeerId;
use quinn::Connection;

use super::codes;
use crate::config::Limits;

/// The open connections, oldest first.
#[derive(Debug)]
pub(super) struct Table {
    most: usize,
    per_peer: usize,
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    peer: PeerId,
    connection: Connection,
    activity: Arc<Activity>,
}

impl Table {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            most: limits.data_connections.max(1),
            per_peer: limits.data_connections_per_peer.max(1),
            entries: Mutex::default(),
        }
    }

    /// Whether a new connection would find a place.
    pub(super) fn has_room(&self) -> bool {
        let entries = self.lock();
        entries.len() < self.most || entries.iter().any(|entry| entry.activity.idle_since().is_some())
    }

    /// Lists a connection. The oldest one of the same peer gives way if that has too many, for its owner has likely
    /// restarted; in a full table the one that is idle longest gives way. `None` when all are at work.
    pub(super) fn enter(&self, peer: PeerId, connection: &Connection) -> Option<Arc<Activity>> {
        let mut entries = self.lock();
        if entries.iter().filter(|entry| entry.peer == peer).count() >= self.per_peer {
            let oldest = entries.iter().position(|entry| entry.peer == peer)?;
            entries.remove(oldest).connection.close(codes::TOO_MANY, b"too many connections");
        }
        if entries.len() >= self.most {
            let idle = entries.iter().enumerate().filter_map(|(n, e)| Some((e.activity.idle_since()?, n)));
            let (_, longest) = idle.min()?;
            entries.remove(longest).connection.close(codes::TOO_MANY, b"room for others");
        }
        let activity = Arc::new(Activity::default());
        entries.push(Entry { peer, connection: connection.clone(), activity: activity.clone() });
        Some(activity)
    }

    /// Takes a connection off the list, if it is still there.
    pub(super) fn leave(&self, connection: &Connection) {
        self.lock().retain(|entry| entry.connection.stable_id() != connection.stable_id());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether requests are open on one connection, and since when none is.
#[derive(Debug)]
pub(super) struct Activity(Mutex<(usize, Instant)>);

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new((0, Instant::now())))
    }
}

impl Activity {
    /// A request begins; it ends with the guard.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.lock().0 += 1;
        Busy(self.clone())
    }

    fn idle_since(&self) -> Option<Instant> {
        let (open, since) = *self.lock();
        (open == 0).then_some(since)
    }

    fn lock(&self) -> MutexGuard<'_, (usize, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open request.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut activity = self.0.lock();
        *activity = (activity.0.saturating_sub(1), Instant::now());
    }
}
