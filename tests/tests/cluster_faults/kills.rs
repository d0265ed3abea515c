//! Processes that end as `kill -9` ends them.

use trilith_tests::{ClusterOptions, ServerOptions};

use crate::trial::Trial;

/// Kills the node that masters most of a load, and starts it again.
fn kill_one(mut trial: Trial) {
    let mastered = trial.mastered_by(1);
    trial.cluster.kill(1).unwrap();
    trial.note("killed");
    let writes = trial.load.await_writes("a new master", &mastered, 1);
    writes.unwrap();
    trial.await_progress_meanwhile();
    trial.cluster.restart(1).unwrap();
    trial.note("restarted");
    trial.finish();
}

#[test]
fn a_master_that_is_killed_is_replaced_and_comes_back() {
    kill_one(Trial::start(ClusterOptions::default()));
}

#[test]
fn a_master_that_is_killed_under_everysec_takes_nothing_along() {
    let server = ServerOptions::default().appendfsync("everysec");
    kill_one(Trial::start(ClusterOptions::default().server(server)));
}

#[test]
fn three_nodes_that_are_killed_at_once_come_back_with_everything() {
    let mut trial = Trial::start(ClusterOptions::default());
    let nodes = trial.cluster.running();
    trial.cluster.kill_all().unwrap();
    trial.note("killed");
    for node in nodes {
        trial.cluster.restart(node).unwrap();
    }
    trial.note("restarted");
    trial.finish();
}

/// W is N: nothing is written while one is away, and that is said; reads go on.
#[test]
fn where_writes_take_all_copies_one_that_is_killed_stops_writes_and_not_reads() {
    let mut trial = Trial::start(ClusterOptions::default().quorum(3, 3, 1));
    trial.cluster.kill(1).unwrap();
    trial.note("killed");
    trial.await_refusals("NOREPLICAS");
    trial.read_every_key();
    trial.cluster.restart(1).unwrap();
    trial.note("restarted");
    trial.finish();
}
