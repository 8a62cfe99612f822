//! From a call to a finalized block, exactly once.
//!
//! ```text
//! sign ─▶ send ─▶ follow ─▶ receipt
//!  ▲       │        │
//!  └───────┴─ check ┘   (after a broken connection or a lost transaction)
//! ```
//!
//! A call whose fate is unknown is never signed anew before it is certain that the first signature can
//! no longer take effect: its nonce was used by another transaction, or its era is over. For the same reason a
//! deadline that passes while a signature is still good is reported only once its era is over; eras are chosen short
//! enough to end within the deadline.

use std::sync::Arc;
use std::time::Duration;

use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::config::substrate::SubstrateConfig;
use subxt::ext::scale_value::Composite;
use subxt::rpcs::client::RpcSubscription;
use subxt::rpcs::methods::legacy::TransactionStatus;
use subxt::utils::{AccountId32, H256};
use tokio::time::{Instant, sleep, timeout_at};

use crate::call::{Call, Receipt};
use crate::chain::Chain;
use crate::error::{ReadError, SubmitError};
use crate::keypair::Keypair;
use crate::reads::nonce_at;
use crate::receipt::read_receipt;
use crate::session::Session;
use crate::view::View;

/// The fewest blocks a signature stays valid for: finality may lag by some of them.
const SHORTEST_ERA: u64 = 8;
/// The most blocks a signature stays valid for.
const LONGEST_ERA: u64 = 256;
/// How much longer than planned an era may take when blocks are late, before its end is waited for no longer.
const LATE: Duration = Duration::from_secs(10);
/// How often a call is signed anew when other transactions of the account take its nonce.
const SIGNATURES: u32 = 8;
/// Between two looks at the chain while the fate of a transaction is unknown.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A signed transaction on its way.
#[derive(Clone)]
struct Signed {
    bytes: Vec<u8>,
    hash: H256,
    nonce: u64,
    /// Blocks up to this one were searched in vain; at first the finalized block it was signed at.
    searched: u64,
    /// The first block it can not be in any more.
    dead: u64,
    /// When that block is due, with some patience.
    over: Instant,
}

/// What is known of a call under way, kept outside so that it outlives the deadline.
struct Attempt {
    state: String,
    /// The signature that may still take effect.
    open: Option<Signed>,
}

type Progress = RpcSubscription<TransactionStatus<H256>>;

/// What became of a transaction when it was handed over.
enum Handed {
    Watching(Progress),
    /// The pool (or a block) has it already, or its nonce is taken.
    Unclear(String),
}

/// What became of a transaction whose fate was unknown.
enum Fate {
    Included(H256),
    /// It can never take effect any more.
    Void,
    /// Still open; the nonce is free, so it may be handed over again.
    Open,
}

impl Chain {
    /// Signs and sends a call and waits until it is in a finalized block and succeeded.
    ///
    /// Any number of calls may run at the same time, of one account or many.
    ///
    /// # Errors
    /// See [`SubmitError`]. A failed call never took effect and can not any more, unless [`SubmitError::Deadline`] says
    /// otherwise: when the deadline passes, this waits until the chain no longer accepts the signature.
    ///
    /// # Cancel safety
    /// Dropping the future does not take back a transaction already handed over.
    pub async fn submit(&self, call: &Call, signer: &Keypair) -> Result<Receipt, SubmitError> {
        let after = self.inner.options.submit_deadline;
        let deadline = Instant::now() + after;
        let mut attempt = Attempt { state: "not yet handed over".to_owned(), open: None };
        let failed = match timeout_at(deadline, self.drive(call, signer, deadline, &mut attempt)).await {
            // The chain could not be asked any more; the transaction may be on its way all the same.
            Ok(Err(error @ SubmitError::Read(_))) => error,
            Ok(done) => return done,
            Err(_) => {
                self.current().suspect();
                SubmitError::Deadline { after, state: attempt.state, open_until: None }
            }
        };
        let Some(mut signed) = attempt.open else {
            return Err(failed);
        };
        let over = signed.over.max(deadline);
        match timeout_at(over, self.settle(&mut signed, signer, over)).await {
            Ok(Ok(Some(done))) => done,
            Ok(Ok(None)) => Err(failed),
            Ok(Err(_)) | Err(_) => {
                let state = match failed {
                    SubmitError::Deadline { state, .. } => state,
                    other => other.to_string(),
                };
                Err(SubmitError::Deadline { after, state, open_until: Some(signed.dead.saturating_sub(1)) })
            }
        }
    }

