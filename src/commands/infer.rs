//! `glia infer`: one image, one answer, and who gave it.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use glia_experts::subnet::Subnet;
use glia_protocol::Tensor;
use glia_protocol::tensor::TensorHeader;
use glia_testnet::client::{ExpertShare, InferOptions, RouterClient};

use crate::cli::InferArgs;
use crate::output::say;
use crate::{image, table};

/// The test split begins with this many digits; the fashion images follow.
const TEST_DIGITS: usize = 1000;

pub(super) async fn run(args: InferArgs) -> anyhow::Result<()> {
    let subnet = Subnet::by_name(&args.subnet)?;
    let (input, truth) = input(&args, &subnet)?;
    let client = RouterClient::new(&args.router)?;
    let schema = subnet.schema();
    let mut shape = vec![1];
    shape.extend(&schema.input.shape);
    let header = TensorHeader { name: schema.input.name.clone(), dtype: schema.input.dtype, shape };
    let options = InferOptions { k: Some(usize::from(args.k)), explain: true, ..InferOptions::default() };
    let asked = Instant::now();
    let answer = client.infer(subnet.name(), &Tensor::new(header, input.into())?, &options).await?;
    let took = asked.elapsed();
    let row = answer.probabilities.first().context("the router answered with no probabilities")?;
    let labels = subnet.labels();
    ensure!(
        row.len() == labels.len(),
        "the router answered {} classes, {} has {}",
        row.len(),
        args.subnet,
        labels.len()
    );
    let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).context("the answer is empty")?;
    let experts = answer.experts.first().map(Vec::as_slice).unwrap_or_default();
    if args.json {
        let value = serde_json::json!({
            "label": labels[best],
            "class": best,
            "probability": row[best],
            "truth": truth.map(|class| &labels[class]),
            "probabilities": row,
            "route_us": answer.route_us,
            "request_id": answer.request_id,
            "experts": experts,
        });
        say!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    let verdict = match truth {
        Some(class) if class == best => " (right)".to_owned(),
        Some(class) => format!(" (wrong: it is {})", labels[class]),
        None => String::new(),
    };
    say!("{}  {:.1} %{verdict}", labels[best], f64::from(row[best]) * 100.0);
    let answered = experts.iter().filter(|expert| expert.weight > 0.0).count();
    let plural = if answered == 1 { "" } else { "s" };
    say!("answered by {answered} expert{plural} in {:.1} ms", took.as_secs_f64() * 1000.0);
    print_experts(experts, labels);
    Ok(())
}

fn input(args: &InferArgs, subnet: &Subnet) -> anyhow::Result<(Vec<u8>, Option<usize>)> {
    if let Some(path) = &args.image {
        return Ok((image::load(path, args.invert)?, None));
    }
    let test = subnet.test();
    let index = match (args.digits_index, args.test_index) {
        (Some(index), _) if index >= TEST_DIGITS => {
            bail!("--digits-index {index}: the test set has {TEST_DIGITS} digits, 0 to {}", TEST_DIGITS - 1)
        }
        (Some(index), _) | (None, Some(index)) => index,
        (None, None) => bail!("say what to ask: --image FILE, --digits-index N or --test-index N"),
    };
    let example = test.get(index).with_context(|| {
        format!("--test-index {index}: the test set has {} images, 0 to {}", test.len(), test.len() - 1)
    })?;
    Ok((example.pixels.to_vec(), Some(usize::from(example.class))))
}

fn print_experts(experts: &[ExpertShare], labels: &[String]) {
    let header = ["expert", "uid", "weight", "says", "with", "latency", "queue", "model", "status"];
    let mut table = table::new(&header, &[0, 3, 8]);
    let millis = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), |us| format!("{:.1} ms", us as f64 / 1000.0));
    for expert in experts {
        table.add_row([
            expert.name.clone(),
            expert.uid.map_or_else(|| "–".to_owned(), |uid| uid.to_string()),
            format!("{:.3}", expert.weight),
            label_of(&expert.top_class, labels),
            expert.top_probability.map_or_else(|| "–".to_owned(), |p| format!("{:.1} %", p * 100.0)),
            millis(expert.latency_us),
            millis(expert.queue_us),
            millis(expert.compute_us),
            expert.status.clone(),
        ]);
    }
    say!("{table}");
}

fn label_of(class: &serde_json::Value, labels: &[String]) -> String {
    match class {
        serde_json::Value::String(label) => label.clone(),
        serde_json::Value::Number(number) => number
            .as_u64()
            .and_then(|index| labels.get(usize::try_from(index).ok()?).cloned())
            .unwrap_or_else(|| number.to_string()),
        _ => "–".to_owned(),
    }
}
