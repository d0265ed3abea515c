//! A node of a cluster behind a server: the ring's driver over files and the bus.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use trilith::command::{Command, Encoder, Reply};
use trilith::ring::driver::{
    Consistency, Driver, DriverOptions, RangeStatus, Start, Transport, View,
};
use trilith::ring::meta::Proposal;
use trilith::ring::{NodeId, Quorum, RangeId};
use trilith::{ErrorKind, Result};

use super::archive::{self, Asked};
use super::backend::{Backend, Figure, Stats};
use super::cluster::{Backups, Cluster, Link, OpenBackup, Trouble};
use super::config::Config;
use super::failure::Failure;
use super::last_map;
use super::recovery::{self, Ready};
use super::store::{stats_of, store_options};
use crate::bus::{Bus, BusConfig, LinkState, PORT_OFFSET, Secret, Tls};
use crate::{FileStorage, NativeRuntime};

/// How often, and how long after each other, a node that joins knocks before it gives up.
const KNOCKS: u32 = 20;
const KNOCK_EVERY: Duration = Duration::from_millis(500);

/// A node of a cluster. Cloning shares it.
#[derive(Clone)]
pub struct Member {
    driver: Driver<FileStorage, NativeRuntime, Bus>,
    bus: Bus,
    address: Arc<str>,
    recovered: Option<Arc<str>>,
    backups: Backups,
}

impl Member {
    /// Opens the store that `config` names, takes the bus's port, and founds, joins or goes on in a cluster. Must
    /// run within tokio. `port` is the one for clients; `bus` listens on the one that goes with it, if that is taken
    /// already.
    ///
    /// # Errors
    /// The store cannot be opened, the port or the secret cannot be had, or nobody lets it join.
    pub async fn open(
        config: &Config,
        port: u16,
        bus: Option<TcpListener>,
    ) -> Result<Self, Failure> {
        let membership = &config.membership;
        let quorum = Quorum::new(membership.n, membership.w, membership.r).map_err(|error| {
            Failure::new(
                format!("{error}."),
                "Give --n, --w and --r that fit together: 3 2 2, 3 3 1, 3 1 3 or 3 1 1",
            )
        })?;
        let address = match &membership.announce {
            Some(address) => address.clone(),
            None => SocketAddr::new(config.bind, port).to_string(),
        };
        let founding = DriverOptions {
            store: store_options(config),
            zone: membership.zone.clone(),
            weight: membership.weight,
            shards: std::thread::available_parallelism().map_or(1, |count| count.get()),
            ..DriverOptions::new(address, Start::Found { quorum })
        };
        let ready = recovery::open(config, &founding).await?;
        let mut this = Self::start(config, port, bus, &founding, ready).await?;
        // What the log holds has been applied by now, which reads from tables.
        if let Some(error) = this.driver.failure()
            && recovery::is_due(config, &error).await
        {
            if let Err(error) = this.close().await {
                tracing::debug!(%error, "the damaged store did not close cleanly");
            }
            drop(this);
            let ready = recovery::instead(config, &founding, error).await?;
            this = Self::start(config, port, None, &founding, ready).await?;
        }
        let known = this.driver.clone();
        tokio::spawn(last_map::keep(config.data.clone(), move || known.view()));
        Ok(this)
    }

    /// Starts the node of a store that is open.
    async fn start(
        config: &Config,
        port: u16,
        bus: Option<TcpListener>,
        founding: &DriverOptions,
        ready: Ready,
    ) -> Result<Self, Failure> {
        let Ready { store, recovered } = ready;
        let address = founding.address.clone();
        let bus = open_bus(config, port, bus, store.id(), &address)?;
        if let Some(map) = last_map::read(&config.data) {
            bus.learn(&map);
        }
        let start = match &config.membership.join {
            Some(other) if !store.is_member() => Start::Join {
                contacts: vec![meet(&bus, other).await?],
            },
            _ => founding.start.clone(),
        };
        let options = DriverOptions {
            start,
            ..founding.clone()
        };
        let driver = Driver::start(store, bus.clone(), options).await;
        let driver = driver.map_err(|error| Failure::of_open(&error, &config.data))?;
        let hearing = driver.clone();
        bus.start(move |packet| hearing.receive(packet));
        driver.catch_up().await;
        Ok(Self {
            driver,
            bus,
            address: address.into(),
            recovered: recovered.map(Into::into),
            backups: Backups::default(),
        })
    }

