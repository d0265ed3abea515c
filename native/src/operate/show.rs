//! The cluster and its members, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::id::digits_needed;
use super::status::{Member, Moving, Status, Trouble};
use super::survey::Survey;
use super::table::{Cell, Paint, Table, Tone, plain};
use crate::server::human;

/// How the cluster is: what it is set to, whether all is well, its members, what is wrong.
pub fn status(survey: &Survey, paint: Paint) -> String {
    let status = &survey.status;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}; {}; map {}",
        count(status.members.len() as u64, "member"),
        status.quorum,
        survey.version()
    );
    let (verdict, tone) = verdict(survey);
    let _ = writeln!(text, "{}", paint.text(&verdict, tone));
    let _ = writeln!(text, "moves copies at {}", speed(&status.moving));
    text.push('\n');
    text.push_str(&brief_table(survey).text(paint));
    let remarks = remarks(survey);
    if !remarks.is_empty() {
        text.push('\n');
    }
    for remark in remarks {
        let _ = writeln!(text, "{}", paint.text(&remark, Tone::Warn));
    }
    text
}

/// One sentence on where the ranges are.
pub fn verdict(survey: &Survey) -> (String, Tone) {
    let (ranges, progress) = (survey.ranges(), survey.progress());
    let lost = survey.without_master();
    let troubled = survey.troubled();
    let but = match troubled {
        0 => String::new(),
        1 => "; 1 member takes no writes".to_owned(),
        _ => format!("; {troubled} members take no writes"),
    };
    if survey.is_settled() {
        let tone = if troubled > 0 { Tone::Bad } else { Tone::Good };
        return (format!("all {ranges} ranges are in place{but}"), tone);
    }
    let mut text = format!(
        "{} of {ranges} ranges are in place, {} moving",
        progress.in_place, progress.moving
    );
    if survey.status.moving.paused {
        text.push_str(", paused");
    }
    if lost > 0 {
        let _ = write!(text, "; {lost} without a master that answers");
    }
    text.push_str(&but);
    let is_bad = lost > 0 || troubled > 0;
    (text, if is_bad { Tone::Bad } else { Tone::Warn })
}

/// How fast copies are moved.
pub fn speed(moving: &Moving) -> String {
    let paused = if moving.paused { ", paused" } else { "" };
    format!(
        "{}/s, {} at once, a node{paused}",
        human(moving.bytes_per_second),
        count(moving.at_once.into(), "range")
    )
}

fn brief_table(survey: &Survey) -> Table {
    let mut table = Table::new(&[
        "node", "address", "zone", "state", "#masters", "#copies", "in place", "#sent",
    ]);
    let digits = digits_needed(survey.status.members.iter().map(|member| member.id));
    for member in &survey.status.members {
        let progress = survey
            .heard
            .get(&member.id)
            .and_then(|heard| heard.as_ref().ok());
        let (in_place, sent) = match progress.map(|status| status.progress) {
            Some(progress) => (
                format!("{} of {}", progress.in_place, progress.mastered),
                human(progress.sent_bytes),
            ),
            None => ("-".to_owned(), "-".to_owned()),
        };
        table.row(vec![
            plain(member.id.prefix(digits)),
            plain(&member.address),
            plain(&member.zone),
            state(survey, member),
            plain(member.masters),
            plain(member.copies),
            plain(in_place),
            plain(sent),
        ]);
    }
    table
}

/// The members with all that is known of them.
pub fn nodes(survey: &Survey, paint: Paint) -> String {
    let mut table = Table::new(&[
        "node", "address", "zone", "#weight", "state", "#masters", "#copies", "#map", "",
    ]);
    for member in &survey.status.members {
        let heard = survey.heard.get(&member.id);
        let (version, remark) = match heard {
            Some(Ok(status)) if member.id == survey.status.me => {
                (status.version.to_string(), plain("asked"))
            }
            Some(Ok(status)) => (status.version.to_string(), plain("")),
            Some(Err(why)) => ("-".to_owned(), Cell::new(why, Tone::Bad)),
            None => ("-".to_owned(), plain("")),
        };
        table.row(vec![
            plain(member.id),
            plain(&member.address),
            plain(&member.zone),
            plain(member.weight),
            state(survey, member),
            plain(member.masters),
            plain(member.copies),
            plain(version),
            remark,
        ]);
    }
    table.text(paint)
}

