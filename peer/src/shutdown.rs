//! Ordered shutdown: one stop token, and named tasks that are waited for.
//!
//! ```text
//! stop() ─▶ token ─▶ tasks end ─▶ drain(deadline)
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Debug, Default)]
struct State {
    next: u64,
    running: BTreeMap<u64, &'static str>,
}

/// The stop token and the tasks of one network. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
    state: Arc<Mutex<State>>,
}

/// Takes a task off the list when it ends, also by panic.
struct Running {
    state: Arc<Mutex<State>>,
    id: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.state).running.remove(&self.id);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shutdown {
    /// A new kit; nothing runs, nothing is stopped.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The token: cancelled once stopping began. Every long loop selects on it first.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Begins to stop.
    pub(crate) fn stop(&self) {
        self.token.cancel();
    }

    /// Runs a named task that [`Self::drain`] waits for. The task must end soon after the token is cancelled.
    pub(crate) fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = self.enter(name);
        self.tracker.spawn(async move {
            let _running = running;
            task.await;
        });
    }

    fn enter(&self, name: &'static str) -> Running {
        let mut state = lock(&self.state);
        let id = state.next;
        state.next += 1;
        state.running.insert(id, name);
        Running { state: self.state.clone(), id }
    }

    /// Stops if it has not begun, waits for all tasks until `deadline`, and returns the names of those still running.
    ///
    /// # Cancel safety
    /// Cancel safe: stopping has begun all the same.
    pub(crate) async fn drain(&self, deadline: Duration) -> Vec<&'static str> {
        self.stop();
        self.tracker.close();
        match tokio::time::timeout(deadline, self.tracker.wait()).await {
            Ok(()) => Vec::new(),
            Err(_) => lock(&self.state).running.values().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drain_waits_for_tasks_that_follow_the_token() {
        let kit = Shutdown::new();
        let token = kit.token();
        kit.spawn("obedient", async move { token.cancelled().await });
        assert!(kit.drain(Duration::from_secs(10)).await.is_empty());
    }

    #[tokio::test]
    async fn drain_names_the_task_that_does_not_end() {
        let kit = Shutdown::new();
        kit.spawn("stubborn", std::future::pending());
        assert_eq!(kit.drain(Duration::from_millis(20)).await, vec!["stubborn"]);
    }

    #[tokio::test]
    async fn a_panicking_task_is_not_listed_as_running() {
        let kit = Shutdown::new();
        kit.spawn("clumsy", async { panic!("expected by this test") });
        assert!(kit.drain(Duration::from_secs(10)).await.is_empty());
    }
}
