//! The JSON side: what is refused, and how steps carry on.

use glia_chain_rules::case::{Case, CaseError, run_case, run_json};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::literal::cases;

fn sound() -> Value {
    json!({
        "id": "any other key is ignored", "n": 3,
        "hyperparameters": {"emission": 1000, "yuma3": true},
        "inputs": {
            "block": 10, "stake": [5, 0, 0], "last_update": [9, 1, 1], "block_at_registration": [1, 1, 1],
            "validator_permit": [true, false, false], "weights": [[[1, 65535], [2, 65535]], [], []], "bonds": [[], [], []]
        }
    })
}

fn refusal(change: impl FnOnce(&mut Value)) -> CaseError {
    let mut case = sound();
    change(&mut case);
    let from_text = run_json(&case.to_string()).expect_err("the case is wrong");
    if let Ok(case) = serde_json::from_value::<Case>(case) {
        assert_eq!(run_case(&case).expect_err("the case is wrong"), from_text);
    }
    from_text
}

#[test]
fn one_case_yields_one_object_and_a_list_a_list() {
    let one: Value = serde_json::from_str(&run_json(&sound().to_string()).expect("runs")).expect("JSON");
    let keys: Vec<&String> = one.as_object().expect("an object").keys().collect();
    let reference = &cases("epoch_cases")[0]["steps"][0]["derived_full_output"];
    assert_eq!(keys, reference.as_object().expect("an object").keys().collect::<Vec<_>>());
    assert_eq!(one["server_emission"], json!([0, 250, 250]));
    let many: Value =
        serde_json::from_str(&run_json(&json!([sound(), sound()]).to_string()).expect("runs")).expect("JSON");
    assert_eq!(many, json!([one, one]));
    assert_eq!(run_json(" []").expect("runs"), "[]");
}

#[test]
fn steps_carry_permits_and_bonds() {
    let mut case = sound();
    let inputs = case["inputs"].take();
    case.as_object_mut().expect("an object").remove("inputs");
    case["steps"] = json!([{"inputs": inputs}, {}, {"inputs": {"block": 20}}]);
    let outputs: Value = serde_json::from_str(&run_json(&case.to_string()).expect("runs")).expect("JSON");
    let mut single = sound();
    for (index, block) in [10, 11, 20].into_iter().enumerate() {
        single["inputs"]["block"] = json!(block);
        let output: Value = serde_json::from_str(&run_json(&single.to_string()).expect("runs")).expect("JSON");
        assert_eq!(outputs[index], output);
        single["inputs"]["bonds"] = output["bonds"].clone();
        single["inputs"]["validator_permit"] = output["validator_permit"].clone();
    }
}

#[test]
fn ragged_vectors_are_refused() {
    for name in ["stake", "last_update", "block_at_registration", "validator_permit", "weights", "bonds"] {
        let error = refusal(|case| {
            case["inputs"][name].as_array_mut().expect("a list").pop();
        });
        assert_eq!(error, CaseError::Length { name, found: 2, n: 3 });
    }
    assert!(matches!(
        refusal(|case| case["hyperparameters"]["commit_block"] = json!([1])),
        CaseError::Length { name: "commit_block", .. }
    ));
}

#[test]
fn unknown_uids_are_refused() {
    let error = refusal(|case| case["inputs"]["weights"][2] = json!([[3, 1]]));
    assert_eq!(error, CaseError::UnknownUid { name: "weights", uid: 3, n: 3 });
    assert_eq!(error.to_string(), "`weights` names uid 3 of 3 uids");
    assert!(matches!(
        refusal(|case| case["hyperparameters"]["owner_uid"] = json!(3)),
        CaseError::UnknownUid { name: "owner_uid", .. }
    ));
    assert!(matches!(
        refusal(|case| case["weight_uids"] = json!([7])),
        CaseError::UnknownUid { name: "weight_uids", .. }
    ));
}

#[test]
fn duplicate_columns_are_refused() {
    let error = refusal(|case| case["inputs"]["bonds"][1] = json!([[0, 1], [2, 1], [0, 2]]));
    assert_eq!(error, CaseError::DuplicateUid { name: "bonds", row: 1, uid: 0 });
}

#[test]
fn numbers_out_of_range_are_refused() {
    assert_eq!(refusal(|case| case["n"] = json!(65_536)), CaseError::TooManyUids(65_536));
    for (pointer, value) in [
        ("/n", json!(-1)),
        ("/hyperparameters/kappa", json!(65_536)),
        ("/hyperparameters/kapa", json!(1)),
        ("/inputs/stake/0", json!(-1)),
        ("/inputs/stake/0", json!(0.5)),
        ("/inputs/weights/0/0/1", json!(70_000)),
        ("/inputs/weights/0/0/0", json!("1")),
        ("/inputs/block", json!(1e30)),
    ] {
        let error = refusal(|case| {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            let parent = case.pointer_mut(parent).expect("a place");
            match key.parse::<usize>() {
                Ok(index) if parent.is_array() => parent[index] = value,
                _ => parent[key] = value,
            }
        });
        assert!(matches!(error, CaseError::Json(_)), "{pointer}: {error}");
    }
}

#[test]
fn incomplete_cases_are_refused() {
    assert_eq!(refusal(|case| _ = case.as_object_mut().expect("an object").remove("inputs")), CaseError::NoInputs);
    assert_eq!(refusal(|case| case["steps"] = json!([{}])), CaseError::NoInputs);
    let no_stake = refusal(|case| _ = case["inputs"].as_object_mut().expect("an object").remove("stake"));
    assert_eq!(no_stake, CaseError::Missing("stake"));
    let steps = |steps: Value| {
        move |case: &mut Value| {
            case.as_object_mut().expect("an object").remove("inputs");
            case["steps"] = steps;
        }
    };
    assert_eq!(refusal(steps(json!([]))), CaseError::NoInputs);
    assert!(matches!(refusal(steps(json!([{}]))), CaseError::Step { index: 0, .. }));
    let inputs = sound()["inputs"].take();
    assert!(matches!(
        refusal(steps(json!([{"inputs": inputs}, {"inputs": {"stake": []}}]))),
        CaseError::Step { index: 1, .. }
    ));
    let bad_list = run_json(&json!([sound(), {"n": 1, "hyperparameters": {"emission": 1}}]).to_string());
    assert!(matches!(bad_list, Err(CaseError::Case { index: 1, .. })));
    assert!(matches!(run_json(""), Err(CaseError::Json(_))));
    assert!(matches!(run_json("[1]"), Err(CaseError::Json(_))));
}

#[test]
fn every_case_of_the_vectors_runs_as_text_or_says_why_not() {
    for case in cases("epoch_cases") {
        let result = run_json(&case.to_string());
        if case.get("steps").and_then(Value::as_array).is_some_and(|steps| !steps.is_empty()) {
            assert!(result.expect("runs").starts_with('['));
        } else {
            assert!(matches!(result, Err(CaseError::NoInputs | CaseError::Json(_))), "{}", case["id"]);
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        _ = run_json(&text);
    }

    #[test]
    fn no_step_range_panics(range in "[0-9.]{0,24}", step in any::<u8>()) {
        let mut case = sound();
        let inputs = case["inputs"].take();
        case.as_object_mut().expect("an object").remove("inputs");
        case["steps"] = json!([{"inputs": inputs}, {}]);
        case["weight_uids"] = json!([1, 2]);
        case["raw_weights_by_epoch"] = json!({range: [[step, 1]]});
        _ = run_json(&case.to_string());
    }
}
