//! Which of the files that are sound make the newest state.

use std::collections::BTreeMap;

use super::sound::{Sound, Stop};
use super::{Looked, PassedOver};
use crate::archive::aof::{File, Manifest, Positions, names};

/// What is to be loaded.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// The files, in order.
    pub steps: Vec<Looked>,
    /// The last second that they tell of.
    pub until: Option<u64>,
    /// Up to which entries they have everything, if they say so.
    at: Option<Positions>,
    /// Whether nothing that was written is missing but a torn tail.
    pub is_whole: bool,
    /// Files that are sound, and of no use for want of what comes before them.
    pub left: Vec<PassedOver>,
}

/// Chooses what makes the newest state. `files` are those that the manifest names and that are some use.
pub(super) fn choose(
    manifest: Option<&Manifest>,
    files: &BTreeMap<String, Looked>,
    dump: Option<&Looked>,
) -> Option<Choice> {
    let dumped = dump.map(snapshot_alone);
    let mut choices: Vec<Choice> = Vec::new();
    if let Some(manifest) = manifest {
        choices.extend(since_bases(manifest, files));
        choices.extend(dump.and_then(|dump| since_dump(manifest, files, dump)));
    }
    let dumped_at = dumped.as_ref().and_then(|dumped| dumped.at.clone());
    let has_dumped = |choice: &Choice| match (&dumped_at, &choice.at) {
        (Some(dumped), Some(at)) => at.have_all_of(dumped),
        (dumped, _) => dumped.is_none(),
    };
    let rank = |choice: &Choice| {
        // The log of somebody else does not tell how far it goes: to the end.
        let is_foreign = choice.is_whole && choice.at.is_none();
        let until = if is_foreign {
            Some(u64::MAX)
        } else {
            choice.until
        };
        (until, has_dumped(choice), choice.is_whole)
    };
    let mut ranks: Vec<_> = choices.iter().map(rank).collect();
    ranks.extend(dumped.iter().map(|dumped| (dumped.until, true, false)));
    choices.extend(dumped);
    // Of several that are as new the first.
    let best = (0..choices.len()).rev().max_by_key(|&place| ranks[place])?;
    Some(choices.swap_remove(best))
}

/// The snapshot as it is.
fn snapshot_alone(dump: &Looked) -> Choice {
    let found = dump.snapshot.as_ref();
    Choice {
        steps: vec![dump.clone()],
        until: found.and_then(|found| found.seconds),
        at: found.and_then(|found| found.at.clone()),
        is_whole: false,
        left: Vec::new(),
    }
}

/// Each base that is sound and what goes on from it, the newest first.
fn since_bases(manifest: &Manifest, files: &BTreeMap<String, Looked>) -> Vec<Choice> {
    let all = increments(manifest);
    let mut bases: Vec<&File> = manifest.files().filter(|file| file.is_base()).collect();
    bases.sort_by_key(|base| std::cmp::Reverse(base.seq));
    let mut choices = Vec::new();
    if manifest.base.is_none() {
        // It began with no keys.
        let current = manifest.increments.iter().collect();
        choices.extend(go_on(None, current, files));
    }
    for base in bases {
        let is_newest = manifest.base.as_ref() == Some(base);
        let since: Vec<&File> = match base.incr {
            Some(first) => all
                .iter()
                .copied()
                .filter(|file| file.seq >= first)
                .collect(),
            None if is_newest => manifest.increments.iter().collect(),
            None => continue,
        };
        let looked = files.get(&base.name);
        let is_sound = |looked: &&Looked| {
            let commands = looked.commands.as_ref();
            commands.is_none_or(|commands| commands.stop.is_none())
        };
        if let Some(looked) = looked.filter(is_sound) {
            choices.extend(go_on(Some((base, looked)), since, files));
        }
    }
    choices
}

/// All incremental files, those that were replaced too, in order.
fn increments(manifest: &Manifest) -> Vec<&File> {
    let mut all: Vec<&File> = manifest.files().filter(|file| !file.is_base()).collect();
    all.sort_by_key(|file| file.seq);
    all
}

