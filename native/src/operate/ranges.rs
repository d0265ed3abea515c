//! The ranges, put together from what every node says of its copies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::id::{Id, RangeName, digits_needed};
use super::status::{CopyStatus, Status};
use super::survey::Cluster;
use super::table::{Cell, Paint, Table, Tone, plain};

/// The slots of the ring.
const SLOTS: u64 = 16384;

/// Entries that a voter may be behind and still count as up to date: some are always on their way.
const BEHIND_MOST: u64 = 1000;

/// How many ranges are named one by one.
const NAMED_MOST: usize = 8;

/// Ranges, and who did not answer.
pub struct Ranges {
    all: Vec<RangeView>,
    /// Ranges that no node which answers has a copy of.
    pub lost: Vec<RangeName>,
    /// Members that did not answer, and why.
    silent: Vec<(Id, String)>,
    arcs: u64,
    digits: usize,
}

/// A range: all its copies that could be asked.
pub struct RangeView {
    /// Which.
    pub name: RangeName,
    /// Its copies, by node.
    pub copies: BTreeMap<Id, CopyStatus>,
}

impl Ranges {
    /// Asks all members.
    pub fn ask(cluster: &Cluster, status: &Status) -> Self {
        Self::of(status, cluster.copies(status))
    }

    /// Puts answers together.
    pub fn of(status: &Status, answers: BTreeMap<Id, Result<Vec<CopyStatus>, String>>) -> Self {
        let mut by_range: BTreeMap<RangeName, BTreeMap<Id, CopyStatus>> = BTreeMap::new();
        let mut silent = Vec::new();
        for (node, answer) in answers {
            match answer {
                Ok(copies) => {
                    for copy in copies {
                        by_range.entry(copy.range).or_default().insert(node, copy);
                    }
                }
                Err(why) => silent.push((node, why)),
            }
        }
        let masters: u64 = status.members.iter().map(|member| member.masters).sum();
        let last = by_range.keys().rfind(|name| **name != RangeName::META);
        let seen = last.map_or(0, |name| u64::from(name.0) + 1);
        // An arc is a part of the slots, so their number is a power of two.
        let arcs = masters.max(seen).clamp(1, SLOTS).next_power_of_two();
        let expected = (0..arcs as u32).map(RangeName).chain([RangeName::META]);
        let lost = expected
            .filter(|name| !by_range.contains_key(name))
            .collect();
        let view = |(name, copies)| RangeView { name, copies };
        Self {
            all: by_range.into_iter().map(view).collect(),
            lost,
            silent,
            arcs,
            digits: digits_needed(status.members.iter().map(|member| member.id)),
        }
    }

    /// Whether every voter of every range is at hand and has about all that its master has: any node may be
    /// stopped.
    pub fn are_caught_up(&self) -> bool {
        let caught_up =
            |range: &RangeView| range.trouble().is_none() && range.behind() < BEHIND_MOST;
        self.lost.is_empty() && self.all.iter().all(caught_up)
    }

    /// Those that are known of.
    pub fn iter(&self) -> impl Iterator<Item = &RangeView> {
        self.all.iter()
    }

    /// The one of this name.
    pub fn of_name(&self, name: RangeName) -> Option<&RangeView> {
        self.all.iter().find(|range| range.name == name)
    }

    /// Lets go of the others.
    pub fn keep(&mut self, wanted: impl Fn(&RangeView) -> bool) {
        self.all.retain(wanted);
    }

    /// Puts those first that are asked for most.
    pub fn hottest_first(&mut self) {
        self.all
            .sort_by_key(|range| std::cmp::Reverse(range.requests()));
    }

    /// The first and the last slot of a range.
    pub fn slots(&self, name: RangeName) -> Option<(u64, u64)> {
        let width = SLOTS / self.arcs;
        let first = u64::from(name.0) * width;
        (first < SLOTS).then(|| (first, first + width - 1))
    }

    /// `range 17 (slots 1088-1151)`.
    pub fn title(&self, name: RangeName) -> String {
        match self.slots(name) {
            Some((first, last)) => format!("range {name} (slots {first}-{last})"),
            None => format!("range {name}"),
        }
    }

    /// As much of an id as is needed.
    pub fn short(&self, id: Id) -> String {
        id.prefix(self.digits)
    }

    fn short_list(&self, ids: &[Id]) -> String {
        let ids: Vec<String> = ids.iter().map(|&id| self.short(id)).collect();
        ids.join(",")
    }