fn state(survey: &Survey, member: &Member) -> Cell {
    let answers = survey.heard.get(&member.id).is_some_and(Result::is_ok);
    if let Some(trouble) = survey.trouble(member.id) {
        let what = match (trouble.stopped, trouble.full) {
            (true, _) => "stopped",
            (false, true) => "disk full",
            (false, false) => "read-only",
        };
        return Cell::new(format!("{}, {what}", member.state), Tone::Bad);
    }
    let (what, tone) = match (member.silent, answers) {
        (true, false) => (Some("silent"), Tone::Bad),
        (true, true) => (Some("cut off"), Tone::Bad),
        (false, false) => (Some("not asked"), Tone::Warn),
        (false, true) if member.is_draining() => (None, Tone::Warn),
        (false, true) => (None, Tone::Good),
    };
    match what {
        Some(what) => Cell::new(format!("{}, {what}", member.state), tone),
        None => Cell::new(&member.state, tone),
    }
}

/// What an operator should know of, and what to do about it.
fn remarks(survey: &Survey) -> Vec<String> {
    let status = &survey.status;
    let digits = digits_needed(status.members.iter().map(|member| member.id));
    let mut remarks = Vec::new();
    for member in &status.members {
        let id = member.id.prefix(digits);
        let heard = survey.heard.get(&member.id);
        if let Some(trouble) = survey.trouble(member.id) {
            remarks.push(trouble_of(id, trouble));
        } else if survey.is_dead(member) {
            remarks.push(format!(
                "{id} is silent. If it does not come back: trilith cluster remove {id}"
            ));
        } else if member.silent {
            remarks.push(format!(
                "{id} answers here, but the node that was asked hears nothing of it: look at the network between them"
            ));
        } else if let Some(Err(why)) = heard {
            remarks.push(format!(
                "{id} is heard of in the cluster, but cannot be asked from here at {}: {why}",
                member.address
            ));
        } else if member.is_draining() && survey.is_settled() {
            remarks.push(format!(
                "{id} is drained: stop it, and then: trilith cluster remove {id} --yes"
            ));
        }
    }
    remarks.extend(shortage(status));
    if status.moving.paused {
        remarks.push("moving is paused: trilith cluster resume".to_owned());
    }
    remarks
}

fn trouble_of(id: impl std::fmt::Display, trouble: &Trouble) -> String {
    let what = &trouble.what;
    match (trouble.stopped, trouble.full) {
        (true, _) => format!(
            "{id} has stopped, as its storage failed ({what}): look at its disk, then start it again"
        ),
        (false, true) => format!(
            "{id} takes no writes, as its disk is full ({what}): free some space there, it goes on by itself"
        ),
        (false, false) => format!(
            "{id} takes no writes at present ({what}): it goes on by itself; if that lasts, see its log"
        ),
    }
}

/// What it means that there are fewer members than copies should be.
pub fn shortage(status: &Status) -> Option<String> {
    let active = status.members.iter().filter(|member| !member.is_draining());
    let active = active.count();
    let members = match active {
        1 => "is 1 active member".to_owned(),
        _ => format!("are {active} active members"),
    };
    (active < usize::from(status.quorum.n)).then(|| {
        format!(
            "N is {} and there {members}: until there are more, one copy of each range votes, and its loss is the range's",
            status.quorum.n
        )
    })
}

