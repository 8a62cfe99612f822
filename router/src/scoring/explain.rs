//! Why a uid has the weight it has: everything the ledger holds of it, as data and as text.
//!
//! Numbers in the text are written out in full, so that whoever multiplies them gets the weight that was sent.

use std::fmt;

use glia_protocol::Hotkey;
use serde::{Deserialize, Serialize};

use super::ledger::{Basis, Hotkey58, Ledger, Row, Sent, Standing, Terms, WeightLine};

/// Rows of the past that are shown.
const SHOWN: usize = 10;

/// What is known of one uid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Subnet on chain.
    pub netuid: u16,
    /// The uid.
    pub uid: u16,
    /// Who holds it now; `None` when nobody does or the chain was not read yet.
    pub hotkey: Option<Hotkey58>,
    /// All of it in a sentence.
    pub summary: String,
    /// The row sent last, without its weights.
    pub sent: Option<SentRow>,
    /// Its weight in that row.
    pub line: Option<WeightLine>,
    /// Its standing now, which the next row will follow from.
    pub standing: Option<Standing>,
    /// Its weights in earlier rows, newest first.
    pub history: Vec<Past>,
    /// Blocks in which rows were committed to that are not revealed yet.
    pub unrevealed: Vec<u64>,
}

/// A row without its weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRow {
    /// Uid of the router.
    pub from: u16,
    /// Where the row is.
    pub at: Sent,
    /// Where its commit is, if it was committed to first.
    pub commit: Option<Sent>,
    /// Block of the epoch it was meant for.
    pub for_epoch: u64,
    /// `version_key` it was sent with.
    pub version_key: u64,
}

impl From<&Row> for SentRow {
    fn from(row: &Row) -> Self {
        Self {
            from: row.uid,
            at: Sent { block: row.block, extrinsic: row.extrinsic.clone() },
            commit: row.commit.clone(),
            for_epoch: row.for_epoch,
            version_key: row.version_key,
        }
    }
}

/// One weight of the past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// The row.
    pub sent: SentRow,
    /// Who held the uid.
    pub hotkey: Hotkey58,
    /// What was sent.
    pub weight: u16,
    /// Average usefulness behind it, nats per item.
    pub usefulness_ema: f64,
}

impl Explanation {
    /// What `ledger` of subnet `netuid` knows of `uid`.
    #[must_use]
    pub fn of(ledger: &Ledger, netuid: u16, uid: u16) -> Self {
        let last = ledger.last_row();
        let line = last.and_then(|row| row.weights.iter().find(|line| line.uid == uid)).cloned();
        let holder = ledger.holder(uid);
        let standing = holder.and_then(|holder| ledger.standing(&holder)).cloned();
        let past = ledger.history().rev().filter_map(|row| {
            let line = row.weights.iter().find(|line| line.uid == uid)?;
            let (weight, usefulness_ema) = (line.weight, line.usefulness_ema);
            Some(Past { sent: row.into(), hotkey: line.hotkey, weight, usefulness_ema })
        });
        let summary = summary(ledger, uid, holder, line.as_ref(), standing.as_ref());
        let commits = ledger.commits().iter();
        Self {
            netuid,
            uid,
            hotkey: holder.map(Hotkey58),
            summary,
            sent: last.map(SentRow::from),
            history: past.take(SHOWN).collect(),
            line,
            standing,
            unrevealed: commits.filter_map(|commit| Some(commit.row.commit.as_ref()?.block)).collect(),
        }
    }
}

