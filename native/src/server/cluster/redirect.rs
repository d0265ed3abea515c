//! Which commands a node does not run: those for slots of others, if the client knows where these are.

use std::sync::Arc;

use trilith::command::{Command, Reply};
use trilith::ring::driver::View;
use trilith::slot::{arc_of, slot_of};

use super::{Cluster, Stance, Topology};

const CROSSSLOT: Reply = Reply::error("CROSSSLOT Keys in request don't hash to the same slot");

/// The reply to a command that is not to be run here. `None` for all that are: a command without keys, one
/// whose slot is mastered here, and any of a client that does not know the map: for it, keys may be in any slots.
///
/// `view` is the one that the commands before it in the batch were judged by; it is taken if need be.
pub fn redirect(
    command: &Command,
    stance: &Stance,
    cluster: &impl Cluster,
    view: &mut Option<Arc<View>>,
) -> Option<Reply> {
    if !stance.knows_map {
        return None;
    }
    let mut keys = command.keys();
    let slot = slot_of(keys.next()?);
    if keys.any(|key| slot_of(key) != slot) {
        return Some(CROSSSLOT);
    }
    let view = view.get_or_insert_with(|| cluster.view());
    let topology = Topology::new(view, cluster.address());
    let master = topology.master(slot);
    let reads_here = stance.reads_copies && !command.is_write() && topology.is_held_here(slot);
    // Where office has just changed, two views may name each other: who holds it serves, and who only guesses at the
    // master forwards.
    let is_elsewhere = master != topology.me() && topology.has_master(slot);
    if !is_elsewhere || reads_here || cluster.masters(arc_of(slot).into()) {
        return None;
    }
    let endpoint = topology.endpoint(master);
    Some(Reply::Error(format!("MOVED {slot} {endpoint}").into()))
}
