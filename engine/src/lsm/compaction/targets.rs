//! How large each level should be, and how far the tree is from that.

use super::CompactionOptions;
use crate::lsm::levels::{LAST, LEVELS, Levels};

/// How large each level should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The level that level 0 is merged into.
    pub base: usize,
    /// Bytes, by level; 0 above the base.
    pub bytes: [u64; LEVELS],
}

/// The targets for a tree of this size.
pub fn targets(levels: &Levels, options: &CompactionOptions) -> Targets {
    let ratio = options.level_ratio.max(2);
    let base_max = options.base_bytes.max(1);
    let first = (1..LEVELS)
        .find(|&level| levels.bytes(level) > 0)
        .unwrap_or(LAST);
    let largest = (1..LEVELS)
        .map(|level| levels.bytes(level))
        .max()
        .unwrap_or(0);
    // What the first level in use should have, if the largest were the last.
    let mut size = (first..LAST).fold(largest, |size, _| size / ratio);
    let mut base = first;
    while base > 1 && size > base_max {
        base -= 1;
        size /= ratio;
    }
    let mut bytes = [0; LEVELS];
    let mut target = size.clamp((base_max / ratio).max(1), base_max);
    for level in &mut bytes[base..] {
        *level = target;
        target = target.saturating_mul(ratio);
    }
    Targets { base, bytes }
}

/// How far compaction is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debt {
    /// Sorted runs in level 0.
    pub l0_runs: usize,
    /// About how many bytes have to be written until every level is within its target.
    pub bytes: u64,
}

/// How far compaction is behind.
pub fn debt(levels: &Levels, options: &CompactionOptions) -> Debt {
    let targets = targets(levels, options);
    let l0_runs = levels.level_0_runs();
    let mut bytes = 0u64;
    // What comes down from the level above.
    let mut carried = 0;
    if l0_runs >= options.l0_tables {
        carried = levels.bytes(0);
        bytes = carried.saturating_add(levels.bytes(targets.base));
    }
    for level in targets.base..LAST {
        let size = levels.bytes(level).saturating_add(carried);
        carried = size.saturating_sub(targets.bytes[level]);
        let below = levels.bytes(level + 1);
        let overlap = u128::from(carried) * u128::from(below) / u128::from(size.max(1));
        let overlap = u64::try_from(overlap).unwrap_or(u64::MAX);
        bytes = bytes.saturating_add(carried).saturating_add(overlap);
    }
    Debt { l0_runs, bytes }
}

#[cfg(test)]
mod tests {
    use super::super::leveled::tests::{options, run};
    use super::*;
    use crate::lsm::levels::tests::tree;

    #[test]
    fn targets_are_sized_from_the_bottom_up() {
        let base = |tables| targets(&tree(run(6, 1, tables)), &options());
        assert_eq!((base(4).base, base(4).bytes[6]), (6, 400));
        assert_eq!(
            (base(30).base, base(30).bytes[5], base(30).bytes[6]),
            (5, 300, 3000)
        );
        assert_eq!(
            (base(50).base, base(50).bytes[4], base(50).bytes[5]),
            (4, 50, 500)
        );
    }
}
