//! One line of the story: do what comes first, send the request, and hold the answer and the sites' own counts against
//! what was expected.

use anyhow::{Context, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::client::Reply;
use super::scenario::{Act, Ask, Call, Scenario, Who};
use super::site::{Report, Seen};
use super::table::Row;
use super::world::{REGISTRY, World};
use crate::postgres::Stop;

/// Plays one scenario and says what happened.
pub async fn play(world: &mut World, scenario: &Scenario) -> Result<Row> {
    let done = match scenario.first {
        Some(act) => Some(perform(world, act).await?),
        None => None,
    };
    let before = world.fleet.reports().await?;
    let body = scenario.ask.call.body();
    let reply = send(world, &scenario.ask, &body).await?;
    let after = world.fleet.reports().await?;
    let news = news(&before, &after);

    let mut faults = faults(scenario, &reply, &news);
    faults.extend(untrue(&reply, &body, &news));
    let as_expected = faults.is_empty();
    let mut notes: Vec<String> = done.into_iter().collect();
    notes.extend(said(&reply));
    notes.extend(faults);
    Ok(Row {
        title: scenario.title.to_owned(),
        answer: answer(scenario, &reply),
        site: news.first().map_or(String::new(), |(site, _)| site.clone()),
        as_expected,
        notes,
    })
}

async fn perform(world: &mut World, act: Act) -> Result<String> {
    match act {
        Act::RegisterGround => {
            let ground = world.sources.ground.to_string_lossy().into_owned();
            let add = ["ground", "add", &ground];
            world.program.run(&[REGISTRY.as_slice(), &add].concat()).await?;
            Ok("before it: haetae registry ground add deploy/ground-example.toml".to_owned())
        }
        Act::StopPostgres => {
            world.cluster.stop(Stop::Immediate).await?;
            Ok("before it: Postgres was stopped as by a crash".to_owned())
        }
        Act::StartPostgres => {
            world.cluster.restart().await?;
            recover(world).await?;
            Ok("before it: Postgres was started again; the gateway was not".to_owned())
        }
    }
}

/// The gateway finds its database again by itself; the console says when.
async fn recover(world: &World) -> Result<()> {
    let url = format!("http://{}/readyz", world.console);
    for _ in 0..RECOVERY_LOOKS {
        if world.plain.get(&url).await.is_ok_and(|reply| reply.status.is_success()) {
            return Ok(());
        }
        tokio::time::sleep(RECOVERY_PAUSE).await;
    }
    Ok(()) // the request that follows shows it
}

async fn send(world: &World, ask: &Ask, body: &Value) -> Result<Reply> {
    let datasets = ask.datasets.join(", ");
    let mut headers: Vec<(&str, &str)> = Vec::new();
    if !datasets.is_empty() {
        headers.push(("haetae-datasets", &datasets));
    }
    if let Some(site) = ask.site {
        headers.push(("haetae-site", site));
    }
    let url = world.url(ask.call.path());
    match ask.who {
        Who::Certificate(org) => {
            let client = world.certified.get(org).context("an organisation without certificate")?;
            client.post(&url, &headers, body).await
        }
        Who::AtSite(id) => {
            let (_, address) = world
                .fleet
                .addresses()
                .find(|(site, _)| *site == id)
                .context("a site that is not there")?;
            let url = format!("https://{address}{}", ask.call.path());
            world.intruder.post(&url, &headers, body).await
        }
        Who::Token(org, mint) => {
            let token = format!("Bearer {}", world.token(org, mint)?);
            headers.push(("authorization", &token));
            world.plain.post(&url, &headers, body).await
        }
    }
}

/// What arrived at sites between two reports.
fn news(before: &[(String, Report)], after: &[(String, Report)]) -> Vec<(String, Seen)> {
    let pairs = before.iter().zip(after);
    pairs
        .flat_map(|((site, old), (_, new))| {
            let arrived = new.seen.iter().skip(old.seen.len());
            arrived.map(|seen| (site.clone(), seen.clone()))
        })
        .collect()
}

/// Where the answer differs from what was expected.
fn faults(scenario: &Scenario, reply: &Reply, news: &[(String, Seen)]) -> Vec<String> {
    let expect = &scenario.expect;
    let mut faults = Vec::new();
    let mut differs = |what: &str, expected: &str, got: &str| {
        if expected != got {
            faults.push(format!("expected {what} {expected}, got {got}"));
        }
    };
    differs("status", &expect.status.to_string(), reply.status.as_str());
    if let Some(code) = expect.code {
        differs("code", code, reply.code().as_deref().unwrap_or("none"));
    }
    let sites: Vec<&str> = news.iter().map(|(site, _)| site.as_str()).collect();
    differs("the request at", expect.site.unwrap_or("no site"), &or_none(&sites.join(" and ")));
    if let Some(rule) = expect.rule
        && !reply.text().contains(rule)
    {
        faults.push(format!("expected the refusal to name rule {rule}"));
    }
    if scenario.ask.call == Call::ChatStream
        && (reply.pieces < 3 || !reply.text().contains("[DONE]"))
    {
        faults.push(format!("expected a stream to its end, got {} pieces", reply.pieces));
    }
    if expect.status == 503 && reply.header("retry-after").is_none() {
        faults.push("expected Retry-After with the 503".to_owned());
    }
    faults
}

/// What a site saw must be what was sent, under the decision that the caller was told, with its proof.
fn untrue(reply: &Reply, body: &Value, news: &[(String, Seen)]) -> Vec<String> {
    let sent = hex::encode(Sha256::digest(body.to_string()));
    let mut faults = Vec::new();
    for (site, seen) in news {
        if reply.header("haetae-decision") != Some(&seen.decision) {
            faults.push(format!("{site} saw decision {}, the caller another", seen.decision));
        }
        if seen.body_digest != sent {
            faults.push(format!("{site} saw other bytes than were sent"));
        }
        if !seen.receipt {
            faults.push(format!("{site} got no receipt"));
        }
    }
    faults
}

/// Status, code and rule in a few words.
fn answer(scenario: &Scenario, reply: &Reply) -> String {
    let status = reply.status.as_u16();
    match reply.code() {
        Some(code) => format!("{status} {code}"),
        None if scenario.ask.call == Call::ChatStream => {
            format!("{status} in {} pieces", reply.pieces)
        }
        None => format!("{status} allowed"),
    }
}

/// The message of an error, for refusals that say more than that they are one.
fn said(reply: &Reply) -> Option<String> {
    let json = reply.json();
    let message = json.pointer("/error/message")?.as_str()?;
    (reply.status.as_u16() != 401).then(|| message.to_owned())
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "no site".to_owned() } else { text.to_owned() }
}

/// 100 looks of 100 ms: five times the two seconds that are promised.
const RECOVERY_LOOKS: usize = 100;
const RECOVERY_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
