//! Random lives of a chain: whatever happens, blocks go on and the books balance.

use polkadot_sdk_frame::testing_prelude::*;
use proptest::prelude::*;

use crate::genesis::SubnetGenesis;
use crate::mock::*;
use crate::types::{AlphaBalance, NetUid, TaoBalance};
use crate::*;

#[derive(Clone, Debug)]
enum Step {
    Register(u8),
    Stake(u8, u8, bool, u64),
    Unstake(u8, u8, u64),
    Weights(u8, Vec<(u16, u16)>),
    Blocks(u8),
    Tempo(u16),
    Kappa(u16),
    Yuma3(bool),
    Liquid(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1u8..12).prop_map(Step::Register),
        (1u8..12, 1u8..12, any::<bool>(), 0u64..2_000 * ONE).prop_map(|(c, h, root, a)| Step::Stake(c, h, root, a)),
        (1u8..12, 1u8..12, 0u64..1_000 * ONE).prop_map(|(c, h, a)| Step::Unstake(c, h, a)),
        (0u8..12, prop::collection::vec((0u16..8, any::<u16>()), 0..6)).prop_map(|(h, w)| Step::Weights(h, w)),
        (1u8..25).prop_map(Step::Blocks),
        (0u16..15).prop_map(Step::Tempo),
        any::<u16>().prop_map(Step::Kappa),
        any::<bool>().prop_map(Step::Yuma3),
        any::<bool>().prop_map(Step::Liquid),
    ];
    prop::collection::vec(step, 1..40)
}

/// Tries a step; whether the chain refuses it does not matter here.
fn attempt(step: Step) -> DispatchResult {
    match step {
        Step::Register(n) => SubtensorModule::burned_register(by(&account(n)), NET, account(n + 100))?,
        Step::Stake(c, h, root, amount) => {
            let netuid = if root { NetUid::ROOT } else { NET };
            SubtensorModule::add_stake(by(&account(c)), account(h + 100), netuid, TaoBalance(amount))?;
        }
        Step::Unstake(c, h, amount) => {
            SubtensorModule::remove_stake(by(&account(c)), account(h + 100), NET, AlphaBalance(amount))?;
        }
        Step::Weights(h, weights) => set_weights(&account(h + 100), &weights)?,
        Step::Blocks(count) => run_blocks(count.into()),
        Step::Tempo(tempo) => Tempo::<Test>::insert(NET, tempo),
        Step::Kappa(kappa) => Kappa::<Test>::insert(NET, kappa),
        Step::Yuma3(on) => Yuma3On::<Test>::insert(NET, on),
        Step::Liquid(on) => LiquidAlphaOn::<Test>::insert(NET, on),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn books_balance_whatever_happens(steps in steps()) {
        let small = SubnetGenesis { max_allowed_uids: 6, min_non_immune_uids: 1, immunity_period: 20, tempo: 5, ..subnet() };
        chain_with(small).execute_with(|| {
            for step in steps {
                let _ = attempt(step);
                check_invariants();
            }
            run_blocks(12);
        });
    }
}
