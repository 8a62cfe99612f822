//! What is remembered of each expert's behaviour: latencies, failures, bans, and the budget for extra calls.
//!
//! Who fails is banned, each time twice as long, even when nobody else is there. Who left a few calls in a row unanswered,
//! or comes back from a ban, is *suspect*: requests go to others, and a single probe finds out ([`crate::probing`]), so that
//! a frozen expert costs a few requests a moment and no request twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use glia_protocol::PeerId;
use glia_protocol::gossip::Load;
use tokio::time::Instant;

use crate::expert::ExpertKey;

/// First ban; each further one without a success between is twice as long.
const BAN: Duration = Duration::from_secs(15);
/// First ban for slowness: it may pass with the load.
const SLOW_BAN: Duration = Duration::from_secs(3);
/// Longest ban.
const BAN_MAX: Duration = Duration::from_secs(600);
/// Longest pause after a "busy".
const BUSY_MAX: Duration = Duration::from_secs(2);
/// Latencies remembered per expert.
const SAMPLES: usize = 128;
/// Latencies from which on p95 means something.
const ENOUGH: usize = 16;
/// Hedge time of an expert that is not known yet.
const UNKNOWN_HEDGE: Duration = Duration::from_millis(250);
/// An expert is never hedged sooner: a scheduler's hiccup is not slowness.
const SHORTEST_HEDGE: Duration = Duration::from_millis(20);
/// Calls cut off as slow, one after the other, that ban an expert.
const SLOW_STRIKES: u32 = 3;
/// Strikes closer together than this count as one.
const STRIKE_SPACING: Duration = Duration::from_millis(250);
/// A wait shorter than this for a small call of somebody unknown is no fair chance, and its end no slowness.
const FAIR_WAIT: Duration = Duration::from_millis(500);
/// Items of a call that is still small.
const SMALL_CALL: usize = 16;
/// Calls of similar size from which on no others are looked at.
const ENOUGH_ALIKE: usize = 8;
/// Calls in a row that were given up, or overtaken by a hedge, after which an expert is suspect …
const MISSES: u32 = 3;
/// … if they are spread over this time: calls caught in one hiccup prove nothing.
const MISS_SPAN: Duration = Duration::from_millis(100);
/// Share of the newest call in the expected latency.
const NEWEST: f32 = 0.2;
/// What a peer said of its load is forgotten after this.
const LOAD_AGE: Duration = Duration::from_secs(5);
/// Peers whose load is remembered.
const MAX_LOADS: usize = 4096;
/// Extra calls that may be saved up.
const HEDGE_BURST: f64 = 20.0;

/// Whose fault a failed call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nobody's: it was not needed any more.
    None,
    /// The expert is full and said when to come again.
    Busy(Duration),
    /// It did not answer so many items within this time.
    Slow {
        /// The time.
        waited: Duration,
        /// Items of the call.
        items: usize,
    },
    /// It failed, closed, or answered nonsense.
    Fault,
}

#[derive(Debug, Default)]
struct Record {
    calls: u64,
    failures: u64,
    /// Milliseconds and items of its last calls.
    latencies: VecDeque<(f32, usize)>,
    p50: f32,
    p95: f32,
    /// Expected milliseconds of a small call.
    expected: Option<f32>,
    /// Calls in a row that were not waited for, and since when.
    missed: u32,
    missed_since: Option<Instant>,
    missing: bool,
    slow: u32,
    struck: Option<Instant>,
    bans: u32,
    banned_until: Option<Instant>,
    busy_until: Option<Instant>,
}

impl Record {
    /// Moves the expected latency on by a call of `items` items that took this long.
    fn expect(&mut self, took: Duration, items: usize) {
        let small = took.as_secs_f32() * 1e3 / (items as f32 / SMALL_CALL as f32).max(1.0);
        self.expected = Some(self.expected.map_or(small, |before| before + NEWEST * (small - before)));
    }

    /// When a call of `items` items may be hedged.
    fn hedge_after(&self, items: usize) -> Duration {
        let known = if self.latencies.len() >= ENOUGH { self.usual(items) } else { None };
        known.unwrap_or(UNKNOWN_HEDGE).max(SHORTEST_HEDGE)
    }

    /// A call was not waited for to its end.
    fn miss(&mut self, waited: Duration, items: usize, now: Instant) {
        if waited < self.hedge_after(items) {
            return;
        }
        self.expect(waited, items);
        self.missed = self.missed.saturating_add(1);
        let since = *self.missed_since.get_or_insert(now);
        self.missing |= self.missed >= MISSES && now.duration_since(since) >= MISS_SPAN;
    }

    fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| until > now)
    }

    fn is_suspect(&self, now: Instant) -> bool {
        self.missing || (self.bans > 0 && !self.is_banned(now))
    }

    /// The time it is known to take for `items` items (95th percentile): from calls of similar size, else from all of
    /// them, of which a smaller one says that a larger one takes longer in proportion at most.
    fn usual(&self, items: usize) -> Option<Duration> {
        let items = items.max(1);
        let similar = |size: usize| size <= items.saturating_mul(2) && items <= size.saturating_mul(2);
        let mut times: Vec<f32> = self.latencies.iter().filter(|(_, n)| similar(*n)).map(|(ms, _)| *ms).collect();
        if times.len() < ENOUGH_ALIKE {
            let scaled = self.latencies.iter().map(|(ms, n)| ms * (items as f32 / (*n).max(1) as f32).max(1.0));
            times = scaled.collect();
        }
        times.sort_by(f32::total_cmp);
        percentile(&times, 95).map(|ms| Duration::from_secs_f32(ms / 1e3))
    }

    /// How long a call of `items` items may take before it is slow.
    fn fair(&self, items: usize) -> Duration {
        let unknown = || FAIR_WAIT.mul_f32((items as f32 / SMALL_CALL as f32).max(1.0));
        self.usual(items).map_or_else(unknown, |usual| 2 * usual.max(SHORTEST_HEDGE))
    }
}

fn percentile(sorted: &[f32], percent: usize) -> Option<f32> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
}

/// Figures of one expert.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Calls made.
    pub calls: u64,
    /// Calls that failed by its fault.
    pub failures: u64,
    /// Median latency, milliseconds; 0 before the first answer.
    pub p50_ms: f32,
    /// 95th percentile, milliseconds.
    pub p95_ms: f32,
    /// Whether it is banned now.
    pub banned: bool,
    /// Whether it has to answer a single probe before requests go to it again.
    pub suspect: bool,
}

/// How an expert is expected to answer now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prospect {
    /// Time a small call is expected to take, with the queue it said it has; 0 while nothing is known.
    pub latency: Duration,
    /// Whether it did not answer its last calls.
    pub suspect: bool,
}

/// The book of one subnet. Its lock is held for a few instructions at a time and never across an await.
#[derive(Debug)]
pub struct Book {
    inner: Mutex<Inner>,
    share: f64,
}

#[derive(Debug)]
struct Inner {
    records: HashMap<ExpertKey, Record>,
    /// What peers said of their load, and when.
    loads: HashMap<PeerId, (Load, Instant)>,
    hedges: f64,
    bans: u64,
    hedges_taken: u64,
}

