//! What a node's driver does now and then by itself.

use super::host::{Done, Host};
use super::world::World;
use crate::ring::effect::Input;
use crate::ring::node::NodeInput;
use crate::ring::{META, RangeId};

/// Ticks from one comparison of copies to the next: about two seconds.
const SCRUB_TICKS: u64 = 120;

impl Host {
    pub(super) fn tick(&mut self, world: &mut World) {
        if self.paused.is_some() {
            return;
        }
        self.look_at_store(world);
        self.step(NodeInput::Tick, world);
        let Some(running) = &mut self.running else {
            return;
        };
        running.ticks += 1;
        if running.ticks.is_multiple_of(64) {
            self.tell_flushed(world);
            self.remove_expired();
        }
        if self
            .running
            .as_ref()
            .is_some_and(|running| running.ticks.is_multiple_of(SCRUB_TICKS))
        {
            self.scrub(world);
        }
    }

    fn look_at_store(&mut self, world: &World) {
        let Some(running) = &mut self.running else {
            return;
        };
        let is_read_only = running.store.trouble().is_some();
        if std::mem::replace(&mut running.is_read_only, is_read_only) != is_read_only {
            self.step(NodeInput::ReadOnly(is_read_only), world);
        }
    }

    /// Has the copies of the ranges that are led from here compared.
    fn scrub(&mut self, world: &World) {
        let Some(running) = &self.running else {
            return;
        };
        let led: Vec<RangeId> = running
            .node
            .ranges()
            .filter(|range| range.is_master())
            .map(|range| range.id())
            .collect();
        for range in led {
            self.step(NodeInput::Range(range, Input::Scrub), world);
        }
    }

    fn tell_flushed(&mut self, world: &World) {
        let Some(running) = &mut self.running else {
            return;
        };
        let (seen, flushed) = running.store.flushed();
        if std::mem::replace(&mut running.flushes_seen, seen) != seen {
            for (range, upto) in flushed {
                self.step(NodeInput::Range(range, Input::Flushed { upto }), world);
            }
        }
    }

    /// Finds keys whose time has come by the log, in the ranges that are led from here.
    fn remove_expired(&self) {
        let Some(running) = &self.running else {
            return;
        };
        for range in running
            .node
            .ranges()
            .filter(|range| range.is_master() && range.id() != META)
        {
            let (store, id, now_ms) = (running.store.clone(), range.id(), range.applied_time_ms());
            self.run(async move { Done::Expired(id, store.expired(id, now_ms).await) });
        }
    }
}
