//! What audits have found of a hotkey and of an expert: pure state, moved on by verdicts and by the clock it is given.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::judge::Verdict;

/// Answers of an expert that are all audited.
pub const FIRST: u32 = 10;
/// Least share of answers that is audited.
pub const FLOOR: f64 = 0.02;
/// Share of the newest audit in the credibility.
pub const NEWEST: f64 = 0.15;
/// Where the credibility of an expert goes that cannot be re-executed.
pub const CLOSED: f64 = 0.7;
/// Longest time a hotkey stays condemned.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Verified audits in a row after which failures of long ago do not lengthen the next penalty.
pub const FORGIVEN: u32 = 200;
/// Evidence files that are remembered per hotkey.
pub const EVIDENCE: usize = 4;

/// Share of the answers of an expert with `streak` good audits in a row that is audited.
#[must_use]
pub fn rate(streak: u32) -> f64 {
    if streak < FIRST { 1.0 } else { FLOOR.max(1.0 / f64::from(streak)) }
}

/// What audits can see of an expert.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Its answers are computed again.
    Open,
    /// It publishes nothing; only receipts are checked.
    #[default]
    Closed,
    /// It says that it publishes, but its checkpoint could not be had or computed.
    Unfetched,
}

/// The newest audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Its result in a word.
    pub result: String,
    /// Why, where there is something to say.
    pub reason: String,
}

/// What audits have found of one expert.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Name for people.
    pub name: String,
    /// Good audits in a row.
    pub streak: u32,
    /// Audits.
    pub audits: u64,
    /// Audits it failed.
    pub failures: u64,
    /// What audits can see of it.
    pub tier: Tier,
    /// The newest.
    pub last: Option<Last>,
}

/// What audits have found of one hotkey, all its experts together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// 0 to 1.
    pub credibility: f64,
    /// Audits.
    pub audits: u64,
    /// Audits it failed.
    pub failures: u64,
    /// Condemnations that still lengthen the next one.
    pub strikes: u32,
    /// Verified audits since the last failure.
    pub clean: u32,
    /// Until when none of its experts is called, milliseconds since the Unix epoch.
    pub condemned_until_ms: Option<u64>,
    /// When it was audited last, milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// Names of the newest evidence files, oldest first.
    pub evidence: Vec<String>,
}

impl Account {
    /// Moves on by one verdict. Whether it is condemned by it, and was not before.
    pub fn take(&mut self, verdict: &Verdict, now_ms: u64, penalty: Duration) -> bool {
        self.audits = self.audits.saturating_add(1);
        self.last_ms = now_ms;
        let towards = match verdict {
            Verdict::Verified => 1.0,
            Verdict::Signed | Verdict::Unchecked(_) => CLOSED,
            Verdict::Failed(_) => {
                self.failures = self.failures.saturating_add(1);
                (self.credibility, self.clean) = (0.0, 0);
                if self.condemned_until_ms.is_some() {
                    // Answers given before it was condemned; one lie is one strike.
                    return false;
                }
                let longer = 1_u32.checked_shl(self.strikes.min(31)).unwrap_or(u32::MAX);
                let penalty = penalty.saturating_mul(longer).min(LONGEST);
                self.strikes = self.strikes.saturating_add(1);
                let penalty = u64::try_from(penalty.as_millis()).unwrap_or(u64::MAX);
                self.condemned_until_ms = Some(now_ms.saturating_add(penalty));
                return true;
            }
        };
        // What was answered before the failure was found earns nothing after it.
        if self.condemned_until_ms.is_none() {
            self.credibility += NEWEST * (towards - self.credibility);
            if *verdict == Verdict::Verified {
                self.clean = self.clean.saturating_add(1);
                if self.clean >= FORGIVEN {
                    self.strikes = 0;
                }
            }
        }
        false
    }

    /// Ends a penalty that is over. Whether one ended.
    pub fn expire(&mut self, now_ms: u64) -> bool {
        // A clock that was set back must not make a penalty longer than the longest.
        let longest = now_ms.saturating_add(u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX));
        self.condemned_until_ms = self.condemned_until_ms.map(|until| until.min(longest));
        let over = self.condemned_until_ms.is_some_and(|until| until <= now_ms);
        if over {
            self.condemned_until_ms = None;
        }
        over
    }

    /// Remembers an evidence file.
    pub fn note(&mut self, file: String) {
        if self.evidence.len() >= EVIDENCE {
            self.evidence.remove(0);
        }
        self.evidence.push(file);
    }
}

