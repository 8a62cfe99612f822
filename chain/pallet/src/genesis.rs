//! What a chain starts with: the root subnet and any number of subnets with owner, pool and hyperparameters.

use alloc::string::String;
use polkadot_sdk_frame::derive::{Deserialize, Serialize};
use polkadot_sdk_frame::prelude::*;
use polkadot_sdk_frame::token::fungible::Mutate;

use crate::types::{AlphaBalance, NetUid, SubnetIdentityV3, TaoBalance};
use crate::*;

/// One subnet of the genesis. Every field may be left out; amounts are in rao (1e-9), times in blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    crate = "polkadot_sdk_frame::derive::serde",
    rename_all = "camelCase",
    deny_unknown_fields,
    default,
    bound(serialize = "AccountId: Serialize", deserialize = "AccountId: Deserialize<'de>")
)]
pub struct SubnetGenesis<AccountId> {
    /// Number of the subnet; 0 is root and exists anyway.
    pub netuid: u16,
    /// Name shown by readers.
    pub name: String,
    /// Token symbol shown by readers.
    pub symbol: String,
    /// Coldkey that owns the subnet.
    pub owner_coldkey: Option<AccountId>,
    /// Hotkey of the owner: uid 0.
    pub owner_hotkey: Option<AccountId>,
    /// TAO reserve of the pool.
    pub tao_reserve: u64,
    /// Alpha reserve of the pool.
    pub alpha_reserve: u64,
    /// Blocks from epoch to epoch.
    pub tempo: u16,
    /// Price of a uid.
    pub burn: u64,
    /// Lowest price of a uid.
    pub min_burn: u64,
    /// Highest price of a uid.
    pub max_burn: u64,
    /// Blocks in which the price of a uid halves.
    pub burn_half_life: u16,
    /// Protection of a new uid from replacement.
    pub immunity_period: u16,
    /// Unprotected uids that must remain before protected ones are safe.
    pub min_non_immune_uids: u16,
    /// Most neurons.
    pub max_allowed_uids: u16,
    /// Most validators.
    pub max_allowed_validators: u16,
    /// Shortest weight vector accepted.
    pub min_allowed_weights: u16,
    /// Time between two sets of weights by one uid.
    pub weights_set_rate_limit: u64,
    /// Time between two announcements of one endpoint.
    pub serving_rate_limit: u64,
    /// Silence after which a validator is inactive, in thousandths of a tempo.
    pub activity_cutoff_factor_milli: u32,
    /// Whether weights must be committed before they are shown.
    pub commit_reveal: bool,
    /// Whether bonds follow Yuma 3.
    pub yuma3: bool,
    /// Whether the bonds' moving average follows consensus.
    pub liquid_alpha: bool,
    /// Share of old bonds that stays each epoch, per million.
    pub bonds_moving_average: u64,
    /// Whether the subnet gets TAO emission.
    pub emission_enabled: bool,
    /// Whether alpha can be traded and emitted from the first block.
    pub started: bool,
}

impl<AccountId> Default for SubnetGenesis<AccountId> {
    fn default() -> Self {
        Self {
            netuid: 1,
            name: String::new(),
            symbol: String::new(),
            owner_coldkey: None,
            owner_hotkey: None,
            tao_reserve: 1_000_000_000_000,
            alpha_reserve: 1_000_000_000_000,
            tempo: 360,
            burn: 1_000_000_000,
            min_burn: 500_000,
            max_burn: 100_000_000_000,
            burn_half_life: 360,
            immunity_period: 5000,
            min_non_immune_uids: 10,
            max_allowed_uids: 256,
            max_allowed_validators: 64,
            min_allowed_weights: 1,
            weights_set_rate_limit: 100,
            serving_rate_limit: 50,
            activity_cutoff_factor_milli: 13_889,
            commit_reveal: true,
            yuma3: true,
            liquid_alpha: false,
            bonds_moving_average: 900_000,
            emission_enabled: true,
            started: true,
        }
    }
}

impl<T: Config> Pallet<T> {
    /// Writes the genesis. TAO of the pools is minted here.
    pub(crate) fn build_genesis(config: &GenesisConfig<T>) {
        StakeThreshold::<T>::put(config.stake_threshold);
        NetworkRateLimit::<T>::put(config.network_rate_limit);
        NetworkMinLockCost::<T>::put(TaoBalance(config.network_min_lock_cost));
        NetworkLastLockCost::<T>::put(TaoBalance(config.network_min_lock_cost));
        Self::create_root();
        for (key, subnet) in &config.subnets {
            Self::build_genesis_subnet(key, subnet);
        }
        Self::read_issuance();
    }

    fn build_genesis_subnet(key: &str, subnet: &SubnetGenesis<T::AccountId>) {
        let netuid = NetUid(subnet.netuid);
        assert!(!NetworksAdded::<T>::get(netuid), "two subnets of the genesis have netuid {netuid}");
        let (Some(coldkey), Some(hotkey)) = (&subnet.owner_coldkey, &subnet.owner_hotkey) else {
            panic!("subnet {key} of the genesis needs ownerColdkey and ownerHotkey");
        };
        assert!(Self::owns_or_free(coldkey, hotkey), "the owner hotkey of subnet {key} belongs to another coldkey");
        let tao = TaoBalance(subnet.tao_reserve);
        let minted = T::Currency::mint_into(&Self::subnet_account(netuid), tao.0);
        assert!(minted.is_ok(), "the pool of subnet {key} cannot hold {tao} rao");
        Self::create_subnet(netuid, coldkey, hotkey, tao, AlphaBalance(subnet.alpha_reserve));

        TokenSymbol::<T>::insert(netuid, subnet.symbol.as_bytes().to_vec());
        SubnetIdentitiesV3::<T>::insert(
            netuid,
            SubnetIdentityV3 { subnet_name: subnet.name.as_bytes().to_vec(), ..Default::default() },
        );
        Tempo::<T>::insert(netuid, subnet.tempo);
        Burn::<T>::insert(netuid, TaoBalance(subnet.burn));
        MinBurn::<T>::insert(netuid, TaoBalance(subnet.min_burn));
        MaxBurn::<T>::insert(netuid, TaoBalance(subnet.max_burn));
        BurnHalfLife::<T>::insert(netuid, subnet.burn_half_life);
        ImmunityPeriod::<T>::insert(netuid, subnet.immunity_period);
        MinNonImmuneUids::<T>::insert(netuid, subnet.min_non_immune_uids);
        MaxAllowedUids::<T>::insert(netuid, subnet.max_allowed_uids);
        MaxAllowedValidators::<T>::insert(netuid, subnet.max_allowed_validators);
        MinAllowedWeights::<T>::insert(netuid, subnet.min_allowed_weights);
        WeightsSetRateLimit::<T>::insert(netuid, subnet.weights_set_rate_limit);
        ServingRateLimit::<T>::insert(netuid, subnet.serving_rate_limit);
        ActivityCutoffFactorMilli::<T>::insert(netuid, subnet.activity_cutoff_factor_milli);
        CommitRevealWeightsEnabled::<T>::insert(netuid, subnet.commit_reveal);
        Yuma3On::<T>::insert(netuid, subnet.yuma3);
        LiquidAlphaOn::<T>::insert(netuid, subnet.liquid_alpha);
        BondsMovingAverage::<T>::insert(netuid, subnet.bonds_moving_average);
        SubnetEmissionEnabled::<T>::insert(netuid, subnet.emission_enabled);
        if subnet.started {
            SubtokenEnabled::<T>::insert(netuid, true);
            FirstEmissionBlockNumber::<T>::insert(netuid, 1);
        }
    }
}
