//! What outlives a restart, as bytes: probe answers, corrections, the evidence of drift.
//!
//! ```text
//! "GLIAGATE" format header{chain, netuid, φ, features, classes} items{hash…} experts{…} blake3 of all before
//! ```
//!
//! Little-endian, counts before lists. A reader believes no count before it has looked whether so many bytes are there,
//! and no number that is not finite. A file of another chain, subnet, φ, task or format is not this router's past.

use std::sync::Arc;

use glia_protocol::{ContentHash, PeerId};
use half::f16;

use super::drift::Drift;
use super::online::{BOUND, Correction};
use crate::expert::ExpertKey;

const MAGIC: &[u8; 8] = b"GLIAGATE";
const FORMAT: u32 = 1;
/// A file is never larger than this, bytes.
pub const MAX_FILE: usize = 32 * 1024 * 1024;
/// Experts kept, the last seen first.
pub const MAX_EXPERTS: usize = 512;
/// Bytes of probe answers kept; with very many classes the answers of those not seen lately are left out.
const MAX_ROWS: usize = 24 * 1024 * 1024;
/// Bytes of the checksum.
const SUM: usize = 32;

/// Whose past it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Genesis hash of the chain, empty without one.
    pub chain: String,
    /// The subnet's number.
    pub netuid: u16,
    /// Hash of its φ.
    pub feature_map: ContentHash,
    /// Dimensions of φ.
    pub features: usize,
    /// Classes of the task.
    pub classes: usize,
}

/// One probability row per probe item, by place in [`Kept::items`].
pub type KeptRows = Vec<(u32, Arc<[f32]>)>;

/// What is kept of one expert.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptExpert {
    /// Who.
    pub key: ExpertKey,
    /// When it was seen last, milliseconds since the Unix epoch.
    pub seen_ms: u64,
    /// What traffic taught of it.
    pub correction: Correction,
    /// Evidence of drift.
    pub drift: Drift,
    /// What it answered to probes.
    pub rows: KeptRows,
}

/// What is kept of one subnet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kept {
    /// A hash of each probe item, so that answers are found again whatever the order of items.
    pub items: Vec<u64>,
    /// The experts.
    pub experts: Vec<KeptExpert>,
}

/// Why bytes are not this subnet's past.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not written by this software, or by another version of it.
    #[error("it is no gate of format {FORMAT}")]
    Format,
    /// Cut short or changed.
    #[error("it is damaged")]
    Damaged,
    /// Written for something else.
    #[error("it belongs to another chain, subnet, feature map or task")]
    Foreign,
}

/// Writes `kept`, the experts seen last first, as far as there is room.
#[must_use]
pub fn encode(header: &Header, kept: &Kept) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(FORMAT.to_le_bytes());
    put_header(&mut out, header);
    out.extend((kept.items.len() as u32).to_le_bytes());
    kept.items.iter().for_each(|item| out.extend(item.to_le_bytes()));
    let mut experts: Vec<&KeptExpert> = kept.experts.iter().collect();
    experts.sort_by_key(|expert| (std::cmp::Reverse(expert.seen_ms), expert.key));
    experts.truncate(MAX_EXPERTS);
    out.extend((experts.len() as u32).to_le_bytes());
    let mut room = MAX_ROWS;
    for expert in experts {
        put_expert(&mut out, header, expert, &mut room);
    }
    let sum = blake3::hash(&out);
    out.extend(sum.as_bytes());
    out
}

fn put_header(out: &mut Vec<u8>, header: &Header) {
    // A genesis hash is short text; the cut can only make a file foreign.
    let chain = &header.chain.as_bytes()[..header.chain.len().min(256)];
    out.extend((chain.len() as u16).to_le_bytes());
    out.extend(chain);
    out.extend(header.netuid.to_le_bytes());
    out.extend(header.feature_map.0);
    out.extend((header.features as u32).to_le_bytes());
    out.extend((header.classes as u32).to_le_bytes());
}

fn put_expert(out: &mut Vec<u8>, header: &Header, expert: &KeptExpert, room: &mut usize) {
    out.extend(expert.key.peer.0);
    out.extend(expert.key.checkpoint.0);
    out.extend(expert.seen_ms.to_le_bytes());
    let Correction { bias, slope, lessons } = &expert.correction;
    out.extend(lessons.to_le_bytes());
    out.extend(bias.to_le_bytes());
    let slope: &[f32] = if slope.len() == header.features { slope } else { &[] };
    out.extend((slope.len() as u32).to_le_bytes());
    slope.iter().for_each(|v| out.extend(v.to_le_bytes()));
    let Drift { stake, gap, gain, evidence, doubted, strikes, calm } = expert.drift;
    [stake, gap, gain, evidence].iter().for_each(|v| out.extend(v.to_le_bytes()));
    out.push(u8::from(doubted.is_some()));
    [doubted.unwrap_or(0), strikes, calm].iter().for_each(|v| out.extend(v.to_le_bytes()));
    let rows = expert.rows.iter().filter(|(_, row)| row.len() == header.classes);
    let size = 4 + 2 * header.classes;
    let count = rows.clone().count();
    let fits = count.saturating_mul(size) <= *room;
    let count = if fits { count } else { 0 };
    *room -= count * size;
    out.extend((count as u32).to_le_bytes());
    for (item, row) in rows.take(count) {
        out.extend(item.to_le_bytes());
        row.iter().for_each(|p| out.extend(f16::from_f32(*p).to_le_bytes()));
    }
}

