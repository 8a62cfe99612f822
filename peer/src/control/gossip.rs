//! Which heartbeats are believed: a pure book of sequences and rates; time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use glia_protocol::PeerId;
use glia_protocol::codec::DecodeError;
use glia_protocol::gossip::Heartbeat;
use glia_protocol::limits::MAX_CLOCK_SKEW_MS;

/// Heartbeats of one peer that may come at once.
const BURST: f64 = 4.0;
/// Peers remembered.
const MAX_PEERS: usize = 8192;
/// A peer that was silent this long is forgotten when room is needed.
const FORGET: Duration = Duration::from_secs(5 * 60);

/// What to do with a heartbeat.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Deliver and forward.
    Accept(Heartbeat),
    /// Drop without blame: old news, a clock that differs from ours, or too many peers to remember.
    Ignore,
    /// Drop: its author sends too many.
    Flood,
    /// Drop and blame whoever passed it on: nobody may forward this.
    Reject(Fault),
}

/// Why a heartbeat is no heartbeat.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// The bytes are none.
    Malformed(DecodeError),
    /// It names somebody else than its signer.
    Forged,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    sequence: u64,
    at: Instant,
    /// Heartbeats it may send now.
    credit: f64,
}

/// The last heartbeat of every peer.
#[derive(Debug)]
pub(super) struct HeartbeatBook {
    period: Duration,
    peers: HashMap<PeerId, Last>,
}

impl HeartbeatBook {
    /// A book for peers that send one heartbeat in each `period`; twice that rate is let pass.
    pub(super) fn new(period: Duration) -> Self {
        Self { period: period.max(Duration::from_millis(1)), peers: HashMap::new() }
    }

    /// Judges the bytes that `author` signed.
    pub(super) fn judge(&mut self, author: PeerId, bytes: &[u8], now: Instant, now_ms: u64) -> Verdict {
        let beat = match Heartbeat::from_bytes(bytes) {
            Ok(beat) => beat,
            Err(error) => return Verdict::Reject(Fault::Malformed(error)),
        };
        if beat.peer != author {
            return Verdict::Reject(Fault::Forged);
        }
        // A sequence is a clock reading or more; one far ahead would shut its own author out after a restart. Whose
        // clock is wrong, the author's or ours, nobody knows, and those who passed it on judged by theirs.
        if beat.sequence > now_ms.saturating_add(MAX_CLOCK_SKEW_MS) {
            return Verdict::Ignore;
        }
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&author) {
            self.peers.retain(|_, last| now.saturating_duration_since(last.at) < FORGET);
            if self.peers.len() >= MAX_PEERS {
                return Verdict::Ignore;
            }
        }
        let last = self.peers.entry(author).or_insert(Last { sequence: 0, at: now, credit: BURST });
        if beat.sequence <= last.sequence {
            return Verdict::Ignore;
        }
        let periods = now.saturating_duration_since(last.at).as_secs_f64() / self.period.as_secs_f64();
        last.credit = (last.credit + 2.0 * periods).min(BURST);
        last.at = now;
        if last.credit < 1.0 {
            return Verdict::Flood;
        }
        last.credit -= 1.0;
        last.sequence = beat.sequence;
        Verdict::Accept(beat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glia_protocol::gossip::{Load, Presence};

    const PERIOD: Duration = Duration::from_secs(2);
    const NOW_MS: u64 = 1_000_000;

    fn beat(peer: u8, sequence: u64) -> Vec<u8> {
        let presence = Presence::Here(Load::default());
        Heartbeat { peer: PeerId([peer; 32]), subnets: Vec::new(), sequence, presence }.to_bytes().unwrap()
    }

    #[test]
    fn heartbeats_in_order_are_accepted_and_old_ones_ignored() {
        let (mut book, now, peer) = (HeartbeatBook::new(PERIOD), Instant::now(), PeerId([1; 32]));
        assert!(matches!(book.judge(peer, &beat(1, 10), now, NOW_MS), Verdict::Accept(b) if b.sequence == 10));
        assert_eq!(book.judge(peer, &beat(1, 10), now, NOW_MS), Verdict::Ignore);
        assert_eq!(book.judge(peer, &beat(1, 9), now, NOW_MS), Verdict::Ignore);
        assert!(matches!(book.judge(peer, &beat(1, 11), now, NOW_MS), Verdict::Accept(_)));
    }

    #[test]
    fn a_heartbeat_in_anothers_name_is_rejected() {
        let mut book = HeartbeatBook::new(PERIOD);
        let verdict = book.judge(PeerId([1; 32]), &beat(2, 10), Instant::now(), NOW_MS);
        assert_eq!(verdict, Verdict::Reject(Fault::Forged));
    }

    #[test]
    fn a_heartbeat_from_the_future_is_dropped_without_blame_and_without_trace() {
        let (mut book, now, peer) = (HeartbeatBook::new(PERIOD), Instant::now(), PeerId([1; 32]));
        let future = NOW_MS + MAX_CLOCK_SKEW_MS + 1;
        assert_eq!(book.judge(peer, &beat(1, future), now, NOW_MS), Verdict::Ignore);
        assert!(matches!(book.judge(peer, &beat(1, NOW_MS), now, NOW_MS), Verdict::Accept(_)));
        assert!(matches!(book.judge(peer, &beat(1, future), now, NOW_MS + 1), Verdict::Accept(_)), "time has come");
    }

    #[test]
    fn a_forged_heartbeat_from_the_future_is_still_forged() {
        let mut book = HeartbeatBook::new(PERIOD);
        let verdict = book.judge(PeerId([1; 32]), &beat(2, u64::MAX), Instant::now(), NOW_MS);
        assert_eq!(verdict, Verdict::Reject(Fault::Forged));
    }

    #[test]
    fn bytes_that_are_no_heartbeat_are_rejected() {
        let mut book = HeartbeatBook::new(PERIOD);
        let verdict = book.judge(PeerId([1; 32]), b"", Instant::now(), NOW_MS);
        assert!(matches!(verdict, Verdict::Reject(Fault::Malformed(_))));
    }

    #[test]
    fn a_flood_is_cut_to_twice_the_rate() {
        let (mut book, start, peer) = (HeartbeatBook::new(PERIOD), Instant::now(), PeerId([1; 32]));
        let accepted = (1..=1000u64)
            .filter(|&n| {
                let now = start + Duration::from_millis(20 * n);
                matches!(book.judge(peer, &beat(1, n), now, NOW_MS), Verdict::Accept(_))
            })
            .count();
        // 20 seconds are 10 periods: 20 heartbeats and the burst.
        assert!((20..=24).contains(&accepted), "{accepted}");
    }

    #[test]
    fn the_regular_rate_is_never_cut() {
        let (mut book, start, peer) = (HeartbeatBook::new(PERIOD), Instant::now(), PeerId([1; 32]));
        for n in 1..=1000u32 {
            let verdict = book.judge(peer, &beat(1, n.into()), start + PERIOD * n, NOW_MS);
            assert!(matches!(verdict, Verdict::Accept(_)));
        }
    }
}