impl Book {
    /// An empty book that allows `share` of all calls to be hedges.
    #[must_use]
    pub fn new(share: f64) -> Self {
        let inner =
            Inner { records: HashMap::new(), loads: HashMap::new(), hedges: HEDGE_BURST, bans: 0, hedges_taken: 0 };
        Self { inner: Mutex::new(inner), share }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A call is made.
    pub fn called(&self, key: &ExpertKey) {
        self.with(|inner| {
            inner.hedges = (inner.hedges + self.share).min(HEDGE_BURST);
            inner.records.entry(*key).or_default().calls += 1;
        });
    }

    /// It answered `items` items properly.
    pub fn answered(&self, key: &ExpertKey, took: Duration, items: usize) {
        self.with(|inner| {
            let record = inner.records.entry(*key).or_default();
            (record.slow, record.bans, record.banned_until) = (0, 0, None);
            (record.missed, record.missed_since, record.missing) = (0, None, false);
            record.expect(took, items);
            if record.latencies.len() == SAMPLES {
                record.latencies.pop_front();
            }
            record.latencies.push_back((took.as_secs_f32() * 1e3, items));
            let mut sorted: Vec<f32> = record.latencies.iter().map(|(ms, _)| *ms).collect();
            sorted.sort_by(f32::total_cmp);
            record.p50 = percentile(&sorted, 50).unwrap_or_default();
            record.p95 = percentile(&sorted, 95).unwrap_or_default();
        });
    }

    /// It did not.
    pub fn failed(&self, key: &ExpertKey, blame: Blame, now: Instant) {
        self.with(|inner| {
            let record = inner.records.entry(*key).or_default();
            if let Blame::Slow { waited, items } = blame {
                record.miss(waited, items, now);
            }
            let first = if matches!(blame, Blame::Slow { .. }) { SLOW_BAN } else { BAN };
            match blame {
                Blame::None => return,
                Blame::Busy(retry) => {
                    record.busy_until = Some(now + retry.min(BUSY_MAX));
                    return;
                }
                Blame::Slow { waited, items } => {
                    let fair = record.fair(items);
                    if waited < fair {
                        return;
                    }
                    // Many calls caught in one hiccup are one strike.
                    if record.slow > 0 && record.struck.is_some_and(|at| now.duration_since(at) < STRIKE_SPACING) {
                        return;
                    }
                    record.struck = Some(now);
                    record.failures += 1;
                    record.slow += 1;
                    if record.slow < SLOW_STRIKES && waited < 3 * fair.max(FAIR_WAIT) {
                        return;
                    }
                }
                Blame::Fault => record.failures += 1,
            }
            // Calls that were open when the ban began fail with it, not on top of it.
            if record.is_banned(now) {
                return;
            }
            let ban = first.saturating_mul(1 << record.bans.min(10)).min(BAN_MAX);
            record.bans = record.bans.saturating_add(1);
            record.slow = 0;
            record.banned_until = Some(now + ban);
            inner.bans += 1;
            tracing::info!(expert = %key, seconds = ban.as_secs(), "expert banned");
        });
    }

    /// Whether requests keep away from it at `now` (banned or busy), even when nobody else is there.
    #[must_use]
    pub fn is_banned(&self, key: &ExpertKey, now: Instant) -> bool {
        self.with(|inner| {
            let busy = |r: &Record| r.busy_until.is_some_and(|until| until > now);
            inner.records.get(key).is_some_and(|r| r.is_banned(now) || busy(r))
        })
    }

    /// Whether it stopped answering, or comes back from a ban, and has not answered since.
    #[must_use]
    pub fn is_suspect(&self, key: &ExpertKey, now: Instant) -> bool {
        self.with(|inner| inner.records.get(key).is_some_and(|r| r.is_suspect(now)))
    }

    /// A peer said how loaded it is.
    pub fn heard(&self, peer: PeerId, load: Load, now: Instant) {
        self.with(|inner| {
            if inner.loads.len() >= MAX_LOADS && !inner.loads.contains_key(&peer) {
                inner.loads.retain(|_, (_, at)| now.duration_since(*at) < LOAD_AGE);
            }
            if inner.loads.len() < MAX_LOADS || inner.loads.contains_key(&peer) {
                inner.loads.insert(peer, (load, now));
            }
        });
    }

    /// How each of `experts`, given with their largest batch, is expected to answer at `now`.
    ///
    /// What a peer says of its queue can only add to what was measured: a lie about it costs the liar calls.
    pub fn prospects<'a>(
        &self,
        experts: impl IntoIterator<Item = (&'a ExpertKey, u32)>,
        now: Instant,
    ) -> Vec<Prospect> {
        self.with(|inner| {
            let one = |(key, max_batch): (&ExpertKey, u32)| {
                let record = inner.records.get(key);
                let measured = record.and_then(|r| r.expected).unwrap_or(0.0).clamp(0.0, 1e6);
                let fresh = inner.loads.get(&key.peer).filter(|(_, at)| now.duration_since(*at) < LOAD_AGE);
                // Batches before its own, each of which takes about as long as requests took lately.
                let queued = fresh
                    .map_or(0.0, |(load, _)| load.queued as f32 / max_batch.max(1) as f32 * load.mean_us as f32 / 1e6);
                Prospect {
                    latency: Duration::from_secs_f32(measured / 1e3 + queued.clamp(0.0, 60.0)),
                    suspect: record.is_some_and(|r| r.is_suspect(now)),
                }
            };
            experts.into_iter().map(one).collect()
        })
    }

    /// After how long a call of `items` items may be hedged: the p95 of such calls.
    #[must_use]
    pub fn hedge_after(&self, key: &ExpertKey, items: usize) -> Duration {
        self.with(|inner| inner.records.get(key).map_or(UNKNOWN_HEDGE, |r| r.hedge_after(items)))
    }

    /// Takes one extra call from the budget, if it has one.
    pub fn take_hedge(&self) -> bool {
        self.with(|inner| {
            let granted = inner.hedges >= 1.0;
            if granted {
                inner.hedges -= 1.0;
                inner.hedges_taken += 1;
            }
            granted
        })
    }

    /// Figures of an expert at `now`.
    #[must_use]
    pub fn figures(&self, key: &ExpertKey, now: Instant) -> Figures {
        self.with(|inner| {
            inner.records.get(key).map_or_else(Figures::default, |r| Figures {
                calls: r.calls,
                failures: r.failures,
                p50_ms: r.p50,
                p95_ms: r.p95,
                banned: r.is_banned(now),
                suspect: r.is_suspect(now),
            })
        })
    }

    /// Bans and hedges since the start.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.with(|inner| (inner.bans, inner.hedges_taken))
    }

