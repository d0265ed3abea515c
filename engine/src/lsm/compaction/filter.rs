//! Which records survive a merge.
//!
//! Snapshots divide time into stripes. Of each key, readers can tell apart only the newest version in
//! each stripe; the others go. A tombstone goes once nothing that it hides is left: it lies in the oldest
//! stripe and nothing below the merge may hold its key. What has expired is as good as a tombstone.
//! For every reader, what remains together with what lies above and below must read as it did before.

use crate::lsm::levels::Span;
use crate::lsm::range_deletes::RangeDeletes;
use crate::record::{Kind, RangeDelete, Record};

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays, and as nobody can tell its age any more its sequence number becomes 0, which takes less
    /// room.
    KeepZeroed,
    /// It stays as a tombstone of the same sequence number, without deadline or value.
    Tombstone,
    /// It goes.
    Drop,
}

/// Judges the records of one merge.
#[derive(Clone, Debug)]
pub struct Retain {
    snapshots: Vec<u64>,
    /// As in [`Rules`].
    expire_at_ms: u64,
    zero: bool,
    deletes: RangeDeletes,
    key: Vec<u8>,
    /// The stripe of the last record of `key`.
    stripe: Option<usize>,
    hint: usize,
}

/// How to judge.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The sequence numbers that readers hold, in any order. Readers who come later see at least
    /// everything that was in a table when the merge began.
    pub snapshots: Vec<u64>,
    /// What expires at or before this goes; 0 to keep everything. No reader's clock may show less.
    pub expire_at_ms: u64,
    /// Whether sequence numbers may become 0: only for merges into the last level.
    pub zero: bool,
    /// The range deletes of the inputs. Those of other tables may be among them: they then take effect
    /// early.
    pub deletes: RangeDeletes,
}

impl Retain {
    /// A judge for one merge, or for a part of it that begins at a new key.
    pub fn new(rules: Rules) -> Self {
        let mut snapshots = rules.snapshots;
        snapshots.sort_unstable();
        snapshots.dedup();
        Self {
            snapshots,
            expire_at_ms: rules.expire_at_ms,
            zero: rules.zero,
            deletes: rules.deletes,
            key: Vec::new(),
            stripe: None,
            hint: 0,
        }
    }

    /// What becomes of `record`. To be asked of every record of the merge, in order. `below` says whether
    /// anything below the merge may hold the key.
    pub fn judge(&mut self, record: Record<'_>, mut below: impl FnMut(&[u8]) -> bool) -> Verdict {
        let stripe = self.stripe_of(record.seq);
        if self.key != record.key {
            self.key.clear();
            self.key.extend_from_slice(record.key);
            self.stripe = None;
        }
        if self.stripe.replace(stripe) == Some(stripe) {
            return Verdict::Drop;
        }
        let seen_at = self.snapshots.get(stripe).copied().unwrap_or(u64::MAX);
        let cover = self
            .deletes
            .covering_seq_near(&mut self.hint, record.key, seen_at);
        if cover > record.seq {
            return Verdict::Drop;
        }
        let expired = record.deadline_ms != 0 && record.deadline_ms <= self.expire_at_ms;
        match record.kind {
            // Newer stripes cannot drop theirs: an older version may follow that a snapshot still needs.
            Kind::Delete if stripe == 0 && !below(record.key) => Verdict::Drop,
            Kind::Delete => Verdict::Keep,
            Kind::Put | Kind::PutApart if expired => {
                if stripe == 0 && !below(record.key) {
                    Verdict::Drop
                } else {
                    Verdict::Tombstone
                }
            }
            // An older range delete that covers the key would hide it if it became older still.
            Kind::Put | Kind::PutApart => {
                let zeroes = self.zero && stripe == 0 && cover == 0 && record.seq != 0;
                if zeroes && !below(record.key) {
                    Verdict::KeepZeroed
                } else {
                    Verdict::Keep
                }
            }
        }
    }

