//! The caller's side of fetching a checkpoint: piece by piece, capped before memory is taken, and believed only when
//! the whole has the right hash.

use std::time::Duration;

use bytes::Bytes;
use glia_protocol::forward::{Message, Refusal};
use glia_protocol::limits::MAX_CHUNK;
use glia_protocol::transfer::{CheckpointChunk, CheckpointRequest};
use glia_protocol::{ContentHash, RequestId, SubnetName};
use rand::RngCore as _;
use tokio::time::{Instant, sleep, timeout_at};

use super::client::Link;
use crate::errors::{FetchError, ForwardError};

/// Shortest and longest wait after a refusal for want of room.
const WAIT: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(2)];

/// Which file is wanted, and how much of it at most.
pub(super) struct Wanted<'a> {
    pub(super) subnet: &'a SubnetName,
    pub(super) checkpoint: ContentHash,
    pub(super) max_bytes: u64,
}

/// Fetches the file; see [`crate::Network::fetch_checkpoint`].
///
/// # Cancel safety
/// Cancel safe: dropping the future resets the open stream and gives back what was fetched.
pub(super) async fn fetch(link: Link<'_>, wanted: Wanted<'_>, deadline: Duration) -> Result<Bytes, FetchError> {
    let end = Instant::now() + deadline;
    timeout_at(end, file(&link, &wanted, end)).await.unwrap_or(Err(FetchError::Timeout))
}

/// All pieces, one after the other.
///
/// # Cancel safety
/// Cancel safe.
async fn file(link: &Link<'_>, wanted: &Wanted<'_>, end: Instant) -> Result<Bytes, FetchError> {
    let first = piece(link, wanted, 0, wanted.max_bytes, end).await?;
    let total = first.total;
    if total > wanted.max_bytes {
        return Err(FetchError::TooLarge { got: total, max: wanted.max_bytes });
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&first.bytes);
    let whole = if first.bytes.len() as u64 == total {
        first.bytes
    } else {
        // Bounded by `max_bytes`, and touched only as pieces arrive.
        let mut whole = Vec::with_capacity(usize::try_from(total).unwrap_or_default());
        whole.extend_from_slice(&first.bytes);
        drop(first);
        while (whole.len() as u64) < total {
            let offset = whole.len() as u64;
            let chunk = piece(link, wanted, offset, total - offset, end).await?;
            if chunk.total != total {
                return Err(FetchError::Protocol("the file changes its length".to_owned()));
            }
            hasher.update(&chunk.bytes);
            whole.extend_from_slice(&chunk.bytes);
        }
        whole.into()
    };
    let got = ContentHash(*hasher.finalize().as_bytes());
    if got == wanted.checkpoint { Ok(whole) } else { Err(FetchError::WrongContent { want: wanted.checkpoint, got }) }
}

/// One piece of at most `left` bytes. A peer that is busy is asked again when it says, as long as there is time.
///
/// # Cancel safety
/// Cancel safe: dropping the future resets the open stream.
async fn piece(
    link: &Link<'_>,
    wanted: &Wanted<'_>,
    offset: u64,
    left: u64,
    end: Instant,
) -> Result<CheckpointChunk, FetchError> {
    let length = left.clamp(1, MAX_CHUNK as u64) as u32;
    loop {
        let id = new_id();
        let (subnet, checkpoint) = (wanted.subnet.clone(), wanted.checkpoint);
        let asked = CheckpointRequest { id, subnet, checkpoint, offset, length };
        match link.ask(id, length as usize, || Message::from(asked.clone())).await {
            Ok(Message::CheckpointChunk(chunk)) if asked.is_answered_by(&chunk) => return Ok(chunk),
            Ok(_) => return Err(FetchError::Protocol("the answer is not the piece that was asked for".to_owned())),
            Err(ForwardError::Refused(Refusal::Busy { retry_after_ms })) => {
                let wait = Duration::from_millis(retry_after_ms.into()).clamp(WAIT[0], WAIT[1]);
                if Instant::now() + wait >= end {
                    return Err(FetchError::Refused(Refusal::Busy { retry_after_ms }));
                }
                sleep(wait).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn new_id() -> RequestId {
    let mut id = [0; 16];
    rand::rng().fill_bytes(&mut id);
    RequestId(id)
}
