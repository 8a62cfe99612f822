//! Announcing endpoints.

use polkadot_sdk_frame::testing_prelude::*;

use crate::mock::*;
use crate::*;

fn serve(hotkey: &AccountId, ip: u128, port: u16, kind: u8) -> DispatchResult {
    SubtensorModule::serve_axon(by(hotkey), NET, 1, ip, port, kind, 4, 0, 0)
}

#[test]
fn an_announcement_is_stored_and_limited() {
    chain().execute_with(|| {
        let (hotkey, _) = neuron(1);
        assert_ok!(serve(&hotkey, 0x7f00_0001, 9000, 4));
        let axon = Axons::<Test>::get(NET, &hotkey).unwrap();
        assert_eq!((axon.ip, axon.port, axon.ip_type, axon.block), (0x7f00_0001, 9000, 4, 1));
        assert_noop!(serve(&hotkey, 0x7f00_0001, 9001, 4), Error::<Test>::ServingRateLimitExceeded);
        run_blocks(5);
        assert_ok!(serve(&hotkey, 1, 9001, 6));
    });
}

#[test]
fn announcements_are_refused_for_the_first_reason_that_holds() {
    chain().execute_with(|| {
        assert_noop!(serve(&account(101), 0, 0, 9), Error::<Test>::HotKeyNotRegisteredInNetwork);
        let (hotkey, _) = neuron(1);
        assert_noop!(serve(&hotkey, 0, 0, 5), Error::<Test>::InvalidIpType);
        assert_noop!(serve(&hotkey, u128::from(u32::MAX), 0, 4), Error::<Test>::InvalidIpAddress);
        AllowLoopbackAxon::set(false);
        assert_noop!(serve(&hotkey, 0x7f00_0001, 9000, 4), Error::<Test>::InvalidIpAddress);
        assert_noop!(serve(&hotkey, 0x0808_0808, 0, 4), Error::<Test>::InvalidPort);
        assert_ok!(serve(&hotkey, 0x0808_0808, 80, 4));
    });
}
