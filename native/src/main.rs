//! The program `trilith`.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use trilith::ring::NodeId;
use trilith_server::archive;
use trilith_server::bench::{BenchArgs, open_trilith};
use trilith_server::operate::Problem;
use trilith_server::server::{Action, Cli, Config, Failure, Server, human, signalled};
use trilith_server::sim::SimArgs;

/// Commands, entries and replies are small, short-lived and cross threads: what it is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match cli.action {
        None => cli.serve,
        Some(Action::Serve(config)) => config,
        Some(Action::Bench(args)) => return bench(&args),
        Some(Action::Sim(args)) => return sim(&args),
        Some(Action::Cluster(args)) => return done(trilith_server::operate::run(&args)),
        Some(Action::Backup(args)) => return done(archive::backup(&args)),
        Some(Action::CheckArchive(args)) => return done(archive::check(&args)),
        Some(Action::Restore(args)) => return done(archive::restore(&args)),
        Some(Action::Import(args)) => return done(archive::import(&args)),
        Some(Action::Export(args)) => return done(archive::export(&args)),
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(tracing::Level::from(config.log_level))
        .with_target(false)
        .init();
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            explain(&failure);
            ExitCode::FAILURE
        }
    }
}

fn explain(failure: &Failure) {
    eprintln!("trilith: {}\n         {}", failure.what, failure.remedy);
}

fn done(outcome: Result<(), Problem>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            explain(&problem.failure);
            ExitCode::from(problem.exit_code())
        }
    }
}

fn bench(args: &BenchArgs) -> ExitCode {
    match trilith_server::bench::command::run(args, &open_trilith) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trilith: {error}");
            ExitCode::FAILURE
        }
    }
}

fn sim(args: &SimArgs) -> ExitCode {
    match trilith_server::sim::run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("trilith: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                format!("The server's threads cannot be started: {error}."),
                "Raise the limit on processes or memory for this user",
            )
        })?;
    let mut server = runtime.block_on(Server::bind(config.clone()))?;
    let member = runtime.block_on(server.open())?;
    if let Some(report) = member.recovered() {
        print!("{report}");
    }
    banner(&config, server.port(), member.id());
    runtime.block_on(async { server.run(member, signalled()).await })
}

fn banner(config: &Config, port: u16, node: NodeId) {
    let ip = config.bind;
    println!(
        "Trilith {} is ready for Redis clients on {ip}:{port}.",
        env!("CARGO_PKG_VERSION")
    );
    println!(
        "  data     {} (appendfsync {}, memory {})",
        config.data.display(),
        config.appendfsync.name(),
        human(config.memory)
    );
    if config.http_port != 0 {
        let watched = SocketAddr::new(config.http_bind, config.http_port);
        println!("  metrics  http://{watched}/metrics");
    }
    println!("  try      redis-cli -p {port} set greeting hello");
    let reached = if ip.is_unspecified() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        ip
    };
    let at = SocketAddr::new(reached, port);
    println!(
        "  cluster  node {:016x}; see it: trilith cluster status --at {at}",
        node.0
    );
    println!("  stop     Ctrl-C");
    if !ip.is_loopback() {
        println!(
            "There are no passwords yet: whoever reaches {ip}:{port} can read and change everything."
        );
    }
}