/// `1 member`, `2 members`.
pub fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The same for programs.
pub fn status_json(survey: &Survey) -> Value {
    let status = &survey.status;
    let members: Vec<Value> = status
        .members
        .iter()
        .map(|member| {
            let mut value = json!(member);
            let heard = survey.heard.get(&member.id);
            let told = heard.and_then(|heard| heard.as_ref().ok());
            value["answers"] = json!(told.is_some());
            value["error"] = json!(heard.and_then(|heard| heard.as_ref().err()));
            value["trouble"] = json!(survey.trouble(member.id));
            value["version"] = json!(told.map(|status| status.version));
            value["progress"] = json!(told.map(|status| status.progress));
            value
        })
        .collect();
    json!({
        "asked": status.me,
        "version": survey.version(),
        "quorum": status.quorum,
        "moving": status.moving,
        "members": members,
        "ranges": survey.ranges(),
        "without_master": survey.without_master(),
        "progress": survey.progress(),
        "settled": survey.is_settled(),
        "complete": survey.is_complete(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::testing::{self, NODES};

    #[test]
    fn a_cluster_in_order_is_shown_with_its_members() {
        assert_eq!(
            status(&testing::survey(), Paint::OFF),
            "3 members; N 3, W 2, R 2; map 7\n\
             all 257 ranges are in place\n\
             moves copies at 64.00M/s, 4 ranges at once, a node\n\
             \n\
             node    address         zone  state   masters  copies  in place   sent\n\
             1a0000  127.0.0.1:7001  a     active       86     256  87 of 87  1.00K\n\
             2b0000  127.0.0.1:7002  b     active       85     256  85 of 85  1.00K\n\
             3c0000  127.0.0.1:7003  c     active       85     256  85 of 85  1.00K\n"
        );
    }

    #[test]
    fn a_dead_member_is_shown_with_what_to_do() {
        let mut survey = testing::survey();
        survey.status.members[2].silent = true;
        survey
            .heard
            .insert(NODES[2], Err("nobody listens there".into()));
        let text = status(&survey, Paint::OFF);
        assert!(
            text.contains(
                "172 of 257 ranges are in place, 0 moving; 85 without a master that answers\n"
            ),
            "{text}"
        );
        assert!(
            text.contains("active, silent       85     256  -             -\n"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "\n3c0000 is silent. If it does not come back: trilith cluster remove 3c0000\n"
            ),
            "{text}"
        );
        let json = status_json(&survey);
        assert_eq!(json["settled"], false);
        assert_eq!(json["members"][2]["answers"], false);
        assert_eq!(json["members"][2]["error"], "nobody listens there");
        assert_eq!(json["members"][0]["progress"]["mastered"], 87);
    }

    #[test]
    fn a_full_disk_and_a_node_that_has_stopped_are_shown_with_what_to_do() {
        let mut survey = testing::survey();
        let trouble = |stopped, full, what: &str| {
            Some(Trouble {
                stopped,
                full,
                what: what.into(),
            })
        };
        testing::told(&mut survey, 1).trouble = trouble(false, true, "full: no space");
        let text = status(&survey, Paint::OFF);
        assert!(
            text.contains("\nall 257 ranges are in place; 1 member takes no writes\n"),
            "{text}"
        );
        assert!(text.contains("  active, disk full  "), "{text}");
        assert!(
            text.ends_with(
                "\n2b0000 takes no writes, as its disk is full (full: no space): free some space there, it goes on by itself\n"
            ),
            "{text}"
        );
        assert_eq!(status_json(&survey)["complete"], false);
        assert_eq!(status_json(&survey)["members"][1]["trouble"]["full"], true);
        survey.status.members[2].silent = true;
        testing::told(&mut survey, 2).trouble = trouble(true, false, "failed: an error");
        let text = status(&survey, Paint::OFF);
        assert!(text.contains("; 2 members take no writes\n"), "{text}");
        assert!(
            text.contains(
                "3c0000 has stopped, as its storage failed (failed: an error): look at its disk, then start it again\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_moving_is_shown_and_so_is_that_it_is_paused() {
        let mut survey = testing::survey();
        survey.status.moving.paused = true;
        survey.status.members[0].state = "draining".into();
        testing::told(&mut survey, 0).progress.in_place = 80;
        testing::told(&mut survey, 0).progress.moving = 4;
        let text = status(&survey, Paint::OFF);
        assert!(
            text.contains("250 of 257 ranges are in place, 4 moving, paused\n"),
            "{text}"
        );
        assert!(
            text.contains("4 ranges at once, a node, paused\n"),
            "{text}"
        );
        assert!(
            text.contains("N is 3 and there are 2 active members"),
            "{text}"
        );
        assert!(
            text.ends_with("\nmoving is paused: trilith cluster resume\n"),
            "{text}"
        );
    }

    #[test]
    fn a_drained_node_may_be_removed() {
        let mut survey = testing::survey();
        survey.status.members[1].state = "draining".into();
        let text = status(&survey, Paint::OFF);
        assert!(
            text.contains(
                "2b0000 is drained: stop it, and then: trilith cluster remove 2b0000 --yes\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_node_with_an_older_map_is_not_settled() {
        let mut survey = testing::survey();
        testing::told(&mut survey, 2).version = 6;
        assert!(!survey.is_settled());
    }

    #[test]
    fn members_are_listed_with_their_whole_ids() {
        let mut survey = testing::survey();
        survey
            .heard
            .insert(NODES[1], Err("it does not answer".into()));
        assert_eq!(
            nodes(&survey, Paint::OFF),
            "node              address         zone  weight  state              masters  copies  map\n\
             1a00000000000001  127.0.0.1:7001  a          1  active                  86     256    7  asked\n\
             2b00000000000002  127.0.0.1:7002  b          1  active, not asked       85     256    -  it does not answer\n\
             3c00000000000003  127.0.0.1:7003  c          1  active                  85     256    7\n"
        );
    }
}
