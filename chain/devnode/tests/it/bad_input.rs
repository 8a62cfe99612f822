//! Nonsense gets an error, and the chain goes on.

use serde_json::{Value, json};

use crate::world::{World, hex, number};

/// An unsigned extrinsic whose call nests `depth` times: Sudo.sudo(Sudo.sudo(…)).
fn nested(depth: usize) -> String {
    let mut inner = vec![4_u8];
    inner.extend([12_u8, 0].repeat(depth));
    let mut out = Vec::new();
    let len = inner.len() as u32;
    // SCALE compact length in its four-byte form.
    out.extend(((len << 2) | 2).to_le_bytes());
    out.extend(inner);
    hex(&out)
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_an_error_and_the_chain_goes_on() {
    let world = World::new().await;
    let unknown = json!(format!("0x{}", "ab".repeat(32)));
    let huge = json!(vec!["0x00"; 9000]);
    let questions: Vec<(&str, Vec<Value>)> = vec![
        ("author_submitExtrinsic", vec![]),
        ("author_submitExtrinsic", vec![json!("0x")]),
        ("author_submitExtrinsic", vec![json!("0xdeadbeef")]),
        ("author_submitExtrinsic", vec![json!("not hex")]),
        ("author_submitExtrinsic", vec![json!(nested(100_000))]),
        ("author_submitExtrinsic", vec![json!(hex(&[0xfe, 0xff, 0xff, 0xff, 4]))]),
        ("payment_queryInfo", vec![json!(nested(100_000))]),
        ("state_call", vec![json!("NoSuch_method"), json!("0x")]),
        ("state_call", vec![json!("Core_version"), json!("0x00ff")]),
        ("state_call", vec![json!("AccountNonceApi_account_nonce"), json!("0x01")]),
        ("state_call", vec![json!("TransactionPaymentApi_query_info"), json!(nested(100_000))]),
        ("state_call", vec![json!("Core_execute_block"), json!("0x00")]),
        ("state_call", vec![json!("BlockBuilder_finalize_block"), json!("0x")]),
        ("state_getKeysPaged", vec![json!("0x"), json!(4_000_000_000_u32)]),
        ("state_getKeysPaged", vec![json!("0x"), json!(-1)]),
        ("state_queryStorageAt", vec![huge]),
        ("state_getStorage", vec![json!("0x00"), unknown.clone()]),
        ("state_getStorage", vec![json!("0x00"), json!("0x1234")]),
        ("state_getRuntimeVersion", vec![unknown.clone()]),
        ("chain_getBlockHash", vec![json!("0xffffffffffffffff")]),
        ("chain_getBlockHash", vec![json!("seven")]),
        ("chain_getBlockHash", vec![json!(vec![0; 5000])]),
        ("system_accountNextIndex", vec![json!("5Grwva")]),
        ("no_such_method", vec![]),
    ];
    for (method, params) in questions {
        let answer = world.ask(method, &params).await;
        let shown: String = format!("{answer:?}").chars().take(200).collect();
        assert!(answer.is_err(), "{method}: {shown}");
    }
    assert_eq!(world.get("chain_getHeader", std::slice::from_ref(&unknown)).await, Value::Null);
    assert_eq!(world.get("chain_getBlock", &[unknown]).await, Value::Null);

    let mut heads = world.heads().await;
    let first = number(&heads.next().await.unwrap().unwrap());
    let next = number(&heads.next().await.unwrap().unwrap());
    assert_eq!(next, first + 1);
    world.node.stop().await;
}
