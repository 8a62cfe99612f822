//! Room for pieces of checkpoints on their way out: few at once, fewer for one peer, and each place at a bounded rate.
//! So audits never take what forwards need, and nobody's audits take what others' need.

use std::sync::Arc;
use std::time::Duration;

use glia_protocol::forward::Message;
use glia_protocol::limits::MAX_CHECKPOINT;
use glia_protocol::transfer::{CheckpointChunk, CheckpointRequest};
use glia_protocol::{PeerId, Refusal, frame};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout};

use super::server::ForwardHandler;
use super::shares::{Share, Shares};
use super::wire::Sender;
use crate::config::Limits;

/// Bytes that one place hands out in a second. The 16 places of the default make 64 MiB/s, two of one peer 8 MiB/s.
const RATE: u64 = 4 * 1024 * 1024;
/// Longest a caller may take to receive a piece.
const WRITE: Duration = Duration::from_secs(10);
/// When a place will likely be free.
const RETRY_MS: u32 = 100;

/// Places for pieces.
#[derive(Debug)]
pub(super) struct Handout {
    places: Semaphore,
    shares: Shares,
}

/// A piece on its way.
#[derive(Debug)]
pub(super) struct Place<'a> {
    since: Instant,
    _place: SemaphorePermit<'a>,
    _share: Share<'a>,
}

impl Handout {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { places: Semaphore::new(limits.checkpoint_chunks), shares: Shares::of(limits.checkpoint_chunks, 0) }
    }

    /// A place for `peer`; `None` when all are taken, or as many by this peer as one may hold.
    pub(super) fn enter(&self, peer: PeerId) -> Option<Place<'_>> {
        let place = self.places.try_acquire().ok()?;
        Some(Place { since: Instant::now(), _place: place, _share: self.shares.enter(peer)? })
    }

    /// Answers `request` of `peer` with a piece of what `handler` hands out, or a refusal, behind all forwards of the
    /// connection; then rests as long as the rate asks. The piece shares the file's memory.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future resets the stream and gives back the place.
    pub(super) async fn send(
        &self,
        peer: PeerId,
        handler: Option<Arc<dyn ForwardHandler>>,
        request: CheckpointRequest,
        mut sender: Sender,
    ) {
        let place = self.enter(peer);
        let piece = match place {
            Some(_) => piece(peer, handler, &request),
            None => Err(Refusal::Busy { retry_after_ms: RETRY_MS }),
        };
        let sent = piece.as_ref().map_or(0, |chunk| chunk.bytes.len());
        let message = piece.map_or_else(|refusal| Message::Refusal { id: request.id, refusal }, Message::from);
        let Ok(encoded) = frame::encode(&message) else { return };
        sender.give_way();
        if let Ok(Err(e)) = timeout(WRITE, sender.send(encoded)).await {
            tracing::debug!(%peer, error = %e, "the piece was not taken");
        }
        // Who does not take the piece in time loses it: the stream is reset.
        drop(sender);
        if let Some(place) = place {
            sleep_until(place.until(sent)).await;
        }
    }
}

fn piece(
    peer: PeerId,
    handler: Option<Arc<dyn ForwardHandler>>,
    request: &CheckpointRequest,
) -> Result<CheckpointChunk, Refusal> {
    let file = handler.and_then(|handler| handler.checkpoint(peer, &request.subnet, request.checkpoint));
    let file = file.ok_or(Refusal::UnknownExpert)?;
    if file.is_empty() || file.len() > MAX_CHECKPOINT {
        tracing::warn!(bytes = file.len(), "a published checkpoint has no size that may travel");
        return Err(Refusal::UnknownExpert);
    }
    request.answer(&file).ok_or_else(|| Refusal::TooLarge(format!("the file has {} bytes", file.len())))
}

impl Place<'_> {
    /// Until when the place stays taken after a piece of `bytes`: that is what bounds the rate.
    pub(super) fn until(&self, bytes: usize) -> Instant {
        self.since + Duration::from_micros(bytes as u64 * 1_000_000 / RATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEDY: PeerId = PeerId([1; 32]);
    const OTHER: PeerId = PeerId([2; 32]);

    #[tokio::test]
    async fn one_peer_gets_an_eighth_of_the_places_and_gives_them_back() {
        let handout = Handout::new(&Limits { checkpoint_chunks: 16, ..Limits::default() });
        let first = handout.enter(GREEDY).unwrap();
        let _second = handout.enter(GREEDY).unwrap();
        assert!(handout.enter(GREEDY).is_none());
        assert!(handout.enter(OTHER).is_some(), "a refusal takes no place");
        drop(first);
        assert!(handout.enter(GREEDY).is_some());
    }

    #[tokio::test]
    async fn all_peers_together_get_no_more_than_all_places() {
        let handout = Handout::new(&Limits { checkpoint_chunks: 2, ..Limits::default() });
        let _held: Vec<_> = [GREEDY, OTHER].map(|peer| handout.enter(peer).unwrap()).into();
        assert!(handout.enter(PeerId([3; 32])).is_none());
    }

    #[tokio::test]
    async fn a_place_rests_as_long_as_its_bytes_take_at_the_rate() {
        let handout = Handout::new(&Limits::default());
        let place = handout.enter(GREEDY).unwrap();
        assert_eq!(place.until(1024 * 1024) - place.since, Duration::from_millis(250));
        assert_eq!(place.until(0), place.since);
    }
}
