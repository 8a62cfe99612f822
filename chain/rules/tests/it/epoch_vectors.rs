//! Every epoch case of the vectors, bit for bit.

use glia_chain_rules::case::{Case, CaseOutput, run_case};
use glia_chain_rules::epoch::{EpochInput, EpochOutput, Hyperparameters, epoch};
use serde_json::{Value, json};

use crate::literal::{bools, cases, int, ints, list};

fn epoch_case(id: &str) -> Value {
    cases("epoch_cases").into_iter().find(|case| case["id"] == id).unwrap_or_else(|| panic!("no case {id}"))
}

fn outputs(case: &Value) -> Vec<EpochOutput> {
    let case: Case = serde_json::from_value(case.clone()).expect("a case");
    match run_case(&case).expect("a case that runs") {
        CaseOutput::Steps(outputs) => outputs,
        CaseOutput::Epoch(output) => vec![*output],
    }
}

/// The asserted numbers of a step: whole vectors, single uids, single bonds, or dividends as decimals.
fn assert_asserted(name: &str, asserted: &Value, output: &Value, tolerance: f64) -> usize {
    let mut compared = 0;
    for (key, expected) in asserted.as_object().expect("an object") {
        if key.starts_with('_') {
            continue;
        }
        if key == "dividends_fraction" {
            for (uid, fraction) in list(expected).iter().enumerate() {
                let found = output["dividends"][uid].as_f64().expect("a number") / 65_535.0;
                let distance = (found - fraction.as_f64().expect("a number")).abs();
                assert!(distance <= tolerance, "{name}: dividend of uid {uid} is {found}, not {fraction}");
                compared += 1;
            }
            continue;
        }
        assert!((tolerance - 0.0).abs() < f64::EPSILON, "{name}: exact values under a tolerance");
        match expected {
            Value::Array(_) => assert_eq!(&output[key], expected, "{name}: {key}"),
            Value::Object(of_uid) => {
                for (uid, value) in of_uid {
                    let found = &output[key][uid.parse::<usize>().expect("a uid")];
                    if key == "bonds" {
                        for (to, bond) in value.as_object().expect("bonds of a uid") {
                            let to: u64 = to.parse().expect("a uid");
                            let entry = list(found).iter().find(|entry| int(&entry[0]) == to);
                            assert_eq!(
                                entry.map_or(0, |entry| int(&entry[1])),
                                int(bond),
                                "{name}: bond {uid} to {to}"
                            );
                        }
                    } else {
                        assert_eq!(found, value, "{name}: {key} of uid {uid}");
                    }
                }
            }
            other => panic!("{name}: {key} is {other}"),
        }
        compared += 1;
    }
    compared
}

#[test]
fn every_step_of_every_case_is_bit_equal() {
    let (mut full, mut short, mut asserted) = (0, 0, 0);
    let mut stepped = 0;
    for case in cases("epoch_cases") {
        let Some(steps) = case.get("steps").and_then(Value::as_array).filter(|steps| !steps.is_empty()) else {
            continue;
        };
        stepped += 1;
        let outputs = outputs(&case);
        assert_eq!(outputs.len(), steps.len());
        for (step, output) in steps.iter().zip(outputs) {
            let name = format!("{} / {}", case["id"], step["note"]);
            let output = serde_json::to_value(&output).expect("an output is JSON");
            if let Some(expected) = step.get("derived_full_output") {
                assert_eq!(&output, expected, "{name}");
                full += 1;
            }
            if let Some(expected) = step.get("derived_bonds") {
                assert_eq!(&output["bonds"], expected, "{name}");
                assert_eq!(output["dividends"], step["derived_dividends"], "{name}");
                short += 1;
            }
            if let Some(expected) = step.get("asserted") {
                asserted += assert_asserted(
                    &name,
                    expected,
                    &output,
                    case["tolerance_on_asserted"].as_f64().expect("a tolerance"),
                );
            }
            if let Some(expected) = step.get("documented_in_comment") {
                asserted += assert_asserted(&name, expected, &output, 0.0);
            }
        }
    }
    // The file has 26 cases; the four without steps have tests of their own below.
    assert_eq!((stepped, cases("epoch_cases").len()), (22, 26));
    assert_eq!(short, 34);
    assert!(full >= 70 && asserted >= 250, "{full} full outputs, {asserted} asserted values");
}