    /// Waits until a signature is in a block, and tells with what effect, or is void (`None`).
    async fn settle(
        &self,
        signed: &mut Signed,
        signer: &Keypair,
        over: Instant,
    ) -> Result<Option<Result<Receipt, SubmitError>>, ReadError> {
        let mut session = self.session(over).await?;
        loop {
            match fate(&session, signed, signer).await {
                Ok(Fate::Included(block)) => {
                    return Ok(Some(self.receipt(&session, block, signed, over).await));
                }
                Ok(Fate::Void) => return Ok(None),
                Ok(Fate::Open) => sleep(LOOK_AGAIN).await,
                Err(error) if error.is_broken() => session = self.reconnect_until(&session, over).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn drive(
        &self,
        call: &Call,
        signer: &Keypair,
        deadline: Instant,
        attempt: &mut Attempt,
    ) -> Result<Receipt, SubmitError> {
        let Attempt { state, open } = attempt;
        let after = self.inner.options.submit_deadline;
        let mut session = self.session(deadline).await.map_err(ReadError::from)?;
        for _ in 0..SIGNATURES {
            // The lane is held while the next nonce is known but not yet taken.
            let lane = self.lane(signer.account());
            let turn = lane.acquire().await.ok();
            let signed = match sign(&session, call, signer, after).await {
                Err(SubmitError::Read(error)) if error.is_broken() => {
                    session = self.renew(&session, deadline).await?;
                    sign(&session, call, signer, after).await?
                }
                other => other?,
            };
            let mut signed = signed;
            *open = Some(signed.clone());
            let mut handed = hand_over(&session, &signed).await;
            drop(turn);

            // Until this signature has an outcome or is void.
            loop {
                let trouble = match handed {
                    Ok(Handed::Watching(progress)) => {
                        "the pool has it".clone_into(state);
                        match follow(&session, progress, state).await {
                            Ok(block) => return self.receipt(&session, block, &signed, deadline).await,
                            Err(trouble) => trouble,
                        }
                    }
                    Ok(Handed::Unclear(reason)) => reason,
                    Err(SubmitError::Read(error)) if error.is_broken() => {
                        session = self.renew(&session, deadline).await?;
                        error.to_string()
                    }
                    Err(error) => return Err(error),
                };
                tracing::debug!(hash = ?signed.hash, trouble, "looking for a transaction on chain");
                *state = trouble;
                match fate(&session, &mut signed, signer).await {
                    Ok(Fate::Included(block)) => {
                        return self.receipt(&session, block, &signed, deadline).await;
                    }
                    Ok(Fate::Void) => {
                        *open = None;
                        break;
                    }
                    Ok(Fate::Open) => sleep(LOOK_AGAIN).await,
                    Err(error) if error.is_broken() => {
                        session = self.renew(&session, deadline).await?;
                    }
                    Err(error) => return Err(error.into()),
                }
                // The same bytes: they can take effect once only.
                handed = hand_over(&session, &signed).await;
            }
        }
        Err(SubmitError::NonceContention(SIGNATURES))
    }

    async fn renew(&self, broken: &Session, deadline: Instant) -> Result<Arc<Session>, SubmitError> {
        Ok(self.reconnect_until(broken, deadline).await.map_err(ReadError::from)?)
    }

    async fn receipt(
        &self,
        session: &Arc<Session>,
        block: H256,
        signed: &Signed,
        deadline: Instant,
    ) -> Result<Receipt, SubmitError> {
        let mut session = Arc::clone(session);
        loop {
            match read_receipt(&session, block, signed.hash).await {
                Err(SubmitError::Read(error)) if error.is_broken() => {
                    session = self.renew(&session, deadline).await?;
                }
                done => return done,
            }
        }
    }
}

/// Signs with the account's next nonce, the pool's transactions counted in.
async fn sign(
    session: &Arc<Session>,
    call: &Call,
    signer: &Keypair,
    deadline: Duration,
) -> Result<Signed, SubmitError> {
    let account = AccountId32::from(signer.account());
    let (view, nonce) =
        futures::join!(View::finalized(Arc::clone(session)), session.methods.system_account_next_index(&account));
    let view = view?;
    let nonce = nonce.map_err(|error| session.failed(error))?;
    let bad = |reason: String| SubmitError::BadCall { pallet: call.pallet.clone(), call: call.name.clone(), reason };
    let payload = subxt::dynamic::tx(call.pallet.clone(), call.name.clone(), Composite::<()>::Named(call.args.clone()));
    let block_time = view.runtime.block_time;
    let era = era(deadline, block_time);
    let takes = block_time.saturating_mul(u32::try_from(era).unwrap_or(u32::MAX));
    let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(nonce)
        .mortal_from_unchecked(era, view.number, view.hash)
        .build();
    let transaction = view
        .runtime
        .offline
        .tx()
        .create_signable_offline(&payload, params)
        .and_then(|mut signable| signable.sign(signer.signer()))
        .map_err(|error| bad(error.to_string()))?;
    Ok(Signed {
        hash: transaction.hash(),
        bytes: transaction.into_encoded(),
        nonce,
        searched: view.number,
        dead: view.number.saturating_add(era),
        over: Instant::now() + takes + takes / 2 + LATE,
    })
}

/// For how many blocks to sign: as many as pass within the deadline, in the powers of two that can be written.
fn era(deadline: Duration, block_time: Duration) -> u64 {
    let blocks = deadline.as_millis() / block_time.as_millis().max(1);
    let blocks = u64::try_from(blocks).unwrap_or(u64::MAX).clamp(SHORTEST_ERA, LONGEST_ERA);
    1 << blocks.ilog2()
}

async fn hand_over(session: &Session, signed: &Signed) -> Result<Handed, SubmitError> {
    let watched = session.methods.author_submit_and_watch_extrinsic(&signed.bytes).await;
    match watched.map_err(|error| session.failed(error)) {
        Ok(progress) => Ok(Handed::Watching(progress)),
        Err(ReadError::Refused { code, message, detail }) => refused(code, &message, detail),
        Err(error) => Err(error.into()),
    }
}

/// Sorts a refusal by the pool: about this nonce (worth another look at the chain), or about the call.
fn refused(code: i32, message: &str, detail: Option<String>) -> Result<Handed, SubmitError> {
    let reason = detail.unwrap_or_else(|| message.to_owned());
    match code {
        // 1012 banned for a while (it was in a block already), 1013 already imported, 1014 another has the nonce.
        1012..=1014 => Ok(Handed::Unclear(reason)),
        1010 if reason.contains("outdated") || reason.contains("ancient birth") => Ok(Handed::Unclear(reason)),
        _ => {
            let custom = custom_code(&reason);
            Err(SubmitError::Refused {
                code,
                reason: custom
                    .and_then(custom_name)
                    .map_or_else(|| reason.clone(), |name| format!("{name} ({reason})")),
                custom,
            })
        }
    }
}

/// The number in "Custom error: 6".
fn custom_code(reason: &str) -> Option<u8> {
    let digits: String = reason.split_once("Custom error: ")?.1.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// What Subtensor means by `InvalidTransaction::Custom(code)`.
const fn custom_name(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "ColdkeyInSwapSchedule",
        1 => "StakeAmountTooLow",
        2 => "BalanceTooLow",
        3 => "SubnetNotExists",
        4 => "HotkeyAccountDoesntExist",
        5 => "NotEnoughStakeToWithdraw",
        6 => "RateLimitExceeded",
        7 => "InsufficientLiquidity",
        8 => "SlippageTooHigh",
        9 => "TransferDisallowed",
        10 => "HotKeyNotRegisteredInNetwork",
        11 => "InvalidIpAddress",
        12 => "ServingRateLimitExceeded",
        13 => "InvalidPort",
        14 => "ZeroMaxAmount",
        15 => "InvalidRevealRound",
        16 => "CommitNotFound",
        17 => "CommitBlockNotInRevealRange",
        18 => "InputLengthsUnequal",
        19 => "UidNotFound",
        255 => "BadRequest",
        _ => return None,
    })
}

/// Waits for finality; an error is what went wrong, in words.
async fn follow(session: &Session, mut progress: Progress, state: &mut String) -> Result<H256, String> {
    while let Some(status) = progress.next().await {
        match status {
            Ok(TransactionStatus::Finalized(block)) => return Ok(block),
            Ok(TransactionStatus::InBlock(block)) => *state = format!("in block {block:?}"),
            Ok(TransactionStatus::Retracted(_)) => "its block was retracted".clone_into(state),
            Ok(TransactionStatus::Future) => {
                "waiting for an earlier transaction of the account".clone_into(state);
            }
            Ok(TransactionStatus::Ready | TransactionStatus::Broadcast(_)) => {
                "waiting for a block".clone_into(state);
            }
            Ok(TransactionStatus::Usurped(_)) => {
                return Err("another transaction took its nonce".to_owned());
            }
            Ok(TransactionStatus::Dropped) => return Err("the pool dropped it".to_owned()),
            Ok(TransactionStatus::Invalid) => return Err("the pool found it invalid".to_owned()),
            Ok(TransactionStatus::FinalityTimeout(_)) => {
                return Err("its block was not finalized".to_owned());
            }
            Err(error) => return Err(session.failed(error).to_string()),
        }
    }
    Err("the node ended the subscription".to_owned())
}

/// Looks for a transaction in the finalized blocks since it was signed.
async fn fate(session: &Arc<Session>, signed: &mut Signed, signer: &Keypair) -> Result<Fate, ReadError> {
    use subxt::config::Hasher as _;

    let view = View::finalized(Arc::clone(session)).await?;
    let last = view.number.min(signed.dead);
    while signed.searched < last {
        let number = signed.searched + 1;
        let missing = || ReadError::NoSuchBlock(number.to_string());
        let hash = session
            .methods
            .chain_get_block_hash(Some(number.into()))
            .await
            .map_err(|error| session.failed(error))?
            .ok_or_else(missing)?;
        let block = session
            .methods
            .chain_get_block(Some(hash))
            .await
            .map_err(|error| session.failed(error))?
            .ok_or_else(missing)?;
        let hasher = view.runtime.offline.hasher();
        if block.block.extrinsics.iter().any(|extrinsic| hasher.hash(&extrinsic.0) == signed.hash) {
            return Ok(Fate::Included(hash));
        }
        signed.searched = number;
    }
    if nonce_at(&view, signer.account()).await? > signed.nonce || view.number >= signed.dead {
        return Ok(Fate::Void);
    }
    Ok(Fate::Open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_with_a_subtensor_code_is_named() {
        let Err(error) = refused(1010, "Invalid Transaction", Some("Custom error: 6".to_owned())) else {
            panic!("a custom code is a refusal");
        };
        assert_eq!(error.to_string(), "the chain refused the transaction: RateLimitExceeded (Custom error: 6)");
        assert!(matches!(error, SubmitError::Refused { custom: Some(6), .. }));
    }

    #[test]
    fn a_signature_is_void_by_the_deadline_where_blocks_are_quick_enough() {
        let of = |deadline, block| era(Duration::from_millis(deadline), Duration::from_millis(block));
        assert_eq!(of(120_000, 12_000), 8);
        assert_eq!(of(120_000, 2_000), 32);
        assert_eq!(of(120_000, 10), LONGEST_ERA);
        assert_eq!(of(120_000, 0), LONGEST_ERA);
        // Too short a deadline is made up for by waiting.
        assert_eq!(of(1, 12_000), SHORTEST_ERA);
    }

    #[test]
    fn a_stale_nonce_is_worth_another_look() {
        for (code, reason) in
            [(1010, "Transaction is outdated"), (1013, "Already Imported"), (1014, "Priority is too low")]
        {
            assert!(matches!(refused(code, reason, None), Ok(Handed::Unclear(_))));
        }
    }
}
