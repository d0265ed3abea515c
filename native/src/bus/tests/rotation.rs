//! Credentials that are replaced while nodes run.

use super::private::{Authority, Files};
use super::*;

/// Whether a node of these credentials is let in by `node`.
async fn is_let_in(node: &TestNode, secret: Option<Secret>, tls: Option<Tls>) -> bool {
    let other = TestNode::start(BusConfig {
        tls,
        ..config(9, secret)
    });
    let met = other.bus.meet(&node.address()).await;
    other.bus.close().await;
    met.is_ok()
}

#[tokio::test]
async fn a_secret_is_replaced_in_three_steps() {
    let [old, new] = ["the one that goes", "the one that comes"];
    let with = |text: &str| Some(Secret::new(text.as_bytes()).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, old).unwrap();
    let secret = Secret::read(&file).unwrap();
    let node = TestNode::new(1, Some(secret.clone()));
    assert!(is_let_in(&node, with(old), None).await);
    assert!(!is_let_in(&node, with(new), None).await);
    for lines in [format!("{old}\n{new}\n"), format!("{new}\n{old}\n")] {
        std::fs::write(&file, &lines).unwrap();
        secret.forget_look();
        for other in [old, new] {
            assert!(is_let_in(&node, with(other), None).await, "{other}");
        }
        // Each step has met those who are one step ahead or behind.
        for other in [format!("{old}\n{new}\n"), format!("{new}\n{old}\n")] {
            assert!(is_let_in(&node, with(&other), None).await, "{other}");
        }
    }
    std::fs::write(&file, new).unwrap();
    secret.forget_look();
    assert!(is_let_in(&node, with(new), None).await);
    assert!(!is_let_in(&node, with(old), None).await);
}

#[tokio::test]
async fn an_authority_is_replaced_while_the_node_runs() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::new(&old, &old);
    let tls = files.tls();
    let node = TestNode::start(BusConfig {
        tls: Some(tls.clone()),
        ..config(1, None)
    });
    let of_old = || Some(Files::new(&old, &old).tls());
    let of_new = || Some(Files::new(&new, &new).tls());
    assert!(is_let_in(&node, None, of_old()).await);
    assert!(!is_let_in(&node, None, of_new()).await);
    // It believes both, and still shows what the old one has signed.
    std::fs::write(&files.authority, old.pem() + &new.pem()).unwrap();
    tls.forget_look();
    assert!(is_let_in(&node, None, of_old()).await);
    assert!(is_let_in(&node, None, Some(Files::new(&new, &old).tls())).await);
    // Half of the new pair is as good as none of it.
    let key = std::fs::read(&files.key).unwrap();
    files.write(&new, 2900);
    let new_key = std::fs::read(&files.key).unwrap();
    std::fs::write(&files.key, key).unwrap();
    tls.forget_look();
    assert!(is_let_in(&node, None, of_old()).await);
    std::fs::write(&files.key, new_key).unwrap();
    tls.forget_look();
    assert!(is_let_in(&node, None, of_new()).await);
    std::fs::write(&files.authority, new.pem()).unwrap();
    tls.forget_look();
    assert!(!is_let_in(&node, None, Some(Files::new(&old, &new).tls())).await);
    assert!(is_let_in(&node, None, of_new()).await);
}