/// Input of a case of which the file lists only hyperparameters.
fn input_of(case: &Value, inputs: Value) -> EpochInput {
    // Built by hand, for `epoch` tolerates what the checked path refuses.
    let settings = &case["hyperparameters"];
    let number = |key: &str| settings[key].as_u64().expect("a number");
    EpochInput {
        block: inputs["block"].as_u64().expect("a block"),
        last_step_block: number("last_step_block"),
        emission: number("emission"),
        stake: ints(&inputs["stake"]),
        last_update: ints(&inputs["last_update"]),
        block_at_registration: ints(&inputs["block_at_registration"]),
        validator_permit: bools(&inputs["validator_permit"]),
        weights: serde_json::from_value(inputs["weights"].clone()).expect("rows"),
        bonds: serde_json::from_value(inputs["bonds"].clone()).expect("rows"),
        commit_block: None,
        hyperparameters: Hyperparameters {
            tempo: number("tempo") as u16,
            activity_cutoff_blocks: number("activity_cutoff_blocks"),
            kappa: number("kappa") as u16,
            bonds_penalty: number("bonds_penalty") as u16,
            bonds_moving_average: number("bonds_moving_average"),
            max_allowed_validators: number("max_allowed_validators") as u16,
            yuma3: settings["yuma3"].as_bool().expect("a bool"),
            ..Hyperparameters::default()
        },
    }
}

/// One of the three layouts of `epoch_512_graph`: which uids validate.
fn graph_of_512(is_validator: impl Fn(usize) -> bool, self_weights: bool) {
    let case = epoch_case("epoch_512_graph");
    let compact = &case["compact_inputs"];
    let n = case["n"].as_u64().expect("n") as usize;
    let servers: Vec<u16> = (0..n).filter(|uid| !is_validator(*uid)).map(|uid| uid as u16).collect();
    let mut input = input_of(
        &case,
        json!({"block": 1, "stake": [], "last_update": [], "block_at_registration": [], "validator_permit": [], "weights": [], "bonds": []}),
    );
    for uid in 0..n {
        let validator = is_validator(uid);
        let key = if validator { "stake_per_validator" } else { "stake_per_server" };
        input.stake.push(compact[key].as_u64().expect("stake"));
        input.last_update.push(u64::from(validator));
        input.validator_permit.push(validator);
        input.weights.push(match validator {
            true => servers.iter().map(|server| (*server, u16::MAX)).collect(),
            false if self_weights => vec![(uid as u16, u16::MAX)],
            false => vec![],
        });
    }
    for _ in 0..3 {
        let output = epoch(&input);
        input.validator_permit.clone_from(&output.validator_permit);
        input.bonds.clone_from(&output.bonds);
        for uid in 0..n {
            let expected = &case["asserted_per_class"][if is_validator(uid) { "validator" } else { "server" }];
            assert_eq!(json!(output.consensus[uid]), expected["consensus"], "consensus of uid {uid}");
            assert_eq!(json!(output.incentive[uid]), expected["incentive"], "incentive of uid {uid}");
            assert_eq!(json!(output.dividends[uid]), expected["dividends"], "dividends of uid {uid}");
            assert_eq!(json!(output.emission[uid]), expected["emission"], "emission of uid {uid}");
            let bonds: Vec<(u16, u16)> =
                servers.iter().filter(|_| is_validator(uid)).map(|server| (*server, 65_535)).collect();
            assert_eq!(output.bonds[uid], bonds, "bonds of uid {uid}");
        }
    }
}