    /// Forgets experts whose ban is over and that `keep` does not name.
    pub fn forget(&self, now: Instant, keep: impl Fn(&ExpertKey) -> bool) {
        self.with(|inner| {
            inner.records.retain(|key, r| keep(key) || r.is_banned(now));
            inner.loads.retain(|_, (_, at)| now.duration_since(*at) < LOAD_AGE);
        });
    }
}

#[cfg(test)]
mod tests {
    use glia_protocol::{ContentHash, PeerId};

    use super::*;

    fn slow(ms: u64, items: usize) -> Blame {
        Blame::Slow { waited: Duration::from_millis(ms), items }
    }

    const KEY: ExpertKey = ExpertKey { peer: PeerId([1; 32]), checkpoint: ContentHash([2; 32]) };

    #[test]
    fn bans_double_up_to_ten_minutes_and_a_success_forgives() {
        let book = Book::new(0.05);
        let mut now = Instant::now();
        let mut lengths = Vec::new();
        for _ in 0..8 {
            book.failed(&KEY, Blame::Fault, now);
            let start = now;
            while book.is_banned(&KEY, now) {
                now += Duration::from_secs(1);
            }
            lengths.push((now - start).as_secs());
        }
        assert_eq!(lengths, [15, 30, 60, 120, 240, 480, 600, 600]);
        book.answered(&KEY, Duration::from_millis(5), 1);
        book.failed(&KEY, Blame::Fault, now);
        assert!(book.is_banned(&KEY, now));
        assert!(!book.is_banned(&KEY, now + BAN));
    }

    #[test]
    fn an_impatient_caller_cannot_ban_an_expert() {
        let book = Book::new(0.05);
        let now = Instant::now();
        for i in 0..100 {
            book.failed(&KEY, slow(1, 1), now + Duration::from_secs(i));
        }
        assert!(!book.is_banned(&KEY, now + Duration::from_secs(100)));
        book.failed(&KEY, slow(2000, 1), now);
        assert!(book.is_banned(&KEY, now));
        assert!(!book.is_banned(&KEY, now + SLOW_BAN), "slowness may pass sooner than a fault");
    }

    #[test]
    fn a_large_call_is_judged_by_its_size() {
        let book = Book::new(0.05);
        let now = Instant::now();
        let later = |n: u64| now + Duration::from_secs(n);
        // Known for single items at 20 ms each: 64 of them may take a second, also many times over.
        (0..20).for_each(|_| book.answered(&KEY, Duration::from_millis(20), 1));
        (0..20).for_each(|n| book.failed(&KEY, slow(1500, 64), later(n)));
        assert!(!book.is_banned(&KEY, later(19)));
        assert!(book.hedge_after(&KEY, 64) > Duration::from_secs(1));
        assert_eq!(book.hedge_after(&KEY, 1), Duration::from_millis(20));
        // The same wait for one item is slow.
        (20..23).for_each(|n| book.failed(&KEY, slow(1500, 1), later(n)));
        assert!(book.is_banned(&KEY, later(22)));
    }

    #[test]
    fn calls_of_similar_size_are_compared_when_there_are_enough() {
        let book = Book::new(0.05);
        (0..20).for_each(|_| book.answered(&KEY, Duration::from_millis(20), 1));
        (0..20).for_each(|_| book.answered(&KEY, Duration::from_millis(100), 64));
        assert_eq!(book.hedge_after(&KEY, 64).as_millis(), 100);
        assert_eq!(book.hedge_after(&KEY, 1), Duration::from_millis(20));
    }

    #[test]
    fn many_calls_caught_in_one_hiccup_are_one_strike() {
        let book = Book::new(0.05);
        let now = Instant::now();
        (0..50).for_each(|_| book.failed(&KEY, slow(600, 1), now));
        assert!(!book.is_banned(&KEY, now));
        let later = |n: u64| now + Duration::from_millis(300 * n);
        (1..3).for_each(|n| book.failed(&KEY, slow(600, 1), later(n)));
        assert!(book.is_banned(&KEY, later(3)));
    }

    #[test]
    fn a_busy_expert_is_left_alone_for_a_moment_without_a_ban() {
        let book = Book::new(0.05);
        let now = Instant::now();
        book.failed(&KEY, Blame::Busy(Duration::from_secs(3600)), now);
        assert!(book.is_banned(&KEY, now));
        assert!(!book.figures(&KEY, now).banned);
        assert!(!book.is_banned(&KEY, now + BUSY_MAX));
    }

