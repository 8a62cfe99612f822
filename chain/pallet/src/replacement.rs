//! Replacing a neuron of a full subnet: who goes, and what the newcomer must not inherit.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::types::NetUid;
use crate::*;

/// What decides who goes: the smallest (emission, registration block, uid).
type Rank = (u64, u64, u16);

impl<T: Config> Pallet<T> {
    /// The uid a newcomer of a full subnet replaces: the one that earns least among the unprotected, or among the protected when too
    /// few unprotected would remain.
    pub fn uid_to_replace(netuid: NetUid) -> Option<u16> {
        let now = Self::now();
        let immunity = u64::from(ImmunityPeriod::<T>::get(netuid));
        let emission = Emission::<T>::get(netuid);
        let safe = Self::owner_immune_uids(netuid);
        let (mut open, mut immune): (Vec<Rank>, Vec<Rank>) = (Vec::new(), Vec::new());
        for uid in (0..SubnetworkN::<T>::get(netuid)).filter(|uid| !safe.contains(uid)) {
            let registered = BlockAtRegistration::<T>::get(netuid, uid);
            let earned = emission.get(usize::from(uid)).map_or(0, |amount| amount.0);
            let protected = now.saturating_sub(registered) < immunity;
            let list = if protected { &mut immune } else { &mut open };
            list.push((earned, registered, uid));
        }
        let enough_open = open.len() > usize::from(MinNonImmuneUids::<T>::get(netuid));
        let list = if enough_open { open } else { immune };
        list.into_iter().min().map(|(_, _, uid)| uid)
    }

    /// Uids of the subnet owner that cannot be replaced: the owner hotkey, then the owner's other hotkeys, oldest first.
    fn owner_immune_uids(netuid: NetUid) -> BTreeSet<u16> {
        let owner_hotkey = SubnetOwnerHotkey::<T>::get(netuid);
        let mut owned: Vec<(bool, u64, u16)> = OwnedHotkeys::<T>::get(SubnetOwner::<T>::get(netuid))
            .into_iter()
            .chain([owner_hotkey.clone()])
            .filter_map(|hotkey| {
                let uid = Uids::<T>::get(netuid, &hotkey)?;
                Some((hotkey != owner_hotkey, BlockAtRegistration::<T>::get(netuid, uid), uid))
            })
            .collect();
        owned.sort_unstable();
        owned.dedup();
        let limit = usize::from(ImmuneOwnerUidsLimit::<T>::get(netuid));
        owned.into_iter().take(limit).map(|(_, _, uid)| uid).collect()
    }

    /// Gives a uid to another hotkey; nothing the old one earned, owed or was given stays with the uid.
    pub(crate) fn replace_neuron(netuid: NetUid, uid: u16, hotkey: &T::AccountId, now: u64) {
        let index = netuid.index(0);
        let old = Keys::<T>::get(netuid, uid);
        Uids::<T>::remove(netuid, &old);
        IsNetworkMember::<T>::remove(&old, netuid);
        Axons::<T>::remove(netuid, &old);
        WeightCommits::<T>::remove(index, &old);
        Weights::<T>::remove(index, uid);
        Bonds::<T>::remove(index, uid);
        for other in (0..SubnetworkN::<T>::get(netuid)).filter(|other| *other != uid) {
            let mut row = Weights::<T>::get(index, other);
            let mut changed = false;
            for entry in row.iter_mut().filter(|(target, weight)| *target == uid && *weight != 0) {
                entry.1 = 0;
                changed = true;
            }
            if changed {
                Weights::<T>::insert(index, other, row);
            }
        }
        Self::put_neuron(netuid, uid, hotkey, now);
    }
}
