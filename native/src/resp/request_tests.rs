//! What a reader makes of requests, whole, in pieces and malformed.

use proptest::prelude::*;

use super::*;

/// Feeds `pieces` one after another; the requests, and the error if there was one.
fn read(pieces: &[&[u8]]) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let mut reader = RequestReader::default();
    let mut input = BytesMut::new();
    let mut requests = Requests::default();
    let (mut all, mut words) = (Vec::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        reader.read(&input, usize::MAX);
        reader.take(&mut input, &mut requests);
        while requests.next_into(&mut words) {
            all.push(words.iter().map(|word| word.to_vec()).collect());
        }
    }
    (all, reader.error().map(ToString::to_string))
}

fn text(requests: &[Vec<Vec<u8>>]) -> Vec<String> {
    let words = |request: &Vec<Vec<u8>>| {
        request
            .iter()
            .map(|word| String::from_utf8_lossy(word))
            .collect::<Vec<_>>()
            .join("|")
    };
    requests.iter().map(words).collect()
}

fn error_of(input: &[u8]) -> String {
    read(&[input]).1.expect("an error")
}

const MIXED: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n\r\n*0\r\n*-1\r\n*1\r\n$0\r\n\r\nset k \"a b\\x41\\n\" 'it\\'s'\n*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n";

#[test]
fn requests_are_read_in_order() {
    let (requests, error) = read(&[MIXED]);
    assert_eq!(
        text(&requests),
        ["GET|k", "PING", "", "set|k|a bA\n|it's", "ECHO|\r\n\r\n"]
    );
    assert_eq!(error, None);
}

#[test]
fn input_cut_anywhere_reads_the_same() {
    let whole = read(&[MIXED]);
    for cut in 0..MIXED.len() {
        assert_eq!(read(&[&MIXED[..cut], &MIXED[cut..]]), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = MIXED.chunks(1).collect();
    assert_eq!(read(&bytes), whole);
}

#[test]
fn a_limit_leaves_the_rest_for_later() {
    let mut reader = RequestReader::default();
    let mut input = BytesMut::from(&b"PING\r\nPING\r\nPING\r\n"[..]);
    let mut requests = Requests::default();
    reader.read(&input, 2);
    reader.take(&mut input, &mut requests);
    assert_eq!(requests.len(), 2);
    reader.read(&input, 2);
    reader.take(&mut input, &mut requests);
    assert_eq!(requests.len(), 1);
    assert!(input.is_empty());
}

#[test]
fn words_are_slices_of_the_input() {
    let mut reader = RequestReader::default();
    let mut input = BytesMut::from(&b"*1\r\n$4\r\nPING\r\n"[..]);
    let range = input.as_ptr_range();
    reader.read(&input, 1);
    let mut requests = Requests::default();
    reader.take(&mut input, &mut requests);
    let mut words = Vec::new();
    assert!(requests.next_into(&mut words));
    assert!(range.contains(&words[0].as_ptr()), "the word was copied");
}

#[test]
fn malformed_requests_get_redis_texts() {
    assert_eq!(
        error_of(b"*x\r\n"),
        "Protocol error: invalid multibulk length"
    );
    assert_eq!(
        error_of(b"*1048577\r\n"),
        "Protocol error: invalid multibulk length"
    );
    assert_eq!(
        error_of(b"*\r\n"),
        "Protocol error: invalid multibulk length"
    );
    assert_eq!(
        error_of(b"*1\r\n:1\r\n"),
        "Protocol error: expected '$', got ':'"
    );
    assert_eq!(
        error_of(b"*1\r\n$-1\r\n"),
        "Protocol error: invalid bulk length"
    );
    assert_eq!(
        error_of(b"*1\r\n$536870913\r\n"),
        "Protocol error: invalid bulk length"
    );
    assert_eq!(
        error_of(b"*1\r\n$1x\r\n"),
        "Protocol error: invalid bulk length"
    );
    assert_eq!(
        error_of(b"get \"a\r\n"),
        "Protocol error: unbalanced quotes in request"
    );
    assert_eq!(
        error_of(b"get \"a\"b\r\n"),
        "Protocol error: unbalanced quotes in request"
    );
    assert_eq!(
        error_of(&[b'a'; LINE_BYTES_MAX + 1]),
        "Protocol error: too big inline request"
    );
    let mut long = b"*".to_vec();
    long.resize(LINE_BYTES_MAX + 2, b'1');
    assert_eq!(
        error_of(&long),
        "Protocol error: too big mbulk count string"
    );
    let mut long = b"*1\r\n$".to_vec();
    long.resize(LINE_BYTES_MAX + 10, b'1');
    assert_eq!(error_of(&long), "Protocol error: too big bulk count string");
}

#[test]
fn what_came_before_an_error_is_still_read() {
    let (requests, error) = read(&[b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n+\r\nPING\r\n"]);
    assert_eq!(text(&requests), ["PING", "PING"]);
    assert!(error.is_some());
}

#[test]
fn room_is_wanted_for_the_word_under_way() {
    let mut reader = RequestReader::default();
    let input = b"*1\r\n$1000\r\nabc";
    reader.read(input, 1);
    assert_eq!(reader.bytes_wanted(input.len()), 999);
}

#[test]
fn a_large_word_in_small_pieces_takes_linear_time() {
    let mut reader = RequestReader::default();
    let mut input = BytesMut::from(&b"*1\r\n$16000000\r\n"[..]);
    for _ in 0..16_000 {
        input.extend_from_slice(&[b'x'; 1000]);
        reader.read(&input, 1);
    }
    input.extend_from_slice(b"\r\n");
    reader.read(&input, 1);
    assert_eq!(reader.complete(), 1);
}

proptest! {
    #[test]
    fn any_bytes_cut_anywhere_read_the_same(
        input in proptest::collection::vec(
            proptest::sample::select(b"*$123\r\n\"'\\x aG\0".to_vec()), 0..80),
        cut in any::<proptest::sample::Index>(),
    ) {
        let cut = cut.index(input.len() + 1);
        prop_assert_eq!(read(&[&input]), read(&[&input[..cut], &input[cut..]]));
    }
}