    /// What is to be said if its store was recovered from its archive.
    pub fn recovered(&self) -> Option<&str> {
        self.recovered.as_deref()
    }

    /// Its id, as operators see it.
    pub fn id(&self) -> NodeId {
        self.driver.id()
    }
}

/// Where the bus of a node listens whose clients' port is `port`. A node without credentials that founds a cluster keeps
/// it to loopback, wherever clients reach it: nobody from elsewhere could be known to be of the cluster.
pub(super) fn bus_address(config: &Config, port: u16) -> Result<SocketAddr, Failure> {
    let Some(bus_port) = port.checked_add(PORT_OFFSET) else {
        return Err(Failure::new(
            format!("There is no port for the bus, which is {PORT_OFFSET} above --port {port}."),
            format!("Give a --port of at most {}", u16::MAX - PORT_OFFSET),
        ));
    };
    let membership = &config.membership;
    let is_alone = membership.has_no_credentials() && membership.join.is_none();
    let ip = match config.bind {
        IpAddr::V4(ip) if is_alone && !ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if is_alone && !ip.to_canonical().is_loopback() => {
            Ipv6Addr::LOCALHOST.into()
        }
        ip => ip,
    };
    Ok(SocketAddr::new(ip, bus_port))
}

fn open_bus(
    config: &Config,
    port: u16,
    listener: Option<TcpListener>,
    node: NodeId,
    address: &str,
) -> Result<Bus, Failure> {
    let listen = bus_address(config, port)?;
    let secret = config.membership.secret_file.as_deref();
    let tls = config.membership.bus_tls();
    let bus = BusConfig {
        announce: Some(address.into()),
        secret: secret.map(Secret::read).transpose()?,
        tls: tls
            .map(|[certificate, key, authority]| Tls::read(certificate, key, authority))
            .transpose()?,
        ..BusConfig::new(node, listen)
    };
    match listener {
        Some(listener) => Bus::on(listener, bus),
        None => Bus::bind(bus),
    }
}

/// Finds out who is at an address; it may be about to start.
async fn meet(bus: &Bus, address: &str) -> Result<NodeId, Failure> {
    let mut knocks = 0;
    loop {
        let error = match bus.meet(address).await {
            Ok(node) => return Ok(node),
            Err(error) => error,
        };
        knocks += 1;
        if knocks == KNOCKS || error.kind() != ErrorKind::Failed {
            return Err(Failure::new(
                format!("Nobody lets this node join: {error}."),
                format!(
                    "See that {address} is a node's address for clients, that the node runs, and that this one has \
                     the --secret-file and the --bus-tls-* certificates of its cluster"
                ),
            ));
        }
        if knocks == 1 {
            tracing::info!(address, %error, "waiting for the node to join");
        }
        tokio::time::sleep(KNOCK_EVERY).await;
    }
}

impl Backend for Member {
    type Cluster = Self;

    fn cluster(&self) -> Option<&Self> {
        Some(self)
    }

    async fn execute(&self, batch: Vec<Command>, how: Consistency) -> Vec<Reply> {
        self.driver.execute(batch, how).await
    }

    fn execute_now(&self, command: &Command, how: Consistency, out: &mut Encoder<'_>) -> bool {
        self.driver.execute_now(command, how, out)
    }

    async fn archive(&self, asked: Asked) -> Reply {
        archive::answer(self.driver.store().db(), asked).await
    }