/// Reads what [`encode`] wrote for the same `header`.
///
/// # Errors
/// [`StoreError`] for anything else.
pub fn decode(header: &Header, bytes: &[u8]) -> Result<Kept, StoreError> {
    let format = FORMAT.to_le_bytes();
    if bytes.len() > MAX_FILE || !bytes.starts_with(MAGIC) || bytes.get(8..12) != Some(format.as_slice()) {
        return Err(StoreError::Format);
    }
    let (body, sum) = bytes.split_at_checked(bytes.len().saturating_sub(SUM)).ok_or(StoreError::Damaged)?;
    if blake3::hash(body).as_bytes().as_slice() != sum {
        return Err(StoreError::Damaged);
    }
    let mut ours = Vec::new();
    put_header(&mut ours, header);
    let mut reader = Reader(body.get(12..).ok_or(StoreError::Damaged)?);
    if reader.0.get(..ours.len()) != Some(ours.as_slice()) {
        return Err(StoreError::Foreign);
    }
    reader.take(ours.len())?;
    let items = reader.count(8)?;
    let items: Vec<u64> = (0..items).map(|_| reader.u64()).collect::<Result<_, _>>()?;
    // An expert without slope and rows has 117 bytes.
    let experts = reader.count(117)?;
    let experts = (0..experts).map(|_| expert(&mut reader, header, items.len())).collect::<Result<_, _>>()?;
    if reader.0.is_empty() { Ok(Kept { items, experts }) } else { Err(StoreError::Damaged) }
}

fn expert(reader: &mut Reader<'_>, header: &Header, items: usize) -> Result<KeptExpert, StoreError> {
    let key = ExpertKey { peer: PeerId(reader.array()?), checkpoint: ContentHash(reader.array()?) };
    let seen_ms = reader.u64()?;
    let lessons = reader.u32()?;
    let bias = reader.f32(BOUND)?;
    let slope = reader.count(4)?;
    if slope != 0 && slope != header.features {
        return Err(StoreError::Damaged);
    }
    let slope = (0..slope).map(|_| reader.f32(BOUND)).collect::<Result<_, _>>()?;
    let [stake, gap, gain, evidence] = [reader.f32(100.0)?, reader.f32(10.0)?, reader.f32(1e4)?, reader.f32(1e3)?];
    let is_doubted = reader.take(1)? != [0];
    let [answers, strikes, calm] = [reader.u32()?, reader.u32()?, reader.u32()?];
    let doubted = is_doubted.then_some(answers);
    let drift = Drift { stake: stake.max(0.0), gap, gain, evidence: evidence.max(0.0), doubted, strikes, calm };
    let rows = reader.count(4 + 2 * header.classes)?;
    let rows = (0..rows).map(|_| row(reader, header.classes, items)).collect::<Result<_, _>>()?;
    Ok(KeptExpert { key, seen_ms, correction: Correction { bias, slope, lessons }, drift, rows })
}

