//! From keys to a neuron.

use glia_chain_client::{EnrolError, EnrolRequest, EnrolStep};

use crate::world::{TAO, VISION, World, alice, key};

#[tokio::test(flavor = "multi_thread")]
async fn enrolling_funds_registers_and_stakes_once() {
    let world = World::new().await;
    let chain = &world.chain;
    let (coldkey, hotkey) = (key(1), key(2));
    let request = EnrolRequest {
        netuid: VISION,
        hotkey: &hotkey,
        coldkey: &coldkey,
        stake: 50 * TAO,
        development_funds: true,
        wait_for_funds: false,
    };
    let mut steps = Vec::new();
    let enrolled = chain.enrol(request, |step| steps.push(step)).await.unwrap();
    assert_eq!(chain.uid_of(VISION, hotkey.account()).await.unwrap(), Some(enrolled.uid));
    assert!(matches!(
        steps[..],
        [EnrolStep::Funded { .. }, EnrolStep::Registered { .. }, EnrolStep::Staked { rao }] if rao == 50 * TAO
    ));
    let stake = chain.stake(hotkey.account(), VISION).await.unwrap();
    assert!(stake > 0);

    // Again: nothing is missing, so nothing is done.
    let again = chain.enrol(request, |step| panic!("{step:?}")).await.unwrap();
    assert_eq!(again, enrolled);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_funds_learns_which_address_needs_how_much() {
    let world = World::new().await;
    let chain = &world.chain;
    let (coldkey, hotkey) = (key(3), key(4));
    let mut request = EnrolRequest {
        netuid: VISION,
        hotkey: &hotkey,
        coldkey: &coldkey,
        stake: 0,
        development_funds: false,
        wait_for_funds: false,
    };
    let error = chain.enrol(request, |step| panic!("{step:?}")).await.unwrap_err();
    let EnrolError::NeedsFunds { coldkey: who, missing } = &error else { panic!("{error}") };
    assert_eq!(*who, coldkey.account());
    assert!(error.to_string().contains(&coldkey.account().to_string()), "{error}");

    // With patience it goes on as soon as they arrive.
    request.wait_for_funds = true;
    let (told, waiting) = tokio::sync::oneshot::channel();
    let mut told = Some(told);
    let pay = async {
        waiting.await.unwrap();
        chain.transfer(&alice(), coldkey.account(), *missing).await.unwrap();
    };
    let enrol = chain.enrol(request, |step| {
        if matches!(step, EnrolStep::WaitingForFunds { .. })
            && let Some(told) = told.take()
        {
            told.send(()).unwrap();
        }
    });
    let (enrolled, ()) = tokio::join!(enrol, pay);
    assert_eq!(chain.uid_of(VISION, hotkey.account()).await.unwrap(), Some(enrolled.unwrap().uid));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_hotkey_and_a_missing_subnet_are_refused_before_anything_is_paid() {
    let world = World::new().await;
    let chain = &world.chain;
    let (owner, stranger, hotkey) = (key(5), key(6), key(7));
    let of = |coldkey| EnrolRequest {
        netuid: VISION,
        hotkey: &hotkey,
        coldkey,
        stake: 0,
        development_funds: true,
        wait_for_funds: false,
    };
    chain.enrol(of(&owner), |_| {}).await.unwrap();
    let error = chain.enrol(of(&stranger), |step| panic!("{step:?}")).await.unwrap_err();
    assert!(matches!(error, EnrolError::AnotherOwner { .. }), "{error}");
    let nowhere = EnrolRequest { netuid: 77, ..of(&owner) };
    let error = chain.enrol(nowhere, |step| panic!("{step:?}")).await.unwrap_err();
    assert!(matches!(error, EnrolError::NoSuchSubnet(77)), "{error}");
    assert_eq!(chain.balance(stranger.account()).await.unwrap(), 0);
    world.node.stop().await;
}
