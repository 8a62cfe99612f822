//! The kinds of misbehaviour and how they are written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is no behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BehaviourError {
    /// There is no such kind.
    #[error(
        "{0:?} is no behaviour; choose noise, constant[:CLASS], collude[:SHIFT], copy, sleeper[:S], uniform, slow[:MS] \
         or crash[:N]"
    )]
    Unknown(String),
    /// The number after the colon cannot be used.
    #[error("{kind}:{got} cannot be used: {want}")]
    Number {
        /// The kind.
        kind: &'static str,
        /// What was given.
        got: String,
        /// What it must be.
        want: &'static str,
    },
}

/// How an expert misbehaves; the table of [`adversary`](crate::adversary) says what each means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// Random shares for each item.
    Noise,
    /// Always the same class.
    Constant {
        /// Which one, counted round the number of classes.
        class: u16,
    },
    /// The model's class, moved on: everyone who does this with a good model agrees.
    Collude {
        /// By how many classes, at least 1; where that comes round to the same class, by 1.
        shift: u16,
    },
    /// The model's answer, changed below visibility.
    Copy,
    /// Honest to what looks like a probe and at first, then colluding.
    Sleeper {
        /// How long it is honest to everybody.
        after: Duration,
    },
    /// Every class alike.
    Uniform,
    /// Honest but late.
    Slow {
        /// How late.
        delay: Duration,
    },
    /// Fails now and then, and ends for good after a while.
    Crash {
        /// One in so many requests fails.
        every: u32,
    },
}

impl Behaviour {
    /// One of each kind, with its usual number.
    pub const ALL: [Self; 8] = [
        Self::Noise,
        Self::Constant { class: 0 },
        Self::Collude { shift: 1 },
        Self::Copy,
        Self::Sleeper { after: super::SLEEP },
        Self::Uniform,
        Self::Slow { delay: Duration::from_millis(800) },
        Self::Crash { every: 20 },
    ];

    /// The kind without its number.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Constant { .. } => "constant",
            Self::Collude { .. } => "collude",
            Self::Copy => "copy",
            Self::Sleeper { .. } => "sleeper",
            Self::Uniform => "uniform",
            Self::Slow { .. } => "slow",
            Self::Crash { .. } => "crash",
        }
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Constant { class } => write!(f, "{kind}:{class}"),
            Self::Collude { shift } => write!(f, "{kind}:{shift}"),
            Self::Slow { delay } => write!(f, "{kind}:{}", delay.as_millis()),
            Self::Crash { every } => write!(f, "{kind}:{every}"),
            Self::Sleeper { after } => write!(f, "{kind}:{}", after.as_secs()),
            Self::Noise | Self::Copy | Self::Uniform => f.write_str(kind),
        }
    }
}

impl FromStr for Behaviour {
    type Err = BehaviourError;

    fn from_str(text: &str) -> Result<Self, BehaviourError> {
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, Some(number)),
            None => (text, None),
        };
        let unknown = || BehaviourError::Unknown(text.chars().take(64).collect());
        let usual = Self::ALL.into_iter().find(|usual| usual.kind() == kind).ok_or_else(unknown)?;
        let Some(number) = number else { return Ok(usual) };
        let refuse = |want| BehaviourError::Number { kind: usual.kind(), got: number.chars().take(32).collect(), want };
        match usual {
            Self::Constant { .. } => {
                let class = number.parse().map_err(|_| refuse("CLASS is a number from 0"))?;
                Ok(Self::Constant { class })
            }
            Self::Collude { .. } => match number.parse() {
                Ok(shift) if shift > 0 => Ok(Self::Collude { shift }),
                _ => Err(refuse("SHIFT is a number of classes from 1")),
            },
            Self::Slow { .. } => match number.parse::<u32>() {
                Ok(ms) if ms <= 600_000 => Ok(Self::Slow { delay: Duration::from_millis(u64::from(ms)) }),
                _ => Err(refuse("MS is a number of milliseconds up to 600000")),
            },
            Self::Crash { .. } => match number.parse() {
                Ok(every) if every > 0 => Ok(Self::Crash { every }),
                _ => Err(refuse("N is a number of requests from 1")),
            },
            Self::Sleeper { .. } => match number.parse::<u32>() {
                Ok(seconds) => Ok(Self::Sleeper { after: Duration::from_secs(u64::from(seconds)) }),
                Err(_) => Err(refuse("S is a number of seconds")),
            },
            Self::Noise | Self::Copy | Self::Uniform => Err(refuse("it takes no number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for behaviour in Behaviour::ALL {
            assert_eq!(behaviour.to_string().parse(), Ok(behaviour), "{behaviour}");
            assert_eq!(behaviour.kind().parse(), Ok(behaviour), "{behaviour} without its number");
        }
        assert_eq!("slow:50".parse(), Ok(Behaviour::Slow { delay: Duration::from_millis(50) }));
        assert_eq!("constant:19".parse(), Ok(Behaviour::Constant { class: 19 }));
    }

    #[test]
    fn a_sleeper_wakes_when_it_is_told() {
        assert_eq!("sleeper:5".parse(), Ok(Behaviour::Sleeper { after: Duration::from_secs(5) }));
        assert!("sleeper:soon".parse::<Behaviour>().unwrap_err().to_string().contains("seconds"));
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence() {
        for (text, says) in [
            ("lazy", "choose noise, constant[:CLASS]"),
            ("", "choose noise"),
            ("noise:3", "takes no number"),
            ("collude:0", "from 1"),
            ("constant:-1", "from 0"),
            ("slow:forever", "milliseconds"),
            ("slow:4000000000", "600000"),
            ("crash:0", "from 1"),
            ("crash:", "from 1"),
        ] {
            let error = text.parse::<Behaviour>().unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
