//! What the bus does about those who are no nodes of its cluster, or pretend to be.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::bus::frame::{Kind, Sealer};
use crate::bus::handshake::{MAGIC, Session, dial};

fn identity(node: u64, secret: Option<Secret>) -> Identity {
    Identity {
        node: NodeId(node),
        announce: "127.0.0.1:1".into(),
        secret,
        tls: None,
    }
}

const LINK: Wanted = Wanted {
    node: None,
    introduction: false,
};

async fn connect(node: &TestNode) -> TcpStream {
    TcpStream::connect(node.bus.local_address()).await.unwrap()
}

/// A connection that has passed the handshake.
async fn acquainted(node: &TestNode) -> (TcpStream, Session) {
    let mut stream = connect(node).await;
    let secret = node.bus.0.shared.identity.secret.clone();
    let session = dial(&mut stream, &identity(9, secret), LINK).await.unwrap();
    (stream, session)
}

/// What is said before the connection is closed.
async fn last_words(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said));
    // A connection may be reset as well as closed.
    let _ended = read.await.expect("the connection is closed in time");
    said
}

async fn is_refused(node: &TestNode, stream: &mut TcpStream, refusal: Refusal) -> Vec<u8> {
    let said = last_words(stream).await;
    until(refusal.name(), || node.refused(refusal) == 1).await;
    assert_eq!(node.heard(), []);
    node.works_for_others().await;
    said
}

fn head(version: u16, status: u8) -> Vec<u8> {
    [&MAGIC[..], &version.to_le_bytes(), &[status]].concat()
}

/// Two nodes, of which the first has the second for a member.
async fn members(one: BusConfig, two: BusConfig) -> [TestNode; 2] {
    let [one, two] = [one, two].map(TestNode::start);
    one.bus
        .learn(&map_of(&[(1, &one.address()), (2, &two.address())]));
    one.bus.send(packet_of(1, 2, 1));
    [one, two]
}

#[tokio::test]
async fn who_has_another_secret_is_refused() {
    let other = Secret::new(b"what the nodes of another know").unwrap();
    let [one, two] = members(config(1, Some(other)), config(2, Some(secret()))).await;
    until("a refusal", || two.refused(Refusal::Proof) > 0).await;
    assert!(two.heard().is_empty() && !one.is_connected(2));
    two.works_for_others().await;
}

#[tokio::test]
async fn who_has_no_secret_is_refused_by_who_has_one() {
    let [one, two] = members(config(1, None), config(2, Some(secret()))).await;
    until("a refusal", || two.refused(Refusal::Secret) > 0).await;
    assert!(two.heard().is_empty() && !one.is_connected(2));
    two.works_for_others().await;
}

#[tokio::test]
async fn who_has_a_secret_is_refused_by_who_has_none() {
    let [one, two] = members(config(1, Some(secret())), config(2, None)).await;
    until("a refusal", || two.refused(Refusal::Secret) > 0).await;
    assert!(two.heard().is_empty() && !one.is_connected(2));
    two.works_for_others().await;
}

#[tokio::test]
async fn another_version_is_refused_by_name() {
    let node = TestNode::new(1, Some(secret()));
    let mut stream = connect(&node).await;
    let later = [head(PROTOCOL + 1, 0), vec![7; 100]].concat();
    stream.write_all(&later).await.unwrap();
    let said = is_refused(&node, &mut stream, Refusal::Version).await;
    assert_eq!(said, head(PROTOCOL, Refusal::Version as u8));
}

#[tokio::test]
async fn a_node_of_another_version_is_named_to_who_meets_it() {
    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = own_address(old.local_addr().unwrap()).unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = old.accept().await.unwrap();
        let answer = head(0, Refusal::Version as u8);
        stream.write_all(&answer).await.unwrap();
        last_words(&mut stream).await;
    });
    let node = TestNode::new(1, Some(secret()));
    let error = node.bus.meet(&address).await.unwrap_err();
    assert!(error.to_string().contains("version 0"), "{error}");
    assert_eq!(node.refused(Refusal::Version), 1);
    answering.await.unwrap();
}

#[tokio::test]
async fn garbage_is_refused() {
    let node = TestNode::new(1, None);
    let mut stream = connect(&node).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(
        is_refused(&node, &mut stream, Refusal::Malformed).await,
        b""
    );
}

#[tokio::test]
async fn flags_of_another_time_are_refused() {
    let node = TestNode::new(1, None);
    let mut stream = connect(&node).await;
    let hello = [head(PROTOCOL, 0), vec![0xff; 42]].concat();
    stream.write_all(&hello).await.unwrap();
    is_refused(&node, &mut stream, Refusal::Malformed).await;
}

#[tokio::test]
async fn a_frame_of_four_gigabytes_is_refused() {
    let node = TestNode::new(1, Some(secret()));
    let (mut stream, _session) = acquainted(&node).await;
    stream
        .write_all(&[0xff, 0xff, 0xff, 0xff, 1])
        .await
        .unwrap();
    is_refused(&node, &mut stream, Refusal::TooLong).await;
}

#[tokio::test]
async fn a_damaged_frame_is_refused() {
    for secret in [None, Some(secret())] {
        let node = TestNode::new(1, secret);
        let (mut stream, session) = acquainted(&node).await;
        let bytes = postcard::to_allocvec(&packet_of(9, 1, 1)).unwrap();
        let mut frame = Vec::new();
        Sealer::new(session.sends).put(&mut frame, Kind::Last, &bytes);
        frame[10] ^= 1;
        stream.write_all(&frame).await.unwrap();
        is_refused(&node, &mut stream, Refusal::Damaged).await;
    }
}

