//! `glia weights`: what is behind the weights a router sets.

use anyhow::Context;
use glia_protocol::SubnetName;
use glia_router::scoring::explain::Explanation;
use glia_testnet::client::RouterClient;

use crate::cli::WeightsExplainArgs;
use crate::output::say;

pub(super) async fn explain(args: WeightsExplainArgs) -> anyhow::Result<()> {
    let subnet = args.subnet.map(SubnetName::try_from).transpose().context("--subnet")?;
    let client = RouterClient::new(&args.router)?;
    let explanation: Explanation = client.explanation(subnet.as_ref(), args.uid).await?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&explanation)?);
    } else {
        say!("{}", explanation.to_string().trim_end());
    }
    Ok(())
}
