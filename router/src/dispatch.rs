//! Sends inputs to the chosen experts and brings back what was answered in time.
//!
//! ```text
//! plan ─▶ one call per expert with all its items ─▶ answered ─────────────▶ outcome
//!                 │ failed, refused ─▶ ban ─▶ standby ─┘
//!                 └ slower than its p95 ─▶ hedge to a standby ─┘
//! ```
//!
//! Dropping the future, and returning from it, cancels every call that is still open.
//!
//! Modules in flow order: [`inputs`], [`book`] (latencies, bans), [`load`] (what peers say of theirs), this file (the loop).

pub mod book;
pub mod inputs;
pub mod load;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use glia_protocol::schema::TaskSchema;
use glia_protocol::{ForwardRequest, ForwardResponse, Refusal, RequestId, SubnetName};
use tokio::time::{Instant, sleep_until};

use crate::aggregate::{AnswerError, read_rows};
use crate::expert::Listed;
use crate::transport::{CallError, Transport};
use book::{Blame, Book};
use inputs::Inputs;

/// Who is asked for one item; indices into the experts of the [`Job`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemPlan {
    /// Asked at once.
    pub members: Vec<usize>,
    /// Asked in this order when members fail or are slow.
    pub standbys: Vec<usize>,
}

/// One request to be dispatched.
pub struct Job<'a> {
    /// The subnet.
    pub subnet: &'a SubnetName,
    /// Its schema.
    pub schema: &'a TaskSchema,
    /// Who can be asked.
    pub experts: &'a [Arc<Listed>],
    /// The items.
    pub inputs: &'a Inputs,
    /// One plan per item.
    pub plan: &'a [ItemPlan],
    /// Time for all of it.
    pub deadline: Duration,
    /// Whether that is time enough for an expert: who is late for less is not to blame.
    pub fair: bool,
    /// Answers with which an item can do when somebody is very slow.
    pub k_min: usize,
    /// Names the request in all its calls.
    pub id: RequestId,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It brought no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It brought an answer that does not count.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// This router could not even ask; not the expert's fault.
    #[error("this router could not ask it: {0}")]
    Own(String),
    /// It was not needed any more, or the deadline came first.
    #[error("no answer before the deadline")]
    Unfinished,
}

/// One call of one expert.
#[derive(Debug, Clone)]
pub struct Call {
    /// Index of the expert.
    pub expert: usize,
    /// Items it was asked for.
    pub items: Vec<usize>,
    /// Why it was made.
    pub cause: Cause,
    /// Time until its answer or its end.
    pub latency: Duration,
    /// Microseconds it said it waited for a batch.
    pub queue_us: u32,
    /// Microseconds it said the forward pass took.
    pub compute_us: u32,
    /// `None` when it answered.
    pub failure: Option<Failure>,
}

/// Why a call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The gate chose the expert.
    Chosen,
    /// Another expert failed.
    Retry,
    /// Another expert was slow.
    Hedge,
}

/// The answer of one expert to one item.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Index of the expert.
    pub expert: usize,
    /// Index of the call in [`Outcome::calls`].
    pub call: usize,
    /// Its probabilities, as it gave them.
    pub row: Vec<f32>,
}

/// What came of a job.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers per item, in the order they came.
    pub answers: Vec<Vec<Answer>>,
    /// Every call made.
    pub calls: Vec<Call>,
}

impl Outcome {
    /// Why item `item` has no more answers than it has: a sentence per failed expert.
    #[must_use]
    pub fn reasons(&self, item: usize, experts: &[Arc<Listed>]) -> Vec<String> {
        let about = self.calls.iter().filter(|call| call.items.contains(&item));
        about
            .filter_map(|call| {
                let failure = call.failure.as_ref()?;
                let name = experts.get(call.expert).map_or("?", |e| e.descriptor.name.as_str());
                Some(format!("{name}: {failure}"))
            })
            .collect()
    }
}

/// Progress of one item.
struct Item {
    wanted: usize,
    open: usize,
    standbys: std::collections::VecDeque<usize>,
}

type Flight<'a> = BoxFuture<'a, (usize, Result<ForwardResponse, Failure>)>;

/// The state of one dispatch.
struct Dispatch<'a> {
    job: &'a Job<'a>,
    transport: &'a dyn Transport,
    book: &'a Book,
    ends: Instant,
    items: Vec<Item>,
    outcome: Outcome,
    /// Calls made per expert.
    made: BTreeMap<usize, usize>,
    /// Per call, in the order of the outcome's calls.
    open: Vec<OpenCall>,
    flights: FuturesUnordered<Flight<'a>>,
}

struct OpenCall {
    started: Instant,
    /// When it is looked at next: first to be hedged, then to be given up. `None`: it is waited for to the end.
    look_at: Option<Instant>,
    give_up_at: Instant,
    hedged: bool,
    open: bool,
}