fn summary(
    ledger: &Ledger,
    uid: u16,
    holder: Option<Hotkey>,
    line: Option<&WeightLine>,
    standing: Option<&Standing>,
) -> String {
    let Some(holder) = holder else {
        return if ledger.knows_uids() {
            format!("nobody is registered as uid {uid} in this subnet, so it has no weight")
        } else {
            "the router has not read the chain yet; ask again in a moment".to_owned()
        };
    };
    match (line, standing) {
        (Some(line), _) if line.hotkey.0 != holder => {
            format!(
                "uid {uid} changed hands: the last weight, {}, was {}'s; {holder} has none yet",
                line.weight, line.hotkey.0
            )
        }
        (Some(line), _) if line.weight == 0 && line.terms.is_none() => {
            format!("uid {uid} has weight 0: {}", line.reason)
        }
        (Some(line), _) => format!("uid {uid} ({}) has weight {} of 65535: it {}", line.name, line.weight, line.reason),
        (None, Some(standing)) if ledger.last_row().is_none() => {
            format!("no row was sent yet; of uid {uid} ({}) it is known that it {}", standing.name, standing.reason())
        }
        (None, Some(standing)) => {
            format!(
                "uid {uid} ({}) is not in the last row, which means weight 0: it {}",
                standing.name,
                standing.reason()
            )
        }
        (None, None) => format!(
            "uid {uid} is held by {holder}, and no expert of that hotkey answered anything this router scored: it has no weight"
        ),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary)?;
        if let Some(hotkey) = &self.hotkey {
            writeln!(f, "hotkey        {}", hotkey.0)?;
        }
        if let (Some(sent), Some(line)) = (&self.sent, &self.line) {
            if let Some(terms) = &line.terms {
                writeln!(f)?;
                write_terms(f, terms, line.weight)?;
            }
            writeln!(f)?;
            write_sent(f, sent)?;
        }
        for block in &self.unrevealed {
            writeln!(f, "a newer row   was committed to in block {block} and is revealed in a later epoch")?;
        }
        if self.history.len() > 1 {
            writeln!(f, "\nearlier rows")?;
            for past in &self.history[1..] {
                let (block, ema) = (past.sent.at.block, past.usefulness_ema);
                let other = if Some(past.hotkey) == self.hotkey { "" } else { "  (another hotkey)" };
                writeln!(f, "  block {block:>8}  weight {:>5}  average {ema:.4} nats{other}", past.weight)?;
            }
        }
        Ok(())
    }
}

/// The terms from what was measured down to the weight.
fn write_terms(f: &mut fmt::Formatter<'_>, terms: &Terms, weight: u16) -> fmt::Result {
    let (items, basis) = match terms.basis {
        Basis::Labels => (terms.items, "labelled"),
        Basis::Agreement => (terms.items, "unlabelled (experts compared with each other)"),
    };
    writeln!(f, "items         scored on {} of {items} {basis}", terms.scored)?;
    writeln!(f, "Shapley       {:+.6} nats on average where it answered", terms.shapley_mean)?;
    writeln!(
        f,
        "propensity    {:+.6} nats per item of the epoch, corrected for how rarely it was asked",
        terms.corrected
    )?;
    for share in &terms.shares {
        let checkpoint = &share.checkpoint[..share.checkpoint.len().min(12)];
        let earliest = share.members.first().map(|first| first.0.to_string()).unwrap_or_default();
        let alone = share.members.len() == 1;
        let with = if alone {
            "nobody else answers alike".to_owned()
        } else {
            format!("{} answer alike, {earliest} the earliest (block {})", share.members.len(), share.since)
        };
        writeln!(f, "cluster       {checkpoint}: {with}")?;
        writeln!(f, "share         {} · {} = {} nats per item", share.cluster, share.fraction, share.value)?;
    }
    writeln!(
        f,
        "average       (1 − {rate}) · {} + {rate} · {} = {} nats per item",
        terms.before,
        terms.last,
        terms.ema,
        rate = terms.rate
    )?;
    writeln!(f, "clamp         max({}, 0) = {}", terms.ema, terms.ema.max(0.0))?;
    writeln!(
        f,
        "worth         {} · {}^{} (credibility) · {} (availability) = {}",
        terms.ema.max(0.0),
        terms.credibility,
        terms.power,
        terms.availability,
        terms.worth
    )?;
    if terms.limited != terms.worth {
        writeln!(f, "limit         lowered to {}, the most the subnet lets one uid have", terms.limited)?;
    }
    writeln!(f, "weight        round({} / {} · 65535) = {weight}", terms.limited, terms.largest)
}

