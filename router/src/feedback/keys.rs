//! Who may give feedback, and how often.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::config::ConfigError;

/// Shortest key: anything shorter can be guessed.
const MIN_KEY: usize = 16;
/// Longest key.
pub const MAX_KEY: usize = 256;
/// Keys in one file.
const MAX_KEYS: usize = 64;
/// Seconds for which labels can be saved up.
const BURST: f64 = 10.0;

/// Keys that may give feedback; only their hashes are held.
#[derive(Clone, PartialEq, Eq)]
pub struct FeedbackKeys {
    hashes: Vec<blake3::Hash>,
}

impl fmt::Debug for FeedbackKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FeedbackKeys({})", self.hashes.len())
    }
}

impl FeedbackKeys {
    /// The keys of a file: one per line, at least 16 printable characters; empty lines and those that begin with `#` are none.
    ///
    /// # Errors
    /// A sentence with the number of the first wrong line; it never holds a key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let refuse = |why: String| Err(ConfigError(format!("feedback keys: {why}")));
        let mut hashes = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let key = line.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if !(MIN_KEY..=MAX_KEY).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return refuse(format!(
                    "line {number} is no key: {MIN_KEY} to {MAX_KEY} printable characters without spaces"
                ));
            }
            if hashes.len() == MAX_KEYS {
                return refuse(format!("there are more than {MAX_KEYS}"));
            }
            hashes.push(blake3::hash(key.as_bytes()));
        }
        if hashes.is_empty() {
            return refuse("there are none".to_owned());
        }
        Ok(Self { hashes })
    }

    /// Which key this is. Takes the same time whatever is given: hashes are compared, all of them, and to their ends.
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        let hash = blake3::hash(key);
        // Equality of blake3 hashes is constant-time; the last match wins so that no comparison is left out.
        self.hashes
            .iter()
            .enumerate()
            .fold(None, |found, (index, known)| if *known == hash { Some(index) } else { found })
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// Keys with the labels each may still send.
#[derive(Debug)]
pub struct Door {
    keys: FeedbackKeys,
    rate: f64,
    buckets: Mutex<Vec<Bucket>>,
}

/// Why somebody may not give feedback now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// It is no key.
    Unknown,
    /// It sent too many labels.
    TooFast,
}

impl Door {
    /// A door for `keys`, each of which may send `rate` labels per second in the long run.
    #[must_use]
    pub fn new(keys: FeedbackKeys, rate: f64, now: Instant) -> Self {
        let full = Bucket { tokens: (rate * BURST).max(1.0), at: now };
        Self { buckets: Mutex::new(vec![full; keys.hashes.len()]), keys, rate }
    }

    /// Lets one label of `key` in at `now`, or says why not.
    ///
    /// # Errors
    /// [`Barred`].
    pub fn enter(&self, key: &[u8], now: Instant) -> Result<(), Barred> {
        let index = self.keys.find(key).ok_or(Barred::Unknown)?;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get_mut(index).ok_or(Barred::Unknown)?;
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate;
        bucket.tokens = (bucket.tokens + earned).min((self.rate * BURST).max(1.0));
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Err(Barred::TooFast);
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: &str = "0123456789abcdef";
    const B: &str = "fedcba9876543210";

    #[test]
    fn keys_are_read_and_found_and_a_wrong_line_is_named_without_being_shown() {
        let keys = FeedbackKeys::parse(&format!("# ours\n\n{A}\n  {B}\r\n")).unwrap();
        assert_eq!((keys.find(A.as_bytes()), keys.find(B.as_bytes())), (Some(0), Some(1)));
        assert_eq!((keys.find(b""), keys.find(&A.as_bytes()[1..])), (None, None));
        assert_eq!(format!("{keys:?}"), "FeedbackKeys(2)");
        let error = FeedbackKeys::parse(&format!("{A}\nsecret")).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
        assert!(FeedbackKeys::parse("# none\n").unwrap_err().to_string().contains("none"));
        assert!(FeedbackKeys::parse(&format!("{A}\n").repeat(MAX_KEYS + 1)).is_err());
    }

    #[test]
    fn each_key_has_its_own_rate() {
        let (keys, now) = (FeedbackKeys::parse(&format!("{A}\n{B}")).unwrap(), Instant::now());
        let door = Door::new(keys, 0.2, now);
        assert_eq!(door.enter(b"who?", now), Err(Barred::Unknown));
        assert_eq!(
            (0..3).map(|_| door.enter(A.as_bytes(), now)).collect::<Vec<_>>(),
            [Ok(()), Ok(()), Err(Barred::TooFast)]
        );
        assert_eq!(door.enter(B.as_bytes(), now), Ok(()));
        assert_eq!(door.enter(A.as_bytes(), now + Duration::from_secs(5)), Ok(()));
        assert_eq!(door.enter(A.as_bytes(), now + Duration::from_secs(5)), Err(Barred::TooFast));
    }
}