/// A base and the commands since, as far as they are sound. Nothing if there is nothing at all.
fn go_on(
    base: Option<(&File, &Looked)>,
    since: Vec<&File>,
    files: &BTreeMap<String, Looked>,
) -> Option<Choice> {
    let mut choice = Choice {
        steps: base.iter().map(|(_, looked)| (*looked).clone()).collect(),
        until: None,
        at: None,
        is_whole: true,
        left: Vec::new(),
    };
    let mut next = None;
    if let Some((file, looked)) = base {
        let snapshot = looked.snapshot.as_ref();
        choice.until = file.time.max(snapshot.and_then(|found| found.seconds));
        choice.at = snapshot.and_then(|found| found.at.clone());
        choice.take_times(looked.commands.as_ref());
        next = file.incr;
    }
    choice.append(&since, next, files);
    (!choice.steps.is_empty()).then_some(choice)
}

/// The snapshot and the commands since: of files that begin before it and go on beyond it.
fn since_dump(
    manifest: &Manifest,
    files: &BTreeMap<String, Looked>,
    dump: &Looked,
) -> Option<Choice> {
    let dumped = dump.snapshot.as_ref()?.at.as_ref()?;
    let all = increments(manifest);
    let begins_before = |file: &&&File| {
        let looked = files.get(&file.name);
        let sound = looked.and_then(|looked| looked.commands.as_ref());
        let begins = sound.and_then(|sound| sound.begins.as_ref());
        begins.is_some_and(|begins| dumped.have_all_of(begins))
    };
    let first = all.iter().rev().find(begins_before)?.seq;
    let since: Vec<&File> = all.into_iter().filter(|file| file.seq >= first).collect();
    let mut choice = Choice {
        is_whole: true,
        ..snapshot_alone(dump)
    };
    choice.append(&since, Some(first), files);
    // Otherwise some keys would go back to what they were before the snapshot.
    let goes_beyond = choice.at.as_ref().is_some_and(|at| at.have_all_of(dumped));
    goes_beyond.then_some(choice)
}

impl Choice {
    fn take_times(&mut self, commands: Option<&Sound>) {
        let times = commands.and_then(|commands| commands.times);
        self.until = self.until.max(times.map(|(_, last)| last));
    }

    /// Whether nothing is missing between what there is and these commands, as far as they say.
    fn goes_on_with(&self, commands: &Sound) -> bool {
        let (Some(at), Some(begins)) = (&self.at, &commands.begins) else {
            return true;
        };
        let mut begins = begins.iter();
        begins.all(|(range, index)| at.of(range).is_none_or(|has| has >= index))
    }

    /// Goes on with the commands of these files, in order, up to the first that is missing or stops.
    fn append(&mut self, since: &[&File], mut next: Option<u64>, files: &BTreeMap<String, Looked>) {
        for (place, file) in since.iter().enumerate() {
            let looked = files.get(&file.name);
            let found = looked.and_then(|looked| Some((looked, looked.commands.as_ref()?)));
            let is_next = next.is_none_or(|next| next == file.seq);
            let found = found.filter(|(_, commands)| is_next && self.goes_on_with(commands));
            let Some((looked, commands)) = found else {
                return self.stop(&since[place..], files);
            };
            next = file.seq.checked_add(1);
            self.take_times(Some(commands));
            self.at = commands.at.clone();
            self.steps.push(looked.clone());
            let is_last = place + 1 == since.len();
            match &commands.stop {
                None => {}
                Some(Stop::Torn(_)) if is_last => {}
                Some(_) => return self.stop(&since[place + 1..], files),
            }
        }
    }

    /// Nothing can go on from here.
    fn stop(&mut self, rest: &[&File], files: &BTreeMap<String, Looked>) {
        self.is_whole = false;
        let rest = rest.iter().filter(|file| files.contains_key(&file.name));
        self.left.extend(rest.map(|file| PassedOver {
            object: names::in_folder(&file.name),
            offset: None,
            why: "what comes before it is missing or damaged".to_owned(),
        }));
    }
}
