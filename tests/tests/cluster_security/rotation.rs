//! Credentials that are replaced while the cluster runs.

use trilith_tests::cluster::await_some;

use super::certificates::Authority;
use super::intruder::{WRONG_PROOF, connect, shake_hands};
use super::secret::{SECRET, guarded};
use super::trial::{PATIENCE, Trial};

const NEXT: &str = "f96b697d7cb7938d525a2f31aaf161d0";

/// Waits until a node answers so to who knows this secret.
fn answers(trial: &Trial, node: usize, secret: &str, status: u8) {
    await_some("another answer", PATIENCE, || {
        let answer = shake_hands(&mut connect(trial.bus(node)), Some(secret));
        (answer.ok()? == status).then_some(())
    })
    .unwrap();
}

#[test]
fn a_secret_is_replaced_while_the_cluster_runs() {
    let mut trial = guarded();
    let file = trial.file(&format!("secret-{}", &SECRET[..4]));
    answers(&trial, 0, NEXT, WRONG_PROOF);
    for (lines, accepted) in [
        (format!("{SECRET}\n{NEXT}\n"), NEXT),
        (format!("{NEXT}\n{SECRET}\n"), SECRET),
        (format!("{NEXT}\n"), NEXT),
    ] {
        std::fs::write(&file, lines).unwrap();
        for node in 0..3 {
            answers(&trial, node, accepted, 0);
        }
    }
    for node in 0..3 {
        answers(&trial, node, SECRET, WRONG_PROOF);
    }
    // Nodes that connect anew do so by the new one.
    trial.cluster.stop(2).unwrap();
    trial.cluster.restart(2).unwrap();
    trial.one_more_joins();
    trial.is_unharmed();
}

#[test]
fn an_authority_is_replaced_while_the_cluster_runs() {
    let [old, new] = ["old", "new"].map(Authority::new);
    let mut trial = Trial::start(|directory| old.option(directory, "node"));
    let write = |name: &str, text: String| std::fs::write(trial.file(name), text).unwrap();
    write("node.ca", old.pem() + &new.pem());
    for node in 0..3 {
        await_some("a welcome", PATIENCE, || {
            let mut stream = new.connect(trial.bus(node)).ok()?;
            (shake_hands(&mut stream, None).ok()? == 0).then_some(())
        })
        .unwrap();
    }
    new.write(&trial.file(""), "node", 2900);
    write("node.ca", new.pem());
    for node in 0..3 {
        await_some("a refusal", PATIENCE, || {
            let mut stream = old.connect(trial.bus(node)).ok()?;
            shake_hands(&mut stream, None).is_err().then_some(())
        })
        .unwrap();
    }
    trial.cluster.stop(2).unwrap();
    trial.cluster.restart(2).unwrap();
    trial.one_more_joins();
    trial.is_unharmed();
}
