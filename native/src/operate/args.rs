//! What can be said on the command line.

use std::path::PathBuf;
use std::time::Duration;

use super::id::RangeName;
use crate::server::{AppendFsync, parse_size};

/// Start a cluster on this machine, look at one, change one.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: ClusterAction,
}

/// What can be done with a cluster.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ClusterAction {
    /// Run a whole cluster on this machine, until Ctrl-C.
    Start(StartArgs),
    /// Say how the cluster is: its members, what is moving, what is wrong.
    Status(StatusArgs),
    /// List the members.
    Nodes(At),
    /// List the ranges and where their copies are.
    Ranges(RangesArgs),
    /// Move everything away from a node, so that it can be removed without loss.
    Drain(DrainArgs),
    /// Take a node that is drained, or dead for good, out of the cluster.
    Remove(RemoveArgs),
    /// Go on moving if that was paused, and wait until every copy is where it belongs.
    Rebalance(RebalanceArgs),
    /// Begin no more moves of copies.
    Pause(At),
    /// Go on moving copies.
    Resume(At),
    /// Hand a range to another master for now; which copies there are does not change.
    Transfer(TransferArgs),
    /// Change N, W and R.
    Set(SetArgs),
    /// Change how fast copies are moved.
    Rate(RateArgs),
    /// Make one copy of a range the whole range, after too many of the others were lost.
    Recover(RecoverArgs),
}

/// Whom to ask, and how to answer.
#[derive(Clone, Debug, clap::Args)]
pub struct At {
    /// A node of the cluster; any will do.
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:6379",
        env = "TRILITH_AT"
    )]
    pub at: String,

    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Whether to wait until the cluster has done what it was told.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Wait {
    /// Return as soon as the cluster knows; it goes on by itself.
    #[arg(long)]
    pub no_wait: bool,

    /// Wait no longer than this, and fail then; what was begun goes on.
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_wait")]
    pub timeout: Option<u32>,
}

impl Wait {
    /// The longest to wait.
    pub fn limit(&self) -> Option<Duration> {
        self.timeout
            .map(|seconds| Duration::from_secs(seconds.into()))
    }
}

/// A cluster on this machine.
#[derive(Clone, Debug, clap::Args)]
pub struct StartArgs {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: u16,

    /// Where the data is (`node-1`, `node-2`, ...) and what the nodes print (`node-1.log`, ...). A cluster that is
    /// there already goes on.
    #[arg(long, value_name = "DIR", default_value = "trilith-cluster")]
    pub dir: PathBuf,

    /// The first node's port; the others follow. Nodes speak to each other 10000 higher.
    #[arg(long, value_name = "PORT", default_value_t = 7001)]
    pub base_port: u16,

    /// Copies of each range, of a new cluster.
    #[arg(long, default_value_t = 3)]
    pub n: u8,

    /// Copies that store a write before it is acknowledged, of a new cluster.
    #[arg(long, default_value_t = 2)]
    pub w: u8,

    /// Copies that a read hears, of a new cluster.
    #[arg(long, default_value_t = 2)]
    pub r: u8,

    /// What an acknowledged write survives.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = AppendFsync::Everysec)]
    pub appendfsync: AppendFsync,

    /// Zones, such as a,b,c: the nodes take turns.
    #[arg(long, value_name = "ZONES", value_delimiter = ',')]
    pub zones: Vec<String>,

    /// Serve /metrics as well, 100 ports above each node's.
    #[arg(long)]
    pub http: bool,

    /// More options of `trilith serve`, for every node.
    #[arg(last = true, value_name = "OPTIONS")]
    pub serve: Vec<String>,
}

/// How the cluster is.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub at: At,

    /// Look every second, until everything is in place, every member is there and no copy is behind.
    #[arg(long)]
    pub watch: bool,
}

/// The ranges.
#[derive(Clone, Debug, clap::Args)]
pub struct RangesArgs {
    /// Only this one, copy by copy: its number, or `meta`.
    pub range: Option<RangeName>,

    /// Whom to ask.
    #[command(flatten)]
    pub at: At,

    /// Only those that this node has a copy of.
    #[arg(long, value_name = "ID")]
    pub node: Option<String>,

    /// Only those with something wrong.
    #[arg(long)]
    pub troubled: bool,

    /// The busiest first.
    #[arg(long)]
    pub hot: bool,
}

/// A node that is to go.
#[derive(Clone, Debug, clap::Args)]
pub struct DrainArgs {
    /// The node: its id or the beginning of it, or its address.
    #[arg(value_name = "ID")]
    pub node: String,

    /// Whom to ask.
    #[command(flatten)]
    pub at: At,

    /// Whether to wait.
    #[command(flatten)]
    pub wait: Wait,
}

/// A node that has gone.
#[derive(Clone, Debug, clap::Args)]
pub struct RemoveArgs {
    /// The node: its id or the beginning of it, or its address.
    #[arg(value_name = "ID")]
    pub node: String,

    /// Do it. Without this, only say what would be lost.
    #[arg(long)]
    pub yes: bool,

    /// Whom to ask.
    #[command(flatten)]
    pub at: At,

    /// Whether to wait.
    #[command(flatten)]
    pub wait: Wait,
}

/// What is moving.
#[derive(Clone, Debug, clap::Args)]
pub struct RebalanceArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub at: At,

    /// Whether to wait.
    #[command(flatten)]
    pub wait: Wait,
}

