//! One child process: started with its log and ready file, watched, stopped in order or killed.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::identity::{identity, is_alive, send};
use crate::spec::Lifetime;

/// How often a ready file or a pid is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Bytes of a ready file that are believed.
const MAX_READY: u64 = 256 * 1024;
/// Bytes at the end of a log that an error quotes from.
const MAX_TAIL: u64 = 8 * 1024;
/// Lines of a log that an error quotes.
const TAIL_LINES: usize = 12;

/// What to start and where its outputs go.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Name for people, unique in its testnet.
    pub name: String,
    /// Program to run.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment variables on top of ours.
    pub env: Vec<(String, String)>,
    /// The file the process writes when it is ready.
    pub ready_file: PathBuf,
    /// Receives its output and errors; appended to.
    pub log_file: PathBuf,
    /// Whether it ends with us.
    pub lifetime: Lifetime,
}

/// Why a process did not come up.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// It could not be started at all.
    #[error("{name} could not be started ({program}): {why}")]
    Spawn {
        /// Process.
        name: String,
        /// Program.
        program: String,
        /// Cause.
        why: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("{name} ended before it was ready ({status}); the end of {log}:\n{tail}", log = log.display())]
    Exited {
        /// Process.
        name: String,
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// It took too long.
    #[error("{name} is not ready after {} s; the end of {log}:\n{tail}", after.as_secs_f32(), log = log.display())]
    Deadline {
        /// Process.
        name: String,
        /// The time it had.
        after: Duration,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// It wrote something that is no ready file.
    #[error("the ready file of {name} ({path}) cannot be used: {why}", path = path.display())]
    Malformed {
        /// Process.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// How a process was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It had ended by itself.
    Already,
    /// It ended in order after it was asked.
    InOrder,
    /// It ended after it was asked, but with an error status.
    WithError,
    /// It did not end in time and was killed.
    Killed,
}

/// A child process. Dropping it kills it, unless it was detached.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    child: Child,
    pid: u32,
    identity: String,
    /// Closing it tells the child that we are gone; the kernel does so even when we are killed.
    stdin: Option<ChildStdin>,
    leave_running: bool,
}

impl Process {
    /// Starts it; an old ready file is removed first. It runs in a process group of its own, so that a Ctrl-C at the
    /// terminal reaches only us, and we stop it in order. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When a file cannot be made or the program cannot be run.
    pub fn spawn(launch: Launch) -> Result<Self, ReadyError> {
        let refused =
            |why| ReadyError::Spawn { name: launch.name.clone(), program: launch.program.display().to_string(), why };
        match std::fs::remove_file(&launch.ready_file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(refused(error)),
            _ => {}
        }
        let log = OpenOptions::new().create(true).append(true).open(&launch.log_file).map_err(refused)?;
        let errors = log.try_clone().map_err(refused)?;
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.args)
            .envs(launch.env.iter().map(|(key, value)| (key, value)))
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .stdin(match launch.lifetime {
                Lifetime::WithParent => Stdio::piped(),
                Lifetime::Detached => Stdio::null(),
            });
        let mut child = command.spawn().map_err(refused)?;
        let stdin = child.stdin.take();
        // A child that is not waited for keeps its id, even when it has ended already.
        let pid = child.id().unwrap_or_default();
        let identity = identity(pid).unwrap_or_default();
        Ok(Self { launch, child, pid, identity, stdin, leave_running: false })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Its identity, see [`identity`].
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// How it was started.
    #[must_use]
    pub const fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Waits until it has written its ready file and returns the JSON in it.
    ///
    /// # Errors
    /// When it ends first, takes longer than `within`, or writes something else.
    ///
    /// # Cancel safety
    /// Yes: waiting changes nothing.
    pub async fn ready(&mut self, within: Duration) -> Result<Value, ReadyError> {
        let deadline = Instant::now() + within;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                status = self.child.wait() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    let (name, log) = (self.launch.name.clone(), self.launch.log_file.clone());
                    return Err(ReadyError::Exited { name, status, tail: quote(&log), log });
                }
                _ = look.tick() => {}
            }
            if let Some(value) = self.read_ready()? {
                return Ok(value);
            }
            if Instant::now() >= deadline {
                let (name, log) = (self.launch.name.clone(), self.launch.log_file.clone());
                return Err(ReadyError::Deadline { name, after: within, tail: quote(&log), log });
            }
        }
    }

    fn read_ready(&self) -> Result<Option<Value>, ReadyError> {
        let path = &self.launch.ready_file;
        let malformed = |why| ReadyError::Malformed { name: self.launch.name.clone(), path: path.clone(), why };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(malformed(error.to_string())),
        };
        let mut bytes = Vec::new();
        file.take(MAX_READY + 1).read_to_end(&mut bytes).map_err(|error| malformed(error.to_string()))?;
        if bytes.len() as u64 > MAX_READY {
            return Err(malformed(format!("it is larger than {MAX_READY} bytes")));
        }
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        match value.get("pid").and_then(Value::as_u64) {
            Some(pid) if pid != u64::from(self.pid) => {
                Err(malformed(format!("process {pid} wrote it, not {}", self.pid)))
            }
            _ => Ok(Some(value)),
        }
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end (SIGTERM), waits at most `grace`, then kills it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it asked to end.
    pub async fn stop(&mut self, grace: Duration) -> Stopped {
        if self.exited().is_some() {
            return Stopped::Already;
        }
        send(self.pid, Signal::SIGTERM);
        match timeout(grace, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Stopped::InOrder,
            Ok(_) => Stopped::WithError,
            Err(_) => {
                self.kill().await;
                Stopped::Killed
            }
        }
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub async fn kill(&mut self) {
        // An error means that it is already gone.
        let _ = self.child.kill().await;
    }

    /// Ends it (if need be) and starts it again with the same arguments, log and folders.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub async fn restart(mut self) -> Result<Self, ReadyError> {
        self.kill().await;
        Self::spawn(self.launch.clone())
    }

    /// Lets it run on when this value is dropped. Only useful for [`Lifetime::Detached`].
    pub const fn leave_running(&mut self) {
        self.leave_running = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if !self.leave_running {
            // An error means that it is already gone; tokio reaps it.
            let _ = self.child.start_kill();
        }
    }
}

