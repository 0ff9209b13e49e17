//! `GET /messages/v4/list`: what was taken, newest first, by the vendor's ids or by when it was made.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Response};
use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::super::{fault, lock};
use super::{Desk, code_of, echo, error};
use crate::family::Family;
use crate::record::Entry;

const MOST: usize = 500;
const USUAL: usize = 20;
/// Handed on; the end is not known yet.
const UNDER_WAY: &str = "3000";

/// Which messages are wanted.
#[derive(Default)]
struct Wanted {
    ids: Vec<String>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    skip: usize,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    if let Err(code) = desk.gate.pass(&headers) {
        return error(403, code);
    }
    let Some(wanted) = Wanted::read(&query.unwrap_or_default()) else {
        return error(400, "ValidationError");
    };
    let limit = wanted.limit.unwrap_or(USUAL);
    let entries = desk.vendor.record.entries_of(Family::Solapi);
    let mut found = entries.iter().rev().filter(|entry| wanted.has(entry));
    let page: Vec<_> = found.by_ref().skip(wanted.skip).take(limit).collect();
    let next = found.next().map(|_| (wanted.skip + page.len()).to_string());
    let messages: Map<_, _> = page.into_iter().map(|entry| stored(&desk, entry)).collect();
    let answer = json!({"limit": limit, "nextKey": next, "messageList": messages});
    fault::json(200, &answer)
}

fn stored(desk: &Desk, entry: &Entry) -> (String, Value) {
    let id = Family::Solapi.vendor_id(entry.vendor);
    let now = SystemClock.now();
    let archive = lock(&desk.vendor.archive);
    let known = archive.known(entry.message);
    let ended = known.filter(|known| known.is_final(now));
    let ended_at = ended.and_then(|ended| ended.final_at);
    let message = json!({
        "messageId": id,
        "status": if ended.is_some() { "COMPLETE" } else { "SENDING" },
        "statusCode": ended.map_or(UNDER_WAY, |ended| code_of(ended.ending)),
        "dateCreated": entry.at.to_rfc3339(),
        "dateReceived": ended_at.map(Timestamp::to_rfc3339),
        "customFields": echo(&desk.vendor, entry.message),
    });
    (id, message)
}

impl Wanted {
    fn read(query: &str) -> Option<Self> {
        let url = Url::parse(&format!("http://solapi/?{query}")).ok()?;
        let mut wanted = Self::default();
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "messageIds" => wanted.ids.push(value.into_owned()),
                "dateType" if value == "CREATED" => {}
                "startDate" => wanted.from = Some(Timestamp::parse_rfc3339(&value)?),
                "endDate" => wanted.until = Some(Timestamp::parse_rfc3339(&value)?),
                "startKey" => wanted.skip = value.parse().ok()?,
                "limit" => {
                    let limit = value.parse().ok();
                    wanted.limit = Some(limit.filter(|limit| (1..=MOST).contains(limit))?);
                }
                _ => return None,
            }
        }
        Some(wanted)
    }

    fn has(&self, entry: &Entry) -> bool {
        let id = || Family::Solapi.vendor_id(entry.vendor);
        (self.ids.is_empty() || self.ids.contains(&id()))
            && self.from.is_none_or(|from| from <= entry.at)
            && self.until.is_none_or(|until| entry.at <= until)
    }
}