    /// One line a range.
    pub fn table(&self, paint: Paint) -> String {
        let mut table = Table::new(&[
            "range", "#slots", "master", "#term", "voters", "learners", "quorum", "#commit",
            "#behind", "#writes", "#reads", "",
        ]);
        for range in &self.all {
            let told = range.told();
            let master = match range.master() {
                Some((id, _)) => plain(self.short(id)),
                None => Cell::new("none", Tone::Bad),
            };
            let slots = self.slots(range.name);
            let quorum = told.map(|told| told.quorum);
            let trouble = range.trouble().unwrap_or_default();
            table.row(vec![
                plain(range.name),
                plain(slots.map_or_else(String::new, |(first, last)| format!("{first}-{last}"))),
                master,
                plain(told.map_or(0, |told| told.term)),
                plain(self.short_list(range.voters())),
                Cell::new(self.short_list(range.learners()), Tone::Warn),
                plain(quorum.map_or_else(String::new, |q| format!("{},{},{}", q.n, q.w, q.r))),
                plain(told.map_or(0, |told| told.commit)),
                plain(range.behind()),
                plain(range.sum(|copy| copy.writes)),
                plain(range.sum(|copy| copy.reads)),
                Cell::new(trouble, Tone::Bad),
            ]);
        }
        let mut text = table.text(paint);
        for remark in self.remarks() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", paint.text(&remark, Tone::Warn));
        }
        text
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = self
            .silent
            .iter()
            .map(|(id, why)| format!("{} was not asked: {why}", self.short(*id)))
            .collect();
        if !self.lost.is_empty() {
            remarks.push(format!(
                "no node that answers has a copy of {}",
                name_some(&self.lost)
            ));
        }
        remarks
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let ranges = self.all.iter().map(|range| {
            let told = range.told();
            json!({
                "range": range.name,
                "slots": self.slots(range.name),
                "master": range.master().map(|(id, _)| id),
                "voters": range.voters(),
                "learners": range.learners(),
                "quorum": told.map(|told| told.quorum),
                "trouble": range.trouble(),
                "copies": range.copies.iter().map(|(node, copy)| json!({
                    "node": node,
                    "role": copy.role,
                    "term": copy.term,
                    "last": copy.last,
                    "commit": copy.commit,
                    "applied": copy.applied,
                    "writes": copy.writes,
                    "reads": copy.reads,
                })).collect::<Vec<_>>(),
            })
        });
        ranges.collect()
    }
}

impl RangeView {
    /// Who answers for it: of two who believe so, the one of the later term.
    pub fn master(&self) -> Option<(Id, &CopyStatus)> {
        let masters = self.copies.iter().filter(|(_, copy)| copy.is_master());
        let (id, copy) = masters.max_by_key(|(_, copy)| copy.term)?;
        Some((*id, copy))
    }

    /// The copy that knows best: the master's, else the one that has most.
    pub fn told(&self) -> Option<&CopyStatus> {
        let best = || {
            self.copies
                .values()
                .max_by_key(|copy| (copy.commit, copy.last, copy.term))
        };
        self.master().map(|(_, copy)| copy).or_else(best)
    }

    /// Who votes, the preferred master first.
    pub fn voters(&self) -> &[Id] {
        self.told().map_or(&[], |told| told.voters.as_slice())
    }

    fn learners(&self) -> &[Id] {
        self.told().map_or(&[], |told| told.learners.as_slice())
    }

    /// Whether this node has a copy, or should have.
    pub fn is_of(&self, node: Id) -> bool {
        self.copies.contains_key(&node)
            || self.voters().contains(&node)
            || self.learners().contains(&node)
    }

    /// Voters that answer and have something to rely on.
    pub fn voters_at_hand(&self) -> BTreeSet<Id> {
        let at_hand = |id: &&Id| self.copies.get(id).is_some_and(|copy| !copy.is_void());
        self.voters().iter().filter(at_hand).copied().collect()
    }

    /// What is wrong with it, if anything.
    pub fn trouble(&self) -> Option<String> {
        if self.master().is_none() {
            return Some("no master".to_owned());
        }
        let at_hand = self.voters_at_hand().len();
        let voters = self.voters().len();
        (at_hand < voters).then(|| format!("{at_hand} of {voters} voters at hand"))
    }

    /// Entries that the slowest voter at hand has not applied.
    pub fn behind(&self) -> u64 {
        let last = self.told().map_or(0, |told| told.last);
        let voters = self.voters_at_hand();
        let applied = voters.iter().filter_map(|id| self.copies.get(id));
        let least = applied.map(|copy| copy.applied).min().unwrap_or(last);
        last.saturating_sub(least)
    }

    fn sum(&self, figure: impl Fn(&CopyStatus) -> u64) -> u64 {
        self.copies.values().map(figure).sum()
    }

    fn requests(&self) -> u64 {
        self.sum(|copy| copy.writes.saturating_add(copy.reads))
    }