fn row(reader: &mut Reader<'_>, classes: usize, items: usize) -> Result<(u32, Arc<[f32]>), StoreError> {
    let item = reader.u32()?;
    let raw = reader.take(2 * classes)?;
    let mut row: Vec<f32> = raw.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect();
    let sum: f32 = row.iter().sum();
    if item as usize >= items || !row.iter().all(|p| (0.0..=1.0).contains(p)) || !(0.9..1.1).contains(&sum) {
        return Err(StoreError::Damaged);
    }
    row.iter_mut().for_each(|p| *p /= sum);
    Ok((item, row.into()))
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(StoreError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.take(N)?.try_into().map_err(|_| StoreError::Damaged)
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number between −`most` and `most`.
    fn f32(&mut self, most: f32) -> Result<f32, StoreError> {
        let value = f32::from_le_bytes(self.array()?);
        if value.is_finite() { Ok(value.clamp(-most, most)) } else { Err(StoreError::Damaged) }
    }

    /// A count of things of at least `each` bytes, all of which must still be there.
    fn count(&mut self, each: usize) -> Result<usize, StoreError> {
        let count = self.u32()? as usize;
        let fits = count.checked_mul(each.max(1)).is_some_and(|bytes| bytes <= self.0.len());
        if fits { Ok(count) } else { Err(StoreError::Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let feature_map = ContentHash([3; 32]);
        Header { chain: "0xabc".to_owned(), netuid: 7, feature_map, features: 3, classes: 4 }
    }

    fn kept(experts: u8) -> Kept {
        let expert = |n: u8| KeptExpert {
            key: ExpertKey { peer: PeerId([n; 32]), checkpoint: ContentHash([n; 32]) },
            seen_ms: 1_000 - u64::from(n),
            correction: Correction { bias: 0.5, slope: vec![0.1, -0.2, 0.3], lessons: 9 },
            drift: Drift { stake: 1.5, gap: 0.25, doubted: Some(4), strikes: 2, ..Drift::default() },
            rows: (0..3).map(|item| (item, Arc::from([0.5, 0.25, 0.125, 0.125]))).collect(),
        };
        Kept { items: vec![11, 22, 33], experts: (0..experts).map(expert).collect() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(decode(&header(), &encode(&header(), &kept(5))), Ok(kept(5)));
        assert_eq!(decode(&header(), &encode(&header(), &Kept::default())), Ok(Kept::default()));
    }

    #[test]
    fn anothers_past_is_refused() {
        let bytes = encode(&header(), &kept(2));
        let others = [
            Header { chain: "0xdef".to_owned(), ..header() },
            Header { netuid: 8, ..header() },
            Header { feature_map: ContentHash([4; 32]), ..header() },
            Header { classes: 5, ..header() },
            Header { features: 2, ..header() },
        ];
        for other in others {
            assert_eq!(decode(&other, &bytes), Err(StoreError::Foreign));
        }
        assert_eq!(decode(&header(), b"{}"), Err(StoreError::Format));
        let mut newer = bytes;
        newer[8] = 99;
        assert_eq!(decode(&header(), &newer), Err(StoreError::Format));
    }

    #[test]
    fn a_file_cut_or_changed_anywhere_is_refused() {
        let bytes = encode(&header(), &kept(2));
        for at in 0..bytes.len() {
            assert!(decode(&header(), &bytes[..at]).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert!(decode(&header(), &changed).is_err(), "changed at {at}");
        }
    }

    /// Bytes with a checksum that fits.
    fn sealed(mut body: Vec<u8>) -> Vec<u8> {
        let sum = blake3::hash(&body);
        body.extend(sum.as_bytes());
        body
    }

    #[test]
    fn lies_under_a_good_checksum_take_no_memory_and_bring_no_nonsense() {
        let good = encode(&header(), &kept(1));
        let body = &good[..good.len() - SUM];
        let mut start = Vec::new();
        put_header(&mut start, &header());
        let items_at = 12 + start.len();
        let mut huge = body.to_vec();
        huge[items_at..items_at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(decode(&header(), &sealed(huge)), Err(StoreError::Damaged));
        // The bias of the first expert, behind the items, the count, two ids, a time and the lessons.
        let bias_at = items_at + 4 + 3 * 8 + 4 + 64 + 8 + 4;
        let mut nan = body.to_vec();
        nan[bias_at..bias_at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(decode(&header(), &sealed(nan)), Err(StoreError::Damaged));
        let mut large = body.to_vec();
        large[bias_at..bias_at + 4].copy_from_slice(&1e9_f32.to_le_bytes());
        assert_eq!(decode(&header(), &sealed(large)).unwrap().experts[0].correction.bias, BOUND);
        let mut longer = body.to_vec();
        longer.push(0);
        assert_eq!(decode(&header(), &sealed(longer)), Err(StoreError::Damaged));
    }

    #[test]
    fn the_file_is_bounded_and_the_last_seen_are_kept() {
        let mut many = kept(1);
        many.experts = (0..MAX_EXPERTS as u32 + 50)
            .map(|n| {
                let mut peer = [0; 32];
                peer[..4].copy_from_slice(&n.to_le_bytes());
                let key = ExpertKey { peer: PeerId(peer), checkpoint: ContentHash([1; 32]) };
                KeptExpert { key, seen_ms: u64::from(n), ..many.experts[0].clone() }
            })
            .collect();
        let back = decode(&header(), &encode(&header(), &many)).unwrap();
        assert_eq!(back.experts.len(), MAX_EXPERTS);
        assert!(back.experts.iter().all(|expert| expert.seen_ms >= 50));
        let row: Arc<[f32]> = vec![1.0 / 4096.0; 4096].into();
        let wide = Header { classes: 4096, ..header() };
        let rows = (0..1024).map(|item| (item, Arc::clone(&row))).collect::<KeptRows>();
        let experts: Vec<_> =
            many.experts[..8].iter().map(|e| KeptExpert { rows: rows.clone(), ..e.clone() }).collect();
        let bytes = encode(&wide, &Kept { items: vec![0; 1024], experts });
        assert!(bytes.len() <= MAX_FILE);
        let back = decode(&wide, &bytes).unwrap();
        assert!(!back.experts[0].rows.is_empty() && back.experts[7].rows.is_empty());
    }
}