/// Calls of one expert in one job. Items beyond what they can carry are not routed to it.
const MAX_CALLS: usize = 16;
/// A call is given up, if its items have answers enough, after this many times its hedge time …
const GIVE_UP_AFTER: u32 = 3;
/// … but never sooner than this.
const GIVE_UP_MIN: Duration = Duration::from_millis(200);

/// Runs a job to its end: every item has as many answers as its plan has members, nobody is left to ask, or the
/// deadline has come.
pub async fn dispatch(job: &Job<'_>, transport: &dyn Transport, book: &Book) -> Outcome {
    let items = job.plan.iter().map(|plan| Item {
        wanted: plan.members.len(),
        open: 0,
        standbys: plan.standbys.iter().copied().collect(),
    });
    let mut run = Dispatch {
        job,
        transport,
        book,
        ends: Instant::now() + job.deadline,
        items: items.collect(),
        outcome: Outcome { answers: vec![Vec::new(); job.plan.len()], calls: Vec::new() },
        made: BTreeMap::new(),
        open: Vec::new(),
        flights: FuturesUnordered::new(),
    };
    let mut first: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (item, plan) in job.plan.iter().enumerate() {
        for &expert in &plan.members {
            first.entry(expert).or_default().push(item);
        }
    }
    for (expert, items) in first {
        run.call(expert, &items, Cause::Chosen);
    }
    while !run.is_done() {
        let wake = run.next_look().unwrap_or(run.ends).min(run.ends);
        tokio::select! {
            biased;
            Some((call, answer)) = run.flights.next() => run.landed(call, answer),
            () = sleep_until(wake) => {
                if Instant::now() >= run.ends {
                    break;
                }
                run.look_at_the_slow();
            }
        }
    }
    run.finish()
}

