//! RING BACKUP, as it is spoken.

use std::io;

use trilith::slot::{arc_of, slot_of};
use trilith_tests::cluster::await_some;
use trilith_tests::{Client, Reply, Server};

use super::LIMIT;

/// How many ranges may be read on a node at a time.
const OPEN_MOST: usize = 16;

fn open(client: &mut Client, range: &str) -> io::Result<Reply> {
    client.call(&["RING", "BACKUP", "OPEN", range])
}

fn next(client: &mut Client) -> io::Result<Vec<Reply>> {
    match client.call(&["RING", "BACKUP", "NEXT"])? {
        Reply::Array(words) => Ok(words),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

#[test]
fn a_connection_reads_one_range_to_its_end() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let server = Server::start(&root.path().join("data"))?;
    let mut client = server.connect()?;
    let range = arc_of(slot_of(b"{k}")).to_string();
    let large = vec![b'v'; 300 << 10];
    for n in 0..3 {
        let key = format!("{{k}}{n}").into_bytes();
        client.call(&[b"SET".to_vec(), key, large.clone()])?;
    }
    let Reply::Bulk(head) = open(&mut client, &range)? else {
        panic!("OPEN has no head");
    };
    let head: serde_json::Value = serde_json::from_slice(&head)?;
    assert_eq!(head["keys"], 3);
    assert_eq!(head["index"], head["changed"]["index"]);
    assert!(next(&mut client)?.len() == 3, "a large value is a part");
    // What is written meanwhile is not in it, and other commands are answered as ever.
    client.call(&["SET", "{k}3", "late"])?;
    let mut rest = 0;
    loop {
        let words = next(&mut client)?;
        if words.is_empty() {
            break;
        }
        rest += words.len() / 3;
    }
    assert_eq!(rest, 2);
    assert!(next(&mut client).is_err(), "it has ended");
    assert!(matches!(open(&mut client, "meta")?, Reply::Error(_)));
    Ok(())
}

#[test]
fn only_so_many_are_read_at_a_time_and_each_ends_with_its_connection() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let server = Server::start(&root.path().join("data"))?;
    let mut clients = Vec::new();
    for range in 0..OPEN_MOST {
        let mut client = server.connect()?;
        let opened = open(&mut client, &range.to_string())?;
        assert!(matches!(opened, Reply::Bulk(_)), "{opened:?}");
        clients.push(client);
    }
    let mut one_more = server.connect()?;
    let Reply::Error(refused) = open(&mut one_more, "0")? else {
        panic!("there are too many");
    };
    assert!(refused.contains("which is the most"), "{refused}");
    // One that reads another range lets go of the first.
    assert!(matches!(open(&mut clients[0], "99")?, Reply::Bulk(_)));
    drop(clients.pop());
    await_some("room for one more", LIMIT, || {
        let opened = open(&mut one_more, "0");
        opened
            .is_ok_and(|opened| matches!(opened, Reply::Bulk(_)))
            .then_some(())
    })
}
