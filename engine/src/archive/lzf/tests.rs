//! What is compressed comes back, and no bytes do harm.

use proptest::prelude::*;

use super::*;

fn compressed(compressor: &mut Compressor, input: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let fits = compressor.compress(input, &mut out);
    assert!(out.starts_with(b"before"));
    let bytes = out.split_off(6);
    assert!(fits || bytes.is_empty());
    fits.then_some(bytes)
}

fn decompressed(input: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    decompress(input, len, &mut out)?;
    assert!(out.starts_with(b"before"));
    Some(out.split_off(6))
}

#[test]
fn a_run_is_a_byte_and_a_copy_of_what_is_being_made() {
    let bytes = compressed(&mut Compressor::default(), &[b'a'; 100]).unwrap();
    assert_eq!(bytes, [0, b'a', 7 << 5, 99 - 9, 0]);
    assert_eq!(decompressed(&bytes, 100).unwrap(), [b'a'; 100]);
}

#[test]
fn the_parts_are_read_as_the_format_has_them() {
    for (bytes, expected) in [
        (&[2, b'a', b'b', b'c'][..], &b"abc"[..]),
        (&[1, b'a', b'b', 1 << 5, 1], b"ababa"),
        (&[0, b'a', 6 << 5, 0], b"aaaaaaaaa"),
        (&[0, b'a', 7 << 5, 0, 0], b"aaaaaaaaaa"),
        (&[], b""),
    ] {
        assert_eq!(decompressed(bytes, expected.len()).unwrap(), expected);
    }
}

#[test]
fn what_does_not_add_up_is_refused() {
    for (bytes, len) in [
        // Literals, a long copy and a copy that are cut off.
        (&[2, b'a', b'b'][..], 3),
        (&[0, b'a', 7 << 5, 0], 10),
        (&[0, b'a', 1 << 5], 4),
        // From before the beginning.
        (&[0, b'a', 1 << 5, 1], 4),
        // Less and more than was said.
        (&[2, b'a', b'b', b'c'], 4),
        (&[2, b'a', b'b', b'c'], 2),
        (&[], 1),
        // More than so few bytes can hold: no memory is taken.
        (&[0, b'a'], usize::MAX),
    ] {
        assert_eq!(decompressed(bytes, len), None, "{bytes:?} {len}");
    }
}

#[test]
fn a_copy_reaches_as_far_as_it_can_and_no_further() {
    let odd: Vec<u8> = (1..=40).collect();
    let len = |distance: usize| {
        let mut input = odd.clone();
        input.resize(distance, 0);
        input.extend(&odd);
        let bytes = compressed(&mut Compressor::default(), &input).unwrap();
        assert_eq!(decompressed(&bytes, input.len()).unwrap(), input);
        bytes.len()
    };
    assert!(len(DISTANCE_MAX) + 30 < len(DISTANCE_MAX + 1));
}

#[test]
fn what_was_compressed_before_changes_nothing() {
    let inputs: Vec<Vec<u8>> = (0..200u32)
        .map(|n| {
            let words = ["alpha", "beta", "gamma", "delta"];
            (0..n % 60)
                .map(|i| words[(n * 7 + i * i) as usize % 4])
                .collect::<String>()
                .into_bytes()
        })
        .collect();
    let mut kept = Compressor::default();
    for input in inputs.iter().chain(&inputs) {
        let fresh = compressed(&mut Compressor::default(), input);
        assert_eq!(compressed(&mut kept, input), fresh);
    }
}

#[test]
fn places_begin_anew_before_they_run_out() {
    let input = b"abcabcabcabcabcabcabcabcabcabcabc";
    let expected = compressed(&mut Compressor::default(), input);
    for left in 0..100 {
        let mut compressor = Compressor {
            base: u32::MAX - left,
            ..Compressor::default()
        };
        for _ in 0..3 {
            assert_eq!(compressed(&mut compressor, input), expected);
        }
    }
}

/// Strings with something to find in them: pieces of few letters, repeated.
fn repetitive() -> impl Strategy<Value = Vec<u8>> {
    let piece = (prop::collection::vec(0u8..4, 1..40), 1usize..60);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| {
        pieces
            .into_iter()
            .flat_map(|(piece, times)| piece.repeat(times))
            .collect()
    })
}

proptest! {
    #[test]
    fn what_is_compressed_comes_back(
        inputs in prop::collection::vec(
            prop_oneof![repetitive(), prop::collection::vec(any::<u8>(), 0..300)],
            1..6,
        ),
    ) {
        let mut compressor = Compressor::default();
        for input in inputs {
            if let Some(bytes) = compressed(&mut compressor, &input) {
                prop_assert!(bytes.len() + SAVED_MIN <= input.len());
                prop_assert_eq!(decompressed(&bytes, input.len()), Some(input));
            }
        }
    }

    #[test]
    fn any_bytes_are_taken_without_panic_or_excess(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        len in 0usize..20_000,
    ) {
        let mut out = Vec::new();
        if decompress(&bytes, len, &mut out).is_some() {
            prop_assert_eq!(out.len(), len);
        }
        prop_assert!(out.len() <= len + COPY_MAX);
    }
}
