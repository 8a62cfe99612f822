//! Which DHT keys are asked when: often while experts come and go, seldom when nothing changes.

use std::collections::VecDeque;
use std::time::Duration;

use glia_protocol::descriptor::SHARDS;
use tokio::time::Instant;

/// The schedule of walks over all regions and shards of one subnet.
#[derive(Debug)]
pub struct Walk {
    regions: u8,
    left: VecDeque<(u8, u8)>,
    unanswered: usize,
    next_walk: Option<Instant>,
    pause: Duration,
    shortest: Duration,
    longest: Duration,
    changed: bool,
}

impl Walk {
    /// A schedule that starts at once and pauses `shortest`, then up to `longest`, between walks.
    #[must_use]
    pub fn new(regions: u8, shortest: Duration, longest: Duration) -> Self {
        Self {
            regions,
            left: VecDeque::new(),
            unanswered: 0,
            next_walk: None,
            pause: shortest,
            shortest,
            longest,
            changed: false,
        }
    }

    /// The next key to ask for, if one is due.
    pub fn next(&mut self, now: Instant) -> Option<(u8, u8)> {
        let walking = !self.left.is_empty() || self.unanswered > 0;
        if !walking && self.next_walk.is_none_or(|at| at <= now) {
            self.left = (0..self.regions).flat_map(|r| (0..SHARDS).map(move |s| (r, s))).collect();
            self.changed = false;
        }
        let key = self.left.pop_front()?;
        self.unanswered += 1;
        Some(key)
    }

    /// A query came back (or was given up).
    pub fn answered(&mut self, now: Instant) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.unanswered == 0 && self.left.is_empty() {
            self.pause = if self.changed { self.shortest } else { (self.pause * 3 / 2).min(self.longest) };
            self.next_walk = Some(now + self.pause);
        }
    }

    /// Something new was found or somebody vanished: look again soon.
    pub fn changed(&mut self, now: Instant) {
        self.changed = true;
        self.pause = self.shortest;
        if let Some(at) = &mut self.next_walk {
            *at = (*at).min(now + self.shortest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_are_frequent_at_first_and_back_off_while_nothing_changes() {
        let (shortest, longest) = (Duration::from_millis(500), Duration::from_secs(10));
        let mut now = Instant::now();
        let mut walk = Walk::new(2, shortest, longest);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let mut keys = 0;
            while walk.next(now).is_some() {
                keys += 1;
            }
            assert_eq!(keys, 2 * usize::from(SHARDS));
            (0..keys).for_each(|_| walk.answered(now));
            let pause = walk.next_walk.unwrap() - now;
            assert!(walk.next(now).is_none());
            now += pause;
            pauses.push(pause);
        }
        assert!(pauses[0] < Duration::from_secs(1) && pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&longest));
        while walk.next(now).is_some() {
            walk.changed(now);
        }
        (0..8).for_each(|_| walk.answered(now));
        assert_eq!(walk.next_walk.unwrap() - now, shortest);
    }
}