    /// What remains of the inputs' range deletes for the output that holds the keys of `start..end`:
    /// the newest of each stripe, and none of the oldest stripe where nothing lies below. Together the
    /// outputs' ranges must make up the whole span of the merge.
    pub fn range_deletes(
        &self,
        own: &RangeDeletes,
        start: &[u8],
        end: Option<&[u8]>,
        mut below: impl FnMut(Span<'_>) -> bool,
    ) -> Vec<RangeDelete> {
        own.clip_with(start, end, |span, seqs| {
            let mut kept: Vec<u64> = Vec::new();
            let mut last = None;
            for &seq in seqs {
                let stripe = self.stripe_of(seq);
                let newest = last.replace(stripe) != Some(stripe);
                if newest && (stripe > 0 || below(span)) {
                    kept.push(seq);
                }
            }
            kept
        })
    }

    /// How many snapshots are older than `seq`.
    #[inline]
    fn stripe_of(&self, seq: u64) -> usize {
        self.snapshots.partition_point(|&snapshot| snapshot < seq)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;
    use crate::lsm::vec_cursor::Owned;

    const NOW_MS: u64 = 1000;

    /// Records and range deletes of one part of a tree.
    #[derive(Clone, Debug, Default)]
    struct Part {
        records: Vec<Owned>,
        deletes: RangeDeletes,
    }

    /// What a reader sees of `key`, over several parts.
    fn read(parts: &[&Part], key: &[u8], seq: u64, now_ms: u64) -> Option<Vec<u8>> {
        let versions = parts
            .iter()
            .flat_map(|part| &part.records)
            .filter(|r| r.key == key && r.seq <= seq);
        let newest = versions.max_by_key(|r| r.seq)?;
        let cover = parts
            .iter()
            .map(|part| part.deletes.covering_seq(key, seq))
            .max()
            .unwrap_or(0);
        (cover <= newest.seq && newest.record().is_alive(now_ms)).then(|| newest.value.clone())
    }

    fn filter(part: &Part, rules: Rules, below: impl Fn(&[u8]) -> bool, cut: u8) -> Part {
        let mut records = part.records.clone();
        records.sort_by_key(|r| (r.key.clone(), Reverse(r.seq)));
        let mut retain = Retain::new(rules);
        let mut out = Part::default();
        for mut record in records {
            match retain.judge(record.record(), &below) {
                Verdict::Drop => continue,
                Verdict::Keep => {}
                Verdict::KeepZeroed => record.seq = 0,
                Verdict::Tombstone => record = Owned::new(&record.key, record.seq, Kind::Delete),
            }
            out.records.push(record);
        }
        // A fragment never holds part of a one-byte key here, so asking for its first keys is enough.
        let any_below =
            |span: Span<'_>| (0..=u8::MAX).any(|key| span.contains(&[key]) && below(&[key]));
        out.deletes
            .extend(retain.range_deletes(&part.deletes, b"", Some(&[cut]), any_below));
        out.deletes
            .extend(retain.range_deletes(&part.deletes, &[cut], None, any_below));
        out
    }

    fn put(key: &[u8], seq: u64) -> Owned {
        Owned::new(key, seq, Kind::Put)
    }

    fn rules(snapshots: &[u64]) -> Rules {
        Rules {
            snapshots: snapshots.to_vec(),
            expire_at_ms: NOW_MS,
            zero: true,
            deletes: RangeDeletes::default(),
        }
    }

    fn judge_all(records: &[Owned], rules: Rules, below: bool) -> Vec<Verdict> {
        let mut retain = Retain::new(rules);
        records
            .iter()
            .map(|r| retain.judge(r.record(), |_| below))
            .collect()
    }

    #[test]
    fn without_snapshots_only_the_newest_stays() {
        let records = [put(b"a", 9), put(b"a", 5), put(b"b", 7)];
        use Verdict::{Drop, Keep, KeepZeroed};
        assert_eq!(judge_all(&records, rules(&[]), true), [Keep, Drop, Keep]);
        assert_eq!(
            judge_all(&records, rules(&[]), false),
            [KeepZeroed, Drop, KeepZeroed]
        );
    }

    #[test]
    fn a_snapshot_keeps_what_it_sees() {
        let records = [put(b"a", 9), put(b"a", 5), put(b"a", 3)];
        use Verdict::{Drop, Keep, KeepZeroed};
        assert_eq!(
            judge_all(&records, rules(&[6]), false),
            [Keep, KeepZeroed, Drop]
        );
        assert_eq!(
            judge_all(&records, rules(&[4]), false),
            [Keep, Drop, KeepZeroed]
        );
        assert_eq!(
            judge_all(&records, rules(&[9, 5, 3]), true),
            [Keep, Keep, Keep]
        );
    }

    #[test]
    fn a_tombstone_goes_when_it_hides_nothing() {
        let gone = [Owned::new(b"a", 5, Kind::Delete)];
        use Verdict::{Drop, Keep};
        assert_eq!(judge_all(&gone, rules(&[]), false), [Drop]);
        assert_eq!(judge_all(&gone, rules(&[]), true), [Keep]);
        assert_eq!(judge_all(&gone, rules(&[4]), false), [Keep]);
        assert_eq!(judge_all(&gone, rules(&[5]), false), [Drop]);
    }

    #[test]
    fn what_has_expired_is_a_tombstone_or_nothing() {
        let mut expired = put(b"a", 5);
        expired.deadline_ms = NOW_MS;
        let mut alive = put(b"b", 5);
        alive.deadline_ms = NOW_MS + 1;
        let records = [expired, alive];
        assert_eq!(
            judge_all(&records, rules(&[]), true),
            [Verdict::Tombstone, Verdict::Keep]
        );
        assert_eq!(
            judge_all(&records, rules(&[]), false),
            [Verdict::Drop, Verdict::KeepZeroed]
        );
        let mut keep = rules(&[]);
        keep.expire_at_ms = 0;
        assert_eq!(
            judge_all(&records, keep, true),
            [Verdict::Keep, Verdict::Keep]
        );
    }

    #[test]
    fn a_record_over_an_older_range_delete_keeps_its_age() {
        let mut rules = rules(&[]);
        rules.deletes.add(b"a", Some(b"b"), 3);
        assert_eq!(
            judge_all(&[put(b"a", 5), put(b"c", 5)], rules, false),
            [Verdict::Keep, Verdict::KeepZeroed]
        );
    }

    fn part(versions: &[(u8, u8, u64)], ranges: &[(u8, Option<u8>)], first_seq: u64) -> Part {
        let mut part = Part::default();
        let mut seq = first_seq;
        for (i, &(key, kind, deadline)) in versions.iter().enumerate() {
            let mut record = Owned::new(
                &[key],
                seq,
                if kind == 0 { Kind::Delete } else { Kind::Put },
            );
            record.deadline_ms = if kind == 0 { 0 } else { deadline * 900 };
            part.records.push(record);
            seq += 1;
            // Range deletes fall between the writes.
            if let Some(&(start, end)) = ranges.get(i / 3).filter(|_| i % 3 == 2) {
                part.deletes.add(
                    &[start],
                    end.map(|end| [end]).as_ref().map(|end| &end[..]),
                    seq,
                );
                seq += 1;
            }
        }
        part
    }

    fn versions() -> impl Strategy<Value = Vec<(u8, u8, u64)>> {
        proptest::collection::vec((0u8..6, 0u8..4, 0u64..3), 0..25)
    }

    fn ranges() -> impl Strategy<Value = Vec<(u8, Option<u8>)>> {
        proptest::collection::vec((0u8..6, proptest::option::of(0u8..7)), 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn every_reader_sees_what_it_saw(
            lower in (versions(), ranges()),
            merged in (versions(), ranges()),
            above in ranges(),
            snapshots in proptest::collection::vec(0u64..120, 0..4),
            cautious: bool,
            early: bool,
            zero: bool,
            cut in 0u8..7,
        ) {
            let lower = part(&lower.0, &lower.1, 1);
            let merged = part(&merged.0, &merged.1, 50);
            let mut upper = Part::default();
            for (i, (start, end)) in above.into_iter().enumerate() {
                let end = end.map(|end| [end]);
                upper.deletes.add(&[start], end.as_ref().map(|end| &end[..]), 100 + i as u64);
            }
            let below = |key: &[u8]| {
                cautious
                    || lower.records.iter().any(|r| r.key == key)
                    || lower.deletes.covering_seq(key, u64::MAX) > 0
            };
            let mut deletes = merged.deletes.clone();
            if early {
                deletes.extend(upper.deletes.clip(b"", None));
            }
            let rules = Rules { snapshots: snapshots.clone(), expire_at_ms: NOW_MS, zero, deletes };
            let out = filter(&merged, rules, below, cut);

            for &seq in snapshots.iter().chain(&[u64::MAX]) {
                for key in 0..7 {
                    for now_ms in [NOW_MS, NOW_MS + 500, NOW_MS + 900] {
                        let before = read(&[&upper, &merged, &lower], &[key], seq, now_ms);
                        let after = read(&[&upper, &out, &lower], &[key], seq, now_ms);
                        prop_assert_eq!(after, before, "key {} at {}", key, seq);
                    }
                }
            }
            if snapshots.is_empty() && !cautious && lower.records.is_empty() {
                let dead = |r: &&Owned| r.kind == Kind::Delete || !r.record().is_alive(NOW_MS);
                prop_assert_eq!(out.records.iter().find(dead), None);
                prop_assert!(out.deletes.is_empty());
                let keys: std::collections::BTreeSet<_> = out.records.iter().map(|r| &r.key).collect();
                prop_assert_eq!(keys.len(), out.records.len());
            }
        }
    }
}
