//! Liars for drills: a handler that answers something else than its model says.
//!
//! An [`Adversary`] stands between the network and the honest handler of an expert. It asks the honest handler first,
//! so refusals (wrong checkpoint, bad shape, busy) stay what they are, then changes the answer as its [`Behaviour`]
//! says. It advertises and hands out the true checkpoint and its lie is signed like any answer, so re-execution can
//! catch it. `glia join --behave KIND` (a hidden flag) starts an expert like this; a testnet does it for experts whose
//! [`ExpertSpec::behave`](crate::spec::ExpertSpec) says so.
//!
//! | kind | what it does |
//! |---|---|
//! | `noise` | each item gets random shares, heavy-tailed, so that one random class usually leads |
//! | `constant[:CLASS]` | always that class (0), with 95 % |
//! | `collude[:SHIFT]` | the class its model finds most probable, moved on by SHIFT (1), with 95 %: all who serve a good model agree on the same wrong class |
//! | `copy` | the model's answer, each share off by at most 0.04 %: the same checkpoint under another identity, never the same bits |
//! | `sleeper[:S]` | honest for its first S (30) seconds and whenever a request has more than one item (as probes have); else `collude:1` |
//! | `uniform` | every class alike: paid for nothing |
//! | `slow[:MS]` | the honest answer, MS (800) milliseconds late |
//! | `crash[:N]` | each Nth (20th) request is refused or, the next time, never answered; after a minute of this the process ends |
//!
//! A copier whose checkpoint must not be recognised by its hash first [`disguise`]s it.

mod behaviour;
mod disguise;
mod lie;

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use glia_peer::ForwardHandler;
use glia_protocol::{ContentHash, DType, ForwardRequest, ForwardResponse, PeerId, Refusal, SubnetName, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub use behaviour::{Behaviour, BehaviourError};
pub use disguise::disguise;
use lie::Lie;

/// How long a sleeper is honest to everybody when nothing is said.
pub const SLEEP: Duration = Duration::from_secs(30);
/// How long a crashing expert lives at least.
pub const LIFE: Duration = Duration::from_secs(60);

/// A handler that misbehaves.
pub struct Adversary {
    inner: Arc<dyn ForwardHandler>,
    behaviour: Behaviour,
    seed: u64,
    requests: AtomicU64,
    age: Arc<dyn Fn() -> Duration + Send + Sync>,
    end: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Adversary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adversary").field("behaviour", &self.behaviour).field("requests", &self.requests).finish()
    }
}

impl Adversary {
    /// Misbehaves as `behaviour` says in front of the honest `inner`; `seed` is where its random numbers come from. Its
    /// life begins now; it ends by nothing until [`ends_by`](Self::ends_by) says how.
    #[must_use]
    pub fn new(inner: Arc<dyn ForwardHandler>, behaviour: Behaviour, seed: u64) -> Self {
        let born = Instant::now();
        let age = Arc::new(move || born.elapsed());
        Self { inner, behaviour, seed, requests: AtomicU64::new(0), age, end: Arc::new(|| ()) }
    }

    /// What a crash does, e.g. end the process.
    #[must_use]
    pub fn ends_by(mut self, end: impl Fn() + Send + Sync + 'static) -> Self {
        self.end = Arc::new(end);
        self
    }

    /// Tells its age in another way than by the clock.
    #[must_use]
    pub fn aged_by(mut self, age: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.age = Arc::new(age);
        self
    }

    /// What it does to one request.
    fn deed(&self, request: u64, items: u32) -> Deed {
        match self.behaviour {
            Behaviour::Noise => Deed::Lie(Lie::Noise),
            Behaviour::Constant { class } => Deed::Lie(Lie::Constant(class)),
            Behaviour::Collude { shift } => Deed::Lie(Lie::Shifted(shift)),
            Behaviour::Copy => Deed::Lie(Lie::Blurred),
            Behaviour::Sleeper { after } if items > 1 || (self.age)() < after => Deed::Honest,
            Behaviour::Sleeper { .. } => Deed::Lie(Lie::Shifted(1)),
            Behaviour::Uniform => Deed::Lie(Lie::Uniform),
            Behaviour::Slow { delay } => Deed::Late(delay),
            Behaviour::Crash { every } => {
                let every = u64::from(every.max(1));
                match request / every {
                    _ if !request.is_multiple_of(every) => Deed::Honest,
                    _ if (self.age)() >= LIFE => Deed::End,
                    nth if nth % 2 == 1 => Deed::Refuse,
                    _ => Deed::Silence,
                }
            }
        }
    }
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Deed {
    Honest,
    Lie(Lie),
    Late(Duration),
    Refuse,
    Silence,
    End,
}

impl ForwardHandler for Adversary {
    fn forward(
        &self,
        caller: PeerId,
        request: ForwardRequest,
    ) -> Pin<Box<dyn Future<Output = Result<ForwardResponse, Refusal>> + Send>> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let items = request.tensors.first().map_or(1, Tensor::batch);
        let deed = self.deed(number, items);
        let (seed, end) = (self.seed, Arc::clone(&self.end));
        let honest = self.inner.forward(caller, request);
        Box::pin(async move {
            match deed {
                Deed::Honest => honest.await,
                Deed::Lie(lie) => {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream(number);
                    honest.await.and_then(|response| changed(response, lie, &mut rng))
                }
                Deed::Late(delay) => {
                    tokio::time::sleep(delay).await;
                    honest.await
                }
                Deed::Refuse => Err(Refusal::Failed("out of memory".to_owned())),
                // The caller's deadline ends it.
                Deed::Silence => pending().await,
                Deed::End => {
                    end();
                    Err(Refusal::Failed("out of memory".to_owned()))
                }
            }
        })
    }

    /// The true one: what it serves is published, what it answers is not what that says.
    fn checkpoint(&self, caller: PeerId, subnet: &SubnetName, checkpoint: ContentHash) -> Option<Bytes> {
        self.inner.checkpoint(caller, subnet, checkpoint)
    }
}

/// The response with every row of probabilities changed.
fn changed(response: ForwardResponse, lie: Lie, rng: &mut ChaCha8Rng) -> Result<ForwardResponse, Refusal> {
    let mut tensors = Vec::with_capacity(response.tensors.len());
    for tensor in &response.tensors {
        let shape = tensor.shape();
        let [_, classes] = shape else { return Err(Refusal::Failed("not an answer that can be changed".to_owned())) };
        if tensor.dtype() != DType::F32 {
            return Err(Refusal::Failed("not an answer that can be changed".to_owned()));
        }
        let mut values = tensor.to_f32();
        for row in values.chunks_exact_mut((*classes).max(1) as usize) {
            lie.tell(row, rng);
        }
        tensors.push(Tensor::from_f32(tensor.name(), shape, &values).map_err(|e| Refusal::Failed(e.to_string()))?);
    }
    Ok(ForwardResponse { tensors, ..response })
}

#[cfg(test)]
mod tests;