#[tokio::test]
async fn who_speaks_for_another_is_refused() {
    let node = TestNode::new(1, Some(secret()));
    let (mut stream, session) = acquainted(&node).await;
    let bytes = postcard::to_allocvec(&packet_of(8, 1, 1)).unwrap();
    let mut frame = Vec::new();
    Sealer::new(session.sends).put(&mut frame, Kind::Last, &bytes);
    stream.write_all(&frame).await.unwrap();
    is_refused(&node, &mut stream, Refusal::Packet).await;
}

#[tokio::test]
async fn a_handshake_that_was_overheard_is_worth_nothing() {
    let node = TestNode::new(1, Some(secret()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = listener.local_addr().unwrap();
    let target = node.bus.local_address();
    let overhearing = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let bus = TcpStream::connect(target).await.unwrap();
        let (mut answers, mut asks) = bus.into_split();
        let back = tokio::spawn(async move { tokio::io::copy(&mut answers, &mut to).await });
        let mut overheard = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let count = from.read(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            overheard.extend_from_slice(&buffer[..count]);
            asks.write_all(&buffer[..count]).await.unwrap();
        }
        back.abort();
        overheard
    });
    let mut honest = TcpStream::connect(between).await.unwrap();
    let session = dial(&mut honest, &identity(9, Some(secret())), LINK).await;
    assert!(session.is_ok());
    drop(honest);
    let overheard = overhearing.await.unwrap();
    let mut stream = connect(&node).await;
    stream.write_all(&overheard).await.unwrap();
    let said = is_refused(&node, &mut stream, Refusal::Proof).await;
    assert_eq!(said.last(), Some(&(Refusal::Proof as u8)));
}

#[tokio::test]
async fn who_echoes_a_node_does_not_pass_for_one() {
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = own_address(echo.local_addr().unwrap()).unwrap();
    let echoing = tokio::spawn(async move {
        let (mut stream, _) = echo.accept().await.unwrap();
        let (mut read, mut write) = stream.split();
        // It ends when the other side has had enough.
        let _ended = tokio::io::copy(&mut read, &mut write).await;
    });
    let node = TestNode::new(1, Some(secret()));
    let error = node.bus.meet(&address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(node.refused(Refusal::Itself), 1);
    echoing.await.unwrap();
}

#[tokio::test]
async fn a_fake_acceptor_without_the_secret_is_found_out() {
    let fake = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = own_address(fake.local_addr().unwrap()).unwrap();
    let faking = tokio::spawn(async move {
        let (mut stream, _) = fake.accept().await.unwrap();
        let mut heard = vec![0; 1024];
        let count = stream.read(&mut heard).await.unwrap();
        // The dialler's own words, but for the id, and then a proof by nobody.
        heard[12] ^= 1;
        stream.write_all(&heard[..count]).await.unwrap();
        stream.write_all(&[0; 33]).await.unwrap();
        last_words(&mut stream).await;
    });
    let node = TestNode::new(1, Some(secret()));
    let error = node.bus.meet(&address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(node.refused(Refusal::Proof), 1);
    faking.await.unwrap();
}

#[tokio::test]
async fn a_node_does_not_connect_to_itself() {
    let node = TestNode::new(1, Some(secret()));
    let error = node.bus.meet(&node.address()).await.unwrap_err();
    assert!(error.to_string().contains("this node itself"), "{error}");
    assert!(node.bus.links().is_empty());
    node.works_for_others().await;
}

#[tokio::test]
async fn another_node_than_the_one_that_was_looked_for_is_refused() {
    let (one, two) = (
        TestNode::new(1, Some(secret())),
        TestNode::new(2, Some(secret())),
    );
    one.bus
        .learn(&map_of(&[(1, &one.address()), (5, &two.address())]));
    one.bus.send(packet_of(1, 5, 1));
    until("a refusal", || one.refused(Refusal::Stranger) > 0).await;
    assert!(two.heard().is_empty() && !one.is_connected(5));
    one.works_for_others().await;
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let mut config = config(1, Some(secret()));
    config.limits.handshake = Duration::from_millis(200);
    config.limits.silence = Duration::from_millis(300);
    let node = TestNode::start(config);
    let mut mute = connect(&node).await;
    assert_eq!(is_refused(&node, &mut mute, Refusal::Silent).await, b"");
    let (mut mute, _session) = acquainted(&node).await;
    assert_eq!(last_words(&mut mute).await, b"");
    until("a refusal", || node.refused(Refusal::Silent) >= 2).await;
}

#[tokio::test]
async fn there_is_room_for_so_many_strangers_only() {
    let mut config = config(1, Some(secret()));
    config.limits.unauthenticated = 2;
    let node = TestNode::start(config);
    // Who has shown who it is takes no room.
    let (_stream, _session) = acquainted(&node).await;
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(connect(&node).await);
    }
    // The first makes room for the last.
    last_words(&mut strangers[0]).await;
    until("a refusal", || node.refused(Refusal::Crowded) == 1).await;
    // And the others for who has something to say.
    node.works_for_others().await;
}

#[tokio::test]
async fn without_a_secret_nobody_on_another_machine_is_spoken_to() {
    let node = TestNode::new(1, None);
    // An address of the range that is kept for documents: no packet leaves this machine.
    let error = node.bus.meet("192.0.2.1:6379").await.unwrap_err();
    assert!(error.to_string().contains("secret"), "{error}");
}
