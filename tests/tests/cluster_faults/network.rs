//! A network of namespaces: a machine each, on cables that end in one switch or the other. A machine on the switch that
//! is apart hears nobody but the tests' own clients.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use trilith_tests::cluster::Machine;

use crate::machines::run;

/// Where the clients are, on both switches.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// Of both switches, so that machines find the clients where they were.
const SWITCH: &str = "02:00:00:00:00:fe";

/// The port of every node.
const PORT: u16 = 7000;

pub struct Network {
    machines: u8,
}

impl Network {
    /// Lays it out, in namespaces that nobody else uses.
    pub fn new(machines: u8) -> io::Result<Self> {
        for (switch, bits) in [("together", 24), ("apart", 32)] {
            run(&format!(
                "ip link add {switch} address {SWITCH} type bridge"
            ))?;
            run(&format!("ip addr add {CLIENTS}/{bits} dev {switch}"))?;
            run(&format!("ip link set {switch} up"))?;
        }
        for machine in 0..machines {
            let (name, host) = (format!("machine-{machine}"), host(machine));
            run(&format!("ip netns add {name}"))?;
            run(&format!(
                "ip link add cable-{machine} type veth peer name eth0 netns {name}"
            ))?;
            run(&format!("ip link set cable-{machine} master together up"))?;
            run(&format!("ip -n {name} addr add {host}/24 dev eth0"))?;
            run(&format!("ip -n {name} link set eth0 up"))?;
            run(&format!("ip -n {name} link set lo up"))?;
        }
        Ok(Self { machines })
    }

    /// Where nodes can run.
    pub fn machines(&self) -> Vec<Machine> {
        let machine = |machine| Machine {
            host: IpAddr::V4(host(machine)),
            port: PORT,
            announce: None,
            within: vec![
                "nsenter".into(),
                format!("--net=/run/netns/machine-{machine}"),
            ],
        };
        (0..self.machines).map(machine).collect()
    }

    /// Takes a machine away from the others. Clients still reach it.
    pub fn cut(&self, machine: usize) -> io::Result<()> {
        let host = host(machine as u8);
        run(&format!("ip link set cable-{machine} master apart"))?;
        run(&format!("ip route add {host}/32 dev apart src {CLIENTS}"))
    }

    /// Puts it back.
    pub fn mend(&self, machine: usize) -> io::Result<()> {
        let host = host(machine as u8);
        run(&format!("ip link set cable-{machine} master together"))?;
        run(&format!("ip route del {host}/32 dev apart"))
    }
}

fn host(machine: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, machine + 1)
}
