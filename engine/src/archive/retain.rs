//! Which of the files that bases have replaced are kept, for going back in time.

use std::collections::BTreeSet;

use super::aof::File;

/// The names of those that are to go: a base and what goes on from it go together, the oldest first, while they ended
/// before `oldest_s` or all of them together are more than `bytes_most`.
pub(super) fn too_much(
    history: &[File],
    oldest_s: u64,
    bytes_most: u64,
    bytes_of: impl Fn(&File) -> u64,
) -> BTreeSet<String> {
    let mut files: Vec<&File> = history.iter().collect();
    // What was replaced together became history in the same second, and of these a base comes first.
    files.sort_by_key(|file| (file.until, !file.is_base(), file.seq));
    let mut bytes: u64 = files.iter().map(|file| bytes_of(file)).sum();
    let mut gone = BTreeSet::new();
    for group in files.chunk_by(|_, next| !next.is_base()) {
        let until = group.iter().filter_map(|file| file.until).max();
        let is_old = until.is_none_or(|until| until < oldest_s);
        if !is_old && bytes <= bytes_most {
            break;
        }
        bytes -= group.iter().map(|file| bytes_of(file)).sum::<u64>();
        gone.extend(group.iter().map(|file| file.name.clone()));
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::aof::{Kind, names};

    fn base(seq: u64, until: u64) -> File {
        File {
            until: Some(until),
            ..File::new(names::base(seq), seq, Kind::History)
        }
    }

    fn increment(seq: u64, until: u64) -> File {
        File {
            until: Some(until),
            ..File::new(names::increment(seq), seq, Kind::History)
        }
    }

    fn kept(history: &[File], oldest_s: u64, bytes_most: u64) -> Vec<String> {
        let gone = too_much(history, oldest_s, bytes_most, |_| 10);
        let kept = history.iter().filter(|file| !gone.contains(&file.name));
        kept.map(|file| file.name.clone()).collect()
    }

    #[test]
    fn what_is_too_old_goes_with_its_base() {
        let history = [
            base(1, 100),
            increment(1, 100),
            increment(2, 100),
            base(2, 200),
            increment(3, 200),
        ];
        assert_eq!(kept(&history, 100, 1000).len(), 5);
        assert_eq!(
            kept(&history, 101, 1000),
            [names::base(2), names::increment(3)]
        );
        assert!(kept(&history, 201, 1000).is_empty());
    }

    #[test]
    fn what_is_too_much_goes_oldest_first() {
        let history = [
            increment(3, 200),
            base(2, 200),
            base(1, 100),
            increment(1, 100),
            increment(2, 100),
        ];
        assert_eq!(kept(&history, 0, 50).len(), 5);
        assert_eq!(kept(&history, 0, 49), [names::increment(3), names::base(2)]);
        assert!(kept(&history, 0, 19).is_empty());
    }
}
