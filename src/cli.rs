//! The command line: every subcommand, its flags and an example.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use glia_testnet::adversary::Behaviour;
use glia_testnet::study::Stress;

/// Peer-to-peer Mixture-of-Experts inference: strangers' experts, one better answer, rewarded on a chain.
#[derive(Debug, Parser)]
#[command(name = "glia", version, about, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Say more: -v for what happens, -vv for everything (or set RUST_LOG)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train experts, start a whole mesh, ask it, measure it, show the chain, stop
    #[command(after_help = "Example:\n  glia demo --json report.json")]
    Demo(DemoArgs),
    /// Run a local mesh that stays up
    #[command(subcommand)]
    Testnet(TestnetCommand),
    /// Become an expert: register, advertise and serve a checkpoint
    #[command(
        after_help = "Example:\n  glia join --subnet vision --checkpoint expert-0.safetensors \\\n    --bootstrap /ip4/127.0.0.1/udp/4001/quic-v1/p2p/12D3KooW… --chain ws://127.0.0.1:9944"
    )]
    Join(JoinArgs),
    /// Run a router: find experts, combine their answers, score them on chain
    #[command(
        after_help = "Example:\n  glia route --bootstrap /ip4/127.0.0.1/udp/4001/quic-v1/p2p/12D3KooW… \\\n    --chain ws://127.0.0.1:9944 --http 127.0.0.1:8080"
    )]
    Route(RouteArgs),
    /// Run a bootstrap peer: the known address through which others find each other
    #[command(after_help = "Example:\n  glia bootstrap --listen 0.0.0.0:4001 --data-dir bootstrap")]
    Bootstrap(BootstrapArgs),
    /// Ask a router about one image
    #[command(after_help = "Example:\n  glia infer --router http://127.0.0.1:8080 --digits-index 7")]
    Infer(InferArgs),
    /// Train the experts of a roster
    #[command(after_help = "Example:\n  glia train --subnet vision --roster dirichlet --out checkpoints")]
    Train(TrainArgs),
    /// Study whether the collective beats its members, and stays so among liars; or measure one router
    #[command(
        after_help = "Examples:\n  glia eval --quick\n  glia eval --rosters dirichlet,iid --seeds 5 --stress collude/0,6\n  glia eval --render glia-eval/report.json --markdown\n  glia eval --router http://127.0.0.1:8080 --k 1,2,4\n\nExample:\n  glia eval --out glia-eval"
    )]
    Eval(EvalArgs),
    /// See what audits found, and check evidence
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Tell a router what was right
    #[command(
        after_help = "Example:\n  glia feedback --id 0123456789abcdef0123456789abcdef --label seven --key-file feedback.key\n\nThe id is `request_id` among the parameters of an answer."
    )]
    Feedback(FeedbackArgs),
    /// See why experts have the weights they have
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// Run and read the chain
    #[command(subcommand)]
    Chain(ChainCommand),
}

