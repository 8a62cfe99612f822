//! The book of audits of one subnet: who is credible, who is condemned, whose next answer is looked at; kept across restarts.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use glia_protocol::{ContentHash, Hotkey, PeerId};
use serde::{Deserialize, Serialize};

use super::judge::Verdict;
use super::record::{Account, EVIDENCE, Record, rate};
use super::text::display;
use crate::expert::ExpertKey;
use crate::scoring::ledger::Hotkey58;

/// Hotkeys that are remembered; more than a subnet has uids.
const MAX_ACCOUNTS: usize = 4096;
/// Experts that are remembered.
const MAX_RECORDS: usize = 8192;
/// A book file is never larger than this.
const MAX_FILE: u64 = 32 * 1024 * 1024;
/// Bytes of a name or reason that are kept.
const MAX_TEXT: usize = 512;
const FORMAT: u32 = 1;

/// Why a book of audits could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file system refused.
    #[error("the audits {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no book of audits.
    #[error("{path} is no book of audits of this version ({why}); move it away to begin a new one")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// One expert as the book has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(with = "display")]
    peer: PeerId,
    #[serde(with = "display")]
    checkpoint: ContentHash,
    hotkey: Hotkey58,
    record: Record,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    /// Genesis hash of the chain the hotkeys belong to; empty without a chain.
    chain: String,
    netuid: u16,
    accounts: BTreeMap<Hotkey58, Account>,
    experts: Vec<Entry>,
}

#[derive(Debug, Default)]
struct State {
    accounts: BTreeMap<Hotkey, Account>,
    experts: BTreeMap<ExpertKey, (Hotkey, Record)>,
}

/// Whom an audit is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The expert.
    pub key: ExpertKey,
    /// Who is paid for it.
    pub hotkey: Hotkey,
    /// Name for people.
    pub name: String,
}

/// One expert for people: its record and its hotkey's account.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The expert.
    pub key: ExpertKey,
    /// Its hotkey.
    pub hotkey: Hotkey,
    /// What audits found of it.
    pub record: Record,
    /// What audits found of its hotkey.
    pub account: Account,
    /// Share of its answers that is audited now.
    pub rate: f64,
}

/// The book of one subnet. Shared by requests, which only ask it, and by the worker, which writes.
#[derive(Debug)]
pub struct AuditBook {
    on: bool,
    path: PathBuf,
    chain: String,
    netuid: u16,
    penalty: Duration,
    state: Mutex<State>,
    /// Condemned hotkeys; while there are none, nobody waits for the lock to ask.
    condemned: AtomicUsize,
    dirty: AtomicBool,
    dropped: AtomicU64,
}

impl AuditBook {
    /// A book for a router that cannot audit: everybody is fully credible and nobody condemned.
    #[must_use]
    pub fn off() -> Self {
        Self::fresh(false, PathBuf::new(), 0, String::new(), Duration::ZERO)
    }

    fn fresh(on: bool, path: PathBuf, netuid: u16, chain: String, penalty: Duration) -> Self {
        Self {
            on,
            path,
            chain,
            netuid,
            penalty,
            state: Mutex::default(),
            condemned: AtomicUsize::new(0),
            dirty: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        }
    }

    /// Opens `audits-<netuid>.json` in `folder`, or begins a new book. One of another chain is put aside. The first
    /// failed audit of a hotkey condemns it for `penalty`.
    ///
    /// # Errors
    /// When the file cannot be read or is no book of audits.
    pub fn open(folder: &Path, netuid: u16, chain: &str, penalty: Duration) -> Result<Self, AuditError> {
        let path = folder.join(format!("audits-{netuid}.json"));
        let io = |source| AuditError::Io { path: path.clone(), source };
        let unreadable = |why: String| AuditError::Unreadable { path: path.clone(), why };
        std::fs::create_dir_all(folder).map_err(io)?;
        let book = Self::fresh(true, path.clone(), netuid, chain.to_owned(), penalty);
        let text = match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_FILE => return Err(unreadable(format!("it has {} bytes", meta.len()))),
            Ok(_) => std::fs::read(&path).map_err(io)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(book),
            Err(error) => return Err(io(error)),
        };
        let file: File = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if file.format != FORMAT || file.netuid != netuid {
            return Err(unreadable(format!("format {}, netuid {}", file.format, file.netuid)));
        }
        if file.chain != chain {
            tracing::info!(path = %path.display(), "the audits belong to another chain; they are put aside");
            std::fs::rename(&path, path.with_extension("other-chain.json")).map_err(io)?;
            return Ok(book);
        }
        let state = check(file).map_err(unreadable)?;
        book.condemned.store(state.condemned(), Ordering::Release);
        *book.lock() = state;
        Ok(book)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this router audits.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// How far the answers of a hotkey can be relied on, 0 to 1: 0 before the first audit, 1 where nobody audits. The
    /// ledger multiplies usefulness with its 2.5th power.
    #[must_use]
    pub fn credibility(&self, hotkey: &Hotkey) -> f64 {
        if !self.on {
            return 1.0;
        }
        self.lock().accounts.get(hotkey).map_or(0.0, |account| account.credibility)
    }

