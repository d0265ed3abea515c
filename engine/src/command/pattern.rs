//! Glob patterns as KEYS and SCAN take them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a character that
//! means itself.
//!
//! The same texts match as in Redis, malformed patterns included, but the time is bounded by the
//! product of the two lengths: only the last star is ever tried again.

/// Whether the whole of `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star fails: behind the star, one character further.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            retry = Some((p, t));
            continue;
        }
        match text.get(t) {
            None => return p == pattern.len(),
            Some(&byte) => {
                if let Some(len) = matches_one(&pattern[p..], byte) {
                    p += len;
                    t += 1;
                } else if let Some((star_p, star_t)) = retry {
                    p = star_p;
                    t = star_t + 1;
                    retry = Some((p, t));
                } else {
                    return false;
                }
            }
        }
    }
}

/// How many bytes of the pattern stand for `byte`, if its beginning does.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (found, len) = matches_class(class, byte);
            found.then_some(1 + len)
        }
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether `byte` is in the class, and how long the class is. One that is not closed ends with the pattern.
fn matches_class(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match class.get(at..).unwrap_or_default() {
            [] => break,
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [a, b'-', b, ..] => {
                found |= (*a.min(b)..=*a.max(b)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

/// The bytes that every match begins with; a scan in key order need not look elsewhere.
pub fn literal_prefix(pattern: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::new();
    let mut rest = pattern;
    loop {
        rest = match rest {
            [] | [b'*' | b'?' | b'[', ..] => return prefix,
            [b'\\', literal, rest @ ..] | [literal, rest @ ..] => {
                prefix.push(*literal);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pattern: &str, texts: &[&str]) -> Vec<bool> {
        texts
            .iter()
            .map(|text| matches(pattern.as_bytes(), text.as_bytes()))
            .collect()
    }

    #[test]
    fn stars_match_any_run() {
        assert_eq!(all("*", &["", "a", "abc"]), [true; 3]);
        assert_eq!(
            all("a*c", &["ac", "abc", "abcabc", "abcd", "bac"]),
            [true, true, true, false, false]
        );
        assert_eq!(all("**a**b", &["ab", "xaxb", "ba"]), [true, true, false]);
        assert_eq!(
            all("user:*:name", &["user:1:name", "user::name", "user:name"]),
            [true, true, false]
        );
    }

    #[test]
    fn a_question_mark_matches_one_byte() {
        assert_eq!(
            all("h?llo", &["hello", "hllo", "heello"]),
            [true, false, false]
        );
        assert_eq!(all("?*", &["", "a"]), [false, true]);
    }

    #[test]
    fn classes_hold_ranges_negations_and_escapes() {
        assert_eq!(
            all("h[ae]llo", &["hello", "hallo", "hillo"]),
            [true, true, false]
        );
        assert_eq!(all("h[^e]llo", &["hello", "hallo"]), [false, true]);
        assert_eq!(
            all("[a-c]", &["a", "c", "d", "-"]),
            [true, true, false, false]
        );
        assert_eq!(all("[c-a]", &["b", "d"]), [true, false]);
        assert_eq!(all("[\\]]", &["]", "\\"]), [true, false]);
        assert_eq!(all("[a\\-z]", &["-", "b"]), [true, false]);
        assert_eq!(all("[]", &["a", ""]), [false, false]);
        assert_eq!(all("[^]", &["a", ""]), [true, false]);
    }

    #[test]
    fn a_class_that_is_not_closed_ends_with_the_pattern() {
        assert_eq!(
            all("[ab", &["a", "b", "c", "ab"]),
            [true, true, false, false]
        );
        assert_eq!(all("[a-", &["a", "-", "b"]), [true, true, false]);
        assert_eq!(all("[", &["a", "["]), [false, false]);
    }

    #[test]
    fn an_escaped_character_means_itself() {
        assert_eq!(all("a\\*b", &["a*b", "axb"]), [true, false]);
        assert_eq!(all("\\", &["\\", ""]), [true, false]);
        assert_eq!(all("", &["", "a"]), [true, false]);
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(200) + "b";
        let text = "a".repeat(20_000);
        assert!(!matches(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn the_prefix_is_what_all_matches_begin_with() {
        assert_eq!(literal_prefix(b"user:*"), b"user:");
        assert_eq!(literal_prefix(b"a\\*b?"), b"a*b");
        assert_eq!(literal_prefix(b"[a]b"), b"");
        assert_eq!(literal_prefix(b"abc"), b"abc");
        assert_eq!(literal_prefix(b"a\\"), b"a\\");
    }
}
