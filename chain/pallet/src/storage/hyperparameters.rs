//! Storage: knobs of one subnet, with the defaults of the public chain.

use polkadot_sdk_frame::pallet_macros::pallet_section;

/// Section of the pallet: knobs of one subnet, with the defaults of the public chain.
#[pallet_section]
mod hyperparameters {

    /// Blocks a new uid is protected from replacement.
    #[pallet::storage]
    pub type ImmunityPeriod<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<4096>>;

    /// Share of stake that decides consensus, of 65535.
    #[pallet::storage]
    pub type Kappa<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<32_767>>;

    /// Kept for readers; no live rule reads it.
    #[pallet::storage]
    pub type Rho<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<10>>;

    /// Steepness of the liquid alpha sigmoid, in hundredths.
    #[pallet::storage]
    pub type AlphaSigmoidSteepness<T: Config> =
        StorageMap<_, Identity, NetUid, i16, ValueQuery, DefaultSigmoidSteepness>;

    /// Share of old bonds that stays each epoch, per million.
    #[pallet::storage]
    pub type BondsMovingAverage<T: Config> = StorageMap<_, Identity, NetUid, u64, ValueQuery, ConstU64<900_000>>;

    /// Penalty for weights above consensus in bonds, of 65535.
    #[pallet::storage]
    pub type BondsPenalty<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<65_535>>;

    /// Whether a commitment may reset bonds.
    #[pallet::storage]
    pub type BondsResetOn<T: Config> = StorageMap<_, Identity, NetUid, bool, ValueQuery>;

    /// Whether bonds follow the formula of Yuma 3.
    #[pallet::storage]
    pub type Yuma3On<T: Config> = StorageMap<_, Blake2_128Concat, NetUid, bool, ValueQuery>;

    /// Whether the bonds' moving average follows consensus.
    #[pallet::storage]
    pub type LiquidAlphaOn<T: Config> = StorageMap<_, Blake2_128Concat, NetUid, bool, ValueQuery>;

    /// Low and high end of liquid alpha, of 65535.
    #[pallet::storage]
    pub type AlphaValues<T: Config> = StorageMap<_, Identity, NetUid, (u16, u16), ValueQuery, DefaultAlphaValues>;

    /// Blocks between two sets of weights by one uid.
    #[pallet::storage]
    pub type WeightsSetRateLimit<T: Config> = StorageMap<_, Identity, NetUid, u64, ValueQuery, ConstU64<100>>;

    /// Version a validator must at least run; 0 accepts all.
    #[pallet::storage]
    pub type WeightsVersionKey<T: Config> = StorageMap<_, Identity, NetUid, u64, ValueQuery>;

    /// Shortest weight vector accepted.
    #[pallet::storage]
    pub type MinAllowedWeights<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<1024>>;

    /// Kept for readers; the largest weight is always 65535.
    #[pallet::storage]
    pub type MaxWeightsLimit<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<65_535>>;

    /// Whether weights must be committed before they are shown.
    #[pallet::storage]
    pub type CommitRevealWeightsEnabled<T: Config> = StorageMap<_, Identity, NetUid, bool, ValueQuery, ConstBool<true>>;

    /// Epochs from commit to reveal.
    #[pallet::storage]
    pub type RevealPeriodEpochs<T: Config> = StorageMap<_, Twox64Concat, NetUid, u64, ValueQuery, ConstU64<1>>;

    /// Most neurons a subnet can have.
    #[pallet::storage]
    pub type MaxAllowedUids<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<256>>;

    /// Lowest value `MaxAllowedUids` may take.
    #[pallet::storage]
    pub type MinAllowedUids<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<64>>;

    /// Most validators a subnet can have.
    #[pallet::storage]
    pub type MaxAllowedValidators<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<128>>;

    /// Kept for readers; the live cutoff is `ActivityCutoffFactorMilli`.
    #[pallet::storage]
    pub type ActivityCutoff<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<5000>>;

    /// Silence after which a validator is inactive, in thousandths of a tempo.
    #[pallet::storage]
    pub type ActivityCutoffFactorMilli<T: Config> = StorageMap<_, Identity, NetUid, u32, ValueQuery, ConstU32<13_889>>;

    /// Blocks between two announcements of one hotkey's endpoint.
    #[pallet::storage]
    pub type ServingRateLimit<T: Config> = StorageMap<_, Identity, NetUid, u64, ValueQuery, ConstU64<50>>;

    /// Whether neurons may be registered.
    #[pallet::storage]
    pub type NetworkRegistrationAllowed<T: Config> = StorageMap<_, Identity, NetUid, bool, ValueQuery, ConstBool<true>>;

    /// Price of a uid now, in rao.
    #[pallet::storage]
    pub type Burn<T: Config> = StorageMap<_, Identity, NetUid, TaoBalance, ValueQuery, DefaultTao<100_000_000>>;

    /// Lowest price of a uid, in rao.
    #[pallet::storage]
    pub type MinBurn<T: Config> = StorageMap<_, Identity, NetUid, TaoBalance, ValueQuery, DefaultTao<500_000>>;

    /// Highest price of a uid, in rao.
    #[pallet::storage]
    pub type MaxBurn<T: Config> = StorageMap<_, Identity, NetUid, TaoBalance, ValueQuery, DefaultTao<100_000_000_000>>;

    /// Blocks in which the price of a uid halves.
    #[pallet::storage]
    pub type BurnHalfLife<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<360>>;

    /// Factor by which a registration raises the price.
    #[pallet::storage]
    pub type BurnIncreaseMult<T: Config> = StorageMap<_, Identity, NetUid, U64F64, ValueQuery, DefaultBurnIncrease>;

    /// Hotkeys of the owner that cannot be replaced.
    #[pallet::storage]
    pub type ImmuneOwnerUidsLimit<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<1>>;

    /// Unprotected uids that must remain before protected ones are safe.
    #[pallet::storage]
    pub type MinNonImmuneUids<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<10>>;

    /// Most registrations in one block; root only.
    #[pallet::storage]
    pub type MaxRegistrationsPerBlock<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery, ConstU16<1>>;

    /// Registrations in this block.
    #[pallet::storage]
    pub type RegistrationsThisBlock<T: Config> = StorageMap<_, Identity, NetUid, u16, ValueQuery>;

    /// Whether staked alpha may change hands.
    #[pallet::storage]
    pub type TransferToggle<T: Config> = StorageMap<_, Identity, NetUid, bool, ValueQuery, ConstBool<true>>;
}
