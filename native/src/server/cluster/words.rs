//! CONSISTENCY and WAIT: by how many copies a connection wants to be served, and was.

use bytes::Bytes;
use trilith::command::{Reply, parse_integer};
use trilith::ring::Quorum;
use trilith::ring::driver::Consistency;

use super::{Cluster, Stance};

/// CONSISTENCY. A request may ask for more than the cluster's W and R, never for less.
pub fn consistency(
    mut words: &[Bytes],
    stance: &mut Stance,
    cluster: Option<&impl Cluster>,
) -> Reply {
    let quorum = cluster.and_then(|cluster| cluster.view().map.as_ref().map(|map| map.quorum));
    let quorum = quorum.unwrap_or(Quorum::ALONE);
    if words.is_empty() {
        return tell(stance.consistency, quorum);
    }
    let mut wanted = Consistency::default();
    if let [word] = words
        && word.eq_ignore_ascii_case(b"default")
    {
        stance.consistency = wanted;
        return Reply::OK;
    }
    loop {
        words = match words {
            [] => break,
            [name, copies, rest @ ..] if name.eq_ignore_ascii_case(b"w") => {
                wanted.w = match copies_of("W", copies, quorum.acknowledge(), quorum.replicas()) {
                    Ok(w) => w,
                    Err(reply) => return reply,
                };
                rest
            }
            [name, copies, rest @ ..] if name.eq_ignore_ascii_case(b"r") => {
                wanted.r = match copies_of("R", copies, quorum.read(), quorum.replicas()) {
                    Ok(r) => r,
                    Err(reply) => return reply,
                };
                rest
            }
            [name, rest @ ..] if name.eq_ignore_ascii_case(b"weak") => {
                wanted.weak = true;
                rest
            }
            _ => return Reply::SYNTAX,
        };
    }
    if wanted.weak && wanted.r != 0 {
        return Reply::error("ERR a WEAK read asks no other copy: leave out WEAK, or R");
    }
    stance.consistency = wanted;
    Reply::OK
}

fn copies_of(name: &str, word: &[u8], least: u8, most: u8) -> Result<u8, Reply> {
    let copies = parse_integer(word).ok_or(Reply::NOT_AN_INTEGER)?;
    match u8::try_from(copies) {
        Ok(copies) if (least..=most).contains(&copies) => Ok(copies),
        _ => Err(Reply::Error(
            format!(
                "ERR {name} goes from {least}, as the cluster is set, to {most}, the number of copies: a request may ask for more than the setting, never for less"
            )
            .into(),
        )),
    }
}

fn tell(consistency: Consistency, quorum: Quorum) -> Reply {
    let number = |number: u8| Reply::Int(number.into());
    Reply::Map(vec![
        (
            Reply::fixed("w"),
            number(consistency.w.max(quorum.acknowledge())),
        ),
        (Reply::fixed("r"), number(consistency.r.max(quorum.read()))),
        (Reply::fixed("weak"), number(consistency.weak.into())),
    ])
}

/// WAIT: how many other copies are sure to have this connection's acknowledged writes. That is W - 1, by
/// the smallest W that can have been in force: a range that has fewer copies as yet acknowledges by fewer.
pub fn wait(words: &[Bytes], stance: &Stance, cluster: Option<&impl Cluster>) -> Reply {
    let numbers = (parse_integer(&words[0]), parse_integer(&words[1]));
    match numbers {
        (None, _) => return Reply::NOT_AN_INTEGER,
        (_, None) => return Reply::error("ERR timeout is not an integer or out of range"),
        (_, Some(timeout)) if timeout < 0 => return Reply::error("ERR timeout is negative"),
        _ => {}
    }
    let Some(cluster) = cluster else {
        return Reply::Int(0);
    };
    let configured = match &cluster.view().map {
        // Fewer than three nodes hold one copy that counts, whatever N is.
        Some(map) if map.members.len() >= usize::from(map.quorum.replicas()) => {
            map.quorum.acknowledge()
        }
        _ => 1,
    };
    let ranges = cluster.ranges();
    let everywhere = ranges.iter().map(|range| range.w).min();
    let everywhere = everywhere.map_or(configured, |least| least.min(configured));
    let asked = stance.stored_by.unwrap_or(stance.consistency.w);
    Reply::Int(i64::from(everywhere.max(asked).max(1)) - 1)
}
