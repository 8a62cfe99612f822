//! Announcing the endpoint of a neuron.

use polkadot_sdk_frame::prelude::*;

use crate::types::{AxonInfo, NetUid};
use crate::*;

impl<T: Config> Pallet<T> {
    /// `serve_axon`.
    pub(crate) fn do_serve_axon(hotkey: &T::AccountId, netuid: NetUid, axon: AxonInfo) -> DispatchResult {
        Self::check_axon(hotkey, netuid, &axon)?;
        Axons::<T>::insert(netuid, hotkey, axon);
        Self::deposit_event(Event::AxonServed(netuid, hotkey.clone()));
        Ok(())
    }

    /// Every reason to refuse an announcement, in order.
    pub(crate) fn check_axon(hotkey: &T::AccountId, netuid: NetUid, axon: &AxonInfo) -> Result<(), Error<T>> {
        ensure!(Uids::<T>::contains_key(netuid, hotkey), Error::<T>::HotKeyNotRegisteredInNetwork);
        ensure!(matches!(axon.ip_type, 4 | 6), Error::<T>::InvalidIpType);
        ensure!(is_reachable(axon.ip_type, axon.ip, T::AllowLoopbackAxon::get()), Error::<T>::InvalidIpAddress);
        if let Some(last) = Axons::<T>::get(netuid, hotkey) {
            let passed = axon.block.saturating_sub(last.block);
            ensure!(
                last.block == 0 || passed >= ServingRateLimit::<T>::get(netuid),
                Error::<T>::ServingRateLimitExceeded
            );
        }
        ensure!(axon.port != 0, Error::<T>::InvalidPort);
        Ok(())
    }
}

/// Whether an address may be announced: in the range of its kind, not broadcast, and loopback only where allowed. Zero,
/// which withdraws an endpoint, is fine.
fn is_reachable(kind: u8, ip: u128, loopback: bool) -> bool {
    match kind {
        4 => match u32::try_from(ip) {
            Ok(v4) => v4 != u32::MAX && (loopback || v4 >> 24 != 127),
            Err(_) => false,
        },
        6 => ip != u128::MAX && (loopback || ip != 1),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_reachable;

    #[test]
    fn loopback_is_reachable_only_where_allowed() {
        for (kind, ip) in [(4, 0x7f00_0001), (4, 0x7fff_ffff), (6, 1)] {
            assert!(is_reachable(kind, ip, true));
            assert!(!is_reachable(kind, ip, false));
        }
    }

    #[test]
    fn broadcast_and_overlong_addresses_are_refused() {
        assert!(!is_reachable(4, 0xffff_ffff, true));
        assert!(!is_reachable(4, 1 << 32, true));
        assert!(!is_reachable(6, u128::MAX, true));
        assert!(!is_reachable(5, 0x0808_0808, true));
        assert!(is_reachable(4, 0x0808_0808, false));
        assert!(is_reachable(4, 0, false));
        assert!(is_reachable(6, 0x2001 << 112, false));
    }
}