/// Another master for a range.
#[derive(Clone, Debug, clap::Args)]
pub struct TransferArgs {
    /// The range: its number, or `meta`.
    pub range: RangeName,

    /// Who is to be its master: an id or the beginning of one, or an address. Without it, whoever is fit.
    #[arg(value_name = "ID")]
    pub to: Option<String>,

    /// Whom to ask.
    #[command(flatten)]
    pub at: At,
}

/// Other quorums; what is not named stays as it is.
#[derive(Clone, Debug, clap::Args)]
pub struct SetArgs {
    /// Copies of each range.
    #[arg(long, required_unless_present_any = ["w", "r"])]
    pub n: Option<u8>,

    /// Copies that store a write before it is acknowledged.
    #[arg(long)]
    pub w: Option<u8>,

    /// Copies that a read hears.
    #[arg(long)]
    pub r: Option<u8>,

    /// Whom to ask.
    #[command(flatten)]
    pub at: At,

    /// Whether to wait.
    #[command(flatten)]
    pub wait: Wait,
}

/// Another speed; what is not named stays as it is.
#[derive(Clone, Debug, clap::Args)]
pub struct RateArgs {
    /// What a node sends in a second to make copies of, at most, such as 64mb; less while clients' writes wait.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, required_unless_present = "at_once")]
    pub bytes_per_second: Option<u64>,

    /// Ranges that a node moves at a time, at most.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub at_once: Option<u16>,

    /// Whom to ask.
    #[command(flatten)]
    pub at: At,
}

/// A range that has lost too many copies.
#[derive(Clone, Debug, clap::Args)]
pub struct RecoverArgs {
    /// The range: its number, `meta`, or `all` that have no master.
    #[arg(value_name = "RANGE", value_parser = parse_lost)]
    pub range: Lost,

    /// The node whose copy is to be the range: an id or the beginning of one, or an address. Without it, the one
    /// that has most, if that can be told.
    #[arg(long, value_name = "ID")]
    pub keep: Option<String>,

    /// Do it. Without this, only say what would be lost.
    #[arg(long)]
    pub yes: bool,

    /// Whom to ask.
    #[command(flatten)]
    pub at: At,
}

/// What is to be recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// This range.
    One(RangeName),
    /// Every range without a master.
    All,
}

fn parse_lost(word: &str) -> Result<Lost, String> {
    match word {
        "all" => Ok(Lost::All),
        _ => word
            .parse()
            .map(Lost::One)
            .map_err(|_| "a range is a number, `meta` or `all`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::server::{Action, Cli};

    fn parse(words: &str) -> Result<ClusterAction, String> {
        let words = ["trilith", "cluster"].into_iter().chain(words.split(' '));
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        match cli.action {
            Some(Action::Cluster(args)) => Ok(args.action),
            _ => Err("not `cluster`".into()),
        }
    }

    #[test]
    fn the_node_to_ask_is_the_default_of_serve() {
        let Ok(ClusterAction::Status(args)) = parse("status") else {
            panic!("not status");
        };
        assert_eq!(
            (args.at.at.as_str(), args.at.json),
            ("127.0.0.1:6379", false)
        );
        let Ok(ClusterAction::Nodes(at)) = parse("nodes --at 10.0.0.5:7001 --json") else {
            panic!("not nodes");
        };
        assert_eq!((at.at.as_str(), at.json), ("10.0.0.5:7001", true));
    }

    #[test]
    fn a_local_cluster_takes_zones_and_options_of_serve() {
        let line = "start --nodes 5 --dir d --base-port 7100 --zones a,b,c --n 3 --w 3 --r 1 -- --memory 64mb";
        let Ok(ClusterAction::Start(args)) = parse(line) else {
            panic!("not start");
        };
        assert_eq!((args.nodes, args.base_port), (5, 7100));
        assert_eq!((args.n, args.w, args.r), (3, 3, 1));
        assert_eq!(args.zones, ["a", "b", "c"]);
        assert_eq!(args.serve, ["--memory", "64mb"]);
    }

    #[test]
    fn what_is_to_be_recovered_is_one_range_or_all() {
        let lost = |words| match parse(words) {
            Ok(ClusterAction::Recover(args)) => Ok(args.range),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(lost("recover 17"), Ok(Lost::One(RangeName(17))));
        assert_eq!(lost("recover meta"), Ok(Lost::One(RangeName::META)));
        assert_eq!(lost("recover all --yes"), Ok(Lost::All));
        assert!(lost("recover everything").is_err());
    }

    #[test]
    fn what_does_not_say_what_to_do_is_refused() {
        for words in [
            "drain",
            "remove",
            "transfer",
            "transfer seventeen",
            "recover",
            "set",
            "set --n three",
            "rate",
            "rate --at-once 0",
            "rate --bytes-per-second fast",
            "drain 4f --no-wait --timeout 5",
            "start --nodes 0",
            "ranges 99999999999",
            "dance",
        ] {
            assert!(parse(words).is_err(), "{words}");
        }
        for words in [
            "set --w 3",
            "rate --at-once 2",
            "rate --bytes-per-second 32mb",
            "drain 4f --timeout 5",
        ] {
            parse(words).unwrap();
        }
    }
}