    /// One line a copy.
    pub fn detail(&self, paint: Paint, ranges: &Ranges) -> String {
        let mut text = ranges.title(self.name);
        if let Some(told) = self.told() {
            let _ = write!(text, ", {}", told.quorum);
        }
        if let Some(trouble) = self.trouble() {
            let _ = write!(text, ": {}", paint.text(&trouble, Tone::Bad));
        }
        text.push('\n');
        let mut table = Table::new(&[
            "node", "role", "#term", "#last", "#commit", "#applied", "follows", "#writes", "#reads",
        ]);
        for (node, copy) in &self.copies {
            let tone = if copy.is_void() {
                Tone::Bad
            } else {
                Tone::Plain
            };
            table.row(vec![
                plain(node),
                Cell::new(&copy.role, tone),
                plain(copy.term),
                plain(copy.last),
                plain(copy.commit),
                plain(copy.applied),
                plain(
                    copy.master
                        .map_or_else(|| "nobody".to_owned(), |id| ranges.short(id)),
                ),
                plain(copy.writes),
                plain(copy.reads),
            ]);
        }
        for node in self
            .voters()
            .iter()
            .filter(|node| !self.copies.contains_key(node))
        {
            let mut row = vec![plain(node), Cell::new("not asked", Tone::Bad)];
            row.resize_with(9, || plain(""));
            table.row(row);
        }
        text.push_str(&table.text(paint));
        text
    }
}

/// The first few of them.
pub fn name_some(names: &[RangeName]) -> String {
    let some = names.iter().take(NAMED_MOST).map(ToString::to_string);
    let mut text = some.collect::<Vec<_>>().join(", ");
    if names.len() > NAMED_MOST {
        let _ = write!(text, " and {} more", names.len() - NAMED_MOST);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::testing::{self, NODES, copy};

    /// Range 0 as three nodes see it, and meta on one.
    fn ranges(change: impl FnOnce(&mut BTreeMap<Id, Result<Vec<CopyStatus>, String>>)) -> Ranges {
        let mut answers = BTreeMap::from([
            (
                NODES[0],
                Ok(vec![copy(0, "master", 12), copy(u32::MAX, "master", 4)]),
            ),
            (NODES[1], Ok(vec![copy(0, "voter", 12)])),
            (NODES[2], Ok(vec![copy(0, "voter", 10)])),
        ]);
        change(&mut answers);
        let mut status = testing::survey().status;
        for member in &mut status.members {
            member.masters = 0;
        }
        Ranges::of(&status, answers)
    }

    #[test]
    fn a_range_is_put_together_from_its_copies() {
        let text = ranges(|_| {}).table(Paint::OFF);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..2],
            [
                "range    slots  master  term  voters                learners  quorum  commit  behind  writes  reads",
                "0      0-16383  1a0000     3  1a0000,2b0000,3c0000            3,2,2       12       2       3      6",
            ]
        );
        assert!(lines[2].starts_with("meta"), "{text}");
        assert!(lines[2].ends_with("1 of 3 voters at hand"), "{text}");
    }

    #[test]
    fn a_range_without_a_master_is_in_trouble() {
        let ranges = ranges(|answers| {
            answers.insert(NODES[0], Err("nobody listens there".into()));
        });
        let range = ranges.of_name(RangeName(0)).unwrap();
        assert_eq!(range.trouble().as_deref(), Some("no master"));
        assert_eq!(range.voters_at_hand().len(), 2);
        assert!(!ranges.are_caught_up());
        let text = ranges.table(Paint::OFF);
        assert!(
            text.contains("\n1a0000 was not asked: nobody listens there\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\nno node that answers has a copy of meta\n"),
            "{text}"
        );
        let detail = range.detail(Paint::OFF, &ranges);
        assert!(
            detail.starts_with("range 0 (slots 0-16383), N 3, W 2, R 2: no master\n"),
            "{detail}"
        );
        assert!(
            detail.ends_with("\n1a00000000000001  not asked\n"),
            "{detail}"
        );
    }

    #[test]
    fn a_copy_that_is_far_behind_is_not_caught_up() {
        let with_last = |last: u64| {
            ranges(|answers| {
                let mut master = copy(0, "master", last);
                master.voters.truncate(2);
                let mut meta = copy(u32::MAX, "master", 4);
                meta.voters.truncate(1);
                answers.insert(NODES[0], Ok(vec![master, meta]));
            })
        };
        assert!(with_last(20).are_caught_up());
        assert!(!with_last(5000).are_caught_up());
    }

    #[test]
    fn of_two_who_believe_to_be_masters_the_later_one_is() {
        let ranges = ranges(|answers| {
            let mut later = copy(0, "master", 12);
            later.term = 4;
            answers.insert(NODES[1], Ok(vec![later]));
        });
        let range = ranges.of_name(RangeName(0)).unwrap();
        assert_eq!(range.master().map(|(id, _)| id), Some(NODES[1]));
    }

    #[test]
    fn programs_get_every_copy() {
        let json = ranges(|_| {}).json();
        assert_eq!(json[0]["range"], 0);
        assert_eq!(json[0]["slots"], json!([0, 16383]));
        assert_eq!(json[0]["master"], "1a00000000000001");
        assert_eq!(json[0]["copies"][2]["applied"], 10);
        assert_eq!(json[1]["range"], "meta");
        assert_eq!(json[1]["slots"], Value::Null);
    }
}
