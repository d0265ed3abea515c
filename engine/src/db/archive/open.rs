//! What is found of the archive when the store is opened, and going on from there.
//!
//! The AOF says up to which entry it has everything of each range. The log may hold more, which is applied soon and
//! added then; what the AOF has already is not added again. Where the AOF has less than the store's tables, or more than the
//! store, something is missing in it or too much: it says so, and a new base is written.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::core::Core;
use super::super::machine::Machine;
use super::job::Kind;
use crate::archive::{Appender, DUMP, draft_of};
use crate::storage::Contents;
use crate::{Object, Runtime, Storage, Work};

/// How far the store is, of one range.
#[derive(Clone, Copy, Debug)]
pub(in crate::db) struct Reach {
    /// The last entry that is in tables.
    pub in_tables: u64,
    /// The last one that is known.
    pub known: u64,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Opens the archive of a store whose log has been read, and of which nothing has been applied yet.
    pub(in crate::db) async fn open_archive(&self, contents: &Contents) {
        let options = &self.archive.options;
        if !options.aof && options.save_every.is_none() {
            return;
        }
        let reaches: BTreeMap<u32, Reach> = self
            .ranges
            .book
            .lock()
            .reaches(|range| self.machine.is_archived(range));
        self.open_dump(contents, &reaches).await;
        let mut must_rewrite = false;
        if options.aof {
            must_rewrite = self.open_aof(contents, &reaches).await;
        }
        self.spawn(Work::Archive, Self::archive_forever);
        if must_rewrite {
            let _begun = self.begin_job(Kind::Rewrite, true);
        }
    }

    /// Whether the AOF has to be rewritten.
    async fn open_aof(&self, contents: &Contents, reaches: &BTreeMap<u32, Reach>) -> bool {
        let (appender, found) = Appender::open(self.storage.clone(), &contents.objects).await;
        self.note_files(&appender);
        {
            let mut standing = self.archive.standing.lock();
            standing.rewritten_bytes = standing.base_bytes;
        }
        *self.archive.appender.lock().await = Some(appender);
        let Some(at) = found.at else {
            return true;
        };
        let (at, is_incomplete) = go_on_from(&at, reaches);
        self.archive.feed.begin(at, found.time_s * 1000);
        if is_incomplete {
            tracing::warn!("the AOF does not have what the store has: a new base is written");
            self.archive.feed.gap(self.runtime.wall_ms());
        }
        is_incomplete || found.has_gap
    }

    async fn open_dump(&self, contents: &Contents, reaches: &BTreeMap<u32, Reach>) {
        let has = |object: &Object| contents.objects.iter().any(|(other, _)| other == object);
        let draft = draft_of(DUMP);
        if has(&draft)
            && let Err(error) = self.storage.remove(vec![draft]).await
        {
            tracing::warn!(%error, "could not remove the draft of a snapshot");
        }
        let now_s = self.runtime.wall_ms() / 1000;
        let mut saved = None;
        if has(&Object::Archive(DUMP.into())) {
            match self.read_dump().await {
                Ok(dumped) => saved = Some(dumped),
                Err(error) => tracing::warn!(%error, "the snapshot cannot be read"),
            }
        }
        let known = reaches
            .iter()
            .map(|(range, reach)| format!("{range}={}", reach.known));
        let known = known.collect::<Vec<_>>().join(",");
        let every = self.archive.options.save_every.unwrap_or_default();
        let age_s = saved
            .as_ref()
            .map_or(0, |saved| now_s.saturating_sub(saved.time_s));
        let mut standing = self.archive.standing.lock();
        standing.saved_s = saved.as_ref().map_or(now_s, |saved| saved.time_s);
        standing.was_changed = match &saved {
            Some(saved) => saved.at != known.as_bytes(),
            None => reaches.values().any(|reach| reach.known > 0),
        };
        standing.save_from =
            self.runtime.monotonic() + every.saturating_sub(Duration::from_secs(age_s));
    }
}

/// Up to which entry of each range nothing is added again, and whether the AOF has too little or too much.
fn go_on_from(
    at: &BTreeMap<u32, u64>,
    reaches: &BTreeMap<u32, Reach>,
) -> (BTreeMap<u32, u64>, bool) {
    let gone = |(range, index): (&u32, &u64)| *index > 0 && !reaches.contains_key(range);
    let mut is_incomplete = at.iter().any(gone);
    let mut positions = BTreeMap::new();
    for (&range, reach) in reaches {
        let index = at.get(&range).copied().unwrap_or(0);
        let is_sound = (reach.in_tables..=reach.known).contains(&index);
        is_incomplete |= !is_sound;
        positions.insert(range, if is_sound { index } else { reach.in_tables });
    }
    (positions, is_incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(at: &[(u32, u64)], reaches: &[(u32, u64, u64)]) -> (Vec<(u32, u64)>, bool) {
        let reaches = reaches
            .iter()
            .map(|&(range, in_tables, known)| (range, Reach { in_tables, known }));
        let at = at.iter().copied().collect();
        let (positions, is_incomplete) = go_on_from(&at, &reaches.collect());
        (positions.into_iter().collect(), is_incomplete)
    }

    #[test]
    fn what_the_log_has_and_the_aof_has_not_is_added() {
        assert_eq!(
            from(&[(1, 5), (2, 9)], &[(1, 5, 8), (2, 3, 9)]),
            (vec![(1, 5), (2, 9)], false)
        );
        assert_eq!(from(&[], &[(1, 0, 4)]), (vec![(1, 0)], false));
    }

    #[test]
    fn an_aof_that_has_less_than_the_tables_is_incomplete() {
        assert_eq!(from(&[(1, 4)], &[(1, 5, 8)]), (vec![(1, 5)], true));
        assert_eq!(from(&[], &[(1, 5, 5)]), (vec![(1, 5)], true));
    }

    #[test]
    fn an_aof_that_has_more_than_the_store_is_not_gone_on_with() {
        assert_eq!(from(&[(1, 9)], &[(1, 5, 8)]), (vec![(1, 5)], true));
        assert_eq!(from(&[(1, 5), (2, 1)], &[(1, 5, 8)]), (vec![(1, 5)], true));
        assert_eq!(from(&[(1, 5), (2, 0)], &[(1, 5, 8)]), (vec![(1, 5)], false));
    }
}