fn write_sent(f: &mut fmt::Formatter<'_>, sent: &SentRow) -> fmt::Result {
    let of = |at: &Sent| match at.extrinsic.as_str() {
        "" => format!("block {}, found in storage", at.block),
        hash => format!("block {}, extrinsic {hash}", at.block),
    };
    if let Some(commit) = &sent.commit {
        writeln!(f, "committed     {}", of(commit))?;
    }
    let verb = if sent.commit.is_some() { "revealed" } else { "sent" };
    writeln!(f, "{verb:<14}{}, by uid {} for the epoch of block {}", of(&sent.at), sent.from, sent.for_epoch)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use glia_protocol::{ContentHash, PeerId};

    use super::*;
    use crate::expert::ExpertKey;
    use crate::scoring::share::{Rules, incomes};
    use crate::scoring::tally::Tally;
    use crate::scoring::weights::scale;

    fn hotkey(n: u8) -> Hotkey {
        Hotkey([n; 32])
    }

    /// Three epochs of experts 1 to 4, of which 3 copies 1 and 4 harms; 5 is no expert, 6 answered nothing.
    fn ledger(folder: &std::path::Path) -> Ledger {
        let mut ledger = Ledger::open(folder, 1, "00").unwrap();
        for epoch in 0..3 {
            let mut tally = Tally { items: 97, mass: 97.0, looks: 7, ..Tally::default() };
            for (n, value) in [(1, 31.7), (2, 20.3 + f64::from(epoch)), (3, 30.1), (4, -5.0)] {
                let key = ExpertKey { peer: PeerId([n; 32]), checkpoint: ContentHash([n; 32]) };
                tally.enter(hotkey(n), &format!("expert-{n}"), key, value, 41);
            }
            let present = if epoch == 2 { 5 } else { 7 };
            tally.experts.get_mut(&hotkey(2)).unwrap().present = present;
            [1, 3, 4].iter().for_each(|n| tally.experts.get_mut(&hotkey(*n)).unwrap().present = 7);
            let odd = |key: &ExpertKey| key.peer.0[0] % 2 == 1;
            let rules = Rules { alike: &|a, b| odd(a) && odd(b), committed: &|who, _| u64::from(who.0[0]), now: 777 };
            ledger.close_epoch(&tally, &incomes(&tally, &rules), Basis::Labels, 0.25, |_| true);
        }
        let uids: Vec<(u16, Hotkey)> = (1..=5).map(|n| (u16::from(n), hotkey(n))).collect();
        ledger.see_uids(uids.iter().copied().chain([(6, hotkey(6))]));
        let row = |block, weights| Row {
            netuid: 1,
            hotkey: Hotkey58(hotkey(99)),
            uid: 0,
            block,
            extrinsic: "0xabcd".to_owned(),
            version_key: 1,
            for_epoch: block + 2,
            commit: Some(Sent { block: block - 5, extrinsic: "0x1234".to_owned() }),
            weights,
        };
        let credibility = |who: &Hotkey| if *who == hotkey(2) { 0.83 } else { 0.97 };
        ledger.record(row(20, ledger.row(&uids[..2], credibility, 1, u16::MAX)));
        ledger.record(row(40, ledger.row(&uids, credibility, 5, u16::MAX)));
        ledger
    }

    /// The numbers of the line that begins with `label`.
    fn numbers(text: &str, label: &str) -> Vec<f64> {
        let line = text.lines().find(|line| line.starts_with(label)).unwrap_or_else(|| panic!("no {label} in {text}"));
        let split = |c: char| !(c.is_ascii_digit() || c == '.' || c == 'e' || c == '-');
        line.split(split).filter_map(|word| word.parse().ok()).collect()
    }

    #[test]
    fn the_printed_numbers_multiply_to_the_weight_that_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        for uid in [1, 2, 3] {
            let explanation = Explanation::of(&ledger, 1, uid);
            let text = explanation.to_string();
            let sent = explanation.line.as_ref().unwrap().weight;
            let [_, rate, before, again, last, ema] = numbers(&text, "average")[..] else {
                panic!("{:?} in {text}", numbers(&text, "average"))
            };
            assert_eq!(rate, again);
            assert_eq!((1.0 - rate) * before + rate * last, ema);
            let shares: f64 = numbers(&text, "share")[2];
            assert_eq!(shares, last);
            let [clamped, credibility, power, availability, worth] = numbers(&text, "worth")[..] else {
                panic!("{text}")
            };
            assert_eq!(clamped, ema);
            assert_eq!(clamped * credibility.powf(power) * availability, worth);
            let [limited, largest, _, weight] = numbers(&text, "weight")[..] else { panic!("{text}") };
            assert_eq!(limited, worth);
            assert_eq!((scale(limited, largest), weight), (sent, f64::from(sent)));
            assert!(sent > 0);
        }
        let text = Explanation::of(&ledger, 1, 3).to_string();
        assert!(text.contains("2 answer alike") && text.contains(&hotkey(1).to_string()), "{text}");
        assert!(text.contains("committed     block 35, extrinsic 0x1234"), "{text}");
        assert!(Explanation::of(&ledger, 1, 1).to_string().contains("block       20  weight"));
    }

    #[test]
    fn the_weight_still_follows_from_what_came_through_json_and_the_ledgers_file() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        ledger.save().unwrap();
        let again = Ledger::open(folder.path(), 1, "00").unwrap();
        assert_eq!(again.last_row().unwrap().pairs(), ledger.last_row().unwrap().pairs());
        for uid in 1..=4 {
            let text = serde_json::to_string(&Explanation::of(&again, 1, uid)).unwrap();
            let line = serde_json::from_str::<Explanation>(&text).unwrap().line.unwrap();
            let terms = line.terms.unwrap();
            // The last digit of a number may change on the way; the weight does not.
            assert_eq!(scale(terms.limited, terms.largest), line.weight);
            let shares: f64 = terms.shares.iter().map(|share| share.cluster * share.fraction).sum();
            let ema = (1.0 - terms.rate) * terms.before + terms.rate * shares;
            let worth = ema.max(0.0) * terms.credibility.powf(terms.power) * terms.availability;
            assert_eq!(scale(worth, terms.largest), line.weight);
        }
    }

    #[test]
    fn who_has_no_weight_gets_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        let says: BTreeMap<u16, String> =
            [4, 5, 6, 7].iter().map(|uid| (*uid, Explanation::of(&ledger, 1, *uid).to_string())).collect();
        assert!(says[&4].contains("has weight 0") && says[&4].contains("did not help"), "{}", says[&4]);
        assert!(says[&5].contains("no expert here"), "{}", says[&5]);
        assert!(says[&6].contains("no expert of that hotkey"), "{}", says[&6]);
        assert!(says[&7].contains("nobody is registered as uid 7"), "{}", says[&7]);
        let fresh = Ledger::open(folder.path(), 2, "00").unwrap();
        assert!(Explanation::of(&fresh, 2, 7).to_string().contains("not read the chain yet"));
    }

    #[test]
    fn a_uid_that_changed_hands_is_not_explained_by_its_predecessor() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(folder.path());
        ledger.see_uids([(1, hotkey(50))]);
        let explanation = Explanation::of(&ledger, 1, 1);
        assert!(explanation.summary.contains("changed hands"), "{}", explanation.summary);
        assert!(explanation.to_string().contains("(another hotkey)"));
    }
}
