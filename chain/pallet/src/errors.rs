//! Errors of the calls, by the names the public chain uses. Decode them by metadata: the numbers may change.

use polkadot_sdk_frame::pallet_macros::pallet_section;

/// Section of the pallet: errors.
#[pallet_section]
mod errors {
    /// Why a call was refused.
    #[pallet::error]
    pub enum Error<T> {
        /// The root subnet does not exist.
        RootNetworkDoesNotExist,
        /// The address kind is neither 4 nor 6.
        InvalidIpType,
        /// The address cannot be reached from elsewhere.
        InvalidIpAddress,
        /// Port 0 was announced.
        InvalidPort,
        /// The hotkey has no uid in this subnet.
        HotKeyNotRegisteredInSubNet,
        /// No coldkey owns the hotkey.
        HotKeyAccountNotExists,
        /// The hotkey has no uid in the subnet it wants to serve.
        HotKeyNotRegisteredInNetwork,
        /// The hotkey belongs to another coldkey.
        NonAssociatedColdKey,
        /// The coldkey has less stake with the hotkey than it wants to take out.
        NotEnoughStakeToWithdraw,
        /// The stake weight of the hotkey is below the threshold.
        NotEnoughStakeToSetWeights,
        /// The coldkey has less TAO than the call costs.
        NotEnoughBalanceToStake,
        /// TAO could not be moved although the balance seemed enough.
        BalanceWithdrawalError,
        /// The hotkey may not act as validator.
        NeuronNoValidatorPermit,
        /// There are not as many weights as uids.
        WeightVecNotEqualSize,
        /// A uid occurs twice.
        DuplicateUids,
        /// A uid does not exist in the subnet.
        UidVecContainInvalidOne,
        /// Fewer weights than the subnet asks for.
        WeightVecLengthIsLow,
        /// The hotkey already has a uid in this subnet.
        HotKeyAlreadyRegisteredInSubNet,
        /// A weight is above the limit.
        MaxWeightExceeded,
        /// The last weights are too recent.
        SettingWeightsTooFast,
        /// The subnet asks for a newer version of the validator.
        IncorrectWeightVersionKey,
        /// The last announcement is too recent.
        ServingRateLimitExceeded,
        /// More uids than the subnet has.
        UidsLengthExceedUidsInSubNet,
        /// The last registration of a subnet is too recent.
        NetworkTxRateLimitExceeded,
        /// Registration is switched off.
        SubNetRegistrationDisabled,
        /// Root has no miners to register.
        RegistrationNotPermittedOnRootSubnet,
        /// Root does not take weights of this kind.
        CanNotSetRootNetworkWeights,
        /// The subnet is full and all its uids are protected.
        NoNeuronIdAvailable,
        /// There is no commit to reveal.
        NoWeightsCommitFound,
        /// What was revealed is not what was committed.
        InvalidRevealCommitHashNotMatch,
        /// Weights must be committed first.
        CommitRevealEnabled,
        /// The subnet does not take commits.
        CommitRevealDisabled,
        /// The mechanism does not exist.
        MechanismDoesNotExist,
        /// The subnet does not exist.
        SubnetNotExists,
        /// Ten commits are open already.
        TooManyUnrevealedCommits,
        /// The time to reveal is over.
        ExpiredWeightCommit,
        /// The time to reveal has not come.
        RevealTooEarly,
        /// The last commit is too recent.
        CommittingWeightsTooFast,
        /// The amount is below the minimum.
        AmountTooLow,
        /// The pool is too small for the amount.
        InsufficientLiquidity,
        /// The price would move beyond the limit.
        SlippageTooHigh,
        /// Emission of the subnet was started before.
        FirstEmissionBlockNumberAlreadySet,
        /// It is too early to start emission.
        NeedWaitingMoreBlocksToStarCall,
        /// Only the owner of the subnet may do this.
        NotSubnetOwner,
        /// Alpha of the subnet cannot be traded yet.
        SubtokenDisabled,
        /// There are as many subnets as allowed.
        SubnetLimitReached,
        /// The coldkey has less TAO than a subnet costs.
        CannotAffordLockCost,
        /// An account of the chain itself cannot be a hotkey.
        CannotUseSystemAccount,
        /// A number left its range.
        Overflow,
    }
}
