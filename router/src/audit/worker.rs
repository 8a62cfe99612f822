//! The task that works through the queue: has checkpoints fetched, answers judged on a blocking thread, verdicts written down.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use glia_protocol::ContentHash;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Recompute;
use super::book::Subject;
use super::cache::Cache;
use super::evidence::{Bundle, Failed};
use super::judge::{Checkpoint, Judged, Verdict, judge};
use super::tap::{Job, Jobs, QUEUE};
use crate::expert::{ExpertKey, Listed};
use crate::subnet::Subnet;

/// Checkpoints fetched at the same time.
const FETCHES: usize = 4;
/// Time a checkpoint has to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often penalties are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Between two saves while nothing dramatic happens.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// A job whose expert was looked up.
struct Case {
    job: Job,
    listed: Arc<Listed>,
}

/// What the blocking thread gives back.
struct Closed {
    case: Case,
    checkpoint: Checkpoint,
    judged: Judged,
}

type Fetched = (ExpertKey, Result<Bytes, String>);

/// The state of the worker of one subnet.
struct Worker {
    subnet: Arc<Subnet>,
    recompute: Arc<dyn Recompute>,
    evidence: PathBuf,
    cache: Cache,
    /// Cases that wait for the checkpoint that is being fetched.
    waiting: HashMap<ExpertKey, Vec<Case>>,
    fetches: FuturesUnordered<BoxFuture<'static, Fetched>>,
    ready: VecDeque<(Case, Checkpoint)>,
    running: Option<JoinHandle<Closed>>,
    saved: Instant,
}

/// Audits until `stop`. Evidence goes into the folder `evidence`.
///
/// One answer is judged at a time, on a blocking thread; requests never wait for it.
pub async fn run(
    subnet: Arc<Subnet>,
    mut jobs: Jobs,
    recompute: Arc<dyn Recompute>,
    evidence: PathBuf,
    stop: CancellationToken,
) {
    let mut worker = Worker {
        cache: Cache::new(subnet.policy.audit_cache),
        subnet,
        recompute,
        evidence,
        waiting: HashMap::new(),
        fetches: FuturesUnordered::new(),
        ready: VecDeque::new(),
        running: None,
        saved: Instant::now(),
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        worker.start_next();
        let room = worker.has_room();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            closed = async { match worker.running.as_mut() { Some(task) => Some(task.await), None => None } },
                if worker.running.is_some() =>
            {
                worker.running = None;
                match closed {
                    Some(Ok(closed)) => worker.close(closed).await,
                    Some(Err(error)) => tracing::error!(%error, "an audit failed by itself"),
                    None => {}
                }
            }
            Some(fetched) = worker.fetches.next(), if !worker.fetches.is_empty() => worker.fetched(fetched),
            job = jobs.recv(), if room => match job {
                Some(job) => worker.open(job),
                None => break,
            },
            _ = tick.tick() => worker.look().await,
        }
    }
    worker.save().await;
}

impl Worker {
    fn has_room(&self) -> bool {
        self.ready.len() + self.waiting.values().map(Vec::len).sum::<usize>() < QUEUE
    }

    /// Looks up who answered and what there is to compare with.
    fn open(&mut self, job: Job) {
        let snapshot = self.subnet.snapshot();
        let Some(listed) = snapshot.experts.iter().find(|listed| listed.key == job.key).cloned() else {
            return; // It is gone, and with it whom an audit could be about.
        };
        // Found out while it waited in the queue: every answer more would only cost time.
        if self.subnet.audits.condemns(&listed.hotkey()) {
            return;
        }
        let hash = listed.key.checkpoint;
        let case = Case { job, listed };
        let Some(bytes) = case.listed.descriptor.published else {
            self.ready.push_back((case, Checkpoint::Closed));
            return;
        };
        let most = self.subnet.policy.audit_checkpoint;
        if let Some(bytes) = self.cache.get(&hash) {
            self.ready.push_back((case, Checkpoint::Open(bytes)));
        } else if bytes > most {
            let why = format!("its checkpoint has {bytes} bytes, this router fetches {most} at most");
            self.ready.push_back((case, Checkpoint::Missing(why)));
        } else if let Some(why) = self.cache.paused(&case.listed.key, Instant::now()) {
            let why = why.to_owned();
            self.ready.push_back((case, Checkpoint::Missing(why)));
        } else if let Some(others) = self.waiting.get_mut(&case.listed.key) {
            others.push(case);
        } else if self.fetches.len() < FETCHES {
            self.fetches.push(fetch(Arc::clone(&self.subnet), Arc::clone(&case.listed)));
            self.waiting.insert(case.listed.key, vec![case]);
        } else {
            self.subnet.audits.drop_one();
        }
    }

