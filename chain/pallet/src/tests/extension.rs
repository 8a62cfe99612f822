//! Free calls that would fail are refused before they enter a block.

use polkadot_sdk_frame::deps::sp_runtime::transaction_validity::TransactionValidityError;
use polkadot_sdk_frame::testing_prelude::*;

use crate::genesis::SubnetGenesis;
use crate::mock::*;
use crate::types::NetUid;
use crate::*;

/// The number of the refusal, if there is one.
fn refusal(signer: &AccountId, call: Call<Test>) -> Option<u8> {
    let call = RuntimeCall::SubtensorModule(call);
    let info = call.get_dispatch_info();
    let extension = SubtensorTransactionExtension::<Test>::new();
    match extension.validate_only(by(signer), &call, &info, 0, TransactionSource::External, 0) {
        Ok(_) => None,
        Err(TransactionValidityError::Invalid(InvalidTransaction::Custom(code))) => Some(code),
        Err(other) => panic!("{other:?}"),
    }
}

fn weights(netuid: NetUid, dests: &[u16]) -> Call<Test> {
    Call::set_weights { netuid, dests: dests.to_vec(), weights: vec![1; dests.len()], version_key: 0 }
}

fn serve(netuid: NetUid, port: u16) -> Call<Test> {
    Call::serve_axon {
        netuid,
        version: 1,
        ip: 0x7f00_0001,
        port,
        ip_type: 4,
        protocol: 4,
        placeholder1: 0,
        placeholder2: 0,
    }
}

#[test]
fn free_calls_that_would_fail_are_refused_by_their_public_numbers() {
    chain().execute_with(|| {
        let (hotkey, uid) = neuron(1);
        let stranger = account(150);
        let nowhere = NetUid(9);

        assert_eq!(refusal(&hotkey, weights(nowhere, &[0])), Some(3));
        assert_eq!(refusal(&stranger, weights(NET, &[0])), Some(10));
        assert_eq!(refusal(&hotkey, weights(NET, &[0])), Some(255), "no permit");
        assert_eq!(refusal(&hotkey, weights(NET, &[uid])), None);
        WeightsSetRateLimit::<Test>::insert(NET, 10);
        assert_eq!(refusal(&hotkey, weights(NET, &[uid])), Some(6));
        StakeThreshold::<Test>::put(5 * ONE);
        assert_eq!(refusal(&hotkey, weights(NET, &[uid])), Some(1));

        assert_eq!(refusal(&hotkey, serve(nowhere, 80)), Some(3));
        assert_eq!(refusal(&stranger, serve(NET, 80)), Some(10));
        assert_eq!(refusal(&hotkey, serve(NET, 0)), Some(13));
        assert_eq!(refusal(&hotkey, serve(NET, 80)), None);
        assert_ok!(RuntimeCall::SubtensorModule(serve(NET, 80)).dispatch(by(&hotkey)).map(|_| ()).map_err(|e| e.error));
        assert_eq!(refusal(&hotkey, serve(NET, 80)), Some(12));

        // Who pays for a call may let it fail.
        assert_eq!(refusal(&stranger, Call::burned_register { netuid: nowhere, hotkey: stranger.clone() }), None);
    });
}

#[test]
fn commits_and_reveals_are_refused_by_their_public_numbers() {
    chain_with(SubnetGenesis { commit_reveal: true, ..subnet() }).execute_with(|| {
        let (hotkey, uid) = neuron(1);
        let stranger = account(150);
        let commit = || Call::commit_weights { netuid: NET, commit_hash: H256::zero() };
        let reveal =
            || Call::reveal_weights { netuid: NET, uids: vec![uid], values: vec![1], salt: vec![7], version_key: 0 };
        assert_eq!(refusal(&hotkey, weights(NET, &[uid])), Some(255), "weights must be committed");
        assert_eq!(refusal(&stranger, commit()), Some(10));
        assert_eq!(refusal(&stranger, reveal()), Some(10));
        assert_eq!(refusal(&hotkey, reveal()), Some(16));
        assert_eq!(refusal(&hotkey, commit()), None);
        WeightsSetRateLimit::<Test>::insert(NET, 10);
        assert_eq!(refusal(&hotkey, commit()), Some(6));
    });
}
