//! Ordered shutdown: one stop token, named tasks that are waited for, the signals of the system.
//!
//! ```text
//! Ctrl-C, SIGTERM, a failed task ─▶ stop(reason) ─▶ token ─▶ tasks end ─▶ drain(deadline)
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why a process stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// Its own code asked for it.
    Requested,
    /// A signal of the system, by name.
    Signal(&'static str),
    /// The process that started it is gone.
    ParentGone,
    /// A task that must not end has ended.
    TaskEnded {
        /// The task.
        task: &'static str,
        /// What it said.
        why: String,
    },
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("it was asked to"),
            Self::Signal(name) => write!(f, "{name} arrived"),
            Self::ParentGone => f.write_str("the parent process is gone"),
            Self::TaskEnded { task, why } => write!(f, "task {task} ended: {why}"),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    reason: Option<StopReason>,
    next: u64,
    running: BTreeMap<u64, &'static str>,
}

/// The stop token and the tasks of one process or part. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
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
    pub fn new() -> Self {
        Self::default()
    }

    /// The token: cancelled once stopping began. Every long loop selects on it first.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Begins to stop; the first reason is kept.
    pub fn stop(&self, reason: StopReason) {
        lock(&self.state).reason.get_or_insert(reason);
        self.token.cancel();
    }

    /// Whether stopping began.
    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until stopping begins and says why.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn stopped(&self) -> StopReason {
        self.token.cancelled().await;
        lock(&self.state).reason.clone().unwrap_or(StopReason::Requested)
    }

    /// Runs a named task that [`Self::drain`] waits for. The task must end soon after the token is cancelled.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = self.enter(name);
        self.tracker.spawn(async move {
            let _running = running;
            task.await;
        });
    }

    /// Like [`Self::spawn`], for a task whose end before its time stops everything.
    pub fn spawn_essential<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let kit = self.clone();
        self.spawn(name, async move {
            let why = task.await.err().map_or_else(|| "without an error".to_owned(), |e| e.to_string());
            if !kit.is_stopping() {
                kit.stop(StopReason::TaskEnded { task: name, why });
            }
        });
    }

    fn enter(&self, name: &'static str) -> Running {
        let mut state = lock(&self.state);
        let id = state.next;
        state.next += 1;
        state.running.insert(id, name);
        Running { state: self.state.clone(), id }
    }

    /// Stops on Ctrl-C and SIGTERM.
    pub fn stop_on_signals(&self) -> std::io::Result<()> {
        let (kit, token) = (self.clone(), self.token());
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            self.spawn("signals", async move {
                let name = tokio::select! {
                    biased;
                    () = token.cancelled() => return,
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                kit.stop(StopReason::Signal(name));
            });
        }
        #[cfg(not(unix))]
        self.spawn("signals", async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                _ = tokio::signal::ctrl_c() => kit.stop(StopReason::Signal("Ctrl-C")),
            }
        });
        Ok(())
    }

    /// Stops if it has not begun, waits for all tasks until `deadline`, and returns the names of those still running.
    pub async fn drain(&self, deadline: Duration) -> Vec<&'static str> {
        self.stop(StopReason::Requested);
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
    async fn the_first_reason_is_kept() {
        let kit = Shutdown::new();
        kit.stop(StopReason::ParentGone);
        kit.stop(StopReason::Signal("SIGTERM"));
        assert_eq!(kit.stopped().await, StopReason::ParentGone);
    }

    #[tokio::test]
    async fn an_essential_task_that_ends_stops_everything() {
        let kit = Shutdown::new();
        kit.spawn_essential("swarm", async { Err("broken") });
        let reason = kit.stopped().await;
        assert_eq!(reason, StopReason::TaskEnded { task: "swarm", why: "broken".to_owned() });
    }

    #[tokio::test]
    async fn a_panicking_task_is_not_listed_as_running() {
        let kit = Shutdown::new();
        kit.spawn("clumsy", async { panic!("expected by this test") });
        assert!(kit.drain(Duration::from_secs(10)).await.is_empty());
    }
}