    async fn stats(&self) -> Stats {
        let driven = self.driver.stats();
        let mut stats = stats_of(&driven.store);
        stats.archive = self.driver.store().db().archive();
        stats.more.extend(archive::figures(&stats.archive));
        if let Some(trouble) = self.trouble() {
            stats.disk_full = trouble.full;
            stats.read_only = Some(trouble.to_string());
        }
        let refused = self.bus.refusals().into_iter();
        let refused = refused.map(|(_, count)| count).sum();
        let counter = |name, help, value| Figure {
            name,
            help,
            is_counter: true,
            value,
        };
        stats.more.push(Figure {
            name: "recovered_from_archive",
            help: "1 if the store was recovered from its archive when the node was started.",
            is_counter: false,
            value: u64::from(self.recovered.is_some()),
        });
        stats.more.extend([
            counter(
                "elections",
                "Ranges that this node became the master of.",
                driven.elections,
            ),
            counter(
                "range_appends",
                "Appends of ranges to the log.",
                driven.appends,
            ),
            counter(
                "quorum_waits",
                "Requests asked again for want of a master or of replicas.",
                driven.quorum_waits,
            ),
            counter(
                "forwards",
                "Requests sent on to other nodes.",
                driven.forwards,
            ),
            counter(
                "refused_writes",
                "Writes refused before they were appended.",
                driven.refused,
            ),
            counter(
                "unknown_writes",
                "Writes whose outcome was called unknown.",
                driven.unknown,
            ),
            counter(
                "bus_refused",
                "Connections that the bus has refused or cut: the log says why.",
                refused,
            ),
            counter(
                "snapshots_sent",
                "Snapshots of ranges begun for other nodes.",
                driven.snapshots,
            ),
        ]);
        stats
    }

    async fn close(&self) -> Result<()> {
        let closed = self.driver.close().await;
        self.bus.close().await;
        closed
    }
}

impl Cluster for Member {
    fn view(&self) -> Arc<View> {
        self.driver.view()
    }

    fn masters(&self, range: RangeId) -> bool {
        self.driver.masters(range)
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn ranges(&self) -> Vec<RangeStatus> {
        self.driver.ranges()
    }

    fn links(&self) -> Vec<Link> {
        let links = self.bus.links().into_iter();
        links
            .map(|link| Link {
                node: link.node,
                is_connected: link.state == LinkState::Connected,
                connected_for_ms: link.connected_for_ms,
                queued_bytes: link.queued_bytes,
                sent_bytes: link.sent_bytes,
                received_bytes: link.received_bytes,
                dropped: link.dropped,
            })
            .collect()
    }

    fn trouble(&self) -> Option<Trouble> {
        let failure = self.driver.failure();
        let stopped = failure.is_some();
        let error = failure.or_else(|| self.driver.trouble());
        error.map(|error| Trouble::of(&error, stopped))
    }

    async fn propose(&self, proposal: Proposal) -> Result<()> {
        self.driver.propose(proposal).await
    }

    fn hand_over(&self, range: RangeId, to: Option<NodeId>) {
        self.driver.hand_over(range, to);
    }

    async fn recover(&self, range: RangeId) -> Result<()> {
        self.driver.recover(range).await
    }

    async fn backup(&self, range: RangeId) -> Result<OpenBackup> {
        let permit = self.backups.permit()?;
        let backup = self.driver.backup(range).await?;
        Ok(self.backups.open(permit, range, backup))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::server::Cli;

    fn bus_of(options: &str) -> String {
        let words = ["trilith"].into_iter().chain(options.split_whitespace());
        let config = Cli::try_parse_from(words).unwrap().serve;
        bus_address(&config, 7000).unwrap().to_string()
    }

    #[test]
    fn nobody_from_elsewhere_reaches_the_bus_of_who_knows_nobody() {
        assert_eq!(bus_of(""), "127.0.0.1:17000");
        assert_eq!(bus_of("--bind 0.0.0.0"), "127.0.0.1:17000");
        assert_eq!(bus_of("--bind ::"), "[::1]:17000");
        assert_eq!(bus_of("--bind 127.0.0.7"), "127.0.0.7:17000");
        assert_eq!(bus_of("--bind 10.0.0.1 --secret-file s"), "10.0.0.1:17000");
        // Which the bus refuses, and says why.
        assert_eq!(bus_of("--bind 10.0.0.1 --join a:1"), "10.0.0.1:17000");
    }
}
