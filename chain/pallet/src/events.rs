//! Events, by the names, fields and numbers the public chain uses.

use polkadot_sdk_frame::pallet_macros::pallet_section;

/// Section of the pallet: events.
#[pallet_section]
mod events {
    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A subnet was created: netuid, mechanism.
        #[codec(index = 0)]
        NetworkAdded(NetUid, u16),
        /// TAO was staked: coldkey, hotkey, TAO, alpha bought, netuid, fee in rao.
        #[codec(index = 2)]
        StakeAdded(T::AccountId, T::AccountId, TaoBalance, AlphaBalance, NetUid, u64),
        /// Stake was taken out: coldkey, hotkey, TAO got, alpha sold, netuid, fee in rao.
        #[codec(index = 3)]
        StakeRemoved(T::AccountId, T::AccountId, TaoBalance, AlphaBalance, NetUid, u64),
        /// Weights were written: index of subnet and mechanism, uid.
        #[codec(index = 5)]
        WeightsSet(NetUidStorageIndex, u16),
        /// A hotkey got a uid: netuid, uid, hotkey.
        #[codec(index = 6)]
        NeuronRegistered(NetUid, u16, T::AccountId),
        /// An endpoint was announced: netuid, hotkey.
        #[codec(index = 28)]
        AxonServed(NetUid, T::AccountId),
        /// Weights were committed: hotkey, index of subnet and mechanism, hash.
        #[codec(index = 85)]
        WeightsCommitted(T::AccountId, NetUidStorageIndex, H256),
        /// Weights were revealed: hotkey, index of subnet and mechanism, hash.
        #[codec(index = 86)]
        WeightsRevealed(T::AccountId, NetUidStorageIndex, H256),
        /// Emission of a subnet was started: netuid, block.
        #[codec(index = 95)]
        FirstEmissionBlockNumberSet(NetUid, u64),
        /// Incentive went to another hotkey than the miner's.
        #[codec(index = 109)]
        AutoStakeAdded {
            /// Subnet.
            netuid: NetUid,
            /// Hotkey the incentive was staked with.
            destination: T::AccountId,
            /// Hotkey that earned it.
            hotkey: T::AccountId,
            /// Coldkey that owns the stake.
            owner: T::AccountId,
            /// Amount.
            incentive: AlphaBalance,
        },
        /// Miners were paid.
        #[codec(index = 110)]
        IncentiveAlphaEmittedToMiners {
            /// Index of subnet and mechanism.
            netuid: NetUidStorageIndex,
            /// Alpha by uid.
            emissions: Vec<AlphaBalance>,
        },
        /// An epoch waits for the next block.
        #[codec(index = 132)]
        EpochDeferred {
            /// Subnet.
            netuid: NetUid,
            /// Block in which it was due.
            from_block: u64,
            /// Block it waits for.
            to_block: u64,
        },
        /// An epoch could not run and its emission stays pending.
        #[codec(index = 133)]
        EpochSkipped {
            /// Subnet.
            netuid: NetUid,
            /// Block in which it was due.
            block: u64,
        },
    }
}
