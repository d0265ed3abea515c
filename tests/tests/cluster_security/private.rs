//! A cluster whose nodes show each other certificates.

use super::certificates::{Authority, connect};
use super::intruder::{self, NO_TLS, VERSION, WRONG_PROOF, shake_hands};
use super::secret::{SECRET, option};
use super::trial::{Trial, names};

fn guarded(authority: &Authority) -> Trial {
    Trial::start(|directory| authority.option(directory, "node"))
}

#[test]
fn who_shows_no_certificate_of_the_cluster_is_refused() {
    let [ours, other] = ["cluster", "other"].map(Authority::new);
    let trial = guarded(&ours);
    for (node, shown, why) in [
        (0, None, "it has shown none"),
        (1, Some(other.sign(2900)), "another authority has signed it"),
        (2, Some(ours.sign(2000)), "expired"),
    ] {
        // It learns of the refusal with the first answer.
        let answer =
            connect(trial.bus(node), shown).and_then(|mut stream| shake_hands(&mut stream, None));
        assert!(answer.is_err(), "{why}: {answer:?}");
        let words = [
            "refused",
            "peer=127.0.0.1:",
            "certificate",
            why,
            "--bus-tls-ca",
        ];
        trial.says(node, &words);
    }
    // In the clear, with and without a secret.
    for secret in [None, Some(SECRET)] {
        let mut stream = intruder::connect(trial.bus(0));
        assert_eq!(shake_hands(&mut stream, secret).unwrap(), NO_TLS);
    }
    trial.says(0, &["refused", "peer=127.0.0.1:", "speaks in the clear"]);
    // Or the others would be refused for some other reason.
    let mut stream = ours.connect(trial.bus(0)).unwrap();
    assert_eq!(shake_hands(&mut stream, None).unwrap(), 0);
    trial.is_unharmed();
}

#[test]
fn a_node_without_a_certificate_of_the_cluster_does_not_join_and_says_why() {
    let [ours, other] = ["cluster", "other"].map(Authority::new);
    let mut trial = guarded(&ours);
    let directory = trial.file("");
    let said = trial.fails_to_join("without", &[]);
    names(&said, &["only one of the two nodes has a certificate"]);
    names(&said, &["--bus-tls-cert"]);
    let said = trial.fails_to_join("other", &other.option(&directory, "other"));
    names(&said, &["another authority has signed it", "--bus-tls-ca"]);
    // It believes the cluster, and the cluster does not believe it.
    let half = other.option(&directory, "half");
    std::fs::write(trial.file("half.ca"), ours.pem()).unwrap();
    let said = trial.fails_to_join("half", &half);
    names(&said, &["the peer refuses this node", "certificate"]);
    names(&said, &["--bus-tls-ca"]);
    assert!(!said.contains("PRIVATE KEY"), "{said}");
    trial.is_unharmed();
    trial.one_more_joins();
    trial.is_unharmed();
}

#[test]
fn with_a_secret_and_certificates_it_takes_both() {
    let ours = Authority::new("cluster");
    let mut trial = Trial::start(|directory| {
        let mut arguments = ours.option(directory, "node");
        arguments.extend(option(directory, SECRET));
        arguments
    });
    let mut stream = ours.connect(trial.bus(0)).unwrap();
    let other = SECRET.to_uppercase();
    assert_eq!(shake_hands(&mut stream, Some(&other)).unwrap(), WRONG_PROOF);
    trial.says(0, &["refused", "its secret is another"]);
    let mut stream = intruder::connect(trial.bus(0));
    assert_eq!(shake_hands(&mut stream, Some(SECRET)).unwrap(), NO_TLS);
    let mut stream = ours.connect(trial.bus(0)).unwrap();
    assert_eq!(shake_hands(&mut stream, Some(SECRET)).unwrap(), 0);
    let directory = trial.file("");
    let said = trial.fails_to_join("half", &ours.option(&directory, "half"));
    names(&said, &["only one of the two nodes has a secret"]);
    trial.one_more_joins();
    trial.is_unharmed();
}

#[test]
fn the_version_is_exchanged_within() {
    use std::io::Write;
    let ours = Authority::new("cluster");
    let trial = guarded(&ours);
    let mut stream = ours.connect(trial.bus(0)).unwrap();
    let old = intruder::hello(VERSION - 1, false);
    stream.write_all(&old).unwrap();
    let answer = intruder::last_words(&mut stream);
    assert_eq!(
        answer,
        intruder::head(VERSION, intruder::OTHER_VERSION),
        "{answer:?}"
    );
    trial.says(0, &["refused", "speaks version 0, and this node 1"]);
    trial.is_unharmed();
}
