//! Up to which index of which range a file has everything.
//!
//! Written as annotations. `#ATALL:` begins a full set and says how many ranges it has; where they do not fit into one
//! line, `#AT:` lines go on. A set that is not complete says nothing: its end was cut off.

use std::collections::BTreeMap;

use super::encode::LINE_BYTES_MAX;
use super::number;

const SOME: &[u8] = b"#AT:";
const ALL: &[u8] = b"#ATALL:";

/// Indices of ranges.
///
/// ```
/// use trilith::archive::aof::Positions;
/// let mut out = Vec::new();
/// Positions::from_iter([(0, 17), (1, 9)]).encode_all(&mut out);
/// assert_eq!(out, b"#ATALL:2;0=17,1=9\r\n");
/// Positions::encode(&mut out, [(1, 12)]);
/// let mut read = Positions::default();
/// for line in out.split_inclusive(|&byte| byte == b'\n') {
///     read.read(line.trim_ascii_end());
/// }
/// assert_eq!(read.of(1), Some(12));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    indices: BTreeMap<u32, u64>,
    /// How many ranges the full set has; `None` before there was one.
    wanted: Option<u64>,
}

impl FromIterator<(u32, u64)> for Positions {
    fn from_iter<T: IntoIterator<Item = (u32, u64)>>(pairs: T) -> Self {
        let indices = BTreeMap::from_iter(pairs);
        let wanted = Some(indices.len() as u64);
        Self { indices, wanted }
    }
}

impl Positions {
    /// The index of a range, if it is known.
    pub fn of(&self, range: u32) -> Option<u64> {
        self.indices.get(&range).copied()
    }

    /// Every range and its index, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        self.indices.iter().map(|(&range, &index)| (range, index))
    }

    /// Whether a full set has been read whole.
    pub fn is_complete(&self) -> bool {
        self.wanted
            .is_some_and(|wanted| self.indices.len() as u64 >= wanted)
    }

    /// A full set that was written as `range=index,range=index`, as snapshots have it; `None` if it is something else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        pairs(text).map(Self::from_iter)
    }

    /// Whether these have everything that `others` have.
    pub fn have_all_of(&self, others: &Self) -> bool {
        let has = |(range, index)| index == 0 || self.of(range).is_some_and(|has| has >= index);
        others.iter().all(has)
    }

    /// Notes that a range is there up to `index`.
    pub fn set(&mut self, range: u32, index: u64) {
        self.indices.insert(range, index);
    }

    /// Appends them as a full set.
    pub fn encode_all(&self, out: &mut Vec<u8>) {
        let mut digits = [0; number::DIGITS];
        let mut begin = ALL.to_vec();
        begin.extend_from_slice(number::format(self.indices.len() as u64, &mut digits));
        begin.push(b';');
        lines(out, &begin, self.iter(), true);
    }

    /// Appends some pairs of range and index; nothing if there are none.
    pub fn encode(out: &mut Vec<u8>, pairs: impl IntoIterator<Item = (u32, u64)>) {
        lines(out, SOME, pairs, false);
    }

    /// Whether an annotation begins a full set.
    pub fn begins(line: &[u8]) -> bool {
        line.starts_with(ALL)
    }

    /// Takes in an annotation, without its line's end. False if it is none of positions, or damaged: it then changed
    /// nothing.
    pub fn read(&mut self, line: &[u8]) -> bool {
        if let Some(rest) = line.strip_prefix(ALL) {
            let mut parts = rest.splitn(2, |&byte| byte == b';');
            let wanted = parts.next().and_then(number::parse);
            let pairs = parts.next().and_then(pairs);
            let (Some(wanted), Some(pairs)) = (wanted, pairs) else {
                return false;
            };
            self.indices = pairs.into_iter().collect();
            self.wanted = Some(wanted);
            return true;
        }
        match line.strip_prefix(SOME).and_then(pairs) {
            Some(pairs) => self.indices.extend(pairs),
            None => return false,
        }
        true
    }
}

/// Pairs as `range=index,range=index`; none at all is a list too.
fn pairs(text: &[u8]) -> Option<Vec<(u32, u64)>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let pair = |text: &[u8]| {
        let at = text.iter().position(|&byte| byte == b'=')?;
        let range = u32::try_from(number::parse(&text[..at])?).ok()?;
        Some((range, number::parse(&text[at + 1..])?))
    };
    text.split(|&byte| byte == b',').map(pair).collect()
}