    /// Whether the expert's hotkey failed an audit and its penalty is not over: nothing is sent to it.
    #[must_use]
    pub fn is_condemned(&self, key: &ExpertKey) -> bool {
        if self.condemned.load(Ordering::Acquire) == 0 {
            return false;
        }
        let state = self.lock();
        state.experts.get(key).is_some_and(|(hotkey, _)| state.is_condemned(hotkey))
    }

    /// The same of all experts of a hotkey, known or not.
    #[must_use]
    pub fn condemns(&self, hotkey: &Hotkey) -> bool {
        self.condemned.load(Ordering::Acquire) > 0 && self.lock().is_condemned(hotkey)
    }

    /// Whether the next answer of an expert is audited; `chance` is uniform in 0..1.
    #[must_use]
    pub fn samples(&self, key: &ExpertKey, chance: f64) -> bool {
        self.on && chance < self.lock().rate(key)
    }

    /// Moves on by one verdict; whether the hotkey is condemned by it and was not before.
    pub fn record(&self, subject: &Subject, verdict: &Verdict, now_ms: u64) -> bool {
        let mut state = self.lock();
        state.make_room(&subject.key, &subject.hotkey);
        let (hotkey, record) = state.experts.entry(subject.key).or_insert_with(|| (subject.hotkey, Record::default()));
        *hotkey = subject.hotkey;
        record.name = cut(&subject.name);
        record.take(&cut_reason(verdict), now_ms);
        let account = state.accounts.entry(subject.hotkey).or_default();
        let condemned = account.take(verdict, now_ms, self.penalty);
        if condemned {
            // All its experts begin anew.
            state
                .experts
                .values_mut()
                .filter(|(of, _)| *of == subject.hotkey)
                .for_each(|(_, record)| record.streak = 0);
            self.condemned.store(state.condemned(), Ordering::Release);
        }
        drop(state);
        self.dirty.store(true, Ordering::Release);
        condemned
    }

    /// Remembers which file proves what a hotkey did.
    pub fn note_evidence(&self, hotkey: &Hotkey, file: String) {
        if let Some(account) = self.lock().accounts.get_mut(hotkey) {
            account.note(file);
        }
        self.dirty.store(true, Ordering::Release);
    }

    /// Ends the penalties that are over at `now_ms`; the hotkeys they end for.
    pub fn expire(&self, now_ms: u64) -> Vec<Hotkey> {
        if self.condemned.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut state = self.lock();
        let over = state.accounts.iter_mut().filter_map(|(hotkey, account)| account.expire(now_ms).then_some(*hotkey));
        let over: Vec<Hotkey> = over.collect();
        self.condemned.store(state.condemned(), Ordering::Release);
        drop(state);
        if !over.is_empty() {
            self.dirty.store(true, Ordering::Release);
        }
        over
    }

    /// Condemned hotkeys.
    #[must_use]
    pub fn condemned(&self) -> usize {
        self.condemned.load(Ordering::Acquire)
    }

    /// Answers that were to be audited but were not, because the queue was full or they were too large.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts an answer that was to be audited but was not.
    pub(super) fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Everybody audited so far, in the order of their keys.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let state = self.lock();
        let line = |(key, (hotkey, record)): (&ExpertKey, &(Hotkey, Record))| Line {
            key: *key,
            hotkey: *hotkey,
            record: record.clone(),
            account: state.accounts.get(hotkey).cloned().unwrap_or_default(),
            rate: rate(record.streak),
        };
        state.experts.iter().map(line).collect()
    }

    /// Whether something was recorded since the last save.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.on && self.dirty.load(Ordering::Acquire)
    }

    /// Writes the book; after a crash the file is the old or the new one, never half of either. Blocks.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self) -> Result<(), AuditError> {
        if !self.on {
            return Ok(());
        }
        let io = |source| AuditError::Io { path: self.path.clone(), source };
        self.dirty.store(false, Ordering::Release);
        let file = {
            let state = self.lock();
            let entry = |(key, (hotkey, record)): (&ExpertKey, &(Hotkey, Record))| Entry {
                peer: key.peer,
                checkpoint: key.checkpoint,
                hotkey: Hotkey58(*hotkey),
                record: record.clone(),
            };
            File {
                format: FORMAT,
                chain: self.chain.clone(),
                netuid: self.netuid,
                accounts: state.accounts.iter().map(|(hotkey, account)| (Hotkey58(*hotkey), account.clone())).collect(),
                experts: state.experts.iter().map(entry).collect(),
            }
        };
        let written = serde_json::to_vec_pretty(&file).map_err(std::io::Error::other).and_then(|text| {
            if text.len() as u64 > MAX_FILE {
                return Err(std::io::Error::other(format!("it would have {} bytes", text.len())));
            }
            write_atomically(&self.path, &text)
        });
        written.map_err(|source| {
            self.dirty.store(true, Ordering::Release);
            io(source)
        })
    }
}