/// How a long-running process is supervised; for `glia testnet` and service managers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Supervision {
    /// Write a JSON file with addresses and ids once ready
    #[arg(long, hide = true)]
    pub(crate) ready_file: Option<PathBuf>,
    /// Stop when standard input closes
    #[arg(long, hide = true)]
    pub(crate) exit_with_parent: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Which experts: dirichlet, classes, iid, transforms, or a roster file (TOML)
    #[arg(long, default_value = "dirichlet")]
    pub(crate) roster: String,
    /// Number of routers
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) routers: u8,
    /// Seed of a built-in roster (data split, first parameters) and of the bootstrap intervals
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Fail unless the collective beats the best single expert, the 95 % interval excluding 0
    #[arg(long)]
    pub(crate) check: bool,
    /// Leave the mesh running
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where checkpoints are cached and the mesh keeps its files [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "GLIA_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TestnetCommand {
    /// Start chain, bootstrap peer, experts and routers
    #[command(after_help = "Example:\n  glia testnet up --experts 8 --routers 2 --detach")]
    Up(TestnetUpArgs),
    /// Show each process with uid, peer id, address, requests served, incentive
    #[command(after_help = "Example:\n  glia testnet status --json")]
    Status {
        #[command(flatten)]
        place: TestnetPlace,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the log of one process, or the names of all
    #[command(after_help = "Example:\n  glia testnet logs expert-0 --lines 50")]
    Logs {
        /// Process name, e.g. expert-0, router-1, chain, bootstrap
        process: Option<String>,
        /// Lines from the end
        #[arg(long, short = 'n', default_value_t = 40)]
        lines: usize,
        #[command(flatten)]
        place: TestnetPlace,
    },
    /// Stop the mesh
    #[command(after_help = "Example:\n  glia testnet down")]
    Down {
        #[command(flatten)]
        place: TestnetPlace,
    },
}

/// Which testnet is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct TestnetPlace {
    /// Name; several testnets live side by side
    #[arg(long, default_value = "default")]
    pub(crate) name: String,
    /// Where testnets keep their files [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "GLIA_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TestnetUpArgs {
    #[command(flatten)]
    pub(crate) place: TestnetPlace,
    /// Number of experts [default: all of the roster]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) experts: Option<u16>,
    /// Number of routers
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) routers: u8,
    /// Which experts: dirichlet, classes, iid, transforms, or a roster file (TOML)
    #[arg(long, default_value = "dirichlet")]
    pub(crate) roster: String,
    /// Seed of a built-in roster: how data is divided and where training starts [default: 7]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Time between blocks of the local chain
    #[arg(long, default_value = "250ms", value_parser = humantime::parse_duration)]
    pub(crate) block_time: Duration,
    /// Blocks per epoch
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(4..))]
    pub(crate) tempo: u16,
    /// Return once ready and leave the mesh running
    #[arg(long)]
    pub(crate) detach: bool,
}

/// The device an expert computes on.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DeviceArg {
    /// A GPU if this build and machine have one, else the CPU
    Auto,
    /// Pure-Rust CPU backend
    Cpu,
    /// GPU through WebGPU (needs a build with `--features wgpu`)
    Wgpu,
}

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Subnet to serve
    #[arg(long, default_value = "vision")]
    pub(crate) subnet: String,
    /// Checkpoint made by `glia train`
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: PathBuf,
    /// Address of a peer already in the mesh (repeatable)
    #[arg(long, required = true, value_name = "ADDR")]
    pub(crate) bootstrap: Vec<String>,
    /// WebSocket address of a chain node
    #[arg(long, value_name = "URL")]
    pub(crate) chain: String,
    /// Name shown to others [default: the checkpoint's]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Keep the checkpoint closed: nobody can fetch it, and nobody can check answers by computing them anew
    #[arg(long)]
    pub(crate) private: bool,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceArg::Auto)]
    pub(crate) device: DeviceArg,
    /// Address to listen on; the tensor plane takes the next free port
    #[arg(long, default_value = "0.0.0.0:0", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Name of the network; peers of other networks are refused
    #[arg(long, default_value = "glia-dev")]
    pub(crate) network: String,
    /// Where keys are kept [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Wait until the coldkey is funded instead of leaving with a message
    #[arg(long)]
    pub(crate) wait_for_funds: bool,
    /// Misbehave, for drills on a testnet: noise, constant, collude, copy, sleeper, uniform, slow, crash; some take a
    /// number after a colon
    #[arg(long, hide = true, value_name = "KIND")]
    pub(crate) behave: Option<Behaviour>,
    #[command(flatten)]
    pub(crate) supervision: Supervision,
}

