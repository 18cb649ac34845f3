//! What the witness knows: a page for people, which needs no script, and the same for machines; and for the operator, what stands in
//! the way, in full.
//!
//! *Invariant:* nothing of a log's words reaches the page but escaped; and of an error, which may name addresses or files, no more than
//! its kind.

use std::fmt::Write as _;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Witness;
use super::alarms::{Alarm, Alarms};
use super::log::Log;
use super::mirror::{Mirror, Seen};
use super::room::Room;
use super::trouble::Standing;

pub(super) fn html(witness: &Witness) -> String {
    let own = witness.alarms.own();
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Witness</title><style>{STYLE}</style>\n\
         <h1>Witness</h1><p>Cosigns with <code>{}</code></p>\n\
         <p>Its own log: <a href=\"{}checkpoint\">{} records</a>, signed with <code>{}</code></p>\n",
        escaped(&witness.vkey()),
        own.prefix(),
        own.size(),
        escaped(&own.vkey()),
    );
    raised(&mut page, &witness.alarms);
    if witness.room.is_short() {
        let _ = writeln!(
            page,
            "<p class=bad>{} MB are free where the state lies, and mirrors leave {} free: nothing further is mirrored until \
             there is room, or <code>room_min_mb</code> is lower. Checkpoints are cosigned all the same.</p>",
            witness.room.free_bytes().unwrap_or(0) >> 20,
            witness.room.min_bytes() >> 20
        );
    }
    page.push_str("<h2>Logs that are cosigned</h2>\n");
    witness.logs.values().for_each(|log| cosigned(&mut page, log));
    for mirror in &witness.mirrors {
        mirrored(&mut page, mirror, &witness.room);
    }
    page
}

pub(super) fn raised(page: &mut String, alarms: &Alarms) {
    page.push_str("<h2>Alarms</h2>\n");
    if alarms.unwritten().is_some() {
        page.push_str(
            "<p class=bad>The newest alarm is not recorded yet: this witness's disk does not take it. Its operator finds the cause in \
             its log.</p>\n",
        );
    }
    match alarms.total() {
        0 => page.push_str("<p>None since this process began.</p>\n"),
        total => {
            let _ = writeln!(
                page,
                "<p class=bad>{total} since this process began. The newest:</p><ul>"
            );
            for alarm in alarms.newest() {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    page,
                    "<li>{} <b>{}</b> <code>{}</code>: {}",
                    instant(alarm.at_s),
                    escaped(&alarm.log),
                    alarm.what,
                    escaped(&alarm.about)
                );
            }
            page.push_str("</ul>\n");
        }
    }
}

fn cosigned(page: &mut String, log: &Log) {
    let _ = writeln!(page, "<h3>{}</h3><ul>", escaped(&log.origin));
    let state = log.state();
    let _ = match &state.kept {
        Some(kept) => writeln!(
            page,
            "<li>{} records, root <code>{}</code>, cosigned {} (<a href=\"/{}/checkpoint\">checkpoint</a>)",
            kept.size,
            kept.root,
            instant(i64::try_from(kept.at_s).unwrap_or(0)),
            log.shelf.name()
        ),
        None => writeln!(page, "<li>nothing was ever cosigned"),
    };
    if let Some(lost) = state.unknown() {
        let _ = writeln!(
            page,
            "<li class=bad>ALARM: {} records were cosigned at {}, which the state does not know: it was lost, or is an older one. \
             Nothing of this log is cosigned until it is back, or key and state are new ones",
            lost.size,
            instant(i64::try_from(lost.at_s).unwrap_or(0))
        );
    }
    if let Some((at, why)) = state.contradicted {
        let _ = writeln!(
            page,
            "<li class=bad>ALARM: {} signed checkpoints contradict what was seen; the latest at {}: {}",
            state.contradictions,
            instant(at),
            why.message()
        );
    }
    if state.unproven > 0 {
        let _ = writeln!(
            page,
            "<li>{} signed checkpoints came without a proof that they extend the last one",
            state.unproven
        );
    }
    let kept = log.shelf.evidences();
    if kept > 0 {
        let _ = writeln!(page, "<li class=bad>evidence kept: {kept} signed checkpoints");
    }
    page.push_str("</ul>\n");
}

fn mirrored(page: &mut String, mirror: &Mirror, room: &Room) {
    let counts = mirror.counts();
    let _ = writeln!(page, "<h2>Mirror of {}</h2>", escaped(mirror.log()));
    if mirror.reads_records() {
        let _ = writeln!(
            page,
            "<p>Since this process began: {} records read, {} decisions: {} judged again with the same result, \
             {} not re-judgeable, {} of the second engine; {} allows without access evidence, none seen before them in their \
             lane; {} findings.</p>",
            counts.records,
            counts.decisions,
            counts.same,
            counts.not_judgeable,
            counts.second_engine,
            counts.without_access,
            counts.findings
        );
    } else {
        page.push_str("<p>Only the tree is followed: records are not read.</p>\n");
    }
    if !mirror.has_room() {
        page.push_str("<p class=bad>The room for texts is used up: further ones are judged with and not kept.</p>\n");
    }
    share(page, mirror, room);
    page.push_str("<table><tr><th>lane<th>published<th>mirrored<th>judged<th>checked<th>trouble\n");
    for (origin, seen) in mirror.lanes() {
        let Seen { published, mirrored, judged, checked_s, trouble, .. } = seen;
        let checked = checked_s.map_or_else(|| "never".to_owned(), instant);
        let trouble = trouble.as_ref().map_or_else(|| "none".to_owned(), in_words);
        let _ = writeln!(
            page,
            "<tr><td>{}<td>{published}<td>{mirrored}<td>{judged}<td>{checked}<td>{trouble}",
            escaped(origin)
        );
    }
    page.push_str("</table>\n");
}

