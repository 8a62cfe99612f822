//! The Yuma calculator of the command line against the published vectors.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn calculate(text: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_glia"))
        .args(["chain", "epoch", "--input", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A writer of its own: the child may answer before it has read everything.
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || {
        // A child that refuses the text early closes the pipe; what it says is checked by the caller.
        let _ = stdin.write_all(text.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn as_list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        one => vec![one],
    }
}

#[test]
fn the_calculator_reproduces_every_epoch_of_the_vectors() {
    let vectors = std::fs::read_to_string(root().join("chain/rules/tests/vectors/yuma.json")).unwrap();
    let vectors: Value = serde_json::from_str(&vectors).unwrap();
    let cases: Vec<&Value> =
        vectors["epoch_cases"].as_array().unwrap().iter().filter(|case| case["steps"].is_array()).collect();
    let output = calculate(&serde_json::to_string(&cases).unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers = as_list(serde_json::from_slice(&output.stdout).unwrap());
    assert_eq!(answers.len(), cases.len());
    let mut compared = 0;
    for (case, answer) in cases.iter().zip(answers) {
        let steps = case["steps"].as_array().unwrap();
        let answer = as_list(answer);
        assert_eq!(answer.len(), steps.len(), "{}", case["id"]);
        for (index, (step, got)) in steps.iter().zip(&answer).enumerate() {
            if let Some(want) = step.get("derived_full_output") {
                assert_eq!(got, want, "{} step {index}", case["id"]);
                compared += 1;
            }
        }
    }
    assert!(cases.len() >= 22 && compared >= cases.len(), "{compared} epochs of {} cases", cases.len());
}

#[test]
fn the_example_of_the_help_is_one_case_and_gives_one_object() {
    let output = calculate(&std::fs::read_to_string(root().join("docs/examples/yuma-case.json")).unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["bonds"][0][0], serde_json::json!([4, 16383]), "{answer}");
}

#[test]
fn a_case_that_makes_no_sense_is_refused_in_one_sentence() {
    for text in ["", "[", "{}", r#"{"n": 1, "hyperparameters": {"emission": 1}}"#] {
        let output = calculate(text);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(output.stdout.is_empty(), "{text}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{text}");
    }
}