impl Record {
    /// Moves on by one verdict.
    pub fn take(&mut self, verdict: &Verdict, now_ms: u64) {
        self.audits = self.audits.saturating_add(1);
        self.last =
            Some(Last { at_ms: now_ms, result: verdict.word().to_owned(), reason: verdict.reason().to_owned() });
        match verdict {
            Verdict::Verified => (self.streak, self.tier) = (self.streak.saturating_add(1), Tier::Open),
            Verdict::Signed => (self.streak, self.tier) = (self.streak.saturating_add(1), Tier::Closed),
            // Nothing was found out, so the next answer is as interesting as this one.
            Verdict::Unchecked(_) => self.tier = Tier::Unfetched,
            Verdict::Failed(_) => (self.streak, self.failures) = (0, self.failures.saturating_add(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_MS: u64 = 3_600_000;

    fn failed() -> Verdict {
        Verdict::Failed("lied".into())
    }

    #[test]
    fn the_first_ten_answers_are_audited_and_then_fewer_down_to_a_floor() {
        assert!((0..10).all(|streak| rate(streak) == 1.0));
        assert_eq!(rate(10), 0.1);
        assert_eq!(rate(20), 0.05);
        assert_eq!((rate(50), rate(u32::MAX)), (FLOOR, FLOOR));
    }

    #[test]
    fn ten_verified_audits_earn_four_fifths() {
        let mut account = Account::default();
        (0..10).for_each(|n| assert!(!account.take(&Verdict::Verified, n, HOUR)));
        assert!((0.80..0.81).contains(&account.credibility), "{}", account.credibility);
    }

    #[test]
    fn an_expert_that_cannot_be_re_executed_stays_at_a_lower_tier_and_one_that_stops_publishing_falls_to_it() {
        let (mut account, mut record) = (Account::default(), Record::default());
        (0..100).for_each(|n| {
            account.take(&Verdict::Verified, n, HOUR);
            record.take(&Verdict::Verified, n);
        });
        assert!(account.credibility > 0.99);
        (0..100).for_each(|n| {
            account.take(&Verdict::Unchecked("gone".into()), n, HOUR);
        });
        assert!((account.credibility - CLOSED).abs() < 1e-3);
        record.take(&Verdict::Unchecked("gone".into()), 1);
        assert_eq!((record.streak, record.tier), (100, Tier::Unfetched));
    }

    #[test]
    fn a_failure_takes_everything_and_the_next_one_lasts_twice_as_long() {
        let mut account = Account::default();
        (0..50).for_each(|n| assert!(!account.take(&Verdict::Verified, n, HOUR)));
        assert!(account.take(&failed(), 100, HOUR));
        assert_eq!((account.credibility, account.condemned_until_ms), (0.0, Some(100 + HOUR_MS)));
        // What was in the queue changes nothing.
        assert!(!account.take(&failed(), 200, HOUR) && !account.take(&Verdict::Verified, 200, HOUR));
        assert_eq!((account.credibility, account.strikes), (0.0, 1));
        assert!(!account.expire(99 + HOUR_MS) && account.expire(100 + HOUR_MS));
        assert!(account.take(&failed(), 0, HOUR));
        assert_eq!(account.condemned_until_ms, Some(2 * HOUR_MS));
        for _ in 0..100 {
            account.expire(u64::MAX);
            account.take(&failed(), 0, HOUR);
        }
        assert_eq!(account.condemned_until_ms, Some(LONGEST.as_millis() as u64));
    }

    #[test]
    fn long_honesty_is_forgiveness() {
        let mut account = Account::default();
        account.take(&failed(), 0, HOUR);
        account.expire(u64::MAX);
        (0..FORGIVEN).for_each(|_| assert!(!account.take(&Verdict::Verified, 1, HOUR)));
        assert!(account.take(&failed(), 0, HOUR));
        assert_eq!(account.condemned_until_ms, Some(HOUR_MS));
    }
}
