//! Bodies that two readers could read differently, and declarations that contradict each other: refused, on record, and
//! seen by no site. What is carried arrives byte for byte, however it is spelled.

use serde_json::json;

use super::refuse::is_row;
use crate::support::stage::{CHAT, ORDERS, SEOUL, Stage, number};

type Case = (&'static str, &'static [(&'static str, &'static str)], Vec<u8>, u16, &'static str);

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_on_record_and_goes_nowhere() {
    let stage = Stage::shared().await;
    let (pool, sites) = (stage.pool().await, stage.sites());
    let caller = stage.caller("kr-retailer");
    for (what, headers, body, status, reason) in cases() {
        let mut all = vec![SEOUL];
        if !headers.iter().any(|(name, _)| name.starts_with("haetae-")) {
            all.push(ORDERS);
        }
        all.extend(headers);
        let answer = caller.post(CHAT, &all, &body).await;
        is_row(&pool, &answer, (status, reason), what).await;
        assert_eq!(sites.arrivals(&body).await, [], "{what}");
    }
}

#[tokio::test]
async fn what_is_carried_arrives_byte_for_byte() {
    let stage = Stage::shared().await;
    let (sites, caller) = (stage.sites(), stage.caller("kr-retailer"));
    let spellings = [
        "{\"model\":\"llama-3.3-70b\",\"messages\":[],\"x\":#}",
        " \t\r\n{ \"model\" : \"llama-3.3-70b\" ,\n \"messages\" : [ ] , \"x\" : # }\n ",
        "{\"model\":\"\\u006clama-3.3-70b\",\"messages\":[],\"x\":[1e300, -0.0, 1.10, \"\\u00e9\\ud83d\\ude00\", #]}",
        "{\"unknown\":{\"Model\":\"gpt\"},\"messages\":[],\"model\":\"llama-3.3-70b\",\"x\":#}",
    ];
    for spelling in spellings {
        let body = spelling.replace('#', &number().to_string());
        let answer = caller.post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let seen = sites.arrivals(body.as_bytes()).await;
        assert_eq!(seen.len(), 1, "{body}");
    }
}

#[tokio::test]
async fn a_declaration_in_the_body_is_one_in_the_header_and_the_two_must_agree() {
    let stage = Stage::shared().await;
    let (pool, sites) = (stage.pool().await, stage.sites());
    let caller = stage.caller("kr-retailer");
    let body = |datasets: &str| {
        json!({ "model": "llama-3.3-70b", "messages": [], "user": number().to_string(),
                "metadata": { "haetae.datasets": datasets, "haetae.site": "kr-seo-1" } })
        .to_string()
    };
    let same = body("kr-retail/orders@1");
    let answer = caller.post(CHAT, &[ORDERS], same.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let alone = body("kr-retail/orders@1");
    let answer = caller.post(CHAT, &[], alone.as_bytes()).await;
    assert_eq!(stage.record_of(&answer).await["datasets"], json!(["kr-retail/orders@1"]));
    let other = body("kr-retail/products@7");
    let answer = caller.post(CHAT, &[ORDERS], other.as_bytes()).await;
    is_row(&pool, &answer, (400, "DECLARATION_CONFLICT"), "two datasets").await;
    assert_eq!(sites.arrivals(other.as_bytes()).await, []);
}

fn cases() -> Vec<Case> {
    let text = |body: &str| body.replace('#', &number().to_string()).into_bytes();
    let chat = |member: &str| {
        text(&format!("{{\"model\":\"llama-3.3-70b\",\"messages\":[],\"n\":#{member}}}"))
    };
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend(chat(""));
    let mut latin = chat(",\"user\":\"?\"");
    let place = latin.iter().rposition(|byte| *byte == b'?').unwrap();
    latin[place] = 0xe9;
    let deep = format!(",\"x\":{}{}", "[".repeat(65), "]".repeat(65));
    let (ambiguous, invalid) = ("BODY_AMBIGUOUS", "BODY_INVALID");
    let mut cases: Vec<Case> = vec![
        ("two models", &[], chat(",\"model\":\"gpt-4o\""), 400, ambiguous),
        ("two keys deep down", &[], chat(",\"x\":[{\"a\":1,\"a\":2}]"), 400, ambiguous),
        ("two keys, one escaped", &[], chat(",\"mod\\u0065l\":\"gpt-4o\""), 400, ambiguous),
        ("a key in capitals", &[], chat(",\"MODEL\":\"gpt-4o\""), 400, ambiguous),
        ("KELVIN SIGN", &[], chat(",\"task\":1,\"tas\u{212a}\":2"), 400, ambiguous),
        ("LONG S", &[], chat(",\"\u{17f}tream\":true"), 400, ambiguous),
        (
            "LONG S in metadata",
            &[],
            chat(",\"metadata\":{\"haetae.data\u{17f}ets\":\"x\"}"),
            400,
            ambiguous,
        ),
        ("a byte order mark", &[], bom, 400, ambiguous),
        ("a lone surrogate", &[], chat(",\"user\":\"\\ud800\""), 400, ambiguous),
        ("not UTF-8", &[], latin, 400, invalid),
        ("NaN", &[], chat(",\"temperature\":NaN"), 400, invalid),
        ("Infinity", &[], chat(",\"temperature\":-Infinity"), 400, invalid),
        ("a number beyond doubles", &[], chat(",\"temperature\":1e400"), 400, invalid),
        ("a comment", &[], chat("/* , */"), 400, invalid),
        ("a trailing comma", &[], chat(","), 400, invalid),
        ("65 deep", &[], chat(&deep), 400, invalid),
        ("two values", &[], text("{\"model\":\"llama-3.3-70b\",\"n\":#} {}"), 400, invalid),
        ("an array", &[], text("[#]"), 400, invalid),
        ("nothing", &[], Vec::new(), 400, invalid),
        ("compressed", &[("content-encoding", "gzip")], chat(""), 415, "CONTENT_ENCODING_REFUSED"),
        (
            "called identity",
            &[("content-encoding", "identity")],
            chat(""),
            415,
            "CONTENT_ENCODING_REFUSED",
        ),
        ("stored", &[], chat(",\"store\":true"), 403, "OPERATION_UNSUPPORTED"),
        (
            "a key that is not known",
            &[],
            chat(",\"metadata\":{\"haetae.x\":\"y\"}"),
            400,
            "DECLARATION_INVALID",
        ),
        (
            "no data, and data",
            &[ORDERS, ("haetae-no-data", "true")],
            chat(""),
            400,
            "DECLARATION_CONFLICT",
        ),
    ];
    for media in MEDIA {
        cases.push(("another media type", media, chat(""), 415, "MEDIA_TYPE_REFUSED"));
    }
    cases
}

const MEDIA: [&[(&str, &str)]; 6] = [
    &[("content-type", "text/plain")],
    &[("content-type", "application/x-www-form-urlencoded")],
    &[("content-type", "multipart/form-data; boundary=x")],
    &[("content-type", "application/json; charset=utf-16")],
    &[("content-type", "application/yaml")],
    &[("content-type", "application/json, text/plain")],
];