#[derive(Debug, Args)]
pub(crate) struct RouteArgs {
    /// Subnet to route
    #[arg(long, default_value = "vision")]
    pub(crate) subnet: String,
    /// Address of a peer already in the mesh (repeatable)
    #[arg(long, required = true, value_name = "ADDR")]
    pub(crate) bootstrap: Vec<String>,
    /// WebSocket address of a chain node
    #[arg(long, value_name = "URL")]
    pub(crate) chain: String,
    /// Where the HTTP API listens (loopback only; put a proxy with authentication in front to publish it)
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub(crate) http: SocketAddr,
    /// Experts per request
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) k: u8,
    /// Keys that may tell this router what was right, one per line (see `glia feedback`) [default: nobody may]
    #[arg(long, value_name = "FILE")]
    pub(crate) feedback_key_file: Option<PathBuf>,
    /// TAO to stake so that the weights of this router count [default: 1000 of the development account on a development
    /// chain, none elsewhere]
    #[arg(long, value_name = "TAO")]
    pub(crate) stake: Option<u64>,
    /// Address the control plane listens on
    #[arg(long, default_value = "0.0.0.0:0", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Name of the network
    #[arg(long, default_value = "glia-dev")]
    pub(crate) network: String,
    /// Name shown to others
    #[arg(long, default_value = "router")]
    pub(crate) name: String,
    /// Seed of the router's random choices
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// Where keys and the weight ledger are kept [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Wait until the coldkey is funded instead of leaving with a message
    #[arg(long)]
    pub(crate) wait_for_funds: bool,
    #[command(flatten)]
    pub(crate) supervision: Supervision,
}