    #[test]
    fn somebody_who_stops_answering_is_suspect_after_a_few_calls_and_an_answer_clears_it() {
        let book = Book::new(0.05);
        let now = Instant::now();
        let later = |ms: u64| now + Duration::from_millis(ms);
        (0..20).for_each(|_| book.answered(&KEY, Duration::from_millis(5), 1));
        // Shorter waits than its p95 prove nothing, nor do many calls caught in one hiccup.
        (0..10).for_each(|n| book.failed(&KEY, slow(10, 1), later(50 * n)));
        (0..10).for_each(|_| book.failed(&KEY, slow(25, 1), now));
        assert!(!book.is_suspect(&KEY, now));
        book.failed(&KEY, slow(25, 1), later(150));
        assert!(book.is_suspect(&KEY, later(150)) && !book.is_banned(&KEY, later(150)));
        book.answered(&KEY, Duration::from_millis(5), 1);
        assert!(!book.is_suspect(&KEY, later(151)));
    }

    #[test]
    fn a_frozen_expert_is_out_of_the_way_and_tried_ever_more_rarely() {
        // Time goes on in steps of 20 ms for ten minutes; a request calls the expert whenever it may and waits 25 ms, a
        // trial takes 1.5 s.
        let (book, start) = (Book::new(0.05), Instant::now());
        (0..20).for_each(|_| book.answered(&KEY, Duration::from_millis(5), 1));
        let (mut harmed, mut trials, mut trial_ends) = (Vec::new(), Vec::new(), None);
        for step in 0..30_000_u64 {
            let now = start + Duration::from_millis(20 * step);
            if trial_ends.is_some_and(|at| at <= now) {
                trial_ends = None;
                book.failed(&KEY, slow(1500, 1), now);
            }
            if book.is_banned(&KEY, now) {
                continue;
            }
            if !book.is_suspect(&KEY, now) {
                harmed.push(now - start);
                book.failed(&KEY, slow(25, 1), now);
            } else if trial_ends.is_none() {
                trials.push(now - start);
                trial_ends = Some(now + Duration::from_millis(1500));
            }
        }
        assert!(harmed.len() <= 8 && harmed.iter().all(|at| at.as_millis() < 200), "{harmed:?}");
        assert!((5..=10).contains(&trials.len()), "{trials:?}");
    }

    #[test]
    fn who_comes_back_from_a_ban_has_to_answer_a_trial_first() {
        let book = Book::new(0.05);
        let now = Instant::now();
        book.failed(&KEY, Blame::Fault, now);
        assert!(!book.is_suspect(&KEY, now), "it is banned, no more and no less");
        assert!(book.is_suspect(&KEY, now + BAN) && !book.is_banned(&KEY, now + BAN));
        book.failed(&KEY, Blame::Fault, now + BAN);
        assert!(book.is_banned(&KEY, now + BAN + BAN), "the second ban is longer");
        book.answered(&KEY, Duration::from_millis(5), 1);
        assert_eq!(book.figures(&KEY, now + BAN).suspect, book.figures(&KEY, now + BAN).banned);
    }

    #[test]
    fn expected_latency_is_what_was_measured_and_the_queue_that_is_admitted() {
        let book = Book::new(0.05);
        let now = Instant::now();
        let other = ExpertKey { peer: PeerId([9; 32]), ..KEY };
        let of = |now| book.prospects([(&KEY, 8), (&other, 8)], now);
        assert_eq!(of(now), [Prospect::default(); 2]);
        (0..50).for_each(|_| book.answered(&KEY, Duration::from_millis(40), 1));
        // A large batch is judged by its size.
        (0..50).for_each(|_| book.answered(&other, Duration::from_millis(160), 64));
        assert!(of(now).iter().all(|p| p.latency.as_millis().abs_diff(40) <= 1), "{:?}", of(now));
        book.heard(KEY.peer, Load { queued: 16, mean_us: 50_000, ..Load::default() }, now);
        assert!(of(now)[0].latency.as_millis().abs_diff(140) <= 1);
        assert!(of(now + LOAD_AGE)[0].latency.as_millis().abs_diff(40) <= 1);
        book.heard(KEY.peer, Load { queued: u32::MAX, mean_us: u32::MAX, ..Load::default() }, now);
        assert!(of(now)[0].latency < Duration::from_secs(61));
    }

    #[test]
    fn hedges_are_a_small_share_of_calls() {
        let book = Book::new(0.05);
        let mut hedges = 0;
        for _ in 0..1000 {
            book.called(&KEY);
            hedges += usize::from(book.take_hedge());
        }
        assert!((50..=71).contains(&hedges), "{hedges}");
    }
}