/// How a process that is not our child was stopped, by id and identity; as [`Process::stop`].
///
/// # Cancel safety
/// Dropping the future leaves it asked to end.
pub async fn stop_stranger(pid: u32, wanted: &str, grace: Duration) -> Stopped {
    if !is_alive(pid, wanted) {
        return Stopped::Already;
    }
    send(pid, Signal::SIGTERM);
    if gone_within(pid, wanted, grace).await {
        return Stopped::InOrder;
    }
    // Looked at again just now, so the id cannot have passed to another process meanwhile.
    send(pid, Signal::SIGKILL);
    gone_within(pid, wanted, Duration::from_secs(5)).await;
    Stopped::Killed
}

async fn gone_within(pid: u32, wanted: &str, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while is_alive(pid, wanted) {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

/// The last `lines` lines of a text file, reading at most `max` bytes of it.
///
/// # Errors
/// When the file cannot be read.
pub fn tail(path: &Path, lines: usize, max: u64) -> std::io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let from = len.saturating_sub(max);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut all: Vec<&str> = text.lines().collect();
    if from > 0 && all.len() > 1 {
        // It probably begins in the middle of a line.
        all.remove(0);
    }
    Ok(all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect())
}

fn quote(log: &Path) -> String {
    match tail(log, TAIL_LINES, MAX_TAIL) {
        Ok(lines) if lines.is_empty() => "  (it wrote nothing)".to_owned(),
        Ok(lines) => lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"),
        Err(error) => format!("  (it cannot be read: {error})"),
    }
}