#[derive(Debug, Args)]
pub(crate) struct BootstrapArgs {
    /// Address to listen on (QUIC and TCP)
    #[arg(long, default_value = "0.0.0.0:4001", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Name of the network
    #[arg(long, default_value = "glia-dev")]
    pub(crate) network: String,
    /// Where the key is kept [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) supervision: Supervision,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("input").required(true).args(["image", "digits_index", "test_index"]))]
pub(crate) struct InferArgs {
    /// Address of the router
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) router: String,
    /// Subnet to ask
    #[arg(long, default_value = "vision")]
    pub(crate) subnet: String,
    /// A PNG; turned to grey and scaled to 28×28
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// Light background, dark ink: invert (the experts learnt light on dark)
    #[arg(long, requires = "image")]
    pub(crate) invert: bool,
    /// A digit of the test set, 0 to 999
    #[arg(long, value_name = "N")]
    pub(crate) digits_index: Option<usize>,
    /// Any image of the test set
    #[arg(long, value_name = "N")]
    pub(crate) test_index: Option<usize>,
    /// Experts to ask
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) k: u8,
    /// Print the router's JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Subnet to train for [default: the one the roster is for]
    #[arg(long)]
    pub(crate) subnet: Option<String>,
    /// Which experts: dirichlet, classes, iid, transforms, or a roster file (TOML)
    #[arg(long, default_value = "dirichlet")]
    pub(crate) roster: String,
    /// Number of experts of a built-in roster [default: 8]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) experts: Option<u8>,
    /// Seed of a built-in roster: how data is divided and where training starts [default: 7]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Also train one model on all training data, for comparison
    #[arg(long)]
    pub(crate) dense: bool,
    /// Also train one wider model with as many parameters as all experts together
    #[arg(long)]
    pub(crate) dense_total: bool,
    /// Where checkpoints go
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A version of about a minute: two rosters, one seed, part of the test images, two attacks
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rosters to measure [default: dirichlet,classes,iid,transforms; with --quick dirichlet,iid]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) rosters: Option<Vec<String>>,
    /// Seeds of each roster [default: 5; with --quick 1]
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// Numbers of experts per request [default: 1,2,3,4,8; with --router 1,2,4]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) k: Option<Vec<u8>>,
    /// Test images [default: all; with --quick 500]
    #[arg(long, value_name = "N")]
    pub(crate) items: Option<usize>,
    /// Attacks, KINDS[/COUNTS]: noise, constant, collude, copy, sleeper, uniform, slow, crash, clones, frozen, all, none
    #[arg(long, value_name = "KINDS[/COUNTS]")]
    pub(crate) stress: Option<Stress>,
    /// Folder of the report and of finished runs: an interrupted study resumes
    #[arg(long, value_name = "DIR", default_value = "glia-eval")]
    pub(crate) out: PathBuf,
    /// Render an earlier report into --out instead of measuring
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "rosters", "seeds", "k", "items", "stress", "router"])]
    pub(crate) render: Option<PathBuf>,
    /// With --render: print the README's table and write nothing
    #[arg(long, requires = "render")]
    pub(crate) markdown: bool,
    /// Measure this running router on the test set instead
    #[arg(long, value_name = "URL", conflicts_with_all = ["quick", "rosters", "seeds", "items", "stress"])]
    pub(crate) router: Option<String>,
    /// With --router: subnet to measure
    #[arg(long, default_value = "vision", requires = "router")]
    pub(crate) subnet: String,
    /// Requests in flight
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,
    /// With --router: write the result as JSON
    #[arg(long, value_name = "FILE", requires = "router")]
    pub(crate) json: Option<PathBuf>,
    /// Where checkpoints are cached and meshes keep their files [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "GLIA_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check an evidence file: exit 0 when it proves that an expert signed a wrong answer, else 1 with the reason
    #[command(
        after_help = "Example:\n  glia audit verify router/evidence/001790000000000-1-0123456789abcdef0123456789abcdef.json"
    )]
    Verify {
        /// The evidence file
        file: PathBuf,
        /// The checkpoint, where it was too large for the file
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a router's audits found of each expert
    #[command(after_help = "Example:\n  glia audit list --router http://127.0.0.1:8080")]
    List {
        /// Address of the router
        #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
        router: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FeedbackArgs {
    /// Address of the router
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) router: String,
    /// `request_id` of the answer
    #[arg(long, value_name = "ID")]
    pub(crate) id: String,
    /// What was right: a class name, or its number
    #[arg(long, value_name = "NAME")]
    pub(crate) label: String,
    /// Which item of the request
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) item: usize,
    /// File whose first line is the key
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WeightsCommand {
    /// Print the ledger behind the weight of one uid: what was measured, how it became the weight, where it was sent
    #[command(after_help = "Example:\n  glia weights explain --uid 3 --router http://127.0.0.1:8080")]
    Explain(WeightsExplainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct WeightsExplainArgs {
    /// The uid
    #[arg(long)]
    pub(crate) uid: u16,
    /// Address of the router
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) router: String,
    /// Subnet [default: the router's first]
    #[arg(long)]
    pub(crate) subnet: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChainCommand {
    /// Run the embedded development chain
    #[command(after_help = "Example:\n  glia chain serve --rpc 127.0.0.1:9944 --block-time 250ms --data-dir chain")]
    Serve(ChainServeArgs),
    /// Show a subnet's neurons
    #[command(after_help = "Example:\n  glia chain metagraph --chain ws://127.0.0.1:9944 --netuid 1")]
    Metagraph {
        /// WebSocket address of a chain node
        #[arg(long, default_value = "ws://127.0.0.1:9944", value_name = "URL")]
        chain: String,
        /// Subnet number
        #[arg(long, default_value_t = 1)]
        netuid: u16,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Calculate a Yuma epoch from a file
    #[command(
        after_help = "Example:\n  glia chain epoch --input docs/examples/yuma-case.json\n\nThe file holds one case or an array of cases with `n`, `hyperparameters` and `inputs` (or `steps`, a list of\nobjects with `inputs`, for several epochs in a row)."
    )]
    Epoch {
        /// JSON file, or - for standard input
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ChainServeArgs {
    /// Where blocks are kept [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the JSON-RPC listens (WebSocket and HTTP)
    #[arg(long, default_value = "127.0.0.1:9944", value_name = "ADDR")]
    pub(crate) rpc: SocketAddr,
    /// Time between blocks
    #[arg(long, default_value = "12s", value_parser = humantime::parse_duration)]
    pub(crate) block_time: Duration,
    /// Blocks per epoch (new chains only)
    #[arg(long, default_value_t = 360, value_parser = clap::value_parser!(u16).range(2..))]
    pub(crate) tempo: u16,
    #[command(flatten)]
    pub(crate) supervision: Supervision,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_command_shows_an_example() {
        fn walk(command: &clap::Command) {
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example:"), "{} has no example", command.get_name());
            }
            command.get_subcommands().for_each(walk);
        }
        let command = super::Cli::command();
        command.clone().debug_assert();
        walk(&command);
    }
}
