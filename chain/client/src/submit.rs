//! From a call to a finalized block, exactly once.
//!
//! ```text
//! sign ─▶ send ─▶ follow ─▶ receipt
//!  ▲       │        │
//!  └───────┴─ check ┘   (after a broken connection or a lost transaction)
//! ```
//!
//! A call whose fate is unknown is never signed anew before it is certain that the first signature can
//! no longer take effect: its nonce was used by another transaction, or its era is over.

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

/// Blocks a signature stays valid for.
const ERA: u64 = 64;
/// How often a call is signed anew when other transactions of the account take its nonce.
const SIGNATURES: u32 = 8;
/// Between two looks at the chain while the fate of a transaction is unknown.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A signed transaction on its way.
struct Signed {
    bytes: Vec<u8>,
    hash: H256,
    nonce: u64,
    /// The finalized block it was signed at; it can be in no earlier block.
    anchor: u64,
    /// Blocks up to this one were searched in vain.
    searched: u64,
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
    /// See [`SubmitError`]. After [`SubmitError::Deadline`] the call may still take effect.
    ///
    /// # Cancel safety
    /// Dropping the future does not take back a transaction already handed over.
    pub async fn submit(&self, call: &Call, signer: &Keypair) -> Result<Receipt, SubmitError> {
        let after = self.inner.options.submit_deadline;
        let deadline = Instant::now() + after;
        let mut state = "not yet handed over".to_owned();
        match timeout_at(deadline, self.drive(call, signer, deadline, &mut state)).await {
            Ok(done) => done,
            Err(_) => {
                self.current().suspect();
                Err(SubmitError::Deadline { after, state })
            }
        }
    }

    async fn drive(
        &self,
        call: &Call,
        signer: &Keypair,
        deadline: Instant,
        state: &mut String,
    ) -> Result<Receipt, SubmitError> {
        let mut session = self.session(deadline).await.map_err(ReadError::from)?;
        for _ in 0..SIGNATURES {
            // The lane is held while the next nonce is known but not yet taken.
            let lane = self.lane(signer.account());
            let turn = lane.acquire().await.ok();
            let signed = match sign(&session, call, signer).await {
                Err(SubmitError::Read(error)) if error.is_broken() => {
                    session = self.renew(&session, deadline).await?;
                    sign(&session, call, signer).await?
                }
                other => other?,
            };
            let mut signed = signed;
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
                    Ok(Fate::Void) => break,
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
async fn sign(session: &Arc<Session>, call: &Call, signer: &Keypair) -> Result<Signed, SubmitError> {
    let account = AccountId32::from(signer.account());
    let (view, nonce) =
        futures::join!(View::finalized(Arc::clone(session)), session.methods.system_account_next_index(&account));
    let view = view?;
    let nonce = nonce.map_err(|error| session.failed(error))?;
    let bad = |reason: String| SubmitError::BadCall { pallet: call.pallet.clone(), call: call.name.clone(), reason };
    let payload = subxt::dynamic::tx(call.pallet.clone(), call.name.clone(), Composite::<()>::Named(call.args.clone()));
    let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(nonce)
        .mortal_from_unchecked(ERA, view.number, view.hash)
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
        anchor: view.number,
        searched: view.number,
    })
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
    let last = view.number.min(signed.anchor.saturating_add(ERA));
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
    if nonce_at(&view, signer.account()).await? > signed.nonce || view.number >= signed.anchor.saturating_add(ERA) {
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
    fn a_stale_nonce_is_worth_another_look() {
        for (code, reason) in
            [(1010, "Transaction is outdated"), (1013, "Already Imported"), (1014, "Priority is too low")]
        {
            assert!(matches!(refused(code, reason, None), Ok(Handed::Unclear(_))));
        }
    }
}
