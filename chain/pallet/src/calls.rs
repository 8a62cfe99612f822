//! Calls, by the names, argument names, types and numbers the public chain uses.

use polkadot_sdk_frame::pallet_macros::pallet_section;

/// Section of the pallet: calls.
#[pallet_section]
mod calls {
    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Sets the weights of the signing hotkey. Free of charge.
        #[pallet::call_index(0)]
        #[pallet::weight((Weight::from_parts(50_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(20, 3)), DispatchClass::Normal, Pays::No))]
        pub fn set_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            dests: Vec<u16>,
            weights: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_set_weights(&hotkey, netuid, 0, dests, weights, version_key)
        }

        /// Stakes TAO of the signing coldkey with a hotkey of any owner.
        #[pallet::call_index(2)]
        #[pallet::weight((Weight::from_parts(80_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(20, 12)), DispatchClass::Normal, Pays::Yes))]
        pub fn add_stake(
            origin: OriginFor<T>,
            hotkey: T::AccountId,
            netuid: NetUid,
            amount_staked: TaoBalance,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_add_stake(&coldkey, &hotkey, netuid, amount_staked)
        }

        /// Takes stake of the signing coldkey back into TAO.
        #[pallet::call_index(3)]
        #[pallet::weight((Weight::from_parts(80_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(20, 12)), DispatchClass::Normal, Pays::Yes))]
        pub fn remove_stake(
            origin: OriginFor<T>,
            hotkey: T::AccountId,
            netuid: NetUid,
            amount_unstaked: AlphaBalance,
        ) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_remove_stake(&coldkey, &hotkey, netuid, amount_unstaked)
        }

        /// Announces the endpoint of the signing hotkey. Free of charge.
        #[pallet::call_index(4)]
        #[pallet::weight((Weight::from_parts(30_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(4, 1)), DispatchClass::Normal, Pays::No))]
        pub fn serve_axon(
            origin: OriginFor<T>,
            netuid: NetUid,
            version: u32,
            ip: u128,
            port: u16,
            ip_type: u8,
            protocol: u8,
            placeholder1: u8,
            placeholder2: u8,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            let axon =
                AxonInfo { block: Self::now(), version, ip, port, ip_type, protocol, placeholder1, placeholder2 };
            Self::do_serve_axon(&hotkey, netuid, axon)
        }

        /// Buys a uid for a hotkey of the signing coldkey at the present price.
        #[pallet::call_index(7)]
        #[pallet::weight((Weight::from_parts(120_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(40, 30)), DispatchClass::Normal, Pays::Yes))]
        pub fn burned_register(origin: OriginFor<T>, netuid: NetUid, hotkey: T::AccountId) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_burned_register(&coldkey, netuid, &hotkey)
        }

        /// Creates a subnet owned by the signing coldkey at the present price.
        #[pallet::call_index(59)]
        #[pallet::weight((Weight::from_parts(200_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(150, 50)), DispatchClass::Normal, Pays::Yes))]
        pub fn register_network(origin: OriginFor<T>, hotkey: T::AccountId) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_register_network(&coldkey, &hotkey)
        }

        /// Starts emission and trade of a subnet; its owner signs, once.
        #[pallet::call_index(92)]
        #[pallet::weight((Weight::from_parts(20_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(6, 3)), DispatchClass::Normal, Pays::Yes))]
        pub fn start_call(origin: OriginFor<T>, netuid: NetUid) -> DispatchResult {
            let coldkey = ensure_signed(origin)?;
            Self::do_start_call(&coldkey, netuid)
        }

        /// Commits the signing hotkey to weights it will reveal. Free of charge.
        #[pallet::call_index(96)]
        #[pallet::weight((Weight::from_parts(30_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(10, 2)), DispatchClass::Normal, Pays::No))]
        pub fn commit_weights(origin: OriginFor<T>, netuid: NetUid, commit_hash: H256) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_commit_weights(&hotkey, netuid, 0, commit_hash)
        }

        /// Reveals weights the signing hotkey committed to. Free of charge.
        #[pallet::call_index(97)]
        #[pallet::weight((Weight::from_parts(60_000_000, 0).saturating_add(T::DbWeight::get().reads_writes(20, 4)), DispatchClass::Normal, Pays::No))]
        pub fn reveal_weights(
            origin: OriginFor<T>,
            netuid: NetUid,
            uids: Vec<u16>,
            values: Vec<u16>,
            salt: Vec<u16>,
            version_key: u64,
        ) -> DispatchResult {
            let hotkey = ensure_signed(origin)?;
            Self::do_reveal_weights(&hotkey, netuid, 0, uids, values, salt, version_key)
        }
    }
}
