//! Trains a built-in roster and its dense rivals, and prints what each knows alone: accuracy on all test images, and on
//! those of each domain where the subnet has domains.
//!
//! ```text
//! cargo run --release -p glia-experts --example alone -- transforms 7
//! ```

use std::time::Duration;

use glia_experts::data::Split;
use glia_experts::device::{ComputeDevice, DeviceChoice};
use glia_experts::evaluate::{Accuracy, Predictions, argmax, probabilities};
use glia_experts::roster::{Roster, USUAL_SEED, subnet_of};
use glia_experts::subnet::Subnet;
use glia_experts::train::{Progress, TrainOptions, train_roster};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "transforms".to_owned());
    let seed = arguments.next().map_or(Ok(USUAL_SEED), |text| text.parse())?;
    let roster = Roster::builtin_seeded(&name, 8, seed)?;
    let subnet = Subnet::by_name(subnet_of(&name).unwrap_or("vision"))?;
    let folder = std::env::temp_dir().join("glia-alone");
    let options = TrainOptions { dense_total: true, device: DeviceChoice::Cpu, ..TrainOptions::default() };
    let tell = |progress: Progress| {
        if let Progress::Finished { name, took, .. } = progress {
            eprintln!("{name} trained in {:.1} s", took.as_secs_f64());
        }
    };
    let trained = train_roster(&subnet, &roster, &folder, &options, &tell, &CancellationToken::new())?;
    let device = ComputeDevice::open(options.device)?;
    for (what, split, domains) in [
        ("validation", subnet.validation(), subnet.validation_domains()),
        ("test", subnet.test(), subnet.test_domains()),
    ] {
        let print = |name: &str, correct: &[bool], more: &str| {
            let share = Accuracy::of(correct.iter().copied()).share() * 100.0;
            print!("{what:<11} {name:<14} {share:5.1} %");
            for (number, domain) in subnet.domains().iter().enumerate().filter(|_| subnet.domains().len() > 1) {
                let own = correct.iter().zip(&domains).filter(|(_, d)| usize::from(**d) == number);
                print!("  {domain} {:.0}", Accuracy::of(own.map(|(&right, _)| right)).share() * 100.0);
            }
            println!("  {more}");
        };
        let mut answers: Vec<Predictions> = Vec::new();
        for model in trained.all() {
            let predictions = probabilities(&model.checkpoint, &subnet, &device, split)?;
            let meta = &model.checkpoint.meta;
            let took = if model.reused { Duration::ZERO } else { model.took };
            let more = format!(
                "{} parameters, {} images, {} passes, log-loss {:.3}, {:.0} s",
                model.checkpoint.parameters.count(),
                meta.examples,
                meta.epochs,
                log_loss(&predictions, split),
                took.as_secs_f64()
            );
            print(&model.name, &predictions.correct(split.classes()), &more);
            if answers.len() < trained.experts.len() {
                answers.push(predictions);
            }
        }
        let mut oracle = vec![false; split.len()];
        for answer in &answers {
            oracle.iter_mut().zip(answer.correct(split.classes())).for_each(|(any, right)| *any |= right);
        }
        print("any expert", &oracle, "");
        let average: Vec<bool> = (0..split.len())
            .map(|item| {
                let mut sum = vec![0.0; subnet.labels().len()];
                for row in answers.iter().filter_map(|a| a.rows().nth(item)) {
                    sum.iter_mut().zip(row).for_each(|(sum, p)| *sum += p);
                }
                argmax(&sum) == usize::from(split.classes()[item])
            })
            .collect();
        print("plain average", &average, "");
    }
    Ok(())
}

fn log_loss(predictions: &Predictions, split: &Split) -> f64 {
    let of = |(row, &class): (&[f32], &u8)| -f64::from(row[usize::from(class)].max(1e-9)).ln();
    predictions.rows().zip(split.classes()).map(of).sum::<f64>() / split.len().max(1) as f64
}