/// Writes a file so that it is there completely or not at all.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    std::fs::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        // Without it the rename may be lost with the power; some file systems cannot do it.
        let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

impl State {
    fn rate(&self, key: &ExpertKey) -> f64 {
        rate(self.experts.get(key).map_or(0, |(_, record)| record.streak))
    }

    fn is_condemned(&self, hotkey: &Hotkey) -> bool {
        self.accounts.get(hotkey).is_some_and(|account| account.condemned_until_ms.is_some())
    }

    fn condemned(&self) -> usize {
        self.accounts.values().filter(|account| account.condemned_until_ms.is_some()).count()
    }

    /// Forgets whoever was audited longest ago, the condemned last, so that one more fits.
    fn make_room(&mut self, key: &ExpertKey, hotkey: &Hotkey) {
        if self.experts.len() >= MAX_RECORDS && !self.experts.contains_key(key) {
            let at = |(_, record): &(Hotkey, Record)| record.last.as_ref().map_or(0, |last| last.at_ms);
            let oldest = self.experts.iter().min_by_key(|(_, entry)| (self.is_condemned(&entry.0), at(entry)));
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.experts.remove(&oldest);
            }
        }
        if self.accounts.len() >= MAX_ACCOUNTS && !self.accounts.contains_key(hotkey) {
            let oldest = self.accounts.iter().min_by_key(|(_, a)| (a.condemned_until_ms.is_some(), a.last_ms));
            if let Some(oldest) = oldest.map(|(hotkey, _)| *hotkey) {
                self.accounts.remove(&oldest);
                self.experts.retain(|_, (hotkey, _)| *hotkey != oldest);
            }
        }
    }
}

/// Checks what a file says.
fn check(file: File) -> Result<State, String> {
    if file.accounts.len() > MAX_ACCOUNTS || file.experts.len() > MAX_RECORDS {
        return Err(format!("{} hotkeys and {} experts", file.accounts.len(), file.experts.len()));
    }
    for (hotkey, account) in &file.accounts {
        if !(0.0..=1.0).contains(&account.credibility) {
            return Err(format!("credibility {} of {}", account.credibility, hotkey.0));
        }
        if account.evidence.len() > EVIDENCE || account.evidence.iter().any(|name| name.len() > MAX_TEXT) {
            return Err(format!("the evidence of {}", hotkey.0));
        }
    }
    let too_long = |entry: &Entry| {
        let reason = entry.record.last.as_ref().map_or(0, |last| last.reason.len().max(last.result.len()));
        entry.record.name.len().max(reason) > MAX_TEXT
    };
    if let Some(entry) = file.experts.iter().find(|entry| too_long(entry)) {
        return Err(format!("a text of {} is too long", entry.peer));
    }
    let key = |entry: &Entry| ExpertKey { peer: entry.peer, checkpoint: entry.checkpoint };
    Ok(State {
        accounts: file.accounts.into_iter().map(|(hotkey, account)| (hotkey.0, account)).collect(),
        experts: file.experts.into_iter().map(|entry| (key(&entry), (entry.hotkey.0, entry.record))).collect(),
    })
}

