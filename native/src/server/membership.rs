//! The options that make a node one of a cluster.

use std::path::{Path, PathBuf};

use clap::Args;

/// How a node is part of a cluster. Without `--join` it founds one, which others can join.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct Membership {
    /// Join the cluster of the node that clients reach there; or go on in the one that the store belongs to.
    #[arg(long, value_name = "HOST:PORT", env = "TRILITH_JOIN")]
    pub join: Option<String>,
    /// What fails together with this node: copies are spread over zones.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        env = "TRILITH_ZONE"
    )]
    pub zone: String,
    /// This node's share of copies, relative to other nodes'.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000), env = "TRILITH_WEIGHT")]
    pub weight: u32,
    /// Where clients and other nodes reach this node, if that is not --bind and --port. The bus is 10000 above.
    #[arg(long, value_name = "HOST:PORT", env = "TRILITH_ANNOUNCE")]
    pub announce: Option<String>,
    /// File with the secret that all nodes of the cluster share, and below it others to accept, one a line. Without
    /// it and without certificates, the bus listens on loopback only.
    #[arg(long, value_name = "FILE", env = "TRILITH_SECRET_FILE")]
    pub secret_file: Option<PathBuf>,
    /// This node's certificate, in PEM: nodes speak TLS to each other, and both sides show theirs.
    #[arg(
        long,
        value_name = "FILE",
        requires = "bus_tls_key",
        requires = "bus_tls_ca",
        env = "TRILITH_BUS_TLS_CERT"
    )]
    pub bus_tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM, without a passphrase.
    #[arg(
        long,
        value_name = "FILE",
        requires = "bus_tls_cert",
        env = "TRILITH_BUS_TLS_KEY"
    )]
    pub bus_tls_key: Option<PathBuf>,
    /// The authority that signs the certificates of this cluster's nodes and nothing else; several while it is replaced.
    #[arg(
        long,
        value_name = "FILE",
        requires = "bus_tls_cert",
        env = "TRILITH_BUS_TLS_CA"
    )]
    pub bus_tls_ca: Option<PathBuf>,
    /// Copies of each range, of a cluster that is founded.
    #[arg(long, default_value_t = 3, env = "TRILITH_N")]
    pub n: u8,
    /// Copies that store a write before it is acknowledged, of a cluster that is founded.
    #[arg(long, default_value_t = 2, env = "TRILITH_W")]
    pub w: u8,
    /// Copies that a read hears, of a cluster that is founded.
    #[arg(long, default_value_t = 2, env = "TRILITH_R")]
    pub r: u8,
}

impl Membership {
    /// Whether there is nothing by which other nodes could know this one, nor it them.
    pub fn has_no_credentials(&self) -> bool {
        self.secret_file.is_none() && self.bus_tls_cert.is_none()
    }

    /// The files of certificate, key and authority; clap sees to it that there are all or none.
    pub fn bus_tls(&self) -> Option<[&Path; 3]> {
        let files = [&self.bus_tls_cert, &self.bus_tls_key, &self.bus_tls_ca];
        let [Some(certificate), Some(key), Some(authority)] = files else {
            return None;
        };
        Some([certificate, key, authority])
    }
}
