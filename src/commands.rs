//! One file per subcommand; this one only picks.

mod audit;
mod bootstrap;
mod chain;
mod demo;
mod eval;
mod feedback;
mod infer;
mod join;
mod route;
mod testnet;
mod train;
mod weights;

use crate::cli::{AuditCommand, ChainCommand, Cli, Command, TestnetCommand, WeightsCommand};

pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Testnet(TestnetCommand::Up(args)) => testnet::up(args).await,
        Command::Testnet(TestnetCommand::Status { place, json }) => testnet::status(&place, json).await,
        Command::Testnet(TestnetCommand::Logs { process, lines, place }) => {
            testnet::logs(&place, process.as_deref(), lines)
        }
        Command::Testnet(TestnetCommand::Down { place }) => testnet::down(&place).await,
        Command::Join(args) => join::run(args).await,
        Command::Route(args) => route::run(args).await,
        Command::Bootstrap(args) => bootstrap::run(args).await,
        Command::Infer(args) => infer::run(args).await,
        Command::Train(args) => train::run(args).await,
        Command::Eval(args) => eval::run(args).await,
        Command::Audit(AuditCommand::Verify { file, checkpoint, json }) => {
            audit::verify(&file, checkpoint.as_deref(), json).await
        }
        Command::Audit(AuditCommand::List { router, json }) => audit::list(&router, json).await,
        Command::Feedback(args) => feedback::run(args).await,
        Command::Weights(WeightsCommand::Explain(args)) => weights::explain(args).await,
        Command::Chain(ChainCommand::Serve(args)) => chain::serve(args).await,
        Command::Chain(ChainCommand::Metagraph { chain, netuid, json }) => chain::metagraph(&chain, netuid, json).await,
        Command::Chain(ChainCommand::Epoch { input }) => chain::epoch(&input),
    }
}