/// The beginning of a text, at most [`MAX_TEXT`] bytes.
fn cut(text: &str) -> String {
    let end = (0..=text.len().min(MAX_TEXT)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text[..end].to_owned()
}

fn cut_reason(verdict: &Verdict) -> Verdict {
    match verdict {
        Verdict::Failed(why) => Verdict::Failed(cut(why)),
        Verdict::Unchecked(why) => Verdict::Unchecked(cut(why)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn subject(n: u8, checkpoint: u8) -> Subject {
        let key = ExpertKey { peer: PeerId([n; 32]), checkpoint: ContentHash([checkpoint; 32]) };
        Subject { key, hotkey: Hotkey([n; 32]), name: format!("expert-{n}") }
    }

    fn book(folder: &Path) -> AuditBook {
        AuditBook::open(folder, 1, "00", HOUR).unwrap()
    }

    #[test]
    fn the_book_survives_a_restart_with_its_condemned() {
        let folder = tempfile::tempdir().unwrap();
        let first = book(folder.path());
        (0..12).for_each(|n| assert!(!first.record(&subject(1, 1), &Verdict::Verified, n)));
        assert!(first.record(&subject(2, 2), &Verdict::Failed("x".repeat(10_000)), 5));
        first.note_evidence(&Hotkey([2; 32]), "1-5-ab.json".into());
        assert!(first.is_dirty());
        first.save().unwrap();
        assert!(!first.is_dirty());
        let again = book(folder.path());
        assert_eq!(again.lines(), first.lines());
        assert!(again.credibility(&Hotkey([1; 32])) > 0.8);
        assert!(again.is_condemned(&subject(2, 2).key) && again.condemns(&Hotkey([2; 32])));
        assert!(!again.is_condemned(&subject(1, 1).key));
        assert!(!again.samples(&subject(1, 1).key, 0.5) && again.samples(&subject(2, 2).key, 0.999));
        assert_eq!(again.expire(u64::MAX), [Hotkey([2; 32])]);
        assert!(!again.is_condemned(&subject(2, 2).key) && again.condemned() == 0);
    }

    #[test]
    fn a_new_checkpoint_begins_anew_but_does_not_leave_its_hotkeys_guilt_behind() {
        let folder = tempfile::tempdir().unwrap();
        let book = book(folder.path());
        (0..20).for_each(|n| assert!(!book.record(&subject(1, 1), &Verdict::Verified, n)));
        assert!(!book.samples(&subject(1, 1).key, 0.5) && book.samples(&subject(1, 2).key, 0.5));
        book.record(&subject(1, 2), &Verdict::Failed("lied".into()), 30);
        assert!(book.is_condemned(&subject(1, 1).key) && book.condemns(&Hotkey([1; 32])));
        assert_eq!(book.credibility(&Hotkey([1; 32])), 0.0);
        book.expire(u64::MAX);
        assert!(book.samples(&subject(1, 1).key, 0.5), "its other expert is audited from the beginning too");
    }

    #[test]
    fn broken_books_are_named_and_those_of_other_chains_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audits-1.json");
        for text in [
            "{",
            "{}",
            &format!(
                "{{\"format\":1,\"chain\":\"00\",\"netuid\":1,\"experts\":[],\"accounts\":{{\"{}\":{{\"credibility\":7.0,\"audits\":0,\"failures\":0,\"strikes\":0,\"clean\":0,\"condemned_until_ms\":null,\"last_ms\":0,\"evidence\":[]}}}}}}",
                Hotkey([1; 32])
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = AuditBook::open(folder.path(), 1, "00", HOUR).unwrap_err().to_string();
            assert!(error.contains("audits-1.json") && error.contains("move it away"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let first = book(folder.path());
        first.record(&subject(1, 1), &Verdict::Verified, 1);
        first.save().unwrap();
        assert!(AuditBook::open(folder.path(), 1, "11", HOUR).unwrap().lines().is_empty());
        assert!(folder.path().join("audits-1.other-chain.json").exists());
    }

    #[test]
    fn the_book_is_bounded_and_forgets_the_condemned_last() {
        let folder = tempfile::tempdir().unwrap();
        let book = book(folder.path());
        book.record(&subject(1, 1), &Verdict::Failed("lied".into()), 0);
        for n in 0..(MAX_ACCOUNTS as u32 + 10) {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_le_bytes());
            id[31] = 9;
            let key = ExpertKey { peer: PeerId(id), checkpoint: ContentHash(id) };
            book.record(&Subject { key, hotkey: Hotkey(id), name: String::new() }, &Verdict::Signed, 1 + u64::from(n));
        }
        assert_eq!(book.lines().len(), MAX_ACCOUNTS);
        assert!(book.is_condemned(&subject(1, 1).key));
    }

    #[test]
    fn without_audits_everybody_is_credible() {
        let off = AuditBook::off();
        assert_eq!(off.credibility(&Hotkey([1; 32])), 1.0);
        assert!(!off.samples(&subject(1, 1).key, 0.0) && !off.condemns(&Hotkey([1; 32])) && !off.is_dirty());
        off.save().unwrap();
    }
}