/// Its kind alone.
fn in_words(standing: &Standing) -> String {
    let (kind, since) = (standing.trouble.kind, instant(standing.since_s));
    format!("<code>{}</code> since {since}: {}", kind.code(), kind.words())
}

fn share(page: &mut String, mirror: &Mirror, room: &Room) {
    let Some(share) = room.share(mirror.log()) else { return };
    let _ = if share.is_over {
        writeln!(page, "<p class=bad>Over its share: {}.</p>", share.over())
    } else {
        let (used, max) = (share.used_bytes >> 20, share.max_bytes >> 20);
        writeln!(
            page,
            "<p>It takes {used} MB of the {max} MB that are its share of the room of all mirrors.</p>"
        )
    };
}

impl Witness {
    /// How the mirrors stand, a line for each lane, with addresses and errors in full: for the operator alone.
    #[must_use]
    pub fn stands(&self) -> String {
        let mut said = String::new();
        if let Some(cause) = self.alarms.unwritten() {
            let _ = writeln!(said, "the newest alarm is not recorded: {cause}");
        }
        for (origin, seen) in self.mirrors.iter().flat_map(|mirror| mirror.lanes()) {
            let _ = match &seen.trouble {
                None => writeln!(said, "followed {origin}: {} records", seen.mirrored),
                Some(Standing { trouble, since_s }) => {
                    let (kind, since) = (trouble.kind.code(), instant(*since_s));
                    writeln!(said, "STANDS STILL {origin}: {kind} since {since}: {}", trouble.said)
                }
            };
        }
        said
    }
}

pub(super) fn json(witness: &Witness) -> String {
    let logs: Vec<_> = witness.logs.values().map(|log| of(log)).collect();
    let own = witness.alarms.own();
    json!({
        "witness": witness.vkey(),
        "logs": logs,
        "own_log": { "vkey": own.vkey(), "size": own.size(), "checkpoint": format!("{}checkpoint", own.prefix()) },
        "alarms": raised_json(&witness.alarms),
        "room": { "free": witness.room.free_bytes(), "min": witness.room.min_bytes(), "short": witness.room.is_short() },
        "mirrors": witness.mirrors.iter().map(|mirror| mirror_of(mirror, &witness.room)).collect::<Vec<_>>(),
    })
    .to_string()
}

pub(super) fn raised_json(alarms: &Alarms) -> Value {
    let newest = alarms.newest();
    let of = |alarm: &Alarm| json!({ "at": alarm.at_s, "log": alarm.log, "what": alarm.what, "about": alarm.about });
    let newest: Vec<Value> = newest.iter().map(of).collect();
    json!({ "total": alarms.total(), "newest": newest, "unwritten": alarms.unwritten().is_some() })
}

fn mirror_of(mirror: &Mirror, room: &Room) -> Value {
    let share = room.share(mirror.log());
    let counts = mirror.counts();
    let lane = |(origin, seen): (&str, Seen)| {
        let trouble = seen.trouble.as_ref();
        json!({
            "origin": origin, "published": seen.published, "mirrored": seen.mirrored,
            "judged": seen.judged, "checked": seen.checked_s,
            "trouble": trouble.map(|standing| standing.trouble.kind.code()),
            "trouble_since": trouble.map(|standing| standing.since_s),
        })
    };
    json!({
        "log": mirror.log(),
        "reads_records": mirror.reads_records(),
        "records": counts.records, "decisions": counts.decisions, "judged": counts.same,
        "not_judgeable": counts.not_judgeable, "second_engine": counts.second_engine,
        "without_access": counts.without_access, "findings": counts.findings,
        "room": share.map(|share| {
            json!({ "used": share.used_bytes, "share": share.max_bytes, "over": share.is_over })
        }),
        "lanes": mirror.lanes().map(lane).collect::<Vec<_>>(),
    })
}

fn of(log: &Log) -> Value {
    let state = log.state();
    let kept = state.kept.as_ref();
    json!({
        "origin": log.origin,
        "size": kept.map(|kept| kept.size),
        "root": kept.map(|kept| kept.root.to_string()),
        "cosigned": kept.map(|kept| kept.at_s),
        "lost": state.unknown().map(|lost| lost.size),
        "contradictions": state.contradictions,
        "unproven": state.unproven,
        "evidence": log.shelf.evidences(),
        "checkpoint": format!("/{}/checkpoint", log.shelf.name()),
    })
}

fn instant(at_s: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at_s).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}\
    td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ccc}.bad{color:#a00}code{word-break:break-all}";
