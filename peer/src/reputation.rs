//! Who misbehaved, how badly, and who is shut out: a pure book; time is an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use glia_protocol::PeerId;

/// Something a well-made peer does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misdeed {
    /// It belongs to another network or does not say hello.
    Foreign,
    /// It sent bytes that are no message.
    Malformed,
    /// It sent a message in another's name, or one whose signature does not hold.
    Forged,
    /// It sent more than it may.
    Flood,
    /// It sent something old or expired; clocks and races can excuse it.
    Stale,
}

impl Misdeed {
    fn points(self) -> f64 {
        match self {
            Self::Foreign => BAN_AT,
            Self::Forged => 40.0,
            Self::Malformed => 25.0,
            Self::Flood => 5.0,
            Self::Stale => 2.0,
        }
    }
}

/// Points that ban.
const BAN_AT: f64 = 100.0;
/// Points halve in this time.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// First ban; each further one lasts twice as long.
const FIRST_BAN: Duration = Duration::from_secs(30);
/// Longest ban.
const LONGEST_BAN: Duration = Duration::from_secs(60 * 60);
/// Peers remembered; the least guilty is forgotten first.
const MAX_PEERS: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Entry {
    points: f64,
    at: Instant,
    banned_until: Option<Instant>,
    bans: u32,
}

impl Entry {
    fn points_at(&self, now: Instant) -> f64 {
        let half_lives = now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.points * 0.5f64.powf(half_lives)
    }

    fn banned_at(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| now < until)
    }
}

/// The book of misdeeds.
#[derive(Debug, Default)]
pub struct Reputation {
    peers: HashMap<PeerId, Entry>,
}

impl Reputation {
    /// Writes down a misdeed; true when it begins a ban.
    pub fn report(&mut self, peer: PeerId, misdeed: Misdeed, now: Instant) -> bool {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
            self.forget_one(now);
        }
        let entry = self.peers.entry(peer).or_insert(Entry { points: 0.0, at: now, banned_until: None, bans: 0 });
        entry.points = entry.points_at(now) + misdeed.points();
        entry.at = now;
        if entry.points < BAN_AT || entry.banned_at(now) {
            return false;
        }
        let ban = FIRST_BAN.saturating_mul(1 << entry.bans.min(16)).min(LONGEST_BAN);
        entry.bans = entry.bans.saturating_add(1);
        entry.points = 0.0;
        entry.banned_until = Some(now + ban);
        true
    }

    /// Whether `peer` is shut out at `now`.
    pub fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.peers.get(peer).is_some_and(|entry| entry.banned_at(now))
    }

    /// Everybody who is shut out at `now`.
    pub fn banned(&self, now: Instant) -> Vec<PeerId> {
        self.peers.iter().filter(|(_, entry)| entry.banned_at(now)).map(|(peer, _)| *peer).collect()
    }

    fn forget_one(&mut self, now: Instant) {
        let guilt = |entry: &Entry| (entry.banned_at(now), entry.points_at(now));
        let least = self
            .peers
            .iter()
            .min_by(|(_, a), (_, b)| {
                let ((a_banned, a_points), (b_banned, b_points)) = (guilt(a), guilt(b));
                a_banned.cmp(&b_banned).then(a_points.total_cmp(&b_points))
            })
            .map(|(peer, _)| *peer);
        if let Some(peer) = least {
            self.peers.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> PeerId {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&n.to_le_bytes());
        PeerId(key)
    }

    #[test]
    fn forgers_are_banned_and_come_back_later() {
        let (mut book, start) = (Reputation::default(), Instant::now());
        assert!(!book.report(peer(1), Misdeed::Forged, start));
        assert!(!book.report(peer(1), Misdeed::Forged, start));
        assert!(book.report(peer(1), Misdeed::Forged, start));
        assert!(book.is_banned(&peer(1), start + Duration::from_secs(29)));
        assert!(!book.is_banned(&peer(1), start + Duration::from_secs(31)));
        assert!(!book.is_banned(&peer(2), start));
    }

    #[test]
    fn each_ban_lasts_twice_as_long_up_to_an_hour() {
        let (mut book, mut now) = (Reputation::default(), Instant::now());
        for expected in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            assert!(book.report(peer(1), Misdeed::Foreign, now));
            assert!(book.is_banned(&peer(1), now + Duration::from_secs(expected - 1)));
            now += Duration::from_secs(expected);
            assert!(!book.is_banned(&peer(1), now));
        }
    }

    #[test]
    fn small_faults_fade() {
        let (mut book, start) = (Reputation::default(), Instant::now());
        for minute in 0..600 {
            let now = start + Duration::from_secs(60 * minute);
            assert!(!book.report(peer(1), Misdeed::Malformed, now), "one mistake a minute is forgiven");
        }
    }

    #[test]
    fn the_book_stays_small_and_keeps_the_guilty() {
        let (mut book, now) = (Reputation::default(), Instant::now());
        book.report(peer(0), Misdeed::Foreign, now);
        for n in 1..=(MAX_PEERS as u16 + 50) {
            book.report(peer(n), Misdeed::Stale, now);
        }
        assert_eq!(book.peers.len(), MAX_PEERS);
        assert_eq!(book.banned(now), vec![peer(0)]);
    }
}
