//! The life of a neuron, from funds to incentive.

use glia_chain_client::{AxonAnnouncement, Metagraph};

use crate::world::{TAO, VISION, World, alice, key};

#[tokio::test(flavor = "multi_thread")]
async fn an_expert_with_weight_on_it_earns_incentive() {
    let world = World::new().await;
    let chain = &world.chain;
    assert!(chain.is_development());
    assert!(chain.subnet_exists(VISION).await.unwrap());
    let (coldkey, expert, router) = (key(1), key(2), key(3));

    // Only the coldkey has funds: the calls of hotkeys are free.
    chain.transfer(&alice(), coldkey.account(), 1_000 * TAO).await.unwrap();
    assert_eq!(chain.balance(coldkey.account()).await.unwrap(), 1_000 * TAO);

    // Registration costs what was asked.
    assert_eq!(chain.uid_of(VISION, expert.account()).await.unwrap(), None);
    assert_eq!(chain.owner(expert.account()).await.unwrap(), None);
    let cost = chain.burn_cost(VISION).await.unwrap();
    assert!(cost > 0);
    let (expert_uid, receipt) = chain.burned_register(&coldkey, VISION, expert.account()).await.unwrap();
    assert!(receipt.event("SubtensorModule", "NeuronRegistered").is_some());
    let left = chain.balance(coldkey.account()).await.unwrap();
    assert!(left < 1_000 * TAO, "{left}");
    let (router_uid, _) = chain.burned_register(&coldkey, VISION, router.account()).await.unwrap();
    assert_ne!(expert_uid, router_uid);
    assert_eq!(chain.uid_of(VISION, expert.account()).await.unwrap(), Some(expert_uid));
    assert_eq!(chain.owner(expert.account()).await.unwrap(), Some(coldkey.account()));

    // The endpoint is read back as it was announced.
    let axon = AxonAnnouncement { addr: "127.0.0.1:4242".parse().unwrap(), protocol: 4, version: 7 };
    chain.serve_axon(&expert, VISION, axon).await.unwrap();

    // Stake makes the router a validator at the next epoch.
    chain.add_stake(&coldkey, router.account(), VISION, 100 * TAO).await.unwrap();
    assert!(chain.stake(router.account(), VISION).await.unwrap() > 0);
    let graph = until(&world, |graph| graph.neurons[usize::from(router_uid)].validator_permit).await;
    let neuron = graph.neuron_of(&expert.account()).unwrap();
    assert_eq!(neuron.uid, expert_uid);
    assert_eq!(neuron.coldkey, coldkey.account());
    let seen = neuron.axon.unwrap();
    assert_eq!((seen.addr, seen.protocol, seen.version), (axon.addr, 4, 7));
    assert!(graph.neuron_of(&router.account()).unwrap().stake > 0);
    assert_eq!(graph.tempo, 5);

    // Weights are scaled, kept, and become incentive.
    chain.set_weights(&router, VISION, &[(expert_uid, 10)], 0).await.unwrap();
    assert_eq!(chain.weights(VISION, router_uid).await.unwrap(), [(expert_uid, u16::MAX)]);
    let graph = until(&world, |graph| graph.neurons[usize::from(expert_uid)].incentive > 0).await;
    let router_neuron = &graph.neurons[usize::from(router_uid)];
    assert_eq!(router_neuron.weights, [(expert_uid, u16::MAX)]);
    assert!(router_neuron.dividends > 0);
    assert_eq!(chain.balance(router.account()).await.unwrap(), 0);
    assert!(graph.epoch_index > 0 && graph.last_epoch_block <= graph.block);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_a_subnet_are_those_of_its_genesis() {
    let world = World::new().await;
    let settings = world.chain.hyperparameters(VISION).await.unwrap();
    assert_eq!(settings.tempo, 5);
    assert!(!settings.commit_reveal_enabled);
    assert!(settings.registration_allowed);
    assert_eq!(settings.max_allowed_uids, 256);
    // The owner's hotkey.
    assert_eq!(settings.neurons, 1);
    // Reads can be made from a task of their own.
    let chain = world.chain.clone();
    let graph = tokio::spawn(async move { chain.metagraph(VISION).await });
    let graph = graph.await.unwrap().unwrap();
    assert_eq!(graph.neurons.len(), 1);
    let block = world.chain.block_number().await.unwrap();
    let due = world.chain.next_epoch_block(VISION).await.unwrap().unwrap();
    assert!(due > block && due <= block + 6, "{due} after {block}");
    world.node.stop().await;
}

/// Looks at each epoch until the metagraph is as wanted.
async fn until(world: &World, wanted: impl Fn(&Metagraph) -> bool) -> Metagraph {
    for _ in 0..8 {
        let graph = world.chain.metagraph(VISION).await.unwrap();
        if wanted(&graph) {
            return graph;
        }
        let due = world.chain.next_epoch_block(VISION).await.unwrap().unwrap();
        world.chain.wait_for_block(due).await.unwrap();
    }
    panic!("not after eight epochs: {:?}", world.chain.metagraph(VISION).await);
}
