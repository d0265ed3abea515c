//! A node that the others do not hear, nor it them, while clients reach all of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use trilith_tests::{ClusterOptions, ServerOptions};

use crate::machines::{Place, enter};
use crate::network::Network;
use crate::proxies::Proxies;
use crate::trial::Trial;
use crate::turn::Turn;

#[test]
fn a_master_that_is_cut_off_serves_nothing_stale_and_is_taken_back() {
    let turn = Turn::wait();
    match enter("partition::a_master_that_is_cut_off_serves_nothing_stale_and_is_taken_back") {
        Place::Done => {}
        Place::Inside => in_namespaces(turn),
        Place::Outside(why) => println!("SKIPPED, proxies must do, in the next test: {why}"),
    }
}

/// The same where there are no namespaces. What was on its way arrives late instead of never.
#[test]
fn a_master_whose_proxies_hold_everything_back_is_taken_back() {
    let turn = Turn::wait();
    let proxies = Proxies::new(3).unwrap();
    let options = ClusterOptions::default().machines(proxies.machines());
    let trial = Trial::start_in(options, tempfile::tempdir().unwrap(), turn);
    through(&trial, || proxies.cut(1), || proxies.mend());
    trial.finish();
}

/// So that it is known that what is lost would be noticed: with W 1 and R 1 a master that is cut off acknowledges what
/// nobody else has.
#[test]
fn where_w_and_r_are_one_what_a_master_acknowledges_that_is_cut_off_is_seen_to_be_lost() {
    let turn = Turn::wait();
    let proxies = Proxies::new(3).unwrap();
    let options = ClusterOptions::default()
        .machines(proxies.machines())
        .quorum(3, 1, 1);
    let trial = Trial::start_in(options, tempfile::tempdir().unwrap(), turn);
    through(&trial, || proxies.cut(1), || proxies.mend());
    let wrong = trial.end();
    let lost = |what: &&String| what.starts_with("an acknowledged write was lost");
    let lost = wrong.iter().filter(lost).count();
    println!("{lost} lost");
    assert!(lost > 0, "{wrong:?}");
}

fn in_namespaces(turn: Turn) {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "a secret that only these three nodes know\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let server = ServerOptions::default().arguments(["--secret-file", secret.to_str().unwrap()]);
    let network = Network::new(3).unwrap();
    let options = ClusterOptions::default()
        .server(server)
        .machines(network.machines());
    let trial = Trial::start_in(options, directory, turn);
    through(
        &trial,
        || network.cut(1).unwrap(),
        || network.mend(1).unwrap(),
    );
    trial.finish();
}

fn through(trial: &Trial, cut: impl Fn(), mend: impl Fn()) {
    let mastered = trial.mastered_by(1);
    cut();
    trial.note("cut off");
    let writes = trial.load.await_writes("a new master", &mastered, 1);
    writes.unwrap();
    trial.await_progress_meanwhile();
    trial.await_silence(0, 1);
    trial.await_silence(1, 2);
    mend();
    trial.note("mended");
}
