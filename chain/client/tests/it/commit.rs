//! Weights in two steps against the real pallet.

use glia_chain_client::{SubmitError, commit_hash};
use serde_json::json;

use crate::world::{TAO, VISION, World, alice, key};

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_revealed_in_the_epoch_after_their_commit_and_only_there() {
    let world = World::with(json!({"tempo": 12, "commitReveal": true, "weightsSetRateLimit": 0})).await;
    let chain = &world.chain;
    let router = key(3);
    let (uid, _) = chain.burned_register(&alice(), VISION, router.account()).await.unwrap();
    let (expert, _) = chain.burned_register(&alice(), VISION, key(2).account()).await.unwrap();
    chain.add_stake(&alice(), router.account(), VISION, 100 * TAO).await.unwrap();
    assert!(chain.hyperparameters(VISION).await.unwrap().commit_reveal_enabled);
    assert!(chain.commits(VISION, router.account()).await.unwrap().is_empty());
    let refused = |error: &SubmitError, name: &str| {
        assert!(matches!(error, SubmitError::Refused { reason, .. } if reason.contains(name)), "{error}");
    };

    // An epoch gives the permit; plain weights are refused all the same.
    let next = chain.next_epoch_block(VISION).await.unwrap().unwrap();
    chain.wait_for_block(next + 1).await.unwrap();
    assert!(chain.set_weights(&router, VISION, &[(expert, 7)], 0).await.is_err());

    let (weights, salt) = ([(expert, 65_535)], [1, 2, 3]);
    let hash = commit_hash(router.account(), VISION, 0, &weights, &salt, 5);
    let receipt = chain.commit_weights(&router, VISION, hash).await.unwrap();
    let open = chain.commits(VISION, router.account()).await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].hash, open[0].block), (hash, receipt.block_number));
    let early = chain.reveal_weights(&router, VISION, &weights, &salt, 5).await.unwrap_err();
    refused(&early, "CommitBlockNotInRevealRange");

    while chain.metagraph(VISION).await.unwrap().epoch_index <= open[0].epoch {
        let next = chain.next_epoch_block(VISION).await.unwrap().unwrap();
        chain.wait_for_block(next).await.unwrap();
    }
    let other = chain.reveal_weights(&router, VISION, &[(expert, 65_534)], &salt, 5).await.unwrap_err();
    refused(&other, "CommitNotFound");
    chain.reveal_weights(&router, VISION, &weights, &salt, 5).await.unwrap();
    assert_eq!(chain.weights(VISION, uid).await.unwrap(), weights);
    assert!(chain.commits(VISION, router.account()).await.unwrap().is_empty());
    world.node.stop().await;
}