    fn fetched(&mut self, (key, result): Fetched) {
        let cases = self.waiting.remove(&key).unwrap_or_default();
        let checkpoint = match result {
            Ok(bytes) => {
                self.cache.worked(&key);
                self.cache.put(key.checkpoint, bytes.clone());
                Checkpoint::Open(bytes)
            }
            Err(why) => {
                tracing::debug!(expert = %key, why, "a checkpoint could not be fetched");
                self.cache.failed(key, why.clone(), Instant::now());
                Checkpoint::Missing(why)
            }
        };
        self.ready.extend(cases.into_iter().map(|case| (case, checkpoint.clone())));
    }

    /// Gives the blocking thread its next case.
    fn start_next(&mut self) {
        if self.running.is_some() {
            return;
        }
        let Some((case, checkpoint)) = self.ready.pop_front() else { return };
        let recompute = Arc::clone(&self.recompute);
        self.running = Some(tokio::task::spawn_blocking(move || {
            let (peer, job) = (case.listed.key.peer, &case.job);
            let judged = judge(peer, &job.request, &job.response, &checkpoint, recompute.as_ref());
            Closed { case, checkpoint, judged }
        }));
    }

    /// Writes a verdict down, with evidence where there is some.
    async fn close(&mut self, closed: Closed) {
        let Closed { case, checkpoint, judged } = closed;
        let (book, descriptor) = (&self.subnet.audits, &case.listed.descriptor);
        let subject = Subject { key: case.listed.key, hotkey: descriptor.hotkey, name: descriptor.name.clone() };
        let now_ms = now_ms();
        let condemned = book.record(&subject, &judged.verdict, now_ms);
        self.subnet.metrics.audited(&self.subnet.view.name, judged.verdict.word());
        let Verdict::Failed(reason) = &judged.verdict else { return };
        tracing::warn!(
            subnet = %self.subnet.view.name, expert = %subject.key, name = %subject.name, hotkey = %subject.hotkey,
            reason, condemned, "an audit failed"
        );
        if condemned {
            let bundle = judged.recomputed.as_ref().zip(open(&checkpoint)).and_then(|(recomputed, checkpoint)| {
                Bundle::of(&Failed {
                    netuid: self.subnet.view.netuid,
                    descriptor,
                    request: &case.job.request,
                    response: &case.job.response,
                    checkpoint,
                    recomputed,
                    reason,
                    now_ms,
                })
            });
            if let Some(bundle) = bundle {
                let folder = self.evidence.clone();
                match tokio::task::spawn_blocking(move || bundle.write(&folder)).await {
                    Ok(Ok(file)) => book.note_evidence(&subject.hotkey, file),
                    Ok(Err(error)) => tracing::error!(%error, "the evidence could not be written"),
                    Err(error) => tracing::error!(%error, "writing the evidence failed"),
                }
            }
        }
        self.save().await;
    }

    /// Ends penalties that are over and saves now and then.
    async fn look(&mut self) {
        for hotkey in self.subnet.audits.expire(now_ms()) {
            tracing::info!(subnet = %self.subnet.view.name, %hotkey, "a penalty is over; its first answers are audited again");
        }
        if self.subnet.audits.is_dirty() && self.saved.elapsed() >= SAVE_EVERY {
            self.save().await;
        }
    }

    async fn save(&mut self) {
        self.saved = Instant::now();
        let subnet = Arc::clone(&self.subnet);
        match tokio::task::spawn_blocking(move || subnet.audits.save()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the audits could not be saved"),
            Err(error) => tracing::error!(%error, "saving the audits failed"),
        }
    }
}

const fn open(checkpoint: &Checkpoint) -> Option<&Bytes> {
    match checkpoint {
        Checkpoint::Open(bytes) => Some(bytes),
        Checkpoint::Closed | Checkpoint::Missing(_) => None,
    }
}

/// Fetches the checkpoint of an expert from itself; its length and hash are checked here again.
fn fetch(subnet: Arc<Subnet>, listed: Arc<Listed>) -> BoxFuture<'static, Fetched> {
    Box::pin(async move {
        let (hash, most) = (listed.key.checkpoint, subnet.policy.audit_checkpoint);
        let (peer, addresses) = (listed.key.peer, &listed.descriptor.addresses);
        let fetched = subnet.transport.fetch_checkpoint(peer, addresses, &subnet.view.name, hash, most, PATIENCE);
        let result = match timeout(PATIENCE, fetched).await {
            Err(_) => Err(format!("its checkpoint did not come within {} s", PATIENCE.as_secs())),
            Ok(Err(error)) => Err(format!("its checkpoint could not be fetched: {error}")),
            Ok(Ok(bytes)) if bytes.len() as u64 > most => Err("its checkpoint is larger than it said".to_owned()),
            Ok(Ok(bytes)) if ContentHash::of(&bytes) != hash => Err("it sent another checkpoint".to_owned()),
            Ok(Ok(bytes)) => Ok(bytes),
        };
        (listed.key, result)
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