/// Appends pairs in as many lines as they need: the first begins with `begin`, the others with `#AT:`.
fn lines(
    out: &mut Vec<u8>,
    begin: &[u8],
    pairs: impl IntoIterator<Item = (u32, u64)>,
    even_if_empty: bool,
) {
    /// A comma, the range, the equals sign, the index and the line's end.
    const PAIR_BYTES_MAX: usize = 1 + 10 + 1 + number::DIGITS + 2;
    let mut digits = [0; number::DIGITS];
    let mut start = None;
    if even_if_empty {
        start = Some(out.len());
        out.extend_from_slice(begin);
    }
    let mut is_first = true;
    for (range, index) in pairs {
        let is_full =
            start.is_some_and(|start| out.len() - start + PAIR_BYTES_MAX > LINE_BYTES_MAX);
        if is_full {
            out.extend_from_slice(b"\r\n");
        }
        if is_full || start.is_none() {
            start = Some(out.len());
            out.extend_from_slice(SOME);
            is_first = true;
        }
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        out.extend_from_slice(number::format(range.into(), &mut digits));
        out.push(b'=');
        out.extend_from_slice(number::format(index, &mut digits));
    }
    if start.is_some() {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Positions {
        let mut positions = Positions::default();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            assert!(line.len() <= LINE_BYTES_MAX && line.ends_with(b"\r\n"));
            assert!(positions.read(&line[..line.len() - 2]));
        }
        positions
    }

    #[test]
    fn a_full_set_of_any_size_reads_as_it_was_written() {
        for count in [0, 1, 7, 40, 257, 5000] {
            let written = Positions::from_iter((0..count).map(|range| {
                let index = u64::MAX - u64::from(range);
                (u32::MAX - range, index)
            }));
            let mut out = Vec::new();
            written.encode_all(&mut out);
            let read = read(&out);
            assert!(read.is_complete());
            assert_eq!(read, written);
        }
    }

    #[test]
    fn a_set_whose_end_is_cut_off_is_not_complete() {
        let mut out = Vec::new();
        Positions::from_iter((0..257).map(|range| (range, 1 << 40))).encode_all(&mut out);
        let ends: Vec<usize> = (0..out.len()).filter(|&at| out[at] == b'\n').collect();
        assert!(ends.len() > 2);
        for &end in &ends[..ends.len() - 1] {
            assert!(!read(&out[..=end]).is_complete());
        }
        assert!(!Positions::default().is_complete());
    }

    #[test]
    fn later_lines_replace_what_earlier_ones_said_and_a_full_set_everything() {
        let mut out = Vec::new();
        Positions::from_iter([(1, 1), (2, 2)]).encode_all(&mut out);
        Positions::encode(&mut out, [(2, 5), (3, 1)]);
        assert_eq!(
            read(&out).iter().collect::<Vec<_>>(),
            [(1, 1), (2, 5), (3, 1)]
        );
        Positions::from_iter([(9, 9)]).encode_all(&mut out);
        assert_eq!(read(&out).iter().collect::<Vec<_>>(), [(9, 9)]);
        let before = out.len();
        Positions::encode(&mut out, []);
        assert_eq!(out.len(), before);
    }

    #[test]
    fn who_has_less_of_one_range_does_not_have_everything() {
        let positions = |text: &str| Positions::parse(text.as_bytes()).unwrap();
        let some = positions("1=5,2=9");
        for (others, has_all) in [
            ("", true),
            ("1=5,2=9", true),
            ("1=4", true),
            ("2=10", false),
            ("3=0", true),
            ("3=1", false),
        ] {
            assert_eq!(some.have_all_of(&positions(others)), has_all, "{others}");
        }
        assert_eq!(Positions::parse(b"1=5,2"), None);
    }

    #[test]
    fn what_is_no_position_changes_nothing() {
        let mut positions = Positions::from_iter([(1, 1)]);
        let before = positions.clone();
        for line in [
            "#TS:5",
            "#AT",
            "#AT:1",
            "#AT:1=",
            "#AT:=1",
            "#AT:1=1,",
            "#AT:4294967296=1",
            "#ATALL:",
            "#ATALL:1",
            "#ATALL:1;1",
            "#ATALL:x;1=1",
            "",
        ] {
            assert!(!positions.read(line.as_bytes()), "{line}");
        }
        assert_eq!(positions, before);
    }
}