impl<'a> Dispatch<'a> {
    /// Asks `expert` for `items`, in as many calls as its batch limit needs; what its calls cannot carry goes to standbys.
    fn call(&mut self, expert: usize, items: &[usize], cause: Cause) {
        let Some(listed) = self.job.experts.get(expert) else { return };
        let most = (listed.descriptor.capacity.max_batch as usize).max(1);
        let made = self.made.entry(expert).or_default();
        let carried = items.len().min(most.saturating_mul(MAX_CALLS.saturating_sub(*made)));
        *made += carried.div_ceil(most);
        let (items, left_over) = items.split_at(carried);
        for chunk in items.chunks(most) {
            let now = Instant::now();
            let call = self.outcome.calls.len();
            for &item in chunk {
                self.items[item].open += 1;
            }
            self.outcome.calls.push(Call {
                expert,
                items: chunk.to_vec(),
                cause,
                latency: Duration::ZERO,
                queue_us: 0,
                compute_us: 0,
                failure: None,
            });
            let patience = self.book.hedge_after(&listed.key, chunk.len());
            self.open.push(OpenCall {
                started: now,
                look_at: Some(now + patience),
                give_up_at: now + (patience * GIVE_UP_AFTER).max(GIVE_UP_MIN),
                hedged: false,
                open: true,
            });
            self.book.called(&listed.key);
            let left = self.ends.saturating_duration_since(now);
            let flight: Flight<'a> = match self.job.inputs.gather(self.job.schema, chunk) {
                Ok(tensor) => {
                    let request = ForwardRequest {
                        id: self.job.id,
                        subnet: self.job.subnet.clone(),
                        checkpoint: listed.key.checkpoint,
                        budget_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
                        tensors: vec![tensor],
                    };
                    let (transport, job) = (self.transport, self.job);
                    Box::pin(async move {
                        let listed = &job.experts[expert];
                        let addresses = &listed.descriptor.addresses;
                        let answer = transport.forward(listed.key.peer, addresses, request, left).await;
                        (call, answer.map_err(Failure::from))
                    })
                }
                Err(why) => Box::pin(async move { (call, Err(Failure::Own(why.to_string()))) }),
            };
            self.flights.push(flight);
        }
        if !left_over.is_empty() {
            self.ask_standbys(left_over, Cause::Retry);
        }
    }

    fn landed(&mut self, call: usize, answer: Result<ForwardResponse, Failure>) {
        let now = Instant::now();
        if !std::mem::take(&mut self.open[call].open) {
            return; // It was given up.
        }
        let took = now.duration_since(self.open[call].started);
        let (expert, items) = (self.outcome.calls[call].expert, self.outcome.calls[call].items.clone());
        let listed = Arc::clone(&self.job.experts[expert]);
        self.outcome.calls[call].latency = took;
        for &item in &items {
            self.items[item].open -= 1;
        }
        let rows = answer.and_then(|response| {
            self.outcome.calls[call].queue_us = response.queue_us;
            self.outcome.calls[call].compute_us = response.compute_us;
            Ok(read_rows(self.job.schema, listed.key.checkpoint, items.len(), &response)?)
        });
        match rows {
            Ok(rows) => {
                self.book.answered(&listed.key, took, items.len());
                for (&item, row) in items.iter().zip(rows) {
                    self.outcome.answers[item].push(Answer { expert, call, row });
                }
            }
            Err(failure) => {
                tracing::debug!(expert = %listed.key, name = %listed.descriptor.name, %failure, "call failed");
                let blame = self.fairly(blame(&failure, took, items.len()));
                self.book.failed(&listed.key, blame, now);
                self.outcome.calls[call].failure = Some(failure);
                self.ask_standbys(&items, Cause::Retry);
            }
        }
    }

    /// Gives each of `items` that still lacks answers its next standby.
    fn ask_standbys(&mut self, items: &[usize], cause: Cause) {
        if Instant::now() >= self.ends {
            return;
        }
        let mut next: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let now = Instant::now();
        for &item in items {
            let have = self.outcome.answers[item].len();
            let state = &mut self.items[item];
            let spare = usize::from(cause == Cause::Hedge);
            if have >= state.wanted || have + state.open >= state.wanted + spare {
                continue;
            }
            // Somebody banned since the plan was made is no help.
            while let Some(standby) = state.standbys.pop_front() {
                if self.job.experts.get(standby).is_some_and(|e| !self.book.is_banned(&e.key, now)) {
                    next.entry(standby).or_default().push(item);
                    break;
                }
            }
        }
        for (expert, items) in next {
            self.call(expert, &items, cause);
        }
    }

    fn next_look(&self) -> Option<Instant> {
        self.open.iter().filter(|call| call.open).filter_map(|call| call.look_at).min()
    }

    /// Hedges every call that is past its p95, as far as the budget for extra calls goes; gives up those that are far
    /// past it and not needed.
    fn look_at_the_slow(&mut self) {
        let now = Instant::now();
        let late: Vec<usize> = (0..self.open.len())
            .filter(|&call| self.open[call].open && self.open[call].look_at.is_some_and(|at| at <= now))
            .collect();
        for call in late {
            let items = self.outcome.calls[call].items.clone();
            if now < self.open[call].give_up_at {
                self.open[call].look_at = Some(self.open[call].give_up_at);
                let helps = items.iter().any(|&item| !self.items[item].standbys.is_empty());
                if helps && self.book.take_hedge() {
                    self.open[call].hedged = true;
                    self.ask_standbys(&items, Cause::Hedge);
                }
            } else if items.iter().all(|&item| self.outcome.answers[item].len() >= self.job.k_min) {
                self.open[call].hedged = true;
                self.end(call, now);
                self.open[call].open = false;
                items.iter().for_each(|&item| self.items[item].open -= 1);
            } else {
                // Too few answers: this is no luxury any more, so it needs no budget.
                self.open[call].hedged = true;
                self.ask_standbys(&items, Cause::Hedge);
                self.open[call].look_at = Some(now + GIVE_UP_MIN / 4);
            }
        }
    }

    fn is_done(&self) -> bool {
        let done = |(item, state): (usize, &Item)| state.open == 0 || self.outcome.answers[item].len() >= state.wanted;
        self.items.iter().enumerate().all(done)
    }

    fn finish(mut self) -> Outcome {
        let now = Instant::now();
        for call in 0..self.open.len() {
            if self.open[call].open {
                self.end(call, now);
            }
        }
        self.outcome
    }

    /// Writes off a call that is still open.
    fn end(&mut self, call: usize, now: Instant) {
        let state = &self.open[call];
        let took = now.duration_since(state.started);
        let listed = &self.job.experts[self.outcome.calls[call].expert];
        // That another was quicker is no proof against the slow one; that a standby was needed, or a deadline passed, is.
        let items = self.outcome.calls[call].items.len();
        let slow = now >= self.ends || state.hedged;
        let blame = if slow { self.fairly(Blame::Slow { waited: took, items }) } else { Blame::None };
        self.book.failed(&listed.key, blame, now);
        self.outcome.calls[call].latency = took;
        self.outcome.calls[call].failure = Some(Failure::Unfinished);
    }

    /// Nobody is called slow for a deadline that leaves no fair chance.
    fn fairly(&self, blame: Blame) -> Blame {
        if !self.job.fair && matches!(blame, Blame::Slow { .. }) { Blame::None } else { blame }
    }
}

pub(crate) fn blame(failure: &Failure, waited: Duration, items: usize) -> Blame {
    match failure {
        Failure::Own(_) => Blame::None,
        Failure::Call(CallError::Refused(Refusal::Busy { retry_after_ms })) => {
            Blame::Busy(Duration::from_millis(u64::from(*retry_after_ms)))
        }
        Failure::Call(CallError::Refused(Refusal::Deadline) | CallError::Timeout) | Failure::Unfinished => {
            Blame::Slow { waited, items }
        }
        Failure::Call(_) | Failure::Answer(_) => Blame::Fault,
    }
}
