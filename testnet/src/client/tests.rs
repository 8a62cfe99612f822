use serde_json::json;

use super::*;

fn parse(value: Value) -> Result<InferAnswer, String> {
    let answer: Answer = serde_json::from_value(value).map_err(|error| error.to_string())?;
    answer.check(2)
}

#[test]
fn an_answer_has_one_row_per_item() {
    let outputs = json!([{"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": [0.1, 0.9, 0.5, 0.5]}]);
    let answer = parse(json!({ "outputs": outputs })).unwrap();
    assert_eq!(answer.probabilities, [[0.1, 0.9], [0.5, 0.5]]);
    assert_eq!(answer.experts, [vec![], vec![]]);
}

#[test]
fn shares_are_read_per_item_and_for_one_item() {
    let outputs = json!([{"shape": [2, 1], "data": [1.0, 1.0]}]);
    let share = json!({"name": "expert-1", "uid": 3, "weight": 0.25, "status": "answered"});
    let experts = json!([[share], []]);
    let answer = parse(json!({ "outputs": outputs, "parameters": { "experts": experts } })).unwrap();
    assert_eq!(answer.experts[0][0].uid, Some(3));
    assert!(answer.experts[1].is_empty());
    let one: Answer = serde_json::from_value(
        json!({"outputs": [{"shape": [1, 1], "data": [1.0]}], "parameters": {"experts": [share]}}),
    )
    .unwrap();
    assert_eq!(one.check(1).unwrap().experts[0][0].name, "expert-1");
}

#[test]
fn a_lying_answer_is_refused() {
    for outputs in [
        json!([]),
        json!([{"shape": [2], "data": [1.0, 1.0]}]),
        json!([{"shape": [2, 2], "data": [1.0]}]),
        json!([{"shape": [3, 1], "data": [1.0, 1.0, 1.0]}]),
        json!([{"shape": [2, 0], "data": []}]),
        json!([{"shape": [2, u64::MAX / 2 + 1], "data": []}]),
    ] {
        assert!(parse(json!({ "outputs": outputs })).is_err(), "{outputs}");
    }
}

#[test]
fn a_question_carries_shape_and_numbers() {
    let tensor = Tensor::from_u8("image", &[1, 2, 2], vec![0, 1, 2, 255]).unwrap();
    let input = AskInput { name: "image", shape: tensor.shape(), datatype: "UINT8", data: Elements(&tensor) };
    let text = serde_json::to_string(&input).unwrap();
    assert_eq!(text, r#"{"name":"image","shape":[1,2,2],"datatype":"UINT8","data":[0,1,2,255]}"#);
}

#[test]
fn an_address_that_is_none_says_what_one_looks_like() {
    for url in ["", "localhost:8080", "https://router.example", "ws://x"] {
        assert!(RouterClient::new(url).unwrap_err().to_string().contains("http://127.0.0.1:8080"), "{url:?}");
    }
    assert_eq!(RouterClient::new("http://127.0.0.1:1/").unwrap().url(), "http://127.0.0.1:1");
}

#[tokio::test]
async fn nobody_there_says_how_to_start_one() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = RouterClient::new(&format!("http://127.0.0.1:{port}")).unwrap().experts().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("glia testnet up"));
}

#[test]
fn a_refusal_keeps_the_routers_sentence() {
    assert_eq!(sentence(br#"{"error":"no expert serves vision"}"#), "no expert serves vision");
    assert_eq!(sentence(b"Bad Gateway"), "Bad Gateway");
    assert_eq!(sentence(&[b'x'; 100_000]).len(), 500);
}
