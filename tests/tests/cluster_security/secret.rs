//! A cluster with a secret.

use std::io::Write;
use std::path::Path;

use trilith_tests::Reply;

use super::intruder::{self, NO_SECRET, WRONG_PROOF, connect, last_words, shake_hands};
use super::trial::{Trial, names};

pub const SECRET: &str = "5eb63bbbe01eeed093cb22bb8f5acdc3";
const OTHER: &str = "2aae6c35c94fcfb415dbe95f408b9ce9";

/// The options of who has a secret, which is put in a file.
pub fn option(directory: &Path, secret: &str) -> Vec<String> {
    let file = directory.join(format!("secret-{}", &secret[..4]));
    std::fs::write(&file, secret).unwrap();
    vec!["--secret-file".into(), file.display().to_string()]
}

pub fn guarded() -> Trial {
    Trial::start(|directory| option(directory, SECRET))
}

#[test]
fn who_has_no_secret_or_another_is_refused() {
    let trial = guarded();
    let status = shake_hands(&mut connect(trial.bus(0)), None).unwrap();
    assert_eq!(status, NO_SECRET);
    trial.says(
        0,
        &[
            "refused",
            "peer=127.0.0.1:",
            "has a secret",
            "--secret-file",
        ],
    );
    let status = shake_hands(&mut connect(trial.bus(1)), Some(OTHER)).unwrap();
    assert_eq!(status, WRONG_PROOF);
    trial.says(
        1,
        &[
            "refused",
            "peer=127.0.0.1:",
            "its secret is another",
            "--secret-file",
        ],
    );
    let mut stream = connect(trial.bus(2));
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(last_words(&mut stream), b"");
    trial.says(2, &["refused", "peer=127.0.0.1:", "does not speak the bus"]);
    trial.is_unharmed();
}

#[test]
fn a_node_without_the_secret_does_not_join_and_says_why() {
    let trial = guarded();
    let said = trial.fails_to_join("without", &[]);
    names(
        &said,
        &["only one of the two nodes has a secret", "--secret-file"],
    );
    let said = trial.fails_to_join("other", &option(&trial.file(""), OTHER));
    names(&said, &["its secret is another", "--secret-file"]);
    assert!(!said.contains(OTHER) && !said.contains(SECRET), "{said}");
    trial.is_unharmed();
}

#[test]
fn the_secret_is_nowhere_to_be_read() {
    let trial = Trial::start(|directory| {
        let mut arguments = option(directory, SECRET);
        arguments.extend(["--log-level".into(), "trace".into()]);
        arguments
    });
    shake_hands(&mut connect(trial.bus(0)), Some(OTHER)).unwrap();
    trial.says(0, &["refused", "its secret is another"]);
    let mut shown = trial.fails_to_join("without", &[]);
    for node in 0..3 {
        let mut client = trial.cluster.connect(node).unwrap();
        for command in [
            &["INFO", "everything"][..],
            &["CONFIG", "GET", "*"],
            &["RING", "STATUS"],
            &["CLUSTER", "NODES"],
        ] {
            let reply = client.call(command).unwrap();
            assert!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
            shown += &text(&reply);
        }
        for command in [&["status"][..], &["nodes"], &["status", "--json"]] {
            let output = trial.cluster.trilith(node, command).unwrap();
            shown += &String::from_utf8_lossy(&output.stdout);
        }
        shown += &trial.cluster.output(node);
    }
    names(&shown, &["bus_refused:", "maxmemory", "DEBUG"]);
    let bytes = |secret: &str| format!("{:?}", secret.as_bytes());
    for secret in [SECRET, OTHER] {
        assert!(!shown.contains(secret));
        assert!(!shown.contains(bytes(secret).trim_matches(['[', ']'])));
    }
    trial.is_unharmed();
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Array(replies) => replies.iter().map(text).collect(),
        other => format!("{other:?}"),
    }
}

#[test]
fn who_knows_the_secret_is_let_in() {
    // Or the others would be refused for some other reason.
    let mut trial = guarded();
    let status = shake_hands(&mut connect(trial.bus(0)), Some(SECRET)).unwrap();
    assert_eq!(status, 0);
    let hello = intruder::hello(intruder::VERSION, true);
    assert_eq!(hello.len(), 53);
    trial.one_more_joins();
    trial.is_unharmed();
}
