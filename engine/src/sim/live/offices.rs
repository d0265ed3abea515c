//! Who leads which arc and who holds it, kept up to date from the trace: a picture asks at every frame.

use std::collections::BTreeMap;

use super::action::Number;
use crate::ring::meta::Map;
use crate::ring::trace::Event;
use crate::ring::{Index, META, NodeId, RangeId, Term};
use crate::slot::ARCS;

/// One range's.
#[derive(Clone, Copy, Default)]
pub(super) struct Office {
    /// The latest term that somebody was elected in.
    pub(super) term: Term,
    /// Who, as long as it is in office; 0 for nobody.
    pub(super) master: Number,
    /// Machines that vote or learn, a bit each: the first machine has the lowest.
    pub(super) holders: u64,
    /// The first entry of that term.
    began_at: Index,
    configured_at: Index,
}

/// See the module. The meta range comes last.
pub(super) struct Offices {
    all: Vec<Office>,
}

fn bits(nodes: impl Iterator<Item = NodeId>, number_of: impl Fn(NodeId) -> Number) -> u64 {
    let numbers = nodes.map(number_of).filter(|&number| number > 0);
    numbers.fold(0, |bits, number| bits | 1 << (number - 1))
}

fn place_of(range: RangeId) -> usize {
    match range {
        META => usize::from(ARCS),
        range => range as usize,
    }
}

impl Offices {
    pub(super) fn new(map: &Map, number_of: impl Fn(NodeId) -> Number) -> Self {
        let ranges = (0..RangeId::from(ARCS)).chain([META]);
        let office = |range| Office {
            holders: bits(map.wanted(range).0.into_iter(), &number_of),
            ..Office::default()
        };
        Self {
            all: ranges.map(office).collect(),
        }
    }

    /// Takes note of what a machine's copy has seen.
    pub(super) fn saw(
        &mut self,
        node: Number,
        range: RangeId,
        event: &Event,
        number_of: impl Fn(NodeId) -> Number,
    ) {
        let Some(office) = self.all.get_mut(place_of(range)) else {
            return;
        };
        match event {
            Event::Elected { term, last, .. } if *term >= office.term => {
                office.term = *term;
                office.master = node;
                office.began_at = last.index + 1;
            }
            Event::SteppedDown { .. } if office.master == node => office.master = 0,
            Event::Configured {
                at,
                voters,
                outgoing,
                learners,
            } if *at >= office.configured_at => {
                let all = voters.iter().chain(outgoing).chain(learners);
                office.configured_at = *at;
                office.holders = bits(all.copied(), number_of);
            }
            _ => {}
        }
    }

    /// A machine's process has ended.
    pub(super) fn vacate(&mut self, node: Number) {
        for office in &mut self.all {
            if office.master == node {
                office.master = 0;
            }
        }
    }

    /// The first entry of a term; never, if it is not the latest that is known.
    pub(super) fn began_at(&self, range: RangeId, term: Term) -> Index {
        match self.all.get(place_of(range)) {
            Some(office) if office.term == term => office.began_at,
            _ => Index::MAX,
        }
    }

    /// Of every arc in order, then of the meta range.
    pub(super) fn all(&self) -> &[Office] {
        &self.all
    }

    /// Ranges that each machine leads.
    pub(super) fn led(&self) -> BTreeMap<Number, u32> {
        let mut led = BTreeMap::new();
        for office in &self.all {
            *led.entry(office.master).or_default() += 1;
        }
        led
    }
}