#[test]
fn graph_of_512_uids_rewards_each_class_alike() {
    graph_of_512(|uid| uid < 64, false);
    graph_of_512(|uid| uid % 8 == 0, true);
    graph_of_512(|uid| uid % 8 == 7, false);
}

#[test]
fn permits_follow_stake_one_epoch_later() {
    let case = epoch_case("epoch_validator_permits");
    for layout in list(&case["cases"]) {
        let n = layout["n"].as_u64().expect("n") as usize;
        let mut input =
            EpochInput { block: 1, emission: 1_000_000_000, stake: ints(&layout["stake"]), ..EpochInput::default() };
        input.hyperparameters.max_allowed_validators =
            layout["max_allowed_validators"].as_u64().expect("a count") as u16;
        input.hyperparameters.stake_threshold = layout["stake_threshold"].as_u64().expect("stake");
        input.weights = vec![vec![]; n];
        let first = epoch(&input);
        assert_eq!(first.validator_permit, bools(&layout["asserted_permits_after_epoch_1"]), "{layout}");
        input.validator_permit = first.validator_permit;
        input.stake = ints(&layout["stake_after_server_top_up"]);
        assert_eq!(epoch(&input).validator_permit, bools(&layout["asserted_permits_after_epoch_2"]), "{layout}");
    }
}

#[test]
fn bonds_toward_a_replaced_uid_do_not_grow() {
    let case = epoch_case("epoch_deregistered_miner_bonds");
    let mut input = input_of(
        &case,
        json!({"block": 4, "stake": [1, 1, 0, 0], "last_update": [2, 2, 1, 1], "block_at_registration": [1, 1, 1, 1],
            "validator_permit": [true, true, false, false],
            "weights": [[[2, 32768], [3, 65535]], [[2, 65535], [3, 32768]], [], []], "bonds": [[], [], [], []]}),
    );
    let before = epoch(&input);
    let bond = |output: &EpochOutput, to: u16| {
        output.bonds[0].iter().find(|(uid, _)| *uid == to).map_or(0, |(_, value)| *value)
    };
    assert!(bond(&before, 2) > 0);
    input.bonds.clone_from(&before.bonds);
    input.block = 6;
    input.last_update[..2].fill(5);
    input.weights[0] = vec![(2, 65_535), (3, 32_768)];
    input.weights[1] = vec![(2, 32_768), (3, 65_535)];
    let kept = epoch(&input);
    input.block_at_registration[3] = 4;
    let replaced = epoch(&input);
    assert!(bond(&replaced, 2) > bond(&before, 2));
    assert!(bond(&replaced, 3) < bond(&kept, 3) && bond(&kept, 3) <= bond(&before, 3));
}

#[test]
fn surplus_updates_are_ignored() {
    let case = epoch_case("epoch_last_update_mismatch");
    let input = input_of(
        &case,
        json!({"block": 1, "stake": [1_000_000_000], "last_update": [1, 1, 1], "block_at_registration": [1],
            "validator_permit": [false], "weights": [[[0, 65535]]], "bonds": [[]]}),
    );
    let output = serde_json::to_value(epoch(&input)).expect("JSON");
    assert_eq!(assert_asserted("mismatch", &case["asserted"], &output, 0.0), 3);
}

#[test]
fn relations_of_the_cases_hold() {
    let window = &outputs(&epoch_case("epoch_commit_window_mask"))[0];
    assert!(window.incentive[1] > 0);
    let owner = &outputs(&epoch_case("epoch_owner_self_weight"))[0];
    assert!(owner.server_emission[0] == owner.server_emission[1] && owner.server_emission[0] > 0);
    let single = &outputs(&epoch_case("epoch_single_staker"))[0];
    let paid: u64 = single.server_emission.iter().chain(&single.validator_emission).sum();
    assert!(paid.abs_diff(1_000_000_000) <= 1000);
}
